"""The QuickBooks Online connector against its simulator: the suite that every connector passes, and its own quirks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.contract.fakes import MemoryBudgetStore
from tests.contract.suite import (
    ConnectorContract,
    SimulatedWorld,
    all_changes,
    all_ids,
    done,
    effect_id,
    only,
    update_of,
)
from tieout.adapters import lease
from tieout.connectors import provider
from tieout.domain.documents import (
    Address,
    Allocation,
    CreditNote,
    Customer,
    Discount,
    Document,
    Invoice,
    InvoiceStatus,
    Item,
    Line,
    Payment,
)
from tieout.domain.effects import Done, Effect, MatchedBy, NotDone, Operation, Unknown
from tieout.domain.errors import ConflictError, NotFoundError, ReconnectError, RejectedError, UnavailableError
from tieout.domain.records import Kind
from tieout.ports.connector import Webhook
from tieout.transport import Budget, RequestsHttp
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.quickbooks_online import create_app
from tieout_sandbox.simulators.server import serve

REALM = "9130350000000001"
DAY = date(2026, 1, 5)


class QuickBooksWorld(SimulatedWorld):
    provider = provider("quickbooks_online")
    write_match = {"method": "POST", "path": "/v3/company/*/batch"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, clock: SimulatedClock, simulator: Any) -> None:
        super().__init__(url, clock, {})
        self.simulator = simulator
        self.company = simulator.companies[REALM]
        tokens = self.sandbox("POST", "grant", {"realm": REALM})
        self.secrets.write(
            "acme",
            "under-test",
            {
                "client_id": simulator.settings.client_id,
                "client_secret": simulator.settings.client_secret,
                "webhook_verifier": simulator.settings.webhook_verifier_token,
                "access_token": tokens["access_token"],
                "refresh_token": tokens["refresh_token"],
                "access_token_expires_at": "2026-01-05T11:00:00+00:00",
            },
        )
        self.secrets.history = self.secrets.history[-1:]
        self._count = itertools.count(1)
        self.customer = self.make("Customer", DisplayName="Acme Corporation")
        self.item = self.make("Item", Name="GTX Pro", Type="Service", IncomeAccountRef={"value": "1"})

    def settings(self) -> dict[str, Any]:
        return {"base_url": self.url, "token_url": f"{self.url}/oauth2/v1/tokens/bearer"}

    def account(self) -> str:
        return REALM

    def make(self, entity: str, **fields: object) -> str:
        """Somebody makes a record in QuickBooks; its id."""
        with self.company.lock:
            return str(self.company.create(entity, fields)["Id"])

    def stored(self, entity: str, record_id: str) -> dict[str, Any]:
        """What QuickBooks holds."""
        return dict(self.company.books.tables[entity].records[record_id])

    def invoice(self, amount: str = "100.00", **fields: object) -> str:
        """Somebody makes an invoice in QuickBooks; its id."""
        detail = {"ItemRef": {"value": self.item}}
        line = {"Amount": Decimal(amount), "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}
        return self.make("Invoice", CustomerRef={"value": self.customer}, Line=[line], **fields)

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        return Kind.INVOICE, [self.invoice() for _ in range(count)]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        with self.company.lock:
            self.company.delete("Invoice", self.stored("Invoice", record_id))

    def revoke(self) -> None:
        self.sandbox("POST", "revoke", {"realm": REALM})

    def webhook(self, *, valid: bool = True) -> Webhook:
        entity = {"name": "Invoice", "id": "412", "operation": "Update", "lastUpdated": "2026-01-05T10:12:44.000Z"}
        body = {"eventNotifications": [{"realmId": REALM, "dataChangeEvent": {"entities": [entity]}}]}
        return signed(json.dumps(body), self.simulator.settings.webhook_verifier_token if valid else "the former one")

    def effect(self, kind: Kind, document: Document) -> Effect:
        number = next(self._count)
        return Effect(f"{number:032x}", Operation.CREATE, kind, document, f"ref{number:09d}")

    def line(self, amount: str = "100.00", **fields: Any) -> Line:
        return Line(item=self.item, amount=Decimal(amount), **fields)

    def sales(self, *lines: Line, **fields: Any) -> dict[str, Any]:
        return {"customer": self.customer, "date": DAY, "currency": "USD", "lines": lines or (self.line(),), **fields}

    def sample_effects(self) -> Sequence[Effect]:
        number = next(self._count)
        address = Address(line1="1 Main St", city="Paris", state="IDF", postal_code="75001", country="FR")
        lines = (
            self.line("25.00", quantity=Decimal("2.5"), unit_price=Decimal(10), description="Días", tax_code="NON"),
            self.line("0.10", quantity=Decimal(1), unit_price=Decimal("0.10"), service_on=DAY),
        )
        return [
            self.effect(
                Kind.CUSTOMER,
                Customer(
                    name=f"O'Hara \\ Söhne {number}",
                    company_name="O'Hara",
                    contact_name="Ada King Lovelace",
                    email="ada@example.test",
                    phone="+33 1 00 00 00 00",
                    website="https://example.test",
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
                    description="fast",
                    price=Decimal("5.125"),
                    taxable=False,
                ),
            ),
            self.effect(
                Kind.INVOICE,
                Invoice(
                    **self.sales(
                        *lines,
                        number=f"INV-{number}",
                        discount=Discount(percent=Decimal(10)),
                        memo="Thanks",
                        note="From the CRM",
                    ),
                    due_date=date(2026, 2, 4),
                    terms="Net 30",
                    email="ada@example.test",
                    billing_address=address,
                ),
            ),
            self.effect(Kind.CREDIT_NOTE, CreditNote(**self.sales(number=f"CN-{number}"))),
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


def signed(body: str, verifier: str) -> Webhook:
    digest = hmac.new(verifier.encode(), body.encode(), hashlib.sha256).digest()
    return Webhook({"intuit-signature": base64.b64encode(digest).decode()}, body.encode())


@pytest.fixture
def world() -> Iterator[QuickBooksWorld]:
    clock = SimulatedClock()
    plenty = 1_000_000
    app = create_app(
        clock=clock,
        realms=(REALM,),
        requests_per_minute=plenty,
        requests_per_second=plenty,
        batches_per_minute=plenty,
    )
    with serve(app) as url:
        opened = QuickBooksWorld(url, clock, app.extensions["simulator"])
        with opened.session:
            yield opened


class TestContract(ConnectorContract):
    """Every connector's tests."""


