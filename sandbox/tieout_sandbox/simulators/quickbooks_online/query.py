"""Intuit's query language: a parser, and what a parsed query asks.

    SELECT * | count(*) | names FROM Entity [WHERE condition AND ...] [ORDERBY name [ASC|DESC], ...]
    [STARTPOSITION n] [MAXRESULTS n]

There is no OR, no JOIN, no GROUP BY. Values stand in single quotes, escaped by a backslash; numbers and booleans may
stand bare. Text is compared without regard to case: as names are unique that way; Intuit does not say.
Source: data queries page of API v3, read 2026-01.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NoReturn

from tieout_sandbox.simulators.quickbooks_online.errors import bad_query, bad_query_text
from tieout_sandbox.simulators.quickbooks_online.times import PACIFIC

PAGE_DEFAULT = 100

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*')
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
      | (?P<sign><=|>=|[=<>(),*])
    )""",
    re.VERBOSE,
)
_OPERATORS = {"=", "<", ">", "<=", ">=", "IN", "LIKE"}
_KEYWORDS = {"SELECT", "FROM", "WHERE", "AND", "IN", "LIKE", "ORDERBY", "ORDER", "STARTPOSITION", "MAXRESULTS"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; several values only with IN."""

    field: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query.

    Attributes:
        fields: Empty means all.
        order: Names, each with True if descending.
    """

    entity: str
    count: bool
    fields: tuple[str, ...]
    conditions: tuple[Condition, ...]
    order: tuple[tuple[str, bool], ...]
    start: int
    page: int


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int

    @property
    def upper(self) -> str:
        return self.text.upper() if self.kind == "word" else self.text


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].lstrip()
            column = len(text) - len(text[position:].lstrip()) + 1
            raise bad_query_text(f'Lexical error at line 1, column {column}.  Encountered: "{rest[:1]}"')
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind) + 1))
        position = match.end()
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [*_tokens(text), _Token("end", "<EOF>", len(text) + 1)]
        self._at = 0

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _fail(self, expected: str) -> NoReturn:
        token = self._peek()
        raise bad_query_text(
            f'Encountered " "{token.text}" "{token.upper} "" at line 1, column {token.column}.\n'
            f"Was expecting:\n    {expected} ...\n    "
        )

    def _take(self, wanted: str) -> bool:
        if self._peek().upper != wanted:
            return False
        self._next()
        return True

    def _demand(self, wanted: str) -> None:
        if not self._take(wanted):
            self._fail(f'"{wanted}"')

    def _name(self) -> str:
        token = self._peek()
        if token.kind != "word" or token.upper in _KEYWORDS:
            self._fail("<IDENTIFIER>")
        return self._next().text

    def _number(self) -> int:
        token = self._peek()
        if token.kind != "number" or not token.text.lstrip("-").isdigit():
            self._fail("<INTEGER>")
        return int(self._next().text)

    def parse(self, page_max: int) -> Query:
        self._demand("SELECT")
        count, fields = self._selection()
        self._demand("FROM")
        entity = self._name()
        conditions = self._conditions() if self._take("WHERE") else ()
        order = self._order()
        start = self._bounded(self._number(), None) if self._take("STARTPOSITION") else 1
        page = self._bounded(self._number(), page_max) if self._take("MAXRESULTS") else min(PAGE_DEFAULT, page_max)
        if self._peek().kind != "end":
            self._fail("<EOF>")
        return Query(entity, count, fields, conditions, order, start, page)

    def _bounded(self, value: int, value_max: int | None) -> int:
        if value < 1:
            raise bad_query(f"value {value} is too small. Min allowed value is 1")
        if value_max is not None and value > value_max:
            raise bad_query(f"value {value} is too large. Max allowed value is {value_max}")
        return value

    def _selection(self) -> tuple[bool, tuple[str, ...]]:
        if self._peek().upper == "COUNT":
            self._next()
            for sign in "(*)":
                self._demand(sign)
            return True, ()
        whole = False
        names: list[str] = []
        while True:
            if self._take("*"):
                whole = True
            else:
                names.append(self._name())
            if not self._take(","):
                return False, () if whole else tuple(names)

    def _conditions(self) -> tuple[Condition, ...]:
        found = [self._condition()]
        while self._take("AND"):
            found.append(self._condition())
        return tuple(found)

    def _condition(self) -> Condition:
        field = self._name()
        operator = self._peek().upper
        if operator not in _OPERATORS:
            self._fail('"=" or "<" or ">" or "<=" or ">=" or "IN" or "LIKE"')
        self._next()
        if operator != "IN":
            return Condition(field, operator, (self._value(),))
        self._demand("(")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._demand(")")
        return Condition(field, operator, tuple(values))

    def _value(self) -> str:
        token = self._peek()
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", self._next().text[1:-1])
        if token.kind == "number" or token.upper in {"TRUE", "FALSE"}:
            return self._next().text
        return self._fail("<STRING_LITERAL>")

    def _order(self) -> tuple[tuple[str, bool], ...]:
        if self._take("ORDER"):
            self._demand("BY")
        elif not self._take("ORDERBY"):
            return ()
        found: list[tuple[str, bool]] = []
        while True:
            name = self._name()
            descending = self._take("DESC")
            if not descending:
                self._take("ASC")
            found.append((name, descending))
            if not self._take(","):
                return tuple(found)


