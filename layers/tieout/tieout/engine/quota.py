"""Quotas: whether what a connection may call in a day suffices for what is to be written, told before it runs out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tieout.domain.changes import Alert, Lane, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError
from tieout.domain.plans import PlannedWrite
from tieout.domain.records import Kind
from tieout.domain.reviews import Side
from tieout.domain.words import age, counted
from tieout.engine.backfill import all_ids, source_of, sync_of
from tieout.engine.collect import Connect, compiled, connection_written, steps_of
from tieout.engine.ends import AlertSink
from tieout.mapping import CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.connector import Limit, Provider, Window
from tieout.ports.state import ConfigStore, LinkStore
from tieout.transport.budget import Allowance, allowances

_TOLD = "quota-told"
_DAY_SECONDS = 24 * 3600


class Budgets(Protocol):
    """What is needed of `BudgetStore`."""

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
        """The state and its revision."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be written through a connection, held against the quota that is short first.

    Attributes:
        needed: Calls that it takes at least: what somebody has to look up or correct is not in it.
        allowance: The quota, as the lane has it that the writing goes on.
    """

    connection: str
    title: str
    needed: int
    allowance: Allowance

    @property
    def suffices(self) -> bool:
        """True if all of it fits into what is left now."""
        return self.needed <= self.allowance.left

    @property
    def windows(self) -> int:
        """How many windows of the quota (days, mostly) pass before the last of it is written; 0 if it suffices."""
        return 0 if self.suffices else -(-(self.needed - self.allowance.left) // self.allowance.a_window)

    @property
    def seconds(self) -> int:
        """The same in seconds."""
        return self.windows * self.allowance.limit.per_seconds

    @property
    def period(self) -> str:
        """How long a window is, in words; a day of a quota begins at any hour."""
        per_seconds = self.allowance.limit.per_seconds
        return "24 hours" if per_seconds == _DAY_SECONDS else age(per_seconds)

    def said(self) -> str:
        """The numbers in two sentences."""
        allowance, limit = self.allowance, self.allowance.limit
        reserved = "" if allowance.a_window == limit.calls else f" ({allowance.a_window:,} for history)"
        return (
            f"{self.title} allows the connection {self.connection} {counted(limit.calls, 'call')} in {self.period}"
            f"{reserved}, and {allowance.left:,} of them are left now. What is to be written takes about "
            f"{self.needed:,}."
        )


class Quotas:
    """Knows how far the quotas of a tenant's connections reach."""

    def __init__(
        self,
        *,
        config: ConfigStore,
        links: LinkStore,
        budgets: Budgets,
        alerts: AlertSink,
        connect: Connect,
        provider: Callable[[str], Provider],
        clock: Clock,
    ) -> None:
        self._config, self._links, self._budgets, self._alerts = config, links, budgets, alerts
        self._connect, self._provider, self._clock = connect, provider, clock

    def check(self, tenant: str, connection_id: str, queued: Mapping[Kind, int]) -> list[Forecast]:
        """What does not suffice for what waits and what was just queued, and was not told in this window yet.

        Args:
            tenant: Whose.
            connection_id: The connection whose changes were queued.
            queued: How many of its records, by kind.
        """
        limited = [(one, quotas) for one in self._config.connections(tenant) if (quotas := self._quotas(one))]
        if not limited:
            return []
        syncs = self._syncs(tenant)
        fresh = _written_for(syncs, connection_id, queued)
        concerned = [
            one
            for one, quotas in sorted(limited, key=lambda pair: pair[0].id)
            if one.id in {connection_id, *fresh} and not self._is_told(one, quotas)
        ]
        waiting = self._waiting(tenant, syncs) if concerned else {}
        short = []
        for connection in concerned:
            kinds = fresh.get(connection.id, Counter()) + waiting.get(connection.id, Counter())
            forecast = self.forecast(connection, self._calls(connection, kinds))
            if forecast is not None and not forecast.suffices:
                self._tell(connection, forecast)
                short.append(forecast)
        return short

    def waiting(self, tenant: str, connection: Connection) -> Forecast | None:
        """What waits for the connection, held against its quota; None if it has none."""
        if not self._quotas(connection):
            return None
        kinds = self._waiting(tenant, self._syncs(tenant)).get(connection.id, Counter())
        return self.forecast(connection, self._calls(connection, kinds))

    def of_plan(self, tenant: str, sync: CompiledSync, writes: Iterable[PlannedWrite]) -> list[Forecast]:
        """What the writes of a plan of the sync, which need not run yet, take of each connection that has a quota."""
        counts: dict[str, Counter[Kind]] = {sync.source: Counter(), sync.target: Counter()}
        for write in writes:
            step = sync.step(write.step)
            if write.side is Side.SOURCE:  # the second half of a two-way step
                counts[sync.source][step.from_kind] += 1
            else:
                counts[connection_written(sync, step)][step.to_kind] += 1
        return [
            forecast
            for connection_id, kinds in counts.items()
            if (connection := self._config.connection(tenant, connection_id)) is not None
            and (forecast := self.forecast(connection, self._calls(connection, kinds))) is not None
            and forecast.needed
        ]

    def of_history(self, tenant: str, name: str) -> Forecast | None:
        """What writing the records takes that have no partner yet, at most; None if the target has no quota.

        Every id of the source is asked for; which records the sync selects is not known without reading them.

        Raises:
            SettingsError: If there is no such sync or its source connection is not set up.
            ProviderError: If the source cannot be read now.
        """
        sync = sync_of(self._config, tenant, name)
        target = self._config.connection(tenant, sync.target)
        if target is None or not self._quotas(target):
            return None
        source = source_of(self._config, self._connect, self._clock, tenant, sync)
        there: dict[Kind, int] = {}
        kinds: Counter[Kind] = Counter()
        for step in sync.steps:
            if step.reads == "source":
                if step.from_kind not in there:
                    there[step.from_kind] = sum(1 for _ in all_ids(source, step.from_kind))
                links = self._links.all(tenant, sync.name, step.name)
                linked = sum(link.target_id is not None for link in links)
                kinds[step.to_kind] += max(there[step.from_kind] - linked, 0)
        return self.forecast(target, self._calls(target, kinds), Lane.BACKFILL)

    def forecast(self, connection: Connection, needed: int, lane: Lane = Lane.LIVE) -> Forecast | None:
        """So many calls against the quota that is short first; None if the connection has none."""
        found = self._allowances(connection, lane)
        title = self._provider(connection.provider).manifest.title if found else ""
        forecasts = [Forecast(connection.id, title, needed, one) for one in found]
        return max(forecasts, key=lambda one: (one.seconds, -one.allowance.left), default=None)

    def _allowances(self, connection: Connection, lane: Lane) -> list[Allowance]:
        quotas = self._quotas(connection)
        if not quotas:
            return []
        state, _ = self._budgets.read_budget(connection.tenant, connection.id)
        return allowances(state, quotas, self._clock.now(), lane)

    def _quotas(self, connection: Connection) -> list[Limit]:
        """Its limits that are used up over hours or days; reads nothing."""
        try:
            limits = self._provider(connection.provider).limits_of(connection)
        except SettingsError:  # whoever opens it hears of that
            return []
        return [limit for limit in limits if limit.window is Window.QUOTA]

    def _calls(self, connection: Connection, kinds: Mapping[Kind, int]) -> int:
        calls = self._provider(connection.provider).manifest.calls_to_write
        return sum(count * calls.get(kind, 1) for kind, count in kinds.items())

    def _syncs(self, tenant: str) -> list[CompiledSync]:
        return [compiled(sync) for sync in self._config.syncs(tenant)]

    def _waiting(self, tenant: str, syncs: Iterable[CompiledSync]) -> dict[str, Counter[Kind]]:
        """By connection, how many records wait to be written to it; of steps that are no more, none are."""
        steps = {
            (sync.name, step.name): (connection_written(sync, step), step.to_kind)
            for sync in syncs
            for step in sync.linked_steps
        }
        found: dict[str, Counter[Kind]] = defaultdict(Counter)
        for one in self._links.unsynced(tenant, UnsyncedState.WAITING):
            if (one.sync, one.step) in steps:
                written, kind = steps[one.sync, one.step]
                found[written][kind] += 1
        return found

    def _is_told(self, connection: Connection, quotas: Iterable[Limit]) -> bool:
        """True if a person was told within this window."""
        told = self._config.cursor(connection.tenant, connection.id, _TOLD)
        window = timedelta(seconds=min(one.per_seconds for one in quotas))
        return bool(told) and self._clock.now() - datetime.fromisoformat(told or "") < window

    def _tell(self, connection: Connection, forecast: Forecast) -> None:
        now = self._clock.now()
        until = (now + timedelta(seconds=forecast.seconds)).astimezone(UTC)
        # Told first: if the note is lost, a person hears of it twice, but never not at all.
        self._alerts.put(
            [
                Alert(
                    tenant=connection.tenant,
                    cause=f"quota-{connection.id}",
                    subject=f"The calls of {connection.id} will not suffice for what is to be written",
                    reason=f"{forecast.said()} The last of it is written about {until:%Y-%m-%d %H:%M} UTC.",
                    next_step=f"If that is too late, take a plan at {forecast.title} that allows more calls and say so "
                    f"in the settings of {connection.id}; or ask it less often for changes (`poll`), which leaves more "
                    "calls for writing.",
                    command=f"tieout status --tenant {connection.tenant}",
                    raised_at=now,
                )
            ]
        )
        self._config.put_cursor(connection.tenant, connection.id, _TOLD, now.isoformat())


def _written_for(
    syncs: Iterable[CompiledSync], connection_id: str, queued: Mapping[Kind, int]
) -> dict[str, Counter[Kind]]:
    """By connection, how many records are written to it for what was queued of `connection_id`, at most."""
    found: dict[str, Counter[Kind]] = defaultdict(Counter)
    for sync in syncs:
        for step in steps_of(sync, connection_id):
            if count := queued.get(step.from_kind, 0):
                found[connection_written(sync, step)][step.to_kind] += count
    return found
