"""What changed, what is gone, and all ids.

QuickBooks tells changes by the time of its computer's clock on the wall, whose offset users report as not following
daylight saving; it has no order by time, and no time of its own to ask for. So a watermark is the highest time of
change that was seen, as it stands on that wall, and every question begins more than an hour before it. What was seen
in that stretch is remembered by id and edit sequence, so that it does not come twice.

Long lists come in pages that only go on within one session of the Web Connector. One that ended begins anew, with
larger pages, a few times; what came before comes again then.
Source: developer.intuit.com/app/developer/qbdesktop .../invoicequery and .../customerquery; deletions are told for 90
days: .../txndeletedquery; all read 2026-11-22.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from xml.etree.ElementTree import Element

from tieout.connectors.quickbooks_desktop.client import Client
from tieout.connectors.quickbooks_desktop.company import Company
from tieout.connectors.quickbooks_desktop.errors import ITERATOR_ENDED, refusal, unreadable
from tieout.connectors.quickbooks_desktop.qbxml import Ask, Json, Reply, UnreadableError, moment_of, text_of
from tieout.connectors.quickbooks_desktop.translate import ENTITIES, LISTS, SOLD, is_sold, parts, to_record
from tieout.domain.errors import UnavailableError
from tieout.domain.records import Kind, Record
from tieout.ports.clock import Clock
from tieout.ports.connector import ChangePage
from tieout.transport.cursors import stored_cursor

# Over an hour: a wrong daylight saving.
OVERLAP = dt.timedelta(minutes=75)
# Deletions are kept for 90 days; by our clock, and without the last one.
DELETIONS_KEPT = dt.timedelta(days=89)
# Where no change was seen yet, a watermark is so long before our own clock: no clock on a wall is further off.
_UNSEEN = dt.timedelta(days=2)
_SEEN_MAX = 500
_RESTARTS_MAX = 4
_PAGE_MAX = 500
_IDS_PAGE = 1000
# Two megabytes: an answer of the Web Connector may have five.
_TIMES_MAX = 10_000
_DIGEST = 12


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to go on.

    Attributes:
        since: On the wall of QuickBooks' computer: everything before it is recorded. Empty at the very first.
        asked: When it was made, by our clock.
        seen: Digests of what was recorded of the stretch before `since` in which questions overlap.
        resume: Within a walk in pages: the watermark with which it ends, and what was seen before it.
        iterator: Where the next page is.
        restarts: How often the walk began anew.
    """

    since: str = ""
    asked: str = ""
    seen: tuple[str, ...] = ()
    resume: tuple[str, str, tuple[str, ...]] | None = None
    iterator: str = ""
    restarts: int = 0

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `text` says.

        Raises:
            UnavailableError: If it is none of ours.
        """
        return stored_cursor(cls._of, text, "QuickBooks Desktop")

    @classmethod
    def _of(cls, stored: dict[str, Any]) -> Cursor:
        resume = stored.get("resume")
        made = cls(**{**stored, "seen": tuple(stored.get("seen", ())), "resume": None})
        return replace(made, resume=(resume[0], resume[1], tuple(resume[2])) if resume else None)

    def __str__(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value}, separators=(",", ":"))


class Feed:
    """The change feed and the list of ids of one company file."""

    def __init__(self, client: Client, company: Company, page_records: int, clock: Clock) -> None:
        self._client, self._company, self._page, self._clock = client, company, page_records, clock

    def now(self, kind: Kind) -> str:
        """A cursor for what changes from now on: after the latest change that QuickBooks shows."""
        self._company.check_is_ours()
        return str(self._now(kind))

    def changes(self, kind: Kind, text: str | None) -> ChangePage:
        """One page; see `tieout.ports.connector.Connector.changes`."""
        self._company.check_is_ours()
        cursor = Cursor.parse(text) if text else Cursor()
        if cursor.iterator:
            return self._next_page(kind, cursor)
        return self._first_page(kind, cursor)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of ids; if the session ended in between, from the beginning."""
        key = _key(kind)
        body: Json = {"MaxReturned": _IDS_PAGE, "IncludeRetElement": [key]} | _everyone(kind)
        if after:
            (reply,) = self._client.try_to(_query(kind, body, {"iterator": "Continue", "iteratorID": after}))
            if reply.code != ITERATOR_ENDED:
                return self._ids_of(kind, reply)
        (reply,) = self._client.try_to(_query(kind, body, {"iterator": "Start"}))
        return self._ids_of(kind, reply)

    def _ids_of(self, kind: Kind, reply: Reply) -> tuple[Sequence[str], str | None]:
        if not reply.found:
            raise refusal(reply.code, reply.message, write=False)
        ids = [record_id for each in reply.records() if is_sold(each) and (record_id := text_of(each, _key(kind)))]
        return ids, reply.iterator if reply.remaining > 0 else None

    def _now(self, kind: Kind) -> Cursor:
        since = _wall_text(self._clock.now() - _UNSEEN)
        reply, *deleted = self._client.ask(_times(kind, since), *_deletions(kind, since))
        return self._after(since, reply.records(), _gone(kind, deleted))

    def _after(
        self, since: str, records: Iterable[Element], gone: Iterable[Element], seen: Iterable[str] = ()
    ) -> Cursor:
        """The watermark after these, which were recorded; `seen` was so before."""
        times = {_digest(each): _wall(each) for each in (*records, *gone)}
        latest = max([since, *times.values()])
        early = _earlier(latest)
        kept = [digest for digest, time in sorted(times.items(), key=lambda one: one[1]) if time >= early]
        before = [digest for digest in seen if digest not in times]
        return Cursor(latest, self._clock.now().isoformat(), tuple((before + kept)[-_SEEN_MAX:]))

    def _first_page(self, kind: Kind, cursor: Cursor) -> ChangePage:
        resume = cursor.resume
        if resume is None and not cursor.since:
            resume = _kept(self._now(kind))  # before anything is read: it may change meanwhile
        early = _earlier(cursor.since) if cursor.since else ""
        query = self._page_query(kind, cursor, {"iterator": "Start"})
        reply, *deleted = self._client.ask(query, *(_deletions(kind, early) if early else ()))
        fresh = [each for each in reply.records() if _digest(each) not in cursor.seen]
        gone = [each for each in _gone(kind, deleted) if _digest(each) not in cursor.seen]
        if reply.remaining > 0:
            resume = resume or _kept(self._at_beginning(kind, cursor, gone))
            following = replace(cursor, iterator=reply.iterator, resume=resume)
            return self._page_of(kind, fresh, gone, following, more=True)
        if resume is not None:
            following = Cursor(*resume)
        else:
            following = self._after(cursor.since, reply.records(), _gone(kind, deleted), cursor.seen)
        return replace(self._page_of(kind, fresh, gone, following, more=False), deletions_unsure=self._has_gap(cursor))

    def _at_beginning(self, kind: Kind, cursor: Cursor, gone: Iterable[Element]) -> Cursor:
        """The watermark for the end of a walk of many pages: what QuickBooks shows while it begins.

        A record that changes during the walk has a later time than that, and comes again.
        """
        (reply,) = self._client.ask(_times(kind, _earlier(cursor.since)))
        latest = max([cursor.since, *map(_wall, reply.records())])
        # Only deletions are remembered: a record may not have been given yet, and coming twice is no loss.
        return replace(self._after(cursor.since, (), gone), since=latest)

    def _page_query(self, kind: Kind, cursor: Cursor, attributes: dict[str, str]) -> Ask:
        body: Json = {"MaxReturned": min(self._page << cursor.restarts, _PAGE_MAX)} | parts(kind)
        body |= _since(kind, _earlier(cursor.since)) if cursor.since else _everyone(kind)
        return _query(kind, body, attributes)

    def _next_page(self, kind: Kind, cursor: Cursor) -> ChangePage:
        attributes = {"iterator": "Continue", "iteratorID": cursor.iterator}
        (reply,) = self._client.try_to(self._page_query(kind, cursor, attributes))
        if reply.code == ITERATOR_ENDED:
            if cursor.restarts >= _RESTARTS_MAX:
                raise UnavailableError(
                    "The Web Connector ended its run before a long list was read through, several times.",
                    next_step="Let the Web Connector run, with auto-run on, until it says that nothing is left to do.",
                )
            return self._first_page(kind, replace(cursor, iterator="", restarts=cursor.restarts + 1))
        if not reply.found:
            raise refusal(reply.code, reply.message, write=False)
        fresh = [each for each in reply.records() if _digest(each) not in cursor.seen]
        if reply.remaining > 0:
            following = replace(cursor, iterator=reply.iterator or cursor.iterator)
            return self._page_of(kind, fresh, (), following, more=True)
        since, asked, seen = cursor.resume or (cursor.since, cursor.asked, cursor.seen)
        page = self._page_of(kind, fresh, (), Cursor(since, asked, seen), more=False)
        return replace(page, deletions_unsure=self._has_gap(cursor))

    def _has_gap(self, cursor: Cursor) -> bool:
        if not cursor.asked:
            return False
        return self._clock.now() - dt.datetime.fromisoformat(cursor.asked) > DELETIONS_KEPT

    def _page_of(
        self, kind: Kind, fresh: Iterable[Element], gone: Iterable[Element], following: Cursor, *, more: bool
    ) -> ChangePage:
        try:
            records = [to_record(kind, each, self._company) for each in sorted(fresh, key=_wall) if is_sold(each)]
        except UnreadableError as error:
            raise unreadable(str(error), write=False) from None
        ids = list(dict.fromkeys(record_id for each in gone if (record_id := text_of(each, _key(kind)))))
        return ChangePage(_latest(records), str(following), more=more, gone=ids)


