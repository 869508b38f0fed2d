"""Following: two records of the other side were merged, and the link of the one that is gone goes on to the other.

A provider that tells of the merge is believed once its records show it. Where nobody told, the next write finds the
partner gone, be it its own or that of a document that names it, and a person says whether one that is like it is what
it became.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tieout.domain.changes import Change, Origin
from tieout.domain.documents import Customer, Document
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import ClaimedError, NotFoundError, TieoutError
from tieout.domain.links import Link, Withdrawal
from tieout.domain.records import Record
from tieout.domain.reviews import Choice, Decision, Review, ReviewKind
from tieout.engine.adopt import ANSWERS_MAX, candidate_of, owners_of, store, thresholds_of
from tieout.engine.collect import connection_written, read_all
from tieout.engine.decisions import answer_to, without_answer
from tieout.engine.plan import Work, otherwise
from tieout.engine.sentences import may_have_become, target_gone, target_inactive
from tieout.engine.session import Session
from tieout.mapping import CompiledStep, CompiledSync
from tieout.matching import Adopt, Ask, decide
from tieout.ports.connector import Connector

_SHOWN_AFTER_ATTEMPTS = 3


def follow(session: Session, connection: str, syncs: Sequence[CompiledSync], changes: Sequence[Change]) -> list[Change]:
    """The changes that are no merges; links of those that were merged away name the record that is left."""
    for change in (one for one in changes if one.merged_into):  # rare, and each reads two records
        try:
            _follow(session, connection, syncs, change)
        except TieoutError as error:
            session.failed(connection, error)
            session.ends.put_off([change], error)
    return [change for change in changes if not change.merged_into]


def _follow(session: Session, connection: str, syncs: Sequence[CompiledSync], change: Change) -> None:
    losers = [
        (sync, step, link)
        for sync in syncs
        if sync.target == connection
        for step in sync.steps
        if step.reads == "source" and step.to_kind is change.kind
        for link in _partners(session, sync, step, change.id)
    ]
    if not losers:
        session.ends.unwanted([change], "not made by this sync")
        return
    target = session.connector(connection)
    today = read_all(target, change.kind, [change.id, change.merged_into])
    loser, survivor = today.get(change.id), today.get(change.merged_into)
    if survivor is None or (loser is not None and loser.fields.get("active") is not False):
        if change.attempts < _SHOWN_AFTER_ATTEMPTS:
            session.ends.put_off([change], NotFoundError("The merge does not show yet; it is looked at again."))
        else:
            session.ends.unwanted([change], "a merge that the other side does not show")
        return
    for sync, step, link in sorted(losers, key=lambda loser: loser[2].follows):  # who wrote it goes on writing
        if link.intent is not None:
            raise ClaimedError("The record that was merged is being written.")
        moved = moved_to(session, link, survivor)
        moved = session.links.store(moved, pointer=not moved.follows)
        if link.unsynced is not None or not moved.follows:
            session.ends.put_off([_own(change, sync, step, link)])
    session.ends.unwanted([change], "its record was merged, and is followed")


def _partners(session: Session, sync: CompiledSync, step: CompiledStep, target_id: str) -> Iterator[Link]:
    """Links whose partner it is. All are asked: records that keep our reference have no way back, and this is rare."""
    for link in session.links.all(session.tenant, sync.name, step.name):
        if link.target_id == target_id:
            yield link


def _own(change: Change, sync: CompiledSync, step: CompiledStep, link: Link) -> Change:
    """The source record's own change, so that it is planned again."""
    return replace(
        change,
        connection=sync.source,
        kind=step.from_kind,
        id=link.key.source_id,
        origin=Origin.SWEEP,
        merged_into="",
        attempts=0,
    )


def moved_to(session: Session, link: Link, record: Record) -> Link:
    """The link with this record as its partner: followed if another link writes it, else taken over as it stands."""
    others = owners_of(session, link.key, [record]).get(record.id, link.key) != link.key
    return replace(
        link,
        target_id=record.id,
        target_version="",
        follows=others,
        shown=None if others else otherwise(record, link.base or {}),
        withdrawn=None,
        decision=None,
    )


def is_doubted(work: Work) -> bool:
    """True if the work's partner was found gone, or may be, so that it is looked for before anything else is said."""
    said = work.link.unsynced
    return work.link.target_id is not None and (
        work.change.origin is Origin.DOUBT or (said is not None and said.cause == cause_gone(work.step))
    )


