"""The template as it is, deployed with SAM into the local AWS: every route answers, every function runs."""

import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.e2e

WAIT_SECONDS_MAX = 20
# One event that each function answers without any connection set up, and the answer.
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ServeBridge": (
        {"pathParameters": {"connection": "nobody"}},
        {
            "statusCode": 404,
            "headers": {"Content-Type": "application/json", "Cache-Control": "no-store"},
            "body": '{"error": "unknown_call", "message": "There is no such address."}',
            "isBase64Encoded": False,
        },
    ),
    "PollChanges": ({"sweep": True}, {"asked": 0, "queued": 0}),
    "ApplyChanges": ({"Records": []}, {"batchItemFailures": []}),
    "RetryChanges": ({"Records": []}, {"batchItemFailures": []}),
    "ParkChange": ({"Records": []}, {"batchItemFailures": []}),
    "ImportFile": ({"Records": []}, {"batchItemFailures": []}),
    "SendAlerts": ({}, {"sent": 0, "gathering": 0}),
    "ArchiveAudit": ({"Records": []}, {"batchItemFailures": []}),
}


@pytest.fixture(scope="module")
def names(aws, stack):
    """Names of the functions by logical id."""
    found = aws.client("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
    return {
        one["LogicalResourceId"]: one["PhysicalResourceId"]
        for one in found
        if one["ResourceType"] == "AWS::Lambda::Function"
    }


def invoke(aws, name, event):
    answer = aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    return answer.get("FunctionError"), json.loads(answer["Payload"].read() or "null")


def call(aws, method, url, body=b"{}"):
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": "application/json"})
    context = ssl.create_default_context(cafile=aws.certificate)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS_MAX, context=context) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_every_function_is_called_here(names):
    assert set(names) == {*CALLS, "ReceiveWebhook"}


@pytest.mark.parametrize("logical_id", CALLS)
def test_a_function_runs_with_the_layers_and_settings_it_was_given(aws, names, logical_id):
    event, expected = CALLS[logical_id]
    error, answer = invoke(aws, names[logical_id], event)
    assert error is None, answer
    assert answer == expected


def test_the_webhook_route_answers(aws, stack):
    assert call(aws, "POST", stack.outputs["WebhookUrl"] + "nobody.nothing") == 404


def test_every_route_of_the_api_is_deployed_and_no_other(aws, stack):
    routes = aws.client("apigatewayv2").get_routes(ApiId=stack.outputs["ApiId"])["Items"]
    assert sorted(route["RouteKey"] for route in routes) == [
        "GET /webconnector/{connection}",
        "POST /bridge/{connection}/{call}",
        "POST /webconnector/{connection}",
        "POST /webhooks/{connection}",
    ]
    bridge = stack.outputs["BridgeUrl"]
    assert call(aws, "POST", f"{bridge}/bridge/nobody.nothing/lease") == 403
    assert call(aws, "POST", f"{bridge}/webconnector/nobody.nothing") == 500, "a SOAP fault"
    assert call(aws, "GET", f"{bridge}/webconnector/nobody.nothing", None) == 200
    assert call(aws, "GET", stack.outputs["WebhookUrl"] + "nobody.nothing", None) in {404, 405}


def test_a_body_that_is_too_large_is_refused(aws, stack):
    assert call(aws, "POST", stack.outputs["WebhookUrl"] + "nobody.nothing", b"x" * (256 * 1024 + 1)) in {404, 413}


def test_a_crash_is_visible(aws, names):
    error, answer = invoke(aws, names["ApplyChanges"], {"Records": [{}]})
    assert error == "Unhandled"
    assert answer["errorMessage"].startswith("apply_changes failed with KeyError")


def test_a_role_without_its_rights_is_refused(aws, stack, names):
    """The control of all others here: what they do, they do with the rights of the function's own role."""
    iam = aws.client("iam")
    own = f"{stack.name}-SendAlertsRole-"
    [role] = [one["RoleName"] for one in iam.list_roles()["Roles"] if one["RoleName"].startswith(own)]
    policy = {"RoleName": role, "PolicyName": "send_alerts"}
    document = json.dumps(iam.get_role_policy(**policy)["PolicyDocument"])
    iam.delete_role_policy(**policy)
    try:
        error, answer = invoke(aws, names["SendAlerts"], {})
    finally:
        iam.put_role_policy(**policy, PolicyDocument=document)
    assert error == "Unhandled", answer


def test_a_queued_message_reaches_the_worker(aws, stack):
    queue = aws.client("sqs")
    url = stack.outputs["ChangesQueueUrl"]
    queue.send_message(QueueUrl=url, MessageBody="not a change")
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    while time.monotonic() < deadline:
        counts = queue.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        if counts["ApproximateNumberOfMessages"] == "0":
            return
        time.sleep(0.1)
    pytest.fail("nobody took the message")


def test_what_the_emulator_drops_is_set_by_the_api(aws, stack):
    found = aws.client("dynamodb").describe_time_to_live(TableName=stack.outputs["TableName"])
    assert found["TimeToLiveDescription"]["AttributeName"] == "expires_at"


def test_an_alert_arrives_in_the_mailbox(aws, stack):
    aws.client("sns").publish(TopicArn=stack.outputs["AlertTopicArn"], Subject="Tieout", Message="Something is wrong.")
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    mails: list[str] = []
    while not mails and time.monotonic() < deadline:
        mails = aws.read_mail(stack)
    assert "Something is wrong." in mails[0]


def test_a_connections_schedule_can_be_made_in_the_group(aws, stack):
    scheduler = aws.client("scheduler")
    scheduler.create_schedule(
        Name="tenant.connection",
        GroupName=stack.outputs["ScheduleGroup"],
        ScheduleExpression=stack.outputs["PollSchedule"],
        FlexibleTimeWindow={"Mode": "OFF"},
        State="DISABLED",
        Target={"Arn": stack.outputs["PollFunctionArn"], "RoleArn": stack.outputs["SchedulerRoleArn"], "Input": "{}"},
    )
    found = scheduler.list_schedules(GroupName=stack.outputs["ScheduleGroup"])["Schedules"]
    assert {one["Name"] for one in found} == {"PollChangesSweep", "SendAlertsEachMinute", "tenant.connection"}


def test_it_listens_on_this_machine_only(aws):
    assert urlsplit(aws.endpoint).hostname == "127.0.0.1"
