"""Watching: who wrote what where, told by the providers as it happens, for oracles that need the past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.engine.simulation.policies import Policies
from tests.engine.simulation.runtime import WORKER_SECONDS
from tieout.domain.effects import Effect, Operation
from tieout.domain.links import LinkKey
from tieout.domain.plans import is_new_id
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side

SIDES = {(Side.SOURCE, Kind.COMPANY), (Side.TARGET, Kind.CUSTOMER)}
FIELDS = ("phone", "email", "city")
UNSURE_SECONDS = 1200  # a write so soon after midnight may have been allowed the day before


def shows(record: Record) -> dict[str, Any]:
    """What a company or a customer shows of the fields that people edit, as the mapping reads it."""
    fields: Mapping[str, Any] = record.fields
    if record.kind is Kind.CUSTOMER:
        return {
            "phone": fields.get("phone"),
            "email": fields.get("email"),
            "city": (fields.get("billing_address") or {}).get("city"),
        }
    contact = fields.get("contact") or {}
    return {
        "phone": contact.get("phone") or fields.get("phone"),
        "email": contact.get("email"),
        "city": (fields.get("billing_address") or {}).get("city") or (fields.get("address") or {}).get("city"),
    }


@dataclass(frozen=True, slots=True)
class Shown:
    """Since `at` a field shows `value`, which we wrote or a person."""

    at: float
    value: Any
    ours: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A person said at this moment whose value of a field counts, of these two."""

    at: float
    key: LinkKey
    field: str
    side: Side
    source: Any
    target: Any


@dataclass(frozen=True, slots=True)
class Written:
    """A write of ours that was done.

    Attributes:
        read_at: When its worker read the record that it was made of, if that is known.
        touched_at: When somebody last edited that record.
        outlived: True if its worker should have been dead.
    """

    at: datetime
    effect: Effect
    key: LinkKey | None
    plan: str
    is_withdrawal: bool
    read_at: float | None
    touched_at: float
    outlived: bool = False


