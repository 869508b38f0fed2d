"""Transforms: exactness, round trips, and that nothing but a refusal comes out of any input."""

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from babel.numbers import format_decimal
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tieout.domain.records import Value
from tieout.mapping.paths import ABSENT, Found, parse_path
from tieout.mapping.transforms import TRANSFORMS, Params, RefusedError, Transform


class Around:
    def __init__(self, **fields: Value) -> None:
        self._fields = fields
        self.notices: list[str] = []

    def look(self, path: str) -> Found:
        return self._fields.get(path, ABSENT)

    def notice(self, sentence: str) -> None:
        self.notices.append(sentence)


def params(written: object) -> Params:
    return Transform.model_validate(written).chosen


def apply(written: object, value: Value, **fields: Value) -> Any:
    return params(written).apply(value, Around(**fields))


amounts = st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=6)


@given(amount=amounts, currency=st.sampled_from([("USD", 2), ("JPY", 0), ("KWD", 3)]))
def test_money_is_rounded_half_up_to_the_minor_unit(amount: Decimal, currency: tuple[str, int]):
    code, digits = currency
    rounded = apply({"money": {"currency": code}}, amount)
    assert -rounded.as_tuple().exponent == digits
    assert abs(rounded - amount) <= Decimal(5).scaleb(-digits - 1)
    assert rounded == amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    assert apply({"money": {"currency": code}}, rounded) == rounded


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("0.005", "0.01"), ("-0.005", "-0.01"), ("1.004999", "1.00"), ("0", "0.00"), (" 12.5 ", "12.50"), ("-0.001", "0")],
)
def test_money_at_the_edge(amount: str, expected: str):
    assert apply({"money": {"currency": "USD"}}, amount) == Decimal(expected)


def test_an_amount_of_nothing_is_none_and_one_beyond_all_money_is_refused():
    assert apply({"money": {"currency": "USD"}}, "  ") is None
    assert apply({"money": {"currency_path": "currency"}}, "") is None
    with pytest.raises(RefusedError) as refused:
        apply({"money": {"currency": "USD"}}, Decimal("1e30"))
    assert refused.value.message == '"1E+30" is too large for an amount of money.'
    with pytest.raises(RefusedError) as refused:
        apply({"money": {"currency_path": "currency"}}, 1, currency="Euro")
    assert refused.value.message == 'The amount has no currency: `currency` says "Euro".'
    assert refused.value.next_step == "Enter the currency as three capital letters, such as USD."


def test_money_without_a_currency_is_refused():
    transform = {"money": {"currency_path": "currency"}}
    assert apply(transform, Decimal("1.5"), currency="JPY") == Decimal(2)
    for said, shown in ((ABSENT, "nothing"), (None, "nothing"), ("dollars", '"dollars"'), (5, '"5"')):
        with pytest.raises(RefusedError, match=f"`currency` says {shown}"):
            params(transform).apply(Decimal(1), Around(**({} if said is ABSENT else {"currency": said})))  # type: ignore[arg-type]  # a value or nothing


@given(
    number=st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, allow_infinity=False, places=2),
    locale=st.sampled_from(["en_US", "de_DE", "fr_FR", "en_IN", "de_CH", "sv_SE", "pt_BR", "it_IT"]),
)
def test_a_number_written_for_a_locale_is_read_again(number: Decimal, locale: str):
    written = format_decimal(number, locale=locale)
    if "\N{MINUS SIGN}" not in written:
        assert apply({"number": {"locale": locale}}, written) == number


@given(number=st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, allow_infinity=False, places=3))
def test_a_plainly_written_number_is_read_again(number: Decimal):
    assert apply("number", format(number, "f")) == number


@pytest.mark.parametrize("text", ["1,234", "1.2.3", "1e3", "NaN", "Infinity", "0x10", "١٢", "12 EUR", "--1", "1_000"])
def test_what_is_no_plain_number_is_refused(text: str):
    with pytest.raises(RefusedError, match="is not a number"):
        apply("number", text)


