"""A record as a provider keeps it, in our words: what mappings read and connectors translate to.

Field names that connectors of one role share, so that a mapping written for one CRM reads another. Names are
snake_case; a field that the provider does not have is absent, one that it has without a value is None, and the
provider's own extra fields stand under `custom_fields`. `FIELDS` says the same for programs.

    company   name, phone, website, address, billing_address, shipping_address, industry, parent_id,
              contact (the main one, as a contact below, or None), custom_fields
    contact   name, given_name, family_name, email, phone, job_title, company_id, company_name, address, custom_fields
    deal      name, status (`open`, `won`, `lost`, `inactive`), stage, amount, opened_on, expected_close_on, closed_on,
              source_id, owner, companies [{id, name}], contacts [{id, name}], custom_fields,
              lines [{product_id, name, sku, quantity, unit_price, discount_percent, amount}]
    product   name, sku, price, cost, description, custom_fields
    address   line1, line2, line3, city, state, postal_code, country

The kinds of the books (customer, item, estimate, invoice, payment, credit_note, project, time_entry, expense) have the
fields of `tieout.domain.documents`, as `Document.as_fields()` gives them, and those that only the books know.
Only the books know, of an invoice: `total`, `balance`, `paid` (Decimal), `state` (`open`, `partly_paid`, `paid`,
`voided`), `last_payment_on` (date or None), `reference` (ours, if it is still there). Of an estimate: `total`, `state`
(`draft`, `open`, `accepted`, `declined`, `invoiced`, `expired`), `reference`. Of a payment: `invoice_ids` (list of
str).

A CRM, or a tool for hours, has projects, time entries and expenses too: with the same fields, in which `customer`,
`project` and `person` are its own ids or names, and `custom_fields`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

type Value = str | int | bool | Decimal | date | datetime | Sequence[Value] | Mapping[str, Value] | None
type Fields = Mapping[str, Value]
type Shape = Literal["text", "number", "date", "flag", "any"] | Mapping[str, Shape] | Sequence[Shape]


class Kind(StrEnum):
    """Kinds of record: those of a CRM first, then those of the books; the last three are kept by both."""

    COMPANY = "company"
    CONTACT = "contact"
    DEAL = "deal"
    PRODUCT = "product"
    CUSTOMER = "customer"
    ITEM = "item"
    ESTIMATE = "estimate"
    INVOICE = "invoice"
    PAYMENT = "payment"
    CREDIT_NOTE = "credit_note"
    PROJECT = "project"
    TIME_ENTRY = "time_entry"
    EXPENSE = "expense"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read.

    Attributes:
        kind: What it is.
        id: The provider's id, unique within kind and connection.
        version: Changes whenever the record changes (an edit time, a token); empty if the provider has none.
        edited_at: Aware UTC; None if the provider does not say.
        edited_by: Who edited it last, as the provider names them; empty if it does not say.
        fields: In our words, see the module.
    """

    kind: Kind
    id: str
    version: str = ""
    edited_at: datetime | None = None
    fields: Fields = field(default_factory=dict)
    edited_by: str = ""


_CUSTOM: Shape = "any"
_NAMED: Shape = [{"id": "text", "name": "text"}]
_ADDRESS: Mapping[str, Shape] = {
    "line1": "text",
    "line2": "text",
    "line3": "text",
    "city": "text",
    "state": "text",
    "postal_code": "text",
    "country": "text",
}
_CONTACT: Mapping[str, Shape] = {
    "name": "text",
    "given_name": "text",
    "family_name": "text",
    "email": "text",
    "phone": "text",
    "job_title": "text",
    "company_id": "text",
    "company_name": "text",
    "address": _ADDRESS,
    "custom_fields": _CUSTOM,
}

FIELDS: Mapping[Kind, Mapping[str, Shape]] = {
    Kind.COMPANY: {
        "name": "text",
        "phone": "text",
        "website": "text",
        "address": _ADDRESS,
        "billing_address": _ADDRESS,
        "shipping_address": _ADDRESS,
        "industry": "text",
        "parent_id": "text",
        "contact": _CONTACT,
        "custom_fields": _CUSTOM,
    },
    Kind.CONTACT: _CONTACT,
    Kind.DEAL: {
        "name": "text",
        "status": "text",
        "stage": "text",
        "amount": "number",
        "opened_on": "date",
        "expected_close_on": "date",
        "closed_on": "date",
        "source_id": "text",
        "owner": "text",
        "companies": _NAMED,
        "contacts": _NAMED,
        "custom_fields": _CUSTOM,
        "lines": [
            {
                "product_id": "text",
                "name": "text",
                "sku": "text",
                "quantity": "number",
                "unit_price": "number",
                "discount_percent": "number",
                "amount": "number",
            }
        ],
    },
    Kind.PRODUCT: {
        "name": "text",
        "sku": "text",
        "price": "number",
        "cost": "number",
        "description": "text",
        "custom_fields": _CUSTOM,
    },
    Kind.INVOICE: {
        "total": "number",
        "balance": "number",
        "paid": "number",
        "state": "text",
        "last_payment_on": "date",
        "reference": "text",
    },
    Kind.ESTIMATE: {"total": "number", "state": "text", "reference": "text"},
    Kind.PAYMENT: {"invoice_ids": ["text"]},
    Kind.PROJECT: {"reference": "text", "custom_fields": _CUSTOM},
    Kind.TIME_ENTRY: {"reference": "text", "custom_fields": _CUSTOM},
    Kind.EXPENSE: {"reference": "text", "custom_fields": _CUSTOM},
}
"""What can stand in a record of a CRM; for the books, what they know besides the fields of their document."""
