"""A row as fields in our words: typed, with empty for what programs write where nothing is known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from tieout.domain.records import Kind, Value
from tieout.files.columns import Column, Columns
from tieout.files.evidence import date_evidence, is_empty_date, number_evidence
from tieout.files.source import Findings, Row
from tieout.mapping.paths import parse_path

_VALUE_CHARACTERS = 80
_LINES = ("line1", "line2", "line3")
_ADDRESS = frozenset({*_LINES, "city", "state", "postal_code", "country"})
_EXCHANGE = re.compile(r"/o=[^/]+/", re.IGNORECASE)
_MAIL_PATH = re.compile(r"(?:.*\.)?email(?:_\w+)?")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
_NO_GENDER = frozenset(
    {
        "unspecified", "keine angabe", "nicht angegeben", "non spécifié", "sin especificar", "no especificado",
        "non specificato", "nie określono", "não especificado", "määrittämätön", "не указан", "neurčené", "未指定",
    }
)  # fmt: skip
_DATE_PARTS = re.compile(r"(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})(?:[T ].*)?", re.ASCII)
_COMPACT_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T.*)?", re.ASCII)
_CENTURY_ENDS = 69
_YEAR_DIGITS, _TWO = 4, 2
_NOT_A_DIGIT = re.compile(r"[^0-9.,]")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a cell could not be taken; its field is absent then.

    Attributes:
        title: Of the column; empty if the whole row is meant.
        path: Of the field; empty likewise.
        message: A sentence.
        value: What stands there, shortened to 80 characters.
    """

    title: str
    path: str
    message: str
    value: str


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    """The sentence why the text is not what it has to be."""


def to_fields(row: Row, columns: Columns, findings: Findings) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """The fields of a record of `columns.kind`, nested, and what could not be taken.

    A field is None where its column is empty or holds a filler such as `0/0/00`, and absent where no column fills it
    or its text is refused. Texts stay as they are. Lines of an address are counted anew, lines beyond the third stand
    in the third. A contact without a name gets one of its parts, and the given name of one whose name ends with the
    family name is what stands before it.
    """
    if row.problem:
        return {}, (Problem("", "", row.problem, ""),)
    fields: dict[str, Any] = {}
    problems: list[Problem] = []
    for group in _groups(columns):
        counting = _counting(group, row)
        for path in {column.path for column in group} - {column.path for column in counting}:
            _put(fields, path or "", None)  # of an address: what the one that counts has no column for
        for column in counting:
            try:
                _put(fields, column.path or "", _read(column, row.values.get(column.title), findings))
            except _Refused as refused:
                value = (row.values.get(column.title) or "")[:_VALUE_CHARACTERS]
                problems.append(Problem(column.title, column.path or "", str(refused), value))
    _tidy_addresses(fields)
    if columns.kind is Kind.CONTACT:
        _name(fields, else_from=("company_name", "email"))
    elif isinstance(fields.get("contact"), dict):
        _name(fields["contact"])
        if not any(fields["contact"].values()):
            fields["contact"] = None
    return fields, tuple(problems)


def _groups(columns: Columns) -> Iterable[list[Column]]:
    """Columns of one field, or of one address, together."""
    found: dict[str, list[Column]] = {}
    for column in columns.columns:
        if column.path is not None:
            before, _, last = column.path.rpartition(".")
            found.setdefault(before if before and last in _ADDRESS else column.path, []).append(column)
    return found.values()


def _counting(group: list[Column], row: Row) -> list[Column]:
    """Those of the lowest rank in which anything stands; of the lowest there is, if nothing stands anywhere."""
    filled = {column.rank for column in group if _filled(column, row)}
    rank = min(filled or {column.rank for column in group})
    return [column for column in group if column.rank == rank]


def _filled(column: Column, row: Row) -> bool:
    text = (row.values.get(column.title) or "").strip()
    return bool(text) and not _is_filler(column, text)


def _is_filler(column: Column, text: str) -> bool:
    if column.reads == "date":
        return is_empty_date(text)
    return (column.path or "").endswith("gender") and text.casefold() in _NO_GENDER


