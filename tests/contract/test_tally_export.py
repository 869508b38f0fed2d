"""A real company, as TallyPrime gave it (`tests/data/tally`): read by the connector, imported, and added up by both.

The expected totals are added up here from the raw files, by nothing of the connector's.
"""

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from tests.contract.fakes import MemoryLease, MemorySecrets
from tests.contract.suite import all_changes
from tieout.connectors import tally
from tieout.connectors.tally import tdl
from tieout.connectors.tally.client import Client
from tieout.connectors.tally.manifest import Settings
from tieout.connectors.tally.read import names_of
from tieout.connectors.tally.wire import (
    Imported,
    add,
    adds_up,
    amount_of,
    day_of,
    flag_of,
    parsed,
    postings_of,
    text_of,
)
from tieout.domain.connections import Connection
from tieout.domain.records import Kind
from tieout.ports.connector import Connector, Context
from tieout.transport import RequestsHttp
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.server import serve
from tieout_sandbox.simulators.tally import create_app
from tieout_sandbox.simulators.tally.settings import COMPANY

DATA = Path(__file__).parents[1] / "data" / "tally"
VOUCHERS = sorted(DATA.glob("voucher*.xml.gz"))
MASTERS_AT_ONCE, VOUCHERS_AT_ONCE = 50, 25
BILL_TYPES = {"NewRef": "New Ref", "AgstRef": "Agst Ref", "OnAccount": "On Account", "Advance": "Advance"}


