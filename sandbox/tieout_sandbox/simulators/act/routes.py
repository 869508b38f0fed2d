"""The Web API over HTTP: one table of routes, which single calls and the parts of a batch share."""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import Parser
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

import requests
from flask import Blueprint, Flask, Response, jsonify, request

from tieout_sandbox.simulators.act.errors import JSON, ActError, error_body
from tieout_sandbox.simulators.act.state import FIELDS, ActState

BASE = "/act.web.api"
_GUID = r"(?P<key>[0-9a-fA-F-]{36})"
_COLLECTION = r"(?P<collection>companies|contacts|opportunities|products)"
_LINE = r"(?P<line>[0-9a-fA-F-]{36})"
_CALLBACK_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One request, of its own or a part of a batch."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body.

        Raises:
            ActError: 415 or 400 if it is not a JSON object.
        """
        if not self.headers.get("content-type", "").startswith("application/json"):
            raise ActError(415)
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise ActError(400) from error
        if not isinstance(value, dict):
            raise ActError(400)
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


type Methods = Mapping[str, Callable[..., Reply]]


def as_json(value: Any, status: int = 200) -> Reply:  # noqa: ANN401 - JSON is anything
    """An answer with a JSON body."""
    return Reply(status, json.dumps(value).encode())


class Api:
    """Answers calls one at a time, holding `lock`; who else touches `state` takes the lock too.

    Attributes:
        writes: How many calls and parts of batches changed something.
    """

    def __init__(self, state: ActState, on_change: Callable[[], None]) -> None:
        self.state = state
        self.writes = 0
        self._on_change = on_change
        self.lock = threading.Lock()
        self._routes: Sequence[tuple[re.Pattern[str], Methods]] = [
            (re.compile(pattern, re.IGNORECASE), methods)
            for pattern, methods in (
                (rf"/api/{_COLLECTION}", self._of_collection()),
                (rf"/api/{_COLLECTION}/{_GUID}", self._of_record()),
                (rf"/api/opportunities/{_GUID}/products", {"GET": self._lines, "POST": self._add_line}),
                (rf"/api/opportunities/{_GUID}/products/{_LINE}", {"DELETE": self._delete_line}),
                (r"/api/metadata/(?P<name>\w+)/fields", {"GET": self._fields}),
                (r"/api/webhooks", {"GET": self._webhooks, "POST": self._register}),
                (rf"/api/webhooks/{_GUID}", {"GET": self._webhook, "DELETE": self._unregister}),
                (rf"/api/webhooks/{_GUID}/(?P<verb>suspend|continue)", {"PUT": self._suspend}),
            )
        ]

    def _of_collection(self) -> Methods:
        return {"GET": self._list, "POST": self._create}

    def _of_record(self) -> Methods:
        return {"GET": self._read, "PUT": self._replace, "PATCH": self._patch, "DELETE": self._delete}

    def snapshot(self) -> dict[str, Any]:
        """The state as plain JSON values, taken between two calls."""
        with self.lock:
            return self.state.snapshot()

    def handle(self, call: Call) -> Reply:
        """The answer to a call."""
        with self.lock:
            try:
                return self._handle(call)
            except ActError as error:
                body, content_type = error_body(error.status, error.message)
                headers = dict(self.state.limit_headers())
                if error.status == HTTPStatus.UNAUTHORIZED:
                    headers["WWW-Authenticate"] = "Bearer"
                return Reply(error.status, body, content_type, headers)

    def _handle(self, call: Call) -> Reply:
        if call.path == "/api/system":
            return as_json({"apiVersion": "1.1.1324.1", "sdkVersion": "25.101.0.0"})
        if call.path == "/authorize":
            return self._authorize(call)
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            # As it is there: a missing token is a null reference, not a 401.
            raise ActError(500, "Object reference not set to an instance of an object.")
        self.state.check_token(token)
        if call.headers.get("act-database-name") != self.state.settings.database:
            raise ActError(401)
        self.state.check_rights()
        if call.path.lower() == "/api/$batch":
            return self._batch(call)
        limits = self.state.spend(1)
        reply = self._dispatch(call)
        return Reply(reply.status, reply.body, reply.content_type, {**reply.headers, **limits})

    def _authorize(self, call: Call) -> Reply:
        scheme, _, credentials = call.headers.get("authorization", "").partition(" ")
        database = call.headers.get("act-database-name", "")
        if scheme.lower() == "bearer":
            self.state.check_token(credentials)
            token = self.state.new_token()
        else:
            try:
                username, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ActError(401) from error
            token = self.state.sign_in(database, username, password)
        return Reply(200, f'"{token}"'.encode(), "text/html")

    def _dispatch(self, call: Call) -> Reply:
        for pattern, methods in self._routes:
            found = pattern.fullmatch(call.path)
            if found is not None:
                if call.method not in methods:
                    raise ActError(405, "The requested resource does not support this method.")
                named = {name: value.lower() for name, value in found.groupdict().items()}
                reply = methods[call.method](call, **named)
                if call.method != "GET":
                    self.writes += 1
                    self._on_change()
                return reply
        raise ActError(404)

    # Records

    def _many(self, rows: Sequence[Any]) -> Reply:
        return as_json({"value": rows, "Count": len(rows)} if self.state.settings.envelope else rows)

    def _list(self, call: Call, collection: str) -> Reply:
        return self._many(self.state.listed(collection, call.query))

    def _create(self, call: Call, collection: str) -> Reply:
        return as_json(self.state.create(collection, call.json()), 201)

    def _read(self, _: Call, collection: str, key: str) -> Reply:
        return as_json(self.state.record(collection, key))

    def _replace(self, call: Call, collection: str, key: str) -> Reply:
        return as_json(self.state.replace(collection, key, call.json()))

    def _patch(self, call: Call, collection: str, key: str) -> Reply:
        return as_json(self.state.patch(collection, key, call.json()))

    def _delete(self, _: Call, collection: str, key: str) -> Reply:
        self.state.delete(collection, key)
        return Reply(204)

    def _lines(self, call: Call, key: str) -> Reply:
        return self._many(self.state.lines_of(key, call.query))

    def _add_line(self, call: Call, key: str) -> Reply:
        return as_json(self.state.add_line(key, call.json()), 201)

    def _delete_line(self, _: Call, key: str, line: str) -> Reply:
        self.state.delete_line(key, line)
        return Reply(204)

    def _fields(self, _: Call, name: str) -> Reply:
        collection = {"company": "companies", "opportunity": "opportunities"}.get(name, name)
        collection = collection if collection in FIELDS else f"{collection}s"
        if collection not in FIELDS:
            raise ActError(404)
        return as_json(self.state.fields(collection))

    # Webhooks

    def _may_have_webhooks(self) -> None:
        if not self.state.settings.webhooks:
            raise ActError(404)

    def _webhooks(self, _: Call) -> Reply:
        self._may_have_webhooks()
        return as_json([hook.as_wire() for hook in self.state.webhooks.values()])

    def _register(self, call: Call) -> Reply:
        self._may_have_webhooks()
        return as_json(self.state.register(call.json()), 201)

    def _webhook(self, _: Call, key: str) -> Reply:
        return as_json(self.state.webhook(key).as_wire())

    def _unregister(self, _: Call, key: str) -> Reply:
        del self.state.webhooks[self.state.webhook(key).id]
        return Reply(204)

    def _suspend(self, _: Call, key: str, verb: str) -> Reply:
        hook = self.state.webhook(key)
        hook.suspended = verb == "suspend"
        hook.failed_attempts = 0
        return as_json(hook.as_wire())

    def push(self) -> dict[str, int]:
        """Look at the database once and deliver what the webhooks have to tell; how many arrived and failed."""
        counts = {"delivered": 0, "failed": 0}
        with self.lock:
            due = [
                (hook, body)
                for hook in self.state.webhooks.values()
                if not hook.suspended
                for body in self.state.notifications(hook)
            ]
        for hook, body in due:
            if hook.suspended:
                continue
            arrived = self._deliver(hook.url, hook.token, [body] if self.state.settings.webhook_array else body)
            with self.lock:
                self.state.delivered(
                    hook, body["created" if hook.event == "Created" else "edited"] if arrived else None
                )
            counts["delivered" if arrived else "failed"] += 1
        if due:
            self._on_change()
        return counts

    @staticmethod
    def _deliver(url: str, token: str, body: Any) -> bool:  # noqa: ANN401 - JSON is anything
        try:
            answer = requests.post(url, json=body, headers={"Authorization": token}, timeout=_CALLBACK_TIMEOUT_SECONDS)
        except requests.RequestException:
            return False
        return answer.ok

    # Batches

    def _batch(self, call: Call) -> Reply:
        if call.method != "POST":
            raise ActError(405, "The requested resource does not support this method.")
        parts = self._parts(call)
        limits = self.state.spend(len(parts) if self.state.settings.batch_parts_count else 1)
        boundary = f"batchresponse_{uuid4()}"
        answers = b"".join(_as_part(boundary, self._part_reply(part)) for part in parts)
        content_type = f'multipart/mixed; boundary="{boundary}"'
        return Reply(200, answers + f"--{boundary}--\r\n".encode(), content_type, limits)

    def _part_reply(self, part: Call) -> Reply:
        try:
            return self._dispatch(part)
        except ActError as error:
            return Reply(error.status, *error_body(error.status, error.message))

    def _parts(self, call: Call) -> list[Call]:
        head = Message()
        head["Content-Type"] = call.headers.get("content-type", "")
        boundary = head.get_param("boundary")
        if head.get_content_type() != "multipart/mixed" or not isinstance(boundary, str):
            raise ActError(415)
        pieces = call.body.split(b"--" + boundary.encode())
        if len(pieces) < 3 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 - before, between, after
            raise ActError(400, "Unexpected end of MIME multipart stream.")
        parts = [_part(piece) for piece in pieces[1:-1]]
        if len(parts) > self.state.settings.batch_parts_max:
            raise ActError(400, "The batch request has too many parts.")
        return parts


def _part(piece: bytes) -> Call:
    outer, _, inner = piece.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if b"application/http" not in outer.lower():
        raise ActError(400, "A part of the batch is not an HTTP request.")
    head, _, body = inner.partition(b"\r\n\r\n")
    line, _, headers = head.decode().partition("\r\n")
    try:
        method, target, _ = line.split(" ")
    except ValueError as error:
        raise ActError(400, "A part of the batch has no request line.") from error
    url = urlsplit(target)
    return Call(
        method=method,
        path=unquote(url.path).removeprefix(BASE),
        query=dict(parse_qsl(url.query, keep_blank_values=True)),
        headers={name.lower(): value for name, value in Parser().parsestr(headers).items()},
        body=body.removesuffix(b"\r\n"),
    )


def _as_part(boundary: str, reply: Reply) -> bytes:
    head = (
        f"--{boundary}\r\nContent-Type: application/http; msgtype=response\r\n\r\n"
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\nContent-Type: {reply.content_type}\r\n\r\n"
    )
    return head.encode() + reply.body + b"\r\n"


def install(app: Flask, api: Api) -> None:
    """Give the application the Web API, and end-points of the simulator's own.

    `POST /_sandbox/webhooks/push` delivers what is due; `GET /_sandbox/writes` counts what changed something, parts of
    batches included, which the count of calls cannot tell.
    """

    @app.route(f"{BASE}/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def answer(rest: str) -> Response:
        reply = api.handle(
            Call(
                method=request.method,
                path=f"/{rest}",
                query=request.args.to_dict(),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=request.get_data(),
            )
        )
        return Response(reply.body, reply.status, dict(reply.headers), content_type=reply.content_type)

    sandbox = Blueprint("act", __name__, url_prefix="/_sandbox")

    @sandbox.post("/webhooks/push")
    def push() -> Response:
        return jsonify(api.push())

    @sandbox.get("/writes")
    def count_writes() -> Response:
        return jsonify({"writes": api.writes})

    app.register_blueprint(sandbox)
