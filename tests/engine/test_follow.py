"""Customers that were merged in the books: the link of the one that is gone follows to the one that is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.engine.world import BOOKS, TENANT, World
from tieout.domain.changes import Origin, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import ClaimedError, NotFoundError, ReconnectError, RejectedError, UnavailableError
from tieout.domain.links import LinkKey, Withdrawal
from tieout.domain.records import Kind
from tieout.domain.reviews import Choice, Decision
from tieout.engine.ends import TOLD_AFTER_ATTEMPTS
from tieout.engine.operate import Operate


def key(record_id: str) -> LinkKey:
    return LinkKey(TENANT, "deals-to-invoices", "customers", record_id)


@pytest.fixture
def world() -> World:
    world = World()
    world.company("c2", "Globex")
    for company in ("c1", "c2"):
        world.apply(company, kind=Kind.COMPANY)
    return world


def target(world: World, company: str) -> str:
    found = world.state.links[key(company)].target_id
    assert found is not None
    return found


def merge(world: World, loser: str, survivor: str, *, told: bool = True) -> Any:
    """Somebody merges two customers in the books, and they tell of it."""
    del world.books.records[Kind.CUSTOMER, loser]
    for invoice in world.invoices():
        if invoice.fields["customer"] == loser:
            world.books.put(Kind.INVOICE, invoice.id, customer=survivor)
    return tell(world, loser, survivor) if told else None


def tell(world: World, loser: str, survivor: str, *, attempts: int = 0) -> Any:
    (change,) = world.change(Kind.CUSTOMER, loser, connection=BOOKS)
    told = replace(change, origin=Origin.WEBHOOK, merged_into=survivor, attempts=attempts)
    return world.new_worker().apply([told])


def test_the_link_follows_to_the_partner_of_another_company_and_never_writes_it(world: World):
    loser, survivor = target(world, "c1"), target(world, "c2")
    report = merge(world, loser, survivor)

    link = world.state.links[key("c1")]
    assert (link.target_id, link.follows, link.shown) == (survivor, True, None)
    assert (report.skipped_because, world.queue.later) == ({"its record was merged, and is followed": 1}, [])
    world.company("c1", "Acme International")
    assert world.apply("c1", kind=Kind.COMPANY).unchanged == 1
    assert world.books.records[Kind.CUSTOMER, survivor].fields["name"] == "Globex"
    world.deal("d1", company="c1")
    world.apply("d1")
    assert [invoice.fields["customer"] for invoice in world.invoices()] == [survivor]
    assert world.unsynced() == []


def test_an_invoice_that_the_merge_moved_is_written_on_with_the_one_that_is_left(world: World):
    world.deal("d1")
    world.apply("d1")
    survivor = target(world, "c2")
    merge(world, target(world, "c1"), survivor)
    world.deal("d1", "99")
    world.apply("d1")

    (invoice,) = world.invoices()
    assert (invoice.fields["customer"], invoice.fields["total"]) == (survivor, 99)
    assert world.unsynced() == []


def test_the_company_whose_customer_is_left_goes_on_writing_it(world: World):
    merge(world, target(world, "c1"), target(world, "c2"))
    world.company("c2", "Globex International")

    assert world.apply("c2", kind=Kind.COMPANY).updated == 1


def test_merged_into_a_customer_that_is_nobodys_partner_it_is_the_partner_from_then_on_as_it_stands(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme (main)", email="main@acme.example")
    loser = target(world, "c1")
    merge(world, loser, "77", told=False)
    tell(world, loser, "77", attempts=2)

    link = world.state.links[key("c1")]
    assert (link.target_id, link.target_version, link.follows) == ("77", "", False)
    ((_, planned_again),) = world.queue.later
    (company,) = world.change(Kind.COMPANY, "c1")
    assert planned_again == replace(company, origin=Origin.SWEEP)
    world.settle_down()
    effects = world.books.calls["effect"]
    former: Any = world.crm.records[Kind.COMPANY, "c1"].fields["contact"]
    world.crm.put(Kind.COMPANY, "c1", contact={**former, "phone": "+16505550123"})
    assert world.apply("c1", kind=Kind.COMPANY).updated == 1
    customer = world.books.records[Kind.CUSTOMER, "77"].fields
    assert (customer["name"], customer["email"], customer["phone"]) == (
        "Acme (main)",
        "main@acme.example",
        "+16505550123",
    )
    assert world.books.calls["effect"] == effects + 1, "its version is read before, not found out by a refusal"


def test_merged_again_the_company_that_wrote_it_goes_on_writing_and_the_other_goes_on_following(world: World):
    merge(world, target(world, "c1"), target(world, "c2"))
    world.books.put(Kind.CUSTOMER, "77", name="Globex (main)")
    merge(world, target(world, "c2"), "77")

    links = world.state.links
    assert [(links[key(one)].target_id, links[key(one)].follows) for one in ("c1", "c2")] == [
        ("77", True),
        ("77", False),
    ]
    assert [change.id for _, change in world.queue.later] == ["c2"]


def test_a_merge_of_which_one_link_is_written_at_that_moment_is_followed_by_the_other_and_tried_again(world: World):
    merge(world, target(world, "c1"), target(world, "c2"))
    world.books.put(Kind.CUSTOMER, "77", name="Globex (main)")
    store, links = world.state.store, world.state.links

    def refuses_once(link: Any, *, pointer: bool = False) -> Any:
        if link.key == key("c1"):
            world.state.store = store
            raise ClaimedError("It changed meanwhile.")
        return store(link, pointer=pointer)

    world.state.store = refuses_once
    loser = target(world, "c2")
    merge(world, loser, "77")
    assert (target(world, "c1"), target(world, "c2")) == (loser, "77")
    assert {(change.kind, change.id) for _, change in world.queue.later} == {
        (Kind.COMPANY, "c2"),
        (Kind.CUSTOMER, loser),
    }
    world.settle_down()
    assert (links[key("c1")].target_id, links[key("c1")].follows) == ("77", True)


def test_a_document_of_another_kind_that_has_the_same_id_does_not_follow(world: World):
    loser, survivor = target(world, "c1"), target(world, "c2")
    world.deal("d1", company="c2")
    world.apply("d1")
    invoice = LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")
    world.state.links[invoice] = replace(world.state.links[invoice], target_id=loser)

    merge(world, loser, survivor)

    assert (world.state.links[key("c1")].target_id, world.state.links[invoice].target_id) == (survivor, loser)


def test_a_customer_that_a_link_went_on_to_is_not_adopted_by_another_company(world: World):
    survivor = world.books.put(Kind.CUSTOMER, "77", name="Acme (main)", email="main@acme.example")
    world.books.looks_similar = lambda _document, record: record.id == survivor.id
    merge(world, target(world, "c1"), survivor.id)
    world.company("c3", "Acme (main)")

    world.apply("c3", kind=Kind.COMPANY)

    assert target(world, "c1") == survivor.id
    assert world.state.links[key("c3")].target_id != survivor.id
    (parked,) = world.unsynced()
    assert "belongs to another company already" in parked.reason


def test_a_link_that_only_follows_does_not_take_the_way_back_from_the_one_that_writes(world: World):
    loser, survivor = target(world, "c1"), target(world, "c2")
    merge(world, loser, survivor)

    found = world.state.by_target(TENANT, "deals-to-invoices", "customers", [survivor])

    assert key("c1") not in {link.key for link in found.values()}


def test_what_was_told_counts_only_once_it_is_so(world: World):
    loser, survivor = target(world, "c1"), target(world, "c2")
    tell(world, loser, survivor)

    assert world.state.links[key("c1")].target_id == loser
    assert world.queue.later != []
    merge(world, loser, survivor, told=False)
    world.settle_down()
    assert world.state.links[key("c1")].target_id == survivor


def test_what_never_becomes_so_is_given_up(world: World):
    loser, survivor = target(world, "c1"), target(world, "c2")
    tell(world, loser, survivor)

    world.settle_down()

    assert world.state.links[key("c1")].target_id == loser


@pytest.mark.parametrize(("attempts", "given_up"), [(2, False), (3, True)])
def test_a_merge_that_does_not_show_is_looked_at_four_times(world: World, attempts: int, *, given_up: bool):
    report = tell(world, target(world, "c1"), target(world, "c2"), attempts=attempts)

    assert report.skipped_because == ({"a merge that the other side does not show": 1} if given_up else {})
    assert (report.waiting, len(world.queue.later)) == ((0, 0) if given_up else (1, 1))


def test_an_inactive_loser_counts_as_merged(world: World):
    loser, survivor = target(world, "c1"), target(world, "c2")
    world.books.put(Kind.CUSTOMER, loser, active=False)
    tell(world, loser, survivor)

    assert world.state.links[key("c1")].target_id == survivor


def test_a_merge_of_customers_that_are_not_ours_is_passed_over(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="A")
    world.books.put(Kind.CUSTOMER, "78", name="B")

    report = merge(world, "77", "78")

    assert (report.waiting, report.parked, world.unsynced()) == (0, 0, [])
    assert report.skipped_because == {"not made by this sync": 1}


def test_what_was_parked_because_its_customer_is_gone_goes_on_by_itself(world: World):
    loser, survivor = target(world, "c1"), target(world, "c2")
    merge(world, loser, survivor, told=False)
    world.company("c1", "Acme International")
    world.apply("c1", kind=Kind.COMPANY)
    assert len(world.unsynced()) == 1

    tell(world, loser, survivor)
    world.settle_down()

    assert world.unsynced() == []


# Nobody told of it


def lost(world: World) -> str:
    """The merge comes to light with the next update; the survivor's id."""
    survivor = target(world, "c2")
    world.books.looks_similar = lambda _document, record: record.id == survivor
    world.company("c2", "Acme Corp.")
    world.apply("c2", kind=Kind.COMPANY)
    merge(world, target(world, "c1"), survivor, told=False)
    world.company("c1", "Acme Corporation Inc.")
    world.apply("c1", kind=Kind.COMPANY)
    return survivor


