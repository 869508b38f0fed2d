"""Webhooks: changes are gathered for a moment, signed, and posted in the background; failed deliveries come again.

Source: webhooks page of API v3, read 2026-01. `intuit-signature` is Base64(HMAC-SHA256(verifier token, raw body)).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests

from tieout_sandbox.simulators.quickbooks_online.settings import Settings, WebhookForm

_TIMEOUT_SECONDS = 3.0
_PAST = {"Create": "created", "Update": "updated", "Delete": "deleted", "Void": "voided", "Merge": "merged"}


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one record; `merged_away` is the id of the one that was merged into it."""

    realm: str
    entity: str
    id: str
    operation: str
    at: datetime
    merged_away: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What a delivery names once."""
        return self.realm, self.entity, self.id, self.operation, self.merged_away


def signature(body: bytes, verifier_token: str) -> str:
    """The value of the header `intuit-signature`."""
    return base64.b64encode(hmac.digest(verifier_token.encode(), body, hashlib.sha256)).decode()


def body_of(events: Sequence[Event], form: WebhookForm) -> bytes:
    """One delivery's body; it may mix realms."""
    made = _cloudevents(events) if form is WebhookForm.CLOUDEVENTS else _classic(events)
    return json.dumps(made, separators=(",", ":")).encode()


def _wire(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _classic(events: Sequence[Event]) -> dict[str, Any]:
    by_realm: dict[str, list[dict[str, str]]] = {}
    for event in events:
        by_realm.setdefault(event.realm, []).append(
            {"name": event.entity, "id": event.id, "operation": event.operation, "lastUpdated": _wire(event.at)}
            | ({"deletedId": event.merged_away} if event.merged_away else {})
        )
    return {
        "eventNotifications": [
            {"realmId": realm, "dataChangeEvent": {"entities": entities}} for realm, entities in by_realm.items()
        ]
    }


def _cloudevents(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [
        {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": "intuit.tieout-sandbox",
            "type": f"qbo.{event.entity.lower()}.{_PAST[event.operation]}.v1",
            "datacontenttype": "application/json",
            "time": _wire(event.at),
            "intuitentityid": event.id,
            "intuitaccountid": event.realm,
            "data": {"deletedid": event.merged_away} if event.merged_away else {},
        }
        for event in events
    ]


class Webhooks:
    """Gathers events and delivers them from a thread of its own, which starts with the first event.

    Waits are real time: deliveries go to real servers. A delivery that failed after the last wait is given up.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wake = threading.Condition()
        self._pending: dict[tuple[str, str, str, str, str], Event] = {}
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._retries: list[tuple[float, int, bytes]] = []
        self._delivering = False
        self._counts = {"events": 0, "attempts": 0, "delivered": 0, "failed_attempts": 0, "given_up": 0}

    def announce(self, event: Event) -> None:
        """Deliver this event soon, if webhooks are set up."""
        if not self._settings.webhook_url:
            return
        with self._wake:
            self._counts["events"] += 1
            self._pending[event.key] = event
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
                self._thread.start()
            self._wake.notify()

    def report(self) -> dict[str, int]:
        """Counts: events, attempts, delivered, failed attempts, given up; and what still waits."""
        with self._wake:
            waiting = len(self._pending) + len(self._retries) + self._delivering
            return {**self._counts, "waiting": waiting}

    def close(self) -> None:
        """Stop delivering."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout=_TIMEOUT_SECONDS + 1)

    def _run(self) -> None:
        with requests.Session() as session:
            while True:
                due = self._next_due()
                if due is None:
                    return
                attempt, body = due
                self._deliver(session, attempt, body)

    def _next_due(self) -> tuple[int, bytes] | None:
        """The next body to send and how often it was tried; None when closed. Waits for it."""
        with self._wake:
            self._delivering = False
            while not self._stopped:
                now = time.monotonic()
                late = [each for each in self._retries if each[0] <= now]
                if late:
                    self._retries.remove(late[0])
                    self._delivering = True
                    return late[0][1], late[0][2]
                if self._pending:
                    self._wake.wait_for(lambda: self._stopped, timeout=self._settings.webhook_window_seconds)
                    self._delivering = True
                    return 0, body_of(self._taken(), self._settings.webhook_form)
                self._wake.wait(timeout=min((each[0] - now for each in self._retries), default=None))
            return None

    def _taken(self) -> list[Event]:
        """The oldest events, as many as one delivery holds; they are pending no more."""
        keys = list(self._pending)[: self._settings.webhook_events_max]
        return [self._pending.pop(key) for key in keys]

    def _deliver(self, session: requests.Session, attempt: int, body: bytes) -> None:
        accepted = self._post(session, body)
        waits = self._settings.webhook_retry_seconds
        with self._wake:
            self._counts["attempts"] += 1
            if accepted:
                self._counts["delivered"] += 1
                return
            self._counts["failed_attempts"] += 1
            if attempt < len(waits):
                self._retries.append((time.monotonic() + waits[attempt], attempt + 1, body))
            else:
                self._counts["given_up"] += 1

    def _post(self, session: requests.Session, body: bytes) -> bool:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "intuit_notification_server/1.0",
            "intuit-signature": signature(body, self._settings.webhook_verifier_token),
        }
        try:
            answer = session.post(self._settings.webhook_url, data=body, headers=headers, timeout=_TIMEOUT_SECONDS)
        except requests.RequestException:
            return False
        return answer.ok
