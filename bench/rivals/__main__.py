"""Runs the field's clients and Tieout at the same simulator while answers are lost; `--json` gives one document.

Ends with 1 if Tieout doubled or lost an invoice. The figures are counts: they do not depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from operator import add

from rich.console import Console
from rich.table import Table

from bench.rivals.books import Outcome, Weather
from bench.rivals.cells import of_rival, of_tieout
from bench.rivals.clients import RIVALS

LOST = (0.0, 0.01, 0.05, 0.2)
SEEDS = (1, 2)
RECORDS = 300
WORKERS = 2

type Column = tuple[bool, float]
type Row = Mapping[Column, Outcome]

COLUMNS: Sequence[Column] = [(honoured, lost) for honoured in (True, False) for lost in LOST]
CLIENTS: Mapping[str, Callable[[Weather, int], Outcome]] = {
    **{(client.__doc__ or "").rstrip("."): partial(of_rival, client) for client in RIVALS},
    "Tieout": of_tieout,
}


def main() -> int:
    """0 if Tieout doubled and lost nothing."""
    parser = argparse.ArgumentParser(prog="make rivals", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--records", type=int, default=RECORDS, help="invoices a cell and seed, at most 4238")
    asked = parser.parse_args()
    rows = _measured(asked.records)
    if asked.json:
        print(json.dumps(_document(rows), indent=2))  # noqa: T201 - its answer
    else:
        for table in _tables(rows):
            Console(width=120).print(table)
    return any(cell.duplicates or cell.losses for cell in rows["Tieout"].values())


def _measured(records: int) -> dict[str, Row]:
    """All cells, two at a time."""
    progress = Console(stderr=True)
    rows: dict[str, Row] = {}
    # What clients log of each lost answer is no figure.
    with ProcessPoolExecutor(WORKERS, initializer=logging.disable) as pool:
        for name, run in CLIENTS.items():
            progress.print(f"[dim]{name}")
            cells = {
                (honoured, lost): [pool.submit(run, Weather(lost, honoured, seed), records) for seed in SEEDS]
                for honoured, lost in COLUMNS
            }
            rows[name] = {column: reduce(add, (each.result() for each in some)) for column, some in cells.items()}
    return rows


def _document(rows: Mapping[str, Row]) -> list[dict[str, object]]:
    return [
        {
            "client": name,
            "request_id": "honoured" if honoured else "ignored",
            "lost_answers_percent": round(lost * 100),
            "records": cell.records,
            "answers_lost": cell.answers_lost,
            "duplicates": cell.duplicates,
            "losses": cell.losses,
            "calls_per_record": round(cell.calls_per_record, 3),
        }
        for name, row in rows.items()
        for (honoured, lost), cell in row.items()
    ]


def _tables(rows: Mapping[str, Row]) -> list[Table]:
    tables = []
    for honoured in (True, False):
        records = rows["Tieout"][honoured, 0.0].records
        word = "honoured" if honoured else "ignored"
        table = Table(
            title=f"requestid {word}; of {records:,} records: duplicates, losses, calls per record (answers lost)"
        )
        table.add_column("Client")
        for lost in LOST:
            table.add_column(f"{lost:.0%} lost", justify="right")
        for name, row in rows.items():
            table.add_row(name, *(_shown(row[honoured, lost]) for lost in LOST))
        tables.append(table)
    return tables


def _shown(cell: Outcome) -> str:
    return f"{cell.duplicates}  {cell.losses}  {cell.calls_per_record:.2f} ({cell.answers_lost})"


if __name__ == "__main__":
    sys.exit(main())
