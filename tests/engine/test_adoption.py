"""Customers that stand in the books already: adopted, asked about, never overwritten."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import TENANT, World
from tieout.domain.changes import Origin, UnsyncedState
from tieout.domain.errors import ClaimedError, NameTakenError, UncertainError
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Choice, Decision, ReviewKind
from tieout.engine.adopt import why_of
from tieout.matching import Reason, Scored

KEY = LinkKey(TENANT, "deals-to-invoices", "customers", "c1")
LEEDS = {
    "line1": "1 Mill Street",
    "line2": None,
    "city": "Leeds",
    "state": None,
    "postal_code": "LS1 1AB",
    "country": "GB",
}


def alike(*_: Any) -> bool:
    """The provider's search brings everything."""
    return True


@pytest.fixture
def world() -> World:
    world = World()
    world.books.looks_similar = alike
    return world


def company(world: World, **fields: Any) -> None:
    world.crm.put(Kind.COMPANY, "c1", **fields)


def contact(world: World, **fields: Any) -> None:
    former: Any = world.crm.records[Kind.COMPANY, "c1"].fields["contact"]
    company(world, contact={**former, **fields})


def sync(world: World, origin: Origin = Origin.POLL) -> Any:
    (change,) = world.change(Kind.COMPANY, "c1")
    return world.new_worker().apply([replace(change, origin=origin)])


def answer(world: World, choice: Choice, target_id: str = "", digest: str = "") -> None:
    link = world.state.links[KEY]
    assert link.unsynced is not None
    assert link.unsynced.review is not None
    given = Decision(digest or link.unsynced.review.digest, choice, "ada", world.clock.now(), target_id)
    world.state.store(replace(link, decision=given))


def written(world: World) -> list[tuple[str, dict[str, Any]]]:
    return [(effect.operation.value, effect.document.as_fields()) for effect in world.effects]


@pytest.fixture(autouse=True)
def _watched(world: World):
    world.effects = []

    def watch(effect: Any) -> None:
        world.effects.append(effect)

    world.books.fault = watch


# What is adopted as it stands


