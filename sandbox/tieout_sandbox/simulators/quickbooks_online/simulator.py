"""The simulator as a whole: companies, tokens, throttles, stored answers, webhooks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from flask import Response, current_app

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.limits import Throttle
from tieout_sandbox.simulators.quickbooks_online.company import Company
from tieout_sandbox.simulators.quickbooks_online.errors import FaultError, fault_answer
from tieout_sandbox.simulators.quickbooks_online.oauth import Tokens
from tieout_sandbox.simulators.quickbooks_online.settings import Settings
from tieout_sandbox.simulators.quickbooks_online.times import dumps, plain, wire_time
from tieout_sandbox.simulators.quickbooks_online.webhooks import Event, Webhooks
from tieout_sandbox.simulators.storage import StateFile

EXTENSION = "simulator"
"""Key of `Flask.extensions`."""


class QuickBooksOnline:
    """All that the routes work on."""

    def __init__(self, settings: Settings, clock: Clock, state_file: Path | None) -> None:
        self.settings = settings
        self.clock = clock
        self.tokens = Tokens(settings, clock)
        self.webhooks = Webhooks(settings)
        self.companies: dict[str, Company] = {}
        self._answers: OrderedDict[tuple[str, str], tuple[datetime, str, int]] = OrderedDict()
        self._per_minute, self._per_second, self._batches = Throttle(60), Throttle(1), Throttle(60)
        self.state = StateFile(state_file, self._snapshot, plain)
        saved = self.state.load(parse_float=Decimal)
        if saved is not None:
            self.tokens.restore(saved["tokens"])
        for realm in settings.realms:
            company = Company(realm, settings, clock, self._changed)
            self.companies[realm] = company
            if saved is not None and realm in saved["companies"]:
                company.restore(saved["companies"][realm])
            else:
                company.fill()
        self.state.changed()

    def _changed(self, realm: str, entity: str, record_id: str, operation: str, now: datetime) -> None:
        self.state.changed()
        self.webhooks.announce(Event(realm, entity, record_id, operation, now))

    def _snapshot(self) -> dict[str, Any]:
        companies = {}
        for realm, company in self.companies.items():
            with company.lock:
                companies[realm] = company.snapshot()
        return {"tokens": self.tokens.snapshot(), "companies": companies}

    def close(self) -> None:
        """Stop the background work, and save."""
        self.webhooks.close()
        self.state.close()

    def gateway_refusal(self, realm: str, authorization: str, *, batch: bool) -> int | None:
        """The status with which the gateway refuses the call; None if it lets it pass."""
        allowed = self.tokens.realm_of(authorization)
        if allowed is None:
            return 401
        if allowed != realm or realm not in self.companies:
            return 403
        now = self.clock.now()
        within = self._per_second.take(realm, self.settings.requests_per_second, now) and self._per_minute.take(
            realm, self.settings.requests_per_minute, now
        )
        if within and batch:
            within = self._batches.take(realm, self.settings.batches_per_minute, now)
        return None if within else 429

    def once(self, realm: str, request_id: str | None, work: Callable[[], tuple[str, int]]) -> tuple[str, int]:
        """The answer of the work; a request id that was seen gets the answer of its first time, faults too."""
        if not request_id:
            return work()
        now = self.clock.now()
        oldest = now - timedelta(seconds=self.settings.request_id_life_seconds)
        while self._answers and next(iter(self._answers.values()))[0] <= oldest:
            self._answers.popitem(last=False)
        stored = self._answers.get((realm, request_id))
        if stored is None:
            text, status = work()
            self._answers[realm, request_id] = (now, text, status)
            return text, status
        return stored[1], stored[2]


def current() -> QuickBooksOnline:
    """The simulator of the application that handles this request."""
    return cast("QuickBooksOnline", current_app.extensions[EXTENSION])


def worked(work: Callable[[Company], Mapping[str, Any]], company: Company) -> tuple[str, int]:
    """The text and status of an answer: what the work gives, or its fault."""
    now = current().clock.now()
    try:
        return dumps({**work(company), "time": wire_time(now, milliseconds=True)}), 200
    except FaultError as fault:
        return dumps(fault_answer(fault, now)), fault.status


def json_answer(text: str, status: int = 200) -> Response:
    """An answer of that JSON text."""
    return Response(text, status, content_type="application/json;charset=UTF-8")
