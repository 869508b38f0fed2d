"""Subscriptions to changes: the handshake, what is due, lifecycle events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import requests

from tieout_sandbox.simulators.outlook.errors import GraphError
from tieout_sandbox.simulators.outlook.state import CONTACTS, TASKS, OutlookState, minutes, moment

_MINUTES_MAX = {CONTACTS: 10_080, TASKS: 4_230}
_MINUTES_MIN = 45
_TIMEOUT_SECONDS = 10
_TENANT = UUID("9d2f0000-0000-4c55-9a7e-0d6f2f7b9a11")
_TYPES = {CONTACTS: "#Microsoft.Graph.Contact", TASKS: "#Microsoft.Graph.TodoTask"}
_RESOURCES = (
    (re.compile(r"/?(?:me|users/[^/]+)/(?:contacts|contactFolders/[^/]+/contacts)", re.IGNORECASE), CONTACTS),
    (re.compile(r"/?(?:me|users/[^/]+)/todo/lists/[^/]+/tasks", re.IGNORECASE), TASKS),
)


@dataclass(slots=True)
class Subscription:
    """One subscription.

    Attributes:
        ends: When it is forgotten.
        good_until: When the access token ends by which it was made or authorised last: what happens after that is not
            told. Graph goes on for an unknown while.
        due: Notifications that were not delivered yet.
    """

    row: dict[str, Any]
    client_state: str
    type: str
    ends: datetime
    good_until: datetime
    due: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Subscriptions:
    """Those of the mailbox. Not safe between threads by itself; deliveries go out without the lock."""

    state: OutlookState
    rows: dict[str, Subscription] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        self.state.touched = self._touched

    def living(self) -> list[Subscription]:
        """Those that have not ended; Graph forgets the others."""
        now = self.state.clock.now()
        self.rows = {key: one for key, one in self.rows.items() if one.ends > now}
        return list(self.rows.values())

    def prepared(self, body: Mapping[str, Any]) -> Subscription:
        """A checked subscription, which is not in force before its addresses answered.

        Raises:
            GraphError: 400 if it cannot be.
        """
        resource = str(body.get("resource", ""))
        kind = next((known for pattern, known in _RESOURCES if pattern.fullmatch(resource)), None)
        wanted = set(str(body.get("changeType", "")).split(","))
        if kind is None or not wanted or not wanted <= {"created", "updated", "deleted"}:
            raise GraphError(400, "The resource or the change type is not supported.", code="InvalidRequest")
        if not body.get("notificationUrl") or len(str(body.get("clientState", ""))) > 128:  # noqa: PLR2004 - published
            raise GraphError(400, "The notification URL or the client state is invalid.", code="InvalidRequest")
        self.made += 1
        shown = {name: body[name] for name in body if name != "clientState"}
        key = str(uuid5(_TENANT, str(self.made)))
        row = {
            **shown,
            "resource": resource.strip("/"),
            "id": key,
            "applicationId": self.state.settings.client_id,
            "clientState": None,
        }
        now = self.state.clock.now()
        one = Subscription(row, str(body.get("clientState", "")), kind, now, now)
        self._extend(one, str(body.get("expirationDateTime", "")))
        return one

    def renew(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """With a later end.

        Raises:
            GraphError: 404 if it ended; 400 if the end is not allowed.
        """
        one = self.found(key)
        self._extend(one, str(body.get("expirationDateTime", "")))
        return one.row

    def found(self, key: str) -> Subscription:
        """The subscription.

        Raises:
            GraphError: 404 if there is none, or it ended.
        """
        self.living()
        if key not in self.rows:
            raise GraphError(404, "The object was not found.", code="ResourceNotFound")
        return self.rows[key]

    def authorize(self, one: Subscription) -> None:
        """Let it go on telling while a token lasts."""
        one.good_until = self.state.clock.now() + minutes(self.state.settings.token_minutes)

    def _extend(self, one: Subscription, text: str) -> None:
        now, wanted = self.state.clock.now(), moment(text)
        if wanted > now + minutes(_MINUTES_MAX[one.type]):
            raise GraphError(400, "Subscription expiration can only be so far in the future.", code="InvalidRequest")
        one.ends = max(wanted, now + minutes(_MINUTES_MIN))
        self.authorize(one)
        one.row["expirationDateTime"] = one.ends.isoformat(timespec="seconds").replace("+00:00", "Z")

    def _touched(self, kind: str, key: str, how: str) -> None:
        for one in self.living():
            told = one.good_until > self.state.clock.now() and how in one.row["changeType"].split(",")
            if one.type == kind and told:
                one.due.append(self._notification(one, kind, key, how))

    def _notification(self, one: Subscription, kind: str, key: str, how: str) -> dict[str, Any]:
        item = self.state.items.get(key)
        where = f"{one.row['resource'].strip('/')}/{key}"
        data = {"@odata.type": _TYPES[kind], "@odata.id": where, "id": key}
        if item is not None:
            data["@odata.etag"] = item.row["@odata.etag"]
        return {**self._head(one), "changeType": how, "resource": where, "resourceData": data}

    def _head(self, one: Subscription) -> dict[str, Any]:
        return {
            "subscriptionId": one.row["id"],
            "subscriptionExpirationDateTime": one.row["expirationDateTime"],
            "clientState": one.client_state,
            "tenantId": str(_TENANT),
        }

    def lifecycle(self, event: str) -> list[tuple[str, dict[str, Any]]]:
        """The deliveries that tell of a lifecycle event.

        `subscriptionRemoved` ends the subscriptions, `reauthorizationRequired` stops them until they are authorised.
        """
        told = [
            (
                one.row.get("lifecycleNotificationUrl") or one.row["notificationUrl"],
                {"value": [{**self._head(one), "lifecycleEvent": event, "resource": one.row["resource"]}]},
            )
            for one in self.living()
        ]
        if event == "subscriptionRemoved":
            self.rows.clear()
        elif event == "reauthorizationRequired":
            for one in self.rows.values():
                one.good_until = self.state.clock.now()
        return told

    def deliveries(self) -> list[tuple[str, dict[str, Any]]]:
        """Addresses and bodies of what is due; it is not due any more then."""
        told = [(one.row["notificationUrl"], {"value": list(one.due)}) for one in self.living() if one.due]
        for one in self.rows.values():
            one.due.clear()
        return told


def handshake(url: str) -> None:
    """Return if the address answers the token that it is sent, as plain text.

    Raises:
        GraphError: 400 otherwise.
    """
    token = "Validation: Testing client application reachability for subscription Request-Id: 8f1c+3f&6e"
    try:
        answer = requests.post(url, params={"validationToken": token}, timeout=_TIMEOUT_SECONDS)
    except requests.RequestException:
        raise GraphError(400, "Subscription validation request timed out.", code="ValidationError") from None
    plain = answer.headers.get("Content-Type", "").startswith("text/plain")
    if answer.status_code != 200 or answer.text != token or not plain:  # noqa: PLR2004 - published
        raise GraphError(400, "Subscription validation request failed.", code="ValidationError")


def deliver(told: list[tuple[str, dict[str, Any]]]) -> dict[str, int]:
    """How many arrived, and how many did not."""
    counts = {"delivered": 0, "failed": 0}
    for url, body in told:
        try:
            arrived = requests.post(url, json=body, timeout=_TIMEOUT_SECONDS).ok
        except requests.RequestException:
            arrived = False
        counts["delivered" if arrived else "failed"] += 1
    return counts
