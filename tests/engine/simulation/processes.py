"""Processes of functions: each keeps its connectors, tokens and copies of secrets from one run to the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tests.engine.simulation.real import RealBooks, RealCrm
from tests.engine.simulation.roads import Road
from tests.engine.simulation.runtime import FaultKind, Runtime, Worker
from tests.engine.simulation.stores import Table, TableDownError
from tieout.adapters.secrets_manager import SecretsManager
from tieout.bootstrap import Deployment, Settings
from tieout.connectors.act import ActProvider
from tieout.connectors.quickbooks_online import QuickBooksOnline
from tieout.domain.connections import Connection
from tieout.ports.connector import Provider
from tieout.ports.http import Http

PREFIX = "simulated"


class _NotFoundError(Exception):
    """As Secrets Manager says that there is no such secret."""


class _BeingDeletedError(Exception):
    """As Secrets Manager says that a secret is being deleted."""


class _Exceptions:
    ResourceNotFoundException = _NotFoundError
    InvalidRequestException = _BeingDeletedError


class Vault:
    """What the adapter asks of Secrets Manager's client."""

    exceptions = _Exceptions

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.texts: dict[str, str] = {}

    def get_secret_value(self, *, SecretId: str) -> Mapping[str, str]:  # noqa: N803 - AWS's own name
        return self._ask("read", SecretId, lambda: {"SecretString": self.texts[SecretId]})

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> None:  # noqa: N803 - AWS's own names
        self._ask("write", SecretId, lambda: self.texts.__setitem__(SecretId, SecretString))

    def _ask(self, name: str, secret: str, act: Callable[[], Any]) -> Any:
        fault = self._runtime.enter(f"secrets.{name}", secret)
        if fault in (FaultKind.THROTTLE, FaultKind.DOWN):
            raise TableDownError
        found = act()
        self._runtime.leave(fault)
        if fault is FaultKind.LOST:
            raise TableDownError
        return found


class _Process(Deployment):
    """One process: the real bootstrap over stores of memory, its connections over roads."""

    def __init__(self, runtime: Runtime, table: Table, vault: Vault, roads: Mapping[str, Road]) -> None:
        providers: dict[str, Provider] = {"act": ActProvider(), "quickbooks_online": QuickBooksOnline()}
        super().__init__(Settings(), clock=runtime, provider=providers.__getitem__)
        self.budget = table  # type: ignore[misc, assignment] # in place of what it would build
        self.secrets = SecretsManager(vault, PREFIX, runtime)  # type: ignore[misc, arg-type] # same
        self.worker: Worker | None = None
        self._roads = roads

    def http(self, connection: Connection, *lane: Any) -> Http:
        door = super().http(connection, *lane)
        road = self._roads[connection.address]
        door._session.mount("https://", road)  # type: ignore[attr-defined] # no other road leads there
        return door


class Processes:
    """Gives each run of a function a process that is free; a killed one is not used again.

    Attributes:
        roads: By the connection's address.
    """

    def __init__(
        self, runtime: Runtime, table: Table, providers: Mapping[tuple[str, str], RealCrm | RealBooks]
    ) -> None:
        self._runtime = runtime
        self._vault = Vault(runtime)
        self.roads = {
            f"{tenant}.{connection}": Road(runtime, connection, site)
            for (tenant, connection), site in providers.items()
        }
        self._new = partial(_Process, runtime, table, self._vault, self.roads)
        self._processes: list[_Process] = []

    def keep(self, tenant: str, connection: str, secrets: Mapping[str, str]) -> None:
        """Store the secrets that a person gave."""
        self._vault.texts[f"{PREFIX}/{tenant}/{connection}"] = json.dumps(dict(secrets))

    def current(self) -> _Process:
        """The process of the run that asks."""
        worker = self._runtime.current
        self._processes = [one for one in self._processes if one.worker is None or not one.worker.killed]
        mine = next((one for one in self._processes if one.worker is worker), None)
        if mine is None:
            free = (one for one in self._processes if one.worker is None or not self._runtime.is_running(one.worker))
            mine = next(free, None)
        if mine is None:
            mine = self._new()
            self._processes.append(mine)
        mine.worker = worker
        return mine
