"""Facts are asked for once, and again after ten minutes."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest

from tests.engine.world import FakeClock
from tieout.domain.errors import RejectedError
from tieout.transport.kept import KEPT_FOR, KeptFacts


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kept(clock: FakeClock) -> KeptFacts:
    return KeptFacts(clock)


def test_a_fact_is_asked_for_once_by_name(kept: KeptFacts):
    asked = count(1)
    assert [kept.fact(("term", "Net 30"), lambda: next(asked)) for _ in range(3)] == [1, 1, 1]
    assert kept.fact(("term", "Net 60"), lambda: next(asked)) == 2


@pytest.mark.parametrize("empty", [0, "", [], False])
def test_what_is_empty_is_a_fact_and_none_is_not(kept: KeptFacts, empty: object):
    answers: list[object] = [None, empty, "later"]
    assert [kept.fact("tax", lambda: answers.pop(0)) for _ in range(3)] == [None, empty, empty]


def test_what_cannot_be_told_is_asked_for_again(kept: KeptFacts):
    def refused() -> str:
        raise RejectedError("There is none.")

    with pytest.raises(RejectedError):
        kept.fact("currency", refused)
    assert kept.fact("currency", lambda: "USD") == "USD"


def test_what_another_answer_told_is_not_asked_for(kept: KeptFacts):
    kept.note(("term", "3"), "Net 30")
    assert kept.fact(("term", "3"), lambda: "asked") == "Net 30"


@pytest.mark.parametrize(("passed", "said"), [(KEPT_FOR, "old"), (KEPT_FOR + timedelta(microseconds=1), "new")])
def test_what_is_older_than_ten_minutes_is_forgotten_between_writes(
    kept: KeptFacts, clock: FakeClock, passed: timedelta, said: str
):
    kept.fact("currency", lambda: "old")
    clock.time += passed
    assert kept.fact("currency", lambda: "new") == "old", "one write sees one state"
    kept.refresh()
    assert kept.fact("currency", lambda: "new") == said


def test_the_ten_minutes_begin_again(kept: KeptFacts, clock: FakeClock):
    clock.time += KEPT_FOR * 2
    kept.refresh()
    kept.fact("currency", lambda: "old")
    clock.time += KEPT_FOR
    kept.refresh()
    assert kept.fact("currency", lambda: "new") == "old"


def test_what_is_forgotten_is_asked_for_again_at_once(kept: KeptFacts):
    kept.fact("currency", lambda: "old")
    kept.forget()
    assert kept.fact("currency", lambda: "new") == "new"
