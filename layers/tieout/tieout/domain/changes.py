"""Changes: what we saw happen, and those that are not in agreement yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from tieout.domain.records import Kind
from tieout.domain.reviews import Review


class Lane(StrEnum):
    """Live changes are never delayed by backfill."""

    LIVE = "live"
    BACKFILL = "backfill"


class Origin(StrEnum):
    """Where a change was seen.

    TARGET: on the other side of a two-way step; the change names the record that it comes back to. DOUBT: a write that
    named its partner was refused, as if that were gone: whether it stands is looked at. RELINK: after a restore; what
    we may have written is looked up before a create. OPERATOR: a person asks for another try; looked up likewise.
    APPROVED: a person let it pass the sync's caps.
    """

    WEBHOOK = "webhook"
    POLL = "poll"
    SWEEP = "sweep"
    BACKFILL = "backfill"
    TARGET = "target"
    DOUBT = "doubt"
    RELINK = "relink"
    OPERATOR = "operator"
    APPROVED = "approved"


@dataclass(frozen=True, slots=True)
class Change:
    """A hint that a record may have changed. The worker reads the record again, so repeats cost a read at most.

    Attributes:
        tenant, connection: Whose record, where it was seen.
        kind, id: Which record.
        seen_at: When we first saw it; kept over retries, so it tells the change's age. Aware UTC.
        attempts: How often it was tried without reaching an end.
        plan: Id of the stored plan that asks for it: just what the plan says is written, or nothing; empty otherwise.
        merged_into: Id of the record that it was merged into, as the provider told; empty if it was not.
        alone: True if workers failed on it among others, and it is tried by itself.
    """

    tenant: str
    connection: str
    kind: Kind
    id: str
    seen_at: datetime
    origin: Origin
    lane: Lane = Lane.LIVE
    attempts: int = 0
    plan: str = ""
    merged_into: str = ""
    alone: bool = False


class UnsyncedState(StrEnum):
    """WAITING ends by itself; PARKED needs a person; DISMISSED a person left as it is, until its cause changes."""

    WAITING = "waiting"
    PARKED = "parked"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Unsynced:
    """A change that did not reach the other side yet, and why: the row behind `tieout parked` and `status`.

    Attributes:
        sync, step: Where it stopped.
        change: What to try again.
        label: The record in words, such as `GTX Pro for Acme Corporation`.
        amount, currency: What is at stake, if the record has an amount.
        cause: Equal for equal causes; alerts are gathered by it.
        reason: The sentence for people.
        next_step: What to do, as an instruction.
        field, value: The field in question and the value found there.
        code: The provider's error code or our rule; empty if none.
        since: When it first stopped. Aware UTC.
        review: The question, if a person can settle it by an answer.
    """

    sync: str
    step: str
    change: Change
    state: UnsyncedState
    label: str
    cause: str
    reason: str
    since: datetime
    next_step: str = ""
    field: str = ""
    value: str | None = None
    code: str = ""
    amount: Decimal | None = None
    currency: str = ""
    review: Review | None = None

    @property
    def where(self) -> str:
        """How it is named in commands: `sync/step/source id`."""
        return f"{self.sync}/{self.step}/{self.change.id}"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person must hear of. Alerts with one cause become one e-mail.

    Attributes:
        cause: Equal for equal causes, within the tenant.
        subject: What stopped, in a few words.
        reason, next_step: Why, and what to do.
        command: The command that goes on once the cause is gone.
        unsynced: The record, if it is about one.
    """

    tenant: str
    cause: str
    subject: str
    reason: str
    next_step: str
    command: str
    raised_at: datetime
    unsynced: Unsynced | None = None
