"""The audit trail: archiving what the table tells, and checking that the trail is whole and gives today's links."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from tieout.domain.audit import Damage, Entry, Flaw, State, Thing, Tip, What, beginning, line_of, read_object, sealed
from tieout.domain.changes import UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import UnavailableError
from tieout.domain.links import Intent, IntentState, Link, LinkKey
from tieout.engine.collect import compiled
from tieout.ports.audit import Archive, Item, Noticed, OtherItem, TipStore
from tieout.ports.clock import Clock
from tieout.ports.state import ConfigStore, LinkStore, Run, StoredSync

RACES_MAX = 50
LOOK_BACK_ENTRIES = 1000
LOOK_BACK_OBJECTS = 100
REMEMBERED_OBJECTS = 500
CLOCKS_APART = timedelta(minutes=1)
LAG_MAX = timedelta(minutes=15)
LOOKS = 6
LOOK_SECONDS = 5


_FORMS: dict[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Link, Connection, StoredSync, Run, OtherItem)
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
        case OtherItem(kind=kind, name=name):
            return Thing.OTHER, f"{kind}/{name}"


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


def happened(before: Item | None, after: Item | None) -> What:  # noqa: PLR0911 - one line a type
    """In a word, by comparing what stood there with what does."""
    match before, after:
        case _, None:
            return What.REMOVED
        case Link() | None, Link():
            return _of_link(before or Link(after.key), after)
        case Connection() | None, Connection():
            return _of_connection(before, after)
        case _, StoredSync():
            return What.APPLIED
        case Run() | None, Run():
            return _of_run(before, after)
        case None, _:
            return What.STORED
    return What.CHANGED


def _of_link(before: Link, after: Link) -> What:  # noqa: PLR0911 - one line a case
    if after.intent is not None:
        return _of_intent(before.intent, after.intent)
    if _written(before) != _written(after):
        if after.withdrawn is not None and before.withdrawn is None:
            return What.WITHDRAWN
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
        for first in recent:
            archived |= self._events(tenant, first)
        return tip, archived

    def _past(self, tenant: str, tip: Tip, first: int) -> tuple[Tip, frozenset[str]]:
        """The end of the object that stands after the chain's end, and its events.

        Raises:
            RuntimeError: If it is damaged: nothing can be added after it.
        """
        found = list(read_object(self._archive.get(tenant, first) or b"", tenant=tenant, first=first, after=tip))
        entries = [one for one in found if isinstance(one, Entry)]
        if len(entries) < len(found) or not entries:
            raise RuntimeError(
                f"the newest object of the audit trail of {tenant} is damaged; see `tieout audit verify`"
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


# Replaying


@dataclass(slots=True)
class Replay:
    """The trail from its beginning, folded into what stands there at its end.

    Attributes:
        states: By thing and name, what was there at the end.
        gaps: Entries whose `before` is not what the entry before left: something happened that no entry tells.
        repeated: How many entries tell what another one told already.
        began_at, ended_at: When the first and the last entry happened; None if there are none.
    """

    states: dict[tuple[Thing, str], State] = field(default_factory=dict)
    gaps: list[Entry] = field(default_factory=list)
    count: int = 0
    repeated: int = 0
    began_at: datetime | None = None
    ended_at: datetime | None = None
    _seen: set[str] = field(default_factory=set)

    def take(self, entry: Entry) -> None:
        """Go on by one entry; told again, it changes nothing."""
        self.count += 1
        if entry.event in self._seen:
            self.repeated += 1
            return
        self._seen.add(entry.event)
        self.began_at = self.began_at or entry.at
        self.ended_at = entry.at if self.ended_at is None else max(entry.at, self.ended_at)
        key = (entry.thing, entry.name)
        if not self._fits(entry, self.states.get(key)):
            self.gaps.append(entry)
        if entry.after is None:
            self.states.pop(key, None)
        else:
            self.states[key] = entry.after

    def _fits(self, entry: Entry, known: State | None) -> bool:
        former = entry.former()
        if former == known:
            return True
        # What stood there before the trail began has no entry that tells how it came.
        return (
            known is None and former is not None and (entry.thing is not Thing.LINK or self.is_older(link_of(former)))
        )

    def state(self, key: LinkKey) -> State | None:
        """The link's state; None if the trail tells of none."""
        return self.states.get((Thing.LINK, name_of(key)))

    def links_told(self) -> Iterator[LinkKey]:
        """Which links there are at the end."""
        return (LinkKey(**state["key"]) for (thing, _), state in self.states.items() if thing is Thing.LINK)

    def links(self) -> dict[LinkKey, Link]:
        """Every link as the trail tells it."""
        found = (link_of(state) for (thing, _), state in self.states.items() if thing is Thing.LINK)
        return {link.key: link for link in found}

    def is_older(self, link: Link) -> bool:
        """True if the link, of which the trail does not tell, did not change since it began."""
        changed = changed_at(link)
        return self.began_at is not None and (changed is None or changed <= self.began_at)


