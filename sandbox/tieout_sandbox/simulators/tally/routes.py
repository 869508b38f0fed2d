"""The wire: one port, one request at a time, always 200; the operator's end-points; and the application."""

from __future__ import annotations

import io
import threading
import time
import uuid
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from flask import Blueprint, Flask, Response, current_app, jsonify, request

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import SANDBOX_PREFIX, DroppedConnectionError, FaultPlan
from tieout_sandbox.simulators.storage import StateFile
from tieout_sandbox.simulators.tally.books import (
    MASTERS,
    Books,
    Counts,
    HeldBackError,
    LineError,
    Stored,
    WindowOpensError,
    fold,
    number,
)
from tieout_sandbox.simulators.tally.exports import BrokenRequestError, Exports, named
from tieout_sandbox.simulators.tally.settings import COMPANY, Settings

_NAMESPACE = uuid.UUID("7a11e000-0000-4000-8000-000000000000")
_MARK = "\ue004"
"""Stands for the reference to character 4, which no parser reads."""
_UNKNOWN = b"<RESPONSE>Unknown Request, cannot be processed</RESPONSE>"
port = Blueprint("port", __name__)
operator = Blueprint("operator", __name__, url_prefix="/_sandbox")


class Tally:
    """The program, with its companies."""

    def __init__(self, settings: Settings, clock: Clock, state_file: Path | None) -> None:
        self.settings = settings
        self.clock = clock
        self.companies: dict[str, Books] = {}
        self.screen = threading.Lock()
        self._count = threading.Lock()
        self.at_once = self.most_at_once = 0
        self.exports = Exports(settings, self.open_companies, lambda: clock.now().date())
        self.books = self.company(COMPANY)
        self.state = StateFile(state_file, lambda: [each.snapshot() for each in self.companies.values()])
        for saved in self.state.load() or []:
            self.company(saved["name"]).restore(saved)

    def company(self, name: str) -> Books:
        """The company of this name; made if there is none. Its GUID is always the same."""
        if name not in self.companies:
            self.companies[name] = Books(name, str(uuid.uuid5(_NAMESPACE, name)), self.settings)
        return self.companies[name]

    def rename(self, former: str, name: str) -> None:
        """The company under another name, with the same GUID."""
        books = self.companies.pop(former)
        books.name = name
        self.companies[name] = books

    def open_companies(self) -> list[Books]:
        """Those that are open, the one on the screen first."""
        return [self.company(name) for name in self.settings.open_companies]

    def enter(self) -> None:
        """Wait until nobody else is served, and no window is open.

        Raises:
            DroppedConnectionError: If the window stays open.
        """
        with self._count:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.screen.acquire()
        try:
            self.wait_for_window()
        except DroppedConnectionError:
            self.leave()
            raise

    def leave(self) -> None:
        """The next one may be served."""
        self.screen.release()
        with self._count:
            self.at_once -= 1

    def wait_for_window(self) -> None:
        """Return when no window is open.

        Raises:
            DroppedConnectionError: If it stays open.
        """
        until = time.monotonic() + self.settings.window_seconds
        while self.settings.window:
            if time.monotonic() > until:
                raise DroppedConnectionError("the window stays open")
            time.sleep(0.01)


class Gate:
    """Calls a request what it asks for, so that faults can tell: `/read/Collection`, `/write/Vouchers`."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the call on under its name."""
        if environ["REQUEST_METHOD"] == "POST" and not environ["PATH_INFO"].startswith(SANDBOX_PREFIX):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            plain = body.replace(b"\0", b"")
            if b"<TALLYREQUEST>Import" in plain:
                what = "Vouchers" if b">Vouchers</REPORTNAME>" in plain or b"<ID>Vouchers</ID>" in plain else "Masters"
                environ["PATH_INFO"] = f"/write/{what}"
            else:
                what = "Collection" if b"<TYPE>Collection</TYPE>" in plain else "Report"
                environ["PATH_INFO"] = f"/read/{what}"
        return self._app(environ, start_response)


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
    simulator = Tally(Settings.model_validate(settings), clock or WallClock(), state_file)
    app = Flask("tally")
    app.extensions["simulator"] = simulator
    install(
        app,
        clock=simulator.clock,
        faults=faults,
        error_body=lambda _: (b"<html>not Tally</html>", "text/html"),
        settings=simulator.settings,
        on_change=simulator.state.changed,
        on_close=simulator.state.close,
    )
    app.register_blueprint(port)
    app.register_blueprint(operator)
    app.wsgi_app = Gate(app.wsgi_app)  # type: ignore[method-assign] # Flask's documented way to add middleware
    return app


