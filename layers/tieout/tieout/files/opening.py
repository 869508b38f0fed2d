"""Opening a file: what it is, by what stands in it; then one look through all of it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import BinaryIO

from tieout.files.delimited import read_delimited
from tieout.files.evidence import Evidence
from tieout.files.layouts import layout_of
from tieout.files.source import Choices, FileError, Finding, Format, Limits, SourceFile, Table

_NO_CHOICES, _LIMITS = Choices(), Limits()
_BEGINNING_BYTES = 4_096
_AS_CSV = "Save it as .xlsx or as CSV, and import that."
_NOT_READ = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "This is an old Excel or Outlook file (.xls, .pst, .msg).", _AS_CSV),
    (b"%PDF", "This is a PDF file.", "Export the records as CSV or Excel."),
    (b"\x89PNG", "This is a picture.", "Export the records as CSV or Excel."),
    (b"\xff\xd8\xff", "This is a picture.", "Export the records as CSV or Excel."),
    (b"GIF8", "This is a picture.", "Export the records as CSV or Excel."),
    (b"\x1f\x8b", "This is a packed file.", "Unpack it first."),
    (b"7z\xbc\xaf", "This is a packed file.", "Unpack it first."),
    (b"Rar!", "This is a packed file.", "Unpack it first."),
    (b"{\\rtf", "This is a text document.", "Export the records as CSV or Excel."),
)
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|table|head|body|meta)\b", re.IGNORECASE | re.DOTALL)


def open_file(file: BinaryIO, *, name: str, choices: Choices = _NO_CHOICES, limits: Limits = _LIMITS) -> SourceFile:
    """The file, looked through once to its end, so that what cannot be read is told before anything is written.

    Memory does not grow with its length, but for the texts that a workbook shares.

    Args:
        file: Seekable, and open for as long as rows are read.
        name: Only its ending is looked at, and only where the content does not say what it is.
        choices: What a person said.
        limits: Ceilings.

    Raises:
        FileError: If it cannot be read as a whole: empty, too large, damaged, or nothing that is read here.
    """
    size = file.seek(0, io.SEEK_END)
    if size > limits.bytes_max:
        raise FileError(
            f"The file has {size:,} bytes; at most {limits.bytes_max:,} are read.", next_step="Export it in parts."
        )
    if size == 0:
        raise FileError("The file is empty.", next_step="Export it again.")
    table = _table(file, name.casefold(), choices, limits)
    return _looked_through(table, choices, limits)


def _table(file: BinaryIO, name: str, choices: Choices, limits: Limits) -> Table:
    file.seek(0)
    beginning = file.read(_BEGINNING_BYTES)
    for mark, what, instead in _NOT_READ:
        if beginning.startswith(mark):
            raise FileError(what, next_step=instead)
    if _HTML.match(beginning.removeprefix(b"\xef\xbb\xbf")):
        saved = " that was saved under the name of a workbook" if name.endswith((".xls", ".xlsx")) else ""
        raise FileError(f"This is a web page{saved}.", next_step=f"Open it in Excel. {_AS_CSV}")
    return read_delimited(file, choices, limits)


def _looked_through(table: Table, choices: Choices, limits: Limits) -> SourceFile:
    layout, locale = layout_of(table)
    evidence = Evidence.of(table.columns)
    problems = 0
    for row in table.read():
        if evidence.rows == limits.rows_max:
            raise FileError(f"The file has more than {limits.rows_max:,} rows.", next_step="Export it in parts.")
        evidence.look(row)
        problems += bool(row.problem)
    if not evidence.rows:
        raise FileError("The file has titles, but no rows.", next_step="Check what was selected for the export.")
    order, of_dates = evidence.date_order(choices, locale.value)
    decimal, of_numbers = evidence.decimal(choices, table.findings.delimiter.value)
    if table.format is not Format.CSV and choices.decimal is None:
        decimal, of_numbers = Finding("."), ()
    told = (f"{problems:,} of {evidence.rows:,} rows cannot be used as they are.",) if problems else ()
    findings = replace(
        table.findings,
        layout=layout,
        locale=locale,
        date_order=order,
        decimal=decimal,
        warnings=(*table.findings.warnings, *of_dates, *of_numbers, *told),
    )
    return SourceFile(table.format, findings, table.columns, evidence.rows, frozenset(evidence.empty), table.read)
