"""One cell of the table: a client, a share of lost answers, `requestid` honoured or not."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from bench.figure import Figure
from bench.rivals.books import NO_LIMITS, SETTINGS, Books, Outcome, Weather
from bench.rivals.clients import Rival, Sale, single
from tests.whole_way import TENANT, whole_way
from tieout.domain.changes import Change, Origin
from tieout.domain.records import Kind
from tieout_sandbox import dataset
from tieout_sandbox.simulators import create_app
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.server import serve

SMALL = 150
"""Records of the cell that `make bench` shows."""


def measure() -> list[Figure]:
    """Write 150 invoices while every fifth answer is lost and `requestid` is ignored: Tieout, and python-quickbooks."""
    weather = Weather(lost=0.2, honours_request_id=False, seed=1)
    ours, theirs = of_tieout(weather, SMALL), of_rival(single, weather, SMALL)
    return [
        Figure("20 % of answers lost: invoices doubled or missing", ours.duplicates + ours.losses, "invoices", 0),
        Figure("the same with python-quickbooks and 3 tries", theirs.duplicates + theirs.losses, "invoices"),
    ]


def of_rival(client: Rival, weather: Weather, records: int) -> Outcome:
    """What the client made of the first won deals of the data set; their customers and items stand before."""
    with serve(create_app("quickbooks_online", clock=SimulatedClock(), **SETTINGS), 0) as url:
        books = Books(url)
        sales = _prepared(books, records)
        books.begin(weather)
        client(books, sales)
        return books.outcome(sale.number for sale in sales)


def of_tieout(weather: Weather, records: int) -> Outcome:
    """What the engine and both connectors made of the same deals, as they are deployed but for stores in memory.

    Customers and items are written while answers are lost too, and all calls that they take are counted. Waits take
    simulated time.

    Raises:
        AssertionError: If a change was parked: no fault here needs a person.
    """
    with pytest.MonkeyPatch.context() as monkeypatch, whole_way(monkeypatch, **SETTINGS) as way:
        way.connect(**NO_LIMITS)
        books = Books(way.books_url)
        books.begin(weather)
        deals, now = _won(records), way.clock.now()
        way.queue.send([Change(TENANT, "act", Kind.DEAL, deal["id"], now, Origin.POLL) for deal in deals])
        report = way.pump()
        if report.parked:
            raise AssertionError(f"{report.parked} changes wait for a person")
        return books.outcome(str(deal["sourceId"]) for deal in deals)


def _won(records: int) -> Sequence[dict[str, object]]:
    won = [deal for deal in dataset.read().opportunities if deal["status"] == "Won"]
    if len(won) < records:
        raise ValueError(f"the data set has {len(won)} won deals")
    return won[:records]


def _prepared(books: Books, records: int) -> list[Sale]:
    deals = _won(records)
    customers = {name: "" for deal in deals for name in [deal["companies"][0]["name"]]}
    items = {str(deal["product"]): "" for deal in deals}
    for name in customers:
        customers[name] = books.company("POST", "customer", {"DisplayName": name})["Customer"]["Id"]
    income = books.company("GET", "query", query="SELECT * FROM Account WHERE Name = 'Sales'")
    account = {"value": income["QueryResponse"]["Account"][0]["Id"]}
    for name in items:
        fields = {"Name": name, "Type": "Service", "IncomeAccountRef": account}
        items[name] = books.company("POST", "item", fields)["Item"]["Id"]
    return [
        Sale(
            number=str(deal["sourceId"]),
            customer=customers[deal["companies"][0]["name"]],
            item=items[str(deal["product"])],
            amount=str(Decimal(str(deal["productTotal"]))),
        )
        for deal in deals
    ]
