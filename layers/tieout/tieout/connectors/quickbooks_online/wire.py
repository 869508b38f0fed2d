"""QuickBooks Online's JSON: models of what we read.

Field names are Intuit's.
Source: intuit/QuickBooks-V3-Java-SDK `Finance.xsd` and `IntuitRestServiceDef.xsd` at 79b5a3c, read 2026-11-22.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from pydantic import Field

from tieout.transport.wire import Moment, Wire


class Ref(Wire):
    """A reference; `name` is what the provider remembered of it and may be missing."""

    value: str
    name: str | None = None


class Meta(Wire):
    """When a record was made and last changed."""

    created: Moment | None = Field(default=None, alias="CreateTime")
    updated: Moment | None = Field(default=None, alias="LastUpdatedTime")


class Entity(Wire):
    """What every record has. A deleted one is a stub with `status` Deleted."""

    id: str = Field(alias="Id")
    sync_token: str = Field(default="", alias="SyncToken")
    meta: Meta = Field(default_factory=Meta, alias="MetaData")
    status: str | None = None


class Address(Wire):
    """A postal address."""

    line1: str | None = Field(default=None, alias="Line1")
    line2: str | None = Field(default=None, alias="Line2")
    line3: str | None = Field(default=None, alias="Line3")
    city: str | None = Field(default=None, alias="City")
    state: str | None = Field(default=None, alias="CountrySubDivisionCode")
    postal_code: str | None = Field(default=None, alias="PostalCode")
    country: str | None = Field(default=None, alias="Country")


class Email(Wire):
    """One or several mail addresses, separated by commas."""

    address: str | None = Field(default=None, alias="Address")


class Phone(Wire):
    """A telephone number as it was typed."""

    number: str | None = Field(default=None, alias="FreeFormNumber")


class Web(Wire):
    """A website."""

    uri: str | None = Field(default=None, alias="URI")


class Customer(Entity):
    """Customer."""

    display_name: str = Field(alias="DisplayName")
    company_name: str | None = Field(default=None, alias="CompanyName")
    given_name: str | None = Field(default=None, alias="GivenName")
    family_name: str | None = Field(default=None, alias="FamilyName")
    email: Email | None = Field(default=None, alias="PrimaryEmailAddr")
    phone: Phone | None = Field(default=None, alias="PrimaryPhone")
    website: Web | None = Field(default=None, alias="WebAddr")
    tax_id: str | None = Field(default=None, alias="PrimaryTaxIdentifier")
    currency: Ref | None = Field(default=None, alias="CurrencyRef")
    terms: Ref | None = Field(default=None, alias="SalesTermRef")
    billing_address: Address | None = Field(default=None, alias="BillAddr")
    shipping_address: Address | None = Field(default=None, alias="ShipAddr")
    notes: str | None = Field(default=None, alias="Notes")
    parent: Ref | None = Field(default=None, alias="ParentRef")
    active: bool = Field(default=True, alias="Active")


class Item(Entity):
    """Item."""

    name: str = Field(alias="Name")
    sku: str | None = Field(default=None, alias="Sku")
    type: str | None = Field(default=None, alias="Type")
    description: str | None = Field(default=None, alias="Description")
    price: Decimal | None = Field(default=None, alias="UnitPrice")
    cost: Decimal | None = Field(default=None, alias="PurchaseCost")
    income_account: Ref | None = Field(default=None, alias="IncomeAccountRef")
    taxable: bool | None = Field(default=None, alias="Taxable")
    active: bool = Field(default=True, alias="Active")


class SalesLine(Wire):
    """Detail of a line that sells an item."""

    item: Ref | None = Field(default=None, alias="ItemRef")
    quantity: Decimal | None = Field(default=None, alias="Qty")
    unit_price: Decimal | None = Field(default=None, alias="UnitPrice")
    tax_code: Ref | None = Field(default=None, alias="TaxCodeRef")
    service_on: dt.date | None = Field(default=None, alias="ServiceDate")


class DiscountLine(Wire):
    """Detail of the line that discounts the whole document."""

    percent_based: bool = Field(default=False, alias="PercentBased")
    percent: Decimal | None = Field(default=None, alias="DiscountPercent")


class GroupLine(Wire):
    """Detail of a bundle: its own lines stand inside."""

    lines: list[Line] = Field(default_factory=list, alias="Line")


class LinkedDocument(Wire):
    """A document that this one, or this line, belongs to."""

    id: str = Field(alias="TxnId")
    type: str = Field(alias="TxnType")


class Line(Wire):
    """A line of a document; `detail_type` says which detail it has."""

    id: str | None = Field(default=None, alias="Id")
    amount: Decimal | None = Field(default=None, alias="Amount")
    description: str | None = Field(default=None, alias="Description")
    detail_type: str | None = Field(default=None, alias="DetailType")
    sales: SalesLine | None = Field(default=None, alias="SalesItemLineDetail")
    discount: DiscountLine | None = Field(default=None, alias="DiscountLineDetail")
    group: GroupLine | None = Field(default=None, alias="GroupLineDetail")
    linked: list[LinkedDocument] = Field(default_factory=list, alias="LinkedTxn")


class Memo(Wire):
    """The message to the customer."""

    value: str | None = None


class Tax(Wire):
    """The tax of a document."""

    total: Decimal | None = Field(default=None, alias="TotalTax")


class Transaction(Entity):
    """What invoices, credit memos and payments share."""

    number: str | None = Field(default=None, alias="DocNumber")
    date: dt.date | None = Field(default=None, alias="TxnDate")
    customer: Ref | None = Field(default=None, alias="CustomerRef")
    currency: Ref | None = Field(default=None, alias="CurrencyRef")
    lines: list[Line] = Field(default_factory=list, alias="Line")
    linked: list[LinkedDocument] = Field(default_factory=list, alias="LinkedTxn")
    private_note: str | None = Field(default=None, alias="PrivateNote")
    total: Decimal | None = Field(default=None, alias="TotalAmt")


class SalesForm(Transaction):
    """Invoice or credit memo."""

    memo: Memo | None = Field(default=None, alias="CustomerMemo")
    tax: Tax | None = Field(default=None, alias="TxnTaxDetail")
    balance: Decimal | None = Field(default=None, alias="Balance")


class Invoice(SalesForm):
    """Invoice."""

    due_on: dt.date | None = Field(default=None, alias="DueDate")
    terms: Ref | None = Field(default=None, alias="SalesTermRef")
    email: Email | None = Field(default=None, alias="BillEmail")
    billing_address: Address | None = Field(default=None, alias="BillAddr")
    shipping_address: Address | None = Field(default=None, alias="ShipAddr")


class CreditMemo(SalesForm):
    """Credit memo."""

    remaining: Decimal | None = Field(default=None, alias="RemainingCredit")


class Payment(Transaction):
    """Payment."""

    payment_number: str | None = Field(default=None, alias="PaymentRefNum")
    unapplied: Decimal | None = Field(default=None, alias="UnappliedAmt")


class Named(Entity):
    """A row of a list that we look up by name: terms, accounts, tax codes."""

    name: str = Field(alias="Name")
    active: bool = Field(default=True, alias="Active")


class SalesFormsPreferences(Wire):
    """Preferences of sales forms."""

    custom_numbers: bool = Field(default=False, alias="CustomTxnNumbers")


class CurrencyPreferences(Wire):
    """Preferences of currency."""

    multi_currency: bool = Field(default=False, alias="MultiCurrencyEnabled")
    home: Ref | None = Field(default=None, alias="HomeCurrency")


class AccountingPreferences(Wire):
    """Preferences of accounting."""

    closed_until: dt.date | None = Field(default=None, alias="BookCloseDate")


class Preferences(Wire):
    """The company's preferences."""

    accounting: AccountingPreferences = Field(default_factory=AccountingPreferences, alias="AccountingInfoPrefs")
    sales_forms: SalesFormsPreferences = Field(default_factory=SalesFormsPreferences, alias="SalesFormsPrefs")
    currency: CurrencyPreferences = Field(default_factory=CurrencyPreferences, alias="CurrencyPrefs")


class CompanyInfo(Wire):
    """The company."""

    name: str = Field(default="", alias="CompanyName")


type Json = dict[str, Any]