def answered(world: World, choice: Choice, target_id: str = "", *, attempts: int = 0) -> None:
    """The answer is given and used once."""
    link = world.state.links[key("c1")]
    assert link.unsynced is not None
    assert link.unsynced.review is not None
    decision = Decision(link.unsynced.review.digest, choice, "ada", world.clock.now(), target_id)
    world.state.store(replace(link, decision=decision))
    (change,) = world.change(Kind.COMPANY, "c1")
    world.new_worker().apply([replace(change, origin=Origin.OPERATOR, attempts=attempts)])


def answer(world: World, choice: Choice, target_id: str = "") -> None:
    answered(world, choice, target_id)
    world.settle_down()


def gone(world: World, *left: str) -> None:
    """The customer of c1 is gone, nobody told, and customers of these ids and names are left that are nobody's."""
    merge(world, target(world, "c1"), target(world, "c2"), told=False)
    for one in left:
        world.books.put(Kind.CUSTOMER, one, name=f"Acme Corporation {one}", email="ada@acme.example")
    world.books.looks_similar = lambda document, record: str(record.fields["name"]).startswith(
        str(document.as_fields()["name"])
    )
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550123")
    world.apply("c1", kind=Kind.COMPANY)


def test_a_customer_that_is_gone_becomes_a_question_if_another_may_be_what_it_became(world: World):
    survivor = lost(world)

    (parked,) = world.unsynced()
    assert parked.review is not None
    assert [one.target_id for one in parked.review.candidates] == [survivor]
    assert "is gone" in parked.reason
    assert world.state.links[key("c1")].intent is None