def test_the_first_change_after_an_adoption_writes_only_what_changed(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example", phone="650 555 0100")
    sync(world)
    contact(world, phone="+16505550123")

    report = sync(world)

    customer = world.books.records[Kind.CUSTOMER, "77"]
    assert (report.updated, customer.fields["email"]) == (1, "billing@acme.example")
    assert customer.fields["phone"] == "+16505550123"
    ((operation, fields),) = written(world)
    assert (operation, fields["phone"]) == ("update", "+16505550123")
    assert "email" not in fields


def test_a_field_that_was_left_as_found_is_written_once_it_changes_itself(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    sync(world)
    contact(world, phone="+16505550123")
    sync(world)
    contact(world, email="new@acme.example")

    sync(world)

    assert world.books.records[Kind.CUSTOMER, "77"].fields["email"] == "new@acme.example"
    contact(world, email="newer@acme.example")
    sync(world)
    assert world.books.records[Kind.CUSTOMER, "77"].fields["email"] == "newer@acme.example"
    assert world.unsynced() == []


def test_of_an_address_only_the_part_that_changed_is_written_beside_what_was_found(world: World):
    company(
        world, address={"line1": "2 Oak Drive", "city": "Leeds", "postal_code": "LS1 1AB", "country": "United Kingdom"}
    )
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="ada@acme.example", billing_address=LEEDS)
    sync(world)
    assert world.state.links[KEY].target_id == "77"
    company(
        world, address={"line1": "2 Oak Drive", "city": "Leeds", "postal_code": "LS2 2CD", "country": "United Kingdom"}
    )

    sync(world)

    address = world.books.records[Kind.CUSTOMER, "77"].fields["billing_address"]
    assert (address["line1"], address["postal_code"]) == ("1 Mill Street", "LS2 2CD")


def test_parts_of_an_address_that_the_source_does_not_know_stay_as_they_were_found(world: World):
    address = {"country": "US", "line1": "12 Main Street", "city": "Springfield"}
    world.books.put(
        Kind.CUSTOMER, "77", name="Acme Corporation", email="ada@acme.example", billing_address=address, note="Net 30"
    )
    sync(world)
    for phone in ("+16505550123", "+16505550124", "+16505550125"):
        contact(world, phone=phone)
        sync(world)
        customer = world.books.records[Kind.CUSTOMER, "77"]
        assert customer.fields["phone"] == phone
        assert customer.fields["billing_address"] == address
        assert customer.fields["note"] == "Net 30"
    assert world.unsynced() == []


def test_what_a_person_changes_after_an_adoption_is_still_found_changed_on_both_sides(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="ada@acme.example", phone="650 555 0100")
    sync(world)
    world.books.put(Kind.CUSTOMER, "77", phone="650 555 0199")
    contact(world, phone="+16505550123")

    sync(world)

    (parked,) = world.unsynced()
    assert (parked.code, parked.field) == ("changed-on-both-sides", "phone")
    assert '"650 555 0100"' in parked.reason


def test_what_a_person_changes_before_a_lost_update_is_found_is_still_found_changed_on_both_sides(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    sync(world)
    world.books.fault = lambda _: "lost"
    contact(world, phone="+16505550123")
    sync(world)
    world.books.fault = lambda _: None
    world.books.put(Kind.CUSTOMER, "77", email="accounts@acme.example")
    world.settle_down()
    contact(world, email="new@acme.example")

    sync(world)

    assert world.books.records[Kind.CUSTOMER, "77"].fields["email"] == "accounts@acme.example"
    (parked,) = world.unsynced()
    assert (parked.code, parked.field) == ("changed-on-both-sides", "email")


def test_what_was_found_and_still_stands_does_not_count_as_a_change_when_the_version_is_old(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    sync(world)
    world.books.put(Kind.CUSTOMER, "77", note="VIP")
    contact(world, phone="+16505550123")

    report = sync(world)

    assert (report.updated, world.unsynced()) == (1, [])
    assert world.books.records[Kind.CUSTOMER, "77"].fields["email"] == "billing@acme.example"


def test_an_update_whose_answer_was_lost_is_found_by_what_it_wrote(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    sync(world)
    contact(world, phone="+16505550123")
    world.books.fault = lambda _: "lost"
    sync(world)
    world.books.fault = lambda _: None

    world.settle_down()

    link = world.state.links[KEY]
    assert (link.intent, world.unsynced()) == (None, [])
    assert (link.base or {})["email"] == "ada@acme.example"
    contact(world, given_name="Adele")
    sync(world)
    assert world.books.records[Kind.CUSTOMER, "77"].fields["email"] == "billing@acme.example"


def test_a_worker_that_dies_while_it_adopts_leaves_what_was_found_alone(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    world.state.crash_before = lambda name: name == "settle"
    with pytest.raises(BaseException, match="before settle"):
        sync(world)
    world.state.crash_before = lambda _: False
    world.clock.sleep(200)
    sync(world)
    world.settle_down()
    contact(world, phone="+16505550123")

    sync(world)

    assert world.books.records[Kind.CUSTOMER, "77"].fields["email"] == "billing@acme.example"


def test_an_item_is_adopted_without_its_price_being_overwritten_by_the_next_change(world: World):
    world.books.put(Kind.ITEM, "88", name="GTX Pro", price=Decimal(4500), description=None, sku=None, type="service")
    world.apply("p1", kind=Kind.PRODUCT)
    world.crm.put(Kind.PRODUCT, "p1", description="A pro")

    world.apply("p1", kind=Kind.PRODUCT)

    item = world.books.records[Kind.ITEM, "88"]
    assert (item.fields["description"], item.fields["price"]) == ("A pro", Decimal(4500))


@pytest.mark.parametrize("kind", [None, "inventory"])
def test_an_item_whose_type_we_could_not_write_is_left_with_it(world: World, kind: str | None):
    world.books.put(Kind.ITEM, "88", name="GTX Pro", price=Decimal(4500), description=None, sku=None, type=kind)
    world.apply("p1", kind=Kind.PRODUCT)
    world.crm.put(Kind.PRODUCT, "p1", description="A pro")

    report = world.apply("p1", kind=Kind.PRODUCT)

    item = world.books.records[Kind.ITEM, "88"]
    assert (report.updated, item.fields["type"], item.fields["description"]) == (1, kind, "A pro")


# What is similar


def test_one_sure_customer_of_a_slightly_other_name_is_adopted(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="ACME Corp.", email="ada@acme.example")

    report = sync(world)

    assert (report.adopted, report.created, world.state.links[KEY].target_id) == (1, 0, "77")
    contact(world, phone="+16505550123")
    sync(world)
    assert world.books.records[Kind.CUSTOMER, "77"].fields["name"] == "ACME Corp."


def test_doubtful_ones_become_a_question_with_scores_and_reasons(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    world.books.put(Kind.CUSTOMER, "78", name="Zeta", email="zeta@zeta.example")
    world.deal("d1")

    report = world.apply("d1")

    assert (report.parked, report.adopted) == (2, 0)
    parked = next(one for one in world.unsynced() if one.step == "customers")
    assert parked.state is UnsyncedState.PARKED
    assert parked.review is not None
    assert (parked.review.kind, parked.cause) == (ReviewKind.MATCH, "match-customers")
    (candidate,) = parked.review.candidates
    assert (candidate.target_id, candidate.name) == ("77", "Acme Holding")
    assert Decimal("0.1") < candidate.score < Decimal("0.98")
    assert "same e-mail address" in candidate.reasons
    assert "Acme Holding" in parked.reason
    assert "tieout review" in parked.next_step
    assert world.invoices() == []


def test_a_customer_that_is_another_ones_partner_is_no_candidate(world: World):
    world.company("c2", "Acme Holding")
    world.apply("c2", kind=Kind.COMPANY)

    report = sync(world)

    assert (report.created, world.unsynced()) == (1, [])


def test_two_companies_do_not_adopt_the_same_customer(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    sync(world)
    world.company("c2", "Acme Corporation")

    world.apply("c2", kind=Kind.COMPANY)

    (parked,) = world.unsynced()
    assert parked.reason == "The customer Acme Corporation in the books belongs to another company already."
    assert parked.cause == "same-name-customers"


def test_several_items_of_its_name_are_left_to_a_person(world: World):
    for item in ("88", "89"):
        world.books.put(Kind.ITEM, item, name="GTX Pro", price=Decimal(4500))

    report = world.apply("p1", kind=Kind.PRODUCT)

    (parked,) = world.unsynced()
    assert (report.parked, report.created, report.adopted) == (1, 0, 0)
    assert (parked.cause, parked.reason) == ("several-items", "Several records may be this item: 88, 89.")


def test_of_what_is_found_neither_adopted_nor_created_partners_of_others_are_candidates(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corp", email="ada@acme.example")
    world.company("c2", "Acme Corp")
    assert world.apply("c2", kind=Kind.COMPANY).adopted == 1
    world.company("c3", "Acme Group")
    assert world.apply("c3", kind=Kind.COMPANY).created == 1

    assert (sync(world).created, world.unsynced()) == (1, [])
    assert len(world.books.all(Kind.CUSTOMER)) == 3


def test_only_new_customers_are_compared(world: World):
    asked: list[bool] = []
    find = world.books.find

    def watched(effects: Any) -> Any:
        asked.extend(effect.similar for effect in effects)
        return find(effects)

    world.books.find = watched
    world.deal("d1")
    world.apply("d1")
    contact(world, phone="+16505550123")
    sync(world)

    assert asked == [True, False]


# Answers


def test_the_accepted_candidate_is_adopted(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    sync(world)
    answer(world, Choice.ACCEPT, "77")

    report = sync(world, Origin.OPERATOR)

    link = world.state.links[KEY]
    assert (report.adopted, link.target_id, link.decision, world.unsynced()) == (1, "77", None, [])
    assert world.books.records[Kind.CUSTOMER, "77"].fields["name"] == "Acme Holding"


def test_create_makes_a_new_one_although_others_look_like_it(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    sync(world)
    answer(world, Choice.CREATE)

    report = sync(world, Origin.OPERATOR)

    link = world.state.links[KEY]
    assert (report.created, link.decision, world.unsynced()) == (1, None, [])
    assert link.target_id != "77"


def test_never_is_kept_and_the_record_is_decided_again_without_it(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    world.books.put(Kind.CUSTOMER, "78", name="Acme Group")
    sync(world)
    answer(world, Choice.NEVER, "77")

    sync(world, Origin.OPERATOR)

    link = world.state.links[KEY]
    assert (link.never, link.decision) == (("77",), None)
    assert link.unsynced is not None
    assert link.unsynced.review is not None
    assert [one.target_id for one in link.unsynced.review.candidates] == ["78"]
    answer(world, Choice.NEVER, "78")
    report = sync(world, Origin.OPERATOR)
    assert (report.created, world.state.links[KEY].never) == (1, ("77", "78"))


def test_an_answer_to_another_question_is_void(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    sync(world)
    answer(world, Choice.CREATE)
    world.books.put(Kind.CUSTOMER, "78", name="Acme Group")

    report = sync(world, Origin.OPERATOR)

    assert (report.created, report.parked) == (0, 1)
    review = world.unsynced()[0].review
    assert review is not None
    assert [one.target_id for one in review.candidates] == ["77", "78"]


@pytest.mark.parametrize("choice", [Choice.ACCEPT, Choice.NEVER])
def test_an_answer_that_names_no_candidate_rules_nothing_out_and_is_asked_for_anew(world: World, choice: Choice):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    sync(world)
    answer(world, choice, "999")

    report = sync(world, Origin.OPERATOR)

    link = world.state.links[KEY]
    assert (report.parked, link.never, link.decision) == (1, (), None)


def test_an_accepted_candidate_that_is_gone_by_now_is_asked_about_anew(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    world.books.put(Kind.CUSTOMER, "78", name="Acme Group")
    sync(world)
    answer(world, Choice.ACCEPT, "77")
    del world.books.records[Kind.CUSTOMER, "77"]

    report = sync(world, Origin.OPERATOR)

    assert (report.adopted, report.created, report.parked) == (0, 0, 1)


def test_an_accepted_candidate_that_became_another_ones_partner_is_not_taken(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    sync(world)
    answer(world, Choice.ACCEPT, "77")
    world.company("c2", "Acme Holding")
    world.apply("c2", kind=Kind.COMPANY)

    sync(world, Origin.OPERATOR)

    assert world.state.links[KEY].target_id != "77"


def test_thresholds_of_the_sync_decide(world: World):
    text = world.sync_text.replace(
        "    also_on: {contact: company_id}", "    match: {review_from: 0.95}\n    also_on: {contact: company_id}", 1
    )
    strict = World(text)
    strict.books.looks_similar = alike
    strict.books.put(Kind.CUSTOMER, "77", name="Acme Holding")

    assert strict.apply("c1", kind=Kind.COMPANY).created == 1


def test_a_sync_may_ask_for_more_before_it_adopts(world: World):
    text = world.sync_text.replace(
        "    also_on: {contact: company_id}", "    match: {adopt_from: 0.999}\n    also_on: {contact: company_id}", 1
    )
    strict = World(text)
    strict.books.looks_similar = alike
    strict.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")

    report = strict.apply("c1", kind=Kind.COMPANY)

    assert (report.adopted, report.parked) == (0, 1)


def test_a_search_that_fails_lets_it_wait(world: World):
    def fail(_: Any) -> Any:
        raise UncertainError("no answer")

    world.books.find = fail

    assert sync(world).waiting == 1


# A name that another kind of record has


def _with_shared_name() -> World:
    text = World().sync_text
    rule = "    match: {shared_name: suffix}\n    also_on: {contact: company_id}"
    return World(text.replace("    also_on: {contact: company_id}", rule, 1))


def _vendor_has(name: str) -> Any:
    def refuse(effect: Any) -> Any:
        taken = effect.kind is Kind.CUSTOMER and effect.document.name == name
        return NameTakenError("A vendor has it.", field="name", code="6240") if taken else None

    return refuse


def test_a_name_that_a_vendor_has_is_parked_unless_the_sync_says_otherwise(world: World):
    world.books.fault = _vendor_has("Acme Corporation")

    assert sync(world).parked == 1
    assert world.unsynced()[0].reason == "A vendor has it."


def test_with_the_suffix_it_is_created_and_keeps_its_name_until_the_source_changes_its_own():
    world = _with_shared_name()
    world.books.fault = _vendor_has("Acme Corporation")

    report = sync(world)

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert (report.created, customer.fields["name"]) == (1, "Acme Corporation (Customer)")
    assert (world.state.links[KEY].base or {})["name"] == "Acme Corporation"
    assert sync(world).unchanged == 1
    contact(world, phone="+16505550123")
    assert sync(world).updated == 1
    company(world, name="Acme International")
    sync(world)
    (customer,) = world.books.all(Kind.CUSTOMER)
    assert (customer.fields["name"], customer.fields["phone"]) == ("Acme International", "+16505550123")
    assert world.unsynced() == []


def test_a_suffix_is_tried_once():
    world = _with_shared_name()
    world.books.fault = lambda _: NameTakenError("A vendor has it.", field="name", code="6240")

    assert sync(world).parked == 1
    assert world.state.links[KEY].intent is None


def test_a_long_name_is_cut_for_its_suffix():
    world = _with_shared_name()
    name = "A" * 100
    company(world, name=name)
    world.books.fault = _vendor_has(name)

    sync(world)

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert len(customer.fields["name"]) == 100
    assert customer.fields["name"].endswith("A (Customer)")


def test_a_name_that_is_cut_at_a_space_has_one_space_before_its_suffix():
    world = _with_shared_name()
    name = "A" * 88 + " " + "B" * 11
    company(world, name=name)
    world.books.fault = _vendor_has(name)

    sync(world)

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert customer.fields["name"] == "A" * 88 + " (Customer)"


def test_the_answer_to_a_write_with_a_suffix_may_be_lost():
    world = _with_shared_name()
    refuse = _vendor_has("Acme Corporation")
    world.books.fault = lambda effect: refuse(effect) or "lost"
    sync(world)
    world.books.fault = refuse

    world.settle_down()

    (customer,) = world.books.all(Kind.CUSTOMER)
    assert customer.fields["name"] == "Acme Corporation (Customer)"
    assert world.state.links[KEY].target_version == customer.version, "it is what we wrote"
    assert (sync(world).unchanged, world.unsynced()) == (1, [])


def test_an_answer_that_somebody_else_used_meanwhile_lets_it_wait(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    sync(world)
    answer(world, Choice.NEVER, "77")

    def raced(_: Any, **_options: Any) -> Any:
        raise ClaimedError("Another worker was faster.")

    world.state.store = raced

    assert sync(world, Origin.OPERATOR).waiting == 1
    assert world.state.links[KEY].never == ()


# Why it was adopted


def whys(world: World) -> list[str]:
    """What the intents that adopt say, from now on."""
    found: list[str] = []
    claim = world.state.claim

    def noted(link: Any, intent: Any) -> Any:
        if intent.adopts:
            found.append(intent.adopts)
        return claim(link, intent)

    world.state.claim = noted
    return found


def test_the_intent_says_what_spoke_for_it(world: World):
    found = whys(world)
    world.books.put(Kind.CUSTOMER, "77", name="ACME Corp.", email="ada@acme.example")
    sync(world)
    assert found == ["same name, same e-mail address (score 0.999)"]


def test_the_intent_says_who_answered(world: World):
    found = whys(world)
    world.books.put(Kind.CUSTOMER, "77", name="Acme Holding", email="ada@acme.example")
    sync(world)
    answer(world, Choice.ACCEPT, "77")
    sync(world, Origin.OPERATOR)
    assert len(found) == 1
    assert found[0].startswith("ada said so; same e-mail address")


def test_the_intent_says_that_it_bears_our_reference(world: World):
    sync(world)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, customer.id, name="Renamed by hand")
    world.state.links.clear()
    found = whys(world)
    assert sync(world, Origin.RELINK).adopted == 1
    assert (found, world.state.links[KEY].target_id) == (["it bears our reference"], customer.id)


def test_only_what_speaks_for_it_is_told_the_four_weightiest_at_most():
    reasons = [Reason(says, Decimal(weight)) for says, weight in {"a": "2", "b": "0.5", "c": "0", "d": "-1"}.items()]
    record = Record(Kind.CUSTOMER, "77")
    scored = Scored(record, Decimal("0.9"), tuple(reasons), key="", doubt=False, same_name=False)
    assert why_of(scored) == "a, b (score 0.9)"
    assert why_of(replace(scored, reasons=tuple(reasons[:1] * 5))) == "a, a, a, a (score 0.9)"


def test_the_intent_says_that_an_item_has_the_name(world: World):
    found = whys(world)
    world.books.put(Kind.ITEM, "88", name="GTX Pro", price=Decimal(4500))
    world.apply("p1", kind=Kind.PRODUCT)
    assert found == ["same name"]


def test_a_write_adopts_nothing(world: World):
    found = whys(world)
    sync(world)
    assert found == []
