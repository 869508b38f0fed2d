"""A call out and its report back: every way that it can end, and that nothing is ever done twice or told wrongly."""

from __future__ import annotations

import threading
from collections import Counter as Counts
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.aws import START, StillClock
from tests.bridge import Beside, MemoryInstallations, MemoryOutbox, Waiting
from tests.engine.world import World
from tieout.bridge.calls import encode_error
from tieout.bridge.connector import BridgedConnector
from tieout.bridge.line import SILENT_SECONDS, Line, Patience
from tieout.bridge.outbox import CALLER_SECONDS, Counter
from tieout.domain import errors
from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.connections import Connection
from tieout.domain.documents import Customer
from tieout.domain.effects import Done, Effect, NotDone, Operation, Unknown
from tieout.domain.errors import (
    ConflictError,
    NameTakenError,
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    SettingsError,
    ThrottledError,
    TieoutError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.packing import pack
from tieout.domain.records import Kind, Record

CONNECTION = Connection("acme", "books", "fake_books")
THERE = Installation("acme", "books", enrolled_at=START, seen_at=START, machine="OFFICE-PC")


@dataclass
class Office:
    """Somebody beside the system who does as the test says while the caller waits."""

    clock: StillClock = field(default_factory=StillClock)
    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)
    does: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.installations = MemoryInstallations(THERE)
        self.counter = Counter(self.outbox, self.installations, self.clock)

    @property
    def there(self) -> Installation:
        there = self.installations.installation("acme", "books")
        assert there is not None
        return there

    def line(self, patience: Patience | None = None) -> Line:
        return Line(
            CONNECTION,
            "the books",
            outbox=self.outbox,
            installations=self.installations,
            clock=Waiting(self.clock, self._do),
            patience=patience,
        )

    def _do(self) -> None:
        self.does()

    def call(self, *, write: bool) -> str:
        return self.line().call("write" if write else "read", "{}", write=write)

    def lease(self) -> Job | None:
        return self.counter.lease(self.there)

    def ends(self, ended: Ended, result: str | None) -> None:
        """Fetch the job the next time the caller waits, and report this."""

        def does() -> None:
            if (job := self.lease()) is not None:
                assert self.counter.report(job, ended, result)

        self.does = does

    @property
    def states(self) -> list[JobState]:
        return [job.state for job in self.outbox.stored.values()]


@pytest.fixture
def office():
    return Office()


def raised(office: Office, *, write: bool) -> TieoutError:
    with pytest.raises(TieoutError) as caught:
        office.call(write=write)
    return caught.value


BOTH = pytest.mark.parametrize("write", [True, False], ids=["write", "read"])


# Every end


@BOTH
def test_what_was_reported_comes_back_and_nothing_is_left_behind(office, write):
    office.ends(Ended.DONE, "result")
    assert office.call(write=write) == "result"
    assert office.outbox.stored == {}
    assert sum(office.clock.slept) < 1


REPORTED = [
    UnavailableError("Down.", code="1"),
    ThrottledError("Slow.", retry_after_seconds=7),
    ConflictError("Changed.", request_id="r"),
    NotFoundError("Gone."),
    RejectedError("No.", field="name", next_step="Change it."),
    NameTakenError("Taken.", field="name"),
    ReconnectError("Who?"),
    SettingsError("Wrong.", next_step="Mend it."),
]


def test_every_error_that_can_be_reported_is_tried():
    kinds = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ProviderError)}
    assert {type(one) for one in REPORTED} | {ProviderError, UncertainError} == kinds | {SettingsError}


@BOTH
@pytest.mark.parametrize("error", REPORTED, ids=lambda error: type(error).__name__)
def test_a_reported_error_rises_as_it_was(office, write, error):
    office.ends(Ended.FAILED, encode_error(error))
    found = raised(office, write=write)
    assert (type(found), vars(found)) == (type(error), vars(error))
    assert office.outbox.stored == {}


def test_who_does_not_know_whether_it_wrote_says_so(office):
    office.ends(Ended.FAILED, encode_error(UncertainError("No answer.", detail="timeout")))
    assert type(raised(office, write=True)) is UncertainError
    found = raised(office, write=False)
    assert (type(found), found.message, found.detail) == (UnavailableError, "No answer.", "timeout")


