"""Our documents as Tally's masters and vouchers. No calls.

A debit is a negative amount with `ISDEEMEDPOSITIVE` Yes, a credit a positive one with No, and a voucher adds up to 0.
Tally computes no tax for an imported voucher, so its lines are ours: CGST and SGST inside the company's state, IGST
outside. Dated lists hold addresses and registrations from release 3.0 on; the older fields are written beside them.
Names stand as elements too: without `NAME.LIST` some releases end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import Element

from tieout.connectors.tally.company import Ledger, Masters, OpenCompany, StockItem, folded
from tieout.connectors.tally.manifest import NO_TAX, Settings, Tax
from tieout.connectors.tally.read import NO_LINE, names_of, tag
from tieout.connectors.tally.wire import MARKER, add, day_of, days_of, said_day, text_of, writable
from tieout.domain.documents import (
    Address,
    CreditNote,
    Customer,
    Document,
    Estimate,
    EstimateStatus,
    Invoice,
    Item,
    ItemType,
    Line,
    Payment,
    less_discount,
)
from tieout.domain.effects import Effect
from tieout.domain.errors import RejectedError
from tieout.domain.money import minor_unit, rounded

type SalesForm = Invoice | CreditNote | Estimate

UNIT_DECIMALS = 4
"""Of the unit that is made if there is none."""
_RATE_UNIT = Decimal("0.000001")
_ZERO = Decimal(0)
# What Tally has no place for.
_NO_PLACE: Mapping[type[Document], frozenset[str]] = {
    Customer: frozenset({"parent", "given_name", "family_name", "shipping_address"}),
    Item: frozenset({"income_account"}),
    Invoice: frozenset({"note", "email", "shipping_address"}),
    CreditNote: frozenset({"note"}),
    Estimate: frozenset({"note", "expiry_date"}),
    Payment: frozenset(),
}
_NAME_LENGTH_MAX = 99
_EDUCATIONAL_DAYS = frozenset({1, 2, 31})


@dataclass(frozen=True, slots=True)
class Books:
    """What a document is written into."""

    settings: Settings
    company: OpenCompany
    masters: Masters


def check(document: Document) -> None:
    """Return if Tally has a place for all that the document says.

    Raises:
        RejectedError: Naming the field that it has none for.
    """
    for name in sorted(document.model_fields_set & _NO_PLACE.get(type(document), frozenset())):
        if getattr(document, name) is not None:
            raise RejectedError(
                f"Tally has no place for `{name}`.", field=name, next_step="Take the field out of the mapping."
            )
    for name, value in document.as_fields().items():
        for text in _texts(value):
            if not writable(text):
                raise RejectedError(
                    f"The text of `{name}` holds a control character, which Tally does not take.",
                    field=name,
                    next_step="Remove the character in the source.",
                )


def _texts(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case Mapping():
            return [text for each in value.values() for text in _texts(each)]
        case list() | tuple():
            return [text for each in value for text in _texts(each)]
        case _:
            return []


# ---- masters ----


def unit(name: str) -> Element:
    """A simple unit. Its name has to be an element: 7.1 passes over one that is an attribute alone."""
    element = Element("UNIT", NAME=name, ACTION="Create")
    add(element, "NAME", name)
    add(element, "ISSIMPLEUNIT", value=True)
    add(element, "ORIGINALNAME", name)
    add(element, "DECIMALPLACES", str(UNIT_DECIMALS))
    return element


def ledger(document: Customer, books: Books, current: Element | None) -> Element:
    """A ledger under Sundry Debtors: a new one, or what changes of the one that stands there."""
    given = document.model_fields_set
    _refuse_inactive(document.active)
    element = _master("LEDGER", document.name, current, [document.name])
    if current is None:
        add(element, "PARENT", books.settings.customer_group)
        add(element, "ISBILLWISEON", value=True)
    for name, field in (
        ("contact_name", "LEDGERCONTACT"),
        ("email", "EMAIL"),
        ("phone", "LEDGERPHONE"),
        ("website", "WEBSITE"),
        ("note", "NARRATION"),
    ):
        if name in given:
            add(element, field, getattr(document, name) or "")
    if document.currency is not None:
        _refuse_other_currency(document.currency, books.settings)
    if "terms" in given:
        add(element, "BILLCREDITPERIOD", f"{_days(document.terms)} Days" if document.terms else "")
    if {"company_name", "billing_address"} & given or current is None:
        _mailing(element, document, books, current)
    if "tax_id" in given:
        _registration(element, document, books)
    return element


def _master(tag_: str, name: str, current: Element | None, names: Sequence[str]) -> Element:
    """The element with its names; an alter says the present name in the attribute."""
    if len(name) > _NAME_LENGTH_MAX:
        raise RejectedError(
            f"A name in Tally has {_NAME_LENGTH_MAX} characters at most.",
            field="name",
            next_step="Shorten the name in the source, or add `truncate` to the mapping.",
        )
    standing = names_of(current)[0] if current is not None else name
    element = Element(tag_, NAME=standing, ACTION="Create" if current is None else "Alter")
    listed = add(element, "NAME.LIST", TYPE="String")
    for each in names:
        add(listed, "NAME", each)
    return element


def _mailing(element: Element, document: Customer, books: Books, current: Element | None) -> None:
    """Name for letters and address: in the dated list and in the older fields. What is not given stays as it is."""
    held = _latest_mailing(current)
    given = document.model_fields_set
    mailing_name = document.company_name if "company_name" in given else text_of(held, "MAILINGNAME")
    dated = add(element, "LEDMAILINGDETAILS.LIST")
    add(dated, "APPLICABLEFROM", _applicable(held, books))
    add(dated, "MAILINGNAME", mailing_name or document.name)
    if "billing_address" not in given:
        for tag_ in ("STATE", "COUNTRY", "PINCODE"):
            if said := text_of(held, tag_):
                add(dated, tag_, said)
        if held is not None:
            dated.extend(held.findall("ADDRESS.LIST"))
        return
    address = document.billing_address or Address()
    lines = address_lines(address)
    for parent in (dated, element):
        listed = add(parent, "ADDRESS.LIST", TYPE="String")
        for line in lines:
            add(listed, "ADDRESS", line)
    country = _country_name(address.country)
    add(dated, "STATE", address.state or "")
    add(dated, "COUNTRY", country)
    add(dated, "PINCODE", address.postal_code or "")
    add(element, "LEDSTATENAME", address.state or "")
    add(element, "COUNTRYOFRESIDENCE", country)
    add(element, "PINCODE", address.postal_code or "")


def _latest_mailing(current: Element | None) -> Element | None:
    entries = current.findall("LEDMAILINGDETAILS.LIST") if current is not None else []
    return max(entries, key=lambda each: text_of(each, "APPLICABLEFROM"), default=None)


def _applicable(held: Element | None, books: Books) -> str:
    return text_of(held, "APPLICABLEFROM") or f"{books.company.books_from:%Y%m%d}"


def _registration(element: Element, document: Customer, books: Books) -> None:
    kind = "Regular" if document.tax_id else "Unregistered/Consumer"
    dated = add(element, "LEDGSTREGDETAILS.LIST")
    add(dated, "APPLICABLEFROM", books.company.books_from)
    add(dated, "GSTREGISTRATIONTYPE", kind)
    if document.billing_address is not None and document.billing_address.state:
        add(dated, "PLACEOFSUPPLY", document.billing_address.state)
    add(dated, "GSTIN", document.tax_id or "")
    add(element, "GSTREGISTRATIONTYPE", kind)
    add(element, "PARTYGSTIN", document.tax_id or "")


def address_lines(address: Address) -> list[str]:
    """Lines, the last one the city; a dash for one that is empty, so that each keeps its place."""
    lines = [address.line1, address.line2, address.line3]
    while lines and not lines[-1]:
        lines.pop()
    if not lines and not address.city:
        return []
    if len(lines) == 1 and not address.city:
        return [lines[0] or NO_LINE]
    return [each or NO_LINE for each in [*(lines or [None]), address.city]]


def _country_name(code: str | None) -> str:
    import iso3166  # noqa: PLC0415 - only addresses need it

    country = iso3166.countries.get(code, None) if code else None
    return country.apolitical_name if country is not None else code or ""


def stock_item(document: Item, books: Books, current: Element | None, today: dt.date) -> Element:
    """A stock item: a new one, or what changes of the one that stands there. The SKU is its alias."""
    given = document.model_fields_set
    _refuse_inactive(document.active)
    aliases = names_of(current)[1:] if current is not None else []
    if "sku" in given:
        aliases = [*([document.sku] if document.sku else []), *aliases[1:]]
    if any(folded(each) == folded(document.name) for each in aliases):
        raise RejectedError(
            "Tally keeps the SKU as an alias, which cannot be the name itself.",
            field="sku",
            next_step="Take `sku` out of the mapping of items, or let it differ from the name.",
        )
    element = _master("STOCKITEM", document.name, current, [document.name, *aliases])
    if current is None:
        add(element, "BASEUNITS", books.settings.unit)
        if books.settings.stock_group:
            add(element, "PARENT", books.settings.stock_group)
    if "description" in given:
        add(element, "DESCRIPTION", document.description or "")
    if "type" in given or current is None:
        add(element, "GSTTYPEOFSUPPLY", "Services" if document.type is ItemType.SERVICE else "Goods")
    if document.taxable is not None:
        add(element, "GSTAPPLICABLE", f"{MARKER} " + ("Applicable" if document.taxable else "Not Applicable"))
    unit_name = text_of(current, "BASEUNITS") or books.settings.unit
    for price, path in ((document.price, "STANDARDPRICELIST.LIST"), (document.cost, "STANDARDCOSTLIST.LIST")):
        if price is not None:
            dated = add(element, path)
            add(dated, "DATE", today)
            add(dated, "RATE", f"{price:f}/{unit_name}")
    return element


def _refuse_inactive(active: bool) -> None:
    if not active:
        raise RejectedError(
            "Tally cannot switch off a ledger or an item.",
            field="active",
            next_step="Take the field out of the mapping.",
        )


def _refuse_other_currency(code: str, settings: Settings) -> None:
    if code != settings.currency:
        raise RejectedError(
            f"The company's base currency is {settings.currency}, and this is in {code}.",
            field="currency",
            next_step="Leave such records out of the sync; or correct `currency` in the connection's settings.",
        )


# ---- vouchers ----


def sales(effect: Effect, document: SalesForm, books: Books) -> Element:
    """A sales voucher, a credit note, or (optional, so that nothing is booked) an estimate, as an item invoice."""
    party = _party(document.customer, books)
    credit = isinstance(document, CreditNote)
    type_ = books.settings.credit_note_voucher_type if credit else books.settings.sales_voucher_type
    if isinstance(document, Estimate) and document.status is not EstimateStatus.SENT:
        raise RejectedError(
            "Tally does not know whether a customer accepted an estimate.",
            field="status",
            next_step="Write estimates as `sent`, and leave `status` to that.",
        )
    sums = added_up(document, party, books)
    element = _voucher(effect, document, type_, "Invoice Voucher View", books)
    address = document.billing_address if isinstance(document, Invoice) else None
    _about_party(element, party, address, sums.place)
    add(element, "ISINVOICE", value=True)
    if isinstance(document, Estimate):
        add(element, "ISOPTIONAL", value=True)
    sign = -1 if credit else 1
    entry = _entry(element, "LEDGERENTRIES.LIST", party.name, -sums.total * sign)
    add(entry, "ISPARTYLEDGER", value=True)
    if sums.total:
        credit_days = _credit_days(document)
        _bill(entry, document.number or tag(effect.reference), "New Ref", -sums.total * sign, credit_days)
    for line, tax in zip(document.lines, sums.codes, strict=True):
        entry = _item_entry(element, line, sign, books)
        if tax is not None:
            _rate_details(entry, tax, within=sums.within)
    if sums.discount:
        _entry(element, "LEDGERENTRIES.LIST", sums.discount_ledger, -sums.discount * sign)
    for name, amount in sums.taxes:
        _entry(element, "LEDGERENTRIES.LIST", name, amount * sign)
    return element


def receipt(effect: Effect, document: Payment, books: Books, bills: Mapping[str, tuple[str, str]]) -> Element:
    """A receipt; `bills` are ledger and bill of the invoices that it pays, by their id."""
    _refuse_other_currency(document.currency, books.settings)
    party = _party(document.customer, books)
    amount = _cents(document.amount, "amount", books)
    if amount <= 0:
        raise RejectedError("Tally takes no receipt of nothing or less.", field="amount")
    bank = _ledger(books.settings.receipt_ledger, "receipt_ledger", books)
    type_ = books.settings.receipt_voucher_type
    element = _voucher(effect, document, type_, "Accounting Voucher View", books)
    add(element, "PARTYLEDGERNAME", party.name)
    entry = _entry(element, "ALLLEDGERENTRIES.LIST", party.name, amount)
    add(entry, "ISPARTYLEDGER", value=True)
    left = amount
    for allocation in document.allocations:
        owner, bill = bills[allocation.invoice]
        if folded(owner) != folded(party.name):
            raise RejectedError("The payment names an invoice of another customer.", field="allocations")
        each = _cents(allocation.amount, "allocations", books)
        _bill(entry, bill, "Agst Ref", each, None)
        left -= each
    if left < 0:
        raise RejectedError("The payment's parts come to more than the payment.", field="allocations")
    if left:
        _bill(entry, "", "On Account", left, None)
    _entry(element, "ALLLEDGERENTRIES.LIST", bank.name, -amount)
    return element


def changed_texts(standing: Element, texts: Mapping[str, str]) -> Element:
    """An alter of nothing but texts: one with entries in it was seen to make a second voucher."""
    element = acting(standing, "Alter")
    for name, value in texts.items():
        add(element, name, value)
    return element


def acting(standing: Element, action: str) -> Element:
    """`Cancel`, `Delete` or `Alter` of the voucher that stands there; an attribute's date is spelled."""
    day = day_of(text_of(standing, "DATE"))
    return Element(
        "VOUCHER",
        DATE=said_day(day) if day is not None else "",
        TAGNAME="Master ID",
        TAGVALUE=text_of(standing, "MASTERID"),
        VCHTYPE=text_of(standing, "VOUCHERTYPENAME"),
        ACTION=action,
    )


