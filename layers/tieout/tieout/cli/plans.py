"""`tieout plan`, `apply` and `undo`: what a sync would write, writing just that, and taking it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tieout.cli.desk import Desk
from tieout.cli.documents import check_sides, known_manifests, read_documents, refuse
from tieout.cli.parked import amount_of, data_of
from tieout.cli.quotas import data_of as quota_of
from tieout.cli.quotas import how_long
from tieout.cli.talk import Answer, AnswerError, Code, Talk, moment, more, table
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.errors import SettingsError
from tieout.domain.links import LinkKey
from tieout.domain.plans import (
    LINKED,
    WITHDRAWN,
    PlannedWrite,
    PlanState,
    StoredPlan,
    amounts_of,
    counts_of,
    is_plan_id,
)
from tieout.domain.words import counted, said
from tieout.engine.backfill import LOOK_SECONDS, QUIET_LOOKS, sync_of
from tieout.engine.collect import compiled
from tieout.engine.preview import PlanReport
from tieout.engine.stored_plans import Cap, Changed, Comparison, End, Ended, StoredPlans
from tieout.engine.withdraw import TAKEN_BACK
from tieout.mapping import SyncDocument
from tieout.ports.state import StoredSync

if TYPE_CHECKING:
    from rich.console import RenderableType

CHANGED_FIELDS_SHOWN = 3
VALUE_LENGTH_SHOWN = 40
RECORD_GONE = "the record is gone"
"""The engine's reason for skipping what it cannot find."""
STEP_NUMBERS = ("To create", "To update", "To withdraw", "Amount")


@dataclass(frozen=True, slots=True)
class Wish:
    """How a plan is to be applied.

    Attributes:
        yes: Do not ask.
        only_unchanged: Write what is still as planned, and leave the rest.
        cap: How much at most, whatever was approved.
        show: How many writes to list.
    """

    yes: bool
    only_unchanged: bool
    cap: Cap
    show: int
    wait_seconds: float


def make(desk: Desk, talk: Talk, sync: str, ids: Sequence[str], *, file: Path | None, save: bool, show: int) -> Answer:
    """What applying the sync now would write, kept as a plan; nothing is written to either side.

    Its status is 4 if some records cannot be planned now, 3 if some would park, else 0.
    """
    instead = _instead(desk, sync, file) if file is not None else None
    report = _preview(desk, talk, sync, ids, instead)
    paused = _paused(desk, sync) if instead is None else []
    plan: StoredPlan | None = None
    if save and report.writes:
        try:
            plan = stored_plans(desk).keep(
                desk.tenant, sync, report, by=desk.who(), version=instead.version if instead is not None else None
            )
        except SettingsError as error:  # too large: what would be written is worth knowing all the same
            talk.say(f"{error.message} {error.next_step}")
    code = Code.TRY_LATER if report.counts.waiting else Code.WOULD_PARK if report.parked else Code.OK
    planned = compiled(instead) if instead is not None else sync_of(desk.deployment.config, desk.tenant, sync)
    quotas = desk.deployment.quotas().of_plan(desk.tenant, planned, report.writes)

    def view() -> Iterator[RenderableType]:
        yield from _view(report, paused, show)
        yield from (how_long(quota) for quota in quotas)
        if plan is not None:
            yield from _next(desk, plan, file)

    data = _data(sync, report, paused) | {"plan": _head(desk, plan), "quotas": [quota_of(one) for one in quotas]}
    return Answer(data, view, code)


