"""Budgets: never more than the limit in any window, and hardly less when there is work."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.fakes import ManualClock, MemoryBudgetStore
from tieout.domain.errors import ThrottledError
from tieout.ports.connector import Limit
from tieout.transport.budget import Budget, reserve

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUICKBOOKS = (Limit("request", 500, 60), Limit("batch", 40, 60), Limit("second", 10, 1))


def most_in_any_window(moments: list[datetime], limit: Limit) -> int:
    """The largest number of moments in a closed window of the limit's length."""
    moments = sorted(moments)
    length = timedelta(seconds=limit.per_seconds)
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] > length:
            first += 1
        most = max(most, last - first + 1)
    return most


limits = st.builds(Limit, st.just("x"), st.integers(1, 700), st.integers(1, 90))


@given(limit=limits, gaps=st.lists(st.integers(0, 3_000_000), max_size=300))
def test_no_window_holds_more_than_the_limit(limit, gaps):
    state: dict[str, int] = {}
    moments, now = [], NOW
    for gap in gaps:
        now += timedelta(microseconds=gap)
        state, wait_seconds = reserve(state, [limit], ["x"], now)
        moments.append(now + timedelta(seconds=wait_seconds))

    assert most_in_any_window(moments, limit) <= limit.calls


@given(seed=st.integers(0, 2**32), calls=st.integers(1, 400))
@settings(max_examples=40)
def test_no_window_of_any_limit_holds_more_when_calls_spend_different_limits(seed, calls):
    choose = random.Random(seed)
    state: dict[str, int] = {}
    now = NOW
    sent: dict[str, list[datetime]] = {limit.name: [] for limit in QUICKBOOKS}
    for _ in range(calls):
        spends = choose.choice([("request", "second"), ("request", "second", "batch"), ("batch",)])
        state, wait_seconds = reserve(state, QUICKBOOKS, spends, now)
        for name in spends:
            sent[name].append(now + timedelta(seconds=wait_seconds))
        now += timedelta(seconds=choose.choice([0, 0, 0, 0.01, 5]))

    for limit in QUICKBOOKS:
        assert most_in_any_window(sent[limit.name], limit) <= limit.calls


@given(limit=limits)
def test_at_least_95_percent_is_used_when_there_is_always_work(limit):
    state: dict[str, int] = {}
    used = 0
    windows = 5
    while True:
        state, wait_seconds = reserve(state, [limit], ["x"], NOW)
        if wait_seconds >= windows * limit.per_seconds:
            break
        used += 1

    assert used >= 0.95 * windows * limit.calls - 1


def test_a_call_waits_for_the_scarcest_of_its_limits():
    state, _ = reserve({}, QUICKBOOKS, ["request", "batch"], NOW)
    _, reading = reserve(state, QUICKBOOKS, ["request"], NOW)
    _, writing = reserve(state, QUICKBOOKS, ["request", "batch"], NOW)

    assert reading == 0
    assert writing == pytest.approx(60 / 39, abs=0.01)


def test_limits_that_are_gone_leave_the_state():
    state, _ = reserve({"former": 1}, QUICKBOOKS, ["batch"], NOW)

    assert set(state) == {"batch"}


class Worker:
    def __init__(self, store: MemoryBudgetStore, clock: ManualClock, limit: Limit) -> None:
        self.clock = clock
        self.budget = Budget(store, "t", "books", [limit], clock)


@given(seed=st.integers(0, 2**32), workers=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_many_workers_in_any_order_keep_the_limit_together(seed, workers):
    choose = random.Random(seed)
    limit = Limit("batch", 40, 60)
    store = MemoryBudgetStore()
    crew = [Worker(store, ManualClock(NOW), limit) for _ in range(workers)]
    sent = []
    for _ in range(200):
        worker = choose.choice(crew)
        try:
            worker.budget.spend(["batch"])
        except ThrottledError as error:
            worker.clock.advance(error.retry_after_seconds)
        else:
            sent.append(worker.clock.now())

    assert most_in_any_window(sent, limit) <= limit.calls
    assert len(sent) >= 100


def test_spending_waits_until_the_reserved_moment():
    clock = ManualClock(NOW)
    budget = Budget(MemoryBudgetStore(), "t", "books", [Limit("batch", 40, 60)], clock)
    for _ in range(5):
        budget.spend(["batch"])

    assert (clock.now() - NOW).total_seconds() == pytest.approx(4 * 60 / 39, abs=0.01)


def test_a_moment_too_far_away_reserves_nothing():
    clock, store = ManualClock(NOW), MemoryBudgetStore()
    slow = Budget(store, "t", "books", [Limit("batch", 1, 60)], clock)
    slow.spend(["batch"])
    before = dict(store.states)

    with pytest.raises(ThrottledError) as caught:
        slow.spend(["batch"])

    assert caught.value.retry_after_seconds == 61
    assert store.states == before
    assert clock.slept == []


def test_connections_and_tenants_do_not_share():
    clock, store = ManualClock(NOW), MemoryBudgetStore()
    for tenant, connection in (("a", "books"), ("b", "books"), ("a", "other")):
        Budget(store, tenant, connection, [Limit("batch", 1, 60)], clock).spend(["batch"])

    assert clock.slept == []


def test_a_worker_that_is_alone_reads_the_state_once():
    store = MemoryBudgetStore()
    budget = Budget(store, "t", "books", QUICKBOOKS, ManualClock(NOW))
    for _ in range(5):
        budget.spend(["request"])

    assert store.reads == 1


def test_endless_contention_ends_as_throttled():
    class Contended(MemoryBudgetStore):
        def write_budget(self, tenant, connection, state, revision):
            return False

    with pytest.raises(ThrottledError):
        Budget(Contended(), "t", "books", QUICKBOOKS, ManualClock(NOW)).spend(["request"])


def test_a_call_that_spends_nothing_touches_no_store():
    store = MemoryBudgetStore()
    Budget(store, "t", "books", QUICKBOOKS, ManualClock(NOW)).spend([])

    assert store.reads == 0
