"""The operator's own end-points of a simulator, under `/_sandbox/`: faults, settings, counts of calls."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint, Flask, Response, jsonify, request
from pydantic import BaseModel, ValidationError

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.faults import (
    SANDBOX_PREFIX,
    DroppedConnectionError,
    ErrorBody,
    FaultMiddleware,
    FaultPlan,
    Faults,
)

OPERATOR_HEADER = "Sandbox-Operator"
"""A call that has it meets no fault and is not counted: it is the operator's own, not the product's."""

ON_CLOSE = "tieout.on_close"
"""Key of `Flask.extensions`: what the server calls once when it stops."""

_ID = re.compile(r"(?<=/)(?:\d+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27})(?=/|$)")


class CallCounter:
    """Counts calls by method and route, and by what became of them: a status, or `dropped`.

    The operator's own calls go to `plain`, which has no faults.
    """

    def __init__(self, app: WSGIApplication, plain: WSGIApplication) -> None:
        self._app = app
        self._plain = plain
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str]] = Counter()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the call on, and count it."""
        if "HTTP_" + OPERATOR_HEADER.upper().replace("-", "_") in environ:
            return self._plain(environ, start_response)
        route = f"{environ['REQUEST_METHOD']} {_ID.sub('{id}', environ['PATH_INFO'])}"
        if environ["PATH_INFO"].startswith(SANDBOX_PREFIX):
            return self._app(environ, start_response)

        def counted(status: str, *rest: Any) -> Callable[[bytes], object]:  # noqa: ANN401 - WSGI's own form
            self._count(route, status.partition(" ")[0])
            return start_response(status, *rest)

        try:
            return self._app(environ, counted)
        except DroppedConnectionError:
            self._count(route, "dropped")
            raise

    def _count(self, route: str, end: str) -> None:
        with self._lock:
            self._calls[route, end] += 1

    def report(self) -> dict[str, Any]:
        """Totals, and by route: `calls`, and `by_status`."""
        with self._lock:
            calls = dict(self._calls)
        routes: dict[str, dict[str, Any]] = {}
        for (route, end), count in sorted(calls.items()):
            entry = routes.setdefault(route, {"calls": 0, "by_status": {}})
            entry["calls"] += count
            entry["by_status"][end] = count
        return {"total": sum(calls.values()), "routes": routes}

    def reset(self) -> None:
        """Count from zero."""
        with self._lock:
            self._calls.clear()


def install(  # noqa: D417 - the others are described where they come from
    app: Flask,
    *,
    clock: Clock,
    faults: FaultPlan | None,
    error_body: ErrorBody,
    settings: BaseModel,
    on_change: Callable[[], None] = lambda: None,
    on_close: Callable[[], None] = lambda: None,
) -> Faults:
    """Give a simulator its operator's end-points, its faults and its counts.

    Args:
        settings: Changed in place by `POST /_sandbox/settings`; needs `validate_assignment` and `extra="forbid"`.
        on_change: Called after the settings were changed.
        on_close: Called once when the server stops.

    Returns:
        The faults in force, for calls that come by no route.
    """
    in_force = Faults(faults or FaultPlan())
    calls = CallCounter(FaultMiddleware(app.wsgi_app, in_force, clock, error_body), app.wsgi_app)
    app.wsgi_app = calls  # type: ignore[method-assign] # Flask's documented way to add middleware
    app.extensions[ON_CLOSE] = on_close
    sandbox = Blueprint("sandbox", __name__, url_prefix="/_sandbox")

    @sandbox.get("/faults")
    def read_faults() -> Response:
        return jsonify(in_force.report())

    @sandbox.put("/faults")
    def replace_faults() -> Response:
        in_force.replace(FaultPlan.model_validate(request.get_json()))
        return jsonify(in_force.report())

    @sandbox.get("/calls")
    def read_calls() -> Response:
        return jsonify(calls.report())

    @sandbox.delete("/calls")
    def reset_calls() -> Response:
        calls.reset()
        return jsonify(calls.report())

    @sandbox.get("/settings")
    def read_settings() -> Response:
        return jsonify(settings.model_dump(mode="json"))

    @sandbox.post("/settings")
    def change_settings() -> Response:
        wanted = request.get_json()
        checked = type(settings).model_validate({**settings.model_dump(), **wanted})
        for name in wanted:
            setattr(settings, name, getattr(checked, name))
        on_change()
        return jsonify(settings.model_dump(mode="json"))

    @sandbox.errorhandler(ValidationError)
    def refuse(error: ValidationError) -> tuple[Response, int]:
        problems = [
            {"field": ".".join(str(part) for part in each["loc"]), "problem": each["msg"]} for each in error.errors()
        ]
        return jsonify({"problems": problems}), 400

    app.register_blueprint(sandbox)
    return in_force
