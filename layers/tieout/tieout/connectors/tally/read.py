"""Tally's masters and vouchers as records in our words. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from xml.etree.ElementTree import Element

from tieout.connectors.tally.company import Masters, folded
from tieout.connectors.tally.manifest import NO_TAX, Settings, Tax
from tieout.connectors.tally.wire import (
    amount_of,
    day_of,
    days_of,
    flag_of,
    lines_of,
    number_of,
    postings_of,
    quantity_of,
    rate_of,
    text_of,
)
from tieout.domain.documents import EstimateStatus, InvoiceStatus, ItemType
from tieout.domain.money import rounded
from tieout.domain.records import Kind, Record, Value

LEDGER_METHODS = (
    "Name",
    "GUID",
    "MasterID",
    "AlterID",
    "Parent",
    "LanguageName",
    "MailingName",
    "Address",
    "LedStateName",
    "CountryOfResidence",
    "PinCode",
    "Email",
    "LedgerPhone",
    "LedgerMobile",
    "LedgerContact",
    "Website",
    "BillCreditPeriod",
    "PartyGSTIN",
    "Narration",
    "LedMailingDetails",
    "LedGSTRegDetails",
)
ITEM_METHODS = (
    "Name",
    "GUID",
    "MasterID",
    "AlterID",
    "Parent",
    "LanguageName",
    "BaseUnits",
    "Description",
    "GSTApplicable",
    "GSTTypeOfSupply",
    "StandardPriceList",
    "StandardCostList",
)
VOUCHER_METHODS = (
    "GUID",
    "MasterID",
    "AlterID",
    "Date",
    "VoucherTypeName",
    "VoucherNumber",
    "Reference",
    "Narration",
    "PartyLedgerName",
    "PlaceOfSupply",
    "StateName",
    "CountryOfResidence",
    "PartyPinCode",
    "Address",
    "IsCancelled",
    "IsOptional",
    "IsInvoice",
    "LedgerEntries",
    "AllLedgerEntries",
    "AllInventoryEntries",
)
OBJECTS: Mapping[Kind, tuple[str, tuple[str, ...]]] = {
    Kind.CUSTOMER: ("Ledger", LEDGER_METHODS),
    Kind.ITEM: ("StockItem", ITEM_METHODS),
    Kind.ESTIMATE: ("Voucher", VOUCHER_METHODS),
    Kind.INVOICE: ("Voucher", VOUCHER_METHODS),
    Kind.CREDIT_NOTE: ("Voucher", VOUCHER_METHODS),
    Kind.PAYMENT: ("Voucher", VOUCHER_METHODS),
}
NO_LINE = "-"
"""Where an address of ours has no line, so that the ones after it keep their place."""

_TAG = re.compile(r"\s*\[(T-[A-Z0-9]{12})\]\s*$")
_LINES_MAX = 3
_HEADS = {"igst": "integrated", "cgst": "central", "sgst": "state"}


def tag(reference: str) -> str:
    """Our mark, which stands at the end of a voucher's narration in brackets."""
    return f"T-{reference.upper()}"


def guid_of(element: Element) -> str:
    """The id of a master or voucher."""
    return text_of(element, "GUID")


def name_of(element: Element) -> str:
    """A master's name."""
    return " ".join((element.get("NAME") or "").split()) or text_of(element, "NAME")


def names_of(element: Element) -> list[str]:
    """A master's name and its aliases."""
    names = lines_of(element, "LANGUAGENAME.LIST/NAME.LIST/NAME") or lines_of(element, "NAME.LIST/NAME")
    own = name_of(element)
    return [own, *(each for each in names if folded(each) != folded(own))]


# ---- masters ----


