"""What Act!'s answers mean, in one table.

The body is ASP.NET's: `message`, `exceptionMessage`, `exceptionType`, `stackTrace`. Only `exceptionMessage` may reach a
person; the stack trace, which shows paths of the server, goes nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tieout.domain.errors import (
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.ports.http import Answer

THROTTLED_SECONDS = 10
"""Where the server does not say when the minute ends; the engine waits longer with each try."""

RESET_SECONDS_MAX = 60
_SENTENCE_LENGTH_MAX = 200
_SUCCESS = range(200, 300)
_EPOCH_FROM = 1_000_000_000

_REFUSALS = {
    "4030": (
        "The versions of Act! and of its Web API do not match.",
        "Ask whoever runs the Act! server to update the Web API, then resume the connection.",
    ),
    "4031": (
        "The Act! subscription does not include API access, or it has lapsed.",
        "Renew the Act! subscription or add API access to it, then resume the connection.",
    ),
    "4032": (
        "The Act! user of this connection lacks the permission for API access.",
        "In Act!, give the user the permission 'API access' (Tools, Manage Users), then resume the connection.",
    ),
}
_REFUSAL = re.compile(r"\b(403[012])\b")


def is_success(answer: Answer) -> bool:
    """True for every 2xx."""
    return answer.status in _SUCCESS


def error_of(answer: Answer, *, write: bool, now_seconds: float) -> ProviderError:
    """The error that an answer without success is. What no row covers is uncertain for a write."""
    meaning = _TABLE.get(answer.status)
    if meaning is None:
        return _lost(answer, write, now_seconds)
    return meaning(answer, write, now_seconds)


def _signed_out(_: Answer, __: bool, ___: float) -> ProviderError:
    return ReconnectError(
        "Act! no longer accepts the sign-in of this connection.",
        next_step="Check user name, password and database name, then run `tieout connect` again.",
        code="401",
    )


def _forbidden(answer: Answer, write: bool, now_seconds: float) -> ProviderError:
    """A sub-code names its cause; a full minute looks like it; of the rest we only know that it was refused."""
    found = _REFUSAL.search(_text(answer))
    if found:
        message, next_step = _REFUSALS[found[1]]
        return ReconnectError(message, next_step=next_step, code=found[1])
    if not write or answer.headers.get("x-ratelimit-remaining") == "0":
        return throttled(answer, now_seconds)
    return RejectedError(
        "Act! does not let its user change this record.",
        next_step="Give the Act! user of this connection access to the record, then retry.",
        code="403",
    )


def _gone(_: Answer, __: bool, ___: float) -> ProviderError:
    return NotFoundError("Act! has no such record, or its user may not see it.", code="404")


def _refused(answer: Answer, write: bool, _: float) -> ProviderError:
    return RejectedError(
        f"Act! refuses the {'change' if write else 'request'}: {_sentence(answer)}",
        next_step="Correct the record in Act! or the rule in the sync document, then retry.",
        code=str(answer.status),
    )


def _busy(answer: Answer, _: bool, __: float) -> ProviderError:
    return UnavailableError("The Act! server is busy with an upload.", code=str(answer.status))


def _throttled(answer: Answer, _: bool, now_seconds: float) -> ProviderError:
    return throttled(answer, now_seconds)


def _lost(answer: Answer, write: bool, _: float) -> ProviderError:
    """Neither a server that failed nor a gateway that got no answer tells whether the work was done."""
    message = f"The Act! server answered with an error ({answer.status})."
    if write:
        return UncertainError(f"{message} The change may have been made.", code=str(answer.status))
    return UnavailableError(message, code=str(answer.status))


_TABLE: Mapping[int, Callable[[Answer, bool, float], ProviderError]] = {
    400: _refused,
    401: _signed_out,
    403: _forbidden,
    404: _gone,
    405: _refused,
    409: _refused,
    413: _refused,
    415: _refused,
    422: _refused,
    423: _busy,
    429: _throttled,
    500: _lost,
    502: _lost,
    503: _lost,
    504: _lost,
}


def throttled(answer: Answer, now_seconds: float) -> ThrottledError:
    """Too many calls in this minute; says how long to wait."""
    return ThrottledError(
        "Act! allows no more calls in this minute.",
        retry_after_seconds=seconds_to_reset(answer, now_seconds) or THROTTLED_SECONDS,
        code=str(answer.status),
    )


def seconds_to_reset(answer: Answer, now_seconds: float) -> int:
    """How long until the minute's calls begin anew, 60 at most; 0 if the answer does not say.

    Whether `X-RateLimit-Reset` counts seconds or names a moment is not published: large numbers are moments.
    """
    text = answer.headers.get("x-ratelimit-reset", "")
    if not text.isascii() or not text.isdigit():
        return 0
    seconds = int(text) - int(now_seconds) if int(text) > _EPOCH_FROM else int(text)
    return min(max(seconds, 1), RESET_SECONDS_MAX)


def _text(answer: Answer) -> str:
    return answer.body[:4096].decode("utf-8", "replace")


def _sentence(answer: Answer) -> str:
    """The first line of `exceptionMessage` or `message`."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    values = [body.get(name) for name in ("exceptionMessage", "message")] if isinstance(body, dict) else []
    said = next((value for value in values if isinstance(value, str) and value.strip()), "it does not say why.")
    return said.strip().splitlines()[0][:_SENTENCE_LENGTH_MAX]
