"""`tieout sweep`, and approving what a cap holds back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engine.test_sweep import sweeper
from tests.engine.test_withdraw import withdrawing
from tests.engine.world import CRM, TENANT
from tieout.cli.talk import Code
from tieout.domain.changes import Origin
from tieout.domain.records import Kind


@pytest.fixture
def vanished(terminal):
    """Twenty deals with invoices, half of which the CRM no longer shows."""
    world = terminal.world
    (sync,) = world.state.syncs(TENANT)
    world.state.put_sync(replace(sync, text=withdrawing(caps="withdrawals: 2"), version=2))
    ids = [f"d{number:02}" for number in range(20)]
    for one in ids:
        world.deal(one)
    world.apply(*ids)
    for one in ids[:10]:
        del world.crm.records[Kind.DEAL, one]
    for _ in range(2):
        sweeper(world).sweep(TENANT, CRM)
    return terminal


def test_nothing_held_back_is_said(terminal):
    assert terminal.json("sweep", "list") == {"held": []}
    terminal.type("sweep", "list")
    assert "Nothing is held back." in terminal.out
    terminal.type("sweep", "approve", CRM)
    assert terminal.exit_code == Code.NO
    assert "No brake holds anything" in terminal.err


def test_what_vanished_is_listed_and_approved(vanished):
    (held,) = vanished.json("sweep", "list")["held"]
    assert (held["connection"], held["kind"], len(held["ids"])) == (CRM, "deal", 10)
    vanished.type("sweep", "list")
    assert "act: 10 deals vanished at once" in vanished.out
    assert f"tieout sweep approve {CRM} --tenant {TENANT}" in vanished.out

    status = vanished.json("status")
    assert status["held"] == [{"connection": CRM, "kind": "deal", "written": False, "records": 10}]
    assert (status["needs_person"], vanished.exit_code) == (True, Code.NO)
    told = f"act: 10 deals vanished at once; nothing is done about them: see `tieout sweep list --tenant {TENANT}`."
    assert told in vanished.type("status").out

    assert vanished.json("sweep", "approve", CRM) == {"approved": 10, "connection": CRM}
    vanished.work()
    assert [one.fields["state"] for one in vanished.world.invoices()].count("voided") == 10
    assert vanished.json("sweep", "list") == {"held": []}
    assert (vanished.json("status")["held"], vanished.exit_code) == ([], Code.OK)


def test_what_a_cap_parked_goes_on_with_approval_only(vanished):
    world = vanished.world
    ids = [f"d{number:02}" for number in range(10, 14)]
    for one in ids:
        world.crm.put(Kind.DEAL, one, status="lost")
    world.apply(*ids)
    cause = "cap-withdrawals-deals-to-invoices"
    assert {one["cause"] for one in vanished.json("parked", "list")["parked"]} == {cause}

    vanished.type("parked", "retry", "--cause", cause)
    vanished.work()
    assert len(vanished.json("parked", "list")["parked"]) == 2

    vanished.type("parked", "retry", "--cause", cause, "--approve")
    assert {one.origin for one in world.queue.now} == {Origin.APPROVED}
    vanished.work()
    assert vanished.json("parked", "list")["parked"] == []
