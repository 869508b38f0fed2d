from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.aws import START
from tieout.adapters.dynamodb.file_rows import DynamoFileRows
from tieout.domain.errors import ThrottledError, UnavailableError
from tieout.domain.files import FileRow, Import, ImportState, Layout, RowState
from tieout.domain.records import Kind

HERE = ("acme", "outlook")


@pytest.fixture
def rows(table):
    return DynamoFileRows(table)


def row(row_id: str, kind: Kind = Kind.CONTACT, **fields):
    return FileRow(kind, row_id, {"name": row_id.title(), **fields}, f"d-{row_id}", START, "r1/1", 3, RowState.NEW)


def listed(rows, kind, limit=7):
    found, after = [], None
    while True:
        page, after = rows.listed(*HERE, kind, after, limit)
        found += page
        if after is None:
            return found


def test_rows_come_back_as_they_were_and_others_are_left_out(rows):
    ada = row("ada", email="ada@acme.example", address={"city": "Köln"}, amount=Decimal("1.50"), note=None)
    rows.put_rows(*HERE, [(ada, None)])
    assert rows.rows(*HERE, Kind.CONTACT, ["ada", "bob", "ada"]) == {"ada": ada}
    assert rows.rows(*HERE, Kind.DEAL, ["ada"]) == {}
    assert rows.rows("globex", "outlook", Kind.CONTACT, ["ada"]) == {}
    assert rows.rows("acme", "act", Kind.CONTACT, ["ada"]) == {}


@pytest.mark.parametrize("count", [0, 1, 90])
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_every_row_is_listed_once_whatever_the_pages(rows, count, limit):
    made = [row(f"n{number}") for number in range(count)]
    rows.put_rows(*HERE, [(one, None) for one in made])
    rows.put_rows(*HERE, [(row("d1", Kind.DEAL), None)])
    found = listed(rows, Kind.CONTACT, limit)
    assert sorted(one.id for one in found) == sorted(one.id for one in made)
    ids, after = [], None
    while True:
        page, after = rows.ids(*HERE, Kind.CONTACT, after)
        ids += page
        if after is None:
            break
    assert sorted(ids) == sorted(one.id for one in made)


def test_rows_are_found_by_what_they_say_now_whatever_the_case(rows):
    ada, eve = row("ada", name="Ada  Miller", email="Ada@acme.example"), row("eve", name="ADA MILLER")
    rows.put_rows(*HERE, [(ada, None), (eve, None)])
    both = rows.named(*HERE, Kind.CONTACT, "name", ["ada miller", "nobody"])
    assert {one.id for one in both} == {"ada", "eve"}
    assert [one.id for one in rows.named(*HERE, Kind.CONTACT, "email", ["ada@ACME.example"])] == ["ada"]
    moved = replace(ada, fields={**ada.fields, "name": "Ada Doe"})
    rows.put_rows(*HERE, [(moved, ada)])
    assert [one.id for one in rows.named(*HERE, Kind.CONTACT, "name", ["Ada Miller"])] == ["eve"]
    assert [one.id for one in rows.named(*HERE, Kind.CONTACT, "name", ["ada doe"])] == ["ada"]


def test_a_way_to_a_row_that_was_not_removed_leads_nowhere(rows):
    """Whoever died between storing the row and removing the former way leaves that behind."""
    ada = row("ada", email="old@acme.example")
    rows.put_rows(*HERE, [(ada, None)])
    rows.put_rows(*HERE, [(replace(ada, fields={"name": "Ada", "email": "new@acme.example"}), None)])
    assert rows.named(*HERE, Kind.CONTACT, "email", ["old@acme.example"]) == []


def test_removed_rows_leave_nothing(rows, clients):
    made = [row(f"n{number}", email=f"n{number}@acme.example") for number in range(30)]
    rows.put_rows(*HERE, [(one, None) for one in made])
    rows.remove_rows(*HERE, made)
    assert listed(rows, Kind.CONTACT) == []
    assert clients.dynamodb.scan(TableName="tieout-table")["Items"] == []


