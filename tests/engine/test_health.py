"""Health: probes, the countdown to the end of a sign-in, and who hears of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tests.integration.conftest import FakeEntry
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ReconnectError, SettingsError, UnavailableError
from tieout.engine.health import Health, standing


class Secrets:
    def __init__(self, **stored: str) -> None:
        self.stored = stored

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> dict[str, str]:
        return dict(self.stored)

    def write(self, tenant: str, connection: str, secrets: Any) -> None:
        raise NotImplementedError


class Watched:
    """A world whose books say when their sign-in ends."""

    def __init__(self, **secrets: str) -> None:
        self.world = World()
        books = self.world.books
        books.manifest = replace(
            books.manifest,
            sign_in_ends=("refresh_ends", "consent_ends"),
            sign_in_again="Sign in again as an administrator.",
        )
        self.secrets = Secrets(**secrets)
        self.opened: list[str] = []
        self.health = self.new_process()

    def new_process(self) -> Health:
        entries = {"fake_crm": FakeEntry(self.world.crm), "fake_books": FakeEntry(self.world.books)}

        def connect(connection: Connection) -> Any:
            self.opened.append(connection.id)
            return entries[connection.provider].open(None)

        return Health(
            config=self.world.state,
            secrets=self.secrets,
            alerts=self.world.state,
            connect=connect,
            provider=lambda name: entries[name],
            clock=self.world.clock,
        )

    def check(self, connection: str = BOOKS) -> tuple[bool, int | None]:
        report = self.health.check(TENANT, connection)
        return report.paused, report.told_days

    def connection(self, name: str = BOOKS) -> Connection:
        connection = self.world.state.connection(TENANT, name)
        assert connection is not None
        return connection

    def pause(self) -> None:
        self.world.state.put_connection(
            replace(self.connection(), state=ConnectionState.PAUSED, paused_because="revoked")
        )

    def probe_says(self, error: Exception) -> None:
        def probe() -> Any:
            raise error

        self.world.books.probe = probe  # type: ignore[method-assign]  # a fault


def after(**length: float) -> str:
    return (START + timedelta(**length)).isoformat()


def test_a_person_hears_once_at_each_threshold_and_no_more():
    watched = Watched(refresh_ends=after(days=400), consent_ends=after(days=40, hours=1))
    told = []
    for day in range(41):
        watched.world.clock.time = START + timedelta(days=day)
        for _ in range(2):
            _, days = watched.check()
            if days is not None:
                told.append((day, days))
        watched.health = watched.new_process()

    assert told == [(11, 30), (27, 14), (34, 7), (38, 3), (40, 1)]


def test_the_alert_says_until_when_and_what_to_do():
    watched = Watched(consent_ends=after(days=13, hours=3))
    watched.check()
    (alert,) = watched.world.state.pending(TENANT)
    assert alert.subject == "The sign-in of quickbooks ends in 14 days"
    assert "2026-12-05 12:00 UTC" in alert.reason
    assert alert.next_step == "Sign in again as an administrator."
    assert alert.command == f"tieout connect {BOOKS} --tenant {TENANT}"
    assert alert.unsynced is None


def test_a_sign_in_that_was_renewed_is_counted_down_anew():
    watched = Watched(refresh_ends=after(days=2))
    assert watched.check() == (False, 2)
    watched.secrets.stored = {"refresh_ends": after(days=100)}
    assert watched.check() == (False, None)
    watched.secrets.stored = {"refresh_ends": after(days=3)}
    watched.world.clock.time = START + timedelta(hours=1)
    assert watched.check() == (False, 3), "an end that came nearer is told of"


def test_an_end_that_moves_on_with_each_renewal_is_no_reason_to_write_to_anybody():
    watched = Watched()
    for day in range(120):
        watched.world.clock.time = START + timedelta(days=day)
        watched.secrets.stored = {"refresh_ends": after(days=day + 100)}
        assert watched.check() == (False, None)


@pytest.mark.parametrize("secrets", [{}, {"refresh_ends": ""}, {"refresh_ends": "some day"}])
def test_a_sign_in_without_an_end_is_not_counted_down(secrets):
    watched = Watched(**secrets)
    assert watched.check() == (False, None)
    assert standing(watched.world.state, watched.connection()).ends_at is None
    assert watched.check(CRM) == (False, None)


def test_a_bare_date_ends_with_its_beginning():
    watched = Watched(consent_ends="2026-11-29")
    assert watched.check() == (False, 7)


def test_a_sign_in_that_has_ended_is_the_probes_business():
    watched = Watched(consent_ends=after(days=-1))
    watched.probe_says(ReconnectError("The books no longer accept our sign-in."))
    assert watched.check() == (True, None)
    assert [alert.cause for alert in watched.world.state.pending(TENANT)] == [f"paused-{BOOKS}"]


@pytest.mark.parametrize("error", [ReconnectError("revoked"), SettingsError("no secrets")])
def test_a_connection_that_is_not_let_in_is_paused_and_told_of_once(error):
    watched = Watched()
    watched.probe_says(error)
    assert watched.check() == (True, None)
    assert watched.check() == (True, None)
    assert watched.connection().state is ConnectionState.PAUSED
    assert len(watched.world.state.pending(TENANT)) == 1
    assert standing(watched.world.state, watched.connection()).contacted_at is None


def test_a_connection_that_works_again_goes_on():
    watched = Watched()
    watched.pause()
    assert watched.check() == (False, None)
    assert watched.connection().state is ConnectionState.ACTIVE
    assert watched.connection().paused_because == ""


def test_a_provider_that_is_down_pauses_nothing_and_the_end_is_told_all_the_same():
    watched = Watched(consent_ends=after(days=1))
    watched.probe_says(UnavailableError("down"))
    with pytest.raises(UnavailableError):
        watched.check()
    assert watched.connection().state is ConnectionState.ACTIVE
    assert len(watched.world.state.pending(TENANT)) == 1


def test_a_lost_note_tells_twice_rather_than_never():
    watched = Watched(consent_ends=after(days=1))
    put, watched.world.state.put_cursor = watched.world.state.put_cursor, lambda *_: 1 / 0  # type: ignore[method-assign]  # a fault
    with pytest.raises(ZeroDivisionError):
        watched.check()
    watched.world.state.put_cursor = put  # type: ignore[method-assign]  # it works again
    assert watched.check() == (False, 1)


def test_the_last_good_contact_and_the_end_are_kept():
    watched = Watched(refresh_ends=after(days=90))
    watched.check()
    found = standing(watched.world.state, watched.connection())
    assert (found.contacted_at, found.ends_at) == (START, datetime.fromisoformat(after(days=90)))


def test_contacts_are_noted_once_in_ten_minutes():
    watched = Watched()
    before = watched.world.state.writes
    for minute in range(21):
        watched.world.clock.time = START + timedelta(minutes=minute)
        watched.health.contacted(TENANT, BOOKS)
    assert watched.world.state.writes - before == 3
    found = standing(watched.world.state, watched.connection())
    assert found.contacted_at == START + timedelta(minutes=20)


def test_a_new_sign_in_begins_a_new_countdown():
    watched = Watched(consent_ends=after(days=2))
    assert watched.check() == (False, 2)
    watched.secrets.stored = {"consent_ends": after(days=2, hours=5)}  # the provider gave little more
    assert watched.health.signed_in(watched.connection()).ends_at == START + timedelta(days=2, hours=5)
    assert watched.check() == (False, 3)


def test_a_connection_that_is_gone_is_left_alone():
    watched = Watched()
    assert watched.check("gone") == (False, None)
    assert watched.opened == []


def test_the_alert_names_its_connection_and_threshold_and_when_it_was_raised():
    watched = Watched(consent_ends="2026-12-05T15:00:00+03:00")
    watched.check()
    (alert,) = watched.world.state.pending(TENANT)
    assert (alert.cause, alert.raised_at) == (f"sign-in-ends-{BOOKS}-14", START)
    assert "until 2026-12-05 12:00 UTC." in alert.reason


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (timedelta(days=30), 30),
        (timedelta(days=30, seconds=1), None),
        (timedelta(seconds=1), 1),
        (timedelta(0), None),
    ],
)
def test_a_threshold_is_reached_with_its_day_and_an_end_is_over_with_its_second(left: timedelta, told: int | None):
    watched = Watched(consent_ends=(START + left).isoformat())
    assert watched.check() == (False, told)


@pytest.mark.parametrize(("later", "told"), [(timedelta(days=1), None), (timedelta(days=1, seconds=1), 3)])
def test_an_end_that_moved_by_more_than_a_day_is_a_renewal(later: timedelta, told: int | None):
    end = START + timedelta(days=2)
    watched = Watched(consent_ends=end.isoformat())
    assert watched.check() == (False, 2)
    watched.secrets.stored = {"consent_ends": (end + later).isoformat()}
    watched.world.clock.time = START + timedelta(days=1)
    assert watched.check() == (False, told)


def test_an_end_that_the_secrets_no_longer_tell_is_forgotten():
    watched = Watched(consent_ends=after(days=2))
    watched.check()
    watched.secrets.stored = {}
    writes = watched.world.state.writes
    watched.check()
    assert standing(watched.world.state, watched.connection()).ends_at is None
    noted = watched.world.state.writes
    watched.check()
    assert (noted - writes, watched.world.state.writes - noted) == (1, 0), "noted once"

    watched.secrets.stored = {"consent_ends": after(days=2)}
    assert watched.check() == (False, 2), "and told anew when they tell it again"


def test_who_was_told_of_the_end_is_reported_though_the_connection_is_paused():
    watched = Watched(consent_ends=after(days=1))
    watched.probe_says(ReconnectError("revoked"))
    assert watched.check() == (True, 1)


def test_a_connection_that_goes_on_is_no_longer_paused_since_any_time():
    watched = Watched()
    watched.world.state.put_connection(
        replace(watched.connection(), state=ConnectionState.PAUSED, paused_because="revoked", paused_at=START)
    )
    watched.check()
    assert (watched.connection().paused_at, watched.connection().paused_because) == (None, "")


def test_a_new_sign_in_is_a_contact_and_its_end_is_kept():
    watched = Watched(consent_ends=after(days=90))
    watched.world.clock.time = START + timedelta(hours=1)
    now = watched.world.clock.now()
    found = watched.health.signed_in(watched.connection())
    assert (found.contacted_at, found.ends_at) == (now, START + timedelta(days=90))
    assert standing(watched.world.state, watched.connection()) == found


def test_the_secrets_of_the_connection_itself_are_asked():
    asked: list[tuple[str, str]] = []
    watched = Watched()
    read = watched.secrets.read

    def listened(tenant: str, connection: str, *, fresh: bool = False) -> dict[str, str]:
        asked.append((tenant, connection))
        return read(tenant, connection, fresh=fresh)

    watched.secrets.read = listened  # type: ignore[method-assign]  # listened to
    watched.check()
    assert asked == [(TENANT, BOOKS)]


def test_secrets_that_are_missing_pause_the_connection_and_tell_nothing_of_its_end():
    watched = Watched()

    def missing(*_: str, **__: bool) -> dict[str, str]:
        raise SettingsError("The connection has no secrets yet.", next_step="Run `tieout connect`.")

    watched.secrets.read = missing  # type: ignore[method-assign]  # a fault
    assert watched.check() == (True, None)
    assert watched.opened == []
