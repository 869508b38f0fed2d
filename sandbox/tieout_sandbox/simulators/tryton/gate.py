"""Stands between a client and the real server, and makes calls fail.

All calls of Tryton's JSON-RPC go to one path, so a fault is matched by another one: `/read/METHOD` and `/write/METHOD`,
such as `/write/model.account.invoice.post`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from http.client import HTTPConnection
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, request

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.faults import SANDBOX_PREFIX, FaultMiddleware, FaultPlan, Faults

_READS = ("read", "search_read", "search", "search_count", "get_preferences", "login")
_FORWARD_SECONDS_MAX = 120


def create_gate(port: int, clock: Clock) -> Flask:
    """An application that forwards to the server at this port of loopback.

    Its `extensions["calls"]` counts the calls by method.
    """
    app = Flask("tryton-gate")
    faults = Faults(FaultPlan())
    calls: Counter[str] = Counter()
    app.extensions["calls"] = calls

    @app.put(f"{SANDBOX_PREFIX}faults")
    def replace() -> dict[str, Any]:
        faults.replace(FaultPlan.model_validate(request.get_json()))
        return faults.report()

    @app.post("/<any(read, write):_kind>/<method>")
    def forward(_kind: str, method: str) -> Response:
        calls[method] += 1
        connection = HTTPConnection("127.0.0.1", port, timeout=_FORWARD_SECONDS_MAX)
        try:
            names = ("Content-Type", "Authorization")
            headers = {name: value for name in names if (value := request.headers.get(name))}
            connection.request("POST", request.environ[_PATH], request.get_data(), headers)
            answer = connection.getresponse()
            return Response(answer.read(), answer.status, content_type=answer.headers.get("Content-Type"))
        finally:
            connection.close()

    app.wsgi_app = _Renamed(FaultMiddleware(app.wsgi_app, faults, clock, _error_body))  # type: ignore[method-assign] # Flask's own way
    return app


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
            kind = "read" if method.rpartition(".")[2].startswith((*_READS, "on_change")) else "write"
            environ |= {"PATH_INFO": f"/{kind}/{method}", _PATH: path}
        return self._app(environ, start_response)


def _method(environ: WSGIEnvironment) -> str:
    body = environ["wsgi.input"]
    try:
        return str(json.loads(body.read())["method"])
    finally:
        body.seek(0)


def _error_body(status: int) -> tuple[bytes, str]:
    """As Werkzeug's pages, which trytond answers with."""
    return f"<!doctype html><title>{status}</title>".encode(), "text/html"
