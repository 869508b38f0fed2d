"""A simulator of Tally's XML port: companies that are open in one program, with masters, vouchers and their balances.

Not here: stock balances, godowns and batches, several currencies, cost centres, payroll, printing, the native JSON.
"""

from __future__ import annotations

from tieout_sandbox.simulators.tally.routes import create_app

__all__ = ["create_app"]
