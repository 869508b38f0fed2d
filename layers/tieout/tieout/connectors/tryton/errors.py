"""The one table of what Tryton's refusals mean.

Errors of a call come with status 200 as `[class, arguments]`; each call is one transaction, which a refusal rolls back.
What no row covers is uncertain for a write, and unavailable for a read.
Source: trytond 8.2.1, `trytond/exceptions.py`, `protocols/dispatcher.py` and `protocols/jsonrpc.py`, read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tieout.domain.errors import (
    ConflictError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)

THROTTLED_SECONDS = 30
_SENTENCE_LENGTH_MAX = 300
_RECONNECT = "Check user name and password, and that the user is active in Tryton, then run `tieout connect` again."


class WarnedError(RejectedError):
    """Not done: Tryton wants a person to confirm something first.

    Attributes:
        key: By which the warning is confirmed: a digest of the records, a dot, and the warning's name.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(
            f"Tryton asks for a confirmation: {message}",
            next_step="Do it by hand in Tryton, or correct the record, then retry.",
            code=key.partition(".")[2],
        )
        self.key = key


def of_status(status: int, *, write: bool) -> ProviderError:
    """What an answer means that has no success."""
    if status in _STATUSES:
        return _STATUSES[status](status)
    return unclear(f"status {status}", write=write, code=str(status))


def of_error(error: Any, *, write: bool) -> ProviderError:  # noqa: ANN401 - JSON is anything
    """What the `error` of an answer means."""
    name, arguments = (error[0], error[1]) if isinstance(error, list) and len(error) > 1 else ("", "")
    texts = [each if isinstance(each, str) else "" for each in arguments] if isinstance(arguments, list) else []
    texts += [""] * 2
    match name:
        case "UserError":
            return RejectedError(
                f"Tryton refuses it: {sentence(texts[0], texts[1])}",
                next_step="Correct what Tryton names, then retry.",
                code="UserError",
            )
        case "UserWarning":
            return WarnedError(texts[0], sentence(texts[1]))
        case "ConcurrencyException":
            return ConflictError("Somebody changed this record in Tryton meanwhile.", code="ConcurrencyException")
        case "LoginException":
            return ReconnectError("Tryton asks for another way to sign in.", next_step=_RECONNECT, code=name)
        case _:
            # A failure of the server: its text may hold values of the record, and a traceback follows.
            return unclear("an exception of the server", write=write)


def unclear(detail: str, *, write: bool, code: str = "") -> ProviderError:
    """An answer that does not say whether anything was done."""
    if write:
        return UncertainError("Tryton did not say whether it was written.", detail=detail, code=code)
    return UnavailableError("Tryton gave an answer that cannot be understood.", detail=detail, code=code)


def sentence(*parts: str) -> str:
    """The server's own words on one line, cut at 300 characters."""
    return " ".join(" ".join(parts).split())[:_SENTENCE_LENGTH_MAX] or "it gave no reason"


_STATUSES: Mapping[int, Callable[[int], ProviderError]] = {
    401: lambda _: ReconnectError(
        "Tryton does not accept this user name and password.", next_step=_RECONNECT, code="401"
    ),
    403: lambda _: RejectedError(
        "Tryton does not know this call.",
        next_step="Check that the modules account_invoice, party and, for deals, sale_opportunity are installed.",
        code="403",
    ),
    404: lambda _: ReconnectError(
        "There is no such Tryton database at the connection's address.",
        next_step="Correct `base_url` and `database` in the connection document.",
        code="404",
    ),
    429: lambda _: ThrottledError(
        "Tryton takes no more sign-ins for a while.", retry_after_seconds=THROTTLED_SECONDS, code="429"
    ),
}
