"""What records become: values, links, sentences."""

import csv
import datetime as dt
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieout.domain.documents import DOCUMENTS
from tieout.domain.errors import MappingError
from tieout.domain.records import Kind, Record, Value
from tieout.mapping import ABSENT, CompiledStep, CompiledSync, LinkTo, Mapped, compile_sync, missing_link, preset
from tieout.mapping.targets import is_record_update

ROOT = Path(__file__).parents[3]
DATA = ROOT / "sandbox" / "data" / "crm-sales-opportunities"

DEAL: dict[str, Value] = {
    "name": "Acme - GTX Pro",
    "status": "won",
    "amount": Decimal("4821.50"),
    "closed_on": dt.date(2017, 3, 1),
    "source_id": "1C1I7A6R",
    "companies": [{"id": "c-1", "name": "Acme"}],
    "lines": [
        {"name": "GTXPro", "quantity": Decimal(1), "unit_price": Decimal("4821.50"), "amount": Decimal("4821.50")}
    ],
}


@cache
def preset_sync() -> CompiledSync:
    return compile_sync(preset("act-quickbooks_online"))


def deal(**changes: Value) -> Record:
    return Record(Kind.DEAL, "d-1", fields={**DEAL, **changes})


def step_with(fields: str, *, to: str = "customer", kind: str = "company", more: str = "") -> CompiledStep:
    sync = f"""
kind: sync
name: small
source: crm
target: books
steps:
  one:
    from: {kind}
    to: {to}
    {more}
    fields: {fields}
"""
    return compile_sync(sync).step("one")


def customer_field(rule: str, fields: dict[str, Value], target: str = "note") -> Any:
    step = step_with(f"{{name: {{constant: x}}, {target}: {rule}}}")
    return step.evaluate(Record(Kind.COMPANY, "c-1", fields=fields)).fields.get(target, ABSENT)


def refused(step: CompiledStep, record: Record) -> MappingError:
    with pytest.raises(MappingError) as caught:
        step.evaluate(record)
    return caught.value


def with_links_resolved(value: Any) -> Any:
    if isinstance(value, LinkTo):
        return f"{value.step}-{value.value}"
    if isinstance(value, dict):
        return {key: with_links_resolved(item) for key, item in value.items()}
    return [with_links_resolved(item) for item in value] if isinstance(value, list) else value


# The preset


def test_a_won_deal_becomes_an_invoice():
    invoices = preset_sync().step("invoices")
    mapped = invoices.evaluate(deal())
    customer, item = mapped.links
    assert mapped.fields == {
        "customer": customer,
        "number": "1C1I7A6R",
        "status": "issued",
        "date": dt.date(2017, 3, 1),
        "due_date": dt.date(2017, 3, 31),
        "currency": "USD",
        "lines": [
            {
                "item": item,
                "description": "GTXPro",
                "quantity": Decimal(1),
                "unit_price": Decimal("4821.50"),
                "amount": Decimal("4821.50"),
            }
        ],
    }
    assert (customer.step, customer.by, customer.value, customer.path) == ("customers", "id", "c-1", "companies[0].id")
    assert (item.step, item.by, item.value, item.path) == ("items", "name", "GTX Pro", "lines[0].name")
    assert item.rule == "steps.invoices.fields.lines.fields.item"
    DOCUMENTS[Kind.INVOICE].model_validate(with_links_resolved(mapped.fields))
    assert (invoices.label(deal()), invoices.amount(deal()), invoices.currency(deal())) == (
        "Acme - GTX Pro",
        Decimal("4821.50"),
        "USD",
    )


def test_a_company_becomes_a_customer():
    company = Record(
        Kind.COMPANY,
        "c-1",
        fields={
            "name": "Bio:holding  Ltd",
            "phone": "(650) 555-0123",
            "contact": {"name": " Ann  Lee ", "email": "Ann@BIO.Example", "phone": None},
            "address": {"line1": "1 Main St", "city": None, "country": "Philipines"},
        },
    )
    assert preset_sync().step("customers").evaluate(company).fields == {
        "name": "Bio -holding Ltd",
        "company_name": "Bio:holding Ltd",
        "contact_name": "Ann Lee",
        "email": "Ann@bio.example",
        "phone": "+16505550123",
        "billing_address": {"line1": "1 Main St", "city": None, "country": "PH"},
    }


def test_a_payment_comes_back_to_the_deal():
    payments = preset_sync().step("payments")
    invoice = Record(
        Kind.INVOICE,
        "77",
        fields={
            "number": "1C1I7A6R",
            "state": "partly_paid",
            "paid": Decimal("100.00"),
            "balance": Decimal("4721.50"),
            "currency": "USD",
            "last_payment_on": dt.date(2017, 4, 2),
        },
    )
    assert (payments.reads, payments.pairs, payments.from_kind, payments.to_kind) == (
        "target", "invoices", Kind.INVOICE, Kind.DEAL,
    )  # fmt: skip
    assert payments.selects(invoice)
    assert payments.evaluate(invoice).fields == {
        "custom_fields.payment_status": "Partly paid",
        "custom_fields.invoice_number": "1C1I7A6R",
        "custom_fields.amount_paid": Decimal("100.00"),
        "custom_fields.balance_due": Decimal("4721.50"),
        "custom_fields.paid_on": dt.date(2017, 4, 2),
    }
    payment = Record(Kind.PAYMENT, "9", fields={"invoice_ids": ["77", "78", "77"]})
    assert payments.concerns(payment) == ["77", "78"]
    assert payments.concerns(invoice) == []


