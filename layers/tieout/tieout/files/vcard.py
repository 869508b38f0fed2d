"""vCard 2.1, 3.0 and 4.0 as programs really write it, jCard (RFC 7095) and xCard (RFC 6351)."""

from __future__ import annotations

import json
import quopri
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element

from tieout.files.cards import NO_PREFERENCE, Property, in_order, titled, told_unread, types_of
from tieout.files.encodings import SAMPLE_BYTES, evident_encoding, first_fault, known_encoding
from tieout.files.lines import Lines
from tieout.files.source import Choices, FileError, Finding, Findings, Format, Limits, Row, Table, too_long
from tieout.transport.xml import UnreadableXmlError, stream_xml

_BYTES = "latin-1"
"""In which each byte is a character: what it means, each property says for itself."""
_GUESS = "cp1252"
_VALUE_CHARACTERS_MAX = 1_000_000
_JCARD_BYTES_MAX = 20_000_000
_LARGE = frozenset({"photo", "logo", "sound", "key", "x-ms-ol-design"})
_STRUCTURED = frozenset({"n", "adr", "org"})
_LISTED = frozenset({"n", "adr", "categories", "nickname"})
_ENCODINGS = frozenset({"quoted-printable", "base64", "b", "8bit", "7bit"})
_HEAD = re.compile(r'((?:[^":;,=]|[;,=]|"[^"]*")*?):', re.DOTALL)
_PARAMETER = re.compile(r';((?:[^";]|"[^"]*")*)')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"n": "\n", "N": "\n"}
_XCARD = "{urn:ietf:params:xml:ns:vcard-4.0}"
_BEGIN, _END = "begin:vcard", "end:vcard"


