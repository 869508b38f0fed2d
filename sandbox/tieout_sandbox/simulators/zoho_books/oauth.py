"""Sign-in: codes, refresh tokens that stay, and access tokens of which few are issued.

Source: www.zoho.com/books/api/v3/oauth and www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html,
read 2026-11-22: an access token lives one hour; a refresh token stays, at most 20 of a user, and gets about ten access
tokens in ten minutes. A refresh that is refused answers 200 (reported by users).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.limits import Throttle
from tieout_sandbox.simulators.zoho_books.settings import Settings

_CODE_SECONDS = 120
_REFRESH_TOKENS_MAX = 20
_TOO_MANY = "You have made too many requests continuously. Please try again after some time."


class Tokens:
    """Codes and tokens of the one registered app and user. Safe between threads."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._minted = Throttle(600)
        self._codes: dict[str, tuple[str, datetime]] = {}
        self._access: dict[str, str] = {}
        self._refresh: list[str] = []

    def new_code(self, redirect_uri: str) -> str:
        """A code for this redirect, good once and for two minutes."""
        code = f"1000.{secrets.token_hex(16)}"
        with self._lock:
            self._codes[code] = (redirect_uri, self._clock.now() + timedelta(seconds=_CODE_SECONDS))
        return code

    def answer(self, form: Mapping[str, str], api_domain: str) -> tuple[dict[str, Any], int]:
        """The token address's answer to a form, and its HTTP status."""
        if form.get("client_id") != self._settings.client_id:
            return {"error": "invalid_client"}, 200
        if form.get("client_secret") != self._settings.client_secret:
            return {"error": "invalid_client_secret"}, 200
        with self._lock:
            match form.get("grant_type"):
                case "authorization_code":
                    return self._exchanged(form, api_domain), 200
                case "refresh_token":
                    return self._refreshed(form.get("refresh_token", ""), api_domain)
        return {"error": "invalid_request"}, 200

    def grant(self, api_domain: str) -> dict[str, Any]:
        """Tokens without a consent, for tests and tours."""
        with self._lock:
            return self._granted(api_domain)

    def knows(self, authorization: str) -> bool:
        """True if the header carries a token that lives."""
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            until = self._access.get(token)
        return scheme == "Zoho-oauthtoken" and until is not None and self._clock.now() < datetime.fromisoformat(until)

    def revoke(self, token: str | None = None) -> None:
        """End this refresh token, or all, and every access token."""
        with self._lock:
            self._refresh = [each for each in self._refresh if token is not None and each != token]
            self._access = {}

    def snapshot(self) -> dict[str, Any]:
        """What `restore` needs."""
        with self._lock:
            return {"access": dict(self._access), "refresh": list(self._refresh)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on with the tokens of a former run."""
        with self._lock:
            self._access, self._refresh = dict(saved["access"]), list(saved["refresh"])

    def _exchanged(self, form: Mapping[str, str], api_domain: str) -> dict[str, Any]:
        meant_for, good_until = self._codes.pop(form.get("code", ""), ("", self._clock.now()))
        if self._clock.now() >= good_until or form.get("redirect_uri") != meant_for:
            return {"error": "invalid_code"}
        return self._granted(api_domain)

    def _refreshed(self, refresh_token: str, api_domain: str) -> tuple[dict[str, Any], int]:
        if refresh_token not in self._refresh:
            return {"error": "invalid_code"}, 200
        if not self._minted.take(refresh_token, self._settings.tokens_per_ten_minutes, self._clock.now()):
            return {"error_description": _TOO_MANY, "error": "Access Denied", "status": "failure"}, 400
        return self._issued(api_domain), 200

    def _granted(self, api_domain: str) -> dict[str, Any]:
        refresh_token = f"1000.{secrets.token_hex(32)}"
        self._refresh = [*self._refresh, refresh_token][-_REFRESH_TOKENS_MAX:]
        return self._issued(api_domain) | {"refresh_token": refresh_token}

    def _issued(self, api_domain: str) -> dict[str, Any]:
        token = f"1000.{secrets.token_hex(32)}"
        expires = self._clock.now() + timedelta(seconds=self._settings.access_token_seconds)
        self._access[token] = expires.isoformat()
        seconds = self._settings.access_token_seconds
        return {"access_token": token, "expires_in": seconds, "api_domain": api_domain, "token_type": "Bearer"}
