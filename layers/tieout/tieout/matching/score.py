"""How likely a record in the books is the customer that we are about to create, and why, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from functools import lru_cache

from tieout.domain.documents import Customer
from tieout.domain.records import Record
from tieout.matching.addresses import Place, place
from tieout.matching.contacts import company_domain, is_same_phone, mailbox, tax_number
from tieout.matching.names import Likeness, Name, likeness, taken_apart

# Each piece of evidence says by what power of ten the odds change, as Fellegi and Sunter add up agreements and
# disagreements. Source: "A Theory for Record Linkage", Journal of the American Statistical Association 64, 1969. The
# powers are ours, set with the tuned half of tests/data/matching.
_BEFORE = Decimal(-2)
_NAMES: Mapping[Likeness, Decimal] = {
    Likeness.SAME: Decimal("4.5"),
    Likeness.BUT_FORM: Decimal("4.0"),
    Likeness.BUT_SPELLING: Decimal("3.5"),
    Likeness.ORDER: Decimal("2.5"),
    Likeness.OTHER_FORM: Decimal("2.0"),
    Likeness.CUT: Decimal("2.0"),
    Likeness.TYPO: Decimal("2.0"),
    Likeness.MORE: Decimal("1.1"),
    Likeness.PART: Decimal("-0.5"),
    Likeness.OTHER: Decimal("-1.9"),
}
_PERSON = Decimal(-1)
_BEHIND = Decimal(2)
# Two names as long as this that are the same may have been cut where they began to differ.
_CUT_AT = 95
_PLACES: Mapping[Place, Decimal] = {
    Place.HOUSE: Decimal("1.5"),
    Place.POSTAL_CODE: Decimal("0.5"),
    Place.CITY: Decimal("0.1"),
    Place.STREET_DIFFERS: Decimal("-0.3"),
    Place.CITY_DIFFERS: Decimal("-0.9"),
}
_TAX_ID, _EMAIL, _DOMAIN, _PHONE = Decimal(4), Decimal(3), Decimal("1.5"), Decimal(2)
_OTHER_DOMAIN, _OTHER_MAILBOX, _OTHER_PHONE = Decimal("-0.8"), Decimal("-0.3"), Decimal("-0.5")
_FORBIDS = Decimal(-4)
_SAME_TAX_ID, _SAME_EMAIL, _SAME_PHONE, _PHONE_DIFFERS = (
    "same tax id",
    "same e-mail address",
    "same phone",
    "phone differs",
)
_DOMAIN_DIFFERS, _MAILBOX_DIFFERS = "web domain differs", "e-mail address differs"
# The sister company, and the next department, has the same house, phone and mailbox.
_LIKE_A_SISTER = frozenset({Likeness.OTHER_FORM, Likeness.CUT})
# A name, and a web domain, is also what two branches have whose other facts differ.
_AGAINST = frozenset({_PHONE_DIFFERS, _DOMAIN_DIFFERS, _MAILBOX_DIFFERS, Place.STREET_DIFFERS, Place.CITY_DIFFERS})
_FOR = frozenset({_SAME_TAX_ID, _SAME_EMAIL, _SAME_PHONE, Place.HOUSE})
# With these nobody is sure but a person, whatever else agrees: Acme Holding at Acme's address is not Acme.
_DOUBTFUL_NAMES = frozenset({Likeness.MORE, Likeness.PART, Likeness.OTHER})
_MOST_IN_DOUBT = Decimal("0.9")
_DIGITS = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Reason:
    """One piece of evidence: what it says in words, and the power of ten by which it changes the odds."""

    says: str
    weight: Decimal


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate, judged.

    Attributes:
        score: From 0 to below 1, to three digits.
        reasons: What speaks for it and against it, the weightiest first.
        key: The exact key that both share: `tax_id` or `email`; empty if none.
        doubt: True if only a person may say that it is the same.
        same_name: True if its name is letter for letter the one that is to be created, but for case and spaces: a
            provider whose names are unique refuses the create.
    """

    record: Record
    score: Decimal
    reasons: tuple[Reason, ...]
    key: str
    doubt: bool
    same_name: bool