def test_the_accepted_one_is_followed(world: World):
    survivor = lost(world)
    answer(world, Choice.ACCEPT, survivor)

    link = world.state.links[key("c1")]
    assert (link.target_id, link.follows, link.decision, world.unsynced()) == (survivor, True, None, [])
    assert key("c1") not in world.state.pointers.values(), "the way back leads to the one that writes it"


def test_the_accepted_one_that_is_nobodys_is_the_partner_from_then_on(world: World):
    gone(world, "77")
    answer(world, Choice.ACCEPT, "77")

    link = world.state.links[key("c1")]
    assert (link.target_id, link.follows, world.unsynced()) == ("77", False, [])
    assert world.state.pointers[TENANT, "deals-to-invoices", "customers", "77"] == key("c1")
    assert world.books.records[Kind.CUSTOMER, "77"].fields["name"] == "Acme Corporation 77"


def test_all_that_may_be_what_it_became_are_asked_about_but_inactive_ones(world: World):
    world.books.put(Kind.CUSTOMER, "79", active=False)
    gone(world, "77", "78", "79")

    (parked,) = world.unsynced()
    assert parked.review is not None
    assert [one.target_id for one in parked.review.candidates] == ["77", "78"]
    assert parked.cause == "target-gone-customers"


def test_the_search_for_what_it_became_is_that_of_a_create(world: World):
    asked: list[Effect] = []
    find = world.books.find

    def watched(effects: Any) -> Any:
        asked.extend(effects)
        return find(effects)

    world.books.find = watched
    gone(world, "77")

    (effect,) = asked
    assert (effect.operation, effect.similar, effect.target_id) == (Operation.CREATE, True, None)
    assert (effect.kind, effect.reference) == (Kind.CUSTOMER, key("c1").reference)


