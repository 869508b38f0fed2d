"""What can be written and what can be read, by kind: the tables that the checks and the evaluation stand on."""

from __future__ import annotations

import pytest

from tieout.domain.records import Kind
from tieout.mapping.targets import Target, is_record_update, source_shape, target_fields

ADDRESS = {f"{name}?": "text" for name in ("line1", "line2", "line3", "city", "state", "postal_code", "country")}
LINE = {
    "item!": "text",
    "description?": "text",
    "quantity": "number",
    "unit_price?": "number",
    "amount!": "number",
    "tax_code?": "text",
    "service_on?": "date",
}
SALE = {
    "customer!": "text",
    "number?": "text",
    "date!": "date",
    "currency!": "text",
    "lines!": [LINE],
    "discount?": {"percent?": "number", "amount?": "number"},
    "tax_total?": "number",
    "memo?": "text",
    "note?": "text",
}


def written(fields: dict[str, Target]) -> dict[str, object]:
    """Names with `!` if the field is required, with `?` if it can be emptied."""
    return {f"{name}{'!' * one.required}{'?' * one.nullable}": form(one) for name, one in fields.items()}


def form(target: Target) -> object:
    match target.type:
        case "object":
            return written(target.fields)
        case "list":
            return [written(target.fields)]
        case "choice":
            return set(target.choices)
        case plain:
            return plain


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            Kind.CUSTOMER,
            {
                "name!": "text",
                "parent?": "text",
                "company_name?": "text",
                "contact_name?": "text",
                "given_name?": "text",
                "family_name?": "text",
                "email?": "text",
                "phone?": "text",
                "website?": "text",
                "tax_id?": "text",
                "currency?": "text",
                "terms?": "text",
                "billing_address?": ADDRESS,
                "shipping_address?": ADDRESS,
                "note?": "text",
                "active": "flag",
            },
        ),
        (
            Kind.ITEM,
            {
                "name!": "text",
                "sku?": "text",
                "type": {"service", "non_inventory"},
                "description?": "text",
                "price?": "number",
                "cost?": "number",
                "income_account?": "text",
                "taxable?": "flag",
                "active": "flag",
            },
        ),
        (
            Kind.INVOICE,
            {
                **SALE,
                "status": {"issued", "voided"},
                "due_date?": "date",
                "terms?": "text",
                "email?": "text",
                "billing_address?": ADDRESS,
                "shipping_address?": ADDRESS,
            },
        ),
        (Kind.CREDIT_NOTE, SALE),
        (Kind.ESTIMATE, {**SALE, "status": {"sent", "accepted", "declined"}, "expiry_date?": "date"}),
        (
            Kind.PROJECT,
            {
                "name!": "text",
                "customer!": "text",
                "billing": {"fixed", "hourly"},
                "rate?": "number",
                "currency?": "text",
                "description?": "text",
                "active": "flag",
            },
        ),
        (
            Kind.TIME_ENTRY,
            {
                "project!": "text",
                "person!": "text",
                "date!": "date",
                "hours!": "number",
                "task?": "text",
                "note?": "text",
                "billable?": "flag",
                "rate?": "number",
                "currency?": "text",
            },
        ),
        (
            Kind.EXPENSE,
            {
                "account!": "text",
                "date!": "date",
                "currency!": "text",
                "amount!": "number",
                "number?": "text",
                "description?": "text",
                "customer?": "text",
                "project?": "text",
                "tax_code?": "text",
                "tax_included?": "flag",
                "paid_through?": "text",
                "billable?": "flag",
            },
        ),
        (
            Kind.PAYMENT,
            {
                "customer!": "text",
                "date!": "date",
                "currency!": "text",
                "amount!": "number",
                "number?": "text",
                "allocations": [{"invoice!": "text", "amount!": "number"}],
            },
        ),
        *((kind, {}) for kind in (Kind.COMPANY, Kind.CONTACT, Kind.DEAL, Kind.PRODUCT)),
    ],
)
def test_the_fields_that_can_be_written(kind: Kind, fields: dict[str, object]):
    assert written(dict(target_fields(kind))) == fields
    assert is_record_update(kind) is not bool(fields)


def test_what_can_be_read_of_an_invoice_is_what_can_be_written_and_what_only_the_books_know():
    address = dict.fromkeys(("line1", "line2", "line3", "city", "state", "postal_code", "country"), "text")
    line = {name.strip("!?"): type_ for name, type_ in LINE.items()}
    assert source_shape(Kind.INVOICE) == {
        "id": "text",
        "customer": "text",
        "number": "text",
        "date": "date",
        "currency": "text",
        "lines": [line],
        "discount": {"percent": "number", "amount": "number"},
        "tax_total": "number",
        "memo": "text",
        "note": "text",
        "status": "text",
        "due_date": "date",
        "terms": "text",
        "email": "text",
        "billing_address": address,
        "shipping_address": address,
        "total": "number",
        "balance": "number",
        "paid": "number",
        "state": "text",
        "last_payment_on": "date",
        "reference": "text",
    }


@pytest.mark.parametrize("kind", [Kind.PROJECT, Kind.TIME_ENTRY, Kind.EXPENSE])
def test_what_both_sides_keep_has_custom_fields_too(kind: Kind):
    assert source_shape(kind)["custom_fields"] == "any"


def test_a_record_has_an_id_besides_its_fields():
    assert source_shape(Kind.DEAL)["id"] == "text"
    assert source_shape(Kind.DEAL)["amount"] == "number"
    assert source_shape(Kind.PAYMENT)["invoice_ids"] == ["text"]
