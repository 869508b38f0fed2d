"""From Tryton's rows to our records: which fields are read, and what they mean. No calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tieout.connectors.tryton import notes
from tieout.connectors.tryton.wire import Row, decimal
from tieout.domain.documents import InvoiceStatus, ItemType
from tieout.domain.money import rounded
from tieout.domain.records import Kind, Record, Value

PARTY, TEMPLATE, PRODUCT = "party.party", "product.template", "product.product"
INVOICE, MOVE_LINE, OPPORTUNITY = "account.invoice", "account.move.line", "sale.opportunity"

DRAFTED = ("draft", "validated")
NO_TAX = "NON"
_TAG = re.compile(r"\s*\[tieout:([a-z0-9]{12})\]")
_DISCOUNT_NOTE = re.compile(r"\[tieout:discount(?: ([0-9.]+)%)?\]")
_STAMPS = ("_timestamp", "create_date", "write_date")
_ADDRESS = ("street", "city", "postal_code", "country.code", "subdivision.code", "attn", "party_name")
_PRODUCT = ("code", "suffix_code", "description", "active", "template.name", "template.list_price", "template.type")
_INVOICE = [
    "state",
    "number",
    "reference",
    "party",
    "currency.code",
    "invoice_date",
    "payment_term_date",
    "payment_term.name",
    "comment",
    "description",
    "total_amount",
    "tax_amount",
    "amount_to_pay",
    "payment_lines",
    "lines_to_pay",
    "lines.type",
    "lines.product",
    "lines.description",
    "lines.quantity",
    "lines.unit_price",
    "lines.amount",
    "lines.note",
    "lines.taxes.name",
    "write_uid.rec_name",
]


@dataclass(frozen=True, slots=True)
class Source:
    """How a kind is read.

    Attributes:
        model, domain, fields: What is asked for.
        parts: Paths of records whose change is a change of this one; their own dates are not the whole's.
        inactive: True if the model has records that are switched off; they are read too.
    """

    model: str
    domain: tuple[Any, ...]
    fields: tuple[str, ...]
    parts: tuple[str, ...] = ()
    inactive: bool = False

    @property
    def asked(self) -> list[str]:
        """The fields, with the times of the record and of its parts."""
        stamps = [f"{part}.{stamp}" for part in self.parts for stamp in _STAMPS]
        return [*self.fields, *_STAMPS, *stamps, "write_uid.rec_name"]

    def since(self, moment: datetime) -> list[Any]:
        """A condition: the record or a part of it was made or changed at this moment or later.

        Older releases set `write_date` at the first change only, so both dates are asked for.
        """
        paths = ["", *(f"{part}." for part in self.parts)]
        return ["OR", *([f"{path}{name}", ">=", moment] for path in paths for name in ("write_date", "create_date"))]


_PARTY = Source(
    PARTY,
    (),
    (
        *("name", "code", "active", "customer_payment_term.name", "identifiers.type", "identifiers.code"),
        *("contact_mechanisms.type", "contact_mechanisms.value", *(f"addresses.{name}" for name in _ADDRESS)),
    ),
    ("addresses", "contact_mechanisms", "identifiers"),
    inactive=True,
)
_GOODS = Source(PRODUCT, (), _PRODUCT, ("template",), inactive=True)
_PAYMENT = [
    "date",
    "debit",
    "credit",
    "amount_second_currency",
    "second_currency.code",
    "party",
    "move.number",
    "invoice_payments.currency.code",
]

# What is owed to the customer is an invoice of a negative total. Source: the account_invoice module's `_credit`,
# 8.2.0, read 2026-11-22: a credit note is an invoice of the same type with negative quantities.
SOURCES: Mapping[Kind, Source] = {
    Kind.CUSTOMER: _PARTY,
    Kind.COMPANY: _PARTY,
    Kind.ITEM: _GOODS,
    Kind.PRODUCT: _GOODS,
    Kind.INVOICE: Source(INVOICE, (["type", "=", "out"], ["total_amount", ">=", Decimal(0)]), tuple(_INVOICE)),
    Kind.CREDIT_NOTE: Source(INVOICE, (["type", "=", "out"], ["total_amount", "<", Decimal(0)]), tuple(_INVOICE)),
    Kind.PAYMENT: Source(MOVE_LINE, (["invoice_payments.type", "=", "out"],), tuple(_PAYMENT)),
    Kind.DEAL: Source(
        OPPORTUNITY,
        (),
        (
            *("number", "reference", "description", "state", "amount", "start_date", "end_date", "party.name"),
            *("contact.name", "employee.rec_name", "lines.product", "lines.product.rec_name", "lines.product.code"),
            *("lines.product.template.name", "lines.product.template.list_price", "lines.quantity", "notes.message"),
        ),
        ("lines",),
    ),
}


def tag(reference: str) -> str:
    """Our mark."""
    return f"[tieout:{reference}]"


def to_record(kind: Kind, row: Row, *, currency: str, moves: Mapping[int, Row] | None = None) -> Record:
    """The record in our words; `currency` is the company's, and `moves` are ledger lines by id that invoices name.

    Raises:
        ValueError: If the row is not of the form that we know.
    """
    try:
        fields = _READERS[kind](row, currency, moves or {})
        return Record(
            kind,
            str(row["id"]),
            version=version_of(kind, row),
            edited_at=edited_at(kind, row),
            fields=fields,
            edited_by=_name(row.get("write_uid."), "rec_name") or "",
        )
    except (KeyError, TypeError, AttributeError, ArithmeticError):
        raise ValueError(f"a {kind.value} of another form") from None


def parts_of(kind: Kind, row: Row) -> list[Row]:
    """The records whose change is a change of this one."""
    found = [row.get(f"{part}.") for part in SOURCES[kind].parts]
    return [each for some in found for each in (some if isinstance(some, list) else [some]) if isinstance(each, dict)]


def version_of(kind: Kind, row: Row) -> str:
    """The record's own version; with parts also the newest of theirs, and how many there are."""
    parts = parts_of(kind, row)
    own = str(row["_timestamp"])
    return "/".join((own, max(str(part["_timestamp"]) for part in parts), str(len(parts)))) if parts else own


