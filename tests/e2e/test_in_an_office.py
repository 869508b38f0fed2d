"""Systems that nothing in the cloud can reach: agents beside them, in processes of their own, do the work."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import pytest

from tests.e2e.deployed import WON, Deals, Deployed
from tieout_sandbox.simulators.act.side import Act
from tieout_sandbox.simulators.tally.side import Tally
from tieout_sandbox.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.office]

SETTLE_SECONDS_MAX = 180


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """Act! on a server in an office, Tally on a desk in another one."""
    parameters = {"WorkerTimeoutSeconds": "60", "VisibilityTimeoutSeconds": "60", "PollSchedule": "rate(1 day)"}
    folder = tmp_path_factory.mktemp("office")
    sides = (Act(in_office=True), Tally())
    with Stage(*sides, say=lambda _line: None, parameters=parameters, folder=folder, authorize=True) as stage:
        stage.configure()
        stage.connect()
        deployed = Deployed(stage)  # type: ignore[arg-type]  # what is asked of it here asks nothing of QuickBooks
        yield deployed
        assert deployed.refusals() == [], "a role lacks a right that its function needs"


def beside(office: Deployed, connection: str):
    (found,) = [one for one in office.stage.ask("status")["connections"] if one["id"] == connection]
    return found["installation"]


def invoices(office: Deployed, deals: Deals) -> dict[str, list[Decimal]]:
    """Totals of Tally's invoices by their number, for the numbers of these deals."""
    numbers = {deal["sourceId"] for deal in deals}
    found: dict[str, list[Decimal]] = defaultdict(list)
    for one in office.stage.books.invoices():
        if one.number in numbers:
            found[one.number].append(one.total)
    return dict(found)


def test_deals_become_invoices_and_status_shows_who_is_there(office: Deployed):
    office.see(WON[:5])
    office.stage.settle(SETTLE_SECONDS_MAX)
    assert invoices(office, WON[:5]) == office.wanted(WON[:5])
    for connection in ("act", "tally"):
        there = beside(office, connection)
        assert (there["let_in"], there["silent"], there["backlog"]) == (True, False, 0)
        assert there["machine"]


def test_nothing_is_lost_while_the_computer_is_off(office: Deployed):
    agent = office.stage.agents["act"]
    agent.kill()
    office.see(WON[10:15])
    office.until(lambda: office.depth("RetryQueue") > 0, "the changes to wait")
    assert invoices(office, WON[10:15]) == {}
    agent.start()
    office.stage.settle(SETTLE_SECONDS_MAX)
    assert invoices(office, WON[10:15]) == office.wanted(WON[10:15])


def test_a_power_cut_while_an_invoice_is_written_doubles_nothing(office: Deployed):
    tally, agent = office.stage.books.simulator, office.stage.agents["tally"]
    slow = {"match": office.stage.books.lost_answer, "kind": "latency", "seconds": 2, "probability": 1, "times": 1}
    office.fail(tally, slow)
    office.see(WON[20:25])
    office.until(lambda: office.fired(tally)["latency"], "an invoice on its way into Tally")
    agent.kill()
    agent.start()
    office.stage.settle(SETTLE_SECONDS_MAX)
    assert invoices(office, WON[20:25]) == office.wanted(WON[20:25])
    assert office.unsynced() == []


def test_who_is_no_longer_let_in_is_told_so(office: Deployed):
    office.stage.tieout("connect", "act", "--revoke")
    told = "This computer may no longer work for demo.act"
    office.until(lambda: told in office.stage.agents["act"].log(), "the agent to say so")
    assert beside(office, "act")["let_in"] is False
