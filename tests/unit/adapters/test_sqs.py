from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.aws import START, deploy
from tieout.adapters.sqs import SqsFiles, SqsQueue, decode, encode
from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.errors import SettingsError, UnavailableError
from tieout.domain.records import Kind


def change(number=0, **changes):
    made = {
        "tenant": "acme",
        "connection": "act",
        "kind": Kind.DEAL,
        "id": f"d-{number}",
        "seen_at": START + timedelta(seconds=number),
        "origin": Origin.WEBHOOK,
    }
    return Change(**(made | changes))


@pytest.fixture
def settings(clients):
    return deploy(clients)


@pytest.fixture
def queue(clients, settings, clock):
    lanes = {Lane.LIVE: settings.changes_queue_url, Lane.BACKFILL: settings.backfill_queue_url}
    return SqsQueue(clients.sqs, clock, lanes=lanes, retry=settings.retry_queue_url)


def received(clients, url):
    messages = []
    while found := clients.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    ).get("Messages"):
        messages += found
    return messages


def test_changes_come_back_as_they_were(queue, clients, settings):
    sent = [
        change(1, attempts=3, origin=Origin.POLL),
        change(2, id="Größe/2"),
        change(3, connection="quickbooks", kind=Kind.INVOICE),
        change(4, tenant="globex"),
        change(5, kind=Kind.CUSTOMER, merged_into="88"),
    ]
    queue.send(sent)
    got = [one for message in received(clients, settings.changes_queue_url) for one in decode(message["Body"])]
    assert sorted(got, key=lambda one: one.seen_at) == sent


def test_a_message_holds_fifty_changes_of_one_connection_and_kind(queue, clients, settings):
    queue.send([change(number) for number in range(120)] + [change(200, kind=Kind.COMPANY)])
    messages = received(clients, settings.changes_queue_url)
    assert sorted(len(decode(message["Body"])) for message in messages) == [1, 20, 50, 50]
    assert {message["Attributes"]["MessageGroupId"] for message in messages} == {"acme.act"}


def test_more_than_ten_messages_go_in_several_calls(queue, clients, settings):
    queue.send([change(number, connection=f"c-{number}") for number in range(23)])
    assert len(received(clients, settings.changes_queue_url)) == 23


def test_each_lane_has_its_queue(queue, clients, settings):
    queue.send([change(1), change(2, lane=Lane.BACKFILL)])
    (slow,) = received(clients, settings.backfill_queue_url)
    assert decode(slow["Body"]) == [change(2, lane=Lane.BACKFILL)]
    (live,) = received(clients, settings.changes_queue_url)
    assert decode(live["Body"]) == [change(1)]


def test_another_try_waits_and_keeps_its_lane(queue, clients, settings):
    queue.send_later([change(1, lane=Lane.BACKFILL, attempts=2), change(2)], delay_seconds=900)
    assert received(clients, settings.retry_queue_url) == []
    assert queue.waiting() == {"tieout-changes": 0, "tieout-backfill": 0, "tieout-retry": 2}


def test_another_try_at_once(queue, clients, settings):
    queue.send_later([change(1, lane=Lane.BACKFILL, attempts=2)], delay_seconds=0)
    (message,) = received(clients, settings.retry_queue_url)
    assert decode(message["Body"]) == [change(1, lane=Lane.BACKFILL, attempts=2)]


@pytest.mark.parametrize("delay_seconds", [-1, 901])
def test_a_delay_that_sqs_does_not_know_is_refused(queue, delay_seconds):
    with pytest.raises(ValueError, match="0 to 900"):
        queue.send_later([change()], delay_seconds=delay_seconds)


def test_messages_in_flight_are_counted_too(queue, clients, settings):
    queue.send([change(1), change(2, connection="b"), change(3, connection="c")])
    clients.sqs.receive_message(QueueUrl=settings.changes_queue_url, MaxNumberOfMessages=1)
    assert queue.waiting()["tieout-changes"] == 3


