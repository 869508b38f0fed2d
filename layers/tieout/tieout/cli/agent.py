"""`tieout agent`: what is typed at the computer beside a system. Needs no AWS."""

from __future__ import annotations

import getpass
import os
import platform
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tieout.adapters.clock import SystemClock
from tieout.agent import folder as folders
from tieout.agent import install as work
from tieout.agent.folder import Enrolment, Folder
from tieout.agent.log import logging_to
from tieout.agent.serve import LOOK_SECONDS, Agent, myself
from tieout.agent.service import SYSTEMS, service
from tieout.agent.standing import Health, Standing, standings
from tieout.cli import asking
from tieout.cli.talk import Answer, AnswerError, Code, Talk, moment, table
from tieout.connectors import provider
from tieout.domain.errors import SettingsError, TieoutError, UnavailableError
from tieout.domain.words import counted
from tieout.ports.connector import Account, Manifest

if TYPE_CHECKING:
    from rich.console import RenderableType

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy")
TICK_SECONDS = 0.5

_CODES = {Health.FINE: Code.OK, Health.STOPPED: Code.NO, Health.WAITS: Code.TRY_LATER, Health.HELP: Code.SETUP}


@dataclass(frozen=True, slots=True)
class Wish:
    """How to install.

    Attributes:
        proxy: Address of the office's proxy; None takes what the environment says.
        ca: File with further authorities to trust; None for none.
        secrets_file: JSON object of secrets by name; `-` is the standard input. Then nobody is asked.
    """

    proxy: str | None = None
    ca: Path | None = None
    secrets_file: str = ""


def folder_of(data: Path | None) -> Folder:
    """The agent's folder."""
    return Folder(data.expanduser().absolute() if data is not None else folders.here())


# Installing


def install(talk: Talk, folder: Folder, address: str, code: str, wish: Wish) -> Answer:
    """Enrol this computer, ask for what the system beside it wants to know, and say what it reaches.

    Raises:
        TieoutError: If something is missing; what was done already is kept.
    """
    proxy = wish.proxy if wish.proxy is not None else _proxy_here()
    ca_file = str(wish.ca.absolute()) if wish.ca is not None else ""
    enrolment = work.enrolled(folder, SystemClock(), address=address, code=code, proxy=proxy, ca_file=ca_file)
    name = enrolment.name
    talk.say(f"This computer is enrolled for {name} ({enrolment.title}).")
    if proxy and wish.proxy is None:
        talk.say("It uses the proxy that HTTPS_PROXY names, from now on without that variable.")
    talk.resume = f"It stays enrolled; go on with `tieout agent check {name}{_data_option(folder)}`."
    manifest, settings = _manifest(enrolment), work.settings_now(folder, enrolment)
    secrets = _secrets(manifest, enrolment, wish.secrets_file, again=settings != enrolment.settings_agreed)
    account, failure = _tried(folder, enrolment, secrets, settings)
    return _installed(folder, enrolment, manifest, account, failure)


def check(talk: Talk, folder: Folder, name: str, *, ask: bool, secrets_file: str, yes: bool) -> Answer:
    """Try the system beside this computer again, with new secrets or settings if there are any.

    Raises:
        TieoutError: If it does not work.
    """
    enrolment = _one(folder, name)
    manifest, settings = _manifest(enrolment), work.settings_now(folder, enrolment)
    is_agreed = yes or not manifest.secrets or settings == enrolment.settings_agreed
    if enrolment.settings_agreed and not is_agreed:
        _agree(talk, enrolment, settings)
    secrets = _secrets(manifest, enrolment, secrets_file, again=ask)
    account, failure = _tried(folder, enrolment, secrets, settings)
    return _installed(folder, enrolment, manifest, account, failure)


def _agree(talk: Talk, enrolment: Enrolment, settings: Mapping[str, Any]) -> None:
    former = enrolment.settings_agreed
    rows = table("setting", "until now", "from now on")
    for key in sorted({*former, *settings}):
        if former.get(key) != settings.get(key):
            rows.add_row(key, _shown(former.get(key)), _shown(settings.get(key)))
    talk.agree(
        "Use the passwords with these settings?",
        refused="Nothing was changed; the agent does not use the passwords with the new settings.",
        parts=[rows],
        why=f"The settings of {enrolment.name} were changed in the cloud. They say where the passwords are sent.",
    )


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _secrets(manifest: Manifest, enrolment: Enrolment, file: str, *, again: bool) -> dict[str, str]:
    given = asking.given(manifest, file)
    known = {name: value for name, value in enrolment.secrets.items() if name in manifest.secrets} | given
    if file:
        return known
    for name, question in manifest.secrets.items():
        if name in given or (name in known and not again):
            continue
        typed = asking.ask(question, name, kept=name in known)
        if typed:
            known[name] = typed
    return known


