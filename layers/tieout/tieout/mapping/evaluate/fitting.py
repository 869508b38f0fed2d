"""What a field takes: the last check of a value before it is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

from tieout.domain.records import Value
from tieout.mapping.targets import Target
from tieout.mapping.transforms import RefusedError, is_number, quoted, text_of


def fitting(target: Target) -> Callable[[Value], Value]:
    """The function that makes a value what the field takes; it raises RefusedError otherwise."""
    if target.type == "choice":
        return lambda value: _fit_choice(value, target.choices)
    return _FITS.get(target.type, _fit_anything)


def _fit_anything(value: Value) -> Value:
    return value


def _fit_number(value: Value) -> Decimal:
    if is_number(value) and Decimal(value).is_finite():
        return Decimal(value)
    raise RefusedError(f"a number is needed, and {quoted(value)} is none.", "Add `number` to the transforms.")


def _fit_date(value: Value) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise RefusedError(f"a date is needed, and {quoted(value)} is none.", "Add `date` to the transforms.")


def _fit_flag(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    raise RefusedError(
        f"yes or no is needed, and {quoted(value)} is neither.", "Add a `lookup` whose table gives `true` and `false`."
    )


def _fit_choice(value: Value, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(f"`{choice}`" for choice in choices)
    raise RefusedError(f"{quoted(value)} is none of {listed}.", "Add a `lookup` to the transforms.")


_FITS: dict[str, Callable[[Value], Value]] = {
    "text": text_of,
    "number": _fit_number,
    "date": _fit_date,
    "flag": _fit_flag,
}


def written_value(value: Value, target: Target) -> Value:
    """A constant or default as the field takes it: in YAML a date is written text."""
    if target.type == "date" and isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return value
    return value
