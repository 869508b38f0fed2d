"""Polling: ask a connection what changed, and compare ids where the provider does not show deletions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tieout.domain.changes import Change, Lane, Origin, UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ReconnectError, SettingsError
from tieout.domain.links import Link
from tieout.domain.records import Kind
from tieout.engine.collect import Connect, compiled, connection_read, steps_of
from tieout.engine.ends import AlertSink, pause
from tieout.mapping import CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import ConfigStore, LinkStore

PAGES_MAX = 1000
LEFT_BEHIND_SECONDS = 3600  # most of what waits is done by then; asking once more for the rest costs a read
MISSING_MAX = 5000  # the next sweep's memory is one item of the table; what is beyond it waits for the sweep after


@dataclass(slots=True)
class PollReport:
    """How many changes were queued, by kind, and whether the connection is paused."""

    queued: dict[Kind, int] = field(default_factory=dict)
    paused: bool = False


class PollChanges:
    """Queues what changed since the stored cursor; a cursor moves only after what lies before it is queued."""

    def __init__(
        self,
        *,
        config: ConfigStore,
        links: LinkStore,
        alerts: AlertSink,
        queue: ChangeQueue,
        connect: Connect,
        clock: Clock,
    ) -> None:
        self._config, self._links, self._alerts, self._queue = config, links, alerts, queue
        self._connect, self._clock = connect, clock

    def poll(self, tenant: str, connection_id: str, *, out_of_time: Callable[[], bool] = lambda: False) -> PollReport:
        """What was queued. The first poll only notes from where on to look; history is the backfill's work.

        A paused connection is tried with one read; if that works, it goes on. One whose sign-in is no longer accepted,
        or whose secrets are missing, is paused, and a person is told.

        Raises:
            UnavailableError: The provider cannot be asked now; the cursor stands where it stood.
        """
        report = PollReport()
        connection = self._config.connection(tenant, connection_id)
        kinds = self._kinds(tenant, connection_id)
        if connection is None or not kinds:
            return report
        try:
            connector = self._connect(connection)
            if connection.state is ConnectionState.PAUSED:
                self._resume(connection, connector)
            for kind in kinds:
                report.queued[kind] = self._poll_kind(connection, connector, kind, out_of_time)
        except (ReconnectError, SettingsError) as error:
            pause(self._config, self._alerts, self._clock, connection, error)
            report.paused = True
        return report

    def _resume(self, connection: Connection, connector: Connector) -> None:
        connector.probe()
        self._config.put_connection(
            replace(connection, state=ConnectionState.ACTIVE, paused_because="", paused_at=None)
        )

    def _poll_kind(
        self, connection: Connection, connector: Connector, kind: Kind, out_of_time: Callable[[], bool]
    ) -> int:
        cursor = self._config.cursor(connection.tenant, connection.id, kind)
        if cursor is None:
            self._config.put_cursor(connection.tenant, connection.id, kind, connector.cursor_now(kind))
            return 0
        queued = 0
        for _ in range(PAGES_MAX):
            page = connector.changes(kind, cursor)
            ids = dict.fromkeys([*(record.id for record in page.records), *page.gone])
            self._send(connection, kind, ids, Origin.POLL)
            queued += len(ids)
            if page.cursor != cursor:
                self._config.put_cursor(connection.tenant, connection.id, kind, page.cursor)
            cursor = page.cursor
            if not page.more or out_of_time():
                return queued
        return queued

    def sweep(self, tenant: str, connection_id: str) -> dict[Kind, int]:
        """How many records were queued, by kind: those that vanished, and those that a dead worker left behind.

        A record vanished if two sweeps in a row did not see it, as one absence may be a matter of rights; only kinds
        whose deletions the provider does not show are compared. A worker leaves a write open, or a note that something
        waits, if it dies with a customer or an item of a deal that no longer asks for it when it comes again.
        """
        connection = self._config.connection(tenant, connection_id)
        if connection is None or connection.state is ConnectionState.PAUSED:
            return {}
        connector = self._connect(connection)
        queued = {}
        for kind in self._kinds(tenant, connection_id):
            links = [
                link
                for sync in self._syncs(tenant)
                for step in sync.steps
                if step.from_kind == kind and connection_read(sync, step) == connection.id
                for link in self._links.all(tenant, sync.name, step.name)
            ]
            found = self._left_behind(links)
            self._send(connection, kind, sorted(found), Origin.SWEEP)
            queued[kind] = len(found)
            if kind not in connector.manifest.deletions_visible:
                queued[kind] += self._sweep_kind(connection, connector, kind, links)
        return queued

    def _left_behind(self, links: Sequence[Link]) -> set[str]:
        now = self._clock.now()
        long_ago = now - timedelta(seconds=LEFT_BEHIND_SECONDS)
        left = set()
        for link in links:
            if link.unsynced is None or link.unsynced.state is UnsyncedState.WAITING:
                waits = link.unsynced is not None and link.unsynced.since <= long_ago
                if waits or (link.intent is not None and link.intent.held_until <= now):
                    left.add(link.key.source_id)
        return left

    def _sweep_kind(self, connection: Connection, connector: Connector, kind: Kind, links: Sequence[Link]) -> int:
        seen: set[str] = set()
        after: str | None = None
        for _ in range(PAGES_MAX):
            ids, after = connector.ids(kind, after)
            seen.update(ids)
            if after is None:
                break
        else:
            return 0  # what was not seen may only not have been reached
        missing = {link.key.source_id for link in links if link.target_id is not None} - seen
        name = f"sweep-{kind}"
        former = set(json.loads(self._config.cursor(connection.tenant, connection.id, name) or "[]"))
        vanished = sorted(missing & former)
        self._send(connection, kind, vanished, Origin.SWEEP)
        self._config.put_cursor(connection.tenant, connection.id, name, json.dumps(sorted(missing)[:MISSING_MAX]))
        return len(vanished)

    def _send(self, connection: Connection, kind: Kind, ids: Iterable[str], origin: Origin) -> None:
        now = self._clock.now()
        changes = [
            Change(connection.tenant, connection.id, kind, record_id, now, origin, Lane.LIVE) for record_id in ids
        ]
        if changes:
            self._queue.send(changes)

    def _kinds(self, tenant: str, connection_id: str) -> Sequence[Kind]:
        return tuple(
            dict.fromkeys(
                kind
                for sync in self._syncs(tenant)
                for step in steps_of(sync, connection_id)
                for kind in (step.from_kind, *step.also_on)
            )
        )

    def _syncs(self, tenant: str) -> list[CompiledSync]:
        return [compiled(stored) for stored in self._config.syncs(tenant)]
