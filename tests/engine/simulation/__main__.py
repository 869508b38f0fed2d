"""`python -m tests.engine.simulation SEEDS [FIRST] [--jobs N] [--summary FILE]`: so many seeds from FIRST on.

Ends with 1 if a seed failed, and with 130 after Ctrl-C, which leaves what was found so far.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

from tests.engine.simulation.campaign import Tally, tallies
from tests.engine.simulation.simulate import run_seed, shrink, story

LISTED_MAX = 50
PROGRESS_SECONDS = 10
INTERRUPTED = 130


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: argparse.Namespace) -> int:
    """Run them, say how far they are, sum up, and tell the story of the first that failed."""
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if len(seeds) == 1:
        result = run_seed(seeds[0])
        _say(story(shrink(result) if result.broken else result))
        return 1 if result.broken else 0
    began, found, interrupted = time.perf_counter(), Tally(), False
    with contextlib.closing(tallies(seeds, arguments.jobs)) as parts:
        told = began
        try:
            for part in parts:
                found.merge(part)
                for seed, said in part.failed.items():
                    _say(f"seed {seed}: {said}")
                if time.perf_counter() - told > PROGRESS_SECONDS:
                    told = time.perf_counter()
                    _say(f"{found.seeds:,} of {len(seeds):,} seeds, {len(found.failed)} failed, {told - began:.0f} s")
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.perf_counter() - began
    _say(_summed_up(found, arguments.first, seconds))
    if arguments.summary:
        held = {"first": arguments.first, "seconds": round(seconds), "interrupted": interrupted, **found.as_json()}
        Path(arguments.summary).write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    if interrupted:
        return INTERRUPTED
    if found.failed:
        _say(story(shrink(run_seed(min(found.failed)))))
    return 1 if found.failed else 0


def _summed_up(found: Tally, first: int, seconds: float) -> str:
    head = f"{found.seeds:,} seeds from {first}, {found.real:,} of them with the real connectors"
    done = (
        f"{found.events:,} points of I/O, {sum(found.faults.values()):,} faults met, {found.calls:,} calls of providers"
    )
    lines = [f"{head}: {len(found.failed)} failed; {done}"]
    lines += [
        f"  {assumption:32} {count:7,} seeds, {found.doubled[assumption]:6,} with a document created twice"
        for assumption, count in sorted(found.counts.items())
    ]
    lines.append(f"{seconds:.0f} s, {found.seeds / seconds:.0f} seeds a second")
    if found.failed:
        lines.append(f"failed: {' '.join(map(str, sorted(found.failed)[:LISTED_MAX]))}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description="Seeds of the simulation; one alone is told.")
    parser.add_argument("seeds", type=int)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--jobs", type=int, default=1, help="so many processes")
    parser.add_argument("--summary", default="", help="a file for the figures, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(_arguments()))
