"""Sign-in: one access token for all workers, minted rarely and under a lease, and the consent that begins it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.manifest import SCOPES, Settings, parse_settings
from tieout.domain.errors import ProviderError, ReconnectError, RejectedError, ThrottledError, UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.connector import Context, Grant
from tieout.ports.http import Http, Request
from tieout.transport.oauth import (
    Issuer,
    Refusal,
    Tokens,
    consent_address,
    lasts,
    redeemed,
    refreshed,
    require_consent,
    stored_moment,
)

# About ten access tokens in ten minutes, and on another page five refreshes a minute: so never two within two minutes.
# Source: www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html, read 2026-11-22.
MINT_AFTER = timedelta(minutes=2)
MINTED_OUT_SECONDS = 600
# The scheme is one of their own. Source: www.zoho.com/books/api/v3/oauth, read 2026-11-22.
SCHEME = "Zoho-oauthtoken"


def tokens_of(context: Context, settings: Settings) -> Tokens:
    """The organisation's access token.

    A token is refused for good if it was issued just now: another one would not be taken either, and Zoho issues few.
    """
    http, clock, issuer = context.http, context.clock, _issuer(settings)

    def minted(secrets: Mapping[str, str]) -> Mapping[str, str]:
        issued_at = stored_moment(secrets.get("access_token_issued_at", ""))
        if lasts(secrets, clock.now()) and clock.now() - issued_at < MINT_AFTER:
            raise ReconnectError(
                "Zoho Books does not accept the sign-in that it has just issued for this organisation.",
                next_step="Check `organization_id` and `data_center` of the connection, and that whoever signed in "
                "may use this organisation; then connect again.",
            )
        return refreshed(http, clock, issuer, secrets)

    return Tokens(context, minted, SCHEME)


class Consent:
    """Zoho's own page; implements `tieout.ports.connector.Consent`."""

    def address(self, *, settings: Mapping[str, Any], secrets: Mapping[str, str], redirect: str, state: str) -> str:
        """The page to open in the person's browser. Without these two words there would be no refresh token."""
        return consent_address(
            f"{parse_settings(settings).accounts}/oauth/v2/auth",
            secrets=secrets,
            redirect=redirect,
            state=state,
            scope=",".join(SCOPES),
            access_type="offline",
            prompt="consent",
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
        """Exchange the code for tokens, and find out which organisation they are for.

        The redirect names a data centre and its host. They are compared with the settings and never followed: whoever
        makes up a redirect would be sent the app's secret.

        Raises:
            RejectedError: If consent was refused, the code is no longer good, the account lives in another data centre,
                or the organisation of the settings is not among those that it may use.
        """
        typed = parse_settings(settings)
        issuer = _issuer(typed)
        require_consent(issuer, query, "code")
        _check_centre(typed, query)
        form = {"grant_type": "authorization_code", "code": query["code"], "redirect_uri": redirect}
        bundle = redeemed(http, clock, issuer, secrets, form)
        if not bundle.get("refresh_token"):
            raise RejectedError("Zoho gave no lasting sign-in.", next_step=issuer.reconnect)
        return Grant(bundle, _organization(http, typed, bundle["access_token"]))


def _check_centre(settings: Settings, query: Mapping[str, str]) -> None:
    location, server = query.get("location", ""), query.get("accounts-server", "")
    if server.rstrip("/") not in {"", settings.accounts} or (not server and location not in {"", settings.data_center}):
        where = location if location.isalpha() else "another one"
        raise RejectedError(
            f"Zoho Books was not connected: the account lives in another data centre ({where}) than the settings say "
            f"({settings.data_center}).",
            field="data_center",
            next_step="Correct `data_center` in the connection's settings, and connect again.",
        )


def _organization(http: Http, settings: Settings, token: str) -> str:
    """The organisation's id: the one of the settings, or the only one that there is."""
    answer = http.send(
        Request(
            "GET",
            f"{settings.api}/books/v3/organizations",
            write=False,
            headers={"Authorization": f"{SCHEME} {token}", "Accept": "application/json"},
        )
    )
    try:
        known = wire.Organizations.model_validate(answer.json()).organizations
    except (ValueError, ValidationError):
        raise UnavailableError(f"Zoho Books did not list the organisations (it answered {answer.status}).") from None
    ids = [each.id for each in known if each.active]
    if settings.organization_id in ids:
        return settings.organization_id
    if settings.organization_id:
        raise RejectedError(
            "Zoho Books was not connected: whoever signed in may not use the organisation that the settings name.",
            field="organization_id",
            next_step="Sign in as somebody who may, or correct `organization_id`.",
        )
    if len(ids) != 1:
        raise RejectedError(
            f"Zoho Books was not connected: the account has {len(ids)} active organisations.",
            field="organization_id",
            next_step="Set `organization_id` in the connection's settings (in Zoho: Manage Organizations), and connect "
            "again.",
        )
    return ids[0]


def _issuer(settings: Settings) -> Issuer:
    """Zoho; its refresh token does not rotate, so a lost answer costs nothing."""

    def more(body: Mapping[str, Any], asked_at: datetime) -> Mapping[str, str]:
        domain = body.get("api_domain")
        if isinstance(domain, str) and domain.rstrip("/") != settings.api:
            raise ReconnectError(
                "The Zoho account belongs to another data centre than the settings say.",
                next_step="Correct `data_center` in the connection's settings, and connect again.",
            )
        return {"access_token_issued_at": asked_at.isoformat()}

    return Issuer(
        name="Zoho",
        product="Zoho Books",
        address=f"{settings.accounts}/oauth/v2/token",
        signed_out="Zoho Books no longer accepts our sign-in.",
        wrong_client="Zoho does not accept the client id and secret of the app in this data centre.",
        meaning=_meaning,
        more=more,
    )


def _meaning(refusal: Refusal) -> ProviderError | None:
    """What is Zoho's own. Refusals may come with status 200; what gives no reason is a problem of the sign-in's.

    Source: www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html, read 2026-11-22; that too many
    refreshes are told as `Access Denied` with a sentence about requests was reported by users.
    """
    if "too many requests" in refusal.description.lower() or refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _minted_out(refusal.reason or str(refusal.status))
    if refusal.reason in {"", "server_error", "general_error", "temporarily_unavailable"}:
        return UnavailableError(
            f"Zoho's sign-in has a problem of its own (it answered {refusal.status}).", code=refusal.reason
        )
    return None


def _minted_out(code: str) -> ThrottledError:
    return ThrottledError(
        "Zoho issues no more sign-ins in these ten minutes.", retry_after_seconds=MINTED_OUT_SECONDS, code=code
    )
