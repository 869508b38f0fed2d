"""How amounts, counts and lengths of time are said."""

from __future__ import annotations

from decimal import Decimal

from tieout.domain.words import age, counted, said


def test_amounts_and_ages_in_words():
    assert said(Decimal(1054), "USD") == "1,054.00 USD"
    assert said(Decimal(1054), "JPY") == "1,054 JPY"
    assert said(Decimal("-0.5"), "KWD") == "-0.500 KWD"
    assert said(Decimal("12.5"), "") == "12.5"
    assert [age(0), age(61), age(3600), age(2 * 86400 + 5)] == ["less than a minute", "1 minute", "1 hour", "2 days"]
    assert [counted(1, "company"), counted(2, "company"), counted(1200, "invoice")] == [
        "1 company",
        "2 companies",
        "1,200 invoices",
    ]
