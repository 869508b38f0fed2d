"""Runs by schedule: asks one connection, or all, what changed; or every six hours how they are and what was deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tieout import bootstrap, edge

if TYPE_CHECKING:
    from tieout.domain.records import Kind
    from tieout.engine.poll import PollReport


@dataclass(frozen=True, slots=True)
class _Command:
    tenant: str
    connection: str
    sweep: bool


@edge.function("poll_changes")
def handler(event: edge.Event, context: edge.Context) -> dict[str, int]:
    """How many connections were asked, and how many changes they had.

    Raises:
        RuntimeError: If a connection could not be asked, after the others were; so it is tried once more, and a
            person hears of it. What went wrong is in the log.
    """
    deployment = bootstrap.deployment()
    out_of_time = edge.out_of_time(context, deployment.settings.worker_timeout_seconds)
    queued = 0
    asked, failed = set[_Command](), set[_Command]()
    commands = list(_commands(event, deployment))
    # Every connection is probed before the first one is swept, as comparing many ids may take all the time there is.
    works: list[tuple[_Command, Callable[[_Command, bootstrap.Deployment, edge.Context], int]]] = [
        *((command, _check) for command in commands if command.sweep),
        *((command, _run) for command in commands),
    ]
    for command, work in works:
        if out_of_time():
            edge.logger.warning("The time is over; the other connections come with the next schedule.")
            break
        with edge.logger.append_context_keys(tenant=command.tenant, connection=command.connection):
            try:
                if deployment.is_away(command.tenant, command.connection):
                    edge.logger.info("Nobody stands beside this system now; it is asked when its computer is back.")
                    continue
                queued += work(command, deployment, context)
            except Exception as error:  # noqa: BLE001 - the outermost edge: the other connections still have their turn
                edge.log_failure("The connection could not be asked for changes.", error)
                failed.add(command)
            asked.add(command)
    edge.count(ConnectionsAsked=len(asked), ConnectionsFailed=len(failed), ChangesFound=queued)
    if failed:
        raise RuntimeError("a connection could not be asked")
    return {"asked": len(asked), "queued": queued}


def _check(command: _Command, deployment: bootstrap.Deployment, _context: edge.Context) -> int:
    report = deployment.health.check(command.tenant, command.connection)
    edge.logger.info("A connection was probed.", paused=report.paused, told_days=report.told_days)
    return 0


def _run(command: _Command, deployment: bootstrap.Deployment, context: edge.Context) -> int:
    out_of_time = edge.out_of_time(context, deployment.settings.worker_timeout_seconds)
    if command.sweep:
        swept = deployment.poll_changes().sweep(command.tenant, command.connection, out_of_time=out_of_time)
        queued, paused = swept.queued, swept.paused
        edge.logger.info("Ids were compared.", braked=swept.braked, left=swept.left)
    else:
        report = _poll(command, deployment, out_of_time)
        queued, paused = report.queued, report.paused
        if queued and not paused:  # kinds were asked for, even if none of them changed
            deployment.health.contacted(command.tenant, command.connection)
        if report.subscribed:
            edge.logger.info("Notifications of a connection were renewed.", done=list(report.subscribed))
    edge.logger.info("A connection was asked for changes.", sweep=command.sweep, queued=queued, paused=paused)
    return sum(queued.values())


def _poll(command: _Command, deployment: bootstrap.Deployment, out_of_time: Callable[[], bool]) -> PollReport:
    """What was queued. Quotas are looked at even if asking fails: one that is used up is a reason why it does."""
    try:
        report = deployment.poll_changes().poll(command.tenant, command.connection, out_of_time=out_of_time)
    except Exception:
        try:
            _look_at_quotas(command, deployment, {})
        except Exception as error:  # noqa: BLE001 - why asking failed is what matters
            edge.log_failure("Quotas could not be looked at.", error)
        raise
    _look_at_quotas(command, deployment, report.queued)
    return report


def _look_at_quotas(command: _Command, deployment: bootstrap.Deployment, queued: Mapping[Kind, int]) -> None:
    short = deployment.quotas().check(command.tenant, command.connection, queued)
    if short:
        edge.logger.warning("Quotas do not suffice.", connections=[one.connection for one in short])


def _commands(event: edge.Event, deployment: bootstrap.Deployment) -> Iterator[_Command]:
    """`{"tenant": ..., "connection": ...}` means one connection; without them, all. `{"sweep": true}` compares ids.

    Connections are swept in turn, first the one whose turn was longest ago: so each has one, however many there are.
    """
    sweep = event.get("sweep") is True
    if "tenant" in event and "connection" in event:
        yield _Command(event["tenant"], event["connection"], sweep)
        return
    config = deployment.config
    every = [one for tenant in config.tenants() for one in config.connections(tenant)]
    for connection in deployment.poll_changes().in_turn(every) if sweep else every:
        yield _Command(connection.tenant, connection.id, sweep)
