"""The way back: from which path of the source record a field has its value, and so where another value may go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tieout.domain.records import Fields, Record, Value
from tieout.mapping.document import Rule
from tieout.mapping.evaluate.readers import is_empty
from tieout.mapping.paths import Found, parse_path


@dataclass(frozen=True, slots=True)
class Way:
    """How one field of a document can go back.

    Attributes:
        paths: Where its value comes from, the first first; none for a field that only goes one way: a constant, a list,
            a link.
        table: Of a lookup on the way, by what it reads.
    """

    paths: tuple[str, ...] = ()
    table: Mapping[str, Value] = field(default_factory=dict)

    def place(self, record: Record, is_writable: Callable[[str], bool]) -> str | None:
        """The path that a value goes back to; None if there is none that may be written.

        That is the one whose value counts now. If none has a value, it is the first that stands in a group which has
        one, such as an address that is there.
        """
        paths = [path for path in self.paths if is_plain(path) and is_writable(path)]
        read = next((path for path in self.paths if not is_empty(read_path(record, path))), None)
        if read is not None:
            return read if read in paths else None
        return next((path for path in paths if _stands(record, path)), paths[0] if paths else None)

    def candidates(self, value: Value) -> list[Value]:
        """What may stand in the source record for this value: itself, or what the lookup makes it of."""
        if not self.table:
            return [value]
        return [key for key, made in self.table.items() if made == value] or [value]


def ways_of(rules: Mapping[str, Rule], before: str = "") -> dict[str, Way]:
    """Each field's way back by its path in the document: `billing_address.city`."""
    ways: dict[str, Way] = {}
    for name, rule in rules.items():
        path = f"{before}{name}"
        if rule.object_ is not None:
            ways |= ways_of(rule.object_, f"{path}.")
        else:
            ways[path] = _way(rule)
    return ways


type Winner = Literal["source", "target", "newest", "ask"]
"""Whose value counts if both sides changed a field."""


def owners_of(rules: Mapping[str, Rule], before: str = "", group: Winner | None = None) -> dict[str, Winner]:
    """Whose value counts if both sides changed a field, by its path; what a group says holds for its fields."""
    owners: dict[str, Winner] = {}
    for name, rule in rules.items():
        path, owner = f"{before}{name}", rule.owner or group
        if rule.object_ is not None:
            owners |= owners_of(rule.object_, f"{path}.", owner)
        elif owner is not None:
            owners[path] = owner
    return owners


def _way(rule: Rule) -> Way:
    paths = rule.paths or ([rule.path] if rule.path is not None else [])
    if rule.link is not None:
        return Way()
    tables = [step.lookup.table for step in rule.transforms or [] if step.lookup is not None]
    return Way(tuple(paths), next((table for table in tables if table is not None), {}))


def is_plain(path: str) -> bool:
    """True for a path of names alone: no item of a list, nothing of the record itself."""
    parts = parse_path(path).parts
    return all(isinstance(part, str) for part in parts) and parts != ("id",)


def with_values(record: Record, values: Mapping[str, Value]) -> Record:
    """The record as it is once these values stand at their paths."""
    fields: Fields = record.fields
    for path, value in values.items():
        fields = _with(fields, [str(part) for part in parse_path(path).parts], value)
    return replace(record, fields=fields)


def _with(fields: Any, parts: list[str], value: Value) -> dict[str, Any]:  # noqa: ANN401 - a group, or what is none yet
    changed = dict(fields) if isinstance(fields, Mapping) else {}
    changed[parts[0]] = value if len(parts) == 1 else _with(changed.get(parts[0]), parts[1:], value)
    return changed


def read_path(record: Record, path: str) -> Found:
    """What stands in the record at this path; ABSENT if nothing."""
    return parse_path(path).read(record.fields)


def _stands(record: Record, path: str) -> bool:
    """True if the group that the path leads into has a value."""
    group, dot, _ = path.rpartition(".")
    if not dot:
        return True
    found = read_path(record, group)
    return isinstance(found, Mapping) and any(not is_empty(one) for one in found.values())
