"""Parking what workers failed on: alone once more, so far apart that they do not meet, then a person is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engine.test_two_way import sync as two_way
from tests.engine.world import BOOKS, CRM, World
from tieout.domain.changes import Change, UnsyncedState
from tieout.domain.records import Kind
from tieout.engine.park import ParkChanges


@pytest.fixture
def world() -> World:
    return World()


def parking(world: World) -> ParkChanges:
    return ParkChanges(config=world.state, links=world.state, alerts=world.state, queue=world.queue, clock=world.clock)


def test_changes_come_back_alone_a_quarter_of_a_minute_apart_and_within_a_quarter_of_an_hour(world: World):
    changes = world.change(Kind.DEAL, *(f"d{number}" for number in range(62)))
    report = parking(world).park(changes)

    waits = [(due - world.clock.now()).total_seconds() for due, _ in world.queue.later]
    assert waits[:3] == [15, 30, 45]
    assert waits[-3:] == [900, 900, 900]
    assert [change for _, change in world.queue.later] == [replace(change, alone=True) for change in changes]
    assert (report.waiting, report.parked) == (62, 0)


def test_of_several_those_that_were_tried_alone_already_are_parked(world: World):
    first, second = world.change(Kind.DEAL, "d1", "d2")
    report = parking(world).park([replace(first, alone=True), second])
    assert (report.parked, report.waiting) == (1, 1)
    assert [one.change.id for one in world.unsynced()] == ["d1"]
    assert [change.id for _, change in world.queue.later] == ["d2"]


def test_a_person_reads_what_failed_and_where_to_look(world: World):
    parking(world).park(world.change(Kind.DEAL, "d1"))
    (one,) = world.unsynced()
    assert (one.step, one.state, one.cause, one.code) == (
        "invoices",
        UnsyncedState.PARKED,
        "worker-failed",
        "worker-failed",
    )
    assert one.reason == "The worker failed several times on this deal and could not say why."
    assert one.next_step == ("Retry it; if it comes back, look at the log of the function apply_changes at that time.")


@pytest.mark.parametrize(
    ("connection", "kind", "steps"),
    [
        (CRM, Kind.CONTACT, ["customers"]),
        (CRM, Kind.COMPANY, ["customers"]),
        (CRM, Kind.INVOICE, []),
        (BOOKS, Kind.PAYMENT, ["payments"]),
        (BOOKS, Kind.DEAL, []),
        ("nowhere", Kind.DEAL, []),
    ],
)
def test_it_is_parked_under_each_step_that_its_kind_concerns(world: World, connection: str, kind: Kind, steps):
    parking(world).park(world.change(kind, "x1", connection=connection))
    assert [one.step for one in world.unsynced()] == steps


def test_a_change_of_the_other_side_is_parked_under_the_record_that_it_would_come_back_to():
    world = World(two_way())
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    report = parking(world).park(world.change(Kind.CUSTOMER, customer.id, connection=BOOKS))
    assert report.parked == 1
    (one,) = world.unsynced()
    assert (one.step, one.change.connection, one.change.kind, one.change.id) == ("customers", CRM, Kind.COMPANY, "c1")

    nobody: list[Change] = world.change(Kind.CUSTOMER, "unknown", connection=BOOKS)
    assert parking(world).park(nobody).parked == 0
    assert parking(world).park(world.change(Kind.ITEM, customer.id, connection=BOOKS)).parked == 0