def apply(desk: Desk, talk: Talk, name: str, ids: Sequence[str], wish: Wish) -> Answer:
    """Write just what the plan says; of a sync, after planning it. Records that would park are left out.

    Its status is 0 if everything was written, 1 if something changed since the plan, 3 if some parked, 4 if some still
    wait.

    Raises:
        AnswerError: If the plan needs approval, or nobody agreed.
    """
    if is_plan_id(name):
        if ids:
            raise AnswerError("A plan has its own records; --record goes with a sync.", code=Code.USAGE)
        return _apply_plan(desk, talk, name, wish)
    report = _preview(desk, talk, name, ids)
    paused = _paused(desk, name)
    if not report.writes:
        data = _data(name, report, paused) | dict.fromkeys(
            ("written", "unchanged", "changed_since", "still_waiting"), 0
        )
        code = Code.TRY_LATER if report.counts.waiting else Code.WOULD_PARK if report.parked else Code.OK
        return Answer(data, lambda: _view(report, paused, wish.show), code)
    plan = stored_plans(desk).keep(desk.tenant, name, report, by=desk.who())
    _refuse_above(desk, plan, wish.cap)
    if not wish.yes:
        _ask(talk, [*_view(report, paused, wish.show), *_kept(plan)], len(report.writes))
    answer = _write(desk, talk, plan, [*report.writes, *report.links], wish)
    parked = answer.data["parked"] + len(report.parked)
    return Answer({**answer.data, "parked": parked}, answer.view, answer.code)


def _apply_plan(desk: Desk, talk: Talk, plan_id: str, wish: Wish) -> Answer:
    plans = stored_plans(desk)
    plan = plans.plan(desk.tenant, plan_id)
    writes = plans.writes(plan)
    if plan.state is PlanState.APPLYING:  # somebody began it and did not see its end: the workers keep to it
        return _write(desk, talk, plan, writes, wish)
    plans.check_open(plan)
    _refuse_above(desk, plan, wish.cap)
    with talk.progress() as progress:
        comparison = plans.compare(plan, writes, progress=progress)
    if not comparison.holds and not wish.only_unchanged:
        return _not_as_planned(desk, plan, comparison, wish.show)
    if not comparison.unchanged:
        raise AnswerError(
            "Nothing of the plan is as it was; nothing was written.",
            code=Code.NO,
            next_step=f"Plan again: `tieout plan {plan.sync} --tenant {desk.tenant}`.",
        )
    if not wish.yes:
        parts = [*_shown(desk, plan, comparison.unchanged, wish.show), *_differences(comparison, wish.show)]
        _ask(talk, parts, sum(not write.links_only for write in comparison.unchanged))
    return _write(desk, talk, plan, comparison.unchanged, wish)


def _write(desk: Desk, talk: Talk, plan: StoredPlan, writes: Sequence[PlannedWrite], wish: Wish) -> Answer:
    """Queue the writes, wait for their ends, and tell."""
    plans = stored_plans(desk)
    begun = plans.begin(plan, writes, by=desk.who())
    talk.resume = f"What is queued goes on being written: see `tieout plan show {plan.id} --tenant {desk.tenant}`."
    ends = _follow(desk, talk, begun, writes, wish.wait_seconds)
    plans.finish(begun, ends)
    counts = _counts(ends)

    def view() -> Iterator[RenderableType]:
        yield f"{counted(counts['written'], 'record')} written, {counts['unchanged']:,} needed no writing."
        yield from _not_written(ends, wish.show)
        if counts["parked"]:
            yield f"{counted(counts['parked'], 'record')} parked: see `tieout parked list --tenant {desk.tenant}`."
        if counts["still_waiting"]:
            yield (
                f"{counted(counts['still_waiting'], 'record')} still waiting: see "
                f"`tieout plan show {plan.id} --tenant {desk.tenant}`; nothing is lost."
            )
        if counts["written"] and not plan.undoes:
            yield f"Take it back with `tieout undo {plan.id} --tenant {desk.tenant}`."
        if any(write.takes_back and ends[plan.key(write)].end is End.WRITTEN for write in writes):
            yield (
                "None of them is written again by itself. For new documents in their place, run "
                f"`tieout renew --plan {plan.id} --tenant {desk.tenant}`."
            )

    data = {"sync": plan.sync, "plan": plan.id, **counts, "totals": plan.totals}
    return Answer(data, view, _code(counts))


def _code(counts: Mapping[str, int]) -> Code:
    if counts["still_waiting"]:
        return Code.TRY_LATER
    if counts["parked"]:
        return Code.WOULD_PARK
    return Code.NO if counts["changed_since"] else Code.OK


