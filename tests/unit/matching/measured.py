"""What `decide` makes of labelled cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from tests.unit.matching.labelled import Case
from tieout.matching import DEFAULTS, Adopt, Ask, New, Thresholds, decide

_MARGIN = Decimal(3)
"""Of n adoptions without a mistake one may say, with 95 % confidence, that at most 3/n are mistakes."""


@dataclass
class Measured:
    """Counts of verdicts, in all and by perturbation.

    Attributes:
        adopted, wrong: Adopted without a person, and those of them that are another customer.
        missed: Created anew although the customer is there.
        asked: Left to a person.
        there: Cases whose customer is in the books.
        found: Those of them that were adopted rightly, or shown to a person among the candidates.
    """

    cases: int = 0
    there: int = 0
    adopted: int = 0
    wrong: int = 0
    missed: int = 0
    asked: int = 0
    found: int = 0
    by_perturbation: dict[str, Counter[str]] = field(default_factory=dict)
    mistakes: list[Case] = field(default_factory=list)

    @property
    def precision(self) -> Decimal:
        """Of what was adopted, the share that is right."""
        return Decimal(self.adopted - self.wrong) / self.adopted

    @property
    def precision_at_least(self) -> Decimal:
        """With 95 % confidence, if there was no mistake."""
        return 1 - _MARGIN / self.adopted

    @property
    def recall(self) -> Decimal:
        """Of the customers that are there, the share that was adopted rightly."""
        return Decimal(self.adopted - self.wrong) / self.there

    @property
    def reviewed(self) -> Decimal:
        """Of all cases, the share that a person decides."""
        return Decimal(self.asked) / self.cases


def measured(cases: Iterable[Case], thresholds: Thresholds = DEFAULTS) -> Measured:
    """The verdicts on the cases."""
    sums = Measured()
    for case in cases:
        verdict = decide(case.customer(), case.candidates(), thresholds)
        sums.cases += 1
        sums.there += case.truth is not None
        match verdict:
            case Adopt(scored=scored):
                right = scored.record.id == case.truth
                sums.adopted += 1
                sums.wrong += not right
                sums.found += right
                end = "adopted" if right else "WRONG"
            case Ask(scored=shown):
                sums.asked += 1
                sums.found += any(each.record.id == case.truth for each in shown)
                end = "asked"
            case New():
                sums.missed += case.truth is not None
                end = "created" if case.truth is None else "MISSED"
        if end in ("WRONG", "MISSED"):
            sums.mistakes.append(case)
        sums.by_perturbation.setdefault(case.perturbation, Counter())[end] += 1
    return sums
