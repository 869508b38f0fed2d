"""Worlds for the real connectors: simulators in this process, what people do in them, and what stands there."""

from __future__ import annotations

import io
import json
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from flask import Flask

from tests.engine.simulation.providers import moved
from tests.engine.simulation.roads import RETRY_AFTER_SECONDS, Reply, counted
from tests.engine.simulation.runtime import Runtime
from tieout.connectors.act import translate as act_translate
from tieout.connectors.act.auth import webhook_token
from tieout.connectors.quickbooks_online import translate as books_translate
from tieout.connectors.quickbooks_online.company import Company as KnownCompany
from tieout.domain.records import Kind, Record
from tieout.engine.plan import plain
from tieout.ports.connector import Limit, Webhook
from tieout_sandbox.simulators.act.errors import error_body
from tieout_sandbox.simulators.act.routes import BASE, Api, Call
from tieout_sandbox.simulators.act.state import ActSettings, ActState
from tieout_sandbox.simulators.quickbooks_online.books import Record as Row
from tieout_sandbox.simulators.quickbooks_online.errors import FaultError, gateway_body
from tieout_sandbox.simulators.quickbooks_online.routes import _fault_body, create_app
from tieout_sandbox.simulators.quickbooks_online.settings import Settings, WebhookForm
from tieout_sandbox.simulators.quickbooks_online.simulator import EXTENSION, QuickBooksOnline
from tieout_sandbox.simulators.quickbooks_online.times import dumps
from tieout_sandbox.simulators.quickbooks_online.webhooks import Event, body_of, signature

REALM = "9130350000000001"  # both tenants' companies have it
DATABASE = "H1234567890"
STALE_SECONDS = 20
_NAMESPACE = uuid.UUID("d7a0b7c8-5f6e-4a55-8f8c-0d6a4f8f3a10")
_COLLECTIONS = {
    Kind.COMPANY: "companies",
    Kind.CONTACT: "contacts",
    Kind.DEAL: "opportunities",
    Kind.PRODUCT: "products",
}
_TAG = re.compile(r"\[tieout:([a-z0-9]{12})\]")
_NOTES = {"Customer": "Notes", "Invoice": "PrivateNote"}
_WRITTEN = {  # what we write of a kind, and a person may edit too
    Kind.CUSTOMER: ("name", "company_name", "given_name", "family_name", "email", "phone", "billing_address"),
    Kind.ITEM: ("name", "sku", "description", "price"),
    Kind.INVOICE: ("customer", "number", "date", "due_date", "lines"),
}


def guid(name: str) -> str:
    """The CRM's id for a name of the plan: equal for both tenants."""
    return str(uuid.uuid5(_NAMESPACE, name))


