"""How long to wait, and when to tell somebody."""

from __future__ import annotations

from dataclasses import dataclass

DELAY_SECONDS_MAX = 900  # what SQS takes
DOUBLINGS_MAX = 10
GROWTH_MAX = 60


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waiting between tries.

    Attributes:
        base_seconds: The first wait is half of this to all of it; each further one doubles, to sixty times as much.
        hold_seconds: How long a claimed document is left alone; longer than a worker can live.
        look_seconds: How long after a lost answer, and after a look in vain, the provider is asked again.
        looks: How often a lost write is looked up in vain before it is written again.
        alert_after_attempts: A person hears of a change that still waits after so many tries.
        fresh_seconds: A worker that took longer than this to come to a write reads the record again before it writes.
    """

    base_seconds: int = 15
    hold_seconds: int = 180
    look_seconds: int = 10
    looks: int = 2
    alert_after_attempts: int = 8
    fresh_seconds: int = 5

    def delay_seconds(self, attempts: int, jitter: float, at_least: int = 0) -> int:
        """Seconds to wait after `attempts` tries; `jitter` is at least 0 and below 1."""
        ceiling: int = self.base_seconds * min(1 << min(attempts, DOUBLINGS_MAX), GROWTH_MAX)
        return min(max(at_least, round(ceiling * (0.5 + jitter / 2))), DELAY_SECONDS_MAX)
