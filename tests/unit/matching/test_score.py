"""What speaks for a candidate and against it, in words and weights, and what that comes to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tieout.domain.documents import Address, Customer
from tieout.domain.records import Kind, Record
from tieout.matching import Scored, score

SAME_NAME = {"same name": Decimal("4.5")}


def _score(ours: dict[str, Any], theirs: dict[str, Any], **options: Any) -> Scored:
    """A document and a record of the books, both `Acme Ltd` unless they say otherwise."""
    document = Customer(**{"name": "Acme Ltd", **ours})
    return score(document, Record(Kind.CUSTOMER, "1", fields={"name": "Acme Ltd", **theirs}), **options)


def _weights(scored: Scored) -> dict[str, Decimal]:
    return {reason.says: reason.weight for reason in scored.reasons}


def _in(country: str) -> dict[str, Any]:
    return {"billing_address": {"country": country}}


LEEDS = {"line1": "12 Mill Street", "city": "Leeds"}
BRISTOL = {"line1": "3 Oak Drive", "city": "Bristol"}


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({"tax_id": "403.019.261"}, {"tax_id": "BE 0403.019.261", **_in("BE")}, {"same tax id": 4}),
        (
            {"tax_id": "BE 0403.019.261", "billing_address": Address(country="BE")},
            {"tax_id": "403.019.261"},
            {"same tax id": 4},
        ),
        ({"tax_id": "12-3456789"}, {"tax_id": "98-7654321"}, {"tax ids differ": -4}),
        ({"tax_id": "12-3456789"}, {"tax_id": "exempt"}, {}),
        ({"email": "ap@acme.example"}, {"email": "AP@acme.example"}, {"same e-mail address": 3}),
        (
            {"email": "ap@acme.example"},
            {"email": "jo@acme.example"},
            {"same web domain": Decimal("1.5"), "e-mail address differs": Decimal("-0.3")},
        ),
        ({"website": "https://acme.example"}, {"email": "jo@acme.example"}, {"same web domain": Decimal("1.5")}),
        ({"email": "jo@acme.example"}, {"website": "acme.example"}, {"same web domain": Decimal("1.5")}),
        ({"email": "ap@acme.example"}, {"email": "ap@other.example"}, {"web domain differs": Decimal("-0.8")}),
        ({"email": "ap@gmail.com"}, {"email": "jo@gmail.com"}, {"e-mail address differs": Decimal("-0.3")}),
        ({"phone": "+442079460123"}, {"phone": "020 7946 0123", **_in("GB")}, {"same phone": 2}),
        ({"phone": "+12079460123"}, {"phone": "020 7946 0123", **_in("GB")}, {"phone differs": Decimal("-0.5")}),
        ({"billing_address": Address(**LEEDS)}, {"billing_address": LEEDS}, {"same address": Decimal("1.5")}),
        ({"billing_address": Address(**LEEDS)}, {"shipping_address": LEEDS}, {"same address": Decimal("1.5")}),
        ({"billing_address": Address(**LEEDS)}, {"billing_address": BRISTOL}, {"another city": Decimal("-0.9")}),
        ({"billing_address": Address(**LEEDS)}, {"billing_address": "12 Mill Street"}, {}),
        ({"billing_address": Address(country="GB")}, _in("US"), {"another country": -4}),
        ({"billing_address": Address(country="GB")}, {"billing_address": {"country": 44}}, {}),
        ({"currency": "EUR"}, {"currency": "USD"}, {"another currency": 0}),
        ({}, {"active": False}, {"inactive there": 0}),
        ({"parent": "12"}, {}, {"no sub-customer there": 0}),
        ({}, {"parent": "34"}, {"a sub-customer there": 0}),
        ({"parent": "12"}, {"parent": "34"}, {"sub-customer of another one": -4}),
    ],
)
def test_each_piece_of_evidence_is_named_and_weighed(
    ours: dict[str, Any], theirs: dict[str, Any], said: dict[str, Any]
):
    assert _weights(_score(ours, theirs)) == SAME_NAME | said


def test_a_mailbox_that_several_customers_there_have_weighs_nothing_and_is_no_key():
    mail = {"email": "ap@acme.example"}
    scored = _score(mail, mail, shared={"ap@acme.example"})
    assert _weights(scored) == SAME_NAME | {"same e-mail address, which several customers there have": 0}
    assert (scored.key, _score(mail, mail).key) == ("", "email")


def test_a_score_is_rounded_down_and_so_never_1():
    assert _score({}, {}).score == Decimal("0.996")
    everything = {"tax_id": "12-3456789", "email": "ap@acme.example", "phone": "+442079460123"}
    assert _score(everything, everything).score == Decimal("0.999")


def test_what_only_a_person_may_say_scores_at_most_nine_tenths():
    scored = _score({"email": "ap@acme.example"}, {"email": "ap@acme.example", "active": False})
    assert (scored.score, scored.doubt) == (Decimal("0.9"), True)


# Names


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Doe, John", "John Doe"),
        ("Doe, John Paul", "John Paul Doe"),
        ("Doe, John Paul George", "Doe John Paul George"),
        ("Doe, John, Jr", "Doe John Jr"),
        ("Acme, Inc", "Acme Inc"),
    ],
)
def test_a_family_name_before_a_comma_stands_last(ours: str, theirs: str):
    assert _weights(_score({"name": ours}, {"name": theirs})) == SAME_NAME


@pytest.mark.parametrize(("length", "says"), [(94, "same name"), (95, "one name is the beginning of the other")])
def test_names_as_long_as_a_field_may_have_been_cut_where_they_began_to_differ(length: int, says: str):
    name = ("Northern Agricultural Development " * 3)[:length]
    scored = _score({"name": name}, {"name": name})
    assert scored.reasons[0].says.startswith(says)
    assert scored.doubt is (length == 95)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"name": "Jane Doe", "company_name": "Acme Ltd"}, {"name": "Acme Limited"}),
        ({"name": "Acme"}, {"name": "Jane Doe", "company_name": "Acme Ltd"}),
        ({"name": "Jane Doe", "company_name": "Acme Ltd"}, {"name": "Accounts", "company_name": "ACME LTD"}),
    ],
)
def test_a_company_behind_another_name_is_a_hint_for_a_person(ours: dict[str, Any], theirs: dict[str, Any]):
    scored = _score(ours, theirs)
    assert _weights(scored) == {"same company, which stands there under another name": 2}
    assert scored.doubt


def test_a_company_behind_the_same_name_is_no_other_name():
    assert _weights(_score({"company_name": "Acme Ltd"}, {"company_name": "Acme Ltd"})) == SAME_NAME


def test_a_persons_name_counts_less_if_either_side_says_that_it_is_one():
    jane = {"name": "Jane Doe"}
    person = jane | {"given_name": "Jane", "family_name": "Doe"}
    for ours, theirs in ((person, jane), (jane, person), (person, person)):
        assert _weights(_score(ours, theirs)) == SAME_NAME | {"a person's name, which others have too": -1}
    assert _weights(_score(jane, jane | {"given_name": "Jane"})) == SAME_NAME


# Doubt


def test_a_mistyped_name_of_a_person_is_doubtful_and_that_of_a_company_is_not():
    ours, theirs = {"name": "Jane Dorfmann"}, {"name": "Jane Dorfman", "email": "jane@dorfmann.example"}
    assert not _score(ours, theirs).doubt
    assert _score(ours | {"given_name": "Jane", "family_name": "Dorfmann"}, theirs).doubt


def test_another_legal_form_is_doubtful_without_the_same_tax_id():
    ours, theirs = {"name": "Acme Inc", "tax_id": "12-3456789"}, {"name": "Acme LLC"}
    assert _score(ours, theirs).doubt
    assert not _score(ours, theirs | {"tax_id": "123456789"}).doubt


def test_a_name_alone_is_doubtful_if_two_other_facts_differ():
    ours = {"phone": "+442079460123", "email": "ap@gmail.com", "billing_address": Address(**LEEDS)}
    phone, email = {"phone": "+442079460999"}, {"email": "jo@gmail.com"}
    assert not _score(ours, phone).doubt
    assert _score(ours, phone | email).doubt
    assert not _score(ours, phone | email | {"billing_address": LEEDS}).doubt
