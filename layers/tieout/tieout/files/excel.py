"""Excel workbooks (.xlsx): one sheet, read row by row, after a look at what they unpack to."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from lzma import LZMAError
from typing import TYPE_CHECKING, BinaryIO
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException

from tieout.files.source import Choices, FileError, Finding, Findings, Format, Limits, Table
from tieout.files.tables import SAMPLE_ROWS, Cells, heading_of, rows_of

if TYPE_CHECKING:
    from openpyxl import Workbook

ROWS_OF_A_SHEET_MAX = 1_048_576
_ROWS_AT_A_TIME = 200
_SMALL_BYTES = 1_000_000
_CHUNK_BYTES = 1_048_576
_FORMULA = re.compile(rb"<(?:\w+:)?f[ />]")
_ERRORS = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#GETTING_DATA", "#SPILL!"})
_BROKEN = (
    zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, IndexError, EOFError, OSError, ParseError,
    DefusedXmlException, RuntimeError, zlib.error, LZMAError, NotImplementedError, OverflowError, StopIteration,
)  # fmt: skip
"""What openpyxl and zipfile raise on what is no workbook: no error of theirs names them all."""
_DAMAGED = "The workbook is damaged or was cut off."
_AGAIN = "Open it in Excel, save it again as .xlsx, and import that."


def read_excel(file: BinaryIO, choices: Choices, limits: Limits) -> Table:
    """The rows of a sheet: the one that was chosen, or the first that people see and that has any.

    Raises:
        FileError: If it is no workbook, damaged, or unpacks to more than the limits let it.
    """
    formulas = _checked(file, limits)
    workbook = _loaded(file)
    names = [sheet.title for sheet in workbook.worksheets]
    visible = [sheet.title for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
    if choices.sheet is not None and choices.sheet not in names:
        raise FileError(
            f"The workbook has no sheet “{choices.sheet[:40]}”.", next_step=f"Choose one of: {', '.join(names[:20])}."
        )
    samples = {name: _sample(file, name) for name in ([choices.sheet] if choices.sheet else visible or names)}
    sheet = next((name for name, sample in samples.items() if sample), next(iter(samples), None))
    if sheet is None:
        raise FileError("The workbook has no sheet with cells.", next_step=_AGAIN)
    heading = heading_of(samples[sheet], choices, limits)
    told = list(heading.warnings)
    if len(names) > 1 and choices.sheet is None:
        told.append(f"The workbook has {len(names)} sheets; “{sheet}” is read.")
    if formulas:
        told.append("There are formulas: what is read is the value that was shown when the workbook was saved.")
    return Table(
        Format.XLSX,
        heading.titles,
        lambda: rows_of(_records(file, sheet), heading, limits, ragged=True),
        Findings(header_row=heading.row, decimal=Finding("."), warnings=tuple(told)),
    )


def _checked(file: BinaryIO, limits: Limits) -> bool:
    """True if there are formulas.

    Raises:
        FileError: If it is no workbook, or a bomb.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            members = packed.infolist()
            _refuse_bombs(members, limits)
            names = {member.filename for member in members}
            if "xl/workbook.xml" not in names:
                raise FileError(_what(names), next_step="Save it as .xlsx or as CSV, and import that.")
            return any(_has_formula(packed, member) for member in members if "worksheets/" in member.filename)
    except _BROKEN:
        raise FileError(_DAMAGED, next_step=_AGAIN) from None


def _refuse_bombs(members: list[zipfile.ZipInfo], limits: Limits) -> None:
    """By what the file says of itself: more than that is never unpacked."""
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    shared = sum(member.file_size for member in members if "sharedstrings" in member.filename.casefold())
    too_much = (
        len(members) > limits.packed_members_max
        or unpacked > limits.unpacked_bytes_max
        or shared > limits.shared_bytes_max
        or any(
            member.file_size > max(_SMALL_BYTES, member.compress_size * limits.packed_ratio_max) for member in members
        )
    )
    if too_much:
        raise FileError(
            f"The workbook unpacks from {packed:,} to {unpacked:,} bytes in {len(members):,} parts: more than is read.",
            next_step="Save it as CSV, and import that.",
        )


def _what(names: set[str]) -> str:
    if "xl/workbook.bin" in names:
        return "This is a binary workbook (.xlsb)."
    if "content.xml" in names:
        return "This is an OpenDocument file (.ods)."
    if "word/document.xml" in names:
        return "This is a text document."
    return "This is a packed file."


def _has_formula(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    with packed.open(member) as part:
        before = b""
        while chunk := part.read(_CHUNK_BYTES):
            if _FORMULA.search(before + chunk):
                return True
            before = chunk[-20:]
    return False


def _loaded(file: BinaryIO) -> Workbook:
    from openpyxl import load_workbook  # noqa: PLC0415 - only loaded where it is used

    file.seek(0)
    try:
        with warnings.catch_warnings(action="ignore"):  # what openpyxl does not keep is nothing that we read
            return load_workbook(file, read_only=True, data_only=True, keep_links=False)
    except _BROKEN:
        raise FileError(_DAMAGED, next_step=_AGAIN) from None


def _sample(file: BinaryIO, sheet: str) -> list[tuple[int, Cells]]:
    rows = ((number, cells) for number, cells, _ in islice(_records(file, sheet), SAMPLE_ROWS * 20) if cells)
    return list(islice(rows, SAMPLE_ROWS))


def _records(file: BinaryIO, sheet: str) -> Iterator[tuple[int, Cells, str]]:
    """Number, cells up to the last that is filled, and problem of each row; a blank one has no cells."""
    workbook = _loaded(file)
    found = workbook[sheet]
    found.reset_dimensions()  # what a sheet says of its size is often wrong
    for number, row in enumerate(_rows(found.iter_rows(values_only=True)), 1):
        if number > ROWS_OF_A_SHEET_MAX:
            raise FileError(_DAMAGED, next_step=_AGAIN)
        cells: Cells = [_text(value) for value in row]
        while cells and cells[-1] is None:
            cells.pop()
        broken = next((each for each in cells if each in _ERRORS), None)
        yield number, cells, f"A cell holds the error {broken}." if broken else ""


def _rows(rows: Iterator[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
    """The rows, some at a time: openpyxl warns of dates that are none, and they are read as text."""
    while True:
        try:
            with warnings.catch_warnings(action="ignore"):
                some = list(islice(rows, _ROWS_AT_A_TIME))
        except _BROKEN:
            raise FileError(_DAMAGED, next_step=_AGAIN) from None
        if not some:
            return
        yield from some


def _text(value: object) -> str | None:  # noqa: PLR0911 - one return a type
    """What stands in the cell, as text: numbers as Excel shows them, with at most 15 digits; dates in ISO form."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float():
            return format(Decimal(f"{value:.15g}"), "f")
        case datetime():
            return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
    return str(value)
