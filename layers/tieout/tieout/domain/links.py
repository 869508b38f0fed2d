"""Links: which record on one side is which on the other, and the write that is under way."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tieout.domain.changes import Unsynced
from tieout.domain.effects import Operation
from tieout.domain.reviews import Decision, Side

REFERENCE_LENGTH = 12


@dataclass(frozen=True, slots=True)
class LinkKey:
    """Names one source record within one step of one sync."""

    tenant: str
    sync: str
    step: str
    source_id: str

    @property
    def reference(self) -> str:
        """Our reference for this link's document: 12 letters and digits, lower case, computed from the key alone.

        60 bits: among a million documents of one sync the chance of one equal pair is below one in a million, and
        the state store refuses a reference whose key differs.
        """
        return _code(self.tenant, self.sync, self.step, self.source_id)


def _code(*parts: str) -> str:
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:REFERENCE_LENGTH]


class IntentState(StrEnum):
    """CLAIMED: a worker is writing. UNKNOWN: the answer was lost; look up before anything else."""

    CLAIMED = "claimed"
    UNKNOWN = "unknown"


class Withdrawal(StrEnum):
    """Why a document no longer stands for its record. None is ever written again by itself: a person may renew it.

    LEFT: the record left the sync. SOURCE_GONE: it was deleted. UNDONE: a person took a run back. TARGET_GONE: somebody
    deleted or voided the document on the other side.
    """

    LEFT = "left"
    SOURCE_GONE = "source_gone"
    UNDONE = "undone"
    TARGET_GONE = "target_gone"


@dataclass(frozen=True, slots=True)
class Turns:
    """How often in a row the two sides overwrote each other: a record that flaps is parked.

    Attributes:
        side: The one written last.
        since: When the row began. Aware UTC.
    """

    side: Side
    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Intent:
    """A write that was begun and is not settled. It is never forgotten by an error.

    Attributes:
        effect_id: Which write; computed, so that a restart computes it again.
        worker: Who claimed it: a new value each time it is claimed.
        held_until: Until then nobody else may take it over. Aware UTC.
        opened_at: When the first attempt began: the provider's record cannot be older.
        document: The fields that were to be written (plain JSON values), to look the write up by.
        target_id: For an update, which record was to be written.
        looks: How often it was looked up and not found since the last write.
        side: The side that is written: the source in a two-way sync, too.
        agreed: What both sides agree on once it is done, where that is not `document`: it writes only some fields.
        shown: What the other side shows otherwise than `agreed` says, in a two-way step, as in `Link.shown`.
        withdrawal: Why the document will not stand any more once it is done; None for every other write.
        plan: Id of the stored plan that asks for it, if one does.
        sync_version: Of the sync document by which it was made: whoever settles it may run another.
        adopts: Why a record that stands there already is taken for this one: nothing is written, it is only linked.
            Empty for every write.
    """

    effect_id: str
    operation: Operation
    payload_hash: str
    source_version: str
    state: IntentState
    worker: str
    held_until: datetime
    opened_at: datetime
    document: Mapping[str, Any]
    target_id: str | None = None
    looks: int = 0
    side: Side = Side.TARGET
    agreed: Mapping[str, Any] | None = None
    shown: Mapping[str, Any] | None = None
    withdrawal: Withdrawal | None = None
    plan: str = ""
    sync_version: int = 0
    adopts: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """What we know about one source record: its partner, what we last wrote, the open intent, what hinders it.

    Attributes:
        revision: Rises with each write of the link; the condition of every claim. 0 if not stored yet.
        target_id: None until something was settled.
        target_version: The provider's version after our last write; empty if it has none, or if the record has to be
            read before the next one: somebody else changed it before we learned it, or filled parts beside ours.
        payload_hash: Of the document that we last wrote; empty until settled.
        base: The fields that we last wrote (plain JSON values), for comparing both sides.
        unsynced: Why the record is not in agreement; None if it is, or was never tried.
        sync_version: Of the sync document by which it was last written; 0 until settled.
        shown: In a two-way step, the fields of `base` that the other side showed otherwise once both agreed, such as
            a phone number in its own form: only a change of these is the other side's.
        withdrawn: Why the document does not stand any more; it is not written again.
        follows: True if the partner was merged into one that another link writes: it is named, and never written.
        decision: A person's answer to a review, until it is used.
        never: Records on the other side of which a person said that they are not this one.
        turns: How often the sides overwrote each other in a row.
        plan: Id of the stored plan that asked for the last write, if one did: what undoing that plan takes back.
        generation: How often a person allowed a new document in place of one that was withdrawn.
        renewed_by: Who did so last; empty if nobody did.
    """

    key: LinkKey
    revision: int = 0
    target_id: str | None = None
    target_version: str = ""
    source_version: str = ""
    payload_hash: str = ""
    base: Mapping[str, Any] | None = None
    settled_at: datetime | None = None
    intent: Intent | None = None
    unsynced: Unsynced | None = None
    sync_version: int = 0
    shown: Mapping[str, Any] | None = None
    withdrawn: Withdrawal | None = None
    follows: bool = False
    decision: Decision | None = None
    never: tuple[str, ...] = ()
    turns: Turns | None = None
    plan: str = ""
    generation: int = 0
    renewed_by: str = ""

    @property
    def reference(self) -> str:
        """Our reference for the document of today; each generation has one of its own, made like the key's."""
        if not self.generation:
            return self.key.reference
        return _code(self.key.tenant, self.key.sync, self.key.step, self.key.source_id, str(self.generation))

    def renewed(self, *, by: str) -> Link:
        """The link without a partner, so that a new document may be written for its record."""
        return Link(
            self.key,
            revision=self.revision,
            unsynced=self.unsynced,
            never=self.never,
            plan=self.plan,
            generation=self.generation + 1,
            renewed_by=by,
        )
