"""A connection's budget: what the provider allows in a time, shared by all workers of the deployment.

The arithmetic is the generic cell rate algorithm (ITU-T I.371): each limit keeps one number, the *theoretical
arrival time* of its next call; a call may come `burst - 1` intervals earlier. In any window of the limit's length,
wherever it begins, at most `burst + floor(window / interval)` calls are sent, and the interval is chosen so that this
stays below the limit. It counts moments of sending: where the provider counts arrivals, the one call that larger limits
keep back absorbs what the network shifts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tieout.domain.errors import ThrottledError
from tieout.ports.clock import Clock
from tieout.ports.connector import Limit
from tieout.ports.state import BudgetStore

WAIT_SECONDS_MAX = 20
ATTEMPTS_MAX = 12
BURST_PERCENT = 4
SPARE_FROM_CALLS = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS = 1_000_000


def reserve(
    state: Mapping[str, int], limits: Iterable[Limit], spends: Iterable[str], now: datetime
) -> tuple[dict[str, int], float]:
    """The state after reserving the next free moment for one call, and the seconds to wait until then.

    Args:
        state: Per limit the time from which a call is on time, in microseconds since 1970; missing if never used.
        limits: Of the connection. What the state holds of other limits is dropped.
        spends: Names of the limits that the call counts against; one unit each.
        now: Aware UTC.
    """
    by_name = {limit.name: limit for limit in limits}
    arrivals = {name: arrival for name, arrival in state.items() if name in by_name}
    names = set(spends)
    now_us = (now - _EPOCH) // _MICROSECOND
    at_us = max([now_us, *(arrivals.get(name, 0) - _early_us(by_name[name]) for name in names)])
    for name in names:
        arrivals[name] = max(arrivals.get(name, 0), at_us) + _interval_us(by_name[name])
    return arrivals, (at_us - now_us) / _MICROSECONDS


def _burst(limit: Limit) -> int:
    return max(1, limit.calls * BURST_PERCENT // 100)


def _interval_us(limit: Limit) -> int:
    """Microseconds between calls: the smallest whole number with burst + floor(window / interval) <= calls."""
    spare = 1 if limit.calls >= SPARE_FROM_CALLS else 0
    steady = limit.calls - spare - _burst(limit) + 1
    return limit.per_seconds * _MICROSECONDS // steady + 1


def _early_us(limit: Limit) -> int:
    return (_burst(limit) - 1) * _interval_us(limit)


class Budget:
    """Spends one connection's limits, together with every other worker that shares the store."""

    def __init__(self, store: BudgetStore, tenant: str, connection: str, limits: Sequence[Limit], clock: Clock) -> None:
        self._store = store
        self._tenant = tenant
        self._connection = connection
        self._limits = tuple(limits)
        self._clock = clock
        self._known: tuple[Mapping[str, int], int] | None = None

    def spend(self, names: Sequence[str]) -> None:
        """Return when the call may be sent; waits 20 seconds at most.

        Raises:
            ThrottledError: If the next free moment is farther away; nothing is reserved then.
        """
        if not names:
            return
        for _ in range(ATTEMPTS_MAX):
            # What we wrote last is still true if no other worker came between: that spares the read.
            state, revision = self._known or self._store.read_budget(self._tenant, self._connection)
            reserved, wait_seconds = reserve(state, self._limits, names, self._clock.now())
            if wait_seconds > WAIT_SECONDS_MAX:
                self._known = None
                raise _throttled(wait_seconds)
            if self._store.write_budget(self._tenant, self._connection, reserved, revision):
                self._known = (reserved, revision + 1)
                if wait_seconds > 0:
                    self._clock.sleep(wait_seconds)
                return
            self._known = None
            self._clock.sleep(0.02 * self._clock.jitter())
        raise _throttled(1)


def _throttled(wait_seconds: float) -> ThrottledError:
    return ThrottledError(
        "The connection has used up the calls that the provider allows in this time.",
        retry_after_seconds=int(wait_seconds) + 1,
    )