def test_who_waits_for_the_answer_to_be_used_is_told_why_after_a_while(world: World):
    gone(world, "77")
    answered(world, Choice.ACCEPT, "77", attempts=TOLD_AFTER_ATTEMPTS)

    (waiting,) = world.unsynced()
    assert waiting.reason == "Its partner on the other side is another one from now on."


def test_a_new_one_is_created_though_others_are_like_it_and_those_ruled_out_stay_so(world: World):
    gone(world, "77", "78")
    answer(world, Choice.NEVER, "77")
    link = world.state.links[key("c1")]
    world.state.links[link.key] = replace(link, generation=2, renewed_by="kim")
    answered(world, Choice.CREATE)
    assert world.state.links[key("c1")].unsynced is not None, "until it is created it is still not in agreement"
    world.settle_down()

    link = world.state.links[key("c1")]
    assert link.target_id not in {None, "77", "78"}
    assert (link.never, link.generation, link.renewed_by) == (("77",), 2, "kim")
    assert (link.decision, world.unsynced()) == (None, [])


@pytest.mark.parametrize("choice", [Choice.ACCEPT, Choice.NEVER])
def test_an_answer_that_names_no_candidate_rules_nothing_out(world: World, choice: Choice):
    gone(world, "77")
    answer(world, choice, "999")

    link = world.state.links[key("c1")]
    assert (link.never, link.decision) == ((), None)
    (parked,) = world.unsynced()
    assert parked.review is not None


def test_a_new_one_is_created_if_a_person_says_so(world: World):
    survivor = lost(world)
    answer(world, Choice.CREATE)

    assert target(world, "c1") != survivor
    assert world.unsynced() == []


def test_an_invoice_stays_where_the_merge_put_it_though_the_company_is_another_one_now(world: World):
    world.deal("d1")
    world.apply("d1")
    survivor = lost(world)
    answer(world, Choice.CREATE)

    assert [invoice.fields["customer"] for invoice in world.invoices()] == [survivor]
    assert world.unsynced() == []


def test_its_deal_changed_it_is_parked_for_what_the_merge_changed(world: World):
    test_an_invoice_stays_where_the_merge_put_it_though_the_company_is_another_one_now(world)
    world.deal("d1", "99")
    world.apply("d1")

    (parked,) = world.unsynced()
    assert "its customer was" in parked.reason
    assert [invoice.fields["customer"] for invoice in world.invoices()] == [target(world, "c2")]


def test_without_anything_alike_it_is_told_that_it_is_gone(world: World):
    merge(world, target(world, "c1"), target(world, "c2"), told=False)
    world.company("c1", "Acme International")
    world.apply("c1", kind=Kind.COMPANY)

    (parked,) = world.unsynced()
    assert (parked.review, parked.cause) == (None, "target-gone-customers")
    assert "is gone from the books" in parked.reason
    assert world.state.links[key("c1")].withdrawn is Withdrawal.TARGET_GONE


