from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask, Response, request

from tests.contract.quickbooks_simulator.published_schema import violations
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.control import ON_CLOSE
from tieout_sandbox.simulators.quickbooks_online import create_app

REALM = "9130350000000001"


@dataclass
class Books:
    """A simulator that is driven without a socket, and all that it answered as a company."""

    app: Flask
    clock: SimulatedClock
    answers: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""

    def __post_init__(self) -> None:
        self.app.after_request(self._record)
        self.client = self.app.test_client()

    def _record(self, answer: Response) -> Response:
        if request.path.startswith("/v3/") and b'"fault"' not in answer.data:
            self.answers.append(json.loads(answer.data, parse_float=Decimal))
        return answer

    def sign_in(self, realm: str = REALM) -> str:
        self.token = self.client.post("/_sandbox/grant", json={"realm": realm}).get_json()["access_token"]
        return self.token

    def call(self, method: str, path: str, body: Any = None, *, realm: str = REALM, **query: str) -> tuple[int, Any]:
        answer = self.client.open(
            f"/v3/company/{realm}/{path}",
            method=method,
            data=None if body is None else body if isinstance(body, str) else json.dumps(body),
            query_string=query,
            headers={"Authorization": f"Bearer {self.token or self.sign_in()}"},
        )
        return answer.status_code, json.loads(answer.data, parse_float=Decimal)

    def post(self, path: str, body: Any, **query: str) -> Any:
        """The answer's body, which must be a success."""
        status, answer = self.call("POST", path, body, **query)
        assert status == 200, answer
        return answer

    def refusal(self, path: str, body: Any, **query: str) -> str:
        """The fault's code."""
        status, answer = self.call("POST", path, body, **query)
        assert status == 400, answer
        (error,) = answer["Fault"]["Error"]
        return str(error["code"])

    def get(self, path: str, **query: str) -> Any:
        status, answer = self.call("GET", path, **query)
        assert status == 200, answer
        return answer

    def query(self, text: str) -> Any:
        return self.get("query", query=text)["QueryResponse"]

    def query_fault(self, text: str) -> str:
        status, answer = self.call("GET", "query", query=text)
        assert status == 400, answer
        return str(answer["Fault"]["Error"][0]["code"])

    def customer(self, name: str = "Acme", **fields: Any) -> Any:
        return self.post("customer", {"DisplayName": name, **fields})["Customer"]

    def invoice(self, customer_id: str, *amounts: str, **fields: Any) -> Any:
        lines = [line(amount) for amount in amounts or ("100.00",)]
        return self.post("invoice", {"CustomerRef": {"value": customer_id}, "Line": lines, **fields})["Invoice"]

    def read(self, entity: str, record_id: str) -> Any:
        return self.get(f"{entity.lower()}/{record_id}")[entity]


def line(amount: str, *, tax: str = "NON", **detail: Any) -> dict[str, Any]:
    return {
        "DetailType": "SalesItemLineDetail",
        "Amount": amount,
        "SalesItemLineDetail": {"ItemRef": {"value": "1"}, "TaxCodeRef": {"value": tax}, **detail},
    }


@pytest.fixture
def opened() -> Iterator[Callable[..., Books]]:
    """Opens simulators with given settings; by default the throttles are out of the way.

    At the end of the test, everything that they answered is held against the published schema.
    """
    all_books: list[Books] = []

    def open_books(**settings: Any) -> Books:
        clock = SimulatedClock()
        generous = {"requests_per_minute": 100_000, "requests_per_second": 100_000, "batches_per_minute": 100_000}
        app = create_app(clock=clock, **{**generous, **settings})
        all_books.append(Books(app, clock))
        return all_books[-1]

    yield open_books
    for each in all_books:
        each.app.extensions[ON_CLOSE]()
    answers = [answer for each in all_books for answer in each.answers]
    assert [problem for answer in answers for problem in violations("IntuitResponse", answer)] == []


@pytest.fixture
def books(opened: Callable[..., Books]) -> Books:
    return opened()
