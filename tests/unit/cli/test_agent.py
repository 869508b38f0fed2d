"""`tieout agent` as it is typed, against a bridge on this machine."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.office.bridge import NAME, Bridge, served
from tests.office.paper import PAPER, Books
from tieout import connectors
from tieout.adapters.clock import SystemClock
from tieout.agent.folder import Folder
from tieout.agent.spool import Spool, Trouble
from tieout.cli.main import app

PASSWORD = "CANARY-password"
CLOCK = SystemClock()


@dataclass
class Desk:
    """The office's computer."""

    bridge: Bridge
    books: Books
    data: Path
    exit_code: int = 0
    out: str = ""
    err: str = ""

    def type(self, *arguments: str, given: str | None = None) -> Desk:
        result = CliRunner().invoke(app, ["agent", *arguments, "--data", str(self.data)], input=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.exit_code, self.out, self.err = result.exit_code, result.stdout, result.stderr
        return self

    def json(self, *arguments: str, given: str | None = None) -> Any:
        return json.loads(self.type(*arguments, "--json", given=given).out)

    def install(self, *more: str, given: str | None = f"{PASSWORD}\n") -> Desk:
        return self.type("install", "--address", self.bridge.address, self.bridge.code, *more, given=given)

    @property
    def folder(self) -> Folder:
        return Folder(self.data)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setattr(connectors, "PROVIDERS", (*connectors.PROVIDERS, PAPER))
    bridge = Bridge(lambda: CLOCK.now().timestamp())
    with Books(password=PASSWORD) as books, served(bridge):
        bridge.settings = {"base_url": books.url}
        yield Desk(bridge, books, tmp_path / "agent")
    bridge.check()


def test_install_enrols_asks_and_says_what_it_reaches(desk):
    desk.install()
    assert desk.exit_code == 0
    assert f"This computer is enrolled for {NAME} (Paper)." in desk.err
    assert "It reaches Paper (1.0): Acme Ltd (account paper-1)." in desk.out
    assert "tieout agent run" in desk.out
    assert desk.bridge.key == desk.folder.enrolment(NAME).key
    assert PASSWORD not in desk.out + desk.err
    assert desk.bridge.key not in desk.out + desk.err


def test_install_as_json_says_neither_key_nor_password(desk, tmp_path):
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"password": PASSWORD}))
    desk.install("--secrets-file", str(secrets), "--json", given=None)
    told = json.loads(desk.out)
    assert (told["connection"], told["account_name"], told["problem"]) == (NAME, "Acme Ltd", None)
    assert PASSWORD not in desk.out + desk.err
    assert desk.bridge.key not in desk.out + desk.err


def test_nobody_but_the_owner_may_read_key_and_password(desk):
    before = os.umask(0)
    try:
        desk.install()
    finally:
        os.umask(before)
    file = desk.data / NAME / "enrolment.json"
    assert PASSWORD in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com",
        "http://example.com/bridge/acme.books",
        "https://example.com/bridge/acme",
        "https://jo:pw@example.com/bridge/acme.books",
        "ftp://example.com/bridge/acme.books",
        "acme.books",
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_sent(desk, address):
    desk.type("install", "--address", address, desk.bridge.code)
    assert desk.exit_code == 5
    assert "This is not the address of a bridge." in desk.err
    assert desk.bridge.calls == []


def test_a_wrong_code_is_told_and_what_worked_stays(desk):
    desk.install()
    key = desk.bridge.key
    desk.type("install", "--address", desk.bridge.address, "WRON-GWRO-NGWR")
    assert desk.exit_code == 1
    assert "The code is not good" in desk.err
    assert desk.folder.enrolment(NAME).key == key
    assert desk.folder.enrolment(NAME).connection is not None


def test_a_lost_answer_is_no_loss_as_the_same_code_and_key_are_sent_again(desk):
    real = desk.bridge._enrol

    def lost(given):
        real(given)
        raise ConnectionResetError

    desk.bridge._enrol = lost
    desk.install()
    assert desk.exit_code == 4
    desk.bridge._enrol = real
    desk.install()
    assert desk.exit_code == 0
    assert desk.folder.enrolment(NAME).key == desk.bridge.key


