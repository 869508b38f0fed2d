"""Delta queries over several collections, as one feed. Graph's links are opaque and stand in our cursor as they came.

A collection is a contact folder, or the list of deals. A round asks each for what changed since its last link; between
rounds the tree of folders is read again, so that a new folder is followed and one that is gone is noticed.

Source: https://learn.microsoft.com/graph/delta-query-overview and /graph/api/contact-delta, read 2026-08-13.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tieout.connectors.outlook.client import Client
from tieout.connectors.outlook.errors import ResyncError
from tieout.domain.errors import UnavailableError

PAGE_SIZE = "odata.maxpagesize=200"
"""Graph gives contacts by tens unless asked. Source: https://learn.microsoft.com/answers/a/2052165, read 2026-08-13."""

ROUND_PAGES_MAX = 5000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a feed stands.

    Attributes:
        links: By collection, Graph's link to go on with; of one that is not in it everything is still to come.
        pending: Collections that this round has not finished.
    """

    links: Mapping[str, str] = field(default_factory=dict)
    pending: Sequence[str] = ()

    @property
    def text(self) -> str:
        """For storing."""
        return json.dumps({"links": dict(self.links), "pending": list(self.pending)})

    @classmethod
    def of(cls, text: str) -> Cursor:
        """The cursor of a stored text.

        Raises:
            UnavailableError: If it is none of ours.
        """
        try:
            stored = json.loads(text)
            links = {str(name): str(link) for name, link in stored["links"].items()}
            return cls(links, [str(name) for name in stored["pending"]])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnavailableError("The stored cursor of the Outlook connection cannot be read.") from None


@dataclass(frozen=True, slots=True)
class Page:
    """One page: rows as Graph sends them, ids that are gone, and where to go on."""

    rows: Sequence[dict[str, Any]]
    gone: Sequence[str]
    cursor: Cursor
    unsure: bool = False


class Feed:
    """Reads pages.

    Args:
        collections: The collections that there are now.
        path: Of a collection, behind the base address.
    """

    def __init__(self, client: Client, collections: Callable[[], Sequence[str]], path: Callable[[str], str]) -> None:
        self._client = client
        self._collections = collections
        self._path = path

    def page(self, cursor: Cursor) -> Page:
        """The next page. `unsure` says that a collection or its token is gone: what was deleted there was not told."""
        unsure = False
        if not cursor.pending:
            there = self._collections()
            unsure = not set(cursor.links) <= set(there)
            cursor = Cursor({name: cursor.links[name] for name in there if name in cursor.links}, there)
        name = cursor.pending[0]
        try:
            body = self._ask(name, cursor.links.get(name))
        except ResyncError:
            if name not in cursor.links:
                raise UnavailableError("Outlook does not begin its feed of changes anew.") from None
            # The token is dead: all comes again, and who vanished meanwhile has to be found by comparing ids.
            body, unsure = self._ask(name, None), True
        rows = self._client.rows_of(body)
        gone = [row["id"] for row in rows if "@removed" in row]
        link, done = _link(body)
        links = {**cursor.links, name: link}
        pending = list(cursor.pending[1:] if done else cursor.pending)
        return Page([row for row in rows if "@removed" not in row], gone, Cursor(links, pending), unsure)

    def end(self) -> Cursor:
        """Where the feed stands now: for Outlook's items there is no way but to read all of it."""
        cursor = Cursor()
        for _ in range(ROUND_PAGES_MAX):
            cursor = self.page(cursor).cursor
            if not cursor.pending:
                return cursor
        raise UnavailableError("Outlook's feed of changes does not end.")

    def _ask(self, name: str, link: str | None) -> Mapping[str, Any]:
        if link is None:
            return self._client.get(f"{self._path(name)}/delta", prefer=PAGE_SIZE)
        return self._client.follow(link, prefer=PAGE_SIZE)


def _link(body: Mapping[str, Any]) -> tuple[str, bool]:
    """The link to go on with, and True if this was the last page."""
    further, end = body.get("@odata.nextLink"), body.get("@odata.deltaLink")
    if isinstance(further, str):
        return further, False
    if isinstance(end, str):
        return end, True
    raise UnavailableError("Microsoft Graph does not say where the feed of changes goes on.")


def every_row(client: Client, path: str) -> Iterator[dict[str, Any]]:
    """All records of a plain list, page by page."""
    body = client.get(path, prefer=PAGE_SIZE)
    for _ in range(ROUND_PAGES_MAX):
        yield from client.rows_of(body)
        further = body.get("@odata.nextLink")
        if not isinstance(further, str):
            return
        body = client.follow(further, prefer=PAGE_SIZE)
    raise UnavailableError("Microsoft Graph's list does not end.")
