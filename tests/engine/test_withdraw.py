"""Withdrawing: a deal that is lost or deleted takes its invoice with it, once, whatever breaks; nothing comes back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.engine.test_plans import Desk
from tests.engine.test_properties import FAULTS, Trouble, deliver, settle
from tests.engine.world import BOOKS, CRM, TENANT, Crash, World
from tieout.domain.changes import Change, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import RejectedError, ThrottledError, UnavailableError
from tieout.domain.links import Link, LinkKey, Withdrawal
from tieout.domain.records import Kind, Record
from tieout.engine.preview import Preview
from tieout.engine.stored_plans import End
from tieout.engine.tie_out import TieOut
from tieout.mapping import preset
from tieout.ports.connector import Connector

SYNC = "deals-to-invoices"
STANDS = re.compile("on_leave: park .*\n    on_delete: park .*")


def withdrawing(*, paid: str = "credit_note", caps: str = "") -> str:
    policies = f"on_leave: withdraw\n    on_delete: withdraw\n    if_paid: {paid}"
    text = STANDS.sub(policies, preset("act-quickbooks_online"))
    return text.replace("\nsteps:\n", f"\ncaps: {{{caps}}}\nsteps:\n", 1)


@pytest.fixture
def world() -> World:
    return World(withdrawing())


def invoiced(world: World, record_id: str = "d1", *, paid: str = "0") -> Record:
    world.deal(record_id)
    world.apply(record_id)
    invoice = next(one for one in world.invoices() if one.fields["number"] == f"S{record_id}")
    if Decimal(paid):
        world.pay(invoice.id, paid)
    return world.books.records[Kind.INVOICE, invoice.id]


def lose(world: World, record_id: str = "d1") -> None:
    world.crm.put(Kind.DEAL, record_id, status="lost")


def delete(world: World, record_id: str = "d1") -> None:
    del world.crm.records[Kind.DEAL, record_id]


def link(world: World, record_id: str = "d1", *, step: str = "invoices") -> Link:
    return world.state.links[LinkKey(TENANT, SYNC, step, record_id)]


def states(world: World) -> list[Any]:
    return [one.fields["state"] for one in world.invoices()]


def credit_notes(world: World) -> list[Record]:
    return world.books.all(Kind.CREDIT_NOTE)


def causes(world: World) -> list[str]:
    return [one.cause for one in world.unsynced()]


def again(world: World, *ids: str) -> None:
    world.new_worker().apply(world.change(Kind.DEAL, *(ids or ("d1",))))


def vanishing(world: World) -> list[Effect]:
    """The deal's change is applied, and what is written for it vanishes for now."""
    written: list[Effect] = []

    def vanish(effect: Effect) -> str:
        written.append(effect)
        return "vanished"

    world.books.fault = vanish
    again(world)
    world.books.fault = lambda _: None
    return written


# Voids


def test_lost_deal_voids_its_unpaid_invoice(world: World):
    invoiced(world)
    lose(world)

    report = world.apply("d1")

    assert (report.updated, states(world), world.unsynced()) == (1, ["voided"], [])
    assert link(world).withdrawn is Withdrawal.LEFT
    assert link(world).base is not None
    calls = dict(world.books.calls)
    assert world.apply("d1").skipped_because == {"its document is withdrawn": 1}
    assert world.books.calls == calls


def test_deal_that_a_changed_sync_leaves_out_is_withdrawn_and_no_rewrite():
    world = World(withdrawing(caps="rewrites: 0"))
    invoiced(world)
    former = world.state.stored_syncs[TENANT, SYNC]
    text = former.text.replace("when: {path: status, equals: won}", "when: {path: status, equals: closed}", 1)
    assert text != former.text
    world.state.put_sync(replace(former, version=2, text=text))

    again(world)

    assert (states(world), world.unsynced()) == (["voided"], [])


def test_deleted_deal_voids_its_invoice_after_two_looks(world: World):
    invoiced(world)
    delete(world)

    assert world.apply("d1").waiting == 1
    assert states(world) == ["open"]
    world.settle_down()

    assert (states(world), link(world).withdrawn, world.unsynced()) == (["voided"], Withdrawal.SOURCE_GONE, [])
    assert link(world).source_version == "", "there is no version of a record that is gone"


