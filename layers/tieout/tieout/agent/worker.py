"""One connection's work: fetch a job, run it on the system beside us, report how it ended; one after the other.

What a crash at any step leads to is in `tieout.agent.spool`. A job runs at most once, whatever happens: it is fetched
once, and begun only after the spool says so.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from tieout.agent.spool import Report, Spool, SpoolError, Trouble
from tieout.agent.troubles import trouble_of
from tieout.agent.wire import BODY_BYTES_MAX, UPLOAD_BYTES_MAX, Bridge, RefusedError, StrangeAnswerError
from tieout.bridge.calls import UnreadableError, encode_error, run_call
from tieout.domain.errors import (
    ProviderError,
    ReconnectError,
    RejectedError,
    SettingsError,
    ThrottledError,
    TieoutError,
    UnavailableError,
    UncertainError,
)
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector

PAUSE_SECONDS_MAX = 60
PAUSE_WHEN_OTHER_IS_HEARD = 20
PUT_OFF_SECONDS = 600
WAIT_SECONDS_MAX = 60
FAILURES_TOLD = 2
"""So many in a row, of what passes by itself, before anybody is told."""

FINISH_TRIES = 3

_log = logging.getLogger("tieout.agent")


class Opens(Protocol):
    """Opens the system beside us."""

    def connector(self, settings: Mapping[str, Any] | None = None, account: str = "") -> Connector:
        """The connector for these settings and this account."""


@dataclass(frozen=True, slots=True)
class Myself:
    """What the agent says of itself.

    Attributes:
        instance: Random, made at each start of the process.
    """

    version: str
    machine: str
    system: str
    instance: str

    def told(self) -> dict[str, str]:
        """As the wire has it."""
        return {"version": self.version, "machine": self.machine, "system": self.system, "instance": self.instance}


@dataclass(frozen=True, slots=True)
class Job:
    """A call that was fetched.

    Attributes:
        body: Packed arguments; None if they are at `body_at`.
        write: It may change something.
    """

    id: str
    lease: str
    call: str
    write: bool
    begin_within_seconds: float
    body: str | None = field(default=None, repr=False)
    body_at: str = field(default="", repr=False)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Job:
        """The job as the wire has it.

        Raises:
            StrangeAnswerError: If it is none.
        """
        match given:
            case {"id": str(job_id), "lease": str(lease), "call": str(call), "write": bool(write)}:
                body, body_at = given.get("body"), given.get("body_at")
                within = given.get("begin_within_seconds")
                if isinstance(body or body_at, str) and isinstance(within, int | float):
                    return cls(job_id, lease, call, write, float(within), body, body_at or "")
        raise StrangeAnswerError(
            "The bridge sent a job that this version of the agent does not understand.",
            next_step="Install the newest version of the agent.",
        )


class Stopwatch:
    """Seconds since it was made, at least: by the wall clock too, since other clocks stand while a computer sleeps."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._began, self._began_at = monotonic(), clock.now()

    def seconds(self) -> float:
        """By the clock that ran faster: one may have been set back."""
        return max(self._monotonic() - self._began, (self._clock.now() - self._began_at).total_seconds())


