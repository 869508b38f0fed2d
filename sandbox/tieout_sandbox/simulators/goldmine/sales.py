"""Won opportunities in GoldMine, for tests that need no more of a CRM."""

from __future__ import annotations

from tieout_sandbox.simulators.goldmine.side import GoldMine

DEALS = GoldMine
