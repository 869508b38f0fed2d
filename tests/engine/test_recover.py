"""Writes whose answer was lost are looked up: found and settled, looked up again, or written again; nothing doubles."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.engine.test_two_way import Both
from tests.engine.world import BOOKS, CRM, TENANT, Crash, World
from tieout.domain.changes import Origin, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Effect
from tieout.domain.errors import ClaimedError, ReconnectError, UnavailableError
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.engine.ends import TOLD_AFTER_ATTEMPTS, ApplyReport
from tieout.engine.policy import RetryPolicy
from tieout.mapping import preset


@pytest.fixture
def world() -> World:
    return World()


def lose(world: World, how: str, *ids: str, kind: Kind = Kind.DEAL, of: Kind = Kind.INVOICE) -> None:
    """Apply the records while the answers to writes of documents of the kind `of` are lost."""

    def fault(effect: Effect) -> str | None:
        return how if effect.kind is of else None

    world.books.fault = fault
    world.apply(*ids, kind=kind)
    world.books.fault = lambda _: None


def look(world: World, *ids: str, kind: Kind = Kind.DEAL) -> ApplyReport:
    """What the next look makes of them, once a look is due."""
    world.clock.sleep(world.policy.look_seconds + 1)
    return world.new_worker().apply(world.change(kind, *ids))


def link(world: World, record_id: str, step: str = "invoices") -> Link:
    return world.state.links[LinkKey(TENANT, "deals-to-invoices", step, record_id)]


def dies_after_claiming(world: World) -> None:
    """A worker dies once it has claimed the invoice of d1."""
    world.apply("c1", kind=Kind.COMPANY)
    world.apply("p1", kind=Kind.PRODUCT)
    world.deal("d1")
    world.state.crash_after = lambda name: name == "claim"
    with pytest.raises(Crash):
        world.apply("d1")
    world.state.crash_after = lambda _: False


# Found


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("two_way", ["", "    two_way: ask\n"])
def test_what_was_only_to_be_linked_is_linked_as_it_stands_though_the_worker_died_meanwhile(dies: bool, two_way: str):
    world = World(preset("act-quickbooks_online").replace("    to: customer\n", f"    to: customer\n{two_way}", 1))
    world.apply("c1", kind=Kind.COMPANY)
    world.state.links.clear()  # the table was restored to a time before all of it
    world.state.pointers.clear()
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550177")
    change = [replace(one, origin=Origin.RELINK) for one in world.change(Kind.COMPANY, "c1")]
    if dies:
        world.state.crash_before = lambda name: name == "settle"
        with pytest.raises(Crash):
            world.new_worker().apply(change)
        world.state.crash_before = lambda _: False
        world.clock.sleep(world.policy.hold_seconds + world.policy.look_seconds)
    world.new_worker().apply(change)

    (customer,) = world.books.all(Kind.CUSTOMER)
    linked = link(world, "c1", "customers")
    assert (linked.target_id, (linked.shown or {})["phone"]) == (customer.id, customer.fields["phone"])
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550188")
    world.apply("c1", kind=Kind.COMPANY)
    assert world.books.all(Kind.CUSTOMER)[0].fields["phone"] == "+16505550188"


def test_lost_create_that_is_found_counts_as_created_and_keeps_the_version_that_we_wrote(world: World):
    world.deal("d1")
    lose(world, "lost", "d1")

    report = look(world, "d1")

    (invoice,) = world.invoices()
    assert (report.created, report.updated, report.unchanged) == (1, 0, 1)
    assert (link(world, "d1").target_id, link(world, "d1").target_version) == (invoice.id, invoice.version)


def half_way(world: World) -> Record:
    """The invoice of d1, of which the last step's answer was lost: it is found unfinished."""
    world.deal("d1")
    lose(world, "lost", "d1")
    (draft,) = world.invoices()
    find = world.books.find
    world.books.find = lambda effects: {
        key: [replace(match, unfinished=match.record.version == "0") for match in matches]
        for key, matches in find(effects).items()
    }
    return draft


def test_lost_create_that_stands_unfinished_is_written_again_at_the_last_look_and_not_linked_before(world: World):
    draft = half_way(world)
    writes = world.books.calls["effect"]
    world.books._new_id = lambda: draft.id  # the provider's own unique field leads the write to it

    assert (look(world, "d1").waiting, world.books.calls["effect"]) == (1, writes)
    assert link(world, "d1").target_id is None
    report = look(world, "d1")

    (invoice,) = world.invoices()
    assert (report.created, world.books.calls["effect"]) == (1, writes + 1)
    assert (link(world, "d1").target_id, link(world, "d1").intent) == (draft.id, None)
    assert (invoice.id, invoice.version) == (draft.id, "1")


