"""Patience: reads that an operator waits for are tried again, for about a minute; writes never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.world import START, FakeClock, World
from tieout.domain.documents import Customer
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import ProviderError, ReconnectError, ThrottledError, UnavailableError
from tieout.domain.records import Kind
from tieout.engine.patient import PatientConnector

EFFECT = Effect("e1", Operation.CREATE, Kind.CUSTOMER, Customer(name="Acme"), "reference")
READS: dict[str, Callable[[Any], Any]] = {
    "probe": lambda one: one.probe(),
    "read": lambda one: one.read(Kind.COMPANY, ["c1"]),
    "search": lambda one: one.search(Kind.COMPANY, "name", ["acme corporation"]),
    "changes": lambda one: one.changes(Kind.COMPANY, START.isoformat()),
    "cursor_now": lambda one: one.cursor_now(Kind.COMPANY),
    "ids": lambda one: one.ids(Kind.COMPANY, "c0"),
    "find": lambda one: one.find([EFFECT]),
}


class Stumbling:
    """Passes calls on to a provider, after so many failures."""

    def __init__(self, real: Any, failures: int, error: ProviderError) -> None:
        self._real, self.left, self._error = real, failures, error
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.asked += 1
            if self.left:
                self.left -= 1
                raise self._error
            return getattr(self._real, name)(*arguments)

        return call


def stumbling(failures: int, error: ProviderError | None = None) -> tuple[Stumbling, FakeClock, World]:
    world = World()
    return Stumbling(world.crm, failures, error or UnavailableError("down")), world.clock, world


@pytest.mark.parametrize("name", READS)
def test_each_read_is_tried_up_to_six_times_and_answers_as_the_provider_does(name: str):
    world = World()
    world.books.put(Kind.CUSTOMER, "7", name="Acme", reference="reference")
    provider = world.books if name == "find" else world.crm
    failing = Stumbling(provider, 5, UnavailableError("down"))
    clock = FakeClock()

    assert READS[name](PatientConnector(failing, clock)) == READS[name](provider)
    assert failing.asked == 6


class Asked:
    """Answers with what it was asked."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: (name, *arguments)


@pytest.mark.parametrize("name", READS)
def test_each_read_asks_for_what_was_asked(name: str):
    provider: Any = Asked()
    assert READS[name](PatientConnector(provider, FakeClock())) == READS[name](provider)


def test_waits_grow_for_half_a_minute_or_less_than_one_and_the_sixth_failure_is_told():
    failing, clock, _ = stumbling(6)
    waits: list[float] = []
    sleep = clock.sleep

    def listened(seconds: float) -> None:
        waits.append(seconds)
        sleep(seconds)

    clock.sleep = listened  # type: ignore[method-assign]  # the waits one by one

    with pytest.raises(UnavailableError, match="down"):
        PatientConnector(failing, clock).probe()
    assert (waits, failing.asked) == ([1, 2, 3, 6, 12], 6)


def test_what_the_provider_asks_to_wait_is_waited():
    failing, clock, _ = stumbling(2, ThrottledError("slower", retry_after_seconds=40))
    PatientConnector(failing, clock).probe()
    assert clock.slept == 80


def test_what_waiting_does_not_help_is_told_at_once():
    failing, clock, _ = stumbling(1, ReconnectError("revoked"))
    with pytest.raises(ReconnectError):
        PatientConnector(failing, clock).probe()
    assert (failing.asked, clock.slept) == (1, 0)


def test_a_write_is_passed_on_once():
    failing, clock, world = stumbling(1)
    patient = PatientConnector(failing, clock)
    with pytest.raises(UnavailableError):
        patient.write([EFFECT])
    assert (failing.asked, clock.slept) == (1, 0)

    (outcome,) = patient.write([EFFECT])
    assert outcome.effect_id == "e1"
    assert [one.fields["name"] for one in world.crm.all(Kind.CUSTOMER)] == ["Acme"]


def test_it_can_do_what_the_provider_can():
    world = World()
    assert PatientConnector(world.books, world.clock).manifest is world.books.manifest
