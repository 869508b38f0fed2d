"""Two-way steps in a document: what is refused, and how each value goes back."""

from __future__ import annotations

import pytest

from tieout.domain.records import Kind, Record
from tieout.mapping import DocumentError, compile_sync, parse_documents, preset
from tieout.mapping.reverse import Way, with_values

TEXT = """
kind: sync
name: small
source: crm
target: books
steps:
  customers:
    from: company
    to: customer
    two_way: ask
    fields:
      name: {path: name}
      phone: {paths: [contact.phone, phone], owner: target}
      email: {path: contact.email}
      billing_address:
        owner: newest
        object:
          line1: {path: address.line1}
          city: {path: address.city, owner: source}
          country: {constant: US}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse_documents(text)
    return [str(problem) for problem in caught.value.errors]


def everything(_: str) -> bool:
    return True


def test_only_customers_go_both_ways():
    text = preset("act-quickbooks_online").replace("    to: invoice\n", "    to: invoice\n    two_way: ask\n", 1)
    (problem,) = problems(text)
    assert ", steps.invoices.two_way: Only companies and contacts that are customers go both ways: " in problem
    assert "an invoice is not written back to a deal" in problem
    assert "by a step with `writes_back`" in problem


def test_a_step_that_writes_back_is_not_two_way():
    text = preset("act-quickbooks_online").replace(
        "    writes_back: invoices  ", "    two_way: source\n    writes_back: invoices  "
    )
    (problem,) = problems(text)
    assert "steps.payments.two_way: A step that writes back goes one way" in problem


@pytest.mark.parametrize("owner", ["target", "newest", "ask"])
def test_an_owner_needs_a_two_way_step(owner):
    text = TEXT.replace("    two_way: ask\n", "").replace("owner: newest", "owner: source")
    (problem,) = problems(text.replace("owner: target", f"owner: {owner}"))
    assert problem.startswith(f"line 12, steps.customers.fields.phone.owner: `owner: {owner}` belongs to a step that")
    assert "Add `two_way: ask` to the step, or remove `owner`." in problem


def test_what_decides_nothing_is_refused():
    text = TEXT.replace("    two_way: ask\n", "    flaps_max: 5\n    label: {path: name, owner: source}\n")
    text = text.replace(", owner: target", "").replace("        owner: newest\n", "")
    assert [problem.partition(": ")[2] for problem in problems(text)] == [
        "`flaps_max` belongs to `two_way`. Remove it.",
        "`label` is not written, so it has no owner. Remove it.",
    ]


def test_the_fields_of_a_list_have_no_owner():
    text = preset("act-quickbooks_online").replace(
        "          description: {path: name}", "          description: {path: name, owner: source}"
    )
    (problem,) = problems(text)
    assert "steps.invoices.fields.lines.fields.description.owner: A list is taken whole" in problem


def test_owners_and_ways_are_known_by_path():
    (step,) = compile_sync(TEXT).steps
    assert (step.two_way, step.flaps_max) == ("ask", 10)
    assert step.owners == {
        "phone": "target",
        "billing_address.line1": "newest",
        "billing_address.city": "source",
        "billing_address.country": "newest",
    }
    assert step.ways["billing_address.city"] == Way(("address.city",))
    assert step.ways["billing_address.country"] == Way()


def test_a_value_goes_back_to_the_path_that_counts():
    way = Way(("contact.phone", "phone"))
    assert (
        way.place(Record(Kind.COMPANY, "1", fields={"phone": "1", "contact": {"phone": None}}), everything) == "phone"
    )
    both = Record(Kind.COMPANY, "1", fields={"phone": "1", "contact": {"phone": "2"}})
    assert way.place(both, everything) == "contact.phone"
    # It may not be written there, and elsewhere it would not count.
    assert way.place(both, lambda path: path == "phone") is None


def test_where_nothing_stands_a_value_goes_to_the_group_that_is_there():
    way = Way(("billing_address.line2", "address.line2"))
    fields = {"billing_address": None, "address": {"line1": "1 Main St", "line2": None}}
    assert way.place(Record(Kind.COMPANY, "1", fields=fields), everything) == "address.line2"
    assert way.place(Record(Kind.COMPANY, "1", fields={}), everything) == "billing_address.line2"


def test_a_value_goes_only_where_it_may_be_written():
    record = Record(Kind.COMPANY, "1", fields={})
    assert Way(("id", "contact.phone", "phone")).place(record, lambda path: path == "phone") == "phone"
    assert Way(("contact.phone", "phone")).place(record, lambda _: False) is None


def test_an_empty_group_deep_down_counts_as_little_as_none():
    way = Way(("contact.address.line2", "address.line2", "note"))
    fields = {
        "contact": {"address": {"city": "", "line1": None}, "name": "Ann"},
        "address": {"city": "Rome", "line1": ""},
    }
    assert way.place(Record(Kind.COMPANY, "1", fields=fields), everything) == "address.line2"
    assert Way(("contact.x", "note")).place(Record(Kind.COMPANY, "1", fields={}), everything) == "note"


@pytest.mark.parametrize("path", ["lines[0].name", "tags[*]", "id"])
def test_an_item_of_a_list_and_the_id_are_not_written(path):
    assert Way((path,)).place(Record(Kind.COMPANY, "1", fields={}), everything) is None


def test_a_table_is_read_backwards_if_it_is_clear():
    way = Way(("status",), {"won": "issued", "lost": "void", "gone": "void"})
    assert way.candidates("issued") == ["won"]
    assert way.candidates("void") == ["lost", "gone"]
    assert way.candidates("new") == ["new"]
    assert Way(("status",)).candidates("void") == ["void"]


def test_with_values_leaves_the_record_as_it_was():
    record = Record(Kind.COMPANY, "1", fields={"name": "A", "address": {"city": "B", "line1": "C"}, "contact": None})
    changed = with_values(record, {"address.city": "X", "contact.email": "a@b.example"})
    assert changed.fields == {
        "name": "A",
        "address": {"city": "X", "line1": "C"},
        "contact": {"email": "a@b.example"},
    }
    assert record.fields["contact"] is None


def test_the_presets_own_line_makes_its_customers_two_way():
    text = preset("act-quickbooks_online")
    assert compile_sync(text).step("customers").two_way is None
    step = compile_sync(text.replace("    # two_way: ask ", "    two_way: ask ")).step("customers")
    assert step.two_way == "ask"
    assert {path for path, way in step.ways.items() if not way.paths} == set()
