"""Sweeping: what vanished is found, in turn, within the time there is; too much at once trips a brake."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.test_around import poller
from tests.engine.test_withdraw import connect, withdrawing
from tests.engine.world import BOOKS, CRM, TENANT, World
from tieout.domain.changes import Lane, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.errors import ReconnectError, SettingsError, UnavailableError
from tieout.domain.links import Intent, IntentState, Link, LinkKey, Withdrawal
from tieout.domain.records import Kind
from tieout.engine.sweep import Sweep, SweepReport
from tieout.mapping import preset
from tieout.ports.connector import ChangePage

SYNC = "deals-to-invoices"


@pytest.fixture
def world() -> World:
    return World(withdrawing(caps="withdrawals: 3, withdrawals_percent: 20"))


def sweeper(world: World) -> Sweep:
    return Sweep(
        config=world.state,
        links=world.state,
        alerts=world.state,
        queue=world.queue,
        connect=connect(world),
        clock=world.clock,
    )


def swept(world: World, connection: str = CRM, *, times: int = 2) -> SweepReport:
    for _ in range(times):
        world.clock.sleep(6 * 3600)
        report = sweeper(world).sweep(TENANT, connection)
    return report


def deals(world: World, count: int) -> list[str]:
    ids = [f"d{number:02}" for number in range(count)]
    for one in ids:
        world.deal(one)
    world.apply(*ids)
    return ids


def delete(world: World, ids: Iterable[str]) -> None:
    for one in ids:
        del world.crm.records[Kind.DEAL, one]


def work_off(world: World) -> None:
    changes, world.queue.now = world.queue.now, []
    world.new_worker().apply(changes)
    world.settle_down()


def voided(world: World) -> int:
    return [one.fields["state"] for one in world.invoices()].count("voided")


def brakes(world: World) -> list[Any]:
    return [alert for alert in world.state.pending(TENANT) if alert.cause.startswith("brake-")]


def test_few_deleted_deals_are_withdrawn_within_a_day(world: World):
    ids = deals(world, 15)
    delete(world, ids[:3])
    began = world.clock.now()

    swept(world)
    work_off(world)

    assert (world.clock.now() - began).total_seconds() < 86_400
    assert (voided(world), world.unsynced(), brakes(world)) == (3, [], [])


@pytest.mark.parametrize(("count", "gone"), [(100, 4), (10, 3)], ids=["more than the number", "more than the percent"])
def test_more_deletions_at_once_than_allowed_trip_the_brake_and_are_told_once(world: World, count: int, gone: int):
    ids = deals(world, count)
    delete(world, ids[:gone])

    report = swept(world, times=4)

    (alert,) = brakes(world)
    assert (report.braked, world.queue.now, voided(world)) == ([Kind.DEAL], [], 0)
    assert f"no longer shows {gone} deals of the {count} that are linked" in alert.reason
    assert "Sd00, Sd01, Sd02" in alert.reason
    assert alert.command == f"tieout sweep approve {CRM} --tenant {TENANT}"


def test_approved_deletions_are_withdrawn_beyond_the_cap(world: World):
    ids = deals(world, 20)
    delete(world, ids[:6])
    swept(world)
    assert [(one.kind, len(one.ids)) for one in sweeper(world).held(TENANT)] == [(Kind.DEAL, 6)]

    assert sweeper(world).approve(TENANT, CRM) == 6
    assert {(one.id, one.origin) for one in world.queue.now} == {(one, Origin.APPROVED) for one in ids[:6]}
    work_off(world)

    assert (voided(world), world.unsynced(), sweeper(world).held(TENANT)) == (6, [], [])
    assert swept(world).braked == []
    with pytest.raises(SettingsError, match="No brake holds"):
        sweeper(world).approve(TENANT, CRM)


def test_records_that_come_back_lift_the_brake(world: World):
    ids = deals(world, 20)
    kept = dict(world.crm.records)
    delete(world, ids[:10])
    swept(world)
    assert sweeper(world).held(TENANT)

    world.crm.records |= kept
    delete(world, ids[:1])
    swept(world)

    assert [one.id for one in world.queue.now] == ids[:1]
    assert sweeper(world).held(TENANT) == []


def test_brake_that_holds_more_and_more_is_told_again(world: World):
    ids = deals(world, 20)
    delete(world, ids[:5])
    swept(world)
    world.state.remove(brakes(world))

    delete(world, ids[5:10])
    swept(world)

    assert "no longer shows 10 deals of the 20" in brakes(world)[0].reason


def test_connection_that_shows_nothing_at_all_brakes_even_for_one_record(world: World):
    delete(world, deals(world, 1))

    assert swept(world).braked == [Kind.DEAL]
    assert world.queue.now == []


def test_deletions_that_were_queued_are_not_queued_again_nor_counted_for_the_brake():
    world = World(preset("act-quickbooks_online").replace("steps:\n", "caps: {withdrawals: 2}\nsteps:\n", 1))
    ids = deals(world, 40)
    for two in (ids[:2], ids[2:4], ids[4:6]):
        delete(world, two)
        swept(world)
        assert [one.id for one in world.queue.now] == two
        work_off(world)

    assert {one.cause for one in world.unsynced()} == {"gone-invoices"}
    assert brakes(world) == []


# Documents


def test_customer_that_a_person_deleted_in_the_books_is_noted_and_its_company_looked_at_again(world: World):
    for number in range(10):
        world.company(f"k{number}", f"Company {number}")
    world.apply(*(f"k{number}" for number in range(10)), kind=Kind.COMPANY)
    key = LinkKey(TENANT, SYNC, "customers", "k1")
    del world.books.records[Kind.CUSTOMER, world.state.links[key].target_id or ""]

    swept(world, BOOKS)
    work_off(world)

    assert world.state.links[key].withdrawn is Withdrawal.TARGET_GONE
    assert [one.cause for one in world.unsynced()] == ["target-gone-customers"]


@pytest.mark.parametrize("how", ["voided", "deleted"])
def test_invoice_that_a_person_takes_out_is_noticed_though_no_step_reads_it_back(how: str):
    text = withdrawing()
    world = World(text[: text.index("\n  payments:")])
    deals(world, 10)
    swept(world, BOOKS)
    first, second = world.invoices()[:2]
    if how == "voided":
        world.books.put(Kind.INVOICE, first.id, state="voided", total=Decimal(0), balance=Decimal(0))
    else:
        del world.books.records[Kind.INVOICE, first.id]
    world.books.put(Kind.INVOICE, second.id, note="edited")

    swept(world, BOOKS)
    work_off(world)

    assert [(one.change.id, one.cause) for one in world.unsynced()] == [("d00", "target-gone-invoices")]
    assert swept(world, BOOKS).queued[Kind.INVOICE] == 0


def take_out(world: World, how: str) -> None:
    """A person voids or deletes the first invoice in the books."""
    first = world.invoices()[0]
    if how == "voided":
        world.books.put(Kind.INVOICE, first.id, state="voided", total=Decimal(0), balance=Decimal(0))
    else:
        del world.books.records[Kind.INVOICE, first.id]


def without_payments() -> World:
    """A world whose sync does not read invoices back, with ten of them."""
    text = withdrawing()
    world = World(text[: text.index("\n  payments:")])
    deals(world, 10)
    swept(world, BOOKS)
    return world


@pytest.mark.parametrize("how", ["voided", "deleted"])
def test_document_that_vanished_is_noted_though_a_worker_stored_its_link_at_that_moment(how: str):
    world = without_payments()
    take_out(world, how)
    key, store = LinkKey(TENANT, SYNC, "invoices", "d00"), world.state.store
    met: list[LinkKey] = []

    def meets_a_worker(link: Link, *, pointer: bool = False) -> Link:
        if not met:
            met.append(link.key)
            store(world.state.links[key])
        return store(link, pointer=pointer)

    world.state.store = meets_a_worker
    swept(world, BOOKS)
    work_off(world)

    assert met == [key]
    assert [(one.change.id, one.cause) for one in world.unsynced()] == [("d00", "target-gone-invoices")]


@pytest.mark.parametrize("how", ["voided", "deleted"])
def test_document_that_vanished_is_not_noted_for_the_one_that_came_in_its_place(how: str):
    world = without_payments()
    take_out(world, how)
    key, store = LinkKey(TENANT, SYNC, "invoices", "d00"), world.state.store

    def is_renewed(link: Link, *, pointer: bool = False) -> Link:
        if world.state.links[key].generation == 0:
            store(world.state.links[key].renewed(by="ada"))
        return store(link, pointer=pointer)

    world.state.store = is_renewed
    swept(world, BOOKS)
    work_off(world)

    assert (world.state.links[key].withdrawn, world.unsynced()) == (None, [])


@pytest.mark.parametrize("how", ["voided", "deleted"])
def test_document_that_vanished_is_told_though_the_sweep_died_before_it_queued_its_record(how: str):
    world = without_payments()
    take_out(world, how)
    if how == "deleted":
        swept(world, BOOKS, times=1)
    world.queue.fails = True
    with pytest.raises(RuntimeError):
        swept(world, BOOKS, times=1)
    world.queue.fails = False
    swept(world, BOOKS)
    swept(world, CRM)
    work_off(world)

    assert [(one.change.id, one.cause) for one in world.unsynced()] == [("d00", "target-gone-invoices")]


def test_gap_in_a_feed_that_shows_deletions_is_closed_by_comparing_ids(world: World):
    deals(world, 10)
    manifest = world.books.manifest
    object.__setattr__(manifest, "deletions_visible", frozenset({Kind.INVOICE}))
    invoice = world.invoices()[0]
    world.state.put_cursor(TENANT, BOOKS, Kind.INVOICE, "1")
    del world.books.records[Kind.INVOICE, invoice.id]
    assert swept(world, BOOKS).queued[Kind.INVOICE] == 0

    world.books.changes = lambda *_: ChangePage((), "2", more=False, deletions_unsure=True)  # type: ignore[method-assign]
    poller(world).poll(TENANT, BOOKS)
    swept(world, BOOKS)
    work_off(world)

    assert [one.cause for one in world.unsynced()] == ["target-gone-invoices"]
    asked = world.books.calls["ids"]
    swept(world, BOOKS)
    assert world.books.calls["ids"] - asked == 2 * 2  # customers and items; invoices are told of again


# Turns, time, failures


def test_kinds_that_there_was_no_time_for_come_first_the_next_time(world: World):
    deals(world, 5)
    world.clock.sleep(60)

    first = sweeper(world).sweep(TENANT, CRM, out_of_time=lambda: world.crm.calls["ids"] >= 1)
    world.clock.sleep(60)
    second = sweeper(world).sweep(TENANT, CRM, out_of_time=lambda: world.crm.calls["ids"] >= 2)

    assert len(first.queued) == 1
    assert first.left
    assert set(first.queued).isdisjoint(second.queued)


def test_list_of_ids_that_does_not_end_in_time_proves_nothing(world: World):
    ids = deals(world, 5)
    delete(world, ids)
    world.crm.ids = lambda *_: ([], "more")  # type: ignore[method-assign]

    asked: list[bool] = []

    def out_of_time() -> bool:
        asked.append(True)
        return len(asked) > 5

    report = sweeper(world).sweep(TENANT, CRM, out_of_time=out_of_time)

    assert Kind.DEAL in report.left
    assert world.queue.now == []


def test_kind_that_fails_does_not_keep_the_others_from_their_turn(world: World):
    ids = deals(world, 10)
    delete(world, ids[:1])
    real = world.crm.ids

    def fails(kind: Kind, after: str | None) -> Any:
        if kind == Kind.COMPANY:
            raise UnavailableError("Not now.")
        return real(kind, after)

    world.crm.ids = fails  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(UnavailableError):
            swept(world, times=1)

    assert [one.id for one in world.queue.now] == ids[:1]


def test_sign_in_that_is_refused_pauses_the_connection_and_somebody_hears_of_it(world: World):
    deals(world, 1)

    def refused(*_: object) -> Any:
        raise ReconnectError("The CRM no longer accepts our sign-in.", next_step="Connect it again.")

    world.crm.ids = refused  # type: ignore[method-assign]

    assert sweeper(world).sweep(TENANT, CRM).paused
    connection = world.state.connection(TENANT, CRM)
    assert connection is not None
    assert connection.state is ConnectionState.PAUSED
    assert [alert.cause for alert in world.state.pending(TENANT)] == [f"paused-{CRM}"]
    assert not sweeper(world).sweep(TENANT, CRM).queued


def test_memory_of_an_earlier_release_is_understood(world: World):
    ids = deals(world, 10)
    delete(world, ids[:1])
    world.state.put_cursor(TENANT, CRM, "sweep-deal", f'["{ids[0]}"]')

    assert swept(world, times=1).queued[Kind.DEAL] == 1


# What a person reads, and what is remembered


def test_the_brake_says_what_vanished_where_and_how_to_go_on(world: World):
    ids = deals(world, 40)
    delete(world, ids[:9])
    swept(world)

    (alert,) = brakes(world)
    assert alert.subject == "9 deals of act vanished at once"
    assert alert.reason == (
        "the CRM no longer shows 9 deals of the 40 that are linked, among them Sd00, Sd01, Sd02, Sd03, Sd04. "
        "A change of our user's rights or an outage looks like that too."
    )
    assert alert.next_step == (
        "See in the CRM whether they were deleted. If they are there, let our user see them: nothing else is to be "
        "done. If they were deleted, approve it with the command below."
    )
    assert (alert.tenant, alert.cause, alert.raised_at) == (TENANT, f"brake-{CRM}-deal", world.clock.now())
    assert alert.unsynced is None


@pytest.mark.parametrize(("gone", "braked"), [(3, False), (4, True)])
def test_the_number_that_a_day_allows_may_vanish_and_not_one_more(world: World, gone: int, braked: bool):
    ids = deals(world, 20)
    delete(world, ids[:gone])
    report = swept(world)
    assert bool(report.braked) is braked
    assert len(world.queue.now) == (0 if braked else gone)
    assert report.queued[Kind.DEAL] == (0 if braked else gone)


def test_a_percentage_is_rounded_up_so_that_one_of_few_may_vanish(world: World):
    ids = deals(world, 2)
    delete(world, ids[:1])
    assert swept(world).braked == []
    assert [one.id for one in world.queue.now] == ids[:1]


def test_an_approval_that_finds_nothing_held_says_where_to_look(world: World):
    for connection in (CRM, "unknown"):
        with pytest.raises(SettingsError) as raised:
            sweeper(world).approve(TENANT, connection)
        assert raised.value.message == f"No brake holds anything of the connection {connection}."
        assert raised.value.next_step == "See `tieout sweep list`."


def test_documents_that_vanished_from_the_books_are_held_and_approved_too(world: World):
    ids = deals(world, 20)
    gone = sorted(one.id for one in world.invoices()[:10])
    for one in gone:
        del world.books.records[Kind.INVOICE, one]
    swept(world, BOOKS)

    (held,) = sweeper(world).held(TENANT)
    assert (held.connection, held.kind, sorted(held.ids), held.written) == (BOOKS, Kind.INVOICE, gone, True)
    assert "no longer shows 10 invoices of the 20" in brakes(world)[0].reason
    assert sweeper(world).approve(TENANT, BOOKS) == 10
    assert {(one.connection, one.kind, one.origin) for one in world.queue.now} == {(CRM, Kind.DEAL, Origin.APPROVED)}
    assert sorted(one.id for one in world.queue.now) == ids[:10]


def test_a_sweep_notes_when_a_connection_and_its_kinds_had_their_turn(world: World):
    deals(world, 1)
    swept(world, times=1)
    now = world.clock.now().isoformat()
    assert world.state.cursor(TENANT, CRM, "swept") == now
    for kind in (Kind.COMPANY, Kind.CONTACT, Kind.PRODUCT, Kind.DEAL):
        assert world.state.cursor(TENANT, CRM, f"swept-{kind}") == now


def test_only_so_many_missing_are_remembered_and_the_rest_waits_for_a_later_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tieout.engine.sweep.MISSING_MAX", 2)
    ids = deals(world, 20)
    delete(world, ids[:3])
    assert swept(world).queued[Kind.DEAL] == 2
    assert [one.id for one in world.queue.now] == ids[:2]


# What dead workers left behind


def waiting(world: World, record_id: str, *, seconds: int) -> None:
    """Its link waits for so long."""
    key = LinkKey(TENANT, SYNC, "invoices", record_id)
    change = world.change(Kind.DEAL, record_id)[0]
    since = world.clock.now() - timedelta(seconds=seconds)
    note = Unsynced(SYNC, "invoices", change, UnsyncedState.WAITING, record_id, "unavailable", "down", since)
    world.state.set_unsynced(key, note)


@pytest.mark.parametrize(("seconds", "asked"), [(3599, []), (3600, ["d1"])])
def test_what_waits_for_an_hour_is_asked_for_again(world: World, seconds: int, asked: list[str]):
    world.deal("d1")
    waiting(world, "d1", seconds=seconds)
    report = sweeper(world).sweep(TENANT, CRM)
    assert [(one.id, one.origin, one.lane) for one in world.queue.now] == [
        (one, Origin.SWEEP, Lane.LIVE) for one in asked
    ]
    assert report.queued[Kind.DEAL] == len(asked)


@pytest.mark.parametrize(("held", "parked", "asked"), [(1, False, 0), (0, False, 1), (0, True, 0)])
def test_an_open_write_is_asked_about_once_its_worker_is_surely_dead(world: World, held: int, parked: bool, asked: int):
    now = world.clock.now()
    key = LinkKey(TENANT, SYNC, "invoices", "d1")
    until = now + timedelta(seconds=held)
    intent = Intent("e", Operation.CREATE, "h", "1", IntentState.CLAIMED, "w", until, now, {})
    world.state.links[key] = Link(key, intent=intent)
    if parked:
        waiting(world, "d1", seconds=9999)
        note = world.state.links[key].unsynced
        assert note is not None
        world.state.set_unsynced(key, replace(note, state=UnsyncedState.PARKED))
    sweeper(world).sweep(TENANT, CRM)
    assert len(world.queue.now) == asked


def test_a_connection_that_is_unknown_is_not_swept(world: World):
    writes = world.state.writes
    assert sweeper(world).sweep(TENANT, "unknown") == SweepReport()
    assert world.state.writes == writes


def test_the_first_failure_is_told_after_the_others_had_their_turn(world: World):
    deals(world, 2)
    failed: list[Kind] = []

    def fails(kind: Kind, _: str | None) -> Any:
        failed.append(kind)
        raise UnavailableError(f"no {kind}")

    world.crm.ids = fails  # type: ignore[method-assign]
    with pytest.raises(UnavailableError) as raised:
        swept(world, times=1)
    assert len(failed) == 3
    assert str(raised.value) == f"no {failed[0]}"
