"""Transforms: named steps that turn a value into another, each with typed parameters.

The fields of `Transform` are the table of all transforms: the reader, the published schema and the documentation's
test are driven by it. A transform gets a value that is there (never absent or null) and gives a value, or null if the
value says nothing. What it cannot read it refuses with a sentence.
"""

from __future__ import annotations

import base64
import hashlib
import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from types import NoneType
from typing import Annotated, ClassVar, Literal, Protocol, Self, TypeIs, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tieout.domain.money import minor_unit
from tieout.domain.records import Value
from tieout.mapping.paths import ABSENT, Found, is_list, parse_path

TEXT_LENGTH_MAX = 10_000
DIGITS_MAX = 30


class RefusedError(Exception):
    """A transform cannot read the value; becomes a MappingError with the rule and the path."""

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class Surroundings(Protocol):
    """What a transform sees besides its value."""

    def look(self, path: str) -> Found:
        """What stands at the path in the record."""

    def notice(self, sentence: str) -> None:
        """Tell the person who looks at the result; nothing stops."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Params(_Strict):
    """Base of a transform's parameters."""

    # What comes out, and whether a list is taken as a whole instead of item by item.
    gives: ClassVar[Literal["text", "number", "date", "same"]] = "text"
    takes_list: ClassVar[bool] = False

    def apply(self, value: Value, around: Surroundings) -> Value:
        """What becomes of `value`.

        Raises:
            RefusedError: If it cannot be read.
        """
        raise NotImplementedError


class Reading(Params):
    """A transform that reads a value in a strict form."""

    otherwise: Literal["error", "keep", "empty"] = Field(
        default="error",
        description="What happens to a value that cannot be read: the record is parked, the value is passed on as it"
        " stands with a notice, or the field is emptied with a notice.",
    )

    def apply(self, value: Value, around: Surroundings) -> Value:
        """What `value` means; null if it is empty text."""
        if isinstance(value, str) and not value.strip():
            return None
        try:
            return self.understand(value, around)
        except RefusedError as refused:
            if self.otherwise == "error":
                raise
            done = "passed on as it stands" if self.otherwise == "keep" else "left empty"
            around.notice(f"{refused.message} It was {done}.")
            return value if self.otherwise == "keep" else None

    def understand(self, value: Value, around: Surroundings) -> Value:
        """What `value`, which is not empty text, means."""
        raise NotImplementedError


# Text


class Trim(Params):
    """Takes spaces away at both ends."""

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The text without them."""
        return text_of(value).strip()


class CollapseSpaces(Params):
    """Makes one space of several, line breaks and tabs included, and takes those at both ends away."""

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The text in one line."""
        return " ".join(text_of(value).split())


class Upper(Params):
    """CAPITAL LETTERS."""

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The text in capital letters."""
        return text_of(value).upper()


class Lower(Params):
    """small letters."""

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The text in small letters."""
        return text_of(value).lower()


class Title(Params):
    """Each Word With A Capital."""

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The text with a capital at each word's start; letters after an apostrophe stay small."""
        return re.sub(r"[^\W\d_]+(['\u2019][^\W\d_]+)?", lambda word: word[0].capitalize(), text_of(value))


class Truncate(Params):
    """Cuts text that is too long for the other side, and says so in a notice."""

    length: Annotated[int, Field(ge=1, le=TEXT_LENGTH_MAX)] = Field(description="Characters that may stay.")

    def apply(self, value: Value, around: Surroundings) -> Value:
        """The first `length` characters, without spaces at the end."""
        text = text_of(value)
        if len(text) <= self.length:
            return text
        around.notice(f"Cut from {len(text)} to {self.length} characters: {shortened(text)}.")
        return text[: self.length].rstrip()


class Prefix(Params):
    """Puts text before."""

    text: str = Field(description="What stands before.")

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """Both together; empty text stays empty."""
        text = text_of(value)
        return self.text + text if text else text


class Suffix(Params):
    """Puts text after."""

    text: str = Field(description="What stands after.")

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """Both together; empty text stays empty."""
        text = text_of(value)
        return text + self.text if text else text


