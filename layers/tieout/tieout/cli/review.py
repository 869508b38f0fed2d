"""`tieout review`: questions that only a person can answer, and the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tieout.cli.desk import Desk
from tieout.cli.parked import operate
from tieout.cli.talk import Answer, AnswerError, Code, Talk, moment, table
from tieout.domain.changes import Unsynced
from tieout.domain.errors import SettingsError, TieoutError
from tieout.domain.reviews import Choice, Decision, Review, ReviewKind, Side
from tieout.domain.words import age, counted
from tieout.engine.backfill import sync_of
from tieout.engine.collect import compiled
from tieout.engine.operate import check_answer

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class Said:
    """The answer as it was typed; exactly one of the ways has to be taken.

    Attributes:
        take: Whose value counts for every field that `fields` does not name.
        fields: `name=source` or `name=target`.
    """

    take: str = ""
    fields: Sequence[str] = ()
    accept: str = ""
    create: bool = False
    never: str = ""


def listed(desk: Desk, *, sync: str, kind: str, show: int) -> Answer:
    """Every open question, oldest first.

    Raises:
        AnswerError: If there is no such kind.
        SettingsError: If there is no such sync, nor a question of it.
    """
    found = operate(desk).reviews(desk.tenant, sync=sync, kind=_kind(kind))
    if sync and not found:
        sync_of(desk.deployment.config, desk.tenant, sync)  # a sync that is gone may still have questions

    def view() -> Iterator[RenderableType]:
        if not found:
            yield "No question is open."
            return
        now = desk.deployment.clock.now()
        for one in found[:show]:
            yield f"{one.where}  {one.label}  {age((now - one.since).total_seconds())} ago"
            yield f"  {one.reason}"
        if len(found) > show:
            yield f"and {len(found) - show:,} more (--show {len(found)})"
        yield f"{counted(len(found), 'question')} open. See `tieout review show`; answer with `tieout review resolve`."

    return Answer({"reviews": [data_of(one) for one in found]}, view)


def _kind(text: str) -> ReviewKind | None:
    if text in ("", *ReviewKind):
        return ReviewKind(text) if text else None
    raise AnswerError(
        f"`{text}` is no kind of question.", code=Code.USAGE, next_step=f"Write one of: {', '.join(ReviewKind)}."
    )


def shown(desk: Desk, where: str) -> Answer:
    """One question in full, with what each answer does.

    Raises:
        AnswerError: If nothing is asked there.
    """
    one, review = _asked(desk, where)

    def view() -> Iterator[RenderableType]:
        yield one.label
        yield f"  where  {where}"
        yield f"  since  {moment(one.since)} ({age((desk.deployment.clock.now() - one.since).total_seconds())} ago)"
        yield f"  why    {one.reason}"
        yield from (
            _conflicts(desk, one, review) if review.kind is ReviewKind.CONFLICT else _candidates(desk, one, review)
        )

    return Answer(data_of(one), view)


def _conflicts(desk: Desk, one: Unsynced, review: Review) -> Iterator[RenderableType]:
    source, target = _sides(desk, one.sync)
    values = table("field", "when both agreed", f"{source} (source)", f"{target} (target)")
    for each in review.conflicts:
        values.add_row(each.field, *map(_value, (each.agreed, each.source, each.target)))
    yield values
    yield f"  {source} was edited {_edit(review.source_edited_at, review.source_edited_by)}"
    yield f"  {target} was edited {_edit(review.target_edited_at, review.target_edited_by)}"
    command = f"tieout review resolve {one.where} --tenant {desk.tenant}"
    yield f"  {source} counts   {command} --take source"
    yield f"  {target} counts   {command} --take target"
    if len(review.conflicts) > 1:
        yield f"  one by one       {command} --field {review.conflicts[0].field}=source --take target"


def _candidates(desk: Desk, one: Unsynced, review: Review) -> Iterator[RenderableType]:
    found = table("id", "name", "score", "because", right=("score",))
    for each in review.candidates:
        found.add_row(each.target_id, each.name, f"{each.score:.2f}", "; ".join(each.reasons))
    yield found
    command = f"tieout review resolve {one.where} --tenant {desk.tenant}"
    first = review.candidates[0].target_id if review.candidates else "ID"
    yield f"  it is this one       {command} --accept {first}"
    yield f"  it is a new one      {command} --create"
    yield f"  it never is this one {command} --never {first}"


def resolved(desk: Desk, conversation: Talk, where: str, said: Said, *, yes: bool) -> Answer:
    """The answer is kept, and the record queued: the next run writes as it says.

    Raises:
        AnswerError: If nothing is asked there, the answer does not fit, or nobody agreed.
    """
    one, review = _asked(desk, where)
    decision = _decision(desk, review, said)
    try:
        check_answer(one, decision)
    except SettingsError as unfit:
        raise AnswerError(unfit.message, code=Code.USAGE, next_step=unfit.next_step) from None
    meaning = _meaning(desk, one, decision)
    if not yes:
        conversation.agree(f"{meaning} Keep this answer?", refused="Nothing was changed.")
    try:
        operate(desk).resolve(desk.tenant, one, decision)
    except TieoutError as error:
        raise AnswerError(
            f"The answer could not be kept: {error.message}",
            code=Code.TRY_LATER,
            next_step="Give it again in a minute.",
        ) from error

    def view() -> Iterator[RenderableType]:
        yield f"Answered: {meaning}"
        yield f"It is done in a moment; until then `tieout review list --tenant {desk.tenant}` goes on showing it."

    answer = {
        "where": where,
        "choice": decision.choice,
        "target_id": decision.target_id,
        "fields": dict(decision.fields),
        "by": decision.by,
        "at": decision.at,
    }
    return Answer(answer, view)


def _asked(desk: Desk, where: str) -> tuple[Unsynced, Review]:
    for one in operate(desk).reviews(desk.tenant):
        if one.where == where and one.review is not None:
            return one, one.review
    raise AnswerError(
        f"No question is open at {where}.",
        code=Code.NO,
        next_step=f"See `tieout review list --tenant {desk.tenant}`.",
    )


def _decision(desk: Desk, review: Review, said: Said) -> Decision:
    choice = _choice(said)
    fields = _fields(review, said) if choice is Choice.FIELDS else {}
    return Decision(
        digest=review.digest,
        choice=choice,
        by=desk.who(),
        at=desk.deployment.clock.now(),
        target_id=said.accept or said.never,
        fields=fields,
    )


def _choice(said: Said) -> Choice:
    ways = {
        Choice.FIELDS: bool(said.take or said.fields),
        Choice.ACCEPT: bool(said.accept),
        Choice.CREATE: said.create,
        Choice.NEVER: bool(said.never),
    }
    taken = [choice for choice, given in ways.items() if given]
    if len(taken) == 1:
        return taken[0]
    raise AnswerError(
        "Give one answer: --take or --field for values; --accept, --create or --never for candidates.",
        code=Code.USAGE,
        next_step="See `tieout review show` for what each does.",
    )


def _fields(review: Review, said: Said) -> dict[str, Side]:
    named = {}
    for text in said.fields:
        name, equals, side = text.partition("=")
        if not equals or not name:
            raise AnswerError(f"`{text}` is no NAME=source or NAME=target.", code=Code.USAGE)
        named[name] = _side(side)
    if said.take:
        named = {conflict.field: _side(said.take) for conflict in review.conflicts} | named
    return named


def _side(text: str) -> Side:
    if text in tuple(Side):
        return Side(text)
    raise AnswerError(f"`{text}` is no side.", code=Code.USAGE, next_step="Write source or target.")


def _meaning(desk: Desk, one: Unsynced, decision: Decision) -> str:
    """What the answer does, as a sentence."""
    names = dict(zip(Side, _sides(desk, one.sync), strict=True))
    match decision.choice:
        case Choice.ACCEPT:
            return f"{one.label} is {decision.target_id} in {names[Side.TARGET]}."
        case Choice.CREATE:
            return f"{one.label} is new in {names[Side.TARGET]} and is created there."
        case Choice.NEVER:
            return f"{one.label} never is {decision.target_id} in {names[Side.TARGET]}."
    said = [f"{field} as in {names[side]}" for field, side in decision.fields.items()]
    return f"{one.label} has its {', '.join(said)}."


def _sides(desk: Desk, sync: str) -> tuple[str, str]:
    """What people call source and target: the providers' titles, or the connections' names if they are alike."""
    config = desk.deployment.config
    stored = next((one for one in config.syncs(desk.tenant) if one.name == sync), None)
    if stored is None:
        return "the source", "the target"
    found = compiled(stored)
    titles = []
    for name in (found.source, found.target):
        connection = config.connection(desk.tenant, name)
        titles.append(name if connection is None else desk.deployment.provider(connection.provider).manifest.title)
    return (titles[0], titles[1]) if titles[0] != titles[1] else (found.source, found.target)


def _value(value: object) -> str:
    return "(empty)" if value in (None, "") else str(value)


def _edit(at: datetime | None, by: str) -> str:
    when = moment(at) if at is not None else "at a time that it does not tell"
    return f"{when} by {by}" if by else f"{when}; it does not tell by whom"


def data_of(one: Unsynced) -> dict[str, Any]:
    """For `--json`."""
    review = one.review
    if review is None:
        raise ValueError("nothing is asked")
    return {
        "where": one.where,
        "sync": one.sync,
        "step": one.step,
        "id": one.change.id,
        "label": one.label,
        "kind": review.kind,
        "reason": one.reason,
        "since": one.since,
        "digest": review.digest,
        "conflicts": [
            {"field": each.field, "agreed": each.agreed, "source": each.source, "target": each.target}
            for each in review.conflicts
        ],
        "candidates": [
            {"id": each.target_id, "name": each.name, "score": each.score, "reasons": list(each.reasons)}
            for each in review.candidates
        ],
        "source_edited_at": review.source_edited_at,
        "source_edited_by": review.source_edited_by,
        "target_edited_at": review.target_edited_at,
        "target_edited_by": review.target_edited_by,
    }