def _tried(
    folder: Folder, enrolment: Enrolment, secrets: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[Account | None, TieoutError | None]:
    try:
        found = work.tried(folder, SystemClock(), enrolment, provider=provider, secrets=secrets, settings=settings)
    except TieoutError as error:
        return None, error
    return found, None


def _installed(
    folder: Folder, enrolment: Enrolment, manifest: Manifest, account: Account | None, failure: TieoutError | None
) -> Answer:
    option = _data_option(folder)
    is_running = folder.is_held()

    def view() -> Iterator[RenderableType]:
        if account is not None:
            yield f"It reaches {manifest.title} ({manifest.api_version}): {account.name} (account {account.id})."
        elif failure is not None:
            yield f"{manifest.title} could not be reached from here: {failure.message}"
            yield f"Next: {failure.next_step or 'Open it, and see that its settings are right.'}"
            yield f"Then: tieout agent check {enrolment.name}{option}"
        yield f"Key and passwords are in {folder.path}, where only you may read them."
        if is_running:
            yield "The agent runs already, and works for this connection from now on."
            return
        yield "Now start the agent:"
        yield f"  tieout agent run{option}"
        yield "To have it start with the computer:"
        yield f"  tieout agent service{option}"

    return Answer(
        {
            "connection": enrolment.name,
            "provider": manifest.provider,
            "title": manifest.title,
            "api_version": manifest.api_version,
            "account": account.id if account is not None else None,
            "account_name": account.name if account is not None else None,
            "problem": None if failure is None else {"message": failure.message, "next_step": failure.next_step},
            "folder": str(folder.path),
            "running": is_running,
        },
        view,
        Code.OK if failure is None else Code.TRY_LATER if isinstance(failure, UnavailableError) else Code.SETUP,
    )


def remove(talk: Talk, folder: Folder, name: str, *, yes: bool) -> Answer:
    """Forget a connection: its key and its secrets.

    Raises:
        SettingsError: If there is no such connection, or the agent runs.
        AnswerError: If nobody agrees.
    """
    name = _one(folder, name).name
    with folder.held():
        if not yes:
            talk.agree(
                f"Forget {name}, with its key and passwords?",
                refused="Nothing was changed.",
                why="Reports that were not told yet are lost with it.",
            )
        folder.remove(name)
    return Answer({"removed": name}, lambda: iter((f"{name} is forgotten on this computer.",)))


# Running


def run(talk: Talk, folder: Folder) -> Answer:
    """Work until Ctrl-C or the service's stop.

    Raises:
        SettingsError: If nothing is enrolled, or another process runs with the folder.
    """
    talk.resume = "A job may be cut off; what became of it is found out after the next start."
    if not any(one.connection is not None for one in _enrolments(folder)):
        raise _nothing_enrolled(folder)
    with ExitStack() as stack:
        stack.enter_context(folder.held())
        try:
            stack.enter_context(logging_to(folder.log))
        except OSError:
            raise SettingsError(
                f"The log {folder.log} cannot be written.", next_step="See that the disk is not full."
            ) from None
        done = _until_stopped(folder, talk, stack)
    return Answer({"jobs": done}, lambda: iter((f"Ended in order after {counted(done, 'job')}.",)))


def _until_stopped(folder: Folder, talk: Talk, stack: ExitStack) -> int:
    """How many jobs were done until a signal came and the last one was reported."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    jobs: queue.SimpleQueue[None] = queue.SimpleQueue()
    agent = Agent(folder, provider=provider, clock=SystemClock(), tell=said.put, counted=lambda: jobs.put(None))
    stop = stack.enter_context(_stopped_by_signals())
    show = stack.enter_context(talk.progress(jobs="Jobs done"))
    talk.say(f"At work for {', '.join(folder.names())}, with {folder.path}. Ctrl-C ends it in order.")
    agent.look()
    done, look_at, is_ending = 0, time.monotonic() + LOOK_SECONDS, False
    while True:
        # In short waits: Windows hands a signal on only between them.
        is_asked = stop.wait(TICK_SECONDS)
        is_over = is_ending and agent.ended(0)
        former = done
        while not jobs.empty():
            jobs.get()
            done += 1
        if done > former:
            show("jobs", done)
        while not said.empty():
            talk.say(said.get())
        if is_over:
            return done
        if is_asked and not is_ending:
            is_ending = True
            talk.say("Ending: the job that runs is finished and reported first. Ctrl-C again ends at once.")
            agent.stop()
        if is_ending:
            agent.ended(TICK_SECONDS)
        elif time.monotonic() >= look_at:
            agent.look()
            look_at = time.monotonic() + LOOK_SECONDS


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Set by the first signal that asks to end; the second one interrupts."""
    stop = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    former = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


# Standing


def status(folder: Folder) -> Answer:
    """How the agent stands, what is wrong, and what to do.

    Raises:
        SettingsError: If nothing is enrolled, or the folder cannot be read.
    """
    version, now = myself().version, SystemClock().now()
    found = standings(folder, version=version, now=now)
    if not found:
        raise _nothing_enrolled(folder)
    is_running = folder.is_held()

    def view() -> Iterator[RenderableType]:
        yield f"The agent {'runs' if is_running else 'does not run'}; version {version}, folder {folder.path}."
        for one in found:
            yield ""
            yield from _told(one, now)
        latest = next((one.latest for one in found if one.latest), "")
        if latest:
            yield ""
            yield f"Version {latest} is there. Install it when it suits you; docs/on-premises.md says how."

    worst = max(found, key=lambda one: list(_CODES).index(one.health))
    return Answer(
        {
            "running": is_running,
            "version": version,
            "latest": next((one.latest for one in found if one.latest), None),
            "folder": str(folder.path),
            "connections": [_data(one) for one in found],
        },
        view,
        _CODES[worst.health],
    )


def _told(one: Standing, now: datetime) -> Iterator[str]:
    account = f", {one.account}" if one.account else ""
    yield f"{one.name}: {one.title}{account}"
    heard = f"{_ago(one.heard_at, now)} ({moment(one.heard_at)})" if one.heard_at is not None else "never"
    yield f"  last contact    {heard}"
    last = one.last_job
    if last is not None:
        yield f"  last job        {last.call}: {last.ended or last.state.value}, {_ago(last.at, now)}"
    yield f"  jobs            {one.jobs:,}; reports not told yet: {one.unsent:,}"
    if one.message:
        yield f"  what is wrong   {one.message}"
        yield f"  what to do      {one.next_step}"
    else:
        yield "  all is well"


def _data(one: Standing) -> dict[str, Any]:
    last = one.last_job
    return {
        "connection": one.name,
        "title": one.title,
        "address": one.address,
        "account_name": one.account or None,
        "health": one.health,
        "problem": {"code": one.code, "message": one.message, "next_step": one.next_step, "since": one.since}
        if one.message
        else None,
        "heard_at": one.heard_at,
        "last_job": None
        if last is None
        else {"call": last.call, "state": last.state, "ended": last.ended or None, "at": last.at},
        "reports_unsent": one.unsent,
        "jobs": one.jobs,
    }


def _ago(at: datetime, now: datetime) -> str:
    seconds = max(0, round((now - at).total_seconds()))
    for unit, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * unit:
            return f"{counted(seconds // unit, word)} ago"
    return f"{counted(seconds, 'second')} ago"


# Service


def service_for(folder: Folder, system: str, where: Path) -> Answer:
    """Write what the operating system wants to be told to run the agent as a service.

    Raises:
        AnswerError: If there is no such system, or the file cannot be written.
    """
    system = system or SYSTEMS.get(platform.system(), "linux")
    if system not in SYSTEMS.values():
        raise AnswerError(
            f"There is no service for {system}.", code=Code.USAGE, next_step=f"Choose {', '.join(SYSTEMS.values())}."
        )
    where = where.absolute()
    made = service(system, program=_program(), folder=folder.path, user=_user(), where=where)
    try:
        (where / made.file).write_text(made.content, made.encoding)
    except OSError as error:
        raise AnswerError(
            f"{where / made.file} cannot be written: {type(error).__name__}.",
            code=Code.SETUP,
            next_step="Name another folder with --into.",
        ) from None

    def view() -> Iterator[RenderableType]:
        yield f"Written: {where / made.file}"
        yield from made.steps

    return Answer({"system": system, "file": str(where / made.file), "steps": list(made.steps)}, view)


def _program() -> list[str]:
    """What runs this very program, by its whole path."""
    beside = Path(sys.executable).with_name("tieout.exe" if platform.system() == "Windows" else "tieout")
    if beside.exists():
        return [str(beside)]
    return [shutil.which("tieout") or "tieout"]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "root"


# The folder


def _enrolments(folder: Folder) -> list[Enrolment]:
    found = (folder.enrolment(name) for name in folder.names())
    return [one for one in found if one is not None]


def _one(folder: Folder, name: str) -> Enrolment:
    """The enrolment of this name, or of the only connection there is.

    Raises:
        SettingsError: If there is none.
    """
    fitting = [one for one in _enrolments(folder) if not name or name in {one.name, one.name.partition(".")[2]}]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(folder.names())
    if not known:
        raise _nothing_enrolled(folder)
    raise SettingsError(
        f"Which connection? This computer is enrolled for: {known}.", next_step="Name one of them, as it stands there."
    )


def _manifest(enrolment: Enrolment) -> Manifest:
    if enrolment.connection is None:
        raise SettingsError(
            f"{enrolment.name} is not enrolled yet.", next_step="Run `tieout agent install` again, with a new code."
        )
    return provider(enrolment.connection.provider).manifest


def _nothing_enrolled(folder: Folder) -> SettingsError:
    return SettingsError(
        f"This computer is not enrolled yet: there is nothing in {folder.path}.",
        next_step="Get an address and a code with `tieout connect`, and run `tieout agent install` with them; or name "
        "the folder with --data.",
    )


def _proxy_here() -> str:
    return next((os.environ[name] for name in PROXY_VARIABLES if os.environ.get(name)), "")


def _data_option(folder: Folder) -> str:
    return "" if folder.path == folders.here() else f' --data "{folder.path}"'
