"""What becomes of a customer that is not linked yet: it is adopted, a person is asked, or it is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tieout.domain.documents import Customer
from tieout.domain.records import Record
from tieout.matching.contacts import mailbox
from tieout.matching.score import Scored, score

SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score on what is done; see `tests/data/matching` for how good the defaults are.

    Attributes:
        adopt_from: At least this likely, and it may be adopted without a person.
        ahead_by: At least so much likelier than the next one.
        review_from: At least this likely, and a person is asked before another one is created.
    """

    adopt_from: Decimal = Decimal("0.98")
    ahead_by: Decimal = Decimal("0.2")
    review_from: Decimal = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Adopt:
    """It is surely this one."""

    scored: Scored


@dataclass(frozen=True, slots=True)
class Ask:
    """It may be one of these: the likeliest first, 10 at most."""

    scored: tuple[Scored, ...]


@dataclass(frozen=True, slots=True)
class New:
    """It is none of them."""


DEFAULTS = Thresholds()

type Verdict = Adopt | Ask | New


def decide(
    document: Customer,
    candidates: Sequence[Record],
    thresholds: Thresholds = DEFAULTS,
    never: Collection[str] = (),
) -> Verdict:
    """What becomes of the document's customer.

    Args:
        document: What is to be written.
        candidates: Customers of the books that may be it. The order makes no difference.
        thresholds: From which score on what is done.
        never: Ids of those of which a person said that they are not.
    """
    left = [candidate for candidate in candidates if candidate.id not in never]
    shared = _shared(document, left)
    scored = [score(document, candidate, shared=shared) for candidate in left]
    likely = [each for each in scored if each.score >= thresholds.review_from or each.same_name]
    if not likely:
        return New()
    likely.sort(key=lambda each: (-each.score, each.record.id))
    sure = [each for each in likely if each.score >= thresholds.adopt_from and not each.doubt]
    by_key = [each for each in sure if each.key]
    if len(by_key) == 1 or (len(by_key) == 0 and len(sure) == 1):
        chosen = (by_key or sure)[0]
        others = [each for each in likely if each is not chosen and (each.key or not chosen.key)]
        if all(chosen.score - each.score >= thresholds.ahead_by for each in others):
            return Adopt(chosen)
    return Ask(tuple(likely[:SHOWN_MAX]))


def _shared(document: Customer, candidates: Sequence[Record]) -> frozenset[str]:
    """The document's e-mail address, if several of the candidates have it: an agent's or a group's, then."""
    mine = mailbox(document.email)
    counted = Counter(mailbox(candidate.fields.get("email")) for candidate in candidates)
    return frozenset({mine}) if mine is not None and counted[mine] > 1 else frozenset()
