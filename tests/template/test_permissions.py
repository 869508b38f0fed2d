"""Least privilege: what each role may do, written out, so that a change of it is seen."""

from typing import Any

import pytest

TRACES = {("xray:PutTelemetryRecords", "*"), ("xray:PutTraceSegments", "*")}
SECRETS = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:tieout/${AWS::StackName}/*"
WORKER_ON_TABLE = {
    (f"dynamodb:{action}", "Table.Arn")
    for action in ("BatchGetItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")
}
KEEP_SECRETS = {("secretsmanager:GetSecretValue", SECRETS), ("secretsmanager:PutSecretValue", SECRETS)}
CARRY_PARCELS = {(f"s3:{action}", "${ExchangeBucket.Arn}/bridge/*") for action in ("GetObject", "PutObject")}
LET_WAIT = {("sqs:SendMessage", "RetryQueue.Arn")}
GROUP = "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule-group/${ScheduleGroup}"


def logs(name: str) -> set[tuple[str, str]]:
    return {("logs:CreateLogStream", f"{name}.Arn"), ("logs:PutLogEvents", f"{name}.Arn")}


def takes(*queues: str) -> set[tuple[str, str]]:
    actions = ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage")
    return {(f"sqs:{action}", f"{queue}.Arn") for action in actions for queue in queues}


ALLOWED = {
    "ReceiveWebhookRole": TRACES
    | logs("ReceiveWebhookLogs")
    | {
        ("dynamodb:BatchGetItem", "Table.Arn"),
        ("dynamodb:GetItem", "Table.Arn"),
        ("dynamodb:Query", "${Table.Arn}/index/account"),
        ("secretsmanager:GetSecretValue", SECRETS),
        ("sqs:SendMessage", "ChangesQueue.Arn"),
    },
    "ServeBridgeRole": TRACES
    | logs("ServeBridgeLogs")
    | {(f"dynamodb:{one}", "Table.Arn") for one in ("DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")}
    | KEEP_SECRETS
    | CARRY_PARCELS
    | {
        ("dynamodb:Query", "${Table.Arn}/index/unsynced"),
        ("lambda:InvokeFunction", "PollChanges.Arn"),
        ("sqs:SendMessage", "ChangesQueue.Arn"),
    },
    "PollChangesRole": TRACES
    | logs("PollChangesLogs")
    | WORKER_ON_TABLE
    | KEEP_SECRETS
    | CARRY_PARCELS
    | {("dynamodb:Query", "${Table.Arn}/index/unsynced"), ("sqs:SendMessage", "ChangesQueue.Arn")},
    "ApplyChangesRole": TRACES
    | logs("ApplyChangesLogs")
    | WORKER_ON_TABLE
    | KEEP_SECRETS
    | CARRY_PARCELS
    | LET_WAIT
    | takes("ChangesQueue", "BackfillQueue"),
    "RetryChangesRole": TRACES
    | logs("RetryChangesLogs")
    | WORKER_ON_TABLE
    | KEEP_SECRETS
    | CARRY_PARCELS
    | LET_WAIT
    | takes("RetryQueue"),
    "ParkChangeRole": TRACES
    | logs("ParkChangeLogs")
    | {
        ("dynamodb:BatchGetItem", "Table.Arn"),
        ("dynamodb:PutItem", "Table.Arn"),
        ("dynamodb:Query", "Table.Arn"),
        ("dynamodb:UpdateItem", "Table.Arn"),
    }
    | LET_WAIT
    | takes("ChangesDeadLetterQueue"),
    "ImportFileRole": TRACES
    | logs("ImportFileLogs")
    | {
        (f"dynamodb:{action}", "Table.Arn")
        for action in ("BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query")
    }
    | {
        ("s3:GetObject", "${ExchangeBucket.Arn}/inbox/*"),
        ("s3:ListBucket", "ExchangeBucket.Arn"),
        ("s3:PutObject", "${ExchangeBucket.Arn}/outbox/*"),
        ("s3:DeleteObject", "${ExchangeBucket.Arn}/work/*"),
        ("s3:GetObject", "${ExchangeBucket.Arn}/work/*"),
        ("s3:PutObject", "${ExchangeBucket.Arn}/work/*"),
        ("sqs:SendMessage", "FilesQueue.Arn"),
        ("sqs:SendMessage", "ChangesQueue.Arn"),
        ("sqs:SendMessage", "BackfillQueue.Arn"),
    }
    | takes("FilesQueue"),
    "SendAlertsRole": TRACES
    | logs("SendAlertsLogs")
    | {
        ("dynamodb:DeleteItem", "Table.Arn"),
        ("dynamodb:GetItem", "Table.Arn"),
        ("dynamodb:PutItem", "Table.Arn"),
        ("dynamodb:Query", "Table.Arn"),
        ("dynamodb:Query", "${Table.Arn}/index/unsynced"),
        ("sns:Publish", "AlertTopic"),
        ("kms:Decrypt", "AlertKey.Arn"),
        ("kms:GenerateDataKey", "AlertKey.Arn"),
    },
    "ArchiveAuditRole": TRACES
    | logs("ArchiveAuditLogs")
    | {
        ("dynamodb:DescribeStream", "${Table.Arn}/stream/*"),
        ("dynamodb:GetRecords", "${Table.Arn}/stream/*"),
        ("dynamodb:GetShardIterator", "${Table.Arn}/stream/*"),
        ("dynamodb:ListStreams", "${Table.Arn}/stream/*"),
        ("dynamodb:GetItem", "Table.Arn"),
        ("dynamodb:PutItem", "Table.Arn"),
        ("s3:GetObject", "${AuditBucket.Arn}/audit/*"),
        ("s3:PutObject", "${AuditBucket.Arn}/audit/*"),
        ("s3:ListBucket", "AuditBucket.Arn"),
        ("sqs:SendMessage", "LostQueue.Arn"),
    },
    "SchedulerRole": {("lambda:InvokeFunction", "PollChanges.Arn"), ("lambda:InvokeFunction", "SendAlerts.Arn")},
}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def granted(role: dict[str, Any]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            assert not {"NotAction", "NotResource"} & set(statement)
            found |= {(a, r) for a in as_list(statement["Action"]) for r in as_list(statement["Resource"])}
    return found


def test_every_role_is_in_the_table(of_type):
    assert set(of_type("AWS::IAM::Role")) == set(ALLOWED)
    assert not of_type("AWS::IAM::Policy")
    assert not of_type("AWS::IAM::ManagedPolicy")


@pytest.mark.parametrize("name", ALLOWED)
def test_a_role_may_do_exactly_this(of_type, name):
    role = of_type("AWS::IAM::Role")[name]
    assert granted(role) == ALLOWED[name]
    assert "ManagedPolicyArns" not in role


def test_nothing_but_traces_is_allowed_on_everything(of_type):
    everything = {right for role in of_type("AWS::IAM::Role").values() for right in granted(role) if right[1] == "*"}
    assert everything == TRACES


def test_no_action_is_a_pattern(of_type):
    assert not [a for role in of_type("AWS::IAM::Role").values() for a, _ in granted(role) if "*" in a]


def test_each_function_has_a_role_of_its_own(of_type):
    functions = of_type("AWS::Lambda::Function")
    assert {name: one["Role"] for name, one in functions.items()} == {name: f"{name}Role.Arn" for name in functions}


def test_only_lambda_and_the_own_scheduler_take_roles_on(of_type):
    for name, role in of_type("AWS::IAM::Role").items():
        [statement] = role["AssumeRolePolicyDocument"]["Statement"]
        if name == "SchedulerRole":
            assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
            assert statement["Condition"] == {
                "StringEquals": {"aws:SourceAccount": "AWS::AccountId", "aws:SourceArn": GROUP}
            }
        else:
            assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_only_their_routes_may_invoke_the_functions_behind_the_api(of_type):
    permissions = of_type("AWS::Lambda::Permission").values()
    assert {(one["FunctionName"], one["SourceArn"].rpartition(":")[2]) for one in permissions} == {
        ("ReceiveWebhook", "${Api}/*/POST/webhooks/*"),
        ("ServeBridge", "${Api}/*/POST/bridge/*"),
        ("ServeBridge", "${Api}/*/*/webconnector/*"),
    }


def test_queues_and_topic_refuse_what_is_not_encrypted_on_the_way(of_type):
    policies = [*of_type("AWS::SQS::QueuePolicy").values(), *of_type("AWS::SNS::TopicPolicy").values()]
    refused = set()
    for policy in policies:
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":
                assert statement["Principal"] == "*"
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                [target] = policy.get("Queues") or policy["Topics"]
                assert statement["Resource"] in {target, f"{target}.Arn"}
                assert statement["Action"] in {"sqs:*", "sns:Publish"}
                refused.add(target)
    assert refused == {*of_type("AWS::SQS::Queue"), "AlertTopic"}


def test_the_audit_trail_can_only_be_added_to_and_only_over_tls(of_type):
    policy = of_type("AWS::S3::BucketPolicy")["AuditBucketPolicy"]
    everything = "${AuditBucket.Arn}/*"
    assert {one["Sid"]: one for one in policy["PolicyDocument"]["Statement"]} == {
        "TlsOnly": {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": ["AuditBucket.Arn", everything],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        # Source: Amazon S3 User Guide, "Enforce conditional writes on Amazon S3 buckets", read 2026-11-22.
        "NothingIsOverwritten": {
            "Sid": "NothingIsOverwritten",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": everything,
            "Condition": {"Null": {"s3:if-none-match": "true"}},
        },
        "NothingIsDeleted": {
            "Sid": "NothingIsDeleted",
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
            "Resource": everything,
        },
    }


def test_files_only_travel_over_tls(of_type):
    [statement] = of_type("AWS::S3::BucketPolicy")["ExchangeBucketPolicy"]["PolicyDocument"]["Statement"]
    assert statement == {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["ExchangeBucket.Arn", "${ExchangeBucket.Arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_only_buckets_of_the_account_may_tell_of_files(of_type):
    allowed = {
        name: one
        for name, policy in of_type("AWS::SQS::QueuePolicy").items()
        for one in policy["PolicyDocument"]["Statement"]
        if one["Effect"] == "Allow"
    }
    assert allowed == {
        "FilesQueuePolicy": {
            "Sid": "BucketsOfTheAccountMayTell",
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": "FilesQueue.Arn",
            "Condition": {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}},
        }
    }


def test_outside_the_account_only_alarms_may_publish(of_type):
    [policy] = of_type("AWS::SNS::TopicPolicy").values()
    allowed = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    assert [(one["Principal"], one["Action"]) for one in allowed] == [
        ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    ]
    assert allowed[0]["Condition"] == {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}}


def test_alarms_can_use_the_topics_key(of_type):
    [key] = of_type("AWS::KMS::Key").values()
    [alarms] = [one for one in key["KeyPolicy"]["Statement"] if one["Sid"] == "AlarmsMayUseIt"]
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert set(alarms["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}
    assert key["EnableKeyRotation"] is True
