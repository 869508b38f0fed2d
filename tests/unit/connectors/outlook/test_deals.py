"""The convention by which a task's note is a deal."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from tieout.connectors.outlook.deals import day, note_of, number, text_of
from tieout.connectors.outlook.hints import handshake_of
from tieout.ports.connector import Webhook


@pytest.mark.parametrize(
    ("text", "name", "numbers"),
    [
        ("3 x Consulting @ 500.00", "Consulting", "3 500.00 0 1500"),
        ("3x Consulting @ 500.00", "Consulting", "3 500.00 0 1500"),
        ("Travel @120.50", "Travel", "1 120.50 0 120.50"),
        ("1,500.5 \N{MULTIPLICATION SIGN} Screws @ 0.001", "Screws", "1500.5 0.001 0 1.5005"),
        ("2*Chairs @ 1,000 -10%", "Chairs", "2 1000 10 1800"),
        ("5 x 2x4 timber @ 3", "2x4 timber", "5 3 0 15"),
        ("Refund @ -20", "Refund", "1 -20 0 -20"),
        ("a @ b @ 5", "a @ b", "1 5 0 5"),
        ("0 x Nothing @ 5", "Nothing", "0 5 0 0"),
    ],
)
def test_a_line_has_quantity_name_price_and_discount(text, name, numbers):
    (line,) = note_of(f"- {text}").lines
    assert line["name"] == name
    found = [line[key] for key in ("quantity", "unit_price", "discount_percent", "amount")]
    assert found == [Decimal(one) for one in numbers.split()]


@pytest.mark.parametrize(
    "text",
    [
        *("call them", "3 x Chairs", "Chairs @ 1.000,50", "Chairs @ 5 EUR?", "Chairs @ 1,00", "@ 5"),
        *("2xChairs @ 5", "1,5 x Chairs @ 5", "2x4 timber @ 3", "1.000 * Chairs @"),
    ],
)
def test_a_line_that_cannot_be_read_is_kept_without_its_amount(text):
    note = note_of(f"- 1 x Good @ 5\n- {text}")
    assert [line["name"] for line in note.lines] == ["Good", text]
    assert note.lines[1]["amount"] is None
    assert note.amount is None


def test_fields_are_read_in_any_case_and_the_first_counts():
    note = note_of(
        "  CUSTOMER : Acme Ltd \nhello: world\nReference:7\nreference: 8\nClosed: 2026-01-05\nAmount: 1,500.00 EUR"
    )
    assert note.fields == {"customer": "Acme Ltd", "reference": "7", "closed": "2026-01-05", "amount": "1,500.00 EUR"}
    assert (note.closed_on, note.amount) == (date(2026, 1, 5), Decimal("1500.00"))


def test_an_amount_that_cannot_be_read_is_none_and_not_the_sum_of_the_lines():
    assert note_of("Amount: about 5\n- a @ 5").amount is None
    assert note_of("- a @ 5\n- b @ 6").amount == Decimal(11)
    assert note_of("nothing").amount is None


@pytest.mark.parametrize("text", ["", "1.500,00", "1,5", "12,34,567", "5 eur", "--5", "1e5", "٣"])
def test_what_is_no_number_is_none(text):
    assert number(text) is None


@pytest.mark.parametrize("text", ["", "5.1.2026", "2026-13-01", "20260105", "2026-W01-1"])
def test_what_is_no_day_is_none(text):
    assert day(text) is None


def test_a_note_in_html_is_read_line_by_line():
    content = "<html><head><style>p {color: red}</style></head>"
    content += "<body><p>Customer: A &amp; B</p><div>- a @ 5<br/>- b @ 6</div></body></html>"
    note = note_of(text_of(content, "html"))
    assert note.fields == {"customer": "A & B"}
    assert [line["amount"] for line in note.lines] == [5, 6]
    assert text_of("a < b", "text") == "a < b"


@pytest.mark.parametrize(
    ("token", "answer"),
    [
        ("Validation: a+b %", "Validation: a+b %"),
        ("x" * 1024, "x" * 1024),
        ("x" * 1025, None),
        ("", None),
        ("a\r\nSet-Cookie: b", None),
        ("ä", None),
    ],
)
def test_a_handshake_is_short_and_printable(token, answer):
    assert handshake_of(Webhook({}, b"", {"validationToken": token})) == answer
    assert handshake_of(Webhook({}, b"", {})) is None
