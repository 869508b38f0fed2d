"""An agent that is killed again and again while it works: the books must come out as if nothing had happened.

    .venv/bin/python -m tests.e2e.bridge_chaos --jobs 500 --kills 50 --seed 1

The agent runs in a process of its own beside books that keep every posting. Three callers in the cloud write through
the real bridge, by the engine's rules: what nobody knows is looked up before anything is written again. The process is
killed while it asks for a job, after it was given one, before and after the posting, before and after its report. Then
the books are compared with those of a run that nobody disturbed. The exit status says whether they are the same.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.office.cloud import CODE, Cloud, effects, served, write_all
from tests.office.computer import Computer
from tests.office.paper import Books, until
from tieout.domain.effects import Effect

PASSWORD = "open-sesame"
MOMENTS = ("lease", "lease answered", "posting", "posted", "report", "report answered")
CALLERS = 3
MINUTES_MAX = 30


@dataclass
class Killer:
    """Ends the agent's process at moments that were drawn before, and starts it again.

    Attributes:
        plan: After how many postings, and at which moment.
        killed: How often at which moment.
    """

    plan: list[tuple[int, str]]
    computer: Computer | None = None
    books: Books | None = None
    killed: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def drawn(cls, jobs: int, kills: int, seed: int) -> Killer:
        dice = random.Random(seed)
        return cls([(after, dice.choice(MOMENTS)) for after in sorted(dice.sample(range(jobs - 1), kills))])

    def at(self, moment: str) -> None:
        """Called by both servers at each moment, before they go on."""
        with self._lock:
            if self.computer is None or self.books is None or not self.plan:
                return
            after, planned = self.plan[0]
            if len(self.books.documents) < after or moment != planned:
                return
            self.plan.pop(0)
            self.killed[moment] += 1
            self.computer.kill()
            self.computer.start()


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        books: Kind, name and reference of every document, sorted.
        lost: Effects that are said to be written and are not there.
        starts: Of the process.
    """

    books: Sequence[tuple[str, str, str]]
    doubled: Sequence[str]
    lost: Sequence[str]
    killed: Mapping[str, int]
    starts: int
    seconds: float


def played(place: Path, wanted: Sequence[Effect], killer: Killer) -> Outcome:
    """Write all these effects, with the agent killed as planned."""
    place.mkdir()
    began = time.monotonic()
    with (
        Books(PASSWORD, before=lambda: killer.at("posting"), after=lambda: killer.at("posted")) as books,
        served(Cloud({"base_url": books.url}, killer.at)) as cloud,
        Computer(place) as computer,
    ):
        installed = computer.install(cloud.address, CODE, PASSWORD)
        assert installed.returncode == 0, installed.stderr
        computer.start()
        until(lambda: cloud.there.sequence > 0)
        killer.computer, killer.books = computer, books
        callers = [
            threading.Thread(target=write_all, args=(cloud.connector(), wanted[one::CALLERS]), daemon=True)
            for one in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(MINUTES_MAX * 60)
        killer.computer = None
        there = {one["reference"] for one in books.documents}
        return Outcome(
            books=sorted((one["kind"], one["name"], one["reference"]) for one in books.documents),
            doubled=books.doubled,
            lost=[effect.reference for effect in wanted if effect.reference not in there],
            killed=dict(killer.killed),
            starts=computer.starts,
            seconds=time.monotonic() - began,
        )


def compared(place: Path, *, jobs: int, kills: int, seed: int) -> tuple[Outcome, Outcome]:
    """The run that nobody disturbed, and the other one."""
    wanted = effects(jobs)
    return played(place / "quiet", wanted, Killer([])), played(place / "rough", wanted, Killer.drawn(jobs, kills, seed))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        quiet, rough = compared(Path(place), jobs=given.jobs, kills=given.kills, seed=given.seed)
    is_same = quiet.books == rough.books and len(rough.books) == given.jobs
    is_killed = sum(rough.killed.values()) == given.kills
    for name, outcome in (("undisturbed", quiet), ("killed", rough)):
        print(  # noqa: T201 - a command
            f"{name}: {len(outcome.books)} documents in {outcome.seconds:.0f} s, {outcome.starts} starts, "
            f"{len(outcome.lost)} lost, {len(outcome.doubled)} doubled"
        )
    at = ", ".join(f"{count} at {moment}" for moment, count in sorted(rough.killed.items()))
    print(f"killed {sum(rough.killed.values())} times: {at}; the books are {'the same' if is_same else 'NOT the same'}")  # noqa: T201
    return 0 if is_same and is_killed else 1


if __name__ == "__main__":
    sys.exit(main())
