"""State: links, connections, syncs, cursors, budgets, leases, alerts, runs, plans. The tenant stands in every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tieout.domain.changes import Alert, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.links import Intent, Link, LinkKey
from tieout.domain.plans import PlannedWrite, StoredPlan


class LinkStore(Protocol):
    """One item a source record and step. Every write is conditional on the revision that was read."""

    def get(self, keys: Sequence[LinkKey]) -> dict[LinkKey, Link]:
        """The links that are stored, by key; strongly consistent. Others are left out."""

    def claim(self, link: Link, intent: Intent) -> Link:
        """Store the intent, if the link still has its revision; the link as stored. It is found by its reference then.

        Raises:
            ClaimedError: If it changed since it was read.
        """

    def settle(self, link: Link, *, worker: str, pointer: bool) -> Link:
        """Store the link's new state and drop the intent, if `worker` still holds it; clears `unsynced` too.

        `pointer` also keeps a way from the target id back to the link, for targets that do not keep our reference.

        Raises:
            ClaimedError: If another worker took the intent over.
        """

    def take_target(self, link: Link) -> bool:
        """Keep the way back from a record that stood there before us, before the claimed link is settled.

        False if it leads to another source record's link: one that names the record, or that has no partner yet and an
        open intent, which may be about to. Of two that take one record, one gets it.

        Raises:
            ClaimedError: If other workers change it again and again.
        """

    def keep_intent(self, link: Link, intent: Intent) -> Link:
        """Replace the intent (unknown, another look, taken over after its time), if it is still the one that was read.

        Raises:
            ClaimedError: If another worker changed the link since.
        """

    def store(self, link: Link, *, pointer: bool = False) -> Link:
        """Store what we know beside the write: decisions, withdrawals, what is followed. Intent and reason stay.

        `pointer` as for `settle`: the link has another target than before, which it writes.

        Raises:
            ClaimedError: If the link changed since it was read.
        """

    def release(self, link: Link, *, worker: str) -> Link:
        """Drop the intent: surely nothing was written.

        Raises:
            ClaimedError: If another worker took it over.
        """

    def set_unsynced(self, key: LinkKey, unsynced: Unsynced | None, *, instead_of: Unsynced | None = None) -> None:
        """Say why the record is not in agreement, or that nothing hinders it any more. Leaves the rest alone.

        With `instead_of` only if that is what is said still: another worker may have said something newer since.
        """

    def by_reference(self, tenant: str, sync: str, step: str, references: Sequence[str]) -> dict[str, Link]:
        """Links by our reference of today (`Link.reference`); strongly consistent."""

    def by_target(self, tenant: str, sync: str, step: str, target_ids: Sequence[str]) -> dict[str, Link]:
        """Links by target id, for those that were settled with `pointer`."""

    def all(self, tenant: str, sync: str, step: str) -> Iterator[Link]:
        """Every link of the step, in no order; eventually consistent; pages through the table."""

    def unsynced(self, tenant: str, state: UnsyncedState | None = None) -> Iterator[Unsynced]:
        """What is not in agreement, oldest first; eventually consistent."""


@dataclass(frozen=True, slots=True)
class StoredSync:
    """A sync document as it was accepted; `version` rises with each."""

    tenant: str
    name: str
    version: int
    text: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """A long piece of work that can go on where it stopped.

    Attributes:
        id: `backfill-` and the moment it began.
        checkpoint: What the work needs to go on; plain JSON values.
        sync_version: The version of the sync's document that it began with.
    """

    tenant: str
    sync: str
    id: str
    started_at: datetime
    checkpoint: Mapping[str, Any]
    finished_at: datetime | None = None
    sync_version: int = 0


class ConfigStore(Protocol):
    """Tenants, connections and syncs."""

    def tenants(self) -> Sequence[str]:
        """Every tenant of the deployment."""

    def connections(self, tenant: str) -> Sequence[Connection]:
        """The tenant's connections."""

    def connection(self, tenant: str, connection: str) -> Connection | None:
        """One connection; strongly consistent."""

    def connections_of_account(self, provider: str, account: str) -> Sequence[Connection]:
        """Connections, of any tenant, to the provider's account: for webhooks that name only the account."""

    def put_connection(self, connection: Connection) -> None:
        """Store or replace a connection, and its tenant."""

    def syncs(self, tenant: str) -> Sequence[StoredSync]:
        """The running version of each sync."""

    def put_sync(self, sync: StoredSync) -> None:
        """Store a new version and make it the running one, if no other took that number; former ones are kept.

        Raises:
            ClaimedError: If somebody stored that version meanwhile.
        """

    def cursor(self, tenant: str, connection: str, name: str) -> str | None:
        """The text stored under this name; None if there is none."""

    def put_cursor(self, tenant: str, connection: str, name: str, cursor: str) -> None:
        """Store it."""

    def run(self, tenant: str, sync: str) -> Run | None:
        """The newest run of the sync."""

    def put_run(self, run: Run) -> None:
        """Store or replace a run."""


