"""Sign-in: tokens that are renewed under a lease and stored before use, consent, and the webhook's signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.manifest import SCOPE, Settings, parse_settings
from tieout.domain.errors import (
    ReconnectError,
    RejectedError,
    SignatureError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.ports.clock import Clock
from tieout.ports.connector import Context, Grant, Webhook
from tieout.ports.http import Answer, Http, Request

# Renew when less is left. An access token lives 3,600 seconds.
RENEW_BEFORE = timedelta(minutes=5)
# However often it is renewed, a sign-in ends five years after the consent.
# Source: blogs.intuit.com/2025/11/12/important-changes-to-refresh-token-policy, read 2026-11-22.
CONSENT_LASTS = timedelta(days=5 * 365)
_RECONNECT = "Connect QuickBooks again: tieout connect."


class Tokens:
    """The connection's access token. Holds the last one, so that a call does not read the secrets."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self._context = context
        self._settings = settings
        self._token = ""
        self._expires_at = datetime.min.replace(tzinfo=UTC)

    def current(self) -> str:
        """A token with at least five minutes left.

        Raises:
            ReconnectError: If only a new consent helps.
            UnavailableError: If the token address gave no useful answer.
        """
        if not self._lasts():
            self._take(self._read(fresh=False))
        return self._token if self._lasts() else self.renewed(self._token)

    def renewed(self, refused: str) -> str:
        """Another token than `refused`: the one that a faster worker got, or a new one.

        The new tokens are stored before they are used: the former refresh token may be dead already.
        """
        with self._context.lease("token"):
            secrets = self._read(fresh=True)
            self._take(secrets)
            if not self._lasts() or self._token == refused:
                self._take(self._renewed(secrets))
        return self._token

    def _renewed(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """The secrets as they are stored now, with new tokens in them."""
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
        return bool(self._token) and self._expires_at - self._context.clock.now() > RENEW_BEFORE

    def _take(self, secrets: Mapping[str, str]) -> None:
        self._token = secrets.get("access_token", "")
        self._expires_at = _moment(secrets.get("access_token_expires_at", ""))

    def _read(self, *, fresh: bool) -> Mapping[str, str]:
        connection = self._context.connection
        return self._context.secrets.read(connection.tenant, connection.id, fresh=fresh)

    def _renew(self, secrets: Mapping[str, str]) -> dict[str, str]:
        refresh_token = secrets.get("refresh_token", "")
        if not refresh_token:
            raise ReconnectError("QuickBooks was never connected, or its sign-in is missing.", next_step=_RECONNECT)
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return _exchange(self._context.http, self._context.clock, self._settings, secrets, form)


class Consent:
    """Intuit's own page; implements `tieout.ports.connector.Consent`."""

    def address(self, *, settings: Mapping[str, Any], secrets: Mapping[str, str], redirect: str, state: str) -> str:
        """The page to open in the person's browser."""
        query = {
            "client_id": secrets.get("client_id", ""),
            "response_type": "code",
            "scope": SCOPE,
            "redirect_uri": redirect,
            "state": state,
        }
        return f"{parse_settings(settings).consent_url}?{urlencode(query)}"

    def finish(
        self,
        *,
        settings: Mapping[str, Any],
        secrets: Mapping[str, str],
        redirect: str,
        query: Mapping[str, str],
        http: Http,
        clock: Clock,
    ) -> Grant:
        """Exchange the code for tokens; the company's id comes in the redirect beside the code.

        Raises:
            RejectedError: If consent was refused, the code is no longer good, or another company was chosen.
        """
        typed = parse_settings(settings)
        realm = query.get("realmId", "")
        if query.get("error") or not query.get("code") or not realm:
            raise RejectedError("QuickBooks was not connected: consent was refused.", next_step=_RECONNECT)
        if typed.realm_id and typed.realm_id != realm:
            raise RejectedError(
                "QuickBooks was not connected: another company was chosen than the settings name.",
                field="realm_id",
                next_step="Choose the company of the settings on Intuit's page, or correct the settings.",
            )
        form = {"grant_type": "authorization_code", "code": query["code"], "redirect_uri": redirect}
        ends = {"sign_in_ends_at": (clock.now() + CONSENT_LASTS).isoformat()}
        try:
            return Grant({**_exchange(http, clock, typed, secrets, form), **ends}, realm)
        except ReconnectError as error:
            raise RejectedError(
                "QuickBooks was not connected: the code is no longer good.", next_step=_RECONNECT, detail=error.detail
            ) from None


def verify(webhook: Webhook, secrets: Mapping[str, str]) -> None:
    """Return if the signature was made over the raw body with the app's verifier token.

    Source: developer.intuit.com/app/developer/qbo/docs/develop/webhooks, read 2026-11-22.

    Raises:
        SignatureError: Otherwise.
    """
    verifier = secrets.get("webhook_verifier", "")
    digest = hmac.new(verifier.encode(), webhook.body, hashlib.sha256).digest()
    given = webhook.headers.get("intuit-signature", "").encode()
    if not verifier or not hmac.compare_digest(base64.b64encode(digest), given):
        raise SignatureError("The webhook's signature does not fit.")


def _exchange(
    http: Http, clock: Clock, settings: Settings, secrets: Mapping[str, str], form: Mapping[str, str]
) -> dict[str, str]:
    """The whole bundle with the new tokens in it."""
    client = f"{secrets.get('client_id', '')}:{secrets.get('client_secret', '')}"
    request = Request(
        "POST",
        settings.token_url,
        write=True,
        headers={
            "Authorization": f"Basic {base64.b64encode(client.encode()).decode()}",
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        body=urlencode(form).encode(),
    )
    asked_at = clock.now()
    try:
        answer = http.send(request)
    except UncertainError as error:
        # If the token did rotate, Intuit may take the former one for a day more (its older texts say so); the next try
        # shows it. If it does not, renewing fails clearly and a person signs in again; until then changes wait.
        raise UnavailableError("Intuit did not answer when the sign-in was renewed.", detail=error.detail) from None
    token = _token(answer)
    bundle = {
        **secrets,
        "access_token": token.access_token,
        "refresh_token": token.refresh_token,
        "access_token_expires_at": _text(asked_at, token.expires_in),
    }
    if token.refresh_expires_in is not None:
        bundle["refresh_token_expires_at"] = _text(asked_at, token.refresh_expires_in)
    return bundle


def _token(answer: Answer) -> wire.Token:
    request_id = answer.headers.get("intuit_tid", "")
    if answer.status == 200:  # noqa: PLR2004 - OK
        try:
            return wire.Token.model_validate(answer.json())
        except (ValueError, ValidationError):  # the error's text would hold the answer, and so the token
            raise UnavailableError("Intuit's sign-in gave an unreadable answer.", request_id=request_id) from None
    if answer.status == 429:  # noqa: PLR2004 - Too Many Requests
        raise ThrottledError("Intuit asks us to slow down.", retry_after_seconds=60, request_id=request_id)
    if answer.status in {400, 401, 403}:
        reason = _reason(answer)
        sentence = (
            "Intuit does not accept the client id and secret of the app."
            if reason == "invalid_client"
            else "QuickBooks no longer accepts our sign-in."
        )
        raise ReconnectError(sentence, next_step=_RECONNECT, code=reason, request_id=request_id)
    raise UnavailableError(f"Intuit's sign-in answered {answer.status}.", request_id=request_id)


def _reason(answer: Answer) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    reason = body.get("error") if isinstance(body, dict) else None
    return reason[:40] if isinstance(reason, str) else ""


def _text(asked_at: datetime, seconds: int) -> str:
    return (asked_at + timedelta(seconds=seconds)).isoformat()


def _moment(text: str) -> datetime:
    """The stored moment; long ago if there is none, so that the token is renewed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
