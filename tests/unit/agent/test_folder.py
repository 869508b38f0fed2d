"""The agent's folder on each system, and what happens on Windows as far as it can be told elsewhere."""

from __future__ import annotations

import ast
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.fakes import ManualClock
from tests.office.paper import PAPER, Books
from tieout.agent import folder as module
from tieout.agent.beside import Beside, LocalSecrets
from tieout.agent.folder import Enrolment, Folder, default_path
from tieout.domain.connections import Connection
from tieout.domain.errors import ReconnectError, SettingsError, UnavailableError

PACKAGE = Path(module.__file__).parent
NAME = "acme.books"
CONNECTION = Connection("acme", "books", "paper", account="1", settings={"base_url": "http://127.0.0.1:1"})
ENROLMENT = Enrolment(
    f"https://bridge.example/bridge/{NAME}",
    key="ab" * 32,
    connection=CONNECTION,
    title="Paper",
    secrets={"password": "CANARY"},
    settings_agreed={"base_url": "http://127.0.0.1:1"},
    proxy="http://jo:CANARY@proxy.example",
)


@pytest.mark.parametrize(
    ("system", "variables", "is_root", "path"),
    [
        ("Windows", {"PROGRAMDATA": r"D:\Data"}, False, r"D:\Data\Tieout"),
        ("Windows", {}, False, r"C:\ProgramData\Tieout"),
        ("Darwin", {"HOME": "/Users/jo"}, False, "/Users/jo/Library/Application Support/Tieout"),
        ("Linux", {"HOME": "/home/jo"}, False, "/home/jo/.local/state/tieout"),
        ("Linux", {"HOME": "/home/jo", "XDG_STATE_HOME": "/state"}, False, "/state/tieout"),
        ("Linux", {"HOME": "/root"}, True, "/var/lib/tieout"),
    ],
)
def test_the_folder_has_its_place_on_each_system(system, variables, is_root, path):
    assert str(default_path(system, variables, is_root=is_root)) == path


def test_what_is_kept_is_found_again(tmp_path):
    folder = Folder(tmp_path)
    assert folder.names() == []
    assert folder.enrolment(NAME) is None
    folder.keep(ENROLMENT)
    assert folder.names() == [NAME]
    assert folder.enrolment(NAME) == ENROLMENT
    folder.keep(replace(ENROLMENT, title="Other"))
    assert folder.enrolment(NAME).title == "Other"
    folder.remove(NAME)
    assert folder.names() == []


def test_no_repr_shows_key_password_or_proxy():
    assert "CANARY" not in repr(ENROLMENT)
    assert ENROLMENT.key not in repr(ENROLMENT)


