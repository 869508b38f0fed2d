"""The Tryton connector against a real Tryton server: the suite that every connector passes, and its own quirks.

The server is trytond itself on SQLite, started here on loopback; calls go through a gate that can lose them. It is a
lane of its own, as posting is slow there and the connector is not offered yet: `pytest tests/contract/tryton_lane.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.suite import ConnectorContract, SimulatedWorld, all_changes, done, only, update_of
from tieout.connectors import tryton
from tieout.domain.documents import (
    Address,
    CreditNote,
    Customer,
    Discount,
    Document,
    Invoice,
    InvoiceStatus,
    Item,
    Line,
)
from tieout.domain.effects import Effect, MatchedBy, NotDone, Operation, Unknown
from tieout.domain.errors import ConflictError, NotFoundError, ReconnectError, RejectedError
from tieout.domain.records import Kind
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.server import serve
from tieout_sandbox.simulators.tryton import Rpc, TrytonServer, create_gate
from tieout_sandbox.simulators.tryton.seed import PASSWORD, USER

DAY = date(2026, 1, 5)
pytestmark = pytest.mark.slow


class ServerClock(WallClock):
    """The server's own time is the machine's, so that time passes by making everything older."""

    def __init__(self, server: TrytonServer) -> None:
        self._server = server

    def advance(self, seconds: float) -> None:
        self._server.grow_older(seconds)

    def sleep(self, seconds: float) -> None:
        """Return at once."""


class TrytonWorld(SimulatedWorld):
    provider = tryton.CONNECTOR
    write_match = {"method": "POST", "path": "/write/*"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, server: TrytonServer, person: Rpc, count: Iterator[int]) -> None:
        super().__init__(url, ServerClock(server), {"username": USER, "password": PASSWORD})
        self.person = person
        self._count = count
        self.customer = str(person.make("party.party", name=self.name("Acme"), addresses=[["create", [{}]]]))
        unit = person.first("product.uom", ["symbol", "=", "u"])
        template = person.make(
            "product.template",
            name=self.name("GTX Pro"),
            type="service",
            list_price=Decimal(4821),
            default_uom=unit,
            salable=True,
            sale_uom=unit,
            account_category=person.first("product.category"),
            products=[["create", [{}]]],
        )
        self.item = str(person.first("product.product", ["template", "=", template]))

    def name(self, word: str) -> str:
        """A name that nobody has yet."""
        return f"{word} {next(self._count)}"

    def settings(self) -> dict[str, Any]:
        return {"base_url": self.url, "database": "erp"}

    def account(self) -> str:
        return ""

    def draft(self, **values: Any) -> dict[str, Any]:
        """What a person fills in for an invoice of 100.00."""
        line = {
            "type": "line",
            "company": 1,
            "currency": 1,
            "quantity": 1,
            "unit_price": Decimal(100),
            "account": self.person.first("account.account", ["code", "=", "4.1.1"]),
        }
        return {
            "company": 1,
            "type": "out",
            "party": int(self.customer),
            "invoice_address": self.person.first("party.address", ["party", "=", int(self.customer)]),
            "account": self.person.first("account.account", ["code", "=", "1.2.1"]),
            "journal": self.person.first("account.journal", ["type", "=", "revenue"]),
            "currency": 1,
            "invoice_date": DAY,
            "lines": [["create", [line]]],
            **values,
        }

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        """All in one transaction, so at one time to the microsecond."""
        made = self.person.call("model.account.invoice.create", [self.draft() for _ in range(count)])
        return Kind.INVOICE, [str(one) for one in made]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        self.person.call("model.account.invoice.delete", [int(record_id)])

    def revoke(self) -> None:
        self.let_in(active=False)

    def let_in(self, *, active: bool = True) -> None:
        """Switch the connection's user on or off."""
        context = {"active_test": False}
        (user,) = self.person.call(
            "model.res.user.search",
            [["login", "=", USER], ["active", "in", [True, False]]],
            0,
            1,
            None,
            context=context,
        )
        self.person.call("model.res.user.write", [user], {"active": active})

    def state(self, invoice: str) -> str:
        """As Tryton has it."""
        (row,) = self.person.call("model.account.invoice.read", [int(invoice)], ["state"])
        return str(row["state"])

    def marked(self, effect: Effect) -> list[dict[str, Any]]:
        """Every invoice that bears the effect's mark, in whatever state."""
        found: list[dict[str, Any]] = self.person.call(
            "model.account.invoice.search_read",
            [["reference", "like", f"%{effect.reference}%"]],
            0,
            None,
            None,
            ["state"],
        )
        return found

    def effect(self, kind: Kind, document: Document) -> Effect:
        number = next(self._count)
        return Effect(f"{number:032x}", Operation.CREATE, kind, document, f"ref{number:09d}")

    def line(self, amount: str = "100.00", **fields: Any) -> Line:
        return Line(item=self.item, amount=Decimal(amount), **fields)

    def sales(self, *lines: Line, **fields: Any) -> dict[str, Any]:
        return {"customer": self.customer, "date": DAY, "currency": "USD", "lines": lines or (self.line(),), **fields}

    def invoice(self, *lines: Line, **fields: Any) -> Effect:
        return self.effect(Kind.INVOICE, Invoice(**self.sales(*lines, **fields)))

    def sample_effects(self) -> Sequence[Effect]:
        number = next(self._count)
        address = Address(
            line1="1 Main St", line2="2nd floor", city="Paris", state="IDF", postal_code="75001", country="FR"
        )
        lines = (
            self.line("25.00", quantity=Decimal("2.5"), unit_price=Decimal(10), description="Días", tax_code="NON"),
            self.line("0.10", quantity=Decimal(1), unit_price=Decimal("0.10")),
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
                ),
            ),
            self.effect(
                Kind.ITEM,
                Item(name=f"GTX 100% {number}", sku=f"G{number}", description="50_50", price=Decimal("5.125")),
            ),
            self.effect(
                Kind.INVOICE,
                Invoice(
                    **self.sales(*lines, discount=Discount(percent=Decimal(10)), memo="Thanks", note="internal"),
                    number=f"OPP-{number}",
                    due_date=date(2026, 2, 4),
                ),
            ),
            self.effect(Kind.CREDIT_NOTE, CreditNote(**self.sales(*lines, memo="Sorry"))),
        ]

    def exact_effects(self) -> Sequence[Effect]:
        amounts = [Decimal(0), Decimal("0.001"), Decimal("12.345"), Decimal("10005534.10")]
        items = [self.effect(Kind.ITEM, Item(name=self.name("Exact"), price=amount)) for amount in amounts]
        lines = (
            self.line("12.35", quantity=Decimal("1.235"), unit_price=Decimal(10)),
            self.line("0.00", quantity=Decimal(0), unit_price=Decimal("3.125")),
            self.line("-0.30", quantity=Decimal(-1), unit_price=Decimal("0.30")),
            self.line("10005534.10", quantity=Decimal(1), unit_price=Decimal("10005534.10")),
        )
        return [*items, self.invoice(*lines)]

    def refused_effect(self) -> Effect:
        return self.invoice(date=date(1999, 1, 4))  # a year that the books do not have


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    with TrytonServer(tmp_path_factory.mktemp("tryton")) as running:
        yield running


