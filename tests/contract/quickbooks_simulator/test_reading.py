"""Queries, change data capture, batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.contract.quickbooks_simulator.conftest import REALM, Books, line

Opened = Callable[..., Books]


@pytest.fixture
def filled(books: Books) -> Books:
    for name in ("Acme", "O'Neil & Co", "100% Sure", "Zeta"):
        customer = books.customer(name, PrimaryEmailAddr={"Address": f"{name[0]}@example.com"})
        books.invoice(customer["Id"], f"{100 + int(customer['Id'])}.50", DocNumber=f"INV-{customer['Id']}")
        books.clock.advance(60)
    return books


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("DisplayName = 'acme'", ["1"]),
        (r"DisplayName = 'O\'Neil & Co'", ["2"]),
        ("DisplayName IN ('Zeta', 'Acme', 'Nobody')", ["1", "4"]),
        ("DisplayName LIKE 'A%'", ["1"]),
        ("DisplayName LIKE '%e%'", ["1", "2", "3", "4"]),
        ("DisplayName LIKE '100%'", ["3"]),
        ("PrimaryEmailAddr = 'Z@example.com'", ["4"]),
        ("Id IN ('2', '4', '99') AND Active = true", ["2", "4"]),
        ("Id > '2'", ["3", "4"]),
        ("Balance >= '102.50' AND Balance < 104", ["2", "3"]),
        ("Active = false", []),
        ("MetaData.LastUpdatedTime > '2026-01-05T10:02:00Z'", ["4"]),
        ("MetaData.LastUpdatedTime >= '2026-01-05T02:02:00-08:00'", ["3", "4"]),
        ("MetaData.CreateTime < '2026-01-05T02:01:00'", ["1"]),
        ("CompanyName = 'Acme'", []),
    ],
)
def test_conditions(filled: Books, where: str, ids: list[str]) -> None:
    found = filled.query(f"SELECT * FROM Customer WHERE {where}").get("Customer", [])
    assert sorted(each["Id"] for each in found) == ids
    assert filled.query(f"select count(*) from Customer where {where}") == {"totalCount": len(ids)}


def test_invoices_are_found_by_number_customer_day_and_state(filled: Books) -> None:
    def numbers(where: str) -> list[str]:
        found = filled.query(f"SELECT DocNumber FROM Invoice WHERE {where} ORDERBY DocNumber").get("Invoice", [])
        return [each["DocNumber"] for each in found]

    assert numbers("DocNumber IN ('inv-1', 'INV-3')") == ["INV-1", "INV-3"]
    assert numbers("CustomerRef = '2'") == ["INV-2"]
    assert numbers("TxnDate = '2026-01-05' AND TotalAmt > '102.50'") == ["INV-3", "INV-4"]
    assert numbers("TxnDate < '2026-01-05'") == []


def test_pages_and_order(filled: Books) -> None:
    text = "SELECT Id, DisplayName FROM Customer ORDERBY DisplayName DESC STARTPOSITION {} MAXRESULTS 3"
    first, second = filled.query(text.format(1)), filled.query(text.format(4))
    assert [each["DisplayName"] for each in first["Customer"]] == ["Zeta", "O'Neil & Co", "Acme"]
    assert (first["startPosition"], first["maxResults"]) == (1, 3)
    assert [each["Id"] for each in second["Customer"]] == ["3"]
    assert set(second["Customer"][0]) == {"Id", "DisplayName", "domain", "sparse"}
    assert filled.query(text.format(5)) == {}


def test_a_page_has_100_records_unless_more_are_asked_and_1000_at_most(opened: Opened) -> None:
    books = opened()
    customer = books.customer()["Id"]
    for _ in range(4):
        items = [
            {"bId": str(n), "operation": "create", "Invoice": {"CustomerRef": {"value": customer}, "Line": [line("1")]}}
            for n in range(30)
        ]
        books.post("batch", {"BatchItemRequest": items})
    assert len(books.query("select * from Invoice")["Invoice"]) == 100
    assert len(books.query("select * from Invoice maxresults 1000")["Invoice"]) == 120
    assert books.query_fault("select * from Invoice maxresults 1001") == "4001"
    assert books.query_fault("select * from Invoice startposition 0") == "4001"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "4000"),
        ("SELECT", "4000"),
        ("SELECT * FROM Customer WHERE", "4000"),
        ("SELECT * FROM Customer WHERE Id = '1' OR Id = '2'", "4000"),
        ("SELECT * FROM Customer WHERE (Id = '1')", "4000"),
        ("SELECT * FROM Customer WHERE Id != '1'", "4000"),
        ("SELECT * FROM Customer WHERE DisplayName = Acme", "4000"),
        ("SELECT * FROM Customer WHERE DisplayName = 'O'Neil'", "4000"),
        ("SELECT * FROM Customer WHERE Id IN ()", "4000"),
        ("SELECT * FROM Customer GROUP BY Id", "4000"),
        ("SELECT * FROM Customer MAXRESULTS 1.5", "4000"),
        ("SELECT * FROM Customer LIMIT 5", "4000"),
        ("SELECT * FROM Nothing", "4000"),
        ("DELETE FROM Customer", "4000"),
        ("SELECT * FROM Invoice WHERE PrivateNote LIKE '%x%'", "4001"),
        ("SELECT * FROM Invoice WHERE Colour = 'red'", "4001"),
        ("SELECT * FROM Invoice WHERE Line.Amount = '5'", "4001"),
        ("SELECT Colour FROM Invoice", "4001"),
        ("SELECT * FROM Invoice ORDERBY Colour", "4001"),
        ("SELECT * FROM Invoice WHERE TotalAmt > 'much'", "4001"),
        ("SELECT * FROM Invoice WHERE MetaData.CreateTime > 'soon'", "4001"),
    ],
)
def test_what_no_query_may_ask(filled: Books, text: str, code: str) -> None:
    assert filled.query_fault(text) == code


def test_a_query_may_be_posted(filled: Books) -> None:
    status, answer = filled.call("POST", "query", "select * from Customer where Id = '1'")
    assert (status, answer["QueryResponse"]["Customer"][0]["DisplayName"]) == (200, "Acme")


def changes(books: Books, since: str, *entities: str) -> Any:
    answer = books.get("cdc", entities=",".join(entities), changedSince=since)
    return answer["CDCResponse"][0]["QueryResponse"]


def test_changes_show_what_was_deleted_and_what_was_voided(filled: Books) -> None:
    since = filled.clock.now().isoformat()
    filled.post("invoice", {"Id": "1", "SyncToken": "0"}, operation="delete")
    filled.post("invoice", {"Id": "2", "SyncToken": "0"}, operation="void")
    customers, invoices, payments = changes(filled, since, "Customer", "invoice", "Payment")
    assert (customers, payments) == ({}, {})
    voided, deleted = invoices["Invoice"]
    assert (voided["Id"], voided["TotalAmt"]) == ("2", 0)
    assert deleted == {
        "domain": "QBO",
        "status": "Deleted",
        "Id": "1",
        "MetaData": {"LastUpdatedTime": "2026-01-05T02:04:00-08:00"},
    }
    assert filled.query("select * from Invoice where Id = '1'") == {}


def test_a_change_in_the_second_of_the_watermark_is_told(books: Books) -> None:
    books.clock.advance(0.4)
    books.customer()
    books.clock.advance(0.2)
    (told,) = changes(books, books.clock.now().isoformat(), "Customer")
    assert [each["Id"] for each in told["Customer"]] == ["1"]
    books.clock.advance(1)
    assert changes(books, books.clock.now().isoformat(), "Customer") == [{}]


def test_changes_have_a_cap_over_all_entities(opened: Opened) -> None:
    books = opened(cdc_objects_max=5)
    since = books.clock.now().isoformat()
    for n in range(4):
        books.invoice(books.customer(f"Customer {n}")["Id"])
        books.clock.advance(10)
    customers, invoices = changes(books, since, "Customer", "Invoice")
    assert [each["Id"] for each in customers["Customer"]] == ["1", "2", "3", "4"]
    assert [each["Id"] for each in invoices["Invoice"]] == ["1"]


def test_changes_reach_back_thirty_days(books: Books) -> None:
    since = books.clock.now()
    books.customer()
    books.clock.advance(30 * 86400)
    books.sign_in()
    assert changes(books, since.isoformat(), "Customer") != [{}]
    books.clock.advance(1)
    query = {"entities": "Customer", "changedSince": since.isoformat()}
    assert books.call("GET", "cdc", **query)[0] == 400
    assert books.call("GET", "cdc", **{**query, "changedSince": "last week"})[0] == 400
    recent = (since + timedelta(days=1)).isoformat()
    assert books.call("GET", "cdc", entities="TaxCode", changedSince=recent)[0] == 400
    assert books.call("GET", "cdc", entities="Customer")[0] == 400


def test_a_batch_ends_item_by_item(books: Books) -> None:
    customer = books.customer()["Id"]
    good = {"CustomerRef": {"value": customer}, "Line": [line("1")]}
    items = [
        {"bId": "a", "operation": "create", "Invoice": good},
        {"bId": "b", "operation": "create", "Invoice": {**good, "CustomerRef": {"value": "99"}}},
        {"bId": "c", "Query": "select count(*) from Invoice"},
        {"bId": "d", "operation": "update", "Customer": {"Id": customer, "SyncToken": "4", "sparse": True}},
        {"bId": "e", "operation": "update", "optionsData": "void", "Invoice": {"Id": "1", "SyncToken": "0"}},
        {"bId": "f", "operation": "delete", "Invoice": {"Id": "1", "SyncToken": "1"}},
        {"bId": "g", "operation": "explode", "Invoice": good},
        {"bId": "h", "operation": "create", "Spaceship": {}},
    ]
    ends = {each["bId"]: each for each in books.post("batch", {"BatchItemRequest": items})["BatchItemResponse"]}
    codes = {bid: end["Fault"]["Error"][0]["code"] for bid, end in ends.items() if "Fault" in end}
    assert codes == {"b": "2500", "d": "5010", "g": "500", "h": "2020"}
    assert ends["a"]["Invoice"]["Id"] == "1"
    assert ends["c"]["QueryResponse"] == {"totalCount": 1}
    assert ends["e"]["Invoice"]["TotalAmt"] == 0
    assert ends["f"]["Invoice"]["status"] == "Deleted"


def test_a_batch_has_thirty_items_at_most(books: Books) -> None:
    items = [{"bId": str(n), "operation": "create", "Customer": {"DisplayName": f"C{n}"}} for n in range(31)]
    assert books.refusal("batch", {"BatchItemRequest": items}) == "1040"
    assert books.query("select count(*) from Customer") == {"totalCount": 0}
    assert books.refusal("batch", {"BatchItemRequest": []}) == "2020"
    assert len(books.post("batch", {"BatchItemRequest": items[:30]})["BatchItemResponse"]) == 30


def test_two_companies_share_nothing(opened: Opened) -> None:
    books = opened(realms=[REALM, "9130350000000002"])
    books.customer()
    books.sign_in("9130350000000002")
    status, answer = books.call("GET", "query", query="select count(*) from Customer", realm="9130350000000002")
    assert (status, answer["QueryResponse"]) == (200, {"totalCount": 0})
    assert books.call("GET", "customer/1")[0] == 403
