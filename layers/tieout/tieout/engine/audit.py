"""The audit trail: whether it is whole, and whether replaying it gives today's links."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from tieout.domain.audit import Damage, Entry, Flaw, State, Thing, Tip, beginning, read_object
from tieout.domain.links import Link, LinkKey
from tieout.engine.archive import link_of, name_of, state_of
from tieout.engine.collect import compiled
from tieout.ports.audit import Archive, TipStore
from tieout.ports.clock import Clock
from tieout.ports.state import ConfigStore, LinkStore

LAG_MAX = timedelta(minutes=15)
LOOKS = 6
LOOK_SECONDS = 5


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
        if known is not None or former is None:
            return False
        # What stood there before the trail began has no entry that tells how it came.
        return entry.thing is not Thing.LINK or self._is_older_link(former)

    def _is_older_link(self, state: State) -> bool:
        try:
            link = link_of(state)
        except ValidationError:  # no link of ours: the verdict has to name it, not end with it
            return False
        return self.is_older(link)

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