def test_of_one_that_is_known_to_be_gone_the_books_are_not_asked_again(world: World):
    gone(world)
    calls = dict(world.books.calls)
    world.company("c1", "Acme International")

    world.apply("c1", kind=Kind.COMPANY)

    assert world.books.calls == calls
    assert [one.cause for one in world.unsynced()] == ["target-gone-customers"]


@pytest.mark.parametrize("end", ["asked about", "gone", "inactive"])
def test_an_invoice_in_the_same_batch_is_not_written_for_a_customer_that_is_gone(world: World, end: str):
    loser = target(world, "c1")
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550123")
    if end == "asked about":
        world.books.put(Kind.CUSTOMER, "77", name="Acme Corp.", email="ada@acme.example")
        world.books.looks_similar = lambda _document, record: record.id == "77"
    if end == "inactive":
        world.books.put(Kind.CUSTOMER, loser, active=False)
        world.books.fault = lambda effect: NotFoundError("No such active record.") if effect.target_id else None
    else:
        del world.books.records[Kind.CUSTOMER, loser]
    world.deal("d1")

    world.new_worker().apply([*world.change(Kind.COMPANY, "c1"), *world.change(Kind.DEAL, "d1")])

    assert world.invoices() == []
    assert {(one.step, one.cause) for one in world.unsynced()} == {
        ("customers", "target-gone-customers"),
        ("invoices", "target-gone-customers"),
    }


def test_never_leaves_it_gone(world: World):
    survivor = lost(world)
    answer(world, Choice.NEVER, survivor)

    (parked,) = world.unsynced()
    assert (parked.review, world.state.links[key("c1")].never) == (None, (survivor,))


def test_a_search_that_fails_lets_the_question_wait(world: World):
    def fail(_: Any) -> Any:
        raise UnavailableError("The books are down.")

    merge(world, target(world, "c1"), target(world, "c2"), told=False)
    world.company("c1", "Acme International")
    world.books.find = fail

    assert world.apply("c1", kind=Kind.COMPANY).waiting == 1
    link = world.state.links[key("c1")]
    assert (link.intent, link.withdrawn) == (None, None)


def test_a_sign_in_that_is_refused_while_it_is_searched_for_pauses_the_connection(world: World):
    def refuse(_: Any) -> Any:
        raise ReconnectError("The books no longer accept our sign-in.", next_step="Connect again.")

    world.books.find = refuse
    gone(world)

    connection = world.state.connection(TENANT, BOOKS)
    assert connection is not None
    assert connection.state is ConnectionState.PAUSED
    assert [one.reason for one in world.unsynced()] == ["The books no longer accept our sign-in."]


@pytest.mark.parametrize("origin", [Origin.WEBHOOK, Origin.DOUBT])
def test_a_sign_in_that_is_refused_while_merges_and_doubts_are_looked_at_pauses_the_connection(
    world: World, origin: Origin
):
    refused = ReconnectError("The books no longer accept our sign-in.", next_step="Connect again.")
    world.books.read_fault = lambda kind: refused if kind is Kind.CUSTOMER else None
    if origin is Origin.WEBHOOK:
        report = tell(world, target(world, "c1"), target(world, "c2"))
    else:
        (change,) = world.change(Kind.COMPANY, "c1")
        report = world.new_worker().apply([replace(change, origin=origin)])

    connection = world.state.connection(TENANT, BOOKS)
    assert connection is not None
    assert (connection.state, report.waiting) == (ConnectionState.PAUSED, 1)


def test_an_answer_that_somebody_else_used_meanwhile_lets_it_wait(world: World):
    survivor = lost(world)
    link = world.state.links[key("c1")]
    assert link.unsynced is not None
    assert link.unsynced.review is not None
    decision = Decision(link.unsynced.review.digest, Choice.ACCEPT, "ada", world.clock.now(), survivor)
    world.state.store(replace(link, decision=decision))

    def raced(_: Any, **_options: Any) -> Any:
        raise ClaimedError("Another worker was faster.")

    world.state.store = raced
    (change,) = world.change(Kind.COMPANY, "c1")

    assert world.new_worker().apply([replace(change, origin=Origin.OPERATOR)]).waiting == 1