@pytest.fixture(scope="module")
def person(server: TrytonServer) -> Rpc:
    return server.administrator()


@pytest.fixture(scope="module")
def count() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def world(server: TrytonServer, person: Rpc, count: Iterator[int]) -> Iterator[TrytonWorld]:
    with serve(create_gate(server.port, server.administrator, clock=WallClock())) as url:
        opened = TrytonWorld(url, server, person, count)
        with opened.session:
            yield opened
            opened.let_in()


class TestContract(ConnectorContract):
    """Every connector's tests."""


CREATE, POST = "/write/model.account.invoice.create", "/write/model.account.invoice.post"


def lost(path: str, kind: str = "lost_answer") -> list[dict[str, Any]]:
    """One call fails: the answer to it gets lost, or (`reset`) it never arrives."""
    return [{"kind": kind, "times": 1, "match": {"method": "POST", "path": path}}]


def test_an_invoice_is_posted_under_a_number_of_trytons(world):
    record = done(world.connector().write([world.invoice(due_date=date(2026, 2, 4), tax_total=Decimal(0))]))

    assert world.state(record.id) == "posted"
    assert record.fields["number"] == record.fields["ledger_number"]
    assert str(record.fields["number"]).startswith("2026/")
    assert (record.fields["status"], record.fields["state"]) == ("issued", "open")
    assert (record.fields["total"], record.fields["balance"], record.fields["paid"]) == (100, 100, 0)
    assert record.fields["due_date"] == date(2026, 2, 4)
    assert record.edited_by == "Tieout"


