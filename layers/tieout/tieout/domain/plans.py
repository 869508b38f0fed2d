"""Stored plans: what a run may write, who approved it, what became of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tieout.domain.effects import Operation
from tieout.domain.links import LinkKey, Withdrawal
from tieout.domain.reviews import Side

KEPT = timedelta(days=30)
WRITES_MAX = 100_000
DIGEST_LENGTH = 32
CREDITING = ".credit_note"
"""What a step's name ends with that makes the credit notes for the documents of another one."""
ALREADY_SO = "It stands there already."
"""Noted for a write of a plan that needed none any more."""
_NEW = "new-"
_ID = re.compile(r"(plan|undo)-\d{8}-\d{6}-[a-z0-9]{4}")


class PlanState(StrEnum):
    """APPLYING: its changes were queued, and not all of them have ended yet. UNDONE: a person took it back."""

    PLANNED = "planned"
    APPROVED = "approved"
    APPLYING = "applying"
    APPLIED = "applied"
    UNDONE = "undone"


@dataclass(slots=True)
class PlannedWrite:
    """One write that a run would do.

    Attributes:
        document: The fields it would write (plain JSON values); for an update `former` holds what stood there before,
            as far as we know.
        amount, currency: Of an invoice or credit note; None and empty for others.
        payload_hash: Of the document. The id of a record that the same plan creates is still unknown, so
            `new_id` stands in its place.
        target_id, target_version: Of the record that an update would write, as the other side shows it now.
        side: The side that is written.
        withdrawal: Why its document would be withdrawn; None for every other write.
        links_only: The record stands on the other side already and would only be linked.
        label: What a person calls the source record.
        notices: What the mapping did that a person should know, such as a name that was cut.
    """

    step: str
    source_id: str
    operation: Operation
    document: Mapping[str, Any]
    former: Mapping[str, Any] | None
    amount: Decimal | None
    currency: str
    payload_hash: str = ""
    target_id: str = ""
    target_version: str = ""
    side: Side = Side.TARGET
    withdrawal: Withdrawal | None = None
    links_only: bool = False
    label: str = ""
    notices: tuple[str, ...] = ()

    @property
    def takes_back(self) -> bool:
        """True if it voids a document, or is a credit note for one."""
        return self.withdrawal is not None or self.step.endswith(CREDITING)

    def said(self) -> tuple[str, ...]:
        """What must be equal for two writes to be the same one."""
        return (
            self.operation.value,
            self.payload_hash,
            self.target_id,
            self.side.value,
            self.withdrawal.value if self.withdrawal is not None else "",
            "link" if self.links_only else "",
        )


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan as it is kept for 30 days.

    Attributes:
        id: `plan-` or `undo-`, the moment, and four letters or digits.
        sync_version: Of the sync document by which it was made.
        digest: 32 hexadecimal digits over the sync, its version and everything that must be equal of each write.
        counts: Of writes, by step and by what would be done; see `counts_of`.
        totals: The sum of the invoices that would be created, by currency.
        amounts: The sum of all amounts that would be written, by currency: what caps are compared with.
        parked: How many records would have parked.
        approved_at, approved_by: None and empty if nobody approved it. Aware UTC.
        began_at, applied_by: When and by whom its changes were queued.
        applied_at: When all of them had ended.
        ends: How many writes ended how, as last seen.
        undoes: Id of the plan whose writes it takes back; empty for others.
        credit_paid: Whether it credits invoices that are paid; if not, they stay as they are.
        undone_by: Id of the plan that took its writes back.
        chunks: In how many items its writes are kept.
        revision: Rises with each write of the plan; 0 if it is not stored yet.
    """

    tenant: str
    id: str
    sync: str
    sync_version: int
    digest: str
    created_at: datetime
    created_by: str
    counts: Mapping[str, Mapping[str, int]]
    totals: Mapping[str, Decimal]
    amounts: Mapping[str, Decimal]
    parked: int = 0
    state: PlanState = PlanState.PLANNED
    approved_at: datetime | None = None
    approved_by: str = ""
    began_at: datetime | None = None
    applied_by: str = ""
    applied_at: datetime | None = None
    ends: Mapping[str, int] = field(default_factory=dict)
    undoes: str = ""
    undone_by: str = ""
    credit_paid: bool = False
    chunks: int = 0
    revision: int = 0

    @property
    def writes(self) -> int:
        """How many writes it holds; what is only linked is none."""
        return sum(count for step in self.counts.values() for what, count in step.items() if what != LINKED)

    @property
    def expires_at(self) -> datetime:
        """From then on it is no longer kept. Aware UTC."""
        return self.created_at + KEPT

    def key(self, write: PlannedWrite) -> LinkKey:
        """The link of a write."""
        return self.key_of(write.step, write.source_id)

    def key_of(self, step: str, source_id: str) -> LinkKey:
        """The link of a record in one of the sync's steps."""
        return LinkKey(self.tenant, self.sync, step, source_id)


LINKED, WITHDRAWN = "link", "withdraw"


def counts_of(writes: Iterable[PlannedWrite]) -> dict[str, dict[str, int]]:
    """By step, how many writes `create`, `update`, `withdraw` or only `link`."""
    steps: dict[str, Counter[str]] = {}
    for write in writes:
        what = LINKED if write.links_only else WITHDRAWN if write.takes_back else write.operation.value
        steps.setdefault(write.step, Counter())[what] += 1
    return {step: dict(counts) for step, counts in steps.items()}


def amounts_of(writes: Iterable[PlannedWrite]) -> dict[str, Decimal]:
    """The sum of the amounts, by currency."""
    sums: dict[str, Decimal] = {}
    for write in writes:
        if write.amount is not None:
            sums[write.currency] = sums.get(write.currency, Decimal(0)) + write.amount
    return sums


def created(writes: Iterable[PlannedWrite]) -> list[PlannedWrite]:
    """Those that create a document that stands afterwards: neither linked only, nor to take another one back."""
    return [
        write
        for write in writes
        if write.operation is Operation.CREATE and not write.takes_back and not write.links_only
    ]


def digest_of(sync: str, version: int, writes: Sequence[PlannedWrite]) -> str:
    """The plan's digest; equal for equal writes, whatever their order."""
    rows = sorted((write.step, write.source_id, *write.said()) for write in writes)
    text = json.dumps([sync, version, rows], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def is_plan_id(text: str) -> bool:
    """True if this is how plans are called, and not a sync."""
    return _ID.fullmatch(text) is not None


def new_id(reference: str) -> str:
    """What stands in a planned document for the id of a record that the same plan creates, by that one's reference."""
    return f"{_NEW}{reference}"


def is_new_id(target_id: str) -> bool:
    """True if it is none of the provider's."""
    return target_id.startswith(_NEW)
