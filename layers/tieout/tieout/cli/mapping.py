"""`tieout mapping`: what a sync document says, and how each value of a record comes to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tieout.cli.desk import Desk
from tieout.cli.documents import read_documents
from tieout.cli.talk import Answer, AnswerError, Code, plain, table
from tieout.domain.records import Record
from tieout.engine.backfill import source_of, sync_of, target_of
from tieout.mapping import ABSENT, CompiledStep, CompiledSync, Explained, LinkTo, compile_document, preset, presets
from tieout.mapping.document import Condition, Rule, Step, SyncDocument

if TYPE_CHECKING:
    from rich.console import RenderableType


def check(file: Path) -> Answer:
    """The steps of the sync documents in a file, in the order in which they run; needs no AWS.

    Raises:
        AnswerError: With every problem of the file.
    """
    syncs = [compile_document(document) for document in _documents(file)]

    def view() -> Iterator[RenderableType]:
        for sync in syncs:
            yield f"sync {sync.name} is right: {sync.source} to {sync.target}, steps {_names(sync)}."

    return Answer({"syncs": [{"name": sync.name, "steps": [step.name for step in sync.steps]} for sync in syncs]}, view)


def from_file(file: Path) -> list[CompiledSync]:
    """The syncs of a file."""
    return [compile_document(document) for document in _documents(file)]


def deployed(desk: Desk, name: str) -> list[CompiledSync]:
    """The running sync of this name."""
    return [sync_of(desk.deployment.config, desk.tenant, name)]


def show(syncs: list[CompiledSync]) -> Answer:
    """Each field of each step: where its value comes from, and what is done to it."""

    def view() -> Iterator[RenderableType]:
        for sync in syncs:
            yield f"Sync {sync.name}: {sync.source} to {sync.target}"
            for compiled in sync.steps:
                step = sync.document.steps[compiled.name]
                yield ""
                yield f"{compiled.name}: {step.from_} to {step.to}{_conditions(step)}"
                rows = table("Field", "From", "Then", "Otherwise")
                for row in _rows(step):
                    rows.add_row(*row.values())
                yield rows

    return Answer(
        {
            "syncs": [
                {
                    "name": sync.name,
                    "source": sync.source,
                    "target": sync.target,
                    "steps": {step.name: list(_rows(sync.document.steps[step.name])) for step in sync.steps},
                }
                for sync in syncs
            ]
        },
        view,
    )


def explain(desk: Desk, syncs: list[CompiledSync], record_id: str, *, only: str) -> Answer:
    """How each field of the record's documents gets its value, or why it does not.

    Its status is 1 if a field cannot be mapped.

    Raises:
        AnswerError: If no step reads a record of this id.
    """
    deployment = desk.deployment
    found: list[tuple[CompiledStep, Record]] = []
    for sync in syncs:
        for step in sync.steps:
            if only and step.name != only:
                continue
            side = source_of if step.reads == "source" else target_of
            connector = side(deployment.config, deployment.connect, deployment.clock, desk.tenant, sync)
            found += [(step, record) for record in connector.read(step.from_kind, [record_id])]
    if not found:
        raise AnswerError(
            f"No step reads a record {record_id}" + (f" in {only}." if only else "."),
            code=Code.NO,
            next_step="Give the id that the record has in its own system; steps: "
            + "; ".join(f"{sync.name}: {_names(sync)}" for sync in syncs),
        )
    explained = [(step, record, step.explain(record)) for step, record in found]
    failed = any(one.error is not None for _, _, fields in explained for one in fields)

    def view() -> Iterator[RenderableType]:
        for step, record, fields in explained:
            selected = "" if step.selects(record) else "  (not selected: the step's condition does not hold)"
            yield f"{step.name}: {record.kind} {record.id}, {step.label(record)}{selected}"
            rows = table("Field", "From", "Found", "Then", "Result")
            for one in fields:
                rows.add_row(*_explained(step, one).values())
            yield rows
            for one in fields:
                if one.error is not None:
                    yield f"  {one.error.message} {one.error.next_step}".rstrip()

    data = {
        "steps": [
            {
                "step": step.name,
                "kind": record.kind,
                "id": record.id,
                "label": step.label(record),
                "selected": step.selects(record),
                "fields": [_explained_data(one) for one in fields],
            }
            for step, record, fields in explained
        ],
    }
    return Answer(data, view, Code.NO if failed else Code.OK)


def preset_of(name: str) -> Answer:
    """The text of a preset, to start from; without a name, which there are."""
    if not name:
        return Answer({"presets": presets()}, lambda: iter(presets()))
    text = preset(name)
    return Answer({"name": name, "text": text}, lambda: iter([text.rstrip()]))


def _documents(file: Path) -> list[SyncDocument]:
    from tieout.connectors import provider  # noqa: PLC0415 - loads every connector

    documents = [one.document for one in read_documents([file], provider)]
    syncs = [document for document in documents if isinstance(document, SyncDocument)]
    if not syncs:
        raise AnswerError(f"There is no sync document in {file}.", code=Code.USAGE)
    return syncs


def _names(sync: CompiledSync) -> str:
    return ", ".join(step.name for step in sync.steps)


def _conditions(step: Step) -> str:
    parts = [f", if {_condition(step.when)}"] if step.when is not None else []
    if step.writes_back:
        parts.append(f", back to what {step.writes_back} came from")
    if step.two_way is not None:
        counts = "a person decides" if step.two_way == "ask" else f"the {step.two_way} counts"
        parts.append(f", and back; if both changed a field, {counts}")
    return "".join(parts)


def _condition(condition: Condition) -> str:
    for name, inner in (("and", condition.all_), ("or", condition.any_)):
        if inner is not None:
            return f" {name} ".join(_condition(one) for one in inner)
    if condition.not_ is not None:
        return f"not {_condition(condition.not_)}"
    given = condition.model_dump(by_alias=True, exclude_unset=True)
    path = given.pop("path", "")
    operator, value = next(iter(given.items()), ("", ""))
    return f"{path} {operator.replace('_', ' ')} {plain(value)}"


def _rows(step: Step) -> Iterator[dict[str, str]]:
    for name, rule in step.fields.items():
        yield from _rule_rows(name, rule)


def _rule_rows(name: str, rule: Rule) -> Iterator[dict[str, str]]:
    yield {"field": name, "from": _from(rule), "then": _then(rule), "otherwise": _otherwise(rule)}
    for inner, one in (rule.object_ or {}).items():
        yield from _rule_rows(f"  {name}.{inner}", one)
    for inner, one in (rule.fields or {}).items():
        yield from _rule_rows(f"  {name}[].{inner}", one)
    for number, one in enumerate(rule.list_ or []):
        yield from _rule_rows(f"  {name}[{number}]", one)


def _from(rule: Rule) -> str:
    if rule.path is not None:
        return rule.path
    if rule.paths is not None:
        return " or ".join(rule.paths)
    if rule.each is not None:
        return f"each of {rule.each}"
    if rule.object_ is not None or rule.list_ is not None:
        return ""
    return f'always "{plain(rule.constant)}"'


def _then(rule: Rule) -> str:
    parts = [one.name for one in rule.transforms or []]
    if rule.link is not None:
        parts.append(f"the {rule.link} with this {rule.by}")
    if rule.owner is not None:
        parts.append(f"owner: {rule.owner}")
    return ", ".join(parts)


def _otherwise(rule: Rule) -> str:
    if rule.has_default:
        return f"{plain(rule.default)}"
    return "parks" if rule.required else ""


def _explained(step: CompiledStep, one: Explained) -> dict[str, str]:
    return {
        "field": one.rule.removeprefix(f"steps.{step.name}.fields."),
        "path": one.path,
        "read": _word(one.read),
        "steps": ", ".join(f"{name}: {_word(value)}" for name, value in one.steps),
        "result": "PARKS" if one.error is not None else _word(one.result),
    }


def _explained_data(one: Explained) -> dict[str, Any]:
    error = one.error
    return {
        "rule": one.rule,
        "path": one.path,
        "found": one.read is not ABSENT,
        "read": _value(one.read),
        "steps": [{"name": name, "value": _value(value)} for name, value in one.steps],
        "given": one.result is not ABSENT,
        "result": _value(one.result),
        "error": None if error is None else {"message": error.message, "next_step": error.next_step},
    }


def _value(value: Any) -> Any:  # noqa: ANN401 - any value of a record
    if value is ABSENT:
        return None
    if isinstance(value, LinkTo):
        return {"step": value.step, "by": value.by, "value": value.value}
    return plain(value)


def _word(value: Any) -> str:  # noqa: ANN401 - any value of a record
    if value is ABSENT:
        return "(not there)"
    if value is None:
        return "(empty)"
    if isinstance(value, LinkTo):
        return f"the {value.to_kind} of {value.step} with {value.by} {value.value}"
    return str(plain(value))