class Replace(Params):
    """Replaces each place where a piece of text stands."""

    find: str = Field(min_length=1, description="The piece, letter for letter.")
    put: str = Field(default="", description="What stands there instead.")

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The text with all of them replaced."""
        return text_of(value).replace(self.find, self.put)


class Split(Params):
    """Takes one part of a text: `Doe, Jane` at `,` has the parts `Doe` and `Jane`."""

    at: str = Field(min_length=1, description="What stands between the parts.")
    take: int = Field(default=0, ge=-20, le=20, description="Which part: 0 is the first, -1 the last.")

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The part without spaces at its ends; null if there are not that many."""
        parts = [part.strip() for part in text_of(value).split(self.at)]
        return parts[self.take] if -len(parts) <= self.take < len(parts) else None


class Join(Params):
    """Makes one text of a list, leaving out what is empty."""

    takes_list = True

    with_: str = Field(default=" ", alias="with", description="What stands between the parts.")

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The parts in one text; null if there are none."""
        parts = [text_of(part) for part in (value if is_list(value) else [value]) if part is not None]
        return self.with_.join(part for part in parts if part.strip()) or None


class Slug(Params):
    """Makes a plain name of small letters, digits and hyphens: `Größe 4` becomes `grosse-4`."""

    length: int = Field(default=60, ge=1, le=200, description="Characters at most.")

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The name; null if no letter or digit is left."""
        from slugify import slugify  # noqa: PLC0415 - only loaded where it is used

        return slugify(text_of(value), max_length=self.length) or None


class Hash(Params):
    """Makes a short code that is always the same for the same text, and tells nothing about it."""

    length: int = Field(default=12, ge=6, le=52, description="Letters and digits of the code.")

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The first `length` characters of the text's SHA-256 in base 32, small letters."""
        digest = hashlib.sha256(text_of(value).encode(errors="surrogatepass")).digest()
        return base64.b32encode(digest).decode().lower()[: self.length]


class Lookup(Params):
    """Replaces values by a list that you write: `aliases` passes other values on, `table` refuses them.

    Capital and small letters make no difference unless two entries differ by them alone.
    """

    gives = "same"

    aliases: dict[str, str] | None = Field(default=None, description="Other spellings, and what they mean.")
    table: dict[str, str | int | Decimal | bool | None] | None = Field(
        default=None, description="Every value that may come, and what becomes of it."
    )
    otherwise: str | int | Decimal | bool | None = Field(
        default="error",
        description="With `table`: what becomes of other values: `error` (parks the record), `keep`, or this value.",
    )

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if (self.aliases is None) == (self.table is None):
            raise ValueError("give either `aliases` or `table`")
        if self.aliases is not None and "otherwise" in self.model_fields_set:
            raise ValueError("`otherwise` belongs to `table`: `aliases` always passes other values on")
        return self

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """What the list says of `value`."""
        entries: Mapping[str, Value] = self.table if self.table is not None else self.aliases or {}
        text = text_of(value).strip()
        if text in entries:
            return entries[text]
        folded = {key.casefold(): key for key in entries}
        if len(folded) == len(entries) and (key := folded.get(text.casefold())) is not None:
            return entries[key]
        if self.aliases is not None or self.otherwise == "keep":
            return value
        if self.otherwise != "error":
            return self.otherwise
        raise RefusedError(
            f"{quoted(text)} is not in the table of this rule.", f"Add a line for `{shortened(text)}` to its table."
        )


# Numbers and money


class Number(Reading):
    """Reads a number that is written as text."""

    gives = "number"

    locale: str | None = Field(
        default=None,
        description="How it is written: `en_US` 1,234.56; `de_DE` 1.234,56; `fr_FR` 1 234,56. Without it, only digits"
        " with at most one point are read.",
    )

    @field_validator("locale")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        return known_locale(name)

    def understand(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The exact number."""
        if is_number(value):
            return _finite(Decimal(value))
        return read_number(text_of(value), self.locale)


class Multiply(Params):
    """Multiplies a number: by 0.01 for cents, by -1 to change the sign."""

    gives = "number"

    by: int | Decimal = Field(description="The factor.")

    def apply(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The exact product."""
        try:
            return _finite(number_of(value) * self.by)
        except InvalidOperation:
            raise RefusedError(f"{quoted(value)} is too large to calculate with.") from None


class MoneyAmount(Params):
    """Makes an exact amount: rounded half up to what the currency has (cents for USD, none for JPY)."""

    gives = "number"

    currency: str | None = Field(default=None, description="The currency, such as `USD`.")
    currency_path: str | None = Field(default=None, description="Where the record says its currency.")

    @field_validator("currency")
    @classmethod
    def _known(cls, code: str | None) -> str | None:
        from babel.numbers import is_currency  # noqa: PLC0415 - only loaded where it is used

        if code is not None and not is_currency(code):
            raise ValueError(f"`{code}` is not a currency: write the three capital letters of ISO 4217, such as `USD`")
        return code

    @field_validator("currency_path")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        return known_path(path)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.currency is None) == (self.currency_path is None):
            raise ValueError("give either `currency` or `currency_path`")
        return self

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


