"""Decisions: a person's answer to a review, used once and only for the question that was asked."""

from __future__ import annotations

from dataclasses import replace

from tieout.domain.links import Link
from tieout.domain.reviews import Decision, Review


def answer_to(link: Link, review: Review) -> Decision | None:
    """The stored answer, if it answers this very question; None if nobody answered it, or another one was asked.

    Settling a write drops the answer. Who uses it without one, or finds it void, stores `without_answer(link)`.
    """
    decision = link.decision
    return decision if decision is not None and decision.digest == review.digest else None


def without_answer(link: Link) -> Link:
    """The link without its answer, to be stored."""
    return replace(link, decision=None)
