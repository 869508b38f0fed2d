"""qbXML: message sets out, replies in. Pure.

A request is a name and what stands in it: a mapping by element name, whose values are texts, numbers, dates, truths,
further mappings, or lists of these for what repeats. The order is the schema's, whatever the order of the mapping.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from tieout.connectors.quickbooks_desktop.schema import ORDER
from tieout.transport.xml import UnreadableXmlError, parse_xml

# A fair floor: QuickBooks 2014 and later. Source: the facts of recorded requests, which are of this version.
VERSION = "13.0"
OK, NOTHING_FOUND, SOME_NOT_FOUND = 0, 1, 500
_FOUND = frozenset({OK, NOTHING_FOUND, SOME_NOT_FOUND})
# What XML 1.0 can hold, without the carriage return that readers drop.
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

type Json = dict[str, Any]


class UnreadableError(ValueError):
    """It is no reply of QuickBooks. The message repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a message set; `attributes` are those of an iterator."""

    name: str
    body: Json = field(default_factory=dict, repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply.

    Attributes:
        code, message: What QuickBooks says of the request: 0 is fine, 1 nothing found, 500 some of it not found.
        element: What it holds.
        iterator, remaining: Of a query in pages: where it goes on, and about how many records are left.
    """

    code: int
    message: str
    element: Element = field(repr=False)
    iterator: str = ""
    remaining: int = 0

    @property
    def found(self) -> bool:
        """True if it is the answer to a query, be it that nothing was found."""
        return self.code in _FOUND

    def records(self, *ends: str) -> list[Element]:
        """The records in it: elements whose name ends so, `Ret` if none is given."""
        return [each for each in self.element if each.tag.endswith(ends or ("Ret",))]


@dataclass(frozen=True, slots=True)
class Replies:
    """Of a message set: its own status (0 if none is told), and the replies by position of their request."""

    status: int
    by_position: Mapping[int, Reply]


def message_set(requests: Sequence[Ask], *, set_id: str = "") -> str:
    """The text of a message set, in ASCII.

    Every request is tried, whatever becomes of those before it. With `set_id` (23 characters at most) QuickBooks keeps
    its reply, and gives it again, without doing anything twice, if the same set comes once more.
    Source: QuickBooks SDK Programmer's Guide, table 31-2, as others quote it, and is2qb.com/documentation, both read
    2026-11-22.

    Raises:
        KeyError: If an element is none of the schema's: a fault of ours.
    """
    mark = f' newMessageSetID="{set_id}"' if set_id else ""
    inner = "".join(_request(position, each) for position, each in enumerate(requests))
    text = (
        f'<?xml version="1.0" encoding="utf-8"?><?qbxml version="{VERSION}"?>'
        f'<QBXML><QBXMLMsgsRq onError="continueOnError"{mark}>{inner}</QBXMLMsgsRq></QBXML>'
    )
    return text.encode("ascii", "xmlcharrefreplace").decode()


def parse_replies(body: bytes) -> Replies:
    """The replies in an answer.

    Raises:
        UnreadableError: If it is none.
    """
    try:
        root = parse_xml(body)
    except UnreadableXmlError as error:
        raise UnreadableError(str(error)) from None
    messages = root.find("QBXMLMsgsRs") if root.tag == "QBXML" else None
    if messages is None:
        raise UnreadableError("it is no QBXMLMsgsRs")
    replies = {position: _reply(each) for each in messages if (position := _position(each)) is not None}
    return Replies(_int(messages.get("messageSetStatusCode", "0")), replies)


def fits(text: str) -> bool:
    """True if XML can hold the text."""
    return not _NOT_IN_XML.search(text)


def text_of(element: Element, path: str) -> str | None:
    """The text at the path, such as `CustomerRef/ListID`; None if there is none, or an empty one."""
    return (element.findtext(path) or "").strip() or None


def decimal_of(element: Element, path: str) -> Decimal | None:
    """The number at the path; None if there is none.

    Raises:
        UnreadableError: If it is no number.
    """
    text = text_of(element, path)
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?[0-9]*\.?[0-9]+|[+-]?[0-9]+\.", text) or len(text) > 40:  # noqa: PLR2004 - any number
        raise UnreadableError(f"{path} is no number")
    return Decimal(text)


def date_of(element: Element, path: str) -> dt.date | None:
    """The day at the path; None if there is none.

    Raises:
        UnreadableError: If it is no day.
    """
    text = text_of(element, path)
    try:
        return dt.date.fromisoformat(text) if text is not None else None
    except ValueError:
        raise UnreadableError(f"{path} is no date") from None


def moment_of(element: Element, path: str) -> dt.datetime | None:
    """The moment at the path, with the offset that QuickBooks gives; without one if it gives none. None if absent.

    Raises:
        UnreadableError: If it is no moment.
    """
    text = text_of(element, path)
    try:
        return dt.datetime.fromisoformat(text) if text is not None else None
    except ValueError:
        raise UnreadableError(f"{path} is no moment") from None


def flag_of(element: Element, path: str) -> bool | None:
    """The truth at the path; None if there is none."""
    text = text_of(element, path)
    return None if text is None else text.lower() in {"true", "1"}


def _request(position: int, ask: Ask) -> str:
    attributes = "".join(f' {name}="{escape(value, {chr(34): "&quot;"})}"' for name, value in ask.attributes.items())
    return f'<{ask.name} requestID="{position}"{attributes}>{_inner(ask.name, ask.body)}</{ask.name}>'


def _inner(aggregate: str, body: Mapping[str, Any]) -> str:
    order = ORDER[aggregate]
    unknown = set(body) - set(order)
    if unknown:
        raise KeyError(f"{aggregate} has no {sorted(unknown)}")
    return "".join(_element(name, body[name]) for name in order if name in body)


def _element(name: str, value: object) -> str:
    match value:
        case list() | tuple():
            return "".join(_element(name, each) for each in value)
        case Mapping():
            return f"<{name}>{_inner(name, value)}</{name}>"
        case bool():
            return f"<{name}>{'true' if value else 'false'}</{name}>"
        case Decimal():
            return f"<{name}>{value:f}</{name}>"
        case dt.date():
            return f"<{name}>{value.isoformat()}</{name}>"
        case _:
            return f"<{name}>{escape(str(value))}</{name}>"


def _reply(element: Element) -> Reply:
    return Reply(
        _int(element.get("statusCode", "")),
        element.get("statusMessage", ""),
        element,
        element.get("iteratorID", ""),
        _int(element.get("iteratorRemainingCount") or "0"),
    )


def _position(element: Element) -> int | None:
    text = element.get("requestID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None  # noqa: PLR2004 - ours are short


def _int(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise UnreadableError("a status is no number")
    return int(text)