# Dates


class DateOf(Reading):
    """Reads a date. ISO dates (2026-01-31) are always understood."""

    gives = "date"

    format: str | None = Field(
        default=None,
        description="How it is written: `DD.MM.YYYY`, `M/D/YY`, `D MMM YYYY` (Jan), `D MMMM YYYY` (January).",
    )
    locale: str | None = Field(
        default=None, description="Whose order of day and month, and whose names of months: `de_DE`, `en_US`."
    )
    timezone: str = Field(default="UTC", description="Where the day is counted, for moments: `Europe/Berlin`.")

    @field_validator("format")
    @classmethod
    def _form(cls, form: str | None) -> str | None:
        if form is not None:
            _date_pattern(form, None)
        return form

    @field_validator("locale")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        return known_locale(name)

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"`{name}` is not a time zone, such as `Europe/Berlin`") from error
        return name

    def understand(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The date."""
        if isinstance(value, datetime):
            return self._day(value)
        if isinstance(value, date):
            return value
        text = text_of(value).strip()
        found = self._iso(text) or (
            read_by_format(text, self.format, self.locale) if self.format else read_by_order(text, self.locale)
        )
        if found is None:
            how = f"`{self.format}`" if self.format else "such as 2026-01-31"
            raise RefusedError(
                f"{quoted(text)} is not a date {how}.", "Correct the date, or set `format` in this rule's `date`."
            )
        return found

    def _iso(self, text: str) -> date | None:
        if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return None
        try:
            return self._day(datetime.fromisoformat(text))
        except ValueError:
            return None

    def _day(self, moment: datetime) -> date:
        if moment.tzinfo is None:
            return moment.date()
        try:
            return moment.astimezone(ZoneInfo(self.timezone)).date()
        except OverflowError:
            raise RefusedError(f"{quoted(moment.date().isoformat())} is outside the calendar.") from None


class TermsToDueDate(Params):
    """Makes the due date of an invoice date, by the terms of payment."""

    gives = "date"

    days: int | None = Field(default=None, ge=0, le=3650, description="Days after the invoice date.")
    end_of_month_plus_days: int | None = Field(
        default=None, ge=0, le=3650, description="Days after the last day of the invoice's month."
    )
    terms_path: str | None = Field(
        default=None,
        description="Where the record says its terms: `Net 30`, `30 days`, `EOM + 10`, `Due on receipt`. Where it says"
        " none, `days` or `end_of_month_plus_days` counts.",
    )

    @field_validator("terms_path")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        return known_path(path)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.days is None) == (self.end_of_month_plus_days is None):
            raise ValueError("give either `days` or `end_of_month_plus_days`")
        return self

    def apply(self, value: Value, around: Surroundings) -> Value:
        """The due date."""
        start = DateOf().apply(value, around)
        if not isinstance(start, date):
            return None
        days, from_month_end = self.days, self.end_of_month_plus_days is not None
        if days is None:
            days = self.end_of_month_plus_days
        said = around.look(self.terms_path) if self.terms_path else ABSENT
        if isinstance(said, str) and said.strip():
            days, from_month_end = read_terms(said)
        if from_month_end:
            start = start.replace(day=monthrange(start.year, start.month)[1])
        try:
            return start + timedelta(days=days or 0)
        except OverflowError:
            raise RefusedError(f"The due date after {start.isoformat()} is outside the calendar.") from None


# Contact data


class Email(Reading):
    """Checks an e-mail address, and writes its domain in small letters."""

    def understand(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
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
    region_path: str | None = Field(default=None, description="Where the record says that country (`address.country`).")

    @field_validator("region_path")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        return known_path(path)

    def understand(self, value: Value, around: Surroundings) -> Value:
        """The number as E.164; an extension is left out with a notice."""
        import phonenumbers  # noqa: PLC0415 - only loaded where it is used

        text = text_of(value).strip()
        try:
            number = phonenumbers.parse(text, self._region(around))
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

    def _region(self, around: Surroundings) -> str | None:
        said = around.look(self.region_path) if self.region_path else ABSENT
        code = country_code(said, {}, None) if isinstance(said, str) else None
        return code or self.region


class Country(Reading):
    """Makes the two letters of ISO 3166 of a country's name or code."""

    aliases: dict[str, str] = Field(default={}, description="Other spellings, and the two letters that they mean.")
    locale: str | None = Field(default=None, description="Language of the names besides English: `de` for Österreich.")

    @field_validator("locale")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        return known_locale(name)

    @field_validator("aliases")
    @classmethod
    def _codes(cls, aliases: dict[str, str]) -> dict[str, str]:
        for name, code in aliases.items():
            if country_code(code, {}, None) != code:
                raise ValueError(f"`{code}` (for `{name}`) is not two capital letters of ISO 3166, such as `PH`")
        return aliases

    def understand(self, value: Value, around: Surroundings) -> Value:  # noqa: ARG002 - every transform has this form
        """The two letters."""
        text = text_of(value)
        code = country_code(text, self.aliases, self.locale)
        if code is None:
            raise RefusedError(
                f"{quoted(text)} is not a country that we know.",
                f"Correct it in the record, or add `{shortened(text)}` to `aliases` of this rule's `country`.",
            )
        return code


class TaxId(Reading):
    """Checks a tax number by its country's rules (length, letters, check digit) and writes it without spaces."""

    type: str | None = Field(
        default=None,
        description="Which number: `eu.vat`, `in.gstin`, `us.ein`, `gb.vat`, `au.abn` …: country and name as"
        " python-stdnum has them.",
    )
    country_path: str | None = Field(
        default=None, description="Where the record says its country; the number is then that country's VAT number."
    )

    @field_validator("type")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and _tax_checker(name) is None:
            raise ValueError(f"`{name}` is not a tax number that can be checked, such as `eu.vat` or `in.gstin`")
        return name

    @field_validator("country_path")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        return known_path(path)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.type is None) == (self.country_path is None):
            raise ValueError("give either `type` or `country_path`")
        return self

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
        said = around.look(self.country_path or "")
        code = country_code(said, {}, None) if isinstance(said, str) else None
        if code is None:
            raise RefusedError(
                f"The tax number's country is not known: `{self.country_path}` names none.",
                "Enter the country in the record.",
            )
        return f"{code.lower()}.vat"


