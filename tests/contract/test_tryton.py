"""The Tryton connector against a real Tryton server: the suite that every connector passes, and what it is used for.

The server is trytond itself on SQLite, started here on loopback; calls go through a gate that can lose them. It posts a
few invoices a second at most, so the finer points are a lane of their own: `make tryton`, `tryton_lane.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.suite import ConnectorContract, done, only
from tests.contract.tryton_world import CREATE, DAY, POST, SKIP, TrytonWorld, lost, opened
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import MatchedBy, NotDone, Unknown
from tieout.domain.errors import ReconnectError, RejectedError
from tieout.domain.records import Kind
from tieout_sandbox.simulators.tryton import Rpc, RpcError, TrytonServer
from tieout_sandbox.simulators.tryton.seed import USER

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    with TrytonServer(tmp_path_factory.mktemp("tryton")) as running:
        yield running


@pytest.fixture(scope="module")
def person(server: TrytonServer) -> Rpc:
    return server.administrator()


@pytest.fixture(scope="module")
def count() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def world(server: TrytonServer, person: Rpc, count: Iterator[int]) -> Iterator[TrytonWorld]:
    with opened(server, person, count) as world:
        yield world


class TestContract(ConnectorContract):
    """Every connector's tests."""


def test_an_invoice_is_posted_under_a_number_of_trytons(world):
    record = done(world.connector().write([world.invoice(due_date=date(2026, 2, 4), tax_total=Decimal(0))]))

    assert world.state(record.id) == "posted"
    assert record.fields["number"] == record.fields["ledger_number"]
    assert str(record.fields["number"]).startswith("2026/")
    assert (record.fields["status"], record.fields["state"]) == ("issued", "open")
    assert (record.fields["total"], record.fields["balance"], record.fields["paid"]) == (100, 100, 0)
    assert record.fields["due_date"] == date(2026, 2, 4)
    assert record.edited_by == "Tieout"
    posted = world.sandbox("GET", "calls")["routes"][f"POST {POST}"]
    assert posted["calls"] == 1, "that it is due in the past is confirmed before Tryton asks"


@pytest.mark.parametrize(
    ("path", "kind", "left"),
    [
        (CREATE, "reset", []),
        (CREATE, "lost_answer", ["draft"]),
        (SKIP, "reset", ["draft"]),
        (SKIP, "lost_answer", ["draft"]),
        (POST, "reset", ["draft"]),
    ],
)
def test_what_was_left_half_way_is_found_and_finished_by_the_same_write(world, path, kind, left):
    """Its due date is past, so that Tryton also asks for a confirmation between draft and posting."""
    effect = world.invoice(due_date=date(2026, 2, 4))
    connector = world.connector(faults=lost(path, kind))
    assert isinstance(only(connector.write([effect])), Unknown)

    matches = connector.find([effect]).get(effect.id, [])

    assert [(match.by, match.unfinished) for match in matches] == [(MatchedBy.REFERENCE, True)] * len(left)
    assert [row["state"] for row in world.marked(effect)] == left  # looking has changed nothing
    record = done(connector.write([effect]))
    assert record.fields["status"] == "issued"
    assert [(row["id"], row["state"]) for row in world.marked(effect)] == [(int(record.id), "posted")]
    (match,) = connector.find([effect])[effect.id]
    assert (match.record, match.unfinished) == (record, False)


def test_what_was_posted_though_the_answer_was_lost_is_found_as_it_stands(world):
    effect = world.invoice(due_date=date(2099, 1, 4))
    connector = world.connector(faults=lost(POST))
    assert isinstance(only(connector.write([effect])), Unknown)

    (match,) = connector.find([effect])[effect.id]

    assert (match.by, match.unfinished, match.record.fields["status"]) == (MatchedBy.REFERENCE, False, "issued")