@pytest.mark.parametrize(("text", "locale"), [("1.5", "de_DE"), ("1,5", "en_US"), ("1.23.456", "de_DE")])
def test_a_number_grouped_in_another_way_is_refused(text: str, locale: str):
    with pytest.raises(RefusedError, match=f"as `{locale}` writes it"):
        apply({"number": {"locale": locale}}, text)


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        ({}, "+5", "5"),
        ({}, " 12.50 ", "12.50"),
        ({}, "9" * 30, "9" * 30),
        ({"locale": "en_US"}, "+1,234.56", "1234.56"),
        ({"locale": "en_US"}, "1" * 30, "1" * 30),
        ({"locale": "de_DE"}, "-1.234,5", "-1234.5"),
        ({"locale": "fr_FR"}, "1 234,56", "1234.56"),
        ({"locale": "fr_FR"}, "1\u202f234,56", "1234.56"),
        ({"locale": "de_CH"}, "1'234.56", "1234.56"),
        ({"locale": "de_CH"}, "1\u2019234.56", "1234.56"),
        ({"locale": "pt-BR"}, "1.234,56", "1234.56"),
    ],
)
def test_a_number_is_read_as_it_is_written_there(written: object, text: str, expected: str):
    assert apply({"number": written}, text) == Decimal(expected)


@pytest.mark.parametrize(
    ("written", "text", "sentence", "next_step"),
    [
        (
            {},
            "1,5",
            '"1,5" is not a number.',
            "Correct the number, or set `locale` in this rule's `number`.",
        ),
        ({"locale": "de_DE"}, "1.5", '"1.5" is not a number as `de_DE` writes it.', "Correct the number."),
        ({"locale": "de_DE"}, "2'000", '"2\'000" is not a number as `de_DE` writes it.', "Correct the number."),
        ({"locale": "en_US"}, "1 234", '"1 234" is not a number as `en_US` writes it.', "Correct the number."),
        ({"locale": "en_US"}, "(5)", '"(5)" is not a number as `en_US` writes it.', "Correct the number."),
    ],
)
def test_what_is_no_number_there_is_refused_with_what_to_do(written: object, text: str, sentence: str, next_step: str):
    with pytest.raises(RefusedError) as refused:
        apply({"number": written}, text)
    assert (refused.value.message, refused.value.next_step) == (sentence, next_step)


@pytest.mark.parametrize("written", [{}, {"locale": "en_US"}])
def test_a_number_of_more_than_thirty_digits_is_refused(written: object):
    with pytest.raises(RefusedError, match="is not a number"):
        apply({"number": written}, "1" * 31)


@pytest.mark.parametrize(
    ("number", "fine"), [("1e30", True), ("1e31", False), ("1e-30", True), ("1e-31", False), ("0e99", True)]
)
def test_a_number_is_calculated_with_up_to_thirty_digits(number: str, fine: bool):
    if fine:
        assert apply("number", Decimal(number)) == Decimal(number)
    else:
        with pytest.raises(RefusedError, match="is not a number to calculate with"):
            apply("number", Decimal(number))


def test_a_product_is_exact_or_refused():
    assert apply({"multiply": {"by": Decimal("0.01")}}, "1999") == Decimal("19.99")
    assert apply({"multiply": {"by": -1}}, Decimal("5.00")) == Decimal("-5.00")
    for value, sentence in (
        (True, "yes is not a number."),
        (["1"], "A list is not a number."),
        (Decimal("NaN"), "NaN is not a number to calculate with."),
        (Decimal("1e31"), "1E+31 is not a number to calculate with."),
    ):
        with pytest.raises(RefusedError) as refused:
            apply({"multiply": {"by": 100}}, value)
        assert refused.value.message == sentence