def undo(desk: Desk, talk: Talk, plan_id: str, *, credit_paid: bool, show: int) -> Answer:
    """A plan that takes back what the run of this one wrote; nothing is written yet.

    Its status is 3 if something stays that a person has to see to, else 0.
    """
    plans = stored_plans(desk)
    plan = plans.plan(desk.tenant, plan_id)
    with talk.progress() as progress:
        made, report = plans.take_back(plan, by=desk.who(), progress=progress, credit_paid=credit_paid)
    stays = [(key, reason) for key, reason in sorted(report.left_out.items(), key=lambda one: one[0].step)]
    code = Code.TRY_LATER if report.counts.waiting else Code.WOULD_PARK if report.parked else Code.OK

    def view() -> Iterator[RenderableType]:
        if made is None:
            yield f"Nothing of {plan_id} is left to take back."
        else:
            yield from _table(report.writes, show)
        if stays:
            yield f"{counted(len(stays), 'record')} would stay as they are:"
            yield from (f"  {key.step}/{key.source_id}  {reason}" for key, reason in stays[:show])
            yield from more(len(stays), show)
        yield from _would_park(report, show)
        if report.parked and not credit_paid:
            yield "Invoices that are paid get a credit note with `--paid credit_note`."
        if made is not None:
            yield from _next(desk, made, None)

    data = {
        "undoes": plan_id,
        "plan": _head(desk, made),
        "writes": [_write_data(write) for write in report.writes],
        "stays": [{"step": key.step, "id": key.source_id, "reason": reason} for key, reason in stays],
        "parked": [data_of(one) for one in report.parked],
    }
    return Answer(data, view, code)


def listed(desk: Desk, *, show: int) -> Answer:
    """The plans that are kept, the newest first."""
    found = stored_plans(desk).plans(desk.tenant)

    def view() -> Iterator[RenderableType]:
        if not found:
            yield "No plan is kept."
            return
        rows = table("Plan", "State", "Sync", "Writes", "To create", "Made", "By", right=("Writes", "To create"))
        for plan in found[:show]:
            sums = ", ".join(said(amount, currency) for currency, amount in plan.totals.items())
            rows.add_row(
                plan.id, plan.state.value, plan.sync, f"{plan.writes:,}", sums, moment(plan.created_at), plan.created_by
            )
        yield rows
        yield from more(len(found), show)

    return Answer({"plans": [_head(desk, plan, needs=False) for plan in found]}, view)


def shown(desk: Desk, plan_id: str, *, show: int) -> Answer:
    """One plan with its writes and, once it was begun, how each of them ended."""
    plans = stored_plans(desk)
    plan = plans.plan(desk.tenant, plan_id)
    writes = plans.writes(plan)
    ends: dict[LinkKey, Ended] = {}
    if plan.began_at is not None:
        idle = not sum(desk.deployment.queue.waiting().values())
        ends = plans.ends(plan, writes, over=plan.state is not PlanState.APPLYING or idle)
        plan = plans.finish(plan, ends)

    def view() -> Iterator[RenderableType]:
        yield from _shown(desk, plan, writes, show)
        if ends:
            counts = _counts(ends)
            yield (
                f"Begun {moment(plan.began_at or plan.created_at)} by {plan.applied_by}: "
                + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
            )
            yield from _not_written(ends, show)

    data = {
        "plan": _head(desk, plan),
        "writes": [_write_data(write) | _end_data(ends.get(plan.key(write))) for write in writes],
    }
    return Answer(data, view)


def approved(desk: Desk, plan_id: str) -> Answer:
    """Who approved the plan, and when: it may be applied whatever the sync's caps say."""
    plans = stored_plans(desk)
    plan = plans.approve(plans.plan(desk.tenant, plan_id), by=desk.who())

    def view() -> Iterator[RenderableType]:
        yield f"{plan.id} is approved by {plan.approved_by}: {counted(plan.writes, 'write')}, digest {plan.digest}."
        yield f"Apply it with `tieout apply {plan.id} --tenant {desk.tenant}`."

    return Answer({"plan": _head(desk, plan)}, view)


