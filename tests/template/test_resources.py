"""What the local AWS drops silently, and what must not change unseen."""

import json
from typing import Any

import pytest

from tests.template.conftest import ROOT

QUEUES = {
    "ChangesQueue": "ChangesDeadLetterQueue",
    "BackfillQueue": "ChangesDeadLetterQueue",
    "RetryQueue": "ChangesDeadLetterQueue",
    "FilesQueue": "FilesDeadLetterQueue",
    "FilesDeadLetterQueue": None,
    "ChangesDeadLetterQueue": "LostQueue",
    "LostQueue": None,
}
ALWAYS = {
    "TIEOUT_STACK",
    "TIEOUT_TABLE",
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_LOG_LEVEL",
}
WORKER = {
    "TIEOUT_EXCHANGE_BUCKET",
    "TIEOUT_RETRY_QUEUE_URL",
    "TIEOUT_SECRETS_PREFIX",
    "TIEOUT_RETRY_BASE_SECONDS",
    "TIEOUT_WORKER_TIMEOUT_SECONDS",
}
VARIABLES = {
    "ReceiveWebhook": {"TIEOUT_CHANGES_QUEUE_URL", "TIEOUT_SECRETS_PREFIX"},
    "ServeBridge": {
        "TIEOUT_CHANGES_QUEUE_URL",
        "TIEOUT_EXCHANGE_BUCKET",
        "TIEOUT_POLL_FUNCTION_ARN",
        "TIEOUT_SECRETS_PREFIX",
    },
    "PollChanges": {
        "TIEOUT_CHANGES_QUEUE_URL",
        "TIEOUT_EXCHANGE_BUCKET",
        "TIEOUT_SECRETS_PREFIX",
        "TIEOUT_WORKER_TIMEOUT_SECONDS",
    },
    "ApplyChanges": WORKER,
    "RetryChanges": WORKER,
    "ParkChange": {"TIEOUT_RETRY_QUEUE_URL"},
    "ImportFile": {
        "TIEOUT_CHANGES_QUEUE_URL",
        "TIEOUT_BACKFILL_QUEUE_URL",
        "TIEOUT_FILES_QUEUE_URL",
        "TIEOUT_EXCHANGE_BUCKET",
        "TIEOUT_WORKER_TIMEOUT_SECONDS",
    },
    "SendAlerts": {"TIEOUT_ALERT_TOPIC_ARN"},
    "ArchiveAudit": {"TIEOUT_AUDIT_BUCKET"},
}
TIMEOUTS = {
    "ReceiveWebhook": 5,
    "ServeBridge": 29,
    "PollChanges": "WorkerTimeoutSeconds",
    "ApplyChanges": "WorkerTimeoutSeconds",
    "RetryChanges": "WorkerTimeoutSeconds",
    "ParkChange": 30,
    "ImportFile": "WorkerTimeoutSeconds",
    "SendAlerts": 50,
    "ArchiveAudit": 60,
}
# function, queue: messages a call, calls at a time
EVENT_SOURCES = {
    ("ApplyChanges", "ChangesQueue"): (10, 5),
    ("ApplyChanges", "BackfillQueue"): (10, 2),
    ("RetryChanges", "RetryQueue"): (10, 2),
    ("ParkChange", "ChangesDeadLetterQueue"): (10, 2),
    ("ImportFile", "FilesQueue"): (1, 2),
}


@pytest.fixture
def table(of_type):
    return of_type("AWS::DynamoDB::Table")["Table"]


@pytest.fixture
def sources(of_type):
    """What listens to queues."""
    every = of_type("AWS::Lambda::EventSourceMapping").values()
    return [one for one in every if one["EventSourceArn"] != "Table.StreamArn"]


@pytest.fixture
def functions(of_type):
    return of_type("AWS::Lambda::Function")


