"""Two-way steps: what changes in the books comes back, both sides are merged, and nobody's change is lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, TENANT, Crash, FakeProvider, World
from tieout.domain.changes import Change, Origin, UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import ClaimedError, ReconnectError, RejectedError, UnavailableError
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Choice, Decision, Review, ReviewKind, Side
from tieout.engine.ends import ApplyReport
from tieout.engine.park import ParkChanges
from tieout.engine.poll import PollChanges
from tieout.mapping import preset

ADDRESS = {"line1": "1 Main St", "city": "Springfield", "postal_code": None, "country": "US"}
KEY = LinkKey(TENANT, "deals-to-invoices", "customers", "c1")


def sync(policy: str = "ask", **rules: str) -> str:
    """The preset with two-way customers; `rules` replace a whole rule each."""
    text = preset("act-quickbooks_online").replace("    to: customer\n", f"    to: customer\n    two_way: {policy}\n")
    for name, rule in rules.items():
        lines = text.splitlines()
        (at,) = [number for number, line in enumerate(lines) if line.startswith(f"      {name}: ") and number < 40]
        lines[at] = f"      {name}: {rule}"
        text = "\n".join(lines) + "\n"
    return text


class Both(World):
    """A company in the CRM that stands in the books as a customer."""

    def __init__(self, policy: str = "ask", *, text: str = "", **rules: str) -> None:
        super().__init__(text or sync(policy, **rules))
        self.company("c1", "Acme Corporation")
        self.crm_edit(phone="+16505550100", address=ADDRESS)
        self.apply("c1", kind=Kind.COMPANY)
        self.settle_down()

    @property
    def customer(self) -> Record:
        (found,) = self.books.all(Kind.CUSTOMER)
        return found

    @property
    def company_record(self) -> Record:
        return self.crm.records[Kind.COMPANY, "c1"]

    @property
    def in_books(self) -> dict[str, Any]:
        return dict(self.customer.fields)

    @property
    def in_crm(self) -> dict[str, Any]:
        return dict(self.company_record.fields)

    @property
    def link(self) -> Link:
        return self.state.links[KEY]

    def crm_edit(self, **fields: Any) -> None:
        self.clock.sleep(60)
        contact = fields.pop("contact", None)
        if contact is not None:
            former = self.in_crm["contact"]
            fields["contact"] = {**former, **contact}
        self.crm.put(Kind.COMPANY, "c1", **fields)

    def books_edit(self, **fields: Any) -> None:
        self.clock.sleep(60)
        self.books.put(Kind.CUSTOMER, self.customer.id, **fields)

    def hear(self, side: str) -> ApplyReport:
        """A change of this side is seen, and worked on until nothing waits."""
        if side == CRM:
            report = self.apply("c1", kind=Kind.COMPANY)
        else:
            report = self.apply(self.customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
        self.settle_down()
        return report

    def hear_all(self) -> None:
        """Both sides' hints, echoes too, until nobody writes any more."""
        for _ in range(4):
            self.hear(CRM)
            self.hear(BOOKS)

    def review(self) -> Review:
        (parked,) = self.unsynced()
        assert parked.state is UnsyncedState.PARKED
        assert parked.review is not None
        return parked.review

    def decide(self, **fields: Side) -> None:
        decision = Decision(self.review().digest, Choice.FIELDS, "ada", self.clock.now(), fields=fields)
        self.state.store(replace(self.link, decision=decision))
        (parked,) = self.unsynced()
        self.new_worker().apply([replace(parked.change, origin=Origin.OPERATOR, attempts=0)])
        self.settle_down()

    def writes(self) -> int:
        return self.crm.calls["effect"] + self.books.calls["effect"]


def test_a_change_in_the_books_comes_back():
    both = Both()
    both.books_edit(phone="+16505550199")
    report = both.hear(BOOKS)
    assert (report.updated, report.parked) == (1, 0)
    assert both.in_crm["phone"] == "+16505550199"


def test_a_change_in_the_books_is_no_rewrite_under_a_changed_sync():
    both = Both(text=sync().replace("\nsteps:\n", "\ncaps: {rewrites: 0}\nsteps:\n", 1))
    former = both.state.syncs(TENANT)[0]
    both.state.put_sync(replace(former, version=2, text=former.text + "\n"))
    both.books_edit(phone="+16505550199")
    both.hear(BOOKS)
    assert (both.in_crm["phone"], both.unsynced()) == ("+16505550199", [])
    assert both.unsynced() == []


def test_a_field_of_a_group_comes_back_to_the_group_that_it_came_from():
    both = Both()
    address = {**both.in_books["billing_address"], "city": "Shelbyville"}
    both.books_edit(billing_address=address)
    both.hear(BOOKS)
    assert both.in_crm["address"]["city"] == "Shelbyville"
    assert "billing_address" not in both.in_crm


def test_a_new_field_of_a_group_goes_to_the_group_that_is_there():
    both = Both()
    both.books_edit(billing_address={**both.in_books["billing_address"], "postal_code": "97477"})
    both.hear(BOOKS)
    assert both.in_crm["address"]["postal_code"] == "97477"


def test_each_sides_own_change_survives():
    both = Both()
    both.crm_edit(contact={"email": "ada@new.example"})
    both.books_edit(phone="+16505550199")
    both.hear(CRM)
    assert both.in_books["email"] == "ada@new.example"
    assert both.in_books["phone"] == "+16505550199"
    assert both.in_crm["phone"] == "+16505550199"
    assert both.in_crm["contact"]["email"] == "ada@new.example"


def test_the_echo_of_each_write_changes_nothing_and_costs_only_reads():
    both = Both()
    both.crm_edit(contact={"email": "ada@new.example"})
    both.books_edit(phone="+16505550199")
    both.hear_all()
    before, reads = both.writes(), (both.crm.calls["read"], both.books.calls["read"])
    assert both.hear(CRM).unchanged == 1
    assert (both.crm.calls["read"], both.books.calls["read"]) == (reads[0] + 1, reads[1])
    assert both.hear(BOOKS).unchanged == 1
    assert (both.crm.calls["read"], both.books.calls["read"]) == (reads[0] + 1, reads[1] + 1)
    assert both.writes() == before


def test_an_unchanged_record_costs_no_read_of_the_other_side():
    both = Both()
    reads = both.books.calls["read"]
    both.hear(CRM)
    assert both.books.calls["read"] == reads


