"""Keys that identify a customer, and addresses."""

from __future__ import annotations

import pytest

from tieout.matching.addresses import Place, place
from tieout.matching.contacts import company_domain, is_same_phone, mailbox, tax_number


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" Jane@ACME.Example ", "jane@acme.example"),
        ("a@acme.example, b@acme.example", "a@acme.example"),
        ("mailto:a@acme.example", "a@acme.example"),
        ("none@none.com", None),
        ("noreply@acme.example", None),
        ("no-email@acme.example", None),
        ("ask jane", None),
        ("jane@localhost", None),
        ("jane@acme.example@localhost", None),
        ("@acme.example", None),
        (None, None),
        (7, None),
    ],
)
def test_mailbox(text, address):
    assert mailbox(text) == address


@pytest.mark.parametrize(
    ("email", "website", "domain"),
    [
        ("jane@mail.acme.example", None, "acme.example"),
        ("jane@acme.co.uk", None, "acme.co.uk"),
        ("jane@mail.acme.co.uk", None, "acme.co.uk"),
        ("jane@home@acme.example", None, "acme.example"),
        ("jane@smtp.gmail.com", None, None),
        ("jane@gmail.com", None, None),
        ("jane@gmail.com", "https://www.acme.example/about?x=1", "acme.example"),
        (None, "Acme.Example:8080", "acme.example"),
        (None, "http://acme.example", "acme.example"),
        (None, "acme.example.", "acme.example"),
        (None, "www.localhost", None),
        (None, "none", None),
        (None, None, None),
    ],
)
def test_a_free_mail_domain_is_no_company(email, website, domain):
    assert company_domain(email, website) == domain


@pytest.mark.parametrize(
    ("one", "other", "country"),
    [
        ("DE136695976", "136 695 976", "DE"),
        ("DE 136.695.976", "DE136695976", None),
        ("12-3456789", "123456789", "US"),
        ("CHE-107.787.577 MWST", "CHE107787577", "CH"),
        ("EL123456789", "123456789", "GR"),
        ("27 AAPFU0939F1ZV", "27aapfu0939f1zv", "IN"),
        ("12 345 678", "12345678", "eu"),
        ("BE 0403.019.261", "403 019 261", "BE"),
    ],
)
def test_a_tax_number_is_the_same_however_it_is_written(one, other, country):
    assert tax_number(one, country) == tax_number(other, country) is not None


def test_the_letters_of_a_tax_number_tell_two_holders_apart():
    assert tax_number("IE6433435F", "IE") != tax_number("IE6433435E", "IE")


@pytest.mark.parametrize("text", ["XXXXX6789", "***-**-1234", "n/a", "12", "exempt"])
def test_what_says_nothing_is_no_tax_number(text):
    assert tax_number(text, "US") is None


@pytest.mark.parametrize(
    ("one", "other", "country", "same"),
    [
        ("+1 650 253 0000", "(650) 253-0000", None, True),
        ("+44 20 7946 0123", "020 7946 0123", "GB", True),
        ("020 7946 0123", "+44 (0)20 7946 0123", "GB", True),
        ("+1 650 253 0000 ext 5", "650-253-0000", "US", True),
        ("650 253 0000 x12", "650.253.0000", None, True),
        ("+1 650 253 0000", "+1 650 253 0001", None, False),
        ("+1 650 253 0000", "+44 650 253 0000", None, False),
        ("555", "ask reception", "US", None),
        ("+1 650 253 0000", "call us please", "US", None),
        ("650 253 0000", "12", None, None),
        ("650 253 0000", "253-0000", None, True),
        ("650 253 0000", "ring reception 650 253 0000", None, None),
        ("+1 207 946 0123", "020 7946 0123", "GB", False),
        ("+298 201234", "201234", "FO", True),
        ("+44 12345", "+44 12345", None, None),
    ],
)
def test_phones(one, other, country, same):
    assert is_same_phone(one, other, country) is same


def _address(line1="", city="", postal_code="", **more):
    return {"line1": line1, "city": city, "postal_code": postal_code, **more}


@pytest.mark.parametrize(
    ("one", "other", "lies"),
    [
        (_address("12 Mill Street", "Leeds", "LS1 1AB"), _address("12 Mill St.", "LEEDS", "ls11ab"), Place.HOUSE),
        (
            _address("Hauptstraße 7", "Köln", "50670"),
            _address("Hauptstr. 7", "Koln", "D-50670", country="DE"),
            Place.HOUSE,
        ),
        (_address("Hauptstraße 7", "Köln", "50670"), _address("Hauptstr. 7", "Köln", "50670"), Place.HOUSE),
        (_address("1 North Boulevard", "Dayton"), _address("1 N Blvd, Suite 4", "Dayton"), Place.HOUSE),
        (_address("12 Mill Street", "Leeds"), _address("14 Mill Street", "Leeds"), Place.STREET_DIFFERS),
        (_address("12 Mill Street", "Leeds"), _address("Mill Street", "Leeds"), Place.STREET_DIFFERS),
        (_address("12 Mill Street", "Leeds"), _address("12 Mill Street", "Bristol"), Place.CITY_DIFFERS),
        (_address(postal_code="DE-50670", country="DE"), _address(postal_code="50670"), Place.POSTAL_CODE),
        (_address(city="Bristol"), _address(city="Bristal"), Place.CITY),
        (_address(postal_code="27613-3502"), _address(postal_code="27613"), Place.POSTAL_CODE),
        (_address("12 Mill Street"), _address("12 Mill Street"), Place.UNKNOWN),
        (_address(), _address(city="Leeds"), Place.UNKNOWN),
        (None, None, Place.UNKNOWN),
        (_address(postal_code="LS1 1AB"), _address(), Place.UNKNOWN),
        (_address("12 Mill Street", "Leeds"), _address("Unit B", "Leeds", line2="12 Mill St"), Place.HOUSE),
        (_address("12 Mill Street", "Leeds"), _address(city="Leeds"), Place.CITY),
        (_address(city="New York"), _address(city="New York City"), Place.CITY),
        (_address(city="Leeds"), _address(city="Leedz"), Place.CITY),
        (_address("12 Mill Street", "Leeds"), _address("12 Oak Street", "Leeds"), Place.STREET_DIFFERS),
        (_address("12 Victoria Street", "Leeds"), _address("12 Cathedral Street", "Leeds"), Place.STREET_DIFFERS),
        (_address("12 Baker Street", "Leeds"), _address("12 Bakar Street, North Wing", "Leeds"), Place.HOUSE),
    ],
)
def test_how_addresses_lie(one, other, lies):
    assert place(one, other) is lies
    assert place(other, one) is lies
