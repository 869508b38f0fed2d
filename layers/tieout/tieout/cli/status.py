"""`tieout status`: where everything stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from tieout.bridge.line import is_silent
from tieout.cli.desk import Desk
from tieout.cli.parked import operate
from tieout.cli.quotas import data_of, left_of
from tieout.cli.sweep import noun, sweep
from tieout.cli.talk import Answer, Code, moment, table
from tieout.domain.bridge import Installation, JobState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.words import age, counted
from tieout.engine.health import Standing, standing

if TYPE_CHECKING:
    from rich.console import RenderableType


def status(desk: Desk) -> Answer:
    """Counts by state for each step, the age of the oldest change not in agreement, connections, queues.

    Its status is 1 if something needs a person: a paused connection, a parked change, or what a brake holds back.
    """
    found = operate(desk).status(desk.tenant)
    paused = [one for one in found.connections if one.state is ConnectionState.PAUSED]
    parked = sum(step.parked for step in found.steps)
    oldest = max((step.oldest_unsynced_seconds for step in found.steps), default=0)
    held = sweep(desk).held(desk.tenant)
    needs_person = bool(paused or parked or held)
    quotas = {one.id: desk.deployment.quotas().waiting(desk.tenant, one) for one in found.connections}
    standings = {one.id: standing(desk.deployment.config, one) for one in found.connections}
    beside = {one.connection: one for one in desk.deployment.installations.installations(desk.tenant)}

    def view() -> Iterator[RenderableType]:
        if not found.steps:
            yield "There is no sync yet: write its document and run `tieout config apply FILE`."
        else:
            counted_by = ("In agreement", "Being written", "Waiting", "Parked", "Dismissed", "Oldest not in agreement")
            rows = table("Sync", "Step", *counted_by, right=counted_by)
            for step in found.steps:
                counts = (step.in_agreement, step.writing, step.waiting, step.parked, step.dismissed)
                unsynced = age(step.oldest_unsynced_seconds) if step.waiting or step.parked else ""
                rows.add_row(step.sync, step.step, *(f"{count:,}" for count in counts), unsynced)
            yield rows
        for connection in found.connections:
            yield _line(desk, connection, standings[connection.id])
            if connection.id in beside:
                yield f"  {_beside(desk, beside[connection.id])}"
            if (quota := quotas[connection.id]) is not None:
                yield f"  {left_of(quota)}"
        yield "Queues: " + ", ".join(f"{name} {count:,}" for name, count in found.queues.items())
        if parked:
            yield f"{counted(parked, 'change')} parked: see `tieout parked list --tenant {desk.tenant}`."
        for one in held:
            yield (
                f"{one.connection}: {counted(len(one.ids), noun(one))} vanished at once; nothing is done about them: "
                f"see `tieout sweep list --tenant {desk.tenant}`."
            )

    data = {
        "tenant": desk.tenant,
        "steps": [asdict(step) for step in found.steps],
        "oldest_unsynced_seconds": oldest,
        "connections": [
            {
                "id": one.id,
                "provider": one.provider,
                "account": one.account,
                "state": one.state,
                "paused_because": one.paused_because,
                "paused_at": one.paused_at,
                "last_contact_at": standings[one.id].contacted_at,
                "sign_in_ends_at": standings[one.id].ends_at,
                "quota": data_of(quotas[one.id]),
                "webhook": desk.webhook_address(one),
                "installation": _installation(desk, beside.get(one.id)),
            }
            for one in found.connections
        ],
        "queues": found.queues,
        "held": [
            {"connection": one.connection, "kind": one.kind, "written": one.written, "records": len(one.ids)}
            for one in held
        ],
        "needs_person": needs_person,
    }
    return Answer(data, view, Code.NO if needs_person else Code.OK)


def _line(desk: Desk, connection: Connection, standing: Standing) -> str:
    contact = f", last contact {moment(standing.contacted_at)}" if standing.contacted_at is not None else ""
    if connection.state is ConnectionState.ACTIVE:
        ends = f", sign-in good until {moment(standing.ends_at)}" if standing.ends_at is not None else ""
        return f"Connection {connection.id} ({connection.provider}): active{contact}{ends}"
    since = f" since {moment(connection.paused_at)}" if connection.paused_at is not None else ""
    return (
        f"Connection {connection.id} ({connection.provider}): paused{since}{contact}: {connection.paused_because} "
        f"Run `tieout connect {connection.id} --tenant {desk.tenant}`; changes wait, nothing is lost."
    )


def _installation(desk: Desk, there: Installation | None) -> dict[str, object] | None:
    """What stands beside a system in an office, for programs; None if the connection needs nothing there."""
    if there is None:
        return None
    return {
        "let_in": there.enrolled_at is not None,
        "silent": is_silent(there, desk.deployment.clock.now()),
        "last_seen_at": there.seen_at,
        "last_job_at": there.worked_at,
        "machine": there.machine,
        "system": there.system,
        "version": there.version,
        "backlog": _backlog(desk, there),
    }


def _beside(desk: Desk, there: Installation) -> str:
    if there.enrolled_at is None:
        return f"Nothing is installed beside it yet: run `tieout connect {there.connection} --tenant {desk.tenant}`."
    seen = f"last seen {moment(there.seen_at)}" if there.seen_at is not None else "never seen"
    names = " ".join(one for one in (there.machine, there.system) if one) or "its computer"
    version = f", version {there.version}" if there.version else ""
    silent = ", silent now" if is_silent(there, desk.deployment.clock.now()) else ""
    return f"Beside it: {names}{version}, {seen}{silent}, {counted(_backlog(desk, there), 'job')} to fetch"


def _backlog(desk: Desk, there: Installation) -> int:
    """How many jobs somebody waits for; one that was not fetched in time is given to nobody any more."""
    jobs, now = desk.deployment.outbox.jobs(there.tenant, there.connection), desk.deployment.clock.now()
    return sum(one.state is JobState.QUEUED and now <= one.begin_by for one in jobs)
