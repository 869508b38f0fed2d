"""Tokens: when they are renewed, what is stored, and what a refusal of the token address means."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.contract.fakes import ManualClock, MemoryLease, MemorySecrets
from tieout.domain.connections import Connection
from tieout.domain.errors import (
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.ports.connector import Context
from tieout.ports.http import Answer, Request
from tieout.transport import oauth
from tieout.transport.oauth import Issuer, Refusal, Tokens

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRETS = {"client_id": "app", "client_secret": "hidden", "refresh_token": "r1", "webhook_token": "kept"}
ISSUER = Issuer(
    name="Issue & Co",
    product="Shapes",
    address="https://sign-in.example/token",
    signed_out="Shapes no longer accepts our sign-in.",
    wrong_client="Issue & Co does not accept the app.",
    new_client="Make a new secret.",
)


class Provider:
    """Issues numbered tokens of an hour, and takes only the last one."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.instead: Callable[[Request], Answer | None] = lambda _: None
        self.number = 0
        self.rotates = True

    def send(self, request: Request) -> Answer:
        self.requests.append(request)
        if (answer := self.instead(request)) is not None:
            return answer
        if request.url == ISSUER.address:
            self.number += 1
            rotated = {"refresh_token": f"r{self.number + 1}"} if self.rotates else {}
            return said({"access_token": f"a{self.number}", "expires_in": 3600, **rotated})
        is_good = request.headers["Authorization"] == f"Bearer a{self.number}"
        return Answer(200 if is_good else 401, {}, b"{}")

    @property
    def asked(self) -> list[dict[str, str]]:
        """Forms that came to the token address."""
        return [dict(parse_qsl((each.body or b"").decode())) for each in self.requests if each.url == ISSUER.address]


class World:
    def __init__(self, secrets: Mapping[str, str] = SECRETS) -> None:
        self.http = Provider()
        self.clock = ManualClock(NOW)
        self.secrets = MemorySecrets(secrets)
        self.lease = MemoryLease()

    def tokens(self) -> Tokens:
        context = Context(Connection("acme", "crm", "shapes"), self.secrets, self.http, self.clock, self.lease)
        return Tokens(context, lambda secrets: oauth.refreshed(self.http, self.clock, ISSUER, secrets))

    def issued(self, issuer: Issuer = ISSUER) -> dict[str, str]:
        return oauth.issued(self.http, self.clock, issuer, self.secrets.history[-1], {"grant_type": "x"})


@pytest.fixture
def world() -> World:
    return World()


def said(body: object, status: int = 200) -> Answer:
    return Answer(status, {"x-request-id": "q-1"}, json.dumps(body).encode())


def call(**headers: str) -> Request:
    return Request("POST", "https://api.example/x", write=True, spends=("calls",), headers=headers, body=b"{}")


def test_a_token_is_stored_before_it_is_used_and_kept_for_the_next_call(world):
    stored_at_use: list[str] = []
    world.http.instead = lambda request: (
        None if request.url == ISSUER.address else stored_at_use.append(world.secrets.history[-1]["access_token"])
    )
    tokens = world.tokens()

    assert [tokens.send(call()).status for _ in range(3)] == [200] * 3

    assert stored_at_use == ["a1"] * 3
    assert world.secrets.history[1:] == [
        {**SECRETS, "access_token": "a1", "access_token_expires_at": "2026-03-02T13:00:00+00:00", "refresh_token": "r2"}
    ]
    assert world.lease.taken == ["token"]
    assert world.http.asked == [
        {"grant_type": "refresh_token", "refresh_token": "r1", "client_id": "app", "client_secret": "hidden"}
    ]


def test_a_request_goes_out_as_it_is_with_the_token_beside_its_headers(world):
    world.tokens().send(call(Prefer="x"))

    sent = world.http.requests[-1]
    assert sent.headers == {"Accept": "application/json", "Prefer": "x", "Authorization": "Bearer a1"}
    assert (sent.method, sent.url, sent.write, sent.spends, sent.body) == (
        "POST",
        "https://api.example/x",
        True,
        ("calls",),
        b"{}",
    )


def test_five_minutes_before_its_end_a_token_is_renewed(world):
    tokens = world.tokens()
    tokens.current()
    world.clock.advance(55 * 60 - 1)
    assert tokens.current() == "a1"
    world.clock.advance(1)
    assert tokens.current() == "a2"
    assert [form["refresh_token"] for form in world.http.asked] == ["r1", "r2"]


def test_a_refresh_token_that_does_not_rotate_stays(world):
    world.http.rotates = False

    world.tokens().current()

    assert world.secrets.history[-1]["refresh_token"] == "r1"