@given(day=st.dates(min_value=dt.date(2000, 1, 1), max_value=dt.date(2099, 12, 31)))
def test_a_date_written_by_a_format_is_read_again(day: dt.date):
    for form, written in (
        ("DD.MM.YYYY", f"{day:%d.%m.%Y}"),
        ("M/D/YY", f"{day.month}/{day.day}/{day:%y}"),
        ("YYYYMMDD", f"{day:%Y%m%d}"),
        ("D MMM YYYY", f"{day.day} {day:%b} {day.year}"),
        ("MMMM D, YYYY", f"{day:%B} {day.day}, {day.year}"),
    ):
        assert apply({"date": {"format": form}}, written) == day
    assert apply("date", day.isoformat()) == day
    assert apply("date", day) == day


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        ({}, "31/12/2026", "2026-12-31"),
        ({}, "12/31/2026", "2026-12-31"),
        ({}, "5.5.2026", "2026-05-05"),
        ({}, "2026/1/2", "2026-01-02"),
        ({}, "2026-01-31T23:30:00", "2026-01-31"),
        ({}, "2026-01-31T23:30:00Z", "2026-01-31"),
        ({"timezone": "Asia/Kolkata"}, "2026-01-31T23:30:00Z", "2026-02-01"),
        ({"timezone": "America/New_York"}, "2026-02-01T03:00:00+00:00", "2026-01-31"),
        ({"locale": "de_DE"}, "3.4.2026", "2026-04-03"),
        ({"locale": "en_GB"}, "3/4/2026", "2026-04-03"),
        ({"locale": "en_US"}, "3/4/2026", "2026-03-04"),
        ({"format": "D MMM YYYY", "locale": "de_DE"}, "3 Sept. 2026", "2026-09-03"),
        ({"format": "D. MMMM YYYY", "locale": "de_DE"}, "3. März 2026", "2026-03-03"),
        ({"format": "D MMMM YYYY"}, "3 MARCH 2026", "2026-03-03"),
        ({"format": "DD/MM/YY"}, "03/04/00", "2000-04-03"),
        ({"format": "DD/MM/YY"}, "03/04/99", "2099-04-03"),
        ({"format": "DD.MM.YYYY"}, "2026-01-31", "2026-01-31"),
    ],
)
def test_a_date_is_read_as_it_is_written_there(written: object, text: str, expected: str):
    assert apply({"date": written}, text).isoformat() == expected


@pytest.mark.parametrize(
    ("written", "text", "sentence", "next_step"),
    [
        (
            {},
            "03/04/2026",
            '"03/04/2026" can be 2026-04-03 or 2026-03-04.',
            "Set `format`, such as `DD/MM/YYYY`, in this rule's `date`.",
        ),
        (
            {},
            "31.04.2026",
            '"31.04.2026" is not a date such as 2026-01-31.',
            "Correct the date, or set `format` in this rule's `date`.",
        ),
        (
            {"format": "DD.MM.YYYY"},
            "1.1.2026",
            '"1.1.2026" is not a date `DD.MM.YYYY`.',
            "Correct the date, or set `format` in this rule's `date`.",
        ),
        (
            {"format": "D MMM YYYY"},
            "3 Mai 2026",
            '"3 Mai 2026" is not a date `D MMM YYYY`.',
            "Correct the date, or set `format` in this rule's `date`.",
        ),
        (
            {"locale": "en_US"},
            "31/12/2026",
            '"31/12/2026" is not a date such as 2026-01-31.',
            "Correct the date, or set `format` in this rule's `date`.",
        ),
        ({"timezone": "Asia/Tokyo"}, "9999-12-31T23:00:00Z", '"9999-12-31" is outside the calendar.', ""),
    ],
)
def test_what_is_no_date_or_two_is_refused_with_what_to_do(written: object, text: str, sentence: str, next_step: str):
    with pytest.raises(RefusedError) as refused:
        apply({"date": written}, text)
    assert (refused.value.message, refused.value.next_step) == (sentence, next_step)


