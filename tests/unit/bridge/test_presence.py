"""Who is there: what waited goes on, and a person hears of silence once, in time, and not before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.bridge import MemoryInstallations
from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tieout.bridge.presence import WOKEN_MAX, Presence
from tieout.domain.bridge import Installation
from tieout.domain.changes import Alert, Change, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.errors import UnavailableError
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind

SYNC = "deals-to-invoices"
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)


class Waker:
    def __init__(self) -> None:
        self.polled: list[tuple[str, str]] = []

    def poll(self, tenant: str, connection: str) -> None:
        self.polled.append((tenant, connection))


class Office:
    """The books stand in an office; the CRM is in the cloud."""

    def __init__(self) -> None:
        self.world = World()
        self.waker = Waker()
        self.installations = MemoryInstallations(
            Installation(TENANT, BOOKS, enrolled_at=START, seen_at=START, machine="OFFICE-PC")
        )
        self.presence = Presence(
            config=self.world.state,
            links=self.world.state,
            installations=self.installations,
            queue=self.world.queue,
            alerts=self.world.state,
            waker=self.waker,
            manifest=lambda _: self.world.books.manifest,
            clock=self.world.clock,
        )

    @property
    def books(self) -> Connection:
        found = self.world.state.connection(TENANT, BOOKS)
        assert found is not None
        return found

    @property
    def there(self) -> Installation:
        return self.installations.stored[TENANT, BOOKS]

    @property
    def alerts(self) -> list[Alert]:
        return list(self.world.state.pending(TENANT))

    def change(self, **changes: datetime | None) -> None:
        self.installations.put_installation(replace(self.there, **changes))  # type: ignore[arg-type]  # only times

    def waits(self, record: str = "d1", *, sync: str = SYNC, state: UnsyncedState = UnsyncedState.WAITING) -> Change:
        change = Change(TENANT, CRM, Kind.DEAL, record, START, Origin.POLL)
        key = LinkKey(TENANT, sync, "invoices", record)
        unsynced = Unsynced(sync, "invoices", change, state, record, "silent", "Nobody is there.", START)
        self.world.state.links[key] = Link(key, unsynced=unsynced)
        return change

    def silent_for(self, silence: timedelta) -> bool:
        """What is_away says after so long."""
        self.world.clock.time = (self.there.seen_at or START) + silence
        return self.presence.is_away(self.books)

    def comes_back(self, instance: str = "") -> None:
        """As `ServeBridge` notes it; a process that was started anew is another instance."""
        now, before = self.world.clock.now(), self.there
        after = replace(before, seen_at=now, told_at=None, instance=instance or before.instance)
        self.presence.heard(self.books, before, self.installations.put_installation(after))


@pytest.fixture
def office():
    return Office()


# Coming back


def test_who_was_started_anew_finds_what_waited_however_short_it_was_away(office):
    change = office.waits()
    office.comes_back()
    office.world.queue.now.clear()
    office.world.clock.time += timedelta(seconds=20)
    office.comes_back("second")
    assert office.world.queue.now == [change]
    office.world.queue.now.clear()
    office.world.clock.time += timedelta(seconds=20)
    office.comes_back("second")
    assert office.world.queue.now == []


def test_who_comes_back_finds_what_waited_queued_and_is_asked_for_changes(office):
    change = office.waits()
    office.world.clock.time += HOUR
    office.comes_back()
    assert office.world.queue.now == [change]
    assert office.waker.polled == [(TENANT, BOOKS)]


def test_who_was_never_away_wakes_nothing(office):
    office.waits()
    office.world.clock.time += timedelta(seconds=120)
    office.comes_back()
    assert (office.world.queue.now, office.waker.polled) == ([], [])
    office.world.clock.time += timedelta(seconds=121)
    office.comes_back()
    assert len(office.world.queue.now) == 1


def test_who_comes_for_the_first_time_is_asked_for_changes(office):
    office.change(seen_at=None)
    office.comes_back()
    assert office.waker.polled == [(TENANT, BOOKS)]


def test_only_what_waits_for_this_connection_goes_on(office):
    office.waits("parked", state=UnsyncedState.PARKED)
    office.waits("dismissed", state=UnsyncedState.DISMISSED)
    stored = office.world.state.stored_syncs[TENANT, SYNC]
    elsewhere = stored.text.replace("target: quickbooks", "target: zoho")
    assert elsewhere != stored.text
    office.world.state.put_sync(replace(stored, name="elsewhere", text=elsewhere))
    office.waits("of another sync", sync="elsewhere")
    office.waits("of a sync that is no more", sync="gone")
    change = office.waits("waiting")
    office.presence.wake(office.books)
    assert office.world.queue.now == [change]


def test_a_sync_that_is_not_understood_hinders_no_other(office):
    stored = office.world.state.stored_syncs[TENANT, SYNC]
    office.world.state.put_sync(replace(stored, name="broken", text="nonsense: ["))
    change = office.waits()
    office.presence.wake(office.books)
    assert office.world.queue.now == [change]


def test_of_very_much_that_waits_the_rest_comes_by_its_own_delay(office):
    for number in range(WOKEN_MAX + 5):
        office.waits(f"d{number}")
    office.presence.wake(office.books)
    assert len(office.world.queue.now) == WOKEN_MAX


def test_where_nothing_waits_it_is_still_asked_for_changes(office):
    office.presence.wake(office.books)
    assert (office.world.queue.now, office.waker.polled) == ([], [(TENANT, BOOKS)])


def test_a_queue_that_does_not_answer_does_not_keep_it_from_being_served(office):
    """It is heard already; what waits comes by its own delay, and the poll by its schedule."""

    def send(_changes):
        raise UnavailableError("The queue does not answer.")

    office.waits()
    office.world.queue.send = send
    office.world.clock.time += HOUR
    office.comes_back()
    assert office.waker.polled == [(TENANT, BOOKS)]


# Being away


def test_who_is_heard_is_not_away(office):
    assert not office.silent_for(timedelta(0))
    assert not office.silent_for(timedelta(seconds=90))
    assert office.silent_for(timedelta(seconds=91))


@pytest.mark.parametrize("there", [None, Installation(TENANT, BOOKS)])
def test_where_nothing_is_installed_nobody_is_there_and_nobody_hears_of_it(office, there):
    office.installations.stored = {} if there is None else {(TENANT, BOOKS): there}
    office.waits()
    office.world.clock.time += 10 * DAY
    assert office.presence.is_away(office.books)
    assert office.alerts == []


@pytest.mark.parametrize(("waits", "silence"), [(True, HOUR), (False, DAY)])
def test_a_person_hears_once_of_silence_and_not_before(office, waits, silence):
    if waits:
        office.waits()
    assert office.silent_for(silence)
    assert office.alerts == []
    assert office.silent_for(silence + timedelta(seconds=1))
    (alert,) = office.alerts
    assert alert.subject == "Nothing is heard from the books (quickbooks)"
    assert alert.reason == "OFFICE-PC beside the books was last heard 2026-11-22 09:00 UTC."
    assert (alert.tenant, alert.cause, alert.raised_at) == (TENANT, "silent-quickbooks", office.world.clock.now())
    assert "Start that computer" in alert.next_step
    office.world.state.remove(office.alerts)
    for _ in range(3):
        assert office.silent_for(office.world.clock.now() - START + DAY)
    assert office.alerts == [], "not again"


def test_a_person_hears_again_after_it_came_back(office):
    office.waits()
    office.silent_for(2 * HOUR)
    office.world.state.remove(office.alerts)
    office.comes_back()
    assert not office.silent_for(timedelta(seconds=10))
    assert office.silent_for(HOUR)
    assert office.alerts == []
    assert office.silent_for(2 * HOUR)
    assert len(office.alerts) == 1


def test_what_needs_a_person_anyway_does_not_make_a_night_urgent(office):
    office.waits("parked", state=UnsyncedState.PARKED)
    office.waits("of another sync", sync="other")
    assert office.silent_for(12 * HOUR)
    assert office.alerts == []


def test_who_was_let_in_and_never_came_is_missed_from_then_on(office):
    office.change(seen_at=None)
    assert office.silent_for(DAY)
    assert office.alerts == []
    assert office.silent_for(DAY + timedelta(seconds=1))
    (alert,) = office.alerts
    assert alert.reason == "OFFICE-PC beside the books was never heard."


def test_who_comes_back_while_a_person_is_being_told_is_missed_again_next_time(office):
    """Telling and coming back cross each other."""
    real = office.world.state.put

    def put(alerts):
        real(alerts)
        office.comes_back()

    office.world.state.put = put
    assert office.silent_for(DAY + HOUR)
    assert office.there.seen_at == office.world.clock.now()
    office.world.state.put = real
    office.world.state.remove(office.alerts)
    assert office.silent_for(DAY + HOUR)
    assert len(office.alerts) == 1
