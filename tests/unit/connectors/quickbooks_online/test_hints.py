"""Both bodies of webhooks, and a signature that Intuit made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tieout.connectors.quickbooks_online import CONNECTOR
from tieout.domain.errors import SignatureError
from tieout.domain.records import Kind
from tieout.ports.connector import Hint, Webhook

RECORDED = Path(__file__).parents[3] / "data" / "quickbooks_online" / "webhook"
REALM = "4620816365020074550"


def a_webhook(content: object) -> Webhook:
    return Webhook({}, json.dumps(content).encode())


def test_a_recorded_delivery_proves_itself_and_names_its_invoice():
    body = (RECORDED / "invoice-create-2019-10-30.body.json").read_bytes()
    meta = json.loads((RECORDED / "invoice-create-2019-10-30.meta.json").read_text())
    webhook = Webhook(meta["header"], body)

    CONNECTOR.verify(webhook, {"webhook_verifier": meta["verifier_token_retired"]})

    assert CONNECTOR.hints(webhook) == [Hint(REALM, Kind.INVOICE, "163")]
    with pytest.raises(SignatureError):
        CONNECTOR.verify(webhook, {"webhook_verifier": "another"})


def test_a_classic_body_may_mix_companies_and_repeat():
    def notification(realm, *entities):
        return {"realmId": realm, "dataChangeEvent": {"entities": list(entities)}}

    invoice = {"name": "Invoice", "id": "412", "operation": "Update", "lastUpdated": "2026-01-05T10:12:44.000Z"}
    merge = {"name": "Customer", "id": "88", "operation": "Merge", "deletedId": "91"}
    others = [{"name": "Vendor", "id": "1", "operation": "Create"}, {"name": "Preferences", "id": "1"}]
    content = {"eventNotifications": [notification("1", invoice, invoice, merge, *others), notification("2", invoice)]}

    assert CONNECTOR.hints(a_webhook(content)) == [
        Hint("1", Kind.INVOICE, "412"),
        Hint("1", Kind.CUSTOMER, "88"),
        Hint("1", Kind.CUSTOMER, "91", merged_into="88"),
        Hint("2", Kind.INVOICE, "412"),
    ]


def test_cloud_events():
    def event(kind, record_id="412", data=None):
        return {
            "specversion": "1.0",
            "id": "6f0c2b1e-0001",
            "source": "intuit.example-source",
            "type": kind,
            "time": "2026-01-05T10:12:44.000Z",
            "intuitentityid": record_id,
            "intuitaccountid": REALM,
            "data": data,
        }

    content = [
        event("qbo.invoice.updated.v1"),
        event("qbo.creditmemo.voided.v1", "7"),
        event("qbo.vendor.created.v1"),
        event("other.invoice.updated.v1", "9"),
        event("qbo.customer.merged.v1", "88", {"deletedid": "91"}),
        event("qbo.customer.updated.v1", "89", {"alternative_ids": [{"id": "x"}]}),
        event("qbo.customer.merged.v1", "90", []),
    ]

    assert CONNECTOR.hints(a_webhook(content)) == [
        Hint(REALM, Kind.INVOICE, "412"),
        Hint(REALM, Kind.CREDIT_NOTE, "7"),
        Hint(REALM, Kind.CUSTOMER, "88"),
        Hint(REALM, Kind.CUSTOMER, "91", merged_into="88"),
        Hint(REALM, Kind.CUSTOMER, "89"),
        Hint(REALM, Kind.CUSTOMER, "90"),
    ]


@pytest.mark.parametrize("content", [{}, {"eventNotifications": [{}]}, [{}], [1], 7, None, "x"])
def test_other_bodies_are_refused_without_repeating_them(content):
    with pytest.raises(ValueError, match=r"^not a QuickBooks webhook$"):
        CONNECTOR.hints(a_webhook(content))
