"""The SQLite database behind TDS: what a real driver asks is put into SQLite's words.

It knows the statements that the connector makes and those that SQLAlchemy and pymssql send by themselves, no others.
The catalogue says that texts are `char` under a collation that ignores case, as in many GoldMine databases.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tieout_sandbox.simulators.faults import Faults, Kind
from tieout_sandbox.simulators.goldmine import tracking
from tieout_sandbox.simulators.goldmine.faulty import NUMBERS
from tieout_sandbox.simulators.goldmine.office import Office
from tieout_sandbox.simulators.goldmine.tds import HangUpError, RefusalError, Rows
from tieout_sandbox.simulators.goldmine.tracking import Tracking

_LITERAL = re.compile(r"(N?'(?:[^']|'')*')")
_TOP = re.compile(r"\ASELECT TOP (\d+) ")
_WORDS = (
    (re.compile(r"\[(\w+)\]"), r'"\1"'),
    (re.compile(r"COLLATE Latin1_General_BIN"), "COLLATE RTRIM"),
    (re.compile(r"\s*OPTION \(MAXDOP 1\)\s*\Z"), ""),
)
_TABLE = re.compile(r"sys\.objects\.name IN \(CAST\(N'(\w+)'")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+")
_TYPES: Mapping[str, tuple[str, int]] = {
    "DATETIME": ("datetime", 8),
    "TEXT": ("text", 16),
    "FLOAT": ("float", 8),
    "INTEGER": ("int", 4),
}
_BY_THEMSELVES: Mapping[str, str] = {
    "select @@version": "Microsoft SQL Server 2019 (RTM) - 15.0.2000.5 (X64)",
    "SELECT schema_name()": "dbo",
    "SELECT CAST('test max support' AS NVARCHAR(max))": "test max support",
    "SELECT 1 FROM fn_listextendedproperty(default, default, default, default, default, default, default)": "1",
}
_COLUMN = [
    "table_name",
    "owner",
    "column_name",
    "type_name",
    "base_type",
    "is_nullable",
    "max_length",
    "precision",
    "scale",
    "default_value",
    "collation_name",
    "computed_definition",
    "is_persisted",
    "is_identity",
    "seed_value",
    "increment_value",
    "comment",
    "column_id",
]
_KEY = ["table_name", "owner", "constraint_name", "column_name", "key_ordinal", "index_type"]


class SqlServerSession:
    """Answers one connection. Implements `tds.Session`.

    Args:
        office: Whose database it is.
        faults: Drawn for what reads (`GET /sql`), and for the commit of what was written (`PUT /commit`).
        tracking: Of changes, if it is switched on.
    """

    def __init__(self, office: Office, faults: Faults, tracking: Tracking | None = None) -> None:
        self._faults = faults
        self._connection = sqlite3.connect(office.file, isolation_level=None)
        self._wrote = False
        self._connection.create_function("UPPER", 1, lambda text: text and text.upper())  # SQLite's knows ASCII alone
        if tracking is not None:
            tracking.prepare(self._connection)
        else:
            for name, count in (("CURRENT_VERSION", 0), ("MIN_VALID_VERSION", 1)):
                self._connection.create_function(f"CHANGE_TRACKING_{name}", count, lambda *_: None)
            self._connection.create_function("OBJECT_ID", 1, lambda name: name)

    def close(self) -> None:
        """What was not committed is undone."""
        self._connection.close()

    def answer(self, text: str) -> Rows | int:
        """See `tds.Session`."""
        if text.startswith(("SET ", "use ")):
            return 0
        if text in {"BEGIN TRAN", "COMMIT TRAN", "ROLLBACK TRAN"}:
            self._end(text.removesuffix(" TRAN"))
            return 0
        if text in _BY_THEMSELVES:
            return Rows([""], [[_BY_THEMSELVES[text]]])
        if "sys." in text:
            return self._catalogue(text)
        return self._run(text)

    def _end(self, word: str) -> None:
        """Begin, commit or roll back."""
        wrote, self._wrote = self._wrote and word == "COMMIT", False
        late = self._drawn("PUT", "/commit") if wrote else False
        self._connection.execute(word)
        if late:
            raise HangUpError

    def _run(self, text: str) -> Rows | int:
        late = self._drawn("GET", "/sql") if text.startswith("SELECT") else False
        try:
            cursor = self._connection.execute(in_sqlites_words(text))
        except sqlite3.Error as error:
            raise RefusalError(102, f"Incorrect syntax: {error}") from error
        if late:
            raise HangUpError
        if cursor.description is None:
            self._wrote = True
            return cursor.rowcount
        return Rows([each[0] for each in cursor.description], [[_typed(value) for value in row] for row in cursor])

    def _drawn(self, method: str, path: str) -> bool:
        """True if the answer is to be lost; faults before the work are raised."""
        for fault in self._faults.draw(method, path):
            if fault.kind is Kind.LOST_ANSWER:
                return True
            number = NUMBERS.get(fault.status or 0)
            raise HangUpError if number is None else RefusalError(number, "made up for a test")
        return False

    def _catalogue(self, text: str) -> Rows:
        """What SQLAlchemy asks of it: whether a table is there, its columns, its primary key."""
        asked = _TABLE.search(text)
        table = asked[1] if asked is not None else ""
        columns = list(self._connection.execute(f"PRAGMA table_info({table})")) if table else []
        if not columns:
            return Rows(["name"])
        if "sys.key_constraints" in text:
            keys = [name for _, name, _, _, _, key in columns if key]
            return Rows(_KEY, [[table, "dbo", f"PK_{table}", name, 1, 1] for name in keys])
        if "sys.columns" not in text:
            return Rows(["name"], [[table]])
        rows = []
        for number, name, form, *_ in columns:
            kind, size = _TYPES.get(form) or ("char", int(form[5:-1]))
            collation = "SQL_Latin1_General_CP1_CI_AS" if kind in {"char", "text"} else None
            rows.append([table, "dbo", name, kind, kind, 1, size, 0, 0, None, collation, *[None] * 6, number])
        return Rows(_COLUMN, rows)


def in_sqlites_words(text: str) -> str:
    """A statement of ours for SQL Server, for SQLite."""
    count = _TOP.match(text)
    parts = _LITERAL.split(_TOP.sub("SELECT ", text))
    for place in range(0, len(parts), 2):
        for found, word in _WORDS:
            parts[place] = found.sub(word, parts[place])
    made = tracking.in_sqlites_words(
        "".join(part.removeprefix("N") if place % 2 else part for place, part in enumerate(parts))
    )
    return f"{made} LIMIT {count[1]}" if count else made


def _typed(value: Any) -> Any:  # noqa: ANN401 - SQLite's values
    """Times are text in SQLite."""
    if isinstance(value, str) and (found := _MOMENT.fullmatch(value)):
        return datetime.fromisoformat(found[1])
    return value
