"""CSV in all its forms: any delimiter, any encoding, line breaks in cells; read row by row."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from tieout.files.encodings import find_encoding
from tieout.files.lines import Lines
from tieout.files.neutral import restored
from tieout.files.source import Choices, FileError, Finding, Findings, Format, Limits, Table
from tieout.files.tables import SAMPLE_ROWS, Cells, heading_of, rows_of
from tieout.files.titles import known_titles

_BROKEN_ROWS_MAX = 200
DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?")
_END_OF_FILE = "\x1a"
"""What DOS programs write as the last character."""


@dataclass(frozen=True, slots=True)
class _Form:
    encoding: str
    delimiter: str
    skip: int
    """Rows before the first that counts."""


def read_delimited(file: BinaryIO, choices: Choices, limits: Limits) -> Table:
    """The rows of a CSV file.

    Raises:
        FileError: If it is none, or has no titles.
    """
    encoding = find_encoding(file, choices.encoding)
    name = encoding.value or "utf-8"
    said = _separator_line(file, name)
    delimiter = _delimiter(file, name, choices, said)
    form = _Form(name, delimiter.value or ",", skip=int(said is not None))
    heading = heading_of(_sample(file, form), choices, limits)
    return Table(
        Format.CSV,
        heading.titles,
        lambda: rows_of(_records(file, form), heading, limits),
        Findings(encoding=encoding, delimiter=delimiter, header_row=heading.row, warnings=heading.warnings),
    )


def _records(file: BinaryIO, form: _Form) -> Generator[tuple[int, Cells, str]]:
    """Number, cells and problem of each row; a blank one has no cells. A cell is None if nothing stands in it."""
    with Lines(file, form.encoding) as lines:
        # QUOTE_NOTNULL tells an empty cell from a quoted empty text; `strict` tells a stray quote.
        reader = csv.reader(lines, delimiter=form.delimiter, quoting=csv.QUOTE_NOTNULL, strict=True)
        number = 0
        while True:
            number += 1
            began = lines.number + 1
            try:
                row: Cells | None = next(reader, None)  # type: ignore[assignment]  # by QUOTE_NOTNULL
            except csv.Error as error:
                yield number, [], _stray(str(error), number, began)
                continue
            if row is None:
                return
            blank = number <= form.skip or row == [_END_OF_FILE] or all(each is None for each in row)
            yield number, [] if blank else [restored(each) for each in row], ""


def _stray(message: str, number: int, line: int) -> str:
    """The sentence for a row with a quote where none can stand.

    Raises:
        FileError: If the quote swallows all that follows: what belongs to the cell, nobody can tell.
    """
    if "end of data" in message or "field limit" in message:
        raise FileError(
            f"A quoted cell that begins in row {number} (line {line}) does not end: its closing quote is missing,"
            " or the file was cut off.",
            next_step="Export the file again, or correct that cell.",
        )
    return "A quote stands inside a cell without being doubled."


def _sample(file: BinaryIO, form: _Form) -> list[tuple[int, Cells]]:
    """The first rows that are not blank, with their numbers; none if far too many before them cannot be read."""
    found: list[tuple[int, Cells]] = []
    broken = 0
    with closing(_records(file, form)) as records:
        for number, cells, problem in records:
            broken += bool(problem)
            if cells:
                found.append((number, cells))
            if len(found) == SAMPLE_ROWS or broken == _BROKEN_ROWS_MAX:
                break
    return found


def _separator_line(file: BinaryIO, encoding: str) -> str | None:
    """The delimiter that the first line names for Excel (`sep=;`); None if it names none."""
    with Lines(file, encoding) as lines:
        match = _SEPARATOR_LINE.fullmatch(next(lines, ""))
    return match[1] if match else None


def _delimiter(file: BinaryIO, encoding: str, choices: Choices, said: str | None) -> Finding:
    if choices.delimiter is not None:
        if len(choices.delimiter) != 1 or choices.delimiter in '"\r\n\0':
            raise FileError("A delimiter is one character.", next_step="Choose one such as , or ; or a tab.")
        return Finding(choices.delimiter, "chosen")
    if said is not None:
        return Finding(said)
    scores = sorted(
        ((_score(file, _Form(encoding, each, 0)), each) for each in DELIMITERS),
        key=lambda scored: (scored[0], -DELIMITERS.index(scored[1])),
        reverse=True,
    )
    (best, delimiter), (second, _) = scores[:2]
    if best[0] == 0:
        return Finding(",")  # one column: nothing is delimited
    return Finding(delimiter, "sure" if best[0] == 1 and second[0] < 1 else "guessed")


def _score(file: BinaryIO, form: _Form) -> tuple[float, int, int]:
    """How many of the rows agree in a width above 1, how many titles are known, and the width."""
    try:
        sample = [row for _, row in _sample(file, form)]
    except FileError:
        return 0, 0, 0
    if not sample:
        return 0, 0, 0
    width, agreeing = Counter(map(len, sample)).most_common(1)[0]
    if width == 1:
        return 0, 0, 1
    return agreeing / len(sample), known_titles(sample[0]), width
