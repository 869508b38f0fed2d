"""Backfill: page by page from where it stopped, on the slow lane; waiting until the queues are quiet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.test_around import backfill, connect, quiet
from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.errors import SettingsError, UnavailableError
from tieout.domain.records import Kind, Record
from tieout.engine.backfill import source_of, sync_of, target_of
from tieout.ports.connector import ChangePage

SYNC = "deals-to-invoices"


@pytest.fixture
def world() -> World:
    return World()


def paged(world: World, *pages: Sequence[str], kind: Kind = Kind.DEAL) -> list[str | None]:
    """The CRM shows these ids in pages, whose cursors are their numbers; other kinds have none. The cursors asked."""
    asked: list[str | None] = []

    def changes(of: Kind, cursor: str | None) -> ChangePage:
        if of is not kind:
            return ChangePage((), "end", more=False)
        asked.append(cursor)
        number = int(cursor or 0)
        found = [Record(kind, one) for one in pages[number]]
        return ChangePage(found, str(number + 1), more=number + 1 < len(pages))

    world.crm.changes = changes  # type: ignore[method-assign]  # pages of our own
    return asked


def test_each_record_is_queued_once_on_the_slow_lane_though_pages_repeat_it(world: World):
    world.clock.sleep(60)
    asked = paged(world, ["d1", "d2"], ["d2", "d3"], ["d1"])
    shown: list[tuple[str, int]] = []
    report = backfill(world).run(TENANT, SYNC, progress=lambda *one: shown.append(one))

    assert asked == [None, "1", "2"]
    assert world.queue.now == [
        Change(TENANT, CRM, Kind.DEAL, one, world.clock.now(), Origin.BACKFILL, Lane.BACKFILL)
        for one in ("d1", "d2", "d3")
    ]
    assert report.queued == {Kind.COMPANY: 0, Kind.PRODUCT: 0, Kind.DEAL: 3}
    assert shown == [(Kind.COMPANY, 0), (Kind.PRODUCT, 0), (Kind.DEAL, 2), (Kind.DEAL, 3), (Kind.DEAL, 3)]
    assert (report.run, report.resumed) == ("backfill-20261122T090100", False)


def test_a_run_that_was_stopped_goes_on_after_the_last_page_that_was_queued(world: World):
    asked = paged(world, ["d1"], ["d2"], ["d3"])

    def stops(kind: str, count: int) -> None:
        if (kind, count) == (Kind.DEAL, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(world).run(TENANT, SYNC, progress=stops)
    stopped = world.state.run(TENANT, SYNC)
    assert stopped is not None
    assert (stopped.finished_at, stopped.checkpoint[Kind.DEAL], stopped.started_at) == (None, "2", START)
    world.queue.now.clear()
    asked.clear()
    world.clock.sleep(3600)

    report = backfill(world).run(TENANT, SYNC, progress=quiet)

    assert (report.run, report.resumed, report.queued) == (stopped.id, True, {Kind.DEAL: 1})
    assert (asked, [one.id for one in world.queue.now]) == (["2"], ["d3"])
    finished = world.state.run(TENANT, SYNC)
    assert finished is not None
    assert (finished.id, finished.finished_at) == (stopped.id, world.clock.now())
    assert finished.checkpoint == dict.fromkeys((Kind.COMPANY, Kind.PRODUCT, Kind.DEAL), "")


def test_a_run_that_was_stopped_begins_again_if_the_sync_was_changed_since(world: World):
    paged(world, ["d1"], ["d2"])

    def stops(kind: str, count: int) -> None:
        if (kind, count) == (Kind.DEAL, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(world).run(TENANT, SYNC, progress=stops)
    (stored,) = world.state.syncs(TENANT)
    world.state.put_sync(replace(stored, version=stored.version + 1))
    world.queue.now.clear()
    world.clock.sleep(1)

    report = backfill(world).run(TENANT, SYNC, progress=quiet)

    assert (report.resumed, [one.id for one in world.queue.now]) == (False, ["d1", "d2"])
    newest = world.state.run(TENANT, SYNC)
    assert newest is not None
    assert (newest.id, newest.sync_version, newest.finished_at) == (report.run, stored.version + 1, world.clock.now())


def test_a_run_that_was_stopped_begins_again_if_nobody_knows_which_version_of_the_sync_it_was_of(world: World):
    paged(world, ["d1"], ["d2"])
    backfill(world).run(TENANT, SYNC, progress=quiet)
    run = world.state.run(TENANT, SYNC)
    assert run is not None
    world.state.put_run(replace(run, finished_at=None, checkpoint={Kind.DEAL: "1"}, sync_version=0))
    world.queue.now.clear()
    world.clock.sleep(1)

    report = backfill(world).run(TENANT, SYNC, progress=quiet)

    assert (report.resumed, [one.id for one in world.queue.now]) == (False, ["d1", "d2"])


@pytest.mark.parametrize(
    ("how", "origin"), [({"restart": True}, Origin.BACKFILL), ({"relink": True}, Origin.RELINK), ({}, None)]
)
def test_a_run_begins_again_if_it_was_finished_or_somebody_asks(world: World, how: Any, origin: Origin | None):
    paged(world, ["d1"], ["d2"])
    first = backfill(world).run(TENANT, SYNC, progress=quiet)
    run = world.state.run(TENANT, SYNC)
    assert run is not None
    if how:
        world.state.put_run(replace(run, finished_at=None, checkpoint={Kind.DEAL: "1"}))
    world.queue.now.clear()
    world.clock.sleep(1)

    report = backfill(world).run(TENANT, SYNC, progress=quiet, **how)

    assert (report.resumed, [one.id for one in world.queue.now]) == (False, ["d1", "d2"])
    assert report.run != first.run
    assert {one.origin for one in world.queue.now} == {origin or Origin.BACKFILL}


def test_live_changes_are_followed_from_before_the_history_is_read(world: World):
    world.state.put_cursor(TENANT, CRM, Kind.COMPANY, "from last week")
    order: list[str] = []
    real = world.crm.changes
    world.crm.cursor_now = lambda kind: (order.append(f"cursor {kind}"), f"now {kind}")[1]  # type: ignore[func-returns-value, method-assign]  # listened to
    world.crm.changes = lambda kind, cursor: (order.append(f"read {kind}"), real(kind, cursor))[1]  # type: ignore[func-returns-value, method-assign]  # listened to

    backfill(world).run(TENANT, SYNC, progress=quiet)

    assert order == ["cursor contact", "cursor product", "cursor deal", "read company", "read product", "read deal"]
    assert world.state.cursor(TENANT, CRM, Kind.DEAL) == "now deal"
    assert world.state.cursor(TENANT, CRM, Kind.COMPANY) == "from last week"


def test_payments_of_what_it_writes_are_followed_from_before_it_is_written(world: World):
    order: list[str] = []
    world.books.cursor_now = lambda kind: (order.append(f"cursor {kind}"), f"now {kind}")[1]  # type: ignore[func-returns-value, method-assign]  # listened to
    real = world.crm.changes
    world.crm.changes = lambda kind, cursor: (order.append(f"read {kind}"), real(kind, cursor))[1]  # type: ignore[func-returns-value, method-assign]  # listened to
    world.state.put_cursor(TENANT, BOOKS, Kind.PAYMENT, "from last week")

    backfill(world).run(TENANT, SYNC, progress=quiet)

    assert order[:2] == ["cursor invoice", "read company"]
    assert world.state.cursor(TENANT, BOOKS, Kind.INVOICE) == "now invoice"
    assert world.state.cursor(TENANT, BOOKS, Kind.PAYMENT) == "from last week"


@pytest.mark.parametrize("error", [UnavailableError("Down."), SettingsError("Not set up.")])
def test_books_that_cannot_be_asked_now_keep_no_history_from_being_queued(world: World, error: Exception):
    world.deal("d1")

    def fails(_: Kind) -> str:
        raise error

    world.books.cursor_now = fails  # type: ignore[method-assign]  # of this test

    report = backfill(world).run(TENANT, SYNC, progress=quiet)

    assert report.queued[Kind.DEAL] == 1
    assert world.state.cursor(TENANT, BOOKS, Kind.INVOICE) is None


# Waiting


def test_quiet_is_two_looks_in_a_row_at_empty_queues(world: World):
    left = iter([{"changes": 2, "retry": 1}, {"changes": 0, "retry": 0}, {"changes": 1}, {"changes": 0}, {}])
    world.queue.waiting = lambda: next(left)  # type: ignore[method-assign]  # works itself off
    shown: list[tuple[str, int]] = []

    assert backfill(world).wait(progress=lambda *one: shown.append(one), timeout_seconds=60)
    assert shown == [("waiting", 3), ("waiting", 0), ("waiting", 1), ("waiting", 0), ("waiting", 0)]
    assert world.clock.slept == 4


@pytest.mark.parametrize(("timeout", "quiet_in_time"), [(1, False), (1.5, True), (0, False)])
def test_waiting_ends_with_its_time_out(world: World, timeout: float, quiet_in_time: bool):
    assert backfill(world).wait(progress=quiet, timeout_seconds=timeout) is quiet_in_time


def test_queues_that_never_run_dry_are_not_waited_for_beyond_the_time_out(world: World):
    world.queue.send(world.change(Kind.DEAL, "d1"))
    assert not backfill(world).wait(progress=quiet, timeout_seconds=60)
    assert world.clock.slept == 60


# What is missing


def test_a_sync_that_is_unknown_is_told_with_those_there_are(world: World):
    with pytest.raises(SettingsError) as raised:
        sync_of(world.state, TENANT, "other")
    assert raised.value.message == f"The tenant acme has no sync `other`; it has: {SYNC}."
    assert raised.value.next_step == "Write a sync document and run `tieout config apply FILE`."
    with pytest.raises(SettingsError, match="it has: none yet"):
        sync_of(world.state, "globex", SYNC)


@pytest.mark.parametrize(("name", "opened"), [(CRM, source_of), ("quickbooks", target_of)])
def test_a_connection_that_is_missing_is_told_with_what_to_do(world: World, name: str, opened: Any):
    sync = sync_of(world.state, TENANT, SYNC)
    assert opened(world.state, connect(world), world.clock, TENANT, sync).manifest
    del world.state.connections_by_name[TENANT, name]
    with pytest.raises(SettingsError) as raised:
        opened(world.state, connect(world), world.clock, TENANT, sync)
    assert raised.value.message == f"The tenant acme has no connection `{name}`."
    assert raised.value.next_step == f"Add a connection document for `{name}` and run `tieout config apply FILE`."


def test_what_is_opened_is_read_again_when_the_provider_stumbles(world: World):
    stumbles = [UnavailableError("down")]
    real = world.crm.probe

    def probe() -> Any:
        if stumbles:
            raise stumbles.pop()
        return real()

    world.crm.probe = probe  # type: ignore[method-assign]  # a fault
    sync = sync_of(world.state, TENANT, SYNC)
    assert source_of(world.state, connect(world), world.clock, TENANT, sync).probe() == real()
    assert world.clock.slept > 0
