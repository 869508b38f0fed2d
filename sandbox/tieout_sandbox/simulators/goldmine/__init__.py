"""A GoldMine database in a SQLite file, and the people who use it.

GoldMine has no interface over HTTP: the connector opens the file that `GET /_sandbox/database` names, by its setting
`sqlite_file`. What is served here is for the operator alone, who makes people do things: so there are no calls of the
product that faults could hit, and none are counted.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, jsonify, request

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.simulators.goldmine.office import GoldMineSettings, Office


def create_app(
    *,
    clock: Clock | None = None,
    faults: FaultPlan | None = None,
    state_file: Path | None = None,
    **settings: Any,  # noqa: ANN401 - checked by the settings' model
) -> Flask:
    """The operator's application. `extensions["simulator"]` is the `Office`.

    The state file is the database itself; without one it has a file of its own, which goes with it.

    Raises:
        pydantic.ValidationError: If there is no such setting.
    """
    clock = clock or WallClock()
    checked = GoldMineSettings(**settings)
    closing = ExitStack()
    if state_file is None:
        state_file = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="goldmine-"))) / "goldmine.sqlite"
    office = Office(state_file, checked, clock)
    app = Flask(__name__)
    app.extensions["simulator"] = office
    app.register_blueprint(_people(office))
    install(
        app,
        clock=clock,
        faults=faults,
        error_body=lambda status: (str(status).encode(), "text/plain"),
        settings=checked,
        on_close=closing.close,
    )
    return app


def _people(office: Office) -> Blueprint:
    """`/_sandbox/`: where the database is, its rows, and a few things that people do."""
    people = Blueprint("goldmine", __name__, url_prefix="/_sandbox")

    @people.get("/database")
    def name_database() -> Response:
        return jsonify({"file": str(office.file)})

    @people.get("/rows/<table>")
    def list_rows(table: str) -> Response:
        return jsonify(office.rows(table, **request.args.to_dict()))

    @people.post("/deals")
    def edit_deal() -> Response:
        # Columns by name; JSON has no days, so these stand apart.
        asked = request.get_json()
        days = {name: date.fromisoformat(value) for name, value in asked.pop("days", {}).items()}
        office.edit_deal(asked.pop("opid"), **asked, **days)
        return jsonify({})

    return people