def test_a_moment_is_the_day_that_it_is_there():
    moment = dt.datetime(2026, 1, 31, 23, 30, tzinfo=dt.UTC)
    assert apply("date", moment) == dt.date(2026, 1, 31)
    assert apply({"date": {"timezone": "Europe/Berlin", "format": None}}, moment) == dt.date(2026, 2, 1)
    assert apply({"date": {"timezone": "Europe/Berlin"}}, moment.replace(tzinfo=None)) == dt.date(2026, 1, 31)


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ({"aliases": {"Net thirty": "Net 30"}}, "net THIRTY", "Net 30"),
        ({"aliases": {"a": "1", "A": "2"}}, "A", "2"),
        ({"aliases": {"ab": "1", "AB": "2"}}, "Ab", "Ab"),
        ({"aliases": {"a": "1"}}, " a ", "1"),
        ({"aliases": {"a": "1"}}, " b ", " b "),
        ({"table": {"7": "seven"}}, 7, "seven"),
        ({"table": {"a": None}, "otherwise": "keep"}, "a", None),
        ({"table": {"a": None}, "otherwise": "keep"}, "b", "b"),
        ({"table": {"a": True}, "otherwise": False}, "b", False),
        ({"table": {"a": 1}, "otherwise": None}, "b", None),
    ],
)
def test_a_lookup_tells_case_only_where_the_list_does(written: object, value: Value, expected: object):
    assert apply({"lookup": written}, value) == expected


def test_what_is_not_in_the_table_is_refused_with_what_to_add():
    with pytest.raises(RefusedError) as refused:
        apply({"lookup": {"table": {"won": "issued"}}}, "lost")
    assert refused.value.message == '"lost" is not in the table of this rule.'
    assert refused.value.next_step == "Add a line for `lost` to its table."


@pytest.mark.parametrize(
    ("written", "number", "country", "sentence", "next_step"),
    [
        (
            {"country_path": "country"}, "123", "Nowhere",
            "The tax number's country is not known: `country` names none.", "Enter the country in the record.",
        ),
        ({"country_path": "country"}, "123", "Kiribati", "We cannot check tax numbers of KI.", ""),
        (
            {"type": "eu.vat"}, "DE136695977", "",
            '"DE136695977" is not a valid tax number (eu.vat): the number\'s checksum or check digit is invalid.',
            "Correct the number in the record.",
        ),
    ],
)  # fmt: skip
def test_a_tax_number_that_is_none_says_why(written: object, number: str, country: str, sentence: str, next_step: str):
    with pytest.raises(RefusedError) as refused:
        apply({"tax_id": written}, number, country=country)
    assert (refused.value.message, refused.value.next_step) == (sentence, next_step)


def test_a_tax_number_is_written_without_spaces_by_the_rules_of_its_country():
    assert apply({"tax_id": {"type": "eu.vat"}}, "DE 136.695 976") == "DE136695976"
    assert apply({"tax_id": {"country_path": "country"}}, "136 695 976", country="Germany") == "136695976"


def test_a_country_has_names_in_english_in_another_language_and_those_of_the_document():
    transform = {"country": {"locale": "de", "aliases": {"Blighty": "GB", "Die Staaten": "US"}}}
    for said, code in (("die  staaten", "US"), ("Österreich", "AT"), ("Austria", "AT"), ("AUT", "AT"), ("UK", "GB")):
        assert apply(transform, said) == code
    with pytest.raises(RefusedError) as refused:
        apply("country", "Österreich")
    assert refused.value.message == '"Österreich" is not a country that we know.'
    assert refused.value.next_step == (
        "Correct it in the record, or add `Österreich` to `aliases` of this rule's `country`."
    )


@pytest.mark.parametrize(
    ("otherwise", "left", "notice"),
    [
        ("keep", "soon", '"soon" is not a date such as 2026-01-31. It was passed on as it stands.'),
        ("empty", None, '"soon" is not a date such as 2026-01-31. It was left empty.'),
    ],
)
def test_what_cannot_be_read_is_kept_or_left_empty_with_a_notice(otherwise: str, left: object, notice: str):
    around = Around()
    assert params({"date": {"otherwise": otherwise}}).apply("soon", around) == left
    assert around.notices == [notice]
    assert params({"date": {"otherwise": otherwise}}).apply("2026-01-31", around) == dt.date(2026, 1, 31)
    assert len(around.notices) == 1


