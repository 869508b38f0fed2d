"""Reads Intuit's published XSD, and says where a JSON answer leaves it.

The JSON form has the names of the XSD; what is text with attributes there (`ReferenceType`, `MemoRef`) is an object
with `value` here, and an entity's attributes (`domain`, `status`, `sparse`) stand among its properties.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import xmlschema

XSD = Path(__file__).parents[2] / "data" / "quickbooks_online" / "xsd"

# What the JSON answers carry that no XSD names: the time of the answer, and the key of a batch's item.
BEYOND_THE_XSD = {
    "IntuitResponse": {"time": "dateTime"},
    "BatchItemResponse": {"bId": "string"},
    # Recorded in every JSON fault of tests/data/quickbooks_online/json, as attributes are in XML.
    "Error": {"code": "string", "element": "string"},
}


@cache
def _types() -> dict[str, Any]:
    # IntuitRestServiceDef.xsd includes Finance.xsd, which includes the others.
    schema = xmlschema.XMLSchema(str(XSD / "IntuitRestServiceDef.xsd"), allow="local")
    return {name.rpartition("}")[2]: found for name, found in schema.maps.types.items()}


def _simple(found: Any) -> str:
    if found.enumeration:
        return f"enum:{found.local_name}"
    primitive = found.primitive_type.local_name
    return primitive if primitive in {"boolean", "decimal", "date", "dateTime"} else "string"


def _expand(element: Any) -> Iterator[Any]:
    """The element, or for `IntuitObject` every entity that may stand in its place."""
    substitutes = list(element.iter_substitutes()) if element.ref is not None else []
    yield from substitutes or [element]


@cache
def properties(name: str) -> dict[str, str]:
    """The properties of a complex type, inherited ones included; `[]` marks those that repeat."""
    found = _types()[name]
    listed: dict[str, str] = {}
    if found.has_simple_content():
        listed["value"] = "string"
    else:
        for group in found.content.iter_elements():
            if group.local_name is None:
                continue
            for element in _expand(group):
                kind = _simple(element.type) if element.type.is_simple() else element.type.local_name
                many = "[]" if group.max_occurs is None or group.max_occurs > 1 else ""
                listed[element.local_name] = kind + many
    for attribute, declared in found.attributes.items():
        listed[attribute] = _simple(declared.type)
    return {**listed, **BEYOND_THE_XSD.get(name, {})}


def enumeration(name: str) -> list[str]:
    """The values of an enumerated type."""
    return [str(value) for value in _types()[name].enumeration]


def reachable(roots: Iterable[str]) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    """Every complex type that the roots lead to, with its properties, and every enumeration in them."""
    complex_types: dict[str, dict[str, str]] = {}
    enums: dict[str, list[str]] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in complex_types:
            continue
        complex_types[name] = properties(name)
        for kind in complex_types[name].values():
            bare = kind.removesuffix("[]")
            if bare.startswith("enum:"):
                enums[bare[5:]] = enumeration(bare[5:])
            elif bare not in {"string", "decimal", "boolean", "date", "dateTime", "IntuitAnyType"}:
                waiting.append(bare)
    return complex_types, enums


def _wrong_simple(kind: str, value: object) -> str | None:
    match kind:
        case "string":
            return None if isinstance(value, str) else "is no string"
        case "boolean":
            return None if isinstance(value, bool) else "is no boolean"
        case "decimal":
            return None if isinstance(value, int | Decimal) and not isinstance(value, bool) else "is no number"
        case "date" | "dateTime":
            parse = date.fromisoformat if kind == "date" else datetime.fromisoformat
            try:
                parse(str(value))
            except ValueError:
                return f"is no {kind}"
            return None
        case _:
            return None if value in enumeration(kind[5:]) else f"is none of {kind}"


def violations(name: str, value: Any, path: str = "") -> list[str]:
    """Where an object leaves the type of that name: unknown properties, wrong simple types, values not enumerated."""
    if name == "IntuitAnyType":
        return []
    if not isinstance(value, dict):
        return [f"{path}: is no object"]
    known = properties(name)
    found: list[str] = []
    for key, held in value.items():
        at = f"{path}.{key}"
        kind = known.get(key)
        if kind is None:
            found.append(f"{at}: {name} has no such property")
            continue
        many, bare = kind.endswith("[]"), kind.removesuffix("[]")
        if many and not isinstance(held, list):
            found.append(f"{at}: is no list")
            continue
        for each in held if many else [held]:
            if bare in {"string", "decimal", "boolean", "date", "dateTime"} or bare.startswith("enum:"):
                wrong = _wrong_simple(bare, each)
                found += [f"{at}: {each!r} {wrong}"] if wrong else []
            else:
                found += violations(bare, each, at)
    return found
