"""Two-way steps: what changed on the other side comes back, and the changes of both sides are merged.

A step with `two_way` has one link for each source record, as every step has. A change of the target side becomes work
on that link; what has to be written where is decided by `engine.merge`, one write at a time, the target first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tieout.domain.changes import Change, Origin
from tieout.domain.documents import DOCUMENTS, Document, RecordUpdate
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import ClaimedError, MappingError, TieoutError
from tieout.domain.links import Link
from tieout.domain.records import Kind, Record, Value
from tieout.domain.reviews import FieldConflict, Review, ReviewKind, Side
from tieout.engine.collect import brought_back, read_all, steps_back
from tieout.engine.decisions import answer_to, without_answer
from tieout.engine.follow import end_gone, is_doubted, stands
from tieout.engine.merge import (
    Merged,
    agreement,
    at,
    is_changed,
    is_second_half,
    merge,
    put,
    shown_otherwise,
    turned,
    turns_of,
)
from tieout.engine.plan import Work, Write, effect_id, payload_hash, plain, same
from tieout.engine.sentences import both_changed, flaps
from tieout.engine.session import Session
from tieout.engine.write import Pending
from tieout.mapping import ABSENT, CompiledStep, CompiledSync
from tieout.mapping.reverse import read_path, with_values
from tieout.mapping.targets import target_fields
from tieout.ports.connector import Connector

_ASK_BOTH = frozenset({Origin.TARGET, Origin.DOUBT, Origin.RELINK, Origin.OPERATOR, Origin.APPROVED})


def come_back(
    session: Session, connection: str, syncs: Sequence[CompiledSync], changes: Sequence[Change]
) -> list[tuple[CompiledSync, list[Change]]]:
    """Changes of the other side's records, as changes of the records that they were made of, by sync.

    What concerns none of ours, and what says nothing new, such as the echo of our own write, ends here.
    """
    found: list[tuple[CompiledSync, list[Change]]] = []
    for sync in syncs:
        for step in steps_back(sync, connection):
            own = [change for change in changes if change.kind is step.to_kind]
            if not own:
                continue
            try:
                records = read_all(session.connector(connection), step.to_kind, [change.id for change in own])
            except TieoutError as error:
                session.failed(connection, error)
                session.ends.put_off(own, error)
            else:
                found.append((sync, _came_back(session, sync, step, own, records)))
    return found


def _came_back(
    session: Session, sync: CompiledSync, step: CompiledStep, changes: Sequence[Change], records: Mapping[str, Record]
) -> list[Change]:
    links = links_of_targets(session, sync, step, [change.id for change in changes], records)
    back = []
    for change in changes:
        link, record = links.get(change.id), records.get(change.id)
        if link is None or link.target_id not in (None, change.id):
            session.ends.unwanted([change], "not made by this sync")
        elif record is not None and _says_nothing_new(step, link, record):
            session.ends.echoed(change)
        else:
            back.append(brought_back(sync, step, link, change))
    return back


def links_of_targets(
    session: Session, sync: CompiledSync, step: CompiledStep, ids: Sequence[str], records: Mapping[str, Record]
) -> dict[str, Link]:
    """The links by target id: by the way back that each settled write of a two-way step leaves, else by reference."""
    place = (session.tenant, sync.name, step.name)
    links = session.links.by_target(*place, ids)
    references = {
        str(reference): one
        for one in ids
        if one not in links and one in records and (reference := records[one].fields.get("reference"))
    }
    by_reference = session.links.by_reference(*place, list(references)) if references else {}
    return links | {references[reference]: link for reference, link in by_reference.items()}


def _says_nothing_new(step: CompiledStep, link: Link, record: Record) -> bool:
    if link.intent is not None or link.unsynced is not None or not link.payload_hash:
        return False
    base, shown, target = link.base or {}, link.shown or {}, plain(record.fields)
    return not any(is_changed(path, base, shown, target) for path in step.ways)


@dataclass(slots=True)
class _Meeting:
    """Both sides of one link."""

    work: Work
    document: Document
    source: Mapping[str, Any]
    target: Record
    shows: Mapping[str, Any]
    left: frozenset[str]
    stuck: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> Mapping[str, Any]:
        return self.work.link.base or {}

    @property
    def shown(self) -> Mapping[str, Any]:
        return self.work.link.shown or {}

    @property
    def step(self) -> CompiledStep:
        return self.work.step

    @property
    def record(self) -> Record:
        if self.work.record is None:
            raise ValueError("a record that is gone has nothing to merge")
        return self.work.record


@dataclass(frozen=True, slots=True)
class _Back:
    """What goes into the source record, what the mapping makes of it then, and what cannot go."""

    fields: Mapping[str, Value]
    after: Mapping[str, Any]
    refused: Mapping[str, str]


class TwoWay:
    """Plans the writes of two-way steps whose records have a partner."""

    def __init__(self, session: Session, sync: CompiledSync) -> None:
        self._session, self._sync = session, sync

    def plan(self, met: Sequence[tuple[Work, Document]]) -> list[Pending]:
        """One write for each piece of work that needs one; the others ended. The target is read only if need be."""
        works = [(work, document) for work, document in met if not self._is_quiet(work, document)]
        if not works:
            return []
        try:
            source, target = self._session.connector(self._sync.source), self._session.connector(self._sync.target)
            ids = [work.link.target_id or "" for work, _ in works]
            records = read_all(target, works[0][0].step.to_kind, list(dict.fromkeys(ids)))
        except TieoutError as error:
            self._session.failed(self._sync.target, error)
            for work, _ in works:
                self._session.ends.waits(work, error)
            return []
        planned = []
        for work, document in works:
            record = records.get(work.link.target_id or "")
            if record is None or (is_doubted(work) and not stands(record)):
                end_gone(self._session, work, document, target, record)
            elif (write := self._plan(work, document, record, source, target)) is not None:
                planned.append(Pending(work, write))
        return planned

    def _is_quiet(self, work: Work, document: Document) -> bool:
        """True, and the work ended, if the source says what both agreed on and nobody says that the target changed."""
        link = work.link
        if work.change.origin in _ASK_BOTH or link.unsynced is not None or link.decision is not None:
            return False
        if link.payload_hash != payload_hash(plain(document.as_fields())):
            return False
        self._session.ends.unchanged(work)
        return True

    def _plan(
        self, work: Work, document: Document, target: Record, reads: Connector, writes: Connector
    ) -> Write | None:
        meeting = _Meeting(
            work, document, plain(document.as_fields()), target, plain(target.fields), _one_way(work, reads)
        )
        merged, back, review = self._merged(meeting, reads)
        if merged.to_target:
            write = _to_target(meeting, merged, writes)
        elif merged.to_source:
            write = _to_source(meeting, merged, back, reads)
        else:
            self._end(meeting, merged, review, reads, writes)
            return None
        if self._goes_to_and_fro(work):
            error = flaps(work, reads, writes, [*merged.to_target, *merged.to_source])
            self._session.ends.parked(work, error, cause=f"flaps-{work.step.name}")
            return None
        return write

    def _goes_to_and_fro(self, work: Work) -> bool:
        """True if the sides overwrote each other as often as they may."""
        turns = turns_of(work)
        if turns is None or is_second_half(work.link):
            return False
        return turned(turns, turns.side, self._session.clock.now()).count >= work.step.flaps_max

    def _merged(self, meeting: _Meeting, reads: Connector) -> tuple[Merged, _Back, Review | None]:
        """What goes where, after policies, what cannot go back, and a person's answer."""
        decided: Mapping[str, Side] = {}
        for _ in range(len(meeting.step.ways) + 2):  # each pass finds one more that cannot go back, or is the last
            merged = self._merge(meeting, decided)
            back = _way_back(meeting, [*merged.to_source, *merged.conflicts], reads)
            if new := {path: why for path, why in back.refused.items() if path not in meeting.stuck}:
                meeting.stuck |= new
                continue
            review = _review(meeting, merged.conflicts) if merged.conflicts else None
            decision = answer_to(meeting.work.link, review) if review is not None else None
            if decision is None or decided:
                break
            decided = decision.fields
        return merged, _way_back(meeting, merged.to_source, reads), review

    def _merge(self, meeting: _Meeting, decided: Mapping[str, Side]) -> Merged:
        return merge(
            meeting.step.ways,
            source=meeting.source,
            base=meeting.base,
            shown=meeting.shown,
            target=meeting.shows,
            winner=lambda path: _winner(meeting, path),
            decided=decided,
            stuck=meeting.stuck,
            left=meeting.left,
        )

    def _end(
        self, meeting: _Meeting, merged: Merged, review: Review | None, reads: Connector, writes: Connector
    ) -> None:
        """Nothing is to be written: both sides agree, or a person is asked."""
        work, ends = meeting.work, self._session.ends
        try:
            if review is not None:
                if work.link.decision is not None:
                    work.link = self._session.links.store(without_answer(work.link))
                error = both_changed(work, reads, writes, merged.conflicts, meeting.stuck)
                ends.parked(work, error, cause=f"conflict-{work.step.name}", review=review)
                return
            agreed = agreement(meeting.source, meeting.base, ())
            shown = shown_otherwise(merged.agreed, agreed, meeting.shows, meeting.shown) or None
            new = replace(work.link, base=agreed, payload_hash=payload_hash(agreed), shown=shown, decision=None)
            if new != work.link:
                work.link = self._session.links.store(new)
            ends.unchanged(work)
        except ClaimedError as error:
            ends.waits(work, error)