def test_deal_that_is_kept_when_it_leaves_or_is_deleted_keeps_its_invoice():
    world = World(STANDS.sub("on_leave: keep\n    on_delete: keep", preset("act-quickbooks_online")))
    invoiced(world, "d1")
    invoiced(world, "d2")
    lose(world, "d1")
    delete(world, "d2")

    world.apply("d1", "d2")
    world.settle_down()

    assert (states(world), world.unsynced()) == (["open", "open"], [])


def test_invoice_that_was_voided_or_deleted_by_hand_is_only_noted(world: World):
    voided, deleted = invoiced(world, "d1"), invoiced(world, "d2")
    world.books.put(Kind.INVOICE, voided.id, state="voided", total=Decimal(0), balance=Decimal(0))
    del world.books.records[Kind.INVOICE, deleted.id]
    lose(world, "d1")
    lose(world, "d2")
    writes = world.books.calls["write"]

    world.apply("d1", "d2")
    assert (link(world, "d1").withdrawn, link(world, "d2").withdrawn) == (Withdrawal.LEFT, None)
    world.settle_down()

    assert (link(world, "d1").withdrawn, link(world, "d2").withdrawn) == (Withdrawal.LEFT, Withdrawal.TARGET_GONE)
    assert (world.books.calls["write"], world.unsynced()) == (writes, [])


def test_invoice_that_somebody_changed_is_not_voided_over_that(world: World):
    invoice = invoiced(world)
    world.books.put(Kind.INVOICE, invoice.id, number="4711")
    lose(world)

    world.apply("d1")

    (parked,) = world.unsynced()
    assert (states(world), parked.cause) == (["open"], "withdraw-changed-invoices")
    assert 'its number was "Sd1" and is "4711"' in parked.reason
    assert link(world).withdrawn is None


# Paid


def test_lost_deal_whose_invoice_is_paid_gets_a_credit_note_of_todays_date(world: World):
    invoice = invoiced(world, paid="400")
    lose(world)
    world.clock.sleep(3 * 86_400)

    report = world.apply("d1")

    (note,) = credit_notes(world)
    assert (report.created, report.parked, states(world), world.unsynced()) == (1, 0, ["partly_paid"], [])
    assert note.fields["total"] == invoice.fields["total"]
    assert (note.fields["customer"], note.fields["currency"]) == (invoice.fields["customer"], "USD")
    assert (note.fields["date"], note.fields["memo"]) == (world.clock.now().date(), "Credit for invoice Sd1")
    assert note.fields["lines"][0]["item"] == invoice.fields["lines"][0]["item"]
    assert note.fields["reference"] != invoice.fields["reference"]
    assert link(world).withdrawn is Withdrawal.LEFT
    assert link(world, step="invoices.credit_note").target_id == note.id

    assert world.apply("d1").skipped == 1
    assert len(credit_notes(world)) == 1


def test_paid_invoice_is_parked_where_the_policy_says_so():
    world = World(withdrawing(paid="park"))
    invoiced(world, paid="1054")
    lose(world)

    world.apply("d1")

    (parked,) = world.unsynced()
    assert (parked.cause, states(world), credit_notes(world)) == ("paid-invoices", ["paid"], [])
    assert parked.reason == (
        "The deal no longer fulfils the sync's condition, but its invoice Sd1 cannot be voided: 1,054.00 USD is paid."
    )
    assert "Make a credit note or a refund in the books" in parked.next_step


def test_books_without_credit_notes_park_a_paid_invoice(world: World):
    invoiced(world, paid="1054")
    lose(world)
    object.__setattr__(world.books.manifest, "writes", frozenset({Kind.INVOICE, Kind.CUSTOMER, Kind.ITEM}))

    world.apply("d1")

    assert causes(world) == ["paid-invoices"]


def test_payment_between_reading_and_voiding_leads_to_a_credit_note(world: World):
    invoice = invoiced(world)
    lose(world)

    def pays_first(effect: Effect) -> None:
        if effect.operation is Operation.UPDATE:
            world.books.fault = lambda _: None
            world.pay(invoice.id, "1054")

    world.books.fault = pays_first
    world.apply("d1")
    world.settle_down()

    assert (states(world), len(credit_notes(world)), world.unsynced()) == (["paid"], 1, [])


