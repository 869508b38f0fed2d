"""Values to DynamoDB's attributes and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

type Scalar = str | int
type Values = Mapping[str, Scalar | Mapping[str, Scalar]]


def to_attributes(values: Values) -> dict[str, Any]:
    """DynamoDB's form of text, whole numbers and one level of maps."""
    return {name: _attribute(value) for name, value in values.items()}


def _attribute(value: Scalar | Mapping[str, Scalar]) -> dict[str, Any]:
    match value:
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(value)}
    return {"M": to_attributes(value)}


def from_attributes(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What `to_attributes` was given."""
    return {name: _value(attribute) for name, attribute in item.items()}


def _value(attribute: Mapping[str, Any]) -> Any:  # noqa: ANN401  text, number or map
    match attribute:
        case {"S": str(text)}:
            return text
        case {"N": str(number)}:
            return int(number)
        case {"M": dict(nested)}:
            return from_attributes(nested)
    raise TypeError(f"an attribute of type {', '.join(attribute)} was not written by us")
