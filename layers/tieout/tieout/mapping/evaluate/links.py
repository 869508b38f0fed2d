"""Links: where the id of another record's document belongs, and what is said if there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tieout.domain.errors import MappingError
from tieout.domain.records import Kind
from tieout.mapping.evaluate.words import shown, words
from tieout.mapping.problems import closest
from tieout.mapping.transforms import shortened


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


def missing_link(link: LinkTo, known: Sequence[str], *, count: int = 0) -> MappingError:
    """The error for a link that names nothing, or `count` records where it should name one.

    It says what was looked for, the closest of the `known` values, and what to add.
    """
    if count > 1:
        message, next_step = _several(link, count)
    elif link.by == "id":
        message, next_step = _gone(link)
    else:
        message, next_step = _unknown(link, known)
    return MappingError(message, rule=link.rule, path=link.path, value=shown(link.value), next_step=next_step)


def _several(link: LinkTo, count: int) -> tuple[str, str]:
    source, target, by = words(link.from_kind), words(link.to_kind), words(link.by)
    message = f'{count} records of the kind {source} have the {by} "{shortened(link.value)}"'
    return (
        f"{message}: it is not clear which {target} is meant.",
        f"Give each {source} a {by} of its own, or delete the one that is not used.",
    )


def _gone(link: LinkTo) -> tuple[str, str]:
    source = words(link.from_kind)
    return (
        f'The {source} "{shortened(link.value)}" that the record names is gone, or not visible to us.',
        f"Name another {source} in the record, or make this one visible.",
    )


def _unknown(link: LinkTo, known: Sequence[str]) -> tuple[str, str]:
    source, target = words(link.from_kind), words(link.to_kind)
    called = "named" if link.by == "name" else f"found by the {words(link.by)}"
    message = f'No {target} is {called} "{shortened(link.value)}".'
    alike = _most_alike(link.value, known)
    transforms = f"`{link.rule}.transforms`"
    if alike is None:
        return message, f"Add the {source}, or add an alias for `{link.value}` to lookup.aliases in {transforms}."
    return (
        f'{message} The catalogue has "{alike}".',
        f"Add `{link.value}: {alike}` to lookup.aliases in {transforms}, or add the {source}.",
    )


def _most_alike(value: str, known: Sequence[str]) -> str | None:
    """The known value that differs in case, spaces and signs only; else the most alike one, if any is."""

    def plain(text: str) -> str:
        return "".join(letter for letter in text.casefold() if letter.isalnum())

    for candidate in known:
        if plain(candidate) == plain(value):
            return candidate
    return closest(value, known)