def test_a_total_that_tryton_makes_otherwise_is_never_posted(world):
    taxed = world.line(tax_code="VAT 20")
    wrong = world.invoice(taxed, tax_total=Decimal(19))
    refused = only(world.connector().write([wrong]))
    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, RejectedError)
    assert "120.00" in refused.error.message
    assert world.marked(wrong) == []

    record = done(world.connector().write([world.invoice(taxed, tax_total=Decimal(20))]))

    assert (record.fields["total"], record.fields["tax_total"]) == (120, 20)
    assert record.fields["lines"][0]["tax_code"] == "VAT 20"


def test_an_opportunity_is_a_deal(world):
    made = world.opportunity(reference="From the fair")

    (deal,) = world.connector().read(Kind.DEAL, [made])

    assert (deal.fields["name"], deal.fields["status"], deal.fields["stage"]) == ("A big one", "open", "lead")
    assert deal.fields["companies"][0]["id"] == world.customer
    assert deal.fields["amount"] == Decimal(9642)
    assert deal.fields["opened_on"] == DAY
    assert deal.fields["custom_fields"] == {
        "reference": "From the fair",
        "payment_status": None,
        "invoice_number": None,
        "amount_paid": None,
        "balance_due": None,
        "paid_on": None,
    }
    (found,) = deal.fields["lines"]
    assert (found["product_id"], found["quantity"], found["unit_price"], found["amount"]) == (world.item, 2, 4821, 9642)


def test_a_won_deal_shows_its_payments_in_a_note_beside_the_notes_of_others(world):
    """No field of a won opportunity can be changed, by anybody."""
    won = world.won_opportunity()
    resource = f"sale.opportunity,{won}"
    world.person.make("ir.note", resource=resource, message="Called them\nPayment status: soon")
    with pytest.raises(RpcError, match="not allowed to modify"):
        world.person.call("model.sale.opportunity.write", [int(won)], {"comment": "Paid"})
    connector = world.connector()

    deal = done(connector.write([world.payment_state(won)]))

    assert deal.fields["status"] == "won"
    before: Any = deal.fields["custom_fields"]
    assert before["payment_status"] == "Partly paid"
    part = RecordUpdate(fields={"custom_fields.payment_status": "Paid", "custom_fields.balance_due": None})
    effect = replace(world.payment_state(won), document=part)
    shown = done(connector.write([effect])).fields["custom_fields"]
    assert shown == {**before, "payment_status": "Paid", "balance_due": None}
    notes = sorted(row["message"] for row in world.person.rows("ir.note", [["resource", "=", resource]], "message"))
    ours = (
        "[tieout] What became of this opportunity in the books; Tieout rewrites this note.\n"
        "Payment status: Paid\nInvoice number: 2026/17\nAmount paid: 40.00\nPaid on: 2026-03-02"
    )
    assert notes == [
        "Called them\nPayment status: soon",
        ours,
    ]


def test_a_past_that_is_numbered_by_day_is_written_in_any_order_and_another_year_is_not(world):
    connector = world.connector()
    days = [date(2017, 12, 30), date(2016, 10, 3), date(2017, 12, 29)]

    past = [done(connector.write([world.invoice(date=day)])) for day in days]

    assert [record.fields["date"] for record in past] == days
    days_of_numbers = [str(record.fields["ledger_number"]).partition("/")[0] for record in past]
    assert days_of_numbers == [f"{day:%Y%m%d}" for day in days]
    last = done(connector.write([world.invoice(date=date(2025, 3, 2))]))
    refused = only(connector.write([world.invoice(date=date(2025, 3, 1))]))
    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, RejectedError)
    assert str(last.fields["ledger_number"]) in refused.error.message


def test_a_session_that_ended_is_renewed_and_a_wrong_password_is_told(world):
    connector = world.connector()
    connector.probe()
    world.server.end_sessions()
    assert connector.probe().currency == "USD"

    world.secrets.write("acme", "under-test", {"username": USER, "password": "the former one"})
    with pytest.raises(ReconnectError) as caught:
        world.connector().probe()
    assert "user name and password" in caught.value.message
    assert "`tieout connect`" in caught.value.next_step
