"""Sign-in by OAuth 2.0: consent, tokens that expire, refresh tokens that rotate, revoking.

Source: authentication and authorization FAQ of API v3, read 2026-01: an access token lives 3600 s; a refresh token
rolls over 100 days and changes about once a day; once a new value was handed out, the former one is dead.
"""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.quickbooks_online.settings import Settings

_CODE_SECONDS = 600


class GrantError(Exception):
    """A token request that is refused; `code` as OAuth names it."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status


@dataclass(slots=True)
class _Grant:
    """One consent: the refresh token in force, since when it has this value, and the value before."""

    realm: str
    refresh_token: str
    rotated_at: str
    expires_at: str
    former_refresh_token: str = ""


class Tokens:
    """Codes, access tokens and refresh tokens of the one registered app. Safe between threads."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._codes: dict[str, tuple[str, str, datetime]] = {}
        self._access: dict[str, tuple[str, str]] = {}
        self._grants: list[_Grant] = []

    def new_code(self, realm: str, redirect_uri: str) -> str:
        """A code for this redirect, good once and for ten minutes."""
        code = f"AB{secrets.token_hex(20)}"
        with self._lock:
            self._codes[code] = (realm, redirect_uri, self._clock.now() + timedelta(seconds=_CODE_SECONDS))
        return code

    def authenticate(self, authorization: str) -> None:
        """Return if HTTP Basic names the app and its secret.

        Raises:
            GrantError: invalid_client otherwise.
        """
        wanted = base64.b64encode(f"{self._settings.client_id}:{self._settings.client_secret}".encode()).decode()
        if authorization != f"Basic {wanted}":
            raise GrantError("invalid_client", "Client authentication failed", 401)

    def exchange(self, code: str, redirect_uri: str) -> dict[str, Any]:
        """Tokens for a code.

        Raises:
            GrantError: invalid_grant if the code is not good.
        """
        with self._lock:
            realm, meant_for, good_until = self._codes.pop(code, ("", "", self._clock.now()))
            if self._clock.now() >= good_until or redirect_uri != meant_for:
                raise GrantError("invalid_grant", "Invalid authorization code")
            return self._granted(realm)

    def grant(self, realm: str) -> dict[str, Any]:
        """Tokens without a consent, for tests and tours."""
        with self._lock:
            return self._granted(realm)

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        """Tokens for a refresh token; its value may change.

        Raises:
            GrantError: invalid_grant if the value is not the present one, nor the former one while that still works.
        """
        now = self._clock.now()
        with self._lock:
            grant = next((each for each in self._grants if self._works(each, refresh_token, now)), None)
            if grant is None or now >= datetime.fromisoformat(grant.expires_at):
                raise GrantError("invalid_grant", "Incorrect or invalid refresh token")
            age = now - datetime.fromisoformat(grant.rotated_at)
            if age >= timedelta(seconds=self._settings.refresh_token_rotates_after_seconds):
                grant.former_refresh_token = grant.refresh_token
                grant.refresh_token, grant.rotated_at = _new_refresh_token(), now.isoformat()
            grant.expires_at = self._refresh_expiry(now)
            return self._answer(grant)

    def _works(self, grant: _Grant, refresh_token: str, now: datetime) -> bool:
        age = now - datetime.fromisoformat(grant.rotated_at)
        former = age < timedelta(seconds=self._settings.former_refresh_token_seconds)
        return refresh_token == grant.refresh_token or (former and refresh_token == grant.former_refresh_token != "")

    def revoke(self, token: str) -> bool:
        """End the grant that the token belongs to; False if there is none."""
        with self._lock:
            realms = {each.realm for each in self._grants if each.refresh_token == token}
            if token in self._access:
                realms.add(self._access[token][0])
            return self._end(realms)

    def revoke_realm(self, realm: str) -> bool:
        """End all grants of a realm, as when its admin disconnects the app."""
        with self._lock:
            return self._end({realm})

    def realm_of(self, authorization: str) -> str | None:
        """The realm that a bearer token is for; None if it is unknown or has expired."""
        with self._lock:
            realm, good_until = self._access.get(authorization.removeprefix("Bearer "), ("", ""))
        if not realm or self._clock.now() >= datetime.fromisoformat(good_until):
            return None
        return realm

    def snapshot(self) -> dict[str, Any]:
        """What `restore` needs."""
        with self._lock:
            return {
                "access": {token: list(held) for token, held in self._access.items()},
                "grants": [asdict(grant) for grant in self._grants],
            }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on with the tokens of a former run."""
        with self._lock:
            self._access = {token: (held[0], held[1]) for token, held in saved["access"].items()}
            self._grants = [_Grant(**grant) for grant in saved["grants"]]

    def _granted(self, realm: str) -> dict[str, Any]:
        now = self._clock.now()
        grant = _Grant(realm, _new_refresh_token(), now.isoformat(), self._refresh_expiry(now))
        self._grants.append(grant)
        return self._answer(grant)

    def _refresh_expiry(self, now: datetime) -> str:
        return (now + timedelta(seconds=self._settings.refresh_token_seconds)).isoformat()

    def _answer(self, grant: _Grant) -> dict[str, Any]:
        now = self._clock.now()
        self._access = {token: held for token, held in self._access.items() if now < datetime.fromisoformat(held[1])}
        access_token = f"eyJ{secrets.token_urlsafe(48)}"
        expires_at = now + timedelta(seconds=self._settings.access_token_seconds)
        self._access[access_token] = (grant.realm, expires_at.isoformat())
        return {
            "token_type": "bearer",
            "access_token": access_token,
            "expires_in": self._settings.access_token_seconds,
            "refresh_token": grant.refresh_token,
            "x_refresh_token_expires_in": self._settings.refresh_token_seconds,
        }

    def _end(self, realms: set[str]) -> bool:
        before = len(self._grants) + len(self._access)
        self._grants = [grant for grant in self._grants if grant.realm not in realms]
        self._access = {token: held for token, held in self._access.items() if held[0] not in realms}
        return len(self._grants) + len(self._access) < before


def _new_refresh_token() -> str:
    return f"RT1-{secrets.token_hex(24)}"
