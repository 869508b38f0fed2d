"""A realistic link: one of a won deal whose invoice has one line."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.aws import START
from tieout.domain.changes import Alert, Change, Origin, Unsynced, UnsyncedState
from tieout.domain.effects import Operation
from tieout.domain.links import Intent, IntentState, Link, LinkKey
from tieout.domain.records import Kind

TENANT, SYNC, STEP = "acme", "act-to-quickbooks", "invoices"

INVOICE: dict[str, Any] = {
    "customer": "58",
    "number": "D-ZNBSQT4U",
    "date": "2017-03-01",
    "due_date": "2017-03-31",
    "currency": "USD",
    "status": "issued",
    "email": "accounts.payable@acme-corporation.example",
    "note": "Sold by Moses Frase, Dustin Brinkmann",
    "lines": [{"item": "7", "description": "GTX Plus Basic", "quantity": "1", "amount": "1054.00", "tax_code": "NON"}],
}


def key(source_id: str = "9d0a3c4e-6a53-4f8e-a0b1-2f1d6d1f8a77", *, tenant: str = TENANT, step: str = STEP) -> LinkKey:
    return LinkKey(tenant, SYNC, step, source_id)


def intent(worker: str = "", **changes: Any) -> Intent:
    made = Intent(
        effect_id=uuid.uuid4().hex,
        operation=Operation.CREATE,
        payload_hash="0" * 64,
        source_version="2026-11-22T08:59:58.123Z",
        state=IntentState.CLAIMED,
        worker=worker or uuid.uuid4().hex[:12],
        held_until=START + timedelta(seconds=180),
        opened_at=START,
        document=INVOICE,
    )
    return replace(made, **changes)


def settled(link: Link, target_id: str = "1042") -> Link:
    return replace(
        link,
        target_id=target_id,
        target_version="0",
        source_version="2026-11-22T08:59:58.123Z",
        payload_hash="0" * 64,
        base=INVOICE,
        settled_at=START,
        intent=None,
        unsynced=None,
    )


def unsynced(source_id: str = "d-1", *, tenant: str = TENANT, age: int = 0, **changes: Any) -> Unsynced:
    since = START - timedelta(seconds=age)
    made = Unsynced(
        sync=SYNC,
        step=STEP,
        change=Change(tenant, "act", Kind.DEAL, source_id, since, Origin.WEBHOOK, attempts=2),
        state=UnsyncedState.PARKED,
        label="GTX Pro for Größe & Söhne",
        cause="needs-items",
        reason="No item is called GTXPro.",
        since=since,
        next_step="Add an alias.",
        field="lines[0].item",
        value="GTXPro",
        code="missing",
        amount=Decimal("4821.500"),
        currency="USD",
    )
    return replace(made, **changes)


def alert(cause: str = "needs-items", *, about: Unsynced | None = None, age: int = 0, tenant: str = TENANT) -> Alert:
    return Alert(
        tenant=tenant,
        cause=cause,
        subject="An invoice could not be written",
        reason="No item is called GTXPro.",
        next_step="Add an alias.",
        command="tieout parked retry",
        raised_at=START - timedelta(seconds=age),
        unsynced=about,
    )