def narration(memo: str | None, reference: str) -> str:
    """What the memo says, and our mark."""
    return f"{memo or ''} [{tag(reference)}]".strip()


@dataclass(frozen=True, slots=True)
class Sums:
    """What a document comes to.

    Attributes:
        place: The place of supply, a state or a country; empty if nothing says it.
        within: It is in the company's own state.
        taxes: Ledgers and amounts.
        codes: The tax of each line; None for one without.
    """

    total: Decimal
    discount: Decimal
    discount_ledger: str
    place: str
    within: bool
    taxes: tuple[tuple[str, Decimal], ...]
    codes: tuple[Tax | None, ...]


def added_up(document: SalesForm, party: Ledger, books: Books) -> Sums:
    """The document's sums, with the taxes that its codes mean at its place of supply.

    Raises:
        RejectedError: If a code is unknown, a tax has no ledger for the place, the place is not known, the currency is
            another one, or the document names another tax.
    """
    settings = books.settings
    _refuse_other_currency(document.currency, settings)
    lines = sum((_cents(line.amount, "lines", books) for line in document.lines), _ZERO)
    discount = lines - less_discount(lines, document.discount, document.currency)
    if discount and not settings.discount_ledger:
        raise RejectedError(
            "It is not said which ledger the discount of a document is booked to.",
            field="discount",
            next_step="Set `discount_ledger` in the connection's settings.",
        )
    if discount:
        discount = _cents(discount, "discount", books)
        _ledger(settings.discount_ledger, "discount_ledger", books)
    codes = tuple(_tax(line.tax_code, settings) for line in document.lines)
    place, within = _place(document, party, books, taxed=any(codes))
    taxes = _taxes(document, codes, lines, discount, within=within, books=books)
    tax = sum((amount for _, amount in taxes), _ZERO)
    if document.tax_total is not None and document.tax_total != tax:
        raise RejectedError(
            f"The document says {document.tax_total:f} of tax, and its tax codes make it {tax:f}.",
            field="tax_total",
            next_step="Correct the lines' tax codes in the mapping, or the rates in the connection's settings.",
        )
    total = lines - discount + tax
    if total < 0:
        raise RejectedError("Tally takes no voucher of less than nothing.", field="lines")
    return Sums(total, discount, settings.discount_ledger, place, within, taxes, codes)


