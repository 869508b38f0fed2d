"""dBase tables (.dbf), as GoldMine, FoxPro and older programs export them: dBase III, IV and FoxPro's own types.

Source: the published description of the format, https://www.dbase.com/Knowledgebase/INT/db7_file_fmt.htm, and the table
of language drivers in Microsoft's Visual FoxPro help, read 2026-11-22.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import BinaryIO

from tieout.files.encodings import known_encoding
from tieout.files.source import Choices, FileError, Finding, Findings, Format, Limits, Row, Table, titles_of, too_long

VERSIONS = frozenset({0x02, 0x03, 0x30, 0x31, 0x32, 0x43, 0x63, 0x83, 0x8B, 0xCB, 0xF5, 0xFB})
_HEADER = struct.Struct("<BBBBIHH")
_FIELD = struct.Struct("<11sc4xBB14x")
_FIELDS_BEGIN, _LANGUAGE_AT, _FIELDS_END = 32, 29, 0x0D
_DELETED, _END_OF_FILE = b"*", b"\x1a"
_ELSEWHERE = frozenset("MGPBW")
_JULIAN_OF_FIRST_DAY = 1_721_425
_CODE_PAGES = {
    0x01: "cp437", 0x02: "cp850", 0x03: "cp1252", 0x04: "mac_roman", 0x08: "cp865", 0x09: "cp437", 0x0A: "cp850",
    0x0B: "cp437", 0x0D: "cp437", 0x0E: "cp850", 0x0F: "cp437", 0x10: "cp850", 0x11: "cp437", 0x12: "cp850",
    0x13: "cp932", 0x14: "cp850", 0x15: "cp437", 0x16: "cp850", 0x17: "cp865", 0x18: "cp437", 0x19: "cp437",
    0x1A: "cp850", 0x1B: "cp437", 0x1C: "cp863", 0x1D: "cp850", 0x1F: "cp852", 0x22: "cp852", 0x23: "cp852",
    0x24: "cp860", 0x25: "cp850", 0x26: "cp866", 0x37: "cp850", 0x40: "cp852", 0x4D: "cp936", 0x4E: "cp949",
    0x4F: "cp950", 0x50: "cp874", 0x57: "cp1252", 0x58: "cp1252", 0x59: "cp1252", 0x64: "cp852", 0x65: "cp866",
    0x66: "cp865", 0x67: "cp861", 0x6A: "cp737", 0x6B: "cp857", 0x78: "cp950", 0x79: "cp949", 0x7A: "cp936",
    0x7B: "cp932", 0x7C: "cp874", 0x7D: "cp1255", 0x7E: "cp1256", 0x96: "mac_cyrillic", 0x97: "mac_latin2",
    0x98: "mac_greek", 0xC8: "cp1250", 0xC9: "cp1251", 0xCA: "cp1254", 0xCB: "cp1253", 0xCC: "cp1257",
}  # fmt: skip
"""By the byte of the header that names the language driver."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: str
    length: int
    decimals: int


@dataclass(frozen=True, slots=True)
class _Form:
    fields: tuple[_Field, ...]
    begin: int
    """Of the first record."""
    length: int
    """Of a record."""
    records: int
    language: int


def is_dbf(beginning: bytes) -> bool:
    """True if the header is one of a dBase table."""
    if len(beginning) < _FIELDS_BEGIN or beginning[0] not in VERSIONS:
        return False
    _, _, month, day, _, header, length = _HEADER.unpack_from(beginning)
    return month <= 12 and day <= 31 and header > _FIELDS_BEGIN and length > 1 and beginning[12:14] == b"\0\0"  # noqa: PLR2004 - a date


def read_dbf(file: BinaryIO, choices: Choices, limits: Limits) -> Table:
    """The records that are not deleted.

    Raises:
        FileError: If the header is damaged, or the file ends before its last record.
    """
    form = _form(file)
    encoding = _encoding(file, form, choices)
    titles, warnings = titles_of([field.name for field in form.fields], limits)
    elsewhere = [field.name for field in form.fields if _is_elsewhere(field)]
    if elsewhere:
        warnings += (f"{', '.join(elsewhere)}: these texts are kept in a second file (.dbt, .fpt), and are not read.",)

    def rows() -> Iterator[Row]:
        file.seek(form.begin)
        for number in range(1, form.records + 1):
            record = file.read(form.length)
            if len(record) < form.length:
                raise FileError("The file changed while it was read.", next_step="Import it again.")
            if not record.startswith(_DELETED):
                name = encoding.value or "cp1252"
                yield _row(number, record, form, titles=titles, encoding=name, limits=limits)

    return Table(Format.DBF, titles, rows, Findings(encoding=encoding, decimal=Finding("."), warnings=warnings))


