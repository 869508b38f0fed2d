"""Tally's XML as text and back: illegal characters and prefixes, encodings, amounts, dates, flags, counters.

Source: help.tallysolutions.com/xml-integration and .../case-study-1 (envelopes, counters); the illegal references, the
undeclared prefix and the forms of amounts as agents for TallyPrime 3.0 to 7.1 have measured them; read 2026-11-22.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from xml.etree.ElementTree import Element, SubElement, tostring

from tieout.transport.xml import parse_xml

MARKER = "\x04"
"""Stands before values of Tally's own, such as `Not Applicable`. XML has no place for it, and Tally sends it anyway."""

_REFERENCE = re.compile(r"&#(x[0-9a-f]{1,6}|[0-9]{1,7});", re.IGNORECASE)
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LAST = 0x10FFFF
_PREFIX = re.compile(r"(</?[A-Za-z_][\w.-]*):(?=[A-Za-z_])")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_FIRST = re.compile(r"(\d{1,2})[- ]([A-Za-z]{3})[a-z]*[- ](\d{2}|\d{4})")
_DAYS = re.compile(r"(\d+)\s*(days?|weeks?|months?|years?)?", re.IGNORECASE)
_CENTURY = 2000


# ---- their text ----


def decoded(body: bytes, content_type: str) -> str:
    """The answer as text: UTF-16 if it says so or looks so, else UTF-8; what is no UTF-8 becomes a replacement mark."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return body.decode("utf-16", "replace")
    if "utf-16" in content_type.lower() or body[1:2] == b"\0":
        return body.decode("utf-16-le", "replace")
    return body.decode("utf-8-sig", "replace")


def parsed(text: str) -> Element:
    """The root element, of text that need not be quite XML.

    Raises:
        UnreadableXmlError: If it is broken all the same.
    """
    text = _DECLARATION.sub("", text)
    text = _ILLEGAL.sub("", _REFERENCE.sub(_legal, text))
    return parse_xml(_PREFIX.sub(r"\1_", text))


def _legal(reference: re.Match[str]) -> str:
    """The reference, or nothing if XML has no such character."""
    digits = reference[1]
    code = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
    return reference[0] if code <= _LAST and not _ILLEGAL.match(chr(code)) else ""


def encoded(root: Element, encoding: str) -> tuple[bytes, str]:
    """The request's bytes and its content type."""
    text = tostring(root, encoding="unicode").replace(MARKER, "&#4;")
    if encoding == "utf-16":
        return text.encode("utf-16-le"), "text/xml;charset=utf-16"
    return text.encode("utf-8"), "text/xml; charset=utf-8"


def writable(text: str) -> bool:
    """True if XML has a place for each of its characters."""
    return _ILLEGAL.search(text) is None


# ---- their elements ----


def add(parent: Element, tag: str, value: object = None, **attributes: str) -> Element:
    """A new element at the end of the parent; `value` is its text, in Tally's form."""
    child = SubElement(parent, tag, attributes)
    if value is not None:
        child.text = spelled(value)
    return child


def spelled(value: object) -> str:
    """A value as Tally writes it."""
    match value:
        case bool():
            return "Yes" if value else "No"
        case dt.date():
            return f"{value:%Y%m%d}"
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)


def said_day(day: dt.date) -> str:
    """A date as attributes have it: `2-Apr-2026`."""
    return f"{day.day}-{_MONTHS[day.month - 1].title()}-{day.year}"


def text_of(element: Element | None, path: str = "") -> str:
    """What an element says, without spaces around it and with single ones inside; empty if it is not there."""
    found = element.find(path) if element is not None and path else element
    return " ".join((found.text or "").split()) if found is not None else ""


def lines_of(element: Element, path: str) -> list[str]:
    """The texts of all elements of this path that have any."""
    return [text for each in element.findall(path) if (text := text_of(each))]


def flag_of(element: Element, path: str) -> bool:
    """`Yes`, or `true` as some tools tidy it."""
    return text_of(element, path).casefold() in {"yes", "true"}


def day_of(text: str) -> dt.date | None:
    """The day that `20260402`, `2-Apr-2026` or `2026-04-02` says; None if it says none."""
    try:
        if text.isdigit():
            return dt.datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
        if found := _DAY_FIRST.fullmatch(text):
            year = int(found[3]) + (_CENTURY if len(found[3]) == 2 else 0)  # noqa: PLR2004 - two digits of a year
            return dt.date(year, _MONTHS.index(found[2].lower()) + 1, int(found[1]))
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        return None


