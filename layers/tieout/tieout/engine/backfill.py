"""Backfill: the history through the same engine, on the slow lane, from where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.errors import ProviderError, SettingsError
from tieout.domain.records import Kind
from tieout.engine.collect import Connect, compiled, kinds_heard, steps_of
from tieout.engine.patient import PatientConnector
from tieout.mapping import CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import ConfigStore, Run

PAGES_MAX = 100_000
QUIET_LOOKS = 2
LOOK_SECONDS = 1.0


@dataclass(slots=True)
class BackfillReport:
    """How many records were queued by this run, by kind; `resumed` if it went on where a former one stopped."""

    run: str
    resumed: bool
    queued: dict[str, int] = field(default_factory=dict)


type Progress = Callable[[str, int], None]
"""Called with what is going on (`deal`, `waiting`) and how far it is."""


class Backfill:
    """Queues every record that a sync reads from its source."""

    def __init__(self, *, config: ConfigStore, queue: ChangeQueue, connect: Connect, clock: Clock) -> None:
        self._config, self._queue, self._connect, self._clock = config, queue, connect, clock

    def run(
        self, tenant: str, name: str, *, progress: Progress, restart: bool = False, relink: bool = False
    ) -> BackfillReport:
        """What was queued. It can be stopped at any moment: the next run goes on after the last page queued.

        If the sync's document was changed since, it begins again: what went across before is not as it says now.

        Args:
            tenant: Whose sync.
            name: Which sync.
            progress: Called after each page.
            restart: Begin again even if a former run did not finish.
            relink: Look each document up by our reference before it is created: after the table was restored. Begins
                again too.

        Raises:
            SettingsError: If there is no such sync or its source connection is not set up.
            ProviderError: If the source cannot be read now; run it again later.
        """
        sync = sync_of(self._config, tenant, name)
        connector = source_of(self._config, self._connect, self._clock, tenant, sync)
        former = self._config.run(tenant, name)
        stopped = former if former is not None and former.finished_at is None else None
        resumed = stopped is not None and stopped.sync_version == sync.version and not (restart or relink)
        origin = Origin.RELINK if relink else Origin.BACKFILL
        started = self._clock.now()
        run = (
            stopped
            if resumed and stopped is not None
            else Run(tenant, name, f"backfill-{started:%Y%m%dT%H%M%S}", started, {}, sync_version=sync.version)
        )
        report = BackfillReport(run.id, resumed)
        checkpoint = dict(run.checkpoint)
        steps = list(steps_of(sync, sync.source))
        for kind in dict.fromkeys(kind for step in steps for kind in (step.from_kind, *step.also_on)):
            self._note_cursor(connector, tenant, sync.source, kind)
        self._note_cursors_of_target(tenant, sync)
        for kind in dict.fromkeys(step.from_kind for step in steps):
            for ids, cursor in self._pages(connector, kind, checkpoint):
                now = self._clock.now()
                self._queue.send([Change(tenant, sync.source, kind, one, now, origin, Lane.BACKFILL) for one in ids])
                checkpoint[kind] = cursor
                run = replace(run, checkpoint=dict(checkpoint))
                self._config.put_run(run)
                report.queued[kind] = report.queued.get(kind, 0) + len(ids)
                progress(kind, report.queued[kind])
        self._config.put_run(replace(run, finished_at=self._clock.now()))
        return report

    def _note_cursor(self, connector: Connector, tenant: str, connection: str, kind: Kind) -> None:
        """Live changes are followed from before the history is read, so that none falls between."""
        if self._config.cursor(tenant, connection, kind) is None:
            self._config.put_cursor(tenant, connection, kind, connector.cursor_now(kind))

    def _note_cursors_of_target(self, tenant: str, sync: CompiledSync) -> None:
        """What happens to documents is followed from before they are written, as long as their side can be asked."""
        heard = kinds_heard(sync, sync.target)
        if all(self._config.cursor(tenant, sync.target, kind) is not None for kind in heard):
            return
        try:
            target = target_of(self._config, self._connect, self._clock, tenant, sync)
            for kind in heard:
                self._note_cursor(target, tenant, sync.target, kind)
        except (ProviderError, SettingsError):
            return  # nothing is written there meanwhile; its first poll notes them

    def _pages(self, connector: Connector, kind: Kind, checkpoint: dict[str, str]) -> Iterator[tuple[list[str], str]]:
        """Pages of ids that were not queued in the run yet, each with the cursor after it; empty text once all are."""
        cursor = checkpoint.get(kind)
        seen: set[str] = set()
        for _ in range(PAGES_MAX):
            if cursor == "":
                return
            page = connector.changes(kind, cursor)
            ids = [record.id for record in page.records if record.id not in seen]
            seen.update(ids)
            cursor = page.cursor if page.more else ""
            yield ids, cursor

    def wait(self, *, progress: Progress, timeout_seconds: float) -> bool:
        """True once every queue stood empty for two looks in a row; False if that takes longer than the time-out."""
        quiet = 0
        deadline = self._clock.now().timestamp() + timeout_seconds
        while self._clock.now().timestamp() < deadline:
            left = sum(self._queue.waiting().values())
            progress("waiting", left)
            quiet = quiet + 1 if left == 0 else 0
            if quiet >= QUIET_LOOKS:
                return True
            self._clock.sleep(LOOK_SECONDS)
        return False


def sync_of(config: ConfigStore, tenant: str, name: str) -> CompiledSync:
    """The running version of a sync.

    Raises:
        SettingsError: If there is none of this name; the sentence lists those there are.
    """
    stored = {sync.name: sync for sync in config.syncs(tenant)}
    if name not in stored:
        known = ", ".join(sorted(stored)) or "none yet"
        raise SettingsError(
            f"The tenant {tenant} has no sync `{name}`; it has: {known}.",
            next_step="Write a sync document and run `tieout config apply FILE`.",
        )
    return compiled(stored[name])


def source_of(config: ConfigStore, connect: Connect, clock: Clock, tenant: str, sync: CompiledSync) -> Connector:
    """The open source connection of a sync; it reads again when the provider stumbles.

    Raises:
        SettingsError: If it is not set up.
    """
    return _open(config, connect, clock, tenant, sync.source)


def target_of(config: ConfigStore, connect: Connect, clock: Clock, tenant: str, sync: CompiledSync) -> Connector:
    """The open target connection of a sync; it reads again when the provider stumbles.

    Raises:
        SettingsError: If it is not set up.
    """
    return _open(config, connect, clock, tenant, sync.target)


def all_ids(connector: Connector, kind: Kind) -> Iterator[str]:
    """Every id of the kind that is visible now, page by page."""
    after: str | None = None
    for _ in range(PAGES_MAX):
        page, after = connector.ids(kind, after)
        yield from page
        if after is None:
            return


def _open(config: ConfigStore, connect: Connect, clock: Clock, tenant: str, name: str) -> Connector:
    connection = config.connection(tenant, name)
    if connection is None:
        raise SettingsError(
            f"The tenant {tenant} has no connection `{name}`.",
            next_step=f"Add a connection document for `{name}` and run `tieout config apply FILE`.",
        )
    return PatientConnector(connect(connection), clock)