def _tax(code: str | None, settings: Settings) -> Tax | None:
    if code in (None, "", NO_TAX):
        return None
    known = next((tax for name, tax in settings.taxes.items() if folded(name) == folded(code or "")), None)
    if known is None:
        names = ", ".join(f"`{name}`" for name in settings.taxes) or "none"
        raise RejectedError(
            f"The connection's settings do not say what the tax code `{code}` is booked to; they know: {names}.",
            field="lines",
            next_step="Add the code to `taxes` of the connection's settings, or correct the mapping.",
        )
    return known


def _place(document: SalesForm, party: Ledger, books: Books, *, taxed: bool) -> tuple[str, bool]:
    """Place of supply: the state that the invoice is addressed to, else the customer's; and whether it is our own."""
    address = document.billing_address if isinstance(document, Invoice) else None
    state = (address.state if address is not None else None) or party.state
    country = _country_name(address.country) if address is not None and address.country else party.country
    own = books.settings.state or books.company.state
    if country and folded(country) != "india":
        return state or country, False
    if taxed and not (state and own):
        whose = "the customer's" if own else "the company's own"
        raise RejectedError(
            f"Nothing says {whose} state, so it cannot be told whether CGST and SGST or IGST are due.",
            field="billing_address",
            next_step="Fill in the customer's state in full, such as `Karnataka`."
            if own
            else "Set `state` in the connection's settings, or fill it in at the company in Tally.",
        )
    return state, folded(state) == folded(own)


