"""Starts trytond on loopback with a copy of a finished database, and stops it by its id."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tieout_sandbox.local_aws import ROOT, free_port
from tieout_sandbox.simulators import StartError
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.tryton import seed
from tieout_sandbox.simulators.tryton.rpc import Rpc

DATABASE = "erp"
_ADMIN_PASSWORD = "an administrator on loopback"
_MODULES = ("party", "account_invoice", "sale_opportunity")
_START_SECONDS_MAX = 300  # a machine at its limits takes a minute
_STOP_SECONDS_MAX = 5
_BUILD_SECONDS_MAX = 600
_HERE = Path(__file__).parent


class TrytonError(StartError):
    """The server could not be had; the message says why and what to do."""


@dataclass
class TrytonServer:
    """The server, running while the context is open.

    Attributes:
        folder: Holds its database, settings and log; a new one for each server.
        say: Gets a line before each step that takes seconds.
    """

    folder: Path
    tools: Path = ROOT / ".tools"
    finished: Path = ROOT / ".sandbox" / "tryton"
    say: Callable[[str], None] = field(default=lambda _line: None)
    port: int = field(default=0, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start it and return when it answers; the first time on a machine its database is made, in a minute.

        Raises:
            TrytonError: If it is not installed or does not start.
        """
        template = self._template()
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template, self.database)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.folder / f"{DATABASE}.sqlite"

    def administrator(self) -> Rpc:
        """Somebody who may do everything in the company."""
        rpc = Rpc(self.port, DATABASE, "admin", _ADMIN_PASSWORD)
        found = rpc.call("model.res.user.get_preferences", True)
        rpc.work_in(found["company"], groups=found["groups"], administrator=True)
        return rpc

    def end_sessions(self) -> None:
        """Everybody has to sign in again."""
        with sqlite3.connect(self.database, timeout=30) as connection:
            connection.execute("DELETE FROM ir_session")
        connection.close()

    def grow_older(self, seconds: float) -> None:
        """Let so much time pass: everything in the database was made and changed so much earlier."""
        with sqlite3.connect(self.database, timeout=30) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
                for column in ({"create_date", "write_date"} & columns) if table != "ir_session" else ():
                    # Six digits behind the point, as the server writes them: their text is compared.
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = strftime(\'%Y-%m-%d %H:%M:%S\', "{column}", ?)'  # noqa: S608 - the names are the database's own
                        f' || substr("{column}", 20) WHERE "{column}" IS NOT NULL',
                        (f"{-seconds} seconds",),
                    )
        connection.close()

    def stop(self) -> None:
        """End the process that was started here, and nothing else."""
        if self._process is None:
            return
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(signal_number)
            try:
                self._process.wait(_STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                continue
            break
        self._process = None

    def _start(self) -> None:
        self.port = free_port()
        settings = self.folder / "trytond.conf"
        settings.write_text(
            f"[database]\nuri = sqlite://\npath = {self.folder}\n[web]\nlisten = 127.0.0.1:{self.port}\n"
            "[email]\nuri = smtp://127.0.0.1:9\n[password]\nlength = 8\n"
        )
        log = self.folder / "trytond.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own tool, by its path
                self._command("trytond", "-c", str(settings), "-d", DATABASE),
                env=self._environment(),
                stdout=output,
                stderr=output,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TrytonError(f"trytond did not start; its log is {log}:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            body = '{"id":1,"method":"common.server.version","params":[]}'
            connection.request("POST", "/rpc/", body, {"Content-Type": "application/json"})
            return connection.getresponse().status == 200  # noqa: PLR2004 - HTTP's OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _template(self) -> Path:
        """The finished database, made anew if trytond's version or what is set up in it changed."""
        installed = self.tools / "tryton" / "installed.txt"
        if not installed.exists():
            raise TrytonError(f"trytond is not installed ({installed} is missing). Run `make setup`.")
        sources = (installed, _HERE / "seed.py")
        today = WallClock().now().date()
        parts = [*(source.read_bytes() for source in sources), str(today.year).encode()]
        digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
        finished = self.finished / f"{digest}.sqlite"
        with _one_at_a_time(self.finished / "build.lock"):
            if not finished.exists():
                self.say("Making Tryton's database (a minute)")
                self._build(finished, today)
        return finished

    def _build(self, finished: Path, today: date) -> None:
        workshop = TrytonServer(self.finished / f"build-{os.getpid()}", self.tools, self.finished)
        shutil.rmtree(workshop.folder, ignore_errors=True)
        workshop.folder.mkdir()
        try:
            workshop.database.touch()
            password = workshop.folder / "password"
            password.write_text(_ADMIN_PASSWORD)
            settings = workshop.folder / "trytond.conf"
            settings.write_text(f"[database]\nuri = sqlite://\npath = {workshop.folder}\n")
            base = ("trytond-admin", "-c", str(settings), "-d", DATABASE)
            extra = {"TRYTONPASSFILE": str(password)}
            workshop.run(*base, "--all", "--email", "admin@seller.example", environment=extra)
            workshop.run(*base, "-u", *_MODULES, "--activate-dependencies", environment=extra)
            workshop._start()
            seed.set_up(Rpc(workshop.port, DATABASE, "admin", _ADMIN_PASSWORD), today)
            workshop.stop()
            _settle(workshop.database)
            workshop.database.replace(finished)
        finally:
            workshop.stop()
            shutil.rmtree(workshop.folder, ignore_errors=True)

    def run(self, program: str, *arguments: str, environment: Mapping[str, str]) -> None:
        """Run a program of trytond's to its end.

        Raises:
            TrytonError: If it fails; holds the end of what it said.
        """
        done = subprocess.run(  # noqa: S603 - our own tool, by its path
            self._command(program, *arguments),
            env={**self._environment(), **environment},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD_SECONDS_MAX,
            check=False,
        )
        if done.returncode != 0:
            raise TrytonError(f"{program} failed:\n{done.stdout[-2000:]}")

    def _command(self, program: str, *arguments: str) -> list[str]:
        bin_folder = self.tools / "tryton" / "bin"
        return [
            str(bin_folder / "python"),
            "-P",
            str(_HERE / "closed_network.py"),
            str(bin_folder / program),
            *arguments,
        ]

    def _environment(self) -> dict[str, Any]:
        """A clean one. SQLite's times are the machine's, and clients take them as UTC."""
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TZ": "UTC", "LANG": "C.UTF-8"}


def _settle(database: Path) -> None:
    """Put everything into the one file: the server leaves the newest beside it, in a log of SQLite's."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
