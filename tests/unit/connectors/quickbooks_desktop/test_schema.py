"""The order of elements, ours and the simulator's, against requests that were recorded with every element in them."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from tests.unit.connectors.quickbooks_desktop.recorded import form_of
from tieout.connectors.quickbooks_desktop.schema import LENGTHS, ORDER, length_max
from tieout_sandbox.simulators.quickbooks_desktop.schema import SCHEMA

FORMS = {
    "InvoiceAdd": "invoice_add_rq.xml",
    "ReceivePaymentAdd": "receive_payment_add_rq.xml",
    "ItemQueryRq": "item_query_rq.xml",
}
NAMES = ("InvoiceAdd", "InvoiceLineAdd", "BillAddress", "ShipAddress", "CustomerRef", "TermsRef", "ItemRef")


def named(root: Element, name: str) -> Element:
    return next(each for each in root.iter() if each.tag == name)


def in_order(some: list[str], whole: list[str]) -> bool:
    """True if all of `some` stand in `whole`, in the same order."""
    places = [whole.index(each) for each in some if each in whole]
    return len(places) == len(some) and places == sorted(places)


@pytest.mark.parametrize("name", NAMES)
def test_what_we_send_is_in_the_recorded_order(name):
    recorded = [each.tag for each in named(form_of("invoice_add_rq.xml"), name)]
    ours = [each for each in ORDER[name] if each != "IsActive"]  # of estimates alone

    assert in_order(ours, recorded)


def test_what_we_ask_is_in_the_recorded_order():
    assert in_order(list(ORDER["ItemQueryRq"]), [each.tag for each in form_of("item_query_rq.xml")])
    assert in_order(list(ORDER["NameFilter"]), [each.tag for each in named(form_of("item_query_rq.xml"), "NameFilter")])


@pytest.mark.parametrize("name", ["InvoiceAdd", "InvoiceLineAdd", "BillAddress", "ShipAddress", "ItemQueryRq"])
def test_the_simulator_wants_the_recorded_order(name):
    file = FORMS.get(name, "invoice_add_rq.xml")
    recorded = list(dict.fromkeys(each.tag for each in named(form_of(file), name)))
    simulated = [each for each in SCHEMA[name] if each in recorded]

    assert len(simulated) > len(SCHEMA[name]) * 0.8
    assert simulated == [each for each in recorded if each in simulated]


def test_the_simulator_wants_the_recorded_order_of_a_payment():
    recorded = [each.tag for each in named(form_of("receive_payment_add_rq.xml"), "ReceivePaymentAdd")]
    shared = [each for each in SCHEMA["ReceivePaymentAdd"] if each in recorded]

    assert shared == [each for each in dict.fromkeys(recorded) if each in shared]
    assert {"CustomerRef", "TxnDate", "RefNumber", "TotalAmount", "Memo", "AppliedToTxnAdd"} <= set(shared)


@pytest.mark.parametrize("name", sorted(ORDER))
def test_both_tables_agree(name):
    """They were written apart, from the same public pages: a slip in one shows here."""
    if name.endswith("Rq") and name.removesuffix("Rq") in {"CompanyQuery", "PreferencesQuery"}:
        assert ORDER[name] == ()
        return
    simulated = list(SCHEMA[name])
    ours = [each for each in ORDER[name] if each in simulated]

    assert ours == [each for each in simulated if each in ours]
    # Elements that another of the kinds that share our row has.
    assert set(ORDER[name]) - set(ours) <= {"IsActive", "ManufacturerPartNumber", "ServiceDate", "RefNumber"}


@pytest.mark.parametrize(("path", "most"), sorted(LENGTHS.items()))
def test_both_tables_have_the_same_lengths(path, most):
    aggregate, _, name = path.partition(".")
    simulated = SCHEMA.get(f"{aggregate}Add") or SCHEMA[aggregate]

    assert simulated[name].length_max == most
    assert length_max(f"{aggregate}Add", name) == length_max(f"{aggregate}Mod", name) == most


def test_an_element_without_a_limit_has_none():
    assert length_max("InvoiceAdd", "TxnDate") is None
