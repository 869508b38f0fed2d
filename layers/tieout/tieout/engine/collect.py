"""Collecting: which records the changes are about, read again from where they live."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import batched

from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.connections import Connection
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.engine.plan import Work
from tieout.mapping import CompiledStep, CompiledSync, LinkTo, compile_sync, missing_link
from tieout.ports.connector import Connector
from tieout.ports.state import LinkStore, StoredSync

type Connect = Callable[[Connection], Connector]
SEARCH_MAX = 100
KNOWN_NAMES_MAX = 1000
# Whoever asks for more is further right.
_ASKS_FOR = (
    Origin.POLL,
    Origin.WEBHOOK,
    Origin.SWEEP,
    Origin.BACKFILL,
    Origin.TARGET,
    Origin.DOUBT,
    Origin.RELINK,
    Origin.OPERATOR,
    Origin.APPROVED,
)


@lru_cache(maxsize=64)
def compiled(sync: StoredSync) -> CompiledSync:
    """The sync ready to use; each version is compiled once per process."""
    return replace(_compiled(sync.text), version=sync.version)


@lru_cache(maxsize=64)
def _compiled(text: str) -> CompiledSync:
    """The document ready to use, whoever's it is: many tenants have the same."""
    return compile_sync(text)


def coalesce(changes: Iterable[Change]) -> list[Change]:
    """One change a record: the earliest sighting, the most attempts, the origin that asks for most.

    It is live if one of them is. What a plan asks for stands beside what was seen: if the plan no longer holds, the
    change still does.
    """
    kept: dict[tuple[str, str, Kind, str, str], Change] = {}
    for change in changes:
        name = (change.tenant, change.connection, change.kind, change.id, change.plan)
        former = kept.get(name)
        kept[name] = (
            change
            if former is None
            else replace(
                former,
                seen_at=min(former.seen_at, change.seen_at),
                attempts=max(former.attempts, change.attempts),
                lane=former.lane if former.lane is Lane.LIVE else change.lane,
                origin=max(former.origin, change.origin, key=_ASKS_FOR.index),
                merged_into=former.merged_into or change.merged_into,
                alone=former.alone and change.alone,
            )
        )
    return list(kept.values())


def further_right(one: Origin, other: Origin) -> Origin:
    """Of two origins, the one that asks for more."""
    return max(one, other, key=_ASKS_FOR.index)


def steps_of(sync: CompiledSync, connection: str) -> Iterator[CompiledStep]:
    """The steps of the sync that read from this connection, in order."""
    for step in sync.steps:
        if connection_read(sync, step) == connection:
            yield step


def steps_back(sync: CompiledSync, connection: str) -> Iterator[CompiledStep]:
    """The two-way steps of the sync whose target is this connection: what changes there comes back to the source."""
    for step in sync.steps:
        if step.two_way is not None and sync.target == connection:
            yield step


def kinds_heard(sync: CompiledSync, connection: str) -> list[Kind]:
    """Kinds of records of this connection whose changes concern the sync, without repeats."""
    read = [kind for step in steps_of(sync, connection) for kind in (step.from_kind, *step.also_on)]
    return list(dict.fromkeys([*read, *(step.to_kind for step in steps_back(sync, connection))]))


def brought_back(sync: CompiledSync, step: CompiledStep, link: Link, change: Change) -> Change:
    """A change of the other side of a two-way step as one of the source record."""
    origin = further_right(change.origin, Origin.TARGET)
    return replace(change, connection=sync.source, kind=step.from_kind, id=link.key.source_id, origin=origin)


def connection_read(sync: CompiledSync, step: CompiledStep) -> str:
    """Id of the connection that the step reads from."""
    return sync.source if step.reads == "source" else sync.target


def connection_of(work: Work, side: Side) -> str:
    """Id of the connection that a write of this side goes to; SOURCE only in a two-way step."""
    return connection_written(work.sync, work.step) if side is Side.TARGET else connection_read(work.sync, work.step)


