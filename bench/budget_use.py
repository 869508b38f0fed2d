"""How much of the allowed rate workers use together, in simulated time, judged by the simulators' own limiter."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from bench.figure import Figure
from tests.contract.fakes import MemoryBudgetStore
from tieout.connectors.act.manifest import MANIFEST as ACT
from tieout.connectors.act.manifest import SPENDS as ACT_CALL
from tieout.connectors.quickbooks_online.manifest import BATCH_SPENDS, REQUEST_SPENDS
from tieout.connectors.quickbooks_online.manifest import MANIFEST as QUICKBOOKS
from tieout.domain.changes import Lane
from tieout.domain.errors import ThrottledError
from tieout.ports.connector import Limit, Window
from tieout.ports.http import Answer
from tieout.transport import Budget
from tieout_sandbox.simulators.limits import Throttle

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
WARM_UP_SECONDS, MEASURED_SECONDS = 60, 600
LIVE_EVERY_SECONDS = 7
TABLE_SECONDS = (0.003, 0.008)
NETWORK_SECONDS = (0.01, 0.05)
OK, REFUSED = 200, 429
TRUE_LIMITS = {"requests_per_second": 10}
"""What the provider judges by, where the manifest takes less."""


@dataclass(frozen=True, slots=True)
class Load:
    """Calls of one kind: what they spend, how long the provider takes for one, and the limit that is to be used."""

    what: str
    limits: Sequence[Limit]
    spends: Sequence[str]
    limit: str
    seconds: tuple[float, float]
    workers: Sequence[int] = (1, 8, 32)


LOADS = (
    Load("QuickBooks batches", QUICKBOOKS.limits, BATCH_SPENDS, "batches_per_minute", (0.4, 1.2)),
    # One worker alone makes no 500 calls of a fifth of a second in a minute.
    Load("QuickBooks requests", QUICKBOOKS.limits, REQUEST_SPENDS, "requests_per_minute", (0.1, 0.4), (8, 32)),
    Load("Act! calls", ACT.limits, ACT_CALL, "calls", (0.1, 0.3)),
)


def measure() -> list[Figure]:
    """Call a provider from 1, 8 and 32 workers for ten minutes of simulated time."""
    return [figure for load in LOADS for figure in (*_each_number_of_workers(load), *_live_before_backfill(load))]


def _each_number_of_workers(load: Load) -> Iterator[Figure]:
    """The worse of the two lanes for each."""
    for count in load.workers:
        runs = [Run(load, seed=count) for _ in Lane]
        for run, lane in zip(runs, Lane, strict=True):
            run.start(count, lane)
            run.go()
        what = f"{load.what}, {count} worker{'' if count == 1 else 's'}"
        yield Figure(f"{what}: allowed rate used", min(run.used_percent() for run in runs), "%", at_least=95)
        yield Figure(f"{what}: refused (429)", sum(run.refused for run in runs), "calls", at_most=0)
        yield Figure(f"{what}: table writes a call", max(run.writes_a_call() for run in runs), "writes")


def _live_before_backfill(load: Load) -> list[Figure]:
    run = Run(load, seed=0)
    run.start(32, Lane.BACKFILL)
    run.start(1, Lane.LIVE, every_seconds=LIVE_EVERY_SECONDS)
    run.go()
    what = f"{load.what}, 32 workers of a backfill and a live one"
    return [
        Figure(f"{what}: longest wait of a live call", max(run.waits[Lane.LIVE]), "s"),
        Figure(f"{what}: allowed rate used", run.used_percent(), "%", at_least=95),
        Figure(f"{what}: refused (429)", run.refused, "calls", at_most=0),
    ]


class Time:
    """Virtual time. Each worker is a thread, but only the one whose moment has come moves: every run is the same."""

    def __init__(self, seed: int) -> None:
        self.seconds = 0.0
        self.random = Random(seed)
        self._calendar: list[tuple[float, int, threading.Lock]] = []
        self._number = 0
        self._main = threading.Lock()
        self._main.acquire()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def jitter(self) -> float:
        return self.random.random()

    def sleep(self, seconds: float) -> None:
        mine = threading.Lock()
        mine.acquire()
        self._note(seconds, mine)
        self._next()
        mine.acquire()

    def between(self, least: float, most: float) -> None:
        """A while of random length passes."""
        self.sleep(self.random.uniform(least, most))

    def begin(self, work: Callable[[], None]) -> None:
        """Have a worker begin now, once `run` is called."""
        mine = threading.Lock()
        mine.acquire()

        def body() -> None:
            mine.acquire()
            work()
            self._next()

        self._note(0, mine)
        threading.Thread(target=body, daemon=True).start()

    def run(self) -> None:
        """Return once every worker has ended."""
        self._next()
        self._main.acquire()

    def _note(self, seconds: float, lock: threading.Lock) -> None:
        self._number += 1
        heapq.heappush(self._calendar, (self.seconds + seconds, self._number, lock))

    def _next(self) -> None:
        if not self._calendar:
            self._main.release()
            return
        self.seconds, _, lock = heapq.heappop(self._calendar)
        lock.release()


class SlowStore(MemoryBudgetStore):
    """A table that takes a while, and counts what it is asked to write."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self.writes = 0
        self._time = time

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
        self._time.between(*TABLE_SECONDS)
        return super().read_budget(tenant, connection)

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
        self._time.between(*TABLE_SECONDS)
        self.writes += 1
        return super().write_budget(tenant, connection, state, revision)


