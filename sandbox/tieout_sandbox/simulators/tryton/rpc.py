"""A person at Tryton: JSON-RPC calls for setting up and for playing, without the connector under test."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any

CALL_SECONDS_MAX = 120
PAGE_SIZE = 500


class RpcError(Exception):
    """Tryton refused a call; the message is its own."""


class Rpc:
    """A signed-in user of the database. Safe between threads."""

    def __init__(self, port: int, database: str, user: str, password: str) -> None:
        self._port = port
        self._path = f"/{database}/rpc/"
        self._lock = threading.Lock()
        self._user, self._password = user, password
        self._session = ""
        self._context: dict[str, Any] = {}
        self.user_id = self._sign_in()

    def work_in(self, company: int, **rights: object) -> None:
        """All later calls are about this company; Tryton takes from `groups` and the like what may be edited."""
        self._context = {"company": company, **rights}

    def call(self, method: str, *params: object, context: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON is anything
        """The result; `context` comes on top of the company.

        Raises:
            RpcError: If there is none.
        """
        sent = [*params, {**self._context, **(context or {})}]
        status, text = self._post(method, sent)
        if status == HTTPStatus.UNAUTHORIZED:  # posting and paying want a session of the last minutes
            self._sign_in()
            status, text = self._post(method, sent)
        return _result(method, status, text)

    def _sign_in(self) -> int:
        self._session = ""
        method = "common.db.login"
        found = _result(method, *self._post(method, [self._user, {"password": self._password}, "en"]))
        self._session = "Session " + base64.b64encode(f"{self._user}:{found[0]}:{found[1]}".encode()).decode()
        return int(found[0])

    def _post(self, method: str, params: list[Any]) -> tuple[int, str]:
        body = json.dumps({"id": 1, "method": method, "params": params}, default=_typed)
        with self._lock:
            connection = HTTPConnection("127.0.0.1", self._port, timeout=CALL_SECONDS_MAX)
            try:
                headers = {"Content-Type": "application/json", "Authorization": self._session}
                connection.request("POST", self._path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

    def rows(self, model: str, domain: list[Any], *fields: str) -> list[dict[str, Any]]:
        """These fields of all records that fulfil the domain, in the order of their ids."""
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            wanted = [*domain, ["id", ">", after]]
            page = self.call(f"model.{model}.search_read", wanted, 0, PAGE_SIZE, [["id", "ASC"]], list(fields))
            found += page
            if len(page) < PAGE_SIZE:
                return found
            after = page[-1]["id"]

    def first(self, model: str, *domain: list[Any]) -> int:
        """Id of the first record that fulfils the domain.

        Raises:
            RpcError: If there is none.
        """
        found = self.call(f"model.{model}.search", list(domain), 0, 1, None)
        if not found:
            raise RpcError(f"no {model} fulfils {domain}")
        return int(found[0])

    def make(self, model: str, **values: object) -> int:
        """A new record; its id."""
        return int(self.call(f"model.{model}.create", [values])[0])

    def run(self, wizard: str, *steps: tuple[str, str, dict[str, Any]], context: dict[str, Any] | None = None) -> None:
        """Go through a wizard: of each step the form, the button that is pressed in it, and what was filled in."""
        session = self.call(f"wizard.{wizard}.create", context=context)[0]
        filled: dict[str, Any] = {}
        for form, button, values in steps:
            filled |= {form: values} if form else {}
            self.call(f"wizard.{wizard}.execute", session, filled, button, context=context)
        self.call(f"wizard.{wizard}.delete", session, context=context)

    def pay(self, invoice: int, amount: Decimal, on: date) -> None:
        """Somebody pays so much of an invoice."""
        (row,) = self.call("model.account.invoice.read", [invoice], ["party", "currency", "company", "account"])
        form = {
            "payee": row["party"],
            "amount": amount,
            "currency": row["currency"],
            "company": row["company"],
            "invoice_account": row["account"],
            "payment_method": self.first("account.invoice.payment.method"),
            "date": on,
        }
        context = {"active_model": "account.invoice", "active_id": invoice, "active_ids": [invoice]}
        (to_pay,) = self.call("model.account.invoice.read", [invoice], ["amount_to_pay"])
        whole = to_pay["amount_to_pay"] == amount
        steps: list[tuple[str, str, dict[str, Any]]] = [("start", "choice", form)]
        if not whole:
            steps.append(("ask", "pay", {"type": "partial"}))
        self.run("account.invoice.pay", *steps, context=context)


def _result(method: str, status: int, text: str) -> Any:  # noqa: ANN401 - JSON is anything
    if status != HTTPStatus.OK:
        raise RpcError(f"{method}: status {status}")
    content = json.loads(text, object_hook=_plain)
    if "error" in content:
        raise RpcError(f"{method}: {content['error']}")
    return content["result"]


def _plain(value: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON is anything
    """A typed value as our own; other objects as they are."""
    match value.get("__class__"):
        case "Decimal":
            return Decimal(value["decimal"])
        case "date":
            return date(value["year"], value["month"], value["day"])
        case "datetime":
            day = datetime(value["year"], value["month"], value["day"], tzinfo=UTC)
            return day.replace(hour=value["hour"], minute=value["minute"], second=value["second"])
        case _:
            return value


def _typed(value: object) -> Any:  # noqa: ANN401 - JSON is anything
    match value:
        case Decimal():
            return {"__class__": "Decimal", "decimal": str(value)}
        case date():
            return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
        case _:
            raise TypeError(f"{type(value).__name__} has no form in Tryton's JSON")
