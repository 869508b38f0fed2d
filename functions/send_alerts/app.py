"""Runs every minute: sends the alerts that are due, and measures the oldest change that is not in agreement."""

from __future__ import annotations

from tieout import bootstrap, edge


@edge.function("send_alerts")
def handler(_event: edge.Event, _context: edge.Context) -> dict[str, int]:
    """How many messages were sent, and how many alerts wait for their hour to end."""
    deployment = bootstrap.deployment()
    ages = deployment.measure_unsynced().ages()
    edge.count(OldestUnsyncedSeconds=ages.waiting_seconds, OldestParkedSeconds=ages.parked_seconds)
    report = deployment.send_alerts().send()
    edge.count(AlertsSent=report.sent, AlertsNotSent=report.failed)
    edge.logger.info("Alerts were sent.", sent=report.sent, told=report.told, gathering=report.gathering)
    return {"sent": report.sent, "gathering": report.gathering}
