"""GoldMine's tables as far as the connector and what people do touch them.

Columns and widths are those of the published table references (`connectors/goldmine/README.md`). The types are
SQLite's; ids and short texts have the collation RTRIM, as SQL Server does not regard blanks at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TEXT = "CHAR({}) COLLATE RTRIM"
_LAST = "LASTUSER 8, LASTDATE date, LASTTIME 5"
_POSTAL = "ADDRESS1 40, ADDRESS2 40, ADDRESS3 40, CITY 30, STATE 20, ZIP 10, COUNTRY 20"

_TABLES: Mapping[str, str] = {
    "CONTACT1": (
        "ACCOUNTNO 20, COMPANY 40, CONTACT 40, LASTNAME 15, DEPARTMENT 35, TITLE 35, SECR 20, PHONE1 25, PHONE2 25,"
        f" PHONE3 25, FAX 25, EXT1 6, {_POSTAL}, DEAR 20, SOURCE 20, KEY1 20, KEY2 20, KEY3 20, KEY4 20, KEY5 20,"
        f" STATUS 3, NOTES text, MERGECODES 20, CREATEBY 8, CREATEON date, CREATEAT 5, OWNER 8, {_LAST}, U_COMPANY 40,"
        " U_CONTACT 40, U_LASTNAME 15, U_CITY 30, U_STATE 20, U_COUNTRY 20, U_KEY1 20, U_KEY2 20, U_KEY3 20, U_KEY4 20,"
        " U_KEY5 20, RECID 15"
    ),
    "CONTACT2": (
        "ACCOUNTNO 20, PREVRESULT 65, NEXTACTION 65, ACTIONON date, UCLIENTSTA 20, USERDEF01 10, UBALANCE float,"
        " UPAIDON date, URATING int, RECID 15"
    ),
    "CONTSUPP": (
        f"ACCOUNTNO 20, RECTYPE 1, CONTACT 30, TITLE 35, CONTSUPREF 35, DEAR 20, PHONE 20, EXT 6, FAX 20, LINKACCT 20,"
        f" NOTES text, {_POSTAL}, MERGECODES 20, STATUS 4, {_LAST}, U_CONTACT 30, U_CONTSUPREF 35, RECID 15"
    ),
    "OPMGR": (
        "OPID 15, RECTYPE 3, ACCOUNTNO 20, USERID 8, FLAGS 10, COMPANY 40, CONTACT 40, NAME 50, STATUS 50, CYCLE 50,"
        " STAGE 30, SOURCE 30, F1 20, F2 20, F3 20, STARTDATE date, CLOSEDDATE date, CLOSEBY date, FORAMT float,"
        " FORPROB int, CLOSEAMT float, PRODUCTNAME 50, NOTES text, U_STAGE 30, RECID 15"
    ),
    "OPMGRFLD": "LOPID 15, FNAME 40, FVALUE 80, RECID 15",
    "CAL": (
        "USERID 8, ACCOUNTNO 20, ONDATE date, ONTIME 5, ENDDATE date, ACTVCODE 3, DURATION int, RECTYPE 1, REF 80,"
        " LINKRECID 15, LOPRECID 15, RECID 15"
    ),
    "CONTHIST": (
        "USERID 8, ACCOUNTNO 20, SRECTYPE 1, RECTYPE 10, ONDATE date, ONTIME 5, ACTVCODE 3, RESULTCODE 3, STATUS 2,"
        f" DURATION 8, UNITS 8, REF 65, NOTES text, LINKRECID 15, LOPRECID 15, CREATEBY 8, {_LAST}, RECID 15"
    ),
}
_TYPES = {"date": "DATETIME", "text": "TEXT", "float": "FLOAT", "int": "INTEGER"}

COLUMNS: Mapping[str, Mapping[str, str]] = {
    table: {name: form for name, _, form in (part.strip().partition(" ") for part in listed.split(","))}
    for table, listed in _TABLES.items()
}
"""By table and column, the width of a text or the name of a type."""

SHADOWED: Mapping[str, tuple[str, ...]] = {
    table: tuple(name[2:] for name in columns if re.match(r"U_[A-Z]", name)) for table, columns in COLUMNS.items()
}
"""By table, the columns that have a copy in capitals, called `U_` and their name."""


def create_statements() -> list[str]:
    """What makes the tables."""
    return [
        f"CREATE TABLE {table} ({', '.join(f'{name} {_type(name, form)}' for name, form in columns.items())})"
        for table, columns in COLUMNS.items()
    ]


def width(table: str, column: str) -> int | None:
    """How many characters a text has; None for other types."""
    form = COLUMNS[table][column]
    return int(form) if form.isdigit() else None


def _type(name: str, form: str) -> str:
    made = _TYPES[form] if form in _TYPES else _TEXT.format(form)
    return f"{made} PRIMARY KEY" if name == "RECID" else made
