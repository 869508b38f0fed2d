"""Sign-in by OAuth 2.0: tokens that are renewed under a lease and stored before use, and the consent that begins it.

A connection's secrets are one bundle. Here `client_id`, `client_secret` and `refresh_token` are read, and
`access_token`, `access_token_expires_at` (ISO 8601) and `refresh_token` written; the rest of the bundle stays.
Source: RFC 6749, sections 2.3.1, 4.1, 4.4, 5 and 6.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from tieout.domain.errors import (
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.ports.clock import Clock
from tieout.ports.connector import Context
from tieout.ports.http import Answer, Http, Request
from tieout.transport.redact import request_id
from tieout.transport.wire import object_of

RENEW_BEFORE = timedelta(minutes=5)
"""A token with less than this left is renewed: all of ours live an hour."""

LIFE_IF_UNSAID_SECONDS = 3600
LIFE_SECONDS_MAX = 10**9
THROTTLED_SECONDS = 60
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_REASON_LENGTH_MAX = 40
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_WRONG_CLIENT = frozenset({"invalid_client", "invalid_client_secret", "unauthorized_client"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the token address answers instead of a token: its `error`, cut at 40 characters, and its description."""

    status: int
    reason: str = ""
    description: str = field(default="", repr=False)


def _nothing_special(_: Refusal) -> ProviderError | None:
    return None


def _nothing_more(_: Mapping[str, Any], __: datetime) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues the tokens of a connection.

    Attributes:
        name, product: What sentences call the one who issues, and what the person connects: Intuit, QuickBooks.
        address: Where tokens are asked for.
        signed_out: The sentence for a sign-in that is refused.
        wrong_client: The sentence for an app whose id and secret are refused.
        new_client: What the person does then; connecting again if empty.
        client_in_header: True if the app's id and secret go as Basic authorization, not in the form.
        meaning: The error that a refusal is which this issuer words in its own way; None for every other.
        more: What else of a token's answer, asked for at that moment, is kept among the secrets. It may refuse it.
    """

    name: str
    product: str
    address: str
    signed_out: str
    wrong_client: str
    new_client: str = ""
    client_in_header: bool = False
    meaning: Callable[[Refusal], ProviderError | None] = _nothing_special
    more: Callable[[Mapping[str, Any], datetime], Mapping[str, str]] = _nothing_more

    @property
    def reconnect(self) -> str:
        """What a person does when only a new consent helps."""
        return f"Connect {self.product} again: tieout connect."


class Tokens:
    """A connection's access token, and calls that carry it. Holds the last one, so that a call reads no secrets.

    Args:
        context: Of the connection.
        renew: The bundle with a new access token, made of the one that is stored; mostly `refreshed`.
        scheme: What stands before the token in the header.
    """

    def __init__(
        self, context: Context, renew: Callable[[Mapping[str, str]], Mapping[str, str]], scheme: str = "Bearer"
    ) -> None:
        self._context = context
        self._renew = renew
        self._scheme = scheme
        self._secrets: Mapping[str, str] = {}

    def send(self, request: Request) -> Answer:
        """The answer to the signed request; one that is refused for its token is sent once more with another.

        Providers look at the token before they do anything, so even a write may be sent again.

        Raises:
            ProviderError: As `current` and `ports.http.Http.send`.
        """
        token = self.current()
        answer = self._context.http.send(self._signed(request, token))
        if answer.status == HTTPStatus.UNAUTHORIZED:
            answer = self._context.http.send(self._signed(request, self.renewed(token)))
        return answer

    def current(self) -> str:
        """A token with at least five minutes left.

        Raises:
            ReconnectError: If only a new consent helps.
            UnavailableError: If the token address gave no useful answer.
        """
        if not self._lasts():
            self._secrets = self._read(fresh=False)
        return self._secrets["access_token"] if self._lasts() else self.renewed(self._secrets.get("access_token", ""))

    def renewed(self, refused: str) -> str:
        """Another token than `refused`: the one that a faster worker got, or a new one.

        New tokens are stored before they are used: the former refresh token may be dead already.

        Raises:
            ReconnectError: If only a new consent helps.
            UnavailableError: If the token address gave no useful answer.
        """
        with self._context.lease("token"):
            self._secrets = self._read(fresh=True)
            if not self._lasts() or self._secrets["access_token"] == refused:
                self._secrets = self._renewed(self._secrets)
        return self._secrets["access_token"]

    def _renewed(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        try:
            renewed = self._renew(secrets)
        except ReconnectError:
            # We may have been held up for longer than the lease lasts, and another worker renewed meanwhile.
            newer = self._read(fresh=True)
            if newer.get("refresh_token") == secrets.get("refresh_token"):
                raise
            return newer
        self._context.secrets.write(self._context.connection.tenant, self._context.connection.id, renewed)
        return renewed

    def _lasts(self) -> bool:
        return lasts(self._secrets, self._context.clock.now())

    def _read(self, *, fresh: bool) -> Mapping[str, str]:
        connection = self._context.connection
        return self._context.secrets.read(connection.tenant, connection.id, fresh=fresh)

    def _signed(self, request: Request, token: str) -> Request:
        headers = {"Accept": "application/json", **request.headers, "Authorization": f"{self._scheme} {token}"}
        return replace(request, headers=headers)


def lasts(secrets: Mapping[str, str], now: datetime) -> bool:
    """True if the bundle has an access token with at least five minutes left."""
    ends_at = stored_moment(secrets.get("access_token_expires_at", ""))
    return bool(secrets.get("access_token")) and ends_at - now > RENEW_BEFORE


def end_of_life(asked_at: datetime, seconds: object) -> str | None:
    """When what was asked for ends, as text for a bundle; None if its seconds are no number, or a senseless one."""
    try:
        life = int(seconds) if isinstance(seconds, int | str) else 0
    except ValueError:
        return None
    return (asked_at + timedelta(seconds=life)).isoformat() if 0 < life < LIFE_SECONDS_MAX else None


def stored_moment(text: str) -> datetime:
    """The moment of a bundle's text, aware; long ago if it holds none, so that the token is renewed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _LONG_AGO
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def consent_address(
    page: str, *, secrets: Mapping[str, str], redirect: str, state: str, scope: str, **more: str
) -> str:
    """The page of consent to open in the person's browser. `more` is what this issuer wants besides."""
    query = {
        "client_id": secrets.get("client_id", ""),
        "response_type": "code",
        "scope": scope,
        "redirect_uri": redirect,
        "state": state,
    }
    return f"{page}?{urlencode(query | more)}"


