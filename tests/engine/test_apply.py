"""The engine's whole way on one record: what ends where, and that a write happens once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.engine.world import BOOKS, CRM, TENANT, Crash, World
from tieout.domain.changes import UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.errors import ReconnectError, RejectedError, ThrottledError, UnavailableError
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind


@pytest.fixture
def world() -> World:
    return World()


def test_won_deal_becomes_one_invoice_with_its_customer_and_item(world: World):
    world.deal("d1", "1054")

    report = world.apply("d1")

    (invoice,) = world.invoices()
    (customer,) = world.books.all(Kind.CUSTOMER)
    (item,) = world.books.all(Kind.ITEM)
    assert (report.created, report.parked, report.waiting) == (3, 0, 0)
    assert invoice.fields["customer"] == customer.id
    assert invoice.fields["lines"][0]["item"] == item.id
    assert invoice.fields["total"] == Decimal(1054)
    assert customer.fields["contact_name"] == "Ada Miller"
    assert customer.fields["email"] == "ada@acme.example"


def test_second_run_writes_nothing_anywhere(world: World):
    world.deal("d1")
    world.apply("d1")
    writes, calls = world.state.writes, world.books.calls["write"]

    report = world.apply("d1")

    assert (report.unchanged, report.created, report.updated) == (1, 0, 0)
    assert (world.state.writes, world.books.calls["write"]) == (writes, calls)


def test_customer_and_item_are_written_once_for_many_deals(world: World):
    for number in range(70):
        world.deal(f"d{number}")

    report = world.apply(*(f"d{number}" for number in range(70)))

    assert report.created == 72
    assert world.books.calls["write"] == 1 + 1 + 3  # customer, item, and 70 invoices in batches of 30


@pytest.mark.parametrize("status", ["open", "lost", "inactive"])
def test_deal_that_is_not_won_is_skipped_and_nothing_is_written(world: World, status: str):
    world.deal("d1", status=status)

    report = world.apply("d1")

    assert (report.skipped, world.state.writes, world.invoices()) == (1, 0, [])


def test_changed_deal_updates_its_invoice(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")

    report = world.apply("d1")

    (invoice,) = world.invoices()
    assert (report.updated, invoice.fields["total"]) == (1, Decimal(1200))


def test_invoice_touched_in_the_books_in_other_fields_is_updated_with_the_version_of_today(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, printed="yes")
    world.deal("d1", "1200")

    assert world.apply("d1").updated == 1


def test_invoice_changed_on_both_sides_is_parked_not_overwritten(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, number="OTHER")
    world.deal("d1", "1200")

    report = world.apply("d1")

    assert report.parked == 1
    assert world.invoices()[0].fields["number"] == "OTHER"
    assert "was changed in the books" in world.unsynced()[0].reason


def test_sides_made_equal_by_hand_agree_again(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, number="OTHER")
    world.deal("d1", "1200")
    world.apply("d1")
    former: dict = invoice.fields["lines"][0]
    line = {**former, "unit_price": Decimal(1200), "amount": Decimal(1200)}
    world.books.put(Kind.INVOICE, invoice.id, number="Sd1", lines=[line], total=Decimal(1200))
    effects = world.books.calls["effect"]

    report = world.apply("d1")

    assert (report.updated, world.unsynced()) == (1, [])
    assert world.books.calls["effect"] == effects + 1  # refused as stale, then found equal


def test_unknown_product_parks_with_the_alias_to_add_and_the_others_go_on():
    world = World()
    world.state.put_sync(
        replace(
            world.state.syncs(TENANT)[0], version=2, text=world.sync_text.replace("GTXPro: GTX Pro", "Other: GTX Pro")
        )
    )
    world.deal("d1", product="GTXPro")
    world.deal("d2", product="GTX Pro")

    report = world.apply("d1", "d2")

    (parked,) = world.unsynced()
    assert (report.parked, len(world.invoices())) == (1, 1)
    assert parked.state is UnsyncedState.PARKED
    assert "GTXPro" in parked.reason
    assert "GTX Pro" in parked.reason
    assert "GTXPro: GTX Pro" in parked.next_step
    assert (parked.amount, parked.label) == (Decimal(1054), "GTXPro for Acme")
    assert [alert.cause for alert in world.state.pending(TENANT)] == [parked.cause]


def test_parked_record_is_not_alerted_twice_and_is_cleared_by_a_good_run(world: World):
    world.deal("d1", product="Unheard-of")
    world.apply("d1")
    writes = world.state.writes
    world.apply("d1")
    assert world.state.writes == writes

    world.deal("d1", product="GTX Pro")
    world.apply("d1")

    assert world.unsynced() == []
    assert len(world.invoices()) == 1


def test_refusal_parks_only_its_own_record(world: World):
    for number in range(3):
        world.deal(f"d{number}")
    refusal = RejectedError("The books are closed for that date.", code="6210", field="date")
    world.books.fault = lambda effect: refusal if getattr(effect.document, "number", "") == "Sd1" else None

    report = world.apply("d0", "d1", "d2")

    (parked,) = world.unsynced()
    assert (report.parked, len(world.invoices())) == (1, 2)
    assert (parked.code, parked.reason, parked.change.id) == ("6210", "The books are closed for that date.", "d1")


def test_refused_customer_parks_its_deals_under_one_cause(world: World):
    world.deal("d1")
    world.deal("d2")
    refusal = RejectedError("The name is taken by a vendor.", code="6240", field="name")
    world.books.fault = lambda effect: refusal if effect.kind is Kind.CUSTOMER else None

    world.apply("d1", "d2")

    assert {one.cause for one in world.unsynced()} == {"refused-6240-name"}
    assert {one.step for one in world.unsynced()} == {"customers", "invoices"}
    assert world.invoices() == []


def test_provider_down_waits_and_ends_well(world: World):
    world.deal("d1")
    world.books.fault = lambda _: UnavailableError("The books do not answer.")
    report = world.apply("d1")
    assert (report.created, report.parked) == (0, 0)
    assert {one.state for one in world.unsynced()} == {UnsyncedState.WAITING}

    world.books.fault = lambda _: None
    world.settle_down()

    assert len(world.invoices()) == 1
    assert world.unsynced() == []


def test_throttling_waits_as_long_as_the_provider_says(world: World):
    world.deal("d1")
    world.books.fault = lambda _: ThrottledError("Too many calls.", retry_after_seconds=60)

    world.apply("d1")

    assert all((due - world.clock.now()).total_seconds() >= 60 for due, _ in world.queue.later)


def test_source_that_cannot_be_read_lets_every_change_wait(world: World):
    world.deal("d1")
    world.crm.read_fault = lambda _: UnavailableError("The CRM does not answer.")
    report = world.apply("d1")
    assert (report.waiting, len(world.queue.later)) == (1, 1)
    assert world.unsynced()[0].reason == "The CRM does not answer."

    world.crm.read_fault = lambda _: None
    world.settle_down()

    assert len(world.invoices()) == 1


def test_batch_of_reads_that_fails_lets_only_its_own_changes_wait(world: World):
    names = [f"d{number}" for number in range(120)]
    for name in names:
        world.deal(name)
    reads = iter([None, UnavailableError("down")])
    world.crm.read_fault = lambda kind: next(reads, None) if kind is Kind.DEAL else None

    report = world.apply(*names)

    assert (len(world.invoices()), report.waiting) == (70, 50)
    world.settle_down()
    assert len(world.invoices()) == 120


def test_revoked_access_pauses_the_connection_and_tells_once(world: World):
    world.deal("d1")
    world.deal("d2")
    world.books.fault = lambda _: ReconnectError("The books no longer accept our sign-in.", next_step="Connect again.")

    world.apply("d1", "d2")

    connection = world.state.connection(TENANT, BOOKS)
    assert connection is not None
    assert connection.state is ConnectionState.PAUSED
    assert [alert.cause for alert in world.state.pending(TENANT)] == [f"paused-{BOOKS}"]

    world.state.put_connection(replace(connection, state=ConnectionState.ACTIVE))
    world.books.fault = lambda _: None
    world.settle_down()
    assert len(world.invoices()) == 2


def test_lost_answer_is_looked_up_and_makes_no_second_invoice(world: World):
    world.deal("d1")
    lose = {"once": True}
    world.books.fault = lambda effect: "lost" if effect.kind is Kind.INVOICE and lose.pop("once", False) else None

    world.apply("d1")
    assert len(world.invoices()) == 1
    writes = world.books.calls["write"]
    world.settle_down()

    assert len(world.invoices()) == 1
    assert world.books.calls["write"] == writes
    assert world.unsynced() == []


def test_write_that_vanished_is_written_again_only_after_two_looks(world: World):
    world.deal("d1")
    vanish = {"once": True}
    world.books.fault = lambda effect: "vanished" if effect.kind is Kind.INVOICE and vanish.pop("once", False) else None
    world.apply("d1")
    finds = world.books.calls["find"]

    world.settle_down()

    assert len(world.invoices()) == 1
    assert world.books.calls["find"] == finds + 2


def test_lost_update_is_recognised_by_its_content(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    lose = {"once": True}
    world.books.fault = lambda _: "lost" if lose.pop("once", False) else None

    world.apply("d1")
    effects = world.books.calls["effect"]
    world.settle_down()

    assert world.books.calls["effect"] == effects
    assert world.invoices()[0].fields["total"] == Decimal(1200)


def test_existing_customer_and_item_are_adopted_by_name(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.books.put(Kind.ITEM, "88", name="GTX Pro")
    world.deal("d1")

    report = world.apply("d1")

    (invoice,) = world.invoices()
    assert (report.adopted, report.created) == (2, 1)
    assert invoice.fields["customer"] == "77"


def test_payment_comes_back_into_the_deal(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.pay(invoice.id, "400")

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    custom = world.crm.records[Kind.DEAL, "d1"].fields["custom_fields"]
    assert custom["payment_status"] == "Partly paid"
    assert custom["amount_paid"] == Decimal(400)

    world.pay(invoice.id, "600")
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    custom = world.crm.records[Kind.DEAL, "d1"].fields["custom_fields"]
    assert custom["payment_status"] == "Paid"
    effects = world.crm.calls["effect"]
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    assert world.crm.calls["effect"] == effects


def test_payment_of_an_invoice_whose_reference_was_edited_away_comes_back_all_the_same(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, reference=None)
    world.pay(invoice.id, "1000")

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)

    assert world.crm.records[Kind.DEAL, "d1"].fields["custom_fields"]["payment_status"] == "Paid"


def test_deal_whose_lines_make_another_amount_parks_before_anything_is_written(world: World):
    world.deal("d1", "1000")
    world.crm.put(Kind.DEAL, "d1", amount=Decimal(1200))

    report = world.apply("d1")

    (parked,) = world.unsynced()
    assert (report.parked, world.invoices()) == (1, [])
    assert parked.reason == "The deal says 1,200.00 USD, but its lines make 1,000.00 USD."


def test_unpaid_invoice_and_invoices_of_others_write_nothing_back(world: World):
    world.deal("d1")
    world.apply("d1")
    world.books.put(
        Kind.INVOICE, "900", customer="1", state="paid", paid=Decimal(5), balance=Decimal(0), total=Decimal(5)
    )
    own = world.invoices()[0].id

    report = world.apply(own, "900", kind=Kind.INVOICE, connection=BOOKS)

    assert (report.skipped, world.crm.calls["effect"]) == (2, 0)


def test_deal_that_is_gone_is_looked_at_again_before_it_parks(world: World):
    world.deal("d1")
    world.apply("d1")
    del world.crm.records[Kind.DEAL, "d1"]

    assert world.apply("d1").waiting == 1
    world.settle_down()

    (parked,) = world.unsynced()
    assert parked.state is UnsyncedState.PARKED
    assert len(world.invoices()) == 1


def test_deal_that_is_gone_and_was_never_synced_is_nothing(world: World):
    assert world.apply("never").skipped == 1


def test_reopened_deal_with_an_invoice_parks(world: World):
    world.deal("d1")
    world.apply("d1")
    world.deal("d1", status="open")

    assert world.apply("d1").parked == 1
    assert len(world.invoices()) == 1


def test_total_that_differs_is_parked_and_stays(world: World):
    world.deal("d1", "1000")
    real = world.books._fields
    world.books._fields = lambda effect: (
        real(effect) | ({"total": Decimal("1000.01")} if effect.kind is Kind.INVOICE else {})
    )
    world.apply("d1")
    assert "1000.01" in world.unsynced()[0].reason

    world.apply("d1")

    assert len(world.unsynced()) == 1
    assert len(world.invoices()) == 1


def test_queue_that_fails_lets_no_change_be_acknowledged(world: World):
    world.deal("d1")
    world.books.fault = lambda _: UnavailableError("down")
    world.queue.fails = True

    with pytest.raises(RuntimeError):
        world.apply("d1")


def test_time_that_runs_out_sends_the_rest_back(world: World):
    for number in range(70):
        world.deal(f"d{number}")
    answers = iter([False, False, False, True, True, True])

    report = world.engine.apply(
        world.change(Kind.DEAL, *(f"d{number}" for number in range(70))), out_of_time=lambda: next(answers)
    )

    assert (len(world.invoices()), report.waiting) == (30, 40)
    world.settle_down()
    assert len(world.invoices()) == 70


def test_writes_claimed_together_are_given_back_when_time_runs_out(world: World):
    world.crm.manifest = replace(world.crm.manifest, read_batch_max=96)
    names = [f"d{number}" for number in range(90)]
    for name in names:
        world.deal(name)
    answers = iter([False, False, False, True, True])

    world.engine.apply(world.change(Kind.DEAL, *names), out_of_time=lambda: next(answers))

    assert len(world.invoices()) == 30
    assert all(link.intent is None for link in world.state.links.values())
    world.settle_down()
    assert len(world.invoices()) == 90


def test_slow_worker_reads_records_again_once_for_several_batches(world: World):
    world.crm.manifest = replace(world.crm.manifest, read_batch_max=96)
    names = [f"d{number}" for number in range(90)]
    for name in names:
        world.deal(name)
    real = world.books.write

    def slow(effects):
        world.clock.sleep(10)
        return real(effects)

    world.books.write = slow
    world.apply(*names)

    assert len(world.invoices()) == 90
    # Deals, then the customer and the item; before the slow writes of the invoices, all deals once more.
    assert world.crm.calls["read"] <= 1 + 2 + 2 + 1


def test_two_tenants_with_equal_ids_do_not_meet(world: World):
    other = "globex"
    sync = world.state.syncs(TENANT)[0]
    for name in (CRM, BOOKS):
        connection = world.state.connection(TENANT, name)
        assert connection is not None
        world.state.put_connection(replace(connection, tenant=other))
    world.state.put_sync(replace(sync, tenant=other))
    world.deal("d1")
    world.apply("d1")

    assert LinkKey(TENANT, sync.name, "invoices", "d1") in world.state.links
    assert LinkKey(other, sync.name, "invoices", "d1") not in world.state.links
    assert LinkKey(TENANT, "s", "x", "1").reference != LinkKey(other, "s", "x", "1").reference


POINTS = ["claim", "settle"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("when", ["crash_before", "crash_after"])
@pytest.mark.parametrize("nth", range(1, 6))
def test_worker_killed_at_any_write_leaves_one_document(world: World, point: str, when: str, nth: int):
    for number in range(3):
        world.deal(f"d{number}")
    seen = {"count": 0}

    def dies(name: str) -> bool:
        seen["count"] += name == point
        return name == point and seen["count"] == nth

    setattr(world.state, when, dies)
    changes = world.change(Kind.DEAL, "d0", "d1", "d2")
    try:
        world.engine.apply(changes)
    except Crash:
        setattr(world.state, when, lambda _: False)
        world.clock.sleep(200)
        world.new_worker().apply(changes)
    world.settle_down()

    numbers = sorted(str(invoice.fields["number"]) for invoice in world.invoices())
    assert numbers == ["Sd0", "Sd1", "Sd2"]
    assert len(world.books.all(Kind.CUSTOMER)) == 1
    assert len(world.books.all(Kind.ITEM)) == 1
    assert world.unsynced() == []


@pytest.mark.parametrize("nth", range(1, 4))
def test_worker_killed_right_after_the_provider_wrote_leaves_one_document(world: World, nth: int):
    for number in range(3):
        world.deal(f"d{number}")
    real, seen = world.books.write, {"count": 0}

    def dies(effects):
        outcomes = real(effects)
        seen["count"] += 1
        if seen["count"] == nth:
            raise Crash
        return outcomes

    world.books.write = dies
    changes = world.change(Kind.DEAL, "d0", "d1", "d2")
    with pytest.raises(Crash):
        world.engine.apply(changes)
    world.clock.sleep(200)
    world.new_worker().apply(changes)
    world.settle_down()

    assert len(world.invoices()) == 3
    assert len(world.books.all(Kind.CUSTOMER)) == 1


def test_two_workers_at_once_write_one_document(world: World):
    world.deal("d1")
    real, inner = world.books.write, {"once": True}

    def while_writing(effects):
        if inner.pop("once", False):
            world.new_worker().apply(world.change(Kind.DEAL, "d1"))
        return real(effects)

    world.books.write = while_writing
    world.apply("d1")
    world.settle_down()

    assert len(world.invoices()) == 1
    assert len(world.books.all(Kind.CUSTOMER)) == 1


def test_changes_that_wait_for_the_same_go_on_travelling_together(world: World):
    spread = iter(number / 100 for number in range(100))
    world.clock.jitter = lambda: next(spread)
    for number in range(40):
        world.deal(f"d{number}")
    world.crm.read_fault = lambda _: UnavailableError("down")

    world.apply(*(f"d{number}" for number in range(40)))

    assert len({due for due, _ in world.queue.later}) == 1


def tries(world: World, rounds: int) -> list[list[str]]:
    """What waits is tried so often: what was queued after each round."""
    queued = []
    for _ in range(rounds):
        queued.append(sorted(change.id for _, change in world.queue.later))
        world.clock.time = max(due for due, _ in world.queue.later) + timedelta(seconds=1)
        due = [change for _, change in world.queue.later]
        world.queue.later.clear()
        for change in due:  # by itself, as messages come
            world.new_worker().apply([change])
    return queued


def test_what_is_only_needed_is_queued_once_however_often_its_deal_is_tried(world: World):
    world.deal("d1")
    world.books.fault = lambda _: UnavailableError("The books are down.")
    world.apply("d1")

    assert tries(world, 6) == [["c1", "d1", "p1"]] * 6


def test_what_a_deal_needs_anew_while_it_waits_is_tried_by_itself_too(world: World):
    world.deal("d1")
    world.books.fault = lambda _: UnavailableError("The books are down.")
    world.apply("d1")
    world.company("c2", "Globex")
    world.deal("d1", company="c2")

    assert tries(world, 3)[1:] == [["c1", "c2", "d1", "p1"]] * 2

    world.books.fault = lambda _: None
    world.settle_down()
    assert (len(world.invoices()), len(world.books.all(Kind.CUSTOMER)), world.unsynced()) == (1, 2, [])


def test_what_is_needed_for_another_cause_than_before_is_queued_again(world: World):
    """Whoever saw that it waited may have cleared that meanwhile: each note that it waits has a try of its own."""
    world.deal("d1")
    world.books.fault = lambda _: UnavailableError("The books are down.")
    world.apply("d1")
    world.queue.later.clear()

    world.apply("d1")
    assert sorted(change.id for _, change in world.queue.later) == ["d1"]
    world.queue.later.clear()
    world.books.fault = lambda _: ThrottledError("Too many calls.", retry_after_seconds=60)
    world.apply("d1")

    assert sorted(change.id for _, change in world.queue.later) == ["c1", "d1", "p1"]


def test_worker_that_never_has_time_is_told_of_and_waits_longer(world: World):
    world.deal("d1")
    changes = world.change(Kind.DEAL, "d1")
    for _ in range(4):
        world.engine.apply(changes, out_of_time=lambda: True)
        changes = [change for _, change in world.queue.later if change.kind is Kind.DEAL]
        delays = [(due - world.clock.now()).total_seconds() for due, _ in world.queue.later]
        world.queue.later.clear()

    assert min(delays) > 0
    assert any("no time to write it" in one.reason for one in world.unsynced())