@dataclass(frozen=True, slots=True)
class _Party:
    """What the document or the record says of itself, ready to be compared."""

    shown: str
    name: Name
    company: Name | None
    person: bool
    email: str | None
    domain: str | None
    phone: str | None
    tax_id: str | None
    country: str | None
    currency: str | None
    address: Mapping[str, object] | None


def score(document: Customer, candidate: Record, *, shared: Collection[str] = ()) -> Scored:
    """How likely the candidate is the document's customer.

    Args:
        document: What is to be written.
        candidate: A customer as it was read from the books.
        shared: E-mail addresses that say nothing here, since several of the books' customers have them.
    """
    ours, theirs = _party(document.as_fields()), _party(candidate.fields)
    alike, about_name = _names(ours, theirs)
    person = ours.person or theirs.person
    evidence = [about_name, *_keys(ours, theirs, shared), *_places(ours, theirs)]
    if person and alike not in _DOUBTFUL_NAMES:
        evidence.append(Reason("a person's name, which others have too", _PERSON))
    forbidden = [*_contradictions(ours, theirs, candidate), *_families(document, candidate)]
    doubt = bool(forbidden) or _is_doubtful(alike, evidence, person=person)
    odds = sum((reason.weight for reason in (*evidence, *forbidden)), _BEFORE)
    likely = (1 / (1 + Decimal(10) ** -odds)).quantize(_DIGITS, ROUND_DOWN)
    reasons = sorted((*evidence, *forbidden), key=lambda reason: -abs(reason.weight))
    return Scored(
        candidate,
        min(likely, _MOST_IN_DOUBT) if doubt else likely,
        tuple(reason for reason in reasons if reason.says),
        _key(evidence),
        doubt,
        _plain(ours.shown) == _plain(theirs.shown),
    )


def _names(ours: _Party, theirs: _Party) -> tuple[Likeness, Reason]:
    """How alike the names are; a company that only stands behind another name is no more than a hint."""
    alike = likeness(ours.name, theirs.name)
    if alike is Likeness.SAME and len(ours.shown) >= _CUT_AT:
        alike = Likeness.CUT
    said = Reason(alike.value, _NAMES[alike])
    if alike in _DOUBTFUL_NAMES and _is_company_of(ours, theirs):
        return Likeness.MORE, Reason("same company, which stands there under another name", _BEHIND)
    return alike, said


def _is_doubtful(alike: Likeness, evidence: Collection[Reason], *, person: bool) -> bool:
    """True if only a person may say that it is the same, however much agrees."""
    said = {reason.says for reason in evidence}
    if alike in _LIKE_A_SISTER:
        return _SAME_TAX_ID not in said
    if alike in _DOUBTFUL_NAMES or (person and alike is Likeness.TYPO):
        return True
    return len(said & _AGAINST) > 1 and not said & _FOR


def _is_company_of(ours: _Party, theirs: _Party) -> bool:
    alike = (Likeness.SAME, Likeness.BUT_FORM, Likeness.BUT_SPELLING)
    pairs = ((ours.name, theirs.company), (ours.company, theirs.name), (ours.company, theirs.company))
    return any(one is not None and other is not None and likeness(one, other) in alike for one, other in pairs)


def _keys(ours: _Party, theirs: _Party, shared: Collection[str]) -> Iterator[Reason]:
    country = ours.country or theirs.country
    if ours.tax_id and theirs.tax_id:
        mine, other = tax_number(ours.tax_id, country), tax_number(theirs.tax_id, country)
        if mine and mine == other:
            yield Reason(_SAME_TAX_ID, _TAX_ID)
    yield from _mail(ours, theirs, shared)
    if ours.phone and theirs.phone:
        same = is_same_phone(ours.phone, theirs.phone, country)
        if same is not None:
            yield Reason(_SAME_PHONE, _PHONE) if same else Reason(_PHONE_DIFFERS, _OTHER_PHONE)


