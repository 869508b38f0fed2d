"""Two deployments, once for all end-to-end tests: one as it is after deploying, and one with both systems connected."""

import pytest

from tests.e2e.deployed import connect
from tieout_sandbox.local_aws import LocalAws
from tieout_sandbox.simulators.act.side import Act
from tieout_sandbox.simulators.quickbooks_online.side import QuickBooksOnline
from tieout_sandbox.stage import Stage


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    with LocalAws(folder=tmp_path_factory.mktemp("local-aws"), authorize=True) as running:
        yield running


@pytest.fixture(scope="session")
def stack(aws):
    return aws.deploy("tieout-e2e", {"WorkerTimeoutSeconds": "10", "VisibilityTimeoutSeconds": "10"})


@pytest.fixture(scope="session")
def deployed(tmp_path_factory):
    """Act! and QuickBooks Online connected; nothing runs by itself within the hour of the tests but alerts."""
    parameters = {"WorkerTimeoutSeconds": "10", "VisibilityTimeoutSeconds": "10", "PollSchedule": "rate(1 day)"}
    folder = tmp_path_factory.mktemp("stage")
    sides = (Act(), QuickBooksOnline())
    with Stage(*sides, say=lambda _line: None, parameters=parameters, folder=folder, authorize=True) as stage:
        one = connect(stage)
        yield one
        assert one.refusals() == [], "a role lacks a right that its function needs"
