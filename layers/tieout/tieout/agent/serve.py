"""The running agent: a thread for each connection that this computer is enrolled for."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import platform
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from tieout.agent.beside import Beside
from tieout.agent.folder import Enrolment, Folder
from tieout.agent.spool import Spool
from tieout.agent.wire import Bridge
from tieout.agent.worker import Myself, Worker, log_bug
from tieout.domain.errors import SettingsError, TieoutError
from tieout.ports.clock import Clock
from tieout.ports.connector import Provider
from tieout.transport import RequestsHttp
from tieout.transport.http import office_session

LOOK_SECONDS = 5
"""So often it is looked for new enrolments, and for threads that ended."""

BEGIN_AGAIN_SECONDS = 60
END_SECONDS = 1
TEXT_LENGTH_MAX = 100

_log = logging.getLogger("tieout.agent")


@dataclass(slots=True)
class _Served:
    """A thread at work.

    Attributes:
        binding: What it was begun with; with another it has to begin anew.
    """

    binding: tuple[str, str, str, str]
    thread: threading.Thread
    stop: threading.Event = field(default_factory=threading.Event)


class Agent:
    """Serves every connection of a folder until it is told to stop.

    Args:
        folder: Held by this process.
        provider: Finds a provider by name.
        tell: Called with sentences for people, from any thread.
        counted: Called after each job, from any thread.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        provider: Callable[[str], Provider],
        clock: Clock,
        tell: Callable[[str], None],
        counted: Callable[[], None],
    ) -> None:
        self._folder, self._provider, self._clock = folder, provider, clock
        self._tell, self._counted = tell, counted
        self._myself = myself()
        self._stop = threading.Event()
        self._served: dict[str, _Served] = {}
        self._told: set[str] = set()

    def stop(self) -> None:
        """Begin no job any more; `ended` tells when the last one is reported."""
        self._stop.set()
        for served in self._served.values():
            served.stop.set()

    def ended(self, wait_seconds: float) -> bool:
        """True if no thread is at work, after waiting so long at most."""
        for served in self._served.values():
            served.thread.join(wait_seconds / max(len(self._served), 1))
        return not any(served.thread.is_alive() for served in self._served.values())

    def look(self) -> int:
        """Begin to serve what is new, end what is no more; how many connections are served.

        Raises:
            SettingsError: If the folder cannot be read.
        """
        wanted = {name: one for name in self._folder.names() if (one := self._enrolment(name)) is not None}
        for name, served in list(self._served.items()):
            if name not in wanted or served.binding != _binding(wanted[name]):
                served.stop.set()
                served.thread.join(END_SECONDS)
                if not served.thread.is_alive():  # else it still works at a job, and the next look begins anew
                    del self._served[name]
            elif not served.thread.is_alive():
                del self._served[name]
        for name, enrolment in wanted.items():
            if name not in self._served and not self._stop.is_set():
                self._begin(name, enrolment)
        return len(self._served)

    def _enrolment(self, name: str) -> Enrolment | None:
        """What binds us to the connection; None if it is not done, or cannot be read, which is told once."""
        try:
            enrolment = self._folder.enrolment(name)
        except SettingsError as error:
            if name not in self._told:
                self._told.add(name)
                _log.error("%s cannot be served: its enrolment cannot be read (%s)", name, error.detail)
                self._tell(f"{name}: {error.message} {error.next_step}")
            return None
        self._told.discard(name)
        return enrolment if enrolment is not None and enrolment.connection is not None else None

    def _begin(self, name: str, enrolment: Enrolment) -> None:
        stop = threading.Event()
        # A daemon, so that a second Ctrl-C ends the process whatever the thread waits for.
        thread = threading.Thread(target=self._serve, args=(name, enrolment, stop), name=name, daemon=True)
        self._served[name] = _Served(_binding(enrolment), thread, stop)
        thread.start()

    def _serve(self, name: str, enrolment: Enrolment, stop: threading.Event) -> None:
        try:
            with Spool(self._folder.spool(name)) as spool:
                self._work(name, enrolment, spool, stop)
        except TieoutError as error:
            _log.error("%s cannot be served: %s (%s)", name, type(error).__name__, error.detail)
            self._tell(f"{name}: {error.message} {error.next_step}".rstrip())
        except Exception as bug:  # noqa: BLE001 - the outermost edge of the thread, which begins again
            log_bug(f"{name} stopped", bug)
            self._tell(f"{name}: the agent stumbled ({type(bug).__name__}), and tries again in a minute.")
        else:
            return
        stop.wait(BEGIN_AGAIN_SECONDS)

    def _work(self, name: str, enrolment: Enrolment, spool: Spool, stop: threading.Event) -> None:
        spool.start(
            key_hash=hashlib.sha256(enrolment.key.encode()).hexdigest(),
            instance=self._myself.instance,
            sequence=enrolment.sequence,
        )
        with office_session(proxy=enrolment.proxy, ca_file=enrolment.ca_file) as session:
            worker = Worker(
                name,
                bridge=Bridge(
                    RequestsHttp(lambda _: None, clock=self._clock, session=session),
                    enrolment.address,
                    key=enrolment.key,
                    next_sequence=spool.next_sequence,
                    clock=self._clock,
                ),
                spool=spool,
                beside=Beside(self._folder, name, provider=self._provider, clock=self._clock),
                myself=self._myself,
                clock=self._clock,
                system=self._folder.system,
                stopping=stop.is_set,
                tell=self._tell,
                counted=self._counted,
            )
            _log.info("%s is served by version %s", name, self._myself.version)
            while not stop.is_set():
                stop.wait(worker.turn())
            worker.finish()
            _log.info("%s is no longer served", name)


def myself() -> Myself:
    """What this process says of itself."""
    return Myself(
        version=importlib.metadata.version("tieout"),
        machine=platform.node()[:TEXT_LENGTH_MAX] or "unknown",
        system=_system()[:TEXT_LENGTH_MAX],
        instance=uuid.uuid4().hex,
    )


def _system() -> str:
    system = platform.system()
    if system == "Linux":
        try:
            return platform.freedesktop_os_release().get("PRETTY_NAME", system)
        except OSError:
            return f"{system} {platform.release()}"
    if system == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    return f"{system} {platform.release()}"


def _binding(enrolment: Enrolment) -> tuple[str, str, str, str]:
    return enrolment.address, enrolment.key, enrolment.proxy, enrolment.ca_file
