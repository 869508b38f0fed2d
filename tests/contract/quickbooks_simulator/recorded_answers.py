"""Recorded answers of QuickBooks, as sets of property paths, to compare shapes with."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

DATA = Path(__file__).parents[2] / "data" / "quickbooks_online"
ENTITIES = frozenset({
    *("Account", "CompanyInfo", "CreditMemo", "Customer", "Invoice", "Item", "Payment"),
    *("Preferences", "TaxCode", "Term"),
})  # fmt: skip

# Not answers of a company, or not whole ones.
_LEFT_OUT = {
    "batch_response.xml",  # from documentation: entities of an id only
    "tax_agencies.xml",  # not well-formed as published
    "exchange_rate.xml",  # not well-formed as published
}


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _paths_of_xml(element: ET.Element) -> Iterator[str]:
    yield from (name for name in element.attrib if "}" not in name)
    for child in element:
        name = _local(child.tag)
        yield name
        if name == "MetaData":
            yield from (f"MetaData.{_local(part.tag)}" for part in child)
        if name == "Line":
            kind = next((part.text for part in child if _local(part.tag) == "DetailType"), "")
            yield from (f"Line[{kind}].{_local(part.tag)}" for part in child)


def paths_of_json(entity: Mapping[str, Any]) -> Iterator[str]:
    """Property paths: the entity's own, those of MetaData, and those of its lines by DetailType."""
    for name, value in entity.items():
        yield name
        if name == "MetaData":
            yield from (f"MetaData.{part}" for part in value)
        if name == "Line":
            for line in value:
                yield from (f"Line[{line.get('DetailType', '')}].{part}" for part in line)


def _of_json(value: Any) -> Iterator[tuple[str, frozenset[str]]]:
    if isinstance(value, dict):
        for name, held in value.items():
            if name in ENTITIES:
                yield from (
                    (name, frozenset(paths_of_json(one))) for one in (held if isinstance(held, list) else [held])
                )
            else:
                yield from _of_json(held)


@cache
def recorded() -> Mapping[str, list[frozenset[str]]]:
    """By entity, the property paths of each recorded one; stubs of deleted ones are left out."""
    found: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
    for file in sorted((DATA / "json").glob("*.json")):
        for entity, paths in _of_json(json.loads(file.read_text("utf-8"))):
            found[entity].append(paths)
    for file in sorted((DATA / "xml").glob("*.xml")):
        if file.name in _LEFT_OUT:
            continue
        for element in ET.parse(file).getroot().iter():
            parts = {_local(part.tag) for part in element}
            if _local(element.tag) in ENTITIES and "Id" in parts and "status" not in element.attrib:
                found[_local(element.tag)].append(frozenset(_paths_of_xml(element)))
    return found


def always(entity: str) -> frozenset[str]:
    """What every recorded one carries; of lines, what every recorded form with such a line carries."""
    forms = recorded()[entity]
    whole = frozenset.intersection(
        *(frozenset(path for path in form if not path.startswith("Line[")) for form in forms)
    )
    kinds = {path.partition(".")[0] for form in forms for path in form if path.startswith("Line[")}
    lines = [
        frozenset.intersection(
            *(
                frozenset(path for path in form if path.startswith(f"{kind}."))
                for form in forms
                if any(path.startswith(f"{kind}.") for path in form)
            )
        )
        for kind in kinds
    ]
    return whole.union(*lines)
