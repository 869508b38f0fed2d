"""`tieout backfill` and `tieout tie-out`: the history, and the comparison of both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tieout.cli.desk import Desk
from tieout.cli.quotas import data_of, how_long
from tieout.cli.talk import Answer, AnswerError, Code, Talk, table
from tieout.domain.words import said
from tieout.engine.backfill import Backfill, BackfillReport, sync_of
from tieout.engine.quota import Forecast
from tieout.engine.tie_out import StepTieOut, TieOut, Totals

if TYPE_CHECKING:
    from rich.console import RenderableType


def backfill(
    desk: Desk, talk: Talk, sync: str, *, restart: bool, relink: bool, yes: bool, wait_seconds: float | None
) -> Answer:
    """Queue the history, wait until it is synced, compare both sides.

    Its status is 0 if both sides agree (or with `wait_seconds` None, once all is queued), 1 if not.

    Raises:
        AnswerError: If it takes longer than `wait_seconds`, or if nobody agreed to a run without the sync's caps.
    """
    deployment = desk.deployment
    if not yes:
        _ask(desk, talk, sync)
    work = Backfill(
        config=deployment.config, queue=deployment.queue, connect=deployment.connect, clock=deployment.clock
    )
    quota = deployment.quotas().of_history(desk.tenant, sync)
    if quota is not None:
        talk.say(f"{how_long(quota)} Records that the sync leaves out take none of them.")
    talk.resume = f"Run `tieout backfill {sync} --tenant {desk.tenant}` again: it goes on after the last page queued."
    with talk.progress() as progress:
        report = work.run(desk.tenant, sync, progress=progress, restart=restart, relink=relink)
    queued = ", ".join(f"{kind} {count:,}" for kind, count in report.queued.items()) or "nothing more"
    talk.say(f"{'Went on where it had stopped; queued' if report.resumed else 'Queued'}: {queued}.")
    compare = f"tieout tie-out {sync} --tenant {desk.tenant}"
    if wait_seconds is None:
        return Answer(_queued(sync, report, quota), lambda: iter([f"Then run `{compare}` to compare both sides."]))
    talk.resume = f"What is queued goes on being synced; `{compare}` compares both sides later."
    with talk.progress(waiting="Messages in the queues") as progress:
        done = work.wait(progress=progress, timeout_seconds=wait_seconds)
    if not done:
        raise AnswerError(
            "The queues are not empty yet; what is queued goes on being synced.",
            code=Code.TRY_LATER,
            next_step=f"Run `{compare}` later, and see `tieout status --tenant {desk.tenant}`.",
        )
    steps = _compared(desk, talk, sync)
    data = _queued(sync, report, quota) | _data(steps)
    return Answer(data, lambda: _view(desk, steps), Code.OK if all(step.ties_out for step in steps) else Code.NO)


def _ask(desk: Desk, talk: Talk, sync: str) -> None:
    """Return if a run of the sync has no caps, or a person agrees that this one goes above them."""
    caps = sync_of(desk.deployment.config, desk.tenant, sync).document.caps
    if caps.run_writes is None and caps.run_amount is None:
        return
    what = f"The sync {sync} has a cap on what one run may write, and a backfill has none: it brings every record."
    why = f"{what} `tieout plan {sync} --tenant {desk.tenant}` shows what would be written."
    talk.agree("Bring the whole history?", refused="Nothing was queued.", why=why)


def tie_out(desk: Desk, talk: Talk, sync: str) -> Answer:
    """Count and add up both sides. Its status is 0 if they agree, 1 if not."""
    steps = _compared(desk, talk, sync)
    code = Code.OK if all(step.ties_out for step in steps) else Code.NO
    return Answer({"sync": sync} | _data(steps), lambda: _view(desk, steps), code)


def _compared(desk: Desk, talk: Talk, sync: str) -> list[StepTieOut]:
    deployment = desk.deployment
    work = TieOut(config=deployment.config, links=deployment.links, connect=deployment.connect, clock=deployment.clock)
    with talk.progress() as progress:
        return work.compare(desk.tenant, sync, progress=progress)


def _queued(sync: str, report: BackfillReport, quota: Forecast | None) -> dict[str, Any]:
    told = {"sync": sync, "run": report.run, "resumed": report.resumed, "queued": report.queued}
    return told | {"quota": data_of(quota)}


def _data(steps: Sequence[StepTieOut]) -> dict[str, Any]:
    return {
        "ties_out": all(step.ties_out for step in steps),
        "steps": [
            {
                "step": step.step,
                "source_count": step.source_count,
                "target_count": step.target_count,
                "totals": [
                    {"currency": currency, "source": one.source, "target": one.target, "difference": one.difference}
                    for currency, one in sorted(step.totals.items())
                ],
                "duplicates": step.duplicates,
                "missing": step.missing,
                "differing": step.differing,
                "ties_out": step.ties_out,
            }
            for step in steps
        ],
    }


def _view(desk: Desk, steps: Sequence[StepTieOut]) -> Iterator[RenderableType]:
    numbers = ("Source", "Target", "Source total", "Target total", "Difference", "Duplicates")
    rows = table("Step", *numbers, "", right=numbers)
    for step in steps:
        counts = (f"{step.source_count:,}", f"{step.target_count:,}")
        verdict = (f"{step.duplicates:,}", "ties out" if step.ties_out else "DOES NOT TIE OUT")
        sums = [_sums(currency, one) for currency, one in sorted(step.totals.items())] or [("", "", "")]
        rows.add_row(step.step, *counts, *sums[0], *verdict)
        for more in sums[1:]:
            rows.add_row("", "", "", *more, "", "")
    yield rows
    for step in steps:
        if step.missing:
            yield f"{step.step}: without a partner on the other side: {', '.join(step.missing)}"
        if step.differing:
            yield f"{step.step}: with another total on the other side: {', '.join(step.differing)}"
    if not all(step.ties_out for step in steps):
        yield f"See why with `tieout parked list --tenant {desk.tenant}` and `tieout status --tenant {desk.tenant}`."


def _sums(currency: str, totals: Totals) -> tuple[str, str, str]:
    return said(totals.source, currency), said(totals.target, currency), said(totals.difference, currency)
