"""A real Tryton server on the stage, and the bookkeepers at work in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tieout_sandbox.served import Server, Simulator, StageError
from tieout_sandbox.sides import Invoice, Operator
from tieout_sandbox.simulators.tryton.seed import PASSWORD, USER
from tieout_sandbox.simulators.tryton.server import DATABASE

_DOCUMENT = """\
kind: connection
id: {id}
provider: tryton
settings:
  base_url: {url}
  database: {database}
  requests_per_minute: 100000
"""


class Tryton:
    """Implements `tieout_sandbox.sides.BooksSide`; not `Editable`, as nobody can change what is posted."""

    provider = "tryton"
    title = called = "Tryton"
    limits = ""
    lost_answer: Mapping[str, str] = {"method": "POST", "path": "/write/model.account.invoice.post"}
    outage: Mapping[str, str] = {"method": "*", "path": "*"}
    closed_word = "period"
    tells = False
    deals_max: int | None = 140
    simulator: Server

    def __init__(self, connection: str = "tryton") -> None:
        self.connection = connection

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """A server of its own with a company that has sold nothing yet, behind what can make its calls fail."""
        with Simulator("tryton", {}, log=folder / "tryton.log", environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - a connection without webhooks
        """The connection document."""
        return _DOCUMENT.format(id=self.connection, url=self.simulator.url, database=DATABASE)

    def connect(self, operator: Operator) -> None:
        """Sign in with keys."""
        keys = json.dumps({"username": USER, "password": PASSWORD})
        operator.tieout("connect", self.connection, "--secrets-file", "-", given=keys)

    def reconnect(self, operator: Operator) -> None:
        """Let the user in again, and sign in."""
        self.simulator.call("POST", "/_sandbox/grant", {})
        self.connect(operator)

    def writes(self) -> int:
        """Calls of Tieout's that write."""
        return self.simulator.written(under="/write")

    def addresses(self) -> Sequence[tuple[str, str]]:
        """Where the company can be seen, and where Tryton's own clients find it."""
        return [
            ("Tryton's books", f"{self.simulator.url}/_sandbox/summary"),
            ("Tryton server", f"{self.simulator.url}/{DATABASE}/ (user {USER}, password {PASSWORD!r})"),
        ]

    # The bookkeepers

    def invoices(self) -> list[Invoice]:
        """All that are posted or paid."""
        rows = self.simulator.call("GET", "/_sandbox/invoices")
        return [_invoice(row) for row in rows if row["state"] in {"posted", "paid"}]

    def invoice(self, number: str) -> Invoice:
        """The one of this number, which stands in its reference.

        Raises:
            StageError: If there is none.
        """
        found = next((one for one in self.invoices() if one.number == number), None)
        if found is None:
            raise StageError(f"There is no invoice {number} in Tryton.")
        return found

    def pay(self, number: str, amount: Decimal | None = None) -> None:
        """A payment of this invoice, through the bank."""
        asked = {"number": number} | ({} if amount is None else {"amount": str(amount)})
        self.simulator.call("POST", "/_sandbox/pay", asked)

    def close(self, until: date | None) -> None:
        """Close all periods up to this day."""
        self.simulator.call("POST", "/_sandbox/close", {"until": until and until.isoformat()})

    def revoke(self) -> None:
        """Switch Tieout's user off."""
        self.simulator.call("POST", "/_sandbox/revoke", {})


def _invoice(row: Mapping[str, Any]) -> Invoice:
    return Invoice(str(row["id"]), row["number"], row["party"], Decimal(row["total"]), Decimal(row["paid"]))


BOOKS = Tryton
