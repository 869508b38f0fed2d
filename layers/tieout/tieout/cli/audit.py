"""`tieout audit`: whether the trail of what happened is whole, and what it tells."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tieout.adapters.s3 import object_name
from tieout.cli.desk import Desk
from tieout.cli.talk import Answer, AnswerError, Code, Talk, moment
from tieout.domain.audit import Entry, Flaw, Thing, What, canonical, line_of
from tieout.domain.words import counted
from tieout.engine.audit import Difference, Trail, Verdict, Watch

if TYPE_CHECKING:
    from rich.console import RenderableType

LISTED_MAX = 20
COLUMNS = (
    "entry",
    "at",
    "thing",
    "name",
    "what",
    "target_id",
    "revision",
    "source_version",
    "target_version",
    "payload_hash",
    "worker",
    "changed",
    "before",
    "after",
    "hash",
)


class Form(StrEnum):
    """How entries are written: JSONL as in the archive, CSV for a spreadsheet."""

    JSONL = "jsonl"
    CSV = "csv"


def form_of(text: str) -> Form:
    """The form of this name.

    Raises:
        AnswerError: If there is none.
    """
    if text not in Form:
        raise AnswerError(f"{text} is no format; there are: {', '.join(Form)}.", code=Code.USAGE)
    return Form(text)


# Verifying


def verify(desk: Desk, conversation: Talk) -> Answer:
    """Whether the chain is whole, and whether replaying it gives today's links; status 1 if not."""
    with conversation.progress(entries="Entries read", links="Links compared") as show:
        verdict = desk.deployment.audit().verify(desk.tenant, show)

    def view() -> Iterator[RenderableType]:
        if verdict.entries:
            span = f"{_moment(verdict.began_at)} to {_moment(verdict.ended_at)}"
            yield (
                f"The audit trail of {desk.tenant}: {counted(verdict.entries, 'entry')} in "
                f"{counted(verdict.objects, 'object')}, {span}."
            )
        if verdict.flaw is not None:
            yield from _damage(desk, verdict.flaw)
            return
        if verdict.entries:
            yield "  The chain is whole."
            yield f"  The newest is entry {verdict.tip.seq}, hash {verdict.tip.hash}"
        else:
            yield f"The audit trail of {desk.tenant} has no entries yet."
        yield from _compared(verdict)

    return Answer(_verdict_data(desk, verdict), view, Code.OK if verdict.clean else Code.NO)


def _damage(desk: Desk, flaw: Flaw) -> Iterator[str]:
    where = _where(desk, flaw)
    yield "The audit trail is damaged; what comes after the damage was not read."
    yield f"  first bad entry  {flaw.seq}"
    yield f"  where            {where}" + (f", line {flaw.line}" if flaw.line else "")
    yield f"  what             {flaw.reason}"
    yield (
        "Next: The bucket keeps every version of an object: `aws s3api list-object-versions "
        f"--bucket {desk.deployment.settings.audit_bucket} --prefix audit/{desk.tenant}/` shows what was written again "
        "or deleted, and when. The first version is Tieout's."
    )


def _where(desk: Desk, flaw: Flaw) -> str:
    name = object_name(desk.tenant, flaw.seq if flaw.first is None else flaw.first)
    return f"s3://{desk.deployment.settings.audit_bucket}/{name}" + (" is missing" if flaw.first is None else "")


def _compared(verdict: Verdict) -> Iterator[str]:
    if verdict.clean:
        yield f"Replaying it gives today's links: {counted(verdict.alike, 'link')} alike."
    else:
        yield f"Replaying it does not give today's links; {counted(verdict.alike, 'link')} alike."
    if verdict.newer:
        yield f"  {counted(verdict.newer, 'change')} newer than the trail; it follows within seconds, mostly."
    if verdict.older:
        yield f"  {counted(verdict.older, 'link')} not changed since the trail began."
    if verdict.repeated:
        yield f"  {counted(verdict.repeated, 'entry')} told twice, which changes nothing."
    yield from _listed("not what the trail says", verdict.differing)
    yield from _listed("changed without an entry", verdict.gaps)


def _listed(what: str, found: Sequence[Difference]) -> Iterator[str]:
    if not found:
        return
    yield f"  {counted(len(found), 'record')} {what}:"
    for one in found[:LISTED_MAX]:
        yield f"    {one.name}  {one.reason}"
    if len(found) > LISTED_MAX:
        yield f"    and {len(found) - LISTED_MAX:,} more (--json lists all)"


