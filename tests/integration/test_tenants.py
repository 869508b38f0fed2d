"""Two tenants whose connections, syncs and records have equal names, on the real stores and connectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.whole_way import SYNC, TENANT, WholeWay, whole_way
from tieout.domain.changes import Change, Origin
from tieout.domain.connections import ConnectionState
from tieout.domain.errors import ReconnectError
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind
from tieout.engine.ends import pause
from tieout.engine.operate import Operate
from tieout_sandbox import dataset

RAISED = {"requests_per_minute": 60_000, "requests_per_second": 60_000, "batches_per_minute": 60_000}
OTHER = "globex"
DEAL = next(deal["id"] for deal in dataset.read().opportunities if deal["status"] == "Won")


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeWay]:
    with whole_way(monkeypatch, **RAISED) as one:
        one.connect(**RAISED)
        config, secrets = one.deployment.config, one.deployment.secrets
        for connection in config.connections(TENANT):
            config.put_connection(replace(connection, tenant=OTHER))
            secrets.write(OTHER, connection.id, secrets.read(TENANT, connection.id))
        for sync in config.syncs(TENANT):
            config.put_sync(replace(sync, tenant=OTHER))
        yield one


def sync(way: WholeWay, *tenants: str) -> None:
    now = way.clock.now()
    way.queue.send([Change(tenant, "act", Kind.DEAL, DEAL, now, Origin.POLL) for tenant in tenants])
    way.pump()


def test_what_one_tenant_did_is_unknown_to_the_other(way: WholeWay):
    sync(way, TENANT)

    links = way.deployment.links
    keys = {tenant: LinkKey(tenant, SYNC, "invoices", DEAL) for tenant in (TENANT, OTHER)}
    assert list(links.get(list(keys.values()))) == [keys[TENANT]]
    assert list(links.all(OTHER, SYNC, "invoices")) == []
    assert links.by_reference(OTHER, SYNC, "invoices", [keys[TENANT].reference]) == {}
    assert way.deployment.budget.read_budget(OTHER, "quickbooks") == ({}, 0)


def test_what_is_parked_and_told_of_one_tenant_stays_with_it(way: WholeWay):
    """Both write into one company here, so the second tenant's invoice has a number that is taken."""
    sync(way, TENANT)
    sync(way, OTHER)

    deployment = way.deployment
    assert {one.code for one in deployment.links.unsynced(OTHER)} == {"6140"}
    assert list(deployment.links.unsynced(TENANT)) == []
    assert {alert.tenant for alert in deployment.alerts.pending(OTHER)} == {OTHER}
    assert list(deployment.alerts.pending(TENANT)) == []
    operate = Operate(config=deployment.config, links=deployment.links, queue=way.queue, clock=way.clock)
    assert [operate.dismiss(tenant, operate.parked(tenant)) for tenant in (TENANT, OTHER)] == [0, 1]


def test_connection_that_is_paused_stops_its_own_tenant_only(way: WholeWay):
    deployment = way.deployment
    connection = deployment.config.connection(OTHER, "quickbooks")
    assert connection is not None
    pause(deployment.config, deployment.alerts, way.clock, connection, ReconnectError("The sign-in was revoked."))
    now = way.clock.now()

    report = deployment.apply_changes().apply(
        [Change(tenant, "act", Kind.DEAL, DEAL, now, Origin.POLL) for tenant in (OTHER, TENANT)]
    )

    states = [deployment.config.connection(tenant, "quickbooks") for tenant in (TENANT, OTHER)]
    assert [one.state for one in states if one is not None] == [ConnectionState.ACTIVE, ConnectionState.PAUSED]
    assert (way.summary()["invoices"], report.parked) == (1, 0)
    assert {change.tenant for _, change in way.queue.later} == {OTHER}