@dataclass(slots=True)
class _Line:
    """A property as it is written, continued lines joined."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class _Coding:
    """How the values of a card are written: in which encoding (None: it is text already), and as 2.1 has it."""

    encoding: str | None
    old: bool


@dataclass(slots=True)
class _Card:
    """The lines of one card."""

    number: int
    line: int
    lines: list[_Line] = field(default_factory=list)
    problem: str = ""


def read_vcard(file: BinaryIO, choices: Choices, limits: Limits) -> Table:
    """The cards of a file.

    Raises:
        FileError: If there is none, or the file ends inside one.
    """
    encoding = _encoding(file, choices)
    name = encoding.value or "utf-8"
    wide = name.startswith(("utf-16", "utf-32"))
    # Where it is guessed, each value is looked at by itself: programs mix encodings.
    own = "utf-8" if encoding.certainty == "guessed" else name.removesuffix("-sig")
    cards = partial(_cards, file, name if wide else _BYTES)
    to_properties = partial(_properties, encoding=None if wide else own)
    return _table(Format.VCARD, cards, to_properties, Findings(encoding=encoding), limits)


def read_jcard(file: BinaryIO, limits: Limits) -> Table:
    """The cards of a jCard file, which is held in memory.

    Raises:
        FileError: If it is none, or has more than 20,000,000 bytes.
    """
    file.seek(0)
    content = file.read(_JCARD_BYTES_MAX + 1)
    if len(content) > _JCARD_BYTES_MAX:
        raise FileError(f"A jCard file of more than {_JCARD_BYTES_MAX:,} bytes is not read.", next_step="Use vCard.")
    try:
        found = json.loads(content, parse_float=str)
    except (ValueError, RecursionError):
        raise FileError("The file is neither JSON nor text.", next_step="Export it again.") from None
    cards = found if found and isinstance(found, list) and isinstance(found[0], list) else [found]
    if not all(_is_jcard(card) for card in cards):
        raise FileError("This JSON file holds no cards.", next_step="Export the records as CSV or vCard.")
    numbered = [(number, card, "") for number, card in enumerate(cards, 1)]
    return _table(Format.JCARD, lambda: iter(numbered), _of_jcard, Findings(encoding=Finding("utf-8")), limits)


def read_xcard(file: BinaryIO, limits: Limits) -> Table:
    """The cards of an xCard file.

    Raises:
        FileError: If it is broken, or has a document type or entities.
    """

    def cards() -> Iterator[tuple[int, Element, str]]:
        file.seek(0)
        try:
            for number, element in enumerate(stream_xml(file, frozenset({f"{_XCARD}vcard"})), 1):
                yield number, element, ""
        except UnreadableXmlError as error:
            raise FileError(f"The file cannot be read: {error}.", next_step="Export it again.") from None

    return _table(Format.XCARD, cards, _of_xcard, Findings(), limits)


def _table[Found](
    form: Format,
    cards: Callable[[], Iterator[tuple[int, Found, str]]],
    to_properties: Callable[[Found], list[Property]],
    findings: Findings,
    limits: Limits,
) -> Table:
    """Looks through all cards for the titles that they have together."""
    titles: set[str] = set()
    unread: set[str] = set()
    for _, card, _ in cards():
        sheet = titled(to_properties(card))
        titles |= sheet.values.keys()
        unread |= sheet.unread
    if not titles:
        raise FileError("The file holds no cards, or only empty ones.", next_step="Check what was exported.")
    if len(titles) > limits.columns_max:
        raise FileError(f"The cards have more than {limits.columns_max:,} fields.", next_step="Export them in parts.")
    columns = in_order(titles)

    def rows() -> Iterator[Row]:
        for number, card, problem in cards():
            found = titled(to_properties(card)).values
            values = {title: found.get(title) for title in columns}
            yield Row(number, values, problem or too_long(values, limits))

    warned = Findings(encoding=findings.encoding, warnings=told_unread(unread))
    return Table(form, columns, rows, warned)


def _encoding(file: BinaryIO, choices: Choices) -> Finding:
    if choices.encoding is not None:
        return Finding(known_encoding(choices.encoding), "chosen")
    file.seek(0)
    evident = evident_encoding(file.read(SAMPLE_BYTES))
    if evident is not None:
        return Finding(evident)
    return Finding("utf-8") if first_fault(file, "utf-8") is None else Finding(_GUESS, "guessed")


def _cards(file: BinaryIO, encoding: str) -> Iterator[tuple[int, _Card, str]]:
    """Number, lines and problem of each card."""
    card: _Card | None = None
    number = inner = 0
    for line in _unfolded(file, encoding):
        word = line.text.strip().casefold().removeprefix("\ufeff").removeprefix("ï»¿")
        if word == _BEGIN:
            if card is not None and card.lines and card.lines[-1].text.casefold().startswith("agent"):
                inner += 1
                continue
            if card is not None:
                yield number, card, f"The card that begins in line {card.line} does not end."
            number += 1
            card = _Card(number, line.number)
        elif word == _END and inner:
            inner -= 1
        elif word == _END and card is not None:
            yield number, card, card.problem
            card = None
        elif card is not None and not inner and word:
            _add(card, line)
    if card is not None:
        raise FileError(
            f"Card {number}, which begins in line {card.line}, does not end: the file was cut off.",
            next_step="Export it again.",
        )


def _add(card: _Card, line: _Line) -> None:
    if _HEAD.match(line.text) is None:
        card.problem = card.problem or f"Line {line.number} is no property of a card."
    elif len(line.text) > _VALUE_CHARACTERS_MAX:
        card.problem = f"Line {line.number} has more than {_VALUE_CHARACTERS_MAX:,} characters."
    else:
        card.lines.append(line)


def _unfolded(file: BinaryIO, encoding: str) -> Iterator[_Line]:
    """Lines with those that go on in the next one joined: folded ones, and quoted-printable ones that end in `=`."""
    held: _Line | None = None
    large = soft = False
    with Lines(file, encoding) as lines:
        for raw in lines:
            text = raw.rstrip("\r\n")
            if held is not None and (text[:1] in (" ", "\t") or soft):
                if not large and len(held.text) <= _VALUE_CHARACTERS_MAX:
                    held.text = held.text[:-1] + text if soft else held.text + text[1:]
            elif held is not None and large and text and ":" not in text:
                continue  # base64 whose lines are not indented
            else:
                if held is not None:
                    yield held
                held = _Line(lines.number, text)
                large = _name(text) in _LARGE
            soft = held.text.endswith("=") and "quoted-printable" in held.text.partition(":")[0].casefold()
    if held is not None:
        yield held


def _name(text: str) -> str:
    return re.split("[;:]", text, maxsplit=1)[0].rpartition(".")[2].casefold()


def _properties(card: _Card, encoding: str | None) -> list[Property]:
    """The card's properties.

    Args:
        card: Its lines.
        encoding: Of what has none of its own; None if the lines are text already.
    """
    labels: dict[str, str] = {}
    written: list[tuple[str, str, dict[str, list[str]], str]] = []
    version = next((line.text[8:].strip() for line in card.lines if line.text.casefold().startswith("version:")), "")
    for line in card.lines:
        match = _HEAD.match(line.text)
        if match is None:
            continue
        head, value = match[1], line.text[match.end() :]
        first, *parameters = [head.split(";", 1)[0], *_PARAMETER.findall(head)]
        group, _, name = first.strip().casefold().rpartition(".")
        written.append((group, name, _parameters(parameters), value))
        if name == "x-ablabel":
            labels[group] = value
    coding = _Coding(encoding, old=version.startswith("2"))
    return [
        _property(name, parameters, value, coding, types_of(labels.get(group, "") if group else ""))
        for group, name, parameters, value in written
    ]


def _parameters(written: list[str]) -> dict[str, list[str]]:
    """By name in small letters; those without one (2.1) are an encoding or a type."""
    found: dict[str, list[str]] = {}
    for each in written:
        name, sign, value = each.partition("=")
        if not sign:
            value = name
            name = "encoding" if name.strip().casefold() in _ENCODINGS else "type"
        plain = value.strip().replace('"', "")
        found.setdefault(name.strip().casefold(), []).extend(part.strip().casefold() for part in plain.split(","))
    return found


def _property(
    name: str, parameters: dict[str, list[str]], value: str, coding: _Coding, label: frozenset[str]
) -> Property:
    types = frozenset(parameters.get("type", ())) | label
    preference = 1 if "pref" in types else NO_PREFERENCE
    if "pref" in parameters and parameters["pref"][0].isdecimal():
        preference = int(parameters["pref"][0])
    if name in _LARGE:
        return Property(name, [[""]], types, preference)
    quoted = "quoted-printable" in parameters.get("encoding", ())
    charset = next(iter(parameters.get("charset", ())), None)
    # Parted before it is decoded: an encoded semicolon is one of the text.
    components = _split(value, ";") if name in _STRUCTURED else [value]
    parts = []
    for component in components:
        values = _split(component, ",") if name in _LISTED and (not coding.old or name == "categories") else [component]
        parts.append([_text(each, coding, charset, quoted=quoted).strip() for each in values])
    return Property(name, parts, types, preference)


def _split(value: str, sign: str) -> list[str]:
    """Parts at each sign that has no backslash before it."""
    return re.split(rf"(?<!\\){sign}", value) if "\\\\" not in value else _split_slowly(value, sign)


def _split_slowly(value: str, sign: str) -> list[str]:
    parts, escaped = [""], False
    for each in value:
        if each == sign and not escaped:
            parts.append("")
        else:
            parts[-1] += each
        escaped = each == "\\" and not escaped
    return parts


def _text(value: str, coding: _Coding, charset: str | None, *, quoted: bool) -> str:
    encoding = coding.encoding
    if quoted:
        raw = quopri.decodestring(value.encode("utf-8" if encoding is None else _BYTES, "replace"))
        value = _decoded(raw, charset or encoding or "utf-8")
    elif encoding is not None:
        value = _decoded(value.encode(_BYTES), charset or encoding)
    if coding.old:
        return value.replace("\\;", ";").replace("\r\n", "\n")
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[1]), value)


def _decoded(raw: bytes, encoding: str) -> str:
    """The text; old programs name no encoding, and mean that of their Windows."""
    for name in (encoding, "utf-8"):
        try:
            return raw.decode(name)
        except (LookupError, UnicodeError):
            continue
    text = raw.decode("utf-8", "replace")
    return (
        text
        if text.count("\ufffd") * 4 < len(text) - len(text.encode("ascii", "ignore"))
        else raw.decode(_GUESS, "replace")
    )


def _is_jcard(card: Any) -> bool:  # noqa: ANN401 - JSON is anything
    return isinstance(card, list) and len(card) >= 2 and card[0] == "vcard" and isinstance(card[1], list)  # noqa: PLR2004 - its form


def _of_jcard(card: list[Any]) -> list[Property]:
    found = []
    for each in card[1]:
        if not isinstance(each, list) or len(each) < 4 or not isinstance(each[1], dict):  # noqa: PLR2004 - its form
            continue
        name, parameters = str(each[0]).casefold(), each[1]
        kinds = parameters.get("type", ())
        types = frozenset(str(one).casefold() for one in ([kinds] if isinstance(kinds, str) else kinds))
        preference = str(parameters.get("pref", NO_PREFERENCE))
        values = each[3] if isinstance(each[3], list) else [each[3]] if name in _STRUCTURED else each[3:]
        parts = [[str(one) for one in value] if isinstance(value, list) else [str(value)] for value in values]
        number = int(preference) if preference.isdecimal() else NO_PREFERENCE
        found.append(Property(name, parts, types, number))
    return found


_COMPONENTS = {
    "n": ("surname", "given", "additional", "prefix", "suffix"),
    "adr": ("pobox", "ext", "street", "locality", "region", "code", "country"),
}


def _of_xcard(card: Element) -> list[Property]:
    found = []
    for element in card:
        name = element.tag.removeprefix(_XCARD)
        parameters = element.find(f"{_XCARD}parameters")
        kinds = [] if parameters is None else parameters.findall(f"{_XCARD}type/{_XCARD}text")
        preference = None if parameters is None else parameters.findtext(f"{_XCARD}pref/{_XCARD}integer")
        if name in _COMPONENTS:
            parts = [
                [(one.text or "").strip() for one in element.findall(f"{_XCARD}{part}")] for part in _COMPONENTS[name]
            ]
        else:
            parts = [[(one.text or "").strip()] for one in element if one is not parameters]
        types = frozenset((one.text or "").strip().casefold() for one in kinds)
        number = int(preference) if preference and preference.isdecimal() else NO_PREFERENCE
        found.append(Property(name, parts, types, number))
    return found
