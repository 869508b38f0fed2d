"""The verdict of `make faults` sees what it is there to see."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from tests.e2e.both_sides import Sale, differences

ONE = Sale("A1", "Acme", Decimal("10.00"), Decimal(0))
OTHER = Sale("A2", "Acme", Decimal("7.50"), Decimal("7.5"))


def test_equal_sides_differ_in_nothing() -> None:
    assert differences([ONE, OTHER], [OTHER, replace(ONE, total=Decimal(10))]) == []


def test_doubled_invoice() -> None:
    assert differences([ONE, OTHER], [ONE, ONE, OTHER]) == ["A1: 2 invoices"]


def test_lost_invoice() -> None:
    assert differences([ONE, OTHER], [ONE]) == ["A2: no invoice"]


def test_invoice_of_no_deal() -> None:
    assert differences([ONE], [ONE, OTHER]) == ["A2: an invoice, but no won deal"]


def test_wrong_total_customer_and_payment() -> None:
    wrong = Sale("A1", "Bcme", Decimal("10.01"), Decimal(1))
    assert differences([ONE], [wrong]) == [
        "A1: customer Acme in the CRM, Bcme in the books",
        "A1: paid 0 in the CRM, 1 in the books",
        "A1: total 10.00 in the CRM, 10.01 in the books",
    ]