def _read(column: Column, cell: str | None, findings: Findings) -> Value:
    text = (cell or "").strip()
    if not text or _is_filler(column, text):
        return None
    path = column.path or ""
    if _MAIL_PATH.fullmatch(path):
        return _mail(text, strict=path.rpartition(".")[2] == "email")
    match column.reads:
        case "date":
            return _date(text, findings.date_order.value)
        case "number":
            return _number(text, findings.decimal.value)
        case "list":
            parts = text.split(";" if ";" in text else ",")
            return tuple(part.strip() for part in parts if part.strip())
    return cell


def _mail(text: str, *, strict: bool) -> str:
    if _EXCHANGE.match(text):
        raise _Refused("This is a name inside an Exchange server, not an e-mail address.")
    if strict and _MAIL.fullmatch(text) is None:
        raise _Refused("This is not an e-mail address.")
    return text


def _date(text: str, order: str | None) -> date:
    if compact := _COMPACT_DATE.fullmatch(text):
        return _calendar(*map(int, compact.groups()))
    match = _DATE_PARTS.fullmatch(text)
    ways = date_evidence(text)
    if match is None or ways is None:
        raise _Refused("This is not a date.")
    first, second, third = match.groups()
    if len(first) == _YEAR_DIGITS:
        return _calendar(int(first), int(second), int(third))
    if order is None and len(ways) == 1:
        order = next(iter(ways))
    if order is None:
        raise _Refused("Day and month can be read both ways: say the order of dates in this file.")
    if order not in ways:
        raise _Refused(f"This is not a date in the order of this file ({order}).")
    if order == "ymd":
        return _calendar(_year(first), int(second), int(third))
    day, month = (first, second) if order == "dmy" else (second, first)
    return _calendar(_year(third), int(month), int(day))


def _year(text: str) -> int:
    """Of two digits: 1969 to 2068, as POSIX has it."""
    year = int(text)
    if len(text) > _TWO:
        return year
    return year + (2000 if year < _CENTURY_ENDS else 1900)


def _calendar(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise _Refused("There is no such day.") from None


def _number(text: str, decimal: str | None) -> Decimal:
    ways = number_evidence(text)
    if ways is None:
        raise _Refused("This is not a number.")
    if decimal is None and len(ways) > 1 and ("." in text or "," in text):
        raise _Refused("Point and comma can be read both ways: say which one stands before the fraction.")
    sign = decimal or next(iter(ways))
    if sign not in ways:
        raise _Refused(f"This is not a number with “{sign}” before the fraction, as in this file.")
    digits = _NOT_A_DIGIT.sub("", text)
    digits = digits.replace("," if sign == "." else ".", "").replace(sign, ".")
    negative = "-" in text or text.startswith("(")
    return -Decimal(digits) if negative else Decimal(digits)


def _put(fields: dict[str, Any], path: str, value: Value) -> None:
    *before, last = parse_path(path).parts
    for part in before:
        fields = fields.setdefault(str(part), {})
    fields[str(last)] = value


def _tidy_addresses(fields: dict[str, Any]) -> None:
    """Makes three lines of all that stand in one address, however its columns part them."""
    for value in fields.values():
        if isinstance(value, dict):
            _tidy_addresses(value)
    if any(line in fields for line in _LINES):
        lines = [part.strip() for line in _LINES for part in (fields.get(line) or "").splitlines()]
        lines = [line for line in lines if line]
        three = [*lines[:2], ", ".join(lines[2:])]
        fields |= {name: line or None for name, line in zip(_LINES, [*three, None, None], strict=False)}


def _name(person: dict[str, Any], else_from: tuple[str, ...] = ()) -> None:
    """Makes a name of its parts, or the other way round."""
    name, given, family = (person.get(each) for each in ("name", "given_name", "family_name"))
    if name is None:
        parts = " ".join(part for part in (given, family) if part)
        name = parts or next((person[each] for each in else_from if person.get(each)), None)
        if name:
            person["name"] = name
    if name and family and "given_name" not in person and name.endswith(f" {family}"):
        person["given_name"] = name[: -len(family)].strip()