def test_a_customer_that_we_did_not_make_is_left_alone():
    both = Both()
    both.books.put(Kind.CUSTOMER, "77", name="Somebody else", phone="1")
    report = both.apply("77", kind=Kind.CUSTOMER, connection=BOOKS)
    assert report.skipped_because == {"not made by this sync": 1}
    assert both.crm.calls["effect"] == 0


def test_equal_changes_of_both_sides_agree():
    both = Both()
    both.crm_edit(phone="+16505550177")
    both.books_edit(phone="+16505550177")
    before = both.writes()
    both.hear_all()
    assert both.writes() == before
    assert both.unsynced() == []
    assert both.link.base is not None
    assert both.link.base["phone"] == "+16505550177"


@pytest.mark.parametrize("heard", [CRM, BOOKS])
def test_both_changed_and_the_policy_decides(heard):
    for policy, wins in (("source", "+16505550111"), ("target", "+16505550222"), ("newest", "+16505550222")):
        both = Both(policy)
        both.crm_edit(phone="+16505550111")
        both.books_edit(phone="+16505550222")
        both.hear(heard)
        assert both.in_crm["phone"] == both.in_books["phone"] == wins
        assert both.unsynced() == []


def test_the_newest_counts_even_if_another_field_is_written_first():
    both = Both("newest")
    both.books_edit(phone="+16505550222")
    both.crm_edit(phone="+16505550111", contact={"email": "ada@new.example"})
    both.hear_all()
    assert both.in_crm["phone"] == both.in_books["phone"] == "+16505550111"


def test_without_times_the_newest_is_not_guessed():
    both = Both("newest")
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550222")
    record = both.customer
    both.books.records[Kind.CUSTOMER, record.id] = replace(record, edited_at=None)
    both.hear(CRM)
    assert both.review().kind is ReviewKind.CONFLICT


def test_the_newest_is_not_guessed_of_edits_of_one_moment_or_where_the_crm_tells_none():
    for moments in (lambda both: both.customer.edited_at, lambda _: None):
        both = Both("newest")
        both.crm_edit(phone="+16505550111")
        both.books_edit(phone="+16505550222")
        edited = replace(both.company_record, edited_at=moments(both))
        both.crm.records[Kind.COMPANY, "c1"] = edited
        both.hear(CRM)
        assert [conflict.field for conflict in both.review().conflicts] == ["phone"]


def test_the_fields_owner_comes_before_the_policy():
    both = Both("ask", email="{path: contact.email, owner: target}")
    both.crm_edit(contact={"email": "crm@acme.example"})
    both.books_edit(email="books@acme.example")
    both.hear(CRM)
    assert both.in_crm["contact"]["email"] == "books@acme.example"
    assert both.unsynced() == []


def test_a_conflict_is_a_review_with_both_values_and_when():
    both = Both()
    both.crm_edit(phone="+16505550111", contact={"email": "ada@new.example"})
    both.books_edit(phone="+16505550222")
    both.hear(CRM)
    (conflict,) = both.review().conflicts
    assert (conflict.field, conflict.agreed) == ("phone", "+16505550100")
    assert (conflict.source, conflict.target) == ("+16505550111", "+16505550222")
    assert both.review().source_edited_at == both.company_record.edited_at
    assert both.in_books["phone"] == "+16505550222"
    assert both.in_crm["phone"] == "+16505550111"
    # What nobody else changed flows all the same.
    assert both.in_books["email"] == "ada@new.example"


def test_a_conflict_says_who_edited_each_side_and_when():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550222")
    both.crm.records[Kind.COMPANY, "c1"] = replace(both.company_record, edited_by="Ada")
    both.books.records[Kind.CUSTOMER, both.customer.id] = replace(both.customer, edited_by="Grace")
    both.hear(CRM)
    review = both.review()
    assert (review.source_edited_by, review.target_edited_by) == ("Ada", "Grace")
    assert (review.source_edited_at, review.target_edited_at) == (
        both.company_record.edited_at,
        both.customer.edited_at,
    )
    assert review.source_edited_at != review.target_edited_at


@pytest.mark.parametrize("versions", [True, False])
def test_a_write_of_either_side_names_its_record_and_the_version_that_was_read(versions: bool):
    both = Both()
    found: list[Effect] = []
    for provider in (both.crm, both.books):
        provider.manifest = replace(provider.manifest, versions=versions)
        provider.fault = found.append
    both.crm_edit(contact={"email": "ada@new.example"})
    both.books_edit(phone="+16505550199")
    read = {Side.TARGET: both.customer.version, Side.SOURCE: both.company_record.version}
    both.hear(BOOKS)

    there, back = found
    assert (there.kind, there.target_id) == (Kind.CUSTOMER, both.customer.id)
    assert (back.kind, back.target_id) == (Kind.COMPANY, "c1")
    assert back.document.as_fields() == {"phone": "+16505550199"}
    assert (there.target_version, back.target_version) == (
        (read[Side.TARGET], read[Side.SOURCE]) if versions else ("", "")
    )
    for effect in found:
        assert (effect.operation, effect.reference) == (Operation.UPDATE, both.link.reference)
        assert effect.label == "Acme Corporation"
    assert there.id != back.id


def test_the_same_conflict_is_told_once():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550222")
    both.hear(CRM)
    told = len(both.state.alerts)
    both.state.alerts.clear()
    both.hear_all()
    assert told == 1
    assert not both.state.alerts


@pytest.mark.parametrize("side", list(Side))
def test_a_conflict_is_resolved_by_an_answer(side):
    both = Both()
    both.crm_edit(phone="+16505550111", contact={"email": "crm@acme.example"})
    both.books_edit(phone="+16505550222", email="books@acme.example")
    both.hear(CRM)
    other = Side.TARGET if side is Side.SOURCE else Side.SOURCE
    both.decide(phone=side, email=other)
    wins = {Side.SOURCE: ("+16505550111", "crm@acme.example"), Side.TARGET: ("+16505550222", "books@acme.example")}
    assert both.in_crm["phone"] == both.in_books["phone"] == wins[side][0]
    assert both.in_crm["contact"]["email"] == both.in_books["email"] == wins[other][1]
    assert both.unsynced() == []
    assert both.link.decision is None


def test_an_answer_to_another_question_is_void():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550222")
    both.hear(CRM)
    digest = both.review().digest
    both.books_edit(phone="+16505550333")
    both.state.store(
        replace(
            both.link, decision=Decision(digest, Choice.FIELDS, "ada", both.clock.now(), fields={"phone": Side.SOURCE})
        )
    )
    both.hear(BOOKS)
    assert both.in_books["phone"] == "+16505550333"
    assert both.review().conflicts[0].target == "+16505550333"
    assert both.link.decision is None