def _taxes(
    document: SalesForm,
    codes: Sequence[Tax | None],
    lines: Decimal,
    discount: Decimal,
    *,
    within: bool,
    books: Books,
) -> tuple[tuple[str, Decimal], ...]:
    """Ledgers and amounts: each rate's lines less their part of the discount, each ledger rounded for itself."""
    cent = minor_unit(document.currency)
    owed: dict[str, Decimal] = {}
    for tax in dict.fromkeys(code for code in codes if code is not None):
        base = sum((line.amount for line, code in zip(document.lines, codes, strict=True) if code == tax), _ZERO)
        base -= rounded(discount * base / lines, cent) if lines else _ZERO
        parts = ((tax.cgst, tax.rate / 2), (tax.sgst, tax.rate / 2)) if within else ((tax.igst, tax.rate),)
        for name, rate in parts:
            if not tax.rate:
                continue
            known = _ledger(name, "taxes", books)
            owed[known.name] = owed.get(known.name, _ZERO) + rounded(base * rate / 100, cent)
    return tuple((name, amount) for name, amount in owed.items() if amount)


def _party(guid: str, books: Books) -> Ledger:
    party = books.masters.ledger_of(guid)
    if party is None or not party.debtor:
        raise RejectedError(
            "Tally has no such customer any more, or it is not under Sundry Debtors.",
            field="customer",
            next_step="Look the customer up in Tally, and link to another one if it is gone.",
        )
    return party


