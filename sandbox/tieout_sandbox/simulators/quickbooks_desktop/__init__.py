"""A simulator of QuickBooks Desktop with one company file, and of the Web Connector beside it.

Not here: purchases, stock, payroll, bundles, editions outside of the United States, reports, custom fields.
"""

from __future__ import annotations

from tieout_sandbox.simulators.quickbooks_desktop.routes import create_app

__all__ = ["create_app"]
