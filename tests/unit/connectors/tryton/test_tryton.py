"""What the Tryton connector makes of values, errors and settings; no server."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tieout.connectors.tryton import CONNECTOR, notes, wire
from tieout.connectors.tryton.errors import WarnedError, of_error, of_status
from tieout.connectors.tryton.feed import Cursor
from tieout.connectors.tryton.invoices import differing
from tieout.connectors.tryton.manifest import limits_of, parse_settings
from tieout.domain.documents import Invoice, Line
from tieout.domain.errors import (
    ConflictError,
    ReconnectError,
    RejectedError,
    SettingsError,
    SignatureError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.ports.connector import Webhook

SETTINGS = {"base_url": "https://erp.example.com/", "database": "erp"}


def test_values_go_out_and_come_back_as_they_were():
    moment = datetime(2026, 1, 5, 10, 2, 11, 123456, UTC)
    values = {"price": Decimal("10.10"), "on": date(2026, 1, 5), "at": moment, "none": None, "list": [1, "x", True]}

    body = json.loads(wire.encode("model.a.create", [values]))

    assert body.keys() == {"id", "method", "params"}
    (sent,) = body["params"]
    assert sent["price"] == {"__class__": "Decimal", "decimal": "10.10"}
    assert wire.decode(sent) == values


@pytest.mark.parametrize("digits", ["2.5", "0.1", "-0.001", "1234567.891"])
def test_a_quantity_is_a_bare_number_with_the_same_digits(digits):
    body = wire.encode("m", [wire.Quantity(digits)])

    (back,) = json.loads(body, parse_float=Decimal)["params"]

    assert back == Decimal(digits)


@pytest.mark.parametrize(
    "value",
    [{"__class__": "Decimal"}, {"__class__": "Decimal", "decimal": "x"}, {"__class__": "date", "year": "2026"}],
)
def test_a_typed_value_of_another_form_is_none(value):
    with pytest.raises(ValueError, match="typed value"):
        wire.decode([value])


def test_what_tryton_says_decides_what_is_done_next():
    assert isinstance(of_error(["UserError", ["No period", "", None]], write=True), RejectedError)
    assert "No period" in of_error(["UserError", ["No period", "", None]], write=True).message
    assert isinstance(of_error(["ConcurrencyException", "Records were modified"], write=True), ConflictError)
    assert isinstance(of_error(["LoginException", ["password", "", "password"]], write=True), ReconnectError)
    warned = of_error(["UserWarning", ["0f.invoice_date_future", "In the future", ""]], write=True)
    assert isinstance(warned, WarnedError)
    assert (warned.code, warned.key) == ("invoice_date_future", "0f.invoice_date_future")


@pytest.mark.parametrize("error", [["database is locked", "Traceback: secret"], [], None, "x", ["UserErrors", 1]])
def test_an_exception_of_the_server_is_uncertain_for_a_write_and_its_text_is_kept_to_itself(error):
    written, read = of_error(error, write=True), of_error(error, write=False)

    assert isinstance(written, UncertainError)
    assert isinstance(read, UnavailableError)
    assert "secret" not in str(vars(written))


def test_a_status_without_success():
    assert isinstance(of_status(401, write=True), ReconnectError)
    assert isinstance(of_status(404, write=True), ReconnectError)
    assert isinstance(of_status(403, write=True), RejectedError)
    assert isinstance(of_status(429, write=True), ThrottledError)
    assert isinstance(of_status(504, write=True), UncertainError)
    assert isinstance(of_status(504, write=False), UnavailableError)


def test_a_cursor_is_kept_as_text_and_another_text_is_none():
    cursor = Cursor("2026-01-05T10:00:00+00:00", 7, "2026-01-05T11:00:00+00:00")

    assert Cursor.of(cursor.text) == cursor
    for text in ("", "{}", "[]", '{"since": "x", "after": 0, "following": null}'):
        with pytest.raises(UnavailableError):
            Cursor.of(text)


def test_settings_are_checked_and_limits_follow_them():
    settings = parse_settings({**SETTINGS, "requests_per_minute": 60, "requests_in_flight": 1})
    assert settings.base_url == "https://erp.example.com"
    assert [limit.calls for limit in limits_of(settings)] == [60, 1]
    for wrong in (
        {"base_url": "http://erp.example.com", "database": "erp"},
        {"base_url": "https://user@erp.example.com", "database": "erp"},
        {"base_url": "https://erp.example.com", "database": "../erp"},
        {**SETTINGS, "colour": "red"},
        {},
    ):
        with pytest.raises(SettingsError):
            parse_settings(wrong)


def test_whoever_sends_a_webhook_is_not_tryton():
    with pytest.raises(SignatureError):
        CONNECTOR.verify(Webhook({}, b"{}"), {})
    with pytest.raises(ValueError, match="webhook"):
        CONNECTOR.hints(Webhook({}, b"{}"))


def test_what_differs_between_a_document_and_what_stands_there():
    line = Line(item="7", quantity=Decimal(2), unit_price=Decimal("33.33"), amount=Decimal("66.66"))
    document = Invoice(customer="1", date=date(2026, 1, 5), currency="USD", lines=(line,), memo="Thank  you")
    shown: dict[str, Any] = {
        "customer": "1",
        "date": date(2026, 1, 5),
        "currency": "USD",
        "lines": [{"item": "7", "quantity": Decimal(2), "unit_price": Decimal("33.330"), "amount": Decimal("66.66")}],
        "memo": "Thank you",
        "status": "draft",
    }

    assert differing(document, shown) == []
    assert differing(document, {**shown, "lines": []}) == ["lines"]
    assert differing(document, {**shown, "memo": None, "customer": "2"}) == ["customer", "memo"]
    cheaper = [{**shown["lines"][0], "amount": Decimal("66.65")}]
    assert differing(document, {**shown, "lines": cheaper}) == ["lines"]


def test_of_a_line_whose_price_does_not_make_its_amount_only_the_amount_counts():
    line = Line(item="7", quantity=Decimal(3), unit_price=Decimal(40), amount=Decimal(100))
    document = Invoice(customer="1", date=date(2026, 1, 5), currency="USD", lines=(line,))
    shown = {**document.as_fields(), "lines": [{"item": "7", "quantity": 1, "unit_price": 100, "amount": 100}]}

    assert differing(document, shown) == []


def note(number: int, message: str | None) -> wire.Row:
    return {"id": number, "message": message}


def test_a_note_of_ours_says_what_was_written_and_another_says_nothing():
    fields = {
        "custom_fields.payment_status": "Partly paid",
        "custom_fields.invoice_number": "2026/17: the first",
        "custom_fields.amount_paid": Decimal("1E+2"),
        "custom_fields.balance_due": Decimal("0.00"),
        "custom_fields.paid_on": date(2026, 3, 2),
    }
    assert set(fields) == notes.PATHS
    theirs = note(1, "Payment status: none")

    ((command, (made,)),) = notes.commands([theirs, note(2, None)], fields)

    assert command == "create"
    shown = notes.shown([theirs, note(3, made["message"])])
    assert {f"custom_fields.{name}": value for name, value in shown.items()} == fields
    assert "Amount paid: 100\nBalance due: 0.00\n" in made["message"]
    assert set(notes.shown([theirs]).values()) == {None}


def test_the_newest_note_of_ours_counts_and_all_of_them_are_replaced():
    def written(number: int, status: str) -> wire.Row:
        ((_, (made,)),) = notes.commands([], {"custom_fields.payment_status": status})
        return note(number, made["message"])

    both = [written(12, "Paid"), written(9, "Open")]

    assert notes.shown(both)["payment_status"] == "Paid"
    delete, (_, (made,)) = notes.commands(both, {"custom_fields.paid_on": date(2026, 3, 2)})
    assert delete == ["delete", [12, 9]]
    shown = notes.shown([note(13, made["message"])])
    assert {name: value for name, value in shown.items() if value is not None} == {
        "payment_status": "Paid",
        "paid_on": date(2026, 3, 2),
    }


def test_what_somebody_wrote_into_our_note_stays_text():
    edited = note(1, "[tieout] Ours\nAmount paid: a lot\nPaid on: soon\nno colon")

    assert (notes.shown([edited])["amount_paid"], notes.shown([edited])["paid_on"]) == ("a lot", "soon")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("custom_fields.colour", "red"),
        ("name", "Another"),
        ("custom_fields.amount_paid", "100.00"),
        ("custom_fields.paid_on", "2026-03-02"),
        ("custom_fields.payment_status", "Paid\nBalance due: 0"),
        ("custom_fields.payment_status", "Paid\u2028Balance due: 0"),
        ("custom_fields.invoice_number", " 7"),
        ("custom_fields.invoice_number", "7" * 201),
    ],
)
def test_what_has_no_place_in_the_note_is_refused_by_its_path(path, value):
    with pytest.raises(RejectedError) as caught:
        notes.commands([], {path: value})

    assert caught.value.field == path
    assert caught.value.next_step
