"""Between QuickBooks Desktop's words and ours. No calls but the look-ups of `Company`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast
from xml.etree.ElementTree import Element

from tieout.connectors.quickbooks_desktop.company import Company
from tieout.connectors.quickbooks_desktop.qbxml import (
    Ask,
    Json,
    UnreadableError,
    date_of,
    decimal_of,
    fits,
    flag_of,
    moment_of,
    text_of,
)
from tieout.connectors.quickbooks_desktop.schema import length_max
from tieout.domain.documents import (
    Address,
    CreditNote,
    Customer,
    Discount,
    Document,
    Estimate,
    EstimateStatus,
    Invoice,
    InvoiceStatus,
    Item,
    ItemType,
    Line,
    less_discount,
)
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import RejectedError
from tieout.domain.money import CENT, rounded
from tieout.domain.records import Kind, Record, Value

ENTITIES: Mapping[Kind, str] = {
    Kind.CUSTOMER: "Customer",
    Kind.ITEM: "Item",
    Kind.INVOICE: "Invoice",
    Kind.CREDIT_NOTE: "CreditMemo",
    Kind.ESTIMATE: "Estimate",
    Kind.PAYMENT: "ReceivePayment",
}
LISTS = frozenset({Kind.CUSTOMER, Kind.ITEM})
# Kinds of item that a line can sell; the others are discounts, subtotals, taxes and payments.
SOLD = ("ItemService", "ItemNonInventory", "ItemInventory", "ItemInventoryAssembly", "ItemOtherCharge", "ItemGroup")

_TAG = re.compile(r"\n?\[tieout:([a-z0-9]{12})( accepted)?\]")
_ITEMS: Mapping[ItemType, str] = {ItemType.SERVICE: "ItemService", ItemType.NON_INVENTORY: "ItemNonInventory"}
_OUR_TYPES = {name: kind.value for kind, name in _ITEMS.items()}
_ADDRESS = {
    "line1": "Addr1",
    "line2": "Addr2",
    "line3": "Addr3",
    "city": "City",
    "state": "State",
    "postal_code": "PostalCode",
    "country": "Country",
}
_TAX_CODES = {"TAX": "Tax", "NON": "Non"}
_OUR_TAX_CODES = {theirs.lower(): ours for ours, theirs in _TAX_CODES.items()}
# QuickBooks' rates have five decimals. Source: users' reports, read 2026-11-22.
_RATE_UNIT = Decimal("0.00001")
_VOID_MARK = "VOID:"
_OF_PERCENT = re.compile(r"Discount ([0-9.]{1,12})%")
_NO_PLACE = {
    "website": "a web address of a customer",
    "email": "an e-mail address of its own on an invoice: it takes the customer's",
}


def tag(reference: str, *, accepted: bool = False) -> str:
    """Our mark in a note; QuickBooks has no place to say that an estimate was accepted."""
    return f"[tieout:{reference}{' accepted' if accepted else ''}]"


def same_name(name: str) -> str:
    """Equal for names that are the same but for case and spaces."""
    return " ".join(name.split()).casefold()


def is_sold(element: Element) -> bool:
    """False for items that no line can sell."""
    return not element.tag.startswith("Item") or element.tag.removesuffix("Ret") in SOLD


# ---- from QuickBooks ----


def to_record(kind: Kind, element: Element, company: Company) -> Record:
    """The record in our words.

    Raises:
        UnreadableError: If it is not of the form that we know.
    """
    record_id = text_of(element, "ListID" if kind in LISTS else "TxnID")
    version = text_of(element, "EditSequence")
    if record_id is None or version is None:
        raise UnreadableError("a record has no id or no edit sequence")
    edited = moment_of(element, "TimeModified")
    # An offset that QuickBooks does not tell would be a guess: it is the zone of a computer that we do not know.
    edited_at = edited.astimezone(dt.UTC) if edited is not None and edited.tzinfo is not None else None
    return Record(kind, record_id, version=version, edited_at=edited_at, fields=_READERS[kind](element, company))


def _read_customer(element: Element, company: Company) -> dict[str, Value]:
    note, reference, _ = _split_note(text_of(element, "Notes"))
    return {
        "name": text_of(element, "Name"),
        "parent": text_of(element, "ParentRef/ListID"),
        "company_name": text_of(element, "CompanyName"),
        "contact_name": text_of(element, "Contact"),
        "given_name": text_of(element, "FirstName"),
        "family_name": text_of(element, "LastName"),
        "email": text_of(element, "Email"),
        "phone": text_of(element, "Phone"),
        "tax_id": text_of(element, "ResaleNumber"),
        "currency": company.currency_of(text_of(element, "CurrencyRef/FullName")),
        "terms": text_of(element, "TermsRef/FullName"),
        "billing_address": _read_address(element.find("BillAddress")),
        "shipping_address": _read_address(element.find("ShipAddress")),
        "note": note,
        "active": flag_of(element, "IsActive") is not False,
    } | reference


def _read_item(element: Element, company: Company) -> dict[str, Value]:  # noqa: ARG001 - readers have one form
    kind = element.tag.removesuffix("Ret")
    both = element.find("SalesAndPurchase") is not None
    code = text_of(element, "SalesTaxCodeRef/FullName")
    paths = {
        "description": ("SalesAndPurchase/SalesDesc", "SalesOrPurchase/Desc", "SalesDesc", "ItemDesc"),
        "income_account": (
            "SalesAndPurchase/IncomeAccountRef/FullName",
            "SalesOrPurchase/AccountRef/FullName",
            "IncomeAccountRef/FullName",
        ),
        "sku": ("ManufacturerPartNumber",),
    }
    fields: dict[str, Value] = {
        field: next((text for path in some if (text := text_of(element, path))), None) for field, some in paths.items()
    }
    price = decimal_of(element, "SalesAndPurchase/SalesPrice" if both else "SalesOrPurchase/Price")
    return fields | {
        "name": text_of(element, "Name"),
        "type": _OUR_TYPES.get(kind, _snake(kind.removeprefix("Item"))),
        "price": price if price is not None else decimal_of(element, "SalesPrice"),
        "cost": decimal_of(element, "SalesAndPurchase/PurchaseCost" if both else "PurchaseCost"),
        "taxable": None if code is None else code.lower() != "non",
        "active": flag_of(element, "IsActive") is not False,
    }


def _read_invoice(element: Element, company: Company) -> dict[str, Value]:
    form = _read_sales_form(element, company)
    total = (decimal_of(element, "Subtotal") or Decimal(0)) + (decimal_of(element, "SalesTaxTotal") or Decimal(0))
    balance = decimal_of(element, "BalanceRemaining") or Decimal(0)
    voided = total == 0 and (text_of(element, "Memo") or "").startswith(_VOID_MARK)
    paid_on = [
        day
        for each in element.findall("LinkedTxn")
        if text_of(each, "TxnType") == "ReceivePayment" and (day := date_of(each, "TxnDate")) is not None
    ]
    return form | {
        "due_date": date_of(element, "DueDate"),
        "terms": text_of(element, "TermsRef/FullName"),
        "billing_address": _read_address(element.find("BillAddress")),
        "shipping_address": _read_address(element.find("ShipAddress")),
        "status": InvoiceStatus.VOIDED.value if voided else InvoiceStatus.ISSUED.value,
        "total": total,
        "balance": balance,
        "paid": total - balance,
        "state": "voided" if voided else _state(total, balance),
        "last_payment_on": max(paid_on, default=None),
    }


def _read_credit_note(element: Element, company: Company) -> dict[str, Value]:
    return _read_sales_form(element, company) | {
        "total": decimal_of(element, "TotalAmount") or Decimal(0),
        "balance": decimal_of(element, "CreditRemaining"),
    }


def _read_estimate(element: Element, company: Company) -> dict[str, Value]:
    _, _, accepted = _split_note(text_of(element, "Memo"))
    invoiced = any(text_of(each, "TxnType") == "Invoice" for each in element.findall("LinkedTxn"))
    status = EstimateStatus.ACCEPTED if accepted else EstimateStatus.SENT
    if flag_of(element, "IsActive") is False:
        status = EstimateStatus.DECLINED
    states = {EstimateStatus.SENT: "open", EstimateStatus.ACCEPTED: "accepted", EstimateStatus.DECLINED: "declined"}
    return _read_sales_form(element, company) | {
        "status": status.value,
        "expiry_date": date_of(element, "DueDate"),
        "total": decimal_of(element, "TotalAmount") or Decimal(0),
        "state": "invoiced" if invoiced else states[status],
    }


def _read_payment(element: Element, company: Company) -> dict[str, Value]:
    allocations: list[dict[str, Value]] = [
        {"invoice": text_of(each, "TxnID"), "amount": decimal_of(each, "Amount") or Decimal(0)}
        for each in element.findall("AppliedToTxnRet")
        if text_of(each, "TxnType") == "Invoice"
    ]
    return {
        "customer": text_of(element, "CustomerRef/ListID"),
        "date": date_of(element, "TxnDate"),
        "currency": company.currency_of(text_of(element, "CurrencyRef/FullName")),
        "amount": decimal_of(element, "TotalAmount") or Decimal(0),
        "number": text_of(element, "RefNumber"),
        "allocations": allocations,
        "invoice_ids": list(dict.fromkeys(cast("str", each["invoice"]) for each in allocations)),
    }


_READERS: Mapping[Kind, Callable[[Element, Company], dict[str, Value]]] = {
    Kind.CUSTOMER: _read_customer,
    Kind.ITEM: _read_item,
    Kind.INVOICE: _read_invoice,
    Kind.CREDIT_NOTE: _read_credit_note,
    Kind.ESTIMATE: _read_estimate,
    Kind.PAYMENT: _read_payment,
}


def _read_sales_form(element: Element, company: Company) -> dict[str, Value]:
    note, reference, _ = _split_note(text_of(element, "Memo"))
    name = element.tag.removesuffix("Ret")
    rows = [
        line
        for each in element
        if each.tag in {f"{name}LineRet", f"{name}LineGroupRet"}
        for line in (each.findall(f"{name}LineRet") if each.tag.endswith("GroupRet") else [each])
    ]
    sold = [row for row in rows if _sells(row, company)]
    taken_off = [row for row in rows if company.is_discount(text_of(row, "ItemRef/ListID"))]
    return {
        "customer": text_of(element, "CustomerRef/ListID"),
        "number": text_of(element, "RefNumber"),
        "date": date_of(element, "TxnDate"),
        "currency": company.currency_of(text_of(element, "CurrencyRef/FullName")),
        "lines": [_read_line(row) for row in sold],
        "discount": _read_discount(sold, taken_off),
        "tax_total": decimal_of(element, "SalesTaxTotal"),
        "memo": text_of(element, "CustomerMsgRef/FullName"),
        "note": note,
    } | reference


def _sells(row: Element, company: Company) -> bool:
    item = text_of(row, "ItemRef/ListID")
    return item is not None and not company.is_discount(item) and not company.is_subtotal(item)


def _read_line(row: Element) -> dict[str, Value]:
    code = text_of(row, "SalesTaxCodeRef/FullName")
    quantity = decimal_of(row, "Quantity")
    return {
        "item": text_of(row, "ItemRef/ListID"),
        "description": text_of(row, "Desc"),
        "quantity": quantity if quantity is not None else Decimal(1),
        "unit_price": decimal_of(row, "Rate"),
        "amount": _amount(row),
        "tax_code": _OUR_TAX_CODES.get(code.lower(), code) if code is not None else None,
        "service_on": date_of(row, "ServiceDate"),
    }


def _read_discount(sold: list[Element], taken_off: list[Element]) -> dict[str, Value] | None:
    """The amount; the percentage that we wrote, if what it comes to still stands there."""
    if not taken_off:
        return None
    amount = -sum(map(_amount, taken_off), Decimal(0))
    said = _OF_PERCENT.fullmatch(text_of(taken_off[0], "Desc") or "") if len(taken_off) == 1 else None
    if said is not None and said[1].count(".") <= 1:
        percent = Decimal(said[1])
        if rounded(sum(map(_amount, sold), Decimal(0)) * percent / 100) == amount:
            return {"percent": percent}
    return {"amount": amount}


def _amount(row: Element) -> Decimal:
    return decimal_of(row, "Amount") or Decimal(0)


def _read_address(element: Element | None) -> dict[str, Value] | None:
    if element is None:
        return None
    fields: dict[str, Value] = {ours: text_of(element, theirs) for ours, theirs in _ADDRESS.items()}
    return fields if any(fields.values()) else None


def _state(total: Decimal, balance: Decimal) -> str:
    if balance == 0:
        return "paid"
    return "open" if balance == total else "partly_paid"


def _split_note(note: str | None) -> tuple[str | None, dict[str, Value], bool]:
    """The note without our tag, the reference in the last tag if there is one, and whether it says accepted."""
    tags = _TAG.findall(note or "")
    text = _TAG.sub("", note or "").strip() or None
    return (text, {"reference": tags[-1][0]}, bool(tags[-1][1])) if tags else (text, {}, False)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


# ---- to QuickBooks ----


def is_void(document: Document) -> bool:
    """True if the document asks for an invoice to be voided."""
    return isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED


def to_asks(effect: Effect, stands: Element | None, company: Company) -> list[Ask]:
    """The requests that do the effect; the record that it leaves is in the reply to the last one.

    `stands` is what QuickBooks has now of what is updated, if it was read.

    Raises:
        RejectedError: If the document cannot be said in QuickBooks' terms.
        ProviderError: If a look-up failed.
    """
    document = effect.document
    updates = effect.operation is Operation.UPDATE
    if is_void(document):
        if not updates:
            raise RejectedError("A voided invoice is not written if it was never issued.", field="status")
        void = Ask("TxnVoidRq", {"TxnVoidType": "Invoice", "TxnID": effect.target_id})
        return [void, query_by_id(Kind.INVOICE, [effect.target_id or ""])]
    match document:
        case Customer():
            name, body = "Customer", _write_customer(effect, document, company)
        case Item():
            name, body = _write_item(effect, document, stands, company)
        case Invoice() | CreditNote() | Estimate():
            name, body = ENTITIES[effect.kind], _write_sales_form(effect, document, stands, company)
        case _:
            raise RejectedError(f"QuickBooks has no records of kind {effect.kind.value} that can be written.")
    verb = "Mod" if updates else "Add"
    if updates:
        key = "ListID" if effect.kind in LISTS else "TxnID"
        body = {key: effect.target_id, "EditSequence": effect.target_version} | body
    _check(f"{name}{verb}", body)
    return [Ask(f"{name}{verb}Rq", {f"{name}{verb}": body})]


def query_by_id(kind: Kind, ids: list[str]) -> Ask:
    """Asks for the records with these ids, whole."""
    body: Json = {"ListID": ids} if kind in LISTS else {"TxnID": ids}
    return Ask(f"{ENTITIES[kind]}QueryRq", body | parts(kind))


def parts(kind: Kind) -> Json:
    """What a query has to ask for so that its records are whole."""
    if kind in LISTS:
        return {}
    return {"IncludeLineItems": True} | ({} if kind is Kind.PAYMENT else {"IncludeLinkedTxns": True})


class _Body:
    """Collects what was given: absent stays out, and None empties on an update."""

    def __init__(self, effect: Effect) -> None:
        self._creates = effect.operation is Operation.CREATE
        document = effect.document
        self.given = {name: getattr(document, name) for name in document.model_fields_set}
        self.fields: Json = {}
        for name, what in _NO_PLACE.items():
            if self.given.get(name) is not None and not (name == "email" and isinstance(document, Customer)):
                raise RejectedError(
                    f"QuickBooks Desktop has no place for {what}.",
                    field=name,
                    next_step=f"Take `{name}` out of the mapping.",
                )

    def has(self, name: str) -> bool:
        """True if the field is to be written: given, and not empty in a new record."""
        return name in self.given and not (self._creates and self.given[name] is None)

    def text(self, name: str, element: str) -> None:
        """A text; None is written as an empty element, which empties it."""
        if self.has(name):
            self.fields[element] = self.given[name] if self.given[name] is not None else ""

    def value(self, name: str, element: str) -> None:
        """A truth or date; None leaves it alone."""
        if self.given.get(name) is not None:
            self.fields[element] = self.given[name]

    def named(self, name: str, element: str) -> None:
        """A reference by name; None empties it."""
        if self.has(name):
            self.fields[element] = {"FullName": self.given[name] or ""}

    def address(self, name: str, element: str) -> None:
        """An address, which is always written whole."""
        if self.has(name):
            address: Address | None = self.given[name]
            fields: dict[str, Any] = address.as_fields() if address is not None else {}
            written = {theirs: fields.get(ours) or "" for ours, theirs in _ADDRESS.items()}
            self.fields[element] = {name: text for name, text in written.items() if text or not self._creates}

    def note(self, element: str, reference: str) -> None:
        """The note with our tag. An update without it leaves the tag where it is."""
        if "note" in self.given or self._creates:
            self.fields[element] = _with_mark(self.given.get("note"), tag(reference))


def _write_customer(effect: Effect, document: Customer, company: Company) -> Json:
    body = _Body(effect)
    body.text("name", "Name")
    body.text("company_name", "CompanyName")
    body.text("given_name", "FirstName")
    body.text("family_name", "LastName")
    body.text("email", "Email")
    body.text("phone", "Phone")
    body.text("contact_name", "Contact")
    body.text("tax_id", "ResaleNumber")
    body.address("billing_address", "BillAddress")
    body.address("shipping_address", "ShipAddress")
    body.value("active", "IsActive")
    body.named("terms", "TermsRef")
    body.note("Notes", effect.reference)
    if body.has("parent"):
        body.fields["ParentRef"] = {"ListID": document.parent or ""}
    if document.currency is not None:
        body.fields |= _currency(effect, document.currency, company)
    if ":" in document.name:
        raise RejectedError(
            "QuickBooks takes no colon in a name: it stands between a customer and its jobs.",
            field="name",
            next_step="Replace it in the mapping of `name`.",
        )
    return body.fields


def _currency(effect: Effect, currency: str, company: Company) -> Json:
    """The customer's currency; it is frozen once the record is there."""
    if currency == company.home_currency or effect.operation is Operation.UPDATE:
        return {}
    if not company.several_currencies or (name := company.name_of_currency(currency)) is None:
        raise _other_currency(currency, company)
    return {"CurrencyRef": {"FullName": name}}