class Watch:
    """One tenant's: every value that a field of both sides had, and every write.

    Attributes:
        overwritten: A side's own change that we replaced though nobody said so.
        writes: Ours, the oldest first.
        linked_at: When a link got its partner: what was there before is its partner's own.
        answers: What people said.
        moved: Invoices that a merge in the books gave another customer, and none of our writes met since: when.
        named_at: When a person last said whose partner a record is, or that it has none yet.
        approved: By key, when a person lifted the caps for it.
        faulty: False if nothing goes wrong in this world but what is in the nature of queues.
    """

    def __init__(
        self,
        policies: Policies,
        now: Callable[[], float],
        partner: Callable[[Side, str], tuple[LinkKey, str] | None],
        *,
        faulty: bool,
    ) -> None:
        self._policies, self._now, self._partner, self._faulty = policies, now, partner, faulty
        self._reads: dict[tuple[str, Kind, str], float] = {}
        self._values: dict[tuple[Side, str, str], list[Shown]] = defaultdict(list)
        self.overwritten: list[tuple[Side, str]] = []
        self.writes: list[Written] = []
        self.linked_at: dict[LinkKey, float] = {}
        self.answers: list[Answer] = []
        self.moved: dict[str, float] = {}
        self.named_at: dict[LinkKey, float] = {}
        self.approved: dict[LinkKey, datetime] = {}

    def read(self, worker: str, kind: Kind, ids: Iterable[str]) -> None:
        """A worker reads records."""
        for one in ids:
            self._reads.setdefault((worker, kind, one), self._now())

    def read_at(self, worker: str, kind: Kind, record_id: str) -> float | None:
        """When the worker first read it."""
        return self._reads.get((worker, kind, record_id))

    def changed(self, side: Side, before: Record | None, after: Record, *, ours: bool, read_at: float | None) -> None:
        """A record was written, by us or by a person."""
        if (side, after.kind) not in SIDES:
            return
        former = shows(before) if before is not None else {}
        for name, value in shows(after).items():
            if before is not None and former[name] == value:
                continue
            past = self._values[side, after.id, name]
            # The CRM has no versions: an edit between reading and writing is replaced.
            unread = read_at is not None and past and read_at <= past[-1].at
            if self.two_way and ours and past and not past[-1].ours and not unread:
                self._judge(side, after.id, name, value)
            past.append(Shown(self._now(), value, ours))

    def _judge(self, side: Side, record_id: str, name: str, value: Any) -> None:
        """Whether our write may replace what a person put there."""
        past = self._values[side, record_id, name]
        replaced = past[-1]
        found = self._partner(side, record_id)
        if found is None:
            return
        key, other_id = found
        if replaced.at <= self.linked_at.get(key, 0.0):
            return  # what an adopted record showed goes once its source changes it
        other = Side.SOURCE if side is Side.TARGET else Side.TARGET
        others = self._values[other, other_id, name]
        agreed = self._agreed(key, past, others, past if side is Side.SOURCE else others)
        if replaced.value in agreed or (self._faulty and _is_put_back(past, value)):
            return  # a person put back what both agreed on, so that only the other side is changed
        if any(one.value == replaced.value and one.at >= replaced.at for one in others):
            return  # it came over, and was changed there
        entered = [one.at for one in others if one.value == value and not one.ours]
        stale = not entered or any(one.value == value and entered[-1] <= one.at < replaced.at for one in past)
        may_win = self._policies.two_way in ("newest", other.value)
        if (may_win and (self._faulty or not stale)) or self._was_answered(key, name, other, replaced.value, value):
            return
        ours = [at for ids in ((side, record_id), (other, other_id)) for at in self._written_at(*ids)]
        begun = self._answered_at(key, name, other, replaced.value)
        if entered and any(said <= at < entered[-1] for said in begun for at in ours):
            return  # entered after the first of two writes that do as a person said: it goes with the second
        said = "with what it showed before" if stale else "though both were changed"
        what = f"the {side}'s {name} {replaced.value} was replaced by {value} {said}"
        self.overwritten.append((side, f"{key.tenant} {key.source_id}: {what}"))

    def _agreed(self, key: LinkKey, here: list[Shown], there: list[Shown], source: list[Shown]) -> list[Any]:
        """What both may have agreed on last: what both showed, what we wrote, or what the source showed when linked."""
        both = _last_alike(here, there)
        written = [one for one in (*here, *there) if one.ours]
        if written:
            return [*both, max(written, key=lambda one: one.at).value]
        linked_at = self.linked_at.get(key, 0.0)
        shown = [one for one in source if one.at <= linked_at]
        ends = [*(later.at for later in shown[1:]), linked_at]
        read = [one.value for one, end in zip(shown, ends, strict=True) if end >= linked_at - WORKER_SECONDS]
        return [*both, *read]

    def _was_answered(self, key: LinkKey, name: str, side: Side, replaced: Any, value: Any) -> bool:
        here, there = (value, replaced) if side is Side.SOURCE else (replaced, value)
        return any(
            one.key == key and one.field == name and one.side is side and (one.source, one.target) == (here, there)
            for one in self.answers
        )

    def _answered_at(self, key: LinkKey, name: str, side: Side, replaced: Any) -> list[float]:
        """When people said that this side's value counts, and not the one that is replaced."""
        return [
            one.at
            for one in self.answers
            if (one.key, one.field, one.side) == (key, name, side)
            and (one.target if side is Side.SOURCE else one.source) == replaced
        ]

    def _written_at(self, side: Side, record_id: str) -> list[float]:
        """When we wrote fields of this record that people edit."""
        return [
            one.at
            for (a_side, an_id, _), past in self._values.items()
            if (a_side, an_id) == (side, record_id)
            for one in past
            if one.ours
        ]

    def was_linked_late(self, record_id: str, name: str) -> bool:
        """True if the customer got its partner after somebody last entered this: then it was taken as it stood."""
        past = self._values.get((Side.TARGET, record_id, "city" if name == "billing_address" else name))
        found = self._partner(Side.TARGET, record_id)
        return bool(past) and found is not None and past[-1].at <= self.linked_at.get(found[0], 0.0)

    @property
    def two_way(self) -> bool:
        """True if what people change in a customer comes back."""
        return bool(self._policies.two_way)

    # Caps and plans

    def beyond_cap(self, most: int) -> Iterator[str]:
        """Days with more withdrawals than a day may have without approval."""
        seen: dict[str, datetime] = {}
        for one in self.writes:
            if one.is_withdrawal and not self._is_free(one):
                seen.setdefault(one.effect.reference, one.at)
        yield from _too_many("withdrawals", list(seen.values()), most)

    def beyond_rewrites(self, most: int, versions: list[datetime]) -> Iterator[str]:
        """Days with more updates for which nothing but the sync's document gave cause than a day may have."""
        last: dict[str, Written] = {}
        counted: dict[tuple[str, int], datetime] = {}
        for one in self.writes:
            reference = one.effect.reference
            former, last[reference] = last.get(reference), one
            updates = one.effect.kind is Kind.INVOICE and one.effect.operation is Operation.UPDATE
            if not updates or one.is_withdrawal or former is None or former.read_at is None:
                continue
            changed = any(former.at < at <= one.at for at in versions)
            if changed and one.touched_at <= former.read_at and not self._is_free(one):
                counted.setdefault((reference, one.at.toordinal()), one.at)
        yield from _too_many("rewrites", list(counted.values()), most)

    def _is_free(self, one: Written) -> bool:
        approved = self.approved.get(one.key) if one.key is not None else None
        return bool(one.plan) or (approved is not None and approved <= one.at)


