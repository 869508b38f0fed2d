from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tieout.connectors.zoho_books.manifest import Settings
from tieout.connectors.zoho_books.parts import split_number
from tieout.connectors.zoho_books.translate import to_record
from tieout.domain.records import Kind

SETTINGS = Settings()
LISTED = {
    "invoice_id": "982000000567114",
    "invoice_number": "INV-000001",
    "reference_number": "T-REF000000001",
    "customer_id": 982000000567001,
    "date": "2026-01-05",
    "due_date": "",
    "status": "overdue",
    "currency_code": "JPY",
    "total": 100,
    "balance": Decimal("40.5"),
    "last_modified_time": "2026-01-05T10:12:44+0530",
}


@pytest.mark.parametrize(
    ("text", "number", "reference"),
    [
        ("P-7 T-REF000000001", "P-7", "ref000000001"),
        ("T-REF000000001", None, "ref000000001"),
        ("T-REF000000001 and more", "T-REF000000001 and more", None),
        ("XT-REF000000001", "XT-REF000000001", None),
        ("T-REF0000000012", "T-REF0000000012", None),
        (None, None, None),
    ],
)
def test_our_mark_in_a_reference_number(text, number, reference):
    assert split_number(text) == (number, reference)


def test_a_row_of_a_list_shows_what_it_has_and_no_more():
    record = to_record(Kind.INVOICE, LISTED, SETTINGS)

    assert record.id == "982000000567114"
    assert record.version == "2026-01-05T04:42:44+00:00"
    assert record.edited_at == datetime(2026, 1, 5, 4, 42, 44, tzinfo=UTC)
    assert record.fields == {
        "customer": "982000000567001",
        "number": "INV-000001",
        "date": date(2026, 1, 5),
        "due_date": None,
        "currency": "JPY",
        "status": "issued",
        "state": "partly_paid",
        "total": 100,
        "balance": Decimal("40.5"),
        "paid": Decimal("59.5"),
        "reference": "ref000000001",
    }


@pytest.mark.parametrize(
    ("status", "shown", "state"),
    [
        ("draft", "draft", "partly_paid"),
        ("pending_approval", "draft", "partly_paid"),
        ("approved", "draft", "partly_paid"),
        ("viewed", "issued", "partly_paid"),
        ("void", "voided", "voided"),
    ],
)
def test_states_of_an_invoice(status, shown, state):
    fields = to_record(Kind.INVOICE, {**LISTED, "status": status}, SETTINGS).fields

    assert (fields["status"], fields["state"]) == (shown, state)


@pytest.mark.parametrize(
    ("discount", "shown"),
    [
        ("10%", {"percent": Decimal(10)}),
        ("12.50%", {"percent": Decimal("12.50")}),
        (Decimal("3.5"), {"amount": Decimal("3.5")}),
        ("4", {"amount": Decimal(4)}),
        (0, None),
        ("", None),
        ("0.00%", None),
    ],
)
def test_discounts(discount, shown):
    assert to_record(Kind.INVOICE, {**LISTED, "discount": discount}, SETTINGS).fields["discount"] == shown


@pytest.mark.parametrize(
    "fields",
    [
        {"custom_field_hash": {"cf_tieout_reference": "ref000000002"}},
        {"custom_fields": [{"api_name": "cf_tieout_reference", "value": "ref000000002", "index": 1}]},
    ],
)
def test_the_custom_field_weighs_more_than_the_mark(fields):
    assert to_record(Kind.INVOICE, LISTED | fields, SETTINGS).fields["reference"] == "ref000000002"


@pytest.mark.parametrize(
    ("country", "code"),
    [("U.S.A", "US"), ("United Kingdom", "GB"), ("India", "IN"), ("de", "DE"), ("Taiwan", "TW"), ("Narnia", "Narnia")],
)
def test_countries(country, code):
    row = {"contact_id": "1", "contact_name": "x", "billing_address": {"address": "", "country": country}}
    address = to_record(Kind.CUSTOMER, row, SETTINGS).fields["billing_address"]

    assert isinstance(address, dict)
    assert (address["country"], address["line1"]) == (code, None)


def test_an_address_of_which_all_is_empty_is_none():
    row = {"contact_id": "1", "contact_name": "x", "shipping_address": {"address": "", "city": "", "country": ""}}

    assert to_record(Kind.CUSTOMER, row, SETTINGS).fields["shipping_address"] is None


@pytest.mark.parametrize(
    ("product", "item", "shown"),
    [("service", "sales", "service"), ("goods", "sales", "non_inventory"), ("goods", "inventory", "inventory")],
)
def test_types_of_items(product, item, shown):
    row = {"item_id": "1", "name": "x", "product_type": product, "item_type": item}

    assert to_record(Kind.ITEM, row, SETTINGS).fields["type"] == shown