@pytest.mark.parametrize("text", ["2026-02-30", "30/02/2026", "1/2/26", "tomorrow", "2026-13-01", "31.12.", "20260131"])
def test_what_is_no_date_is_refused(text: str):
    with pytest.raises(RefusedError, match="is not a date"):
        apply("date", text)


@given(day=st.dates(), days=st.integers(min_value=0, max_value=3650))
def test_a_due_date_is_days_later_or_outside_the_calendar(day: dt.date, days: int):
    try:
        due = apply({"terms_to_due_date": {"days": days}}, day)
    except RefusedError:
        assert dt.date.max - day < dt.timedelta(days=days)
    else:
        assert (due - day).days == days


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("Net 10", "2026-01-25"),
        ("net10", None),
        ("10 days", "2026-01-25"),
        ("10 days net.", "2026-01-25"),
        ("n/10", "2026-01-25"),
        ("n10", "2026-01-25"),
        ("1", "2026-01-16"),
        ("10000", None),
        ("Due on receipt", "2026-01-15"),
        ("on  receipt", "2026-01-15"),
        ("Immediately", "2026-01-15"),
        ("CASH", "2026-01-15"),
        ("C.O.D.", "2026-01-15"),
        ("EOM", "2026-01-31"),
        ("End of month", "2026-01-31"),
        ("EOM + 10", "2026-02-10"),
        ("eom+10 days", "2026-02-10"),
        ("", "2026-02-14"),
        (None, "2026-02-14"),
        ("when we like", None),
    ],
)
def test_terms_of_the_record_count_first(terms: str | None, expected: str | None):
    transform = {"terms_to_due_date": {"days": 30, "terms_path": "terms"}}
    if expected is None:
        with pytest.raises(RefusedError, match=f'^"{terms}" is not known as terms of payment\\.$') as refused:
            apply(transform, "2026-01-15", terms=terms)
        assert refused.value.next_step == "Write them as `Net 30` or `EOM + 10`."
    else:
        assert apply(transform, "2026-01-15", terms=terms).isoformat() == expected


@pytest.mark.parametrize(
    ("written", "day", "expected"),
    [
        ({"days": 0}, "2026-01-15", "2026-01-15"),
        ({"days": 30}, "2026-01-15", "2026-02-14"),
        ({"end_of_month_plus_days": 0}, "2026-02-01", "2026-02-28"),
        ({"end_of_month_plus_days": 0}, "2028-02-29", "2028-02-29"),
        ({"end_of_month_plus_days": 15}, "2026-12-31", "2027-01-15"),
    ],
)
def test_days_are_counted_from_the_invoice_or_from_the_end_of_its_month(written: object, day: str, expected: str):
    assert apply({"terms_to_due_date": written}, day).isoformat() == expected


def test_no_date_has_no_due_date():
    assert apply({"terms_to_due_date": {"days": 3}}, " ") is None
    with pytest.raises(RefusedError, match=r"The due date after 9999-12-31 is outside the calendar\."):
        apply({"terms_to_due_date": {"days": 1}}, "9999-12-31")


@pytest.mark.parametrize(
    "address",
    ["a@b", "a b@c.de", "a@b@c.de", "@c.de", "a@", "a@c..de", ".a@c.de", "a@-c.de", "a@c.d", "<a@c.de>", "a,b@c.de"],
)
def test_nonsense_is_no_email_address(address: str):
    with pytest.raises(RefusedError, match="is not an e-mail address"):
        apply("email", address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Jo.Ann+crm@Sub.Example.ORG", "Jo.Ann+crm@sub.example.org"),
        ("mailto:jo@example.org", "jo@example.org"),
        ("jörg@bücher.example", "jörg@bücher.example"),
    ],
)
def test_an_email_address_keeps_its_local_part(address: str, expected: str):
    assert apply("email", address) == expected


def test_a_phone_extension_is_left_out_with_a_notice():
    around = Around()
    assert params({"phone": {"region": "US"}}).apply("(650) 555-0123 ext. 45", around) == "+16505550123"
    assert around.notices == ["The extension 45 of a phone number was left out."]


