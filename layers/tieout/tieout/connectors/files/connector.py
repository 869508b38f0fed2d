"""The rows that were stored of a connection's files, as the port wants them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tieout.connectors.files.manifest import MANIFEST, FilesSettings
from tieout.connectors.files.translate import company_of, record_of
from tieout.domain.effects import Effect, Match, NotDone, Outcome
from tieout.domain.errors import RejectedError, SettingsError
from tieout.domain.files import KINDS, FileRow
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Context, Manifest
from tieout.ports.files import FileRows
from tieout.transport.cursors import stored_cursor

PAGE = 250
FEED_ENTRIES = 4
ABANDONED_SECONDS = 6 * 3600
"""An import that has not moved for so long does not hide any more what it left behind."""
_SEARCHED: Mapping[Kind, Sequence[str]] = {
    Kind.COMPANY: ("name",),
    Kind.CONTACT: ("name", "email"),
    Kind.DEAL: ("name",),
    Kind.PRODUCT: ("name", "sku"),
}


class FilesConnector:
    """Implements `tieout.ports.connector.Connector` over a store of rows; it reads only.

    A cursor is `{"fed": n}`: the newest entry of the feed that was given. While all rows are listed it also has
    `after`, the place in the list.
    """

    def __init__(self, context: Context, settings: FilesSettings) -> None:
        if context.rows is None:
            raise SettingsError("This connection needs the store of rows, which is not there.")
        self._rows: FileRows = context.rows()
        self._settings, self._clock = settings, context.clock
        self._tenant, self._connection = context.connection.tenant, context.connection.id
        self._address = context.connection.address

    @property
    def manifest(self) -> Manifest:
        """What files can do."""
        return MANIFEST

    @property
    def imports(self) -> frozenset[Kind]:
        """Kinds whose rows files bring."""
        return KINDS

    def probe(self) -> Account:
        """The connection itself: its files are in nobody's account."""
        self._rows.under_way(self._tenant, self._connection)
        return Account(self._address, f"files of {self._connection}")

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with these ids; without those that no file brought, or that a complete one no longer has."""
        if not ids:
            return []
        return self._records(kind, self._rows.rows(self._tenant, self._connection, kind, ids).values())

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose field equals one of the values.

        Raises:
            RejectedError: If records of this kind cannot be found by this field.
        """
        if field not in _SEARCHED[kind]:
            raise RejectedError(
                f"A {kind.value} of a file cannot be looked up by `{field}`.",
                field=field,
                next_step=f"Use one of: {', '.join(_SEARCHED[kind])}.",
            )
        return self._records(kind, self._rows.named(self._tenant, self._connection, kind, field, values))

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """All rows, if there is no cursor; what imports changed after that.

        What an import that is under way has not committed is left for later: it may die before the rows are stored.
        """
        if cursor is None:
            fed, after, listing = self._committed(kind), None, True
        else:
            fed, after, listing = stored_cursor(_place, cursor, MANIFEST.title)
        if listing:
            rows, going_on = self._rows.listed(self._tenant, self._connection, kind, after, PAGE)
            records = [record_of(row, self._settings) for row in rows]
            if going_on is not None:
                return ChangePage(records, json.dumps({"fed": fed, "after": going_on}), more=True)
            return ChangePage(records, json.dumps({"fed": fed}), more=False)
        return self._fed(kind, fed)

    def _fed(self, kind: Kind, fed: int) -> ChangePage:
        until = self._committed(kind)
        entries = self._rows.fed(self._tenant, self._connection, kind, fed, FEED_ENTRIES)
        given = [(number, ids) for number, ids in entries if number <= until]
        ids = list(dict.fromkeys(one for _, some in given for one in some))
        rows = self._rows.rows(self._tenant, self._connection, kind, ids).values() if ids else ()
        records = [record_of(row, self._settings) for row in rows]
        newest = given[-1][0] if given else fed
        return ChangePage(records, json.dumps({"fed": newest}), more=newest < until and bool(given))

    def _records(self, kind: Kind, rows: Iterable[FileRow]) -> list[Record]:
        """The rows as records; deals with the ids of the companies that they name."""
        found = list(rows)
        if kind is not Kind.DEAL:
            return [record_of(row, self._settings) for row in found]
        names = list(dict.fromkeys(name for row in found if (name := company_of(row))))
        companies: dict[str, list[str]] = defaultdict(list)
        for row in self._rows.named(self._tenant, self._connection, Kind.COMPANY, "name", names) if names else ():
            companies[_fold(str(row.fields["name"]))].append(row.id)
        return [record_of(row, self._settings, companies.get(_fold(company_of(row)), ())) for row in found]

    def cursor_now(self, kind: Kind) -> str:
        """From what the imports committed last."""
        return json.dumps({"fed": self._committed(kind)})

    def _committed(self, kind: Kind) -> int:
        """The newest entry of the feed whose rows are surely stored."""
        under_way = self._rows.under_way(self._tenant, self._connection)
        if under_way is not None and under_way.kind is kind:
            still_for = (self._clock.now() - under_way.touched_at).total_seconds()
            if still_for < ABANDONED_SECONDS:
                return under_way.fed
        return self._rows.newest_fed(self._tenant, self._connection, kind)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of the ids of all rows."""
        return self._rows.ids(self._tenant, self._connection, kind, after)

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:  # noqa: ARG002 - the port's signature
        """Nothing: nothing is written to files."""
        return {}

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """Every effect refused: a file is changed where it came from."""
        return [
            NotDone(
                effect.id,
                RejectedError(
                    "Nothing can be written to what came in a file.",
                    next_step="Change it in the program that the file comes from, and leave the step out of the sync.",
                ),
            )
            for effect in effects
        ]


def _place(stored: Any) -> tuple[int, str | None, bool]:  # noqa: ANN401 - anything may stand there
    after = stored.get("after")
    return int(stored["fed"]), after, after is not None


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()
