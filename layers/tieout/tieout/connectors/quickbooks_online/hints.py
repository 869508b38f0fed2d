"""What a webhook's body says: the classic form, and CloudEvents since 2026.

Source: developer.intuit.com/app/developer/qbo/docs/develop/webhooks, its page data-objects (a merge), and
blogs.intuit.com/2025/11/12/upcoming-change-to-webhooks-payload-structure, read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tieout.connectors.quickbooks_online.translate import KINDS
from tieout.ports.connector import Hint, Webhook

_EVENT_PARTS = 3


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)


class _Entity(_Lenient):
    name: str
    id: str
    merged_away: str | None = Field(default=None, alias="deletedId")


class _Entities(_Lenient):
    entities: list[_Entity]


class _Notification(_Lenient):
    realm: str = Field(alias="realmId")
    event: _Entities = Field(alias="dataChangeEvent")


class _Classic(_Lenient):
    notifications: list[_Notification] = Field(alias="eventNotifications")


class _CloudEvent(_Lenient):
    type: str
    data: Any = None  # of a form that depends on the event, or absent
    id: str = Field(alias="intuitentityid")
    realm: str = Field(alias="intuitaccountid")


def hints_of(webhook: Webhook) -> Sequence[Hint]:
    """One hint for each record named, once; kinds that we do not read are left out.

    Raises:
        ValueError: If the body is of neither form.
    """
    try:
        content = json.loads(webhook.body)
        named = _cloud_events(content) if isinstance(content, list) else _classic(content)
        return list(dict.fromkeys(named))
    except (ValueError, RecursionError):
        # The error's own text would repeat the body.
        raise ValueError("not a QuickBooks webhook") from None


def _classic(content: Any) -> Iterator[Hint]:  # noqa: ANN401 - JSON is anything
    for notification in _Classic.model_validate(content).notifications:
        for entity in notification.event.entities:
            kind = KINDS.get(entity.name.lower())
            if kind is not None:
                yield Hint(notification.realm, kind, entity.id)
                if entity.merged_away:
                    yield Hint(notification.realm, kind, entity.merged_away, merged_into=entity.id)


def _cloud_events(content: list[Any]) -> Iterator[Hint]:
    for each in content:
        event = _CloudEvent.model_validate(each)
        parts = event.type.lower().split(".")  # qbo.<entity>.<operation>.v1
        kind = KINDS.get(parts[1]) if len(parts) >= _EVENT_PARTS and parts[0] == "qbo" else None
        if kind is not None:
            yield Hint(event.realm, kind, event.id)
            gone = event.data.get("deletedid") if isinstance(event.data, dict) else None
            if isinstance(gone, str | int) and gone:
                yield Hint(event.realm, kind, str(gone), merged_into=event.id)
