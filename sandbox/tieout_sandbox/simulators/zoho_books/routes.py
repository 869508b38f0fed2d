"""The wire: sign-in, the API under `/books/v3`, the operator's end-points; and the application."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, Flask, Response, abort, current_app, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.simulators.limits import Throttle
from tieout_sandbox.simulators.storage import StateFile
from tieout_sandbox.simulators.zoho_books.books import Books
from tieout_sandbox.simulators.zoho_books.errors import JSON, ZohoError, error_body, invalid, missing
from tieout_sandbox.simulators.zoho_books.lists import Row, page_of
from tieout_sandbox.simulators.zoho_books.oauth import Tokens
from tieout_sandbox.simulators.zoho_books.settings import MODULES, Settings
from tieout_sandbox.simulators.zoho_books.webhooks import Webhooks

_SINGULAR = {
    "contacts": "contact",
    "items": "item",
    "invoices": "invoice",
    "estimates": "estimate",
    "creditnotes": "creditnote",
    "customerpayments": "payment",
    "projects": "project",
    "timeentries": "time_entry",
    "expenses": "expense",
}
_HOURS = "timeentries"
api = Blueprint("api", __name__, url_prefix="/books/v3")
sign_in = Blueprint("sign_in", __name__, url_prefix="/oauth/v2")
operator = Blueprint("operator", __name__, url_prefix="/_sandbox")


class ZohoBooks:
    """All that the routes work on."""

    def __init__(self, settings: Settings, clock: Clock, state_file: Path | None) -> None:
        self.settings = settings
        self.clock = clock
        self.tokens = Tokens(settings, clock)
        self.webhooks = Webhooks(settings)
        self.books = Books(settings, clock, self.webhooks.announce)
        self._per_minute = Throttle(60)
        self._days: dict[str, int] = {}
        self._at_once = 0
        self._lock = threading.Lock()
        self.state = StateFile(state_file, self._snapshot, plain)
        if (saved := self.state.load(parse_float=Decimal)) is not None:
            self.tokens.restore(saved["tokens"])
            self.books.restore(saved["books"])

    def _snapshot(self) -> dict[str, Any]:
        return {"tokens": self.tokens.snapshot(), "books": self.books.snapshot()}

    def close(self) -> None:
        """Stop the background work, and save."""
        self.webhooks.close()
        self.state.close()

    def enter(self) -> None:
        """Let a call in.

        Raises:
            ZohoError: If it is not signed in, names another organisation, or there are too many calls.
        """
        if not self.tokens.knows(request.headers.get("Authorization", "")):
            raise ZohoError(57, "You are not authorized to perform this operation", 401)
        named = request.args.get("organization_id")
        if named != self.settings.organization_id and request.path != "/books/v3/organizations":
            raise ZohoError(6041, "This user is not associated with the CompanyID/CompanyName.", 401)
        now = self.clock.now()
        if not self._per_minute.take("all", self.settings.requests_per_minute, now):
            raise ZohoError(44, "You have exceeded the maximum number of requests per minute.", 429)
        day = now.astimezone(ZoneInfo(self.settings.time_zone)).date().isoformat()
        with self._lock:
            if self._days.get(day, 0) >= self.settings.requests_per_day:
                raise ZohoError(45, "You have exceeded the maximum number of requests per day.", 429)
            if self._at_once >= self.settings.requests_at_once:
                raise ZohoError(1070, "You have exceeded the maximum number of requests at a time.", 429)
            self._days = {day: self._days.get(day, 0) + 1}
            self._at_once += 1

    def leave(self) -> None:
        """A call that was let in is over."""
        with self._lock:
            self._at_once -= 1


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
    simulator = ZohoBooks(Settings.model_validate(settings), time, state_file)
    app = Flask("zoho_books")
    app.extensions["simulator"] = simulator
    install(
        app,
        clock=time,
        faults=faults,
        error_body=error_body,
        settings=simulator.settings,
        on_change=simulator.state.changed,
        on_close=simulator.close,
    )
    for blueprint in (sign_in, operator, api):
        app.register_blueprint(blueprint)
    return app


def current() -> ZohoBooks:
    """The simulator of the application that handles this request."""
    return cast("ZohoBooks", current_app.extensions["simulator"])


def plain(value: Any) -> Any:  # noqa: ANN401 - what json.dumps asks about
    """A Decimal as the JSON number that reads back equal: amounts have far fewer digits than a float keeps."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def _json(content: Row, status: int = 200) -> Response:
    return Response(json.dumps(content, default=plain, ensure_ascii=False), status, content_type=JSON)


def _answer(work: Callable[[Books], Row], status: int = 200) -> Response:
    books = current().books
    with books.lock:
        answer = _json({"code": 0, "message": "success", **work(books)}, status)
    if request.method != "GET":
        current().state.changed()
    return answer


def _sent() -> Row:
    """The body: JSON, or the older form with JSON in the field `JSONString`."""
    text = request.form["JSONString"] if "JSONString" in request.form else request.get_data(as_text=True)
    try:
        body = json.loads(text, parse_float=Decimal)
    except ValueError:
        raise ZohoError(4, "Invalid JSON.") from None
    if not isinstance(body, dict):
        raise invalid("JSONString")
    return body


