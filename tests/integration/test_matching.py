"""Customers that stand in the books before us, or are merged there: the real connectors against both simulators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.integration import test_life_of_an_invoice as life
from tests.integration.test_life_of_an_invoice import WON, Desk
from tests.whole_way import TENANT
from tieout.domain.changes import Change, Origin
from tieout.domain.links import Link
from tieout.domain.records import Kind
from tieout.domain.reviews import Choice, Decision
from tieout.engine.operate import Operate
from tieout.mapping import preset
from tieout.ports.state import StoredSync

desk = life.desk
deal = life.deal

DEAL = WON[0]
COMPANY = DEAL["companies"][0]


def _customers(desk: Desk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = desk.books("GET", "/query", query="SELECT * FROM Customer")["QueryResponse"][
        "Customer"
    ]
    return found


def _link(desk: Desk) -> Link:
    (link,) = desk.way.deployment.links.all(TENANT, "deals-to-invoices", "customers")
    return link


def test_a_customer_of_a_slightly_other_name_is_adopted_and_keeps_it(desk: Desk):
    made = desk.books("POST", "/customer", {"DisplayName": f"{COMPANY['name'].upper()} Ltd."})["Customer"]

    report = desk.sync(DEAL["id"])

    assert (report.adopted, report.parked) == (1, 0)
    assert desk.invoice().fields["customer"] == made["Id"]
    assert [one["DisplayName"] for one in _customers(desk)] == [made["DisplayName"]]


def test_a_doubtful_customer_is_asked_about_and_the_answer_is_used(desk: Desk):
    made = desk.books("POST", "/customer", {"DisplayName": f"{COMPANY['name']} Holding"})["Customer"]
    assert desk.sync(DEAL["id"]).created == 1  # the item alone
    asked = next(one for one in desk.unsynced() if one.review is not None)
    assert asked.review is not None
    (candidate,) = asked.review.candidates
    assert (candidate.target_id, candidate.name) == (made["Id"], made["DisplayName"])
    links, link = desk.way.deployment.links, _link(desk)
    decision = Decision(asked.review.digest, Choice.ACCEPT, "ada", desk.way.clock.now(), made["Id"])
    links.store(replace(link, decision=decision))

    desk.sync(DEAL["id"])

    assert desk.invoice().fields["customer"] == made["Id"]
    assert (desk.unsynced(), _link(desk).decision) == ([], None)


@pytest.mark.usefixtures("deal")
def test_a_merged_customer_is_followed(desk: Desk):
    survivor = desk.books("POST", "/customer", {"DisplayName": "Everybody"})["Customer"]["Id"]
    loser = _link(desk).target_id
    desk.way.call(desk.way.books_url, "POST", "/_sandbox/merge", {"loser": loser, "survivor": survivor})
    told = Change(
        TENANT, "quickbooks", Kind.CUSTOMER, str(loser), desk.way.clock.now(), Origin.WEBHOOK, merged_into=survivor
    )
    desk.way.queue.send([told])
    desk.way.pump()
    other = next(one for one in WON[1:] if one["companies"][0]["id"] == COMPANY["id"])

    report = desk.sync(other["id"])

    assert (_link(desk).target_id, report.parked) == (survivor, 0)
    invoices = desk.books("GET", "/query", query="SELECT * FROM Invoice")["QueryResponse"]["Invoice"]
    assert {invoice["CustomerRef"]["value"] for invoice in invoices} == {survivor}


@pytest.mark.usefixtures("deal")
def test_a_merge_that_nobody_told_of_is_asked_about_with_the_next_invoice(desk: Desk):
    made = desk.books("POST", "/customer", {"DisplayName": f"{COMPANY['name']} Group"})["Customer"]["Id"]
    merged = {"loser": _link(desk).target_id, "survivor": made}
    desk.way.call(desk.way.books_url, "POST", "/_sandbox/merge", merged)
    other = next(one for one in WON[1:] if one["companies"][0]["id"] == COMPANY["id"])

    desk.sync(other["id"])

    asked = next(one for one in desk.unsynced() if one.review is not None)
    assert asked.review is not None
    assert [one.target_id for one in asked.review.candidates] == [made]
    assert {one.cause for one in desk.unsynced()} == {"target-gone-customers"}

    deployment = desk.way.deployment
    decision = Decision(asked.review.digest, Choice.ACCEPT, "ada", desk.way.clock.now(), made)
    operate = Operate(config=deployment.config, links=deployment.links, queue=desk.way.queue, clock=desk.way.clock)
    operate.resolve(TENANT, asked, decision)
    desk.way.pump()

    assert (desk.unsynced(), _link(desk).target_id) == ([], made)
    invoices = desk.books("GET", "/query", query="SELECT * FROM Invoice")["QueryResponse"]["Invoice"]
    assert [invoice["CustomerRef"]["value"] for invoice in invoices] == [made, made]


def test_a_company_below_another_is_a_sub_customer_and_moves_with_it(desk: Desk):
    text = preset("act-quickbooks_online").replace("# parent: {path", "parent: {path")
    desk.way.deployment.config.put_sync(StoredSync(TENANT, "deals-to-invoices", 2, text, desk.way.clock.now()))
    above, further = _others(2)
    path = f"/companies/{COMPANY['id']}"
    desk.edit(path, parentID=above["id"])

    assert desk.sync(DEAL["id"]).parked == 0
    row = _row(desk, COMPANY["name"])
    assert row["FullyQualifiedName"] == f"{_row(desk, above['name'])['FullyQualifiedName']}:{COMPANY['name']}"
    assert (row["Job"], row["BillWithParent"]) == (True, False)
    assert desk.invoice().fields["customer"] == row["Id"]

    for parent, name in ((further["id"], further["name"]), (_NONE, None)):
        desk.edit(path, parentID=parent)
        assert desk.sync(COMPANY["id"], kind=Kind.COMPANY).updated == 1
        reference = _row(desk, COMPANY["name"]).get("ParentRef", {}).get("value")
        assert reference == (_row(desk, name)["Id"] if name is not None else None)


def _row(desk: Desk, name: str) -> dict[str, Any]:
    (row,) = [row for row in _customers(desk) if row["DisplayName"] == name]
    return row


_NONE = "00000000-0000-0000-0000-000000000000"


def _others(count: int) -> list[dict[str, Any]]:
    """Other companies of the data set, each once."""
    found = {one["companies"][0]["id"]: one["companies"][0] for one in WON if one["companies"]}
    del found[COMPANY["id"]]
    return list(found.values())[:count]
