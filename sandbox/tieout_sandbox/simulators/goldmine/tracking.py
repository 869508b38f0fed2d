"""Change tracking as SQL Server has it, in SQLite: triggers write a log, and what asks for it is translated.

It shows that the connector puts the right questions together; whether SQL Server would take their words, it cannot
show. Source: Microsoft, "CHANGETABLE (Transact-SQL)": one row for each changed row, with its primary key and its last
operation.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import sqlalchemy as sa

from tieout_sandbox.simulators.goldmine.office import Office

_ASKED = re.compile(r"CHANGETABLE\(CHANGES (\w+), (\d+)\) AS CT")
_ANSWERED = (
    r"(SELECT RECID, MAX(VERSION) AS SYS_CHANGE_VERSION, OPERATION AS SYS_CHANGE_OPERATION FROM SANDBOX_TRACKED"
    r" WHERE NAME = '\1' AND VERSION > \2 GROUP BY RECID) AS CT"
)


def in_sqlites_words(statement: str) -> str:
    """With the log in place of what SQL Server calls the changes of a table."""
    return _ASKED.sub(_ANSWERED, statement)


class Tracking:
    """Switched on for some tables of a database.

    Attributes:
        valid_from: What was before this version is forgotten.
    """

    def __init__(self, office: Office, tables: tuple[str, ...]) -> None:
        self._office = office
        self._tables = tables
        self.valid_from = 0
        office.run(
            "CREATE TABLE SANDBOX_TRACKED"
            " (VERSION INTEGER PRIMARY KEY AUTOINCREMENT, NAME TEXT, RECID CHAR(15) COLLATE RTRIM, OPERATION TEXT)"
        )
        for table in tables:
            for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                office.run(
                    f"CREATE TRIGGER TRACK_{table}_{event} AFTER {event} ON {table} BEGIN"  # noqa: S608 - our own names
                    f" INSERT INTO SANDBOX_TRACKED (NAME, RECID, OPERATION)"
                    f" VALUES ('{table}', {row}.RECID, '{event[0]}'); END"
                )

    def version(self) -> int:
        """Of the last change."""
        (row,) = self._office.query("SELECT COALESCE(MAX(VERSION), 0) AS VERSION FROM SANDBOX_TRACKED")
        return int(row["VERSION"])

    def install(self, engine: sa.Engine) -> sa.Engine:
        """Let the engine's connections answer questions for tracking."""

        @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
        def translate(*called: Any) -> tuple[str, Any]:  # noqa: ANN401 - SQLAlchemy's form
            _, _, statement, parameters, *_ = called
            return in_sqlites_words(statement), parameters

        return engine

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Give a connection SQL Server's functions."""
        current = self.version()
        connection.create_function("CHANGE_TRACKING_CURRENT_VERSION", 0, lambda: current)
        connection.create_function("OBJECT_ID", 1, lambda name: name)
        connection.create_function(
            "CHANGE_TRACKING_MIN_VALID_VERSION", 1, lambda name: self.valid_from if name in self._tables else None
        )
