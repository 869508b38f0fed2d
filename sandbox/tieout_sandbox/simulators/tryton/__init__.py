"""A real Tryton server on this machine: trytond on SQLite, with a company that can sell.

It is no simulator of ours: trytond (GPL) is installed into an environment of its own (`.tools/tryton`, made by `make
setup`) and is run as a program; nothing of it is imported here. What stands between it and a client (`gate`) can make
calls fail, and does what a bookkeeper would do in Tryton.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.simulators.tryton.bookkeeper import Booked, Bookkeeper
from tieout_sandbox.simulators.tryton.gate import TrytonSettings, create_gate
from tieout_sandbox.simulators.tryton.rpc import Rpc, RpcError
from tieout_sandbox.simulators.tryton.server import TrytonError, TrytonServer

__all__ = ["Booked", "Bookkeeper", "Rpc", "RpcError", "TrytonError", "TrytonServer", "create_app", "create_gate"]


def create_app(
    *,
    clock: Clock | None = None,
    faults: FaultPlan | None = None,
    state_file: Path | None = None,
    **settings: object,
) -> Flask:
    """The gate before a server of its own with a new database, which runs until the gate stops being served.

    The server's own time is the machine's, whatever the clock says. `extensions["server"]` is the server.

    Raises:
        pydantic.ValidationError: If there is no such setting.
        ValueError: If a file is named for the state: the database is Tryton's own.
        TrytonError: If the server is not installed or does not start.
    """
    checked = TrytonSettings.model_validate(settings)
    if state_file is not None:
        raise ValueError("Tryton keeps no state in a file of ours: each server begins with a new database")
    folder = TemporaryDirectory(prefix="tieout-tryton-")
    server = TrytonServer(Path(folder.name), say=_tell)

    def close() -> None:
        server.stop()
        folder.cleanup()

    try:
        server.start()
    except BaseException:
        close()
        raise
    app = create_gate(
        server.port, server.administrator, clock=clock or WallClock(), faults=faults, settings=checked, on_close=close
    )
    app.extensions["server"] = server
    return app


def _tell(line: str) -> None:
    """The first line of the output is the address, so this goes beside it."""
    sys.stderr.write(f"{line}\n")
