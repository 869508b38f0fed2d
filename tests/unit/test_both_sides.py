"""The verdict of `make faults` sees what it is there to see."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from tests.e2e.both_sides import differences
from tieout_sandbox.sides import Deal, Invoice

DEAL = Deal("1", "GTX Pro for Acme", "A1", "Acme", Decimal("10.00"))
OTHER_DEAL = Deal("2", "GTX Basic for Acme", "A2", "Acme", Decimal("7.50"), Decimal("7.5"))
INVOICE = Invoice("101", "A1", "Acme", Decimal(10), Decimal(0))
OTHER_INVOICE = Invoice("102", "A2", "Acme", Decimal("7.50"), Decimal("7.50"))


def test_equal_sides_differ_in_nothing() -> None:
    assert differences([DEAL, OTHER_DEAL], [OTHER_INVOICE, INVOICE]) == []


def test_doubled_invoice() -> None:
    doubled = replace(INVOICE, id="103")
    assert differences([DEAL, OTHER_DEAL], [INVOICE, doubled, OTHER_INVOICE]) == ["A1: 2 invoices"]


def test_lost_invoice() -> None:
    assert differences([DEAL, OTHER_DEAL], [INVOICE]) == ["A2: no invoice"]


def test_invoice_of_no_deal() -> None:
    assert differences([DEAL], [INVOICE, OTHER_INVOICE]) == ["A2: an invoice, but no won deal"]


def test_wrong_total_customer_and_payment() -> None:
    wrong = Invoice("101", "A1", "Bcme", Decimal("10.01"), Decimal(1))
    assert differences([DEAL], [wrong]) == [
        "A1: customer Acme in the CRM, Bcme in the books",
        "A1: paid 0 in the CRM, 1 in the books",
        "A1: total 10.00 in the CRM, 10.01 in the books",
    ]