def _verdict_data(desk: Desk, verdict: Verdict) -> dict[str, Any]:
    return {
        "tenant": desk.tenant,
        "clean": verdict.clean,
        "entries": verdict.entries,
        "objects": verdict.objects,
        "newest": {"entry": verdict.tip.seq, "hash": verdict.tip.hash} if verdict.entries else None,
        "began_at": verdict.began_at,
        "ended_at": verdict.ended_at,
        "damage": None if verdict.flaw is None else _flaw_data(desk, verdict.flaw),
        "repeated": verdict.repeated,
        "gaps": [_difference_data(one) for one in verdict.gaps],
        "links": {
            "alike": verdict.alike,
            "newer": verdict.newer,
            "older": verdict.older,
            "differing": [_difference_data(one) for one in verdict.differing],
        },
    }


def _difference_data(one: Difference) -> dict[str, str]:
    return {"name": one.name, "reason": one.reason}


def _flaw_data(desk: Desk, flaw: Flaw) -> dict[str, Any]:
    return {
        "entry": flaw.seq,
        "object": object_name(desk.tenant, flaw.seq if flaw.first is None else flaw.first),
        "line": flaw.line,
        "damage": flaw.damage,
        "reason": flaw.reason,
    }


# Reading


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: of a record (`sync/step/id`, or its id alone), from a moment on, before another."""

    record: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, entry: Entry) -> bool:
        """True if the entry is asked for."""
        if self.record and entry.name != self.record and not _is_id(entry, self.record):
            return False
        return (self.since is None or entry.at >= self.since) and (self.until is None or entry.at < self.until)


def _is_id(entry: Entry, record: str) -> bool:
    return entry.thing is Thing.LINK and entry.name.split("/", 2)[-1] == record


def wanted(record: str, since: str, until: str) -> Wanted:
    """What the options ask for; a date alone is the whole day.

    Raises:
        AnswerError: If one is no date or time.
    """
    return Wanted(record, _begin(since, "--since"), _end(until))


def _begin(text: str, option: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise AnswerError(
            f"{option} {text} is neither a date nor a time.",
            code=Code.USAGE,
            next_step="Write it as 2026-11-22 or 2026-11-22T09:30:00Z.",
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _end(text: str) -> datetime | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return _begin(text, "--until")
    return None if day == date.max else datetime.combine(day + timedelta(days=1), time(), UTC)


@dataclass(slots=True)
class _Reading:
    """The entries that are asked for, and the flaw that ended them."""

    trail: Trail
    wanted: Wanted
    flaw: Flaw | None = None
    count: int = 0

    def entries(self, show: Watch) -> Iterator[Entry]:
        """Those that fit; once they are read, `flaw` and `count` are known."""
        for found in self.trail.read(show):
            if isinstance(found, Flaw):
                self.flaw = found
            elif self.wanted.fits(found[1]):
                self.count += 1
                yield found[1]


def export(desk: Desk, conversation: Talk, asked: Wanted, form: Form, output: Path | None) -> Answer:
    """The entries as a file, or on the standard output; status 1 if the trail is damaged.

    Raises:
        AnswerError: If the file cannot be written, or the standard output would have to hold a table within JSON.
    """
    if conversation.as_json and output is None and form is Form.CSV:
        raise AnswerError(
            "A table does not go into the one JSON document.",
            code=Code.USAGE,
            next_step="Add --output FILE, or leave out one of --json and --format csv.",
        )
    conversation.resume = "What was written so far is not all."
    reading = _Reading(desk.deployment.audit().trail(desk.tenant), asked)
    data: dict[str, Any] = {}
    with conversation.progress(entries="Entries read") as show:
        if conversation.as_json and output is None:
            data["entries"] = [_plain(entry) for entry in reading.entries(show)]
        else:
            with _opened(output) as stream:
                _write(reading.entries(show), form, stream)
            data |= {"file": None if output is None else str(output), "exported": reading.count}
    flaw = reading.flaw
    data["damage"] = None if flaw is None else _flaw_data(desk, flaw)

    def view() -> Iterator[RenderableType]:
        return iter(())

    if output is not None:
        conversation.say(f"{counted(reading.count, 'entry')} written to {output}.")
    if flaw is not None and not conversation.as_json:
        for line in _damage(desk, flaw):
            conversation.say(line)
    return Answer(data, view, Code.OK if flaw is None else Code.NO)


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        raise AnswerError(f"{output} cannot be written: {error.strerror}.", code=Code.USAGE) from None


def _write(entries: Iterator[Entry], form: Form, stream: TextIO) -> None:
    if form is Form.JSONL:
        stream.writelines(line_of(entry).decode() for entry in entries)
        return
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    for entry in entries:
        table.writerow([_cell(value) for value in _row(entry)])


def _row(entry: Entry) -> tuple[str, ...]:
    stands = entry.after or entry.former() or {}
    return (
        str(entry.seq),
        moment(entry.at),
        entry.thing,
        entry.name,
        entry.what,
        *(str(stands.get(name, "")) for name in ("target_id", "revision", "source_version", "target_version")),
        str(stands.get("payload_hash", "")),
        entry.worker,
        " ".join(sorted(entry.changes())),
        "" if entry.before is None else canonical(entry.before).decode(),
        "" if entry.after is None else canonical(entry.after).decode(),
        entry.hash,
    )


def _cell(text: str) -> str:
    """The text, so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


