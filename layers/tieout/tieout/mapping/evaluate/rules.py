"""The four forms of a compiled rule: a value, a group, a list of items, a list of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tieout.domain.errors import MappingError
from tieout.domain.records import Value
from tieout.mapping.evaluate.links import LinkTo
from tieout.mapping.evaluate.readers import Reader, is_empty
from tieout.mapping.evaluate.scope import Explained, Scope
from tieout.mapping.evaluate.words import shown, words, words_of_path
from tieout.mapping.paths import ABSENT, Found, Path, is_list
from tieout.mapping.targets import Target
from tieout.mapping.transforms import Params, RefusedError, quoted, text_of

ITEMS_MAX = 2000


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
    read: Reader
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
            if self.required and is_empty(value):
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
                value=shown(read),
                next_step=refused.next_step or f"Correct the record, or the rule `{self.where}`.",
            ) from None

    def _linked(self, scope: Scope, path: str, value: Value) -> LinkTo | None:
        text = text_of(value).strip()
        if not text:
            return None
        assert self.link is not None  # noqa: S101 - only called with a link
        link = self.link(text, scope.place(path))
        scope.links.setdefault(link)
        return link

    def _empty(self, scope: Scope, path: str, read: Found) -> MappingError:
        place = scope.place(path)
        kind = words(scope.record.kind)
        if not path:
            why, next_step = "its rule gives none", f"Correct the rule `{self.where}`."
        elif is_empty(read):
            missing = words_of_path(place)
            why = f"the {kind} has no {missing}"
            next_step = f"Enter the {missing} in the {kind}."
        else:
            why, next_step = f"nothing is left of {quoted(read)}", f"Correct the {words_of_path(place)} in the {kind}."
        return MappingError(
            f"{self.label} is empty: {why}.", rule=self.where, path=place, value=shown(read), next_step=next_step
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
            raise _nothing_inside(self, scope, "fields")
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
                value=shown(items),
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
            raise _nothing_inside(self, scope, "items")
        return found if values else ABSENT


def _nothing_inside(rule: Group | Listed, scope: Scope, what: str) -> MappingError:
    return MappingError(
        f"{rule.label} is empty: none of its {what} has a value.",
        rule=rule.where,
        path=scope.inside,
        next_step=f"Complete the {words(scope.record.kind)}.",
    )


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