@pytest.mark.parametrize("kind", ["lost_answer", "reset"])
@pytest.mark.parametrize("path", [CREATE, POST, "/write/model.res.user.warning.skip"])
def test_an_invoice_that_was_left_half_way_is_finished_and_stands_once(world, path, kind):
    """Its due date is past, so that Tryton also asks for a confirmation between draft and posting."""
    effect = world.invoice(due_date=date(2026, 2, 4))
    connector = world.connector(faults=lost(path, kind))

    assert isinstance(only(connector.write([effect])), Unknown)
    if (path, kind) == (CREATE, "reset"):
        assert connector.find([effect]) == {}
        assert world.marked(effect) == []
        return

    (match,) = connector.find([effect])[effect.id]

    assert match.by is MatchedBy.REFERENCE
    assert match.record.fields["status"] == "issued"
    assert [row["state"] for row in world.marked(effect)] == ["posted"]
    assert [found.record for found in connector.find([effect])[effect.id]] == [match.record]


def test_a_draft_on_which_somebody_worked_is_left_to_them(world):
    effect = world.invoice()
    connector = world.connector(faults=lost(POST, "reset"))
    assert isinstance(only(connector.write([effect])), Unknown)
    (row,) = world.marked(effect)
    (draft,) = world.person.call("model.account.invoice.read", [row["id"]], ["lines"])
    world.person.call("model.account.invoice.line.write", draft["lines"], {"unit_price": Decimal(90)})

    (match,) = connector.find([effect])[effect.id]

    assert match.record.fields["status"] == "draft"
    assert match.record.fields["total"] == 90
    assert world.state(match.record.id) == "draft"


def test_a_draft_that_tryton_refuses_to_post_is_deleted_again(world):
    effect = world.refused_effect()
    refused = only(world.connector().write([effect]))

    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, RejectedError)
    assert world.marked(effect) == []

    connector = world.connector(faults=lost(POST, "reset"))
    assert isinstance(only(connector.write([effect])), Unknown)
    assert connector.find([effect]) == {}
    assert world.marked(effect) == []


def test_a_total_that_tryton_makes_otherwise_is_never_posted(world):
    taxed = world.line(tax_code="VAT 20")
    wrong = world.invoice(taxed, tax_total=Decimal(19))
    refused = only(world.connector().write([wrong]))
    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, RejectedError)
    assert "120.00" in refused.error.message
    assert world.marked(wrong) == []

    record = done(world.connector().write([world.invoice(taxed, tax_total=Decimal(20))]))

    assert (record.fields["total"], record.fields["tax_total"]) == (120, 20)
    assert record.fields["lines"][0]["tax_code"] == "VAT 20"


def test_what_somebody_pays_is_read_back(world):
    connector = world.connector()
    record = done(connector.write([world.invoice()]))
    world.clock.advance(3600)
    invoices, payments = connector.cursor_now(Kind.INVOICE), connector.cursor_now(Kind.PAYMENT)

    world.person.pay(int(record.id), Decimal(40), date(2026, 3, 2))

    ((partly,), _, _) = all_changes(connector, Kind.INVOICE, invoices)
    assert partly.id == record.id
    assert partly.version != record.version
    assert (partly.fields["state"], partly.fields["paid"], partly.fields["balance"]) == ("partly_paid", 40, 60)
    assert partly.fields["last_payment_on"] == date(2026, 3, 2)
    ((payment,), _, _) = all_changes(connector, Kind.PAYMENT, payments)
    assert payment.fields["invoice_ids"] == [record.id]
    assert (payment.fields["amount"], payment.fields["currency"]) == (40, "USD")
    assert payment.fields["date"] == date(2026, 3, 2)

    world.person.pay(int(record.id), Decimal(60), date(2026, 3, 9))

    (paid,) = connector.read(Kind.INVOICE, [record.id])
    assert (paid.fields["state"], paid.fields["paid"], paid.fields["balance"]) == ("paid", 100, 0)
    assert paid.fields["last_payment_on"] == date(2026, 3, 9)


