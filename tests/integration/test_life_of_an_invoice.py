"""What accountant and seller do to one deal and its invoice, through the real connectors against both simulators."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.whole_way import ACT_SECRETS, SYNC, TENANT, WholeWay, whole_way
from tieout.domain.changes import Change, Origin, Unsynced
from tieout.domain.records import Kind, Record
from tieout.engine.ends import ApplyReport
from tieout_sandbox import dataset

RAISED = {"requests_per_minute": 60_000, "requests_per_second": 60_000, "batches_per_minute": 60_000}
WON = [deal for deal in dataset.read().opportunities if deal["status"] == "Won"]


@dataclass
class Desk:
    """Both systems as their users see them."""

    way: WholeWay

    def sync(self, record_id: str, *, kind: Kind = Kind.DEAL, connection: str = "act") -> ApplyReport:
        change = Change(TENANT, connection, kind, record_id, self.way.clock.now(), Origin.POLL)
        self.way.queue.send([change])
        report = self.way.pump()
        self.way.clock.advance(61)
        return report

    def act(self, method: str, path: str, body: object = None) -> Any:
        pair = base64.b64encode(f"{ACT_SECRETS['username']}:{ACT_SECRETS['password']}".encode()).decode()
        database = {"Act-Database-Name": "H1234567890"}
        base = f"{self.way.act_url}/act.web.api"
        token = requests.get(f"{base}/authorize", headers={"Authorization": f"Basic {pair}", **database}, timeout=10)
        answer = requests.request(
            method,
            f"{base}/api{path}",
            json=body,
            headers={"Authorization": f"Bearer {token.text.strip().strip('"')}", **database},
            timeout=10,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def edit(self, path: str, **fields: object) -> None:
        self.act("PUT", path, {**self.act("GET", path), **fields})

    def line(self, deal: str, **fields: object) -> None:
        """Replace the deal's only line."""
        (line,) = self.act("GET", f"/opportunities/{deal}/products")
        self.act("DELETE", f"/opportunities/{deal}/products/{line['id']}")
        kept = {name: line[name] for name in ("name", "quantity", "price", "total", "discount") if name in line}
        self.act("POST", f"/opportunities/{deal}/products", {**kept, **fields})

    def books(self, method: str, path: str, body: object = None, **query: str) -> Any:
        secrets = self.way.deployment.secrets.read(TENANT, "quickbooks")
        connection = self.way.deployment.config.connection(TENANT, "quickbooks")
        assert connection is not None
        answer = requests.request(
            method,
            f"{self.way.books_url}/v3/company/{connection.account}{path}",
            params={"minorversion": "75", **query},
            json=body,
            headers={"Authorization": f"Bearer {secrets['access_token']}", "Accept": "application/json"},
            timeout=10,
        )
        assert answer.ok, answer.text
        return answer.json()

    def pay(self, invoice: str, amount: str) -> str:
        self.way.call(self.way.books_url, "POST", "/_sandbox/pay", {"invoice": invoice, "amount": amount})
        return str(self.books("GET", f"/invoice/{invoice}")["Invoice"]["LinkedTxn"][-1]["TxnId"])

    def invoice(self) -> Record:
        page = self.connector("quickbooks").changes(Kind.INVOICE, None)
        (invoice,) = page.records
        return invoice

    def deal(self, record_id: str) -> dict[str, Any]:
        (record,) = self.connector("act").read(Kind.DEAL, [record_id])
        custom: Any = record.fields["custom_fields"]
        return dict(custom)

    def connector(self, name: str) -> Any:
        connection = self.way.deployment.config.connection(TENANT, name)
        assert connection is not None
        return self.way.deployment.connect(connection)

    def unsynced(self) -> list[Unsynced]:
        return list(self.way.deployment.links.unsynced(TENANT))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with whole_way(monkeypatch, **RAISED) as way:
        way.connect(**RAISED)
        yield Desk(way)


@pytest.fixture
def deal(desk: Desk) -> dict[str, Any]:
    """A won deal whose invoice stands."""
    assert desk.sync(WON[0]["id"]).parked == 0
    return WON[0]


