"""Rows of GoldMine's tables in our words."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from tieout.connectors.goldmine.manifest import settings_of
from tieout.connectors.goldmine.translate import Translator, day, is_user_field


def translator(**settings: object) -> Translator:
    return Translator(settings_of({"sqlite_file": "x", "time_zone": "Europe/Berlin", "currency": "EUR", **settings}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", None),
        ("   ", None),
        ("Söhne  ", "Söhne"),
        ("  indented", "  indented"),
        ("a\0b\0", "ab"),
        ("Söhne".encode(), "Söhne"),
        ("Söhne €".encode("cp1252"), "Söhne €"),
        (bytearray(b"x "), "x"),
        (7, "7"),
    ],
)
def test_text_is_trimmed_at_its_end_and_decoded(value: Any, text: str | None):
    assert translator().text(value) == text


def test_bytes_are_of_the_code_page_of_the_settings():
    assert translator(code_page="cp1251").text("Привет".encode("cp1251")) == "Привет"
    assert translator(code_page="cp850").text("Söhne".encode("cp850")) == "Söhne"


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (None, None),
        (0.0, "0.00"),
        (0.1 + 0.2, "0.30"),
        (1.005, "1.01"),
        (2.675, "2.68"),
        (-1.005, "-1.01"),
        (10005534.1, "10005534.10"),
        (float("nan"), None),
        (float("inf"), None),
        (Decimal("12.345"), "12.35"),
        ("80.50", "80.50"),
        (" 80 ", "80.00"),
        ("1,234.50", None),
        ("1.234,50", None),
        ("01:30:00", None),
        ("", None),
    ],
)
def test_an_amount_is_rounded_once_to_the_minor_unit(value: Any, amount: str | None):
    found = translator().amount(value)
    assert found == (None if amount is None else Decimal(amount))
    assert found is None or found.as_tuple().exponent == -2


def test_the_minor_unit_is_the_currencys():
    assert translator(currency="JPY").amount(1234.5) == Decimal(1235)
    assert translator(currency="KWD").amount(1.2345) == Decimal("1.235")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (datetime.combine(date(2026, 1, 5), time.min), date(2026, 1, 5)),
        (date(2026, 1, 5), date(2026, 1, 5)),
        (datetime.combine(date(1899, 12, 30), time.min), None),
        (datetime.combine(date(1900, 1, 1), time.min), None),
        (None, None),
        ("2026-01-05", None),
    ],
)
def test_a_day_before_1901_is_none(value: Any, found: date | None):
    assert day(value) == found


@pytest.mark.parametrize(
    ("on", "at", "utc"),
    [
        (date(2026, 1, 5), "10:30", datetime(2026, 1, 5, 9, 30, tzinfo=UTC)),
        (date(2026, 7, 5), "10:30", datetime(2026, 7, 5, 8, 30, tzinfo=UTC)),
        (date(2026, 3, 29), "02:30", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # an hour that was left out
        (date(2026, 10, 25), "02:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # the first of two
        (date(2026, 1, 5), " 9:05a", None),
        (date(2026, 1, 5), "9:05a", datetime(2026, 1, 5, 8, 5, tzinfo=UTC)),
        (date(2026, 1, 5), "12:05am", datetime(2026, 1, 4, 23, 5, tzinfo=UTC)),
        (date(2026, 1, 5), "12:05pm", datetime(2026, 1, 5, 11, 5, tzinfo=UTC)),
        (date(2026, 1, 5), "9:05p", datetime(2026, 1, 5, 20, 5, tzinfo=UTC)),
        (date(2026, 1, 5), "25:00", None),
        (date(2026, 1, 5), None, None),
        (None, "10:30", None),
        (date(1899, 12, 30), "10:30", None),
    ],
)
def test_local_times_without_a_zone_are_of_the_settings_zone(on: date | None, at: str | None, utc: datetime | None):
    edited, by = translator().edited({"LASTDATE": on, "LASTTIME": at, "LASTUSER": "ADA     "})
    assert (edited, by) == (utc, "ADA")


def test_user_fields_begin_with_u():
    assert [name for name in ("UCLIENTSTA", "USERDEF01", "U", "PREVRESULT", "ACCOUNTNO") if is_user_field(name)] == [
        "UCLIENTSTA",
        "USERDEF01",
    ]


@pytest.mark.parametrize(
    ("contact", "last", "given"),
    [
        ("Ada Miller", "Miller", "Ada"),
        ("Ada van Miller", "van Miller", "Ada"),
        ("ADA MILLER", "Miller", "ADA"),
        ("Miller", "Miller", None),
        ("Miller, Ada", "Miller", None),
        ("Ada Miller", None, None),
        (None, "Miller", None),
    ],
)
def test_the_first_name_is_what_stands_before_the_last(contact: str | None, last: str | None, given: str | None):
    record = translator().main_contact({"ACCOUNTNO": "A1", "CONTACT": contact, "LASTNAME": last}, [])
    assert record.fields["given_name"] == given
    assert record.fields["name"] == contact


def test_a_person_without_an_organisation_is_a_customer_by_their_own_name():
    record = translator().company({"ACCOUNTNO": "A1 ", "COMPANY": "  ", "CONTACT": "Ada Miller"}, None, [])
    assert (record.id, record.fields["name"]) == ("A1", "Ada Miller")


def test_a_web_site_that_fills_its_column_may_be_cut_and_is_left():
    def site(address: str, recid: str) -> dict[str, str]:
        return {"CONTACT": "Web Site", "CONTSUPREF": address, "RECID": recid}

    row = {"ACCOUNTNO": "A1", "COMPANY": "Acme"}
    record = translator().company(row, None, [site("https://acme.example", "2"), site("https://" + "a" * 27, "1")])
    assert record.fields["website"] == "https://acme.example"


def test_of_two_primary_addresses_the_first_row_is_taken_each_time():
    def email(address: str, recid: str, flags: str) -> dict[str, str]:
        return {"CONTACT": "E-mail Address", "CONTSUPREF": address, "RECID": recid, "ZIP": flags}

    details = [
        email("b@acme.example", "2", "0111"),
        email("a@acme.example", "1", "011"),
        email("c@x.example", "0", "1"),
    ]
    for given in (details, details[::-1]):
        record = translator().main_contact({"ACCOUNTNO": "A1", "CONTACT": "Ada"}, given)
        assert record.fields["email"] == "a@acme.example"


def test_units_that_do_not_divide_the_amount_are_one():
    row = {"OPID": "1", "NAME": "Deal", "STATUS": "Won", "CLOSEAMT": 10.0}
    sale = {"REF": "Consulting (oc: Ada)", "DURATION": "10.00", "UNITS": "3", "RECID": "1"}
    (line,) = list(translator(deal_lines="sales").deal(row, [], [sale]).fields["lines"])
    assert (line["name"], line["quantity"], line["unit_price"], line["amount"]) == (
        "Consulting",
        1,
        10,
        Decimal("10.00"),
    )


def test_a_version_is_another_one_if_and_only_if_a_field_is():
    row = {"ACCOUNTNO": "A1", "COMPANY": "Acme", "LASTDATE": date(2026, 1, 5), "LASTTIME": "10:00"}
    one = translator().company(row, None, [])
    assert translator().company({**row, "LASTTIME": "11:00"}, None, []).version == one.version
    assert translator().company({**row, "COMPANY": "Acme  "}, None, []).version == one.version
    assert translator().company({**row, "COMPANY": "acme"}, None, []).version != one.version