def test_lost_create_whose_last_step_is_done_after_the_first_look_is_linked_and_not_written_again(world: World):
    draft = half_way(world)
    writes = world.books.calls["effect"]

    look(world, "d1")
    world.books.put(Kind.INVOICE, draft.id)  # the step whose answer was lost is done only now
    report = look(world, "d1")

    assert (report.created, world.books.calls["effect"]) == (1, writes)
    assert [invoice.id for invoice in world.invoices()] == [draft.id] == [link(world, "d1").target_id]


@pytest.mark.parametrize("how", ["lost", "deleted"])
def test_document_left_half_way_of_a_record_that_left_the_sync_is_told_until_a_person_has_seen_to_it(
    world: World, how: str
):
    draft = half_way(world)
    if how == "lost":
        world.deal("d1", status="lost")
    else:
        del world.crm.records[Kind.DEAL, "d1"]
    writes = world.books.calls["effect"]

    assert look(world, "d1").waiting == 1
    assert look(world, "d1").parked == 1
    look(world, "d1")

    (parked,) = world.unsynced()
    assert (parked.state, parked.cause) == (UnsyncedState.PARKED, "half-way-invoices")
    assert f"its invoice {draft.id} is left unfinished" in parked.reason
    assert (link(world, "d1").intent, world.books.calls["effect"]) == (None, writes)
    assert [one.cause for one in world.state.pending(TENANT)].count("half-way-invoices") == 1

    del world.books.records[Kind.INVOICE, draft.id]
    world.new_worker().apply([replace(one, origin=Origin.OPERATOR) for one in world.change(Kind.DEAL, "d1")])
    assert world.unsynced() == []


def test_document_left_half_way_is_finished_if_its_record_takes_part_again(world: World):
    draft = half_way(world)
    world.books._new_id = lambda: draft.id
    world.deal("d1", status="lost")
    look(world, "d1")
    look(world, "d1")
    world.deal("d1")
    look(world, "d1")

    (invoice,) = world.invoices()
    assert (invoice.id, invoice.version, link(world, "d1").target_id) == (draft.id, "1", draft.id)
    assert world.unsynced() == []


