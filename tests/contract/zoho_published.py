"""Holds what goes to and comes from Zoho Books against the descriptions of its API that others published.

`tests/data/zoho_books/README.md` says where they come from, and their quirks; `BEYOND` and `UNPUBLISHED` name all that
is used without them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from tieout.ports.http import Answer, Http, Request

DATA = Path(__file__).parents[1] / "data" / "zoho_books"
_BASE = "{zoho_server_url}/books/v3/"
# Calls whose own description is not among the copies, and the operation whose body theirs has; empty for no body.
# `:tasks[]` is the form of one item of a list of that body, `:users` a body with that list alone.
# Source: www.zoho.com/books/api/v3, pages of contacts, items, estimates, invoices, credit notes, customer payments,
# projects, tasks, time entries, expenses and users, read 2026-11-22.
UNPUBLISHED = {
    ("PUT", "invoices"): "CreateCustomerInvoice",
    ("PUT", "invoices/{id}"): "CreateCustomerInvoice",
    ("GET", "estimates"): "",
    ("GET", "estimates/{id}"): "",
    ("PUT", "estimates"): "CreateCustomerInvoice",
    ("PUT", "estimates/{id}"): "CreateCustomerInvoice",
    ("POST", "estimates/{id}/status/sent"): "",
    ("POST", "estimates/{id}/status/accepted"): "",
    ("POST", "estimates/{id}/status/declined"): "",
    ("GET", "users"): "",
    ("GET", "projects/{id}"): "",
    ("PUT", "projects"): "CreateProject",
    ("PUT", "projects/{id}"): "CreateProject",
    ("POST", "projects/{id}/active"): "",
    ("POST", "projects/{id}/inactive"): "",
    ("POST", "projects/{id}/tasks"): "CreateProject:tasks[]",
    ("POST", "projects/{id}/users"): "CreateProject:users",
    ("PUT", "projects/timeentries/{id}"): "LogTimeEntries",
    ("PUT", "expenses"): "CreateExpense",
    ("PUT", "expenses/{id}"): "CreateExpense",
    ("PUT", "creditnotes"): "CreateCreditNote",
    ("PUT", "creditnotes/{id}"): "CreateCreditNote",
    ("PUT", "customerpayments"): "CreateCustomerPayment",
    ("POST", "invoices/{id}/status/sent"): "",
    ("POST", "invoices/{id}/status/void"): "",
    ("POST", "contacts/{id}/active"): "",
    ("POST", "items/{id}/active"): "",
    ("POST", "items/{id}/inactive"): "",
}
# What Zoho takes though its description of the body, or of the list, leaves it out.
BEYOND: Mapping[str, frozenset[str]] = {
    # The form's own example has it; without it a line would have no amount.
    "CreateCreditNote": frozenset({"line_items.rate", "line_items.line_item_id", "discount", "discount_type",
                                   "is_discount_before_tax"}),
    "CreateCustomerInvoice": frozenset({"line_items.line_item_id"}),
    # www.zoho.com/books/api/v3/estimates: what an estimate's body has and an invoice's has not.
    "estimates": frozenset({"estimate_number", "expiry_date"}),
    # Needed for the update by a custom field, which is documented for projects.
    "CreateProject": frozenset({"custom_fields"}),
    # Documented for invoices; connectors of others use it for these.
    "ListExpenses": frozenset({"last_modified_time"}),
    "ListCreditNotes": frozenset({"last_modified_time", "sort_order"}),
    "ListCustomerPayments": frozenset({"last_modified_time"}),
    # www.zoho.com/books/api/v3/pagination names it for all lists.
    "RetrieveContactList": frozenset({"sort_order"}),
    "GetInvoiceList": frozenset({"sort_order"}),
}  # fmt: skip
# How the custom field is named in a body; the descriptions show its index, id or label.
_CUSTOM_FIELD = {"api_name", "value"}
# Names that `required` repeats from inside a list.
_REPEATED = frozenset({"invoice_id", "amount_applied"})
# Asked before an organisation is known, so without one; the description repeats what it says of all calls.
_WITHOUT_ORGANIZATION = frozenset({"ListOrganizations"})
# Described as a number in one sentence with `12.5%`.
_TEXT_OR_NUMBER = frozenset({"discount"})
_VARIANTS = re.compile(r"_(startswith|contains)$")
_LENGTH = re.compile(r"(?:Max-length \[|Maximum length is )(\d+)", re.IGNORECASE)


@cache
def operations() -> dict[str, dict[str, Any]]:
    """By name."""
    paths = sorted((DATA / "operations").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


@cache
def row_schemas() -> dict[str, dict[str, Any]]:
    """What a row of a list, and where it stands, look like."""
    held = YAML(typ="safe").load((DATA / "openapi-zoho-books-subset.yaml").read_text(encoding="utf-8"))
    schemas = held["components"]["schemas"]
    context = schemas["ContactList"]["properties"]["page_context"]
    return {"contacts": schemas["ContactInfo"], "invoices": schemas["InvoiceInfo"], "page_context": context}


class Judged:
    """Between the connector and the wire: every call is held against the descriptions.

    Attributes:
        problems: What was wrong, each with its call.
        judged: Calls that have a description, by its name.
        unpublished: Calls that have none.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        self.problems: list[str] = []
        self.judged: set[str] = set()
        self.unpublished: set[tuple[str, str]] = set()

    def send(self, request: Request) -> Answer:
        path = urlsplit(request.url).path
        answer = self._http.send(request)
        if path.startswith("/books/v3/"):
            self._judge(request, path.removeprefix("/books/v3/"))
            if answer.status < 300:
                self.problems += [f"{request.method} {path}: {each}" for each in wrong_in_answer(answer.json())]
        return answer

    def _judge(self, request: Request, path: str) -> None:
        template = re.sub(r"(?<=/)\d+(?=/|$)", "{id}", path)
        upserts = "X-Unique-Identifier-Key" in request.headers
        name = next((name for name, one in operations().items() if _fits(one, request.method, template)), None)
        body = json.loads(request.body) if request.body is not None else None
        call = f"{request.method} {template}"
        if name is None and (request.method, template) not in UNPUBLISHED:
            self.problems.append(f"{call}: nobody described it")
            return
        if name is None:
            self.unpublished.add((request.method, template))
            name_of_body = UNPUBLISHED[request.method, template]
        else:
            self.judged.add(name)
            name_of_body = name
            self.problems += [f"{call}: {each}" for each in wrong_parameters(name, request)]
        if upserts and request.headers.keys() < {"X-Unique-Identifier-Value", "X-Upsert"}:
            self.problems.append(f"{call}: headers of the update by a custom field are missing")
        if not request.params.get("organization_id") and name not in _WITHOUT_ORGANIZATION:
            self.problems.append(f"{call}: no organisation")
        described = name_of_body and operations()[name_of_body.partition(":")[0]].get("request_body_spec")
        if (body is not None) != bool(described):
            self.problems.append(f"{call}: a body where there is none, or none where one is")
        elif body is not None:
            module = template.partition("/")[0]
            self.problems += [f"{call}: {each}" for each in wrong_in_body(name_of_body, body, module)]


