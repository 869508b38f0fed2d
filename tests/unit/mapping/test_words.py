"""Names, paths and values in sentences, and paths themselves."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from tieout.mapping.evaluate import shown, words, words_of_path
from tieout.mapping.paths import ABSENT, PATH_LENGTH_MAX, parse_path
from tieout.mapping.transforms import RefusedError, is_number, quoted, shortened, text_of


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("name", "name"),
        ("due_date", "due date"),
        ("closed_on", "close date"),
        ("opened_on", "open date"),
        ("expected_close_on", "expected close date"),
        ("last_payment_on", "last payment date"),
        ("id", "id"),
    ],
)
def test_a_name_in_words(name: str, said: str):
    assert words(name) == said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("name", "name"),
        ("contact.email", "contact email"),
        ("companies[0].id", "company"),
        ("companies[1].id", "company 2"),
        ("companies[0].name", "name in company 1"),
        ("lines[1].name", "name in line 2"),
        ("lines[*].name", "lines name"),
        ("lines", "lines"),
        ("invoice_ids[0]", "invoice 1"),
        ("contacts[0].id", "contact"),
        ("tags[0]", "tags 1"),
        ("custom_fields.vat_no", "vat no"),
        ('custom_fields["Order no."]', "Order no."),
        ("custom_fields.items[2].price", "price in items 3"),
        ("id", "id"),
        ("contact.id", "contact"),
    ],
)
def test_a_path_in_words(path: str, said: str):
    assert words_of_path(path) == said


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        (" x ", " x "),
        (7, "7"),
        (-7, "-7"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E+29"), "1" + 29 * "0"),
        (Decimal("1E+30"), "1E+30"),
        (Decimal("1E-29"), "0." + 28 * "0" + "1"),
        (Decimal("1E-30"), "1E-30"),
        (Decimal("NaN"), "NaN"),
        (dt.date(2026, 1, 31), "2026-01-31"),
        (2**9999, "a number of thousands of digits"),
        (10**3000, "1" + 3000 * "0"),
        ("x" * 10_000, "x" * 10_000),
    ],
)
def test_a_value_as_text(value: object, text: str):
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (True, "yes is not text."),
        (False, "no is not text."),
        ([], "A list is not text."),
        ({}, "An object is not text."),
        ("x" * 10_001, f'The text "{"x" * 39}…" has more than 10,000 characters.'),
    ],
)
def test_what_is_no_text_is_refused(value: object, sentence: str):
    with pytest.raises(RefusedError) as refused:
        text_of(value)
    assert (refused.value.message, refused.value.next_step) == (sentence, "")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a\n b", '"a b"'),
        ("x" * 40, f'"{"x" * 40}"'),
        ("x" * 41, f'"{"x" * 39}…"'),
        (5, '"5"'),
        (Decimal("5.0"), '"5.0"'),
        (dt.date(2026, 1, 31), '"2026-01-31"'),
        (True, "yes"),
        (False, "no"),
        ([1], "A list"),
        ({"a": 1}, "An object"),
    ],
)
def test_a_value_in_a_sentence(value: object, said: str):
    assert quoted(value) == said


def test_a_long_text_of_spaces_is_not_read_to_its_end():
    assert shortened(" " * 159 + "x" + "y", 40) == "x"
    assert shortened("a" * 80 + "b", 80) == "a" * 79 + "…"
    assert shortened("a" * 80, 80) == "a" * 80


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, None), (ABSENT, None), ("", ""), ("a\nb", "a b"), ("x" * 81, "x" * 79 + "…"), (5, "5"), ([], "A list")],
)
def test_a_value_that_an_error_carries(value: object, said: str | None):
    assert shown(value) == said


def test_yes_and_no_are_no_numbers():
    assert [is_number(value) for value in (1, Decimal(1), True, "1", None)] == [True, True, False, False, False]


def test_absent_says_so():
    assert repr(ABSENT) == "ABSENT"


def test_the_longest_path_is_read_and_a_longer_one_refused():
    assert parse_path("x" * PATH_LENGTH_MAX).text == "x" * 200
    with pytest.raises(ValueError, match="a path has at most 200 characters"):
        parse_path("x" * 201)


@pytest.mark.parametrize("text", ["", "a.", "a[x]", "a b"])
def test_what_is_no_path_is_told_how_to_write_one(text: str):
    with pytest.raises(ValueError, match="is not a path") as caught:
        parse_path(text)
    assert str(caught.value) == (
        f"`{text}` is not a path: write field names with dots, such as `contact.email`, `[0]` for the first item"
        ' of a list, `[*]` for all of them, `["…"]` for a name with spaces'
    )


def test_the_parts_of_a_path():
    assert parse_path('a-b.c_1[0][*]["d e"].f').parts == ("a-b", "c_1", 0, None, "d e", "f")
    assert parse_path("a[9999]").parts == ("a", 9999)


def test_every_item_is_read_without_those_that_are_absent_or_null():
    record = {
        "a": [{"b": 1}, {"b": None}, {}, None, {"b": ""}],
        "n": None,
        "deep": [{"a": [{"b": 1}]}, {"a": [{"b": 2}]}],
    }
    assert parse_path("a[*].b").read(record) == [1, ""]
    assert parse_path("deep[*].a[*].b").read(record) == [[1], [2]]
    assert parse_path("n[*].b").read(record) is None
    assert parse_path("x[*].b").read(record) is ABSENT
    assert parse_path("x.y").read(ABSENT) is ABSENT
