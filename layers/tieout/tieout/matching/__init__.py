"""Which of the books' customers is the one that we are about to create: pure, and the same for the same input."""

from tieout.matching.decide import DEFAULTS, Adopt, Ask, New, Thresholds, Verdict, decide
from tieout.matching.score import Reason, Scored, score

__all__ = ["DEFAULTS", "Adopt", "Ask", "New", "Reason", "Scored", "Thresholds", "Verdict", "decide", "score"]
