"""The change feed: nothing is lost and nothing is repeated for ever, however many edits share a time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.connectors.act.conftest import World
from tieout.connectors.act import connector as module
from tieout.domain.errors import UnavailableError
from tieout.domain.records import Kind
from tieout.ports.http import Answer, Request

PAGES_MAX = 200


def follow(world: World, cursor: str | None) -> tuple[list[tuple[str, str]], str]:
    """Ids and versions up to the end of the feed, and the cursor there."""
    seen: list[tuple[str, str]] = []
    for _ in range(PAGES_MAX):
        page = world.connector.changes(Kind.PRODUCT, cursor)
        seen += [(record.id, record.version) for record in page.records]
        cursor = page.cursor
        if not page.more:
            return seen, cursor
    raise AssertionError("the feed has no end")


def stored(world: World) -> set[tuple[str, str]]:
    return {(row["id"], row["edited"]) for row in world.state.tables["products"].values()}


moves = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 7)),
        st.tuples(st.just("edit"), st.integers(0, 30)),
        st.tuples(st.just("delete"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(1, 90)),
        st.tuples(st.just("page"), st.just(0)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(moves=moves, top_max=st.integers(1, 5))
def test_every_change_is_seen_whatever_happens_between_two_pages(moves, top_max):
    """The server gives at most `top_max` records a page, so page ends fall inside runs of equal times.

    Ids are random, so half of the edits at the time of a page's end stand before it, where the feed has already been.
    """
    world = World(top_max=top_max, connection={"overlap_minutes": 1})
    cursor: str | None = None
    seen: set[tuple[str, str]] = set()
    for move, number in moves:
        ids = list(world.state.tables["products"])
        match move:
            case "add":
                for _ in range(number):
                    world.add("products", name="Part")
            case "edit" if ids:
                world.state.patch("products", ids[number % len(ids)], {"price": number})
            case "delete" if ids:
                world.state.delete("products", ids[number % len(ids)])
            case "wait":
                world.clock.advance(number)
            case "page":
                page = world.connector.changes(Kind.PRODUCT, cursor)
                assert len(page.records) <= top_max
                seen |= {(record.id, record.version) for record in page.records}
                cursor = page.cursor
    rest, cursor = follow(world, cursor)
    again, cursor = follow(world, cursor)
    assert stored(world) <= seen | set(rest) | set(again)
    world.clock.advance(120)
    _, cursor = follow(world, cursor)
    assert follow(world, cursor) == ([], cursor), "a feed at rest is quiet"


@pytest.mark.parametrize("page_size", [1, 2, 3, 7])
def test_equal_times_are_paged_without_loss_or_repeat(monkeypatch, page_size):
    monkeypatch.setattr(module, "PAGE_SIZE", page_size)
    world = World(connection={"overlap_minutes": 1})
    for _ in range(3):
        for _ in range(7):
            world.add("products", name="Part")
        world.clock.advance(61)
    seen, cursor = follow(world, None)
    assert len(seen) == 21
    assert set(seen) == stored(world)
    assert follow(world, cursor) == ([], cursor), "a feed at rest is quiet"


def test_the_overlap_finds_an_edit_that_becomes_visible_late():
    world = World(connection={"overlap_minutes": 10})
    world.add("products", name="Early")
    world.clock.advance(300)
    late = world.add("products", name="Late")
    world.clock.advance(60)
    world.add("products", name="Now")
    hidden = world.state.tables["products"].pop(late)
    first, cursor = follow(world, None)
    assert len(first) == 2
    world.state.tables["products"][late] = hidden
    again, cursor = follow(world, cursor)
    assert late in {one for one, _ in again}
    world.clock.advance(3600)
    _, cursor = follow(world, cursor)
    assert follow(world, cursor)[0] == [], "what is older than the overlap is not read for ever"


def test_a_fraction_of_seven_digits_is_not_repeated():
    """Python's times have six: comparing with a shortened one would give the same record again and again."""
    world = World(connection={"overlap_minutes": 1})
    for number in range(3):
        one = world.add("products", name=f"Part {number}")
        world.state.tables["products"][one]["edited"] = "2026-03-01T08:00:00.1234567+00:00"
    seen, cursor = follow(world, None)
    assert len(seen) == 3
    assert ".1234567" in cursor


def test_a_feed_interrupted_among_fresh_edits_goes_back_to_them():
    """The page ended at the time of a fresh edit, and the rest is read an hour later, far beyond the overlap."""
    world = World(top_max=1, connection={"overlap_minutes": 5})
    first = world.add("products", name="First")
    page = world.connector.changes(Kind.PRODUCT, None)
    before = "00000000-0000-4000-8000-000000000000"
    row = world.state.tables["products"][first]
    world.state.tables["products"][before] = {**row, "id": before}
    world.clock.advance(3600)
    rest, cursor = follow(world, page.cursor)
    assert rest == [], "the new one stands before the end of the page"
    assert before in {one for one, _ in follow(world, cursor)[0]}


def test_a_list_that_does_not_advance_is_noticed(world):
    world.add("products", name="Part")
    world.clock.advance(3600)
    page = world.connector.changes(Kind.PRODUCT, None)

    def ignore_the_filter(request: Request) -> Answer:
        return world.http.deliver(
            Request(request.method, request.url.partition("?")[0], False, (), {}, request.headers)
        )

    world.http.meddle = ignore_the_filter
    with pytest.raises(UnavailableError, match="again and again"):
        world.connector.changes(Kind.PRODUCT, page.cursor)


def test_cursor_now_gives_what_changes_from_now_on():
    world = World(connection={"overlap_minutes": 1})
    empty = world.connector.cursor_now(Kind.PRODUCT)
    old = world.add("products", name="Old")
    assert [one for one, _ in follow(world, empty)[0]] == [old]
    world.clock.advance(3600)
    cursor = world.connector.cursor_now(Kind.PRODUCT)
    assert follow(world, cursor)[0] == []
    new = world.add("products", name="New")
    assert [one for one, _ in follow(world, cursor)[0]] == [new]


@pytest.mark.parametrize(
    "text", ["", "{}", "null", '{"edited": "x\' or 1 eq 1", "id": null}', '{"edited": 5, "id": 1}']
)
def test_a_cursor_of_somebody_else_is_refused(world, text):
    with pytest.raises(UnavailableError, match="cursor"):
        world.connector.changes(Kind.PRODUCT, text)


def test_deals_in_the_feed_come_without_lines(world):
    world.add("opportunities", name="Deal")
    (record,) = world.connector.changes(Kind.DEAL, None).records
    assert "lines" not in record.fields


def test_ids_are_all_there_even_if_the_server_gives_less_than_asked_for():
    world = World(top_max=3)
    made = {world.add("products", name="Part") for _ in range(10)}
    found: list[str] = []
    after: str | None = None
    for _ in range(PAGES_MAX):
        page, after = world.connector.ids(Kind.PRODUCT, after)
        found += page
        if after is None:
            break
    assert len(found) == 10
    assert set(found) == made
