"""Alerts: repeats of one cause within an hour become one message, in words that say what to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tieout.domain.changes import Alert
from tieout.domain.errors import UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.state import AlertStore, ConfigStore, Mail

WINDOW_SECONDS = 3600


class Letter(Protocol):
    """Writes one message about alerts of one cause."""

    def __call__(self, alerts: Sequence[Alert]) -> tuple[str, str]:
        """Subject and plain text."""


@dataclass(slots=True)
class AlertReport:
    """Messages sent, alerts they told of, and alerts that wait for their hour to end."""

    sent: int = 0
    told: int = 0
    gathering: int = 0
    failed: int = 0


class SendAlerts:
    """Sends what is pending; run every minute."""

    def __init__(self, *, config: ConfigStore, alerts: AlertStore, mail: Mail, letter: Letter, clock: Clock) -> None:
        self._config, self._alerts, self._mail, self._letter, self._clock = config, alerts, mail, letter, clock

    def send(self) -> AlertReport:
        """What was sent. An alert is removed only after its message was accepted."""
        report = AlertReport()
        for tenant in self._config.tenants():
            by_cause: dict[str, list[Alert]] = defaultdict(list)
            for alert in self._alerts.pending(tenant):
                by_cause[alert.cause].append(alert)
            for cause, alerts in by_cause.items():
                self._send(tenant, cause, alerts, report)
        return report

    def _send(self, tenant: str, cause: str, alerts: Sequence[Alert], report: AlertReport) -> None:
        now = self._clock.now()
        if not self._alerts.open_window(tenant, cause, until=now + timedelta(seconds=WINDOW_SECONDS), now=now):
            report.gathering += len(alerts)
            return
        try:
            self._mail.send(tenant, *self._written(alerts))
        except UnavailableError:
            self._alerts.close_window(tenant, cause)
            report.failed += 1
            return
        self._alerts.remove(alerts)
        report.sent += 1
        report.told += len(alerts)

    def _written(self, alerts: Sequence[Alert]) -> tuple[str, str]:
        """The letter; the bare facts if it cannot be written, as neither these alerts nor others may wait for that."""
        try:
            return self._letter(alerts)
        except Exception:  # noqa: BLE001 - a fault of ours in one letter must not keep a person from hearing of all
            return _facts(alerts)


def _facts(alerts: Sequence[Alert]) -> tuple[str, str]:
    first = alerts[0]
    paragraphs = dict.fromkeys(line for alert in alerts for line in (alert.reason, alert.next_step) if line)
    count = f" ({len(alerts)} times)" if len(alerts) > 1 else ""
    return f"Tieout: {first.subject}", "\n\n".join([f"{first.subject}{count}.", *paragraphs, first.command])
