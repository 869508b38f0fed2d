"""An agent whose bridge, clock and system are in memory, and whose spool is on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.fakes import ManualClock
from tests.office.bridge import NAME, Bridge
from tieout.agent.spool import Spool
from tieout.agent.wire import Bridge as Caller
from tieout.agent.worker import Myself, Worker
from tieout.domain.errors import UnavailableError, UncertainError
from tieout.ports.http import Answer, Request

KEY = "ab" * 32


class Network:
    """The way to the bridge. `faults` are taken one a call: `down`, `lost` (the answer), `twice` or an Answer."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.faults: list[str | Answer] = []
        self.down = False
        self.sent: list[Request] = []

    def send(self, request: Request) -> Answer:
        fault = self.faults.pop(0) if self.faults else ""
        if isinstance(fault, Answer):
            return fault
        if self.down or fault == "down":
            raise UnavailableError("bridge.example could not be reached.", detail="POST bridge.example: NoRoute")
        self.sent.append(request)
        parts = urlsplit(request.url)
        for _ in range(2 if fault == "twice" else 1):
            status, body = self.bridge.answer(request.method, parts.path, request.headers, request.body or b"")
        if fault == "lost":
            raise UncertainError("bridge.example gave no whole answer.", detail="POST bridge.example: ReadTimeout")
        return Answer(status, {}, body)


class System:
    """The system beside the agent: counts what is asked of it, through one call of a connector."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.settings: list[Any] = []
        self.accounts: list[str] = []
        self.act: Callable[[str], str] = lambda kind: f"cursor of {kind}"

    def connector(self, settings: Any = None, account: str = "") -> Any:
        self.settings.append(settings)
        self.accounts.append(account)
        return self

    def cursor_now(self, kind: Any) -> str:
        self.done.append(str(kind))
        return self.act(str(kind))


class Office:
    """One computer, whose process can be started again and again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.clock = ManualClock()
        self.ticks = 0.0
        self.bridge = Bridge(lambda: self.server_clock.now().timestamp())
        self.bridge.key = KEY
        self.server_clock = self.clock
        self.network = Network(self.bridge)
        self.system = System()
        self.said: list[str] = []
        self.stopping = False
        self.starts = self.jobs = 0
        self.stack = ExitStack()
        self.spool: Spool | None = None
        self.start()

    def start(self, *, key: str = KEY, instance: str = "") -> Worker:
        """A new process with the same folder."""
        self.stack.close()
        self.starts += 1
        myself = Myself("0.1.0", "pc-1", "Windows 11", instance or f"instance-{self.starts}")
        self.spool = spool = self.stack.enter_context(Spool(self.file))
        spool.start(key_hash=hashlib.sha256(key.encode()).hexdigest(), instance=myself.instance, sequence=0)
        caller = Caller(
            self.network,
            f"https://bridge.example/bridge/{NAME}",
            key=key,
            next_sequence=spool.next_sequence,
            clock=self.clock,
        )
        self.worker = Worker(
            NAME,
            bridge=caller,
            spool=spool,
            beside=self.system,
            myself=myself,
            clock=self.clock,
            system="Windows",
            stopping=lambda: self.stopping,
            tell=self.said.append,
            counted=self.count,
            monotonic=lambda: self.clock.now().timestamp() + self.ticks,
        )
        return self.worker

    def count(self) -> None:
        self.jobs += 1

    def turn(self, times: int = 1) -> float:
        for _ in range(times):
            pause = self.worker.turn()
        return pause

    def put(self, kind: str = "invoice", *, write: bool = True) -> Any:
        return self.bridge.put("cursor_now", f'{{"kind":"{kind}"}}', write=write)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "spool.sqlite3")
    yield office
    office.stack.close()
    office.bridge.check()
