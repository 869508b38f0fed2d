from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from tests.aws import START
from tieout.adapters.dynamodb.config import DynamoConfig
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ClaimedError
from tieout.ports.state import Run, StoredSync


@pytest.fixture
def config(table):
    return DynamoConfig(table)


ACT = Connection("acme", "act", "act", account="db1", settings={"name": "Größe", "page": 100}, poll="rate(5 minutes)")
BOOKS = Connection(
    "acme",
    "quickbooks",
    "quickbooks_online",
    account="4620",
    state=ConnectionState.PAUSED,
    paused_because="Sign-in was revoked.",
    paused_at=START,
)


def test_nothing_is_there_at_first(config):
    assert config.tenants() == []
    assert config.connections("acme") == []
    assert config.connection("acme", "act") is None
    assert config.connections_of_account("act", "db1") == []
    assert config.syncs("acme") == []
    assert config.cursor("acme", "act", "deal") is None
    assert config.run("acme", "s") is None


def test_connections_come_back_as_they_were(config):
    for connection in (ACT, BOOKS):
        config.put_connection(connection)
    assert config.connection("acme", "act") == ACT
    assert config.connection("acme", "quickbooks") == BOOKS
    assert config.connections("acme") == [ACT, BOOKS]


def test_a_connection_brings_its_tenant_and_no_other_sees_it(config):
    config.put_connection(ACT)
    config.put_connection(replace(ACT, tenant="globex", account="db2"))
    assert config.tenants() == ["acme", "globex"]
    assert config.connections("globex") == [replace(ACT, tenant="globex", account="db2")]


def test_a_replaced_connection_is_resumed(config):
    config.put_connection(BOOKS)
    resumed = replace(BOOKS, state=ConnectionState.ACTIVE, paused_because="", paused_at=None)
    config.put_connection(resumed)
    assert config.connection("acme", "quickbooks") == resumed


def test_connections_are_found_by_account_over_tenants(config):
    twin = replace(ACT, tenant="globex", id="act-2")
    for connection in (ACT, twin, BOOKS, replace(ACT, id="other", account="db9"), replace(ACT, id="none", account="")):
        config.put_connection(connection)
    found = config.connections_of_account("act", "db1")
    assert sorted(found, key=lambda one: one.tenant) == [ACT, twin]


def test_an_account_that_moved_is_no_longer_found(config):
    config.put_connection(ACT)
    config.put_connection(replace(ACT, account="db7"))
    assert config.connections_of_account("act", "db1") == []


def stored(version: int, text: str = "name: s") -> StoredSync:
    return StoredSync("acme", "s", version, text, START)


def test_the_newest_sync_runs_and_former_versions_are_kept(config, clients):
    config.put_sync(stored(1, "first"))
    config.put_sync(stored(2, "second"))
    assert config.syncs("acme") == [stored(2, "second")]
    texts = {item["text"]["S"] for item in clients.dynamodb.scan(TableName="tieout-table")["Items"]}
    assert texts == {"first", "second"}


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_that_is_taken_or_passed_is_refused(config, version):
    config.put_sync(stored(1, "first"))
    config.put_sync(stored(2, "second"))
    with pytest.raises(ClaimedError, match="meanwhile"):
        config.put_sync(stored(version, "late"))
    assert config.syncs("acme") == [stored(2, "second")]


def test_a_skipped_version_below_the_running_one_is_refused_whole(config, clients):
    config.put_sync(stored(5))
    with pytest.raises(ClaimedError):
        config.put_sync(stored(4, "late"))
    texts = {item["text"]["S"] for item in clients.dynamodb.scan(TableName="tieout-table")["Items"]}
    assert "late" not in texts


def test_a_missing_table_is_not_mistaken_for_a_taken_version(config, clients):
    clients.dynamodb.delete_table(TableName="tieout-table")
    with pytest.raises(ClientError):
        config.put_sync(stored(1))


def test_cursors_stand_by_connection_and_name(config):
    config.put_cursor("acme", "act", "deal", "one")
    config.put_cursor("acme", "act", "company", "two")
    config.put_cursor("acme", "act", "deal", "three")
    assert config.cursor("acme", "act", "deal") == "three"
    assert config.cursor("acme", "act", "company") == "two"
    assert config.cursor("globex", "act", "deal") is None
    assert config.cursor("acme", "quickbooks", "deal") is None


def test_the_newest_run_comes_back_as_it_was(config):
    old = Run("acme", "s", "backfill-1", START, {"after": None, "done": 0}, finished_at=START + timedelta(hours=1))
    new = Run("acme", "s", "backfill-0", START + timedelta(days=1), {"after": "d-9", "kinds": ["deal"]}, sync_version=3)
    config.put_run(new)
    config.put_run(old)
    assert config.run("acme", "s") == new
    finished = replace(new, finished_at=START + timedelta(days=2))
    config.put_run(finished)
    assert config.run("acme", "s") == finished


def test_a_run_that_was_stored_before_runs_knew_their_sync_is_of_no_version(config, clients):
    run = Run("acme", "s", "backfill-1", START, {"deal": "2"}, sync_version=3)
    config.put_run(run)
    (item,) = clients.dynamodb.scan(TableName="tieout-table")["Items"]
    del item["sync_version"]
    clients.dynamodb.put_item(TableName="tieout-table", Item=item)
    assert config.run("acme", "s") == replace(run, sync_version=0)
