"""A connection's budget: what the provider allows, shared by all workers of the deployment.

A small state in the table, changed by one conditional write a call, holds for each kind of limit:

* **paced**: the *theoretical arrival time* of its next call, as in the generic cell rate algorithm (ITU-T I.371). A
  call may come `burst - 1` intervals earlier. In any window of the limit's length, wherever it begins, at most
  `burst + floor(window / interval)` calls are sent, and the interval is chosen so that this stays below the limit. It
  counts moments of sending: where the provider counts arrivals, the one call that larger limits keep back absorbs what
  the network shifts.
* **quota**: how many calls fell into each twelfth of its window. The whole quota may be used early; afterwards calls
  wait until a twelfth leaves the window.
* **in flight**: for each call that is under way, until when it may be; so a worker that died holds nothing for ever.
* what the provider asked: no call before a moment.

Live calls reserve moments ahead. Backfill takes only what is free now, so a live call overtakes all of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tieout.domain.changes import Lane
from tieout.domain.errors import ThrottledError
from tieout.ports.clock import Clock
from tieout.ports.connector import Limit, Window
from tieout.ports.http import Answer
from tieout.ports.state import BudgetStore

WAIT_SECONDS_MAX = 20
NOW_SECONDS = 0.25
"""What is free within this counts as free now: a backfill call that woke too late would waste the moment."""

LOOKS_MAX = 400
LOST_RACES_MAX = 24
RACE_SECONDS = 0.02
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.1, 1.0

BURST_PERCENT = 4
SPARE_FROM_CALLS = 20
LIVE_PERCENT = 20
"""Of a quota, and of calls in flight, this is never given to backfill."""

QUOTA_PARTS = 12

CLOSED_SECONDS_MAX = 3600
"""No provider closes a connection for longer: after that it is asked again."""

CLOSED_SECONDS_UNSAID, CLOSED_SECONDS_UNSAID_MAX = 15, 300
REFUSALS_KEPT_SECONDS = 600
_CLOSED, _REFUSALS = "closed", "refusals"
_THROTTLED, _UNAVAILABLE = 429, 503

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS = 1_000_000


def reserve(
    state: Mapping[str, int], limits: Iterable[Limit], spends: Iterable[str], now: datetime, lane: Lane = Lane.LIVE
) -> tuple[dict[str, int], float]:
    """The state after reserving the next free moment for one call, and the seconds to wait until then.

    Args:
        state: What all workers share: numbers by the limit's name, or by the name and a part of it.
        limits: Of the connection. What the state holds of other limits is dropped.
        spends: Names of the limits that the call counts against; one unit each. A name that the connection sets no
            limit for costs nothing.
        now: Aware UTC.
        lane: Backfill leaves a part of a quota alone.
    """
    now_us = (now - _EPOCH) // _MICROSECOND
    by_name = {limit.name: limit for limit in limits}
    kept = _current(state, by_name, now_us)
    wanted = [by_name[name] for name in set(spends) & set(by_name)]
    paced = [limit for limit in wanted if limit.window is Window.PACED]
    quotas = [limit for limit in wanted if limit.window is Window.QUOTA]
    at_us = max([now_us, kept.get(_CLOSED, 0), *(kept.get(limit.name, 0) - _early_us(limit) for limit in paced)])
    # A later moment never has more of a quota in its window, so the latest of all serves all.
    at_us = max([at_us, *(_quota_free_us(kept, limit, at_us, lane) for limit in quotas)])
    for limit in paced:
        kept[limit.name] = max(kept.get(limit.name, 0), at_us) + _interval_us(limit)
    for limit in quotas:
        part = f"{limit.name}/{at_us // _part_us(limit)}"
        kept[part] = kept.get(part, 0) + 1
    return kept, (at_us - now_us) / _MICROSECONDS


@dataclass(frozen=True, slots=True)
class Allowance:
    """A quota as it stands.

    Attributes:
        used: Calls that count now; a little more than those of the window, as they are counted by parts of it.
        left: What a lane may still call: of its share, if it has only one.
        free_at: When the next call is allowed; now, if some are left. Aware UTC.
        a_window: What the lane may call in each window.
    """

    limit: Limit
    used: int
    left: int
    free_at: datetime
    a_window: int


def allowances(state: Mapping[str, int], limits: Iterable[Limit], now: datetime, lane: Lane) -> list[Allowance]:
    """What is left of each quota among the limits; see `reserve` for the arguments."""
    now_us = (now - _EPOCH) // _MICROSECOND
    found = []
    for limit in limits:
        if limit.window is not Window.QUOTA:
            continue
        part = now_us // _part_us(limit)
        used = sum(count for number, count in _parts(state, limit) if int(number) >= part - QUOTA_PARTS)
        share = _share(limit, lane)
        free_us = _quota_free_us(state, limit, now_us, lane)
        found.append(Allowance(limit, used, max(share - used, 0), _EPOCH + timedelta(microseconds=free_us), share))
    return found


def in_flight(
    state: Mapping[str, int],
    limits: Iterable[Limit],
    spends: Iterable[str],
    *,
    at: datetime,
    slot: str,
    lane: Lane = Lane.LIVE,
) -> dict[str, int] | None:
    """The state with a call under way from `at` on; None if as many are under way as may be.

    Args:
        state: What all workers share.
        limits: Of the connection.
        spends: Names of the limits that the call counts against.
        at: When the call is sent. Aware UTC.
        slot: The caller's own name among those that have a call under way.
        lane: Backfill leaves some places to live calls.
    """
    at_us = (at - _EPOCH) // _MICROSECOND
    names = set(spends)
    taken = dict(state)
    for limit in limits:
        if limit.window is not Window.IN_FLIGHT or limit.name not in names:
            continue
        taken.pop(f"{limit.name}/{slot}", None)
        others = [end for _, end in _parts(taken, limit) if end * _MICROSECONDS > at_us]
        if len(others) >= _share(limit, lane):
            return None
        taken[f"{limit.name}/{slot}"] = at_us // _MICROSECONDS + 1 + limit.per_seconds
    return taken


def _current(state: Mapping[str, int], limits: Mapping[str, Limit], now_us: int) -> dict[str, int]:
    """What of the state still matters."""
    kept = {}
    for name, value in state.items():
        limit = limits.get(name.rpartition("/")[0] or name)
        if limit is None:
            matters = name in {_CLOSED, _REFUSALS} and (
                state.get(_CLOSED, 0) + REFUSALS_KEPT_SECONDS * _MICROSECONDS > now_us
            )
        elif limit.window is Window.PACED:
            matters = name == limit.name
        elif limit.window is Window.QUOTA:
            matters = int(name.rpartition("/")[2]) >= now_us // _part_us(limit) - QUOTA_PARTS
        else:
            matters = value * _MICROSECONDS > now_us
        if matters:
            kept[name] = value
    return kept


def _parts(state: Mapping[str, int], limit: Limit) -> list[tuple[str, int]]:
    beginning = f"{limit.name}/"
    return [(name.removeprefix(beginning), value) for name, value in state.items() if name.startswith(beginning)]


def _burst(limit: Limit) -> int:
    return max(1, limit.calls * BURST_PERCENT // 100)


def _interval_us(limit: Limit) -> int:
    """Microseconds between calls: the smallest whole number with burst + floor(window / interval) <= calls."""
    spare = 1 if limit.calls >= SPARE_FROM_CALLS else 0
    steady = limit.calls - spare - _burst(limit) + 1
    return limit.per_seconds * _MICROSECONDS // steady + 1


def _early_us(limit: Limit) -> int:
    return (_burst(limit) - 1) * _interval_us(limit)


def _share(limit: Limit, lane: Lane) -> int:
    """How many calls the lane may have of a quota, or in flight; all, if there is only one."""
    kept_free = -(-limit.calls * LIVE_PERCENT // 100) if lane is Lane.BACKFILL and limit.calls > 1 else 0
    return limit.calls - kept_free


def _part_us(limit: Limit) -> int:
    return -(-limit.per_seconds * _MICROSECONDS // QUOTA_PARTS)


def _quota_free_us(state: Mapping[str, int], limit: Limit, from_us: int, lane: Lane) -> int:
    """The first moment, not before `from_us`, at which the window holds less than the lane may use.

    A window that ends in a part touches this one and twelve before it; all of them count.
    """
    counts = sorted((int(part), count) for part, count in _parts(state, limit))
    part = from_us // _part_us(limit)
    used = sum(count for number, count in counts if number >= part - QUOTA_PARTS)
    at_us = from_us
    for number, count in counts:
        if used < _share(limit, lane):
            break
        if number >= part - QUOTA_PARTS:
            used -= count
            at_us = (number + QUOTA_PARTS + 1) * _part_us(limit)
    return max(at_us, from_us)


class Budget:
    """Spends one connection's limits, together with every other worker that shares the store.

    One for a process and connection, whose calls follow each other.
    """

    def __init__(self, store: BudgetStore, tenant: str, connection: str, limits: Sequence[Limit], clock: Clock) -> None:
        self._store = store
        self._tenant = tenant
        self._connection = connection
        self._limits = tuple(limits)
        self._clock = clock
        self._known: tuple[Mapping[str, int], int] | None = None
        self._alone = True
        self._slot = _new_slot()
        self._calling = False

    def spend(self, names: Sequence[str], lane: Lane = Lane.LIVE) -> None:
        """Return when the call may be sent; waits 20 seconds at most.

        Raises:
            ThrottledError: If the next free moment is farther away; nothing is reserved then.
        """
        if not names:
            return
        if self._calling:  # how the former call ended is unknown: it may be under way still
            self._slot, self._calling = _new_slot(), False
        give_up_at = self._clock.now() + timedelta(seconds=WAIT_SECONDS_MAX)
        lost_races = looks = 0
        for _ in range(LOOKS_MAX):
            state, revision = self._read()
            now = self._clock.now()
            left_seconds = (give_up_at - now).total_seconds()
            reserved, wait_seconds = reserve(state, self._limits, names, now, lane)
            if wait_seconds > left_seconds:
                break
            if lane is Lane.BACKFILL and wait_seconds > NOW_SECONDS:
                # All who wait wake up at different times, so that few meet at the table.
                pause_seconds = wait_seconds - NOW_SECONDS * self._clock.jitter()
            elif (
                taken := in_flight(
                    reserved,
                    self._limits,
                    names,
                    at=now + timedelta(seconds=wait_seconds),
                    slot=self._slot,
                    lane=lane,
                )
            ) is None:
                pause_seconds = wait_seconds = _look_seconds(looks) * (0.5 + self._clock.jitter())
                looks += 1
            elif self._write(taken, revision):
                self._calling = True
                if wait_seconds > 0:
                    self._clock.sleep(wait_seconds)
                return
            else:
                lost_races += 1
                if lost_races == LOST_RACES_MAX:
                    break
                pause_seconds = RACE_SECONDS * lost_races * self._clock.jitter()
            if pause_seconds > left_seconds:
                break
            self._alone = False
            self._clock.sleep(pause_seconds)
        self._alone = False
        raise ThrottledError(
            "The connection has used up the calls that the provider allows in this time.",
            retry_after_seconds=int(wait_seconds) + 1,
        )

    def ended(self, names: Sequence[str], answer: Answer | None) -> None:
        """Take note that the call is over. Without this its place is taken until the call's longest time is over.

        Args:
            names: As they were given to `spend`.
            answer: The provider's; None if none came.
        """
        if not names:
            return
        self._calling = False
        if answer is not None and answer.status in {_THROTTLED, _UNAVAILABLE}:
            self._refused(answer)
        elif answer is not None and self._known is not None and self._known[0].get(_REFUSALS):
            self._change(self._taken)
        # A place that stays ours until its time hinders nobody while there are others, and our next call takes it on.
        if self._known is not None and any(self._scarce(limit) for limit in self._limits if limit.name in names):
            self._change(self._given_back)

    def _refused(self, answer: Answer) -> None:
        """Nobody calls before the moment that the provider names; if it names none, longer with each refusal."""
        now = self._clock.now()
        seconds = _retry_after_seconds(answer, now)
        if seconds is None and answer.status == _UNAVAILABLE:
            return  # an outage; who comes next may be luckier
        now_us = (now - _EPOCH) // _MICROSECOND

        def close(state: Mapping[str, int]) -> Mapping[str, int]:
            is_new = state.get(_CLOSED, 0) <= now_us  # calls that were under way together are refused together
            refusals = state.get(_REFUSALS, 0) + is_new
            unsaid = min(CLOSED_SECONDS_UNSAID * (1 << min(refusals - 1, 10)), CLOSED_SECONDS_UNSAID_MAX)
            if seconds is None and not is_new:
                return state
            closed = round((unsaid if seconds is None else seconds) * _MICROSECONDS) + now_us
            return {**state, _CLOSED: max(closed, state.get(_CLOSED, 0)), _REFUSALS: refusals}

        self._change(close)

    def _taken(self, state: Mapping[str, int]) -> Mapping[str, int]:
        """A call was taken after the last refusal: the next one is the first of its row again."""
        is_closed = state.get(_CLOSED, 0) > self._now_us()  # then it was under way before
        return state if is_closed else {name: value for name, value in state.items() if name != _REFUSALS}

    def _scarce(self, limit: Limit) -> bool:
        """True if at most one place is left to backfill, which may have the fewest."""
        if limit.window is not Window.IN_FLIGHT or self._known is None:
            return False
        return len(_parts(self._known[0], limit)) >= _share(limit, Lane.BACKFILL) - 1

    def _given_back(self, state: Mapping[str, int]) -> Mapping[str, int]:
        return {name: value for name, value in state.items() if name.rpartition("/")[2] != self._slot}

    def _change(self, change: Callable[[Mapping[str, int]], Mapping[str, int]]) -> None:
        """Store the changed state. If others are faster each time it is left: it makes us slower, never too fast."""
        self._alone = False  # a call took its time, and there are others
        for attempt in range(LOST_RACES_MAX):
            state, revision = self._read()
            changed = change(_current(state, {limit.name: limit for limit in self._limits}, self._now_us()))
            if changed == state or self._write(changed, revision):
                return
            self._clock.sleep(RACE_SECONDS * (attempt + 1) * self._clock.jitter())

    def _now_us(self) -> int:
        return (self._clock.now() - _EPOCH) // _MICROSECOND

    def _read(self) -> tuple[Mapping[str, int], int]:
        """The state and its revision. What we wrote last is still true while no other worker comes between."""
        if self._known is not None and self._alone:
            return self._known
        state, revision = self._store.read_budget(self._tenant, self._connection)
        self._alone = self._known is None or self._known[1] == revision
        return state, revision

    def _write(self, state: Mapping[str, int], revision: int) -> bool:
        written = self._store.write_budget(self._tenant, self._connection, state, revision)
        if written:
            self._known = (state, revision + 1)
        else:
            self._alone = False
        return written


def _new_slot() -> str:
    return uuid.uuid4().hex[:6]


def _look_seconds(looks: int) -> float:
    return min(LOOK_SECONDS * (1 << min(looks, 10)), LOOK_SECONDS_MAX)


def _retry_after_seconds(answer: Answer, now: datetime) -> float | None:
    """What `Retry-After` says, an hour at most; None if it is missing or says nothing that can be understood.

    Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    text = answer.headers.get("retry-after", "").strip()
    try:
        seconds = float(text) if text.isascii() and text.isdigit() else _seconds_until(text, now)
    except ValueError:
        return None
    return min(max(seconds, 0.0), CLOSED_SECONDS_MAX)


def _seconds_until(text: str, now: datetime) -> float:
    moment = parsedate_to_datetime(text)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return float((aware - now).total_seconds())
