"""Microsoft Entra ID, as far as a client of Graph meets it: consent, codes with PKCE, refresh tokens, secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from flask import Blueprint, Response, jsonify, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from tieout_sandbox.simulators.outlook.errors import GraphError
from tieout_sandbox.simulators.outlook.state import OutlookState


@dataclass(slots=True)
class SignIn:
    """Who may call. Not safe between threads by itself.

    Attributes:
        codes: By code, the redirect and PKCE's challenge that it was asked with.
        access: By access token, when it ends and whether it is an application's.
    """

    state: OutlookState
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    refresh: set[str] = field(default_factory=set)
    access: dict[str, tuple[datetime, bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.refresh.add(self.state.settings.refresh_token)

    def revoke(self) -> None:
        """Somebody takes the access away."""
        self.codes.clear()
        self.refresh.clear()
        self.access.clear()

    def check(self, header: str) -> bool:
        """True if the token is an application's.

        Raises:
            GraphError: 401 if it is none, or is not good any more.
        """
        scheme, _, token = header.partition(" ")
        known = self.access.get(token)
        if scheme.lower() != "bearer" or known is None or known[0] <= self.state.clock.now():
            raise GraphError(401, "Access token has expired or is not yet valid.")
        return known[1]

    def token(self, form: dict[str, str]) -> tuple[dict[str, Any], int]:
        """The answer of the token end-point, and its status."""
        settings = self.state.settings
        if form.get("client_id") != settings.client_id or not hmac.compare_digest(
            form.get("client_secret", ""), settings.client_secret
        ):
            return {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."}, 401
        match form.get("grant_type"):
            case "client_credentials":
                good = form.get("scope", "").endswith("/.default")
                return self._tokens(application=True) if good else _refused("invalid_scope")
            case "refresh_token":
                if form.get("refresh_token") not in self.refresh:
                    return _refused("invalid_grant")
            case "authorization_code":
                uri, challenge = self.codes.pop(form.get("code", ""), ("", ""))
                digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
                given = base64.urlsafe_b64encode(digest).decode().rstrip("=")
                if not uri or uri != form.get("redirect_uri") or given != challenge:
                    return _refused("invalid_grant")
            case _:
                return _refused("unsupported_grant_type")
        return self._tokens(application=False)

    def _tokens(self, *, application: bool) -> tuple[dict[str, Any], int]:
        seconds = int(self.state.settings.token_minutes * 60)
        token = f"access-{uuid4()}"
        self.access[token] = (self.state.clock.now() + timedelta(seconds=seconds), application)
        answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": seconds, "access_token": token}
        if not application:
            # The former one stays good, as Microsoft says of refresh tokens.
            answer["refresh_token"] = f"refresh-{uuid4()}"
            self.refresh.add(answer["refresh_token"])
        return answer, 200


def _refused(reason: str) -> tuple[dict[str, Any], int]:
    return {"error": reason, "error_description": f"AADSTS70000: {reason}."}, 400


def pages(sign_in: SignIn, lock: Any) -> Blueprint:  # noqa: ANN401 - threading has no name for its type
    """The end-points; a person who is asked agrees at once, or refuses, as the settings say."""
    entra = Blueprint("entra", __name__)

    @entra.get("/<directory>/oauth2/v2.0/authorize")
    def authorize(directory: str) -> AnyResponse:  # noqa: ARG001 - any directory
        asked = request.args
        answer = {"state": asked.get("state", "")}
        with lock:
            if not sign_in.state.settings.consent:
                return _back(asked["redirect_uri"], answer | {"error": "access_denied"})
            code = f"code-{uuid4()}"
            sign_in.codes[code] = (asked["redirect_uri"], asked.get("code_challenge", ""))
        return _back(asked["redirect_uri"], answer | {"code": code})

    @entra.get("/<directory>/adminconsent")
    def admin_consent(directory: str) -> AnyResponse:
        asked = request.args
        answer = {"state": asked.get("state", ""), "tenant": directory}
        agreed = {"admin_consent": "True"} if sign_in.state.settings.consent else {"error": "access_denied"}
        return _back(asked["redirect_uri"], answer | agreed)

    @entra.post("/<directory>/oauth2/v2.0/token")
    def token(directory: str) -> tuple[Response, int]:  # noqa: ARG001 - any directory
        with lock:
            body, status = sign_in.token(request.form.to_dict())
        return jsonify(body), status

    return entra


def _back(uri: str, query: dict[str, str]) -> AnyResponse:
    return redirect(f"{uri}?{urlencode(query)}")