def test_an_unpaid_invoice_writes_nothing_back_and_a_voided_one_does():
    payments = preset_sync().step("payments")
    assert not payments.selects(Record(Kind.INVOICE, "77", fields={"state": "open", "paid": Decimal(0)}))
    assert payments.selects(Record(Kind.INVOICE, "77", fields={"state": "voided", "paid": Decimal(0)}))


@pytest.mark.parametrize(
    ("changes", "sentence", "next_step", "rule", "path"),
    [
        (
            {"closed_on": None},
            "Invoice date is empty: the deal has no close date.",
            "Enter the close date in the deal.",
            "steps.invoices.fields.date",
            "closed_on",
        ),
        (
            {"companies": []},
            "Invoice customer is empty: the deal has no company.",
            "Enter the company in the deal.",
            "steps.invoices.fields.customer",
            "companies[0].id",
        ),
        (
            {"lines": []},
            "Invoice lines: the deal has no lines.",
            "Add at least one to the deal.",
            "steps.invoices.fields.lines",
            "lines",
        ),
        (
            {"lines": [{"name": "GTX Pro", "amount": Decimal(1)}, {"name": " ", "amount": Decimal(1)}]},
            "Invoice line item is empty: the deal has no name in line 2.",
            "Enter the name in line 2 in the deal.",
            "steps.invoices.fields.lines.fields.item",
            "lines[1].name",
        ),
        (
            {"closed_on": "03/04/2017"},
            'Invoice date: "03/04/2017" can be 2017-04-03 or 2017-03-04.',
            "Set `format`, such as `DD/MM/YYYY`, in this rule's `date`.",
            "steps.invoices.fields.date",
            "closed_on",
        ),
        (
            {"lines": [{"name": "GTX Pro", "amount": "1.234,56"}]},
            'Invoice line amount: "1.234,56" is not a number.',
            "Correct the number, or set `locale` in this rule's `number`.",
            "steps.invoices.fields.lines.fields.amount",
            "lines[0].amount",
        ),
    ],
)
def test_a_deal_that_cannot_be_mapped_says_why(
    changes: dict[str, Value], sentence: str, next_step: str, rule: str, path: str
):
    error = refused(preset_sync().step("invoices"), deal(**changes))
    assert (error.message, error.next_step, error.rule, error.path) == (sentence, next_step, rule, path)


def test_an_error_shows_a_shortened_value():
    error = refused(preset_sync().step("invoices"), deal(closed_on="x" * 500))
    assert error.value == "x" * 79 + "…"
    assert len(error.message) < 120


def test_every_won_deal_of_the_real_data_becomes_an_invoice_to_the_cent():
    with (DATA / "products.csv").open(encoding="utf-8") as file:
        products = {row["product"]: Decimal(row["sales_price"]) for row in csv.DictReader(file)}
    with (DATA / "sales_pipeline.csv").open(encoding="utf-8") as file:
        won = [row for row in csv.DictReader(file) if row["deal_stage"] == "Won"]
    invoices, total, items = preset_sync().step("invoices"), Decimal(0), set()
    for row in won:
        value = Decimal(row["close_value"])
        record = Record(
            Kind.DEAL,
            row["opportunity_id"],
            fields={
                "name": f"{row['product']} for {row['account']}",
                "status": "won",
                "amount": value,
                "closed_on": row["close_date"],
                "source_id": row["opportunity_id"],
                "companies": [{"id": row["account"], "name": row["account"]}],
                "lines": [{"name": row["product"], "quantity": Decimal(1), "unit_price": value, "amount": value}],
            },
        )
        assert invoices.selects(record)
        mapped = invoices.evaluate(record)
        items |= {link.value for link in mapped.links if link.step == "items"}
        invoice = DOCUMENTS[Kind.INVOICE].model_validate(with_links_resolved(mapped.fields))
        total += sum(line.amount for line in invoice.lines)  # type: ignore[attr-defined]  # an invoice has lines
    assert (len(won), total) == (4238, Decimal(10005534))
    assert items <= set(products)
    assert "GTX Pro" in items


# Absent, null, empty, zero


@pytest.mark.parametrize(
    ("fields", "plain", "with_default", "with_first_path"),
    [
        ({}, ABSENT, "none", "other"),
        ({"industry": None}, None, "none", "other"),
        ({"industry": ""}, "", "", "other"),
        ({"industry": "0"}, "0", "0", "0"),
    ],
)
def test_absent_null_empty_and_a_value_are_four_things(
    fields: dict[str, Value], plain: object, with_default: str, with_first_path: str
):
    fields = {"website": "other", **fields}
    assert customer_field("{path: industry}", fields) == plain
    assert customer_field("{path: industry, default: none}", fields) == with_default
    assert customer_field("{paths: [industry, website]}", fields) == with_first_path


