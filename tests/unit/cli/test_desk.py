"""Finding a deployed stack, and the schedules of its connections; against moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tieout.adapters.aws import Clients
from tieout.cli import desk as desk_module
from tieout.cli.desk import Desk, open_desk
from tieout.cli.schedules import NAME_LENGTH_MAX, SchedulesOf, schedule_name
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError

OUTPUTS = {
    "TableName": "tieout-table",
    "ChangesQueueUrl": "https://sqs.example/changes",
    "BackfillQueueUrl": "https://sqs.example/backfill",
    "RetryQueueUrl": "https://sqs.example/retry",
    "SecretsPrefix": "tieout/acme-stack",
    "WebhookUrl": "https://api.example/webhooks/",
    "PollFunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:poll",
    "ScheduleGroup": "acme-stack",
    "SchedulerRoleArn": "arn:aws:iam::123456789012:role/scheduler",
    "PollSchedule": "rate(1 hour)",
    "RetryBaseSeconds": "7",
    "SomethingElse": "is left alone",
}
CONNECTION = Connection("acme", "act", "fake_crm")


@pytest.fixture
def aws(monkeypatch) -> Iterator[Clients]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield Clients(region="eu-west-1")


def deployed(monkeypatch, aws: Clients, outputs: dict[str, str] | None) -> None:
    """Let CloudFormation say that the stack has these outputs, or that there is none."""
    stubber = Stubber(aws.cloudformation)
    if outputs is None:
        stubber.add_client_error("describe_stacks", "ValidationError", "Stack with id tieout does not exist", 400)
    else:
        stack = {
            "StackName": "acme-stack",
            "CreationTime": datetime(2026, 11, 22, tzinfo=UTC),
            "StackStatus": "CREATE_COMPLETE",
            "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()],
        }
        stubber.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "acme-stack"})
    stubber.activate()
    monkeypatch.setattr(desk_module, "Clients", lambda region: aws)  # noqa: ARG005 - as it is called


@pytest.fixture
def desk(monkeypatch, aws) -> Desk:
    deployed(monkeypatch, aws, OUTPUTS)
    aws.scheduler.create_schedule_group(Name="acme-stack")
    return open_desk("acme-stack", "acme")


def kept(aws: Clients, name: str = "acme.act") -> dict[str, object]:
    found = aws.scheduler.get_schedule(Name=name, GroupName="acme-stack")
    return {
        "rate": found["ScheduleExpression"],
        "state": found["State"],
        "function": found["Target"]["Arn"],
        "role": found["Target"]["RoleArn"],
        "input": json.loads(found["Target"]["Input"]),
        "hours": found["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] / 3600,
    }


def test_the_stacks_outputs_are_the_settings(desk):
    settings = desk.deployment.settings
    assert (settings.stack, settings.table, settings.retry_base_seconds) == ("acme-stack", "tieout-table", 7)
    assert settings.backfill_queue_url == "https://sqs.example/backfill"
    assert settings.secrets_prefix == "tieout/acme-stack"
    assert desk.webhook_address(CONNECTION) == "https://api.example/webhooks/acme.act"
    assert desk.poll_default == "rate(1 hour)"


def test_a_stack_that_is_not_there_is_said_plainly(monkeypatch, aws):
    deployed(monkeypatch, aws, None)
    with pytest.raises(SettingsError, match="There is no deployed stack `tieout`") as caught:
        open_desk("tieout", "acme")
    assert "--stack" in caught.value.next_step


@pytest.mark.usefixtures("aws")
def test_a_stack_without_a_name_is_none():
    with pytest.raises(SettingsError, match="There is no deployed stack ``"):
        open_desk("", "acme")


def test_a_stack_of_an_earlier_release_has_no_audit_trail(desk):
    with pytest.raises(SettingsError, match="TIEOUT_AUDIT_BUCKET") as caught:
        desk.deployment.audit()
    assert caught.value.next_step.startswith("Deploy the stack again")


def test_another_programs_stack_is_refused(monkeypatch, aws):
    deployed(monkeypatch, aws, {"BucketName": "pictures"})
    with pytest.raises(SettingsError, match="TIEOUT_TABLE"):
        open_desk("acme-stack", "acme")


def test_a_schedule_is_made_changed_and_left_alone(aws, desk):
    assert desk.schedules.put(CONNECTION, "rate(1 hour)", enabled=False) is True
    assert kept(aws) == {
        "rate": "rate(1 hour)",
        "state": "DISABLED",
        "function": OUTPUTS["PollFunctionArn"],
        "role": OUTPUTS["SchedulerRoleArn"],
        "input": {"tenant": "acme", "connection": "act"},
        "hours": 1,
    }
    assert desk.schedules.put(CONNECTION, "rate(1 hour)", enabled=False) is False
    assert desk.schedules.put(CONNECTION, "rate(5 minutes)", enabled=True) is True
    assert (kept(aws)["rate"], kept(aws)["state"]) == ("rate(5 minutes)", "ENABLED")


def test_a_redeployed_function_is_followed(aws, desk):
    desk.schedules.put(CONNECTION, "rate(1 hour)", enabled=True)
    moved = SchedulesOf(aws.scheduler, group="acme-stack", function_arn="arn:aws:lambda:x:1:function:y", role_arn="r")
    assert moved.put(CONNECTION, "rate(1 hour)", enabled=True) is True
    assert kept(aws)["function"] == "arn:aws:lambda:x:1:function:y"


def test_long_names_are_cut_and_stay_apart(aws, desk):
    one, two = (Connection("t" * 40, f"{'c' * 38}-{number}", "fake_crm") for number in (1, 2))
    names = {schedule_name(one), schedule_name(two)}
    assert len(names) == 2
    assert all(len(name) == NAME_LENGTH_MAX for name in names)
    desk.schedules.put(one, "rate(1 hour)", enabled=True)
    assert kept(aws, schedule_name(one))["input"] == {"tenant": one.tenant, "connection": one.id}
