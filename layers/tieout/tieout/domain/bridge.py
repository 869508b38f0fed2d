"""Jobs for systems in an office: what is asked, by whom it was fetched, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class JobState(StrEnum):
    """QUEUED: nobody has it. LEASED: somebody fetched it, once for all. ENDED: it is reported, or known to be lost."""

    QUEUED = "queued"
    LEASED = "leased"
    ENDED = "ended"


class Ended(StrEnum):
    """DONE with a result; FAILED with an error; NOT_BEGUN surely; LOST: whether it was begun nobody knows."""

    DONE = "done"
    FAILED = "failed"
    NOT_BEGUN = "not_begun"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Job:
    """One call on its way to the system and back. It is leased at most once, so it never runs twice.

    Attributes:
        id: Sorts by when it was queued.
        call, body: What to call, with which arguments, as text.
        write: It may change something: an end that nobody knows has to be looked up.
        begin_by: A lease is only given until then. Aware UTC.
        lease: Proves whose report it is; empty before.
        instance: Which run of the agent fetched it.
        ended, result: How, and what came back as text; None before.
        result_apart: What came back was too large, and stands as a parcel of the name `report_parcel`.
    """

    tenant: str
    connection: str
    id: str
    call: str
    body: str = field(repr=False)
    write: bool
    queued_at: datetime
    begin_by: datetime
    state: JobState = JobState.QUEUED
    lease: str = field(default="", repr=False)
    instance: str = ""
    leased_at: datetime | None = None
    ended: Ended | None = None
    result: str | None = field(default=None, repr=False)
    result_apart: bool = False

    @property
    def call_parcel(self) -> str:
        """Where its body stands if it is large."""
        return f"bridge/{self.tenant}.{self.connection}/{self.id}/call"

    @property
    def report_parcel(self) -> str:
        """Where a large report of it goes."""
        return f"bridge/{self.tenant}.{self.connection}/{self.id}/report"


@dataclass(frozen=True, slots=True)
class Installation:
    """What stands beside a connection's system and fetches its jobs: an agent, or the Web Connector.

    Attributes:
        code_hash, code_until: Of the one-time code that enrols it, until it is used or its time is over.
        key_hash: Of the key that the code was used for; empty before.
        enrolled_at: None before; and after it is revoked, which lets nobody in until there is a new code.
        sequence: The highest number of a request that was let in.
        seen_at: When it was last heard; None if never.
        worked_at: When it last fetched a job.
        instance, machine, system, version: What it says of itself.
        told_at: When a person was told that it is silent; None if it is not, or nobody was told.
        session: Ticket of the Web Connector's run, with the job that it has; empty between runs.
    """

    tenant: str
    connection: str
    code_hash: str = ""
    code_until: datetime | None = None
    key_hash: str = ""
    enrolled_at: datetime | None = None
    sequence: int = 0
    seen_at: datetime | None = None
    worked_at: datetime | None = None
    instance: str = ""
    machine: str = ""
    system: str = ""
    version: str = ""
    told_at: datetime | None = None
    session: str = field(default="", repr=False)
    revision: int = 0