def test_a_conflict_that_people_end_themselves_is_over():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550222")
    both.hear(CRM)
    both.books_edit(phone="+16505550111")
    both.hear(BOOKS)
    assert both.unsynced() == []


def test_a_side_that_takes_its_change_back_gives_way():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550222")
    both.hear(CRM)
    both.crm_edit(phone="+16505550100")
    both.hear(CRM)
    assert both.in_crm["phone"] == "+16505550222"
    assert both.unsynced() == []


def test_the_books_own_form_of_a_value_makes_no_ping_pong():
    both = Both()
    formatted = both.books.put

    def put(kind: Kind, record_id: str, **fields: Any) -> Record:
        if kind is Kind.CUSTOMER and str(fields.get("phone", "")).startswith("+1"):
            number = fields["phone"]
            fields["phone"] = f"({number[2:5]}) {number[5:8]}-{number[8:]}"
        return formatted(kind, record_id, **fields)

    both.books.put = put  # type: ignore[method-assign] # books with a mind of their own
    both.crm_edit(phone="+16505550123")
    both.hear_all()
    assert both.in_books["phone"] == "(650) 555-0123"
    assert both.in_crm["phone"] == "+16505550123"
    assert both.crm.calls["effect"] == 0


def test_what_a_person_types_in_the_books_own_form_comes_back_as_typed():
    both = Both()
    both.books_edit(phone="(650) 555-0199")
    both.hear_all()
    assert both.in_crm["phone"] == "(650) 555-0199"
    assert both.in_books["phone"] == "(650) 555-0199"
    assert (both.crm.calls["effect"], both.books.calls["effect"]) == (1, 1)


def test_a_value_that_cannot_go_back_is_asked_about_and_the_rest_flows():
    both = Both(email="{path: contact.email, transforms: [{prefix: {text: 'to-'}}]}")
    both.books_edit(email="books@acme.example", phone="+16505550199")
    both.hear(BOOKS)
    assert both.in_crm["phone"] == "+16505550199"
    (conflict,) = both.review().conflicts
    assert (conflict.field, conflict.target) == ("email", "books@acme.example")
    (parked,) = both.unsynced()
    assert "cannot go back to the CRM" in parked.reason
    both.decide(email=Side.TARGET)
    assert both.unsynced() == []
    both.hear_all()
    assert both.in_books["email"] == "books@acme.example"
    assert both.in_crm["contact"]["email"] == "ada@acme.example"


def test_text_of_which_only_the_beginning_went_over_is_not_cut_in_the_crm():
    both = Both(company_name="{path: custom_fields.legal_name, transforms: [{truncate: {length: 10}}]}")
    both.crm_edit(custom_fields={"legal_name": "Acme Corporation of Springfield"})
    both.hear(CRM)
    assert both.in_books["company_name"] == "Acme Corpo"
    both.books_edit(company_name="Acme Inc")
    both.hear(BOOKS)
    assert both.in_crm["custom_fields"]["legal_name"] == "Acme Corporation of Springfield"
    told = 'the longer text "Acme Corporation of Springfield" stands there, of which only a part came here'
    assert told in both.unsynced()[0].reason
    both.decide(company_name=Side.SOURCE)
    assert both.in_books["company_name"] == "Acme Corpo"


def test_a_lookup_goes_back_by_its_table():
    table = "{gold: Gold customer, iron: Iron customer}"
    both = Both(company_name=f"{{path: custom_fields.tier, transforms: [{{lookup: {{table: {table}}}}}]}}")
    both.crm_edit(custom_fields={"tier": "gold"})
    both.hear(CRM)
    both.books_edit(company_name="Iron customer")
    both.hear(BOOKS)
    assert both.in_crm["custom_fields"]["tier"] == "iron"


def test_a_lookup_that_has_two_ways_back_is_asked_about():
    table = "{gold: Best, silver: Best, iron: Iron}"
    both = Both(company_name=f"{{path: custom_fields.tier, transforms: [{{lookup: {{table: {table}}}}}]}}")
    both.crm_edit(custom_fields={"tier": "iron"})
    both.hear(CRM)
    both.books_edit(company_name="Best")
    both.hear(BOOKS)
    assert 'the rule\'s table has several entries for "Best"' in both.unsynced()[0].reason
    both.books_edit(company_name="Unheard of")
    both.hear(BOOKS)
    assert "is not in the table" in both.unsynced()[0].reason
    assert both.in_crm["custom_fields"]["tier"] == "iron"


def test_values_that_only_fit_together_go_back_together():
    postal = "{path: address.postal_code, transforms: [{postal_code: {country_path: address.country}}]}"
    text = sync().replace(
        "postal_code: {paths: [billing_address.postal_code, address.postal_code]}", f"postal_code: {postal}"
    )
    both = Both(text=text)
    both.crm_edit(address={**ADDRESS, "postal_code": "97477"})
    both.hear(CRM)
    moved = {**both.in_books["billing_address"], "postal_code": "K1A 0B1", "country": "CA"}
    both.books_edit(billing_address=moved)
    both.hear(BOOKS)
    assert both.unsynced() == []
    assert (both.in_crm["address"]["postal_code"], both.in_crm["address"]["country"]) == ("K1A 0B1", "CA")


def test_of_values_that_cannot_go_back_the_others_do():
    both = Both()
    address = {**both.in_books["billing_address"], "country": "Nowhere", "city": "Shelbyville"}
    both.books_edit(billing_address=address, email=None, phone="+16505550199")
    both.hear(BOOKS)
    assert both.in_crm["phone"] == "+16505550199"
    assert both.in_crm["address"]["city"] == "Shelbyville"
    assert [conflict.field for conflict in both.review().conflicts] == ["billing_address.country"]
    assert both.in_crm["contact"]["email"] is None


def test_a_value_that_would_be_rewritten_again_and_again_does_not_go_back():
    both = Both(email="{path: contact.email, transforms: [{prefix: {text: x}}, {truncate: {length: 30}}]}")
    both.books_edit(email="books@acme.example")
    both.hear(BOOKS)
    assert both.in_crm["contact"]["email"] == "ada@acme.example"
    assert both.review().conflicts[0].field == "email"


def test_books_that_are_down_while_the_crm_changed_are_asked_again():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books.read_fault = lambda _: UnavailableError("Down.")
    both.apply("c1", kind=Kind.COMPANY)
    both.books.read_fault = lambda _: None
    both.settle_down()
    assert both.in_books["phone"] == "+16505550111"


