"""Archiving: what the table tells becomes entries of the tenant's audit trail, each once."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from tieout.domain.audit import Entry, State, Thing, Tip, What, beginning, line_of, read_object, sealed
from tieout.domain.changes import UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import TieoutError, UnavailableError
from tieout.domain.links import Intent, IntentState, Link, LinkKey
from tieout.ports.audit import Archive, Item, Noticed, PlanItem, TipStore
from tieout.ports.state import Run, StoredSync

RACES_MAX = 50
LOOK_BACK_ENTRIES = 1000
LOOK_BACK_OBJECTS = 100
REMEMBERED_OBJECTS = 500
CLOCKS_APART = timedelta(minutes=1)

_FORMS: dict[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Link, Connection, StoredSync, Run, PlanItem)
}


def state_of(item: Item) -> State:
    """All that the item holds, as plain JSON; what is at its default is left out. Equal for equal items."""
    state: dict[str, Any] = _FORMS[type(item)].dump_python(item, mode="json", exclude_defaults=True)
    return state


def link_of(state: State) -> Link:
    """The link that `state_of` was given."""
    link: Link = _FORMS[Link].validate_python(state)
    return link


def entry_of(noticed: Noticed) -> Entry:
    """What the trail says of it; it gets its place and hash by `sealed`.

    Raises:
        ValueError: If it says nothing: neither before nor after was anything there.
    """
    before, after = noticed.before, noticed.after
    item = after if after is not None else before
    if item is None:
        raise ValueError("a change of nothing")
    thing, name = _named(item)
    former, state = (None if one is None else state_of(one) for one in (before, after))
    return Entry(
        tenant=noticed.tenant,
        seq=0,
        previous="",
        at=noticed.at,
        event=noticed.event,
        thing=thing,
        name=name,
        what=happened(before, after),
        before=_changed(former, state),
        after=state,
        worker=_worker(before, after),
    )


def _changed(former: State | None, state: State | None) -> State | None:
    """The fields of `former` that are another in `state`; None for those that only `state` has."""
    if former is None or state is None:
        return former
    return {name: former.get(name) for name in {*former, *state} if former.get(name) != state.get(name)}


def _named(item: Item) -> tuple[Thing, str]:
    match item:
        case Link(key=key):
            return Thing.LINK, name_of(key)
        case Connection(id=name):
            return Thing.CONNECTION, name
        case StoredSync(name=name):
            return Thing.SYNC, name
        case Run(sync=sync, id=name):
            return Thing.RUN, f"{sync}/{name}"
    return Thing.PLAN, item.id


def name_of(key: LinkKey) -> str:
    """How the trail names a link: `sync/step/source id`."""
    return f"{key.sync}/{key.step}/{key.source_id}"


def _worker(before: Item | None, after: Item | None) -> str:
    """Of a link's intent, before or now."""
    for item in (after, before):
        if isinstance(item, Link) and item.intent is not None:
            return item.intent.worker
    return ""


# What happened


def happened(before: Item | None, after: Item | None) -> What:
    """In a word, by comparing what stood there with what does."""
    match after:
        case None:
            return What.REMOVED
        case Link():
            return _of_link(before if isinstance(before, Link) else Link(after.key), after)
        case Connection():
            return _of_connection(before if isinstance(before, Connection) else None, after)
        case StoredSync():
            return What.APPLIED
        case Run():
            return _of_run(before if isinstance(before, Run) else None, after)
    return _of_plan(before if isinstance(before, PlanItem) else None, after)


def _of_link(before: Link, after: Link) -> What:  # noqa: PLR0911 - one line a case
    if after.intent is not None:
        return _of_intent(before.intent, after.intent)
    if after.generation != before.generation:
        return What.RENEWED
    if before.intent is None and before.target_id is not None and before.target_id != after.target_id:
        return What.LINKED if after.target_id is not None else What.DECIDED  # its partner was merged away
    if _written(before) != _written(after):
        if after.withdrawn is not None and before.withdrawn is None:
            return What.WITHDRAWN
        if before.intent is not None and before.intent.adopts:
            return What.LINKED
        return What.CREATED if before.target_id != after.target_id else What.UPDATED
    if before.intent is not None:
        return What.RELEASED
    if after.unsynced != before.unsynced:
        return _SAID[after.unsynced.state] if after.unsynced is not None else What.CLEARED
    if after.withdrawn != before.withdrawn:
        return What.WITHDRAWN
    return What.DECIDED if after.decision is not None and after.decision != before.decision else What.CHANGED


def _written(link: Link) -> tuple[object, ...]:
    """What a settled write leaves behind."""
    return link.settled_at, link.target_id, link.payload_hash, link.source_version, link.base


_SAID = {
    UnsyncedState.PARKED: What.PARKED,
    UnsyncedState.WAITING: What.WAITS,
    UnsyncedState.DISMISSED: What.DISMISSED,
}


def _of_intent(before: Intent | None, after: Intent) -> What:
    if before is None:
        return What.INTENT_OPENED
    if after.looks > before.looks:
        return What.LOOKED_UP
    if after.state is IntentState.UNKNOWN and before.state is not IntentState.UNKNOWN:
        return What.OUTCOME_UNKNOWN
    return What.TAKEN_OVER if after.worker != before.worker else What.CHANGED


