"""The deployed stack, once for all end-to-end tests."""

import pytest

from tieout_sandbox.local_aws import LocalAws


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    with LocalAws(folder=tmp_path_factory.mktemp("local-aws"), authorize=True) as running:
        yield running


@pytest.fixture(scope="session")
def stack(aws):
    return aws.deploy("tieout-e2e", {"WorkerTimeoutSeconds": "10", "VisibilityTimeoutSeconds": "10"})
