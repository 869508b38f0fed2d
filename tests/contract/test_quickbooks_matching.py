"""What QuickBooks Online's connector brings for matching, and what it says of names that others have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contract import test_quickbooks_online as quickbooks
from tests.contract.suite import only
from tieout.domain.documents import Customer
from tieout.domain.effects import Done, Effect, MatchedBy, NotDone, Operation
from tieout.domain.errors import NameTakenError, NotFoundError, UnavailableError
from tieout.domain.records import Kind, Record

world = quickbooks.world


def asked(world: quickbooks.QuickBooksWorld, name: str, **fields: object) -> Effect:
    return replace(world.effect(Kind.CUSTOMER, Customer(name=name, **fields)), similar=True)


def found(world: quickbooks.QuickBooksWorld, effect: Effect) -> dict[str, str]:
    return {
        str(match.record.fields["name"]): match.by.value
        for match in world.connector().find([effect]).get(effect.id, ())
    }


def test_customers_whose_name_begins_alike_or_with_the_same_address_are_found(world):
    world.make("Customer", DisplayName="ACME Holding")
    world.make("Customer", DisplayName="Zeta", PrimaryEmailAddr={"Address": "Ada@acme.example"})
    world.make("Customer", DisplayName="Sleeping Acme", Active=True)
    world.make("Vendor", DisplayName="Acme Supplies")

    effect = asked(world, "Acme Corporation", email="ada@ACME.example")

    assert found(world, effect) == {
        "Acme Corporation": "natural_key",
        "ACME Holding": "similar",
        "Zeta": "similar",
    }


def test_nothing_similar_is_asked_for_unless_it_is_wanted(world):
    world.make("Customer", DisplayName="Acme Holding")
    effect = replace(asked(world, "Acme Corporation"), similar=False)
    world.sandbox("DELETE", "calls")

    assert found(world, effect) == {"Acme Corporation": "natural_key"}
    assert "POST /v3/company/{id}/batch" not in world.sandbox("GET", "calls")["routes"]


@pytest.mark.parametrize("name", ["O'Hara \\ Co", "100% Cotton", "%", "X", "A & B", "日本 Steel"])
def test_names_with_odd_letters_are_searched_for_as_they_are(world, name):
    world.make("Customer", DisplayName=f"{name} two")

    similar = found(world, asked(world, name))

    assert similar in ({f"{name} two": "similar"}, {})
    assert bool(similar) == (name not in {"%", "X"})


def test_thirty_customers_are_three_calls_at_most(world):
    effects = [
        asked(world, f"{chr(65 + number % 26) * 4}{number} Ltd", email=f"a{number}@b.example") for number in range(30)
    ]
    connector = world.connector()
    connector.find(effects[:1])
    world.sandbox("DELETE", "calls")

    connector.find(effects)

    calls = world.sandbox("GET", "calls")["routes"]
    assert calls["POST /v3/company/{id}/query"]["calls"] == 1
    assert calls["POST /v3/company/{id}/batch"]["calls"] == 2
    assert set(calls) == {"POST /v3/company/{id}/query", "POST /v3/company/{id}/batch"}


def test_a_very_common_beginning_brings_a_bounded_number(world):
    for number in range(40):
        world.make("Customer", DisplayName=f"Smith {number}")

    assert len(found(world, asked(world, "Smith Brothers"))) == 25


def test_a_search_that_fails_is_unavailable_and_never_uncertain(world):
    connector = world.connector(faults=[{"kind": "lost_answer", "match": world.write_match}])

    with pytest.raises(UnavailableError):
        connector.find([asked(world, "Acme Corporation")])


@pytest.mark.parametrize(("entity", "words"), [("Vendor", "a vendor"), ("Employee", "an employee")])
def test_a_name_that_a_vendor_or_employee_has_is_said_with_its_kind(world, entity, words):
    world.make(entity, DisplayName="O'Hara & Sons")

    refused = only(world.connector().write([world.effect(Kind.CUSTOMER, Customer(name="o'hara & sons"))]))

    assert isinstance(refused, NotDone)
    assert isinstance(refused.error, NameTakenError)
    assert (refused.error.code, refused.error.field) == ("6240", "name")
    assert f'{words} named "o\'hara & sons"' in refused.error.message
    assert "suffix" in refused.error.next_step


def test_a_name_that_another_customer_has_keeps_its_own_sentence(world):
    refused = only(world.connector().write([world.effect(Kind.CUSTOMER, Customer(name="Acme Corporation"))]))

    assert isinstance(refused, NotDone)
    assert not isinstance(refused.error, NameTakenError)
    assert refused.error.code == "6240"


def test_our_own_customer_counts_before_those_that_look_like_it(world):
    effect = world.effect(Kind.CUSTOMER, Customer(name="Acme Works"))
    world.connector().write([effect])
    world.make("Customer", DisplayName="Acme Works Two")

    matches = world.connector().find([replace(effect, similar=True)])[effect.id]

    assert [match.by for match in matches] == [MatchedBy.REFERENCE]


def written(world: quickbooks.QuickBooksWorld, effect: Effect) -> Record:
    outcome = only(world.connector().write([effect]))
    assert isinstance(outcome, Done)
    return outcome.record


def test_a_sub_customer_is_written_moved_and_brought_to_the_top_again(world):
    first, second = world.make("Customer", DisplayName="First"), world.make("Customer", DisplayName="Second")
    effect = world.effect(Kind.CUSTOMER, Customer(name="North", parent=first))
    north = written(world, effect)
    assert north.fields["parent"] == first

    for parent in (second, None):
        document = Customer(name="North", parent=parent)
        update = replace(
            effect, operation=Operation.UPDATE, document=document, target_id=north.id, target_version=north.version
        )
        north = written(world, update)
        assert north.fields["parent"] == parent
        assert only(world.connector().read(Kind.CUSTOMER, [north.id])).fields["parent"] == parent


def test_a_parent_that_is_gone_is_told_as_not_found(world):
    made = written(world, world.effect(Kind.CUSTOMER, Customer(name="Top")))
    gone = replace(
        world.effect(Kind.CUSTOMER, Customer(name="Top", active=False)),
        operation=Operation.UPDATE,
        target_id=made.id,
        target_version=made.version,
    )
    written(world, gone)
    outcome = only(world.connector().write([world.effect(Kind.CUSTOMER, Customer(name="North", parent=made.id))]))
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, NotFoundError)