def test_a_used_code_is_refused_on_another_computer(desk, tmp_path):
    desk.install()
    other = replace(desk, data=tmp_path / "other").install()
    assert other.exit_code == 1
    assert "Get a new one with `tieout connect`" in other.err


def test_a_system_that_is_closed_is_told_and_tried_again_by_check(desk):
    desk.books.stop()
    desk.install()
    assert desk.exit_code == 4
    assert "Paper could not be reached from here" in desk.out
    assert f"tieout agent check {NAME}" in desk.out
    desk.books.start()
    desk.type("check")
    assert desk.exit_code == 0
    assert "It reaches Paper" in desk.out


def test_a_wrong_password_is_told_and_another_one_taken(desk):
    desk.install(given="wrong\n")
    assert desk.exit_code == 5
    assert "does not take the password" in desk.out
    desk.type("check", "books", "--ask", given=f"{PASSWORD}\n")
    assert desk.exit_code == 0
    assert "It reaches Paper" in desk.out


def test_changed_settings_want_somebodys_agreement_here(desk):
    desk.install()
    with closing(Spool(desk.folder.spool(NAME))) as spool:
        spool.remember(latest="", settings={"base_url": desk.books.url, "unit": "hours"})
    desk.type("check", given="n\n")
    assert desk.exit_code == 1
    assert "unit" in desk.err
    assert desk.folder.enrolment(NAME).settings_agreed == {"base_url": desk.books.url}
    desk.type("check", given="y\n")
    assert desk.exit_code == 0
    assert desk.folder.enrolment(NAME).settings_agreed["unit"] == "hours"
    with closing(Spool(desk.folder.spool(NAME))) as spool:
        spool.remember(latest="", settings={"base_url": desk.books.url})
    assert desk.type("check", "--json").exit_code == 2, "nobody can be asked"
    assert desk.type("check", "--json", "--yes").exit_code == 0
    assert desk.folder.enrolment(NAME).settings_agreed == {"base_url": desk.books.url}