@pytest.mark.parametrize("fault", ["vanished", RejectedError("No credit note on a Sunday.", code="closed")])
@pytest.mark.parametrize("by_hand", ["void by hand", "delete by hand"])
def test_credit_note_is_not_needed_any_more_once_somebody_takes_its_invoice_out(world: World, fault, by_hand):
    invoiced(world, paid="100")
    lose(world)
    world.books.fault = lambda _: fault
    world.apply("d1")
    world.books.fault = lambda _: None
    changes = happens(world, "d1", by_hand)
    world.engine.apply(changes)

    world.settle_down()

    assert world.unsynced() == []
    assert credit_notes(world) == []


def test_credit_note_does_not_wait_for_ever_because_a_slower_worker_noted_that_another_was_writing_it(world: World):
    invoiced(world, paid="100")
    lose(world)
    noted: list[str] = []
    real = world.state.claim

    def claim(link, intent):
        if link.key.step == "invoices.credit_note" and not noted:
            noted.append("once")
            world.new_worker().apply(world.change(Kind.DEAL, "d1"))  # another worker is faster
        return real(link, intent)

    world.state.claim = claim
    hints = [replace(one, attempts=5) for one in world.change(Kind.DEAL, "d1")]
    world.engine.apply(hints)

    world.settle_down()

    assert len(credit_notes(world)) == 1
    assert world.unsynced() == []


def test_invoice_does_not_wait_for_ever_beside_its_credit_note_of_which_a_person_has_to_decide(world: World):
    invoiced(world, paid="100")
    lose(world)
    world.books.fault = lambda _: "lost"
    world.apply("d1")
    world.books.fault = lambda _: None
    (note,) = credit_notes(world)
    world.books.put(Kind.CREDIT_NOTE, "again", **note.fields)  # the search shows two
    (change,) = world.change(Kind.DEAL, "d1")
    down = Unsynced(SYNC, "invoices", change, UnsyncedState.WAITING, "d1", "unavailable", "Down.", world.clock.now())
    world.state.set_unsynced(link(world).key, down)  # by another worker, which could not read the invoice

    world.settle_down()

    assert [(one.step, one.state) for one in world.unsynced()] == [("invoices.credit_note", UnsyncedState.PARKED)]


def test_credit_note_that_is_refused_is_parked_and_tried_again(world: World):
    invoiced(world, paid="1054")
    lose(world)
    world.books.fault = lambda _: RejectedError("The books are closed.", code="6210", field="date")

    world.apply("d1")

    (parked,) = world.unsynced()
    assert (parked.step, parked.state) == ("invoices.credit_note", UnsyncedState.PARKED)
    assert next(iter(world.state.pending(TENANT))).subject == "Credit note not synced"

    world.books.fault = lambda _: None
    again(world)
    assert (len(credit_notes(world)), world.unsynced()) == (1, [])


def test_deal_that_is_won_again_before_its_credit_note_was_written_goes_on_as_before(world: World):
    invoiced(world, paid="400")
    lose(world)
    world.books.fault = lambda _: RejectedError("The books are closed.", code="6210", field="date")
    world.apply("d1")
    world.books.fault = lambda _: None
    world.deal("d1", "2000")

    report = world.apply("d1")

    assert (report.updated, credit_notes(world), world.unsynced()) == (1, [], [])
    assert link(world).withdrawn is None
    assert world.invoices()[0].fields["total"] == Decimal(2000)


# Nothing comes back


@pytest.mark.parametrize("paid", ["0", "1054"], ids=["voided", "credited"])
def test_deal_that_is_won_again_after_its_invoice_was_withdrawn_is_parked_once(world: World, paid: str):
    invoiced(world, paid=paid)
    lose(world)
    world.apply("d1")
    documents = dict(world.books.records)
    world.deal("d1")

    assert world.apply("d1").parked == 1
    assert world.apply("d1").parked == 1

    assert (causes(world), world.books.records) == (["withdrawn-invoices"], documents)
    assert len(world.state.pending(TENANT)) == 1
    lose(world)
    world.apply("d1")
    assert world.unsynced() == []


