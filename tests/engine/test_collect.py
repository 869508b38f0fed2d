"""Collecting: changes of one record become one, records are read in batches, names are looked up once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, permutations
from typing import Any

import pytest

from tests.engine.test_two_way import sync as two_way
from tests.engine.world import BOOKS, CRM, START, TENANT, FakeProvider, World
from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.errors import MappingError
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.engine import collect
from tieout.engine.collect import Names, coalesce, compiled, fold, further_right, kinds_heard
from tieout.engine.plan import Work
from tieout.mapping import CompiledStep, CompiledSync, LinkTo

SYNC = "deals-to-invoices"
SEEN = Change(TENANT, CRM, Kind.DEAL, "d1", START, Origin.POLL)
LEAST_TO_MOST = (
    Origin.POLL,
    Origin.WEBHOOK,
    Origin.SWEEP,
    Origin.BACKFILL,
    Origin.TARGET,
    Origin.DOUBT,
    Origin.RELINK,
    Origin.OPERATOR,
    Origin.APPROVED,
)


@pytest.fixture
def world() -> World:
    return World()


def sync_of(world: World) -> CompiledSync:
    (stored,) = world.state.syncs(TENANT)
    return compiled(stored)


def step_of(world: World, name: str) -> CompiledStep:
    return next(step for step in sync_of(world).steps if step.name == name)


# Changes of one record


def test_the_origin_that_asks_for_most_counts_in_whatever_order_they_come():
    assert set(LEAST_TO_MOST) == set(Origin)
    for less, more in pairwise(LEAST_TO_MOST):
        assert further_right(less, more) is further_right(more, less) is more
        for pair in permutations([replace(SEEN, origin=less), replace(SEEN, origin=more)]):
            assert [one.origin for one in coalesce(pair)] == [more]


@pytest.mark.parametrize(
    "other",
    [{"tenant": "globex"}, {"connection": BOOKS}, {"kind": Kind.COMPANY}, {"id": "d2"}, {"plan": "plan-1"}],
)
def test_changes_of_other_records_and_those_that_a_plan_asks_for_stay_apart(other: dict[str, Any]):
    assert coalesce([SEEN, replace(SEEN, **other)]) == [SEEN, replace(SEEN, **other)]


def test_it_is_tried_alone_only_if_all_of_them_were_to_be():
    alone = replace(SEEN, alone=True)
    assert coalesce([alone, alone]) == [alone]
    assert coalesce([alone, SEEN]) == coalesce([SEEN, alone]) == [SEEN]


def test_the_first_merge_that_was_told_counts():
    one, other = replace(SEEN, merged_into="m1"), replace(SEEN, merged_into="m2")
    assert [change.merged_into for change in coalesce([one, other])] == ["m1"]
    assert [change.merged_into for change in coalesce([SEEN, other])] == ["m2"]


# Which steps concern a connection


def test_steps_are_those_that_read_from_the_connection(world: World):
    sync = sync_of(world)
    assert [step.name for step in collect.steps_of(sync, CRM)] == ["customers", "items", "invoices"]
    assert [step.name for step in collect.steps_of(sync, BOOKS)] == ["payments"]
    assert list(collect.steps_of(sync, "nowhere")) == []
    assert [collect.connection_read(sync, step) for step in sync.steps] == [CRM, CRM, CRM, BOOKS]
    assert [collect.connection_written(sync, step) for step in sync.steps] == [BOOKS, BOOKS, BOOKS, CRM]


def test_kinds_are_heard_that_a_step_reads_or_listens_to_each_once(world: World):
    assert kinds_heard(sync_of(world), CRM) == [Kind.COMPANY, Kind.CONTACT, Kind.PRODUCT, Kind.DEAL]
    assert kinds_heard(sync_of(world), BOOKS) == [Kind.INVOICE, Kind.PAYMENT]


def test_a_two_way_step_is_heard_on_both_sides():
    sync = sync_of(World(two_way()))
    (back,) = collect.steps_back(sync, BOOKS)
    assert back.name == "customers"
    assert list(collect.steps_back(sync, CRM)) == []
    assert Kind.CUSTOMER in kinds_heard(sync, BOOKS)
    assert Kind.CUSTOMER not in kinds_heard(sync, CRM)

    link = Link(LinkKey(TENANT, sync.name, "customers", "c1"), target_id="77")
    heard = Change(TENANT, BOOKS, Kind.CUSTOMER, "77", START, Origin.WEBHOOK, merged_into="78")
    assert collect.brought_back(sync, back, link, heard) == replace(
        heard, connection=CRM, kind=Kind.COMPANY, id="c1", origin=Origin.TARGET
    )
    asked = collect.brought_back(sync, back, link, replace(heard, origin=Origin.OPERATOR))
    assert asked.origin is Origin.OPERATOR

    work = Work(sync, back, link.key, SEEN, None, link)
    assert (collect.connection_of(work, Side.TARGET), collect.kind_of(work, Side.TARGET)) == (BOOKS, Kind.CUSTOMER)
    assert (collect.connection_of(work, Side.SOURCE), collect.kind_of(work, Side.SOURCE)) == (CRM, Kind.COMPANY)


def test_changes_are_grouped_by_tenant_and_connection_in_their_order():
    other = replace(SEEN, tenant="globex")
    books = replace(SEEN, connection=BOOKS)
    second = replace(SEEN, id="d2")
    assert list(collect.by_connection([SEEN, other, books, second]).items()) == [
        ((TENANT, CRM), [SEEN, second]),
        (("globex", CRM), [other]),
        ((TENANT, BOOKS), [books]),
    ]


# Reading


def batches(provider: FakeProvider, name: str, argument: int) -> list[Sequence[str]]:
    """What is asked for in each call, from now on."""
    asked: list[Sequence[str]] = []
    real = getattr(provider, name)

    def listened(*arguments: Any) -> Any:
        asked.append(tuple(arguments[argument]))
        return real(*arguments)

    setattr(provider, name, listened)
    return asked


def test_records_are_read_in_batches_and_what_is_gone_is_absent(world: World):
    object.__setattr__(world.crm.manifest, "read_batch_max", 2)
    for one in ("d1", "d2", "d3"):
        world.deal(one)
    asked = batches(world.crm, "read", 1)
    found = collect.read_all(world.crm, Kind.DEAL, ["d1", "gone", "d3"])
    assert asked == [("d1", "gone"), ("d3",)]
    assert found == {one: world.crm.records[Kind.DEAL, one] for one in ("d1", "d3")}


def test_work_has_its_record_and_its_link_if_there_are_any(world: World):
    sync, step = sync_of(world), step_of(world, "invoices")
    key = LinkKey(TENANT, SYNC, "invoices", "d1")
    world.state.links[key] = Link(key, target_id="77", revision=3)
    changes = world.change(Kind.DEAL, "d1", "d2")
    record = Record(Kind.DEAL, "d2")
    links = collect.links_of(sync, step, changes, world.state)
    assert links == {key: world.state.links[key]}

    first, second = collect.works_of(sync, step, changes, {"d2": record}, links)
    assert (first.key, first.change, first.record, first.link) == (key, changes[0], None, links[key])
    other = LinkKey(TENANT, SYNC, "invoices", "d2")
    assert (second.key, second.record, second.link) == (other, record, Link(other))


def test_a_change_of_a_kind_that_is_listened_to_concerns_the_records_that_it_names(world: World):
    step = step_of(world, "customers")
    contacts = world.change(Kind.CONTACT, "k1", "k2", "k3")
    records = {
        "k1": Record(Kind.CONTACT, "k1", fields={"company_id": "c1"}),
        "k2": Record(Kind.CONTACT, "k2", fields={"company_id": None}),
    }
    assert collect.concerned(step, contacts, records) == [replace(contacts[0], kind=Kind.COMPANY, id="c1")]


# Names


def named(value: str) -> LinkTo:
    return LinkTo("items", "name", value, "invoices.fields.lines.item", "lines[0].name", Kind.PRODUCT, Kind.ITEM)


def product(world: World, record_id: str, name: str | None) -> Record:
    return world.crm.put(Kind.PRODUCT, record_id, name=name)


def test_names_are_asked_for_in_batches_of_a_hundred_and_each_once(world: World):
    for number in range(150):
        product(world, f"q{number}", f"Product {number}")
    asked = batches(world.crm, "search", 2)
    names = Names(world.crm)
    names.look_up(Kind.PRODUCT, "name", [f"Product {number}" for number in range(150)] + ["Product 7"])
    names.look_up(Kind.PRODUCT, "name", ["PRODUCT  3", "unheard-of"])
    names.look_up(Kind.PRODUCT, "name", ["unheard-of"])

    assert [len(chunk) for chunk in asked] == [100, 50, 1]
    assert names.record(Kind.PRODUCT, named("product  7")).id == "q7"
    assert names.record(Kind.PRODUCT, named("Product 149")).id == "q149"


@pytest.mark.parametrize("spellings", list(permutations(["GTX  Prime", "GTX Prime", "gtx prime"])))
def test_a_name_that_one_record_spells_badly_is_found_for_those_that_spell_it_well(world: World, spellings):
    product(world, "q1", "GTX Prime")
    names = Names(world.crm)
    for together in (spellings[:2], spellings[2:]):
        names.look_up(Kind.PRODUCT, "name", together)
    assert {names.record(Kind.PRODUCT, named(value)).id for value in spellings} == {"q1"}


def test_the_same_name_in_another_field_or_kind_is_another_question(world: World):
    names = Names(world.crm)
    product(world, "q1", "Twin")
    world.crm.put(Kind.PRODUCT, "q2", name="Other", sku="Twin")
    names.look_up(Kind.PRODUCT, "name", ["Twin"])
    names.look_up(Kind.PRODUCT, "sku", ["Twin"])
    names.look_up(Kind.COMPANY, "name", ["Acme Corporation"])
    assert names.record(Kind.PRODUCT, named("twin")).id == "q1"
    assert names.record(Kind.PRODUCT, replace(named("twin"), by="sku")).id == "q2"
    assert names.record(Kind.COMPANY, named("acme corporation")).id == "c1"


def test_a_name_that_nobody_has_is_told_with_the_closest_and_the_known_are_asked_for_once(world: World):
    product(world, "q1", None)
    names = Names(world.crm)
    names.look_up(Kind.PRODUCT, "name", ["GTX Prro", "GTX Proo"])
    for value in ("GTX Prro", "GTX Proo"):
        with pytest.raises(MappingError) as raised:
            names.record(Kind.PRODUCT, named(value))
        assert value in raised.value.message
        assert "GTX Pro" in raised.value.message + raised.value.next_step
    assert world.crm.calls["changes"] == 1


def test_a_name_that_two_have_is_told_with_the_field_and_how_many(world: World):
    product(world, "q1", "Twin")
    product(world, "q2", "twin")
    names = Names(world.crm)
    names.look_up(Kind.PRODUCT, "name", ["Twin"])
    with pytest.raises(MappingError) as raised:
        names.record(Kind.PRODUCT, named("Twin"))
    error = raised.value
    assert error.message.startswith('2 records of the kind product have the name "Twin"')
    assert (error.rule, error.path, error.value) == ("invoices.fields.lines.item", "lines[0].name", "Twin")
    assert error.next_step


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("GTX Pro", " gtx\t pro\n", True), ("STRASSE", "straße", True), ("GTX Pro", "GTXPro", False)],
)
def test_names_are_equal_but_for_case_and_white_space(one: str, other: str, same: bool):
    assert (fold(one) == fold(other)) is same


def test_a_sync_is_compiled_once_a_version_and_knows_it(world: World):
    (stored,) = world.state.syncs(TENANT)
    assert compiled(stored) is compiled(replace(stored))
    later = compiled(replace(stored, version=8))
    assert (compiled(stored).version, later.version) == (1, 8)


def test_a_change_is_live_and_oldest():
    backfill = replace(SEEN, lane=Lane.BACKFILL, seen_at=START - timedelta(hours=1))
    assert coalesce([backfill, SEEN]) == [replace(SEEN, seen_at=START - timedelta(hours=1), origin=Origin.POLL)]
