"""Compilation: a checked document becomes functions, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from graphlib import TopologicalSorter
from typing import Literal

from tieout.domain.errors import MappingError
from tieout.domain.records import Kind, Record, Value
from tieout.mapping.conditions import Test, compile_condition
from tieout.mapping.document import Matching, Rule, Step, SyncDocument
from tieout.mapping.evaluate import (
    Each,
    Evaluated,
    Explained,
    Group,
    Leaf,
    LinkTo,
    Listed,
    Mapped,
    Reader,
    Scope,
    fields_of,
    fitting,
    read_constant,
    read_first,
    read_item,
    read_path,
    words,
    written_value,
)
from tieout.mapping.paths import ABSENT, Found, Path, is_list, parse_path
from tieout.mapping.reverse import Way, Winner, owners_of, ways_of
from tieout.mapping.targets import ANYTHING, Target, target_fields
from tieout.mapping.transforms import is_number

_TEXT = Target("text")
_NUMBER = Target("number")
LABEL_LENGTH_MAX = 120
CREDIT_NOTE = ".credit_note"  # no document can name a step like that


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """One step, ready to evaluate records.

    Attributes:
        reads: The side that records come from.
        also_on: Kinds whose changes concern records of this step, and the path where those name their ids.
        pairs: None, or the step whose links say which record on the other side is meant: this step writes back.
        links_to: Steps whose records must stand first.
        on_leave, on_delete: What happens if a record that was written is no longer selected, or is deleted.
        if_paid: What withdrawing does with a document that is paid, in part too.
        two_way: None, or whose value counts if both sides changed a field that has no owner.
        flaps_max: How often in an hour the sides may overwrite each other in turn.
        ways: By field, inner ones by dotted path, how its value goes back to the source.
        owners: Likewise, whose value counts if both sides changed it; only fields that say so.
        match: How a partner is found that stands on the other side already.
    """

    name: str
    reads: Literal["source", "target"]
    from_kind: Kind
    to_kind: Kind
    also_on: Mapping[Kind, str]
    pairs: str | None
    links_to: tuple[str, ...]
    on_leave: Literal["park", "keep", "write", "withdraw"]
    on_delete: Literal["park", "keep", "withdraw"]
    if_paid: Literal["park", "credit_note"]
    two_way: Winner | None
    flaps_max: int
    ways: Mapping[str, Way]
    owners: Mapping[str, Winner]
    match: Matching
    _when: Test | None = field(repr=False)
    _fields: tuple[tuple[str, Evaluated], ...] = field(repr=False)
    _label: Evaluated | None = field(repr=False)
    _amount: Evaluated | None = field(repr=False)
    _currency: Evaluated | None = field(repr=False)
    _concerns: Mapping[Kind, Path] = field(repr=False)

    def crediting(self) -> CompiledStep:
        """The step under which the credit notes for this one's invoices are linked."""
        return replace(self, name=f"{self.name}{CREDIT_NOTE}", to_kind=Kind.CREDIT_NOTE)

    def selects(self, record: Record) -> bool:
        """True if the record takes part, or if that cannot be told: then `evaluate` says why."""
        try:
            return self._when is None or self._when(Scope(record))
        except MappingError:
            return True

    def evaluate(self, record: Record) -> Mapped:
        """What the record becomes.

        Raises:
            MappingError: The first rule that cannot be followed, or a condition that compares what is no number.
        """
        scope = Scope(record)
        if self._when is not None:
            self._when(scope)
        fields = fields_of(self._fields, scope)
        return Mapped(fields, tuple(scope.links), tuple(scope.notices))

    def explain(self, record: Record) -> list[Explained]:
        """How each field gets its value, or why it does not; every field, also after an error."""
        trace: list[Explained] = []
        for _, rule in self._fields:
            count = len(trace)
            try:
                rule.value(Scope(record, trace=trace), "")
            except MappingError as error:
                if not any(step.error is error for step in trace[count:]):
                    trace.append(Explained(error.rule, error.path, ABSENT, (), ABSENT, error))
        return trace

    def label(self, record: Record) -> str:
        """The record in words; its kind and id if it has no name."""
        found = _quietly(self._label, record)
        text = " ".join(found.split()) if isinstance(found, str) else ""
        return text[:LABEL_LENGTH_MAX] or f"{words(self.from_kind)} {record.id}"

    def amount(self, record: Record) -> Decimal | None:
        """What is at stake; None if the record does not say."""
        found = _quietly(self._amount, record)
        return found if isinstance(found, Decimal) else None

    def currency(self, record: Record) -> str:
        """The currency of the amount; empty if the record does not say."""
        found = _quietly(self._currency, record)
        return found if isinstance(found, str) else ""

    def concerns(self, record: Record) -> list[str]:
        """Ids of the records of this step that a change of `record`, of a kind in `also_on`, concerns."""
        path = self._concerns.get(record.kind)
        if path is None:
            return []
        found = Scope(record).read(path)
        ids = [
            str(value) for value in (found if is_list(found) else [found]) if isinstance(value, str) or is_number(value)
        ]
        return list(dict.fromkeys(identifier for identifier in ids if identifier))


