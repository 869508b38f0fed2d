"""QuickBooks Desktop through the service that the Web Connector asks: SOAP over HTTP, and runs that are cut off.

Nothing here hands a request over directly: the connector's requests wait as jobs, a simulated Web Connector fetches
them, has the company file answer, and brings the answers back.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.bridge import Waiting
from tests.contract.fakes import MemorySecrets
from tests.contract.suite import ConnectorContract, Wrap, all_changes, done, only
from tests.contract.test_quickbooks_desktop import QuickBooksDesktopWorld
from tests.web_connector import Service
from tieout.bridge.door import BridgedDoor
from tieout.bridge.line import Line
from tieout.domain.connections import Connection
from tieout.domain.documents import Customer
from tieout.domain.effects import Done, Effect, NotDone, Unknown
from tieout.domain.errors import UnavailableError
from tieout.domain.records import Kind
from tieout.ports.connector import Connector
from tieout.ports.http import Answer, Http, Request
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.quickbooks_desktop import create_app
from tieout_sandbox.simulators.quickbooks_desktop.routes import QuickBooksDesktop
from tieout_sandbox.simulators.quickbooks_desktop.webconnector import Cut, Run, WebConnector
from tieout_sandbox.simulators.server import serve

SECRETS = {"username": "acme.under-test", "password": "correct horse"}
PATIENCE_SECONDS = 20


class Office:
    """The Web Connector on its computer: each `work` lets it go on until it has nothing to do, or its run ended.

    Attributes:
        cut: What cuts off a run, by the request that is in hand.
        runs: Those that ended.
    """

    def __init__(self, simulator: QuickBooksDesktop, address: str) -> None:
        self.cut: Callable[[str], Cut | None] = lambda _: None
        self.runs: list[Run] = []
        self._simulator, self._address = simulator, address
        self._go, self._idle = threading.Semaphore(0), threading.Semaphore(0)
        self._ended = False
        self._thread = threading.Thread(target=self._loop, name="web-connector", daemon=True)
        self._thread.start()

    def work(self) -> None:
        self._go.release()
        assert self._idle.acquire(timeout=PATIENCE_SECONDS), "the Web Connector hangs"

    def close(self) -> None:
        self._ended = True
        self._go.release()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def connector(self, **instead: Any) -> WebConnector:
        """A Web Connector as it is set up here."""
        given = {
            "user": SECRETS["username"],
            "password": SECRETS["password"],
            "pause": self._pause,
            "cut": self._cut_here,
            **instead,
        }
        return WebConnector(self._simulator.company, self._address, **given)

    def _cut_here(self, text: str) -> Cut | None:
        return self.cut(text)

    def _pause(self) -> None:
        self._idle.release()
        self._go.acquire()

    def _loop(self) -> None:
        self._go.acquire()
        while not self._ended:
            self._running = self.connector(pause=self._rest)
            self.runs.append(self._running.run())
            self._running.close()
            if not self._ended:
                self._pause()

    def _rest(self) -> None:
        self._pause()
        if self._ended:
            self._running.stop()


class BesideWorld(QuickBooksDesktopWorld):
    """The company file is only reached by what the Web Connector fetches."""

    def __init__(self, url: str, clock: SimulatedClock, simulator: QuickBooksDesktop, service: Service) -> None:
        super().__init__(url, clock, simulator)
        self.service = service
        self.secrets = MemorySecrets(SECRETS)
        self.office = Office(simulator, service.address)
        line = Line(
            service.known,
            "QuickBooks Desktop",
            outbox=service.outbox,
            installations=service.installations,
            clock=Waiting(clock, self.office.work),
        )
        self.http: Http = BridgedDoor(line)

    def connector(
        self, *, faults: Iterable[Mapping[str, Any]] = (), wrap: Wrap | None = None, **settings: object
    ) -> Connector:
        """Statuses are the door's; what is lost or cut is so on the way."""
        given = list(faults)
        cuts = [fault for fault in given if fault["kind"] in {"lost_answer", "reset"}]
        counts = [fault.get("times", 1_000_000) for fault in cuts]

        def cut(text: str) -> Cut | None:
            for index, fault in enumerate(cuts):
                path = f"/qbxml/{'write' if 'newMessageSetID' in text else 'read'}"
                if counts[index] and fnmatchcase(path, fault.get("match", {}).get("path", "*")):
                    counts[index] -= 1
                    return Cut.ANSWER if fault["kind"] == "lost_answer" else Cut.REQUEST
            return None

        self.office.cut = cut
        statuses = [fault for fault in given if fault["kind"] == "status"]
        inner = wrap or (lambda http: http)
        return self.provider.open(self.context(wrap=lambda http: inner(Door(http, statuses)), **settings))


