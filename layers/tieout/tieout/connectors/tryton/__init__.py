"""Tryton (8.2, JSON-RPC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.tryton.connector import TrytonConnector
from tieout.connectors.tryton.manifest import MANIFEST, limits_of, parse_settings
from tieout.domain.connections import Connection
from tieout.domain.errors import SignatureError
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, Webhook


class Tryton:
    """Opens connectors to Tryton; they share the sessions of this process."""

    def __init__(self) -> None:
        self._sessions: dict[str, str] = {}

    @property
    def manifest(self) -> Manifest:
        """What Tryton can do."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """None: user name and password are typed in."""
        return None

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        """Calls a minute and at a time, as the settings say."""
        return limits_of(parse_settings(connection.settings))

    def open(self, context: Context) -> Connector:
        """A connector; makes no call."""
        return TrytonConnector(context, parse_settings(context.connection.settings), self._sessions)

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:  # noqa: ARG002 - the port's signature
        """Refuse: Tryton sends no webhooks."""
        raise SignatureError("Tryton sends no webhooks, so this is none of its own.")

    def hints(self, webhook: Webhook) -> Sequence[Hint]:  # noqa: ARG002 - the port's signature
        """Refuse: Tryton sends no webhooks."""
        raise ValueError("Tryton sends no webhook")


CONNECTOR: Provider = Tryton()
