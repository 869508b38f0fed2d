"""Between QuickBooks Online's words and ours. No calls but the look-ups of `Company`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.company import Company, List
from tieout.domain.documents import (
    Address,
    CreditNote,
    Customer,
    Discount,
    Document,
    Invoice,
    InvoiceStatus,
    Item,
    ItemType,
    Line,
    Payment,
    less_discount,
)
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import RejectedError
from tieout.domain.money import rounded
from tieout.domain.records import Kind, Record, Value

ENTITIES: Mapping[Kind, str] = {
    Kind.CUSTOMER: "Customer",
    Kind.ITEM: "Item",
    Kind.INVOICE: "Invoice",
    Kind.PAYMENT: "Payment",
    Kind.CREDIT_NOTE: "CreditMemo",
}
KINDS = {entity.lower(): kind for kind, entity in ENTITIES.items()}
# Name lists show inactive records only if asked. Source: data-queries, read 2026-11-22.
NAME_LISTS = frozenset({Kind.CUSTOMER, Kind.ITEM})
NATURAL_KEYS: Mapping[Kind, str] = {Kind.CUSTOMER: "DisplayName", Kind.ITEM: "Name"}

_TAG = re.compile(r"\n?\[tieout:([a-z0-9]{12})\]")
_ITEM_TYPES = {ItemType.SERVICE: "Service", ItemType.NON_INVENTORY: "NonInventory"}
_OUR_ITEM_TYPES = {word: kind.value for kind, word in _ITEM_TYPES.items()}
_ADDRESS = {
    "line1": "Line1",
    "line2": "Line2",
    "line3": "Line3",
    "city": "City",
    "state": "CountrySubDivisionCode",
    "postal_code": "PostalCode",
    "country": "Country",
}


def tag(reference: str) -> str:
    """Our mark in a note."""
    return f"[tieout:{reference}]"


def own_number(reference: str) -> str:
    """The number that we give where the company gives none; 14 characters of the 21 that are allowed."""
    return f"T-{reference.upper()}"


def same_name(name: str) -> str:
    """Equal for names that are the same but for case and spaces."""
    return " ".join(name.split()).casefold()


# ---- from the wire ----


def to_record(kind: Kind, row: wire.Json, company: Company) -> Record:
    """The record in our words.

    Raises:
        ValueError: If the row is not of the form that we know.
    """
    entity, fields = _READERS[kind](row, company)
    return Record(kind, entity.id, version=entity.sync_token, edited_at=entity.meta.updated, fields=fields)


def is_gone(row: wire.Json) -> bool:
    """True for the stub of a deleted record."""
    return row.get("status") == "Deleted"


def _read_customer(row: wire.Json, company: Company) -> tuple[wire.Entity, dict[str, Value]]:
    customer = wire.Customer.model_validate(row)
    note, reference = _split_note(customer.notes)
    fields: dict[str, Value] = {
        "name": customer.display_name,
        "parent": customer.parent.value if customer.parent else None,
        "company_name": customer.company_name or None,
        "given_name": customer.given_name or None,
        "family_name": customer.family_name or None,
        "contact_name": " ".join(part for part in (customer.given_name, customer.family_name) if part) or None,
        "email": _text(customer.email.address if customer.email else None),
        "phone": _text(customer.phone.number if customer.phone else None),
        "website": _text(customer.website.uri if customer.website else None),
        "currency": customer.currency.value if customer.currency else company.home_currency,
        "terms": company.name_of(List.TERMS, customer.terms) if customer.terms else None,
        "billing_address": _read_address(customer.billing_address),
        "shipping_address": _read_address(customer.shipping_address),
        "note": note,
        "active": customer.active,
    }
    # Numbers of persons come back masked (XXXXX6789), which says nothing about what is stored.
    if not customer.tax_id or "XXX" not in customer.tax_id:
        fields["tax_id"] = customer.tax_id or None
    return customer, fields | reference


def _read_item(row: wire.Json, company: Company) -> tuple[wire.Entity, dict[str, Value]]:
    item = wire.Item.model_validate(row)
    return item, {
        "name": item.name,
        "sku": item.sku or None,
        "type": _OUR_ITEM_TYPES.get(item.type or "", (item.type or "").lower() or None),
        "description": item.description or None,
        "price": item.price,
        "cost": item.cost,
        "income_account": company.name_of(List.ACCOUNTS, item.income_account) if item.income_account else None,
        "taxable": item.taxable,
        "active": item.active,
    }


def _read_invoice(row: wire.Json, company: Company) -> tuple[wire.Entity, dict[str, Value]]:
    invoice = wire.Invoice.model_validate(row)
    total, balance = invoice.total or Decimal(0), invoice.balance or Decimal(0)
    voided = _is_voided(invoice)
    fields = _read_sales_form(invoice, company) | {
        "due_date": invoice.due_on,
        "terms": company.name_of(List.TERMS, invoice.terms) if invoice.terms else None,
        "email": _text(invoice.email.address if invoice.email else None),
        "billing_address": _read_address(invoice.billing_address),
        "shipping_address": _read_address(invoice.shipping_address),
        "status": InvoiceStatus.VOIDED.value if voided else InvoiceStatus.ISSUED.value,
        "total": total,
        "balance": balance,
        "paid": total - balance,
        "state": "voided" if voided else _state(total, balance),
        "payment_ids": [linked.id for linked in invoice.linked if linked.type == "Payment"],
    }
    return invoice, fields


def _read_credit_note(row: wire.Json, company: Company) -> tuple[wire.Entity, dict[str, Value]]:
    memo = wire.CreditMemo.model_validate(row)
    balance = memo.remaining if memo.remaining is not None else memo.balance
    return memo, _read_sales_form(memo, company) | {"total": memo.total or Decimal(0), "balance": balance}


def _read_payment(row: wire.Json, company: Company) -> tuple[wire.Entity, dict[str, Value]]:
    payment = wire.Payment.model_validate(row)
    _, reference = _split_note(payment.private_note)
    allocations: list[dict[str, Value]] = [
        {"invoice": linked.id, "amount": line.amount or Decimal(0)}
        for line in payment.lines
        for linked in line.linked
        if linked.type == "Invoice"
    ]
    fields: dict[str, Value] = {
        "customer": payment.customer.value if payment.customer else None,
        "date": payment.date,
        "currency": payment.currency.value if payment.currency else company.home_currency,
        "amount": payment.total or Decimal(0),
        "number": payment.payment_number or None,
        "allocations": allocations,
        "invoice_ids": list(dict.fromkeys(cast("str", allocation["invoice"]) for allocation in allocations)),
    }
    return payment, fields | reference


_READERS: Mapping[Kind, Callable[[wire.Json, Company], tuple[wire.Entity, dict[str, Value]]]] = {
    Kind.CUSTOMER: _read_customer,
    Kind.ITEM: _read_item,
    Kind.INVOICE: _read_invoice,
    Kind.CREDIT_NOTE: _read_credit_note,
    Kind.PAYMENT: _read_payment,
}


def _read_sales_form(form: wire.SalesForm, company: Company) -> dict[str, Value]:
    note, reference = _split_note(form.private_note)
    return {
        "customer": form.customer.value if form.customer else None,
        "number": form.number or None,
        "date": form.date,
        "currency": form.currency.value if form.currency else company.home_currency,
        "lines": [line for each in form.lines for line in _read_line(each)],
        "discount": next((_read_discount(line) for line in form.lines if line.discount is not None), None),
        "tax_total": form.tax.total if form.tax else None,
        "memo": _text(form.memo.value if form.memo else None),
        "note": note,
    } | reference


def _read_line(line: wire.Line) -> list[dict[str, Value]]:
    """The lines that sell something; those of a bundle too. Subtotals, discounts and plain texts are left out."""
    if line.group is not None:
        return [inner for each in line.group.lines for inner in _read_line(each)]
    if line.sales is None:
        return []
    return [
        {
            "item": line.sales.item.value if line.sales.item else None,
            "description": line.description or None,
            "quantity": line.sales.quantity if line.sales.quantity is not None else Decimal(1),
            "unit_price": line.sales.unit_price,
            "amount": line.amount or Decimal(0),
            "tax_code": line.sales.tax_code.value if line.sales.tax_code else None,
            "service_on": line.sales.service_on,
        }
    ]


def _read_discount(line: wire.Line) -> dict[str, Value]:
    if line.discount is not None and line.discount.percent_based:
        return {"percent": line.discount.percent}
    return {"amount": line.amount}


def _read_address(address: wire.Address | None) -> dict[str, Value] | None:
    if address is None:
        return None
    fields: dict[str, Value] = {name: getattr(address, name) or None for name in _ADDRESS}
    fields["country"] = _country(address.country, "alpha2")
    return fields if any(value is not None for value in fields.values()) else None


def _country(text: str | None, form: str) -> str | None:
    """The country as ISO 3166 code of this form; as it was written if it is none.

    Intuit writes alpha-3 since autumn 2025, and has names and other codes from before.
    Source: developer.intuit.com .../general-release-notes, read 2026-11-22.
    """
    if not text:
        return None
    import iso3166  # noqa: PLC0415 - only addresses need it

    country = iso3166.countries.get(text, None)
    return cast("str", getattr(country, form)) if country is not None else text


def _is_voided(invoice: wire.Invoice) -> bool:
    """Voiding leaves an ordinary invoice with amounts of 0 and `Voided` in its private note."""
    note = (invoice.private_note or "").strip()
    return note.startswith("Voided") and (not invoice.total or note == "Voided")


def _state(total: Decimal, balance: Decimal) -> str:
    if balance == 0:
        return "paid"
    return "open" if balance == total else "partly_paid"


def _split_note(note: str | None) -> tuple[str | None, dict[str, Value]]:
    """The note without our tag, and the reference in the last tag, if there is one."""
    tags = _TAG.findall(note or "")
    text = _TAG.sub("", note or "") or None
    return text, {"reference": tags[-1]} if tags else {}


def _text(value: str | None) -> str | None:
    return value or None


# ---- to the wire ----


def to_item(effect: Effect, company: Company, key: str) -> wire.Json:
    """The batch item that does the effect; `key` becomes its `bId` (10 characters at most).

    Raises:
        RejectedError: If the document cannot be said in QuickBooks' terms.
        ProviderError: If a look-up failed.
    """
    document = effect.document
    item: wire.Json = {"bId": key, "operation": effect.operation.value}
    body: wire.Json = {}
    if effect.operation is Operation.UPDATE:
        body = {"Id": effect.target_id, "SyncToken": effect.target_version, "sparse": True}
    if isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED:
        if effect.operation is Operation.CREATE:
            raise RejectedError("A voided invoice is not written if it was never issued.", field="status")
        item["optionsData"] = "void"
    else:
        body |= _write(effect, document, company)
    return item | {ENTITIES[effect.kind]: body}


def _write(effect: Effect, document: Document, company: Company) -> wire.Json:
    match document:
        case Customer():
            return _write_customer(effect, document, company)
        case Item():
            return _write_item(effect, document, company)
        case Invoice():
            return _write_sales_form(effect, document, company) | _write_invoice(effect, document, company)
        case CreditNote():
            return _write_sales_form(effect, document, company)
        case Payment():
            return _write_payment(effect, document, company)
        case _:
            raise RejectedError(f"QuickBooks has no records of kind {effect.kind.value} that can be written.")


class _Body:
    """Collects what was given: absent stays out, and None empties on an update."""

    def __init__(self, effect: Effect, document: Document) -> None:
        self._creates = effect.operation is Operation.CREATE
        self._given = {name: getattr(document, name) for name in document.model_fields_set}
        self.json: wire.Json = {}

    def has(self, name: str) -> bool:
        """True if the field is to be written: given, and not empty in a new record."""
        return name in self._given and not (self._creates and self._given[name] is None)

    def text(self, name: str, path: str) -> None:
        """A text; `path` may lead into one sub-object. None is written as the empty text, which empties it."""
        if not self.has(name):
            return
        outer, _, inner = path.partition(".")
        value = self._given[name] if self._given[name] is not None else ""
        self.json[outer] = {inner: value} if inner else value

    def value(self, name: str, path: str) -> None:
        """A number, truth or date; None leaves it alone, as QuickBooks knows no empty one."""
        if self._given.get(name) is not None:
            self.json[path] = self._given[name]

    def address(self, name: str, path: str) -> None:
        """An address, which is always written whole."""
        if not self.has(name):
            return
        address: Address | None = self._given[name]
        fields: dict[str, Any] = address.as_fields() if address is not None else {}
        fields["country"] = _country(fields.get("country"), "alpha3")
        written = {theirs: fields.get(ours) or "" for ours, theirs in _ADDRESS.items()}
        self.json[path] = {theirs: text for theirs, text in written.items() if text or not self._creates}

    def note(self, name: str, path: str, reference: str) -> None:
        """A note with our tag. An update without the note leaves the tag where it is."""
        if name in self._given or self._creates:
            text = self._given.get(name)
            self.json[path] = f"{text}\n{tag(reference)}" if text else tag(reference)


def _write_customer(effect: Effect, document: Customer, company: Company) -> wire.Json:
    body = _Body(effect, document)
    body.text("name", "DisplayName")
    body.text("company_name", "CompanyName")
    body.text("given_name", "GivenName")
    body.text("family_name", "FamilyName")
    body.text("email", "PrimaryEmailAddr.Address")
    body.text("phone", "PrimaryPhone.FreeFormNumber")
    body.text("website", "WebAddr.URI")
    body.text("tax_id", "PrimaryTaxIdentifier")
    body.address("billing_address", "BillAddr")
    body.address("shipping_address", "ShipAddr")
    body.value("active", "Active")
    body.note("note", "Notes", effect.reference)
    if body.has("parent"):
        body.json |= _parent(document.parent)
    if body.has("contact_name") and not {"given_name", "family_name"} & document.model_fields_set:
        body.json |= _person(document.contact_name or "")
    if document.terms is not None:
        body.json["SalesTermRef"] = {"value": company.id_of(List.TERMS, document.terms)}
    if document.currency is not None:
        body.json |= _currency(effect, document.currency, company)
    return body.json


def _parent(parent: str | None) -> wire.Json:
    """A reference is refused without `Job` (6150), and `Job` without a reference; null takes it away.

    `BillWithParent` is left alone: a sub-customer is billed itself until a person in QuickBooks says otherwise.
    Source: github.com/intuit/QuickBooks-V3-PHP-SDK/issues/71 and the Customer entity's page, read 2026-11-22.
    """
    return {"ParentRef": {"value": parent}, "Job": True} if parent is not None else {"ParentRef": None, "Job": False}


def _person(name: str) -> wire.Json:
    """QuickBooks keeps a person's name in parts: the last word is the family name."""
    given, _, family = " ".join(name.split()).rpartition(" ")
    return {"GivenName": given, "FamilyName": family} if given else {"GivenName": family, "FamilyName": ""}