@pytest.mark.parametrize("case", ["agreed", "asked", "gone"])
def test_a_note_that_another_worker_was_faster_with_waits(case):
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550111" if case == "agreed" else "+16505550222")
    if case == "gone":
        del both.books.records[Kind.CUSTOMER, both.customer.id]
    elif case == "asked":
        both.state.store(replace(both.link, decision=Decision("0", Choice.FIELDS, "ada", both.clock.now())))
    store, claims = both.state.store, ["another worker"]

    def claimed(link: Link, **options: Any) -> Link:
        if claims:
            raise ClaimedError(claims.pop())
        return store(link, **options)

    both.state.store = claimed  # type: ignore[method-assign] # fails once
    both.hear(CRM)
    assert claims == []
    causes = [parked.cause for parked in both.unsynced()]
    assert causes == {"agreed": [], "asked": ["conflict-customers"], "gone": ["target-gone-customers"]}[case]


def test_a_constant_goes_one_way():
    both = Both(company_name="{constant: Acme}")
    both.books_edit(company_name="Another")
    both.hear(BOOKS)
    assert both.in_books["company_name"] == "Another"
    assert both.unsynced() == []


def test_a_field_that_the_crm_cannot_write_goes_one_way():
    both = Both("target")
    writable = frozenset({"name", "contact.email"})
    both.crm.manifest = replace(both.crm.manifest, updates={Kind.COMPANY: writable})
    both.books_edit(phone="+16505550199")
    both.hear(BOOKS)
    assert both.in_crm["phone"] == "+16505550100"
    both.crm_edit(phone="+16505550111")
    both.hear_all()
    assert both.in_books["phone"] == "+16505550199"
    assert both.unsynced() == []


def test_a_field_that_the_crm_cannot_write_is_asked_about_if_both_changed_it():
    both = Both()
    both.crm.manifest = replace(both.crm.manifest, updates={Kind.COMPANY: frozenset({"name"})})
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550199")
    both.hear(CRM)
    assert [conflict.field for conflict in both.review().conflicts] == ["phone"]
    both.decide(phone=Side.TARGET)
    assert both.unsynced() == []
    both.hear_all()
    assert (both.in_crm["phone"], both.in_books["phone"]) == ("+16505550111", "+16505550199")


def test_a_value_of_which_the_mapping_would_make_nothing_does_not_go_back():
    both = Both()
    both.books_edit(email="no address")
    both.hear(BOOKS)
    assert both.in_crm["contact"]["email"] == "ada@acme.example"
    assert both.review().conflicts[0].target == "no address"


def test_a_field_that_is_emptied_on_one_side_is_emptied_on_the_other():
    both = Both()
    both.books_edit(phone=None)
    both.hear(BOOKS)
    assert both.in_crm["phone"] is None
    both.crm_edit(contact={"email": None})
    both.hear(CRM)
    assert both.in_books["email"] is None


def test_a_field_that_the_books_do_not_show_is_not_emptied():
    both = Both()
    fields = {name: value for name, value in both.customer.fields.items() if name != "phone"}
    both.books.records[Kind.CUSTOMER, both.customer.id] = replace(both.customer, fields=fields)
    both.hear_all()
    assert both.in_crm["phone"] == "+16505550100"


def test_a_name_that_two_fields_share_follows_on_both_sides():
    both = Both()
    both.books_edit(name="Acme Inc")
    both.hear_all()
    assert both.in_crm["name"] == "Acme Inc"
    assert (both.in_books["name"], both.in_books["company_name"]) == ("Acme Inc", "Acme Inc")
    assert both.unsynced() == []


def test_two_fields_that_are_one_in_the_crm_and_differ_are_asked_about():
    both = Both()
    both.books_edit(name="Acme Inc", company_name="Acme Incorporated")
    both.hear(BOOKS)
    assert both.in_crm["name"] == "Acme Inc"
    assert both.review().conflicts[0].field == "company_name"


def test_a_record_that_flaps_is_parked_after_the_bound():
    both = Both("newest")
    for number in range(12):
        both.books_edit(phone=f"+1650555020{number % 10}")
        both.hear(BOOKS)
        both.crm_edit(phone=f"+1650555030{number % 10}")
        both.hear(CRM)
        if both.unsynced():
            break
    (parked,) = both.unsynced()
    assert parked.cause == "flaps-customers"
    assert "10 times within an hour, last its phone" in parked.reason
    writes = both.writes()
    both.hear_all()
    assert both.writes() == writes
    both.clock.sleep(3600)
    both.hear_all()
    assert both.unsynced() == []
    assert both.in_crm["phone"] == both.in_books["phone"]


def test_a_flapping_record_goes_on_if_a_person_retries_it():
    both = Both("newest")
    for _ in range(12):
        both.books_edit(phone=f"+1650555{both.clock.time.minute:04}")
        both.hear(BOOKS)
        both.crm_edit(phone=f"+1650556{both.clock.time.minute:04}")
        both.hear(CRM)
        if both.unsynced():
            break
    (parked,) = both.unsynced()
    both.new_worker().apply([replace(parked.change, origin=Origin.OPERATOR)])
    both.settle_down()
    assert both.unsynced() == []
    assert both.in_crm["phone"] == both.in_books["phone"]


def test_two_people_at_work_on_two_fields_do_not_flap():
    both = Both()
    for number in range(12):
        both.crm_edit(contact={"email": f"ada{number}@acme.example"})
        both.books_edit(phone=f"+16505550{number:03}")
        both.hear(CRM)
        assert both.unsynced() == []
    assert both.in_crm["phone"] == "+16505550011"
    assert both.in_books["email"] == "ada11@acme.example"


def test_a_record_flaps_beside_an_open_question_too():
    both = Both("newest", email="{path: contact.email, owner: ask}")
    both.crm_edit(contact={"email": "crm@acme.example"})
    both.books_edit(email="books@acme.example")
    both.hear(CRM)
    before = both.writes()
    for number in range(12):
        both.books_edit(phone=f"+1650555020{number % 10}")
        both.hear(BOOKS)
        both.crm_edit(phone=f"+1650555030{number % 10}")
        both.hear(CRM)
    assert both.writes() - before <= 10
    assert both.unsynced()[0].cause == "flaps-customers"