@pytest.mark.parametrize(
    ("name", "code"),
    [("USA", "US"), ("u.s.a.", "US"), ("United States", "US"), (" germany ", "DE"), ("UK", "GB"), ("South Korea", "KR"),
     ("Korea, Republic of", "KR"), ("Russia", "RU"), ("IN", "IN"), ("C\u00f4te d\u2019Ivoire", "CI"), ("Kenya", "KE")],
)  # fmt: skip
def test_countries_are_known_by_many_names(name: str, code: str):
    assert apply("country", name) == code


@pytest.mark.parametrize(
    ("country", "text", "code"),
    [
        ("GB", "sw1a1aa", "SW1A 1AA"),
        ("GB", "M1 1 AA", "M1 1AA"),
        ("GB", "ec1y8sy", "EC1Y 8SY"),
        ("GB", "bfpo61", "BFPO 61"),
        ("CA", "k1a-0b1", "K1A 0B1"),
        ("NL", "1234ab", "1234 AB"),
        ("IE", "d6wpv38", "D6W PV38"),
        ("SE", "S-11455", "114 55"),
        ("PL", "00950", "00-950"),
        ("PT", "1250\u2013096", "1250-096"),
        ("BR", "40301110", "40301-110"),
        ("US", "02138", "02138"),
        ("US", "221621010", "22162-1010"),
        ("CH", "CH-8001", "8001"),
        ("LV", "lv1073", "LV-1073"),
        ("JP", "\u3012\uff11\uff15\uff14\uff0d\uff10\uff10\uff12\uff13", "154-0023"),
        ("KE", "  gpo  00100 ", "GPO 00100"),
    ],
)
def test_a_postal_code_is_written_as_its_country_does(country: str, text: str, code: str):
    transform = {"postal_code": {"country": country}}
    assert apply(transform, text) == code
    assert apply(transform, code) == code


@pytest.mark.parametrize(
    ("country", "text"),
    [("US", "2138"), ("US", "K1A 0B1"), ("GB", "SW1A"), ("DE", "1O115"), ("DE", "A-1010"), ("NL", "1234"),
     ("LV", "1073"), ("DE", "10115 Berlin"), ("SE", "\u0661\u0661\u0664\u0665\u0665"), ("CA", "CA")],
)  # fmt: skip
def test_a_code_in_no_form_of_the_country_is_refused(country: str, text: str):
    with pytest.raises(RefusedError, match=f"is not a postal code of {country}"):
        apply({"postal_code": {"country": country}}, text)


def test_the_records_country_decides_how_its_postal_code_is_written():
    transform = {"postal_code": {"country": "PL", "country_path": "country"}}
    assert apply(transform, "12345", country="Germany") == "12345"
    assert apply(transform, "12345", country=None) == "12-345"
    assert apply({"postal_code": {"country_path": "country"}}, "ab 12345") == "AB 12345"


def test_a_postal_code_of_digits_may_have_lost_a_zero():
    for text, lost in (("2138", True), ("O2138", False)):
        with pytest.raises(RefusedError) as refused:
            apply({"postal_code": {"country": "US"}}, text)
        assert ("zero" in refused.value.next_step) is lost


@pytest.mark.parametrize(
    "written",
    [
        {"truncate": {"length": 0}},
        {"truncate": {"length": "5"}},
        {"date": {"format": "DD.MM"}},
        {"date": {"locale": "xx_YY"}},
        {"date": {"timezone": "Mars/Base"}},
        {"number": {"locale": "xx"}},
        {"number": {"locale": "not a locale"}},
        {"money": {}},
        {"money": {"currency": "usd"}},
        {"money": {"currency": "USD", "currency_path": "currency"}},
        {"terms_to_due_date": {}},
        {"country": {"aliases": {"Philipines": "Philippines"}}},
        {"tax_id": {"type": "os.system"}},
        {"tax_id": {"type": "eu"}},
        {"tax_id": {"type": "EU.vat"}},
        {"tax_id": {}},
        {"postal_code": {}},
        {"postal_code": {"country": "gb"}},
        {"postal_code": {"country": "UK"}},
        {"lookup": {"aliases": {"a": "b"}, "otherwise": "keep"}},
        {"replace": {"find": ""}},
        {"trim": {}, "upper": {}},
        {},
    ],
)
def test_parameters_that_make_no_sense_are_refused(written: object):
    with pytest.raises(ValidationError):
        Transform.model_validate(written)