def test_zero_is_a_value():
    step = step_with(
        "{name: {path: name}, price: {path: price, default: 5, required: true}}", to="item", kind="product"
    )
    record = Record(Kind.PRODUCT, "p", fields={"name": "Gift", "price": Decimal(0)})
    assert step.evaluate(record).fields["price"] == Decimal(0)


@pytest.mark.parametrize("fields", [{}, {"name": None}, {"name": ""}, {"name": "  "}])
def test_what_is_required_may_not_be_absent_null_or_empty(fields: dict[str, Value]):
    error = refused(step_with("{name: {path: name}}"), Record(Kind.COMPANY, "c", fields=fields))
    assert error.message == "Customer name is empty: the company has no name."
    assert error.value == ("" if fields.get("name") else fields.get("name"))


def test_a_rule_that_gives_nothing_is_at_fault_not_the_record():
    error = refused(step_with("{name: {constant: ' '}}"), Record(Kind.COMPANY, "c"))
    assert error.message == "Customer name is empty: its rule gives none."
    assert (error.next_step, error.path) == ("Correct the rule `steps.one.fields.name`.", "")


@pytest.mark.parametrize(
    ("fields", "written"),
    [({}, ABSENT), ({"paid_for": None}, ABSENT), ({"paid_for": []}, []), ({"paid_for": [{"id": "7"}]}, ["7"])],
)
def test_a_list_that_cannot_be_emptied_is_left_alone_if_it_is_null(fields: dict[str, Value], written: object):
    step = step_with(
        "{customer: {path: id}, date: {constant: '2026-01-31'}, currency: {constant: EUR}, amount: {constant: 1},"
        " allocations: {each: custom_fields.paid_for, fields: {invoice: {path: id}, amount: {constant: 1}}}}",
        to="payment",
    )
    made = step.evaluate(Record(Kind.COMPANY, "c", fields={"custom_fields": fields})).fields.get("allocations", ABSENT)
    assert made == written if not isinstance(made, list) else [line["invoice"] for line in made] == written


def test_nothing_left_by_the_transforms_is_empty_too():
    step = step_with('{name: {path: name, transforms: [{split: {at: ",", take: 3}}]}}')
    error = refused(step, Record(Kind.COMPANY, "c", fields={"name": "a,b"}))
    assert error.message == 'Customer name is empty: nothing is left of "a,b".'


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, ABSENT),
        ({"website": None}, None),
        ({"website": None, "phone": ""}, None),
        ({"phone": " "}, " "),
        ({"phone": "", "website": None}, None),
        ({"phone": "1", "website": None}, "1"),
    ],
)
def test_where_no_path_has_a_value_the_first_that_is_there_counts(fields: dict[str, Value], found: object):
    assert customer_field("{paths: [industry, website, phone]}", fields) == found


def test_the_path_that_was_read_is_told():
    step = step_with("{name: {paths: [industry, website], required: true}, note: {constant: x}}")
    for fields, path in (({}, "industry"), ({"website": ""}, "website"), ({"website": None}, "website")):
        record = Record(Kind.COMPANY, "c", fields=fields)
        assert refused(step, record).path == path
        assert [found.path for found in step.explain(record)] == [path, ""]


def test_a_default_is_used_as_it_stands_after_the_transforms():
    rule = "{path: industry, transforms: [upper], default: none}"
    assert customer_field(rule, {}) == "none"
    assert customer_field(rule, {"industry": "tech"}) == "TECH"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ABSENT),
        ({"address": None}, None),
        ({"address": {"line1": None}}, None),
        ({"address": {"line1": "x"}}, {"line1": "x"}),
        ({"address": {"line1": "x", "city": None}}, {"line1": "x", "city": None}),
    ],
)
def test_a_group_is_absent_null_or_there_as_its_fields_are(fields: dict[str, Value], expected: object):
    rule = "{object: {line1: {path: address.line1}, city: {path: address.city}}}"
    assert customer_field(rule, fields, "billing_address") == expected


def test_a_null_leaves_a_field_alone_that_cannot_be_emptied():
    assert customer_field("{path: custom_fields.active}", {"custom_fields": {"active": None}}, "active") is ABSENT


# Rules


def test_a_list_of_rules_makes_one_text_or_one_line():
    names = "{list: [{path: contact.given_name}, {path: contact.family_name}], transforms: [{join: {with: ' '}}]}"
    assert customer_field(names, {"contact": {"given_name": "Ann", "family_name": "Lee"}}) == "Ann Lee"
    assert customer_field(names, {"contact": {"given_name": None, "family_name": "Lee"}}) == "Lee"
    assert customer_field(names, {}) is ABSENT
    step = step_with(
        "{customer: {constant: '1'}, date: {constant: '2026-01-31'}, currency: {constant: EUR},"
        " lines: {list: [{object: {item: {constant: '9'}, amount: {path: amount}, description: {path: name},"
        " service_on: {constant: '2026-01-30'}}}]}}",
        to="invoice",
        kind="deal",
    )
    mapped = step.evaluate(deal())
    assert mapped.fields["lines"] == [
        {
            "item": "9",
            "amount": Decimal("4821.50"),
            "description": "Acme - GTX Pro",
            "service_on": dt.date(2026, 1, 30),
        }
    ]
    assert mapped.fields["date"] == dt.date(2026, 1, 31)
    DOCUMENTS[Kind.INVOICE].model_validate(mapped.fields)


