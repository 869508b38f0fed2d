"""Workers that meet, each shown with the fewest steps; the simulation found them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, TENANT, Crash, World
from tieout.domain.changes import Origin, UnsyncedState
from tieout.domain.errors import UnavailableError
from tieout.domain.links import IntentState, Link, LinkKey, Withdrawal
from tieout.domain.records import Kind, Record
from tieout.engine.ends import ApplyReport
from tieout.engine.poll import PollChanges


@pytest.fixture
def world() -> World:
    return World()


def polling_of(world: World) -> PollChanges:
    return PollChanges(
        config=world.state,
        links=world.state,
        alerts=world.state,
        queue=world.queue,
        connect=lambda connection: {"fake_crm": world.crm, "fake_books": world.books}[connection.provider],
        clock=world.clock,
    )


def test_record_read_before_another_worker_wrote_a_newer_one_does_not_replace_it(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    other: list[str] = []
    real = world.crm.read

    def read(kind, ids):
        found = real(kind, ids)
        if kind is Kind.DEAL and not other:  # we have read 1200; now the deal is edited and another worker is faster
            other.append("once")
            world.deal("d1", "1500")
            world.new_worker().apply(world.change(Kind.DEAL, "d1"))
        return found

    world.crm.read = read
    world.apply("d1")
    world.settle_down()

    assert [invoice.fields["total"] for invoice in world.invoices()] == [Decimal(1500)]


def test_item_whose_write_was_left_open_for_a_deal_that_is_lost_meanwhile_is_found_by_the_next_sweep(world: World):
    world.deal("d1")
    claims: list[str] = []

    def dies_after_the_second_claim(name: str) -> bool:
        claims.extend([name] if name == "claim" else [])
        return len(claims) == 2  # the customer's was the first

    world.state.crash_after = dies_after_the_second_claim
    with pytest.raises(Crash):
        world.apply("d1")
    world.state.crash_after = lambda _: False
    world.clock.sleep(720)
    world.deal("d1", status="lost")
    world.new_worker().apply(world.change(Kind.DEAL, "d1"))
    item = LinkKey(TENANT, "deals-to-invoices", "items", "p1")
    assert world.state.links[item].intent is not None

    assert polling_of(world).sweep(TENANT, CRM).queued[Kind.PRODUCT] == 1
    world.new_worker().apply(world.queue.now)
    world.settle_down()

    assert world.state.links[item].intent is None


def test_item_that_waits_for_a_deal_that_is_lost_meanwhile_is_found_by_a_sweep(world: World):
    world.deal("d1")
    real = world.books.find

    def does_not_find_items(effects):
        if effects[0].kind is Kind.ITEM:
            raise UnavailableError("No answer came.")
        return real(effects)

    world.books.find = does_not_find_items
    world.queue.fails = True
    with pytest.raises(RuntimeError):
        world.apply("d1")
    world.queue.fails, world.books.find = False, real
    world.deal("d1", status="lost")
    world.new_worker().apply(world.change(Kind.DEAL, "d1"))
    assert [one.step for one in world.unsynced()] == ["items"]

    world.clock.sleep(3600)
    polling_of(world).sweep(TENANT, CRM)
    world.new_worker().apply(world.queue.now)

    assert world.unsynced() == []


@pytest.mark.parametrize("edit", [{"number": "A-1"}, {"state": "voided", "lines": [], "total": Decimal(0)}])
def test_invoice_edited_in_the_books_before_its_lost_write_is_found_is_not_overwritten(world: World, edit: dict):
    world.deal("d1", "1000")
    world.books.fault = lambda effect: "lost" if effect.kind is Kind.INVOICE else None
    world.apply("d1")
    world.books.fault = lambda _: None
    (invoice,) = world.invoices()
    edited = world.books.put(Kind.INVOICE, invoice.id, **edit)
    world.settle_down()

    world.deal("d1", "1200")
    world.apply("d1")
    world.settle_down()

    assert [(one.fields["lines"], one.fields["number"]) for one in world.invoices()] == [
        (edited.fields["lines"], edited.fields["number"])
    ]
    assert [one.state for one in world.unsynced()] == [UnsyncedState.PARKED]


def test_invoice_whose_other_fields_changed_before_its_lost_write_is_found_is_updated(world: World):
    world.deal("d1", "1000")
    world.books.fault = lambda effect: "lost" if effect.kind is Kind.INVOICE else None
    world.apply("d1")
    world.books.fault = lambda _: None
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, printed="yes")
    world.deal("d1", "1200")
    world.settle_down()

    assert [one.fields["total"] for one in world.invoices()] == [Decimal(1200)]


@pytest.mark.parametrize("linked", [False, True])
def test_deal_that_is_lost_while_its_worker_is_held_up_gets_no_invoice_unsaid(world: World, *, linked: bool):
    world.deal("d1", "1000")
    if linked:
        world.apply("d1")
        world.deal("d1", "1100")
    search = world.crm.search
    other: list[str] = []

    def held_up(*given):
        if not other:
            other.append("once")
            world.clock.sleep(30)
            world.deal("d1", "1200", status="lost")
            world.new_worker().apply(world.change(Kind.DEAL, "d1"))
        return search(*given)

    world.crm.search = held_up
    world.apply("d1")
    world.settle_down()

    assert [one.fields["total"] for one in world.invoices()] == ([Decimal(1000)] if linked else [])
    assert [one.cause for one in world.unsynced()] == (["left-invoices"] if linked else [])


def test_crm_that_fails_when_a_record_is_read_again_lets_its_change_wait(world: World):
    world.deal("d1")

    def search_slowly(*given):
        world.clock.sleep(30)
        world.crm.read_fault = lambda kind: UnavailableError("No answer came.") if kind is Kind.DEAL else None
        return world_search(*given)

    world_search, world.crm.search = world.crm.search, search_slowly
    world.apply("d1")
    assert (world.invoices(), [one.step for one in world.unsynced()]) == ([], ["invoices"])

    world.crm.search, world.crm.read_fault = world_search, lambda _: None
    world.settle_down()
    assert (len(world.invoices()), world.unsynced()) == (1, [])


def test_invoice_with_our_reference_that_no_deal_is_linked_to_is_parked_after_a_while(world: World):
    world.deal("d1", status="lost")
    key = LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")
    world.state.links[key] = Link(key, revision=5)  # looked up in vain and released; the write came through later
    world.books.put(
        Kind.INVOICE, "105", reference=key.reference, number="Sd1", state="paid", paid=Decimal(9), currency="USD"
    )

    world.apply("105", kind=Kind.INVOICE, connection=BOOKS)
    assert world.unsynced() == []
    world.settle_down()

    (parked,) = world.unsynced()
    assert (parked.state, parked.cause) == (UnsyncedState.PARKED, "not-linked-payments")
    assert "--relink" in parked.next_step


def test_lost_update_of_records_without_versions_is_looked_for_twice_as_it_may_still_replace_a_newer_one(world: World):
    world.deal("d1")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.crm.fault = lambda _: "vanished"
    world.pay(invoice.id, "100")
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.crm.fault = lambda _: None
    world.pay(invoice.id, "200")
    written = world.crm.calls["effect"]

    for looks, writes in ((1, 0), (2, 1)):
        world.clock.sleep(world.policy.look_seconds + 1)
        world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)

        assert world.crm.calls["effect"] == written + writes, f"after {looks} looks"


def test_customer_of_a_write_that_is_not_settled_yet_is_not_adopted_by_another_company_of_its_name(world: World):
    world.company("c2", "Globex")
    world.deal("d1", company="c2")
    world.books.fault = lambda effect: "lost" if effect.kind is Kind.CUSTOMER else None
    world.apply("d1")
    world.books.fault = lambda _: None
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.company("c1", "Globex")
    world.company("c2", "Globex Corporation")
    world.deal("d2")

    world.apply("d2")
    world.settle_down()

    owner = world.state.links[LinkKey(TENANT, "deals-to-invoices", "customers", "c2")]
    assert owner.target_id == customer.id
    assert world.state.links[LinkKey(TENANT, "deals-to-invoices", "customers", "c1")].target_id != customer.id
    references = [one.fields["reference"] for one in world.books.all(Kind.CUSTOMER)]
    assert len(references) == len(set(references))


def test_lost_write_does_not_take_the_customer_of_another_company_of_its_name_for_its_own(world: World):
    world.company("c1", "Globex")
    world.company("c2", "Globex")
    ends = {"c1": "lost", "c2": "vanished"}  # both writes were sent; the first was done, and nobody heard of it
    references = {LinkKey(TENANT, "deals-to-invoices", "customers", one).reference: one for one in ends}
    world.books.fault = lambda effect: ends.get(references.get(effect.reference, ""))
    world.deal("d1", company="c1")
    world.deal("d2", company="c2")
    world.apply("d1", "d2")
    world.books.fault = lambda _: None

    world.clock.sleep(world.policy.look_seconds + 1)
    world.apply("d2")
    world.settle_down()

    (customer,) = world.books.all(Kind.CUSTOMER)
    owners = {one: world.state.links[LinkKey(TENANT, "deals-to-invoices", "customers", one)].target_id for one in ends}
    assert owners == {"c1": customer.id, "c2": None}
    assert {one.cause for one in world.unsynced()} == {"same-name-customers"}


def _customers(world: World, *ids: str) -> dict[str, Link | None]:
    return {one: world.state.links.get(LinkKey(TENANT, "deals-to-invoices", "customers", one)) for one in ids}


def _partners(world: World, *ids: str) -> dict[str, str | None]:
    return {one: link.target_id if link is not None else None for one, link in _customers(world, *ids).items()}


def _namesakes(world: World) -> None:
    """Two companies of one name, and one customer of it that stood in the books before us."""
    world.company("c1", "Acme Corporation")
    world.company("c2", "Acme Corporation")
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")


def _once_asked_who_owns_it(world: World, act: Callable[[], object]) -> None:
    """The first worker has been told that nobody is linked to the record; then this happens."""
    real = world.state.by_target

    def by_target(*given: Any) -> dict[str, Link]:
        found = real(*given)
        world.state.by_target = real
        act()
        return found

    world.state.by_target = by_target


def _dies_between_way_back_and_link(world: World, company: str) -> None:
    world.state.crash_before = lambda name: name == "settle"
    with pytest.raises(Crash):
        world.new_worker().apply(world.change(Kind.COMPANY, company))
    world.state.crash_before = lambda _: False


def test_of_two_workers_that_adopt_the_same_record_for_two_companies_one_is_told_that_it_is_not_its_own(world: World):
    _namesakes(world)
    _once_asked_who_owns_it(world, lambda: world.new_worker().apply(world.change(Kind.COMPANY, "c2")))

    report = world.new_worker().apply(world.change(Kind.COMPANY, "c1"))
    world.settle_down()

    assert (report.adopted, report.parked) == (0, 1)
    assert _partners(world, "c1", "c2") == {"c1": None, "c2": "77"}
    link = _customers(world, "c1")["c1"]
    assert link is not None
    assert (link.intent, link.base) == (None, None)
    assert set(world.state.by_target(TENANT, "deals-to-invoices", "customers", ["77"])) == {"77"}
    (parked,) = world.unsynced()
    assert (parked.state, parked.cause, parked.change.id) == (UnsyncedState.PARKED, "same-name-customers", "c1")
    assert parked.reason == "The customer Acme Corporation in the books belongs to another company already."
    assert [one.id for one in world.books.all(Kind.CUSTOMER)] == ["77"]
    assert world.books.calls["write"] == 0


def test_record_that_a_dead_worker_was_about_to_link_stays_its_own_until_it_is_looked_up(world: World):
    _namesakes(world)
    _dies_between_way_back_and_link(world, "c1")

    report = world.new_worker().apply(world.change(Kind.COMPANY, "c2"))
    assert (report.adopted, report.parked) == (0, 1)
    assert [(one.change.id, one.cause) for one in world.unsynced()] == [("c2", "same-name-customers")]

    world.clock.sleep(world.policy.hold_seconds + 1)
    world.new_worker().apply(world.change(Kind.COMPANY, "c1"))
    world.settle_down()

    assert _partners(world, "c1", "c2") == {"c1": "77", "c2": None}
    assert [one.change.id for one in world.unsynced()] == ["c2"]


def test_record_that_a_dead_worker_did_not_link_in_the_end_can_be_linked_to_another(world: World):
    _namesakes(world)
    _dies_between_way_back_and_link(world, "c1")
    world.crm.put(Kind.COMPANY, "c1", name="Globex")
    customer = world.books.records.pop((Kind.CUSTOMER, "77"))  # not found: what was begun is given up
    world.clock.sleep(world.policy.hold_seconds + 1)
    world.new_worker().apply(world.change(Kind.COMPANY, "c1"))
    world.settle_down()
    assert _partners(world, "c1") != {"c1": "77"}
    assert world.state.pointers[TENANT, "deals-to-invoices", "customers", "77"].source_id == "c1"
    world.books.records[Kind.CUSTOMER, "77"] = customer

    report = world.new_worker().apply(world.change(Kind.COMPANY, "c2"))

    assert (report.adopted, _partners(world, "c2"), world.unsynced()) == (1, {"c2": "77"}, [])
    assert world.state.pointers[TENANT, "deals-to-invoices", "customers", "77"].source_id == "c2"


def test_lost_write_does_not_take_a_customer_that_another_worker_links_just_now(world: World):
    """The write may still arrive: it is looked up as often as any that is not found, then its company asks again."""
    world.policy = replace(world.policy, looks=2)
    world.company("c1", "Acme Corporation")
    world.company("c2", "Acme Corporation")
    world.books.fault = lambda _: "vanished"
    world.apply("c1", kind=Kind.COMPANY)
    world.books.fault = lambda _: None
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.clock.sleep(world.policy.look_seconds + 1)
    _once_asked_who_owns_it(world, lambda: world.new_worker().apply(world.change(Kind.COMPANY, "c2")))

    world.new_worker().apply(world.change(Kind.COMPANY, "c1"))

    link = _customers(world, "c1")["c1"]
    assert link is not None
    assert link.intent is not None
    assert (link.intent.state, link.intent.looks, link.target_id) == (IntentState.UNKNOWN, 1, None)
    world.settle_down()
    assert _partners(world, "c1", "c2") == {"c1": None, "c2": "77"}
    assert [(one.change.id, one.cause) for one in world.unsynced()] == [("c1", "same-name-customers")]
    assert [one.id for one in world.books.all(Kind.CUSTOMER)] == ["77"]


def _overtaken_as_it_ends(world: World, company: str, method: str) -> None:
    """Another worker takes the company's open intent over before the first one's call reaches the table."""
    real = getattr(world.state, method)

    def overtaken(link: Link, **named: Any) -> Any:
        stored = _customers(world, company)[company]
        if link.key.source_id == company and stored is not None and stored.intent is not None:
            setattr(world.state, method, real)
            world.state.keep_intent(stored, replace(stored.intent, worker="w9"))
        return real(link, **named)

    setattr(world.state, method, overtaken)


def test_who_was_overtaken_while_it_is_told_that_the_record_is_anothers_leaves_it_to_the_other_worker(world: World):
    _namesakes(world)
    _once_asked_who_owns_it(world, lambda: world.new_worker().apply(world.change(Kind.COMPANY, "c2")))
    _overtaken_as_it_ends(world, "c1", "release")

    report = world.new_worker().apply(world.change(Kind.COMPANY, "c1"))

    assert (report.waiting, report.parked) == (1, 0)
    link = _customers(world, "c1")["c1"]
    assert link is not None
    assert link.intent is not None
    assert link.intent.worker == "w9"


def test_who_was_overtaken_after_its_last_look_leaves_the_write_to_the_other_worker(world: World):
    world.policy = replace(world.policy, looks=1)
    world.books.fault = lambda _: "vanished"
    world.apply("c1", kind=Kind.COMPANY)
    world.books.fault = lambda _: None
    world.clock.sleep(world.policy.look_seconds + 1)
    _overtaken_as_it_ends(world, "c1", "release")
    writes = world.books.calls["write"]

    report = world.new_worker().apply(world.change(Kind.COMPANY, "c1"))

    assert (report.waiting, world.books.calls["write"]) == (1, writes)
    link = _customers(world, "c1")["c1"]
    assert link is not None
    assert link.intent is not None
    assert link.intent.worker == "w9"


def _customer_with_a_city_of_the_books(world: World) -> Record:
    """The CRM knows the country only; somebody adds the city in the books."""
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    return world.books.put(
        Kind.CUSTOMER, customer.id, billing_address={"country": "US", "city": "Springfield", "line3": "Left wing"}
    )


def test_part_of_an_address_that_somebody_added_in_the_books_stays_when_something_else_is_written(world: World):
    customer = _customer_with_a_city_of_the_books(world)
    world.crm.put(Kind.COMPANY, "c1", phone="+1 650 555 0100")

    world.apply("c1", kind=Kind.COMPANY)

    written = world.books.records[Kind.CUSTOMER, customer.id]
    assert written.fields["phone"] == "+16505550100"
    assert written.fields["billing_address"] == customer.fields["billing_address"]
    assert world.unsynced() == []


def test_part_of_an_address_that_both_sides_added_is_left_to_a_person(world: World):
    customer = _customer_with_a_city_of_the_books(world)
    world.crm.put(Kind.COMPANY, "c1", address={"country": "United States", "city": "Shelbyville"})

    world.apply("c1", kind=Kind.COMPANY)

    assert world.books.records[Kind.CUSTOMER, customer.id].fields == customer.fields
    (parked,) = world.unsynced()
    assert parked.cause == "refused-changed-on-both-sides-billing-address-city"


def test_part_of_an_address_that_somebody_added_before_a_lost_write_is_found_is_not_overwritten(world: World):
    world.books.fault = lambda _: "lost"
    world.apply("c1", kind=Kind.COMPANY)
    world.books.fault = lambda _: None
    (customer,) = world.books.all(Kind.CUSTOMER)
    edited = world.books.put(Kind.CUSTOMER, customer.id, billing_address={"country": "US", "city": "Springfield"})
    world.settle_down()
    world.crm.put(Kind.COMPANY, "c1", address={"country": "United States", "city": "Shelbyville"})

    world.apply("c1", kind=Kind.COMPANY)

    assert world.books.records[Kind.CUSTOMER, customer.id].fields == edited.fields
    assert [one.cause for one in world.unsynced()] == ["refused-changed-on-both-sides-billing-address-city"]


def _email(world: World, email: str) -> None:
    contact: Any = world.crm.records[Kind.COMPANY, "c1"].fields["contact"]
    world.crm.put(Kind.COMPANY, "c1", contact={**contact, "email": email})


def test_field_that_somebody_filled_in_the_books_is_not_overwritten_once_something_else_was_written(world: World):
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, customer.id, phone="650 555 0199")
    _email(world, "new@acme.example")
    world.apply("c1", kind=Kind.COMPANY)
    world.crm.put(Kind.COMPANY, "c1", phone="+1 650 555 0100")

    world.apply("c1", kind=Kind.COMPANY)

    shown = world.books.records[Kind.CUSTOMER, customer.id].fields
    assert (shown["email"], shown["phone"]) == ("new@acme.example", "650 555 0199")
    assert [one.cause for one in world.unsynced()] == ["refused-changed-on-both-sides-phone"]


def test_part_of_an_address_that_somebody_added_is_not_overwritten_once_something_else_was_written(world: World):
    customer = _customer_with_a_city_of_the_books(world)
    world.crm.put(Kind.COMPANY, "c1", phone="+1 650 555 0100")
    world.apply("c1", kind=Kind.COMPANY)
    world.crm.put(Kind.COMPANY, "c1", address={"country": "United States", "city": "Shelbyville"})

    world.apply("c1", kind=Kind.COMPANY)

    shown = world.books.records[Kind.CUSTOMER, customer.id].fields
    assert shown["billing_address"] == customer.fields["billing_address"]
    assert [one.cause for one in world.unsynced()] == ["refused-changed-on-both-sides-billing-address-city"]


def test_field_that_somebody_filled_before_a_lost_update_is_found_is_not_overwritten(world: World):
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.fault = lambda _: "lost"
    _email(world, "new@acme.example")
    world.apply("c1", kind=Kind.COMPANY)
    world.books.fault = lambda _: None
    world.books.put(Kind.CUSTOMER, customer.id, phone="650 555 0199")
    world.settle_down()
    world.crm.put(Kind.COMPANY, "c1", phone="+1 650 555 0100")

    world.apply("c1", kind=Kind.COMPANY)

    assert world.books.records[Kind.CUSTOMER, customer.id].fields["phone"] == "650 555 0199"
    assert [one.cause for one in world.unsynced()] == ["refused-changed-on-both-sides-phone"]


def voided_in_the_books(world: World, record_id: str) -> None:
    world.books.put(Kind.INVOICE, record_id, state="voided", total=Decimal(0), balance=Decimal(0), lines=[])


def lost_create(world: World) -> Record:
    """The invoice of a deal whose answer was lost."""
    world.deal("d1", "1000")
    world.books.fault = lambda effect: "lost" if effect.kind is Kind.INVOICE else None
    world.apply("d1")
    world.books.fault = lambda _: None
    (invoice,) = world.invoices()
    return invoice


def relinked(world: World, *ids: str) -> ApplyReport:
    """The deals, tried again as after a restore of the table to a time before all of it."""
    world.state.links.clear()
    world.state.pointers.clear()
    return world.new_worker().apply([replace(one, origin=Origin.RELINK) for one in world.change(Kind.DEAL, *ids)])


def test_invoice_voided_before_its_lost_write_is_found_is_told_and_may_be_renewed(world: World):
    voided_in_the_books(world, lost_create(world).id)
    world.settle_down()

    (parked,) = world.unsynced()
    assert (parked.state, parked.cause) == (UnsyncedState.PARKED, "target-gone-invoices")
    assert "voided in the books" in parked.reason
    assert "tieout renew" in parked.next_step
    assert len(world.invoices()) == 1


def test_relinking_does_not_take_a_voided_invoice_for_one_that_stands(world: World):
    world.deal("d1")
    world.deal("d2")
    world.apply("d1", "d2")
    voided, standing = world.invoices()
    voided_in_the_books(world, voided.id)

    relinked(world, "d1", "d2")
    world.settle_down()

    (parked,) = world.unsynced()
    assert (parked.change.id, parked.cause) == ("d1", "target-gone-invoices")
    assert world.invoices() == [world.books.records[Kind.INVOICE, voided.id], standing]
    links = {key.source_id: link for key, link in world.state.links.items() if key.step == "invoices"}
    assert (links["d1"].target_id, links["d1"].withdrawn) == (voided.id, Withdrawal.TARGET_GONE)
    assert (links["d2"].target_id, links["d2"].withdrawn) == (standing.id, None)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_of_a_double_the_one_stands_that_a_person_did_not_void(world: World, *, lost: bool, first: bool):
    if lost:
        one = lost_create(world)
    else:
        world.deal("d1", "1000")
        world.apply("d1")
        (one,) = world.invoices()
    other = world.books.put(Kind.INVOICE, "900", **one.fields)

    def tries() -> None:
        if not lost:
            relinked(world, "d1")
        world.settle_down()

    tries()
    (parked,) = world.unsynced()
    assert parked.cause == "several-invoices"

    voided_in_the_books(world, one.id if first else other.id)
    if lost:
        world.new_worker().apply([replace(parked.change, origin=Origin.OPERATOR, attempts=0)])
    tries()
    key = LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")
    assert (world.state.links[key].target_id, world.state.links[key].withdrawn) == (
        other.id if first else one.id,
        None,
    )
    assert world.unsynced() == []


def test_of_a_double_that_a_person_voided_as_a_whole_none_stands(world: World):
    one = lost_create(world)
    other = world.books.put(Kind.INVOICE, "900", **one.fields)
    for each in (one, other):
        voided_in_the_books(world, each.id)
    world.settle_down()

    (parked,) = world.unsynced()
    assert (parked.state, parked.cause) == (UnsyncedState.PARKED, "target-gone-invoices")


@pytest.mark.parametrize("origin", [Origin.RELINK, Origin.OPERATOR, Origin.APPROVED])
def test_what_a_person_asks_for_again_is_looked_for_before_it_is_created(world: World, origin: Origin):
    """Its write was done late, after it had been looked for in vain; or the table is older than the books."""
    world.deal("d1")
    world.apply("d1")
    world.state.links.clear()
    world.state.pointers.clear()
    coalesced = [replace(one, origin=each) for one in world.change(Kind.DEAL, "d1") for each in (Origin.RELINK, origin)]

    world.new_worker().apply(coalesced)

    (invoice,) = world.invoices()
    key = LinkKey(TENANT, "deals-to-invoices", "invoices", "d1")
    assert world.state.links[key].target_id == invoice.id


@pytest.mark.parametrize("said", ["before", "only now"])
def test_deal_that_is_won_and_parked_again_while_a_slower_worker_saw_it_lost_stays_parked(world: World, said: str):
    world.deal("d1", product="GTX Ultra")
    world.apply("d1")
    (parked,) = world.unsynced()
    other: list[str] = []
    real = world.crm.read

    def read(kind, ids):
        found = real(kind, ids)
        if kind is Kind.DEAL and not other:  # we have read that it is lost; now it is won again
            other.append("once")
            world.clock.time += timedelta(seconds=1)
            world.deal("d1", product="GTX Ultra" if said == "before" else "GTX Hyper")
            world.new_worker().apply(world.change(Kind.DEAL, "d1"))
        return found

    world.deal("d1", product="GTX Ultra", status="lost")
    world.crm.read = read
    world.apply("d1")

    (now,) = world.unsynced()
    assert (now.cause == parked.cause) is (said == "before")
    assert (now.state, now.since) == (UnsyncedState.PARKED, parked.since)
    alerts = [one for one in world.state.pending(TENANT) if one.unsynced is not None]
    assert len(alerts) == (1 if said == "before" else 2), "the same is told once"


def test_item_that_another_product_of_its_name_took_before_it_was_settled_belongs_to_that_one(world: World):
    world.crm.put(Kind.PRODUCT, "p2", name="GTX Pro", price=Decimal(4821))
    other: list[str] = []
    real = world.books.write

    def write(effects):
        outcomes = real(effects)
        if not other:  # the item stands; before we learn of it, another worker finds it for the other product
            other.append("once")
            world.new_worker().apply(world.change(Kind.PRODUCT, "p2"))
        return outcomes

    world.books.write = write
    world.apply("p1", kind=Kind.PRODUCT)
    world.settle_down()

    (item,) = world.books.all(Kind.ITEM)
    partners = {key.source_id: link.target_id for key, link in world.state.links.items() if key.step == "items"}
    assert partners == {"p1": None, "p2": item.id}
    (parked,) = world.unsynced()
    assert (parked.change.id, parked.cause) == ("p1", "same-name-items")
    assert "belongs to another product already" in parked.reason
