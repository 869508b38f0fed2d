"""Running seeds, and making what fails short."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from tests.engine.simulation.oracles import ORACLES, doubles
from tests.engine.simulation.plans import Plan, plan_of
from tests.engine.simulation.rotation import Met
from tests.engine.simulation.runtime import Event
from tests.engine.simulation.universe import Universe

SHRINK_RUNS_MAX = 400
HISTORY_MAX = 120


@dataclass(frozen=True, slots=True)
class Result:
    """What one run showed.

    Attributes:
        broken: What was violated, by oracle.
        doubles: Documents created more than once, violation or not.
        deletions: How many deletions were looked at a day later.
        met: What of the rotation's capabilities was met.
    """

    plan: Plan
    broken: dict[str, list[str]]
    history: list[Event]
    doubles: int
    parked: int
    calls: int
    deletions: int
    met: frozenset[Met]

    @property
    def digest(self) -> str:
        """Equal for equal histories."""
        return hashlib.sha256("\n".join(map(str, self.history)).encode()).hexdigest()


def run(plan: Plan) -> Result:
    """The plan carried out, and judged."""
    universe = Universe(plan)
    universe.run()
    broken = {name: found for name, oracle in ORACLES.items() if (found := list(oracle(universe)))}
    return Result(
        plan,
        broken,
        universe.runtime.history,
        doubles=len(list(doubles(universe))),
        parked=sum(link.unsynced is not None for link in universe.table.links.values()),
        calls=sum(calls for calls, _ in universe.busiest),
        deletions=universe.deletions,
        met=frozenset(met for met, count in universe.met.items() if count and plan.rotation is not None),
    )


def shrink(result: Result, *, runs_max: int = SHRINK_RUNS_MAX) -> Result:
    """The shortest run found that breaks the same oracle: steps and faults are left out while it still does."""
    shrinker = _Shrinker(result, runs_max)
    for name in ("steps", "faults", "steps"):
        shrinker.leave_out(name)
    for simpler in ({"duplicates": 0.0}, {"webhooks": 0.0}, {"adoptable": False}, {"disorder_seconds": 0.1}):
        shrinker.takes(replace(shrinker.shortest.plan, **simpler))
    return shrinker.shortest


class _Shrinker:
    """Holds the shortest plan so far that still fails."""

    def __init__(self, result: Result, runs: int) -> None:
        self.shortest = result
        self._oracle = next(iter(result.broken))
        self._runs = runs

    def takes(self, plan: Plan) -> bool:
        """True if the plan fails in the same way: then it is the shortest now."""
        if self._runs == 0:
            return False
        self._runs -= 1
        tried = run(plan)
        if self._oracle in tried.broken:
            self.shortest = tried
        return self._oracle in tried.broken

    def leave_out(self, name: str) -> None:
        """All of the plan's steps or faults that are not needed: large parts first, then one by one."""
        size = len(getattr(self.shortest.plan, name))
        while size:
            begin = 0
            while begin < len(every := getattr(self.shortest.plan, name)):
                if not self.takes(replace(self.shortest.plan, **{name: every[:begin] + every[begin + size :]})):
                    begin += size
            size //= 2


def story(result: Result) -> str:
    """The run in words: what people did, what went wrong, each passage of a point of I/O, and what was broken."""
    plan = result.plan
    lines = [
        f"seed {plan.seed}: {plan.assumption}; search lags {plan.lag_seconds:.0f} s; policies: {plan.policies}",
        f"providers: {plan.rotation or 'the first model'}",
        "again with:",
        f"make simulate SEEDS=1 FIRST={plan.seed}",
        "",
        *map(str, plan.steps),
        "",
    ]
    shown = [event for event in result.history if _tells(event)]
    if len(shown) > HISTORY_MAX:
        lines += [*map(str, shown[:HISTORY_MAX]), f"... and {len(shown) - HISTORY_MAX} more"]
    else:
        lines += map(str, shown)
    lines += [f"BROKEN {name}: {one}" for name, found in result.broken.items() for one in found[:5]]
    return "\n".join(lines)


def _tells(event: Event) -> bool:
    """False for polls, sweeps and budgets in which nothing went wrong."""
    usual = event.worker.startswith(("poll", "sweep", "alerts")) or event.point == "table.budget"
    return event.fault is not None or not usual


def run_seed(seed: int) -> Result:
    """One seed, carried out and judged."""
    return run(plan_of(seed))