def _other_currency(currency: str, company: Company) -> RejectedError:
    return RejectedError(
        f"This connection keeps its books in {company.home_currency}, and this is in {currency}.",
        field="currency",
        next_step="Leave such records out of the sync, or correct `currency` in the connection's settings.",
    )


def _write_item(effect: Effect, document: Item, stands: Element | None, company: Company) -> tuple[str, Json]:
    updates = effect.operation is Operation.UPDATE
    name = stands.tag.removesuffix("Ret") if stands is not None else _ITEMS[document.type]
    if name not in _OUR_TYPES or ("type" in document.model_fields_set and _ITEMS[document.type] != name):
        raise RejectedError(
            f"The item is of the type {_snake(name.removeprefix('Item')).replace('_', ' ')} in QuickBooks, and Tieout "
            "cannot change the type of an item.",
            field="type",
            next_step="Correct `type` in the mapping, or change the item in QuickBooks by hand.",
        )
    body = _Body(effect)
    body.text("name", "Name")
    body.value("active", "IsActive")
    if body.has("sku"):
        if name == "ItemNonInventory":
            body.text("sku", "ManufacturerPartNumber")
        elif document.sku is not None:
            raise RejectedError(
                "QuickBooks keeps no part number of a service.",
                field="sku",
                next_step="Write items as `non_inventory`, or take `sku` out of the mapping.",
            )
    if document.taxable is not None:
        body.fields["SalesTaxCodeRef"] = {"FullName": _TAX_CODES["TAX" if document.taxable else "NON"]}
    both = stands.find("SalesAndPurchase") is not None if stands is not None else document.cost is not None
    prices = _prices(effect, document, company, both=both)
    if prices:
        body.fields[f"SalesAndPurchase{'Mod' if updates else ''}" if both else _sold_only(updates=updates)] = prices
    return name, body.fields


