"""Between Zoho Books' words and ours. No calls but the look-ups of `Company`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, cast

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.company import Company
from tieout.connectors.zoho_books.manifest import Settings
from tieout.domain.documents import (
    Address,
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
    ProjectBilling,
    TimeEntry,
)
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import RejectedError
from tieout.domain.money import rounded
from tieout.domain.records import Kind, Record, Value
from tieout.domain.words import counted
from tieout.transport.wire import Wire


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
_TAG = re.compile(r"\bT-([A-Z0-9]{12})$")
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
FIXED, BY_HOUR, BY_PERSON = "fixed_cost_for_project", "based_on_project_hours", "based_on_staff_hours"
_CENT, _MINUTES = Decimal("0.01"), 60
# Zoho's own names of countries, where they are none of ISO 3166's.
_ZOHO_COUNTRIES = {"U.S.A": "US", "U.S.A.": "US", "U.K": "GB", "U.K.": "GB", "United Kingdom": "GB"}
_TAX_FIELDS = ("gst_no", "vat_reg_no", "tax_reg_no")


def own_number(reference: str) -> str:
    """Our mark in a reference number, which lists show and can be asked for: 14 characters of the 100 allowed."""
    return f"T-{reference.upper()}"


def same_name(name: str) -> str:
    """Equal for names that are the same but for case and spaces."""
    return " ".join(name.split()).casefold()


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


def split_number(text: str | None) -> tuple[str | None, str | None]:
    """A reference number without our mark, and the reference that the mark says."""
    found = _TAG.search(text or "")
    if found is None:
        return text, None
    return (text or "")[: found.start()].strip() or None, found[1].lower()


def _shown(entity: Wire, fields: Mapping[str, tuple[str, Value]]) -> dict[str, Value]:
    """Those of the fields whose model field (the first of the pair) the row shows."""
    return {name: value for name, (source, value) in fields.items() if source in entity.model_fields_set}


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
        "billing_address": ("billing_address", _read_address(contact.billing_address)),
        "shipping_address": ("shipping_address", _read_address(contact.shipping_address)),
        "note": ("notes", contact.notes),
    }
    fields: dict[str, Value] = {"name": contact.name, "active": contact.status != "inactive"}
    fields |= _shown(contact, cast("Mapping[str, tuple[str, Value]]", optional))
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
    return item, fields | _shown(item, optional)


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
    return invoice, fields | _shown(invoice, {"terms": ("terms", invoice.terms)})


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


def _read_project(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    project = wire.Project.model_validate(row)
    billing = ProjectBilling.FIXED if project.billing_type == FIXED else ProjectBilling.HOURLY
    optional: dict[str, tuple[str, Value]] = {
        "billing": ("billing_type", billing.value),
        "rate": ("rate", project.rate),
        "currency": ("currency_code", project.currency_code),
        "description": ("description", split_number(project.description)[0]),
    }
    fields: dict[str, Value] = {
        "name": project.name,
        "customer": project.customer_id,
        "active": project.status != "inactive",
    }
    return project, fields | _shown(project, optional)


def _read_time_entry(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    entry = wire.TimeEntry.model_validate(row)
    note, _ = split_number(entry.notes)
    hours, _, minutes = entry.log_time.partition(":")
    return entry, {
        "project": entry.project_id,
        "date": entry.log_date,
        "hours": (int(hours or 0) + Decimal(minutes or 0) / _MINUTES).quantize(_CENT, ROUND_HALF_UP),
        "task": entry.task_name,
        "note": note,
        "billable": entry.billable,
    }


def _read_expense(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    expense = wire.Expense.model_validate(row)
    number, _ = split_number(expense.reference_number)
    without_tax = expense.sub_total is not None and expense.inclusive is False
    fields: dict[str, Value] = {
        "date": expense.date,
        "currency": expense.currency_code,
        "amount": (expense.sub_total if without_tax else expense.total) or Decimal(0),
        "number": number,
        "customer": expense.customer_id,
    }
    optional: dict[str, tuple[str, Value]] = {
        "account": ("account_id", expense.account_id),
        "paid_through": ("paid_through_account_id", expense.paid_through_account_id),
        "project": ("project_id", expense.project_id),
        "description": ("description", expense.description),
        "tax_code": ("tax_id", expense.tax_id),
        "tax_included": ("inclusive", expense.inclusive),
        "billable": ("billable", expense.billable),
    }
    return expense, fields | _shown(expense, optional)


_READERS: Mapping[Kind, Callable[[wire.Json], tuple[wire.Entity, dict[str, Value]]]] = {
    Kind.CUSTOMER: _read_customer,
    Kind.ITEM: _read_item,
    Kind.ESTIMATE: _read_estimate,
    Kind.INVOICE: _read_invoice,
    Kind.CREDIT_NOTE: _read_credit_note,
    Kind.PAYMENT: _read_payment,
    Kind.PROJECT: _read_project,
    Kind.TIME_ENTRY: _read_time_entry,
    Kind.EXPENSE: _read_expense,
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
    return fields | _shown(form, optional)


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


def _read_address(address: wire.Address | None) -> dict[str, Value] | None:
    if address is None:
        return None
    line2, _, line3 = (address.street2 or "").partition("\n")
    fields: dict[str, Value] = {
        "line1": address.address,
        "line2": line2 or None,
        "line3": line3 or None,
        "city": address.city,
        "state": address.state,
        "postal_code": address.zip,
        "country": _country_code(address.country),
    }
    return fields if any(value is not None for value in fields.values()) else None


def _country_code(name: str | None) -> str | None:
    """The country as ISO 3166 alpha-2; as it was written if it is none."""
    if not name:
        return None
    import iso3166  # noqa: PLC0415 - only addresses need it

    country = iso3166.countries.get(_ZOHO_COUNTRIES.get(name, name), None)
    if country is None:
        country = iso3166.countries_by_apolitical_name.get(name.upper())
    return country.alpha2 if country is not None else name


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
            return _write_service(effect, document, company, settings, current)
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


def _write_service(
    effect: Effect,
    document: Project | TimeEntry | Expense,
    company: Company,
    settings: Settings,
    current: wire.Json | None,
) -> wire.Json:
    match document:
        case Project():
            return _write_project(effect, document, company, settings, current)
        case TimeEntry():
            return _write_time_entry(effect, document, company, settings)
        case Expense():
            return _write_expense(effect, document, company, settings)


class _Body:
    """Collects what was given: absent stays out, and None empties on an update."""

    def __init__(self, document: Document, *, creates: bool) -> None:
        self._creates = creates
        self._given = {name: getattr(document, name) for name in document.model_fields_set}
        self.json: wire.Json = {}

    def has(self, name: str) -> bool:
        """True if the field is to be written: given, and not empty in a new record."""
        return name in self._given and not (self._creates and self._given[name] is None)

    def text(self, name: str, theirs: str) -> None:
        """A text; None is written as the empty text, which empties it."""
        if self.has(name):
            self.json[theirs] = self._given[name] if self._given[name] is not None else ""

    def value(self, name: str, theirs: str) -> None:
        """A number, truth or date; None leaves it alone, as Zoho knows no empty one."""
        if self._given.get(name) is not None:
            self.json[theirs] = self._given[name]

    def terms(self) -> None:
        """Payment terms, which are a number of days with a label."""
        if self._given.get("terms") is not None:
            self.json |= _write_terms(self._given["terms"])

    def address(self, name: str) -> None:
        """An address, which is always written whole."""
        if self.has(name):
            self.json[name] = _write_address(self._given[name])


def _write_customer(document: Customer, company: Company, settings: Settings, current: wire.Json | None) -> wire.Json:
    body = _Body(document, creates=current is None)
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
    person = _Body(document, creates=current is None)
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
    body = _Body(document, creates=current is None)
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
) -> _Body:
    body = _Body(document, creates=standing is None)
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


def _write_project(
    effect: Effect, document: Project, company: Company, settings: Settings, current: wire.Json | None
) -> wire.Json:
    """Zoho asks for who works on a new project, and an update says one of them again.

    Our mark stands at the end of the description, as lists show nothing else of ours.
    Source: tests/data/zoho_books, CreateProject, read 2026-11-22.
    """
    body: wire.Json = {"project_name": document.name, "customer_id": document.customer}
    by_hour = BY_HOUR if document.rate is not None else BY_PERSON
    body["billing_type"] = FIXED if document.billing is ProjectBilling.FIXED else by_hour
    if document.rate is not None:
        body["rate"] = format(document.rate, "f")
    if current is None or "description" in document.model_fields_set:
        body["description"] = " ".join(filter(None, (document.description, own_number(effect.reference))))
    if current is not None:
        users = wire.Project.model_validate(current).users
        return body | {"user_id": users[0].id if users else company.own_user_id()}
    if document.currency is not None:
        company.refuse_other_currency(document.customer, document.currency)
    return body | {"user_id": company.own_user_id(), "tasks": [{"task_name": settings.task}]}


def _write_time_entry(effect: Effect, document: TimeEntry, company: Company, settings: Settings) -> wire.Json:
    """Our mark stands at the end of the notes, as hours have no reference number and no field of ours."""
    log_time = _log_time(document.hours)
    project = company.project(document.project)
    body: wire.Json = {
        "project_id": project.id,
        "task_id": company.task_id(project, document.task or settings.task),
        "user_id": company.member_id(project, document.person),
        "log_date": document.date,
        "log_time": log_time,
        "notes": " ".join(filter(None, (document.note, own_number(effect.reference)))),
    }
    return body | ({"is_billable": document.billable} if document.billable is not None else {})


def _log_time(hours: Decimal) -> str:
    """`01:15` for 1.25 hours.

    Raises:
        RejectedError: If the hours are not what a number of minutes is in hundredths of an hour.
    """
    minutes = int((hours * _MINUTES).quantize(Decimal(1), ROUND_HALF_UP))
    if (Decimal(minutes) / _MINUTES).quantize(_CENT, ROUND_HALF_UP) != hours:
        raise RejectedError(
            f"Zoho Books counts minutes, and {hours:f} hours are no number of minutes.",
            field="hours",
            next_step="Give the hours with two decimals: 0.33 for 20 minutes, 1.25 for an hour and a quarter.",
        )
    return f"{minutes // _MINUTES:02}:{minutes % _MINUTES:02}"


def _write_expense(effect: Effect, document: Expense, company: Company, settings: Settings) -> wire.Json:
    paid_through = document.paid_through or settings.expense_account_id
    for field, account in (("account", document.account), ("paid_through", paid_through)):
        if not account.isdigit():
            raise RejectedError(
                "An expense's account, and the one that it was paid from, are named by their ids in Zoho Books.",
                field=field,
                next_step="Put the account's id in the mapping, by a `lookup` of the category: the digits at the end "
                "of its address in Zoho Books. `expense_account_id` of the connection says what they are paid from.",
            )
    creates = effect.operation is Operation.CREATE
    body = _Body(document, creates=creates)
    body.text("description", "description")
    body.text("customer", "customer_id")
    body.text("project", "project_id")
    body.value("billable", "is_billable")
    body.value("tax_included", "is_inclusive_tax")
    if document.tax_code is not None:
        body.json["tax_id"] = company.tax_id(document.tax_code, "tax_code")
    if creates:
        body.json["currency_id"] = company.currency_id(document.currency)
    if creates or body.has("number"):
        body.json["reference_number"] = " ".join(filter(None, (document.number, own_number(effect.reference))))
    return {
        "date": document.date,
        "account_id": document.account,
        "paid_through_account_id": paid_through,
        "amount": document.amount,
        **body.json,
    }


def _write_terms(terms: str) -> wire.Json:
    """`Net 30` are 30 days, `Due on Receipt` none.

    Raises:
        RejectedError: If the terms do not say how many days.
    """
    days = re.findall(r"\d+", terms)
    if len(days) == 1:
        return {"payment_terms": int(days[0]), "payment_terms_label": terms}
    if same_name(terms) == "due on receipt":
        return {"payment_terms": 0, "payment_terms_label": "Due on Receipt"}
    raise RejectedError(
        f"Zoho Books counts payment terms in days, and `{terms}` does not say how many.",
        field="terms",
        next_step="Let the mapping of `terms` say the days, such as `Net 30`.",
    )


def _write_address(address: Address | None) -> wire.Json:
    given = address if address is not None else Address()
    return {
        "address": given.line1 or "",
        "street2": "\n".join(part for part in (given.line2, given.line3) if part),
        "city": given.city or "",
        "state": given.state or "",
        "zip": given.postal_code or "",
        "country": _country_name(given.country),
    }


def _country_name(code: str | None) -> str:
    import iso3166  # noqa: PLC0415 - only addresses need it

    country = iso3166.countries.get(code, None) if code else None
    return country.apolitical_name if country is not None else code or ""
