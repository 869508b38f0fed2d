"""The Act! connector."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tieout.connectors.act import auth
from tieout.connectors.act.connector import ActConnector
from tieout.connectors.act.manifest import MANIFEST, limits_of, settings_of
from tieout.domain.connections import Connection
from tieout.ports.connector import Connector, Consent, Context, Hint, Limit, Manifest, Provider, Webhook


class ActProvider:
    """Opens connectors to Act!; they share the tokens of this process."""

    def __init__(self) -> None:
        self._tokens: dict[str, auth.Token] = {}

    @property
    def manifest(self) -> Manifest:
        """What Act! can do."""
        return MANIFEST

    @property
    def consent(self) -> Consent | None:
        """None: user name and password are typed in."""
        return None

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        """Calls a minute, at a time and a day, as the settings say."""
        settings = settings_of(connection.settings)
        return limits_of(settings.requests_per_minute, settings.requests_in_flight, settings.requests_per_day)

    def open(self, context: Context) -> Connector:
        """A connector; makes no call."""
        return ActConnector(context, settings_of(context.connection.settings), self._tokens)

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:
        """Return if the delivery carries the token that we registered."""
        auth.verify(webhook, secrets)

    def hints(self, webhook: Webhook) -> Sequence[Hint]:
        """The records that a delivery names, one or several; its token says of which kind.

        The account is empty: a delivery does not name the database, its address names the connection.
        """
        try:
            body = json.loads(webhook.body)
        except (ValueError, RecursionError):
            raise ValueError("the body is not a webhook of Act!: no JSON") from None
        entries = body if isinstance(body, list) else [body]
        if not all(isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry["id"] for entry in entries):
            raise ValueError("the body is not a webhook of Act!: an entry has no id")
        kind = auth.kind_of(webhook)
        if kind is None or kind not in MANIFEST.reads:
            return []
        return [Hint("", kind, one) for one in dict.fromkeys(entry["id"] for entry in entries)]


CONNECTOR: Provider = ActProvider()
