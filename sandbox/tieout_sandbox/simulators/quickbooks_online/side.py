"""QuickBooks Online on the stage: its company, the consent to it, and the bookkeepers at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tieout_sandbox.served import Server, Simulator, StageError
from tieout_sandbox.sides import RAISED_LIMIT, Invoice, Operator

WEBHOOK_VERIFIER = "tieout-sandbox-verifier"
_PAGE = 1000
_LIMITS = ("requests_per_minute", "requests_per_second", "batches_per_minute")
_DOCUMENT = """\
kind: connection
id: {id}
provider: quickbooks_online
settings:
  base_url: {url}
  token_url: {url}/oauth2/v1/tokens/bearer
  consent_url: {url}/connect/oauth2
  requests_per_minute: {limit}
  requests_per_second: {limit}
  batches_per_minute: {limit}
"""


class QuickBooksOnline:
    """Implements `tieout_sandbox.sides.BooksSide` and `Editable`."""

    provider = "quickbooks_online"
    title = "QuickBooks Online"
    called = "QuickBooks"
    limits = "QuickBooks' 500 calls and 40 batches"
    lost_answer: Mapping[str, str] = {"method": "POST", "path": "/v3/company/*/batch"}
    outage: Mapping[str, str] = {"method": "*", "path": "/v3/*"}
    closed_word = "closed"
    tells = True
    deals_max: int | None = None
    simulator: Server

    def __init__(self, connection: str = "quickbooks") -> None:
        self.connection = connection

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """An empty company."""
        settings = dict.fromkeys(_LIMITS, RAISED_LIMIT)
        log = folder / "quickbooks.log"
        with Simulator("quickbooks_online", settings, log=log, environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - Intuit is told the webhooks' address, not ours
        """The connection document."""
        return _DOCUMENT.format(id=self.connection, url=self.simulator.url, limit=RAISED_LIMIT)

    def connect(self, operator: Operator) -> None:
        """Sign in by consent, which the simulator's page gives."""
        self.reconnect(operator)
        # Intuit sends webhooks to one address an app; the simulator is told ours like Intuit's developer portal.
        address = operator.webhook_address(self.connection)
        self.simulator.call("POST", "/_sandbox/settings", {"webhook_url": address, "webhook_form": "cloudevents"})

    def reconnect(self, operator: Operator, verifier: str = WEBHOOK_VERIFIER) -> None:
        """Sign in by consent.

        Args:
            operator: Whose terminal it is.
            verifier: The token by which webhooks are known to be Intuit's.
        """
        app = {
            "client_id": "tieout-sandbox-client",
            "client_secret": "tieout-sandbox-secret",
            "webhook_verifier": verifier,
        }
        operator.consent(self.connection, app, f"{self.simulator.url}/connect/")

    def writes(self) -> int:
        """Calls that write, and batches."""
        return self.simulator.written(under="/v3", but="/query")

    def addresses(self) -> Sequence[tuple[str, str]]:
        """Where the company can be seen."""
        return [("QuickBooks simulator", f"{self.simulator.url}/_sandbox/summary")]

    # The bookkeepers

    def call(self, method: str, path: str, body: object = None, *, query: str = "") -> Any:  # noqa: ANN401 - JSON
        """One call of the company's API, by somebody else's app."""
        grant = self.simulator.call("POST", "/_sandbox/grant", {})
        asked = f"?query={query}" if query else ""
        address = f"/v3/company/{grant['realmId']}{path}{asked}"
        return self.simulator.call(method, address, body, Authorization=f"Bearer {grant['access_token']}")

    def summary(self) -> Mapping[str, Any]:
        """Counts, totals, duplicate numbers."""
        (company,) = self.simulator.call("GET", "/_sandbox/summary").values()
        return dict(company)

    def invoices(self) -> list[Invoice]:
        """All of them."""
        found: list[Invoice] = []
        while True:
            page = self._found(f"STARTPOSITION {len(found) + 1} MAXRESULTS {_PAGE}")
            found += page
            if len(page) < _PAGE:
                return found

    def invoice(self, number: str) -> Invoice:
        """The one of this number.

        Raises:
            StageError: If there is none.
        """
        found = self._found(f"WHERE DocNumber = '{number}'")
        if not found:
            raise StageError(f"There is no invoice {number} in QuickBooks.")
        return found[0]

    def _found(self, which: str) -> list[Invoice]:
        statement = f"SELECT * FROM Invoice {which}"  # noqa: S608 - Intuit's language, our numbers
        rows = self.call("GET", "/query", query=statement)["QueryResponse"].get("Invoice", [])
        return [_invoice(row) for row in rows]

    def pay(self, number: str, amount: Decimal | None = None) -> None:
        """A payment of this invoice."""
        asked = {"doc_number": number} | ({} if amount is None else {"amount": str(amount)})
        self.simulator.call("POST", "/_sandbox/pay", asked)

    def renumber(self, invoice: Invoice, number: str) -> None:
        """Another number, by hand."""
        row = self.call("GET", f"/invoice/{invoice.id}")["Invoice"]
        sparse = {key: row[key] for key in ("Id", "SyncToken", "CustomerRef")}
        self.call("POST", "/invoice", {**sparse, "sparse": True, "DocNumber": number})

    def close(self, until: date | None) -> None:
        """Set or clear the closing date."""
        self.simulator.call("POST", "/_sandbox/settings", {"closed_until": until and until.isoformat()})

    def revoke(self) -> None:
        """The company's admin disconnects the app."""
        self.simulator.call("POST", "/_sandbox/revoke", {})


def _invoice(row: Mapping[str, Any]) -> Invoice:
    total = Decimal(str(row["TotalAmt"]))
    paid = total - Decimal(str(row["Balance"]))
    return Invoice(row["Id"], row.get("DocNumber", ""), row["CustomerRef"]["name"], total, paid)


BOOKS = QuickBooksOnline
