"""The Tally connector against its simulator: the suite that every connector passes, and its own quirks."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest

from tests.contract.suite import ConnectorContract, SimulatedWorld, all_changes, all_ids, done, only, update_of
from tieout.connectors import tally
from tieout.domain.documents import (
    Address,
    Allocation,
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
    Payment,
)
from tieout.domain.effects import Done, Effect, MatchedBy, NotDone, Operation, Unknown
from tieout.domain.errors import (
    ConflictError,
    NameTakenError,
    NotFoundError,
    ReconnectError,
    RejectedError,
    SettingsError,
    SignatureError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.records import Kind
from tieout.ports.connector import Webhook
from tieout.ports.http import Answer, Http, Request
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.server import serve
from tieout_sandbox.simulators.tally import create_app
from tieout_sandbox.simulators.tally.books import Counts, Stored
from tieout_sandbox.simulators.tally.routes import Tally, receipt
from tieout_sandbox.simulators.tally.settings import COMPANY

DAY = date(2026, 1, 5)
VOIDED = {"status": InvoiceStatus.VOIDED}
NO_PLACE = (
    {"quantity": Decimal(0)},
    {"quantity": Decimal(-1)},
    {"quantity": Decimal("0.12345")},
    {"amount": Decimal("0.001")},
)
TAXES = {
    "GST 18": {"rate": 18, "cgst": "Output CGST", "sgst": "Output SGST", "igst": "Output IGST"},
    "GST 5": {"rate": 5, "cgst": "Output CGST", "sgst": "Output SGST", "igst": "Output IGST"},
    "Exempt": {"rate": 0},
}


class TallyWorld(SimulatedWorld):
    provider = tally.CONNECTOR
    write_match = {"method": "POST", "path": "/write/*"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, clock: SimulatedClock, simulator: Tally) -> None:
        super().__init__(url, clock, {})
        self.simulator = simulator
        self.books = simulator.books
        self._count = itertools.count(1)
        self.customer = self.make("LEDGER", "Acme & Sons", PARENT="Sundry Debtors").guid
        self.make("UNIT", "Nos", ISSIMPLEUNIT="Yes", DECIMALPLACES="4")
        self.item = self.make("STOCKITEM", "GTX Pro", BASEUNITS="Nos").guid

    def settings(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "receipt_ledger": "HDFC Bank",
            "discount_ledger": "Discount Allowed",
            "taxes": TAXES,
            "records_per_page": 3,
        }

    def account(self) -> str:
        return self.books.guid

    def make(self, type_: str, name: str, **values: str) -> Stored:
        """Somebody makes a master in Tally."""
        element = Element(type_, NAME=name, ACTION="Create")
        SubElement(element, "NAME").text = name
        SubElement(SubElement(element, "NAME.LIST"), "NAME").text = name
        for tag, value in values.items():
            SubElement(element, tag).text = value
        self.books.import_master(element, Counts())
        made = self.books.master(type_, name)
        assert made is not None
        return made

    def alter(self, type_: str, former: str, name: str = "", **values: str) -> None:
        """Somebody changes a master in Tally."""
        element = Element(type_, NAME=former, ACTION="Alter")
        SubElement(SubElement(element, "NAME.LIST"), "NAME").text = name or former
        for tag, value in values.items():
            SubElement(element, tag).text = value
        self.books.import_master(element, Counts())

    def delete_ledger(self, name: str) -> None:
        """Somebody deletes a ledger in Tally."""
        element = Element("LEDGER", NAME=name, ACTION="Delete")
        SubElement(SubElement(element, "NAME.LIST"), "NAME").text = name
        self.books.import_master(element, Counts())

    def make_invoice(self, amount: str = "100.00", party: str = "Acme & Sons") -> str:
        """Somebody enters a sales voucher in Tally; its id."""
        voucher = Element("VOUCHER", VCHTYPE="Sales", ACTION="Create")
        texts = {"DATE": f"{DAY:%Y%m%d}", "VOUCHERTYPENAME": "Sales", "PARTYLEDGERNAME": party, "ISINVOICE": "Yes"}
        for tag, text in texts.items():
            SubElement(voucher, tag).text = text
        entry = SubElement(voucher, "LEDGERENTRIES.LIST")
        number = next(self._count)
        for tag, text in (("LEDGERNAME", party), ("ISDEEMEDPOSITIVE", "Yes"), ("AMOUNT", f"-{amount}")):
            SubElement(entry, tag).text = text
        bill = SubElement(entry, "BILLALLOCATIONS.LIST")
        for tag, text in (("NAME", f"S-{number}"), ("BILLTYPE", "New Ref"), ("AMOUNT", f"-{amount}")):
            SubElement(bill, tag).text = text
        item = SubElement(voucher, "ALLINVENTORYENTRIES.LIST")
        texts = {"STOCKITEMNAME": "GTX Pro", "RATE": f"{amount}/Nos", "ISDEEMEDPOSITIVE": "No", "AMOUNT": amount}
        for tag, text in (texts | {"ACTUALQTY": " 1 Nos", "BILLEDQTY": " 1 Nos"}).items():
            SubElement(item, tag).text = text
        booked = SubElement(item, "ACCOUNTINGALLOCATIONS.LIST")
        for tag, text in (("LEDGERNAME", "Sales"), ("ISDEEMEDPOSITIVE", "No"), ("AMOUNT", amount)):
            SubElement(booked, tag).text = text
        counts = Counts()
        self.books.import_voucher(voucher, counts)
        return self.books.vouchers[counts.last_voucher].guid

    def pay(self, invoice: str, amount: str) -> None:
        """Somebody enters a receipt against an invoice."""
        voucher = self.voucher(invoice)
        bill = voucher.text("LEDGERENTRIES.LIST/BILLALLOCATIONS.LIST/NAME")
        made = receipt(voucher.text("PARTYLEDGERNAME"), bill, Decimal(amount), date(2026, 1, 9))
        self.books.import_voucher(made, Counts())

    def act(self, voucher: str, action: str) -> None:
        """Somebody cancels or deletes a voucher."""
        stored = self.voucher(voucher)
        element = Element(
            "VOUCHER",
            TAGNAME="Master ID",
            TAGVALUE=str(stored.master_id),
            VCHTYPE=stored.text("VOUCHERTYPENAME"),
            ACTION=action,
        )
        self.books.import_voucher(element, Counts())

    def voucher(self, guid: str) -> Stored:
        """As Tally has it."""
        return next(each for each in self.books.vouchers.values() if each.guid == guid)

    def set(self, **settings: object) -> None:
        """Somebody at the screen does something."""
        self.sandbox("POST", "settings", settings)

    def close_window(self) -> None:
        """Somebody closes the window; return when what waited behind it is done."""
        self.set(window=False)
        until = time.monotonic() + 5
        while self.simulator.at_once and time.monotonic() < until:
            time.sleep(0.01)

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        return Kind.INVOICE, [self.make_invoice() for _ in range(count)]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        self.act(record_id, "Delete")

    def revoke(self) -> None:
        self.set(open_companies=["Another Client"])

    def webhook(self, *, valid: bool = True) -> Webhook:
        raise AssertionError("Tally has no webhooks")

    def effect(self, kind: Kind, document: Document) -> Effect:
        number = next(self._count)
        return Effect(f"{number:032x}", Operation.CREATE, kind, document, f"ref{number:09d}")

    def line(self, amount: str = "100.00", **fields: Any) -> Line:
        return Line(item=self.item, amount=Decimal(amount), **fields)

    def sales(self, *lines: Line, **fields: Any) -> dict[str, Any]:
        return {"customer": self.customer, "date": DAY, "currency": "INR", "lines": lines or (self.line(),), **fields}

    def invoice(self, *lines: Line, **fields: Any) -> Effect:
        return self.effect(Kind.INVOICE, Invoice(**self.sales(*lines, **fields)))

    def payment(self, invoice: str, amount: str = "40.50", **fields: Any) -> Effect:
        given = {"customer": self.customer, "date": DAY, "currency": "INR", "amount": Decimal(amount)}
        parts = (Allocation(invoice=invoice, amount=Decimal(amount)),)
        return self.effect(Kind.PAYMENT, Payment(**{**given, "allocations": parts, **fields}))

    def sample_effects(self) -> Sequence[Effect]:
        number = next(self._count)
        address = Address(
            line1="12 MG Road",
            line2="2nd floor",
            city="Bengaluru",
            state="Karnataka",
            postal_code="560001",
            country="IN",
        )
        lines = (
            self.line("25.00", quantity=Decimal("2.5"), unit_price=Decimal(10), description="आधा <b> & more"),
            self.line("0.10", quantity=Decimal(1), unit_price=Decimal("0.10"), tax_code="NON"),
        )
        discount = Discount(amount=Decimal("0.07"))
        return [
            self.effect(
                Kind.CUSTOMER,
                Customer(
                    name=f'O\'Hara "Söhne" & Co. {number}',
                    company_name="O'Hara",
                    contact_name="Ada King Lovelace",
                    email=f"ada{number}@example.test",
                    phone="+91 80 4000 4000",
                    website="https://example.test",
                    tax_id="29ABCDE1234F1Z5",
                    currency="INR",
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
                    cost=Decimal(0),
                    taxable=False,
                ),
            ),
            self.effect(
                Kind.INVOICE,
                Invoice(
                    **self.sales(
                        *lines, number=f"CRM-{number}", discount=discount, memo="Thanks", tax_total=Decimal(0)
                    ),
                    status=InvoiceStatus.ISSUED,
                    due_date=date(2026, 2, 4),
                    billing_address=address,
                ),
            ),
            self.effect(
                Kind.ESTIMATE, Estimate(**self.sales(*lines, number=f"Q-{number}"), status=EstimateStatus.SENT)
            ),
            self.effect(Kind.CREDIT_NOTE, CreditNote(**self.sales(*lines, discount=discount, memo="Sorry"))),
            self.payment(self.make_invoice(), number=f"P-{number}"),
        ]

    def exact_effects(self) -> Sequence[Effect]:
        lines = (
            self.line("12.35", quantity=Decimal("1.235"), unit_price=Decimal(10)),
            self.line("0.00", quantity=Decimal(1), unit_price=Decimal(0)),
            self.line("1.00", quantity=Decimal(3), unit_price=Decimal("0.333")),
            self.line("10005534.10", quantity=Decimal(1), unit_price=Decimal("10005534.10")),
        )
        items = [Decimal(0), Decimal("0.001"), Decimal("12.345"), Decimal("10005534.10")]
        return [
            self.invoice(*lines),
            self.invoice(self.line("0.00")),
            *(self.effect(Kind.ITEM, Item(name=f"Exact {price}", price=price)) for price in items),
        ]

    def refused_effect(self) -> Effect:
        return self.invoice(date=date(1999, 1, 4))


@pytest.fixture
def world() -> Iterator[TallyWorld]:
    clock = SimulatedClock()
    app = create_app(clock=clock)
    with serve(app) as url:
        opened = TallyWorld(url, clock, app.extensions["simulator"])
        with opened.session:
            yield opened
    assert opened.simulator.most_at_once <= 1, "two requests stood before Tally at a time"


class TestContract(ConnectorContract):
    """Every connector's tests."""

    def test_unknown_elements_pass(self, world):
        """The suite's own adds fields to JSON."""
        plain = {kind: world.connector().changes(kind, None).records for kind in world.provider.manifest.reads}
        strange = world.connector(wrap=AddsElements)

        for kind, records in plain.items():
            assert strange.changes(kind, None).records == records
        for effect in world.sample_effects():
            assert isinstance(only(strange.write([effect])), Done)


