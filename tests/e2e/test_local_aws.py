"""The local AWS itself: it starts, ends without a trace, and says what is missing."""

import os

import pytest

from tieout_sandbox.local_aws import LocalAws, LocalAwsError

pytestmark = pytest.mark.e2e


def test_it_ends_with_all_its_workers_and_files(tmp_path):
    with LocalAws(folder=tmp_path) as aws:
        assert aws.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
        group = aws._process.pid
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    assert [one.name for one in tmp_path.iterdir()] == ["emulator.log"]


def test_two_of_them_do_not_meet(tmp_path):
    with LocalAws(folder=tmp_path) as one, LocalAws(folder=tmp_path) as other:
        one.client("sqs").create_queue(QueueName="mine")
        assert not other.client("sqs").list_queues().get("QueueUrls")


def test_a_tool_that_is_missing_is_named_with_what_to_do(tmp_path):
    with (
        pytest.raises(LocalAwsError, match=r"ministack is not installed .* Run `make setup`"),
        LocalAws(tools=tmp_path),
    ):
        pytest.fail("it started")
