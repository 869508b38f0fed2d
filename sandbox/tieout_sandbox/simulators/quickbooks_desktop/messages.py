"""Message sets: read, held to the schema, and answered."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, tostring
from xml.sax.saxutils import escape

from tieout.transport.xml import UnreadableXmlError, parse_xml
from tieout_sandbox.simulators.quickbooks_desktop.schema import FILTERS, KEYS, SCHEMA

NEWEST = 16
_DIGITS_OF_SET_ID = 23

type Row = dict[str, Any]


class ResultError(Exception):
    """QuickBooks does not take the message set: a result of Windows and its message."""

    def __init__(self, result: str, message: str) -> None:
        super().__init__(message)
        self.result = result
        self.message = message


class StatusError(Exception):
    """A request is refused: a status code and its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class MessageSet:
    """What was sent.

    Attributes:
        checksum: Of the requests, to tell a repeated set from another one of the same id.
    """

    requests: tuple[Element, ...]
    stops_on_error: bool
    new_id: str
    old_id: str
    checksum: str


def parse_set(text: str) -> MessageSet:
    """The message set.

    Raises:
        ResultError: If it is none, or not of the schema; QuickBooks does not say what is wrong.
    """
    not_parsed = ResultError("0x80040400", "QuickBooks found an error when parsing the provided XML text stream.")
    version = re.search(r'<\?qbxml\s+version="(\d+)\.(\d+)"\s*\?>', text)
    try:
        root = parse_xml(text.encode())
    except UnreadableXmlError:
        raise not_parsed from None
    messages = root.find("QBXMLMsgsRq")
    if version is None or root.tag != "QBXML" or messages is None or len(root) != 1:
        raise not_parsed
    if int(version[1]) > NEWEST:
        raise ResultError("0x80040423", "The version of qbXML that was requested is not supported or is unknown.")
    on_error = messages.get("onError")
    if on_error == "rollbackOnError":
        raise ResultError(
            "0x80040413", "QuickBooks does not support the rollbackOnError value of the onError attribute."
        )
    if on_error not in {"stopOnError", "continueOnError"} or not all(map(_is_valid, messages)):
        raise not_parsed
    ids = [messages.get(name, "") for name in ("newMessageSetID", "oldMessageSetID")]
    if not len(messages) and not any(ids):
        raise not_parsed
    inner = b"".join(tostring(each) for each in messages)
    return MessageSet(tuple(messages), on_error == "stopOnError", ids[0], ids[1], hashlib.sha256(inner).hexdigest())


def is_set_id(text: str) -> bool:
    """True if it is short enough."""
    return len(text) <= _DIGITS_OF_SET_ID


def to_row(element: Element) -> Row:
    """What the element holds: texts and mappings, and lists of what may repeat there."""
    slots = SCHEMA[element.tag]
    row: Row = {}
    for each in element:
        value = to_row(each) if each.tag in SCHEMA else (each.text or "").strip()
        if slots[each.tag].repeats:
            row.setdefault(each.tag, []).append(value)
        else:
            row[each.tag] = value
    return row


def to_xml(name: str, value: Any) -> str:  # noqa: ANN401 - a text, a mapping or a list of them
    """The value as elements of this name."""
    if isinstance(value, list):
        return "".join(to_xml(name, each) for each in value)
    if isinstance(value, Mapping):
        return f"<{name}>{''.join(to_xml(key, each) for key, each in value.items())}</{name}>"
    return f"<{name}>{escape(str(value))}</{name}>"


def reply(request: Element, inner: str = "", *, code: int = 0, message: str = "Status OK", more: str = "") -> str:
    """The reply to a request; `more` are further attributes."""
    name = request.tag.removesuffix("Rq") + "Rs"
    severity = "Info" if code < 500 else "Warn" if code < 1000 else "Error"  # noqa: PLR2004 - the published ranges
    request_id = request.get("requestID")
    own = f' requestID="{escape(request_id)}"' if request_id is not None else ""
    told = escape(message, {'"': "&quot;"})
    head = f'<{name}{own} statusCode="{code}" statusSeverity="{severity}" statusMessage="{told}"{more}'
    return f"{head} />" if not inner else f"{head}>{inner}</{name}>"


def document(inner: str, *, set_id: str = "", status: int | None = None) -> str:
    """The whole answer."""
    own = f' newMessageSetID="{escape(set_id)}"' if set_id else ""
    told = f' messageSetStatusCode="{status}"' if status is not None else ""
    return f'<?xml version="1.0" ?>\n<QBXML>\n<QBXMLMsgsRs{own}{told}>\n{inner}</QBXMLMsgsRs>\n</QBXML>\n'


def _is_valid(element: Element) -> bool:
    """True if every element stands in its place, as often as it may."""
    slots = SCHEMA.get(element.tag)
    given = [each.tag for each in element]
    if slots is None or not set(given) <= set(slots):
        return False
    keys = KEYS & set(given) if element.tag.endswith("QueryRq") else set()
    places = [list(slots).index(each) for each in given]
    once = all(slots[name].repeats or given.count(name) == 1 for name in given)
    inner = all(_is_valid(each) if each.tag in SCHEMA else not len(each) for each in element)
    return places == sorted(places) and once and inner and len(keys) < 2 and not (keys and FILTERS & set(given))  # noqa: PLR2004 - one way to ask


def check_lengths(element: Element) -> None:
    """Return if no text is too long.

    Raises:
        StatusError: Otherwise.
    """
    for each in element:
        if each.tag in SCHEMA:
            check_lengths(each)
        elif (most := SCHEMA[element.tag][each.tag].length_max) and len(each.text or "") > most:
            raise StatusError(3070, f"The string in the field {each.tag} is too long. Its maximum length is {most}.")
