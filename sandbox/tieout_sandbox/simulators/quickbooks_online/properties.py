"""What a request's object may hold: names, simple types and enumerations of Intuit's published XSD, and lengths.

`published_types.json` is derived from the XSD (Apache-2.0); a test derives it anew and compares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tieout_sandbox.simulators.quickbooks_online.errors import (
    FaultError,
    bad_enumeration,
    bad_format,
    too_long,
    unknown_property,
)

_PUBLISHED = json.loads(Path(__file__).with_name("published_types.json").read_text(encoding="utf-8"))
_TYPES: Mapping[str, Mapping[str, str]] = _PUBLISHED["types"]
_ENUMERATIONS: Mapping[str, list[str]] = _PUBLISHED["enumerations"]

# Source: entity pages of API v3, read 2026-01. DisplayName was 100 in older texts and 500 in newer ones.
_LENGTHS: Mapping[tuple[str, str], int] = {
    **{(entity, "DocNumber"): 21 for entity in ("Invoice", "CreditMemo", "Payment")},
    **{(entity, "PrivateNote"): 4000 for entity in ("Invoice", "CreditMemo", "Payment")},
    **{(entity, "DisplayName"): 100 for entity in ("Customer", "Vendor", "Employee")},
    ("Payment", "PaymentRefNum"): 21,
    ("Customer", "CompanyName"): 100,
    ("Customer", "Notes"): 4000,
    ("Item", "Name"): 100,
    ("Item", "Sku"): 100,
    ("Item", "Description"): 4000,
    ("Term", "Name"): 31,
    ("Line", "Description"): 4000,
    ("MemoRef", "value"): 1000,
    ("EmailAddress", "Address"): 100,
    ("PhysicalAddress", "City"): 255,
    ("PhysicalAddress", "PostalCode"): 30,
    **{("PhysicalAddress", f"Line{number}"): 500 for number in range(1, 6)},
}


def has_property(entity: str, name: str) -> bool:
    """True if the published type has that property."""
    return name in _TYPES[entity]


def normalised(type_name: str, sent: Any, path: str = "") -> dict[str, Any]:  # noqa: ANN401 - JSON is anything
    """The object as QuickBooks understands it: numbers as Decimal; null and empty text left out, for they say nothing.

    Raises:
        FaultError: 2010, 2050, 2080 or 2170.
    """
    if not isinstance(sent, dict):
        raise unknown_property(path or type_name)
    known = _TYPES[type_name]
    kept: dict[str, Any] = {}
    for name, value in sent.items():
        at = f"{path}.{name}" if path else name
        kind = known.get(name)
        if kind is None:
            raise unknown_property(at)
        if value is None or value == "":
            continue
        if kind.endswith("[]"):
            many = value if isinstance(value, list) else [value]
            kept[name] = [_value(type_name, name, kind.removesuffix("[]"), each, at) for each in many]
        else:
            kept[name] = _value(type_name, name, kind, value, at)
    return kept


def _value(type_name: str, name: str, kind: str, value: Any, at: str) -> Any:  # noqa: ANN401 - JSON is anything
    if kind == "IntuitAnyType":
        return value
    if kind not in _TYPES:
        return _simple(type_name, name, kind, value, at)
    return normalised(kind, value, at)


def _simple(type_name: str, name: str, kind: str, value: Any, at: str) -> Any:  # noqa: ANN401 - JSON is anything
    if kind.startswith("enum:"):
        if value not in _ENUMERATIONS[kind[5:]]:
            raise bad_enumeration(at, value)
        return value
    try:
        return _converted(kind, value, length_max=_LENGTHS.get((type_name, name)), at=at)
    except (ValueError, InvalidOperation) as error:
        raise bad_format(at, kind, value) from error


def _converted(kind: str, value: Any, *, length_max: int | None, at: str) -> Any:  # noqa: ANN401 - JSON is anything
    match kind:
        case "decimal":
            number = Decimal(str(value))
            if not number.is_finite():
                raise ValueError("no number")
            return number
        case "boolean":
            if str(value).lower() not in {"true", "false"}:
                raise ValueError("no boolean")
            return str(value).lower() == "true"
        case "date":
            return date.fromisoformat(str(value)[:10]).isoformat()
        case "dateTime":
            return datetime.fromisoformat(str(value)).isoformat()
        case _:
            return _text(value, length_max, at)


def _text(value: Any, length_max: int | None, at: str) -> str:  # noqa: ANN401 - JSON is anything
    if isinstance(value, dict | list):
        raise FaultError("2010", "Request has invalid or unsupported property", f"{at} is no text", at)
    text = str(value)
    if length_max is not None and len(text) > length_max:
        raise too_long(at, length_max, len(text))
    return text
