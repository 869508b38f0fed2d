"""Zoho Books' JSON: models of what we read.

Field names are Zoho's. A list shows less of a record than the record itself, so
what is missing is absent, and `model_fields_set` tells.
Source: the descriptions of API v3's operations (tests/data/zoho_books) and www.zoho.com/books/api/v3, read 2026-11-22.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tieout.transport.wire import Moment, Wire

type Json = dict[str, Any]


def _blank(value: object) -> object:
    """None for the empty text, which stands where Zoho has no value."""
    return None if value in ("", None) else value


def _id(value: object) -> object:
    return str(value) if isinstance(value, int) else value


Id = Annotated[str, BeforeValidator(_id)]
Text = Annotated[str | None, BeforeValidator(_blank)]
Date = Annotated[dt.date | None, BeforeValidator(_blank)]
Amount = Annotated[Decimal | None, BeforeValidator(_blank)]


class Organization(Wire):
    """An organisation."""

    id: Id = Field(alias="organization_id")
    name: str = ""
    currency_code: str | None = None
    active: bool = Field(default=True, alias="is_org_active")


class Organizations(Wire):
    """The organisations that whoever signed in may use."""

    organizations: list[Organization]


class Named(Wire):
    """A currency or a tax: what it is called, and its id."""

    currency_id: Id | None = None
    currency_code: str | None = None
    tax_id: Id | None = None
    tax_name: str | None = None


class PageContext(Wire):
    """Where in a list the answer stands."""

    more: bool = Field(default=False, alias="has_more_page")


class CustomField(Wire):
    """A custom field and its value."""

    api_name: str | None = None
    value: Any = None


class Entity(Wire):
    """What every record has."""

    status: str = ""
    modified: Moment | None = Field(default=None, alias="last_modified_time")
    reference_number: Text = None
    custom_fields: list[CustomField] = Field(default_factory=list)
    custom_field_hash: dict[str, Any] = Field(default_factory=dict)

    def custom(self, name: str) -> str | None:
        """The value of a custom field; None if it is empty, or not shown."""
        shown = {field.api_name: field.value for field in self.custom_fields} | self.custom_field_hash
        value = shown.get(name)
        return str(value) if value not in ("", None) else None


class Address(Wire):
    """A postal address."""

    address: Text = None
    street2: Text = None
    city: Text = None
    state: Text = None
    zip: Text = None
    country: Text = None


class ContactPerson(Wire):
    """A person of a contact."""

    id: Id = Field(default="", alias="contact_person_id")
    first_name: Text = None
    last_name: Text = None
    email: Text = None
    phone: Text = None
    primary: bool = Field(default=False, alias="is_primary_contact")


class Contact(Entity):
    """A customer; the list shows its primary person's name, e-mail address and phone as its own."""

    id: Id = Field(alias="contact_id")
    name: str = Field(alias="contact_name")
    type: str = Field(default="customer", alias="contact_type")
    company_name: Text = None
    website: Text = None
    first_name: Text = None
    last_name: Text = None
    email: Text = None
    phone: Text = None
    currency_code: Text = None
    terms: Text = Field(default=None, alias="payment_terms_label")
    notes: Text = None
    gst_no: Text = None
    vat_reg_no: Text = None
    tax_reg_no: Text = None
    billing_address: Address | None = None
    shipping_address: Address | None = None
    persons: list[ContactPerson] = Field(default_factory=list, alias="contact_persons")


class Item(Entity):
    """An item."""

    id: Id = Field(alias="item_id")
    name: str
    sku: Text = None
    description: Text = None
    rate: Amount = None
    purchase_rate: Amount = None
    product_type: Text = None
    item_type: Text = None
    account_id: Text = None
    taxable: bool | None = Field(default=None, alias="is_taxable")


class Line(Wire):
    """A line of a document."""

    id: Id | None = Field(default=None, alias="line_item_id")
    item_id: Text = None
    description: Text = None
    quantity: Amount = None
    rate: Amount = None
    amount: Amount = Field(default=None, alias="item_total")
    tax_id: Text = None


class SalesForm(Entity):
    """What invoices and credit notes share."""

    customer_id: Id | None = None
    date: Date = None
    currency_code: Text = None
    total: Amount = None
    balance: Amount = None
    tax_total: Amount = None
    discount: str | Decimal | int | None = None
    notes: Text = None
    lines: list[Line] = Field(default_factory=list, alias="line_items")


class Invoice(SalesForm):
    """An invoice."""

    id: Id = Field(alias="invoice_id")
    number: Text = Field(default=None, alias="invoice_number")
    due_date: Date = None
    terms: Text = Field(default=None, alias="payment_terms_label")


class Estimate(SalesForm):
    """An estimate."""

    id: Id = Field(alias="estimate_id")
    number: Text = Field(default=None, alias="estimate_number")
    expiry_date: Date = None


class CreditNote(SalesForm):
    """A credit note."""

    id: Id = Field(alias="creditnote_id")
    number: Text = Field(default=None, alias="creditnote_number")


class Applied(Wire):
    """How much of a payment goes to one invoice."""

    invoice_id: Id
    amount: Amount = Field(default=None, alias="amount_applied")


class Payment(Entity):
    """A customer's payment."""

    id: Id = Field(alias="payment_id")
    customer_id: Id | None = None
    date: Date = None
    amount: Amount = None
    currency_code: Text = None
    invoices: list[Applied] | None = None


class InvoicePayment(Wire):
    """A payment in the list of an invoice's payments."""

    date: Date = None


class Task(Wire):
    """A task of a project."""

    id: Id = Field(alias="task_id")
    name: str = Field(default="", alias="task_name")


class User(Wire):
    """A user of the organisation, or of a project."""

    id: Id = Field(alias="user_id")
    name: str = ""
    email: Text = None
    current: bool = Field(default=False, alias="is_current_user")


class Project(Entity):
    """A project; the list shows neither tasks nor users."""

    id: Id = Field(alias="project_id")
    name: str = Field(alias="project_name")
    customer_id: Id | None = None
    currency_code: Text = None
    description: Text = None
    billing_type: str = ""
    rate: Amount = None
    tasks: list[Task] = Field(default_factory=list)
    users: list[User] = Field(default_factory=list)


class TimeEntry(Entity):
    """Hours that a user logged; `log_time` is hours and minutes, `01:15`."""

    id: Id = Field(alias="time_entry_id")
    project_id: Id | None = None
    task_id: Id | None = None
    task_name: Text = None
    user_id: Id | None = None
    log_date: Date = None
    log_time: str = "00:00"
    notes: Text = None
    billable: bool | None = Field(default=None, alias="is_billable")


class Expense(Entity):
    """An expense; `total` has the tax in it, and `sub_total` has not."""

    id: Id = Field(alias="expense_id")
    date: Date = None
    account_id: Id | None = None
    paid_through_account_id: Text = None
    currency_code: Text = None
    sub_total: Amount = None
    total: Amount = None
    inclusive: bool | None = Field(default=None, alias="is_inclusive_tax")
    tax_id: Text = None
    description: Text = None
    customer_id: Text = None
    project_id: Text = None
    billable: bool | None = Field(default=None, alias="is_billable")
