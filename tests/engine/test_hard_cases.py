"""The engine where several things come together: time running out, settings that are missing, totals, payments taken
back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest

from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tieout.domain.changes import Unsynced, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.errors import (
    NotFoundError,
    ReconnectError,
    RejectedError,
    SettingsError,
    ThrottledError,
    UnavailableError,
)
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind
from tieout.mapping import preset
from tieout.ports.state import StoredSync

NO_SECRETS = SettingsError("The connection has no secrets yet.", next_step="Run `tieout connect`.")


@pytest.fixture
def world() -> World:
    return World()


def only(world: World) -> Unsynced:
    (one,) = world.unsynced()
    return one


def sign_in_again(world: World, name: str) -> None:
    connection = world.state.connection(TENANT, name)
    assert connection is not None
    world.state.put_connection(replace(connection, state=ConnectionState.ACTIVE))


# Time


def test_time_that_runs_out_before_the_customers_sends_their_deals_back_and_parks_none(world: World):
    world.deal("d1")

    report = world.engine.apply(world.change(Kind.DEAL, "d1"), out_of_time=lambda: True)

    assert (report.parked, world.unsynced(), world.invoices()) == (0, [], [])
    world.settle_down()
    assert len(world.invoices()) == 1
    assert world.state.pending(TENANT) == []


# Waiting


def test_change_that_two_syncs_let_wait_is_queued_once(world: World):
    (sync,) = world.state.syncs(TENANT)
    text = sync.text.replace("name: deals-to-invoices", "name: deals-again")
    world.state.put_sync(StoredSync(TENANT, "deals-again", 1, text, START))
    world.deal("d1")
    world.books.fault = lambda _: UnavailableError("The books do not answer.")

    for _ in range(6):
        changes = [change for _, change in world.queue.later] or world.change(Kind.DEAL, "d1")
        world.queue.later.clear()
        world.clock.sleep(900)
        for change in changes:  # each comes in a message of its own
            world.engine.apply([change])

    counts = Counter((change.kind, change.id) for _, change in world.queue.later)
    assert counts[Kind.DEAL, "d1"] == 1


@pytest.mark.parametrize(
    "error",
    [
        NO_SECRETS,
        RejectedError("The CRM cannot look products up by that."),
        NotFoundError("There is no such list."),
        ThrottledError("Too many calls.", retry_after_seconds=60),
    ],
    ids=["settings", "rejected", "not found", "throttled"],
)
def test_source_that_fails_in_the_middle_lets_the_changes_wait(world: World, error: Exception):
    world.deal("d1")

    def fails(*_: object) -> None:
        raise error

    real, world.crm.search = world.crm.search, fails
    report = world.apply("d1")
    assert (report.parked, len(world.queue.later)) == (0, 1)
    assert only(world).state is UnsyncedState.WAITING

    world.crm.search = real
    sign_in_again(world, CRM)
    world.settle_down()
    assert (len(world.invoices()), world.unsynced()) == (1, [])


# Settings and sign-in


def test_secrets_missing_at_the_moment_of_writing_pause_the_connection_and_nothing_is_lost(world: World):
    world.deal("d1")
    world.apply("d1")
    world.deal("d1", "2000")
    real = world.books.write

    def fails(*_: object) -> None:
        raise NO_SECRETS

    world.books.write = fails
    world.apply("d1")

    connection = world.state.connection(TENANT, BOOKS)
    assert connection is not None
    assert connection.state is ConnectionState.PAUSED
    assert [alert.reason for alert in world.state.pending(TENANT)] == [NO_SECRETS.message]
    assert world.state.links[LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")].intent is None

    world.books.write = real
    sign_in_again(world, BOOKS)
    world.settle_down()
    assert world.invoices()[0].fields["total"] == Decimal(2000)


def test_source_without_secrets_is_paused_and_somebody_hears_of_it(world: World):
    world.deal("d1")
    world.crm.read_fault = lambda _: NO_SECRETS

    world.apply("d1")

    connection = world.state.connection(TENANT, CRM)
    assert connection is not None
    assert connection.state is ConnectionState.PAUSED
    assert [alert.cause for alert in world.state.pending(TENANT)] == [f"paused-{CRM}"]


# Stale documents


@pytest.mark.parametrize(
    "error",
    [UnavailableError("down"), ThrottledError("slow"), NO_SECRETS, RejectedError("no")],
    ids=["down", "throttled", "settings", "rejected"],
)
def test_stale_invoice_that_cannot_be_read_again_waits_without_an_intent(world: World, error: Exception):
    world.deal("d1", "1000")
    world.apply("d1")
    world.books.put(Kind.INVOICE, world.invoices()[0].id, printed="yes")
    world.deal("d1", "1200")
    world.books.read_fault = lambda _: error

    world.apply("d1")

    assert world.state.links[LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")].intent is None
    world.books.read_fault = lambda _: None
    sign_in_again(world, BOOKS)
    world.settle_down()
    assert world.invoices()[0].fields["total"] == Decimal(1200)


def test_access_lost_while_a_stale_invoice_is_read_again_pauses_the_books_not_the_crm(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.books.put(Kind.INVOICE, world.invoices()[0].id, printed="yes")
    world.deal("d1", "1200")
    world.books.read_fault = lambda _: ReconnectError("The books no longer accept our sign-in.")

    world.apply("d1")

    states = {one.id: one.state for one in world.state.connections(TENANT)}
    assert states == {CRM: ConnectionState.ACTIVE, BOOKS: ConnectionState.PAUSED}


def test_discounted_line_whose_price_the_books_do_not_keep_is_no_change_in_the_books(world: World):
    """QuickBooks takes quantity and price only if they make the amount; of other lines it keeps the amount alone."""
    world.deal("d1", "1000")
    deal = world.crm.records[Kind.DEAL, "d1"]
    line = dict(deal.fields["lines"][0], quantity=Decimal(2), unit_price=Decimal(600), amount=Decimal(1000))
    world.crm.put(Kind.DEAL, "d1", lines=[line])
    world.apply("d1")
    (invoice,) = world.invoices()
    shown = dict(invoice.fields["lines"][0], quantity=Decimal(1), unit_price=None)
    world.books.put(Kind.INVOICE, invoice.id, lines=[shown], balance=Decimal(0))
    world.crm.put(Kind.DEAL, "d1", amount=Decimal(1100), lines=[dict(line, amount=Decimal(1100))])

    report = world.apply("d1")

    assert (report.updated, world.unsynced()) == (1, [])


# Totals


def other_total(world: World, total: str) -> None:
    real = world.books._fields
    world.books._fields = lambda effect: (
        real(effect) | ({"total": Decimal(total)} if effect.kind is Kind.INVOICE else {})
    )


def test_total_that_differs_is_seen_after_a_lost_answer_too(world: World):
    world.deal("d1", "1000")
    other_total(world, "1000.01")
    lose = {"once": True}
    world.books.fault = lambda effect: "lost" if effect.kind is Kind.INVOICE and lose.pop("once", False) else None

    world.apply("d1")
    world.settle_down()

    assert (only(world).cause, len(world.invoices())) == ("difference-invoices", 1)


def test_voided_invoice_has_no_total_to_compare(world: World):
    (sync,) = world.state.syncs(TENANT)
    text = sync.text.replace("{path: status, equals: won}", "{path: status, in: [won, lost]}")
    text = text.replace("{table: {won: issued}}", "{table: {won: issued, lost: voided}}")
    world.state.put_sync(replace(sync, version=2, text=text))
    world.deal("d1", "1000")
    world.apply("d1")
    other_total(world, "0")
    world.deal("d1", "1000", status="lost")

    report = world.apply("d1")

    assert (report.updated, world.unsynced()) == (1, [])


# What the books refuse


def test_new_invoice_that_names_an_inactive_record_is_parked_with_the_books_sentence(world: World):
    world.deal("d1")
    inactive = NotFoundError("QuickBooks has no such active record: item 7", next_step="Make it active.", code="610")
    world.books.fault = lambda effect: inactive if effect.kind is Kind.INVOICE else None

    world.apply("d1")

    assert (only(world).state, only(world).reason) == (UnsyncedState.PARKED, inactive.message)


def test_changed_invoice_that_names_an_inactive_record_is_not_called_gone(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    inactive = NotFoundError("QuickBooks has no such active record: item 7", next_step="Make it active.", code="610")
    world.books.fault = lambda effect: inactive if effect.operation is Operation.UPDATE else None

    world.apply("d1")

    assert only(world).reason == inactive.message


def test_changed_deal_whose_invoice_was_deleted_says_so(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    del world.books.records[Kind.INVOICE, world.invoices()[0].id]
    world.deal("d1", "1200")

    world.apply("d1")

    assert only(world).reason == "The invoice Sd1 was voided in the books, or deleted there."


def test_deal_whose_company_is_gone_says_that(world: World):
    world.deal("d1", company="c404")

    world.apply("d1")

    assert only(world).state is UnsyncedState.PARKED
    assert only(world).reason == 'The company "c404" that the record names is gone, or not visible to us.'


# Payments taken back


def test_payment_that_is_deleted_again_opens_the_deal_again(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.pay(invoice.id, "400")
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.pay(invoice.id, "-400")
    world.books.put(Kind.INVOICE, invoice.id, state="open", last_payment_on=None)

    report = world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)

    custom = world.crm.records[Kind.DEAL, "d1"].fields["custom_fields"]
    assert (report.updated, report.parked) == (1, 0)
    assert (custom["payment_status"], custom["amount_paid"], custom["balance_due"], custom["paid_on"]) == (
        "Open",
        Decimal(0),
        Decimal(1000),
        None,
    )


def test_paid_invoice_that_is_deleted_is_parked_in_words_that_fit(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.pay(invoice.id, "400")
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    del world.books.records[Kind.INVOICE, invoice.id]

    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()

    rows = {one.step: one for one in world.unsynced()}
    assert {one.state for one in rows.values()} == {UnsyncedState.PARKED}
    assert rows["invoices"].reason == "The invoice Sd1 was voided in the books, or deleted there."
    assert "deal" in rows["payments"].reason
    assert "Void" not in rows["payments"].next_step


@pytest.mark.parametrize("currency", ["usd", "US", "Dollar"])
def test_deal_whose_currency_is_none_is_parked_and_the_others_are_written(currency: str):
    text = preset("act-quickbooks_online")
    world = World(text.replace("      currency: {constant: USD}\n", "      currency: {path: custom_fields.currency}\n"))
    world.deal("d1")
    world.deal("d2")
    world.crm.put(Kind.DEAL, "d1", custom_fields={"currency": currency})
    world.crm.put(Kind.DEAL, "d2", custom_fields={"currency": "USD"})
    world.apply("d1", "d2")

    assert only(world).change.id == "d1"
    assert "three capital letters" in only(world).reason
    assert [invoice.fields["number"] for invoice in world.invoices()] == ["Sd2"]


def test_deal_of_an_amount_beyond_all_measure_is_parked_and_the_others_are_written(world: World):
    world.deal("d1")
    world.deal("d2")
    world.crm.put(Kind.DEAL, "d1", amount=Decimal("1E+30"))
    world.apply("d1", "d2")

    assert only(world).change.id == "d1"
    assert "its lines make 1,054.00 USD" in only(world).reason
    assert [invoice.fields["number"] for invoice in world.invoices()] == ["Sd2"]


def test_quantity_beyond_all_measure_is_compared_like_any_other(world: World):
    world.deal("d1")
    (line,) = cast("list[dict[str, Any]]", world.crm.records[Kind.DEAL, "d1"].fields["lines"])
    world.crm.put(Kind.DEAL, "d1", lines=[{**line, "quantity": Decimal("1E+30")}])
    world.apply("d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, printed="yes")
    world.crm.put(Kind.DEAL, "d1", source_id="S2")

    assert world.apply("d1").updated == 1
    assert [one.fields["number"] for one in world.invoices()] == ["S2"]