def test_a_list_of_rules_leaves_out_what_has_no_value():
    rule = "{list: [{path: industry}, {path: website}], transforms: [join]}"
    assert customer_field(rule, {}) is ABSENT
    assert customer_field(rule, {"industry": None}) is None
    assert customer_field(rule, {"industry": None, "website": "w"}) == "w"
    assert customer_field("{list: [{path: industry}], transforms: [join], default: x}", {}) == "x"


EACH = "{each: lines, fields: {item: {constant: x}, amount: {path: amount}}}"
LINES = "customer: {constant: '1'}, date: {path: closed_on}, currency: {constant: EUR}, lines: "


@pytest.mark.parametrize(
    ("fields", "changes", "sentence", "next_step", "path"),
    [
        (
            f"{{{LINES}{{list: [{{path: custom_fields.line}}]}}}}",
            {},
            "Invoice lines is empty: none of its items has a value.",
            "Complete the deal.",
            "",
        ),
        (
            f"{{billing_address: {{required: true, object: {{city: {{path: owner}}}}}}, {LINES}{EACH}}}",
            {},
            "Invoice billing address is empty: none of its fields has a value.",
            "Complete the deal.",
            "",
        ),
        (
            f"{{{LINES}{{each: custom_fields.list, fields: {{item: {{constant: x}}, amount: {{path: amount}}}}}}}}",
            {"custom_fields": {"list": "x"}},
            "Invoice lines: the list of the deal is no list.",
            "Correct the path of `steps.one.fields.lines.each`.",
            "custom_fields.list",
        ),
        (
            f"{{{LINES}{EACH}}}",
            {"lines": [{"amount": Decimal(1)}] * 2001},
            "Invoice lines: the deal has 2,001 lines, more than 2,000.",
            "Split the deal.",
            "lines",
        ),
    ],
)
def test_a_group_or_a_list_that_cannot_be_made_says_why(
    fields: str, changes: dict[str, Value], sentence: str, next_step: str, path: str
):
    error = refused(step_with(fields, to="invoice", kind="deal"), deal(**changes))
    assert (error.message, error.next_step, error.path) == (sentence, next_step, path)
    assert error.rule.startswith("steps.one.fields.")
    assert error.value == ("x" if "no list" in sentence else None)


BACK = """
kind: sync
name: small
source: crm
target: books
steps:
  invoices:
    from: deal
    to: invoice
    fields:
      customer: {path: owner}
      date: {path: closed_on}
      currency: {constant: EUR}
      lines: {each: lines, fields: {item: {path: name}, amount: {path: amount}}}
  back:
    from: invoice
    to: deal
    writes_back: invoices
    fields:
      custom_fields.both: {list: [{path: memo}, {path: note}]}
      custom_fields.lines:
        each: lines
        fields:
          group: {object: {name: {path: item}, rate: {path: tax_code}}}
          text: {list: [{path: item}, {path: record.number}], transforms: [join]}
          cut: {list: [{path: item}, {path: description}], transforms: [{truncate: {length: 2}}]}
"""


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({}, {}),
        ({"lines": None, "memo": None}, {"custom_fields.lines": None, "custom_fields.both": []}),
        ({"lines": [], "note": "n"}, {"custom_fields.lines": [], "custom_fields.both": ["n"]}),
    ],
)
def test_what_is_written_back_of_lists_that_are_absent_null_or_empty(
    fields: dict[str, Value], written: dict[str, Value]
):
    assert compile_sync(BACK).step("back").evaluate(Record(Kind.INVOICE, "1", fields=fields)).fields == written


def test_groups_and_lists_inside_a_list_are_evaluated_and_explained_item_by_item():
    step = compile_sync(BACK).step("back")
    lines: list[Value] = [{"item": "a"}, {"item": "book", "tax_code": "T", "description": "good"}]
    record = Record(Kind.INVOICE, "1", fields={"number": "7", "lines": lines})
    mapped = step.evaluate(record)
    assert mapped.fields == {
        "custom_fields.lines": [
            {"group": {"name": "a"}, "text": "a 7", "cut": ["a"]},
            {"group": {"name": "book", "rate": "T"}, "text": "book 7", "cut": ["bo", "go"]},
        ]
    }
    assert mapped.notices == (
        "Deal line cut: Cut from 4 to 2 characters: book.",
        "Deal line cut: Cut from 4 to 2 characters: good.",
    )
    where = "steps.back.fields.custom_fields.lines.fields."
    told = [(found.rule.removeprefix(where), found.path) for found in step.explain(record)]
    assert told == [
        ("steps.back.fields.custom_fields.both.list[0]", "memo"),
        ("steps.back.fields.custom_fields.both.list[1]", "note"),
        *(
            (f"{rule}[{number}]", path.replace("*", str(number)))
            for number in (0, 1)
            for rule, path in (
                ("group.object.name", "lines[*].item"),
                ("group.object.rate", "lines[*].tax_code"),
                ("text.list[0]", "lines[*].item"),
                ("text.list[1]", "number"),
                ("text", "lines[*]"),
                ("cut.list[0]", "lines[*].item"),
                ("cut.list[1]", "lines[*].description"),
                ("cut", "lines[*]"),
            )
        ),
    ]


