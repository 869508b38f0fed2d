"""Providers: one folder each. A new one is a folder and a line here."""

from __future__ import annotations

from tieout.connectors import (
    act,
    files,
    goldmine,
    outlook,
    quickbooks_desktop,
    quickbooks_online,
    tally,
    tryton,
    zoho_books,
)
from tieout.domain.errors import SettingsError
from tieout.ports.connector import Provider

PROVIDERS: tuple[Provider, ...] = (
    act.CONNECTOR,
    files.CONNECTOR,
    goldmine.CONNECTOR,
    outlook.CONNECTOR,
    quickbooks_desktop.CONNECTOR,
    quickbooks_online.CONNECTOR,
    tally.CONNECTOR,
    tryton.CONNECTOR,
    zoho_books.CONNECTOR,
)


def provider(name: str) -> Provider:
    """The provider of this name.

    Raises:
        SettingsError: If there is none.
    """
    for each in PROVIDERS:
        if each.manifest.provider == name:
            return each
    known = ", ".join(each.manifest.provider for each in PROVIDERS)
    raise SettingsError(f"There is no provider `{name}`.", next_step=f"Choose one of: {known}.")
