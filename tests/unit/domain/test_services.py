"""Projects, hours and expenses: what makes one, and that absent, empty and zero are three things."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from pydantic import ValidationError

from tieout.domain.documents import Estimate, Expense, Line, Project, TimeEntry

DAY = dt.date(2026, 1, 5)
HOURS = {"project": "1", "person": "ada@acme.example", "date": DAY, "hours": Decimal("1.25")}
SPENT = {"account": "1", "date": DAY, "currency": "USD", "amount": Decimal("0.10")}
LINES = (Line(item="1", amount=Decimal("0.10")), Line(item="1", amount=Decimal("0.20")))


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, {}),
        ({"billable": None}, {"billable": None}),
        ({"note": ""}, {"note": ""}),
        ({"rate": Decimal(0)}, {"rate": 0}),
    ],
)
def test_absent_empty_and_zero_are_told_apart(fields, shown):
    assert TimeEntry(**HOURS, **fields).as_fields() == {**HOURS, **shown}


@pytest.mark.parametrize("hours", [Decimal(0), Decimal(-1)])
def test_nobody_works_no_hours(hours):
    with pytest.raises(ValidationError):
        TimeEntry(**{**HOURS, "hours": hours})


@pytest.mark.parametrize("amount", [Decimal(0), Decimal("-12.345")])
def test_an_expense_may_be_nothing_or_a_refund_and_is_exact(amount):
    assert Expense(**{**SPENT, "amount": amount}).amount == amount


@pytest.mark.parametrize("currency", ["dollars", "usd", ""])
def test_a_currency_is_a_code_or_absent(currency):
    for make in (
        lambda: Expense(**{**SPENT, "currency": currency}),
        lambda: Project(name="Roof", customer="1", currency=currency),
        lambda: TimeEntry(**HOURS, currency=currency),
    ):
        with pytest.raises(ValidationError):
            make()
    assert Project(name="Roof", customer="1", currency=None).currency is None


def test_an_estimate_is_worth_its_lines_unless_the_books_tax_them():
    plain = Estimate(customer="1", date=DAY, currency="USD", lines=LINES)
    taxed = plain.model_copy(update={"lines": (*LINES, Line(item="1", amount=Decimal(1), tax_code="VAT"))})

    assert (plain.expected_total(), taxed.expected_total()) == (Decimal("0.30"), None)
