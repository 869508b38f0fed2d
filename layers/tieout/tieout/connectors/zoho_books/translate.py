"""Between Zoho Books' words and ours; work is in `services.py`. No calls but the look-ups of `Company`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.company import Company
from tieout.connectors.zoho_books.manifest import Settings
from tieout.connectors.zoho_books.parts import Body, own_number, read_address, shown, split_number
from tieout.connectors.zoho_books.services import SERVICE_READERS, write_service
from tieout.domain.documents import (
    CreditNote,
    Customer,
    Discount,
    Document,
    Estimate,
    EstimateStatus,
    Expense,
    Invoice,
    InvoiceStatus,
    Item,
    ItemType,
    Line,
    Payment,
    Project,
    TimeEntry,
)
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import RejectedError
from tieout.domain.money import rounded
from tieout.domain.records import Kind, Record, Value
from tieout.domain.words import counted


@dataclass(frozen=True, slots=True)
class Place:
    """Where records of a kind stand: in the address, in the answer's list, and in the answer with one."""

    path: str
    rows: str
    row: str


PLACES: Mapping[Kind, Place] = {
    Kind.CUSTOMER: Place("contacts", "contacts", "contact"),
    Kind.ITEM: Place("items", "items", "item"),
    Kind.ESTIMATE: Place("estimates", "estimates", "estimate"),
    Kind.INVOICE: Place("invoices", "invoices", "invoice"),
    Kind.CREDIT_NOTE: Place("creditnotes", "creditnotes", "creditnote"),
    Kind.PAYMENT: Place("customerpayments", "customerpayments", "payment"),
    Kind.PROJECT: Place("projects", "projects", "project"),
    Kind.TIME_ENTRY: Place("projects/timeentries", "time_entries", "time_entry"),
    Kind.EXPENSE: Place("expenses", "expenses", "expense"),
}
VOID, DRAFT = "void", "draft"
_SENT = frozenset({"sent", "viewed", "overdue", "partially_paid", "paid", "unpaid"})
# What Zoho has no place for, by kind. Source: the operations' descriptions in tests/data/zoho_books, read 2026-11-22.
_NO_PLACE: Mapping[Kind, frozenset[str]] = {
    Kind.CUSTOMER: frozenset({"parent"}),
    Kind.INVOICE: frozenset({"note", "email", "billing_address", "shipping_address"}),
    Kind.CREDIT_NOTE: frozenset({"note"}),
    Kind.ESTIMATE: frozenset({"note"}),
    Kind.TIME_ENTRY: frozenset({"rate", "currency"}),
}
# How the customer took an estimate, by Zoho's status; others are not sent yet.
_TAKEN = {
    "sent": EstimateStatus.SENT.value,
    "viewed": EstimateStatus.SENT.value,
    "expired": EstimateStatus.SENT.value,
    "accepted": EstimateStatus.ACCEPTED.value,
    "invoiced": EstimateStatus.ACCEPTED.value,
    "declined": EstimateStatus.DECLINED.value,
}
_TAX_FIELDS = ("gst_no", "vat_reg_no", "tax_reg_no")


# ---- from the wire ----


def to_record(kind: Kind, row: wire.Json, settings: Settings) -> Record:
    """The record in our words, as far as the row shows it: a list's row shows less than the record itself.

    Raises:
        ValidationError: If the row is not of the form that we know.
    """
    entity, fields = _READERS[kind](row)
    modified = getattr(entity, "modified", None)
    _, marked = split_number(_marked_text(entity))
    reference = entity.custom(settings.reference_field) or marked
    return Record(
        kind,
        cast("str", getattr(entity, "id")),  # noqa: B009 - every model that is read has one, of its own name
        version=modified.isoformat() if modified is not None else _content_version(kind, fields),
        edited_at=modified,
        fields=fields | ({"reference": reference} if reference else {}),
    )


def _marked_text(entity: wire.Entity) -> str | None:
    """Where our mark stands: in the reference number, or at the end of what is said where there is none."""
    match entity:
        case wire.Project():
            return entity.description
        case wire.TimeEntry():
            return entity.notes
        case _:
            return entity.reference_number


def _content_version(kind: Kind, fields: Mapping[str, Value]) -> str:
    """For what does not say when it was changed last, what it shows; empty for other kinds, of which a row was thin."""
    if kind not in {Kind.PROJECT, Kind.TIME_ENTRY}:
        return ""
    return hashlib.sha256(repr(sorted(fields.items())).encode()).hexdigest()[:16]