def test_invoice_that_a_person_deleted_is_told_once_and_asked_for_no_more(world: World):
    invoice = invoiced(world)
    del world.books.records[Kind.INVOICE, invoice.id]
    world.deal("d1", "2000")

    world.apply("d1")

    assert (causes(world), link(world).withdrawn) == (["target-gone-invoices"], Withdrawal.TARGET_GONE)
    calls, alerts = dict(world.books.calls), dict(world.state.alerts)
    world.deal("d1", "3000")
    world.apply("d1")
    assert (world.books.calls, world.state.alerts) == (calls, alerts)
    assert causes(world) == ["target-gone-invoices"]


def test_retrying_looks_whether_the_document_stands_again(world: World):
    invoice = invoiced(world)
    del world.books.records[Kind.INVOICE, invoice.id]
    world.deal("d1", "2000")
    world.apply("d1")

    world.engine.apply([Change(TENANT, CRM, Kind.DEAL, "d1", world.clock.now(), Origin.OPERATOR)])
    assert causes(world) == ["target-gone-invoices"]

    world.books.records[Kind.INVOICE, invoice.id] = invoice
    world.engine.apply([Change(TENANT, CRM, Kind.DEAL, "d1", world.clock.now(), Origin.OPERATOR)])
    assert (world.unsynced(), link(world).withdrawn) == ([], None)
    assert world.invoices()[0].fields["total"] == Decimal(2000)


# What somebody else does in the books


@pytest.mark.parametrize("how", ["voided", "deleted"])
def test_invoice_withdrawn_by_a_person_is_noticed_through_the_step_that_reads_it_back(world: World, how: str):
    invoice = invoiced(world)
    if how == "voided":
        world.books.put(Kind.INVOICE, invoice.id, state="voided", total=Decimal(0), balance=Decimal(0))
    else:
        del world.books.records[Kind.INVOICE, invoice.id]

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()

    assert (link(world).withdrawn, causes(world)) == (Withdrawal.TARGET_GONE, ["target-gone-invoices"])
    deal = world.crm.records[Kind.DEAL, "d1"]
    assert deal.fields["custom_fields"].get("payment_status") == ("Voided" if how == "voided" else None)


def test_voiding_by_hand_answers_the_question_that_was_parked():
    world = World()  # a deal that leaves is parked
    invoice = invoiced(world)
    lose(world)
    world.apply("d1")
    assert causes(world) == ["left-invoices"]

    world.books.put(Kind.INVOICE, invoice.id, state="voided", total=Decimal(0), balance=Decimal(0))
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()

    assert world.unsynced() == []


def test_our_own_void_is_no_news(world: World):
    invoice = invoiced(world)
    lose(world)
    world.apply("d1")

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()

    assert (link(world).withdrawn, world.unsynced()) == (Withdrawal.LEFT, [])
    assert world.crm.records[Kind.DEAL, "d1"].fields["custom_fields"]["payment_status"] == "Voided"


def test_invoice_of_a_deleted_deal_writes_nothing_back(world: World):
    invoice = invoiced(world)
    delete(world)
    world.apply("d1")
    world.settle_down()

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)

    assert world.unsynced() == []


# Whatever breaks


def crashing(world: World, point: int) -> Callable[[str], bool]:
    """Dies at the `point`th write of the state, counted from now."""
    first = world.state.writes

    def dies(_: str) -> bool:
        if world.state.writes == first + point:
            world.state.crash_before = lambda _: False
            return True
        return False

    return dies


def late(world: World) -> None:
    """What a dead worker held is free, and the messages that it did not acknowledge come again."""
    world.clock.sleep(world.policy.hold_seconds + 1)
    again(world)
    world.settle_down()


@pytest.mark.parametrize("paid", ["0", "1054"], ids=["void", "credit note"])
@pytest.mark.parametrize("point", range(8))
def test_crash_before_every_write_of_the_state_withdraws_once(world: World, paid: str, point: int):
    invoiced(world, paid=paid)
    lose(world)
    effects = world.books.calls["effect"]
    world.state.crash_before = crashing(world, point)
    try:
        world.apply("d1")
    except Crash:
        late(world)
    world.settle_down()

    assert link(world).withdrawn is Withdrawal.LEFT
    assert (len(credit_notes(world)), world.unsynced()) == (int(paid != "0"), [])
    assert world.books.calls["effect"] - effects <= 2
    assert states(world) == (["voided"] if paid == "0" else ["paid"])


