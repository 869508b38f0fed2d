"""Opening bytes as a file, and reading all of it."""

from __future__ import annotations

import io
from typing import Any

from tieout.domain.records import Kind
from tieout.files import Choices, Limits, SourceFile, open_file, suggest, to_fields


def opened(
    content: bytes | str, name: str = "contacts.csv", limits: Limits | None = None, **choices: Any
) -> SourceFile:
    data = content.encode() if isinstance(content, str) else content
    return open_file(io.BytesIO(data), name=name, choices=Choices(**choices), limits=limits or Limits())


def values(source: SourceFile) -> list[list[str | None]]:
    return [[row.values.get(title) for title in source.columns] for row in source.rows()]


def imported(source: SourceFile, kind: Kind | None = None) -> list[dict[str, Any]]:
    """The fields of each row, none of which has a problem."""
    columns = suggest(source, kind)
    found = []
    for row in source.rows():
        fields, problems = to_fields(row, columns, source.findings)
        assert problems == ()
        found.append(fields)
    return found
