"""The QuickBooks Desktop connector against its simulator: the suite that every connector passes, and its own quirks.

The door is a direct one: what the Web Connector would fetch is handed to the company file over HTTP, with faults.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.suite import ConnectorContract, SimulatedWorld, all_changes, all_ids, done, only, update_of
from tieout.connectors.quickbooks_desktop import CONNECTOR
from tieout.domain.documents import (
    Address,
    CreditNote,
    Customer,
    Discount,
    Document,
    Estimate,
    EstimateStatus,
    Invoice,
    InvoiceStatus,
    Item,
    ItemType,
    Line,
)
from tieout.domain.effects import Done, Effect, MatchedBy, NotDone, Operation, Unknown
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from tieout.domain.records import Kind
from tieout.ports.connector import Webhook
from tieout.ports.http import Answer, Http, Request
from tieout.transport.xml import parse_xml
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.quickbooks_desktop import create_app
from tieout_sandbox.simulators.quickbooks_desktop.routes import QuickBooksDesktop
from tieout_sandbox.simulators.server import serve

DAY = date(2026, 1, 5)
HOUR, DAYS = 3600, 24 * 3600


class Door:
    """Hands what the connector sends to the company file; `sent` is all of it."""

    def __init__(self, http: Http, url: str) -> None:
        self._http, self._url = http, url
        self.sent: list[Request] = []

    def send(self, request: Request) -> Answer:
        self.sent.append(request)
        return self._http.send(replace(request, url=f"{self._url}/qbxml/{'write' if request.write else 'read'}"))


class QuickBooksDesktopWorld(SimulatedWorld):
    provider = CONNECTOR
    write_match = {"method": "POST", "path": "/qbxml/write"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, clock: SimulatedClock, simulator: QuickBooksDesktop) -> None:
        super().__init__(url, clock, {"username": "acme.books", "password": "correct horse"})
        self.simulator = simulator
        self.company = simulator.company
        self.door = Door(self.http, url)
        self.http: Http = self.door
        self._count = itertools.count(1)
        self.customer = self.make("Customer", "<Name>Acme Corporation</Name>")
        account = "<SalesOrPurchase><AccountRef><FullName>Sales</FullName></AccountRef></SalesOrPurchase>"
        self.item = self.make("ItemService", f"<Name>GTX Pro</Name>{account}")

    def settings(self) -> dict[str, Any]:
        return {"expense_account": "Cost of Goods Sold"}

    def account(self) -> str:
        return self.simulator.settings.company_name

    def do(self, requests: str) -> Any:
        """Somebody's work in QuickBooks; the replies."""
        answer = self.session.post(f"{self.url}/_sandbox/do", data=requests.encode(), timeout=10)
        answer.raise_for_status()
        replies = parse_xml(answer.content)[0]
        assert all(each.get("statusSeverity") == "Info" for each in replies), answer.text
        return replies

    def make(self, entity: str, inner: str) -> str:
        """Somebody makes a record in QuickBooks; its id."""
        (reply,) = self.do(f"<{entity}AddRq><{entity}Add>{inner}</{entity}Add></{entity}AddRq>")
        return str(reply[0][0].text)

    def invoice(self, amount: str = "100.00", **fields: str) -> str:
        """Somebody makes an invoice in QuickBooks; its id."""
        head = f"<CustomerRef><ListID>{self.customer}</ListID></CustomerRef>"
        head += "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
        line = f"<ItemRef><ListID>{self.item}</ListID></ItemRef><Amount>{amount}</Amount>"
        return self.make("Invoice", f"{head}<InvoiceLineAdd>{line}</InvoiceLineAdd>")

    def stored(self, table: str, record_id: str) -> dict[str, Any]:
        """What QuickBooks holds."""
        return self.company.tables[table][record_id]

    def set(self, **settings: object) -> None:
        """Somebody changes a preference, or the computer."""
        self.sandbox("POST", "settings", settings)

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        return Kind.INVOICE, [self.invoice() for _ in range(count)]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        names = {Kind.INVOICE: "Invoice", Kind.CUSTOMER: "Customer", Kind.ITEM: "ItemService"}
        self.session.post(f"{self.url}/_sandbox/delete", json={"type": names[kind], "id": record_id}).raise_for_status()

    def revoke(self) -> None:
        self.sandbox("POST", "revoke")

    def webhook(self, *, valid: bool = True) -> Webhook:
        raise NotImplementedError

    def effect(self, kind: Kind, document: Document) -> Effect:
        number = next(self._count)
        return Effect(f"{number:032x}", Operation.CREATE, kind, document, f"ref{number:09d}")

    def line(self, amount: str = "100.00", **fields: Any) -> Line:
        return Line(item=self.item, amount=Decimal(amount), **fields)

    def sales(self, *lines: Line, **fields: Any) -> dict[str, Any]:
        return {"customer": self.customer, "date": DAY, "currency": "USD", "lines": lines or (self.line(),), **fields}

    def sample_effects(self) -> Sequence[Effect]:
        number = next(self._count)
        address = Address(
            line1="1 Main St", line2="Hof 2", line3="EG", city="Köln", state="NW", postal_code="50667", country="DE"
        )
        lines = (
            self.line("25.00", quantity=Decimal("2.5"), unit_price=Decimal(10), description="Días & <Nächte>"),
            self.line("0.10", quantity=Decimal(1), unit_price=Decimal("0.10"), tax_code="TAX"),
        )
        dated = (replace_line(lines[0], service_on=date(2026, 1, 4)), lines[1])
        return [
            self.effect(
                Kind.CUSTOMER,
                Customer(
                    name=f"O'Hara \\ Söhne & Co. {number}",
                    company_name="O'Hara",
                    contact_name="Ada King",
                    given_name="Ada",
                    family_name="King",
                    email="ada@example.test",
                    phone="+49 221 00 00 00",
                    tax_id="R-1",
                    currency="USD",
                    terms="Net 30",
                    billing_address=address,
                    shipping_address=address,
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
                    cost=Decimal("1.5"),
                    taxable=False,
                ),
            ),
            self.effect(
                Kind.INVOICE,
                Invoice(
                    **self.sales(*dated, number=f"CRM-{number}", discount=Discount(percent=Decimal("12.5"))),
                    status=InvoiceStatus.ISSUED,
                    due_date=date(2026, 2, 4),
                    terms="Net 30",
                    memo="Thank you for your business.",
                    note="internal",
                    billing_address=address,
                ),
            ),
            self.effect(
                Kind.ESTIMATE,
                Estimate(
                    **self.sales(*lines, number=f"Q-{number}"),
                    status=EstimateStatus.ACCEPTED,
                    expiry_date=date(2026, 2, 4),
                    note="soon",
                ),
            ),
            self.effect(Kind.CREDIT_NOTE, CreditNote(**self.sales(*dated))),
        ]

    def exact_effects(self) -> Sequence[Effect]:
        lines = (
            self.line("1.00", quantity=Decimal(3), unit_price=Decimal("0.333")),
            self.line("0.00", quantity=Decimal(0), unit_price=Decimal(7)),
            self.line("-0.30", quantity=Decimal("-0.125"), unit_price=Decimal("2.4")),
            self.line("10005534.10", quantity=Decimal(1), unit_price=Decimal("10005534.10")),
        )
        return [
            self.effect(Kind.INVOICE, Invoice(**self.sales(*lines, discount=Discount(amount=Decimal("0.07"))))),
            self.effect(Kind.INVOICE, Invoice(**self.sales(self.line("0.00", unit_price=Decimal("0.00"))))),
            self.effect(Kind.ITEM, Item(name="Free", price=Decimal("0.001"), cost=Decimal(0))),
        ]

    def refused_effect(self) -> Effect:
        return self.effect(Kind.INVOICE, Invoice(**self.sales(), terms="Never"))


