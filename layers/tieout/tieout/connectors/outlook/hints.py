"""What a delivery of notifications says, and the handshake before the first one. Pure.

Source: https://learn.microsoft.com/graph/change-notifications-delivery-webhooks and -lifecycle-events, read 2026-08-13.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tieout.domain.records import Kind
from tieout.ports.connector import Hint, Webhook

_KINDS = {
    "#microsoft.graph.contact": (Kind.COMPANY, Kind.CONTACT),
    "#microsoft.graph.todotask": (Kind.DEAL,),
}
_RESOURCES = (
    (re.compile(r"/contacts(?:/|\(')[^/]+$", re.IGNORECASE), (Kind.COMPANY, Kind.CONTACT)),
    (re.compile(r"/tasks(?:/|\(')[^/]+$", re.IGNORECASE), (Kind.DEAL,)),
)
_HANDSHAKE = re.compile(r"[\x20-\x7e]{1,1024}", re.ASCII)


def hints_of(webhook: Webhook) -> list[Hint]:
    """The records that a delivery names. A lifecycle event names none: the next poll reads the gap and renews.

    The account is empty: the address of a delivery names the connection.

    Raises:
        ValueError: If the body is not of Graph's form.
    """
    try:
        body = json.loads(webhook.body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not a webhook of Microsoft Graph: no JSON") from None
    rows = body.get("value") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("the body is not a webhook of Microsoft Graph: it has no list of notifications")
    return list(dict.fromkeys(hint for row in rows if "lifecycleEvent" not in row for hint in _hints(row)))


def _hints(row: dict[str, Any]) -> Sequence[Hint]:
    data = row.get("resourceData")
    if not isinstance(data, dict) or not isinstance(data.get("id"), str) or not data["id"]:
        raise ValueError("the body is not a webhook of Microsoft Graph: a notification has no id")
    kinds = _KINDS.get(str(data.get("@odata.type", "")).lower())
    if kinds is None:
        resource = str(row.get("resource", ""))
        kinds = next((known for pattern, known in _RESOURCES if pattern.search(resource)), ())
    return [Hint("", kind, data["id"]) for kind in kinds]


def handshake_of(webhook: Webhook) -> str | None:
    """The text that Graph wants to have back to prove that the address is ours; None if this is no handshake.

    It is the sender's text: whoever answers sends it as plain text and nothing else.
    """
    token = webhook.query.get("validationToken", "")
    return token if _HANDSHAKE.fullmatch(token) else None
