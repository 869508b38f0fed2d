"""The system beside the agent: its real connector, with secrets that are on this computer and limits kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from tieout.agent.folder import Enrolment, Folder
from tieout.domain.connections import Connection
from tieout.domain.errors import ReconnectError, SettingsError, UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector, Context, Provider
from tieout.transport import Budget, RequestsHttp
from tieout.transport.http import office_session

LEASE_SECONDS_MAX = 20


class Beside:
    """Opens the connector of one enrolment, and keeps it open while its settings stay.

    Args:
        name: Of the connection: `tenant.connection`.
        provider: Finds a provider by name.
    """

    def __init__(self, folder: Folder, name: str, *, provider: Callable[[str], Provider], clock: Clock) -> None:
        self._folder, self._name = folder, name
        self._provider, self._clock = provider, clock
        self._open: tuple[Connection, tuple[int, int], Connector] | None = None
        self._locks: dict[str, threading.Lock] = {}

    def connector(self, settings: Mapping[str, Any] | None = None, account: str = "") -> Connector:
        """The connector, for these settings; None: those that were told at the enrolment.

        Args:
            settings: Of the connection, as the cloud told them last.
            account: The account that the connection is for, once somebody connected it.

        Raises:
            ReconnectError: If secrets were given for other settings: nobody but a person here may send them elsewhere.
            SettingsError: If the settings are not what the provider takes.
        """
        stamp = self._folder.stamp(self._name)
        enrolment = self._enrolment()
        connection = _connection(enrolment)
        told = connection.settings if settings is None else dict(settings)
        wanted = replace(connection, settings=told, account=account or connection.account)
        if self._open is not None and self._open[:2] == (wanted, stamp):
            return self._open[2]
        provider = self._provider(connection.provider)
        if enrolment.secrets and dict(wanted.settings) != dict(enrolment.settings_agreed):
            raise ReconnectError(
                f"The settings of {connection.id} were changed, and the computer beside {enrolment.title} does not use "
                "its passwords with them before somebody there agrees.",
                next_step=f"On that computer, run `tieout agent check {self._name}`.",
            )
        budget = Budget(_Memory(), connection.tenant, connection.id, provider.limits_of(wanted), self._clock)
        session = office_session(ca_file=enrolment.ca_file)
        connector = provider.open(
            Context(
                connection=wanted,
                secrets=LocalSecrets(self._folder, self._name),
                http=RequestsHttp(budget.spend, budget.ended, clock=self._clock, session=session),
                clock=self._clock,
                lease=self._lease,
            )
        )
        # Secrets may have been rotated while it was opened: the stamp from before makes it open once more, at worst.
        self._open = (wanted, stamp, connector)
        return connector

    def _enrolment(self) -> Enrolment:
        enrolment = self._folder.enrolment(self._name)
        if enrolment is None:
            raise _none(self._name)
        return enrolment

    @contextmanager
    def _lease(self, name: str) -> Iterator[None]:
        lock = self._locks.setdefault(name, threading.Lock())
        if not lock.acquire(timeout=LEASE_SECONDS_MAX):
            raise UnavailableError("Another call is still signing in.", detail=f"lease {name}")
        try:
            yield
        finally:
            lock.release()


class LocalSecrets:
    """Implements `tieout.ports.secrets.Secrets` with the enrolment's file."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:  # noqa: ARG002 - the port
        """The secrets as they are now.

        Raises:
            SettingsError: If there are none.
        """
        enrolment = self._folder.enrolment(self._name)
        if enrolment is None or not enrolment.secrets:
            raise SettingsError(
                f"The connection {connection} has no passwords on this computer yet.",
                next_step=f"Run `tieout agent check {self._name} --ask` on it.",
            )
        return dict(enrolment.secrets)

    def write(self, tenant: str, connection: str, secrets: Mapping[str, str]) -> None:  # noqa: ARG002 - the port
        """Store the whole bundle durably."""
        enrolment = self._folder.enrolment(self._name)
        if enrolment is None:
            raise _none(self._name)
        self._folder.keep(replace(enrolment, secrets=dict(secrets)))


class _Memory:
    """Implements `tieout.ports.state.BudgetStore` for one process: only the agent calls the system."""

    def __init__(self) -> None:
        self._state: Mapping[str, int] = {}
        self._revision = 0

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:  # noqa: ARG002 - the port
        """The state and its revision."""
        return dict(self._state), self._revision

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:  # noqa: ARG002 - the port
        """Keep it, if nobody was faster."""
        if revision != self._revision:
            return False
        self._state, self._revision = dict(state), revision + 1
        return True

    def take_lease(self, tenant: str, name: str, *, holder: str, until: datetime, now: datetime) -> bool:  # noqa: ARG002 - the port
        """Nobody else is there."""
        return True

    def drop_lease(self, tenant: str, name: str, *, holder: str) -> None:
        """Nobody else is there."""


def _connection(enrolment: Enrolment) -> Connection:
    if enrolment.connection is None:
        raise _none(enrolment.name)
    return enrolment.connection


def _none(name: str) -> SettingsError:
    return SettingsError(
        f"This computer is not enrolled for {name}.",
        next_step="Get a code with `tieout connect`, and run `tieout agent install`.",
    )