def replace_line(line: Line, **fields: Any) -> Line:
    return line.model_copy(update=fields)


@pytest.fixture
def world() -> Iterator[QuickBooksDesktopWorld]:
    clock = SimulatedClock()
    app = create_app(clock=clock)
    with serve(app) as url:
        opened = QuickBooksDesktopWorld(url, clock, app.extensions["simulator"])
        with opened.session:
            yield opened


class TestContract(ConnectorContract):
    """Every connector's tests."""


class TestContractInSmallPages(ConnectorContract):
    """The same where every list has many pages."""

    @pytest.fixture
    def world(self, world: QuickBooksDesktopWorld) -> QuickBooksDesktopWorld:
        opened = world.connector
        world.connector = lambda **given: opened(**{"page_records": 2, **given})  # type: ignore[method-assign] # smaller
        return world


class TestWritingOnce:
    def test_the_same_set_again_is_answered_from_what_quickbooks_kept(self, world):
        effect = world.sample_effects()[2]
        connector = world.connector(faults=[{"kind": "lost_answer", "times": 1, "match": world.write_match}])
        assert isinstance(only(connector.write([effect])), Unknown)

        record = done(connector.write([effect]))

        assert [record.id] == list(world.company.tables["Invoice"])
        first, second = [set_ids(each) for each in world.door.sent if each.write]
        assert first == second
        assert len(first[0]) <= 23

    def test_a_new_try_after_a_refusal_is_another_set(self, world):
        effect = world.refused_effect()
        connector = world.connector()
        assert isinstance(only(connector.write([effect])), NotDone)
        world.do("<StandardTermsAddRq><StandardTermsAdd><Name>Never</Name></StandardTermsAdd></StandardTermsAddRq>")

        assert isinstance(only(connector.write([replace(effect, attempt="2")])), Done)

    def test_a_set_that_is_known_with_another_content_was_not_done(self, world):
        effect = world.sample_effects()[0]
        connector = world.connector(wrap=OtherChecksum)

        outcome = only(connector.write([effect]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, UnavailableError)

    def test_what_quickbooks_cannot_read_goes_alone_and_stops_nothing_else(self, world):
        effects = list(world.sample_effects())
        bad = effects[1]
        connector = world.connector(wrap=lambda http: CannotRead(http, "GTX Plus"))

        outcomes = {outcome.effect_id: outcome for outcome in connector.write(effects)}

        refused = outcomes.pop(bad.id)
        assert isinstance(refused, NotDone)
        assert isinstance(refused.error, RejectedError)
        assert all(isinstance(outcome, Done) for outcome in outcomes.values())
        assert len(world.company.tables["Invoice"]) == 1

    def test_a_reply_that_is_missing_leaves_its_effect_unknown_and_no_other(self, world):
        effects = world.sample_effects()[:3]
        connector = world.connector(wrap=lambda http: LosesReply(http, "1"))

        outcomes = {outcome.effect_id: outcome for outcome in connector.write(effects)}

        assert [type(outcomes[effect.id]) for effect in effects] == [Done, Unknown, Done]

    def test_what_was_not_taken_because_a_window_is_open_is_not_done(self, world):
        world.set(result="0x80040414")
        connector = world.connector()
        effect = world.sample_effects()[0]

        with pytest.raises(UnavailableError, match="A window is open") as caught:
            connector.probe()
        assert "close the open window" in caught.value.next_step
        world.set(result="")
        connector.probe()
        world.set(result="0x80040414")
        outcome = only(connector.write([effect]))
        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, UnavailableError)
        assert len(world.company.tables["Customer"]) == 1

    def test_after_a_result_that_nobody_knows_a_write_is_unknown(self, world):
        connector = world.connector()
        connector.probe()
        world.set(result="0x80040402")

        assert isinstance(only(connector.write([world.sample_effects()[0]])), Unknown)

    def test_a_document_whose_number_somebody_changed_is_found_by_customer_and_date(self, world):
        effect = world.sample_effects()[2]
        connector = world.connector()
        record = done(connector.write([effect]))
        world.stored("Invoice", record.id)["RefNumber"] = "77"

        (match,) = connector.find([effect])[effect.id]

        assert (match.record.id, match.by) == (record.id, MatchedBy.REFERENCE)

    def test_texts_go_as_ascii(self, world):
        world.connector().write([world.sample_effects()[0]])

        sent = world.door.sent[-1].body
        assert sent.isascii()
        assert b"S&#246;hne &amp; Co." in sent


