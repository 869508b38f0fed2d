"""One mailbox: where its contacts and deals stand, and who is meant by a customer's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from tieout.connectors.outlook.client import Client, Part
from tieout.connectors.outlook.feed import every_row
from tieout.connectors.outlook.manifest import OutlookSettings
from tieout.connectors.outlook.wire import EXTENSION
from tieout.domain.errors import RejectedError
from tieout.domain.records import Kind
from tieout.ports.clock import Clock

DEFAULT_FOLDER = "default"
"""The folder Contacts itself, which has no place in the tree of folders: `/contacts`."""

DIRECTORY_LASTS = timedelta(seconds=60)
LIST_SIZE = 500
_NAMES = "id,displayName,companyName,emailAddresses,categories"

type Json = Mapping[str, Any]


class Mailbox:
    """Paths and look-ups of one connection."""

    def __init__(self, client: Client, settings: OutlookSettings, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._list_id = ""
        self._directory: list[dict[str, Any]] = []
        self._directory_at: datetime | None = None

    def collections(self, kind: Kind) -> Sequence[str]:
        """What a feed of this kind reads: the contact folders, or the list of deals.

        Raises:
            RejectedError: If there is no list of deals of the settings' name, or several.
        """
        return [self.list_id(fresh=True)] if kind is Kind.DEAL else self._folders()

    def path(self, kind: Kind, collection: str) -> str:
        """Of the records in a collection."""
        root = self._settings.root
        if kind is Kind.DEAL:
            return f"{root}/todo/lists/{segment(collection)}/tasks"
        if collection == DEFAULT_FOLDER:
            return f"{root}/contacts"
        return f"{root}/contactFolders/{segment(collection)}/contacts"

    def record_path(self, kind: Kind, record_id: str) -> str:
        """Of one record; a contact is found by its id whatever its folder."""
        collection = self.list_id() if kind is Kind.DEAL else DEFAULT_FOLDER
        return f"{self.path(kind, collection)}/{segment(record_id)}"

    def list_id(self, *, fresh: bool = False) -> str:
        """The id of the list of deals.

        `/todo/lists` leaves lists out where there are many; its delta query does not.
        Source: https://learn.microsoft.com/answers/questions/594742, read 2026-11-22.

        Raises:
            RejectedError: If there is none of the settings' name, or several.
        """
        if self._list_id and not fresh:
            return self._list_id
        wanted = self._settings.deals_list
        rows = every_row(self._client, f"{self._settings.root}/todo/lists/delta")
        found = [
            row["id"]
            for row in rows
            if "@removed" not in row and str(row.get("displayName", "")).strip().casefold() == wanted.strip().casefold()
        ]
        if len(set(found)) != 1:
            raise RejectedError(
                f"The mailbox has {'several lists' if found else 'no list'} `{wanted}` in Microsoft To Do.",
                field="deals_list",
                next_step="Name one list so in To Do, or set `deals_list` in the connection document to its name.",
            )
        self._list_id = found[0]
        return self._list_id

    def customer(self, named: str) -> Json | None:
        """`{id, name}` of the contact that a deal's note names; None if none is, or several are."""
        wanted = _folded(named)
        found = {row["id"]: row for row in self.contacts() if wanted in _called(row)}
        if len(found) > 1:
            category = _folded(self._settings.customer_category)
            found = {
                one: row
                for one, row in found.items()
                if category in {_folded(each) for each in row.get("categories") or ()}
            }
        if len(found) != 1:
            return None
        ((record_id, row),) = found.items()
        return {"id": record_id, "name": row.get("companyName") or row.get("displayName")}

    def contacts(self, *, fresh: bool = False) -> list[dict[str, Any]]:
        """Names, addresses and categories of all contacts; up to a minute old."""
        now = self._clock.now()
        if fresh or self._directory_at is None or now - self._directory_at > DIRECTORY_LASTS:
            lists = [self.path(Kind.CONTACT, folder) for folder in self._folders()]
            self._directory = [
                row for path in lists for row in every_row(self._client, f"{path}?$select={_NAMES}&$top={LIST_SIZE}")
            ]
            self._directory_at = now
        return self._directory

    def read_parts(self, kind: Kind, record_id: str) -> list[Part]:
        """What has to be asked for one record: itself with our extension, or both alone where that is documented so.

        Source: https://learn.microsoft.com/graph/api/opentypeextension-get, read 2026-11-22.
        """
        path = self.record_path(kind, record_id)
        if kind is Kind.DEAL:
            return [Part("GET", path), Part("GET", f"{path}/extensions/{EXTENSION}")]
        return [Part("GET", f"{path}?$expand=extensions($filter=id%20eq%20'{EXTENSION}')")]

    def _folders(self) -> Sequence[str]:
        """The default folder, and all others of the tree, however deep."""
        root = self._settings.root
        rows = list(every_row(self._client, f"{root}/contactFolders/delta"))
        # Some mailboxes list the default folder, too: it would be read twice.
        newest = self._client.rows_of(self._client.get(f"{root}/contacts?$select=id,parentFolderId&$top=1"))
        default = {row.get("parentFolderId") for row in newest}
        return [
            DEFAULT_FOLDER,
            *dict.fromkeys(row["id"] for row in rows if "@removed" not in row and row["id"] not in default),
        ]


def segment(value: str) -> str:
    """The value as one segment of a path: ids hold `=` and `/`, and case matters."""
    return quote(value, safe="")


def _called(row: Json) -> set[str]:
    emails = [each.get("address") for each in row.get("emailAddresses") or () if isinstance(each, dict)]
    return {
        _folded(name) for name in (row.get("displayName"), row.get("companyName"), *emails) if isinstance(name, str)
    } - {""}


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
