"""Stands between a client and the real server: makes calls fail, counts them, and takes the operator's wishes.

All calls of Tryton's JSON-RPC go to one path, so a fault is matched by another one: `/read/METHOD` and `/write/METHOD`,
such as `/write/model.account.invoice.post`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from functools import cache
from http.client import HTTPConnection
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint, Flask, Response, jsonify, request
from pydantic import BaseModel, ConfigDict

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import SANDBOX_PREFIX, FaultPlan
from tieout_sandbox.simulators.tryton.bookkeeper import Bookkeeper, NoSuchInvoiceError
from tieout_sandbox.simulators.tryton.rpc import Rpc, RpcError

_READS = ("read", "search", "get_preferences", "login", "on_change", "version")
_FORWARD_SECONDS_MAX = 120


class TrytonSettings(BaseModel):
    """None: what can be set is set in Tryton itself."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


def create_gate(
    port: int,
    administrator: Callable[[], Rpc],
    *,
    clock: Clock,
    faults: FaultPlan | None = None,
    settings: TrytonSettings | None = None,
    on_close: Callable[[], None] = lambda: None,
) -> Flask:
    """An application that forwards to the server at this port of loopback.

    `administrator` signs somebody in who may do everything; it is called once, when it is first needed.
    """
    app = Flask("tryton-gate")
    # On SQLite two transactions that write can draw the same number, as it locks nothing before it writes.
    writing = threading.Lock()

    @app.post("/<any(read, write):kind>/<method>")
    def forward(kind: str, method: str) -> Response:  # noqa: ARG001 - faults and counts go by it
        alone: AbstractContextManager[Any] = writing if kind == "write" else nullcontext()
        with alone:
            return _forward(port)

    books = cache(lambda: Bookkeeper(administrator()))
    app.register_blueprint(_operator(books, writing, clock))
    install(
        app,
        clock=clock,
        faults=faults,
        error_body=_error_body,
        settings=settings or TrytonSettings(),
        on_close=on_close,
    )
    app.wsgi_app = _Renamed(app.wsgi_app)  # type: ignore[method-assign] # Flask's own way
    return app


def _forward(port: int) -> Response:
    connection = HTTPConnection("127.0.0.1", port, timeout=_FORWARD_SECONDS_MAX)
    try:
        names = ("Content-Type", "Authorization")
        headers = {name: value for name in names if (value := request.headers.get(name))}
        connection.request("POST", request.environ[_PATH], request.get_data(), headers)
        answer = connection.getresponse()
        return Response(answer.read(), answer.status, content_type=answer.headers.get("Content-Type"))
    finally:
        connection.close()


def _operator(books: Callable[[], Bookkeeper], writing: threading.Lock, clock: Clock) -> Blueprint:
    """What the operator asks of the bookkeeper; amounts are text."""
    operator = Blueprint("bookkeeper", __name__, url_prefix="/_sandbox")

    @operator.get("/summary")
    def summary() -> Response:
        return jsonify(books().summary())

    @operator.get("/invoices")
    def invoices() -> Response:
        return jsonify([_plain(asdict(one) | {"paid": one.paid}) for one in books().invoices()])

    @operator.post("/pay")
    def pay() -> Response:
        said = request.get_json()
        amount = Decimal(str(said["amount"])) if said.get("amount") is not None else None
        on = date.fromisoformat(said["date"]) if said.get("date") else clock.now().date()
        with writing:
            paid = books().pay(str(said["number"]), amount, on)
        return jsonify(_plain(asdict(paid) | {"paid": paid.paid}))

    @operator.post("/remark")
    def remark() -> Response:
        said = request.get_json()
        with writing:
            books().remark(str(said["number"]), str(said["text"]))
        return jsonify({})

    @operator.post("/close")
    def close() -> Response:
        day = request.get_json().get("until")
        with writing:
            periods = books().close_until(date.fromisoformat(day)) if day else books().reopen()
        return jsonify({"periods": periods})

    @operator.post("/revoke")
    def revoke() -> Response:
        with writing:
            books().let_in(active=False)
        return jsonify({})

    @operator.post("/grant")
    def grant() -> Response:
        with writing:
            books().let_in(active=True)
        return jsonify({})

    @operator.errorhandler(NoSuchInvoiceError)
    @operator.errorhandler(RpcError)
    def refuse(error: Exception) -> tuple[Response, int]:
        return jsonify({"problem": str(error)}), 400

    return operator


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Decimal | date) else value for name, value in fields.items()}


_PATH = "tieout.path"


class _Renamed:
    """Gives each call the path that says what it does."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the call."""
        path = environ["PATH_INFO"]
        if not path.startswith(SANDBOX_PREFIX):
            method = _method(environ)
            kind = "read" if method.rpartition(".")[2].startswith(_READS) else "write"
            environ |= {"PATH_INFO": f"/{kind}/{method}", _PATH: path}
        return self._app(environ, start_response)


def _method(environ: WSGIEnvironment) -> str:
    """The method of the call; empty if it is none."""
    body = environ["wsgi.input"]
    try:
        said = json.loads(body.read() or b"null")
        return str(said.get("method", "")) if isinstance(said, dict) else ""
    except ValueError:
        return ""
    finally:
        body.seek(0)


def _error_body(status: int) -> tuple[bytes, str]:
    """As Werkzeug's pages, which trytond answers with."""
    return f"<!doctype html><title>{status}</title>".encode(), "text/html"
