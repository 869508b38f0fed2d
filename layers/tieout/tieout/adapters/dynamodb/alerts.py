"""Alerts on their way to a person, and the windows in which a cause stays silent."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from tieout.adapters.dynamodb.changes import alert_of, alert_text
from tieout.adapters.dynamodb.table import Condition, Key, Table, joined
from tieout.adapters.dynamodb.values import Scalar
from tieout.domain.changes import Alert
from tieout.domain.packing import time_text

PENDING_MAX = 1_000
_READABLE = 60
_DIGEST = 24
_WINDOW_KEPT = timedelta(hours=1)


class DynamoAlerts:
    """Implements `tieout.ports.state.AlertStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, alerts: Sequence[Alert]) -> None:
        """Store them durably; an alert about the same record and cause replaces the former one."""
        for alert in alerts:
            self._table.put(_key(alert), {"raised_at": time_text(alert.raised_at), "alert": alert_text(alert)})

    def pending(self, tenant: str) -> Sequence[Alert]:
        """All that were not sent yet, oldest first; 1,000 at most."""
        alerts = (alert_of(item["alert"]) for item in self._table.query(joined(tenant, "alert")))
        return sorted(alerts, key=lambda alert: alert.raised_at)[:PENDING_MAX]

    def open_window(self, tenant: str, cause: str, *, until: datetime, now: datetime) -> bool:
        """True if no message about this cause is out whose hour still runs; then it is ours to send."""
        key = Key(joined(tenant, "alert_window"), _sort_key(cause))
        opener = uuid.uuid4().hex
        values: dict[str, Scalar] = {
            "until": time_text(until),
            "opener": opener,
            "expires_at": int((until + _WINDOW_KEPT).timestamp()),
        }
        over = Condition("attribute_not_exists(#pk) OR #until <= :now", {"now": time_text(now)})
        if self._table.put(key, values, when=over):
            return True
        # botocore repeats a call whose answer was lost: the window that is in the way may be our own.
        stored = self._table.get(key)
        return stored is not None and stored["opener"] == opener

    def close_window(self, tenant: str, cause: str) -> None:
        """Sending failed: let the next try send it."""
        self._table.delete(Key(joined(tenant, "alert_window"), _sort_key(cause)))

    def remove(self, alerts: Sequence[Alert]) -> None:
        """They were sent. One that was raised again meanwhile stays."""
        for alert in alerts:
            same = Condition("#raised_at = :raised_at", {"raised_at": time_text(alert.raised_at)})
            self._table.delete(_key(alert), when=same)


def _key(alert: Alert) -> Key:
    record: tuple[str, ...] = ()
    if alert.unsynced is not None:
        change = alert.unsynced.change
        record = (alert.unsynced.sync, alert.unsynced.step, change.connection, change.kind, change.id)
    return Key(joined(alert.tenant, "alert"), _sort_key(alert.cause, *record))


def _sort_key(cause: str, *record: str) -> str:
    """The cause's beginning for people, and a digest of all: a cause may be longer than a key."""
    digest = hashlib.sha256("\x00".join((cause, *record)).encode()).hexdigest()[:_DIGEST]
    return f"{cause[:_READABLE]}#{digest}"