def test_the_feed_is_in_order_and_no_number_is_taken_twice(rows):
    assert rows.newest_fed(*HERE, Kind.DEAL) == 0
    for number in (1, 2, 10, 11):
        assert rows.feed(*HERE, Kind.DEAL, number, [f"d{number}"])
    assert not rows.feed(*HERE, Kind.DEAL, 2, ["other"])
    assert rows.feed(*HERE, Kind.DEAL, 2, ["d2"])  # our own, whose answer was lost
    assert rows.fed(*HERE, Kind.DEAL, 1, 2) == [(2, ["d2"]), (10, ["d10"])]
    assert rows.fed(*HERE, Kind.DEAL, 11, 2) == []
    assert rows.newest_fed(*HERE, Kind.DEAL) == 11
    assert rows.fed(*HERE, Kind.CONTACT, 0, 9) == []


def test_layouts_come_back_as_they_were(rows):
    layout = Layout("l1", {"kind": "deal", "columns": [{"title": "Größe"}]}, {"encoding": "cp1252"}, "ada", START)
    assert rows.layout(*HERE, "l1") is None
    rows.put_layout(*HERE, layout)
    assert rows.layout(*HERE, "l1") == layout
    assert rows.layout("globex", "outlook", "l1") is None


RUNNING = Import("acme", "outlook", "i1", "a.csv", ImportState.RUNNING, START, START, Kind.CONTACT, row=500)


def test_imports_come_back_and_one_is_under_way_until_it_ends(rows):
    rows.put_import(RUNNING)
    assert rows.find_import(*HERE, "i1") == rows.under_way(*HERE) == RUNNING
    assert rows.last_import(*HERE, Kind.CONTACT) is None
    done = replace(
        RUNNING,
        state=ImportState.DONE,
        row=900,
        counts={"new": 900},
        results=("outbox/x",),
        touched_at=START + timedelta(seconds=9),
        finished_at=START + timedelta(seconds=9),
    )
    rows.put_import(done)
    assert rows.under_way(*HERE) is None
    assert rows.last_import(*HERE, Kind.CONTACT) == done
    assert rows.last_import(*HERE, Kind.DEAL) is None
    assert list(rows.imports(*HERE)) == [done]


def test_a_file_that_waits_does_not_end_the_one_under_way(rows):
    rows.put_import(RUNNING)
    rows.put_import(replace(RUNNING, id="i2", state=ImportState.WAITING, kind=None))
    assert rows.under_way(*HERE) == RUNNING


DOWN: Any = {"Error": {"Code": "Internal"}, "ResponseMetadata": {"HTTPStatusCode": 500}}


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "Query"), ThrottledError),
        (ClientError(DOWN, "Query"), UnavailableError),
        (EndpointConnectionError(endpoint_url="https://dynamodb"), UnavailableError),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "Query"), ClientError),
    ],
)
def test_what_dynamodb_cannot_answer_now_may_work_later_and_what_is_not_allowed_rises(
    rows, table, monkeypatch, failure, error
):
    def fail(**_):
        raise failure

    monkeypatch.setattr(table._client, "query", fail)
    with pytest.raises(error):
        rows.ids(*HERE, Kind.DEAL, None)


def test_items_that_dynamodb_leaves_are_written_again(rows, table, clock, monkeypatch):
    write, left = table._client.batch_write_item, []

    def leave_one(RequestItems):  # noqa: N803 - AWS's name
        ((name, requests),) = RequestItems.items()
        answer = write(RequestItems={name: requests[1:]}) if len(requests) > 1 else write(RequestItems=RequestItems)
        if len(requests) > 1:
            left.append(requests[0])
            answer["UnprocessedItems"] = {name: requests[:1]}
        return answer

    monkeypatch.setattr(table._client, "batch_write_item", leave_one)
    made = [row(f"n{number}") for number in range(10)]
    rows.put_rows(*HERE, [(one, None) for one in made])
    assert len(listed(rows, Kind.CONTACT)) == 10
    assert left
    assert clock.slept
