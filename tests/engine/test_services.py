"""Services: quotes, projects, hours and expenses go through plan and apply like any other kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, TENANT, World
from tieout.domain.documents import Estimate, Line, SalesDocument
from tieout.domain.effects import Operation
from tieout.domain.records import Kind, Record
from tieout.engine.preview import Preview
from tieout.engine.tie_out import TieOut

DAY = date(2026, 1, 5)
SERVICES = """
kind: sync
name: deals-to-invoices
source: act
target: quickbooks
steps:
  customers:
    from: company
    to: customer
    fields:
      name: {path: name, required: true}
  items:
    from: product
    to: item
    fields:
      name: {path: name, required: true}
  estimates:
    from: deal
    to: estimate
    when: {path: status, in: [open, won, lost]}
    amount: {path: amount}
    fields:
      customer: {path: "companies[0].id", link: customers, required: true}
      number: {path: source_id}
      date: {path: closed_on, required: true}
      currency: {constant: USD}
      status: {path: status, transforms: [{lookup: {table: {open: sent, won: accepted, lost: declined}}}]}
      lines:
        each: lines
        fields:
          item: {path: name, link: items, by: name}
          quantity: {path: quantity}
          unit_price: {path: unit_price}
          amount: {path: amount}
  projects:
    from: project
    to: project
    fields:
      name: {path: name, required: true}
      customer: {path: customer, link: customers}
      billing: {path: custom_fields.billing, default: hourly}
      rate: {path: rate}
      currency: {constant: USD}
  hours:
    from: time_entry
    to: time_entry
    label: {path: note}
    fields:
      project: {path: project, link: projects}
      person: {path: person, required: true}
      date: {path: date}
      hours: {path: hours}
      note: {path: note}
      billable: {path: billable}
  expenses:
    from: expense
    to: expense
    amount: {path: amount}
    fields:
      account: {path: account, transforms: [{lookup: {table: {Travel: "501"}}}]}
      date: {path: date}
      currency: {path: currency}
      amount: {path: amount}
      customer: {path: customer, link: customers}
      project: {path: project, link: projects}
      billable: {path: billable}
