"""A record as a provider keeps it, in our words: what mappings read and connectors translate to.

Field names that connectors of one role share, so that a mapping written for one CRM reads another. Names are
snake_case; a field that the provider does not have is absent, one that it has without a value is None, and the
provider's own extra fields stand under `custom_fields`.

    company   name, phone, website, address, billing_address, shipping_address, industry, parent_id,
              contact (the main one, as a contact below, or None), custom_fields
    contact   name, given_name, family_name, email, phone, job_title, company_id, company_name, address, custom_fields
    deal      name, status (`open`, `won`, `lost`, `inactive`), stage, amount, opened_on, expected_close_on, closed_on,
              source_id, owner, companies [{id, name}], contacts [{id, name}], custom_fields,
              lines [{product_id, name, sku, quantity, unit_price, discount_percent, amount}]
    product   name, sku, price, cost, description
    address   line1, line2, line3, city, state, postal_code, country

The kinds of the books (customer, item, invoice, payment, credit_note) have the fields of `tieout.domain.documents`,
as `Document.as_fields()` gives them, and those that only the books know.
Only the books know, of an invoice: `total`, `balance`, `paid` (Decimal), `state` (`open`, `partly_paid`, `paid`,
`voided`), `last_payment_on` (date, may be absent), `reference` (ours, if it is still there). Of a payment:
`invoice_ids` (list of str).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

type Value = str | int | bool | Decimal | date | datetime | Sequence[Value] | Mapping[str, Value] | None
type Fields = Mapping[str, Value]


class Kind(StrEnum):
    """Kinds of record: those of a CRM first, then those of the books."""

    COMPANY = "company"
    CONTACT = "contact"
    DEAL = "deal"
    PRODUCT = "product"
    CUSTOMER = "customer"
    ITEM = "item"
    INVOICE = "invoice"
    PAYMENT = "payment"
    CREDIT_NOTE = "credit_note"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read.

    Attributes:
        kind: What it is.
        id: The provider's id, unique within kind and connection.
        version: Changes whenever the record changes (an edit time, a token); empty if the provider has none.
        edited_at: Aware UTC; None if the provider does not say.
        fields: In our words, see the module.
    """

    kind: Kind
    id: str
    version: str = ""
    edited_at: datetime | None = None
    fields: Fields = field(default_factory=dict)