def test_the_longest_allowed_list_becomes_as_many_lines():
    step = step_with(
        f"{{{LINES}{{each: lines, fields: {{item: {{path: name}}, amount: {{path: amount}}}}}}}}",
        to="invoice",
        kind="deal",
    )
    lines: list[Value] = [{"name": str(number), "amount": Decimal(1)} for number in range(2000)]
    made = step.evaluate(deal(lines=lines)).fields["lines"]
    assert (len(made), made[1999]["item"]) == (2000, "1999")


def test_a_link_to_nothing_empties_the_field_or_leaves_it_alone():
    step = compile_sync("""
kind: sync
name: small
source: crm
target: books
steps:
  items: {from: product, to: item, fields: {name: {path: name}}}
  one:
    from: company
    to: customer
    fields: {name: {constant: x, link: items, by: name}, note: {path: phone, link: items}}
""").step("one")
    assert step.evaluate(Record(Kind.COMPANY, "c", fields={"phone": " "})).fields["note"] is None
    link = step.evaluate(Record(Kind.COMPANY, "c", fields={"phone": " 7 "})).fields["note"]
    assert (link.step, link.by, link.value, link.path) == ("items", "id", "7", "phone")
    [first, _] = step.evaluate(Record(Kind.COMPANY, "c", fields={"phone": "7"})).links
    assert (first.value, first.path) == ("x", "")


def test_a_record_that_concerns_others_names_them_in_text_numbers_or_lists():
    step = step_with("{name: {constant: x}}", more="also_on: {contact: custom_fields.companies}")
    cases: list[tuple[Any, list[str]]] = [
        ("7", ["7"]),
        (7, ["7"]),
        (["7", 8, None, True, "", "7"], ["7", "8"]),
        (None, []),
        ({}, []),
    ]
    for said, ids in cases:
        contact = Record(Kind.CONTACT, "p", fields={"custom_fields": {"companies": said}})
        assert step.concerns(contact) == ids
    assert step.also_on == {Kind.CONTACT: "custom_fields.companies"}


def test_a_step_says_what_its_document_says():
    sync = compile_sync("""
kind: sync
name: small
source: crm
target: books
steps:
  invoices:
    from: deal
    to: invoice
    on_leave: withdraw
    on_delete: keep
    if_paid: credit_note
    match: {adopt_from: 0.9}
    fields:
      customer: {path: "companies[0].id", link: customers}
      date: {path: closed_on}
      currency: {path: custom_fields.currency}
      memo: {path: name, link: items}
      lines: {each: lines, fields: {item: {path: sku, link: items}, amount: {path: amount}}}
  items: {from: product, to: item, fields: {name: {path: name}}}
  customers: {from: company, to: customer, two_way: newest, flaps_max: 3, fields: {name: {path: name, owner: ask}}}
""")
    assert (sync.name, sync.source, sync.target, sync.document.name, sync.version) == (
        "small",
        "crm",
        "books",
        "small",
        0,
    )
    items, customers, invoices = sync.steps
    assert [step.name for step in sync.steps] == ["items", "customers", "invoices"]
    assert (invoices.on_leave, invoices.on_delete, invoices.if_paid) == ("withdraw", "keep", "credit_note")
    assert (invoices.reads, invoices.from_kind, invoices.to_kind, invoices.pairs) == (
        "source", Kind.DEAL, Kind.INVOICE, None,
    )  # fmt: skip
    assert invoices.links_to == ("customers", "items")
    assert (invoices.match.adopt_from, customers.match.adopt_from) == (Decimal("0.9"), Decimal("0.98"))
    assert (customers.two_way, customers.flaps_max, customers.owners) == ("newest", 3, {"name": "ask"})
    assert (items.on_leave, items.on_delete, items.if_paid, items.two_way) == ("park", "park", "park", None)
    assert invoices.currency(deal(custom_fields={"currency": "SEK"})) == "SEK"
    credit = sync.step("invoices.credit_note")
    assert (credit.name, credit.to_kind) == ("invoices.credit_note", Kind.CREDIT_NOTE)
    assert [step.name for step in sync.linked_steps] == ["items", "customers", "invoices", "invoices.credit_note"]


def test_what_is_written_back_is_called_by_its_own_name():
    text = preset("act-quickbooks_online").replace(
        "custom_fields.invoice_number: {path: number}", "custom_fields.invoice_number: {path: number, required: true}"
    )
    error = refused(compile_sync(text).step("payments"), Record(Kind.INVOICE, "1", fields={"state": "paid"}))
    assert error.message == "Deal invoice number is empty: the invoice has no number."


def test_inside_a_list_the_record_can_still_be_read():
    step = step_with(
        "{customer: {constant: '1'}, date: {path: closed_on}, currency: {constant: EUR}, lines: {each: lines, fields:"
        " {item: {path: name}, amount: {path: amount}, description: {path: record.name}}}}",
        to="invoice",
        kind="deal",
    )
    assert step.evaluate(deal()).fields["lines"][0]["description"] == "Acme - GTX Pro"
    assert [found.path for found in step.explain(deal())][3:] == ["lines[0].name", "lines[0].amount", "name"]


