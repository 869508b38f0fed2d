"""What changed since, and all ids: pages by id within a stretch of time.

Tryton lists no changes, and a record's date stays when an address of it changes; so a page asks for records of which
the record or a part was made or changed since a moment, in the order of ids. Edits of equal time cannot fall between
two pages then. A transaction shows what it wrote once it is committed, with the time at which it began: each stretch
therefore begins a while before the last one was walked.
Source: trytond 8.2.1, `model/modelsql.py` (write_date), read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tieout.connectors.tryton import wire
from tieout.connectors.tryton.client import Client
from tieout.connectors.tryton.read import SOURCES
from tieout.domain.errors import UnavailableError
from tieout.domain.records import Kind, Record
from tieout.ports.clock import Clock
from tieout.ports.connector import ChangePage

PAGE_SIZE = 100
IDS_PAGE_SIZE = 500
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a feed stands.

    Attributes:
        since: What was changed from here on is walked; None means everything.
        after: The last id that was given out.
        following: Where the next stretch begins; None at the beginning of one.
    """

    since: str | None = None
    after: int = 0
    following: str | None = None

    @property
    def text(self) -> str:
        """For storing."""
        return json.dumps({"since": self.since, "after": self.after, "following": self.following})

    @classmethod
    def of(cls, text: str) -> Cursor:
        """The cursor of a stored text.

        Raises:
            UnavailableError: If it is none of ours.
        """
        try:
            stored = json.loads(text)
            for moment in (stored["since"], stored["following"]):
                if moment is not None:
                    datetime.fromisoformat(moment)
            return cls(stored["since"], int(stored["after"]), stored["following"])
        except (ValueError, KeyError, TypeError):
            raise UnavailableError("The stored cursor of the Tryton connection cannot be read.") from None


class Feed:
    """Pages of changes.

    Args:
        records: Makes records of rows of a kind.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        overlap: timedelta,
        records: Callable[[Kind, Sequence[wire.Row]], list[Record]],
    ) -> None:
        self._client = client
        self._clock = clock
        self._overlap = overlap
        self._records = records

    def now(self) -> str:
        """A cursor from now on."""
        return Cursor(self._safe()).text

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """A page of what changed, in the order of edits within the page."""
        stands = Cursor.of(cursor) if cursor is not None else Cursor()
        following = stands.following or self._safe()
        source = SOURCES[kind]
        domain = [*source.domain, ["id", ">", stands.after]]
        if stands.since is not None:
            domain.append(source.since(datetime.fromisoformat(stands.since)))
        rows = self._client.rows(source.model, domain, source.asked, limit=PAGE_SIZE, inactive=source.inactive)
        more = len(rows) >= PAGE_SIZE
        behind = Cursor(stands.since, rows[-1]["id"], following) if more else Cursor(following)
        ordered = sorted(self._records(kind, rows), key=lambda record: record.edited_at or _EVER)
        return ChangePage(ordered, behind.text, more=more)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """A page of all ids."""
        source = SOURCES[kind]
        domain = [*source.domain, ["id", ">", int(after or 0)]]
        rows = self._client.rows(source.model, domain, ["id"], limit=IDS_PAGE_SIZE, inactive=source.inactive)
        ids = [str(row["id"]) for row in rows]
        return ids, ids[-1] if len(ids) >= IDS_PAGE_SIZE else None

    def _safe(self) -> str:
        return (self._clock.now() - self._overlap).isoformat()