@dataclass
class Run:
    """Workers that make one kind of call for a while."""

    load: Load
    seed: int
    refused: int = 0
    served: int = 0
    calls: int = 0
    waits: dict[Lane, list[float]] = field(default_factory=lambda: {lane: [] for lane in Lane})

    def __post_init__(self) -> None:
        self._time = Time(self.seed)
        self._store = SlowStore(self._time)
        self._throttles = {limit.name: Throttle(limit.per_seconds) for limit in self.load.limits}
        self._open = 0

    def start(self, count: int, lane: Lane, *, every_seconds: float = 0) -> None:
        """Have workers begin; each calls as often as it may, or about every so many seconds."""
        for _ in range(count):
            self._time.begin(lambda: self._work(lane, every_seconds))

    def go(self) -> None:
        """Return after the time is over."""
        self._time.run()

    def used_percent(self) -> float:
        """Of what the provider allows, after the warm-up."""
        (limit,) = (limit for limit in self.load.limits if limit.name == self.load.limit)
        return 100 * self.served / (limit.calls * MEASURED_SECONDS / limit.per_seconds)

    def writes_a_call(self) -> float:
        """Table writes, those included that found somebody else faster."""
        return self._store.writes / self.calls

    def _work(self, lane: Lane, every_seconds: float) -> None:
        budget = Budget(self._store, "t", "c", self.load.limits, self._time)
        while self._time.seconds < WARM_UP_SECONDS + MEASURED_SECONDS:
            if every_seconds:
                self._time.between(0.5 * every_seconds, 1.5 * every_seconds)
            began = self._time.seconds
            try:
                budget.spend(self.load.spends, lane)
            except ThrottledError as error:
                self._time.sleep(error.retry_after_seconds)
                continue
            self.waits[lane].append(self._time.seconds - began)
            self._call(budget)

    def _call(self, budget: Budget) -> None:
        self.calls += 1
        self._time.between(*NETWORK_SECONDS)
        status = self._arrives()
        if status == OK:
            self._open += 1
            self._time.between(*self.load.seconds)
            self._open -= 1
        else:
            self.refused += 1
        self._time.between(*NETWORK_SECONDS)
        budget.ended(self.load.spends, Answer(status, {}, b""))

    def _arrives(self) -> int:
        for limit in self.load.limits:
            if limit.name not in self.load.spends:
                continue
            if limit.window is Window.IN_FLIGHT:
                within = self._open < limit.calls
            else:
                calls = TRUE_LIMITS.get(limit.name, limit.calls)
                within = self._throttles[limit.name].take("c", calls, self._time.now())
            if not within:
                return REFUSED
        if self._time.seconds >= WARM_UP_SECONDS:
            self.served += self._time.seconds < WARM_UP_SECONDS + MEASURED_SECONDS
        return OK
