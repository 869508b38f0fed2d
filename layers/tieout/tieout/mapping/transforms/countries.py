"""Countries: one code for many spellings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import override

from pydantic import Field, field_validator

from tieout.domain.records import Value
from tieout.mapping.transforms.base import LocaleName, Reading, RefusedError, Surroundings
from tieout.mapping.transforms.values import quoted, shortened, text_of


class Country(Reading):
    """Makes the two letters of ISO 3166 of a country's name or code."""

    aliases: dict[str, str] = Field(default={}, description="Other spellings, and the two letters that they mean.")
    locale: LocaleName | None = Field(
        default=None, description="Language of the names besides English: `de` for Österreich."
    )

    @field_validator("aliases")
    @classmethod
    def _codes(cls, aliases: dict[str, str]) -> dict[str, str]:
        for name, code in aliases.items():
            if country_code(code) != code:
                raise ValueError(f"`{code}` (for `{name}`) is not two capital letters of ISO 3166, such as `PH`")
        return aliases

    @override
    def understand(self, value: Value, around: Surroundings) -> Value:
        """The two letters."""
        text = text_of(value)
        code = country_code(text, self.aliases, self.locale)
        if code is None:
            raise RefusedError(
                f"{quoted(text)} is not a country that we know.",
                f"Correct it in the record, or add `{shortened(text)}` to `aliases` of this rule's `country`.",
            )
        return code


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


def country_code(text: str, aliases: Mapping[str, str] = {}, locale: str | None = None) -> str | None:
    """The two letters of ISO 3166 for a name or code, ignoring case; None if it is no country that we know.

    Names are those of ISO 3166 and, in English and the language of `locale`, those of CLDR.
    """
    name = " ".join(text.split()).casefold()
    for alias, code in aliases.items():
        if alias.casefold() == name:
            return code
    return _COUNTRY_SPELLINGS.get(name) or _country_names("en").get(name) or _country_names(locale or "en").get(name)


def country_at(path: str | None, around: Surroundings) -> str | None:
    """The code of the country that the record names at the path; None if it names none that we know."""
    said = around.look(path) if path else None
    return country_code(said) if isinstance(said, str) else None


@lru_cache(maxsize=16)
def _country_names(locale: str) -> Mapping[str, str]:
    import iso3166  # noqa: PLC0415 - only loaded where it is used
    from babel import Locale  # noqa: PLC0415 - as above

    names: dict[str, str] = {}
    territories = Locale.parse(locale).territories
    for country in iso3166.countries:
        for name in (country.alpha2, country.alpha3, country.name, country.apolitical_name):
            names[name.casefold()] = country.alpha2
        names[territories.get(country.alpha2, country.name).casefold()] = country.alpha2
    return names