def _write_item(effect: Effect, document: Item, company: Company) -> wire.Json:
    body = _Body(effect, document)
    body.text("name", "Name")
    body.text("sku", "Sku")
    body.text("description", "Description")
    body.value("price", "UnitPrice")
    body.value("cost", "PurchaseCost")
    body.value("taxable", "Taxable")
    body.value("active", "Active")
    if effect.operation is Operation.CREATE or "type" in document.model_fields_set:
        body.json["Type"] = _ITEM_TYPES[document.type]
    if document.income_account is not None:
        body.json["IncomeAccountRef"] = {"value": company.id_of(List.ACCOUNTS, document.income_account)}
    elif effect.operation is Operation.CREATE:
        body.json["IncomeAccountRef"] = {"value": company.income_account_id()}
    return body.json


def _write_sales_form(effect: Effect, document: Invoice | CreditNote, company: Company) -> wire.Json:
    body = _Body(effect, document)
    body.text("number", "DocNumber")
    body.text("memo", "CustomerMemo.value")
    body.note("note", "PrivateNote", effect.reference)
    if effect.operation is Operation.CREATE and document.number is None and not company.numbers_itself:
        body.json["DocNumber"] = own_number(effect.reference)
    if document.tax_total is not None:
        body.json["TxnTaxDetail"] = {"TotalTax": document.tax_total}
    lines = [_write_line(line, company) for line in document.lines]
    if document.discount is not None:
        lines.append(_write_discount(document, document.discount))
    return (
        {"CustomerRef": {"value": document.customer}, "TxnDate": document.date, "Line": lines}
        | _currency(effect, document.currency, company)
        | body.json
    )