def test_an_open_invoice_is_voided_and_a_paid_one_is_not(world):
    connector = world.connector()
    effect = world.invoice()
    record = done(connector.write([effect]))
    void = Invoice(**world.sales(), status=InvoiceStatus.VOIDED)

    voided = done(connector.write([replace(update_of(effect, record), document=void)]))

    assert (voided.id, voided.fields["state"], voided.fields["balance"]) == (record.id, "voided", 0)
    assert world.state(record.id) == "cancelled"
    again = replace(update_of(effect, voided), document=void)
    assert done(connector.write([again])).fields["state"] == "voided"

    effect = world.invoice()
    record = done(connector.write([effect]))
    world.person.pay(int(record.id), Decimal(100), date(2026, 3, 2))
    (paid,) = connector.read(Kind.INVOICE, [record.id])
    refused = only(connector.write([replace(update_of(effect, paid), document=void)]))
    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, RejectedError)
    assert refused.error.field == "status"
    assert world.state(record.id) == "paid"


def test_of_a_posted_invoice_only_texts_can_change(world):
    connector = world.connector()
    effect = world.invoice(number="OPP-77", memo="Thanks")
    record = done(connector.write([effect]))

    other = replace(update_of(effect, record), document=Invoice(**world.sales(memo="Many thanks"), number="OPP-78"))
    record = done(connector.write([other]))
    assert (record.fields["memo"], record.fields["number"]) == ("Many thanks", "OPP-78")
    assert record.fields["reference"] == effect.reference

    dearer = Invoice(**world.sales(world.line("101.00")), memo="Many thanks", number="OPP-78")
    refused = only(connector.write([replace(update_of(effect, record), document=dearer)]))
    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, RejectedError)
    assert refused.error.field == "lines"
    (now,) = connector.read(Kind.INVOICE, [record.id])
    assert now == record


def test_a_credit_note_is_an_invoice_of_the_other_sign_and_never_read_as_one(world):
    connector = world.connector()
    record = done(connector.write([world.effect(Kind.CREDIT_NOTE, CreditNote(**world.sales()))]))

    assert (record.fields["total"], record.fields["balance"]) == (100, 100)
    (row,) = world.person.call("model.account.invoice.read", [int(record.id)], ["total_amount"])
    assert row["total_amount"] == -100
    assert connector.read(Kind.INVOICE, [record.id]) == []
    assert record.fields["ledger_number"].startswith("C2026/")


def test_a_changed_address_is_a_change_of_the_customer(world):
    connector = world.connector()
    effect = world.sample_effects()[0]
    record = done(connector.write([effect]))
    world.clock.advance(3600)
    (record,) = connector.read(Kind.CUSTOMER, [record.id])
    cursor = connector.cursor_now(Kind.CUSTOMER)
    address = world.person.first("party.address", ["party", "=", int(record.id)])

    world.person.call("model.party.address.write", [address], {"city": "Lyon"})

    ((seen,), _, _) = all_changes(connector, Kind.CUSTOMER, cursor)
    assert (seen.id, seen.fields["billing_address"]["city"]) == (record.id, "Lyon")
    assert seen.edited_at > record.edited_at
    stale = only(connector.write([update_of(effect, record)]))
    assert isinstance(stale, NotDone)
    assert isinstance(stale.error, ConflictError)


def test_what_is_changed_between_our_read_and_our_write_is_a_conflict(world):
    """Tryton itself compares the version: the change comes after the connector has looked."""
    effect = world.sample_effects()[0]
    record = done(world.connector().write([effect]))

    class EditsFirst:
        def __init__(self, http: Any) -> None:
            self._http = http

        def send(self, request: Any) -> Any:
            if b"model.party.party.write" in (request.body or b""):
                world.person.call("model.party.party.write", [int(record.id)], {"name": "Somebody was faster"})
            return self._http.send(request)

    outcome = only(world.connector(wrap=EditsFirst).write([update_of(effect, record)]))

    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, ConflictError)
    (now,) = world.connector().read(Kind.CUSTOMER, [record.id])
    assert now.fields["name"] == "Somebody was faster"


def test_pages_of_equal_times_lose_and_repeat_nothing(world, monkeypatch):
    _, made = world.make_records(5)
    monkeypatch.setattr("tieout.connectors.tryton.feed.PAGE_SIZE", 2)
    monkeypatch.setattr("tests.contract.suite.PAGES_MAX", 1000)

    records, _, _ = all_changes(world.connector(), Kind.INVOICE, None)

    ids = [record.id for record in records]
    assert len(ids) == len(set(ids))
    assert set(made) <= set(ids)


