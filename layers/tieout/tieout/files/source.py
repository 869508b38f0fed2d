"""What every reader of a file gives: rows of text under titles, and what was found out about the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from tieout.domain.errors import TieoutError

type DateOrder = Literal["dmy", "mdy", "ymd"]
type Decimal = Literal[",", "."]
type Certainty = Literal["sure", "guessed", "chosen"]


class FileError(TieoutError):
    """The file cannot be read as a whole, or not as a person said; nothing was taken from it."""


class Format(StrEnum):
    """How a file is built; `CSV` stands for every delimiter."""

    CSV = "csv"
    VCARD = "vcard"
    JCARD = "jcard"
    XCARD = "xcard"
    XLSX = "xlsx"
    DBF = "dbf"
    TALLY_XML = "tally_xml"
    GOLDMINE_XML = "goldmine_xml"


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person said about the file; None leaves it to be found out.

    Attributes:
        encoding: A name that Python knows, such as `windows-1252`.
        delimiter: One character.
        sheet: Name of the sheet of a workbook.
        header_row: Number of the row that holds the titles, 1 for the first; 0 says that there are none.
    """

    encoding: str | None = None
    delimiter: str | None = None
    date_order: DateOrder | None = None
    decimal: Decimal | None = None
    sheet: str | None = None
    header_row: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings: above `cell_characters_max` the row is refused, above any other the file.

    Attributes:
        unpacked_bytes_max: Of everything packed in a workbook.
        packed_ratio_max: How many bytes one packed byte may become, counted from 1,000,000 unpacked bytes on.
        shared_bytes_max: Of a workbook's table of texts, which has to be held in memory.
    """

    bytes_max: int = 500_000_000
    rows_max: int = 1_000_000
    columns_max: int = 1_000
    unpacked_bytes_max: int = 2_000_000_000
    packed_ratio_max: int = 200
    packed_members_max: int = 2_000
    shared_bytes_max: int = 100_000_000
    cell_characters_max: int = 8_192


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the file.

    Attributes:
        value: None if it does not apply, or nobody can tell.
        certainty: `guessed` is to be shown to a person before anything is written; `chosen` a person said.
    """

    value: str | None
    certainty: Certainty = "sure"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about the file.

    Attributes:
        date_order: None, guessed: there are dates that could be read in two ways. None, sure: there are none.
        decimal: Likewise, for numbers.
        layout: Which program's titles they are, such as `outlook`; `generic` if nobody's.
        locale: Whose language the titles are in, such as `de_DE`.
        header_row: Number of the row with the titles; 0 if there is none.
        warnings: Sentences for a person.
    """

    encoding: Finding = Finding(None)
    delimiter: Finding = Finding(None)
    date_order: Finding = Finding(None)
    decimal: Finding = Finding(None)
    layout: Finding = Finding("generic", "guessed")
    locale: Finding = Finding(None)
    header_row: Finding = Finding(None)
    warnings: tuple[str, ...] = ()

    def as_plain(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Row:
    """One row, card or element.

    Attributes:
        number: As a spreadsheet counts: the first row of the file is 1, titles and blank rows count. Of cards,
            elements and records of a DBF file: their number, from 1.
        values: By title. None where there is no cell, or one without anything in it; `""` is a quoted empty text.
        problem: Why the row cannot be used, as a sentence; empty if it can.
    """

    number: int
    values: Mapping[str, str | None]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was looked through once, to its end, and can be read.

    Attributes:
        columns: Titles, each once, in the file's order.
        count: How many rows `rows` gives, those with a problem included.
        empty: Titles of the columns in which nothing stands.
    """

    format: Format
    findings: Findings
    columns: tuple[str, ...]
    count: int
    empty: frozenset[str]
    read: Callable[[], Iterator[Row]] = field(repr=False)

    def rows(self) -> Iterator[Row]:
        """The rows from the first one on, one at a time; only one such reading may go on at once.

        Raises:
            FileError: If the file changed since it was opened, and can no longer be read.
        """
        return self.read()


@dataclass(frozen=True, slots=True)
class Table:
    """What a format's reader hands over: `SourceFile` without what only looking at all rows tells."""

    format: Format
    columns: tuple[str, ...]
    read: Callable[[], Iterator[Row]]
    findings: Findings = field(default_factory=Findings)


def titles_of(cells: list[str | None], limits: Limits) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Titles, each once, and warnings: one that repeats is numbered, one without text is named by its place.

    Raises:
        FileError: If there are too many.
    """
    if len(cells) > limits.columns_max:
        raise FileError(
            f"The file has {len(cells):,} columns; at most {limits.columns_max:,} are read.",
            next_step="Remove columns that are not needed, or choose the right delimiter.",
        )
    titles: list[str] = []
    warnings: list[str] = []
    for place, cell in enumerate(cells, 1):
        wanted = " ".join((cell or "").split()) or f"Column {place}"
        title, number = wanted, 1
        while title in titles:
            number += 1
            title = f"{wanted} ({number})"
        if number > 1:
            warnings.append(
                f"The title “{wanted}” stands there more than once; the one in column {place} is “{title}”."
            )
        titles.append(title)
    return tuple(titles), tuple(warnings)


def too_long(cells: Mapping[str, str | None], limits: Limits) -> str:
    """The sentence that refuses the row, if one of its cells is too long; empty if none is."""
    for title, cell in cells.items():
        if cell is not None and len(cell) > limits.cell_characters_max:
            return f"“{title}” has {len(cell):,} characters; at most {limits.cell_characters_max:,} are read."
    return ""
