"""Change notifications: one subscription for the contacts and one for the deals, renewed long before they end.

Graph keeps the subscriptions, so that nothing of them is stored here: each time, those that lead to our address are
listed, renewed, and made if they are missing. They are renewed long before their end because Graph stops telling once
the access token ends by which they were made or renewed last, until they are authorised again (its event
`reauthorizationRequired`); renewing does that, too. What happened while one was missing or stopped is in the delta
feed, which is asked by schedule whatever notifications say.

Source: https://learn.microsoft.com/graph/api/resources/subscription and /graph/change-notifications-lifecycle-events,
read 2026-08-13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tieout.connectors.outlook.auth import CLIENT_STATE_LENGTH_MAX
from tieout.connectors.outlook.client import Client, Part
from tieout.connectors.outlook.errors import error_of
from tieout.connectors.outlook.feed import every_row
from tieout.connectors.outlook.mailbox import DEFAULT_FOLDER, Mailbox
from tieout.connectors.outlook.manifest import CLOUDS, OutlookSettings
from tieout.domain.errors import RejectedError, SettingsError
from tieout.domain.records import Kind
from tieout.ports.connector import Context

LIFE: Mapping[Kind, timedelta] = {
    # 10,080 minutes and 4,230 minutes at most; an hour less, since clocks differ.
    Kind.CONTACT: timedelta(minutes=10_080 - 60),
    Kind.DEAL: timedelta(minutes=4_230 - 60),
}
RENEW_EVERY = timedelta(minutes=15)
"""Polls may follow each other by a minute; an access token lasts an hour or more."""
CLIENT_STATE_LENGTH_MIN = 20


class Subscriptions:
    """Those of one mailbox."""

    def __init__(self, context: Context, settings: OutlookSettings, client: Client, mailbox: Mailbox) -> None:
        self._context = context
        self._settings = settings
        self._client = client
        self._mailbox = mailbox

    def keep(self) -> Sequence[str]:
        """Renew and make what is due; what was done, for the log.

        Raises:
            SettingsError: If the token of the notifications is missing, too short or too long.
            ProviderError: If Graph refuses, or does not answer.
        """
        if not self._settings.webhook_url:
            return []
        token = self._token()
        ours = [
            row
            for row in every_row(self._client, "/subscriptions")
            if row.get("notificationUrl") == self._settings.webhook_url
        ]
        done: list[str] = []
        for kind, resource in self._resources():
            there = [row for row in ours if _folded(row.get("resource")) == _folded(resource)]
            done += self._renew(kind, there) if there else [self._make(kind, resource, token)]
        return done

    def _resources(self) -> Sequence[tuple[Kind, str]]:
        contacts = self._mailbox.path(Kind.CONTACT, DEFAULT_FOLDER)
        if not CLOUDS[self._settings.cloud].tells_of_tasks:
            return [(Kind.CONTACT, contacts)]
        try:
            return [(Kind.CONTACT, contacts), (Kind.DEAL, self._mailbox.path(Kind.DEAL, self._mailbox.list_id()))]
        except RejectedError:
            return [(Kind.CONTACT, contacts)]  # without a list of deals there is nothing to hear of them

    def _renew(self, kind: Kind, there: Sequence[Mapping[str, Any]]) -> list[str]:
        now = self._context.clock.now()
        late = [row for row in there if _moment(row.get("expirationDateTime")) - now < LIFE[kind] - RENEW_EVERY]
        if len(late) < len(there):
            return []
        row = late[0]
        part = Part("PATCH", f"/subscriptions/{row['id']}", {"expirationDateTime": self._until(kind)})
        self._send(part)
        return [f"renewed {kind.value}"]

    def _make(self, kind: Kind, resource: str, token: str) -> str:
        address = self._settings.webhook_url
        body = {
            "changeType": "created,updated,deleted",
            "notificationUrl": address,
            "lifecycleNotificationUrl": address,
            "resource": resource,
            "expirationDateTime": self._until(kind),
            "clientState": token,
        }
        self._send(Part("POST", "/subscriptions", body))
        return f"made {kind.value}"

    def _send(self, part: Part) -> None:
        (reply,) = self._client.many([part], write=True)
        if not reply.is_success:
            raise error_of(reply, write=True)

    def _until(self, kind: Kind) -> str:
        return (self._context.clock.now() + LIFE[kind]).isoformat(timespec="seconds").replace("+00:00", "Z")

    def _token(self) -> str:
        connection = self._context.connection
        token = self._context.secrets.read(connection.tenant, connection.id).get("webhook_token", "")
        if not CLIENT_STATE_LENGTH_MIN <= len(token) <= CLIENT_STATE_LENGTH_MAX:
            raise SettingsError(
                f"The token of the notifications of {connection.id} has to have {CLIENT_STATE_LENGTH_MIN} to "
                f"{CLIENT_STATE_LENGTH_MAX} characters.",
                next_step="Give another `webhook_token` with `tieout connect`, or empty `webhook_url`.",
            )
        return token


def _folded(resource: object) -> str:
    """Graph may give the resource back without its first slash."""
    return str(resource).strip("/")


def _moment(text: object) -> datetime:
    """When the subscription ends; long ago if that cannot be read, so that it is renewed."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
