"""Serving jobs: they are leased once, one after the other, to whoever stands beside the system, and end by a report."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.errors import ClaimedError
from tieout.ports.bridge import InstallationStore, Outbox
from tieout.ports.clock import Clock

CALLER_SECONDS = 180
"""So long after a job was queued its caller is gone for sure: a worker runs for 120 seconds."""

BUSY_SECONDS = 60
"""So long after its last job an installation is asked to come back at once."""

NOTED_SECONDS = 20


class Counter:
    """Where jobs of one connection are fetched and reports are brought."""

    def __init__(self, outbox: Outbox, installations: InstallationStore, clock: Clock) -> None:
        self._outbox, self._installations, self._clock = outbox, installations, clock

    def end_lost(self, there: Installation) -> None:
        """End what it fetched and did not report: whoever asks for the next job has none in hand.

        What nobody waits for any more is cleared away.
        """
        now = self._clock.now()
        for job in self._outbox.jobs(there.tenant, there.connection):
            if _is_over(job, now):
                self._outbox.drop(job, was=job.state)
            elif job.state is JobState.LEASED:
                self._end(job, Ended.LOST, None)

    def lease(self, there: Installation, *, hold_seconds: float = 0) -> Job | None:
        """The next job, whole, now the installation's alone; None if there is none, nor comes while it is held."""
        until = self._clock.now() + timedelta(seconds=hold_seconds)
        while True:
            for job in self._outbox.jobs(there.tenant, there.connection):
                if (leased := self._leased(job, there)) is not None:
                    self.note_work(there)
                    return leased
            if self._clock.now() >= until:
                return None
            self._clock.sleep(0.25)

    def report(self, job: Job, ended: Ended, result: str | None, *, apart: bool = False) -> bool:
        """End a leased job; False if it was ended otherwise meanwhile."""
        return self._end(job, ended, result, apart=apart)

    def note_work(self, there: Installation) -> None:
        """Note that it works, which is good for its pace only: not being able to is no error."""
        now = self._clock.now()
        if there.worked_at is None or now - there.worked_at > timedelta(seconds=NOTED_SECONDS):
            with suppress(ClaimedError):
                changed(self._installations, there, lambda one: replace(one, worked_at=now))

    def _leased(self, job: Job, there: Installation) -> Job | None:
        now = self._clock.now()
        if job.state is not JobState.QUEUED or now > job.begin_by:
            return None
        leased = replace(
            job, state=JobState.LEASED, lease=secrets.token_hex(16), instance=there.instance, leased_at=now
        )
        if not self._outbox.change(leased, was=JobState.QUEUED):
            return None
        return self._outbox.job(job.tenant, job.connection, job.id)  # a list of jobs has no bodies

    def _end(self, job: Job, ended: Ended, result: str | None, *, apart: bool = False) -> bool:
        if _is_over(job, self._clock.now()):
            return self._outbox.drop(job, was=JobState.LEASED)  # nobody waits for it: it was looked up, or will be
        over = replace(job, state=JobState.ENDED, ended=ended, result=result, result_apart=apart)
        return self._outbox.change(over, was=JobState.LEASED, lease=job.lease)


def _is_over(job: Job, now: datetime) -> bool:
    return now - job.queued_at > timedelta(seconds=CALLER_SECONDS)


def is_busy(there: Installation, now: datetime) -> bool:
    """True if it had work lately: more is likely, and soon."""
    return there.worked_at is not None and now - there.worked_at < timedelta(seconds=BUSY_SECONDS)


TRIES_MAX = 5


def changed(
    store: InstallationStore, there: Installation, change: Callable[[Installation], Installation]
) -> Installation:
    """The installation with the change, as it is stored; of two changes at once none is lost.

    Raises:
        ClaimedError: If others change it again and again.
    """
    for _ in range(TRIES_MAX):
        try:
            return store.put_installation(change(there))
        except ClaimedError:
            there = store.installation(there.tenant, there.connection) or there
    raise ClaimedError("Others change this installation again and again.")