def _of_connection(before: Connection | None, after: Connection) -> What:
    if before is None:
        return What.CONNECTED
    if after.state is before.state:
        return What.CHANGED
    return What.PAUSED if after.state is ConnectionState.PAUSED else What.RESUMED


def _of_run(before: Run | None, after: Run) -> What:
    if before is None:
        return What.BEGAN
    return What.FINISHED if after.finished_at is not None and before.finished_at is None else What.WENT_ON


_PLAN_IS = {"approved": What.APPROVED, "applying": What.BEGAN, "applied": What.FINISHED, "undone": What.UNDONE}


def _of_plan(before: PlanItem | None, after: PlanItem) -> What:
    if before is None:
        return What.STORED
    state = after.values.get("state")
    return _PLAN_IS.get(str(state), What.CHANGED) if state != before.values.get("state") else What.CHANGED


# Archiving


class ArchiveAudit:
    """Puts what the table tells into the tenant's chain, once.

    An object is written only where none stands, so the archive itself decides between two that archive at once: the
    loser reads what stands there and goes on after it. A change that is told again is found among the objects written
    since it happened; should more of them be there than are looked at, it stands in the trail twice, and a replay
    leaves the second one out.
    """

    def __init__(self, archive: Archive, tips: TipStore) -> None:
        self._archive, self._tips = archive, tips
        self._remembered: OrderedDict[tuple[str, int], frozenset[str]] = OrderedDict()

    def archive(self, tenant: str, changes: Sequence[Noticed]) -> int:
        """How many entries were added; the others stood there already.

        Args:
            tenant: Whose changes they are.
            changes: In the order in which they happened to each item.

        Raises:
            UnavailableError: If others were faster again and again.
            TieoutError: If what stands at the chain's end is damaged.
        """
        if not changes:
            return 0
        known = self._tips.tip(tenant)
        tip, archived = self._look(tenant, known or beginning(tenant), min(one.at for one in changes))
        for _ in range(RACES_MAX):
            entries = _chained(tip, (one for one in changes if one.event not in archived))
            if not entries:
                break
            first, body = tip.seq + 1, b"".join(map(line_of, entries))
            if self._archive.put(tenant, first, body):
                tip = Tip(entries[-1].seq, entries[-1].hash)
                self._remember(tenant, first, frozenset(entry.event for entry in entries))
                break
            # Another one was faster; or it was us, and the answer was lost.
            tip, events = self._past(tenant, tip, first)
            archived |= events
        else:
            raise UnavailableError(f"The end of the audit trail of {tenant} was taken {RACES_MAX} times by others.")
        if known is None or tip.seq > known.seq:
            self._tips.advance(tenant, tip)
        return len(entries)

    def _look(self, tenant: str, tip: Tip, since: datetime) -> tuple[Tip, set[str]]:
        """The chain's end, and the events of the objects that were written since then."""
        archived: set[str] = set()
        near = list(self._archive.objects(tenant, after=max(tip.seq - LOOK_BACK_ENTRIES, 0)))
        recent = [one.first for one in near if one.written_at >= since - CLOCKS_APART][-LOOK_BACK_OBJECTS:]
        for first in (one.first for one in near if one.first > tip.seq):
            tip, events = self._past(tenant, tip, first)
            archived |= events
        for first in {*recent, *(one.first for one in near if (tenant, one.first) in self._remembered)}:
            archived |= self._events(tenant, first)
        return tip, archived

    def _past(self, tenant: str, tip: Tip, first: int) -> tuple[Tip, frozenset[str]]:
        """The end of the object that stands after the chain's end, and its events.

        Raises:
            TieoutError: If it is damaged: nothing can be added after it.
        """
        found = list(read_object(self._archive.get(tenant, first) or b"", tenant=tenant, first=first, after=tip))
        entries = [one for one in found if isinstance(one, Entry)]
        if len(entries) < len(found) or not entries:
            raise TieoutError(
                f"The newest object of the audit trail of {tenant} is damaged, and nothing can be added after it.",
                next_step=f"Run `tieout audit verify --tenant {tenant}`; it names the entry.",
                detail=f"the object that begins with entry {first} is damaged; see `tieout audit verify`",
            )
        events = frozenset(entry.event for entry in entries)
        self._remember(tenant, first, events)
        return Tip(entries[-1].seq, entries[-1].hash), events

    def _events(self, tenant: str, first: int) -> frozenset[str]:
        """The events of an object; of a damaged one, those that can be read."""
        if (tenant, first) not in self._remembered:
            events = _events_in(self._archive.get(tenant, first) or b"")
            self._remember(tenant, first, events)
        return self._remembered[tenant, first]

    def _remember(self, tenant: str, first: int, events: frozenset[str]) -> None:
        self._remembered[tenant, first] = events
        while len(self._remembered) > REMEMBERED_OBJECTS:
            self._remembered.popitem(last=False)


def _chained(tip: Tip, changes: Iterable[Noticed]) -> list[Entry]:
    """Entries that follow the tip; a change that is told twice at once is one."""
    entries: list[Entry] = []
    for noticed in {one.event: one for one in changes}.values():
        entry = sealed(entry_of(noticed), tip)
        tip = Tip(entry.seq, entry.hash)
        entries.append(entry)
    return entries


def _events_in(body: bytes) -> frozenset[str]:
    events = set()
    for line in body.splitlines():
        try:
            events.add(str(json.loads(line)["event"]))
        except (ValueError, KeyError, TypeError):
            continue
    return frozenset(events)
