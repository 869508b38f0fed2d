from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.aws import START
from tests.contract.fakes import ManualClock
from tests.whole_way import _size as item_size
from tieout.adapters import lease
from tieout.adapters.dynamodb.budget import DynamoBudget
from tieout.domain.errors import UnavailableError
from tieout.ports.connector import Limit, Window
from tieout.ports.http import Answer
from tieout.transport import Budget

MINUTE = timedelta(minutes=1)


@pytest.fixture
def budget(table):
    return DynamoBudget(table)


def test_a_budget_begins_empty_and_is_written_by_revision(budget):
    assert budget.read_budget("acme", "quickbooks") == ({}, 0)
    assert budget.write_budget("acme", "quickbooks", {"requests": 1_795_338_000_123_456}, 0)
    assert budget.read_budget("acme", "quickbooks") == ({"requests": 1_795_338_000_123_456}, 1)
    assert budget.write_budget("acme", "quickbooks", {"requests": 2}, 1)
    assert budget.read_budget("acme", "quickbooks") == ({"requests": 2}, 2)


@pytest.mark.parametrize("revision", [0, 2])
def test_a_slower_worker_does_not_overwrite_the_budget(budget, revision):
    assert budget.write_budget("acme", "quickbooks", {"requests": 1}, 0)
    assert not budget.write_budget("acme", "quickbooks", {"requests": 9}, revision)
    assert budget.read_budget("acme", "quickbooks") == ({"requests": 1}, 1)


def test_a_budget_is_one_connections_own(budget):
    budget.write_budget("acme", "quickbooks", {"requests": 1}, 0)
    assert budget.read_budget("acme", "act") == ({}, 0)
    assert budget.read_budget("globex", "quickbooks") == ({}, 0)


def take(budget, holder, *, now=START, tenant="acme"):
    return budget.take_lease(tenant, "token", holder=holder, until=now + MINUTE, now=now)


def test_a_lease_has_one_holder(budget):
    assert take(budget, "a")
    assert not take(budget, "b")
    assert take(budget, "a"), "who holds it may hold it on"
    assert take(budget, "b", tenant="globex")


def test_a_lease_ends_at_its_time(budget):
    assert take(budget, "a")
    assert not take(budget, "b", now=START + MINUTE - timedelta(microseconds=1))
    assert take(budget, "b", now=START + MINUTE)
    assert not take(budget, "a", now=START + MINUTE)


def test_a_lease_is_given_back_by_its_holder_alone(budget):
    take(budget, "a")
    budget.drop_lease("acme", "token", holder="b")
    assert not take(budget, "b")
    budget.drop_lease("acme", "token", holder="a")
    assert take(budget, "b")
    budget.drop_lease("acme", "never", holder="a")


def test_a_lease_is_swept_away_after_its_time_only(budget, clients):
    take(budget, "a")
    (item,) = clients.dynamodb.scan(TableName="tieout-table")["Items"]
    assert int(item["expires_at"]["N"]) >= (START + MINUTE).timestamp()


def test_a_held_lease_is_free_after_the_work_even_if_it_fails(budget, clock):
    with lease.held(budget, clock, "acme", "token"):
        assert not take(budget, "other", now=clock.now())
    with pytest.raises(KeyError), lease.held(budget, clock, "acme", "token"):
        raise KeyError
    assert take(budget, "other", now=clock.now())
    assert clock.slept == []


def test_a_busy_lease_is_awaited(budget, clock):
    budget.take_lease("acme", "token", holder="other", until=START + timedelta(seconds=5), now=START)
    with lease.held(budget, clock, "acme", "token"):
        assert timedelta(seconds=5) <= clock.now() - START < timedelta(seconds=6)


def test_a_lease_that_stays_busy_is_given_up_after_twenty_seconds(budget, clock):
    take(budget, "other")
    with pytest.raises(UnavailableError), lease.held(budget, clock, "acme", "token"):
        pytest.fail("another worker holds it")
    assert clock.now() - START == timedelta(seconds=20)
    assert not take(budget, "third", now=clock.now()), "the other's lease is untouched"


def test_the_state_of_the_busiest_connection_costs_one_write_unit(budget, clients):
    day = 24 * 3600
    limits = (
        Limit("requests_per_minute", 500, 60),
        Limit("requests_per_second", 10, 1),
        Limit("requests_in_flight", 10, 125, Window.IN_FLIGHT),
        Limit("requests_per_day", 5000, day, Window.QUOTA),
    )
    names = [limit.name for limit in limits]
    clock = ManualClock(START)
    crew = [Budget(budget, "a-tenant-with-a-long-name", "quickbooks-online", limits, clock) for _ in range(10)]
    for part in range(14):
        for worker in crew:
            worker.spend(names)
            if part < 13:
                worker.ended(names, Answer(200, {}, b""))
        if part < 13:
            clock.advance(day / 12)
    crew[0].ended(names[:1], Answer(429, {"retry-after": "5"}, b""))

    (item,) = clients.dynamodb.scan(TableName="tieout-table")["Items"]
    state = json.loads(item["spent"]["S"])
    assert sum("in_flight" in name for name in state) == 10
    assert sum("per_day" in name for name in state) == 13
    assert "closed" in state
    assert item_size(item) <= 1024
