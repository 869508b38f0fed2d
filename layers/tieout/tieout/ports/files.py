"""Where the rows of files are kept, and where files come from and go to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tieout.domain.files import FileRow, Import, Layout
from tieout.domain.records import Kind


class FileRows(Protocol):
    """The stored rows, as a connector reads them.

    Every method raises `UnavailableError` if the store cannot be asked now.
    """

    def rows(self, tenant: str, connection: str, kind: Kind, ids: Sequence[str]) -> Mapping[str, FileRow]:
        """Those of the ids that are stored; strongly consistent."""

    def named(self, tenant: str, connection: str, kind: Kind, field: str, values: Sequence[str]) -> Sequence[FileRow]:
        """Rows whose `field` (one of `INDEXED`) equals one of the values, ignoring case; 100 a value at most."""

    def listed(
        self, tenant: str, connection: str, kind: Kind, after: str | None, limit: int
    ) -> tuple[Sequence[FileRow], str | None]:
        """One page of all rows, and where to go on; None at the end."""

    def ids(self, tenant: str, connection: str, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of all ids, and where to go on; None at the end."""

    def fed(
        self, tenant: str, connection: str, kind: Kind, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[str]]]:
        """The entries of the feed whose number is above `after`, in order: each has ids of changed rows.

        An entry stands there before its rows are stored.
        """

    def newest_fed(self, tenant: str, connection: str, kind: Kind) -> int:
        """The number of the newest entry; 0 if there is none."""

    def under_way(self, tenant: str, connection: str) -> Import | None:
        """The import that is running; None if none is."""


INDEXED = ("name", "sku", "email")
"""Fields that rows are found by."""


class FileStore(FileRows, Protocol):
    """The same, as an import writes it. One import of a connection runs at a time: whoever runs it holds its lease."""

    def put_rows(self, tenant: str, connection: str, rows: Sequence[tuple[FileRow, FileRow | None]]) -> None:
        """Store each row in place of the former one, and how it is found by its fields.

        A former one of the same content is stored again: whoever died may have stored only half.
        """

    def remove_rows(self, tenant: str, connection: str, rows: Sequence[FileRow]) -> None:
        """Forget these rows."""

    def feed(self, tenant: str, connection: str, kind: Kind, number: int, ids: Sequence[str]) -> bool:
        """Add an entry to the feed; False if there is one of this number."""

    def layout(self, tenant: str, connection: str, digest: str) -> Layout | None:
        """How files with these columns are read; None if nobody decided yet."""

    def put_layout(self, tenant: str, connection: str, layout: Layout) -> None:
        """Remember it."""

    def put_import(self, one: Import) -> None:
        """Store or replace an import; it is the connection's newest, and the one under way if it is RUNNING."""

    def find_import(self, tenant: str, connection: str, import_id: str) -> Import | None:
        """The import of this id; None if there is none. Strongly consistent."""

    def last_import(self, tenant: str, connection: str, kind: Kind) -> Import | None:
        """The import of this kind that ended last; None if there is none. Strongly consistent."""

    def imports(self, tenant: str, connection: str) -> Iterator[Import]:
        """All that are kept, in no order."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file in the bucket.

    Attributes:
        place: Its whole name there, such as `inbox/acme.outlook/contacts.csv`.
        marks: What whoever put it there said: `complete`, `by`.
    """

    place: str
    size_bytes: int
    marks: Mapping[str, str]


class Exchange(Protocol):
    """The bucket that files come into and results go out to.

    Every method but `there` raises `UnavailableError` if the bucket cannot be asked now.
    """

    def there(self, place: str) -> Dropped | None:
        """The file at the place; None if there is none, or no longer."""

    def fetch(self, place: str, to: Path) -> None:
        """Write the file's bytes to a path, a few at a time."""

    def hand_out(self, path: Path, place: str) -> None:
        """Put a file from a path to a place."""

    def drop(self, place: str) -> None:
        """Remove what stands there, if anything does."""


class FileQueue(Protocol):
    """Where dropped files wait."""

    def send(self, place: str, *, delay_seconds: int, run: str = "") -> None:
        """Let the file at the place be looked at after `delay_seconds` (0 to 900); `run` if that import goes on.

        Raises:
            UnavailableError: If it could not be stored.
        """