def cap_of(most_writes: int | None, most_amount: str) -> Cap:
    """The cap of one run as it was typed.

    Raises:
        AnswerError: If the amount is none.
    """
    if not most_amount:
        return Cap(most_writes)
    try:
        amount = Decimal(most_amount)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise AnswerError(
            f'"{most_amount}" is no amount.', code=Code.USAGE, next_step="Write --max-amount like 1000 or 1054.50."
        )
    return Cap(most_writes, amount)


# What the commands share


def stored_plans(desk: Desk) -> StoredPlans:
    """What an operator does with plans."""
    deployment = desk.deployment
    return StoredPlans(
        config=deployment.config,
        links=deployment.links,
        plans=deployment.plans,
        queue=deployment.queue,
        connect=deployment.connect,
        clock=deployment.clock,
    )


def _preview(desk: Desk, talk: Talk, sync: str, ids: Sequence[str], instead: StoredSync | None = None) -> PlanReport:
    with talk.progress() as progress:
        report = stored_plans(desk).preview(desk.tenant, sync, progress=progress, ids=ids, instead=instead)
    counts = report.counts
    ended = counts.created + counts.updated + counts.adopted + counts.unchanged + counts.parked + counts.waiting
    if ids and not ended and set(counts.skipped_because) == {RECORD_GONE}:
        raise AnswerError(
            f"The source of {sync} shows no record {', '.join(ids)}.",
            code=Code.NO,
            next_step="Give the id that the record has in its own system.",
        )
    return report


def _instead(desk: Desk, name: str, file: Path) -> StoredSync:
    """The sync as a file has it, that `config apply` would make the next version.

    Raises:
        AnswerError: If the file is not right, or has no such sync.
    """
    deployment = desk.deployment
    written = read_documents([file], deployment.provider)
    manifests = known_manifests(written, list(deployment.config.connections(desk.tenant)), deployment.provider)
    refuse(check_sides(written, manifests, complete=True))
    found = [one.document for one in written if isinstance(one.document, SyncDocument) and one.document.name == name]
    if not found:
        raise AnswerError(f"{file} has no sync `{name}`.", code=Code.USAGE)
    running = next((one for one in deployment.config.syncs(desk.tenant) if one.name == name), None)
    version = running.version + 1 if running is not None else 1
    if running is not None and running.text.strip() == found[0].text.strip():
        version = running.version
    return StoredSync(desk.tenant, name, version, found[0].text, deployment.clock.now())


def _paused(desk: Desk, name: str) -> list[str]:
    """A sentence for each paused connection of the sync: nothing can be planned or written across it."""
    sync = sync_of(desk.deployment.config, desk.tenant, name)
    connections = [desk.connection(one) for one in (sync.source, sync.target)]
    return [
        f"The connection {one.id} is paused: {one.paused_because} Run `tieout connect {one.id} --tenant {desk.tenant}`."
        for one in connections
        if one.state is ConnectionState.PAUSED
    ]


def _refuse_above(desk: Desk, plan: StoredPlan, cap: Cap) -> None:
    """Return if the plan may be applied.

    Raises:
        AnswerError: If it needs approval, or is above the cap of this run.
    """
    if said_ := cap.exceeded(plan):
        raise AnswerError(" ".join(said_), code=Code.NO, next_step="Raise --max-writes or --max-amount, or plan less.")
    if needs := stored_plans(desk).needs(plan):
        raise AnswerError(
            f"The plan {plan.id} needs approval. {' '.join(needs)}",
            code=Code.NO,
            next_step=f"See `tieout plan show {plan.id} --tenant {desk.tenant}`, then run `tieout plan approve "
            f"{plan.id} --tenant {desk.tenant}` and `tieout apply {plan.id} --tenant {desk.tenant}`.",
        )


def _ask(talk: Talk, parts: Iterable[RenderableType], writes: int) -> None:
    talk.agree(f"Write {counted(writes, 'record')}?", refused="Nothing was written.", parts=parts)


