"""Parsing and checking: what is refused, with which words."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieout.domain.errors import SettingsError
from tieout.mapping import (
    ConnectionDocument,
    DocumentError,
    SyncDocument,
    compile_sync,
    parse_documents,
    preset,
    presets,
)
from tieout.mapping.parse import DEPTH_MAX, parse
from tieout.mapping.schema import schemas

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

MINIMAL = """
kind: sync
name: small
source: crm
target: books
steps:
  customers:
    from: company
    to: customer
    fields:
      name: {path: name}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse_documents(text)
    return [str(problem) for problem in caught.value.errors]


@pytest.mark.parametrize("name", ["broken", "broken_shape", "broken_steps"])
def test_a_broken_document_gets_every_error_with_place_line_and_suggestion(name: str):
    found = problems((HERE / f"{name}.yaml").read_text("utf-8"))
    assert found == (HERE / f"{name}.txt").read_text("utf-8").splitlines()


def test_the_error_of_a_document_says_how_many_and_that_nothing_changed():
    with pytest.raises(SettingsError) as caught:
        parse_documents(MINIMAL.replace("path: name", "pth: name"))
    assert caught.value.message == "The document has 1 error."
    assert caught.value.next_step == "Mend what is listed; the version that is running stays as it is."
    assert (
        caught.value.detail == "line 11, steps.customers.fields.name.pth: `pth` is not known here. Did you mean `path`?"
    )


def test_several_errors_are_counted_and_told_one_in_a_line():
    with pytest.raises(DocumentError) as caught:
        parse_documents(MINIMAL.replace("path: name", "pth: name").replace("crm", "My CRM"))
    assert caught.value.message == "The document has 2 errors."
    first, second = caught.value.detail.split("\n")
    assert first.startswith("line 4, source: ")
    assert second.startswith("line 11, steps.customers.fields.name.pth: ")


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_without_error(name: str):
    assert compile_sync(preset(name)).steps


def test_an_unknown_preset_is_told_which_there_are():
    with pytest.raises(SettingsError, match="no preset `act-quickbooks`") as caught:
        preset("act-quickbooks")
    assert caught.value.next_step == f"Did you mean `act-quickbooks_online`? There are: {', '.join(presets())}."
    with pytest.raises(SettingsError) as caught:
        preset("zzz")
    assert caught.value.next_step == f"There are: {', '.join(presets())}."


def test_steps_stand_behind_those_that_they_link_to():
    text = preset("act-quickbooks_online")
    start, end = text.index("  customers:"), text.index("  payments:")
    customers, items_on = text[start : text.index("  items:")], text[text.index("  items:") : end]
    turned = text[:start] + text[end:] + "\n" + items_on + customers
    assert [step.name for step in compile_sync(turned).steps] == ["items", "customers", "invoices", "payments"]


def test_steps_that_link_in_a_circle_are_refused():
    text = (
        MINIMAL
        + """
      tax_id: {path: id, link: people}
  people:
    from: contact
    to: customer
    fields:
      name: {path: company_id, link: customers}
"""
    )
    [problem] = problems(text)
    assert problem.startswith("line 7, steps.customers: The steps wait for each other: `customers` → `people` → ")
    assert problem.endswith("`customers`. Remove one `link`.")


def test_customers_may_belong_to_customers_of_their_own_step():
    text = MINIMAL + "      parent: {path: parent_id, link: customers}\n"
    (step,) = compile_sync(text).steps
    assert step.links_to == ("customers",)


@pytest.mark.parametrize("field", ["tax_id", "company_name"])
def test_no_other_field_links_to_its_own_step(field: str):
    [problem] = problems(MINIMAL + f"      {field}: {{path: parent_id, link: customers}}\n")
    assert problem == (
        "line 7, steps.customers: The steps wait for each other: `customers` → `customers`. Remove one `link`."
    )


def test_parents_do_not_allow_a_circle_between_steps():
    text = (
        MINIMAL
        + """
      parent: {path: id, link: people}
  people:
    from: contact
    to: customer
    fields:
      name: {path: name}
      parent: {path: company_id, link: customers}
"""
    )
    [problem] = problems(text)
    assert "The steps wait for each other: " in problem


def test_several_documents_of_a_file_keep_their_own_text():
    connection = "kind: connection\nid: books\nprovider: quickbooks_online\npoll: rate(1 hour)\n"
    first, second = parse_documents(f"---{MINIMAL}---\n{connection}")
    assert isinstance(first, SyncDocument)
    assert isinstance(second, ConnectionDocument)
    assert second.poll == "rate(1 hour)"
    assert second.text == connection
    assert parse_documents(first.text) == [first]


def test_compile_sync_wants_one_sync():
    with pytest.raises(SettingsError, match="here are 0 documents"):
        compile_sync("")
    with pytest.raises(SettingsError, match="One sync document is expected") as caught:
        compile_sync("kind: connection\nid: books\nprovider: quickbooks_online\n")
    assert caught.value.next_step == "Give the text of one document whose `kind` is `sync`."


