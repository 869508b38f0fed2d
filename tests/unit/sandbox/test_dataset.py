"""The data set as records of an Act! database."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from tieout_sandbox import dataset


@pytest.fixture(scope="module")
def data() -> dataset.ActData:
    return dataset.read()


def test_the_files_are_the_published_ones():
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in dataset.FOLDER.glob("*.csv")}
    assert digests == {
        "accounts.csv": "7afe89404278290b",
        "products.csv": "5fb985638d44d53f",
        "sales_pipeline.csv": "02f44c2ccd46a1c7",
        "sales_teams.csv": "e97c6d82adc829c2",
    }


def test_counts_and_totals(data):
    assert (len(data.companies), len(data.contacts), len(data.products)) == (85, 85, 7)
    assert Counter(deal["status"] for deal in data.opportunities) == {"Won": 4238, "Lost": 2473, "Open": 2089}
    assert Counter(deal["stage"]["name"] for deal in data.opportunities)["Prospecting"] == 500
    won = [deal for deal in data.opportunities if deal["status"] == "Won"]
    assert sum(deal["productTotal"] for deal in won) == 10_005_534
    assert all(deal["companies"] and deal["actualCloseDate"] for deal in won)


def test_ids_are_unique_and_the_same_each_time(data):
    everything = [*data.companies, *data.contacts, *data.products, *data.opportunities]
    everything += [line for lines in data.lines.values() for line in lines]
    assert len({record["id"] for record in everything}) == 85 + 85 + 7 + 8800 + 8800
    assert dataset.read() == data


def test_the_spelling_of_the_pipeline_stays(data):
    names = Counter(lines[0]["name"] for lines in data.lines.values())
    assert names["GTXPro"] == 1480
    assert names["GTX Pro"] == 0
    won = {deal["id"] for deal in data.opportunities if deal["status"] == "Won"}
    assert sum(data.lines[one][0]["name"] == "GTXPro" for one in won) == 729
    assert "GTX Pro" in {product["name"] for product in data.products}


def test_each_deal_has_one_typed_in_line_of_its_amount(data):
    for deal in data.opportunities:
        (line,) = data.lines[deal["id"]]
        assert line["opportunityID"] == deal["id"]
        assert (line["productID"], line["itemNumber"], line["quantity"]) == (None, None, 1)
        assert line["total"] == line["price"] == deal["productTotal"]


def test_open_deals_have_the_list_price_and_no_close_date(data):
    prices = {product["name"]: product["price"] for product in data.products}
    for deal in data.opportunities:
        if deal["status"] == "Open":
            assert deal["actualCloseDate"] is None
            assert deal["productTotal"] == prices[deal["product"].replace("GTXPro", "GTX Pro")]
        if deal["status"] == "Lost":
            assert deal["productTotal"] == 0


def test_deals_without_account_have_no_partner(data):
    alone = [deal for deal in data.opportunities if not deal["companies"]]
    assert len(alone) == 1425
    assert all(not deal["contacts"] and deal["sourceId"] in deal["name"] for deal in alone)
    by_source = {deal["sourceId"]: deal for deal in data.opportunities}
    assert by_source["1C1I7A6R"]["name"] == "GTX Plus Basic for Cancity"
    assert by_source["1C1I7A6R"]["openDate"] == "2016-10-20T00:00:00+00:00"


def test_generated_contacts_reach_nobody(data):
    by_company = {contact["companyID"]: contact for contact in data.contacts}
    assert set(by_company) == {company["id"] for company in data.companies}
    assert all(contact["emailAddress"].endswith(".example") for contact in data.contacts)
    assert len({contact["emailAddress"] for contact in data.contacts}) == 85


def test_parents_are_companies(data):
    ids = {company["id"] for company in data.companies}
    parents = [company["parentID"] for company in data.companies if company["parentID"] is not None]
    assert len(parents) == 15
    assert set(parents) <= ids


def test_many_times_of_edit_are_equal(data):
    times = Counter(deal["edited"] for deal in data.opportunities)
    assert len(times) == 30
    assert max(times.values()) == 300
