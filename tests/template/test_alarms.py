"""Nothing can stand still or fail without a person hearing of it."""

import json
import re
from typing import Any

import pytest

from tests.template.conftest import ROOT

WATCHED = {
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "ChangesQueue.QueueName"): 900,
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "RetryQueue.QueueName"): 3600,
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "BackfillQueue.QueueName"): 86400,
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "FilesQueue.QueueName"): 21600,
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "FilesDeadLetterQueue.QueueName"): 0,
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "ChangesDeadLetterQueue.QueueName"): 0,
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "LostQueue.QueueName"): 0,
    ("Tieout", "OldestUnsyncedSeconds", "AWS::StackName"): 3600,
    ("Tieout", "AlertsNotSent", "AWS::StackName"): 0,
    ("Tieout", "WebhooksBadSignature", "AWS::StackName"): 5,
    ("AWS/ApiGateway", "5xx", "Api"): 0,
    ("AWS/Scheduler", "InvocationDroppedCount", "ScheduleGroup"): 0,
    ("AWS/Lambda", "IteratorAge", "ArchiveAudit"): 900_000,
}


@pytest.fixture
def alarms(of_type):
    return of_type("AWS::CloudWatch::Alarm")


def metric(alarm: dict[str, Any]) -> tuple[str, str, str]:
    [dimension] = alarm["Dimensions"]
    return alarm["Namespace"], alarm["MetricName"], dimension["Value"]


def test_our_own_metrics_are_counted_somewhere(alarms):
    counted = "".join(one.read_text() for one in (ROOT / "functions").glob("*/app.py"))
    own = {alarm["MetricName"] for alarm in alarms.values() if alarm["Namespace"] == "Tieout"}
    assert {name for name in own if not re.search(rf'\b{name}=|"{name}"', counted)} == set()


def test_every_queue_and_function_is_watched(alarms, of_type):
    functions = of_type("AWS::Lambda::Function")
    expected = WATCHED | {
        ("AWS/Lambda", name, function): 0 for name in ("Errors", "Throttles") for function in functions
    }
    assert {metric(alarm): alarm["Threshold"] for alarm in alarms.values()} == expected
    watched_queues = {name.removesuffix(".QueueName") for space, _, name in expected if space == "AWS/SQS"}
    assert watched_queues == set(of_type("AWS::SQS::Queue"))


def test_every_alarm_reaches_people_and_says_what_it_means(alarms):
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == ["AlertTopic"]
        assert alarm["OKActions"] == ["AlertTopic"]
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        assert len(alarm["AlarmDescription"]) > 30
        measured = alarm["Namespace"] == "AWS/SQS" or alarm["MetricName"].endswith(("Seconds", "Age"))
        assert alarm["Statistic"] == ("Maximum" if measured else "Sum")


def test_silence_of_the_measurement_is_an_alarm(alarms):
    missing = {name: alarm["TreatMissingData"] for name, alarm in alarms.items()}
    assert missing.pop("OldestUnsyncedAlarm") == "breaching"
    assert set(missing.values()) == {"notBreaching"}


def test_the_dashboard_shows_what_the_alarms_watch(alarms, of_type):
    [dashboard] = of_type("AWS::CloudWatch::Dashboard").values()
    body = json.loads(dashboard["DashboardBody"])
    shown = set()
    for widget in body["widgets"]:
        for space, name, _dimension, value, *_ in widget["properties"]["metrics"]:
            shown.add((space, name, re.sub(r"^\$\{(.+)\}$", r"\1", value)))
    assert {metric(alarm) for alarm in alarms.values()} <= shown
