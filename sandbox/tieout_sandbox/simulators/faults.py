"""Faults on request: what goes wrong between a provider and its client, by the dice of a seed.

One form for all simulators, as YAML or JSON:

    seed: 7
    faults:
      - match: {method: POST, path: "/v3/company/*/batch"}
        kind: lost_answer
        probability: 0.05
        times: 3

The kinds: `latency` waits `seconds` before the work; `status` answers `status` with the provider's own error body and
does no work; `reset` resets the connection before the work; `lost_answer` does the work, then resets the connection;
`ignore_request_id` makes the simulator forget idempotency keys for this call.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tieout.ports.clock import Clock

IGNORE_REQUEST_ID = "tieout.ignore_request_id"
"""Key of the WSGI environment: true if the call's idempotency key is to be ignored."""

SANDBOX_PREFIX = "/_sandbox/"
"""The operator's own end-points, which have no faults."""


class DroppedConnectionError(ConnectionResetError):
    """The server is to reset the connection without an answer."""


class Kind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"
    STATUS = "status"
    RESET = "reset"
    LOST_ANSWER = "lost_answer"
    IGNORE_REQUEST_ID = "ignore_request_id"


class Match(BaseModel):
    """Which calls a fault is for; `*` in `path` stands for anything, slashes too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = "*"
    path: str = "*"

    def covers(self, method: str, path: str) -> bool:
        """True if the call is meant."""
        return fnmatchcase(method, self.method.upper()) and fnmatchcase(path, self.path)


class Fault(BaseModel):
    """One fault.

    Attributes:
        status: The HTTP status, for the kind `status`.
        seconds: How long, for the kind `latency`.
        times: After how often it is used up; None means never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    match: Match = Match()
    probability: float = Field(default=1.0, ge=0, le=1)
    status: int | None = Field(default=None, ge=400, le=599)
    seconds: float | None = Field(default=None, ge=0, le=120)
    times: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind is Kind.STATUS and self.status is None:
            raise ValueError("a fault of kind `status` needs `status`")
        if self.kind is Kind.LATENCY and self.seconds is None:
            raise ValueError("a fault of kind `latency` needs `seconds`")
        return self


class FaultPlan(BaseModel):
    """A file of faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    faults: tuple[Fault, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """The plan of a YAML or JSON file.

        Raises:
            ValueError: If it is not of the form above.
        """
        from ruamel.yaml import YAML  # noqa: PLC0415 - heavy, and only files need it
        from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - same

        try:
            held = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        except YAMLError as error:
            raise ValueError(f"{path} is no YAML: {error}") from error
        return cls.model_validate(held or {})


@dataclass(slots=True)
class _Counted:
    fault: Fault
    matched: int = 0
    fired: int = 0


class Faults:
    """The faults in force. They can be replaced at any time; safe between threads."""

    def __init__(self, plan: FaultPlan) -> None:
        self._lock = threading.Lock()
        self.replace(plan)

    def replace(self, plan: FaultPlan) -> None:
        """Put other faults in force; counts and dice begin anew."""
        with self._lock:
            self._seed = plan.seed
            self._dice = random.Random(plan.seed)  # noqa: S311 - repeatable on purpose
            self._counted = [_Counted(fault) for fault in plan.faults]

    def report(self) -> dict[str, Any]:
        """The plan, with how many calls each fault matched and how often it fired."""
        with self._lock:
            faults = [
                {**each.fault.model_dump(mode="json", exclude_none=True), "matched": each.matched, "fired": each.fired}
                for each in self._counted
            ]
            return {"seed": self._seed, "faults": faults}

    def draw(self, method: str, path: str) -> list[Fault]:
        """The faults that hit this call, in the plan's order; the first that ends the call is the last one."""
        hits: list[Fault] = []
        with self._lock:
            for each in self._counted:
                if not each.fault.match.covers(method, path):
                    continue
                each.matched += 1
                used_up = each.fault.times is not None and each.fired >= each.fault.times
                if used_up or self._dice.random() >= each.fault.probability:
                    continue
                each.fired += 1
                hits.append(each.fault)
                if each.fault.kind in {Kind.STATUS, Kind.RESET, Kind.LOST_ANSWER}:
                    break
        return hits


ErrorBody = Callable[[int], tuple[bytes, str]]
"""A provider's own body for an HTTP status, and its content type."""


class FaultMiddleware:
    """Stands before a simulator and makes calls fail."""

    def __init__(self, app: WSGIApplication, faults: Faults, clock: Clock, error_body: ErrorBody) -> None:
        self._app = app
        self._faults = faults
        self._clock = clock
        self._error_body = error_body

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the call, or do not.

        Raises:
            DroppedConnectionError: If the client is to get no answer.
        """
        path = environ["PATH_INFO"]
        hits = [] if path.startswith(SANDBOX_PREFIX) else self._faults.draw(environ["REQUEST_METHOD"], path)
        for fault in hits:
            match fault.kind:
                case Kind.LATENCY:
                    self._clock.sleep(fault.seconds or 0)
                case Kind.IGNORE_REQUEST_ID:
                    environ[IGNORE_REQUEST_ID] = True
                case Kind.STATUS:
                    return self._refuse(fault.status or 500, start_response)
                case Kind.RESET:
                    raise DroppedConnectionError("reset before the work")
                case Kind.LOST_ANSWER:
                    self._work(environ)
                    raise DroppedConnectionError("reset after the work")
        return self._app(environ, start_response)

    def _refuse(self, status: int, start_response: StartResponse) -> Iterable[bytes]:
        body, content_type = self._error_body(status)
        start_response(f"{status} Fault", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    def _work(self, environ: WSGIEnvironment) -> None:
        answer = self._app(environ, lambda *_: lambda _: None)
        for _ in answer:
            pass
        close = getattr(answer, "close", None)
        if close is not None:
            close()