def test_the_records_id_and_custom_fields_can_be_read():
    custom: dict[str, Value] = {"custom_fields": {"Order no.": 7}}
    assert customer_field("{path: id}", {}) == "c-1"
    assert customer_field("{path: record.id}", {}) == "c-1"
    assert customer_field("{path: id}", {"id": "its own"}) == "its own"
    assert customer_field("{path: 'custom_fields[\"Order no.\"]'}", custom) == "7"
    assert customer_field("{path: custom_fields.other}", custom) is ABSENT


@pytest.mark.parametrize(
    ("to", "field", "value", "sentence", "next_step"),
    [
        (
            "customer", "active", "maybe",
            'Customer active: yes or no is needed, and "maybe" is neither.',
            "Add a `lookup` whose table gives `true` and `false`.",
        ),
        (
            "item", "price", "many",
            'Item price: a number is needed, and "many" is none.',
            "Add `number` to the transforms.",
        ),
        ("item", "price", Decimal("NaN"), 'Item price: a number is needed, and "NaN" is none.', "Add `number` to the"),
        ("item", "price", True, "Item price: a number is needed, and yes is none.", "Add `number` to the transforms."),
        (
            "item", "type", "goods",
            'Item type: "goods" is none of `service`, `non_inventory`.',
            "Add a `lookup` to the transforms.",
        ),
        (
            "item", "sku", [1],
            "Item sku: A list is not text.",
            "Correct the record, or the rule `steps.one.fields.sku`.",
        ),
        (
            "invoice", "date", "soon",
            'Invoice date: a date is needed, and "soon" is none.',
            "Add `date` to the transforms.",
        ),
        (
            "invoice", "date", dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC),
            'Invoice date: a date is needed, and "2026-01-31T12:00:00+00:00" is none.',
            "Add `date` to the transforms.",
        ),
        (
            "invoice", "date", 5,
            'Invoice date: a date is needed, and "5" is none.',
            "Add `date` to the transforms.",
        ),
    ],
)  # fmt: skip
def test_values_of_the_wrong_type_are_refused_with_what_to_add(
    to: str, field: str, value: Value, sentence: str, next_step: str
):
    others = {
        "customer": "name: {constant: x}",
        "item": "name: {constant: x}",
        "invoice": "customer: {constant: x}, currency: {constant: EUR}, lines: {each: lines, fields:"
        " {item: {constant: x}, amount: {constant: 1}}}",
    }
    step = step_with(f"{{{field}: {{path: custom_fields.a}}, {others[to]}}}", to=to, kind="deal")
    error = refused(step, deal(custom_fields={"a": value}))
    assert error.message == sentence
    assert error.next_step.startswith(next_step)
    assert (error.rule, error.path) == (f"steps.one.fields.{field}", "custom_fields.a")


def test_what_is_cut_is_noticed():
    step = step_with("{name: {path: name, transforms: [{truncate: {length: 4}}]}}")
    mapped = step.evaluate(Record(Kind.COMPANY, "c", fields={"name": "Acme Corporation"}))
    assert mapped.fields == {"name": "Acme"}
    assert mapped.notices == ("Customer name: Cut from 16 to 4 characters: Acme Corporation.",)


def test_a_list_is_transformed_item_by_item():
    rule = "{path: 'custom_fields.tags[*]', transforms: [upper, {join: {with: '+'}}]}"
    assert customer_field(rule, {"custom_fields": {"tags": ["a", None, "b"]}}) == "A+B"


@pytest.mark.parametrize(
    ("condition", "selected"),
    [
        ("{path: name, equals: Acme}", True),
        ("{path: name, equals: acme}", False),
        ("{path: name, in: [Other, Acme]}", True),
        ("{path: phone, exists: true}", False),
        ("{path: website, exists: false}", True),
        ("{path: custom_fields.n, greater_than: 0}", True),
        ("{path: custom_fields.n, greater_than: 1}", False),
        ("{path: custom_fields.n, greater_than: 0.999}", True),
        ("{path: custom_fields.n, less_than: 1}", False),
        ("{path: custom_fields.n, less_than: 1.001}", True),
        ("{path: custom_fields.n, less_than: 0.5}", False),
        ("{path: industry, exists: true}", False),
        ("{path: industry, equals: ''}", True),
        ("{path: custom_fields.empty, greater_than: 0}", False),
        ("{path: 'custom_fields.none[*]', exists: true}", False),
        ("{path: 'custom_fields.tags[*]', exists: true}", True),
        ("{path: 'custom_fields.amounts[*]', greater_than: 4}", True),
        ("{path: 'custom_fields.amounts[*]', less_than: 1}", False),
        ("{any: [{path: phone, exists: true}, {path: website, exists: true}]}", False),
        ("{path: custom_fields.n, equals: 1}", True),
        ("{path: custom_fields.yes, equals: 1}", False),
        ("{path: custom_fields.yes, equals: true}", True),
        ("{path: custom_fields.day, equals: 2026-01-31}", True),
        ("{path: website, equals: null}", False),
        ("{path: phone, equals: null}", True),
        ("{path: custom_fields.other, greater_than: 0}", False),
        ("{not: {path: name, equals: Acme}}", False),
        ("{all: [{path: name, exists: true}, {any: [{path: phone, exists: true}, {path: name, equals: Acme}]}]}", True),
        ("{path: 'custom_fields.tags[*]', equals: b}", True),
    ],
)
def test_conditions_choose_records(condition: str, selected: bool):
    record = Record(
        Kind.COMPANY,
        "c",
        fields={
            "name": "Acme",
            "phone": None,
            "industry": "",
            "custom_fields": {
                "n": Decimal("1.0"),
                "yes": True,
                "day": dt.date(2026, 1, 31),
                "tags": ["a", "b"],
                "none": [],
                "empty": "",
                "amounts": [1, Decimal(5)],
            },
        },
    )
    assert step_with("{name: {path: name}}", more=f"when: {condition}").selects(record) is selected


