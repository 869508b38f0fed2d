"""The audit trail: what happened to what Tieout keeps, one entry each, chained by hashes from the first one on.

An entry's line is canonical JSON (names in order, no spaces, no floats): there is one way to write it, so that its hash
says all of it. Each entry holds the hash of the one before; the first one holds a hash of its tenant's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

type State = Mapping[str, Any]


class Thing(StrEnum):
    """What an entry is about."""

    LINK = "link"
    CONNECTION = "connection"
    SYNC = "sync"
    RUN = "run"
    PLAN = "plan"


class What(StrEnum):
    """What happened, in the words of people who keep books.

    Links: INTENT_OPENED before a write, then OUTCOME_UNKNOWN, LOOKED_UP and TAKEN_OVER until it is CREATED, UPDATED,
    LINKED (it stood there already; nothing was written) or RELEASED (surely not written). PARKED, WAITS, DISMISSED say
    why a record is not in agreement, CLEARED that nothing hinders it any more, DECIDED that a person answered a review,
    WITHDRAWN that no document stands for it any more, RENEWED that a new one may be written in its place.
    """

    INTENT_OPENED = "intent opened"
    OUTCOME_UNKNOWN = "outcome unknown"
    LOOKED_UP = "looked up"
    TAKEN_OVER = "taken over"
    CREATED = "created"
    UPDATED = "updated"
    LINKED = "linked"
    RELEASED = "released"
    PARKED = "parked"
    WAITS = "waits"
    DISMISSED = "dismissed"
    CLEARED = "cleared"
    DECIDED = "decided"
    WITHDRAWN = "withdrawn"
    RENEWED = "renewed"
    CONNECTED = "connected"
    PAUSED = "paused"
    RESUMED = "resumed"
    APPLIED = "applied"
    BEGAN = "began"
    WENT_ON = "went on"
    FINISHED = "finished"
    STORED = "stored"
    APPROVED = "approved"
    UNDONE = "undone"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a chain ends: its last entry's number and hash; (0, hash of the tenant's name) if it has none."""

    seq: int
    hash: str