class TestRefusals:
    def test_a_name_that_a_vendor_has_is_told(self, world):
        world.make("Vendor", "<Name>Vesta</Name>")
        effect = world.effect(Kind.CUSTOMER, Customer(name="vesta"))

        outcome = only(world.connector().write([effect]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert (outcome.error.code, outcome.error.field) == ("3100", "name")

    @pytest.mark.parametrize(
        ("document", "field"),
        [
            (Customer(name="x" * 42), "name"),
            (Customer(name="a:b"), "name"),
            (Customer(name="Acme 2", phone="0" * 22), "phone"),
            (Customer(name="Acme 2", billing_address=Address(city="x" * 32)), "billing_address"),
            (Customer(name="Acme\x0b2"), "name"),
            (Customer(name="Acme 2", website="https://acme.example"), "website"),
            (Customer(name="Acme 2", currency="EUR"), "currency"),
            (Item(name="x" * 32), "name"),
            (Item(name="Oil", sku="A-1"), "sku"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_anything_is_sent(self, world, document, field):
        kind = Kind.ITEM if isinstance(document, Item) else Kind.CUSTOMER

        outcome = only(world.connector().write([world.effect(kind, document)]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert outcome.error.field == field
        assert outcome.error.next_step
        assert not any(request.write for request in world.door.sent)

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"number": "123456789012"}, "number"),
            ({"currency": "EUR"}, "currency"),
            ({"email": "a@b.example"}, "email"),
        ],
    )
    def test_what_does_not_fit_on_an_invoice_is_refused_before_anything_is_sent(self, world, fields, field):
        effect = world.effect(Kind.INVOICE, Invoice(**{**world.sales(), **fields}))

        outcome = only(world.connector().write([effect]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert outcome.error.field == field
        assert not any(request.write for request in world.door.sent)

    def test_a_record_that_somebody_has_open_is_tried_again_later(self, world):
        connector = world.connector()
        effect = world.sample_effects()[0]
        record = done(connector.write([effect]))
        world.sandbox("POST", "lock", {"id": record.id})

        outcome = only(connector.write([update_of(effect, record)]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, ThrottledError)
        assert outcome.error.retry_after_seconds == 60

    def test_a_customer_that_is_gone_is_not_found(self, world):
        gone = world.make("Customer", "<Name>Gone</Name>")
        world.delete_record(Kind.CUSTOMER, gone)
        effect = world.effect(Kind.INVOICE, Invoice(**{**world.sales(), "customer": gone}))
        connector = world.connector()

        outcome = only(connector.write([effect]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, NotFoundError)
        assert effect.id not in connector.find([effect])

    def test_nothing_is_written_to_another_company(self, world):
        connector = world.connector()
        world.set(company_name="Somebody Else")
        effect = world.sample_effects()[0]

        with pytest.raises(UnavailableError, match="Somebody Else"):
            connector.read(Kind.INVOICE, ["1"])
        outcome = only(connector.write([effect]))
        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, UnavailableError)
        assert len(world.company.tables["Customer"]) == 1
        assert connector.probe().id == "Somebody Else"  # `tieout connect` says so, and takes it if that is meant
        world.set(company_name="Zillum")
        assert isinstance(only(connector.write([effect])), Done)

    def test_nothing_is_written_in_a_closed_period(self, world):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales()))
        record = done(connector.write([effect]))
        world.set(closed_until="2026-01-05")
        world.clock.advance(601)
        sent = len([each for each in world.door.sent if each.write])
        late = effect.document.model_copy(update={"date": date(2026, 1, 6)})
        void = effect.document.model_copy(update={"status": InvoiceStatus.VOIDED})
        new = world.effect(Kind.INVOICE, Invoice(**world.sales()))

        for closed in (
            new,
            update_of(replace(effect, document=late), record),
            update_of(replace(effect, document=void), record),
        ):
            outcome = only(connector.write([closed]))
            assert isinstance(outcome, NotDone)
            assert isinstance(outcome.error, RejectedError)
            assert outcome.error.field == "date"
        assert len([each for each in world.door.sent if each.write]) == sent
        world.set(closed_until=None)
        assert isinstance(only(connector.write([new])), Done)

    def test_a_discount_needs_an_item_for_it(self, world):
        world.company.tables["ItemDiscount"].clear()
        discount = Discount(amount=Decimal(1))
        outcome = only(
            world.connector().write([world.effect(Kind.INVOICE, Invoice(**world.sales(), discount=discount))])
        )

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert outcome.error.field == "discount"

    def test_an_item_of_another_type_is_left_alone(self, world):
        account = "<IncomeAccountRef><FullName>Sales</FullName></IncomeAccountRef>"
        stock = world.make("ItemInventory", f"<Name>Bolt</Name>{account}")
        connector = world.connector()
        effect = world.effect(Kind.ITEM, Item(name="Bolt", price=Decimal(2)))
        (match,) = connector.find([effect])[effect.id]

        outcome = only(connector.write([update_of(effect, match.record)]))

        assert (match.record.id, match.record.fields["type"]) == (stock, "inventory")
        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert outcome.error.field == "type"


class TestDocuments:
    def test_an_invoice_is_voided_and_shows_it(self, world):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(), number="7", note="inside"))
        record = done(connector.write([effect]))
        void = replace(effect, document=effect.document.model_copy(update={"status": InvoiceStatus.VOIDED}))

        voided = done(connector.write([update_of(void, record)]))

        assert (voided.fields["state"], voided.fields["total"]) == ("voided", 0)
        assert voided.fields["reference"] == effect.reference
        assert world.stored("Invoice", record.id)["Memo"].startswith("VOID: inside")

    def test_voiding_heeds_the_version_too(self, world):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales()))
        record = done(connector.write([effect]))
        done(connector.write([update_of(effect, record)]))
        void = replace(effect, document=effect.document.model_copy(update={"status": InvoiceStatus.VOIDED}))

        outcome = only(connector.write([update_of(void, record)]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, ConflictError)
        assert not world.stored("Invoice", record.id)["Memo"].startswith("VOID:")

    def test_a_payment_shows_on_its_invoice_and_by_itself(self, world):
        invoice = world.invoice("100.00")
        world.sandbox("POST", "pay", {"id": invoice, "amount": "40.50", "date": "2026-01-07"})
        connector = world.connector()

        (record,) = connector.read(Kind.INVOICE, [invoice])
        (payment,), _, _ = all_changes(connector, Kind.PAYMENT, None)

        assert (record.fields["state"], record.fields["paid"]) == ("partly_paid", Decimal("40.50"))
        assert record.fields["last_payment_on"] == date(2026, 1, 7)
        assert payment.fields["invoice_ids"] == [invoice]
        assert payment.fields["allocations"] == [{"invoice": invoice, "amount": Decimal("40.50")}]

    def test_lines_that_sell_nothing_are_told_apart(self, world):
        subtotal = world.make("ItemSubtotal", "<Name>Subtotal</Name>")
        (discount,) = world.company.tables["ItemDiscount"]
        lines = "".join(
            f"<InvoiceLineAdd><ItemRef><ListID>{item}</ListID></ItemRef><Amount>{amount}</Amount></InvoiceLineAdd>"
            for item, amount in ((world.item, "80.00"), (subtotal, "0.00"), (discount, "-8.00"), (discount, "-2.00"))
        )
        invoice = world.make("Invoice", f"<CustomerRef><ListID>{world.customer}</ListID></CustomerRef>{lines}")

        (record,) = world.connector().read(Kind.INVOICE, [invoice])

        assert [line["amount"] for line in record.fields["lines"]] == [Decimal("80.00")]
        assert record.fields["discount"] == {"amount": Decimal("10.00")}
        assert record.fields["total"] == Decimal("70.00")

    def test_a_percentage_that_somebody_changed_is_read_as_what_it_takes_off(self, world):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(), discount=Discount(percent=Decimal(10))))
        record = done(connector.write([effect]))
        assert record.fields["discount"] == {"percent": Decimal(10)}
        world.stored("Invoice", record.id)["InvoiceLineRet"][-1]["Amount"] = "-15.00"

        (changed,) = connector.read(Kind.INVOICE, [record.id])

        assert changed.fields["discount"] == {"amount": Decimal("15.00")}

    def test_lines_that_are_left_out_go_and_what_is_not_named_stays(self, world):
        connector = world.connector()
        effect = world.effect(Kind.INVOICE, Invoice(**world.sales(world.line(), world.line("5.00")), note="stays"))
        record = done(connector.write([effect]))
        shorter = Invoice(**world.sales(world.line("7.00")))

        changed = done(connector.write([update_of(replace(effect, document=shorter), record)]))

        assert [line["amount"] for line in changed.fields["lines"]] == [Decimal("7.00")]
        assert changed.fields["note"] == "stays"
        assert changed.fields["reference"] == effect.reference

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            (EstimateStatus.SENT, "open"),
            (EstimateStatus.ACCEPTED, "accepted"),
            (EstimateStatus.DECLINED, "declined"),
        ],
    )
    def test_an_estimate_shows_how_it_was_taken_and_keeps_its_note(self, world, status, state):
        connector = world.connector()
        effect = world.effect(Kind.ESTIMATE, Estimate(**world.sales(), note="by hand"))
        record = done(connector.write([effect]))

        changed = Estimate(**world.sales(), status=status)
        after = done(connector.write([update_of(replace(effect, document=changed), record)]))

        assert (after.fields["state"], after.fields["status"]) == (state, status.value)
        assert (after.fields["note"], after.fields["reference"]) == ("by hand", effect.reference)

    def test_currencies_are_told_by_their_codes(self, world):
        world.company.settings.currencies = {"USD": "US Dollar", "EUR": "Euro"}
        for code, name in world.company.settings.currencies.items():
            world.make("Currency", f"<Name>{name}</Name><CurrencyCode>{code}</CurrencyCode>")
        connector = world.connector()
        effects = [world.effect(Kind.CUSTOMER, Customer(name=f"In {code}", currency=code)) for code in ("EUR", "USD")]

        records = [done(connector.write([effect])) for effect in effects]

        assert [record.fields["currency"] for record in records] == ["EUR", "USD"]
        invoice = world.effect(Kind.INVOICE, Invoice(**{**world.sales(), "currency": "EUR"}))
        assert isinstance(only(connector.write([invoice])), NotDone)


