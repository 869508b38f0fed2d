"""GoldMine on the stage: a database in a file, an agent beside it, and the sales team at work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tieout_sandbox.dataset import DEALS
from tieout_sandbox.served import Server, Simulator
from tieout_sandbox.sides import Deal, Operator

_DOCUMENT = """\
kind: connection
id: {id}
provider: goldmine
settings:
  sqlite_file: {file}
  deal_number_field: F1
"""


class GoldMine:
    """Implements `tieout_sandbox.sides.CrmSide`."""

    provider = "goldmine"
    title = called = "GoldMine"
    limits = ""
    mistake = "A deal is won, and nobody entered the day"
    shows_payments = False
    simulator: Server

    def __init__(self, connection: str = "goldmine", deals: int | None = None) -> None:
        self.connection = connection
        self._deals = deals
        self._before: dict[str, dict[str, Any]] = {}

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """The database with the real data set."""
        settings = {"data": "crm-sales-opportunities", "deals": self._deals}
        log = folder / "goldmine.log"
        with Simulator("goldmine", settings, log=log, environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - a connection without webhooks
        """The connection document."""
        return _DOCUMENT.format(id=self.connection, file=json.dumps(self._file))

    def connect(self, operator: Operator) -> None:
        """An agent stands beside the database, with the login, which a file does not ask for."""
        operator.install_agent(self.connection, {"username": "tieout", "password": "correct horse"})

    def writes(self) -> int:
        """None: the connection only reads."""
        return 0

    def addresses(self) -> Sequence[tuple[str, str]]:
        """Where the database can be opened."""
        return [("GoldMine's database", f"{self._file} (SQLite)")]

    @property
    def _file(self) -> str:
        return str(self.simulator.call("GET", "/_sandbox/database")["file"])

    # The sales team

    def deals_count(self) -> int:
        """Of the data set."""
        return self._deals or DEALS

    def won(self, count: int) -> list[Deal]:
        """The first won opportunities by number."""
        return self._first(count, STATUS="Won")

    def open(self, count: int) -> list[Deal]:
        """The first open opportunities of a customer, by number."""
        return [deal for deal in self._first(None, STATUS="Open") if deal.customer][:count]

    def deal(self, deal_id: str) -> Deal:
        """The opportunity now. Nothing is written back to it."""
        return _deal(self._header(deal_id))

    def reprice(self, deal: Deal, total: Decimal) -> None:
        """Closed with another amount."""
        self._edit(deal.id, CLOSEAMT=float(total))

    def win(self, deal: Deal, on: date) -> None:
        """Closed on this day, won."""
        self._edit(deal.id, STATUS="Won", CLOSEAMT=float(deal.total), days={"CLOSEDDATE": on.isoformat()})

    def make_mistake(self, deal: Deal, on: date) -> str:  # noqa: ARG002 - the day is what is left out
        """Won, but closed on no day."""
        self._before[deal.id] = self._header(deal.id)
        self._edit(deal.id, STATUS="Won", CLOSEAMT=float(deal.total))
        return deal.name

    def mend_mistake(self, deal: Deal) -> None:
        """Open again."""
        former = self._before.pop(deal.id)
        self._edit(deal.id, **{name: former[name] for name in ("STATUS", "CLOSEAMT")})

    def _first(self, count: int | None, **equal: str) -> list[Deal]:
        found = [_deal(row) for row in self._rows(**equal)]
        return sorted(found, key=lambda deal: deal.number)[:count]

    def _header(self, deal_id: str) -> dict[str, Any]:
        (row,) = self._rows(OPID=deal_id)
        return row

    def _rows(self, **equal: str) -> list[dict[str, Any]]:
        asked = urlencode({"RECTYPE": "O", **equal})
        rows: list[dict[str, Any]] = self.simulator.call("GET", f"/_sandbox/rows/OPMGR?{asked}")
        return rows

    def _edit(self, deal_id: str, **columns: object) -> None:
        self.simulator.call("POST", "/_sandbox/deals", {"opid": deal_id, **columns})


def _deal(row: Mapping[str, Any]) -> Deal:
    won = _text(row["STATUS"]) == "Won"
    return Deal(
        id=_text(row["OPID"]),
        name=_text(row["NAME"]),
        number=_text(row["F1"]),
        customer=_text(row["COMPANY"]),
        total=Decimal(str(row["CLOSEAMT" if won else "FORAMT"])),
    )


def _text(value: str | None) -> str:
    return (value or "").rstrip()


CRM = GoldMine