class AddsElements:
    """A Tally of tomorrow: every element that holds others holds one more, with a prefix of its own."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def send(self, request: Request) -> Answer:
        answer = self._http.send(request)
        more = b'<UDF:NEW.LIST TYPE="String"><UDF:NEW>&#4; &#x1F; <B>9</B></UDF:NEW></UDF:NEW.LIST>\x07'
        body = re.sub(
            rb"(<(?:LEDGER|STOCKITEM|VOUCHER|LEDGERENTRIES\.LIST|IMPORTRESULT)(?: [^>]*)?>)", rb"\1" + more, answer.body
        )
        return replace(answer, body=body)


class Asked:
    """Keeps what was asked."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, http: Http) -> Http:
        self._http = http
        return self

    def send(self, request: Request) -> Answer:
        self.bodies.append(request.body or b"")
        return self._http.send(request)


def refusal(outcomes: Sequence[Any]) -> Any:
    """The error of the one outcome, which was surely not done."""
    outcome = only(outcomes)
    assert isinstance(outcome, NotDone), outcome
    return outcome.error


class TestCompany:
    def test_it_is_known_by_its_guid_under_whatever_name(self, world):
        connector = world.connector()
        world.simulator.rename(COMPANY, "Demo Traders (2026-27)")
        world.set(open_companies=["Another Client", "Demo Traders (2026-27)"])

        account = connector.probe()
        record = done(connector.write([world.invoice()]))

        assert (account.id, account.name, account.currency) == (world.books.guid, "Demo Traders (2026-27)", "INR")
        assert world.voucher(record.id).text("REFERENCE")
        assert not world.simulator.company("Another Client").vouchers

    def test_nothing_is_read_or_written_while_another_one_is_open(self, world):
        effects = world.sample_effects()
        world.set(open_companies=["Another Client"])
        connector = world.connector()

        with pytest.raises(ReconnectError) as caught:
            connector.changes(Kind.INVOICE, None)
        errors = {type(outcome.error) for start in (0, 5) for outcome in connector.write(effects[start : start + 5])}

        assert "`Another Client`" in caught.value.message
        assert "Open the connection's company" in caught.value.next_step
        assert errors == {ReconnectError}
        routes = world.sandbox("GET", "calls")["routes"]
        assert not [route for route in routes if "/write/" in route]

    def test_none_open_is_waited_for(self, world):
        world.set(open_companies=[])

        with pytest.raises(UnavailableError, match="No company is open"):
            world.connector().ids(Kind.INVOICE, None)

    def test_one_that_is_closed_between_two_requests_is_waited_for(self, world):
        class Closes:
            def __init__(self, http: Http) -> None:
                self._http = http

            def send(self, request: Request) -> Answer:
                if request.write:
                    world.set(open_companies=["Another Client"])
                return self._http.send(request)

        error = refusal(world.connector(wrap=Closes).write([world.invoice()]))

        assert isinstance(error, UnavailableError)
        assert "closed in Tally meanwhile" in error.message
        assert not world.simulator.company("Another Client").vouchers

    def test_by_its_name_alone_it_is_only_asked_who_it_is(self, world):
        nameless = replace(world.context(company=COMPANY).connection, account="")
        connector = world.provider.open(replace(world.context(), connection=nameless))
        world.set(open_companies=["Another Client", COMPANY])

        assert connector.probe().id == world.books.guid
        with pytest.raises(SettingsError) as caught:
            connector.changes(Kind.INVOICE, None)
        assert world.books.guid in caught.value.message

    def test_of_several_without_a_name_none_is_chosen(self, world):
        nameless = replace(world.context().connection, account="")
        connector = world.provider.open(replace(world.context(), connection=nameless))
        assert connector.probe().name == COMPANY
        world.set(open_companies=["Another Client", COMPANY])

        with pytest.raises(SettingsError, match="Several companies"):
            connector.probe()


