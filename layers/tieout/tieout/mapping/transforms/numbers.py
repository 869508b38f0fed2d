"""Numbers and money: exact, never a float."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Self, override

from pydantic import Field, field_validator, model_validator

from tieout.domain.money import minor_unit
from tieout.domain.records import Value
from tieout.mapping.paths import ABSENT
from tieout.mapping.transforms.base import LocaleName, Params, PathText, Reading, RefusedError, Surroundings
from tieout.mapping.transforms.values import DIGITS_MAX, is_number, quoted, shortened, text_of


class Number(Reading):
    """Reads a number that is written as text."""

    gives = "number"

    locale: LocaleName | None = Field(
        default=None,
        description="How it is written: `en_US` 1,234.56; `de_DE` 1.234,56; `fr_FR` 1 234,56. Without it, only digits"
        " with at most one point are read.",
    )

    @override
    def understand(self, value: Value, around: Surroundings) -> Value:
        """The exact number."""
        if is_number(value):
            return _finite(Decimal(value))
        return read_number(text_of(value), self.locale)


class Multiply(Params):
    """Multiplies a number: by 0.01 for cents, by -1 to change the sign."""

    gives = "number"

    by: int | Decimal = Field(description="The factor.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The exact product."""
        return _finite(number_of(value) * self.by)


class MoneyAmount(Params):
    """Makes an exact amount: rounded half up to what the currency has (cents for USD, none for JPY)."""

    gives = "number"

    currency: str | None = Field(default=None, description="The currency, such as `USD`.")
    currency_path: PathText | None = Field(default=None, description="Where the record says its currency.")

    @field_validator("currency")
    @classmethod
    def _known(cls, code: str | None) -> str | None:
        from babel.numbers import is_currency  # noqa: PLC0415 - only loaded where it is used

        if code is not None and not is_currency(code):
            raise ValueError(f"`{code}` is not a currency: write the three capital letters of ISO 4217, such as `USD`")
        return code

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.currency is None) == (self.currency_path is None):
            raise ValueError("give either `currency` or `currency_path`")
        return self

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The rounded amount; null if it is empty text."""
        if isinstance(value, str) and not value.strip():
            return None
        amount = number_of(value)
        try:
            return amount.quantize(minor_unit(self._code(around)), ROUND_HALF_UP)
        except InvalidOperation:
            raise RefusedError(f"{quoted(value)} is too large for an amount of money.") from None

    def _code(self, around: Surroundings) -> str:
        if self.currency is not None:
            return self.currency
        code = around.look(self.currency_path or "")
        if isinstance(code, str) and re.fullmatch("[A-Z]{3}", code):
            return code
        said = "nothing" if code is None or code is ABSENT else quoted(code)
        raise RefusedError(
            f"The amount has no currency: `{self.currency_path}` says {said}.",
            "Enter the currency as three capital letters, such as USD.",
        )


def number_of(value: Value) -> Decimal:
    """The number; plainly written text counts too.

    Raises:
        RefusedError: If it is none.
    """
    if is_number(value):
        return _finite(Decimal(value))
    if isinstance(value, str):
        return read_number(value, None)
    raise RefusedError(f"{quoted(value)} is not a number.")


def _finite(number: Decimal) -> Decimal:
    if not number.is_finite() or (number and abs(number.adjusted()) > DIGITS_MAX):
        raise RefusedError(f"{shortened(str(number))} is not a number to calculate with.")
    return number


def read_number(text: str, locale: str | None) -> Decimal:
    """The number that `text` writes in the way of `locale`; without one, digits with at most one point.

    Raises:
        RefusedError: If it writes none, or could mean another one elsewhere.
    """
    plain = " ".join(text.split())
    if locale is None:
        if len(plain) <= DIGITS_MAX and re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", plain):
            return Decimal(plain)
    elif len(plain) <= DIGITS_MAX and re.fullmatch(r"[-+]?[0-9][0-9.,'\u2019\s]*", plain):
        from babel.numbers import NumberFormatError, get_group_symbol, parse_decimal  # noqa: PLC0415 - only here

        group = get_group_symbol(locale)
        written = re.sub(r"\s", group, plain) if group.isspace() else plain
        written = re.sub("['\u2019]", group, written) if group in "'\u2019" else written
        try:
            return parse_decimal(written.removeprefix("+"), locale, strict=True)
        except NumberFormatError:
            pass
    way = f" as `{locale}` writes it" if locale else ""
    raise RefusedError(
        f"{quoted(text)} is not a number{way}.",
        "Correct the number" + (", or set `locale` in this rule's `number`." if locale is None else "."),
    )
