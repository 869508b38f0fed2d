"""The audit trail's places: where its entries are archived, and where its newest one is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tieout.domain.audit import Tip
from tieout.domain.connections import Connection
from tieout.domain.links import Link
from tieout.ports.state import Run, StoredSync


@dataclass(frozen=True, slots=True)
class PlanItem:
    """A stored plan without its writes, which its digest stands for; `values` as they are stored."""

    tenant: str
    id: str
    values: Mapping[str, Any]


type Item = Link | Connection | StoredSync | Run | PlanItem


@dataclass(frozen=True, slots=True)
class Noticed:
    """One change of the table. It is told at least once, and in order for each item.

    Attributes:
        event: Names the change; equal if it is told again.
        at: When the table was changed, to the second or better. Aware UTC.
        before, after: The item; None if it was not there, or is gone.
    """

    tenant: str
    event: str
    at: datetime
    before: Item | None
    after: Item | None


@dataclass(frozen=True, slots=True)
class Stored:
    """An object of the archive: the number of its first entry, and when it was written, by the archive's clock."""

    first: int
    written_at: datetime


class Archive(Protocol):
    """Objects that are written once. An object holds entries that follow each other, a line each."""

    def put(self, tenant: str, first: int, body: bytes) -> bool:
        """Store an object under the number of its first entry; False if one stands there already."""

    def get(self, tenant: str, first: int) -> bytes | None:
        """The object; None if there is none. Strongly consistent."""

    def read(self, tenant: str, firsts: Iterable[int]) -> Iterator[tuple[int, bytes | None]]:
        """Each of these objects, in this order."""

    def objects(self, tenant: str, *, after: int = 0) -> Iterator[Stored]:
        """The objects whose first entry's number is above `after`, in order. Strongly consistent."""


class TipStore(Protocol):
    """Remembers where each chain ended when it was last looked at. It may be behind, never ahead."""

    def tip(self, tenant: str) -> Tip | None:
        """The newest entry that is known of; None if there is none. Strongly consistent."""

    def advance(self, tenant: str, tip: Tip) -> None:
        """Remember it, unless a newer one is known."""
