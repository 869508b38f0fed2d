"""Reviews: questions that only a person can answer, and the answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

DIGEST_LENGTH = 12


class Side(StrEnum):
    """SOURCE is what the sync reads from, mostly the CRM; TARGET what it writes to, mostly the books."""

    SOURCE = "source"
    TARGET = "target"


class ReviewKind(StrEnum):
    """CONFLICT: both sides changed the same fields. MATCH: records on the other side that may be the same."""

    CONFLICT = "conflict"
    MATCH = "match"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record on the other side that may be the one meant.

    Attributes:
        name: What a person calls it there.
        score: 0 to 1; 1 is sure.
        reasons: What speaks for and against, in words, the weightiest first.
    """

    target_id: str
    name: str
    score: Decimal
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that both sides changed since they last agreed.

    Attributes:
        field: Its path in the document, such as `billing_address.city`.
        agreed, source, target: What stood there then, and what each side says now; plain JSON values.
    """

    field: str
    agreed: Any
    source: Any
    target: Any


@dataclass(frozen=True, slots=True)
class Review:
    """The question.

    Attributes:
        candidates: For a match, the likeliest first.
        conflicts: For a conflict, every field in question.
        source_edited_at, target_edited_at: When each side was edited last, if it says so. Aware UTC.
        source_edited_by, target_edited_by: By whom, if the side says so.
    """

    kind: ReviewKind
    candidates: tuple[Candidate, ...] = ()
    conflicts: tuple[FieldConflict, ...] = ()
    source_edited_at: datetime | None = None
    target_edited_at: datetime | None = None
    source_edited_by: str = ""
    target_edited_by: str = ""

    @property
    def digest(self) -> str:
        """12 hexadecimal digits, equal for the same question: an answer holds for this one only."""
        asked = {
            "kind": self.kind.value,
            "candidates": sorted(one.target_id for one in self.candidates),
            "conflicts": [[one.field, one.agreed, one.source, one.target] for one in self.conflicts],
        }
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


class Choice(StrEnum):
    """ACCEPT a candidate, CREATE a new record, NEVER match a candidate; or take the FIELDS as chosen."""

    ACCEPT = "accept"
    CREATE = "create"
    NEVER = "never"
    FIELDS = "fields"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. It is used up by the next run that asks the same question, and void if the question is another.

    Attributes:
        digest: Of the review that it answers.
        target_id: The candidate that is accepted, or never to be matched.
        fields: For a conflict, whose value counts, by the conflict's field.
        by: Who decided: the operator's identity as the deployment knows it.
    """

    digest: str
    choice: Choice
    by: str
    at: datetime
    target_id: str = ""
    fields: Mapping[str, Side] = field(default_factory=dict)
