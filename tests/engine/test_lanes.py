"""Lanes: changes of both may come in one call of `apply`; each is worked on through its own door."""

from __future__ import annotations

from dataclasses import replace

from tests.engine.world import CRM, World
from tieout.domain.changes import Change, Lane
from tieout.domain.connections import Connection
from tieout.domain.records import Kind
from tieout.engine.apply import ApplyChanges
from tieout.engine.collect import coalesce
from tieout.ports.connector import Connector


class Doors:
    """Notes in which order connections are opened, and by which lane."""

    def __init__(self, world: World) -> None:
        self.opened: list[tuple[str, str]] = []
        self._providers = {"fake_crm": world.crm, "fake_books": world.books}

    def live(self, connection: Connection) -> Connector:
        self.opened.append(("live", connection.id))
        return self._providers[connection.provider]

    def backfill(self, connection: Connection) -> Connector:
        self.opened.append(("backfill", connection.id))
        return self._providers[connection.provider]


def worker(world: World, doors: Doors) -> ApplyChanges:
    return ApplyChanges(
        config=world.state,
        links=world.state,
        alerts=world.state,
        queue=world.queue,
        budget=world.state,
        connect=doors.live,
        connect_backfill=doors.backfill,
        clock=world.clock,
        policy=world.policy,
    )


def changes(world: World, lane: Lane, *names: str) -> list[Change]:
    return [replace(change, lane=lane) for change in world.change(Kind.DEAL, *names)]


def test_each_lane_has_its_own_door_and_live_changes_come_first():
    world = World()
    for name in ("d1", "d2", "d3"):
        world.deal(name)
    doors = Doors(world)

    report = worker(world, doors).apply([*changes(world, Lane.BACKFILL, "d1", "d2"), *changes(world, Lane.LIVE, "d3")])

    lanes = [lane for lane, connection in doors.opened if connection == CRM]
    assert lanes == ["live", "backfill"]
    assert {lane for lane, _ in doors.opened} == {"live", "backfill"}
    assert len(world.books.all(Kind.INVOICE)) == 3
    assert report.waiting == report.parked == 0


def test_history_alone_opens_no_live_door():
    world = World()
    world.deal("d1")
    doors = Doors(world)
    worker(world, doors).apply(changes(world, Lane.BACKFILL, "d1"))
    assert {lane for lane, _ in doors.opened} == {"backfill"}


def test_a_record_that_is_history_and_changed_just_now_is_live():
    world = World()
    history, live = changes(world, Lane.BACKFILL, "d1"), changes(world, Lane.LIVE, "d1")
    for both in ([*history, *live], [*live, *history]):
        assert [change.lane for change in coalesce(both)] == [Lane.LIVE]
    assert [change.lane for change in coalesce([*history, *history])] == [Lane.BACKFILL]