class TestWriting:
    def test_thirty_effects_are_one_call(self, world):
        effects = [
            world.effect(Kind.INVOICE, Invoice(**world.sales(world.line(f"{number}.10")))) for number in range(30)
        ]
        world.sandbox("DELETE", "calls")

        outcomes = world.connector().write(effects)

        assert all(isinstance(outcome, Done) for outcome in outcomes)
        calls = world.sandbox("GET", "calls")["routes"]
        assert calls["POST /v3/company/{id}/batch"]["calls"] == 1
        assert set(calls) == {"POST /v3/company/{id}/batch", "GET /v3/company/{id}/preferences"}

    def test_the_same_write_again_gets_the_first_answer(self, world):
        connector, (effect, *_) = world.connector(), world.sample_effects()
        first, second = done(connector.write([effect])), done(connector.write([effect]))

        assert first.id == second.id

    def test_a_new_try_after_a_refusal_is_no_repetition(self, world):
        connector, effect = world.connector(), world.sample_effects()[2]
        world.sandbox("POST", "settings", {"closed_until": "2026-12-31"})
        refused = only(connector.write([effect]))
        world.sandbox("POST", "settings", {"closed_until": None})

        assert isinstance(refused, NotDone)
        assert isinstance(refused.error, RejectedError)
        assert (refused.error.code, refused.error.field) == ("6210", "date")
        assert isinstance(only(connector.write([replace(effect, attempt="2")])), Done)

    def test_an_invoice_without_a_number_gets_one_from_the_company(self, world):
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales()))

        record = done(world.connector().write([effect]))

        assert record.fields["number"]
        assert not str(record.fields["number"]).startswith("T-")

    @pytest.mark.parametrize("number", [None, "INV-7"])
    def test_where_the_company_numbers_nothing_we_do_and_find_it_by_that(self, world, number):
        world.sandbox("POST", "settings", {"custom_txn_numbers": True})
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(number=number)))

        record = done(world.connector().write([effect]))

        assert record.fields["number"] == (number or f"T-{effect.reference.upper()}")
        (match,) = world.connector().find([effect])[effect.id]
        assert (match.record.id, match.by) == (record.id, MatchedBy.REFERENCE)

    def test_a_connection_that_stays_open_learns_of_changed_preferences(self, world):
        connector, numbers = world.connector(), []
        for seconds in (0, 60, 600):
            world.clock.advance(seconds)
            effect = world.effect(Kind.INVOICE, Invoice(**world.sales()))
            numbers.append(str(done(connector.write([effect])).fields["number"])[:2])
            world.sandbox("POST", "settings", {"custom_txn_numbers": True})

        assert numbers[0] != "T-"
        assert numbers[1] != "T-"
        assert numbers[2] == "T-"

    def test_a_document_is_found_though_somebody_renumbered_it(self, world):
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(number="INV-1")))
        record = done(world.connector().write([effect]))
        with world.company.lock:
            stored = world.stored("Invoice", record.id)
            world.company.update("Invoice", {**stored, "sparse": True, "DocNumber": "other"})

        (match,) = world.connector().find([effect])[effect.id]
        assert match.record.id == record.id

    def test_a_number_alone_does_not_make_a_document_ours(self, world):
        world.invoice(DocNumber="INV-1", TxnDate=DAY.isoformat())
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(number="INV-1")))
        connector = world.connector()

        assert connector.find([effect]) == {}
        refused = only(connector.write([effect]))
        assert isinstance(refused, NotDone)
        assert isinstance(refused.error, RejectedError)
        assert (refused.error.code, refused.error.field) == ("6140", "number")

    @pytest.mark.parametrize(("entity", "found"), [("Customer", True), ("Vendor", False)])
    def test_a_name_that_is_taken(self, world, entity, found):
        world.make(entity, DisplayName="O'Hara  & Sons")
        effect = world.effect(Kind.CUSTOMER, Customer(name="o'hara  & sons"))
        connector = world.connector()

        matches = connector.find([effect]).get(effect.id, ())
        refused = only(connector.write([effect]))

        assert [match.by for match in matches] == [MatchedBy.NATURAL_KEY] * found
        assert isinstance(refused, NotDone)
        assert isinstance(refused.error, RejectedError)
        assert (refused.error.code, refused.error.field) == ("6240", "name")
        assert "vendors" in refused.error.message
        assert "suffix" in refused.error.next_step

    def test_an_inactive_customer_is_found_too(self, world):
        effect = world.effect(Kind.CUSTOMER, Customer(name="Sleepy", active=True))
        first = done(world.connector().write([effect]))
        asleep = world.effect(Kind.CUSTOMER, Customer(name="Sleepy", active=False))
        second = done(world.connector().write([update_of(asleep, first)]))

        assert second.fields["active"] is False
        assert [record.id for record in world.connector().read(Kind.CUSTOMER, [first.id])] == [first.id]
        named = str(second.fields["name"])
        assert [record.id for record in world.connector().search(Kind.CUSTOMER, "name", [named])] == [first.id]

    def test_voiding_keeps_the_invoice_with_amounts_of_zero(self, world):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(number="V-1")))
        record = done(connector.write([effect]))
        document = Invoice(**world.sales(number="V-1"), status=InvoiceStatus.VOIDED)

        voided = done(connector.write([update_of(replace(effect, document=document), record)]))

        assert (voided.fields["state"], voided.fields["status"], voided.fields["total"]) == ("voided", "voided", 0)
        assert isinstance(
            only(connector.write([replace(effect, document=document, id=effect_id("n", effect))])), NotDone
        )

    def test_a_paid_invoice_is_credited_by_a_document_of_its_own(self, world):
        connector = world.connector()
        invoice = world.effect(Kind.INVOICE, Invoice(**world.sales(number="C-1")))
        record = done(connector.write([invoice]))
        world.sandbox("POST", "pay", {"invoice": record.id})
        sales = {name: value for name, value in world.sales().items() if name != "number"}
        note = world.effect(Kind.CREDIT_NOTE, CreditNote(**sales, memo="Credit for invoice C-1"))

        credited = done(connector.write([note]))
        again = world.connector().find([note])[note.id]

        assert (credited.fields["total"], credited.fields["balance"]) == (record.fields["total"],) * 2
        assert credited.fields["memo"] == "Credit for invoice C-1"
        assert [(match.record.id, match.by) for match in again] == [(credited.id, MatchedBy.REFERENCE)]
        (paid,) = connector.read(Kind.INVOICE, [record.id])
        assert paid.fields["state"] == "paid"

    def test_a_payment_before_the_void_makes_its_version_stale(self, world):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(number="V-2")))
        record = done(connector.write([effect]))
        world.sandbox("POST", "pay", {"invoice": record.id, "amount": "1.00"})
        document = Invoice(**world.sales(number="V-2"), status=InvoiceStatus.VOIDED)

        outcome = only(connector.write([update_of(replace(effect, document=document), record)]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, ConflictError)

    @pytest.mark.parametrize("status", [InvoiceStatus.ISSUED, InvoiceStatus.VOIDED])
    def test_a_document_that_stands_in_a_closed_period_is_not_touched_even_if_quickbooks_would(self, world, status):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(number="K-1")))
        record = done(connector.write([effect]))
        closed = DAY.isoformat()
        world.sandbox("POST", "settings", {"closed_until": closed})
        later = Invoice(**(world.sales(number="K-1") | {"date": DAY + timedelta(days=40)}), status=status)
        world.sandbox("DELETE", "calls")

        outcome = only(world.connector().write([update_of(replace(effect, document=later), record)]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert (outcome.error.field, outcome.error.code) == ("date", "6210")
        assert outcome.error.message == f"The books are closed up to {closed}, and this invoice is dated {closed}."
        assert "POST /v3/company/{id}/batch" not in world.sandbox("GET", "calls")["routes"]

    def test_only_what_is_dated_in_a_closed_period_is_refused(self, world):
        world.sandbox("POST", "settings", {"closed_until": DAY.isoformat()})
        sales = world.sales()
        early = world.effect(Kind.INVOICE, Invoice(**sales))
        today = world.effect(Kind.CREDIT_NOTE, CreditNote(**(sales | {"date": DAY + timedelta(days=1)})))
        customer = world.effect(Kind.CUSTOMER, Customer(name="New"))

        outcomes = {one.effect_id: one for one in world.connector().write([early, today, customer])}

        assert [type(outcomes[one.id]) for one in (early, today, customer)] == [NotDone, Done, Done]

    def test_the_closing_date_is_asked_once_a_write_and_again_after_a_refusal(self, world):
        world.sandbox("POST", "settings", {"closed_until": DAY.isoformat()})
        sales, connector = world.sales(), world.connector()
        effects = [world.effect(Kind.INVOICE, Invoice(**(sales | {"number": f"E-{number}"}))) for number in range(3)]
        asked = "GET /v3/company/{id}/preferences"
        world.sandbox("DELETE", "calls")

        assert {type(one) for one in connector.write(effects)} == {NotDone}
        assert world.sandbox("GET", "calls")["routes"][asked]["calls"] == 1

        connector.write(effects[:1])
        assert world.sandbox("GET", "calls")["routes"][asked]["calls"] == 2

    def test_an_update_leaves_alone_what_it_does_not_name(self, world):
        connector = world.connector()
        customer = Customer(name="Keeper", email="a@example.test", phone="1", note="theirs")
        effect = world.effect(Kind.CUSTOMER, customer)
        record = done(connector.write([effect]))

        less = replace(effect, document=Customer(name="Keeper", email=None))
        updated = done(connector.write([update_of(less, record)]))

        assert updated.fields["email"] is None
        assert updated.fields["phone"] == "1"
        assert updated.fields["note"] == "theirs"
        assert updated.fields["reference"] == effect.reference

    def test_what_is_not_there_is_said_before_anything_is_sent(self, world):
        wrong = [
            Invoice(**world.sales(), terms="Net 45"),
            Invoice(**(world.sales() | {"currency": "EUR"})),
            Invoice(**world.sales(world.line(tax_code="GST"))),
        ]
        world.sandbox("DELETE", "calls")
        outcomes = world.connector().write([world.effect(Kind.INVOICE, document) for document in wrong])

        fields = []
        for outcome in outcomes:
            assert isinstance(outcome, NotDone)
            assert isinstance(outcome.error, RejectedError)
            fields.append(outcome.error.field)
        assert sorted(fields) == ["currency", "lines", "terms"]
        assert "POST /v3/company/{id}/batch" not in world.sandbox("GET", "calls")["routes"]

    def test_a_failed_look_up_leaves_everything_undone_and_is_not_repeated(self, world):
        fault = {"kind": "status", "status": 503, "match": {"method": "POST", "path": "*/query"}}
        document = Invoice(**world.sales(), terms="Net 30")
        world.sandbox("DELETE", "calls")

        outcomes = world.connector(faults=[fault]).write([world.effect(Kind.INVOICE, document) for _ in range(3)])

        assert [type(outcome) for outcome in outcomes] == [NotDone] * 3
        routes = world.sandbox("GET", "calls")["routes"]
        assert routes["POST /v3/company/{id}/query"]["calls"] == 1
        assert "POST /v3/company/{id}/batch" not in routes

    def test_an_update_of_what_is_gone_is_not_found(self, world):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales()))
        record = done(connector.write([effect]))
        world.delete_record(Kind.INVOICE, record.id)

        outcome = only(connector.write([update_of(effect, record)]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, NotFoundError)

    def test_an_answer_lost_for_a_batch_leaves_every_effect_unknown(self, world):
        effects = world.sample_effects()
        connector = world.connector(faults=[{"kind": "lost_answer", "times": 1, "match": world.write_match}])

        assert all(isinstance(outcome, Unknown) for outcome in connector.write(effects))
        assert {key: len(matches) for key, matches in connector.find(effects).items()} == {
            effect.id: 1 for effect in effects
        }


class TestReading:
    def test_an_invoice_says_how_far_it_is_paid(self, world):
        invoice_id = world.invoice("100.00")
        states = [only(world.connector().read(Kind.INVOICE, [invoice_id])).fields]
        for amount, day in (("30.00", "2026-01-07"), ("70.00", "2026-01-06")):
            world.sandbox("POST", "pay", {"invoice": invoice_id, "amount": amount, "date": day})
            states.append(only(world.connector().read(Kind.INVOICE, [invoice_id])).fields)

        assert [(each["state"], each["paid"], each["balance"]) for each in states] == [
            ("open", 0, 100),
            ("partly_paid", 30, 70),
            ("paid", 100, 0),
        ]
        assert [each["last_payment_on"] for each in states] == [None, date(2026, 1, 7), date(2026, 1, 7)]

    def test_a_payment_names_its_invoices(self, world):
        invoice_id = world.invoice()
        world.sandbox("POST", "pay", {"invoice": invoice_id})

        (payment,), _, _ = all_changes(world.connector(), Kind.PAYMENT, None)

        assert payment.fields["invoice_ids"] == [invoice_id]
        assert payment.fields["amount"] == 100

    def test_searching_ignores_case(self, world):
        world.make("Customer", DisplayName="Mixed Case", PrimaryEmailAddr={"Address": "Mixed@Example.test"})
        connector = world.connector()

        assert len(connector.search(Kind.CUSTOMER, "name", ["mixed CASE", "nobody"])) == 1
        assert len(connector.search(Kind.CUSTOMER, "email", ["mixed@example.TEST"])) == 1
        assert len(connector.search(Kind.ITEM, "name", ["gtx pro"])) == 1
        assert connector.search(Kind.CUSTOMER, "name", []) == []
        with pytest.raises(RejectedError):
            connector.search(Kind.CUSTOMER, "shoe size", ["42"])


class TestFullFeed:
    def test_more_than_a_thousand_changes_since_the_last_poll_lose_no_edit_and_no_recent_deletion(self, world):
        connector = world.connector()
        early = world.invoice()
        cursor = connector.cursor_now(Kind.INVOICE)
        world.clock.advance(600)
        made = []
        for _ in range(1100):
            made.append(world.invoice())
            world.clock.advance(3)
        world.delete_record(Kind.INVOICE, late := made.pop())

        records, gone, cursor = all_changes(connector, Kind.INVOICE, cursor)

        assert {record.id for record in records} - {early} == set(made)
        assert gone == [late]


class TestFeed:
    """Pages of 25 in the place of Intuit's 1,000."""

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch):
        for module in ("feed", "client", "connector"):
            monkeypatch.setattr(f"tieout.connectors.quickbooks_online.{module}.QUERY_ROWS_MAX", 25)
        monkeypatch.setattr("tieout.connectors.quickbooks_online.feed._STEP_WITHIN_SECOND", 20)
        monkeypatch.setattr("tieout.connectors.quickbooks_online.feed._CDC_ROWS_SURE", 20)

    @pytest.mark.parametrize("seconds_between", [0, 1, 0.2])
    def test_pages_of_records_of_equal_times_lose_nothing(self, world, seconds_between):
        made = []
        for _ in range(130):
            made.append(world.invoice())
            world.clock.advance(seconds_between)

        records, _, _ = all_changes(world.connector(), Kind.INVOICE, None)

        assert {record.id for record in records} == set(made)
        assert sorted(all_ids(world.connector(), Kind.INVOICE), key=int) == made

    def test_edits_between_pages_hide_nothing(self, world):
        made = []
        for number in range(90):
            made.append(world.invoice())
            world.clock.advance(number % 3 == 0)
        connector, cursor, seen = world.connector(), None, set()
        for page_number in range(40):
            page = connector.changes(Kind.INVOICE, cursor)
            seen |= {record.id for record in page.records}
            cursor = page.cursor
            for record_id in made[page_number * 4 : page_number * 4 + 4]:  # each edit moves a record to the end
                with world.company.lock:
                    stored = world.stored("Invoice", record_id)
                    world.company.update("Invoice", {**stored, "sparse": True, "PrivateNote": "seen"})
            if not page.more:
                break

        assert not page.more
        assert seen == set(made)

    @pytest.mark.parametrize("held_max", [25, 1000])
    def test_more_changes_than_one_answer_surely_holds_are_walked(self, world, held_max):
        world.sandbox("POST", "settings", {"cdc_objects_max": held_max})
        connector = world.connector()
        cursor = connector.cursor_now(Kind.INVOICE)
        world.clock.advance(600)
        made = []
        for _ in range(70):
            made.append(world.invoice())
            world.clock.advance(1)
        removed = made.pop()
        world.delete_record(Kind.INVOICE, removed)

        records, gone, cursor = all_changes(connector, Kind.INVOICE, cursor)
        later, _, _ = all_changes(connector, Kind.INVOICE, cursor)

        assert {record.id for record in records} == set(made)
        assert gone == [removed]
        assert removed not in all_ids(connector, Kind.INVOICE)
        assert {record.id for record in later} <= set(made)

    def test_a_stretch_with_too_many_changes_is_halved_and_what_was_deleted_early_in_it_is_unsure(self, world):
        world.sandbox("POST", "settings", {"cdc_objects_max": 25})
        connector = world.connector()
        early, late = world.invoice(), world.invoice()
        cursor = connector.cursor_now(Kind.INVOICE)
        world.clock.advance(600)
        world.delete_record(Kind.INVOICE, early)
        for _ in range(70):
            world.invoice()
            world.clock.advance(60)
        world.delete_record(Kind.INVOICE, late)
        world.sandbox("DELETE", "calls")

        page = connector.changes(Kind.INVOICE, cursor)

        assert (list(page.gone), page.deletions_unsure, page.more) == ([late], True, True)
        assert world.sandbox("GET", "calls")["routes"]["GET /v3/company/{id}/cdc"]["calls"] == 4
        _, _, following = all_changes(connector, Kind.INVOICE, page.cursor)
        assert not connector.changes(Kind.INVOICE, following).deletions_unsure

    def test_halving_ends_though_everything_happened_in_one_second(self, world):
        world.sandbox("POST", "settings", {"cdc_objects_max": 25})
        connector = world.connector()
        cursor = connector.cursor_now(Kind.INVOICE)
        made = [world.invoice() for _ in range(70)]
        world.sandbox("DELETE", "calls")

        records, _, _ = all_changes(connector, Kind.INVOICE, cursor)

        assert {record.id for record in records} == set(made)
        assert world.sandbox("GET", "calls")["routes"]["GET /v3/company/{id}/cdc"]["calls"] <= 16

    def test_a_cursor_older_than_capture_reaches_is_walked(self, world):
        connector = world.connector()
        before = world.invoice()
        world.clock.advance(3600)
        cursor = connector.cursor_now(Kind.INVOICE)
        world.clock.advance(3600)
        after = world.invoice()
        world.clock.advance(40 * 86_400)

        assert connector.changes(Kind.INVOICE, cursor).deletions_unsure
        records, _, cursor = all_changes(connector, Kind.INVOICE, cursor)

        assert [record.id for record in records] == [after]
        assert before != after
        assert all_changes(connector, Kind.INVOICE, cursor)[0] == []

    def test_a_customer_that_was_put_to_sleep_is_a_change(self, world):
        connector = world.connector()
        world.clock.advance(3600)
        cursor = connector.cursor_now(Kind.CUSTOMER)
        world.clock.advance(3600)
        with world.company.lock:
            stored = world.stored("Customer", world.customer)
            world.company.update("Customer", {**stored, "sparse": True, "Active": False})

        for start in (cursor, None):
            records, _, _ = all_changes(connector, Kind.CUSTOMER, start)
            assert [record.fields["active"] for record in records if record.id == world.customer] == [False]

    def test_looking_up_reads_every_page(self, world):
        effects = [world.effect(Kind.INVOICE, Invoice(**world.sales())) for _ in range(30)]
        connector = world.connector()
        connector.write(effects[:15])
        connector.write(effects[15:])

        found = connector.find(effects)

        assert len({match.record.id for matches in found.values() for match in matches}) == 30


