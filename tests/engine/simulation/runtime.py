"""Virtual time, and workers that take turns: one seed decides who goes on, who is killed and who is frozen.

Each worker runs on a thread of its own, but only the one that holds the baton moves. It hands the baton back at a point
of I/O if something else is due before its answer; so every order of events can happen, and each can be had again.
"""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
IO_MAX = 30_000
DAYS_MAX = 2
WORKER_SECONDS = 120
FREEZE_SECONDS = (20, 100, 250, 900)
SLOW_SECONDS = (6, 15, 28)  # less than what a call waits for its answer
JUMP_SECONDS = (-0.5, 2.0, 5.0)  # a clock that was found wrong is put forward at once, and back only a little


class FaultKind(StrEnum):
    """What may happen at a point of I/O."""

    KILL_BEFORE = "killed before"
    KILL_AFTER = "killed after"
    FREEZE_BEFORE = "frozen before"
    FREEZE_AFTER = "frozen after"
    LOST = "done, answer lost"
    VANISHED = "not done, answer lost"
    LATE = "answer lost, done later"
    THROTTLE = "throttled"
    DOWN = "down"
    REFUSE = "refused"
    SLOW = "answered late"
    GARBLE = "answer garbled"
    CANCEL = "transaction cancelled"
    JUMP = "clock jumps"
    UNREACHED = "not reached"
    FORGET = "idempotency key forgotten"


@dataclass(frozen=True, slots=True)
class Fault:
    """The `nth` passage of `point` goes wrong."""

    point: str
    nth: int
    kind: FaultKind


@dataclass(frozen=True, slots=True)
class Event:
    """One passage of a point of I/O, for the history."""

    at: float
    worker: str
    point: str
    detail: str
    fault: FaultKind | None

    def __str__(self) -> str:
        fault = f"  <-- {self.fault.value}" if self.fault is not None else ""
        return f"{self.at:10.2f}s  {self.worker:14} {self.point:16} {self.detail}{fault}"


class Killed(BaseException):
    """The worker's process ended here."""


class Runaway(BaseException):
    """More I/O than any run needs."""


class _Carrier:
    """A thread that is used again and again."""

    def __init__(self) -> None:
        self.go = threading.Lock()
        self.go.acquire()
        self.body: Callable[[], None] = lambda: None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.go.acquire()
            self.body()


_idle: list[_Carrier] = []


@dataclass(eq=False, slots=True)
class Worker:
    """One run of a function."""

    name: str
    deadline: float
    ends_at: float
    skew_seconds: float = 0.0
    calls: int = 0
    killed: bool = False
    carrier: _Carrier = field(default_factory=lambda: _idle.pop() if _idle else _Carrier())


