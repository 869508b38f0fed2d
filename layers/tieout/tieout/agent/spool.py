"""What the agent must not forget: its number of the last request, which jobs it began, which reports are not told yet.

Every change is on the disk before the call returns, so whatever ends the process, the next one knows where it stood:

    leased ──> begun ──> ended ──> told
       │         └─ the process died: the report is `lost`
       └─ the process died: the report is `not_begun`
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from tieout.domain.errors import TieoutError
from tieout.domain.packing import time_of, time_text

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
TOLD_KEPT = 1000
"""So many leases are remembered after their report was told, lest one be given twice."""

FORMER_MAX = 20
HEARD_AGAIN = timedelta(seconds=5)
_SCHEMA = """
create table if not exists facts (name text primary key, value text not null) strict;
create table if not exists jobs (
  number integer primary key,
  id text not null,
  lease text not null unique,
  call text not null,
  state text not null,
  at text not null,
  ended text,
  body text,
  not_before text not null default ''
) strict;
"""


class SpoolError(TieoutError):
    """The spool cannot be read or written; nothing was sent that depends on it."""


class State(StrEnum):
    """Of a job in the spool; see the module."""

    LEASED = "leased"
    BEGUN = "begun"
    ENDED = "ended"
    TOLD = "told"


@dataclass(frozen=True, slots=True)
class Report:
    """How a job ended, as it is to be told.

    Attributes:
        ended: `done`, `failed`, `not_begun` or `lost`.
        body: Packed result or error; None for the other two.
    """

    number: int
    id: str
    lease: str
    call: str
    ended: str
    body: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, in words for the person at this computer.

    Attributes:
        code: Of the refusal, or ours.
        passes: True if waiting is enough.
        since: Aware UTC.
    """

    code: str
    message: str
    next_step: str
    passes: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class LastJob:
    """The job that came last.

    Attributes:
        at: When it came to this state. Aware UTC.
    """

    call: str
    state: State
    ended: str
    at: datetime


