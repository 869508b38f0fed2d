"""The merge of both sides, field by field: pure, so any mixture of values can be tried."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.test_two_way import sync
from tests.engine.world import CRM, START, TENANT
from tieout.domain.changes import Change, Origin, Unsynced, UnsyncedState
from tieout.domain.effects import Operation
from tieout.domain.links import Intent, IntentState, Link, LinkKey, Turns
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.engine.merge import (
    Merged,
    agreed_on,
    agreement,
    at,
    is_changed,
    is_second_half,
    merge,
    put,
    shown_otherwise,
    turned,
    turns_of,
)
from tieout.engine.plan import Work, same
from tieout.mapping import ABSENT, compile_sync

PATHS = ("name", "phone", "address.city", "address.line1")
VALUES = st.sampled_from([None, "", "a", "b", " b ", "c", "A"])
GONE = st.sampled_from([None, "", "a", "b", " b ", "c", "A", ABSENT])


def documents(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    def built(found: tuple[Any, ...]) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for path, value in zip(PATHS, found, strict=True):
            document = put(document, path, value)
        return document

    return st.tuples(*[values] * len(PATHS)).map(built)


def merged(source: Any, base: Any, target: Any, *, winner: Side | None = None, **more: Any) -> Merged:
    return merge(
        PATHS, source=source, base=base, shown=more.pop("shown", {}), target=target, winner=lambda _: winner, **more
    )


def written(result: Merged, source: dict[str, Any], base: dict[str, Any], target: dict[str, Any]) -> tuple[Any, ...]:
    """Both sides, base and shown after all writes were done just as they were planned."""
    here, there = source, target
    for path in result.to_target:
        there = put(there, path, at(source, path))
    for path in result.to_source:
        here = put(here, path, at(target, path))
    agreed = agreement(here, base, result.conflicts)
    return here, there, agreed, shown_otherwise([*result.agreed, *result.to_source], agreed, target, {})


def same_at(path: str, one: Any, other: Any) -> bool:
    here, there = at(one, path), at(other, path)
    return same(None if here is ABSENT else here, None if there is ABSENT else there)


@given(documents(VALUES), documents(GONE), documents(GONE), st.sampled_from([None, *Side]))
def test_merging_twice_changes_nothing(source, base, target, winner):
    first = merged(source, base, target, winner=winner)
    here, there, agreed, shown = written(first, source, base, target)
    again = merged(here, agreed, there, winner=winner, shown=shown)
    assert again.to_target == again.to_source == []
    assert again.conflicts == first.conflicts


@given(documents(VALUES), documents(VALUES), documents(VALUES))
def test_each_sides_own_change_survives(source, base, target):
    here, there, _, _ = written(merged(source, base, target), source, base, target)
    for path in PATHS:
        if same_at(path, target, base):
            assert same_at(path, there, source)
        elif same_at(path, source, base):
            assert same_at(path, here, target)
        else:
            assert same_at(path, here, source)
            assert same_at(path, there, target)


@given(documents(VALUES), documents(VALUES), documents(VALUES))
def test_both_sides_are_alike(source, base, target):
    one, other = merged(source, base, target), merged(target, base, source)
    assert one.to_source == other.to_target
    assert one.to_target == other.to_source
    assert one.conflicts == other.conflicts


@given(documents(VALUES), documents(VALUES), documents(VALUES), st.sampled_from(list(Side)))
def test_with_a_policy_both_sides_agree_in_the_end(source, base, target, winner):
    result = merged(source, base, target, winner=winner)
    here, there, _, _ = written(result, source, base, target)
    assert result.conflicts == []
    assert all(same_at(path, here, there) for path in PATHS)


@given(documents(VALUES), documents(GONE), documents(GONE))
def test_nothing_is_overwritten_that_only_the_other_side_changed(source, base, target):
    result = merged(source, base, target, winner=Side.SOURCE)
    for path in result.to_target:
        assert not same_at(path, source, base)
    for path in result.to_source:
        assert is_changed(path, base, {}, target)
        assert same_at(path, source, base)


@given(documents(VALUES), documents(GONE), documents(GONE))
def test_a_field_that_goes_one_way_never_comes_back(source, base, target):
    for winner in (None, *Side):
        assert merged(source, base, target, winner=winner, left=frozenset(PATHS)).to_source == []


@given(documents(VALUES), documents(GONE), documents(GONE), st.sampled_from(list(Side)))
def test_what_a_person_said_ends_every_conflict(source, base, target, side):
    asked = merged(source, base, target, stuck=frozenset(PATHS))
    assert asked.to_source == []
    result = merged(source, base, target, stuck=frozenset(PATHS), decided=dict.fromkeys(asked.conflicts, side))
    assert result.conflicts == []
    assert set(asked.conflicts) <= {*result.to_target, *result.agreed}
    here, there, agreed, shown = written(result, source, base, target)
    assert merged(here, agreed, there, shown=shown).conflicts == []


@pytest.mark.parametrize("winner", [None, *Side])
def test_a_field_that_the_source_does_not_have_is_left_alone(winner):
    base = {"name": "a", "phone": "1"}
    result = merged({"name": "a"}, base, {"name": "a", "phone": "2"}, winner=winner)
    assert result == Merged(agreed=["name"])


def test_the_fields_after_one_that_the_source_does_not_have_are_merged():
    result = merged({"phone": "2", "address": {"line1": "b"}}, {"name": "a", "phone": "1"}, {"name": "c", "phone": "1"})
    assert result == Merged(to_target=["phone", "address.line1"])


def test_a_field_that_the_target_does_not_show_is_unchanged():
    result = merged({"name": "a", "phone": "1"}, {"name": "a", "phone": "1"}, {"name": "a"})
    assert result == Merged(agreed=["name"])
    assert merged({"phone": "2"}, {"phone": "1"}, {}).to_target == ["phone"]


def test_what_is_shown_otherwise_is_no_change_until_it_changes():
    source = base = {"phone": "+16505550123"}
    shown = {"phone": "(650) 555-0123"}
    assert merged(source, base, {"phone": "(650) 555-0123"}, shown=shown) == Merged()
    assert merged(source, base, {"phone": "(650) 555-0199"}, shown=shown).to_source == ["phone"]
    assert merged({"phone": "+1"}, base, {"phone": "(650) 555-0123"}, shown=shown).to_target == ["phone"]


def test_put_and_at_know_absent_null_and_groups():
    assert at({"address": None}, "address.city") is None
    assert at({}, "address.city") is ABSENT
    assert put({"address": None}, "address.city", "x") == {"address": {"city": "x"}}
    assert put({"address": None}, "address.city", ABSENT) == {"address": None}
    assert put({"address": {"city": "x", "line1": "y"}}, "address.city", ABSENT) == {"address": {"line1": "y"}}
    assert put({"name": "x"}, "name", ABSENT) == {}
    assert put({}, "name", ABSENT) == {}


def test_text_where_a_group_should_be_has_no_parts_and_gives_way_to_one():
    assert at({"address": "1 Main St"}, "address.city") is ABSENT
    assert put({"address": "1 Main St"}, "address.city", "x") == {"address": {"city": "x"}}
    assert put({"address": "1 Main St"}, "address.city", ABSENT) == {"address": "1 Main St"}


# Cases by name


@pytest.mark.parametrize(
    ("source", "base", "target", "becomes"),
    [
        ("a", "a", "a", Merged(agreed=["name"])),
        ("b", "a", "a", Merged(to_target=["name"])),
        ("a", "a", "b", Merged(to_source=["name"])),
        ("b", "a", "b", Merged(agreed=["name"])),
        ("b", "a", "c", Merged(conflicts=["name"])),
        (None, "a", "a", Merged(to_target=["name"])),
        ("a", "a", None, Merged(to_source=["name"])),
        (None, "a", "", Merged(agreed=["name"])),
    ],
)
def test_what_becomes_of_a_field(source, base, target, becomes):
    assert merged({"name": source}, {"name": base}, {"name": target}) == becomes


@pytest.mark.parametrize(("winner", "goes"), [(Side.SOURCE, "to_target"), (Side.TARGET, "to_source")])
def test_a_policy_is_asked_only_where_both_sides_changed(winner, goes):
    source, base, target = ({"name": "b", "phone": "1"}, {"name": "a", "phone": "1"}, {"name": "c", "phone": "2"})
    asked: list[str] = []

    def wins(path: str) -> Side:
        asked.append(path)
        return winner

    result = merge(PATHS, source=source, base=base, shown={}, target=target, winner=wins)
    assert asked == ["name"]
    assert "name" in getattr(result, goes)
    assert "phone" in result.to_source


def test_a_value_that_cannot_go_back_is_asked_about_unless_the_source_counts():
    source, base, target = {"name": "b"}, {"name": "a"}, {"name": "c"}
    assert merged(source, base, target, winner=Side.TARGET, stuck={"name"}) == Merged(conflicts=["name"])
    assert merged(source, base, target, winner=Side.SOURCE, stuck={"name"}) == Merged(to_target=["name"])
    assert merged(base, base, target, stuck={"name"}) == Merged(conflicts=["name"])
    assert merged(base, base, target, stuck={"name"}, decided={"name": Side.TARGET}) == Merged(agreed=["name"])
    assert merged(base, base, target, stuck={"name"}, decided={"name": Side.SOURCE}) == Merged(to_target=["name"])


def test_a_field_that_only_goes_one_way_leaves_the_targets_own_change():
    source, base, target = {"name": "b"}, {"name": "a"}, {"name": "c"}
    assert merged(base, base, target, left={"name"}) == Merged()
    assert merged(source, base, target, left={"name"}) == Merged(conflicts=["name"])
    assert merged(source, base, target, left={"name"}, decided={"name": Side.TARGET}) == Merged(agreed=["name"])


def test_the_new_base_is_what_is_agreed_and_the_rest_as_it_stood():
    document, base = {"name": "b", "phone": "2", "email": "x"}, {"name": "a", "email": "y"}
    assert agreement(document, base, ["name", "phone"]) == {"name": "a", "email": "x"}
    assert agreement(document, base, []) == document


def test_what_is_shown_otherwise_is_remembered_anew_and_else_forgotten():
    agreed, target = {"name": "a", "phone": "1"}, {"name": "A", "phone": "1"}
    former = {"phone": "(1)", "email": "kept", "note": "gone"}
    assert shown_otherwise(["name", "phone", "note"], agreed, target, former) == {"name": "A", "email": "kept"}


# Turns


def test_a_side_that_overwrites_the_other_is_one_turn_more_and_twice_the_same_is_none():
    first = turned(None, Side.SOURCE, START)
    assert first == Turns(Side.SOURCE, 1, START)
    later = START + timedelta(seconds=5)
    assert turned(first, Side.SOURCE, later) == first
    assert turned(first, Side.TARGET, later) == Turns(Side.TARGET, 2, START)


@pytest.mark.parametrize(("seconds", "count"), [(3600, 4), (3601, 1)])
def test_turns_begin_anew_after_an_hour(seconds: int, count: int):
    now = START + timedelta(seconds=seconds)
    found = turned(Turns(Side.SOURCE, 3, START), Side.TARGET, now)
    assert found == Turns(Side.TARGET, count, START if count > 1 else now)


def test_the_second_half_of_a_merge_has_a_partner_and_no_hash_and_nothing_that_stops_it():
    half = Link(KEY, target_id="77")
    assert is_second_half(half)
    assert not is_second_half(Link(half.key))
    assert not is_second_half(Link(half.key, target_id="77", payload_hash="h"))
    waits = Unsynced("deals", "customers", CHANGE, UnsyncedState.WAITING, "Acme", "down", "Down.", START)
    assert not is_second_half(replace(half, unsynced=waits))


def test_a_row_of_turns_is_over_once_a_person_asks_for_the_write():
    link = replace(SETTLED, turns=ROW)
    assert turns_of(work(link)) == ROW
    assert turns_of(work(link, Origin.OPERATOR)) is None


# What both sides agree on once a write is done

KEY = LinkKey(TENANT, "deals-to-invoices", "customers", "c1")
CHANGE = Change(TENANT, CRM, Kind.COMPANY, "c1", START, Origin.POLL)
ROW = Turns(Side.SOURCE, 3, START)
LATER = START + timedelta(seconds=5)
SETTLED = Link(KEY, target_id="77", payload_hash="h", base={"name": "Acme", "phone": "1"})


def work(link: Link, origin: Origin = Origin.POLL) -> Work:
    compiled = compile_sync(sync())
    return Work(compiled, compiled.step("customers"), link.key, replace(CHANGE, origin=origin), None, link)


def intent(document: dict[str, Any], *, operation: Operation = Operation.UPDATE, **more: Any) -> Intent:
    return Intent("e", operation, "h", "1", IntentState.CLAIMED, "w", START, START, document, **more)


def customer(**fields: Any) -> Record:
    return Record(Kind.CUSTOMER, "77", "2", START, fields)


def test_after_the_first_write_the_targets_own_forms_are_known_and_nobody_overwrote_anybody():
    made = intent({"name": "Acme", "phone": "1"}, operation=Operation.CREATE)
    found = agreed_on(work(Link(KEY, turns=ROW)), made, customer(name="Acme", phone="(1)"), LATER, changed=False)
    assert found == Link(KEY, shown={"phone": "(1)"})


def test_what_somebody_wrote_since_is_no_form_of_the_target():
    made = intent({"name": "Acme", "phone": "1"}, operation=Operation.CREATE)
    assert agreed_on(work(Link(KEY)), made, customer(name="Acme", phone="2"), LATER, changed=True).shown is None


def test_only_of_what_was_agreed_anew_the_targets_form_is_learned():
    update = intent({"name": "Acme Inc", "phone": "1"}, shown={"email": "kept", "website": "a.example"})
    shows = customer(name="ACME INC", phone="2", email="other", website="b.example")
    found = agreed_on(work(SETTLED), update, shows, LATER, changed=False)
    assert found.shown == {"name": "ACME INC", "email": "kept", "website": "a.example"}


def test_what_is_agreed_counts_where_the_write_says_only_a_part_of_it():
    update = intent({"name": "Acme Inc"}, agreed={"name": "Acme Inc", "phone": "3", "email": "e"})
    shows = customer(name="Acme Inc", phone="3", email="E")
    assert agreed_on(work(SETTLED), update, shows, LATER, changed=False).shown == {"email": "E"}


def test_a_write_of_the_source_says_nothing_of_the_targets_forms():
    update = intent({"phone": "3"}, side=Side.SOURCE, agreed={"name": "Acme", "phone": "3"}, shown={"name": "ACME"})
    record = Record(Kind.COMPANY, "c1", "2", START, {"name": "Acme", "phone": "three"})
    assert agreed_on(work(SETTLED), update, record, LATER, changed=False).shown == {"name": "ACME"}


@pytest.mark.parametrize(
    ("link", "origin", "side", "turns"),
    [
        (SETTLED, Origin.POLL, Side.TARGET, Turns(Side.TARGET, 1, LATER)),
        (replace(SETTLED, turns=ROW), Origin.POLL, Side.TARGET, Turns(Side.TARGET, 4, START)),
        (replace(SETTLED, turns=ROW), Origin.POLL, Side.SOURCE, ROW),
        (replace(SETTLED, turns=ROW), Origin.OPERATOR, Side.TARGET, Turns(Side.TARGET, 1, LATER)),
        (replace(SETTLED, turns=ROW, payload_hash=""), Origin.POLL, Side.TARGET, ROW),
    ],
    ids=["first", "other side", "same side", "a person asks", "second half of a merge"],
)
def test_who_overwrote_whom_how_often_is_counted_with_each_write(link: Link, origin: Origin, side: Side, turns: Turns):
    found = agreed_on(work(link, origin), intent({"name": "Acme"}, side=side), customer(), LATER, changed=False)
    assert found.turns == turns