def test_a_condition_that_cannot_be_told_parks_the_record_instead_of_losing_it():
    step = step_with("{name: {path: name}}", more="when: {path: custom_fields.n, greater_than: 0}")
    record = Record(Kind.COMPANY, "c", fields={"name": "Acme", "custom_fields": {"n": "1,200"}})
    assert step.selects(record)
    error = refused(step, record)
    assert error.message == 'The n of the company is "1,200", which cannot be compared as a number.'
    assert (error.rule, error.path, error.value) == ("steps.one.when", "custom_fields.n", "1,200")
    assert error.next_step == "Enter a number in the company."


@pytest.mark.parametrize(
    ("condition", "rule"),
    [
        ("{not: {path: custom_fields.n, less_than: 0}}", "steps.one.when.not"),
        ("{all: [{path: name, exists: true}, {path: custom_fields.n, less_than: 0}]}", "steps.one.when.all[1]"),
        ("{any: [{not: {path: custom_fields.n, greater_than: 0}}]}", "steps.one.when.any[0].not"),
    ],
)
def test_the_condition_that_cannot_be_told_is_named(condition: str, rule: str):
    step = step_with("{name: {path: name}}", more=f"when: {condition}")
    for value in ("many", Decimal("NaN"), Decimal("Infinity")):
        record = Record(Kind.COMPANY, "c", fields={"name": "Acme", "custom_fields": {"n": value}})
        assert refused(step, record).rule == rule


def test_the_value_that_cannot_be_compared_is_told_as_it_stands():
    step = step_with("{name: {path: name}}", more="when: {path: custom_fields.n, greater_than: 0}")
    for value, told in ((dt.date(2026, 1, 31), "2026-01-31"), ("1,200", "1,200"), (True, "yes")):
        record = Record(Kind.COMPANY, "c", fields={"name": "Acme", "custom_fields": {"n": value}})
        assert refused(step, record).value == told


def test_label_amount_and_currency_have_rules_of_their_own():
    step = step_with(
        "{name: {constant: x}}",
        more="label: {path: name, transforms: [upper]}\n    amount: {path: custom_fields.worth, transforms: [number]}\n"
        "    currency: {path: custom_fields.currency}",
    )
    custom: dict[str, Value] = {"worth": "12.50", "currency": "EUR"}
    record = Record(Kind.COMPANY, "c", fields={"name": " a\n b ", "custom_fields": custom})
    assert (step.label(record), step.amount(record), step.currency(record)) == ("A B", Decimal("12.50"), "EUR")
    long = Record(Kind.COMPANY, "c", fields={"name": "x" * 121, "custom_fields": {"worth": "much", "currency": ""}})
    assert (step.label(long), step.amount(long), step.currency(long)) == ("X" * 120, None, "")
    odd = Record(Kind.COMPANY, "c", fields={"name": [], "custom_fields": {"currency": ["EUR"]}})
    assert (step.label(odd), step.currency(odd)) == ("company c", "")


def test_a_record_without_a_name_is_called_by_kind_and_id():
    step = step_with("{name: {constant: x}}", more="label: {path: name}")
    assert step.label(Record(Kind.COMPANY, "c-7", fields={})) == "company c-7"
    assert step.amount(Record(Kind.COMPANY, "c-7", fields={})) is None
    assert not step.currency(Record(Kind.COMPANY, "c-7", fields={}))


# Explaining and links that are missing


def test_explain_shows_each_value_on_its_way():
    by_rule = {found.rule: found for found in preset_sync().step("invoices").explain(deal(closed_on=None))}
    item = by_rule["steps.invoices.fields.lines.fields.item[0]"]
    assert (item.path, item.read, item.steps) == (
        "lines[0].name",
        "GTXPro",
        (("collapse_spaces", "GTXPro"), ("lookup", "GTX Pro")),
    )
    assert isinstance(item.result, LinkTo)
    date = by_rule["steps.invoices.fields.date"]
    assert (date.read, date.result) == (None, ABSENT)
    assert date.error is not None
    assert by_rule["steps.invoices.fields.due_date"].result is None
    assert by_rule["steps.invoices.fields.currency"].read == "USD"