def kind_of(work: Work, side: Side) -> Kind:
    """Kind of the record that a write of this side goes to."""
    return work.step.to_kind if side is Side.TARGET else work.step.from_kind


def connection_written(sync: CompiledSync, step: CompiledStep) -> str:
    """Id of the connection that the step writes to."""
    return sync.target if step.reads == "source" else sync.source


def read_all(connector: Connector, kind: Kind, ids: Sequence[str]) -> dict[str, Record]:
    """The records by id, in as many calls as the provider needs; those gone or not visible are left out."""
    found: dict[str, Record] = {}
    for chunk in batched(ids, connector.manifest.read_batch_max, strict=False):
        found.update((record.id, record) for record in connector.read(kind, chunk))
    return found


def key_of(sync: CompiledSync, step: CompiledStep, change: Change) -> LinkKey:
    """The link of the record that the change is about."""
    return LinkKey(change.tenant, sync.name, step.name, change.id)


def links_of(
    sync: CompiledSync, step: CompiledStep, changes: Sequence[Change], links: LinkStore
) -> dict[LinkKey, Link]:
    """The stored links of the changes' records."""
    return links.get([key_of(sync, step, change) for change in changes])


def works_of(
    sync: CompiledSync,
    step: CompiledStep,
    changes: Sequence[Change],
    records: Mapping[str, Record],
    links: Mapping[LinkKey, Link],
) -> list[Work]:
    """One piece of work for each change, with its record and its link.

    The links have to be read before the records: then a claim fails if somebody else wrote the document since, and a
    record that was read a while ago cannot replace what a newer one made.
    """
    return [
        Work(sync, step, key, change, records.get(change.id), links.get(key) or Link(key))
        for change in changes
        for key in (key_of(sync, step, change),)
    ]


def concerned(step: CompiledStep, changes: Sequence[Change], records: dict[str, Record]) -> list[Change]:
    """Changes of the step's own kind that follow from changes of a kind that it also listens to."""
    return [
        replace(change, kind=step.from_kind, id=record_id)
        for change in changes
        if change.id in records
        for record_id in step.concerns(records[change.id])
    ]


class Names:
    """Finds the source records that links name by a field; each spelling of a name is asked for once."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._asked: set[tuple[Kind, str, str]] = set()
        self._found: dict[tuple[Kind, str, str], dict[str, Record]] = defaultdict(dict)
        self._known: dict[tuple[Kind, str], list[str]] = {}

    def look_up(self, kind: Kind, field: str, values: Iterable[str]) -> None:
        """Ask for all values at once."""
        wanted = [
            value
            for value in dict.fromkeys(values)
            if (kind, field, value) not in self._asked and not self._found[kind, field, fold(value)]
        ]
        for chunk in batched(wanted, SEARCH_MAX, strict=False):
            self._asked.update((kind, field, value) for value in chunk)
            for record in self._connector.search(kind, field, chunk):
                self._found[kind, field, fold(str(record.fields.get(field, "")))][record.id] = record

    def record(self, kind: Kind, link: LinkTo) -> Record:
        """The one record that the link names.

        Raises:
            MappingError: If there is none, or more than one.
        """
        found = list(self._found[kind, link.by, fold(link.value)].values())
        if len(found) == 1:
            return found[0]
        raise missing_link(link, () if found else self._names(kind, link.by), count=len(found))

    def _names(self, kind: Kind, field: str) -> list[str]:
        if (kind, field) not in self._known:
            page = self._connector.changes(kind, None).records[:KNOWN_NAMES_MAX]
            self._known[kind, field] = [str(record.fields[field]) for record in page if record.fields.get(field)]
        return self._known[kind, field]


def fold(name: str) -> str:
    """Equal for names that differ only in case and white space."""
    return " ".join(name.split()).casefold()


def by_connection(changes: Iterable[Change]) -> dict[tuple[str, str], list[Change]]:
    """The changes by tenant and connection."""
    groups: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in changes:
        groups[change.tenant, change.connection].append(change)
    return groups
