"""The connector over a simulated server in the same process: no sockets, and time that stands still."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from tests.contract.fakes import ManualClock, MemorySecrets
from tieout.connectors.act import ActProvider
from tieout.domain.connections import Connection
from tieout.ports.connector import Connector, Context
from tieout.ports.http import Answer, Request
from tieout_sandbox.simulators.act.routes import BASE, Api, Call
from tieout_sandbox.simulators.act.state import ActSettings, ActState

SERVER = "https://act.example"


class SimulatorHttp:
    """`ports.http.Http` straight into the simulator. `meddle` may answer instead, or raise."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.requests: list[Request] = []
        self.meddle: Callable[[Request], Answer | None] = lambda _: None

    def send(self, request: Request) -> Answer:
        self.requests.append(request)
        instead = self.meddle(request)
        return instead if instead is not None else self.deliver(request)

    def deliver(self, request: Request) -> Answer:
        url = urlsplit(request.url)
        assert url.path.startswith(BASE)
        reply = self._api.handle(
            Call(
                request.method,
                unquote(url.path).removeprefix(BASE),
                dict(parse_qsl(url.query, keep_blank_values=True)),
                {name.lower(): value for name, value in request.headers.items()},
                request.body or b"",
            )
        )
        headers = {"content-type": reply.content_type, **{name.lower(): each for name, each in reply.headers.items()}}
        return Answer(reply.status, headers, reply.body)

    def count(self, part: str) -> int:
        """How many requests had this in their address."""
        return sum(part in request.url for request in self.requests)


class World:
    """One simulated server and a connection to it."""

    def __init__(self, *, connection: dict[str, Any] | None = None, **settings: Any) -> None:
        self.clock = ManualClock(datetime(2026, 3, 2, 12, tzinfo=UTC))
        self.settings = ActSettings(**settings)
        self.state = ActState(self.settings, self.clock)
        self.http = SimulatorHttp(Api(self.state, lambda: None))
        self.secrets = MemorySecrets(
            {"username": self.settings.username, "password": self.settings.password, "webhook_token": "t0k3n"}
        )
        values = {"base_url": f"{SERVER}{BASE}", "database": self.settings.database, **(connection or {})}
        self.connection = Connection("acme", "crm", "act", self.settings.database, values)
        self.provider = ActProvider()
        self.connector = self.open()

    def open(self) -> Connector:
        return self.provider.open(
            Context(self.connection, self.secrets, self.http, self.clock, lambda _: nullcontext())
        )

    def add(self, collection: str, **fields: Any) -> str:
        """A new record; its id."""
        return str(self.state.create(collection, fields)["id"])


@pytest.fixture
def world() -> World:
    return World()
