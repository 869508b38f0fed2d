"""Outlook: Exchange Online and outlook.com through Microsoft Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.outlook import auth
from tieout.connectors.outlook.connector import OutlookConnector
from tieout.connectors.outlook.hints import handshake_of, hints_of
from tieout.connectors.outlook.manifest import MANIFEST, limits_of, settings_of
from tieout.domain.connections import Connection
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, Webhook


class OutlookProvider:
    """The provider; see `tieout.ports.connector.Provider`."""

    @property
    def manifest(self) -> Manifest:
        """What Outlook can do."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """Microsoft's page: of the person, or of the administrator, as the settings say."""
        return auth.OutlookConsent()

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        """The limits of a mailbox, with those of the settings instead."""
        return limits_of(settings_of(connection.settings))

    def open(self, context: Context) -> Connector:
        """A connector for the mailbox; makes no call."""
        return OutlookConnector(context, settings_of(context.connection.settings))

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:
        """Return if every notification carries the connection's token."""
        auth.verify(webhook, secrets)

    def hints(self, webhook: Webhook) -> Sequence[Hint]:
        """The records that a delivery names."""
        return hints_of(webhook)

    def handshake(self, webhook: Webhook) -> str | None:
        """What a request that proves our address is to be answered with; None if it is none."""
        return handshake_of(webhook)


CONNECTOR: Provider = OutlookProvider()
