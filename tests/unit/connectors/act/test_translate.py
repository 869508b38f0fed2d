"""Between Act!'s words and ours: absent, null, empty and zero stay four things."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tieout.connectors.act.translate import differing, record_of, updated
from tieout.domain.errors import RejectedError, UnavailableError
from tieout.domain.records import Kind

DEAL: dict[str, Any] = {
    "id": "195a64f8-0000-4506-8eb2-2dd6fa8dfd1a",
    "name": "GTX Pro for Acme",
    "status": "Won",
    "stage": {"id": "s", "name": "Won", "number": 3, "process": {"id": "p", "name": "Sales"}},
    "productTotal": Decimal("12.345"),
    "openDate": "2026-02-01T00:00:00+00:00",
    "estimatedCloseDate": None,
    "actualCloseDate": "2026-03-01T00:00:00-07:00",
    "sourceId": "",
    "companies": [{"id": "c1", "name": "Acme"}],
    "contacts": [{"id": "k1", "displayName": "Ada Abbott", "company": "Acme"}],
    "recordManager": "Moses Frase",
    "edited": "2026-03-01T08:00:00.1234567+01:00",
    "customFields": {"opportunity_field_1": None, "paid_on": "2026-03-05T00:00:00+00:00", "note": "", "paid": 0},
    "fieldOfTomorrow": {"anything": 1},
}


def test_a_deal_in_our_words():
    record = record_of(Kind.DEAL, DEAL)
    assert record.id == DEAL["id"]
    assert record.version == DEAL["edited"], "the version is kept to the last digit"
    assert record.edited_at == datetime(2026, 3, 1, 7, 0, 0, 123456, tzinfo=UTC)
    assert record.fields == {
        "name": "GTX Pro for Acme",
        "status": "won",
        "stage": "Won",
        "amount": Decimal("12.345"),
        "opened_on": date(2026, 2, 1),
        "expected_close_on": None,
        "closed_on": date(2026, 3, 1),
        "source_id": "",
        "owner": "Moses Frase",
        "companies": [{"id": "c1", "name": "Acme"}],
        "contacts": [{"id": "k1", "name": "Ada Abbott"}],
        "custom_fields": {"opportunity_field_1": None, "paid_on": date(2026, 3, 5), "note": "", "paid": 0},
    }


def test_absent_null_empty_and_zero_are_four_things():
    def product(**given: Any) -> Any:
        return record_of(Kind.PRODUCT, {"id": "p1", **given}).fields

    assert product() == {}
    assert product(itemNumber=None, price=None) == {"sku": None, "price": None}
    assert product(itemNumber="", price=0) == {"sku": "", "price": Decimal(0)}
    assert product(customFields=None) == {"custom_fields": {}}


def test_lines_are_absent_unless_they_were_read():
    assert "lines" not in record_of(Kind.DEAL, DEAL).fields
    assert record_of(Kind.DEAL, DEAL, lines=[]).fields["lines"] == []
    line = {
        "productID": "",
        "name": "GTXPro",
        "itemNumber": None,
        "quantity": 0,
        "price": Decimal("-1.005"),
        "total": 0,
    }
    assert record_of(Kind.DEAL, DEAL, lines=[line]).fields["lines"] == [
        {
            "product_id": None,
            "name": "GTXPro",
            "sku": None,
            "quantity": Decimal(0),
            "unit_price": Decimal("-1.005"),
            "amount": Decimal(0),
        }
    ]


def test_a_company_has_no_contact_or_it_was_not_asked_for():
    company = {"id": "c1", "name": "Acme", "address": {"line1": "", "postalCode": "10115"}, "parentID": ""}
    assert record_of(Kind.COMPANY, company).fields == {
        "name": "Acme",
        "address": {"line1": "", "postal_code": "10115"},
        "parent_id": None,
    }
    assert record_of(Kind.COMPANY, company, main_contact=(None,)).fields["contact"] is None
    contact = {"id": "k1", "fullName": "Ada Abbott", "emailAddress": "ada@acme.example", "companyID": ""}
    assert record_of(Kind.COMPANY, company, main_contact=(contact,)).fields["contact"] == {
        "name": "Ada Abbott",
        "email": "ada@acme.example",
        "company_id": None,
    }


@pytest.mark.parametrize(
    ("wire", "ours"),
    [("Open", "open"), (1, "won"), ("2", "lost"), ("Inactive", "inactive"), (None, None), (9, "9")],
)
def test_status_is_a_word_or_a_number(wire, ours):
    assert record_of(Kind.DEAL, {**DEAL, "status": wire}).fields["status"] == ours


def test_json_of_another_form_is_named_without_its_values():
    with pytest.raises(UnavailableError) as caught:
        record_of(Kind.DEAL, {**DEAL, "companies": "secret value"})
    assert "companies" in caught.value.detail
    assert "secret" not in caught.value.detail + caught.value.message


def test_an_update_keeps_everything_else():
    new = updated(Kind.DEAL, DEAL, {"custom_fields.paid": Decimal("10.50"), "status": "lost"})
    assert new == {**DEAL, "status": "Lost", "customFields": {**DEAL["customFields"], "paid": Decimal("10.50")}}
    assert DEAL["customFields"]["paid"] == 0, "the record as it was read is left alone"


def test_an_update_speaks_as_the_server_does():
    assert updated(Kind.DEAL, {**DEAL, "status": 0}, {"status": "won"})["status"] == 1
    new = updated(Kind.DEAL, DEAL, {"closed_on": date(2026, 3, 9), "custom_fields.paid_on": date(2026, 3, 9)})
    assert new["actualCloseDate"] == "2026-03-09T00:00:00+00:00"
    assert new["customFields"]["paid_on"] == "2026-03-09"


@pytest.mark.parametrize("path", ["amount", "lines", "custom_fields", "custom_fields.", "customFields.paid", "id"])
def test_a_field_that_cannot_be_written_is_named(path):
    with pytest.raises(RejectedError) as caught:
        updated(Kind.DEAL, DEAL, {path: 1})
    assert caught.value.field == path
    assert caught.value.next_step


def test_a_status_that_act_does_not_have_is_refused():
    with pytest.raises(RejectedError, match="paid"):
        updated(Kind.DEAL, DEAL, {"status": "paid"})


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (None, None),
        (None, ""),
        ("", None),
        (Decimal("10.50"), Decimal("10.5")),
        (Decimal("10.50"), "10.50"),
        ("10.5", Decimal("10.50")),
        (0, Decimal("0.0")),
        (True, True),
        (True, "True"),
        (date(2026, 3, 9), "2026-03-09T00:00:00+00:00"),
        (date(2026, 3, 9), "2026-03-09"),
        ("2026-03-09", "2026-03-09T00:00:00+00:00"),
        (datetime(2026, 3, 9, 8, tzinfo=UTC), "2026-03-09T09:00:00+01:00"),
    ],
)
def test_what_a_field_gives_back_in_its_own_form_counts_as_kept(written, found):
    row = {"id": "d", "customFields": {"x": found}}
    assert differing(Kind.DEAL, row, {"custom_fields.x": written}) is None


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (0, None),
        (0, ""),
        (None, 0),
        (Decimal("10.50"), Decimal("10.51")),
        ("Paid", "paid"),
        ("007", "7"),
        (True, False),
        (True, 1),
        (date(2026, 3, 9), "2026-03-10T00:00:00+00:00"),
        ("paid", "2026-03-09T00:00:00+00:00"),
    ],
)
def test_what_a_field_did_not_keep_is_named(written, found):
    row = {"id": "d", "customFields": {"x": found}}
    assert differing(Kind.DEAL, row, {"custom_fields.x": written}) == "custom_fields.x"