class Transform(_Strict):
    """One transform: its name alone, or its name with parameters."""

    trim: Trim | None = None
    collapse_spaces: CollapseSpaces | None = None
    upper: Upper | None = None
    lower: Lower | None = None
    title: Title | None = None
    truncate: Truncate | None = None
    prefix: Prefix | None = None
    suffix: Suffix | None = None
    replace: Replace | None = None
    split: Split | None = None
    join: Join | None = None
    slug: Slug | None = None
    hash: Hash | None = None
    lookup: Lookup | None = None
    number: Number | None = None
    multiply: Multiply | None = None
    money: MoneyAmount | None = None
    date: DateOf | None = None
    terms_to_due_date: TermsToDueDate | None = None
    email: Email | None = None
    phone: Phone | None = None
    country: Country | None = None
    tax_id: TaxId | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, written: object) -> object:
        return {written: {}} if isinstance(written, str) else written

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1 or self.chosen is None:
            raise ValueError("write one transform in each line of the list, such as `- truncate: {length: 100}`")
        return self

    @property
    def name(self) -> str:
        """Which transform it is."""
        return next(iter(self.model_fields_set))

    @property
    def chosen(self) -> Params | None:
        """Its parameters."""
        found: Params | None = getattr(self, self.name)
        return found

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of both ways to write it."""
        schema = handler.resolve_ref_schema(handler(core))
        whole = {key: schema["properties"][key] for key in schema["properties"]}
        for key, part in whole.items():
            whole[key] = next(choice for choice in part["anyOf"] if choice.get("type") != "null")
        alone = [name for name, params in TRANSFORMS.items() if not _needs_parameters(params)]
        return {
            "title": "Transform",
            "description": cls.__doc__,
            "anyOf": [
                {"enum": alone},
                {
                    "type": "object",
                    "properties": whole,
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
        }


TRANSFORMS: Mapping[str, type[Params]] = {
    name: next(choice for choice in get_args(field.annotation) if choice is not NoneType)
    for name, field in Transform.model_fields.items()
}


def _needs_parameters(params: type[Params]) -> bool:
    try:
        params.model_validate({})
    except ValidationError:
        return True
    return False


# What a value says


def text_of(value: Value) -> str:
    """The text, or the number or date in writing.

    Raises:
        RefusedError: If it is yes/no, a list or an object, or longer than any field.
    """
    if isinstance(value, str):
        text = value
    elif is_number(value):
        text = _digits(value)
    elif isinstance(value, date):
        text = value.isoformat()
    else:
        raise RefusedError(f"{quoted(value)} is not text.")
    if len(text) > TEXT_LENGTH_MAX:
        raise RefusedError(f"The text {quoted(text)} has more than {TEXT_LENGTH_MAX:,} characters.")
    return text


def _digits(value: int | Decimal) -> str:
    """The number in writing, without an exponent unless it is far from any number that people write."""
    if isinstance(value, int):
        # Python refuses to write numbers of thousands of digits.
        return str(value) if value.bit_length() < TEXT_LENGTH_MAX else "a number of thousands of digits"
    return format(value, "f") if value.is_finite() and abs(value.adjusted()) < DIGITS_MAX else str(value)


def is_number(value: object) -> TypeIs[int | Decimal]:
    """True for whole and decimal numbers; yes and no are none."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


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