# One record


def shown(desk: Desk, conversation: Talk, record: str) -> Answer:
    """What happened to one record, from the beginning; status 1 if the trail is damaged.

    Raises:
        AnswerError: If the trail tells nothing of it.
    """
    reading = _Reading(desk.deployment.audit().trail(desk.tenant), Wanted(record))
    with conversation.progress(entries="Entries read") as show:
        found = list(reading.entries(show))
    flaw = reading.flaw
    if not found and flaw is None:
        raise AnswerError(
            f"The audit trail of {desk.tenant} tells nothing of {record}.",
            code=Code.NO,
            next_step="Name it as sync/step/id, or by its id alone.",
        )

    def view() -> Iterator[RenderableType]:
        name = ""
        for entry in found:
            if entry.name != name:
                name = entry.name
                yield name
            yield f"  {moment(entry.at)}  {_said(entry)}"
            for field, (before, after) in _fields(entry).items():
                yield f"      {field}: {_value(before)} -> {_value(after)}"
        if flaw is not None:
            yield from _damage(desk, flaw)

    return Answer(
        {
            "entries": [_plain(entry) | {"fields": _fields(entry)} for entry in found],
            "damage": None if flaw is None else _flaw_data(desk, flaw),
        },
        view,
        Code.OK if flaw is None else Code.NO,
    )


def _plain(entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry.seq,
        "at": entry.at,
        "thing": entry.thing,
        "name": entry.name,
        "what": entry.what,
        "worker": entry.worker,
        "before": entry.before,
        "after": entry.after,
        "hash": entry.hash,
    }


def _said(entry: Entry) -> str:
    """What happened, with what a person asks next."""
    stands: Mapping[str, Any] = entry.after or entry.former() or {}
    intent: Mapping[str, Any] = stands.get("intent") or {}
    unsynced: Mapping[str, Any] = stands.get("unsynced") or {}
    adopts, why = intent.get("adopts"), ((entry.former() or {}).get("intent") or {}).get("adopts")
    more = {
        What.INTENT_OPENED: f"to link: {adopts}" if adopts else f"to {intent.get('operation', 'write')}",
        What.CREATED: f"as {stands.get('target_id')}",
        What.LINKED: f"with {stands.get('target_id')}, which stood there already" + (f": {why}" if why else ""),
        What.UPDATED: str(stands.get("target_id")),
        What.PARKED: str(unsynced.get("reason", "")),
        What.WAITS: str(unsynced.get("reason", "")),
        What.DISMISSED: str(unsynced.get("reason", "")),
        What.DECIDED: f"by {(stands.get('decision') or {}).get('by', '')}",
        What.WITHDRAWN: str(stands.get("withdrawn", "")),
        What.RENEWED: f"by {stands.get('renewed_by', '')}: a new document may be written in its place",
        What.PAUSED: str(stands.get("paused_because", "")),
        What.APPROVED: f"by {(stands.get('values') or {}).get('approved_by', '')}",
        What.APPLIED: f"version {stands.get('version')}",
    }.get(entry.what, "")
    between = ": " if entry.what in {What.PARKED, What.WAITS, What.DISMISSED, What.PAUSED} else " "
    return f"{entry.what}{between}{more}" if more else entry.what


def _fields(entry: Entry) -> dict[str, tuple[Any, Any]]:
    """By field of the document, what was written before and what is now; only where a document was replaced."""
    before, after = entry.changes().get("base", (None, None))
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return {}
    names = [*before, *(name for name in after if name not in before)]
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _value(value: object) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else canonical(value).decode()


def _moment(value: datetime | None) -> str:
    return "" if value is None else moment(value)