def test_a_refused_token_is_replaced_once_and_not_if_a_faster_worker_did(world):
    slow, fast = world.tokens(), world.tokens()
    assert slow.current() == fast.current() == "a1"
    fast.renewed("a1")

    assert slow.send(call()).status == 200
    assert world.http.number == 2

    world.http.instead = lambda request: None if request.url == ISSUER.address else Answer(401, {}, b"")
    assert slow.send(call()).status == 401, "what it means is for the connector's table"
    assert world.http.number == 3


def test_who_was_held_up_takes_what_another_worker_stored_meanwhile(world):
    def overtaken(_: Request) -> Answer:
        newer = {"access_token": "theirs", "access_token_expires_at": (NOW + timedelta(hours=1)).isoformat()}
        world.secrets.history.append({**SECRETS, **newer, "refresh_token": "r9"})
        return said({"error": "invalid_grant"}, 400)

    world.http.instead = overtaken

    assert world.tokens().current() == "theirs"
    assert world.secrets.history[-1]["refresh_token"] == "r9"


def test_a_refused_refresh_token_asks_for_a_person_and_stores_nothing(world):
    world.http.instead = lambda _: said({"error": "invalid_grant", "error_description": "secret"}, 400)

    with pytest.raises(ReconnectError, match="Shapes no longer accepts our sign-in") as caught:
        world.tokens().current()
    assert caught.value.next_step == "Connect Shapes again: tieout connect."
    assert (caught.value.code, caught.value.request_id) == ("invalid_grant", "q-1")
    assert len(world.secrets.history) == 1
    assert len(world.http.requests) == 1


@pytest.mark.parametrize("secrets", [{}, {"refresh_token": ""}, {"access_token": "a0"}])
def test_without_a_refresh_token_nothing_is_asked(secrets):
    world = World(secrets)

    with pytest.raises(ReconnectError, match="never connected"):
        world.tokens().current()
    assert world.http.requests == []


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ((NOW + timedelta(hours=1)).isoformat(), True),
        ((NOW + timedelta(hours=1)).replace(tzinfo=None).isoformat(), True),
        ((NOW + timedelta(minutes=5)).isoformat(), False),
        ("soon", False),
        ("", False),
    ],
)
def test_a_stored_token_is_used_if_its_end_can_be_read(text, stays):
    world = World({**SECRETS, "access_token": "a0", "access_token_expires_at": text})

    assert world.tokens().current() == ("a0" if stays else "a1")


def test_a_lost_answer_is_not_done_and_stores_nothing(world):
    def lost(_: Request) -> Answer:
        raise UncertainError("no whole answer", detail="ReadTimeout")

    world.http.instead = lost
    with pytest.raises(UnavailableError, match="Issue & Co did not answer") as caught:
        world.tokens().current()
    assert caught.value.detail == "ReadTimeout"
    assert len(world.secrets.history) == 1


@pytest.mark.parametrize(
    ("status", "body", "error", "told"),
    [
        (400, {"error": "invalid_grant"}, ReconnectError, (ISSUER.signed_out, ISSUER.reconnect)),
        (403, None, ReconnectError, (ISSUER.signed_out, ISSUER.reconnect)),
        (200, {"error": "invalid_grant"}, ReconnectError, (ISSUER.signed_out, ISSUER.reconnect)),
        (401, {"error": "invalid_client"}, ReconnectError, (ISSUER.wrong_client, ISSUER.new_client)),
        (429, {"error": "slow_down"}, ThrottledError, ("Issue & Co's sign-in asks us to slow down.", "")),
        (503, {"error": "temporarily_unavailable"}, UnavailableError, ("Issue & Co's sign-in answered 503.", "")),
        (302, None, UnavailableError, ("Issue & Co's sign-in answered 302.", "")),
    ],
)
def test_what_a_refusal_means(world, status, body, error, told):
    world.http.instead = lambda _: said(body, status)

    with pytest.raises(ProviderError) as caught:
        world.issued()
    assert type(caught.value) is error
    assert (caught.value.message, caught.value.next_step) == told
    assert caught.value.request_id == "q-1"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"access_token": "", "expires_in": 5},
        {"access_token": 5},
        {"access_token": "secret", "expires_in": "soon"},
        {"access_token": "secret", "expires_in": -1},
        {"access_token": "secret", "expires_in": 10**12},
        {"access_token": "secret", "expires_in": None},
    ],
)
def test_an_answer_that_holds_no_token_is_unavailable_and_not_repeated(world, body):
    world.http.instead = lambda _: said(body)

    with pytest.raises(UnavailableError, match="unreadable answer") as caught:
        world.issued()
    assert "secret" not in repr(caught.value)
    assert len(world.secrets.history) == 1


def test_a_body_that_is_no_json_is_unavailable(world):
    world.http.instead = lambda _: Answer(200, {}, b"[" * 100_000)

    with pytest.raises(UnavailableError, match="unreadable answer"):
        world.issued()


