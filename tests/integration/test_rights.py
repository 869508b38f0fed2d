"""What the functions ask of AWS, against what the template lets their roles do."""

from __future__ import annotations

from typing import Any

import pytest

from functions.apply_changes import app as apply_changes
from functions.archive_audit import app as archive_audit
from functions.import_file import app as import_file
from functions.park_change import app as park_change
from functions.poll_changes import app as poll_changes
from functions.receive_webhook import app as receive_webhook
from functions.send_alerts import app as send_alerts
from tests.aws import template
from tests.engine.world import TENANT
from tests.integration.conftest import sample
from tests.integration.office import INBOX, event_of, export, open_office, people
from tieout.domain.bridge import Job
from tieout.domain.connections import Connection
from tieout.domain.errors import ReconnectError
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind
from tieout.engine import import_rows

SERVICES = {"dynamodb": "dynamodb", "sqs": "sqs", "sns": "sns", "secrets_manager": "secretsmanager", "s3": "s3"}
# Calls whose right has another name.
RIGHTS = {"SendMessageBatch": "SendMessage", "ListObjectsV2": "ListBucket"}
# What Lambda itself asks with the role: to take messages, to read a stream, to log, to trace, to encrypt.
LAMBDAS_OWN = (
    "logs:",
    "xray:",
    "kms:",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
)


