"""The ends of a change: what is counted and kept, what waits and how long, what a person hears and which command."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tieout.domain.changes import Alert, Change, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.errors import (
    ClaimedError,
    MappingError,
    ReconnectError,
    RejectedError,
    SettingsError,
    ThrottledError,
    TieoutError,
    UnavailableError,
)
from tieout.domain.links import Link, LinkKey
from tieout.domain.plans import ALREADY_SO
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Candidate, Review, ReviewKind
from tieout.engine.collect import compiled
from tieout.engine.ends import Ends, cause_of, pause
from tieout.engine.plan import Work
from tieout.engine.policy import RetryPolicy

SYNC = "deals-to-invoices"
POLICY = RetryPolicy(base_seconds=10, alert_after_attempts=3)
DOWN = UnavailableError("The books are down.", code="503")
REFUSED = RejectedError("The date is closed.", code="6200", field="date", next_step="Open the books.")
QUESTION = Review(ReviewKind.MATCH, (Candidate("7", "Acme", Decimal("0.8")),))


@pytest.fixture
def world() -> World:
    world = World()
    world.clock.time = START + timedelta(seconds=30)
    return world


@pytest.fixture
def ends(world: World) -> Ends:
    return Ends(
        config=world.state,
        links=world.state,
        alerts=world.state,
        queue=world.queue,
        clock=world.clock,
        policy=POLICY,
    )


def work(world: World, record_id: str = "d1", *, step: str = "invoices", **change: Any) -> Work:
    """As a worker has it: the link as it is stored now."""
    (stored,) = world.state.syncs(TENANT)
    sync = compiled(stored)
    (found,) = (one for one in sync.steps if one.name == step)
    key = LinkKey(TENANT, SYNC, step, record_id)
    seen = Change(TENANT, CRM, found.from_kind, record_id, START, Origin.POLL, **change)
    record = Record(
        found.from_kind, record_id, "1", START, {"name": "Large order", "amount": Decimal(1054), "status": "won"}
    )
    return Work(sync, found, key, seen, record, world.state.links.get(key) or Link(key))


def parked(world: World) -> Unsynced:
    (one,) = world.unsynced()
    return one


def told(world: World) -> list[Alert]:
    alerts = list(world.state.pending(TENANT))
    world.state.remove(alerts)
    return alerts


def kept(world: World, one: Work, **changes: Any) -> None:
    """Something already stands unsynced there."""
    stopped = Unsynced(SYNC, one.step.name, one.change, UnsyncedState.PARKED, "label", "cause", "reason", START)
    world.state.set_unsynced(one.key, replace(stopped, **changes))


# Counting


def test_what_is_written_linked_and_left_out_is_counted(world: World, ends: Ends):
    ends.written(work(world), Operation.CREATE)
    ends.written(work(world, "d2"), Operation.UPDATE)
    ends.recovered(Operation.CREATE)
    ends.recovered(Operation.UPDATE)
    ends.adopted(work(world, "d3"))
    for _ in range(2):
        ends.echoed(work(world).change)
    for one in ("d4", "d5"):
        ends.skipped(work(world, one), "not won")
    ends.unwanted(world.change(Kind.CONTACT, "k1", "k2"), "nobody asks")

    report = ends.report
    assert (report.created, report.updated, report.adopted, report.unchanged, report.skipped) == (2, 2, 1, 2, 4)
    assert report.skipped_because == {"not won": 2, "nobody asks": 2}
    assert (report.parked, report.waiting) == (0, 0)


def test_every_end_ends_the_work(world: World, ends: Ends):
    ways: dict[str, Any] = {
        "written": lambda one: ends.written(one, Operation.CREATE),
        "adopted": ends.adopted,
        "unchanged": ends.unchanged,
        "skipped": lambda one: ends.skipped(one, "not won"),
        "left out": ends.left_out,
        "parked": lambda one: ends.parked(one, REFUSED),
        "waits": lambda one: ends.waits(one, DOWN),
        "out of time": ends.out_of_time,
        "concluded": ends.concluded,
    }
    for name, end in ways.items():
        one = work(world, name)
        assert not one.ended
        end(one)
        assert one.ended, name


def test_works_that_needed_no_write_are_remembered_with_why_until_the_next_changes(world: World, ends: Ends):
    same, other = work(world), work(world, "d2")
    ends.unchanged(same)
    ends.skipped(other, "not won")
    assert ends.passed == {same.key: (same, ALREADY_SO), other.key: (other, "not won")}

    ends.parked(work(world, "d3"), REFUSED)
    assert ends.ended(work(world, "d3").key)
    ends.begin()
    assert ends.passed == {}
    assert not ends.ended(work(world, "d3").key)


@pytest.mark.parametrize("end", ["unchanged", "skipped", "concluded"])
def test_a_record_in_agreement_is_no_longer_unsynced(world: World, ends: Ends, end: str):
    kept(world, work(world))
    again = work(world)
    ends.skipped(again, "lost") if end == "skipped" else getattr(ends, end)(again)
    assert world.unsynced() == []

    writes = world.state.writes
    still = work(world)
    ends.skipped(still, "lost") if end == "skipped" else getattr(ends, end)(still)
    assert world.state.writes == writes, "an unchanged record costs no write"


def test_totals_that_differ_stay_parked_though_nothing_changed(world: World, ends: Ends):
    kept(world, work(world), cause="difference-invoices")
    ends.unchanged(work(world))
    assert parked(world).cause == "difference-invoices"


def test_what_a_plan_does_not_say_is_left_out_and_what_else_is_known_stays(world: World, ends: Ends):
    kept(world, work(world))
    ends.left_out(work(world, plan="p1"))
    assert parked(world).state is UnsyncedState.PARKED

    kept(world, work(world, plan="p1"), state=UnsyncedState.WAITING)
    ends.left_out(work(world, plan="p2"))
    assert parked(world).change.plan == "p1"
    ends.left_out(work(world, plan="p1"))
    assert world.unsynced() == []
    assert (ends.report.skipped, ends.report.skipped_because["not as planned"]) == (3, 3)


# Parking


def test_a_parked_record_says_all_that_a_person_asks(world: World, ends: Ends):
    ends.parked(work(world), REFUSED)

    one = parked(world)
    assert one == Unsynced(
        sync=SYNC,
        step="invoices",
        change=work(world).change,
        state=UnsyncedState.PARKED,
        label="Large order",
        cause="refused-6200-date",
        reason="The date is closed.",
        since=START + timedelta(seconds=30),
        next_step="Open the books.",
        field="date",
        value=None,
        code="6200",
        amount=Decimal(1054),
        currency="USD",
    )
    assert ends.report.parked == 1
    assert ends.report.oldest_unsynced_seconds == 30
    assert told(world) == [
        Alert(
            tenant=TENANT,
            cause="refused-6200-date",
            subject="Invoice not synced",
            reason="The date is closed.",
            next_step="Open the books.",
            command="tieout parked retry --tenant acme --cause refused-6200-date",
            raised_at=START + timedelta(seconds=30),
            unsynced=one,
        )
    ]


def test_a_rule_that_cannot_be_followed_is_named_with_the_value(world: World, ends: Ends):
    error = MappingError("No such item.", rule="invoices.fields.lines.item", path="lines[0].name", value="GTX Pr0")
    ends.parked(work(world), error)
    one = parked(world)
    assert (one.field, one.value, one.code) == ("lines[0].name", "GTX Pr0", "invoices.fields.lines.item")


def test_a_record_that_is_gone_is_named_by_its_id_and_nothing_is_at_stake(world: World, ends: Ends):
    gone = work(world)
    gone.record = None
    ends.parked(gone, SettingsError("Nothing of it is known."))
    one = parked(world)
    assert (one.label, one.amount, one.currency, one.field, one.code) == ("d1", None, "", "", "")


def test_a_kind_of_two_words_is_two_words_in_the_subject(world: World, ends: Ends):
    credit = work(world)
    ends.parked(replace(credit, step=credit.step.crediting()), REFUSED)
    assert told(world)[0].subject == "Credit note not synced"


def test_a_cause_of_its_own_gathers_alerts_and_is_in_the_command(world: World, ends: Ends):
    ends.parked(work(world), REFUSED, cause="lines-differ-invoices")
    (alert,) = told(world)
    assert parked(world).cause == alert.cause == "lines-differ-invoices"
    assert alert.command == "tieout parked retry --tenant acme --cause lines-differ-invoices"


def test_what_a_cap_holds_back_passes_by_approval(world: World, ends: Ends):
    ends.parked(work(world), REFUSED, cause="cap-withdrawals-deals")
    assert told(world)[0].command == "tieout parked retry --tenant acme --cause cap-withdrawals-deals --approve"


def test_a_question_is_answered_by_review_and_told_anew_if_it_is_another(world: World, ends: Ends):
    ends.parked(work(world), REFUSED, review=QUESTION)
    assert parked(world).review == QUESTION
    assert [one.command for one in told(world)] == ["tieout review list --tenant acme"]

    ends.parked(work(world), REFUSED, review=QUESTION)
    assert told(world) == []

    other = replace(QUESTION, candidates=(Candidate("8", "Acme Inc", Decimal("0.7")),))
    ends.parked(work(world), REFUSED, review=other)
    assert [alert.unsynced.review for alert in told(world) if alert.unsynced is not None] == [other]

    ends.parked(work(world), REFUSED)
    assert len(told(world)) == 1
    assert parked(world).review is None, "a question that is asked no more is not kept"


@pytest.mark.parametrize(
    ("former", "told_again"),
    [
        ({}, False),
        ({"state": UnsyncedState.DISMISSED}, False),
        ({"state": UnsyncedState.WAITING}, True),
        ({"reason": "Something else."}, True),
        ({"cause": "another"}, True),
    ],
)
def test_the_same_thing_is_told_once(world: World, ends: Ends, former: dict[str, Any], told_again: bool):
    before = {"state": UnsyncedState.PARKED, "cause": "refused-6200-date", "reason": "The date is closed."} | former
    kept(world, work(world), **before)
    ends.parked(work(world), REFUSED)
    assert len(told(world)) == told_again
    assert ends.report.parked == 1
    assert parked(world).state is (UnsyncedState.PARKED if told_again else before["state"]), "dismissed stays so"
    assert parked(world).since == START


# Waiting


def delays(world: World) -> list[tuple[float, Change]]:
    sent = [((due - world.clock.now()).total_seconds(), change) for due, change in world.queue.later]
    world.queue.later.clear()
    return sent


def test_what_waits_is_noted_and_tried_again_later_with_one_attempt_more(world: World, ends: Ends):
    ends.waits(work(world, attempts=1), DOWN)
    assert world.queue.later == [], "only flush sends"
    ends.flush()

    assert delays(world) == [(15, replace(work(world).change, attempts=2))]
    one = parked(world)
    assert (one.state, one.cause, one.reason) == (UnsyncedState.WAITING, "unavailable-503", "The books are down.")
    assert (ends.report.waiting, ends.report.oldest_unsynced_seconds) == (1, 30)
    ends.flush()
    assert delays(world) == [], "once"


@pytest.mark.parametrize(
    ("error", "at_least", "delay"),
    [
        (DOWN, 0, 8),
        (DOWN, 60, 60),
        (ThrottledError("slow down", retry_after_seconds=45), 0, 45),
        (ThrottledError("slow down", retry_after_seconds=45), 60, 60),
        (ThrottledError("slow down", retry_after_seconds=45), 20, 45),
    ],
)
def test_a_wait_is_as_long_as_the_provider_or_the_engine_asks(world: World, ends: Ends, error, at_least, delay):
    ends.waits(work(world), error, at_least=at_least)
    ends.flush()
    assert [seconds for seconds, _ in delays(world)] == [delay]


def test_a_wait_that_goes_on_for_the_same_cause_is_not_noted_again(world: World, ends: Ends):
    ends.waits(work(world), DOWN)
    writes = world.state.writes
    ends.waits(work(world, attempts=1), DOWN)
    assert world.state.writes == writes
    ends.waits(work(world, attempts=1), ThrottledError("Too many calls."))
    assert (parked(world).cause, parked(world).since) == ("throttled", START + timedelta(seconds=30))

    kept(world, work(world), state=UnsyncedState.PARKED, cause="unavailable-503")
    ends.waits(work(world), DOWN)
    assert parked(world).state is UnsyncedState.WAITING


@pytest.mark.parametrize(("attempts", "noted"), [(0, 0), (2, 0), (3, 1)])
def test_workers_that_met_are_not_worth_a_note_unless_they_meet_again_and_again(world, ends, attempts, noted):
    ends.waits(work(world, attempts=attempts), ClaimedError("Another worker holds it."))
    assert len(world.unsynced()) == noted
    assert ends.report.waiting == 1


def test_a_person_hears_once_of_a_change_that_waits_for_long(world: World, ends: Ends):
    for attempts in range(5):
        ends.waits(work(world, attempts=attempts), DOWN)
        assert len(world.state.pending(TENANT)) == (attempts >= 2)
    assert told(world) == [
        Alert(
            tenant=TENANT,
            cause="unavailable-503",
            subject="Changes have been waiting for a while",
            reason="The books are down.",
            next_step="Nothing is lost, and Tieout keeps trying.",
            command="tieout status --tenant acme",
            raised_at=START + timedelta(seconds=30),
            unsynced=parked(world),
        )
    ]
    ends.waits(work(world, attempts=2), SettingsError("No such connection.", next_step="Add it."))
    assert [one.next_step for one in told(world)] == ["Add it."]


def test_changes_that_could_not_even_be_read_wait_and_are_told_of_too(world: World, ends: Ends):
    ends.put_off(world.change(Kind.DEAL, "d1", "d2"))
    ends.flush()
    assert [(seconds, change.attempts) for seconds, change in delays(world)] == [(0, 0), (0, 0)]

    ends.put_off([replace(change, attempts=2) for change in world.change(Kind.DEAL, "d1")], DOWN)
    ends.flush()
    assert [(seconds, change.attempts) for seconds, change in delays(world)] == [(30, 3)]
    assert ends.report.waiting == 3
    (alert,) = told(world)
    assert (alert.cause, alert.unsynced) == ("unavailable-503", None)


def test_without_time_a_change_comes_back_at_once_and_after_three_tries_it_is_said_why(world: World, ends: Ends):
    for attempts in range(3):
        ends.out_of_time(work(world, attempts=attempts))
        ends.flush()
        assert [(seconds, change.attempts) for seconds, change in delays(world)] == [(0, attempts + 1)]
    assert world.unsynced() == []

    ends.out_of_time(work(world, attempts=3))
    ends.flush()
    assert [(seconds > 0, change.attempts) for seconds, change in delays(world)] == [(True, 4)]
    assert parked(world).reason == "The other side answers so slowly that there was no time to write it."
    assert ends.report.waiting == 4


def test_a_change_that_waits_twice_is_tried_once_at_the_sooner_time_as_the_one_that_asks_for_more(world, ends):
    ends.waits(work(world), DOWN, at_least=60)
    ends.waits(work(world, attempts=1), DOWN)
    ends.look_at(work(world, "d2").change)
    ends.flush()
    assert delays(world) == [
        (0, work(world, "d2").change),
        (15, replace(work(world).change, attempts=2)),
    ]


def test_changes_that_wait_for_the_same_travel_together(world: World, ends: Ends):
    sent: list[tuple[list[str], int]] = []
    world.queue.send_later = lambda changes, *, delay_seconds: sent.append(  # type: ignore[method-assign]  # listened to
        ([change.id for change in changes], delay_seconds)
    )
    for one in ("d1", "d2"):
        ends.waits(work(world, one), DOWN)
    ends.waits(work(world, "d3"), DOWN, at_least=5)
    ends.waits(work(world, "d4"), DOWN, at_least=9)
    ends.flush()
    assert sent == [(["d1", "d2", "d3"], 8), (["d4"], 9)]


def test_the_second_write_of_a_merge_follows_at_once_and_the_plan_is_done(world: World, ends: Ends):
    ends.again(work(world, plan="p1"))
    ends.again(replace(work(world, "d2"), change=replace(work(world, "d2").change, origin=Origin.APPROVED)))
    ends.flush()
    assert [(delay, one.id, one.origin, one.plan, one.attempts) for delay, one in delays(world)] == [
        (0, "d1", Origin.TARGET, "", 0),
        (0, "d2", Origin.APPROVED, "", 0),
    ]


# What needs another


def test_work_ends_as_what_it_needs_did(world: World, ends: Ends):
    customer = work(world, "c1", step="customers")
    ends.parked(customer, REFUSED, cause="needs-an-eye")
    ends.follows(work(world), customer.key)
    assert {(one.step, one.state, one.cause) for one in world.unsynced()} == {
        ("customers", UnsyncedState.PARKED, "needs-an-eye"),
        ("invoices", UnsyncedState.PARKED, "needs-an-eye"),
    }
    assert ends.report.parked == 2


def test_work_waits_with_what_it_needs(world: World, ends: Ends):
    customer = work(world, "c1", step="customers")
    ends.waits(customer, DOWN)
    ends.follows(work(world), customer.key)
    assert {(one.step, one.state) for one in world.unsynced()} == {
        ("customers", UnsyncedState.WAITING),
        ("invoices", UnsyncedState.WAITING),
    }


def test_work_whose_need_had_no_time_has_none_either(world: World, ends: Ends):
    customer = work(world, "c1", step="customers")
    ends.out_of_time(customer)
    ends.follows(work(world), customer.key)
    ends.flush()
    assert [(seconds, change.attempts) for seconds, change in delays(world)] == [(0, 1), (0, 1)]
    assert world.unsynced() == []


# Pausing


def connection(world: World, name: str = BOOKS) -> Connection:
    found = world.state.connection(TENANT, name)
    assert found is not None
    return found


def test_a_connection_is_paused_once_and_a_person_is_told_how_to_go_on(world: World, ends: Ends):
    error = ReconnectError("The books no longer accept our sign-in.", next_step="Sign in again.")
    ends.paused(connection(world), error)
    ends.paused(connection(world), error)

    assert ends.report.paused == [connection(world).address]
    assert connection(world) == replace(
        connection(world),
        state=ConnectionState.PAUSED,
        paused_because="The books no longer accept our sign-in.",
        paused_at=START + timedelta(seconds=30),
    )
    assert told(world) == [
        Alert(
            tenant=TENANT,
            cause=f"paused-{BOOKS}",
            subject=f"The connection {BOOKS} needs you",
            reason="The books no longer accept our sign-in.",
            next_step="Sign in again.",
            command=f"tieout connect {BOOKS} --tenant {TENANT}",
            raised_at=START + timedelta(seconds=30),
        )
    ]


def test_a_connection_that_is_paused_already_or_gone_is_left_as_it_is(world: World):
    stale = connection(world)
    error = ReconnectError("revoked")
    pause(world.state, world.state, world.clock, stale, error)
    first = connection(world)
    world.clock.sleep(60)
    pause(world.state, world.state, world.clock, stale, ReconnectError("revoked again"))
    assert connection(world) == first
    assert len(told(world)) == 1

    pause(world.state, world.state, world.clock, replace(stale, id="gone"), error)
    assert told(world) == []
    assert world.state.connection(TENANT, "gone") is None


def test_what_a_connection_is_besides_stays_when_it_is_paused(world: World):
    stale = connection(world)
    world.state.put_connection(replace(stale, account="9"))
    pause(world.state, world.state, world.clock, stale, ReconnectError("revoked"))
    assert connection(world).account == "9"


# Causes


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MappingError("x", rule="invoices.fields.lines.item", value="GTX Pro 2"), "item-gtx-pro-2"),
        (MappingError("x", rule="date", value=None), "date-empty"),
        (RejectedError("x", code="6240", field="Display Name"), "refused-6240-display-name"),
        (RejectedError("x"), "refused"),
        (ThrottledError("x", code="429"), "throttled-429"),
        (ReconnectError("x"), "reconnect"),
        (ClaimedError("x"), "claimed"),
        (SettingsError("x"), "settings"),
        (RejectedError("x", code="--Ä--"), "refused"),
        (RejectedError("x", code="y" * 100), "refused-" + "y" * 72),
    ],
)
def test_equal_causes_have_one_short_name_fit_for_a_command_line(error: TieoutError, cause: str):
    assert cause_of(error) == cause