class Door:
    """Answers with a status of its own where a fault says so: the bridge itself knows none of these."""

    def __init__(self, http: Http, statuses: Iterable[Mapping[str, Any]]) -> None:
        self._http, self._statuses = http, list(statuses)

    def send(self, request: Request) -> Answer:
        path = f"/qbxml/{'write' if request.write else 'read'}"
        for fault in self._statuses:
            if fnmatchcase(path, fault.get("match", {}).get("path", "*")):
                return Answer(fault["status"], {}, b"")
        return self._http.send(request)


@pytest.fixture
def world() -> Iterator[BesideWorld]:
    clock = SimulatedClock()
    app = create_app(clock=clock)
    connection = Connection("acme", "under-test", "quickbooks_desktop")
    with serve(app) as url, Service(connection, MemorySecrets(SECRETS), clock).served() as service:
        opened = BesideWorld(url, clock, app.extensions["simulator"], service)
        with opened.session:
            yield opened
        opened.office.close()


class TestContract(ConnectorContract):
    """Every connector's tests, all the way through the service."""


class TestRuns:
    def test_a_run_that_is_cut_off_at_any_place_doubles_nothing(self, world):
        """What the engine does: an unknown write is looked up, and written again only if it is not there."""
        dice = random.Random(7)
        connector = world.connector()
        places = [Cut.ANSWER, Cut.REQUEST]
        world.office.cut = lambda _: dice.choice(places) if dice.random() < 0.3 else None
        effects = [world.effect(Kind.CUSTOMER, Customer(name=f"Acme {number}")) for number in range(30)]
        written = {effect.id: self._at_last(connector, effect) for effect in effects}

        assert len(set(written.values())) == len(effects)
        names = [row["Name"] for row in world.company.tables["Customer"].values()]
        assert sorted(names) == sorted(["Acme Corporation", *(f"Acme {number}" for number in range(30))])
        assert {run.end for run in world.office.runs} == {"cut"}
        assert len(world.office.runs) > len(effects) // 4

    def _at_last(self, connector: Connector, effect: Effect) -> str:
        for _ in range(50):
            try:
                if (matches := connector.find([effect]).get(effect.id)) is not None:
                    return matches[0].record.id
                outcome = only(connector.write([effect]))
            except UnavailableError:
                continue
            if isinstance(outcome, Done):
                return outcome.record.id
        raise AssertionError("50 tries were not enough")

    def test_a_list_goes_on_over_the_pages_of_one_run(self, world):
        _, made = world.make_records(7)

        records, _, _ = all_changes(world.connector(page_records=2), Kind.INVOICE, None)

        assert sorted(record.id for record in records) == sorted(made)
        assert world.office.runs == []

    def test_a_run_without_work_comes_to_its_end(self, world):
        connector = world.connector()
        connector.probe()
        world.clock.advance(41)
        world.office.work()

        (run,) = world.office.runs
        assert (run.end, run.errors) == ("closed", [])
        assert isinstance(only(connector.write([world.sample_effects()[0]])), Done)

    @pytest.mark.parametrize("instead", [{"password": "wrong"}, {"user": "acme.other"}, {"password": ""}])
    def test_nobody_else_is_let_in(self, world, instead):
        connector = world.office.connector(**instead)

        run = connector.run()

        assert (run.end, run.requests) == ("nvu", 0)
        connector.close()

    def test_another_company_file_is_told_and_not_touched(self, world):
        world.service.known = replace(world.service.known, settings={"company_file": r"C:\Other.qbw"})
        connector = world.office.connector()

        run = connector.run()

        assert (run.end, run.requests) == ("connection error", 0)
        connector.close()

    def test_why_quickbooks_did_not_take_a_request_is_shown_in_the_web_connector(self, world):
        connector = world.connector()
        connector.probe()
        world.set(result="0x80040414")

        outcome = only(connector.write([world.sample_effects()[0]]))

        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, UnavailableError)
        run = world.office.runs[-1]
        assert run.percent[-1] < 0
        assert "0x80040414" in run.errors[0]

    def test_a_second_run_ends_the_first_and_its_request_is_unknown(self, world):
        connector = world.connector()
        connector.probe()
        runs: list[Run] = []

        def stop() -> None:
            second.stop()

        second = world.office.connector(pause=stop)

        def begin_another(text: str) -> Cut | None:
            if "newMessageSetID" in text and not runs:
                runs.append(second.run())
            return None

        world.office.cut = begin_another
        effect = world.sample_effects()[0]

        outcome = only(connector.write([effect]))

        assert isinstance(outcome, Unknown)
        assert runs[0].requests == 0
        second.close()
        assert done(connector.write([effect])).id == connector.find([effect])[effect.id][0].record.id
        assert len(world.company.tables["Customer"]) == 2

    def test_a_body_that_is_no_call_gets_a_fault(self, world):
        answer = world.session.post(world.service.address, data=b"<a/>", timeout=10)

        assert answer.status_code == 500
        assert b"faultstring" in answer.content
