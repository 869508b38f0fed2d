"""The time of this machine."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime


class SystemClock:
    """Implements `tieout.ports.clock.Clock`."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the Clock that everything else asks

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        time.sleep(seconds)

    def jitter(self) -> float:
        """A random number, at least 0 and below 1, to spread retries."""
        return random.random()  # noqa: S311 - spreads retries, guards nothing