def _one_way(work: Work, reads: Connector) -> frozenset[str]:
    """Fields of the step that cannot go back from this record."""
    record = work.record
    kind = work.step.from_kind
    return frozenset(
        path
        for path, way in work.step.ways.items()
        if record is None or way.place(record, lambda one: reads.manifest.takes(kind, one)) is None
    )


def _winner(meeting: _Meeting, path: str) -> Side | None:
    """Whose value counts by the step's document; None if a person has to say."""
    said = meeting.step.owners.get(path) or meeting.step.two_way
    if said != "newest":
        return Side(said) if said in ("source", "target") else None
    here, there = meeting.record.edited_at, meeting.target.edited_at
    if here is None or there is None or here == there:
        return None
    return Side.SOURCE if here > there else Side.TARGET


def _review(meeting: _Meeting, paths: Sequence[str]) -> Review:
    return Review(
        ReviewKind.CONFLICT,
        conflicts=tuple(
            FieldConflict(path, *(_plainly(one, path) for one in (meeting.base, meeting.source, meeting.shows)))
            for path in paths
        ),
        source_edited_at=meeting.record.edited_at,
        target_edited_at=meeting.target.edited_at,
        source_edited_by=meeting.record.edited_by,
        target_edited_by=meeting.target.edited_by,
    )


