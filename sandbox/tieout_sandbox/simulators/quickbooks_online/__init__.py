"""A simulator of QuickBooks Online's Accounting API v3 (minor version 75), for a company in the United States.

Not here: other countries' taxes, several currencies, bundles, estimates, sales receipts, attachments, reports, XML.
"""

from __future__ import annotations

from tieout_sandbox.simulators.quickbooks_online.routes import create_app

__all__ = ["create_app"]
