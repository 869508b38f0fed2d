"""Budgets: never more than the limit in any window, and hardly less when there is work."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.fakes import ManualClock, MemoryBudgetStore
from tieout.domain.changes import Lane
from tieout.domain.errors import ThrottledError
from tieout.ports.connector import Limit, Window
from tieout.ports.http import Answer
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
@settings(deadline=None)  # 3,500 calls take longer on a busy machine, which says nothing
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


def test_a_name_without_a_limit_costs_nothing():
    state, wait_seconds = reserve({}, QUICKBOOKS, ["request", "day"], NOW)

    assert (set(state), wait_seconds) == ({"request"}, 0)


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
    budget = Budget(store, "t", "books", QUICKBOOKS, ManualClock(NOW))
    budget.spend([])
    budget.ended([], THROTTLED)

    assert store.reads == 0
    assert store.states == {}


# A quota of a day

DAY = 24 * 3600
quotas = st.builds(Limit, st.just("day"), st.integers(1, 60), st.integers(12, 3 * DAY), st.just(Window.QUOTA))


@given(limit=quotas, gaps=st.lists(st.integers(0, DAY), max_size=150))
def test_no_window_holds_more_than_the_quota(limit, gaps):
    state: dict[str, int] = {}
    moments, now = [], NOW
    for gap in gaps:
        now += timedelta(seconds=gap)
        state, wait_seconds = reserve(state, [limit], ["day"], now)
        moments.append(now + timedelta(seconds=wait_seconds))

    assert most_in_any_window(moments, limit) <= limit.calls


def test_a_whole_quota_may_be_used_early_and_then_frees_with_its_window():
    clock, store = ManualClock(NOW), MemoryBudgetStore()
    budget = Budget(store, "t", "crm", [Limit("day", 300, DAY, Window.QUOTA)], clock)
    for _ in range(300):
        budget.spend(["day"])
    assert clock.slept == []

    with pytest.raises(ThrottledError) as caught:
        budget.spend(["day"])

    assert DAY < caught.value.retry_after_seconds <= DAY + DAY // 12 + 1
    clock.advance(caught.value.retry_after_seconds)
    budget.spend(["day"])


def test_a_quota_frees_part_by_part():
    limit = Limit("day", 10, 1200, Window.QUOTA)
    state: dict[str, int] = {}
    begin = NOW  # a whole number of parts of 100 seconds
    for number in range(10):
        state, wait_seconds = reserve(state, [limit], ["day"], begin + timedelta(seconds=100 * number))
        assert wait_seconds == 0

    state, wait_seconds = reserve(state, [limit], ["day"], begin + timedelta(seconds=1000))
    _, next_wait_seconds = reserve(state, [limit], ["day"], begin + timedelta(seconds=1000))

    assert (wait_seconds, next_wait_seconds) == (300, 400)


def test_backfill_leaves_a_fifth_of_a_quota_to_live_changes():
    clock, store = ManualClock(NOW), MemoryBudgetStore()
    history, live = (Budget(store, "t", "crm", [Limit("day", 10, DAY, Window.QUOTA)], clock) for _ in range(2))
    for _ in range(8):
        history.spend(["day"], Lane.BACKFILL)
    with pytest.raises(ThrottledError):
        history.spend(["day"], Lane.BACKFILL)
    for _ in range(2):
        live.spend(["day"])
    with pytest.raises(ThrottledError):
        live.spend(["day"])


# Calls in flight

TWO_AT_A_TIME = Limit("open", 2, 30, Window.IN_FLIGHT)


def budgets(count: int, *limits: Limit) -> tuple[MemoryBudgetStore, ManualClock, list[Budget]]:
    store, clock = MemoryBudgetStore(), ManualClock(NOW)
    return store, clock, [Budget(store, "t", "books", limits, clock) for _ in range(count)]


def test_no_more_calls_are_in_flight_than_may_be_and_one_that_ended_makes_room():
    _, _, (first, second, third) = budgets(3, TWO_AT_A_TIME)
    first.spend(["open"])
    second.spend(["open"])
    with pytest.raises(ThrottledError) as caught:
        third.spend(["open"])
    assert caught.value.retry_after_seconds <= 2

    second.ended(["open"], Answer(200, {}, b""))

    third.spend(["open"])


def test_a_waiting_call_is_sent_as_soon_as_another_ended():
    _, clock, (first, second, third) = budgets(3, TWO_AT_A_TIME)
    first.spend(["open"])
    second.spend(["open"])

    def ends_after_five_seconds(seconds: float) -> None:
        if clock.now() - NOW >= timedelta(seconds=5) > clock.now() - NOW - timedelta(seconds=seconds):
            second.ended(["open"], Answer(200, {}, b""))

    sleep = clock.sleep

    def sleeps(seconds: float) -> None:
        sleep(seconds)
        ends_after_five_seconds(seconds)

    clock.sleep = sleeps
    third.spend(["open"])

    assert 5 <= (clock.now() - NOW).total_seconds() <= 6


def test_a_worker_that_died_holds_its_place_for_the_longest_time_of_a_call_and_no_longer():
    _, clock, (dead, other, heir) = budgets(3, Limit("open", 1, 30, Window.IN_FLIGHT))
    dead.spend(["open"])
    with pytest.raises(ThrottledError):
        other.spend(["open"])
    clock.advance((NOW + timedelta(seconds=31) - clock.now()).total_seconds())
    heir.spend(["open"])


def test_a_call_whose_end_nobody_knows_keeps_its_place():
    _, _, (first, second) = budgets(2, Limit("open", 1, 60, Window.IN_FLIGHT))
    first.spend(["open"])
    with pytest.raises(ThrottledError):
        first.spend(["open"])  # its former call got no answer
    with pytest.raises(ThrottledError):
        second.spend(["open"])


def test_a_call_after_another_keeps_the_same_place():
    store, _, (first, second) = budgets(2, Limit("open", 10, 30, Window.IN_FLIGHT))
    for _ in range(50):
        for budget in (first, second):
            budget.spend(["open"])
            budget.ended(["open"], Answer(200, {}, b""))

    state, revision = store.states["t", "books"]
    assert len(state) == 2
    assert revision == 100, "one write a call"


def test_a_call_that_could_not_be_sent_gives_its_place_back():
    _, _, (first, second) = budgets(2, Limit("open", 1, 30, Window.IN_FLIGHT))
    first.spend(["open"])
    first.ended(["open"], None)
    second.spend(["open"])


@pytest.mark.parametrize("places", [1, 2, 4, 10])
def test_processes_that_rest_leave_a_place_to_backfill(places):
    _, clock, crew = budgets(places + 1, Limit("open", places, 120, Window.IN_FLIGHT))
    for resting in crew[:-1]:
        resting.spend(["open"])
        resting.ended(["open"], Answer(200, {}, b""))
    began = clock.now()

    crew[-1].spend(["open"], Lane.BACKFILL)

    assert clock.now() == began


def test_backfill_leaves_places_to_live_calls():
    _, _, (*history, live) = budgets(4, Limit("open", 4, 30, Window.IN_FLIGHT))
    for budget in history:
        budget.spend(["open"], Lane.BACKFILL)
    with pytest.raises(ThrottledError):
        Budget(history[0]._store, "t", "books", [Limit("open", 4, 30, Window.IN_FLIGHT)], live._clock).spend(
            ["open"], Lane.BACKFILL
        )
    live.spend(["open"])


# Live before backfill

MINUTE = Limit("batch", 40, 60)


def test_a_live_call_overtakes_backfill_that_waits():
    store = MemoryBudgetStore()
    clocks = [ManualClock(NOW) for _ in range(21)]
    *history, live = (Budget(store, "t", "books", [MINUTE], clock) for clock in clocks)
    history[0].spend(["batch"], Lane.BACKFILL)
    first_free = 60 / 39
    order: list[str] = []

    def live_comes_first(seconds: float) -> None:
        if not order:
            order.append("live")
            live.spend(["batch"])
        ManualClock.sleep(clocks[1], seconds)

    clocks[1].sleep = live_comes_first
    history[1].spend(["batch"], Lane.BACKFILL)

    assert (clocks[-1].now() - NOW).total_seconds() == pytest.approx(first_free, abs=0.01)
    assert (clocks[1].now() - NOW).total_seconds() == pytest.approx(2 * first_free, abs=0.01)


def test_backfill_that_has_to_wait_for_long_reserves_nothing():
    store, clock = MemoryBudgetStore(), ManualClock(NOW)
    live = Budget(store, "t", "books", [MINUTE], ManualClock(NOW))
    for _ in range(13):
        live._clock = ManualClock(NOW)
        live.spend(["batch"])
    before = dict(store.states)

    with pytest.raises(ThrottledError) as caught:
        Budget(store, "t", "books", [MINUTE], clock).spend(["batch"], Lane.BACKFILL)

    assert store.states == before
    assert caught.value.retry_after_seconds >= 1
    assert (clock.now() - NOW).total_seconds() <= 20


# What the provider asks

REQUEST = ["request"]
THROTTLED = Answer(429, {"retry-after": "7"}, b"")


def refused(budget: Budget, answer: Answer) -> None:
    budget.spend(REQUEST)
    budget.ended(REQUEST, answer)


@pytest.mark.parametrize("status", [429, 503])
def test_nobody_calls_before_the_moment_that_the_provider_names(status):
    _, clock, (first, second) = budgets(2, *QUICKBOOKS)
    refused(first, Answer(status, {"retry-after": "7"}, b""))

    second.spend(REQUEST)

    assert (clock.now() - NOW).total_seconds() == pytest.approx(7, abs=0.01)


def test_the_moment_may_be_a_date():
    _, clock, (first, second) = budgets(2, *QUICKBOOKS)
    refused(first, Answer(429, {"retry-after": "Mon, 02 Mar 2026 12:00:11 GMT"}, b""))
    second.spend(REQUEST)
    assert (clock.now() - NOW).total_seconds() == pytest.approx(11, abs=0.01)


@pytest.mark.parametrize(
    "said", ["999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2300"]
)
def test_no_provider_closes_a_connection_for_more_than_an_hour(said):
    _, clock, (first, second) = budgets(2, *QUICKBOOKS)
    refused(first, Answer(429, {"retry-after": said}, b""))
    with pytest.raises(ThrottledError) as caught:
        second.spend(REQUEST)
    assert caught.value.retry_after_seconds == 3601
    clock.advance(3600)
    second.spend(REQUEST)


@pytest.mark.parametrize("headers", [{}, {"retry-after": "soon"}, {"retry-after": ""}])
def test_a_refusal_without_a_moment_closes_for_longer_each_time_in_a_row(headers):
    store, clock, (first, _) = budgets(2, *QUICKBOOKS)
    assert closings(store, clock, first, Answer(429, headers, b"")) == [15, 30, 60, 120, 240, 300, 300]


def closings(store: MemoryBudgetStore, clock: ManualClock, budget: Budget, *answers: Answer) -> list[int]:
    """For how long each of seven refusals closes; the last of the answers is the refusal."""
    closed = []
    for _ in range(7):
        for answer in answers:
            refused(budget, answer)
        until = NOW.fromtimestamp(store.states["t", "books"][0]["closed"] / 1_000_000, UTC)
        closed.append(round((until - clock.now()).total_seconds()))
        clock.advance(closed[-1])
    return closed


def test_a_call_that_is_taken_after_a_refusal_ends_the_row():
    store, clock, (first, _) = budgets(2, *QUICKBOOKS)
    assert closings(store, clock, first, Answer(200, {}, b""), Answer(429, {}, b"")) == [15] * 7


def test_a_call_that_was_under_way_while_another_was_refused_does_not_end_the_row():
    store, _, (first, second) = budgets(2, *QUICKBOOKS)
    second.spend(REQUEST)
    refused(first, Answer(429, {}, b""))
    second.ended(REQUEST, Answer(200, {}, b""))
    assert store.states["t", "books"][0]["refusals"] == 1


@pytest.mark.parametrize(("headers", "closed_seconds"), [({}, 15), ({"retry-after": "9"}, 7 + 9)])
def test_calls_that_are_refused_together_count_as_one_refusal(headers, closed_seconds):
    store, clock, crew = budgets(8, *QUICKBOOKS)
    for budget in crew:
        budget.spend(REQUEST)
    began = clock.now()
    for budget in crew:
        budget.ended(REQUEST, Answer(429, headers, b""))
        clock.advance(1)

    state, _ = store.states["t", "books"]
    assert state["refusals"] == 1
    assert state["closed"] / 1_000_000 - began.timestamp() == pytest.approx(closed_seconds, abs=0.01)


def test_an_outage_without_a_moment_closes_nothing():
    store, _, (first, _) = budgets(2, *QUICKBOOKS)
    refused(first, Answer(503, {}, b""))
    assert "closed" not in store.states["t", "books"][0]


def test_a_refusal_is_forgotten_after_a_while():
    store, clock, (first, second) = budgets(2, *QUICKBOOKS)
    refused(first, THROTTLED)
    clock.advance(608)
    second.spend(REQUEST)
    assert set(store.states["t", "books"][0]) == {"request"}


def test_workers_that_meet_read_before_they_write():
    class Counting(MemoryBudgetStore):
        lost = 0

        def write_budget(self, tenant, connection, state, revision):
            written = super().write_budget(tenant, connection, state, revision)
            self.lost += not written
            return written

    store, clock = Counting(), ManualClock(NOW)
    crew = [Budget(store, "t", "books", QUICKBOOKS, clock) for _ in range(3)]
    for _ in range(20):
        for budget in crew:
            budget.spend(REQUEST)

    assert store.lost <= len(crew), "a write that is refused costs as much as one that is not"
