"""Secrets and personal data are planted wherever a function meets them; none may come out in a log."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from functions.apply_changes import app as apply_changes
from functions.archive_audit import app as archive_audit
from functions.park_change import app as park_change
from functions.poll_changes import app as poll_changes
from functions.receive_webhook import app as receive_webhook
from functions.send_alerts import app as send_alerts
from tests.engine.world import BOOKS, CRM, TENANT
from tests.integration.conftest import sample
from tieout import edge
from tieout.connectors.quickbooks_online import CONNECTOR
from tieout.domain.connections import Connection
from tieout.domain.errors import ReconnectError, RejectedError, UnavailableError, UncertainError
from tieout.domain.records import Kind

VERIFIER = "CANARY-verifier"
CANARIES = ("CANARY", "Canary", "canary")


@pytest.fixture
def planted(stack):
    """A stack whose every secret, name and text says CANARY."""
    for name in (CRM, BOOKS):
        stack.deployment.secrets.write(TENANT, name, {"token": "CANARY-token", "webhook_verifier": VERIFIER})
    stack.world.company("c1", "Canary Corporation")
    company = stack.world.crm.records[Kind.COMPANY, "c1"].fields
    stack.world.crm.put(
        Kind.COMPANY,
        "c1",
        **(company | {"contact": {"name": "Jo Canary", "email": "jo@canary.example"}, "phone": "CANARY"}),
    )
    stack.world.deal("d1", product="GTX Pro")
    stack.world.crm.put(Kind.DEAL, "d1", **(stack.world.crm.records[Kind.DEAL, "d1"].fields | {"name": "Canary deal"}))
    stack.deployment.secrets.read(TENANT, CRM, fresh=True)
    return stack


@pytest.fixture
def silent(logs):
    """Fails if a canary sings."""

    def check(*, said: str = "") -> None:
        told = logs()
        assert said in told, "the log is captured, and says what happened"
        sung = [line for line in told.splitlines() if any(canary in line for canary in CANARIES)]
        assert sung == []

    return check


def webhook(body, *, signed=True):
    event = sample("receive_webhook")
    digest = hmac.new(VERIFIER.encode() if signed else b"other", body.encode(), hashlib.sha256).digest()
    event["headers"] |= {
        "intuit-signature": base64.b64encode(digest).decode(),
        "authorization": "Bearer CANARY",
        "cookie": "CANARY=1",
        "x-name": "Jo Canary",
    }
    event["body"] = body
    event["rawQueryString"] = "token=CANARY"
    event["queryStringParameters"] = {"token": "CANARY"}
    return event


def notification(realm="9341452000000000"):
    entities = [{"name": "Invoice", "id": "1042", "operation": "Update", "note": "Jo Canary jo@canary.example"}]
    return json.dumps({"eventNotifications": [{"realmId": realm, "dataChangeEvent": {"entities": entities}}]})


@pytest.fixture
def books(planted):
    planted.deployment.config.put_connection(
        Connection(TENANT, BOOKS, "quickbooks_online", account="9341452000000000", settings={"name": "CANARY"})
    )
    return planted


@pytest.mark.parametrize(
    ("body", "signed", "status"),
    [
        (notification(), True, 200),
        (notification(), False, 401),
        ("Jo Canary, not JSON", True, 400),
        ('{"Canary": 1}', True, 400),
    ],
)
def test_a_webhook(books, silent, body, signed, status):
    assert receive_webhook.handler(webhook(body, signed=signed), books.context) == {"statusCode": status}
    silent(said="A webhook came in.")


def test_a_webhook_that_the_queue_does_not_store(books, silent):
    books.clients.sqs.delete_queue(QueueUrl=books.deployment.settings.changes_queue_url)
    assert receive_webhook.handler(webhook(notification()), books.context) == {"statusCode": 503}
    silent(said="UnavailableError")


def test_a_webhook_that_breaks_the_function(books, silent, monkeypatch):
    def broken(_self, webhook):
        raise KeyError(webhook.body, webhook.headers) from ValueError("Jo Canary")

    monkeypatch.setattr(type(CONNECTOR), "hints", broken)
    monkeypatch.setattr(type(CONNECTOR), "verify", lambda *_: None)
    monkeypatch.setattr(type(CONNECTOR), "hints", broken)
    with pytest.raises(RuntimeError) as raised:
        receive_webhook.handler(webhook(notification()), books.context)
    assert not any(canary in repr(raised.value) for canary in CANARIES)
    assert raised.value.__cause__ is raised.value.__context__ is None
    silent(said="KeyError")


def test_an_invoice_that_is_written(planted, silent):
    assert apply_changes.handler(sample("retry_changes"), planted.context) == {"batchItemFailures": []}
    (invoice,) = planted.world.invoices()
    (customer,) = planted.world.books.all(Kind.CUSTOMER)
    assert "Canary" in str(customer.fields), "the canary went the whole way"
    assert invoice.fields["total"]
    silent(said="Changes reached their end.")


@pytest.mark.parametrize(
    "error",
    [
        RejectedError("Customer Jo Canary is there already.", field="name", next_step="Rename Canary.", code="6240"),
        UnavailableError("CANARY is down."),
        UncertainError("CANARY gave no answer."),
        ReconnectError("CANARY token revoked."),
        RuntimeError("CANARY in a bug"),
        KeyError("jo@canary.example"),
    ],
)
def test_a_write_that_fails(planted, silent, monkeypatch, error):
    def fail(_effects):
        raise error

    monkeypatch.setattr(planted.world.books, "write", fail)
    apply_changes.handler(sample("retry_changes"), planted.context)
    silent(said="apply_changes")


def test_a_dead_letter_and_its_alert(planted, silent):
    event = sample("park_change")
    event["Records"][0]["attributes"]["Canary"] = "CANARY"
    event["Records"].append(event["Records"][0] | {"messageId": "m-2", "body": "Jo Canary"})
    assert park_change.handler(event, planted.context) == {"batchItemFailures": [{"itemIdentifier": "m-2"}]}
    send_alerts.handler({"Canary": "CANARY"}, planted.context)
    silent(said="m-2")


def test_the_table_stream_that_is_archived_or_cannot_be(planted, silent, monkeypatch):
    event = sample("archive_audit")
    for record in event["Records"]:
        record["dynamodb"]["NewImage"]["base"] = {"S": '{"name":"Jo Canary"}'}
    assert archive_audit.handler(event, planted.context) == {"batchItemFailures": []}

    def fail(**_):
        raise ValueError("Jo Canary")

    monkeypatch.setattr(planted.clients.s3, "list_objects_v2", fail)
    event["Records"][0]["dynamodb"]["NewImage"]["revision"] = {"S": "Jo Canary"}
    event["Records"].append(event["Records"][0] | {"dynamodb": {"Keys": {"pk": {"S": "other#link#s"}}}})
    event["Records"][-1]["dynamodb"] |= {"SequenceNumber": "9", "NewImage": {"pk": {"NULL": "Jo Canary"}}}
    assert len(archive_audit.handler(event, planted.context)["batchItemFailures"]) == 2
    silent(said="ValueError")


@pytest.mark.parametrize("error", [UnavailableError("CANARY is down."), ValueError("Jo Canary")])
def test_a_poll_that_fails(planted, silent, monkeypatch, error):
    poll_changes.handler({}, planted.context)

    def fail(*_):
        raise error

    monkeypatch.setattr(planted.world.crm, "changes", fail)
    with pytest.raises(RuntimeError, match="the log says where"):
        poll_changes.handler({}, planted.context)
    silent(said=type(error).__name__)


def test_the_captured_log_is_the_real_one(logs):
    edge.logger.info("Jo Canary")
    assert "Jo Canary" in logs()
