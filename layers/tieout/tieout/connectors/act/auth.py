"""Sign-in with user name and password for a token, and the proof of a webhook."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from tieout.connectors.act.errors import error_of, is_success
from tieout.connectors.act.manifest import SPENDS, ActSettings
from tieout.domain.errors import ProviderError, ReconnectError, SignatureError, UnavailableError
from tieout.domain.records import Kind
from tieout.ports.connector import Context, Webhook
from tieout.ports.http import Answer, Request
from tieout.transport.passwords import PasswordSignIn

REFRESH_BEFORE = timedelta(minutes=5)
LIFE_IF_UNKNOWN = timedelta(minutes=20)
_JWT_PARTS = 3


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and until when it is used."""

    text: str = field(repr=False)
    use_until: datetime


def sign_in_of(context: Context, settings: ActSettings, kept: MutableMapping[str, Token]) -> PasswordSignIn[Token]:
    """The connection's sign-in; `kept` are the tokens of this process."""

    def ask(secrets: Mapping[str, str]) -> Token:
        pair = f"{secrets['username']}:{secrets['password']}".encode()
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Act-Database-Name": settings.database,
        }
        url = f"{settings.base_url}/authorize"
        answer = context.http.send(Request("GET", url, write=False, spends=SPENDS, headers=headers))
        now = context.clock.now()
        if not is_success(answer):
            raise _refused(answer, settings, now)
        return token_of(answer, now)

    return PasswordSignIn(
        context,
        title="Act!",
        place=(settings.base_url, settings.database),
        ask=ask,
        kept=kept,
        lasts=lambda token: context.clock.now() < token.use_until,
    )


def _refused(answer: Answer, settings: ActSettings, now: datetime) -> ProviderError:
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return ReconnectError(
            f"Act! does not accept the user name, the password or the database {settings.database}.",
            next_step="Check the three (Act! does not say which is wrong) and run `tieout connect` again.",
            code="401",
        )
    if answer.status == HTTPStatus.NOT_FOUND:
        return ReconnectError(
            "There is no Act! Web API at the connection's address.",
            next_step="Correct `base_url` in the connection document; it usually ends with /act.web.api.",
            code="404",
        )
    return error_of(answer, write=False, now_seconds=now.timestamp())


def token_of(answer: Answer, now: datetime) -> Token:
    """The token of a sign-in's answer: bare text, perhaps in quotes, whatever its content type says.

    Raises:
        UnavailableError: If it is no token: something else answered, such as a proxy's page.
    """
    token = answer.body.decode("utf-8", "replace").strip().strip('"')
    parts = token.split(".")
    if len(parts) != _JWT_PARTS or not all(parts) or not token.isascii() or any(map(str.isspace, token)):
        raise UnavailableError(
            "The connection's address answered the sign-in with something that is no Act! token.",
            next_step="If this lasts, correct `base_url` in the connection document; it mostly ends with /act.web.api.",
        )
    expires = _expires(parts[1])
    return Token(token, (expires or now + LIFE_IF_UNKNOWN) - REFRESH_BEFORE)


def _expires(claims: str) -> datetime | None:
    """The claim `exp`; None if it cannot be read. The signature is the server's business."""
    try:
        value = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        return datetime.fromtimestamp(value, UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None


def webhook_token(secret: str, kind: Kind) -> str:
    """The `callbackToken` to register for a kind: a delivery does not say what it is about, so its token does."""
    return f"{kind.value}.{secret}"


def kind_of(webhook: Webhook) -> Kind | None:
    """What the delivery's token says that it is about; None if it names no kind. Proves nothing."""
    try:
        return Kind(_given(webhook).partition(".")[0])
    except ValueError:
        return None


def verify(webhook: Webhook, secrets: Mapping[str, str]) -> None:
    """Return if the delivery carries the token that we registered.

    Act! signs nothing: the token in `Authorization` is all there is, with or without a scheme before it.

    Raises:
        SignatureError: Otherwise.
    """
    secret = secrets.get("webhook_token", "")
    kind = kind_of(webhook)
    wanted = webhook_token(secret, kind) if kind is not None else ""
    if not secret or kind is None or not hmac.compare_digest(_given(webhook).encode(), wanted.encode()):
        raise SignatureError("The webhook does not carry the token of this connection.")


def _given(webhook: Webhook) -> str:
    return webhook.headers.get("authorization", "").strip().rpartition(" ")[2]