def test_a_party_of_that_name_is_found_and_so_are_those_that_may_be_the_same(world):
    name = world.name("Wonderful Widgets")
    person = world.person
    same = str(person.make("party.party", name=name.upper()))
    alike = str(person.make("party.party", name=f"{name} Limited"))
    mail = {"type": "email", "value": f"{next(world._count)}@widgets.example"}
    mailed = str(person.make("party.party", name=world.name("Other"), contact_mechanisms=[["create", [mail]]]))
    effect = world.effect(Kind.CUSTOMER, Customer(name=name, email=mail["value"].upper()))
    connector = world.connector()

    (match,) = connector.find([effect])[effect.id]
    assert (match.record.id, match.by) == (same, MatchedBy.NATURAL_KEY)
    found = {match.record.id: match.by for match in connector.find([replace(effect, similar=True)])[effect.id]}
    assert found == {same: MatchedBy.NATURAL_KEY, alike: MatchedBy.SIMILAR, mailed: MatchedBy.SIMILAR}
    assert [record.id for record in connector.search(Kind.CUSTOMER, "email", [mail["value"].upper()])] == [mailed]


def test_an_adopted_customer_gets_our_mark_and_keeps_what_is_not_ours(world):
    number = {"type": None, "code": "HRB 4711"}
    party = world.person.make("party.party", name=world.name("Theirs"), identifiers=[["create", [number]]])
    connector = world.connector()
    (there,) = connector.read(Kind.CUSTOMER, [str(party)])
    effect = world.effect(Kind.CUSTOMER, Customer(name=str(there.fields["name"]), email="a@b.example"))

    record = done(connector.write([update_of(effect, there)]))

    assert (record.id, record.fields["reference"]) == (str(party), effect.reference)
    assert (record.fields["tax_id"], record.fields["email"]) == ("HRB 4711", "a@b.example")
    emptied = replace(update_of(effect, record), document=Customer(name=str(there.fields["name"]), email=None))
    assert done(connector.write([emptied])).fields["email"] is None


def test_an_opportunity_is_a_deal(world):
    line = {"product": int(world.item), "quantity": 2, "unit": world.person.first("product.uom", ["symbol", "=", "u"])}
    made = world.person.make(
        "sale.opportunity",
        party=int(world.customer),
        description="A big one",
        amount=Decimal("9642.00"),
        company=1,
        start_date=DAY,
        lines=[["create", [line]]],
    )

    (deal,) = world.connector().read(Kind.DEAL, [str(made)])

    assert (deal.fields["name"], deal.fields["status"], deal.fields["stage"]) == ("A big one", "open", "lead")
    assert deal.fields["companies"][0]["id"] == world.customer
    assert deal.fields["amount"] == Decimal(9642)
    assert deal.fields["opened_on"] == DAY
    (found,) = deal.fields["lines"]
    assert (found["product_id"], found["quantity"], found["unit_price"], found["amount"]) == (world.item, 2, 4821, 9642)


def test_a_session_that_ended_is_renewed_and_a_wrong_password_is_told(world):
    connector = world.connector()
    connector.probe()
    for key in connector._client._sessions:
        connector._client._sessions[key] = "Session bm9ib2R5OjE6eA=="
    assert connector.probe().currency == "USD"

    world.secrets.write("acme", "under-test", {"username": USER, "password": "the former one"})
    with pytest.raises(ReconnectError) as caught:
        world.connector().probe()
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"customer": "999999999"}, "customer"),
        ({"currency": "XAF"}, "currency"),
        ({"terms": "Net 31"}, "terms"),
        ({"terms": "Net 30", "due_date": DAY}, "due_date"),
        ({"email": "a@b.example"}, "email"),
    ],
)
def test_what_tryton_has_no_place_for_is_told_by_its_field(world, fields, field):
    effect = world.effect(Kind.INVOICE, Invoice(**{**world.sales(), **fields}))
    refused = only(world.connector().write([effect]))

    assert isinstance(refused, NotDone)
    if field == "customer":
        assert isinstance(refused.error, NotFoundError)
    else:
        assert isinstance(refused.error, RejectedError)
        assert refused.error.field == field
    assert world.marked(effect) == []
