"""What the check of one field says: each case is a rule, and the sentences about it."""

from __future__ import annotations

import pytest

from tieout.mapping import DocumentError, parse_documents

TEXT = """
kind: sync
name: small
source: crm
target: books
steps:
  products: {{from: product, to: item, fields: {{name: {{path: name}}}}}}
  one:
    from: deal
    to: item
    {more}
    fields: {{name: {{constant: x}}, {fields}}}
"""
WHERE = "steps.one."
NUMBER = "Add `number` to its transforms."
LOOKUP = "Add a `lookup` whose table gives `true` and `false`."
LIST = "Take one with `[0]`, or make one text of them with `join`."


def said(fields: str = "", more: str = "") -> list[str]:
    """Path within the step, and sentence."""
    try:
        parse_documents(TEXT.format(fields=fields, more=more))
    except DocumentError as error:
        return [
            f"{one.path.removeprefix(WHERE)}: {one.message} {one.suggestion}".removeprefix("fields.").rstrip()
            for one in error.errors
        ]
    return []


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("sku: {path: nam}", ["sku.path: A deal has no `nam`. Did you mean `name`?"]),
        ("sku: {path: record.name}", []),
        ("sku: {path: record.nam}", ["sku.path: A deal has no `nam` (in `record.nam`). Did you mean `name`?"]),
        ("sku: {path: name.first}", ["sku.path: A deal has no `first` (in `name.first`)."]),
        ("sku: {path: companies.name}", ["sku.path: A deal has no `name` (in `companies.name`)."]),
        (
            "sku: {path: 'companies[0].nam'}",
            ["sku.path: A deal has no `nam` (in `companies[0].nam`). Did you mean `name`?"],
        ),
        ("sku: {path: 'amount[0]'}", ["sku.path: A deal has no `[0]` (in `amount[0]`)."]),
        ("sku: {path: 'amount[*].x'}", ["sku.path: A deal has no `[*]` (in `amount[*].x`)."]),
        ("sku: {path: 'custom_fields.anything[0].below'}", []),
        (
            "price: {paths: [amount, closedon]}",
            ["price.paths[1]: A deal has no `closedon`. Did you mean `closed_on`?"],
        ),
        (
            "sku: {path: name, transforms: [{phone: {region_path: custom_fields.c}}, {tax_id: {country_path: stag}}]}",
            ["sku.transforms[1].tax_id.country_path: A deal has no `stag`. Did you mean `stage`?"],
        ),
        ("sku: {path: amount, transforms: [{money: {currency_path: record.custom_fields.currency}}]}", []),
    ],
)
def test_a_path_leads_to_what_the_record_has(field: str, expected: list[str]):
    assert said(field) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("sku: {path: name}", ""),
        ("sku: {path: amount}", ""),
        ("sku: {path: closed_on}", ""),
        ("sku: {path: custom_fields.x}", ""),
        ("sku: {path: companies}", f"Text is needed here, and `companies` is a list. {LIST}"),
        ("sku: {path: 'lines[*].name'}", f"Text is needed here, and `lines[*].name` is a list. {LIST}"),
        ("sku: {path: 'lines[*].name', transforms: [upper, join]}", ""),
        ("sku: {path: 'companies[0]'}", "Text is needed here, and `companies[0]` is a group of fields."),
        (
            "sku: {path: 'companies[0]', transforms: [upper]}",
            "Text is needed here, and `companies[0]` is a group of fields.",
        ),
        ("price: {path: name}", f"A number is needed here, and `name` is text. {NUMBER}"),
        ("price: {path: name, transforms: [number]}", ""),
        ("price: {path: name, transforms: [{number: {otherwise: empty}}]}", ""),
        ("price: {path: name, transforms: [{number: {otherwise: keep}}]}", ""),
        ("price: {path: amount, transforms: [upper]}", f"A number is needed here, and `amount` is text. {NUMBER}"),
        ("price: {path: closed_on}", "A number is needed here, and `closed_on` is a date."),
        ("price: {path: name, transforms: [date]}", "A number is needed here, and `name` is a date."),
        ("price: {path: name, transforms: [{date: {otherwise: keep}}]}", ""),
        (
            "price: {path: name, transforms: [{date: {otherwise: keep}}, upper]}",
            f"A number is needed here, and `name` is text. {NUMBER}",
        ),
        ("price: {path: name, transforms: [{lookup: {aliases: {a: b}}}]}", ""),
        (
            "price: {path: 'lines[*].amount', transforms: [number]}",
            f"A number is needed here, and `lines[*].amount` is a list. {LIST}",
        ),
        (
            "price: {path: 'lines[*].amount', transforms: [join]}",
            f"A number is needed here, and `lines[*].amount` is text. {NUMBER}",
        ),
        ("price: {path: 'lines[*].amount', transforms: [join, number]}", ""),
        ("price: {paths: [amount, name]}", ""),
        ("price: {paths: [closed_on, opened_on]}", "A number is needed here, and `closed_on, opened_on` is a date."),
        ("active: {path: amount}", "Yes or no is needed here, and `amount` is a number."),
        ("active: {path: name}", f"Yes or no is needed here, and `name` is text. {LOOKUP}"),
        ("type: {path: name}", ""),
        ("type: {path: amount}", "One of a few words is needed here, and `amount` is a number."),
        ("sku: {object: {a: {path: name}}}", "Text is needed here, and `object` makes a group of fields."),
        ("sku: {each: lines, fields: {a: {path: name}}}", "Text is needed here, and `each` makes a list."),
        ("sku: {list: [{path: name}]}", "Text is needed here, and this is a list. Add `join` to its transforms."),
        ("sku: {list: [{path: name}], transforms: [join]}", ""),
    ],
)
def test_a_field_gets_what_it_takes(field: str, expected: str):
    name, _, _ = field.partition(":")
    assert said(field) == ([f"{name}: {expected}"] if expected else [])


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("active: {constant: 1}", 'active.constant: Yes or no is needed, and "1" is neither.'),
        ("price: {constant: '5', transforms: [number]}", ""),
        ("price: {constant: '5'}", 'price.constant: A number is needed, and "5" is none.'),
        ("price: {path: amount, default: much}", 'price.default: A number is needed, and "much" is none.'),
        ("price: {path: amount, default: 0}", ""),
        ("price: {path: amount, default: null}", ""),
        ("sku: {path: name, default: true}", "sku.default: Yes is not text."),
        ("sku: {path: name, default: x, link: products}", ""),
        ("sku: {constant: true, link: products}", ""),
        (
            "type: {path: name, default: servic}",
            'type.default: "servic" is none of `service`, `non_inventory`. Did you mean `service`?',
        ),
        (
            "type: {path: name, transforms: [upper, {lookup: {table: {a: service, b: null, c: non_inv}}}]}",
            (
                'type.transforms[1].lookup.table.c: "non_inv" is none of `service`, `non_inventory`. '
                "Did you mean `non_inventory`?"
            ),
        ),
        ("type: {path: name, transforms: [{lookup: {table: {a: servic}}}, lower]}", ""),
        ("type: {path: name, transforms: [{lookup: {aliases: {a: servic}}}]}", ""),
        ("sku: {path: name, transforms: [{lookup: {table: {a: true}}}]}", ""),
    ],
)
def test_what_is_written_in_the_document_fits_its_field(field: str, expected: str):
    assert said(field) == ([expected] if expected else [])


