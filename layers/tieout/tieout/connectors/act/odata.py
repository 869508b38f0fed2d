"""Builds `$filter` expressions. Every value goes through here, so that none can end its literal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

QUERY_LENGTH_MAX = 1950
"""Characters of an encoded `$filter` at most. IIS allows 2,048 by default (`maxQueryString`)."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def text(value: str) -> str:
    """A text literal; a quote is doubled."""
    return "'" + value.replace("'", "''") + "'"


def segment(value: str) -> str:
    """The value as one segment of a path."""
    return quote(value, safe="")


def moment(value: str) -> str:
    """A time literal of a time as Act! gives it; its fraction is kept to the last digit.

    Raises:
        ValueError: If it is not a time with an offset.
    """
    if not _MOMENT.fullmatch(value):
        raise ValueError(f"not a time: {value[:40]!r}")
    return value.removesuffix("+00:00") + "Z" if value.endswith("+00:00") else value


def equals_any(field: str, values: Iterable[str]) -> str:
    """True where the field has one of the values."""
    return " or ".join(f"{field} eq {text(value)}" for value in values)


def after(edited: str, last_id: str) -> str:
    """True for what comes behind a record in the order `edited,id`."""
    when = moment(edited)
    return f"edited eq {when} and id gt {text(last_id)} or edited gt {when}"


def query(options: Mapping[str, str]) -> str:
    """The options as the query of an address; spaces are `%20`."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())


def portions(field: str, values: Sequence[str], *, values_max: int) -> Iterator[Sequence[str]]:
    """The values in portions whose `equals_any` fits into one query; a very long value stands alone."""
    portion: list[str] = []
    for value in values:
        too_long = len(quote(equals_any(field, [*portion, value]), safe="")) > QUERY_LENGTH_MAX
        if portion and (too_long or len(portion) == values_max):
            yield portion
            portion = []
        portion.append(value)
    if portion:
        yield portion
