from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.aws import START, TABLE
from tests.unit.adapters.samples import SYNC, TENANT, intent, key, settled, unsynced
from tieout.adapters.dynamodb.audit import DynamoTips, noticed_of, tenant_of
from tieout.adapters.dynamodb.config import DynamoConfig
from tieout.adapters.dynamodb.links import DynamoLinks
from tieout.adapters.dynamodb.table import Key
from tieout.domain.audit import Tip
from tieout.domain.connections import Connection
from tieout.domain.links import Link
from tieout.ports.audit import PlanItem
from tieout.ports.state import Run, StoredSync

EVENT = json.loads((Path(__file__).parents[3] / "events" / "archive_audit.json").read_text())


def record(old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any]:
    """As the stream tells of an item; its form is that of `events/archive_audit.json`."""
    item = new or old or {}
    told = {
        "ApproximateCreationDateTime": START.timestamp(),
        "Keys": {name: item[name] for name in ("pk", "sk")},
        "SequenceNumber": "400",
    }
    told |= {"NewImage": new} if new else {}
    told |= {"OldImage": old} if old else {}
    return {**EVENT["Records"][0], "dynamodb": told}


@pytest.fixture
def stored(clients):
    """The only item of a partition, as DynamoDB has it."""

    def look(pk: str) -> dict[str, Any]:
        [item] = clients.dynamodb.query(
            TableName=TABLE, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": pk}}
        )["Items"]
        return dict(item)

    return look


def test_a_stored_link_is_told_as_it_is(table, stored):
    links = DynamoLinks(table)
    link = links.claim(Link(key()), intent("w1"))
    claimed = stored(f"{TENANT}#link#{SYNC}")
    done = links.settle(settled(link), worker="w1", pointer=False)
    links.set_unsynced(done.key, unsynced())
    noticed = noticed_of(record(claimed, stored(f"{TENANT}#link#{SYNC}")))
    assert (noticed.before, noticed.after) == (link, replace(done, unsynced=unsynced()))
    assert (noticed.tenant, noticed.event) == (TENANT, EVENT["Records"][0]["eventID"])
    assert abs(noticed.at - START) < timedelta(milliseconds=1)


def test_a_link_that_was_only_ever_parked(table, stored):
    DynamoLinks(table).set_unsynced(key(), unsynced())
    item = stored(f"{TENANT}#link#{SYNC}")
    assert noticed_of(record(None, item)).after == Link(key(), unsynced=unsynced())
    assert noticed_of(record(item, None)).after is None


def test_connections_syncs_and_runs(table, stored):
    config = DynamoConfig(table)
    connection = Connection(TENANT, "act", "act", settings={"database": "Demo"})
    sync = StoredSync(TENANT, SYNC, 1, "steps: []", START)
    run = Run(TENANT, SYNC, "backfill-1", START, {"page": 2}, START)
    config.put_connection(connection)
    config.put_sync(sync)
    config.put_run(run)
    for pk, item in ((f"{TENANT}#connection", connection), (f"{TENANT}#sync", sync), (f"{TENANT}#run#{SYNC}", run)):
        assert noticed_of(record(None, stored(pk))).after == item
    assert noticed_of(record(None, stored(f"{TENANT}#sync_version"))) is None
    assert noticed_of(record(None, stored("tieout#tenants"))) is None


def test_plans_are_kept_as_they_stand():
    item = {"pk": {"S": "acme#plan"}, "sk": {"S": "plan-1"}, "state": {"S": "approved"}}
    assert noticed_of(record(None, item)).after == PlanItem("acme", "plan-1", {"state": "approved"})


@pytest.mark.parametrize("kind", ["budget", "lease", "cursor#act", "alert", "alert_window", "audit", "target#s"])
def test_what_does_not_belong_into_the_trail(kind):
    item = {"pk": {"S": f"acme#{kind}"}, "sk": {"S": "x"}, "source_id": {"S": "d1"}}
    assert noticed_of(record(None, item)) is None


def test_an_item_that_is_not_of_our_form_is_an_error():
    item = {"pk": {"S": "acme#connection"}, "sk": {"S": "x"}}
    with pytest.raises(KeyError):
        noticed_of(record(None, item))


def test_the_sample_event():
    noticed = [noticed_of(one) for one in EVENT["Records"]]
    assert [None if one is None else type(one.after).__name__ for one in noticed] == [
        "Link",
        None,
        "Link",
        "Connection",
    ]
    assert {tenant_of(one) for one in EVENT["Records"]} == {"acme"}


def test_a_tip_only_goes_forward(table):
    tips = DynamoTips(table)
    assert tips.tip("acme") is None
    for seq in (3, 7, 5):
        tips.advance("acme", Tip(seq, f"hash-{seq}"))
    assert tips.tip("acme") == Tip(7, "hash-7")
    assert tips.tip("other") is None
    assert table.get(Key("acme#audit", "tip"))["seq"] == 7
