"""Sessions of a process: when they are shared, and when somebody signs in again."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.contract.fakes import ManualClock, MemoryLease, MemorySecrets
from tieout.domain.connections import Connection
from tieout.domain.errors import ReconnectError, SettingsError
from tieout.ports.connector import Context
from tieout.transport import passwords
from tieout.transport.passwords import PasswordSignIn

SECRETS = {"username": "u", "password": "good", "webhook_token": "x"}


class World:
    """A server that gives numbered sessions to whoever knows its password."""

    def __init__(self) -> None:
        self.password = "good"
        self.sessions = 0
        self.secrets = MemorySecrets(SECRETS)
        self.kept: dict[str, int] = {}
        self.ended: set[int] = set()
        self.asked: list[str] = []

    def ask(self, secrets: Mapping[str, str]) -> int:
        self.asked.append(secrets["password"])
        if secrets["password"] != self.password:
            raise ReconnectError("wrong")
        self.sessions += 1
        return self.sessions

    def sign_in(self, place: tuple[str, ...] = ("https://a.example", "db")) -> PasswordSignIn[int]:
        context = Context(Connection("acme", "crm", "shapes"), self.secrets, object(), ManualClock(), MemoryLease())
        return PasswordSignIn(
            context,
            title="Shapes",
            place=place,
            ask=self.ask,
            kept=self.kept,
            lasts=lambda session: session not in self.ended,
        )


@pytest.fixture
def world() -> World:
    return World()


def test_connectors_of_a_process_share_a_session_of_one_place_and_password(world):
    assert [world.sign_in().current(), world.sign_in().current()] == [1, 1]
    assert world.sign_in(("https://a.example", "other")).current() == 2

    world.secrets.history.append({**SECRETS, "password": "guessed"})
    with pytest.raises(ReconnectError):
        world.sign_in().current()


def test_a_session_that_is_forgotten_or_too_old_is_replaced(world):
    sign_in = world.sign_in()
    assert [sign_in.current(), sign_in.current()] == [1, 1]
    sign_in.forget()
    assert [sign_in.current(), sign_in.current()] == [2, 2]
    world.ended.add(2)
    assert sign_in.current() == 3


def test_forgetting_before_the_first_sign_in_does_nothing(world):
    sign_in = world.sign_in()
    sign_in.forget()
    assert sign_in.current() == 1


def test_a_password_that_was_changed_while_an_older_copy_was_kept_is_read_afresh(world):
    world.secrets.copy = {**SECRETS, "password": "former"}

    assert world.sign_in().current() == 1

    world.secrets.copy = None
    assert world.sign_in().current() == 1, "kept under the new password"


def test_a_password_that_is_wrong_is_tried_once(world):
    world.password = "another"

    with pytest.raises(ReconnectError):
        world.sign_in().current()
    assert world.asked == ["good"]
    assert world.kept == {}


@pytest.mark.parametrize(("missing", "named"), [("username", "username"), ("password", "password")])
def test_a_missing_secret_is_a_matter_of_settings(world, missing, named):
    world.secrets.history.append({**SECRETS, missing: ""})

    with pytest.raises(SettingsError, match=f"The connection crm has no {named} for Shapes") as caught:
        world.sign_in().current()
    assert "tieout connect" in caught.value.next_step


def test_the_sessions_of_a_process_are_bounded_and_their_keys_tell_no_password(world, monkeypatch):
    monkeypatch.setattr(passwords, "SESSIONS_MAX", 2)

    for number in range(5):
        world.sign_in((str(number),)).current()

    assert 0 < len(world.kept) <= 2
    assert not any("good" in key for key in world.kept)
