"""What real exports have to become, written down by hand: names, mailboxes, numbers and addresses."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.unit.files.opened import imported
from tieout.files import Choices, open_file

HERE = Path(__file__).parents[2] / "data/contact_exports"
BESIDE = Path(__file__).parents[4] / "shared/data/contact-exports"
"""Exports under licences that keep them out of this repository, for those who have them."""


def address(line1: str | None, *rest: str | None) -> dict[str, str | None]:
    """Lines, city, state, postal code, country."""
    names = ("line2", "line3", "city", "state", "postal_code", "country")
    return {"line1": line1, **dict(zip(names, rest, strict=True))}


def contacts(path: Path) -> list[dict[str, Any]]:
    """Without what is empty."""
    with path.open("rb") as file:
        return [filled(each) for each in imported(open_file(file, name=path.name, choices=Choices()))]


def filled(fields: dict[str, Any]) -> dict[str, Any]:
    found = {name: filled(value) if isinstance(value, dict) else value for name, value in fields.items()}
    return {name: value for name, value in found.items() if value not in (None, {})}


def lines(made: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in made.items() if value is not None}


def wanted(
    name: str,
    given: str | None = None,
    family: str | None = None,
    *,
    email: str | None = None,
    phone: str | None = None,
    company: str | None = None,
    job: str | None = None,
    at: dict[str, str | None] | None = None,
    **custom: Any,
) -> dict[str, Any]:
    """What has to be there; `custom_fields` only as far as they are given."""
    return filled(
        {
            "name": name,
            "given_name": given,
            "family_name": family,
            "email": email,
            "phone": phone,
            "company_name": company,
            "job_title": job,
            "address": at,
            "custom_fields": custom,
        }
    )


def check(path: Path, *cards: dict[str, Any]) -> None:
    found = contacts(path)
    assert len(found) == len(cards)
    for one, other in zip(found, cards, strict=True):
        custom = one.get("custom_fields", {})
        told = other.get("custom_fields", {})
        assert {**one, "custom_fields": {name: custom.get(name) for name in told}} == {**other, "custom_fields": told}


SIX_N = "Ñ Ñ Ñ Ñ Ñ Ñ"
HOME_IN_NEW_YORK = address("Silicon Alley 5,", None, None, "New York", "New York", "12345", "United States of America")


def test_android():
    check(
        HERE / "John_Doe_ANDROID.vcf",
        wanted("john.doe@company.com", email="john.doe@company.com", categories=("My Contacts",)),
        wanted("jane.doe@company.com", email="jane.doe@company.com"),
        wanted("Ñ Ñ Ñ Ñ Ñ", None, "Ñ Ñ Ñ Ñ", phone="123456789", mobile_phone="123456789"),
        wanted(
            f"{SIX_N} Ñ Ñ Ñ Ñ Ñ",
            None,
            f"{SIX_N} Ñ Ñ Ñ Ñ Ñ",
            phone="123456",
            mobile_phone="123456",
            mobile_phone_2="3456789",
            home_phone="234567",
            home_phone_2="45678901",
        ),
        wanted(
            "Ñ Ñ Ñ Ñ",
            "Ñ Ñ Ñ",
            "Ñ Ñ",
            email="bob@company.com",
            phone="123456",
            company="Ñ" * 12,
            email_2="Ñ" * 14,
            mobile_phone="123456",
            business_fax="123456",
            website="www.company.com",
        ),
        wanted(
            "ÑÑÑÑ",
            None,
            "ÑÑÑÑ",
            email="henry@company.com",
            phone="55556666",
            company="Ñ" * (12 + 11 + 11 + 10),
            mobile_phone="55556666",
        ),
    )


def test_evolution():
    home = address("15 Crescent moon drive", None, None, "Albaney", "New York", "12345", "United States of America")
    check(
        HERE / "John_Doe_EVOLUTION.vcf",
        wanted(
            "Mr. John Richter, James Doe Sr.",
            "John",
            "Doe",
            email="john.doe@ibm.com",
            phone="905-555-1234",
            company="IBM",
            job="Money Counter",
            at=home,
            home_address=lines(home),
            home_po_box="ASB-123",
            mobile_phone="905-666-1234",
            department="Accounting, Dungeon",
            middle_name="Richter, James",
            prefix="Mr.",
            suffix="Sr.",
            birthday=date(1980, 3, 22),
            spouse="Maria",
            manager="Big Blue",
            uid="477343c8e6bf375a9bac1f96a5000837",
        ),
    )


def test_gmail():
    home = address(
        "Crescent moon drive", "555-asd", "Nice Area, Albaney, New York 12345, United States of America", *[None] * 4
    )
    check(
        HERE / "John_Doe_GMAIL.vcf",
        wanted(
            "Mr. John Richter, James Doe Sr.",
            "John",
            "Doe",
            email="john.doe@ibm.com",
            phone="905-555-1234",
            company="IBM",
            job="Money Counter",
            at=home,
            home_address=lines(home),
            home_phone="905-666-1234",
            mobile_phone="905-555-1234",
            website="http://www.ibm.com",
            birthday=date(1980, 3, 22),
            anniversary=date(1975, 3, 1),
            spouse="Jenny",
        ),
    )


def test_outlook():
    check(
        HERE / "John_Doe_MS_OUTLOOK.vcf",
        wanted(
            "Mr. John Richter James Doe Sr.",
            "John",
            "Doe",
            email="john.doe@ibm.cm",
            phone="(905) 555-1234",
            company="IBM",
            job="Money Counter",
            at=address("Cresent moon drive", None, None, "Albaney", "New York", "12345", "United States of America"),
            home_address=lines(HOME_IN_NEW_YORK),
            home_phone="(905) 666-1234",
            middle_name="Richter,James",
            nickname="Johny",
            department="Accounting",
            birthday=date(1980, 3, 22),
            anniversary=date(2011, 1, 13),
            role="Counting Money",
            manager="Big Blue",
            assistant="Jenny",
        ),
    )


def test_apple():
    check(
        HERE / "John_Doe_MAC_ADDRESS_BOOK.vcf",
        wanted(
            "Mr. John Richter,James Doe Sr.",
            "John",
            "Doe",
            email="john.doe@ibm.com",
            phone="905-777-1234",
            company="IBM",
            job="Money Counter",
            at=address("Street4", "Building 6", "Floor 8", "New York", None, "12345", "USA"),
            home_address=lines(HOME_IN_NEW_YORK),
            home_phone="905-666-1234",
            mobile_phone="905-555-1234",
            home_fax="905-888-1234",
            business_fax="905-999-1234",
            pager="905-111-1234",
            assistant_phone="905-222-1234",
            spouse="Jenny",
            birthday=date(2012, 6, 6),
            website="http://www.ibm.com",
        ),
    )


def test_gmail_list():
    check(
        HERE / "gmail-list.vcf",
        wanted("Arnold Smith", "Arnold", "Smith", email="asmithk@gmail.com"),
        wanted("Chris Beatle", "Chris", "Beatle", email="chrisy55d@yahoo.com"),
        wanted("Doug White", "Doug", "White", email="dwhite@gmail.com"),
    )


def test_gmail_single():
    home = address("123 Home St", "Home City, HM 12345", *[None] * 5)
    check(
        HERE / "gmail-single.vcf",
        wanted(
            "Greg Dartmouth",
            "Greg",
            "Dartmouth",
            email="gdartmouth@hotmail.com",
            phone="555 555 1111",
            company="TheCompany",
            job="TheJobTitle",
            at=home,
            home_address=lines(home),
            other_address=lines(address("321 Custom St", None, None, "Custom City", "TX", "98765", "USA")),
            mobile_phone="555 555 1111",
            other_phone="555 555 2222",
            spouse="MySpouse",
            anniversary=date(1970, 6, 2),
            website="http://TheProfile.com",
            notes="This is GMail's note field.\nIt should be added as a NOTE type.\nACustomField: CustomField",
        ),
    )


def test_outlook_2003():
    check(
        HERE / "outlook-2003.vcf",
        wanted(
            "John Doe III",
            "John",
            "Doe",
            email="jdoe@hotmail.com",
            phone="BusinessPhone",
            company="Company, The",
            job="The Job Title",
            at=address("123 Main St", "TheOffice", None, "Austin", "TX", "12345", "United States of America"),
            department="TheDepartment",
            home_phone="HomePhone",
            mobile_phone="MobilePhone",
            business_fax="BusinessFaxPhone",
            birthday=date(1980, 3, 21),
            notes="This is the note field!!\nSecond line\n\nThird line is empty",
        ),
    )


def test_thunderbird():
    check(
        HERE / "thunderbird-MoreFunctionsForAddressBook-extension.vcf",
        wanted(
            "John Doe",
            "John",
            "Doe",
            email="doe.john@hotmail.com",
            phone="555-555-1111",
            company="TheOrganization",
            job="TheTitle",
            # It writes the street where the standard has the rest of the address, and the other way round.
            at=address("Suite 100", "222 Broadway", None, "New York", "NY", "98765", "USA"),
            home_address=lines(address("Apt 10", "123 Main St", None, "Austin", "TX", "12345", "USA")),
            email_2="additional-email@company.com",
            email_5="additional-email3@company.com",
            home_phone="555-555-2222",
            mobile_phone="555-555-5555",
            other_fax="555-555-3333",
            pager="555-555-4444",
            website="http://www.work-webpage.com",
            home_website="http://www.private-webpage.com",
            categories=("category1", "category2", "category3"),
            birthday=date(1970, 9, 21),
            anniversary=date(1990, 4, 30),
        ),
    )


def test_vobject():
    check(
        HERE / "vobject-radicale-1587.vcf",
        wanted("Given Family", "Given", "Family", middle_name="Additional", prefix="Prefix", suffix="Suffix"),
    )


WITH_THEM = pytest.mark.skipif(not BESIDE.exists(), reason="needs exports whose licence keeps them out of here")

FRANK = wanted(
    "Frank Dawson",
    email="Frank_Dawson@Lotus.com",
    phone="+1-919-676-9515",
    company="Lotus Development Corporation",
    at=address("6544 Battleford Drive", None, None, "Raleigh", "NC", "27613-3502", "U.S.A."),
    email_2="fdawson@earthlink.net",
    business_fax="+1-919-676-9564",
)
TIM = wanted(
    "Tim Howes",
    email="howes@netscape.com",
    phone="+1-415-937-3419",
    company="Netscape Communications Corp.",
    at=address("501 E. Middlefield Rd.", None, None, "Mountain View", "CA", "94043", "U.S.A."),
    business_fax="+1-415-528-4164",
)


def simon(line1: str, line2: str | None) -> dict[str, Any]:
    return wanted(
        "Simon Perreault",
        "Simon",
        "Perreault",
        email="simon.perreault@viagenie.ca",
        company="Viagenie",
        at=address(line1, line2, None, "Quebec", "QC", "G1V 2M2", "Canada"),
        phone="+1-418-656-9254 ext. 102",
        mobile_phone="+1-418-262-6501",
        suffix="ing. jr, M.Sc.",
    )


def heiko(name: str) -> dict[str, Any]:
    return wanted(
        name,
        "Heiko",
        "Mustermann",
        email="heiko.mustermann@freenet.org",
        phone="0351 443322",
        company="KDE",
        at=address("Prager Strasse 55", None, None, "Dresden", "Sachsen", "01066", "Germany"),
        home_address=lines(address("Buehlauer Strasse 45", None, None, "Dresden", "Sachsen", "01327", "Germany")),
        email_2="heiko8@tst.inf.tu-dresden.de",
        home_phone="0351 223344",
        mobile_phone="0173 223344",
        birthday=date(1955, 7, 19),
        notes="I'm a friendly note text,\nplease copy me to your address book...",
    )


BROKEN_STREET = lines(address("AAAAAAA-AäAAAAA 11", None, None, "Urt", None, "00000", None))
DOCTORS = (
    wanted(
        "Bike Shop",
        company="Bike Shop",
        at=address("DDDDDDDDDDDDDDD-Staße 2", "00000 DDDDDDDDDD", *[None] * 5),
        uid="bfa5fdc5-fbfc-4ce2-8196-29ca0deb3bd3",
    ),
    wanted("Field after Address broken", "Broken", at=BROKEN_STREET, website="http://some-webseite.com"),
    wanted("Field after Address not broken", "Broken", at=BROKEN_STREET, website="http://some-webseite.com"),
    wanted("Dr. med. Surname Name", "Surname", "Name", job="Facharzt für Allgemeinmedizin", prefix="Dr. med."),
    wanted(
        "Second Doctor",
        "Second",
        "Doctor",
        job="Dentist",
        at=address("DDDDDDDDDDDstraße 26", "00000 DDDDDDDDDDDDDDDDD", *[None] * 5),
    ),
)
LONDON = address("221B Baker Street", None, None, "London", None, "NW1", "United Kingdom")
ALL_OF_OUTLOOK = wanted(
    "Display Name",
    "First Name",
    "Last Name",
    email="work@example.com",
    phone="300",
    company="Company",
    job="Job Title",
    at=address("Work Street", None, None, "Work City", "Work State", "Work Zip", "Work Country"),
    home_address=lines(address("Home Street", None, None, "Home City", "Home State", "Home Zip", "Home Country")),
    other_address=lines(address("Other Street", None, None, "Other City", "Other State", "Other Zip", "Other Country")),
    email_home="home@example.com",
    email_other="other@example.com",
    home_phone="100",
    home_phone_2="200",
    business_phone_2="400",
    mobile_phone="500",
    primary_phone="600",
    home_fax="700",
    business_fax="800",
    birthday=date(1991, 1, 20),
    anniversary=date(1992, 2, 20),
    gender="female",
    website="https://work",
    home_website="https://home",
    im_skype="skype",
    categories=("test",),
)
GOOGLE = wanted(
    "Prefix Firstname Middle Lastname Suffix",
    "Firstname",
    "Lastname",
    email="home@aaa.pl",
    phone="workphone",
    company="company",
    job="jobtitle",
    at=address("work_street", None, None, "work_city", None, "work_zip", "work_country"),
    home_address=lines(address("home_street", None, None, "home_city", "home_state", "home_zip", "home_country")),
    home_po_box="home_pobox",
    email_2="work@email.pl",
    email_3="unknown@email.com",
    email_4="other@email.com",
    company_phone="mainphone",
    home_phone="homephone",
    mobile_phone="mobile",
    home_fax="homefax",
    business_fax="workfax",
    pager="pager",
    birthday=date(1975, 12, 12),
    categories=("My Contacts", "Test"),
    spouse="spouse",
)
TEST = "test{}@domain.tld"


@WITH_THEM
@pytest.mark.parametrize(
    ("file", "cards"),
    [
        ("vcard/rfc2426-example.vcf", (FRANK, TIM)),
        ("vcard/kcontacts-vcard1.vcf", (FRANK,)),
        ("vcard/kcontacts-vcard2.vcf", (TIM,)),
        ("vcard/rfc6350-example.vcf", (simon("2875 Laurier", "Suite D2-630"),)),
        ("vcard/jcard-example.json", (simon("2875 Laurier", "Suite D2-630"),)),
        ("vcard/rfc6351-xcard-example.xml", (simon("2875 boul. Laurier, suite D2-630", None),)),
        ("vcard/kcontacts-v4_0.vcard5.vcf", (heiko("Mustermann, Heiko"),)),
        ("vcard/kcontacts-vcard5.vcf", (heiko("Mustermann, Heiko"),)),
        ("vcard/kcontacts-vcard10.vcf", DOCTORS),
        (
            "vcard/kcontacts-vcard13.vcf",
            (wanted("Test User", "Test", "User", email="thejoe@abc.com", email_2="johndoe@abc.com"),),
        ),
        (
            "vcard/kcontacts-vcard_extension_case_normalization.vcf",
            (wanted("My Name", "My", "Name", spouse="My Spouse", manager="My Boss", anniversary=date(1970, 1, 1)),),
        ),
        ("vcard/kcontacts-vcard_legacy_messaging_fields.vcf", (wanted("My Name", "My", "Name", uid="12345"),)),
        (
            "vcard/kcontacts-testfullvcard.vcf",
            (
                wanted(
                    "Sherlock Holmes",
                    "Sherlock",
                    "Holmes",
                    email="detective@sherlockholmes.com",
                    phone="+44-555-555-7777",
                    job="Detective",
                    at=LONDON,
                    email_2="sherlock.holmes@gmail.com",
                    mobile_phone="+44-555-555-6666",
                    home_phone="+44-555-555-5555 ext. 5555",
                    birthday=date(1953, 10, 15),
                ),
            ),
        ),
        (
            "vcard/roundcube-apple.vcf",
            (
                wanted(
                    "Apple Computer AG",
                    company="Apple Computer AG",
                    at=address("Birgistrasse 4a", None, None, "Wallisellen-Zürich", None, "8304", "Switzerland"),
                    website="http://www.apple.ch",
                ),
            ),
        ),
        (
            "vcard/roundcube-johndoe.vcf",
            (
                wanted(
                    "John Doë",
                    "John",
                    "Doë",
                    email="roundcube@gmail.com",
                    phone="+123456789",
                    company="roundcube.net",
                    at=address("The street", None, None, "Hometown", None, "5555", "Cayman Islands"),
                    email_2="inbox@roundcube.net",
                    mobile_phone="+987654321",
                ),
            ),
        ),
        (
            "vcard/roundcube-utf-16_sample.vcf",
            (
                wanted(
                    "Ǽgean ĽdaMonté",
                    "Ǽgean",
                    "ĽdaMonté",
                    at=address("169 Mária Canal", None, None, "LaPaz", "Conceptión", "245-876", "Perú"),
                ),
            ),
        ),
        ("csv/roundcube-all.csv", (ALL_OF_OUTLOOK,)),
        ("csv/roundcube-gmail.csv", (GOOGLE,)),
        (
            "csv/roundcube-outlook.csv",
            (wanted(TEST.format(1), email=TEST.format(1), email_2=TEST.format(2), email_3=TEST.format(3)),),
        ),
        (
            "csv/roundcube-email.csv",
            tuple(wanted(TEST.format(each), email=TEST.format(each)) for each in range(1, 5)),
        ),
    ],
)
def test_exports_beside_this_repository(file, cards):
    check(BESIDE / file, *cards)


@WITH_THEM
def test_no_export_beside_this_repository_is_forgotten():
    here = {path.name for path in HERE.glob("*.vcf")}
    mark = next(each for each in test_exports_beside_this_repository.pytestmark if each.name == "parametrize")
    tested = {file.rpartition("/")[2] for file, _ in mark.args[1]} | here | {"column-titles-by-language.csv"}
    assert {path.name for folder in ("vcard", "csv") for path in (BESIDE / folder).iterdir()} == tested
