"""Rules of sales forms: invoices and credit memos. Lines, totals, tax, numbers, due dates, voiding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tieout_sandbox.simulators.quickbooks_online.books import HOME_CURRENCY, Books, Record
from tieout_sandbox.simulators.quickbooks_online.errors import (
    bad_reference,
    business,
    closed_period,
    duplicate_number,
    required,
    unsupported,
    wrong_amount,
    wrong_tax_code,
)
from tieout_sandbox.simulators.quickbooks_online.times import today

DISCOUNT_ACCOUNT = {"value": "86", "name": "Discounts given"}
TAX_RATE_ID = "3"
DEFAULT_ITEM_ID = "1"
FIRST_DOC_NUMBER = 1001
VOIDED = "Voided"

_CENT = Decimal("0.01")
# Source: recorded answers, `invoices.xml` and `change_data_capture_response.xml`.
_INVOICE_DEFAULTS: Mapping[str, Any] = {
    "Deposit": Decimal(0),
    "AllowIPNPayment": False,
    "AllowOnlinePayment": False,
    "AllowOnlineCreditCardPayment": False,
    "AllowOnlineACHPayment": False,
}
# Of companies abroad or with several currencies: sent, they change nothing and are not kept.
_NOT_IN_THE_US = frozenset({"ExchangeRate", "GlobalTaxCalculation", "HomeTotalAmt", "HomeBalance"})


def cents(amount: Decimal) -> Decimal:
    """Rounded half up to whole cents."""
    return amount.quantize(_CENT, ROUND_HALF_UP)


def completed_form(books: Books, entity: str, fields: Record, former: Record | None) -> Record:
    """An invoice or credit memo with all that QuickBooks adds.

    Raises:
        FaultError: 2020, 2500, 500, 610, 6000, 6070, 6100, 6140 or 6210.
    """
    if "CustomerRef" not in fields:
        raise required("CustomerRef")
    customer = books.referred("Customer", fields["CustomerRef"], "Names")
    if not fields.get("Line"):
        raise required("Line")
    when = open_date(books, fields, former)
    refuse_foreign_currency(fields)
    lines, subtotal, discount = _lines(books, fields["Line"], former)
    tax = _tax(books, fields, customer, lines, discount=discount, subtotal=subtotal)
    total = subtotal - discount + tax["TotalTax"]
    if total < 0:
        raise business("Transaction total amount must be zero or greater.")
    form: Record = {
        "CustomField": [],
        "LinkedTxn": [],
        "ApplyTaxAfterDiscount": False,
        "PrintStatus": "NeedToPrint",
        "EmailStatus": "NotSet",
        **(_INVOICE_DEFAULTS if entity == "Invoice" else {}),
        **{address: customer[address] for address in ("BillAddr", "ShipAddr") if address in customer},
        **{name: value for name, value in fields.items() if name not in _NOT_IN_THE_US},
        "CustomerRef": {"value": customer["Id"], "name": customer["DisplayName"]},
        "CurrencyRef": HOME_CURRENCY,
        "TxnDate": when.isoformat(),
        "Line": lines,
        "TxnTaxDetail": tax,
        "TotalAmt": total,
    }
    number = _doc_number(books, entity, fields, former)
    if number is not None:
        form["DocNumber"] = number
    if entity == "Invoice":
        _set_terms(books, form, customer, when)
    return with_balance(books, entity, form, former["Id"] if former else None)


def with_balance(books: Books, entity: str, form: Record, record_id: str | None) -> Record:
    """The form with what is still open, and with the payments that took the rest.

    Raises:
        FaultError: 6000 if more was paid than the form now says (own choice: QuickBooks would free the payment).
    """
    payments = books.applied.get((entity, record_id), {}) if record_id else {}
    left = form["TotalAmt"] - sum(payments.values(), Decimal(0))
    if left < 0:
        raise business("The amount paid exceeds the new total.")
    others = [linked for linked in form["LinkedTxn"] if linked["TxnType"] != "Payment"]
    paid_by = [{"TxnId": payment, "TxnType": "Payment"} for payment in payments]
    whole = {**form, "LinkedTxn": [*others, *paid_by], "Balance": left}
    return {**whole, "RemainingCredit": left} if entity == "CreditMemo" else whole


def voided_form(form: Record) -> Record:
    """The invoice with zero amounts and quantities, and marked in its private note."""
    lines = [{**line, "Amount": Decimal(0)} for line in form["Line"]]
    for line in lines:
        if "SalesItemLineDetail" in line:
            detail = line["SalesItemLineDetail"]
            line["SalesItemLineDetail"] = {**detail, "Qty": Decimal(0)} if "Qty" in detail else detail
    return {
        **form,
        "Line": lines,
        "TxnTaxDetail": {"TotalTax": Decimal(0)},
        "TotalAmt": Decimal(0),
        "Balance": Decimal(0),
        "LinkedTxn": [linked for linked in form["LinkedTxn"] if linked["TxnType"] != "Payment"],
        "PrivateNote": voided_note(form),
    }


def voided_note(record: Mapping[str, Any]) -> str:
    """`Voided`, before what the note said."""
    note = str(record.get("PrivateNote", ""))
    if note.startswith(VOIDED):
        return note
    return f"{VOIDED} - {note}" if note else VOIDED


def open_date(books: Books, fields: Mapping[str, Any], former: Record | None) -> date:
    """The transaction's day.

    Raises:
        FaultError: 6210 if it, or the day that it had, is in a closed period.
    """
    when = date.fromisoformat(fields["TxnDate"]) if "TxnDate" in fields else today(books.clock.now())
    refuse_closed(books, when)
    if former is not None:
        refuse_closed(books, date.fromisoformat(former["TxnDate"]))
    return when


def refuse_closed(books: Books, when: date) -> None:
    """Return if the books are open for that day.

    Raises:
        FaultError: 6210 otherwise.
    """
    if books.settings.closed_until is not None and when <= books.settings.closed_until:
        raise closed_period()


def refuse_foreign_currency(fields: Mapping[str, Any]) -> None:
    """Return if the form is in the home currency: multi-currency is off.

    Raises:
        FaultError: 6000 otherwise.
    """
    if fields.get("CurrencyRef", HOME_CURRENCY)["value"] != HOME_CURRENCY["value"]:
        raise business("Multi Currency should be enabled to perform this operation.")


def _lines(books: Books, sent: Sequence[Record], former: Record | None) -> tuple[list[Record], Decimal, Decimal]:
    """The lines in the order of an answer, the subtotal, and the discount."""
    known = {line["Id"] for line in former["Line"] if "Id" in line} if former else set()
    last_id = max((int(line_id) for line_id in known), default=0)
    listed: list[Record] = []
    discounts: list[Record] = []
    for line in sent:
        kind = line.get("DetailType")
        if kind is None:
            raise required("Line.DetailType")
        if kind == "SubTotalLineDetail":  # QuickBooks writes this line itself
            continue
        if kind == "DiscountLineDetail":
            discounts.append(line)
            continue
        if kind not in {"SalesItemLineDetail", "DescriptionOnly"}:
            raise unsupported(f"Line.{kind}")
        whole = _sales_line(books, line) if kind == "SalesItemLineDetail" else dict(line)
        if whole.get("Id") not in known:
            last_id += 1
            whole["Id"] = str(last_id)
        listed.append({**whole, "LineNum": Decimal(len(listed) + 1)})
    subtotal = sum((line["Amount"] for line in listed if "Amount" in line), Decimal(0))
    shown = [_discount_line(line, subtotal) for line in discounts]
    subtotal_line: Record = {"Amount": subtotal, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}
    discount = sum((line["Amount"] for line in shown), Decimal(0))
    return [*listed, subtotal_line, *shown], subtotal, discount


def _sales_line(books: Books, line: Record) -> Record:
    if "Amount" not in line:
        raise required("Line.Amount")
    detail = line.get("SalesItemLineDetail", {})
    if "Qty" in detail and "UnitPrice" in detail and cents(detail["Qty"] * detail["UnitPrice"]) != line["Amount"]:
        raise wrong_amount(line["Amount"])
    item = books.referred("Item", detail.get("ItemRef", {"value": DEFAULT_ITEM_ID}), "Items")
    if item["Type"] == "Category":
        raise business("A category cannot be used on a transaction line.")
    tax_code = detail.get("TaxCodeRef", {}).get("value", "NON")
    if tax_code not in {"TAX", "NON"}:
        raise wrong_tax_code()
    completed = {
        **detail,
        "ItemRef": {"value": item["Id"], "name": item["FullyQualifiedName"]},
        "TaxCodeRef": {"value": tax_code},
    }
    if "IncomeAccountRef" in item:
        completed["ItemAccountRef"] = item["IncomeAccountRef"]
    return {**line, "Amount": cents(line["Amount"]), "SalesItemLineDetail": completed}


def _discount_line(line: Record, subtotal: Decimal) -> Record:
    detail = {"PercentBased": False, "DiscountAccountRef": DISCOUNT_ACCOUNT, **line.get("DiscountLineDetail", {})}
    if detail["PercentBased"]:
        if "DiscountPercent" not in detail:
            raise required("Line.DiscountLineDetail.DiscountPercent")
        amount = cents(subtotal * detail["DiscountPercent"] / 100)
    elif "Amount" in line:
        amount = cents(line["Amount"])
    else:
        raise required("Line.Amount")
    shown = {"Amount": amount, "DetailType": "DiscountLineDetail", "DiscountLineDetail": detail}
    return {**shown, "Description": line["Description"]} if "Description" in line else shown


def _tax(
    books: Books, fields: Record, customer: Record, lines: Sequence[Record], *, discount: Decimal, subtotal: Decimal
) -> Record:
    """The tax of the lines with code TAX; sent tax counts only with a tax code and a total beside it."""
    sent = fields.get("TxnTaxDetail", {})
    if "TxnTaxCodeRef" in sent and "TotalTax" in sent:
        return {"TxnTaxCodeRef": sent["TxnTaxCodeRef"], "TotalTax": cents(sent["TotalTax"])}
    taxable = sum((line["Amount"] for line in lines if _is_taxed(line)), Decimal(0))
    if fields.get("ApplyTaxAfterDiscount") and subtotal != 0:
        taxable -= cents(discount * taxable / subtotal)
    percent = books.settings.sales_tax_percent
    tax = cents(taxable * percent / 100)
    if percent == 0 or taxable == 0 or not customer["Taxable"]:
        return {"TotalTax": Decimal(0)}
    detail = {
        "TaxRateRef": {"value": TAX_RATE_ID},
        "PercentBased": True,
        "TaxPercent": percent,
        "NetAmountTaxable": taxable,
    }
    return {"TotalTax": tax, "TaxLine": [{"Amount": tax, "DetailType": "TaxLineDetail", "TaxLineDetail": detail}]}


def _is_taxed(line: Record) -> bool:
    return bool(line.get("SalesItemLineDetail", {}).get("TaxCodeRef", {}).get("value") == "TAX")


def _doc_number(books: Books, entity: str, fields: Mapping[str, Any], former: Record | None) -> str | None:
    """The form's number: as sent, else as it was, else the next one unless the company numbers by itself."""
    number = fields.get("DocNumber")
    table = books.tables[entity]
    if number is not None:
        holders = [holder["Id"] for holder in table.with_value("DocNumber", [number])]
        others = [holder for holder in holders if former is None or holder != former["Id"]]
        if others and books.settings.warn_duplicate_doc_number:
            raise duplicate_number(str(number), entity, others[0])
        return str(number)
    if former is not None or books.settings.custom_txn_numbers:
        return None
    return str(_next_number(books, entity))


def _next_number(books: Books, entity: str) -> int:
    """One more than the number given last; numbers in use are passed over."""
    number = books.next_number.get(entity, FIRST_DOC_NUMBER)
    while books.tables[entity].with_value("DocNumber", [str(number)]):
        number += 1
    books.next_number[entity] = number + 1
    return number


def _set_terms(books: Books, invoice: Record, customer: Record, when: date) -> None:
    """The due date is as sent, else by the form's terms, else by the customer's, else the same day."""
    reference = invoice.get("SalesTermRef", customer.get("SalesTermRef"))
    term = books.tables["Term"].records.get(str(reference["value"])) if reference else None
    if reference and term is None:
        raise bad_reference("Terms", reference["value"])
    if term is not None:
        invoice["SalesTermRef"] = {"value": term["Id"], "name": term["Name"]}
    if "DueDate" not in invoice:
        days = int(term["DueDays"]) if term is not None and "DueDays" in term else 0
        invoice["DueDate"] = (when + timedelta(days=days)).isoformat()
