"""An archive in memory, what feeds it, and the oracle of the audit trail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from zlib import crc32

from tests.aws import START
from tieout.domain.audit import Flaw, Tip
from tieout.domain.links import Link, LinkKey
from tieout.engine.archive import ArchiveAudit, entry_of, name_of
from tieout.engine.audit import Replay, Trail
from tieout.ports.audit import Item, Noticed, Stored

SHARDS = 4
DEATHS, RACES, REPEATED = 0.1, 0.2, 0.1


@dataclass
class MemoryArchive:
    """Objects by tenant and the number of their first entry; `before_put` may come in between."""

    objects_of: dict[str, dict[int, tuple[bytes, datetime]]] = field(default_factory=lambda: defaultdict(dict))
    now: Callable[[], datetime] = lambda: START
    before_put: Callable[[], None] = lambda: None
    reads: list[int] = field(default_factory=list)
    puts: int = 0

    def put(self, tenant: str, first: int, body: bytes) -> bool:
        self.before_put()
        self.puts += 1
        if first in self.objects_of[tenant]:
            return False
        self.objects_of[tenant][first] = (body, self.now())
        return True

    def get(self, tenant: str, first: int) -> bytes | None:
        self.reads.append(first)
        body, _ = self.objects_of[tenant].get(first, (None, None))
        return body

    def read(self, tenant: str, firsts: Iterable[int]) -> Iterator[tuple[int, bytes | None]]:
        return ((first, self.get(tenant, first)) for first in firsts)

    def objects(self, tenant: str, *, after: int = 0) -> Iterator[Stored]:
        found = sorted(self.objects_of[tenant].items())
        return iter([Stored(first, written_at) for first, (_, written_at) in found if first > after])

    # Breaking it

    def replace(self, tenant: str, first: int, change: Callable[[bytes], bytes]) -> None:
        body, written_at = self.objects_of[tenant][first]
        self.objects_of[tenant][first] = (change(body), written_at)


@dataclass
class MemoryTips:
    """Remembers each tenant's tip; `crashes` says how many of the next calls are lost."""

    tips: dict[str, Tip] = field(default_factory=dict)
    crashes: int = 0

    def tip(self, tenant: str) -> Tip | None:
        return self.tips.get(tenant)

    def advance(self, tenant: str, tip: Tip) -> None:
        if self.crashes:
            self.crashes -= 1
            raise ConnectionError("the worker died here")
        if tenant not in self.tips or self.tips[tenant].seq < tip.seq:
            self.tips[tenant] = tip


class ToldLinks(dict[LinkKey, Link]):
    """Links that tell of each change as the table's stream does: put it in the place of a store's `links`."""

    def __init__(
        self, links: Mapping[LinkKey, Link] | None = None, now: Callable[[], datetime] = lambda: START
    ) -> None:
        super().__init__(links or {})
        self._now = now
        self.told: list[Noticed] = []

    def __setitem__(self, key: LinkKey, link: Link) -> None:
        self._tell(key, self.get(key), link)
        super().__setitem__(key, link)

    def __delitem__(self, key: LinkKey) -> None:
        self._tell(key, self[key], None)
        super().__delitem__(key)

    def _tell(self, key: LinkKey, before: Link | None, after: Link | None) -> None:
        if before != after:
            self.told.append(noticed(before, after, event=f"event-{len(self.told)}", at=self._now()))


def noticed(before: Item | None, after: Item | None, *, event: str, at: datetime = START) -> Noticed:
    """A change as the stream tells it."""
    item = after if after is not None else before
    assert item is not None
    tenant = item.key.tenant if isinstance(item, Link) else item.tenant
    return Noticed(tenant, event, at, before, after)


def archived_roughly(told: Sequence[Noticed], chance: Random) -> tuple[MemoryArchive, MemoryTips]:
    """What a stream of several shards makes of it: repeats, races for a place, consumers that die before and after.

    The changes of one item are in one shard, in order; a shard goes on only once its records were archived.
    """
    shards: list[list[Noticed]] = [[] for _ in range(SHARDS)]
    for one in told:
        shards[crc32(f"{one.tenant} {entry_of(one).name}".encode()) % SHARDS].append(one)
    newest = max((one.at for one in told), default=START)
    archive, tips = MemoryArchive(now=lambda: newest), MemoryTips()
    consumers = [ArchiveAudit(archive, tips) for _ in shards]

    def waiting(but: int = -1) -> list[int]:
        return [number for number, left in enumerate(shards) if left and number != but]

    def deliver(number: int, before_put: Callable[[], None] = _nothing) -> None:
        batch = shards[number][: chance.randint(1, 5)]
        archive.before_put = before_put
        try:
            for tenant in sorted({one.tenant for one in batch}):
                consumers[number].archive(tenant, [one for one in batch if one.tenant == tenant])
        except ConnectionError:
            consumers[number] = ArchiveAudit(archive, tips)
            return
        finally:
            archive.before_put = _nothing
        if chance.random() >= REPEATED:
            del shards[number][: len(batch)]

    def overtake(number: int) -> None:
        archive.before_put = _nothing
        if others := waiting(but=number):
            deliver(chance.choice(others))

    while some := waiting():
        number, luck = chance.choice(some), chance.random()
        tips.crashes = int(luck < DEATHS)
        if DEATHS <= luck < 2 * DEATHS:
            deliver(number, _die)
        elif 2 * DEATHS <= luck < 2 * DEATHS + RACES:
            deliver(number, lambda one=number: overtake(one))
        else:
            deliver(number)
    return archive, tips


def _nothing() -> None:
    pass


def _die() -> None:
    raise ConnectionError("the consumer died here")


def broken_trail(links: Mapping[LinkKey, Link], archive: MemoryArchive, tips: MemoryTips) -> Iterator[str]:
    """I7: each tenant's chain is whole, tells of everything that happened, and replaying it gives these links."""
    found: dict[LinkKey, Link] = {}
    for tenant in {*archive.objects_of, *(key.tenant for key in links)}:
        replay = Replay()
        for one in Trail(archive, tips, tenant).read(lambda _name, _count: None):
            if isinstance(one, Flaw):
                yield f"{tenant}: entry {one.seq}: {one.reason}"
                break
            replay.take(one[1])
        found |= replay.links()
        yield from (f"{tenant} {entry.name}: something before entry {entry.seq} is not told" for entry in replay.gaps)
    for key in sorted({*found, *links}, key=name_of):
        if found.get(key) != links.get(key):
            yield f"{key.tenant} {name_of(key)}: the trail gives {found.get(key)}, the table has {links.get(key)}"
