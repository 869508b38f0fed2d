"""The agent's folder: one folder in it for each connection, a log, and a lock that one process holds."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError

ENROLMENT_FILE, SPOOL_FILE, LOCK_FILE, LOG_FILE = "enrolment.json", "spool.sqlite3", "lock.sqlite3", "agent.log"
LOCK_WAIT_SECONDS = 0.5
TRIES, TRY_AGAIN_SECONDS = 5, 0.1
ICACLS_SECONDS_MAX = 30
_NAME = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
# Well-known groups by their number, since their names are translated: the system itself, and administrators.
# Source: learn.microsoft.com/windows-server/identity/ad-ds/manage/understand-security-identifiers, read 2026-11-22.
_WINDOWS_OWNERS = ("*S-1-5-18", "*S-1-5-32-544")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What binds this computer to one connection. No `repr` shows key, secrets and proxy, which may hold a password.

    Attributes:
        address: Where the calls go, such as https://example.com/bridge/acme.tally.
        key: 64 hexadecimal digits, made here.
        code_hash: Of the code that the key was made for: the same code gets the same key again.
        pending: Key, code_hash and address of an enrolment that was not answered yet; empty otherwise.
        connection: As the cloud told it; None until it answered.
        title: The provider's name for people.
        secrets: Of the system beside us.
        settings_agreed: The settings that the secrets were given for; they are used with no others.
        account: Name of what was reached last; empty if nothing was.
        proxy: Address of the office's proxy; empty for none.
        ca_file: Certificates of authorities that are trusted beside those of this computer; empty for none.
        sequence: The highest number that the cloud had seen when it enrolled us.
    """

    address: str
    key: str = field(default="", repr=False)
    code_hash: str = field(default="", repr=False)
    pending: Mapping[str, str] = field(default_factory=dict, repr=False)
    connection: Connection | None = None
    title: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    settings_agreed: Mapping[str, Any] = field(default_factory=dict)
    account: str = ""
    proxy: str = field(default="", repr=False)
    ca_file: str = ""
    sequence: int = 0

    @property
    def name(self) -> str:
        """The connection's address in the cloud: `tenant.connection`."""
        return self.address.rpartition("/")[2]


