"""The service that the Web Connector asks, over HTTP, with its stores in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import cast

from flask import Flask, Response, request

from tests.bridge import AlwaysThere, MemoryOutbox
from tieout.bridge import soap
from tieout.bridge.presence import Presence
from tieout.bridge.webconnector import ServeWebConnector
from tieout.connectors.quickbooks_desktop import CONNECTOR
from tieout.domain.bridge import Installation
from tieout.domain.connections import Connection
from tieout.ports.clock import Clock
from tieout.ports.secrets import Secrets
from tieout.ports.state import ConfigStore
from tieout_sandbox.simulators.server import serve

LOOK_SECONDS = 0.25
SLEEP_SECONDS = 0.02


class Served:
    """The clock of the service: it goes with another one, and nobody works while it sleeps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def sleep(self, _seconds: float) -> None:
        time.sleep(SLEEP_SECONDS)

    def jitter(self) -> float:
        return self._clock.jitter()


class Service:
    """Serves one connection.

    Attributes:
        known: The connection, which may be replaced.
        url: Where it stands, while it is `served`.
    """

    def __init__(self, connection: Connection, secrets: Secrets, clock: Clock) -> None:
        self.known = replace(connection, provider=CONNECTOR.manifest.provider)
        there = Installation(connection.tenant, connection.id, enrolled_at=clock.now())
        self.outbox, self.installations = MemoryOutbox(), AlwaysThere(clock, there)
        self.url = ""
        self._calls = threading.Semaphore(0)
        self._service = ServeWebConnector(
            config=cast("ConfigStore", self),
            secrets=secrets,
            outbox=self.outbox,
            installations=self.installations,
            presence=cast("Presence", self),
            manifest=lambda _: CONNECTOR.manifest,
            clock=clock,
            version="1",
        )

    @property
    def address(self) -> str:
        """What a QWC file names."""
        return f"{self.url}/webconnector/{self.known.address}"

    def connection(self, tenant: str, name: str) -> Connection | None:
        """The part of `ports.state.ConfigStore` that the service asks for."""
        return self.known if (tenant, name) == (self.known.tenant, self.known.id) else None

    def wake(self, _connection: Connection) -> None:
        """The part of `Presence` that the service asks for: nothing waits."""

    def wait_for_a_call(self) -> None:
        """Return once another call was answered, or after a moment without one."""
        while self._calls.acquire(blocking=False):
            pass
        self._calls.acquire(timeout=LOOK_SECONDS)

    @contextmanager
    def served(self) -> Iterator[Service]:
        """The service, within."""
        app = Flask("webconnector")

        @app.post("/webconnector/<address>")
        def answer(address: str) -> Response:
            try:
                body, status = self._service.answer(address, request.get_data()), 200
            except soap.SoapError as error:
                body, status = soap.fault(str(error)), 500
            self._calls.release()
            return Response(body, status, content_type=soap.CONTENT_TYPE)

        with serve(app) as self.url:
            yield self
