"""Deals that are lost or deleted, and their invoices: through the real connectors against both simulators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.engine.test_withdraw import withdrawing
from tests.integration.test_life_of_an_invoice import WON, Desk, desk
from tests.whole_way import SYNC, TENANT
from tieout.domain.links import LinkKey, Withdrawal
from tieout.domain.records import Kind, Record

__all__ = ["desk"]


@pytest.fixture
def deal(desk: Desk) -> dict[str, Any]:
    """A won deal whose invoice stands, in a sync that withdraws."""
    (sync,) = desk.way.deployment.config.syncs(TENANT)
    desk.way.deployment.config.put_sync(replace(sync, version=2, text=withdrawing()))
    assert desk.sync(WON[0]["id"]).parked == 0
    return WON[0]


def lose(desk: Desk, deal: dict[str, Any]) -> None:
    desk.edit(f"/opportunities/{deal['id']}", status="Lost")


def credit_notes(desk: Desk) -> list[Record]:
    return list(desk.connector("quickbooks").changes(Kind.CREDIT_NOTE, None).records)


def withdrawn(desk: Desk, deal: dict[str, Any]) -> Withdrawal | None:
    key = LinkKey(TENANT, SYNC, "invoices", deal["id"])
    return desk.way.deployment.links.get([key])[key].withdrawn


def test_lost_deal_voids_its_invoice_and_says_so_in_the_crm(desk: Desk, deal: dict[str, Any]):
    lose(desk, deal)
    desk.sync(deal["id"])
    invoice = desk.invoice()
    assert (invoice.fields["state"], withdrawn(desk, deal)) == ("voided", Withdrawal.LEFT)

    desk.sync(invoice.id, kind=Kind.INVOICE, connection="quickbooks")
    assert desk.deal(deal["id"])["payment_status"] == "Voided"
    assert desk.unsynced() == []


def test_deleted_deal_voids_its_invoice(desk: Desk, deal: dict[str, Any]):
    desk.act("DELETE", f"/opportunities/{deal['id']}")

    desk.sync(deal["id"])

    assert (desk.invoice().fields["state"], withdrawn(desk, deal)) == ("voided", Withdrawal.SOURCE_GONE)
    assert (credit_notes(desk), desk.unsynced()) == ([], [])


def test_lost_deal_whose_invoice_is_paid_gets_one_credit_note(desk: Desk, deal: dict[str, Any]):
    invoice = desk.invoice()
    desk.pay(invoice.id, "100")
    lose(desk, deal)

    desk.sync(deal["id"])
    desk.sync(deal["id"])

    (note,) = credit_notes(desk)
    assert note.fields["total"] == invoice.fields["total"]
    assert (note.fields["customer"], note.fields["date"]) == (invoice.fields["customer"], desk.way.clock.now().date())
    assert note.fields["memo"] == f"Credit for invoice {invoice.fields['number']}"
    assert (desk.invoice().fields["state"], desk.unsynced()) == ("partly_paid", [])


def test_invoice_in_a_closed_period_is_parked_and_the_credit_note_of_a_paid_one_is_not(
    desk: Desk,
    deal: dict[str, Any],
):
    invoice = desk.invoice()
    closed = desk.way.clock.now().date().replace(day=1).isoformat()
    desk.way.call(desk.way.books_url, "POST", "/_sandbox/settings", {"closed_until": closed})
    desk.way.clock.advance(601)  # preferences are asked for again after ten minutes
    lose(desk, deal)

    desk.sync(deal["id"])

    (parked,) = desk.unsynced()
    assert (parked.code, desk.invoice().fields["state"]) == ("6210", "open")
    assert f"closed up to {closed}" in parked.reason

    desk.way.call(desk.way.books_url, "POST", "/_sandbox/settings", {"closed_until": None})
    desk.pay(invoice.id, "100")
    desk.way.call(desk.way.books_url, "POST", "/_sandbox/settings", {"closed_until": closed})
    desk.sync(deal["id"])
    assert (len(credit_notes(desk)), desk.unsynced()) == (1, [])


@pytest.mark.parametrize("operation", ["void", "delete"])
def test_invoice_that_the_accountant_takes_out_is_noticed(desk: Desk, deal: dict[str, Any], operation: str):
    invoice = desk.invoice()
    desk.books("POST", "/invoice", {"Id": invoice.id, "SyncToken": invoice.version}, operation=operation)

    desk.sync(invoice.id, kind=Kind.INVOICE, connection="quickbooks")

    (parked,) = desk.unsynced()
    assert (parked.cause, withdrawn(desk, deal)) == ("target-gone-invoices", Withdrawal.TARGET_GONE)
    desk.sync(deal["id"])
    assert [one.cause for one in desk.unsynced()] == ["target-gone-invoices"]
