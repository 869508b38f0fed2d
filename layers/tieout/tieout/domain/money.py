"""Money: an exact amount with its currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

CURRENCY_LENGTH = 3
DIGITS_MIN = 28
CENT = Decimal("0.01")


@lru_cache(maxsize=256)
def minor_unit(currency: str) -> Decimal:
    """The smallest amount of `currency` (ISO 4217, upper case): 0.01 for EUR, 1 for JPY, 0.001 for KWD.

    Source: Unicode CLDR, through Babel.
    """
    from babel.numbers import get_currency_precision  # noqa: PLC0415 - Babel is only loaded where money is rounded

    return Decimal(1).scaleb(-get_currency_precision(currency))


def rounded(amount: Decimal, unit: Decimal = CENT) -> Decimal:
    """The amount rounded half up to the unit, however large it is."""
    digits = Context(prec=max(DIGITS_MIN, amount.adjusted() + DIGITS_MIN))  # as many as there are, and more
    return amount.quantize(unit, ROUND_HALF_UP, digits)


def is_currency(text: str) -> bool:
    """True if the text looks like a currency: three capital letters (ISO 4217)."""
    return len(text) == CURRENCY_LENGTH and text.isascii() and text.isalpha() and text.isupper()


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount with its currency."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not self.amount.is_finite():
            raise ValueError(f"an amount is a finite Decimal, not {self.amount!r}")
        if not is_currency(self.currency):
            raise ValueError(f"a currency is three capital letters (ISO 4217), not {self.currency!r}")

    def rounded(self) -> Money:
        """The amount rounded half up to the currency's minor unit."""
        return Money(rounded(self.amount, minor_unit(self.currency)), self.currency)

    def __str__(self) -> str:
        """For people: `10,005,534.00 USD`."""
        return f"{self.rounded().amount:,f} {self.currency}"
