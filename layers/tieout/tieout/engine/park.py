"""Parking what the workers could not finish: the dead-letter queue's changes become parked ones, with an alert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tieout.domain.changes import Change
from tieout.domain.errors import RejectedError
from tieout.engine.collect import brought_back, compiled, links_of, steps_back, steps_of, works_of
from tieout.engine.ends import ApplyReport, Ends
from tieout.engine.policy import DELAY_SECONDS_MAX, RetryPolicy
from tieout.mapping import CompiledStep, CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import AlertStore, ConfigStore, LinkStore

# One change a worker: those that travelled together come back so far apart.
APART_SECONDS = 15


class ParkChanges:
    """Makes changes visible on which the workers failed again and again without saying why.

    One change can make workers fail on all that travel with it, so several are tried once more, each alone.
    """

    def __init__(
        self, *, config: ConfigStore, links: LinkStore, alerts: AlertStore, queue: ChangeQueue, clock: Clock
    ) -> None:
        self._config, self._links, self._alerts, self._queue, self._clock = config, links, alerts, queue, clock

    def park(self, changes: Sequence[Change]) -> ApplyReport:
        """The report, with one parked record for each change and each step that reads its kind.

        Of several changes, those that were not tried alone yet wait for that instead.
        """
        again = [change for change in changes if not change.alone] if len(changes) > 1 else []
        for number, change in enumerate(again, start=1):
            delay = min(APART_SECONDS * number, DELAY_SECONDS_MAX)
            self._queue.send_later([replace(change, alone=True)], delay_seconds=delay)
        left = [change for change in changes if change not in again]
        report = self._park_all(left)
        report.waiting += len(again)
        return report

    def _park_all(self, changes: Sequence[Change]) -> ApplyReport:
        ends = Ends(
            config=self._config,
            links=self._links,
            alerts=self._alerts,
            queue=self._queue,
            clock=self._clock,
            policy=RetryPolicy(),
        )
        for change in changes:
            for stored in self._config.syncs(change.tenant):
                sync = compiled(stored)
                for step in steps_of(sync, change.connection):
                    if change.kind not in (step.from_kind, *step.also_on):
                        continue
                    self._park(ends, sync, step, change)
                for step in steps_back(sync, change.connection):
                    if change.kind is step.to_kind:
                        self._park_partner(ends, sync, step, change)
        return ends.report

    def _park(self, ends: Ends, sync: CompiledSync, step: CompiledStep, change: Change) -> None:
        for work in works_of(sync, step, [change], {}, links_of(sync, step, [change], self._links)):
            ends.parked(work, _worker_failed(change), cause="worker-failed")

    def _park_partner(self, ends: Ends, sync: CompiledSync, step: CompiledStep, change: Change) -> None:
        """A change of the other side of a two-way step stands under the record that it would come back to."""
        for link in self._links.by_target(change.tenant, sync.name, step.name, [change.id]).values():
            self._park(ends, sync, step, brought_back(sync, step, link, change))


def _worker_failed(change: Change) -> RejectedError:
    return RejectedError(
        f"The worker failed several times on this {change.kind.value} and could not say why.",
        code="worker-failed",
        next_step="Retry it; if it comes back, look at the log of the function apply_changes at that time.",
    )
