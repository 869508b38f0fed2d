"""What changed, and all ids: pages of lists.

Zoho's lists show when a record was changed last; of customers the newest come first, and of documents only those since
a moment, if Zoho heeds the wish, which is published for invoices alone. So every row is looked at again here: a list
that heeds nothing is read whole. Of items nothing else is to be had. Projects and hours do not even say when they were
changed: each of them counts as changed each time.
Lists are paged by number: a record that is deleted between two pages moves the rest up by one, and the one at the edge
is missed. A poll mostly has one page; the comparison of ids finds the rest.
Source: www.zoho.com/books/api/v3/pagination and the lists' pages, read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.client import Client, unreadable
from tieout.connectors.zoho_books.manifest import Settings
from tieout.connectors.zoho_books.translate import PLACES, to_record
from tieout.domain.records import Kind, Record
from tieout.ports.clock import Clock
from tieout.ports.connector import ChangePage
from tieout.transport.cursors import stored_cursor

# A record may become visible a little after the time that it bears, and Zoho's clock is not ours.
OVERLAP = timedelta(minutes=5)
_LISTS: Mapping[Kind, Mapping[str, str]] = {
    Kind.CUSTOMER: {
        "contact_type": "customer",
        "filter_by": "Status.All",
        "sort_column": "last_modified_time",
        "sort_order": "D",
    },
    Kind.ITEM: {"filter_by": "Status.All"},
    Kind.ESTIMATE: {"sort_column": "created_time", "sort_order": "A"},
    Kind.INVOICE: {"sort_column": "created_time", "sort_order": "A"},
    Kind.CREDIT_NOTE: {"sort_column": "created_time", "sort_order": "A"},
    Kind.PAYMENT: {},
    Kind.PROJECT: {"filter_by": "Status.All"},
    Kind.TIME_ENTRY: {"filter_by": "Date.All"},
    Kind.EXPENSE: {"filter_by": "Status.All"},
}
_NEWEST_FIRST = frozenset({Kind.CUSTOMER})
_SINCE = frozenset({Kind.ESTIMATE, Kind.INVOICE, Kind.CREDIT_NOTE, Kind.PAYMENT, Kind.EXPENSE})


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to go on.

    Attributes:
        since: Changes from this moment on, ISO 8601; all if empty.
        page: The list's next page.
        resume: From when on to look once the list is at its end; empty before its first page.
    """

    since: str = ""
    page: int = 1
    resume: str = ""

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `text` says.

        Raises:
            UnavailableError: If it is none of ours.
        """
        return stored_cursor(lambda stored: cls(**stored), text, "Zoho Books")

    def __str__(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


class Feed:
    """The change feed and the list of ids of one organisation."""

    def __init__(self, client: Client, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock

    def now(self) -> str:
        """A cursor for what changes from now on. Makes no call."""
        return str(Cursor(since=(self._clock.now() - OVERLAP).isoformat()))

    def changes(self, kind: Kind, text: str | None) -> ChangePage:
        """One page, oldest first within it, of records as the list shows them."""
        cursor = Cursor.parse(text) if text else Cursor()
        since = datetime.fromisoformat(cursor.since) if cursor.since else datetime.min.replace(tzinfo=UTC)
        resume = cursor.resume or (self._clock.now() - OVERLAP).isoformat()
        filters = dict(_LISTS[kind])
        if cursor.since and kind in _SINCE:
            filters["last_modified_time"] = since.strftime("%Y-%m-%dT%H:%M:%S%z")
        rows, more = self._client.page(PLACES[kind].path, PLACES[kind].rows, filters, cursor.page)
        records = self.records(kind, rows)
        changed = sorted((one for one in records if _edited(one) >= since), key=_edited)
        if kind in _NEWEST_FIRST and len(changed) < len(records):
            more = False
        following = Cursor(cursor.since, cursor.page + 1, resume) if more else Cursor(since=max(resume, cursor.since))
        return ChangePage(changed, str(following), more=more)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of ids; `after` is its number."""
        number = int(after) if after else 1
        rows, more = self._client.page(PLACES[kind].path, PLACES[kind].rows, _LISTS[kind], number)
        return [record.id for record in self.records(kind, rows)], str(number + 1) if more else None

    def records(self, kind: Kind, rows: Sequence[wire.Json]) -> list[Record]:
        """The rows as records; vendors are left out.

        Raises:
            UnavailableError: If a row cannot be understood.
        """
        try:
            return [to_record(kind, row, self._settings) for row in rows if row.get("contact_type") != "vendor"]
        except ValidationError:
            raise unreadable(f"a {kind.value}") from None


def _edited(record: Record) -> datetime:
    """When it was changed last; a record that does not say counts as changed just now."""
    return record.edited_at or datetime.max.replace(tzinfo=UTC)