def wrong_parameters(name: str, request: Request) -> Iterator[str]:
    """What the description of the operation does not know, or misses, among the parameters."""
    described = {each["name"]: each for each in operations()[name]["parameters"]}
    for each in described.values():
        given = request.params if each["accepted_as"] == "query" else request.headers
        needed = each["required"] and each["accepted_as"] in {"query", "header"} and name not in _WITHOUT_ORGANIZATION
        if needed and each["name"] not in given:
            yield f"the parameter {each['name']} is missing"
    for asked, value in request.params.items():
        column = _VARIANTS.sub("", asked)
        if column not in described and asked not in BEYOND.get(name, ()):
            yield f"unknown parameter {asked}"
        elif column != asked and asked not in described[column]["description"]:
            yield f"unknown variant {asked}"
        elif asked == "sort_column" and value not in described[asked]["description"]:
            yield f"cannot be sorted by {value}"


def wrong_in_body(name: str, body: object, module: str = "") -> Iterator[str]:
    """Where the body leaves the operation's schema, or that of a part of it."""
    operation, _, part = name.partition(":")
    spec = operations()[operation]["request_body_spec"]["content"]["application/json"]["schema"]
    if part.endswith("[]"):
        spec = spec["properties"][part.removesuffix("[]")]["items"]
    elif part:
        spec = {"type": "object", "properties": {part: spec["properties"][part]}}
    yield from _wrong(body, spec, "", BEYOND.get(operation, frozenset()) | BEYOND.get(module, frozenset()))


