"""Operating: where everything stands, and what a person does with parked changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tieout.domain.changes import Lane, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.errors import ClaimedError, SettingsError
from tieout.domain.links import Link, LinkKey
from tieout.domain.reviews import Choice, Decision, ReviewKind
from tieout.engine.collect import compiled
from tieout.mapping import CREDIT_NOTE
from tieout.ports.clock import Clock
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import ConfigStore, LinkStore

STORE_ATTEMPTS_MAX = 5


@dataclass(slots=True)
class StepStatus:
    """Counts of one step by state; `oldest_unsynced_seconds` is 0 if nothing waits or is parked."""

    sync: str
    step: str
    in_agreement: int = 0
    waiting: int = 0
    parked: int = 0
    dismissed: int = 0
    writing: int = 0
    oldest_unsynced_seconds: int = 0

    @property
    def is_used(self) -> bool:
        """True if there is any record of it."""
        return any((self.in_agreement, self.waiting, self.parked, self.dismissed, self.writing))


@dataclass(frozen=True, slots=True)
class Status:
    """Where everything stands: steps, connections, and messages in each queue."""

    steps: Sequence[StepStatus]
    connections: Sequence[Connection]
    queues: dict[str, int]


class Operate:
    """What an operator asks and decides."""

    def __init__(self, *, config: ConfigStore, links: LinkStore, queue: ChangeQueue, clock: Clock) -> None:
        self._config, self._links, self._queue, self._clock = config, links, queue, clock

    def status(self, tenant: str) -> Status:
        """Counts by state for each step of each sync of the tenant."""
        steps = [
            self._step(tenant, sync.name, step.name)
            for sync in map(compiled, self._config.syncs(tenant))
            for step in sync.linked_steps
        ]
        steps = [step for step in steps if not step.step.endswith(CREDIT_NOTE) or step.is_used]
        return Status(steps, self._config.connections(tenant), self._queue.waiting())

    def _step(self, tenant: str, sync: str, step: str) -> StepStatus:
        status = StepStatus(sync, step)
        now = self._clock.now()
        for link in self._links.all(tenant, sync, step):
            status.writing += link.intent is not None
            if link.unsynced is None:
                status.in_agreement += link.target_id is not None and link.intent is None
                continue
            state = link.unsynced.state
            setattr(status, state.value, getattr(status, state.value) + 1)
            if state is not UnsyncedState.DISMISSED:
                age = round((now - link.unsynced.change.seen_at).total_seconds())
                status.oldest_unsynced_seconds = max(status.oldest_unsynced_seconds, age)
        return status

    def parked(self, tenant: str, *, cause: str = "") -> list[Unsynced]:
        """Parked changes, oldest first: all, or those of a cause."""
        return [one for one in self._links.unsynced(tenant, UnsyncedState.PARKED) if cause in ("", one.cause)]

    def retry(self, parked: Iterable[Unsynced], *, approve: bool = False) -> int:
        """How many were queued to be tried again; each stays parked until it ends otherwise.

        With `approve` the sync's caps do not hold them back.
        """
        now = self._clock.now()
        origin = Origin.APPROVED if approve else Origin.OPERATOR
        changes = [
            replace(one.change, seen_at=now, attempts=0, origin=origin, lane=Lane.LIVE, plan="") for one in parked
        ]
        if changes:
            self._queue.send(changes)
        return len(changes)

    def dismiss(self, tenant: str, parked: Iterable[Unsynced]) -> int:
        """How many were left as they are; each comes back only if its cause changes."""
        count = 0
        for one in parked:
            key = LinkKey(tenant, one.sync, one.step, one.change.id)
            self._links.set_unsynced(key, replace(one, state=UnsyncedState.DISMISSED))
            count += 1
        return count

    def reviews(self, tenant: str, *, sync: str = "", kind: ReviewKind | None = None) -> list[Unsynced]:
        """Parked changes that an answer settles, oldest first."""
        return [
            one
            for one in self._links.unsynced(tenant, UnsyncedState.PARKED)
            if one.review is not None and sync in ("", one.sync) and kind in (None, one.review.kind)
        ]

    def resolve(self, tenant: str, one: Unsynced, decision: Decision) -> None:
        """Keep the answer to the parked change's question and queue it, with what waits for the same answer.

        The next run uses the answer up.

        Raises:
            SettingsError: If the answer does not fit the question.
            ClaimedError: If workers write the record all the time.
        """
        check_answer(one, decision)
        key = LinkKey(tenant, one.sync, one.step, one.change.id)
        for attempt in range(STORE_ATTEMPTS_MAX):
            link = self._links.get([key]).get(key) or Link(key)
            try:
                self._links.store(replace(link, decision=decision))
                break
            except ClaimedError:
                if attempt + 1 == STORE_ATTEMPTS_MAX:
                    raise
        waiting = [other for other in self.parked(tenant, cause=one.cause) if _waits_for(other, one)]
        self.retry([one, *waiting])


def check_answer(one: Unsynced, decision: Decision) -> None:
    """Return if the answer fits the question that the parked change asks.

    Raises:
        SettingsError: Otherwise; says which answers would fit.
    """
    where, review = one.where, one.review
    if review is None:
        raise SettingsError(
            f"Nothing is asked about {where}: it is only parked.",
            next_step=f"See `tieout parked show {where} --tenant {one.change.tenant}`.",
        )
    if review.kind is ReviewKind.CONFLICT:
        fields = [conflict.field for conflict in review.conflicts]
        listed = ", ".join(f"`{field}`" for field in fields)
        if decision.choice is not Choice.FIELDS:
            raise SettingsError(
                f"Both sides changed fields of {where}, so the answer says whose value counts.",
                next_step="Give --take source or --take target, or --field NAME=source|target for each field.",
            )
        for field in decision.fields:
            if field not in fields:
                raise SettingsError(f"`{field}` of {where} is not in question.", next_step=f"In question: {listed}.")
        if missing := [field for field in fields if field not in decision.fields]:
            raise SettingsError(
                f"The answer does not say whose value counts for {', '.join(f'`{field}`' for field in missing)}.",
                next_step="Add --field for each of them, or --take for all the others.",
            )
        return
    if decision.choice is Choice.FIELDS:
        raise SettingsError(
            f"The question about {where} is which record is meant.",
            next_step="Give --accept ID, --create, or --never ID.",
        )
    ids = [candidate.target_id for candidate in review.candidates]
    if decision.choice is not Choice.CREATE and decision.target_id not in ids:
        raise SettingsError(
            f"`{decision.target_id}` is none of the candidates for {where}.",
            next_step=f"Candidates: {', '.join(f'`{one}`' for one in ids)}.",
        )


def _waits_for(other: Unsynced, one: Unsynced) -> bool:
    """True if the other was parked only because it needs this one's record."""
    return other.review is None and (other.sync, other.reason) == (one.sync, one.reason)
