"""The examples of docs/mapping.md are true, and no transform is left out."""

import datetime as dt
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tieout.domain.records import Kind, Record, Value
from tieout.mapping import CompiledStep, ConnectionDocument, Explained, compile_sync, parse_documents
from tieout.mapping.parse import parse
from tieout.mapping.transforms import TRANSFORMS

GUIDE = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(?P<transform>[^`]+)` \| `(?P<of>[^`]+)` \| (?P<gives>.+) \|$", GUIDE, re.MULTILINE)


def block(kind: str) -> str:
    found = re.search(rf"^```yaml {kind}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def read(text: str) -> Any:
    return parse(f"value: {text}")[0].data["value"]


def explained(field: str, transform: str, value: Value) -> tuple[Explained, CompiledStep, Record]:
    step = compile_sync(f"""
kind: sync
name: example
source: crm
target: books
steps:
  one:
    from: company
    to: customer
    fields:
      name: {{constant: x}}
      {field}: {{path: custom_fields.value, transforms: [{transform}]}}
""").step("one")
    [parsed] = parse(block("record"))
    record = Record(
        Kind.COMPANY, "c", fields={**parsed.data, "custom_fields": {**parsed.data["custom_fields"], "value": value}}
    )
    return step.explain(record)[1], step, record


def test_every_transform_has_an_example():
    shown = {match[0] for transform, _, _ in ROWS if (match := re.search(r"[a-z_]+", transform))}
    assert shown == set(TRANSFORMS)


@pytest.mark.parametrize(("transform", "of", "gives"), ROWS)
def test_an_example_of_a_transform_is_true(transform: str, of: str, gives: str):
    field = "active" if gives in {"`true`", "`false`"} else "note"
    found, step, record = explained(field, transform, read(of))
    if gives.startswith("parked: "):
        assert found.error is not None
        assert found.error.message.startswith(f"Customer note: {gives.removeprefix('parked: ')}")
        return
    match = re.fullmatch(r"`(?P<value>.+)`(?P<notice> \(with a notice\))?", gives)
    assert match is not None
    expected, result = read(match["value"]), found.steps[0][1]
    assert (result.isoformat() if isinstance(result, dt.date) else result) == expected
    assert isinstance(result, Decimal) or not isinstance(expected, int | Decimal) or isinstance(expected, bool)
    assert bool(step.evaluate(record).notices) is (match["notice"] is not None)


def test_the_whole_document_and_the_connection_are_without_error():
    assert [step.name for step in compile_sync(block("sync")).steps] == ["customers", "items", "invoices", "payments"]
    [connection] = parse_documents(block("connection"))
    assert isinstance(connection, ConnectionDocument)
    assert connection.provider == "quickbooks_online"


def test_the_condition_is_without_error():
    condition = block("condition").replace("\n", "\n      ")
    text = block("sync").replace("when: {path: status, equals: won}", f"when:\n      {condition}")
    assert text != block("sync")
    assert compile_sync(text).step("invoices").selects(Record(Kind.DEAL, "d", fields={"status": "won"}))


def test_the_errors_shown_are_errors_of_the_broken_document():
    shown = re.search(r"^```text\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert set(shown[1].splitlines()) <= set((Path(__file__).parent / "broken.txt").read_text("utf-8").splitlines())
