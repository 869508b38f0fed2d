"""Webhooks of a workflow rule, with the body that docs/providers/zoho_books.md prescribes; one try each.

Whether Zoho Books tries again is not published.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
import threading
from datetime import datetime

import requests

from tieout_sandbox.simulators.zoho_books.settings import Settings

_TIMEOUT_SECONDS = 3.0
_NAMES = {
    "contacts": "contact",
    "items": "item",
    "estimates": "estimate",
    "invoices": "invoice",
    "creditnotes": "creditnote",
    "customerpayments": "customerpayment",
    "projects": "project",
    "timeentries": "timeentry",
    "expenses": "expense",
}


def body_of(settings: Settings, module: str, record_id: str, event: str, at: datetime) -> bytes:
    """What a delivery says."""
    said = {
        "org": settings.organization_id,
        "module": _NAMES[module],
        "event": event,
        "id": record_id,
        "modified": at.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    return json.dumps(said, separators=(",", ":")).encode()


def headers_of(settings: Settings, body: bytes) -> dict[str, str]:
    """The proof: a signature as Zoho Billing documents it, or the secret itself."""
    if settings.webhook_signs:
        digest = hmac.new(settings.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
        return {"Content-Type": "application/json", "X-Zoho-Webhook-Signature": digest}
    return {"Content-Type": "application/json", "X-Tieout-Secret": settings.webhook_secret}


class Webhooks:
    """Delivers from a thread of its own, which starts with the first change."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: queue.Queue[bytes | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._counts = {"events": 0, "delivered": 0, "failed": 0}

    def announce(self, module: str, record_id: str, event: str, at: datetime) -> None:
        """Deliver this soon, if webhooks are set up."""
        if not self._settings.webhook_url:
            return
        self._counts["events"] += 1
        self._waiting.put(body_of(self._settings, module, record_id, event, at))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="zoho-webhooks", daemon=True)
            self._thread.start()

    def report(self) -> dict[str, int]:
        """Counts: events, delivered, failed; and what still waits."""
        done = self._counts["delivered"] + self._counts["failed"]
        return {**self._counts, "waiting": self._counts["events"] - done}

    def close(self) -> None:
        """Stop delivering."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(timeout=_TIMEOUT_SECONDS + 1)

    def _run(self) -> None:
        with requests.Session() as session:
            while (body := self._waiting.get()) is not None:
                self._counts["delivered" if self._post(session, body) else "failed"] += 1

    def _post(self, session: requests.Session, body: bytes) -> bool:
        headers = headers_of(self._settings, body)
        try:
            return session.post(self._settings.webhook_url, data=body, headers=headers, timeout=_TIMEOUT_SECONDS).ok
        except requests.RequestException:
            return False