def customer(element: Element, settings: Settings) -> Record:
    """A ledger under Sundry Debtors."""
    mailing = _latest(element, "LEDMAILINGDETAILS.LIST")
    days = days_of(text_of(element, "BILLCREDITPERIOD"))
    fields: dict[str, Value] = {
        "name": name_of(element),
        "active": True,
        "company_name": text_of(mailing, "MAILINGNAME") or text_of(element, "MAILINGNAME.LIST/MAILINGNAME") or None,
        "contact_name": text_of(element, "LEDGERCONTACT") or None,
        "email": text_of(element, "EMAIL") or None,
        "phone": text_of(element, "LEDGERPHONE") or text_of(element, "LEDGERMOBILE") or None,
        "website": text_of(element, "WEBSITE") or None,
        "tax_id": _gstin(element),
        "currency": settings.currency,
        "terms": _terms(days),
        "billing_address": _address(mailing, element),
        "note": text_of(element, "NARRATION") or None,
        "group": text_of(element, "PARENT") or None,
    }
    return _record(Kind.CUSTOMER, element, fields)


def _gstin(element: Element) -> str | None:
    dated = _latest(element, "LEDGSTREGDETAILS.LIST")
    return text_of(dated, "GSTIN") or text_of(dated, "PARTYGSTIN") or text_of(element, "PARTYGSTIN") or None


def _terms(days: int | None) -> str | None:
    if days is None:
        return None
    return f"Net {days}" if days else "Due on Receipt"


def _latest(element: Element, path: str) -> Element | None:
    """Of a list with dates, the entry that holds from the latest one on."""
    return max(
        element.findall(path), key=lambda each: day_of(text_of(each, "APPLICABLEFROM")) or dt.date.min, default=None
    )


def _address(dated: Element | None, element: Element) -> Mapping[str, Value] | None:
    """From the dated list of release 3.0 and later, else from the older fields.

    Tally has lines and no city: the last of several lines is taken for it.
    """
    held = dated if dated is not None else element
    lines = lines_of(held, "ADDRESS.LIST/ADDRESS") or lines_of(element, "ADDRESS.LIST/ADDRESS")
    city = lines.pop() if len(lines) > 1 else None
    placed = [None if line == NO_LINE else line for line in [*lines[:_LINES_MAX], *[NO_LINE] * _LINES_MAX][:_LINES_MAX]]
    country = text_of(held, "COUNTRY") or text_of(element, "COUNTRYOFRESIDENCE") or text_of(element, "COUNTRYNAME")
    address = {
        "line1": placed[0],
        "line2": placed[1],
        "line3": placed[2],
        "city": None if city == NO_LINE else city,
        "state": text_of(held, "STATE") or text_of(element, "LEDSTATENAME") or text_of(element, "STATENAME") or None,
        "postal_code": text_of(held, "PINCODE")
        or text_of(element, "PINCODE")
        or text_of(element, "PARTYPINCODE")
        or None,
        "country": _country_code(country) if country else None,
    }
    return address if any(address.values()) else None


def _country_code(name: str) -> str:
    import iso3166  # noqa: PLC0415 - only addresses need it

    country = iso3166.countries.get(name, None)
    if country is None:
        wanted = folded(name)
        country = next((each for each in iso3166.countries if folded(each.apolitical_name) == wanted), None)
    return country.alpha2 if country is not None else name


def item(element: Element, today: dt.date) -> Record:
    """A stock item; its alias is its SKU, its standard prices of today are its price and cost."""
    aliases = names_of(element)[1:]
    service = folded(text_of(element, "GSTTYPEOFSUPPLY")) == "services"
    applicable = folded(text_of(element, "GSTAPPLICABLE"))
    fields: dict[str, Value] = {
        "name": name_of(element),
        "active": True,
        "sku": aliases[0] if aliases else None,
        "type": (ItemType.SERVICE if service else ItemType.NON_INVENTORY).value,
        "description": text_of(element, "DESCRIPTION") or None,
        "price": _price(element, "STANDARDPRICELIST.LIST", today),
        "cost": _price(element, "STANDARDCOSTLIST.LIST", today),
        "taxable": None if not applicable else applicable == "applicable",
    }
    return _record(Kind.ITEM, element, fields)


