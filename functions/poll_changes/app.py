"""Runs by schedule: asks one connection, or all, what changed; or compares ids to find what was deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tieout import bootstrap, edge


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
    asked = failed = queued = 0
    for command in _commands(event, deployment):
        if out_of_time():
            edge.logger.warning("The time is over; the other connections come with the next schedule.")
            break
        with edge.logger.append_context_keys(tenant=command.tenant, connection=command.connection):
            try:
                queued += _run(command, deployment, context)
            except Exception as error:  # noqa: BLE001 - the outermost edge: the other connections still have their turn
                edge.log_failure("The connection could not be asked for changes.", error)
                failed += 1
            asked += 1
    edge.count(ConnectionsAsked=asked, ConnectionsFailed=failed, ChangesFound=queued)
    if failed:
        raise RuntimeError("a connection could not be asked")
    return {"asked": asked, "queued": queued}


def _run(command: _Command, deployment: bootstrap.Deployment, context: edge.Context) -> int:
    use_case = deployment.poll_changes()
    if command.sweep:
        queued, paused = use_case.sweep(command.tenant, command.connection), False
    else:
        out_of_time = edge.out_of_time(context, deployment.settings.worker_timeout_seconds)
        report = use_case.poll(command.tenant, command.connection, out_of_time=out_of_time)
        queued, paused = report.queued, report.paused
    edge.logger.info("A connection was asked for changes.", sweep=command.sweep, queued=queued, paused=paused)
    return sum(queued.values())


def _commands(event: edge.Event, deployment: bootstrap.Deployment) -> Iterator[_Command]:
    """`{"tenant": ..., "connection": ...}` means one connection; without them, all. `{"sweep": true}` compares ids."""
    sweep = event.get("sweep") is True
    if "tenant" in event and "connection" in event:
        yield _Command(event["tenant"], event["connection"], sweep)
        return
    for tenant in deployment.config.tenants():
        for connection in deployment.config.connections(tenant):
            yield _Command(tenant, connection.id, sweep)
