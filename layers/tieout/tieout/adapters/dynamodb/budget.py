"""Budgets and leases: what all workers of the deployment decide together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from tieout.adapters.dynamodb.table import Condition, Key, Table, joined
from tieout.adapters.dynamodb.values import Scalar
from tieout.domain.packing import pack, time_text, unpack

_LEASE_KEPT = timedelta(hours=1)


class DynamoBudget:
    """Implements `tieout.ports.state.BudgetStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
        """The state and its revision; ({}, 0) at first. Strongly consistent."""
        item = self._table.get(Key(joined(tenant, "budget"), connection))
        return ({}, 0) if item is None else (unpack(item["spent"]), item["revision"])

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
        """Store it if the revision is still that; False if another worker was faster."""
        if revision == 0:
            unchanged = Condition("attribute_not_exists(#pk)")
        else:
            unchanged = Condition("#revision = :revision", {"revision": revision})
        values: dict[str, Scalar] = {"spent": pack(state), "revision": revision + 1}
        return self._table.put(Key(joined(tenant, "budget"), connection), values, when=unchanged)

    def take_lease(self, tenant: str, name: str, *, holder: str, until: datetime, now: datetime) -> bool:
        """True if nobody else holds the lease at `now`; a lease ends at its `until`."""
        free = Condition(
            "attribute_not_exists(#pk) OR #until <= :now OR #holder = :holder",
            {"now": time_text(now), "holder": holder},
        )
        values: dict[str, Scalar] = {
            "holder": holder,
            "until": time_text(until),
            "expires_at": int((until + _LEASE_KEPT).timestamp()),
        }
        return self._table.put(Key(joined(tenant, "lease"), name), values, when=free)

    def drop_lease(self, tenant: str, name: str, *, holder: str) -> None:
        """Give it back, if we still hold it."""
        self._table.delete(Key(joined(tenant, "lease"), name), when=Condition("#holder = :holder", {"holder": holder}))
