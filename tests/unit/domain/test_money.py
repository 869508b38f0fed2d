"""Money: exact amounts, however large, in a currency that looks like one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tieout.domain.money import Money, is_currency


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        ("10005534", "USD", "10,005,534.00 USD"),
        ("1.005", "USD", "1.01 USD"),
        ("-1.005", "EUR", "-1.01 EUR"),
        ("0.5", "JPY", "1 JPY"),
        ("1.0005", "KWD", "1.001 KWD"),
        ("0", "USD", "0.00 USD"),
        ("1E-10", "USD", "0.00 USD"),
        ("1E+30", "USD", "1,000,000,000,000,000,000,000,000,000,000.00 USD"),
        ("123456789012345678901234567890.125", "USD", "123,456,789,012,345,678,901,234,567,890.13 USD"),
    ],
)
def test_an_amount_is_rounded_half_up_to_what_its_currency_has(amount: str, currency: str, said: str):
    assert str(Money(Decimal(amount), currency)) == said


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_no_amount(amount: str):
    with pytest.raises(ValueError, match="finite"):
        Money(Decimal(amount), "USD")


@pytest.mark.parametrize("text", ["usd", "US", "USDT", "", "U5D", "\u00c4\u00c4\u00c4", "U D"])
def test_what_does_not_look_like_a_currency_is_none(text: str):
    assert not is_currency(text)
    with pytest.raises(ValueError, match="three capital letters"):
        Money(Decimal(1), text)