class Folder:
    """Where the agent keeps what it has to remember.

    Args:
        path: Of the folder; it need not be there yet.
        system: As `platform.system()` has it: Windows, Linux or Darwin.
    """

    def __init__(self, path: Path, *, system: str = "") -> None:
        self.path = path
        self.system = system or platform.system()

    @property
    def log(self) -> Path:
        """The log's newest file."""
        return self.path / LOG_FILE

    def spool(self, name: str) -> Path:
        """The spool of one connection."""
        return self.path / name / SPOOL_FILE

    def stamp(self, name: str) -> tuple[int, int]:
        """Changes whenever the enrolment does; (0, 0) if there is none."""
        try:
            found = (self.path / name / ENROLMENT_FILE).stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_size

    def names(self) -> list[str]:
        """Connections that this computer is enrolled for, or tried to be.

        Raises:
            SettingsError: If the folder may not be read.
        """
        try:
            found = sorted(one.name for one in self.path.iterdir() if _NAME.fullmatch(one.name))
            return [name for name in found if (self.path / name / ENROLMENT_FILE).is_file()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _refused(self.path, error) from None

    def enrolment(self, name: str) -> Enrolment | None:
        """The enrolment of one connection; None if there is none.

        Raises:
            SettingsError: If its file cannot be read.
        """
        file = self.path / name / ENROLMENT_FILE
        try:
            given = json.loads(_patiently(lambda: file.read_text("utf-8")))
            connection = given.pop("connection")
            return Enrolment(connection=Connection(**connection) if connection is not None else None, **given)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused(file, error) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise SettingsError(
                f"The file {file} is damaged.",
                next_step=f"Delete the folder {file.parent}, and install with a new code.",
            ) from None

    def keep(self, enrolment: Enrolment) -> None:
        """Store it durably, replacing the former one, readable by its owner alone.

        Raises:
            SettingsError: If the folder cannot be written to.
        """
        given = {name: getattr(enrolment, name) for name in Enrolment.__slots__ if name != "connection"}
        connection = enrolment.connection
        given["connection"] = connection and {
            "tenant": connection.tenant,
            "id": connection.id,
            "provider": connection.provider,
            "account": connection.account,
            "settings": connection.settings,
        }
        place = self.path / enrolment.name
        try:
            self.make()
            self._make_private(place)
            _write_private(place / ENROLMENT_FILE, json.dumps(given, ensure_ascii=False, indent=1).encode())
        except (OSError, subprocess.SubprocessError) as error:
            raise _refused(place, error) from None

    def remove(self, name: str) -> None:
        """Forget the connection: its key, its secrets, its spool.

        Raises:
            SettingsError: If something cannot be deleted.
        """
        try:
            shutil.rmtree(self.path / name)
        except OSError as error:
            raise _refused(self.path / name, error) from None

    def make(self) -> None:
        """Make the folder, if it is not there yet.

        Raises:
            SettingsError: If it cannot be made.
        """
        try:
            self._make_private(self.path)
        except (OSError, subprocess.SubprocessError) as error:
            raise _refused(self.path, error) from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder: only one process at a time runs the agent with it. It ends with the process, however.

        Raises:
            SettingsError: If another process holds it.
        """
        self.make()
        with closing(self._lock_base()) as base:
            try:
                base.execute("begin exclusive")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise _refused(self.path / LOCK_FILE, error) from None
                raise SettingsError(
                    f"The agent runs already with the folder {self.path}.",
                    next_step="Leave it running, or stop it first; `tieout agent status` says what it does. "
                    "To run two agents beside each other, give each a folder of its own with --data.",
                ) from None
            try:
                yield
            finally:
                base.execute("rollback")

    def is_held(self) -> bool:
        """True if a process runs the agent with this folder."""
        if not (self.path / LOCK_FILE).exists():
            return False
        with closing(self._lock_base(wait_seconds=0)) as base:
            try:
                base.execute("select count(*) from sqlite_master")
            except sqlite3.OperationalError:
                return True
        return False

    def _lock_base(self, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> sqlite3.Connection:
        try:
            return sqlite3.connect(self.path / LOCK_FILE, timeout=wait_seconds, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise _refused(self.path / LOCK_FILE, error) from None

    def _make_private(self, place: Path) -> None:
        if place.is_dir():
            return
        place.mkdir(mode=0o700, parents=True)
        if self.system != "Windows":
            return
        try:
            _private_on_windows(place)
        except (OSError, subprocess.SubprocessError):
            place.rmdir()  # or the next try would find a folder that is open to all
            raise


def default_path(system: str, variables: Mapping[str, str], *, is_root: bool) -> PurePath:
    """Where the agent's folder is if nobody says otherwise.

    Args:
        system: As `platform.system()` has it.
        variables: The environment.
        is_root: True if a service of the whole computer would run it.
    """
    if system == "Windows":
        return PureWindowsPath(variables.get("PROGRAMDATA", r"C:\ProgramData"), "Tieout")
    home = PurePosixPath(variables.get("HOME", "/"))
    if system == "Darwin":
        return home / "Library" / "Application Support" / "Tieout"
    if is_root:
        return PurePosixPath("/var/lib/tieout")
    state = variables.get("XDG_STATE_HOME", "")
    return (PurePosixPath(state) if state else home / ".local" / "state") / "tieout"


def here() -> Path:
    """The default folder of this computer and user."""
    is_root = getattr(os, "geteuid", lambda: 1)() == 0
    return Path(default_path(platform.system(), os.environ, is_root=is_root))


def _write_private(file: Path, content: bytes) -> None:
    """Replace the file as a whole. On Windows, what is new in a folder is as private as the folder."""
    beside = file.with_suffix(".new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    _patiently(lambda: beside.replace(file))


def _patiently[Result](do: Callable[[], Result]) -> Result:
    """What comes back. On Windows a file can be neither replaced nor read for the moment that somebody else has it."""
    for _ in range(TRIES - 1):
        try:
            return do()
        except PermissionError:
            time.sleep(TRY_AGAIN_SECONDS)
    return do()


def _private_on_windows(place: Path) -> None:
    """Let nobody in but the system, administrators and whoever installs."""
    tool = shutil.which("icacls")
    if tool is None:
        return
    user = "\\".join(part for part in (os.environ.get("USERDOMAIN"), os.environ.get("USERNAME")) if part)
    grants = [f"{who}:(OI)(CI)F" for who in (*_WINDOWS_OWNERS, user) if who]
    subprocess.run(  # noqa: S603 - Windows' own program
        [tool, str(place), "/inheritance:r", *(part for grant in grants for part in ("/grant:r", grant))],
        check=True,
        capture_output=True,
        timeout=ICACLS_SECONDS_MAX,
    )


def _refused(place: Path, error: Exception) -> SettingsError:
    return SettingsError(
        f"{place} cannot be used: {type(error).__name__}.",
        next_step="Run this as the user who installed the agent (on Windows: as administrator), see that the disk is "
        "not full, or name another folder with --data.",
        detail=type(error).__name__,
    )
