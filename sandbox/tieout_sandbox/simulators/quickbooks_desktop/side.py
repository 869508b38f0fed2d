"""QuickBooks Desktop on the stage: a company file with the Web Connector beside it, and the bookkeepers at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tieout_sandbox.served import Server, Simulator, StageError
from tieout_sandbox.sides import Invoice, Operator

_DOCUMENT = """\
kind: connection
id: {id}
provider: quickbooks_desktop
settings:
  currency: USD
"""
# A company file with a few hundred transactions a run: every request is a round trip of the Web Connector.
_DEALS_MAX = 150


class QuickBooksDesktop:
    """Implements `tieout_sandbox.sides.BooksSide` and `Editable`."""

    provider = "quickbooks_desktop"
    title = "QuickBooks Desktop"
    called = "QuickBooks"
    limits = ""
    lost_answer: Mapping[str, str] = {"method": "POST", "path": "/qbxml/write"}
    outage: Mapping[str, str] = {"method": "POST", "path": "/qbxml/*"}
    closed_word = "closed"
    tells = False
    deals_max: int | None = _DEALS_MAX
    simulator: Server

    def __init__(self, connection: str = "quickbooks") -> None:
        self.connection = connection

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """An empty company file."""
        settings = {"run_every_seconds": 0.1, "pause_seconds": 0.05}
        log = folder / "quickbooks_desktop.log"
        with Simulator("quickbooks_desktop", settings, log=log, environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - nothing of ours is named in it
        """The connection document."""
        return _DOCUMENT.format(id=self.connection)

    def connect(self, operator: Operator) -> None:
        """Open the file of the connection in the Web Connector, and type its password in."""
        program = operator.own_program(self.connection)
        named = {"service_url": program.address, "username": program.user, "password": program.password}
        self.simulator.call("POST", "/_sandbox/settings", named)
        operator.tieout("connect", self.connection)

    def reconnect(self, operator: Operator) -> None:
        """The administrator lets Tieout in again."""
        self.simulator.call("POST", "/_sandbox/grant", {})
        operator.tieout("connect", self.connection)

    def writes(self) -> int:
        """Message sets of Tieout's that write."""
        return int(self.simulator.call("GET", "/_sandbox/summary")["sets"])

    def addresses(self) -> Sequence[tuple[str, str]]:
        """Where the company can be seen."""
        return [("QuickBooks Desktop simulator", f"{self.simulator.url}/_sandbox/summary")]

    # The bookkeepers

    def invoices(self) -> list[Invoice]:
        """All that are not void."""
        rows = self.simulator.call("GET", "/_sandbox/invoices")
        return [_invoice(row) for row in rows if not row["memo"].startswith("VOID:")]

    def invoice(self, number: str) -> Invoice:
        """The one of this number.

        Raises:
            StageError: If there is none.
        """
        found = next((one for one in self.invoices() if one.number == number), None)
        if found is None:
            raise StageError(f"There is no invoice {number} in QuickBooks.")
        return found

    def pay(self, number: str, amount: Decimal | None = None) -> None:
        """A payment of this invoice."""
        asked = {"number": number} | ({} if amount is None else {"amount": str(amount)})
        self.simulator.call("POST", "/_sandbox/pay", asked)

    def renumber(self, invoice: Invoice, number: str) -> None:
        """Another number, by hand."""
        self.simulator.call("POST", "/_sandbox/renumber", {"id": invoice.id, "number": number})

    def close(self, until: date | None) -> None:
        """Close the books up to and with this day."""
        self.simulator.call("POST", "/_sandbox/settings", {"closed_until": until and until.isoformat()})

    def revoke(self) -> None:
        """The administrator unticks Tieout."""
        self.simulator.call("POST", "/_sandbox/revoke", {})


def _invoice(row: Mapping[str, Any]) -> Invoice:
    total = Decimal(row["total"])
    return Invoice(row["id"], row["number"], row["customer"], total, total - Decimal(row["open"]))


BOOKS = QuickBooksDesktop
