"""Opening a file: what it is, by what stands in it; then one look through all of it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import BinaryIO

from tieout.files.dbf import is_dbf, read_dbf
from tieout.files.delimited import read_delimited
from tieout.files.evidence import Evidence
from tieout.files.excel import read_excel
from tieout.files.google import is_google, ungoogled
from tieout.files.layouts import layout_of
from tieout.files.masters import read_goldmine, read_tally
from tieout.files.source import Choices, FileError, Finding, Format, Limits, SourceFile, Table
from tieout.files.vcard import read_jcard, read_vcard, read_xcard

_NO_CHOICES, _LIMITS = Choices(), Limits()
_BEGINNING_BYTES = 4_096
_AS_CSV = "Save it as .xlsx or as CSV, and import that."
_NOT_READ = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "This is an old Excel file (.xls), one with a password, or another Office file.",
        _AS_CSV,
    ),
    (b"%PDF", "This is a PDF file.", "Export the records as CSV or Excel."),
    (b"\x89PNG", "This is a picture.", "Export the records as CSV or Excel."),
    (b"\xff\xd8\xff", "This is a picture.", "Export the records as CSV or Excel."),
    (b"GIF8", "This is a picture.", "Export the records as CSV or Excel."),
    (b"\x1f\x8b", "This is a packed file.", "Unpack it first."),
    (b"7z\xbc\xaf", "This is a packed file.", "Unpack it first."),
    (b"Rar!", "This is a packed file.", "Unpack it first."),
    (b"{\\rtf", "This is a text document.", "Export the records as CSV or Excel."),
)
_TALLY = ("<envelope", "<tallymessage", "<ledger", "<stockitem")
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
    text = _beginning_text(beginning)
    if text.startswith("begin:vcard"):
        return read_vcard(file, choices, limits)
    if text.startswith(("[", "{")) and name.endswith((".json", ".jcard")):
        return read_jcard(file, limits)
    if text.startswith("<"):
        return _xml(file, text, choices, limits)
    if beginning.startswith((b"PK\x03\x04", b"PK\x05\x06")) or name.endswith(".xlsx"):
        return read_excel(file, choices, limits)
    if is_dbf(beginning) or name.endswith(".dbf"):
        return read_dbf(file, choices, limits)
    table = read_delimited(file, choices, limits)
    return ungoogled(table, limits) if is_google(table.columns) else table


def _xml(file: BinaryIO, text: str, choices: Choices, limits: Limits) -> Table:
    if "schemas-microsoft-com:office:spreadsheet" in text or 'progid="excel.sheet"' in text:
        raise FileError("This is a workbook of Excel 2003 (XML).", next_step=f"Open it in Excel. {_AS_CSV}")
    if "urn:ietf:params:xml:ns:vcard" in text:
        return read_xcard(file, limits)
    if any(mark in text for mark in _TALLY):
        return read_tally(file, choices, limits)
    return read_goldmine(file, limits)


def _beginning_text(beginning: bytes) -> str:
    """The first characters, whatever the encoding is: in small letters, without marks, zeros and blanks."""
    return beginning.replace(b"\0", b"").decode("latin-1").lstrip("\xef\xbb\xbf\xff\xfe \t\r\n").casefold()


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