def edited_at(kind: Kind, row: Row) -> datetime | None:
    """When the record or a part of it was changed last."""
    times = [each.get(name) for each in (row, *parts_of(kind, row)) for name in ("write_date", "create_date")]
    return max((time for time in times if isinstance(time, datetime)), default=None)


def reference_of(row: Row) -> str | None:
    """Our reference on an invoice; None if it bears none."""
    found = _TAG.search(row.get("reference") or "")
    return found[1] if found else None


def reference_of_party(row: Row) -> str | None:
    """Our reference on a party; None if it bears none."""
    return next((found[1] for one in row["identifiers."] if (found := _TAG.fullmatch(one["code"]))), None)


# ---- parties ----


def _read_customer(row: Row, currency: str, _: Mapping[int, Row]) -> dict[str, Value]:
    address = _first_address(row)
    ours = reference_of_party(row)
    fields: dict[str, Value] = {
        "name": row["name"],
        "company_name": address.get("party_name") or row["name"],
        "contact_name": address.get("attn") or None,
        "email": _mechanism(row, "email"),
        "phone": _mechanism(row, "phone", "mobile"),
        "website": _mechanism(row, "website"),
        "tax_id": _tax_id(row),
        "currency": currency,
        "terms": _name(row.get("customer_payment_term.")),
        "billing_address": _address(address),
        "active": bool(row["active"]),
    }
    return fields | ({"reference": ours} if ours else {})


def _read_company(row: Row, _: str, __: Mapping[int, Row]) -> dict[str, Value]:
    address = _first_address(row)
    mail, phone, person = _mechanism(row, "email"), _mechanism(row, "phone", "mobile"), address.get("attn") or None
    contact: dict[str, Value] | None = {"name": person, "email": mail, "phone": phone} if mail or person else None
    return {
        "name": row["name"],
        "phone": phone,
        "website": _mechanism(row, "website"),
        "address": _address(address),
        "billing_address": _address(address),
        "contact": contact,
        "custom_fields": {"code": row["code"], "tax_id": _tax_id(row)},
    }


def _first_address(row: Row) -> Row:
    return next(iter(row["addresses."]), {})


def _mechanism(row: Row, *types: str) -> str | None:
    return next((one["value"] for one in row["contact_mechanisms."] if one["type"] in types), None) or None