def test_a_customer_that_is_gone_from_the_books_parks():
    both = Both()
    customer = both.customer
    del both.books.records[Kind.CUSTOMER, customer.id]
    both.apply(customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    (parked,) = both.unsynced()
    assert parked.cause == "target-gone-customers"


def test_what_the_crm_refuses_is_parked_with_its_sentence():
    both = Both()
    both.crm.fault = lambda _: RejectedError("The field is locked.", field="phone")
    both.books_edit(phone="+16505550199")
    both.hear(BOOKS)
    (parked,) = both.unsynced()
    assert (parked.reason, parked.change.connection) == ("The field is locked.", CRM)
    both.crm.fault = lambda _: None
    both.new_worker().apply([replace(parked.change, origin=Origin.OPERATOR)])
    assert both.in_crm["phone"] == "+16505550199"
    assert both.unsynced() == []


@pytest.mark.parametrize("side", [CRM, BOOKS])
def test_a_side_that_is_down_loses_nothing(side):
    both = Both()
    provider = both.crm if side == CRM else both.books
    both.books_edit(phone="+16505550199")
    provider.read_fault = lambda _: UnavailableError("Down.")
    both.apply(both.customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    provider.read_fault = lambda _: None
    both.settle_down()
    assert both.in_crm["phone"] == "+16505550199"


@pytest.mark.parametrize("fault", ["lost", "vanished"])
@pytest.mark.parametrize("side", list(Side))
def test_a_lost_answer_on_either_side_ends_in_agreement(side, fault):
    both = Both()
    faults = [fault]
    provider = both.crm if side is Side.SOURCE else both.books
    provider.fault = lambda _: faults.pop() if faults else None
    both.crm_edit(contact={"email": "ada@new.example"})
    both.books_edit(phone="+16505550199")
    both.hear(BOOKS)
    both.hear_all()
    assert not faults
    assert both.in_crm["phone"] == both.in_books["phone"] == "+16505550199"
    assert both.in_books["email"] == "ada@new.example"
    assert both.unsynced() == []


def _at(number: int) -> Callable[[str], bool]:
    """True at the write of this number."""
    count = itertools.count(1)
    return lambda _: next(count) == number


@pytest.mark.parametrize("heard", [CRM, BOOKS])
@pytest.mark.parametrize("hook", ["crash_before", "crash_after"])
def test_a_crash_at_every_write_ends_in_agreement(hook, heard):
    for number in range(1, 30):
        both = Both()
        both.crm_edit(contact={"email": "ada@new.example"})
        both.books_edit(phone="+16505550199")
        setattr(both.state, hook, _at(number))
        change = (
            both.change(Kind.COMPANY, "c1")
            if heard == CRM
            else both.change(Kind.CUSTOMER, both.customer.id, connection=BOOKS)
        )
        crashed = _deliver(both, change)
        assert both.in_crm["phone"] == both.in_books["phone"] == "+16505550199", number
        assert both.in_books["email"] == both.in_crm["contact"]["email"] == "ada@new.example"
        assert both.unsynced() == []
        assert both.writes() == 3, number
        if not crashed:
            assert number > 3
            return
    pytest.fail("there is always one write more")


def _deliver(both: Both, changes: list[Change]) -> bool:
    """As the queue does: what was not acknowledged comes again; True if the worker died."""
    crashed = False
    for _ in range(3):
        try:
            both.new_worker().apply(changes)
        except Crash:
            crashed = True
            both.clock.sleep(both.policy.hold_seconds + 1)
        else:
            break
    try:
        both.settle_down()
    except Crash:
        crashed = True
        both.clock.sleep(both.policy.hold_seconds + 1)
        both.new_worker().apply([replace(changes[0], origin=Origin.SWEEP)])
        both.settle_down()
    return crashed


def test_two_workers_on_one_record_write_once():
    both = Both()
    both.books_edit(phone="+16505550199")
    other = both.new_worker()
    change = both.change(Kind.CUSTOMER, both.customer.id, connection=BOOKS)
    meeting: list[int] = []

    def meet(_: Any) -> None:
        if not meeting:
            meeting.append(1)
            other.apply(change)

    both.crm.fault = meet
    both.new_worker().apply(change)
    both.settle_down()
    assert both.in_crm["phone"] == "+16505550199"
    assert both.crm.calls["effect"] == 1
    assert both.unsynced() == []


def test_an_edit_of_the_books_between_reading_and_writing_is_not_overwritten():
    both = Both()
    both.crm_edit(phone="+16505550111")
    edited: list[int] = []

    def edit(_: Any) -> None:
        if not edited:
            edited.append(1)
            both.books_edit(phone="+16505550222")

    both.books.fault = edit
    both.hear(CRM)
    assert both.in_books["phone"] == "+16505550222"
    assert both.review().conflicts[0].target == "+16505550222"


def test_the_books_are_polled_for_customers_of_a_two_way_step():
    both = Both()
    polls = PollChanges(
        config=both.state,
        links=both.state,
        alerts=both.state,
        queue=both.queue,
        connect=lambda connection: both.crm if connection.id == CRM else both.books,
        clock=both.clock,
    )
    polls.poll(TENANT, BOOKS)
    both.books_edit(phone="+16505550199")
    assert polls.poll(TENANT, BOOKS).queued[Kind.CUSTOMER] == 1
    both.new_worker().apply(both.queue.now)
    assert both.in_crm["phone"] == "+16505550199"


def test_a_change_of_the_books_that_no_worker_could_do_is_parked_under_its_company():
    both = Both()
    park = ParkChanges(config=both.state, links=both.state, alerts=both.state, queue=both.queue, clock=both.clock)
    park.park(both.change(Kind.CUSTOMER, both.customer.id, connection=BOOKS))
    (parked,) = both.unsynced()
    assert (parked.change.connection, parked.change.kind, parked.change.id) == (CRM, Kind.COMPANY, "c1")
    both.books_edit(phone="+16505550199")
    both.new_worker().apply([replace(parked.change, origin=Origin.OPERATOR)])
    assert both.in_crm["phone"] == "+16505550199"
    assert both.unsynced() == []


def test_an_edited_invoice_line_is_neither_overwritten_nor_written_back():
    world = World(sync())
    world.deal("d1")
    world.apply("d1")
    (invoice,) = world.invoices()
    former: Any = invoice.fields["lines"]
    lines = [{**former[0], "amount": Decimal(900), "unit_price": Decimal(900)}]
    world.books.put(Kind.INVOICE, invoice.id, lines=lines, total=Decimal(900), balance=Decimal(900))
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    assert world.crm.records[Kind.DEAL, "d1"].fields["amount"] == Decimal(1054)
    world.deal("d1", "1200")
    world.apply("d1")
    (parked,) = world.unsynced()
    assert "lines 1" in parked.reason
    assert world.invoices()[0].fields["lines"] == lines
    assert world.crm.records[Kind.DEAL, "d1"].fields["amount"] == Decimal(1200)


def test_what_was_adopted_differs_until_one_side_changes_it():
    world = World(sync())
    world.books.put(Kind.CUSTOMER, "55", name="Acme Corporation", phone="+16505550155")
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550100")
    world.apply("c1", kind=Kind.COMPANY)
    before = world.crm.calls["effect"]
    world.apply("55", kind=Kind.CUSTOMER, connection=BOOKS)
    assert world.crm.calls["effect"] == before
    assert world.books.records[Kind.CUSTOMER, "55"].fields["phone"] == "+16505550155"
    world.clock.sleep(timedelta(minutes=1).total_seconds())
    world.books.put(Kind.CUSTOMER, "55", phone="+16505550166")
    world.apply("55", kind=Kind.CUSTOMER, connection=BOOKS)
    assert world.crm.records[Kind.COMPANY, "c1"].fields["phone"] == "+16505550166"


def test_an_inactive_customer_that_an_invoice_could_not_name_is_told_and_only_then():
    both = Both()
    both.books.put(Kind.CUSTOMER, both.customer.id, active=False)
    both.hear(BOOKS)
    assert both.unsynced() == []

    (change,) = both.change(Kind.COMPANY, "c1")
    both.new_worker().apply([replace(change, origin=Origin.DOUBT)])

    (parked,) = both.unsynced()
    assert (parked.cause, parked.code) == ("target-gone-customers", "target-inactive")


# What only the other side says


def test_the_customer_of_a_write_whose_answer_was_lost_is_known_by_our_reference():
    world = World(sync())
    world.apply("c1", kind=Kind.COMPANY)
    (known,) = world.books.all(Kind.CUSTOMER)
    world.company("c2", "Initech")
    world.books.fault = lambda _: "lost"
    world.apply("c2", kind=Kind.COMPANY)
    world.books.fault = lambda _: None
    (lost,) = (one for one in world.books.all(Kind.CUSTOMER) if one.id != known.id)
    world.books.put(Kind.CUSTOMER, "55", name="Somebody else")
    world.queue.later.clear()
    world.clock.sleep(world.policy.hold_seconds + 1)

    report = world.apply(known.id, lost.id, "55", "gone", kind=Kind.CUSTOMER, connection=BOOKS)
    world.settle_down()

    assert report.skipped_because == {"not made by this sync": 2}
    assert world.state.links[replace(KEY, source_id="c2")].target_id == lost.id
    assert world.unsynced() == []


@pytest.mark.parametrize("heard", [CRM, BOOKS])
def test_books_that_refuse_our_sign_in_are_paused_and_the_change_waits(heard: str):
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books.read_fault = lambda _: ReconnectError("Signed out.", next_step="Connect again.")
    change = (
        both.change(Kind.COMPANY, "c1")
        if heard == CRM
        else both.change(Kind.CUSTOMER, both.customer.id, connection=BOOKS)
    )
    report = both.new_worker().apply(change)

    connection = both.state.connection(TENANT, BOOKS)
    assert connection is not None
    assert (connection.state, connection.paused_because) == (ConnectionState.PAUSED, "Signed out.")
    assert report.waiting == 1
    ((due, waits),) = both.queue.later
    assert (due > both.clock.now(), waits.attempts) == (True, 1)


def test_what_was_parked_ends_once_the_books_take_their_change_back():
    both = Both()
    both.books_edit(phone="+16505550199")
    both.crm.fault = lambda _: RejectedError("The field is locked.", field="phone")
    both.hear(BOOKS)
    assert [one.reason for one in both.unsynced()] == ["The field is locked."]
    both.books_edit(phone="+16505550100")
    both.hear(BOOKS)
    assert both.unsynced() == []
    assert both.in_crm["phone"] == "+16505550100"


def test_a_write_that_was_left_half_way_is_finished_by_a_hint_of_the_side_that_it_did_not_reach():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books.fault = lambda _: "vanished"
    both.apply("c1", kind=Kind.COMPANY)
    both.books.fault = lambda _: None
    both.queue.later.clear()
    both.clock.sleep(both.policy.hold_seconds + 1)
    both.hear(BOOKS)
    assert both.in_books["phone"] == "+16505550111"
    assert both.link.intent is None


def test_an_inactive_customer_gets_what_changed_all_the_same():
    both = Both()
    both.books_edit(active=False)
    both.crm_edit(phone="+16505550111")
    both.hear(CRM)
    assert both.in_books["phone"] == "+16505550111"
    assert both.unsynced() == []


def test_a_doubt_about_a_customer_that_stands_is_over():
    both = Both()
    (change,) = both.change(Kind.COMPANY, "c1")
    report = both.new_worker().apply([replace(change, origin=Origin.DOUBT)])
    assert (report.unchanged, both.unsynced()) == (1, [])


def test_a_customer_that_is_gone_may_have_become_one_that_is_like_it():
    both = Both()
    gone = both.customer
    del both.books.records[Kind.CUSTOMER, gone.id]
    both.books.put(Kind.CUSTOMER, "55", name="Acme Corporation")
    both.apply(gone.id, kind=Kind.CUSTOMER, connection=BOOKS)
    assert both.review().kind is ReviewKind.MATCH
    assert [one.target_id for one in both.review().candidates] == ["55"]


# What goes where


def test_equal_changes_of_both_sides_leave_each_free_to_change_again():
    both = Both()
    both.crm_edit(phone="+16505550177")
    both.books_edit(phone="+16505550177")
    both.hear(CRM)
    both.crm_edit(phone="+16505550188")
    both.hear(CRM)
    assert both.in_books["phone"] == "+16505550188"
    both.books_edit(phone="+16505550199")
    both.hear(BOOKS)
    assert both.in_crm["phone"] == "+16505550199"
    assert both.unsynced() == []


def test_two_fields_that_are_one_in_the_crm_go_back_together_if_they_agree():
    both = Both()
    both.books_edit(name="Acme Inc", company_name="Acme Inc")
    both.hear(BOOKS)
    assert both.in_crm["name"] == "Acme Inc"
    assert both.unsynced() == []


def test_a_way_back_is_one_write_after_which_nothing_waits():
    both = Both()
    both.books_edit(phone="+16505550199")
    both.apply(both.customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    assert both.in_crm["phone"] == "+16505550199"
    assert both.queue.later == []


def test_books_that_keep_only_what_is_written_lose_nothing_that_stood_there():
    both = Both()
    found: list[Effect] = []
    both.books.fault = found.append
    both.books_edit(company_name="Acme of Springfield")
    both.apply(both.customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    both.settle_down()
    stood = both.in_books
    both.crm_edit(phone="+16505550111")
    both.hear(CRM)
    written = found[-1].document.as_fields()
    known = {name: value for name, value in stood.items() if value is not None and name != "reference"}
    assert written == {**written, **known, "phone": "+16505550111"}


@pytest.mark.parametrize("agreed", ["+16505550100", "(650) 555-0100"])
def test_a_conflict_beside_which_another_field_was_written_ends_if_the_books_take_their_change_back(agreed: str):
    both = Both()
    if agreed != both.in_books["phone"]:
        shows_in_its_own_form(both, agreed)
    both.crm_edit(phone="+16505550111", contact={"email": "ada@new.example"})
    both.books_edit(phone="+16505550222")
    both.hear(CRM)
    assert [one.field for one in both.review().conflicts] == ["phone"]
    assert both.in_books["email"] == "ada@new.example"
    both.books_edit(phone=agreed)
    both.hear(BOOKS)
    assert both.in_books["phone"] == "+16505550111"
    assert both.unsynced() == []


def shows_in_its_own_form(both: Both, phone: str) -> None:
    """Both sides agree, and the books show the phone number as they like."""
    both.state.store(replace(both.link, shown={"phone": phone}))
    both.books.put(Kind.CUSTOMER, both.customer.id, phone=phone)


@pytest.mark.parametrize("edited", ["nothing", "the city"])
def test_what_the_books_show_in_their_own_form_stays_agreed_when_another_field_is_written(edited: str):
    both = Both()
    shows_in_its_own_form(both, "(650) 555-0100")
    both.crm_edit(contact={"email": "ada@new.example"})
    if edited == "the city":
        both.books_edit(billing_address={**both.in_books["billing_address"], "city": "Shelbyville"})
    both.hear_all()
    assert both.in_books["email"] == "ada@new.example"
    assert both.in_crm["address"]["city"] == ("Shelbyville" if edited == "the city" else "Springfield")
    assert (both.in_crm["phone"], both.in_books["phone"]) == ("+16505550100", "(650) 555-0100")
    assert both.unsynced() == []


def test_what_both_sides_changed_alike_beside_a_write_leaves_each_free_to_change_again():
    both = Both()
    both.crm_edit(phone="+16505550177", contact={"email": "ada@new.example"})
    both.books_edit(phone="+16505550177")
    both.hear(CRM)
    assert both.in_books["email"] == "ada@new.example"
    both.crm_edit(phone="+16505550188")
    both.hear(CRM)
    assert both.in_books["phone"] == "+16505550188"
    assert both.unsynced() == []


def test_a_name_that_was_changed_in_the_books_is_not_written_over_by_another_fields_change():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books_edit(name="Acme Inc")
    both.hear(CRM)
    assert both.in_books["phone"] == "+16505550111"
    assert (both.in_crm["name"], both.in_books["name"]) == ("Acme Inc", "Acme Inc")


def test_books_that_do_not_show_a_name_are_written_the_one_that_the_crm_has():
    both = Both()
    fields = {name: value for name, value in both.customer.fields.items() if name != "name"}
    both.books.records[Kind.CUSTOMER, both.customer.id] = replace(both.customer, fields=fields)
    both.crm_edit(phone="+16505550111")
    both.hear(CRM)
    assert (both.in_books["name"], both.in_books["phone"]) == ("Acme Corporation", "+16505550111")


def test_a_name_that_had_to_be_cut_is_told_with_the_write():
    both = Both()
    found: list[Effect] = []
    both.books.fault = found.append
    both.crm_edit(name="A" * 130)
    both.hear(CRM)
    assert both.in_books["name"] == "A" * 100
    assert [str(one) for one in found[0].notices] != []


def test_a_value_that_its_own_rule_would_not_read_again_does_not_go_back():
    both = Both(email="{path: contact.email, transforms: [email, {prefix: {text: 'to '}}]}")
    both.books_edit(email="books@acme.example")
    both.hear(BOOKS)
    assert both.in_crm["contact"]["email"] == "ada@acme.example"
    told = 'The email cannot go back to the CRM: the rule would make something else of "books@acme.example".'
    assert told in both.unsynced()[0].reason


def test_what_the_mapping_says_of_a_value_that_cannot_go_back_ends_the_sentence():
    both = Both()
    both.books_edit(billing_address={**both.in_books["billing_address"], "country": "Nowhere"})
    both.hear(BOOKS)
    assert both.unsynced()[0].reason.endswith(
        "The billing address country cannot go back to the CRM: "
        'customer billing address country: "Nowhere" is not a country that we know.'
    )


def test_two_fields_that_are_one_in_the_crm_and_differ_are_told_by_name():
    both = Both()
    both.crm_edit(name="Acme LLC")
    both.books_edit(name="Acme Inc", company_name="Acme Incorporated")
    both.hear(BOOKS)
    told = "it stands in the same field there as the name, which says otherwise"
    assert f"The company name cannot go back to the CRM: {told}." in both.unsynced()[0].reason


def test_two_fields_that_are_one_in_the_crm_and_agree_are_only_asked_about():
    both = Both()
    both.crm_edit(name="Acme LLC")
    both.books_edit(name="Acme Inc", company_name="Acme Inc")
    both.hear(BOOKS)
    assert [one.field for one in both.review().conflicts] == ["name", "company_name"]
    assert "cannot go back" not in both.unsynced()[0].reason
    both.decide(name=Side.TARGET, company_name=Side.TARGET)
    assert (both.in_crm["name"], both.unsynced()) == ("Acme Inc", [])


def test_values_of_which_each_could_go_back_but_not_both_are_asked_about():
    postal = "{path: address.postal_code, transforms: [{postal_code: {country_path: address.country}}]}"
    text = sync().replace(
        "postal_code: {paths: [billing_address.postal_code, address.postal_code]}", f"postal_code: {postal}"
    )
    both = Both(text=text)
    both.crm_edit(address={"line1": "1 Main St", "city": None, "postal_code": None, "country": None})
    both.hear(CRM)
    moved = {**both.in_books["billing_address"], "postal_code": "K1A 0B1", "country": "US"}
    both.books_edit(billing_address=moved)
    both.hear(BOOKS)
    fields = [conflict.field for conflict in both.review().conflicts]
    assert fields == ["billing_address.postal_code", "billing_address.country"]
    why = 'customer billing address postal code: "K1A 0B1" is not a postal code of US.'
    for words in ("postal code", "country"):
        assert f"The billing address {words} cannot go back to the CRM: {why}" in both.unsynced()[0].reason
    assert both.in_crm["address"]["country"] is None


def test_beside_a_field_that_only_goes_one_way_another_that_cannot_go_back_is_told():
    both = Both()
    writable = frozenset({"name", "phone", "address.country"})
    both.crm.manifest = replace(both.crm.manifest, updates={Kind.COMPANY: writable})
    both.crm_edit(contact={"email": "crm@acme.example"}, address={**ADDRESS, "country": "Canada"})
    address = {**both.in_books["billing_address"], "country": "Nowhere"}
    both.books_edit(email="books@acme.example", billing_address=address)
    both.hear(CRM)
    assert [one.field for one in both.review().conflicts] == ["email", "billing_address.country"]
    assert "The billing address country cannot go back to the CRM" in both.unsynced()[0].reason


def test_what_the_books_show_in_their_own_form_stays_agreed_when_both_sides_make_another_change():
    both = Both()
    shows_in_its_own_form(both, "(650) 555-0100")
    both.crm_edit(contact={"email": "ada@new.example"})
    both.books_edit(email="ada@new.example")
    both.hear_all()
    assert (both.in_crm["phone"], both.in_books["phone"]) == ("+16505550100", "(650) 555-0100")
    assert both.writes() == 1, "the customer was written, and nothing since"


def test_what_both_sides_changed_alike_costs_nothing_more():
    both = Both()
    both.crm_edit(phone="+16505550177")
    both.books_edit(phone="+16505550177")
    both.hear(CRM)
    reads, stored = both.books.calls["read"], both.state.writes
    assert both.hear(CRM).unchanged == 1
    assert (both.books.calls["read"], both.state.writes) == (reads, stored)


def test_an_answer_to_a_question_that_people_ended_themselves_is_forgotten():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.books_edit(phone="+16505550222")
    both.hear(CRM)
    decision = Decision(both.review().digest, Choice.FIELDS, "ada", both.clock.now(), fields={"phone": Side.TARGET})
    both.state.store(replace(both.link, decision=decision))
    both.books_edit(phone="+16505550111")
    both.hear(BOOKS)
    assert (both.in_crm["phone"], both.unsynced(), both.link.decision) == ("+16505550111", [], None)


def test_the_bound_of_a_record_that_flaps_is_counted_to_the_write():
    both = Both("newest", text=sync("newest").replace("two_way: newest\n", "two_way: newest\n    flaps_max: 3\n"))
    for edit in (1, 3):
        both.books_edit(phone=f"+165055502{edit:02}")
        both.hear(BOOKS)
        assert both.unsynced() == [], "three turns are taken, and the fourth is a person's to look into"
        both.crm_edit(phone=f"+165055503{edit:02}")
        both.hear(CRM)
    assert "overwrote each other 3 times within an hour" in both.unsynced()[0].reason


def test_text_of_which_the_mapping_makes_nothing_gives_way_to_what_the_books_say():
    both = Both()
    both.crm_edit(contact={"email": "ask at the desk"})
    both.hear(CRM)
    assert both.in_books["email"] is None
    both.books_edit(email="desk@acme.example")
    both.hear(BOOKS)
    assert both.in_crm["contact"]["email"] == "desk@acme.example"
    assert both.unsynced() == []


def test_each_write_is_an_effect_of_its_own_though_no_side_tells_versions():
    both = Both()
    found: list[Effect] = []
    for provider in (both.crm, both.books):
        provider.manifest = replace(provider.manifest, versions=False)
        provider.fault = found.append
        provider.read = without_versions(provider)  # type: ignore[method-assign]  # as of a provider that has none
    for number in range(2):
        both.crm_edit(phone=f"+1650555011{number}")
        both.hear(CRM)
        both.books_edit(email=f"books{number}@acme.example")
        both.hear(BOOKS)
    assert [one.kind for one in found] == [Kind.CUSTOMER, Kind.COMPANY] * 2
    assert len({one.id for one in found}) == 4
    assert all(one.id for one in found)


def without_versions(provider: FakeProvider) -> Callable[[Kind, Sequence[str]], Sequence[Record]]:
    read = provider.read
    return lambda kind, ids: [replace(record, version="") for record in read(kind, ids)]


def city_alone() -> str:
    """A sync that knows of an address only where it is."""
    text = sync()
    for name in ("line1", "line2", "state", "postal_code"):
        (line,) = (one for one in text.splitlines() if one.startswith(f"          {name}: "))
        text = text.replace(f"{line}\n", "")
    return text


def test_what_the_sync_does_not_know_of_an_address_stays_when_its_city_is_written():
    both = Both(text=city_alone())
    found: list[Effect] = []
    both.books.fault = found.append
    here = {**both.in_books["billing_address"], "line1": "1 Main St", "verified": True}
    both.books.put(Kind.CUSTOMER, both.customer.id, billing_address=here)
    both.crm_edit(address={**ADDRESS, "city": "Shelbyville", "country": "Canada"})
    both.hear(CRM)
    address = both.in_books["billing_address"]
    assert (address["line1"], address["city"], address["country"]) == ("1 Main St", "Shelbyville", "CA")
    assert "verified" not in found[-1].document.as_fields()["billing_address"], "of which documents know nothing"


def test_an_address_is_written_to_a_customer_who_had_none():
    both = Both(text=city_alone())
    both.books.put(Kind.CUSTOMER, both.customer.id, billing_address=None)
    both.hear(BOOKS)
    assert both.in_crm["address"]["city"] is None
    both.crm_edit(address={**ADDRESS, "city": "Shelbyville"})
    both.hear(CRM)
    assert both.in_books["billing_address"]["city"] == "Shelbyville"


def test_a_value_that_cannot_go_back_is_not_overwritten_where_the_crm_wins_though_another_field_goes_back():
    both = Both("source", email="{path: contact.email, transforms: [{prefix: {text: 'to-'}}]}")
    both.books_edit(email="books@acme.example", phone="+16505550199")
    both.hear_all()
    assert both.in_crm["phone"] == "+16505550199"
    assert both.in_books["email"] == "books@acme.example"
    assert [one.field for one in both.review().conflicts] == ["email"]


def test_what_was_written_to_the_books_costs_no_read_of_them_when_it_is_heard_of_again():
    both = Both()
    both.crm_edit(phone="+16505550111")
    both.hear(CRM)
    reads, stored = both.books.calls["read"], both.state.writes
    assert both.hear(CRM).unchanged == 1
    assert (both.books.calls["read"], both.state.writes) == (reads, stored)
