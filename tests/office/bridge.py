"""A bridge as its wire says, kept in memory and stricter than need be: what the agent must not do fails the test."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

NAME = "acme.books"
LARGE_BYTES = 1_000_000
AGENT_FIELDS = {"version", "machine", "system", "instance"}


@dataclass
class Job:
    id: str
    call: str
    body: str
    write: bool
    lease: str = ""
    ended: str = ""
    result: str | None = None
    over: threading.Event = field(default_factory=threading.Event)


class RefusedError(Exception):
    def __init__(self, status: int, code: str, **facts: object) -> None:
        super().__init__(code)
        self.status = status
        self.body = {"error": code, "message": f"Refused: {code}.", "next_step": "", **facts}


class Bridge:
    """One connection's bridge.

    Args:
        now: Unix seconds by the bridge's clock.
        url: Where it is reached; parcels are there too.
    """

    def __init__(self, now: Callable[[], float], url: str = "https://bridge.example") -> None:
        self.now, self.url = now, url
        self.code, self.key = "ABCD-EFGH-JKLM", ""
        self.revoked = False
        self.provider, self.title, self.settings = "paper", "Paper", {"currency": "USD"}
        self.account = ""
        self.sequence = 0
        self.instance, self.heard_at = "", 0.0
        self.jobs: list[Job] = []
        self.parcels: dict[str, bytes] = {}
        self.latest = "0.1.0"
        self.wait_seconds = 10.0
        self.begin_within_seconds = 15.0
        self.refusals: list[RefusedError] = []
        """Answered instead, first come first served, after the signature was checked."""
        self.calls: list[str] = []
        self.reports: list[tuple[str, str]] = []
        self.agent: Mapping[str, str] = {}
        self._busy = threading.Lock()
        self._wrong: list[str] = []

    @property
    def address(self) -> str:
        return f"{self.url}/bridge/{NAME}"

    def put(self, call: str, body: str, *, write: bool = False) -> Job:
        job = Job(f"job-{len(self.jobs) + 1}", call, body, write)
        self.jobs.append(job)
        return job

    def check(self) -> None:
        """Fails if the agent ever did what it must not."""
        assert self._wrong == []

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body."""
        if path.startswith("/parcels/"):
            return self._parcel(method, path.removeprefix("/parcels/"), body)
        if not self._busy.acquire(blocking=False):
            self._wrong.append("two calls at once")
            self._busy.acquire()
        try:
            return 200, json.dumps(self._answer(path, headers, body)).encode()
        except RefusedError as refused:
            return refused.status, json.dumps(refused.body).encode()
        finally:
            self._busy.release()

    def _parcel(self, method: str, name: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT":
            size, digest = name.split("-")[1:]
            if (len(body), hashlib.sha256(body).hexdigest()) != (int(size), digest):
                return 403, b"<Error/>"
            self.parcels[name] = body
            return 200, b""
        return (200, self.parcels[name]) if name in self.parcels else (404, b"<Error/>")

    def _answer(self, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        found = re.fullmatch(rf"/bridge/{re.escape(NAME)}/(enrol|lease|report|upload)", path)
        if found is None:
            raise RefusedError(404, "unknown_call")
        call, given = found[1], json.loads(body)
        self.calls.append(call)
        if call == "enrol":
            return self._enrol(given)
        self._check(call, {name.lower(): value for name, value in headers.items()}, body, given["agent"])
        if self.refusals:
            raise self.refusals.pop(0)
        return {"lease": self._lease, "report": self._report, "upload": self._upload}[call](given)

    def _check(self, call: str, headers: Mapping[str, str], body: bytes, agent: Mapping[str, str]) -> None:
        time, sequence = headers["tieout-time"], headers["tieout-sequence"]
        if headers["tieout-version"] != "1":
            raise RefusedError(426, "version", supported=[1])
        told = "\n".join(["1", f"{NAME}/{call}", time, sequence, hashlib.sha256(body).hexdigest()])
        if self.revoked:
            raise RefusedError(403, "revoked")
        signature = hmac.new(bytes.fromhex(self.key), told.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, headers["tieout-signature"]):
            raise RefusedError(401, "bad_signature")
        if abs(int(time) - self.now()) > 300:
            raise RefusedError(401, "clock", server_time=int(self.now()))
        if int(sequence) <= self.sequence:
            raise RefusedError(401, "replayed", sequence=self.sequence)
        others = self.instance not in {"", agent["instance"], agent.get("replaces", "")}
        if others and self.now() - self.heard_at < 60:
            raise RefusedError(409, "second_agent")
        assert set(agent) >= AGENT_FIELDS, agent
        self.sequence, self.instance, self.heard_at, self.agent = int(sequence), agent["instance"], self.now(), agent

    def _enrol(self, given: Mapping[str, Any]) -> dict[str, Any]:
        assert re.fullmatch("[0-9a-f]{64}", given["key"])
        assert set(given["agent"]) == AGENT_FIELDS - {"instance"}
        if given["code"] != self.code:
            raise RefusedError(403, "code_unknown")
        if self.key and self.key != given["key"]:
            raise RefusedError(403, "code_used")
        if not self.key:
            self.key, self.sequence = given["key"], 0
        tenant, _, connection = NAME.partition(".")
        told = {"tenant": tenant, "id": connection, "provider": self.provider, "title": self.title}
        return {"connection": {**told, "settings": self.settings}, "sequence": 0}

    def _lease(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if given["running"]:
            raise RefusedError(400, "bad_request")
        for job in self.jobs:  # who asks for the next job has none in hand
            if job.lease and not job.ended:
                self._end(job, "lost", None)
        for job in self.jobs:
            if not job.lease:
                job.lease = secrets.token_hex(16)
                return self._told({"job": self._as_told(job), "wait_seconds": 0})
        return self._told({"job": None, "wait_seconds": self.wait_seconds})

    def _told(self, answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "latest": self.latest, "settings": self.settings, "account": self.account}

    def _as_told(self, job: Job) -> dict[str, Any]:
        large = len(job.body) > LARGE_BYTES
        if large:
            self.parcels[f"of-{job.id}"] = job.body.encode()
        return {
            "id": job.id,
            "lease": job.lease,
            "call": job.call,
            "write": job.write,
            "body": None if large else job.body,
            "body_at": f"{self.url}/parcels/of-{job.id}" if large else None,
            "begin_within_seconds": self.begin_within_seconds,
        }

    def _report(self, given: Mapping[str, Any]) -> dict[str, Any]:
        job = next((one for one in self.jobs if one.id == given["id"]), None)
        if job is None:
            raise RefusedError(404, "unknown_job")
        if job.lease != given["lease"]:
            raise RefusedError(409, "not_yours")
        body = given["body"]
        if given.get("body_at"):
            body = self.parcels[given["body_at"]].decode()
        elif body is not None and len(json.dumps(body).encode()) > LARGE_BYTES:
            raise RefusedError(413, "too_large")
        if job.ended:
            if (job.ended, job.result) == (given["ended"], body):
                return {}
            raise RefusedError(409, "closed")
        self.reports.append((job.id, given["ended"]))
        self._end(job, given["ended"], body)
        return {}

    @staticmethod
    def _end(job: Job, ended: str, result: str | None) -> None:
        job.ended, job.result = ended, result
        job.over.set()

    def _upload(self, given: Mapping[str, Any]) -> dict[str, Any]:
        assert any(job.id == given["id"] for job in self.jobs)
        name = f"up-{given['bytes']}-{given['sha256']}"
        return {"url": f"{self.url}/parcels/{name}", "headers": {"x-parcel": "1"}, "key": name}


@contextmanager
def served(bridge: Bridge) -> Iterator[str]:
    """The bridge on a port of this machine; its base address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            path = urlsplit(self.path).path
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = bridge.answer(self.command, path, dict(self.headers.items()), sent)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = handle_any  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        disable_nagle_algorithm = True

        def handle_error(self, *_: object) -> None:
            """A client that was killed hangs up in the middle."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        bridge.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield bridge.url
        finally:
            server.shutdown()
            thread.join()