def wrong_in_answer(content: Any) -> Iterator[str]:
    """Where a list leaves what is published of it, and an answer Zoho's own form."""
    if content.get("code") != 0 or not isinstance(content.get("message"), str):
        yield "no code and message"
    if "page_context" in content:
        yield from _wrong(content["page_context"], row_schemas()["page_context"], "page_context", None)
    for name in ("contacts", "invoices"):
        for row in content.get(name, ()):
            yield from _wrong(row, row_schemas()[name], name, None)


def _wrong(value: Any, schema: Mapping[str, Any], path: str, beyond: frozenset[str] | None) -> Iterator[str]:
    """Where a value leaves its schema; with `beyond`, properties that neither knows are wrong."""
    kind = schema.get("type")
    if kind == "object" and isinstance(value, dict):
        yield from _wrong_properties(value, schema, path, beyond)
    elif path == "custom_fields" and beyond is not None:
        if any(set(each) != _CUSTOM_FIELD for each in value):
            yield "custom_fields are of another form"
    elif kind == "array" and isinstance(value, list):
        for each in value:
            yield from _wrong(each, schema["items"], path, beyond)
    elif not _is(value, str(kind), path):
        yield f"{path} is no {kind}: {value!r}"
    elif isinstance(value, str):
        length = _LENGTH.search(schema.get("description", ""))
        if length is not None and len(value) > int(length[1]):
            yield f"{path} is longer than {length[1]}"


def _wrong_properties(
    value: Mapping[str, Any], schema: Mapping[str, Any], path: str, beyond: frozenset[str] | None
) -> Iterator[str]:
    for needed in schema.get("required", ()):
        if beyond is not None and needed not in value and needed not in _REPEATED:
            yield f"{path}.{needed} is missing"
    known = schema.get("properties", {})
    for name, held in value.items():
        inner = f"{path}.{name}".lstrip(".")
        if name in known:
            yield from _wrong(held, known[name], inner, beyond)
        elif beyond is not None and inner not in beyond:
            yield f"{inner} is unknown"


def _is(value: object, kind: str, path: str) -> bool:
    name = path.rpartition(".")[2]
    if kind == "string":
        return isinstance(value, str)
    if kind == "integer" and name.endswith("_id"):
        return isinstance(value, str) and value.isdigit()
    if name in _TEXT_OR_NUMBER and isinstance(value, str):
        return re.fullmatch(r"\d+(\.\d+)?%", value) is not None
    if kind == "integer" and name == "quantity":  # an integer for credit notes, a number for invoices
        kind = "number"
    wanted = {"integer": int, "number": (int, float), "boolean": bool}.get(kind)
    return wanted is not None and isinstance(value, wanted) and (kind == "boolean" or not isinstance(value, bool))


def _fits(operation: Mapping[str, Any], method: str, template: str) -> bool:
    url = re.sub(r"\{(?!zoho_server_url)\w+\}", "{id}", operation["url"])
    return bool(operation["method"] == method and url == _BASE + template)
