"""Act! on the stage: its server, its user, and the sales team at work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from tieout_sandbox.dataset import DEALS
from tieout_sandbox.served import ANSWER_SECONDS_MAX, Server, Simulator
from tieout_sandbox.sides import RAISED_LIMIT, Deal, Operator
from tieout_sandbox.simulators.control import OPERATOR_HEADER

_USER, _PASSWORD, _DATABASE = "integration@seller.example", "correct horse", "H1234567890"
_WON = "status eq 'Won'"
_OPEN_WITH_COMPANY = "status eq 'Open' and companies/any(c: c/name ne '')"
_UNKNOWN = "GTX Ultra"
_DOCUMENT = """\
kind: connection
id: {id}
provider: act
settings:
  base_url: {url}/act.web.api
  database: {database}
  requests_per_minute: 10000
"""


class Act:
    """Implements `tieout_sandbox.sides.CrmSide`."""

    provider = "act"
    title = called = "Act!"
    limits = ""
    mistake = "A deal is won for a product that the catalogue does not have"
    shows_payments = True
    simulator: Server

    def __init__(self, connection: str = "act", deals: int | None = None, *, in_office: bool = False) -> None:
        self.connection = connection
        self._in_office = in_office
        self._deals = deals
        self._token = ""
        self._before: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """The server with the real data set."""
        settings = {"data": "crm-sales-opportunities", "deals": self._deals, "calls_per_minute": RAISED_LIMIT}
        log = folder / "act.log"
        with Simulator("act", settings, log=log, environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - a connection without webhooks
        """The connection document."""
        document = _DOCUMENT.format(id=self.connection, url=self.simulator.url, database=_DATABASE)
        return f"{document}through_agent: true\n" if self._in_office else document

    def connect(self, operator: Operator) -> None:
        """Sign in with keys, here or beside the server."""
        keys = {"username": _USER, "password": _PASSWORD}
        if self._in_office:
            operator.install_agent(self.connection, keys)
        else:
            operator.tieout("connect", self.connection, "--secrets-file", "-", given=json.dumps(keys))

    def writes(self) -> int:
        """Calls and parts of batches that changed something, whoever's they were."""
        return int(self.simulator.call("GET", "/_sandbox/writes")["writes"])

    def addresses(self) -> Sequence[tuple[str, str]]:
        """Where the server can be seen."""
        return [("Act! simulator", f"{self.simulator.url}/act.web.api/api/system")]

    # The sales team

    def deals_count(self) -> int:
        """Of the data set."""
        return self._deals or DEALS

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """One call of the Web API, signed in as its user."""
        if not self._token:
            answer = requests.get(
                f"{self.simulator.url}/act.web.api/authorize",
                auth=(_USER, _PASSWORD),
                headers={OPERATOR_HEADER: "1", "Act-Database-Name": _DATABASE},
                timeout=ANSWER_SECONDS_MAX,
            )
            self._token = answer.text.strip().strip('"')
        headers = {"Authorization": f"Bearer {self._token}", "Act-Database-Name": _DATABASE}
        return self.simulator.call(method, f"/act.web.api/api{path}", body, **headers)

    def edit(self, deal_id: str, **fields: object) -> dict[str, Any]:
        """Change an opportunity; as it was before."""
        former = self.call("GET", f"/opportunities/{deal_id}")
        self.call("PUT", f"/opportunities/{deal_id}", {**former, **fields})
        return dict(former)

    def change_product(self, deal_id: str, name: str = "", price: float | None = None) -> dict[str, Any]:
        """Replace an opportunity's only line by one of this product and price, the former ones if not given.

        Returns:
            The former line.
        """
        (line,) = self.call("GET", f"/opportunities/{deal_id}/products")
        self.call("DELETE", f"/opportunities/{deal_id}/products/{line['id']}")
        fresh = {key: line[key] for key in ("quantity", "price", "total", "cost", "name") if key in line}
        fresh |= {"name": name} if name else {}
        fresh |= {"price": price, "total": price} if price is not None else {}
        self.call("POST", f"/opportunities/{deal_id}/products", fresh)
        return dict(line)

    def won(self, count: int) -> list[Deal]:
        """The first won opportunities by id."""
        return self._listed(_WON, count)

    def open(self, count: int) -> list[Deal]:
        """The first open opportunities with a company, by id."""
        return self._listed(_OPEN_WITH_COMPANY, count)

    def _listed(self, condition: str, count: int) -> list[Deal]:
        rows = self.call("GET", f"/opportunities?$filter={condition}&$orderby=id&$top={count}")
        return [deal_of(row) for row in rows]

    def deal(self, deal_id: str) -> Deal:
        """The opportunity now."""
        return deal_of(self.call("GET", f"/opportunities/{deal_id}"))

    def reprice(self, deal: Deal, total: Decimal) -> None:
        """Let its only line be of this amount."""
        self.change_product(deal.id, price=float(total))
        self.edit(deal.id, productTotal=float(total))

    def win(self, deal: Deal, on: date) -> None:
        """Won on this day."""
        self.edit(deal.id, **_won(on), productTotal=float(deal.total))

    def make_mistake(self, deal: Deal, on: date) -> str:
        """Won, for a product that the catalogue does not have."""
        line = self.change_product(deal.id, _UNKNOWN)
        self._before[deal.id] = (line, self.edit(deal.id, **_won(on), productTotal=line["total"]))
        return _UNKNOWN

    def mend_mistake(self, deal: Deal) -> None:
        """Open again, for the product that it was."""
        line, former = self._before.pop(deal.id)
        self.change_product(deal.id, line["name"])
        self.edit(deal.id, **{key: former[key] for key in ("status", "actualCloseDate", "productTotal")})


def _won(on: date) -> dict[str, str]:
    return {"status": "Won", "actualCloseDate": f"{on.isoformat()}T00:00:00+00:00"}


def deal_of(row: Mapping[str, Any]) -> Deal:
    """What an opportunity of the Web API says."""
    companies = row.get("companies") or [{"name": ""}]
    shown = row["customFields"]
    return Deal(
        id=row["id"],
        name=row["name"],
        number=row["sourceId"],
        customer=companies[0]["name"],
        total=Decimal(str(row["productTotal"])),
        paid=Decimal(str(shown.get("amount_paid") or 0)),
        shown=shown,
    )


CRM = Act