def test_the_proxy_of_the_environment_is_remembered_and_not_shown(desk, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://jo:{PASSWORD}@127.0.0.1:9")
    desk.install()
    assert desk.folder.enrolment(NAME).proxy == f"http://jo:{PASSWORD}@127.0.0.1:9"
    assert "It uses the proxy that HTTPS_PROXY names" in desk.err
    assert PASSWORD not in desk.out + desk.err + repr(desk.folder.enrolment(NAME))


# Standing


def stand(desk, *, trouble=None, heard=timedelta(seconds=5), latest=""):
    now = CLOCK.now()
    with closing(Spool(desk.folder.spool(NAME))) as spool:
        spool.start(key_hash="k", instance="i", sequence=0)
        spool.leased("job-1", "lease-1", "read", now)
        spool.ended("lease-1", "done", "Canary", now)
        if heard is not None:
            spool.heard("i", now - heard)
        spool.next_sequence()
        spool.set_trouble(trouble)
        spool.remember(latest=latest, settings={})


def test_status_of_nothing_says_how_to_begin(desk):
    desk.type("status")
    assert desk.exit_code == 5
    assert "tieout agent install" in desk.err


def test_status_when_all_is_well(desk):
    desk.install()
    stand(desk)
    with desk.folder.held():
        desk.type("status")
    assert desk.exit_code == 0
    assert "The agent runs" in desk.out
    assert "all is well" in desk.out
    assert "reports not told yet: 1" in desk.out
    assert "Canary" not in desk.out


def test_status_when_the_agent_does_not_run(desk):
    desk.install()
    stand(desk)
    told = desk.json("status")
    assert desk.exit_code == 1
    assert not told["running"]
    assert told["connections"][0]["problem"]["code"] == "stopped"


@pytest.mark.parametrize(("passes", "status"), [(True, 4), (False, 5)])
def test_status_when_something_is_wrong(desk, passes, status):
    desk.install()
    stand(desk, trouble=Trouble("clock", "The clock is off.", "Set it.", passes=passes, since=CLOCK.now()))
    with desk.folder.held():
        desk.type("status")
    assert desk.exit_code == status
    assert "The clock is off." in desk.out
    assert "Set it." in desk.out


@pytest.mark.parametrize("heard", [None, timedelta(minutes=4)])
def test_status_when_nothing_was_heard_lately(desk, heard):
    desk.install()
    stand(desk, heard=heard)
    with desk.folder.held():
        told = desk.json("status")
    assert desk.exit_code == 4
    assert told["connections"][0]["problem"]["code"] == "silent"


def test_status_when_the_system_hangs(desk):
    desk.install()
    stand(desk)
    with closing(Spool(desk.folder.spool(NAME))) as spool:
        spool.leased("job-2", "lease-2", "write", CLOCK.now())
        spool.begun("lease-2", CLOCK.now() - timedelta(minutes=7))
    with desk.folder.held():
        desk.type("status")
    assert desk.exit_code == 5
    assert "has not answered for 7 minutes" in desk.out


def test_status_when_the_system_is_closed(desk):
    desk.install()
    stand(desk)
    with closing(Spool(desk.folder.spool(NAME))) as spool:
        spool.set_system(("Paper is closed.", "Open it."), CLOCK.now())
    with desk.folder.held():
        desk.type("status")
    assert desk.exit_code == 5
    assert "Paper is closed." in desk.out
    assert "Open it." in desk.out


def test_status_tells_of_a_newer_version(desk):
    desk.install()
    stand(desk, latest="99.0")
    with desk.folder.held():
        told = desk.json("status")
        assert desk.exit_code == 0
        assert told["latest"] == "99.0"
        assert "Version 99.0 is there." in desk.type("status").out


def test_status_of_a_spool_that_is_damaged(desk):
    desk.install()
    desk.folder.spool(NAME).write_bytes(b"no database at all" * 100)
    desk.type("status")
    assert desk.exit_code == 5
    assert "is damaged" in desk.out


def test_an_enrolment_that_is_damaged_is_told(desk):
    desk.install()
    (desk.data / NAME / "enrolment.json").write_text("{")
    desk.type("status")
    assert desk.exit_code == 5
    assert "is damaged" in desk.err
    assert "install with a new code" in desk.err


# The rest


def test_a_second_process_on_the_folder_is_refused(desk):
    desk.install()
    with desk.folder.held():
        desk.type("run")
    assert desk.exit_code == 5
    assert "The agent runs already with the folder" in desk.err


def test_run_without_an_enrolment_says_how_to_get_one(desk):
    desk.type("run")
    assert desk.exit_code == 5
    assert "tieout agent install" in desk.err


def test_remove_forgets_key_and_passwords(desk):
    desk.install()
    desk.type("remove", NAME, given="n\n")
    assert desk.exit_code == 1
    with desk.folder.held():
        assert desk.type("remove", NAME, "--yes").exit_code == 5
    assert desk.type("remove", "--yes").exit_code == 0
    assert not (desk.data / NAME).exists()
    assert desk.type("remove", NAME, "--yes").exit_code == 5


def test_check_wants_to_know_which_of_several(desk):
    desk.install()
    enrolment = desk.folder.enrolment(NAME)
    desk.folder.keep(replace(enrolment, address="https://bridge.example/bridge/acme.other"))
    desk.type("check")
    assert desk.exit_code == 5
    assert "acme.books, acme.other" in desk.err
    assert desk.type("check", "books").exit_code == 0


@pytest.mark.parametrize(
    ("system", "file", "words"),
    [
        ("linux", "tieout-agent.service", ["ExecStart=", "Restart=always", '"agent" "run" "--data"']),
        ("macos", "tieout-agent.plist", ["<string>agent</string>", "<key>KeepAlive</key><true/>"]),
        ("windows", "tieout-agent.xml", ["<BootTrigger>", "<Arguments>agent run --data"]),
    ],
)
def test_service_writes_what_the_system_wants(desk, tmp_path, system, file, words):
    desk.type("service", "--for", system, "--into", str(tmp_path))
    assert desk.exit_code == 0
    text = (tmp_path / file).read_text("utf-16" if system == "windows" else "utf-8")
    for word in (*words, str(desk.data)):
        assert word in text
    assert file in desk.out


def test_service_of_an_unknown_system_is_refused(desk, tmp_path):
    desk.type("service", "--for", "plan9", "--into", str(tmp_path))
    assert desk.exit_code == 2
    assert list(tmp_path.iterdir()) == []