def _done(work: Callable[..., None], *arguments: str) -> Row:
    """What an answer holds beside its message after such work: nothing."""
    work(*arguments)
    return {}


def _flag(name: str) -> bool:
    return request.args.get(name) == "true"


@api.before_request
def let_in() -> None:
    """Only calls that are signed in, and not too many."""
    current().enter()
    request.environ["zoho.entered"] = True


@api.teardown_request
def let_out(_: BaseException | None) -> None:
    """The call is over."""
    if request.environ.get("zoho.entered"):
        current().leave()


@api.app_errorhandler(ZohoError)
def refused(error: ZohoError) -> Response:
    """A refusal in Zoho's form."""
    return _json({"code": error.code, "message": error.message}, error.status)


@api.app_errorhandler(HTTPException)
def not_here(error: HTTPException) -> Response:
    """An address or a method that is not there, in Zoho's form."""
    body, content_type = error_body(error.code or 500)
    return Response(body, error.code or 500, content_type=content_type)


@api.get("/organizations")
def organizations() -> Response:
    """The organisations of the user."""
    return _answer(lambda _: {"organizations": [_organization()]})


@api.get("/organizations/<key>")
def organization(key: str) -> Response:
    """The organisation."""
    if key != current().settings.organization_id:
        raise missing("Organization")
    return _answer(lambda _: {"organization": _organization()})


def _organization() -> Row:
    settings = current().settings
    home = current().books.currencies()[0]
    return {
        "organization_id": settings.organization_id,
        "name": settings.organization_name,
        "time_zone": settings.time_zone,
        "is_org_active": True,
        "currency_id": home["currency_id"],
        "currency_code": home["currency_code"],
        "price_precision": 2,
    }


@api.get("/settings/<name>")
def named(name: str) -> Response:
    """Currencies or taxes; all on one page."""
    context = {"page": 1, "per_page": 200, "has_more_page": False}
    if name == "currencies":
        return _answer(lambda books: {"currencies": books.currencies(), "page_context": context})
    if name == "taxes":
        return _answer(lambda books: {"taxes": books.taxes(), "page_context": context})
    raise missing("Resource")


def _module(name: str) -> str:
    """The module that stands at this address; hours stand below projects."""
    if name not in MODULES or name == _HOURS:
        raise missing("Resource")
    return name


@api.get("/users")
def users() -> Response:
    """The users; all on one page."""
    context = {"page": 1, "per_page": 200, "has_more_page": False}
    return _answer(lambda books: {"users": books.users(), "page_context": context})


@api.get("/projects/timeentries")
def listed_hours() -> Response:
    """One page of hours."""
    asked = request.args.to_dict()
    return _answer(lambda books: page_of(_HOURS, books.tables[_HOURS].values(), asked, books.settings))


@api.post("/projects/timeentries")
def log_hours() -> Response:
    """New hours."""
    body = _sent()
    return _answer(lambda books: {_SINGULAR[_HOURS]: books.create(_HOURS, body)}, 201)


@api.get("/projects/timeentries/<key>")
def read_hours(key: str) -> Response:
    """One entry."""
    return _answer(lambda books: {_SINGULAR[_HOURS]: books.one(_HOURS, key)})


@api.put("/projects/timeentries/<key>")
def update_hours(key: str) -> Response:
    """A changed entry."""
    body = _sent()
    return _answer(lambda books: {_SINGULAR[_HOURS]: books.update(_HOURS, key, body)})


@api.post("/projects/<key>/tasks")
def add_task(key: str) -> Response:
    """A new task of a project."""
    body = _sent()
    return _answer(lambda books: {"task": books.add_task(key, body)}, 201)


@api.post("/projects/<key>/users")
def add_users(key: str) -> Response:
    """More people on a project."""
    body = _sent()
    return _answer(lambda books: {"users": books.add_users(key, body)}, 201)


@api.get("/<name>")
def listed(name: str) -> Response:
    """One page of a list."""
    module = _module(name)
    asked = request.args.to_dict()
    return _answer(lambda books: page_of(module, books.tables[module].values(), asked, books.settings))


@api.post("/<name>")
def create(name: str) -> Response:
    """A new record."""
    module, own_number = _module(name), _flag("ignore_auto_number_generation")
    body = _sent()
    return _answer(lambda books: {_SINGULAR[module]: books.create(module, body, own_number=own_number)}, 201)


@api.put("/<name>")
def upsert(name: str) -> Response:
    """The record that has the value in the unique custom field."""
    module, body, headers = _module(name), _sent(), request.headers
    field, value = headers.get("X-Unique-Identifier-Key", ""), headers.get("X-Unique-Identifier-Value", "")
    if not field or not value:
        raise invalid("X-Unique-Identifier-Key")
    creates, own_number = headers.get("X-Upsert") == "true", _flag("ignore_auto_number_generation")
    status = 200

    def work(books: Books) -> Row:
        nonlocal status
        row, is_new = books.upsert(module, body, field, value, creates=creates, own_number=own_number)
        status = 201 if is_new else 200
        return {_SINGULAR[module]: row}

    answer = _answer(work)
    answer.status_code = status
    return answer


