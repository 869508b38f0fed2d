"""Tokens, settings and webhooks."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.connectors.act.conftest import World
from tieout.connectors.act import CONNECTOR, auth
from tieout.domain.connections import Connection
from tieout.domain.errors import ReconnectError, SettingsError, SignatureError, ThrottledError, UnavailableError
from tieout.domain.records import Kind
from tieout.ports.connector import Hint, Limit, Webhook, Window
from tieout.ports.http import Answer

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def jwt(**claims: object) -> str:
    encoded = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{encoded}.c2lnbmF0dXJl"


def answer(text: str) -> Answer:
    return Answer(200, {"content-type": "text/html"}, text.encode())


def test_a_token_is_bare_text_perhaps_in_quotes():
    token = jwt(exp=int((NOW + timedelta(hours=1)).timestamp()))
    for text in (token, f'"{token}"', f'  "{token}"\r\n'):
        found = auth.token_of(answer(text), NOW)
        assert found.text == token
        assert found.use_until == NOW + timedelta(minutes=55)


@pytest.mark.parametrize("claims", [{}, {"exp": "soon"}, {"exp": None}, {"exp": 10**30}])
def test_a_token_without_a_readable_end_is_used_for_a_quarter_of_an_hour(claims):
    assert auth.token_of(answer(jwt(**claims)), NOW).use_until == NOW + timedelta(minutes=15)


@pytest.mark.parametrize("text", ["", '""', "abc", "a.b", "a..c", "<html><body>Sign in. Or. Not</body></html>"])
def test_what_is_no_token_names_the_address(text):
    with pytest.raises(UnavailableError, match="no Act! token") as caught:
        auth.token_of(answer(text), NOW)
    assert "base_url" in caught.value.next_step


def test_one_token_serves_until_five_minutes_before_its_end(world):
    world.connector.probe()
    world.clock.advance(54 * 60)
    world.connector.probe()
    assert world.http.count("/authorize") == 1
    world.clock.advance(90)
    world.connector.probe()
    assert world.http.count("/authorize") == 2


def test_connectors_of_one_process_share_the_token_but_not_with_another_password(world):
    world.connector.probe()
    world.open().probe()
    assert world.http.count("/authorize") == 1
    world.secrets.write("acme", "crm", {"username": world.settings.username, "password": "guessed"})
    with pytest.raises(ReconnectError):
        world.open().probe()


def test_a_token_that_ends_early_is_replaced_once(world):
    world.connector.probe()
    world.http.requests.clear()
    stale = iter([Answer(401, {}, b"")])
    world.http.meddle = lambda request: next(stale, None) if "/api/contacts" in request.url else None
    world.connector.probe()
    assert world.http.count("/authorize") == 1
    assert world.http.count("/api/contacts") == 2


def test_a_token_that_is_never_accepted_asks_for_a_person(world):
    world.http.meddle = lambda request: Answer(401, {}, b"") if "/api/contacts" in request.url else None
    with pytest.raises(ReconnectError):
        world.connector.probe()
    assert world.http.count("/api/contacts") == 2
    assert world.http.count("/authorize") == 2


def test_an_error_500_brings_a_new_token_next_time(world):
    """Act! answers 500, not 401, where it misses a token."""
    broken = iter([Answer(500, {}, b"{}")])
    world.http.meddle = lambda request: next(broken, None) if "/api/contacts" in request.url else None
    with pytest.raises(UnavailableError):
        world.connector.probe()
    world.connector.probe()
    assert world.http.count("/authorize") == 2


@pytest.mark.parametrize("wrong", ["password", "username", "database"])
def test_wrong_sign_in_says_what_to_check(wrong):
    world = World()
    setattr(world.settings, wrong, "another")
    with pytest.raises(ReconnectError, match="user name, the password or the database") as caught:
        world.connector.probe()
    assert world.secrets.history[-1]["password"] not in repr(caught.value)


def test_a_changed_password_is_read_afresh(world):
    class Cached:
        """Gives the former password until asked for a fresh one."""

        def read(self, tenant: str, connection: str, *, fresh: bool = False) -> dict[str, str]:
            return {"username": world.settings.username, "password": "new" if fresh else "old"}

        def write(self, tenant: str, connection: str, secrets: object) -> None:
            raise NotImplementedError

    world.secrets = Cached()
    world.settings.password = "new"
    assert world.open().probe().id == world.settings.database


def test_missing_secrets_are_a_matter_of_settings(world):
    world.secrets.write("acme", "crm", {"username": "u", "password": ""})
    with pytest.raises(SettingsError, match="no password"):
        world.open().probe()


@pytest.mark.parametrize("code", ["4030", "4031", "4032"])
def test_each_refusal_has_its_own_sentence(code):
    world = World(refusal=code)
    with pytest.raises(ReconnectError) as caught:
        world.connector.probe()
    assert caught.value.code == code
    words = {"4030": "versions", "4031": "subscription", "4032": "permission"}
    assert words[code] in caught.value.message
    assert caught.value.next_step


def test_the_server_s_own_count_is_kept_to():
    world = World(calls_per_minute=3)
    world.connector.ids(Kind.DEAL, None)
    world.connector.ids(Kind.DEAL, None)
    world.connector.ids(Kind.DEAL, None)
    sent = len(world.http.requests)
    with pytest.raises(ThrottledError) as caught:
        world.connector.ids(Kind.DEAL, None)
    assert len(world.http.requests) == sent, "nothing is sent into a closed minute"
    assert 0 < caught.value.retry_after_seconds <= 61
    world.clock.advance(caught.value.retry_after_seconds)
    world.connector.ids(Kind.DEAL, None)


@pytest.mark.parametrize("status", [429, 403])
def test_too_many_calls_say_how_long_to_wait(status):
    world = World(calls_per_minute=1, limit_status=status)
    other = world.open()
    world.connector.ids(Kind.DEAL, None)
    with pytest.raises(ThrottledError) as caught:
        other.ids(Kind.DEAL, None)
    assert 0 < caught.value.retry_after_seconds <= 60


def test_no_call_without_database_and_no_secret_in_repr(world):
    world.connector.probe()
    for request in world.http.requests[1:]:
        assert request.headers["Act-Database-Name"] == world.settings.database
        assert request.spends == ("calls", "calls_in_flight", "calls_per_day")
        assert "Bearer" not in repr(request)
        assert world.settings.password not in repr(request)


# Settings


def limits_of(**settings: object) -> tuple[Limit, ...]:
    values = {"base_url": "https://a.example/act.web.api", "database": "H1", **settings}
    return CONNECTOR.limits_of(Connection("t", "crm", "act", settings=values))


def test_the_limit_may_be_set():
    calls, in_flight = limits_of(requests_per_minute=7, requests_in_flight=2)
    assert (calls.name, calls.calls, calls.per_seconds) == ("calls", 7, 60)
    assert (in_flight.name, in_flight.calls, in_flight.window) == ("calls_in_flight", 2, Window.IN_FLIGHT)
    assert limits_of(requests_per_day=5000)[2:] == (Limit("calls_per_day", 5000, 86_400, Window.QUOTA),)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"base_url": "http://act.example/act.web.api"}, "base_url"),
        ({"base_url": "http://10.0.0.5/act.web.api"}, "base_url"),
        ({"base_url": "https://user:pass@a.example/x"}, "base_url"),
        ({"base_url": "act.example"}, "base_url"),
        ({"base_url": "https://a.example/x?y=1"}, "base_url"),
        ({"database": ""}, "database"),
        ({"database": "H1\r\nX-Other: 1"}, "database"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"overlap_minutes": 0}, "overlap_minutes"),
        ({"databse": "H1"}, "databse"),
    ],
)
def test_wrong_settings_are_named(settings, field):
    with pytest.raises(SettingsError, match=field) as caught:
        limits_of(**settings)
    assert "user:pass" not in caught.value.message


def test_this_machine_may_speak_plain_http():
    assert limits_of(base_url="http://127.0.0.1:8001/act.web.api/")
    assert limits_of(base_url="http://localhost:8001/act.web.api")


# Webhooks


def webhook(token: str, body: object) -> Webhook:
    return Webhook({"authorization": token}, json.dumps(body).encode())


def test_a_delivery_proves_itself_by_its_token():
    token = auth.webhook_token("t0k3n", Kind.DEAL)
    for given in (token, f"Bearer {token}", f"  {token} "):
        CONNECTOR.verify(webhook(given, {"id": "1"}), {"webhook_token": "t0k3n"})


@pytest.mark.parametrize("given", ["", "deal.", "deal.wrong", "t0k3n", "deal.t0k3n2", "invoices.t0k3n", "deal.tök"])
def test_any_other_token_is_refused(given):
    with pytest.raises(SignatureError):
        CONNECTOR.verify(webhook(given, {"id": "1"}), {"webhook_token": "t0k3n"})


@pytest.mark.parametrize("secrets", [{}, {"webhook_token": ""}])
def test_without_a_token_of_ours_nothing_is_proved(secrets):
    with pytest.raises(SignatureError):
        CONNECTOR.verify(webhook("deal.", {"id": "1"}), secrets)


def test_a_delivery_holds_one_record_or_several():
    one = {"id": "a", "created": "2026-11-01T10:00:00+00:00", "edited": "2026-11-21T16:02:11+00:00"}
    assert CONNECTOR.hints(webhook("deal.x", one)) == [Hint("", Kind.DEAL, "a")]
    assert CONNECTOR.hints(webhook("company.x", [one, {"id": "b"}, one])) == [
        Hint("", Kind.COMPANY, "a"),
        Hint("", Kind.COMPANY, "b"),
    ]
    assert CONNECTOR.hints(webhook("invoice.x", one)) == [], "not a kind that we read here"


@pytest.mark.parametrize("body", [b"", b"no json", b'"text"', b"{}", b'[{"id": 5}]', b'[{"id": ""}]', b"[[]]"])
def test_a_body_of_another_form_is_refused(body):
    with pytest.raises(ValueError, match="not a webhook"):
        CONNECTOR.hints(Webhook({"authorization": "deal.x"}, body))
