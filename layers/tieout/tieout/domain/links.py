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
        digest = hashlib.sha256(f"{self.tenant}\x00{self.sync}\x00{self.step}\x00{self.source_id}".encode()).digest()
        return base64.b32encode(digest).decode().lower()[:REFERENCE_LENGTH]


class IntentState(StrEnum):
    """CLAIMED: a worker is writing. UNKNOWN: the answer was lost; look up before anything else."""

    CLAIMED = "claimed"
    UNKNOWN = "unknown"


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


@dataclass(frozen=True, slots=True)
class Link:
    """What we know about one source record: its partner, what we last wrote, the open intent, what hinders it.

    Attributes:
        revision: Rises with each write of the link; the condition of every claim. 0 if not stored yet.
        target_id: None until something was settled.
        target_version: The provider's version after our last write; empty if it has none, or if somebody else changed
            the record before we learned it.
        payload_hash: Of the document that we last wrote; empty until settled.
        base: The fields that we last wrote (plain JSON values), for comparing both sides.
        unsynced: Why the record is not in agreement; None if it is, or was never tried.
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
