"""The wire: a door that takes qbXML, which QuickBooks itself does not have, and the operator's end-points."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from xml.sax.saxutils import escape

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import BadRequest

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import FaultPlan, Faults, Kind
from tieout_sandbox.simulators.quickbooks_desktop.company import TRANSACTIONS, Company, Session
from tieout_sandbox.simulators.quickbooks_desktop.messages import ResultError, Row
from tieout_sandbox.simulators.quickbooks_desktop.settings import Settings
from tieout_sandbox.simulators.quickbooks_desktop.webconnector import Background, Cut
from tieout_sandbox.simulators.storage import StateFile

_XML = "text/xml; charset=utf-8"
_REFUSED = 502
door = Blueprint("door", __name__, url_prefix="/qbxml")
operator = Blueprint("operator", __name__, url_prefix="/_sandbox")


class QuickBooksDesktop:
    """All that the routes work on."""

    def __init__(self, settings: Settings, clock: Clock, state_file: Path | None) -> None:
        self.settings = settings
        self.company = Company(settings, clock)
        self.session = Session()
        self.state = StateFile(state_file, self.company.snapshot)
        if (saved := self.state.load()) is not None:
            self.company.restore(saved)
        self.web_connector = Background(self.company)

    def close(self) -> None:
        """Stop the background work, and save."""
        self.web_connector.close()
        self.state.changed()  # the Web Connector's writes pass no route
        self.state.close()


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
    simulator = QuickBooksDesktop(Settings.model_validate(settings), time, state_file)
    app = Flask("quickbooks_desktop")
    app.extensions["simulator"] = simulator
    in_force = install(
        app,
        clock=time,
        faults=faults,
        error_body=lambda status: (f"<html><body>{status}</body></html>".encode(), "text/html"),
        settings=simulator.settings,
        on_change=simulator.state.changed,
        on_close=simulator.close,
    )
    simulator.web_connector.cut = lambda text: _cut(in_force, text)
    app.register_blueprint(operator)
    app.register_blueprint(door)
    return app


def _cut(faults: Faults, text: str) -> Cut | None:
    """What the door's faults do to a run of the Web Connector: an answer is lost, or else the request never arrives."""
    path = f"/qbxml/{'write' if 'newMessageSetID' in text else 'read'}"
    kinds = {fault.kind for fault in faults.draw("POST", path)}
    if Kind.LOST_ANSWER in kinds:
        return Cut.ANSWER
    return Cut.REQUEST if kinds & {Kind.STATUS, Kind.RESET} else None


def current() -> QuickBooksDesktop:
    """The simulator of the application that handles this request."""
    return cast("QuickBooksDesktop", current_app.extensions["simulator"])


@door.post("/read")
@door.post("/write")
def process() -> Response:
    """A message set; all that come here are of one session."""
    simulator = current()
    try:
        answer = simulator.company.process(request.get_data(as_text=True), simulator.session)
    except ResultError as error:
        return Response(error.message, _REFUSED, headers={"hresult": error.result}, content_type="text/plain")
    simulator.state.changed()
    return Response(answer, content_type=_XML)


@operator.post("/session/end")
def end_session() -> Response:
    """The session of the door ends, and its iterators with it."""
    current().session = Session()
    return jsonify({})


@operator.post("/do")
def do() -> Response:
    """A person's work in QuickBooks, as qbXML requests; the replies."""
    company = current().company
    answer = company.process(_set_of(request.get_data(as_text=True)), Session())
    current().state.changed()
    return Response(answer, content_type=_XML)


@operator.post("/revoke")
def revoke() -> Response:
    """The administrator unticks the application."""
    current().company.revoked = True
    return jsonify({})


@operator.post("/grant")
def grant() -> Response:
    """The administrator ticks the application."""
    current().company.revoked = False
    return jsonify({})


@operator.post("/lock")
def lock() -> Response:
    """Somebody opens a record; all are closed without an `id`."""
    company = current().company
    record_id = _given().get("id")
    company.locked = {str(record_id)} if record_id else set()
    return jsonify(sorted(company.locked))


