"""What identifies a customer: e-mail address, phone number, tax number."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Self, override

from pydantic import Field, field_validator, model_validator

from tieout.domain.records import Value
from tieout.mapping.transforms.base import PathText, Reading, RefusedError, Surroundings
from tieout.mapping.transforms.countries import country_at
from tieout.mapping.transforms.values import quoted, shortened, text_of


class Email(Reading):
    """Checks an e-mail address, and writes its domain in small letters."""

    @override
    def understand(self, value: Value, around: Surroundings) -> Value:
        """The address."""
        text = text_of(value).strip().removeprefix("mailto:")
        local, at, domain = text.rpartition("@")
        if (
            not at
            or not re.fullmatch(r"[^\s@<>(),;:\"\[\]\\]{1,64}", local)
            or local != local.strip(".")
            or not re.fullmatch(r"([\w]([\w-]{0,61}[\w])?\.)+[^\W\d_][\w-]{0,61}[\w]", domain)
        ):
            raise RefusedError(f"{quoted(text)} is not an e-mail address.", "Correct the address in the record.")
        return f"{local}@{domain.lower()}"


class Phone(Reading):
    """Writes a phone number in the international form: `(650) 555-0123` in the US becomes `+16505550123`."""

    region: str | None = Field(
        default=None, pattern="^[A-Z]{2}$", description="Country of numbers without a country code, such as `US`."
    )
    region_path: PathText | None = Field(
        default=None, description="Where the record says that country (`address.country`)."
    )

    @override
    def understand(self, value: Value, around: Surroundings) -> Value:
        """The number as E.164; an extension is left out with a notice."""
        import phonenumbers  # noqa: PLC0415 - only loaded where it is used

        text = text_of(value).strip()
        try:
            number = phonenumbers.parse(text, country_at(self.region_path, around) or self.region)
        except phonenumbers.NumberParseException:
            number = None
        if number is None or not phonenumbers.is_possible_number(number):
            raise RefusedError(
                f"{quoted(text)} is not a phone number.", "Correct it in the record, with its country code."
            )
        if number.extension:
            around.notice(f"The extension {shortened(number.extension)} of a phone number was left out.")
            number.extension = None
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


class TaxId(Reading):
    """Checks a tax number by its country's rules (length, letters, check digit) and writes it without spaces."""

    type: str | None = Field(
        default=None,
        description="Which number: `eu.vat`, `in.gstin`, `us.ein`, `gb.vat`, `au.abn` …: country and name as"
        " python-stdnum has them.",
    )
    country_path: PathText | None = Field(
        default=None, description="Where the record says its country; the number is then that country's VAT number."
    )

    @field_validator("type")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and _tax_checker(name) is None:
            raise ValueError(f"`{name}` is not a tax number that can be checked, such as `eu.vat` or `in.gstin`")
        return name

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.type is None) == (self.country_path is None):
            raise ValueError("give either `type` or `country_path`")
        return self

    @override
    def understand(self, value: Value, around: Surroundings) -> Value:
        """The number without spaces and hyphens."""
        from stdnum.exceptions import ValidationError as InvalidNumberError  # noqa: PLC0415 - only loaded here

        text = text_of(value)
        name = self.type or self._of_country(around)
        checker = _tax_checker(name)
        if checker is None:
            raise RefusedError(f"We cannot check tax numbers of {name.partition('.')[0].upper()}.")
        try:
            return str(checker(text))
        except InvalidNumberError as invalid:
            why = str(invalid).rstrip(".")
            raise RefusedError(
                f"{quoted(text)} is not a valid tax number ({name}): {why[:1].lower()}{why[1:]}.",
                "Correct the number in the record.",
            ) from None

    def _of_country(self, around: Surroundings) -> str:
        code = country_at(self.country_path, around)
        if code is None:
            raise RefusedError(
                f"The tax number's country is not known: `{self.country_path}` names none.",
                "Enter the country in the record.",
            )
        return f"{code.lower()}.vat"


@lru_cache(maxsize=64)
def _tax_checker(name: str) -> Callable[[str], object] | None:
    """The function that checks and compacts numbers of this kind; None if there is none."""
    from stdnum import get_cc_module  # noqa: PLC0415 - only loaded where it is used

    country, _, kind = name.partition(".")
    if not re.fullmatch("[a-z]{2}", country) or not re.fullmatch("[a-z][a-z0-9_]{1,20}", kind):
        return None
    module = get_cc_module(country, kind)
    found: Callable[[str], object] | None = getattr(module, "validate", None)
    return found
