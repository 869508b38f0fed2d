from __future__ import annotations

import base64
import copy
import hmac
import json

import pytest

from functions.receive_webhook.app import BODY_BYTES_MAX, handler
from tests.integration.conftest import sample
from tieout.domain.changes import Lane, Origin
from tieout.domain.connections import Connection
from tieout.domain.records import Kind

REALM = "9341452000000000"
VERIFIER = {"webhook_verifier": "sample-verifier-token"}


@pytest.fixture
def books(stack):
    stack.deployment.config.put_connection(Connection("acme", "quickbooks", "quickbooks_online", account=REALM))
    stack.deployment.secrets.write("acme", "quickbooks", VERIFIER)
    return stack


def metrics(lines):
    return {name: line[name] for line in lines() if "_aws" in line for name in line if name.startswith("Webhooks")}


def changed(**changes):
    event = copy.deepcopy(sample("receive_webhook"))
    for name, value in changes.items():
        event[name] = value
    return event


def test_a_signed_webhook_is_queued_and_answered(books, lines):
    assert handler(sample("receive_webhook"), books.context) == {"statusCode": 200}
    queued = books.queued("changes")
    assert {(one.tenant, one.connection, one.kind, one.id) for one in queued} >= {
        ("acme", "quickbooks", Kind.INVOICE, "1042")
    }
    assert {(one.seen_at, one.origin, one.lane) for one in queued} == {
        (books.world.clock.now(), Origin.WEBHOOK, Lane.LIVE)
    }
    assert metrics(lines) == {"WebhooksAccepted": [1.0]}
    (line,) = [line for line in lines() if line.get("message") == "A webhook came in."]
    assert (line["tenant"], line["connection"], line["function"]) == ("acme", "quickbooks", "receive_webhook")
    assert line["outcome"] == "accepted"


def test_the_same_webhook_twice_is_accepted_twice(books):
    for _ in range(2):
        assert handler(sample("receive_webhook"), books.context) == {"statusCode": 200}


def test_a_body_in_base64_is_verified_over_its_bytes(books):
    event = sample("receive_webhook")
    event["body"] = base64.b64encode(event["body"].encode()).decode()
    event["isBase64Encoded"] = True
    assert handler(event, books.context) == {"statusCode": 200}
    assert books.queued("changes")


def test_header_names_have_no_case(books):
    event = sample("receive_webhook")
    event["headers"]["Intuit-Signature"] = event["headers"].pop("intuit-signature")
    assert handler(event, books.context) == {"statusCode": 200}


@pytest.mark.parametrize("signature", [None, "", "wrong", "AAAA"])
def test_a_wrong_signature_is_401_and_queues_nothing(books, lines, signature):
    event = sample("receive_webhook")
    if signature is None:
        del event["headers"]["intuit-signature"]
    else:
        event["headers"]["intuit-signature"] = signature
    assert handler(event, books.context) == {"statusCode": 401}
    assert books.queued("changes") == []
    assert metrics(lines) == {"WebhooksBadSignature": [1.0]}


def test_a_body_that_was_changed_is_401(books):
    event = sample("receive_webhook")
    event["body"] = event["body"].replace("1042", "1043")
    assert handler(event, books.context) == {"statusCode": 401}


def test_a_signature_by_a_former_secret_is_401(books):
    books.deployment.secrets.write("acme", "quickbooks", {"webhook_verifier": "a new one"})
    assert handler(sample("receive_webhook"), books.context) == {"statusCode": 401}


def test_a_connection_without_secrets_is_401(stack):
    stack.deployment.config.put_connection(Connection("acme", "quickbooks", "quickbooks_online", account=REALM))
    assert handler(sample("receive_webhook"), stack.context) == {"statusCode": 401}


@pytest.mark.parametrize(
    "address",
    ["globex.quickbooks", "acme.gone", "acme", "acme.", ".quickbooks", "a#b.quickbooks", "ACME.quickbooks", "", "ä.b"],
)
def test_an_unknown_connection_is_404(books, lines, address):
    event = changed(pathParameters={"connection": address})
    assert handler(event, books.context) == {"statusCode": 404}
    assert metrics(lines) == {"WebhooksUnknownConnection": [1.0]}


