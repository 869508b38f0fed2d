"""Stored plans come back as they were, are found by their records, and change only for who read them last."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.aws import START
from tests.unit.adapters.samples import INVOICE, SYNC, TENANT
from tieout.adapters.dynamodb import plans as module
from tieout.adapters.dynamodb.plans import DynamoPlans
from tieout.domain.effects import Operation
from tieout.domain.errors import ClaimedError, SettingsError
from tieout.domain.links import LinkKey, Withdrawal
from tieout.domain.plans import PlannedWrite, PlanState, StoredPlan, amounts_of, counts_of, digest_of
from tieout.domain.reviews import Side

ID = "plan-20261122-090000-k3f9"


@pytest.fixture
def plans(table):
    return DynamoPlans(table)


def write(number: int, **changes: object) -> PlannedWrite:
    made = PlannedWrite("invoices", f"d{number}", Operation.CREATE, INVOICE, None, Decimal("1054.50"), "USD", "0" * 32)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def plan(*writes: PlannedWrite, **changes: object) -> StoredPlan:
    made = StoredPlan(
        tenant=TENANT,
        id=ID,
        sync=SYNC,
        sync_version=3,
        digest=digest_of(SYNC, 3, writes),
        created_at=START,
        created_by="kim",
        counts=counts_of(writes),
        totals={"USD": Decimal("1054.50")},
        amounts=amounts_of(writes),
        parked=2,
    )
    return replace(made, **changes)


EVERYTHING = write(
    2,
    operation=Operation.UPDATE,
    former={"number": None, "$odd": "x"},
    target_id="58",
    target_version="3",
    side=Side.SOURCE,
    withdrawal=Withdrawal.UNDONE,
    links_only=True,
    label="GTX Pro for Größe & Söhne",
    notices=("Cut from 120 to 100 characters.",),
)


def test_a_plan_and_its_writes_are_read_back_equal(plans):
    stored = plans.put_plan(plan(write(1), EVERYTHING), [write(1), EVERYTHING])
    assert plans.plan(TENANT, ID) == stored
    assert list(plans.planned(stored)) == [write(1), EVERYTHING]
    assert stored.key(write(1)) == LinkKey(TENANT, SYNC, "invoices", "d1")


def test_what_was_decided_is_read_back_equal(plans):
    stored = plans.put_plan(plan(write(1)), [write(1)])
    decided = replace(
        stored,
        state=PlanState.APPLIED,
        approved_at=START,
        approved_by="kim",
        began_at=START + timedelta(minutes=1),
        applied_by="lee",
        applied_at=START + timedelta(minutes=2),
        ends={"written": 1},
        undoes="plan-20261121-090000-aaaa",
        undone_by="undo-20261123-090000-bbbb",
    )
    changed = plans.change_plan(decided)
    assert plans.plan(TENANT, ID) == changed == replace(decided, revision=2)


def test_another_tenant_sees_nothing_of_it(plans):
    stored = plans.put_plan(plan(write(1)), [write(1)])
    assert plans.plan("globex", ID) is None
    assert list(plans.plans("globex")) == []
    assert plans.allowed(replace(stored, tenant="globex"), [LinkKey("globex", SYNC, "invoices", "d1")]) == {}


def test_many_writes_share_items_and_each_is_found_by_its_record(plans, table):
    writes = [write(number) for number in range(1_000)]
    stored = plans.put_plan(plan(*writes), writes)
    items = list(table.query(f"{TENANT}#plan_writes#{ID}"))
    assert 1 < len(items) == stored.chunks < 20
    assert sum(len(item["writes"]) for item in items) < 1_000 * 250
    keys = [stored.key(one) for one in (write(7), write(999), write(1_000))]
    assert plans.allowed(stored, keys) == {keys[0]: write(7), keys[1]: write(999)}
    assert sorted(plans.planned(stored), key=lambda one: int(one.source_id[1:])) == writes


def test_an_empty_plan_can_be_kept(plans):
    stored = plans.put_plan(plan(), [])
    assert list(plans.planned(stored)) == []
    assert plans.allowed(stored, [LinkKey(TENANT, SYNC, "invoices", "d1")]) == {}


def test_the_newest_plan_comes_first(plans):
    for day, name in ((0, "aaaa"), (2, "cccc"), (1, "bbbb")):
        moment = START + timedelta(days=day)
        plans.put_plan(plan(id=f"plan-20261122-090000-{name}", created_at=moment), [])
    assert [one.id[-4:] for one in plans.plans(TENANT)] == ["cccc", "bbbb", "aaaa"]


def test_a_plan_is_never_replaced(plans):
    plans.put_plan(plan(write(1)), [write(1)])
    with pytest.raises(ClaimedError):
        plans.put_plan(plan(write(1), created_by="lee"), [write(1)])


def test_who_read_an_older_state_cannot_change_it(plans):
    stored = plans.put_plan(plan(), [])
    plans.change_plan(replace(stored, state=PlanState.APPROVED, approved_by="kim", approved_at=START))
    with pytest.raises(ClaimedError, match="Somebody else"):
        plans.change_plan(replace(stored, state=PlanState.APPLYING))


def test_a_change_whose_answer_was_lost_is_ours(plans):
    stored = plans.put_plan(plan(), [])
    approved = replace(stored, state=PlanState.APPROVED)
    first = plans.change_plan(approved)
    assert plans.change_plan(approved) == first  # botocore sends it again, and the condition no longer holds


def test_what_was_left_out_is_noted_once_a_record(plans):
    stored = plans.put_plan(plan(write(1)), [write(1)])
    key = stored.key(write(1))
    plans.leave_out(stored, key, "The deal changed.")
    plans.leave_out(stored, key, "The deal changed since.")
    assert plans.left_out(stored) == {key: "The deal changed since."}


def test_what_is_too_large_says_so_and_nothing_is_kept(plans, monkeypatch):
    monkeypatch.setattr(module, "WRITES_MAX", 2)
    with pytest.raises(SettingsError, match="3 writes, and 2 is the most"):
        plans.put_plan(plan(), [write(number) for number in range(3)])
    monkeypatch.setattr(module, "ITEM_CHARACTERS_MAX", 100)
    with pytest.raises(SettingsError, match="larger than the table takes"):
        plans.put_plan(plan(write(1)), [write(1)])
    assert plans.plan(TENANT, ID) is None


def test_a_plan_is_kept_for_thirty_days_and_its_writes_no_shorter(plans, table):
    stored = plans.put_plan(plan(write(1)), [write(1)])
    (head,) = table.query(f"{TENANT}#plan")
    (writes,) = table.query(f"{TENANT}#plan_writes#{ID}")
    assert head["expires_at"] == int((START + timedelta(days=30)).timestamp())
    assert writes["expires_at"] > head["expires_at"]
    assert stored.expires_at == START + timedelta(days=30)