def said_of_an_invoice(fields: str) -> dict[str, str]:
    text = TEXT.replace("to: item\n    {more}", "to: invoice\n    {more}").format(more="", fields=fields)
    with pytest.raises(DocumentError) as caught:
        parse_documents(text)
    return {problem.path.removeprefix("steps.one.fields."): problem.message for problem in caught.value.errors}


def test_a_constant_for_a_group_or_a_list_is_refused():
    found = said_of_an_invoice("billing_address: {constant: Main St}, lines: {path: lines, default: 0}")
    assert found["billing_address.constant"] == "A group of fields is needed here, and this is one value."
    assert found["lines.default"] == "A list is needed here, and this is one value."


def test_the_items_of_a_list_of_rules_have_the_fields_of_a_line():
    found = said_of_an_invoice("lines: {list: [{object: {item: {path: name}, amont: {path: amount}}}, {path: name}]}")
    assert found["lines.list[0].object.amont"] == "`amont` is no field of this invoice."
    assert found["lines.list[0].object"] == "There is no rule for `amount`, which is always needed."
    assert found["lines.list[1]"] == "A group of fields is needed here, and `name` is text."


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("sku: {path: name, link: products}", []),
        ("sku: {path: name, link: products, by: sku}", []),
        ("sku: {path: name, link: product}", ["sku.link: There is no step `product`. Did you mean `products`?"]),
        (
            "sku: {path: name, link: products, by: email}",
            ["sku.by: A product has no `email`. Known here: `id`, `name`, `sku`."],
        ),
        (
            "price: {path: name, link: products}",
            ["price.link: A number is needed here, and `link` gives the id of a record."],
        ),
    ],
)
def test_a_link_names_a_step_and_a_field_of_what_it_reads(field: str, expected: list[str]):
    assert said(field) == expected


@pytest.mark.parametrize("source", ["path", "paths", "object", "list"])
def test_where_a_value_comes_from_is_not_left_empty(source: str):
    assert said(f"sku: {{{source}: null}}") == [f"sku: `{source}` needs a value."]
    assert said("sku: {constant: null}") == []
    assert said("sku: {each: null, fields: {}}") == ["sku: `each` needs a value."]


@pytest.mark.parametrize(
    ("condition", "empty"),
    [
        ("{path: null, exists: true}", "path"),
        ("{path: name, in: null}", "in"),
        ("{path: name, exists: null}", "exists"),
        ("{path: name, greater_than: null}", "greater_than"),
        ("{path: name, less_than: null}", "less_than"),
        ("{all: null}", "all"),
        ("{any: null}", "any"),
        ("{not: null}", "not"),
    ],
)
def test_what_a_condition_compares_is_not_left_empty(condition: str, empty: str):
    assert said(more=f"when: {condition}") == [f"when: `{empty}` needs a value."]
    assert said(more="when: {path: name, equals: null}") == []


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("{path: amount, greater_than: 0}", []),
        ("{path: 'lines[*].amount', greater_than: 0}", []),
        ("{path: custom_fields.x, less_than: 0}", []),
        (
            "{path: closed_on, less_than: 5}",
            ["when: `closed_on` is a date, which cannot be compared as a number."],
        ),
        (
            "{not: {path: 'companies[0]', greater_than: 5}}",
            ["when.not: `companies[0]` is a group of fields, which cannot be compared as a number."],
        ),
        ("{path: nam, greater_than: 5}", ["when.path: A deal has no `nam`. Did you mean `name`?"]),
        ("{path: record.name, exists: true}", []),
        (
            "{all: [{path: record.nam, exists: true}]}",
            ["when.all[0].path: A deal has no `nam` (in `record.nam`). Did you mean `name`?"],
        ),
        (
            "{any: [{path: name, exists: true}, {all: [{not: {path: stag, equals: x}}]}]}",
            ["when.any[1].all[0].not.path: A deal has no `stag`. Did you mean `stage`?"],
        ),
    ],
)
def test_a_condition_asks_for_what_the_record_has(condition: str, expected: list[str]):
    assert said(more=f"when: {condition}") == expected