def allowed(role: str) -> set[str]:
    statements = template()["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    listed = [one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements]
    return {action for some in listed for action in some if not action.startswith(LAMBDAS_OWN)}


@pytest.fixture
def asked(stack):
    """The rights that were needed since the last look."""
    needed: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        name = model.service_model.service_name
        needed.add(f"{name}:{RIGHTS.get(model.name, model.name)}")

    for client, service in SERVICES.items():
        getattr(stack.clients, client).meta.events.register(f"before-call.{service}", note)

    def look() -> set[str]:
        found = set(needed)
        needed.clear()
        return found

    return look


def turned_away(*_: Any) -> None:
    raise ReconnectError("No.")


def sign_in(stack: Any) -> None:
    """What a connector with a token that rotates does; the stand-ins have none."""
    connector_context = stack.entries["fake_crm"].contexts[-1]
    with connector_context.lease("token"):
        secrets = connector_context.secrets.read(TENANT, "act", fresh=True)
        connector_context.secrets.write(TENANT, "act", secrets)
    stack.deployment.budget.write_budget(TENANT, "act", {}, 0)
    stack.deployment.budget.read_budget(TENANT, "act")


def carry_a_parcel(stack: Any) -> None:
    """What a call to a system in an office does whose body is too large for the table."""
    outbox, now = stack.deployment.outbox, stack.deployment.clock.now()
    outbox.put(Job(TENANT, "office", "1", "write", "x" * 300_000, write=True, queued_at=now, begin_by=now))
    assert len(outbox.job(TENANT, "office", "1").body) == 300_000


@pytest.fixture
def signed_in(stack, asked):
    stack.deployment.secrets.write(TENANT, "act", {"token": "t"})
    asked()


def test_the_receiver(stack, asked):
    for name in ("quickbooks", "other"):
        stack.deployment.config.put_connection(
            Connection("acme", name, "quickbooks_online", account="1" if name == "quickbooks" else "9341452000000000")
        )
        stack.deployment.secrets.write("acme", name, {"webhook_verifier": "sample-verifier-token"})
    stack.deployment.secrets._kept.clear()
    asked()
    assert receive_webhook.handler(sample("receive_webhook"), stack.context) == {"statusCode": 200}
    assert asked() == allowed("ReceiveWebhookRole")


@pytest.mark.usefixtures("signed_in")
def test_the_poller(stack, asked, monkeypatch):
    for one in ("i1", "i2"):
        stack.deployment.links.store(Link(LinkKey(TENANT, "deals-to-invoices", "items", one), target_id=one))
    stack.world.books.put(Kind.ITEM, "i1", name="i1")  # the other was deleted in the books, as two sweeps find
    stack.world.deal("d1")
    links, note = stack.deployment.links, stack.deployment.links.set_unsynced

    def note_while_a_worker_stores_the_link(key: LinkKey, unsynced: Any) -> None:
        note(key, unsynced)
        links.store(Link(key, revision=1, target_id=key.source_id))

    asked()
    with monkeypatch.context() as race:
        race.setattr(links, "set_unsynced", note_while_a_worker_stores_the_link)
        for event in ({}, {"sweep": True}, {"sweep": True}):
            poll_changes.handler(event, stack.context)
    sign_in(stack)
    carry_a_parcel(stack)
    stack.world.deal("d2")
    poll_changes.handler({}, stack.context)
    monkeypatch.setattr(stack.world.crm, "changes", turned_away)
    poll_changes.handler({}, stack.context)
    assert asked() == allowed("PollChangesRole")


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("role", ["ApplyChangesRole", "RetryChangesRole"])
def test_the_workers(stack, asked, role):
    for name in ("d1", "d2", "d3"):
        stack.world.deal(name)
    apply_changes.handler(sample("apply_changes"), stack.context)
    sign_in(stack)
    carry_a_parcel(stack)
    stack.world.books.fault = lambda _: ReconnectError("No.")
    stack.world.deal("d1", amount="7.00")
    apply_changes.handler(sample("apply_changes"), stack.context)
    assert stack.waiting()["retry"] >= 1
    assert asked() - {"sqs:GetQueueAttributes"} == allowed(role)


def test_parking(stack, asked):
    stack.world.deal("d1")
    together = sample("park_change")
    together["Records"].append(
        together["Records"][0] | {"body": together["Records"][0]["body"].replace('"d1"', '"d2"')}
    )
    park_change.handler(together, stack.context)
    park_change.handler(sample("park_change"), stack.context)
    assert asked() == allowed("ParkChangeRole")


def test_archiving(stack, asked):
    event = sample("archive_audit")
    archive_audit.handler(event, stack.context)
    del stack.deployment._archiver  # another process, to which the same is told
    archive_audit.handler(event, stack.context)
    # What is given up is sent there by Lambda, with the function's role.
    assert asked() == allowed("ArchiveAuditRole") - {"sqs:SendMessage"}


def test_sending_alerts(stack, asked):
    needed = set()
    for name in ("d1", "d2"):
        stack.world.deal(name)
        event = sample("park_change")
        event["Records"][0]["body"] = event["Records"][0]["body"].replace('"d1"', f'"{name}"')
        park_change.handler(event, stack.context)
        asked()
        send_alerts.handler({}, stack.context)  # the second time, the hour of the cause still runs
        needed |= asked()
    assert needed == allowed("SendAlertsRole")


def test_importing(stack, asked, monkeypatch):
    monkeypatch.setattr(import_rows, "BATCH_ROWS", 3)
    monkeypatch.setattr(import_rows, "BLOCK_ROWS", 6)
    monkeypatch.setattr(import_rows, "LIVE_ROWS_MAX", 6)
    office = open_office(stack)
    office.decide(export(people(1)))
    office.drop(export([*people(30), ("", "", "", "", "1", "")]))
    times = iter([100_000] * 4 + [1_000] * 4)
    stack.context.get_remaining_time_in_millis = lambda: next(times, 100_000)
    bodies = [sample("import_file")["Records"][0]["body"].replace("acme.office/contacts+of+November.csv", INBOX[6:])]
    needed = set()
    while bodies:
        asked()
        for body in bodies:
            import_file.handler(event_of(body), stack.context)
        needed |= asked()
        bodies = office.messages()
    assert office.last().counts == {"new": 30, "refused": 1}
    # HeadObject is GetObject's right; without ListBucket it says of what is gone that it is forbidden.
    assert needed - {"s3:HeadObject"} == allowed("ImportFileRole") - {"s3:ListBucket"}
