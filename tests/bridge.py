"""The bridge in memory: an outbox, installations, and somebody beside the system who works while the caller waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tieout.bridge.calls import encode_error, run_call
from tieout.bridge.connector import BridgedConnector
from tieout.bridge.line import Line, Patience
from tieout.bridge.outbox import Counter
from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.connections import Connection
from tieout.domain.errors import ClaimedError, TieoutError
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector


class MemoryOutbox:
    """Implements `tieout.ports.bridge.Outbox`."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str, str], Job] = {}

    def put(self, job: Job) -> None:
        self.stored[job.tenant, job.connection, job.id] = job

    def job(self, tenant: str, connection: str, job_id: str) -> Job | None:
        return self.stored.get((tenant, connection, job_id))

    def jobs(self, tenant: str, connection: str) -> Sequence[Job]:
        found = [job for name, job in sorted(self.stored.items()) if name[:2] == (tenant, connection)]
        return [replace(job, body="", result=None) for job in found]

    def change(self, job: Job, *, was: JobState, lease: str = "") -> bool:
        former = self.job(job.tenant, job.connection, job.id)
        if former is None or former.state is not was or (lease and former.lease != lease):
            return False
        self.put(replace(job, body=former.body))
        return True

    def drop(self, job: Job, *, was: JobState) -> bool:
        former = self.job(job.tenant, job.connection, job.id)
        if former is None or former.state is not was:
            return False
        del self.stored[job.tenant, job.connection, job.id]
        return True


class MemoryInstallations:
    """Implements `tieout.ports.bridge.InstallationStore`."""

    def __init__(self, *there: Installation) -> None:
        self.stored = {(one.tenant, one.connection): replace(one, revision=1) for one in there}

    def installation(self, tenant: str, connection: str) -> Installation | None:
        return self.stored.get((tenant, connection))

    def installations(self, tenant: str) -> Sequence[Installation]:
        return [one for name, one in self.stored.items() if name[0] == tenant]

    def put_installation(self, installation: Installation) -> Installation:
        name = (installation.tenant, installation.connection)
        former = self.stored.get(name)
        if (former.revision if former is not None else 0) != installation.revision:
            raise ClaimedError("The installation changed meanwhile.")
        self.stored[name] = replace(installation, revision=installation.revision + 1)
        return self.stored[name]


class AlwaysThere(MemoryInstallations):
    """An installation that was heard just now, whenever somebody looks."""

    def __init__(self, clock: Clock, *there: Installation) -> None:
        super().__init__(*there)
        self._clock = clock

    def installation(self, tenant: str, connection: str) -> Installation | None:
        found = super().installation(tenant, connection)
        return None if found is None else replace(found, seen_at=self._clock.now())


@dataclass
class Waiting:
    """The clock of whoever waits: each time it sleeps, others do their part. The time itself goes on by the sleep."""

    clock: Clock
    meanwhile: Callable[[], None] = field(default=lambda: None)

    def now(self) -> datetime:
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        self.meanwhile()
        self.clock.sleep(seconds)

    def jitter(self) -> float:
        return self.clock.jitter()


class Beside:
    """Runs the connector's calls beside the system, one after the other, as an agent does.

    Attributes:
        lose: Asked before each report; True loses it.
        ran: The calls that were run.
    """

    def __init__(self, connection: Connection, connector: Connector, clock: Clock) -> None:
        there = Installation(connection.tenant, connection.id, enrolled_at=clock.now(), seen_at=clock.now())
        self.outbox, self.installations = MemoryOutbox(), AlwaysThere(clock, there)
        self._connection, self._connector, self._clock = connection, connector, clock
        self._counter = Counter(self.outbox, self.installations, clock)
        self.lose: Callable[[Job], bool] = lambda _: False
        self.ran: list[str] = []

    def connector(self, patience: Patience | None = None) -> BridgedConnector:
        """What the engine has of it."""
        manifest = self._connector.manifest
        line = Line(
            self._connection,
            manifest.title,
            outbox=self.outbox,
            installations=self.installations,
            clock=Waiting(self._clock, self.work),
            patience=patience,
        )
        return BridgedConnector(manifest, line)

    def work(self) -> None:
        """Do what is to be done now."""
        there = self.installations.installation(self._connection.tenant, self._connection.id)
        assert there is not None
        self._counter.end_lost(there)
        while (job := self._counter.lease(there)) is not None:
            self.ran.append(job.call)
            try:
                ended, result = Ended.DONE, run_call(self._connector, job.call, job.body)
            except TieoutError as error:
                ended, result = Ended.FAILED, encode_error(error)
            if self.lose(job):
                return
            self._counter.report(job, ended, result)