def _write_invoice(effect: Effect, document: Invoice, company: Company) -> wire.Json:
    body = _Body(effect, document)
    body.value("due_date", "DueDate")
    body.text("email", "BillEmail.Address")
    body.address("billing_address", "BillAddr")
    body.address("shipping_address", "ShipAddr")
    if document.terms is not None:
        body.json["SalesTermRef"] = {"value": company.id_of(List.TERMS, document.terms)}
    return body.json


def _write_payment(effect: Effect, document: Payment, company: Company) -> wire.Json:
    body = _Body(effect, document)
    body.text("number", "PaymentRefNum")
    if effect.operation is Operation.CREATE:
        body.json["PrivateNote"] = tag(effect.reference)
    if effect.operation is Operation.CREATE or "allocations" in document.model_fields_set:
        body.json["Line"] = [
            {"Amount": each.amount, "LinkedTxn": [{"TxnId": each.invoice, "TxnType": "Invoice"}]}
            for each in document.allocations
        ]
    return (
        {"CustomerRef": {"value": document.customer}, "TxnDate": document.date, "TotalAmt": document.amount}
        | _currency(effect, document.currency, company)
        | body.json
    )


def _write_line(line: Line, company: Company) -> wire.Json:
    """Quantity and price are sent only if they agree with the amount to the cent: QuickBooks refuses others (6070)."""
    detail: wire.Json = {"ItemRef": {"value": line.item}}
    if line.unit_price is not None and rounded(line.quantity * line.unit_price) == line.amount:
        detail |= {"Qty": line.quantity, "UnitPrice": line.unit_price}
    if line.tax_code is not None:
        detail["TaxCodeRef"] = {"value": _tax_code(line.tax_code, company)}
    if line.service_on is not None:
        detail["ServiceDate"] = line.service_on
    text = {"Description": line.description} if line.description is not None else {}
    return {"DetailType": "SalesItemLineDetail", "Amount": line.amount, "SalesItemLineDetail": detail} | text