class PlanStore(Protocol):
    """Stored plans, and the writes that each of them allows. They are kept for 30 days."""

    def put_plan(self, plan: StoredPlan, writes: Sequence[PlannedWrite]) -> StoredPlan:
        """Store a new plan with its writes; as it is stored.

        Raises:
            SettingsError: If it is too large to be kept.
            ClaimedError: If there is one of this id.
        """

    def plan(self, tenant: str, plan_id: str) -> StoredPlan | None:
        """The plan; None if there is none, or no longer. Strongly consistent."""

    def plans(self, tenant: str) -> Iterator[StoredPlan]:
        """The tenant's plans, the newest first."""

    def planned(self, plan: StoredPlan) -> Iterator[PlannedWrite]:
        """All its writes, by step and source id."""

    def allowed(self, plan: StoredPlan, keys: Sequence[LinkKey]) -> dict[LinkKey, PlannedWrite]:
        """What the plan says about these records; what it says nothing about is left out."""

    def change_plan(self, plan: StoredPlan) -> StoredPlan:
        """Store the plan's state, approval and ends; as it is stored.

        Raises:
            ClaimedError: If it changed since it was read.
        """

    def leave_out(self, plan: StoredPlan, key: LinkKey, reason: str) -> None:
        """Note why a write of the plan was not done, or not as planned."""

    def left_out(self, plan: StoredPlan) -> dict[LinkKey, str]:
        """What was noted."""


class BudgetStore(Protocol):
    """A small state per connection that all workers change together."""

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
        """The state and its revision; ({}, 0) at first. Strongly consistent."""

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
        """Store it if the revision is still that; False if another worker was faster."""

    def take_lease(self, tenant: str, name: str, *, holder: str, until: datetime, now: datetime) -> bool:
        """True if nobody else holds the lease at `now`."""

    def drop_lease(self, tenant: str, name: str, *, holder: str) -> None:
        """Give it back, if we still hold it."""


class AlertStore(Protocol):
    """Alerts on their way to a person."""

    def put(self, alerts: Sequence[Alert]) -> None:
        """Store them durably; an alert about the same record and cause replaces the former one."""

    def pending(self, tenant: str) -> Sequence[Alert]:
        """All that were not sent yet, oldest first; 1,000 at most."""

    def open_window(self, tenant: str, cause: str, *, until: datetime, now: datetime) -> bool:
        """True if no message about this cause is out whose hour still runs; then it is ours to send."""

    def close_window(self, tenant: str, cause: str) -> None:
        """Sending failed: let the next try send it."""

    def remove(self, alerts: Sequence[Alert]) -> None:
        """They were sent."""


class Mail(Protocol):
    """Reaches people."""

    def send(self, tenant: str, subject: str, text: str) -> None:
        """Hand a plain-text message to the topic. The subject has at most 100 ASCII characters.

        Raises:
            UnavailableError: If it was not accepted.
        """