def test_a_process_that_dies_while_it_stores_leaves_the_former_enrolment(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    folder.keep(ENROLMENT)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        folder.keep(replace(ENROLMENT, title="Other"))
    monkeypatch.undo()
    assert folder.enrolment(NAME) == ENROLMENT
    folder.keep(replace(ENROLMENT, title="Other"))
    assert folder.enrolment(NAME).title == "Other"


def test_a_file_that_somebody_reads_is_replaced_a_moment_later(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    folder.keep(ENROLMENT)
    real, tries = Path.replace, []

    def busy(self, target):
        tries.append(target)
        if len(tries) < 3:
            raise PermissionError
        return real(self, target)

    monkeypatch.setattr(Path, "replace", busy)
    folder.keep(replace(ENROLMENT, title="Other"))
    assert folder.enrolment(NAME).title == "Other"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be used"):
        Folder(tmp_path / "file").keep(ENROLMENT)


def test_on_windows_only_the_system_administrators_and_the_user_get_in(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(module.shutil, "which", lambda name: rf"C:\Windows\System32\{name}.exe")
    monkeypatch.setattr(module.subprocess, "run", lambda command, **_: calls.append(command))
    monkeypatch.setenv("USERDOMAIN", "OFFICE")
    monkeypatch.setenv("USERNAME", "jo")
    Folder(tmp_path / "data", system="Windows").keep(ENROLMENT)
    assert [Path(call[1]).name for call in calls] == ["data", NAME]
    for call in calls:
        assert call[2:] == [
            "/inheritance:r",
            *("/grant:r", "*S-1-5-18:(OI)(CI)F"),
            *("/grant:r", "*S-1-5-32-544:(OI)(CI)F"),
            *("/grant:r", r"OFFICE\jo:(OI)(CI)F"),
        ]


def test_a_folder_that_windows_cannot_close_is_not_used(tmp_path, monkeypatch):
    def fail(command, **_):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(module.shutil, "which", lambda _: "icacls.exe")
    monkeypatch.setattr(module.subprocess, "run", fail)
    for _ in range(2):
        with pytest.raises(SettingsError, match="cannot be used"):
            Folder(tmp_path / "data", system="Windows").keep(ENROLMENT)
    assert not (tmp_path / "data").exists()


def test_one_holds_the_folder_and_it_ends_with_it(tmp_path):
    folder = Folder(tmp_path)
    assert not folder.is_held()
    with folder.held():
        assert folder.is_held()
        with pytest.raises(SettingsError, match="runs already"), Folder(tmp_path).held():
            pytest.fail("two hold it")
    assert not folder.is_held()
    with folder.held():
        assert folder.is_held()


def test_nothing_in_the_package_is_of_one_kind_of_system_only():
    """Windows has none of these; signals are named where they are there."""
    foreign = {"fcntl", "pwd", "grp", "resource", "termios", "posix", "pty"}
    calls = {"fork", "geteuid", "getuid", "chown", "setsid", "killpg", "mkfifo", "sigwait", "pause", "alarm"}
    for path in [*PACKAGE.glob("*.py"), PACKAGE.parent / "cli" / "agent.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert not foreign & {each.name for each in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in foreign, path
            if isinstance(node, ast.Attribute):
                assert node.attr not in calls, f"{path.name}:{node.lineno}"
                assert not node.attr.startswith("SIG"), f"{path.name}:{node.lineno}"


# What stands beside


@pytest.fixture
def beside(tmp_path):
    folder = Folder(tmp_path)
    folder.keep(ENROLMENT)
    return Beside(folder, NAME, provider=lambda _: PAPER, clock=ManualClock()), folder


def test_the_connector_stays_open_until_something_changes(beside):
    opened, folder = beside
    first = opened.connector()
    assert opened.connector(ENROLMENT.settings_agreed) is first
    folder.keep(replace(ENROLMENT, secrets={"password": "newer"}))
    assert opened.connector() is not first


def test_passwords_are_not_used_with_settings_that_nobody_here_agreed_to(beside):
    with pytest.raises(ReconnectError, match="before somebody there agrees") as told:
        beside[0].connector({"base_url": "https://evil.example"})
    assert told.value.next_step == "On that computer, run `tieout agent check acme.books`."
    assert "CANARY" not in told.value.message + told.value.detail


def test_a_provider_without_secrets_takes_the_settings_as_they_are(beside):
    opened, folder = beside
    folder.keep(replace(ENROLMENT, secrets={}, settings_agreed={}))
    opened.connector({"base_url": "http://127.0.0.1:2"})


def test_a_rotated_secret_is_on_the_disk_before_it_is_used(beside):
    _, folder = beside
    secrets = LocalSecrets(folder, NAME)
    secrets.write("acme", "books", {"password": "rotated"})
    assert Folder(folder.path).enrolment(NAME).secrets == {"password": "rotated"}
    assert secrets.read("acme", "books") == {"password": "rotated"}


def test_without_secrets_it_says_how_to_give_some(beside):
    _, folder = beside
    folder.keep(replace(ENROLMENT, secrets={}))
    with pytest.raises(SettingsError) as told:
        LocalSecrets(folder, NAME).read("acme", "books")
    assert told.value.next_step == "Run `tieout agent check acme.books --ask` on it."


def test_a_lease_is_held_by_one(beside, monkeypatch):
    monkeypatch.setattr("tieout.agent.beside.LEASE_SECONDS_MAX", 0.05)
    opened, _ = beside
    with opened._lease("token"), opened._lease("other"):
        refused = []

        def second():
            try:
                with opened._lease("token"):
                    pass
            except UnavailableError as error:
                refused.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert refused
    with opened._lease("token"):
        pass


def test_the_limits_of_the_system_are_kept_to(beside):
    opened, folder = beside
    with Books("CANARY") as books:
        settings = {"base_url": books.url}
        connection = replace(CONNECTION, settings=settings)
        folder.keep(replace(ENROLMENT, connection=connection, settings_agreed=settings))
        assert opened.connector(settings).probe().name == "Acme Ltd"