class TestProgram:
    def test_where_nobody_listens_tally_is_not_open(self, world):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            free = taken.getsockname()[1]
        connector = world.connector(url=f"http://127.0.0.1:{free}")

        with pytest.raises(UnavailableError, match="Tally is not open") as caught:
            connector.probe()
        error = refusal(connector.write([world.invoice()]))

        assert "Client" not in caught.value.message
        assert "Connectivity" in caught.value.next_step
        assert isinstance(error, UnavailableError)

    def test_a_window_on_the_screen_is_told_as_what_it_is(self, world):
        connector = world.connector(answer_within_seconds=1)
        world.set(window=True)

        with pytest.raises(UnavailableError, match="a window or a question is open") as caught:
            connector.probe()
        world.close_window()

        assert "close the window" in caught.value.next_step
        assert connector.probe().id == world.books.guid
        assert world.sandbox("GET", "calls")["routes"]["POST /read/Report"]["calls"] <= 2, "it was asked again"

    def test_a_write_into_a_window_is_unknown_and_never_repeated(self, world):
        """It is done as soon as somebody closes the window."""
        effects = [world.invoice(), world.invoice()]

        class OpensWindow:
            def __init__(self, http: Http) -> None:
                self._http = http

            def send(self, request: Request) -> Answer:
                if request.write:
                    world.set(window=True)
                return self._http.send(request)

        first, second = world.connector(wrap=OpensWindow, answer_within_seconds=1).write(effects)
        world.close_window()
        connector = world.connector()
        found = connector.find(effects)

        assert isinstance(first, Unknown)
        assert "a window or a question is open" in first.error.message
        assert isinstance(second, NotDone), "what follows would wait behind it"
        assert isinstance(second.error, UnavailableError)
        assert {key: [match.by for match in matches] for key, matches in found.items()} == {
            effects[0].id: [MatchedBy.REFERENCE]
        }
        assert len(world.books.vouchers) == 1

    def test_calls_of_two_threads_come_one_after_the_other(self, world):
        connector = world.connector()
        world.make_records(3)
        threads = [threading.Thread(target=connector.changes, args=(Kind.INVOICE, None)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert world.simulator.most_at_once == 1

    def test_there_is_a_pause_between_two_requests(self, world):
        connector = world.connector(pause_milliseconds=250)
        began = world.clock.now()

        connector.probe()
        connector.probe()
        connector.probe()

        assert (world.clock.now() - began).total_seconds() == 0.5

    def test_what_takes_too_long_is_left_for_the_next_turn(self, world):
        """A call over the bridge has 25 seconds."""
        connector = world.connector(pause_milliseconds=4000)
        effects = [world.invoice() for _ in range(5)]

        outcomes = connector.write(effects)

        assert isinstance(outcomes[-1], NotDone)
        assert "next turn" in outcomes[-1].error.message
        written = [outcome for outcome in outcomes if not isinstance(outcome, NotDone)]
        assert len(world.books.vouchers) == len(written) < 5

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    @pytest.mark.parametrize("release", [{}, {"erp9": True}, {"empty_lists": True}])
    def test_encodings_and_releases_make_no_difference(self, world, encoding, release):
        world.set(**release)
        connector = world.connector(encoding=encoding)

        for effect in world.sample_effects():
            record = done(connector.write([effect]))
            (again,) = connector.read(effect.kind, [record.id])
            assert done(connector.write([update_of(effect, again)])).fields == {
                **record.fields,
                **(
                    {"last_payment_on": None}
                    if effect.kind is Kind.INVOICE and "last_payment_on" in record.fields
                    else {}
                ),
            }


class TestFeed:
    def test_the_counters_are_all_that_a_quiet_poll_costs(self, world):
        world.make_records(4)
        connector = world.connector()
        _, _, cursor = all_changes(connector, Kind.INVOICE, None)
        world.sandbox("DELETE", "calls")

        page = connector.changes(Kind.INVOICE, cursor)

        assert (list(page.records), page.more, page.cursor) == ([], False, cursor)
        assert world.sandbox("GET", "calls")["total"] == 1

    def test_pages_end_where_the_stops_say_and_nothing_is_lost_that_changes_meanwhile(self, world):
        _, made = world.make_records(8)
        connector = world.connector()
        first = connector.changes(Kind.INVOICE, None)
        world.pay(made[0], "10")
        world.act(made[7], "Cancel")
        (late,) = world.make_records(1)[1]

        rest, _, cursor = all_changes(connector, Kind.INVOICE, first.cursor)
        later, _, _ = all_changes(connector, Kind.INVOICE, cursor)

        assert [record.id for record in first.records] == list(made[:3])
        assert first.more
        assert [record.id for record in rest] == list(made[3:7])
        assert [(record.id, record.fields["state"]) for record in later] == [(made[7], "voided"), (late, "open")]

    def test_a_restored_backup_is_read_anew_and_deletions_are_unsure(self, world):
        world.make_records(2)
        backup = world.books.snapshot()
        connector = world.connector()
        world.make_records(3)
        _, _, cursor = all_changes(connector, Kind.INVOICE, None)
        world.books.restore(backup)

        page = connector.changes(Kind.INVOICE, cursor)

        assert page.deletions_unsure
        assert len(page.records) == 2
        assert not connector.changes(Kind.INVOICE, page.cursor).deletions_unsure

    def test_a_renamed_customer_has_its_vouchers_still(self, world):
        (invoice,) = world.make_records(1)[1]
        connector = world.connector()
        before = connector.read(Kind.INVOICE, [invoice])
        cursor = connector.cursor_now(Kind.CUSTOMER)

        world.alter("LEDGER", "Acme & Sons", "Acme & Daughters")

        (renamed,) = connector.changes(Kind.CUSTOMER, cursor).records
        assert (renamed.id, renamed.fields["name"]) == (world.customer, "Acme & Daughters")
        assert connector.read(Kind.INVOICE, [invoice]) == before
        assert before[0].fields["customer"] == world.customer

    def test_only_ledgers_below_sundry_debtors_are_customers(self, world):
        world.make("GROUP", "South Debtors", PARENT="Sundry Debtors")
        world.alter("GROUP", "Sundry Debtors", "Customers")
        south = world.make("LEDGER", "Asha Stores", PARENT="South Debtors").guid
        world.make("LEDGER", "Paper Supplier", PARENT="Sundry Creditors")
        connector = world.connector()

        assert set(all_ids(connector, Kind.CUSTOMER)) == {world.customer, south}
        records, _, _ = all_changes(connector, Kind.CUSTOMER, None)
        assert {record.id for record in records} == {world.customer, south}
        assert connector.search(Kind.CUSTOMER, "name", ["paper supplier"]) == []
        (found,) = connector.search(Kind.CUSTOMER, "name", ["asha  stores", "nobody"])
        assert found.id == south

    def test_of_the_masters_only_what_was_saved_since_is_read_again(self, world):
        asked = Asked()
        connector = world.connector(wrap=asked)
        connector.ids(Kind.CUSTOMER, None)
        new = world.make("LEDGER", "Asha Stores", PARENT="Sundry Debtors").guid
        gone = world.make("LEDGER", "Bala Stores", PARENT="Sundry Debtors").guid
        asked.bodies.clear()

        assert set(all_ids(connector, Kind.CUSTOMER)) == {world.customer, new, gone}

        (ledgers,) = (body for body in asked.bodies if b"<TYPE>Ledger<" in body and b"$PartyGSTIN" in body)
        assert b"$AlterID &gt;" in ledgers
        world.make("GROUP", "East Debtors", PARENT="Sundry Debtors")
        world.alter("LEDGER", "Cash", PARENT="East Debtors")
        cash = world.books.master("LEDGER", "Cash").guid
        world.delete_ledger("Bala Stores")
        assert set(all_ids(connector, Kind.CUSTOMER)) == {world.customer, new, cash}

    def test_a_deleted_name_is_free_again_after_ten_minutes(self, world):
        connector = world.connector()
        world.make("LEDGER", "Bala Stores", PARENT="Sundry Debtors")
        connector.ids(Kind.CUSTOMER, None)
        world.delete_ledger("Bala Stores")
        effect = world.effect(Kind.CUSTOMER, Customer(name="Bala Stores"))

        assert isinstance(refusal(connector.write([effect])), ConflictError)
        world.clock.advance(601)
        world.alter("LEDGER", "Cash", PARENT="Cash-in-Hand")

        assert done(connector.write([effect])).fields["name"] == "Bala Stores"

    def test_a_company_without_counters_is_told(self, world):
        class SaysNone:
            def __init__(self, http: Http) -> None:
                self._http = http

            def send(self, request: Request) -> Answer:
                answer = self._http.send(request)
                return replace(answer, body=re.sub(rb"<VOUCHERS>\d+<", b"<VOUCHERS><", answer.body))

        with pytest.raises(UnavailableError, match="counters"):
            world.connector(wrap=SaysNone).changes(Kind.INVOICE, None)

    def test_optional_vouchers_are_estimates_and_no_invoices(self, world):
        connector = world.connector()
        quote = done(connector.write([world.effect(Kind.ESTIMATE, Estimate(**world.sales(number="Q-1")))]))

        assert world.voucher(quote.id).text("ISOPTIONAL") == "Yes"
        assert all_ids(connector, Kind.INVOICE) == []
        assert all_ids(connector, Kind.ESTIMATE) == [quote.id]
        assert world.books.balances()["Acme & Sons"] == 0

    def test_an_own_voucher_type_is_one_of_its_base(self, world):
        world.make("VOUCHERTYPE", "Export Sales", PARENT="Sales")
        connector = world.connector(sales_voucher_type="Export Sales")

        record = done(connector.write([world.invoice()]))

        assert world.voucher(record.id).text("VOUCHERTYPENAME") == "Export Sales"
        assert all_ids(world.connector(), Kind.INVOICE) == [record.id]


class TestPayments:
    def test_what_is_open_comes_from_the_bills(self, world):
        connector = world.connector()
        record = done(connector.write([world.invoice(number="INV-1")]))
        assert (record.fields["state"], record.fields["balance"], record.fields["paid"]) == ("open", 100, 0)

        world.pay(record.id, "40")
        (partly,) = connector.read(Kind.INVOICE, [record.id])
        world.pay(record.id, "60")
        (paid,) = connector.read(Kind.INVOICE, [record.id])

        assert (partly.fields["state"], partly.fields["balance"], partly.fields["paid"]) == ("partly_paid", 60, 40)
        assert partly.fields["last_payment_on"] == date(2026, 1, 9)
        assert (paid.fields["state"], paid.fields["balance"], paid.fields["paid"]) == ("paid", 0, 100)
        assert paid.version == record.version, "a receipt does not alter its invoice"

    def test_a_receipt_names_the_invoices_that_it_pays(self, world):
        invoices = world.make_records(2)[1]
        connector = world.connector()
        cursor = connector.cursor_now(Kind.PAYMENT)
        world.pay(invoices[1], "25.50")

        (payment,) = connector.changes(Kind.PAYMENT, cursor).records

        assert payment.fields["invoice_ids"] == [invoices[1]]
        assert payment.fields["amount"] == Decimal("25.50")
        assert payment.fields["customer"] == world.customer

    def test_a_receipt_whose_party_is_said_to_be_the_bank_is_its_customers(self, world):
        (invoice,) = world.make_records(1)[1]
        world.pay(invoice, "25.50")
        (stored,) = (each for each in world.books.vouchers.values() if each.text("VOUCHERTYPENAME") == "Receipt")
        party = stored.element.find("PARTYLEDGERNAME")
        assert party is not None
        party.text = "HDFC Bank"
        connector = world.connector()

        (payment,) = all_changes(connector, Kind.PAYMENT, None)[0]

        assert (payment.fields["customer"], payment.fields["invoice_ids"]) == (world.customer, [invoice])
        assert all_ids(connector, Kind.PAYMENT) == [payment.id]

    def test_a_payment_is_booked_to_the_bank_against_the_bill(self, world):
        (invoice,) = world.make_records(1)[1]
        parts = (Allocation(invoice=invoice, amount=Decimal(60)),)
        effect = world.payment(invoice, "100", allocations=parts)

        done(world.connector().write([effect]))

        assert world.books.balances()["HDFC Bank"] == -100
        assert list(world.books.open_bills().values()) == [-40]
        assert refusal(world.connector(receipt_ledger="").write([world.payment(invoice)])).next_step
        other = world.make("LEDGER", "Another", PARENT="Sundry Debtors").guid
        wrong = refusal(world.connector().write([world.payment(invoice, customer=other)]))
        assert wrong.field == "allocations"

    def test_a_paid_invoice_is_not_cancelled_and_an_open_one_keeps_its_number(self, world):
        connector = world.connector()
        effects = [world.invoice(number="A-1"), world.invoice(number="A-2")]
        first, second = (done(connector.write([effect])) for effect in effects)
        world.pay(first.id, "10")
        voided = [
            replace(
                update_of(effect, record), document=effect.document.model_copy(update={"status": InvoiceStatus.VOIDED})
            )
            for effect, record in zip(effects, (first, second), strict=True)
        ]

        assert refusal(connector.write(voided[:1])).field == "status"
        after = done(connector.write(voided[1:]))
        again = done(connector.write([replace(voided[1], target_version=after.version)]))

        assert (after.fields["status"], after.fields["state"], after.fields["total"]) == ("voided", "voided", 0)
        assert (after.fields["ledger_number"], after.fields["reference"]) == ("2", effects[1].reference)
        assert again == after
        assert world.books.balances()["Acme & Sons"] == -90
        assert after.id in all_ids(connector, Kind.INVOICE)


class TestTaxes:
    @pytest.mark.parametrize(
        ("state", "country", "ledgers"),
        [
            ("Karnataka", "IN", {"Output CGST": Decimal("9.00"), "Output SGST": Decimal("9.00"), "Output IGST": 0}),
            ("Kerala", "IN", {"Output CGST": 0, "Output SGST": 0, "Output IGST": Decimal("18.00")}),
            (None, "FR", {"Output CGST": 0, "Output SGST": 0, "Output IGST": Decimal("18.00")}),
        ],
    )
    def test_the_place_of_supply_decides(self, world, state, country, ledgers):
        address = Address(line1="1 Road", city="Town", state=state, country=country)
        effect = world.invoice(world.line(tax_code="gst 18"), billing_address=address)

        record = done(world.connector().write([effect]))

        balances = world.books.balances()
        assert {name: balances[name] for name in ledgers} == ledgers
        assert balances["Acme & Sons"] == -118
        assert balances["Sales"] == 100
        assert (record.fields["total"], record.fields["tax_total"]) == (118, 18)
        assert record.fields["lines"][0]["tax_code"] == "GST 18"
        assert world.voucher(record.id).text("PLACEOFSUPPLY") == (state or "France")

    def test_the_customers_own_state_counts_without_an_address(self, world):
        connector = world.connector()
        address = Address(line1="1 Road", city="Kochi", state="Kerala", country="IN")
        made = world.effect(
            Kind.CUSTOMER, Customer(name="Kochi Stores", billing_address=address, tax_id="32AAAAA0000A1Z5")
        )
        customer = done(connector.write([made])).id

        record = done(connector.write([world.invoice(world.line(tax_code="GST 18"), customer=customer)]))

        voucher = world.voucher(record.id)
        assert voucher.text("PLACEOFSUPPLY") == voucher.text("STATENAME") == "Kerala"
        assert voucher.text("PARTYGSTIN") == "32AAAAA0000A1Z5"
        assert voucher.text("GSTREGISTRATIONTYPE") == "Regular"
        assert world.books.balances()["Output IGST"] == 18

    def test_rates_are_rounded_each_and_a_discount_lowers_them(self, world):
        address = Address(state="Karnataka", country="IN")
        lines = (
            world.line("99.99", tax_code="GST 18"),
            world.line("33.33", tax_code="GST 5"),
            world.line("10.00", tax_code="Exempt"),
        )
        effect = world.invoice(*lines, billing_address=address, discount=Discount(percent=Decimal(10)))

        record = done(world.connector().write([effect]))

        # 143.32 less 14.33; 18 %: 99.99 - 10.00 = 89.99, 9 % of it 8.10; 5 %: 33.33 - 3.33 = 30.00, 2.5 % of it 0.75
        balances = world.books.balances()
        assert balances["Discount Allowed"] == Decimal("-14.33")
        assert balances["Output CGST"] == balances["Output SGST"] == Decimal("8.85")
        assert record.fields["total"] == Decimal("143.32") - Decimal("14.33") + Decimal("17.70")
        assert [line["tax_code"] for line in record.fields["lines"]] == ["GST 18", "GST 5", "Exempt"]
        assert record.fields["discount"] == {"amount": Decimal("14.33"), "percent": Decimal("10.00")}

    def test_a_credit_note_books_the_other_way(self, world):
        connector = world.connector()
        address = Address(state="Karnataka", country="IN")
        line = world.line(tax_code="GST 18")
        done(connector.write([world.invoice(line, billing_address=address)]))
        document = Customer(name="Acme & Sons", billing_address=address)
        (standing,) = connector.read(Kind.CUSTOMER, [world.customer])
        customer = update_of(world.effect(Kind.CUSTOMER, document), standing)
        done(connector.write([customer]))

        record = done(connector.write([world.effect(Kind.CREDIT_NOTE, CreditNote(**world.sales(line)))]))

        assert {name: amount for name, amount in world.books.balances().items() if amount} == {}
        assert (record.fields["total"], record.fields["tax_total"]) == (118, 18)

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"lines": "GST 28"}, "lines"),
            ({"lines": "GST 18"}, "billing_address"),
            ({"tax_total": Decimal(1)}, "tax_total"),
            ({"currency": "USD"}, "currency"),
            ({"note": "internal"}, "note"),
            ({"memo": "bell \x07"}, "memo"),
        ],
    )
    def test_what_cannot_be_booked_is_refused_before_it_is_sent(self, world, fields, field):
        code = fields.pop("lines", None)
        effect = world.invoice(world.line(tax_code=code) if code else world.line(), **fields)

        error = refusal(world.connector().write([effect]))

        assert isinstance(error, RejectedError)
        assert error.field == field
        assert not world.books.vouchers

    @pytest.mark.parametrize(
        "line",
        [
            {"quantity": Decimal(0)},
            {"quantity": Decimal(-1)},
            {"quantity": Decimal("0.12345")},
            {"amount": Decimal("0.001")},
        ],
    )
    def test_quantities_and_amounts_that_tally_has_no_place_for_are_refused(self, world, line):
        error = refusal(
            world.connector().write([world.invoice(Line(**{"item": world.item, "amount": Decimal(1), **line}))])
        )

        assert isinstance(error, RejectedError)
        assert not world.books.vouchers


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "tally", "said"),
        [
            ({"sales_ledger": "Sales Local"}, {}, "no ledger named `Sales Local`"),
            ({"sales_voucher_type": "Tax Invoice"}, {}, "Voucher Type 'Tax Invoice' does not exist"),
            ({}, {"locked_until": "2026-03-31"}, "locked"),
            ({}, {"educational": True}, "educational mode"),
            ({}, {"holds_back": True}, "exception"),
        ],
    )
    def test_what_tally_refuses_says_why(self, world, settings, tally, said):
        world.set(**tally)

        error = refusal(world.connector(**settings).write([world.invoice()]))

        assert isinstance(error, RejectedError)
        assert said in error.message
        assert error.next_step
        assert not world.books.vouchers

    def test_the_days_of_the_educational_mode_are_taken(self, world):
        world.set(educational=True)

        for day in (1, 2, 31):
            done(world.connector().write([world.invoice(date=date(2026, 1, day))]))

    def test_a_ledger_that_goes_between_our_question_and_the_write_is_tallys_refusal(self, world):
        class Renames:
            def __init__(self, http: Http) -> None:
                self._http = http

            def send(self, request: Request) -> Answer:
                if request.write:
                    world.alter("LEDGER", "Sales", "Sales Local")
                return self._http.send(request)

        error = refusal(world.connector(wrap=Renames).write([world.invoice()]))

        assert isinstance(error, RejectedError)
        assert "Ledger 'Sales' does not exist" in error.message
        done(world.connector(sales_ledger="Sales Local").write([world.invoice()]))

    def test_a_total_that_tally_makes_otherwise_does_not_stand(self, world):
        effect = world.invoice(world.line(tax_code="GST 18"), billing_address=Address(state="Karnataka", country="IN"))
        world.set(recomputes=True)

        error = refusal(world.connector().write([effect]))

        assert isinstance(error, RejectedError)
        assert "119.00 instead of 118.00" in error.message
        assert "deleted again" in error.message
        assert not world.books.vouchers

        world.set(edit_log=True)
        error = refusal(world.connector().write([effect]))
        assert "was cancelled" in error.message
        (left,) = world.books.vouchers.values()
        assert left.text("ISCANCELLED") == "Yes"