def failing(clients, *, times, sender_fault=False):
    """The last message of each call fails `times` times."""
    calls = []

    def fail(parsed, **_):
        calls.append(parsed)
        if len(calls) <= times:
            last = parsed["Successful"].pop()
            parsed["Failed"] = [{"Id": last["Id"], "Code": "InternalError", "SenderFault": sender_fault}]

    clients.sqs.meta.events.register("after-call.sqs.SendMessageBatch", fail)
    return calls


def test_messages_that_were_not_stored_are_sent_again(queue, clients, clock):
    calls = failing(clients, times=2)
    queue.send([change(1), change(2, connection="b")])
    assert [len(call["Successful"]) for call in calls] == [1, 0, 1]
    assert len(clock.slept) == 2


def test_messages_that_are_never_stored_raise(queue, clients, clock):
    calls = failing(clients, times=99)
    with pytest.raises(UnavailableError) as raised:
        queue.send([change(1)])
    assert len(calls) == 4
    assert raised.value.detail == "SQS: InternalError"
    assert sum(clock.slept) < 5


def test_a_message_that_sqs_refuses_is_not_tried_again(queue, clients):
    calls = failing(clients, times=99, sender_fault=True)
    with pytest.raises(UnavailableError):
        queue.send([change(1)])
    assert len(calls) == 1


def test_a_queue_that_is_gone_raises(queue, clients, settings):
    clients.sqs.delete_queue(QueueUrl=settings.changes_queue_url)
    with pytest.raises(UnavailableError):
        queue.send([change(1)])


def test_a_lane_without_a_queue_raises(clients, settings, clock):
    queue = SqsQueue(clients.sqs, clock, lanes={Lane.LIVE: settings.changes_queue_url}, retry="")
    with pytest.raises(SettingsError):
        queue.send([change(1, lane=Lane.BACKFILL)])
    with pytest.raises(SettingsError):
        queue.send_later([change(1)], delay_seconds=1)
    assert queue.waiting() == {"tieout-changes": 0}


GOOD = json.loads(encode([change(1)]))
CHANGE = GOOD["changes"][0]


def without(name, whole=GOOD):
    return {key: value for key, value in whole.items() if key != name}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "jane@acme.example",
        "[]",
        '"text"',
        "7",
        "null",
        *(json.dumps(without(name)) for name in GOOD),
        *(json.dumps(GOOD | {"changes": [without(name, CHANGE)]}) for name in CHANGE),
        json.dumps(GOOD | {"v": 2}),
        json.dumps(GOOD | {"tenant": ""}),
        json.dumps(GOOD | {"tenant": 7}),
        json.dumps(GOOD | {"kind": "jane@acme.example"}),
        json.dumps(GOOD | {"lane": "fast"}),
        json.dumps(GOOD | {"changes": []}),
        json.dumps(GOOD | {"changes": ["jane@acme.example"]}),
        json.dumps(GOOD | {"changes": [CHANGE | {"seen_at": "jane@acme.example"}]}),
        json.dumps(GOOD | {"changes": [CHANGE | {"seen_at": "2026-11-22T09:00:00"}]}),
        json.dumps(GOOD | {"changes": [CHANGE | {"attempts": -1}]}),
        json.dumps(GOOD | {"changes": [CHANGE | {"attempts": "3"}]}),
    ],
)
def test_a_message_of_another_form_is_refused_without_repeating_it(body):
    with pytest.raises(ValueError, match="the message") as raised:
        decode(body)
    assert "jane" not in str(raised.value)


def test_a_file_waits_with_its_place_and_its_run(clients):
    url = clients.sqs.create_queue(QueueName="tieout-files")["QueueUrl"]
    SqsFiles(clients.sqs, url).send("inbox/acme.office/a.csv", delay_seconds=0, run="i/2")
    (message,) = clients.sqs.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"]) == {"place": "inbox/acme.office/a.csv", "run": "i/2"}


def test_a_file_that_the_queue_does_not_take_is_told(clients):
    files = SqsFiles(clients.sqs, "https://sqs.eu-west-1.amazonaws.com/123456789012/none")
    with pytest.raises(UnavailableError):
        files.send("inbox/acme.office/a.csv", delay_seconds=0)
