"""Rows of cells under titles: what CSV files and workbooks have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tieout.files.source import Choices, FileError, Finding, Limits, Row, titles_of, too_long
from tieout.files.titles import known_titles

type Cells = list[str | None]

SAMPLE_ROWS = 50
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PREAMBLE_WIDTH = 3


@dataclass(frozen=True, slots=True)
class Heading:
    """The titles of a table, and where they stand."""

    titles: tuple[str, ...]
    row: Finding
    warnings: tuple[str, ...]


def heading_of(sample: Sequence[tuple[int, Cells]], choices: Choices, limits: Limits) -> Heading:
    """The titles.

    Args:
        sample: The first rows that are not blank, with their numbers.
        choices: May name the row.
        limits: May refuse the number of columns.

    Raises:
        FileError: If there are no rows, or the row that was chosen is blank.
    """
    if not sample:
        raise FileError("The file is empty, or has only blank lines.", next_step="Export it again.")
    row = _header_row(sample, choices)
    number = int(row.value or 0)
    found = dict(sample).get(number)
    if number and found is None:
        raise FileError(f"Row {number} holds no titles.", next_step="Choose the row that does, or 0 if there is none.")
    titles, warnings = titles_of(found or [None] * max(len(cells) for _, cells in sample), limits)
    if not number:
        warnings = ("The file has no titles: its columns are named by their place.",)
    return Heading(titles, row, warnings)


def rows_of(
    records: Iterator[tuple[int, Cells, str]], heading: Heading, limits: Limits, *, ragged: bool = False
) -> Iterator[Row]:
    """The rows below the titles that are not blank.

    Args:
        records: Number, cells and problem of each row; a blank one has no cells.
        heading: The titles.
        limits: May refuse the length of a cell.
        ragged: Whether a row may end before its last cell, if nothing stands in it.
    """
    width, header_row = len(heading.titles), int(heading.row.value or 0)
    for number, cells, problem in records:
        if number <= header_row or (not cells and not problem):
            continue
        if problem:
            yield Row(number, {}, problem)
            continue
        while len(cells) > width and cells[-1] is None:
            cells.pop()
        values = dict(zip_longest(heading.titles, cells[:width]))
        if len(cells) != width and not (ragged and len(cells) < width):
            yield Row(number, values, f"The row has {len(cells)} cells, the titles are {width}.")
            continue
        yield Row(number, values, too_long(values, limits))


def _header_row(sample: Sequence[tuple[int, Cells]], choices: Choices) -> Finding:
    """The first row, but for a few lines above the table, or where the first row is one of data already."""
    if choices.header_row is not None:
        return Finding(str(choices.header_row), "chosen")
    width = Counter(len(cells) for _, cells in sample).most_common(1)[0][0]
    for number, cells in sample:
        if width >= _PREAMBLE_WIDTH and sum(each is not None for each in cells) == 1:
            continue
        if any(each is not None and _MAIL.fullmatch(each.strip()) for each in cells):
            return Finding("0", "guessed")
        first = number == sample[0][0]
        return Finding(str(number), "sure" if first and known_titles(cells) * 2 >= len(cells) else "guessed")
    return Finding(str(sample[0][0]), "guessed")
