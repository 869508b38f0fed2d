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


def _is_code_or_none(currency: str | None) -> str | None:
    return currency if currency is None else _is_code(currency)


class SalesDocument(Document):
    """What estimates, invoices and credit notes share. `customer` is the customer's id in the books."""

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


class Invoice(SalesDocument):
    """A sales invoice."""

    status: InvoiceStatus = Field(default=InvoiceStatus.ISSUED, strict=False)
    due_date: dt.date | None = None
    terms: str | None = None
    email: str | None = None
    billing_address: Address | None = None
    shipping_address: Address | None = None


class CreditNote(SalesDocument):
    """A credit note, with positive amounts."""


class EstimateStatus(StrEnum):
    """How the customer took it; whether it expired or was invoiced only the books know."""

    SENT = "sent"
    ACCEPTED = "accepted"
    DECLINED = "declined"


class Estimate(SalesDocument):
    """A quote: its lines are those of an invoice, and nothing is posted."""

    status: EstimateStatus = Field(default=EstimateStatus.SENT, strict=False)
    expiry_date: dt.date | None = None


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


class ProjectBilling(StrEnum):
    """What its customer is billed: one price for all of it, or the hours."""

    FIXED = "fixed"
    HOURLY = "hourly"


class Project(Document):
    """Work for one customer, whose id in the books `customer` is; hours and expenses belong to it.

    Attributes:
        rate: Of the whole project if it is billed at a fixed price, else of an hour; in `currency`.
    """

    name: str = Field(min_length=1)
    customer: str
    billing: ProjectBilling = Field(default=ProjectBilling.HOURLY, strict=False)
    rate: Decimal | None = None
    currency: Annotated[str | None, AfterValidator(_is_code_or_none)] = None
    description: str | None = None
    active: bool = True


class TimeEntry(Document):
    """What one person worked for a project on one day.

    Attributes:
        project: Id of the project in the books.
        person: Who: their e-mail address, or their name as the books write it.
        hours: More than 0, and exact: 1.25 is an hour and a quarter.
        task: Name of the project's task; absent leaves it to the connection.
        billable: Absent leaves it to the books.
        rate: Of an hour, in `currency`; absent leaves it to the project.
    """

    project: str
    person: str = Field(min_length=1)
    date: dt.date
    hours: Decimal = Field(gt=0)
    task: str | None = None
    note: str | None = None
    billable: bool | None = None
    rate: Decimal | None = None
    currency: Annotated[str | None, AfterValidator(_is_code_or_none)] = None


class Expense(Document):
    """Money that was spent.

    Attributes:
        account: Id, in the books, of the account that it belongs to: what other tools call its category.
        amount: What was paid, in `currency`.
        customer, project: For whom; ids in the books.
        tax_code: Code or id in the books; absent leaves it to the books.
        tax_included: Whether the amount has the tax in it; absent leaves it to the books.
        paid_through: Id, in the books, of the account that it was paid from; absent leaves it to the connection.
        billable: Whether its customer is billed for it.
    """

    account: str
    date: dt.date
    currency: Annotated[str, AfterValidator(_is_code)]
    amount: Decimal
    number: str | None = None
    description: str | None = None
    customer: str | None = None
    project: str | None = None
    tax_code: str | None = None
    tax_included: bool | None = None
    paid_through: str | None = None
    billable: bool | None = None


class RecordUpdate(Document):
    """Fields to set on an existing CRM record, by path, such as `custom_fields.payment_status`."""

    fields: Mapping[str, Any]

    def as_fields(self) -> dict[str, Value]:
        """The fields by path."""
        return dict(self.fields)


DOCUMENTS: Mapping[Kind, type[Document]] = {
    Kind.CUSTOMER: Customer,
    Kind.ITEM: Item,
    Kind.ESTIMATE: Estimate,
    Kind.INVOICE: Invoice,
    Kind.CREDIT_NOTE: CreditNote,
    Kind.PAYMENT: Payment,
    Kind.PROJECT: Project,
    Kind.TIME_ENTRY: TimeEntry,
    Kind.EXPENSE: Expense,
    Kind.COMPANY: RecordUpdate,
    Kind.CONTACT: RecordUpdate,
    Kind.DEAL: RecordUpdate,
    Kind.PRODUCT: RecordUpdate,
}
