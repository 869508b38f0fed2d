"""The SQL, as SQLAlchemy builds it for whichever database is there.

This module and `database.py` load SQLAlchemy. They are loaded when a connection is opened, as Lambda has no SQLAlchemy.

Ids are looked up by their column as it is, so that its index serves; a database that does not regard case then gives
more than was asked for, and the caller picks. Order and paging are binary everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from tieout.connectors.goldmine import translate
from tieout.connectors.goldmine.translate import EMAIL, EMAIL_PART, WEB_SITE

type Select = sa.Select[Any]

KEY = "KEY_"
MSSQL = "mssql"
ONE_CORE = "OPTION (MAXDOP 1)"
"""A query of ours takes one processor: the database is its users'."""

_BINARY = {MSSQL: "Latin1_General_BIN", "sqlite": "RTRIM"}
"""By dialect, the collation that regards case and no blanks at the end."""

TABLES = ("CONTACT1", "CONTACT2", "CONTSUPP", "OPMGR", "OPMGRFLD", "CONTHIST")
NEEDED: Mapping[str, Sequence[str]] = {
    "CONTACT1": ("ACCOUNTNO", "COMPANY", "CONTACT"),
    "CONTACT2": ("ACCOUNTNO",),
    "CONTSUPP": ("ACCOUNTNO", "RECTYPE", "CONTACT", "CONTSUPREF", "LINKACCT", "RECID"),
    "OPMGR": ("OPID", "RECTYPE", "ACCOUNTNO", "NAME", "STATUS", "RECID"),
}
"""Without these nothing works; of the others, what is missing leaves its field absent."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is here.

    Attributes:
        columns: By name in capitals.
        widths: Of text columns: how many characters they take.
        key: Names of the primary key's columns, in capitals; empty if it has none.
    """

    selectable: sa.TableClause
    columns: Mapping[str, ColumnElement[Any]]
    widths: Mapping[str, int]
    key: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, columns: Mapping[str, sa.types.TypeEngine[Any]], *, key: Sequence[str] = ()) -> Table:
        """From what the catalogue says: the columns' names, in whatever case, with their types."""
        made = sa.table(name, *(sa.column(each, kind) for each, kind in columns.items()))
        lengths = {each.upper(): getattr(kind, "length", None) for each, kind in columns.items()}
        return cls(
            made,
            {each.upper(): made.c[each] for each in columns},
            {each: length for each, length in lengths.items() if length},
            tuple(each.upper() for each in key),
        )

    def __getitem__(self, column: str) -> ColumnElement[Any]:
        return self.columns[column]

    def has(self, *columns: str) -> bool:
        """True if all of these are there."""
        return all(each in self.columns for each in columns)


