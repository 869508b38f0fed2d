"""Where what a title means goes: the fields of a contact, a company, a product or a deal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tieout.domain.records import Kind


@dataclass(frozen=True, slots=True)
class Place:
    """A field, how text is read for it, and which of several columns for it counts; see `Column`."""

    path: str | None
    reads: Literal["text", "number", "date", "list"] = "text"
    rank: int = 1


type Places = Mapping[str, tuple[Place, ...]]

LEFT_OUT = (Place(None),)
_LINES = {
    "street": "line1",
    "street_2": "line2",
    "street_3": "line3",
    "city": "city",
    "state": "state",
    "postal_code": "postal_code",
    "country": "country",
}
_CUSTOM_TEXTS = (
    "middle_name prefix suffix nickname department notes website gender initials manager assistant spouse children"
    " profession office hobby language location referred_by account billing_information organization_id government_id"
    " user_1 user_2 user_3 user_4 uid role im im_aim im_icq im_jabber im_msn im_skype im_yahoo website_2 website_blog"
    " website_profile website_other home_website maiden_name record_manager status last_results salutation"
    " accountno recid guid parent"
)
_CUSTOM_PHONES = "business_fax home_fax other_fax pager isdn telex"
_OTHER_PHONES = "car assistant callback radio tty video"
_DATES = ("birthday", "anniversary")
_FILLERS = (
    "email_type email_2_type email_3_type email_display_name email_2_display_name email_3_display_name priority private"
    " sensitivity directory_server free_busy mileage keywords given_yomi family_yomi company_yomi birth_day birth_month"
    " birth_year photo shadow"
)
"""What Outlook fills by itself, or nobody asks for."""


def _of_contact() -> dict[str, tuple[Place, ...]]:
    places: dict[str, tuple[Place, ...]] = {
        "name": (Place("name"),),
        "given_name": (Place("given_name"),),
        "family_name": (Place("family_name"),),
        "company": (Place("company_name"),),
        "job_title": (Place("job_title"),),
        "email": (Place("email"),),
        "email_2": (Place("custom_fields.email_2"), Place("email", rank=3)),
        "email_3": (Place("custom_fields.email_3"), Place("email", rank=4)),
        "email_4": (Place("custom_fields.email_4"),),
        "email_5": (Place("custom_fields.email_5"),),
        "email_home": (Place("custom_fields.email_home"), Place("email", rank=2)),
        "email_other": (Place("custom_fields.email_other"), Place("email", rank=5)),
        "phone.business": (Place("phone"),),
        "phone.company": (Place("custom_fields.company_phone"), Place("phone", rank=2)),
        "phone.primary": (Place("custom_fields.primary_phone"), Place("phone", rank=3)),
        "phone.mobile": (Place("custom_fields.mobile_phone"), Place("phone", rank=4)),
        "phone.home": (Place("custom_fields.home_phone"), Place("phone", rank=5)),
        "phone.other": (Place("custom_fields.other_phone"), Place("phone", rank=6)),
        "phone.mobile_2": (Place("custom_fields.mobile_phone_2"),),
        "categories": (Place("custom_fields.categories", "list"),),
    }
    for name in _CUSTOM_TEXTS.split():
        places[name] = (Place(f"custom_fields.{name}"),)
    for name in _CUSTOM_PHONES.split():
        places[f"phone.{name}"] = (Place(f"custom_fields.{name}"),)
    for name in _OTHER_PHONES.split():
        places[f"phone.{name}"] = (Place(f"custom_fields.{name}_phone"),)
    for place in ("business", "home"):
        places[f"phone.{place}_2"] = (Place(f"custom_fields.{place}_phone_2"),)
    for name in _DATES:
        places[name] = (Place(f"custom_fields.{name}", "date"),)
    for part, line in _LINES.items():
        places[f"business.{part}"] = (Place(f"address.{line}"),)
        for rank, place in ((2, "home"), (3, "other")):
            own = Place(f"custom_fields.{place}_address.{line}")
            places[f"{place}.{part}"] = (own, Place(f"address.{line}", rank=rank))
    for place in ("business", "home", "other"):
        places[f"{place}.po_box"] = (Place(f"custom_fields.{place}_po_box"),)
    return places | dict.fromkeys(_FILLERS.split(), LEFT_OUT)


_OF_MAIN_CONTACT = {"name", "given_name", "family_name", "job_title", "email"}


def _of_company(contact: Places) -> dict[str, tuple[Place, ...]]:
    """A row of contacts read as companies: the person is the main contact, the rest the company's."""
    places = {
        meaning: tuple(
            Place(f"contact.{each.path}", each.reads, each.rank) if each.path in _OF_MAIN_CONTACT else each
            for each in found
        )
        for meaning, found in contact.items()
    }
    return places | {
        "company": (Place("name"),),
        "website": (Place("website"),),
        "industry": (Place("industry"),),
        "parent": (Place("custom_fields.parent"),),
    }


_OF_PRODUCT: Places = {
    "product": (Place("name"),),
    "name": (Place("name", rank=2),),
    "sku": (Place("sku"),),
    "price": (Place("price", "number"),),
    "cost": (Place("cost", "number"),),
    "description": (Place("description"),),
}
_OF_DEAL: Places = {
    "deal": (Place("name"),),
    "name": (Place("name", rank=2),),
    "stage": (Place("stage"),),
    "status": (Place("status"),),
    "amount": (Place("amount", "number"),),
    "opened_on": (Place("opened_on", "date"),),
    "expected_close_on": (Place("expected_close_on", "date"),),
    "closed_on": (Place("closed_on", "date"),),
    "owner": (Place("owner"),),
    "deal_id": (Place("source_id"),),
    "company": (Place("custom_fields.company"),),
}
_OF_CONTACT = _of_contact()

BY_KIND: Mapping[Kind, Places] = {
    Kind.CONTACT: _OF_CONTACT,
    Kind.COMPANY: _of_company(_OF_CONTACT),
    Kind.PRODUCT: _OF_PRODUCT,
    Kind.DEAL: _OF_DEAL,
}
"""By kind and meaning: the fields that a column fills."""

KINDS: Mapping[Kind, frozenset[str]] = {
    Kind.CONTACT: frozenset({"given_name", "family_name", "email", "job_title", "phone.mobile", "birthday"}),
    Kind.COMPANY: frozenset({"company", "website", "industry", "parent"}),
    Kind.PRODUCT: frozenset({"product", "sku", "price", "cost"}),
    Kind.DEAL: frozenset(
        {"deal", "deal_id", "stage", "amount", "opened_on", "expected_close_on", "closed_on", "owner"}
    ),
}
"""What only records of the kind have: most of it says of which kind the rows are; contacts, if nothing does."""

_OF_PEOPLE = ("accountno", "recid", "guid", "uid", "contact id", "customer id", "customerid", "id")
KEYS: Mapping[Kind, tuple[str, ...]] = {
    Kind.CONTACT: _OF_PEOPLE,
    Kind.COMPANY: _OF_PEOPLE,
    Kind.PRODUCT: ("guid", "sku", "id"),
    Kind.DEAL: ("opportunity id", "id"),
}
"""By kind: folded titles of ids that programs give, best first."""