def _price(element: Element, path: str, today: dt.date) -> Decimal | None:
    dated = [(day_of(text_of(each, "DATE")) or dt.date.min, rate_of(each)) for each in element.findall(path)]
    return max((each for each in dated if each[0] <= today and each[1] is not None), default=(None, None))[1]


# ---- vouchers ----


def kind_of(element: Element, kind: Kind, masters: Masters) -> bool:
    """True if a voucher that a formula found is a record of this kind: of a customer, and with what we can show."""
    if kind is Kind.PAYMENT:
        # Whose receipt it is the entries say: its party may be said to be the bank. A cancelled one has none left.
        return paid_in(element, masters) > 0 or (flag_of(element, "ISCANCELLED") and reference_of(element) is not None)
    named = masters.ledger(text_of(element, "PARTYLEDGERNAME"))
    return flag_of(element, "ISCANCELLED") or (named is not None and named.debtor)


def party_of(element: Element, masters: Masters) -> str | None:
    """Id of the customer that the voucher is about."""
    named = masters.ledger(text_of(element, "PARTYLEDGERNAME"))
    if named is not None and named.debtor:
        return named.guid
    booked = (masters.ledger(posting.ledger) for posting in postings_of(element))
    return next((each.guid for each in booked if each is not None and each.debtor), None)


def paid_in(element: Element, masters: Masters) -> Decimal:
    """What a receipt credits to its customer."""
    party = party_of(element, masters)
    return sum((each.amount for each in postings_of(element) if _id_of(each.ledger, masters) == party), Decimal(0))


def _id_of(name: str, masters: Masters) -> str | None:
    ledger = masters.ledger(name)
    return ledger.guid if ledger is not None else None


def reference_of(element: Element) -> str | None:
    """Our reference, from the mark in the narration; where somebody removed it, from the reference's field."""
    found = _TAG.search(text_of(element, "NARRATION"))
    said = found[1] if found else text_of(element, "REFERENCE")
    return said[2:].lower() if re.fullmatch(r"T-[A-Z0-9]{12}", said) else None


def bills_of(element: Element, types: frozenset[str] = frozenset({"newref"})) -> list[tuple[str, str, Decimal]]:
    """Ledger, bill and amount of each allocation of these types: `newref`, `agstref`, `advance`, `onaccount`."""
    return [
        (posting.ledger, text_of(bill, "NAME"), amount_of(bill))
        for posting in postings_of(element)
        for bill in posting.entry.findall("BILLALLOCATIONS.LIST")
        if folded(text_of(bill, "BILLTYPE")).replace(" ", "") in types
    ]


def voucher(
    kind: Kind,
    element: Element,
    settings: Settings,
    masters: Masters,
    *,
    open_bills: Mapping[tuple[str, str], Decimal],
    invoices: Mapping[tuple[str, str], str],
) -> Record:
    """A voucher as a record.

    Args:
        kind: What it is.
        element: The voucher.
        settings: Of the connection.
        masters: Of the company.
        open_bills: By folded ledger and bill, what is still open of it; for invoices.
        invoices: By folded ledger and bill, the id of the invoice that made it; for payments.
    """
    if kind is Kind.PAYMENT:
        return _payment(element, settings, masters, invoices)
    fields = _sales_form(element, settings, masters)
    if kind is Kind.INVOICE:
        fields |= _invoice(element, fields, open_bills)
    if kind is Kind.ESTIMATE:
        cancelled = flag_of(element, "ISCANCELLED")
        fields |= {
            "status": (EstimateStatus.DECLINED if cancelled else EstimateStatus.SENT).value,
            "state": "declined" if cancelled else "open",
        }
    return _record(kind, element, fields)


