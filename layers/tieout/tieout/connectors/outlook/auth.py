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
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from tieout.connectors.outlook.manifest import DELEGATED_SCOPES, OutlookSettings, settings_of
from tieout.domain.errors import SignatureError, UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.connector import Context, Grant, Webhook
from tieout.ports.http import Http, Request
from tieout.transport.oauth import Issuer, Tokens, consent_address, issued, redeemed, refreshed, require_consent
from tieout.transport.wire import object_of

CLIENT_STATE_LENGTH_MAX = 128
"""Source: https://learn.microsoft.com/graph/api/resources/subscription, read 2026-08-13."""

_SCOPES = " ".join(DELEGATED_SCOPES)


def tokens_of(context: Context, settings: OutlookSettings) -> Tokens:
    """The mailbox's access token."""
    http, clock, issuer = context.http, context.clock, _issuer(settings)
    if settings.access == "application":
        form = _client_credentials(settings)
        return Tokens(context, lambda secrets: issued(http, clock, issuer, secrets, form))
    return Tokens(context, lambda secrets: refreshed(http, clock, issuer, secrets, scope=_SCOPES))


def _issuer(settings: OutlookSettings) -> Issuer:
    """Microsoft; it does not end the former refresh token when it gives a new one."""
    return Issuer(
        name="Microsoft",
        product="Outlook",
        address=f"{settings.login_url}/{settings.directory}/oauth2/v2.0/token",
        signed_out="Microsoft 365 no longer accepts our sign-in.",
        wrong_client="Microsoft does not accept the client ID and secret of the app; the secret may have ended.",
        new_client="Make a new client secret in the app registration, and run `tieout connect --ask`.",
    )


def _client_credentials(settings: OutlookSettings) -> dict[str, str]:
    return {"grant_type": "client_credentials", "scope": settings.application_scope}


class OutlookConsent:
    """Microsoft's own pages; implements `tieout.ports.connector.Consent`.

    Delegated access is the code flow with PKCE. Application access is the page on which an administrator agrees; it
    brings no code, the client secret is asked for a token at once.
    """

    def address(self, *, settings: Mapping[str, Any], secrets: Mapping[str, str], redirect: str, state: str) -> str:
        """The page to open in the person's browser."""
        typed = settings_of(settings)
        if typed.access == "application":
            query = {"client_id": secrets.get("client_id", ""), "redirect_uri": redirect, "state": state}
            return f"{typed.login_url}/{typed.directory}/adminconsent?{urlencode(query)}"
        return consent_address(
            f"{typed.login_url}/{typed.directory}/oauth2/v2.0/authorize",
            secrets=secrets,
            redirect=redirect,
            state=state,
            scope=_SCOPES,
            response_mode="query",
            prompt="select_account",
            code_challenge=_challenge(_verifier(secrets, state)),
            code_challenge_method="S256",
        )

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
        issuer = _issuer(typed)
        if typed.access == "application":
            agreed = query.get("admin_consent", "").lower() == "true"
            require_consent(issuer, query if agreed else {}, "admin_consent")
            form = _client_credentials(typed)
        else:
            require_consent(issuer, query, "code")
            form = {
                "grant_type": "authorization_code",
                "code": query["code"],
                "redirect_uri": redirect,
                "scope": _SCOPES,
                "code_verifier": _verifier(secrets, query.get("state", "")),
            }
        granted = redeemed(http, clock, issuer, secrets, form)
        return Grant(granted, typed.mailbox.lower() or _signed_in(http, typed, granted["access_token"]))


def _signed_in(http: Http, settings: OutlookSettings, token: str) -> str:
    """The id of the person who signed in."""
    answer = http.send(
        Request("GET", f"{settings.base_url}/me?$select=id", write=False, headers={"Authorization": f"Bearer {token}"})
    )
    body = object_of(answer)
    if answer.status != HTTPStatus.OK or not isinstance(body.get("id"), str):
        raise UnavailableError("Microsoft Graph does not say who signed in.", detail=f"status {answer.status}")
    return str(body["id"])


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
