"""The one table of what QuickBooks Online's faults mean.

What no row covers is uncertain for a write, and unavailable for a read.
Source: developer.intuit.com .../troubleshooting/error-codes and .../handling-common-errors, read 2026-11-22; rows
marked (field) were reported by users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

from tieout.domain.errors import (
    ConflictError,
    NameTakenError,
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.transport.refusals import Row, Told

# There is no dependable Retry-After. Source: limits-and-throttles, read 2026-11-22.
THROTTLED_SECONDS = 60
_DETAIL_LENGTH_MAX = 300
NAME_TAKEN = "6240"


_RECONNECT = "Connect QuickBooks again, as an administrator of the company."
_MAPPING = "Correct the record or the mapping of this field, then retry."
_REFUSES = "QuickBooks refuses it: {said}"
_BUG = "This is a fault of Tieout: report it with the code and the request id."

TABLE: Mapping[str, Row] = {
    "3200": Row(ReconnectError, "QuickBooks no longer accepts our sign-in.", _RECONNECT),
    "3100": Row(ReconnectError, "The app is no longer authorised for this QuickBooks company.", _RECONNECT),
    "3001": Row(ThrottledError, "QuickBooks asks us to slow down.", retry_after_seconds=THROTTLED_SECONDS),
    "120": Row(ReconnectError, "The person who connected QuickBooks has lost the right to do this.", _RECONNECT),
    "500": Row(RejectedError, _REFUSES, next_step=_BUG),
    "600": Row(UncertainError, "QuickBooks has seen this request before and may have carried it out."),
    "610": Row(
        NotFoundError,
        "QuickBooks has no such active record: {said}",
        "Make the record active in QuickBooks, or link to another one.",
    ),
    "620": Row(RejectedError, "QuickBooks cannot link these documents: {said}", "Check the documents in QuickBooks."),
    "630": Row(RejectedError, "QuickBooks already has this: {said}", "Look it up in QuickBooks and link it."),
    "1040": Row(RejectedError, _REFUSES, next_step=_BUG),
    "2010": Row(RejectedError, "QuickBooks does not know a property that was sent: {said}", _BUG),
    "2020": Row(RejectedError, "QuickBooks misses a required value: {said}", _MAPPING),
    "2050": Row(RejectedError, "A text is too long or too short for QuickBooks: {said}", _MAPPING),
    "2080": Row(RejectedError, "QuickBooks cannot read a number: {said}", _MAPPING),
    "2170": Row(RejectedError, "QuickBooks does not know this choice: {said}", _MAPPING),
    "2500": Row(RejectedError, "QuickBooks does not have what the document refers to: {said}", _MAPPING),
    "4000": Row(RejectedError, "QuickBooks cannot read our query: {said}", _BUG),
    "4001": Row(RejectedError, "QuickBooks cannot answer our query: {said}", _BUG),
    "5010": Row(ConflictError, "Somebody changed this record in QuickBooks meanwhile."),
    "5020": Row(
        RejectedError,
        "QuickBooks does not allow this: {said}",
        "Switch the feature on in QuickBooks, or give the connected person the right.",
    ),
    "6000": Row(RejectedError, _REFUSES, next_step="Correct what QuickBooks names, then retry."),
    "6070": Row(
        RejectedError,
        "QuickBooks finds that a line's amount is not its quantity times its price: {said}",
        _MAPPING,
        field="lines",
    ),
    "6100": Row(
        RejectedError,
        "QuickBooks accepts only TAX and NON as tax codes of lines in this company: {said}",
        _MAPPING,
        field="lines",
    ),
    "6140": Row(
        RejectedError,
        "QuickBooks already has a document with this number: {said}",
        "Change the number on one side, or let QuickBooks allow duplicate numbers.",
        field="number",
    ),
    "6150": Row(
        RejectedError,
        "QuickBooks does not take this parent of the customer: {said}",
        "Correct the parent in the source, or set it in QuickBooks by hand.",
        field="parent",
    ),
    "6190": Row(
        ReconnectError,
        "The QuickBooks company can only be read: its subscription has ended.",
        "Renew the subscription of the QuickBooks company.",
    ),
    "6210": Row(
        RejectedError,
        "The books are closed for this date: {said}",
        "Change the date, or open the period in QuickBooks.",
        field="date",
    ),
    NAME_TAKEN: Row(
        RejectedError,
        "QuickBooks already uses this name. Customers, vendors and employees share one list of names, and items have "
        "another; inactive ones count too.",
        "Look the name up among all of these in QuickBooks; rename the other one there, or add a suffix to the name in "
        "the mapping.",
        field="name",
    ),
    "6540": Row(
        RejectedError,
        "QuickBooks has deposited this already, so it cannot change: {said}",
        "Remove it from the deposit in QuickBooks first.",
    ),
}

_BY_STATUS: Mapping[int, Row] = {
    401: TABLE["3200"],
    403: TABLE["3100"],
    429: TABLE["3001"],
}

# Everything of this fault type was checked and refused before anything was stored, whatever the code.
_REFUSED = Row(RejectedError, _REFUSES, next_step="Correct what QuickBooks names, then retry.")
_DOWN = Row(UnavailableError, "QuickBooks has a problem of its own.")
_UNREADABLE = Row(UnavailableError, "QuickBooks gave an answer that cannot be understood.")

_ELEMENTS: Mapping[str, str] = {
    "displayname": "name",
    "name": "name",
    "docnumber": "number",
    "txndate": "date",
    "duedate": "due_date",
    "customerref": "customer",
    "currencyref": "currency",
    "parentref": "parent",
    "job": "parent",
    "salestermref": "terms",
    "primaryemailaddr": "email",
    "billemail": "email",
    "billaddr": "billing_address",
    "shipaddr": "shipping_address",
    "privatenote": "note",
    "sku": "sku",
    "unitprice": "price",
    "incomeaccountref": "income_account",
    "line": "lines",
    "totalamt": "amount",
}


def name_is_anothers(name: str, holder: str, refused: ProviderError) -> NameTakenError:
    """The refusal of a customer whose name a `vendor` or `employee` has, in the place of the general one."""
    return NameTakenError(
        f'QuickBooks has {"an" if holder == "employee" else "a"} {holder} named "{name}", and customers, vendors and '
        "employees share one list of names, inactive ones included.",
        field="name",
        next_step=f"Rename the {holder} in QuickBooks, or set `match: {{shared_name: suffix}}` in this step of the "
        'sync, so that the customer gets " (Customer)" after its name; then retry.',
        detail=refused.detail,
        request_id=refused.request_id,
        code=NAME_TAKEN,
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """The first error of a fault."""

    code: str = ""
    detail: str = ""
    element: str = ""
    type: str = ""


def parse_fault(content: object) -> Fault | None:
    """The fault in an answer: parsed JSON, in either case of letters, or the text of XML; None if there is none."""
    if isinstance(content, str):
        return _parse_xml(content)
    fault = _get(content, "fault")
    if not isinstance(fault, Mapping):
        return None
    errors = _get(fault, "error")
    first = errors[0] if isinstance(errors, list) and errors else errors
    message, detail = (str(_get(first, name) or "") for name in ("message", "detail"))
    return Fault(
        code=_normal_code(_get(first, "code"), message),
        detail=_sentence(message, detail),
        element=str(_get(first, "element") or ""),
        type=str(_get(fault, "type") or ""),
    )


def to_error(fault: Fault | None, *, status: int, write: bool, request_id: str) -> ProviderError:
    """What an answer with this status (200 for a fault inside a batch) and fault means for a write, or a read."""
    fault = fault or Fault()
    row = _row(fault, status)
    told = Told(
        "QuickBooks",
        said=fault.detail,
        field=_field(fault.element),
        detail=f"status {status}, code {fault.code or 'none'}, type {fault.type or 'none'}",
        request_id=request_id,
        code=fault.code or ("" if status < 400 else str(status)),  # noqa: PLR2004 - where HTTP's errors begin
    )
    return row.to_error(told, write=write)


def _row(fault: Fault, status: int) -> Row:
    if fault.code in TABLE:
        return TABLE[fault.code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if "validation" in fault.type.lower():
        return _REFUSED
    return _DOWN if status >= 500 or fault.code else _UNREADABLE  # noqa: PLR2004 - where HTTP's server errors begin


def _get(mapping: object, name: str) -> Any:  # noqa: ANN401 - JSON is anything
    """The value of the key, in whatever case it is written. The API writes `Fault`, its gateway `fault`."""
    if not isinstance(mapping, Mapping):
        return None
    return next((value for key, value in mapping.items() if str(key).lower() == name), None)


def _normal_code(code: object, message: str) -> str:
    """Without leading zeros; the gateway hides it in the message as `errorCode=003001`."""
    hidden = re.search(r"errorCode=(\d+)", message)
    text = str(code) if code is not None else hidden.group(1) if hidden else ""
    return text.strip().lstrip("0")


def _sentence(message: str, detail: str) -> str:
    text = detail or message
    if message and detail and message.rstrip(".").lower() not in detail.lower():
        text = f"{message.rstrip('.')}: {detail}"
    return re.sub(r"\s+", " ", text).strip()[:_DETAIL_LENGTH_MAX]


def _field(element: str) -> str:
    return _ELEMENTS.get(re.split(r"[.\[]", element, maxsplit=1)[0].lower(), "")


def _parse_xml(text: str) -> Fault | None:
    """By patterns: the gateway's XML is small and flat, and no parser means no entity to expand."""
    error = re.search(r"<Error\b([^>]*)>(.*?)</Error>", text, re.DOTALL)
    if error is None:
        return None
    attributes = dict(re.findall(r'(\w+)="([^"]*)"', error.group(1)))
    texts = {name: unescape(value.strip()) for name, value in re.findall(r"<(\w+)>([^<]*)</\1>", error.group(2))}
    kind = re.search(r'<Fault\b[^>]*\btype="([^"]*)"', text)
    return Fault(
        code=_normal_code(attributes.get("code"), texts.get("Message", "")),
        detail=_sentence(texts.get("Message", ""), texts.get("Detail", "")),
        element=attributes.get("element", ""),
        type=kind.group(1) if kind else "",
    )
