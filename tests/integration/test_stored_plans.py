"""A plan is made, applied and taken back through the real connectors and the real table; the books tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from functions.apply_changes import app as apply_changes
from tests.engine.world import TENANT as ENGINE_TENANT
from tests.whole_way import SYNC, TENANT, WholeWay, whole_way
from tieout.domain.changes import Change, Origin
from tieout.domain.plans import PlannedWrite, PlanState, StoredPlan
from tieout.domain.records import Kind, Record
from tieout.engine.renew import Renew
from tieout.engine.stored_plans import End, StoredPlans
from tieout.ports.connector import Connector
from tieout_sandbox import dataset

RAISED = {"requests_per_minute": 60_000, "requests_per_second": 60_000, "batches_per_minute": 60_000}
WON = [deal for deal in dataset.read().opportunities if deal["status"] == "Won"]
DEALS = WON[:20]
CURRENCY = "      currency: {constant: USD}"
LOST_ONCE = [
    {"kind": kind, "match": {"method": "POST", "path": "*/batch"}, "times": 1}
    for kind in ("lost_answer", "ignore_request_id")
]


def quiet(_name: str, _count: int) -> None:
    """Nobody watches."""


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeWay]:
    with whole_way(monkeypatch, **RAISED) as one:
        one.connect(**RAISED)
        yield one


@pytest.fixture
def plans(way: WholeWay) -> StoredPlans:
    deployment = way.deployment
    return StoredPlans(
        config=deployment.config,
        links=deployment.links,
        plans=deployment.plans,
        queue=way.queue,
        connect=deployment.connect,
        clock=way.clock,
    )


def make(plans: StoredPlans, deals: Sequence[dict[str, Any]]) -> StoredPlan:
    report = plans.preview(TENANT, SYNC, progress=quiet, ids=[deal["id"] for deal in deals])
    assert report.parked == []
    return plans.keep(TENANT, SYNC, report, by="kim")


def run(way: WholeWay, plans: StoredPlans, plan: StoredPlan, writes: Sequence[PlannedWrite]) -> set[End]:
    begun = plans.begin(plan, writes, by="kim")
    way.pump()
    ends = plans.ends(begun, writes, over=True)
    plans.finish(begun, ends)
    return {one.end for one in ends.values()}


def total(deals: Sequence[dict[str, Any]]) -> Decimal:
    return sum((Decimal(str(deal["productTotal"])) for deal in deals), Decimal(0))


def books(way: WholeWay) -> tuple[int, Decimal, int]:
    summary = way.summary()
    return summary["invoices"], summary["invoice_total"], summary["duplicate_doc_numbers"]


def test_a_plan_is_applied_to_the_cent_and_taken_back_to_zero(way: WholeWay, plans: StoredPlans):
    plan = make(plans, DEALS)
    assert plan.totals == {"USD": total(DEALS)}
    assert books(way)[0] == 0
    writes = plans.writes(plan)
    way.clock.advance(60)
    assert plans.compare(plan, writes, progress=quiet).holds
    assert run(way, plans, plan, writes) == {End.WRITTEN}
    assert books(way) == (20, total(DEALS), 0)
    assert way.tie_out()["invoices"].differing == []

    way.clock.advance(60)
    way.call(way.books_url, "POST", "/_sandbox/pay", {"doc_number": DEALS[0]["sourceId"]})
    undo, report = plans.take_back(plans.plan(TENANT, plan.id), by="kim", progress=quiet, credit_paid=False)
    assert undo is not None
    assert [one.change.id for one in report.parked] == [DEALS[0]["id"]]
    assert undo.amounts == {"USD": total(DEALS[1:])}
    assert plans.compare(undo, plans.writes(undo), progress=quiet).holds
    assert run(way, plans, undo, plans.writes(undo)) == {End.WRITTEN}
    assert books(way)[1] == total(DEALS[:1])
    assert plans.plan(TENANT, plan.id).state is PlanState.UNDONE

    credit, _ = plans.take_back(plans.plan(TENANT, plan.id), by="kim", progress=quiet, credit_paid=True)
    assert credit is not None
    assert credit.counts == {"invoices.credit_note": {"withdraw": 1}}
    assert run(way, plans, credit, plans.writes(credit)) == {End.WRITTEN}
    assert plans.take_back(plans.plan(TENANT, plan.id), by="kim", progress=quiet, credit_paid=True)[0] is None
    assert list(way.deployment.links.unsynced(TENANT)) == []


def test_what_a_plan_costs_in_the_table(way: WholeWay, plans: StoredPlans):
    before = way.units.writes
    plan = make(plans, WON[:120])
    spent = way.units.writes - before
    assert spent < plan.writes * 0.4, f"{spent} write units for {plan.writes} writes"
    writes = plans.writes(plan)
    invoices = [plan.key(write) for write in writes if write.step == "invoices"][:50]
    way.units.reads = 0
    assert len(way.deployment.plans.allowed(plan, invoices)) == 50
    assert way.units.reads <= 50 * 3, "of all writes together, a batch of changes reads a part"


# The function that writes a plan: the changes come as messages, and the plan from the table


def test_the_function_writes_just_the_plan(stack):
    deployment, world = stack.deployment, stack.world
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plans = StoredPlans(
        config=deployment.config,
        links=deployment.links,
        plans=deployment.plans,
        queue=deployment.queue,
        connect=deployment.connect,
        clock=deployment.clock,
    )
    report = plans.preview(ENGINE_TENANT, SYNC, progress=quiet)
    plan = plans.keep(ENGINE_TENANT, SYNC, report, by="kim")
    writes = plans.writes(plan)
    assert plans.plans(ENGINE_TENANT) == [plan]
    begun = plans.begin(plan, writes, by="kim")
    world.deal("d2", "55")
    assert plans.begin(begun, writes, by="kim") == begun  # again, as after a stop
    while messages := stack.clients.sqs.receive_message(
        QueueUrl=deployment.settings.changes_queue_url, MaxNumberOfMessages=10
    ).get("Messages"):
        records = [{"messageId": one["MessageId"], "body": one["Body"], "eventSource": "aws:sqs"} for one in messages]
        assert apply_changes.handler({"Records": records}, stack.context) == {"batchItemFailures": []}
    assert [invoice.fields["total"] for invoice in world.invoices()] == [1000]
    ends = plans.ends(begun, writes, over=True)
    assert {f"{key.step}/{key.source_id}": one.end for key, one in ends.items()} == {
        "customers/c1": End.WRITTEN,
        "items/p1": End.WRITTEN,
        "invoices/d1": End.WRITTEN,
        "invoices/d2": End.CHANGED_SINCE,
    }
    assert plans.finish(begun, ends).state is PlanState.APPLIED
    undo, _ = plans.take_back(plans.plan(ENGINE_TENANT, plan.id), by="kim", progress=quiet, credit_paid=False)
    assert undo is not None
    assert undo.counts == {"invoices": {"withdraw": 1}}


# Wrong, taken back, corrected, renewed


def test_a_run_that_was_wrong_is_taken_back_corrected_and_written_anew(way: WholeWay, plans: StoredPlans):
    deals = DEALS[:5]
    deployment = way.deployment
    plan = make(plans, deals)
    assert run(way, plans, plan, plans.writes(plan)) == {End.WRITTEN}
    former = {one.id: one for one in invoices(way)}
    way.clock.advance(60)
    way.call(way.books_url, "POST", "/_sandbox/pay", {"doc_number": deals[0]["sourceId"]})
    undo, _ = plans.take_back(plans.plan(TENANT, plan.id), by="kim", progress=quiet, credit_paid=True)
    assert undo is not None
    assert run(way, plans, undo, plans.writes(undo)) == {End.WRITTEN}
    assert plans.preview(TENANT, SYNC, progress=quiet, ids=[deal["id"] for deal in deals]).writes == []

    (sync,) = deployment.config.syncs(TENANT)
    corrected = sync.text.replace(CURRENCY, f"      memo: {{constant: Mended}}\n{CURRENCY}", 1)
    assert corrected != sync.text
    deployment.config.put_sync(replace(sync, version=2, text=corrected))
    renewing = Renew(config=deployment.config, links=deployment.links, connect=deployment.connect, clock=way.clock)
    formers = renewing.look(renewing.withdrawn_by(undo, plans.writes(undo)))
    assert sum(one.amount or 0 for one in formers) == total(deals)
    assert [one.refused for one in renewing.renew(formers, by="kim")] == [None] * 5

    second = make(plans, deals)
    assert (second.counts, second.totals) == ({"invoices": {"create": 5}}, {"USD": total(deals)})
    way.call(way.books_url, "PUT", "/_sandbox/faults", {"faults": LOST_ONCE})
    assert run(way, plans, second, plans.writes(second)) == {End.WRITTEN}
    assert any(one["fired"] for one in way.call(way.books_url, "GET", "/_sandbox/faults")["faults"])
    stand = [one for one in invoices(way) if one.id not in former]
    assert sorted(str(one.fields["number"]) for one in stand) == sorted(f"{deal['sourceId']}-2" for deal in deals)
    assert {one.fields["memo"] for one in stand} == {"Mended"}
    step = way.tie_out()["invoices"]
    assert (step.target_count, step.duplicates, step.differing) == (5, 0, [])
    assert step.totals["USD"].target == total(deals)

    paid = stand[0]
    way.call(way.books_url, "POST", "/_sandbox/pay", {"doc_number": paid.fields["number"]})
    way.queue.send([change_of(way, paid.id), *(change_of(way, one) for one in former)])
    way.pump()
    (key,) = (link.key for link in deployment.links.all(TENANT, SYNC, "invoices") if link.target_id == paid.id)
    (deal,) = connector(way, "act").read(Kind.DEAL, [key.source_id])
    assert deal.fields["custom_fields"]["payment_status"] == "Paid"
    assert deal.fields["custom_fields"]["invoice_number"] == paid.fields["number"]
    assert list(deployment.links.unsynced(TENANT)) == []


def connector(way: WholeWay, name: str) -> Connector:
    connection = way.deployment.config.connection(TENANT, name)
    assert connection is not None
    return way.deployment.connect(connection)


def invoices(way: WholeWay) -> list[Record]:
    return list(connector(way, "quickbooks").changes(Kind.INVOICE, None).records)


def change_of(way: WholeWay, invoice: str) -> Change:
    return Change(TENANT, "quickbooks", Kind.INVOICE, invoice, way.clock.now(), Origin.POLL)
