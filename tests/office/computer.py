"""The office's computer: the agent in a process of its own, as a person or a service starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
END_SECONDS_MAX = 120


class Computer:
    """Runs `tieout agent` with a folder of its own.

    Args:
        place: Where the folder is, and what the processes say.
        name: Of the computer.
    """

    def __init__(self, place: Path, name: str = "pc") -> None:
        self.data = place / name
        self._said = place / f"{name}.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.starts = 0
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self.kill()

    @property
    def said(self) -> str:
        """What its processes printed."""
        return self._said.read_text("utf-8") if self._said.exists() else ""

    @property
    def log(self) -> str:
        return "".join(path.read_text("utf-8") for path in sorted(self.data.glob("agent.log*")))

    def command(
        self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return subprocess.run(
            self._line(*arguments),
            input=given,
            capture_output=True,
            text=True,
            env=_environment(environment),
            timeout=END_SECONDS_MAX,
            check=False,
        )

    def install(self, address: str, code: str, password: str, *more: str) -> subprocess.CompletedProcess[str]:
        secrets = json.dumps({"password": password})
        return self.command("install", "--address", address, code, "--secrets-file", "-", *more, given=secrets)

    def status(self) -> Any:
        return json.loads(self.command("status", "--json").stdout)

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the agent."""
        with self._lock:
            if self._is_over:
                return
            self.starts += 1
            with self._said.open("ab") as out:
                self._process = subprocess.Popen(
                    self._line("run"), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_environment(environment)
                )

    def kill(self) -> None:
        """End the process as a power cut does."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait(END_SECONDS_MAX)
                self._process = None

    def end(self) -> int:
        """Press Ctrl-C; the process's exit status."""
        with self._lock:
            assert self._process is not None
            self._process.send_signal(signal.SIGINT)
            status = self._process.wait(END_SECONDS_MAX)
            self._process = None
            return status

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _line(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.office.terminal", "agent", *arguments, "--data", str(self.data)]


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(more or {})}


class Gate:
    """A piece of cable: what is sent to its port comes out at another one, unless it is cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_cut = False
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.close()

    def cut(self) -> None:
        """Nothing comes through any more, not even the rest of what is on its way."""
        with self._lock:
            self.is_cut = True
            for end in self._ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self.is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends |= {near, far}
            threading.Thread(target=self._join, args=(near, far), daemon=True).start()

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=_pass_on, args=(far, near), daemon=True)
        back.start()
        _pass_on(near, far)
        back.join()
        with self._lock:
            self._ends -= {near, far}
        near.close()
        far.close()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    for end in (one, other):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
