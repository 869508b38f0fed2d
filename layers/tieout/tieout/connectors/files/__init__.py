"""Files: what people export elsewhere and hand in, read like a CRM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.files.connector import FilesConnector
from tieout.connectors.files.manifest import MANIFEST, settings_of
from tieout.domain.connections import Connection
from tieout.domain.errors import SignatureError
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, Webhook


class Files:
    """Opens connectors to the rows that were stored of a connection's files."""

    @property
    def manifest(self) -> Manifest:
        """What can be done with files."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """None: nobody signs in to a file."""
        return None

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        """None: nobody is asked but our own table."""
        settings_of(connection.settings)
        return MANIFEST.limits

    def open(self, context: Context) -> Connector:
        """A connector; makes no call."""
        return FilesConnector(context, settings_of(context.connection.settings))

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:  # noqa: ARG002 - the port's signature
        """Refuse: files send no webhooks."""
        raise SignatureError("Files send no webhooks, so this is none of theirs.")

    def hints(self, webhook: Webhook) -> Sequence[Hint]:  # noqa: ARG002 - the port's signature
        """Refuse: files send no webhooks."""
        raise ValueError("files send no webhook")


CONNECTOR: Provider = Files()
