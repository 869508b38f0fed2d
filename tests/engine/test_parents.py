"""Sub-customers: a company's parent is written before it, and its id stands in the sub-customer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.world import BOOKS, CRM, TENANT, World
from tieout.domain.changes import Origin
from tieout.domain.errors import NotFoundError
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind
from tieout.engine.parents import LEVELS_MAX
from tieout.engine.stored_plans import StoredPlans
from tieout.mapping import preset

SYNC = preset("act-quickbooks_online").replace(
    "      name: {path: name, required: true",
    "      parent: {path: parent_id, link: customers}\n      name: {path: name, required: true",
    1,
)


def key(record_id: str) -> LinkKey:
    return LinkKey(TENANT, "deals-to-invoices", "customers", record_id)


@pytest.fixture
def world() -> World:
    assert "parent: {path: parent_id" in SYNC
    return World(SYNC)


def company(world: World, record_id: str, parent: str | None = None) -> None:
    world.company(record_id, f"Company {record_id}")
    world.crm.put(Kind.COMPANY, record_id, parent_id=parent)


def chain(world: World, length: int) -> list[str]:
    """Companies, each the parent of the next one; the last one's id comes last."""
    ids = [f"k{number}" for number in range(length)]
    for above, one in zip([None, *ids], ids, strict=False):
        company(world, one, above)
    return ids


def target(world: World, record_id: str) -> str | None:
    link = world.state.links.get(key(record_id))
    return link.target_id if link is not None else None


def parents(world: World) -> dict[str, Any]:
    """By name, whose sub-customer each customer is."""
    names = {record.id: record.fields["name"] for record in world.books.all(Kind.CUSTOMER)}
    return {
        str(record.fields["name"]): names.get(str(record.fields.get("parent")))
        for record in world.books.all(Kind.CUSTOMER)
    }


def test_a_parent_that_is_not_in_the_batch_is_written_before_its_sub_customer(world: World):
    company(world, "a")
    company(world, "b", "a")
    report = world.apply("b", kind=Kind.COMPANY)
    assert report.created == 2
    assert parents(world) == {"Company a": None, "Company b": "Company a"}


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_a_batch_in_any_order_is_written_level_by_level(world: World, order: tuple[str, ...]):
    company(world, "a")
    company(world, "b", "a")
    company(world, "c", "b")
    world.apply(*order, kind=Kind.COMPANY)
    assert parents(world) == {"Company a": None, "Company b": "Company a", "Company c": "Company b"}
    assert world.books.calls["write"] == 3


def test_companies_of_one_level_go_in_one_batch(world: World):
    company(world, "a")
    for one in ("b", "c", "d"):
        company(world, one, "a")
    world.apply("b", "c", "d", kind=Kind.COMPANY)
    assert world.books.calls["write"] == 2


def test_an_invoice_brings_the_whole_line_of_its_customer(world: World):
    *_, last = chain(world, 3)
    world.deal("d1", company=last)
    world.apply("d1")
    assert [invoice.fields["customer"] for invoice in world.invoices()] == [target(world, last)]
    assert parents(world)["Company k2"] == "Company k1"


def test_another_parent_is_an_update(world: World):
    for one in ("a", "b"):
        company(world, one)
    company(world, "c", "a")
    world.apply("c", kind=Kind.COMPANY)
    company(world, "c", "b")
    report = world.apply("c", kind=Kind.COMPANY)
    assert (report.created, report.updated) == (1, 1)
    assert parents(world)["Company c"] == "Company b"


def test_a_company_that_belongs_to_none_any_more_is_on_top(world: World):
    company(world, "a")
    company(world, "c", "a")
    world.apply("c", kind=Kind.COMPANY)
    company(world, "c", None)
    world.apply("c", kind=Kind.COMPANY)
    assert parents(world) == {"Company a": None, "Company c": None}


def test_as_many_levels_as_the_books_take_are_written(world: World):
    *_, last = chain(world, LEVELS_MAX)
    assert world.apply(last, kind=Kind.COMPANY).created == LEVELS_MAX
    assert world.unsynced() == []


@pytest.mark.parametrize("more", [1, 2, 4])
@pytest.mark.parametrize("whole", [True, False])
def test_more_levels_are_parked(world: World, more: int, *, whole: bool):
    ids = chain(world, LEVELS_MAX + more)
    world.apply(*(ids if whole else ids[-1:]), kind=Kind.COMPANY)
    world.settle_down()
    parked = world.unsynced()
    assert "more than 5 levels" in parked[0].reason
    assert target(world, ids[-1]) is None
    assert {one.cause for one in parked} == {"too-deep-customers"}


@pytest.mark.parametrize("circle", ["a", "ab", "abc"])
def test_a_company_above_itself_is_parked_and_those_below_it_wait(world: World, circle: str):
    for one, above in zip(circle, circle[1:] + circle[:1], strict=True):
        company(world, one, above)
    company(world, "z", "a")
    world.apply("z", kind=Kind.COMPANY)
    assert {one.change.id for one in world.unsynced()} == {*circle, "z"}
    assert {one.cause for one in world.unsynced()} == {"own-parent-customers"}
    assert "belongs to a company that belongs to it in turn" in world.unsynced()[0].reason
    assert world.books.all(Kind.CUSTOMER) == []

    company(world, "a")
    retry = [replace(one.change, origin=Origin.OPERATOR) for one in world.unsynced()]
    world.new_worker().apply(retry)
    assert world.unsynced() == []
    assert len(world.books.all(Kind.CUSTOMER)) == len(circle) + 1


