"""Sign-in at Microsoft Entra ID, as a person or as an application, and the proof of a notification.

Source: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow, v2-oauth2-client-creds-grant-flow
and v2-admin-consent, read 2026-08-13.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from tieout.connectors.outlook.manifest import DELEGATED_SCOPES, OutlookSettings, settings_of
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

RENEW_BEFORE = timedelta(minutes=5)
CLIENT_STATE_LENGTH_MAX = 128
"""Source: https://learn.microsoft.com/graph/api/resources/subscription, read 2026-08-13."""

_RECONNECT = "Connect Outlook again: tieout connect."
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Tokens:
    """The connection's access token. Holds the last one, so that a call does not read the secrets."""

    def __init__(self, context: Context, settings: OutlookSettings) -> None:
        self._context = context
        self._settings = settings
        self._token = ""
        self._expires_at = _LONG_AGO

    def current(self) -> str:
        """A token with at least five minutes left.

        Raises:
            ReconnectError: If only a new consent helps.
            UnavailableError: If Microsoft's sign-in gave no useful answer.
        """
        if not self._lasts():
            self._take(self._read(fresh=False))
        return self._token if self._lasts() else self.renewed(self._token)

    def renewed(self, refused: str) -> str:
        """Another token than `refused`: the one that a faster worker got, or a new one.

        New tokens are stored before they are used: every renewal may bring another refresh token.
        """
        with self._context.lease("token"):
            secrets = self._read(fresh=True)
            self._take(secrets)
            if not self._lasts() or self._token == refused:
                self._take(self._renewed(secrets))
        return self._token

    def _renewed(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        form = {"grant_type": "client_credentials", "scope": self._settings.application_scope}
        if self._settings.access == "delegated":
            if not secrets.get("refresh_token"):
                raise ReconnectError("Outlook was never connected, or its sign-in is missing.", next_step=_RECONNECT)
            form = {
                "grant_type": "refresh_token",
                "refresh_token": secrets["refresh_token"],
                "scope": " ".join(DELEGATED_SCOPES),
            }
        renewed = exchange(self._context.http, self._context.clock, self._settings, secrets, form)
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


class OutlookConsent:
    """Microsoft's own pages; implements `tieout.ports.connector.Consent`.

    Delegated access is the code flow with PKCE. Application access is the page on which an administrator agrees; it
    brings no code, the client secret is asked for a token at once.
    """

    def address(self, *, settings: Mapping[str, Any], secrets: Mapping[str, str], redirect: str, state: str) -> str:
        """The page to open in the person's browser."""
        typed = settings_of(settings)
        query = {"client_id": secrets.get("client_id", ""), "redirect_uri": redirect, "state": state}
        if typed.access == "application":
            return f"{typed.login_url}/{typed.directory}/adminconsent?{urlencode(query)}"
        query |= {
            "response_type": "code",
            "response_mode": "query",
            "scope": " ".join(DELEGATED_SCOPES),
            "prompt": "select_account",
            "code_challenge": _challenge(_verifier(secrets, state)),
            "code_challenge_method": "S256",
        }
        return f"{typed.login_url}/{typed.directory}/oauth2/v2.0/authorize?{urlencode(query)}"

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
        """Exchange the code for tokens, or prove that the application may sign in.

        Raises:
            RejectedError: If consent was refused, or the code is no longer good.
        """
        typed = settings_of(settings)
        application = typed.access == "application"
        agreed = query.get("admin_consent", "").lower() == "true" if application else bool(query.get("code"))
        if query.get("error") or not agreed:
            raise RejectedError("Outlook was not connected: consent was refused.", next_step=_RECONNECT)
        form = {"grant_type": "client_credentials", "scope": typed.application_scope}
        if not application:
            form = {
                "grant_type": "authorization_code",
                "code": query["code"],
                "redirect_uri": redirect,
                "scope": " ".join(DELEGATED_SCOPES),
                "code_verifier": _verifier(secrets, query.get("state", "")),
            }
        try:
            granted = exchange(http, clock, typed, secrets, form)
        except ReconnectError as error:
            raise RejectedError(
                "Outlook was not connected: the code or the client secret is not accepted.",
                next_step=_RECONNECT,
                detail=error.code,
            ) from None
        return Grant(granted, typed.mailbox.lower() or _signed_in(http, typed, granted["access_token"]))


def _signed_in(http: Http, settings: OutlookSettings, token: str) -> str:
    """The id of the person who signed in."""
    answer = http.send(
        Request("GET", f"{settings.base_url}/me?$select=id", write=False, headers={"Authorization": f"Bearer {token}"})
    )
    body = _json(answer)
    if answer.status != HTTPStatus.OK or not isinstance(body.get("id"), str):
        raise UnavailableError("Microsoft Graph does not say who signed in.", detail=f"status {answer.status}")
    return str(body["id"])


def exchange(
    http: Http, clock: Clock, settings: OutlookSettings, secrets: Mapping[str, str], form: Mapping[str, str]
) -> dict[str, str]:
    """The whole bundle with the new tokens in it.

    Raises:
        ReconnectError: If Microsoft refuses: only a person can help.
        UnavailableError: If it gave no useful answer.
    """
    client = {name: secrets.get(name, "") for name in ("client_id", "client_secret")}
    request = Request(
        "POST",
        f"{settings.login_url}/{settings.directory}/oauth2/v2.0/token",
        write=True,
        headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        body=urlencode({**client, **form}).encode(),
    )
    asked_at = clock.now()
    try:
        answer = http.send(request)
    except UncertainError as error:
        # Microsoft does not end the former refresh token when it gives a new one, so the next try can use it again.
        raise UnavailableError("Microsoft did not answer when the sign-in was renewed.", detail=error.detail) from None
    body = _checked(answer)
    tokens = {
        "access_token": body["access_token"],
        "access_token_expires_at": (asked_at + timedelta(seconds=int(body["expires_in"]))).isoformat(),
    }
    if isinstance(body.get("refresh_token"), str):
        tokens["refresh_token"] = body["refresh_token"]
    return {**secrets, **tokens}


def _checked(answer: Answer) -> Mapping[str, Any]:
    body = _json(answer)
    request_id = answer.headers.get("x-ms-request-id", "")[:80]
    if answer.status == HTTPStatus.OK:
        try:
            if isinstance(body["access_token"], str) and 0 < int(body["expires_in"]) < 10**9:
                return body
        except (KeyError, TypeError, ValueError):
            pass
        raise UnavailableError("Microsoft's sign-in gave an unreadable answer.", request_id=request_id)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ThrottledError("Microsoft's sign-in asks us to slow down.", retry_after_seconds=60, request_id=request_id)
    if answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        reason = body.get("error")
        reason = reason[:40] if isinstance(reason, str) else ""
        wrong_client = reason in {"invalid_client", "unauthorized_client"}
        raise ReconnectError(
            "Microsoft does not accept the client ID and secret of the app; the secret may have ended."
            if wrong_client
            else "Microsoft 365 no longer accepts our sign-in.",
            next_step="Make a new client secret in the app registration, and run `tieout connect --ask`."
            if wrong_client
            else _RECONNECT,
            code=reason,
            request_id=request_id,
        )
    raise UnavailableError(f"Microsoft's sign-in answered {answer.status}.", request_id=request_id)


def verify(webhook: Webhook, secrets: Mapping[str, str]) -> None:
    """Return if every notification of the delivery carries our `clientState`; there is no signature.

    Source: https://learn.microsoft.com/graph/change-notifications-delivery-webhooks, read 2026-08-13.

    Raises:
        SignatureError: Otherwise.
    """
    wanted = secrets.get("webhook_token", "").encode()
    try:
        rows = json.loads(webhook.body).get("value")
    except (ValueError, RecursionError, AttributeError):
        rows = None
    states = (
        [row.get("clientState") if isinstance(row, dict) else None for row in rows] if isinstance(rows, list) else []
    )
    fits = [isinstance(state, str) and hmac.compare_digest(state.encode(), wanted) for state in states]
    if not wanted or not fits or not all(fits):
        raise SignatureError("The notification does not carry the token of this connection.")


def _verifier(secrets: Mapping[str, str], state: str) -> str:
    """PKCE's verifier, of this consent alone: computed from its state with a key that only we have."""
    digest = hmac.new(secrets.get("client_secret", "").encode(), f"pkce {state}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _json(answer: Answer) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _moment(text: str) -> datetime:
    """The stored moment; long ago if there is none, so that the token is renewed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _LONG_AGO
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
