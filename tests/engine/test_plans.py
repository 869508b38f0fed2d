"""Stored plans: applying does just what was planned, or says what changed; a run is taken back by compensation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.world import BOOKS, CRM, TENANT, Crash, World
from tieout.domain.changes import Lane, Origin, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.errors import ClaimedError, ReconnectError, RejectedError, SettingsError, UnavailableError
from tieout.domain.links import LinkKey, Withdrawal
from tieout.domain.plans import CREDITING, PlannedWrite, PlanState, StoredPlan, is_plan_id
from tieout.domain.records import Kind
from tieout.domain.reviews import Side
from tieout.engine.gate import planned_hash
from tieout.engine.operate import Operate
from tieout.engine.stored_plans import Cap, Comparison, End, StoredPlans
from tieout.mapping import preset
from tieout.ports.state import StoredSync

SYNC = "deals-to-invoices"


def quiet(_name: str, _count: int) -> None:
    """Nobody watches."""


@pytest.fixture
def world() -> World:
    return World()


class Desk:
    """An operator before a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        providers = {CRM: world.crm, BOOKS: world.books}
        self.plans = StoredPlans(
            config=world.state,
            links=world.state,
            plans=world.plans,
            queue=world.queue,
            connect=lambda connection: providers[connection.id],
            clock=world.clock,
        )

    def make(self, *ids: str) -> StoredPlan:
        report = self.plans.preview(TENANT, SYNC, progress=quiet, ids=ids)
        return self.plans.keep(TENANT, SYNC, report, by="kim")

    def writes(self, plan: StoredPlan) -> list[PlannedWrite]:
        return self.plans.writes(plan)

    def compare(self, plan: StoredPlan) -> Comparison:
        return self.plans.compare(plan, self.writes(plan), progress=quiet)

    def apply(self, plan: StoredPlan) -> dict[str, End]:
        """Queue it, let the workers work, and say how each write ended."""
        self.plans.begin(self.plans.plan(TENANT, plan.id), self.writes(plan), by="lee")
        self.work()
        return self.ends(plan)

    def work(self) -> None:
        changes, self.world.queue.now = self.world.queue.now, []
        self.world.new_worker().apply(changes)
        self.world.settle_down()

    def ends(self, plan: StoredPlan) -> dict[str, End]:
        now = self.plans.plan(TENANT, plan.id)
        ends = self.plans.ends(now, self.writes(now), over=True)
        self.plans.finish(now, ends)
        return {f"{key.step}/{key.source_id}": one.end for key, one in ends.items()}

    def undo(self, plan: StoredPlan, *, credit_paid: bool = False) -> StoredPlan | None:
        now = self.plans.plan(TENANT, plan.id)
        self.undone, self.report = self.plans.take_back(now, by="kim", progress=quiet, credit_paid=credit_paid)
        return self.undone


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def key(step: str, source_id: str) -> LinkKey:
    return LinkKey(TENANT, SYNC, step, source_id)


def totals(world: World) -> list[Decimal]:
    """What the invoices in the books come to, the least first."""
    return sorted(Decimal(str(invoice.fields["total"])) for invoice in world.invoices())


# Planning


