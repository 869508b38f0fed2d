"""The change feed of a database that does not say what changed. It needs no store but its own cursor.

GoldMine notes when a customer was edited (LASTDATE, LASTTIME: local, to the minute), not when anything else was, and
an opportunity's row has no time at all. So records are compared with what they were, and what they were has to stand
in the cursor, which is text of bounded size:

* **Sums.** Records are spread over 1,024 buckets by a hash of their id; of each bucket the cursor holds the sum of its
  records' digests, 40 bits (about 7 KB in all if every bucket is used, twice that under way; an empty one takes
  nothing). A comparison reads every record (step `sum`), then those again whose bucket has another sum (step `emit`),
  and gives these out. So of 1,000 opportunities about one comes along with each that changed, of 100,000 about 100:
  each costs the engine a read, and no write.
* **Known records.** Of customers edited in the last two days, 400 at most, the cursor holds a hash of the id and one
  of the content. So a look at what was edited lately, two days back because of clocks and daylight saving, repeats
  nothing. Where there are more, the comparison takes its place.
* **Change tracking.** Where SQL Server keeps track, its version number alone is asked (step `tracked`). If it does not
  reach back to ours, or a row was deleted of which nobody knows whose it was, a comparison takes its place, once.

Deletions are not in the feed: comparing `ids` finds them. A change is missed if the sum stays the same by chance, once
in 2**40.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from tieout.domain.records import Record
from tieout.ports.clock import Clock
from tieout.ports.connector import ChangePage
from tieout.transport.cursors import stored_cursor

PAGE = 250
SECONDS_MAX = 10
STEPS_MAX = 200
"""A call ends after so many records, seconds or pages, whichever comes first: it travels through the bridge."""

KNOWN_MAX = 400
OVERLAP = timedelta(days=2)

_BUCKETS = 1024
_SUM_BYTES = 5
_HASH_BYTES = 6
_SUMS_BYTES = _BUCKETS * _SUM_BYTES
_MODULUS = 1 << (8 * _SUM_BYTES)


@dataclass(frozen=True, slots=True)
class Version:
    """What change tracking holds: up to `current`, and complete after `since`."""

    current: int
    since: int


class Source(Protocol):
    """The records of one kind."""

    def page(self, after: str, limit: int) -> tuple[Sequence[str], str]:
        """Ids in an order that does not change, and after which to go on; empty at the end."""
        ...

    def records(self, ids: Sequence[str]) -> Sequence[Record]:
        """Those that are there."""
        ...

    def edited(self, since: date, limit: int) -> Sequence[str] | None:
        """Ids of records edited on this day or later, of `limit` customers at most; None if nothing says when."""
        ...

    def version(self) -> Version | None:
        """None if changes are not tracked."""
        ...

    def tracked(self, since: int, after: str, limit: int) -> tuple[Sequence[str], str]:
        """A page of the ids of what was changed after a version."""
        ...

    def lost_track(self, since: int) -> bool:
        """True if something was deleted after a version that belonged to nobody knows what."""
        ...


@dataclass(frozen=True, slots=True)
class Walk:
    """A step that is under way.

    Attributes:
        step: `first`, `sum`, `emit` or `tracked`.
        sums: Of what was read so far; of everything in `emit`.
        version: Of change tracking, when it began.
    """

    step: str
    after: str = ""
    sums: Sums | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a feed stands.

    Attributes:
        looked_at: When it was last looked what was edited lately, ISO 8601.
        compared_at: When the last whole comparison began.
        sums: As it found them; None before the first one is complete.
        known: By hash of the id, hash of the content, of records edited lately.
        version: Of change tracking, up to which everything was given out.
    """

    looked_at: str
    compared_at: str
    sums: Sums | None = None
    known: Mapping[bytes, bytes] = field(default_factory=dict)
    version: int | None = None
    walk: Walk | None = None

    @property
    def text(self) -> str:
        """For storing."""
        walk = self.walk
        held: dict[str, Any] = {
            "looked_at": self.looked_at,
            "compared_at": self.compared_at,
            "sums": _packed(self.sums.raw) if self.sums is not None else None,
            "known": _packed(b"".join(part for pair in sorted(self.known.items()) for part in pair)),
            "version": self.version,
            "walk": walk
            and {
                "step": walk.step,
                "after": walk.after,
                "sums": _packed(walk.sums.raw) if walk.sums is not None else None,
                "version": walk.version,
            },
        }
        return json.dumps(held)

    @classmethod
    def of(cls, text: str) -> Cursor:
        """The cursor of a stored text.

        Raises:
            UnavailableError: If it is none of ours.
        """
        return stored_cursor(cls._made, text, "GoldMine")

    @classmethod
    def _made(cls, held: Any) -> Cursor:  # noqa: ANN401 - JSON is anything
        known = _unpacked(held["known"])
        size = 2 * _HASH_BYTES
        pairs = [known[at : at + size] for at in range(0, len(known), size)]
        walk = held["walk"]
        return cls(
            datetime.fromisoformat(held["looked_at"]).isoformat(),
            datetime.fromisoformat(held["compared_at"]).isoformat(),
            Sums.of(held["sums"]),
            {pair[:_HASH_BYTES]: pair[_HASH_BYTES:] for pair in pairs},
            held["version"],
            Walk(walk["step"], walk["after"], Sums.of(walk["sums"]), walk["version"]) if walk else None,
        )


