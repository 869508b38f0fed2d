"""GoldMine on the stage: a database in a file, and opportunities that were won.

It exports no `CRM`: the tour's workers run in Lambda, which has no SQLAlchemy and no way to the file. `sales.py` offers
it to tests that run the connector in their own process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

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
    """Implements `tieout_sandbox.sides.WonDeals`."""

    simulator: Server

    def __init__(self, connection: str = "goldmine", deals: int | None = None) -> None:
        self.connection = connection
        self._deals = deals or 1

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """The database with its sales."""
        settings = {"data": "sales", "deals": self._deals}
        log = folder / "goldmine.log"
        with Simulator("goldmine", settings, log=log, environment=environment) as self.simulator:
            yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - a connection without webhooks
        """The connection document."""
        file = self.simulator.call("GET", "/_sandbox/database")["file"]
        return _DOCUMENT.format(id=self.connection, file=json.dumps(file))

    def connect(self, operator: Operator) -> None:
        """Give the login, which a file does not ask for."""
        keys = json.dumps({"username": "tieout", "password": "correct horse"})
        operator.tieout("connect", self.connection, "--secrets-file", "-", given=keys)

    def won(self, count: int) -> list[Deal]:
        """The first won opportunities by their number."""
        rows = [row for row in self._headers() if _text(row["STATUS"]) == "Won"]
        return sorted(map(_deal, rows), key=lambda deal: deal.number)[:count]

    def deal(self, deal_id: str) -> Deal:
        """The opportunity now. Nothing is written back to it."""
        return next(_deal(row) for row in self._headers() if _text(row["OPID"]) == deal_id)

    def _headers(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.simulator.call("GET", "/_sandbox/rows/OPMGR?RECTYPE=O")
        return rows


def _deal(row: Mapping[str, Any]) -> Deal:
    return Deal(
        id=_text(row["OPID"]),
        name=_text(row["NAME"]),
        number=_text(row["F1"]),
        customer=_text(row["COMPANY"]),
        total=Decimal(str(row["CLOSEAMT"])),
    )


def _text(value: str | None) -> str:
    return (value or "").rstrip()
