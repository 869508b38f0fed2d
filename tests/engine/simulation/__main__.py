"""`python -m tests.engine.simulation SEEDS [FIRST]`: so many seeds from FIRST on; ends with 1 if one of them fails."""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.engine.simulation.plans import Assumption
from tests.engine.simulation.simulate import run_seed, shrink, story

STORIES_MAX = 3


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(seeds: int, first: int) -> int:
    """Run them, tell the story of the first failures, and sum up."""
    counts: Counter[Assumption] = Counter()
    doubled: Counter[Assumption] = Counter()
    began, failed = time.perf_counter(), []
    calls = events = 0
    for seed in range(first, first + seeds):
        result = run_seed(seed)
        counts[result.plan.assumption] += 1
        doubled[result.plan.assumption] += result.doubles > 0
        calls, events = calls + result.calls, events + len(result.history)
        if result.broken:
            failed.append(seed)
            said = {name: found[0] for name, found in result.broken.items()}
            _say(f"seed {seed} ({result.plan.assumption}): {said}")
            if len(failed) <= STORIES_MAX:
                _say(story(shrink(result)))
        elif seeds == 1:
            _say(story(result))
    seconds = time.perf_counter() - began
    _say(f"{seeds} seeds from {first}: {len(failed)} failed; {events:,} points of I/O, {calls:,} calls of providers")
    for assumption, count in sorted(counts.items()):
        _say(f"  {assumption:32} {count:7,} seeds, {doubled[assumption]:6,} with a document created twice")
    _say(f"{seconds:.0f} s, {seeds / seconds:.0f} seeds a second")
    if failed:
        _say(f"failed: {' '.join(map(str, failed[:50]))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
