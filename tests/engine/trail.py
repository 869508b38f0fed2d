"""An archive in memory, and what feeds it: the differences between a store's links then and now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from tests.aws import START
from tieout.domain.audit import Tip
from tieout.domain.links import Link, LinkKey
from tieout.ports.audit import Item, Noticed, Stored


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


@dataclass
class Stream:
    """Tells of each change as the table's stream does."""

    at: datetime = START
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def noticed(self, before: Item | None, after: Item | None, *, tenant: str, event: str = "") -> Noticed:
        self.at += timedelta(seconds=1)
        return Noticed(tenant, event or f"event-{next(self._numbers)}", self.at, before, after)

    def of_links(
        self, then: Mapping[LinkKey, Link], now: Mapping[LinkKey, Link], *, at: datetime | None = None
    ) -> Iterator[Noticed]:
        """What changed between two looks at the links."""
        self.at = at or self.at
        for key in {**then, **now}:
            if then.get(key) != now.get(key):
                yield self.noticed(then.get(key), now.get(key), tenant=key.tenant)