def test_a_merge_waits_for_a_write_that_is_under_way(world: World):
    loser, survivor = target(world, "c1"), target(world, "c2")
    world.company("c1", "Acme International")
    world.books.fault = lambda _: "lost"
    world.apply("c1", kind=Kind.COMPANY)
    world.books.fault = lambda _: None
    assert world.state.links[key("c1")].intent is not None

    merge(world, loser, survivor)

    assert world.state.links[key("c1")].target_id == loser
    assert [change.merged_into for _, change in world.queue.later].count(survivor) == 1
    tell(world, loser, survivor, attempts=world.policy.alert_after_attempts - 1)
    (alert,) = world.state.pending(TENANT)
    assert alert.reason == "The record that was merged is being written."


def test_an_item_that_is_gone_is_said_to_be_gone(world: World):
    world.apply("p1", kind=Kind.PRODUCT)
    (item,) = world.books.all(Kind.ITEM)
    del world.books.records[Kind.ITEM, item.id]
    world.crm.put(Kind.PRODUCT, "p1", description="A pro")

    world.apply("p1", kind=Kind.PRODUCT)

    (parked,) = world.unsynced()
    assert parked.reason == "The item GTX Pro is gone from the books."


# A document names a customer that is gone


def refuses(world: World) -> None:
    """The books refuse invoices of customers that are gone or inactive, as QuickBooks does (610)."""

    def fault(effect: Any) -> Any:
        if effect.kind is not Kind.INVOICE:
            return None
        customer = world.books.records.get((Kind.CUSTOMER, effect.document.customer))
        if customer is None or customer.fields.get("active") is False:
            return NotFoundError("The books have no such active record.", code="610")
        return None

    world.books.fault = fault


def test_an_invoice_for_a_customer_that_is_gone_brings_up_what_became_of_that(world: World):
    refuses(world)
    survivor = target(world, "c2")
    world.books.looks_similar = lambda _document, record: record.id == survivor
    world.company("c2", "Acme Corp.")
    world.apply("c2", kind=Kind.COMPANY)
    merge(world, target(world, "c1"), survivor, told=False)
    world.deal("d1")

    assert world.apply("d1").waiting > 0
    world.settle_down()

    company, deal = sorted(world.unsynced(), key=lambda one: one.step)
    assert company.review is not None
    assert [one.target_id for one in company.review.candidates] == [survivor]
    assert (deal.cause, deal.reason, deal.review) == (company.cause, company.reason, None)
    link = world.state.links[key("c1")]
    assert (link.intent, link.withdrawn) == (None, None)


def test_the_answer_lets_the_invoice_go_on_too(world: World):
    test_an_invoice_for_a_customer_that_is_gone_brings_up_what_became_of_that(world)
    survivor = target(world, "c2")
    company = next(one for one in world.unsynced() if one.review is not None)
    assert company.review is not None

    decision = Decision(company.review.digest, Choice.ACCEPT, "ada", world.clock.now(), survivor)
    Operate(config=world.state, links=world.state, queue=world.queue, clock=world.clock).resolve(
        TENANT, company, decision
    )
    world.new_worker().apply(world.queue.now)
    world.settle_down()

    assert [invoice.fields["customer"] for invoice in world.invoices()] == [survivor]
    assert world.unsynced() == []


def test_an_invoice_whose_customer_is_inactive_waits_for_a_person(world: World):
    refuses(world)
    customer = target(world, "c1")
    world.books.put(Kind.CUSTOMER, customer, active=False)
    world.deal("d1")
    world.apply("d1")
    world.settle_down()

    assert {one.cause for one in world.unsynced()} == {"target-gone-customers"}
    assert all("is inactive in the books" in one.reason for one in world.unsynced())
    (company,) = world.change(Kind.COMPANY, "c1")
    world.new_worker().apply([replace(company, origin=Origin.OPERATOR)])
    assert {one.step for one in world.unsynced()} == {"customers", "invoices"}, "it is inactive still"

    world.books.put(Kind.CUSTOMER, customer, active=True)
    retry(world)

    assert len(world.invoices()) == 1
    assert world.unsynced() == []