def test_explain_shows_defaults_and_errors_of_whole_lists():
    step = preset_sync().step("invoices")
    by_rule = {found.rule: found for found in step.explain(deal(lines=[{"name": "GTX Pro", "amount": 1}]))}
    assert by_rule["steps.invoices.fields.lines.fields.quantity[0]"].steps == (("default", 1),)
    [lines] = [found for found in step.explain(deal(lines=None)) if found.rule == "steps.invoices.fields.lines"]
    assert lines.error is not None
    assert (lines.path, lines.read, lines.steps, lines.result) == ("lines", ABSENT, (), ABSENT)


def link_of(sync: CompiledSync, value: str) -> LinkTo:
    mapped = sync.step("invoices").evaluate(deal(lines=[{"name": value, "amount": Decimal(1)}]))
    return next(link for link in mapped.links if link.step == "items")


def test_without_the_alias_the_deal_says_what_to_add():
    text = preset("act-quickbooks_online").replace("GTXPro: GTX Pro", "Other: GTX Pro")
    error = missing_link(link_of(compile_sync(text), "GTXPro"), ["GTX Basic", "GTX Pro", "MG Special"])
    assert error.message == 'No item is named "GTXPro". The catalogue has "GTX Pro".'
    assert error.next_step == (
        "Add `GTXPro: GTX Pro` to lookup.aliases in `steps.invoices.fields.lines.fields.item.transforms`,"
        " or add the product."
    )
    assert (error.value, error.path) == ("GTXPro", "lines[0].name")


def test_a_link_to_nothing_alike_and_to_several_say_so():
    link = link_of(preset_sync(), "Zeppelin")
    nothing = missing_link(link, ["GTX Pro"], count=1)
    assert nothing.message == 'No item is named "Zeppelin".'
    assert nothing.next_step == (
        "Add the product, or add an alias for `Zeppelin` to lookup.aliases in"
        " `steps.invoices.fields.lines.fields.item.transforms`."
    )
    assert (nothing.rule, nothing.path, nothing.value) == (link.rule, "lines[0].name", "Zeppelin")
    several = missing_link(link, [], count=2)
    assert several.message == (
        '2 records of the kind product have the name "Zeppelin": it is not clear which item is meant.'
    )
    assert several.next_step == "Give each product a name of its own, or delete the one that is not used."
    by_sku = missing_link(replace(link, by="sku"), [])
    assert by_sku.message == 'No item is found by the sku "Zeppelin".'
    by_id = missing_link(preset_sync().step("invoices").evaluate(deal()).links[0], [])
    assert by_id.message == 'The company "c-1" that the record names is gone, or not visible to us.'
    assert by_id.next_step == "Name another company in the record, or make this one visible."


def test_the_catalogues_name_that_differs_in_case_and_signs_only_is_the_closest():
    link = link_of(preset_sync(), "gtx-plus pro")
    known = ["GTX Plus Prob", "GTX Plus Pro"]
    assert missing_link(link, known).message.endswith('The catalogue has "GTX Plus Pro".')
    assert missing_link(replace(link, value="ab c"), ["abc d", "A.B.C."]).message.endswith('has "A.B.C.".')


# Nothing but MappingError

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(),
    st.dates(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(dt.UTC))),
    st.text(max_size=20),
    st.sampled_from(["won", "GTXPro", "2017-03-01", "31/12/2017", "1.5", "NaN", "1e999", "+1 650 555 0123", "a@b.co"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["id", "name", "amount", "quantity", "email", "phone", "country", "line1"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)
names = ["name", "status", "amount", "closed_on", "source_id", "companies", "lines", "contact", "address"]
names += ["billing_address", "phone", "price", "sku", "state", "paid", "number", "last_payment_on"]
records = st.dictionaries(st.sampled_from(names), values)


def outcome(step: CompiledStep, record: Record) -> Mapped | MappingError:
    try:
        return step.evaluate(record)
    except MappingError as error:
        return error


@settings(max_examples=150, deadline=None)
@given(fields=records, name=st.sampled_from(["customers", "items", "invoices", "payments"]))
def test_whatever_stands_in_a_record_it_is_mapped_or_refused_with_a_sentence(fields: dict[str, Any], name: str):
    step = preset_sync().step(name)
    record = Record(step.from_kind, "r", fields=fields)
    assert step.selects(record) in {True, False}
    assert step.label(record)
    step.amount(record)
    step.currency(record)
    explained, found = step.explain(record), outcome(step, record)
    if isinstance(found, MappingError):
        assert found.message.endswith(".")
        assert found.next_step
        assert found.rule.startswith(f"steps.{name}.")
        assert len(found.message) < 300
        return
    assert not any(each.error for each in explained)
    if not is_record_update(step.to_kind):
        DOCUMENTS[step.to_kind].model_validate(with_links_resolved(found.fields))


@given(fields=records)
def test_evaluation_changes_nothing_and_gives_the_same_again(fields: dict[str, Any]):
    step, before = preset_sync().step("customers"), repr(fields)
    record = Record(Kind.COMPANY, "r", fields=fields)
    assert repr(outcome(step, record)) == repr(outcome(step, record))
    assert repr(fields) == before
