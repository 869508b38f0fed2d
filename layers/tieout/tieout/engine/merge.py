"""Merging: which of two sides' changes go where, field by field, decided without any I/O.

Three values stand for each field: what the source makes of it now, what both agreed on last (`base`), and what the
target shows. A field that the target showed otherwise once both agreed, such as a phone number in its own form, is
remembered as `shown`: only what differs from that is a change of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tieout.domain.changes import Origin
from tieout.domain.effects import Operation
from tieout.domain.links import Intent, Link, Turns
from tieout.domain.records import Record
from tieout.domain.reviews import Side
from tieout.engine.plan import Work, plain, same
from tieout.mapping import ABSENT

type Document = Mapping[str, Any]

TURNS_SECONDS = 3600


@dataclass(slots=True)
class Merged:
    """What becomes of each field; those that are not named stay as both sides have them.

    Attributes:
        to_target: Whose value in the source goes to the target.
        to_source: Whose value in the target goes to the source.
        conflicts: That a person has to decide.
        agreed: On which both sides agree now, be it that each keeps its own form.
    """

    to_target: list[str] = field(default_factory=list)
    to_source: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    agreed: list[str] = field(default_factory=list)


def at(document: Any, path: str) -> Any:  # noqa: ANN401 - plain values, or a record's
    """What stands at a dotted path: ABSENT if the field is not there, None inside a group that is null."""
    value = document
    for part in path.split("."):
        if value is None or value is ABSENT:
            return value
        value = value.get(part, ABSENT) if isinstance(value, Mapping) else ABSENT
    return value


def put(document: Document, path: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - plain values
    """The document with `value` at a dotted path; ABSENT takes the field out."""
    changed = dict(document)
    name, dot, rest = path.partition(".")
    if dot:
        inside = changed.get(name)
        if value is ABSENT and not isinstance(inside, Mapping):
            return changed
        changed[name] = put(inside if isinstance(inside, Mapping) else {}, rest, value)
    elif value is ABSENT:
        changed.pop(name, None)
    else:
        changed[name] = value
    return changed


def is_changed(path: str, base: Document, shown: Document, target: Document) -> bool:
    """True if the target shows another value than when both sides agreed; one that it does not show is unchanged."""
    found = at(target, path)
    return found is not ABSENT and not _same(found, shown.get(path, at(base, path)))


def merge(
    paths: Iterable[str],
    *,
    source: Document,
    base: Document,
    shown: Document,
    target: Document,
    winner: Callable[[str], Side | None],
    decided: Mapping[str, Side] | None = None,
    stuck: Container[str] = (),
    left: Container[str] = (),
) -> Merged:
    """What becomes of each field.

    Args:
        paths: The fields, by dotted path.
        source: What the source makes of the fields now; plain JSON values, as the others.
        base: What both agreed on last.
        shown: By path, what the target showed otherwise then.
        target: What it shows now.
        winner: Whose value counts if both sides changed a field; None if a person has to say.
        decided: What a person said.
        stuck: Fields whose value of today cannot go back to the source. If a person says that the target's counts,
            each side keeps its own.
        left: Fields that only go from source to target: a change of the target alone is left as it is.
    """
    merged = Merged()
    for path in paths:
        here, there = at(source, path), at(target, path)
        if here is ABSENT:
            continue  # the source says nothing about it
        from_source = not _same(here, at(base, path))
        from_target = is_changed(path, base, shown, target)
        if there is not ABSENT and _same(here, there):
            merged.agreed.append(path)
        elif from_source and not from_target:
            merged.to_target.append(path)
        elif from_target and (from_source or path not in left):
            side = (decided or {}).get(path)
            if side is None:
                side = winner(path) if from_source else Side.TARGET
                side = None if side is Side.TARGET and path in stuck else side
            _take(merged, path, side, keeps=path in left or path in stuck)
    return merged


def _take(merged: Merged, path: str, side: Side | None, *, keeps: bool) -> None:
    """The target changed the field, and maybe the source did too: `side` counts."""
    if side is Side.SOURCE:
        merged.to_target.append(path)
    elif side is None:
        merged.conflicts.append(path)
    elif keeps:
        merged.agreed.append(path)
    else:
        merged.to_source.append(path)


def _same(here: Any, there: Any) -> bool:  # noqa: ANN401 - plain JSON
    return same(None if here is ABSENT else here, None if there is ABSENT else there)


def agreement(document: Document, base: Document, pending: Iterable[str]) -> dict[str, Any]:
    """The new base: what the source makes of the record now, but the fields that are pending, as they stood."""
    agreed = dict(document)
    for path in pending:
        agreed = put(agreed, path, at(base, path))
    return agreed


def shown_otherwise(paths: Iterable[str], agreed: Document, target: Document, former: Document) -> dict[str, Any]:
    """`former` with what the target shows of these fields, where it is not just what was agreed."""
    shown = dict(former)
    for path in paths:
        found = at(target, path)
        shown.pop(path, None)
        if found is not ABSENT and found != at(agreed, path):
            shown[path] = found
    return shown


def turned(turns: Turns | None, side: Side, now: datetime) -> Turns:
    """The row of turns after a write of this side; it begins anew after an hour."""
    if turns is None or now - turns.since > timedelta(seconds=TURNS_SECONDS):
        return Turns(side, 1, now)
    return turns if turns.side is side else Turns(side, turns.count + 1, turns.since)


def turns_of(work: Work) -> Turns | None:
    """The row of turns so far; none if a person asks for the write."""
    return None if work.change.origin is Origin.OPERATOR else work.link.turns


def agreed_on(work: Work, intent: Intent, record: Record, now: datetime, *, changed: bool) -> Link:
    """The work's link with what both sides agree on once the open write is done.

    With `changed`, somebody else wrote the record since: what it shows now is their change.
    """
    link, agreed = work.link, intent.document if intent.agreed is None else intent.agreed
    shown: Mapping[str, Any] = intent.shown or {}
    if intent.side is Side.TARGET and not changed:
        new = [path for path in work.step.ways if path not in shown and _is_new(path, agreed, link.base)]
        shown = shown_otherwise(new, agreed, plain(record.fields), shown)
    if intent.operation is Operation.CREATE:
        turns = None
    elif is_second_half(link):
        turns = link.turns
    else:
        turns = turned(turns_of(work), intent.side, now)
    return replace(link, shown=shown or None, turns=turns)


def is_second_half(link: Link) -> bool:
    """True between the two writes of one merge: what follows overwrites nobody."""
    return link.target_id is not None and not link.payload_hash and link.unsynced is None


def _is_new(path: str, agreed: Document, base: Document | None) -> bool:
    return base is None or at(agreed, path) != at(base, path)
