"""A connection to the SQLite file on which things go wrong as they do on the way to a SQL Server.

What is drawn from the faults is a statement that reads (`GET /sql`), and the commit of one that writes (`PUT /commit`).
Errors have the form of pymssql's: `((number, text),)`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Never

import sqlalchemy as sa

from tieout_sandbox.simulators.faults import Faults, Kind

READ_FAILED, DEADLOCK, LOCK_TIME_OUT, BROKEN, LOGIN = 20004, 1205, 1222, 10054, 18456
NUMBERS: Mapping[int, int] = {401: LOGIN, 429: LOCK_TIME_OUT}
"""What a fault of kind `status` is here; any other status is a connection that broke."""


def faulty_engine(file: Path, faults: Faults, *, refused: Callable[[], int], prepare: Any = None) -> sa.Engine:  # noqa: ANN401 - a callback
    """An engine whose connections fail as the faults say.

    Args:
        file: The database.
        faults: Those in force.
        refused: The number of the error with which connecting fails; 0 if it does not.
        prepare: Called with each new connection.
    """

    class Connection(sqlite3.Connection):
        def cursor(self) -> Cursor:  # type: ignore[override]  # SQLAlchemy gives no factory
            return Cursor(self)

        def commit(self) -> None:
            kind = _drawn(faults, "PUT", "/commit") if self.in_transaction else None
            super().commit()
            if kind is Kind.LOST_ANSWER:
                fail(READ_FAILED)

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = ()) -> Cursor:  # noqa: ANN401 - sqlite3's signature
            kind = _drawn(faults, "GET", "/sql") if sql.startswith(("SELECT", "PRAGMA", "WITH")) else None
            super().execute(sql, parameters)
            if kind is Kind.LOST_ANSWER:
                fail(READ_FAILED)
            return self

    def connect() -> sqlite3.Connection:
        if number := refused():
            fail(number)
        connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, factory=Connection)
        if prepare is not None:
            prepare(connection)
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)


def _drawn(faults: Faults, method: str, path: str) -> Kind | None:
    """The fault that comes after the work; those before it are raised."""
    for fault in faults.draw(method, path):
        if fault.kind is Kind.STATUS:
            fail(NUMBERS.get(fault.status or 0, BROKEN))
        if fault.kind is Kind.RESET:
            fail(BROKEN)
        if fault.kind is Kind.LOST_ANSWER:
            return fault.kind
    return None


def fail(number: int) -> Never:
    """Raise what pymssql raises for this number."""
    raise sqlite3.OperationalError((number, b"made up for a test\n"))