def _sales_form(element: Element, settings: Settings, masters: Masters) -> dict[str, Value]:
    ours, said = reference_of(element), text_of(element, "REFERENCE")
    number = said if not (ours and said == tag(ours)) else ""
    ledger_number = text_of(element, "VOUCHERNUMBER") or None
    sign = -1 if folded(settings.credit_note_voucher_type) == folded(text_of(element, "VOUCHERTYPENAME")) else 1
    taxes, discount = _taxes_and_discount(element, settings)
    fields: dict[str, Value] = {
        "customer": party_of(element, masters),
        "number": number or (None if ours else ledger_number),
        "ledger_number": ledger_number,
        "date": day_of(text_of(element, "DATE")),
        "currency": settings.currency,
        "lines": _lines(element, settings, masters),
        "discount": _discount(abs(discount), element),
        "tax_total": taxes * sign,
        "memo": _TAG.sub("", text_of(element, "NARRATION")).strip() or None,
        "total": total_of(element, masters),
        "billing_address": _address(None, element),
        "place_of_supply": text_of(element, "PLACEOFSUPPLY") or None,
    }
    return fields | ({"reference": ours} if ours else {})


def total_of(element: Element, masters: Masters) -> Decimal:
    """What the voucher comes to for its customer, without a sign: nothing if it is cancelled."""
    party = party_of(element, masters)
    return abs(sum((each.amount for each in postings_of(element) if _id_of(each.ledger, masters) == party), Decimal(0)))


def _taxes_and_discount(element: Element, settings: Settings) -> tuple[Decimal, Decimal]:
    """What is booked to tax ledgers of the settings, and to the discount's; a credit positive."""
    ledgers = {folded(name) for tax in settings.taxes.values() for name in (tax.cgst, tax.sgst, tax.igst) if name}
    discounts = {folded(settings.discount_ledger)} - {""}
    postings = postings_of(element)
    taxes = sum((each.amount for each in postings if folded(each.ledger) in ledgers), Decimal(0))
    discount = sum((each.amount for each in postings if folded(each.ledger) in discounts), Decimal(0))
    return taxes, discount


def _discount(amount: Decimal, element: Element) -> Mapping[str, Value] | None:
    """The amount; and the percentage of the lines that it is, if it is one of two decimals."""
    if not amount:
        return None
    lines = sum((abs(amount_of(entry)) for entry in _items_of(element)), Decimal(0))
    percent = rounded(amount * 100 / lines) if lines else Decimal(0)
    return {"amount": amount} | ({"percent": percent} if percent and rounded(lines * percent / 100) == amount else {})


def _lines(element: Element, settings: Settings, masters: Masters) -> list[Value]:
    lines: list[Value] = []
    for entry in _items_of(element):
        known = masters.item(text_of(entry, "STOCKITEMNAME"))
        lines.append(
            {
                "item": known.guid if known is not None else "",
                "description": " ".join(lines_of(entry, "BASICUSERDESCRIPTION.LIST/BASICUSERDESCRIPTION")) or None,
                "quantity": quantity_of(entry, "BILLEDQTY") or quantity_of(entry, "ACTUALQTY") or Decimal(0),
                "unit_price": rate_of(entry),
                "amount": abs(amount_of(entry)),
                "tax_code": _code_of(entry, settings.taxes),
            }
        )
    return lines


def _items_of(element: Element) -> Sequence[Element]:
    entries = element.findall("ALLINVENTORYENTRIES.LIST") or element.findall("INVENTORYENTRIES.LIST")
    return [entry for entry in entries if text_of(entry, "STOCKITEMNAME")]


