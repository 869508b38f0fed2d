"""The Zoho Books connector against its simulator: the suite that every connector passes, and its own quirks.

Every call of every test is held against what is published of Zoho's API.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from flask import Flask, request

from tests.contract.suite import ConnectorContract, SimulatedWorld, all_changes, done, only, update_of
from tests.contract.zoho_published import (
    UNPUBLISHED,
    Judged,
    operations,
    wrong_in_answer,
    wrong_in_body,
    wrong_parameters,
)
from tests.engine.test_services import SERVICES
from tests.engine.world import BOOKS, World
from tieout.connectors import provider
from tieout.connectors.zoho_books import CONNECTOR
from tieout.connectors.zoho_books.manifest import CENTRES
from tieout.domain.documents import (
    Address,
    Allocation,
    CreditNote,
    Customer,
    Discount,
    Document,
    Estimate,
    EstimateStatus,
    Expense,
    Invoice,
    InvoiceStatus,
    Item,
    ItemType,
    Line,
    Payment,
    Project,
    ProjectBilling,
    TimeEntry,
)
from tieout.domain.effects import Done, Effect, MatchedBy, NotDone, Operation, Unknown
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ReconnectError,
    RejectedError,
    SettingsError,
    SignatureError,
    ThrottledError,
    UnavailableError,
)
from tieout.domain.records import Kind
from tieout.mapping import preset
from tieout.ports.connector import Grant, Webhook
from tieout.ports.http import Answer, Http, Request
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.server import serve
from tieout_sandbox.simulators.zoho_books import create_app
from tieout_sandbox.simulators.zoho_books.books import KEYS
from tieout_sandbox.simulators.zoho_books.routes import ZohoBooks
from tieout_sandbox.simulators.zoho_books.webhooks import body_of

ORGANIZATION = "60001234567"
DAY = date(2026, 1, 5)
PLENTY = 1_000_000


class ZohoWorld(SimulatedWorld):
    provider = provider("zoho_books")
    write_match = {"method": "P*", "path": "/books/v3/*"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, clock: SimulatedClock, simulator: ZohoBooks) -> None:
        super().__init__(url, clock, {})
        self.simulator = simulator
        self.books = simulator.books
        self.judge = Judged(self.http)
        self.http: Http = self.judge
        tokens = self.sandbox("POST", "grant")
        self.secrets.history = [
            {
                "client_id": simulator.settings.client_id,
                "client_secret": simulator.settings.client_secret,
                "webhook_secret": simulator.settings.webhook_secret,
                "access_token": tokens["access_token"],
                "refresh_token": tokens["refresh_token"],
                "access_token_expires_at": "2026-01-05T11:00:00+00:00",
                "access_token_issued_at": "2026-01-05T09:00:00+00:00",
            }
        ]
        self._count = itertools.count(1)
        self.customer = self.make("contacts", contact_name="Acme Corporation")
        self.item = self.make("items", name="GTX Pro", rate=Decimal(100))
        self.tax = self.books.taxes()[0]["tax_id"]
        self.travel, self.bank = simulator.settings.accounts
        self.project = self.make(
            "projects",
            project_name="Roof",
            customer_id=self.customer,
            billing_type="based_on_project_hours",
            user_id=self.books.users()[0]["user_id"],
            tasks=[{"task_name": "Services"}],
        )

    def settings(self) -> dict[str, Any]:
        return {"api_url": self.url, "accounts_url": self.url, "tax_id_field": "vat_reg_no"}

    def account(self) -> str:
        return ORGANIZATION

    def make(self, module: str, **fields: object) -> str:
        """Somebody makes a record in Zoho; its id."""
        with self.books.lock:
            row = self.books.create(module, fields)
        return str(row[KEYS[module]])

    def invoice(self, amount: str = "100.00", *, sent: bool = True, **fields: object) -> str:
        """Somebody makes an invoice in Zoho; its id."""
        lines = [{"item_id": self.item, "rate": Decimal(amount), "quantity": 1}]
        made = self.make("invoices", customer_id=self.customer, line_items=lines, **fields)
        if sent:
            with self.books.lock:
                self.books.act("invoices", made, "status/sent")
        return made

    def stored(self, module: str, record_id: str) -> Mapping[str, Any]:
        """What Zoho holds."""
        return self.books.tables[module][record_id]

    def only_invoice(self) -> Mapping[str, Any]:
        """The one invoice that Zoho holds."""
        (row,) = self.books.tables["invoices"].values()
        return row

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        return Kind.INVOICE, [self.invoice() for _ in range(count)]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        self.sandbox("POST", "delete", {"module": "invoices", "id": record_id})

    def revoke(self) -> None:
        self.sandbox("POST", "revoke")

    def webhook(self, *, valid: bool = True) -> Webhook:
        settings = self.simulator.settings
        body = body_of(settings, "invoices", "982000000567114", "edited", self.clock.now())
        secret = settings.webhook_secret if valid else "theformerone"
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return Webhook({"x-zoho-webhook-signature": signature}, body)

    def effect(self, kind: Kind, document: Document) -> Effect:
        number = next(self._count)
        return Effect(f"{number:032x}", Operation.CREATE, kind, document, f"ref{number:09d}")

    def line(self, amount: str = "100.00", **fields: Any) -> Line:
        return Line(item=self.item, amount=Decimal(amount), **fields)

    def sales(self, *lines: Line, **fields: Any) -> dict[str, Any]:
        return {"customer": self.customer, "date": DAY, "currency": "USD", "lines": lines or (self.line(),), **fields}

    def hours(self, **fields: Any) -> dict[str, Any]:
        given = {"project": self.project, "person": "ada@zillum.example", "date": DAY, "hours": Decimal("1.25")}
        return {**given, **fields}

    def expense(self, **fields: Any) -> dict[str, Any]:
        given = {"account": self.travel, "paid_through": self.bank, "date": DAY, "currency": "USD"}
        return {**given, "amount": Decimal("12.34"), **fields}

    def sample_effects(self) -> Sequence[Effect]:
        number = next(self._count)
        address = Address(
            line1="1 Main St", line2="Hof 2", line3="EG", city="Paris", state="IDF", postal_code="75001", country="FR"
        )
        lines = (
            self.line("25.00", quantity=Decimal("2.5"), unit_price=Decimal(10), description="Días"),
            self.line("0.10", quantity=Decimal(1), unit_price=Decimal("0.10"), tax_code=self.tax),
        )
        return [
            self.effect(
                Kind.CUSTOMER,
                Customer(
                    name=f"O'Hara \\ Söhne & Co. {number}",
                    company_name="O'Hara",
                    contact_name="Ada King Lovelace",
                    email="ada@example.test",
                    phone="+33 1 00 00 00 00",
                    website="https://example.test",
                    tax_id="FR40303265045",
                    currency="USD",
                    terms="Net 30",
                    billing_address=address,
                    note="Says [hello]",
                ),
            ),
            self.effect(
                Kind.ITEM,
                Item(
                    name=f"GTX Plus {number}",
                    sku=f"G{number}",
                    type=ItemType.NON_INVENTORY,
                    description="fast",
                    price=Decimal("5.125"),
                    taxable=False,
                ),
            ),
            self.effect(
                Kind.INVOICE,
                Invoice(
                    **self.sales(*lines, number=f"CRM-{number}", discount=Discount(percent=Decimal(10)), memo="Thanks"),
                    status=InvoiceStatus.ISSUED,
                    due_date=date(2026, 2, 4),
                    terms="Net 30",
                ),
            ),
            self.effect(
                Kind.ESTIMATE,
                Estimate(
                    **self.sales(*lines, number=f"Q-{number}", discount=Discount(percent=Decimal(10)), memo="Thanks"),
                    status=EstimateStatus.ACCEPTED,
                    expiry_date=date(2026, 2, 4),
                ),
            ),
            self.effect(Kind.CREDIT_NOTE, CreditNote(**self.sales(number=f"CN-{number}"))),
            self.effect(
                Kind.PROJECT,
                Project(
                    name=f"Kitchen {number}",
                    customer=self.customer,
                    billing=ProjectBilling.FIXED,
                    rate=Decimal("5000.50"),
                    currency="USD",
                    description="Días",
                ),
            ),
            self.effect(
                Kind.TIME_ENTRY,
                TimeEntry(**self.hours(task="Services", note=f"Measured {number}", billable=False)),
            ),
            self.effect(
                Kind.EXPENSE,
                Expense(
                    **self.expense(number=f"E-{number}", description="Taxi", customer=self.customer, billable=True),
                    project=self.project,
                    tax_code=self.tax,
                    tax_included=False,
                ),
            ),
            self.effect(
                Kind.PAYMENT,
                Payment(
                    customer=self.customer,
                    date=DAY,
                    currency="USD",
                    amount=Decimal("40.50"),
                    number=f"P-{number}",
                    allocations=(Allocation(invoice=self.invoice(), amount=Decimal("40.50")),),
                ),
            ),
        ]

    def exact_effects(self) -> Sequence[Effect]:
        lines = (
            self.line("1.00", quantity=Decimal(3), unit_price=Decimal("0.333")),
            self.line("0.00", quantity=Decimal(0), unit_price=Decimal(7)),
            self.line("-0.30", quantity=Decimal("-0.125"), unit_price=Decimal("2.4")),
            self.line("10005534.10", quantity=Decimal(1), unit_price=Decimal("10005534.10")),
        )
        nothing = self.line("0.00", quantity=Decimal(1), unit_price=Decimal("0.00"))
        return [
            self.effect(Kind.INVOICE, Invoice(**self.sales(*lines, discount=Discount(amount=Decimal("0.07"))))),
            self.effect(Kind.INVOICE, Invoice(**self.sales(nothing))),
            self.effect(Kind.ITEM, Item(name="Free", price=Decimal("0.001"), cost=Decimal(0))),
        ]

    def refused_effect(self) -> Effect:
        return self.effect(Kind.INVOICE, Invoice(**self.sales(customer="999999")))

    def draft(self) -> Effect:
        """An effect of which the invoice was made, and whose issuing then failed."""
        effect = self.effect(Kind.INVOICE, Invoice(**self.sales(), status=InvoiceStatus.ISSUED))
        fault = {"kind": "reset", "match": {"method": "POST", "path": "*/status/sent"}}
        outcome = only(self.connector(faults=[fault]).write([effect]))
        assert isinstance(outcome, Unknown)
        return effect


@pytest.fixture
def world() -> Iterator[ZohoWorld]:
    clock = SimulatedClock()
    app = create_app(clock=clock, requests_per_minute=PLENTY, requests_per_day=PLENTY)
    with serve(app) as url:
        opened = ZohoWorld(url, clock, app.extensions["simulator"])
        with opened.session:
            yield opened
    assert opened.judge.problems == []


class TestContract(ConnectorContract):
    """Every connector's tests."""


