"""Health: whether a connection's sign-in works, until when it will, and that a person hears of its end in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tieout.domain.changes import Alert
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ReconnectError, SettingsError
from tieout.domain.words import counted
from tieout.engine.collect import Connect
from tieout.engine.ends import AlertSink, pause
from tieout.ports.clock import Clock
from tieout.ports.connector import Provider
from tieout.ports.secrets import Secrets

TOLD_DAYS = (1, 3, 7, 14, 30)
"""A person is told once when so many days are left."""

NOTED_SECONDS = 600
_DAY = timedelta(days=1)
_CONTACT, _SIGN_IN = "health-contact", "health-sign-in"


class HealthConfig(Protocol):
    """What is needed of `ConfigStore`."""

    def connection(self, tenant: str, connection: str) -> Connection | None:
        """One connection."""

    def put_connection(self, connection: Connection) -> None:
        """Store or replace a connection."""

    def cursor(self, tenant: str, connection: str, name: str) -> str | None:
        """The text stored under this name."""

    def put_cursor(self, tenant: str, connection: str, name: str, cursor: str) -> None:
        """Store it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a connection's sign-in: when it last worked, and until when it is good; None if unknown."""

    contacted_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The end of a check: whether the connection is paused now, and days left if a person was told; else None."""

    paused: bool
    told_days: int | None


class Health:
    """Probes connections and counts down to the end of their sign-in."""

    def __init__(
        self,
        *,
        config: HealthConfig,
        secrets: Secrets,
        alerts: AlertSink,
        connect: Connect,
        provider: Callable[[str], Provider],
        clock: Clock,
    ) -> None:
        self._config, self._secrets, self._alerts = config, secrets, alerts
        self._connect, self._provider, self._clock = connect, provider, clock
        self._noted: dict[tuple[str, str], datetime] = {}

    def check(self, tenant: str, connection_id: str) -> HealthReport:
        """Probe the connection with one read, and tell a person if its sign-in ends soon.

        A paused connection goes on if the probe works. One whose sign-in is no longer accepted, or whose secrets are
        missing, is paused, and a person is told.

        Raises:
            UnavailableError: The provider cannot be asked now. Who has to be told of the end was told.
        """
        connection = self._config.connection(tenant, connection_id)
        if connection is None:
            return HealthReport(paused=False, told_days=None)
        told_days = None
        try:
            told_days = self._count_down(connection)
            self._connect(connection).probe()
        except (ReconnectError, SettingsError) as error:
            pause(self._config, self._alerts, self._clock, connection, error)
            return HealthReport(paused=True, told_days=told_days)
        if connection.state is ConnectionState.PAUSED:
            self._config.put_connection(
                replace(connection, state=ConnectionState.ACTIVE, paused_because="", paused_at=None)
            )
        self.contacted(tenant, connection_id)
        return HealthReport(paused=False, told_days=told_days)

    def contacted(self, tenant: str, connection_id: str) -> None:
        """Note that the provider has just answered us; once in ten minutes at most."""
        now, name = self._clock.now(), (tenant, connection_id)
        noted = self._noted.get(name)
        if noted is None or (now - noted).total_seconds() >= NOTED_SECONDS:
            self._config.put_cursor(tenant, connection_id, _CONTACT, now.isoformat())
            self._noted[name] = now

    def signed_in(self, connection: Connection) -> Standing:
        """Note a new sign-in, whose countdown begins anew, and say until when it is good."""
        ends_at = self._ends_at(connection)
        self.contacted(connection.tenant, connection.id)
        self._keep(connection, ends_at, None)
        return Standing(self._clock.now(), ends_at)

    def _count_down(self, connection: Connection) -> int | None:
        """Days left, if a person was told of them just now."""
        ends_at = self._ends_at(connection)
        former_end, told = kept = _kept(self._config, connection)
        if ends_at is None:
            if former_end is not None:
                self._keep(connection, None, None)
            return None
        if former_end is None or ends_at > former_end + _DAY:
            told = None  # it was renewed
        left = ends_at - self._clock.now()
        due = min((days for days in TOLD_DAYS if left <= days * _DAY), default=None)
        days_left = None
        if due is not None and left > timedelta(0) and (told is None or due < told):
            days_left = -(-left // _DAY)
            # Told first: if the note is lost, a person hears of it twice, but never not at all.
            self._alerts.put([self._alert(connection, ends_at, due, days_left)])
            told = due
        if (ends_at, told) != kept:
            self._keep(connection, ends_at, told)
        return days_left

    def _alert(self, connection: Connection, ends_at: datetime, due: int, days_left: int) -> Alert:
        manifest = self._provider(connection.provider).manifest
        return Alert(
            tenant=connection.tenant,
            cause=f"sign-in-ends-{connection.id}-{due}",
            subject=f"The sign-in of {connection.id} ends in {counted(days_left, 'day')}",
            reason=f"{manifest.title} accepts the sign-in of the connection {connection.id} until "
            f"{ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
            next_step=manifest.sign_in_again,
            command=f"tieout connect {connection.id} --tenant {connection.tenant}",
            raised_at=self._clock.now(),
        )

    def _ends_at(self, connection: Connection) -> datetime | None:
        """The earliest end that the secrets tell; None if it never ends by itself, or they do not say."""
        names = self._provider(connection.provider).manifest.sign_in_ends
        if not names:
            return None
        secrets = self._secrets.read(connection.tenant, connection.id)
        ends = [moment for name in names if (moment := _moment(secrets.get(name, ""))) is not None]
        return min(ends, default=None)

    def _keep(self, connection: Connection, ends_at: datetime | None, told: int | None) -> None:
        text = json.dumps({"ends_at": ends_at.isoformat() if ends_at is not None else "", "told_days": told})
        self._config.put_cursor(connection.tenant, connection.id, _SIGN_IN, text)


def standing(config: HealthConfig, connection: Connection) -> Standing:
    """What was noted of the connection's sign-in."""
    contact = config.cursor(connection.tenant, connection.id, _CONTACT)
    return Standing(_moment(contact or ""), _kept(config, connection)[0])


def _kept(config: HealthConfig, connection: Connection) -> tuple[datetime | None, int | None]:
    """The end that was noted last, and at how many days left a person was told of it."""
    text = config.cursor(connection.tenant, connection.id, _SIGN_IN)
    noted = json.loads(text) if text is not None else {}
    return _moment(noted.get("ends_at", "")), noted.get("told_days")


def _moment(text: str) -> datetime | None:
    """The aware time; a date is its beginning in UTC. None if the text is no time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
