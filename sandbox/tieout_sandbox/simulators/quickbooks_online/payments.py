"""Rules of payments: what they pay, and how invoices and credit memos follow."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from tieout_sandbox.simulators.quickbooks_online.books import HOME_CURRENCY, Books, Record
from tieout_sandbox.simulators.quickbooks_online.errors import (
    bad_enumeration,
    bad_reference,
    business,
    not_linkable,
    required,
)
from tieout_sandbox.simulators.quickbooks_online.sales import (
    cents,
    open_date,
    refuse_foreign_currency,
    voided_note,
    with_balance,
)

UNDEPOSITED_FUNDS = {"value": "4", "name": "Undeposited Funds"}

Key = tuple[str, str]


def completed_payment(books: Books, fields: Record, former: Record | None) -> Record:
    """A payment with all that QuickBooks adds.

    Raises:
        FaultError: 2020, 2170, 2500, 610, 620, 6000 or 6210.
    """
    for needed in ("CustomerRef", "TotalAmt"):
        if needed not in fields:
            raise required(needed)
    customer = books.referred("Customer", fields["CustomerRef"], "Names")
    when = open_date(books, fields, former)
    refuse_foreign_currency(fields)
    total = cents(fields["TotalAmt"])
    if total < 0:
        raise business("The payment amount must be zero or greater.")
    wanted = _wanted(fields)
    for key, amount in wanted.items():
        _refuse_unpayable(books, key, amount, customer, former)
    used = sum((amount if key[0] == "Invoice" else -amount for key, amount in wanted.items()), Decimal(0))
    if used > total:
        raise business("The amount applied exceeds the payment's total.")
    return {
        "Line": [],
        "ProcessPayment": False,
        "DepositToAccountRef": UNDEPOSITED_FUNDS,
        **{name: value for name, value in fields.items() if name != "ExchangeRate"},
        "CustomerRef": {"value": customer["Id"], "name": customer["DisplayName"]},
        "CurrencyRef": HOME_CURRENCY,
        "TxnDate": when.isoformat(),
        "TotalAmt": total,
        "UnappliedAmt": total - used,
    }


def apply_payment(books: Books, payment_id: str, payment: Record | None) -> None:
    """Let the forms follow: those that the payment pays now, and those that it paid before."""
    before = {key for key, payments in books.applied.items() if payment_id in payments}
    for key in before:
        del books.applied[key][payment_id]
    if payment is not None:
        books.note_applied(payment)
    now = {key for key, payments in books.applied.items() if payment_id in payments} if payment is not None else set()
    for entity, record_id in sorted(before | now):
        form = books.tables[entity].records.get(record_id)
        if form is not None:
            books.replace(entity, form, with_balance(books, entity, form, record_id))


def voided_payment(payment: Record) -> Record:
    """The payment with nothing paid, marked in its private note."""
    return {
        **payment,
        "Line": [],
        "TotalAmt": Decimal(0),
        "UnappliedAmt": Decimal(0),
        "PrivateNote": voided_note(payment),
    }


def release_form(books: Books, entity: str, record_id: str) -> None:
    """Take an invoice or a credit memo out of the payments that took of it: their money is unapplied again."""
    for payment_id in list(books.applied.pop((entity, record_id), {})):
        payment = books.get("Payment", payment_id)
        lines = [line for line in payment["Line"] if not _is_about(line, entity, record_id)]
        rest = {**payment, "Line": lines}
        used = sum((a if key[0] == "Invoice" else -a for key, a in _wanted(rest).items()), Decimal(0))
        books.replace("Payment", payment, {**rest, "UnappliedAmt": payment["TotalAmt"] - used})


def _is_about(line: Record, entity: str, record_id: str) -> bool:
    return any((linked["TxnType"], linked["TxnId"]) == (entity, record_id) for linked in line["LinkedTxn"])


def _wanted(payment: Record) -> dict[Key, Decimal]:
    """How much the payment's lines take of each form."""
    wanted: defaultdict[Key, Decimal] = defaultdict(Decimal)
    for line in payment.get("Line", ()):
        if "Amount" not in line:
            raise required("Line.Amount")
        if not line.get("LinkedTxn"):
            raise required("Line.LinkedTxn")
        linked = line["LinkedTxn"][0]
        kind = linked.get("TxnType")
        if kind not in {"Invoice", "CreditMemo"}:
            raise bad_enumeration("Line.LinkedTxn.TxnType", kind)
        wanted[kind, linked.get("TxnId", "")] += Decimal(line["Amount"])
    return wanted


def _refuse_unpayable(books: Books, key: Key, amount: Decimal, customer: Record, former: Record | None) -> None:
    entity, record_id = key
    form = books.tables[entity].records.get(record_id)
    if form is None:
        raise bad_reference("Transactions", record_id)
    if form["CustomerRef"]["value"] != customer["Id"]:
        raise not_linkable("the transaction belongs to another customer")
    own = books.applied.get(key, {}).get(former["Id"], Decimal(0)) if former else Decimal(0)
    if amount < 0 or amount > form["Balance"] + own:
        raise business("The amount applied exceeds the transaction's open balance.")
