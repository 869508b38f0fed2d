"""Renewing: a person allows a new document for a withdrawn one; there is one that lives, whatever breaks."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.test_plans import Desk
from tests.engine.test_properties import FAULTS, Trouble, deliver, settle
from tests.engine.test_withdraw import (
    SYNC,
    causes,
    connect,
    crashing,
    credit_notes,
    delete,
    dying,
    happens,
    invoiced,
    late,
    link,
    lose,
    states,
    void_by_hand,
    withdrawing,
)
from tests.engine.trail import ToldLinks, archived_roughly, broken_trail
from tests.engine.world import BOOKS, CRM, TENANT, Crash, World
from tieout.domain.audit import What
from tieout.domain.changes import Change, Origin, UnsyncedState
from tieout.domain.errors import ClaimedError, RejectedError, SettingsError, TieoutError, UnavailableError
from tieout.domain.links import LinkKey, Withdrawal
from tieout.domain.records import Kind, Record
from tieout.engine.archive import happened
from tieout.engine.renew import Former, Renew
from tieout.engine.stored_plans import End
from tieout.engine.tie_out import StepTieOut, TieOut


@pytest.fixture
def world() -> World:
    return World(withdrawing())


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def key(record_id: str = "d1", *, step: str = "invoices") -> LinkKey:
    return LinkKey(TENANT, SYNC, step, record_id)


def renewing(world: World) -> Renew:
    return Renew(config=world.state, links=world.state, connect=connect(world), clock=world.clock)


def renew(world: World, *ids: str, step: str = "invoices") -> list[Former]:
    work = renewing(world)
    return work.renew(work.look([key(one, step=step) for one in ids or ("d1",)]), by="kim")


def refused(world: World, record_id: str = "d1", *, step: str = "invoices") -> TieoutError:
    """Why the record is not renewed; its link stays as it is."""
    before = dict(world.state.links)
    (former,) = renew(world, record_id, step=step)
    assert former.refused is not None
    assert world.state.links == before
    return former.refused


def renewed(world: World, *ids: str) -> None:
    assert [one.refused for one in renew(world, *ids)] == [None] * max(len(ids), 1)


def withdrawn(world: World, record_id: str = "d1", *, paid: str = "0") -> Record:
    """An invoice that was voided, or credited if it was paid, as its deal was lost; the deal is won again."""
    invoice = invoiced(world, record_id, paid=paid)
    lose(world, record_id)
    world.apply(record_id)
    world.deal(record_id)
    assert link(world, record_id).withdrawn is Withdrawal.LEFT
    return invoice


def living(world: World) -> list[Record]:
    """Invoices that stand and are not credited."""
    credited = {str(note.fields["memo"]).removeprefix("Credit for invoice ") for note in credit_notes(world)}
    return [one for one in world.invoices() if one.fields["state"] != "voided" and one.fields["number"] not in credited]


def numbers(world: World) -> list[Any]:
    return [one.fields["number"] for one in world.invoices()]


def payment_status(world: World) -> Any:
    return world.crm.records[Kind.DEAL, "d1"].fields["custom_fields"].get("payment_status")


def tie_out(world: World) -> StepTieOut:
    comparison = TieOut(config=world.state, links=world.state, connect=connect(world), clock=world.clock).compare(
        TENANT, SYNC, progress=lambda *_: None
    )
    return next(one for one in comparison if one.step == "invoices")


# The whole way


def test_a_run_that_was_taken_back_is_written_anew_once_it_is_renewed(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    assert undo is not None
    desk.apply(undo)
    assert states(world) == ["voided", "voided"]
    assert desk.make().writes == 0, "nothing is written again by itself"

    work = renewing(world)
    formers = work.look(work.withdrawn_by(undo, desk.writes(undo)))
    assert [(one.where, one.name, one.amount, one.currency, one.refused) for one in formers] == [
        (f"{SYNC}/invoices/d1", "invoice Sd1", Decimal(1000), "USD", None),
        (f"{SYNC}/invoices/d2", "invoice Sd2", Decimal(54), "USD", None),
    ]
    work.renew(formers, by="kim")
    assert len(world.invoices()) == 2, "nothing is written by renewing"
    assert (link(world).generation, link(world).renewed_by, link(world).target_id) == (1, "kim", None)

    again = desk.make()
    assert (again.counts, again.totals) == ({"invoices": {"create": 2}}, {"USD": Decimal(1054)})
    assert desk.compare(again).holds
    assert set(desk.apply(again).values()) == {End.WRITTEN}
    assert sorted(numbers(world)) == ["Sd1", "Sd1-2", "Sd2", "Sd2-2"]
    assert (len(living(world)), world.unsynced()) == (2, [])
    assert tie_out(world).ties_out
    references = {str(one.fields["reference"]) for one in world.invoices()}
    assert len(references) == 4
    assert work.withdrawn_by(undo, desk.writes(undo)) == [], "what is written anew is not renewed again"
    assert work.look([]) == []


def test_an_undone_run_that_was_renewed_can_be_undone_and_renewed_again(world: World, desk: Desk):
    world.deal("d1", "1000")
    desk.apply(desk.make())
    plans = list(world.plans.stored.values())
    for generation in (1, 2):
        undo = desk.undo(plans[-1])
        assert undo is not None
        assert desk.apply(undo)["invoices/d1"] is End.WRITTEN
        work = renewing(world)
        keys = work.withdrawn_by(undo, desk.writes(undo))
        assert keys == [key()]
        work.renew(work.look(keys), by="kim")
        assert desk.undo(plans[-1]) is None, "nothing is left to take back"
        plan = desk.make()
        plans.append(plan)
        assert desk.apply(plan)["invoices/d1"] is End.WRITTEN
        assert link(world).generation == generation
    assert numbers(world) == ["Sd1", "Sd1-2", "Sd1-3"]
    assert states(world) == ["voided", "voided", "open"]
    assert tie_out(world).ties_out


def test_what_was_withdrawn_since_for_another_reason_is_not_renewed_with_the_run(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    assert undo is not None
    desk.apply(undo)
    renewed(world)
    world.apply("d1")
    lose(world)
    world.apply("d1")
    assert link(world).withdrawn is Withdrawal.LEFT

    assert renewing(world).withdrawn_by(undo, desk.writes(undo)) == []


def test_a_credited_run_is_renewed_and_credited_again(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    world.pay(world.invoices()[0].id, "1000")
    undo = desk.undo(plan, credit_paid=True)
    assert undo is not None
    assert desk.apply(undo) == {"invoices.credit_note/d1": End.WRITTEN}

    work = renewing(world)
    keys = work.withdrawn_by(undo, desk.writes(undo))
    work.renew(work.look(keys), by="kim")
    assert desk.ends(undo) == {"invoices.credit_note/d1": End.WRITTEN}
    assert desk.undo(plan) is None
    assert key() not in desk.report.left_out, "nothing is said of a document that is not there yet"
    second = desk.make()
    desk.apply(second)
    assert (len(living(world)), tie_out(world).ties_out) == (1, True)

    world.pay(living(world)[0].id, "400")
    undo = desk.undo(second, credit_paid=True)
    assert undo is not None
    assert desk.apply(undo) == {"invoices.credit_note/d1": End.WRITTEN}
    first, other = credit_notes(world)
    assert [note.fields["memo"] for note in (first, other)] == ["Credit for invoice Sd1", "Credit for invoice Sd1-2"]
    assert first.fields["reference"] != other.fields["reference"]
    assert link(world, step="invoices.credit_note").generation == 1
    assert (living(world), world.unsynced()) == ([], [])


def test_a_second_undo_that_parks_is_not_taken_for_the_first_ones_credit_note(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    world.pay(world.invoices()[0].id, "1000")
    undo = desk.undo(plan, credit_paid=True)
    assert undo is not None
    desk.apply(undo)
    renewed(world)
    second = desk.make()
    desk.apply(second)
    invoice = living(world)[0]
    world.pay(invoice.id, "400")
    undo = desk.undo(second, credit_paid=True)
    assert undo is not None
    world.books.put(Kind.INVOICE, invoice.id, number="4711")

    assert desk.apply(undo) == {"invoices.credit_note/d1": End.PARKED}


# For every reason


def test_deal_that_is_won_again_gets_a_new_invoice(world: World):
    withdrawn(world)
    world.apply("d1")
    (parked,) = world.unsynced()
    assert f"run `tieout renew {SYNC}/invoices/d1 --tenant {TENANT}`" in parked.next_step

    renewed(world)
    assert world.unsynced() == [], "the question is answered"
    world.apply("d1")

    assert (states(world), numbers(world)) == (["voided", "open"], ["Sd1", "Sd1-2"])
    assert link(world).withdrawn is None
    assert (world.unsynced(), tie_out(world).ties_out) == ([], True)


def test_deal_that_was_deleted_and_is_back_gets_a_new_invoice(world: World):
    invoiced(world)
    delete(world)
    world.apply("d1")
    world.settle_down()
    assert link(world).withdrawn is Withdrawal.SOURCE_GONE
    world.deal("d1")

    renewed(world)
    world.apply("d1")

    assert states(world) == ["voided", "open"]


def test_renewing_a_deal_that_is_still_lost_writes_nothing(world: World):
    withdrawn(world)
    lose(world)

    renewed(world)
    world.apply("d1")

    assert (states(world), world.unsynced()) == (["voided"], [])
    world.deal("d1")
    world.apply("d1")
    assert states(world) == ["voided", "open"]


@pytest.mark.parametrize("how", ["voided", "deleted"])
def test_invoice_that_a_person_took_out_is_wanted_again(world: World, how: str):
    invoice = invoiced(world)
    if how == "voided":
        void_by_hand(world, invoice)
    else:
        del world.books.records[Kind.INVOICE, invoice.id]
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()
    (parked,) = world.unsynced()
    assert f"For a new one run `tieout renew {SYNC}/invoices/d1" in parked.next_step

    renewed(world)
    world.apply("d1")

    assert (len(living(world)), living(world)[0].fields["number"], world.unsynced()) == (1, "Sd1-2", [])
    assert tie_out(world).ties_out


def test_what_a_person_left_as_it_is_is_no_longer_so_once_it_is_renewed(world: World):
    withdrawn(world)
    world.apply("d1")
    (parked,) = world.unsynced()
    world.state.set_unsynced(key(), replace(parked, state=UnsyncedState.DISMISSED))

    renewed(world)

    assert world.unsynced() == []


def test_what_waits_goes_on_waiting_and_is_written_then(world: World):
    invoice = invoiced(world)
    del world.books.records[Kind.INVOICE, invoice.id]
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()
    world.books.read_fault = lambda _: UnavailableError("down")
    world.engine.apply([Change(TENANT, CRM, Kind.DEAL, "d1", world.clock.now(), Origin.OPERATOR)])
    world.books.read_fault = lambda _: None

    renewed(world)
    (waiting,) = world.unsynced()
    assert waiting.state is UnsyncedState.WAITING
    world.settle_down()

    assert (len(living(world)), world.unsynced()) == (1, [])


def test_a_renewed_customer_and_its_invoice_are_planned_and_written_together(world: World, desk: Desk):
    invoice = invoiced(world)
    void_by_hand(world, invoice)
    customer = key("c1", step="customers")
    del world.books.records[Kind.CUSTOMER, world.state.links[customer].target_id or ""]
    world.state.links[customer] = replace(world.state.links[customer], withdrawn=Withdrawal.TARGET_GONE)
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()
    renewed(world)
    assert [one.refused for one in renew(world, "c1", step="customers")] == [None]

    plan = desk.make()
    assert plan.counts == {"customers": {"create": 1}, "invoices": {"create": 1}}
    assert set(desk.apply(plan).values()) == {End.WRITTEN}

    (made,) = world.books.all(Kind.CUSTOMER)
    assert living(world)[0].fields["customer"] == made.id
    assert made.fields["name"] == "Acme Corporation"


# Refused


def test_record_whose_document_was_not_withdrawn_is_refused(world: World):
    invoiced(world)
    assert "its invoice Sd1 stands" in refused(world).message
    assert "it has no document" in refused(world, "d2").message


def test_renewing_twice_is_refused(world: World):
    withdrawn(world)
    renewed(world)
    assert "a new document was allowed already, by kim" in refused(world).message


def test_invoice_that_stands_again_is_not_renewed(world: World):
    invoice = invoiced(world)
    del world.books.records[Kind.INVOICE, invoice.id]
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()
    world.books.records[Kind.INVOICE, invoice.id] = invoice

    error = refused(world)

    assert error.message == f"The invoice Sd1 stands in the books, so {SYNC}/invoices/d1 gets no other one."
    assert f"tieout parked retry {SYNC}/invoices/d1" in error.next_step


def test_credit_note_that_is_not_finished_holds_the_renewal_back(world: World):
    invoiced(world, paid="1054")
    lose(world)
    world.books.fault = lambda _: RejectedError("The books are closed.", code="6210", field="date")
    world.apply("d1")
    assert link(world).withdrawn is Withdrawal.LEFT

    assert "its credit note is not finished" in refused(world).message

    world.books.fault = lambda _: "lost"
    world.apply("d1")
    assert isinstance(refused(world), ClaimedError)
    world.books.fault = lambda _: None
    world.settle_down()
    renewed(world)


def test_credit_note_that_a_person_deleted_settles_nothing(world: World):
    withdrawn(world, paid="1054")
    (note,) = credit_notes(world)
    del world.books.records[Kind.CREDIT_NOTE, note.id]

    assert f"its credit note {note.id} is gone or voided" in refused(world).message


def test_credit_note_of_a_former_invoice_does_not_settle_the_renewed_one(world: World):
    withdrawn(world, paid="1054")
    renewed(world)
    world.apply("d1")
    invoice = living(world)[0]
    del world.books.records[Kind.INVOICE, invoice.id]
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()
    world.books.records[Kind.INVOICE, invoice.id] = invoice

    assert "stands in the books" in refused(world).message


def test_write_that_is_under_way_is_refused(world: World):
    invoiced(world)
    lose(world)
    world.books.fault = lambda _: "lost"
    world.apply("d1")
    assert link(world).intent is not None

    assert isinstance(refused(world), ClaimedError)


def test_steps_that_write_no_documents_of_their_own_are_refused(world: World):
    for step in ("payments", "invoices.credit_note", "nothing"):
        with pytest.raises(SettingsError, match=f"no step `{step}`") as caught:
            renew(world, step=step)
        assert "It has: customers, items, invoices." in caught.value.next_step


def test_books_that_cannot_be_read_renew_nothing(world: World):
    withdrawn(world)
    formers = renewing(world).look([key()])
    world.books.read_fault = lambda _: UnavailableError("down")

    with pytest.raises(UnavailableError):
        renewing(world).renew(formers, by="kim")

    assert link(world).withdrawn is Withdrawal.LEFT


def test_one_that_is_refused_does_not_keep_the_others(world: World):
    invoiced(world, "d2")
    withdrawn(world, "d1")

    found = {one.link.key.source_id: one.refused for one in renew(world, "d2", "d1")}

    assert found["d1"] is None
    assert found["d2"] is not None
    assert link(world, "d1").generation == 1


# Two at once


def test_two_people_renew_once(world: World):
    withdrawn(world)
    mine, yours = renewing(world), renewing(world)
    shown, seen = mine.look([key()]), yours.look([key()])

    assert [one.refused for one in mine.renew(shown, by="kim")] == [None]
    (late,) = yours.renew(seen, by="lee")

    assert late.refused is not None
    assert (link(world).generation, link(world).renewed_by) == (1, "kim")
    world.apply("d1")
    assert len(living(world)) == 1


def test_the_faster_of_two_people_wins_even_between_look_and_write(world: World):
    withdrawn(world)
    shown = renewing(world).look([key()])
    real = world.state.store

    def meanwhile(one: Any, **more: Any) -> Any:
        world.state.store = real  # type: ignore[method-assign]
        renew(world)
        return real(one, **more)

    world.state.store = meanwhile  # type: ignore[method-assign]
    (late,) = renewing(world).renew(shown, by="lee")

    assert isinstance(late.refused, ClaimedError)
    assert (link(world).generation, link(world).renewed_by) == (1, "kim")


def test_what_was_renewed_written_and_withdrawn_meanwhile_is_not_renewed_by_an_old_answer(world: World):
    withdrawn(world)
    shown = renewing(world).look([key()])
    renewed(world)
    world.apply("d1")
    lose(world)
    world.apply("d1")

    (late,) = renewing(world).renew(shown, by="lee")

    assert isinstance(late.refused, ClaimedError)
    assert link(world).generation == 1


def test_two_workers_write_the_renewed_invoice_once(world: World):
    withdrawn(world)
    renewed(world)
    real = world.books.write

    def meanwhile(some: Any) -> Any:
        world.books.write = real  # type: ignore[method-assign]
        world.new_worker().apply(world.change(Kind.DEAL, "d1"))
        return real(some)

    world.books.write = meanwhile  # type: ignore[method-assign]
    world.apply("d1")
    world.settle_down()

    assert (len(living(world)), world.unsynced()) == (1, [])


def test_a_worker_that_read_the_record_before_it_was_renewed_writes_nothing_over_it(world: World):
    withdrawn(world)
    lose(world)
    real = world.state.get

    def meanwhile(keys: Any) -> Any:
        found = real(keys)
        world.state.get = real  # type: ignore[method-assign]
        renewed(world)
        return found

    world.state.get = meanwhile  # type: ignore[method-assign]
    world.apply("d1")
    world.settle_down()

    assert (link(world).generation, link(world).withdrawn, states(world)) == (1, None, ["voided"])


# Whatever breaks


@pytest.mark.parametrize("paid", ["0", "1054"], ids=["voided", "credited"])
@pytest.mark.parametrize("point", range(7))
def test_crash_before_every_write_of_the_state_makes_one_new_invoice(world: World, paid: str, point: int):
    withdrawn(world, paid=paid)
    world.apply("d1")
    world.state.crash_before = crashing(world, point)
    for _ in range(2):
        try:
            renew(world)
            world.apply("d1")
        except Crash:
            world.clock.sleep(world.policy.hold_seconds + 1)
    world.apply("d1")
    world.settle_down()

    assert (len(world.invoices()), len(living(world)), world.unsynced()) == (2, 1, [])
    assert link(world).target_id == living(world)[0].id
    assert link(world).generation == 1


@pytest.mark.parametrize("fault", ["lost", "vanished"])
@pytest.mark.parametrize("paid", ["0", "1054"], ids=["voided", "credited"])
def test_lost_answer_of_the_new_invoice_is_not_found_in_the_former_one(world: World, paid: str, fault: str):
    former = withdrawn(world, paid=paid)
    renewed(world)
    faults = [fault]
    world.books.fault = lambda _: faults.pop() if faults else None

    world.apply("d1")
    assert link(world).intent is not None
    world.settle_down()

    (invoice,) = living(world)
    assert invoice.id != former.id
    assert (link(world).target_id, len(world.invoices()), world.unsynced()) == (invoice.id, 2, [])
    assert invoice.fields["reference"] == link(world).reference != key().reference


@pytest.mark.parametrize("point", range(8))
def test_crash_before_every_write_of_the_state_credits_the_renewed_invoice_once(world: World, point: int):
    withdrawn(world, paid="1054")
    renewed(world)
    world.apply("d1")
    world.pay(living(world)[0].id, "1054")
    lose(world)
    world.state.crash_before = crashing(world, point)
    try:
        world.apply("d1")
    except Crash:
        late(world)
    world.settle_down()

    memos = [note.fields["memo"] for note in credit_notes(world)]
    assert memos == ["Credit for invoice Sd1", "Credit for invoice Sd1-2"]
    assert (living(world), world.unsynced()) == ([], [])


@pytest.mark.parametrize("fault", ["lost", "vanished"])
def test_lost_answer_of_the_second_credit_note_is_not_found_in_the_first(world: World, fault: str):
    withdrawn(world, paid="1054")
    renewed(world)
    world.apply("d1")
    world.pay(living(world)[0].id, "1054")
    lose(world)
    faults = [fault]
    world.books.fault = lambda _: faults.pop() if faults else None

    world.apply("d1")
    world.settle_down()

    memos = [note.fields["memo"] for note in credit_notes(world)]
    assert memos == ["Credit for invoice Sd1", "Credit for invoice Sd1-2"]
    assert (living(world), world.unsynced()) == ([], [])


def test_renewed_invoice_that_is_voided_stays_so_though_its_former_one_was_credited(world: World):
    withdrawn(world, paid="1054")
    renewed(world)
    world.apply("d1")
    lose(world)
    world.apply("d1")
    world.deal("d1", "2000")

    world.apply("d1")

    assert (states(world), len(credit_notes(world))) == (["paid", "voided"], 1)
    assert (causes(world), link(world).withdrawn) == (["withdrawn-invoices"], Withdrawal.LEFT)


def test_renewed_invoice_counts_against_the_days_withdrawals_of_its_own():
    world = World(withdrawing(caps="withdrawals: 1"))
    withdrawn(world)
    renewed(world)
    world.apply("d1")
    lose(world)

    world.apply("d1")

    assert causes(world) == [f"cap-withdrawals-{SYNC}"]


# The way back


def test_payments_of_the_renewed_invoice_reach_the_deal_and_those_of_the_former_one_do_not(world: World):
    former = withdrawn(world)
    world.apply(former.id, kind=Kind.INVOICE, connection=BOOKS)
    assert payment_status(world) == "Voided"
    renewed(world)
    world.apply("d1")
    (invoice,) = living(world)

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    assert payment_status(world) == "Open", "what its former one left there is not left so until it is paid"
    world.pay(invoice.id, "1054")
    world.apply(invoice.id, former.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()

    assert (payment_status(world), world.unsynced()) == ("Paid", [])
    assert world.crm.records[Kind.DEAL, "d1"].fields["custom_fields"]["invoice_number"] == "Sd1-2"
    report = world.apply(former.id, kind=Kind.INVOICE, connection=BOOKS)
    assert report.skipped_because == {"not made by this sync": 1}
    assert link(world).withdrawn is None


def test_hint_about_the_former_invoice_between_renewing_and_writing_is_no_question(world: World):
    former = withdrawn(world)
    renewed(world)

    report = world.apply(former.id, kind=Kind.INVOICE, connection=BOOKS)

    assert (report.waiting, report.skipped_because) == (0, {"not made by this sync": 1})
    assert world.unsynced() == []


def test_payment_that_comes_before_the_lost_answer_is_settled_reaches_the_deal(world: World):
    withdrawn(world)
    renewed(world)
    faults = ["lost"]
    world.books.fault = lambda _: faults.pop() if faults else None
    world.apply("d1")
    (invoice,) = living(world)
    world.pay(invoice.id, "1054")

    assert world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS).waiting == 1
    world.settle_down()

    assert (payment_status(world), world.unsynced()) == ("Paid", [])


def test_renewed_invoice_that_a_person_voids_is_noticed(world: World):
    withdrawn(world)
    renewed(world)
    world.apply("d1")
    (invoice,) = living(world)
    void_by_hand(world, invoice)

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()

    assert (link(world).withdrawn, causes(world)) == (Withdrawal.TARGET_GONE, ["target-gone-invoices"])


def test_renewed_invoice_follows_its_deal(world: World):
    withdrawn(world)
    renewed(world)
    world.apply("d1")
    world.deal("d1", "2000")

    world.apply("d1")

    (invoice,) = living(world)
    assert (invoice.fields["total"], invoice.fields["number"]) == (2000, "Sd1-2")
    assert tie_out(world).ties_out


def test_long_number_keeps_its_tail(world: World):
    world.deal("d1")
    world.crm.put(Kind.DEAL, "d1", source_id="N" * 21)
    world.apply("d1")
    lose(world)
    world.apply("d1")
    world.crm.put(Kind.DEAL, "d1", status="won")
    renewed(world)

    world.apply("d1")

    assert numbers(world) == ["N" * 21, "N" * 19 + "-2"]


def test_a_second_document_of_the_same_generation_is_still_a_duplicate(world: World):
    withdrawn(world)
    renewed(world)
    world.apply("d1")
    (invoice,) = living(world)
    world.books.put(Kind.INVOICE, "double", **invoice.fields)

    assert (tie_out(world).duplicates, tie_out(world).ties_out) == (1, False)


# The trail


def test_the_trail_tells_who_renewed_and_replays_to_the_links(world: World):
    world.state.links = ToldLinks(now=world.clock.now)
    withdrawn(world, paid="1054")
    renewed(world)
    world.apply("d1")
    world.pay(living(world)[0].id, "1054")
    lose(world)
    world.apply("d1")

    told = [one for one in world.state.links.told if one.after is not None and one.after.key == key()]
    whats = [happened(one.before, one.after) for one in told]
    at = whats.index(What.RENEWED)
    assert (whats[at - 1], whats[at + 1 : at + 3]) == (What.WITHDRAWN, [What.INTENT_OPENED, What.CREATED])
    archive, tips = archived_roughly(world.state.links.told, Random(7))
    assert list(broken_trail(world.state.links, archive, tips)) == []


# Any history

RENEWALS = ("win", "lose", "pay", "void by hand", "delete by hand", "renew", "renew")

histories = st.lists(st.tuples(st.sampled_from(RENEWALS), st.booleans()), min_size=3, max_size=12)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    history=histories,
    faults=st.lists(st.sampled_from(FAULTS), max_size=20),
    deaths=st.lists(st.integers(1, 12), max_size=6),
)
def test_any_history_has_one_living_invoice_at_most_and_it_is_the_links(history, faults, deaths):
    world = World(withdrawing(caps="withdrawals: 1000"))
    Trouble(world, faults)
    left = list(deaths)
    world.state.crash_after = dying(left)
    world.deal("d1")
    deliver(world, world.change(Kind.DEAL, "d1"))
    for event, settles in history:
        if event == "renew":
            attempt(world)
        deliver(world, _happens(world, event))
        if settles:
            settle(world)
    left.clear()
    deliver(world, world.change(Kind.DEAL, "d1"))
    settle(world)

    alive = living(world)
    assert len(alive) <= 1
    stored = link(world)
    assert stored.intent is None
    if alive and stored.withdrawn is None:
        assert stored.target_id == alive[0].id
    if world.crm.records[Kind.DEAL, "d1"].fields["status"] == "won" and not world.unsynced():
        assert [one.id for one in alive] == [stored.target_id]


def attempt(world: World) -> None:
    """A person tries, and sees what comes of it."""
    try:
        renew(world)
    except Crash:
        world.clock.sleep(200)


def _happens(world: World, event: str) -> list[Change]:
    """As in `happens`, to the invoice of today."""
    stored = world.state.links.get(key())
    invoice = world.books.records.get((Kind.INVOICE, stored.target_id or "")) if stored is not None else None
    if event in ("win", "lose") or invoice is None:
        return happens(world, "d1", event if event in ("win", "lose") else "")
    if event == "delete by hand":
        del world.books.records[Kind.INVOICE, invoice.id]
    elif event == "void by hand":
        void_by_hand(world, invoice)
    elif event == "pay" and invoice.fields["balance"] > 100:
        world.pay(invoice.id, "100")
    return [*world.change(Kind.DEAL, "d1"), *world.change(Kind.INVOICE, invoice.id, connection=BOOKS)]