class TrueClock:
    """The provider's own clock. Implements `tieout.ports.clock.Clock` for simulators, which never sleep."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def now(self) -> datetime:
        return self._runtime.true_now()

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def jitter(self) -> float:
        return 0.0


class RealCrm:
    """One tenant's Act! server. Implements `roads.Site`, and what `SimulatedProvider` gives people and oracles."""

    def __init__(
        self, runtime: Runtime, tenant: str, *, calls_per_minute: int, changed: Callable[[Kind, str], None]
    ) -> None:
        self._runtime, self.tenant, self._changed = runtime, tenant, changed
        settings = ActSettings(calls_per_minute=1_000_000, password=f"secret of {tenant}", limit_headers=False)
        self.state = ActState(settings, TrueClock(runtime), new_id=self._new_id, shows=self._shows)
        self._api = Api(self.state, lambda: None)
        self.limits = (Limit("calls", counted(calls_per_minute), 60),)
        self._calls_per_minute = calls_per_minute
        self.address = f"https://act-{tenant}.example"
        self.touched: dict[tuple[Kind, str], float] = {}
        self.deleted: dict[tuple[Kind, str], float] = {}
        self.created: dict[tuple[Kind, str], list[str]] = defaultdict(list)
        self.overwritten: list[str] = []
        self.closed_writes: list[str] = []
        self._next_id = 0
        self._given_id = ""
        self._view: dict[tuple[Kind, str], Record] | None = None

    def _new_id(self) -> str:
        self._next_id += 1
        given, self._given_id = self._given_id, ""
        return given or guid(f"{self.tenant} {self._next_id}")

    def _shows(self, row: Mapping[str, Any]) -> bool:
        """The list is stale: an edit shows in it a little later, each after a time of its own."""
        age = (self._runtime.true_now() - datetime.fromisoformat(row["edited"])).total_seconds()
        return age >= sum(map(ord, row["edited"][-12:] + row["id"])) % STALE_SECONDS

    # The road's side

    def point_of(self, request: requests.PreparedRequest) -> str:
        path = urlsplit(request.url or "").path
        if path.endswith("/authorize"):
            return "sign in"
        writes = request.method != "GET" and not (path.endswith("$batch") and b"PUT /" not in _body(request))
        return "write" if writes else "read"

    def spends(self, request: requests.PreparedRequest) -> tuple[str, ...]:
        del request
        return ("calls",)

    def serve(self, request: requests.PreparedRequest, *, forgets_key: bool) -> Reply:
        del forgets_key  # it knows none
        url = urlsplit(request.url or "")
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = unquote(url.path).removeprefix(BASE)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        before = self._api.writes
        reply = self._api.handle(Call(request.method or "", path, query, headers, _body(request)))
        if self._api.writes != before:
            self._view = None
        return Reply(reply.status, {**reply.headers, "Content-Type": reply.content_type}, reply.body)

    def refusal(self, status: int) -> Reply:
        body, content_type = error_body(status)
        headers = {"Content-Type": content_type}
        if status == 429:
            headers |= {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(RETRY_AFTER_SECONDS)}
        return Reply(status, headers, body)

    # Sign-in

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "base_url": f"{self.address}{BASE}",
            "database": DATABASE,
            "requests_per_minute": self._calls_per_minute,
        }

    def secrets(self) -> dict[str, str]:
        """What a person types in when the connection is made, or made again."""
        held = self.state.settings
        return {"username": held.username, "password": held.password, "webhook_token": f"webhooks of {self.tenant}"}

    def revoke(self) -> None:
        """Somebody changes the password."""
        self.state.settings.password += " changed"

    def webhook(self, kind: Kind, record_id: str) -> Webhook:
        """The delivery that tells of a change."""
        now = self._runtime.true_now().isoformat()
        body = json.dumps([{"id": record_id, "created": now, "edited": now}]).encode()
        return Webhook({"authorization": webhook_token(self.secrets()["webhook_token"], kind)}, body)

    # What people do

    def put(self, kind: Kind, record_id: str, **fields: Any) -> None:
        """Create or change a record, given in our words."""
        collection, wire = _COLLECTIONS[kind], _wire(kind, fields)
        if record_id in self.state.tables[collection]:
            self.state.patch(collection, record_id, wire)
        else:
            self._given_id = record_id
            self.state.create(collection, wire)
        if kind is Kind.COMPANY and "contact" in fields:
            self._put_contact(record_id, fields["contact"])
        if "lines" in fields:
            self._put_lines(record_id, fields["lines"])
        self._note(kind, record_id)

    def _put_contact(self, company: str, contact: Mapping[str, Any] | None) -> None:
        for row in self.state.tables["contacts"].values():
            if row["companyID"] == company:
                self.state.patch("contacts", row["id"], {"companyID": None})
        if contact is None:
            return
        names = {"firstName": contact["given_name"], "lastName": contact["family_name"], "fullName": contact["name"]}
        key = guid(f"contact {contact['name']}")
        wire = {**names, "emailAddress": contact["email"], "companyID": company}
        if key in self.state.tables["contacts"]:
            self.state.patch("contacts", key, wire)
        else:
            self._given_id = key
            self.state.create("contacts", wire)

    def _put_lines(self, deal: str, lines: Sequence[Mapping[str, Any]]) -> None:
        self.state.lines[deal] = []
        for line in lines:
            self.state.add_line(
                deal,
                {
                    "name": line["name"],
                    "quantity": float(line["quantity"]),
                    "price": float(line["unit_price"]),
                    "discount": float(line["discount_percent"] or 0),
                },
            )

    def delete(self, kind: Kind, record_id: str) -> None:
        """Remove a record; the server tells nobody."""
        if record_id in self.state.tables[_COLLECTIONS[kind]]:
            self.state.delete(_COLLECTIONS[kind], record_id)
            self._view = None
            self.touched[kind, record_id] = self.deleted[kind, record_id] = self._runtime.seconds

    def _note(self, kind: Kind, record_id: str) -> None:
        self._view = None
        self.touched[kind, record_id] = self._runtime.seconds
        self._changed(kind, record_id)

    # What stands there

    @property
    def records(self) -> Mapping[tuple[Kind, str], Record]:
        """Every record in our words, by kind and id."""
        if self._view is None:
            self._view = {(kind, row["id"]): self._record(kind, row) for kind, row in self._rows()}
        return self._view

    def all(self, kind: Kind) -> list[Record]:
        return [record for (of, _), record in self.records.items() if of == kind]

    def _rows(self) -> list[tuple[Kind, dict[str, Any]]]:
        return [(kind, row) for kind, name in _COLLECTIONS.items() for row in self.state.tables[name].values()]

    def _record(self, kind: Kind, row: dict[str, Any]) -> Record:
        if kind is Kind.DEAL:
            return act_translate.record_of(kind, _sent(row), lines=_sent(self.state.lines.get(row["id"], [])))
        if kind is Kind.COMPANY:
            return act_translate.record_of(kind, _sent(row), main_contact=(self._contact(row["id"]),))
        return act_translate.record_of(kind, _sent(row))

    def _contact(self, company: str) -> dict[str, Any] | None:
        own = [row for row in self.state.tables["contacts"].values() if row["companyID"] == company]
        reachable = [row for row in own if row["emailAddress"]] or own
        first = min(reachable, key=lambda row: (row["created"], row["id"]), default=None)
        return _sent(first) if first is not None else None