class TestNames:
    def test_a_job_is_found_below_its_customer_alone(self, world):
        connector = world.connector()
        job = world.effect(Kind.CUSTOMER, Customer(name="Roof", parent=world.customer))
        record = done(connector.write([job]))
        same = world.effect(Kind.CUSTOMER, Customer(name=" roof ", parent=world.customer))
        alone = world.effect(Kind.CUSTOMER, Customer(name="Roof"))

        found = connector.find([job, same, alone])

        assert record.fields["parent"] == world.customer
        assert [(match.record.id, match.by) for match in found[job.id]] == [(record.id, MatchedBy.REFERENCE)]
        assert [(match.record.id, match.by) for match in found[same.id]] == [(record.id, MatchedBy.NATURAL_KEY)]
        assert alone.id not in found

    def test_customers_that_may_be_the_same_are_shown(self, world):
        alike = world.make("Customer", "<Name>Vesta Optics Inc.</Name>")
        world.make("Customer", "<Name>Nobody Else</Name>")
        effect = replace(world.effect(Kind.CUSTOMER, Customer(name="Vesta Optics")), similar=True)

        found = world.connector().find([effect])

        assert [(match.record.id, match.by) for match in found[effect.id]] == [(alike, MatchedBy.SIMILAR)]

    def test_names_are_searched_whatever_their_case(self, world):
        connector = world.connector()

        assert [one.id for one in connector.search(Kind.CUSTOMER, "name", ["ACME corporation", "x"])] == [
            world.customer
        ]
        assert [one.id for one in connector.search(Kind.ITEM, "name", ["gtx pro"])] == [world.item]
        with pytest.raises(RejectedError):
            connector.search(Kind.CUSTOMER, "email", ["a@b.example"])

    def test_inactive_records_are_read_and_listed(self, world):
        gone = world.make("Customer", "<Name>Former</Name><IsActive>false</IsActive>")
        connector = world.connector()

        (record,) = connector.read(Kind.CUSTOMER, [gone])

        assert record.fields["active"] is False
        assert gone in all_ids(connector, Kind.CUSTOMER)
        assert gone in {one.id for one in all_changes(connector, Kind.CUSTOMER, None)[0]}

    def test_items_that_no_line_sells_are_left_out(self, world):
        (discount,) = world.company.tables["ItemDiscount"]
        connector = world.connector()

        assert all_ids(connector, Kind.ITEM) == [world.item]
        assert [one.id for one in all_changes(connector, Kind.ITEM, None)[0]] == [world.item]
        assert connector.search(Kind.ITEM, "name", ["Discount"]) == []
        assert connector.read(Kind.ITEM, [discount]) == []