@BOTH
@pytest.mark.parametrize("text", [None, "", "no error", "{}", pack({"error": "KeyError", "message": "x"})])
def test_an_error_that_cannot_be_read_leaves_a_write_uncertain(office, write, text):
    office.ends(Ended.FAILED, text)
    assert type(raised(office, write=write)) is (UncertainError if write else UnavailableError)


@BOTH
def test_what_was_not_begun_is_not_done(office, write):
    office.ends(Ended.NOT_BEGUN, None)
    assert type(raised(office, write=write)) is UnavailableError
    assert office.outbox.stored == {}


@BOTH
@pytest.mark.parametrize(("ended", "result"), [(Ended.LOST, None), (Ended.DONE, None)])
def test_what_is_lost_may_have_been_written(office, write, ended, result):
    office.ends(ended, result)
    assert type(raised(office, write=write)) is (UncertainError if write else UnavailableError)
    assert office.outbox.stored == {}


@BOTH
def test_what_nobody_fetches_is_not_done(office, write):
    assert type(raised(office, write=write)) is UnavailableError
    assert 12 <= sum(office.clock.slept) < 13
    assert office.outbox.stored == {}
    assert office.lease() is None, "it is never given out later"


@BOTH
def test_what_is_fetched_in_the_last_moment_is_waited_for(office, write):
    def does() -> None:
        if sum(office.clock.slept) > 11.9 and JobState.QUEUED in office.states:
            office.lease()

    office.does = does
    raised(office, write=write)
    assert 36 < sum(office.clock.slept) < 39


def test_of_a_caller_who_gives_up_and_somebody_who_fetches_only_one_has_the_job(office):
    """The caller saw it waiting; before it took it back somebody fetched it."""

    class Late(MemoryOutbox):
        def drop(self, job: Job, *, was: JobState) -> bool:
            if was is JobState.QUEUED:
                super().change(replace(job, state=JobState.LEASED, lease="l"), was=JobState.QUEUED)
            return super().drop(job, was=was)

    office.outbox = Late()
    assert type(raised(office, write=True)) is UncertainError


@BOTH
def test_who_fetched_it_and_is_silent_leaves_a_write_uncertain(office, write):
    office.does = lambda: None if office.outbox.stored and JobState.LEASED in office.states else fetch(office)
    found = raised(office, write=write)
    assert type(found) is (UncertainError if write else UnavailableError)
    assert 25 <= sum(office.clock.slept) < 27
    assert office.states == ([JobState.LEASED] if write else []), "a read leaves nothing behind"


def fetch(office: Office) -> None:
    office.lease()


def test_a_late_report_of_a_write_hurts_nobody(office):
    leased: list[Job] = []

    def does() -> None:
        if (job := office.lease()) is not None:
            leased.append(job)

    office.does = does
    assert type(raised(office, write=True)) is UncertainError
    assert office.counter.report(leased[0], Ended.DONE, "late")
    office.ends(Ended.DONE, "another")
    assert office.call(write=True) == "another"
    assert office.lease() is None


def test_a_late_report_of_a_read_finds_nobody(office):
    leased: list[Job] = []

    def does() -> None:
        if (job := office.lease()) is not None:
            leased.append(job)

    office.does = does
    raised(office, write=False)
    assert not office.counter.report(leased[0], Ended.DONE, "late")
    assert office.outbox.stored == {}


def test_a_report_after_all_callers_are_gone_leaves_nothing_behind(office):
    office.does = lambda: fetch(office)
    raised(office, write=True)
    (job,) = office.outbox.stored.values()
    office.clock.time = job.queued_at + timedelta(seconds=CALLER_SECONDS + 1)
    office.counter.end_lost(office.there)
    assert office.outbox.stored == {}


@pytest.mark.parametrize("state", list(JobState))
def test_what_nobody_waits_for_any_more_is_cleared_away(office, state):
    """Or each look at what is to be done would read it again, for half a day."""
    job = replace(job_of("write", START, begin_by=START + timedelta(seconds=12)), state=state, lease="l")
    office.outbox.put(job)
    office.clock.time = START + timedelta(seconds=CALLER_SECONDS)
    office.counter.end_lost(office.there)
    (left,) = office.outbox.stored.values()
    assert (left.ended is Ended.LOST) == (state is JobState.LEASED)
    office.clock.time += timedelta(seconds=1)
    office.counter.end_lost(office.there)
    assert office.outbox.stored == {}


