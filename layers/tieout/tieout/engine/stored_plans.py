"""Stored plans: made, compared with today, approved, applied, reported and taken back."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from tieout.domain.changes import Change, Lane, Origin, Unsynced, UnsyncedState
from tieout.domain.errors import ClaimedError, RejectedError, SettingsError
from tieout.domain.links import Link, LinkKey
from tieout.domain.plans import (
    ALREADY_SO,
    CREDITING,
    PlannedWrite,
    PlanState,
    StoredPlan,
    amounts_of,
    counts_of,
    digest_of,
)
from tieout.domain.records import Kind
from tieout.engine.backfill import Progress, sync_of
from tieout.engine.collect import Connect, compiled
from tieout.engine.preview import PlanReport, Preview
from tieout.mapping import CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import ConfigStore, LinkStore, PlanStore, StoredSync

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Without those that are taken for one another when they are read out."""
IDS_TRIED_MAX = 3


class End(StrEnum):
    """How a planned write ended. UNCHANGED: it stood there already. CHANGED_SINCE: it is not as planned any more."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    CHANGED_SINCE = "changed_since"
    PARKED = "parked"
    STILL_WAITING = "still_waiting"


@dataclass(frozen=True, slots=True)
class Ended:
    """How one write ended.

    Attributes:
        target_id: The record that it wrote or linked.
        reason: Why it was not written.
    """

    end: End
    target_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A write that would be another one today.

    Attributes:
        before: As planned; None if the plan does not know it.
        now: As it would be today; None if nothing would be written.
        reason: What became of it, as a sentence.
    """

    before: PlannedWrite | None
    now: PlannedWrite | None
    reason: str

    @property
    def write(self) -> PlannedWrite:
        """The one that names the record."""
        write = self.before or self.now
        if write is None:
            raise ValueError("a change of nothing")
        return write


