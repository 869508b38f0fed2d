"""An agent that is killed again and again while it works: the books must come out as if nothing had happened.

    .venv/bin/python -m tests.e2e.bridge_chaos --jobs 500 --kills 50 --seed 1 --system paper

The agent runs in a process of its own beside books that keep every posting (`paper`), or beside the simulator of Tally
with its real connector, and writes invoices (`tally`). Three callers in the cloud write through
the real bridge, by the engine's rules: what nobody knows is looked up before anything is written again. The process is
killed while it asks for a job, after it was given one, before and after the posting, before and after its report. Then
the books are compared with those of a run that nobody disturbed. The exit status says whether they are the same.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import request

from tests.contract.suite import all_ids
from tests.contract.test_tally import TallyWorld
from tests.office.cloud import CODE, Cloud, effects, served, write_all
from tests.office.computer import Computer
from tests.office.paper import PAPER, Books, until
from tieout.domain.effects import Effect
from tieout.domain.records import Kind
from tieout.ports.connector import Provider
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.server import serve
from tieout_sandbox.simulators.tally import create_app

PASSWORD = "open-sesame"
MOMENTS = ("lease", "lease answered", "posting", "posted", "report", "report answered")
CALLERS = 3
MINUTES_MAX = 30


@dataclass(frozen=True)
class Stage:
    """A system with nothing in it yet.

    Attributes:
        postings: How many documents stand there now.
        books: What stands there, by name or number, and what it is worth.
    """

    provider: Provider
    settings: Mapping[str, Any]
    secrets: Mapping[str, str]
    account: str
    wanted: Sequence[Effect]
    postings: Callable[[], int]
    books: Callable[[], Sequence[tuple[str, str]]]


type Stages = Callable[[int, Callable[[str], None]], AbstractContextManager[Stage]]


@contextmanager
def paper(jobs: int, at: Callable[[str], None]) -> Iterator[Stage]:
    """Books that take whatever is posted, as often as it is."""
    with Books(PASSWORD, before=lambda: at("posting"), after=lambda: at("posted")) as books:
        yield Stage(
            provider=PAPER,
            settings={"base_url": books.url},
            secrets={"password": PASSWORD},
            account="",
            wanted=effects(jobs),
            postings=lambda: len(books.documents),
            books=lambda: sorted((one["name"], one["reference"]) for one in books.documents),
        )


@contextmanager
def tally(jobs: int, at: Callable[[str], None]) -> Iterator[Stage]:
    """The simulator of Tally, and an invoice for each job."""
    clock = SimulatedClock()
    app = create_app(clock=clock)

    def is_import() -> bool:
        return b"<TALLYREQUEST>Import" in request.get_data(cache=True)

    @app.before_request
    def before() -> None:
        if is_import():
            at("posting")

    @app.after_request
    def after(answer: Any) -> Any:
        if is_import():
            at("posted")
        return answer

    with serve(app) as url:
        world = TallyWorld(url, clock, app.extensions["simulator"])
        with world.session:
            context = world.context(pause_milliseconds=0)

            def books() -> Sequence[tuple[str, str]]:
                beside = world.connector()
                ids = all_ids(beside, Kind.INVOICE)
                pages = [ids[first : first + 10] for first in range(0, len(ids), 10)]
                found = [record for page in pages for record in beside.read(Kind.INVOICE, page)]
                return sorted((str(record.fields["number"]), str(record.fields["total"])) for record in found)

            yield Stage(
                provider=world.provider,
                settings=context.connection.settings,
                secrets={},
                account=context.connection.account,
                wanted=[
                    world.invoice(world.line(f"{100 + number}.25"), number=f"S{number:04d}") for number in range(jobs)
                ],
                postings=lambda: len(world.simulator.books.vouchers),
                books=books,
            )


STAGES: Mapping[str, Stages] = {"paper": paper, "tally": tally}


@dataclass
class Killer:
    """Ends the agent's process at moments that were drawn before, and starts it again.

    Attributes:
        plan: After how many postings, and at which moment.
        killed: How often at which moment.
    """

    plan: list[tuple[int, str]]
    computer: Computer | None = None
    postings: Callable[[], int] = field(default=lambda: 0)
    killed: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def drawn(cls, jobs: int, kills: int, seed: int) -> Killer:
        dice = random.Random(seed)
        return cls([(after, dice.choice(MOMENTS)) for after in sorted(dice.sample(range(jobs - 1), kills))])

    def at(self, moment: str) -> None:
        """Called by both servers at each moment, before they go on."""
        with self._lock:
            if self.computer is None or not self.plan:
                return
            after, planned = self.plan[0]
            if moment != planned or self.postings() < after:
                return
            self.plan.pop(0)
            self.killed[moment] += 1
            self.computer.kill()
            self.computer.start()


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        books: What stands in the system, sorted.
        doubled: What stands there more than once.
        starts: Of the process.
    """

    books: Sequence[tuple[str, str]]
    doubled: Sequence[str]
    killed: Mapping[str, int]
    starts: int
    seconds: float


def played(place: Path, stages: Stages, jobs: int, killer: Killer) -> Outcome:
    """Write so many documents, with the agent killed as planned."""
    place.mkdir()
    began = time.monotonic()
    with (
        stages(jobs, killer.at) as stage,
        served(Cloud(stage.settings, killer.at, stage.provider, stage.account)) as cloud,
        Computer(place) as computer,
    ):
        given = json.dumps(stage.secrets)
        installed = computer.command("install", "--address", cloud.address, CODE, "--secrets-file", "-", given=given)
        assert installed.returncode == 0, installed.stderr
        computer.start()
        until(lambda: cloud.there.sequence > 0)
        killer.computer, killer.postings = computer, stage.postings
        callers = [
            threading.Thread(target=write_all, args=(cloud.connector(), stage.wanted[one::CALLERS]), daemon=True)
            for one in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(MINUTES_MAX * 60)
        killer.computer = None
        books = stage.books()
        names = Counter(name for name, _ in books)
        return Outcome(
            books=books,
            doubled=[name for name, count in names.items() if count > 1],
            killed=dict(killer.killed),
            starts=computer.starts,
            seconds=time.monotonic() - began,
        )


def compared(place: Path, system: str, *, jobs: int, kills: int, seed: int) -> tuple[Outcome, Outcome]:
    """The run that nobody disturbed, and the other one."""
    stages = STAGES[system]
    quiet = played(place / "quiet", stages, jobs, Killer([]))
    return quiet, played(place / "rough", stages, jobs, Killer.drawn(jobs, kills, seed))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--system", choices=sorted(STAGES), default="paper")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        quiet, rough = compared(Path(place), given.system, jobs=given.jobs, kills=given.kills, seed=given.seed)
    is_same = quiet.books == rough.books and len(rough.books) == given.jobs
    is_killed = sum(rough.killed.values()) == given.kills
    for name, outcome in (("undisturbed", quiet), ("killed", rough)):
        print(  # noqa: T201 - a command
            f"{name}: {len(outcome.books)} documents in {outcome.seconds:.0f} s, {outcome.starts} starts, "
            f"{given.jobs - len(set(outcome.books))} lost, {len(outcome.doubled)} doubled"
        )
    at = ", ".join(f"{count} at {moment}" for moment, count in sorted(rough.killed.items()))
    print(f"killed {sum(rough.killed.values())} times: {at}; the books are {'the same' if is_same else 'NOT the same'}")  # noqa: T201
    return 0 if is_same and is_killed else 1


if __name__ == "__main__":
    sys.exit(main())