def test_a_life_that_is_not_told_is_an_hour(world):
    world.http.instead = lambda _: said({"access_token": "a"})

    assert world.issued()["access_token_expires_at"] == "2026-03-02T13:00:00+00:00"


def test_an_issuer_may_want_the_app_in_the_header_keep_more_and_word_its_own(world):
    def more(body: Mapping[str, Any], asked_at: datetime) -> dict[str, str]:
        return {"region": body["region"], "asked_at": asked_at.isoformat()}

    def meaning(refusal: Refusal) -> ProviderError | None:
        return ThrottledError("Wait.") if refusal.description == "too many" else None

    issuer = Issuer("I", "P", ISSUER.address, "out", "wrong", client_in_header=True, more=more, meaning=meaning)
    world.http.instead = lambda _: said({"access_token": "a", "region": "eu"})

    assert world.issued(issuer) == {
        **SECRETS,
        "access_token": "a",
        "access_token_expires_at": "2026-03-02T13:00:00+00:00",
        "region": "eu",
        "asked_at": NOW.isoformat(),
    }
    assert world.http.requests[0].headers["Authorization"] == "Basic YXBwOmhpZGRlbg=="
    assert world.http.asked == [{"grant_type": "x"}]

    world.http.instead = lambda _: said({"error": "denied", "error_description": "too many"}, 400)
    with pytest.raises(ThrottledError, match="Wait") as caught:
        world.issued(issuer)
    assert caught.value.request_id == "q-1"
    world.http.instead = lambda _: said({"error": "denied", "error_description": "else"}, 400)
    with pytest.raises(ReconnectError, match="out"):
        world.issued(issuer)


def test_the_page_of_consent_has_the_app_and_where_to_come_back_to():
    page = oauth.consent_address(
        "https://a.example/auth",
        secrets=SECRETS,
        redirect="https://b.example/?x=1",
        state="s&1",
        scope="a b",
        extra="1",
    )

    assert page.startswith("https://a.example/auth?")
    assert dict(parse_qsl(urlsplit(page).query)) == {
        "client_id": "app",
        "response_type": "code",
        "scope": "a b",
        "redirect_uri": "https://b.example/?x=1",
        "state": "s&1",
        "extra": "1",
    }
    assert "hidden" not in page


@pytest.mark.parametrize("query", [{}, {"code": ""}, {"code": "c"}, {"code": "c", "place": "1", "error": "denied"}])
def test_a_consent_without_what_is_needed_is_refused(query):
    with pytest.raises(RejectedError, match="Shapes was not connected: consent was refused"):
        oauth.require_consent(ISSUER, query, "code", "place")


def test_a_consent_with_what_is_needed_is_taken():
    oauth.require_consent(ISSUER, {"code": "c", "place": "1", "more": ""}, "code", "place")


@pytest.mark.parametrize(
    ("reason", "sentence", "next_step"),
    [
        ("invalid_grant", "Shapes was not connected. The code is no longer good.", ISSUER.reconnect),
        ("invalid_client", f"Shapes was not connected. {ISSUER.wrong_client}", ISSUER.new_client),
    ],
)
def test_a_code_that_is_refused_is_told_apart_from_an_app_that_is(world, reason, sentence, next_step):
    world.http.instead = lambda _: said({"error": reason}, 400)

    with pytest.raises(RejectedError) as caught:
        oauth.redeemed(world.http, world.clock, ISSUER, SECRETS, {"code": "c"})
    assert (caught.value.message, caught.value.next_step, caught.value.detail) == (sentence, next_step, reason)


def test_what_an_issuer_itself_finds_wrong_is_said_of_a_consent_too(world):
    def more(_: Mapping[str, Any], __: datetime) -> dict[str, str]:
        raise ReconnectError("It belongs to another region.", next_step="Correct the region.")

    issuer = Issuer("I", "Shapes", ISSUER.address, "out", "wrong", more=more)
    with pytest.raises(RejectedError, match=r"Shapes was not connected\. It belongs to another region") as caught:
        oauth.redeemed(world.http, world.clock, issuer, SECRETS, {"code": "c"})
    assert caught.value.next_step == "Correct the region."


def test_an_app_that_is_let_in_without_a_code_is_not_told_of_one(world):
    world.http.instead = lambda _: said({"error": "invalid_scope"}, 400)

    with pytest.raises(RejectedError, match=ISSUER.signed_out):
        oauth.redeemed(world.http, world.clock, ISSUER, SECRETS, {"grant_type": "client_credentials"})


def test_no_token_shows_in_a_repr(world):
    tokens = world.tokens()
    tokens.current()

    shown = repr([tokens, world.http.requests, Refusal(400, "x", "secret")])
    assert not any(secret in shown for secret in ("a1", "hidden", "r1", "r2", "secret"))