class TestPublished:
    def test_every_call_is_held_against_what_is_published(self, world):
        connector = world.connector()
        connector.probe()
        for effect in world.sample_effects():
            record = done(connector.write([effect]))
            done(connector.write([update_of(effect, record)]))
            connector.read(effect.kind, [record.id])
            connector.find([effect, replace(effect, id="f" * 32, similar=True)])
            all_changes(connector, effect.kind, connector.cursor_now(effect.kind))
        declined = world.effect(Kind.ESTIMATE, Estimate(**world.sales(), status=EstimateStatus.DECLINED))
        done(connector.write([declined]))
        for active in (False, True):
            project = world.effect(
                Kind.PROJECT, Project(name=f"Was {active}", customer=world.customer, active=not active)
            )
            made = done(connector.write([project]))
            document = Project(name=f"Was {active}", customer=world.customer, active=active)
            done(connector.write([update_of(replace(project, document=document), made)]))
        others = TimeEntry(**world.hours(person="bo@zillum.example", task="Travel"))
        done(connector.write([world.effect(Kind.TIME_ENTRY, others)]))
        for active in (False, True):
            customer, item = Customer(name=f"Was {active}", active=active), Item(name=f"Was {active}", active=active)
            for effect in (world.effect(Kind.CUSTOMER, customer), world.effect(Kind.ITEM, item)):
                document = effect.document.model_copy(update={"active": not active})
                done(connector.write([update_of(replace(effect, document=document), done(connector.write([effect])))]))
        taxed = world.effect(Kind.INVOICE, Invoice(**world.sales(world.line(tax_code="Sales Tax"))))
        issued = done(connector.write([taxed]))
        voided = replace(taxed, document=taxed.document.model_copy(update={"status": InvoiceStatus.VOIDED}))
        done(connector.write([update_of(voided, issued)]))
        paid = world.invoice()
        world.sandbox("POST", "pay", {"invoice": paid})
        connector.read(Kind.INVOICE, [paid])

        by_post = {"CreateBusinessContact", "CreateNewZohoItem", "CreateCustomerInvoice", "CreateCreditNote"}
        by_post |= {"CreateCustomerPayment", "CreateProject", "CreateExpense"}
        assert world.judge.judged == operations().keys() - by_post - {"ListOrganizations"}
        assert world.judge.unpublished == UNPUBLISHED.keys()

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"line_items": [{"item_id": "1"}]}, ".customer_id is missing"),
            ({"customer_id": "1", "line_items": [{"item_id": 1}]}, "line_items.item_id is no string: 1"),
            ({"customer_id": "1", "line_items": [], "private_note": "x"}, "private_note is unknown"),
            ({"customer_id": "1", "line_items": [], "discount": "ten"}, "discount is no number: 'ten'"),
            ({"customer_id": "1", "line_items": [], "invoice_number": "9" * 101}, "invoice_number is longer than 100"),
            ({"customer_id": "1", "line_items": [], "custom_fields": [{"id": 1}]}, "custom_fields are of another form"),
        ],
    )
    def test_the_judge_sees_what_is_wrong(self, body, problem):
        assert list(wrong_in_body("CreateCustomerInvoice", body)) == [problem]

    def test_the_judge_sees_what_is_wrong_in_a_question_and_in_an_answer(self):
        asked = Request("GET", "https://x.test/", write=False, params={"colour": "red", "sort_column": "colour"})
        answered = {"code": 0, "message": "success", "contacts": [{"contact_id": "a1"}], "page_context": {"page": "1"}}

        assert list(wrong_parameters("RetrieveContactList", asked)) == [
            "the parameter organization_id is missing",
            "unknown parameter colour",
            "cannot be sorted by colour",
        ]
        assert list(wrong_in_answer(answered)) == [
            "page_context.page is no integer: '1'",
            "contacts.contact_id is no integer: 'a1'",
        ]