class TestFeed:
    def test_what_was_seen_does_not_come_again(self, world):
        connector = world.connector()
        _, made = world.make_records(2)
        _, _, cursor = all_changes(connector, Kind.INVOICE, None)
        world.clock.advance(60)
        _, later = world.make_records(1)

        records, _, cursor = all_changes(connector, Kind.INVOICE, cursor)
        again, _, _ = all_changes(connector, Kind.INVOICE, cursor)

        assert [record.id for record in records] == later
        assert again == []
        assert made

    def test_an_edit_of_what_was_seen_comes(self, world):
        connector = world.connector()
        _, (made,) = world.make_records(1)
        _, _, cursor = all_changes(connector, Kind.INVOICE, None)
        world.sandbox("POST", "pay", {"id": made})

        records, _, _ = all_changes(connector, Kind.INVOICE, cursor)

        assert [(record.id, record.fields["state"]) for record in records] == [(made, "paid")]

    @pytest.mark.parametrize("forgets_summer", [False, True])
    def test_the_hour_that_comes_twice_loses_nothing(self, world, forgets_summer):
        world.set(forgets_summer=forgets_summer)
        world.clock.advance((date(2026, 11, 1) - DAY).days * DAYS - 1.5 * HOUR)  # 01:30 in summer time
        connector = world.connector()
        world.make_records(1)
        cursor = connector.cursor_now(Kind.INVOICE)
        world.clock.advance(45 * 60)  # 01:15 in winter time
        _, made = world.make_records(1)

        records, _, _ = all_changes(connector, Kind.INVOICE, cursor)

        assert [record.id for record in records] == made

    def test_a_list_whose_session_ended_is_read_from_the_beginning(self, world):
        _, made = world.make_records(7)
        connector = world.connector(page_records=2)
        page = connector.changes(Kind.INVOICE, None)
        seen = {record.id for record in page.records}
        for _ in range(4):
            if page.more:
                world.sandbox("POST", "session/end")
                page = connector.changes(Kind.INVOICE, page.cursor)
                seen |= {record.id for record in page.records}

        assert not page.more
        assert seen == set(made)

    def test_a_list_whose_sessions_never_last_says_so(self, world):
        world.make_records(600)
        connector = world.connector(page_records=1)
        page = connector.changes(Kind.INVOICE, None)
        for _ in range(4):
            world.sandbox("POST", "session/end")
            page = connector.changes(Kind.INVOICE, page.cursor)
        world.sandbox("POST", "session/end")

        with pytest.raises(UnavailableError, match="ended its run"):
            connector.changes(Kind.INVOICE, page.cursor)

    def test_ids_whose_session_ended_begin_anew(self, world, monkeypatch):
        monkeypatch.setattr("tieout.connectors.quickbooks_desktop.feed._IDS_PAGE", 2)
        _, made = world.make_records(5)
        connector = world.connector()
        _, after = connector.ids(Kind.INVOICE, None)
        world.sandbox("POST", "session/end")

        ids: list[str] = []
        while after is not None:
            some, after = connector.ids(Kind.INVOICE, after)
            ids += some

        assert ids == made

    def test_what_changes_during_a_walk_comes(self, world):
        _, made = world.make_records(5)
        connector = world.connector(page_records=2)
        page = connector.changes(Kind.INVOICE, None)
        world.clock.advance(2 * HOUR)
        world.sandbox("POST", "pay", {"id": made[0]})
        _, new = world.make_records(1)
        _, _, cursor = all_changes(connector, Kind.INVOICE, page.cursor)

        records, _, _ = all_changes(connector, Kind.INVOICE, cursor)

        assert {record.id for record in records} == {made[0], *new}

    @pytest.mark.parametrize("kind", [Kind.CUSTOMER, Kind.ITEM])
    def test_entries_of_lists_that_are_deleted_are_told(self, world, kind):
        account = "<SalesOrPurchase><AccountRef><FullName>Sales</FullName></AccountRef></SalesOrPurchase>"
        made = (
            world.make("Customer", "<Name>Brief</Name>")
            if kind is Kind.CUSTOMER
            else world.make("ItemService", f"<Name>Brief</Name>{account}")
        )
        connector = world.connector()
        cursor = connector.cursor_now(kind)
        world.delete_record(kind, made)

        records, gone, cursor = all_changes(connector, kind, cursor)

        assert (records, gone) == ([], [made])
        assert all_changes(connector, kind, cursor)[1] == []

    def test_after_ninety_days_ids_have_to_be_compared(self, world):
        connector = world.connector()
        _, made = world.make_records(1)
        cursor = connector.cursor_now(Kind.INVOICE)
        world.delete_record(Kind.INVOICE, made[0])

        world.clock.advance(88 * DAYS)
        assert not connector.changes(Kind.INVOICE, cursor).deletions_unsure
        world.clock.advance(3 * DAYS)
        page = connector.changes(Kind.INVOICE, cursor)
        assert page.deletions_unsure
        assert not connector.changes(Kind.INVOICE, page.cursor).deletions_unsure

    @pytest.mark.parametrize("cursor", ["{", "[]", '{"since": 1, "x": 2}'])
    def test_a_cursor_that_is_none_is_told(self, world, cursor):
        with pytest.raises(UnavailableError, match="cursor"):
            world.connector().changes(Kind.INVOICE, cursor)


