"""CSV in all its forms: any delimiter, any encoding, line breaks in cells; read row by row."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Self

from tieout.files.encodings import find_encoding
from tieout.files.neutral import restored
from tieout.files.source import (
    Choices,
    FileError,
    Finding,
    Findings,
    Format,
    Limits,
    Row,
    Table,
    titles_of,
    too_long,
)
from tieout.files.titles import known_titles

DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_LINE_CHARACTERS_MAX = 4_000_000
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_END_OF_FILE = "\x1a"
"""What DOS programs write as the last character."""
_PREAMBLE_WIDTH = 3


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
    sample = _sample(file, form)
    if not sample:
        raise FileError("The file is empty, or has only blank lines.", next_step="Export it again.")
    header_row = _header_row(sample, choices)
    number = int(header_row.value or 0)
    found = dict(sample).get(number)
    if number and found is None:
        raise FileError(f"Row {number} holds no titles.", next_step="Choose the row that does, or 0 if there is none.")
    cells = [restored(each) for each in found or [None] * max(len(row) for _, row in sample)]
    titles, warnings = titles_of(cells, limits)
    if not number:
        warnings = ("The file has no titles: its columns are named by their place.",)
    return Table(
        Format.CSV,
        titles,
        partial(_rows, file, form, titles, number, limits),
        Findings(encoding=encoding, delimiter=delimiter, header_row=header_row, warnings=warnings),
    )


def _rows(file: BinaryIO, form: _Form, titles: tuple[str, ...], header_row: int, limits: Limits) -> Iterator[Row]:
    width = len(titles)
    for number, cells, problem in _records(file, form):
        if number <= header_row or (not cells and not problem):
            continue
        if problem:
            yield Row(number, {}, problem)
            continue
        while len(cells) > width and cells[-1] is None:
            cells.pop()
        values = dict(zip(titles, map(restored, cells), strict=False))
        if len(cells) != width:
            values |= dict.fromkeys(titles[len(cells) :])
            yield Row(number, values, f"The row has {len(cells)} cells, the titles are {width}.")
            continue
        yield Row(number, values, too_long(values, limits))


def _records(file: BinaryIO, form: _Form) -> Iterator[tuple[int, list[str | None], str]]:
    """Number, cells and problem of each row; a blank one has no cells. A cell is None if nothing stands in it."""
    with _lines(file, form.encoding) as lines:
        # QUOTE_NOTNULL tells an empty cell from a quoted empty text; `strict` tells a stray quote.
        reader = csv.reader(lines, delimiter=form.delimiter, quoting=csv.QUOTE_NOTNULL, strict=True)
        number = 0
        while True:
            number += 1
            began = lines.number + 1
            try:
                row: list[str | None] | None = next(reader, None)  # type: ignore[assignment]  # by QUOTE_NOTNULL
            except csv.Error as error:
                yield number, [], _stray(str(error), number, began)
                continue
            if row is None:
                return
            blank = number <= form.skip or row == [_END_OF_FILE] or all(each is None for each in row)
            yield number, [] if blank else row, ""


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


class _Lines(Iterator[str]):
    """The lines of the file, none of them longer than can be held; the file stays open."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        file.seek(0)
        self._text = io.TextIOWrapper(file, encoding, newline="")
        self._file = file
        self.number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.detach()

    def __next__(self) -> str:
        try:
            line = self._text.readline(_LINE_CHARACTERS_MAX)
        except UnicodeError:
            raise FileError(
                f"Line {self.number + 1:,} holds bytes that the encoding does not know.", next_step="Choose another."
            ) from None
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) >= _LINE_CHARACTERS_MAX:
            raise FileError(
                f"Line {self.number:,} has more than {_LINE_CHARACTERS_MAX:,} characters.",
                next_step="Check that this is a CSV file.",
            )
        return line


def _lines(file: BinaryIO, encoding: str) -> _Lines:
    return _Lines(file, encoding)


def _sample(file: BinaryIO, form: _Form) -> list[tuple[int, list[str | None]]]:
    """The first rows that are not blank, with their numbers."""
    found: list[tuple[int, list[str | None]]] = []
    records = _records(file, form)
    try:
        for number, cells, _ in records:
            if cells:
                found.append((number, cells))
            if len(found) == _SAMPLE_ROWS:
                break
    finally:
        records.close()  # type: ignore[attr-defined]  # a generator
    return found


def _separator_line(file: BinaryIO, encoding: str) -> str | None:
    """The delimiter that the first line names for Excel (`sep=;`); None if it names none."""
    with _lines(file, encoding) as lines:
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


def _header_row(sample: list[tuple[int, list[str | None]]], choices: Choices) -> Finding:
    """The first row, but for a few lines above the table, or where the first row is one of data already."""
    if choices.header_row is not None:
        return Finding(str(choices.header_row), "chosen")
    width = Counter(len(row) for _, row in sample).most_common(1)[0][0]
    for number, row in sample:
        if width >= _PREAMBLE_WIDTH and sum(each is not None for each in row) == 1:
            continue
        if any(each is not None and _MAIL.fullmatch(each.strip()) for each in row):
            return Finding("0", "guessed")
        first = number == sample[0][0]
        return Finding(str(number), "sure" if first and known_titles(row) * 2 >= len(row) else "guessed")
    return Finding(str(sample[0][0]), "guessed")
