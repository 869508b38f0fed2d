"""A simulated Act! Web API: one server with one database and one user."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from flask import Flask

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.act import routes
from tieout_sandbox.simulators.act.errors import error_body
from tieout_sandbox.simulators.act.state import ActSettings, ActState
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.simulators.storage import StateFile


def create_app(
    *,
    clock: Clock | None = None,
    faults: FaultPlan | None = None,
    state_file: Path | None = None,
    **settings: Any,  # noqa: ANN401 - checked by the settings' model
) -> Flask:
    """The simulator; its API stands under `/act.web.api`. `extensions["simulator"]` is the `Api` behind it.

    Raises:
        pydantic.ValidationError: If there is no such setting.
    """
    clock = clock or WallClock()
    checked = ActSettings(**settings)
    state = ActState(checked, clock)
    stored = StateFile(state_file, lambda: api.snapshot())  # noqa: PLW0108 - the API is made below
    saved = stored.load()
    if saved is not None:
        state.restore(saved)
    api = routes.Api(state, stored.changed)
    pusher = _Pusher(api, checked)

    def close() -> None:
        pusher.stop()
        stored.close()

    app = Flask(__name__)
    app.extensions["simulator"] = api
    routes.install(app, api)
    install(app, clock=clock, faults=faults, error_body=error_body, settings=checked, on_close=close)
    pusher.start()
    return app


class _Pusher:
    """Delivers webhooks in the background, if the settings say how often."""

    def __init__(self, api: routes.Api, settings: ActSettings) -> None:
        self._api = api
        self._seconds = settings.webhook_poll_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="act-webhooks", daemon=True)

    def start(self) -> None:
        if self._seconds:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._api.push()