def read_terms(text: str) -> tuple[int, bool]:
    """Days, and whether they are counted from the end of the month.

    Raises:
        RefusedError: If the text is no terms that we know.
    """
    words = " ".join(text.lower().replace(".", "").split())
    if words in {"due on receipt", "on receipt", "immediately", "cash", "cod"}:
        return 0, False
    if match := re.fullmatch(r"(?:net |n/?)?([0-9]{1,4})(?: days?)?(?: net)?", words):
        return int(match[1]), False
    if match := re.fullmatch(r"(?:eom|end of month)(?: ?\+? ?([0-9]{1,4})(?: days?)?)?", words):
        return int(match[1] or 0), True
    raise RefusedError(f"{quoted(text)} is not known as terms of payment.", "Write them as `Net 30` or `EOM + 10`.")


_DATE_PARTS = {
    "YYYY": "(?P<year>[0-9]{4})",
    "YY": "(?P<year>[0-9]{2})",
    "MMMM": r"(?P<month>[^\W\d_]+)",
    "MMM": r"(?P<month>[^\W\d_]+)\.?",
    "MM": "(?P<month>[0-9]{2})",
    "M": "(?P<month>[0-9]{1,2})",
    "DD": "(?P<day>[0-9]{2})",
    "D": "(?P<day>[0-9]{1,2})",
}


@lru_cache(maxsize=64)
def _date_pattern(form: str, locale: str | None) -> tuple[re.Pattern[str], Mapping[str, int]]:
    """A pattern with year, month and day, and the numbers of the months' names if it has names."""
    parts = re.split("(YYYY|YY|MMMM|MMM|MM|M|DD|D)", form)
    used = sorted(part[0] for part in parts if part in _DATE_PARTS)
    if used != ["D", "M", "Y"]:
        raise ValueError("a date's format has a year, a month and a day once each, such as `DD.MM.YYYY`")
    pattern = re.compile("".join(_DATE_PARTS.get(part, re.escape(part)) for part in parts))
    names: dict[str, int] = {}
    if "MMM" in form:
        from babel.dates import get_month_names  # noqa: PLC0415 - only loaded where it is used

        width: Literal["wide", "abbreviated"] = "wide" if "MMMM" in form else "abbreviated"
        names = {
            name.casefold().rstrip("."): number
            for number, name in get_month_names(width, locale=locale or "en").items()
        }
    return pattern, names


def read_by_format(text: str, form: str, locale: str | None) -> date | None:
    """The date that `text` writes as `form` says; None if it writes none. Two-digit years are 2000 to 2099."""
    pattern, names = _date_pattern(form, locale)
    match = pattern.fullmatch(text)
    if match is None:
        return None
    month = names.get(match["month"].casefold()) if names else int(match["month"])
    year = int(match["year"]) + (2000 if len(match["year"]) == len("YY") else 0)
    return _calendar(year, month or 0, int(match["day"]))


