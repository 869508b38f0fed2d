"""Workers that meet, each shown with the fewest steps; the simulation found them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.engine.world import World
from tieout.domain.records import Kind


@pytest.fixture
def world() -> World:
    return World()


def test_record_read_before_another_worker_wrote_a_newer_one_does_not_replace_it(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    other: list[str] = []
    real = world.crm.read

    def read(kind, ids):
        found = real(kind, ids)
        if kind is Kind.DEAL and not other:  # we have read 1200; now the deal is edited and another worker is faster
            other.append("once")
            world.deal("d1", "1500")
            world.new_worker().apply(world.change(Kind.DEAL, "d1"))
        return found

    world.crm.read = read
    world.apply("d1")
    world.settle_down()

    assert [invoice.fields["total"] for invoice in world.invoices()] == [Decimal(1500)]
