"""The simulator's OData: what Act! has, and a refusal of everything else."""

from __future__ import annotations

from typing import Any

import pytest

from tieout_sandbox.simulators.act.odata import QueryError, parse

FIELDS = frozenset({"id", "name", "edited", "price", "businessAddress", "companies", "isPrivate"})
A = "0016fe5c-94b1-5ba7-9f3e-413eb95849fd"
B = "006bd22b-1b5d-583a-96ff-980936140691"
ROWS: list[dict[str, Any]] = [
    {
        "id": A,
        "name": "Acme",
        "edited": "2026-03-01T08:00:00+00:00",
        "price": 5.5,
        "businessAddress": {"state": "CA"},
        "companies": [{"id": "x", "name": "Acme Ltd"}],
        "isPrivate": False,
    },
    {
        "id": B,
        "name": "O'Neil",
        "edited": "2026-03-01T10:00:00.5+01:00",
        "price": None,
        "businessAddress": None,
        "companies": [],
        "isPrivate": True,
    },
]


def found(**options: str) -> list[Any]:
    named = {f"${name}": value for name, value in options.items()}
    return parse(named, FIELDS, top_default=100, top_max=2).page(ROWS)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name eq 'ACME'", "A"),
        ("name ne 'acme'", "O"),
        ("name eq 'o''neil'", "O"),
        (f"id eq '{A}' or id eq {B}", "AO"),
        ("edited ge 2026-03-01T09:00:00Z", "O"),
        ("edited gt 2026-03-01T09:00:00.5Z", ""),
        ("edited eq 2026-03-01T10:00:00.5+01:00", "O"),
        ("edited lt 2026-03-01T09:00:00Z and price le 5.5", "A"),
        ("price gt -1", "A"),
        ("price lt 5.5", ""),
        ("price eq null", "O"),
        ("price ne null", "A"),
        ("price ne 7", "AO"),
        ("isPrivate eq true", "O"),
        ("businessAddress/state eq 'CA'", "A"),
        ("BusinessAddress/State eq 'CA'", "A"),
        ("contains(name,'cm')", "A"),
        ("startswith(name,'o')", "O"),
        ("endswith(name, 'il')", "O"),
        ("companies/any(c: c/name eq 'Acme Ltd' or c/id eq 'y')", "A"),
        ("name eq 'Acme' or name eq 'x' and name eq 'y'", "A"),
        ("(name eq 'Acme' or name eq 'x') and name eq 'y'", ""),
    ],
)
def test_filters(text, names):
    assert "".join(row["name"][0] for row in found(filter=text)) == names


@pytest.mark.parametrize(
    "options",
    [
        {"filter": "name"},
        {"filter": "name eq"},
        {"filter": "name eq 'x"},
        {"filter": "name eq 'x' 'y'"},
        {"filter": "name eq 'x' and"},
        {"filter": "(name eq 'x'"},
        {"filter": "not contains(name,'x')"},
        {"filter": "tolower(name) eq 'x'"},
        {"filter": "nme eq 'x'"},
        {"filter": "name in ('x','y')"},
        {"filter": "edited ge '2026-03-01T08:00:00Z'"},
        {"filter": "name ge 2026-03-01T08:00:00Z"},
        {"filter": "price gt null"},
        {"filter": "price gt 'x'"},
        {"filter": "companies/any(c: d/name eq 'x')"},
        {"filter": "(" * 60 + "name eq 'x'" + ")" * 60},
        {"orderby": "nme"},
        {"orderby": "name down"},
        {"select": "nme"},
        {"expand": "nme"},
        {"top": "-1"},
        {"skip": "x"},
        {"count": "true"},
        {"search": "x"},
    ],
)
def test_everything_else_is_refused(options):
    with pytest.raises(QueryError):
        found(**options)


def test_order_page_and_fields():
    assert [row["name"] for row in found(orderby="edited desc,id")] == ["O'Neil", "Acme"]
    assert [row["name"] for row in found(orderby="price,name desc")] == ["O'Neil", "Acme"]
    assert found(orderby="name", top="1", skip="1", select="id,price") == [{"id": B, "price": None}]
    assert len(found(top="500")) == 2, "more than the maximum is cut to it"
    assert found(expand="companies,businessAddress") == ROWS


def test_ids_are_looked_up_and_not_searched_for():
    def ids(text: str) -> object:
        query = parse({"$filter": text}, FIELDS, top_default=1, top_max=1)
        return query.filter.ids if query.filter is not None else None

    assert ids(f"id eq '{A}' or id eq '{B.upper()}'") == {A, B}
    assert ids(f"id eq '{A}' and name eq 'x'") == {A}
    assert ids(f"id eq '{A}' or name eq 'x'") is None
    assert ids(f"id gt '{A}'") is None
    assert ids("companies/any(c: c/id eq 'x')") is None