def _read_customer(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    contact = wire.Contact.model_validate(row)
    whole = "persons" in contact.model_fields_set
    person = _primary(contact.persons) if whole else contact
    given, family = (person.first_name, person.last_name) if person is not None else (None, None)
    source = "persons" if whole else "first_name"
    optional = {
        "company_name": ("company_name", contact.company_name),
        "given_name": (source, given),
        "family_name": (source, family),
        "contact_name": (source, " ".join(part for part in (given, family) if part) or None),
        "email": ("persons" if whole else "email", person.email if person is not None else None),
        "phone": ("persons" if whole else "phone", person.phone if person is not None else None),
        "website": ("website", contact.website),
        "currency": ("currency_code", contact.currency_code),
        "terms": ("terms", contact.terms),
        "billing_address": ("billing_address", read_address(contact.billing_address)),
        "shipping_address": ("shipping_address", read_address(contact.shipping_address)),
        "note": ("notes", contact.notes),
    }
    fields: dict[str, Value] = {"name": contact.name, "active": contact.status != "inactive"}
    fields |= shown(contact, cast("Mapping[str, tuple[str, Value]]", optional))
    if whole:
        fields["tax_id"] = next((number for name in _TAX_FIELDS if (number := getattr(contact, name))), None)
    return contact, fields


def _primary(persons: Sequence[wire.ContactPerson]) -> wire.ContactPerson | None:
    return next((person for person in persons if person.primary), persons[0] if persons else None)


def _read_item(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    item = wire.Item.model_validate(row)
    inventory = item.item_type == "inventory"
    kind = "service" if item.product_type == "service" else "inventory" if inventory else "non_inventory"
    optional: dict[str, tuple[str, Value]] = {
        "sku": ("sku", item.sku),
        "type": ("product_type", kind),
        "description": ("description", item.description),
        "price": ("rate", item.rate),
        "cost": ("purchase_rate", item.purchase_rate),
        "income_account": ("account_id", item.account_id),
        "taxable": ("taxable", item.taxable),
    }
    fields: dict[str, Value] = {"name": item.name, "active": item.status != "inactive"}
    return item, fields | shown(item, optional)


def _read_invoice(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    invoice = wire.Invoice.model_validate(row)
    total, balance = invoice.total or Decimal(0), invoice.balance or Decimal(0)
    voided = invoice.status == VOID
    state = "voided" if voided else _state(total, balance)
    fields = _read_sales_form(invoice) | {
        "due_date": invoice.due_date,
        "status": InvoiceStatus.VOIDED.value
        if voided
        else DRAFT
        if is_draft(invoice.status)
        else InvoiceStatus.ISSUED.value,
        "total": total,
        "balance": balance,
        "paid": Decimal(0) if voided else total - balance,
        "state": state,
    }
    return invoice, fields | shown(invoice, {"terms": ("terms", invoice.terms)})


def is_draft(status: str) -> bool:
    """True if an invoice of this status is not in the ledger yet: a draft, or waiting for approval."""
    return status not in _SENT and status != VOID


def _read_estimate(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    """What expired was sent, and what was invoiced was accepted; `state` says it as Zoho does."""
    estimate = wire.Estimate.model_validate(row)
    state = {"sent": "open", "viewed": "open"}.get(estimate.status, estimate.status)
    fields = _read_sales_form(estimate) | {
        "expiry_date": estimate.expiry_date,
        "status": _TAKEN.get(estimate.status, DRAFT),
        "total": estimate.total or Decimal(0),
        "state": state,
    }
    return estimate, fields


def _read_credit_note(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    note = wire.CreditNote.model_validate(row)
    voided = {"state": "voided"} if note.status == VOID else {}
    return note, _read_sales_form(note) | {"total": note.total or Decimal(0), "balance": note.balance} | voided


def _read_payment(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    payment = wire.Payment.model_validate(row)
    number, _ = split_number(payment.reference_number)
    fields: dict[str, Value] = {
        "customer": payment.customer_id,
        "date": payment.date,
        "currency": payment.currency_code,
        "amount": payment.amount or Decimal(0),
        "number": number,
    }
    if payment.invoices is not None:
        fields["allocations"] = [
            {"invoice": each.invoice_id, "amount": each.amount or Decimal(0)} for each in payment.invoices
        ]
        fields["invoice_ids"] = list(dict.fromkeys(each.invoice_id for each in payment.invoices))
    return payment, fields


_READERS: Mapping[Kind, Callable[[wire.Json], tuple[wire.Entity, dict[str, Value]]]] = {
    Kind.CUSTOMER: _read_customer,
    Kind.ITEM: _read_item,
    Kind.ESTIMATE: _read_estimate,
    Kind.INVOICE: _read_invoice,
    Kind.CREDIT_NOTE: _read_credit_note,
    Kind.PAYMENT: _read_payment,
    **SERVICE_READERS,
}


def _read_sales_form(form: wire.Estimate | wire.Invoice | wire.CreditNote) -> dict[str, Value]:
    fields: dict[str, Value] = {
        "customer": form.customer_id,
        "number": form.number,
        "date": form.date,
        "currency": form.currency_code,
    }
    optional: dict[str, tuple[str, Value]] = {
        "lines": ("lines", [_read_line(line) for line in form.lines]),
        "discount": ("discount", _read_discount(form.discount)),
        "tax_total": ("tax_total", form.tax_total),
        "memo": ("notes", form.notes),
    }
    return fields | shown(form, optional)


def _read_line(line: wire.Line) -> dict[str, Value]:
    return {
        "item": line.item_id,
        "description": line.description,
        "quantity": line.quantity if line.quantity is not None else Decimal(1),
        "unit_price": line.rate,
        "amount": line.amount or Decimal(0),
        "tax_code": line.tax_id,
    }


def _read_discount(discount: str | Decimal | int | None) -> dict[str, Value] | None:
    """`10%` is a percentage, a bare number an amount, and nothing or 0 no discount."""
    text = str(discount if discount is not None else "").strip()
    number = Decimal(text.removesuffix("%") or 0)
    if number == 0:
        return None
    return {"percent": number} if text.endswith("%") else {"amount": number}


def _state(total: Decimal, balance: Decimal) -> str:
    if balance == 0:
        return "paid"
    return "open" if balance == total else "partly_paid"


# ---- to the wire ----


def to_body(effect: Effect, company: Company, settings: Settings, current: wire.Json | None) -> wire.Json:
    """What creates the effect's document, or with `current` (the record as it stands) updates it.

    Raises:
        RejectedError: If the document cannot be said in Zoho's terms.
        ProviderError: If a look-up failed.
    """
    document = effect.document
    for name in sorted(document.model_fields_set & _NO_PLACE.get(effect.kind, frozenset())):
        if getattr(document, name) is not None:
            raise RejectedError(
                f"Zoho Books has no place for the {name.replace('_', ' ')} of {_many(effect.kind)}.",
                field=name,
                next_step="Take this field out of the mapping.",
            )
    body = _write(effect, document, company, settings, current)
    if effect.operation is Operation.CREATE and effect.kind is not Kind.TIME_ENTRY:
        body["custom_fields"] = [{"api_name": settings.reference_field, "value": effect.reference}]
    return body


def _many(kind: Kind) -> str:
    return counted(2, kind.value.replace("_", " ")).removeprefix("2 ")


def params_of(effect: Effect) -> dict[str, str]:
    """What goes with the body of a new document: that Zoho does not number it where we do."""
    if isinstance(effect.document, CreditNote) or (
        isinstance(effect.document, Invoice | Estimate) and effect.document.number
    ):
        return {"ignore_auto_number_generation": "true"}
    return {}


def missing_steps(effect: Effect, row: wire.Json) -> list[str]:
    """What is left to do after the record was written: paths to post to, in order."""
    document, status = effect.document, wire.Entity.model_validate(row).status
    if isinstance(document, Invoice):
        if document.status is InvoiceStatus.VOIDED:
            return ["status/void"] if status != VOID else []
        return ["status/sent"] if is_draft(status) else []
    if isinstance(document, Estimate):
        return _estimate_steps(document.status, status)
    if not isinstance(document, Customer | Item | Project) or "active" not in document.model_fields_set:
        return []
    return ["active" if document.active else "inactive"] if document.active == (status == "inactive") else []


def _estimate_steps(wanted: EstimateStatus, status: str) -> list[str]:
    """A draft is sent before it is accepted or declined; what was accepted or declined is not sent again by us."""
    there = _TAKEN.get(status, DRAFT)
    if there == wanted:
        return []
    sent = [f"status/{EstimateStatus.SENT.value}"] if there == DRAFT else []
    return sent if sent and wanted is EstimateStatus.SENT else [*sent, f"status/{wanted.value}"]


def _write(
    effect: Effect, document: Document, company: Company, settings: Settings, current: wire.Json | None
) -> wire.Json:
    match document:
        case Customer():
            return _write_customer(document, company, settings, current)
        case Item():
            return _write_item(document, current)
        case Estimate() | Invoice() | CreditNote():
            return _write_sale(effect, document, company, current)
        case Payment():
            return _write_payment(effect, document, company, settings)
        case Project() | TimeEntry() | Expense():
            return write_service(effect, document, company, settings, current)
        case _:
            raise RejectedError(f"Zoho Books has no records of kind {effect.kind.value} that can be written.")


def _write_sale(
    effect: Effect, document: Estimate | Invoice | CreditNote, company: Company, current: wire.Json | None
) -> wire.Json:
    match document:
        case Estimate():
            return _write_estimate(effect, document, company, current)
        case Invoice():
            return _write_invoice(effect, document, company, current)
        case CreditNote():
            return _write_credit_note(effect, document, company, current)


def _write_customer(document: Customer, company: Company, settings: Settings, current: wire.Json | None) -> wire.Json:
    body = Body(document, creates=current is None)
    body.text("name", "contact_name")
    body.text("company_name", "company_name")
    body.text("website", "website")
    body.text("note", "notes")
    body.terms()
    body.address("billing_address")
    body.address("shipping_address")
    if body.has("tax_id"):
        if not settings.tax_id_field:
            raise RejectedError(
                "It is not said where this edition of Zoho Books keeps a customer's tax number.",
                field="tax_id",
                next_step="Set `tax_id_field` in the connection's settings, or take the field out of the mapping.",
            )
        body.text("tax_id", settings.tax_id_field)
    if current is None:
        body.json["contact_type"] = "customer"
        if document.currency is not None:
            body.json["currency_id"] = company.currency_id(document.currency)
    persons = _write_persons(document, current)
    return body.json | ({"contact_persons": persons} if persons else {})


def _write_persons(document: Customer, current: wire.Json | None) -> list[wire.Json]:
    """All persons of the contact, the primary one as the document says; empty if it says nothing of it.

    A person that is left out of an update would be removed, so the others are sent as they stand.
    """
    person = Body(document, creates=current is None)
    person.text("given_name", "first_name")
    person.text("family_name", "last_name")
    person.text("email", "email")
    person.text("phone", "phone")
    if person.has("contact_name") and not {"given_name", "family_name"} & document.model_fields_set:
        given, _, family = " ".join((document.contact_name or "").split()).rpartition(" ")
        person.json |= {"first_name": given or family, "last_name": family if given else ""}
    if not person.json:
        return []
    standing = wire.Contact.model_validate(current).persons if current is not None else []
    primary = _primary(standing)
    if primary is None:
        return [{**person.json, "is_primary_contact": True}]
    return [_person(each) | (person.json if each is primary else {}) for each in standing]


def _person(person: wire.ContactPerson) -> wire.Json:
    texts = {name: getattr(person, name) or "" for name in ("first_name", "last_name", "email", "phone")}
    return {"contact_person_id": person.id, **texts, "is_primary_contact": person.primary}


def _write_item(document: Item, current: wire.Json | None) -> wire.Json:
    body = Body(document, creates=current is None)
    body.text("name", "name")
    body.text("sku", "sku")
    body.text("description", "description")
    body.value("taxable", "is_taxable")
    standing = wire.Item.model_validate(current) if current is not None else None
    # Zoho asks for name and rate each time. Source: tests/data/zoho_books, UpdateZohoItemDetails, read 2026-11-22.
    price = document.price if document.price is not None else standing.rate if standing is not None else None
    body.json["rate"] = price if price is not None else Decimal(0)
    if document.cost is not None:
        body.json |= {"purchase_rate": format(document.cost, "f"), "item_type": "sales_and_purchases"}
    if document.income_account is not None:
        if not document.income_account.isdigit():
            raise RejectedError(
                "The account that an item earns to is named by its id in Zoho Books.",
                field="income_account",
                next_step="Put the account's id in the mapping: the digits at the end of its address in Zoho Books.",
            )
        body.json["account_id"] = document.income_account
    if standing is None or "type" in document.model_fields_set:
        body.json["product_type"] = "service" if document.type is ItemType.SERVICE else "goods"
    return body.json


def _write_invoice(effect: Effect, document: Invoice, company: Company, current: wire.Json | None) -> wire.Json:
    standing = wire.Invoice.model_validate(current) if current is not None else None
    if standing is not None and standing.status == VOID:
        raise RejectedError(
            "The invoice is void in Zoho Books.",
            field="status",
            next_step="Make it a draft again in Zoho Books, or leave it void and create another one.",
        )
    body = _write_sales_form(effect, document, company, standing)
    body.text("number", "invoice_number")
    body.value("due_date", "due_date")
    body.terms()
    return body.json


def _write_credit_note(effect: Effect, document: CreditNote, company: Company, current: wire.Json | None) -> wire.Json:
    """A credit note counts at once. Zoho wants its number from us. Source: tests/data/zoho_books, CreateCreditNote."""
    standing = wire.CreditNote.model_validate(current) if current is not None else None
    body = _write_sales_form(effect, document, company, standing)
    body.text("number", "creditnote_number")
    if standing is None:
        body.json |= {"creditnote_number": document.number or own_number(effect.reference), "is_draft": False}
    return body.json


def _write_estimate(effect: Effect, document: Estimate, company: Company, current: wire.Json | None) -> wire.Json:
    standing = wire.Estimate.model_validate(current) if current is not None else None
    body = _write_sales_form(effect, document, company, standing)
    body.text("number", "estimate_number")
    body.value("expiry_date", "expiry_date")
    return body.json


def _write_sales_form(
    effect: Effect, document: Estimate | Invoice | CreditNote, company: Company, standing: wire.SalesForm | None
) -> Body:
    body = Body(document, creates=standing is None)
    body.text("memo", "notes")
    body.json |= {"customer_id": document.customer, "date": document.date}
    there = standing.lines if standing is not None else []
    body.json["line_items"] = [
        _write_line(line, company, there[place] if place < len(there) else None)
        for place, line in enumerate(document.lines)
    ]
    if body.has("discount"):
        body.json |= _write_discount(document.discount)
    if standing is None:
        body.json["currency_id"] = company.currency_id(document.currency)
        body.json["reference_number"] = own_number(effect.reference)
    return body


def _write_line(line: Line, company: Company, standing: wire.Line | None) -> wire.Json:
    """A line; one that stands at its place for the same item stays the same line."""
    if line.service_on is not None:
        raise RejectedError(
            "Zoho Books has no place for the day of a line's service.",
            field="lines",
            next_step="Take `service_on` out of the mapping of `lines`.",
        )
    quantity, rate = _quantity_and_rate(line)
    body: wire.Json = {"item_id": line.item, "quantity": quantity, "rate": rate}
    if standing is not None and standing.id is not None and standing.item_id == line.item:
        body["line_item_id"] = standing.id
    if line.description is not None:
        body["description"] = line.description
    if line.tax_code is not None:
        body["tax_id"] = company.tax_id(line.tax_code, "lines")
    return body


def _quantity_and_rate(line: Line) -> tuple[Decimal, Decimal]:
    """A quantity and a rate that make the line's amount, since Zoho computes it of these two.

    Where they disagree, as after a discount of the line, the rate is what the amount makes it if that is a whole number
    of cents; else the line is one piece at its amount.
    """
    if line.unit_price is not None and rounded(line.quantity * line.unit_price) == line.amount:
        return line.quantity, line.unit_price
    if line.quantity:
        rate = rounded(line.amount / line.quantity)
        if rate * line.quantity == line.amount:
            return line.quantity, rate
    return Decimal(1), line.amount


def _write_discount(discount: Discount | None) -> wire.Json:
    """On the whole document, before tax. A percentage is a text that ends in `%`, an amount a number."""
    value: Any = Decimal(0)
    if discount is not None:
        value = f"{discount.percent:f}%" if discount.percent is not None else discount.amount
    return {"discount": value, "discount_type": "entity_level", "is_discount_before_tax": True}


def _write_payment(effect: Effect, document: Payment, company: Company, settings: Settings) -> wire.Json:
    creates = effect.operation is Operation.CREATE
    body: wire.Json = {
        "customer_id": document.customer,
        "payment_mode": settings.payment_mode,
        "amount": document.amount,
        "date": document.date,
    }
    if creates:
        company.refuse_other_currency(document.customer, document.currency)
    if creates or "number" in document.model_fields_set:
        body["reference_number"] = " ".join(filter(None, (document.number, own_number(effect.reference))))
    if creates or "allocations" in document.model_fields_set:
        body["invoices"] = [
            {"invoice_id": each.invoice, "amount_applied": each.amount} for each in document.allocations
        ]
    if creates and settings.deposit_account_id:
        body["account_id"] = settings.deposit_account_id
    return body
