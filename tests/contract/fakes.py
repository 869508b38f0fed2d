"""What a connector is given in tests: time that stands still, secrets in memory, leases without a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Time moves only when somebody sleeps or the test advances it."""

    def __init__(self, now: datetime = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)) -> None:
        self._now = now
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def jitter(self) -> float:
        return 0.5

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class MemorySecrets:
    """One bundle; `history` holds every one that was stored, in order. `copy` is what a reading that need not be fresh
    finds, if it is not the newest.
    """

    def __init__(self, bundle: Mapping[str, str]) -> None:
        self.history: list[dict[str, str]] = [dict(bundle)]
        self.copy: dict[str, str] | None = None

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
        return dict(self.copy if self.copy is not None and not fresh else self.history[-1])

    def write(self, tenant: str, connection: str, secrets: Mapping[str, str]) -> None:
        self.history.append(dict(secrets))


class MemoryLease:
    """Counts who took which lease, and refuses to be taken twice at once."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self._held: set[str] = set()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        assert name not in self._held, f"the lease {name} is not released"
        self._held.add(name)
        self.taken.append(name)
        try:
            yield
        finally:
            self._held.discard(name)


class MemoryBudgetStore:
    """The budget's part of `ports.state.BudgetStore`."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], tuple[dict[str, int], int]] = {}
        self.reads = 0

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
        self.reads += 1
        state, revision = self.states.get((tenant, connection), ({}, 0))
        return dict(state), revision

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
        if self.states.get((tenant, connection), ({}, 0))[1] != revision:
            return False
        self.states[tenant, connection] = (dict(state), revision + 1)
        return True

    def take_lease(self, tenant: str, name: str, *, holder: str, until: datetime, now: datetime) -> bool:
        raise NotImplementedError

    def drop_lease(self, tenant: str, name: str, *, holder: str) -> None:
        raise NotImplementedError
