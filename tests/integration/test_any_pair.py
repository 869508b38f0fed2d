"""Any CRM with any books, by the preset of the pair, from the documents to the last payment; nothing here names one.

What is peculiar to a provider is its side of the stage (`tieout_sandbox.sides`): the real simulator or server, in a
process of its own. Between the two stand the real connectors, the terminal's own commands, and the stores in moto.
"""

from __future__ import annotations

import itertools
import json
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from tests.aws import deploy, mocked
from tests.bridge import Beside, Waiting
from tests.contract.fakes import MemoryLease, MemorySecrets
from tests.engine.world import MemoryQueue
from tests.web_connector import Served, Service
from tieout.bootstrap import Deployment
from tieout.bridge.line import Line
from tieout.cli import desk as desk_module
from tieout.cli.desk import Desk
from tieout.cli.main import app
from tieout.connectors import PROVIDERS, provider
from tieout.domain.bridge import Installation
from tieout.domain.changes import Change, Origin
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.records import Kind
from tieout.mapping import CompiledSync, compile_sync, preset
from tieout.ports.connector import Context, Role
from tieout.transport import RequestsHttp
from tieout_sandbox.sides import BooksSide, Program, WonDeals
from tieout_sandbox.simulators import books_side, won_deals
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import OPERATOR_HEADER

TENANT = "demo"
DEALS = 4
"""So many stand in the CRM."""
ALL = 1000
DELIVERY_CHANGES = 500
WAITS_MAX = 2000

type Pair = tuple[str, str]


MEETS = 1
"""With so many others `make test` tries each provider; all pairs take ten minutes: `make pairs`."""


def pairs() -> Iterator[Any]:
    """Every CRM with every books but itself."""
    crms, books = (
        [one.manifest.provider for one in PROVIDERS if role in one.manifest.roles] for role in (Role.CRM, Role.BOOKS)
    )
    for (i, crm), (j, other) in itertools.product(enumerate(crms), enumerate(books)):
        if crm != other:
            is_near = (j - i) % max(len(crms), len(books)) < MEETS
            yield pytest.param((crm, other), id=f"{crm}-{other}", marks=() if is_near else (pytest.mark.every_pair,))


class WorkingClock(WallClock):
    """The machine's time and what was slept; while somebody sleeps, the workers work."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._working = False
        self.work = lambda: None

    def now(self) -> datetime:
        return super().now() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)
        if not self._working:
            self._working = True
            try:
                self.work()
            finally:
                self._working = False


class Schedules:
    """Implements `tieout.cli.schedules.Schedules`: nothing is polled by the clock here."""

    def put(self, _connection: Connection, _rate: str, *, enabled: bool) -> bool:
        return enabled


@dataclass
class AnyPair:
    """Both sides up, and a terminal. Implements `tieout_sandbox.sides.Operator`."""

    crm: WonDeals
    books: BooksSide
    sync: CompiledSync
    clock: WorkingClock
    deployment: Deployment
    queue: MemoryQueue
    folder: Path
    out: str = field(default="", init=False)
    beside: dict[str, Beside] = field(default_factory=dict, init=False)
    lines: dict[str, Line] = field(default_factory=dict, init=False)
    closing: ExitStack = field(default_factory=ExitStack, init=False)

    def tieout(self, *arguments: str, given: str = "", ends: tuple[int, ...] = (0,)) -> int:
        """The exit code of a command, which is one of `ends`."""
        result = CliRunner().invoke(app, list(arguments), input=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        said = f"tieout {' '.join(arguments)} ended with {result.exit_code}\n{result.stdout}\n{result.stderr}"
        assert result.exit_code in ends, said
        self.out = result.stdout
        return result.exit_code

    def json(self, *arguments: str) -> Any:
        """What a command says that ends well."""
        self.tieout(*arguments, "--json")
        return json.loads(self.out)

    def consent(self, connection: str, app: Mapping[str, str], pages: str) -> None:
        """Connect by a consent page, which opens in a browser that agrees at once."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(webbrowser, "open", lambda address: _browse(address, pages))
            self.tieout("connect", connection, "--secrets-file", "-", given=json.dumps(dict(app)))

    def webhook_address(self, connection: str) -> str:
        """Where nobody listens."""
        return f"http://127.0.0.1:9/{TENANT}.{connection}"

    def install_agent(self, connection: str, secrets: Mapping[str, str]) -> None:
        """Somebody stands beside the connection's system from now on, and proves that it answers."""
        stored = next(one for one in self.deployment.config.connections(TENANT) if one.id == connection)
        http, clock = RequestsHttp(lambda _: None, clock=WallClock()), WallClock()
        context = Context(stored, MemorySecrets(secrets), http, clock, MemoryLease())
        beside = Beside(stored, provider(stored.provider).open(context), self.clock)
        self.beside[connection] = beside
        account = beside.connector().probe()
        self.deployment.config.put_connection(replace(stored, account=account.id, state=ConnectionState.ACTIVE))

    def own_program(self, connection: str) -> Program:
        """The system's own program may come; while somebody waits for it, its calls are answered."""
        stored = next(one for one in self.deployment.config.connections(TENANT) if one.id == connection)
        program = {"username": stored.address, "password": "correct horse"}
        self.deployment.secrets.write(TENANT, connection, program)
        there = Installation(TENANT, connection, enrolled_at=self.clock.now())
        self.deployment.installations.put_installation(there)
        service = self.closing.enter_context(Service(stored, MemorySecrets(program), Served(self.clock)).served())
        clock = Waiting(self.clock, service.wait_for_a_call)
        title = provider(stored.provider).manifest.title
        self.lines[connection] = Line(
            stored, title, outbox=service.outbox, installations=service.installations, clock=clock
        )
        return Program(service.address, program["username"], program["password"])

    def line(self, connection: Connection) -> Line:
        """The way to a system in an office."""
        if connection.id in self.lines:
            return self.lines[connection.id]
        return self.beside[connection.id].connector()._line

    def configure(self) -> None:
        """Check and apply the documents of both connections and the preset; sign in."""
        file = self.folder / "documents.yaml"
        documents = [self.crm.document(self), self.books.document(self), self.sync.document.text]
        file.write_text("---\n".join(documents), "utf-8")
        self.tieout("config", "check", str(file))
        self.tieout("config", "apply", str(file))
        for side in (self.crm, self.books):
            side.connect(self)

    def tell(self, connection: str, kind: Kind, record_id: str) -> None:
        """Let the workers know of a change, and work until nothing waits."""
        self.queue.send([Change(TENANT, connection, kind, record_id, self.clock.now(), Origin.WEBHOOK)])
        for _ in range(WAITS_MAX):
            if not sum(self.queue.waiting().values()):
                return
            self.clock.sleep(1)
        raise AssertionError(f"after {WAITS_MAX} seconds, {self.queue.waiting()} still wait")

    def work(self) -> None:
        """What is due now."""
        now = self.clock.now()
        changes, self.queue.now = self.queue.now, []
        changes += [change for due, change in self.queue.later if due <= now]
        self.queue.later = [(due, change) for due, change in self.queue.later if due > now]
        for begin in range(0, len(changes), DELIVERY_CHANGES):
            self.deployment.apply_changes().apply(changes[begin : begin + DELIVERY_CHANGES])


