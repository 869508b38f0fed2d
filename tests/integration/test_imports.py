"""Files from a person's hand and from the bucket, into the real stores, to the queue."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import openpyxl
import pytest

from functions.import_file import app as import_file
from tests.aws import EXCHANGE
from tests.engine.world import TENANT
from tests.integration.conftest import Stack
from tests.integration.office import (
    INBOX,
    NOTHING_FAILED,
    OFFICE,
    TITLES,
    Office,
    event_of,
    export,
    open_office,
    people,
    sample_of,
)
from tieout.domain.changes import Lane
from tieout.domain.connections import Connection
from tieout.domain.errors import UnavailableError
from tieout.domain.files import ImportState
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind
from tieout.engine import import_rows, imports
from tieout.engine.import_rows import BusyError
from tieout.engine.imports import Wish


@pytest.fixture
def office(stack: Stack) -> Office:
    return open_office(stack)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_rows, "BATCH_ROWS", 3)
    monkeypatch.setattr(import_rows, "BLOCK_ROWS", 6)


# What a file brings


def test_rows_become_records_and_changes(office):
    done = office.take(export(people(7))).record
    assert (done.state, done.counts) == (ImportState.DONE, {"new": 7})
    assert office.states(done) == ["new"] * 7
    changes = office.queued()
    assert {(one.connection, one.kind, one.lane) for one in changes} == {("office", Kind.COMPANY, Lane.LIVE)}
    assert {one.id for one in changes} == office.ids() == {f"ada{place}@acme.example" for place in range(7)}
    (record,) = office.stack.deployment.connect(OFFICE).read(Kind.COMPANY, ["ada3@acme.example"])
    assert record.fields["name"] == "Company 3"
    assert record.fields["contact"]["name"] == "Ada Miller 3"


def test_what_is_as_it_was_costs_a_read_and_nothing_else(office):
    office.take(export(people(5)))
    office.queued()
    writes = []
    office.stack.clients.dynamodb.meta.events.register(
        "before-call.dynamodb.*", lambda model, params, **_: writes.append((model.name, params["body"]))
    )
    done = office.take(export([*people(5, n2="2"), *people(6)[5:]])).record
    assert done.counts == {"unchanged": 4, "changed": 1, "new": 1}
    assert {one.id for one in office.queued()} == {"ada2@acme.example", "ada5@acme.example"}
    rows = [body for name, body in writes if name == "BatchWriteItem" and b"file_row" in body]
    assert len(rows) == 1
    assert b"ada1@" not in rows[0]
    assert b"ada2@" in rows[0]


def test_the_same_file_again_does_nothing_and_says_so(office):
    first = office.take(export(people(3)))
    office.queued()
    again = office.take(export(people(3)), "renamed.csv")
    assert (first.again, again.again, again.record.id) == (False, True, first.record.id)
    assert office.queued() == []


def test_a_former_file_again_brings_back_what_it_says(office):
    office.take(export(people(3)))
    office.take(export(people(3, n1="2")))
    office.queued()
    back = office.take(export(people(3)))
    assert not back.again
    assert back.record.counts == {"unchanged": 2, "changed": 1}
    assert [one.id for one in office.queued()] == ["ada1@acme.example"]


def test_a_missing_row_is_not_a_delete(office):
    office.take(export(people(5)))
    office.take(export(people(2)))
    assert len(office.ids()) == 5


def test_of_a_complete_file_what_is_missing_is_gone_and_found_by_sweeps_only(office):
    office.take(export(people(5)))
    office.queued()
    done = office.take(export(people(2)), complete=True).record
    assert done.counts == {"unchanged": 2, "gone": 3}
    assert sorted(office.states(done)) == ["gone"] * 3 + ["unchanged"] * 2
    assert len(office.ids()) == 2
    assert office.queued() == []
    assert office.poll() == 0


def test_nothing_is_gone_while_a_row_is_refused(office):
    office.take(export(people(5)))
    done = office.take(export([*people(2), ("", "", "", "", "1", "")]), complete=True).record
    assert done.counts == {"unchanged": 2, "refused": 1}
    assert len(office.ids()) == 5
    assert any("nothing was taken for gone" in line["reason"] for line in office.results(done))


@pytest.mark.usefixtures("small_blocks")
def test_of_rows_with_one_key_the_last_counts(office):
    rows = people(4)
    again = [(*row[:4], phone, "") for row, phone in ((rows[0], "near"), (rows[1], "far"), (rows[0], "last"))]
    done = office.take(export([rows[0], again[0], *rows[1:], again[1], again[2]])).record
    assert done.counts == {"new": 4, "repeated": 3}
    reasons = {line["row"]: line["reason"] for line in office.results(done) if line["state"] == "repeated"}
    assert reasons["2"] == "Row 3 has the same key, and counts."
    assert reasons["7"] == "Row 4 has the same key; this one counts."
    phones = {
        record.id: record.fields["phone"]
        for record in office.stack.deployment.connect(OFFICE).read(Kind.COMPANY, sorted(office.ids()))
    }
    assert phones == {
        "ada0@acme.example": "last",
        "ada1@acme.example": "far",
        "ada2@acme.example": "1",
        "ada3@acme.example": "1",
    }


def test_what_cannot_be_taken_says_why_and_where(office):
    rows = [*people(1), ("Acme", "Eve", "Doe", "/O=ACME/CN=EVE", "1", ""), ("", "", "", "", "1", "")]
    done = office.take(export(rows)).record
    assert done.counts == {"new": 2, "refused": 1}
    lines = office.results(done)
    assert (lines[1]["state"], lines[1]["column"], lines[1]["key"]) == ("new", "E-mail Address", "acme / eve doe")
    assert "Exchange" in lines[1]["reason"]
    assert (lines[2]["row"], lines[2]["state"]) == ("4", "refused")
    assert "number, e-mail address or name" in lines[2]["reason"]


def test_formulas_do_not_run_in_the_results(office):
    rows = [('=HYPERLINK("x")', "@Ada", "+1", "", "1", "")]
    done = office.take(export(rows), "=cmd.csv").record
    (line, *_) = office.results(done)
    assert line["key"].startswith("'=")
    assert office.objects("outbox/") == [f"outbox/{TENANT}.office/_cmd-{done.id[:8]}-1.csv"]


# How far it is


@pytest.mark.usefixtures("small_blocks")
def test_an_import_that_ran_out_of_time_goes_on_after_the_last_block(office):
    content = export(people(20))
    first = office.take(content, time_for=4).record
    assert first.state is ImportState.RUNNING
    assert 0 < first.row < 20
    assert len(office.objects("work/")) == len(first.results)
    while (done := office.take(content, time_for=4).record).state is ImportState.RUNNING:
        assert done.row > first.row
        first = done
    assert done.counts == {"new": 20}
    assert [line["row"] for line in office.results(done) if line["row"]] == [str(row) for row in range(2, 22)]
    assert office.objects("work/") == []
    assert len({one.id for one in office.queued()}) == 20


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("when", ["feed", "put_rows", "put_import"])
@pytest.mark.parametrize("call", range(1, 6))
def test_whoever_dies_anywhere_is_followed_by_somebody_who_ends_it_as_if_nothing_had_been(
    office, monkeypatch, when, call
):
    """Before and after each write of the store, every change is queued and every row is told of once."""
    office.take(export(people(12, n3="old")))
    office.queued()
    content = export([*people(12, n4="new", n9="new"), *people(20)[12:]])
    store, count = type(office.stack.deployment.file_rows), iter(range(100))
    method = getattr(store, when)

    def dies(self: Any, *arguments: Any) -> Any:
        number = next(count)
        if number == call * 2 - 1:
            raise KeyboardInterrupt
        result = method(self, *arguments)
        if number == call * 2:
            raise KeyboardInterrupt
        return result

    died = False
    with monkeypatch.context() as patch:
        patch.setattr(store, when, dies)
        for _ in range(3):
            try:
                done = office.take(content).record
            except KeyboardInterrupt:
                died = True
            else:
                break
    assert died or call > 2
    assert done.state is ImportState.DONE
    assert done.counts == {"unchanged": 9, "changed": 3, "new": 8}
    told = [(line["row"], line["state"]) for line in office.results(done) if line["row"]]
    assert [row for row, _ in told] == [str(row) for row in range(2, 22)]
    assert {one.id for one in office.queued()} == {f"ada{n}@acme.example" for n in (3, 4, 9, *range(12, 20))}
    assert len(office.ids()) == 20


@pytest.mark.usefixtures("small_blocks")
def test_what_a_dead_import_stored_and_did_not_queue_is_found_by_polls_once_it_is_given_up(office, monkeypatch):
    office.poll()
    queue = type(office.stack.deployment.queue)
    with monkeypatch.context() as patch:
        patch.setattr(queue, "send", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            office.take(export(people(12)))
    assert len(office.ids()) == 3
    assert office.poll() == 0
    with pytest.raises(BusyError):
        office.take(export(people(12, n0="other")))
    done = office.take(export(people(12)[5:]), instead=True).record
    assert done.state is ImportState.DONE
    queued = {one.id for one in office.queued()}
    assert queued == {f"ada{n}@acme.example" for n in range(5, 12)}
    assert office.poll() >= 3
    assert {one.id for one in office.queued()} >= {f"ada{n}@acme.example" for n in range(3)}


def test_two_imports_of_a_connection_do_not_run_at_once(office):
    with office.imports._alone(OFFICE), pytest.raises(BusyError):
        office.take(export(people(1)))
    assert office.take(export(people(1))).record.state is ImportState.DONE


def test_polls_do_not_queue_what_an_import_queued(office):
    office.poll()
    office.take(export(people(5)))
    assert len(office.queued()) == 5
    assert office.poll() == 0
    office.take(export(people(5, n1="2")))
    assert len(office.queued()) == 1
    assert office.poll() == 0


def test_what_is_held_is_stored_and_queued_by_nobody(office):
    done = office.take(export(people(5)), hold=True).record
    assert done.held
    assert len(office.ids()) == 5
    assert office.queued() == []
    assert office.poll() == 0


def test_many_changed_rows_go_with_the_history(office, monkeypatch):
    monkeypatch.setattr(import_rows, "LIVE_ROWS_MAX", 6)
    monkeypatch.setattr(import_rows, "BATCH_ROWS", 5)
    office.take(export(people(20)))
    assert (len(office.stack.queued("changes")), len(office.stack.queued("backfill"))) == (5, 15)


def test_what_no_sync_reads_is_stored_and_not_queued(office):
    content, other = export(people(2)), replace(OFFICE, id="other")
    assert not office.take(content).unheard
    look = office.imports.look(other, io.BytesIO(content), "contacts.csv")
    done = office.imports.run(other, look, Wish("contacts.csv"))
    assert (done.unheard, done.record.counts) == (True, {"new": 2})
    assert {one.connection for one in office.queued()} == {"office"}


# Into the bucket


def test_a_dropped_file_with_known_columns_is_imported(office):
    office.decide(export(people(1)))
    office.drop(export(people(4)))
    assert office.work() == NOTHING_FAILED
    assert office.last().counts == {"new": 4}
    assert len(office.queued()) == 4
    assert office.alerts() == []
    assert office.messages() == []


def test_a_dropped_file_that_nobody_knows_waits_and_a_person_is_told_the_command(office):
    office.drop(export([("1", "2")], ("Foo", "Bar")))
    assert office.work() == NOTHING_FAILED
    waiting = office.last()
    assert (waiting.state, office.ids()) == (ImportState.WAITING, set())
    (alert,) = office.alerts()
    assert alert.command == f'tieout import "{INBOX}" --connection office --tenant {TENANT}'
    assert "nobody's that Tieout knows" in alert.reason


@pytest.mark.usefixtures("small_blocks")
def test_a_dropped_file_is_imported_in_as_many_runs_as_it_takes(office):
    office.decide(export(people(1)))
    office.drop(export(people(30)))
    times = iter([100_000, 100_000, 100_000, 1_000] * 40)
    office.context.get_remaining_time_in_millis = lambda: next(times)  # type: ignore[method-assign]
    assert office.work() == NOTHING_FAILED
    assert office.last().state is ImportState.RUNNING
    assert office.work_until_done() > 1
    done = office.last()
    assert (done.state, done.counts) == (ImportState.DONE, {"new": 30})
    assert len({one.id for one in office.queued()}) == 30
    assert len([line for line in office.results(done) if line["row"]]) == 30


def test_the_message_of_a_dropped_file_twice_imports_it_once(office):
    office.decide(export(people(1)))
    office.drop(export(people(4)))
    for _ in range(2):
        assert office.work() == NOTHING_FAILED
    assert len(office.queued()) == 4
    assert len(office.objects("outbox/")) == 1


@pytest.mark.usefixtures("small_blocks")
def test_a_file_that_was_replaced_takes_the_place_of_the_one_under_way(office):
    office.decide(export(people(1)))
    office.drop(export(people(30)))
    times = iter([100_000, 100_000, 1_000, 1_000])
    office.context.get_remaining_time_in_millis = lambda: next(times, 100_000)  # type: ignore[method-assign]
    office.work()
    assert office.last().state is ImportState.RUNNING
    office.drop(export(people(5)))
    assert office.work() == NOTHING_FAILED
    assert office.work_until_done() == 1  # that of the former one, which is given up
    both = {one.state: one.counts for one in office.stack.deployment.file_rows.imports(TENANT, "office")}
    assert set(both) == {ImportState.DONE, ImportState.STOPPED}
    assert sum(both[ImportState.DONE].values()) == 5


@pytest.mark.usefixtures("small_blocks")
def test_a_second_file_waits_for_the_first(office, monkeypatch):
    monkeypatch.setattr(imports, "BUSY_SECONDS", 0)
    office.decide(export(people(1)))
    office.drop(export(people(30)))
    times = iter([100_000, 100_000, 1_000, 1_000])
    office.context.get_remaining_time_in_millis = lambda: next(times, 100_000)  # type: ignore[method-assign]
    office.work()
    second = f"inbox/{TENANT}.office/second.csv"
    office.drop(export(people(2, n0="9")), second)
    assert office.work(sample_of(second)) == NOTHING_FAILED
    assert office.last().state is ImportState.RUNNING
    office.work_until_done()
    (record,) = office.stack.deployment.connect(OFFICE).read(Kind.COMPANY, ["ada0@acme.example"])
    assert record.fields["phone"] == "9"


@pytest.mark.parametrize(
    ("content", "said"), [(b"\x00\x01\x02", "not a text file"), (export([]), "no rows"), (b"", "empty")]
)
def test_what_is_no_file_is_refused_and_a_person_is_told(office, content, said):
    office.drop(content)
    assert office.work() == NOTHING_FAILED
    assert office.last().state is ImportState.REFUSED
    (alert,) = office.alerts()
    assert "cannot be read" in alert.subject
    assert said in alert.reason
    assert office.ids() == set()


def test_a_file_that_is_too_large_is_refused_by_its_size_and_not_fetched(office, monkeypatch):
    office.drop(b"x")
    exchange = office.stack.deployment.exchange
    there = exchange.there
    monkeypatch.setattr(exchange, "there", lambda place: replace(there(place), size_bytes=2_000_000_000))
    monkeypatch.setattr(exchange, "fetch", lambda *_: pytest.fail("it is fetched"))
    assert office.work() == NOTHING_FAILED
    assert "2,000,000,000 bytes" in office.last().problem


def test_refused_rows_of_a_dropped_file_are_told_with_the_place_of_the_results(office):
    office.decide(export(people(1)))
    office.drop(export([*people(2), ("", "", "", "", "1", "")]))
    office.work()
    (alert,) = office.alerts()
    assert "1 row" in alert.subject
    assert office.last().results[0] in alert.next_step


@pytest.mark.parametrize(
    "place",
    [
        f"inbox/{TENANT}.nobody/a.csv",
        "inbox/globex.office/a.csv",
        "inbox/a.csv",
        f"outbox/{TENANT}.office/a.csv",
        f"inbox/{TENANT}.office/",
        f"inbox/{TENANT}.act/a.csv",
    ],
)
def test_what_belongs_to_no_connection_of_files_is_left_alone(office, place):
    office.drop(export(people(1)), place)
    assert office.work(sample_of(place)) == NOTHING_FAILED
    assert list(office.stack.deployment.file_rows.imports(TENANT, "office")) == []
    assert list(office.stack.deployment.file_rows.imports(TENANT, "act")) == []


@pytest.mark.usefixtures("small_blocks")
def test_a_file_that_is_gone_ends_its_import(office):
    office.decide(export(people(1)))
    office.drop(export(people(30)))
    times = iter([100_000, 100_000, 1_000, 1_000])
    office.context.get_remaining_time_in_millis = lambda: next(times, 100_000)  # type: ignore[method-assign]
    office.work()
    office.stack.clients.s3.delete_object(Bucket=EXCHANGE, Key=INBOX)
    office.work_until_done()
    assert office.last().state is ImportState.STOPPED


def test_what_the_bucket_says_first_is_a_test(office):
    assert office.work(event_of('{"Service": "Amazon S3", "Event": "s3:TestEvent"}')) == NOTHING_FAILED


def test_a_file_that_cannot_be_imported_now_comes_again_and_nothing_private_is_logged(office, monkeypatch, logs):
    office.decide(export(people(1)))
    office.drop(export(people(2)))
    monkeypatch.setattr(
        office.stack.deployment.exchange,
        "fetch",
        lambda *_: (_ for _ in ()).throw(UnavailableError("ada0@acme.example")),
    )
    assert len(office.work()["batchItemFailures"]) == 1
    monkeypatch.undo()
    monkeypatch.setattr(import_file.bootstrap, "deployment", lambda: office.stack.deployment)
    assert office.work() == NOTHING_FAILED
    assert "ada0" not in logs()
    assert "Company 0" not in logs()


def test_tenants_and_connections_do_not_see_each_others_rows(office):
    office.take(export(people(3)))
    globex = Connection("globex", "office", "files")
    other = Connection(TENANT, "second", "files")
    for connection in (globex, other):
        connector = office.stack.deployment.connect(connection)
        assert connector.ids(Kind.COMPANY, None) == ([], None)
        assert connector.read(Kind.COMPANY, sorted(office.ids())) == []
        assert connector.search(Kind.COMPANY, "name", ["Company 1"]) == []


CARDS = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada Miller\r\nN:Miller;Ada;;;\r\nORG:Acme\r\n"
    "EMAIL:ada@acme.example\r\nTEL;TYPE=WORK:+1 650 555 0100\r\nUID:u-1\r\nEND:VCARD\r\n"
    "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Eve\r\nN:;Eve;;;\r\nUID:u-2\r\nEND:VCARD\r\n"
)


def workbook() -> bytes:
    book = openpyxl.Workbook()
    for row in (TITLES, *people(2)):
        book.active.append(row)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "names"),
    [
        (CARDS.encode(), "cards.vcf", {"u-1": "Acme", "u-2": "Eve"}),
        (workbook(), "book.xlsx", {f"ada{n}@acme.example": f"Company {n}" for n in range(2)}),
    ],
)
def test_other_forms_come_in_by_the_same_way(office, content, name, names):
    place = f"inbox/{TENANT}.office/{name}"
    if name.endswith("xlsx"):
        look = office.imports.look(OFFICE, io.BytesIO(content), name)
        office.imports.save(OFFICE, look, "ada")
    office.drop(content, place)
    assert office.work(sample_of(place)) == NOTHING_FAILED
    assert office.last().state is ImportState.DONE, office.last().problem
    records = office.stack.deployment.connect(OFFICE).read(Kind.COMPANY, sorted(office.ids()))
    assert {record.id: record.fields["name"] for record in records} == names
    assert len(office.queued()) == 2


@pytest.mark.parametrize(("left", "braked"), [(18, False), (2, True)])
def test_what_a_complete_file_no_longer_has_goes_through_sweeps_and_their_brake(office, left, braked):
    titles = ("Opportunity ID", "Opportunity Name", "Amount", "Close Date", "Stage")
    deals = [(f"D-{one}", f"Deal {one}", "5.00", "2026-01-05", "Won") for one in range(20)]
    office.take(export(deals, titles), "deals.csv")
    assert len(office.ids(Kind.DEAL)) == 20
    for one in range(20):
        key = LinkKey(TENANT, "of-deals-to-invoices", "invoices", f"D-{one}")
        office.stack.deployment.links.store(Link(key, target_id=f"i{one}"))
    office.take(export(deals[:left], titles), "deals.csv", complete=True)
    office.queued()
    sweeps = office.stack.deployment.poll_changes()
    first, second = (sweeps.sweep(TENANT, "office") for _ in range(2))
    assert first.braked == []
    assert {one.id for one in office.queued()} == (set() if braked else {"D-18", "D-19"})
    assert second.braked == ([Kind.DEAL] if braked else [])
    assert second.queued.get(Kind.DEAL, 0) == (0 if braked else 2)
