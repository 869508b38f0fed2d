"""`tieout connect` for systems in offices: who is let in, what is told about it, and that no secret is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, TENANT
from tests.unit.cli.conftest import FakeCatalogueEntry, Terminal
from tieout.bridge.calls import encode_error, run_call
from tieout.bridge.door import answered
from tieout.bridge.outbox import Counter
from tieout.bridge.serve import code_hash
from tieout.cli import beside
from tieout.cli import desk as desk_module
from tieout.cli.talk import Code
from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ReconnectError, TieoutError
from tieout.ports.connector import Account, Context, Reachability, SetupFile
from tieout.ports.http import Request

CODE = re.compile(r"\b[2-9A-HJ-NP-Z]{4}(?:-[2-9A-HJ-NP-Z]{4}){2}\b")
KEY = "5e" * 32


@dataclass
class ProgramEntry(FakeCatalogueEntry):
    """A provider whose system has a program of its own."""

    files: list[str] = field(default_factory=list)

    def setup_file(self, connection: Connection, *, address: str, user: str) -> SetupFile:
        self.files.append(address)
        return SetupFile(f"{connection.id}.qwc", f"<QBWCXML>{address} {user}</QBWCXML>")


def asked_through_the_door(context: Context) -> Account:
    answer = context.http.send(Request("POST", "qbxml:", write=False, body=b"<CompanyQuery/>"))
    return Account("1", answer.body.decode())


class Office:
    """The terminal, with books in an office, and somebody there who does as the test says while the command waits."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.deployment = terminal.desk.deployment
        books = terminal.world.books
        self.entry = FakeCatalogueEntry(books, books.manifest, asked_through_the_door)
        self.reach(Reachability.ON_PREMISES)
        crm = self.deployment.provider("fake_crm")
        self.deployment._given_provider = lambda name: self.entry if name == "fake_books" else crm
        connection = terminal.world.state.connection(TENANT, BOOKS)
        assert connection is not None
        terminal.world.state.put_connection(
            replace(connection, account="", state=ConnectionState.PAUSED, paused_because="Nobody has signed in yet.")
        )
        terminal.secrets.stored.pop((TENANT, BOOKS))
        self.does: Callable[[], None] = lambda: None
        self.slept: list[float] = []
        self.counter = Counter(self.deployment.outbox, self.deployment.installations, terminal.world.clock)

    def reach(self, reachability: Reachability) -> None:
        self.entry.manifest = replace(self.entry.manifest, reachability=reachability)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.does()
        self.terminal.world.clock.time += timedelta(seconds=seconds)

    @property
    def there(self) -> Installation | None:
        return self.deployment.installations.installation(TENANT, BOOKS)

    @property
    def connection(self) -> Connection:
        found = self.terminal.world.state.connection(TENANT, BOOKS)
        assert found is not None
        return found

    def heard(self, **changes: Any) -> None:
        now = self.terminal.world.clock.now()
        there = self.there or Installation(TENANT, BOOKS)
        self.deployment.installations.put_installation(replace(there, seen_at=now, **changes))

    def installs(self) -> None:
        """Somebody types the code, and the agent works from then on."""
        assert self.there is not None
        if self.there.enrolled_at is None:
            self.heard(enrolled_at=self.terminal.world.clock.now(), key_hash="k", machine="OFFICE-PC", instance="i1")
            self.terminal.secrets.stored[TENANT, BOOKS] = {"bridge_key": KEY}
        self.works()

    def works(self) -> None:
        self.heard()
        assert self.there is not None
        while (job := self.counter.lease(self.there)) is not None:
            self.reports(job)

    def reports(self, job: Job) -> None:
        if job.call == "request":
            self.counter.report(job, Ended.DONE, answered("Acme Ltd"))
            return
        try:
            self.counter.report(job, Ended.DONE, run_call(self.terminal.world.books, job.call, job.body))
        except TieoutError as error:
            self.counter.report(job, Ended.FAILED, encode_error(error))

    @property
    def shown(self) -> str:
        return self.terminal.out + self.terminal.err


