"""Paths: where a value stands in a record, parsed once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, TypeIs

from tieout.domain.records import Value

PATH_LENGTH_MAX = 200
RECORD: Final = "record"

_PART = re.compile(
    r"""(?P<name>[A-Za-z_][A-Za-z0-9_-]*) | \[(?P<index>\d{1,4})\] | \[(?P<every>\*)\] | \["(?P<quoted>[^"\]]+)"\]""",
    re.VERBOSE,
)


class Absent(Enum):
    """The type of ABSENT."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent.ABSENT
"""Nothing stands at the path: the record does not have that field. Null, empty text and zero are values."""

type Found = Value | Literal[Absent.ABSENT]
type Part = str | int | None


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path: a name for each field, a number for `[n]`, None for `[*]`."""

    text: str
    parts: tuple[Part, ...]

    def read(self, value: Found) -> Found:
        """What stands at the path in `value`: ABSENT if a field or an item is missing, None behind a null.

        A path with `[*]` gives a list of what stands in each item, without those that are absent or null.
        """
        return read_parts(value, self.parts)


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """The path that `text` writes: `name`, `contact.email`, `companies[0].id`, `tags[*]`, `custom_fields["Order no."]`.

    Raises:
        ValueError: If it writes none; the message is a sentence.
    """
    if len(text) > PATH_LENGTH_MAX:
        raise ValueError(f"a path has at most {PATH_LENGTH_MAX} characters")
    parts: list[Part] = []
    position = 0
    while position < len(text):
        dot = bool(parts) and text[position] == "."
        match = _PART.match(text, position + dot)
        # A name follows a dot or stands first; brackets follow a part at once.
        if match is None or (match["name"] is not None) is not (dot or not parts):
            break
        parts.append(_part(match))
        position = match.end()
    if not parts or position < len(text):
        raise ValueError(
            f"`{text}` is not a path: write field names with dots, such as `contact.email`, `[0]` for the first item"
            ' of a list, `[*]` for all of them, `["…"]` for a name with spaces'
        )
    return Path(text, tuple(parts))


def path_text(text: str) -> str:
    """The text as it is.

    Raises:
        ValueError: If it writes no path.
    """
    parse_path(text)
    return text


def _part(match: re.Match[str]) -> Part:
    if match["index"] is not None:
        return int(match["index"])
    if match["every"] is not None:
        return None
    return match["name"] or match["quoted"]


def read_parts(value: Found, parts: tuple[Part, ...]) -> Found:
    """What stands at the parts of a path, see `Path.read`."""
    for number, part in enumerate(parts):
        if value is None or value is ABSENT:
            return value
        if part is None:
            return _read_every(value, parts[number + 1 :])
        value = _step(value, part)
    return value


def _step(value: Value, part: str | int) -> Found:
    if isinstance(part, str):
        return value.get(part, ABSENT) if isinstance(value, Mapping) else ABSENT
    if is_list(value):
        return value[part] if part < len(value) else ABSENT
    return ABSENT


def _read_every(value: Value, rest: tuple[Part, ...]) -> Found:
    if not is_list(value):
        return ABSENT
    found = [read_parts(item, rest) for item in value]
    return [item for item in found if item is not None and item is not ABSENT]


def is_list(value: object) -> TypeIs[Sequence[Value]]:
    """True for a list of values; text is none."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
