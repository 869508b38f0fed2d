"""A simulator in a process of its own, and how its operator speaks to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tieout_sandbox.simulators.control import OPERATOR_HEADER

ANSWER_SECONDS_MAX = 300  # two years of days are closed in Tryton on a machine at its limits
STOP_SECONDS_MAX = 10


class StageError(Exception):
    """Something on the stage did not do what it has to; the message says what."""


def terminal() -> list[str]:
    """The command of our own terminal program."""
    return [str(Path(sys.executable).parent / "tieout")]


class Server:
    """A simulator that is served somewhere, and how its operator speaks to it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer of one call; None if the answer is empty.

        Raises:
            StageError: If the status is not below 400.
        """
        answer = requests.request(
            method,
            f"{self.url}{path}",
            json=body,
            headers={OPERATOR_HEADER: "1", **headers},
            timeout=ANSWER_SECONDS_MAX,
        )
        if answer.status_code >= requests.codes.bad_request:
            raise StageError(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def written(self, *, under: str, but: str = "") -> int:
        """How many calls but reads there were so far, of paths that begin with `under` and do not hold `but`."""
        routes = self.call("GET", "/_sandbox/calls")["routes"]
        methods = tuple(f"{method} {under}" for method in ("POST", "PUT", "PATCH", "DELETE"))
        return sum(
            int(count["calls"])
            for route, count in routes.items()
            if route.startswith(methods) and not (but and but in route)
        )


class Simulator(Server):
    """One simulator in a process of its own, as `tieout sandbox serve` runs it.

    Args:
        name: Of the table of simulators.
        settings: Of the simulator.
        log: Gets what it says.
        environment: Of the process, beside our own.
    """

    def __init__(
        self, name: str, settings: Mapping[str, object], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        options = [part for item in settings.items() for part in ("--setting", _option(*item))]
        self._arguments = [*terminal(), "sandbox", "serve", name, "--json", *options]
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        super().__init__("")

    def __enter__(self) -> Self:
        """Start it and read its address.

        Raises:
            StageError: If it does not start; its log says why.
        """
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                self._arguments,
                stdout=subprocess.PIPE,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise StageError(f"The simulator did not start:\n{self._log.read_text()[-2000:]}")
        self.url = json.loads(line)["base_url"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it, and nothing else."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _option(name: str, value: object) -> str:
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"
