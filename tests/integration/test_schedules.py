"""poll_changes and send_alerts: what the schedules run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from functions.apply_changes import app as apply_changes
from functions.park_change import app as park_change
from functions.poll_changes import app as poll_changes
from functions.send_alerts import app as send_alerts
from tests.engine.world import BOOKS, CRM, TENANT
from tests.integration.conftest import sample
from tieout.domain.changes import Origin
from tieout.domain.connections import ConnectionState
from tieout.domain.errors import ReconnectError, ThrottledError, UnavailableError
from tieout.domain.records import Kind
from tieout.engine.health import standing
from tieout.engine.quota import Quotas
from tieout.ports.connector import Limit, Window


def ids(changes):
    return {(one.connection, one.kind, one.id) for one in changes}


def test_one_connection_is_polled(stack, lines):
    stack.world.clock.time += timedelta(minutes=1)
    first = poll_changes.handler(sample("poll_changes"), stack.context)
    assert first == {"asked": 1, "queued": 0}, "history is the backfill's work"
    stack.world.clock.time += timedelta(minutes=1)
    stack.world.deal("d1")
    answer = poll_changes.handler(sample("poll_changes"), stack.context)
    assert answer == {"asked": 1, "queued": 1}
    assert ids(stack.queued("changes")) == {(CRM, Kind.DEAL, "d1")}
    told = [line for line in lines() if line.get("message") == "A connection was asked for changes."]
    assert {(line["tenant"], line["connection"], line["function"]) for line in told} == {
        ("acme", "act", "poll_changes")
    }


@pytest.mark.parametrize("event", [{}, {"source": "aws.events", "detail": {}}])
def test_without_a_name_all_connections_are_polled(stack, event):
    assert poll_changes.handler(event, stack.context)["asked"] == 2


@pytest.mark.parametrize("event", [{}, {"sweep": True}])
def test_a_connection_that_fails_does_not_stop_the_others_and_is_not_hidden_by_them(stack, event, lines, monkeypatch):
    def down(*_):
        raise UnavailableError("down")

    stack.world.deal("d1")  # ids are compared with something
    stack.deployment.apply_changes().apply(stack.world.change(Kind.DEAL, "d1"))
    monkeypatch.setattr(stack.world.crm, "changes", down)
    monkeypatch.setattr(stack.world.crm, "ids", down)
    poll_changes.handler({"tenant": TENANT, "connection": "books"}, stack.context)
    stack.deployment.config.put_cursor(TENANT, CRM, Kind.DEAL, "1")
    with pytest.raises(RuntimeError, match="poll_changes failed"):
        poll_changes.handler(event, stack.context)
    counted = [line for line in lines() if "ConnectionsFailed" in line][-1]
    assert (counted["ConnectionsAsked"], counted["ConnectionsFailed"]) == ([2.0], [1.0])


def test_a_connection_that_fails_does_not_stop_the_others(stack, logs, monkeypatch):
    poll_changes.handler({}, stack.context)
    stack.world.clock.time += timedelta(minutes=1)
    stack.world.books.put(Kind.INVOICE, "7", state="paid")

    def down(*_):
        raise UnavailableError("Jane's CRM is down.", detail="timed out")

    monkeypatch.setattr(stack.world.crm, "changes", down)
    with pytest.raises(RuntimeError, match="poll_changes failed"):
        poll_changes.handler({}, stack.context)
    assert ids(stack.queued("changes")) == {(BOOKS, Kind.INVOICE, "7")}
    assert "UnavailableError" in logs()
    assert "timed out" in logs()
    assert "Jane" not in logs()


def test_if_its_connection_cannot_be_asked_the_function_fails(stack, monkeypatch):
    poll_changes.handler({}, stack.context)

    def down(*_):
        raise UnavailableError("down")

    monkeypatch.setattr(stack.world.crm, "changes", down)
    with pytest.raises(RuntimeError, match="poll_changes failed"):
        poll_changes.handler(sample("poll_changes"), stack.context)


def test_no_connection_is_begun_when_the_time_is_over(stack):
    late = replace(stack.context, milliseconds=1_000)
    assert poll_changes.handler({}, late)["asked"] == 0


def test_a_sweep_finds_what_was_deleted(stack):
    stack.world.deal("d1")
    stack.world.deal("d2")
    stack.deployment.apply_changes().apply(stack.world.change(Kind.DEAL, "d1", "d2"))
    del stack.world.crm.records[Kind.DEAL, "d1"]
    assert poll_changes.handler({"sweep": True}, stack.context)["queued"] == 0, "one absence proves nothing"
    assert poll_changes.handler({"sweep": True}, stack.context)["queued"] == 1
    (change,) = stack.queued("changes")
    assert (change.id, change.origin) == ("d1", Origin.SWEEP)


@pytest.mark.parametrize("fails", [False, True])
def test_a_poll_tells_of_a_quota_that_will_not_suffice(stack, inbox, monkeypatch, fails):
    limit = Limit("day", 2, 24 * 3600, Window.QUOTA)
    monkeypatch.setattr(type(stack.entries["fake_books"]), "limits_of", lambda *_: (limit,))
    poll_changes.handler({}, stack.context)
    stack.world.clock.time += timedelta(minutes=1)
    for number in range(3):
        stack.world.deal(f"d{number}")
    if fails:  # the day of the books is over already, and what waits is counted
        stack.world.books.fault = lambda _: ThrottledError("Too many.", retry_after_seconds=900)
        changes = stack.world.change(Kind.DEAL, "d0", "d1", "d2")
        stack.deployment.apply_changes().apply(changes)
        monkeypatch.setattr(stack.world.books, "changes", _refuse)
        with pytest.raises(RuntimeError, match="poll_changes failed"):
            poll_changes.handler({"tenant": TENANT, "connection": BOOKS}, stack.context)
    else:
        poll_changes.handler({"tenant": TENANT, "connection": CRM}, stack.context)

    send_alerts.handler({}, stack.context)
    told = [mail for mail in inbox() if mail.startswith("The calls of quickbooks will not suffice")]
    assert len(told) == 1


def test_a_poll_that_fails_says_why_even_if_the_quotas_cannot_be_looked_at(stack, lines, monkeypatch):
    def down(*_):
        raise UnavailableError("down", detail="timed out")

    def refused(*_):
        raise OSError

    poll_changes.handler({}, stack.context)
    monkeypatch.setattr(stack.world.crm, "changes", down)
    monkeypatch.setattr(Quotas, "check", refused)
    with pytest.raises(RuntimeError, match="poll_changes failed"):
        poll_changes.handler({"tenant": TENANT, "connection": CRM}, stack.context)
    failures = {line["message"]: line for line in lines() if line.get("level") == "ERROR"}
    assert failures["The connection could not be asked for changes."]["error"] == ["UnavailableError"]
    assert failures["The connection could not be asked for changes."]["detail"] == "timed out"
    assert failures["Quotas could not be looked at."]["error"] == ["OSError", "UnavailableError"]


def test_quotas_that_cannot_be_looked_at_fail_the_function(stack, lines, monkeypatch):
    def refused(*_):
        raise OSError

    poll_changes.handler({}, stack.context)
    stack.world.clock.time += timedelta(minutes=1)
    stack.world.deal("d1")
    monkeypatch.setattr(Quotas, "check", refused)
    with pytest.raises(RuntimeError, match="poll_changes failed"):
        poll_changes.handler({"tenant": TENANT, "connection": CRM}, stack.context)
    assert (CRM, Kind.DEAL, "d1") in ids(stack.queued("changes"))
    (failure,) = [line for line in lines() if line.get("message") == "The connection could not be asked for changes."]
    assert failure["error"] == ["OSError"]


def _refuse(*_):
    raise ThrottledError("Too many.", retry_after_seconds=900)


@pytest.fixture
def inbox(stack):
    """Gives the subjects and texts that people got."""
    clients, topic = stack.clients, stack.deployment.settings.alert_topic_arn
    url = clients.sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})

    def mails():
        return [
            one["Body"] for one in clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        ]

    return mails


def test_nothing_to_say_says_nothing_but_is_measured(stack, lines, inbox):
    assert send_alerts.handler(sample("send_alerts"), stack.context) == {"sent": 0, "gathering": 0}
    assert inbox() == []
    (counted,) = [line for line in lines() if "_aws" in line]
    assert counted["OldestUnsyncedSeconds"] == [0.0]
    assert counted["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Tieout"


def test_a_parked_change_reaches_a_person_once_within_the_hour(stack, inbox):
    stack.world.deal("d1")
    park_change.handler(sample("park_change"), stack.context)
    assert send_alerts.handler({}, stack.context) == {"sent": 1, "gathering": 0}
    (mail,) = inbox()
    assert "tieout parked retry" in mail
    stack.world.deal("d2")
    another = sample("park_change")
    another["Records"][0]["body"] = another["Records"][0]["body"].replace('"d1"', '"d2"')
    park_change.handler(another, stack.context)
    assert send_alerts.handler({}, stack.context) == {"sent": 0, "gathering": 1}
    assert inbox() == []
    stack.world.clock.time += timedelta(hours=1)
    assert send_alerts.handler({}, stack.context) == {"sent": 1, "gathering": 0}
    assert stack.deployment.alerts.pending(TENANT) == []


def test_the_age_of_the_oldest_waiting_change_is_measured(stack, lines):
    stack.world.deal("d1")
    stack.world.books.fault = lambda _: UnavailableError("down")
    apply_changes.handler(sample("retry_changes"), stack.context)
    stack.world.clock.time += timedelta(seconds=90)
    send_alerts.handler({}, stack.context)
    (age,) = [line["OldestUnsyncedSeconds"] for line in lines() if "OldestUnsyncedSeconds" in line]
    assert age == [91.0], "seen a second before the clock's start"


def test_a_topic_that_is_gone_keeps_the_alert(stack):
    stack.world.deal("d1")
    park_change.handler(sample("park_change"), stack.context)
    stack.clients.sns.delete_topic(TopicArn=stack.deployment.settings.alert_topic_arn)
    assert send_alerts.handler({}, stack.context) == {"sent": 0, "gathering": 0}
    assert len(stack.deployment.alerts.pending(TENANT)) == 1


def test_connections_are_probed_before_they_are_swept_and_one_that_fails_does_not_stop_the_others(stack, monkeypatch):
    def down():
        raise UnavailableError("down")

    def revoked():
        raise ReconnectError("The books no longer accept our sign-in.")

    monkeypatch.setattr(stack.world.crm, "probe", down)
    monkeypatch.setattr(stack.world.books, "probe", revoked)
    with pytest.raises(RuntimeError, match="poll_changes failed"):
        poll_changes.handler({"sweep": True}, stack.context)
    books = stack.deployment.config.connection(TENANT, BOOKS)
    assert (books.state, books.paused_because) == (
        ConnectionState.PAUSED,
        "The books no longer accept our sign-in.",
    )
    assert stack.deployment.config.connection(TENANT, CRM).state is ConnectionState.ACTIVE


def test_a_connection_that_is_in_no_sync_is_probed_too(stack):
    spare = replace(stack.deployment.config.connection(TENANT, CRM), id="spare", state=ConnectionState.PAUSED)
    stack.deployment.config.put_connection(spare)
    assert poll_changes.handler({"sweep": True}, stack.context)["asked"] == 3
    assert stack.deployment.config.connection(TENANT, "spare").state is ConnectionState.ACTIVE


def test_a_poll_is_a_contact_unless_there_was_nothing_to_ask_for(stack):
    config = stack.deployment.config
    crm = config.connection(TENANT, CRM)
    config.put_connection(replace(crm, id="spare"))
    assert standing(config, crm).contacted_at is None
    poll_changes.handler({}, stack.context)
    assert standing(config, crm).contacted_at == stack.world.clock.now()
    assert standing(config, replace(crm, id="spare")).contacted_at is None


def test_the_end_of_a_sign_in_reaches_a_person(stack, inbox):
    stack.world.books.manifest = replace(stack.world.books.manifest, sign_in_ends=("ends_at",))
    stack.deployment.secrets.write(
        TENANT, BOOKS, {"ends_at": (stack.world.clock.now() + timedelta(days=7)).isoformat()}
    )
    for _ in range(2):
        poll_changes.handler({"sweep": True}, stack.context)
        send_alerts.handler({}, stack.context)
    (mail,) = inbox()
    assert f"tieout connect {BOOKS} --tenant {TENANT}" in mail
    assert "ends in 7 days" in mail