def _browse(address: str, pages: str) -> bool:
    """Agree on the page in a thread: the command waits for the browser that comes back to it."""
    assert address.startswith(pages)
    threading.Thread(
        target=lambda: requests.get(address, headers={OPERATOR_HEADER: "1"}, timeout=60), name="browser"
    ).start()
    return True


@contextmanager
def any_pair(pair: Pair, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnyPair]:
    """The pair, ready to be configured."""
    sync = compile_sync(preset("-".join(pair)))
    crm, books = won_deals(pair[0])(sync.source, DEALS), books_side(pair[1])(sync.target)
    clock = WorkingClock()
    queue = MemoryQueue(clock)  # type: ignore[arg-type]  # it asks the clock for the time alone
    with ExitStack() as stack:
        clients = stack.enter_context(mocked(monkeypatch))
        for side in (crm, books):
            stack.enter_context(side.start(folder, {}))
        deployment = Deployment(deploy(clients), clients=clients, clock=clock)
        deployment.__dict__["queue"] = queue

        def open_desk(_stack: str, tenant: str) -> Desk:
            return Desk(deployment, tenant, Schedules(), "http://127.0.0.1:9/", "rate(1 hour)")

        monkeypatch.setattr(desk_module, "open_desk", open_desk)
        monkeypatch.setenv("TIEOUT_TENANT", TENANT)
        way = AnyPair(crm, books, sync, clock, deployment, queue, folder)
        clock.work = way.work
        monkeypatch.setattr(deployment, "_line", way.line)
        stack.enter_context(way.closing)
        yield way


@pytest.mark.parametrize("pair", list(pairs()))
def test_a_won_deal_is_invoiced_and_its_payment_comes_back(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with any_pair(pair, tmp_path, monkeypatch) as way:
        way.configure()
        won = way.crm.won(ALL)
        assert won

        records = [part for deal in won for part in ("--record", deal.id)]
        planned = way.json("plan", way.sync.name, *records)["plan"]
        for step in way.sync.steps:
            if step.reads == "source":
                assert sum(planned["counts"][step.name].values()) > 0  # the deal, its customer, its product
        way.json("apply", planned["id"], "--yes")

        totals = {invoice.number: invoice.total for invoice in way.books.invoices()}
        assert totals == {deal.number: deal.total for deal in won}

        deal = won[0]
        way.books.pay(deal.number)
        invoice = way.books.invoice(deal.number)
        assert invoice.paid == deal.total
        for step in way.sync.steps:
            if step.reads == "target":
                way.tell(way.sync.target, step.from_kind, invoice.id)
                assert way.crm.deal(deal.id).paid == deal.total

        way.tieout("tie-out", way.sync.name, "--json", ends=(0, 1))  # 1: nobody asked for the other customers
        compared = {step["step"]: step for step in json.loads(way.out)["steps"]}
        assert compared["invoices"]["ties_out"]
        assert compared["invoices"]["source_count"] == len(won)
        assert way.json("parked", "list")["parked"] == []
