"""Amounts, counts and lengths of time as people say them, in e-mails and on the screen."""

from __future__ import annotations

from decimal import Decimal

from tieout.domain.money import Money, is_currency

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def age(seconds: float) -> str:
    """A length of time in words: `3 days`, `2 hours`, `45 minutes`, `less than a minute`."""
    for length, word in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= length:
            return counted(int(seconds // length), word)
    return "less than a minute"


def counted(count: int, noun: str) -> str:
    """`1 invoice`, `2 invoices`, `3 companies`."""
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
    return f"{count:,} {plural}"


def said(amount: Decimal, currency: str) -> str:
    """`1,054.00 USD`; the bare number if no currency is known."""
    if is_currency(currency):
        return str(Money(amount, currency))
    return f"{amount:,f} {currency}".rstrip()