def _follow(
    desk: Desk, talk: Talk, plan: StoredPlan, writes: Sequence[PlannedWrite], wait_seconds: float
) -> dict[LinkKey, Ended]:
    """How each write ended, once all did, all queues stood empty for two looks, or the time is over."""
    deployment, plans = desk.deployment, stored_plans(desk)
    ends: dict[LinkKey, Ended] = {}
    left, quiet = list(writes), 0
    deadline = deployment.clock.now() + timedelta(seconds=wait_seconds)
    with talk.progress(written="Records written") as progress:
        while True:
            ends |= plans.ends(plan, left, over=quiet >= QUIET_LOOKS)
            left = [write for write in left if ends[plan.key(write)].end is End.STILL_WAITING]
            progress("written", len(writes) - len(left))
            if not left or quiet >= QUIET_LOOKS or deployment.clock.now() >= deadline:
                return ends
            quiet = quiet + 1 if not sum(deployment.queue.waiting().values()) else 0
            deployment.clock.sleep(LOOK_SECONDS)


def _counts(ends: Mapping[LinkKey, Ended]) -> dict[str, int]:
    counts = Counter(one.end for one in ends.values())
    return {end.value: counts[end] for end in End}


def _not_as_planned(desk: Desk, plan: StoredPlan, comparison: Comparison, show: int) -> Answer:
    def view() -> Iterator[RenderableType]:
        yield f"Nothing was written: {plan.id} is not what would be written today."
        yield from _differences(comparison, show)
        yield f"Plan again: `tieout plan {plan.sync} --tenant {desk.tenant}`."
        if comparison.unchanged:
            yield (
                f"Or write the {counted(len(comparison.unchanged), 'record')} that are as planned: "
                f"`tieout apply {plan.id} --only-unchanged --tenant {desk.tenant}`."
            )

    data = {
        "sync": plan.sync,
        "plan": plan.id,
        "sync_changed": comparison.sync_changed,
        "changed": [_changed_data(one) for one in comparison.changed],
        "as_planned": len(comparison.unchanged),
        "written": 0,
    }
    return Answer(data, view, Code.NO)


# What is said of a plan


def _head(desk: Desk, plan: StoredPlan | None, *, needs: bool = True) -> dict[str, Any] | None:
    if plan is None:
        return None
    return {
        "id": plan.id,
        "sync": plan.sync,
        "sync_version": plan.sync_version,
        "digest": plan.digest,
        "state": plan.state,
        "created_at": plan.created_at,
        "created_by": plan.created_by,
        "expires_at": plan.expires_at,
        "writes": plan.writes,
        "counts": plan.counts,
        "totals": plan.totals,
        "amounts": plan.amounts,
        "parked": plan.parked,
        "approved_at": plan.approved_at,
        "approved_by": plan.approved_by,
        "began_at": plan.began_at,
        "applied_by": plan.applied_by,
        "applied_at": plan.applied_at,
        "ends": plan.ends,
        "undoes": plan.undoes,
        "undone_by": plan.undone_by,
    } | ({"needs_approval": stored_plans(desk).needs(plan)} if needs else {})


def _kept(plan: StoredPlan) -> list[str]:
    return [f"Plan {plan.id}, digest {plan.digest}, kept until {plan.expires_at:%Y-%m-%d}."]


def _next(desk: Desk, plan: StoredPlan, file: Path | None) -> Iterator[str]:
    """What the plan is called, and what to do with it."""
    yield from _kept(plan)
    if needs := stored_plans(desk).needs(plan):
        yield f"It needs approval: {' '.join(needs)} `tieout plan approve {plan.id} --tenant {desk.tenant}`"
    first = f"`tieout config apply {file}`, then " if file is not None else ""
    yield f"Apply it with {first}`tieout apply {plan.id} --tenant {desk.tenant}`."


def _shown(desk: Desk, plan: StoredPlan, writes: Sequence[PlannedWrite], show: int) -> Iterator[RenderableType]:
    yield f"{plan.id}  {plan.state.value}"
    yield f"  sync     {plan.sync}, version {plan.sync_version}"
    yield f"  made     {moment(plan.created_at)} by {plan.created_by}; kept until {plan.expires_at:%Y-%m-%d}"
    yield f"  digest   {plan.digest}"
    if plan.approved_at is not None:
        yield f"  approved {moment(plan.approved_at)} by {plan.approved_by}"
    elif plan.state is PlanState.PLANNED and (needs := stored_plans(desk).needs(plan)):
        yield f"  needs approval: {' '.join(needs)}"
    if plan.undoes:
        yield f"  takes back {plan.undoes}"
    if plan.undone_by:
        yield f"  taken back by {plan.undone_by}"
    yield ""
    yield from _table(writes, show)