class Worker:
    """Works for one connection, in the thread that made its spool.

    Args:
        name: Of the connection: `tenant.connection`.
        stopping: True once no job may be begun any more.
        tell: Called with a sentence for people when something begins or ceases to be wrong.
        counted: Called after each job.
    """

    def __init__(
        self,
        name: str,
        *,
        bridge: Bridge,
        spool: Spool,
        beside: Opens,
        myself: Myself,
        clock: Clock,
        system: str,
        stopping: Callable[[], bool],
        tell: Callable[[str], None] = lambda _: None,
        counted: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._system, self._myself = name, system, myself
        self._bridge, self._spool, self._beside = bridge, spool, beside
        self._clock, self._monotonic = clock, monotonic
        self._stopping, self._tell, self._counted = stopping, tell, counted
        self._failures = 0
        self._former = spool.former(myself.instance)
        self._announced = ""
        self._trouble: Trouble | None = None

    def turn(self) -> float:
        """Do what is due; how many seconds to wait until the next turn."""
        try:
            self._settle_left()
            self._report()
            pause = 0.0 if self._stopping() else self._work()
        except TieoutError as error:
            return self._failed(error)
        self._failures = 0
        if self._trouble is not None or self._spool.trouble is not None:
            self._well()
        return pause

    def finish(self) -> None:
        """Tell what can be told before the process ends; the rest is told after its next start."""
        for attempt in range(FINISH_TRIES):
            try:
                self._settle_left()
                self._report()
            except TieoutError as error:
                _log.warning("%s: reports stay for the next start (%s)", self._name, type(error).__name__)
                if isinstance(error, RefusedError) or attempt == FINISH_TRIES - 1:
                    return
                self._clock.sleep(1)
            else:
                return

    # Reports

    def _settle_left(self) -> None:
        """Give an end to jobs without one: of the process before, or left behind when the disk failed."""
        left = self._spool.settle_left()
        if left:
            _log.warning("%s: %d jobs were left without an end, which is told", self._name, left)

    def _report(self) -> None:
        for report in self._spool.unsent(self._clock.now()):
            try:
                self._call("report", self._content(report))
            except RefusedError as error:
                if not error.settles_report and not error.is_of_content:
                    raise
                if error.is_of_content:
                    _log.error("%s: the bridge cannot take the report of %s (%s)", self._name, report.call, error.code)
                    self._spool.put_off(report, self._clock.now() + timedelta(seconds=PUT_OFF_SECONDS))
                    continue
                _log.info("%s: the report of %s is not wanted any more (%s)", self._name, report.call, error.code)
            self._spool.told(report)

    def _content(self, report: Report) -> dict[str, Any]:
        content: dict[str, Any] = {"id": report.id, "lease": report.lease, "ended": report.ended, "body": report.body}
        # As it would stand in the request, where quotation marks take two bytes.
        if report.body is not None and len(json.dumps(report.body, ensure_ascii=False).encode()) > BODY_BYTES_MAX:
            body = report.body.encode()
            said = {"id": report.id, "agent": self._said()}
            content |= {"body": None, "body_at": self._heeding(lambda: self._bridge.upload(body, said))}
        return content

    # Jobs

    def _work(self) -> float:
        asked = Stopwatch(self._clock, self._monotonic)
        answer = self._call("lease", {"running": False})
        self._note(answer)
        given = answer.get("job")
        if given is None:
            return _wait_seconds(answer)
        job = Job.of(given)
        if not self._spool.leased(job.id, job.lease, job.call, self._clock.now()):
            _log.error("%s: a job was given twice; it does not run again", self._name)
            return _wait_seconds(answer)
        ended, body = self._ended(job, asked, answer)
        self._spool.ended(job.lease, ended, body, self._clock.now())
        _log.info("%s: %s %s after %.1f s", self._name, job.call, ended, asked.seconds())
        self._counted()
        return 0.0

    def _note(self, answer: Mapping[str, Any]) -> None:
        latest, settings = answer.get("latest"), answer.get("settings")
        if not isinstance(settings, Mapping):
            raise StrangeAnswerError("The bridge did not tell the connection's settings.")
        self._spool.remember(latest=latest if isinstance(latest, str) else "", settings=settings)
        if latest != self._announced and is_newer(str(latest), self._myself.version):
            self._announced = str(latest)
            self._say(
                f"Version {latest} of the agent is there; this is {self._myself.version}. Install it when it suits you."
            )

    def _ended(self, job: Job, asked: Stopwatch, answer: Mapping[str, Any]) -> tuple[str, str | None]:
        """How the job ended, and what is reported."""
        body = job.body
        if body is None:
            try:
                body = self._bridge.fetch(job.body_at)
            except (ProviderError, SettingsError) as error:
                _log.warning("%s: the content of %s was not there (%s)", self._name, job.call, error.detail)
                return "not_begun", None
        self._spool.begun(job.lease, self._clock.now())
        if self._stopping() or asked.seconds() > job.begin_within_seconds:
            return "not_begun", None
        return self._run(job, body, answer)

    def _run(self, job: Job, body: str, answer: Mapping[str, Any]) -> tuple[str, str]:
        try:
            connector = self._beside.connector(answer["settings"], str(answer.get("account", "")))
            result = run_call(connector, job.call, body)
            size = len(result.encode())
        except UnreadableError:
            error: ProviderError | SettingsError = UnavailableError(
                f"The agent at {self._myself.machine} is too old for what it was asked.",
                next_step=f"Install the newest version of the agent on {self._myself.machine}.",
                detail=f"version {self._myself.version}",
            )
        except (ProviderError, SettingsError) as known:
            error = known
            self._system_is(known)
        except Exception as bug:  # noqa: BLE001 - the outermost edge: the agent goes on, and no text of it leaves
            log_bug(f"{self._name}: {job.call} failed", bug)
            error = self._unexpected(job, bug)
        else:
            self._system_is(None)
            if size <= UPLOAD_BYTES_MAX:
                return "done", result
            error = _too_large(job)
        _log.info("%s: %s failed with %s", self._name, job.call, type(error).__name__)
        return "failed", encode_error(error)

    def _system_is(self, error: TieoutError | None) -> None:
        """Note what keeps the system beside us from being asked. Errors of single records are no news here."""
        if isinstance(error, ThrottledError) or not isinstance(
            error, UnavailableError | ReconnectError | SettingsError | None
        ):
            return
        told = None if error is None else (error.message, error.next_step)
        if told != self._spool.system:
            self._spool.set_system(told, self._clock.now())
            self._say(*(told or ("The system beside it answers again.",)))

    def _unexpected(self, job: Job, bug: Exception) -> ProviderError:
        message = f"The agent at {self._myself.machine} failed while it worked; its log says where."
        kind = UncertainError if job.write else UnavailableError
        return kind(message, detail=type(bug).__name__)

    # Calls

    def _call(self, call: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._heeding(lambda: self._bridge.call(call, {**content, "agent": self._said()}))

    def _said(self) -> dict[str, str]:
        """What is said of us with every call; until one is accepted, which process before us this one replaces."""
        replaces = {"replaces": self._former[0]} if self._former else {}
        return self._myself.told() | replaces

    def _heeding[Got](self, send: Callable[[], Got]) -> Got:
        try:
            got = send()
        except RefusedError as error:
            if error.code == "replayed":
                self._heed_replayed(error)
            raise
        self._spool.heard(self._myself.instance, self._clock.now())
        self._former = []
        return got

    def _heed_replayed(self, error: RefusedError) -> None:
        """Numbers that we never used were seen: somebody else has our key. One that we did use was just repeated.

        Raises:
            UnavailableError: In the second case: a proxy on the way sent the call twice, and the next one is welcome.
        """
        seen = error.facts.get("sequence")
        if isinstance(seen, int) and seen <= self._spool.sequence and not self._spool.outrun:
            raise UnavailableError("Something on the way sent a call twice.", detail="replayed") from None
        self._spool.set_outrun()

    def _failed(self, error: TieoutError) -> float:
        """Take note of what is wrong; how many seconds to wait."""
        self._failures += 1
        if isinstance(error, RefusedError) and error.code == "second_agent" and len(self._former) > 1:
            # One of our own former processes was heard last, and not the one that we named.
            self._former = self._former[1:]
            return 0.0
        trouble = trouble_of(error, name=self._name, system=self._system, now=self._clock.now())
        self._remember(trouble, error)
        if isinstance(error, RefusedError):
            after = error.facts.get("retry_after_seconds")
            if isinstance(after, int | float):
                return min(max(float(after), 1.0), PAUSE_SECONDS_MAX)
            if error.code == "second_agent":
                self._former = self._spool.former(self._myself.instance)
                return PAUSE_WHEN_OTHER_IS_HEARD
        if not trouble.passes:
            return PAUSE_SECONDS_MAX
        return min(PAUSE_SECONDS_MAX, 2.0 ** min(self._failures - 1, 10)) * (0.5 + self._clock.jitter() / 2)

    def _remember(self, trouble: Trouble, error: TieoutError) -> None:
        former, self._trouble = self._trouble, trouble
        if former is not None and former.code == trouble.code:
            self._trouble = former
            return
        if trouble.passes and self._failures < FAILURES_TOLD:
            self._trouble = former
            return
        self._say(trouble.message, trouble.next_step)
        _log.warning("%s: %s (%s)", self._name, trouble.code, error.detail)
        with suppress(SpoolError):  # then the disk is what is wrong, and it was said
            self._spool.set_trouble(trouble)

    def _well(self) -> None:
        if self._trouble is not None:
            self._say("All is well again.")
        self._trouble = None
        self._spool.set_trouble(None)

    def _say(self, *sentences: str) -> None:
        self._tell(f"{self._name}: {' '.join(sentence for sentence in sentences if sentence)}")


def is_newer(one: str, other: str) -> bool:
    """True if the first version is newer; False too if one of them is no version."""
    try:
        return _numbers(one) > _numbers(other)
    except ValueError:
        return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _wait_seconds(answer: Mapping[str, Any]) -> float:
    wait = answer.get("wait_seconds")
    return min(max(float(wait), 0.0), WAIT_SECONDS_MAX) if isinstance(wait, int | float) else 10.0


def _too_large(job: Job) -> ProviderError:
    megabytes = UPLOAD_BYTES_MAX // 1_000_000
    message = f"What {job.call} came to is larger than the {megabytes} MB that the bridge takes."
    return UncertainError(message) if job.write else RejectedError(message, code="too_large")


def log_bug(what: str, bug: BaseException) -> None:
    """Log an error that nobody expected: its type and where it was, never its text, which may hold what was read."""
    places = [f"{place.filename}:{place.lineno} {place.name}" for place in traceback.extract_tb(bug.__traceback__)]
    _log.error("%s with %s at %s", what, type(bug).__name__, " < ".join(reversed(places)))
