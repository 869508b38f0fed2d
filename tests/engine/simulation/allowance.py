"""What a model provider allows: kept by the real budget, a process' own, and counted by the provider itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.engine.simulation.roads import RETRY_AFTER_SECONDS, Counted, counted
from tests.engine.simulation.rotation import Met
from tests.engine.simulation.runtime import Runtime
from tieout.domain.errors import ProviderError, ThrottledError
from tieout.ports.connector import Limit, Window
from tieout.ports.http import Answer
from tieout.ports.state import BudgetStore
from tieout.transport import Budget

_PATIENCE_SECONDS = 1.0


class Allowance:
    """One account's. Every call counts against each limit.

    Attributes:
        exceeded: Calls beyond a limit, by the provider's own count.
        crowded: Calls beyond the limit of those under way.
    """

    def __init__(
        self,
        runtime: Runtime,
        store: BudgetStore,
        account: tuple[str, str],
        limits: Sequence[Limit],
        met: Counter[Met],
    ) -> None:
        self._runtime, self._store, self._account, self._met = runtime, store, account, met
        self._limits = tuple(limits)
        self._budgets: dict[str, Budget] = {}
        self._windows = self._counts()
        self._places = min((one.calls for one in limits if one.window is Window.IN_FLIGHT), default=0)
        self._under_way = 0
        self.exceeded: list[str] = []
        self.crowded: list[str] = []

    def _counts(self) -> list[Counted]:
        return [
            Counted(limit, counted(limit.calls) if limit.window is Window.PACED else limit.calls)
            for limit in self._limits
            if limit.window is not Window.IN_FLIGHT
        ]

    def lift_quota(self) -> None:
        """Somebody books a larger plan."""
        self._limits = tuple(limit for limit in self._limits if limit.window is not Window.QUOTA)
        self._windows = [one for one in self._windows if one.limit.window is not Window.QUOTA]
        self._budgets.clear()

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call of the running worker, from its turn to the end of the provider's work.

        Raises:
            ThrottledError: If its turn is too far away, or the provider has counted more than it allows.
        """
        budget = self._budget()
        if budget is None:
            yield
            return
        names = [limit.name for limit in self._limits]
        self._wait(budget, names)
        self._count()
        self._under_way += 1
        try:
            yield
        except ThrottledError as error:
            budget.ended(
                names, Answer(429, {"retry-after": str(error.retry_after_seconds or RETRY_AFTER_SECONDS)}, b"")
            )
            raise
        except ProviderError:
            budget.ended(names, None)
            raise
        finally:
            self._under_way -= 1

    def ended(self) -> None:
        """The answer came, or none will."""
        if (budget := self._budget()) is not None:
            budget.ended([limit.name for limit in self._limits], None)

    def _budget(self) -> Budget | None:
        worker = self._runtime.current
        if worker is None or not self._limits:
            return None
        if worker.name not in self._budgets:
            self._budgets[worker.name] = Budget(self._store, *self._account, self._limits, self._runtime)
        return self._budgets[worker.name]

    def _wait(self, budget: Budget, names: Sequence[str]) -> None:
        """Until it is the call's turn."""
        began, is_used_up = self._runtime.seconds, self._is_used_up()
        try:
            budget.spend(names)
        except ThrottledError:
            self._met[Met.QUOTA if is_used_up else Met.PACED] += 1
            raise
        if self._runtime.seconds - began > _PATIENCE_SECONDS:
            self._met[Met.PACED] += 1

    def _is_used_up(self) -> bool:
        now = self._runtime.seconds
        return any(one.limit.window is Window.QUOTA and one.left(now) <= 0 for one in self._windows)

    def _count(self) -> None:
        if self._places:
            self._met[Met.IN_FLIGHT] += self._under_way + 1 == self._places
            if self._under_way >= self._places:
                self.crowded.append(f"{self._said()}: {self._under_way + 1} under way, of {self._places}")
        for one in self._windows:
            if not one.take(self._runtime.seconds):
                said = f"{len(one.sent)} calls in {one.limit.per_seconds} s, of {one.calls} {one.limit.name}"
                self.exceeded.append(f"{self._said()}: {said}")

    def _said(self) -> str:
        return f"{'.'.join(self._account)} at {self._runtime.seconds:.2f} s"
