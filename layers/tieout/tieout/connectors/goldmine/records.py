"""The records of each kind, put together from the tables. One of `feed.Source` for each kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date

from tieout.connectors.goldmine.database import Database, Row
from tieout.connectors.goldmine.feed import Version
from tieout.connectors.goldmine.statements import KEY, Select
from tieout.connectors.goldmine.translate import MAIN, MORE, Translator
from tieout.domain.records import Record

_CUSTOMER = {"CONTACT1": "ACCOUNTNO", "CONTACT2": "ACCOUNTNO", "CONTSUPP": "ACCOUNTNO"}


class _Kind:
    """What the kinds share."""

    def __init__(self, database: Database, translator: Translator) -> None:
        self._database = database
        self._to = translator

    def _keys(self, statement: Select) -> list[str]:
        found = (self._to.key(row, KEY) for row in self._database.rows(statement))
        return list(dict.fromkeys(each for each in found if each))

    def _page(self, statement: Callable[[str, int], Select], after: str, limit: int) -> tuple[list[str], str]:
        """Keys, and after which to go on. A page that is not full is the last."""
        rows = self._database.rows(statement(after, limit))
        keys = list(dict.fromkeys(key for row in rows if (key := self._to.key(row, KEY))))
        return keys, keys[-1] if keys and len(rows) >= limit else ""

    def _by(self, rows: Iterable[Row], column: str, wanted: Collection[str]) -> dict[str, list[Row]]:
        """Rows by a key that is just one of those wanted: a database that does not regard case gives others too."""
        names = set(wanted)
        found: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if (key := self._to.key(row, column)) in names:
                found[key].append(row)
        return found

    def _details(self, column: str, keys: Collection[str]) -> Mapping[str, Sequence[Row]]:
        statement = self._database.statements.addresses(column, keys)
        return self._by(self._database.rows(statement), column, keys)

    def _customers(self, keys: Collection[str]) -> Mapping[str, Row]:
        statement = self._database.statements.rows("CONTACT1", "ACCOUNTNO", keys)
        return {key: rows[0] for key, rows in self._by(self._database.rows(statement), "ACCOUNTNO", keys).items()}

    def _tracked_version(self, tables: Iterable[str]) -> Version | None:
        """None unless every one of the tables is tracked, and has the primary key that tells its rows apart."""
        statements = self._database.statements
        here = [(name, table) for name in tables if (table := statements.table(name)) is not None]
        if not self._database.tracks or not all(table.key for _, table in here):
            return None
        numbers = [self._number(statements.tracking_valid_from(name)) for name, _ in here]
        current = self._number(statements.tracking_version())
        since = [each for each in numbers if each is not None]
        return None if current is None or len(since) < len(numbers) else Version(current, max(since))

    def _number(self, statement: Select) -> int | None:
        (row,) = self._database.rows(statement)
        value = row["VERSION"]
        return None if value is None else int(value)

    def _changed(self, table: str, since: int) -> bool:
        (row,) = self._database.rows(self._database.statements.tracked_count(table, since))
        return bool(row["ROWS_"])

    def _deleted(self, tables: Iterable[str], since: int) -> bool:
        statements = self._database.statements
        here = [name for name in tables if statements.table(name) is not None]
        counts = (self._database.rows(statements.tracked_count(name, since, operation="D")) for name in here)
        return any(row["ROWS_"] for (row,) in counts)


class Companies(_Kind):
    """CONTACT1 with CONTACT2 and its details. Implements `feed.Source`."""

    def page(self, after: str, limit: int) -> tuple[Sequence[str], str]:
        """ACCOUNTNOs."""
        return self._page(self._database.statements.accounts, after, limit)

    def records(self, ids: Sequence[str]) -> Sequence[Record]:
        """Customers with their main person."""
        if not ids:
            return []
        rows, details = self._customers(ids), self._details("ACCOUNTNO", ids)
        fields = self.user_fields(ids)
        return [self._to.company(row, fields.get(key), details.get(key, [])) for key, row in rows.items()]

    def user_fields(self, ids: Sequence[str]) -> Mapping[str, Row]:
        """Rows of CONTACT2."""
        statement = self._database.statements.rows("CONTACT2", "ACCOUNTNO", ids)
        return {key: rows[0] for key, rows in self._by(self._database.rows(statement), "ACCOUNTNO", ids).items()}

    def edited(self, since: date, limit: int) -> Sequence[str] | None:
        """Customers that were edited, or of which a detail was."""
        return self._keys(self._database.statements.edited_accounts(since, limit))

    def version(self) -> Version | None:
        """Of the three tables."""
        return self._tracked_version(_CUSTOMER)

    def tracked(self, since: int, after: str, limit: int) -> tuple[Sequence[str], str]:
        """Customers of changed rows in any of the three tables."""
        statements = self._database.statements
        return self._page(lambda key, count: statements.tracked(_CUSTOMER, since, key, count), after, limit)

    def lost_track(self, since: int) -> bool:
        """True if a detail was deleted: only its RECID is kept, and nothing says whose it was."""
        return self._deleted(["CONTACT2", "CONTSUPP"], since)

    def named(self, values: Sequence[str]) -> Sequence[Record]:
        """Those with one of these names, ignoring case; that of the person where there is no organisation."""
        statements, wanted = self._database.statements, {value.casefold() for value in values}
        found = {
            key
            for column in ("COMPANY", "CONTACT")
            for key in self._keys(statements.alike("CONTACT1", column, "ACCOUNTNO", values))
        }
        records = self.records(sorted(found))
        return [record for record in records if str(record.fields["name"] or "").casefold() in wanted]


class Contacts(_Kind):
    """The main person of each customer, and the additional ones. Implements `feed.Source`."""

    def __init__(self, database: Database, translator: Translator) -> None:
        super().__init__(database, translator)
        self._companies = Companies(database, translator)

    def page(self, after: str, limit: int) -> tuple[Sequence[str], str]:
        """First all main persons, then all additional ones."""
        statements = self._database.statements
        if not after.startswith(MORE):
            keys, last = self._page(statements.accounts, after.removeprefix(MAIN), limit)
            # Even an empty page of these is followed by one of the others.
            return [f"{MAIN}{key}" for key in keys], f"{MAIN}{last}" if last else MORE
        keys, last = self._page(statements.additional_contacts, after.removeprefix(MORE), limit)
        return [f"{MORE}{key}" for key in keys], f"{MORE}{last}" if last else ""

    def records(self, ids: Sequence[str]) -> Sequence[Record]:
        """Persons of both kinds."""
        return [*self._main(_without(MAIN, ids)), *self._additional(_without(MORE, ids))]

    def _main(self, keys: Sequence[str]) -> Sequence[Record]:
        if not keys:
            return []
        rows, details = self._customers(keys), self._details("ACCOUNTNO", keys)
        return [self._to.main_contact(row, details.get(key, [])) for key, row in rows.items()]

    def _additional(self, keys: Sequence[str]) -> Sequence[Record]:
        if not keys:
            return []
        statement = self._database.statements.persons("RECID", keys)
        persons = self._by(self._database.rows(statement), "RECID", keys)
        details = self._details("LINKACCT", keys)
        rows = [found[0] for found in persons.values()]
        companies = self._customers([self._to.key(row) for row in rows])
        return [
            self._to.additional_contact(
                row, companies.get(self._to.key(row)), details.get(self._to.key(row, "RECID"), [])
            )
            for row in rows
        ]

    def edited(self, since: date, limit: int) -> Sequence[str] | None:
        """All persons of customers that were edited."""
        return self._of(self._companies.edited(since, limit) or [])

    def version(self) -> Version | None:
        """As of customers."""
        return self._companies.version()

    def tracked(self, since: int, after: str, limit: int) -> tuple[Sequence[str], str]:
        """All persons of changed customers."""
        accounts, last = self._companies.tracked(since, after, limit)
        return self._of(accounts), last

    def lost_track(self, since: int) -> bool:
        """As of customers."""
        return self._companies.lost_track(since)

    def _of(self, accounts: Sequence[str]) -> list[str]:
        if not accounts:
            return []
        more = self._keys(self._database.statements.persons_of(accounts))
        return [*(f"{MAIN}{key}" for key in accounts), *(f"{MORE}{key}" for key in more)]

    def named(self, values: Sequence[str]) -> Sequence[Record]:
        """Those with one of these names, ignoring case."""
        statements, wanted = self._database.statements, {value.casefold() for value in values}
        main = self._keys(statements.alike("CONTACT1", "CONTACT", "ACCOUNTNO", values))
        more = self._keys(statements.persons_named(values))
        records = self.records([*(f"{MAIN}{key}" for key in main), *(f"{MORE}{key}" for key in more)])
        return [record for record in records if str(record.fields["name"] or "").casefold() in wanted]

    def with_email(self, values: Sequence[str]) -> Sequence[Record]:
        """Those whose address, the primary one, is one of these, ignoring case."""
        wanted = {value.casefold() for value in values}
        rows = self._database.rows(self._database.statements.with_address(values))
        found = {
            f"{MORE}{person}" if (person := self._to.key(row, "LINKACCT")) else f"{MAIN}{self._to.key(row)}"
            for row in rows
            if self._to.email_of(row).casefold() in wanted
        }
        return [each for each in self.records(sorted(found)) if str(each.fields["email"] or "").casefold() in wanted]


class Deals(_Kind):
    """Opportunities with their additional fields and sales. Implements `feed.Source`."""

    def page(self, after: str, limit: int) -> tuple[Sequence[str], str]:
        """OPIDs."""
        return self._page(self._database.statements.deals, after, limit)

    def records(self, ids: Sequence[str]) -> Sequence[Record]:
        """Opportunities."""
        if not ids:
            return []
        statements = self._database.statements
        headers = self._by(self._database.rows(statements.opportunities(ids)), "OPID", ids)
        rows = {key: self._header(key, found) for key, found in headers.items()}
        more: Mapping[str, Sequence[Row]] = {}
        if statements.table("OPMGRFLD") is not None:
            more = self._by(self._database.rows(statements.rows("OPMGRFLD", "LOPID", ids)), "LOPID", ids)
        sales: Mapping[str, Sequence[Row]] = {}
        if self._sales_too:
            keys = [self._to.key(row, "RECID") for row in rows.values()]
            sales = self._by(self._database.rows(statements.sales(keys)), "LOPRECID", keys)
        return [
            self._to.deal(row, more.get(key, []), sales.get(self._to.key(row, "RECID"), []))
            for key, row in rows.items()
        ]

    def _header(self, key: str, rows: Sequence[Row]) -> Row:
        """One row; if there are several, the one whose RECID is the opportunity's id, else the first by RECID."""
        return min(rows, key=lambda row: (self._to.key(row, "RECID") != key, self._to.key(row, "RECID")))

    @property
    def _sales_too(self) -> bool:
        wanted = self._to.settings.deal_lines == "sales"
        return wanted and self._database.statements.table("CONTHIST") is not None

    def edited(self, since: date, limit: int) -> Sequence[str] | None:  # noqa: ARG002 - the protocol's form
        """None: OPMGR has no time of edit."""
        return None

    def version(self) -> Version | None:
        """Of all tables that a deal is made of."""
        return self._tracked_version(["OPMGR", *self._parts])

    @property
    def _parts(self) -> list[str]:
        return ["OPMGRFLD", *(["CONTHIST"] if self._sales_too else [])]

    def tracked(self, since: int, after: str, limit: int) -> tuple[Sequence[str], str]:
        """Opportunities of which a row was changed; the other rows of OPMGR have its OPID, too."""
        statements = self._database.statements
        places = {"OPMGR": "OPID"}
        if statements.table("OPMGRFLD") is not None:
            places["OPMGRFLD"] = "LOPID"
        return self._page(lambda key, count: statements.tracked(places, since, key, count), after, limit)

    def lost_track(self, since: int) -> bool:
        """True if an additional field was deleted, or a sale was made or deleted: these do not say whose they were."""
        if self._deleted(["OPMGRFLD"], since):
            return True
        return self._sales_too and self._changed("CONTHIST", since)

    def named(self, values: Sequence[str]) -> Sequence[Record]:
        """Those with one of these names, ignoring case."""
        wanted = {value.casefold() for value in values}
        records = self.records(self._keys(self._database.statements.opportunities_named(values)))
        return [record for record in records if str(record.fields["name"] or "").casefold() in wanted]


class Tables:
    """All kinds of one database."""

    def __init__(self, database: Database, translator: Translator) -> None:
        self.database = database
        self.translator = translator
        self.companies = Companies(database, translator)
        self.contacts = Contacts(database, translator)
        self.deals = Deals(database, translator)


def _without(prefix: str, ids: Iterable[str]) -> list[str]:
    return [each.removeprefix(prefix) for each in ids if each.startswith(prefix) and each != prefix]
