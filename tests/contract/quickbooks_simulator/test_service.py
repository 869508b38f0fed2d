"""Sign-in, throttles, request ids, faults, state that is kept, webhooks: what stands around the records."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from tests.contract.quickbooks_simulator.conftest import REALM, Books, line
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.control import ON_CLOSE
from tieout_sandbox.simulators.quickbooks_online import create_app
from tieout_sandbox.simulators.server import serve

Opened = Callable[..., Books]

BASIC = {"Authorization": "Basic " + base64.b64encode(b"tieout-sandbox-client:tieout-sandbox-secret").decode()}
CONSENT = {
    "client_id": "tieout-sandbox-client",
    "response_type": "code",
    "scope": "com.intuit.quickbooks.accounting",
    "redirect_uri": "http://localhost:8000/callback",
    "state": "xyz",
}


def token(books: Books, **form: str) -> tuple[int, dict[str, Any]]:
    answer = books.client.post("/oauth2/v1/tokens/bearer", data=form, headers=BASIC)
    return answer.status_code, answer.get_json()


def consent(books: Books, **change: str) -> dict[str, list[str]]:
    answer = books.client.get("/connect/oauth2", query_string={**CONSENT, **change})
    assert answer.status_code == 302
    return parse_qs(urlsplit(answer.headers["Location"]).query)


def refresh(books: Books, refresh_token: str) -> tuple[int, dict[str, Any]]:
    return token(books, grant_type="refresh_token", refresh_token=refresh_token)


def code_for(books: Books) -> dict[str, str]:
    code = consent(books)["code"][0]
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": CONSENT["redirect_uri"]}


def test_a_code_is_good_once_for_ten_minutes_and_for_its_redirect(books: Books) -> None:
    answer = consent(books)
    assert (answer["state"], answer["realmId"]) == (["xyz"], [REALM])
    form = code_for(books)
    assert token(books, **{**form, "redirect_uri": "http://elsewhere"})[0] == 400
    form = code_for(books)
    status, tokens = token(books, **form)
    assert (status, tokens["expires_in"], tokens["token_type"]) == (200, 3600, "bearer")
    assert token(books, **form) == (
        400,
        {"error": "invalid_grant", "error_description": "Invalid authorization code"},
    )
    form = code_for(books)
    books.clock.advance(600)
    assert token(books, **form)[1]["error"] == "invalid_grant"


def test_consent_is_refused_to_strangers_and_may_be_denied(opened: Opened) -> None:
    books = opened(auto_approve=False, realms=[REALM, "9130350000000002"])
    page = books.client.get("/connect/oauth2", query_string=CONSENT)
    assert (page.status_code, b"9130350000000002" in page.data) == (200, True)
    assert consent(books, realm="9130350000000002")["realmId"] == ["9130350000000002"]
    assert consent(books, deny="1") == {"error": ["access_denied"], "state": ["xyz"]}
    for wrong in ({"client_id": "other"}, {"realm": "1"}, {"response_type": "token"}):
        assert books.client.get("/connect/oauth2", query_string={**CONSENT, **wrong}).status_code == 400


def test_the_app_must_show_its_secret(books: Books) -> None:
    answer = books.client.post("/oauth2/v1/tokens/bearer", data={"grant_type": "refresh_token"})
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_an_access_token_lives_an_hour(books: Books) -> None:
    books.sign_in()
    books.clock.advance(3599)
    assert books.call("GET", "customer/1")[0] == 400
    books.clock.advance(1)
    status, answer = books.call("GET", "customer/1")
    assert status == 401
    (error,) = answer["fault"]["error"]
    assert (error["code"], error["message"]) == (
        "3200",
        "message=AuthenticationFailed; errorCode=003200; statusCode=401",
    )


def test_a_refresh_token_changes_once_a_day_and_the_former_value_dies(books: Books) -> None:
    first = token(books, **code_for(books))[1]["refresh_token"]
    assert refresh(books, first)[1]["refresh_token"] == first
    books.clock.advance(86_400)
    second = refresh(books, first)[1]["refresh_token"]
    assert second != first
    assert refresh(books, first) == (
        400,
        {"error": "invalid_grant", "error_description": "Incorrect or invalid refresh token"},
    )
    assert refresh(books, second)[0] == 200


def test_every_refresh_may_rotate(opened: Opened) -> None:
    books = opened(refresh_token_rotates_after_seconds=0)
    first = token(books, **code_for(books))[1]["refresh_token"]
    assert refresh(books, first)[1]["refresh_token"] != first
    assert refresh(books, first)[0] == 400


def test_a_refresh_token_rolls_over_a_hundred_days(books: Books) -> None:
    value = token(books, **code_for(books))[1]["refresh_token"]
    books.clock.advance(99 * 86_400)
    value = refresh(books, value)[1]["refresh_token"]
    books.clock.advance(99 * 86_400)
    value = refresh(books, value)[1]["refresh_token"]
    books.clock.advance(100 * 86_400)
    assert refresh(books, value)[0] == 400


def test_revoking_ends_every_token_of_the_company(books: Books) -> None:
    tokens = token(books, **code_for(books))[1]
    books.token = tokens["access_token"]
    assert books.call("GET", "preferences")[0] == 200
    body = json.dumps({"token": tokens["refresh_token"]})
    assert books.client.post("/v2/oauth2/tokens/revoke", data=body, headers=BASIC).status_code == 200
    assert books.call("GET", "preferences")[0] == 401
    assert refresh(books, tokens["refresh_token"])[0] == 400
    assert books.client.post("/v2/oauth2/tokens/revoke", data=body, headers=BASIC).status_code == 400
    books.sign_in()
    assert books.client.post("/_sandbox/revoke", json={}).get_json() == {"revoked": True}
    assert books.call("GET", "preferences")[0] == 401


def test_five_hundred_requests_a_minute(opened: Opened) -> None:
    books = opened(requests_per_minute=500)
    for n in range(500):
        assert books.call("GET", "preferences")[0] == 200
        books.clock.advance(0.1 if n < 499 else 0)
    status, answer = books.call("GET", "preferences")
    assert status == 429
    assert answer["fault"]["error"][0]["message"] == "message=ThrottleExceeded; errorCode=003001; statusCode=429"
    books.clock.advance(10.2)  # the first calls leave the window
    assert books.call("GET", "preferences")[0] == 200


def test_ten_requests_a_second(opened: Opened) -> None:
    books = opened(requests_per_second=10)
    assert [books.call("GET", "preferences")[0] for _ in range(11)] == [200] * 10 + [429]
    books.clock.advance(1)
    assert books.call("GET", "preferences")[0] == 200


def test_forty_batches_a_minute_for_each_company(opened: Opened) -> None:
    books = opened(batches_per_minute=40, realms=[REALM, "2"])
    body = {"BatchItemRequest": [{"bId": "1", "Query": "select count(*) from Invoice"}]}
    assert [books.call("POST", "batch", body)[0] for _ in range(41)] == [200] * 40 + [429]
    assert books.call("GET", "preferences")[0] == 200
    books.sign_in("2")
    assert books.call("POST", "batch", body, realm="2")[0] == 200


def test_limits_are_raised_while_it_runs(opened: Opened) -> None:
    books = opened(requests_per_minute=1)
    assert [books.call("GET", "preferences")[0] for _ in range(2)] == [200, 429]
    books.client.post("/_sandbox/settings", json={"requests_per_minute": 100})
    assert books.call("GET", "preferences")[0] == 200


def test_a_repeated_request_id_gets_the_first_answer(books: Books) -> None:
    customer = books.customer()["Id"]
    body = {"CustomerRef": {"value": customer}, "Line": [line("1.00")]}
    first = books.post("invoice", body, requestid="k1")
    books.clock.advance(5)
    assert books.post("invoice", body, requestid="k1") == first
    assert books.post("invoice", body, requestid="k2")["Invoice"]["Id"] != first["Invoice"]["Id"]
    assert books.query("select count(*) from Invoice") == {"totalCount": 2}
    books.clock.advance(14_400)
    books.sign_in()
    assert books.post("invoice", body, requestid="k1")["Invoice"]["Id"] != first["Invoice"]["Id"]


def test_a_refused_first_call_is_remembered_too(books: Books) -> None:
    assert books.refusal("customer", {}, requestid="k") == "2020"
    assert books.refusal("customer", {"DisplayName": "Acme"}, requestid="k") == "2020"
    assert books.post("customer", {"DisplayName": "Acme"}, requestid="k2")["Customer"]["Id"] == "1"


def test_a_repeated_batch_is_not_worked_again(books: Books) -> None:
    body = {"BatchItemRequest": [{"bId": "1", "operation": "create", "Customer": {"DisplayName": "Acme"}}]}
    first = books.post("batch", body, requestid="b1")
    assert "Fault" not in first["BatchItemResponse"][0]
    assert books.post("batch", body, requestid="b1") == first
    assert "Fault" in books.post("batch", body, requestid="b2")["BatchItemResponse"][0]


def test_request_ids_have_a_length(books: Books) -> None:
    assert books.refusal("customer", {"DisplayName": "A"}, requestid="x" * 51) == "2050"
    assert books.post("customer", {"DisplayName": "A"}, requestid="x" * 50)
    item = {"bId": "12345678901", "Query": "select count(*) from Invoice"}
    assert books.refusal("batch", {"BatchItemRequest": [item]}, requestid="r") == "2050"
    assert books.refusal("batch", {"BatchItemRequest": [{**item, "bId": "1"}]}, requestid="x" * 37) == "2050"
    assert books.post("batch", {"BatchItemRequest": [item]})


def test_a_lost_answer_leaves_its_work_behind(books: Books) -> None:
    fault = {"kind": "lost_answer", "times": 1, "match": {"method": "POST", "path": "/v3/company/*/customer"}}
    books.client.put("/_sandbox/faults", json={"faults": [fault]})
    with pytest.raises(ConnectionError):
        books.post("customer", {"DisplayName": "Acme"}, requestid="k")
    assert books.query("select count(*) from Customer") == {"totalCount": 1}
    assert books.post("customer", {"DisplayName": "Acme"}, requestid="k")["Customer"]["Id"] == "1"


def test_a_request_id_may_be_ignored(books: Books) -> None:
    customer = books.customer()["Id"]
    books.client.put("/_sandbox/faults", json={"faults": [{"kind": "ignore_request_id"}]})
    body = {"CustomerRef": {"value": customer}, "Line": [line("1.00")]}
    ids = {books.post("invoice", body, requestid="same")["Invoice"]["Id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("status", "marker"),
    [
        (429, '"code": "3001"'),
        (401, '"code": "3200"'),
        (403, '"code": "3100"'),
        (500, '"code": "10000"'),
        (503, "<html>"),
    ],
)
def test_injected_statuses_have_the_providers_bodies(books: Books, status: int, marker: str) -> None:
    books.client.put("/_sandbox/faults", json={"faults": [{"kind": "status", "status": status}]})
    answer = books.client.get(f"/v3/company/{REALM}/preferences")
    assert (answer.status_code, marker in answer.get_data(as_text=True)) == (status, True)


def test_every_answer_names_its_call(books: Books) -> None:
    answers = [books.client.get(f"/v3/company/{REALM}/preferences") for _ in range(2)]
    assert len({answer.headers["intuit_tid"] for answer in answers}) == 2


def test_the_state_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    clock = SimulatedClock()
    before = Books(create_app(clock=clock, state_file=file, requests_per_second=1000), clock)
    customer = before.customer()["Id"]
    invoice = before.invoice(customer, "10.10", "0.05")
    gone = before.invoice(customer, DocNumber="X")
    before.client.post("/_sandbox/pay", json={"invoice": invoice["Id"], "amount": "5.05"})
    before.post("invoice", {"Id": gone["Id"], "SyncToken": "0"}, operation="delete")
    was = before.read("Invoice", invoice["Id"])
    before.app.extensions[ON_CLOSE]()

    after = Books(create_app(clock=clock, state_file=file, requests_per_second=1000), clock)
    after.token = before.token
    assert after.read("Invoice", invoice["Id"]) == was
    assert after.read("Customer", customer)["Balance"] == was["Balance"]
    assert after.customer("New")["Id"] == "2"
    renewed = after.invoice(customer)
    assert int(renewed["Id"]) == 4
    assert renewed["DocNumber"] == "1002"
    assert after.refusal("payment", _payment(customer, invoice["Id"], "5.11")) == "6000"
    assert after.post("payment", _payment(customer, invoice["Id"], "5.10"))["Payment"]["UnappliedAmt"] == 0
    stubs = after.get("cdc", entities="Invoice", changedSince=was["MetaData"]["CreateTime"])
    listed = stubs["CDCResponse"][0]["QueryResponse"][0]["Invoice"]
    assert [each["Id"] for each in listed if each.get("status") == "Deleted"] == [gone["Id"]]
    after.app.extensions[ON_CLOSE]()


def _payment(customer: str, invoice: str, amount: str) -> dict[str, Any]:
    linked = [{"Amount": amount, "LinkedTxn": [{"TxnId": invoice, "TxnType": "Invoice"}]}]
    return {"CustomerRef": {"value": customer}, "TotalAmt": amount, "Line": linked}


def test_the_tours_helper_makes_a_real_payment(books: Books) -> None:
    customer = books.customer()["Id"]
    books.invoice(customer, "100.00", DocNumber="INV-7")
    paid = books.client.post("/_sandbox/pay", json={"doc_number": "INV-7", "amount": 30, "date": "2026-01-04"})
    payment = paid.get_json()["Payment"]
    assert (payment["TotalAmt"], payment["TxnDate"]) == (30, "2026-01-04")
    books.client.post("/_sandbox/pay", json={"doc_number": "INV-7"})
    summary = books.client.get("/_sandbox/summary").get_json()[REALM]
    assert summary == {
        "customers": 1,
        "invoices": 1,
        "invoice_total": "100.00",
        "open_balance": "0.00",
        "duplicate_doc_numbers": 0,
        "payments": 2,
        "payment_total": "100.00",
    }
    assert books.client.post("/_sandbox/pay", json={"doc_number": "INV-7"}).status_code == 200
    assert books.client.post("/_sandbox/pay", json={"invoice": "99"}).status_code == 400


def test_a_failed_delivery_comes_again_and_is_given_up_at_last(opened: Opened) -> None:
    books = opened(webhook_window_seconds=0, webhook_retry_seconds=[0.01, 0.01])
    refuser = create_app()  # answers 404 to a delivery
    with serve(refuser) as url:
        books.client.post("/_sandbox/settings", json={"webhook_url": f"{url}/webhooks/books"})
        books.customer()
        report = _settled(books)
    assert report == {
        "events": 1,
        "attempts": 3,
        "delivered": 0,
        "failed_attempts": 3,
        "given_up": 1,
        "waiting": 0,
    }


def _settled(books: Books) -> dict[str, int]:
    for _ in range(500):
        report = books.client.get("/_sandbox/webhooks").get_json()
        if report["waiting"] == 0:
            return dict(report)
        time.sleep(0.01)
    raise AssertionError("the delivery does not settle")


def test_settings_are_checked(books: Books) -> None:
    with pytest.raises(ValidationError):
        create_app(requests_per_minute=0)
    assert books.client.post("/_sandbox/settings", json={"webhook_form": "morse"}).status_code == 400


def test_thousands_of_invoices_are_found_by_number_at_once(books: Books) -> None:
    customer = books.customer()["Id"]
    for n in range(20):
        items = [
            {
                "bId": str(i),
                "operation": "create",
                "Invoice": {"CustomerRef": {"value": customer}, "Line": [line("1")], "DocNumber": f"D{n}-{i}"},
            }
            for i in range(30)
        ]
        books.post("batch", {"BatchItemRequest": items})
    table = books.app.extensions["simulator"].companies[REALM].books.tables["Invoice"]
    touched: list[str] = []

    class Watched(dict[str, Any]):
        def values(self) -> Any:
            touched.append("all")
            return super().values()

    table.records = Watched(table.records)
    wanted = ", ".join(f"'D{n}-{i}'" for n in range(10) for i in range(10))
    assert len(books.query(f"select Id from Invoice where DocNumber in ({wanted})")["Invoice"]) == 100
    assert touched == []


def test_a_delivery_holds_so_many_events(opened: Opened) -> None:
    books = opened(webhook_window_seconds=0.3, webhook_events_max=2, webhook_retry_seconds=[])
    with serve(create_app()) as url:
        books.client.post("/_sandbox/settings", json={"webhook_url": f"{url}/webhooks/books"})
        for name in ("A", "B", "C"):
            books.customer(name)
        report = _settled(books)
    assert (report["events"], report["attempts"]) == (3, 2)
