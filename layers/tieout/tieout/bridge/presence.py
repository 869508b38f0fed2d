"""Who is there: what waits for an installation goes on when it comes back; a person hears of one that is silent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from tieout.bridge.line import is_silent, silence
from tieout.bridge.outbox import changed
from tieout.domain.bridge import Installation
from tieout.domain.changes import Alert, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError, UnavailableError
from tieout.mapping import compile_sync
from tieout.ports.bridge import InstallationStore, Waker
from tieout.ports.clock import Clock
from tieout.ports.connector import Manifest
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import AlertStore, ConfigStore, LinkStore

_logger = logging.getLogger(__name__)

AWAY_SECONDS = 120
"""Who comes back after so long finds what waited meanwhile queued at once; else its own delay brings it back."""

WOKEN_MAX = 1000
SILENT_WITH_WORK = timedelta(hours=1)
SILENT_WITHOUT_WORK = timedelta(hours=24)
"""A computer that is off over night is no news, unless something waits for it."""


class Presence:
    """Knows the installations of a deployment."""

    def __init__(
        self,
        *,
        config: ConfigStore,
        links: LinkStore,
        installations: InstallationStore,
        queue: ChangeQueue,
        alerts: AlertStore,
        waker: Waker,
        manifest: Callable[[str], Manifest],
        clock: Clock,
    ) -> None:
        self._config, self._links, self._installations = config, links, installations
        self._queue, self._alerts, self._waker = queue, alerts, waker
        self._manifest, self._clock = manifest, clock

    def heard(self, connection: Connection, before: Installation, after: Installation) -> None:
        """It was heard just now; what waits goes on if it was away, or was started anew."""
        away = timedelta(seconds=AWAY_SECONDS)
        was_away = before.seen_at is None or after.seen_at is None or after.seen_at - before.seen_at > away
        if was_away or before.instance != after.instance:
            self.wake(connection)

    def wake(self, connection: Connection) -> None:
        """Queue again what waits for the connection, and have it asked for changes; failing to is no error."""
        self._waker.poll(connection.tenant, connection.id)
        waiting = [one.change for one in islice(self._waiting(connection), WOKEN_MAX)]
        try:
            if waiting:
                self._queue.send(waiting)
        except UnavailableError as error:  # its own delay brings it back
            _logger.warning("What waits could not be queued.", extra={"error": type(error).__name__})

    def is_away(self, connection: Connection) -> bool:
        """True if nobody fetches its work now; a person hears of it if that is so for long."""
        there, now = self._installations.installation(connection.tenant, connection.id), self._clock.now()
        if there is None or there.enrolled_at is None:
            return True
        if not is_silent(there, now):
            return False
        silent = now - (there.seen_at or there.enrolled_at)
        due = silent > SILENT_WITHOUT_WORK or (
            silent > SILENT_WITH_WORK and next(self._waiting(connection), None) is not None
        )
        if due and there.told_at is None:
            self._tell(connection, there, now)
        return True

    def _tell(self, connection: Connection, there: Installation, now: datetime) -> None:
        title = self._manifest(connection.provider).title
        then = "What waits for it goes on by itself as soon as it is back."
        self._alerts.put(
            [
                Alert(
                    tenant=connection.tenant,
                    cause=f"silent-{connection.id}",
                    subject=f"Nothing is heard from {title} ({connection.id})",
                    reason=silence(there, title),
                    next_step=f"Start that computer, and see that it is online and that {title} is open. {then}",
                    command=f"tieout status --tenant {connection.tenant}",
                    raised_at=now,
                )
            ]
        )
        # It may have come back meanwhile, and then be silent again.
        changed(self._installations, there, lambda one: replace(one, told_at=now) if is_silent(one, now) else one)

    def _waiting(self, connection: Connection) -> Iterator[Unsynced]:
        concerned = set()
        for stored in self._config.syncs(connection.tenant):
            try:
                sync = compile_sync(stored.text)
            except SettingsError:  # not understood after an upgrade: the worker says so
                continue
            if connection.id in (sync.source, sync.target):
                concerned.add(stored.name)
        for one in self._links.unsynced(connection.tenant, UnsyncedState.WAITING):
            if one.sync in concerned:
                yield one