# The way back


def _way_back(meeting: _Meeting, paths: Sequence[str], reads: Connector) -> _Back:
    """The target's values of these fields in the source's terms, tried out together on a copy of the record."""
    placed, refused = _placed(meeting, paths, reads)
    for _ in range(len(placed) + 1):
        wrong = _wrong(meeting, placed)
        if not wrong:
            break
        refused |= wrong
        placed = {path: found for path, found in placed.items() if path not in wrong}
    fields = dict(placed.values())
    return _Back(fields, _made(meeting, fields) if fields else meeting.source, refused)


def _placed(
    meeting: _Meeting, paths: Sequence[str], reads: Connector
) -> tuple[dict[str, tuple[str, Value]], dict[str, str]]:
    """By field, where the target's value goes and what it is there; and why others cannot go."""
    placed: dict[str, tuple[str, Value]] = {}
    refused: dict[str, str] = {}
    for path in paths:
        way = meeting.step.ways[path]
        place = way.place(meeting.record, lambda one: reads.manifest.takes(meeting.step.from_kind, one))
        if place is None:
            continue  # only goes one way
        wanted: Value = at(meeting.target.fields, path)
        candidates = way.candidates(wanted)
        other = next((name for name, found in placed.items() if found[0] == place), None)
        if len(candidates) > 1:
            refused[path] = f"the rule's table has several entries for {_quoted(wanted)}"
        elif lost := _cut(read_path(meeting.record, place), at(meeting.source, path)):
            refused[path] = f"the longer text {_quoted(lost)} stands there, of which only a part came here"
        elif other is not None and not same(plain(placed[other][1]), plain(candidates[0])):
            refused[path] = f"it stands in the same field there as the {_words(other)}, which says otherwise"
        else:
            placed[path] = (place, candidates[0])
    return placed, refused


def _wrong(meeting: _Meeting, placed: Mapping[str, tuple[str, Value]]) -> dict[str, str]:
    """By field, why the mapping would not make of the record what the target shows; none if all is well."""
    fields = dict(placed.values())
    try:
        after = _made(meeting, fields)
    except MappingError as error:
        why = error.message[:1].lower() + error.message[1:].rstrip(".")
        if len(placed) == 1:
            return dict.fromkeys(placed, why)
        alone = [_wrong(meeting, {path: found}) for path, found in placed.items()]
        return {path: said for one in alone for path, said in one.items()} or dict.fromkeys(placed, why)
    return {
        path: f"the rule would make something else of {_quoted(at(meeting.target.fields, path))}"
        for path in placed
        if not _fits(meeting, path, placed[path][0], fields, _plainly(after, path))
    }


def _fits(meeting: _Meeting, path: str, place: str, fields: Mapping[str, Value], made: Any) -> bool:  # noqa: ANN401 - plain JSON
    """True if the mapping makes what the target shows, or that in its own form, which it does not change again."""
    wanted = at(meeting.shows, path)
    if same(made, wanted):
        return True
    if meeting.step.ways[path].table or made in (None, "") or wanted in (None, ""):
        return False
    try:
        return same(_plainly(_made(meeting, {**fields, place: made}), path), made)
    except MappingError:
        return False


