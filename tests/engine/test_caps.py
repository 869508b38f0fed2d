"""Caps count each document once a day, whatever is tried again and however many workers count."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from tests.contract.fakes import MemoryBudgetStore
from tests.engine.world import FakeClock
from tieout.domain.errors import UnavailableError
from tieout.engine.caps import Cap, Caps


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def admitted(caps: Caps, *references: str, most: int, sync: str = "deals") -> set[str]:
    return caps.admit("acme", sync, Cap.WITHDRAWALS, references, most)


def test_what_is_above_the_cap_is_left_out_in_the_order_asked(clock: FakeClock) -> None:
    caps = Caps(MemoryBudgetStore(), clock)
    assert admitted(caps, "a", "b", "c", most=2) == {"a", "b"}
    assert admitted(caps, "d", most=2) == set()


def test_what_was_admitted_stays_so_that_day_and_counts_once(clock: FakeClock) -> None:
    caps = Caps(MemoryBudgetStore(), clock)
    for _ in range(3):
        assert admitted(caps, "a", most=2) == {"a"}
    assert admitted(caps, "b", "c", most=2) == {"b"}


def test_a_new_day_begins_anew(clock: FakeClock) -> None:
    caps = Caps(MemoryBudgetStore(), clock)
    admitted(caps, "a", "b", most=2)
    clock.time += timedelta(days=1)
    assert admitted(caps, "c", most=2) == {"c"}


def test_syncs_and_caps_count_apart(clock: FakeClock) -> None:
    store = MemoryBudgetStore()
    caps = Caps(store, clock)
    assert admitted(caps, "a", most=1) == {"a"}
    assert admitted(caps, "b", most=1, sync="orders") == {"b"}
    assert caps.admit("acme", "deals", Cap.REWRITES, ["b"], 1) == {"b"}
    assert caps.admit("other", "deals", Cap.WITHDRAWALS, ["b"], 1) == {"b"}


def test_a_cap_of_zero_admits_nothing(clock: FakeClock) -> None:
    assert admitted(Caps(MemoryBudgetStore(), clock), "a", most=0) == set()


def test_another_worker_between_reading_and_counting_is_seen(clock: FakeClock) -> None:
    store = MemoryBudgetStore()
    others = iter([True])

    class Raced(MemoryBudgetStore):
        def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
            if next(others, False):
                admitted(Caps(store, clock), "other", most=2)
            return store.write_budget(tenant, connection, state, revision)

        def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
            return store.read_budget(tenant, connection)

    assert admitted(Caps(Raced(), clock), "a", "b", most=2) == {"a"}


def test_endless_contention_is_an_error_and_admits_nothing(clock: FakeClock) -> None:
    class Busy(MemoryBudgetStore):
        def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
            return False

    with pytest.raises(UnavailableError) as raised:
        admitted(Caps(Busy(), clock), "a", most=2)
    assert raised.value.message == "Too many workers count the same cap at once; it is tried again."
    assert clock.slept == pytest.approx(12 * 0.01), "a moment after each of twelve tries"


def test_what_is_asked_for_twice_at_once_counts_once(clock: FakeClock) -> None:
    assert admitted(Caps(MemoryBudgetStore(), clock), "a", "a", "b", most=2) == {"a", "b"}


def test_what_was_admitted_goes_on_beside_what_there_is_room_for(clock: FakeClock) -> None:
    caps = Caps(MemoryBudgetStore(), clock)
    admitted(caps, "a", "b", most=2)
    assert admitted(caps, "b", "c", most=3) == {"b", "c"}
    assert admitted(caps, "c", "d", "a", most=3) == {"c", "a"}
    assert admitted(caps, "d", most=1) == set(), "a cap that was lowered admits nothing more"


def test_what_is_stored_is_the_day_and_the_documents_in_whole_numbers(clock: FakeClock) -> None:
    store = MemoryBudgetStore()
    caps = Caps(store, clock)
    admitted(caps, "a", most=2)
    admitted(caps, "b", most=2)
    assert store.read_budget("acme", "caps/deals/withdrawals") == ({"day": clock.now().toordinal(), "a": 1, "b": 1}, 2)


def test_the_day_ends_at_midnight_utc(clock: FakeClock) -> None:
    caps = Caps(MemoryBudgetStore(), clock)
    clock.time = clock.time.replace(hour=23, minute=59)
    admitted(caps, "a", most=1)
    clock.time += timedelta(seconds=59)
    assert admitted(caps, "b", most=1) == set()
    clock.time += timedelta(seconds=1)
    assert admitted(caps, "b", most=1) == {"b"}