def test_a_parent_that_the_source_does_not_have_parks_the_company(world: World):
    company(world, "b", "gone")
    world.apply("b", kind=Kind.COMPANY)
    (parked,) = world.unsynced()
    assert 'company "gone" that the record names is gone' in parked.reason


def test_a_parent_that_is_inactive_in_the_books_is_looked_at(world: World):
    company(world, "a")
    world.apply("a", kind=Kind.COMPANY)
    world.books.put(Kind.CUSTOMER, str(target(world, "a")), active=False)
    world.books.fault = lambda effect: (
        NotFoundError("No such active record.", code="610") if getattr(effect.document, "parent", None) else None
    )
    company(world, "b", "a")
    world.apply("b", kind=Kind.COMPANY)
    world.settle_down()
    assert {(one.change.id, one.cause) for one in world.unsynced()} == {
        ("a", "target-gone-customers"),
        ("b", "target-gone-customers"),
    }


def test_a_lost_answer_to_the_parents_write_leaves_one_of_each(world: World):
    company(world, "a")
    company(world, "b", "a")
    world.books.fault = lambda effect: "lost" if effect.document.as_fields().get("name") == "Company a" else None
    world.apply("b", kind=Kind.COMPANY)
    world.books.fault = lambda _: None
    world.settle_down()
    assert parents(world) == {"Company a": None, "Company b": "Company a"}


def test_a_sub_customer_of_another_is_not_adopted_without_a_person(world: World):
    company(world, "a")
    company(world, "b", "a")
    world.books.put(Kind.CUSTOMER, "70", name="Other")
    world.books.put(Kind.CUSTOMER, "77", name="Company b", email="ada@acme.example", parent="70")
    world.books.looks_similar = lambda document, record: document.as_fields()["name"] == record.fields["name"]
    world.apply("b", kind=Kind.COMPANY)
    (parked,) = world.unsynced()
    assert parked.review is not None
    (candidate,) = parked.review.candidates
    assert "sub-customer of another one" in candidate.reasons


def test_a_sub_customer_of_the_same_parent_is_adopted(world: World):
    company(world, "a")
    world.apply("a", kind=Kind.COMPANY)
    world.books.put(Kind.CUSTOMER, "77", name="Company b", email="ada@acme.example", parent=target(world, "a"))
    world.books.looks_similar = lambda document, record: document.as_fields()["name"] == record.fields["name"]
    company(world, "b", "a")
    assert world.apply("b", kind=Kind.COMPANY).adopted == 1
    assert target(world, "b") == "77"


# With everything else that a step can do


def test_in_a_two_way_step_the_parent_goes_one_way():
    world = World(SYNC.replace("    to: customer\n", "    to: customer\n    two_way: source\n", 1))
    for one in ("a", "b"):
        company(world, one)
    company(world, "c", "a")
    world.apply("c", "b", kind=Kind.COMPANY)
    world.settle_down()
    world.books.put(Kind.CUSTOMER, str(target(world, "c")), parent=None)
    world.apply(str(target(world, "c")), kind=Kind.CUSTOMER, connection=BOOKS)
    world.settle_down()
    assert (parents(world)["Company c"], world.crm.records[Kind.COMPANY, "c"].fields["parent_id"]) == (None, "a")

    company(world, "c", "b")
    world.apply("c", kind=Kind.COMPANY)
    world.settle_down()
    assert (parents(world)["Company c"], world.unsynced()) == ("Company b", [])


def test_a_stored_plan_of_a_parent_and_its_sub_customer_is_applied_as_it_stands(world: World):
    company(world, "a")
    company(world, "b", "a")
    plans = StoredPlans(
        config=world.state,
        links=world.state,
        plans=world.plans,
        queue=world.queue,
        connect=lambda connection: {CRM: world.crm, BOOKS: world.books}[connection.id],
        clock=world.clock,
    )
    report = plans.preview(TENANT, "deals-to-invoices", progress=lambda _kind, _count: None, ids=["b"])
    plan = plans.keep(TENANT, "deals-to-invoices", report, by="kim")
    assert plan.counts["customers"] == {"create": 2}
    assert world.books.all(Kind.CUSTOMER) == []

    plans.begin(plan, plans.writes(plan), by="lee")
    world.new_worker().apply(world.queue.now)
    world.settle_down()
    assert parents(world) == {"Company a": None, "Company b": "Company a"}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_history_of_families_ends_with_the_parents_of_the_source(data: st.DataObject):
    """Answers are lost, hints come late, companies get other parents: of each there is one, below the right one."""
    world = World(SYNC)
    ids = ["a", "b", "c", "d", "e"]
    above: dict[str, str | None] = {}
    for _ in range(data.draw(st.integers(1, 4))):
        for number, one in enumerate(ids):
            above[one] = data.draw(st.sampled_from([None, *ids[:number]]))
            company(world, one, above[one])
        lost = data.draw(st.sets(st.sampled_from(ids)))
        tried: set[str] = set()

        def fault(effect: Any, lost: set[str] = lost, tried: set[str] = tried) -> str | None:
            name = str(effect.document.as_fields().get("name", "")).removeprefix("Company ")
            if name in lost - tried:
                tried.add(name)
                return "lost"
            return None

        world.books.fault = fault
        hinted = data.draw(st.lists(st.sampled_from(ids), min_size=1))
        world.new_worker().apply(world.change(Kind.COMPANY, *hinted))
        world.settle_down()
    world.books.fault = lambda _: None
    world.new_worker().apply(world.change(Kind.COMPANY, *ids))
    world.settle_down()

    assert world.unsynced() == []
    assert parents(world) == {
        f"Company {one}": f"Company {above[one]}" if above[one] is not None else None for one in ids
    }
