"""A system that nothing in the cloud can reach: an agent beside it, in a process of its own, does the work."""

from __future__ import annotations

import pytest

from tests.e2e.deployed import WON, Deployed
from tieout_sandbox.simulators.act.side import Act
from tieout_sandbox.simulators.quickbooks_online.side import QuickBooksOnline
from tieout_sandbox.stage import Stage

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """Act! on a server in an office, QuickBooks Online in the cloud."""
    parameters = {"WorkerTimeoutSeconds": "60", "VisibilityTimeoutSeconds": "60", "PollSchedule": "rate(1 day)"}
    folder = tmp_path_factory.mktemp("office")
    sides = (Act(in_office=True), QuickBooksOnline())
    with Stage(*sides, say=lambda _line: None, parameters=parameters, folder=folder, authorize=True) as stage:
        stage.configure()
        stage.connect()
        deployed = Deployed(stage)
        yield deployed
        assert deployed.refusals() == [], "a role lacks a right that its function needs"


def beside(office: Deployed):
    (found,) = [one for one in office.stage.ask("status")["connections"] if one["id"] == "act"]
    return found["installation"]


def test_deals_become_invoices_and_status_shows_who_is_there(office: Deployed):
    office.see(WON[:5])
    office.settle()
    assert office.invoices(WON[:5]) == office.wanted(WON[:5])
    there = beside(office)
    assert (there["let_in"], there["silent"], there["backlog"]) == (True, False, 0)
    assert there["machine"]


def test_nothing_is_lost_while_the_computer_is_off(office: Deployed):
    agent = office.stage.agents["act"]
    agent.kill()
    office.see(WON[10:15])
    office.until(lambda: office.depth("RetryQueue") > 0, "the changes to wait")
    assert office.invoices(WON[10:15]) == {}
    agent.start()
    office.settle()
    assert office.invoices(WON[10:15]) == office.wanted(WON[10:15])


def test_who_is_no_longer_let_in_is_told_so(office: Deployed):
    office.stage.tieout("connect", "act", "--revoke")
    told = "The key of this agent is not the one that is let in."
    office.until(lambda: told in office.stage.agents["act"].log(), "the agent to say so")
    assert beside(office)["let_in"] is False
