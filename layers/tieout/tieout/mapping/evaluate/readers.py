"""Readers: where the value of a rule comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tieout.domain.records import Value
from tieout.mapping.evaluate.scope import Scope
from tieout.mapping.paths import ABSENT, Found, Path

type Reader = Callable[[Scope], tuple[str, Found]]
"""Gives the path that was read, empty for none, and what stands there."""


def read_path(path: Path) -> Reader:
    """Reads one path."""
    return lambda scope: (path.text, scope.read(path))


def read_first(paths: Sequence[Path]) -> Reader:
    """Reads the first of the paths that has a value; if none has, the first that is null or empty, not absent."""

    def read(scope: Scope) -> tuple[str, Found]:
        fallback: tuple[str, Found] = (paths[0].text, ABSENT)
        for path in paths:
            found = scope.read(path)
            if not is_empty(found):
                return path.text, found
            if fallback[1] is ABSENT:
                fallback = (path.text, found) if found is not ABSENT else fallback
        return fallback

    return read


def read_constant(value: Value) -> Reader:
    """Reads nothing."""
    return lambda _: ("", value)


def read_item(scope: Scope) -> tuple[str, Found]:
    """Reads what the rules of a list gave."""
    return "", scope.item


def is_empty(value: Found) -> bool:
    """True if nothing is said: absent, null, an empty list, or text of spaces at most."""
    return value is None or value is ABSENT or (isinstance(value, str) and not value.strip()) or value == []
