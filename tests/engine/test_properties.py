"""Whatever is lost, repeated, refused for a while or killed: one invoice a deal, equal to it, and nothing forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.world import Crash, World
from tieout.domain.changes import Change
from tieout.domain.effects import Effect
from tieout.domain.errors import ThrottledError, UnavailableError
from tieout.domain.records import Kind

FAULTS = ["ok", "ok", "ok", "lost", "vanished", "down", "throttled", "killed before", "killed after"]
DEALS = ["d0", "d1", "d2"]

edits = st.lists(st.tuples(st.sampled_from(DEALS), st.integers(1, 99_999)), min_size=1, max_size=6)


class Trouble:
    """Gives each write its fault from a list, and none once the list is used up."""

    def __init__(self, world: World, faults: Sequence[str]) -> None:
        self._faults = iter(faults)
        self._world = world
        world.books.fault = self.fault
        self._real = world.books.write
        world.books.write = self.write

    def fault(self, _: Effect) -> object:
        match next(self._faults, "ok"):
            case "lost":
                return "lost"
            case "vanished":
                return "vanished"
            case "down":
                return UnavailableError("down")
            case "throttled":
                return ThrottledError("slowly", retry_after_seconds=5)
            case _:
                return None

    def write(self, effects: Sequence[Effect]) -> object:
        fault = next(self._faults, "ok")
        if fault == "killed before":
            raise Crash
        outcomes = self._real(effects)
        if fault == "killed after":
            raise Crash
        return outcomes


def deliver(world: World, changes: Sequence[Change]) -> None:
    """Like the queue: what a killed worker had in its hands comes again."""
    for _ in range(40):
        try:
            world.new_worker().apply(changes)
        except Crash:
            world.clock.sleep(200)
        else:
            return
    raise AssertionError("the worker was killed more often than there were faults")


def settle(world: World) -> None:
    for _ in range(60):
        if not world.queue.later:
            return
        world.clock.time = max(due for due, _ in world.queue.later)
        changes = [change for _, change in world.queue.later]
        world.queue.later.clear()
        deliver(world, changes)
    raise AssertionError("it never comes to rest")


def amounts(world: World) -> Iterator[tuple[str, Decimal]]:
    for invoice in world.invoices():
        yield str(invoice.fields["number"]), invoice.fields["total"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits=edits, faults=st.lists(st.sampled_from(FAULTS), max_size=25), settle_between=st.booleans())
def test_one_invoice_a_deal_equal_to_it_and_nothing_forgotten(edits, faults, settle_between):
    world = World()
    Trouble(world, faults)
    wanted = {}
    for deal, amount in edits:
        world.deal(deal, str(amount))
        wanted[f"S{deal}"] = Decimal(amount)
        deliver(world, world.change(Kind.DEAL, deal, deal))
        world.clock.sleep(1)
        if settle_between:
            settle(world)
    settle(world)

    assert sorted(amounts(world)) == sorted(wanted.items())
    assert len(world.books.all(Kind.CUSTOMER)) == 1
    assert len(world.books.all(Kind.ITEM)) == 1
    assert world.unsynced() == []
    assert all(link.intent is None for link in world.state.links.values())


@settings(max_examples=100, deadline=None)
@given(order=st.permutations(DEALS * 3))
def test_repeats_in_any_order_cost_reads_only(order):
    world = World()
    for deal in DEALS:
        world.deal(deal)
    for deal in order:
        world.apply(deal)

    assert len(world.invoices()) == len(DEALS)
    assert world.books.calls["effect"] == len(DEALS) + 2