def test_whoever_asks_for_the_next_job_has_none_in_hand(office):
    def does() -> None:
        office.counter.end_lost(office.there)
        office.lease()

    office.does = does
    assert type(raised(office, write=True)) is UncertainError
    assert sum(office.clock.slept) < 1, "the caller hears of it at once"


@BOTH
def test_a_job_that_vanished_leaves_a_write_uncertain(office, write):
    office.does = office.outbox.stored.clear
    assert type(raised(office, write=write)) is (UncertainError if write else UnavailableError)


def test_a_job_is_given_once(office):
    given_out: list[Job] = []

    def does() -> None:
        given_out.extend(job for job in (office.lease(), office.lease()) if job is not None)

    office.does = does
    raised(office, write=True)
    assert len(given_out) == 1


def test_a_job_is_given_with_its_body_though_a_list_of_jobs_has_none(office):
    bodies: list[str] = []

    def does() -> None:
        if (job := office.lease()) is not None:
            bodies.append(job.body)
            office.counter.report(job, Ended.DONE, "r")

    office.does = does
    office.line().call("read", "the body", write=False)
    assert bodies == ["the body"]


def test_jobs_are_given_in_the_order_in_which_they_were_queued(office):
    outbox = office.outbox
    for number, name in enumerate(["b", "a", "c"]):
        queued_at = START + timedelta(seconds=number)
        outbox.put(job_of(name, queued_at, begin_by=START + timedelta(seconds=60)))
    assert [job.call for job in iter(office.lease, None)] == ["b", "a", "c"]


def job_of(call: str, queued_at: datetime, *, begin_by: datetime) -> Job:
    return Job("acme", "books", f"{queued_at.isoformat()}-{call}", call, "{}", True, queued_at, begin_by)


def test_a_job_whose_time_is_over_is_not_given(office):
    office.outbox.put(job_of("write", START, begin_by=START))
    office.clock.time = START + timedelta(microseconds=1)
    assert office.lease() is None


def test_a_job_of_another_lease_is_not_ended(office):
    office.outbox.put(job_of("write", START, begin_by=START + timedelta(seconds=9)))
    job = office.lease()
    assert job is not None
    assert not office.counter.report(replace(job, lease="other"), Ended.DONE, "forged")
    assert office.counter.report(job, Ended.DONE, "true")
    assert not office.counter.report(job, Ended.LOST, None)
    assert office.outbox.job("acme", "books", job.id).result == "true"


