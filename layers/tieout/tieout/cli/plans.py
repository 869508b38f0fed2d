"""`tieout plan` and `tieout apply`: what a sync would write, and writing just that."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import typer

from tieout.cli.desk import Desk
from tieout.cli.parked import amount_of, data_of
from tieout.cli.talk import Answer, AnswerError, Code, Talk, console_of, table
from tieout.domain.changes import Change, Lane, Origin, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.links import Link, LinkKey
from tieout.domain.words import counted, said
from tieout.engine.backfill import LOOK_SECONDS, QUIET_LOOKS, sync_of
from tieout.engine.preview import PlannedWrite, PlanReport, Preview

if TYPE_CHECKING:
    from rich.console import RenderableType

CHANGED_FIELDS_SHOWN = 3
VALUE_LENGTH_SHOWN = 40
STEP_NUMBERS = ("To create", "To update", "Amount to create")


def plan(desk: Desk, talk: Talk, sync: str, ids: Sequence[str], *, show: int) -> Answer:
    """What applying the sync now would write; nothing is written.

    Its status is 4 if some records cannot be planned now, 3 if some would park, else 0.
    """
    report = _preview(desk, talk, sync, ids)
    paused = _paused(desk, sync)
    code = Code.TRY_LATER if report.counts.waiting else Code.WOULD_PARK if report.parked else Code.OK
    return Answer(_data(sync, report, paused), lambda: _view(report, paused, show), code)


def apply(
    desk: Desk, talk: Talk, sync: str, ids: Sequence[str], *, yes: bool, show: int, wait_seconds: float
) -> Answer:
    """Plan, ask, and write just what was planned; records that would park are left out.

    Its status is 0 if everything was written, 3 if some parked, 4 if some still wait.
    """
    report = _preview(desk, talk, sync, ids)
    paused = _paused(desk, sync)
    if not report.writes:
        data = _data(sync, report, paused) | {"written": 0, "unchanged": 0, "still_waiting": 0}
        code = Code.TRY_LATER if report.counts.waiting else Code.WOULD_PARK if report.parked else Code.OK
        return Answer(data, lambda: _view(report, paused, show), code)
    if not yes:
        _ask(talk, report, paused, show)
    began_at = desk.deployment.clock.now()
    changes, keys = _changes(desk, sync, report.writes, began_at)
    desk.deployment.queue.send(changes)
    talk.resume = "What is queued goes on being written: see `tieout status`."
    ends = _follow(desk, talk, keys, began_at, wait_seconds)

    def view() -> Iterator[RenderableType]:
        yield f"{counted(ends['written'], 'record')} written, {ends['unchanged']:,} needed no writing."
        if ends["parked"]:
            yield f"{counted(ends['parked'], 'record')} parked: see `tieout parked list --tenant {desk.tenant}`."
        if ends["still_waiting"]:
            yield f"{counted(ends['still_waiting'], 'record')} still waiting: see `tieout status`; nothing is lost."

    code = Code.TRY_LATER if ends["still_waiting"] else Code.WOULD_PARK if ends["parked"] else Code.OK
    parked = ends["parked"] + len(report.parked)
    return Answer({"sync": sync, **ends, "parked": parked, "totals": report.totals()}, view, code)


def _preview(desk: Desk, talk: Talk, sync: str, ids: Sequence[str]) -> PlanReport:
    deployment = desk.deployment
    preview = Preview(
        config=deployment.config, links=deployment.links, connect=deployment.connect, clock=deployment.clock
    )
    with talk.progress() as progress:
        return preview.preview(desk.tenant, sync, progress=progress, ids=ids)


def _paused(desk: Desk, name: str) -> list[str]:
    """A sentence for each paused connection of the sync: nothing can be planned or written across it."""
    sync = sync_of(desk.deployment.config, desk.tenant, name)
    connections = [desk.connection(one) for one in (sync.source, sync.target)]
    return [
        f"The connection {one.id} is paused: {one.paused_because} Run `tieout connect {one.id} --tenant {desk.tenant}`."
        for one in connections
        if one.state is ConnectionState.PAUSED
    ]


def _ask(talk: Talk, report: PlanReport, paused: Sequence[str], show: int) -> None:
    if talk.as_json:
        raise AnswerError("With --json nobody can be asked.", code=Code.USAGE, next_step="Add --yes.")
    console = console_of(sys.stderr)
    for part in _view(report, paused, show):
        console.print(part)
    try:
        agreed = typer.confirm(f"Write {counted(len(report.writes), 'record')}?", err=True)
    except typer.Abort:
        raise AnswerError("Nobody answered.", code=Code.USAGE, next_step="Add --yes.") from None
    if not agreed:
        raise AnswerError("Nothing was written.", code=Code.NO)


def _changes(
    desk: Desk, name: str, writes: Sequence[PlannedWrite], now: datetime
) -> tuple[list[Change], list[LinkKey]]:
    sync = sync_of(desk.deployment.config, desk.tenant, name)
    kinds = {step.name: step.from_kind for step in sync.steps}
    keys = list(dict.fromkeys(LinkKey(desk.tenant, name, write.step, write.source_id) for write in writes))
    changes = [
        Change(desk.tenant, sync.source, kinds[key.step], key.source_id, now, Origin.OPERATOR, Lane.LIVE)
        for key in keys
    ]
    return list(dict.fromkeys(changes)), keys


def _follow(desk: Desk, talk: Talk, keys: Sequence[LinkKey], began_at: datetime, wait_seconds: float) -> dict[str, int]:
    """How many were written, unchanged, parked, or still wait when the time is over or all queues stood empty."""
    deployment = desk.deployment
    open_keys = set(keys)
    links: dict[LinkKey, Link] = {}
    quiet = 0
    deadline = deployment.clock.now() + timedelta(seconds=wait_seconds)
    with talk.progress(written="Records written") as progress:
        while True:
            found = deployment.links.get(sorted(open_keys, key=lambda key: (key.step, key.source_id)))
            links |= found
            open_keys -= {key for key, link in found.items() if _written(link, began_at)}
            progress("written", len(keys) - len(open_keys))
            quiet = quiet + 1 if not sum(deployment.queue.waiting().values()) else 0
            if not open_keys or quiet >= QUIET_LOOKS or deployment.clock.now() >= deadline:
                break
            deployment.clock.sleep(LOOK_SECONDS)
    ends = Counter(_end(links.get(key), began_at, over=quiet >= QUIET_LOOKS) for key in keys)
    return {name: ends[name] for name in ("written", "unchanged", "parked", "still_waiting")}


def _written(link: Link, began_at: datetime) -> bool:
    return link.intent is None and link.settled_at is not None and link.settled_at >= began_at


def _end(link: Link | None, began_at: datetime, *, over: bool) -> str:
    if link is not None and _written(link, began_at):
        return "written"
    if link is not None and link.unsynced is not None and link.unsynced.state is UnsyncedState.PARKED:
        return "parked"
    if not over or link is None or link.intent is not None or link.unsynced is not None:
        return "still_waiting"
    return "unchanged"


# What is said of a plan


def _data(sync: str, report: PlanReport, paused: Sequence[str]) -> dict[str, Any]:
    return {
        "sync": sync,
        "steps": {
            step: {"create": counts[Operation.CREATE], "update": counts[Operation.UPDATE]}
            for step, counts in _by_step(report).items()
        },
        "totals": report.totals(),
        "unchanged": report.counts.unchanged,
        "skipped": report.counts.skipped,
        "skipped_because": report.counts.skipped_because,
        "adopted": report.counts.adopted,
        "waiting": report.counts.waiting,
        "paused": paused,
        "writes": [
            {
                "step": write.step,
                "id": write.source_id,
                "label": write.label,
                "operation": write.operation,
                "amount": write.amount,
                "currency": write.currency,
                "document": write.document,
                "changed": _changed(write),
                "notices": list(write.notices),
            }
            for write in report.writes
        ],
        "parked": [data_of(one) for one in report.parked],
    }


def _by_step(report: PlanReport) -> dict[str, Counter[Operation]]:
    steps: dict[str, Counter[Operation]] = {}
    for write in report.writes:
        steps.setdefault(write.step, Counter())[write.operation] += 1
    return steps


def _view(report: PlanReport, paused: Sequence[str], show: int) -> Iterator[RenderableType]:
    yield from paused
    if report.writes:
        steps = table("Step", *STEP_NUMBERS, right=STEP_NUMBERS)
        for name, counts in _by_step(report).items():
            amounts = ", ".join(said(sum_, currency) for currency, sum_ in _amounts(report, name).items())
            steps.add_row(name, f"{counts[Operation.CREATE]:,}", f"{counts[Operation.UPDATE]:,}", amounts)
        yield steps
        yield ""
        writes = table("", "Step", "Record", "What", "Amount", right=("Amount",))
        shown = _first(report, show)
        for write in shown:
            sign = "+" if write.operation is Operation.CREATE else "~"
            amount = said(write.amount, write.currency) if write.amount is not None else ""
            writes.add_row(sign, write.step, write.label or write.source_id, _what(write), amount)
        yield writes
        if len(report.writes) > len(shown):
            yield f"and {len(report.writes) - len(shown):,} more (--show {len(report.writes)})"
    else:
        yield "Nothing to write."
    yield ""
    yield f"{report.counts.unchanged:,} unchanged, {report.counts.skipped:,} not selected."
    yield from _notices(report, show)
    for currency, total in report.totals().items():
        yield f"Invoices to create: {said(total, currency)}"
    if report.counts.waiting:
        yield f"{counted(report.counts.waiting, 'record')} cannot be planned now; try again later."
    if report.parked:
        yield f"{counted(len(report.parked), 'record')} would park:"
        for one in report.parked[:show]:
            yield f"  {one.step}/{one.change.id}  {one.label}  {amount_of(one)}".rstrip()
            yield f"    {one.reason} {one.next_step}".rstrip()
        if len(report.parked) > show:
            yield f"  and {len(report.parked) - show:,} more"


def _notices(report: PlanReport, show: int) -> Iterator[str]:
    if report.counts.adopted:
        yield f"{counted(report.counts.adopted, 'record')} stand on the other side already and would only be linked."
    noticed = [f"{write.step}, {write.label}: {notice}" for write in report.writes for notice in write.notices]
    yield from (f"Notice: {notice}" for notice in noticed[:show])
    if len(noticed) > show:
        yield f"and {len(noticed) - show:,} more notices (--json lists all)"


def _first(report: PlanReport, show: int) -> list[PlannedWrite]:
    """The first writes, as many of each step as there is room for: hundreds of customers do not hide the invoices."""
    steps = list(_by_step(report))
    chosen: list[PlannedWrite] = []
    for number, step in enumerate(steps):
        share = -(-(show - len(chosen)) // (len(steps) - number))
        chosen += [write for write in report.writes if write.step == step][:share]
    return chosen


def _amounts(report: PlanReport, step: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for write in report.writes:
        if write.step == step and write.amount is not None and write.operation is Operation.CREATE:
            sums[write.currency] = sums.get(write.currency, Decimal(0)) + write.amount
    return sums


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