"""
KEPT = frozenset({Kind.ESTIMATE, Kind.PROJECT, Kind.TIME_ENTRY, Kind.EXPENSE})


@pytest.fixture
def world() -> World:
    world = World(SERVICES)
    world.books.manifest = replace(world.books.manifest, keeps_reference=world.books.manifest.keeps_reference | KEPT)
    world.crm.put(Kind.PROJECT, "j1", name="Roof", customer="c1", rate=Decimal("95.50"), custom_fields={})
    world.crm.put(Kind.TIME_ENTRY, "h1", **hours())
    world.crm.put(Kind.EXPENSE, "e1", **expense())
    world.deal("d1", status="open")
    return world


def hours(**changes: Any) -> dict[str, Any]:
    given = {"project": "j1", "person": "ada@acme.example", "date": DAY, "hours": Decimal("1.25")}
    return {**given, "note": "Measured", "billable": False, "custom_fields": {}, **changes}


def expense(**changes: Any) -> dict[str, Any]:
    given = {"account": "Travel", "date": DAY, "currency": "USD", "amount": Decimal("0.10"), "customer": "c1"}
    return {**given, "project": "j1", "billable": True, "custom_fields": {}, **changes}


def one(world: World, kind: Kind) -> Record:
    (record,) = world.books.all(kind)
    return record


class TestHours:
    def test_hours_need_their_project_which_needs_its_customer(self, world):
        world.apply("h1", kind=Kind.TIME_ENTRY)

        customer, project, entry = (one(world, kind) for kind in (Kind.CUSTOMER, Kind.PROJECT, Kind.TIME_ENTRY))
        assert project.fields["customer"] == customer.id
        assert (project.fields["billing"], project.fields["rate"]) == ("hourly", Decimal("95.50"))
        assert (entry.fields["project"], entry.fields["hours"]) == (project.id, Decimal("1.25"))
        assert (entry.fields["date"], entry.fields["billable"], entry.fields["note"]) == (DAY, False, "Measured")
        assert world.unsynced() == []

    def test_what_changes_is_written_and_what_does_not_is_not(self, world):
        world.apply("h1", kind=Kind.TIME_ENTRY)
        assert world.apply("h1", kind=Kind.TIME_ENTRY).unchanged == 1

        world.crm.put(Kind.TIME_ENTRY, "h1", hours=Decimal(2))
        assert world.apply("h1", kind=Kind.TIME_ENTRY).updated == 1
        assert one(world, Kind.TIME_ENTRY).fields["hours"] == 2

    @pytest.mark.parametrize("fault", ["lost", "vanished"])
    def test_a_lost_answer_makes_one_entry(self, world, fault):
        faults = [fault]
        world.books.fault = lambda effect: faults.pop() if effect.kind is Kind.TIME_ENTRY and faults else None
        world.apply("h1", kind=Kind.TIME_ENTRY)
        world.settle_down()

        assert one(world, Kind.TIME_ENTRY).fields["hours"] == Decimal("1.25")
        assert world.unsynced() == []

    def test_no_hours_are_for_a_person(self, world):
        world.crm.put(Kind.TIME_ENTRY, "h1", hours=Decimal(0))
        world.apply("h1", kind=Kind.TIME_ENTRY)

        (parked,) = world.unsynced()
        assert "hours" in parked.reason
        assert world.books.all(Kind.TIME_ENTRY) == []


class TestExpenses:
    def test_an_expense_names_account_customer_and_project(self, world):
        world.apply("e1", kind=Kind.EXPENSE)

        made = one(world, Kind.EXPENSE).fields
        assert (made["account"], made["amount"], made["currency"]) == ("501", Decimal("0.10"), "USD")
        assert (made["customer"], made["project"]) == (one(world, Kind.CUSTOMER).id, one(world, Kind.PROJECT).id)

    def test_a_currency_that_is_none_is_refused(self, world):
        world.crm.put(Kind.EXPENSE, "e1", currency="dollars")
        world.apply("e1", kind=Kind.EXPENSE)

        (parked,) = world.unsynced()
        assert "currency" in parked.reason


class TestEstimates:
    def test_an_estimate_follows_its_deal(self, world):
        world.apply("d1")
        assert (one(world, Kind.ESTIMATE).fields["status"], one(world, Kind.ESTIMATE).fields["number"]) == (
            "sent",
            "Sd1",
        )

        for status, shown in (("won", "accepted"), ("lost", "declined")):
            world.crm.put(Kind.DEAL, "d1", status=status)
            world.apply("d1")
            assert one(world, Kind.ESTIMATE).fields["status"] == shown

    def test_lines_that_are_not_the_amount_are_for_a_person(self, world):
        world.crm.put(Kind.DEAL, "d1", amount=Decimal(1))
        world.apply("d1")

        (parked,) = world.unsynced()
        assert parked.reason == "The deal says 1.00 USD, but its lines make 1,054.00 USD."
        assert world.books.all(Kind.ESTIMATE) == []

    def test_another_total_in_the_books_is_for_a_person(self, world):
        original = world.books._fields
        world.books._fields = lambda effect: original(effect) | {"total": Decimal(1)}
        world.apply("d1")

        (parked,) = world.unsynced()
        assert parked.cause == "difference-estimates"

    def test_estimates_tie_out_with_their_amounts(self, world):
        world.apply("d1")
        made = one(world, Kind.ESTIMATE)
        world.books.put(Kind.ESTIMATE, made.id, total=Decimal(1054))
        tie_out = TieOut(
            config=world.state,
            links=world.state,
            connect=lambda connection: {CRM: world.crm, BOOKS: world.books}[connection.id],
            clock=world.clock,
        )
        found = {step.step: step for step in tie_out.compare(TENANT, "deals-to-invoices", progress=lambda *_: None)}

        assert found["estimates"].ties_out
        assert found["estimates"].totals["USD"].target == 1054


def test_a_plan_says_what_would_be_written_and_writes_nothing(world):
    preview = Preview(
        config=world.state,
        links=world.state,
        connect=lambda connection: {CRM: world.crm, BOOKS: world.books}[connection.id],
        clock=world.clock,
    )
    report = preview.preview(TENANT, "deals-to-invoices", progress=lambda *_: None)

    assert {(write.step, write.operation) for write in report.writes} == {
        (step, Operation.CREATE) for step in ("customers", "items", "estimates", "projects", "hours", "expenses")
    }
    (estimate,) = [write for write in report.writes if write.step == "estimates"]
    assert (estimate.amount, estimate.currency) == (Decimal(1054), "USD")
    assert world.books.records == {}


@pytest.mark.parametrize(
    ("kind", "record_id", "said"),
    [
        (Kind.TIME_ENTRY, "h1", "Delete the time entry"),
        (Kind.EXPENSE, "e1", "Delete the expense"),
        (Kind.PROJECT, "j1", "Make the project inactive"),
        (Kind.DEAL, "d1", "Mark the estimate as declined"),
    ],
)
def test_what_is_left_behind_is_named_with_what_to_do(world, kind, record_id, said):
    world.apply(record_id, kind=kind)
    del world.crm.records[kind, record_id]
    for _ in range(5):
        world.apply(record_id, kind=kind)
        world.settle_down()

    (parked,) = world.unsynced()
    assert parked.next_step.startswith(said)


def test_an_estimate_is_a_sales_document_with_a_total():
    line = Line(item="1", amount=Decimal("0.10"))
    estimate = Estimate(customer="1", date=DAY, currency="USD", lines=(line, line))

    assert isinstance(estimate, SalesDocument)
    assert estimate.expected_total() == Decimal("0.20")