def number_of(text: str) -> Decimal | None:
    """The number in a text with symbols, units and spaces; of one with an exchange rate, what it is in base currency.

    `-$ 100.00 @ ₹ 83/$ = -₹ 8300.00` is -8300.00; `1,180.00 Dr` is -1180.00; ` 2 Nos` is 2; `100.00/Nos` is 100.00.
    """
    said = text.rpartition("=")[2].partition("/")[0].strip()
    found = re.search(r"[0-9][0-9,]*(\.[0-9]+)?|\.[0-9]+", said)
    if found is None:
        return None
    try:
        number = Decimal(found[0].replace(",", ""))
    except InvalidOperation:
        return None
    negative = "-" in said[: found.start()] or said.casefold().endswith(" dr")
    return -number if negative else number


def amount_of(element: Element | None, path: str = "AMOUNT") -> Decimal:
    """An amount, a debit negative; 0 if there is none.

    Tools that tidy Tally's XML nest it: `AMOUNT/AMOUNT` without a sign, and `ISDEBIT` beside it.
    """
    found = element.find(path) if element is not None else None
    if found is None:
        return Decimal(0)
    if found.find("AMOUNT") is None:
        return number_of(text_of(found)) or Decimal(0)
    size = abs(number_of(text_of(found, "AMOUNT")) or Decimal(0))
    return -size if flag_of(found, "ISDEBIT") else size


def quantity_of(element: Element, path: str) -> Decimal | None:
    """A quantity without its unit."""
    return number_of(text_of(element, f"{path}/QUANTITY") or text_of(element, path))


def rate_of(element: Element, path: str = "RATE") -> Decimal | None:
    """A rate without its unit."""
    return number_of(text_of(element, f"{path}/BASERATE") or text_of(element, path))


def days_of(text: str) -> int | None:
    """Days of a credit period such as `30 Days`; weeks, months and years as so many days."""
    found = _DAYS.fullmatch(text.strip())
    if found is None:
        return None
    each = {"w": 7, "m": 30, "y": 365}.get((found[2] or "d")[0].lower(), 1)
    return int(found[1]) * each


# ---- vouchers' postings ----


@dataclass(frozen=True, slots=True)
class Posting:
    """What a voucher books to one ledger; a debit is negative."""

    ledger: str
    amount: Decimal
    entry: Element


def postings_of(voucher: Element) -> list[Posting]:
    """Every ledger that the voucher books to, each amount once.

    Releases and views show the same entries in several lists: an item invoice has its party and taxes in
    `LEDGERENTRIES` and its sales in the items' `ACCOUNTINGALLOCATIONS`, while `ALLLEDGERENTRIES` may hold all of these,
    or not those of the items. Whichever reading adds up to 0 is the voucher; the first if none does.
    """
    ledgers, everything = (
        list(_postings(voucher, "LEDGERENTRIES.LIST")),
        list(_postings(voucher, "ALLLEDGERENTRIES.LIST")),
    )
    items = [
        posting
        for path in ("ALLINVENTORYENTRIES.LIST", "INVENTORYENTRIES.LIST")
        for entry in voucher.findall(path)
        for posting in _postings(entry, "ACCOUNTINGALLOCATIONS.LIST")
    ]
    readings = [each for each in (ledgers + items, everything, everything + items, ledgers) if each]
    return next((each for each in readings if adds_up(each)), readings[0] if readings else [])


def adds_up(postings: Sequence[Posting]) -> bool:
    """True if debits are credits."""
    return sum(each.amount for each in postings) == 0


def _postings(parent: Element, path: str) -> Iterator[Posting]:
    for entry in parent.findall(path):
        ledger = text_of(entry, "LEDGERNAME")
        if ledger:
            yield Posting(ledger, amount_of(entry), entry)


# ---- counters of an import ----


@dataclass(frozen=True, slots=True)
class Imported:
    """What Tally says of an import: counters of the whole request, and sentences.

    Attributes:
        voucher: MasterID of the last voucher that it touched; 0 if none.
    """

    created: int = 0
    altered: int = 0
    deleted: int = 0
    cancelled: int = 0
    ignored: int = 0
    errors: int = 0
    exceptions: int = 0
    voucher: int = 0
    said: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        """How many records it touched."""
        return self.created + self.altered + self.deleted + self.cancelled


def imported(root: Element) -> Imported | None:
    """The counters, in the older form's `IMPORTRESULT` as in the newer's `RESPONSE`; None if there are none."""
    if next(root.iter("CREATED"), None) is None and next(root.iter("LINEERROR"), None) is None:
        return None

    def count(tag: str) -> int:
        digits = text_of(next(root.iter(tag), None))
        return int(digits) if digits.isdigit() else 0

    return Imported(
        created=count("CREATED"),
        altered=count("ALTERED"),
        deleted=count("DELETED"),
        cancelled=count("CANCELLED"),
        ignored=count("IGNORED"),
        errors=count("ERRORS"),
        exceptions=count("EXCEPTIONS"),
        voucher=count("LASTVCHID"),
        said=tuple(text for each in root.iter("LINEERROR") if (text := text_of(each))),
    )