class Sums:
    """Of each bucket, the sum of its records' digests."""

    def __init__(self, raw: bytes = bytes(_SUMS_BYTES)) -> None:
        self.raw = raw

    @classmethod
    def of(cls, text: str | None) -> Sums | None:
        """Of a stored text.

        Raises:
            ValueError: If it is of another size.
        """
        if text is None:
            return None
        raw = _unpacked(text)
        if len(raw) != _SUMS_BYTES:
            raise ValueError("not the sums of all buckets")
        return cls(raw)

    def plus(self, records: Sequence[Record]) -> Sums:
        """With these records in their buckets."""
        raw = bytearray(self.raw)
        for record in records:
            at = bucket_of(record.id) * _SUM_BYTES
            held = int.from_bytes(raw[at : at + _SUM_BYTES]) + int.from_bytes(_content(record)[:_SUM_BYTES])
            raw[at : at + _SUM_BYTES] = (held % _MODULUS).to_bytes(_SUM_BYTES)
        return Sums(bytes(raw))

    def differs(self, other: Sums, record_id: str) -> bool:
        """True if the record's bucket has another sum there."""
        at = slice(bucket_of(record_id) * _SUM_BYTES, (bucket_of(record_id) + 1) * _SUM_BYTES)
        return self.raw[at] != other.raw[at]


def bucket_of(record_id: str) -> int:
    """Where a record belongs, by its id alone."""
    return int.from_bytes(_name(record_id)) % _BUCKETS


