"""Files that people hand in: the rows that were stored of them, how their columns are read, and how an import goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tieout.domain.records import Fields, Kind

KINDS = frozenset({Kind.COMPANY, Kind.CONTACT, Kind.DEAL, Kind.PRODUCT})
"""What the rows of a file can be. A connection has one store of each, into which its files go."""


class RowState(StrEnum):
    """How a row ended. REPEATED: another row of the same file has its key; the last one counts."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REPEATED = "repeated"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row as it is kept: the newest of its key.

    Attributes:
        id: Its key, from the row itself; never its number.
        fields: In our words, see `tieout.domain.records`.
        digest: Of the fields; equal for equal ones.
        changed_at: When an import made it what it is. Aware UTC.
        run: The import that did, and which time of it (`Import.run`); `number` is its row in that file, from 1.
        state: NEW or CHANGED, as that import found it.
    """

    kind: Kind
    id: str
    fields: Fields
    digest: str
    changed_at: datetime
    run: str
    number: int
    state: RowState


@dataclass(frozen=True, slots=True)
class Layout:
    """How files with the same columns are read, as a person decided once.

    Attributes:
        digest: Of the form and the columns' names.
        columns: Where the columns go: `tieout.files.Columns` as plain data.
        choices: What was decided about reading: `tieout.files.Choices` as plain data.
        saved_by: Who decided.
    """

    digest: str
    columns: Mapping[str, Any]
    choices: Mapping[str, Any]
    saved_by: str
    saved_at: datetime


class ImportState(StrEnum):
    """RUNNING goes on by itself, WAITING needs a person, STOPPED gave way to a newer file, REFUSED was not read."""

    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    STOPPED = "stopped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Import:
    """One file on its way into a connection's rows.

    Attributes:
        id: Of the file's content, of how it is read and of whether it is complete: the same file again has the same.
        name: The file's own, for people.
        time: How often it was begun; the same file is read again if another one came in between.
        row: Up to this row everything is stored and queued, and its results are written.
        fed: The number of the newest entry of the feed that is so.
        counts: Rows by state; `gone` for records that a complete file no longer has.
        complete: A record that is not in the file is gone.
        held: Nothing is queued; a person plans first.
        problem: Why it waits or was refused; `next_step` says what to do.
        place: Where it lies in the bucket; empty if it came from elsewhere.
        results: Where the result file is; where its parts are until it is done.
    """

    tenant: str
    connection: str
    id: str
    name: str
    state: ImportState
    started_at: datetime
    touched_at: datetime
    kind: Kind | None = None
    time: int = 1
    row: int = 0
    fed: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    complete: bool = False
    held: bool = False
    by: str = ""
    place: str = ""
    problem: str = ""
    next_step: str = ""
    results: tuple[str, ...] = ()
    finished_at: datetime | None = None

    @property
    def run(self) -> str:
        """Marks the rows that were stored by this import, this time."""
        return f"{self.id}/{self.time}"
