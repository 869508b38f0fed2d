"""The part of OData that Act! has: `$filter`, `$orderby`, `$top`, `$skip`, `$select`, `$expand`. Pure.

Operators eq, ne, lt, le, gt, ge, and, or, parentheses; contains, startswith, endswith; `any` over a list; paths such
as `businessAddress/state`. Anything else raises, as it does there.
Source: {base}/OData/Index of a Web API, read 2026-08-13. That text compares without regard to case is unconfirmed: it
follows the usual collation of SQL Server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import eq, ge, gt, le, lt, ne
from typing import Any

type Row = Mapping[str, Any]
type Predicate = Callable[[Row], bool]

NESTING_MAX = 50
_OPERATORS = {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}
_FUNCTIONS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')"
    r"|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))"
    r"|(?P<guid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_]\w*(?:/[A-Za-z_]\w*)*)"
    r"|(?P<sign>[(),:]))"
)
_OPTIONS = frozenset({"$filter", "$orderby", "$top", "$skip", "$select", "$expand"})
TIMES = frozenset(
    {"created", "edited", "createDate", "editDate", "openDate", "actualCloseDate", "estimatedCloseDate", "importDate"}
)


class QueryError(ValueError):
    """A query that Act! would answer with 400."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled `$filter`.

    Attributes:
        ids: If not None, no record with another id can match: look these up instead of trying every record.
    """

    matches: Predicate
    ids: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Query:
    """The options of one request."""

    filter: Filter | None
    orderby: tuple[tuple[str, bool], ...]
    top: int
    skip: int
    select: tuple[str, ...]

    def page(self, rows: Iterable[Row]) -> list[Row]:
        """Those rows that the query asks for."""
        found = [row for row in rows if self.filter is None or self.filter.matches(row)]
        for path, descending in reversed(self.orderby):
            found.sort(key=_sort_key(path), reverse=descending)
        page = found[self.skip : self.skip + self.top]
        return [{name: row.get(name) for name in self.select} for row in page] if self.select else page


def parse(options: Mapping[str, str], fields: frozenset[str], *, top_default: int, top_max: int) -> Query:
    """The query of a request's parameters; those without `$` are not OData and are left to others.

    Raises:
        QueryError: If Act! would refuse it.
    """
    unknown = [name for name in options if name.startswith("$") and name not in _OPTIONS]
    if unknown:
        raise QueryError(f"The query option '{unknown[0]}' is not supported.")
    for part in filter(None, options.get("$expand", "").split(",")):
        _known(part.strip(), fields)
    return Query(
        filter=_Parser(options["$filter"], fields).filter() if options.get("$filter") else None,
        orderby=tuple(_ordering(part, fields) for part in filter(None, options.get("$orderby", "").split(","))),
        top=min(_count(options.get("$top", str(top_default)), "$top"), top_max),
        skip=_count(options.get("$skip", "0"), "$skip"),
        select=tuple(_known(part.strip(), fields) for part in filter(None, options.get("$select", "").split(","))),
    )


def _count(text: str, option: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise QueryError(f"Invalid value '{text}' for {option} query option found.")
    return int(text)


def _ordering(part: str, fields: frozenset[str]) -> tuple[str, bool]:
    path, _, direction = part.strip().partition(" ")
    if direction.strip() not in {"", "asc", "desc"}:
        raise QueryError(f"Syntax error in the $orderby expression '{part}'.")
    return _known(path, fields), direction.strip() == "desc"


def _known(path: str, fields: frozenset[str]) -> str:
    """The path with its first name as the model spells it."""
    first, slash, rest = path.partition("/")
    if first not in fields:
        spelled = {field.lower(): field for field in fields}.get(first.lower())
        if spelled is None:
            raise QueryError(f"Could not find a property named '{first}'.")
        first = spelled
    return f"{first}{slash}{rest}"


@lru_cache(maxsize=65536)
def moment(text: str) -> datetime:
    """The time of a wire value; cached, because many records share one."""
    return datetime.fromisoformat(text)


@lru_cache(maxsize=1024)
def _reader(path: str) -> Callable[[Row], Any]:
    """Reads the path in a row as something that compares: a time, a number, text without regard to case, or None."""
    names = path.split("/")
    is_time = path in TIMES

    def read(row: Row) -> Any:  # noqa: ANN401 - a field is anything
        value: Any = row
        for name in names:
            if not isinstance(value, Mapping):
                return None
            value = value[name] if name in value else _by_any_case(value, name)
        if isinstance(value, str):
            return moment(value) if is_time else value.casefold()
        return value

    return read


def _by_any_case(value: Row, name: str) -> Any:  # noqa: ANN401 - a field is anything
    return {key.lower(): kept for key, kept in value.items()}.get(name.lower())


def _sort_key(path: str) -> Callable[[Row], tuple[bool, Any]]:
    read = _reader(path)

    def key(row: Row) -> tuple[bool, Any]:
        value = read(row)
        return value is not None, value if value is not None else 0

    return key


class _Parser:
    """Recursive descent over the tokens of one `$filter`."""

    def __init__(self, text: str, fields: frozenset[str], variable: str = "") -> None:
        self._text = text
        self._fields = fields
        self._variable = variable
        self._depth = 0
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            token = _TOKEN.match(text, place)
            if token is None or token.lastgroup is None:
                raise QueryError(f"Syntax error at position {place} in '{text}'.")
            self._tokens.append((token.lastgroup, token[token.lastgroup]))
            place = token.end()
        self._next = 0

    def filter(self) -> Filter:
        found = self._any_of()
        if self._next < len(self._tokens):
            raise self._error()
        return found

    def _error(self) -> QueryError:
        return QueryError(f"Syntax error in the $filter expression '{self._text}'.")

    def _take(self, *wanted: str) -> str:
        """The next token, of one of these groups or with one of these texts."""
        if self._next >= len(self._tokens):
            raise self._error()
        group, text = self._tokens[self._next]
        if group not in wanted and text not in wanted:
            raise self._error()
        self._next += 1
        return text

    def _is_next(self, text: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next][1] == text:
            self._next += 1
            return True
        return False

    def _any_of(self) -> Filter:
        parts = [self._all_of()]
        while self._is_next("or"):
            parts.append(self._all_of())
        if len(parts) == 1:
            return parts[0]
        tests = [part.matches for part in parts]
        ids = [part.ids for part in parts if part.ids is not None]
        together = frozenset[str]().union(*ids) if len(ids) == len(parts) else None
        return Filter(lambda row: any(test(row) for test in tests), together)

    def _all_of(self) -> Filter:
        parts = [self._term()]
        while self._is_next("and"):
            parts.append(self._term())
        if len(parts) == 1:
            return parts[0]
        tests = [part.matches for part in parts]
        ids = [part.ids for part in parts if part.ids is not None]
        return Filter(lambda row: all(test(row) for test in tests), frozenset.intersection(*ids) if ids else None)

    def _term(self) -> Filter:
        if self._is_next("("):
            self._depth += 1
            if self._depth > NESTING_MAX:
                raise QueryError("The node count limit was exceeded.")
            inside = self._any_of()
            self._take(")")
            self._depth -= 1
            return inside
        word = self._take("word")
        if word in _FUNCTIONS:
            return self._function(_FUNCTIONS[word])
        if word.endswith("/any"):
            return self._any_element(self._path(word.removesuffix("/any")))
        return self._comparison(self._path(word))

    def _path(self, word: str) -> str:
        if not self._variable:
            return _known(word, self._fields)
        variable, _, rest = word.partition("/")
        if variable != self._variable or not rest:
            raise self._error()
        return rest

    def _function(self, function: Callable[[str, str], bool]) -> Filter:
        self._take("(")
        path = self._path(self._take("word"))
        self._take(",")
        part = _string(self._take("string")).casefold()
        self._take(")")

        read = _reader(path)

        def matches(row: Row) -> bool:
            value = read(row)
            return isinstance(value, str) and function(value, part)

        return Filter(matches, None)

    def _any_element(self, path: str) -> Filter:
        self._take("(")
        outer, self._variable = self._variable, self._take("word")
        self._take(":")
        inside = self._any_of().matches
        self._take(")")
        self._variable = outer
        read = _reader(path)
        return Filter(lambda row: any(inside(each) for each in read(row) or ()), None)

    def _comparison(self, path: str) -> Filter:
        name = self._take("word")
        if name not in _OPERATORS:
            raise self._error()
        operator = _OPERATORS[name]
        literal = self._literal(path)
        read = _reader(path)
        if literal is None:
            if name not in {"eq", "ne"}:
                raise self._error()
            empty = name == "eq"
            return Filter(lambda row: (read(row) is None) == empty, None)

        def matches(row: Row) -> bool:
            value = read(row)
            if value is None:
                return name == "ne"
            try:
                return bool(operator(value, literal))
            except TypeError as error:
                raise QueryError(f"'{path}' cannot be compared with this kind of value.") from error

        ids = frozenset({literal}) if path == "id" and name == "eq" and isinstance(literal, str) else None
        return Filter(matches, None if self._variable else ids)

    def _literal(self, path: str) -> str | datetime | float | bool | None:
        if self._next >= len(self._tokens):
            raise self._error()
        group, _ = self._tokens[self._next]
        text = self._take("string", "time", "guid", "number", "true", "false", "null")
        if group != "time" and path in TIMES and text != "null":
            raise QueryError(f"A time is needed to compare '{path}' with.")
        match group:
            case "string":
                return _string(text).casefold()
            case "guid":
                return text.casefold()
            case "time":
                if path not in TIMES:
                    raise QueryError(f"'{path}' is not a time.")
                return moment(text)
            case "number":
                return float(text)
            case _:
                return None if text == "null" else text == "true"


def _string(token: str) -> str:
    return token[1:-1].replace("''", "'")
