"""Won deals become invoices and payments come back, in the deployed stack: on a calm day, a rough one, and with murder.

Each test has deals of its own, so that they run in any order.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.e2e.deployed import FORMER_VERIFIER, WON, Deployed
from tieout_sandbox.simulators.quickbooks_online.settings import WebhookForm
from tieout_sandbox.simulators.quickbooks_online.side import WEBHOOK_VERIFIER
from tieout_sandbox.simulators.quickbooks_online.webhooks import Event, body_of, signature
from tieout_sandbox.stage import SYNC

pytestmark = pytest.mark.e2e

CALM, PAID, SIGNED, ROUGH, POLLED = WON[:60], WON[60:62], WON[62:64], WON[100:130], WON[160:163]
KILLS = 2
SETTLED_SECONDS_MAX = 150  # a dead worker's claims are left alone for 12 seconds, and looked up twice
REALM = "9130350000000001"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
BATCH = {"method": "POST", "path": "/v3/company/*/batch"}
SLOW = {"kind": "latency", "seconds": 1, "match": BATCH}  # long enough to be caught at it
# Few calls, so one in three to five of them fails; not for ever, as waits double with each failure. Throttling is left
# to the tests with simulated time: a client waits for a minute then.
ROUGH_ACT = [
    {"kind": "status", "status": 500, "probability": 0.2, "times": 2, "match": {"path": "/act.web.api/api/*"}},
    {"kind": "reset", "probability": 0.2, "times": 2, "match": {"path": "/act.web.api/api/*"}},
]
ROUGH_BOOKS = [
    {"kind": "ignore_request_id", "match": BATCH},
    {"kind": "lost_answer", "probability": 0.3, "times": 2, "match": BATCH},
    {"kind": "status", "status": 500, "probability": 0.2, "times": 2, "match": {"path": "/v3/*"}},
]


def apply(deployed: Deployed, deals):
    records = [option for deal in deals for option in ("--record", deal["id"])]
    return deployed.stage.ask("apply", SYNC, *records, "--yes")


def event(entity, record_id, operation):
    return Event(REALM, entity, str(record_id), operation, NOW)


def pay(deployed: Deployed, deal, **amount):
    """Ids of the payment and of the invoice that it pays."""
    asked = {"doc_number": deal["sourceId"]} | amount
    payment = deployed.stage.books.simulator.call("POST", "/_sandbox/pay", asked)["Payment"]
    return payment["Id"], payment["Line"][0]["LinkedTxn"][0]["TxnId"]


def test_deals_become_invoices_and_a_second_run_writes_nothing(deployed):
    report = apply(deployed, CALM)
    deployed.settle()
    assert report["still_waiting"] == report["parked"] == 0
    assert deployed.invoices(CALM) == deployed.wanted(CALM)
    assert deployed.unsynced() == []

    links, writes = deployed.links(), deployed.writes()
    deployed.see(CALM)
    deployed.settle()

    assert deployed.writes() == writes
    assert deployed.links() == links


def test_edited_deals_are_found_by_polling(deployed):
    for deal in POLLED:
        deployed.stage.crm.edit(deal["id"], details="Signed today.")
    deployed.stage.poll("act")
    deployed.settle()
    assert deployed.invoices(POLLED) == deployed.wanted(POLLED)


@pytest.mark.parametrize("form", WebhookForm)
def test_payments_come_back_by_the_webhooks_that_quickbooks_sends(deployed, form):
    deal = PAID[list(WebhookForm).index(form)]
    apply(deployed, [deal])
    deployed.stage.books.simulator.call("POST", "/_sandbox/settings", {"webhook_form": form})
    half = (Decimal(str(deal["productTotal"])) / 2).quantize(Decimal("0.01"))

    pay(deployed, deal, amount=str(half))
    deployed.until(lambda: deployed.custom(deal).get("payment_status") == "Partly paid", "the first payment")
    pay(deployed, deal)
    deployed.until(lambda: deployed.custom(deal).get("payment_status") == "Paid", "the second payment")

    deployed.settle()
    custom = deployed.custom(deal)
    assert custom["invoice_number"] == deal["sourceId"]
    assert Decimal(str(custom["amount_paid"])) == Decimal(str(deal["productTotal"]))
    assert Decimal(str(custom["balance_due"])) == 0


@pytest.mark.parametrize("form", WebhookForm)
def test_repeated_and_reordered_webhooks_have_one_effect(deployed, form):
    deal = SIGNED[list(WebhookForm).index(form)]
    apply(deployed, [deal])
    deployed.settle()
    books = deployed.stage.books.simulator
    address = books.call("GET", "/_sandbox/settings")["webhook_url"]
    books.call("POST", "/_sandbox/settings", {"webhook_url": ""})  # the test delivers them
    try:
        payment, invoice = pay(deployed, deal)
    finally:
        books.call("POST", "/_sandbox/settings", {"webhook_url": address})
    writes = deployed.writes()
    events = [
        event("Payment", payment, "Create"),
        event("Invoice", invoice, "Update"),
        event("Invoice", invoice, "Create"),
        event("Invoice", 999_999, "Delete"),
    ]
    for some in (events, events, events[::-1], events[1:2], events[1:2]):
        body = body_of(some, form)
        assert deployed.post(body, signature(body, WEBHOOK_VERIFIER)) == (200, b"")

    deployed.settle()

    assert deployed.custom(deal)["payment_status"] == "Paid"
    assert deployed.writes() == {**writes, "act": writes["act"] + 1}
    assert deployed.invoices([deal]) == deployed.wanted([deal])


BODY = body_of([event("Invoice", 1, "Update")], WebhookForm.CLASSIC)
LARGE = b"[" + b" " * 256 * 1024 + b"]"
GOOD = signature(BODY, WEBHOOK_VERIFIER)
REFUSED = {
    "wrong signature": (BODY, signature(BODY, "somebody else's"), "demo.quickbooks", 401),
    "signature of another body": (BODY, signature(BODY + b" ", WEBHOOK_VERIFIER), "demo.quickbooks", 401),
    "no signature": (BODY, None, "demo.quickbooks", 401),
    "empty signature": (BODY, "", "demo.quickbooks", 401),
    "former verifier": (BODY, signature(BODY, FORMER_VERIFIER), "demo.quickbooks", 401),
    "unknown connection": (BODY, GOOD, "demo.nothing", 404),
    "unknown tenant": (BODY, GOOD, "nobody.quickbooks", 404),
    "no connection's name": (BODY, GOOD, "quickbooks", 404),
    "connection without webhooks": (BODY, GOOD, "demo.act", 401),
    "too large": (LARGE, signature(LARGE, WEBHOOK_VERIFIER), "demo.quickbooks", 413),
    "not JSON": (b"not JSON", signature(b"not JSON", WEBHOOK_VERIFIER), "demo.quickbooks", 400),
    "another JSON": (b'{"a":1}', signature(b'{"a":1}', WEBHOOK_VERIFIER), "demo.quickbooks", 400),
}


def test_refused_webhooks_queue_nothing_and_say_nothing(deployed):
    deployed.settle()
    answers = {}
    with deployed.nobody_works():
        for name, (body, signed, connection, _) in REFUSED.items():
            answers[name] = deployed.post(body, signed, connection=connection)
        queued = deployed.depth("ChangesQueue")
        assert deployed.post(BODY, GOOD) == (200, b"")
        after = deployed.depth("ChangesQueue")
    assert answers == {name: (status, b"") for name, (_, _, _, status) in REFUSED.items()}
    assert (queued, after) == (0, 1), "the accepted one shows that the count sees what is queued"
    deployed.settle()


@pytest.mark.skipif(sys.platform != "linux", reason="which process runs which function is read from /proc")
def test_rough_day_with_killed_workers_ends_like_a_calm_one(deployed):
    act, books = deployed.stage.crm.simulator, deployed.stage.books.simulator
    deployed.fail(act, *ROUGH_ACT)
    deployed.fail(books, SLOW, *ROUGH_BOOKS)
    deployed.see(ROUGH, each=10)
    killed: list[int] = []
    left_open: list[int] = []
    for _ in range(KILLS):
        killed.append(deployed.kill_while_writing("ApplyChanges", "RetryChanges"))
        left_open.append(deployed.open_intents())
    fired = deployed.fired(books)
    deployed.fail(books, *ROUGH_BOOKS)
    deployed.settle(SETTLED_SECONDS_MAX)
    fired = {kind: count + fired.get(kind, 0) for kind, count in deployed.fired(books).items()}
    refused = deployed.fired(act)
    deployed.fail(act)
    deployed.fail(books)

    assert all(killed), killed
    assert any(left_open), left_open
    assert fired["lost_answer"] > 0, fired
    assert fired["status"] > 0, fired
    assert refused["status"] + refused["reset"] > 0, refused
    assert deployed.invoices(ROUGH) == deployed.wanted(ROUGH)
    assert deployed.summary()["duplicate_doc_numbers"] == 0
    assert deployed.unsynced() == []


def test_status_says_that_nothing_needs_a_person(deployed):
    deployed.settle()
    assert json.dumps(deployed.stage.ask("status", ends=(0,)))