class TestAnswers:
    def test_elements_that_nobody_knows_pass(self, world):
        _, made = world.make_records(2)
        plain = world.connector().read(Kind.INVOICE, made)

        strange = world.connector(wrap=AddsElements)

        assert strange.read(Kind.INVOICE, made) == plain
        for effect in world.sample_effects():
            assert isinstance(only(strange.write([effect])), Done)

    def test_an_administrator_that_unticks_tieout_is_told_what_to_do(self, world):
        world.revoke()

        with pytest.raises(ReconnectError) as caught:
            world.connector().probe()

        assert "Integrated Applications" in caught.value.next_step


def set_ids(request: Request) -> list[str]:
    assert request.body is not None
    return re.findall(r'newMessageSetID="([^"]*)"', request.body.decode())


class Wrapped:
    """A door in a door."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def send(self, request: Request) -> Answer:
        return self._http.send(request)


class OtherChecksum(Wrapped):
    """Somebody else's content stands in QuickBooks under the id of each set."""

    def send(self, request: Request) -> Answer:
        if not request.write:
            return super().send(request)
        assert request.body is not None
        inner = re.sub(
            rb"(<QBXMLMsgsRq[^>]*>).*(</QBXMLMsgsRq>)", rb"\1<CompanyQueryRq/>\2", request.body, flags=re.DOTALL
        )
        super().send(replace(request, body=inner))
        return super().send(request)


