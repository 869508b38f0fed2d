"""What we write: the accountant's documents, and updates of CRM records.

A field that was not given is *absent* (`model_fields_set` tells) and the connector leaves it alone; one that is
None is to be emptied.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from tieout.domain.money import is_currency, minor_unit, rounded
from tieout.domain.records import Kind, Value


class Document(BaseModel):
    """Base: frozen, and it refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def as_fields(self) -> dict[str, Any]:
        """The given fields as plain values, nested; absent fields are left out."""
        return self.model_dump(exclude_unset=True)


class Address(Document):
    """A postal address. `country` is ISO 3166 alpha-2."""

    line1: str | None = None
    line2: str | None = None
    line3: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


class Customer(Document):
    """Whom we invoice. `name` is the natural key; `parent` is the id, in the books, of the customer it belongs to."""

    name: str = Field(min_length=1)
    parent: str | None = None
    company_name: str | None = None
    contact_name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None
    phone: str | None = None
    website: str | None = None
    tax_id: str | None = None
    currency: str | None = None
    terms: str | None = None
    billing_address: Address | None = None
    shipping_address: Address | None = None
    note: str | None = None
    active: bool = True


class ItemType(StrEnum):
    """Whether stock is kept (never by us) or not."""

    SERVICE = "service"
    NON_INVENTORY = "non_inventory"


class Item(Document):
    """What we sell. `name` is the natural key; `sku` is compared too where both sides have one."""

    name: str = Field(min_length=1)
    sku: str | None = None
    type: ItemType = Field(default=ItemType.SERVICE, strict=False)
    description: str | None = None
    price: Decimal | None = None
    cost: Decimal | None = None
    income_account: str | None = None
    taxable: bool | None = None
    active: bool = True


class InvoiceStatus(StrEnum):
    """What we ask for; how far it is paid only the books know."""

    ISSUED = "issued"
    VOIDED = "voided"


class Line(Document):
    """One line. `amount` is exact: quantity times unit price, rounded half up, unless the books say otherwise.

    Attributes:
        item: Id of the item in the books.
        tax_code: Code or id in the books; absent leaves it to the books.
    """

    item: str
    description: str | None = None
    quantity: Decimal = Decimal(1)
    unit_price: Decimal | None = None
    amount: Decimal
    tax_code: str | None = None
    service_on: dt.date | None = None


class Discount(Document):
    """On the whole document: a percentage of the lines' sum (0 to 100), or an amount; exactly one is given."""

    percent: Decimal | None = None
    amount: Decimal | None = None


def less_discount(total: Decimal, discount: Discount | None, currency: str) -> Decimal:
    """The sum of the lines less what the discount takes off, which is rounded half up to the currency's minor unit."""
    if discount is not None and discount.amount is not None:
        return total - discount.amount
    if discount is not None and discount.percent is not None:
        return total - rounded(total * discount.percent / 100, minor_unit(currency))
    return total


def _is_code(currency: str) -> str:
    if not is_currency(currency):
        raise PydanticCustomError("currency", "a currency is three capital letters (ISO 4217), such as USD")
    return currency


class _SalesDocument(Document):
    customer: str
    number: str | None = None
    date: dt.date
    currency: Annotated[str, AfterValidator(_is_code)]
    lines: tuple[Line, ...] = Field(min_length=1, strict=False)
    discount: Discount | None = None
    tax_total: Decimal | None = None
    memo: str | None = None
    note: str | None = None

    def expected_total(self) -> Decimal | None:
        """Lines less discount plus the tax that we name; None where the books compute the tax themselves."""
        total = less_discount(sum((line.amount for line in self.lines), Decimal(0)), self.discount, self.currency)
        if self.tax_total is not None:
            return total + self.tax_total
        taxed = any(line.tax_code not in (None, "NON") for line in self.lines)
        return None if taxed else total


class Invoice(_SalesDocument):
    """A sales invoice. `customer` is the customer's id in the books."""

    status: InvoiceStatus = Field(default=InvoiceStatus.ISSUED, strict=False)
    due_date: dt.date | None = None
    terms: str | None = None
    email: str | None = None
    billing_address: Address | None = None
    shipping_address: Address | None = None


class CreditNote(_SalesDocument):
    """A credit note, with positive amounts."""


class Allocation(Document):
    """How much of a payment goes to one invoice."""

    invoice: str
    amount: Decimal


class Payment(Document):
    """Money received from a customer."""

    customer: str
    date: dt.date
    currency: Annotated[str, AfterValidator(_is_code)]
    amount: Decimal
    number: str | None = None
    allocations: tuple[Allocation, ...] = Field(default=(), strict=False)


class RecordUpdate(Document):
    """Fields to set on an existing CRM record, by path, such as `custom_fields.payment_status`."""

    fields: Mapping[str, Any]

    def as_fields(self) -> dict[str, Value]:
        """The fields by path."""
        return dict(self.fields)


DOCUMENTS: Mapping[Kind, type[Document]] = {
    Kind.CUSTOMER: Customer,
    Kind.ITEM: Item,
    Kind.INVOICE: Invoice,
    Kind.CREDIT_NOTE: CreditNote,
    Kind.PAYMENT: Payment,
    Kind.COMPANY: RecordUpdate,
    Kind.CONTACT: RecordUpdate,
    Kind.DEAL: RecordUpdate,
    Kind.PRODUCT: RecordUpdate,
}
