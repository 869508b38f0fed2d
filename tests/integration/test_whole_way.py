"""Deals in the Act! simulator become invoices in the QuickBooks simulator, through the real connectors and stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.whole_way import SYNC, TENANT, WholeWay, whole_way
from tieout.domain.changes import Change, Origin, UnsyncedState
from tieout.domain.records import Kind
from tieout.engine.poll import PollChanges
from tieout.mapping import preset
from tieout.ports.state import StoredSync
from tieout_sandbox import dataset
from tieout_sandbox.local_aws import ROOT
from tieout_sandbox.simulators.faults import FaultPlan

RAISED = {"requests_per_minute": 60_000, "requests_per_second": 60_000, "batches_per_minute": 60_000}
WON = [deal for deal in dataset.read().opportunities if deal["status"] == "Won"]


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeWay]:
    with whole_way(monkeypatch, **RAISED) as one:
        one.connect(**RAISED)
        yield one


def changes(way: WholeWay, deals: Sequence[dict[str, Any]]) -> list[Change]:
    return [Change(TENANT, "act", Kind.DEAL, deal["id"], way.clock.now(), Origin.POLL) for deal in deals]


def total(deals: Sequence[dict[str, Any]]) -> Decimal:
    return sum((Decimal(str(deal["productTotal"])) for deal in deals), Decimal(0))


def books(way: WholeWay) -> tuple[int, Decimal, int]:
    summary = way.summary()
    return summary["invoices"], summary["invoice_total"], summary["duplicate_doc_numbers"]


def test_won_deals_become_invoices_and_a_second_run_writes_nothing(way: WholeWay):
    deals = WON[:60]
    way.queue.send(changes(way, deals))
    report = way.pump()
    assert report.parked == 0
    assert books(way) == (60, total(deals), 0)

    way.forget_calls()
    writes = way.units.writes
    way.queue.send(changes(way, deals))
    again = way.pump()

    assert (again.unchanged, again.created, again.updated) == (60, 0, 0)
    assert way.calls()["quickbooks"]["writes"] == 0
    assert way.units.calls["update"] > 0
    assert way.units.writes - writes <= 3, "the budget's own writes, and none for a record"


def test_payment_in_the_books_shows_in_the_deal(way: WholeWay):
    deal = WON[0]
    way.queue.send(changes(way, [deal]))
    way.pump()
    poll = PollChanges(
        config=way.deployment.config,
        links=way.deployment.links,
        alerts=way.deployment.alerts,
        queue=way.queue,
        connect=way.deployment.connect,
        clock=way.clock,
    )
    poll.poll(TENANT, "quickbooks")
    way.clock.advance(60)
    way.call(way.books_url, "POST", "/_sandbox/pay", {"doc_number": deal["sourceId"]})
    way.clock.advance(60)

    poll.poll(TENANT, "quickbooks")
    way.pump()

    act = way.deployment.config.connection(TENANT, "act")
    assert act is not None
    (record,) = way.deployment.connect(act).read(Kind.DEAL, [deal["id"]])
    custom = record.fields["custom_fields"]
    assert (custom["payment_status"], custom["invoice_number"]) == ("Paid", deal["sourceId"])
    assert Decimal(custom["amount_paid"]) == total([deal])
    assert Decimal(custom["balance_due"]) == 0


def test_rough_day_ends_like_a_calm_one(way: WholeWay):
    deals = WON[:80]
    rough = FaultPlan.read(ROOT / "sandbox" / "faults" / "rough.yaml").model_dump(mode="json", exclude_none=True)
    for fault in rough["faults"]:
        fault["probability"] = min(1.0, fault["probability"] * 4)  # few calls, so more of them fail
    for url in (way.act_url, way.books_url):
        way.call(url, "PUT", "/_sandbox/faults", rough)
    for begin in range(0, len(deals), 8):
        way.queue.send(changes(way, deals[begin : begin + 8]))
        way.pump()

    fired = way.call(way.books_url, "GET", "/_sandbox/faults")["faults"]
    assert any(fault["fired"] for fault in fired if fault["kind"] == "lost_answer")
    assert any(fault["fired"] for fault in fired if fault["kind"] == "status")
    assert books(way) == (80, total(deals), 0)
    assert list(way.deployment.links.unsynced(TENANT)) == []


def test_deals_of_a_product_without_alias_park_with_what_to_add(way: WholeWay):
    text = preset("act-quickbooks_online").replace("GTXPro: GTX Pro", "Something: GTX Pro")
    way.deployment.config.put_sync(StoredSync(TENANT, SYNC, 2, text, way.clock.now()))
    misspelt = [deal for deal in WON if deal["product"] == "GTXPro"][:3]
    others = [deal for deal in WON if deal["product"] != "GTXPro"][:3]
    way.queue.send(changes(way, [*misspelt, *others]))

    report = way.pump()

    parked = list(way.deployment.links.unsynced(TENANT, UnsyncedState.PARKED))
    assert (report.parked, books(way)) == (3, (3, total(others), 0))
    assert {one.change.id for one in parked} == {deal["id"] for deal in misspelt}
    assert "GTXPro: GTX Pro" in parked[0].next_step
    assert len(way.deployment.alerts.pending(TENANT)) == 3
