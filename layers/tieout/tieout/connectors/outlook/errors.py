"""What Microsoft Graph's answers mean, in one table. `code` decides, never the message.

Source: https://learn.microsoft.com/graph/errors and throttling, read 2026-08-13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)

THROTTLED_SECONDS = 10
RETRY_AFTER_SECONDS_MAX = 3600
_SUCCESS = range(200, 300)
_SENTENCE_LENGTH_MAX = 200

_NO_MAILBOX = frozenset(
    {"MailboxNotEnabledForRESTAPI", "MailboxNotSupportedForRESTAPI", "MailboxNotHostedInExchangeOnline"}
)
_NO_SUCH_ID = frozenset({"ErrorInvalidIdMalformed", "ErrorItemNotFound", "ErrorFolderNotFound"})
_CONFLICTS = frozenset({"ErrorIrresolvableConflict"})
_RESYNC = frozenset({"syncstatenotfound", "syncstateinvalid", "resyncrequired"})


class ResyncError(UnavailableError):
    """Not done: the provider no longer knows the token of a feed, which has to begin anew."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, of a call of its own or of a part of a batch.

    Attributes:
        headers: Names lower case.
        body: The JSON; None if there was none.
        understood: False if the body was there and was no JSON object.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    understood: bool = True

    @property
    def is_success(self) -> bool:
        """True for every 2xx."""
        return self.status in _SUCCESS

    @property
    def code(self) -> str:
        """Graph's own error code; empty if there is none."""
        return _text(self._error, "code")[:80]

    @property
    def request_id(self) -> str:
        """Graph's id of the call, which its support asks for."""
        return self.headers.get("request-id", "")[:80]

    @property
    def sentence(self) -> str:
        """The first line of what Graph says."""
        said = _text(self._error, "message").strip() or "it does not say why."
        return said.splitlines()[0][:_SENTENCE_LENGTH_MAX]

    @property
    def _error(self) -> Mapping[str, Any]:
        error = (self.body or {}).get("error")
        return error if isinstance(error, dict) else {}


def _text(error: Mapping[str, Any], name: str) -> str:
    value = error.get(name)
    return value if isinstance(value, str) else ""


def error_of(reply: Reply, *, write: bool) -> ProviderError:  # noqa: PLR0911 - a table, a row each
    """The error that an answer without success is. What no row covers is uncertain for a write."""
    status, code, request_id = reply.status, reply.code or str(reply.status), reply.request_id
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return ThrottledError(
            "Microsoft 365 asks us to slow down.",
            retry_after_seconds=_retry_after(reply),
            code=code,
            request_id=request_id,
        )
    if status == HTTPStatus.GONE or code.lower() in _RESYNC:
        return ResyncError("Outlook no longer knows where the feed stood.", code=code, request_id=request_id)
    if status == HTTPStatus.UNAUTHORIZED:
        return ReconnectError(
            "Microsoft 365 no longer accepts the sign-in of this connection.",
            next_step="Connect Outlook again: tieout connect.",
            code=code,
            request_id=request_id,
        )
    if code in _NO_MAILBOX:
        return ReconnectError(
            "The account has no mailbox in Exchange Online that Microsoft Graph reaches.",
            next_step="Choose a mailbox that is hosted by Microsoft 365 in the connection document.",
            code=code,
            request_id=request_id,
        )
    if status == HTTPStatus.FORBIDDEN:
        return _forbidden(write=write, code=code, request_id=request_id)
    if status in {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED} or code in _CONFLICTS:
        return ConflictError(
            "Somebody changed the record in Outlook at the same moment.", code=code, request_id=request_id
        )
    if status == HTTPStatus.NOT_FOUND or code in _NO_SUCH_ID:
        return NotFoundError("Outlook has no such record.", code=code, request_id=request_id)
    if status == HTTPStatus.INSUFFICIENT_STORAGE or code == "ErrorQuotaExceeded":
        return RejectedError(
            "The mailbox is full.", next_step="Make room in the mailbox, then retry.", code=code, request_id=request_id
        )
    if status in range(400, 500):
        return RejectedError(
            f"Outlook refuses the {'change' if write else 'request'}: {reply.sentence}",
            next_step="Correct the record in Outlook or the rule in the sync document, then retry.",
            code=code,
            request_id=request_id,
        )
    message = f"Microsoft Graph answered with an error ({status})."
    if write:
        return UncertainError(f"{message} The change may have been made.", code=code, request_id=request_id)
    return UnavailableError(message, code=code, request_id=request_id)


def _forbidden(*, write: bool, code: str, request_id: str) -> ProviderError:
    if write:
        return RejectedError(
            "Microsoft 365 does not let Tieout change this record.",
            next_step="Consent to Contacts.ReadWrite and Tasks.ReadWrite for the app, then retry.",
            code=code,
            request_id=request_id,
        )
    return ReconnectError(
        "Microsoft 365 does not let Tieout read this mailbox.",
        next_step="Consent to the permissions of docs/providers/outlook.md, or allow the mailbox; then connect again.",
        code=code,
        request_id=request_id,
    )


def _retry_after(reply: Reply) -> int:
    text = reply.headers.get("retry-after", "").strip()
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else THROTTLED_SECONDS  # noqa: PLR2004 - no number that long
    return min(max(seconds, 1), RETRY_AFTER_SECONDS_MAX)
