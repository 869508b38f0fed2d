"""A provider that stands in an office: its connector runs beside it, and the suite has what the engine has of it."""

from __future__ import annotations

from typing import Any

from tests.bridge import Beside
from tests.contract.suite import World
from tieout.domain.connections import Connection
from tieout.ports.connector import Connector

CONNECTION = Connection("acme", "under-test", "under_test")


class BridgedWorld:
    """Implements `World` by another one, whose connectors are called over the bridge.

    Attributes:
        beside: What stands beside the system, of the connector that was opened last.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.beside: Beside | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def connector(self, **options: Any) -> Connector:
        """The real connector, called over the bridge."""
        self.beside = Beside(CONNECTION, self._world.connector(**options), self._world.clock)
        return self.beside.connector()
