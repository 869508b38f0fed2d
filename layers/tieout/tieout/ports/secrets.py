"""Secrets: one bundle per connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Secrets(Protocol):
    """Keeps what must not be in the table: passwords, tokens, keys."""

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
        """The connection's secrets by name; a copy up to 5 minutes old unless `fresh`.

        Raises:
            SettingsError: If the connection has none yet.
        """

    def write(self, tenant: str, connection: str, secrets: Mapping[str, str]) -> None:
        """Store the whole bundle durably, replacing the former one, before this returns."""