class Spool:
    """The spool of one connection. Belongs to the thread that opened it.

    Raises:
        SpoolError: From every method, if the disk does not do what it has to.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._heard_at: datetime | None = None
        try:
            self._base = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            raise self._error(error) from None
        try:
            self._open()
        except BaseException:
            self._base.close()
            raise

    def _open(self) -> None:
        for setting in ("journal_mode=wal", "synchronous=full", "fullfsync=on", "secure_delete=on"):
            self._do(f"pragma {setting}")
        ((version,),) = self._do("pragma user_version")
        if version > SCHEMA_VERSION:
            raise SpoolError(
                f"{self._file} was written by a newer version of the agent.",
                next_step="Install the newest version of the agent on this computer.",
            )
        for statement in _SCHEMA.split(";\n"):
            self._do(statement)
        if version < SCHEMA_VERSION:
            self._do(f"pragma user_version={SCHEMA_VERSION}")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; what was stored stays."""
        self.close()

    def close(self) -> None:
        """Close it; what was stored stays."""
        self._base.close()

    # The process

    def start(self, *, key_hash: str, instance: str, sequence: int) -> None:
        """Take the spool over from a process that is gone.

        Args:
            key_hash: Of the key that is used from now on; a new one makes refusals of the former one void.
            instance: The new process's own name.
            sequence: The highest number that the cloud is known to have seen.
        """
        if self._fact("key") != key_hash:
            self._set("key", key_hash)
            self._do("delete from facts where name in ('outrun', 'trouble')")
        self._do(
            "insert into facts values ('sequence', ?1) on conflict (name) do update "
            "set value = max(cast(value as integer), cast(?1 as integer))",
            str(sequence),
        )
        former = [name for name in json.loads(self._fact("former") or "[]") if name != instance]
        self._set("former", json.dumps([*former, instance][-FORMER_MAX:]))

    def former(self, instance: str) -> list[str]:
        """Processes of which one was heard last by the cloud, the newest first; without our own."""
        return [name for name in reversed(json.loads(self._fact("former") or "[]")) if name != instance]

    def heard(self, instance: str, now: datetime) -> None:
        """The cloud accepted a call of this process; the time is stored every few seconds."""
        if self._heard_at is None or abs(now - self._heard_at) >= HEARD_AGAIN:
            self._heard_at = now
            self._set("heard_at", time_text(now))
        if self.former(instance):
            self._set("former", json.dumps([instance]))

    # Numbers of requests

    def next_sequence(self) -> int:
        """A number that no request had before. If others went on with a copy of this folder, the one they outran."""
        if self.outrun:
            return self.sequence
        found = self._do(
            "insert into facts values ('sequence', '1') on conflict (name) do update "
            "set value = cast(value as integer) + 1 returning value"
        )
        return int(found[0][0])

    @property
    def sequence(self) -> int:
        """The number that was used last; 0 at first."""
        return int(self._fact("sequence") or 0)

    @property
    def outrun(self) -> bool:
        """True if the cloud has seen numbers that this spool never used: then no new one is taken."""
        return self._fact("outrun") == "1"

    def set_outrun(self) -> None:
        """Take no new number until there is a new key."""
        self._set("outrun", "1")

    # Jobs

    def leased(self, job_id: str, lease: str, call: str, now: datetime) -> bool:
        """Remember a job that was fetched; False if this lease was given before."""
        found = self._do(
            "insert into jobs (id, lease, call, state, at) values (?, ?, ?, 'leased', ?) "
            "on conflict (lease) do nothing returning number",
            job_id,
            lease,
            call,
            time_text(now),
        )
        return bool(found)

    def begun(self, lease: str, now: datetime) -> None:
        """From now on the job may have been done."""
        self._do("update jobs set state='begun', at=? where lease=?", time_text(now), lease)

    def ended(self, lease: str, ended: str, body: str | None, now: datetime) -> None:
        """Remember how it ended until it is told."""
        self._do(
            "update jobs set state='ended', ended=?, body=?, at=? where lease=?", ended, body, time_text(now), lease
        )

    def settle_left(self) -> int:
        """Give an end to the jobs without one, as nobody works at them now; how many there were."""
        left = self._do(
            "update jobs set ended = case state when 'begun' then 'lost' else 'not_begun' end, state = 'ended' "
            "where state in ('leased', 'begun') returning number"
        )
        return len(left)

    def unsent(self, now: datetime) -> Sequence[Report]:
        """Reports that are to be told now, the oldest first."""
        found = self._do(
            "select number, id, lease, call, ended, body from jobs "
            "where state='ended' and not_before <= ? order by number limit 100",
            time_text(now),
        )
        return [Report(*row) for row in found]

    def put_off(self, report: Report, until: datetime) -> None:
        """Tell it later: the others go first."""
        self._do("update jobs set not_before=? where number=?", time_text(until), report.number)

    def told(self, report: Report) -> None:
        """The cloud knows it, or does not want it any more; its body is forgotten."""
        self._do("update jobs set state='told', body=null where number=?", report.number)
        self._do("delete from jobs where state='told' and number <= ?", report.number - TOLD_KEPT)

    # Standing

    @property
    def unsent_count(self) -> int:
        """How many reports are not told yet."""
        return int(self._do("select count(*) from jobs where state='ended'")[0][0])

    @property
    def jobs_count(self) -> int:
        """How many jobs there were."""
        return int(self._do("select coalesce(max(number), 0) from jobs")[0][0])

    @property
    def heard_at(self) -> datetime | None:
        """When the cloud accepted a call last. Aware UTC."""
        text = self._fact("heard_at")
        return time_of(text) if text else None

    @property
    def last_job(self) -> LastJob | None:
        """The newest job."""
        found = self._do("select call, state, ended, at from jobs order by number desc limit 1")
        if not found:
            return None
        call, state, ended, at = found[0]
        return LastJob(call, State(state), ended or "", time_of(at))

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong."""
        text = self._fact("trouble")
        if not text:
            return None
        given: dict[str, Any] = json.loads(text)
        return Trouble(**(given | {"since": time_of(given["since"])}))

    def set_trouble(self, trouble: Trouble | None) -> None:
        """Remember what is wrong for whoever asks; None: nothing is."""
        if trouble is None:
            self._do("delete from facts where name='trouble'")
            return
        given = {
            "code": trouble.code,
            "message": trouble.message,
            "next_step": trouble.next_step,
            "passes": trouble.passes,
            "since": time_text(trouble.since),
        }
        self._set("trouble", json.dumps(given))

    @property
    def system(self) -> tuple[str, str] | None:
        """Why the system beside us cannot be asked, and what to do; None if it answered."""
        text = self._fact("system")
        if not text:
            return None
        message, next_step, _ = json.loads(text)
        return message, next_step

    @property
    def system_since(self) -> datetime | None:
        """Since when. Aware UTC."""
        text = self._fact("system")
        return time_of(json.loads(text)[2]) if text else None

    def set_system(self, told: tuple[str, str] | None, now: datetime) -> None:
        """Remember why it cannot be asked; None: it answered."""
        if told is None:
            self._do("delete from facts where name='system'")
        else:
            self._set("system", json.dumps([*told, time_text(now)]))

    @property
    def latest(self) -> str:
        """The newest version of the agent that the cloud told of."""
        return self._fact("latest")

    @property
    def settings(self) -> Mapping[str, Any] | None:
        """The connection's settings as the cloud told them last; None if it never did."""
        text = self._fact("settings")
        return json.loads(text) if text else None

    def remember(self, *, latest: str, settings: Mapping[str, Any]) -> None:
        """Keep what the cloud tells with every job."""
        for name, value in (("latest", latest), ("settings", json.dumps(settings, sort_keys=True))):
            if self._fact(name) != value:
                self._set(name, value)

    # SQLite

    def _fact(self, name: str) -> str:
        found = self._do("select value from facts where name=?", name)
        return str(found[0][0]) if found else ""

    def _set(self, name: str, value: str) -> None:
        self._do("insert into facts values (?, ?) on conflict (name) do update set value=excluded.value", name, value)

    def _do(self, statement: str, *values: str | int | None) -> list[tuple[Any, ...]]:
        try:
            return self._base.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from None

    def _error(self, error: sqlite3.Error) -> SpoolError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return SpoolError(
                f"{self._file} is damaged.",
                next_step=f"Stop the agent, rename the folder {self._file.parent}, and install with a new code.",
                detail=type(error).__name__,
            )
        return SpoolError(
            f"{self._file} cannot be written.",
            next_step="See that the disk is not full, and that the agent runs as the user who installed it.",
            detail=f"{type(error).__name__} {code}",
        )
