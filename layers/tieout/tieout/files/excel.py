"""Excel workbooks (.xlsx): one sheet, read row by row, after a look at what they unpack to."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from lzma import LZMAError
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException

from tieout.files.source import Choices, FileError, Finding, Findings, Format, Limits, Table
from tieout.files.tables import SAMPLE_ROWS, Cells, heading_of, rows_of
from tieout.transport.xml import stream_xml

if TYPE_CHECKING:
    from openpyxl.reader.excel import ExcelReader

ROWS_OF_A_SHEET_MAX, COLUMNS_OF_A_SHEET_MAX = 1_048_576, 16_384
_ROWS_AT_A_TIME = 200
_SMALL_BYTES = 1_000_000
_CHUNK_BYTES = 65_536
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
    book = _loaded(file)
    visible = [name for name, (_, state) in book.sheets.items() if state == "visible"]
    if choices.sheet is not None and choices.sheet not in book.sheets:
        some = ", ".join(list(book.sheets)[:20])
        raise FileError(f"The workbook has no sheet “{choices.sheet[:40]}”.", next_step=f"Choose one of: {some}.")
    wanted = [choices.sheet] if choices.sheet else visible or list(book.sheets)
    samples = {name: _sample(book, name) for name in wanted}
    sheet = next((name for name, sample in samples.items() if sample), next(iter(samples), None))
    if sheet is None:
        raise FileError("The workbook has no sheet with cells.", next_step=_AGAIN)
    heading = heading_of(samples[sheet], choices, limits)
    told = list(heading.warnings)
    if len(book.sheets) > 1 and choices.sheet is None:
        told.append(f"The workbook has {len(book.sheets)} sheets; “{sheet}” is read.")
    if formulas:
        told.append("There are formulas: what is read is the value that was shown when the workbook was saved.")
    return Table(
        Format.XLSX,
        heading.titles,
        lambda: rows_of(_records(book, sheet), heading, limits, ragged=True),
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


@dataclass(frozen=True, slots=True)
class _Book:
    """What cells of all sheets share, and where each sheet is packed and whether it is shown, by title."""

    reader: ExcelReader
    sheets: Mapping[str, tuple[str, str]]


def _loaded(file: BinaryIO) -> _Book:
    """The workbook but for its sheets: `load_workbook` would go through them, and keep something of each row."""
    from openpyxl.reader.excel import ExcelReader  # noqa: PLC0415 - only loaded where it is used
    from openpyxl.styles.stylesheet import apply_stylesheet  # noqa: PLC0415 - likewise

    file.seek(0)
    try:
        with warnings.catch_warnings(action="ignore"):  # what openpyxl does not keep is nothing that we read
            reader = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
            reader.read_manifest()
            reader.read_strings()
            reader.read_workbook()
            apply_stylesheet(reader.archive, reader.wb)
            found = [(sheet, rel) for sheet, rel in reader.parser.find_sheets() if "worksheet" in rel.Type]
    except _BROKEN:
        raise FileError(_DAMAGED, next_step=_AGAIN) from None
    return _Book(reader, {str(sheet.name): (str(rel.target), str(sheet.state)) for sheet, rel in found})


def _sample(book: _Book, sheet: str) -> list[tuple[int, Cells]]:
    rows = ((number, cells) for number, cells, _ in islice(_records(book, sheet), SAMPLE_ROWS * 20) if cells)
    return list(islice(rows, SAMPLE_ROWS))


def _records(book: _Book, sheet: str) -> Iterator[tuple[int, Cells, str]]:
    """Number, cells up to the last that is filled, and problem of each row that the sheet holds."""
    before = 0
    for number, row in _some_at_a_time(_rows(book, book.sheets[sheet][0])):
        if not before < number <= ROWS_OF_A_SHEET_MAX:
            raise FileError(_DAMAGED, next_step=_AGAIN)
        before = number
        found = {cell["column"]: _text(cell["value"]) for cell in row}
        last = max((column for column, text in found.items() if text is not None), default=0)
        if last > COLUMNS_OF_A_SHEET_MAX:
            raise FileError(_DAMAGED, next_step=_AGAIN)
        cells: Cells = [found.get(column) for column in range(1, last + 1)]
        broken = next((each for each in cells if each in _ERRORS), None)
        yield number, cells, f"A cell holds the error {broken}." if broken else ""


def _rows(book: _Book, path: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Number and cells of each row.

    The elements come from `stream_xml`, which keeps none, and what a cell means from openpyxl, by names that it does
    not promise to keep: the tests hold them.
    """
    from openpyxl.worksheet._reader import ROW_TAG, WorkSheetParser  # noqa: PLC0415 - see above

    workbook: Any = book.reader.wb
    with book.reader.archive.open(path) as part:
        parser: Any = WorkSheetParser(
            part,
            book.reader.shared_strings,
            data_only=True,
            epoch=workbook.epoch,
            date_formats=workbook._date_formats,  # noqa: SLF001 - see above
            timedelta_formats=workbook._timedelta_formats,  # noqa: SLF001 - see above
        )
        for element in stream_xml(cast("BinaryIO", part), frozenset({ROW_TAG})):
            yield parser.parse_row(element)
            parser.row_dimensions.clear()


def _some_at_a_time[Each](rows: Iterator[Each]) -> Iterator[Each]:
    """The rows: openpyxl warns of dates that are none, which are an error of their cell here."""
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
