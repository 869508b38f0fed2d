"""What QuickBooks' refusals mean: of a request (status codes), and of a whole message set (results of Windows).

Source: developer.intuit.com/app/developer/qbdesktop .../status-codes-in-response-messages and
.../making-your-application-robust, read 2026-11-22. What no row covers is uncertain for a write, and unavailable for a
read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
from tieout.ports.http import Answer
from tieout.transport.refusals import Row, Told

TITLE = "QuickBooks"
REFUSED_HEADER = "hresult"
"""Of an answer 502: why QuickBooks did not take the message set, as a result of Windows; the body is its message."""

NAME_TAKEN = 3100
_NOT_FOUND, _NO_SUCH_REFERENCE = 3120, 3140
STALE = 3200
_CLOSED_PERIOD, _WRONG_VALUE = 3171, 3210
# Source: https://github.com/consolibyte/quickbooks-php/issues/183, read 2026-11-22.
ITERATOR_ENDED = 3391
CLOSED = "closed"
NOT_PARSED = "0x80040400"
_LOCKED_SECONDS = 60
_SAID_MAX = 300
_REFUSED_STATUS, _UNAUTHORISED, _THROTTLED, _SERVER = 502, frozenset({401, 403}), 429, 500

_MAPPING = "Correct the record or the mapping of this field, then retry."
_BUG = "This is a fault of Tieout: report it with the code."
_REFUSES = "QuickBooks refuses it: {said}"
_LOCKED = "Somebody has this record, or one that belongs to it, open in QuickBooks: {said}"
_REFERENCE = (
    "QuickBooks does not have what the document refers to: {said}",
    "Create it in QuickBooks (Lists menu) under exactly this name, or correct the mapping; then retry.",
)

TABLE: Mapping[int, Row] = {
    **dict.fromkeys(range(3000, 3100), Row(RejectedError, "QuickBooks cannot read a value: {said}", _MAPPING)),
    1030: Row(RejectedError, "This edition of QuickBooks does not know the request: {said}", _BUG),
    1060: Row(RejectedError, _REFUSES, _BUG),
    NAME_TAKEN: Row(
        RejectedError,
        "QuickBooks already uses this name. Customers, vendors, employees and other names share one list of names, "
        "and items have another; inactive ones count too: {said}",
        "Look the name up in all of these lists (with inactive ones shown); rename the other one, or change the "
        "name in the mapping; then retry.",
        field="name",
    ),
    _NOT_FOUND: Row(NotFoundError, "QuickBooks does not find the record: {said}"),
    3130: Row(RejectedError, "QuickBooks does not find the record above it: {said}", _MAPPING, field="parent"),
    _NO_SUCH_REFERENCE: Row(RejectedError, *_REFERENCE),
    3150: Row(RejectedError, "QuickBooks misses a value: {said}", _MAPPING),
    3151: Row(RejectedError, "QuickBooks does not take these values together: {said}", _MAPPING),
    3160: Row(RejectedError, "QuickBooks cannot delete it: {said}", "Look the record up in QuickBooks."),
    3161: Row(RejectedError, "QuickBooks deletes nothing at the moment: {said}", "Look the record up in QuickBooks."),
    3170: Row(
        RejectedError,
        "QuickBooks cannot change this record: {said}",
        "Look it up in QuickBooks: it may be reconciled, paid, or dated in a closed period. Then retry.",
    ),
    _CLOSED_PERIOD: Row(
        RejectedError,
        "QuickBooks does not allow this change in a closed period: {said}",
        "Change the date, or open the period in QuickBooks (Edit, Preferences, Accounting).",
        field="date",
    ),
    3175: Row(ThrottledError, _LOCKED, retry_after_seconds=_LOCKED_SECONDS),
    3176: Row(ThrottledError, _LOCKED, retry_after_seconds=_LOCKED_SECONDS),
    3180: Row(
        RejectedError,
        "QuickBooks cannot save this record: {said}",
        "Enter such a record by hand in QuickBooks: it says there what is missing. Then retry.",
    ),
    3190: Row(RejectedError, "QuickBooks cannot void it: {said}", "Void it by hand in QuickBooks."),
    STALE: Row(ConflictError, "Somebody changed this record in QuickBooks meanwhile."),
    _WRONG_VALUE: Row(RejectedError, "QuickBooks does not take a value: {said}", _MAPPING),
    3231: Row(ThrottledError, "QuickBooks skipped the request after another one failed.", retry_after_seconds=1),
    3240: Row(RejectedError, "QuickBooks does not allow it at this time: {said}", "Look it up in QuickBooks."),
    3250: Row(
        RejectedError,
        "QuickBooks has this feature switched off: {said}",
        "Switch it on in QuickBooks (Edit, Preferences), or take it out of the mapping.",
    ),
    3260: Row(
        RejectedError,
        "The QuickBooks user under whom Tieout runs may not do this: {said}",
        "In QuickBooks: Edit, Preferences, Integrated Applications, Company Preferences, Tieout, Properties: let "
        "it run as a user with the right.",
    ),
    3270: Row(RejectedError, "QuickBooks misses a value: {said}", _MAPPING),
    **dict.fromkeys(range(9100, 9200), Row(RejectedError, _REFUSES, _BUG)),
}

_OPEN = "On that computer, open the company file in QuickBooks; what waits goes on by itself."
_ALLOW = (
    "In QuickBooks, as its administrator: Edit, Preferences, Integrated Applications, Company Preferences: tick "
    "Tieout; under Properties also let it log in automatically."
)
_NOT_THERE = Row(UnavailableError, "QuickBooks could not be reached on its computer: {said}", _OPEN)
_NOT_ALLOWED = Row(ReconnectError, "QuickBooks does not let Tieout in: {said}", _ALLOW)

RESULTS: Mapping[str, Row] = {
    NOT_PARSED: Row(RejectedError, "QuickBooks cannot read the request.", _BUG),
    "0x80040401": _NOT_THERE,
    "0x80040403": _NOT_THERE,
    "0x80040404": Row(RejectedError, "This QuickBooks is too old for Tieout: {said}", "Use QuickBooks 2014 or later."),
    "0x80040407": Row(UnavailableError, "QuickBooks is not completely installed: {said}", "Repair its installation."),
    "0x80040408": _NOT_THERE,
    "0x80040409": _NOT_THERE,
    "0x8004040a": Row(
        UnavailableError,
        "Another company file is open in QuickBooks than the one of this connection.",
        "On that computer, open the connection's company file in QuickBooks.",
    ),
    "0x8004040b": _NOT_THERE,
    "0x8004040c": _NOT_THERE,
    "0x80040410": Row(
        UnavailableError,
        "QuickBooks has the company file open in another mode: {said}",
        "In QuickBooks: File, Switch to Multi-user Mode; or close it, so that Tieout may open it.",
    ),
    "0x80040414": Row(
        UnavailableError,
        "A window is open in QuickBooks that waits for an answer.",
        "On that computer, answer or close the open window in QuickBooks; what waits goes on by itself.",
    ),
    "0x80040416": _NOT_THERE,
    "0x80040417": _NOT_THERE,
    "0x80040418": _NOT_ALLOWED,
    "0x80040419": _NOT_ALLOWED,
    "0x8004041a": _NOT_ALLOWED,
    "0x8004041b": Row(UnavailableError, "The company file is locked at the moment: {said}"),
    "0x8004041d": _NOT_ALLOWED,
    "0x80040420": _NOT_ALLOWED,
    "0x80040422": _NOT_THERE,
    "0x80040423": Row(RejectedError, "This QuickBooks is too old for Tieout: {said}", "Use QuickBooks 2014 or later."),
}
"""Results of which is known that nothing was done."""

_BY_STATUS: Mapping[int, Row] = {
    **dict.fromkeys(_UNAUTHORISED, Row(ReconnectError, "QuickBooks does not let Tieout in.", _ALLOW)),
    _THROTTLED: Row(ThrottledError, "QuickBooks asks us to slow down.", retry_after_seconds=_LOCKED_SECONDS),
}
_DOWN = Row(UnavailableError, "QuickBooks has a problem of its own: {said}")
_UNREADABLE = Row(UnavailableError, "QuickBooks gave an answer that cannot be understood.")

_FIELDS: tuple[tuple[str, str], ...] = (
    ("accounting period", "date"),
    ("customer msg", "memo"),
    ("customermsg", "memo"),
    ("sales tax code", "lines"),
    ("item", "lines"),
    ("terms", "terms"),
    ("customer", "customer"),
    ("account", "income_account"),
    ("currency", "currency"),
    ("refnumber", "number"),
    ("date", "date"),
)
"""Words of a sentence of QuickBooks about a reference or value, and our field that is meant."""


def refusal(code: int, message: str, *, write: bool) -> ProviderError:
    """What a reply with this status code means."""
    row = TABLE.get(code, _DOWN)
    said = _sentence(message)
    field = _field(said)
    if code == _NO_SUCH_REFERENCE and field == "customer":  # it was deleted or merged: its own record is looked at
        row = TABLE[_NOT_FOUND]
    if code == _WRONG_VALUE and "closed" in said:
        row = TABLE[_CLOSED_PERIOD]
    told = Told(TITLE, said=said, field=field, detail=f"status code {code}", code=str(code))
    return row.to_error(told, write=write)


def not_taken(answer: Answer, *, write: bool) -> ProviderError:
    """What an answer means that has no replies; a known result says that surely nothing was done."""
    result = answer.headers.get(REFUSED_HEADER, "").strip().lower()
    said = _sentence(answer.body.decode("utf-8", "replace")) if result else ""
    row = RESULTS.get(result) if answer.status == _REFUSED_STATUS else None
    told = Told(TITLE, said=said, detail=f"status {answer.status}, result {result or 'none'}", code=result)
    if row is None:
        row = _BY_STATUS.get(answer.status) or (_DOWN if answer.status >= _SERVER else _UNREADABLE)
        return row.to_error(told, write=write)
    if row.error is UnavailableError:  # though it is a write: it was not done
        return UnavailableError(
            row.sentence.format(said=said or "it gave no reason"),
            next_step=row.next_step,
            detail=told.detail,
            code=result,
        )
    return row.to_error(told, write=write)


def unreadable(what: str, *, write: bool) -> ProviderError:
    """The error for an answer that is none; `what` goes to the log."""
    if write:
        return UncertainError(f"{TITLE} did not say whether it was written.", detail=what)
    return UnavailableError(f"{TITLE} gave an answer that cannot be understood.", detail=what)


def _sentence(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()[:_SAID_MAX]


def _field(said: str) -> str:
    words = said.lower()
    return next((field for word, field in _FIELDS if word in words), "")
