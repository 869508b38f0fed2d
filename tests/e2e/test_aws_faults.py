"""AWS itself stumbles between the functions and what they need; the long version is `make faults`."""

from __future__ import annotations

import pytest

from tests.e2e.deployed import WON
from tieout_sandbox.aws_faults import AwsFaults, lost_answer

pytestmark = pytest.mark.e2e

DEALS = WON[400:410]
TIMES = 6


def test_deals_become_one_invoice_each_while_the_table_loses_answers(deployed, tmp_path):
    with AwsFaults(deployed.stage.aws, tmp_path, seed=1) as proxy, deployed.through(proxy):
        proxy.force(lost_answer("dynamodb", 0.3, times=TIMES))  # claims, settlements, leases and budgets among them
        deployed.see(DEALS)
        deployed.settle()
        fired = proxy.fired()

    assert {(service, fault) for service, _, fault in fired} == {("dynamodb", "answer lost")}
    assert sum(fired.values()) == TIMES
    assert deployed.invoices(DEALS) == deployed.wanted(DEALS)
    assert deployed.unsynced() == []
