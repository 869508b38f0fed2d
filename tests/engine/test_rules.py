"""The engine's small rules, each by itself: who may write when, what is remembered, and who hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, START, TENANT, Crash, World
from tieout.domain.changes import Change, Origin, UnsyncedState
from tieout.domain.effects import Effect
from tieout.domain.errors import (
    ClaimedError,
    ConflictError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.links import IntentState, LinkKey
from tieout.domain.records import Kind, Record
from tieout.engine.collect import coalesce
from tieout.engine.operate import Operate
from tieout.engine.park import ParkChanges
from tieout.engine.plan import difference

INVOICE = LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def effects(world: World) -> list[Effect]:
    """Every effect on an invoice that the books are asked to do, in order."""
    seen: list[Effect] = []
    real = world.books.write

    def write(batch: Sequence[Effect]) -> Any:
        seen.extend(effect for effect in batch if effect.kind is Kind.INVOICE)
        return real(batch)

    world.books.write = write  # type: ignore[method-assign]
    return seen


def once(answer: Any, kind: Kind = Kind.INVOICE) -> Any:
    """A fault that happens to the first write of this kind."""
    left = [answer]
    return lambda effect: left.pop() if effect.kind is kind and left else None


# Who may write


def test_document_that_another_worker_is_writing_is_neither_looked_up_nor_written(world: World):
    world.deal("d0")
    world.apply("d0")
    world.deal("d1")
    real, looks = world.books.write, []

    def while_writing(batch: Sequence[Effect]) -> Any:
        before = world.books.calls["find"]
        report = world.new_worker().apply(world.change(Kind.DEAL, "d1"))
        looks.append((report.waiting, world.books.calls["find"] - before))
        return real(batch)

    world.books.write = while_writing  # type: ignore[method-assign]
    world.apply("d1")

    assert looks == [(1, 0)]
    held = world.state.links[INVOICE]
    assert (held.intent, held.target_id is not None) == (None, True)


def test_worker_that_died_is_waited_for_as_long_as_it_may_live(world: World):
    world.deal("d1")

    def dies(_: object) -> Any:
        raise Crash

    world.books.fault = lambda effect: dies(effect) if effect.kind is Kind.INVOICE else None
    with pytest.raises(Crash):
        world.apply("d1")
    world.books.fault = lambda _: None
    finds = world.books.calls["find"]

    world.clock.sleep(world.policy.hold_seconds - 1)
    world.new_worker().apply(world.change(Kind.DEAL, "d1"))
    assert world.books.calls["find"] == finds

    world.clock.sleep(2)
    world.new_worker().apply(world.change(Kind.DEAL, "d1"))
    assert world.books.calls["find"] == finds + 1


def test_lost_answer_is_looked_up_after_seconds_not_after_a_workers_life(world: World):
    world.deal("d1")
    world.books.fault = once("lost")

    world.apply("d1")

    intent = world.state.links[INVOICE].intent
    assert intent is not None
    assert intent.state is IntentState.UNKNOWN
    assert intent.held_until - world.clock.now() == timedelta(seconds=world.policy.look_seconds)


def test_call_whose_answer_is_lost_as_a_whole_makes_no_second_document(world: World):
    world.deal("d1")
    real, lose = world.books.write, {"once": True}

    def write(batch: Sequence[Effect]) -> Any:
        outcomes = real(batch)
        if batch[0].kind is Kind.INVOICE and lose.pop("once", False):
            raise UncertainError("The answer was lost.")
        return outcomes

    world.books.write = write  # type: ignore[method-assign]
    world.apply("d1")
    world.settle_down()

    assert len(world.invoices()) == 1


def test_update_that_vanished_is_written_again_only_after_two_looks(world: World, effects: list[Effect]):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    world.books.fault = once("vanished")
    world.apply("d1")

    for writes, total in ((2, Decimal(1000)), (3, Decimal(1200))):
        world.clock.sleep(world.policy.look_seconds + 1)
        world.new_worker().apply(world.change(Kind.DEAL, "d1"))

        assert (len(effects), world.invoices()[0].fields["total"]) == (writes, total)


def test_try_after_a_refusal_is_a_new_one_to_the_provider(world: World, effects: list[Effect]):
    world.deal("d1")
    world.books.fault = once(RejectedError("The books are closed."))
    world.apply("d1")
    world.apply("d1")

    first, second = effects
    assert first.id == second.id
    assert first.attempt != second.attempt


def test_update_bears_the_version_of_the_last_write(world: World, effects: list[Effect]):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    world.apply("d1")

    assert [effect.target_version for effect in effects] == ["", "0"]


def test_document_that_stays_stale_waits(world: World, effects: list[Effect]):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    world.books.fault = lambda _: ConflictError("Somebody changed it meanwhile.")

    report = world.apply("d1")

    assert (report.waiting, len(effects)) == (1, 1 + 2)


# What is adopted


def test_several_records_of_one_name_are_parked(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.books.put(Kind.CUSTOMER, "78", name="Acme Corporation")
    world.deal("d1")

    world.apply("d1")

    asked = next(one for one in world.unsynced() if one.step == "customers")
    assert asked.review is not None
    assert [one.target_id for one in asked.review.candidates] == ["77", "78"]
    assert {one.reason for one in world.unsynced()} == {
        (
            "The company Acme Corporation may be the customer Acme Corporation in the books already (same name), or "
            "another one."
        )
    }
    assert world.invoices() == []


def test_several_items_of_one_name_are_parked(world: World):
    world.books.put(Kind.ITEM, "77", name="GTX Pro")
    world.books.put(Kind.ITEM, "78", name="GTX Pro")

    world.apply("p1", kind=Kind.PRODUCT)

    (parked,) = world.unsynced()
    assert parked.reason == "Several records may be this item: 77, 78."


def test_record_with_our_reference_counts_before_one_of_the_same_name(world: World):
    world.deal("d1")
    world.books.fault = once("lost", Kind.CUSTOMER)
    world.apply("d1")
    (ours,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, "78", name="Acme Corporation")

    world.settle_down()

    assert [invoice.fields["customer"] for invoice in world.invoices()] == [ours.id]


def test_customer_of_another_company_of_the_same_name_is_not_adopted(world: World):
    world.company("c2", "Acme Corporation")
    world.deal("d1", company="c1")
    world.apply("d1")
    world.deal("d2", company="c2")

    world.apply("d2")

    assert len(world.invoices()) == 1
    assert {(one.step, one.reason) for one in world.unsynced()} == {
        (step, "The customer Acme Corporation in the books belongs to another company already.")
        for step in ("customers", "invoices")
    }


def test_item_of_another_product_of_the_same_name_is_not_adopted(world: World):
    world.apply("p1", kind=Kind.PRODUCT)
    world.crm.put(Kind.PRODUCT, "p2", name="GTX Pro", sku=None, price=Decimal(1), cost=None, description=None)

    world.apply("p2", kind=Kind.PRODUCT)

    (parked,) = world.unsynced()
    assert parked.reason == "The item GTX Pro in the books belongs to another product already."


def test_of_two_products_of_one_name_in_one_batch_the_first_adopts_the_item_that_has_it(world: World):
    world.books.put(Kind.ITEM, "88", name="GTX Pro")
    world.crm.put(Kind.PRODUCT, "p2", name="GTX Pro", sku=None, price=Decimal(1), cost=None, description=None)

    report = world.apply("p1", "p2", kind=Kind.PRODUCT)

    (parked,) = world.unsynced()
    assert (report.adopted, parked.change.id) == (1, "p2")
    assert parked.reason == "The item GTX Pro in the books belongs to another product already."


def test_of_two_companies_of_one_name_in_one_batch_the_first_adopts_the_customer_that_has_it(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.company("c2", "Acme Corporation")

    report = world.apply("c1", "c2", kind=Kind.COMPANY)

    (parked,) = world.unsynced()
    assert (report.adopted, parked.change.id) == (1, "c2")
    assert parked.reason == "The customer Acme Corporation in the books belongs to another company already."


def test_what_one_of_a_batch_was_about_to_adopt_is_not_adopted_by_another_though_its_link_could_not_be_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.books.put(Kind.ITEM, "88", name="GTX Pro")
    world.crm.put(Kind.PRODUCT, "p2", name="GTX Pro", sku=None, price=Decimal(1), cost=None, description=None)
    real, lost = world.state.settle, ["once"]

    def settle(link: Any, **named: Any) -> Any:
        settled = real(link, **named)
        if lost:
            lost.pop()
            raise ClaimedError("It was settled, and the answer was lost.")
        return settled

    monkeypatch.setattr(world.state, "settle", settle)

    world.apply("p1", "p2", kind=Kind.PRODUCT)
    world.settle_down()

    partners = {key.source_id: link.target_id for key, link in world.state.links.items() if key.step == "items"}
    assert partners == {"p1": "88", "p2": None}


def test_copy_of_a_customer_that_a_person_renamed_is_adopted_by_its_name(world: World):
    """The copy bears the reference of the customer that it was copied from."""
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, "900", **{**customer.fields, "name": "Globex"})
    world.company("c2", "Globex")

    report = world.apply("c2", kind=Kind.COMPANY)

    assert (report.adopted, world.unsynced()) == (1, [])


def test_way_back_is_kept_only_for_records_without_our_reference(world: World):
    world.deal("d1")
    world.apply("d1")

    assert {step for _, _, step, _ in world.state.pointers} == {"items"}


# What is written


def test_record_that_comes_twice_is_written_once(world: World, effects: list[Effect]):
    world.deal("d1")

    report = world.apply("d1", "d1")

    assert (report.created, report.waiting, len(effects)) == (3, 0, 1)


def test_company_and_its_contact_that_change_together_are_one_write(world: World):
    world.crm.put(Kind.CONTACT, "k1", name="Ada", company_id="c1")
    world.crm.put(Kind.CONTACT, "k2", name="Eve", company_id="c1")
    changes = [*world.change(Kind.CONTACT, "k1", "k2", "gone"), *world.change(Kind.COMPANY, "c1")]

    report = world.engine.apply(changes)

    assert (report.created, report.waiting, world.crm.calls["read"]) == (1, 0, 2)


def test_copy_of_our_invoice_that_a_person_made_writes_nothing_back(world: World):
    world.deal("d1")
    world.apply("d1")
    (invoice,) = world.invoices()
    copied = {**invoice.fields, "number": "COPY", "paid": Decimal(5), "state": "partly_paid"}
    world.books.put(Kind.INVOICE, "900", **copied)

    report = world.apply("900", kind=Kind.INVOICE, connection=BOOKS)

    assert (report.skipped, world.crm.calls["effect"]) == (1, 0)


def test_parked_record_is_not_told_again_because_its_source_failed_in_the_middle(world: World):
    world.deal("d1", product="Unheard-of")
    world.apply("d1")
    alerts = world.state.pending(TENANT)
    world.crm.put(Kind.DEAL, "d2", **{**world.crm.records[Kind.DEAL, "d1"].fields, "closed_on": None})
    world.deal("d1")
    world.crm.search = lambda *_: (_ for _ in ()).throw(UnavailableError("down"))  # type: ignore[method-assign]

    world.apply("d1", "d2")

    states = {one.change.id: one.state for one in world.unsynced()}
    assert states == {"d1": UnsyncedState.WAITING, "d2": UnsyncedState.PARKED}
    assert len(alerts) == 1


def test_contact_that_changed_updates_the_customer_of_its_company_whose_version_did_not_rise(world: World):
    world.apply("c1", kind=Kind.COMPANY)
    company = world.crm.records[Kind.COMPANY, "c1"]
    contact: Any = company.fields["contact"]
    fields = {**company.fields, "contact": {**contact, "email": "eve@acme.example"}}
    world.crm.records[Kind.COMPANY, "c1"] = replace(company, fields=fields)
    world.crm.put(Kind.CONTACT, "k1", name="Eve", company_id="c1")

    report = world.apply("k1", kind=Kind.CONTACT)

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert (report.updated, customer.fields["email"]) == (1, "eve@acme.example")


def test_deal_that_changed_while_its_write_was_lost_is_updated_though_the_total_differed(world: World):
    world.deal("d1", "1000")
    real = world.books._fields
    world.books._fields = lambda effect: (  # type: ignore[method-assign]
        real(effect) | ({"total": Decimal("1000.01")} if getattr(effect.document, "number", "") == "Sd1" else {})
    )
    world.books.fault = once("lost")
    world.apply("d1")
    world.books._fields = real  # type: ignore[method-assign]
    world.deal("d1", "1200")

    world.settle_down()

    assert world.invoices()[0].fields["total"] == Decimal(1200)
    assert world.unsynced() == []


# Who hears of it


def test_worker_that_dies_between_alert_and_state_has_told(world: World):
    world.deal("d1", product="Unheard-of")
    world.state.crash_before = lambda name: name == "set_unsynced"

    with pytest.raises(Crash):
        world.apply("d1")

    assert len(world.state.pending(TENANT)) == 1


def test_change_that_waits_long_is_told_once(world: World):
    world.deal("d1")
    world.crm.read_fault = lambda _: UnavailableError("The CRM does not answer.")
    world.apply("d1")
    told = []
    for _ in range(world.policy.alert_after_attempts + 3):
        ((due, change),) = world.queue.later
        told.append((change.attempts, len(world.state.pending(TENANT))))
        world.queue.later.clear()
        world.clock.time = due
        world.new_worker().apply([change])

    assert [attempts for attempts, alerts in told if alerts == 0] == list(range(1, world.policy.alert_after_attempts))
    assert len(world.state.pending(TENANT)) == 1


def test_changes_of_a_connection_that_was_removed_wait_and_are_told(world: World):
    world.deal("d1")
    del world.state.connections_by_name[TENANT, BOOKS]
    for _ in range(world.policy.alert_after_attempts):
        changes = [change for _, change in world.queue.later if change.kind is Kind.DEAL]
        world.queue.later.clear()
        world.clock.sleep(900)
        world.new_worker().apply(changes or world.change(Kind.DEAL, "d1"))

    assert {one.state for one in world.unsynced()} == {UnsyncedState.WAITING}
    assert "tieout config apply" in world.state.pending(TENANT)[0].next_step


def test_record_that_agrees_again_is_no_longer_unsynced_and_keeps_since_when_it_was(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    world.books.fault = lambda _: UnavailableError("down")
    world.apply("d1")
    since = world.unsynced()[0].since
    world.clock.sleep(500)
    world.books.fault = lambda _: RejectedError("The books are closed.")
    world.settle_down()
    assert (world.unsynced()[0].state, world.unsynced()[0].since) == (UnsyncedState.PARKED, since)

    world.deal("d1", "1000")

    assert (world.apply("d1").unchanged, world.unsynced()) == (1, [])


@pytest.mark.parametrize("nowhere", [0, 1])
def test_change_that_waits_for_two_reasons_is_tried_at_the_sooner_one(world: World, nowhere: int):
    (sync,) = world.state.syncs(TENANT)
    texts = [sync.text, sync.text.replace("name: deals-to-invoices", "name: second")]
    texts[nowhere] = texts[nowhere].replace("target: quickbooks", "target: nowhere")
    for name, text in zip((sync.name, "second"), texts, strict=True):
        world.state.put_sync(replace(sync, name=name, text=text))
    world.deal("d1")
    world.books.fault = lambda _: ThrottledError("Too many calls.", retry_after_seconds=600)

    world.apply("d1")

    (due,) = [due for due, change in world.queue.later if change.kind is Kind.DEAL]
    assert due - world.clock.now() < timedelta(seconds=20)


# Comparing


@pytest.mark.parametrize(
    ("written", "shown", "path"),
    [
        ({"note": "a  b\n"}, {"note": "a b"}, None),
        ({"note": "a b"}, {"note": "a c"}, "note"),
        ({"email": None}, {}, None),
        ({"email": ""}, {"email": None}, None),
        ({"email": None}, {"email": "a@b.example"}, "email"),
        ({"email": "a@b.example"}, {}, "email"),
        ({"paid": "0"}, {"paid": None}, "paid"),
        ({"paid": "1.5"}, {"paid": Decimal("1.50")}, None),
        ({"custom_fields.a": "x"}, {"custom_fields": {"a": "x"}}, None),
        ({"lines": [{"amount": "1"}]}, {"lines": []}, "lines"),
        (
            {"lines": [{"quantity": "2", "unit_price": "3", "amount": "6"}]},
            {"lines": [{"amount": 6}]},
            "lines 1.quantity",
        ),
        ({"lines": [{"quantity": "2", "unit_price": "3", "amount": "5"}]}, {"lines": [{"amount": Decimal(5)}]}, None),
        (
            {"lines": [{"quantity": "2", "unit_price": "3", "amount": "5"}]},
            {"lines": [{"amount": 6}]},
            "lines 1.amount",
        ),
    ],
)
def test_difference(written: dict[str, Any], shown: dict[str, Any], path: str | None):
    found = difference(Record(Kind.INVOICE, "1", fields=shown), written)

    assert (found.path if found is not None else None) == path


def test_changes_of_one_record_become_the_oldest_with_the_most_attempts():
    first = Change(TENANT, CRM, Kind.DEAL, "d1", START, Origin.POLL, attempts=1)
    second = replace(first, seen_at=START - timedelta(hours=1), attempts=0)
    third = replace(first, seen_at=START + timedelta(hours=1), attempts=5, merged_into="d2")
    other = replace(first, tenant="globex")

    assert coalesce([first, second, third, other]) == [
        replace(first, seen_at=START - timedelta(hours=1), attempts=5, merged_into="d2"),
        other,
    ]


def test_names_that_differ_in_spaces_and_case_are_one(world: World):
    world.crm.records[Kind.PRODUCT, "p1"] = replace(
        world.crm.records[Kind.PRODUCT, "p1"],
        fields={**world.crm.records[Kind.PRODUCT, "p1"].fields, "name": "GTX Pro "},
    )
    real = world.crm.search
    world.crm.search = lambda kind, field, values: real(kind, field, [f"{value} " for value in values])  # type: ignore[method-assign]
    world.deal("d1", product="gtx  pro")

    assert world.apply("d1").parked == 0


# What is emptied


SPRINGFIELD = {"country": "United States", "city": "Springfield"}


def contact(world: World, **fields: Any) -> None:
    company = world.crm.records[Kind.COMPANY, "c1"]
    former: Any = company.fields["contact"]
    world.crm.put(Kind.COMPANY, "c1", contact={**former, **fields})


def test_value_that_only_the_books_have_stays_when_an_adopted_customer_is_updated(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    contact(world, email=None)
    world.apply("c1", kind=Kind.COMPANY)
    contact(world, phone="+16505550123")

    report = world.apply("c1", kind=Kind.COMPANY)

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert (report.updated, customer.fields["email"]) == (1, "billing@acme.example")
    assert customer.fields["phone"] == "+16505550123"


def test_value_that_a_person_added_in_the_books_does_not_stop_an_update(world: World):
    contact(world, email=None)
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, customer.id, email="billing@acme.example")
    contact(world, phone="+16505550123")

    report = world.apply("c1", kind=Kind.COMPANY)

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert (report.updated, customer.fields["email"]) == (1, "billing@acme.example")


def test_value_that_both_sides_added_is_parked(world: World):
    contact(world, email=None)
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, customer.id, email="billing@acme.example")
    contact(world, email="ada@acme.example")

    world.apply("c1", kind=Kind.COMPANY)

    (parked,) = world.unsynced()
    assert (parked.code, parked.field) == ("changed-on-both-sides", "email")


def test_value_that_we_wrote_is_emptied_with_the_record(world: World):
    world.apply("c1", kind=Kind.COMPANY)
    contact(world, email=None)

    world.apply("c1", kind=Kind.COMPANY)

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert customer.fields["email"] is None


@pytest.mark.parametrize("stale", [False, True])
def test_part_of_an_address_that_the_record_no_longer_has_is_left_alone(world: World, stale: bool):
    world.crm.put(Kind.COMPANY, "c1", address={**SPRINGFIELD, "line1": "1 Main St"})
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.crm.put(Kind.COMPANY, "c1", address=SPRINGFIELD)
    assert world.apply("c1", kind=Kind.COMPANY).unchanged == 1

    for city in ("Shelbyville", "Capital City"):
        if stale:
            world.books.put(Kind.CUSTOMER, customer.id, note=f"before {city}")
        world.crm.put(Kind.COMPANY, "c1", address={**SPRINGFIELD, "city": city})
        assert world.apply("c1", kind=Kind.COMPANY).updated == 1
        (customer,) = world.books.all(Kind.CUSTOMER)
        assert customer.fields["billing_address"] == {"country": "US", "city": city, "line1": "1 Main St"}
    assert world.unsynced() == []


@pytest.mark.parametrize("stale", [False, True])
def test_part_of_an_address_that_the_record_has_without_a_value_is_emptied(world: World, stale: bool):
    world.crm.put(Kind.COMPANY, "c1", address={**SPRINGFIELD, "line1": "1 Main St"})
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    if stale:
        world.books.put(Kind.CUSTOMER, customer.id, note="VIP")
    world.crm.put(Kind.COMPANY, "c1", address={**SPRINGFIELD, "line1": None})

    assert world.apply("c1", kind=Kind.COMPANY).updated == 1

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert customer.fields["billing_address"] == {"country": "US", "city": "Springfield", "line1": None}


# What no worker could finish


def test_dead_contact_change_that_is_retried_well_is_no_longer_parked(world: World):
    world.crm.put(Kind.CONTACT, "k1", name="Ada", company_id="c1")
    parking = ParkChanges(
        config=world.state, links=world.state, alerts=world.state, queue=world.queue, clock=world.clock
    )
    parking.park(world.change(Kind.CONTACT, "k1"))
    operate = Operate(config=world.state, links=world.state, queue=world.queue, clock=world.clock)
    assert operate.retry(operate.parked(TENANT)) == 1

    world.engine.apply(world.queue.now)

    assert (len(world.books.all(Kind.CUSTOMER)), world.unsynced()) == (1, [])


def test_sync_that_no_longer_compiles_lets_its_tenants_changes_wait_and_tells_after_a_while(world: World):
    (sync,) = world.state.syncs(TENANT)
    world.state.put_sync(replace(sync, version=2, text=sync.text.replace("collapse_spaces", "no_such_transform")))
    world.deal("d1")
    changes = world.change(Kind.DEAL, "d1")
    for _ in range(world.policy.alert_after_attempts):
        assert world.state.pending(TENANT) == []
        world.new_worker().apply(changes)
        changes = [change for _, change in world.queue.later]
        world.queue.later.clear()

    (alert,) = world.state.pending(TENANT)
    assert alert.reason.startswith("The sync deals-to-invoices is not understood by this release of Tieout")

    world.state.put_sync(replace(sync, version=3))
    world.new_worker().apply(changes)
    assert len(world.invoices()) == 1


# Steps that need each other

PREPAID = """  prepaid:
    from: contact
    to: payment
    fields:
      customer: {path: company_id, link: customers, required: true}
      date: {constant: "2026-11-22"}
      currency: {constant: USD}
      amount: {constant: 10}
      allocations:
        list:
          - object:
              invoice: {path: custom_fields.deal, link: invoices, required: true}
              amount: {constant: 10}
"""


def test_record_that_needs_another_that_needs_a_third_brings_all_three(world: World):
    (sync,) = world.state.syncs(TENANT)
    world.state.put_sync(
        replace(sync, version=2, text=sync.text.replace("\n  payments:\n", f"\n{PREPAID}\n  payments:\n"))
    )
    world.deal("d1")
    world.crm.put(Kind.CONTACT, "k1", name="Ada", company_id="c1", custom_fields={"deal": "d1"})
    writes: list[Kind] = []
    world.books.fault = lambda effect: writes.append(effect.kind)

    world.apply("k1", kind=Kind.CONTACT)

    (payment,) = world.books.all(Kind.PAYMENT)
    assert payment.fields["allocations"][0]["invoice"] == world.invoices()[0].id
    assert set(writes[:2]) == {Kind.CUSTOMER, Kind.ITEM}
    assert writes[2:] == [Kind.INVOICE, Kind.PAYMENT]