@pytest.fixture
def office(terminal, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    real = desk_module.open_desk

    def open_desk(stack: str, tenant: str) -> Any:
        return replace(real(stack, tenant), bridge_url="https://bridge.example")

    monkeypatch.setattr(desk_module, "open_desk", open_desk)
    office = Office(terminal)
    monkeypatch.setattr(terminal.world.clock, "sleep", office.sleep)
    return office


def the_code(office: Office) -> str:
    (code,) = set(CODE.findall(office.shown))
    return str(code)


# An agent


def test_a_code_is_told_and_waited_for_until_the_system_answers(office):
    office.does = lambda: office.installs() if len(office.slept) > 5 else None
    office.terminal.type("connect", BOOKS)
    assert office.terminal.exit_code == Code.OK, office.shown
    code = the_code(office)
    assert (
        f"tieout agent install --address https://bridge.example/bridge/{TENANT}.{BOOKS} {code}" in office.terminal.err
    )
    assert "within 1 hour" in office.terminal.err
    assert "Fake (account 1, home currency USD)" in office.terminal.out
    assert CODE.search(office.terminal.out) is None, "the answer is on the standard output, what to do beside it"
    connection = office.connection
    assert (connection.state, connection.account, connection.paused_because) == (ConnectionState.ACTIVE, "1", "")
    assert office.terminal.schedules.kept[connection.address] == ("rate(1 hour)", True)
    assert KEY not in office.shown
    assert office.terminal.secrets.stored[TENANT, BOOKS] == {"bridge_key": KEY}


def test_only_a_hash_of_the_code_is_kept_for_an_hour(office):
    office.terminal.type("connect", BOOKS, "--no-wait")
    there = office.there
    assert there.code_hash == code_hash(the_code(office))
    assert there.code_until == office.terminal.world.clock.now() + timedelta(hours=1)
    assert (there.enrolled_at, there.key_hash) == (None, "")
    assert the_code(office) not in repr(there)


def test_codes_are_never_the_same(office):
    codes = set()
    for _ in range(20):
        office.terminal.type("connect", BOOKS, "--no-wait")
        codes.add(the_code(office))
    assert len(codes) == 20


def test_without_waiting_the_command_says_how_to_go_on(office):
    answer = office.terminal.json("connect", BOOKS, "--no-wait")
    assert office.terminal.exit_code == Code.OK
    assert CODE.fullmatch(answer["code"])
    assert answer["command"].endswith(answer["code"])
    assert answer["next"] == f"tieout connect {BOOKS} --tenant {TENANT}"
    assert answer["code_until"].startswith("2026-11-22T10:00:00")
    assert office.slept == []
    assert office.connection.state is ConnectionState.PAUSED

    office.terminal.type("connect", BOOKS, "--no-wait")
    assert f"Then run `tieout connect {BOOKS} --tenant {TENANT}`." in office.terminal.out

    office.installs()
    office.does = office.works
    answer = office.terminal.json("connect", BOOKS, "--no-wait")
    assert (answer["account"], answer["state"]) == ("1", "active")
    assert CODE.search(office.shown) is None, "who is let in needs no other code"


def test_without_waiting_and_nobody_there_it_says_so(office):
    office.terminal.type("connect", BOOKS, "--no-wait")
    office.heard(enrolled_at=office.terminal.world.clock.now())
    office.terminal.world.clock.time += timedelta(hours=1)
    office.terminal.type("connect", BOOKS, "--no-wait")
    assert office.terminal.exit_code == Code.TRY_LATER
    assert "could not be asked" in office.terminal.err
    assert f"tieout connect {BOOKS} --tenant {TENANT}" in office.terminal.err


def test_nobody_is_waited_for_longer_than_an_hour(office):
    office.terminal.type("connect", BOOKS)
    assert office.terminal.exit_code == Code.NO
    assert "Nobody has installed it within an hour." in office.terminal.err
    assert sum(office.slept) == 3600
    assert office.connection.state is ConnectionState.PAUSED


def test_the_system_is_waited_for_too(office):
    def does() -> None:
        if office.there is not None and office.there.enrolled_at is None:
            office.heard(enrolled_at=office.terminal.world.clock.now())
        elif len(office.slept) > 30:
            office.works()

    office.does = does
    office.terminal.type("connect", BOOKS)
    assert office.terminal.exit_code == Code.OK, office.shown


def test_what_the_system_refuses_is_told_at_once(office):
    def refuse() -> Account:
        raise ReconnectError("The password of the company is wrong.", next_step="Install it again.")

    office.terminal.world.books.probe = refuse
    office.does = office.installs
    office.terminal.type("connect", BOOKS)
    assert office.terminal.exit_code == Code.SETUP
    assert "The password of the company is wrong." in office.terminal.err
    assert office.connection.state is ConnectionState.PAUSED


def test_another_account_is_not_taken(office):
    office.terminal.world.state.put_connection(replace(office.connection, account="7"))
    office.does = office.installs
    office.terminal.type("connect", BOOKS)
    assert office.terminal.exit_code == Code.NO
    assert "This is the account 1, but quickbooks is of the account 7" in office.terminal.err
    assert office.connection.state is ConnectionState.PAUSED


def test_a_new_code_shuts_out_who_was_let_in(office):
    office.terminal.type("connect", BOOKS, "--no-wait")
    office.installs()
    office.heard(sequence=77, session="s", told_at=office.terminal.world.clock.now())
    office.terminal.type("connect", BOOKS, "--new-code", "--no-wait")
    there = office.there
    assert there.code_hash == code_hash(the_code(office))
    assert replace(there, code_hash="", code_until=None) == Installation(TENANT, BOOKS, revision=there.revision)
    assert office.terminal.secrets.stored[TENANT, BOOKS] == beside.WAITS, "the former key is gone"


def test_revoking_lets_nobody_in(office):
    office.terminal.type("connect", BOOKS, "--no-wait")
    office.installs()
    answer = office.terminal.json("connect", BOOKS, "--revoke")
    assert (office.terminal.exit_code, answer) == (Code.OK, {"connection": BOOKS, "revoked": True})
    assert office.there == Installation(TENANT, BOOKS, revision=office.there.revision)
    assert office.terminal.secrets.stored[TENANT, BOOKS] == beside.WAITS
    office.terminal.type("connect", BOOKS, "--revoke")
    assert "is no longer let in. Changes wait, nothing is lost." in office.terminal.out
    assert f"For another computer: tieout connect {BOOKS} --tenant {TENANT}" in office.terminal.out


def test_a_revoked_code_is_no_longer_good(office):
    office.terminal.type("connect", BOOKS, "--no-wait")
    office.terminal.type("connect", BOOKS, "--revoke")
    assert office.there.code_hash == ""


@pytest.mark.parametrize("option", ["--revoke", "--new-code"])
def test_in_the_cloud_there_is_nobody_to_let_in(office, option):
    before = dict(office.terminal.secrets.stored)
    office.terminal.type("connect", CRM, option, given="sync\nopen-sesame\n")
    assert office.terminal.exit_code == Code.USAGE
    assert "act is reached from the cloud" in office.terminal.err
    assert office.terminal.secrets.stored == before


def test_a_stack_without_a_bridge_says_so(terminal, monkeypatch):
    office = Office(terminal)
    monkeypatch.setattr(terminal.world.clock, "sleep", office.sleep)
    terminal.type("connect", BOOKS, "--no-wait")
    assert terminal.exit_code == Code.SETUP
    assert "This stack has no bridge yet." in terminal.err
    assert office.there is None
    assert (TENANT, BOOKS) not in terminal.secrets.stored


# A program of the system's own


@pytest.fixture
def desktop(office):
    office.entry = ProgramEntry(office.entry.real, office.entry.manifest, office.entry.check)
    office.reach(Reachability.WEB_CONNECTOR)
    return office


def test_a_file_is_written_and_its_password_told_once(desktop, tmp_path):
    desktop.does = desktop.works
    desktop.terminal.type("connect", BOOKS)
    assert desktop.terminal.exit_code == Code.OK, desktop.shown
    file = tmp_path / "quickbooks.qwc"
    assert file.read_text() == (
        f"<QBWCXML>https://bridge.example/webconnector/{TENANT}.{BOOKS} {TENANT}.{BOOKS}</QBWCXML>"
    )
    secrets = desktop.terminal.secrets.stored[TENANT, BOOKS]
    assert secrets["username"] == f"{TENANT}.{BOOKS}"
    assert len(secrets["password"]) >= 24
    assert secrets["password"] not in file.read_text()
    assert secrets["password"] not in desktop.terminal.out
    assert desktop.terminal.err.count(secrets["password"]) == 1
    assert "Acme Ltd (account 1)" in desktop.terminal.out
    assert desktop.connection.state is ConnectionState.ACTIVE

    desktop.terminal.type("connect", BOOKS)
    assert secrets["password"] not in desktop.shown, "it is told once"
    assert desktop.terminal.secrets.stored[TENANT, BOOKS] == secrets


def test_the_file_goes_where_it_is_wanted(desktop, tmp_path):
    answer = desktop.terminal.json("connect", BOOKS, "--no-wait", "--file", str(tmp_path / "a.qwc"))
    assert answer["file"] == str(tmp_path / "a.qwc")
    assert answer["user"] == f"{TENANT}.{BOOKS}"
    assert answer["password"] == desktop.terminal.secrets.stored[TENANT, BOOKS]["password"]
    assert (tmp_path / "a.qwc").exists()
    assert desktop.slept == []


def test_a_file_that_cannot_be_written_changes_nothing(desktop, tmp_path):
    desktop.terminal.type("connect", BOOKS, "--no-wait", "--file", str(tmp_path / "no" / "a.qwc"))
    assert desktop.terminal.exit_code == Code.USAGE
    assert "cannot be written" in desktop.terminal.err
    assert desktop.there is None
    assert (TENANT, BOOKS) not in desktop.terminal.secrets.stored


def test_a_new_password_ends_the_former_session(desktop):
    desktop.terminal.json("connect", BOOKS, "--no-wait")
    former = desktop.terminal.secrets.stored[TENANT, BOOKS]["password"]
    desktop.heard(session="s", machine="OLD-PC")
    answer = desktop.terminal.json("connect", BOOKS, "--no-wait", "--new-code")
    assert answer["password"] not in ("", former)
    there = desktop.there
    assert (there.session, there.machine, there.seen_at) == ("", "", None)
    assert there.enrolled_at is not None


def test_revoking_a_program_takes_its_password_away(desktop):
    desktop.terminal.json("connect", BOOKS, "--no-wait")
    desktop.terminal.type("connect", BOOKS, "--revoke")
    assert desktop.terminal.secrets.stored[TENANT, BOOKS] == beside.WAITS
    assert desktop.there.enrolled_at is None


def test_a_system_with_a_program_of_its_own_needs_no_agent(desktop):
    """Though its document says that it is reached through one."""
    desktop.terminal.world.state.put_connection(replace(desktop.connection, through_agent=True))
    desktop.does = desktop.works
    desktop.terminal.type("connect", BOOKS)
    assert desktop.terminal.exit_code == Code.OK, desktop.shown
    assert "Acme Ltd (account 1)" in desktop.terminal.out


# Documents

DOCUMENT = """\
kind: connection
id: quickbooks
provider: fake_books
through_agent: true
"""


def test_a_connection_of_any_provider_can_stand_in_an_office(office, tmp_path):
    office.reach(Reachability.CLOUD)
    office.terminal.world.state.connections_by_name.clear()
    (tmp_path / "c.yaml").write_text(DOCUMENT)
    (applied,) = office.terminal.json("config", "apply", str(tmp_path / "c.yaml"))["applied"]
    assert applied["next"] == f"tieout connect {BOOKS} --tenant {TENANT}"
    connection = office.connection
    assert (connection.through_agent, connection.state) == (True, ConnectionState.PAUSED)
    assert office.terminal.schedules.kept[connection.address] == ("rate(1 hour)", False)

    office.does = office.installs
    office.terminal.type("connect", BOOKS)
    assert office.terminal.exit_code == Code.OK, office.shown
    assert the_code(office)
    (applied,) = office.terminal.json("config", "apply", str(tmp_path / "c.yaml"))["applied"]
    assert (applied["end"], applied["next"]) == ("unchanged", "")
    assert office.terminal.schedules.kept[connection.address] == ("rate(1 hour)", True)


# Status


def installation(office: Office) -> dict[str, Any] | None:
    (found,) = [one for one in office.terminal.json("status")["connections"] if one["id"] == BOOKS]
    told: dict[str, Any] | None = found["installation"]
    return told


def test_status_of_a_connection_that_needs_nothing_in_an_office(office):
    assert installation(office) is None
    office.terminal.type("status")
    assert "Beside it" not in office.terminal.out


def test_status_of_what_is_let_in_and_heard(office):
    office.terminal.type("connect", BOOKS, "--no-wait")
    office.terminal.type("status")
    assert f"Nothing is installed beside it yet: run `tieout connect {BOOKS} --tenant {TENANT}`." in office.terminal.out
    assert installation(office)["let_in"] is False

    office.heard(
        enrolled_at=office.terminal.world.clock.now(),
        worked_at=office.terminal.world.clock.now(),
        machine="OFFICE-PC",
        system="Windows 11",
        version="0.1.0",
    )
    told = installation(office)
    assert told == {
        "let_in": True,
        "silent": False,
        "last_seen_at": told["last_seen_at"],
        "last_job_at": told["last_seen_at"],
        "machine": "OFFICE-PC",
        "system": "Windows 11",
        "version": "0.1.0",
        "backlog": 0,
    }
    assert told["last_seen_at"].startswith("2026-11-22T09:00:00")
    office.terminal.type("status")
    said = " ".join(office.terminal.out.split())
    assert "Beside it: OFFICE-PC Windows 11, version 0.1.0, last seen 2026-11-22T09:00:00Z, 0 jobs to fetch" in said

    office.terminal.world.clock.time += timedelta(seconds=91)
    assert installation(office)["silent"] is True
    office.terminal.type("status")
    assert "last seen 2026-11-22T09:00:00Z, silent now, 0 jobs to fetch" in " ".join(office.terminal.out.split())


def test_status_counts_what_is_still_to_be_fetched(office):
    office.heard(enrolled_at=office.terminal.world.clock.now())
    now = office.terminal.world.clock.now()

    def put(number: int, state: JobState, seconds: int) -> None:
        by = now + timedelta(seconds=seconds)
        office.deployment.outbox.put(Job(TENANT, BOOKS, f"j{number}", "read", "{}", False, now, by, state))

    for number, (state, seconds) in enumerate(
        [(JobState.QUEUED, 12), (JobState.QUEUED, -1), (JobState.LEASED, 12), (JobState.ENDED, 12)]
    ):
        put(number, state, seconds)
    assert installation(office)["backlog"] == 1, "nobody waits any more for what was not fetched in time"
    office.terminal.type("status")
    assert "1 job to fetch" in office.terminal.out


def test_status_shows_no_secret(office):
    office.terminal.type("connect", BOOKS, "--no-wait")
    code = the_code(office)
    office.installs()
    office.heard(session=json.dumps({"ticket": "TICKET"}))
    told = json.dumps(office.terminal.json("status"))
    office.terminal.type("status")
    for secret in (code, code_hash(code), KEY, "TICKET"):
        assert secret not in told + office.shown