@dataclass(slots=True)
class Comparison:
    """A plan beside what it would be today.

    Attributes:
        sync_changed: The sentence that says so, if the sync is another version now; empty if it is not.
    """

    sync_changed: str = ""
    unchanged: list[PlannedWrite] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True if applying the plan does exactly it."""
        return not self.changed and not self.sync_changed


@dataclass(frozen=True, slots=True)
class Cap:
    """How much one run may write without approval; None is no limit. The amount counts in each currency."""

    writes: int | None = None
    amount: Decimal | int | None = None

    def exceeded(self, plan: StoredPlan) -> list[str]:
        """A sentence for each limit that the plan is above."""
        said = []
        if self.writes is not None and plan.writes > self.writes:
            said.append(f"It has {plan.writes:,} writes; {self.writes:,} are allowed without approval.")
        for currency, amount in plan.amounts.items():
            if self.amount is not None and abs(amount) > self.amount:
                said.append(f"It writes {amount:,} {currency}; {self.amount:,} are allowed without approval.")
        return said


class StoredPlans:
    """What an operator does with plans."""

    def __init__(
        self,
        *,
        config: ConfigStore,
        links: LinkStore,
        plans: PlanStore,
        queue: ChangeQueue,
        connect: Connect,
        clock: Clock,
    ) -> None:
        self._config, self._links, self._plans, self._queue = config, links, plans, queue
        self._connect, self._clock = connect, clock

    def preview(
        self,
        tenant: str,
        sync: str,
        *,
        progress: Progress,
        ids: Sequence[str] = (),
        instead: StoredSync | None = None,
    ) -> PlanReport:
        """What applying the sync now would do; see `Preview.preview`."""
        return self._preview().preview(tenant, sync, progress=progress, ids=ids, instead=instead)

    def keep(self, tenant: str, sync: str, report: PlanReport, *, by: str, version: int | None = None) -> StoredPlan:
        """The report as a stored plan.

        Args:
            tenant: Whose.
            sync: Which one it was made for.
            report: What it will do.
            by: Who made it.
            version: Of the sync document that it was made by; the running one if None.

        Raises:
            SettingsError: If it is too large to be kept.
        """
        running = sync_of(self._config, tenant, sync).version if version is None else version
        return self._keep(self._draft(tenant, sync, running, "plan", by=by), report)

    def plan(self, tenant: str, plan_id: str) -> StoredPlan:
        """The stored plan of this id.

        Raises:
            SettingsError: If there is none, or no longer.
        """
        found = self._plans.plan(tenant, plan_id)
        if found is None or found.expires_at <= self._clock.now():
            raise SettingsError(
                f"The tenant {tenant} has no plan {plan_id}; plans are kept for 30 days.",
                next_step=f"See `tieout plan list --tenant {tenant}`.",
            )
        return found

    def plans(self, tenant: str) -> list[StoredPlan]:
        """All that are kept, the newest first."""
        now = self._clock.now()
        return [plan for plan in self._plans.plans(tenant) if plan.expires_at > now]

    def writes(self, plan: StoredPlan) -> list[PlannedWrite]:
        """Everything that the plan allows.

        Raises:
            RejectedError: If what is stored is not what was planned.
        """
        writes = list(self._plans.planned(plan))
        if digest_of(plan.sync, plan.sync_version, writes) != plan.digest:
            raise RejectedError(
                f"The plan {plan.id} is damaged: its writes do not have its digest.",
                code="plan-damaged",
                next_step="Do not apply it. Plan again.",
            )
        return writes

    def needs(self, plan: StoredPlan, cap: Cap | None = None) -> list[str]:
        """Why the plan needs approval, a sentence each; none if it was approved or does not.

        Args:
            plan: Which.
            cap: A tighter one; it counts even for what was approved.
        """
        said = cap.exceeded(plan) if cap is not None else []
        running = [one for one in self._config.syncs(plan.tenant) if one.name == plan.sync]
        if plan.approved_at is None and running:
            caps = compiled(running[0]).document.caps
            said += [one for one in Cap(caps.run_writes, caps.run_amount).exceeded(plan) if one not in said]
        return said

    def approve(self, plan: StoredPlan, *, by: str) -> StoredPlan:
        """The plan, which may now be applied whatever the caps say.

        Raises:
            RejectedError: If it was applied already.
            ClaimedError: If somebody else changed it meanwhile.
        """
        if plan.state is not PlanState.PLANNED and plan.state is not PlanState.APPROVED:
            raise _too_late(plan, "approved")
        return self._plans.change_plan(
            replace(plan, state=PlanState.APPROVED, approved_at=self._clock.now(), approved_by=by)
        )

    # Applying

    def check_open(self, plan: StoredPlan) -> None:
        """Return if the plan can still be applied.

        Raises:
            RejectedError: If it was applied or taken back already.
        """
        if plan.state in (PlanState.APPLIED, PlanState.UNDONE):
            raise _too_late(plan, "applied")

    def compare(self, plan: StoredPlan, writes: Sequence[PlannedWrite], *, progress: Progress) -> Comparison:
        """The plan beside what it would be today, for the same records.

        Raises:
            ProviderError: If a side cannot be read now.
        """
        sync = sync_of(self._config, plan.tenant, plan.sync)
        report = self._again(plan, sync, writes, progress)
        today = {plan.key(write): write for write in (*report.writes, *report.links)}
        parked = {plan.key_of(one.step, one.change.id): one for one in report.parked}
        links = self._links.get([plan.key(write) for write in writes])
        comparison = Comparison()
        if sync.version != plan.sync_version:
            comparison.sync_changed = (
                f"The sync {plan.sync} is another one: planned with version {plan.sync_version}, now {sync.version}."
            )
        for write in writes:
            key = plan.key(write)
            now = today.pop(key, None)
            if now is not None and now.said() == write.said() and now.target_version == write.target_version:
                comparison.unchanged.append(write)
            else:
                reason = report.left_out.get(key) or _why(write, now, links.get(key), parked.get(key), plan)
                comparison.changed.append(Changed(write, now, reason))
        comparison.changed += [Changed(None, now, "The plan does not say to write it.") for now in today.values()]
        return comparison

    def _again(
        self, plan: StoredPlan, sync: CompiledSync, writes: Sequence[PlannedWrite], progress: Progress
    ) -> PlanReport:
        records = _records(sync, [(write.step, write.source_id) for write in writes])
        if not plan.undoes:
            return self._preview().preview(plan.tenant, plan.sync, progress=progress, records=records)
        draft = replace(plan, id=f"{plan.id}-again", revision=0)
        return self._preview().take_back(draft, progress=progress, records=records)

    def begin(self, plan: StoredPlan, writes: Sequence[PlannedWrite], *, by: str) -> StoredPlan:
        """The plan, its changes queued: the workers write just what it says. Beginning again does no harm.

        Raises:
            RejectedError: If it was applied or taken back already, or needs approval.
            ClaimedError: If somebody else changed it meanwhile.
        """
        self.check_open(plan)
        if plan.state is not PlanState.APPLYING and (needs := self.needs(plan)):
            raise RejectedError(
                f"The plan {plan.id} needs approval. {' '.join(needs)}",
                code="plan-needs-approval",
                next_step=f"See `tieout plan show {plan.id} --tenant {plan.tenant}`, then run `tieout plan approve "
                f"{plan.id} --tenant {plan.tenant}` and `tieout apply {plan.id} --tenant {plan.tenant}`.",
            )
        now = self._clock.now()
        begun = plan
        if plan.state is not PlanState.APPLYING:
            begun = self._plans.change_plan(replace(plan, state=PlanState.APPLYING, began_at=now, applied_by=by))
        if plan.undoes:
            self._mark_undone(plan)
        sync = sync_of(self._config, plan.tenant, plan.sync)
        records = _records(sync, [(write.step, write.source_id) for write in writes])
        self._queue.send(
            [
                Change(plan.tenant, sync.source, kind, one, now, Origin.APPROVED, Lane.LIVE, plan=plan.id)
                for kind, ids in records.items()
                for one in ids
            ]
        )
        return begun

    def _mark_undone(self, plan: StoredPlan) -> None:
        """Nothing more is written for the plan that is taken back, from before its first write is."""
        for _ in range(IDS_TRIED_MAX):
            undone = self._plans.plan(plan.tenant, plan.undoes)
            if undone is None or undone.state is PlanState.UNDONE:
                return
            try:
                self._plans.change_plan(replace(undone, state=PlanState.UNDONE, undone_by=plan.id))
            except ClaimedError:
                continue
            return
        raise ClaimedError(f"The plan {plan.undoes} is being changed by somebody else; try again.")

    def ends(self, plan: StoredPlan, writes: Sequence[PlannedWrite], *, over: bool) -> dict[LinkKey, Ended]:
        """How each write ended.

        Args:
            plan: One that was begun.
            writes: Those asked for.
            over: True if nothing of it can be waiting in a queue any more.
        """
        keys = {plan.key(write): plan.key_of(write.step.removesuffix(CREDITING), write.source_id) for write in writes}
        links = self._links.get(list({*keys, *keys.values()}))
        left_out = self._plans.left_out(plan)
        return {
            key: _ended(
                plan,
                _teller(plan, links.get(key), links.get(main)),
                left_out.get(key) or left_out.get(main, ""),
                over=over,
            )
            for key, main in keys.items()
        }

    def finish(self, plan: StoredPlan, ends: Mapping[LinkKey, Ended]) -> StoredPlan:
        """The plan with its ends; applied once none of its writes waits any more."""
        counts = Counter(one.end.value for one in ends.values())
        current = self._plans.plan(plan.tenant, plan.id)
        if current is None or current.state is not PlanState.APPLYING:
            return plan
        done = not counts[End.STILL_WAITING]
        try:
            return self._plans.change_plan(
                replace(
                    current,
                    ends=dict(counts),
                    state=PlanState.APPLIED if done else PlanState.APPLYING,
                    applied_at=self._clock.now() if done else None,
                )
            )
        except ClaimedError:  # somebody else follows the same run
            return current

    # Taking back

    def take_back(
        self, plan: StoredPlan, *, by: str, progress: Progress, credit_paid: bool
    ) -> tuple[StoredPlan | None, PlanReport]:
        """A new stored plan that takes back what the run of this one wrote; None if nothing is left to take back.

        Args:
            plan: One that was applied, as a whole or in part.
            by: Who asks for it.
            progress: Called with each kind and how many of its records are planned.
            credit_paid: Credit invoices that are paid; if not, they stay as they are, and the report names them.

        Raises:
            RejectedError: If the plan was never applied, or is an undo itself.
            ProviderError: If a side cannot be read now.
        """
        if plan.undoes:
            raise RejectedError(
                f"{plan.id} takes back {plan.undoes}; what was taken back is not written again by itself.",
                code="plan-is-an-undo",
                next_step="For new documents in place of those that were withdrawn, run "
                f"`tieout renew --plan {plan.id} --tenant {plan.tenant}`. Other records are written again once they "
                "are edited in the source.",
            )
        if plan.began_at is None:
            raise RejectedError(f"The plan {plan.id} was never applied.", code="plan-not-applied")
        sync = sync_of(self._config, plan.tenant, plan.sync)
        draft = self._draft(plan.tenant, plan.sync, sync.version, "undo", by=by)
        draft = replace(draft, undoes=plan.id, credit_paid=credit_paid)
        writes = self.writes(plan)
        records = _records(sync, [(write.step, write.source_id) for write in writes])
        report = self._preview().take_back(draft, progress=progress, records=records)
        steps = {step.name for step in sync.steps}
        gone = [write for write in writes if write.step.removesuffix(CREDITING) not in steps]
        report.left_out |= {plan.key(write): "The sync has this step no more." for write in gone}
        return (self._keep(draft, report) if report.writes else None), report

    # Inside

    def _preview(self) -> Preview:
        return Preview(
            config=self._config, links=self._links, connect=self._connect, clock=self._clock, plans=self._plans
        )

    def _draft(self, tenant: str, sync: str, version: int, what: str, *, by: str) -> StoredPlan:
        return StoredPlan(
            tenant=tenant,
            id=self._new_id(what),
            sync=sync,
            sync_version=version,
            digest="",
            created_at=self._clock.now(),
            created_by=by,
            counts={},
            totals={},
            amounts={},
        )

    def _new_id(self, what: str) -> str:
        tail = "".join(secrets.choice(_LETTERS) for _ in range(4))
        return f"{what}-{self._clock.now():%Y%m%d-%H%M%S}-{tail}"

    def _keep(self, draft: StoredPlan, report: PlanReport) -> StoredPlan:
        writes = [*report.writes, *report.links]
        plan = replace(
            draft,
            digest=digest_of(draft.sync, draft.sync_version, writes),
            counts=counts_of(writes),
            totals=report.totals(),
            amounts=amounts_of(report.writes),
            parked=len(report.parked),
        )
        return self._plans.put_plan(plan, writes)


def _records(sync: CompiledSync, places: Iterable[tuple[str, str]]) -> dict[Kind, list[str]]:
    """The ids by kind, in the order of the steps that read them: customers and items before their invoices."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for name, source_id in places:
        found[name.removesuffix(CREDITING)].setdefault(source_id)
    kinds: dict[Kind, dict[str, None]] = {}
    for step in sync.steps:
        if step.name in found:
            kinds.setdefault(step.from_kind, {}).update(found[step.name])
    return {kind: list(ids) for kind, ids in kinds.items()}


