"""Tally (TallyPrime 3.0 and later; Tally.ERP 9 by best effort), beside which an agent of ours runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.tally.connector import TallyConnector
from tieout.connectors.tally.manifest import MANIFEST, parse_settings
from tieout.domain.connections import Connection
from tieout.domain.errors import SignatureError
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, Webhook


class Tally:
    """The provider; see `tieout.ports.connector.Provider`."""

    @property
    def manifest(self) -> Manifest:
        """What Tally can do."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """None: whoever reaches the port is let in."""
        return None

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        """One request at a time."""
        parse_settings(connection.settings)
        return MANIFEST.limits

    def open(self, context: Context) -> Connector:
        """A connector for the company. Makes no call."""
        return TallyConnector(context)

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:  # noqa: ARG002 - the port's signature
        """Refuse: Tally tells nobody of changes."""
        raise SignatureError("Tally sends no webhooks.", next_step="Let the connection be polled.")

    def hints(self, webhook: Webhook) -> Sequence[Hint]:  # noqa: ARG002 - the port's signature
        """None: there are no webhooks of Tally."""
        raise ValueError("this is no webhook of Tally: it sends none")


CONNECTOR: Provider = Tally()