class TestInvoices:
    def test_an_invoice_is_issued_and_not_left_a_draft(self, world):
        record = done(world.connector().write([world.effect(Kind.INVOICE, Invoice(**world.sales()))]))

        assert (record.fields["status"], record.fields["state"]) == ("issued", "open")
        assert world.only_invoice()["status"] == "sent"
        assert str(record.fields["number"]) == "INV-000001"

    def test_a_draft_that_was_left_is_found_unfinished_and_completed_by_the_same_write(self, world):
        effect = world.draft()
        connector = world.connector()

        (match,) = connector.find([effect])[effect.id]
        assert (match.by, match.unfinished, match.record.fields["status"]) == (MatchedBy.REFERENCE, True, "draft")
        record = done(connector.write([effect]))
        assert (record.id, record.fields["status"]) == (match.record.id, "issued")
        (match,) = connector.find([effect])[effect.id]
        assert not match.unfinished
        assert len(world.books.tables["invoices"]) == 1

    def test_the_same_create_again_changes_the_one_that_is_there(self, world):
        connector = world.connector()
        for effect in world.sample_effects():
            first = done(connector.write([effect]))
            if effect.kind in {Kind.PAYMENT, Kind.TIME_ENTRY}:
                continue  # its invoice has no more to pay; hours have no upsert and are looked up
            assert done(connector.write([replace(effect, id="e" * 32)])).id == first.id

    def test_an_issuing_that_is_refused_says_that_the_draft_stands(self, world):
        world.sandbox("POST", "settings", {"refuses_to_send": True})
        outcome = only(world.connector().write([world.effect(Kind.INVOICE, Invoice(**world.sales()))]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert outcome.error.message.startswith("It stands as a draft in Zoho Books, but the last step was refused.")

    def test_an_invoice_is_voided_and_then_left_alone(self, world):
        connector, effect = world.connector(), world.effect(Kind.INVOICE, Invoice(**world.sales()))
        record = done(connector.write([effect]))
        voided = replace(effect, document=Invoice(**world.sales(), status=InvoiceStatus.VOIDED))

        gone = done(connector.write([update_of(voided, record)]))
        assert (gone.fields["status"], gone.fields["state"], gone.fields["balance"]) == ("voided", "voided", 0)
        assert done(connector.write([update_of(voided, gone)])).fields["state"] == "voided"
        refused = only(connector.write([update_of(effect, gone)]))
        assert isinstance(refused, NotDone)
        assert isinstance(refused.error, RejectedError)
        assert refused.error.field == "status"
        never = only(connector.write([replace(voided, id="a" * 32, reference="nevernevern1")]))
        assert isinstance(never, NotDone)

    def test_lines_that_stay_keep_their_ids_and_those_left_out_go(self, world):
        connector = world.connector()
        lines = (world.line(description="one"), world.line("5.00", description="two"), world.line("7.00"))
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(*lines)))
        record = done(connector.write([effect]))
        before = [line["line_item_id"] for line in world.only_invoice()["line_items"]]

        shorter = replace(effect, document=Invoice(**world.sales(*lines[:2])))
        after = done(connector.write([update_of(shorter, record)]))

        assert [line["line_item_id"] for line in world.only_invoice()["line_items"]] == before[:2]
        assert after.fields["total"] == Decimal("105.00")

    def test_a_stale_version_is_a_conflict_though_zoho_itself_knows_none(self, world):
        connector, effect = world.connector(), world.effect(Kind.INVOICE, Invoice(**world.sales()))
        record = done(connector.write([effect]))
        world.clock.advance(60)
        world.sandbox("POST", "pay", {"invoice": record.id, "amount": "10"})

        stale = only(connector.write([update_of(effect, record)]))

        assert isinstance(stale, NotDone)
        assert isinstance(stale.error, ConflictError)
        (now,) = connector.read(Kind.INVOICE, [record.id])
        assert isinstance(only(connector.write([update_of(effect, now)])), Done)

    def test_how_far_it_is_paid_and_when_last(self, world):
        made = world.invoice("100.00")
        connector = world.connector()
        shown = []
        for amount, day in (("30", "2026-02-01"), ("70", "2026-03-01")):
            world.sandbox("POST", "pay", {"invoice": made, "amount": amount, "date": day})
            (record,) = connector.read(Kind.INVOICE, [made])
            shown.append([record.fields[name] for name in ("state", "paid", "balance", "last_payment_on")])

        assert shown == [["partly_paid", 30, 70, date(2026, 2, 1)], ["paid", 100, 0, date(2026, 3, 1)]]

    def test_a_line_whose_amount_is_no_product_of_its_own_keeps_its_amount(self, world):
        lines = (
            world.line("180.00", quantity=Decimal(2), unit_price=Decimal(100)),
            world.line("100.00", quantity=Decimal(3), unit_price=Decimal(40)),
            world.line("12.00"),
        )
        record = done(world.connector().write([world.effect(Kind.INVOICE, Invoice(**world.sales(*lines)))]))

        shown = [(line["quantity"], line["unit_price"], line["amount"]) for line in record.fields["lines"]]
        assert shown == [(2, 90, 180), (1, 100, 100), (1, 12, 12)]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"note": "private"}, "note"),
            ({"email": "a@b.example"}, "email"),
            ({"billing_address": Address(city="Paris")}, "billing_address"),
            ({"terms": "as usual"}, "terms"),
            ({"currency": "EUR"}, "currency"),
        ],
    )
    def test_what_zoho_has_no_place_for_is_refused_and_not_dropped(self, world, fields, field):
        outcome = only(world.connector().write([world.effect(Kind.INVOICE, Invoice(**world.sales(**fields)))]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert (outcome.error.field, bool(outcome.error.next_step)) == (field, True)
        assert world.books.tables["invoices"] == {}

    def test_a_copy_that_somebody_made_is_not_taken_for_ours(self, world):
        connector, effect = world.connector(), world.effect(Kind.INVOICE, Invoice(**world.sales()))
        record = done(connector.write([effect]))
        mark = world.only_invoice()["reference_number"]
        world.invoice(reference_number=mark)

        (match,) = connector.find([effect])[effect.id]

        assert match.record.id == record.id

    def test_a_tax_is_named_as_people_write_it(self, world):
        lines = [world.line(tax_code=code) for code in ("sales  TAX", world.tax, "NON")]
        record = done(world.connector().write([world.effect(Kind.INVOICE, Invoice(**world.sales(*lines)))]))

        assert [line["tax_code"] for line in record.fields["lines"]] == [world.tax, world.tax, None]
        assert record.fields["tax_total"] == 16

    @pytest.mark.parametrize(
        ("taxes", "message"),
        [
            ({"GST": 5, "QST": 9}, "Zoho Books has no tax named `VAT`; it has: `GST`, `QST`."),
            ({}, "Zoho Books has no tax named `VAT`; it has: none."),
            ({"VAT": 5, "Vat": 7}, "Zoho Books has several taxes named `VAT`; it has: `VAT`, `Vat`."),
        ],
    )
    def test_a_tax_that_is_not_there_is_refused_with_those_that_are(self, world, taxes, message):
        world.sandbox("POST", "settings", {"taxes": taxes})
        document = Invoice(**world.sales(world.line(tax_code="VAT")))
        outcome = only(world.connector().write([world.effect(Kind.INVOICE, document)]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert (outcome.error.message, outcome.error.field) == (message, "lines")
        assert world.books.tables["invoices"] == {}

    def test_two_of_ours_are_shown_where_zoho_ignored_the_unique_field(self, world):
        world.sandbox("POST", "settings", {"upserts": False})
        connector, effect = world.connector(), world.effect(Kind.INVOICE, Invoice(**world.sales()))
        ids = {done(connector.write([each])).id for each in (effect, replace(effect, id="b" * 32))}

        assert {match.record.id for match in connector.find([effect])[effect.id]} == ids


class TestEstimates:
    def test_an_estimate_is_sent_accepted_and_shown_as_zoho_says(self, world):
        connector, effect = world.connector(), world.effect(Kind.ESTIMATE, Estimate(**world.sales()))
        sent = done(connector.write([effect]))
        accepted = replace(effect, document=Estimate(**world.sales(), status=EstimateStatus.ACCEPTED))
        taken = done(connector.write([update_of(accepted, sent)]))
        with world.books.lock:
            world.books.tables["estimates"][taken.id]["status"] = "invoiced"
        (invoiced,) = connector.read(Kind.ESTIMATE, [taken.id])

        shown = [(record.fields["status"], record.fields["state"]) for record in (sent, taken, invoiced)]
        assert shown == [("sent", "open"), ("accepted", "accepted"), ("accepted", "invoiced")]
        assert (sent.fields["number"], sent.fields["total"]) == ("EST-000001", 100)

    def test_a_draft_that_was_left_is_completed_by_the_same_write(self, world):
        effect = world.effect(Kind.ESTIMATE, Estimate(**world.sales(), status=EstimateStatus.DECLINED))
        fault = {"kind": "reset", "match": {"method": "POST", "path": "*/status/sent"}}
        assert isinstance(only(world.connector(faults=[fault]).write([effect])), Unknown)
        connector = world.connector()
        (match,) = connector.find([effect])[effect.id]
        assert (match.unfinished, match.record.fields["status"]) == (True, "draft")

        record = done(connector.write([effect]))

        assert (record.id, record.fields["status"]) == (match.record.id, "declined")
        assert len(world.books.tables["estimates"]) == 1

    def test_what_was_accepted_is_not_sent_anew(self, world):
        connector, effect = world.connector(), world.effect(Kind.ESTIMATE, Estimate(**world.sales()))
        sent = done(connector.write([effect]))
        accepted = replace(effect, document=Estimate(**world.sales(), status=EstimateStatus.ACCEPTED))
        taken = done(connector.write([update_of(accepted, sent)]))

        outcome = only(connector.write([update_of(effect, taken)]))

        assert isinstance(outcome, NotDone)
        assert outcome.error.message.startswith("It stands in Zoho Books, but the last step was refused.")


class TestProjectsAndHours:
    @pytest.mark.parametrize(
        ("fields", "theirs", "shown"),
        [
            ({"billing": ProjectBilling.FIXED, "rate": Decimal(900)}, "fixed_cost_for_project", "fixed"),
            ({"rate": Decimal("95.5")}, "based_on_project_hours", "hourly"),
            ({}, "based_on_staff_hours", "hourly"),
        ],
    )
    def test_how_a_project_is_billed(self, world, fields, theirs, shown):
        document = Project(name="Kitchen", customer=world.customer, **fields)
        record = done(world.connector().write([world.effect(Kind.PROJECT, document)]))

        stored = world.stored("projects", record.id)
        assert (stored["billing_type"], record.fields["billing"]) == (theirs, shown)
        assert record.fields.get("rate") == fields.get("rate")
        assert [task["task_name"] for task in stored["tasks"]] == ["Services"]
        assert [user["email"] for user in stored["users"]] == ["ada@zillum.example"]

    def test_a_project_of_the_same_name_that_is_not_ours_is_not_taken(self, world):
        effect = world.effect(Kind.PROJECT, Project(name="Roof", customer=world.customer))

        assert world.connector().find([effect]) == {}

    def test_hours_bring_their_task_and_their_person_to_the_project(self, world):
        connector = world.connector()
        document = TimeEntry(**world.hours(person="Bo@Zillum.example", task="Travel"))
        record = done(connector.write([world.effect(Kind.TIME_ENTRY, document)]))
        done(connector.write([world.effect(Kind.TIME_ENTRY, document)]))

        project = world.stored("projects", world.project)
        assert [task["task_name"] for task in project["tasks"]] == ["Services", "Travel"]
        assert [user["email"] for user in project["users"]] == ["ada@zillum.example", "bo@zillum.example"]
        assert (record.fields["person"], record.fields["task"]) == ("bo@zillum.example", "Travel")
        assert record.fields["note"] is None

    def test_a_project_keeps_its_mark_behind_its_description(self, world):
        connector = world.connector()
        effect = world.effect(Kind.PROJECT, Project(name="Kitchen", customer=world.customer, description="Oak"))
        record = done(connector.write([effect]))
        renamed = Project(name="Kitchen 2", customer=world.customer, rate=Decimal(80), active=True)
        changed = done(connector.write([update_of(replace(effect, document=renamed), record)]))

        assert world.stored("projects", record.id)["description"] == f"Oak T-{effect.reference.upper()}"
        assert (changed.fields["description"], changed.fields["name"], changed.fields["rate"]) == (
            "Oak",
            "Kitchen 2",
            80,
        )
        assert changed.version != record.version

    @pytest.mark.parametrize(
        ("hours", "log_time"), [("1.25", "01:15"), ("0.33", "00:20"), ("0.02", "00:01"), ("26", "26:00")]
    )
    def test_hours_are_minutes(self, world, hours, log_time):
        document = TimeEntry(**world.hours(hours=Decimal(hours)))
        record = done(world.connector().write([world.effect(Kind.TIME_ENTRY, document)]))

        assert world.stored("timeentries", record.id)["log_time"] == log_time
        assert record.fields["hours"] == Decimal(hours)

    def test_a_changed_entry_has_another_version_and_is_a_conflict(self, world):
        connector, effect = world.connector(), world.effect(Kind.TIME_ENTRY, TimeEntry(**world.hours()))
        record = done(connector.write([effect]))
        with world.books.lock:
            world.books.tables["timeentries"][record.id]["log_time"] = "02:00"

        stale = only(connector.write([update_of(effect, record)]))

        assert isinstance(stale, NotDone)
        assert isinstance(stale.error, ConflictError)

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"hours": Decimal("0.3333")}, "hours"),
            ({"hours": Decimal("0.01")}, "hours"),
            ({"person": "nobody@zillum.example"}, "person"),
            ({"rate": Decimal(90)}, "rate"),
            ({"project": "999"}, ""),
        ],
    )
    def test_hours_that_zoho_cannot_keep(self, world, fields, field):
        outcome = only(world.connector().write([world.effect(Kind.TIME_ENTRY, TimeEntry(**world.hours(**fields)))]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert (outcome.error.field, bool(outcome.error.next_step)) == (field, True)
        assert world.books.tables["timeentries"] == {}


class TestExpenses:
    def test_tax_is_in_the_amount_or_on_top(self, world):
        shown = []
        for included in (True, False):
            document = Expense(**world.expense(amount=Decimal("10.80"), tax_included=included, tax_code="Sales Tax"))
            record = done(world.connector().write([world.effect(Kind.EXPENSE, document)]))
            stored = world.stored("expenses", record.id)
            shown.append((record.fields["amount"], stored["sub_total"], stored["total"]))

        assert shown == [
            (Decimal("10.80"), Decimal("10.00"), Decimal("10.80")),
            (Decimal("10.80"), Decimal("10.80"), Decimal("11.66")),
        ]

    def test_what_it_is_paid_from_may_stand_in_the_connection(self, world):
        document = Expense(**{**world.expense(), "paid_through": None})
        connector = world.connector(expense_account_id=world.bank)
        record = done(connector.write([world.effect(Kind.EXPENSE, document)]))

        assert record.fields["paid_through"] == world.bank

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"account": "Travel"}, "account"),
            ({"paid_through": None}, "paid_through"),
            ({"currency": "EUR"}, "currency"),
            ({"tax_code": "No such tax"}, "tax_code"),
            ({"account": "999"}, ""),
        ],
    )
    def test_expenses_that_zoho_cannot_keep(self, world, fields, field):
        outcome = only(world.connector().write([world.effect(Kind.EXPENSE, Expense(**world.expense(**fields)))]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert (outcome.error.field, world.books.tables["expenses"]) == (field, {})


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "field", "words"),
        [
            ({"locked_until": "2026-01-31"}, "date", "locked the transactions"),
            ({"unique_field_in": ["contacts"]}, "", "custom field that keeps our reference"),
        ],
    )
    def test_what_the_organisation_does_not_allow(self, world, settings, field, words):
        world.sandbox("POST", "settings", settings)
        outcome = only(world.connector().write([world.effect(Kind.INVOICE, Invoice(**world.sales()))]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert (outcome.error.field, words in outcome.error.message) == (field, True)

    def test_a_number_that_is_taken(self, world):
        world.invoice(invoice_number="CRM-1")
        with world.books.lock:
            world.only_invoice()["invoice_number"] = "CRM-1"  # type: ignore[index] # the simulator's own row
        outcome = only(world.connector().write([world.effect(Kind.INVOICE, Invoice(**world.sales(number="CRM-1")))]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert outcome.error.field == "number"

    def test_a_name_that_a_vendor_has(self, world):
        world.make("contacts", contact_name="Söhne", contact_type="vendor")
        effect, connector = world.effect(Kind.CUSTOMER, Customer(name="söhne")), world.connector()

        assert connector.find([effect]) == {}
        outcome = only(connector.write([effect]))
        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert (outcome.error.code, outcome.error.field) == ("3062", "name")

    def test_an_update_of_what_is_gone(self, world):
        effect = replace(world.effect(Kind.ITEM, Item(name="x")), operation=Operation.UPDATE, target_id="9" * 18)
        outcome = only(world.connector().write([effect]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, NotFoundError)

    def test_a_payment_in_another_currency_than_the_customers(self, world):
        world.sandbox("POST", "settings", {"currencies": ["USD", "EUR"]})
        money = {"customer": world.customer, "date": DAY, "amount": Decimal(5)}
        outcomes = [
            only(world.connector().write([world.effect(Kind.PAYMENT, Payment(**money, currency=currency))]))
            for currency in ("USD", "EUR")
        ]

        assert isinstance(outcomes[0], Done)
        assert isinstance(outcomes[1], NotDone)
        assert outcomes[1].error.message == "The customer pays in USD in Zoho Books, and this payment is in EUR."


class TestCustomers:
    def test_another_person_of_the_contact_stays(self, world):
        persons = [
            {"first_name": "Bob", "email": "bob@acme.example"},
            {"first_name": "Ada", "last_name": "King", "email": "ada@acme.example", "is_primary_contact": True},
        ]
        made = world.make("contacts", contact_name="Acme Ltd", contact_persons=persons)
        ids = [person["contact_person_id"] for person in world.stored("contacts", made)["contact_persons"]]
        document = Customer(name="Acme Ltd", email="new@acme.example")
        effect = replace(world.effect(Kind.CUSTOMER, document), operation=Operation.UPDATE, target_id=made)

        record = done(world.connector().write([effect]))

        assert (record.fields["email"], record.fields["contact_name"]) == ("new@acme.example", "Ada King")
        standing = world.stored("contacts", made)["contact_persons"]
        assert [person["contact_person_id"] for person in standing] == ids
        assert [person["email"] for person in standing] == ["bob@acme.example", "new@acme.example"]

    def test_an_inactive_one_is_found_and_made_active(self, world):
        connector = world.connector()
        effect = world.effect(Kind.CUSTOMER, Customer(name="Acme Ltd", active=False))
        record = done(connector.write([effect]))
        assert record.fields["active"] is False

        (match,) = connector.find([effect])[effect.id]
        assert (match.record.id, match.by) == (record.id, MatchedBy.NATURAL_KEY)
        active = replace(effect, document=Customer(name="Acme Ltd", active=True))
        assert done(connector.write([update_of(active, record)])).fields["active"] is True

    def test_those_that_may_be_the_same(self, world):
        world.make("contacts", contact_name="Globex GmbH & Co. KG")
        world.make(
            "contacts",
            contact_name="Hans Moleman",
            contact_persons=[{"email": "Info@Globex.example", "is_primary_contact": True}],
        )
        world.make("contacts", contact_name="Globex Suppliers", contact_type="vendor")
        effect = world.effect(Kind.CUSTOMER, Customer(name="Globex AG", email="info@globex.example"))

        found = world.connector().find([replace(effect, similar=True)])[effect.id]

        names = {str(match.record.fields["name"]) for match in found}
        assert names == {"Globex GmbH & Co. KG", "Hans Moleman"}
        assert {match.by for match in found} == {MatchedBy.SIMILAR}

    @pytest.mark.parametrize(("field", "value"), [("name", "ACME corporation"), ("email", "ADA@acme.example")])
    def test_search(self, world, field, value):
        person = {"email": "ada@acme.example", "is_primary_contact": True}
        made = world.make("contacts", contact_name="Acme Ltd", contact_persons=[person])

        (found,) = world.connector().search(Kind.CUSTOMER, field, [value, "nobody@x.example"])

        assert found.id == (made if field == "email" else world.customer)

    def test_search_of_items(self, world):
        made = world.make("items", name="GTX Plus", rate=1, sku="G-7")
        connector = world.connector()

        assert [item.id for item in connector.search(Kind.ITEM, "sku", ["g-7"])] == [made]
        assert [item.id for item in connector.search(Kind.ITEM, "name", ["gtx plus"])] == [made]
        with pytest.raises(RejectedError):
            connector.search(Kind.INVOICE, "number", ["x"])


class TestFeed:
    @pytest.mark.parametrize("heeds", [True, False])
    @pytest.mark.parametrize("kind", [Kind.INVOICE, Kind.CREDIT_NOTE, Kind.PAYMENT, Kind.CUSTOMER, Kind.ITEM])
    def test_a_list_that_heeds_no_filter_is_read_whole_and_tells_the_same(self, world, heeds, kind):
        world.sandbox("POST", "settings", {"page_rows_max": 2} | ({} if heeds else {"modified_filter_in": []}))
        effect = next(effect for effect in world.sample_effects() if effect.kind is kind)
        connector = world.connector()
        changed = [done(connector.write([effect])).id]
        world.clock.advance(3600)
        cursor = connector.cursor_now(kind)
        for _ in range(3):
            world.clock.advance(600)
            effect = next(effect for effect in world.sample_effects() if effect.kind is kind)
            changed.append(done(connector.write([effect])).id)

        records, gone, following = all_changes(connector, kind, cursor)

        assert {record.id for record in records} & set(changed) == set(changed[1:])
        assert changed[0] not in {record.id for record in records}
        assert not gone
        world.clock.advance(3600)
        _, _, following = all_changes(connector, kind, following)  # what lies in the overlap comes once more
        assert all_changes(connector, kind, following)[0] == []

    def test_a_list_of_documents_is_one_call_for_200_and_shows_what_ties_out(self, world):
        connector = world.connector()
        effects = [world.effect(Kind.INVOICE, Invoice(**world.sales())) for _ in range(3)]
        for effect in effects:
            done(connector.write([effect]))
        world.sandbox("DELETE", "calls")

        records, _, _ = all_changes(connector, Kind.INVOICE, None)

        assert world.sandbox("GET", "calls")["total"] == 1
        assert {record.fields["reference"] for record in records} == {effect.reference for effect in effects}
        assert {(record.fields["total"], record.fields["currency"]) for record in records} == {(Decimal(100), "USD")}
        assert all("lines" not in record.fields for record in records)

    def test_a_poll_costs_a_call_a_kind(self, world):
        connector = world.connector()
        cursors = {kind: connector.cursor_now(kind) for kind in connector.manifest.reads}
        world.sandbox("DELETE", "calls")
        for kind, cursor in cursors.items():
            connector.changes(kind, cursor)

        assert world.sandbox("GET", "calls")["total"] == len(cursors)


class TestCosts:
    def test_calls_of_a_new_invoice_and_of_a_new_customer(self, world):
        connector = world.connector()
        done(connector.write([world.effect(Kind.INVOICE, Invoice(**world.sales()))]))  # currencies are known now
        calls = []
        documents = {Kind.INVOICE: Invoice(**world.sales()), Kind.CUSTOMER: Customer(name="Globex", currency="USD")}
        for kind, document in documents.items():
            world.sandbox("DELETE", "calls")
            done(connector.write([world.effect(kind, document)]))
            calls.append(world.sandbox("GET", "calls")["total"])

        assert calls == [3, 1]


class TestQuotas:
    def test_the_day_is_used_up_and_it_says_until_when(self, world):
        world.sandbox("POST", "settings", {"requests_per_day": 1})
        connector = world.connector(time_zone="America/Los_Angeles")
        connector.probe()

        with pytest.raises(ThrottledError) as caught:
            connector.probe()

        assert caught.value.code == "45"
        assert "goes on by itself after 2026-01-06 00:00 (America/Los_Angeles)" in caught.value.message
        until = world.clock.now() + timedelta(seconds=caught.value.retry_after_seconds)
        assert timedelta(0) < until - datetime(2026, 1, 6, 8, tzinfo=UTC) < timedelta(seconds=2)
        world.clock.advance(caught.value.retry_after_seconds)
        assert connector.probe().id == ORGANIZATION

    @pytest.mark.parametrize(
        ("settings", "code", "seconds"), [({"requests_per_minute": 1}, "44", 60), ({"requests_at_once": 1}, "1070", 5)]
    )
    def test_the_minute_and_calls_at_a_time(self, world, settings, code, seconds):
        connector = world.connector()
        connector.probe()
        world.sandbox("POST", "settings", settings)
        if code == "1070":
            world.simulator._at_once = 1

        effects = world.sample_effects()[:2]
        outcomes = connector.write(effects)

        errors = [outcome.error for outcome in outcomes if isinstance(outcome, NotDone)]
        assert [(type(error), error.code, error.retry_after_seconds) for error in errors] == [
            (ThrottledError, code, seconds)
        ] * 2

    def test_what_would_be_refused_too_is_not_sent(self, world):
        connector = world.connector(faults=[{"kind": "status", "status": 429, "match": {"path": "/books/*"}}])
        world.sandbox("DELETE", "calls")

        connector.write(world.sample_effects())

        assert world.sandbox("GET", "calls")["total"] == 1

    def test_the_plan_decides_the_day_and_the_settings_may_take_less(self, world):
        def limits(**settings: Any) -> dict[str, int]:
            connection = replace(world.context().connection, settings=settings)
            return {limit.name: limit.calls for limit in CONNECTOR.limits_of(connection)}

        free = {"requests_per_minute": 100, "requests_per_day": 1000, "requests_in_flight": 5}
        assert limits() == free
        assert limits(plan="professional") == free | {"requests_per_day": 5000, "requests_in_flight": 10}
        assert limits(requests_per_day=300)["requests_per_day"] == 300


class TestSignIn:
    def test_a_token_that_ended_is_minted_once_for_all_and_stored(self, world):
        world.clock.advance(3500)
        for _ in range(5):
            world.connector().probe()

        assert len(world.secrets.history) == 2
        assert world.lease.taken == ["token"]
        stored = world.secrets.history[-1]
        assert stored["refresh_token"] == world.secrets.history[0]["refresh_token"]
        assert stored["access_token_issued_at"] == world.clock.now().isoformat()

    def test_a_token_refused_early_is_minted_anew_but_not_one_after_the_other(self, world):
        world.simulator.tokens._access.clear()
        connector = world.connector()
        connector.probe()
        world.simulator.tokens._access.clear()

        with pytest.raises(ReconnectError, match="just issued"):
            connector.probe()
        assert len(world.secrets.history) == 2
        world.clock.advance(121)
        connector.probe()
        assert len(world.secrets.history) == 3

    def test_zoho_issues_no_more_tokens_for_now(self, world):
        world.sandbox("POST", "settings", {"tokens_per_ten_minutes": 1})
        world.clock.advance(3600)
        world.connector().probe()
        world.simulator.tokens._access.clear()
        world.clock.advance(130)

        with pytest.raises(ThrottledError) as caught:
            world.connector().probe()
        assert caught.value.retry_after_seconds == 600

    def test_another_organisation_is_not_retried_for_ever(self, world):
        with pytest.raises(ReconnectError):
            world.connector(organization_id="123").probe()
        assert len(world.secrets.history) == 2

    def test_consent_leads_to_the_one_organisation(self, world):
        grant = self._finish(world, self._redirect(world))

        assert grant.account == ORGANIZATION
        world.secrets.write("", "", grant.secrets)
        assert world.connector().probe().currency == "USD"
        assert grant.secrets["refresh_token"] not in repr(grant)

    @pytest.mark.parametrize(
        "changes",
        [
            {"accounts-server": "https://accounts.zoho.eu", "location": "eu"},
            {"accounts-server": "https://accounts.example"},
            {"accounts-server": "", "location": "eu"},
        ],
    )
    def test_no_redirect_leads_the_secret_to_another_host(self, world, changes):
        with pytest.raises(RejectedError) as caught:
            self._finish(world, {**self._redirect(world), **changes})
        assert caught.value.field == "data_center"
        assert "POST /oauth/v2/token" not in world.sandbox("GET", "calls")["routes"]

    def test_a_refused_consent_a_used_code_and_an_unknown_organisation(self, world):
        query = self._redirect(world)
        self._finish(world, query)
        for bad in (query, {"error": "access_denied"}, {}):
            with pytest.raises(RejectedError):
                self._finish(world, bad)
        with pytest.raises(RejectedError) as caught:
            self._finish(world, self._redirect(world), organization_id="7")
        assert caught.value.field == "organization_id"

    def test_an_account_of_another_centre_is_refused(self, world):
        class Elsewhere:
            def send(self, request: Request) -> Any:
                answer = world.http.send(request)
                return replace(answer, body=answer.body.replace(world.url.encode(), b"https://www.zohoapis.eu"))

        world.clock.advance(3600)
        with pytest.raises(ReconnectError, match="another data centre"):
            world.connector(wrap=lambda _: Elsewhere()).probe()
        assert len(world.secrets.history) == 1

    def _redirect(self, world: Any) -> dict[str, str]:
        consent = CONNECTOR.consent
        assert consent is not None
        address = consent.address(
            settings=world.settings(), secrets=world.secrets.read("", ""), redirect="https://t.example/", state="s1"
        )
        answer = requests.get(address, allow_redirects=False, timeout=10)
        return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))

    def _finish(self, world: Any, query: Mapping[str, str], **settings: Any) -> Grant:
        consent = CONNECTOR.consent
        assert consent is not None
        return consent.finish(
            settings={**world.settings(), **settings},
            secrets=world.secrets.read("", ""),
            redirect="https://t.example/",
            query=query,
            http=world.http,
            clock=world.clock,
        )


class TestWebhooks:
    @pytest.mark.parametrize("signs", [True, False])
    def test_what_the_simulator_posts_is_taken(self, world, signs):
        heard: list[Webhook] = []
        with serve(receiver(heard)) as address:
            world.sandbox("POST", "settings", {"webhook_url": f"{address}/hook", "webhook_signs": signs})
            made = world.invoice()
            world.simulator.webhooks.close()

        assert world.sandbox("GET", "webhooks") == {"events": 2, "delivered": 2, "failed": 0, "waiting": 0}
        for webhook in heard:
            CONNECTOR.verify(webhook, world.secrets.read("", ""))
            (hint,) = CONNECTOR.hints(webhook)
            assert (hint.account, hint.kind, hint.id) == (ORGANIZATION, Kind.INVOICE, made)

    def test_a_secret_that_does_not_fit_and_a_signature_beside_a_good_secret(self, world):
        good, secrets = world.webhook(), world.secrets.read("", "")
        carried = {"x-tieout-secret": secrets["webhook_secret"]}
        CONNECTOR.verify(replace(good, headers=carried), secrets)

        for headers in ({"x-tieout-secret": "another"}, {"x-tieout-secret": ""}, {**good.headers, **carried}):
            body = good.body if "x-zoho-webhook-signature" not in headers else good.body + b" "
            with pytest.raises(SignatureError):
                CONNECTOR.verify(Webhook(headers, body), secrets)
        with pytest.raises(SignatureError):
            CONNECTOR.verify(Webhook({"x-tieout-secret": ""}, good.body), {**secrets, "webhook_secret": ""})

    @pytest.mark.parametrize(
        ("module", "kind"),
        [
            ("contact", Kind.CUSTOMER),
            ("customer_payment", Kind.PAYMENT),
            ("Credit Note", Kind.CREDIT_NOTE),
            ("bill", None),
        ],
    )
    def test_modules(self, module, kind):
        hints = CONNECTOR.hints(Webhook({}, json.dumps({"org": "1", "module": module, "id": "2"}).encode()))

        assert [hint.kind for hint in hints] == ([kind] if kind else [])


class TestHostsOfTheCentre:
    @pytest.mark.parametrize("centre", sorted(CENTRES))
    def test_every_call_goes_to_the_centres_own_hosts(self, world, centre):
        hosts: set[str] = set()

        class Nowhere:
            def send(self, request: Request) -> Any:
                hosts.add(f"{urlsplit(request.url).scheme}://{urlsplit(request.url).netloc}")
                if "/oauth/" not in request.url:
                    raise UnavailableError("no route")
                content = {"access_token": "a", "expires_in": 3600, "api_domain": CENTRES[centre].api}
                return Answer(200, {}, json.dumps(content).encode())

        world.clock.advance(7200)
        connector = world.connector(wrap=lambda _: Nowhere(), data_center=centre, api_url=None, accounts_url=None)
        with pytest.raises(UnavailableError):
            connector.probe()

        assert hosts == {CENTRES[centre].accounts, CENTRES[centre].api}

    @pytest.mark.parametrize(
        "settings",
        [
            {"api_url": "https://www.zohoapis.com@evil.example"},
            {"accounts_url": "http://accounts.zoho.com"},
            {"data_center": "moon"},
            {"time_zone": "Mars/Base"},
            {"reference_field": "x"},
        ],
    )
    def test_settings_that_cannot_be(self, world, settings):
        with pytest.raises(SettingsError):
            world.connector(**settings)


class TestWithTheEngine:
    """The preset, from a won deal to an issued invoice and back, whatever is lost on the way."""

    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "lost_answer", "match": {"method": "PUT", "path": "*/invoices"}},
            {"kind": "reset", "match": {"method": "PUT", "path": "*/invoices"}},
            {"kind": "lost_answer", "match": {"method": "POST", "path": "*/status/sent"}},
            {"kind": "reset", "match": {"method": "POST", "path": "*/status/sent"}},
            {"kind": "status", "status": 429, "match": {"method": "POST", "path": "*/status/sent"}},
            {"kind": "lost_answer", "match": {"method": "PUT", "path": "*/contacts"}},
        ],
    )
    def test_a_deal_becomes_one_issued_invoice_and_learns_that_it_is_paid(self, fault):
        engine = World(preset("act-zoho_books").replace("target: zoho ", "target: quickbooks "))
        app = create_app(clock=engine.clock, requests_per_minute=PLENTY, requests_per_day=PLENTY, currencies=["USD"])
        with serve(app) as url:
            zoho = ZohoWorld(url, engine.clock, app.extensions["simulator"])
            with zoho.session:
                engine.books = zoho.connector(faults=[{**fault, "times": 1}])
                engine.engine = engine.new_worker()
                engine.company("c1", "Globex Inc.")
                engine.deal("d1")
                engine.apply("d1")
                engine.settle_down()

                assert engine.unsynced() == []
                issued = zoho.only_invoice()
                assert (issued["status"], issued["total"], issued["invoice_number"]) == ("sent", 1054, "Sd1")
                assert [link.target_id for link in engine.state.links.values() if link.key.step == "invoices"] == [
                    issued["invoice_id"]
                ]
                names = [row["contact_name"] for row in zoho.books.tables["contacts"].values()]
                assert names == ["Acme Corporation", "Globex Inc."]
                zoho.sandbox("POST", "pay", {"invoice": issued["invoice_id"]})
                engine.apply(issued["invoice_id"], kind=Kind.INVOICE, connection=BOOKS)
        shown = engine.crm.records[Kind.DEAL, "d1"].fields["custom_fields"]
        assert (shown["payment_status"], shown["amount_paid"], shown["balance_due"]) == ("Paid", 1054, 0)
        assert zoho.judge.problems == []


