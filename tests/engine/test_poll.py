"""Polling: page by page from the stored cursor, bounded; who is paused goes on once a read works."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.engine.test_around import poller
from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ProviderError, RejectedError, ThrottledError, UnavailableError
from tieout.domain.records import Kind, Record
from tieout.engine import poll
from tieout.engine.poll import PollReport
from tieout.ports.connector import Account, ChangePage


@pytest.fixture
def world() -> World:
    world = World()
    for kind in (Kind.COMPANY, Kind.CONTACT, Kind.PRODUCT, Kind.DEAL):
        world.state.put_cursor(TENANT, CRM, kind, "0")
    pages(world, ChangePage((), "0", more=False))
    return world


def pages(world: World, *found: ChangePage, kind: Kind = Kind.DEAL) -> list[str | None]:
    """What the CRM shows of a kind, page after page; of others, nothing new. The cursors asked."""
    left, asked = list(found), []

    def changes(of: Kind, cursor: str | None) -> ChangePage:
        if of is not kind:
            return ChangePage((), cursor or "", more=False)
        asked.append(cursor)
        return left.pop(0) if len(left) > 1 else left[0]

    world.crm.changes = changes  # type: ignore[method-assign]  # pages of our own
    return asked


def deals(*ids: str) -> list[Record]:
    return [Record(Kind.DEAL, one) for one in ids]


def test_pages_are_followed_and_what_is_gone_is_queued_too_each_once(world: World):
    asked = pages(
        world,
        ChangePage(deals("d1", "d2"), "1", more=True, gone=("d3", "d1")),
        ChangePage(deals("d4"), "2", more=False),
    )
    report = poller(world).poll(TENANT, CRM)

    assert asked == ["0", "1"]
    assert report == PollReport({Kind.COMPANY: 0, Kind.CONTACT: 0, Kind.PRODUCT: 0, Kind.DEAL: 4})
    assert world.queue.now == [
        Change(TENANT, CRM, Kind.DEAL, one, START, Origin.POLL, Lane.LIVE) for one in ("d1", "d2", "d3", "d4")
    ]
    assert world.state.cursor(TENANT, CRM, Kind.DEAL) == "2"


def refusing(world: World, kind: Kind, error: Exception) -> list[Kind]:
    """The CRM has one new deal, and answers with the error if it is asked for the kind; the kinds asked."""
    asked = []

    def changes(of: Kind, cursor: str | None) -> ChangePage:
        asked.append(of)
        if of is kind:
            raise error
        return ChangePage(deals("d1") if of is Kind.DEAL else (), cursor or "", more=False)

    world.crm.changes = changes  # type: ignore[method-assign]  # refuses a kind
    return asked


def test_a_kind_that_is_refused_does_not_keep_the_others_from_being_asked_for(world: World):
    refusing(world, Kind.CONTACT, RejectedError("Contacts are not for this user."))
    with pytest.raises(RejectedError, match="not for this user"):
        poller(world).poll(TENANT, CRM)
    assert [(one.kind, one.id) for one in world.queue.now] == [(Kind.DEAL, "d1")]


@pytest.mark.parametrize("error", [UnavailableError("down"), ThrottledError("slow down")])
def test_a_provider_that_is_down_is_not_asked_for_every_kind(world: World, error: ProviderError):
    asked = refusing(world, Kind.COMPANY, error)
    with pytest.raises(UnavailableError):
        poller(world).poll(TENANT, CRM)
    assert (asked[-1], Kind.DEAL in asked, world.queue.now) == (Kind.COMPANY, False, [])


def test_a_connection_that_goes_on_keeps_what_an_operator_changed_while_it_was_tried(world: World):
    connection = world.state.connection(TENANT, CRM)
    assert connection is not None
    world.state.put_connection(replace(connection, state=ConnectionState.PAUSED, paused_because="revoked"))

    def probe() -> Account:
        paused = world.state.connection(TENANT, CRM)
        assert paused is not None
        world.state.put_connection(replace(paused, poll="rate(5 minutes)"))
        return Account("1", "Fake")

    world.crm.probe = probe  # type: ignore[method-assign]  # somebody is at work meanwhile
    assert not poller(world).poll(TENANT, CRM).paused
    assert world.state.connection(TENANT, CRM) == replace(connection, poll="rate(5 minutes)")


def test_a_first_poll_only_notes_from_where_on_to_look(world: World):
    world.state.cursors.clear()
    world.crm.cursor_now = lambda kind: f"now {kind}"  # type: ignore[method-assign]  # a cursor a kind
    world.deal("d1")
    report = poller(world).poll(TENANT, CRM)
    assert (set(report.queued.values()), world.queue.now) == ({0}, [])
    assert world.state.cursor(TENANT, CRM, Kind.CONTACT) == "now contact"


def test_nothing_new_costs_no_write(world: World):
    pages(world, ChangePage((), "0", more=False))
    writes = world.state.writes
    poller(world).poll(TENANT, CRM)
    assert (world.state.writes, world.queue.now) == (writes, [])


def test_a_worker_without_time_stops_after_a_page_and_the_next_goes_on(world: World):
    asked = pages(world, ChangePage(deals("d1"), "1", more=True), ChangePage(deals("d2"), "2", more=False))
    assert poller(world).poll(TENANT, CRM, out_of_time=lambda: True).queued[Kind.DEAL] == 1
    assert poller(world).poll(TENANT, CRM).queued[Kind.DEAL] == 1
    assert asked == ["0", "1"]


def test_a_feed_that_never_ends_is_left_after_its_bound(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(poll, "PAGES_MAX", 3)
    asked = pages(world, ChangePage(deals("d1"), "1", more=True))
    assert poller(world).poll(TENANT, CRM).queued[Kind.DEAL] == 3
    assert asked == ["0", "1", "1"]


@pytest.mark.parametrize(("tenant", "connection"), [(TENANT, "unknown"), (TENANT, "idle"), ("globex", CRM)])
def test_a_connection_that_is_unknown_or_that_no_sync_reads_is_not_asked(world: World, tenant, connection):
    world.state.put_connection(Connection(TENANT, "idle", "fake_crm", account="2"))
    assert poller(world).poll(tenant, connection) == PollReport()
    assert world.crm.calls["changes"] == 0


def test_a_connection_that_goes_on_is_no_longer_paused_since_any_time(world: World):
    connection = world.state.connection(TENANT, CRM)
    assert connection is not None
    world.state.put_connection(
        replace(connection, state=ConnectionState.PAUSED, paused_because="revoked", paused_at=START)
    )
    assert not poller(world).poll(TENANT, CRM).paused
    assert world.state.connection(TENANT, CRM) == connection


def test_a_connection_that_is_not_paused_is_not_probed(world: World):
    def probe() -> Any:
        raise AssertionError("one call too many")

    world.crm.probe = probe  # type: ignore[method-assign]  # must not be asked
    assert not poller(world).poll(TENANT, CRM).paused


def test_a_gap_in_the_feed_makes_two_sweeps_compare_ids(world: World):
    pages(world, ChangePage((), "1", more=False, deletions_unsure=True))
    poller(world).poll(TENANT, CRM)
    assert world.state.cursor(TENANT, CRM, "compare-deal") == "2"
    assert world.state.cursor(TENANT, CRM, "compare-company") is None


def test_connections_take_turns_first_the_one_that_was_never_swept_then_the_oldest(world: World):
    found = [Connection(TENANT, name, "fake_crm", account="1") for name in ("late", "never", "early")]
    world.state.put_cursor(TENANT, "late", "swept", "2026-11-22T08:00:00+00:00")
    world.state.put_cursor(TENANT, "early", "swept", "2026-11-22T07:00:00+00:00")
    assert [one.id for one in poller(world).in_turn(found)] == ["never", "early", "late"]


def test_both_sides_of_a_sync_are_polled_for_the_kinds_that_concern_it(world: World):
    assert list(poller(world).poll(TENANT, BOOKS).queued) == [Kind.INVOICE, Kind.PAYMENT]


def test_a_sweep_without_time_leaves_every_kind_for_the_next(world: World):
    world.deal("d1")
    report = poller(world).sweep(TENANT, CRM, out_of_time=lambda: True)
    assert set(report.left) == {Kind.COMPANY, Kind.CONTACT, Kind.PRODUCT, Kind.DEAL}
    assert world.crm.calls["ids"] == 0


def test_a_sweep_that_brakes_tells_a_person(world: World):
    world.deal("d1")
    world.apply("d1")
    del world.crm.records[Kind.DEAL, "d1"]
    for _ in range(2):
        poller(world).sweep(TENANT, CRM)
    assert [one.cause for one in world.state.pending(TENANT)] == ["brake-act-deal"]
