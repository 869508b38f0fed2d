"""Whatever ends the process at whatever step, the cloud learns how each job ended, and no job runs twice."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.agent.conftest import Office

TURNS_MAX = 400
STEPS = ("next_sequence", "heard", "remember", "leased", "begun", "ended", "told", "settle_left", "set_trouble")


class Crash(BaseException):
    """The process died here."""


class Dying:
    """Counts steps: every change of the spool, every call on the network, the job itself. Dies at the planned ones."""

    def __init__(self, office: Office, plan: list[int]) -> None:
        self._office, self._plan = office, set(plan)
        self.steps = self.deaths = 0
        real = office.network.send
        office.network.send = lambda request: self._around(lambda: real(request))
        office.system.act = lambda kind: self._around(lambda: kind)

    def wrap(self) -> None:
        """The spool of the process that was just started."""
        for name in STEPS:
            real = getattr(self._office.spool, name)
            setattr(
                self._office.spool,
                name,
                lambda *args, real=real, **more: self._around(lambda: real(*args, **more)),
            )

    def _around(self, do):
        self._step()
        done = do()
        self._step()
        return done

    def _step(self) -> None:
        self.steps += 1
        if self.steps in self._plan:
            self.deaths += 1
            raise Crash


def play(plan: list[int], faults: list[str], jobs: int) -> tuple[Office, Dying]:
    """The office after all jobs ended, with a process that died at these steps and a network with these faults."""
    with tempfile.TemporaryDirectory() as place:
        office = Office(Path(place) / "spool.sqlite3")
        office.network.faults = list(faults)
        for number in range(jobs):
            office.put(["invoice", "item", "customer", "payment"][number % 4])
        dying = Dying(office, plan)
        try:
            office.start()
            dying.wrap()
            for _ in range(TURNS_MAX):
                if all(job.ended for job in office.bridge.jobs) and not office.spool.unsent_count:
                    break
                try:
                    office.clock.advance(office.worker.turn())
                except Crash:
                    office.clock.advance(1)
                    office.start()
                    dying.wrap()
            else:
                pytest.fail("it came to no end")
            office.bridge.check()
        finally:
            office.stack.close()
        return office, dying


def judge(office: Office) -> None:
    ran = Counter(office.system.done)
    by_kind = Counter(["invoice", "item", "customer", "payment"][n % 4] for n in range(len(office.bridge.jobs)))
    assert all(ran[kind] <= by_kind[kind] for kind in ran), "no job ran twice"
    for kind in by_kind:
        of_kind = [job for n, job in enumerate(office.bridge.jobs) if kind == list(by_kind)[n % 4]]
        ends = Counter(job.ended for job in of_kind)
        # What is said to be done was; what surely was not begun did not run.
        assert ends["done"] <= ran[kind] <= ends["done"] + ends["lost"]
    for job in office.bridge.jobs:
        assert (job.ended == "done") == (job.result is not None)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    plan=st.lists(st.integers(1, 150), max_size=6, unique=True),
    faults=st.lists(st.sampled_from(["", "", "", "down", "lost", "twice"]), max_size=30),
    jobs=st.integers(1, 4),
)
def test_wherever_the_process_dies(plan, faults, jobs):
    office, _ = play(plan, faults, jobs)
    judge(office)


def test_at_each_single_step():
    """One job and one death, at every step there is."""
    ends: Counter[str] = Counter()
    step = 0
    while True:
        step += 1
        office, dying = play([step], [], 1)
        judge(office)
        if not dying.deaths:
            break
        ends[office.bridge.jobs[0].ended] += 1
    assert step > 15
    assert set(ends) == {"done", "lost", "not_begun"}, ends


def test_two_deaths_at_once():
    """The second one while the process is still putting in order what the first one left."""
    for first in range(8, 22):
        for second in range(first + 1, first + 6):
            office, _ = play([first, second], [], 1)
            judge(office)