def lost_answer_to_renewing() -> dict[str, Any]:
    return {"kind": "lost_answer", "times": 1, "match": {"method": "POST", "path": "/oauth2/*"}}


def open_with_lease(world: QuickBooksWorld, held: Any, *, wrap: Any) -> Any:
    return world.provider.open(replace(world.context(wrap=wrap), lease=held))


class MemoryLeases(MemoryBudgetStore):
    """With leases: who holds which, by name."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def take_lease(self, tenant: str, name: str, *, holder: str, until: datetime, now: datetime) -> bool:
        with self._lock:
            if name in self._held and self._held[name][1] > now:
                return False
            self._held[name] = (holder, until)
            return True

    def drop_lease(self, tenant: str, name: str, *, holder: str) -> None:
        with self._lock:
            if self._held.get(name, ("",))[0] == holder:
                del self._held[name]


class TestSignIn:
    def test_a_token_is_renewed_before_it_ends_and_stored_before_it_is_used(self, world):
        world.sandbox("POST", "settings", {"refresh_token_rotates_after_seconds": 0})
        old = world.secrets.history[-1]
        world.clock.advance(3600 - 299)
        stored_at_use = []

        class Watches:
            def __init__(self, http):
                self.http = http

            def send(self, request):
                if "/v3/" in request.url:
                    bearer = request.headers["Authorization"].removeprefix("Bearer ")
                    stored_at_use.append(bearer == world.secrets.history[-1]["access_token"])
                return self.http.send(request)

        connector = world.connector(wrap=Watches)
        connector.probe()
        connector.probe()

        new = world.secrets.history[-1]
        assert len(world.secrets.history) == 2
        assert new["access_token"] != old["access_token"]
        assert new["refresh_token"] != old["refresh_token"]
        assert new["webhook_verifier"] == old["webhook_verifier"]
        assert new["access_token_expires_at"] > old["access_token_expires_at"]
        assert new["refresh_token_expires_at"]
        assert all(stored_at_use)
        assert world.lease.taken == ["token"]

    def test_a_refused_token_is_renewed_once_and_the_write_is_done(self, world):
        effect = world.sample_effects()[0]
        world.secrets.history[-1]["access_token"] = "worn out"

        assert isinstance(only(world.connector().write([effect])), Done)
        assert world.lease.taken == ["token"]

    def test_the_token_of_a_faster_worker_is_taken(self, world):
        slow = world.connector()
        slow.probe()
        fresh = world.sandbox("POST", "grant", {"realm": REALM})
        world.sandbox("POST", "settings", {"client_secret": "so that renewing would fail"})
        world.secrets.write(
            "acme",
            "under-test",
            world.secrets.history[-1]
            | {"access_token": fresh["access_token"], "access_token_expires_at": "2026-01-05T13:00:00+00:00"},
        )
        world.secrets.copy = dict(world.secrets.history[-2])
        world.clock.advance(3400)

        assert slow.probe().id == REALM
        assert world.lease.taken == ["token"]

    def test_an_unknown_refresh_token_asks_to_reconnect(self, world):
        world.secrets.history[-1] |= {"refresh_token": "never given", "access_token": ""}

        with pytest.raises(ReconnectError) as caught:
            world.connector().probe()
        assert caught.value.code == "invalid_grant"
        assert "connect" in caught.value.next_step

    def test_a_lost_answer_to_renewing_leaves_writes_undone(self, world):
        world.secrets.history[-1]["access_token"] = ""
        path = {"method": "POST", "path": "/oauth2/*"}
        connector = world.connector(faults=[{"kind": "lost_answer", "times": 1, "match": path}])
        effect = world.sample_effects()[1]

        first, second = only(connector.write([effect])), only(connector.write([effect]))

        assert isinstance(first, NotDone)
        assert isinstance(first.error, UnavailableError)
        assert isinstance(second, Done)

    def test_a_rotation_whose_answer_is_lost_is_survived_while_the_former_value_works(self, world):
        world.sandbox(
            "POST", "settings", {"refresh_token_rotates_after_seconds": 0, "former_refresh_token_seconds": 86_400}
        )
        old = world.secrets.history[-1]
        world.clock.advance(3600)
        connector = world.connector(faults=[lost_answer_to_renewing()])
        effect = world.sample_effects()[1]

        first = only(connector.write([effect]))
        assert isinstance(first, NotDone)
        assert isinstance(first.error, UnavailableError)
        assert world.secrets.history == [old], "what nobody told us is not stored"

        world.clock.advance(15)
        assert isinstance(only(connector.write([effect])), Done)
        assert world.secrets.history[-1]["refresh_token"] != old["refresh_token"]
        world.clock.advance(2 * 86_400)
        assert connector.probe().id == REALM, "the present value was stored, so the former may die"

    def test_a_rotation_whose_answer_is_lost_asks_to_reconnect_if_the_former_value_died(self, world):
        world.sandbox("POST", "settings", {"refresh_token_rotates_after_seconds": 0})
        world.clock.advance(3600)
        connector = world.connector(faults=[lost_answer_to_renewing()])
        with pytest.raises(UnavailableError):
            connector.probe()
        with pytest.raises(ReconnectError) as caught:
            connector.probe()
        assert caught.value.code == "invalid_grant"

        consented = world.sandbox("POST", "grant", {"realm": REALM})
        tokens = {name: consented[name] for name in ("access_token", "refresh_token")}
        world.secrets.write("acme", "under-test", world.secrets.history[-1] | tokens)
        assert connector.probe().id == REALM, "a new consent is all it takes"

    def test_two_workers_that_renew_at_once_renew_once(self, world):
        world.sandbox("POST", "settings", {"refresh_token_rotates_after_seconds": 0})
        world.clock.advance(3600)
        store = MemoryLeases()
        begun, slow_waits, fast_renewed = threading.Event(), threading.Event(), threading.Event()
        renewals = []

        class Holds:
            """The first to renew gets its answer only after the second one waits for the lease."""

            def __init__(self, http):
                self.http = http

            def send(self, request):
                if "/oauth2/" in request.url:
                    renewals.append(request)
                    begun.set()
                    assert slow_waits.wait(5), "nobody waited: both renewed at once"
                return self.http.send(request)

        class WaitingClock:
            """Sleeps until the other has renewed."""

            now, jitter = world.clock.now, world.clock.jitter

            def sleep(self, _seconds):
                slow_waits.set()
                assert fast_renewed.wait(5)

        fast = open_with_lease(world, partial(lease.held, store, world.clock, "acme"), wrap=Holds)
        slow = open_with_lease(world, partial(lease.held, store, WaitingClock(), "acme"), wrap=Holds)
        with ThreadPoolExecutor(1) as other:
            first = other.submit(fast.probe)
            first.add_done_callback(lambda _: fast_renewed.set())
            assert begun.wait(5)
            assert slow.probe().id == REALM

        assert first.result().id == REALM
        assert len(renewals) == 1
        assert len(world.secrets.history) == 2

    def test_a_worker_that_was_held_up_beyond_its_lease_takes_what_another_stored(self, world):
        world.sandbox("POST", "settings", {"refresh_token_rotates_after_seconds": 0})
        world.clock.advance(3600)

        class Frozen:
            """Before its first renewing is sent, another worker renews."""

            def __init__(self, http):
                self.http, self.frozen = http, False

            def send(self, request):
                if "/oauth2/" in request.url and not self.frozen:
                    self.frozen = True
                    world.lease._held.clear()  # it ended by its time
                    world.connector().probe()
                    world.lease._held.add("token")
                return self.http.send(request)

        assert world.connector(wrap=Frozen).probe().id == REALM
        assert len(world.secrets.history) == 2

    def test_consent_gives_the_secrets_and_the_company(self, world):
        consent = world.provider.consent
        settings = {**world.settings(), "consent_url": f"{world.url}/connect/oauth2"}
        app = {name: world.secrets.history[-1][name] for name in ("client_id", "client_secret", "webhook_verifier")}
        redirect = "http://127.0.0.1:1/callback"
        address = consent.address(settings=settings, secrets=app, redirect=redirect, state="s-1")
        location = world.session.get(address, allow_redirects=False, timeout=5).headers["Location"]
        query = dict(parse_qsl(urlsplit(location).query))

        def finish(**changed):
            return consent.finish(
                settings=settings | changed.pop("settings", {}),
                secrets=app,
                redirect=redirect,
                query=query | changed,
                http=world.http,
                clock=world.clock,
            )

        assert query["state"] == "s-1"
        for wrong in ({"settings": {"realm_id": "1"}}, {"code": "made up"}, {"error": "access_denied"}):
            with pytest.raises(RejectedError):
                finish(**wrong)
        grant = finish()

        assert grant.account == REALM
        ends = datetime.fromisoformat(grant.secrets["sign_in_ends_at"])
        assert ends - world.clock.now() == timedelta(days=5 * 365)
        assert set(world.provider.manifest.sign_in_ends) <= set(grant.secrets)
        world.secrets.write("acme", "under-test", grant.secrets)
        assert world.connector().probe().id == REALM
        assert grant.secrets["client_secret"] not in repr(grant)


class TestLimits:
    def test_the_connector_and_its_budget_stay_within_the_true_limits(self):
        clock = SimulatedClock()
        app = create_app(clock=clock, realms=(REALM,))
        with serve(app) as url:
            world = QuickBooksWorld(url, clock, app.extensions["simulator"])
            connection = world.context().connection
            limits = world.provider.limits_of(connection)
            budget = Budget(MemoryBudgetStore(), "acme", "under-test", limits, clock)
            world.http = RequestsHttp(budget.spend, budget.ended, clock=clock, session=world.session)
            connector = world.connector()
            began_at = clock.now()
            with world.session:
                for _ in range(100):
                    effect = world.effect(Kind.INVOICE, Invoice(**world.sales()))
                    assert isinstance(only(connector.write([effect])), Done)
                    connector.read(Kind.INVOICE, ["1", "2"])
            seconds = (clock.now() - began_at).total_seconds()

        assert 100 / 40 * 60 * 0.95 <= seconds <= 100 / 40 * 60 * 1.05

    def test_settings_replace_limits(self, world):
        connection = world.context(batches_per_minute=4000).connection

        limits = {limit.name: limit.calls for limit in world.provider.limits_of(connection)}

        assert limits == {
            "requests_per_minute": 500,
            "requests_per_second": 9,
            "requests_in_flight": 10,
            "batches_per_minute": 4000,
        }
