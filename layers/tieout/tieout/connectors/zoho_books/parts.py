"""Parts that records of several kinds have: our mark, an address, payment terms, and what a document gives."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tieout.connectors.zoho_books import wire
from tieout.domain.documents import Address, Document
from tieout.domain.errors import RejectedError
from tieout.domain.records import Value
from tieout.transport.wire import Wire

_TAG = re.compile(r"\bT-([A-Z0-9]{12})$")
# Zoho's own names of countries, where they are none of ISO 3166's.
_ZOHO_COUNTRIES = {"U.S.A": "US", "U.S.A.": "US", "U.K": "GB", "U.K.": "GB", "United Kingdom": "GB"}


def own_number(reference: str) -> str:
    """Our mark in a reference number, which lists show and can be asked for: 14 characters of the 100 allowed."""
    return f"T-{reference.upper()}"


def same_name(name: str) -> str:
    """Equal for names that are the same but for case and spaces."""
    return " ".join(name.split()).casefold()


def split_number(text: str | None) -> tuple[str | None, str | None]:
    """A reference number without our mark, and the reference that the mark says."""
    found = _TAG.search(text or "")
    if found is None:
        return text, None
    return (text or "")[: found.start()].strip() or None, found[1].lower()


def shown(entity: Wire, fields: Mapping[str, tuple[str, Value]]) -> dict[str, Value]:
    """Those of the fields whose model field (the first of the pair) the row shows."""
    return {name: value for name, (source, value) in fields.items() if source in entity.model_fields_set}


def read_address(address: wire.Address | None) -> dict[str, Value] | None:
    """The address in our words; None if nothing of it is given."""
    if address is None:
        return None
    line2, _, line3 = (address.street2 or "").partition("\n")
    fields: dict[str, Value] = {
        "line1": address.address,
        "line2": line2 or None,
        "line3": line3 or None,
        "city": address.city,
        "state": address.state,
        "postal_code": address.zip,
        "country": _country_code(address.country),
    }
    return fields if any(value is not None for value in fields.values()) else None


def _country_code(name: str | None) -> str | None:
    """The country as ISO 3166 alpha-2; as it was written if it is none."""
    if not name:
        return None
    import iso3166  # noqa: PLC0415 - only addresses need it

    country = iso3166.countries.get(_ZOHO_COUNTRIES.get(name, name), None)
    if country is None:
        country = iso3166.countries_by_apolitical_name.get(name.upper())
    return country.alpha2 if country is not None else name


class Body:
    """Collects what was given: absent stays out, and None empties on an update."""

    def __init__(self, document: Document, *, creates: bool) -> None:
        self._creates = creates
        self._given = {name: getattr(document, name) for name in document.model_fields_set}
        self.json: wire.Json = {}

    def has(self, name: str) -> bool:
        """True if the field is to be written: given, and not empty in a new record."""
        return name in self._given and not (self._creates and self._given[name] is None)

    def text(self, name: str, theirs: str) -> None:
        """A text; None is written as the empty text, which empties it."""
        if self.has(name):
            self.json[theirs] = self._given[name] if self._given[name] is not None else ""

    def value(self, name: str, theirs: str) -> None:
        """A number, truth or date; None leaves it alone, as Zoho knows no empty one."""
        if self._given.get(name) is not None:
            self.json[theirs] = self._given[name]

    def terms(self) -> None:
        """Payment terms, which are a number of days with a label."""
        if self._given.get("terms") is not None:
            self.json |= _write_terms(self._given["terms"])

    def address(self, name: str) -> None:
        """An address, which is always written whole."""
        if self.has(name):
            self.json[name] = _write_address(self._given[name])


def _write_terms(terms: str) -> wire.Json:
    """`Net 30` are 30 days, `Due on Receipt` none.

    Raises:
        RejectedError: If the terms do not say how many days.
    """
    days = re.findall(r"\d+", terms)
    if len(days) == 1:
        return {"payment_terms": int(days[0]), "payment_terms_label": terms}
    if same_name(terms) == "due on receipt":
        return {"payment_terms": 0, "payment_terms_label": "Due on Receipt"}
    raise RejectedError(
        f"Zoho Books counts payment terms in days, and `{terms}` does not say how many.",
        field="terms",
        next_step="Let the mapping of `terms` say the days, such as `Net 30`.",
    )


def _write_address(address: Address | None) -> wire.Json:
    given = address if address is not None else Address()
    return {
        "address": given.line1 or "",
        "street2": "\n".join(part for part in (given.line2, given.line3) if part),
        "city": given.city or "",
        "state": given.state or "",
        "zip": given.postal_code or "",
        "country": _country_name(given.country),
    }


def _country_name(code: str | None) -> str:
    import iso3166  # noqa: PLC0415 - only addresses need it

    country = iso3166.countries.get(code, None) if code else None
    return country.apolitical_name if country is not None else code or ""
