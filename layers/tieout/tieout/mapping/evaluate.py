"""Evaluation: record in, fields of the other side out. Pure; raises MappingError and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Protocol

from tieout.domain.errors import MappingError
from tieout.domain.records import Kind, Record, Value
from tieout.mapping.paths import ABSENT, RECORD, Found, Path, is_list, parse_path, read_parts
from tieout.mapping.targets import Target
from tieout.mapping.transforms import Params, RefusedError, is_number, quoted, shortened, text_of

VALUE_LENGTH_MAX = 80
ITEMS_MAX = 2000


@dataclass(frozen=True, slots=True)
class LinkTo:
    """Stands where an id of the other side belongs: that of the record which `step` wrote.

    Attributes:
        by: `id` if `value` is the id of a record that the step reads; else the field of that record that equals it.
        rule, path: Which rule asks, and where it read the value.
        from_kind, to_kind: What the step reads and writes, for sentences.
    """

    step: str
    by: str
    value: str
    rule: str
    path: str
    from_kind: Kind
    to_kind: Kind


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a record becomes.

    Attributes:
        fields: Plain values, nested as the document is; absent fields are left out, None empties a field. Links stand
            where ids will.
        links: All of them, in order, without repeats.
        notices: What a person should know and nothing stops for.
    """

    fields: dict[str, Any]
    links: tuple[LinkTo, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """How one field got its value.

    Attributes:
        rule: Where the rule stands; `lines[0]` for the rule's first item.
        path: Where it read; empty for a constant.
        read: What stood there; ABSENT if nothing.
        steps: Each transform's name, and the value after it; `default` is one of them.
        result: What the field gets; ABSENT if it is left alone.
        error: Why it got none.
    """

    rule: str
    path: str
    read: Found
    steps: tuple[tuple[str, Value], ...]
    result: Value | LinkTo | Found
    error: MappingError | None = None


@dataclass(slots=True)
class Scope:
    """One evaluation: the record, the item of a list that is being read, and what comes out besides the value."""

    record: Record
    item: Found = None
    inside: str = ""
    notices: list[str] = field(default_factory=list)
    links: dict[LinkTo, None] = field(default_factory=dict)
    trace: list[Explained] | None = None
    label: str = ""

    def read(self, path: Path) -> Found:
        """What stands at the path: in the item, or in the record if there is none or the path starts with `record`."""
        if path.parts[0] == RECORD:
            return _read_record(self.record, path.parts[1:])
        if self.inside:
            return path.read(self.item)
        return _read_record(self.record, path.parts)

    def look(self, path: str) -> Found:
        """The same, for a transform."""
        return self.read(parse_path(path))

    def notice(self, sentence: str) -> None:
        """Keep a notice about the field that is being evaluated."""
        self.notices.append(f"{self.label}: {sentence}")

    def place(self, path: str) -> str:
        """The path as seen from the record."""
        if path.startswith(f"{RECORD}."):
            return path.removeprefix(f"{RECORD}.")
        return f"{self.inside}.{path}" if self.inside and path else self.inside + path

    def within(self, item: Found, place: str) -> Scope:
        """The same evaluation, inside an item."""
        return Scope(self.record, item, place, self.notices, self.links, self.trace)


def _read_record(record: Record, parts: tuple[str | int | None, ...]) -> Found:
    if parts == ("id",) and "id" not in record.fields:
        return record.id
    return read_parts(record.fields, parts)


class Evaluated(Protocol):
    """A compiled rule."""

    def value(self, scope: Scope, number: str) -> Any:  # noqa: ANN401 - plain values and links, nested
        """What the rule gives for the record; ABSENT to leave the field alone. `number` marks the items passed."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A rule for one value.

    Attributes:
        where: Its place in the document.
        label: The field in words, such as `Invoice date`.
        read: Gives the path and what stands there.
        fit: Makes the value what the field takes, or refuses it.
    """

    where: str
    label: str
    read: Callable[[Scope], tuple[str, Found]]
    transforms: tuple[tuple[str, Params], ...]
    fit: Callable[[Value], Value]
    target: Target
    required: bool
    default: Value | Found
    link: Callable[[str, str], LinkTo] | None

    def value(self, scope: Scope, number: str) -> Any:  # noqa: ANN401 - see Evaluated
        """The value, or a link in its place."""
        path, read = self.read(scope)
        if scope.trace is None:
            return self._result(scope, path, read, None)
        steps: list[tuple[str, Value]] = []
        rule = self.where + number
        try:
            result = self._result(scope, path, read, steps)
        except MappingError as error:
            scope.trace.append(Explained(rule, scope.place(path), read, tuple(steps), ABSENT, error))
            raise
        scope.trace.append(Explained(rule, scope.place(path), read, tuple(steps), result))
        return result

    def _result(self, scope: Scope, path: str, read: Found, steps: list[tuple[str, Value]] | None) -> Any:  # noqa: ANN401
        scope.label = self.label
        value = read
        try:
            for name, params in self.transforms:
                if value is None or value is ABSENT:
                    break
                value = _transformed(params, value, scope)
                if steps is not None:
                    steps.append((name, value))
            if (value is None or value is ABSENT) and self.default is not ABSENT:
                value = self.default
                if steps is not None:
                    steps.append(("default", value))
            if self.required and _is_empty(value):
                raise self._empty(scope, path, read)
            if value is None or value is ABSENT:
                return value if self.target.nullable else ABSENT
            if self.link is None:
                return self.fit(value)
            return self._linked(scope, path, value)
        except RefusedError as refused:
            raise MappingError(
                f"{self.label}: {refused.message}",
                rule=self.where,
                path=scope.place(path),
                value=_said(read),
                next_step=refused.next_step or f"Correct the record, or the rule `{self.where}`.",
            ) from None

    def _linked(self, scope: Scope, path: str, value: Value) -> LinkTo | Found:
        text = text_of(value).strip()
        if not text:
            return None if self.target.nullable else ABSENT
        assert self.link is not None  # noqa: S101 - only called with a link
        link = self.link(text, scope.place(path))
        scope.links.setdefault(link)
        return link

    def _empty(self, scope: Scope, path: str, read: Found) -> MappingError:
        place = scope.place(path)
        kind = words(scope.record.kind)
        if not path:
            why, next_step = "its rule gives none", f"Correct the rule `{self.where}`."
        elif _is_empty(read):
            missing = words_of_path(place)
            why = f"the {kind} has no {missing}"
            next_step = f"Enter the {missing} in the {kind}."
        else:
            why, next_step = f"nothing is left of {quoted(read)}", f"Correct the {words_of_path(place)} in the {kind}."
        return MappingError(
            f"{self.label} is empty: {why}.", rule=self.where, path=place, value=_said(read), next_step=next_step
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A rule for an object: absent if all its fields are, null if none of them has a value."""

    where: str
    label: str
    fields: tuple[tuple[str, Evaluated], ...]
    target: Target
    required: bool

    def value(self, scope: Scope, number: str) -> Any:  # noqa: ANN401 - see Evaluated
        """The object's fields."""
        found = fields_of(self.fields, scope, number)
        if any(value is not None for value in found.values()):
            return found
        if self.required:
            raise MappingError(
                f"{self.label} is empty: none of its fields has a value.",
                rule=self.where,
                path=scope.inside,
                next_step=f"Complete the {words(scope.record.kind)}.",
            )
        return None if found and self.target.nullable else ABSENT


@dataclass(frozen=True, slots=True)
class Each:
    """A rule for a list: the same fields for each item that stands at the path."""

    where: str
    label: str
    path: Path
    fields: tuple[tuple[str, Evaluated], ...]
    target: Target
    required: bool

    def value(self, scope: Scope, number: str) -> Any:  # noqa: ANN401 - see Evaluated
        """The list; absent or null as the source is."""
        items = scope.read(self.path)
        place = scope.place(self.path.text)
        kind = words(scope.record.kind)
        if items is None or items is ABSENT or items == []:
            if self.required:
                raise MappingError(
                    f"{self.label}: the {kind} has no {words_of_path(place)}.",
                    rule=self.where,
                    path=place,
                    next_step=f"Add at least one to the {kind}.",
                )
            return ABSENT if items is None and not self.target.nullable else items
        if not is_list(items):
            raise MappingError(
                f"{self.label}: the {words_of_path(place)} of the {kind} is no list.",
                rule=self.where,
                path=place,
                value=_said(items),
                next_step=f"Correct the path of `{self.where}.each`.",
            )
        if len(items) > ITEMS_MAX:
            raise MappingError(
                f"{self.label}: the {kind} has {len(items):,} {words_of_path(place)}, more than {ITEMS_MAX:,}.",
                rule=self.where,
                path=place,
                next_step=f"Split the {kind}.",
            )
        return [
            fields_of(self.fields, scope.within(item, f"{place}[{index}]"), f"{number}[{index}]")
            for index, item in enumerate(items)
        ]


@dataclass(frozen=True, slots=True)
class Listed:
    """A rule for a list with an item for each rule; items without a value are left out."""

    where: str
    label: str
    items: tuple[Evaluated, ...]
    finish: Leaf | None
    required: bool

    def value(self, scope: Scope, number: str) -> Any:  # noqa: ANN401 - see Evaluated
        """The list, or what the transforms make of it; absent if all items are."""
        values = [value for item in self.items if (value := item.value(scope, number)) is not ABSENT]
        found = [value for value in values if value is not None]
        if self.finish is not None:
            return self.finish.value(scope.within(found or (None if values else ABSENT), scope.inside), number)
        if self.required and not found:
            raise MappingError(
                f"{self.label} is empty: none of its items has a value.",
                rule=self.where,
                path=scope.inside,
                next_step=f"Complete the {words(scope.record.kind)}.",
            )
        return found if values else ABSENT


def fields_of(fields: Sequence[tuple[str, Evaluated]], scope: Scope, number: str = "") -> dict[str, Any]:
    """The fields that have a value or null; those that are absent are left out."""
    found = {}
    for name, rule in fields:
        value = rule.value(scope, number)
        if value is not ABSENT:
            found[name] = value
    return found


def _transformed(params: Params, value: Value, scope: Scope) -> Value:
    if is_list(value) and not params.takes_list:
        results = [params.apply(item, scope) for item in value if item is not None]
        return [item for item in results if item is not None]
    return params.apply(value, scope)


def _is_empty(value: Found) -> bool:
    return value is None or value is ABSENT or (isinstance(value, str) and not value.strip()) or value == []


def _said(value: Found) -> str | None:
    if value is None or value is ABSENT:
        return None
    return shortened(value if isinstance(value, str) else quoted(value).strip('"'), VALUE_LENGTH_MAX)


# What a field takes


def fitting(target: Target) -> Callable[[Value], Value]:
    """The function that makes a value what the field takes; it raises RefusedError otherwise."""
    if target.type == "choice":
        return lambda value: _fit_choice(value, target.choices)
    return _FITS.get(target.type, _fit_anything)


def _fit_anything(value: Value) -> Value:
    return value


def _fit_number(value: Value) -> Decimal:
    if is_number(value) and Decimal(value).is_finite():
        return Decimal(value)
    raise RefusedError(f"a number is needed, and {quoted(value)} is none.", "Add `number` to the transforms.")


def _fit_date(value: Value) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise RefusedError(f"a date is needed, and {quoted(value)} is none.", "Add `date` to the transforms.")


def _fit_flag(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    raise RefusedError(
        f"yes or no is needed, and {quoted(value)} is neither.", "Add a `lookup` whose table gives `true` and `false`."
    )


def _fit_choice(value: Value, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(f"`{choice}`" for choice in choices)
    raise RefusedError(f"{quoted(value)} is none of {listed}.", "Add a `lookup` to the transforms.")


_FITS: dict[str, Callable[[Value], Value]] = {
    "text": text_of,
    "number": _fit_number,
    "date": _fit_date,
    "flag": _fit_flag,
}


def written_value(value: Value, target: Target) -> Value:
    """A constant or default as the field takes it: in YAML a date is written text."""
    if target.type == "date" and isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return value
    return value


# Words for people

_WORDS = {"closed_on": "close date", "opened_on": "open date", "id": "id"}


def words(name: str) -> str:
    """A name as people say it: `due_date` is `due date`, `closed_on` is `close date`, `opened_on` is `open date`."""
    if name in _WORDS:
        return _WORDS[name]
    return f"{name[:-3]} date".replace("_", " ") if name.endswith("_on") else name.replace("_", " ")


_ONE = {"companies": "company", "contacts": "contact", "lines": "line", "invoice_ids": "invoice"}


def words_of_path(path: str) -> str:
    """What stands at a path, as people say it: `companies[0].id` is `company`, `lines[1].name` `name in line 2`."""
    parts = parse_path(path).parts
    said: list[str] = []
    for number, part in enumerate(parts):
        following = parts[number + 1] if number + 1 < len(parts) else None
        if isinstance(part, str) and part != "custom_fields":
            one = _ONE.get(part, words(part))
            said.append(f"{one} {following + 1}" if isinstance(following, int) else words(part))
    if len(said) > 1 and said[-1] == "id":
        return said[-2].removesuffix(" 1")
    return " in ".join(reversed(said)) if any(isinstance(part, int) for part in parts) else " ".join(said)


def missing_link(link: LinkTo, known: Sequence[str], *, count: int = 0) -> MappingError:
    """The error for a link that names nothing, or `count` records where it should name one.

    It says what was looked for, the closest of the `known` values, and what to add.
    """
    source, target = words(link.from_kind), words(link.to_kind)
    if count > 1:
        return MappingError(
            f'{count} records of the kind {source} have the {words(link.by)} "{shortened(link.value)}": it is not'
            f" clear which {target} is meant.",
            rule=link.rule,
            path=link.path,
            value=shortened(link.value, VALUE_LENGTH_MAX),
            next_step=f"Give each {source} a {words(link.by)} of its own, or delete the one that is not used.",
        )
    if link.by == "id":
        return MappingError(
            f'The {source} "{shortened(link.value)}" that the record names is gone, or not visible to us.',
            rule=link.rule,
            path=link.path,
            value=shortened(link.value, VALUE_LENGTH_MAX),
            next_step=f"Name another {source} in the record, or make this one visible.",
        )
    called = "named" if link.by == "name" else f"found by the {words(link.by)}"
    message = f'No {target} is {called} "{shortened(link.value)}".'
    closest = _closest(link.value, known)
    transforms = f"`{link.rule}.transforms`"
    if closest is None:
        return MappingError(
            message,
            rule=link.rule,
            path=link.path,
            value=shortened(link.value, VALUE_LENGTH_MAX),
            next_step=f"Add the {source}, or add an alias for `{link.value}` to lookup.aliases in {transforms}.",
        )
    return MappingError(
        f'{message} The catalogue has "{closest}".',
        rule=link.rule,
        path=link.path,
        value=shortened(link.value, VALUE_LENGTH_MAX),
        next_step=f"Add `{link.value}: {closest}` to lookup.aliases in {transforms}, or add the {source}.",
    )


def _closest(value: str, known: Sequence[str]) -> str | None:
    """The known value that differs in case, spaces and signs only; else the most alike one, if any is."""

    def plain(text: str) -> str:
        return "".join(letter for letter in text.casefold() if letter.isalnum())

    for candidate in known:
        if plain(candidate) == plain(value):
            return candidate
    close = get_close_matches(value, known, n=1, cutoff=0.6)
    return close[0] if close else None


def read_path(path: Path) -> Callable[[Scope], tuple[str, Found]]:
    """Reads one path."""
    return lambda scope: (path.text, scope.read(path))


def read_first(paths: Sequence[Path]) -> Callable[[Scope], tuple[str, Found]]:
    """Reads the first of the paths that has a value; if none has, the first that is null or empty, not absent."""

    def read(scope: Scope) -> tuple[str, Found]:
        fallback: tuple[str, Found] = (paths[0].text, ABSENT)
        for path in paths:
            found = scope.read(path)
            if not _is_empty(found):
                return path.text, found
            if fallback[1] is ABSENT:
                fallback = (path.text, found) if found is not ABSENT else fallback
        return fallback

    return read


def read_constant(value: Value) -> Callable[[Scope], tuple[str, Found]]:
    """Reads nothing."""
    return lambda _: ("", value)


def read_item(scope: Scope) -> tuple[str, Found]:
    """Reads what the rules of a list gave."""
    return "", scope.item
