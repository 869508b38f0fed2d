"""Checks: every problem of a document at once, each with its place, its line and a suggestion.

First the shape (`document`), then the sense. A part whose shape is wrong is set aside, so that the sense of the rest
is checked all the same and nothing is reported that only follows from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from graphlib import CycleError
from typing import cast

from pydantic import ValidationError

from tieout.domain.records import Kind, Shape, Value
from tieout.mapping.compile import step_order
from tieout.mapping.document import DOCUMENT_KINDS, AnyDocument, Condition, Rule, Step, SyncDocument
from tieout.mapping.evaluate import fitting, words, written_value
from tieout.mapping.parse import Parsed, parse
from tieout.mapping.paths import RECORD, parse_path
from tieout.mapping.problems import DocumentError, DocumentProblem, Location, capitalised, did_you_mean, spelled
from tieout.mapping.shape import ShapeProblems, line_of
from tieout.mapping.targets import ANYTHING, Target, Type, is_record_update, source_shape, target_fields
from tieout.mapping.transforms import RefusedError


def parse_documents(text: str) -> list[AnyDocument]:
    """The documents of a YAML file, checked.

    Raises:
        DocumentError: With every problem of every document.
    """
    problems: list[DocumentProblem] = []
    documents: list[AnyDocument] = []
    for parsed in parse(text):
        document, found = _document(parsed)
        problems += found
        if document is not None:
            documents.append(document)
    if problems:
        raise DocumentError(problems)
    return documents


def _document(parsed: Parsed) -> tuple[AnyDocument | None, list[DocumentProblem]]:
    if not isinstance(parsed.data, dict) or "kind" not in parsed.data:
        message = "A document begins with its kind: `kind: sync` or `kind: connection`."
        return None, [DocumentProblem("", message, line=parsed.lines[()])]
    kind = parsed.data["kind"]
    model = DOCUMENT_KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        message = f"`{kind}` is no kind of document."
        return None, [DocumentProblem("kind", message, did_you_mean(str(kind), DOCUMENT_KINDS), parsed.lines["kind",])]
    try:
        document = model.written(parsed.data, parsed.text)
    except ValidationError as error:
        shape = ShapeProblems(model, parsed)
        return None, shape.problems(error) + _sense_of_the_rest(shape, error, parsed)
    return document, _sense(document, parsed.lines)


def _sense_of_the_rest(shape: ShapeProblems, error: ValidationError, parsed: Parsed) -> list[DocumentProblem]:
    """The problems of a sync without the parts whose shape is wrong; none if too little is left."""
    data = deepcopy(parsed.data)
    shape.set_aside(error, data)
    try:
        document = SyncDocument.model_validate({"name": "x", "source": "x", "target": "y", **data})
    except ValidationError:
        return []
    return _sense(document, parsed.lines, parsed.data["steps"])


def _sense(document: AnyDocument, lines: Mapping[Location, int], steps: Collection[str] = ()) -> list[DocumentProblem]:
    """`steps`: names of steps, those set aside too."""
    return list(_Sense(document, lines, steps).problems()) if isinstance(document, SyncDocument) else []


class _Sense:
    """What a document of the right shape says that cannot be meant."""

    def __init__(self, document: SyncDocument, lines: Mapping[Location, int], steps: Collection[str]) -> None:
        self._document = document
        self._lines = lines
        self._names = sorted({*document.steps, *steps})

    def problems(self) -> Iterator[DocumentProblem]:
        """All of them."""
        document = self._document
        if document.source == document.target:
            yield self._problem(("target",), "Source and target are the same connection.")
        for name, step in document.steps.items():
            yield from self._step(("steps", name), step)
        try:
            step_order(document)
        except CycleError as error:
            circle = [str(name) for name in error.args[1]]
            way = " → ".join(f"`{name}`" for name in reversed(circle))
            yield self._problem(("steps", circle[0]), f"The steps wait for each other: {way}.", "Remove one `link`.")

    def _problem(self, at: Location, message: str, suggestion: str = "") -> DocumentProblem:
        return DocumentProblem(spelled(at), message, suggestion, line_of(self._lines, at))

    # A step

    def _step(self, at: Location, step: Step) -> Iterator[DocumentProblem]:
        yield from self._direction(at, step)
        yield from self._withdrawing(at, step)
        yield from self._two_way(at, step)
        shape = source_shape(step.from_)
        for kind, path in step.also_on.items():
            here = (*at, "also_on", kind.value)
            if kind is step.from_:
                yield self._problem(here, f"A changed {words(kind)} concerns itself: this line is not needed.")
            yield from self._path(here, path, source_shape(kind), source_shape(kind), _a(kind))
        if step.when is not None:
            yield from self._condition((*at, "when"), step.when, shape, step.from_)
        for name, type_ in (("label", "text"), ("amount", "number"), ("currency", "text")):
            rule = getattr(step, name)
            if rule is not None:
                yield from self._rule((*at, name), rule, Target(type_), shape, step)  # type: ignore[arg-type]  # the three names above
        if is_record_update(step.to):
            yield from self._updates((*at, "fields"), step, shape)
        else:
            yield from self._fields((*at, "fields"), step.fields, target_fields(step.to), shape, step)

    def _withdrawing(self, at: Location, step: Step) -> Iterator[DocumentProblem]:
        if step.to is Kind.INVOICE:
            return
        for name in ("on_leave", "on_delete"):
            if getattr(step, name) == "withdraw":
                yield self._problem(
                    (*at, name),
                    f"Only invoices are withdrawn: Tieout deletes nothing, and {_a(step.to)} cannot be voided.",
                    f"Write `{name}: park`, and a person decides, or `{name}: keep`.",
                )

    def _two_way(self, at: Location, step: Step) -> Iterator[DocumentProblem]:
        here = (*at, "two_way")
        if step.two_way is not None and step.writes_back is not None:
            yield self._problem(
                here, "A step that writes back goes one way, from the target to the source.", "Remove `two_way`."
            )
        elif step.two_way is not None and (step.from_ not in _BOTH_WAYS or step.to is not Kind.CUSTOMER):
            yield self._problem(
                here,
                f"Only companies and contacts that are customers go both ways: {_a(step.to)} is not written back to "
                f"{_a(step.from_)}.",
                "Remove `two_way`; what the books know of it comes back by a step with `writes_back`.",
            )
        if step.two_way is None and "flaps_max" in step.model_fields_set:
            yield self._problem((*at, "flaps_max"), "`flaps_max` belongs to `two_way`.", "Remove it.")
        for name, rule in step.fields.items():
            yield from self._owners((*at, "fields", name), rule, step)
        for name in ("label", "amount", "currency"):
            rule = getattr(step, name)
            if rule is not None and rule.owner is not None:
                yield self._problem((*at, name, "owner"), f"`{name}` is not written, so it has no owner.", "Remove it.")

    def _owners(self, at: Location, rule: Rule, step: Step, *, in_list: bool = False) -> Iterator[DocumentProblem]:
        """An owner that decides nothing: without `two_way`, or inside a list, which is taken whole."""
        if rule.owner not in (None, "source") and step.two_way is None:
            yield self._problem(
                (*at, "owner"),
                f"`owner: {rule.owner}` belongs to a step that has `two_way`: in this one the source always counts.",
                "Add `two_way: ask` to the step, or remove `owner`.",
            )
        elif rule.owner is not None and in_list:
            yield self._problem((*at, "owner"), "A list is taken whole: its fields have no owners.", "Remove it.")
        for name, inner in (rule.object_ or {}).items():
            yield from self._owners((*at, "object", name), inner, step, in_list=in_list)
        for name, inner in (rule.fields or {}).items():
            yield from self._owners((*at, "fields", name), inner, step, in_list=True)
        for number, inner in enumerate(rule.list_ or []):
            yield from self._owners((*at, "list", number), inner, step, in_list=True)

    def _direction(self, at: Location, step: Step) -> Iterator[DocumentProblem]:
        if step.writes_back is None:
            if is_record_update(step.to):
                books = [kind.value for kind in Kind if not is_record_update(kind)]
                yield self._problem(
                    (*at, "to"),
                    f"A {words(step.to)} is only updated, by a step that has `writes_back`.",
                    f"Can be written: {', '.join(f'`{kind}`' for kind in books)}.",
                )
            return
        here = (*at, "writes_back")
        other = self._document.steps.get(step.writes_back)
        if other is None:
            if step.writes_back not in self._names:
                yield self._unknown_step(here, step.writes_back)
            return
        if other.writes_back is not None:
            yield self._problem(here, f"The step `{step.writes_back}` writes back itself.")
            return
        if step.from_ is not other.to:
            yield self._problem(
                (*at, "from"),
                f"This step reads what `{step.writes_back}` wrote, and that is `{other.to.value}`.",
                f"Write `from: {other.to.value}`.",
            )
        if step.to is not other.from_:
            yield self._problem(
                (*at, "to"),
                f"This step writes to what `{step.writes_back}` read, and that is `{other.from_.value}`.",
                f"Write `to: {other.from_.value}`.",
            )

    def _unknown_step(self, at: Location, name: str) -> DocumentProblem:
        return self._problem(at, f"There is no step `{name}`.", did_you_mean(name, self._names))

    def _updates(self, at: Location, step: Step, shape: Shape) -> Iterator[DocumentProblem]:
        """The fields of a record that is updated by path."""
        record = source_shape(step.to)
        for name, rule in step.fields.items():
            here = (*at, name)
            try:
                parse_path(name)
            except ValueError as error:
                yield self._problem(here, f"{error}.")
                continue
            yield from self._path(here, name, record, record, _a(step.to))
            yield from self._rule(here, rule, ANYTHING, shape, step)

    # Fields and rules

    def _fields(
        self,
        at: Location,
        rules: Mapping[str, Rule],
        targets: Mapping[str, Target],
        shape: Shape,
        step: Step,
    ) -> Iterator[DocumentProblem]:
        for name, rule in rules.items():
            target = targets.get(name)
            if target is None:
                whose = words(step.to)
                yield self._problem((*at, name), f"`{name}` is no field of this {whose}.", did_you_mean(name, targets))
            yield from self._rule((*at, name), rule, target or ANYTHING, shape, step)
        missing = [name for name, target in targets.items() if target.required and name not in rules]
        for name in missing:
            yield self._problem(
                at, f"There is no rule for `{name}`, which is always needed.", f"Add `{name}: {{path: …}}`."
            )

    def _rule(self, at: Location, rule: Rule, target: Target, shape: Shape, step: Step) -> Iterator[DocumentProblem]:
        if rule.link is not None:
            yield from self._link((*at, "link"), rule, step)
        yield from self._parameter_paths(at, rule, shape, step)
        if rule.object_ is not None:
            if target.type not in {"object", "any"}:
                yield self._problem(at, f"{_needed(target)}, and `object` makes a group of fields.")
                target = ANYTHING
            if target.type == "object":
                yield from self._fields((*at, "object"), rule.object_, target.fields, shape, step)
            else:
                for name, inner in rule.object_.items():
                    yield from self._rule((*at, "object", name), inner, ANYTHING, shape, step)
        elif rule.each is not None:
            yield from self._each(at, rule, target, shape, step)
        elif rule.list_ is not None:
            yield from self._list(at, rule, target, shape, step)
        else:
            yield from self._value(at, rule, target, shape, step)

    def _each(self, at: Location, rule: Rule, target: Target, shape: Shape, step: Step) -> Iterator[DocumentProblem]:
        if target.type not in {"list", "any"}:
            yield self._problem(at, f"{_needed(target)}, and `each` makes a list.")
            target = ANYTHING
        problems = list(self._path((*at, "each"), rule.each or "", shape, source_shape(step.from_), _a(step.from_)))
        yield from problems
        found = self._found(rule.each or "", shape, step)
        item: Shape = "any" if isinstance(found, str | Mapping) else found[0]
        if not problems and _type_of(found) not in {"any", "list"}:
            yield self._problem((*at, "each"), f"`{rule.each}` is no list.")
        fields = rule.fields or {}
        if target.type == "list":
            yield from self._fields((*at, "fields"), fields, target.fields, item, step)
        else:
            for name, inner in fields.items():
                yield from self._rule((*at, "fields", name), inner, ANYTHING, item, step)

    def _list(self, at: Location, rule: Rule, target: Target, shape: Shape, step: Step) -> Iterator[DocumentProblem]:
        joined = any(each.name == "join" for each in rule.transforms or [])
        if target.type not in {"list", "any"} and not joined:
            yield self._problem(at, f"{_needed(target)}, and this is a list.", "Add `join` to its transforms.")
            target = ANYTHING
        item = Target("object", fields=target.fields) if target.type == "list" else ANYTHING
        for number, inner in enumerate(rule.list_ or []):
            yield from self._rule((*at, "list", number), inner, item, shape, step)

    def _value(self, at: Location, rule: Rule, target: Target, shape: Shape, step: Step) -> Iterator[DocumentProblem]:
        problems: list[DocumentProblem] = []
        places = [((*at, "paths", number), path) for number, path in enumerate(rule.paths or [])]
        for here, path in [((*at, "path"), rule.path)] if rule.path is not None else places:
            problems += self._path(here, path, shape, source_shape(step.from_), _a(step.from_))
        yield from problems
        if rule.has_default and rule.default is not None and rule.link is None:
            yield from self._fits((*at, "default"), rule.default, target)
        given = {"path", "paths"} & rule.model_fields_set
        if not given and rule.constant is not None and not rule.transforms and rule.link is None:
            yield from self._fits((*at, "constant"), rule.constant, target)
        yield from self._table(at, rule, target)
        if not problems and given:
            yield from self._type(at, rule, target, shape, step)

    def _fits(self, at: Location, value: Value, target: Target) -> Iterator[DocumentProblem]:
        if target.type in {"object", "list"}:
            yield self._problem(at, f"{_needed(target)}, and this is one value.")
            return
        try:
            fitting(target)(written_value(value, target))
        except RefusedError as refused:
            known = did_you_mean(str(value), target.choices) if target.choices else ""
            yield self._problem(at, capitalised(refused.message), known)

    def _table(self, at: Location, rule: Rule, target: Target) -> Iterator[DocumentProblem]:
        """The values of a closing lookup table, where the field takes only some."""
        last = rule.transforms[-1].lookup if rule.transforms else None
        if last is None or last.table is None or target.type != "choice":
            return
        here = (*at, "transforms", len(rule.transforms or []) - 1, "lookup", "table")
        for key, value in last.table.items():
            if value is not None:
                yield from self._fits((*here, key), value, target)

    def _type(self, at: Location, rule: Rule, target: Target, shape: Shape, step: Step) -> Iterator[DocumentProblem]:
        found = {_type_of(self._found(path, shape, step)) for path in rule.paths or [rule.path or ""]}
        type_: Type = found.pop() if len(found) == 1 else "any"
        for transform in rule.transforms or []:
            params = transform.chosen
            if type_ == "object":
                break
            if params.gives == "same" or getattr(params, "otherwise", "error") == "keep":
                type_ = "any"
            elif type_ != "list" or transform.name == "join":
                type_ = params.gives
        if rule.link is not None and target.type not in {"text", "any"}:
            yield self._problem((*at, "link"), f"{_needed(target)}, and `link` gives the id of a record.")
        elif rule.link is None and type_ not in _TAKES[target.type]:
            source = rule.path or ", ".join(rule.paths or [])
            suggestion = _MENDS.get((type_, target.type), "")
            if type_ == "list":
                suggestion = "Take one with `[0]`, or make one text of them with `join`."
            yield self._problem(at, f"{_needed(target)}, and `{source}` is {_SAID[type_]}.", suggestion)

    def _link(self, at: Location, rule: Rule, step: Step) -> Iterator[DocumentProblem]:
        if step.writes_back is not None:
            yield self._problem(at, "A step that writes back has no links.")
            return
        other = self._document.steps.get(rule.link or "")
        if other is None:
            if rule.link not in self._names:
                yield self._unknown_step(at, rule.link or "")
        elif other.writes_back is not None:
            yield self._problem(at, f"The step `{rule.link}` writes back: it has nothing to link to.")
        elif rule.by not in source_shape(other.from_):
            known = [name for name in ("id", "name", "sku", "email") if name in source_shape(other.from_)]
            yield self._problem(
                (*at[:-1], "by"), f"{capitalised(_a(other.from_))} has no `{rule.by}`.", did_you_mean(rule.by, known)
            )

    def _parameter_paths(self, at: Location, rule: Rule, shape: Shape, step: Step) -> Iterator[DocumentProblem]:
        """Paths that stand in transforms."""
        for number, transform in enumerate(rule.transforms or []):
            for name, value in transform.chosen.model_dump(exclude_none=True).items():
                if name.endswith("_path"):
                    here = (*at, "transforms", number, transform.name, name)
                    yield from self._path(here, value, shape, source_shape(step.from_), _a(step.from_))

    # Paths and conditions

    def _condition(self, at: Location, condition: Condition, shape: Shape, kind: Kind) -> Iterator[DocumentProblem]:
        for name, group in (("all", condition.all_), ("any", condition.any_)):
            for number, inner in enumerate(group or []):
                yield from self._condition((*at, name, number), inner, shape, kind)
        if condition.not_ is not None:
            yield from self._condition((*at, "not"), condition.not_, shape, kind)
        if condition.path is None:
            return
        unknown = list(self._path((*at, "path"), condition.path, shape, shape, _a(kind)))
        yield from unknown
        compared = condition.greater_than is not None or condition.less_than is not None
        type_ = _type_of(_walk(condition.path, shape, shape)[0])
        if compared and not unknown and type_ not in {"number", "list", "any"}:
            yield self._problem(at, f"`{condition.path}` is {_SAID[type_]}, which cannot be compared as a number.")

    def _found(self, path: str, shape: Shape, step: Step) -> Shape:
        return _walk(path, shape, source_shape(step.from_))[0]

    def _path(self, at: Location, path: str, shape: Shape, record: Shape, whose: str) -> Iterator[DocumentProblem]:
        _, unknown, known = _walk(path, shape, record)
        if unknown:
            where = "" if path == unknown else f" (in `{path}`)"
            yield self._problem(at, f"{capitalised(whose)} has no `{unknown}`{where}.", did_you_mean(unknown, known))


def _walk(path: str, shape: Shape, record: Shape) -> tuple[Shape, str, list[str]]:
    """What stands at the path in the shape; if nothing can, the part that is not known and those that are.

    A path that begins with `record` is followed in the shape of the whole record.
    """
    parts = parse_path(path).parts
    if parts[0] == RECORD:
        shape, parts = record, parts[1:]
    many = False
    for part in parts:
        if shape == "any":
            return "any", "", []
        if isinstance(part, str):
            if not isinstance(shape, Mapping) or part not in shape:
                return "any", part, list(shape) if isinstance(shape, Mapping) else []
            shape = shape[part]
        elif isinstance(shape, str | Mapping):
            return "any", "[*]" if part is None else f"[{part}]", []
        else:
            shape, many = shape[0], many or part is None
    return [shape] if many else shape, "", []


def _type_of(shape: Shape) -> Type:
    if isinstance(shape, str):
        return cast("Type", shape)
    return "object" if isinstance(shape, Mapping) else "list"


_TAKES: Mapping[Type, frozenset[str]] = {
    "text": frozenset({"text", "number", "date", "any"}),
    "number": frozenset({"number", "any"}),
    "date": frozenset({"date", "any"}),
    "flag": frozenset({"flag", "any"}),
    "choice": frozenset({"text", "any"}),
    "object": frozenset({"object", "any"}),
    "list": frozenset({"list", "any"}),
    "any": frozenset({"text", "number", "date", "flag", "choice", "object", "list", "any"}),
}
_SAID: Mapping[str, str] = {
    "text": "text",
    "number": "a number",
    "date": "a date",
    "flag": "yes or no",
    "choice": "one of a few words",
    "object": "a group of fields",
    "list": "a list",
    "any": "anything",
}
_MENDS: Mapping[tuple[str, str], str] = {
    ("text", "number"): "Add `number` to its transforms.",
    ("text", "date"): "Add `date` to its transforms.",
    ("text", "flag"): "Add a `lookup` whose table gives `true` and `false`.",
}


_BOTH_WAYS = frozenset({Kind.COMPANY, Kind.CONTACT})


def _needed(target: Target) -> str:
    return f"{capitalised(_SAID[target.type])} is needed here"


def _a(kind: Kind) -> str:
    said = words(kind)
    return f"an {said}" if said[0] in "aeiou" else f"a {said}"
