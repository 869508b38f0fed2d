"""XML that Tally and GoldMine export: masters of the books, and contacts.

Tally writes references to characters that XML forbids (`&#4;`), a prefix that it does not declare (`UDF:`) and often
UTF-16: all of that is mended before it is parsed. Source: https://help.tallysolutions.com/xml-integration/ and public
exports of TallyPrime, read 2026-11-22.
GoldMine's form is published nowhere: a record is an element of one of the known names, a field a child of it.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import BinaryIO, cast, override
from xml.etree.ElementTree import Element

from tieout.files.encodings import evident_encoding
from tieout.files.source import Choices, FileError, Finding, Findings, Format, Limits, Row, Table, too_long
from tieout.transport.xml import UnreadableXmlError, stream_xml

type _ToValues = Callable[[Element], dict[str, str]]

_TALLY_TAGS = ("LEDGER", "STOCKITEM", "UNIT", "GROUP", "COSTCENTRE", "CURRENCY")
_GOLDMINE_TAGS = frozenset(
    {
        "account",
        "contact",
        "contact1",
        "gm_contact",
        "gmcontact",
        "record",
        "row",
        "Contact",
        "Account",
        "Record",
        "CONTACT1",
    }
)
_DECLARED = re.compile(r"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""", re.IGNORECASE)
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_FORBIDDEN = re.compile(
    r"&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2\d|3[01]));|[\0-\x08\x0b\x0c\x0e-\x1f]", re.IGNORECASE
)
_UDF = re.compile(r"(</?)UDF:")
_CHUNK_CHARACTERS = 16_384
_HELD = 64
_FIELD_NAMES = ("name", "fieldname", "field", "dbname", "db_name")

_LEDGER: Mapping[str, tuple[str, ...]] = {
    "GUID": ("GUID",),
    "NAME": ("NAME", "LANGUAGENAME.LIST/NAME.LIST/NAME", "NAME.LIST/NAME"),
    "PARENT": ("PARENT",),
    "MAILINGNAME": ("LEDMAILINGDETAILS.LIST/MAILINGNAME", "MAILINGNAME.LIST/MAILINGNAME", "MAILINGNAME"),
    "CONTACT": ("LEDGERCONTACT",),
    "EMAIL": ("EMAIL",),
    "PHONE": ("LEDGERPHONE",),
    "MOBILE": ("LEDGERMOBILE", "CONTACTDETAILS.LIST/PHONENUMBER"),
    "WEBSITE": ("WEBSITE",),
    "ADDRESS": ("LEDMAILINGDETAILS.LIST/ADDRESS.LIST/ADDRESS", "ADDRESS.LIST/ADDRESS"),
    "STATE": ("LEDMAILINGDETAILS.LIST/STATE", "LEDSTATENAME", "STATENAME"),
    "PINCODE": ("LEDMAILINGDETAILS.LIST/PINCODE", "PINCODE"),
    "COUNTRY": ("LEDMAILINGDETAILS.LIST/COUNTRY", "COUNTRYOFRESIDENCE", "COUNTRYNAME"),
    "GSTIN": ("LEDGSTREGDETAILS.LIST/GSTIN", "PARTYGSTIN"),
    "GSTREGISTRATIONTYPE": ("LEDGSTREGDETAILS.LIST/GSTREGISTRATIONTYPE", "GSTREGISTRATIONTYPE"),
    "PAN": ("INCOMETAXNUMBER",),
    "CREDITPERIOD": ("BILLCREDITPERIOD",),
    "ALTERID": ("ALTERID",),
}
_ITEM: Mapping[str, tuple[str, ...]] = {
    "GUID": ("GUID",),
    "NAME": ("NAME", "LANGUAGENAME.LIST/NAME.LIST/NAME"),
    "PARENT": ("PARENT",),
    "UNIT": ("BASEUNITS",),
    "DESCRIPTION": ("DESCRIPTION",),
    "HSNCODE": ("HSNDETAILS.LIST/HSNCODE", "GSTDETAILS.LIST/HSNCODE", "HSNCODE"),
    "ALTERID": ("ALTERID",),
}
_OTHER: Mapping[str, tuple[str, ...]] = {
    "GUID": ("GUID",),
    "NAME": ("NAME", "LANGUAGENAME.LIST/NAME.LIST/NAME"),
    "PARENT": ("PARENT",),
    "ALTERID": ("ALTERID",),
}
_SHAPES = {"LEDGER": _LEDGER, "STOCKITEM": _ITEM}


def read_tally(file: BinaryIO, choices: Choices, limits: Limits) -> Table:
    """The masters of one kind: ledgers, if there are any; `choices.sheet` names another, such as `STOCKITEM`.

    Raises:
        FileError: If it holds none, is broken, or has a document type or entities.
    """
    counts = dict.fromkeys(_TALLY_TAGS, 0)
    for element in _elements(file, frozenset(_TALLY_TAGS)):
        counts[element.tag] += 1
    tag = choices.sheet or next((each for each in _TALLY_TAGS if counts[each]), None)
    if tag is None or not counts.get(tag):
        raise FileError("This export of Tally holds no masters.", next_step="Export masters (ledgers) as XML.")
    shape = _SHAPES.get(tag, _OTHER)
    warnings = []
    if tag == "LEDGER":
        warnings.append(
            "Every ledger is a row, banks and taxes too: PARENT tells customers (Sundry Debtors) from them."
        )
    others = [f"{count:,} {each}" for each, count in counts.items() if count and each != tag]
    if others:
        warnings.append(f"The file holds other masters, too, which are not read: {', '.join(others)}.")
    findings = Findings(warnings=tuple(warnings))
    return _table(
        Format.TALLY_XML, file, frozenset({tag}), findings, to_values=lambda each: _master(each, shape), limits=limits
    )