def test_a_plan_is_stored_with_digest_counts_and_totals_and_writes_nothing_else(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    assert plan.counts == {"customers": {"create": 1}, "items": {"create": 1}, "invoices": {"create": 2}}
    assert (plan.writes, plan.totals, plan.amounts) == (4, {"USD": Decimal(1054)}, {"USD": Decimal(1054)})
    assert (plan.state, plan.created_by, plan.sync_version) == (PlanState.PLANNED, "kim", 1)
    assert (world.books.records, world.state.links, world.state.writes) == ({}, {}, 0)


def test_the_same_plan_again_has_the_same_digest_and_another_does_not(world: World, desk: Desk):
    world.deal("d1", "1000")
    first, again = desk.make(), desk.make()
    assert first.digest == again.digest
    assert first.id != again.id
    world.deal("d1", "1001")
    assert desk.make().digest != first.digest


def test_a_plan_that_was_tampered_with_is_not_applied(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    world.plans.kept[TENANT, plan.id][0].payload_hash = "0" * 32
    with pytest.raises(RejectedError, match="damaged"):
        desk.writes(plan)


def test_a_plan_is_kept_for_thirty_days(world: World, desk: Desk):
    plan = desk.make()
    world.clock.time += timedelta(days=30)
    with pytest.raises(SettingsError, match="30 days"):
        desk.plans.plan(TENANT, plan.id)
    assert desk.plans.plans(TENANT) == []


# Applying


def test_applying_does_just_what_was_planned(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    assert desk.compare(plan).holds
    ends = desk.apply(plan)
    assert ends == dict.fromkeys(["customers/c1", "items/p1", "invoices/d1", "invoices/d2"], End.WRITTEN)
    assert totals(world) == [54, 1000]
    assert desk.plans.plan(TENANT, plan.id).state is PlanState.APPLIED
    assert desk.plans.plan(TENANT, plan.id).ends == {"written": 4}


def test_what_came_after_the_plan_is_not_written_by_it(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    world.deal("d2", "54")
    desk.apply(plan)
    assert [invoice.fields["number"] for invoice in world.invoices()] == ["Sd1"]
    assert world.unsynced() == []


def test_a_record_that_only_would_be_linked_is_linked(world: World, desk: Desk):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.deal("d1")
    plan = desk.make()
    assert plan.counts["customers"] == {"link": 1}
    assert desk.compare(plan).holds
    assert set(desk.apply(plan).values()) == {End.WRITTEN}
    assert [invoice.fields["customer"] for invoice in world.invoices()] == ["77"]


def test_what_would_only_be_linked_is_never_created(world: World, desk: Desk):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.deal("d1")
    plan = desk.make()
    del world.books.records[Kind.CUSTOMER, "77"]
    ends = desk.apply(plan)
    assert (ends["customers/c1"], ends["invoices/d1"]) == (End.CHANGED_SINCE, End.CHANGED_SINCE)
    assert world.plans.left_out(plan)[key("customers", "c1")] == (
        "The record is gone that it would only have been linked to."
    )
    assert (world.books.all(Kind.CUSTOMER), world.invoices()) == ([], [])


def edit_the_source(world: World) -> None:
    world.deal("d1", "1200")


def edit_the_target(world: World) -> None:
    invoice = world.state.links[key("invoices", "d1")].target_id
    world.books.put(Kind.INVOICE, invoice, memo="Paid in cash")


def delete_the_target(world: World) -> None:
    del world.books.records[Kind.INVOICE, world.state.links[key("invoices", "d1")].target_id]


def write_it_already(world: World) -> None:
    world.apply("d1")


def leave_the_sync(world: World) -> None:
    world.deal("d1", "1100", status="lost")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_the_source, "The record changed."),
        (edit_the_target, "The record on the other side was changed since."),
        (delete_the_target, "It would park:"),
        (write_it_already, "It was written already, by another change."),
        (leave_the_sync, "It would park:"),
    ],
)
def test_an_update_that_is_not_as_planned_any_more_is_told(world: World, desk: Desk, change, reason):
    world.deal("d1", "1000")
    world.apply("d1")
    world.clock.time += timedelta(minutes=1)
    world.deal("d1", "1100")
    plan = desk.make()
    world.clock.time += timedelta(minutes=1)
    change(world)
    (changed,) = desk.compare(plan).changed
    assert changed.reason.startswith(reason)
    assert changed.write.source_id == "d1"


def test_a_create_that_is_not_as_planned_any_more_is_told_field_by_field(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    world.deal("d1", "1200")
    comparison = desk.compare(plan)
    (changed,) = comparison.changed
    assert (changed.before.amount, changed.now.amount) == (1000, 1200)
    assert [write.step for write in comparison.unchanged] == ["customers", "items"]


def test_a_customer_that_an_invoice_newly_needs_is_told(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1100")
    plan = desk.make()
    world.company("c2", "Other Corporation")
    world.deal("d1", "1100", company="c2")
    comparison = desk.compare(plan)
    assert [(one.before is None, one.write.step) for one in comparison.changed] == [
        (False, "invoices"),
        (True, "customers"),
    ]


def test_a_new_version_of_the_sync_is_told(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    new_version(world)
    comparison = desk.compare(plan)
    assert "planned with version 1, now 2" in comparison.sync_changed
    assert not comparison.holds
    assert len(comparison.unchanged) == 3


def new_version(world: World, find: str = "", put: str = "") -> None:
    assert find in world.sync_text
    text = world.sync_text.replace(find, put) if find else world.sync_text + "\n"
    version = world.state.stored_syncs[TENANT, SYNC].version + 1
    world.state.put_sync(StoredSync(TENANT, SYNC, version, text, world.clock.now()))


# The worker keeps to the plan, whatever changed since it was compared


def test_the_worker_leaves_out_what_changed_in_the_source(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    world.deal("d1", "1200")
    ends = desk.apply(plan)
    assert (ends["invoices/d1"], ends["invoices/d2"]) == (End.CHANGED_SINCE, End.WRITTEN)
    assert [invoice.fields["total"] for invoice in world.invoices()] == [54]
    ended = desk.plans.ends(plan, desk.writes(plan), over=True)
    assert ended[key("invoices", "d1")].reason == "It would have other lines now."
    assert world.unsynced() == []


def test_a_live_change_beside_it_is_written_all_the_same(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    world.deal("d1", "1200")
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    world.queue.now += world.change(Kind.DEAL, "d1")
    desk.work()
    assert [invoice.fields["total"] for invoice in world.invoices()] == [1200]
    assert world.unsynced() == []
    assert desk.ends(plan)["invoices/d1"] is End.CHANGED_SINCE


def test_an_invoice_whose_customer_is_not_as_planned_is_left_out_and_not_parked(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    world.company("c1", "Acme Incorporated")
    ends = desk.apply(plan)
    assert (ends["customers/c1"], ends["invoices/d1"]) == (End.CHANGED_SINCE, End.CHANGED_SINCE)
    assert ends["items/p1"] is End.WRITTEN
    assert (world.invoices(), world.books.all(Kind.CUSTOMER), world.unsynced()) == ([], [], [])


def test_an_update_goes_only_to_the_record_that_was_planned(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1100")
    plan = desk.make()
    link = world.state.links[key("invoices", "d1")]
    other = world.books.put(Kind.INVOICE, "other", **world.invoices()[0].fields)
    world.state.links[link.key] = replace(link, target_id=other.id, target_version=other.version)
    assert desk.apply(plan)["invoices/d1"] is End.CHANGED_SINCE
    assert {invoice.fields["total"] for invoice in world.invoices()} == {1000}


def reason(world: World, plan: StoredPlan, step: str, source_id: str) -> str:
    """What the worker noted of a write of the plan that it left out."""
    return world.plans.left_out(plan)[key(step, source_id)]


def test_a_record_that_the_plan_does_not_know_is_neither_written_nor_noted_in_it(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1100")
    plan = desk.make()
    world.company("c2", "Other Corporation")
    world.deal("d1", "1100", company="c2")
    assert desk.apply(plan) == {"invoices/d1": End.CHANGED_SINCE}
    assert [customer.fields["name"] for customer in world.books.all(Kind.CUSTOMER)] == ["Acme Corporation"]
    assert set(world.plans.left_out(plan)) == {key("invoices", "d1")}


def test_the_field_that_would_be_another_now_is_named_in_words(world: World, desk: Desk):
    plan = desk.make("c1")
    world.crm.put(Kind.COMPANY, "c1", address={"country": "Canada"})
    desk.apply(plan)
    assert reason(world, plan, "customers", "c1") == "It would have other billing address now."


def test_a_document_that_lacks_a_field_of_the_plan_is_another(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make("d1")
    new_version(world, "      due_date: {path: closed_on, transforms: [{terms_to_due_date: {days: 30}}]}\n", "")
    desk.apply(plan)
    assert reason(world, plan, "invoices", "d1") == "It would be another document now."
    assert world.invoices() == []


def test_a_planned_credit_note_is_known_by_all_but_its_date():
    note = {"number": "C1", "date": "2026-11-22", "customer": "77"}
    later, other = note | {"date": "2026-11-23"}, note | {"customer": "78"}
    credit = "invoices" + CREDITING
    assert planned_hash(credit, note) == planned_hash(credit, later) != planned_hash(credit, other)
    assert planned_hash("invoices", note) != planned_hash("invoices", later)


def test_a_mapping_of_today_that_makes_another_document_is_not_written(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    new_version(world, "constant: USD", "constant: EUR")
    desk.apply(plan)
    assert world.invoices() == []


def test_a_plan_writes_for_its_own_sync_alone(world: World, desk: Desk):
    world.deal("d1", "1000")
    other = world.sync_text.replace(f"name: {SYNC}", "name: other")
    assert other != world.sync_text
    world.state.put_sync(StoredSync(TENANT, "other", 1, other, world.clock.now()))
    plan = desk.make()
    desk.apply(plan)
    assert len(world.invoices()) == 1
    assert {link.sync for link in world.state.links} == {SYNC}


def test_a_plan_that_is_no_longer_kept_writes_nothing(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    del world.plans.stored[TENANT, plan.id]
    desk.work()
    assert world.invoices() == []


def test_a_source_that_is_down_for_a_while_delays_the_plan_only(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    world.crm.read_fault = lambda _: UnavailableError("Down.")
    changes, world.queue.now = world.queue.now, []
    world.new_worker().apply(changes)
    assert {change.plan for _, change in world.queue.later} == {plan.id}
    assert set(desk.ends(plan).values()) == {End.STILL_WAITING}
    assert desk.plans.plan(TENANT, plan.id).state is PlanState.APPLYING
    world.crm.read_fault = lambda _: None
    world.settle_down()
    assert set(desk.ends(plan).values()) == {End.WRITTEN}


def test_a_wait_of_a_plan_and_of_a_live_change_are_both_kept(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    world.queue.now += world.change(Kind.DEAL, "d1")
    world.crm.read_fault = lambda _: UnavailableError("Down.")
    changes, world.queue.now = world.queue.now, []
    world.new_worker().apply(changes)
    assert {change.plan for _, change in world.queue.later if change.kind is Kind.DEAL} == {plan.id, ""}


@pytest.mark.parametrize("fault", ["lost", "vanished"])
def test_lost_answers_double_nothing_and_the_plan_ends(world: World, desk: Desk, fault: str):
    for number in range(4):
        world.deal(f"d{number}", str(100 + number))
    plan = desk.make()
    seen: dict[str, int] = {}

    def once(effect):
        seen[effect.reference] = seen.get(effect.reference, 0) + 1
        return fault if seen[effect.reference] == 1 else None

    world.books.fault = once
    assert set(desk.apply(plan).values()) == {End.WRITTEN}
    assert totals(world) == [100, 101, 102, 103]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_write_of_the_table_ends_with_just_the_plan(when: str):
    crashed = 0
    for at in range(40):
        world = World()
        desk = Desk(world)
        world.deal("d1", "1000")
        world.deal("d2", "54")
        plan = desk.make()
        world.deal("d2", "55")  # so that a note is written too
        desk.plans.begin(plan, desk.writes(plan), by="lee")
        begun = world.state.writes

        def crash(_name: str, begun: int = begun, at: int = at, world: World = world) -> bool:
            return world.state.writes - begun == at + (when == "after")

        setattr(world.state, f"crash_{when}", crash)
        changes, world.queue.now = world.queue.now, []
        try:
            world.new_worker().apply(changes)
        except Crash:
            crashed += 1
        world.state.crash_before = world.state.crash_after = lambda _: False
        world.clock.time += timedelta(seconds=200)
        world.new_worker().apply(changes)  # the queue delivers them again
        world.settle_down()
        ends = desk.ends(plan)
        assert (ends["invoices/d1"], ends["invoices/d2"]) == (End.WRITTEN, End.CHANGED_SINCE), at
        assert [invoice.fields["total"] for invoice in world.invoices()] == [1000], at
    assert crashed > 5


def test_two_workers_at_the_same_plan_write_it_once(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    changes, world.queue.now = world.queue.now, []
    met: list[str] = []

    def meet(effect):
        if not met:
            met.append(effect.id)
            world.new_worker().apply(changes)

    world.books.fault = meet
    world.new_worker().apply(changes)
    assert met
    world.settle_down()
    assert len(world.invoices()) == 1
    assert set(desk.ends(plan).values()) == {End.WRITTEN}


def test_beginning_again_after_a_stop_does_no_harm(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    desk.apply(plan)
    assert len(world.invoices()) == 1
    with pytest.raises(RejectedError, match="applied already, by lee"):
        desk.apply(plan)


def test_what_parks_in_a_plan_is_retried_without_it(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    world.books.fault = lambda effect: (
        RejectedError("The number is taken.", code="6140") if effect.kind is Kind.INVOICE else None
    )
    assert desk.apply(plan)["invoices/d1"] is End.PARKED
    world.books.fault = lambda _: None
    world.deal("d1", "1200")
    operate = Operate(config=world.state, links=world.state, queue=world.queue, clock=world.clock)
    operate.retry(operate.parked(TENANT))
    desk.work()
    assert [invoice.fields["total"] for invoice in world.invoices()] == [1200]


# Approval and caps


def capped(world: World, **caps: object) -> None:
    said = ", ".join(f"{name}: {value}" for name, value in caps.items())
    text = world.sync_text.replace("steps:", f"caps: {{{said}}}\nsteps:", 1)
    world.sync_text = text
    world.state.put_sync(StoredSync(TENANT, SYNC, 1, text, world.clock.now()))


def test_a_plan_above_the_caps_needs_approval_and_says_why(world: World, desk: Desk):
    capped(world, run_writes=2, run_amount=1000)
    world.deal("d1", "1054")
    plan = desk.make()
    assert desk.plans.needs(plan) == [
        "It has 3 writes; 2 are allowed without approval.",
        "It writes 1,054 USD; 1,000 are allowed without approval.",
    ]
    approved = desk.plans.approve(plan, by="max")
    assert (approved.state, approved.approved_by, approved.approved_at) == (
        PlanState.APPROVED,
        "max",
        world.clock.now(),
    )
    assert desk.plans.needs(approved) == []
    assert set(desk.apply(approved).values()) == {End.WRITTEN}
    with pytest.raises(RejectedError, match="applied already"):
        desk.plans.approve(desk.plans.plan(TENANT, plan.id), by="max")


def test_a_plan_within_the_caps_needs_none_and_a_tighter_cap_always_counts(world: World, desk: Desk):
    capped(world, run_writes=3, run_amount=1054)
    world.deal("d1", "1054")
    plan = desk.make()
    assert desk.plans.needs(plan) == []
    assert len(desk.plans.needs(plan, Cap(writes=2))) == 1
    assert len(desk.plans.needs(desk.plans.approve(plan, by="max"), Cap(amount=Decimal(10)))) == 1


# A changed sync


def changed_sync(world: World, count: int, **caps: object) -> None:
    """`count` invoices stand, and a new version of the sync makes another document of each deal."""
    capped(world, **caps)
    for number in range(count):
        world.deal(f"d{number}", "100")
    world.apply(*[f"d{number}" for number in range(count)])
    currency = "      currency: {constant: USD}"
    new_version(world, currency, f"      memo: {{constant: Thank you}}\n{currency}")


def rewritten(world: World) -> int:
    return sum(invoice.fields.get("memo") == "Thank you" for invoice in world.invoices())


def test_rewrites_above_the_cap_wait_for_a_person_and_are_told_once(world: World):
    changed_sync(world, 5, rewrites=2)
    ids = [f"d{number}" for number in range(5)]
    for _ in range(2):
        world.apply(*ids)
        world.settle_down()
    assert rewritten(world) == 2
    parked = [one for one in world.unsynced() if one.state is UnsyncedState.PARKED]
    assert {one.cause for one in parked} == {f"cap-rewrites-{SYNC}"}
    assert len(parked) == 3
    assert "it allows 2 of that a day" in parked[0].reason
    assert f"tieout plan {SYNC}" in parked[0].next_step
    assert f"--cause cap-rewrites-{SYNC} --approve" in parked[0].next_step
    assert len(world.state.alerts) == 3  # one a record, gathered by their cause into one letter


def test_a_lost_write_that_is_found_under_a_new_document_was_made_by_the_former_one(world: World):
    capped(world, rewrites=0)
    world.deal("d1", "100")
    world.books.fault = lambda effect: "lost" if effect.kind is Kind.INVOICE else None
    world.apply("d1")
    world.books.fault = lambda _: None
    currency = "      currency: {constant: USD}"
    new_version(world, currency, f"      memo: {{constant: Thank you}}\n{currency}")
    world.settle_down()
    assert (len(world.invoices()), rewritten(world)) == (1, 0), "the cap holds for it too"


def test_an_update_that_was_taken_back_under_a_new_document_is_rewritten_within_the_cap_only(world: World, desk: Desk):
    capped(world, rewrites=0)
    world.deal("d1", "100")
    world.apply("d1")
    world.deal("d1", "200")
    plan = desk.make("d1")
    desk.apply(plan)
    currency = "      currency: {constant: USD}"
    new_version(world, currency, f"      memo: {{constant: Thank you}}\n{currency}")
    undo = desk.undo(plan)
    assert undo is not None
    assert set(desk.apply(undo).values()) == {End.WRITTEN}

    world.apply("d1")

    assert (totals(world), rewritten(world)) == ([Decimal(100)], 0)
    assert [one.cause for one in world.unsynced()] == [f"cap-rewrites-{SYNC}"]


def test_rewrites_are_counted_for_their_tenant_and_sync(world: World):
    changed_sync(world, 1, rewrites=2)
    world.apply("d0")
    assert set(world.state.budgets) == {(TENANT, f"caps/{SYNC}/rewrites")}


def test_another_day_lets_others_pass(world: World):
    changed_sync(world, 3, rewrites=2)
    ids = [f"d{number}" for number in range(3)]
    world.apply(*ids)
    world.clock.time += timedelta(days=1)
    world.apply(*ids)
    assert rewritten(world) == 3
    assert world.unsynced() == []


def test_an_edit_of_the_record_is_no_rewrite(world: World):
    changed_sync(world, 3, rewrites=0)
    world.deal("d1", "200")
    world.apply("d0", "d1", "d2")
    assert rewritten(world) == 1
    assert world.state.links[key("invoices", "d1")].sync_version == 2


def test_a_plan_lets_rewrites_pass(world: World, desk: Desk):
    changed_sync(world, 4, rewrites=1)
    plan = desk.make()
    assert plan.counts == {"invoices": {"update": 4}}
    assert set(desk.apply(plan).values()) == {End.WRITTEN}
    assert rewritten(world) == 4


def test_a_plan_of_a_document_that_is_not_applied_yet_holds_once_it_is(world: World, desk: Desk):
    changed_sync(world, 3, rewrites=0)
    new = world.state.stored_syncs[TENANT, SYNC]
    world.state.put_sync(replace(new, version=1, text=world.sync_text))
    report = desk.plans.preview(TENANT, SYNC, progress=quiet, instead=new)
    plan = desk.plans.keep(TENANT, SYNC, report, by="kim", version=new.version)
    assert plan.counts == {"invoices": {"update": 3}}
    assert "planned with version 2, now 1" in desk.compare(plan).sync_changed
    world.state.put_sync(new)
    assert desk.compare(plan).holds
    desk.apply(plan)
    assert rewritten(world) == 3


# Taking back


def states(world: World) -> list[str]:
    return sorted(str(invoice.fields["state"]) for invoice in world.invoices())


def test_an_undo_voids_what_the_run_created_and_customers_stay(world: World, desk: Desk):
    world.deal("d0", "10")
    world.apply("d0")
    world.clock.time += timedelta(minutes=1)
    world.deal("d1", "1000")
    world.deal("d2", "54")
    world.company("c2", "Other Corporation")
    world.deal("d3", "7", company="c2")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    assert undo.id.startswith("undo-")
    assert (undo.undoes, undo.counts) == (plan.id, {"invoices": {"withdraw": 3}})
    assert undo.amounts == {"USD": Decimal(1061)}
    assert undo.totals == {}
    assert "books are never deleted" in desk.report.left_out[key("customers", "c2")]
    assert states(world) == ["open"] * 4
    assert desk.compare(undo).holds
    assert set(desk.apply(undo).values()) == {End.WRITTEN}
    assert states(world) == ["open", "voided", "voided", "voided"]
    assert world.state.links[key("invoices", "d1")].withdrawn is Withdrawal.UNDONE
    assert desk.plans.plan(TENANT, plan.id).state is PlanState.UNDONE
    assert desk.plans.plan(TENANT, plan.id).undone_by == undo.id


def test_what_was_taken_back_is_not_written_again_by_itself(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    desk.apply(desk.undo(plan))
    world.apply("d1")
    world.deal("d1", "1100")
    world.apply("d1")
    assert states(world) == ["voided"]
    assert desk.make().writes == 0


def test_an_undo_twice_takes_back_nothing_more(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    desk.apply(desk.undo(plan))
    assert desk.undo(plan) is None
    assert states(world) == ["voided"]


def test_the_changes_of_an_undo_delivered_twice_do_it_once(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    desk.plans.begin(undo, desk.writes(undo), by="lee")
    changes = list(world.queue.now)
    desk.work()
    version = world.invoices()[0].version
    world.new_worker().apply(changes)
    world.settle_down()
    assert world.invoices()[0].version == version
    assert set(desk.ends(undo).values()) == {End.WRITTEN}


def test_a_paid_invoice_stays_and_is_named_unless_it_may_be_credited(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    desk.apply(plan)
    paid = world.state.links[key("invoices", "d1")].target_id
    world.pay(paid, "400")
    undo = desk.undo(plan)
    assert undo.counts == {"invoices": {"withdraw": 1}}
    assert "400" in desk.report.parked[0].reason

    undo = desk.undo(plan, credit_paid=True)
    assert undo.counts == {"invoices": {"withdraw": 1}, "invoices.credit_note": {"withdraw": 1}}
    world.clock.time += timedelta(days=1)  # the credit note gets the date of its day
    assert desk.compare(undo).holds
    assert set(desk.apply(undo).values()) == {End.WRITTEN}
    (credit,) = world.books.all(Kind.CREDIT_NOTE)
    assert sum(line["amount"] for line in credit.fields["lines"]) == 1000
    assert credit.fields["date"] == world.clock.now().date()
    assert states(world) == ["partly_paid", "voided"]
    assert desk.undo(plan, credit_paid=True) is None


def test_an_invoice_paid_after_the_undo_was_planned_stays(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    world.pay(world.invoices()[0].id, "400")
    assert not desk.compare(undo).holds
    desk.apply(undo)
    assert states(world) == ["partly_paid"]
    assert world.books.all(Kind.CREDIT_NOTE) == []


def test_what_a_person_changed_since_is_left_out_and_named(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    desk.apply(plan)
    world.books.put(Kind.INVOICE, world.state.links[key("invoices", "d1")].target_id, number="Changed by hand")
    undo = desk.undo(plan)
    assert undo.counts == {"invoices": {"withdraw": 1}}
    assert "number" in desk.report.parked[0].reason


def test_what_a_later_change_wrote_is_left_out_and_named(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    desk.apply(plan)
    world.deal("d1", "1100")
    world.apply("d1")
    undo = desk.undo(plan)
    assert [(write.step, write.source_id) for write in desk.writes(undo)] == [("invoices", "d2")]
    assert "written again since" in desk.report.left_out[key("invoices", "d1")]


def updated(world: World, desk: Desk) -> StoredPlan:
    """A run that changed an invoice and a customer's name."""
    world.deal("d1", "1000")
    world.apply("d1")
    world.clock.time += timedelta(minutes=1)
    world.deal("d1", "1100")
    world.company("c1", "Acme Incorporated")
    plan = desk.make()
    assert set(desk.apply(plan).values()) == {End.WRITTEN}
    return plan


def test_updates_get_their_former_values_again_and_stay_so_until_the_source_changes(world: World, desk: Desk):
    plan = updated(world, desk)
    undo = desk.undo(plan)
    assert undo.counts == {"customers": {"update": 1}, "invoices": {"update": 1}}
    assert desk.compare(undo).holds
    assert set(desk.apply(undo).values()) == {End.WRITTEN}
    (invoice,), (customer,) = world.invoices(), world.books.all(Kind.CUSTOMER)
    assert (invoice.fields["total"], customer.fields["name"]) == (1000, "Acme Corporation")
    assert invoice.fields["reference"] == key("invoices", "d1").reference
    assert (world.state.links[key("customers", "c1")].base or {})["name"] == "Acme Corporation"

    report = world.apply("d1")
    assert (report.updated, report.unchanged) == (0, 1)
    assert desk.make().writes == 0
    assert world.invoices()[0].fields["total"] == 1000

    world.deal("d1", "1300")
    world.apply("d1")
    assert world.invoices()[0].fields["total"] == 1300
    assert world.unsynced() == []


def test_several_updates_are_each_taken_back_from_their_own_record(world: World, desk: Desk):
    for number in range(3):
        world.deal(f"d{number}", f"{number + 1}00")
    world.apply("d0", "d1", "d2")
    world.clock.time += timedelta(minutes=1)
    for number in range(3):
        world.deal(f"d{number}", f"{number + 1}50")
    plan = desk.make()
    desk.apply(plan)
    assert totals(world) == [150, 250, 350]
    undo = desk.undo(plan)
    assert {(write.label, write.notices) for write in desk.writes(undo)} == {("GTX Pro for Acme", ())}
    assert set(desk.apply(undo).values()) == {End.WRITTEN}
    assert totals(world) == [100, 200, 300]
    for number in range(3):
        link = world.state.links[key("invoices", f"d{number}")]
        invoice = world.books.records[Kind.INVOICE, link.target_id]
        assert (invoice.fields["number"], link.target_version) == (f"Sd{number}", invoice.version)


def test_an_update_is_taken_back_though_its_record_is_gone_from_the_source(world: World, desk: Desk):
    plan = updated(world, desk)
    del world.crm.records[Kind.DEAL, "d1"]
    undo = desk.undo(plan)
    assert {write.label for write in desk.writes(undo) if write.step == "invoices"} == {"d1"}
    desk.apply(undo)
    assert totals(world) == [1000]


def test_an_undo_of_a_plan_that_is_no_longer_kept_does_nothing_and_says_so(world: World, desk: Desk):
    plan = updated(world, desk)
    undo = desk.undo(plan)
    desk.plans.begin(undo, desk.writes(undo), by="lee")
    del world.plans.stored[TENANT, plan.id]
    changes, world.queue.now = world.queue.now, []
    report = world.new_worker().apply(changes)
    assert report.skipped_because == {"the plan to take back is no longer kept": 2}
    assert totals(world) == [1100]
    assert world.queue.later == []


def test_what_a_run_wrote_back_to_the_source_is_not_taken_back():
    two_way = preset("act-quickbooks_online").replace("    to: customer\n", "    to: customer\n    two_way: ask\n")
    world = World(two_way)
    desk = Desk(world)
    world.apply("c1", kind=Kind.COMPANY)
    world.clock.time += timedelta(minutes=1)
    world.books.put(Kind.CUSTOMER, world.books.all(Kind.CUSTOMER)[0].id, phone="+16505550199")
    plan = desk.make("c1")
    assert [write.side for write in desk.writes(plan)] == [Side.SOURCE]
    assert desk.apply(plan) == {"customers/c1": End.WRITTEN}
    contact: Any = world.crm.records[Kind.COMPANY, "c1"].fields["contact"]
    assert contact["phone"] == "+16505550199"
    assert desk.undo(plan) is None
    assert desk.report.left_out[key("customers", "c1")] == "What stood there before is not known."


def test_an_update_that_a_person_changed_since_keeps_their_value(world: World, desk: Desk):
    plan = updated(world, desk)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, customer.id, name="Acme Ltd")
    undo = desk.undo(plan)
    assert undo.counts == {"invoices": {"update": 1}}
    assert "name was changed since" in desk.report.left_out[key("customers", "c1")]
    desk.apply(undo)
    assert world.books.all(Kind.CUSTOMER)[0].fields["name"] == "Acme Ltd"


def test_a_city_that_a_person_added_to_an_address_stays_when_the_update_is_taken_back(world: World, desk: Desk):
    plan = updated(world, desk)
    (customer,) = world.books.all(Kind.CUSTOMER)
    address = {"country": "US", "city": "Springfield"}
    world.books.put(Kind.CUSTOMER, customer.id, billing_address=address)
    desk.apply(desk.undo(plan))
    (customer,) = world.books.all(Kind.CUSTOMER)
    assert customer.fields["name"] == "Acme Corporation"
    assert customer.fields["billing_address"] == address


def test_a_person_who_is_faster_than_the_undo_keeps_their_value(world: World, desk: Desk):
    plan = updated(world, desk)
    undo = desk.undo(plan)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, customer.id, name="Acme Ltd")
    assert [one.reason for one in desk.compare(undo).changed] == ["Its name was changed since by somebody else."]
    ends = desk.apply(undo)
    assert ends == {"customers/c1": End.CHANGED_SINCE, "invoices/d1": End.WRITTEN}
    assert world.books.all(Kind.CUSTOMER)[0].fields["name"] == "Acme Ltd"


@pytest.mark.parametrize("fault", ["lost", "vanished"])
def test_an_undo_survives_lost_answers(world: World, desk: Desk, fault: str):
    plan = updated(world, desk)
    world.clock.time += timedelta(minutes=1)
    world.deal("d2", "54")
    second = desk.make()
    desk.apply(second)
    lost: set[str] = set()

    def once(effect):
        new = effect.reference not in lost
        lost.add(effect.reference)
        return fault if new else None

    for one in (plan, second):
        undo = desk.undo(one)
        world.books.fault = once
        desk.apply(undo)
        world.books.fault = lambda _: None
        assert set(desk.ends(undo).values()) == {End.WRITTEN}
    assert sorted((str(one.fields["state"]), one.fields["number"]) for one in world.invoices()) == [
        ("open", "Sd1"),
        ("voided", "Sd2"),
    ]
    assert next(one for one in world.invoices() if one.fields["state"] == "open").fields["total"] == 1000


def test_what_still_waits_when_a_run_is_taken_back_is_not_written_by_it(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    world.books.fault = lambda effect: (
        UnavailableError("Down.") if getattr(effect.document, "number", "") == "Sd2" else None
    )
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    changes, world.queue.now = world.queue.now, []
    world.new_worker().apply(changes)
    assert len(world.invoices()) == 1
    later, world.queue.later = world.queue.later, []
    world.books.fault = lambda _: None
    desk.apply(desk.undo(plan))
    world.queue.later = later
    world.settle_down()
    assert states(world) == ["voided"]


def test_a_plan_that_was_not_applied_and_an_undo_cannot_be_taken_back(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    with pytest.raises(RejectedError, match="never applied"):
        desk.undo(plan)
    desk.apply(plan)
    undo = desk.undo(plan)
    desk.apply(undo)
    with pytest.raises(RejectedError, match="takes back"):
        desk.undo(undo)


def test_an_undo_is_a_plan_with_caps_like_any_other(world: World, desk: Desk):
    capped(world, run_writes=4)
    for number in range(3):
        world.deal(f"d{number}", "10")
    plan = desk.plans.approve(desk.make(), by="max")
    desk.apply(plan)
    undo = desk.undo(plan)
    assert desk.plans.needs(undo) == []
    assert undo.counts == {"invoices": {"withdraw": 3}}


def test_a_write_that_is_not_needed_any_more_ends_at_once(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    world.apply("d1")
    world.deal("d2", "54", status="lost")
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    desk.work()
    ends = desk.plans.ends(plan, desk.writes(plan), over=False)
    assert ends[key("invoices", "d1")].end is End.UNCHANGED
    assert ends[key("invoices", "d2")].end is End.CHANGED_SINCE
    assert ends[key("invoices", "d2")].reason == "the sync's condition does not hold"
    assert End.STILL_WAITING not in {one.end for one in ends.values()}


def test_an_undo_names_what_is_gone_or_withdrawn_already(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    plan = desk.make()
    assert set(desk.apply(plan).values()) == {End.WRITTEN}
    world.books.put(Kind.INVOICE, world.state.links[key("invoices", "d1")].target_id, state="voided")
    del world.books.records[Kind.INVOICE, world.state.links[key("invoices", "d2")].target_id]
    assert desk.undo(plan) is None
    assert desk.report.left_out[key("invoices", "d1")] == "its document is withdrawn already"
    assert desk.report.left_out[key("invoices", "d2")] == "its document is gone from the other side"


def test_an_update_of_a_two_way_step_is_taken_back_on_one_side_and_stays_so():
    two_way = preset("act-quickbooks_online").replace("    to: customer\n", "    to: customer\n    two_way: ask\n")
    world = World(two_way)
    desk = Desk(world)
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550100")
    world.apply("c1", kind=Kind.COMPANY)
    world.clock.time += timedelta(minutes=1)
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550199")
    plan = desk.make("c1")
    assert plan.counts == {"customers": {"update": 1}}
    assert set(desk.apply(plan).values()) == {End.WRITTEN}
    undo = desk.undo(plan)
    assert set(desk.apply(undo).values()) == {End.WRITTEN}

    def phones() -> tuple[object, object]:
        (customer,) = world.books.all(Kind.CUSTOMER)
        return customer.fields["phone"], world.crm.records[Kind.COMPANY, "c1"].fields["phone"]

    for _ in range(2):
        world.clock.time += timedelta(minutes=1)
        world.apply("c1", kind=Kind.COMPANY)
        world.apply(world.books.all(Kind.CUSTOMER)[0].id, kind=Kind.CUSTOMER, connection=BOOKS)
        world.settle_down()
        assert phones() == ("+16505550100", "+16505550199")
    assert world.unsynced() == []
    world.clock.time += timedelta(minutes=1)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, customer.id, email="ap@acme.example")
    world.apply(customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    world.settle_down()
    contact: Any = world.crm.records[Kind.COMPANY, "c1"].fields["contact"]
    assert (contact["email"], phones()) == ("ap@acme.example", ("+16505550100", "+16505550199"))
    world.clock.time += timedelta(minutes=1)
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550177")
    world.apply("c1", kind=Kind.COMPANY)
    world.settle_down()
    assert phones() == ("+16505550177", "+16505550177")


def test_a_plan_above_the_caps_cannot_be_begun(world: World, desk: Desk):
    capped(world, run_writes=2)
    world.deal("d1", "1054")
    plan = desk.make()
    with pytest.raises(RejectedError, match="needs approval"):
        desk.plans.begin(plan, desk.writes(plan), by="lee")
    assert world.queue.now == []


def test_a_change_of_a_plan_that_was_not_begun_writes_nothing(world: World, desk: Desk):
    world.deal("d1", "1054")
    plan = desk.make()
    world.new_worker().apply([replace(one, plan=plan.id) for one in world.change(Kind.DEAL, "d1")])
    assert (world.books.records, world.queue.later) == ({}, [])


def test_a_record_that_a_plan_says_to_link_is_linked_to_no_other(world: World, desk: Desk):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    plan = desk.make("c1")
    assert plan.counts == {"customers": {"link": 1}}
    del world.books.records[Kind.CUSTOMER, "77"]
    world.books.put(Kind.CUSTOMER, "78", name="Acme Corporation")

    assert desk.apply(plan) == {"customers/c1": End.CHANGED_SINCE}
    assert list(world.plans.left_out(plan).values()) == ["The plan says to link it to 77; it would be 78 now."]
    assert [link.target_id for link in world.state.links.values()] in ([], [None])


# What else may have changed


def withdrawing(world: World) -> None:
    text = world.sync_text.replace("    on_leave: park ", "    on_leave: withdraw ", 1)
    assert text != world.sync_text
    world.sync_text = text
    world.state.put_sync(StoredSync(TENANT, SYNC, 1, text, world.clock.now()))


def test_a_withdrawal_is_planned_and_applied_like_any_write(world: World, desk: Desk):
    withdrawing(world)
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1000", status="lost")
    plan = desk.make()
    assert (plan.counts, plan.totals) == ({"invoices": {"withdraw": 1}}, {})
    assert set(desk.apply(plan).values()) == {End.WRITTEN}
    assert states(world) == ["voided"]
    assert world.state.links[key("invoices", "d1")].withdrawn is Withdrawal.LEFT
    assert desk.undo(plan) is None
    assert desk.report.left_out[key("invoices", "d1")] == "What was withdrawn cannot be taken back."


def test_what_would_only_now_be_withdrawn_is_left_to_live_changes(world: World, desk: Desk):
    withdrawing(world)
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1100")
    plan = desk.make()
    world.deal("d1", "1100", status="lost")
    assert desk.apply(plan)["invoices/d1"] is End.CHANGED_SINCE
    assert states(world) == ["open"]
    assert reason(world, plan, "invoices", "d1") == "Its document would be withdrawn now."
    world.apply("d1")
    assert states(world) == ["voided"]


def test_what_would_be_written_now_is_not_what_was_to_be_withdrawn(world: World, desk: Desk):
    withdrawing(world)
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1000", status="lost")
    plan = desk.make()
    world.deal("d1", "1200")
    desk.apply(plan)
    assert reason(world, plan, "invoices", "d1") == "The plan says to write it otherwise."
    assert totals(world) == [1000]


def test_a_change_that_only_bears_the_plans_id_writes_withdraws_and_notes_nothing(world: World, desk: Desk):
    withdrawing(world)
    world.deal("d2", "54")
    world.apply("d2")
    world.deal("d1", "1000")
    plan = desk.make("d1")
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    world.deal("d2", "54", status="lost")
    world.deal("d3", "7")
    world.deal("d4", "9", status="open")
    world.new_worker().apply([replace(one, plan=plan.id) for one in world.change(Kind.DEAL, "d2", "d3", "d4")])
    assert totals(world) == [54]
    assert states(world) == ["open"]
    assert world.plans.left_out(plan) == {}


def test_a_create_that_would_be_an_update_now_is_left_out(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    world.apply("d1")
    world.deal("d1", "1200")
    desk.apply(plan)
    ended = desk.plans.ends(plan, desk.writes(plan), over=True)[key("invoices", "d1")]
    assert ended.reason == "The plan says to create; it would be an update now."
    assert totals(world) == [1000]


def test_rewrites_wait_while_too_many_workers_count(world: World):
    changed_sync(world, 2, rewrites=5)
    world.state.write_budget = lambda *_: False
    report = world.apply("d0", "d1")
    assert (report.waiting, rewritten(world)) == (2, 0)
    del world.state.write_budget
    world.settle_down()
    assert rewritten(world) == 2


def test_a_rewrite_of_a_record_without_a_version_counts(world: World):
    changed_sync(world, 1, rewrites=0)
    for name in ("d0",):
        record = world.crm.records[Kind.DEAL, name]
        world.crm.records[Kind.DEAL, name] = replace(record, version="")
        link = world.state.links[key("invoices", name)]
        world.state.links[link.key] = replace(link, source_version="")
    world.apply("d0")
    assert rewritten(world) == 0
    assert [one.code for one in world.unsynced()] == ["cap-rewrites"]


def test_an_undo_waits_for_books_that_are_down(world: World, desk: Desk):
    plan = updated(world, desk)
    undo = desk.undo(plan)
    desk.plans.begin(undo, desk.writes(undo), by="lee")
    world.books.read_fault = lambda _: UnavailableError("Down.")
    changes, world.queue.now = world.queue.now, []
    world.new_worker().apply(changes)
    assert set(desk.ends(undo).values()) == {End.STILL_WAITING}
    world.books.read_fault = lambda _: None
    world.settle_down()
    assert set(desk.ends(undo).values()) == {End.WRITTEN}


def test_an_undo_that_the_books_refuse_to_sign_in_pauses_the_connection(world: World, desk: Desk):
    plan = updated(world, desk)
    undo = desk.undo(plan)
    desk.plans.begin(undo, desk.writes(undo), by="lee")
    refused = ReconnectError("Signed out.", next_step="Connect again.")
    world.books.read_fault = lambda kind: refused if kind is Kind.CUSTOMER else None
    changes, world.queue.now = world.queue.now, []
    world.new_worker().apply(changes)
    connection = world.state.connection(TENANT, BOOKS)
    assert connection is not None
    assert connection.state is ConnectionState.PAUSED
    assert desk.ends(undo)["customers/c1"] is End.STILL_WAITING


def test_an_updated_record_that_is_gone_is_named(world: World, desk: Desk):
    plan = updated(world, desk)
    del world.books.records[Kind.CUSTOMER, world.books.all(Kind.CUSTOMER)[0].id]
    desk.undo(plan)
    assert desk.report.left_out[key("customers", "c1")] == "It is gone from the other side."


def test_what_was_only_linked_stays_linked(world: World, desk: Desk):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.deal("d1")
    plan = desk.make()
    desk.apply(plan)
    desk.undo(plan)
    assert desk.report.left_out[key("customers", "c1")] == "It was only linked, and stays linked."


def test_a_step_that_the_sync_has_no_more_is_named(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    start = world.sync_text.index("  payments:\n")
    world.sync_text = world.sync_text[:start]
    new_version(world, "  invoices:\n", "  bills:\n")
    assert desk.undo(plan) is None
    assert desk.report.left_out[key("invoices", "d1")] == "The sync has this step no more."


def test_a_field_that_the_run_wrote_first_stays_and_is_named(world: World, desk: Desk):
    changed_sync(world, 1, rewrites=0)
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    (write,) = desk.writes(undo)
    assert write.notices == ("Its memo stays: what stood there before is not known.",)
    desk.apply(undo)
    assert rewritten(world) == 1


def test_all_fields_that_the_run_wrote_first_are_named_in_words(world: World, desk: Desk):
    due = "      due_date: {path: closed_on, transforms: [{terms_to_due_date: {days: 30}}]}\n"
    new_version(world, due, "")
    world.deal("d1", "1000")
    world.apply("d1")
    new_version(world, due, f"{due}      memo: {{constant: Thank you}}\n")
    plan = desk.make()
    desk.apply(plan)
    (write,) = desk.writes(desk.undo(plan))
    assert write.notices == ("Its memo, due date stays: what stood there before is not known.",)


def test_the_plan_that_is_taken_back_may_be_changed_by_others_meanwhile(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    change_plan, raced = world.plans.change_plan, list[StoredPlan]()

    def first_another(one: StoredPlan) -> StoredPlan:
        if one.id == plan.id and not raced:
            raced.append(change_plan(replace(world.plans.stored[TENANT, plan.id], ends={"written": 3})))
        return change_plan(one)

    world.plans.change_plan = first_another
    desk.apply(undo)
    assert world.plans.stored[TENANT, plan.id].state is PlanState.UNDONE
    assert raced
    assert states(world) == ["voided"]


# What is said of a plan


def refusal(error: pytest.ExceptionInfo[Any]) -> tuple[str, str, str]:
    """What a person reads, what a program reads, and what to do."""
    return error.value.message, getattr(error.value, "code", ""), error.value.next_step


def test_a_plan_is_called_by_its_moment_and_four_letters_that_are_told_apart(world: World, desk: Desk):
    plan = desk.make()
    assert is_plan_id(plan.id)
    assert plan.id.startswith("plan-20261122-090000-")
    assert not set(plan.id[-4:]) & set("01lo")
    assert plan.created_at == world.clock.now()


def test_a_plan_that_is_not_there_is_named_with_where_to_look(desk: Desk):
    with pytest.raises(SettingsError) as error:
        desk.plans.plan(TENANT, "plan-x")
    assert refusal(error) == (
        "The tenant acme has no plan plan-x; plans are kept for 30 days.",
        "",
        "See `tieout plan list --tenant acme`.",
    )


def test_a_damaged_plan_is_refused_with_what_to_do(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    world.plans.kept[TENANT, plan.id].pop()
    with pytest.raises(RejectedError) as error:
        desk.writes(plan)
    assert refusal(error) == (
        f"The plan {plan.id} is damaged: its writes do not have its digest.",
        "plan-damaged",
        "Do not apply it. Plan again.",
    )


def test_a_plan_that_needs_approval_says_why_and_how(world: World, desk: Desk):
    capped(world, run_writes=2)
    world.deal("d1")
    plan = desk.make()
    with pytest.raises(RejectedError) as error:
        desk.plans.begin(plan, desk.writes(plan), by="lee")
    assert refusal(error) == (
        f"The plan {plan.id} needs approval. It has 3 writes; 2 are allowed without approval.",
        "plan-needs-approval",
        (
            f"See `tieout plan show {plan.id} --tenant acme`, then run `tieout plan approve {plan.id} --tenant acme` "
            f"and `tieout apply {plan.id} --tenant acme`."
        ),
    )


def test_a_plan_that_was_applied_is_neither_applied_nor_approved_again(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    desk.apply(plan)
    plan = desk.plans.plan(TENANT, plan.id)
    for again in (desk.plans.check_open, lambda one: desk.plans.approve(one, by="max")):
        with pytest.raises(RejectedError) as error:
            again(plan)
        assert refusal(error) == (
            f"The plan {plan.id} was applied already, by lee.",
            "plan-applied",
            f"See `tieout plan show {plan.id} --tenant acme`.",
        )


def test_a_plan_that_was_taken_back_is_neither_applied_nor_approved_again(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    desk.apply(undo)
    plan = desk.plans.plan(TENANT, plan.id)
    for again, what in (
        (desk.plans.check_open, "applied"),
        (lambda one: desk.plans.approve(one, by="max"), "approved"),
    ):
        with pytest.raises(RejectedError) as error:
            again(plan)
        assert refusal(error) == (
            f"The plan {plan.id} was taken back by {undo.id}; it cannot be {what} any more.",
            "plan-undone",
            "Plan again: `tieout plan deals-to-invoices --tenant acme`.",
        )


def test_an_undo_is_not_taken_back_and_says_what_to_do_instead(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    with pytest.raises(RejectedError) as error:
        desk.undo(undo)
    assert refusal(error) == (
        f"{undo.id} takes back {plan.id}; what was taken back is not written again by itself.",
        "plan-is-an-undo",
        (
            "For new documents in place of those that were withdrawn, run "
            f"`tieout renew --plan {undo.id} --tenant acme`. Other records are written again once they are edited in "
            "the source."
        ),
    )


def test_what_was_never_applied_is_not_taken_back(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    with pytest.raises(RejectedError) as error:
        desk.undo(plan)
    assert refusal(error)[:2] == (f"The plan {plan.id} was never applied.", "plan-not-applied")


def test_a_plan_says_how_many_records_would_park(world: World, desk: Desk):
    world.deal("d1")
    world.deal("odd", product="Unheard-of")
    world.deal("strange", product="Never seen")
    assert desk.make().parked == 2


def test_the_versions_of_the_sync_are_told_apart_in_words(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    assert desk.compare(plan).sync_changed == ""
    new_version(world)
    assert desk.compare(plan).sync_changed == (
        "The sync deals-to-invoices is another one: planned with version 1, now 2."
    )


def test_a_cap_counts_in_each_currency_and_to_either_side_of_zero(desk: Desk):
    plan = replace(desk.make(), counts={"invoices": {"create": 1200}})
    plan = replace(plan, amounts={"USD": Decimal("-1000.50"), "EUR": Decimal(1000), "JPY": Decimal(2000)})
    assert Cap(writes=1100, amount=1000).exceeded(plan) == [
        "It has 1,200 writes; 1,100 are allowed without approval.",
        "It writes -1,000.50 USD; 1,000 are allowed without approval.",
        "It writes 2,000 JPY; 1,000 are allowed without approval.",
    ]
    assert Cap(writes=1200, amount=2000).exceeded(plan) == []
    assert Cap().exceeded(plan) == []


def test_a_reason_that_both_caps_give_is_said_once(world: World, desk: Desk):
    capped(world, run_writes=2)
    world.deal("d1")
    plan = desk.make()
    assert desk.plans.needs(plan, Cap(writes=2)) == ["It has 3 writes; 2 are allowed without approval."]
    assert desk.plans.needs(plan, Cap(writes=1)) == [
        "It has 3 writes; 1 are allowed without approval.",
        "It has 3 writes; 2 are allowed without approval.",
    ]


def test_a_plan_of_a_sync_that_is_no_more_needs_no_approval_by_it(world: World, desk: Desk):
    capped(world, run_writes=2)
    world.deal("d1")
    plan = desk.make()
    other = world.sync_text.replace(f"name: {SYNC}", "name: other").replace("run_writes: 2", "run_writes: 0")
    world.state.stored_syncs.clear()
    world.state.put_sync(StoredSync(TENANT, "other", 1, other, world.clock.now()))
    assert desk.plans.needs(plan) == []


def test_the_newest_plan_stands_first_in_the_list(world: World, desk: Desk):
    first = desk.make()
    world.clock.time += timedelta(days=1)
    second = desk.make()
    assert [one.id for one in desk.plans.plans(TENANT)] == [second.id, first.id]
    world.clock.time += timedelta(days=29)
    assert [one.id for one in desk.plans.plans(TENANT)] == [second.id]
    assert desk.plans.plan(TENANT, second.id) == second


# What has become of it


def test_beginning_queues_the_records_of_the_plan_customers_and_items_first(world: World, desk: Desk):
    world.deal("d1")
    world.deal("d2")
    plan = desk.make()
    world.clock.time += timedelta(minutes=1)
    begun = desk.plans.begin(plan, desk.writes(plan), by="lee")
    assert (begun.state, begun.began_at, begun.applied_by) == (PlanState.APPLYING, world.clock.now(), "lee")
    assert [(one.kind, one.id) for one in world.queue.now] == [
        (Kind.COMPANY, "c1"),
        (Kind.PRODUCT, "p1"),
        (Kind.DEAL, "d1"),
        (Kind.DEAL, "d2"),
    ]
    for change in world.queue.now:
        assert (change.tenant, change.connection, change.plan, change.seen_at) == (
            TENANT,
            CRM,
            plan.id,
            world.clock.now(),
        )
        assert (change.origin, change.lane) == (Origin.APPROVED, Lane.LIVE)


def test_a_run_that_was_begun_goes_on_whatever_the_caps_say_by_then_and_whoever_asks(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    begun = desk.plans.begin(plan, desk.writes(plan), by="lee")
    world.queue.now.clear()
    capped(world, run_writes=0)
    world.clock.time += timedelta(minutes=1)
    assert desk.plans.begin(begun, desk.writes(begun), by="max") == begun
    desk.work()
    assert set(desk.ends(plan).values()) == {End.WRITTEN}
    assert (begun.applied_by, len(world.invoices())) == ("lee", 1)


def test_what_no_worker_has_looked_at_still_waits(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    for over in (False, True):
        ends = desk.plans.ends(desk.plans.plan(TENANT, plan.id), desk.writes(plan), over=over)
        assert {(one.end, one.reason) for one in ends.values()} == {(End.STILL_WAITING, "")}


def test_a_write_that_is_under_way_still_waits(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    desk.plans.begin(plan, desk.writes(plan), by="lee")
    world.books.fault = lambda effect: "vanished" if effect.kind is Kind.INVOICE else None
    changes, world.queue.now = world.queue.now, []
    world.new_worker().apply(changes)
    ends = desk.plans.ends(desk.plans.plan(TENANT, plan.id), desk.writes(plan), over=True)
    assert {key.step: one.end for key, one in ends.items()} == {
        "customers": End.WRITTEN,
        "items": End.WRITTEN,
        "invoices": End.STILL_WAITING,
    }


def test_each_end_names_what_was_written_or_why_it_was_not(world: World, desk: Desk):
    world.deal("d1")
    world.deal("d2")
    world.deal("d3")
    plan = desk.make()
    world.apply("d1")
    world.deal("d2", "99")
    desk.apply(plan)
    ends = desk.plans.ends(desk.plans.plan(TENANT, plan.id), desk.writes(plan), over=True)
    written = {link.source_id: stored.target_id for link, stored in world.state.links.items() if stored.target_id}
    assert (ends[key("invoices", "d1")].end, ends[key("invoices", "d1")].target_id) == (End.UNCHANGED, written["d1"])
    assert ends[key("invoices", "d1")].reason == "It stands there already."
    assert (ends[key("invoices", "d2")].end, ends[key("invoices", "d2")].target_id) == (End.CHANGED_SINCE, "")
    assert ends[key("invoices", "d2")].reason == "It would have other lines now."
    assert (ends[key("invoices", "d3")].end, ends[key("invoices", "d3")].target_id) == (End.WRITTEN, written["d3"])
    assert ends[key("invoices", "d3")].reason == ""


def test_what_the_plan_parked_is_told_at_once_and_what_another_change_parked_once_the_run_is_over(
    world: World, desk: Desk
):
    world.deal("d1")
    world.deal("d2")
    plan = desk.make()
    taken = RejectedError("The number is taken.", code="6140")
    world.books.fault = lambda effect: taken if effect.kind is Kind.INVOICE else None
    world.apply("d2")
    begun = desk.plans.begin(plan, desk.writes(plan), by="lee")
    world.new_worker().apply([one for one in world.queue.now if one.id != "d2"])
    for over, other in ((False, End.STILL_WAITING), (True, End.PARKED)):
        ends = desk.plans.ends(begun, desk.writes(plan), over=over)
        told = [(ends[key("invoices", one)].end, ends[key("invoices", one)].reason) for one in ("d1", "d2")]
        assert told == [(End.PARKED, "The number is taken."), (other, "The number is taken.")]


def test_what_another_change_wrote_while_the_run_went_is_told_once_it_is_over(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    begun = desk.plans.begin(plan, desk.writes(plan), by="lee")
    world.queue.now.clear()
    world.clock.time += timedelta(seconds=1)
    world.apply("d1")
    invoice = key("invoices", "d1")
    assert desk.plans.ends(begun, desk.writes(plan), over=False)[invoice].end is End.STILL_WAITING
    ended = desk.plans.ends(begun, desk.writes(plan), over=True)[invoice]
    assert (ended.end, ended.reason) == (End.CHANGED_SINCE, "Another change wrote it meanwhile.")


def test_what_stood_before_the_run_began_tells_nothing_of_it(world: World, desk: Desk):
    world.deal("d1")
    world.apply("d1")
    world.clock.time += timedelta(seconds=1)
    world.deal("d1", "99")
    plan = desk.make()
    begun = desk.plans.begin(plan, desk.writes(plan), by="lee")
    ended = desk.plans.ends(begun, desk.writes(plan), over=True)[key("invoices", "d1")]
    assert (ended.end, ended.reason) == (End.STILL_WAITING, "")


def test_a_run_is_applied_once_nothing_of_it_waits(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    begun = desk.plans.begin(plan, desk.writes(plan), by="lee")
    going = desk.plans.finish(begun, desk.plans.ends(begun, desk.writes(plan), over=False))
    assert (going.state, going.applied_at, going.ends) == (PlanState.APPLYING, None, {"still_waiting": 3})
    desk.work()
    world.clock.time += timedelta(minutes=1)
    done = desk.plans.finish(begun, desk.plans.ends(begun, desk.writes(plan), over=False))
    assert (done.state, done.applied_at, done.ends) == (PlanState.APPLIED, world.clock.now(), {"written": 3})
    assert desk.plans.finish(done, {}) == done, "what is over is not counted again"


def test_of_two_who_follow_a_run_one_tells_how_it_ended(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    begun = desk.plans.begin(plan, desk.writes(plan), by="lee")
    desk.work()
    ends = desk.plans.ends(begun, desk.writes(plan), over=False)

    def taken(_: StoredPlan) -> StoredPlan:
        raise ClaimedError("Somebody else has changed it.")

    world.plans.change_plan = taken  # type: ignore[method-assign]  # the other one is faster
    assert desk.plans.finish(begun, ends) == begun


def test_an_undo_is_not_begun_while_others_keep_changing_the_plan_that_it_takes_back(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.undo(plan)
    change_plan, tried = world.plans.change_plan, list[str]()

    def always_another(one: StoredPlan) -> StoredPlan:
        if one.id != plan.id:
            return change_plan(one)
        tried.append(one.id)
        raise ClaimedError("Somebody else has changed it.")

    world.plans.change_plan = always_another  # type: ignore[method-assign]  # never free
    with pytest.raises(ClaimedError) as error:
        desk.plans.begin(undo, desk.writes(undo), by="lee")
    assert error.value.message == f"The plan {plan.id} is being changed by somebody else; try again."
    assert (len(tried), world.queue.now) == (3, [])


def test_an_undo_whose_plan_is_marked_already_or_is_no_longer_kept_is_begun_all_the_same(world: World, desk: Desk):
    world.deal("d1")
    plan = desk.make()
    desk.apply(plan)
    undo = desk.plans.begin(desk.undo(plan), desk.writes(desk.undone), by="lee")
    marked = world.plans.stored[TENANT, plan.id]
    world.queue.now.clear()
    assert desk.plans.begin(undo, desk.writes(undo), by="lee") == undo
    assert (world.plans.stored[TENANT, plan.id], len(world.queue.now)) == (marked, 1)
    del world.plans.stored[TENANT, plan.id]
    assert desk.plans.begin(undo, desk.writes(undo), by="lee") == undo


# What would be otherwise today


def told(desk: Desk, plan: StoredPlan) -> dict[str, str]:
    """By record, what became of the writes that would be others today."""
    return {f"{one.write.step}/{one.write.source_id}": one.reason for one in desk.compare(plan).changed}


def test_what_would_be_another_record_is_told(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make("d1")
    world.apply("d1")
    world.deal("d1", "1200")
    assert told(desk, plan)["invoices/d1"] == "It would be another record on the other side now."


def test_what_nobody_wants_any_more_is_told(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.deal("d2", "1000")
    world.apply("d2")
    world.clock.time += timedelta(minutes=1)
    world.deal("d2", "1100")
    plan = desk.make("d1", "d2")
    world.deal("d1", "1000", status="open")
    world.deal("d2", "1000")
    nothing = "Nothing is to be written for it any more."
    found = told(desk, plan)
    assert (found["invoices/d1"], found["invoices/d2"]) == (nothing, nothing)


def test_what_was_written_in_the_moment_of_the_plan_was_written_by_another_change(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make("d1")
    world.apply("d1")
    assert told(desk, plan)["invoices/d1"] == "It was written already, by another change."


def test_what_would_park_now_is_told_with_its_sentence(world: World, desk: Desk):
    world.deal("d1", "1000")
    plan = desk.make()
    world.deal("d1", "1000", product="Unheard-of")
    reason = told(desk, plan)["invoices/d1"]
    assert reason.startswith("It would park: ")
    assert "Unheard-of" in reason


def test_what_is_newly_needed_is_not_in_the_plan(world: World, desk: Desk):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1100")
    plan = desk.make("d1")
    world.company("c2", "Other Corporation")
    world.deal("d1", "1100", company="c2")
    assert told(desk, plan) == {
        "invoices/d1": "The record changed.",
        "customers/c2": "The plan does not say to write it.",
    }


def test_whoever_plans_is_told_how_far_it_is(world: World, desk: Desk):
    world.deal("d1")
    shown: list[tuple[str, int]] = []

    def progress(name: str, count: int) -> None:
        shown.append((name, count))

    report = desk.plans.preview(TENANT, SYNC, progress=progress)
    whole = [("company", 1), ("product", 1), ("deal", 1)]
    assert shown == whole
    plan = desk.plans.keep(TENANT, SYNC, report, by="kim")
    shown.clear()
    desk.plans.compare(plan, desk.writes(plan), progress=progress)
    assert shown == whole
    desk.apply(plan)
    shown.clear()
    undo, _ = desk.plans.take_back(desk.plans.plan(TENANT, plan.id), by="kim", progress=progress, credit_paid=False)
    assert shown == whole
    assert undo is not None
    shown.clear()
    desk.plans.compare(undo, desk.writes(undo), progress=progress)
    assert shown == [("deal", 1)]


# Whatever happens in between


EDITS = st.sampled_from(["win", "raise", "lose", "rename", "edit the books", "pay", "void", "live", "new sync", "die"])


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(EDITS, max_size=5),
    between=st.lists(EDITS, max_size=5),
    faults=st.lists(st.sampled_from([None, "lost", "vanished"]), max_size=5),
)
def test_a_run_writes_nothing_but_what_its_plan_says(before: list[str], between: list[str], faults: list[str | None]):
    world = World()
    desk = Desk(world)
    for number in range(3):
        world.deal(f"d{number}", str(100 + number), status="open" if number == 2 else "won")
    for number, edit in enumerate(before):
        happen(world, edit, number)
    plan = desk.make()
    planned = {
        (write.step, write.source_id): write
        for write in desk.writes(plan)
        if not write.links_only and not write.takes_back
    }
    world.clock.time += timedelta(minutes=1)
    for number, edit in enumerate(between):
        happen(world, edit, len(before) + number)
    world.settle_down()

    written: list[tuple[str, Operation, Any]] = []
    left = list(faults)

    def note(effect):
        written.append((effect.reference, effect.operation, effect.document.as_fields().get("lines")))
        return left.pop(0) if left else None

    stood = dict(world.books.records)
    world.books.fault = note
    ends = desk.apply(plan) if plan.writes else {}
    world.books.fault = lambda _: None
    world.settle_down()

    allowed = {plan.key_of(*place).reference: write for place, write in planned.items()}
    for reference, operation, lines in written:
        assert reference in allowed
        assert operation is allowed[reference].operation
        if lines is not None:
            amounts = [Decimal(line["amount"]) for line in allowed[reference].document["lines"]]
            assert [line["amount"] for line in lines] == amounts
    touched = {record for record in world.books.records if world.books.records[record] != stood.get(record)}
    assert len(touched) <= sum(end is End.WRITTEN for end in ends.values())
    numbers = [invoice.fields["number"] for invoice in world.invoices()]
    assert len(numbers) == len(set(numbers))
    assert End.STILL_WAITING not in ends.values()


def happen(world: World, edit: str, number: int) -> None:
    """Something that people or live changes do."""
    world.clock.time += timedelta(seconds=20)
    deal = f"d{number % 3}"
    invoices = [one for one in world.invoices() if one.fields["number"] == f"S{deal}"]
    match edit:
        case "win":
            world.deal(deal, "150")
        case "raise":
            world.deal(deal, str(200 + number), status=str(world.crm.records[Kind.DEAL, deal].fields["status"]))
        case "lose":
            world.deal(deal, "100", status="lost")
        case "rename":
            world.company("c1", f"Acme {number}")
        case "edit the books" if invoices:
            world.books.put(Kind.INVOICE, invoices[0].id, memo=f"Note {number}")
        case "pay" if invoices:
            world.pay(invoices[0].id, "1")
        case "void" if invoices:
            world.books.put(Kind.INVOICE, invoices[0].id, state="voided")
        case "new sync":
            new_version(world)
        case "live":
            world.apply("d0", "d1", "d2")
            world.settle_down()
        case "die":
            world.state.crash_after = lambda name: name == "claim"
            with suppress(Crash):
                world.apply(deal)
            world.state.crash_after = lambda _: False
            world.clock.time += timedelta(seconds=200)
            world.apply(deal)
            world.settle_down()