class TestDoubles:
    def test_a_posted_voucher_is_only_changed_in_its_texts(self, world):
        connector = world.connector()
        effect = world.invoice(number="INV-1", memo="Thanks")
        record = done(connector.write([effect]))
        other = effect.document.model_copy(update={"lines": (world.line("120.00"),)})
        texts = effect.document.model_copy(update={"memo": "Many thanks", "number": "INV-1a"})

        error = refusal(connector.write([replace(update_of(effect, record), document=other)]))
        after = done(connector.write([replace(update_of(effect, record), document=texts)]))

        assert isinstance(error, RejectedError)
        assert error.field == "lines"
        assert (after.id, after.fields["memo"], after.fields["number"]) == (record.id, "Many thanks", "INV-1a")
        assert after.fields["reference"] == effect.reference
        assert after.fields["total"] == 100
        assert len(world.books.vouchers) == 1

    def test_a_second_voucher_that_an_alter_made_is_taken_back(self, world):
        connector = world.connector()
        effect = world.invoice(number="INV-1")
        record = done(connector.write([effect]))
        world.set(alters_create=True)
        changed = replace(update_of(effect, record), document=effect.document.model_copy(update={"memo": "Hello"}))

        error = refusal(connector.write([changed]))

        assert isinstance(error, RejectedError)
        assert "second voucher" in error.message
        assert "deleted again" in error.message
        assert [voucher.guid for voucher in world.books.vouchers.values()] == [record.id]

    def test_nothing_is_sent_if_nothing_differs(self, world):
        connector = world.connector()
        effect = world.invoice(number="INV-1")
        record = done(connector.write([effect]))
        world.sandbox("DELETE", "calls")

        assert done(connector.write([update_of(effect, record)])) == record

        assert not [route for route in world.sandbox("GET", "calls")["routes"] if "/write/" in route]

    def test_the_same_voucher_sent_twice_stands_once(self, world):
        """The engine looks before; this is what remains of it if it were to look too early."""
        effect = world.invoice(number="INV-1")
        connector = world.connector()

        first, second = done(connector.write([effect])), done(connector.write([effect]))

        assert first.id == second.id
        assert len(world.books.vouchers) == 1

    def test_a_mark_that_somebody_removed_is_found_by_the_reference(self, world):
        effect = world.invoice()
        connector = world.connector()
        record = done(connector.write([effect]))
        narration = world.voucher(record.id).element.find("NARRATION")
        assert narration is not None
        narration.text = "per telephone"

        (match,) = connector.find([effect])[effect.id]

        assert (match.record.id, match.by) == (record.id, MatchedBy.REFERENCE)

    def test_a_name_is_asked_for_before_a_master_is_created(self, world):
        """Tally would silently alter the ledger that has it, and open a window for the item."""
        connector = world.connector()
        same = [
            world.effect(Kind.CUSTOMER, Customer(name="acme  & SONS", email="new@example.test")),
            world.effect(Kind.ITEM, Item(name="gtx pro")),
        ]
        taken = world.effect(Kind.CUSTOMER, Customer(name="HDFC Bank"))

        assert [type(refusal(connector.write([effect]))) for effect in same] == [ConflictError, ConflictError]
        assert isinstance(refusal(connector.write([taken])), NameTakenError)
        assert [match.record.id for match in connector.find(same)[same[0].id]] == [world.customer]
        assert world.books.master("LEDGER", "Acme & Sons").text("EMAIL") == ""
        assert taken.id not in connector.find([taken])

    def test_a_unit_is_made_once(self, world):
        connector = world.connector(unit="Box")

        first = done(connector.write([world.effect(Kind.ITEM, Item(name="One"))]))
        done(connector.write([world.effect(Kind.ITEM, Item(name="Two"))]))

        assert world.books.master("UNIT", "Box").text("DECIMALPLACES") == "4"
        record = done(connector.write([world.invoice(Line(item=first.id, amount=Decimal(5)))]))
        assert record.fields["lines"][0]["item"] == first.id

    def test_an_alter_that_matches_nothing_leaves_no_second_ledger(self, world):
        connector = world.connector()
        effect = world.effect(Kind.CUSTOMER, Customer(name="Acme & Sons", email="a@example.test"))
        change = replace(update_of(effect, connector.read(Kind.CUSTOMER, [world.customer])[0]))

        class Renames:
            def __init__(self, http: Http) -> None:
                self._http = http
                self.renamed = False

            def send(self, request: Request) -> Answer:
                if request.write and not self.renamed:
                    self.renamed = True
                    world.alter("LEDGER", "Acme & Sons", "Acme & Daughters")
                return self._http.send(request)

        error = refusal(world.connector(wrap=Renames).write([change]))

        assert isinstance(error, ConflictError)
        assert world.books.master("LEDGER", "Acme & Sons") is None
        assert world.books.master("LEDGER", "Acme & Daughters").guid == world.customer

    def test_a_customer_keeps_what_an_update_does_not_name(self, world):
        connector = world.connector()
        effect = world.sample_effects()[0]
        record = done(connector.write([effect]))
        part = Customer(name=effect.document.name, email="new@example.test")

        after = done(connector.write([replace(update_of(effect, record), document=part)]))

        assert after.fields == {**record.fields, "email": "new@example.test"}

    def test_what_somebody_changed_or_deleted_meanwhile_is_not_written(self, world):
        connector = world.connector()
        effect = world.invoice(number="INV-1")
        record = done(connector.write([effect]))
        stale = replace(update_of(effect, record), target_version="1")
        world.act(record.id, "Delete")

        assert isinstance(refusal(connector.write([update_of(effect, record)])), NotFoundError)
        again = done(connector.write([world.invoice()]))
        assert isinstance(refusal(connector.write([replace(stale, target_id=again.id)])), ConflictError)


