"""Zoho Books (API v3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.zoho_books import auth, webhooks
from tieout.connectors.zoho_books.connector import ZohoBooksConnector
from tieout.connectors.zoho_books.manifest import MANIFEST, limits_of, parse_settings
from tieout.domain.connections import Connection
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, Webhook


class ZohoBooks:
    """The provider; see `tieout.ports.connector.Provider`."""

    @property
    def manifest(self) -> Manifest:
        """What Zoho Books can do."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """Zoho's page of consent."""
        return auth.Consent()

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        """The limits of the organisation's plan, with those of the settings instead."""
        return limits_of(parse_settings(connection.settings))

    def open(self, context: Context) -> Connector:
        """A connector for the organisation. Makes no call."""
        return ZohoBooksConnector(context)

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:
        """Return if the delivery is signed with the connection's secret, or carries it."""
        webhooks.verify(webhook, secrets)

    def hints(self, webhook: Webhook) -> Sequence[Hint]:
        """The record that the body names."""
        return webhooks.hints_of(webhook)


CONNECTOR: Provider = ZohoBooks()
