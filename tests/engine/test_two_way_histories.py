"""Random histories: two people edit both sides while answers get lost, workers die, and hints come late or twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.test_two_way import Both
from tests.engine.world import BOOKS, CRM, Crash
from tieout.domain.changes import Change, Origin
from tieout.domain.errors import UnavailableError
from tieout.domain.records import Kind
from tieout.domain.reviews import Side

FIELDS = ("phone", "email", "city")
VALUES = {
    "phone": ["+16505550101", "+16505550102", "+16505550103", None],
    "email": ["a@acme.example", "b@acme.example", "c@acme.example"],
    "city": ["Springfield", "Shelbyville", None],
}
EDITS = st.tuples(st.just("edit"), st.sampled_from([CRM, BOOKS]), st.sampled_from(FIELDS), st.integers(0, 3))
HEARS = st.tuples(st.just("hear"), st.sampled_from([CRM, BOOKS]), st.sampled_from(["one", "twice", "late"]))
FAULTS = st.tuples(st.just("fault"), st.sampled_from([CRM, BOOKS]), st.sampled_from(["lost", "vanished", "down"]))
CRASHES = st.tuples(st.just("crash"), st.sampled_from(["crash_before", "crash_after"]), st.integers(1, 6))
HISTORIES = st.lists(st.one_of(EDITS, EDITS, HEARS, HEARS, FAULTS, CRASHES), min_size=2, max_size=14)


class History(Both):
    """Both sides, what was edited last on each, and changes that were not acknowledged."""

    def __init__(self, policy: str) -> None:
        super().__init__(policy)
        self.edited: dict[str, set[Any]] = {field: {self.shows(CRM)[field]} for field in FIELDS}
        self.late: list[Change] = []

    def shows(self, side: str) -> dict[str, Any]:
        if side == CRM:
            fields = self.in_crm
            phone = fields["contact"].get("phone") or fields["phone"]  # as the mapping reads it
            return {"phone": phone, "email": fields["contact"]["email"], "city": fields["address"]["city"]}
        fields = self.in_books
        return {"phone": fields["phone"], "email": fields["email"], "city": fields["billing_address"]["city"]}

    def edit(self, side: str, field: str, number: int) -> None:
        value = VALUES[field][number % len(VALUES[field])]
        self.edited[field].add(value)
        if side == CRM:
            new: dict[str, Any] = {
                "phone": {"phone": value, "contact": {"phone": None}},
                "email": {"contact": {"email": value}},
            }.get(field) or {"address": {**self.in_crm["address"], "city": value}}
            self.crm_edit(**new)
        else:
            self.books_edit(
                **{field: value}
                if field != "city"
                else {"billing_address": {**self.in_books["billing_address"], "city": value}}
            )
        self.late += self.hint(side)

    def hint(self, side: str) -> list[Change]:
        if side == CRM:
            return self.change(Kind.COMPANY, "c1")
        return self.change(Kind.CUSTOMER, self.customer.id, connection=BOOKS)

    def work(self, changes: list[Change]) -> None:
        """As the queue does: what a worker that died did not acknowledge comes again."""
        for _ in range(20):
            changes, again = [], changes
            later, self.queue.later = self.queue.later, []
            again += [change for _, change in later]
            if not again:
                return
            self.clock.sleep(20)
            try:
                self.new_worker().apply(again)
            except Crash:
                changes = again
                self.clock.sleep(self.policy.hold_seconds)

    def step(self, what: str, *how: Any) -> None:
        if what == "edit":
            self.edit(*how)
        elif what == "hear":
            side, form = how
            if form != "late":
                self.work(self.hint(side) * (2 if form == "twice" else 1))
                self.late = [change for change in self.late if change.connection != side]
        elif what == "fault":
            self.plant(*how)
        else:
            left = [how[1]]

            def dies(_: str) -> bool:
                left[0] -= 1
                return left[0] == 0

            setattr(self.state, how[0], dies)

    def plant(self, side: str, fault: str) -> None:
        provider, left = (self.crm if side == CRM else self.books), [1]

        def once(_: Any) -> Any:
            if left:
                left.pop()
                return UnavailableError("Down.") if fault == "down" else fault
            return None

        provider.fault = once

    def quiet(self) -> None:
        """Nobody edits any more, nothing fails, and every hint arrives."""
        self.crm.fault = self.books.fault = lambda _: None
        self.state.crash_before = self.state.crash_after = lambda _: False
        self.clock.sleep(4000)  # longer than a row of turns
        for _ in range(3):
            self.work([*self.late, *self.hint(CRM), *self.hint(BOOKS)])
            self.late = []


def play(policy: str, history: list[tuple[Any, ...]]) -> History:
    played = History(policy)
    for one in history:
        played.step(*one)
    played.quiet()
    return played


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["source", "target"]), HISTORIES)
def test_with_a_policy_both_sides_agree_in_the_end(policy, history):
    played = play(policy, history)
    assert played.shows(CRM) == played.shows(BOOKS)
    assert played.unsynced() == []
    assert played.queue.later == []
    for field, value in played.shows(CRM).items():
        assert value in played.edited[field]


@settings(max_examples=150, deadline=None)
@given(HISTORIES)
def test_without_a_policy_each_field_agrees_or_is_asked_about(history):
    played = play("ask", history)
    here, there = played.shows(CRM), played.shows(BOOKS)
    differing = {field for field in FIELDS if here[field] != there[field]}
    asked = set()
    if played.unsynced():
        asked = {conflict.field.removeprefix("billing_address.") for conflict in played.review().conflicts}
    assert differing == asked
    assert played.queue.later == []


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_an_answer_ends_what_is_asked(history):
    played = play("ask", history)
    if played.unsynced():
        fields = {conflict.field: Side.TARGET for conflict in played.review().conflicts}
        wanted = played.shows(BOOKS)
        played.decide(**fields)
        for field in fields:
            name = field.removeprefix("billing_address.")
            assert played.shows(CRM)[name] == wanted[name]
    assert played.shows(CRM) == played.shows(BOOKS)
    assert played.unsynced() == []


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["source", "target", "ask", "newest"]), HISTORIES)
def test_once_quiet_nothing_is_written_any_more(policy, history):
    played = play(policy, history)
    before = played.writes()
    for origin in (Origin.POLL, Origin.SWEEP, Origin.WEBHOOK):
        played.work([replace(change, origin=origin) for change in [*played.hint(CRM), *played.hint(BOOKS)]])
    assert played.writes() == before