@operator.post("/renumber")
def renumber() -> Response:
    """A person gives the invoice of this `id` another `number`."""
    given = _given()
    company = current().company
    with company.lock:
        row = company.tables["Invoice"].get(str(given.get("id")))
        if row is None:
            raise BadRequest("there is no such invoice")
        _done(
            f"<InvoiceModRq><InvoiceMod><TxnID>{row['TxnID']}</TxnID><EditSequence>{row['EditSequence']}</EditSequence>"
            f"<RefNumber>{escape(str(given.get('number')))}</RefNumber></InvoiceMod></InvoiceModRq>"
        )
    return jsonify({})


@operator.post("/delete")
def delete() -> Response:
    """A person deletes a record of this `type` and `id`."""
    given = _given()
    kind, key = ("Txn", "TxnID") if given.get("type") in TRANSACTIONS else ("List", "ListID")
    _done(f"<{kind}DelRq><{kind}DelType>{given['type']}</{kind}DelType><{key}>{given['id']}</{key}></{kind}DelRq>")
    return jsonify({})


@operator.post("/pay")
def pay() -> Response:
    """A payment of an invoice (its `id` or `number`): of all that is open without `amount`, today without `date`."""
    given = _given()
    company = current().company
    with company.lock:
        rows = [
            row
            for row in company.tables["Invoice"].values()
            if given.get("id") == row["TxnID"] or given.get("number") == row["RefNumber"]
        ]
        if not rows:
            raise BadRequest("there is no such invoice")
        invoice = rows[-1]
        amount = Decimal(str(given.get("amount") or invoice["BalanceRemaining"]))
        day = f"<TxnDate>{given['date']}</TxnDate>" if given.get("date") else ""
        applied = f"<TxnID>{invoice['TxnID']}</TxnID><PaymentAmount>{amount:.2f}</PaymentAmount>"
        _done(
            "<ReceivePaymentAddRq><ReceivePaymentAdd>"
            f"<CustomerRef><ListID>{invoice['CustomerRef']['ListID']}</ListID></CustomerRef>{day}"
            f"<TotalAmount>{amount:.2f}</TotalAmount><AppliedToTxnAdd>{applied}</AppliedToTxnAdd>"
            "</ReceivePaymentAdd></ReceivePaymentAddRq>"
        )
    return jsonify({})


@operator.get("/invoices")
def invoices() -> Response:
    """What QuickBooks has: id, number, customer, date, total, open, memo."""
    company = current().company
    with company.lock:
        return jsonify([_told(row) for row in company.tables["Invoice"].values()])


@operator.get("/summary")
def summary() -> Response:
    """Counts, totals, what is open, tags that stand twice."""
    company = current().company
    with company.lock:
        told = [_told(row) for row in company.tables["Invoice"].values()]
        tags = [memo[memo.index("[tieout:") :] for row in told if "[tieout:" in (memo := str(row["memo"]))]
        return jsonify(
            {
                "counts": {name: len(rows) for name, rows in company.tables.items()},
                "total": str(sum((Decimal(row["total"]) for row in told), Decimal(0))),
                "open": str(sum((Decimal(row["open"]) for row in told), Decimal(0))),
                "sets": len(company.sets),
                "duplicates": sorted({tag for tag in tags if tags.count(tag) > 1}),
            }
        )


def _told(row: Row) -> Row:
    total = Decimal(row["Subtotal"]) + Decimal(row["SalesTaxTotal"])
    return {
        "id": row["TxnID"],
        "number": row["RefNumber"],
        "customer": row["CustomerRef"]["FullName"],
        "date": row["TxnDate"],
        "total": str(total),
        "open": row["BalanceRemaining"],
        "memo": row.get("Memo", ""),
        "edit_sequence": row["EditSequence"],
    }


def _done(requests: str) -> None:
    """A person's work.

    Raises:
        BadRequest: If QuickBooks refuses it.
    """
    simulator = current()
    try:
        answer = simulator.company.process(_set_of(requests), Session())
    except ResultError as error:
        raise BadRequest(error.message) from None
    if 'statusSeverity="Error"' in answer:
        raise BadRequest(escape(answer))
    simulator.state.changed()


def _set_of(requests: str) -> str:
    return (
        '<?xml version="1.0"?><?qbxml version="13.0"?>'
        f'<QBXML><QBXMLMsgsRq onError="continueOnError">{requests}</QBXMLMsgsRq></QBXML>'
    )


def _given() -> Row:
    body = request.get_json(silent=True)
    return body if isinstance(body, dict) else {}
