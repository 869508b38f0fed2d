"""The agent in a process of its own, against the real bridge: nothing is lost and nothing is written twice."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.office.cloud import CODE, Cloud, effects, served, write_all
from tests.office.computer import Computer, Gate
from tests.office.paper import Books, until
from tieout.bridge.line import Patience
from tieout.domain.effects import Done, Unknown
from tieout.domain.errors import ReconnectError, UnavailableError

PASSWORD = "CANARY-password"


@dataclass
class Office:
    """A cloud, a computer, the books beside it, and the cable between the first two."""

    books: Books
    cloud: Cloud
    computer: Computer
    gate: Gate
    moments: dict[str, Callable[[], None]] = field(default_factory=dict)

    def at(self, moment: str) -> None:
        """Do what was planned for this moment, once."""
        self.moments.pop(moment, lambda: None)()

    def is_heard(self) -> bool:
        return self.cloud.there.worked_at is not None or self.cloud.there.sequence > 0


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    plan: list[Office] = []

    def at(moment: str) -> None:
        if plan:
            plan[0].at(moment)

    with ExitStack() as stack:
        books = stack.enter_context(Books(PASSWORD, before=lambda: at("posting"), after=lambda: at("posted")))
        cloud = stack.enter_context(served(Cloud({"base_url": books.url}, at)))
        gate = stack.enter_context(Gate(urlsplit(cloud.url).port or 0))
        cloud.url = f"http://127.0.0.1:{gate.port}"
        computer = stack.enter_context(Computer(tmp_path))
        installed = computer.install(cloud.address, CODE, PASSWORD)
        assert installed.returncode == 0, installed.stderr
        plan.append(Office(books, cloud, computer, gate))
        yield plan[0]


def test_the_whole_way_and_ctrl_c(office):
    office.computer.start()
    until(office.is_heard)
    connector = office.cloud.connector()
    assert connector.probe().name == "Acme Ltd"
    wanted = effects(12)
    outcomes = connector.write(wanted[:10]) + connector.write(wanted[10:])
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert sorted(connector.find(wanted[:10])) == sorted(effect.id for effect in wanted[:10])
    assert len(office.books.documents) == 12
    assert office.computer.end() == 0
    assert "Ended in order after 4 jobs." in office.computer.said


def test_ctrl_c_lets_the_running_job_end_and_be_reported(office):
    posting, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        posting.set()
        go_on.wait(60)

    office.moments["posting"] = slowly
    office.computer.start()
    until(office.is_heard)
    outcomes: list[object] = []
    caller = threading.Thread(target=lambda: outcomes.extend(office.cloud.connector().write(effects(1))))
    caller.start()
    assert posting.wait(60)
    threading.Timer(1, go_on.set).start()
    assert office.computer.end() == 0
    caller.join()
    assert isinstance(outcomes[0], Done)


@pytest.mark.parametrize(
    ("moment", "there", "known"),
    [
        ("lease answered", 0, Unknown),
        ("posting", 1, Unknown),
        ("posted", 1, Unknown),
        ("report", 1, Done),
        ("report answered", 1, Done),
    ],
)
def test_killed_at_each_moment(office, moment, there, known):
    """`there`: how many documents the books have then; whatever it is, in the end there is one."""
    office.computer.start()
    until(office.is_heard)

    def kill_and_start() -> None:
        # Only a lease that gives the job counts.
        if moment == "lease answered" and not any(job.lease for job in office.cloud.outbox.stored.values()):
            office.moments[moment] = kill_and_start
            return
        office.computer.kill()
        threading.Timer(0.2, office.computer.start).start()

    office.moments[moment] = kill_and_start
    connector = office.cloud.connector()
    wanted = effects(1)
    (outcome,) = connector.write(wanted)
    assert isinstance(outcome, known)
    assert len(office.books.documents) == there
    assert write_all(connector, wanted)[wanted[0].id].fields["name"] == "Item 0" if there == 0 else True
    found = connector.find(wanted)
    assert len(found) == 1
    assert len(office.books.documents) == 1
    assert office.computer.starts == 2


def test_a_report_that_was_not_heard_is_told_after_the_next_start(office):
    """Killed with the report on the disk: the outcome is known without looking it up."""
    office.computer.start()
    until(office.is_heard)
    office.moments["report"] = lambda: (office.gate.cut(), office.computer.kill())
    outcomes: list[object] = []
    caller = threading.Thread(target=lambda: outcomes.extend(office.cloud.connector().write(effects(1))))
    caller.start()
    until(lambda: not office.computer.is_running)
    office.gate.mend()
    office.computer.start()
    caller.join()
    assert isinstance(outcomes[0], Done)
    assert len(office.books.documents) == 1


def test_the_network_is_cut_and_mended(office):
    office.computer.start()
    until(office.is_heard)
    connector = office.cloud.connector(Patience(lease_seconds=8, report_seconds=1.5, look_seconds=0.02))
    wanted = effects(30)
    plan = iter(["posted", "lease", "report", "posting", "lease answered", "report answered"])

    def cut() -> None:
        office.gate.cut()
        threading.Timer(0.3, mend).start()

    def mend() -> None:
        office.gate.mend()
        moment = next(plan, None)
        if moment is not None:
            office.moments[moment] = cut

    office.moments["posted"] = cut
    written = write_all(connector, wanted)
    assert len(written) == 30
    assert sorted(one["name"] for one in office.books.documents) == sorted(f"Item {number}" for number in range(30))
    assert office.books.doubled == []
    assert next(plan, None) is None, "it was cut at every moment"
    assert office.computer.starts == 1


def test_a_second_process_on_the_same_folder_is_refused(office):
    office.computer.start()
    until(office.is_heard)
    second = office.computer.command("run")
    assert second.returncode == 5
    assert "The agent runs already with the folder" in second.stderr
    assert office.computer.status()["connections"][0]["health"] == "fine"


def test_a_copy_of_the_folder_on_another_computer_is_refused_and_told(office, tmp_path):
    office.computer.start()
    until(office.is_heard)
    with Computer(tmp_path, "copy") as copy:
        copy.data.mkdir()
        original = office.computer.data / "acme.books"
        (copy.data / "acme.books").mkdir()
        (copy.data / "acme.books" / "enrolment.json").write_bytes((original / "enrolment.json").read_bytes())
        with sqlite3.connect(original / "spool.sqlite3") as source:
            source.execute("vacuum into ?", (str(copy.data / "acme.books" / "spool.sqlite3"),))
        source.close()
        with sqlite3.connect(copy.data / "acme.books" / "spool.sqlite3") as spool:
            spool.execute("update facts set value='10000' where name='sequence'")
            spool.execute("delete from facts where name='former'")
        spool.close()
        copy.start()
        until(lambda: "Another agent is at work" in copy.said)
        assert copy.command("status").returncode == 5
    until(lambda: isinstance(office.cloud.connector().write(effects(1))[0], Done))
    assert len(office.books.documents) == 1


def test_an_older_copy_finds_out_that_it_was_outrun(office):
    office.computer.start()
    until(office.is_heard)
    write_all(office.cloud.connector(), effects(3))
    office.computer.kill()
    with sqlite3.connect(office.computer.data / "acme.books" / "spool.sqlite3") as spool:
        spool.execute("update facts set value='0' where name='sequence'")  # a backup of before
    spool.close()
    office.computer.start()
    until(lambda: "a copy of this folder is used elsewhere" in office.computer.said)
    status = office.computer.command("status")
    assert status.returncode == 5
    assert "install" in status.stdout
    again = office.computer.install(office.cloud.address, office.cloud.let_another_in(), PASSWORD)
    assert again.returncode == 0, again.stderr
    assert "The agent runs already, and works for this connection from now on." in again.stdout
    until(lambda: office.computer.command("status").returncode == 0)


def test_a_computer_that_is_let_in_no_longer_says_so(office):
    office.computer.start()
    until(office.is_heard)
    office.cloud.let_another_in()
    until(lambda: "may no longer work for acme.books" in office.computer.said)
    with pytest.raises(UnavailableError):
        office.cloud.connector().probe()


def test_changed_settings_are_used_once_somebody_at_the_computer_agrees(office):
    office.computer.start()
    until(office.is_heard)
    stored = office.cloud.config.stored
    with Books() as elsewhere:
        asked = []
        elsewhere._before = lambda: asked.append("password!")
        office.cloud.config.stored = type(stored)("acme", "books", "paper", settings={"base_url": elsewhere.url})
        with pytest.raises(ReconnectError) as told:
            office.cloud.connector().probe()
        assert "tieout agent check acme.books" in told.value.next_step
        assert asked == []
    office.cloud.config.stored = type(stored)("acme", "books", "paper", settings={**stored.settings, "unit": "h"})
    with pytest.raises(ReconnectError):
        office.cloud.connector().probe()
    agreed = office.computer.command("check", given="y\n")
    assert agreed.returncode == 0, agreed.stderr
    assert office.cloud.connector().probe().name == "Acme Ltd"


def test_the_log_says_what_happened_and_nothing_private(office):
    office.computer.start()
    until(office.is_heard)
    connector = office.cloud.connector()
    write_all(connector, effects(3))
    office.books.password = "another"
    assert not isinstance(connector.write(effects(4)[3:])[0], Done)
    office.computer.end()
    log = office.computer.log
    key = office.cloud.secrets.history[-1]["bridge_key"]
    assert "acme.books: write done" in log
    for private in (PASSWORD, key, "Item ", "ref0000", "Canary"):
        assert private not in log
        assert private not in office.computer.said


def test_install_needs_no_aws_library():
    """What runs in an office loads nothing of the cloud."""
    code = "import sys, tieout.cli.agent; print([m for m in ('boto3', 'botocore') if m in sys.modules])"
    loaded = subprocess.run([__import__("sys").executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
