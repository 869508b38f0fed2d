"""The wire of sign-in: consent page, tokens, revoking, discovery."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, redirect, request
from markupsafe import escape
from werkzeug.wrappers import Response as BaseResponse

from tieout_sandbox.simulators.quickbooks_online.oauth import GrantError
from tieout_sandbox.simulators.quickbooks_online.settings import Settings
from tieout_sandbox.simulators.quickbooks_online.simulator import current, json_answer

_DISCOVERY = "/.well-known/openid_sandbox_configuration/"
_AUTHORIZE = "/connect/oauth2"
_TOKEN = "/oauth2/v1/tokens/bearer"
_REVOKE = "/v2/oauth2/tokens/revoke"

blueprint = Blueprint("sign_in", __name__)


@blueprint.get(_DISCOVERY)
@blueprint.get(_DISCOVERY.rstrip("/"))
def discovery() -> dict[str, object]:
    """Where the end-points are."""
    base = request.host_url.rstrip("/")
    return {
        "issuer": base,
        "authorization_endpoint": base + _AUTHORIZE,
        "token_endpoint": base + _TOKEN,
        "userinfo_endpoint": f"{base}/v1/openid_connect/userinfo",
        "revocation_endpoint": base + _REVOKE,
        "jwks_uri": f"{base}/op/v1/jwks",
        "response_types_supported": ["code"],
        "scopes_supported": ["openid", "email", "profile", "com.intuit.quickbooks.accounting"],
    }


@blueprint.get(_AUTHORIZE)
def consent() -> BaseResponse | str:
    """The consent page, or the redirect that follows it."""
    asked = request.args
    redirect_uri = asked.get("redirect_uri", "")
    wrong = asked.get("client_id") != current().settings.client_id or asked.get("response_type") != "code"
    if wrong or not redirect_uri or not asked.get("scope") or not asked.get("state"):
        abort(400, "The app is not registered so, or client_id, response_type, scope or state is missing.")
    if "deny" in asked:
        return redirect(f"{redirect_uri}?{urlencode({'error': 'access_denied', 'state': asked['state']})}")
    realm = asked.get("realm") or (current().settings.realms[0] if current().settings.auto_approve else None)
    if realm is None:
        return _consent_page(current().settings)
    if realm not in current().settings.realms:
        abort(400, "There is no such company.")
    answer = {"code": current().tokens.new_code(realm, redirect_uri), "state": asked["state"], "realmId": realm}
    return redirect(f"{redirect_uri}?{urlencode(answer)}")


@blueprint.post(_TOKEN)
def token() -> Response:
    """Tokens for a code or a refresh token."""
    current().tokens.authenticate(request.headers.get("Authorization", ""))
    form = request.form
    match form.get("grant_type"):
        case "authorization_code":
            answer = current().tokens.exchange(form.get("code", ""), form.get("redirect_uri", ""))
        case "refresh_token":
            answer = current().tokens.refresh(form.get("refresh_token", ""))
        case _:
            raise GrantError("unsupported_grant_type", "The grant type is not supported")
    current().state.changed()
    return json_answer(json.dumps(answer))


@blueprint.post(_REVOKE)
def revoke() -> Response:
    """The end of a connection."""
    current().tokens.authenticate(request.headers.get("Authorization", ""))
    body = request.get_json(force=True, silent=True) or request.form
    if not current().tokens.revoke(str(body.get("token", ""))):
        raise GrantError("invalid_request", "The token is unknown")
    current().state.changed()
    return Response(status=200)


@blueprint.app_errorhandler(GrantError)
def refused(error: GrantError) -> Response:
    """A refusal in the form of OAuth."""
    return json_answer(json.dumps({"error_description": error.description, "error": error.code}), error.status)


def _consent_page(settings: Settings) -> str:
    here = request.full_path
    choices = "".join(f'<li><a href="{escape(here)}&realm={realm}">{realm}</a></li>' for realm in settings.realms)
    return (
        "<!doctype html><title>Connect</title>"
        f"<h1>Connect {escape(settings.company_name)}</h1><p>Choose the company that the app may read and write:</p>"
        f'<ul>{choices}</ul><p><a href="{escape(here)}&deny=1">No, thanks</a></p>'
    )