@pytest.mark.parametrize("fault", ["lost", "vanished"])
@pytest.mark.parametrize("paid", ["0", "1054"], ids=["void", "credit note"])
def test_lost_answer_withdraws_once(world: World, paid: str, fault: str):
    invoiced(world, paid=paid)
    lose(world)
    faults = [fault]
    world.books.fault = lambda _: faults.pop() if faults else None

    world.apply("d1")
    world.settle_down()

    assert link(world).withdrawn is Withdrawal.LEFT
    assert (len(credit_notes(world)), world.unsynced()) == (int(paid != "0"), [])
    assert states(world) == (["voided"] if paid == "0" else ["paid"])


def test_lost_credit_note_is_found_though_the_deal_is_won_again_meanwhile(world: World):
    invoiced(world, paid="1054")
    lose(world)
    faults = ["lost"]
    world.books.fault = lambda _: faults.pop() if faults else None
    world.apply("d1")
    world.deal("d1")

    world.settle_down()

    assert (len(credit_notes(world)), causes(world)) == (1, ["withdrawn-invoices"])


def test_invoice_whose_lost_update_is_done_late_is_credited_as_it_stands_then(world: World):
    """Crediting leaves the invoice's version as it is, so that the books would take the late update."""
    invoice = invoiced(world, paid="400")
    world.deal("d1", "1100")
    again(world)
    world.deal("d1", "1200")
    late = vanishing(world)
    lose(world)

    world.clock.sleep(world.policy.look_seconds + 1)
    again(world)
    world.books.write(late)
    world.settle_down()

    (note,) = credit_notes(world)
    assert world.books.records[Kind.INVOICE, invoice.id].fields["total"] == Decimal(1200)
    assert note.fields["total"] == Decimal(1200)
    assert world.unsynced() == []


def test_lost_update_that_is_done_late_is_undone_if_the_deal_is_what_it_was(world: World):
    invoice = invoiced(world)
    world.deal("d1", "1200")
    late = vanishing(world)
    world.deal("d1")

    world.clock.sleep(world.policy.look_seconds + 1)
    again(world)
    world.books.write(late)
    world.settle_down()

    assert world.books.records[Kind.INVOICE, invoice.id].fields["total"] == invoice.fields["total"]
    assert world.unsynced() == []


@pytest.mark.parametrize("paid", ["0", "1054"], ids=["void", "credit note"])
def test_two_workers_withdraw_once(world: World, paid: str):
    invoiced(world, paid=paid)
    lose(world)
    effects = world.books.calls["effect"]
    real = world.books.write

    def meanwhile(some: Any) -> Any:
        world.books.write = real  # type: ignore[method-assign]
        again(world)
        return real(some)

    world.books.write = meanwhile  # type: ignore[method-assign]
    world.apply("d1")
    world.settle_down()

    assert world.books.calls["effect"] - effects == 1
    assert (len(credit_notes(world)), world.unsynced()) == (int(paid != "0"), [])


def test_deal_that_is_won_again_just_before_the_void_keeps_its_invoice(world: World):
    invoiced(world)
    lose(world)
    real = world.books.read

    def meanwhile(kind: Kind, ids: Any) -> Any:
        world.deal("d1")
        return real(kind, ids)

    world.books.read = meanwhile  # type: ignore[method-assign]
    world.apply("d1")
    world.settle_down()

    assert (states(world), link(world).withdrawn, world.unsynced()) == (["open"], None, [])


@pytest.mark.parametrize("paid", ["0", "1054"], ids=["void", "credit note"])
def test_books_that_are_busy_let_it_wait(world: World, paid: str):
    invoiced(world, paid=paid)
    lose(world)
    world.books.read_fault = lambda _: ThrottledError("Too many calls.", retry_after_seconds=30)
    assert world.apply("d1").waiting == 1
    world.books.read_fault = lambda _: None
    faults: list[Any] = [ThrottledError("Too many calls.", retry_after_seconds=30)]
    world.books.fault = lambda _: faults.pop() if faults else None

    world.settle_down()

    assert (link(world).withdrawn, world.unsynced()) == (Withdrawal.LEFT, [])
    assert len(credit_notes(world)) == int(paid != "0")


