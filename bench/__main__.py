"""Runs every benchmark and prints its figures beside their goals; `--json` gives them as one document."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from bench import audit_trail, budget_use, engine_time, file_rows, history, matching, start_time, webhook_time
from bench.figure import Figure
from bench.rivals import cells

BENCHMARKS: Sequence[Callable[[], Sequence[Figure]]] = (
    history.measure,
    budget_use.measure,
    cells.measure,
    engine_time.measure,
    start_time.measure,
    webhook_time.measure,
    matching.measure,
    audit_trail.measure,
    file_rows.measure,
)


def main() -> int:
    """0: a missed goal is a figure to look at, not a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    as_json = parser.parse_args().json
    progress = Console(stderr=True)
    logging.disable()  # the functions' logs are not figures
    figures: list[Figure] = []
    for benchmark in BENCHMARKS:
        progress.print(f"[dim]{(benchmark.__doc__ or '').splitlines()[0]}")
        figures += benchmark()
    if as_json:
        print(json.dumps([figure.as_json() for figure in figures], indent=2))  # noqa: T201 - its answer
        return 0
    table = Table("What", "Figure", "Goal", "")
    for figure in figures:
        table.add_row(figure.what, figure.shown(), figure.goal_shown(), figure.verdict())
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
