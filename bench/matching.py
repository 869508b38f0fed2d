"""How well customers are matched, on the labelled set in `tests/data/matching`."""

from __future__ import annotations

import sys
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from bench.figure import Figure
from tests.unit.matching.labelled import Part, generated
from tests.unit.matching.measured import Measured, measured

EACH = {Part.TUNED: 100, Part.HELD_OUT: 300}
ENDS = ("adopted", "asked", "created", "MISSED", "WRONG")


def measure() -> list[Figure]:
    """Match 15,900 labelled customers: precision, recall, what is left to people (half a minute)."""
    figures: list[Figure] = []
    for part, each in EACH.items():
        result = measured(generated(part, each))
        _show(part, result)
        name = part.value.replace("_", " ")
        figures += [
            Figure(f"matching ({name}): adopted without a person", result.adopted, f"of {result.cases:,}"),
            Figure(f"matching ({name}): adopted wrongly, share", _share(1 - result.precision), at_most=0.001),
            Figure(f"matching ({name}): precision at 95 % confidence", _share(result.precision_at_least)),
            Figure(f"matching ({name}): recall of adoption", _share(result.recall)),
            Figure(f"matching ({name}): left to a person, share", _share(result.reviewed)),
            Figure(
                f"matching ({name}): created though it was there, share", _share(Decimal(result.missed) / result.there)
            ),
        ]
    return figures


def _share(value: Decimal) -> float:
    return round(float(value), 5)


def _show(part: Part, result: Measured) -> None:
    """What became of each perturbation, on standard error beside the progress."""
    table = Table(f"{part.value}: perturbation", *ENDS)
    for name, ends in result.by_perturbation.items():
        table.add_row(name, *(str(ends[end] or "") for end in ENDS))
    Console(file=sys.stderr).print(table)