def meddling(world: World) -> None:
    """Another worker changes the link just before it is noted that its document is withdrawn, or is not."""
    key = LinkKey(TENANT, SYNC, "invoices", "d1")
    left = [True]

    def meddles(name: str) -> bool:
        if name == "store" and left:
            left.pop()
            world.state.links[key] = replace(world.state.links[key], revision=world.state.links[key].revision + 1)
        return False

    world.state.crash_before = meddles


def void_by_hand(world: World, invoice: Record) -> None:
    nothing = dict.fromkeys(("total", "balance", "paid"), Decimal(0))
    world.books.put(Kind.INVOICE, invoice.id, state="voided", **nothing)


def test_link_that_another_worker_changes_meanwhile_is_looked_at_again(world: World):
    void_by_hand(world, invoiced(world))
    lose(world)
    meddling(world)

    assert world.apply("d1").waiting == 1
    world.settle_down()

    assert (link(world).withdrawn, world.unsynced()) == (Withdrawal.LEFT, [])


def test_link_that_another_worker_changes_before_the_credit_note_is_credited_once(world: World):
    invoiced(world, paid="1054")
    lose(world)
    meddling(world)

    assert world.apply("d1").waiting == 1
    assert credit_notes(world) == []
    world.settle_down()

    assert (len(credit_notes(world)), link(world).withdrawn, world.unsynced()) == (1, Withdrawal.LEFT, [])


def test_link_that_another_worker_changes_while_its_withdrawal_is_taken_back(world: World):
    invoiced(world, paid="400")
    lose(world)
    world.books.fault = lambda _: RejectedError("The books are closed.", code="6210", field="date")
    world.apply("d1")
    world.books.fault = lambda _: None
    world.deal("d1", "2000")
    meddling(world)

    assert world.apply("d1").waiting == 1
    world.settle_down()

    assert (credit_notes(world), link(world).withdrawn, world.unsynced()) == ([], None, [])


def test_link_that_another_worker_changes_while_a_void_is_noticed(world: World):
    invoice = invoiced(world)
    void_by_hand(world, invoice)
    meddling(world)

    assert world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS).waiting == 1
    world.settle_down()

    assert (link(world).withdrawn, causes(world)) == (Withdrawal.TARGET_GONE, ["target-gone-invoices"])


def test_void_that_is_noticed_while_a_write_is_open_waits_for_that(world: World):
    invoice = invoiced(world)
    world.deal("d1", "2000")
    world.books.fault = lambda _: "lost"
    world.apply("d1")
    world.books.fault = lambda _: None
    void_by_hand(world, invoice)

    assert world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS).waiting == 1
    world.settle_down()

    assert (link(world).intent, states(world)) == (None, ["voided"])
    assert "invoices" in {one.step for one in world.unsynced()}


def test_void_that_cannot_be_written_back_yet_has_its_deal_looked_at_once(world: World):
    invoice = invoiced(world)
    void_by_hand(world, invoice)
    world.crm.read_fault = lambda _: UnavailableError("The CRM is down.")
    world.crm.fault = lambda _: UnavailableError("The CRM is down.")
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)

    for _ in range(5):
        assert sorted(change.id for _, change in world.queue.later) == sorted(["d1", invoice.id])
        world.clock.time = max(due for due, _ in world.queue.later) + timedelta(seconds=1)
        due = [change for _, change in world.queue.later]
        world.queue.later.clear()
        for change in due:  # by itself, as messages come
            world.new_worker().apply([change])

    world.crm.read_fault = world.crm.fault = lambda _: None
    world.settle_down()
    assert (link(world).withdrawn, causes(world)) == (Withdrawal.TARGET_GONE, ["target-gone-invoices"])
    assert world.crm.records[Kind.DEAL, "d1"].fields["custom_fields"]["payment_status"] == "Voided"


def test_void_whose_worker_died_before_its_deal_was_queued_is_looked_at_with_the_next_try(world: World):
    invoice = invoiced(world)
    void_by_hand(world, invoice)
    world.queue.fails = True
    with pytest.raises(RuntimeError, match="queue"):
        world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.queue.fails = False
    assert link(world).withdrawn is Withdrawal.TARGET_GONE

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()

    assert causes(world) == ["target-gone-invoices"]


