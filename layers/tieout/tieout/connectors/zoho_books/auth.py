"""Sign-in: one access token for all workers, minted rarely and under a lease, and the consent that begins it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.manifest import SCOPES, Settings, parse_settings
from tieout.domain.errors import (
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.ports.clock import Clock
from tieout.ports.connector import Context, Grant
from tieout.ports.http import Answer, Http, Request

# Renew when less is left. An access token lives one hour. Source: www.zoho.com/books/api/v3/oauth, read 2026-11-22.
RENEW_BEFORE = timedelta(minutes=5)
# About ten access tokens in ten minutes, and on another page five refreshes a minute: so never two within two minutes.
# Source: www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html, read 2026-11-22.
MINT_AFTER = timedelta(minutes=2)
MINTED_OUT_SECONDS = 600
_RECONNECT = "Connect Zoho Books again: tieout connect."
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def authorization(token: str) -> str:
    """The value of the header: Zoho has a scheme of its own. Source: .../oauth, read 2026-11-22."""
    return f"Zoho-oauthtoken {token}"


class Tokens:
    """The connection's access token. Holds the last one, so that a call does not read the secrets."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self._context = context
        self._settings = settings
        self._token = ""
        self._expires_at = self._issued_at = _LONG_AGO

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

        Raises:
            ReconnectError: If a token is refused that was issued just now: another one would not be taken either, and
                Zoho issues few.
        """
        with self._context.lease("token"):
            secrets = self._read(fresh=True)
            self._take(secrets)
            if not self._lasts() or self._token == refused:
                if self._lasts() and self._context.clock.now() - self._issued_at < MINT_AFTER:
                    raise ReconnectError(
                        "Zoho Books does not accept the sign-in that it has just issued for this organisation.",
                        next_step="Check `organization_id` and `data_center` of the connection, and that whoever "
                        "signed in may use this organisation; then connect again.",
                    )
                self._take(self._minted(secrets))
        return self._token

    def _minted(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        refresh_token = secrets.get("refresh_token", "")
        if not refresh_token:
            raise ReconnectError("Zoho Books was never connected, or its sign-in is missing.", next_step=_RECONNECT)
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        connection = self._context.connection
        minted = _exchange(self._context.http, self._context.clock, self._settings, secrets, form)
        self._context.secrets.write(connection.tenant, connection.id, minted)
        return minted

    def _lasts(self) -> bool:
        return bool(self._token) and self._expires_at - self._context.clock.now() > RENEW_BEFORE

    def _take(self, secrets: Mapping[str, str]) -> None:
        self._token = secrets.get("access_token", "")
        self._expires_at = _moment(secrets.get("access_token_expires_at", ""))
        self._issued_at = _moment(secrets.get("access_token_issued_at", ""))

    def _read(self, *, fresh: bool) -> Mapping[str, str]:
        connection = self._context.connection
        return self._context.secrets.read(connection.tenant, connection.id, fresh=fresh)


class Consent:
    """Zoho's own page; implements `tieout.ports.connector.Consent`."""

    def address(self, *, settings: Mapping[str, Any], secrets: Mapping[str, str], redirect: str, state: str) -> str:
        """The page to open in the person's browser. Without these two words there would be no refresh token."""
        query = {
            "client_id": secrets.get("client_id", ""),
            "response_type": "code",
            "scope": ",".join(SCOPES),
            "redirect_uri": redirect,
            "state": state,
            "access_type": "offline",
            "prompt": "consent",
        }
        return f"{parse_settings(settings).accounts}/oauth/v2/auth?{urlencode(query)}"

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
        if query.get("error") or not query.get("code"):
            raise RejectedError("Zoho Books was not connected: consent was refused.", next_step=_RECONNECT)
        _check_centre(typed, query)
        form = {"grant_type": "authorization_code", "code": query["code"], "redirect_uri": redirect}
        try:
            bundle = _exchange(http, clock, typed, secrets, form)
        except ReconnectError as error:
            raise RejectedError(
                "Zoho Books was not connected: the code is no longer good.", next_step=_RECONNECT, detail=error.detail
            ) from None
        if not bundle.get("refresh_token"):
            raise RejectedError("Zoho gave no lasting sign-in.", next_step=_RECONNECT)
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
            headers={"Authorization": authorization(token), "Accept": "application/json"},
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


def _exchange(
    http: Http, clock: Clock, settings: Settings, secrets: Mapping[str, str], form: Mapping[str, str]
) -> dict[str, str]:
    """The whole bundle with the new token in it. A refresh token does not rotate, so a lost answer costs nothing."""
    client = {"client_id": secrets.get("client_id", ""), "client_secret": secrets.get("client_secret", "")}
    request = Request(
        "POST",
        f"{settings.accounts}/oauth/v2/token",
        write=True,
        headers={"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode({**form, **client}).encode(),
    )
    asked_at = clock.now()
    try:
        answer = http.send(request)
    except UncertainError as error:
        raise UnavailableError("Zoho did not answer when the sign-in was renewed.", detail=error.detail) from None
    token = _token(answer)
    if token.api_domain is not None and token.api_domain.rstrip("/") != settings.api:
        raise ReconnectError(
            "The Zoho account belongs to another data centre than the settings say.",
            next_step="Correct `data_center` in the connection's settings, and connect again.",
        )
    bundle = {
        **secrets,
        "access_token": token.access_token,
        "access_token_issued_at": asked_at.isoformat(),
        "access_token_expires_at": (asked_at + timedelta(seconds=token.expires_in)).isoformat(),
    }
    return bundle | ({"refresh_token": token.refresh_token} if token.refresh_token else {})


def _token(answer: Answer) -> wire.Token:
    """The token of an answer. Refusals may come with status 200, so the body is looked at first."""
    try:
        content = answer.json()
    except ValueError:
        content = None
    reason = content.get("error") if isinstance(content, dict) else None
    if isinstance(reason, str):
        raise _refusal(reason[:40], str(content.get("error_description", "")))
    try:
        return wire.Token.model_validate(content)
    except ValidationError:  # the error's text would hold the answer, and so the token
        pass
    if answer.status == 429:  # noqa: PLR2004 - Too Many Requests
        raise _minted_out("429")
    raise UnavailableError(f"Zoho's sign-in answered {answer.status} in a form that cannot be understood.")


def _refusal(reason: str, description: str) -> ProviderError:
    """What an error of the token address means.

    Source: www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html, read 2026-11-22; that too many
    refreshes are told as `Access Denied` with a sentence about requests was reported by users.
    """
    if "too many requests" in description.lower():
        return _minted_out(reason)
    if reason in {"server_error", "general_error", "temporarily_unavailable"}:
        return UnavailableError("Zoho's sign-in has a problem of its own.", code=reason)
    sentence = (
        "Zoho does not accept the client id and secret of the app in this data centre."
        if reason in {"invalid_client", "invalid_client_secret"}
        else "Zoho Books no longer accepts our sign-in."
    )
    return ReconnectError(sentence, next_step=_RECONNECT, code=reason)


def _minted_out(code: str) -> ThrottledError:
    return ThrottledError(
        "Zoho issues no more sign-ins in these ten minutes.", retry_after_seconds=MINTED_OUT_SECONDS, code=code
    )


def _moment(text: str) -> datetime:
    """The stored moment; long ago if there is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _LONG_AGO
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