def test_held_until_work_comes(office):
    class Busy(StillClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if len(self.slept) == 3:
                office.outbox.put(job_of("read", self.time, begin_by=self.time + timedelta(seconds=9)))

    clock = Busy()
    counter = Counter(office.outbox, office.installations, clock)
    job = counter.lease(office.there, hold_seconds=5)
    assert (job is not None, len(clock.slept)) == (True, 3)
    assert counter.lease(office.there, hold_seconds=5) is None
    assert sum(clock.slept) == pytest.approx(0.75 + 5)


@pytest.mark.parametrize("seconds", [0.5, 5, 20, 37.9, 38, 40, 600])
@BOTH
def test_a_caller_with_little_time_waits_no_longer(office, seconds, write):
    patience = Patience.within(seconds)
    usual = Patience()
    assert patience.lease_seconds <= usual.lease_seconds
    assert patience.report_seconds <= usual.report_seconds
    assert (patience == usual) == (seconds >= 38)

    def fetched_late() -> None:
        if sum(office.clock.slept) + usual.look_seconds >= patience.lease_seconds:
            office.lease()

    office.does = fetched_late
    with pytest.raises(TieoutError):
        office.line(patience).call("call", "{}", write=write)
    assert sum(office.clock.slept) <= max(seconds, 4 * usual.look_seconds)


# Who is not there


@BOTH
@pytest.mark.parametrize("there", [None, replace(THERE, enrolled_at=None), replace(THERE, seen_at=None)])
def test_nothing_is_queued_for_who_was_never_there(office, write, there):
    office.installations.stored = {} if there is None else {("acme", "books"): there}
    found = raised(office, write=write)
    assert type(found) is UnavailableError
    assert found.next_step
    assert (office.outbox.stored, office.clock.slept) == ({}, [])


@BOTH
def test_nothing_is_queued_for_who_is_silent(office, write):
    office.clock.time = START + timedelta(seconds=SILENT_SECONDS + 1)
    found = raised(office, write=write)
    assert type(found) is UnavailableError
    assert "OFFICE-PC beside the books was last heard 2026-11-22 09:00 UTC." in found.message
    assert (office.outbox.stored, office.clock.slept) == ({}, [])


def test_who_was_heard_lately_is_asked(office):
    office.clock.time = START + timedelta(seconds=SILENT_SECONDS)
    office.ends(Ended.DONE, "result")
    assert office.call(write=True) == "result"


# The connector


@pytest.fixture
def beside():
    world = World()
    return Beside(replace(CONNECTION, tenant="acme"), world.books, world.clock), world


def effect(number: int = 1) -> Effect:
    return Effect(f"e{number}", Operation.CREATE, Kind.CUSTOMER, Customer(name=f"Acme {number}"), f"r{number}")


def test_a_connector_whose_calls_travel_does_what_the_real_one_does(beside):
    office, world = beside
    connector = office.connector()
    (done,) = connector.write([effect()])
    assert isinstance(done, Done)
    assert connector.read(Kind.CUSTOMER, [done.record.id]) == [world.books.records[Kind.CUSTOMER, done.record.id]]
    assert connector.search(Kind.CUSTOMER, "name", ["acme 1"]) == [done.record]
    assert connector.ids(Kind.CUSTOMER, None) == ([done.record.id], None)
    assert connector.changes(Kind.CUSTOMER, None).records == [done.record]
    assert connector.changes(Kind.CUSTOMER, connector.cursor_now(Kind.CUSTOMER)).more is False
    assert connector.probe() == world.books.probe()
    assert connector.manifest is world.books.manifest
    assert connector.find([effect()]) == world.books.find([effect()])
    assert office.outbox.stored == {}


def test_a_lost_report_leaves_each_write_unknown_in_its_own_name(beside):
    office, world = beside
    office.lose = lambda job: job.write
    outcomes = office.connector().write([effect(1), effect(2)])
    assert [type(one) for one in outcomes] == [Unknown, Unknown]
    assert [one.effect_id for one in outcomes] == ["e1", "e2"]
    assert len(world.books.all(Kind.CUSTOMER)) == 2
    assert office.ran == ["write"]


def scripted(ended: Ended, result: str | None) -> BridgedConnector:
    office = Office()
    office.ends(ended, result)
    return BridgedConnector(World().books.manifest, office.line())


def test_a_result_that_cannot_be_read_leaves_writes_unknown_and_reads_unavailable():
    assert [type(one) for one in scripted(Ended.DONE, "[{}]").write([effect()])] == [Unknown]
    for ask in (
        lambda one: one.probe(),
        lambda one: one.read(Kind.ITEM, ["1"]),
        lambda one: one.search(Kind.ITEM, "sku", ["1"]),
        lambda one: one.changes(Kind.ITEM, None),
        lambda one: one.cursor_now(Kind.ITEM),
        lambda one: one.ids(Kind.ITEM, None),
        lambda one: one.find([effect()]),
    ):
        with pytest.raises(UnavailableError):
            ask(scripted(Ended.DONE, "5"))


def test_an_outcome_that_the_report_leaves_out_is_unknown_and_a_strange_one_is_not_told():
    told = [
        {
            "effect": "e2",
            "done": {"kind": "customer", "id": "7", "version": "", "edited_at": None, "edited_by": "", "fields": {}},
        },
        {"effect": "e9", "not_done": {"error": "ConflictError", "message": "x"}},
    ]
    outcomes = scripted(Ended.DONE, pack(told)).write([effect(1), effect(2)])
    assert [(type(one), one.effect_id) for one in outcomes] == [(Unknown, "e1"), (Done, "e2")]


def test_what_was_not_done_is_told_of_each_effect():
    outcomes = scripted(Ended.NOT_BEGUN, None).write([effect(1), effect(2)])
    assert [(type(one), one.effect_id) for one in outcomes] == [(NotDone, "e1"), (NotDone, "e2")]
    (outcome,) = scripted(Ended.FAILED, encode_error(ThrottledError("Slow.", retry_after_seconds=9))).write([effect()])
    assert (type(outcome.error), outcome.error.retry_after_seconds) == (ThrottledError, 9)


def test_settings_that_are_wrong_beside_the_system_leave_writes_undone_and_pause_the_connection():
    wrong = SettingsError("There is no such company.", next_step="Open it.", detail="company")
    (outcome,) = scripted(Ended.FAILED, encode_error(wrong)).write([effect()])
    assert (type(outcome), type(outcome.error)) == (NotDone, ReconnectError)
    assert (outcome.error.message, outcome.error.next_step) == (wrong.message, wrong.next_step)
    with pytest.raises(SettingsError):
        scripted(Ended.FAILED, encode_error(wrong)).read(Kind.ITEM, ["1"])


# Any history


class Stage:
    """Threads of which one runs at a time, in the order of the times until which they sleep."""

    def __init__(self) -> None:
        self.time = START
        self._sleeping: list[tuple[datetime, int, threading.Event]] = []
        self._turns = 0
        self._back = threading.Event()
        self.failures: list[BaseException] = []

    def now(self) -> datetime:
        return self.time

    def jitter(self) -> float:
        return 0.5

    def sleep(self, seconds: float) -> None:
        mine = threading.Event()
        self._wait_for(mine, seconds)
        self._back.set()
        mine.wait()

    def play(self, *actors: Callable[[], None]) -> None:
        threads = [threading.Thread(target=self._act, args=(actor, self._begin()), daemon=True) for actor in actors]
        for thread in threads:
            thread.start()
        while self._sleeping:
            self._sleeping.sort(key=lambda one: one[:2])
            self.time, _, turn = self._sleeping.pop(0)
            self._back.clear()
            turn.set()
            assert self._back.wait(10), "an actor stands still"
        for thread in threads:
            thread.join(10)
        if self.failures:
            raise self.failures[0]

    def _begin(self) -> threading.Event:
        begin = threading.Event()
        self._wait_for(begin, 0)
        return begin

    def _wait_for(self, turn: threading.Event, seconds: float) -> None:
        self._turns += 1
        self._sleeping.append((self.time + timedelta(seconds=seconds), self._turns, turn))

    def _act(self, actor: Callable[[], None], begin: threading.Event) -> None:
        begin.wait()
        try:
            actor()
        except BaseException as failure:  # noqa: BLE001 - told by the thread of the test
            self.failures.append(failure)
        finally:
            self._back.set()


FATES = st.one_of(
    st.tuples(st.just("works"), st.integers(0, 40)),
    st.tuples(st.just("hears nothing of it"), st.integers(0, 40)),
    st.tuples(st.just("dies before it begins"), st.integers(1, 120)),
    st.tuples(st.just("dies after it ran"), st.integers(1, 120)),
    st.tuples(st.just("sleeps before it begins"), st.integers(1, 120)),
    st.tuples(st.just("sleeps after it ran"), st.integers(1, 120)),
    st.tuples(st.just("reports later"), st.integers(1, 60)),
)
BEGIN_SECONDS = 15


class History:
    """Two callers who write and look up what they do not know, and an agent to whom things happen."""

    END: ClassVar[timedelta] = timedelta(minutes=30)

    def __init__(self, fates: list[tuple[str, int]]) -> None:
        self.stage = Stage()
        self.outbox = MemoryOutbox()
        self.installations = MemoryInstallations(THERE)
        self.counter = Counter(self.outbox, self.installations, self.stage)
        self.fates = fates
        self.ran: Counts[str] = Counts()
        self.told: dict[str, type[TieoutError] | str] = {}
        self.absent: set[str] = set()
        self.working = 2

    def caller(self, name: str, begins: int, pauses: list[int]) -> Callable[[], None]:
        def act() -> None:
            line = Line(CONNECTION, "the books", outbox=self.outbox, installations=self.installations, clock=self.stage)
            self.stage.sleep(begins)
            for number, pause in enumerate(pauses):
                self.write(line, f"{name}{number}")
                self.stage.sleep(pause)
            self.working -= 1

        return act

    def write(self, line: Line, name: str) -> None:
        try:
            self.told[name] = line.call("write", name, write=True)
        except TieoutError as error:
            self.told[name] = type(error)
            if isinstance(error, UncertainError):
                self.look_up(line, name)

    def look_up(self, line: Line, name: str) -> None:
        for _ in range(5):
            try:
                if line.call("find", name, write=False) == "absent":
                    self.absent.add(name)
            except UnavailableError:
                self.stage.sleep(20)
            else:
                return

    def agent(self) -> None:
        reports: list[tuple[datetime, Job, Ended, str | None]] = []
        while self.working and self.stage.now() - START < self.END:
            reports = [one for one in reports if not self.told_report(one)]
            asked_at = self.stage.now()
            there = self.installations.installation("acme", "books")
            assert there is not None
            there = self.installations.put_installation(replace(there, seen_at=asked_at))
            self.counter.end_lost(there)
            job = self.counter.lease(there, hold_seconds=2)
            if job is None:
                self.stage.sleep(3)
                continue
            fate, seconds = self.fates.pop() if self.fates else ("works", 0)
            if fate == "hears nothing of it":
                self.stage.sleep(seconds)
                continue
            if fate in ("dies before it begins", "sleeps before it begins"):
                self.stage.sleep(seconds)
                if fate.startswith("dies"):
                    reports.append((self.stage.now(), job, Ended.LOST, None))
                    continue
            if self.stage.now() - asked_at > timedelta(seconds=BEGIN_SECONDS):
                self.counter.report(job, Ended.NOT_BEGUN, None)
                continue
            if fate == "works":
                self.stage.sleep(seconds)
            result = self.run(job)
            if fate == "dies after it ran":
                self.stage.sleep(seconds)
                reports.append((self.stage.now(), job, Ended.LOST, None))
                continue
            if fate == "sleeps after it ran":
                self.stage.sleep(seconds)
            later = timedelta(seconds=seconds if fate == "reports later" else 0)
            report = (self.stage.now() + later, job, Ended.DONE, result)
            if not self.told_report(report):
                reports.append(report)

    def told_report(self, report: tuple[datetime, Job, Ended, str | None]) -> bool:
        due, job, ended, result = report
        if self.stage.now() < due:
            return False
        self.counter.report(job, ended, result)
        return True

    def run(self, job: Job) -> str:
        if job.call == "find":
            return "there" if self.ran[job.body] else "absent"
        self.ran[job.body] += 1
        return "done"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fates=st.lists(FATES, max_size=12),
    begins=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    pauses=st.tuples(st.lists(st.integers(0, 40), max_size=4), st.lists(st.integers(0, 40), max_size=4)),
)
@example(fates=[("works", 40)], begins=(0, 0), pauses=([0, 0], [0]))
@example(fates=[("sleeps after it ran", 100)], begins=(0, 5), pauses=([0, 0], [0]))
@example(fates=[("hears nothing of it", 30), ("dies after it ran", 20)], begins=(0, 0), pauses=([0], [0]))
def test_in_any_history_each_write_runs_once_at_most_and_what_is_told_is_true(fates, begins, pauses):
    history = History(list(fates))
    history.stage.play(
        history.caller("a", begins[0], pauses[0]), history.caller("b", begins[1], pauses[1]), history.agent
    )
    assert set(history.told) == {
        f"{name}{n}" for name, some in zip("ab", pauses, strict=True) for n in range(len(some))
    }
    for name, told in history.told.items():
        ran = history.ran[name]
        assert ran <= 1, "nothing runs twice"
        if told == "done":
            assert ran == 1, "done is only told of what was run"
        elif told is UnavailableError:
            assert ran == 0, "what is told not to be done never runs, not later either"
        else:
            assert told is UncertainError
            assert not (ran and name in history.absent), "what was looked up and not there does not run later"


def test_the_histories_reach_every_end():
    ends: set[Any] = set()
    looked: set[bool] = set()
    for fate in ("works", "dies before it begins", "dies after it ran", "sleeps before it begins"):
        history = History([(fate, 20)])
        history.stage.play(history.caller("a", 0, [0, 0]), history.caller("b", 0, [0]), history.agent)
        ends |= set(history.told.values())
        looked |= {bool(history.ran[name]) for name, told in history.told.items() if told is UncertainError}
    assert ends == {"done", UnavailableError, UncertainError}
    assert looked == {True, False}


def test_records_of_any_size_come_back(beside):
    office, world = beside
    world.books.put(Kind.CUSTOMER, "1", name="Ünïcödé" * 50_000)
    (record,) = office.connector().read(Kind.CUSTOMER, ["1"])
    assert record == Record(Kind.CUSTOMER, "1", "0", START.replace(microsecond=0), {"name": "Ünïcödé" * 50_000})