def _sold_only(*, updates: bool) -> str:
    return "SalesOrPurchaseMod" if updates else "SalesOrPurchase"


def _prices(effect: Effect, document: Item, company: Company, *, both: bool) -> Json:
    """What an item is sold for, and bought for if it is `both`."""
    creates = effect.operation is Operation.CREATE
    given = document.model_fields_set
    prices: Json = {}
    if "description" in given and not (creates and document.description is None):
        prices["SalesDesc" if both else "Desc"] = document.description or ""
    if document.price is not None:
        prices["SalesPrice" if both else "Price"] = document.price
    if document.income_account is not None or creates:
        account = document.income_account or company.income_account()
        prices["IncomeAccountRef" if both else "AccountRef"] = {"FullName": account}
    if document.cost is not None:
        if not both:
            raise RejectedError(
                "The item is only sold in QuickBooks, so it has no cost there.",
                field="cost",
                next_step="Tick in QuickBooks that it is also bought, or take `cost` out of the mapping.",
            )
        prices["PurchaseCost"] = document.cost
        if creates:
            prices["ExpenseAccountRef"] = {"FullName": company.expense_account()}
    return prices


def _with_mark(note: str | None, mark: str) -> str:
    return f"{note}\n{mark}" if note else mark


def _write_sales_form(
    effect: Effect, document: Invoice | CreditNote | Estimate, stands: Element | None, company: Company
) -> Json:
    if document.currency != company.home_currency:
        raise _other_currency(document.currency, company)
    body = _Body(effect)
    body.text("number", "RefNumber")
    body.named("memo", "CustomerMsgRef")
    if isinstance(document, Estimate):
        accepted = document.status is EstimateStatus.ACCEPTED
        stood = _split_note(text_of(stands, "Memo"))[0] if stands is not None else None
        note = document.note if "note" in document.model_fields_set else stood
        body.fields["Memo"] = _with_mark(note, tag(effect.reference, accepted=accepted))
        body.fields["IsActive"] = document.status is not EstimateStatus.DECLINED
        body.value("expiry_date", "DueDate")
    else:
        body.note("Memo", effect.reference)
    if isinstance(document, Invoice):
        body.value("due_date", "DueDate")
        body.named("terms", "TermsRef")
        body.address("billing_address", "BillAddress")
        body.address("shipping_address", "ShipAddress")
    entity = ENTITIES[effect.kind]
    dated = not isinstance(document, Estimate)
    lines = [_write_line(line, dated=dated) for line in document.lines]
    if document.discount is not None:
        lines.append(_write_discount(document, document.discount, company))
    verb = "Add"
    if effect.operation is Operation.UPDATE:  # lines that are not named are removed, and -1 makes new ones
        verb = "Mod"
        lines = [{"TxnLineID": "-1"} | line for line in lines]
    return body.fields | {
        "CustomerRef": {"ListID": document.customer},
        "TxnDate": document.date,
        f"{entity}Line{verb}": lines,
    }


