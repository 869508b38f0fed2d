"""What a value says, and how a sentence shows it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TypeIs

from tieout.domain.records import Value
from tieout.mapping.paths import is_list
from tieout.mapping.transforms.base import RefusedError

TEXT_LENGTH_MAX = 10_000
DIGITS_MAX = 30  # of a number; no amount that people write has as many


def text_of(value: Value) -> str:
    """The text, or the number or date in writing.

    Raises:
        RefusedError: If it is yes/no, a list or an object, or longer than any field.
    """
    if isinstance(value, str):
        text = value
    elif is_number(value):
        text = _digits(value)
    elif isinstance(value, date):
        text = value.isoformat()
    else:
        raise RefusedError(f"{quoted(value)} is not text.")
    if len(text) > TEXT_LENGTH_MAX:
        raise RefusedError(f"The text {quoted(text)} has more than {TEXT_LENGTH_MAX:,} characters.")
    return text


def _digits(value: int | Decimal) -> str:
    """The number in writing, without an exponent unless it is far from any number that people write."""
    if isinstance(value, int):
        # Python refuses to write numbers of thousands of digits.
        return str(value) if value.bit_length() < TEXT_LENGTH_MAX else "a number of thousands of digits"
    return format(value, "f") if value.is_finite() and abs(value.adjusted()) < DIGITS_MAX else str(value)


def is_number(value: object) -> TypeIs[int | Decimal]:
    """True for whole and decimal numbers; yes and no are none."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def shortened(text: str, length: int = 40) -> str:
    """The text in one line, cut for a sentence."""
    line = " ".join(text[: length * 4].split())
    return line if len(line) <= length else line[: length - 1] + "…"


def quoted(value: object) -> str:
    """The value in quotes, cut for a sentence."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return f'"{shortened(value)}"'
    if is_number(value):
        return f'"{shortened(_digits(value))}"'
    if isinstance(value, date):
        return f'"{value.isoformat()}"'
    return "A list" if is_list(value) else "An object"
