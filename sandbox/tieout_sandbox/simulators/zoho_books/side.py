"""Zoho Books on the stage: its organisation, the consent to it, and the bookkeepers at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tieout_sandbox.served import Server, Simulator, StageError
from tieout_sandbox.sides import RAISED_LIMIT, Invoice, Operator
from tieout_sandbox.simulators.zoho_books.settings import Settings

_REGISTERED = Settings()
_LIMITS = {"requests_per_minute": RAISED_LIMIT, "requests_per_day": 1_000_000, "requests_in_flight": 100}
_DOCUMENT = """\
kind: connection
id: {id}
provider: zoho_books
settings:
  api_url: {url}
  accounts_url: {url}
  plan: ultimate
  requests_per_minute: {requests_per_minute}
  requests_per_day: {requests_per_day}
  requests_in_flight: {requests_in_flight}
"""


class ZohoBooks:
    """Implements `tieout_sandbox.sides.BooksSide` and `Editable`."""

    provider = "zoho_books"
    title = called = "Zoho Books"
    limits = "Zoho Books' 100 calls a minute and 10,000 a day"
    lost_answer: Mapping[str, str] = {"method": "PUT", "path": "/books/v3/invoices*"}
    outage: Mapping[str, str] = {"method": "*", "path": "/books/v3/*"}
    closed_word = "locked"
    tells = True
    deals_max: int | None = None
    simulator: Server

    def __init__(self, connection: str = "zoho") -> None:
        self.connection = connection

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """An empty organisation."""
        settings = {
            "requests_per_minute": _LIMITS["requests_per_minute"],
            "requests_per_day": _LIMITS["requests_per_day"],
            "requests_at_once": _LIMITS["requests_in_flight"],
        }
        log = folder / "zoho.log"
        with Simulator("zoho_books", settings, log=log, environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - Zoho is told the webhooks' address, not ours
        """The connection document."""
        return _DOCUMENT.format(id=self.connection, url=self.simulator.url, **_LIMITS)

    def connect(self, operator: Operator) -> None:
        """Sign in by consent, and enter the webhooks' address as in a workflow rule."""
        self.reconnect(operator)
        address = operator.webhook_address(self.connection)
        self.simulator.call("POST", "/_sandbox/settings", {"webhook_url": address})

    def reconnect(self, operator: Operator) -> None:
        """Sign in by consent."""
        app = {name: getattr(_REGISTERED, name) for name in ("client_id", "client_secret", "webhook_secret")}
        operator.consent(self.connection, app, f"{self.simulator.url}/oauth/")

    def writes(self) -> int:
        """Calls that write."""
        return self.simulator.written(under="/books/v3")

    def addresses(self) -> Sequence[tuple[str, str]]:
        """Where the organisation can be seen."""
        return [("Zoho Books simulator", f"{self.simulator.url}/_sandbox/summary")]

    # The bookkeepers

    def call(self, method: str, path: str, body: object = None, *, query: str = "") -> Any:  # noqa: ANN401 - JSON
        """One call of the organisation's API, by somebody else's app."""
        token = self.simulator.call("POST", "/_sandbox/grant", {})["access_token"]
        address = f"/books/v3{path}?organization_id={_REGISTERED.organization_id}{query}"
        return self.simulator.call(method, address, body, Authorization=f"Zoho-oauthtoken {token}")

    def invoices(self) -> list[Invoice]:
        """All that are not void."""
        found: list[Invoice] = []
        for number in range(1, 1000):
            page = self.call("GET", "/invoices", query=f"&page={number}&per_page=200")
            found += [_invoice(row) for row in page["invoices"] if row["status"] != "void"]
            if not page["page_context"]["has_more_page"]:
                return found
        raise StageError("Zoho Books has more than 200,000 invoices.")

    def invoice(self, number: str) -> Invoice:
        """The one of this number.

        Raises:
            StageError: If there is none.
        """
        rows = self.call("GET", "/invoices", query=f"&invoice_number={number}")["invoices"]
        if not rows:
            raise StageError(f"There is no invoice {number} in Zoho Books.")
        return _invoice(rows[0])

    def pay(self, number: str, amount: Decimal | None = None) -> None:
        """A payment of this invoice."""
        asked = {"invoice_number": number} | ({} if amount is None else {"amount": str(amount)})
        self.simulator.call("POST", "/_sandbox/pay", asked)

    def renumber(self, invoice: Invoice, number: str) -> None:
        """Another number, by hand."""
        self.call("PUT", f"/invoices/{invoice.id}", {"invoice_number": number})

    def close(self, until: date | None) -> None:
        """Lock transactions up to and with this day."""
        self.simulator.call("POST", "/_sandbox/settings", {"locked_until": until and until.isoformat()})

    def revoke(self) -> None:
        """The user takes the app's access away."""
        self.simulator.call("POST", "/_sandbox/revoke", {})


def _invoice(row: Mapping[str, Any]) -> Invoice:
    total = Decimal(str(row["total"]))
    paid = total - Decimal(str(row["balance"]))
    return Invoice(row["invoice_id"], row["invoice_number"], row["customer_name"], total, paid)


BOOKS = ZohoBooks
