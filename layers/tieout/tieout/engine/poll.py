"""Polling: ask a connection what changed, and compare ids where the provider does not show deletions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tieout.domain.changes import Origin
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ProviderError, ReconnectError, SettingsError, UnavailableError
from tieout.domain.records import Kind
from tieout.engine.ends import pause
from tieout.engine.sweep import COMPARISONS_AFTER_GAP, SWEPT, Sweep, SweepReport, Watch
from tieout.ports.connector import Connector, Subscriber

PAGES_MAX = 1000


@dataclass(slots=True)
class PollReport:
    """How many changes were queued, by kind, and whether the connection is paused.

    Attributes:
        subscribed: What was done so that the provider goes on telling us of changes.
    """

    queued: dict[Kind, int] = field(default_factory=dict)
    paused: bool = False
    subscribed: Sequence[str] = ()


class PollChanges(Watch):
    """Queues what changed since the stored cursor; a cursor moves only after what lies before it is queued."""

    def poll(self, tenant: str, connection_id: str, *, out_of_time: Callable[[], bool] = lambda: False) -> PollReport:
        """What was queued. The first poll only notes from where on to look; history is the backfill's work.

        A paused connection is tried with one read; if that works, it goes on. One whose sign-in is no longer accepted,
        or whose secrets are missing, is paused, and a person is told.

        Raises:
            UnavailableError: The provider cannot be asked now; the cursor stands where it stood.
            ProviderError: What it refuses of one kind, after it was asked for the others; or of telling us of changes.
        """
        report = PollReport()
        connection = self._config.connection(tenant, connection_id)
        kinds = self._heard(tenant, connection_id)
        refused: ProviderError | None = None
        if connection is None or not kinds:
            return report
        try:
            connector = self._connect(connection)
            if connection.state is ConnectionState.PAUSED:
                self._resume(connection, connector)
            for kind in kinds:
                try:
                    report.queued[kind] = self._poll_kind(connection, connector, kind, out_of_time)
                except (ReconnectError, UnavailableError):
                    raise
                except ProviderError as error:
                    refused = refused or error
            if isinstance(connector, Subscriber):
                report.subscribed = connector.subscribe()
        except (ReconnectError, SettingsError) as error:
            pause(self._config, self._alerts, self._clock, connection, error)
            report.paused = True
        if refused is not None:
            raise refused
        return report

    def _resume(self, connection: Connection, connector: Connector) -> None:
        connector.probe()
        current = self._config.connection(connection.tenant, connection.id) or connection
        self._config.put_connection(replace(current, state=ConnectionState.ACTIVE, paused_because="", paused_at=None))

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
            if page.deletions_unsure:
                self._config.put_cursor(connection.tenant, connection.id, f"compare-{kind}", COMPARISONS_AFTER_GAP)
            ids = dict.fromkeys([*(record.id for record in page.records), *page.gone])
            self._send(connection.tenant, connection.id, kind, ids, Origin.POLL)
            queued += len(ids)
            if page.cursor != cursor:
                self._config.put_cursor(connection.tenant, connection.id, kind, page.cursor)
            cursor = page.cursor
            if not page.more or out_of_time():
                return queued
        return queued

    def sweep(self, tenant: str, connection_id: str, *, out_of_time: Callable[[], bool] = lambda: False) -> SweepReport:
        """What was queued of what vanished or was left behind; see `Sweep.sweep`."""
        sweeps = Sweep(
            config=self._config,
            links=self._links,
            alerts=self._alerts,
            queue=self._queue,
            connect=self._connect,
            clock=self._clock,
        )
        return sweeps.sweep(tenant, connection_id, out_of_time=out_of_time)

    def in_turn(self, connections: Sequence[Connection]) -> list[Connection]:
        """The connections, first the one whose turn to be swept was longest ago."""
        return sorted(connections, key=lambda one: self._config.cursor(one.tenant, one.id, SWEPT) or "")
