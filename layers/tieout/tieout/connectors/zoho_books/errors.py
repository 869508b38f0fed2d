"""The one table of what Zoho Books' refusals mean.

An answer holds `code` and `message`; a code other than 0 is a refusal, whatever the HTTP status. What no row covers is
refused if Zoho says so with a code, and else uncertain for a write and unavailable for a read.
Source: www.zoho.com/books/api/v3/errors and .../introduction, read 2026-11-22; rows marked (field) were reported by
users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tieout.domain.errors import (
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from tieout.transport.refusals import Row, Told

NAME_TAKEN = "3062"
THROTTLED_SECONDS, BUSY_SECONDS = 60, 5
_MINUTE, _DAY, _PARALLEL = "44", "45", "1070"
_MESSAGE_LENGTH_MAX = 200
_MAPPING = "Correct the record or the mapping of this field, then retry."
_RECONNECT = "Connect Zoho Books again, as an administrator of the organisation."


_SIGNED_OUT = Row(ReconnectError, "Zoho Books no longer accepts our sign-in, or not for this.", _RECONNECT)
TABLE: Mapping[str, Row] = {
    "14": _SIGNED_OUT,
    "57": _SIGNED_OUT,  # (field)
    "6041": _SIGNED_OUT,  # (field) the user is not associated with this organisation
    "1000": Row(UnavailableError, "Zoho Books has a problem of its own."),
    "1002": Row(NotFoundError, "Zoho Books has no such record: {said}"),
    NAME_TAKEN: Row(
        RejectedError,
        "Zoho Books already has a contact of this name; inactive ones and vendors may hold it too.",
        "Look the name up among Zoho's contacts; rename the other one there, or add a suffix to the name in the "
        "mapping.",
        field="name",
    ),
}
# Codes of these are not published, so the sentence tells.
_BY_WORDS: tuple[tuple[re.Pattern[str], Row], ...] = (
    (
        re.compile(r"\block(ed|ing)\b|closed period", re.IGNORECASE),
        Row(
            RejectedError,
            "Zoho Books has locked the transactions of this date: {said}",
            "Change the date, or unlock the period in Zoho Books (Accountant > Transaction Locking).",
            field="date",
        ),
    ),
    (
        re.compile(r"custom ?field|unique identifier", re.IGNORECASE),
        Row(
            RejectedError,
            "Zoho Books does not take the custom field that keeps our reference: {said}",
            "Add the field to this module (docs/providers/zoho_books.md), as text that allows no duplicate values, or "
            "correct `reference_field` in the connection's settings.",
        ),
    ),
    (
        re.compile(r"already exists|already been (used|created)|duplicate", re.IGNORECASE),
        Row(
            RejectedError,
            "Zoho Books already has one with this number or name: {said}",
            "Look it up in Zoho Books; change it on one side.",
            field="number",
        ),
    ),
)
_REFUSED = Row(RejectedError, "Zoho Books refuses it: {said}", _MAPPING)
_UNREADABLE = Row(UnavailableError, "Zoho Books gave an answer that cannot be understood.")


def code_of(content: Any) -> str | None:  # noqa: ANN401 - JSON is anything
    """Zoho's code in an answer, as text; None if it is not of Zoho's form."""
    code = content.get("code") if isinstance(content, dict) else None
    return str(code) if isinstance(code, int | str) and not isinstance(code, bool) else None


def to_error(content: Any, *, status: int, write: bool, now: datetime, zone: str) -> ProviderError:  # noqa: ANN401 - JSON
    """What an answer that is no success means for a write, or a read.

    Args:
        content: The parsed body; anything.
        status: The HTTP status.
        write: True if it answers a write.
        now: Aware UTC.
        zone: The organisation's time zone, at whose midnight the day's requests begin anew.
    """
    code = code_of(content)
    code = None if code == "0" else code
    if status == 429 or code in {_MINUTE, _DAY, _PARALLEL}:  # noqa: PLR2004 - Too Many Requests
        return throttled(code or str(status), now, zone)
    said = _said(content)
    row = _row(code, said, status)
    told = Told("Zoho Books", said=said, detail=f"status {status}, code {code or 'none'}", code=code or str(status))
    return row.to_error(told, write=write)


def throttled(code: str, now: datetime, zone: str) -> ThrottledError:
    """Too many calls: in this minute, at a time, or on this day; of a day it says until when.

    Whose midnight ends Zoho's day is not published: we take the organisation's. Live changes and backfill wait alike.
    """
    if code != _DAY:
        seconds = BUSY_SECONDS if code == _PARALLEL else THROTTLED_SECONDS
        return ThrottledError("Zoho Books asks us to slow down.", retry_after_seconds=seconds, code=code)
    local = now.astimezone(ZoneInfo(zone))
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    seconds = int(midnight.timestamp() - now.timestamp()) + 1
    return ThrottledError(
        "The organisation has used up the requests that its Zoho Books plan allows in a day; what waits goes on by "
        f"itself after {midnight:%Y-%m-%d %H:%M} ({zone}).",
        retry_after_seconds=seconds,
        code=code,
    )


def _row(code: str | None, said: str, status: int) -> Row:
    if code is not None and code in TABLE:
        return TABLE[code]
    if status == 401:  # noqa: PLR2004 - Unauthorized
        return _SIGNED_OUT
    if status >= 500:  # noqa: PLR2004 - where HTTP's server errors begin
        return Row(UnavailableError, f"Zoho Books has a problem of its own (it answered {status}).")
    if code is None:
        return TABLE["1002"] if status == 404 else _UNREADABLE  # noqa: PLR2004 - Not Found
    return next((row for words, row in _BY_WORDS if words.search(said)), _REFUSED)


def _said(content: Any) -> str:  # noqa: ANN401 - JSON is anything
    message = content.get("message") if isinstance(content, dict) else None
    text = re.sub(r"\s+", " ", message).strip()[:_MESSAGE_LENGTH_MAX] if isinstance(message, str) else ""
    return (text or "it gave no reason").rstrip(".") + "."