@dataclass(frozen=True, slots=True)
class CompiledSync:
    """One sync, ready to run. Steps stand in the order of their links; `version` is that of its stored document."""

    name: str
    source: str
    target: str
    steps: tuple[CompiledStep, ...]
    document: SyncDocument = field(repr=False)
    version: int = 0

    def step(self, name: str) -> CompiledStep:
        """The step of this name, be it the one of a step's credit notes."""
        own = name.removesuffix(CREDIT_NOTE)
        found = next(step for step in self.steps if step.name == own)
        return found if own == name else found.crediting()

    @property
    def linked_steps(self) -> tuple[CompiledStep, ...]:
        """All steps that may have links: the document's own, and those of the credit notes for their invoices."""
        crediting = (step.crediting() for step in self.steps if step.to_kind is Kind.INVOICE)
        return (*self.steps, *crediting)


def compile_document(document: SyncDocument) -> CompiledSync:
    """The functions of a document that was checked."""
    order = step_order(document)
    steps = tuple(_Compiler(document, name).step() for name in order)
    return CompiledSync(document.name, document.source, document.target, steps, document)


def step_order(document: SyncDocument) -> list[str]:
    """The steps, each after those that it links to or writes back for; otherwise as written.

    What is no step is passed over: `check` reports it where it stands.

    Raises:
        graphlib.CycleError: If they link in a circle.
    """
    graph = {
        name: [before for before in (*_goes_after(name, step), step.writes_back) if before in document.steps]
        for name, step in document.steps.items()
    }
    TopologicalSorter(graph).prepare()  # Only for the circle that it finds; the order below stays close to the text.
    order: list[str] = []
    while len(order) < len(graph):
        order.append(
            next(name for name in graph if name not in order and all(before in order for before in graph[name]))
        )
    return order


def _goes_after(name: str, step: Step) -> list[str]:
    """The steps that have to go first: not its own, for the parents of its customers, which are put in order there."""
    rules = [rule for field, rule in step.fields.items() if not is_parent(step, field) or rule.link != name]
    return _linked(rules)


def is_parent(step: Step, field: str) -> bool:
    """True if the field may name a document of its own step: the customer that a customer belongs to."""
    return step.to is Kind.CUSTOMER and field == "parent"


def links_of(step: Step) -> list[str]:
    """The steps that this one's fields link to, without repeats."""
    return _linked(step.fields.values())


def _linked(rules: Iterable[Rule]) -> list[str]:
    found: dict[str, None] = {}

    def visit(rule: Rule) -> None:
        if rule.link is not None:
            found.setdefault(rule.link)
        for inner in [*(rule.object_ or {}).values(), *(rule.fields or {}).values(), *(rule.list_ or [])]:
            visit(inner)

    for rule in rules:
        visit(rule)
    return list(found)