def _mail(ours: _Party, theirs: _Party, shared: Collection[str]) -> Iterator[Reason]:
    if ours.email and ours.email == theirs.email:
        if ours.email in shared:
            yield Reason("same e-mail address, which several customers there have", Decimal(0))
        else:
            yield Reason(_SAME_EMAIL, _EMAIL)
        return
    if ours.domain and ours.domain == theirs.domain:
        yield Reason("same web domain", _DOMAIN)
    elif ours.domain and theirs.domain:
        yield Reason(_DOMAIN_DIFFERS, _OTHER_DOMAIN)
        return
    if ours.email and theirs.email:
        yield Reason(_MAILBOX_DIFFERS, _OTHER_MAILBOX)


def _places(ours: _Party, theirs: _Party) -> Iterator[Reason]:
    lies = place(ours.address, theirs.address)
    if lies is not Place.UNKNOWN:
        yield Reason(lies.value, _PLACES[lies])


def _contradictions(ours: _Party, theirs: _Party, candidate: Record) -> Iterator[Reason]:
    """What forbids that a record is adopted unseen, whatever else agrees."""
    country = ours.country or theirs.country
    if ours.tax_id and theirs.tax_id:
        mine, other = tax_number(ours.tax_id, country), tax_number(theirs.tax_id, country)
        if mine and other and mine != other:
            yield Reason("tax ids differ", _FORBIDS)
    if ours.country and theirs.country and ours.country != theirs.country:
        yield Reason("another country", _FORBIDS)
    if ours.currency and theirs.currency and ours.currency != theirs.currency:
        yield Reason("another currency", Decimal(0))
    if candidate.fields.get("active") is False:
        yield Reason("inactive there", Decimal(0))


def _families(document: Customer, candidate: Record) -> Iterator[Reason]:
    """What differs of the customers above them; of a document that says nothing of its own it is not known."""
    above = candidate.fields.get("parent") or None
    if above == document.parent:
        return
    if above is not None and document.parent is not None:
        yield Reason("sub-customer of another one", _FORBIDS)
    else:
        yield Reason("no sub-customer there" if above is None else "a sub-customer there", Decimal(0))


def _key(evidence: Collection[Reason]) -> str:
    said = {reason.says for reason in evidence}
    return "tax_id" if _SAME_TAX_ID in said else "email" if _SAME_EMAIL in said else ""


def _party(fields: Mapping[str, object]) -> _Party:
    def said(name: str) -> str | None:
        text = fields.get(name)
        return text.strip() or None if isinstance(text, str) else None

    address = fields.get("billing_address") or fields.get("shipping_address")
    address = address if isinstance(address, Mapping) else None
    country = address.get("country") if address is not None else None
    company = said("company_name")
    name = said("name") or ""
    return _Party(
        shown=name,
        name=taken_apart(_in_order(name)),
        company=taken_apart(company) if company else None,
        person=_is_person(name, said("given_name"), said("family_name")),
        email=mailbox(said("email")),
        domain=company_domain(said("email"), said("website")),
        phone=said("phone"),
        tax_id=said("tax_id"),
        country=_country(country) if isinstance(country, str) and country else None,
        currency=said("currency"),
        address=address,
    )


def _in_order(name: str) -> str:
    """`Doe, John` as `John Doe`; a legal form after a comma stays where it is."""
    family, comma, given = name.partition(",")
    if not comma or "," in given or len(given.split()) > 2 or taken_apart(name).forms:  # noqa: PLR2004 - two names
        return name
    return f"{given.strip()} {family}"


def _is_person(name: str, given: str | None, family: str | None) -> bool:
    """True if the record's name is that of its contact."""
    if not given or not family:
        return False
    parts = taken_apart(f"{given} {family}")
    return sorted(taken_apart(name).core) == sorted(parts.core)


@lru_cache(maxsize=1024)
def _country(text: str) -> str | None:
    """The two letters of ISO 3166; the text as it stands if it is no country that we know."""
    import iso3166  # noqa: PLC0415 - only addresses need it

    country = iso3166.countries.get(text.strip(), None)
    return str(country.alpha2) if country is not None else text.strip().casefold()


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()
