"""Rules of records: names, forms, payments, versions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.quickbooks_simulator.conftest import Books, line

Opened = Callable[..., Books]


def test_a_display_name_is_unique_over_customers_vendors_and_employees(books: Books) -> None:
    books.customer("Acme")
    for path in ("customer", "vendor", "employee"):
        assert books.refusal(path, {"DisplayName": "ACME"}) == "6240"
    vendor = books.post("vendor", {"DisplayName": "Paper Ltd"})["Vendor"]
    assert books.refusal("customer", {"GivenName": "Paper", "FamilyName": "Ltd"}) == "6240"
    renamed = books.post("vendor", {**vendor_key(vendor), "sparse": True, "DisplayName": "PAPER LTD"})["Vendor"]
    assert renamed["DisplayName"] == "PAPER LTD"


def vendor_key(record: dict[str, Any]) -> dict[str, str]:
    return {"Id": record["Id"], "SyncToken": record["SyncToken"]}


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("customer", {}, "2020"),
        ("customer", {"DisplayName": "A:B"}, "6000"),
        ("customer", {"DisplayName": "x" * 101}, "2050"),
        ("customer", {"DisplayName": "A", "Colour": "red"}, "2010"),
        ("customer", {"DisplayName": "A", "BillAddr": {"Street": "1"}}, "2010"),
        ("customer", {"DisplayName": "A", "SalesTermRef": {"value": "99"}}, "2500"),
        ("customer", {"DisplayName": "A", "CurrencyRef": {"value": "EUR"}}, "6000"),
        ("customer", {"DisplayName": "A", "Taxable": "perhaps"}, "2080"),
        ("item", {"IncomeAccountRef": {"value": "2"}}, "2020"),
        ("item", {"Name": "A"}, "2020"),
        ("item", {"Name": "A", "IncomeAccountRef": {"value": "999"}}, "2500"),
        ("item", {"Name": "services", "IncomeAccountRef": {"value": "2"}}, "6240"),
        ("item", {"Name": "A", "Type": "Gadget", "IncomeAccountRef": {"value": "2"}}, "2170"),
        ("item", {"Name": "A", "Type": "Inventory", "IncomeAccountRef": {"value": "2"}}, "2020"),
        ("item", {"Name": "A", "UnitPrice": "cheap", "IncomeAccountRef": {"value": "2"}}, "2080"),
        ("item", {"Name": "x" * 101, "IncomeAccountRef": {"value": "2"}}, "2050"),
        ("term", {"Name": "Net 30", "DueDays": 30}, "6240"),
        ("account", {"Name": "Sales", "AccountType": "Income"}, "6240"),
        ("taxcode", {"Name": "X"}, "500"),
        ("estimate", {"CustomerRef": {"value": "1"}}, "500"),
        ("preferences", {"SalesFormsPrefs": {}}, "500"),
        ("customer", "{not json", "2010"),
    ],
)
def test_what_is_refused_of_a_name_list(books: Books, path: str, body: Any, code: str) -> None:
    assert books.refusal(path, body) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"CustomerRef": None}, "2020"),
        ({"CustomerRef": {"value": "999"}}, "2500"),
        ({"Line": []}, "2020"),
        ({"Line": [{"Amount": 1}]}, "2020"),
        ({"Line": [{"DetailType": "SalesItemLineDetail"}]}, "2020"),
        ({"Line": [line("1", ItemRef={"value": "999"})]}, "2500"),
        ({"Line": [line("1", tax="7")]}, "6100"),
        ({"Line": [line("10.00", Qty=3, UnitPrice="3.33")]}, "6070"),
        ({"Line": [line("-1")]}, "6000"),
        ({"Line": [{"DetailType": "GroupLineDetail", "Amount": 1}]}, "500"),
        ({"DocNumber": "x" * 22}, "2050"),
        ({"PrivateNote": "x" * 4001}, "2050"),
        ({"TxnDate": "soon"}, "2080"),
        ({"PrintStatus": "Perhaps"}, "2170"),
        ({"CurrencyRef": {"value": "EUR"}}, "6000"),
        ({"SalesTermRef": {"value": "99"}}, "2500"),
        ({"Totally": "unknown"}, "2010"),
    ],
)
def test_what_is_refused_of_an_invoice(books: Books, change: dict[str, Any], code: str) -> None:
    customer = books.customer()
    good = {"CustomerRef": {"value": customer["Id"]}, "Line": [line("1.00")]}
    assert books.refusal("invoice", {**good, **change}) == code
    assert books.query("select count(*) from Invoice") == {"totalCount": 0}
    assert books.post("invoice", good)["Invoice"]["TotalAmt"] == 1


def test_quantity_and_price_may_have_more_decimals_than_the_amount(books: Books) -> None:
    customer = books.customer()
    body = {"CustomerRef": {"value": customer["Id"]}, "Line": [line("0.13", Qty="0.25", UnitPrice="0.5000001")]}
    detail = books.post("invoice", body)["Invoice"]["Line"][0]["SalesItemLineDetail"]
    assert (detail["Qty"], detail["UnitPrice"]) == (Decimal("0.25"), Decimal("0.5000001"))


def test_an_inactive_record_keeps_its_page_but_cannot_be_used(books: Books) -> None:
    customer = books.customer()
    gone = books.post("customer", {**vendor_key(customer), "sparse": True, "Active": False})["Customer"]
    assert gone["DisplayName"] == "Acme (deleted)"
    assert books.query("select * from Customer") == {}
    assert len(books.query("select * from Customer where Active in (true, false)")["Customer"]) == 1
    body = {"CustomerRef": {"value": customer["Id"]}, "Line": [line("1")]}
    assert books.refusal("invoice", body) == "610"
    assert books.refusal("customer", vendor_key(gone), operation="delete") == "500"
    assert books.customer("Acme")["Id"] != customer["Id"]


def test_a_sparse_update_leaves_the_rest_and_a_full_one_clears_it(books: Books) -> None:
    customer = books.customer(CompanyName="Acme Inc.", Notes="good payer", SalesTermRef={"value": "3"})
    sparse = books.post("customer", {**vendor_key(customer), "sparse": True, "Notes": ""})["Customer"]
    assert "Notes" not in sparse
    assert sparse["CompanyName"] == "Acme Inc."
    full = books.post("customer", {**vendor_key(sparse), "DisplayName": "Acme"})["Customer"]
    assert "CompanyName" not in full
    assert "SalesTermRef" not in full
    assert full["SyncToken"] == "2"


def test_a_version_must_be_the_present_one(books: Books) -> None:
    customer = books.customer()
    change = {"Id": customer["Id"], "sparse": True, "Notes": "x"}
    assert books.refusal("customer", change) == "2020"
    assert books.refusal("customer", {**change, "SyncToken": "7"}) == "5010"
    assert books.refusal("customer", {**change, "Id": "999", "SyncToken": "0"}) == "610"
    assert books.read("Customer", customer["Id"])["SyncToken"] == "0"


def test_lines_are_replaced_and_keep_their_ids(books: Books) -> None:
    invoice = books.invoice(books.customer()["Id"], "1.00", "2.00")
    kept = {**line("2.50"), "Id": "2"}
    body = {**vendor_key(invoice), "sparse": True, "Line": [kept, line("4.00")]}
    changed = books.post("invoice", body)["Invoice"]
    assert [(each.get("Id"), each["Amount"]) for each in changed["Line"]] == [
        ("2", Decimal("2.5")),
        ("3", 4),
        (None, Decimal("6.5")),
    ]
    assert (changed["TotalAmt"], changed["Balance"]) == (Decimal("6.5"), Decimal("6.5"))


@pytest.mark.parametrize(
    ("settings", "fields", "total"),
    [
        ({}, {}, "300.00"),
        ({"sales_tax_percent": "8.25"}, {}, "308.25"),
        ({"sales_tax_percent": "8.25"}, {"discount": {"Amount": 30}}, "278.25"),
        ({"sales_tax_percent": "8.25"}, {"discount": {"Amount": 30}, "ApplyTaxAfterDiscount": True}, "277.43"),
        (
            {},
            {"discount": {"DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 12.5}}},
            "262.50",
        ),
        (
            {"sales_tax_percent": "8.25", "automated_sales_tax": True},
            {"TxnTaxDetail": {"TxnTaxCodeRef": {"value": "TAX"}, "TotalTax": "9.99"}},
            "309.99",
        ),
        ({"sales_tax_percent": "8.25"}, {"TxnTaxDetail": {"TotalTax": "9.99"}}, "308.25"),
    ],
)
def test_totals(opened: Opened, settings: dict[str, Any], fields: dict[str, Any], total: str) -> None:
    books = opened(**settings)
    lines = [line("100.00", tax="TAX"), line("200.00")]
    fields = dict(fields)
    if "discount" in fields:
        lines.append({"DetailType": "DiscountLineDetail", **fields.pop("discount")})
    body = {"CustomerRef": {"value": books.customer()["Id"]}, "Line": lines, **fields}
    invoice = books.post("invoice", body)["Invoice"]
    assert Decimal(invoice["TotalAmt"]) == Decimal(total)
    assert Decimal(invoice["Balance"]) == Decimal(total)


def test_the_due_date_follows_the_terms(books: Books) -> None:
    customer = books.customer(SalesTermRef={"value": "3"})["Id"]
    assert books.invoice(customer, TxnDate="2026-02-10")["DueDate"] == "2026-03-12"
    assert books.invoice(customer, TxnDate="2026-02-10", SalesTermRef={"value": "2"})["DueDate"] == "2026-02-25"
    assert books.invoice(customer, TxnDate="2026-02-10", DueDate="2026-02-11")["DueDate"] == "2026-02-11"
    plain = books.invoice(books.customer("B")["Id"])
    assert plain["DueDate"] == plain["TxnDate"] == "2026-01-05"


def test_numbers_are_given_unless_the_company_numbers_by_itself(opened: Opened) -> None:
    books = opened()
    customer = books.customer()["Id"]
    assert books.invoice(customer, DocNumber="1002")["DocNumber"] == "1002"
    assert [books.invoice(customer)["DocNumber"] for _ in range(2)] == ["1001", "1003"]
    own = opened(custom_txn_numbers=True)
    assert "DocNumber" not in own.invoice(own.customer()["Id"])
    assert own.get("preferences")["Preferences"]["SalesFormsPrefs"]["CustomTxnNumbers"] is True


def test_a_number_is_taken_by_type_if_the_company_minds(opened: Opened) -> None:
    books = opened()
    customer = books.customer()["Id"]
    invoice = books.invoice(customer, DocNumber="INV-1")
    body = {"CustomerRef": {"value": customer}, "Line": [line("1")], "DocNumber": "INV-1"}
    assert books.refusal("invoice", body) == "6140"
    assert books.post("creditmemo", body)["CreditMemo"]["DocNumber"] == "INV-1"
    same = {**vendor_key(invoice), "sparse": True, "DocNumber": "INV-1"}
    assert books.post("invoice", same)["Invoice"]["DocNumber"] == "INV-1"
    easy = opened(warn_duplicate_doc_number=False)
    customer = easy.customer()["Id"]
    assert easy.invoice(customer, DocNumber="7")["Id"] != easy.invoice(customer, DocNumber="7")["Id"]


def test_closed_books_take_no_change(opened: Opened) -> None:
    books = opened()
    customer = books.customer()["Id"]
    old = books.invoice(customer, TxnDate="2025-12-31")
    books.client.post("/_sandbox/settings", json={"closed_until": "2025-12-31"})
    key = vendor_key(old)
    body = {"CustomerRef": {"value": customer}, "Line": [line("1")], "TxnDate": "2025-12-31"}
    assert books.refusal("invoice", body) == "6210"
    assert books.refusal("invoice", {**key, "sparse": True, "TxnDate": "2026-01-01"}) == "6210"
    assert books.refusal("invoice", key, operation="void") == "6210"
    assert books.refusal("invoice", key, operation="delete") == "6210"
    assert books.invoice(customer, TxnDate="2026-01-01")["Balance"] == 100


def pay(customer: str, total: str, *lines: tuple[str, str], kind: str = "Invoice") -> dict[str, Any]:
    linked = [{"Amount": amount, "LinkedTxn": [{"TxnId": each, "TxnType": kind}]} for each, amount in lines]
    return {"CustomerRef": {"value": customer}, "TotalAmt": total, "Line": linked}


def test_a_payment_lowers_what_is_open_and_its_end_raises_it_again(books: Books) -> None:
    customer = books.customer()["Id"]
    first, second = books.invoice(customer, "100.00"), books.invoice(customer, "50.00")
    body = pay(customer, "140.00", (first["Id"], "100.00"), (second["Id"], "30.00"))
    payment = books.post("payment", body)["Payment"]
    assert payment["UnappliedAmt"] == 10
    assert [books.read("Invoice", each["Id"])["Balance"] for each in (first, second)] == [0, 20]
    assert books.read("Customer", customer)["Balance"] == 10
    assert books.read("Invoice", first["Id"])["SyncToken"] == "1"

    moved = {**vendor_key(payment), **pay(customer, "140.00", (second["Id"], "50.00"))}
    assert books.post("payment", moved)["Payment"]["UnappliedAmt"] == 90
    assert [books.read("Invoice", each["Id"])["Balance"] for each in (first, second)] == [100, 0]
    assert books.read("Invoice", first["Id"])["LinkedTxn"] == []

    books.post("payment", {"Id": payment["Id"], "SyncToken": "1"}, operation="delete")
    assert books.read("Invoice", second["Id"])["Balance"] == 50
    assert books.read("Customer", customer)["Balance"] == 150


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"TotalAmt": None}, "2020"),
        ({"TotalAmt": -1}, "6000"),
        ({"TotalAmt": 50}, "6000"),
        ({"Line": [{"Amount": 101, "LinkedTxn": [{"TxnId": "1", "TxnType": "Invoice"}]}], "TotalAmt": 200}, "6000"),
        ({"Line": [{"Amount": 1, "LinkedTxn": [{"TxnId": "99", "TxnType": "Invoice"}]}]}, "2500"),
        ({"Line": [{"Amount": 1, "LinkedTxn": [{"TxnId": "1", "TxnType": "Bill"}]}]}, "2170"),
        ({"Line": [{"Amount": 1}]}, "2020"),
        ({"PaymentRefNum": "x" * 22}, "2050"),
    ],
)
def test_what_is_refused_of_a_payment(books: Books, change: dict[str, Any], code: str) -> None:
    customer = books.customer()["Id"]
    invoice = books.invoice(customer)
    body = {**pay(customer, "100.00", (invoice["Id"], "100.00")), **change}
    assert books.refusal("payment", body) == code
    assert books.read("Invoice", invoice["Id"])["SyncToken"] == "0"


def test_nobody_pays_the_invoice_of_another(books: Books) -> None:
    invoice = books.invoice(books.customer()["Id"])
    other = books.customer("Other")["Id"]
    assert books.refusal("payment", pay(other, "100.00", (invoice["Id"], "100.00"))) == "620"


def test_a_credit_memo_is_applied_by_a_payment_of_zero(books: Books) -> None:
    customer = books.customer()["Id"]
    invoice = books.invoice(customer, "100.00")
    credit = books.post("creditmemo", {"CustomerRef": {"value": customer}, "Line": [line("40.00")]})["CreditMemo"]
    assert (credit["RemainingCredit"], books.read("Customer", customer)["Balance"]) == (40, 60)
    body = pay(customer, "0", (invoice["Id"], "40.00"))
    body["Line"] += pay(customer, "0", (credit["Id"], "40.00"), kind="CreditMemo")["Line"]
    books.post("payment", body)
    assert books.read("Invoice", invoice["Id"])["Balance"] == 60
    assert books.read("CreditMemo", credit["Id"])["RemainingCredit"] == 0
    assert books.read("Customer", customer)["Balance"] == 60


def test_voiding_a_paid_invoice_frees_its_payment(books: Books) -> None:
    customer = books.customer()["Id"]
    invoice = books.invoice(customer, "100.00", PrivateNote="[ref 1]")
    payment = books.post("payment", pay(customer, "100.00", (invoice["Id"], "100.00")))["Payment"]
    voided = books.post("invoice", {"Id": invoice["Id"], "SyncToken": "1"}, operation="void")["Invoice"]
    assert (voided["TotalAmt"], voided["Balance"], voided["SyncToken"]) == (0, 0, "2")
    assert voided["PrivateNote"] == "Voided - [ref 1]"
    assert voided["LinkedTxn"] == []
    freed = books.read("Payment", payment["Id"])
    assert (freed["UnappliedAmt"], freed["Line"]) == (100, [])
    assert books.read("Customer", customer)["Balance"] == -100


def test_only_invoices_and_payments_are_voided(books: Books) -> None:
    credit = books.post("creditmemo", {"CustomerRef": {"value": books.customer()["Id"]}, "Line": [line("40.00")]})[
        "CreditMemo"
    ]
    assert books.refusal("creditmemo", vendor_key(credit), operation="void") == "500"


def test_what_was_paid_is_more_than_a_new_total(books: Books) -> None:
    customer = books.customer()["Id"]
    invoice = books.invoice(customer, "100.00")
    books.post("payment", pay(customer, "80.00", (invoice["Id"], "80.00")))
    body = {"Id": invoice["Id"], "SyncToken": "1", "sparse": True, "Line": [line("79.99")]}
    assert books.refusal("invoice", body) == "6000"
    assert books.post("invoice", {**body, "Line": [line("80.00")]})["Invoice"]["Balance"] == 0


def test_times_are_pacific_with_whole_seconds(books: Books) -> None:
    books.clock.advance(0.75)
    answer = books.post("customer", {"DisplayName": "A"})
    assert answer["Customer"]["MetaData"]["CreateTime"] == "2026-01-05T02:00:00-08:00"
    assert answer["time"] == "2026-01-05T02:00:00.750-08:00"
    books.clock.advance(180 * 86400)
    books.sign_in()
    assert books.customer("B")["MetaData"]["CreateTime"].endswith("-07:00")


def test_merged_customers_leave_one_that_has_all_documents(books: Books) -> None:
    loser, survivor = books.customer("Acme"), books.customer("Acme Ltd")
    invoice = books.post("invoice", {"CustomerRef": {"value": loser["Id"]}, "Line": [line("10.00")]})["Invoice"]

    merged = books.client.post("/_sandbox/merge", json={"loser": loser["Id"], "survivor": survivor["Id"]})

    assert merged.status_code == 200
    moved = books.get(f"invoice/{invoice['Id']}")["Invoice"]
    assert (moved["CustomerRef"]["value"], moved["TotalAmt"]) == (survivor["Id"], Decimal("10.00"))
    assert books.get(f"customer/{survivor['Id']}")["Customer"]["Balance"] == Decimal("10.00")
    left = books.get(f"customer/{loser['Id']}")["Customer"]
    assert (left["Active"], left["DisplayName"], left["Balance"]) == (False, "Acme (deleted)", Decimal(0))
    assert books.refusal("invoice", {"CustomerRef": {"value": loser["Id"]}, "Line": [line("1.00")]}) == "610"


@pytest.mark.parametrize(("loser", "survivor"), [("1", "1"), ("1", "99"), ("99", "1")])
def test_what_cannot_be_merged_is_refused(books: Books, loser: str, survivor: str) -> None:
    assert books.customer("Acme")["Id"] == "1"

    assert books.client.post("/_sandbox/merge", json={"loser": loser, "survivor": survivor}).status_code == 400


def sub_customer(books: Books, name: str, parent: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = books.customer(name, ParentRef={"value": parent["Id"]}, Job=True)
    return made


def moved(books: Books, record: dict[str, Any], parent: dict[str, Any] | None) -> Any:
    reference = {"value": parent["Id"]} if parent is not None else None
    today = books.read("Customer", record["Id"])
    return {**vendor_key(today), "sparse": True, "ParentRef": reference, "Job": parent is not None}


def test_a_sub_customer_has_its_parents_path_and_the_next_level(books: Books) -> None:
    top = books.customer("Acme")
    north = sub_customer(books, "North", top)
    leeds = sub_customer(books, "Leeds", north)
    assert (leeds["FullyQualifiedName"], leeds["Level"], leeds["Job"]) == ("Acme:North:Leeds", 2, True)
    assert (top["Job"], "Level" in top) == (False, False)
    assert books.refusal("customer", {"DisplayName": "North"}) == "6240"


@pytest.mark.parametrize(
    "body", [{"Job": True}, {"ParentRef": {"value": "1"}}, {"ParentRef": {"value": "1"}, "Job": False}]
)
def test_a_parent_and_job_belong_together(books: Books, body: dict[str, Any]) -> None:
    books.customer("Acme")
    assert books.refusal("customer", {"DisplayName": "North", **body}) == "6150"


def test_another_parent_moves_all_below(books: Books) -> None:
    first, second = books.customer("Acme"), books.customer("Globex")
    north = sub_customer(books, "North", first)
    leeds = sub_customer(books, "Leeds", north)
    books.post("customer", moved(books, north, second))
    assert books.read("Customer", leeds["Id"])["FullyQualifiedName"] == "Globex:North:Leeds"
    books.post("customer", moved(books, north, None))
    assert books.read("Customer", north["Id"])["Job"] is False
    below = books.read("Customer", leeds["Id"])
    assert (below["FullyQualifiedName"], below["Level"]) == ("North:Leeds", 1)


def test_no_more_than_five_levels_and_no_circle(books: Books) -> None:
    line_ = [books.customer("0")]
    for number in range(1, 5):
        line_.append(sub_customer(books, str(number), line_[-1]))
    below = {"DisplayName": "5", "ParentRef": {"value": line_[-1]["Id"]}, "Job": True}
    assert books.refusal("customer", below) == "6000"
    other = books.customer("Other")
    assert books.refusal("customer", moved(books, line_[0], other)) == "6000"
    assert books.refusal("customer", moved(books, line_[0], line_[2])) == "6000"
    assert books.refusal("customer", moved(books, other, other)) == "6000"


def test_a_parent_that_is_not_there_or_inactive_is_refused(books: Books) -> None:
    top = books.customer("Acme")
    assert books.refusal("customer", {"DisplayName": "N", "ParentRef": {"value": "999"}, "Job": True}) == "2500"
    books.post("customer", {**vendor_key(top), "sparse": True, "Active": False})
    assert books.refusal("customer", {"DisplayName": "N", "ParentRef": {"value": top["Id"]}, "Job": True}) == "610"
