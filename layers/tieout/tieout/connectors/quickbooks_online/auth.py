"""Sign-in at Intuit: whom to ask for tokens, consent, and the webhook's signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tieout.connectors.quickbooks_online.manifest import SCOPE, Settings, parse_settings
from tieout.domain.errors import RejectedError, SignatureError
from tieout.ports.clock import Clock
from tieout.ports.connector import Context, Grant, Webhook
from tieout.ports.http import Http
from tieout.transport.oauth import Issuer, Tokens, consent_address, end_of_life, redeemed, refreshed, require_consent

# However often it is renewed, a sign-in ends five years after the consent.
# Source: blogs.intuit.com/2025/11/12/important-changes-to-refresh-token-policy, read 2026-11-22.
CONSENT_LASTS = timedelta(days=5 * 365)


def tokens_of(context: Context, settings: Settings) -> Tokens:
    """The connection's access token."""
    return Tokens(context, lambda secrets: refreshed(context.http, context.clock, _issuer(settings), secrets))


class Consent:
    """Intuit's own page; implements `tieout.ports.connector.Consent`."""

    def address(self, *, settings: Mapping[str, Any], secrets: Mapping[str, str], redirect: str, state: str) -> str:
        """The page to open in the person's browser."""
        page = parse_settings(settings).consent_url
        return consent_address(page, secrets=secrets, redirect=redirect, state=state, scope=SCOPE)

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
        issuer = _issuer(typed)
        require_consent(issuer, query, "code", "realmId")
        realm = query["realmId"]
        if typed.realm_id and typed.realm_id != realm:
            raise RejectedError(
                "QuickBooks was not connected: another company was chosen than the settings name.",
                field="realm_id",
                next_step="Choose the company of the settings on Intuit's page, or correct the settings.",
            )
        form = {"grant_type": "authorization_code", "code": query["code"], "redirect_uri": redirect}
        ends = {"sign_in_ends_at": (clock.now() + CONSENT_LASTS).isoformat()}
        return Grant({**redeemed(http, clock, issuer, secrets, form), **ends}, realm)


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


def _issuer(settings: Settings) -> Issuer:
    return Issuer(
        name="Intuit",
        product="QuickBooks",
        address=settings.token_url,
        signed_out="QuickBooks no longer accepts our sign-in.",
        wrong_client="Intuit does not accept the client id and secret of the app.",
        client_in_header=True,
        more=_refresh_token_ends,
    )


def _refresh_token_ends(body: Mapping[str, Any], asked_at: datetime) -> Mapping[str, str]:
    ends_at = end_of_life(asked_at, body.get("x_refresh_token_expires_in"))
    return {} if ends_at is None else {"refresh_token_expires_at": ends_at}