def _why(
    write: PlannedWrite, now: PlannedWrite | None, link: Link | None, parked: Unsynced | None, plan: StoredPlan
) -> str:
    """What became of a write that would be another one today."""
    if now is not None:
        if now.said() == write.said():
            return "The record on the other side was changed since."
        if (now.operation, now.target_id) != (write.operation, write.target_id):
            return "It would be another record on the other side now."
        return "The record changed."
    if parked is not None:
        return f"It would park: {parked.reason}"
    if link is not None and link.settled_at is not None and link.settled_at >= plan.created_at:
        return "It was written already, by another change."
    return "Nothing is to be written for it any more."


def _teller(plan: StoredPlan, own: Link | None, main: Link | None) -> Link | None:
    """The link that says what became of a write: until a credit note stands, its invoice's says what holds for it.

    One that stands for a former invoice, since renewed, is none unless it is this plan's.
    """
    if own is not None and main is not None and own.generation < main.generation and own.plan != plan.id:
        return main
    return own or main


def _ended(plan: StoredPlan, link: Link | None, left_out: str, *, over: bool) -> Ended:
    if link is None or link.intent is not None:
        return Ended(End.CHANGED_SINCE if left_out and link is None else End.STILL_WAITING, reason=left_out)
    if link.plan == plan.id:
        return Ended(End.WRITTEN, link.target_id or "")
    if left_out:
        return Ended(End.UNCHANGED if left_out == ALREADY_SO else End.CHANGED_SINCE, link.target_id or "", left_out)
    unsynced = link.unsynced
    if unsynced is not None:
        is_parked = unsynced.state is UnsyncedState.PARKED and (over or unsynced.change.plan == plan.id)
        return Ended(End.PARKED if is_parked else End.STILL_WAITING, reason=unsynced.reason)
    if over and link.settled_at is not None and link.settled_at > (plan.began_at or plan.created_at):
        return Ended(End.CHANGED_SINCE, reason="Another change wrote it meanwhile.")
    return Ended(End.STILL_WAITING)


def _too_late(plan: StoredPlan, what: str) -> RejectedError:
    if plan.state is PlanState.UNDONE:
        return RejectedError(
            f"The plan {plan.id} was taken back by {plan.undone_by}; it cannot be {what} any more.",
            code="plan-undone",
            next_step=f"Plan again: `tieout plan {plan.sync} --tenant {plan.tenant}`.",
        )
    return RejectedError(
        f"The plan {plan.id} was applied already, by {plan.applied_by}.",
        code="plan-applied",
        next_step=f"See `tieout plan show {plan.id} --tenant {plan.tenant}`.",
    )
