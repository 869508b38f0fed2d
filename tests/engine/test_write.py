"""Writing: what is claimed and settled, and how each write ends: done, not done, unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.test_two_way import Both
from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tieout.domain.changes import Lane, Origin, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Effect, Operation, Outcome
from tieout.domain.errors import (
    ClaimedError,
    NameTakenError,
    NotFoundError,
    ReconnectError,
    SettingsError,
    TieoutError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.links import Intent, IntentState, Link, LinkKey
from tieout.domain.records import Kind
from tieout.domain.reviews import Side
from tieout.engine.policy import RetryPolicy
from tieout.engine.write import LOOKS_FOR_NAMED


@pytest.fixture
def world() -> World:
    return World()


def key(record_id: str, step: str = "invoices") -> LinkKey:
    return LinkKey(TENANT, "deals-to-invoices", step, record_id)


def ready(world: World) -> None:
    """Customer and item stand in the books."""
    world.apply("c1", kind=Kind.COMPANY)
    world.apply("p1", kind=Kind.PRODUCT)


def claims(world: World) -> list[Intent]:
    """The intents that are claimed from now on."""
    found: list[Intent] = []
    claim = world.state.claim

    def noted(link: Link, intent: Intent) -> Link:
        found.append(intent)
        return claim(link, intent)

    world.state.claim = noted
    return found


def state_of(world: World, connection: str) -> ConnectionState:
    found = world.state.connection(TENANT, connection)
    assert found is not None
    return found.state


# Claimed, settled


def test_a_claim_says_what_is_to_be_written_by_which_document_and_until_when_it_is_ours(world: World):
    ready(world)
    world.deal("d1", "1000")
    found = claims(world)
    world.apply("d1")
    world.clock.sleep(60)
    world.deal("d1", "1200")
    world.apply("d1")

    create, update = found
    link = world.state.links[key("d1")]
    assert (create.operation, create.target_id, create.source_version) == (Operation.CREATE, None, "0")
    assert (update.operation, update.target_id, update.source_version) == (Operation.UPDATE, link.target_id, "1")
    assert (create.opened_at, create.held_until) == (START, START + timedelta(seconds=180))
    assert (update.opened_at, update.held_until) == (START + timedelta(seconds=60), START + timedelta(seconds=240))
    assert (update.document, update.payload_hash) == (link.base, link.payload_hash)
    assert create.effect_id != update.effect_id
    for intent in found:
        assert (intent.state, intent.side, intent.sync_version) == (IntentState.CLAIMED, Side.TARGET, 1)
        assert (intent.looks, intent.plan, intent.adopts) == (0, "", "")
    assert create.worker != update.worker, "each run has a name of its own"


@pytest.mark.parametrize(("read_batch_max", "claimed"), [(29, 30), (50, 30), (60, 60), (96, 70)])
def test_as_many_are_claimed_together_as_one_read_takes_in_whole_batches(
    world: World, read_batch_max: int, claimed: int
):
    ready(world)
    world.crm.manifest = replace(world.crm.manifest, read_batch_max=read_batch_max)
    for number in range(70):
        world.deal(f"d{number}")
    found, before_the_first_write = claims(world), list[int]()
    write = world.books.write

    def noted(effects: Sequence[Effect]) -> Sequence[Outcome]:
        before_the_first_write.append(len(found))
        return write(effects)

    world.books.write = noted
    world.apply(*(f"d{number}" for number in range(70)))
    assert (before_the_first_write[0], len(world.invoices())) == (claimed, 70)


def test_a_settled_link_names_its_partner_and_what_was_written_when_and_by_which_document(world: World):
    ready(world)
    world.clock.sleep(60)
    world.deal("d1")
    world.apply("d1")

    link = world.state.links[key("d1")]
    (invoice,) = world.invoices()
    assert (link.target_id, link.target_version, link.source_version) == (invoice.id, invoice.version, "0")
    assert (link.settled_at, link.sync_version) == (world.clock.now(), 1)
    assert (link.intent, link.unsynced, link.withdrawn, link.decision) == (None, None, None, None)
    assert link.payload_hash != ""


def test_an_unknown_write_is_kept_until_it_is_looked_up(world: World):
    world.policy = RetryPolicy(base_seconds=1, look_seconds=10)
    ready(world)
    world.deal("d1")
    world.books.fault = lambda _: "lost"
    found = claims(world)
    world.new_worker().apply(world.change(Kind.DEAL, "d1"))

    intent = world.state.links[key("d1")].intent
    assert intent is not None
    assert (intent.state, intent.looks, intent.worker) == (IntentState.UNKNOWN, 0, found[-1].worker)
    assert intent.held_until == world.clock.now() + timedelta(seconds=world.policy.look_seconds)
    ((due, _),) = world.queue.later
    assert due >= intent.held_until


def test_of_a_record_that_was_adopted_the_version_is_known(world: World):
    customer = world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    assert world.apply("c1", kind=Kind.COMPANY).adopted == 1
    link = world.state.links[key("c1", "customers")]
    assert (link.target_id, link.target_version) == ("77", customer.version)


def test_books_that_make_another_total_are_told_with_both_amounts(world: World):
    ready(world)
    real = world.books._fields
    world.books._fields = lambda effect: real(effect) | {"total": Decimal("1000.01")}
    world.deal("d1", "1000")
    assert world.apply("d1").parked == 1

    (parked,) = world.unsynced()
    assert parked.cause == "difference-invoices"
    assert parked.reason == "the books shows a total of 1000.01, but the deal makes 1000.00."
    assert world.state.links[key("d1")].target_id == world.invoices()[0].id


# The whole call fails


def call_fails(world: World, error: TieoutError) -> None:
    def fail(_: Sequence[Effect]) -> Sequence[Outcome]:
        raise error

    world.books.write = fail


def works_again(world: World) -> None:
    del world.books.write


@pytest.mark.parametrize(
    ("error", "intent", "state"),
    [
        (UncertainError("No answer came."), IntentState.UNKNOWN, ConnectionState.ACTIVE),
        (UnavailableError("The books do not answer."), None, ConnectionState.ACTIVE),
        (ReconnectError("Signed out.", next_step="Connect again."), None, ConnectionState.PAUSED),
        (SettingsError("The address is missing.", next_step="Add it."), None, ConnectionState.PAUSED),
    ],
)
def test_an_error_of_the_call_is_each_writes_own(
    world: World, error: TieoutError, intent: IntentState | None, state: ConnectionState
):
    ready(world)
    for one in ("d1", "d2"):
        world.deal(one)
    call_fails(world, error)
    assert world.apply("d1", "d2").waiting == 2

    for one in ("d1", "d2"):
        open_one = world.state.links[key(one)].intent
        assert (open_one.state if open_one is not None else None) is intent
    assert {one.reason for one in world.unsynced()} == {error.message}
    assert state_of(world, BOOKS) is state
    assert state_of(world, CRM) is ConnectionState.ACTIVE


def test_a_write_that_the_answer_does_not_mention_is_looked_up(world: World):
    ready(world)
    for one in ("d1", "d2"):
        world.deal(one)
    write = world.books.write
    world.books.write = lambda effects: write(effects)[:1]
    report = world.apply("d1", "d2")
    works_again(world)

    assert (report.created, report.waiting) == (1, 1)
    assert [one.reason for one in world.unsynced()] == ["The provider's answer does not mention this record."]
    writes = world.books.calls["write"]
    world.settle_down()
    assert (len(world.invoices()), world.books.calls["write"], world.unsynced()) == (2, writes, [])


def test_a_search_that_fails_before_anything_is_written_lets_all_wait(world: World):
    def refuse(_: Any) -> Any:
        raise ReconnectError("Signed out.", next_step="Connect again.")

    world.books.find = refuse
    assert world.apply("c1", kind=Kind.COMPANY).waiting == 1
    assert (state_of(world, BOOKS), world.books.calls["write"]) == (ConnectionState.PAUSED, 0)
    assert [one.reason for one in world.unsynced()] == ["Signed out."]


def test_a_write_back_to_the_source_leaves_what_is_known_of_the_target():
    both = Both()
    former = both.link
    both.books_edit(phone="+16505550199")
    both.hear(BOOKS)
    assert (both.link.target_id, both.link.target_version) == (former.target_id, former.target_version)
    assert both.link.target_version != both.company_record.version


def test_a_refused_sign_in_of_the_source_pauses_the_source():
    both = Both()
    both.books_edit(phone="+16505550199")
    both.crm.fault = lambda _: ReconnectError("Signed out.", next_step="Connect again.")
    both.apply(both.customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    assert (state_of(both, CRM), state_of(both, BOOKS)) == (ConnectionState.PAUSED, ConnectionState.ACTIVE)


# Somebody else is faster


def fails_once(real: Callable[..., Any], error: TieoutError) -> Callable[..., Any]:
    left = [error]

    def act(*given: Any, **named: Any) -> Any:
        if left:
            raise left.pop()
        return real(*given, **named)

    return act


@pytest.mark.parametrize("at", ["claim", "settle"])
def test_a_link_that_another_worker_took_lets_the_change_wait(world: World, at: str):
    ready(world)
    world.deal("d1")
    setattr(world.state, at, fails_once(getattr(world.state, at), ClaimedError("Another worker took it over.")))
    report = world.apply("d1")

    assert (report.created, report.waiting, len(world.invoices())) == (0, 1, int(at == "settle"))
    world.clock.sleep(200)
    world.settle_down()
    assert (len(world.invoices()), world.unsynced()) == (1, [])


@pytest.mark.parametrize("error", [UnavailableError("Down."), NameTakenError("A vendor has it.", code="6240")])
def test_a_write_that_cannot_be_given_back_is_neither_ended_otherwise_nor_written_again(error: TieoutError):
    text = World().sync_text.replace("    to: customer\n", "    to: customer\n    match: {shared_name: suffix}\n", 1)
    world = World(text)
    world.books.fault = lambda _: error
    world.state.release = fails_once(world.state.release, ClaimedError("Another worker took it over."))
    report = world.apply("c1", kind=Kind.COMPANY)

    assert (report.waiting, report.parked, world.books.calls["effect"]) == (1, 0, 1)
    assert world.unsynced() == [], "it is the other worker's to say what becomes of it"


# The record is read again


def held_up(world: World, meanwhile: Callable[[], object]) -> None:
    """The next worker needs half a minute between reading a deal and writing it."""
    search = world.crm.search

    def slow(*given: Any) -> Any:
        world.clock.sleep(30)
        meanwhile()
        return search(*given)

    world.crm.search = slow


@pytest.mark.parametrize(("seconds", "reads"), [(5, 0), (6, 1)])
def test_a_record_is_read_again_before_its_write_if_that_took_long(world: World, seconds: int, reads: int):
    ready(world)
    world.deal("d1")
    search = world.crm.search

    def slow(*given: Any) -> Any:
        world.clock.sleep(seconds)
        return search(*given)

    world.crm.search = slow

    def reads_of(record_id: str) -> int:
        before = world.crm.calls["read"]
        assert world.apply(record_id).created == 1
        return world.crm.calls["read"] - before

    slowly = reads_of("d1")
    world.crm.search = search
    world.deal("d2")
    assert slowly == reads_of("d2") + reads


def read_anew(world: World, **changes: Any) -> None:
    """The source answers with another record, equal but for these changes."""
    world.crm.records[Kind.DEAL, "d1"] = replace(world.crm.records[Kind.DEAL, "d1"], **changes)


@pytest.mark.parametrize(
    ("version", "meanwhile", "written"),
    [
        ("4", {}, 1),
        ("4", {"version": "5"}, 0),
        ("", {}, 1),
        ("", {"fields": {"name": "Another"}}, 0),
    ],
)
def test_a_record_is_written_if_its_version_or_without_one_all_its_fields_are_still_the_same(
    world: World, version: str, meanwhile: dict[str, Any], written: int
):
    ready(world)
    world.deal("d1")
    read_anew(world, version=version)
    held_up(world, lambda: read_anew(world, **meanwhile))
    late = [replace(one, attempts=5) for one in world.change(Kind.DEAL, "d1")]
    world.new_worker().apply(late)
    assert len(world.invoices()) == written
    assert [one.reason for one in world.unsynced()] == ["The record changed before it was written."] * (1 - written)


def test_a_record_that_is_deleted_before_its_write_is_not_written(world: World):
    ready(world)
    world.deal("d1")
    held_up(world, lambda: world.crm.records.pop((Kind.DEAL, "d1"), None))
    assert world.apply("d1").waiting == 1
    assert world.invoices() == []
    assert world.state.links[key("d1")].intent is None


def test_a_sign_in_that_is_refused_when_records_are_read_again_pauses_the_source(world: World):
    ready(world)
    world.deal("d1")
    refused = ReconnectError("Signed out.", next_step="Connect again.")
    held_up(world, lambda: setattr(world.crm, "read_fault", lambda _: refused))
    assert world.apply("d1").waiting == 1
    assert (state_of(world, CRM), state_of(world, BOOKS)) == (ConnectionState.PAUSED, ConnectionState.ACTIVE)
    assert world.invoices() == []


# The version is old


@pytest.mark.parametrize(
    "filled", [{}, {"phone": "650 555 0100"}, {"billing_address": {"country": "US", "city": "Springfield"}}]
)
def test_sides_that_were_made_equal_by_hand_agree_but_for_what_somebody_filled_beside(
    world: World, filled: dict[str, Any]
):
    ready(world)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.company("c1", "Acme International")
    same: dict[str, Any] = {"name": "Acme International", "company_name": "Acme International"}
    world.books.put(Kind.CUSTOMER, customer.id, **same, **filled)
    assert world.apply("c1", kind=Kind.COMPANY).updated == 1

    there = world.books.records[Kind.CUSTOMER, customer.id]
    link = world.state.links[key("c1", "customers")]
    assert (link.base or {})["name"] == "Acme International"
    assert link.target_version == ("" if filled else there.version)


def test_what_an_adopted_record_shows_since_before_is_not_taken_for_somebodys_edit(world: World):
    company: Any = world.crm.records[Kind.COMPANY, "c1"].fields
    world.crm.put(Kind.COMPANY, "c1", contact={**company["contact"], "email": None})
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    ready(world)
    world.books.put(Kind.CUSTOMER, "77", note="VIP")
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550123")
    assert world.apply("c1", kind=Kind.COMPANY).updated == 1

    customer = world.books.records[Kind.CUSTOMER, "77"]
    assert customer.fields["email"] == "billing@acme.example"
    assert world.state.links[key("c1", "customers")].target_version == customer.version


# What a document names is gone


def refuses(world: World) -> None:
    """The books refuse invoices of inactive customers."""

    def fault(effect: Effect) -> TieoutError | None:
        customer = world.books.records.get((Kind.CUSTOMER, getattr(effect.document, "customer", "")))
        inactive = customer is not None and customer.fields.get("active") is False
        return NotFoundError("No such active record.", code="610") if inactive else None

    world.books.fault = fault
    world.books.put(Kind.CUSTOMER, str(world.state.links[key("c1", "customers")].target_id), active=False)


def test_a_document_of_a_customer_that_a_person_has_to_look_at_is_parked_with_its_sentence(world: World):
    ready(world)
    refuses(world)
    world.deal("d1")
    world.apply("d1")
    world.settle_down()
    world.deal("d2")

    report = world.apply("d2")

    assert (report.parked, report.waiting, world.queue.later) == (1, 0, [])
    customer = next(one for one in world.unsynced() if one.step == "customers")
    of_d2 = next(one for one in world.unsynced() if one.change.id == "d2")
    assert (of_d2.state, of_d2.cause) == (UnsyncedState.PARKED, customer.cause)
    assert (of_d2.reason, of_d2.next_step) == (customer.reason, customer.next_step)
    assert customer.next_step != ""


def test_the_customer_of_a_refused_document_is_looked_at_in_the_documents_lane_and_three_times_at_most(world: World):
    ready(world)
    refuses(world)
    world.deal("d1")
    changes = [replace(one, lane=Lane.BACKFILL) for one in world.change(Kind.DEAL, "d1")]
    looks, waits = [], 0
    for _ in range(LOOKS_FOR_NAMED + 3):
        world.new_worker().apply(changes)
        looks += [one for _, one in world.queue.later if one.origin is Origin.DOUBT]
        changes = [one for _, one in world.queue.later if one.kind is Kind.DEAL]
        waits += len(changes)
        world.queue.later.clear()  # the looks are lost

    assert [(one.id, one.kind, one.lane) for one in looks] == [("c1", Kind.COMPANY, Lane.BACKFILL)] * LOOKS_FOR_NAMED
    assert ([one.code for one in world.unsynced()], waits) == (["610"], LOOKS_FOR_NAMED)


def test_a_document_that_is_parked_for_what_it_names_is_not_looked_at_again_for_each_copy_of_its_hint(world: World):
    ready(world)
    refuses(world)
    world.deal("d1")
    changes = world.change(Kind.DEAL, "d1")
    for _ in range(LOOKS_FOR_NAMED + 1):
        world.new_worker().apply(changes)
        changes = [one for _, one in world.queue.later if one.kind is Kind.DEAL]
        world.queue.later.clear()  # the looks are lost
    assert [one.state for one in world.unsynced()] == [UnsyncedState.PARKED]

    report = world.apply("d1")

    assert (report.parked, report.waiting, world.queue.later) == (1, 0, [])


def test_a_document_of_a_customer_that_a_person_dismissed_is_parked_with_its_sentence(world: World):
    ready(world)
    refuses(world)
    world.deal("d1")
    world.apply("d1")
    world.settle_down()
    customer = next(one for one in world.unsynced() if one.step == "customers")
    world.state.set_unsynced(key("c1", "customers"), replace(customer, state=UnsyncedState.DISMISSED))
    world.deal("d2")

    report = world.apply("d2")

    assert (report.parked, report.waiting, world.queue.later) == (1, 0, [])


def test_a_record_that_is_gone_when_its_version_is_looked_up_is_told_to_be_gone(world: World):
    ready(world)
    link = world.state.links[key("c1", "customers")]
    world.state.links[link.key] = replace(link, target_version="")
    del world.books.records[Kind.CUSTOMER, str(link.target_id)]
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550123")
    world.apply("c1", kind=Kind.COMPANY)

    (parked,) = world.unsynced()
    assert (parked.cause, world.books.calls["effect"]) == ("target-gone-customers", 2)


def test_an_update_that_is_refused_as_gone_while_the_books_cannot_be_read_waits(world: World):
    ready(world)
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550123")

    def goes(_: Effect) -> TieoutError:
        world.books.read_fault = lambda _: UnavailableError("The books do not answer.")
        return NotFoundError("The record is gone.")

    world.books.fault = goes
    assert world.apply("c1", kind=Kind.COMPANY).waiting == 1
    link = world.state.links[key("c1", "customers")]
    assert (link.intent, link.withdrawn) == (None, None)
    assert [one.reason for one in world.unsynced()] == ["The books do not answer."]


def test_a_write_back_to_a_record_that_is_gone_waits_until_that_is_said_of_the_record():
    both = Both()
    both.books_edit(phone="+16505550199")

    def goes(_: Effect) -> TieoutError:
        both.crm.records.pop((Kind.COMPANY, "c1"), None)
        return NotFoundError("The record is gone.")

    both.crm.fault = goes
    report = both.apply(both.customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    assert (report.waiting, report.parked, both.link.withdrawn, both.link.intent) == (1, 0, None, None)


@pytest.fixture
def unversioned(world: World) -> World:
    """Its books take an update whatever has been changed since."""
    world.books.manifest = replace(world.books.manifest, versions=False)
    return world


def test_an_invoice_that_somebody_changed_is_left_to_a_person_where_books_have_no_versions(unversioned: World):
    world = unversioned
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, number="OTHER")
    world.deal("d1", "1200")

    assert world.apply("d1").parked == 1
    assert (world.invoices()[0].fields["number"], world.invoices()[0].fields["total"]) == ("OTHER", Decimal(1000))
    assert "was changed in the books" in world.unsynced()[0].reason


def test_an_invoice_that_nobody_changed_is_read_and_written_where_books_have_no_versions(unversioned: World):
    world = unversioned
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    calls = world.books.calls["read"]

    assert world.apply("d1").updated == 1
    assert world.invoices()[0].fields["total"] == Decimal(1200)
    assert world.books.calls["read"] == calls + 1


def test_an_invoice_whose_version_is_still_ours_is_written_though_books_have_a_form_of_their_own(unversioned: World):
    world = unversioned
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.books.records[Kind.INVOICE, invoice.id] = replace(invoice, fields={**invoice.fields, "number": "SD1"})
    world.deal("d1", "1200")

    assert world.apply("d1").updated == 1
    assert world.unsynced() == []


def test_a_write_back_needs_no_look_at_the_record_that_has_no_version(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.pay(invoice.id, "10")
    calls = world.crm.calls["read"]

    assert world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS).updated == 1
    assert world.crm.calls["read"] == calls