def retry(world: World) -> None:
    changes = [replace(one.change, origin=Origin.OPERATOR, attempts=0) for one in world.unsynced()]
    world.new_worker().apply(changes)
    world.settle_down()


def test_an_invoice_whose_customer_is_told_to_be_merged_meanwhile_ends_by_itself(world: World):
    refuses(world)
    loser, survivor = target(world, "c1"), target(world, "c2")
    merge(world, loser, survivor, told=False)
    world.deal("d1")
    world.apply("d1")

    tell(world, loser, survivor)
    world.settle_down()

    assert [invoice.fields["customer"] for invoice in world.invoices()] == [survivor]
    assert world.unsynced() == []


def test_an_invoice_that_is_refused_though_its_customer_stands_is_parked_at_once(world: World):
    world.books.fault = lambda effect: NotFoundError("Something.", code="610") if effect.kind is Kind.INVOICE else None
    world.deal("d1")

    report = world.apply("d1")

    assert (report.waiting, report.parked, world.queue.later) == (0, 1, [])


def test_a_doubt_about_a_customer_that_stands_changes_nothing(world: World):
    (change,) = world.change(Kind.COMPANY, "c1")

    report = world.new_worker().apply([replace(change, origin=Origin.DOUBT)])

    assert (report.unchanged, world.unsynced()) == (1, [])


def test_without_a_doubt_about_it_the_customer_of_a_company_that_did_not_change_is_not_read(world: World):
    company = world.crm.records[Kind.COMPANY, "c1"]
    world.company("c1", "Refused")
    world.books.fault = lambda _: RejectedError("The name is taken by a vendor.", code="6240", field="name")
    world.apply("c1", kind=Kind.COMPANY)
    world.crm.records[Kind.COMPANY, "c1"] = company
    reads = world.books.calls["read"]

    for waiting in (1, 0):
        assert len(world.unsynced()) == waiting
        assert world.apply("c1", kind=Kind.COMPANY).unchanged == 1
    assert world.books.calls["read"] == reads


def test_a_doubt_that_cannot_be_looked_at_now_waits(world: World):
    world.books.read_fault = lambda _: UnavailableError("The books are down.")
    (change,) = world.change(Kind.COMPANY, "c1")

    report = world.new_worker().apply([replace(change, origin=Origin.DOUBT)])

    assert report.waiting == 1
    world.books.read_fault = lambda _: None
    world.settle_down()


def test_a_document_waits_only_so_often_for_a_look_at_its_customer(world: World):
    """Should the look at the customer be lost, the document does not wait for ever."""
    refuses(world)
    world.books.put(Kind.CUSTOMER, target(world, "c1"), active=False)
    world.deal("d1")
    world.apply("d1")
    for _ in range(5):
        changes = [change for _, change in world.queue.later if change.kind is Kind.DEAL]
        world.queue.later.clear()
        if changes:
            world.new_worker().apply(changes)

    (parked,) = world.unsynced()
    assert (parked.step, parked.state, parked.code) == ("invoices", UnsyncedState.PARKED, "610")


def test_a_change_of_a_company_whose_customer_is_inactive_is_told_as_that(world: World):
    customer = target(world, "c1")
    world.books.put(Kind.CUSTOMER, customer, active=False)
    world.books.fault = lambda _: NotFoundError("The books have no such active record.", code="610")
    link = world.state.links[key("c1")]
    version = world.books.records[Kind.CUSTOMER, customer].version
    world.state.links[key("c1")] = replace(link, target_version=version)
    world.company("c1", "Acme International")
    world.apply("c1", kind=Kind.COMPANY)

    (parked,) = world.unsynced()
    assert (parked.code, parked.cause) == ("target-inactive", "target-gone-customers")
    assert world.state.links[key("c1")].withdrawn is None

    world.books.put(Kind.CUSTOMER, customer, active=True)
    world.books.fault = lambda _: None
    retry(world)
    assert world.books.records[Kind.CUSTOMER, customer].fields["name"] == "Acme International"
