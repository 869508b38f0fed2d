"""Clocks of simulators: both are `tieout.ports.clock.Clock`."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime, timedelta


class WallClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        time.sleep(seconds)

    def jitter(self) -> float:
        """At least 0 and below 1."""
        return random.random()  # noqa: S311 - spreads retries, hides nothing


class SimulatedClock:
    """Time that moves only when told to; sleeping moves it and returns at once. Safe between threads."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 10, tzinfo=UTC)) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Aware UTC."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Move the time forward."""
        with self._lock:
            self._now += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Move the time forward, and return at once."""
        self.advance(seconds)

    def jitter(self) -> float:
        """Always 0, so that waits are exact."""
        return 0.0