def _ledger(name: str, setting: str, books: Books) -> Ledger:
    known = books.masters.ledger(name) if name else None
    if known is not None:
        return known
    said = f"Tally has no ledger named `{name}`." if name else f"No ledger is said for this (`{setting}`)."
    raise RejectedError(
        said, next_step=f"Create the ledger in Tally, or correct `{setting}` in the connection's settings, then retry."
    )


def _voucher(effect: Effect, document: SalesForm | Payment, type_: str, view: str, books: Books) -> Element:
    day = document.date
    memo = None if isinstance(document, Payment) else document.memo
    if day < books.company.books_from:
        raise RejectedError(
            f"The company's books begin on {books.company.books_from}, and this is dated {day}.",
            field="date",
            next_step="Leave older records out of the sync, or let the company's books begin earlier in Tally.",
        )
    if books.company.educational and day.day not in _EDUCATIONAL_DAYS:
        raise RejectedError(
            f"Tally runs in its educational mode: only the 1st, the 2nd and the 31st of a month, and not {day}.",
            field="date",
            next_step="Activate Tally's licence, then retry.",
        )
    element = Element("VOUCHER", REMOTEID=f"tieout-{effect.reference}", VCHTYPE=type_, ACTION="Create", OBJVIEW=view)
    add(element, "DATE", day)
    add(element, "EFFECTIVEDATE", day)
    add(element, "VOUCHERTYPENAME", type_)
    add(element, "REFERENCE", document.number or tag(effect.reference))
    add(element, "NARRATION", narration(memo, effect.reference))
    add(element, "PERSISTEDVIEW", view)
    return element