def _tally() -> Tally:
    return cast("Tally", current_app.extensions["simulator"])


@port.get("/")
def greeting() -> Response:
    """Whether it runs."""
    name = "Tally.ERP 9" if _tally().settings.erp9 else "TallyPrime"
    return Response(f"<RESPONSE>{name} Server is Running</RESPONSE>", content_type="text/xml")


@port.post("/read/<what>")
@port.post("/write/<what>")
def serve(what: str) -> Response:  # noqa: ARG001 - the gate's name of it
    """One request, when its turn has come."""
    tally = _tally()
    utf16 = "utf-16" in request.headers.get("Content-Type", "").lower()
    try:
        text = request.get_data().decode("utf-16-le" if utf16 else "utf-8").replace("&#4;", _MARK)
        root: Element = fromstring(text)
    except (UnicodeDecodeError, ParseError, DefusedXmlException):
        return Response(_UNKNOWN, content_type="text/xml")
    tally.enter()
    try:
        answer = _work(tally, root)
    finally:
        tally.leave()
    said = answer.replace(_MARK, "&#4;")
    encoding, charset = ("utf-16-le", "utf-16") if utf16 else ("utf-8", "utf-8")
    return Response(said.encode(encoding), content_type=f"text/xml;charset={charset}")


def _work(tally: Tally, root: Element) -> str:
    asked = (root.findtext("HEADER/TALLYREQUEST") or "").strip()
    name = next((each.text or "" for each in root.iter("SVCURRENTCOMPANY")), "")
    companies = tally.open_companies()
    books = named(companies, name) if name else (companies[0] if companies else None)
    if name and books is None:
        return _refusal(f"Could not set 'SVCurrentCompany' to '{name}'")
    try:
        imports = asked.startswith("Import")
        answer = _import(tally, root, books) if imports else tally.exports.answer(root, books)
    except BrokenRequestError:
        return _UNKNOWN.decode()
    return tostring(answer, encoding="unicode")


def _refusal(sentence: str) -> str:
    root = Element("RESPONSE")
    SubElement(root, "LINEERROR").text = sentence
    return tostring(root, encoding="unicode")


def _import(tally: Tally, root: Element, books: Books | None) -> Element:
    counts = Counts()
    if books is None:
        counts.said.append("No company is open!")
    for message in root.iter("TALLYMESSAGE"):
        for record in message:
            # Tally's own pages write `Action` here and `ACTION` there.
            record.attrib.update({name.upper(): value for name, value in record.attrib.items()})
            if books is not None:
                _import_one(tally, books, record, counts)
    tally.state.changed()
    envelope = Element("ENVELOPE")
    result = SubElement(SubElement(SubElement(envelope, "BODY"), "DATA"), "IMPORTRESULT")
    for sentence in counts.said:
        SubElement(result, "LINEERROR").text = sentence
    values = {
        "CREATED": counts.created, "ALTERED": counts.altered, "DELETED": counts.deleted,
        "LASTVCHID": counts.last_voucher, "LASTMID": counts.last_master, "COMBINED": 0, "IGNORED": 0,
        "ERRORS": counts.errors, "CANCELLED": 0, "EXCEPTIONS": counts.exceptions,
    }  # fmt: skip
    for tag, value in values.items():
        SubElement(result, tag).text = str(value)
    return envelope


def _import_one(tally: Tally, books: Books, record: Element, counts: Counts) -> None:
    try:
        if record.tag == "VOUCHER":
            books.import_voucher(record, counts)
        elif record.tag in MASTERS:
            books.import_master(record, counts)
    except LineError as error:
        counts.errors += 1
        counts.said.append(str(error))
    except HeldBackError:
        counts.exceptions += 1
    except WindowOpensError:
        tally.settings.window = True
        tally.wait_for_window()


# ---- the operator's ----