def _tax_id(row: Row) -> str | None:
    """A number of a known type first, then one without a type that is not our mark."""
    typed = [one["code"] for one in row["identifiers."] if one["type"]]
    plain = [one["code"] for one in row["identifiers."] if not one["type"] and not _TAG.fullmatch(one["code"])]
    return next(iter([*typed, *plain]), None)


def _address(row: Row) -> dict[str, Value] | None:
    lines = [line.strip() for line in (row.get("street") or "").splitlines()] + [""] * 3
    country = _name(row.get("country."), "code")
    state = _name(row.get("subdivision."), "code")
    fields: dict[str, Value] = {
        "line1": lines[0] or None,
        "line2": lines[1] or None,
        "line3": " ".join(filter(None, lines[2:])) or None,
        "city": row.get("city") or None,
        "state": state.removeprefix(f"{country}-") if state else None,
        "postal_code": row.get("postal_code") or None,
        "country": country,
    }
    return fields if any(value is not None for value in fields.values()) else None


# ---- goods ----


def _read_item(row: Row, _: str, __: Mapping[int, Row]) -> dict[str, Value]:
    template = row["template."]
    kind = ItemType.NON_INVENTORY.value if template["type"] == "goods" else str(template["type"])
    return {
        "name": template["name"],
        "sku": row["code"] or None,
        "type": kind,
        "description": row["description"] or None,
        "price": template["list_price"],
        "active": bool(row["active"]),
    }


def _read_product(row: Row, _: str, __: Mapping[int, Row]) -> dict[str, Value]:
    template = row["template."]
    return {
        "name": template["name"],
        "sku": row["code"] or None,
        "price": template["list_price"],
        "description": row["description"] or None,
        "custom_fields": {"type": template["type"]},
    }


# ---- invoices and what is paid ----


def _read_invoice(row: Row, _: str, moves: Mapping[int, Row]) -> dict[str, Value]:
    total, to_pay = decimal(row["total_amount"]), decimal(row["amount_to_pay"])
    voided, drafted = row["state"] == "cancelled", is_draft(row)
    balance = total if drafted else to_pay
    dates = [on for line in row["payment_lines"] if isinstance(on := moves.get(line, {}).get("date"), date)]
    return _sales_form(row, Decimal(1)) | {
        "status": InvoiceStatus.VOIDED.value if voided else "draft" if drafted else InvoiceStatus.ISSUED.value,
        "due_date": _due_date(row, moves),
        "terms": _name(row.get("payment_term.")),
        "balance": balance,
        "paid": Decimal(0) if voided else total - balance,
        "state": "voided" if voided else _state(row, total, balance),
        "payment_ids": [str(line) for line in row["payment_lines"]],
        "last_payment_on": max(dates) if dates else None,
    }


def _read_credit_note(row: Row, _: str, __: Mapping[int, Row]) -> dict[str, Value]:
    fields = _sales_form(row, Decimal(-1))
    voided = row["state"] == "cancelled"
    return fields | {"balance": -decimal(row["amount_to_pay"]), "state": "voided" if voided else row["state"]}


def is_draft(row: Row) -> bool:
    """True for an invoice that is not in the ledger yet."""
    return row["state"] in DRAFTED


def _state(row: Row, total: Decimal, balance: Decimal) -> str:
    if row["state"] == "paid":
        return "paid"
    return "open" if balance == total else "partly_paid"


def _due_date(row: Row, moves: Mapping[int, Row]) -> date | None:
    """When the last part of it is due: the ledger knows once it is posted."""
    dates = [on for line in row["lines_to_pay"] if isinstance(on := moves.get(line, {}).get("maturity_date"), date)]
    if dates:
        return max(dates)
    stated = row["payment_term_date"]
    return stated if isinstance(stated, date) and not row.get("payment_term.") else None