def replayed(entries: Iterable[Entry]) -> dict[LinkKey, Link]:
    """The links that the entries end with."""
    replay = Replay()
    for entry in entries:
        replay.take(entry)
    return replay.links()


def changed_at(link: Link) -> datetime | None:
    """When it was changed at least, by what it says itself; None if it says nothing."""
    moments = (
        link.settled_at,
        None if link.intent is None else link.intent.opened_at,
        None if link.unsynced is None else link.unsynced.since,
    )
    return max((moment for moment in moments if moment is not None), default=None)


# Verifying


@dataclass(frozen=True, slots=True)
class Difference:
    """A link that is not what the trail says.

    Attributes:
        name: `sync/step/source id`.
        reason: The sentence for people.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a tenant's trail.

    Attributes:
        entries, objects: How many were read.
        tip: The end of what is whole.
        flaw: The first bad entry; None if the chain is whole. Nothing is compared after one.
        repeated: Entries that tell what another one told already.
        gaps: Changes that no entry tells, found by what the next entry says of what stood there.
        alike: Links that are in the table what the trail says.
        newer: Links that were changed so lately that the trail does not tell of it yet.
        older: Links that did not change since the trail began.
        differing: The others.
    """

    entries: int
    objects: int
    tip: Tip
    began_at: datetime | None
    ended_at: datetime | None
    flaw: Flaw | None
    repeated: int = 0
    gaps: Sequence[Difference] = ()
    alike: int = 0
    newer: int = 0
    older: int = 0
    differing: Sequence[Difference] = ()

    @property
    def clean(self) -> bool:
        """True if the chain is whole, tells everything, and gives today's links."""
        return self.flaw is None and not self.gaps and not self.differing


type Watch = Callable[[str, int], None]


class Trail:
    """A tenant's chain, read from its beginning as far as it reaches, and on from there.

    Attributes:
        tip: The end of what was read.
        objects, entries: How many were read.
    """

    def __init__(self, archive: Archive, tips: TipStore, tenant: str) -> None:
        self._archive, self._tips, self._tenant = archive, tips, tenant
        self.tip = beginning(tenant)
        self.objects = 0
        self.entries = 0

    def read(self, watch: Watch) -> Iterator[tuple[int, Entry] | Flaw]:
        """What stands after what was read, each entry with its object's number; a flaw ends it."""
        # Read before the objects are listed, so it is never ahead of them.
        remembered = self._tips.tip(self._tenant) or self.tip
        firsts = (one.first for one in self._archive.objects(self._tenant, after=self.tip.seq))
        for first, body in self._archive.read(self._tenant, firsts):
            self.objects += 1
            for found in read_object(body or b"", tenant=self._tenant, first=first, after=self.tip):
                if isinstance(found, Flaw):
                    yield found
                    return
                if found.seq == remembered.seq and found.hash != remembered.hash:
                    reason = "Not the entry that was written here: the table remembers another hash."
                    yield Flaw(Damage.REPLACED, found.seq, first, found.seq - first + 1, reason)
                    return
                self.tip = Tip(found.seq, found.hash)
                self.entries += 1
                yield first, found
            watch("entries", self.entries)
        if remembered.seq > self.tip.seq:
            wanted = self.tip.seq + 1
            reason = f"Entries {wanted} to {remembered.seq} are missing: the table remembers that they were written."
            yield Flaw(Damage.MISSING, wanted, None, 0, reason)


