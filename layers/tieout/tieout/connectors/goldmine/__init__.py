"""The GoldMine connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.goldmine.connector import Engines, GoldMineConnector
from tieout.connectors.goldmine.manifest import MANIFEST, settings_of
from tieout.domain.connections import Connection
from tieout.domain.errors import SignatureError
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, Webhook


class GoldMineProvider:
    """Opens connectors to GoldMine.

    Args:
        engines: As `GoldMineConnector` takes it; for tests.
    """

    def __init__(self, engines: Engines | None = None) -> None:
        self._engines = engines

    @property
    def manifest(self) -> Manifest:
        """What GoldMine can do."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """None: the login of SQL Server is typed in."""
        return None

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:  # noqa: ARG002 - the port's signature
        """None: the database belongs to the customer, and calls of one connection go one after the other."""
        return MANIFEST.limits

    def open(self, context: Context) -> Connector:
        """A connector; opens no connection to the database."""
        return GoldMineConnector(context, settings_of(context.connection.settings), self._engines)

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:  # noqa: ARG002 - the port's signature
        """Refuse: GoldMine sends nothing."""
        raise SignatureError("GoldMine sends no webhooks, so this is none of its own.")

    def hints(self, webhook: Webhook) -> Sequence[Hint]:  # noqa: ARG002 - the port's signature
        """Refuse: GoldMine sends nothing."""
        raise ValueError("GoldMine sends no webhook")


CONNECTOR: Provider = GoldMineProvider()
