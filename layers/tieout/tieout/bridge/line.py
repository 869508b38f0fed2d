"""The way to the system of one connection: a call goes out as a job, and its report comes back.

A job is leased once. So a job that nobody fetched is surely not done, and one that was fetched and not reported may be:
the engine looks it up, by a job that runs after it, as whoever fetches jobs does one after the other.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from tieout.bridge.calls import UnreadableError, decode_error
from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.connections import Connection
from tieout.domain.errors import ProviderError, SettingsError, TieoutError, UnavailableError, UncertainError
from tieout.domain.packing import time_text
from tieout.ports.bridge import InstallationStore, Outbox
from tieout.ports.clock import Clock

SILENT_SECONDS = 90
"""Whoever was not heard for so long is not waited for: an agent asks every 10 seconds."""

AWAY = "away"
"""The code of an error that only says that nobody is there: people hear of it as one cause."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller waits.

    Attributes:
        lease_seconds: Until somebody fetches the job. Longer than an idle agent's pause.
        report_seconds: From then on until the report.
        look_seconds: Between looks.
    """

    lease_seconds: float = 12
    report_seconds: float = 25
    look_seconds: float = 0.2

    @classmethod
    def within(cls, seconds: float) -> Self:
        """As patient as a caller may be that has so much time left for its last call; not more than usual."""
        usual = cls()
        share = min(1.0, seconds / (usual.lease_seconds + usual.report_seconds + 1))
        return cls(usual.lease_seconds * share, usual.report_seconds * share, usual.look_seconds)


class Line:
    """Calls the system of one connection."""

    def __init__(
        self,
        connection: Connection,
        title: str,
        *,
        outbox: Outbox,
        installations: InstallationStore,
        clock: Clock,
        patience: Patience | None = None,
    ) -> None:
        self._connection, self._title = connection, title
        self._outbox, self._installations, self._clock = outbox, installations, clock
        self._patience = patience or Patience()

    def call(self, name: str, body: str, *, write: bool) -> str:
        """What came back.

        Raises:
            UnavailableError: Not done: nobody fetched it, or it was a read and nothing came back.
            UncertainError: It was a write, and whether it is done nobody knows.
            ProviderError, SettingsError: What was reported.
        """
        self._check_there()
        job = self._queue(name, body, write=write)
        ended = self._wait(job)
        self._outbox.drop(ended, was=JobState.ENDED)
        match ended.ended:
            case Ended.DONE if ended.result is not None:
                return ended.result
            case Ended.FAILED:
                raise self._reported(ended)
            case Ended.NOT_BEGUN:
                raise UnavailableError(f"The computer beside {self._title} could not begin in time.")
        raise self._unclear(write=write)

    def unreadable(self, *, write: bool) -> ProviderError:
        """The error for a report that cannot be read."""
        return self._unclear(write=write)

    def _check_there(self) -> None:
        """Return if somebody is there to fetch jobs.

        Raises:
            UnavailableError: Otherwise, with what to do.
        """
        connection = self._connection
        there = self._installations.installation(connection.tenant, connection.id)
        if there is None or there.enrolled_at is None:
            raise UnavailableError(
                f"Nothing is installed beside {self._title} for the connection {connection.id} yet.",
                next_step=f"Run `tieout connect {connection.id} --tenant {connection.tenant}`; it says how.",
            )
        if is_silent(there, self._clock.now()):
            raise UnavailableError(
                silence(there, self._title),
                next_step="Start that computer, and see that it is online; what waits goes on by itself.",
                code=AWAY,
            )

    def _queue(self, name: str, body: str, *, write: bool) -> Job:
        now = self._clock.now()
        job = Job(
            tenant=self._connection.tenant,
            connection=self._connection.id,
            id=f"{time_text(now)}-{secrets.token_hex(8)}",
            call=name,
            body=body,
            write=write,
            queued_at=now,
            begin_by=now + timedelta(seconds=self._patience.lease_seconds),
        )
        self._outbox.put(job)
        return job

    def _wait(self, job: Job) -> Job:
        """The ended job.

        Raises:
            UnavailableError, UncertainError: If its time is over before.
        """
        patience, leased_at = self._patience, None
        while True:
            now = self._clock.now()
            current = self._outbox.job(job.tenant, job.connection, job.id)
            if current is None:
                raise self._unclear(write=job.write)
            if current.state is JobState.ENDED:
                return current
            if current.state is JobState.LEASED:
                leased_at = leased_at or now
                if now - leased_at > timedelta(seconds=patience.report_seconds):
                    if not job.write:
                        self._outbox.drop(job, was=JobState.LEASED)
                    raise self._unclear(write=job.write)
            elif now > job.begin_by and self._outbox.drop(job, was=JobState.QUEUED):
                raise UnavailableError(f"The computer beside {self._title} did not fetch the work in time.", code=AWAY)
            self._clock.sleep(patience.look_seconds)

    def _reported(self, job: Job) -> TieoutError:
        try:
            error = decode_error(job.result or "")
        except UnreadableError:
            return self._unclear(write=job.write)
        if isinstance(error, UncertainError) and not job.write:
            return UnavailableError(error.message, next_step=error.next_step, detail=error.detail)
        return error if isinstance(error, ProviderError | SettingsError) else self._unclear(write=job.write)

    def _unclear(self, *, write: bool) -> ProviderError:
        if write:
            return UncertainError(f"The computer beside {self._title} did not report whether it wrote.")
        return UnavailableError(f"The computer beside {self._title} did not report what it read.")


def is_silent(there: Installation, now: datetime) -> bool:
    """True if it was not heard for a while."""
    return there.seen_at is None or now - there.seen_at > timedelta(seconds=SILENT_SECONDS)


def silence(there: Installation, title: str) -> str:
    """The sentence that says so."""
    computer = f"{there.machine} beside {title}" if there.machine else f"The computer beside {title}"
    if there.seen_at is None:
        return f"{computer} was never heard."
    return f"{computer} was last heard {there.seen_at:%Y-%m-%d %H:%M} UTC."
