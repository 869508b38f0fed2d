"""Simulators of providers: they keep state, enforce the provider's rules, and take faults on request.

A simulator is a folder that exports `create_app(**options) -> Flask`. Every `create_app` takes `clock`, `faults` and
`state_file`; its other options are the fields of its settings, its limits among them. What the tour does there is in
its module `side`, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from flask import Flask

if TYPE_CHECKING:
    from tieout_sandbox.sides import BooksSide, CrmSide, WonDeals

SIMULATORS: Mapping[str, str] = {
    "act": "tieout_sandbox.simulators.act",
    "files": "tieout_sandbox.simulators.files",
    "goldmine": "tieout_sandbox.simulators.goldmine",
    "outlook": "tieout_sandbox.simulators.outlook",
    "quickbooks_desktop": "tieout_sandbox.simulators.quickbooks_desktop",
    "quickbooks_online": "tieout_sandbox.simulators.quickbooks_online",
    "tally": "tieout_sandbox.simulators.tally",
    "tryton": "tieout_sandbox.simulators.tryton",
    "zoho_books": "tieout_sandbox.simulators.zoho_books",
}

NOT_SERVED = frozenset({"files"})
"""What has no server, and so is nobody to play with."""


class StartError(Exception):
    """A simulator could not be started; the message says why and what to do."""


def create_app(simulator: str, **options: object) -> Flask:
    """The application of a simulator of the table above.

    Raises:
        KeyError: If there is none of that name.
        StartError: If it needs something that is not there.
    """
    module = import_module(SIMULATORS[simulator])
    return cast("Callable[..., Flask]", module.create_app)(**options)


def crm_side(provider: str) -> Callable[[str, int | None], CrmSide]:
    """Makes the provider's side of deals: of the id of its connection, and of how many deals there are.

    Raises:
        KeyError: If it has none.
    """
    return cast("Callable[[str, int | None], CrmSide]", _side(provider, "CRM"))


def won_deals(provider: str) -> Callable[[str, int | None], WonDeals]:
    """Makes the provider's side of deals; of one that has none, what its module `sales` has in place of it.

    Raises:
        ModuleNotFoundError: If it has neither.
    """
    if provider in with_side("CRM"):
        return crm_side(provider)
    module = import_module(f"{SIMULATORS[provider]}.sales")
    return cast("Callable[[str, int | None], WonDeals]", module.DEALS)


def books_side(provider: str) -> Callable[[str], BooksSide]:
    """Makes the provider's side of invoices, of the id of its connection.

    Raises:
        KeyError: If it has none.
    """
    return cast("Callable[[str], BooksSide]", _side(provider, "BOOKS"))


def with_side(role: str) -> list[str]:
    """Providers that have a side of this role, `CRM` or `BOOKS`."""
    return [provider for provider in SIMULATORS if hasattr(_module(provider), role)]


def _side(provider: str, role: str) -> object:
    if provider not in with_side(role):
        raise KeyError(provider)
    return getattr(_module(provider), role)


def _module(provider: str) -> object:
    name = f"{SIMULATORS[provider]}.side"
    return import_module(name) if find_spec(name) else None
