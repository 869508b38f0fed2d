"""Patience: what an operator waits for reads again when a provider stumbles. Workers do not: their changes wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tieout.domain.effects import Effect, Match, Outcome
from tieout.domain.errors import ThrottledError, UnavailableError
from tieout.domain.records import Kind, Record
from tieout.engine.policy import RetryPolicy
from tieout.ports.clock import Clock
from tieout.ports.connector import Account, ChangePage, Connector, Manifest

TRIES = 6
POLICY = RetryPolicy(base_seconds=1)


class PatientConnector:
    """A connector whose reads are tried up to six times, with growing waits of about a minute in all.

    Writes are passed on as they are: only the engine decides about them.
    """

    def __init__(self, real: Connector, clock: Clock) -> None:
        self._real, self._clock = real, clock

    @property
    def manifest(self) -> Manifest:
        """What the provider can do."""
        return self._real.manifest

    def probe(self) -> Account:
        """See `Connector.probe`."""
        return self._patiently(self._real.probe)

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """See `Connector.read`."""
        return self._patiently(lambda: self._real.read(kind, ids))

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """See `Connector.search`."""
        return self._patiently(lambda: self._real.search(kind, field, values))

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """See `Connector.changes`."""
        return self._patiently(lambda: self._real.changes(kind, cursor))

    def cursor_now(self, kind: Kind) -> str:
        """See `Connector.cursor_now`."""
        return self._patiently(lambda: self._real.cursor_now(kind))

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """See `Connector.ids`."""
        return self._patiently(lambda: self._real.ids(kind, after))

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        """See `Connector.find`."""
        return self._patiently(lambda: self._real.find(effects))

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """See `Connector.write`."""
        return self._real.write(effects)

    def _patiently[Found](self, read: Callable[[], Found]) -> Found:
        for attempt in range(TRIES - 1):
            try:
                return read()
            except UnavailableError as error:
                least = error.retry_after_seconds if isinstance(error, ThrottledError) else 0
                self._clock.sleep(POLICY.delay_seconds(attempt, self._clock.jitter(), least))
        return read()
