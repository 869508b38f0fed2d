"""What changed, and all ids: by AlterID, which grows with every save of an object.

The company's counters are read before the records, so that what is saved meanwhile is found next time. A cursor knows
where its next pages end (`stops`), so that the list of what changed is asked for once for many of them. Counters that
fell mean that a backup was restored: everything is read again, and what is gone has to be found by comparing ids.
A payment does not change its invoice's AlterID, nor does a new name of a ledger that of its vouchers.
Source: measured notes of TallyPrime 3.0 to 7.1, and docs/incremental-sync.md of dhananjay1405/tally-database-loader;
read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

from tieout.connectors.tally.company import OpenCompany
from tieout.domain.records import Kind, Record
from tieout.ports.connector import ChangePage
from tieout.transport.cursors import stored_cursor

STOPS_MAX = 200
IDS_MAX = 5000
MASTERS = frozenset({Kind.CUSTOMER, Kind.ITEM})


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to go on.

    Attributes:
        after: AlterID of the last record that was given out.
        seen: The company's counter when the stops were asked for: the feed is at its end when `after` is there.
        stops: AlterIDs at which the next pages end.
    """

    after: int = 0
    seen: int = 0
    stops: list[int] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `text` says.

        Raises:
            UnavailableError: If it is none of ours.
        """
        return stored_cursor(
            lambda stored: cls(int(stored["after"]), int(stored["seen"]), stored["stops"]), text, "Tally"
        )

    def __str__(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def counter(kind: Kind, company: OpenCompany) -> int:
    """The company's counter for records of this kind."""
    return company.masters if kind in MASTERS else company.vouchers


def page_of(
    kind: Kind,
    text: str | None,
    company: OpenCompany,
    *,
    size: int,
    altered: Callable[[int, int], Sequence[int]],
    records: Callable[[int, int], Sequence[Record]],
) -> ChangePage:
    """One page of changes.

    Args:
        kind: Of the records.
        text: The stored cursor.
        company: As it was just read.
        size: So many records in a page at most.
        altered: AlterIDs above the first number and up to the second.
        records: Whole records likewise.
    """
    now = counter(kind, company)
    cursor = Cursor.parse(text) if text else Cursor()
    restored = now < max(cursor.after, cursor.seen)
    if restored:
        cursor = Cursor()
    if not cursor.stops:
        if cursor.after >= now:
            return ChangePage([], str(Cursor(now, now)), more=False, deletions_unsure=restored)
        cursor = replace(cursor, seen=now, stops=_stops(cursor.after, now, size, altered))
    end, *stops = cursor.stops
    found = sorted(records(cursor.after, end), key=lambda record: int(record.version or 0))
    return ChangePage(found, str(Cursor(end, cursor.seen, stops)), more=end < cursor.seen, deletions_unsure=restored)


def _stops(after: int, now: int, size: int, altered: Callable[[int, int], Sequence[int]]) -> list[int]:
    """Where pages of this size end; the last one at the counter, unless there are more than a cursor should hold."""
    if now - after <= size:
        return [now]
    found = sorted(altered(after, now))
    ends = found[size - 1 :: size][:STOPS_MAX]
    return ends if len(ends) == STOPS_MAX else [*(end for end in ends if end != now), now]