@operator.get("/summary")
def summary() -> Response:
    """Counts, totals, what is open, references that stand twice."""
    books = _tally().books
    invoices = [each for each in books.vouchers.values() if _is_invoice(books, each)]
    marks = [
        each.text("NARRATION").rpartition("[")[2] for each in books.vouchers.values() if "[T-" in each.text("NARRATION")
    ]
    return jsonify(
        {
            "company": books.guid,
            "ledgers": len({each.guid for each in books.masters["LEDGER"].values()}),
            "vouchers": len(books.vouchers),
            "invoices": len(invoices),
            "total": str(sum((_total(each) for each in invoices), Decimal(0))),
            "open": str(-sum((each for each in books.open_bills().values() if each < 0), Decimal(0))),
            "marked_twice": sorted({each for each in marks if marks.count(each) > 1}),
            "most_at_once": _tally().most_at_once,
        }
    )


@operator.get("/invoices")
def invoices() -> Response:
    """Sales vouchers that stand: id, what the writer calls them, customer, total, paid."""
    books = _tally().books
    left = {(fold(ledger), fold(bill)): amount for (ledger, bill), amount in books.open_bills().items()}
    rows = []
    for voucher in books.vouchers.values():
        if _is_invoice(books, voucher):
            party, total = voucher.text("PARTYLEDGERNAME"), _total(voucher)
            bill = voucher.text("LEDGERENTRIES.LIST/BILLALLOCATIONS.LIST/NAME")
            paid = total + left.get((fold(party), fold(bill)), Decimal(0))
            rows.append(
                {
                    "id": voucher.guid,
                    "number": voucher.text("REFERENCE"),
                    "customer": party,
                    "total": str(total),
                    "paid": str(paid),
                }
            )
    return jsonify(rows)


@operator.post("/pay")
def pay() -> Response:
    """The bookkeeper enters a receipt: `number` is the invoice's reference; all that is open without `amount`."""
    tally, asked = _tally(), request.get_json()
    with tally.screen:
        books = tally.books
        found = next(
            each
            for each in books.vouchers.values()
            if _is_invoice(books, each) and each.text("REFERENCE") == asked["number"]
        )
        party = found.text("PARTYLEDGERNAME")
        bill = found.text("LEDGERENTRIES.LIST/BILLALLOCATIONS.LIST/NAME")
        left = -books.open_bills().get((party, bill), Decimal(0))
        amount = Decimal(asked.get("amount") or left)
        day = date.fromisoformat(asked["date"]) if asked.get("date") else tally.clock.now().date()
        made = receipt(party, bill, amount, day)
        counts = Counts()
        books.import_voucher(made, counts)
    tally.state.changed()
    return jsonify({"voucher": counts.last_voucher})


@operator.post("/ledgers")
def ledgers() -> Response:
    """The bookkeeper makes ledgers: `{"group": ..., "names": [...]}`."""
    tally, asked = _tally(), request.get_json()
    with tally.screen:
        for name in asked["names"]:
            element = Element("LEDGER", NAME=name, ACTION="Create")
            SubElement(SubElement(element, "NAME.LIST"), "NAME").text = name
            SubElement(element, "PARENT").text = asked["group"]
            tally.books.import_master(element, Counts())
    tally.state.changed()
    return jsonify({"ledgers": len(asked["names"])})


def receipt(party: str, bill: str, amount: Decimal, day: date) -> Element:
    """A receipt as a person enters it."""
    voucher = Element("VOUCHER", VCHTYPE="Receipt", ACTION="Create")
    for tag, text in (("DATE", f"{day:%Y%m%d}"), ("VOUCHERTYPENAME", "Receipt"), ("PARTYLEDGERNAME", party)):
        SubElement(voucher, tag).text = text
    for ledger, each in ((party, amount), ("HDFC Bank", -amount)):
        entry = SubElement(voucher, "ALLLEDGERENTRIES.LIST")
        for tag, text in (
            ("LEDGERNAME", ledger),
            ("ISDEEMEDPOSITIVE", "Yes" if each < 0 else "No"),
            ("AMOUNT", f"{each:.2f}"),
        ):
            SubElement(entry, tag).text = text
        if ledger == party:
            allocated = SubElement(entry, "BILLALLOCATIONS.LIST")
            for tag, text in (("NAME", bill), ("BILLTYPE", "Agst Ref"), ("AMOUNT", f"{each:.2f}")):
                SubElement(allocated, tag).text = text
    return voucher


def _is_invoice(books: Books, voucher: Stored) -> bool:
    return books.is_booked(voucher) and books.base_type(voucher.text("VOUCHERTYPENAME")) == "Sales"


def _total(voucher: Stored) -> Decimal:
    return -number(voucher.text("LEDGERENTRIES.LIST/AMOUNT"))
