"""Operating: where everything stands, and what a person does with parked changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tieout.domain.changes import Lane, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError
from tieout.domain.links import LinkKey
from tieout.engine.collect import compiled
from tieout.mapping import CREDIT_NOTE
from tieout.ports.clock import Clock
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import ConfigStore, LinkStore


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

    def parked(self, tenant: str, *, cause: str = "", where: str = "") -> list[Unsynced]:
        """Parked changes, oldest first: all, those of a cause, or the one at `sync/step/source id`."""
        return [
            one
            for one in self._links.unsynced(tenant, UnsyncedState.PARKED)
            if (not cause or one.cause == cause) and (not where or _where(one) == where)
        ]

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

    def one(self, tenant: str, where: str) -> Unsynced:
        """The parked change at `sync/step/source id`.

        Raises:
            SettingsError: If nothing is parked there.
        """
        found = self.parked(tenant, where=where)
        if not found:
            raise SettingsError(f"Nothing is parked at {where}.", next_step="See `tieout parked list`.")
        return found[0]


def _where(one: Unsynced) -> str:
    return f"{one.sync}/{one.step}/{one.change.id}"