class CannotRead(Wrapped):
    """QuickBooks cannot read a message set with this text."""

    def __init__(self, http: Http, text: str) -> None:
        super().__init__(http)
        self._text = text.encode()

    def send(self, request: Request) -> Answer:
        if request.write and self._text in (request.body or b""):
            return Answer(502, {"hresult": "0x80040400"}, b"QuickBooks found an error when parsing the XML.")
        return super().send(request)


class LosesReply(Wrapped):
    """One of the replies to a write is not there."""

    def __init__(self, http: Http, position: str) -> None:
        super().__init__(http)
        self._position = position.encode()

    def send(self, request: Request) -> Answer:
        answer = super().send(request)
        if not request.write:
            return answer
        one = rb'<(\w+Rs) requestID="' + self._position + rb'".*?</\1>'
        return replace(answer, body=re.sub(one, b"", answer.body, flags=re.DOTALL))


class AddsElements(Wrapped):
    """A QuickBooks of tomorrow: every aggregate has more in it than we know."""

    def send(self, request: Request) -> Answer:
        answer = super().send(request)
        more = b"<NewIn2031><Since>2031</Since></NewIn2031>"
        return replace(answer, body=re.sub(rb"</(\w+Ret|\w+Ref)>", more + rb"</\1>", answer.body))