def beginning(tenant: str) -> Tip:
    """Where the tenant's chain begins."""
    return Tip(0, hashlib.sha256(f"tieout audit trail of {tenant}".encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        seq: 1 for the tenant's first, then one more each.
        previous: Hash of the entry before.
        at: When the table was changed, to the second or better. Aware UTC.
        event: Names the change of the table; equal if one change was archived twice.
        name: Which: `sync/step/source id` for a link.
        before: The fields that are another now, as they stood; None for those that were not there. None as a whole if
            the thing was not there.
        after: All of it as it stands now, fields at their defaults left out; None if it was removed.
        worker: Who did it, if it was a write.
        hash: Of all the rest.
    """

    tenant: str
    seq: int
    previous: str
    at: datetime
    event: str
    thing: Thing
    name: str
    what: What
    before: State | None
    after: State | None
    worker: str = ""
    hash: str = ""

    def former(self) -> State | None:
        """All of the thing as it stood before."""
        if self.before is None:
            return None
        merged = {**(self.after or {}), **self.before}
        return {name: value for name, value in merged.items() if value is not None}

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """By top-level field, what stood there and what does now; None where nothing did."""
        after = self.after or {}
        names = after if self.before is None else self.before
        return {name: ((self.before or {}).get(name), after.get(name)) for name in names}


_ENTRY = TypeAdapter(Entry)


def canonical(value: object) -> bytes:
    """JSON with one way to write each value: names in order, no spaces, UTF-8.

    Raises:
        TypeError: If there is a float in it, or something that JSON cannot say.
    """
    _refuse_floats(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise TypeError("a float has several spellings")
    if isinstance(value, Mapping):
        for one in value.values():
            _refuse_floats(one)
    elif isinstance(value, list | tuple):
        for one in value:
            _refuse_floats(one)


def line_of(entry: Entry) -> bytes:
    """The entry as it stands in the archive, with its line end."""
    return canonical(_values(entry)) + b"\n"


def sealed(entry: Entry, after: Tip) -> Entry:
    """The entry as the next one after `after`, with its hash."""
    placed = replace(entry, seq=after.seq + 1, previous=after.hash, hash="")
    return replace(placed, hash=_hash(placed))


def _values(entry: Entry) -> dict[str, Any]:
    values = asdict(entry)
    moment = entry.at.astimezone(UTC).replace(tzinfo=None)
    values["at"] = moment.isoformat(timespec="microseconds") + "Z"
    return values


def _hash(entry: Entry) -> str:
    values = _values(entry)
    del values["hash"]
    return hashlib.sha256(canonical(values)).hexdigest()


class Damage(StrEnum):
    """What is wrong with an entry."""

    UNREADABLE = "unreadable"
    CHANGED = "changed"
    FOREIGN = "foreign"
    MISSING = "missing"
    ORDER = "order"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first bad entry of a chain.

    Attributes:
        seq: The number of the entry that should stand there.
        first: The number that names the object; None if the object itself is missing.
        line: In the object, from 1; 0 if it is about the whole object.
        reason: The sentence for people.
    """

    damage: Damage
    seq: int
    first: int | None
    line: int
    reason: str


class _FlawError(Exception):
    def __init__(self, damage: Damage, reason: str) -> None:
        super().__init__(reason)
        self.damage, self.reason = damage, reason


def read_object(body: bytes, *, tenant: str, first: int, after: Tip) -> Iterator[Entry | Flaw]:
    """The object's entries in order; a flaw ends them.

    Args:
        body: The object.
        tenant: Whose chain it is.
        first: The number of its first entry, which names it.
        after: Where the chain ended before it.
    """
    if first != after.seq + 1:
        yield _misplaced(first, after)
        return
    lines = body.split(b"\n")
    tip, whole = after, lines.pop() == b""
    if not lines or not whole:
        reason = "The object is empty or cut off: its last line has no end."
        yield Flaw(Damage.UNREADABLE, after.seq + max(len(lines), 0) + 1, first, len(lines) + 1, reason)
        return
    for number, line in enumerate(lines, start=1):
        try:
            entry = _checked(line, tenant, tip)
        except _FlawError as flaw:
            yield Flaw(flaw.damage, tip.seq + 1, first, number, flaw.reason)
            return
        tip = Tip(entry.seq, entry.hash)
        yield entry


def _misplaced(first: int, after: Tip) -> Flaw:
    wanted = after.seq + 1
    if first > wanted:
        reason = f"Entries {wanted} to {first - 1} are missing: no object holds them."
        return Flaw(Damage.MISSING, wanted, None, 0, reason)
    reason = f"An object begins with entry {first}, where another one stands already."
    return Flaw(Damage.ORDER, wanted, first, 0, reason)


def _checked(line: bytes, tenant: str, tip: Tip) -> Entry:
    try:
        entry = _ENTRY.validate_json(line)
    except ValidationError:
        raise _FlawError(Damage.UNREADABLE, "The line is not an entry.") from None
    if not _is_its_own(entry, line):
        raise _FlawError(Damage.CHANGED, "The entry is not written as Tieout writes it.")
    if entry.hash != _hash(entry):
        raise _FlawError(Damage.CHANGED, "The entry was changed: its hash is another one's.")
    if entry.tenant != tenant:
        raise _FlawError(Damage.FOREIGN, f"The entry is of the tenant {entry.tenant}.")
    wanted = tip.seq + 1
    if entry.seq > wanted:
        raise _FlawError(Damage.MISSING, f"Entry {wanted} is missing; entry {entry.seq} stands in its place.")
    if entry.seq < wanted:
        raise _FlawError(Damage.ORDER, f"Entry {entry.seq} stands where entry {wanted} should.")
    if entry.previous != tip.hash:
        raise _FlawError(Damage.REPLACED, "The entry does not follow the one before it: one of the two was replaced.")
    return entry


def _is_its_own(entry: Entry, line: bytes) -> bool:
    """True if the line is the one way to write the entry; there is none for a float, or a time that UTC cannot say."""
    try:
        return line_of(entry) == line + b"\n"
    except (TypeError, OverflowError):
        return False
