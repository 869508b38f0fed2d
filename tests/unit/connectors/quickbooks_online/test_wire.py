"""The wire models against answers that were recorded from Intuit."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.translate import ENTITIES, is_gone, to_record
from tieout.domain.records import Kind

RECORDED = Path(__file__).parents[3] / "data" / "quickbooks_online"
KINDS = {entity: kind for kind, entity in ENTITIES.items()}
_LISTS = {"Line", "LinkedTxn", "CustomField", "TaxLine"}


class NoCompany:
    """A company that needs not be asked."""

    home_currency = "USD"

    def name_of(self, where, ref):
        return ref.name


def recorded_json(name: str) -> Any:
    return json.loads((RECORDED / "json" / name).read_text(), parse_float=Decimal)


def as_json(element: ET.Element) -> Any:
    """What the JSON form of the same answer holds: references are `{value, name}`, lists are lists."""
    name = re.sub(r"\{.*\}", "", element.tag)
    if name.endswith("Ref") and not len(element):
        return {"value": element.text, **element.attrib}
    if name == "CustomerMemo":
        return {"value": element.text}
    if not len(element):
        return {} if name.endswith("Detail") else element.text
    content: dict[str, Any] = dict(element.attrib)
    for child in element:
        key = re.sub(r"\{.*\}", "", child.tag)
        if key in _LISTS:
            content.setdefault(key, []).append(as_json(child))
        else:
            content[key] = as_json(child)
    return content


def recorded_entities() -> list[Any]:
    found: list[Any] = []
    for path in sorted((RECORDED / "xml").glob("*.xml")):
        try:
            root = ET.fromstring(path.read_text())
        except ET.ParseError:
            continue  # two of the recordings are not well-formed as published
        for element in root.iter():
            name = re.sub(r"\{.*\}", "", element.tag)
            if name in KINDS and element.find("{*}SyncToken") is not None:
                found.append(pytest.param(KINDS[name], as_json(element), id=f"{path.stem}-{name}-{len(found)}"))
    return found


@pytest.mark.parametrize(("kind", "row"), recorded_entities())
def test_recorded_xml_rows_are_read(kind, row):
    record = to_record(kind, row, NoCompany())

    assert record.id == row["Id"]
    assert record.version == row["SyncToken"]
    assert record.edited_at is not None
    assert record.edited_at.tzinfo is dt.UTC


def test_enough_was_recorded_to_mean_something():
    rows = recorded_entities()

    assert {row.values[0] for row in rows} == set(ENTITIES)
    assert len(rows) >= 15


def test_recorded_items_are_read():
    rows = recorded_json("query.json")["QueryResponse"]["Item"]

    records = [to_record(Kind.ITEM, row, NoCompany()) for row in rows]

    assert len(records) == 19
    concrete = next(record for record in records if record.fields["name"] == "Concrete")
    assert concrete.edited_at == dt.datetime(2017, 1, 31, 20, 47, 47, tzinfo=dt.UTC)
    assert concrete.fields["price"] == 0
    assert concrete.fields["sku"] is None


@pytest.mark.parametrize("name", ["create_item.json", "read_item.json"])
def test_a_single_recorded_item_is_read(name):
    assert to_record(Kind.ITEM, recorded_json(name)["Item"], NoCompany()).fields["type"] == "inventory"


def test_recorded_preferences_are_read():
    preferences = wire.Preferences.model_validate(recorded_json("read_preferences.json")["Preferences"])

    assert preferences.sales_forms.custom_numbers is False
    assert preferences.currency.multi_currency is False
    assert preferences.currency.home is not None


def test_a_recorded_invoice_in_our_words():
    text = (RECORDED / "xml" / "invoice.xml").read_text()
    record = to_record(Kind.INVOICE, as_json(ET.fromstring(text)), NoCompany())

    assert record.edited_at == dt.datetime(2013, 11, 15, 23, 22, 43, tzinfo=dt.UTC)
    assert record.fields["due_date"] == dt.date(2013, 11, 30)
    assert record.fields["balance"] == record.fields["total"] == Decimal(50)
    assert record.fields["state"] == "open"
    assert record.fields["tax_total"] == Decimal("2.85")
    assert record.fields["memo"] == "Message to Customer"
    assert record.fields["lines"] == [
        {
            "item": "1",
            "description": "Plush Baby Doll",
            "quantity": Decimal(1),
            "unit_price": Decimal("198.99"),
            "amount": Decimal("198.99"),
            "tax_code": "NON",
            "service_on": None,
        }
    ]


def test_a_recorded_void_still_shows_its_amounts():
    root = ET.fromstring((RECORDED / "xml" / "invoice_void_success_response.xml").read_text())
    record = to_record(Kind.INVOICE, as_json(root[0]), NoCompany())

    assert record.fields["state"] == "voided"


def test_a_deleted_stub_is_gone():
    assert is_gone({"Id": "1", "status": "Deleted"})
    assert not is_gone({"Id": "1"})
