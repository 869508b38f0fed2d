"""What the parts of one run share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from tieout.domain.connections import ConnectionState
from tieout.domain.errors import ReconnectError, SettingsError, TieoutError, UnavailableError
from tieout.domain.links import Link, LinkKey
from tieout.domain.plans import PlannedWrite, StoredPlan
from tieout.engine.caps import Caps
from tieout.engine.collect import Connect
from tieout.engine.ends import Connections, Ends
from tieout.engine.policy import RetryPolicy
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector
from tieout.ports.state import LinkStore


class Plans(Protocol):
    """What is needed of `PlanStore` to keep to a plan."""

    def plan(self, tenant: str, plan_id: str) -> StoredPlan | None:
        """The plan; None if there is none, or no longer."""

    def allowed(self, plan: StoredPlan, keys: Sequence[LinkKey]) -> dict[LinkKey, PlannedWrite]:
        """What the plan says about these records."""

    def leave_out(self, plan: StoredPlan, key: LinkKey, reason: str) -> None:
        """Note why a write of the plan was not done."""


@dataclass(slots=True)
class Session:
    """One tenant's work within one call of `apply`.

    Attributes:
        worker: Our name in the intents that we claim.
        targets: Ids on the other side, of every record that is known to have one.
        out_of_time: True once no further batch of writes may begin.
        plan: The stored plan whose changes these are, if they are those of one; `plans` keeps it.
        left_out: Records that were not written as the plan does not say so.
        began: When the first record may have been read. Aware UTC.
    """

    tenant: str
    config: Connections
    links: LinkStore
    clock: Clock
    policy: RetryPolicy
    ends: Ends
    caps: Caps
    connect: Connect
    out_of_time: Callable[[], bool]
    plan: StoredPlan | None = None
    plans: Plans | None = None
    left_out: set[LinkKey] = field(default_factory=set)
    worker: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    targets: dict[LinkKey, str] = field(default_factory=dict)
    began: datetime = field(init=False)
    _open: dict[str, Connector] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.clock.now()

    def connector(self, connection_id: str) -> Connector:
        """The open connection of this name.

        Raises:
            UnavailableError: If it is not set up, or paused.
            SettingsError: If its settings cannot be used.
        """
        if connection_id not in self._open:
            connection = self.config.connection(self.tenant, connection_id)
            if connection is None:
                raise UnavailableError(
                    f"The connection {connection_id} is not set up.",
                    next_step=f"Add a connection document for `{connection_id}` and run `tieout config apply`.",
                )
            if connection.state is ConnectionState.PAUSED:
                raise UnavailableError(
                    f"The connection {connection_id} is paused: {connection.paused_because}",
                    next_step=f"Run `tieout connect {connection_id} --tenant {self.tenant}`.",
                )
            self._open[connection_id] = self.connect(connection)
        return self._open[connection_id]

    def failed(self, connection_id: str, error: TieoutError) -> None:
        """Pause the connection if only a person can help: sign-in refused, secrets missing, settings wrong."""
        if isinstance(error, ReconnectError | SettingsError):
            connection = self.config.connection(self.tenant, connection_id)
            if connection is not None:
                self.ends.paused(connection, error)

    def forget(self, key: LinkKey) -> None:
        """What needs the partner of this link has to wait as the link does."""
        self.targets.pop(key, None)

    def know(self, links: Mapping[LinkKey, Link]) -> None:
        """Remember the partners of these links; one that was withdrawn, or is gone, is none."""
        self.targets |= {
            key: link.target_id for key, link in links.items() if link.target_id is not None and link.withdrawn is None
        }