def test_there_are_no_webhooks(world):
    webhook = Webhook({}, b"")

    with pytest.raises(SignatureError):
        world.provider.verify(webhook, {})
    with pytest.raises(ValueError, match="webhook"):
        world.provider.hints(webhook)


@pytest.mark.parametrize(
    "address",
    [
        {"line1": "12 MG Road"},
        {"city": "Bengaluru"},
        {"line1": "12 MG Road", "city": "Bengaluru"},
        {"line1": "12 MG Road", "line3": "Rear", "city": "Bengaluru"},
        {"line1": "12 MG Road", "line2": "2nd floor"},
        {"line2": "2nd floor"},
        {"state": "Kerala", "country": "IN"},
    ],
)
def test_addresses_come_back_as_they_were(world, address):
    effect = world.effect(Kind.CUSTOMER, Customer(name="Somebody", billing_address=Address(**address)))

    record = done(world.connector().write([effect]))

    nothing = dict.fromkeys(("line1", "line2", "line3", "city", "state", "postal_code", "country"))
    assert record.fields["billing_address"] == {**nothing, **address}


def test_items_are_found_by_their_alias(world):
    connector = world.connector()
    record = done(connector.write([world.effect(Kind.ITEM, Item(name="Lamp", sku="L-7", price=Decimal(3)))]))

    assert [found.id for found in connector.search(Kind.ITEM, "sku", ["l-7", "x"])] == [record.id]
    with pytest.raises(RejectedError):
        connector.search(Kind.INVOICE, "name", ["x"])
    same = world.effect(Kind.ITEM, Item(name="Bulb", sku="bulb"))
    assert refusal(connector.write([same])).field == "sku"


def test_an_answer_that_says_done_and_is_not_to_be_found_is_unknown(world):
    class Forgets:
        def __init__(self, http: Http) -> None:
            self._http = http

        def send(self, request: Request) -> Answer:
            answer = self._http.send(request)
            if request.write:
                world.books.vouchers.clear()
            return answer

    outcome = only(world.connector(wrap=Forgets).write([world.invoice()]))

    assert isinstance(outcome, Unknown)
    assert isinstance(outcome.error, UncertainError)