def signed(body):
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    event = changed(body=body)
    digest = hmac.new(VERIFIER["webhook_verifier"].encode(), body.encode(), hashlib.sha256).digest()
    event["headers"]["intuit-signature"] = base64.b64encode(digest).decode()
    return event


@pytest.mark.parametrize("body", ["not json", "", "{}", '{"eventNotifications": 7}', "7"])
def test_a_signed_body_of_another_form_is_400(books, lines, body):
    assert handler(signed(body), books.context) == {"statusCode": 400}
    assert books.queued("changes") == []
    assert metrics(lines) == {"WebhooksBadBody": [1.0]}


@pytest.mark.parametrize("body", ["%%%", "abc", "\u00e9\u00e9\u00e9\u00e9"])
def test_a_body_that_is_not_base64_is_400(books, body):
    assert handler(changed(body=body, isBase64Encoded=True), books.context) == {"statusCode": 400}


def test_a_request_without_body_is_401(books):
    event = sample("receive_webhook")
    del event["body"]
    assert handler(event, books.context) == {"statusCode": 401}


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize(("size", "status"), [(BODY_BYTES_MAX, 401), (BODY_BYTES_MAX + 1, 413)])
def test_a_body_over_256_kb_is_413_before_anything_else(books, lines, size, status, encoded):
    body = "x" * size if not encoded else base64.b64encode(b"x" * size).decode()
    assert handler(changed(body=body, isBase64Encoded=encoded), books.context) == {"statusCode": status}
    assert ("WebhooksTooLarge" in metrics(lines)) == (status == 413)


def test_bytes_count_not_letters(books):
    assert handler(changed(body="ä" * (BODY_BYTES_MAX // 2 + 1)), books.context) == {"statusCode": 413}


def test_a_queue_that_does_not_store_is_503_so_that_the_provider_comes_again(books, lines):
    books.clients.sqs.delete_queue(QueueUrl=books.deployment.settings.changes_queue_url)
    assert handler(sample("receive_webhook"), books.context) == {"statusCode": 503}
    assert metrics(lines) == {"WebhooksNotStored": [1.0]}


def test_accepting_a_webhook_calls_no_provider(books):
    assert handler(sample("receive_webhook"), books.context) == {"statusCode": 200}
    assert books.world.crm.calls == books.world.books.calls == {}


def test_a_merge_names_the_record_that_is_left(books):
    merge = {"name": "Customer", "id": "88", "operation": "Merge", "deletedId": "91"}
    body = json.dumps({"eventNotifications": [{"realmId": REALM, "dataChangeEvent": {"entities": [merge]}}]})
    digest = hmac.digest(VERIFIER["webhook_verifier"].encode(), body.encode(), "sha256")
    event = changed(body=body, isBase64Encoded=False)
    event["headers"] = {**event["headers"], "intuit-signature": base64.b64encode(digest).decode()}

    assert handler(event, books.context) == {"statusCode": 200}

    assert {(one.id, one.merged_into) for one in books.queued("changes")} == {("88", ""), ("91", "88")}


@pytest.mark.parametrize("token", ["Validation: <script>alert(1)</script>", "a+b c%"])
def test_a_handshake_is_echoed_as_plain_text_and_nothing_else(stack, token):
    stack.deployment.config.put_connection(Connection("acme", "outlook", "outlook"))
    event = changed(pathParameters={"connection": "acme.outlook"}, queryStringParameters={"validationToken": token})
    answer = handler(event, stack.context)
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (200, token, False)
    assert answer["headers"] == {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    assert stack.queued("changes") == []


@pytest.mark.parametrize(("token", "status"), [("x" * 1025, 401), ("a\nb", 401), ("", 401)])
def test_a_handshake_that_is_none_is_a_webhook_without_proof(stack, token, status):
    stack.deployment.config.put_connection(Connection("acme", "outlook", "outlook"))
    stack.deployment.secrets.write("acme", "outlook", {"webhook_token": "a token of the notifications"})
    event = changed(pathParameters={"connection": "acme.outlook"}, queryStringParameters={"validationToken": token})
    assert handler(event, stack.context) == {"statusCode": status}
