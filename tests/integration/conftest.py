"""The functions on moto, with the engine's stand-ins for providers."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.aws import deploy, mocked
from tests.engine.world import TENANT, FakeProvider, World
from tieout import bootstrap, edge
from tieout.adapters.aws import Clients
from tieout.bootstrap import Deployment
from tieout.connectors import provider as real_provider
from tieout.domain.changes import Change
from tieout.domain.connections import Connection
from tieout.domain.errors import SignatureError
from tieout.ports.connector import Connector, Hint, Limit, Manifest, Webhook

EVENTS = Path(__file__).parents[2] / "events"


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


@dataclass
class LambdaContext:
    aws_request_id: str = "request-1"
    milliseconds: int = 100_000

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


class FakeEntry:
    """What a connector's folder exports, for a stand-in."""

    consent = None

    def __init__(self, connector: FakeProvider) -> None:
        self._connector = connector
        self.contexts: list[Any] = []

    @property
    def manifest(self) -> Manifest:
        return self._connector.manifest

    def limits_of(self, _connection: Connection) -> tuple[Limit, ...]:
        return self.manifest.limits

    def open(self, context: Any) -> Connector:
        self.contexts.append(context)
        return self._connector

    def verify(self, webhook: Webhook, secrets: Any) -> None:
        if webhook.headers.get("x-token") != secrets["token"]:
            raise SignatureError("Wrong.")

    def hints(self, webhook: Webhook) -> list[Hint]:
        raise NotImplementedError


@dataclass
class Stack:
    """The deployment under test, and what stands around it."""

    clients: Clients
    deployment: Deployment
    world: World
    entries: dict[str, FakeEntry]
    context: LambdaContext = field(default_factory=LambdaContext)

    def queued(self, lane: str) -> list[Change]:
        """Takes everything from a queue (`changes`, `backfill`, `retry`), delays ignored."""
        from tieout.adapters.sqs import decode  # noqa: PLC0415 - used here alone

        url = getattr(self.deployment.settings, f"{lane}_queue_url")
        changes: list[Change] = []
        while found := self.clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                changes += decode(message["Body"])
                self.clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return changes

    def waiting(self) -> dict[str, int]:
        return {name.removeprefix("tieout-"): count for name, count in self.deployment.queue.waiting().items()}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    with mocked(monkeypatch) as clients:
        world = World()
        entries = {"fake_crm": FakeEntry(world.crm), "fake_books": FakeEntry(world.books)}

        def find(name: str) -> Any:
            return entries[name] if name in entries else real_provider(name)

        deployment = Deployment(deploy(clients), clients=clients, clock=world.clock, provider=find)
        for connection in world.state.connections(TENANT):
            deployment.config.put_connection(connection)
        for sync in world.state.syncs(TENANT):
            deployment.config.put_sync(sync)
        monkeypatch.setattr(bootstrap, "deployment", lambda: deployment)
        yield Stack(clients, deployment, world, entries)


@pytest.fixture
def logs(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Gives all that was logged, printed and counted so far, at the most talkative level."""
    stream = io.StringIO()
    (handler,) = [one for one in logging.getLogger("tieout").handlers if isinstance(one, logging.StreamHandler)]
    former, level = handler.setStream(stream), edge.logger.log_level
    edge.logger.setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    printed: list[str] = []

    def everything() -> str:
        out, err = capfd.readouterr()
        printed.extend((out, err))
        told = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
        return "\n".join((stream.getvalue(), *printed, told))

    yield everything
    handler.setStream(former)
    edge.logger.setLevel(level)


@pytest.fixture
def lines(logs: Callable[[], str]) -> Callable[[], list[dict[str, Any]]]:
    """Gives the JSON lines of the functions so far: logs and metrics."""

    def parsed() -> list[dict[str, Any]]:
        return [json.loads(line) for line in dict.fromkeys(logs().splitlines()) if line.startswith('{"')]

    return parsed