def require_consent(issuer: Issuer, query: Mapping[str, str], *names: str) -> None:
    """Return if the redirect's query has each name, and no error.

    Raises:
        RejectedError: Otherwise.
    """
    if query.get("error") or not all(query.get(name) for name in names):
        raise RejectedError(f"{issuer.product} was not connected: consent was refused.", next_step=issuer.reconnect)


def redeemed(
    http: Http, clock: Clock, issuer: Issuer, secrets: Mapping[str, str], form: Mapping[str, str]
) -> dict[str, str]:
    """The bundle with the tokens of a consent in it; `form` proves the consent, mostly by its code.

    Raises:
        RejectedError: If the code is no longer good, or the app's id and secret are not.
        UnavailableError: If the token address gave no useful answer.
    """
    try:
        return issued(http, clock, issuer, secrets, form)
    except ReconnectError as error:
        is_code = "code" in form and error.message == issuer.signed_out
        raise RejectedError(
            f"{issuer.product} was not connected. {'The code is no longer good.' if is_code else error.message}",
            next_step=issuer.reconnect if is_code else error.next_step,
            detail=error.code,
            request_id=error.request_id,
        ) from None


def refreshed(http: Http, clock: Clock, issuer: Issuer, secrets: Mapping[str, str], **more: str) -> dict[str, str]:
    """The bundle with a new access token in it, for its refresh token. `more` goes into the form.

    Raises:
        ReconnectError: If there is no refresh token, or it is refused: only a new consent helps.
        UnavailableError: If the token address gave no useful answer.
    """
    refresh_token = secrets.get("refresh_token", "")
    if not refresh_token:
        raise ReconnectError(
            f"{issuer.product} was never connected, or its sign-in is missing.", next_step=issuer.reconnect
        )
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **more}
    return issued(http, clock, issuer, secrets, form)


def issued(
    http: Http, clock: Clock, issuer: Issuer, secrets: Mapping[str, str], form: Mapping[str, str]
) -> dict[str, str]:
    """The bundle with what the token address gives for the form, and not stored yet.

    Raises:
        ReconnectError: If it refuses: only a person can help.
        UnavailableError: If it gave no useful answer. Whether it issued a token is unknown, and the next try shows it:
            issuers mostly take the former refresh token for a while; one that does not refuses it then.
    """
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    client = {name: secrets.get(name, "") for name in ("client_id", "client_secret")}
    if issuer.client_in_header:
        headers["Authorization"] = f"Basic {base64.b64encode(':'.join(client.values()).encode()).decode()}"
    else:
        form = {**client, **form}
    request = Request("POST", issuer.address, write=True, headers=headers, body=urlencode(form).encode())
    asked_at = clock.now()
    try:
        answer = http.send(request)
    except UncertainError as error:
        raise UnavailableError(
            f"{issuer.name} did not answer when the sign-in was renewed.", detail=error.detail
        ) from None
    body = object_of(answer)
    if answer.status != HTTPStatus.OK or body.get("error"):
        refused = _meaning(issuer, answer.status, body)
        refused.request_id = request_id(answer.headers)
        raise refused
    token = body.get("access_token")
    ends_at = end_of_life(asked_at, body.get("expires_in", LIFE_IF_UNSAID_SECONDS))
    if not isinstance(token, str) or not token or ends_at is None:
        raise UnavailableError(
            f"{issuer.name}'s sign-in gave an unreadable answer.", request_id=request_id(answer.headers)
        )
    new = {"access_token": token, "access_token_expires_at": ends_at}
    bundle = {**secrets, **issuer.more(body, asked_at), **new}
    refresh_token = body.get("refresh_token")
    return {**bundle, "refresh_token": refresh_token} if isinstance(refresh_token, str) and refresh_token else bundle


def _meaning(issuer: Issuer, status: int, body: Mapping[str, Any]) -> ProviderError:
    reason, description = (str(body.get(name) or "") for name in ("error", "error_description"))
    refusal = Refusal(status, reason[:_REASON_LENGTH_MAX], description)
    if (own := issuer.meaning(refusal)) is not None:
        return own
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return ThrottledError(
            f"{issuer.name}'s sign-in asks us to slow down.", retry_after_seconds=THROTTLED_SECONDS, code=str(status)
        )
    if status not in _REFUSED and status != HTTPStatus.OK:
        return UnavailableError(f"{issuer.name}'s sign-in answered {status}.", code=refusal.reason)
    if refusal.reason in _WRONG_CLIENT:
        return ReconnectError(issuer.wrong_client, next_step=issuer.new_client or issuer.reconnect, code=refusal.reason)
    return ReconnectError(issuer.signed_out, next_step=issuer.reconnect, code=refusal.reason)
