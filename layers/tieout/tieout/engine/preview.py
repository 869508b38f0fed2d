"""Preview: what a run would write, by the same engine, with the writing taken out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import batched
from typing import Any

from tieout.domain.changes import Alert, Change, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.documents import Invoice
from tieout.domain.effects import Done, Effect, Match, Operation, Outcome
from tieout.domain.links import Intent, Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.engine.apply import ApplyChanges
from tieout.engine.backfill import PAGES_MAX, Progress, source_of, sync_of
from tieout.engine.collect import Connect, steps_of
from tieout.engine.ends import ApplyReport
from tieout.engine.patient import PatientConnector
from tieout.ports.clock import Clock
from tieout.ports.connector import Account, ChangePage, Connector, Manifest
from tieout.ports.state import ConfigStore, LinkStore, StoredSync

CHUNK = 500


@dataclass(slots=True)
class PlannedWrite:
    """One write that a run would do.

    Attributes:
        label: What a person calls the source record.
        notices: What the mapping did that a person should know, such as a name that was cut.
        document: The fields it would write; for an update `former` holds those written last.
        amount, currency: Of an invoice; None and empty for others.
    """

    step: str
    source_id: str
    operation: Operation
    document: Mapping[str, Any]
    former: Mapping[str, Any] | None
    amount: Decimal | None
    currency: str
    label: str = ""
    notices: tuple[str, ...] = ()


@dataclass(slots=True)
class PlanReport:
    """What a run would do: its writes, what it would park, and the counts of everything."""

    writes: list[PlannedWrite] = field(default_factory=list)
    parked: list[Unsynced] = field(default_factory=list)
    counts: ApplyReport = field(default_factory=ApplyReport)

    def totals(self) -> dict[str, Decimal]:
        """The sum of the invoices that would be created, by currency."""
        sums: dict[str, Decimal] = {}
        for write in self.writes:
            if write.amount is not None and write.operation is Operation.CREATE:
                sums[write.currency] = sums.get(write.currency, Decimal(0)) + write.amount
        return sums


class Preview:
    """Plans a whole sync, or some of its records, and writes nothing anywhere."""

    def __init__(self, *, config: ConfigStore, links: LinkStore, connect: Connect, clock: Clock) -> None:
        self._config, self._links, self._connect, self._clock = config, links, connect, clock

    def preview(self, tenant: str, name: str, *, progress: Progress, ids: Sequence[str] = ()) -> PlanReport:
        """What applying the sync now would do; with `ids` only for these records of its source.

        Raises:
            SettingsError: If there is no such sync or a connection is missing.
            ProviderError: If a side cannot be read now.
        """
        sync = sync_of(self._config, tenant, name)
        source = source_of(self._config, self._connect, self._clock, tenant, sync)
        report = PlanReport()
        claimed: dict[str, PlannedWrite] = {}
        links = _DryLinks(self._links, report, claimed)
        engine = ApplyChanges(
            config=_DryConfig(self._config),
            links=links,
            alerts=_DryAlerts(),
            queue=_DryQueue(),
            budget=_DryCaps(),
            connect=lambda connection: _DryConnector(
                PatientConnector(self._connect(connection), self._clock), report, claimed
            ),
            clock=self._clock,
        )
        for kind in dict.fromkeys(step.from_kind for step in steps_of(sync, sync.source)):
            done = 0
            for some in batched(_ids(source, kind, ids), CHUNK, strict=False):
                now = self._clock.now()
                counts = engine.apply([Change(tenant, sync.source, kind, one, now, Origin.OPERATOR) for one in some])
                _add(report.counts, counts)
                done += len(some)
                progress(kind, done)
        return report


def _ids(source: Connector, kind: Kind, only: Sequence[str]) -> Iterator[str]:
    if only:
        yield from only
        return
    after: str | None = None
    for _ in range(PAGES_MAX):
        page, after = source.ids(kind, after)
        yield from page
        if after is None:
            return


def _add(total: ApplyReport, more: ApplyReport) -> None:
    for name in ("created", "updated", "adopted", "unchanged", "skipped", "parked", "waiting"):
        setattr(total, name, getattr(total, name) + getattr(more, name))
    total.skipped_because.update(more.skipped_because)


class _DryLinks:
    """Reads the real links; keeps what would be written in memory. What is claimed need not be written: adoptions."""

    def __init__(self, real: LinkStore, report: PlanReport, claimed: dict[str, PlannedWrite]) -> None:
        self._real, self._report, self._claimed = real, report, claimed
        self._kept: dict[LinkKey, Link] = {}

    def get(self, keys: Sequence[LinkKey]) -> dict[LinkKey, Link]:
        unknown = [key for key in keys if key not in self._kept]
        # A write under way belongs to a worker; the plan leaves it out of account.
        stored = {key: replace(link, intent=None) for key, link in self._real.get(unknown).items()}
        return stored | {key: self._kept[key] for key in keys if key in self._kept}

    def claim(self, link: Link, intent: Intent) -> Link:
        invoice = Invoice.model_validate_json(_json(intent.document)) if "lines" in intent.document else None
        self._claimed[intent.effect_id] = PlannedWrite(
            step=link.key.step,
            source_id=link.key.source_id,
            operation=intent.operation,
            document=intent.document,
            former=link.base,
            amount=sum((line.amount for line in invoice.lines), Decimal(0)) if invoice is not None else None,
            currency=invoice.currency if invoice is not None else "",
        )
        return self._keep(replace(link, intent=intent))

    def settle(self, link: Link, *, worker: str, pointer: bool) -> Link:  # noqa: ARG002 - the port's arguments
        return self._keep(replace(link, intent=None))

    def keep_intent(self, link: Link, intent: Intent) -> Link:
        return self._keep(replace(link, intent=intent))

    def store(self, link: Link) -> Link:
        return self._keep(link)

    def release(self, link: Link, *, worker: str) -> Link:  # noqa: ARG002 - the port's arguments
        return self._keep(replace(link, intent=None))

    def set_unsynced(self, key: LinkKey, unsynced: Unsynced | None) -> None:  # noqa: ARG002 - the port's arguments
        if unsynced is not None and unsynced.state is UnsyncedState.PARKED:
            self._report.parked.append(unsynced)

    def by_reference(self, tenant: str, sync: str, step: str, references: Sequence[str]) -> dict[str, Link]:
        return self._real.by_reference(tenant, sync, step, references)

    def by_target(self, tenant: str, sync: str, step: str, target_ids: Sequence[str]) -> dict[str, Link]:
        return self._real.by_target(tenant, sync, step, target_ids)

    def all(self, tenant: str, sync: str, step: str) -> Iterator[Link]:
        return self._real.all(tenant, sync, step)

    def unsynced(self, tenant: str, state: UnsyncedState | None = None) -> Iterator[Unsynced]:
        return self._real.unsynced(tenant, state)

    def _keep(self, link: Link) -> Link:
        self._kept[link.key] = link
        return link


def _json(document: Mapping[str, Any]) -> str:
    import json  # noqa: PLC0415 - only a plan needs it

    return json.dumps(document)


class _DryAlerts:
    """Nobody is told of a plan."""

    def put(self, alerts: Sequence[Alert]) -> None:
        """Nothing."""


class _DryCaps:
    """A plan says what it would do, however much that is."""

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:  # noqa: ARG002 - the port's
        """Nothing was done today."""
        return {}, 0

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:  # noqa: ARG002 - the port's
        """Done."""
        return True


class _DryQueue:
    """What would wait is counted by the engine already."""

    def send_later(self, changes: Sequence[Change], *, delay_seconds: int) -> None:
        """Nothing."""


class _DryConfig:
    """Reads the real configuration; a plan does not pause a connection."""

    def __init__(self, real: ConfigStore) -> None:
        self._real = real

    def syncs(self, tenant: str) -> Sequence[StoredSync]:
        """As stored."""
        return self._real.syncs(tenant)

    def connection(self, tenant: str, connection: str) -> Connection | None:
        """As stored."""
        return self._real.connection(tenant, connection)

    def put_connection(self, connection: Connection) -> None:
        """Nothing."""


class _DryConnector:
    """Reads the real provider; says of every write that it was done."""

    def __init__(self, real: Connector, report: PlanReport, claimed: dict[str, PlannedWrite]) -> None:
        self._real, self._report, self._claimed = real, report, claimed
        self._written = 0

    @property
    def manifest(self) -> Manifest:
        return self._real.manifest

    def probe(self) -> Account:
        return self._real.probe()

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        return self._real.read(kind, ids)

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        return self._real.search(kind, field, values)

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        return self._real.changes(kind, cursor)

    def cursor_now(self, kind: Kind) -> str:
        return self._real.cursor_now(kind)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        return self._real.ids(kind, after)

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        return self._real.find(effects)

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        for effect in effects:
            planned = self._claimed.pop(effect.id)
            planned.label, planned.notices = effect.label, effect.notices
            self._report.writes.append(planned)
        return [Done(effect.id, self._record(effect)) for effect in effects]

    def _record(self, effect: Effect) -> Record:
        self._written += 1
        return Record(effect.kind, effect.target_id or f"new-{self._written}", fields={})
