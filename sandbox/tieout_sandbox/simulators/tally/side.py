"""Tally on the stage: a company on somebody's desk, and the bookkeepers at work there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tieout_sandbox.served import Server, Simulator, StageError
from tieout_sandbox.sides import Invoice, Operator
from tieout_sandbox.simulators.tally.settings import COMPANY

_DOCUMENT = """\
kind: connection
id: {id}
provider: tally
settings:
  url: {url}
  company: {company}
  receipt_ledger: HDFC Bank
  pause_milliseconds: 0
"""
_OTHER = "Another Client"


class Tally:
    """Implements `tieout_sandbox.sides.BooksSide`."""

    provider = "tally"
    title = called = "Tally"
    limits = ""
    lost_answer: Mapping[str, str] = {"method": "POST", "path": "/write/Vouchers"}
    outage: Mapping[str, str] = {"method": "POST", "path": "/*"}
    closed_word = "locked"
    tells = False
    deals_max: int | None = 200
    simulator: Server

    def __init__(self, connection: str = "tally") -> None:
        self.connection = connection

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """An empty company."""
        with Simulator("tally", {}, log=folder / "tally.log", environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - nothing of ours is named in it
        """The connection document."""
        company = self.simulator.call("GET", "/_sandbox/summary")["company"]
        return _DOCUMENT.format(id=self.connection, url=self.simulator.url, company=company)

    def connect(self, operator: Operator) -> None:
        """An agent stands beside Tally, which asks nobody for a sign-in."""
        operator.install_agent(self.connection, {})

    def reconnect(self, operator: Operator) -> None:
        """Open the company again."""
        self.simulator.call("POST", "/_sandbox/settings", {"open_companies": [COMPANY]})
        operator.tieout("connect", self.connection)

    def writes(self) -> int:
        """Imports that reached it."""
        return self.simulator.written(under="/write")

    def addresses(self) -> Sequence[tuple[str, str]]:
        """Where the company can be seen."""
        return [("Tally simulator", f"{self.simulator.url}/_sandbox/summary")]

    # The bookkeepers

    def invoices(self) -> list[Invoice]:
        """All that stand."""
        return [_invoice(row) for row in self.simulator.call("GET", "/_sandbox/invoices")]

    def invoice(self, number: str) -> Invoice:
        """The one of this number.

        Raises:
            StageError: If there is none.
        """
        for one in self.invoices():
            if one.number == number:
                return one
        raise StageError(f"There is no invoice {number} in Tally.")

    def pay(self, number: str, amount: Decimal | None = None) -> None:
        """A receipt against this invoice."""
        asked = {"number": number} | ({} if amount is None else {"amount": str(amount)})
        self.simulator.call("POST", "/_sandbox/pay", asked)

    def close(self, until: date | None) -> None:
        """Lock the period up to and with this day."""
        self.simulator.call("POST", "/_sandbox/settings", {"locked_until": until and until.isoformat()})

    def revoke(self) -> None:
        """Somebody closes the company, and opens another."""
        self.simulator.call("POST", "/_sandbox/settings", {"open_companies": [_OTHER]})


def _invoice(row: Mapping[str, Any]) -> Invoice:
    return Invoice(row["id"], row["number"], row["customer"], Decimal(row["total"]), Decimal(row["paid"]))


BOOKS = Tally
