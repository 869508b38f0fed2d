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
        ("Net 10", "2026-02-10"),
        ("net10", None),
        ("10 days", "2026-02-10"),
        ("n/10", "2026-02-10"),
        ("Due on receipt", "2026-01-31"),
        ("EOM", "2026-01-31"),
        ("EOM + 10", "2026-02-10"),
        ("", "2026-03-02"),
        (None, "2026-03-02"),
        ("when we like", None),
    ],
)
def test_terms_of_the_record_count_first(terms: str | None, expected: str | None):
    transform = {"terms_to_due_date": {"days": 30, "terms_path": "terms"}}
    if expected is None:
        with pytest.raises(RefusedError, match="not known as terms"):
            apply(transform, "2026-01-31", terms=terms)
    else:
        assert apply(transform, "2026-01-31", terms=terms).isoformat() == expected


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
        {"number": {"locale": "not a locale"}},
        {"money": {}},
        {"money": {"currency": "usd"}},
        {"money": {"currency": "USD", "currency_path": "currency"}},
        {"terms_to_due_date": {}},
        {"country": {"aliases": {"Philipines": "Philippines"}}},
        {"tax_id": {"type": "os.system"}},
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
