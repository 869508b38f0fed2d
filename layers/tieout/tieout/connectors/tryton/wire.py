"""Tryton's JSON: values with a class, and what an answer holds.

Source: trytond 8.2.1, `trytond/protocols/jsonrpc.py`, and docs.tryton.org, "Remote Procedure Call", read 2026-11-22.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

type Row = dict[str, Any]


class Quantity(Decimal):
    """A number that Tryton keeps as a float: it goes out as a bare JSON number."""


def encode(method: str, params: list[Any]) -> bytes:
    """The body of a call. An answer has Tryton's own form of errors only if there are just these three names."""
    return json.dumps({"id": 1, "method": method, "params": params}, default=_typed, separators=(",", ":")).encode()


def decode(value: Any) -> Any:  # noqa: ANN401 - JSON is anything
    """Parsed JSON with the typed values as our own; a moment is aware UTC.

    Raises:
        ValueError: If a typed value is not of its form.
    """
    if isinstance(value, list):
        return [decode(each) for each in value]
    if not isinstance(value, dict):
        return value
    try:
        match value.get("__class__"):
            case "Decimal":
                return Decimal(value["decimal"])
            case "date":
                return date(value["year"], value["month"], value["day"])
            case "datetime":
                names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
                year, month, day, hour, minute, second, micro = (value[name] for name in names)
                return datetime(year, month, day, hour, minute, second, micro, UTC)
            case _:
                return {name: decode(each) for name, each in value.items()}
    except (KeyError, TypeError, ArithmeticError):
        raise ValueError("a typed value of another form") from None


def decimal(value: Any) -> Decimal:  # noqa: ANN401 - JSON is anything
    """An amount or a quantity; what is absent is 0."""
    return value if isinstance(value, Decimal) else Decimal(value or 0)


def _typed(value: object) -> Any:  # noqa: ANN401 - JSON is anything
    match value:
        case Quantity():
            return float(value)  # the shortest digits that name the same number
        case Decimal():
            return {"__class__": "Decimal", "decimal": str(value)}
        case datetime():
            moment = value.astimezone(UTC)
            names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
            return {"__class__": "datetime", **{name: getattr(moment, name) for name in names}}
        case date():
            return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
        case _:
            raise TypeError(f"{type(value).__name__} has no form in Tryton's JSON")