def _sales_form(row: Row, sign: Decimal) -> dict[str, Value]:
    sold = [line for line in row["lines."] if line["type"] == "line"]
    given = _TAG.sub("", row["reference"] or "").strip() if reference_of(row) else ""
    reference = reference_of(row)
    fields: dict[str, Value] = {
        "customer": str(row["party"]),
        "number": given or row["number"] or None,
        "date": row["invoice_date"],
        "currency": row["currency."]["code"],
        "lines": [_line(line, sign) for line in sold if _discount(line, sign) is None],
        "discount": next((found for line in sold if (found := _discount(line, sign)) is not None), None),
        "tax_total": sign * decimal(row["tax_amount"]),
        "memo": row["comment"] or None,
        "note": row["description"] or None,
        "total": sign * decimal(row["total_amount"]),
        "ledger_number": row["number"] or None,
    }
    return fields | ({"reference": reference} if reference else {})


def _line(line: Row, sign: Decimal) -> dict[str, Value]:
    taxes = [each["name"] for each in line["taxes."] or []]
    return {
        "item": str(line["product"]) if line["product"] else None,
        "description": line["description"] or None,
        "quantity": sign * decimal(line["quantity"]),
        "unit_price": line["unit_price"],
        "amount": sign * decimal(line["amount"]),
        "tax_code": ", ".join(taxes) or NO_TAX,
        "service_on": None,
    }


def _discount(line: Row, sign: Decimal) -> dict[str, Value] | None:
    found = _DISCOUNT_NOTE.fullmatch((line["note"] or "").strip())
    if found is None:
        return None
    return {"percent": Decimal(found[1])} if found[1] else {"amount": -sign * decimal(line["amount"])}


def _read_payment(row: Row, currency: str, _: Mapping[int, Row]) -> dict[str, Value]:
    second = _name(row.get("second_currency."), "code")
    moved = decimal(row["credit"]) - decimal(row["debit"])
    amount = -decimal(row["amount_second_currency"]) if second else moved
    invoices = [str(each["id"]) for each in row["invoice_payments."]]
    allocations: list[Value] = [{"invoice": each, "amount": amount} for each in invoices]
    return {
        "customer": str(row["party"]) if row["party"] else None,
        "date": row["date"],
        "currency": second or currency,
        "amount": amount,
        "number": _name(row.get("move."), "number"),
        "allocations": allocations,
        "invoice_ids": invoices,
    }


# ---- deals ----

_STATUS = {"won": "won", "lost": "lost", "cancelled": "lost"}


def _read_deal(row: Row, _: str, __: Mapping[int, Row]) -> dict[str, Value]:
    party, contact = row.get("party."), row.get("contact.")
    return {
        "name": row["description"] or row["number"],
        "status": _STATUS.get(row["state"], "open"),
        "stage": row["state"],
        "amount": row["amount"],
        "opened_on": row["start_date"],
        "expected_close_on": None,
        "closed_on": row["end_date"],
        "source_id": row["number"],
        "owner": _name(row.get("employee."), "rec_name"),
        "companies": _named([party]),
        "contacts": _named([contact]),
        "custom_fields": {"reference": row["reference"], **notes.shown(row["notes."])},
        "lines": [_deal_line(line) for line in row["lines."]],
    }


def _deal_line(line: Row) -> dict[str, Value]:
    """A line has no price of its own: its product's list price counts."""
    product = line.get("product.") or {}
    template = product.get("template.") or {}
    quantity, price = decimal(line["quantity"]), template.get("list_price")
    return {
        "product_id": str(line["product"]) if line["product"] else None,
        "name": template.get("name"),
        "sku": product.get("code") or None,
        "quantity": quantity,
        "unit_price": price,
        "discount_percent": None,
        "amount": rounded(quantity * price) if price is not None else None,
    }


def _named(rows: Iterable[Row | None]) -> Sequence[Value]:
    return [{"id": str(row["id"]), "name": row["name"]} for row in rows if row]


def _name(row: Row | None, field: str = "name") -> str | None:
    return row.get(field) or None if row else None


_READERS: Mapping[Kind, Callable[[Row, str, Mapping[int, Row]], dict[str, Value]]] = {
    Kind.CUSTOMER: _read_customer,
    Kind.COMPANY: _read_company,
    Kind.ITEM: _read_item,
    Kind.PRODUCT: _read_product,
    Kind.INVOICE: _read_invoice,
    Kind.CREDIT_NOTE: _read_credit_note,
    Kind.PAYMENT: _read_payment,
    Kind.DEAL: _read_deal,
}