def test_the_table_is_encrypted_restorable_and_hard_to_delete(resources, table):
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert (resources["Table"]["DeletionPolicy"], resources["Table"]["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_table_grows_with_use_forgets_on_time_and_streams(table):
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_the_tables_keys(table):
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [("pk", "HASH"), ("sk", "RANGE")]
    indexes = {
        index["IndexName"]: ([key["AttributeName"] for key in index["KeySchema"]], index["Projection"])
        for index in table["GlobalSecondaryIndexes"]
    }
    assert indexes == {
        "unsynced": (["unsynced_pk", "unsynced_sk"], {"ProjectionType": "ALL"}),
        "account": (["account_pk", "sk"], {"ProjectionType": "KEYS_ONLY"}),
    }


def test_every_queue_is_encrypted_keeps_14_days_and_knows_where_dead_letters_go(of_type):
    queues = of_type("AWS::SQS::Queue")
    assert set(queues) == set(QUEUES)
    for name, queue in queues.items():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
        dead_letters = QUEUES[name]
        # Messages may bring their count along: the second dead-letter queue begins where the first one ended.
        tries = 10 if dead_letters == "LostQueue" else 5
        expected = dead_letters and {"deadLetterTargetArn": f"{dead_letters}.Arn", "maxReceiveCount": tries}
        assert queue.get("RedrivePolicy") == expected


def test_a_message_comes_back_only_after_its_worker_is_surely_dead(template, of_type, functions, sources):
    defaults = {name: one["Default"] for name, one in template["Parameters"].items()}
    queues = of_type("AWS::SQS::Queue")
    for source in sources:
        visible = queues[source["EventSourceArn"].removesuffix(".Arn")]["VisibilityTimeout"]
        timeout = functions[source["FunctionName"]]["Timeout"]
        # Six times, as AWS advises. Source: Lambda developer guide, "Using Lambda with Amazon SQS".
        assert defaults.get(visible, visible) >= 6 * defaults.get(timeout, timeout)


def test_event_sources_report_failed_messages_one_by_one_and_are_bounded(sources):
    found = {}
    for source in sources:
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert source.get("MaximumBatchingWindowInSeconds", 0) == 0
        queue = source["EventSourceArn"].removesuffix(".Arn")
        found[source["FunctionName"], queue] = (source["BatchSize"], source["ScalingConfig"]["MaximumConcurrency"])
    assert found == EVENT_SOURCES


@pytest.fixture
def stream(of_type):
    """What listens to the table's stream."""
    every = of_type("AWS::Lambda::EventSourceMapping").values()
    [found] = [one for one in every if one["EventSourceArn"] == "Table.StreamArn"]
    return found


def test_the_table_streams_to_the_audit_trail_from_the_beginning_in_order_and_not_for_ever(stream):
    """The local AWS ignores the last four."""
    assert stream["FunctionName"] == "ArchiveAudit"
    assert stream["StartingPosition"] == "TRIM_HORIZON"
    assert stream["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert stream.get("ParallelizationFactor", 1) == 1  # an item's changes stay in order
    assert stream["BisectBatchOnFunctionError"] is True
    assert (stream["MaximumRetryAttempts"], stream["MaximumRecordAgeInSeconds"]) == (10000, 12 * 60 * 60)
    assert stream["DestinationConfig"]["OnFailure"]["Destination"] == "LostQueue.Arn"
    assert (stream["BatchSize"], stream["MaximumBatchingWindowInSeconds"]) == (500, 10)


def matches(record: Any, pattern: Any) -> bool:
    """What Lambda does with the patterns that are used here.

    Source: Lambda developer guide, "Control which events Lambda sends to your function", read 2026-11-22.
    """
    if isinstance(pattern, dict):
        return all(isinstance(record, dict) and matches(record.get(name), one) for name, one in pattern.items())
    for one in pattern:
        assert one == {"exists": True} or set(one) == {"suffix"}
    return record is not None and any("exists" in one or record.endswith(one["suffix"]) for one in pattern)


ITEM = {"sk": {"S": "x"}}
LINK = ITEM | {"pk": {"S": "acme#link#s"}, "source_id": {"S": "d1"}}
RUN = ITEM | {"pk": {"S": "acme#run#s"}, "checkpoint": {"S": "{}"}}


@pytest.mark.parametrize(
    ("old", "new", "starts"),
    [
        (None, LINK, True),
        (LINK, LINK, True),
        (LINK, None, True),
        (None, RUN, True),
        (RUN, None, True),
        (None, ITEM | {"pk": {"S": "acme#connection"}}, True),
        (None, ITEM | {"pk": {"S": "acme#sync"}}, True),
        (ITEM | {"pk": {"S": "acme#plan"}}, None, True),
        (None, ITEM | {"pk": {"S": "acme#sync_version"}}, False),
        (None, ITEM | {"pk": {"S": "acme#budget"}, "revision": {"N": "1"}}, False),
        (None, ITEM | {"pk": {"S": "acme#lease"}}, False),
        (None, ITEM | {"pk": {"S": "acme#cursor#act"}, "cursor": {"S": "c"}}, False),
        (None, ITEM | {"pk": {"S": "acme#alert"}, "alert": {"S": "{}"}}, False),
        (None, ITEM | {"pk": {"S": "acme#bridge#sync#jobs"}, "body": {"S": "{}"}}, False),
        (None, ITEM | {"pk": {"S": "acme#installation"}, "revision": {"N": "1"}}, False),
        (None, ITEM | {"pk": {"S": "acme#audit"}, "seq": {"N": "1"}}, False),  # otherwise it would feed itself
    ],
)
def test_only_what_belongs_into_the_trail_starts_its_function(stream, old, new, starts):
    patterns = [json.loads(one["Pattern"]) for one in stream["FilterCriteria"]["Filters"]]
    assert len(patterns) <= 5  # Lambda's quota
    item = new or old
    told = {"Keys": {name: item[name] for name in ("pk", "sk")}}
    told |= {"NewImage": new} if new else {}
    told |= {"OldImage": old} if old else {}
    assert any(matches({"dynamodb": told}, one) for one in patterns) is starts


@pytest.mark.parametrize("name", ["AuditBucket", "ExchangeBucket"])
def test_a_bucket_is_encrypted_private_and_kept(resources, of_type, name):
    bucket = of_type("AWS::S3::Bucket")[name]
    [encryption] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption == {"BucketKeyEnabled": True, "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    kept = resources[name]
    assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_only_what_is_kept_for_ever_has_versions(of_type):
    versioned = {name for name, one in of_type("AWS::S3::Bucket").items() if "VersioningConfiguration" in one}
    assert versioned == {"AuditBucket"}
    assert of_type("AWS::S3::Bucket")["AuditBucket"]["VersioningConfiguration"] == {"Status": "Enabled"}


def test_what_goes_to_an_office_and_back_is_gone_in_a_day(of_type):
    rules = of_type("AWS::S3::Bucket")["ExchangeBucket"]["LifecycleConfiguration"]["Rules"]
    assert [one["ExpirationInDays"] for one in rules if one["Prefix"] == "bridge/"] == [1]


def test_what_people_drop_and_its_results_are_kept_as_long_as_was_asked(of_type):
    rules = of_type("AWS::S3::Bucket")["ExchangeBucket"]["LifecycleConfiguration"]["Rules"]
    kept = {one["Prefix"]: one["ExpirationInDays"] for one in rules}
    assert kept == {"inbox/": "FileRetentionDays", "outbox/": "FileRetentionDays", "work/": 7, "bridge/": 1}
    assert {one["Status"] for one in rules} == {"Enabled"}


def test_the_bucket_tells_of_what_is_dropped_and_of_nothing_else(resources, of_type):
    told = of_type("AWS::S3::Bucket")["ExchangeBucket"]["NotificationConfiguration"]
    inbox = {"S3Key": {"Rules": [{"Name": "prefix", "Value": "inbox/"}]}}
    assert told == {
        "QueueConfigurations": [{"Event": "s3:ObjectCreated:*", "Filter": inbox, "Queue": "FilesQueue.Arn"}]
    }
    assert resources["ExchangeBucket"]["DependsOn"] == "FilesQueuePolicy"


def test_a_file_has_room_on_the_disk_of_its_function(functions):
    room = {name: one["EphemeralStorage"]["Size"] for name, one in functions.items() if "EphemeralStorage" in one}
    assert room == {"ImportFile": 2048}


def test_nothing_of_the_audit_trail_ever_expires_and_all_of_it_can_be_read_at_once(of_type):
    [rule] = of_type("AWS::S3::Bucket")["AuditBucket"]["LifecycleConfiguration"]["Rules"]
    assert not [name for name in rule if "Expir" in name]
    assert [one["StorageClass"] for one in rule["Transitions"]] == ["GLACIER_IR"]


def test_the_folders_of_functions_are_the_functions(functions):
    folders = {one.parent.name for one in (ROOT / "functions").glob("*/app.py")}
    assert {"".join(word.capitalize() for word in folder.split("_")) for folder in folders} == set(functions)
    assert set(functions) == set(TIMEOUTS)


@pytest.mark.parametrize("name", TIMEOUTS)
def test_a_function_runs_as_it_should(functions, name):
    function = functions[name]
    assert function["Runtime"] == "python3.13"
    assert function["Handler"] == "app.handler"
    assert function["Architectures"] == ["Architecture"]
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["Timeout"] == TIMEOUTS[name]
    assert "ReservedConcurrentExecutions" not in function
    assert [one.rstrip("0123456789abcdef") for one in function["Layers"]] == ["TieoutLayer", "DependenciesLayer"]
    assert function["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "LogLevel",
        "LogGroup": f"{name}Logs",
    }


@pytest.mark.parametrize("name", VARIABLES)
def test_a_function_is_given_only_what_it_needs(functions, name):
    assert set(functions[name]["Environment"]["Variables"]) == ALWAYS | VARIABLES[name]


def test_only_what_feeds_its_own_queue_may_loop(functions, of_type):
    """Otherwise Lambda ends a change that waits for the 16th time.

    Source: Lambda developer guide, "Use Lambda recursive loop detection", read 2026-11-22.
    """
    roles = of_type("AWS::IAM::Role")
    feeding = {
        source["FunctionName"]
        for source in of_type("AWS::Lambda::EventSourceMapping").values()
        for policy in roles[f"{source['FunctionName']}Role"]["Policies"]
        for one in policy["PolicyDocument"]["Statement"]
        if one["Action"] == "sqs:SendMessage" and one["Resource"] == source["EventSourceArn"]
    }
    assert feeding == {"RetryChanges", "ImportFile"}
    assert {name for name, one in functions.items() if one.get("RecursiveLoop") == "Allow"} == feeding


def test_the_metrics_of_two_stacks_stay_apart(functions, of_type):
    services = {one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for one in functions.values()}
    assert services == {"AWS::StackName"}
    alarm = of_type("AWS::CloudWatch::Alarm")["OldestUnsyncedAlarm"]
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "AWS::StackName"}]


def test_logs_are_kept_as_long_as_was_asked(of_type):
    groups = of_type("AWS::Logs::LogGroup")
    assert set(groups) == {*(f"{name}Logs" for name in TIMEOUTS), "ApiLogs"}
    assert {one["RetentionInDays"] for one in groups.values()} == {"LogRetentionDays"}


def test_layers_fit_the_architecture(of_type):
    layers = of_type("AWS::Lambda::LayerVersion")
    assert {one["LayerName"] for one in layers.values()} == {
        "${AWS::StackName}-tieout",
        "${AWS::StackName}-dependencies",
    }
    for layer in layers.values():
        assert layer["CompatibleArchitectures"] == ["Architecture"]
        assert layer["CompatibleRuntimes"] == ["python3.13"]


def test_schedules(of_type):
    schedules = of_type("AWS::Scheduler::Schedule")
    found = {
        one["Target"]["Arn"]: (one["ScheduleExpression"], one["Target"].get("Input")) for one in schedules.values()
    }
    assert found == {
        "PollChanges.Arn": ("cron(30 3/6 * * ? *)", '{"sweep": true}'),
        "SendAlerts.Arn": ("rate(1 minute)", None),
    }
    assert {one["GroupName"] for one in schedules.values()} == {"ScheduleGroup"}
    assert {one["Target"]["RoleArn"] for one in schedules.values()} == {"SchedulerRole.Arn"}


def test_scheduled_functions_do_not_pile_up(of_type):
    configs = of_type("AWS::Lambda::EventInvokeConfig").values()
    assert {one["FunctionName"]: (one["MaximumRetryAttempts"], one["MaximumEventAgeInSeconds"]) for one in configs} == {
        "PollChanges": (1, 3600),
        "SendAlerts": (0, 60),
    }


def test_the_api_has_these_routes_throttled_and_logged(of_type):
    assert {one["RouteKey"]: one["Target"] for one in of_type("AWS::ApiGatewayV2::Route").values()} == {
        "POST /webhooks/{connection}": "integrations/${WebhookIntegration}",
        "POST /bridge/{connection}/{call}": "integrations/${BridgeIntegration}",
        "POST /webconnector/{connection}": "integrations/${BridgeIntegration}",
        "GET /webconnector/{connection}": "integrations/${BridgeIntegration}",
    }
    integrations = of_type("AWS::ApiGatewayV2::Integration")
    assert {name: (one["IntegrationUri"], one["PayloadFormatVersion"]) for name, one in integrations.items()} == {
        "WebhookIntegration": ("ReceiveWebhook.Arn", "2.0"),
        "BridgeIntegration": ("ServeBridge.Arn", "2.0"),
    }
    [stage] = of_type("AWS::ApiGatewayV2::Stage").values()
    settings = stage["DefaultRouteSettings"]
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (100, 200)
    assert stage["AccessLogSettings"]["DestinationArn"] == "ApiLogs.Arn"


def test_access_logs_hold_no_query_no_header_and_no_path(of_type):
    [stage] = of_type("AWS::ApiGatewayV2::Stage").values()
    assert "header" not in stage["AccessLogSettings"]["Format"].lower()
    assert "query" not in stage["AccessLogSettings"]["Format"].lower()
    assert "path" not in stage["AccessLogSettings"]["Format"].lower()  # whatever a stranger wrote there


def test_metrics_are_never_dropped_with_the_log_lines_that_carry_them(template):
    # Lambda gives a line without a level of its own INFO, and filters by it. Source: Lambda developer guide,
    # "Log-level filtering", read 2026-11-22.
    assert template["Parameters"]["LogLevel"]["AllowedValues"] == ["DEBUG", "INFO"]


def test_alerts_are_encrypted_and_reach_the_address_if_there_is_one(template, resources, of_type):
    assert of_type("AWS::SNS::Topic")["AlertTopic"]["KmsMasterKeyId"] == "AlertKey"
    subscription = resources["AlertEmailSubscription"]
    assert subscription["Condition"] == "HasAlertEmail"
    assert subscription["Properties"] == {"TopicArn": "AlertTopic", "Protocol": "email", "Endpoint": "AlertEmail"}
    assert template["Conditions"]["HasAlertEmail"] == {"Fn::Not": [{"Fn::Equals": ["AlertEmail", ""]}]}