def test_payment_that_is_deleted_opens_the_deal_again(desk: Desk, deal: dict[str, Any]):
    invoice = desk.invoice()
    payment = desk.pay(invoice.id, "100")
    desk.sync(invoice.id, kind=Kind.INVOICE, connection="quickbooks")
    paid = desk.deal(deal["id"])
    assert (paid["payment_status"], Decimal(paid["amount_paid"])) == ("Partly paid", Decimal(100))
    assert paid["paid_on"]

    token = desk.books("GET", f"/payment/{payment}")["Payment"]["SyncToken"]
    desk.books("POST", "/payment", {"Id": payment, "SyncToken": token}, operation="delete")
    desk.sync(invoice.id, kind=Kind.INVOICE, connection="quickbooks")

    today = desk.deal(deal["id"])
    assert (today["payment_status"], Decimal(today["amount_paid"]), today["paid_on"]) == ("Open", Decimal(0), None)
    assert Decimal(today["balance_due"]) == invoice.fields["total"]
    assert desk.unsynced() == []


def test_invoice_that_is_voided_shows_in_the_deal(desk: Desk, deal: dict[str, Any]):
    invoice = desk.invoice()
    desk.books("POST", "/invoice", {"Id": invoice.id, "SyncToken": invoice.version}, operation="void")

    desk.sync(invoice.id, kind=Kind.INVOICE, connection="quickbooks")

    assert desk.deal(deal["id"])["payment_status"] == "Voided"
    (parked,) = desk.unsynced()
    assert parked.cause == "target-gone-invoices", "the deal is still won: a person is told, once"
    assert f"`tieout renew {SYNC}/invoices/{deal['id']} --tenant {TENANT}`" in parked.next_step


@pytest.mark.usefixtures("deal")
def test_our_own_invoice_that_comes_back_costs_reads_only(desk: Desk):
    invoice = desk.invoice()
    desk.way.forget_calls()
    updates = desk.way.units.calls["update"]

    report = desk.sync(invoice.id, kind=Kind.INVOICE, connection="quickbooks")

    assert (report.skipped, report.updated) == (1, 0)
    assert [calls["writes"] for calls in desk.way.calls().values()] == [0, 0]
    assert desk.way.units.calls["update"] == updates


def test_deal_changed_after_a_payment_updates_its_invoice(desk: Desk, deal: dict[str, Any]):
    """The payment changed the invoice's version, and a line with a discount keeps its amount alone."""
    desk.line(deal["id"], quantity=2, price=1000, total=1800, discount=10)
    assert desk.sync(deal["id"]).parked == 0
    desk.pay(desk.invoice().id, "100")
    desk.line(deal["id"], quantity=2, price=1000, total=1900, discount=5)

    report = desk.sync(deal["id"])

    assert (report.updated, desk.unsynced()) == (1, [])
    assert (desk.invoice().fields["total"], desk.invoice().fields["paid"]) == (1900, 100)


def test_mail_address_that_is_removed_in_the_crm_is_removed_in_the_books(desk: Desk, deal: dict[str, Any]):
    company = deal["companies"][0]["id"]
    (record,) = desk.connector("act").read(Kind.COMPANY, [company])
    (customer,) = desk.connector("quickbooks").changes(Kind.CUSTOMER, None).records
    assert record.fields["contact"]["email"] == customer.fields["email"] is not None
    for contact in desk.act("GET", f"/contacts?$filter=companyID eq '{company}'"):
        desk.edit(f"/contacts/{contact['id']}", emailAddress=None)

    report = desk.sync(company, kind=Kind.COMPANY)

    (customer,) = desk.connector("quickbooks").changes(Kind.CUSTOMER, None).records
    assert (report.updated, customer.fields["email"]) == (1, None)
    assert desk.sync(company, kind=Kind.COMPANY).unchanged == 1


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Müller: Söhne & \"Co\" 'Oslo'", "Müller - Söhne & \"Co\" 'Oslo'"),
        ("株式会社 タイアウト 🧾", "株式会社 タイアウト 🧾"),
        ("Back\\slash O'Neil", "Back\\slash O'Neil"),
        ("x" * 300, "x" * 100),
    ],
    ids=["signs", "unicode", "backslash", "long"],
)
def test_unusual_company_names_become_customers_once(desk: Desk, name: str, written: str):
    deal = WON[0]
    desk.edit(f"/companies/{deal['companies'][0]['id']}", name=name)

    assert desk.sync(deal["id"]).parked == 0
    assert desk.sync(deal["id"]).unchanged == 1

    (customer,) = desk.connector("quickbooks").changes(Kind.CUSTOMER, None).records
    assert customer.fields["name"] == written