def _tax_code(code: str, company: Company) -> str:
    """TAX and NON (United States) and ids as they are; names elsewhere are looked up."""
    if code in {"TAX", "NON"} or code.isdigit():
        return code
    return company.id_of(List.TAX_CODES, code)


def _write_discount(document: Invoice | CreditNote, discount: Discount) -> wire.Json:
    total = sum((line.amount for line in document.lines), Decimal(0))
    if discount.percent is not None:
        amount = total - less_discount(total, discount, document.currency)
        detail: wire.Json = {"PercentBased": True, "DiscountPercent": discount.percent}
    else:
        amount, detail = discount.amount or Decimal(0), {"PercentBased": False}
    return {"DetailType": "DiscountLineDetail", "Amount": amount, "DiscountLineDetail": detail}


def _currency(effect: Effect, currency: str, company: Company) -> wire.Json:
    """The currency, where the company has several; it is frozen once the record is there."""
    if company.multi_currency:
        return {"CurrencyRef": {"value": currency}} if effect.operation is Operation.CREATE else {}
    if company.home_currency not in (None, currency):
        raise RejectedError(
            f"The QuickBooks company keeps its books in {company.home_currency} only, and this is in {currency}.",
            field="currency",
            next_step="Switch on several currencies in QuickBooks, or leave such records out of the sync.",
        )
    return {}
