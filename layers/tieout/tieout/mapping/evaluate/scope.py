"""One evaluation: what it reads, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tieout.domain.errors import MappingError
from tieout.domain.records import Record, Value
from tieout.mapping.evaluate.links import LinkTo
from tieout.mapping.paths import RECORD, Found, Path, parse_path, read_parts


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a record becomes.

    Attributes:
        fields: Plain values, nested as the document is; absent fields are left out, None empties a field. Links stand
            where ids will.
        links: All of them, in order, without repeats.
        notices: What a person should know and nothing stops for.
    """

    fields: dict[str, Any]
    links: tuple[LinkTo, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """How one field got its value.

    Attributes:
        rule: Where the rule stands; `lines[0]` for the rule's first item.
        path: Where it read; empty for a constant.
        read: What stood there; ABSENT if nothing.
        steps: Each transform's name, and the value after it; `default` is one of them.
        result: What the field gets; ABSENT if it is left alone.
        error: Why it got none.
    """

    rule: str
    path: str
    read: Found
    steps: tuple[tuple[str, Value], ...]
    result: Value | LinkTo | Found
    error: MappingError | None = None


@dataclass(slots=True)
class Scope:
    """One evaluation: the record, the item of a list that is being read, and what comes out besides the value."""

    record: Record
    item: Found = None
    inside: str = ""
    notices: list[str] = field(default_factory=list)
    links: dict[LinkTo, None] = field(default_factory=dict)
    trace: list[Explained] | None = None
    label: str = ""

    def read(self, path: Path) -> Found:
        """What stands at the path: in the item, or in the record if there is none or the path starts with `record`."""
        if path.parts[0] == RECORD:
            return _read_record(self.record, path.parts[1:])
        if self.inside:
            return path.read(self.item)
        return _read_record(self.record, path.parts)

    def look(self, path: str) -> Found:
        """The same, for a transform."""
        return self.read(parse_path(path))

    def notice(self, sentence: str) -> None:
        """Keep a notice about the field that is being evaluated."""
        self.notices.append(f"{self.label}: {sentence}")

    def place(self, path: str) -> str:
        """The path as seen from the record."""
        if path.startswith(f"{RECORD}."):
            return path.removeprefix(f"{RECORD}.")
        return f"{self.inside}.{path}" if self.inside and path else self.inside + path

    def within(self, item: Found, place: str) -> Scope:
        """The same evaluation, inside an item."""
        return Scope(self.record, item, place, self.notices, self.links, self.trace)


def _read_record(record: Record, parts: tuple[str | int | None, ...]) -> Found:
    if parts == ("id",) and "id" not in record.fields:
        return record.id
    return read_parts(record.fields, parts)
