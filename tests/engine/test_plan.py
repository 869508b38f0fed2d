"""What is to be written for one record: pure, so that every part of the answer can be said."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import CRM, START, TENANT
from tieout.domain.changes import Change, Origin
from tieout.domain.documents import Address, CreditNote, Customer, Discount, Document, Invoice, Line, RecordUpdate
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import MappingError
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.engine.plan import (
    Difference,
    NoChange,
    Work,
    Write,
    as_shown,
    build_document,
    difference,
    document_of,
    effect_id,
    has_more,
    has_parts_beside,
    is_voided,
    otherwise,
    payload_hash,
    plain,
    plan,
    renumbered,
    same,
    whole_document,
    with_absent_parts,
    with_parts_at_stake,
    with_parts_that_stand,
    without_empty,
)
from tieout.mapping import LinkTo, Mapped, compile_sync, preset

KEY = LinkKey(TENANT, "deals-to-invoices", "customers", "c1")
COMPANY = Record(Kind.COMPANY, "c1", "7", fields={"name": "Acme Corporation"})
SETTLED = Link(
    KEY, target_id="77", target_version="3", payload_hash="h", base={"name": "Acme", "phone": "1", "email": None}
)


def work(link: Link, *, step: str = "customers", mapped: Mapped | None = None, record: Record | None = COMPANY) -> Work:
    sync = compile_sync(preset("act-quickbooks_online"))
    change = Change(TENANT, CRM, Kind.COMPANY, link.key.source_id, START, Origin.POLL)
    return Work(sync, sync.step(step), link.key, change, record, link, mapped=mapped)


def written(decision: NoChange | Write) -> Write:
    assert isinstance(decision, Write)
    return decision


# Plain values, and what is computed of them


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (Decimal("1.50"), "1.5"),
        (Decimal(100), "100"),
        (Decimal("0.00"), "0"),
        (Decimal("-0.00"), "0"),
        (date(2026, 11, 22), "2026-11-22"),
        (datetime(2026, 11, 22, 9, tzinfo=UTC), "2026-11-22T09:00:00+00:00"),
        (Operation.CREATE, "create"),
        ({1: (Decimal(2), None)}, {"1": ["2", None]}),
        ([date(2026, 1, 2), "x", True], ["2026-01-02", "x", True]),
    ],
)
def test_values_become_plain_and_equal_amounts_equal_text(value: Any, becomes: Any):
    found = plain(value)
    assert (found, type(found)) == (becomes, type(becomes))


def test_the_hash_of_a_document_is_the_same_in_every_release_or_all_would_be_written_again():
    digest = hashlib.sha256('{"a":"é","b":[1,null]}'.encode()).hexdigest()
    assert payload_hash({"b": [1, None], "a": "é"}) == digest[:32]


def test_the_id_of_an_effect_is_computed_again_after_a_restart():
    parts = ("acme", "deals-to-invoices", "customers", "c1", "update", "7", "h")
    expected = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    assert effect_id(KEY, Operation.UPDATE, "7", "h") == expected


@pytest.mark.parametrize(
    ("kind", "fields", "document"),
    [
        (Kind.CUSTOMER, {"name": "Acme", "phone": None}, Customer(name="Acme", phone=None)),
        (Kind.DEAL, {"custom_fields.paid": "5"}, RecordUpdate(fields={"custom_fields.paid": "5"})),
    ],
)
def test_an_intents_fields_make_the_document_again(kind: Kind, fields: dict[str, Any], document: Document):
    found = document_of(kind, fields)
    assert (found, found.as_fields()) == (document, document.as_fields())


@pytest.mark.parametrize(
    ("number", "generation", "becomes"),
    [("S1001", 1, "S1001-2"), ("S1001", 9, "S1001-10"), ("A" * 21, 1, "A" * 19 + "-2"), ("A" * 19, 1, "A" * 19 + "-2")],
)
def test_a_document_that_comes_in_place_of_another_has_a_number_of_its_own(number: str, generation: int, becomes: str):
    assert renumbered(number, generation) == becomes


# The document


PARTNER = LinkTo("customers", "id", "c1", "invoices.fields.customer", "company_id", Kind.COMPANY, Kind.CUSTOMER)
THING = LinkTo("items", "id", "p1", "invoices.fields.lines.item", "product_id", Kind.PRODUCT, Kind.ITEM)
DEAL = LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")
SOLD = Mapped(
    {
        "customer": PARTNER,
        "number": "S1001",
        "date": date(2026, 11, 22),
        "currency": "USD",
        "lines": [{"item": THING, "amount": Decimal(1000)}],
    }
)


def test_links_become_the_ids_of_the_other_side_wherever_they_stand():
    found = build_document(work(Link(DEAL), step="invoices", mapped=SOLD), {PARTNER: "77", THING: "9"})
    assert isinstance(found, Invoice)
    assert (found.customer, found.number) == ("77", "S1001")
    assert found.lines == (Line(item="9", amount=Decimal(1000)),)


def test_only_a_renewed_document_with_a_number_gets_another_one():
    ids = {PARTNER: "77", THING: "9"}
    renewed = Link(DEAL, generation=2)
    found = build_document(work(renewed, step="invoices", mapped=SOLD), ids)
    assert isinstance(found, Invoice)
    assert found.number == "S1001-3"
    without = Mapped({name: value for name, value in SOLD.fields.items() if name != "number"})
    assert "number" not in build_document(work(renewed, step="invoices", mapped=without), ids).as_fields()
    customer = Mapped({"name": "Acme"})
    assert build_document(work(replace(SETTLED, generation=2), mapped=customer), {}) == Customer(name="Acme")


def test_a_document_that_cannot_be_made_names_the_rule_to_correct():
    crediting = work(Link(DEAL), step="invoices", mapped=SOLD)
    crediting.step = crediting.step.crediting()
    wrong = {**SOLD.fields, "lines": [{"item": THING, "amount": "many"}]}
    crediting.mapped = Mapped(wrong)
    with pytest.raises(MappingError) as caught:
        build_document(crediting, {PARTNER: "77", THING: "9"})
    assert caught.value.message.startswith("The credit note cannot be made: lines.0.amount: ")
    assert caught.value.message.endswith(".")
    assert caught.value.rule == "invoices.credit_note.fields.lines.0.amount"
    assert caught.value.next_step == "Correct the rule for `lines.0.amount` in the sync `deals-to-invoices`."


def test_a_record_that_was_not_mapped_has_no_document():
    with pytest.raises(ValueError, match="not mapped"):
        build_document(work(Link(KEY)), {})


# What is to be written


def test_a_record_without_a_partner_is_created_with_all_that_the_mapping_says():
    fields = {"name": "Acme", "phone": None}
    found = written(plan(work(Link(KEY), mapped=Mapped({}, notices=("cut",))), Customer(name="Acme", phone=None)))
    assert found == Write(
        Effect(
            id=effect_id(KEY, Operation.CREATE, "7", payload_hash(fields)),
            operation=Operation.CREATE,
            kind=Kind.CUSTOMER,
            document=Customer(name="Acme", phone=None),
            reference=KEY.reference,
            label="Acme Corporation",
            notices=("cut",),
        ),
        fields,
        payload_hash(fields),
    )
    assert found.effect.document.as_fields() == fields


def test_a_partner_is_updated_at_the_version_that_we_know_but_for_what_was_empty_and_still_is():
    link = replace(SETTLED, generation=1)
    found = written(plan(work(link), Customer(name="Acme", phone="2", email=None)))
    fields = {"name": "Acme", "phone": "2", "email": None}
    effect = found.effect
    assert (effect.operation, effect.target_id, effect.target_version) == (Operation.UPDATE, "77", "3")
    assert effect.id == effect_id(KEY, Operation.UPDATE, "7", payload_hash(fields))
    assert (effect.reference, effect.notices) == (link.reference, ())
    assert effect.document.as_fields() == {"name": "Acme", "phone": "2"}
    assert (found.document, found.payload_hash, found.agreed) == (fields, payload_hash(fields), None)


def test_an_update_says_the_parts_of_an_address_that_are_left_alone():
    link = replace(SETTLED, base={"name": "Acme", "billing_address": {"line1": "l", "city": "x"}})
    found = written(plan(work(link), Customer(name="Acme", billing_address=Address(city="y"))))
    assert found.document == {"name": "Acme", "billing_address": {"line1": "l", "city": "y"}}
    assert found.effect.document.as_fields() == found.document


def test_a_step_that_writes_back_updates_the_record_that_is_meant():
    back = work(Link(KEY, target_version="3"))
    back.target_id = "d1"
    effect = written(plan(back, Customer(name="Acme"))).effect
    assert (effect.operation, effect.target_id) == (Operation.UPDATE, "d1")


def test_nothing_is_written_that_was_written_or_that_another_link_writes():
    document = Customer(name="Acme")
    same_again = replace(SETTLED, payload_hash=payload_hash({"name": "Acme"}))
    assert plan(work(same_again), document) == NoChange()
    assert plan(work(replace(SETTLED, follows=True)), document) == NoChange()


def test_a_record_that_is_gone_has_nothing_to_be_written():
    with pytest.raises(ValueError, match="gone"):
        plan(work(SETTLED, record=None), Customer(name="Acme"))


# Beside what stood there before us


ADOPTED = replace(
    SETTLED,
    base={"name": "Acme", "phone": "1", "billing_address": {"line1": "a", "city": "b"}},
    shown={"name": "ACME Ltd", "billing_address.line1": "A Street"},
)


def test_of_a_record_that_stood_there_only_what_the_source_changed_is_written():
    document = Customer(name="Acme", phone="2", billing_address=Address(line1="a", city="c"))
    found = written(plan(work(ADOPTED), document))
    changed = {"phone": "2", "billing_address": {"line1": "A Street", "city": "c"}}
    assert (found.document, found.effect.document.as_fields()) == (changed, changed)
    assert isinstance(found.effect.document, Customer)
    assert found.effect.document.name == "ACME Ltd", "a person knows it by that"
    assert (found.agreed, found.shown) == (plain(document.as_fields()), ADOPTED.shown)
    assert found.payload_hash == payload_hash(plain(document.as_fields()))
    assert found.effect.id == effect_id(KEY, Operation.UPDATE, "7", found.payload_hash)


def test_what_the_source_changed_is_no_longer_shown_otherwise():
    link = replace(ADOPTED, shown={"name": "ACME Ltd"})
    document = Customer(name="Acme Inc", phone="1", billing_address=Address(line1="a", city="b"))
    found = written(plan(work(link), document))
    assert (found.document, found.shown) == (plain(document.as_fields()), None)
    assert isinstance(found.effect.document, Customer)
    assert found.effect.document.name == "Acme Inc"


def test_what_is_shown_otherwise_is_told_by_its_path():
    record = Record(
        Kind.CUSTOMER, "77", fields={"name": "ACME", "phone": "1", "billing_address": {"city": "X", "line1": "l"}}
    )
    document = {"name": "Acme", "phone": " 1", "billing_address": {"city": "x", "line2": None}, "email": "e"}
    assert otherwise(record, document) == {"name": "ACME", "billing_address.city": "X", "email": None}
    assert otherwise(record, {"phone": "1", "note": ""}) is None


def test_a_document_as_it_is_shown_keeps_the_rest_of_each_group():
    document = {"name": "a", "address": {"city": "b", "line1": "c"}, "note": None, "deep": {"x": {"y": 1, "z": 2}}}
    shown = {"name": "A", "address.city": "B", "note.kind": "n", "deep.x.y": 3}
    assert as_shown(document, shown) == {
        "name": "A",
        "address": {"city": "B", "line1": "c"},
        "note": {"kind": "n"},
        "deep": {"x": {"y": 3, "z": 2}},
    }
    assert document["name"] == "a", "the document itself stays"


# Absent, null, and what stands there


def test_what_was_empty_and_still_is_is_not_written_and_what_was_never_said_is():
    document = Customer(name="Acme", email=None, phone=None, website=None)
    found = without_empty(document, {"name": None, "email": None, "phone": "1"})
    assert found.as_fields() == {"name": "Acme", "phone": None, "website": None}
    update = RecordUpdate(fields={"paid": None, "status": None, "total": "1"})
    assert without_empty(update, {"paid": None, "status": "x"}).as_fields() == {"status": None, "total": "1"}


def test_parts_of_an_address_that_are_absent_stay_as_they_were_written():
    base = {"billing_address": {"city": "y", "line1": "l", "line2": "z", "line3": None}}
    document = Customer(name="Acme", billing_address=Address(city="x", line2=None))
    found = with_absent_parts(document, base).as_fields()
    assert found == {"name": "Acme", "billing_address": {"city": "x", "line1": "l", "line2": None}}
    for unsaid in (Customer(name="Acme"), Customer(name="Acme", billing_address=None)):
        assert with_absent_parts(unsaid, base).as_fields() == unsaid.as_fields()
    assert with_absent_parts(document, {"billing_address": None}).as_fields() == document.as_fields()


def test_a_discount_is_one_value_not_parts_that_stay():
    document = CreditNote(
        customer="77",
        date=date(2026, 11, 22),
        currency="USD",
        lines=(Line(item="9", amount=Decimal(10)),),
        discount=Discount(percent=Decimal(5)),
    )
    assert with_absent_parts(document, {"discount": {"amount": "3"}}).as_fields() == document.as_fields()


def test_parts_that_somebody_added_to_a_group_that_we_write_stay():
    base = {"billing_address": {"city": "y", "line1": "l", "line3": None}}
    there = {"billing_address": {"city": "q", "line1": "m", "line2": "n", "line3": "o", "state": "s", "id": "9"}}
    document = Customer(name="Acme", billing_address=Address(city="x", line2=None))
    found = with_parts_that_stand(document, base, there).as_fields()
    assert found == {"name": "Acme", "billing_address": {"city": "x", "line2": None, "line3": "o", "state": "s"}}
    emptied = Customer(name="Acme", billing_address=None)
    assert with_parts_that_stand(emptied, base, there).as_fields() == emptied.as_fields()
    assert with_parts_that_stand(document, base, {"billing_address": None}).as_fields() == document.as_fields()


@pytest.mark.parametrize(
    ("there", "beside"),
    [
        ({"billing_address": {"city": "y", "line1": "l"}}, True),
        ({"billing_address": {"city": "y", "line1": "", "line2": None}}, False),
        ({"billing_address": None, "phone": "1"}, False),
        ({}, False),
    ],
)
def test_a_group_has_parts_beside_ours_if_they_are_filled(there: dict[str, Any], beside: bool):
    document = {"name": "Acme", "billing_address": {"city": "x"}}
    assert has_parts_beside(document, there) is beside
    assert has_more(document, there) is beside


@pytest.mark.parametrize(
    ("email", "there", "more"),
    [
        (None, {"email": "e"}, True),
        ("", {"email": "e"}, True),
        (None, {"email": ""}, False),
        (None, {}, False),
        ("e", {"email": "f"}, False),
        ("e", {}, False),
    ],
)
def test_what_we_leave_empty_may_be_filled_there(email: str | None, there: dict[str, Any], more: bool):
    assert has_more({"email": email}, there) is more


def test_after_a_part_was_written_the_other_side_shows_the_rest_as_before():
    assert whole_document({"phone": "2"}, {"name": "a", "phone": "1"}, {"name": "A"}) == {"name": "A", "phone": "2"}
    assert whole_document({"phone": "2"}, None, None) == {"phone": "2"}


def test_parts_that_are_written_for_the_first_time_are_at_stake_too():
    base = {"name": "a", "billing_address": {"city": "x"}, "shipping_address": {"city": "z"}}
    given = {"name": "b", "billing_address": {"line1": "l", "city": "y"}}
    assert with_parts_at_stake(base, given) == {
        "name": "a",
        "billing_address": {"line1": None, "city": "x"},
        "shipping_address": {"city": "z"},
    }


# Comparing: see also test_rules


@pytest.mark.parametrize(
    ("document", "shown", "found"),
    [
        ({"a": "x", "note": "y"}, {"a": "x", "note": "z"}, Difference("note", "y", "z")),
        ({"address": {"city": "x"}}, {"address": {"city": "y"}}, Difference("address.city", "x", "y")),
        ({"address": {"city": "x"}}, {"address": "x"}, Difference("address.city", "x", None)),
        ({"lines": [{"amount": "1"}]}, {"lines": None}, Difference("lines", "1 entries", "0 entries")),
        ({"lines": []}, {"lines": [1, 2]}, Difference("lines", "0 entries", "2 entries")),
        ({"lines": [{"a": "1"}, {"a": "2"}]}, {"lines": [{"a": "1"}, {"a": "3"}]}, Difference("lines 2.a", "2", "3")),
        ({"active": True}, {"active": False}, Difference("active", True, False)),
        ({"email": ""}, {"email": "e"}, Difference("email", "", "e")),
        ({"custom.paid": "5"}, {"custom.paid": Decimal("5.0")}, None),
        ({"status": "voided", "total": "5"}, {"status": "voided", "total": Decimal(0)}, None),
        ({"status": "voided", "total": "5"}, {"status": "issued"}, Difference("status", "voided", "issued")),
        (
            {"lines": [{"quantity": "2", "amount": "5"}]},
            {"lines": [{"quantity": 3, "amount": 5}]},
            Difference("lines 1.quantity", "2", 3),
        ),
    ],
)
def test_the_first_difference_says_what_was_written_and_what_is_there(
    document: dict[str, Any], shown: dict[str, Any], found: Difference | None
):
    assert difference(Record(Kind.INVOICE, "1", fields=shown), document) == found


def test_values_are_the_same_if_they_say_the_same():
    assert same(None, "")
    assert same(" a  b", "a b")
    assert not same("a", None)
    assert not same("a", "A")
    assert not same(1, 2)


def test_a_document_is_voided_if_the_other_side_says_so():
    assert is_voided(Record(Kind.INVOICE, "1", fields={"state": "voided"}))
    assert not is_voided(Record(Kind.INVOICE, "1", fields={"state": "paid"}))
    assert not is_voided(Record(Kind.INVOICE, "1", fields={}))
