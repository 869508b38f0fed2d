"""Two-way customers through both simulators: real connectors, the table in moto, polls and answers as they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.whole_way import SYNC, TENANT, WholeWay, whole_way
from tieout.domain.changes import Change, Origin
from tieout.domain.documents import Customer, RecordUpdate
from tieout.domain.effects import Done, Effect, Operation
from tieout.domain.errors import ProviderError
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Choice, Decision, Side
from tieout.engine.operate import Operate
from tieout.engine.poll import PollChanges
from tieout.mapping import preset
from tieout.ports.state import StoredSync
from tieout_sandbox import dataset

RAISED = {"requests_per_minute": 60_000, "requests_per_second": 60_000, "batches_per_minute": 60_000}
DEAL = next(deal for deal in dataset.read().opportunities if deal["status"] == "Won" and deal["companies"])


@dataclass
class Customers:
    """One company of Act! that stands in QuickBooks as a customer, and people who edit both."""

    way: WholeWay
    count: Iterator[int] = field(default_factory=itertools.count)

    def connector(self, name: str) -> Any:
        connection = self.way.deployment.config.connection(TENANT, name)
        assert connection is not None
        return self.way.deployment.connect(connection)

    def company(self) -> Record:
        (found,) = self.connector("act").read(Kind.COMPANY, [DEAL["companies"][0]["id"]])
        return found

    def customer(self) -> Record:
        (link,) = self.way.deployment.links.all(TENANT, SYNC, "customers")
        (found,) = self.connector("quickbooks").read(Kind.CUSTOMER, [link.target_id])
        return found

    def edit_company(self, **fields: Any) -> None:
        document = RecordUpdate(fields={name.replace("__", "."): value for name, value in fields.items()})
        self._edit("act", Kind.COMPANY, self.company(), document)

    def edit_customer(self, **fields: Any) -> None:
        former = self.customer()
        document = Customer(**{"name": former.fields["name"], **fields})
        self._edit("quickbooks", Kind.CUSTOMER, former, document)

    def _edit(self, name: str, kind: Kind, record: Record, document: Any) -> None:
        self.way.clock.advance(90)
        effect = Effect(
            f"{next(self.count):032x}", Operation.UPDATE, kind, document, "somebodyelse", record.id, record.version
        )
        (outcome,) = self.connector(name).write([effect])
        assert isinstance(outcome, Done), outcome
        self.way.clock.advance(30)

    def sync(self) -> None:
        """What the schedule does: both sides are polled, and the workers work."""
        poll = PollChanges(
            config=self.way.deployment.config,
            links=self.way.deployment.links,
            alerts=self.way.deployment.alerts,
            queue=self.way.queue,
            connect=self.way.deployment.connect,
            clock=self.way.clock,
        )
        for name in ("act", "quickbooks"):
            poll.poll(TENANT, name)
        self.way.pump()

    def operate(self) -> Operate:
        deployment = self.way.deployment
        return Operate(config=deployment.config, links=deployment.links, queue=self.way.queue, clock=self.way.clock)


def writes_of_act(both: Customers) -> int:
    """How often Act! was written, parts of batches included."""
    return int(both.way.call(both.way.act_url, "GET", "/_sandbox/writes")["writes"])


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Customers]:
    with whole_way(monkeypatch, **RAISED) as way:
        way.connect(**RAISED)
        text = preset("act-quickbooks_online").replace("    to: customer\n", "    to: customer\n    two_way: ask\n")
        way.deployment.config.put_sync(StoredSync(TENANT, SYNC, 2, text, way.clock.now()))
        customers = Customers(way)
        customers.sync()  # notes from where on to look
        way.queue.send([Change(TENANT, "act", Kind.DEAL, DEAL["id"], way.clock.now(), Origin.POLL)])
        way.pump()
        customers.edit_company(contact__phone="+16505550100", address__city="Springfield")
        customers.sync()
        customers.sync()
        assert customers.customer().fields["phone"] == "+16505550100"
        yield customers


def test_a_phone_that_is_changed_in_quickbooks_arrives_in_act(both: Customers):
    address: Any = both.customer().fields["billing_address"]
    both.edit_customer(phone="(650) 555-0199", billing_address=None)
    assert address["city"] == "Springfield"
    both.sync()
    company: Any = both.company().fields
    assert company["contact"]["phone"] == "(650) 555-0199"
    assert company["address"]["city"] is None

    # Echoes of it from both sides change nothing any more.
    both.way.forget_calls()
    before = writes_of_act(both)
    for _ in range(3):
        both.way.clock.advance(600)
        both.sync()
    assert both.way.calls()["quickbooks"]["writes"] == 0
    assert writes_of_act(both) == before
    assert list(both.way.deployment.links.unsynced(TENANT)) == []


def test_both_changed_is_a_review_and_its_answer_ends_it(both: Customers):
    both.edit_company(contact__phone="+16505550111", contact__email="ada@crm.example")
    both.edit_customer(phone="+16505550222")
    both.sync()

    (asked,) = both.operate().reviews(TENANT)
    assert asked.review is not None
    (conflict,) = asked.review.conflicts
    assert (conflict.field, conflict.agreed) == ("phone", "+16505550100")
    assert (conflict.source, conflict.target) == ("+16505550111", "+16505550222")
    assert asked.review.source_edited_by == "integration@seller.example"
    assert asked.review.source_edited_at is not None
    assert asked.review.target_edited_at is not None
    assert asked.review.source_edited_at < asked.review.target_edited_at
    assert both.customer().fields["email"] == "ada@crm.example"

    decision = Decision(
        asked.review.digest, Choice.FIELDS, "grace", both.way.clock.now(), fields={"phone": Side.TARGET}
    )
    both.operate().resolve(TENANT, asked, decision)
    both.way.pump()
    company: Any = both.company().fields
    assert company["contact"]["phone"] == both.customer().fields["phone"] == "+16505550222"
    assert list(both.way.deployment.links.unsynced(TENANT)) == []
    (link,) = both.way.deployment.links.all(TENANT, SYNC, "customers")
    assert link.decision is None


def test_a_rough_network_ends_like_a_calm_one(both: Customers):
    faults = {
        "seed": 7,
        "faults": [
            {"kind": "lost_answer", "probability": 0.3, "match": {"method": "PUT"}},
            {"kind": "lost_answer", "probability": 0.3, "match": {"method": "POST", "path": "*/batch"}},
            {"kind": "status", "status": 503, "probability": 0.1},
        ],
    }
    for number in range(6):
        both.edit_company(contact__email=f"ada{number}@crm.example")
        both.edit_customer(phone=f"+1650555030{number}")
        for url in (both.way.act_url, both.way.books_url):
            both.way.call(url, "PUT", "/_sandbox/faults", faults | {"seed": number})
        with suppress(ProviderError):  # a poll that fails comes again
            both.sync()
        both.way.pump()
        for url in (both.way.act_url, both.way.books_url):
            both.way.call(url, "PUT", "/_sandbox/faults", {"seed": 1, "faults": []})
        both.sync()
        both.sync()
        company: Any = both.company().fields
        assert company["contact"]["phone"] == both.customer().fields["phone"] == f"+1650555030{number}"
        assert company["contact"]["email"] == both.customer().fields["email"] == f"ada{number}@crm.example"
    assert list(both.way.deployment.links.unsynced(TENANT)) == []


@dataclass
class Invoiced(Customers):
    """The deal's invoice, and people who work on it in QuickBooks."""

    def invoice(self) -> Record:
        (link,) = self.way.deployment.links.all(TENANT, SYNC, "invoices")
        (found,) = self.connector("quickbooks").read(Kind.INVOICE, [link.target_id])
        return found

    def deal(self) -> dict[str, Any]:
        (found,) = self.connector("act").read(Kind.DEAL, [DEAL["id"]])
        return dict(found.fields["custom_fields"])

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Somebody saves a record in QuickBooks."""
        connection = self.way.deployment.config.connection(TENANT, "quickbooks")
        assert connection is not None
        token = self.way.deployment.secrets.read(TENANT, "quickbooks")["access_token"]
        self.way.clock.advance(60)
        answer = requests.post(
            f"{self.way.books_url}/v3/company/{connection.account}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=30,
        )
        assert answer.ok, answer.text
        self.way.clock.advance(60)
        (found,) = (value for value in answer.json().values() if isinstance(value, dict))
        return dict(found)


@pytest.fixture
def invoiced(both: Customers) -> Invoiced:
    return Invoiced(both.way)


def test_a_credit_note_that_is_applied_to_the_invoice_shows_in_the_deal(invoiced: Invoiced):
    invoice = invoiced.invoice()
    lines: Any = invoice.fields["lines"]
    customer = {"value": invoice.fields["customer"]}
    line = {
        "DetailType": "SalesItemLineDetail",
        "Amount": 10,
        "SalesItemLineDetail": {"ItemRef": {"value": lines[0]["item"]}},
    }
    note = invoiced.post("creditmemo", {"CustomerRef": customer, "Line": [line]})
    taken = [
        {"Amount": 10, "LinkedTxn": [{"TxnId": invoice.id, "TxnType": "Invoice"}]},
        {"Amount": 10, "LinkedTxn": [{"TxnId": note["Id"], "TxnType": "CreditMemo"}]},
    ]
    invoiced.post("payment", {"CustomerRef": customer, "TotalAmt": 0, "Line": taken})
    invoiced.sync()
    total: Any = invoice.fields["total"]
    assert invoiced.deal()["payment_status"] == "Partly paid"
    assert Decimal(invoiced.deal()["amount_paid"]) == 10
    assert Decimal(invoiced.deal()["balance_due"]) == total - 10


def test_an_invoice_that_is_voided_in_the_books_shows_in_the_deal(invoiced: Invoiced):
    invoice = invoiced.invoice()
    invoiced.post("invoice?operation=void", {"Id": invoice.id, "SyncToken": invoice.version})
    invoiced.sync()
    assert invoiced.deal()["payment_status"] == "Voided"
    assert Decimal(invoiced.deal()["balance_due"]) == 0