def _about_party(element: Element, party: Ledger, address: Address | None, place: str) -> None:
    for name in ("PARTYLEDGERNAME", "PARTYNAME", "BASICBUYERNAME"):
        add(element, name, party.name)
    if party.gstin:
        add(element, "PARTYGSTIN", party.gstin)
    if party.registration:
        add(element, "GSTREGISTRATIONTYPE", party.registration)
    state = (address.state if address is not None else None) or party.state
    country = _country_name(address.country) if address is not None and address.country else party.country
    for name, value in (("STATENAME", state), ("COUNTRYOFRESIDENCE", country), ("PLACEOFSUPPLY", place)):
        if value:
            add(element, name, value)
    if address is not None:
        listed = add(element, "ADDRESS.LIST", TYPE="String")
        for line in address_lines(address):
            add(listed, "ADDRESS", line)
        if address.postal_code:
            add(element, "PARTYPINCODE", address.postal_code)


def _entry(parent: Element, path: str, name: str, amount: Decimal) -> Element:
    entry = add(parent, path)
    add(entry, "LEDGERNAME", name)
    _amount(entry, amount)
    return entry


def _amount(entry: Element, amount: Decimal) -> None:
    """The amount with the flag that says the same: a debit is negative and deemed positive."""
    add(entry, "ISDEEMEDPOSITIVE", value=amount < 0)
    add(entry, "AMOUNT", f"{amount or _ZERO:.2f}")


def _bill(entry: Element, name: str, type_: str, amount: Decimal, credit_days: int | None) -> None:
    bill = add(entry, "BILLALLOCATIONS.LIST")
    if name:
        add(bill, "NAME", name)
    add(bill, "BILLTYPE", type_)
    if credit_days is not None:
        add(bill, "BILLCREDITPERIOD", f"{credit_days} Days")
    add(bill, "AMOUNT", f"{amount:.2f}")


def _item_entry(parent: Element, line: Line, sign: int, books: Books) -> Element:
    item = books.masters.item_of(line.item)
    if item is None:
        raise RejectedError(
            "Tally has no such stock item any more.",
            field="lines",
            next_step="Look the item up in Tally, and link to another one if it is gone.",
        )
    if line.service_on is not None:
        raise RejectedError(
            "Tally has no place for the day of a line's service.",
            field="lines",
            next_step="Take `service_on` out of the mapping of `lines`.",
        )
    quantity = _quantity(line, item, books)
    amount = line.amount * sign
    entry = add(parent, "ALLINVENTORYENTRIES.LIST")
    add(entry, "STOCKITEMNAME", item.name)
    if line.description:
        add(add(entry, "BASICUSERDESCRIPTION.LIST", TYPE="String"), "BASICUSERDESCRIPTION", line.description)
    add(entry, "RATE", f"{_rate(line):f}/{item.unit}")
    _amount(entry, amount)
    add(entry, "ACTUALQTY", f" {quantity:f} {item.unit}")
    add(entry, "BILLEDQTY", f" {quantity:f} {item.unit}")
    ledger_ = _ledger(books.settings.sales_ledger, "sales_ledger", books)
    _entry(entry, "ACCOUNTINGALLOCATIONS.LIST", ledger_.name, amount)
    return entry


def _rate_details(entry: Element, tax: Tax, *, within: bool) -> None:
    """What returns need to know of a line's tax."""
    half = tax.rate / 2
    for head, rate in (("CGST", half), ("SGST/UTGST", half)) if within else (("IGST", tax.rate),):
        detail = add(entry, "RATEDETAILS.LIST")
        add(detail, "GSTRATEDUTYHEAD", head)
        add(detail, "GSTRATEVALUATIONTYPE", "Based on Value")
        add(detail, "GSTRATE", f"{rate:f}")


