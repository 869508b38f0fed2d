"""Preview: what a run would write, by the same engine, with the writing taken out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import batched
from typing import Any

from tieout.domain.changes import Alert, Change, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.documents import Discount, less_discount
from tieout.domain.effects import Done, Effect, Match, NotDone, Operation, Outcome
from tieout.domain.errors import ConflictError, NotFoundError
from tieout.domain.links import Intent, Link, LinkKey
from tieout.domain.plans import PlannedWrite, StoredPlan, amounts_of, created, is_new_id, new_id
from tieout.domain.records import Kind, Record
from tieout.engine.apply import ApplyChanges
from tieout.engine.backfill import Progress, all_ids, source_of, sync_of
from tieout.engine.collect import Connect, compiled, read_all, steps_of
from tieout.engine.ends import ApplyReport
from tieout.engine.gate import planned_hash
from tieout.engine.patient import PatientConnector
from tieout.engine.plan import as_shown
from tieout.mapping import CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.connector import Account, ChangePage, Connector, Manifest
from tieout.ports.state import ConfigStore, LinkStore, PlanStore, StoredSync

CHUNK = 500


@dataclass(slots=True)
class PlanReport:
    """What a run would do: its writes, what it would only link, what it would park, and the counts of everything.

    Attributes:
        left_out: Of an undo, what it would not take back, and why.
    """

    writes: list[PlannedWrite] = field(default_factory=list)
    links: list[PlannedWrite] = field(default_factory=list)
    parked: list[Unsynced] = field(default_factory=list)
    left_out: dict[LinkKey, str] = field(default_factory=dict)
    counts: ApplyReport = field(default_factory=ApplyReport)

    def totals(self) -> dict[str, Decimal]:
        """The sum of the invoices that would be created, by currency."""
        return amounts_of(created(self.writes))


class Preview:
    """Plans a whole sync, or some of its records, and writes nothing anywhere."""

    def __init__(
        self, *, config: ConfigStore, links: LinkStore, connect: Connect, clock: Clock, plans: PlanStore | None = None
    ) -> None:
        self._config, self._links, self._connect, self._clock, self._plans = config, links, connect, clock, plans

    def preview(
        self,
        tenant: str,
        name: str,
        *,
        progress: Progress,
        ids: Sequence[str] = (),
        records: Mapping[Kind, Sequence[str]] | None = None,
        instead: StoredSync | None = None,
    ) -> PlanReport:
        """What applying the sync now would do.

        Args:
            tenant: Whose sync.
            name: Which sync.
            progress: Called with each kind and how many of its records are planned.
            ids: Only for the records of its source that have these ids.
            records: Only for these, by kind.
            instead: A document that is not applied yet, in place of the running one.

        Raises:
            SettingsError: If there is no such sync or a connection is missing.
            ProviderError: If a side cannot be read now.
        """
        sync = compiled(instead) if instead is not None else sync_of(self._config, tenant, name)
        source = source_of(self._config, self._connect, self._clock, tenant, sync)
        kinds = list(dict.fromkeys(step.from_kind for step in steps_of(sync, sync.source)))
        chosen = records if records is not None else {kind: ids or all_ids(source, kind) for kind in kinds}
        return self._run(sync, chosen, progress, tenant=tenant, instead=instead)

    def take_back(self, draft: StoredPlan, *, progress: Progress, records: Mapping[Kind, Sequence[str]]) -> PlanReport:
        """What taking back the run of `draft.undoes` would do for these records; see `engine.take_back`."""
        sync = sync_of(self._config, draft.tenant, draft.sync)
        return self._run(sync, records, progress, tenant=draft.tenant, draft=draft)

    def _run(
        self,
        sync: CompiledSync,
        records: Mapping[Kind, Iterable[str]],
        progress: Progress,
        *,
        tenant: str,
        instead: StoredSync | None = None,
        draft: StoredPlan | None = None,
    ) -> PlanReport:
        report = PlanReport()
        claimed: dict[str, PlannedWrite] = {}
        engine = ApplyChanges(
            config=_DryConfig(self._config, sync.name, instead),
            links=_DryLinks(self._links, report, claimed),
            alerts=_DryAlerts(),
            queue=_DryQueue(),
            budget=_DryCaps(),
            connect=lambda connection: _DryConnector(
                PatientConnector(self._connect(connection), self._clock), report, claimed, (tenant, sync.name)
            ),
            clock=self._clock,
            plans=None if self._plans is None or draft is None else _DryPlans(self._plans, draft, report),
        )
        plan_id = draft.id if draft is not None else ""
        for kind, ids in records.items():
            done = 0
            for some in batched(ids, CHUNK, strict=False):
                now = self._clock.now()
                counts = engine.apply(
                    [Change(tenant, sync.source, kind, one, now, Origin.APPROVED, plan=plan_id) for one in some]
                )
                _add(report.counts, counts)
                done += len(some)
                progress(kind, done)
        return report


def _add(total: ApplyReport, more: ApplyReport) -> None:
    for name in ("created", "updated", "adopted", "unchanged", "skipped", "parked", "waiting"):
        setattr(total, name, getattr(total, name) + getattr(more, name))
    total.skipped_because.update(more.skipped_because)


class _DryLinks:
    """Reads the real links; keeps what would be written in memory. What is claimed need not be written: adoptions."""

    def __init__(self, real: LinkStore, report: PlanReport, claimed: dict[str, PlannedWrite]) -> None:
        self._real, self._report, self._claimed = real, report, claimed
        self._kept: dict[LinkKey, Link] = {}
        self._taken: dict[tuple[str, str | None], LinkKey] = {}

    def get(self, keys: Sequence[LinkKey]) -> dict[LinkKey, Link]:
        unknown = [key for key in keys if key not in self._kept]
        # A write under way belongs to a worker; the plan leaves it out of account.
        stored = {key: replace(link, intent=None) for key, link in self._real.get(unknown).items()}
        return stored | {key: self._kept[key] for key in keys if key in self._kept}

    def claim(self, link: Link, intent: Intent) -> Link:
        base = link.base or {}
        sold = intent.document if "lines" in intent.document else base if intent.withdrawal is not None else {}
        amount = amount_of(sold)
        self._claimed[intent.effect_id] = PlannedWrite(
            step=link.key.step,
            source_id=link.key.source_id,
            operation=intent.operation,
            document=intent.document,
            former=as_shown(base, link.shown or {}) if link.base is not None else None,
            amount=amount,
            currency=str(sold.get("currency", "")) if amount is not None else "",
            payload_hash=planned_hash(link.key.step, intent.document),
            target_id=intent.target_id or "",
            side=intent.side,
            withdrawal=intent.withdrawal,
        )
        return self._keep(replace(link, intent=intent))

    def settle(self, link: Link, *, worker: str, pointer: bool) -> Link:  # noqa: ARG002 - the port's arguments
        intent = self._kept[link.key].intent
        planned = self._claimed.pop(intent.effect_id, None) if intent is not None else None
        if (
            planned is not None and intent is not None and planned.operation is Operation.CREATE
        ):  # nothing was written: it stands there
            planned.links_only, planned.target_id = True, link.target_id or ""
            planned.label = str(planned.document.get("name", ""))
            name = (link.shown or {}).get("name") or planned.label or planned.target_id
            planned.notices = (f"It would be linked to {name}: {intent.adopts}.",)
            self._report.links.append(planned)
        return self._keep(replace(link, intent=None))

    def take_target(self, link: Link) -> bool:
        """True for the first that would take it; whose the records are by now, the engine has asked."""
        return self._taken.setdefault((link.key.step, link.target_id), link.key) == link.key

    def keep_intent(self, link: Link, intent: Intent) -> Link:
        return self._keep(replace(link, intent=intent))

    def store(self, link: Link, *, pointer: bool = False) -> Link:  # noqa: ARG002 - the port's arguments
        return self._keep(link)

    def release(self, link: Link, *, worker: str) -> Link:  # noqa: ARG002 - the port's arguments
        return self._keep(replace(link, intent=None))

    def set_unsynced(
        self,
        key: LinkKey,  # noqa: ARG002 - the port's arguments
        unsynced: Unsynced | None,
        *,
        instead_of: Unsynced | None = None,
    ) -> None:
        if unsynced is not None and unsynced.state is UnsyncedState.PARKED and instead_of is None:
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


def amount_of(document: Mapping[str, Any]) -> Decimal | None:
    """What the document (plain JSON values) comes to, without tax that the books compute; None if it has no lines."""
    lines, discount = document.get("lines"), document.get("discount")
    if lines is None:
        return None
    total = sum((Decimal(line["amount"]) for line in lines), Decimal(0))
    given = Discount.model_validate_json(json.dumps(discount)) if discount is not None else None
    return less_discount(total, given, str(document.get("currency") or "")) + Decimal(document.get("tax_total") or 0)


class _DryPlans:
    """Knows the plan that is being made; takes down what it leaves out."""

    def __init__(self, real: PlanStore, draft: StoredPlan, report: PlanReport) -> None:
        self._real, self._draft, self._report = real, draft, report

    def plan(self, tenant: str, plan_id: str) -> StoredPlan | None:
        """The draft, or one that is stored."""
        return self._draft if plan_id == self._draft.id else self._real.plan(tenant, plan_id)

    def allowed(self, plan: StoredPlan, keys: Sequence[LinkKey]) -> dict[LinkKey, PlannedWrite]:
        """Of a stored plan; the draft allows everything, and says nothing yet."""
        return {} if plan is self._draft else self._real.allowed(plan, keys)

    def leave_out(self, plan: StoredPlan, key: LinkKey, reason: str) -> None:  # noqa: ARG002 - the port's arguments
        """Taken down."""
        self._report.left_out[key] = reason


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
    """Reads the real configuration of one sync; a plan does not pause a connection."""

    def __init__(self, real: ConfigStore, sync: str, instead: StoredSync | None) -> None:
        self._real, self._sync, self._instead = real, sync, instead

    def syncs(self, tenant: str) -> Sequence[StoredSync]:
        """The one that is planned."""
        if self._instead is not None:
            return [self._instead]
        return [sync for sync in self._real.syncs(tenant) if sync.name == self._sync]

    def connection(self, tenant: str, connection: str) -> Connection | None:
        """As stored."""
        return self._real.connection(tenant, connection)

    def put_connection(self, connection: Connection) -> None:
        """Nothing."""


class _DryConnector:
    """Reads the real provider; says of every write that it was done."""

    def __init__(
        self, real: Connector, report: PlanReport, claimed: dict[str, PlannedWrite], place: tuple[str, str]
    ) -> None:
        self._real, self._report, self._claimed, self._place = real, report, claimed, place

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
        updates = [one for one in effects if one.target_id is not None and not is_new_id(one.target_id)]
        today: dict[str, Record] = {}
        if updates:
            today = read_all(self._real, updates[0].kind, [one.target_id or "" for one in updates])
        return [self._outcome(effect, effect in updates, today.get(effect.target_id or "")) for effect in effects]

    def _outcome(self, effect: Effect, stands: bool, record: Record | None) -> Outcome:
        """Done, unless the other side would refuse it: the record is gone, or is another than we know."""
        if stands and record is None:
            return NotDone(effect.id, NotFoundError("The record is gone."))
        if record is not None and self.manifest.versions and record.version != effect.target_version:
            return NotDone(effect.id, ConflictError("Somebody else wrote the record meanwhile."))
        planned = self._claimed.pop(effect.id)
        planned.label, planned.notices = effect.label, effect.notices
        planned.target_version = record.version if record is not None else ""
        self._report.writes.append(planned)
        key = LinkKey(*self._place, planned.step, planned.source_id)
        return Done(effect.id, Record(effect.kind, effect.target_id or new_id(key.reference), fields={}))
