"""apply_changes, retry_changes, park_change: batches of messages against the real stores."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest

from functions.apply_changes import app as apply_changes
from functions.park_change import app as park_change
from functions.retry_changes import app as retry_changes
from tests.engine.world import BOOKS, CRM, TENANT
from tests.integration.conftest import sample
from tieout.domain.changes import UnsyncedState
from tieout.domain.errors import UnavailableError
from tieout.domain.records import Kind
from tieout.engine.apply import ApplyChanges

NOTHING_FAILED: dict[str, list[dict[str, str]]] = {"batchItemFailures": []}


def failures(answer):
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


def message(event, number, **changes):
    """A message like the event's first, with another body."""
    made = copy.deepcopy(event["Records"][0])
    made["messageId"] = f"m-{number}"
    made["body"] = changes.get("body", json.dumps(json.loads(made["body"]) | changes))
    return made


def metric(lines, name):
    return [line[name] for line in lines() if "_aws" in line and name in line]


def test_won_deals_become_invoices(stack, lines):
    for name in ("d1", "d2", "d3"):
        stack.world.deal(name)
    assert apply_changes.handler(sample("apply_changes"), stack.context) == NOTHING_FAILED
    assert len(stack.world.invoices()) == 3
    assert metric(lines, "ChangesApplied") == [[5.0]]
    (line,) = [line for line in lines() if line.get("message") == "Changes reached their end."]
    assert (line["tenant"], line["connection"], line["function"]) == ("acme", "act", "apply_changes")
    assert line["ends"]["created"] == 5


def test_the_same_event_again_writes_nothing(stack, lines):
    for name in ("d1", "d2", "d3"):
        stack.world.deal(name)
    apply_changes.handler(sample("apply_changes"), stack.context)
    writes = []
    stack.clients.dynamodb.meta.events.register(
        "before-call.dynamodb.*", lambda model, **_: writes.append(model.name) if "Get" not in model.name else None
    )
    calls = stack.world.books.calls["write"]
    assert apply_changes.handler(sample("apply_changes"), stack.context) == NOTHING_FAILED
    assert set(writes) <= {"Query"}
    assert stack.world.books.calls["write"] == calls
    assert metric(lines, "ChangesUnchanged")[-1] == [3.0]


def test_a_change_that_is_still_missing_waits_in_the_retry_queue_and_is_tried_again(stack):
    stack.world.deal("d1")
    stack.world.books.fault = lambda _: UnavailableError("down")
    assert apply_changes.handler(sample("retry_changes"), stack.context) == NOTHING_FAILED
    assert stack.waiting()["retry"] >= 1
    assert stack.world.invoices() == []
    waiting = stack.deployment.links.unsynced(TENANT, UnsyncedState.WAITING)
    assert "d1" in {one.change.id for one in waiting}
    stack.world.books.fault = lambda _: None
    assert retry_changes.handler(sample("retry_changes"), stack.context) == NOTHING_FAILED
    assert len(stack.world.invoices()) == 1
    assert list(stack.deployment.links.unsynced(TENANT)) == []


def test_a_garbage_message_fails_alone_and_is_named_by_its_id_only(stack, logs):
    stack.world.deal("d1")
    event = sample("retry_changes")
    event["Records"].append(message(event, 2, body='{"jane@acme.example": "s3cr3t"}'))
    assert failures(apply_changes.handler(event, stack.context)) == ["m-2"]
    assert len(stack.world.invoices()) == 1
    assert "m-2" in logs()
    assert "s3cr3t" not in logs()
    assert "jane" not in logs()


