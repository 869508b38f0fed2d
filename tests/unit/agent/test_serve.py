"""The running agent: a thread for each connection, begun, ended and begun again as the folder says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.office.bridge import NAME, Bridge, served
from tests.office.paper import PAPER, until
from tieout.adapters.clock import SystemClock
from tieout.agent import serve as module
from tieout.agent.folder import Enrolment, Folder
from tieout.agent.serve import Agent
from tieout.domain.connections import Connection

KEY, KEY_2 = "ab" * 32, "cd" * 32
CLOCK = SystemClock()


@dataclass
class Running:
    bridge: Bridge
    folder: Folder
    agent: Agent
    said: list[str]
    jobs: list[None]

    def enrol(self, key: str = KEY, **more: Any) -> None:
        connection = Connection("acme", "books", "paper", settings={"base_url": "http://127.0.0.1:1"})
        self.folder.keep(replace(Enrolment(self.bridge.address, key, connection=connection), **more))

    def put(self) -> Any:
        return self.bridge.put("cursor_now", '{"kind":"item"}')


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(module, "BEGIN_AGAIN_SECONDS", 0.05)
    bridge = Bridge(lambda: CLOCK.now().timestamp())
    bridge.key, bridge.wait_seconds, bridge.settings = KEY, 0.02, {"base_url": "http://127.0.0.1:1"}
    folder = Folder(tmp_path)
    said: list[str] = []
    jobs: list[None] = []
    with ExitStack() as stack:
        stack.enter_context(served(bridge))
        agent = Agent(
            folder, provider=lambda _: PAPER, clock=CLOCK, tell=said.append, counted=lambda: jobs.append(None)
        )
        yield Running(bridge, folder, agent, said, jobs)
        agent.stop()
        assert agent.ended(30)
    bridge.check()


def test_what_is_enrolled_is_served_and_what_is_new_too(running):
    assert running.agent.look() == 0
    job = running.put()
    running.enrol()
    assert running.agent.look() == 1
    assert running.agent.look() == 1
    assert job.over.wait(30)
    until(lambda: running.jobs == [None])


def test_with_a_new_key_it_begins_anew(running):
    running.enrol()
    running.agent.look()
    assert running.put().over.wait(30)
    running.bridge.key, running.bridge.sequence = KEY_2, 0
    running.enrol(KEY_2)
    until(lambda: running.agent.look() == 1 and running.agent._served[NAME].binding[1] == KEY_2)
    assert running.put().over.wait(30)


def test_what_is_removed_is_served_no_longer(running):
    running.enrol()
    running.agent.look()
    (running.folder.path / NAME / "enrolment.json").unlink()
    until(lambda: running.agent.look() == 0)


def test_what_is_not_enrolled_yet_is_left_alone(running):
    running.folder.keep(Enrolment(running.bridge.address, pending={"key": KEY}))
    assert running.agent.look() == 0


def test_a_damaged_enrolment_is_told_once_and_does_not_stop_the_others(running):
    running.enrol()
    other = running.folder.path / "acme.other"
    other.mkdir()
    (other / "enrolment.json").write_text("{")
    for _ in range(3):
        assert running.agent.look() == 1
    assert len(running.said) == 1
    assert "is damaged" in running.said[0]
    assert running.put().over.wait(30)


def test_a_bug_of_ours_ends_the_thread_and_it_begins_again(running, monkeypatch):
    running.enrol()
    real = module.Worker.turn
    failed: list[int] = []

    def turn(self):
        if not failed:
            failed.append(1)
            raise KeyError("Jo Canary")
        return real(self)

    monkeypatch.setattr(module.Worker, "turn", turn)
    running.agent.look()
    until(lambda: bool(running.said))
    assert running.said == [f"{NAME}: the agent stumbled (KeyError), and tries again in a minute."]
    job = running.put()
    until(lambda: running.agent.look() == 1 and bool(job.ended))


def test_a_spool_that_is_damaged_is_told(running):
    running.enrol()
    running.folder.spool(NAME).write_bytes(b"no database" * 1000)
    running.agent.look()
    until(lambda: bool(running.said))
    assert "is damaged" in running.said[0]
    assert running.bridge.calls == []