def _code_of(entry: Element, taxes: Mapping[str, Tax]) -> str:
    """The tax code whose rate the line's rate details add up to; `NON` if there are none."""
    rates: dict[str, Decimal] = {}
    for detail in entry.findall("RATEDETAILS.LIST"):
        head = folded(text_of(detail, "GSTRATEDUTYHEAD"))
        for name, old in _HEADS.items():
            if head.startswith((name, old)):
                rates[name] = number_of(text_of(detail, "GSTRATE")) or Decimal(0)
    rate = rates.get("igst") or rates.get("cgst", Decimal(0)) + rates.get("sgst", Decimal(0))
    return next((code for code, tax in taxes.items() if rates and tax.rate == rate), NO_TAX)


def _invoice(
    element: Element, fields: Mapping[str, Value], open_bills: Mapping[tuple[str, str], Decimal]
) -> dict[str, Value]:
    """Its state, and what is open of its bills. An invoice that made none has all of its total open."""
    total = fields["total"] if isinstance(fields["total"], Decimal) else Decimal(0)
    day = fields["date"]
    bills = bills_of(element)
    credit = _credit_period(element)
    due = day + dt.timedelta(days=credit) if isinstance(day, dt.date) and credit is not None else None
    if flag_of(element, "ISCANCELLED"):
        nothing = Decimal(0)
        return {"status": InvoiceStatus.VOIDED.value, "state": "voided", "balance": nothing, "paid": nothing}
    balance = total
    if bills:
        # A debit that is open is negative.
        left = (-open_bills.get((folded(ledger), folded(bill)), Decimal(0)) for ledger, bill, _ in bills)
        balance = min(max(sum(left, Decimal(0)), Decimal(0)), total)
    paid = total - balance
    return {
        "status": InvoiceStatus.ISSUED.value,
        "due_date": due,
        "terms": _terms(credit),
        "balance": balance,
        "paid": paid,
        "state": "open" if not paid and total else "paid" if not balance else "partly_paid",
    }


def _credit_period(element: Element) -> int | None:
    for posting in postings_of(element):
        for bill in posting.entry.findall("BILLALLOCATIONS.LIST"):
            period = text_of(bill, "BILLCREDITPERIOD/INDAYS") or text_of(bill, "BILLCREDITPERIOD")
            if (days := days_of(period)) is not None:
                return days
    return None


def _payment(element: Element, settings: Settings, masters: Masters, invoices: Mapping[tuple[str, str], str]) -> Record:
    ours, said = reference_of(element), text_of(element, "REFERENCE")
    pays = [
        (invoices[folded(ledger), folded(bill)], amount)
        for ledger, bill, amount in bills_of(element, frozenset({"agstref"}))
        if (folded(ledger), folded(bill)) in invoices
    ]
    fields: dict[str, Value] = {
        "customer": party_of(element, masters),
        "date": day_of(text_of(element, "DATE")),
        "currency": settings.currency,
        "amount": paid_in(element, masters),
        "number": (said if not (ours and said == tag(ours)) else "")
        or (None if ours else text_of(element, "VOUCHERNUMBER")),
        "ledger_number": text_of(element, "VOUCHERNUMBER") or None,
        "allocations": [{"invoice": invoice, "amount": amount} for invoice, amount in pays],
        "invoice_ids": list(dict.fromkeys(invoice for invoice, _ in pays)),
    }
    return _record(Kind.PAYMENT, element, fields | ({"reference": ours} if ours else {}))


def last_payments(receipts: Iterable[Element]) -> dict[tuple[str, str], dt.date]:
    """By folded ledger and bill, the day of the last receipt for it."""
    last: dict[tuple[str, str], dt.date] = {}
    for receipt in receipts:
        day = day_of(text_of(receipt, "DATE"))
        if day is None or flag_of(receipt, "ISCANCELLED"):
            continue
        for ledger, bill, _ in bills_of(receipt, frozenset({"agstref"})):
            key = (folded(ledger), folded(bill))
            last[key] = max(day, last.get(key, day))
    return last


def _record(kind: Kind, element: Element, fields: Mapping[str, Value]) -> Record:
    return Record(kind, guid_of(element), version=text_of(element, "ALTERID"), fields=fields)