@api.get("/<name>/<key>")
def read(name: str, key: str) -> Response:
    """One record, whole."""
    module = _module(name)
    return _answer(lambda books: {_SINGULAR[module]: books.one(module, key)})


@api.put("/<name>/<key>")
def update(name: str, key: str) -> Response:
    """A changed record."""
    module, body = _module(name), _sent()
    return _answer(lambda books: {_SINGULAR[module]: books.update(module, key, body)})


@api.delete("/<name>/<key>")
def delete(name: str, key: str) -> Response:
    """One record less."""
    module = _module(name)
    return _answer(lambda books: _done(books.delete, module, key))


@api.get("/invoices/<key>/payments")
def payments(key: str) -> Response:
    """The payments of an invoice."""
    return _answer(lambda books: {"payments": books.payments_of(key)})


@api.post("/<name>/<key>/<path:action>")
def act(name: str, key: str, action: str) -> Response:
    """A record in another state."""
    module = _module(name)
    return _answer(lambda books: _done(books.act, module, key, action))


@sign_in.get("/auth")
def consent() -> BaseResponse:
    """The redirect that follows the consent page; `deny` in the address refuses."""
    asked, settings = request.args, current().settings
    redirect_uri = asked.get("redirect_uri", "")
    wrong = asked.get("client_id") != settings.client_id or asked.get("response_type") != "code"
    if wrong or not redirect_uri or not asked.get("scope") or not settings.auto_approve:
        abort(400)
    answer = {"state": asked.get("state", "")}
    if "deny" in asked:
        return redirect(f"{redirect_uri}?{urlencode({**answer, 'error': 'access_denied'})}")
    here = request.host_url.rstrip("/")
    answer |= {"code": current().tokens.new_code(redirect_uri), "location": settings.data_center}
    return redirect(f"{redirect_uri}?{urlencode({**answer, 'accounts-server': here})}")


@sign_in.post("/token")
def token() -> Response:
    """Tokens for a code or a refresh token."""
    answer = current().tokens.answer(request.form, request.host_url.rstrip("/"))
    current().state.changed()
    return _json(*answer)


@sign_in.post("/token/revoke")
def revoke_token() -> Response:
    """The end of a connection."""
    current().tokens.revoke(request.values.get("token", ""))
    return _json({"status": "success"})


@operator.post("/grant")
def grant() -> Response:
    """Tokens without the consent page."""
    answer = current().tokens.grant(request.host_url.rstrip("/"))
    current().state.changed()
    return _json(answer)


@operator.post("/revoke")
def revoke() -> Response:
    """The user takes the app's access away."""
    current().tokens.revoke()
    current().state.changed()
    return _json({"revoked": True})


@operator.post("/pay")
def pay() -> Response:
    """A real payment of an invoice, by its id or number; of all that is open unless `amount` is given."""
    wanted, books = _sent(), current().books
    with books.lock:
        rows = books.tables["invoices"].values()
        sought = {str(wanted.get("invoice", "")), str(wanted.get("invoice_number", ""))} - {""}
        found = next((row for row in rows if {row["invoice_id"], row["invoice_number"]} & sought), None)
        if found is None:
            raise missing("Invoice")
        amount = Decimal(str(wanted.get("amount", found["balance"])))
        applied = [{"invoice_id": found["invoice_id"], "amount_applied": amount}]
        on = wanted.get("date") or _today(current()).date().isoformat()
        body = {"customer_id": found["customer_id"], "payment_mode": "cash", "amount": amount, "date": on}
        made = books.create("customerpayments", {**body, "invoices": applied})
    current().state.changed()
    return _json({"payment": made})


@operator.post("/delete")
def remove() -> Response:
    """Somebody deletes a record: `module` and `id`."""
    wanted, books = _sent(), current().books
    with books.lock:
        books.delete(_module(str(wanted.get("module"))), str(wanted.get("id")))
    current().state.changed()
    return _json({"deleted": True})


@operator.get("/summary")
def summary() -> Response:
    """Counts, totals, what is open, duplicate references."""
    books = current().books
    with books.lock:
        tables = {module: list(rows.values()) for module, rows in books.tables.items()}
        field = books.settings.unique_field
        standing = [row for row in tables["invoices"] if row["status"] != "void"]
        references = [value for row in tables["invoices"] if (value := row["custom_field_hash"].get(field))]
        counts = {module: len(rows) for module, rows in tables.items()}
        total = sum((row["total"] for row in standing), Decimal(0))
        balance = sum((row["balance"] for row in standing), Decimal(0))
    return _json(
        counts
        | {
            "invoice_total": str(total),
            "open_balance": str(balance),
            "drafts": sum(row["status"] == "draft" for row in standing),
            "duplicate_references": len(references) - len(set(references)),
        }
    )


@operator.get("/webhooks")
def webhooks() -> Response:
    """Events, delivered, failed, waiting."""
    return _json(current().webhooks.report())


def _today(simulator: ZohoBooks) -> datetime:
    return simulator.clock.now().astimezone(ZoneInfo(simulator.settings.time_zone))
