"""Tying out: each step counted and added up on both sides, and the records that differ by name."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.engine.test_around import connect
from tests.engine.world import TENANT, World
from tieout.domain.links import LinkKey, Withdrawal
from tieout.domain.records import Kind
from tieout.engine.tie_out import NAMED_MAX, StepTieOut, TieOut, Totals
from tieout.ports.connector import ChangePage

SYNC = "deals-to-invoices"


@pytest.fixture
def world() -> World:
    return World()


def compared(world: World, progress=lambda *_: None) -> dict[str, StepTieOut]:
    comparison = TieOut(config=world.state, links=world.state, connect=connect(world), clock=world.clock)
    return {one.step: one for one in comparison.compare(TENANT, SYNC, progress=progress)}


def won(world: World, count: int, amount: str = "10") -> list[str]:
    ids = [f"d{number:02}" for number in range(count)]
    for one in ids:
        world.deal(one, amount)
    world.apply(*ids)
    return ids


def test_steps_that_write_to_the_target_are_compared_in_order_with_progress_of_both_sides(world: World):
    won(world, 2)
    shown: list[tuple[str, int]] = []
    found = compared(world, lambda *one: shown.append(one))

    assert list(found) == ["customers", "items", "invoices"]
    assert shown == [
        ("customer", 1),
        ("company", 1),
        ("item", 1),
        ("product", 1),
        ("invoice", 2),
        ("deal", 2),
    ]
    assert found["customers"] == StepTieOut("customers", 1, 1)
    assert found["invoices"] == StepTieOut("invoices", 2, 2, {"USD": Totals(source=Decimal(20), target=Decimal(20))})


def test_at_most_twenty_are_named_but_all_are_counted(world: World):
    won(world, NAMED_MAX + 1)
    for one in world.invoices():
        world.books.put(Kind.INVOICE, one.id, total=Decimal(11))
    step = compared(world)["invoices"]
    assert (len(step.differing), step.target_count) == (20, 21)
    assert step.totals["USD"].difference == -21

    world.books.records = {name: one for name, one in world.books.records.items() if name[0] is not Kind.INVOICE}
    step = compared(world)["invoices"]
    assert (len(step.missing), step.source_count, step.target_count) == (20, 21, 0)
    assert step.totals["USD"] == Totals(source=Decimal(210), target=Decimal(0))


def test_a_voided_invoice_and_a_withdrawn_one_do_not_stand_for_their_deal(world: World):
    won(world, 3)
    world.books.put(Kind.INVOICE, world.invoices()[0].id, state="voided", total=Decimal(0))
    key = LinkKey(TENANT, SYNC, "invoices", "d01")
    world.state.links[key] = replace(world.state.links[key], withdrawn=Withdrawal.LEFT)
    step = compared(world)["invoices"]
    assert (step.missing, step.source_count, step.target_count) == (["d00", "d01"], 3, 1)
    assert not step.ties_out


def test_a_record_that_a_feed_shows_twice_counts_once_on_each_page(world: World):
    won(world, 2)
    real = world.crm.changes
    asked: list[str | None] = []

    def twice(kind: Kind, cursor: str | None) -> ChangePage:
        asked.append(cursor)
        page = real(kind, None)
        return replace(page, records=[*page.records, *page.records], cursor="next", more=cursor is None)

    world.crm.changes = twice  # type: ignore[method-assign]  # repeats itself
    step = compared(world)["invoices"]
    assert (step.source_count, step.ties_out) == (2, True)
    assert asked == [None, "next"] * 3


def test_a_feed_without_an_end_is_left_after_its_bound(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tieout.engine.tie_out.PAGES_MAX", 2)
    won(world, 1)
    real, asked = world.crm.changes, []

    def endless(kind: Kind, _: str | None) -> ChangePage:
        asked.append(kind)
        return replace(real(kind, None), more=True)

    world.crm.changes = endless  # type: ignore[method-assign]  # has no end
    assert compared(world)["invoices"].source_count == 1
    assert asked.count(Kind.DEAL) == 2


@pytest.mark.parametrize(
    ("step", "ties_out"),
    [
        (StepTieOut("s", 1, 1), True),
        (StepTieOut("s", 2, 1), False),
        (StepTieOut("s", 1, 1, duplicates=1), False),
        (StepTieOut("s", 1, 1, missing=["d1"]), False),
        (StepTieOut("s", 1, 1, differing=["d1"]), False),
        (StepTieOut("s", 1, 1, {"USD": Totals(Decimal(1), Decimal(1))}), True),
        (StepTieOut("s", 1, 1, {"USD": Totals(Decimal(1), Decimal(2)), "EUR": Totals()}), False),
    ],
)
def test_a_step_ties_out_if_nothing_at_all_is_apart(step: StepTieOut, ties_out: bool):
    assert step.ties_out is ties_out


def test_three_documents_of_one_record_are_two_too_many(world: World):
    won(world, 1)
    for copy in ("x", "y"):
        world.books.put(Kind.INVOICE, copy, **world.invoices()[0].fields)
    assert compared(world)["invoices"].duplicates == 2


def test_a_deal_that_was_never_written_is_missing_on_the_other_side(world: World):
    won(world, 1)
    world.deal("late", "5")
    step = compared(world)["invoices"]
    assert (step.missing, step.source_count, step.target_count, step.duplicates) == (["late"], 2, 1, 0)
    assert step.totals["USD"].difference == 5


def test_an_invoice_that_tells_no_currency_is_added_up_apart(world: World):
    won(world, 1)
    world.books.put(Kind.INVOICE, world.invoices()[0].id, currency=None)
    step = compared(world)["invoices"]
    assert step.totals == {"USD": Totals(source=Decimal(10)), "": Totals(target=Decimal(10))}
    assert step.differing == ["d00"]
