"""The stack's resources in moto, alike for the unit tests of adapters and the integration tests of functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from moto import mock_aws

from tieout.adapters.aws import Clients
from tieout.bootstrap import Settings

REGION = "eu-west-1"
TABLE = "tieout-table"
BUCKET = "tieout-audit"
EXCHANGE = "tieout-exchange"
START = datetime(2026, 11, 22, 9, 0, 0, 123456, tzinfo=UTC)
TEMPLATE = Path(__file__).parents[1] / "template.yaml"


@lru_cache(maxsize=1)
def _session() -> botocore.session.Session:
    """Reads the descriptions of the services once: that takes longer than most tests."""
    return botocore.session.Session()


@contextmanager
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """Clients of an empty account in this process."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        clients = Clients(region=REGION)
        clients._session = _session()
        yield clients


@dataclass
class StillClock:
    """Stands still until it sleeps or is told to go on."""

    time: datetime = START
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)

    def jitter(self) -> float:
        return 0.5


class _Loader(yaml.SafeLoader):
    """Reads a template; what CloudFormation would compute is left as it stands."""


def _as_it_stands(loader: Any, _tag: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _as_it_stands)


def template() -> dict[str, Any]:
    """The template as written."""
    loaded: dict[str, Any] = yaml.load(TEMPLATE.read_text(), Loader=_Loader)
    return loaded


def create_table(clients: Clients) -> None:
    """The table as the template declares it, so that an index that is not there is not relied upon."""
    declared = template()["Resources"]["Table"]["Properties"]
    kept = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    clients.dynamodb.create_table(TableName=TABLE, **{name: declared[name] for name in kept})


def create_bucket(clients: Clients) -> None:
    """The audit trail's."""
    clients.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def create_exchange(clients: Clients) -> None:
    """The bucket that files come into."""
    clients.s3.create_bucket(Bucket=EXCHANGE, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def deploy(clients: Clients) -> Settings:
    """Everything that the functions need."""
    create_table(clients)
    urls = {
        lane: clients.sqs.create_queue(QueueName=f"tieout-{lane}")["QueueUrl"]
        for lane in ("changes", "backfill", "retry", "files")
    }
    create_bucket(clients)
    create_exchange(clients)
    topic = clients.sns.create_topic(Name="tieout-alerts")["TopicArn"]
    return Settings(
        stack="tieout-test",
        table=TABLE,
        changes_queue_url=urls["changes"],
        backfill_queue_url=urls["backfill"],
        retry_queue_url=urls["retry"],
        alert_topic_arn=topic,
        audit_bucket=BUCKET,
        exchange_bucket=EXCHANGE,
        files_queue_url=urls["files"],
        secrets_prefix="tieout/tieout-test",
    )
