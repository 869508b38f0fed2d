from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.aws import START
from tests.unit.adapters.samples import TENANT, alert, unsynced
from tieout.adapters.dynamodb import alerts as module
from tieout.adapters.dynamodb.alerts import DynamoAlerts

HOUR = timedelta(hours=1)


@pytest.fixture
def alerts(table):
    return DynamoAlerts(table)


def test_alerts_come_back_as_they_were_oldest_first(alerts):
    young, old, middle = alert(age=1), alert("revoked", age=9), alert(about=unsynced("d-1"), age=5)
    alerts.put([young, old, middle])
    assert alerts.pending(TENANT) == [old, middle, young]
    assert alerts.pending("globex") == []
    alerts.put([])
    assert alerts.pending("globex") == []


def test_an_alert_about_the_same_record_and_cause_replaces_the_former_one(alerts):
    first, second = alert(about=unsynced("d-1"), age=9), alert(about=unsynced("d-1"), age=1)
    other_record, other_cause = alert(about=unsynced("d-2"), age=2), alert("refused", about=unsynced("d-1"), age=3)
    alerts.put([first, other_record, other_cause])
    alerts.put([second])
    assert alerts.pending(TENANT) == [other_cause, other_record, second]


def test_causes_that_begin_alike_stay_apart(alerts):
    one, other = alert("x" * 70 + "1"), alert("x" * 70 + "2")
    alerts.put([one, other])
    assert len(alerts.pending(TENANT)) == 2


def test_sent_alerts_are_removed_unless_they_were_raised_again(alerts):
    told, raised_again = alert(about=unsynced("d-1"), age=9), alert(about=unsynced("d-2"), age=9)
    alerts.put([told, raised_again])
    newer = replace(raised_again, raised_at=START)
    alerts.put([newer])
    alerts.remove([told, raised_again])
    assert alerts.pending(TENANT) == [newer]
    alerts.remove([told])


def test_no_more_than_the_oldest_thousand_are_given_at_once(alerts, monkeypatch):
    monkeypatch.setattr(module, "PENDING_MAX", 2)
    rows = [alert(about=unsynced(f"d-{number}"), age=number) for number in range(4)]
    alerts.put(rows)
    assert alerts.pending(TENANT) == [rows[3], rows[2]]


def open_window(alerts, *, now=START, cause="needs-items", tenant=TENANT):
    return alerts.open_window(tenant, cause, until=now + HOUR, now=now)


def test_a_window_is_one_workers_for_an_hour(alerts):
    assert open_window(alerts)
    assert not open_window(alerts)
    assert not open_window(alerts, now=START + HOUR - timedelta(microseconds=1))
    assert open_window(alerts, now=START + HOUR)
    assert open_window(alerts, cause="refused")
    assert open_window(alerts, tenant="globex")


def test_a_closed_window_can_be_opened(alerts):
    open_window(alerts)
    alerts.close_window(TENANT, "needs-items")
    assert open_window(alerts)
    alerts.close_window(TENANT, "never-opened")


def test_a_window_whose_answer_was_lost_is_still_ours(alerts, clients):
    repeats = iter([0, None])
    clients.dynamodb.meta.events.register_first("needs-retry.dynamodb.PutItem", lambda **_: next(repeats, None))
    assert open_window(alerts)
    assert not open_window(alerts)


def test_a_window_is_swept_away_after_its_time(alerts, clients):
    open_window(alerts)
    (item,) = clients.dynamodb.scan(TableName="tieout-table")["Items"]
    assert int(item["expires_at"]["N"]) >= (START + HOUR).timestamp()
