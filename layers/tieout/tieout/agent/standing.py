"""How the agent stands, for whoever asks at its computer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tieout.agent.folder import Enrolment, Folder
from tieout.agent.spool import LastJob, Spool, SpoolError, State, Trouble
from tieout.agent.worker import is_newer

SILENT = timedelta(minutes=3)
"""The agent asks every 10 seconds; after so long without an accepted call something is wrong."""

HANGS = timedelta(minutes=2)
"""No call of a connector takes so long."""


class Health(StrEnum):
    """WAITS: it passes by itself. HELP: a person at this computer has to do something."""

    FINE = "fine"
    STOPPED = "stopped"
    WAITS = "waits"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one connection.

    Attributes:
        name: `tenant.connection`.
        heard_at: When the cloud accepted a call last; None if never. Aware UTC.
        unsent: Reports that are not told yet.
        jobs: How many there were.
        latest: A newer version of the agent; empty if there is none.
        message, next_step: What is wrong and what to do; empty if nothing is.
    """

    name: str
    title: str
    address: str
    account: str
    health: Health
    message: str = ""
    next_step: str = ""
    code: str = ""
    since: datetime | None = None
    heard_at: datetime | None = None
    last_job: LastJob | None = None
    unsent: int = 0
    jobs: int = 0
    latest: str = ""


def standings(folder: Folder, *, version: str, now: datetime) -> list[Standing]:
    """How each connection of the folder stands.

    Args:
        folder: The agent's.
        version: Of this agent.
        now: Aware UTC.

    Raises:
        SettingsError: If the folder cannot be read.
    """
    is_running = folder.is_held()
    found = [folder.enrolment(name) for name in folder.names()]
    return [_standing(folder, one, version, now, is_running=is_running) for one in found if one is not None]


def _standing(folder: Folder, enrolment: Enrolment, version: str, now: datetime, *, is_running: bool) -> Standing:
    known = Standing(
        enrolment.name,
        enrolment.title or enrolment.name,
        enrolment.address,
        enrolment.account,
        Health.HELP,
        code="not_enrolled",
        message="Not enrolled yet.",
        next_step="Run `tieout agent install` again with the code, or with a new one.",
    )
    if enrolment.connection is None:
        return known
    try:
        with Spool(folder.spool(enrolment.name)) as spool:
            trouble = _trouble(spool, enrolment.name, now, is_running=is_running)
            return replace(
                known,
                health=_health(trouble),
                message=trouble.message if trouble is not None else "",
                next_step=trouble.next_step if trouble is not None else "",
                code=trouble.code if trouble is not None else "",
                since=trouble.since if trouble is not None else None,
                heard_at=spool.heard_at,
                last_job=spool.last_job,
                unsent=spool.unsent_count,
                jobs=spool.jobs_count,
                latest=spool.latest if is_newer(spool.latest, version) else "",
            )
    except SpoolError as error:
        return replace(known, code="spool", message=error.message, next_step=error.next_step)


def _health(trouble: Trouble | None) -> Health:
    if trouble is None:
        return Health.FINE
    if trouble.code == "stopped":
        return Health.STOPPED
    return Health.WAITS if trouble.passes else Health.HELP


def _trouble(spool: Spool, name: str, now: datetime, *, is_running: bool) -> Trouble | None:
    """The most important thing that is wrong: what keeps all from working first."""
    known, heard, last = spool.trouble, spool.heard_at, spool.last_job
    if not is_running:
        step = "Start it: `tieout agent run`, or its service (`tieout agent service` says how)."
        since = heard or now
        return Trouble("stopped", "The agent does not run.", step, passes=False, since=since)
    if known is not None:
        return known
    if last is not None and last.state is State.BEGUN and now - last.at > HANGS:
        minutes = round((now - last.at).total_seconds() / 60)
        message = f"The system beside it has not answered for {minutes} minutes."
        step = "Look at it: it may show a window that waits for an answer, or hang."
        return Trouble("hangs", message, step, passes=False, since=last.at)
    system, system_since = spool.system, spool.system_since
    if system is not None and system_since is not None:
        message, step = system
        return Trouble("system", message, step or "Look at it on this computer.", passes=False, since=system_since)
    if heard is None or now - heard > SILENT:
        step = f"See that this computer is online; the log says more about {name}."
        return Trouble("silent", "The bridge was not reached lately.", step, passes=True, since=heard or now)
    return None
