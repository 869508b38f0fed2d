"""Tenants, connections, syncs, cursors and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tieout.adapters.dynamodb.table import Condition, Key, Table, joined
from tieout.adapters.dynamodb.values import Scalar
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ClaimedError
from tieout.domain.packing import pack, time_of, time_text, unpack
from tieout.ports.state import Run, StoredSync

_TENANTS = "tieout#tenants"


class DynamoConfig:
    """Implements `tieout.ports.state.ConfigStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def tenants(self) -> Sequence[str]:
        """Every tenant of the deployment."""
        return [item["sk"] for item in self._table.query(_TENANTS)]

    def connections(self, tenant: str) -> Sequence[Connection]:
        """The tenant's connections."""
        return [connection_of(item) for item in self._table.query(joined(tenant, "connection"))]

    def connection(self, tenant: str, connection: str) -> Connection | None:
        """One connection; strongly consistent."""
        item = self._table.get(Key(joined(tenant, "connection"), connection))
        return None if item is None else connection_of(item)

    def connections_of_account(self, provider: str, account: str) -> Sequence[Connection]:
        """Connections, of any tenant, to the provider's account; eventually consistent."""
        found = self._table.query(_account_pk(provider, account), index="account")
        items = self._table.get_many(Key(item["pk"], item["sk"]) for item in found)
        connections = (connection_of(item) for item in items)
        return [one for one in connections if (one.provider, one.account) == (provider, account)]

    def put_connection(self, connection: Connection) -> None:
        """Store or replace a connection, and its tenant."""
        # The tenant comes first: one without connections does no harm, a connection without its tenant is not polled.
        self._table.put(Key(_TENANTS, connection.tenant), {})
        values: dict[str, Scalar] = {
            "tenant": connection.tenant,
            "provider": connection.provider,
            "account": connection.account,
            "settings": pack(connection.settings),
            "poll": connection.poll,
            "state": connection.state,
            "paused_because": connection.paused_because,
        }
        if connection.through_agent:
            values["through_agent"] = 1
        if connection.account:
            values["account_pk"] = _account_pk(connection.provider, connection.account)
        if connection.paused_at is not None:
            values["paused_at"] = time_text(connection.paused_at)
        self._table.put(Key(joined(connection.tenant, "connection"), connection.id), values)

    def syncs(self, tenant: str) -> Sequence[StoredSync]:
        """The running version of each sync."""
        return [sync_of(tenant, item) for item in self._table.query(joined(tenant, "sync"))]

    def put_sync(self, sync: StoredSync) -> None:
        """Store a new version and make it the running one, if no other took that number; former ones are kept.

        Raises:
            ClaimedError: If somebody stored that version meanwhile.
        """
        values: dict[str, Scalar] = {
            "version": sync.version,
            "text": sync.text,
            "applied_at": time_text(sync.applied_at),
        }
        kept = self._table.put_request(
            Key(joined(sync.tenant, "sync_version"), joined(sync.name, f"{sync.version:08}")),
            values,
            when=Condition("attribute_not_exists(#pk)"),
        )
        running = self._table.put_request(
            Key(joined(sync.tenant, "sync"), sync.name),
            values,
            when=Condition("attribute_not_exists(#pk) OR #version < :version", {"version": sync.version}),
        )
        if not self._table.put_all_or_none([kept, running]):
            raise ClaimedError(
                f"Somebody else has stored version {sync.version} of the sync {sync.name} meanwhile.",
                next_step="Compare with the running version, then apply yours again.",
            )

    def cursor(self, tenant: str, connection: str, name: str) -> str | None:
        """The text stored under this name; None if there is none. Strongly consistent."""
        item = self._table.get(Key(joined(tenant, "cursor", connection), name))
        return None if item is None else str(item["cursor"])

    def put_cursor(self, tenant: str, connection: str, name: str, cursor: str) -> None:
        """Store it."""
        self._table.put(Key(joined(tenant, "cursor", connection), name), {"cursor": cursor})

    def run(self, tenant: str, sync: str) -> Run | None:
        """The newest run of the sync, by its beginning."""
        newest = next(self._table.query(joined(tenant, "run", sync), newest_first=True, first_page=1), None)
        return None if newest is None else run_of(tenant, sync, newest)

    def put_run(self, run: Run) -> None:
        """Store or replace a run."""
        values: dict[str, Scalar] = {
            "started_at": time_text(run.started_at),
            "checkpoint": pack(run.checkpoint),
            "sync_version": run.sync_version,
        }
        if run.finished_at is not None:
            values["finished_at"] = time_text(run.finished_at)
        sk = joined(time_text(run.started_at), run.id)
        self._table.put(Key(joined(run.tenant, "run", run.sync), sk), values | {"id": run.id})


def _account_pk(provider: str, account: str) -> str:
    return joined("account", provider, account)


def connection_of(item: dict[str, Any]) -> Connection:
    """The connection that an item holds."""
    return Connection(
        tenant=item["tenant"],
        id=item["sk"],
        provider=item["provider"],
        account=item["account"],
        settings=unpack(item["settings"]),
        poll=item["poll"],
        state=ConnectionState(item["state"]),
        paused_because=item["paused_because"],
        through_agent=bool(item.get("through_agent", 0)),
        paused_at=time_of(item["paused_at"]) if "paused_at" in item else None,
    )


def sync_of(tenant: str, item: dict[str, Any]) -> StoredSync:
    """The sync document that an item holds."""
    return StoredSync(tenant, item["sk"], item["version"], item["text"], time_of(item["applied_at"]))


def run_of(tenant: str, sync: str, item: dict[str, Any]) -> Run:
    """The run that an item holds."""
    return Run(
        tenant=tenant,
        sync=sync,
        id=item["id"],
        started_at=time_of(item["started_at"]),
        checkpoint=unpack(item["checkpoint"]),
        finished_at=time_of(item["finished_at"]) if "finished_at" in item else None,
        sync_version=item.get("sync_version", 0),  # runs of earlier versions did not tell
    )
