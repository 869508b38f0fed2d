"""Many seeds, in one process or in several, and what they came to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from tests.engine.simulation.simulate import Result, run_seed

CHUNK = 20
AHEAD = 3  # chunks a process has before it, so that none waits and none is far ahead


@dataclass(slots=True)
class Tally:
    """What some seeds came to.

    Attributes:
        failed: What was broken first, by oracle, by seed.
        counts, doubled: Seeds, and seeds in which a document was created twice, by assumption.
        real: Seeds with the real connectors.
        deletions: How many deletions were looked at a day later.
        faults: How often each kind of fault was met at each point.
        deeds: How often people did each thing.
        pairs: Seeds of the rotation, by pair.
        met: In how many seeds each capability of the rotation was met.
    """

    seeds: int = 0
    real: int = 0
    failed: dict[int, dict[str, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    doubled: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    events: int = 0
    calls: int = 0
    parked: int = 0
    deletions: int = 0

    def add(self, result: Result) -> None:
        """Count one more seed."""
        plan = result.plan
        self.seeds += 1
        self.real += plan.real
        self.counts[plan.assumption] += 1
        self.doubled[plan.assumption] += result.doubles > 0
        self.deeds.update(step.action for step in plan.steps)
        self.faults.update((event.point, event.fault) for event in result.history if event.fault is not None)
        if plan.rotation is not None:
            self.pairs[plan.rotation.pair] += 1
        self.met.update(result.met)
        self.events, self.calls = self.events + len(result.history), self.calls + result.calls
        self.parked += result.parked
        self.deletions += result.deletions
        if result.broken:
            self.failed[plan.seed] = {name: found[0] for name, found in result.broken.items()}

    def merge(self, other: Tally) -> None:
        """Count those of another too."""
        self.seeds, self.real = self.seeds + other.seeds, self.real + other.real
        self.events, self.calls = self.events + other.events, self.calls + other.calls
        self.parked += other.parked
        self.deletions += other.deletions
        self.failed |= other.failed
        for name in ("counts", "doubled", "faults", "deeds", "pairs", "met"):
            getattr(self, name).update(getattr(other, name))

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "seeds": self.seeds,
            "with_real_connectors": self.real,
            "failed": {str(seed): said for seed, said in sorted(self.failed.items())},
            "assumptions": {
                name: {"seeds": count, "doubled": self.doubled[name]} for name, count in sorted(self.counts.items())
            },
            "points_of_io": self.events,
            "calls": self.calls,
            "parked": self.parked,
            "deletions_found_within_a_day": self.deletions,
            "faults": {f"{point}: {fault}": count for (point, fault), count in sorted(self.faults.items())},
            "deeds": dict(sorted(self.deeds.items())),
            "pairs": dict(sorted(self.pairs.items())),
            "capabilities": dict(sorted(self.met.items())),
        }


def tally(seeds: Sequence[int]) -> Tally:
    """The seeds one after the other."""
    found = Tally()
    for seed in seeds:
        found.add(run_seed(seed))
    return found


def tallies(seeds: range, jobs: int) -> Generator[Tally]:
    """The seeds, some at a time as they are done, in so many processes; close it to end early."""
    chunks = iter([seeds[begin : begin + CHUNK] for begin in range(0, len(seeds), CHUNK)])
    if jobs == 1:
        yield from map(tally, chunks)
        return
    # Spawned: a process that has threads cannot be forked.
    spawned = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, spawned, initializer=_begin, initargs=(spawned.Value("i", 0),))
    running: set[Future[Tally]] = set()
    try:
        for chunk in chunks:
            running.add(pool.submit(tally, chunk))
            if len(running) >= jobs * AHEAD:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (one.result() for one in done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(begun: Synchronized[int]) -> None:
    """Leave interrupts to the parent, and stay on one processor: threads that take turns lose a third between two."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        with begun.get_lock():
            mine, begun.value = begun.value, begun.value + 1
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[mine % len(processors)]})
