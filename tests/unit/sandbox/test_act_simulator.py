"""The simulated Act! server: sign-in, rules of reading and writing, limits, webhooks."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tieout_sandbox.simulators.act import create_app
from tieout_sandbox.simulators.clock import SimulatedClock

USER, PASSWORD, DATABASE = "integration@seller.example", "correct horse", "H1234567890"


class Server:
    """A simulator without a socket."""

    def __init__(self, **settings: Any) -> None:
        self.clock = SimulatedClock()
        self.app = create_app(clock=self.clock, **settings)
        self.client: FlaskClient = self.app.test_client()
        self.token = self.sign_in().text.strip('"')

    def sign_in(self, user: str = USER, password: str = PASSWORD, database: str = DATABASE) -> TestResponse:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Act-Database-Name": database}
        return self.client.get("/act.web.api/authorize", headers=headers)

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}", "Act-Database-Name": DATABASE, **options.pop("headers", {})}
        return self.client.open(f"/act.web.api/api/{path}", method=method, headers=headers, **options)

    def make(self, collection: str, **fields: Any) -> dict[str, Any]:
        answer = self.call("POST", collection, json=fields)
        assert answer.status_code == 201
        assert isinstance(answer.json, dict)
        return answer.json


@pytest.fixture
def server() -> Server:
    return Server()


# Sign-in


def test_the_token_is_bare_text_in_quotes(server):
    answer = server.sign_in()
    assert answer.content_type.startswith("text/html")
    assert answer.text.startswith('"ey')
    assert answer.text.count(".") == 2


@pytest.mark.parametrize("wrong", [{"user": "x"}, {"password": "x"}, {"database": "x"}])
def test_wrong_user_and_wrong_database_are_a_bare_401(server, wrong):
    answer = server.sign_in(**wrong)
    assert (answer.status_code, answer.data) == (401, b"")


def test_a_token_brings_the_next_one(server):
    headers = {"Authorization": f"Bearer {server.token}", "Act-Database-Name": DATABASE}
    answer = server.client.get("/act.web.api/authorize", headers=headers)
    assert answer.status_code == 200
    assert answer.text.strip('"') != server.token


def test_tokens_end(server):
    assert server.call("GET", "contacts").status_code == 200
    server.clock.advance(3600)
    assert server.call("GET", "contacts").status_code == 401


def test_a_missing_token_is_a_500_and_a_wrong_one_a_401(server):
    missing = server.client.get("/act.web.api/api/contacts")
    assert missing.status_code == 500
    assert {"message", "exceptionMessage", "exceptionType", "stackTrace"} == set(missing.json)
    for token in (server.token + "x", "nonsense", "a.b.c", "\xe9.\xe9.\xe9"):
        assert server.call("GET", "contacts", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert server.call("GET", "contacts", headers={"Act-Database-Name": "other"}).status_code == 401


def test_the_version_needs_no_sign_in(server):
    assert server.client.get("/act.web.api/api/system").json["apiVersion"]


@pytest.mark.parametrize("code", ["4030", "4031", "4032"])
def test_refusals(code):
    server = Server(refusal=code)
    answer = server.call("GET", "contacts")
    assert answer.status_code == 403
    assert code in answer.json["exceptionMessage"]


# Reading


def test_lists_are_arrays_or_envelopes():
    assert Server().call("GET", "contacts").json == []
    assert Server(envelope=True).call("GET", "contacts").json == {"value": [], "Count": 0}


def test_pages_are_cut_to_default_and_maximum():
    server = Server(data="crm-sales-opportunities")
    assert len(server.call("GET", "opportunities").json) == 100
    assert len(server.call("GET", "opportunities?$top=10000").json) == 500
    assert server.call("GET", "opportunities?$apply=x").status_code == 400
    fields = server.call("GET", "metadata/opportunity/fields").json
    assert {"name": "payment_status", "displayName": "Payment Status", "isCustom": True} in fields


def test_status_is_a_word_or_a_number():
    assert Server().make("opportunities", name="Deal", status=1)["status"] == "Won"
    server = Server(status_as_number=True)
    deal = server.make("opportunities", name="Deal", status="Won")
    assert (deal["status"], deal["statusName"]) == (1, "Won")
    assert server.call("GET", "opportunities?$filter=status eq 1").json == [deal]


def test_hidden_records_are_absent(server):
    deal = server.make("opportunities", name="Deal")
    server.client.post("/_sandbox/settings", json={"hidden": [deal["id"]]})
    assert server.call("GET", f"opportunities/{deal['id']}").status_code == 404
    assert server.call("GET", f"opportunities/{deal['id']}/products").status_code == 404
    assert server.call("PUT", f"opportunities/{deal['id']}", json=deal).status_code == 404
    assert server.call("GET", "opportunities").json == []


# Writing


def test_put_replaces_the_whole_record(server):
    deal = server.make("opportunities", name="Deal", competitor="X", customFields={"payment_status": "Open"})
    server.clock.advance(5)
    answer = server.call("PUT", f"opportunities/{deal['id']}", json={"name": "Deal 2"})
    assert answer.json["competitor"] is None
    assert answer.json["customFields"]["payment_status"] is None
    assert answer.json["created"] == deal["created"]
    assert answer.json["edited"] > deal["edited"]


def test_patch_changes_a_part_or_nothing(server):
    deal = server.make("opportunities", name="Deal", competitor="X")
    assert server.call("PATCH", f"opportunities/{deal['id']}", json={"name": "Deal 2"}).json["competitor"] == "X"
    server.client.post("/_sandbox/settings", json={"patch_ignores": True})
    answer = server.call("PATCH", f"opportunities/{deal['id']}", json={"name": "Deal 3"})
    assert (answer.status_code, answer.json["name"]) == (200, "Deal 2")


def test_unknown_fields_are_dropped_silently(server):
    deal = server.make("opportunities", name="Deal", nonsense=1, customFields={"nonsense": 1})
    assert "nonsense" not in deal
    assert "nonsense" not in deal["customFields"]


def test_delete_leaves_nothing(server):
    deal = server.make("opportunities", name="Deal")
    assert server.call("DELETE", f"opportunities/{deal['id']}").status_code == 204
    assert server.call("GET", f"opportunities/{deal['id']}").status_code == 404
    assert server.call("DELETE", f"opportunities/{deal['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"name":"x","status":"Sold"}', "application/json", 400),
        (b"name=x", "text/plain", 415),
    ],
)
def test_bad_bodies_are_refused(server, body, content_type, status):
    answer = server.call("POST", "opportunities", data=body, content_type=content_type)
    assert answer.status_code == status


def test_the_total_follows_the_lines(server):
    company = server.make("companies", name="Acme")
    deal = server.make("opportunities", name="Deal", companies=[{"id": company["id"]}])
    assert deal["companies"] == [{"id": company["id"], "name": "Acme"}]
    path = f"opportunities/{deal['id']}/products"
    line = server.call("POST", path, json={"name": "Part", "quantity": 3, "price": 10, "discount": 50}).json
    assert (line["discountPrice"], line["total"], line["productID"]) == (5, 15, None)
    assert server.call("GET", f"opportunities/{deal['id']}").json["productTotal"] == 15
    assert server.call("DELETE", f"{path}/{line['id']}").status_code == 204
    assert server.call("GET", path).json == []
    assert server.call("GET", f"opportunities/{deal['id']}").json["productTotal"] == 0
    assert server.call("PUT", path, json={}).status_code == 405


# Batches and limits


def batch(server: Server, *lines: str, boundary: str = "b") -> TestResponse:
    parts = [
        f"--b\r\nContent-Type: application/http; msgtype=request\r\n\r\n{line} HTTP/1.1\r\nHost: x\r\n\r\n\r\n"
        for line in lines
    ]
    body = "".join(parts) + "--b--\r\n"
    return server.call("POST", "$batch", data=body, content_type=f"multipart/mixed; boundary={boundary}")


def test_parts_are_answered_in_order(server):
    server.make("products", name="Part")
    answer = batch(
        server,
        "GET /act.web.api/api/products?$select=name",
        "GET /act.web.api/api/nothing",
        "GET https://x/act.web.api/api/contacts",
    )
    assert answer.content_type.startswith("multipart/mixed")
    texts = answer.text.split("HTTP/1.1 ")[1:]
    assert [text[:3] for text in texts] == ["200", "404", "200"]
    assert '[{"name": "Part"}]' in texts[0]


def test_writes_are_counted_inside_batches_too(server):
    assert server.client.get("/_sandbox/writes").json == {"writes": 0}
    one, two = server.make("products", name="One"), server.make("products", name="Two")
    answer = batch(
        server,
        f"DELETE /act.web.api/api/products/{one['id']}",
        f"DELETE /act.web.api/api/products/{one['id']}",
        f"GET /act.web.api/api/products/{two['id']}",
    )
    assert [text[:3] for text in answer.text.split("HTTP/1.1 ")[1:]] == ["204", "404", "200"]
    assert server.client.get("/_sandbox/writes").json == {"writes": 3}


def test_a_batch_has_100_parts_at_most(server):
    assert batch(server, *["GET /act.web.api/api/contacts"] * 100).status_code == 200
    assert batch(server, *["GET /act.web.api/api/contacts"] * 101).status_code == 400
    assert batch(server, "GET /act.web.api/api/contacts", boundary="other").status_code == 400
    assert server.call("POST", "$batch", json={}).status_code == 415
    assert server.call("GET", "$batch").status_code == 405


@pytest.mark.parametrize("status", [429, 403, 503])
def test_calls_are_counted_by_the_minute(status):
    server = Server(calls_per_minute=2, limit_status=status)
    first = server.call("GET", "contacts")
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("2", "1")
    assert batch(server, "GET /act.web.api/api/contacts", "GET /act.web.api/api/contacts").status_code == 200
    refused = server.call("GET", "contacts")
    assert refused.status_code == status
    server.clock.advance(int(refused.headers["X-RateLimit-Reset"]))
    assert server.call("GET", "contacts").status_code == 200


def test_parts_may_count_as_calls():
    server = Server(calls_per_minute=2, batch_parts_count=True)
    assert batch(server, *["GET /act.web.api/api/contacts"] * 3).status_code == 429
    assert batch(server, *["GET /act.web.api/api/contacts"] * 2).status_code == 200


# Webhooks and state


def test_webhooks_are_registered_suspended_and_removed(server):
    hook = {
        "monitor": "Opportunities",
        "triggerEvent": "Updated",
        "callbackUrl": "http://127.0.0.1:9/",
        "callbackToken": "t0k3n",
    }
    made = server.make("webhooks", **hook)
    assert "t0k3n" not in str(made)
    assert server.call("PUT", f"webhooks/{made['id']}/suspend").json["suspended"] is True
    assert server.call("PUT", f"webhooks/{made['id']}/continue").json["suspended"] is False
    assert server.call("GET", "webhooks").json == [server.call("GET", f"webhooks/{made['id']}").json]
    assert server.call("DELETE", f"webhooks/{made['id']}").status_code == 204
    assert server.call("GET", f"webhooks/{made['id']}").status_code == 404
    assert server.call("POST", "webhooks", json={**hook, "monitor": "Deleted"}).status_code == 400


def test_a_callback_that_fails_three_times_is_suspended(server):
    hook = server.make(
        "webhooks", monitor="Contacts", triggerEvent="Created", callbackUrl="http://127.0.0.1:9/", callbackToken="t"
    )
    server.clock.advance(1)
    server.make("contacts", fullName="Ada")
    for _ in range(3):
        assert server.client.post("/_sandbox/webhooks/push").json == {"delivered": 0, "failed": 1}
    assert server.call("GET", f"webhooks/{hook['id']}").json["suspended"] is True
    assert server.client.post("/_sandbox/webhooks/push").json == {"delivered": 0, "failed": 0}


def test_there_are_no_webhooks_in_the_cloud():
    assert Server(webhooks=False).call("GET", "webhooks").status_code == 404


def test_the_state_is_kept(tmp_path: Path):
    first = Server(state_file=tmp_path / "act.json")
    deal = first.make("opportunities", name="Deal")
    first.call("POST", f"opportunities/{deal['id']}/products", json={"name": "Part", "quantity": 1, "price": 2})
    first.app.extensions["tieout.on_close"]()
    second = Server(state_file=tmp_path / "act.json")
    assert second.call("GET", f"opportunities/{deal['id']}").json["productTotal"] == 2
    assert len(second.call("GET", f"opportunities/{deal['id']}/products").json) == 1
    second.app.extensions["tieout.on_close"]()
