"""Throttles that providers apply: so many calls in any stretch of time."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from datetime import datetime, timedelta


class Throttle:
    """Counts calls in a sliding window, by key (an account). A refused call does not count. Safe between threads."""

    def __init__(self, per_seconds: float) -> None:
        self._window = timedelta(seconds=per_seconds)
        self._calls: defaultdict[str, deque[datetime]] = defaultdict(deque)
        self._lock = threading.Lock()

    def take(self, key: str, calls_max: int, now: datetime) -> bool:
        """True if the call is within `calls_max` in the window that ends now."""
        with self._lock:
            calls = self._calls[key]
            while calls and calls[0] <= now - self._window:
                calls.popleft()
            if len(calls) >= calls_max:
                return False
            calls.append(now)
            return True
