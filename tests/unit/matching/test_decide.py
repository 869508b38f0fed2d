"""Adopted, asked or new; and the labelled set."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.matching.labelled import COMMITTED, Case, Part, committed, generated, whole
from tests.unit.matching.measured import measured
from tieout.domain.documents import Address, Customer
from tieout.domain.records import Kind, Record
from tieout.mapping.document import Matching
from tieout.matching import DEFAULTS, Adopt, Ask, New, Thresholds, decide, score

ACME = Customer(
    name="Acme Ltd",
    email="ap@acme.example",
    phone="+442079460123",
    billing_address=Address(line1="1 Mill Street", city="Leeds", country="GB"),
)


def _record(id_="1", **fields):
    return Record(Kind.CUSTOMER, id_, fields=fields)


def _says(candidate, document=ACME):
    return {reason.says for reason in score(document, candidate).reasons}


def test_the_same_name_without_a_contradiction_is_adopted():
    assert isinstance(decide(ACME, [_record(name="Acme Ltd")]), Adopt)
    assert isinstance(decide(ACME, [_record(name="ACME")]), Adopt)


def test_reasons_are_told_in_words_the_weightiest_first():
    found = score(ACME, _record(name="Acme Limited", phone="+442079460999", email="AP@acme.example"))
    assert [reason.says for reason in found.reasons] == ["same name", "same e-mail address", "phone differs"]


def test_one_that_is_inactive_is_never_adopted_unseen():
    assert isinstance(decide(ACME, [_record(name="Acme Ltd", email="ap@acme.example", active=False)]), Ask)


def test_another_currency_is_never_adopted_unseen():
    document = Customer(name="Acme Ltd", currency="EUR")
    assert isinstance(decide(document, [_record(name="Acme Ltd", currency="USD")]), Ask)
    assert isinstance(decide(document, [_record(name="Acme Ltd", currency="EUR")]), Adopt)


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        ("12", "34", "sub-customer of another one"),
        ("12", None, "no sub-customer there"),
        (None, "34", "a sub-customer there"),
    ],
)
def test_one_with_another_parent_is_never_adopted_unseen(ours: str | None, theirs: str | None, says: str):
    candidate = _record(name="Acme Ltd", email="ap@acme.example", parent=theirs)
    document = ACME.model_copy(update={"parent": ours})
    assert isinstance(decide(document, [candidate]), Ask)
    assert says in _says(candidate, document)


@pytest.mark.parametrize("parent", ["12", None])
def test_one_with_the_same_parent_is_adopted(parent: str | None):
    document = ACME.model_copy(update={"parent": parent})
    candidate = _record(name="Acme Ltd", email="ap@acme.example", parent=parent)
    assert isinstance(decide(document, [candidate]), Adopt)


def test_other_tax_ids_forbid_whatever_else_agrees():
    document = ACME.model_copy(update={"tax_id": "GB123456782"})
    twin = _record(name="Acme Ltd.", email="ap@acme.example", phone="020 7946 0123", tax_id="GB987654329")
    assert not isinstance(decide(document, [twin]), Adopt)
    assert "tax ids differ" in _says(twin, ACME.model_copy(update={"tax_id": "GB123456782"}))


def test_another_country_forbids():
    abroad = _record(name="Acme", email="ap@acme.example", billing_address={"country": "US"})
    assert isinstance(decide(ACME, [abroad]), Ask)
    assert isinstance(decide(ACME, [_record(name="Acme", billing_address={"country": "USA"})]), New)
    assert "another country" not in _says(_record(name="Acme", billing_address={"country": "GBR"}))


def test_a_name_that_is_taken_letter_for_letter_is_asked_about_even_if_it_is_surely_another():
    taken = _record(name="acme  LTD", billing_address={"country": "US"})
    assert isinstance(decide(ACME, [taken]), Ask)


def test_the_parent_is_not_the_child_at_the_same_house_with_the_same_phone():
    parent = _record(
        name="Acme Holding Ltd",
        email="ap@acme.example",
        phone="+442079460123",
        billing_address={"line1": "1 Mill St", "city": "Leeds", "country": "GB"},
    )
    assert isinstance(decide(ACME, [parent]), Ask)


def test_two_that_may_be_it_are_asked_about_the_likelier_first():
    verdict = decide(ACME, [_record("1", name="Acme"), _record("2", name="Acme Ltd")])
    assert isinstance(verdict, Ask)
    assert [each.record.id for each in verdict.scored] == ["2", "1"]


def test_an_exact_key_decides_between_two_of_one_name():
    document = ACME.model_copy(update={"tax_id": "GB123456782"})
    verdict = decide(document, [_record("1", name="Acme"), _record("2", name="Acme Ltd", tax_id="123 4567 82")])
    assert isinstance(verdict, Adopt)
    assert verdict.scored.record.id == "2"
    assert verdict.scored.key == "tax_id"


def test_an_address_that_several_customers_have_says_nothing():
    clients = [_record(str(number), name=f"Client {number}", email="ap@acme.example") for number in range(2)]
    assert isinstance(decide(ACME, clients), New)
    assert isinstance(decide(ACME, clients[:1]), Ask)


def test_a_person_of_the_same_name_needs_more_than_the_name():
    jane = Customer(name="Jane Doe", given_name="Jane", family_name="Doe", email="jane@gmail.com")
    assert isinstance(decide(jane, [_record(name="Doe, Jane", given_name="Jane", family_name="Doe")]), Ask)
    same = _record(name="Doe, Jane", given_name="Jane", family_name="Doe", email="Jane@gmail.com")
    assert isinstance(decide(jane, [same]), Adopt)


def test_a_candidate_that_a_person_ruled_out_does_not_count():
    assert isinstance(decide(ACME, [_record(name="Acme Ltd")], never={"1"}), New)


def test_nothing_found_is_new():
    assert decide(ACME, []) == New()


def test_at_most_ten_are_shown():
    verdict = decide(ACME, [_record(str(number), name=f"Acme {number}") for number in range(30)])
    assert isinstance(verdict, Ask)
    assert len(verdict.scored) == 10


def test_thresholds_decide():
    candidate = [_record(name="Acme Ltd")]
    assert isinstance(decide(ACME, candidate, Thresholds(adopt_from=Decimal("0.999"))), Ask)
    alone = [_record(name="Acme Holding")]
    assert isinstance(decide(ACME, alone), Ask)
    assert isinstance(decide(ACME, alone, Thresholds(review_from=Decimal("0.5"))), New)


def test_a_threshold_that_is_just_reached_counts():
    candidate = _record(name="Acme Ltd")
    reached = score(ACME, candidate).score
    assert isinstance(decide(ACME, [candidate], Thresholds(adopt_from=reached)), Adopt)
    holding = _record(name="Acme Holding")
    assert isinstance(decide(ACME, [holding], Thresholds(review_from=score(ACME, holding).score)), Ask)


def test_one_that_is_sure_is_adopted_only_if_it_is_far_enough_ahead_of_the_next():
    sure, next_one = _record("1", name="Acme Ltd"), _record("2", name="Acme Inc")
    ahead = score(ACME, sure).score - score(ACME, next_one).score
    assert isinstance(decide(ACME, [sure, next_one], Thresholds(ahead_by=ahead)), Adopt)
    assert isinstance(decide(ACME, [sure, next_one], Thresholds(ahead_by=ahead + Decimal("0.001"))), Ask)


_TEXT = st.one_of(
    st.none(), st.text(max_size=30), st.sampled_from(["Acme", "a@b.example", "+44 20 7946 0123", "DE136695976"])
)


@settings(max_examples=200, deadline=None)
@given(name=st.text(min_size=1, max_size=120), said=st.tuples(*[_TEXT] * 5))
def test_whatever_stands_in_a_record_is_judged(name, said):
    email, phone, tax_id, other, website = said
    document = Customer(name=name, email=email, phone=phone, tax_id=tax_id, website=website)
    address = {"line1": other, "city": other, "country": website}
    fields = {"name": other or name, "email": phone, "phone": email, "tax_id": other, "website": other}
    candidate = _record(**fields, billing_address=address)
    scored = score(document, candidate)
    assert 0 <= scored.score <= 1
    assert scored == score(document, candidate)


def test_the_committed_set_is_what_its_generator_makes():
    assert [case.as_json() for case in committed()] == [case.as_json() for case in whole(COMMITTED)]


@pytest.mark.parametrize("part", Part)
def test_the_committed_set_reaches_the_goal_with_the_default_thresholds(part):
    of_part = [case for case in committed() if case.part is part]
    result = measured(of_part)
    assert result.wrong == 0
    assert result.recall >= Decimal("0.65")
    assert Decimal(result.found) / result.there >= Decimal("0.99")


def test_automatic_adoption_is_right_in_999_of_1000_on_customers_that_nothing_was_tuned_with():
    result = measured(generated(Part.HELD_OUT, each=60))
    assert result.adopted > 1000
    assert result.precision >= Decimal("0.999")


def test_the_order_of_the_candidates_makes_no_difference():
    for case in committed()[::7]:
        turned = Case(case.part, case.perturbation, case.document, case.books[::-1], case.truth)
        assert decide(case.customer(), case.candidates()) == decide(turned.customer(), turned.candidates())


def test_the_defaults_of_a_sync_are_those_that_were_measured():
    said = Matching()

    assert (said.adopt_from, said.review_from) == (DEFAULTS.adopt_from, DEFAULTS.review_from)