class Statements:
    """For one database.

    Args:
        dialect: SQLAlchemy's name, `mssql` or `sqlite`.
        tables: By name in capitals; those that are not there are left out.
    """

    def __init__(self, dialect: str, tables: Mapping[str, Table]) -> None:
        self._dialect = dialect
        self._tables = tables

    def table(self, name: str) -> Table | None:
        """None if it is not there."""
        return self._tables.get(name)

    # Keys

    def accounts(self, after: str, limit: int) -> Select:
        """ACCOUNTNO of customers, in order."""
        return self._page(self._keys("CONTACT1", "ACCOUNTNO"), after, limit)

    def additional_contacts(self, after: str, limit: int) -> Select:
        """RECID of details that are persons."""
        return self._page(self._keys("CONTSUPP", "RECID", self._tables["CONTSUPP"]["RECTYPE"] == "C"), after, limit)

    def deals(self, after: str, limit: int) -> Select:
        """OPID of opportunities."""
        return self._page(self._keys("OPMGR", "OPID", self._is_header()), after, limit)

    def edited_accounts(self, since: date, limit: int) -> Select:
        """ACCOUNTNO of customers that were edited on this day or later, or of which a detail was."""
        first = datetime.combine(since, time.min)
        found = [
            self._keys(name, "ACCOUNTNO", table["LASTDATE"] >= first)
            for name, table in self._tables.items()
            if name in {"CONTACT1", "CONTSUPP"} and table.has("LASTDATE")
        ]
        return self._page(_union(found), "", limit)

    def persons_of(self, accounts: Collection[str]) -> Select:
        """RECID of the additional persons of these customers."""
        table = self._tables["CONTSUPP"]
        condition = sa.and_(table["RECTYPE"] == "C", table["ACCOUNTNO"].in_(list(accounts)))
        return self._keys("CONTSUPP", "RECID", condition)

    def _keys(self, name: str, column: str, *conditions: ColumnElement[bool]) -> Select:
        table = self._tables[name]
        return sa.select(self._exact(table[column]).label(KEY)).where(table[column] != "", *conditions)

    def _page(self, keys: Select, after: str, limit: int) -> Select:
        """The next ones, without repeating any, in binary order."""
        inner = keys.distinct().subquery("K")
        key = self._exact(inner.c[KEY])
        page = sa.select(inner.c[KEY]).order_by(key).limit(limit)
        return self._hinted(page.where(key > after) if after else page)

    def _exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return sa.collate(column, _BINARY[self._dialect])

    def _is_header(self) -> ColumnElement[bool]:
        """Position 1 says opportunity, position 2 is blank: other rows of a deal are its people, issues and so on."""
        kind = self._tables["OPMGR"]["RECTYPE"]
        return sa.or_(kind == "O", kind.like("O %"))

    # Rows

    def rows(self, name: str, column: str, values: Collection[str], *conditions: ColumnElement[bool]) -> Select:
        """The columns that we read of the rows whose `column` is one of the values (perhaps but for its case)."""
        table = self._tables[name]
        chosen = [table[each].label(each) for each in sorted(table.columns) if _READ[name](each)]
        return self._hinted(sa.select(*chosen).where(table[column].in_(list(values)), *conditions))

    def addresses(self, column: str, values: Collection[str]) -> Select:
        """Details that hold e-mail addresses and web sites, of these customers (ACCOUNTNO) or persons (LINKACCT)."""
        table = self._tables["CONTSUPP"]
        return self.rows("CONTSUPP", column, values, table["RECTYPE"] == "P", table["CONTACT"].in_([EMAIL, WEB_SITE]))

    def persons(self, column: str, values: Collection[str]) -> Select:
        """Details that are persons."""
        return self.rows("CONTSUPP", column, values, self._tables["CONTSUPP"]["RECTYPE"] == "C")

    def opportunities(self, values: Collection[str]) -> Select:
        """Headers of these opportunities."""
        return self.rows("OPMGR", "OPID", values, self._is_header())

    def sales(self, values: Collection[str]) -> Select:
        """Completed sales that are linked to these opportunities."""
        return self.rows("CONTHIST", "LOPRECID", values, self._tables["CONTHIST"]["SRECTYPE"] == "S")

    def alike(
        self, name: str, column: str, key: str, values: Iterable[str], *conditions: ColumnElement[bool]
    ) -> Select:
        """Keys of rows whose column equals one of the values, ignoring case."""
        table = self._tables[name]
        condition = _upper(table[column]).in_([each.upper() for each in values])
        return self._hinted(self._keys(name, key, condition, *conditions))

    def with_address(self, values: Iterable[str]) -> Select:
        """E-mail details that begin like one of these addresses."""
        table = self._tables["CONTSUPP"]
        first = _upper(table["CONTSUPREF"]).in_([each[:EMAIL_PART].upper() for each in values])
        return self.rows("CONTSUPP", "CONTACT", [EMAIL], table["RECTYPE"] == "P", first)

    def persons_named(self, values: Iterable[str]) -> Select:
        """RECID of additional persons with one of these names."""
        return self.alike("CONTSUPP", "CONTACT", "RECID", values, self._tables["CONTSUPP"]["RECTYPE"] == "C")

    def opportunities_named(self, values: Iterable[str]) -> Select:
        """OPID of opportunities with one of these names."""
        return self.alike("OPMGR", "NAME", "OPID", values, self._is_header())

    # Change tracking
    # Source: Microsoft, "CHANGETABLE (Transact-SQL)", "CHANGE_TRACKING_MIN_VALID_VERSION", "Work with change tracking".

    def tracking_version(self) -> Select:
        """The version of the last change in the whole database; NULL if it keeps none."""
        return sa.select(sa.func.CHANGE_TRACKING_CURRENT_VERSION().label("VERSION"))

    def tracking_valid_from(self, name: str) -> Select:
        """From which version on a table's changes are complete; NULL if they are not kept."""
        found = sa.func.CHANGE_TRACKING_MIN_VALID_VERSION(sa.func.OBJECT_ID(name))
        return sa.select(found.label("VERSION"))

    def tracked(self, places: Mapping[str, str], since: int, after: str, limit: int) -> Select:
        """Keys of what was changed after a version; `places` says by table which column is the key."""
        return self._page(_union([self._tracked(name, column, since) for name, column in places.items()]), after, limit)

    def _tracked(self, name: str, column: str, since: int) -> Select:
        table = self._tables[name]
        on = sa.and_(*(sa.literal_column(f"CT.{each}") == table[each] for each in table.key))
        joined = sa.join(_changes(name, since), table.selectable, on)
        return sa.select(self._exact(table[column]).label(KEY)).select_from(joined).where(table[column] != "")

    def tracked_count(self, name: str, since: int, *, operation: str = "") -> Select:
        """How many rows of a table were changed after a version; `D` counts those deleted."""
        count = sa.select(sa.func.count().label("ROWS_")).select_from(_changes(name, since))
        kind = sa.literal_column("CT.SYS_CHANGE_OPERATION", sa.String())
        return count.where(kind == operation) if operation else count

    # Writing

    def set_user_fields(self, account: str, values: Mapping[str, Any], former: Mapping[str, Any]) -> sa.Update:
        """Of one customer's row of CONTACT2, only where the former values still stand."""
        table = self._tables["CONTACT2"]
        stands = [table[name].is_(None) if value is None else table[name] == value for name, value in former.items()]
        return self._of_account("CONTACT2", account).where(*stands).values({table[n]: v for n, v in values.items()})

    def stamp(self, account: str, local: datetime, user: str) -> sa.Update:
        """LASTDATE, LASTTIME and LASTUSER of one customer."""
        table = self._tables["CONTACT1"]
        stamps = {
            "LASTDATE": datetime.combine(local.date(), time.min),
            "LASTTIME": f"{local:%H:%M}",
            "LASTUSER": user,
        }
        given = {table[name]: value for name, value in stamps.items() if table.has(name)}
        return self._of_account("CONTACT1", account).values(given)

    def _of_account(self, name: str, account: str) -> sa.Update:
        table = self._tables[name]
        # Twice, for the index and for the case.
        return sa.update(table.selectable).where(
            table["ACCOUNTNO"] == account, self._exact(table["ACCOUNTNO"]) == account
        )

    def _hinted(self, statement: Select) -> Select:
        return statement.with_statement_hint(ONE_CORE, MSSQL)


def _upper(column: ColumnElement[Any]) -> ColumnElement[str]:
    return sa.func.upper(sa.func.rtrim(column))


def _changes(name: str, since: int) -> sa.TextClause:
    return sa.text(f"CHANGETABLE(CHANGES {name}, {since:d}) AS CT")


def _union(found: Sequence[Select]) -> Select:
    if len(found) == 1:
        return found[0]
    inner = sa.union(*found).subquery("U")
    return sa.select(inner.c[KEY])


_READ: Mapping[str, Callable[[str], bool]] = {
    "CONTACT1": translate.CONTACT1.__contains__,
    "CONTACT2": lambda name: name == "ACCOUNTNO" or translate.is_user_field(name),
    "CONTSUPP": translate.CONTSUPP.__contains__,
    "OPMGR": translate.OPMGR.__contains__,
    "OPMGRFLD": translate.OPMGRFLD.__contains__,
    "CONTHIST": translate.CONTHIST.__contains__,
}
