"""Receiving webhooks: prove who sent it, store the hints, answer. So it works while every provider is down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tieout.domain.changes import Change, Origin
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError, SignatureError
from tieout.ports.clock import Clock
from tieout.ports.connector import Handshaker, Hint, Provider, Webhook
from tieout.ports.queue import ChangeQueue
from tieout.ports.secrets import Secrets
from tieout.ports.state import ConfigStore

LOOK_AGAIN_SECONDS = 30


class Received(StrEnum):
    """How a webhook ended."""

    ACCEPTED = "accepted"
    HANDSHAKE = "handshake"
    UNKNOWN_CONNECTION = "unknown_connection"
    BAD_SIGNATURE = "bad_signature"
    BAD_BODY = "bad_body"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The end of a webhook, and how many changes it brought.

    Attributes:
        answer: What a handshake is answered with, as plain text; somebody else's text.
    """

    received: Received
    changes: int = 0
    tenant: str = ""
    connection: str = ""
    answer: str = field(default="", repr=False)


class ReceiveWebhook:
    """Turns a provider's webhook into queued changes."""

    def __init__(
        self,
        *,
        config: ConfigStore,
        secrets: Secrets,
        queue: ChangeQueue,
        provider: Callable[[str], Provider],
        clock: Clock,
    ) -> None:
        self._config, self._secrets, self._queue = config, secrets, queue
        self._provider, self._clock = provider, clock
        self._looked_at: dict[str, datetime] = {}

    def receive(self, address: str, webhook: Webhook) -> Receipt:
        """How it ended; ACCEPTED only after every hint is durable.

        Args:
            address: `tenant.connection`, the last part of the webhook's address.
            webhook: Headers and raw body.

        Raises:
            Exception: If the queue cannot store the changes; the provider has to send it again.
        """
        tenant, dot, name = address.partition(".")
        connection = self._config.connection(tenant, name) if dot else None
        if connection is None:
            return Receipt(Received.UNKNOWN_CONNECTION)
        provider = self._provider(connection.provider)
        answer = provider.handshake(webhook) if isinstance(provider, Handshaker) else None
        if answer is not None:
            return Receipt(Received.HANDSHAKE, 0, tenant, name, answer)
        if not self._proves(provider, webhook, connection):
            return Receipt(Received.BAD_SIGNATURE, 0, tenant, name)
        try:
            hints = provider.hints(webhook)
        except ValueError:
            return Receipt(Received.BAD_BODY, 0, tenant, name)
        changes = list(self._changes(provider, webhook, connection, hints))
        if changes:
            self._queue.send(changes)
        return Receipt(Received.ACCEPTED, len(changes), tenant, name)

    def _proves(self, provider: Provider, webhook: Webhook, connection: Connection) -> bool:
        """True if the connection's secret made the signature; one that was replaced lately is read again first.

        Whoever sends nonsense makes us read the secret twice a minute at most.
        """
        if self._verifies(provider, webhook, connection, fresh=False):
            return True
        now = self._clock.now()
        looked = self._looked_at.get(connection.address)
        if looked is not None and (now - looked).total_seconds() < LOOK_AGAIN_SECONDS:
            return False
        self._looked_at[connection.address] = now
        return self._verifies(provider, webhook, connection, fresh=True)

    def _verifies(self, provider: Provider, webhook: Webhook, connection: Connection, *, fresh: bool) -> bool:
        try:
            provider.verify(webhook, self._secrets.read(connection.tenant, connection.id, fresh=fresh))
        except (SignatureError, SettingsError):
            return False
        return True

    def _changes(
        self, provider: Provider, webhook: Webhook, connection: Connection, hints: Sequence[Hint]
    ) -> Iterator[Change]:
        """A change for each hint; one delivery may speak of several accounts.

        Another account's connection only hears of it if its own secret proves the delivery too, so that no tenant
        can send hints to another.
        """
        now = self._clock.now()
        owners: dict[str, list[Connection]] = {"": [connection], connection.account: [connection]}
        for hint in hints:
            if hint.account not in owners:
                others = self._config.connections_of_account(connection.provider, hint.account)
                owners[hint.account] = [other for other in others if self._proves(provider, webhook, other)]
            for owner in owners[hint.account]:
                change = Change(owner.tenant, owner.id, hint.kind, hint.id, now, Origin.WEBHOOK)
                yield replace(change, merged_into=hint.merged_into)