def parse(text: str, page_max: int) -> Query:
    """The query that the text asks.

    Raises:
        FaultError: 4000 if it does not parse, 4001 if it asks for too much.
    """
    return _Parser(text).parse(page_max)


Record = Mapping[str, Any]


def field_value(record: Record, path: str) -> Any:  # noqa: ANN401 - whatever the record holds
    """What a query's name means in a record: of a reference its value, of an e-mail address its text."""
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        return next((value[key] for key in ("value", "Address", "FreeFormNumber") if key in value), None)
    return value


def matcher(condition: Condition) -> Callable[[Record], bool]:
    """A test of one record.

    Raises:
        FaultError: 4001 if a value is of the wrong kind for its field.
    """
    field = condition.field
    if condition.operator == "LIKE":
        pattern = re.compile(re.escape(condition.values[0]).replace("%", ".*"), re.IGNORECASE | re.DOTALL)
        return lambda record: pattern.fullmatch(str(field_value(record, field) or "")) is not None
    compare = _compare_ids if field == "Id" else _compare
    if condition.operator in {"=", "IN"}:
        return lambda record: any(compare(field_value(record, field), value) == 0 for value in condition.values)
    wanted = condition.values[0]
    signs = {"<": (-1,), ">": (1,), "<=": (-1, 0), ">=": (0, 1)}[condition.operator]
    return lambda record: compare(field_value(record, field), wanted) in signs


def _compare_ids(held: str, asked: str) -> int:
    """Ids are numbers written as text; those of tax codes are words."""
    left, right = _id_key(held), _id_key(asked)
    return (left > right) - (left < right)


def _id_key(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() else (-1, text)


def _compare(held: Any, asked: str) -> int | None:  # noqa: ANN401 - whatever the record holds
    """-1, 0 or 1 as the held value is below, at or above the asked; None if the record has none."""
    if held is None:
        return None
    left, right = _comparable(held, asked)
    return int(left > right) - int(left < right)


def _comparable(held: Any, asked: str) -> tuple[Any, Any]:  # noqa: ANN401 - whatever the record holds
    if isinstance(held, bool):
        if asked.lower() not in {"true", "false"}:
            raise bad_query(f"Invalid boolean value: {asked}")
        return held, asked.lower() == "true"
    if isinstance(held, int | Decimal):
        try:
            return Decimal(held), Decimal(asked)
        except InvalidOperation as error:
            raise bad_query(f"Invalid number value: {asked}") from error
    if _TIME.fullmatch(held):
        return datetime.fromisoformat(held), _moment(asked)
    return held.casefold(), asked.casefold()


_TIME = re.compile(r"\d{4}-\d\d-\d\dT.*")


@lru_cache(maxsize=64)
def _moment(text: str) -> datetime:
    """A time of a query; a bare day begins at the company's midnight, and a time without an offset is the company's."""
    try:
        read = datetime.fromisoformat(text) if "T" in text else datetime.combine(date.fromisoformat(text), time())
    except ValueError as error:
        raise bad_query(f"Invalid date value: {text}") from error
    return read if read.tzinfo is not None else read.replace(tzinfo=PACIFIC)


def sort_key(record: Record, field: str) -> tuple[bool, Any]:
    """Orders records by a field; those without it come first."""
    value = field_value(record, field)
    if field == "Id":
        return True, _id_key(value)
    if isinstance(value, str):
        return True, datetime.fromisoformat(value) if _TIME.fullmatch(value) else value.casefold()
    return value is not None, value
