"""Outlook on the stage: a mailbox, the consent to it, and a sales team that keeps its deals in To Do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from tieout_sandbox.dataset import DEALS
from tieout_sandbox.served import ANSWER_SECONDS_MAX, Server, Simulator
from tieout_sandbox.sides import RAISED_LIMIT, Deal, Operator
from tieout_sandbox.simulators.control import OPERATOR_HEADER
from tieout_sandbox.simulators.outlook.state import OutlookSettings

_REGISTERED = OutlookSettings()
_WEBHOOK_TOKEN = "a token of the sandbox alone"
_EXTENSION = "app.tieout.fields"
_PAGE = 1000
_IN_FLIGHT = 100
_LINE = re.compile(r"^- (?P<quantity>\S+) x (?P<name>.+) @ (?P<price>\S+)$", re.MULTILINE)
_DOCUMENT = """\
kind: connection
id: {id}
provider: outlook
settings:
  base_url: {url}/v1.0
  login_url: {url}
  webhook_url: {webhook}
  requests_per_minute: {limit}
  batches_per_minute: {limit}
"""


class Outlook:
    """Implements `tieout_sandbox.sides.CrmSide`."""

    provider = "outlook"
    title = called = "Outlook"
    limits = "Outlook's 10,000 in ten minutes"
    mistake = "A deal is won, and nobody can read what one of its lines costs"
    shows_payments = True
    simulator: Server

    def __init__(self, connection: str = "outlook", deals: int | None = None) -> None:
        self.connection = connection
        self._deals = deals
        self._token = self._list = ""
        self._before: dict[str, dict[str, Any]] = {}

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """The mailbox with the real data set; it tells of changes each second."""
        settings = {
            "data": "crm-sales-opportunities",
            "deals": self._deals,
            "requests_per_10_minutes": 10 * RAISED_LIMIT,
            "in_flight_max": _IN_FLIGHT,
            "notify_seconds": 1,
        }
        log = folder / "outlook.log"
        with Simulator("outlook", settings, log=log, environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:
        """The connection document."""
        webhook = operator.webhook_address(self.connection)
        return _DOCUMENT.format(id=self.connection, url=self.simulator.url, webhook=webhook, limit=RAISED_LIMIT)

    def connect(self, operator: Operator) -> None:
        """Sign in by consent. Subscriptions are made by the first poll."""
        app = {name: getattr(_REGISTERED, name) for name in ("client_id", "client_secret")}
        operator.consent(self.connection, app | {"webhook_token": _WEBHOOK_TOKEN}, f"{self.simulator.url}/")

    def writes(self) -> int:
        """Changes of contacts and tasks, whoever made them."""
        return int(self.simulator.call("GET", "/_sandbox/writes")["writes"])

    def addresses(self) -> Sequence[tuple[str, str]]:
        """Where something of the mailbox can be seen without signing in."""
        return [("Outlook simulator", f"{self.simulator.url}/_sandbox/writes")]

    # The sales team

    def deals_count(self) -> int:
        """Of the data set."""
        return self._deals or DEALS

    def won(self, count: int) -> list[Deal]:
        """The first tasks with the category for won ones."""
        return self._first(count, lambda row: row["categories"] == ["Won"])

    def open(self, count: int) -> list[Deal]:
        """The first tasks without a category whose note names a customer."""
        return self._first(count, lambda row: not row["categories"] and "Customer: " in row["body"]["content"])

    def deal(self, deal_id: str) -> Deal:
        """The task now, with its open extension."""
        row = self._task("GET", deal_id)
        return _deal(row, self._extension(deal_id))

    def reprice(self, deal: Deal, total: Decimal) -> None:
        """Another price in the note's only line."""
        note = self._note(deal.id)
        self._write(deal.id, _LINE.sub(rf"- \g<quantity> x \g<name> @ {total:.2f}", note))

    def win(self, deal: Deal, on: date) -> None:
        """The category for won ones, and the day."""
        self._write(deal.id, f"{self._note(deal.id)}\nClosed: {on.isoformat()}", categories=["Won"])

    def make_mistake(self, deal: Deal, on: date) -> str:
        """Won, with a quantity that can be read in two ways."""
        row = self._task("GET", deal.id)
        self._before[deal.id] = {"categories": row["categories"], "body": row["body"]}
        note = _LINE.sub(r"- 1,5 x \g<name> @ \g<price>", row["body"]["content"])
        self._write(deal.id, f"{note}\nClosed: {on.isoformat()}", categories=["Won"])
        return deal.name

    def mend_mistake(self, deal: Deal) -> None:
        """Open again, with the note that it had."""
        self._task("PATCH", deal.id, self._before.pop(deal.id))

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """One call of Graph, signed in as the person of the mailbox."""
        headers = {"Authorization": f"Bearer {self._signed_in()}"}
        return self.simulator.call(method, f"/v1.0/me{path}", body, **headers)

    def _signed_in(self) -> str:
        if not self._token:
            names = ("client_id", "client_secret", "refresh_token")
            form = {"grant_type": "refresh_token"} | {name: getattr(_REGISTERED, name) for name in names}
            answer = requests.post(
                f"{self.simulator.url}/common/oauth2/v2.0/token",
                data=form,
                headers={OPERATOR_HEADER: "1"},
                timeout=ANSWER_SECONDS_MAX,
            )
            self._token = str(answer.json()["access_token"])
        return self._token

    @property
    def _tasks(self) -> str:
        if not self._list:
            lists = self.call("GET", "/todo/lists")["value"]
            self._list = next(one["id"] for one in lists if one["displayName"] == "Deals")
        return f"/todo/lists/{quote(self._list, safe='')}/tasks"

    def _task(self, method: str, deal_id: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        return self.call(method, f"{self._tasks}/{quote(deal_id, safe='')}", body)

    def _note(self, deal_id: str) -> str:
        return str(self._task("GET", deal_id)["body"]["content"])

    def _write(self, deal_id: str, note: str, **more: object) -> None:
        self._task("PATCH", deal_id, {"body": {"content": note, "contentType": "text"}, **more})

    def _extension(self, deal_id: str) -> Mapping[str, Any]:
        """What was written back; nothing if nothing was."""
        address = f"/v1.0/me{self._tasks}/{quote(deal_id, safe='')}/extensions/{_EXTENSION}"
        answer = requests.get(
            f"{self.simulator.url}{address}",
            headers={OPERATOR_HEADER: "1", "Authorization": f"Bearer {self._signed_in()}"},
            timeout=ANSWER_SECONDS_MAX,
        )
        return dict(answer.json()) if answer.ok else {}

    def _first(self, count: int, fits: Callable[[Mapping[str, Any]], bool]) -> list[Deal]:
        found: list[Deal] = []
        for skip in range(0, DEALS, _PAGE):
            rows = self.call("GET", f"{self._tasks}?$top={_PAGE}&$skip={skip}")["value"]
            found += [_deal(row, {}) for row in rows if fits(row)]
            if len(found) >= count or len(rows) < _PAGE:
                break
        return found[:count]


def _deal(row: Mapping[str, Any], shown: Mapping[str, Any]) -> Deal:
    note = row["body"]["content"]
    said = dict(line.split(": ", 1) for line in note.splitlines() if ": " in line)
    price = next((Decimal(line["price"]) for line in _LINE.finditer(note)), Decimal(0))
    return Deal(
        id=row["id"],
        name=row["title"],
        number=said.get("Reference", ""),
        customer=said.get("Customer", ""),
        total=price,
        paid=Decimal(str(shown.get("amount_paid") or 0)),
        shown=shown,
    )


CRM = Outlook
