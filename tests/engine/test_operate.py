"""Operating: counts by state, and what a person does with parked changes: retry, dismiss, answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.test_withdraw import withdrawing
from tests.engine.world import CRM, START, TENANT, World
from tieout.domain.changes import Change, Lane, Origin, Unsynced, UnsyncedState
from tieout.domain.effects import Operation
from tieout.domain.errors import ClaimedError, SettingsError
from tieout.domain.links import Intent, IntentState, Link, LinkKey
from tieout.domain.records import Kind
from tieout.domain.reviews import Candidate, Choice, Decision, FieldConflict, Review, ReviewKind, Side
from tieout.engine.operate import Operate, StepStatus, check_answer

SYNC = "deals-to-invoices"
MATCH = Review(ReviewKind.MATCH, (Candidate("7", "Acme", Decimal("0.8")), Candidate("8", "Acme Inc", Decimal("0.7"))))
CONFLICT = Review(
    ReviewKind.CONFLICT, conflicts=(FieldConflict("name", "a", "b", "c"), FieldConflict("email", "1", "2", "3"))
)


@pytest.fixture
def world() -> World:
    return World()


def operate(world: World) -> Operate:
    return Operate(config=world.state, links=world.state, queue=world.queue, clock=world.clock)


def unsynced(record_id: str = "d1", *, seen: int = 0, **changes: Any) -> Unsynced:
    """Parked when it was seen, so many seconds after the start."""
    moment = START + timedelta(seconds=seen)
    change = Change(TENANT, CRM, Kind.DEAL, record_id, moment, Origin.POLL, Lane.BACKFILL, 7, plan="p1")
    one = Unsynced(SYNC, "invoices", change, UnsyncedState.PARKED, record_id, "cause", "reason", moment)
    return replace(one, **changes)


def park(world: World, *ones: Unsynced) -> None:
    for one in ones:
        world.state.set_unsynced(LinkKey(TENANT, one.sync, one.step, one.change.id), one)


def writing(link: Link) -> Link:
    intent = Intent("e", Operation.UPDATE, "h", "1", IntentState.CLAIMED, "w", START, START, {})
    return replace(link, intent=intent)


# Status


def test_each_record_is_counted_in_its_state(world: World):
    states = world.state.links
    for number in range(8):
        key = LinkKey(TENANT, SYNC, "invoices", f"d{number}")
        states[key] = Link(key, target_id="77")
    keys = list(states)
    states[keys[1]] = writing(states[keys[1]])
    states[keys[2]] = replace(states[keys[2]], target_id=None)
    park(world, unsynced("d3"), unsynced("d4"), unsynced("d5", state=UnsyncedState.WAITING))
    park(world, unsynced("d6", state=UnsyncedState.DISMISSED))
    states[keys[3]] = writing(states[keys[3]])

    steps = {step.step: step for step in operate(world).status(TENANT).steps}

    assert steps["invoices"] == StepStatus(
        SYNC, "invoices", in_agreement=2, waiting=1, parked=2, dismissed=1, writing=2, oldest_unsynced_seconds=0
    )
    assert steps["items"] == StepStatus(SYNC, "items")
    assert list(steps) == ["customers", "items", "invoices", "payments"], "in the order of the sync"


def test_the_oldest_that_a_person_may_still_want_is_told(world: World):
    park(world, unsynced("d1", seen=-50), unsynced("d2", seen=-80, state=UnsyncedState.WAITING), unsynced("d3"))
    park(world, unsynced("d4", seen=-1000, state=UnsyncedState.DISMISSED))
    (step,) = (one for one in operate(world).status(TENANT).steps if one.step == "invoices")
    assert step.oldest_unsynced_seconds == 80


@pytest.mark.parametrize("state", ["in_agreement", "waiting", "parked", "dismissed", "writing"])
def test_a_step_is_used_with_any_record_in_any_state(state: str):
    assert not StepStatus(SYNC, "invoices", oldest_unsynced_seconds=5).is_used
    assert StepStatus(SYNC, "invoices", **{state: 1}).is_used  # type: ignore[arg-type]


def test_credit_notes_are_only_told_of_where_there_are_any():
    world = World(withdrawing())
    names = [step.step for step in operate(world).status(TENANT).steps]
    assert names == ["customers", "items", "invoices", "payments"]

    park(world, unsynced(step="invoices.credit_note"))
    names = [step.step for step in operate(world).status(TENANT).steps]
    assert "invoices.credit_note" in names


def test_connections_and_queues_are_told_too(world: World):
    world.queue.send(world.change(Kind.DEAL, "d1", "d2"))
    status = operate(world).status(TENANT)
    assert [one.id for one in status.connections] == ["act", "quickbooks"]
    assert status.queues == {"changes": 2, "retry": 0}


# Retry and dismiss


def test_parked_changes_are_found_by_cause_oldest_first(world: World):
    park(world, unsynced("d1", seen=5), unsynced("d2", seen=1, cause="other"), unsynced("d3", seen=3))
    park(world, unsynced("d1", seen=9, step="items"), unsynced("d9", state=UnsyncedState.WAITING))
    found = operate(world)
    assert [(one.step, one.change.id) for one in found.parked(TENANT)] == [
        ("invoices", "d2"),
        ("invoices", "d3"),
        ("invoices", "d1"),
        ("items", "d1"),
    ]
    assert [one.change.id for one in found.parked(TENANT, cause="other")] == ["d2"]


@pytest.mark.parametrize(("approve", "origin"), [(False, Origin.OPERATOR), (True, Origin.APPROVED)])
def test_what_a_person_retries_begins_anew_and_is_live(world: World, approve: bool, origin: Origin):
    world.clock.sleep(60)
    assert operate(world).retry([unsynced("d1"), unsynced("d2")], approve=approve) == 2
    assert world.queue.now == [
        Change(TENANT, CRM, Kind.DEAL, one, START + timedelta(seconds=60), origin, Lane.LIVE) for one in ("d1", "d2")
    ]


def test_nothing_to_retry_sends_nothing(world: World):
    world.queue.fails = True
    assert operate(world).retry([]) == 0


def test_what_is_dismissed_keeps_everything_but_its_state(world: World):
    park(world, unsynced("d1"), unsynced("d2"))
    assert operate(world).dismiss(TENANT, operate(world).parked(TENANT)) == 2
    assert operate(world).dismiss(TENANT, []) == 0
    assert world.unsynced() == [
        unsynced("d1", state=UnsyncedState.DISMISSED),
        unsynced("d2", state=UnsyncedState.DISMISSED),
    ]


# Reviews


def test_reviews_are_the_questions_among_what_is_parked(world: World):
    park(world, unsynced("d1"), unsynced("d2", review=MATCH, seen=2), unsynced("d3", review=CONFLICT, seen=1))
    park(world, unsynced("d4", review=MATCH, state=UnsyncedState.WAITING))
    found = operate(world)
    assert [one.change.id for one in found.reviews(TENANT)] == ["d3", "d2"]
    assert [one.change.id for one in found.reviews(TENANT, kind=ReviewKind.MATCH)] == ["d2"]
    assert [one.change.id for one in found.reviews(TENANT, sync=SYNC)] == ["d3", "d2"]
    assert found.reviews(TENANT, sync="other") == []


def answer(choice: Choice = Choice.ACCEPT, *, target_id: str = "", **fields: Side) -> Decision:
    return Decision(MATCH.digest, choice, "ann", START, target_id, fields)


def test_an_answer_is_kept_and_what_waited_for_it_is_tried_again_with_it(world: World):
    asked = unsynced("c1", step="customers", review=MATCH)
    park(
        world,
        asked,
        unsynced("d1"),
        unsynced("d2", reason="something else"),
        unsynced("d3", cause="other"),
        unsynced("d4", review=MATCH),
        unsynced("d5", sync="another"),
    )
    decision = answer(target_id="7")
    operate(world).resolve(TENANT, asked, decision)

    assert world.state.links[LinkKey(TENANT, SYNC, "customers", "c1")].decision == decision
    assert [(one.id, one.origin) for one in world.queue.now] == [("c1", Origin.OPERATOR), ("d1", Origin.OPERATOR)]


def test_an_answer_is_kept_though_workers_write_the_record_for_a_while_and_not_longer(world: World):
    asked = unsynced(review=MATCH)
    park(world, asked)
    real, busy = world.state.store, {"left": 4}

    def store(link: Link, *, pointer: bool = False) -> Link:
        if busy["left"]:
            busy["left"] -= 1
            raise ClaimedError("Another worker was faster.")
        return real(link, pointer=pointer)

    world.state.store = store  # type: ignore[method-assign]  # others are faster
    operate(world).resolve(TENANT, asked, answer(Choice.CREATE))
    assert len(world.queue.now) == 1

    busy["left"] = 5
    with pytest.raises(ClaimedError):
        operate(world).resolve(TENANT, asked, answer(Choice.CREATE))
    assert (busy["left"], len(world.queue.now)) == (0, 1)


def test_an_answer_that_does_not_fit_changes_nothing(world: World):
    asked = unsynced(review=MATCH)
    park(world, asked)
    with pytest.raises(SettingsError):
        operate(world).resolve(TENANT, asked, answer(target_id="9"))
    assert world.queue.now == []
    assert next(iter(world.state.links.values())).decision is None


PLACE = f"{SYNC}/invoices/d1"


@pytest.mark.parametrize(
    ("review", "decision", "message", "next_step"),
    [
        (
            None,
            answer(target_id="7"),
            f"Nothing is asked about {PLACE}: it is only parked.",
            f"See `tieout parked show {SYNC}/invoices/d1 --tenant {TENANT}`.",
        ),
        (
            CONFLICT,
            answer(target_id="7"),
            f"Both sides changed fields of {PLACE}, so the answer says whose value counts.",
            "Give --take source or --take target, or --field NAME=source|target for each field.",
        ),
        (
            CONFLICT,
            answer(Choice.FIELDS, name=Side.SOURCE, email=Side.SOURCE, phone=Side.SOURCE),
            f"`phone` of {PLACE} is not in question.",
            "In question: `name`, `email`.",
        ),
        (
            CONFLICT,
            answer(Choice.FIELDS),
            "The answer does not say whose value counts for `name`, `email`.",
            "Add --field for each of them, or --take for all the others.",
        ),
        (
            CONFLICT,
            answer(Choice.FIELDS, name=Side.SOURCE),
            "The answer does not say whose value counts for `email`.",
            "Add --field for each of them, or --take for all the others.",
        ),
        (
            MATCH,
            answer(Choice.FIELDS, name=Side.SOURCE),
            f"The question about {PLACE} is which record is meant.",
            "Give --accept ID, --create, or --never ID.",
        ),
        (MATCH, answer(target_id="9"), f"`9` is none of the candidates for {PLACE}.", "Candidates: `7`, `8`."),
        (
            MATCH,
            answer(Choice.NEVER, target_id="9"),
            f"`9` is none of the candidates for {PLACE}.",
            "Candidates: `7`, `8`.",
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_told_which_would(review, decision, message, next_step):
    with pytest.raises(SettingsError) as raised:
        check_answer(unsynced(review=review), decision)
    assert (raised.value.message, raised.value.next_step) == (message, next_step)


@pytest.mark.parametrize(
    ("review", "decision"),
    [
        (MATCH, answer(target_id="8")),
        (MATCH, answer(Choice.NEVER, target_id="7")),
        (MATCH, answer(Choice.CREATE)),
        (CONFLICT, answer(Choice.FIELDS, name=Side.SOURCE, email=Side.TARGET)),
    ],
)
def test_an_answer_that_fits(review: Review, decision: Decision):
    check_answer(unsynced(review=review), decision)
