"""What the people of each provider do on the stage, against its simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from rich.console import Console
from typer.testing import CliRunner

from tieout.connectors.outlook.deals import note_of
from tieout.mapping import compile_sync, preset
from tieout_sandbox import cli, dataset
from tieout_sandbox.served import Server, StageError
from tieout_sandbox.sides import BooksSide, CrmSide, Deal, Editable
from tieout_sandbox.simulators import NOT_SERVED, SIMULATORS, books_side, create_app, crm_side, with_side
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.control import ON_CLOSE, OPERATOR_HEADER
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.simulators.outlook.state import OutlookSettings, OutlookState
from tieout_sandbox.simulators.quickbooks_desktop.side import QuickBooksDesktop
from tieout_sandbox.simulators.quickbooks_desktop.webconnector import Cut
from tieout_sandbox.simulators.quickbooks_online.side import QuickBooksOnline
from tieout_sandbox.simulators.server import serve
from tieout_sandbox.simulators.tally.side import Tally
from tieout_sandbox.simulators.tryton.seed import ABROAD
from tieout_sandbox.simulators.tryton.side import Tryton
from tieout_sandbox.simulators.zoho_books.side import ZohoBooks
from tieout_sandbox.stage import sides
from tieout_sandbox.tour import BY_HAND, Tour

DEALS = 90
DATA = dataset.read(deals=DEALS)
ROWS: Mapping[str, Any] = {row["sourceId"]: row for row in DATA.opportunities}
WON = {number for number, row in ROWS.items() if row["status"] == "Won"}
DAY = date(2017, 12, 31)


@pytest.fixture(params=with_side("CRM"))
def crm(request):
    """A CRM with the data set in it."""
    with serve(create_app(request.param, data="crm-sales-opportunities", deals=DEALS)) as url:
        side = crm_side(request.param)(request.param, DEALS)
        side.simulator = Server(url)
        yield side


def quickbooks_invoice(books: QuickBooksOnline, number: str) -> None:
    customer = books.call("POST", "/customer", {"DisplayName": f"Buyer {number}"})["Customer"]["Id"]
    detail = {
        "ItemRef": {"value": books.call("GET", "/query", query="SELECT * FROM Item")["QueryResponse"]["Item"][0]["Id"]}
    }
    line = {"DetailType": "SalesItemLineDetail", "Amount": 120, "SalesItemLineDetail": detail}
    body = {"CustomerRef": {"value": customer}, "DocNumber": number, "TxnDate": "2017-12-31", "Line": [line]}
    books.call("POST", "/invoice", body)


def zoho_invoice(books: ZohoBooks, number: str) -> None:
    customer = books.call("POST", "/contacts", {"contact_name": f"Buyer {number}"})["contact"]["contact_id"]
    item = books.call("POST", "/items", {"name": f"Hours {number}", "rate": 120})["item"]["item_id"]
    line = {"item_id": item, "rate": 120, "quantity": 1}
    body = {"customer_id": customer, "invoice_number": number, "date": "2017-12-31", "line_items": [line]}
    made = books.call("POST", "/invoices", body, query="&ignore_auto_number_generation=true")["invoice"]
    books.call("POST", f"/invoices/{made['invoice_id']}/status/sent")


def desktop_invoice(books: QuickBooksDesktop, number: str) -> None:
    account = "<SalesOrPurchase><AccountRef><FullName>Sales</FullName></AccountRef></SalesOrPurchase>"
    line = f"<ItemRef><FullName>Hours {number}</FullName></ItemRef><Amount>120.00</Amount>"
    head = f"<CustomerRef><FullName>Buyer {number}</FullName></CustomerRef><TxnDate>2017-12-31</TxnDate>"
    sent = (
        f"<CustomerAddRq><CustomerAdd><Name>Buyer {number}</Name></CustomerAdd></CustomerAddRq>"
        f"<ItemServiceAddRq><ItemServiceAdd><Name>Hours {number}</Name>{account}</ItemServiceAdd></ItemServiceAddRq>"
        f"<InvoiceAddRq><InvoiceAdd>{head}<RefNumber>{number}</RefNumber><InvoiceLineAdd>{line}</InvoiceLineAdd>"
        "</InvoiceAdd></InvoiceAddRq>"
    )
    answer = requests.post(f"{books.simulator.url}/_sandbox/do", data=sent.encode(), timeout=10)
    assert answer.text.count('statusSeverity="Info"') == 3, answer.text


def tally_invoice(books: Tally, number: str) -> None:
    party = f"Buyer {number}"
    ledger = f'<LEDGER NAME="{party}" ACTION="Create"><NAME.LIST><NAME>{party}</NAME></NAME.LIST>'
    tally_import(books, "All Masters", f"{ledger}<PARENT>Sundry Debtors</PARENT></LEDGER>")
    bill = f"<BILLALLOCATIONS.LIST><NAME>{number}</NAME><BILLTYPE>New Ref</BILLTYPE><AMOUNT>-120.00</AMOUNT>"
    tally_import(
        books,
        "Vouchers",
        '<VOUCHER VCHTYPE="Sales" ACTION="Create"><DATE>20171231</DATE><VOUCHERTYPENAME>Sales</VOUCHERTYPENAME>'
        f"<REFERENCE>{number}</REFERENCE><PARTYLEDGERNAME>{party}</PARTYLEDGERNAME><ISINVOICE>No</ISINVOICE>"
        f"<LEDGERENTRIES.LIST><LEDGERNAME>{party}</LEDGERNAME><ISDEEMEDPOSITIVE>Yes</ISDEEMEDPOSITIVE>"
        f"<AMOUNT>-120.00</AMOUNT>{bill}</BILLALLOCATIONS.LIST></LEDGERENTRIES.LIST>"
        "<LEDGERENTRIES.LIST><LEDGERNAME>Sales</LEDGERNAME><ISDEEMEDPOSITIVE>No</ISDEEMEDPOSITIVE>"
        "<AMOUNT>120.00</AMOUNT></LEDGERENTRIES.LIST></VOUCHER>",
    )


def tally_import(books: Tally, what: str, message: str) -> None:
    text = (
        f"<ENVELOPE><HEADER><VERSION>1</VERSION><TALLYREQUEST>Import</TALLYREQUEST><TYPE>Data</TYPE><ID>{what}</ID>"
        f"</HEADER><BODY><DATA><TALLYMESSAGE>{message}</TALLYMESSAGE></DATA></BODY></ENVELOPE>"
    )
    headers = {"Content-Type": "text/xml;charset=utf-8", OPERATOR_HEADER: "1"}
    answer = requests.post(books.simulator.url, data=text.encode(), headers=headers, timeout=10)
    assert "<CREATED>1<" in answer.text, answer.text


MAKES: Mapping[str, Callable[..., None]] = {
    "quickbooks_desktop": desktop_invoice,
    "quickbooks_online": quickbooks_invoice,
    "tally": tally_invoice,
    "zoho_books": zoho_invoice,
}
LIMITS = {"quickbooks_online": {"requests_per_second": 1000}, "zoho_books": {"requests_per_minute": 1000}}


@contextmanager
def books_with_two(provider: str) -> Iterator[BooksSide]:
    with serve(create_app(provider, **LIMITS.get(provider, {}))) as url:
        side = books_side(provider)(provider)
        side.simulator = Server(url)
        for number in ("A-1", "A-2"):
            MAKES[provider](side, number)
        yield side


@pytest.fixture(params=MAKES)
def books(request):
    """Books with two invoices over 120, A-1 and A-2."""
    with books_with_two(request.param) as side:
        yield side


@pytest.fixture(params=[provider for provider in MAKES if issubclass(books_side(provider), Editable)])
def editable(request):
    """Likewise, where invoices can be changed."""
    with books_with_two(request.param) as side:
        yield side


# The data set


def test_some_deals_are_spread_over_all_of_them():
    whole = [row["id"] for row in dataset.read().opportunities]
    places = [whole.index(row["id"]) for row in DATA.opportunities]
    assert len(places) == len(set(places)) == DEALS
    assert {after - before for before, after in pairwise(places)} <= {97, 98}
    assert {row["status"] for row in DATA.opportunities} == {"Won", "Lost", "Open"}
    assert dataset.read(deals=dataset.DEALS + 1) == dataset.read()
    assert len(whole) == dataset.DEALS


def test_outlook_keeps_the_deals_in_the_documented_form():
    state = OutlookState(OutlookSettings(data="crm-sales-opportunities", deals=DEALS), WallClock())
    tasks = [item.row for item in state.inside("todoTask", state.deals)]
    notes = {note.fields["reference"]: note for note in (note_of(row["body"]["content"]) for row in tasks)}
    assert {number: note.amount for number, note in notes.items()} == {
        number: Decimal(str(row["productTotal"])) for number, row in ROWS.items()
    }
    assert {note.fields.get("customer", "") for note in notes.values()} == {customer(row) for row in ROWS.values()}
    assert sum(row["categories"] == ["Won"] for row in tasks) == len(WON)
    assert all(notes[number].closed_on for number in WON)


def test_tryton_knows_the_countries_of_the_data_set():
    named = {row["address"]["country"] for row in DATA.companies}
    assert named - {"United States", "Philipines"} <= set(ABROAD.values())
    assert "Philippines" in ABROAD.values()


def customer(row: Mapping[str, Any]) -> str:
    return row["companies"][0]["name"] if row["companies"] else ""


# The sales team


def test_won_deals_are_those_of_the_data_set(crm: CrmSide):
    found = crm.won(DEALS)
    assert {(deal.number, deal.customer, deal.total) for deal in found} == {
        (number, customer(ROWS[number]), Decimal(str(ROWS[number]["productTotal"]))) for number in WON
    }
    assert crm.won(3) == found[:3]
    assert crm.deals_count() == DEALS


def test_a_deal_has_another_amount_and_its_own_again(crm: CrmSide):
    deal = crm.won(1)[0]
    crm.reprice(deal, deal.total + 1)
    assert crm.deal(deal.id).total == deal.total + 1
    crm.reprice(deal, deal.total)
    assert crm.deal(deal.id).total == deal.total
    assert crm.won(1)[0] == deal


def test_an_open_deal_is_won(crm: CrmSide):
    first, second = crm.open(2)
    assert first.customer
    crm.win(first, DAY)
    assert crm.open(1) == [second]
    assert crm.deal(first.id).number in {deal.number for deal in crm.won(DEALS)}


def test_a_mistake_is_mended(crm: CrmSide):
    before = crm.open(3)
    assert crm.make_mistake(before[0], DAY)
    assert crm.open(3) != before
    crm.mend_mistake(before[0])
    assert crm.open(3) == before


# The bookkeepers


def test_customers_pay_a_part_or_all(books: BooksSide):
    books.pay("A-1", Decimal("50.50"))
    books.pay("A-2")
    assert {(one.number, one.total, one.paid) for one in books.invoices()} == {
        ("A-1", Decimal(120), Decimal("50.50")),
        ("A-2", Decimal(120), Decimal(120)),
    }
    assert books.invoice("A-1").customer == "Buyer A-1"


def test_an_invoice_gets_another_number_by_hand(editable: Any):
    before = editable.invoice("A-1")
    editable.renumber(before, BY_HAND)
    assert editable.invoice(BY_HAND).id == before.id
    with pytest.raises(StageError):
        editable.invoice("A-1")


def test_books_are_closed_and_opened(editable: Any):
    editable.close(DAY)
    with pytest.raises(StageError):
        editable.renumber(editable.invoice("A-1"), "B-1")
    editable.close(None)
    editable.renumber(editable.invoice("A-1"), "B-1")


def test_what_people_do_is_no_write_of_ours(books: BooksSide):
    books.pay("A-1")
    assert books.writes() == 0


def test_nobody_changes_what_is_posted():
    changed = {name for name in with_side("BOOKS") if issubclass(books_side(name), Editable)}
    assert changed == {"quickbooks_desktop", "quickbooks_online", "zoho_books"}


@pytest.mark.parametrize(
    ("path", "kind", "read", "write"),
    [
        ("/qbxml/write", {"kind": "lost_answer"}, None, Cut.ANSWER),
        ("/qbxml/read", {"kind": "reset"}, Cut.REQUEST, None),
        ("/qbxml/*", {"kind": "status", "status": 503}, Cut.REQUEST, Cut.REQUEST),
    ],
)
def test_faults_cut_off_the_runs_of_the_web_connector(path, kind, read, write):
    """What it fetches passes no route of the simulator."""
    plan = FaultPlan.model_validate({"faults": [{"match": {"method": "POST", "path": path}, **kind}]})
    app = create_app("quickbooks_desktop", faults=plan)
    runs = app.extensions["simulator"].web_connector
    try:
        assert runs.cut('<QBXMLMsgsRq onError="stopOnError">') is read
        assert runs.cut('<QBXMLMsgsRq onError="stopOnError" newMessageSetID="1">') is write
    finally:
        app.extensions[ON_CLOSE]()


# Pairs


def test_each_simulator_can_be_played_with():
    assert set(with_side("CRM")) | set(with_side("BOOKS")) == set(SIMULATORS) - NOT_SERVED


@pytest.mark.parametrize("crm_name", with_side("CRM"))
@pytest.mark.parametrize("books_name", with_side("BOOKS"))
def test_a_pair_has_the_connections_that_its_preset_names(crm_name, books_name):
    source, target = sides(crm_name, books_name)
    sync = compile_sync(preset(f"{crm_name}-{books_name}"))
    assert (source.connection, target.connection) == (sync.source, sync.target)
    assert source.deals_count() == (target.deals_max or dataset.DEALS)
    assert sides(crm_name, books_name, 77)[0].deals_count() == 77


@pytest.mark.parametrize("options", [["--crm", "tally"], ["--books", "act"], ["--deals", "3"], ["--deals", "some"]])
def test_a_tour_that_cannot_be_played_is_refused(options):
    assert CliRunner().invoke(cli.app, ["tour", "--once", *options]).exit_code == 2


def test_the_fewest_deals_are_enough_for_every_scene():
    """The most is asked for where invoices cannot be changed: one open deal with a customer for each scene."""
    rows = dataset.read().opportunities
    is_open = [row["status"] == "Open" and bool(row["companies"]) for row in rows]
    for count in range(cli.DEALS_MIN, 500):
        places = [number * len(rows) // count for number in range(count)]
        assert sum(is_open[place] for place in places) >= 5, count


@pytest.mark.parametrize(("books", "played"), [(QuickBooksOnline(), "linked both sides"), (Tryton(), "open")])
def test_what_the_books_do_not_allow_is_left_out_and_told(monkeypatch, books, played):
    said = StringIO()
    opened = [deal(f"open {number}") for number in range(6)]
    crm = SimpleNamespace(open=lambda count: opened[:count], called="A CRM")
    tour = Tour(SimpleNamespace(crm=crm, books=books), Console(file=said, width=500), None)  # type: ignore[arg-type] # all it asks for
    scenes: list[tuple[str, str]] = []
    for name in ("mistake", "closed_books", "both_sides", "lost_answer", "outage", "revoked"):
        monkeypatch.setattr(tour, f"_{name}", lambda one, *_, name=name: scenes.append((name, one.name)))
    tour._failures([deal(f"linked {number}") for number in range(5)])
    assert scenes[0] == ("mistake", "open 0")
    assert {name.split()[0] for _, name in scenes[1:]} == {played.split()[0]}
    assert len({name for _, name in scenes}) == len(scenes)
    assert ("both_sides" in dict(scenes)) == ("both sides" in played)
    assert ("left out" in said.getvalue()) == ("both sides" not in played)


@pytest.mark.parametrize("shows_payments", [True, False])
def test_nobody_waits_for_payments_in_a_crm_that_shows_none(shows_payments):
    said = StringIO()
    asked: list[str] = []

    def now(deal_id: str) -> Deal:
        asked.append(deal_id)
        return replace(deal(deal_id), shown={"payment_status": "Paid"})

    crm = SimpleNamespace(called="A CRM", shows_payments=shows_payments, deal=now)
    paid: dict[str, Decimal | None] = {}
    books = SimpleNamespace(called="Books", tells=True, pay=lambda number, amount: paid.update({number: amount}))
    tour = Tour(SimpleNamespace(crm=crm, books=books), Console(file=said, width=500), None)  # type: ignore[arg-type] # all it asks for
    tour._payments([deal("first"), deal("second")])
    assert paid == {"first": Decimal("0.50"), "second": None}
    assert bool(asked) == shows_payments
    assert ("stands in the books alone" in said.getvalue()) != shows_payments


def deal(name: str) -> Deal:
    return Deal(name, name, name, "A buyer", Decimal(1))
