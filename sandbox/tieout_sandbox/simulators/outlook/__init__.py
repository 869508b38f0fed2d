"""A simulated mailbox of Exchange Online behind Microsoft Graph, and Microsoft's sign-in for it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from flask import Flask

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.simulators.outlook import routes
from tieout_sandbox.simulators.outlook.errors import error_body
from tieout_sandbox.simulators.outlook.state import OutlookSettings, OutlookState
from tieout_sandbox.simulators.storage import StateFile


def create_app(
    *,
    clock: Clock | None = None,
    faults: FaultPlan | None = None,
    state_file: Path | None = None,
    **settings: Any,  # noqa: ANN401 - checked by the settings' model
) -> Flask:
    """The simulator; Graph stands under `/v1.0`. `extensions["simulator"]` is the `Api` behind it.

    Raises:
        pydantic.ValidationError: If there is no such setting.
    """
    clock = clock or WallClock()
    checked = OutlookSettings(**settings)
    state = OutlookState(checked, clock)
    stored = StateFile(state_file, lambda: api.snapshot())  # noqa: PLW0108 - the API is made below
    saved = stored.load()
    if saved is not None:
        state.restore(saved)
    api = routes.Api(state, stored.changed)
    stop = threading.Event()
    pusher = threading.Thread(target=_push, args=(api, stop), name="outlook-notifications", daemon=True)

    def close() -> None:
        stop.set()
        if pusher.is_alive():
            pusher.join()
        stored.close()

    app = Flask(__name__)
    app.extensions["simulator"] = api
    routes.install(app, api)
    install(app, clock=clock, faults=faults, error_body=error_body, settings=checked, on_close=close)
    if checked.notify_seconds:
        pusher.start()
    return app


def _push(api: routes.Api, stop: threading.Event) -> None:
    while not stop.wait(api.state.settings.notify_seconds):
        api.push()
