"""What changed, and all ids: two ways to page through a company without losing a record.

A *walk* is a query in order of a time, each page beginning at the last time of the one before: what was at an equal
time is read again, and an edit in between only moves a record towards the end. *Change data capture* gives everything
since a moment in one answer, deletions too, but looks back 30 days at most and holds 1,000 records. It names no end: of
a stretch with more changes only the newest part can be captured whole. The rest is walked, and deletions in it show
only in the ids.
Source: developer.intuit.com .../change-data-capture and .../data-queries, read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.client import Client, moment_text, quoted, unreadable
from tieout.connectors.quickbooks_online.company import Company
from tieout.connectors.quickbooks_online.manifest import CDC_DAYS_MAX, QUERY_ROWS_MAX
from tieout.connectors.quickbooks_online.translate import ENTITIES, NAME_LISTS, is_gone, to_record
from tieout.domain.records import Kind, Record
from tieout.ports.clock import Clock
from tieout.ports.connector import ChangePage
from tieout.transport.cursors import stored_cursor

# A record may become visible a little after the time that it bears.
OVERLAP = timedelta(minutes=5)
_CDC_REACH = timedelta(days=CDC_DAYS_MAX) - timedelta(hours=1)
# The answer holds 1,000 records at most; one that is almost full may have been cut.
_CDC_ROWS_SURE = 950
# 30 days halved so often are less than three minutes, which is less than the overlap.
_HALVINGS_MAX = 14
# Within one second a page goes on by less than its length, so that an edit in between hides nothing.
_STEP_WITHIN_SECOND = QUERY_ROWS_MAX - 100


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to go on.

    Attributes:
        since: With `resume` empty, everything before it is recorded.
        at: Of a walk: the time to go on from; empty outside a walk and at its beginning.
        start: Of a walk: the 1-based position within what has that time or a later one.
        resume: Of a walk: the moment from which to capture changes when it has ended.
        walking: True within a walk.
    """

    since: str = ""
    at: str = ""
    start: int = 1
    resume: str = ""
    walking: bool = False

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `text` says.

        Raises:
            UnavailableError: If it is none of ours.
        """
        return stored_cursor(lambda stored: cls(**stored), text, "QuickBooks Online")

    def __str__(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value}, separators=(",", ":"))


class Feed:
    """The change feed and the list of ids of one company."""

    def __init__(self, client: Client, company: Company, clock: Clock) -> None:
        self._client = client
        self._company = company
        self._clock = clock

    def now(self, kind: Kind) -> str:
        """A cursor for what changes from now on, by the server's clock."""
        # Asks for no record: only the time of the answer matters.
        _, time = self._client.query(ENTITIES[kind], f"MetaData.LastUpdatedTime > {quoted('2100-01-01T00:00:00Z')}")
        return str(Cursor(since=moment_text(time - OVERLAP)))

    def changes(self, kind: Kind, text: str | None) -> ChangePage:
        """One page; see `tieout.ports.connector.Connector.changes`."""
        cursor = Cursor.parse(text) if text else Cursor(walking=True)
        if cursor.walking:
            return self._walk(kind, cursor)
        since = datetime.fromisoformat(cursor.since)
        if self._clock.now() - since > _CDC_REACH:
            return replace(self._walk(kind, Cursor(at=cursor.since, walking=True)), deletions_unsure=True)
        return self._capture(kind, cursor.since, since)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of ids in order of creation; ids of the boundary second are remembered, so that none comes twice."""
        position: dict[str, Any] = json.loads(after) if after else {"at": "", "start": 1, "seen": []}
        rows, _ = self._page(kind, "MetaData.CreateTime", position["at"], position["start"])
        seen = set(position["seen"])
        entities = [_entity(row) for row in rows]
        ids = [entity.id for entity in entities if entity.id not in seen]
        if len(rows) < QUERY_ROWS_MAX:
            return ids, None
        last = _text(entities[-1].meta.created)
        stays = last == position["at"]
        at_boundary = [entity.id for entity in entities if _text(entity.meta.created) == last]
        following = {
            "at": last,
            "start": position["start"] + _STEP_WITHIN_SECOND if stays else 1,
            "seen": sorted(seen | set(at_boundary)) if stays else at_boundary,
        }
        return ids, json.dumps(following, separators=(",", ":"))

    def _walk(self, kind: Kind, cursor: Cursor) -> ChangePage:
        rows, time = self._page(kind, "MetaData.LastUpdatedTime", cursor.at, cursor.start)
        resume = cursor.resume or moment_text(time - OVERLAP)
        records = self._records(kind, rows)
        if len(rows) < QUERY_ROWS_MAX:
            return ChangePage(records, str(Cursor(since=resume)), more=False)
        last = _text(records[-1].edited_at)
        start = cursor.start + _STEP_WITHIN_SECOND if last == cursor.at else 1
        return ChangePage(records, str(Cursor(at=last, start=start, resume=resume, walking=True)), more=True)

    def _capture(self, kind: Kind, text: str, since: datetime) -> ChangePage:
        rows, time = self._client.changed_since(ENTITIES[kind], since)
        gone = [_entity(row).id for row in rows if is_gone(row)]
        if len(rows) >= _CDC_ROWS_SURE:
            newest = self._newest_gone(kind, since, time)
            ids = list(dict.fromkeys([*gone, *newest]))
            return ChangePage((), str(Cursor(at=text, walking=True)), more=True, gone=ids, deletions_unsure=True)
        records = self._records(kind, [row for row in rows if not is_gone(row)])
        following = max(since, time - OVERLAP)
        ordered = sorted(records, key=lambda record: record.edited_at or datetime.min.replace(tzinfo=UTC))
        return ChangePage(ordered, str(Cursor(since=moment_text(following))), more=False, gone=gone)

    def _newest_gone(self, kind: Kind, since: datetime, until: datetime) -> list[str]:
        """Ids of what was deleted in the newest part of the stretch: as much of it as one answer surely holds."""
        gone: list[str] = []
        for _ in range(_HALVINGS_MAX):
            since += (until - since) / 2
            rows, _ = self._client.changed_since(ENTITIES[kind], since)
            gone += [_entity(row).id for row in rows if is_gone(row)]
            if len(rows) < _CDC_ROWS_SURE:
                break
        return gone

    def _page(self, kind: Kind, order: str, at: str, start: int) -> tuple[list[wire.Json], datetime]:
        conditions = [f"{order} >= {quoted(at)}"] if at else []
        conditions += ["Active IN (true, false)"] if kind in NAME_LISTS else []
        return self._client.query(ENTITIES[kind], " AND ".join(conditions), order=order, start=start)

    def _records(self, kind: Kind, rows: Sequence[wire.Json]) -> list[Record]:
        try:
            return [to_record(kind, row, self._company) for row in rows]
        except ValidationError:
            raise unreadable(f"a {kind.value}") from None


def _entity(row: wire.Json) -> wire.Entity:
    try:
        return wire.Entity.model_validate(row)
    except ValidationError:
        raise unreadable("a record without an id") from None


def _text(moment: datetime | None) -> str:
    if moment is None:
        raise unreadable("a record without a time")
    return moment_text(moment)
