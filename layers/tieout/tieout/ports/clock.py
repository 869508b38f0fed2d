"""Time, so that tests can hold it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """Aware UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""

    def jitter(self) -> float:
        """A random number, at least 0 and below 1, to spread retries."""