def _made(meeting: _Meeting, fields: Mapping[str, Value]) -> Any:  # noqa: ANN401 - plain JSON
    """What the mapping makes of the source record once these values stand in it.

    Raises:
        MappingError: If it makes nothing of it.
    """
    return plain(meeting.step.evaluate(with_values(meeting.record, fields)).fields)


def _cut(stands: Any, made: Any) -> str:  # noqa: ANN401 - any value
    """The source's text, if the mapping takes only its beginning."""
    if not isinstance(stands, str) or not isinstance(made, str) or not made.strip():
        return ""
    whole, part = " ".join(stands.split()), " ".join(made.split())
    return whole if len(whole) > len(part) and whole.startswith(part) else ""


# The writes


def _to_target(meeting: _Meeting, merged: Merged, writes: Connector) -> Write:
    """The target's record as it stands, with the source's own changes."""
    work, kind = meeting.work, meeting.step.to_kind
    given = meeting.document.as_fields()
    fields: dict[str, Any] = {}
    for path in meeting.step.ways:
        value = at(given if path in merged.to_target else meeting.target.fields, path)
        if path in merged.to_target or value not in (ABSENT, None, ""):
            fields = put(_whole(fields, path, meeting.target, kind), path, value)
    for name, target in target_fields(kind).items():
        if target.required and name not in fields:
            fields[name] = given[name]
    document = DOCUMENTS[kind].model_validate(fields)
    pending = [*merged.to_source, *merged.conflicts]
    # Where the target's value counts, what the source said is given up now: who won is not asked again.
    agreed = agreement(meeting.source, meeting.base, merged.conflicts)
    shown = shown_otherwise(merged.agreed, agreed, meeting.shows, meeting.shown)
    shown = {path: value for path, value in shown.items() if path not in merged.to_target}
    shown |= {path: meeting.shown.get(path, _plainly(meeting.base, path)) for path in pending}
    written = plain(document.as_fields())
    version = meeting.target.version
    return Write(
        effect=Effect(
            id=effect_id(work.key, Operation.UPDATE, f"{meeting.record.version}\0{version}", payload_hash(written)),
            operation=Operation.UPDATE,
            kind=kind,
            document=document,
            reference=work.link.reference,
            target_id=work.link.target_id,
            target_version=version if writes.manifest.versions else "",
            label=meeting.step.label(meeting.record),
            notices=work.mapped.notices if work.mapped is not None else (),
        ),
        document=written,
        payload_hash="" if pending else payload_hash(agreed),
        agreed=agreed,
        shown=shown,
        more=bool(pending),
    )


def _whole(fields: dict[str, Any], path: str, target: Record, kind: Kind) -> dict[str, Any]:
    """With the whole group that the path leads into, as the target has it: groups are written whole."""
    name, dot, _ = path.partition(".")
    if not dot or name in fields:
        return fields
    known = target_fields(kind)[name].fields
    stands = target.fields.get(name)
    inside = {key: value for key, value in stands.items() if key in known} if isinstance(stands, Mapping) else {}
    return {**fields, name: inside}


def _to_source(meeting: _Meeting, merged: Merged, back: _Back, reads: Connector) -> Write:
    """The target's own changes, at their paths in the source record."""
    work = meeting.work
    beside = [
        path
        for path in meeting.step.ways
        if path not in merged.to_source and not same(_plainly(back.after, path), _plainly(meeting.source, path))
    ]
    agreed = agreement(back.after, meeting.source, beside)
    agreed = agreement(agreed, meeting.base, merged.conflicts)
    more = bool(merged.conflicts or beside)
    written = plain(back.fields)
    return Write(
        effect=Effect(
            id=effect_id(work.key, Operation.UPDATE, meeting.record.version, payload_hash({Side.SOURCE: written})),
            operation=Operation.UPDATE,
            kind=meeting.step.from_kind,
            document=RecordUpdate(fields=dict(back.fields)),
            reference=work.link.reference,
            target_id=work.key.source_id,
            target_version=meeting.record.version if reads.manifest.versions else "",
            label=meeting.step.label(meeting.record),
        ),
        document=written,
        payload_hash="" if more else payload_hash(agreed),
        side=Side.SOURCE,
        agreed=agreed,
        shown=shown_otherwise([*merged.agreed, *merged.to_source], agreed, meeting.shows, meeting.shown),
        more=more,
    )


def _plainly(document: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - plain JSON
    found = at(document, path)
    return None if found is ABSENT else found


def _words(path: str) -> str:
    return path.replace("_", " ").replace(".", " ")


def _quoted(value: object) -> str:
    return "empty" if value in (None, "") else f'"{value}"'
