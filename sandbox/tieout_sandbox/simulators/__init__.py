"""Simulators of providers: they keep state, enforce the provider's rules, and take faults on request.

A simulator is a folder that exports `create_app(**options) -> Flask`. Every `create_app` takes `clock`, `faults` and
`state_file`; its other options are the fields of its settings, its limits among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import cast

from flask import Flask

SIMULATORS: Mapping[str, str] = {
    "act": "tieout_sandbox.simulators.act",
    "outlook": "tieout_sandbox.simulators.outlook",
    "quickbooks_online": "tieout_sandbox.simulators.quickbooks_online",
    "zoho_books": "tieout_sandbox.simulators.zoho_books",
}


def create_app(simulator: str, **options: object) -> Flask:
    """The application of a simulator of the table above.

    Raises:
        KeyError: If there is none of that name.
    """
    module = import_module(SIMULATORS[simulator])
    return cast("Callable[..., Flask]", module.create_app)(**options)
