"""The people of an office who use GoldMine, and what its program does to the tables when they do something.

Where no page says what the program does, it is our choice: the form of ids, and that whoever edits a detail does not
touch its customer's LASTDATE.
"""

from __future__ import annotations

import sqlite3
import string
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.goldmine import seed
from tieout_sandbox.simulators.goldmine.schema import COLUMNS, SHADOWED, create_statements, width

EMAIL_PART = 35
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHILDREN = ("CONTSUPP", "OPMGR", "CAL", "CONTHIST")

type Row = dict[str, Any]


class GoldMineSettings(BaseModel):
    """Settings of the simulator.

    Attributes:
        data: What stands in the database at first.
        deals: So many opportunities of the data set, spread evenly; all of them if not given.
        padded: Texts fill their columns with blanks, as in databases that were made of older ones.
        time_zone: Of the office's clocks.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    data: Literal["empty", "crm-sales-opportunities"] = "empty"
    deals: int | None = Field(default=None, ge=1)
    padded: bool = True
    time_zone: str = "Europe/Berlin"


class Office:
    """One database in a SQLite file. Safe between threads; each act is one transaction."""

    def __init__(self, file: Path, settings: GoldMineSettings, clock: Clock) -> None:
        self.file = file
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        fresh = not file.exists() or file.stat().st_size == 0
        with self._work() as connection:
            if fresh:
                for statement in create_statements():
                    connection.execute(statement)
                connection.execute("CREATE TABLE SANDBOX_IDS (NUMBER INTEGER)")
                connection.execute("INSERT INTO SANDBOX_IDS VALUES (0)")
        if fresh and settings.data != "empty":
            seed.fill(self, settings.deals)

    # Customers

    def add_customer(self, **columns: object) -> str:
        """ACCOUNTNO of a new customer; it has a row in CONTACT2, too."""
        with self._work() as connection:
            account = str(columns.pop("ACCOUNTNO", "") or self._id(connection, "A{:%y%m%d}{:05}", "#($ ", 20))
            stamps = self._stamps() | {"CREATEON": self._now().date(), "CREATEBY": "MASTER"}
            self._insert(connection, "CONTACT1", {"ACCOUNTNO": account, **columns, **stamps})
            self._insert(connection, "CONTACT2", {"ACCOUNTNO": account})
            return account

    def edit_customer(self, account: str, **columns: object) -> None:
        """Change columns of CONTACT1, CONTACT2, or both."""
        with self._work() as connection:
            for table in ("CONTACT1", "CONTACT2"):
                given = {name: value for name, value in columns.items() if name in COLUMNS[table]}
                given |= self._stamps() if table == "CONTACT1" else {}
                self._update(connection, table, "ACCOUNTNO", account, given)

    def delete_customer(self, account: str) -> None:
        """With all that belongs to it."""
        with self._work() as connection:
            for table in ("CONTACT1", "CONTACT2", *_CHILDREN):
                connection.execute(f"DELETE FROM {table} WHERE ACCOUNTNO = ?", [account])  # noqa: S608 - our tables

    def merge(self, loser: str, survivor: str) -> None:
        """Two customers become one: what belonged to the loser is the survivor's now."""
        with self._work() as connection:
            for table in _CHILDREN:
                statement = f"UPDATE {table} SET ACCOUNTNO = ? WHERE ACCOUNTNO = ?"  # noqa: S608 - our tables
                connection.execute(statement, [self._stored(table, "ACCOUNTNO", survivor), loser])
            for table in ("CONTACT1", "CONTACT2"):
                connection.execute(f"DELETE FROM {table} WHERE ACCOUNTNO = ?", [loser])  # noqa: S608 - our tables
            self._update(connection, "CONTACT1", "ACCOUNTNO", survivor, self._stamps())

    # Details

    def add_email(
        self, account: str, address: str, *, primary: bool = True, person: str = "", **columns: object
    ) -> str:
        """RECID of a new address; a primary one takes the flag from the others of the same person."""
        with self._work() as connection:
            if primary:
                connection.execute(
                    "UPDATE CONTSUPP SET ZIP = SUBSTR(ZIP, 1, 1) || '0' || SUBSTR(ZIP, 3) WHERE ACCOUNTNO = ?"
                    " AND RECTYPE = 'P' AND CONTACT = 'E-mail Address' AND RTRIM(COALESCE(LINKACCT, '')) = ?",
                    [account, person],
                )
            row = {
                "RECTYPE": "P",
                "CONTACT": "E-mail Address",
                "CONTSUPREF": address[:EMAIL_PART],
                "ADDRESS1": address[EMAIL_PART:],
                "LINKACCT": person,
                "ZIP": f"0{int(primary)}11",
            }
            return self._add_detail(connection, account, {**row, **columns})

    def add_web_site(self, account: str, address: str) -> str:
        """RECID of a new web site."""
        with self._work() as connection:
            row = {"RECTYPE": "P", "CONTACT": "Web Site", "CONTSUPREF": address}
            return self._add_detail(connection, account, row)

    def add_person(self, account: str, name: str, **columns: object) -> str:
        """RECID of a new additional contact."""
        with self._work() as connection:
            return self._add_detail(connection, account, {"RECTYPE": "C", "CONTACT": name, **columns})

    def _add_detail(self, connection: sqlite3.Connection, account: str, row: Mapping[str, object]) -> str:
        return self._insert(connection, "CONTSUPP", {"ACCOUNTNO": account, **row, **self._stamps()})

    def edit_detail(self, recid: str, **columns: object) -> None:
        """Change a row of CONTSUPP."""
        with self._work() as connection:
            self._update(connection, "CONTSUPP", "RECID", recid, {**columns, **self._stamps()})

    def delete_detail(self, recid: str) -> None:
        """Remove a row of CONTSUPP."""
        with self._work() as connection:
            connection.execute("DELETE FROM CONTSUPP WHERE RECID = ?", [recid])

    # Opportunities

    def add_deal(self, account: str, name: str, amount: float, **columns: object) -> str:
        """OPID of a new opportunity: its header, and the row of an influencer, as others have it."""
        with self._work() as connection:
            opid = str(columns.pop("OPID", "") or self._id(connection, "O{:%y%m%d}{:05}", "%&", 15))
            held = connection.execute("SELECT COMPANY FROM CONTACT1 WHERE ACCOUNTNO = ?", [account]).fetchone()
            row = {
                "OPID": opid,
                "RECTYPE": "O",
                "ACCOUNTNO": account,
                "COMPANY": (held["COMPANY"] or "").rstrip() if held else "",
                "NAME": name,
                "USERID": "MASTER",
                "STATUS": "Open",
                "FORAMT": amount,
                "STARTDATE": self._now().date(),
                "CLOSEAMT": 0.0,
                "CLOSEDDATE": date(1899, 12, 30),
                "RECID": opid,
            }
            self._insert(connection, "OPMGR", {**row, **columns})
            self._insert(connection, "OPMGR", {"OPID": opid, "RECTYPE": "OC", "ACCOUNTNO": account, "NAME": name})
            return opid

    def edit_deal(self, opid: str, **columns: object) -> None:
        """Change the header."""
        with self._work() as connection:
            names = [f"{name} = ?" for name in columns]
            values = [self._stored("OPMGR", name, value) for name, value in columns.items()]
            statement = f"UPDATE OPMGR SET {', '.join(names)} WHERE OPID = ? AND RECTYPE = 'O'"  # noqa: S608 - ours
            connection.execute(statement, [*values, opid])

    def win(self, opid: str, amount: float, on: date) -> None:
        """Close it, won."""
        self.edit_deal(opid, STATUS="Won", CLOSEAMT=amount, CLOSEDDATE=on)

    def add_field(self, opid: str, name: str, value: str) -> None:
        """An additional field of an opportunity."""
        with self._work() as connection:
            self._insert(connection, "OPMGRFLD", {"LOPID": opid, "FNAME": name, "FVALUE": value})

    def delete_deal(self, opid: str) -> None:
        """With all of its rows."""
        with self._work() as connection:
            connection.execute("DELETE FROM OPMGR WHERE OPID = ?", [opid])
            connection.execute("DELETE FROM OPMGRFLD WHERE LOPID = ?", [opid])

    # Sales

    def forecast_sale(self, opid: str, product: str, probability: int = 50) -> str:
        """RECID of a pending sale that is linked to the opportunity."""
        with self._work() as connection:
            header = self._header(connection, opid)
            row = {"RECTYPE": "S", "ACCOUNTNO": header["ACCOUNTNO"], "LOPRECID": header["RECID"], "REF": product}
            return self._insert(connection, "CAL", {**row, "DURATION": probability, "ONDATE": self._now().date()})

    def complete_sale(self, recid: str, amount: str, units: str = "1", person: str = "") -> str:
        """The pending row goes, and a row of history comes, with another RECID: that is returned."""
        with self._work() as connection:
            row = connection.execute("SELECT * FROM CAL WHERE RECID = ?", [recid]).fetchone()
            connection.execute("DELETE FROM CAL WHERE RECID = ?", [recid])
            done = {name: row[name] for name in ("ACCOUNTNO", "LOPRECID", "ONDATE", "USERID")}
            reference = f"{(row['REF'] or '').rstrip()} (oc: {person})" if person else row["REF"]
            sale = {"SRECTYPE": "S", "RECTYPE": "S", "REF": reference, "DURATION": amount, "UNITS": units}
            return self._insert(connection, "CONTHIST", {**done, **sale, **self._stamps()})

    def _header(self, connection: sqlite3.Connection, opid: str) -> Row:
        found = connection.execute("SELECT * FROM OPMGR WHERE OPID = ? AND RECTYPE = 'O'", [opid]).fetchone()
        return dict(found)

    # Rows

    def rows(self, table: str, **equal: str) -> list[Row]:
        """As they are stored."""
        conditions = " AND ".join(f"{name} = ?" for name in equal) or "1"
        return self.query(f"SELECT * FROM {table} WHERE {conditions}", *equal.values())  # noqa: S608 - our own names

    def query(self, statement: str, *values: object) -> list[Row]:
        """What a consultant asks by SQL."""
        with self._work() as connection:
            return [dict(row) for row in connection.execute(statement, values)]

    def run(self, statement: str, *values: object) -> None:
        """What a consultant does by SQL: no stamp is set, and no shadow."""
        with self._work() as connection:
            connection.execute(statement, values)

    def _insert(self, connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> str:
        row = {"RECID": self._id(connection, "{1:05}", "$ %#", 15), **row}
        row = {**row, **_shadows(table, row)}
        names = [name for name in row if name in COLUMNS[table]]
        values = [self._stored(table, name, row[name]) for name in names]
        marks = ", ".join("?" * len(names))
        connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)  # noqa: S608 - ours
        return str(row["RECID"])

    def _update(
        self, connection: sqlite3.Connection, table: str, key: str, value: str, row: Mapping[str, object]
    ) -> None:
        if not row:
            return
        given = {**row, **_shadows(table, row)}
        names = [f"{name} = ?" for name in given]
        values = [self._stored(table, name, each) for name, each in given.items()]
        connection.execute(f"UPDATE {table} SET {', '.join(names)} WHERE {key} = ?", [*values, value])  # noqa: S608 - ours

    def _stored(self, table: str, column: str, value: object) -> object:
        """A day is midnight; a text is cut at its column's width and, if so set, padded to it."""
        if isinstance(value, date):
            return f"{datetime.combine(value, time.min):%Y-%m-%d %H:%M:%S.%f}"
        size = width(table, column)
        if not isinstance(value, str) or size is None:
            return value
        return value[:size].ljust(size) if self._settings.padded else value[:size]

    def _stamps(self) -> Row:
        now = self._now()
        return {"LASTUSER": "MASTER", "LASTDATE": now.date(), "LASTTIME": f"{now:%H:%M}"}

    def _now(self) -> datetime:
        return self._clock.now().astimezone(ZoneInfo(self._settings.time_zone))

    def _id(self, connection: sqlite3.Connection, form: str, signs: str, size: int) -> str:
        """Characters of all sorts, as GoldMine's ids have them: blanks, signs, both cases."""
        connection.execute("UPDATE SANDBOX_IDS SET NUMBER = NUMBER + 1")
        number = int(connection.execute("SELECT NUMBER FROM SANDBOX_IDS").fetchone()[0])
        word = "".join(_DIGITS[(number * 7919 + place * 31) % len(_DIGITS)] for place in range(4))
        return f"{form.format(self._now(), number)}{signs}{word}"[:size].rstrip()

    @contextmanager
    def _work(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = sqlite3.connect(self.file)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = OFF")  # a scratch database may be lost with the machine
            try:
                with connection:
                    yield connection
            finally:
                connection.close()


def _shadows(table: str, row: Mapping[str, object]) -> Row:
    return {f"U_{name}": str(row[name] or "").upper() for name in SHADOWED[table] if name in row}