def _quantity(line: Line, item: StockItem, books: Books) -> Decimal:
    if line.quantity <= 0 or line.amount < 0:
        raise RejectedError(
            "Tally takes no line of an item with no quantity, or of less than nothing.",
            field="lines",
            next_step="Give what is taken off as the `discount` of the document, or leave the line out.",
        )
    decimals = books.masters.units.get(folded(item.unit), 0)
    if rounded(line.quantity, Decimal(1).scaleb(-decimals)) != line.quantity:
        raise RejectedError(
            f"The quantity {line.quantity:f} has more decimals than Tally's unit `{item.unit}`, which has {decimals}.",
            field="lines",
            next_step="Alter the unit in Tally (decimal places), or round the quantity in the mapping.",
        )
    return line.quantity


def _rate(line: Line) -> Decimal:
    """The price, if it makes the amount; else what the amount makes it, as after a discount of the line."""
    if line.unit_price is not None and rounded(line.quantity * line.unit_price) == line.amount:
        return line.unit_price
    rate = rounded(line.amount / line.quantity, _RATE_UNIT).normalize()
    return rate or _ZERO


def _cents(amount: Decimal, field: str, books: Books) -> Decimal:
    if rounded(amount, minor_unit(books.settings.currency)) != amount:
        raise RejectedError(
            f"Tally has two decimals, and {amount:f} has more.",
            field=field,
            next_step="Round the amount in the mapping, by `money`.",
        )
    return amount


def _days(terms: str) -> int:
    """`Net 30` are 30 days, `Due on Receipt` none."""
    if folded(terms) == "due on receipt":
        return 0
    days = days_of(folded(terms).removeprefix("net").strip())
    if days is None:
        raise RejectedError(
            f"Tally counts credit periods in days, and `{terms}` does not say how many.",
            field="terms",
            next_step="Let the mapping of `terms` say the days, such as `Net 30`.",
        )
    return days


def _credit_days(document: SalesForm) -> int | None:
    if not isinstance(document, Invoice):
        return None
    if document.due_date is not None:
        days = (document.due_date - document.date).days
        if days < 0:
            raise RejectedError("The invoice would be due before its date.", field="due_date")
        return days
    return _days(document.terms) if document.terms else None


def differing(document: Document, shown: Mapping[str, Any]) -> list[str]:
    """Names of the given fields that the record does not show; a discount or credit period by what it comes to."""
    given = document.as_fields()
    if isinstance(document, Invoice) and document.due_date is not None:
        given.pop("terms", None)
    if isinstance(document, Invoice | CreditNote | Estimate) and given.get("discount") is not None:
        lines = sum((line.amount for line in document.lines), _ZERO)
        given["discount"] = {"amount": lines - less_discount(lines, document.discount, document.currency)}
        if not given["discount"]["amount"]:
            given["discount"] = None
    return [name for name, value in given.items() if not _shows(shown.get(name), value)]


def _shows(found: Any, wanted: Any) -> bool:  # noqa: ANN401 - values of any field
    if isinstance(wanted, Mapping):
        inside = found if isinstance(found, Mapping) else {}
        kept = {name: each for name, each in wanted.items() if not (name in _LEFT_OPEN and each is None)}
        if not _makes_its_amount(wanted):
            kept.pop("unit_price", None)
        return all(_shows(inside.get(name), each) for name, each in kept.items())
    if isinstance(wanted, list | tuple):
        same_length = isinstance(found, list) and len(found) == len(wanted)
        return same_length and all(_shows(*pair) for pair in zip(found, wanted, strict=True))
    if isinstance(wanted, str) and isinstance(found, str):
        return found.split() == wanted.split()
    return bool(found == wanted) or (wanted in (None, "") and found in (None, ""))


_LEFT_OPEN = frozenset({"tax_code", "unit_price", "service_on"})


def _makes_its_amount(line: Mapping[str, Any]) -> bool:
    """False for a line whose price was replaced by what its amount makes it."""
    price, amount = line.get("unit_price"), line.get("amount")
    return price is None or amount is None or rounded(line.get("quantity", Decimal(1)) * price) == amount