@cache
def raw(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


# ---- added up by nothing of the connector's ----


def expected_vouchers() -> Iterator[Element]:
    for path in VOUCHERS:
        yield from fromstring(raw(path)).iter("VOUCHER")


def expected_amount(entry: Element, path: str = "AMOUNT") -> Decimal:
    """A debit negative."""
    size = Decimal(entry.findtext(f"{path}/AMOUNT") or "0")
    return -size if entry.findtext(f"{path}/ISDEBIT") == "true" else size


def expected_entries(voucher: Element) -> Iterator[Element]:
    yield from voucher.findall("LEDGERENTRIES.LIST")
    yield from voucher.findall("ALLLEDGERENTRIES.LIST")
    yield from voucher.findall("ALLINVENTORYENTRIES.LIST/ACCOUNTINGALLOCATIONS.LIST")


def expected_totals() -> dict[str, Decimal]:
    """By ledger, its opening balance and what vouchers book to it; orders book nothing."""
    root = fromstring(raw(DATA / "ledger_sample_data.xml.gz").replace("&#4;", ""))
    totals = {one.findtext("NAME", "").strip(): expected_amount(one, "OPENINGBALANCE") for one in root.iter("LEDGER")}
    for voucher in expected_vouchers():
        if voucher.findtext("VOUCHERTYPENAME") != "Sales Order":
            for entry in expected_entries(voucher):
                totals[entry.findtext("LEDGERNAME", "")] += expected_amount(entry)
    return totals


def expected_debtors() -> set[str]:
    """Names of the ledgers under Sundry Debtors."""
    groups = {one.findtext("NAME"): one.findtext("PARENT") for one in fromstring(raw(DATA / "groups_complete.xml.gz"))}
    root = fromstring(raw(DATA / "ledger_sample_data.xml.gz").replace("&#4;", ""))
    found = set()
    for ledger in root.iter("LEDGER"):
        group = ledger.findtext("PARENT")
        while group in groups and group != "Sundry Debtors":
            group = groups[group]
        if group == "Sundry Debtors":
            found.add(ledger.findtext("NAME", "").strip())
    return found


# ---- read by the connector, and imported ----


def groups() -> list[Element]:
    """Parents first."""
    found = {
        text_of(one, "NAME"): text_of(one, "PARENT")
        for one in parsed(raw(DATA / "groups_complete.xml.gz")).iter("GROUP")
    }
    made: list[Element] = []
    while len(made) < len(found):
        known = {one.get("NAME") for one in made}
        for name, parent in found.items():
            if name not in known and (parent in known or parent not in found):
                made.append(master("GROUP", [name], parent or "Primary"))
    return made


def ledgers() -> list[Element]:
    made = []
    for one in parsed(raw(DATA / "ledger_sample_data.xml.gz")).iter("LEDGER"):
        ledger = master("LEDGER", names_of(one), text_of(one, "PARENT") or "Primary")
        add(ledger, "OPENINGBALANCE", amount_of(one, "OPENINGBALANCE"))
        add(ledger, "ISBILLWISEON", flag_of(one, "ISBILLWISEON"))
        add(ledger, "EMAIL", text_of(one, "EMAIL"))
        ledger.extend(one.findall("LEDMAILINGDETAILS.LIST"))
        made.append(ledger)
    return made


def master(tag: str, names: list[str], parent: str) -> Element:
    element = Element(tag, NAME=names[0], ACTION="Create")
    listed = add(element, "NAME.LIST")
    for name in names:
        add(listed, "NAME", name)
    add(element, "PARENT", parent)
    return element


def vouchers() -> list[Element]:
    """Each with all that it books, as an accounting voucher."""
    made = []
    for one in (voucher for path in VOUCHERS for voucher in parsed(raw(path)).iter("VOUCHER")):
        postings = postings_of(one)
        assert adds_up(postings), text_of(one, "GUID")
        type_ = text_of(one, "VOUCHERTYPENAME")
        voucher = Element("VOUCHER", VCHTYPE=type_, ACTION="Create")
        add(voucher, "DATE", day_of(text_of(one, "DATE")))
        for name in ("VOUCHERTYPENAME", "NARRATION", "REFERENCE"):
            add(voucher, name, text_of(one, name))
        add(voucher, "PARTYLEDGERNAME", postings[0].ledger)
        for posting in postings:
            entry = add(voucher, "ALLLEDGERENTRIES.LIST")
            add(entry, "LEDGERNAME", posting.ledger)
            add(entry, "ISDEEMEDPOSITIVE", posting.amount < 0)
            add(entry, "AMOUNT", posting.amount)
            for bill in posting.entry.findall("BILLALLOCATIONS.LIST"):
                allocated = add(entry, "BILLALLOCATIONS.LIST")
                add(allocated, "NAME", text_of(bill, "NAME"))
                add(allocated, "BILLTYPE", BILL_TYPES[text_of(bill, "BILLTYPE")])
                add(allocated, "AMOUNT", amount_of(bill))
        made.append(voucher)
    return made


@pytest.fixture
def company() -> Iterator[tuple[Client, Connector]]:
    """The simulator with all of it, imported in several requests."""
    clock = SimulatedClock()
    app = create_app(clock=clock)
    with serve(app) as url:
        http = RequestsHttp(lambda _: None, clock=clock)
        settings = {"url": url, "pause_milliseconds": 0, "records_per_page": 100}
        client = Client(Settings(**settings), http, clock)
        for what, records, at_once in (
            ("All Masters", [*groups(), *ledgers()], MASTERS_AT_ONCE),
            ("Vouchers", vouchers(), VOUCHERS_AT_ONCE),
        ):
            for some in itertools.batched(records, at_once, strict=False):
                counts = client.post(tdl.importing(what, COMPANY, some))
                assert (counts.done, counts.said) == (len(some), ()), counts
        guid = app.extensions["simulator"].books.guid
        connection = Connection("acme", "under-test", "tally", account=guid, settings=settings)
        yield client, tally.CONNECTOR.open(Context(connection, MemorySecrets({}), http, clock, MemoryLease()))


def test_the_files_hold_what_they_are_said_to():
    counted = Counter(voucher.findtext("VOUCHERTYPENAME") for voucher in expected_vouchers())

    assert counted == {"Sales": 101, "Receipt": 100, "Payment": 100, "Sales Order": 33, "Contra": 28, "Credit Note": 4}
    assert counted.total() == 366
    assert len(expected_totals()) == len(ledgers()) == 295


def test_each_ledgers_total_is_what_the_export_adds_up_to(company):
    client, _ = company
    columns = {"NAME": "$Name", "CLOSING": "$ClosingBalance"}

    rows = tdl.rows_of(client.export(tdl.report("Ledger", columns, company=COMPANY)))

    totals = {row["NAME"]: Decimal(row["CLOSING"]) for row in rows}
    expected = {" ".join(name.split()): total for name, total in expected_totals().items()}
    assert {name: totals.get(name) for name in expected} == expected
    assert len([total for total in expected.values() if total]) > 150


def test_customers_are_the_ledgers_under_sundry_debtors(company):
    _, connector = company
    root = fromstring(raw(DATA / "ledger_sample_data.xml.gz").replace("&#4;", ""))
    emails = {
        one.findtext("NAME", "").strip(): one.findtext("EMAIL") for one in root.iter("LEDGER") if one.findtext("EMAIL")
    }

    customers, _, _ = all_changes(connector, Kind.CUSTOMER, None)

    names = {" ".join(name.split()) for name in expected_debtors()}
    assert {customer.fields["name"] for customer in customers} == names
    found = {customer.fields["name"]: customer.fields["email"] for customer in customers if customer.fields["email"]}
    assert found == {name: email for name, email in emails.items() if name in names}


def test_sales_are_invoices_of_their_customers(company):
    _, connector = company
    customers = {one.id: str(one.fields["name"]) for one in all_changes(connector, Kind.CUSTOMER, None)[0]}
    debtors = expected_debtors()
    expected: Counter[str] = Counter()
    sold = 0
    for voucher in expected_vouchers():
        theirs = [each for each in expected_entries(voucher) if each.findtext("LEDGERNAME", "") in debtors]
        if voucher.findtext("VOUCHERTYPENAME") == "Sales" and theirs:
            sold += 1
            for entry in theirs:
                expected[entry.findtext("LEDGERNAME", "")] -= expected_amount(entry)

    invoices, _, _ = all_changes(connector, Kind.INVOICE, None)

    totals: Counter[str] = Counter()
    for invoice in invoices:
        totals[customers[str(invoice.fields["customer"])]] += invoice.fields["total"]
    assert totals == expected
    assert len(invoices) == sold == 38
    assert all(0 <= invoice.fields["balance"] <= invoice.fields["total"] for invoice in invoices)


def test_an_import_that_touched_fewer_than_it_was_given_says_so(company):
    client, _ = company
    some = vouchers()[-3:]
    named = some[1].find("ALLLEDGERENTRIES.LIST/LEDGERNAME")
    assert named is not None
    named.text = "Nobody"

    counts = client.post(tdl.importing("Vouchers", COMPANY, some))

    assert counts == Imported(created=2, errors=1, voucher=counts.voucher, said=("Ledger 'Nobody' does not exist!",))