values = st.one_of(
    st.booleans(),
    st.integers(),
    st.decimals(),
    st.dates(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(dt.UTC))),
    st.text(max_size=30),
    st.from_regex(r"[0-9+().,/ -]{1,14}", fullmatch=True),
    st.lists(st.one_of(st.text(max_size=5), st.none(), st.integers()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)
EXAMPLES: dict[str, list[object]] = {
    "truncate": [{"length": 3}],
    "prefix": [{"text": "x"}],
    "suffix": [{"text": "x"}],
    "replace": [{"find": "a"}],
    "split": [{"at": ",", "take": -2}],
    "lookup": [{"aliases": {"a": "b"}}, {"table": {"a": 1, "A": 2}}, {"table": {}, "otherwise": None}],
    "multiply": [{"by": Decimal("0.01")}],
    "money": [{"currency": "USD"}, {"currency_path": "value"}],
    "number": [{}, {"locale": "de_DE"}, {"locale": "fr_FR", "otherwise": "keep"}],
    "date": [{}, {"locale": "en_US", "timezone": "Asia/Kolkata"}, {"format": "D MMM YYYY", "otherwise": "empty"}],
    "terms_to_due_date": [{"days": 3650}, {"end_of_month_plus_days": 1, "terms_path": "value"}],
    "phone": [{"region": "US"}, {"region_path": "value"}],
    "country": [{"locale": "de"}],
    "postal_code": [{"country": "GB"}, {"country": "JP", "otherwise": "empty"}, {"country_path": "value"}],
    "tax_id": [{"type": "eu.vat"}, {"type": "in.gstin", "otherwise": "keep"}, {"country_path": "value"}],
}


def refusal(chosen: Params, value: Value, around: Around) -> str:
    """The sentence of the refusal; empty if there is none."""
    try:
        chosen.apply(value, around)
    except RefusedError as refused:
        return refused.message
    return ""


@pytest.mark.parametrize("name", TRANSFORMS)
@settings(max_examples=60, deadline=None)
@given(value=values, other=values)
def test_a_transform_gives_a_value_or_refuses_with_a_sentence(name: str, value: Any, other: Any):
    for written in EXAMPLES.get(name, [{}]):
        around = Around(value=other)
        message = refusal(params({name: written}), value, around)
        assert message.endswith(".") or not message
        assert len(message) < 200
        assert all(notice.endswith(".") for notice in around.notices)


@pytest.mark.parametrize(
    "text",
    ["", "a..b", ".a", "a.", "a[", "a[-1]", "a[x]", "a b", "1a", "a[0]b", "a.[0]", '["a"', "x" * 201, "a[99999]"],
)
def test_what_is_no_path_is_refused(text: str):
    with pytest.raises(ValueError, match="path"):
        parse_path(text)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", 1),
        ("b.c[1].d", "second"),
        ("b.c[*].d", ["first", "second"]),
        ("b.c[2].d", ABSENT),
        ("b.x.y", ABSENT),
        ("n.anything[0].below", None),
        ("a.b", ABSENT),
        ("a[0]", ABSENT),
        ("t[0]", ABSENT),
        ("a[*]", ABSENT),
        ('o["Order no."]', 7),
    ],
)
def test_a_path_tells_absent_from_null(path: str, found: object):
    record = {"a": 1, "b": {"c": [{"d": "first"}, {"d": "second"}]}, "n": None, "t": "text", "o": {"Order no.": 7}}
    assert parse_path(path).read(record) == found
