"""Between the real transport and a simulator: each request is a point of I/O, and is counted as a provider counts."""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote_plus, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from tests.engine.simulation.runtime import FaultKind, Runtime
from tieout.ports.connector import Limit
from tieout.transport.budget import SPARE_FROM_CALLS

LATE_SECONDS = 12  # a request that we gave up may still be done so much later
RETRY_AFTER_SECONDS = 7
DETAIL_LENGTH = 110
_NAMED = re.compile(rb'"(?:DocNumber|DisplayName|Name)":"([^"]*)"')
_PART = re.compile(rb"^(?:GET|PUT) /\S+", re.MULTILINE)
_BROKEN = (500, 502, 503, 504)
_PAGE = b"<html><body><h1>Service Unavailable</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a simulator answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Site(Protocol):
    """A provider behind the road."""

    limits: tuple[Limit, ...]

    def point_of(self, request: requests.PreparedRequest) -> str:
        """`sign in`, `read` or `write`."""

    def spends(self, request: requests.PreparedRequest) -> tuple[str, ...]:
        """Which limits the provider counts the request against."""

    def serve(self, request: requests.PreparedRequest, *, forgets_key: bool) -> Reply:
        """The answer, after the work."""

    def refusal(self, status: int) -> Reply:
        """The provider's own answer with this status, without any work."""


def counted(calls: int) -> int:
    """What the provider allows where we take so many: a budget keeps one call back for delays, but a small one cannot.

    Of QuickBooks' ten calls a second the connector takes nine for that.
    """
    return calls if calls >= SPARE_FROM_CALLS else calls + 1


@dataclass(slots=True)
class Counted:
    """Calls in a sliding window, by the provider's own clock: it allows `calls`."""

    limit: Limit
    calls: int
    sent: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> bool:
        """True if one more call is within the limit."""
        self._forget(now)
        self.sent.append(now)
        return len(self.sent) <= self.calls

    def left(self, now: float) -> int:
        """How many calls are left in the window."""
        self._forget(now)
        return self.calls - len(self.sent)

    def _forget(self, now: float) -> None:
        while self.sent and self.sent[0] <= now - self.limit.per_seconds:
            self.sent.popleft()


class Road(BaseAdapter):
    """Implements what `requests` asks of an adapter. One a tenant and provider: all workers go over it.

    Attributes:
        exceeded: Calls beyond the provider's limit, by the provider's count.
    """

    def __init__(self, runtime: Runtime, name: str, site: Site) -> None:
        super().__init__()
        self._runtime, self._name, self._site = runtime, name, site
        self._windows = {limit.name: Counted(limit, limit.calls) for limit in site.limits}
        self.exceeded: list[str] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override] # the rest is of sockets
        runtime = self._runtime
        if runtime.current is not None:
            runtime.current.calls += 1
        within = self._counts(request)
        fault = runtime.enter(f"{self._name}.{self._site.point_of(request)}", _said(request), slow=True)
        reply = self._reply(request, fault) if within else self._site.refusal(429)
        runtime.leave(fault)
        if fault is FaultKind.LOST:
            raise _reset(request)
        if fault is FaultKind.GARBLE:
            reply = self._garbled(reply, request)
        return _response(request, reply)

    def close(self) -> None:
        """Nothing is open."""

    def _counts(self, request: requests.PreparedRequest) -> bool:
        within = True
        for name in self._site.spends(request):
            window = self._windows[name]
            if not window.take(self._runtime.seconds):
                within = False
                said = f"{len(window.sent)} calls in {window.limit.per_seconds} s, of {window.limit.calls} {name}"
                self.exceeded.append(f"{self._name} at {self._runtime.seconds:.2f} s: {said}")
        return within

    def _reply(self, request: requests.PreparedRequest, fault: FaultKind | None) -> Reply:
        match fault:
            case FaultKind.UNREACHED:
                refused = NewConnectionError(None, "refused")  # type: ignore[arg-type] # no pool stands behind it
                raise requests.ConnectionError(MaxRetryError(None, request.url or "", refused), request=request)  # type: ignore[arg-type] # same
            case FaultKind.VANISHED:
                raise requests.ReadTimeout("no answer came", request=request)
            case FaultKind.LATE:
                self._runtime.after(LATE_SECONDS, lambda: self._site.serve(request, forgets_key=False))
                raise _reset(request)
            case FaultKind.THROTTLE:
                return self._site.refusal(429)
            case FaultKind.DOWN:
                return self._site.refusal(self._runtime.random.choice(_BROKEN))
            case FaultKind.REFUSE:
                return self._site.refusal(400)
            case _:
                return self._site.serve(request, forgets_key=fault is FaultKind.FORGET)

    def _garbled(self, reply: Reply, request: requests.PreparedRequest) -> Reply:
        match self._runtime.random.choice(("cut", "page", "empty", "broken off")):
            case "cut":
                return Reply(reply.status, reply.headers, reply.body[: len(reply.body) * 2 // 3])
            case "page":
                return Reply(200, {"Content-Type": "text/html"}, _PAGE)
            case "empty":
                return Reply(reply.status, reply.headers, b"")
            case _:
                raise requests.exceptions.ChunkedEncodingError(ProtocolError("broken off"), request=request)


def _reset(request: requests.PreparedRequest) -> requests.ConnectionError:
    return requests.ConnectionError(ProtocolError("Connection aborted."), request=request)


def _response(request: requests.PreparedRequest, reply: Reply) -> requests.Response:
    response = requests.Response()
    response.status_code = reply.status
    response.headers = CaseInsensitiveDict(reply.headers)
    response.raw = io.BytesIO(reply.body)
    response.url, response.request = request.url or "", request
    return response


def _said(request: requests.PreparedRequest) -> str:
    """The request for the history: no token, nor anything else that differs between two runs of a seed."""
    parts = urlsplit(request.url or "")
    said = [parts.netloc.partition(".")[0], request.method or "", parts.path]
    body = request.body if isinstance(request.body, bytes) else b""
    if "requestid" not in parts.query:
        said.append(unquote_plus(parts.query).replace("minorversion=75", ""))
    if body.startswith(b"SELECT"):
        said[1:3] = [body.decode(errors="replace").removeprefix("SELECT * FROM ")]
    elif b"BatchItemRequest" in body:
        said += [name.decode() for name in _NAMED.findall(body)]
    else:
        said += [line.decode().removesuffix(" HTTP/1.1") for line in _PART.findall(body)]
    return " ".join(" ".join(said).split())[:DETAIL_LENGTH]