def cause_gone(step: CompiledStep) -> str:
    """What everything is gathered by that waits for a person to say what became of a partner."""
    return f"target-gone-{step.name}"


def look_for_partners(session: Session, doubted: Sequence[tuple[Work, Document]]) -> None:
    """Each work, whose record did not change, ended: unchanged if its partner stands, else as `end_gone` does."""
    if not doubted:
        return
    sync, step = doubted[0][0].sync, doubted[0][0].step
    connection = connection_written(sync, step)
    try:
        target = session.connector(connection)
        today = read_all(target, step.to_kind, list(dict.fromkeys(work.link.target_id or "" for work, _ in doubted)))
    except TieoutError as error:
        session.failed(connection, error)
        for work, _ in doubted:
            session.ends.waits(work, error)
        return
    for work, document in doubted:
        record = today.get(work.link.target_id or "")
        if stands(record):
            session.ends.unchanged(work)
        else:
            end_gone(session, work, document, target, record)


def stands(record: Record | None) -> bool:
    """True if it is there and can be named by documents."""
    return record is not None and record.fields.get("active") is not False


def end_gone(session: Session, work: Work, document: Document, target: Connector, record: Record | None = None) -> None:
    """End the work whose partner is gone, or is only there as the inactive `record`; it has no open intent.

    One that is gone is not written again by itself, and later changes need not ask the provider again.
    """
    if lost(session, work, document, target):
        session.forget(work.key)
    elif record is not None:
        session.forget(work.key)
        session.ends.parked(work, target_inactive(work, target), cause=cause_gone(work.step))
    elif store(session, work, replace(work.link, withdrawn=Withdrawal.TARGET_GONE)):
        session.forget(work.key)
        session.ends.parked(work, target_gone(work, target), cause=cause_gone(work.step))


def lost(session: Session, work: Work, document: Document, target: Connector) -> bool:
    """True if the work ended here: its partner is gone, and others may be what it became.

    Only for customers, which providers merge. The work has no open intent.
    """
    if not isinstance(document, Customer):
        return False
    try:
        there = _alike(work, document, target)
        for _ in range(ANSWERS_MAX):
            verdict = decide(document, there, thresholds_of(work), work.link.never)
            if not isinstance(verdict, Adopt | Ask):
                return False
            scored = (verdict.scored,) if isinstance(verdict, Adopt) else verdict.scored
            review = Review(ReviewKind.MATCH, candidates=tuple(map(candidate_of, scored)))
            answer = answer_to(work.link, review)
            if answer is None:
                error = may_have_become(work, target, scored)
                session.ends.parked(work, error, cause=cause_gone(work.step), review=review)
                return True
            changed = _answered(session, work.link, answer, {one.record.id: one.record for one in scored})
            if not store(session, work, changed):
                return True
            if answer.choice is not Choice.NEVER:
                session.ends.waits(work, ClaimedError("Its partner on the other side is another one from now on."))
                return True
    except TieoutError as error:
        session.failed(work.sync.target, error)
        session.ends.waits(work, error)
    return True


def _alike(work: Work, document: Customer, target: Connector) -> list[Record]:
    """Active customers that may be what the partner became."""
    effect = Effect(
        id=work.key.reference,
        operation=Operation.CREATE,
        kind=work.step.to_kind,
        document=document,
        reference=work.link.reference,
        similar=True,
    )
    matches = target.find([effect]).get(effect.id, ())
    records = {match.record.id: match.record for match in matches if match.record.id != work.link.target_id}
    return [record for record in records.values() if record.fields.get("active") is not False]


def _answered(session: Session, link: Link, answer: Decision, there: Mapping[str, Record]) -> Link:
    chosen = there.get(answer.target_id)
    if answer.choice is Choice.ACCEPT and chosen is not None:
        return moved_to(session, link, chosen)
    if answer.choice is Choice.CREATE:  # the same question is asked before the create, and this answers it too
        return Link(
            link.key,
            revision=link.revision,
            decision=answer,
            never=link.never,
            unsynced=link.unsynced,
            generation=link.generation,
            renewed_by=link.renewed_by,
        )
    ruled_out = (answer.target_id,) if answer.choice is Choice.NEVER and chosen is not None else ()
    return replace(without_answer(link), never=(*link.never, *ruled_out))
