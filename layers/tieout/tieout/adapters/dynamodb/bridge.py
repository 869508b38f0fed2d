"""Jobs for systems in an office, and who fetches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tieout.adapters.dynamodb.table import Condition, Key, Table, joined
from tieout.adapters.dynamodb.values import Scalar
from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.errors import ClaimedError
from tieout.domain.packing import time_of, time_text
from tieout.ports.bridge import Parcels

INLINE_BYTES_MAX = 200_000
"""Larger texts stand beside the table, whose items have 400 KB at most."""

RESULT_BYTES_MAX = 20_000_000
KEPT = timedelta(hours=12)
_TIMES = ("code_until", "enrolled_at", "seen_at", "worked_at", "told_at")
_TEXTS = ("code_hash", "key_hash", "instance", "machine", "system", "version", "session")


class DynamoOutbox:
    """Implements `tieout.ports.bridge.Outbox`."""

    def __init__(self, table: Table, parcels: Parcels) -> None:
        self._table, self._parcels = table, parcels

    def put(self, job: Job) -> None:
        """Queue a new job; a large body is stored first."""
        if len(job.body.encode()) > INLINE_BYTES_MAX:
            self._parcels.put(job.call_parcel, job.body.encode())
        self._table.put(_key(job), _to_item(job))

    def job(self, tenant: str, connection: str, job_id: str) -> Job | None:
        """The job, with its body and result; None if there is none."""
        item = self._table.get(Key(_pk(tenant, connection), f"job#{job_id}"))
        if item is None:
            return None
        job = _from_item(item)
        if "body" not in item:
            job = replace(job, body=self._text(job.call_parcel) or "")
        if job.result_apart:
            job = replace(job, result=self._text(job.report_parcel))
        return job

    def jobs(self, tenant: str, connection: str) -> Sequence[Job]:
        """All, the oldest first; a body that stands apart is read when the job is."""
        return [_from_item(item) for item in self._table.query(_pk(tenant, connection), begins="job#")]

    def change(self, job: Job, *, was: JobState, lease: str = "") -> bool:
        """Store the job's new state, if it still has this one, and this lease."""
        values: dict[str, Scalar] = {"state": job.state, "lease": job.lease, "instance": job.instance}
        if job.leased_at is not None:
            values["leased_at"] = time_text(job.leased_at)
        if job.ended is not None:
            values["ended"] = job.ended
            values["result_apart"] = int(job.result_apart)
        if job.result is not None and not job.result_apart:
            if len(job.result.encode()) > INLINE_BYTES_MAX:
                self._parcels.put(job.report_parcel, job.result.encode())
                values["result_apart"] = 1
            else:
                values["result"] = job.result
        text, given = "#state = :was", {"was": was.value}
        if lease:
            text, given = f"{text} AND #lease = :lease", given | {"lease": lease}
        return self._table.update(_key(job), values, when=Condition(text, dict(given)))

    def drop(self, job: Job, *, was: JobState) -> bool:
        """Remove the job, if it still has this state."""
        return self._table.delete(_key(job), when=Condition("#state = :was", {"was": was.value}))

    def _text(self, name: str) -> str | None:
        body = self._parcels.get(name, bytes_max=RESULT_BYTES_MAX)
        try:
            return None if body is None else body.decode()
        except UnicodeDecodeError:
            return None


class DynamoInstallations:
    """Implements `tieout.ports.bridge.InstallationStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def installation(self, tenant: str, connection: str) -> Installation | None:
        """The connection's installation; None if there never was one."""
        item = self._table.get(Key(joined(tenant, "installation"), connection))
        return None if item is None else _installation(item)

    def installations(self, tenant: str) -> Sequence[Installation]:
        """All of the tenant's."""
        return [_installation(item) for item in self._table.query(joined(tenant, "installation"))]

    def put_installation(self, installation: Installation) -> Installation:
        """Store it if it still has its revision."""
        stored = replace(installation, revision=installation.revision + 1)
        values: dict[str, Scalar] = {"tenant": stored.tenant, "sequence": stored.sequence, "revision": stored.revision}
        values |= {name: getattr(stored, name) for name in _TEXTS}
        values |= {name: time_text(getattr(stored, name)) for name in _TIMES if getattr(stored, name) is not None}
        when = (
            Condition("#revision = :former", {"former": installation.revision})
            if installation.revision
            else Condition("attribute_not_exists(#pk)")
        )
        if not self._table.put(Key(joined(stored.tenant, "installation"), stored.connection), values, when=when):
            raise ClaimedError("The installation changed meanwhile.")
        return stored


def _pk(tenant: str, connection: str) -> str:
    return joined(tenant, "bridge", connection, "jobs")  # no name of a connection ends it: the stream sees ends


def _key(job: Job) -> Key:
    return Key(_pk(job.tenant, job.connection), f"job#{job.id}")


def _to_item(job: Job) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {
        "tenant": job.tenant,
        "connection": job.connection,
        "call": job.call,
        "write": int(job.write),
        "queued_at": time_text(job.queued_at),
        "begin_by": time_text(job.begin_by),
        "state": job.state,
        "expires_at": int((job.queued_at + KEPT).timestamp()),
    }
    if len(job.body.encode()) <= INLINE_BYTES_MAX:
        values["body"] = job.body
    return values


def _from_item(item: dict[str, Any]) -> Job:
    return Job(
        tenant=item["tenant"],
        connection=item["connection"],
        id=item["sk"].removeprefix("job#"),
        call=item["call"],
        body=item.get("body", ""),
        write=bool(item["write"]),
        queued_at=time_of(item["queued_at"]),
        begin_by=time_of(item["begin_by"]),
        state=JobState(item["state"]),
        lease=item.get("lease", ""),
        instance=item.get("instance", ""),
        leased_at=time_of(item["leased_at"]) if "leased_at" in item else None,
        ended=Ended(item["ended"]) if "ended" in item else None,
        result=item.get("result"),
        result_apart=bool(item.get("result_apart", 0)),
    )


def _installation(item: dict[str, Any]) -> Installation:
    times = {name: time_of(item[name]) if name in item else None for name in _TIMES}
    return Installation(
        tenant=item["tenant"],
        connection=item["sk"],
        code_hash=item["code_hash"],
        code_until=times["code_until"],
        key_hash=item["key_hash"],
        enrolled_at=times["enrolled_at"],
        sequence=item["sequence"],
        seen_at=times["seen_at"],
        worked_at=times["worked_at"],
        instance=item["instance"],
        machine=item["machine"],
        system=item["system"],
        version=item["version"],
        told_at=times["told_at"],
        session=item["session"],
        revision=item["revision"],
    )