def test_retry_while_the_books_are_busy_waits(world: World):
    invoice = invoiced(world)
    del world.books.records[Kind.INVOICE, invoice.id]
    world.deal("d1", "2000")
    world.apply("d1")
    world.books.records[Kind.INVOICE, invoice.id] = invoice
    world.books.read_fault = lambda _: ThrottledError("Too many calls.", retry_after_seconds=30)

    world.engine.apply([Change(TENANT, CRM, Kind.DEAL, "d1", world.clock.now(), Origin.OPERATOR)])
    world.books.read_fault = lambda _: None
    world.settle_down()

    assert (world.unsynced(), link(world).withdrawn) == ([], None)


def test_record_that_is_back_while_the_books_are_paused_waits(world: World):
    invoiced(world)
    lose(world)
    world.apply("d1")
    world.deal("d1")
    connection = world.state.connection(TENANT, BOOKS)
    assert connection is not None
    world.state.put_connection(replace(connection, state=ConnectionState.PAUSED))

    assert world.apply("d1").waiting == 1
    world.state.put_connection(connection)
    world.settle_down()

    assert causes(world) == ["withdrawn-invoices"]


# The cap


def test_no_more_are_withdrawn_in_a_day_than_the_sync_allows_without_approval():
    world = World(withdrawing(caps="withdrawals: 2"))
    ids = [f"d{number}" for number in range(5)]
    for one in ids:
        invoiced(world, one)
        lose(world, one)

    world.apply(*ids)

    assert (states(world).count("voided"), causes(world)) == (2, [f"cap-withdrawals-{SYNC}"] * 3)
    alerts = world.state.pending(TENANT)
    assert {alert.command for alert in alerts} == {
        f"tieout parked retry --tenant {TENANT} --cause cap-withdrawals-{SYNC} --approve"
    }
    assert "allows 2 of that a day" in alerts[0].reason

    world.apply(*ids)
    assert states(world).count("voided") == 2

    world.engine.apply([Change(TENANT, CRM, Kind.DEAL, one, world.clock.now(), Origin.APPROVED) for one in ids])
    assert (states(world), world.unsynced()) == (["voided"] * 5, [])


# Around


def test_plan_shows_voids_and_credit_notes_and_writes_nothing(world: World):
    invoiced(world, "d1")
    invoiced(world, "d2", paid="1054")
    lose(world, "d1")
    lose(world, "d2")
    before = dict(world.books.records)

    report = Preview(config=world.state, links=world.state, connect=connect(world), clock=world.clock).preview(
        TENANT, SYNC, progress=lambda *_: None
    )

    shown = {(write.step, write.operation): write for write in report.writes}
    assert set(shown) == {("invoices", Operation.UPDATE), ("invoices.credit_note", Operation.CREATE)}
    assert shown["invoices", Operation.UPDATE].document["status"] == "voided"
    assert report.totals() == {}, "no invoice would be created"
    assert world.books.records == before


def test_invoice_that_was_paid_since_a_plan_was_to_void_it_stands_and_is_not_called_withdrawn(world: World):
    desk = Desk(world)
    invoice = invoiced(world)
    lose(world)
    plan = desk.make("d1")
    world.pay(invoice.id, "100")

    assert set(desk.apply(plan).values()) == {End.CHANGED_SINCE}
    assert link(world).withdrawn is None
    assert (states(world), credit_notes(world)) == (["partly_paid"], [])
    assert world.plans.left_out(plan)[link(world).key] == "It was paid since: it would be credited now."

    world.apply("d1")
    assert (len(credit_notes(world)), link(world).withdrawn) == (1, Withdrawal.LEFT)


def test_credited_invoice_does_not_count_as_standing(world: World):
    invoiced(world, paid="1054")
    lose(world)
    world.apply("d1")
    world.deal("d1")

    comparison = TieOut(config=world.state, links=world.state, connect=connect(world), clock=world.clock).compare(
        TENANT, SYNC, progress=lambda *_: None
    )

    invoices = next(one for one in comparison if one.step == "invoices")
    assert (invoices.missing, invoices.ties_out) == (["d1"], False)


