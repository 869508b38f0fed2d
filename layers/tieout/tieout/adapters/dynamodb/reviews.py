"""Reviews and decisions as plain values, and back."""

from __future__ import annotations

from typing import Any

from tieout.domain.packing import pack, unpack
from tieout.domain.reviews import Candidate, Choice, Decision, FieldConflict, Review, ReviewKind, Side

_EDITS = ("source_edited_at", "target_edited_at", "source_edited_by", "target_edited_by")


def review_values(review: Review) -> dict[str, object]:
    """As values that `pack` takes; what is not known is left out."""
    values: dict[str, object] = {"kind": review.kind.value}
    if review.candidates:
        values["candidates"] = [[one.target_id, one.name, one.score, one.reasons] for one in review.candidates]
    if review.conflicts:
        values["conflicts"] = [[one.field, one.agreed, one.source, one.target] for one in review.conflicts]
    return values | {name: found for name in _EDITS if (found := getattr(review, name))}


def review_of(values: dict[str, Any]) -> Review:
    """What `review_values` was given."""
    return Review(
        kind=ReviewKind(values["kind"]),
        candidates=tuple(
            Candidate(target_id, name, score, tuple(reasons))
            for target_id, name, score, reasons in values.get("candidates", ())
        ),
        conflicts=tuple(FieldConflict(*parts) for parts in values.get("conflicts", ())),
        **{name: values[name] for name in _EDITS if name in values},
    )


def decision_text(decision: Decision) -> str:
    """As JSON text."""
    fields = {name: side.value for name, side in decision.fields.items()}
    parts = (decision.digest, decision.choice.value, decision.by, decision.at, decision.target_id, fields)
    return pack(parts)


def decision_of(text: str) -> Decision:
    """What `decision_text` was given."""
    digest, choice, by, at, target_id, fields = unpack(text)
    return Decision(digest, Choice(choice), by, at, target_id, {name: Side(side) for name, side in fields.items()})
