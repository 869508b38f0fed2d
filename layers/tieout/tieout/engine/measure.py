"""Measuring: how old the oldest change is that is not in agreement."""

from __future__ import annotations

from dataclasses import dataclass

from tieout.domain.changes import UnsyncedState
from tieout.ports.clock import Clock
from tieout.ports.state import ConfigStore, LinkStore


@dataclass(frozen=True, slots=True)
class Ages:
    """Seconds since any tenant's oldest waiting, and oldest parked, change was first seen; 0 if there is none."""

    waiting_seconds: int
    parked_seconds: int


class MeasureUnsynced:
    """Looks at each tenant's oldest change only, so it costs two small reads a tenant."""

    def __init__(self, *, config: ConfigStore, links: LinkStore, clock: Clock) -> None:
        self._config, self._links, self._clock = config, links, clock

    def ages(self) -> Ages:
        """The ages now."""
        tenants = self._config.tenants()
        waiting, parked = (
            max((self._age_seconds(tenant, state) for tenant in tenants), default=0)
            for state in (UnsyncedState.WAITING, UnsyncedState.PARKED)
        )
        return Ages(waiting, parked)

    def _age_seconds(self, tenant: str, state: UnsyncedState) -> int:
        oldest = next(iter(self._links.unsynced(tenant, state)), None)
        return 0 if oldest is None else round((self._clock.now() - oldest.change.seen_at).total_seconds())