def connect(world: World) -> Callable[[Any], Connector]:
    return lambda connection: {"fake_crm": world.crm, "fake_books": world.books}[connection.provider]


# Any history


DEALS = ("d0", "d1")
EVENTS = ("win", "win otherwise", "lose", "delete", "pay", "void by hand", "delete by hand")

histories = st.lists(st.tuples(st.sampled_from(DEALS), st.sampled_from(EVENTS), st.booleans()), min_size=2, max_size=9)


def happens(world: World, deal: str, event: str) -> list[Change]:
    """Somebody does it; the hints of it."""
    invoice = next((one for one in world.invoices() if one.fields["number"] == f"S{deal}"), None)
    if event.startswith("win"):
        world.deal(deal, "1054" if event == "win" else "2000")
    elif event == "lose" and (Kind.DEAL, deal) in world.crm.records:
        lose(world, deal)
    elif event == "delete":
        world.crm.records.pop((Kind.DEAL, deal), None)
    elif invoice is not None and event == "delete by hand":
        del world.books.records[Kind.INVOICE, invoice.id]
    elif invoice is not None and event == "void by hand":
        nothing = dict.fromkeys(("total", "balance", "paid"), Decimal(0))
        world.books.put(Kind.INVOICE, invoice.id, state="voided", **nothing)
    elif invoice is not None and event == "pay" and invoice.fields["balance"] > 100:
        world.pay(invoice.id, "100")
    hints = world.change(Kind.DEAL, deal)
    return hints + (world.change(Kind.INVOICE, invoice.id, connection=BOOKS) if invoice is not None else [])


def dying(left: list[int]) -> Callable[[str], bool]:
    """Says at which writes of the table a worker dies: after so many, then after so many more."""

    def dies(_: str) -> bool:
        if not left:
            return False
        left[0] -= 1
        if left[0] == 0:
            left.pop(0)
            return True
        return False

    return dies


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    history=histories,
    faults=st.lists(st.sampled_from(FAULTS), max_size=20),
    deaths=st.lists(st.integers(1, 12), max_size=6),
)
@example(history=[("d0", "win", False), ("d0", "lose", False)], faults=["ok", "vanished"], deaths=[4])
def test_any_history_ends_with_one_document_that_stands_or_is_withdrawn_or_a_person_is_told(history, faults, deaths):
    world = World(withdrawing(caps="withdrawals: 1000"))
    Trouble(world, faults)
    world.state.crash_before = dying(list(deaths))
    created: set[str] = set()
    for deal, event, rests in history:
        deliver(world, happens(world, deal, event))
        world.clock.sleep(7)
        if rests:
            settle(world)
        created |= {one.id for one in world.invoices()}
    settle(world)
    for deal in DEALS:  # what a dead worker left is looked at again, as a sweep would
        world.clock.sleep(200)
        deliver(world, world.change(Kind.DEAL, deal))
        settle(world)
    world.clock.sleep(200)
    deliver(world, [one.change for one in world.unsynced() if one.state is UnsyncedState.WAITING])
    settle(world)

    rows = {(one.step, one.change.id): one for one in world.unsynced()}
    for deal in DEALS:
        ours = [one for one in world.invoices() if one.fields["number"] == f"S{deal}"]
        stored = world.state.links.get(LinkKey(TENANT, SYNC, "invoices", deal))
        credit = LinkKey(TENANT, SYNC, "invoices.credit_note", deal)
        notes = [one for one in credit_notes(world) if one.fields["reference"] == credit.reference]
        record = world.crm.records.get((Kind.DEAL, deal))
        told = ("invoices", deal) in rows or ("invoices.credit_note", deal) in rows
        standing = [one for one in ours if one.fields["state"] != "voided" and not notes]
        assert len(ours) <= 1
        assert len(notes) <= 1
        if record is not None and record.fields["status"] == "won":
            assert told or (standing and standing[0].fields["total"] == record.fields["amount"])
        else:
            assert told or not standing
        assert stored is None or stored.intent is None
        assert told or stored is None or stored.target_id is None or (stored.withdrawn is None) == bool(standing)
    assert all(one.state is UnsyncedState.PARKED for one in rows.values())
