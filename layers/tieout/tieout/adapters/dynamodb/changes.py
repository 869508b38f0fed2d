"""Unsynced records and alerts as text, and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tieout.adapters.dynamodb.reviews import review_of, review_values
from tieout.domain.changes import Alert, Change, Lane, Origin, Unsynced, UnsyncedState
from tieout.domain.packing import pack, unpack
from tieout.domain.records import Kind


def unsynced_text(unsynced: Unsynced) -> str:
    """As JSON text; fields without a value are left out."""
    return pack(_unsynced_values(unsynced))


def unsynced_of(text: str) -> Unsynced:
    """What `unsynced_text` was given."""
    return _unsynced(unpack(text))


def alert_text(alert: Alert) -> str:
    """As JSON text."""
    values: dict[str, object] = {
        "tenant": alert.tenant,
        "cause": alert.cause,
        "subject": alert.subject,
        "reason": alert.reason,
        "next_step": alert.next_step,
        "command": alert.command,
        "raised_at": alert.raised_at,
    }
    if alert.unsynced is not None:
        values["unsynced"] = _unsynced_values(alert.unsynced)
    return pack(values)


def alert_of(text: str) -> Alert:
    """What `alert_text` was given."""
    values: dict[str, Any] = unpack(text)
    unsynced = values.pop("unsynced", None)
    return Alert(**values, unsynced=None if unsynced is None else _unsynced(unsynced))


def _unsynced_values(unsynced: Unsynced) -> dict[str, object]:
    change = unsynced.change
    values: dict[str, object] = {
        "sync": unsynced.sync,
        "step": unsynced.step,
        "tenant": change.tenant,
        "connection": change.connection,
        "kind": change.kind,
        "id": change.id,
        "seen_at": change.seen_at,
        "origin": change.origin,
        "lane": change.lane,
        "attempts": change.attempts,
        "state": unsynced.state,
        "label": unsynced.label,
        "cause": unsynced.cause,
        "reason": unsynced.reason,
        "since": unsynced.since,
        "next_step": unsynced.next_step,
        "field": unsynced.field,
        "code": unsynced.code,
        "currency": unsynced.currency,
    }
    if unsynced.value is not None:
        values["value"] = unsynced.value
    if unsynced.amount is not None:
        values["amount"] = unsynced.amount
    if unsynced.review is not None:
        values["review"] = review_values(unsynced.review)
    if change.plan:
        values["plan"] = change.plan
    return values


def _unsynced(values: dict[str, Any]) -> Unsynced:
    amount: Decimal | None = values.get("amount")
    return Unsynced(
        sync=values["sync"],
        step=values["step"],
        change=Change(
            tenant=values["tenant"],
            connection=values["connection"],
            kind=Kind(values["kind"]),
            id=values["id"],
            seen_at=values["seen_at"],
            origin=Origin(values["origin"]),
            lane=Lane(values["lane"]),
            attempts=values["attempts"],
            plan=values.get("plan", ""),
        ),
        state=UnsyncedState(values["state"]),
        label=values["label"],
        cause=values["cause"],
        reason=values["reason"],
        since=values["since"],
        next_step=values["next_step"],
        field=values["field"],
        value=values.get("value"),
        code=values["code"],
        amount=amount,
        currency=values["currency"],
        review=review_of(values["review"]) if "review" in values else None,
    )