def _changed_data(one: Changed) -> dict[str, Any]:
    return {
        "step": one.write.step,
        "id": one.write.source_id,
        "label": one.write.label,
        "reason": one.reason,
        "before": _write_data(one.before) if one.before is not None else None,
        "now": _write_data(one.now) if one.now is not None else None,
        "changed": _between(one),
    }


def _between(one: Changed) -> dict[str, tuple[Any, Any]]:
    """By field, what was planned and what would be written now."""
    before = one.before.document if one.before is not None else {}
    now = one.now.document if one.now is not None else {}
    if not before or not now:
        return {}
    fields = dict.fromkeys((*before, *now))
    return {field: (before.get(field), now.get(field)) for field in fields if before.get(field) != now.get(field)}


def _differences(comparison: Comparison, show: int) -> Iterator[str]:
    if comparison.sync_changed:
        yield comparison.sync_changed
    for one in comparison.changed[:show]:
        yield f"  {one.write.step}/{one.write.source_id}  {one.write.label}  {one.reason}"
        yield from (f"    {field}: {_short(old)} -> {_short(new)}" for field, (old, new) in _between(one).items())
    yield from more(len(comparison.changed), show)


def _not_written(ends: Mapping[LinkKey, Ended], show: int) -> Iterator[str]:
    left = [(key, one.reason) for key, one in ends.items() if one.end is End.CHANGED_SINCE]
    if left:
        yield f"{counted(len(left), 'record')} left out, as they changed since the plan:"
        yield from (f"  {key.step}/{key.source_id}  {reason}" for key, reason in left[:show])
        yield from more(len(left), show)


def _end_data(ended: Ended | None) -> dict[str, Any]:
    return {} if ended is None else {"end": ended.end, "target_id": ended.target_id, "reason": ended.reason}


def _write_data(write: PlannedWrite) -> dict[str, Any]:
    return {
        "step": write.step,
        "id": write.source_id,
        "label": write.label,
        "operation": LINKED if write.links_only else WITHDRAWN if write.takes_back else write.operation,
        "amount": write.amount,
        "currency": write.currency,
        "document": write.document,
        "changed": _changed(write),
        "notices": list(write.notices),
    }


def _data(sync: str, report: PlanReport, paused: Sequence[str]) -> dict[str, Any]:
    return {
        "sync": sync,
        "steps": {
            step: {Operation.CREATE.value: 0, Operation.UPDATE.value: 0, **counts}
            for step, counts in counts_of(report.writes).items()
        },
        "totals": report.totals(),
        "unchanged": report.counts.unchanged,
        "skipped": report.counts.skipped,
        "skipped_because": report.counts.skipped_because,
        "adopted": report.counts.adopted,
        "waiting": report.counts.waiting,
        "paused": paused,
        "writes": [_write_data(write) for write in report.writes],
        "links": [_write_data(write) for write in report.links],
        "parked": [data_of(one) for one in report.parked],
    }


def _view(report: PlanReport, paused: Sequence[str], show: int) -> Iterator[RenderableType]:
    yield from paused
    yield from _table(report.writes, show)
    yield ""
    taken_back = report.counts.skipped_because.get(TAKEN_BACK, 0)
    yield f"{report.counts.unchanged:,} unchanged, {report.counts.skipped - taken_back:,} not selected."
    if taken_back:
        yield f"{counted(taken_back, 'record')} left out: {TAKEN_BACK}."
    yield from _notices(report, show)
    for currency, total in report.totals().items():
        yield f"Invoices to create: {said(total, currency)}"
    if report.counts.waiting:
        yield f"{counted(report.counts.waiting, 'record')} cannot be planned now; try again later."
    yield from _would_park(report, show)


