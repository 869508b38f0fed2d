"""The outbox of jobs for systems in an office, and what is known of who fetches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tieout.domain.bridge import Installation, Job, JobState


class Outbox(Protocol):
    """Jobs, by connection. Whoever changes one says what it was, so that of two only one does."""

    def put(self, job: Job) -> None:
        """Queue a new job; it is durable."""

    def job(self, tenant: str, connection: str, job_id: str) -> Job | None:
        """The job, with its body and result; None if there is none. Strongly consistent."""

    def jobs(self, tenant: str, connection: str) -> Sequence[Job]:
        """All that were not ended long ago, the oldest first, without bodies and results; strongly consistent."""

    def change(self, job: Job, *, was: JobState, lease: str = "") -> bool:
        """Store the job's new state, if it still has this one, and this lease; False otherwise."""

    def drop(self, job: Job, *, was: JobState) -> bool:
        """Remove the job, if it still has this state; False otherwise."""


class InstallationStore(Protocol):
    """Installations, one a connection."""

    def installation(self, tenant: str, connection: str) -> Installation | None:
        """The connection's installation; None if there never was one. Strongly consistent."""

    def installations(self, tenant: str) -> Sequence[Installation]:
        """All of the tenant's."""

    def put_installation(self, installation: Installation) -> Installation:
        """Store it if it still has its revision (0 for a new one); as it is stored.

        Raises:
            ClaimedError: If it changed since it was read.
        """


class Parcels(Protocol):
    """Where texts are put that are too large for the table; what is put there is gone after a day."""

    def put(self, name: str, body: bytes) -> None:
        """Store it under this name."""

    def get(self, name: str, *, bytes_max: int) -> bytes | None:
        """What stands there; None if nothing does, or more than so much."""

    def address_to_put(self, name: str, *, size: int, sha256: str, seconds: int) -> tuple[str, dict[str, str]]:
        """An address that takes one PUT of just this content for so long, and the headers that must come with it."""

    def address_to_get(self, name: str, *, seconds: int) -> str:
        """An address that gives it for so long."""


class Waker(Protocol):
    """Starts what would otherwise wait for its schedule."""

    def poll(self, tenant: str, connection: str) -> None:
        """Have the connection asked for changes now, by somebody else; failing to is no error."""