def test_scalars_are_read_as_an_accountant_means_them():
    [parsed] = parse("[NO, on, 007, 2026-01-31, 1.10, 12, -3, true, null, ~, '5', 1e3, 0x1F, .5]")
    assert [repr(value) for value in parsed.data] == [
        "'NO'", "'on'", "'007'", "'2026-01-31'", "Decimal('1.10')", "12", "-3", "True", "None", "None", "'5'",
        "'1e3'", "'0x1F'", "'.5'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, a: `a` stands here twice (first in line 1): keep one."),
        ("a: &x [1]\nb: *x\n", "line 1, a: Anchors and aliases"),
        ("a: *x\n", "line 1, a: Anchors and aliases (`&name`, `*name`) are not used here: write the value out."),
        ("b: 1\n&x a: 1\n", "line 2, a: Anchors and aliases"),
        ("a: !!python/object:os.system {}\n", "line 1, a: Tags (`!name`) are not used here."),
        ("b: 1\n!x a: 1\n", "line 2, a: Tags"),
        ("a: ! x\n", "line 1, a: Tags"),
        ("? [1]\n: 2\n", "line 1: A name is expected here, followed by a colon."),
        ("a: 1\n*x : 2\n", "line 2: A name is expected here"),
        ("[" * 200_000, "nested deeper than"),
        ("a: " * 3, "line 1: This is not YAML"),
        ("a: 'open\n", "line 2: This is not YAML: found unexpected end of stream."),
        ("a: 1\n b: 2", "line 2: This is not YAML: mapping values are not allowed here."),
        ("b: 1\na: \x00\nc: 1\n", "line 2: This is not YAML: unacceptable character #x0000: special characters are"),
        ("#" * (256 * 1024 + 1), "line 1: The file has more than 256 KB."),
        ("---\n" * 102, "The file has more than 100 documents."),
        ("a: \udcff", "line 1: This is not YAML: unacceptable character #xdcff: special characters are not allowed."),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, message: str):
    [problem] = problems(text)
    assert message in problem


def test_a_bomb_of_aliases_is_refused_before_it_is_built():
    text = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert "line 1, a: Anchors" in problems(text)[0]


def test_the_deepest_allowed_nesting_is_read():
    parse("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1))
    with pytest.raises(DocumentError):
        parse("[" * (DEPTH_MAX + 2) + "]" * (DEPTH_MAX + 2))


def test_the_largest_allowed_file_is_read():
    assert parse("#" * 256 * 1024) == []
    assert len(parse("---\na: 1\n" * 100)) == 100


def test_what_is_wrong_with_the_whole_file_has_no_path():
    for text in ("#" * (256 * 1024 + 1), "a: 'open", "\x00", "no document", "- list", "name: small"):
        with pytest.raises(DocumentError) as caught:
            parse_documents(text)
        assert caught.value.errors[0].path == ""


def test_a_file_without_content_has_no_documents():
    assert parse_documents("") == []
    assert parse_documents("# nothing\n---\n---\n") == []


def test_the_published_schemas_are_those_of_the_code():
    folder = ROOT / "docs" / "schema"
    assert {path.name: path.read_text("utf-8") for path in folder.glob("*.json")} == schemas()


def places_of(data: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at, *(place for key, value in inner for place in places_of(value, (*at, key)))]


[SOUND] = parse((HERE / "broken_steps.yaml").read_text("utf-8"))
PLACES = [place for place in places_of(SOUND.data) if place]
ODD: list[Any] = [
    None, True, 0, -1, "", "x", "a..b", [], {}, [None], [[1]], {"x": 1}, {"path": "name"}, {"pth": "name"},
    {"path": "name", "constant": 1}, {"all": [{"not": {"path": 5}}]}, {"each": "lines", "fields": {"a": 1}},
    {"list": [{"object": {"a": {"list": [5]}}}]}, {"path": "name", "transforms": ["trim", {"lookup": {}}]}, "delete",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD)), min_size=1, max_size=4))
def test_whatever_stands_in_a_document_it_is_read_or_refused_with_its_lines(
    changes: list[tuple[tuple[str | int, ...], Any]],
):
    data = deepcopy(SOUND.data)
    for place, value in changes:
        parent = data
        try:
            for part in place[:-1]:
                parent = parent[part]
            parent[place[-1]] = deepcopy(value)  # a later change may go into it
            if value == "delete":
                del parent[place[-1]]
        except (KeyError, IndexError, TypeError):
            pass  # An earlier change took it away.
    text = json.dumps(data, default=str, indent=1)
    found = []
    try:
        parse_documents(text)
    except DocumentError as error:
        found = error.errors
    assert all(0 < problem.line <= text.count("\n") + 1 for problem in found)
    assert all(problem.message.endswith(".") for problem in found)
