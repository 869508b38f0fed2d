"""Titles of columns as Outlook, Outlook on the web, Thunderbird and Google write them, by language and meaning.

Several spellings of one meaning are parted by `|`. What is written as people see it on the programs' forms and in
files that they export; `titles.folded` makes small letters and signs equal.
"""

from __future__ import annotations

from collections.abc import Mapping


def _places(pattern_by_part: Mapping[str, str], **places: str) -> dict[str, str]:
    """Titles of the parts of addresses, put together from a pattern for each part and a word for each place."""
    made: dict[str, str] = {}
    for place, words in places.items():
        for part, patterns in pattern_by_part.items():
            made[f"{place}.{part}"] = "|".join(
                pattern.format(word) for word in words.split("|") for pattern in patterns.split("|")
            )
    return made


TITLES: Mapping[str, Mapping[str, str]] = {
    "en_US": {
        **_places(
            {
                "street": "{} Street|{} Address",
                "street_2": "{} Street 2|{} Address 2",
                "street_3": "{} Street 3|{} Address 3",
                "city": "{} City",
                "state": "{} State",
                "postal_code": "{} Postal Code|{} ZIP|{} ZIP Code|{} ZipCode",
                "country": "{} Country/Region|{} Country",
                "po_box": "{} Address PO Box",
            },
            business="Business|Work",
            home="Home",
            other="Other",
        ),
        "prefix": "Title|Prefix|Name Prefix|Salutation",
        "given_name": "First Name|Given Name",
        "middle_name": "Middle Name|Additional Name",
        "family_name": "Last Name|Family Name|Surname",
        "suffix": "Suffix|Name Suffix",
        "name": "Display Name|Full Name|Name|Contact Name",
        "nickname": "Nickname",
        "company": "Company|Organization|Work Company|Company Name|Account Name",
        "department": "Department|Work Dept",
        "job_title": "Job Title|Work Title",
        "email": "E-mail Address|Email|E-mail|Primary Email|Email Work|Work Email|E-mail 1",
        "email_2": "E-mail 2 Address|Secondary Email|E-mail 2",
        "email_3": "E-mail 3 Address|E-mail 3",
        "phone.business": "Business Phone|Work Phone|Phone|Telephone|Phone Number",
        "phone.mobile": "Mobile Phone|Mobile Number|Mobile|Home Mobile|Cell Phone",
        "phone.home": "Home Phone",
        "notes": "Notes",
        "birthday": "Birthday|Date of Birth",
        "website": "Web Page|Website|Web Site|URL",
        "categories": "Categories",
    },
}

LAYOUTS: Mapping[str, Mapping[str, str]] = {
    "goldmine": {
        "company": "COMPANY",
        "name": "CONTACT",
        "family_name": "LASTNAME",
        "prefix": "DEAR",
        "job_title": "TITLE",
        "department": "DEPARTMENT",
        "phone.business": "PHONE1",
        "phone.business_2": "PHONE2",
        "phone.other": "PHONE3",
        "phone.business_fax": "FAX",
        "business.street": "ADDRESS1",
        "business.street_2": "ADDRESS2",
        "business.street_3": "ADDRESS3",
        "business.city": "CITY",
        "business.state": "STATE",
        "business.postal_code": "ZIP",
        "business.country": "COUNTRY",
        "email": "EMAIL|E-MAIL|CONTSUPREF",
        "website": "WEBSITE|WEB SITE",
        "notes": "NOTES",
    },
    "act": {
        "company": "Company",
        "name": "Contact",
        "job_title": "Title",
        "department": "Department",
        "business.street": "Address 1",
        "business.street_2": "Address 2",
        "business.street_3": "Address 3",
        "business.city": "City",
        "business.state": "State",
        "business.postal_code": "ZIP Code|ZIP",
        "business.country": "Country",
        "phone.business": "Phone",
        "phone.mobile": "Mobile Phone",
        "phone.business_fax": "Fax Phone|Fax",
        "email": "E-mail",
        "website": "Web Site",
        "status": "ID/Status",
        "record_manager": "Record Manager",
        "last_results": "Last Results",
    },
}
"""Titles that mean something else in files of one program."""