class _Compiler:
    """Compiles one step."""

    def __init__(self, document: SyncDocument, name: str) -> None:
        self._document = document
        self._name = name
        self._step = document.steps[name]
        self._where = f"steps.{name}"
        self._kind = words(self._step.to)

    def step(self) -> CompiledStep:
        step = self._step
        targets = target_fields(step.to)
        fields = self._fields(step.fields, targets, f"{self._where}.fields", self._kind.capitalize())
        amount = self._one(step.amount, "amount", _NUMBER)
        return CompiledStep(
            name=self._name,
            reads=step.reads,
            from_kind=step.from_,
            to_kind=step.to,
            also_on=dict(step.also_on),
            pairs=step.writes_back,
            links_to=tuple(links_of(step)),
            on_leave=step.on_leave,
            on_delete=step.on_delete,
            if_paid=step.if_paid,
            two_way=step.two_way,
            flaps_max=step.flaps_max,
            ways=ways_of(step.fields),
            owners=owners_of(step.fields),
            match=step.match or Matching(),
            _when=None if step.when is None else compile_condition(step.when, f"{self._where}.when"),
            _fields=fields,
            _label=self._one(step.label, "label", _TEXT),
            _amount=amount,
            _currency=self._one(step.currency, "currency", _TEXT) or dict(fields).get("currency"),
            _concerns={kind: parse_path(path) for kind, path in step.also_on.items()},
        )

    def _one(self, rule: Rule | None, name: str, target: Target) -> Evaluated | None:
        return None if rule is None else self._rule(rule, target, f"{self._where}.{name}", name.capitalize())

    def _fields(
        self, rules: Mapping[str, Rule], targets: Mapping[str, Target], where: str, label: str
    ) -> tuple[tuple[str, Evaluated], ...]:
        return tuple(
            (name, self._rule(rule, targets.get(name, ANYTHING), f"{where}.{name}", f"{label} {_field_in_words(name)}"))
            for name, rule in rules.items()
        )

    def _rule(self, rule: Rule, target: Target, where: str, label: str) -> Evaluated:
        required = rule.required or target.required
        if rule.object_ is not None:
            inner = self._fields(rule.object_, target.fields, f"{where}.object", label)
            return Group(where, label, inner, target, required)
        if rule.each is not None and rule.fields is not None:
            inner = self._fields(rule.fields, target.fields, f"{where}.fields", f"{self._kind.capitalize()} line")
            return Each(where, label, parse_path(rule.each), inner, target, required)
        if rule.list_ is not None:
            item = Target("object", fields=target.fields) if target.type == "list" else ANYTHING
            items = [self._rule(each, item, f"{where}.list[{number}]", label) for number, each in enumerate(rule.list_)]
            finish = self._leaf(rule, target, where, label, read_item) if rule.transforms else None
            return Listed(where, label, tuple(items), finish, required)
        return self._leaf(rule, target, where, label, _reader(rule, target))

    def _leaf(self, rule: Rule, target: Target, where: str, label: str, read: Reader) -> Leaf:
        transforms = rule.transforms or []
        return Leaf(
            where=where,
            label=label,
            read=read,
            transforms=tuple((each.name, each.chosen) for each in transforms),
            fit=fitting(target),
            target=target,
            required=rule.required or target.required,
            default=written_value(rule.default, target) if rule.has_default else ABSENT,
            link=self._link(rule, where),
        )

    def _link(self, rule: Rule, where: str) -> Callable[[str, str], LinkTo] | None:
        if rule.link is None:
            return None
        step, name, by = self._document.steps[rule.link], rule.link, rule.by
        return lambda value, path: LinkTo(name, by, value, where, path, step.from_, step.to)


def _reader(rule: Rule, target: Target) -> Reader:
    if rule.path is not None:
        return read_path(parse_path(rule.path))
    if rule.paths is not None:
        return read_first([parse_path(path) for path in rule.paths])
    return read_constant(rule.constant if rule.transforms else written_value(rule.constant, target))


def _field_in_words(name: str) -> str:
    return words(name.removeprefix("custom_fields."))


def _quietly(rule: Evaluated | None, record: Record) -> Value | Found:
    """What the rule gives; ABSENT if it cannot say."""
    if rule is None:
        return ABSENT
    try:
        found: Value | Found = rule.value(Scope(record), "")
    except MappingError:
        return ABSENT
    return found
