"""The convention by which a task in To Do is a deal. Pure. `docs/providers/outlook.md` tells it to people.

The title is the deal's name. In the note, each of these stands on a line of its own; other lines are left alone:

    Customer: ada@acme.example        an e-mail address of a contact, or its company's or display name
    Reference: D-2026-014             becomes `source_id`
    Closed: 2026-01-05                the day, if it is not the one on which the task was ticked off
    Amount: 1,500.00                  only needed without lines
    - 3 x Consulting @ 500.00         a line: quantity, name, price of one; without a quantity it is 1
    - Travel @ 120.50 -10%            less a discount

A number has a point before its fraction, and perhaps commas between its thousands. A line that begins with `- ` and
cannot be read is kept without its amount, so that the deal stops for a person instead of losing a line.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{1,6})?"
# What begins like a quantity and is none (`1,5 x Chairs`) must not be taken for a name with the quantity 1.
_QUANTITY = rf"(?P<quantity>{_NUMBER})(?:\s*x\s+|\s*[\u00d7*]\s*)"
_PRICE = rf"(?P<price>-?{_NUMBER})(?:\s+-(?P<discount>{_NUMBER})\s*%)?"
_LINE = re.compile(rf"(?:{_QUANTITY}|(?![\d.,]+\s*[x\u00d7*]))(?P<name>\S.*?)\s+@\s*{_PRICE}", re.ASCII | re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_FIELD = re.compile(r"(?P<name>customer|reference|amount|closed)\s*:\s*(?P<value>.*)", re.IGNORECASE)
_BREAK = re.compile(r"<\s*(?:br\s*/?|/p|/div|/li|/tr)\s*>", re.IGNORECASE)
_UNSEEN = re.compile(r"<(style|head|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_LINES_MAX = 500


@dataclass(frozen=True, slots=True)
class Note:
    """What a task's note says.

    Attributes:
        fields: `customer`, `reference`, `amount`, `closed` as they are written; the first of each counts.
        lines: In our words. Of a line that cannot be read only the `name` is known, and its `amount` is None.
    """

    fields: Mapping[str, str]
    lines: tuple[Mapping[str, Any], ...]

    @property
    def amount(self) -> Decimal | None:
        """What `Amount:` says, or the sum of the lines; None if neither can be read."""
        if "amount" in self.fields:
            return number(self.fields["amount"])
        amounts = [line["amount"] for line in self.lines]
        return sum(amounts, Decimal(0)) if amounts and None not in amounts else None

    @property
    def closed_on(self) -> date | None:
        """What `Closed:` says."""
        return day(self.fields.get("closed", ""))


def note_of(text: str) -> Note:
    """What the note says; its form may be text or HTML."""
    fields: dict[str, str] = {}
    lines: list[Mapping[str, Any]] = []
    for row in text.splitlines():
        stripped = row.replace("\N{NO-BREAK SPACE}", " ").strip()
        found = _FIELD.fullmatch(stripped)
        if found is not None:
            fields.setdefault(found["name"].lower(), found["value"].strip())
        elif stripped.startswith("- ") and len(lines) < _LINES_MAX:
            lines.append(_line(stripped[2:].strip()))
    return Note(fields, tuple(lines))


def text_of(content: str, content_type: str) -> str:
    """The note as text."""
    if content_type.lower() != "html":
        return content
    return html.unescape(_TAG.sub("", _BREAK.sub("\n", _UNSEEN.sub("", content))))


def number(text: str) -> Decimal | None:
    """The number, perhaps followed by a currency's code; None if it is none."""
    found = re.fullmatch(rf"(?P<number>-?{_NUMBER})(?:\s*[A-Z]{{3}})?", text.strip(), re.ASCII)
    return Decimal(found["number"].replace(",", "")) if found else None


def day(text: str) -> date | None:
    """An ISO day; None if it is none."""
    try:
        return date.fromisoformat(text.strip()) if _DAY.fullmatch(text.strip()) else None
    except ValueError:
        return None


def only_line(name: str, amount: Decimal) -> Mapping[str, Any]:
    """The line of a deal that has an amount and no lines."""
    return {
        "name": name,
        "quantity": Decimal(1),
        "unit_price": amount,
        "discount_percent": Decimal(0),
        "amount": amount,
    }


def _line(text: str) -> Mapping[str, Any]:
    found = _LINE.fullmatch(text)
    if found is None:
        return {"name": text, "quantity": None, "unit_price": None, "discount_percent": None, "amount": None}
    quantity = number(found["quantity"] or "1") or Decimal(0)
    price = number(found["price"]) or Decimal(0)
    discount = number(found["discount"] or "0") or Decimal(0)
    # As the mapping sees it, the amount is exact; it rounds it by its own rule.
    amount = quantity * price * (100 - discount) / 100
    return {
        "name": found["name"],
        "quantity": quantity,
        "unit_price": price,
        "discount_percent": discount,
        "amount": amount,
    }