def _write_line(line: Line, *, dated: bool) -> Json:
    """Quantity and price only if they make the amount to the cent: QuickBooks multiplies them itself."""
    row: Json = {"ItemRef": {"ListID": line.item}}
    if line.description is not None:
        row["Desc"] = line.description
    price = line.unit_price
    exact = price is not None and price == rounded(price, _RATE_UNIT) and rounded(line.quantity * price) == line.amount
    if exact:
        row |= {"Quantity": line.quantity, "Rate": price}
    elif line.quantity != 0:
        row |= {"Quantity": line.quantity, "Amount": _cents(line.amount)}
    else:
        row["Amount"] = _cents(line.amount)
    if line.service_on is not None and dated:
        row["ServiceDate"] = line.service_on
    if line.tax_code is not None:
        row["SalesTaxCodeRef"] = {"FullName": _TAX_CODES.get(line.tax_code.upper(), line.tax_code)}
    return row


def _write_discount(document: Invoice | CreditNote | Estimate, discount: Discount, company: Company) -> Json:
    total = sum((line.amount for line in document.lines), Decimal(0))
    row: Json = {"ItemRef": {"ListID": company.discount_item()}}
    if discount.percent is not None:
        row["Desc"] = f"Discount {discount.percent:f}%"
    return row | {"Amount": _cents(less_discount(total, discount, document.currency) - total)}