def _is_put_back(past: list[Shown], value: Any) -> bool:
    """True if a person put back what stood there before we wrote this: if our answer was lost, nothing seems written.

    The CRM has no versions that could tell the two apart.
    """
    before, ours, put_back = ([None] * 3 + past)[-3:]
    if before is None or ours is None or put_back is None:
        return False
    return ours.ours and ours.value == value and put_back.value == before.value


def _last_alike(here: list[Shown], there: list[Shown]) -> list[Any]:
    """The value that both sides showed at one time, the last of these; empty if none."""
    sides: dict[bool, Any] = {}
    alike: list[Any] = []
    for one, is_here in sorted([(o, True) for o in here] + [(o, False) for o in there], key=lambda pair: pair[0].at):
        sides[is_here] = one.value
        if {True, False} <= sides.keys() and sides[True] == sides[False]:
            alike = [one.value]
    return alike


def _too_many(what: str, moments: list[datetime], most: int) -> Iterator[str]:
    """Days with more than so many; a moment just after midnight counts for the day before while there is room."""
    room: dict[int, int] = defaultdict(lambda: most)
    for at in sorted(moments):
        day = at.toordinal()
        seconds = at.hour * 3600 + at.minute * 60 + at.second
        if seconds < UNSURE_SECONDS and room[day - 1] > 0:
            day -= 1
        room[day] -= 1
    for day, left in sorted(room.items()):
        if left < 0:
            yield f"{most - left} {what} on {datetime.fromordinal(day):%Y-%m-%d}, of {most} without approval"


def without_what_stood(planned: Any, written: Any, stood: Any) -> Any:
    """A group that was written, such as an address, without the parts that the plan leaves alone and that stood there.

    Providers take groups whole: what stands beside the parts that we say is written as it stands. All plain JSON.
    """
    if not (isinstance(planned, Mapping) and isinstance(written, Mapping) and isinstance(stood, Mapping)):
        return written
    return {part: value for part, value in written.items() if part in planned or value != stood.get(part)}


def like_planned(planned: Any, written: Any) -> bool:
    """True if what was written is what the plan says; ids of records that it creates itself are not known before."""
    if isinstance(planned, str) and is_new_id(planned):
        return isinstance(written, str)
    if isinstance(planned, Mapping):
        if not isinstance(written, Mapping):
            return False
        names = {name for name in {*planned, *written} if planned.get(name) is not written.get(name)}
        return all(like_planned(planned.get(name), written.get(name)) for name in names)
    if isinstance(planned, list):
        same_length = isinstance(written, list) and len(planned) == len(written)
        return same_length and all(like_planned(one, other) for one, other in zip(planned, written, strict=True))
    return bool(planned == written)