class Feed:
    """The feed of one kind.

    Args:
        zone: Of LASTDATE and LASTTIME.
        compare_after: How often everything is compared although edits are dated.
    """

    def __init__(self, source: Source, clock: Clock, *, zone: str, compare_after: timedelta) -> None:
        self._source = source
        self._clock = clock
        self._zone = ZoneInfo(zone)
        self._compare_after = compare_after

    def changes(self, text: str | None) -> ChangePage:
        """A page of what changed; see the module."""
        found: list[Record] = []
        if text is None:
            cursor = self._from_the_first()
        else:
            cursor = Cursor.of(text)
            if cursor.walk is None:
                cursor, found = self._begun(cursor)
        cursor = self._walked(cursor, found, until=lambda: len(found) >= PAGE)
        return ChangePage(found, cursor.text, more=cursor.walk is not None)

    def cursor_now(self) -> str:
        """Where the feed stands once everything was seen.

        If there is not time for that, the records that are left will be given out, though they did not change.
        """
        return self._walked(self._from_the_first(), [], until=lambda: False).text

    def _from_the_first(self) -> Cursor:
        now = self._clock.now().isoformat()
        return Cursor(now, now, walk=Walk("first", sums=Sums(), version=self._current()))

    def _current(self) -> int | None:
        version = self._source.version()
        return None if version is None else version.current

    def _walked(self, cursor: Cursor, found: list[Record], *, until: Callable[[], bool]) -> Cursor:
        """After as many steps as a call may take; what they give out is put into `found`."""
        began_at = self._clock.now()
        for _ in range(STEPS_MAX):
            if cursor.walk is None or until() or (self._clock.now() - began_at).total_seconds() > SECONDS_MAX:
                return cursor
            cursor = self._step(cursor, cursor.walk, found)
        return cursor

    # Beginning

    def _begun(self, cursor: Cursor) -> tuple[Cursor, list[Record]]:
        """What is to be done now, and what was edited lately."""
        version = self._source.version()
        if version is not None:
            tracked = cursor.version
            if tracked is not None and tracked >= version.since and not self._source.lost_track(tracked):
                return replace(cursor, walk=Walk("tracked", version=version.current)), []
            return self._comparing(cursor, version.current), []
        cursor = replace(cursor, version=None)
        now = self._clock.now()
        looked_at = datetime.fromisoformat(cursor.looked_at)
        ids = self._source.edited(self._day_before(looked_at), KNOWN_MAX + 1)
        if ids is None or len(ids) > KNOWN_MAX:
            return self._comparing(replace(cursor, looked_at=now.isoformat(), known={}), None), []
        records = self._source.records(ids)
        fresh = [record for record in records if not _is_known(cursor.known, record)]
        cursor = replace(cursor, looked_at=now.isoformat(), known=self._known({}, records, now))
        if now - datetime.fromisoformat(cursor.compared_at) >= self._compare_after:
            cursor = self._comparing(cursor, None)
        return cursor, fresh

    def _comparing(self, cursor: Cursor, version: int | None) -> Cursor:
        return replace(
            cursor, compared_at=self._clock.now().isoformat(), walk=Walk("sum", sums=Sums(), version=version)
        )

    def _day_before(self, moment: datetime) -> date:
        return (moment - OVERLAP).astimezone(self._zone).date()

    def _known(self, known: Mapping[bytes, bytes], records: Sequence[Record], now: datetime) -> dict[bytes, bytes]:
        """With those of the records that were edited lately, as long as there is room."""
        first = self._day_before(now)
        more = dict(known)
        for record in records:
            lately = record.edited_at is not None and record.edited_at.astimezone(self._zone).date() >= first
            if lately and (len(more) < KNOWN_MAX or _name(record.id) in more):
                more[_name(record.id)] = _content(record)
        return more

    # Steps

    def _step(self, cursor: Cursor, walk: Walk, found: list[Record]) -> Cursor:
        if walk.step == "tracked":
            return self._track(cursor, walk, found)
        if walk.step == "emit":
            return self._emit(cursor, walk, found)
        ids, after = self._source.page(walk.after, PAGE)
        records = self._source.records(ids)
        sums = (walk.sums or Sums()).plus(records)
        if walk.step == "first":
            found += records
            known = self._known(cursor.known, records, datetime.fromisoformat(cursor.looked_at))
            cursor = replace(cursor, known=known)
        walk = replace(walk, after=after, sums=sums)
        if after:
            return replace(cursor, walk=walk)
        if walk.step == "first" or cursor.sums is None or cursor.sums.raw == sums.raw:
            return _at_rest(cursor, walk)
        return replace(cursor, walk=replace(walk, step="emit"))

    def _emit(self, cursor: Cursor, walk: Walk, found: list[Record]) -> Cursor:
        """Records of buckets with another sum, but for those of which it is known that they were given out so."""
        former, sums = cursor.sums or Sums(), walk.sums or Sums()
        ids, after = self._source.page(walk.after, PAGE)
        records = self._source.records([one for one in ids if sums.differs(former, one)])
        found += [record for record in records if not _is_known(cursor.known, record)]
        walk = replace(walk, after=after)
        return replace(cursor, walk=walk) if after else _at_rest(cursor, walk)

    def _track(self, cursor: Cursor, walk: Walk, found: list[Record]) -> Cursor:
        ids, after = self._source.tracked(cursor.version or 0, walk.after, PAGE)
        found += self._source.records(ids)
        if after:
            return replace(cursor, walk=replace(walk, after=after))
        return replace(cursor, version=walk.version, walk=None)


def _at_rest(cursor: Cursor, walk: Walk) -> Cursor:
    return replace(cursor, sums=walk.sums, version=walk.version, walk=None)


def _is_known(known: Mapping[bytes, bytes], record: Record) -> bool:
    return known.get(_name(record.id)) == _content(record)


def _name(record_id: str) -> bytes:
    return hashlib.blake2b(record_id.encode(), digest_size=_HASH_BYTES).digest()


def _content(record: Record) -> bytes:
    """With the id, so that two records that swap their contents are seen."""
    return hashlib.blake2b(f"{record.id}\n{record.version}".encode(), digest_size=_HASH_BYTES).digest()


def _packed(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def _unpacked(text: str) -> bytes:
    """Raises ValueError if it is not what `_packed` made."""
    try:
        return zlib.decompress(base64.b64decode(text, validate=True))
    except zlib.error:
        raise ValueError("not what was stored") from None