def _cents(amount: Decimal) -> Decimal:
    return rounded(amount, CENT)


def _check(aggregate: str, body: Json) -> None:
    """Return if every text is short enough, and XML can hold it.

    Raises:
        RejectedError: Otherwise; names the field.
    """
    for name, value in body.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, dict):
                _check(name, each)
            elif isinstance(each, str):
                _check_text(aggregate, name, each)


def _check_text(aggregate: str, name: str, text: str) -> None:
    most = length_max(aggregate, name)
    field = _OUR_FIELDS.get(name, _OUR_FIELDS.get(aggregate, ""))
    if most is not None and len(text) > most:
        raise RejectedError(
            f"QuickBooks takes {most} characters for this, and it has {len(text)}: {text[:60]}",
            field=field,
            next_step="Shorten it in the source, or cut it in the mapping (truncate); then retry.",
        )
    if not fits(text):
        raise RejectedError(
            "It holds characters that cannot be sent to QuickBooks.",
            field=field,
            next_step="Remove invisible control characters from it in the source; then retry.",
        )


_OUR_FIELDS: Mapping[str, str] = {
    "Name": "name",
    "CompanyName": "company_name",
    "FirstName": "given_name",
    "LastName": "family_name",
    "Email": "email",
    "Phone": "phone",
    "Contact": "contact_name",
    "ResaleNumber": "tax_id",
    "Notes": "note",
    "Memo": "note",
    "RefNumber": "number",
    "Desc": "description",
    "SalesDesc": "description",
    "ManufacturerPartNumber": "sku",
    "BillAddress": "billing_address",
    "ShipAddress": "shipping_address",
    "InvoiceLineAdd": "lines",
    "CreditMemoLineAdd": "lines",
    "EstimateLineAdd": "lines",
}
