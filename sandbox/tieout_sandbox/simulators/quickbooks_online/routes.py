"""The wire of a company: addresses, statuses, bodies; and the application."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, request

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import IGNORE_REQUEST_ID, FaultPlan
from tieout_sandbox.simulators.quickbooks_online import operator_routes, seed, sign_in
from tieout_sandbox.simulators.quickbooks_online.books import ENTITIES
from tieout_sandbox.simulators.quickbooks_online.company import Company, since_parameter
from tieout_sandbox.simulators.quickbooks_online.errors import (
    FaultError,
    batch_too_large,
    fault_answer,
    gateway_body,
    required,
    system,
    too_long,
    unknown_property,
    unsupported,
)
from tieout_sandbox.simulators.quickbooks_online.settings import Settings
from tieout_sandbox.simulators.quickbooks_online.simulator import (
    EXTENSION,
    QuickBooksOnline,
    current,
    json_answer,
    worked,
)
from tieout_sandbox.simulators.quickbooks_online.times import dumps

# Source: blogs.intuit.com 2015/04/06 (requestid) and the batch page of API v3, read 2026-01.
_REQUEST_ID_MAX = 50
_BATCH_REQUEST_ID_MAX = 36
_BATCH_ITEM_ID_MAX = 10

_BY_PATH = {entity.lower(): entity for entity in ENTITIES}

blueprint = Blueprint("company", __name__, url_prefix="/v3/company/<realm>")


def create_app(
    *,
    clock: Clock | None = None,
    faults: FaultPlan | None = None,
    state_file: Path | None = None,
    **settings: Any,  # noqa: ANN401 - the fields of `Settings`, which checks them
) -> Flask:
    """The simulator as an application; `settings` are fields of `Settings`.

    Raises:
        ValueError: If a setting is wrong.
    """
    time = clock or WallClock()
    simulator = QuickBooksOnline(Settings.model_validate(settings), time, state_file)
    app = Flask("quickbooks_online")
    app.extensions[EXTENSION] = simulator
    install(
        app,
        clock=time,
        faults=faults,
        error_body=lambda status: _fault_body(status, time),
        settings=simulator.settings,
        on_change=simulator.state.changed,
        on_close=simulator.close,
    )
    for blueprint_ in (sign_in.blueprint, operator_routes.blueprint, blueprint):
        app.register_blueprint(blueprint_)

    @app.after_request
    def name_the_call(answer: Response) -> Response:
        answer.headers["intuit_tid"] = f"1-{uuid.uuid4()}"
        return answer

    return app


def _fault_body(status: int, clock: Clock) -> tuple[bytes, str]:
    if status in {401, 403, 429}:
        return dumps(gateway_body(status, clock.now())).encode(), "application/json"
    if status in {502, 503, 504}:
        return b"<html><body><h1>Service Unavailable</h1></body></html>", "text/html"
    return dumps(fault_answer(system(), clock.now())).encode(), "application/json"


def _answer(realm: str, work: Callable[[Company], Mapping[str, Any]]) -> Response:
    company = current().companies[realm]
    request_id = None
    if request.method == "POST" and not request.environ.get(IGNORE_REQUEST_ID):
        request_id = request.args.get("requestid")
    with company.lock:
        return json_answer(*current().once(realm, request_id, lambda: worked(work, company)))


@blueprint.before_request
def gateway() -> Response | None:
    """What the gateway answers in place of the company: 401, 403 or 429."""
    realm = (request.view_args or {}).get("realm")
    if realm is None:
        return None
    batch = request.endpoint == "company.batch"
    refusal = current().gateway_refusal(realm, request.headers.get("Authorization", ""), batch=batch)
    if refusal is None:
        return None
    return json_answer(dumps(gateway_body(refusal, current().clock.now())), refusal)


@blueprint.get("/<path>/<record_id>")
def read(realm: str, path: str, record_id: str) -> Response:
    """One record, or the company information."""
    if path == "companyinfo":
        info = seed.company_info(current().settings, realm)
        return _answer(realm, lambda _: {"CompanyInfo": info})
    return _answer(realm, lambda company: {_entity(path): company.read(_entity(path), record_id)})


@blueprint.get("/preferences")
def preferences(realm: str) -> Response:
    """The preferences."""
    return _answer(realm, lambda _: {"Preferences": seed.preferences(current().settings, realm)})


@blueprint.post("/<path>")
def write(realm: str, path: str) -> Response:
    """Create, update, delete or void one record."""
    operation = _operation(request.args)
    return _answer(realm, lambda company: _written(company, _entity(path), operation, _body()))


@blueprint.route("/query", methods=["GET", "POST"])
def query(realm: str) -> Response:
    """The answer of a query."""
    text = request.get_data(as_text=True) if request.method == "POST" else request.args.get("query", "")
    return _answer(realm, lambda company: {"QueryResponse": company.query(text)})


@blueprint.get("/cdc")
def cdc(realm: str) -> Response:
    """What changed since a moment."""
    return _answer(realm, lambda company: {"CDCResponse": [{"QueryResponse": _changes(company)}]})


@blueprint.post("/batch")
def batch(realm: str) -> Response:
    """Up to 30 writes and queries, each with its own end."""
    return _answer(realm, lambda company: _batch(company, current().settings.batch_items_max, _body()))


def _entity(path: str) -> str:
    entity = _BY_PATH.get(path.lower())
    if entity is None:
        raise unsupported(path)
    return entity


def _body() -> dict[str, Any]:
    try:
        sent = json.loads(request.get_data(), parse_float=Decimal)
    except ValueError as error:
        raise FaultError("2010", "Request has invalid or unsupported property", "The request is not JSON") from error
    if not isinstance(sent, dict):
        raise unknown_property("request")
    return sent


def _refuse_long_request_id(length_max: int) -> None:
    length = len(request.args.get("requestid", ""))
    if length > length_max:
        raise too_long("requestid", length_max, length)


def _operation(parameters: Mapping[str, str]) -> str | None:
    """`void`, `delete`, `update`, or None, which the body decides."""
    if parameters.get("include") == "void":
        return "void"
    return parameters.get("operation")


def _written(company: Company, entity: str, operation: str | None, sent: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_long_request_id(_REQUEST_ID_MAX)
    chosen = operation or ("update" if sent.get("Id") else "create")
    work = {
        "create": company.create,
        "update": company.update,
        "delete": company.delete,
        "void": company.void,
    }.get(chosen)
    if work is None:
        raise unsupported(chosen)
    return {entity: work(entity, sent)}


def _changes(company: Company) -> list[dict[str, Any]]:
    for needed in ("entities", "changedSince"):
        if not request.args.get(needed):
            raise required(needed)
    return company.changes(request.args["entities"].split(","), since_parameter(request.args["changedSince"]))


def _batch(company: Company, items_max: int, sent: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_long_request_id(_BATCH_REQUEST_ID_MAX)
    items = sent.get("BatchItemRequest")
    if not isinstance(items, list) or not items:
        raise required("BatchItemRequest")
    if len(items) > items_max:
        raise batch_too_large(items_max)
    if "requestid" in request.args:
        for item in items:
            if len(str(item.get("bId", ""))) > _BATCH_ITEM_ID_MAX:
                raise too_long("bId", _BATCH_ITEM_ID_MAX, len(str(item["bId"])))
    return {"BatchItemResponse": [_batch_item(company, item) for item in items]}


def _batch_item(company: Company, item: Mapping[str, Any]) -> dict[str, Any]:
    named = {"bId": str(item["bId"])} if "bId" in item else {}
    try:
        if "Query" in item:
            return {"QueryResponse": company.query(str(item["Query"])), **named}
        entity = next((name for name in item if name in ENTITIES), None)
        if entity is None or not isinstance(item[entity], dict):
            raise required("BatchItemRequest.entity")
        operation = "void" if item.get("optionsData") == "void" else item.get("operation")
        return {**_written(company, entity, operation, item[entity]), **named}
    except FaultError as fault:
        return {"Fault": fault.body(), **named}
