"""QuickBooks Online (Accounting API v3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.quickbooks_online import auth
from tieout.connectors.quickbooks_online.connector import QuickBooksOnlineConnector
from tieout.connectors.quickbooks_online.hints import hints_of
from tieout.connectors.quickbooks_online.manifest import MANIFEST, limits_of, parse_settings
from tieout.domain.connections import Connection
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, Webhook


class QuickBooksOnline:
    """The provider; see `tieout.ports.connector.Provider`."""

    @property
    def manifest(self) -> Manifest:
        """What QuickBooks Online can do."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """Intuit's page of consent."""
        return auth.Consent()

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        """The limits of a company, with those of the settings instead."""
        return limits_of(parse_settings(connection.settings))

    def open(self, context: Context) -> Connector:
        """A connector for the company. Makes no call."""
        return QuickBooksOnlineConnector(context)

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:
        """Return if Intuit signed the body with the app's verifier token."""
        auth.verify(webhook, secrets)

    def hints(self, webhook: Webhook) -> Sequence[Hint]:
        """What the body says, in either of Intuit's two forms."""
        return hints_of(webhook)


CONNECTOR: Provider = QuickBooksOnline()