class Audit:
    """Reads a tenant's trail: checks it, tells of it."""

    def __init__(
        self, *, archive: Archive, tips: TipStore, config: ConfigStore, links: LinkStore, clock: Clock
    ) -> None:
        self._archive, self._tips = archive, tips
        self._config, self._links, self._clock = config, links, clock

    def trail(self, tenant: str) -> Trail:
        """The tenant's chain, to be read."""
        return Trail(self._archive, self._tips, tenant)

    def verify(self, tenant: str, watch: Watch) -> Verdict:
        """Whether the chain is whole, and whether replaying it gives today's links.

        Links that differ are looked at again, with what was archived meanwhile, for half a minute at most.
        """
        trail, replay = self.trail(tenant), Replay()
        flaw, suspects, older, seen = _follow(trail, replay, watch), set[LinkKey](), 0, 0
        if flaw is None:
            suspects, older, seen = self._compare(tenant, replay, watch)
        for _ in range(LOOKS):
            if not suspects or flaw is not None:
                break
            self._clock.sleep(LOOK_SECONDS)
            flaw = _follow(trail, replay, watch)
            suspects = {key for key in suspects if not _alike(key, self._links.get([key]).get(key), replay)}
        newer, differing = (0, []) if flaw is not None else self._judged(suspects, replay)
        return Verdict(
            entries=trail.entries,
            objects=trail.objects,
            tip=trail.tip,
            began_at=replay.began_at,
            ended_at=replay.ended_at,
            flaw=flaw,
            repeated=replay.repeated,
            gaps=[Difference(one.name, f"What happened before entry {one.seq} is not told.") for one in replay.gaps],
            alike=seen - older - len(suspects),
            newer=newer,
            older=older,
            differing=differing,
        )

    def _compare(self, tenant: str, replay: Replay, watch: Watch) -> tuple[set[LinkKey], int, int]:
        """Links that are not what the trail says, how many are older than it, and how many there are at all."""
        told = {key for key in replay.links_told() if key.tenant == tenant}
        steps = {(key.sync, key.step) for key in told}
        for stored in self._config.syncs(tenant):
            steps |= {(stored.name, step.name) for step in compiled(stored).steps}
        suspects, older, seen = set[LinkKey](), 0, 0
        for sync, step in sorted(steps):
            for link in self._links.all(tenant, sync, step):
                seen += 1
                if link.key in told:
                    told.discard(link.key)
                    if not _alike(link.key, link, replay):
                        suspects.add(link.key)
                elif replay.is_older(link):
                    older += 1
                else:
                    suspects.add(link.key)
                watch("links", seen)
        return suspects | told, older, seen + len(told)

    def _judged(self, suspects: Iterable[LinkKey], replay: Replay) -> tuple[int, list[Difference]]:
        """How many of them are only newer than the trail, and what is wrong with the others."""
        newer, differing, late = 0, [], self._clock.now() - LAG_MAX
        for key in sorted(suspects, key=name_of):
            link, state = self._links.get([key]).get(key), replay.state(key)
            changed = None if link is None else changed_at(link)
            revision = (state or {}).get("revision", 0)
            if link is None:
                reason = "It is in the trail, and not in the table."
            elif link.revision < revision:
                reason = f"The table has revision {link.revision}, the trail {revision}: the table was set back."
            elif changed is not None and changed >= late:
                newer += 1
                continue
            elif state is None:
                reason = "It is in the table, and no entry tells of it."
            else:
                stored = state_of(link)
                fields = ", ".join(sorted(one for one in {*stored, *state} if stored.get(one) != state.get(one)))
                reason = f"The table has something else than the trail: {fields}."
            differing.append(Difference(name_of(key), reason))
        return newer, differing


def _follow(trail: Trail, replay: Replay, watch: Watch) -> Flaw | None:
    """Replay what the trail has now; the flaw that ended it."""
    for found in trail.read(watch):
        if isinstance(found, Flaw):
            return found
        replay.take(found[1])
    return None


def _alike(key: LinkKey, link: Link | None, replay: Replay) -> bool:
    return (None if link is None else state_of(link)) == replay.state(key)