def _would_park(report: PlanReport, show: int) -> Iterator[str]:
    if report.parked:
        yield f"{counted(len(report.parked), 'record')} would park:"
        for one in report.parked[:show]:
            yield f"  {one.step}/{one.change.id}  {one.label}  {amount_of(one)}".rstrip()
            yield f"    {one.reason} {one.next_step}".rstrip()
        yield from more(len(report.parked), show)


def _table(writes: Sequence[PlannedWrite], show: int) -> Iterator[RenderableType]:
    """The counts by step, and the first writes."""
    own = [write for write in writes if not write.links_only]
    if not own:
        yield "Nothing to write."
        return
    steps = table("Step", *STEP_NUMBERS, right=STEP_NUMBERS)
    for name, counts in counts_of(own).items():
        sums = _amounts([write for write in own if write.step == name])
        amounts = ", ".join(said(sum_, currency) for currency, sum_ in sums.items())
        numbers = [f"{counts.get(what, 0):,}" for what in (Operation.CREATE, Operation.UPDATE, WITHDRAWN)]
        steps.add_row(name, *numbers, amounts)
    yield steps
    yield ""
    rows = table("", "Step", "Record", "What", "Amount", right=("Amount",))
    shown_ = _first(own, show)
    for write in shown_:
        sign = "-" if write.takes_back else "+" if write.operation is Operation.CREATE else "~"
        amount = said(write.amount, write.currency) if write.amount is not None else ""
        rows.add_row(sign, write.step, write.label or write.source_id, _what(write), amount)
    yield rows
    if len(own) > len(shown_):
        yield f"and {len(own) - len(shown_):,} more (--show {len(own)})"


def _notices(report: PlanReport, show: int) -> Iterator[str]:
    if report.counts.adopted:
        stand = "stands" if report.counts.adopted == 1 else "stand"
        yield f"{counted(report.counts.adopted, 'record')} {stand} on the other side already and would only be linked."
    written = [*report.writes, *report.links]
    noticed = [f"{write.step}, {write.label}: {notice}" for write in written for notice in write.notices]
    yield from (f"Notice: {notice}" for notice in noticed[:show])
    if len(noticed) > show:
        yield f"and {len(noticed) - show:,} more notices (--json lists all)"


def _first(writes: Sequence[PlannedWrite], show: int) -> list[PlannedWrite]:
    """The first writes, as many of each step as there is room for: hundreds of customers do not hide the invoices."""
    steps = list(dict.fromkeys(write.step for write in writes))
    chosen: list[PlannedWrite] = []
    for number, step in enumerate(steps):
        share = -(-(show - len(chosen)) // (len(steps) - number))
        chosen += [write for write in writes if write.step == step][:share]
    return chosen


def _amounts(writes: Sequence[PlannedWrite]) -> dict[str, Decimal]:
    return amounts_of(write for write in writes if write.operation is Operation.CREATE or write.takes_back)


def _what(write: PlannedWrite) -> str:
    """The document in a few words; for an update, what changes in it."""
    document = write.document
    name = str(document.get("name") or document.get("number") or "")
    if write.operation is Operation.CREATE:
        return " ".join(part for part in (name, str(document.get("date", ""))) if part)
    changed = _changed(write)
    shown = [f"{field}: {_short(old)} -> {_short(new)}" for field, (old, new) in changed.items()]
    more = f", and {len(shown) - CHANGED_FIELDS_SHOWN} more" if len(shown) > CHANGED_FIELDS_SHOWN else ""
    return f"{name}  {', '.join(shown[:CHANGED_FIELDS_SHOWN])}{more}".strip()


def _changed(write: PlannedWrite) -> dict[str, tuple[Any, Any]]:
    """By field, what was written last and what would be; nothing for a document that is new."""
    former: Mapping[str, Any] = write.former or {}
    if write.operation is Operation.CREATE:
        return {}
    return {field: (former.get(field), value) for field, value in write.document.items() if former.get(field) != value}


def _short(value: Any) -> str:  # noqa: ANN401 - any field of a document
    if value is None:
        return "empty"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= VALUE_LENGTH_SHOWN else f"{text[: VALUE_LENGTH_SHOWN - 3]}..."