class Runtime:
    """The clock, the calendar of what happens when, and the workers."""

    def __init__(
        self,
        seed: int,
        faults: Sequence[Fault],
        *,
        latency_seconds: float,
        zombies: bool,
        start: datetime = START,
        skew_seconds: float = 0.0,
        days_max: float = DAYS_MAX,
    ) -> None:
        self.random = Random(f"{seed}/run")
        self.start_at, self._skew_seconds, self._days_max = start, skew_seconds, days_max
        self.seconds = 0.0
        self.history: list[Event] = []
        self.bugs: list[str] = []
        self.outlived: set[str] = set()
        self.faulty = True
        self.current: Worker | None = None
        self._zombies, self._latency_seconds = zombies, latency_seconds
        self._faults = {(fault.point, fault.nth): fault.kind for fault in faults}
        self._passed: dict[str, int] = defaultdict(int)
        self._calendar: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._workers: dict[str, Worker] = {}
        self._back = threading.Lock()
        self._back.acquire()
        self._closed = False

    # Clock (implements `tieout.ports.clock.Clock`)

    def now(self) -> datetime:
        """What the running worker's own clock says, which may be a little wrong."""
        skew = self.current.skew_seconds if self.current is not None else 0.0
        return self.start_at + timedelta(seconds=self.seconds + skew)

    def true_now(self) -> datetime:
        """The time outside."""
        return self.start_at + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self._pass(seconds)

    def jitter(self) -> float:
        return self.random.random()

    # Calendar

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it `seconds` from now."""
        self._number += 1
        heapq.heappush(self._calendar, (self.seconds + seconds, self._number, act))

    def run(self) -> None:
        """Until nothing is left to happen, or the days are over."""
        while self._calendar and self.seconds < self._days_max * 86_400:
            at, _, act = heapq.heappop(self._calendar)
            self.seconds = max(self.seconds, at)
            act()

    def close(self) -> None:
        """End every worker that still stands somewhere."""
        self._closed = True
        for worker in list(self._workers.values()):
            self._resume(worker)

    # Workers

    def start(self, name: str, body: Callable[[], None], *, then: Callable[[], None] = lambda: None) -> None:
        """Run `body` as a function would: it may be killed or frozen at any I/O; `then` comes after its end."""
        self._number += 1
        skew = self.random.uniform(-self._skew_seconds, self._skew_seconds) if self._skew_seconds else 0.0
        ends_at = self.seconds + WORKER_SECONDS
        worker = Worker(f"{name}-{self._number}", ends_at, ends_at, skew)
        self._workers[worker.name] = worker

        def whole() -> None:
            try:
                body()
            except Killed:
                worker.killed = True
            except BaseException as error:  # noqa: BLE001 - whatever it is, the run has to tell of it
                self.bugs.append(f"{worker.name}: {type(error).__name__}: {error}")
            del self._workers[worker.name]
            if not self._closed:
                self.after(0, then)
            _idle.append(worker.carrier)
            self._back.release()

        worker.carrier.body = whole
        self._resume(worker)

    def _resume(self, worker: Worker) -> None:
        self.current = worker
        worker.carrier.go.release()
        self._back.acquire()
        self.current = None

    def is_running(self, worker: Worker) -> bool:
        """True until it has ended, in whatever way."""
        return self._workers.get(worker.name) is worker

    def left_seconds(self) -> float:
        """What the running worker has left of its time."""
        return self.current.deadline - self.seconds if self.current is not None else WORKER_SECONDS

    # Points of I/O

    def enter(self, point: str, detail: str = "", *, slow: bool = False) -> FaultKind | None:
        """The request is on its way; the fault, if there is one, for what stands behind the point to act on."""
        worker = self.current
        if worker is None:
            return None
        if len(self.history) >= IO_MAX:
            raise Runaway("more I/O than any run needs")
        fault = None
        if self.faulty:
            self._passed[point] += 1
            fault = self._faults.get((point, self._passed[point]))
        self.history.append(Event(self.seconds, worker.name, point, detail, fault))
        self._pass(self.random.random() * (self._latency_seconds if slow else 0.05))
        if fault is FaultKind.KILL_BEFORE:
            raise Killed
        if fault is FaultKind.FREEZE_BEFORE:
            self._freeze(worker)
        if fault is FaultKind.JUMP:
            worker.skew_seconds += self.random.choice(JUMP_SECONDS)
        if self.seconds > worker.ends_at:
            self.outlived.add(worker.name)
        return fault

    def leave(self, fault: FaultKind | None) -> None:
        """The answer is on its way."""
        worker = self.current
        if worker is None:
            return
        if fault is FaultKind.KILL_AFTER:
            raise Killed
        if fault is FaultKind.FREEZE_AFTER:
            self._freeze(worker)
        if fault is FaultKind.SLOW:
            self._pass(self.random.choice(SLOW_SECONDS))

    def _freeze(self, worker: Worker) -> None:
        seconds = self.random.choice(FREEZE_SECONDS)
        if self._zombies:
            worker.deadline += seconds
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        """Time passes; whatever is due meanwhile happens, and a worker whose time is over is gone."""
        worker, until = self.current, self.seconds + seconds
        if worker is None:
            self.seconds = until
            return
        if self._calendar and self._calendar[0][0] <= until:
            self.after(seconds, lambda: self._resume(worker))
            self._back.release()
            worker.carrier.go.acquire()
            if self._closed:
                raise Killed
        else:
            self.seconds = until
        if self.seconds > worker.deadline:
            raise Killed
