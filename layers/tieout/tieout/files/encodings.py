"""Which encoding a text file is in: by its mark, by being valid, or by what its titles say in each code page."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from tieout.files.source import FileError, Finding
from tieout.files.titles import known_titles

SAMPLE_BYTES = 65_536
_CHUNK_BYTES = 65_536
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CODE_PAGES = ("cp1252", "cp1250", "cp1251", "cp950", "cp850")
"""Windows code pages of the languages whose titles we know; the last is DOS, in which every byte is a character."""
_CYRILLIC = re.compile(rb"[\xc0-\xff\xa8\xb8]{4,}")
_CONTROLS = bytes(each for each in range(32) if each not in b"\t\n\r\f\x1a\x1b")
_CONTROLS_MAX = 2
_PRINTABLE_SHARE, _ASCII_SHARE = 0.99, 0.02
_LONGEST_CHARACTER = 4
_SURE_OF_UTF8 = 4
"""So many good characters for each bad one mean that the text is damaged UTF-8, not a code page."""


def find_encoding(file: BinaryIO, chosen: str | None) -> Finding:
    """The name of the encoding, which decodes the whole file.

    Raises:
        FileError: If it is no text, damaged, or not in the encoding that was chosen.
    """
    file.seek(0)
    sample = file.read(SAMPLE_BYTES)
    if chosen is not None:
        return Finding(_as_chosen(file, chosen, sample), "chosen")
    evident = evident_encoding(sample)
    if evident is not None:
        _check(file, evident)
        return Finding(evident)
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls > _CONTROLS_MAX + len(sample) // 500:
        raise FileError("This is not a text file.", next_step="Export it again, as CSV, vCard, Excel or DBF.")
    fault = first_fault(file, "utf-8")
    if fault is None:
        return Finding("utf-8")
    _refuse_damaged(file, fault)
    return Finding(_code_page(file, sample), "guessed")


def evident_encoding(sample: bytes) -> str | None:
    """What a mark at the beginning, or every other byte being zero, says; None if neither is there.

    Raises:
        FileError: If there are zeros, and it is no text.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" not in sample:
        return None
    wide = _wide(sample)
    if wide is None:
        raise FileError("This is not a text file.", next_step="Export it again, as CSV, vCard, Excel or DBF.")
    return wide


def first_fault(file: BinaryIO, encoding: str) -> int | None:
    """How many bytes stand before the first that the encoding does not know, about; None if it knows all."""
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    before = 0
    try:
        for chunk in _chunks(file):
            decoder.decode(chunk)
            before += len(chunk)
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        return before + getattr(error, "start", 0)
    return None


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def known_encoding(chosen: str) -> str:
    """The name under which Python knows the encoding.

    Raises:
        FileError: If it knows none of that name.
    """
    try:
        name = codecs.lookup(chosen).name
        "".encode(name)
        codecs.getincrementaldecoder(name)().decode(b"")
    except (LookupError, UnicodeError, ValueError, TypeError):
        raise FileError(
            f"“{chosen[:40]}” is not an encoding.", next_step="Choose one such as utf-8 or windows-1252."
        ) from None
    return name


def _as_chosen(file: BinaryIO, chosen: str, sample: bytes) -> str:
    name = known_encoding(chosen)
    if name == "utf-8" and sample.startswith(codecs.BOM_UTF8):
        name = "utf-8-sig"
    _check(file, name)
    return name


def _check(file: BinaryIO, encoding: str) -> None:
    fault = first_fault(file, encoding)
    if fault is not None:
        raise FileError(
            f"The file is not in the encoding {encoding}: the byte after {fault:,} is none of its characters.",
            next_step="Choose another encoding, or export the file again: it may have been cut off.",
        )


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark: in the right order of bytes it is printable, with some ASCII in it."""
    even = sample[: len(sample) // 2 * 2]
    best: tuple[float, str] | None = None
    for name in ("utf-16-le", "utf-16-be"):
        text = even.decode(name, "ignore")
        if not text:
            continue
        printable = sum(each.isprintable() or each in "\r\n\t" for each in text) / len(text)
        plain = sum(each.isascii() for each in text) / len(text)
        if printable >= _PRINTABLE_SHARE and plain >= _ASCII_SHARE and (best is None or plain > best[0]):
            best = plain, name
    return None if best is None else best[1]


def _refuse_damaged(file: BinaryIO, fault: int) -> None:
    file.seek(max(0, fault - SAMPLE_BYTES))
    text = file.read(SAMPLE_BYTES * 2).decode("utf-8", "replace")
    faults = text.count("\ufffd")
    good = sum(not each.isascii() for each in text) - faults
    at_the_end = fault >= file.seek(0, 2) - _LONGEST_CHARACTER
    if good > (0 if at_the_end else faults * _SURE_OF_UTF8):
        raise FileError(
            f"The text is UTF-8, but damaged or cut off after {fault:,} bytes.",
            next_step="Export the file again, or choose its encoding.",
        )


def _code_page(file: BinaryIO, sample: bytes) -> str:
    """The code page in which most titles are known; of Cyrillic letters in long rows, theirs; else the western one."""
    first = sample.lstrip(b"\r\n").split(b"\n", 1)[0]
    fitting = [name for name in _CODE_PAGES if first_fault(file, name) is None]
    best = max(fitting, key=lambda name: known_titles(first.decode(name, "replace")))
    if best == fitting[0] and "cp1251" in fitting and _is_cyrillic(sample):
        return "cp1251"
    return best


def _is_cyrillic(sample: bytes) -> bool:
    """True if most letters beyond ASCII stand in words of their own: in western languages they are single."""
    beyond = sum(each > 127 for each in sample)  # noqa: PLR2004 - the end of ASCII
    return sum(map(len, _CYRILLIC.findall(sample))) * 2 > beyond
