"""QuickBooks Desktop (qbXML, fetched by the QuickBooks Web Connector)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.quickbooks_desktop.connector import QuickBooksDesktopConnector
from tieout.connectors.quickbooks_desktop.manifest import MANIFEST, parse_settings
from tieout.connectors.quickbooks_desktop.qwc import qwc_file
from tieout.domain.connections import Connection
from tieout.domain.errors import SignatureError
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, SetupFile, Webhook


class QuickBooksDesktop:
    """The provider; see `tieout.ports.connector.Provider`."""

    @property
    def manifest(self) -> Manifest:
        """What QuickBooks Desktop can do."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """None: the password is typed into the Web Connector."""
        return None

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:  # noqa: ARG002 - of any connection
        """None: the Web Connector fetches one request after the other."""
        return MANIFEST.limits

    def open(self, context: Context) -> Connector:
        """A connector for the company file. Makes no call."""
        return QuickBooksDesktopConnector(context)

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:  # noqa: ARG002 - whatever it says
        """Refuse: QuickBooks Desktop tells of nothing by itself."""
        raise SignatureError("QuickBooks Desktop sends no webhooks.")

    def hints(self, webhook: Webhook) -> Sequence[Hint]:  # noqa: ARG002 - whatever it says
        """Refuse: QuickBooks Desktop tells of nothing by itself."""
        raise ValueError("QuickBooks Desktop sends no webhook")

    def setup_file(self, connection: Connection, *, address: str, user: str) -> SetupFile:
        """The file that a person opens on the computer with QuickBooks: the Web Connector then knows the connection."""
        settings = parse_settings(connection.settings)
        text = qwc_file(
            address=address,
            user=user,
            tenant=connection.tenant,
            connection=connection.id,
            title=f"Tieout {connection.tenant} {connection.id}",
            minutes_between_runs=settings.minutes_between_runs,
        )
        return SetupFile(f"{connection.id}.qwc", text)


CONNECTOR: Provider = QuickBooksDesktop()
