"""The cloud's side of a bridge, the real one, with its stores in memory, on a port of this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.bridge import MemoryInstallations, MemoryOutbox
from tests.contract.fakes import MemorySecrets
from tests.office.paper import PAPER
from tieout.adapters.clock import SystemClock
from tieout.bridge.connector import BridgedConnector
from tieout.bridge.line import Line, Patience
from tieout.bridge.serve import Asked, Refusal, ServeBridge, code_hash
from tieout.domain.bridge import Installation, Job, JobState
from tieout.domain.connections import Connection
from tieout.domain.documents import Item
from tieout.domain.effects import Done, Effect, Operation, Unknown
from tieout.domain.errors import ProviderError
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Provider

TENANT, BOOKS = "acme", "books"
CODE, CODE_2 = "ABCD-EFGH-JKLM", "NPQR-STUV-WXYZ"
ROUNDS_MAX = 200
IDLE_SECONDS = 0.2
"""In place of the ten seconds that an idle agent waits."""


class _Outbox(MemoryOutbox):
    """For callers and agents at once."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def put(self, job: Job) -> None:
        with self._lock:
            super().put(job)

    def jobs(self, tenant: str, connection: str) -> Sequence[Job]:
        with self._lock:
            return super().jobs(tenant, connection)

    def change(self, job: Job, *, was: JobState, lease: str = "") -> bool:
        with self._lock:
            return super().change(job, was=was, lease=lease)

    def drop(self, job: Job, *, was: JobState) -> bool:
        with self._lock:
            return super().drop(job, was=was)


class _Installations(MemoryInstallations):
    def __init__(self, *there: Installation) -> None:
        super().__init__(*there)
        self._lock = threading.RLock()

    def put_installation(self, installation: Installation) -> Installation:
        with self._lock:
            return super().put_installation(installation)


class _Parcels:
    """Implements `tieout.ports.bridge.Parcels`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.stored: dict[str, bytes] = {}

    def put(self, name: str, body: bytes) -> None:
        self.stored[name] = body

    def get(self, name: str, *, bytes_max: int) -> bytes | None:
        body = self.stored.get(name)
        return body if body is not None and len(body) <= bytes_max else None

    def address_to_put(self, name: str, *, size: int, sha256: str, seconds: int) -> tuple[str, dict[str, str]]:
        return f"{self._cloud.url}/parcels/{name}", {"x-size": str(size), "x-sha256": sha256}

    def address_to_get(self, name: str, *, seconds: int) -> str:
        return f"{self._cloud.url}/parcels/{name}"


class _Quick(SystemClock):
    """The time as it is, and short sleeps: whoever holds a request looks more often."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.01))


class _Presence:
    def heard(self, *_: object) -> None:
        pass


class _Config:
    def __init__(self, connection: Connection) -> None:
        self.stored = connection

    def connection(self, tenant: str, name: str) -> Connection | None:
        return self.stored if (tenant, name) == (TENANT, BOOKS) else None


class Cloud:
    """One connection's bridge, and the connector that the engine has of it.

    Args:
        settings: Of the connection.
        provider: Of the system in the office.
        account: That the connection is for.
        on_call: Called with each call's name before it is answered, and with `name answered` after.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        on_call: Callable[[str], None] = lambda _: None,
        provider: Provider = PAPER,
        account: str = "",
    ) -> None:
        self.clock = SystemClock()
        self.url = ""
        self.on_call = on_call
        self.config = _Config(
            Connection(TENANT, BOOKS, provider.manifest.provider, account=account, settings=dict(settings))
        )
        self.outbox = _Outbox()
        self.code_until = self.clock.now() + timedelta(hours=1)
        there = Installation(TENANT, BOOKS, code_hash=code_hash(CODE), code_until=self.code_until)
        self.installations = _Installations(there)
        self.parcels = _Parcels(self)
        self.secrets = MemorySecrets({})
        self._manifest = provider.manifest
        self._serve = ServeBridge(
            config=self.config,
            secrets=self.secrets,
            outbox=self.outbox,
            installations=self.installations,
            parcels=self.parcels,
            presence=_Presence(),
            manifest=lambda _: provider.manifest,
            clock=_Quick(),
            latest="0.1.0",
        )

    @property
    def address(self) -> str:
        return f"{self.url}/bridge/{TENANT}.{BOOKS}"

    @property
    def there(self) -> Installation:
        found = self.installations.installation(TENANT, BOOKS)
        assert found is not None
        return found

    def connector(self, patience: Patience | None = None) -> BridgedConnector:
        line = Line(
            self.config.stored,
            self._manifest.title,
            outbox=self.outbox,
            installations=self.installations,
            clock=self.clock,
            patience=patience or Patience(lease_seconds=60, report_seconds=30, look_seconds=0.01),
        )
        return BridgedConnector(self._manifest, line)

    def let_another_in(self) -> str:
        """A new code; the computer that was let in before is no longer."""
        there = Installation(TENANT, BOOKS, code_hash=code_hash(CODE_2), code_until=self.code_until)
        self.installations.put_installation(replace(there, revision=self.there.revision))
        return CODE_2

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if path.startswith("/parcels/"):
            name = path.removeprefix("/parcels/")
            if method == "GET":
                return 200, self.parcels.stored[name]
            assert headers["x-sha256"] == hashlib.sha256(body).hexdigest()
            self.parcels.stored[name] = body
            return 200, b""
        _, _, address, call = path.split("/")
        self.on_call(call)
        try:
            answer, status = self._serve.answer(Asked(address, call, headers, body)), 200
            if answer.get("wait_seconds"):
                answer["wait_seconds"] = IDLE_SECONDS
        except Refusal as refusal:
            answer, status = refusal.body, int(refusal.status)
        self.on_call(f"{call} answered")
        return status, json.dumps(answer).encode()


@contextmanager
def served(cloud: Cloud) -> Iterator[Cloud]:
    """The cloud on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = cloud.answer(self.command, urlsplit(self.path).path, headers, sent)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = handle_any  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that was killed hangs up in the middle."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        cloud.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield cloud
        finally:
            server.shutdown()


def effects(count: int) -> list[Effect]:
    """So many new items, each with a reference of its own."""
    return [
        Effect(
            hashlib.sha256(str(number).encode()).hexdigest()[:32],
            Operation.CREATE,
            Kind.ITEM,
            Item(name=f"Item {number}"),
            f"ref{number:09d}",
        )
        for number in range(count)
    ]


def write_all(connector: BridgedConnector, wanted: Sequence[Effect], tried: Collection[str] = ()) -> dict[str, Record]:
    """What is written of each effect, by its id; by the engine's rules: what nobody knows is looked up first.

    Of the effects that were `tried` nobody knows from the start.
    """
    written: dict[str, Record] = {}
    unknown = set(tried)
    for _ in range(ROUNDS_MAX):
        left = [effect for effect in wanted if effect.id not in written]
        if not left:
            return written
        for effect in left:
            _settle(connector, effect, written, unknown)
    raise AssertionError(f"{len(wanted) - len(written)} are not written after {ROUNDS_MAX} rounds")


def _settle(connector: BridgedConnector, effect: Effect, written: dict[str, Record], unknown: set[str]) -> None:
    if effect.id in unknown:
        try:
            found = connector.find([effect])
        except ProviderError:
            return
        unknown.discard(effect.id)
        if found:
            written[effect.id] = found[effect.id][0].record
            return
    (outcome,) = connector.write([effect])
    if isinstance(outcome, Done):
        written[effect.id] = outcome.record
    elif isinstance(outcome, Unknown):
        unknown.add(effect.id)
