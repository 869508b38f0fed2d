"""Taking back updates of customers that show something of their own in the books: adopted ones, and suffixed names."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.engine.test_plans import Desk, key
from tests.engine.test_withdraw import credit_notes, invoiced, lose, withdrawing
from tests.engine.world import World
from tieout.domain.errors import NameTakenError
from tieout.domain.plans import StoredPlan
from tieout.domain.records import Kind, Record
from tieout.engine.stored_plans import End
from tieout.mapping import preset


def customer_of(world: World) -> Record:
    (customer,) = world.books.all(Kind.CUSTOMER)
    return customer


def run_that_changes(world: World, desk: Desk, phone: str) -> StoredPlan:
    world.clock.time += timedelta(minutes=1)
    world.crm.put(Kind.COMPANY, "c1", phone=phone)
    plan = desk.make("c1")
    assert desk.apply(plan) == {"customers/c1": End.WRITTEN}
    assert customer_of(world).fields["phone"] == phone
    return plan


@pytest.fixture(params=["adopted", "suffixed"])
def world(request: pytest.FixtureRequest) -> World:
    """With a customer whose name in the books is not the company's: it was found there, or it got a suffix."""
    text = preset("act-quickbooks_online")
    if request.param == "suffixed":
        text = text.replace("    to: customer\n", "    to: customer\n    match: {shared_name: suffix}\n", 1)
    world = World(text)
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550100")
    if request.param == "adopted":
        world.books.looks_similar = lambda *_: True
        world.books.put(
            Kind.CUSTOMER,
            "7",
            name="Acme Corporation",
            company_name="Acme Corp",
            phone="+16505550100",
            email="ada@acme.example",
            given_name="Ada",
            family_name="Miller",
            billing_address={"country": "US", "city": "Springfield"},
            balance=Decimal(0),
        )
    else:
        world.books.fault = lambda effect: (
            None if effect.document.as_fields()["name"].endswith("(Customer)") else NameTakenError("A vendor has it.")
        )
    world.apply("c1", kind=Kind.COMPANY)
    world.books.fault = lambda _: None
    assert world.state.links[key("customers", "c1")].shown
    return world


def test_what_the_books_show_otherwise_since_before_does_not_keep_an_update_from_being_taken_back(world: World):
    desk = Desk(world)
    before = customer_of(world)
    plan = run_that_changes(world, desk, "+16505550199")

    undo = desk.undo(plan)
    assert desk.report.left_out == {}
    assert undo is not None
    assert [one.document for one in desk.writes(undo)] == [{"phone": "+16505550100"}], "what it says is what it writes"
    assert desk.apply(undo) == {"customers/c1": End.WRITTEN}
    after = {**before.fields, "reference": key("customers", "c1").reference}
    assert customer_of(world).fields == after

    world.apply("c1", kind=Kind.COMPANY)
    assert customer_of(world).fields == after
    world.clock.time += timedelta(minutes=1)
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550177")
    world.apply("c1", kind=Kind.COMPANY)
    assert customer_of(world).fields == {**after, "phone": "+16505550177"}
    assert world.unsynced() == []


def test_what_a_person_changed_since_the_update_stays(world: World):
    desk = Desk(world)
    plan = run_that_changes(world, desk, "+16505550199")
    world.books.put(Kind.CUSTOMER, customer_of(world).id, company_name="Acme Limited")

    assert desk.undo(plan) is None
    assert desk.report.left_out == {
        key("customers", "c1"): "Its company name was changed since by somebody else.",
    }


@pytest.mark.parametrize("when", ["planned", "applied"])
def test_an_update_of_an_invoice_that_was_credited_since_stays(when: str):
    """The credit note is of what the invoice showed then."""
    world = World(withdrawing())
    desk = Desk(world)
    invoiced(world, paid="100")
    world.clock.time += timedelta(minutes=1)
    world.deal("d1", "1100")
    plan = desk.make("d1")
    assert desk.apply(plan)["invoices/d1"] is End.WRITTEN
    undo = desk.undo(plan) if when == "applied" else None
    lose(world)
    world.apply("d1")
    (note,) = credit_notes(world)

    if undo is None:
        assert desk.undo(plan) is None
        assert desk.report.left_out == {key("invoices", "d1"): "Its document was withdrawn since."}
    else:
        assert [one.reason for one in desk.compare(undo).changed] == ["Its document was withdrawn since."]
        desk.apply(undo)
    assert [one.fields["total"] for one in world.invoices()] == [1100]
    assert (note.fields["total"], credit_notes(world)) == (1100, [note])