def read_by_order(text: str, locale: str | None) -> date | None:
    """The date of three numbers in the order of `locale`; None if it is none.

    Raises:
        RefusedError: If no locale says which of two days is meant.
    """
    match = re.fullmatch(r"([0-9]{1,4})[./ -]([0-9]{1,2})[./ -]([0-9]{4}|[0-9]{1,2})", text)
    if match is None:
        return None
    first, second, third = match.groups()
    if len(first) == len("YYYY"):
        return _calendar(int(first), int(second), int(third))
    if len(third) != len("YYYY"):
        return None
    day_first = _calendar(int(third), int(second), int(first))
    month_first = _calendar(int(third), int(first), int(second))
    if locale is not None:
        return day_first if _is_day_first(locale) else month_first
    if day_first is not None and month_first is not None and day_first != month_first:
        raise RefusedError(
            f"{quoted(text)} can be {day_first.isoformat()} or {month_first.isoformat()}.",
            "Set `format`, such as `DD/MM/YYYY`, in this rule's `date`.",
        )
    return day_first or month_first


@lru_cache(maxsize=64)
def _is_day_first(locale: str) -> bool:
    from babel.dates import get_date_format  # noqa: PLC0415 - only loaded where it is used

    pattern = get_date_format("short", locale).pattern.lower()
    return pattern.index("d") < pattern.index("m")


def _calendar(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


# Spellings that stand in CRMs and in neither ISO 3166 nor CLDR.
_COUNTRY_SPELLINGS = {
    "uk": "GB",
    "great britain": "GB",
    "england": "GB",
    "scotland": "GB",
    "wales": "GB",
    "northern ireland": "GB",
    "usa": "US",
    "u.s.a.": "US",
    "u.s.": "US",
    "america": "US",
    "holland": "NL",
    "korea": "KR",
    "uae": "AE",
}


def country_code(text: str, aliases: Mapping[str, str], locale: str | None) -> str | None:
    """The two letters of ISO 3166 for a name or code, ignoring case; None if it is no country that we know.

    Names are those of ISO 3166 and, in English and the language of `locale`, those of CLDR.
    """
    name = " ".join(text.split()).casefold()
    for alias, code in aliases.items():
        if alias.casefold() == name:
            return code
    return _COUNTRY_SPELLINGS.get(name) or _country_names("en").get(name) or _country_names(locale or "en").get(name)


@lru_cache(maxsize=16)
def _country_names(locale: str) -> Mapping[str, str]:
    import iso3166  # noqa: PLC0415 - only loaded where it is used
    from babel import Locale  # noqa: PLC0415 - as above

    names: dict[str, str] = {}
    territories = Locale.parse(locale.replace("-", "_")).territories
    for country in iso3166.countries:
        for name in (country.alpha2, country.alpha3, country.name, country.apolitical_name):
            names[name.casefold()] = country.alpha2
        if country.alpha2 in territories:
            names[territories[country.alpha2].casefold()] = country.alpha2
    return names


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


def known_locale(name: str | None) -> str | None:
    """The name as it is.

    Raises:
        ValueError: If it is no locale.
    """
    if name is not None:
        from babel import Locale, UnknownLocaleError  # noqa: PLC0415 - only loaded where it is used

        try:
            Locale.parse(name.replace("-", "_"))
        except (ValueError, UnknownLocaleError) as error:
            raise ValueError(f"`{name}` is not a locale, such as `en_US` or `de_DE`") from error
    return name


def known_path(text: str | None) -> str | None:
    """The path as it is.

    Raises:
        ValueError: If it is none.
    """
    if text is not None:
        parse_path(text)
    return text


def shortened(text: str, length: int = 40) -> str:
    """The text in one line, cut for a sentence."""
    line = " ".join(text[: length * 4].split())
    return line if len(line) <= length else line[: length - 1] + "…"


def quoted(value: object) -> str:
    """The value in quotes, cut for a sentence."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return f'"{shortened(value)}"'
    if is_number(value):
        return f'"{shortened(_digits(value))}"'
    if isinstance(value, date):
        return f'"{value.isoformat()}"'
    return "A list" if is_list(value) else "An object"