def _wire(kind: Kind, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Our words in Act!'s, for the few fields that people edit here."""
    same = {"name", "phone", "website", "address", "price", "cost"}
    wire = {name: value for name, value in fields.items() if name in same}
    if kind is Kind.PRODUCT and wire.get("price") is not None:
        wire["price"] = float(wire["price"])
    if "status" in fields:
        wire["status"] = str(fields["status"]).capitalize()
    if "closed_on" in fields:
        wire["actualCloseDate"] = f"{fields['closed_on'].isoformat()}T00:00:00+00:00"
    if "source_id" in fields:
        wire["sourceId"] = fields["source_id"]
    if "companies" in fields:
        wire["companies"] = fields["companies"]
    if "companyID" in fields:
        wire["companyID"] = fields["companyID"]
    return wire


class RealBooks:
    """One tenant's QuickBooks company. Implements what `RealCrm` does."""

    def __init__(
        self,
        runtime: Runtime,
        tenant: str,
        *,
        calls_per_minute: int,
        token_seconds: int,
        token_rotates_seconds: int,
        lag_seconds: float,
        honours_key: bool,
        changed: Callable[[Kind, str], None],
    ) -> None:
        self._runtime, self.tenant, self._changed, self._lag_seconds = runtime, tenant, changed, lag_seconds
        self.address = f"https://quickbooks-{tenant}.example"
        self._taken = {
            "requests_per_minute": max(12, calls_per_minute // 2),
            "batches_per_minute": max(8, calls_per_minute // 12),
        }
        minutes = (Limit(name, counted(calls), 60) for name, calls in self._taken.items())
        self.limits = (*minutes, Limit("requests_per_second", 10, 1))
        self._held = Settings(
            requests_per_minute=1_000_000,
            requests_per_second=1_000_000,
            batches_per_minute=1_000_000,
            realms=(REALM,),
            access_token_seconds=token_seconds,
            refresh_token_rotates_after_seconds=token_rotates_seconds,
            request_id_life_seconds=14_400 if honours_key else 0,
            webhook_verifier_token=f"verifier of {tenant}",
        )
        self.simulator = QuickBooksOnline(self._held, TrueClock(runtime), None)
        self.simulator.webhooks.announce = self._announced  # type: ignore[method-assign] # nothing is posted
        self.company = self.simulator.companies[REALM]
        self.company.shows = self._shows
        self.touched: dict[tuple[Kind, str], float] = {}
        self.deleted: dict[tuple[Kind, str], float] = {}
        self.created: dict[tuple[Kind, str], list[str]] = defaultdict(list)
        self.ours: dict[tuple[Kind, str], Mapping[str, Any]] = {}
        self.overwritten: list[str] = []
        self.closed_writes: list[str] = []
        self._view: dict[tuple[Kind, str], Record] | None = None

    def _announced(self, event: Event) -> None:
        self._view = None
        kind = books_translate.KINDS.get(event.entity.lower())
        if kind is None:
            return
        self.touched[kind, event.id] = self._runtime.seconds
        if event.operation == "Delete":
            self.deleted[kind, event.id] = self._runtime.seconds
        self._changed(kind, event.id)

    def _shows(self, entity: str, row: Row) -> bool:
        """The search lags behind what was created."""
        if entity not in _NOTES and entity != "Item":
            return True
        created = datetime.fromisoformat(row["MetaData"]["CreateTime"])
        return self._runtime.true_now() - created >= timedelta(seconds=self._lag_seconds)

    # The road's side

    def point_of(self, request: requests.PreparedRequest) -> str:
        path = urlsplit(request.url or "").path
        return "sign in" if "/oauth2/" in path else "write" if path.endswith("/batch") else "read"

    def spends(self, request: requests.PreparedRequest) -> tuple[str, ...]:
        kind = self.point_of(request)
        if kind == "sign in":
            return ()
        each = ("requests_per_minute", "requests_per_second")
        return (*each, "batches_per_minute") if kind == "write" else each

    def serve(self, request: requests.PreparedRequest, *, forgets_key: bool) -> Reply:
        if forgets_key:
            self.simulator._answers.clear()
        before = {entity: dict(self.company.books.tables[entity].records) for entity in ("Customer", "Item", "Invoice")}
        reply = self._answered(request)
        for entity, rows in before.items():
            for record_id, row in self.company.books.tables[entity].records.items():
                if rows.get(record_id) is not row:
                    self._wrote(entity, rows.get(record_id), row)
        return reply

    def _answered(self, request: requests.PreparedRequest) -> Reply:
        app = _application()
        app.extensions[EXTENSION] = self.simulator
        url, body = urlsplit(request.url or ""), _body(request)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(url.path),
            "QUERY_STRING": url.query,
            "SERVER_NAME": url.netloc,
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_HOST": url.netloc,
            "HTTP_AUTHORIZATION": request.headers.get("Authorization", ""),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        head: list[tuple[str, dict[str, str]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
            head.append((status, dict(headers)))
            return lambda _: None

        content = b"".join(app.wsgi_app(environ, start_response))
        status, headers = head[-1]
        return Reply(int(status.partition(" ")[0]), headers, content)

    def refusal(self, status: int) -> Reply:
        if status == 400:
            fault = FaultError("6000", "A business validation error has occurred", "The books refuse this.")
            body, content_type = dumps({"Fault": fault.body(), "time": ""}).encode(), "application/json"
        elif status == 429:
            body, content_type = dumps(gateway_body(429, self._runtime.true_now())).encode(), "application/json"
        else:
            body, content_type = _fault_body(status, TrueClock(self._runtime))
        return Reply(status, {"Content-Type": content_type, "Retry-After": str(RETRY_AFTER_SECONDS)}, body)

    def _wrote(self, entity: str, former: Row | None, row: Row) -> None:
        """Note what the engine wrote, and what of somebody else's it replaced."""
        kind = books_translate.KINDS[entity.lower()]
        new = plain(self._record(kind, row).fields)
        if former is None:
            tags = _TAG.findall(row.get(_NOTES.get(entity, ""), ""))
            if tags:
                self.created[kind, tags[-1]].append(row["Id"])
        elif (ours := self.ours.get((kind, row["Id"]))) is not None:
            there = plain(self._record(kind, former).fields)
            for name in _WRITTEN[kind]:
                if there.get(name) not in (ours.get(name), new.get(name)):
                    self.overwritten.append(
                        f"{self.tenant} {kind} {row['Id']} {name}: {there.get(name)} -> {new.get(name)}"
                    )
        if self._is_balance(former, row):
            return  # a customer's balance follows its invoices
        self.ours[kind, row["Id"]] = new
        closed = self._held.closed_until
        days = [date.fromisoformat(one["TxnDate"]) for one in (former, row) if one is not None and "TxnDate" in one]
        if closed is not None and any(day <= closed for day in days):
            self.closed_writes.append(f"{self.tenant} {kind} {row['Id']} of {days} while closed until {closed}")

    @staticmethod
    def _is_balance(former: Row | None, row: Row) -> bool:
        return former is not None and former["SyncToken"] == row["SyncToken"]

    # Sign-in

    @property
    def settings(self) -> dict[str, Any]:
        return {"base_url": self.address, "token_url": f"{self.address}/oauth2/v1/tokens/bearer", **self._taken}

    def secrets(self) -> dict[str, str]:
        """What consent gives when the connection is made, or made again."""
        tokens = self.simulator.tokens.grant(REALM)
        expires = self._runtime.true_now() + timedelta(seconds=tokens["expires_in"])
        return {
            "client_id": self._held.client_id,
            "client_secret": self._held.client_secret,
            "webhook_verifier": self._held.webhook_verifier_token,
            "access_token": tokens["access_token"],
            "refresh_token": tokens["refresh_token"],
            "access_token_expires_at": expires.isoformat(),
        }

    def revoke(self) -> None:
        """The company's administrator disconnects the app."""
        self.simulator.tokens.revoke_realm(REALM)

    def webhook(self, kind: Kind, record_id: str) -> Webhook:
        """The delivery that tells of a change."""
        event = Event(REALM, books_translate.ENTITIES[kind], record_id, "Update", self._runtime.true_now())
        body = body_of([event], WebhookForm.CLASSIC)
        return Webhook({"intuit-signature": signature(body, self._held.webhook_verifier_token)}, body)

    # What people do

    def put(self, kind: Kind, record_id: str, **fields: Any) -> None:
        """An item that stood there before us."""
        del record_id
        named = {"Name": fields["name"], "Type": "Service", "IncomeAccountRef": {"value": "1"}}
        self.company.create(books_translate.ENTITIES[kind], {**named, "Description": fields["description"]})

    def delete(self, kind: Kind, record_id: str) -> None:
        self._do(lambda: self.company.delete(books_translate.ENTITIES[kind], self._named(kind, record_id)))

    def pay(self, invoice_id: str, amount: Decimal, day: date) -> None:
        invoice = self._row("Invoice", invoice_id)
        linked = {"TxnId": invoice_id, "TxnType": "Invoice"}
        payment = {
            "CustomerRef": invoice["CustomerRef"],
            "TotalAmt": amount,
            "TxnDate": day.isoformat(),
            "Line": [{"Amount": amount, "LinkedTxn": [linked]}],
        }
        self._do(lambda: self.company.create("Payment", payment))

    def take_back(self, invoice_id: str, share: Decimal, day: date) -> None:
        del day
        for payment in self._payments_of(invoice_id):
            if share == 1:
                self._do(lambda one=payment: self.company.delete("Payment", one))
            else:
                left = (payment["TotalAmt"] * (1 - share)).quantize(Decimal("0.01"))
                lines = [{**line, "Amount": left} for line in payment["Line"]]
                less = {**_identity(payment), "sparse": True, "TotalAmt": left, "Line": lines}
                self._do(lambda one=less: self.company.update("Payment", one))

    def void(self, invoice_id: str) -> None:
        self._do(lambda: self.company.void("Invoice", self._named(Kind.INVOICE, invoice_id)))

    def set_amounts(self, invoice_id: str, amount: Decimal) -> None:
        lines = [
            {
                "Amount": amount,
                "DetailType": "SalesItemLineDetail",
                "SalesItemLineDetail": {"ItemRef": line["SalesItemLineDetail"]["ItemRef"]},
                "Description": line.get("Description", ""),
            }
            for line in self._row("Invoice", invoice_id)["Line"]
            if line["DetailType"] == "SalesItemLineDetail"
        ]
        self._edit(Kind.INVOICE, invoice_id, Line=lines)

    def set_number(self, invoice_id: str, number: str) -> None:
        self._edit(Kind.INVOICE, invoice_id, DocNumber=number)

    def set_phone(self, customer_id: str, phone: str) -> None:
        if customer_id in self.company.books.tables["Customer"].records:
            self._edit(Kind.CUSTOMER, customer_id, PrimaryPhone={"FreeFormNumber": phone})

    def merge(self, customer_id: str, into: str) -> None:
        """The documents of the first are the second's now; the first stays as a deleted name, inactive."""
        books = self.company.books
        rows = books.tables["Customer"].records
        if customer_id not in rows or into not in rows or not all(rows[one]["Active"] for one in (customer_id, into)):
            return
        reference = {"value": into, "name": rows[into]["DisplayName"]}
        for entity in ("Invoice", "Payment"):
            for row in list(books.tables[entity].records.values()):
                if row["CustomerRef"]["value"] == customer_id:
                    books.replace(entity, row, {**row, "CustomerRef": reference})
                    if (Kind.INVOICE, row["Id"]) in self.ours and entity == "Invoice":
                        self.ours[Kind.INVOICE, row["Id"]] = moved(self.ours[Kind.INVOICE, row["Id"]], into)
        name = f"{rows[customer_id]['DisplayName']} (deleted)"
        self._edit(Kind.CUSTOMER, customer_id, Active=False, DisplayName=name)

    def close(self, until: date) -> None:
        """Somebody closes the books up to and with a day."""
        self._held.closed_until = until

    def _edit(self, kind: Kind, record_id: str, **fields: Any) -> None:
        sent = {**self._named(kind, record_id), "sparse": True, **fields}
        self._do(lambda: self.company.update(books_translate.ENTITIES[kind], sent))

    def _do(self, act: Callable[[], object]) -> None:
        with suppress(FaultError):  # QuickBooks' own page refuses it too
            act()

    def _row(self, entity: str, record_id: str) -> Row:
        return self.company.books.tables[entity].records[record_id]

    def _named(self, kind: Kind, record_id: str) -> Row:
        return _identity(self._row(books_translate.ENTITIES[kind], record_id))

    def _payments_of(self, invoice_id: str) -> list[Row]:
        paid_by = [one["TxnId"] for one in self._row("Invoice", invoice_id)["LinkedTxn"] if one["TxnType"] == "Payment"]
        return [self._row("Payment", one) for one in paid_by]

    # What stands there

    @property
    def records(self) -> Mapping[tuple[Kind, str], Record]:
        """Every record in our words, by kind and id."""
        if self._view is None:
            self._view = {
                (kind, row["Id"]): self._record(kind, row)
                for kind, entity in books_translate.ENTITIES.items()
                for row in self.company.books.tables[entity].records.values()
            }
        return self._view

    def all(self, kind: Kind) -> list[Record]:
        return [record for (of, _), record in self.records.items() if of == kind]

    def _record(self, kind: Kind, row: Row) -> Record:
        record = books_translate.to_record(kind, json.loads(dumps(row), parse_float=Decimal), _KNOWN)
        if kind is not Kind.INVOICE:
            return record
        table = self.company.books.tables["Payment"].records
        days = [table[one]["TxnDate"] for one in record.fields["payment_ids"] if one in table]  # type: ignore[union-attr] # a list of ids
        last = date.fromisoformat(max(days)) if days else None
        return Record(kind, record.id, record.version, record.edited_at, {**record.fields, "last_payment_on": last})


class _Known(KnownCompany):
    """What a row does not say itself: nothing is asked for it."""

    def __init__(self) -> None:
        """Asks nobody."""

    @property
    def home_currency(self) -> str | None:
        return "USD"

    def name_of(self, where: object, ref: Any) -> str | None:
        del where
        return ref.name or None


_KNOWN = _Known()


@cache
def _application() -> Flask:
    """One for all companies of this process: what it works on is put in before each call."""
    app = create_app()
    app.config["PROPAGATE_EXCEPTIONS"] = True
    return app


def _body(request: requests.PreparedRequest) -> bytes:
    body = request.body or b""
    return body.encode() if isinstance(body, str) else bytes(body)  # type: ignore[arg-type] # a whole body, never a stream


def _sent(value: Any) -> Any:
    """As it comes over the wire."""
    return json.loads(json.dumps(value), parse_float=Decimal)


def _identity(row: Row) -> Row:
    return {"Id": row["Id"], "SyncToken": row["SyncToken"]}
