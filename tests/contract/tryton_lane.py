"""The finer points of the Tryton connector against a real server, which take their time: `make tryton`.

What every run of the tests does is in `test_tryton.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.suite import all_changes, done, only, update_of
from tests.contract.tryton_world import DAY, POST, TrytonWorld, lost, opened
from tieout.domain.documents import CreditNote, Customer, Invoice, InvoiceStatus
from tieout.domain.effects import MatchedBy, NotDone, Unknown
from tieout.domain.errors import ConflictError, NotFoundError, RejectedError
from tieout.domain.records import Kind
from tieout_sandbox.simulators.tryton import Rpc, TrytonServer

pytestmark = pytest.mark.slow


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
    with opened(server, person, count) as world:
        yield world


def test_a_draft_on_which_somebody_worked_is_left_to_them(world):
    effect = world.invoice()
    connector = world.connector(faults=lost(POST, "reset"))
    assert isinstance(only(connector.write([effect])), Unknown)
    (row,) = world.marked(effect)
    (draft,) = world.person.call("model.account.invoice.read", [row["id"]], ["lines"])
    world.person.call("model.account.invoice.line.write", draft["lines"], {"unit_price": Decimal(90)})

    (match,) = connector.find([effect])[effect.id]

    assert (match.record.fields["status"], match.record.fields["total"], match.unfinished) == ("draft", 90, False)
    refused = only(connector.write([effect]))
    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, ConflictError)
    assert world.marked(effect) == [row]


def test_a_draft_that_tryton_refuses_to_post_is_deleted_again(world):
    effect = world.refused_effect()
    refused = only(world.connector().write([effect]))

    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, RejectedError)
    assert world.marked(effect) == []

    connector = world.connector(faults=lost(POST, "reset"))
    assert isinstance(only(connector.write([effect])), Unknown)
    assert [row["state"] for row in world.marked(effect)] == ["draft"]
    refused = only(connector.write([effect]))
    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, RejectedError)
    assert world.marked(effect) == []


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