def _form(file: BinaryIO) -> _Form:
    damaged = FileError("The header of the dBase table is damaged.", next_step="Export it again.")
    file.seek(0)
    head = file.read(_FIELDS_BEGIN)
    if len(head) < _FIELDS_BEGIN:
        raise damaged
    _, _, _, _, records, begin, length = _HEADER.unpack_from(head)
    described = file.read(max(0, begin - _FIELDS_BEGIN))
    fields: list[_Field] = []
    for at in range(0, len(described) - _FIELD.size + 1, _FIELD.size):
        if described[at] == _FIELDS_END:
            break
        name, kind, size, decimals = _FIELD.unpack_from(described, at)
        letter = kind.decode("latin-1")
        wide = decimals * 256 if letter == "C" else 0  # as Clipper and FoxPro have it
        plain = name.split(b"\0")[0].decode("latin-1").strip()
        fields.append(_Field(plain, letter, size + wide, decimals))
    if not fields or length != 1 + sum(field.length for field in fields):
        raise damaged
    size = file.seek(0, 2)
    if size < begin + records * length:
        raise FileError(
            f"The file was cut off: it holds {max(0, size - begin) // length:,} of {records:,} records.",
            next_step="Export it again.",
        )
    return _Form(tuple(fields), begin, length, records, head[_LANGUAGE_AT])


def _encoding(file: BinaryIO, form: _Form, choices: Choices) -> Finding:
    """The code page of the header, which is often wrong: only sure where no letter depends on it."""
    if choices.encoding is not None:
        return Finding(known_encoding(choices.encoding), "chosen")
    named = _CODE_PAGES.get(form.language, "cp1252")
    return Finding(named, "sure" if _is_ascii(file, form) else "guessed")


def _is_ascii(file: BinaryIO, form: _Form) -> bool:
    file.seek(form.begin)
    return all(file.read(form.length).isascii() for _ in range(form.records))


def _is_elsewhere(field: _Field) -> bool:
    return field.type in _ELSEWHERE and not (field.type == "B" and field.length == 8)  # noqa: PLR2004 - FoxPro's double


def _row(number: int, record: bytes, form: _Form, *, titles: tuple[str, ...], encoding: str, limits: Limits) -> Row:
    values: dict[str, str | None] = dict.fromkeys(titles)
    at = 1
    for title, field in zip(titles, form.fields, strict=True):
        try:
            values[title] = _text(record[at : at + field.length], field, encoding)
        except (UnicodeError, ValueError, OverflowError):
            return Row(number, values, f"“{title}” cannot be read as {encoding}, or is no {field.type}.")
        at += field.length
    return Row(number, values, too_long(values, limits))


def _text(raw: bytes, field: _Field, encoding: str) -> str | None:  # noqa: PLR0911 - one return a type
    if _is_elsewhere(field) or field.type == "0":
        return None
    match field.type:
        case "I":
            return str(int.from_bytes(raw, "little", signed=True))
        case "Y":
            return str(Decimal(int.from_bytes(raw, "little", signed=True)) / 10_000)
        case "B":
            return format(Decimal(f"{struct.unpack('<d', raw)[0]:.15g}"), "f")
        case "T":
            return _moment(raw)
    text = raw.replace(b"\0", b" ").decode(encoding).rstrip()
    match field.type:
        case "D":
            day = text.strip()
            return f"{day[:4]}-{day[4:6]}-{day[6:]}" if day.strip("0") else None
        case "L":
            return "true" if text.upper() in ("T", "Y") else "false" if text.upper() in ("F", "N") else None
        case "N" | "F":
            return text.strip().strip("*") or None
    return text or None


def _moment(raw: bytes) -> str | None:
    day, milliseconds = struct.unpack("<II", raw)
    if not day:
        return None
    return f"{date(1, 1, 1) + timedelta(days=day - _JULIAN_OF_FIRST_DAY - 1)} {timedelta(milliseconds=milliseconds)}"