def test_unfinished_record_of_ours_is_completed_by_the_write_where_a_person_asks_for_it_again(world: World):
    world.deal("d1")
    world.apply("d1")
    (draft,) = world.invoices()
    del world.state.links[LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")]
    find, writes = world.books.find, world.books.calls["effect"]
    world.books.find = lambda effects: {
        key: [replace(match, unfinished=match.record.id == draft.id) for match in matches]
        for key, matches in find(effects).items()
    }
    world.books._new_id = lambda: draft.id

    report = world.new_worker().apply(
        [replace(change, origin=Origin.OPERATOR) for change in world.change(Kind.DEAL, "d1")]
    )

    assert (report.adopted, report.created, world.books.calls["effect"]) == (0, 1, writes + 1)
    assert [invoice.id for invoice in world.invoices()] == [draft.id]
    assert link(world, "d1").target_id == draft.id


def test_lost_update_that_is_found_counts_as_updated_and_needs_no_search(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    lose(world, "lost", "d1")
    finds = world.books.calls["find"]

    report = look(world, "d1")

    assert (report.created, report.updated, report.unchanged) == (0, 1, 1)
    assert world.books.calls["find"] == finds


def test_lost_creates_and_updates_that_are_looked_up_together_each_find_their_own(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1100")
    world.deal("d2", "20")
    world.deal("d3", "30")
    lose(world, "lost", "d1", "d2", "d3")

    report = look(world, "d1", "d2", "d3")

    assert (report.created, report.updated, len(world.invoices())) == (2, 1, 3)
    numbers = {invoice.id: invoice.fields["number"] for invoice in world.invoices()}
    assert [numbers[str(link(world, one).target_id)] for one in ("d1", "d2", "d3")] == ["Sd1", "Sd2", "Sd3"]


def test_of_a_lost_create_that_somebody_edited_since_the_version_is_not_taken_for_ours(world: World):
    world.deal("d1")
    lose(world, "lost", "d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, number="By hand")

    look(world, "d1")

    assert (link(world, "d1").target_id, link(world, "d1").target_version) == (invoice.id, "")


def test_lost_create_of_a_kind_without_references_is_found_by_its_name(world: World):
    lose(world, "lost", "p1", kind=Kind.PRODUCT, of=Kind.ITEM)

    report = look(world, "p1", kind=Kind.PRODUCT)

    (item,) = world.books.all(Kind.ITEM)
    assert (report.created, link(world, "p1", "items").target_id, world.unsynced()) == (1, item.id, [])


def test_of_two_customers_of_its_name_the_one_with_our_reference_is_ours(world: World):
    lose(world, "lost", "c1", kind=Kind.COMPANY, of=Kind.CUSTOMER)
    (ours,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")

    look(world, "c1", kind=Kind.COMPANY)

    assert link(world, "c1", "customers").target_id == ours.id


def test_customer_that_somebody_made_instead_is_linked_and_keeps_what_it_shows_otherwise(world: World):
    lose(world, "vanished", "c1", kind=Kind.COMPANY, of=Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")

    look(world, "c1", kind=Kind.COMPANY)
    world.settle_down()
    assert link(world, "c1", "customers").target_id == "77"
    assert world.state.pointers[TENANT, "deals-to-invoices", "customers", "77"].source_id == "c1"

    world.crm.put(Kind.COMPANY, "c1", phone="+16505550123")
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    assert (customer.fields["email"], customer.fields["phone"]) == ("billing@acme.example", "+16505550123")


@pytest.mark.parametrize("edited", [False, True])
def test_lost_update_of_a_customer_that_was_found_here_knows_whether_somebody_edited_it_since(
    world: World, *, edited: bool
):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    world.apply("c1", kind=Kind.COMPANY)
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550123")
    lose(world, "lost", "c1", kind=Kind.COMPANY, of=Kind.CUSTOMER)
    if edited:
        world.books.put(Kind.CUSTOMER, "77", email="ap@acme.example")

    look(world, "c1", kind=Kind.COMPANY)

    there = world.books.records[Kind.CUSTOMER, "77"]
    assert there.fields["phone"] == "+16505550123"
    assert link(world, "c1", "customers").target_version == ("" if edited else there.version)


def test_two_documents_with_our_reference_are_left_to_a_person(world: World):
    world.deal("d1")
    lose(world, "lost", "d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, "999", **invoice.fields)

    assert look(world, "d1").parked == 1

    (parked,) = world.unsynced()
    assert (parked.state, parked.cause, parked.step) == (UnsyncedState.PARKED, "several-invoices", "invoices")
    assert parked.reason == f"Several records may be this invoice: {invoice.id}, 999."
    assert len(world.invoices()) == 2


# Not found yet


def test_write_of_a_worker_that_died_is_looked_up_again_before_it_is_written(world: World):
    world.policy = RetryPolicy(base_seconds=1, hold_seconds=180, look_seconds=10)
    dies_after_claiming(world)
    world.clock.sleep(181)

    world.new_worker().apply(world.change(Kind.DEAL, "d1"))

    (waiting,) = world.unsynced()
    assert waiting.reason == "The answer to its write was lost; it is looked up again before it is written."
    ((due, _),) = world.queue.later
    assert due - world.clock.now() >= timedelta(seconds=10)
    assert world.invoices() == []
    world.settle_down()
    assert (len(world.invoices()), world.unsynced()) == (1, [])


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_vanished_write_is_looked_up_as_often_as_the_policy_says(world: World, looks: int):
    world.policy = replace(world.policy, looks=looks)
    world.deal("d1")
    lose(world, "vanished", "d1")
    writes = world.books.calls["write"]

    for number in range(1, looks + 1):
        look(world, "d1")
        assert world.books.calls["write"] == writes + (number == looks), f"after {number} looks"


def test_write_is_left_to_its_worker_until_the_moment_when_it_may_be_taken_over(world: World):
    dies_after_claiming(world)
    finds = world.books.calls["find"]
    world.clock.sleep(world.policy.hold_seconds - 1)
    assert world.new_worker().apply(world.change(Kind.DEAL, "d1")).waiting == 1
    assert (world.books.calls["find"], world.unsynced()) == (finds, [])

    late = [replace(one, attempts=TOLD_AFTER_ATTEMPTS) for one in world.change(Kind.DEAL, "d1")]
    world.new_worker().apply(late)
    assert [one.reason for one in world.unsynced()] == ["Another worker is writing it."]

    world.clock.sleep(1)
    world.new_worker().apply(world.change(Kind.DEAL, "d1"))
    assert world.books.calls["find"] == finds + 1


# What fails meanwhile


def test_books_that_cannot_be_searched_let_the_rest_wait_and_what_was_found_goes_on(world: World):
    ids = [f"d{number}" for number in range(40)]
    for one in ids:
        world.deal(one)
    lose(world, "lost", *ids)
    find, searched = world.books.find, list[int]()

    def fails_the_second_time(effects: Any) -> Any:
        searched.append(len(effects))
        if len(searched) > 1:
            raise UnavailableError("The books do not answer.")
        return find(effects)

    world.books.find = fails_the_second_time
    world.queue.later.clear()
    report = look(world, *ids)

    assert (report.created, report.unchanged, report.waiting, searched) == (30, 30, 10, [30, 10])
    assert all(link(world, change.id).intent is not None for _, change in world.queue.later)
    world.books.find = find
    world.settle_down()
    assert (len(world.invoices()), world.unsynced()) == (40, [])


def test_sign_in_that_is_refused_while_a_write_is_looked_up_pauses_the_connection(world: World):
    world.deal("d1")
    lose(world, "lost", "d1")

    def refuse(_: Any) -> Any:
        raise ReconnectError("The books no longer accept our sign-in.", next_step="Connect again.")

    world.books.find = refuse
    assert look(world, "d1").waiting == 1

    connection = world.state.connection(TENANT, BOOKS)
    assert connection is not None
    assert (connection.state, link(world, "d1").intent is not None) == (ConnectionState.PAUSED, True)
    assert [one.reason for one in world.unsynced()] == ["The books no longer accept our sign-in."]


def test_write_that_another_worker_took_over_meanwhile_waits(world: World):
    world.deal("d1")
    lose(world, "vanished", "d1")

    def taken(*_: Any) -> Any:
        raise ClaimedError("Another worker took it over.")

    world.state.keep_intent = taken
    writes = world.books.calls["write"]
    report = look(world, "d1")
    assert (report.waiting, world.books.calls["write"]) == (1, writes)
    assert world.queue.later


# Two sides


@pytest.mark.parametrize("fault", ["lost", "vanished"])
def test_lost_update_of_one_field_of_a_two_way_step_is_found_or_written_again(fault: str):
    both = Both()
    both.crm_edit(phone="+16505550123")
    both.books.fault = lambda _: fault
    both.apply("c1", kind=Kind.COMPANY)
    both.books.fault = lambda _: None
    effects = both.books.calls["effect"]

    both.settle_down()

    assert both.in_books["phone"] == "+16505550123"
    assert both.books.calls["effect"] == effects + (fault == "vanished")
    assert (both.link.intent, both.unsynced()) == (None, [])
    assert both.link.target_version == both.customer.version


def test_what_somebody_edited_of_a_lost_create_of_a_two_way_step_is_their_change_and_comes_back():
    both = Both()
    both.company("c2", "Globex")
    both.crm.put(Kind.COMPANY, "c2", phone="+16505550100")
    lose(both, "lost", "c2", kind=Kind.COMPANY, of=Kind.CUSTOMER)
    customer = next(one for one in both.books.all(Kind.CUSTOMER) if one.fields["name"] == "Globex")
    both.books.put(Kind.CUSTOMER, customer.id, phone="+16505550199")
    both.settle_down()

    both.clock.sleep(60)
    both.apply(customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    both.settle_down()

    contact: Any = both.crm.records[Kind.COMPANY, "c2"].fields["contact"]
    assert "+16505550199" in (contact.get("phone"), both.crm.records[Kind.COMPANY, "c2"].fields["phone"])
    assert both.books.records[Kind.CUSTOMER, customer.id].fields["phone"] == "+16505550199"
    assert both.unsynced() == []


@pytest.mark.parametrize("fault", ["lost", "vanished"])
def test_lost_write_back_to_the_source_is_found_or_written_again(fault: str):
    both = Both()
    both.books_edit(phone="+16505550199")
    both.crm.fault = lambda _: fault
    both.apply(both.customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    both.crm.fault = lambda _: None

    both.settle_down()

    assert both.in_crm["phone"] == "+16505550199"
    assert (both.link.intent, both.unsynced()) == (None, [])
    writes = both.writes()
    both.hear(CRM)
    assert both.writes() == writes
