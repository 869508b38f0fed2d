"""Measuring: the age of the oldest change that is not in agreement, over all tenants."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.engine.world import CRM, START, TENANT, FakeClock, MemoryState
from tieout.domain.changes import Change, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind
from tieout.engine.measure import Ages, MeasureUnsynced


def unsynced(state: MemoryState, tenant: str, record_id: str, what: UnsyncedState, *, seen: int, stopped: int) -> None:
    """A record seen, and stopped, so many seconds before the start."""
    change = Change(tenant, CRM, Kind.DEAL, record_id, START - timedelta(seconds=seen), Origin.POLL)
    since = START - timedelta(seconds=stopped)
    one = Unsynced("deals", "invoices", change, what, record_id, "cause", "reason", since)
    state.set_unsynced(LinkKey(tenant, "deals", "invoices", record_id), one)


def ages(state: MemoryState) -> Ages:
    return MeasureUnsynced(config=state, links=state, clock=FakeClock()).ages()


def two_tenants() -> MemoryState:
    state = MemoryState()
    for tenant in (TENANT, "globex"):
        state.put_connection(Connection(tenant, CRM, "fake_crm", account="1"))
    return state


def test_nothing_that_waits_is_no_age():
    assert ages(MemoryState()) == Ages(0, 0)
    assert ages(two_tenants()) == Ages(0, 0)


def test_waiting_and_parked_are_measured_apart_and_the_oldest_of_any_tenant_counts():
    state = two_tenants()
    unsynced(state, TENANT, "d1", UnsyncedState.WAITING, seen=90, stopped=80)
    unsynced(state, TENANT, "d2", UnsyncedState.WAITING, seen=40, stopped=30)
    unsynced(state, "globex", "d1", UnsyncedState.WAITING, seen=60, stopped=50)
    unsynced(state, "globex", "d3", UnsyncedState.PARKED, seen=7200, stopped=10)
    unsynced(state, TENANT, "d4", UnsyncedState.DISMISSED, seen=99_999, stopped=99_999)

    assert ages(state) == Ages(waiting_seconds=90, parked_seconds=7200)


def test_the_age_is_that_of_the_change_and_not_of_its_first_stop():
    state = two_tenants()
    unsynced(state, TENANT, "d1", UnsyncedState.WAITING, seen=10, stopped=5)
    (key,) = state.links
    later = replace(state.links[key].unsynced, change=replace(state.links[key].unsynced.change, seen_at=START))  # type: ignore[type-var, union-attr]
    state.set_unsynced(key, later)

    assert ages(state) == Ages(0, 0)