def _kept(cursor: Cursor) -> tuple[str, str, tuple[str, ...]]:
    return cursor.since, cursor.asked, cursor.seen


def _latest(records: Iterable[Record]) -> list[Record]:
    return list({record.id: record for record in records}.values())


def _key(kind: Kind) -> str:
    return "ListID" if kind in LISTS else "TxnID"


def _query(kind: Kind, body: Json, attributes: dict[str, str] | None = None) -> Ask:
    return Ask(f"{ENTITIES[kind]}QueryRq", body, attributes or {})


def _times(kind: Kind, wall: str) -> Ask:
    """Asks when records changed. Of very many some are left out: the watermark is only lower then."""
    elements = [_key(kind), "EditSequence", "TimeModified"]
    return _query(kind, {"MaxReturned": _TIMES_MAX, "IncludeRetElement": elements} | _since(kind, wall))


def _everyone(kind: Kind) -> Json:
    """Inactive records are only shown if asked for."""
    return {"ActiveStatus": "All"} if kind in LISTS else {}


def _since(kind: Kind, wall: str) -> Json:
    if kind in LISTS:
        return {"ActiveStatus": "All", "FromModifiedDate": wall}
    return {"ModifiedDateRangeFilter": {"FromModifiedDate": wall}}


def _deletions(kind: Kind, wall: str) -> list[Ask]:
    dates = {"DeletedDateRangeFilter": {"FromDeletedDate": wall}}
    if kind is Kind.ITEM:
        return [Ask("ListDeletedQueryRq", {"ListDelType": list(SOLD)} | dates)]
    if kind in LISTS:
        return [Ask("ListDeletedQueryRq", {"ListDelType": [ENTITIES[kind]]} | dates)]
    return [Ask("TxnDeletedQueryRq", {"TxnDelType": [ENTITIES[kind]]} | dates)]


def _gone(kind: Kind, replies: Iterable[Reply]) -> list[Element]:
    ends = "ListDeletedRet" if kind in LISTS else "TxnDeletedRet"
    return [each for reply in replies for each in reply.records(ends)]


def _digest(element: Element) -> str:
    parts_ = (text_of(element, each) or "" for each in ("ListID", "TxnID", "EditSequence", "TimeDeleted"))
    return hashlib.sha256("|".join(parts_).encode()).hexdigest()[:_DIGEST]


def _wall(element: Element) -> str:
    """The time of the change or deletion, on the wall of QuickBooks' computer; empty if it is unreadable."""
    try:
        moment = moment_of(element, "TimeModified") or moment_of(element, "TimeDeleted")
    except UnreadableError:
        moment = None
    return _wall_text(moment) if moment is not None else ""


def _wall_text(moment: dt.datetime) -> str:
    return moment.replace(tzinfo=None, microsecond=0).isoformat()


def _earlier(wall: str) -> str:
    return _wall_text(dt.datetime.fromisoformat(wall) - OVERLAP)
