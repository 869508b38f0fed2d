"""Money: an exact amount with its currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

CURRENCY_LENGTH = 3


@lru_cache(maxsize=256)
def minor_unit(currency: str) -> Decimal:
    """The smallest amount of `currency` (ISO 4217, upper case): 0.01 for EUR, 1 for JPY, 0.001 for KWD.

    Source: Unicode CLDR, through Babel.
    """
    from babel.numbers import get_currency_precision  # noqa: PLC0415 - Babel is only loaded where money is rounded

    return Decimal(1).scaleb(-get_currency_precision(currency))


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount with its currency."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not self.amount.is_finite():
            raise ValueError(f"an amount is a finite Decimal, not {self.amount!r}")
        if len(self.currency) != CURRENCY_LENGTH or not self.currency.isascii() or not self.currency.isupper():
            raise ValueError(f"a currency is three capital letters (ISO 4217), not {self.currency!r}")

    def rounded(self) -> Money:
        """The amount rounded half up to the currency's minor unit."""
        return Money(self.amount.quantize(minor_unit(self.currency), ROUND_HALF_UP), self.currency)

    def __str__(self) -> str:
        """For people: `10,005,534.00 USD`."""
        return f"{self.rounded().amount:,f} {self.currency}"