def test_two_deals_with_one_number_park_the_second_in_clear_words(desk: Desk, deal: dict[str, Any]):
    other = WON[1]
    desk.edit(f"/opportunities/{other['id']}", sourceId=deal["sourceId"])

    report = desk.sync(other["id"])

    (parked,) = desk.unsynced()
    assert (report.parked, parked.change.id, parked.field, parked.code) == (1, other["id"], "number", "6140")
    assert "already has a document with this number" in parked.reason
    assert desk.way.summary()["invoices"] == 1


def test_number_that_is_too_long_is_cut_and_stays_the_same(desk: Desk):
    deal = WON[0]
    desk.edit(f"/opportunities/{deal['id']}", sourceId="OPPORTUNITY-2026-000000017")

    assert desk.sync(deal["id"]).parked == 0
    assert desk.sync(deal["id"]).unchanged == 1
    assert desk.invoice().fields["number"] == "OPPORTUNITY-2026-0000"


@pytest.mark.parametrize("number", [None, "", "  "])
def test_deal_without_a_number_gets_one(desk: Desk, number: str | None):
    deal = WON[0]
    desk.edit(f"/opportunities/{deal['id']}", sourceId=number)

    assert desk.sync(deal["id"]).parked == 0
    assert desk.sync(deal["id"]).unchanged == 1
    assert desk.invoice().fields["number"]


def test_name_that_a_vendor_has_is_parked_with_where_to_look(desk: Desk):
    deal = WON[0]
    name = desk.act("GET", f"/companies/{deal['companies'][0]['id']}")["name"]
    desk.books("POST", "/vendor", {"DisplayName": name})

    desk.sync(deal["id"])

    assert {one.step for one in desk.unsynced()} == {"customers", "invoices"}
    assert all("vendors" in one.reason and one.code == "6240" for one in desk.unsynced())


def test_deal_of_no_amount_becomes_an_invoice_of_zero(desk: Desk):
    deal = WON[0]
    desk.line(deal["id"], price=0, total=0)

    assert desk.sync(deal["id"]).parked == 0
    assert desk.sync(deal["id"]).unchanged == 1
    assert desk.invoice().fields["total"] == 0


def test_negative_deal_is_parked_not_written(desk: Desk):
    deal = WON[0]
    desk.line(deal["id"], price=-5, total=-5)

    report = desk.sync(deal["id"])

    (parked,) = desk.unsynced()
    assert (report.parked, desk.way.summary()["invoices"]) == (1, 0)
    assert "zero or greater" in parked.reason


def test_invoice_whose_item_was_made_inactive_is_parked_in_the_books_words(desk: Desk, deal: dict[str, Any]):
    used = desk.invoice().fields["lines"][0]["item"]
    (item,) = desk.connector("quickbooks").read(Kind.ITEM, [used])
    desk.books("POST", "/item", {"Id": item.id, "SyncToken": item.version, "sparse": True, "Active": False})
    other = next(one for one in WON[1:] if one["product"] == deal["product"])

    desk.sync(other["id"])

    (parked,) = desk.unsynced()
    assert (parked.code, parked.step) == ("610", "invoices")
    assert "active" in parked.next_step


def test_deal_whose_company_is_deleted_says_so(desk: Desk):
    deal = WON[0]
    desk.act("DELETE", f"/companies/{deal['companies'][0]['id']}")

    desk.sync(deal["id"])

    (parked,) = [one for one in desk.unsynced() if one.step == "invoices"]
    assert "company" in parked.reason
