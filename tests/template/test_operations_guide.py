"""`docs/operations.md` is held to the template: every alarm, question, log and figure that is counted there."""

import re
import sys

import pytest
from moto import mock_aws

from tests.template.conftest import ROOT

GUIDE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def named(heading: str) -> set[str]:
    """What the first column of the section's tables names in code."""
    section = GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_every_alarm_says_what_to_do(of_type):
    assert named("Alarms") == {name.removesuffix("Alarm") for name in of_type("AWS::CloudWatch::Alarm")}


def test_every_question_has_an_answer(template):
    asked = GUIDE.split("| asked |")[1].split("\n\n")[0]
    assert not [name for name in template["Parameters"] if not re.search(rf"\b{name}\b", asked)]


def test_every_log_is_named(of_type):
    assert not [name for name in of_type("AWS::Logs::LogGroup") if name not in GUIDE]


def test_all_writing_is_stopped_by_what_takes_changes_to_a_provider(of_type):
    writers = {
        name
        for name, one in of_type("AWS::Lambda::EventSourceMapping").items()
        if one["FunctionName"] in {"ApplyChanges", "RetryChanges"}
    }
    (listed,) = re.findall(r"for id in ([\w ]+); do", GUIDE)
    assert set(listed.split()) == writers


def test_what_is_paid_for_is_counted(of_type):
    times = "\N{MULTIPLICATION SIGN}"
    assert f"| {len(of_type('AWS::CloudWatch::Alarm'))} {times} 0.10 |" in GUIDE
    sources = of_type("AWS::Lambda::EventSourceMapping").values()
    queues = [one for one in sources if "Queue" in one["EventSourceArn"]]  # a stream's reading by Lambda is free
    assert f"| {len(queues)} consumers {times}" in GUIDE
    assert f"| {len(of_type('AWS::KMS::Key'))} {times} 1.00 " in GUIDE
    assert not of_type("AWS::SecretsManager::Secret"), "those of connections are counted"


@pytest.mark.parametrize("heading", ["**Idle**", "**A thousand invoices**"])
def test_sums_are_right(heading):
    rows = re.findall(r"^\|.*\| ([*\d.]+) \|$", GUIDE.split(heading)[1].split("\n\n")[1], re.MULTILINE)
    *amounts, total = (float(row.strip("*")) for row in rows)
    assert total == pytest.approx(sum(amounts), abs=0.005)


def test_restoring_copies_what_is_missing_and_overwrites_nothing(monkeypatch):
    (program,) = re.findall(r"<<'EOF'\n(.+?)\nEOF", GUIDE, re.DOTALL)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(sys, "argv", ["-", "restored", "table"])
    with mock_aws():
        space: dict[str, object] = {}
        exec("import boto3; client = boto3.client('dynamodb')", space)
        client = space["client"]
        keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        types = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
        for table in ("restored", "table"):
            client.create_table(
                TableName=table, KeySchema=keys, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST"
            )
        for table, item, age in (("restored", "1", "old"), ("restored", "2", "old"), ("table", "2", "new")):
            client.put_item(TableName=table, Item={"pk": {"S": "p"}, "sk": {"S": item}, "age": {"S": age}})
        exec(program, {})
        found = {item["sk"]["S"]: item["age"]["S"] for item in client.scan(TableName="table")["Items"]}
    assert found == {"1": "old", "2": "new"}