def test_a_message_that_the_engine_cannot_bear_does_not_fail_the_others(stack, lines, monkeypatch):
    for name in ("d1", "d2", "d3"):
        stack.world.deal(name)
    apply = ApplyChanges.apply

    def bear_no_d3(self, changes, **options):
        if any(change.id == "d3" for change in changes):
            raise KeyError("d3 of Jane Doe")
        return apply(self, changes, **options)

    monkeypatch.setattr(ApplyChanges, "apply", bear_no_d3)
    event = sample("apply_changes")
    assert failures(apply_changes.handler(event, stack.context)) == [event["Records"][1]["messageId"]]
    assert len(stack.world.invoices()) == 2
    assert metric(lines, "MessagesFailed") == [[1.0]]
    errors = [line for line in lines() if line.get("level") == "ERROR"]
    assert {(line["tenant"], line["connection"]) for line in errors} == {("acme", "act")}
    assert "KeyError" in errors[0]["error"]
    assert any("bear_no_d3" in place for place in errors[0]["where"])


def test_one_connection_that_fails_does_not_fail_another(stack, monkeypatch):
    stack.world.deal("d1")
    event = sample("retry_changes")
    event["Records"].append(message(event, 2, tenant="globex"))
    apply = ApplyChanges.apply
    seen = []

    def not_globex(self, changes, **options):
        seen.append({change.tenant for change in changes})
        if changes[0].tenant == "globex":
            raise RuntimeError
        return apply(self, changes, **options)

    monkeypatch.setattr(ApplyChanges, "apply", not_globex)
    assert failures(apply_changes.handler(event, stack.context)) == ["m-2"]
    assert all(len(tenants) == 1 for tenants in seen)
    assert len(stack.world.invoices()) == 1


def test_a_table_that_is_gone_fails_every_message_and_the_log_says_why(stack, lines):
    stack.clients.dynamodb.delete_table(TableName=stack.deployment.settings.table)
    event = sample("apply_changes")
    assert failures(apply_changes.handler(event, stack.context)) == [one["messageId"] for one in event["Records"]]
    errors = [line for line in lines() if line.get("level") == "ERROR"]
    assert {tuple(line["aws"]) for line in errors} == {("ResourceNotFoundException",)}


def test_a_worker_whose_time_is_over_gives_the_rest_back(stack):
    for name in ("d1", "d2", "d3"):
        stack.world.deal(name)
    late = replace(stack.context, milliseconds=39_999)
    assert apply_changes.handler(sample("apply_changes"), late) == NOTHING_FAILED
    assert stack.world.invoices() == []
    assert stack.waiting()["retry"] >= 1


def test_a_payment_goes_back_to_the_crm(stack):
    stack.world.deal("d1")
    apply_changes.handler(sample("retry_changes"), stack.context)
    (invoice,) = stack.world.invoices()
    stack.world.pay(invoice.id, "1054")
    event = sample("retry_changes")
    one = json.loads(event["Records"][0]["body"])["changes"][0]
    event["Records"] = [message(event, 1, connection=BOOKS, kind="invoice", changes=[one | {"id": invoice.id}])]
    assert apply_changes.handler(event, stack.context) == NOTHING_FAILED
    deal = stack.world.crm.records[Kind.DEAL, "d1"]
    assert "paid" in str(deal.fields["custom_fields"].values()).lower()


def test_a_dead_letter_is_parked_with_an_alert(stack, lines):
    stack.world.deal("d1")
    assert park_change.handler(sample("park_change"), stack.context) == NOTHING_FAILED
    (parked,) = stack.deployment.links.unsynced(TENANT)
    assert (parked.state, parked.change.id, parked.change.connection) == (UnsyncedState.PARKED, "d1", CRM)
    assert parked.next_step
    (alert,) = stack.deployment.alerts.pending(TENANT)
    assert alert.unsynced == parked
    assert metric(lines, "ChangesParked") == [[1.0]]


def test_a_dead_letter_of_another_form_is_reported_failed(stack):
    event = sample("park_change")
    event["Records"] = [message(event, 9, body="garbage")]
    assert failures(park_change.handler(event, stack.context)) == ["m-9"]


@pytest.mark.parametrize("module", [apply_changes, retry_changes, park_change])
def test_an_event_that_is_not_from_a_queue_fails_and_shows_nothing(stack, logs, module):
    with pytest.raises(RuntimeError) as raised:
        module.handler({"s3cr3t": "jane"}, stack.context)
    assert "jane" not in repr(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert "KeyError" in logs()