def read_goldmine(file: BinaryIO, limits: Limits) -> Table:
    """The contacts.

    Raises:
        FileError: If it holds none, is broken, or has a document type or entities.
    """
    told = "Nobody has published the form of this file: compare the first rows with GoldMine."
    findings = Findings(layout=Finding("goldmine", "guessed"), warnings=(told,))
    return _table(Format.GOLDMINE_XML, file, _GOLDMINE_TAGS, findings, to_values=_contact, limits=limits)


def _table(
    form: Format, file: BinaryIO, tags: frozenset[str], findings: Findings, *, to_values: _ToValues, limits: Limits
) -> Table:
    titles: dict[str, None] = {}
    for element in _elements(file, tags):
        titles |= dict.fromkeys(to_values(element))
        if len(titles) > limits.columns_max:
            raise FileError(f"The records have more than {limits.columns_max:,} fields.", next_step="Export fewer.")
    if not titles:
        raise FileError("This XML file holds no records that are known.", next_step="Export the records as CSV.")
    columns = tuple(titles)

    def rows() -> Iterator[Row]:
        for number, element in enumerate(_elements(file, tags), 1):
            found = to_values(element)
            values = {title: found.get(title) for title in columns}
            yield Row(number, values, too_long(values, limits))

    return Table(form, columns, rows, findings)


def _elements(file: BinaryIO, tags: frozenset[str]) -> Iterator[Element]:
    try:
        yield from stream_xml(cast("BinaryIO", _Mended(file)), tags)
    except UnreadableXmlError as error:
        raise FileError(f"The file cannot be read: {error}.", next_step="Export it again.") from None
    except UnicodeError:
        raise FileError("The file is not in the encoding that it names.", next_step="Export it again.") from None


def _master(element: Element, shape: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    values = {}
    for title, paths in shape.items():
        text = next(filter(None, (_at(element, path) for path in paths)), "")
        if not text and title == "NAME":
            text = element.get("NAME", "").strip()
        if text:
            values[title] = text
    return values


def _at(element: Element, path: str) -> str:
    """The texts at the path; of lists with a date, those of the one that begins last."""
    first, _, rest = path.partition("/")
    found = element.findall(first)
    if rest and found:
        newest = max(found, key=lambda each: (each.findtext("APPLICABLEFROM") or "").replace("-", ""))
        return _at(newest, rest)
    return "\n".join(filter(None, ((each.text or "").strip() for each in found)))


def _contact(element: Element) -> dict[str, str]:
    """By field: a child's tag, or the name that it has as an attribute or in a child of its own."""
    values: dict[str, str] = {}
    for each in element.iter():
        if each is element:
            continue
        inner = {child.tag.casefold(): (child.text or "").strip() for child in each}
        name = next((inner[key] for key in _FIELD_NAMES if key in inner and "value" in inner), None)
        if name is not None:
            values.setdefault(_field(name), inner["value"])
        elif not len(each):
            named = next((each.get(key) for key in _FIELD_NAMES if each.get(key)), None)
            values.setdefault(_field(named or each.tag), (each.text or each.get("value") or "").strip())
    dropped = {_field(key) for key in (*_FIELD_NAMES, "value")}
    return {name: value for name, value in values.items() if value and name not in dropped}


def _field(name: str) -> str:
    """`Contact1.Company` and `company` are the column COMPANY."""
    return name.rpartition(".")[2].upper()


class _Mended(io.RawIOBase):
    """The file in UTF-8, without what XML forbids, from its beginning on."""

    def __init__(self, file: BinaryIO) -> None:
        self._pieces = chain(_mended(file))
        self._rest = b""

    @override
    def readable(self) -> bool:
        return True

    @override
    def read(self, size: int = -1, /) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        size = len(self._rest) if size < 0 else size
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def _mended(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    beginning = file.read(_CHUNK_CHARACTERS)
    encoding = evident_encoding(beginning)
    if encoding is None:
        declared = _DECLARED.match(beginning.decode("latin-1"))
        encoding = declared[1] if declared else "utf-8"
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise UnicodeError("an encoding that is not known") from None
    file.seek(0)
    held, first = "", True
    while chunk := file.read(_CHUNK_CHARACTERS):
        text = held + decoder.decode(chunk)
        if first:
            text, first = _DECLARATION.sub("", text, count=1), False
        # A reference or a tag may go on in the next chunk.
        cut = max(text.rfind("&", -_HELD), text.rfind("<", -_HELD))
        held = text[cut:] if cut > 0 else ""
        yield _clean(text[:cut] if cut > 0 else text)
    yield _clean(held + decoder.decode(b"", final=True))


def _clean(text: str) -> bytes:
    return _UDF.sub(r"\1UDF.", _FORBIDDEN.sub("", text)).encode("utf-8", "xmlcharrefreplace")
