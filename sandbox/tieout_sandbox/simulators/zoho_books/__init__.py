"""A simulator of Zoho Books' API v3 for one organisation.

Not here: vendors' documents, timers, billing of hours and expenses, several price precisions, editions' own tax rules,
approval by several persons, PDF and e-mail.
"""

from __future__ import annotations

from tieout_sandbox.simulators.zoho_books.routes import create_app

__all__ = ["create_app"]
