"""Between Zoho Books' words and ours. No calls but the look-ups of `Company`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
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
    Invoice,
    InvoiceStatus,
    Item,
    ItemType,
    Line,
    Payment,
)
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import RejectedError
from tieout.domain.money import rounded
from tieout.domain.records import Kind, Record, Value


@dataclass(frozen=True, slots=True)
class Place:
    """Where records of a kind stand: in the address, in the answer's list, and in the answer with one."""

    path: str
    rows: str
    row: str


PLACES: Mapping[Kind, Place] = {
    Kind.CUSTOMER: Place("contacts", "contacts", "contact"),
    Kind.ITEM: Place("items", "items", "item"),
    Kind.INVOICE: Place("invoices", "invoices", "invoice"),
    Kind.CREDIT_NOTE: Place("creditnotes", "creditnotes", "creditnote"),
    Kind.PAYMENT: Place("customerpayments", "customerpayments", "payment"),
}
VOID, DRAFT = "void", "draft"
_SENT = frozenset({"sent", "viewed", "overdue", "partially_paid", "paid", "unpaid"})
_TAG = re.compile(r"\bT-([A-Z0-9]{12})$")
# What Zoho has no place for, by kind. Source: the operations' descriptions in tests/data/zoho_books, read 2026-11-22.
_NO_PLACE: Mapping[Kind, frozenset[str]] = {
    Kind.CUSTOMER: frozenset({"parent"}),
    Kind.ITEM: frozenset(),
    Kind.INVOICE: frozenset({"note", "email", "billing_address", "shipping_address"}),
    Kind.CREDIT_NOTE: frozenset({"note"}),
    Kind.PAYMENT: frozenset(),
}
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
    _, marked = split_number(entity.reference_number)
    reference = entity.custom(settings.reference_field) or marked
    return Record(
        kind,
        cast("str", getattr(entity, "id")),  # noqa: B009 - every model that is read has one, of its own name
        version=modified.isoformat() if modified is not None else "",
        edited_at=modified,
        fields=fields | ({"reference": reference} if reference else {}),
    )


def split_number(text: str | None) -> tuple[str | None, str | None]:
    """A reference number without our mark, and the reference that the mark says."""
    found = _TAG.search(text or "")
    if found is None:
        return text, None
    return (text or "")[: found.start()].strip() or None, found[1].lower()


def _shown(entity: wire.Wire, fields: Mapping[str, tuple[str, Value]]) -> dict[str, Value]:
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
    Kind.INVOICE: _read_invoice,
    Kind.CREDIT_NOTE: _read_credit_note,
    Kind.PAYMENT: _read_payment,
}


def _read_sales_form(form: wire.Invoice | wire.CreditNote) -> dict[str, Value]:
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
                f"Zoho Books has no place for the {name.replace('_', ' ')} of {effect.kind.value.replace('_', ' ')}s.",
                field=name,
                next_step="Take this field out of the mapping.",
            )
    body = _write(effect, document, company, settings, current)
    if effect.operation is Operation.CREATE:
        body["custom_fields"] = [{"api_name": settings.reference_field, "value": effect.reference}]
    return body


def params_of(effect: Effect) -> dict[str, str]:
    """What goes with the body of a new document: that Zoho does not number it where we do."""
    if isinstance(effect.document, CreditNote) or (isinstance(effect.document, Invoice) and effect.document.number):
        return {"ignore_auto_number_generation": "true"}
    return {}


def missing_steps(effect: Effect, row: wire.Json) -> list[str]:
    """What is left to do after the record was written: paths to post to, in order."""
    document, status = effect.document, wire.Entity.model_validate(row).status
    if isinstance(document, Invoice):
        if document.status is InvoiceStatus.VOIDED:
            return ["status/void"] if status != VOID else []
        return ["status/sent"] if is_draft(status) else []
    if not isinstance(document, Customer | Item) or "active" not in document.model_fields_set:
        return []
    return ["active" if document.active else "inactive"] if document.active == (status == "inactive") else []


def _write(
    effect: Effect, document: Document, company: Company, settings: Settings, current: wire.Json | None
) -> wire.Json:
    match document:
        case Customer():
            return _write_customer(document, company, settings, current)
        case Item():
            return _write_item(document, current)
        case Invoice():
            return _write_invoice(effect, document, company, current)
        case CreditNote():
            return _write_credit_note(effect, document, company, current)
        case Payment():
            return _write_payment(effect, document, company, settings)
        case _:
            raise RejectedError(f"Zoho Books has no records of kind {effect.kind.value} that can be written.")


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


def _write_sales_form(
    effect: Effect, document: Invoice | CreditNote, company: Company, standing: wire.SalesForm | None
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
        body["tax_id"] = company.tax_id(line.tax_code)
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