class TestServicesWithTheEngine:
    """Hours of another tool, whose project and customer come first, whatever is lost on the way."""

    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "lost_answer", "match": {"method": "POST", "path": "*/projects/timeentries"}},
            {"kind": "reset", "match": {"method": "POST", "path": "*/projects/timeentries"}},
            {"kind": "lost_answer", "match": {"method": "PUT", "path": "*/projects"}},
            {"kind": "lost_answer", "match": {"method": "POST", "path": "*/users"}},
            {"kind": "reset", "match": {"method": "PUT", "path": "*/expenses"}},
            {"kind": "lost_answer", "match": {"method": "POST", "path": "*/status/declined"}},
        ],
    )
    def test_hours_an_expense_and_an_estimate_stand_once(self, fault):
        app = create_app(clock=SimulatedClock(), requests_per_minute=PLENTY, requests_per_day=PLENTY)
        travel, bank = app.extensions["simulator"].settings.accounts
        engine = World(SERVICES.replace('"501"', f'"{travel}"'))
        with serve(app) as url:
            zoho = ZohoWorld(url, app.extensions["simulator"].clock, app.extensions["simulator"])
            with zoho.session:
                engine.books = zoho.connector(faults=[{**fault, "times": 1}], expense_account_id=bank)
                engine.engine = engine.new_worker()
                engine.company("c1", "Globex Inc.")
                given = {"customer": "c1", "custom_fields": {}}
                engine.crm.put(Kind.PROJECT, "j1", name="Roof", rate=Decimal(90), **given)
                hours = {
                    "project": "j1",
                    "person": "bo@zillum.example",
                    "date": DAY,
                    "hours": Decimal("0.75"),
                    "note": "Measured",
                }
                engine.crm.put(Kind.TIME_ENTRY, "h1", billable=True, custom_fields={}, **hours)
                spent = {"project": "j1", "account": "Travel", "currency": "USD", "amount": Decimal("0.10")}
                engine.crm.put(Kind.EXPENSE, "e1", date=DAY, billable=True, **given, **spent)
                engine.deal("d1", status="lost")
                for kind, one in ((Kind.TIME_ENTRY, "h1"), (Kind.EXPENSE, "e1"), (Kind.DEAL, "d1")):
                    engine.apply(one, kind=kind)
                engine.settle_down()

                assert engine.unsynced() == []
                tables = zoho.books.tables
                (entry,), (expense,) = tables["timeentries"].values(), tables["expenses"].values()
                (estimate,) = tables["estimates"].values()
                assert (entry["log_time"], entry["user_name"], entry["is_billable"]) == ("00:45", "Bo Chen", True)
                assert (expense["total"], expense["project_id"]) == (Decimal("0.10"), entry["project_id"])
                assert (estimate["status"], estimate["total"]) == ("declined", 1054)
                assert [row["project_name"] for row in tables["projects"].values()] == ["Roof", "Roof"]
        assert zoho.judge.problems == []


def receiver(heard: list[Webhook]) -> Flask:
    """An application that keeps the webhooks it gets."""
    app = Flask("receiver")

    @app.post("/hook")
    def hear() -> str:
        heard.append(Webhook({name.lower(): value for name, value in request.headers.items()}, request.get_data()))
        return ""

    return app
