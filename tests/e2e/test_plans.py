"""A plan in the deployed stack: kept, applied exactly, taken back; by commands, and with the functions' own rights."""

from __future__ import annotations

import pytest

from tests.e2e.deployed import WON, Deployed
from tieout_sandbox.stage import SYNC

pytestmark = pytest.mark.e2e

DEALS = WON[240:245]


def test_a_plan_is_applied_exactly_and_taken_back(deployed: Deployed):
    ask = deployed.stage.ask
    records = [option for deal in DEALS for option in ("--record", deal["id"])]
    plan = ask("plan", SYNC, *records)["plan"]
    assert plan["counts"]["invoices"] == {"create": len(DEALS)}
    assert plan["needs_approval"] == []

    done = ask("apply", plan["id"], "--yes")
    assert (done["written"], done["still_waiting"]) == (plan["writes"], 0)
    assert deployed.invoices(DEALS) == deployed.wanted(DEALS)
    assert ask("plan", "show", plan["id"])["plan"]["state"] == "applied"

    undo = ask("undo", plan["id"])["plan"]
    assert undo["counts"] == {"invoices": {"withdraw": len(DEALS)}}
    assert undo["amounts"] == plan["amounts"]
    assert ask("apply", undo["id"], "--yes")["written"] == len(DEALS)
    deployed.settle()
    assert ask("plan", "show", plan["id"])["plan"]["undone_by"] == undo["id"]
    shown = ask("plan", "show", undo["id"])
    assert {write["end"] for write in shown["writes"]} == {"written"}
    deployed.see(DEALS)
    deployed.settle()
    assert ask("plan", SYNC, *records)["writes"] == []
