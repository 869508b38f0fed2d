"""Where a payment state stands on an opportunity: in a note of ours, as no field of a won one can be changed. Pure.

Everybody who may see the opportunity reads it under "Notes". It looks like this:

    [tieout] What became of this opportunity in the books; Tieout rewrites this note.
    Payment status: Partly paid
    Invoice number: 2026/17
    Amount paid: 40.00
    Balance due: 60.00
    Paid on: 2026-03-02

Source: trytond 8.2.1, `ir/note.py` (the message of a note that stands is read-only), and the sale_opportunity module,
8.2.0, `opportunity.py` (all fields are read-only once it is won), read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from tieout.connectors.tryton.wire import Row
from tieout.domain.errors import RejectedError
from tieout.domain.records import Value

_MARK = "[tieout]"
_HEAD = f"{_MARK} What became of this opportunity in the books; Tieout rewrites this note."
_CUSTOM = "custom_fields."
_LENGTH_MAX = 200
_LABELS: Mapping[str, str] = {
    "payment_status": "Payment status",
    "invoice_number": "Invoice number",
    "amount_paid": "Amount paid",
    "balance_due": "Balance due",
    "paid_on": "Paid on",
}
_FORMS: Mapping[str, tuple[type, str]] = {
    "amount_paid": (Decimal, "an amount"),
    "balance_due": (Decimal, "an amount"),
    "paid_on": (date, "a day"),
}

PATHS = frozenset(f"{_CUSTOM}{name}" for name in _LABELS)
"""Our paths that an update of a deal may name."""


def shown(notes: Sequence[Row]) -> dict[str, Value]:
    """What our note says, by our names; None where it says nothing."""
    said = _said(notes)
    return {name: _read(name, said.get(label)) for name, label in _LABELS.items()}


def commands(notes: Sequence[Row], fields: Mapping[str, Any]) -> list[Any]:
    """What replaces our note by one that also says the fields, which are given by path.

    Raises:
        RejectedError: If a field has no place in it.
    """
    said = _said(notes)
    for path, value in fields.items():
        if path not in PATHS:
            raise RejectedError(
                f"Tryton has no place for the field `{path}` of an opportunity.",
                field=path,
                next_step=f"Write to one of: {', '.join(sorted(PATHS))}.",
            )
        said[_LABELS[path.removeprefix(_CUSTOM)]] = _written(path, value)
    lines = [f"{label}: {said[label]}" for label in _LABELS.values() if said.get(label)]
    old = [note["id"] for note in notes if _is_ours(note)]
    return [*([["delete", old]] if old else []), ["create", [{"message": "\n".join([_HEAD, *lines])}]]]


def _is_ours(note: Row) -> bool:
    return (note["message"] or "").startswith(_MARK)


def _said(notes: Sequence[Row]) -> dict[str, str]:
    """By label; of several notes of ours the newest counts."""
    ours = max((note for note in notes if _is_ours(note)), key=lambda note: int(note["id"]), default=None)
    lines = ours["message"].splitlines() if ours else []
    return {label: value for label, colon, value in (line.partition(": ") for line in lines) if colon}


def _read(name: str, text: str | None) -> Value:
    """The value; text that is not of its form, as somebody else wrote it, stays text."""
    if text is None or name not in _FORMS:
        return text
    try:
        return date.fromisoformat(text) if _FORMS[name][0] is date else Decimal(text)
    except (ValueError, ArithmeticError):
        return text


def _written(path: str, value: Any) -> str:  # noqa: ANN401 - a value of any field
    if value is None:
        return ""
    form, what = _FORMS.get(path.removeprefix(_CUSTOM), (str, f"one line of {_LENGTH_MAX} characters at most"))
    good = isinstance(value, form)
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    if not good or text.splitlines() != [text] or text != text.strip() or len(text) > _LENGTH_MAX:
        raise RejectedError(
            f"The field `{path}` of an opportunity takes {what}.",
            field=path,
            next_step="Correct the mapping of the field.",
        )
    return text
