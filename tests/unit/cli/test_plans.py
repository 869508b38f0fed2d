"""`tieout plan` and `tieout apply`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.engine.world import TENANT
from tieout.cli.talk import Code
from tieout.domain.connections import ConnectionState
from tieout.domain.errors import RejectedError
from tieout.domain.records import Kind

SYNC = "deals-to-invoices"


def test_a_plan_shows_amounts_and_writes_nothing(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.deal("d2", "550.50")
    terminal.type("plan", SYNC)
    assert terminal.exit_code == Code.OK
    assert "Invoices to create: 1,604.50 USD" in terminal.out
    assert "1,054.00 USD" in terminal.out
    assert not terminal.world.invoices()
    assert not terminal.world.state.links
    assert not terminal.world.queue.now


def test_a_plan_as_json_has_every_write_with_its_document(terminal):
    terminal.world.deal("d1", "1054")
    plan = terminal.json("plan", SYNC)
    assert plan["totals"] == {"USD": "1054"}
    assert plan["steps"]["invoices"] == {"create": 1, "update": 0}
    invoice = next(write for write in plan["writes"] if write["step"] == "invoices")
    assert (invoice["id"], invoice["operation"], invoice["amount"]) == ("d1", "create", "1054")
    assert invoice["document"]["number"] == "Sd1"


def test_what_would_only_be_linked_is_told_with_its_reasons(terminal):
    terminal.world.books.put(Kind.CUSTOMER, "77", name="ACME Corp.", email="ada@acme.example")
    terminal.world.books.looks_similar = lambda _document, _record: True
    terminal.world.deal("d1")
    terminal.type("plan", SYNC)
    assert "1 record stands on the other side already" in terminal.out
    assert "Notice: customers, Acme Corporation: It would be linked to ACME Corp.: " in terminal.out
    assert "same e-mail address" in terminal.out
    (link,) = terminal.json("plan", SYNC)["links"]
    assert (link["id"], link["operation"]) == ("c1", "link")


@pytest.mark.parametrize("command", [["plan", SYNC], ["apply", SYNC, "--yes"]])
def test_records_that_nobody_finds_are_named(terminal, command):
    terminal.world.deal("d1", "1054")
    terminal.type(*command, "--record", "d8", "--record", "d9")
    assert terminal.exit_code == Code.NO
    assert f"Error: The source of {SYNC} shows no record d8, d9." in terminal.err
    terminal.world.deal("d2", status="open")
    for record in ("d1", "d2"):
        terminal.type("plan", SYNC, "--record", "d9", "--record", record)
        assert terminal.exit_code == Code.OK


def test_a_plan_that_would_park_ends_with_three_and_says_what_to_do(terminal):
    terminal.world.deal("d1", product="GTX Por")
    terminal.type("plan", SYNC)
    assert terminal.exit_code == Code.WOULD_PARK
    assert "1 record would park:" in terminal.out
    assert 'No item is named "GTX Por"' in terminal.out
    assert "Add `GTX Por: GTX Pro`" in terminal.out
    assert not list(terminal.world.state.unsynced(TENANT))


def test_a_plan_of_one_record(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.deal("d2", "550")
    plan = terminal.json("plan", SYNC, "--record", "d2")
    assert plan["totals"] == {"USD": "550"}


def test_an_update_shows_what_changes(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.apply("d1")
    terminal.world.company("c1", "Acme Corporation Ltd")
    plan = terminal.json("plan", SYNC)
    (update,) = plan["writes"]
    assert update["operation"] == "update"
    assert update["changed"]["name"] == ["Acme Corporation", "Acme Corporation Ltd"]
    terminal.type("plan", SYNC)
    assert 'name: "Acme Corporation" -> "Acme Corporation Ltd"' in terminal.out


def test_a_long_plan_says_how_many_more(terminal):
    for number in range(5):
        terminal.world.deal(f"d{number}", "10")
    terminal.type("plan", SYNC, "--show", "2")
    assert "and 5 more (--show 7)" in terminal.out


def test_customers_do_not_hide_the_invoices(terminal):
    for number in range(9):
        terminal.world.company(f"c{number}", f"Company {number}")
        terminal.world.deal(f"d{number}", "10", company=f"c{number}")
    terminal.type("plan", SYNC, "--show", "6")
    rows = [line.split()[1] for line in terminal.out.splitlines() if line.lstrip().startswith("+")]
    assert rows == ["customers", "customers", "items", "invoices", "invoices", "invoices"]
    assert "10.00 USD" in terminal.out


def test_progress_counts_each_kind_by_itself(terminal):
    terminal.world.deal("d1", "10")
    terminal.type("plan", SYNC)
    assert terminal.err == "Companies: 1\nProducts: 1\nDeals: 1\n"


def test_a_plan_across_a_paused_connection_says_so(terminal):
    terminal.world.deal("d1")
    pause(terminal)
    terminal.type("plan", SYNC)
    assert terminal.exit_code == Code.TRY_LATER
    assert "The connection quickbooks is paused: Permission was taken back." in terminal.out
    assert "tieout connect quickbooks --tenant acme" in terminal.out


def pause(terminal):
    connection = terminal.world.state.connection(TENANT, "quickbooks")
    terminal.world.state.put_connection(
        replace(
            connection,
            state=ConnectionState.PAUSED,
            paused_because="Permission was taken back.",
            paused_at=terminal.world.clock.now(),
        )
    )


def test_apply_asks_writes_and_tells(terminal):
    terminal.world.deal("d1", "1054")
    terminal.type("apply", SYNC, given="y\n")
    assert terminal.exit_code == Code.OK
    assert "Write 3 records?" in terminal.err
    assert "3 records written" in terminal.out
    assert [invoice.fields["total"] for invoice in terminal.world.invoices()] == [1054]


def test_apply_writes_nothing_on_no(terminal):
    terminal.world.deal("d1", "1054")
    terminal.type("apply", SYNC, given="n\n")
    assert terminal.exit_code == Code.NO
    assert not terminal.world.queue.now
    assert not terminal.world.invoices()


def test_apply_without_an_answer_names_the_option(terminal):
    terminal.world.deal("d1", "1054")
    terminal.type("apply", SYNC, given="")
    assert terminal.exit_code == Code.USAGE
    assert "--yes" in terminal.err


def test_apply_as_json_needs_yes_and_gives_one_document(terminal):
    terminal.world.deal("d1", "1054")
    refused = terminal.json("apply", SYNC)
    assert refused["exit_code"] == Code.USAGE
    done = terminal.json("apply", SYNC, "--yes")
    assert (done["written"], done["parked"], done["still_waiting"]) == (3, 0, 0)


def test_apply_leaves_out_what_would_park_and_writes_the_rest(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.deal("d2", product="GTX Por")
    terminal.json("apply", SYNC, "--yes")
    assert len(terminal.world.invoices()) == 1
    assert not list(terminal.world.state.unsynced(TENANT))


def test_a_second_apply_writes_nothing(terminal):
    terminal.world.deal("d1", "1054")
    terminal.json("apply", SYNC, "--yes")
    writes = terminal.world.books.calls["write"]
    terminal.type("apply", SYNC, "--yes")
    assert terminal.exit_code == Code.OK
    assert "Nothing to write." in terminal.out
    assert terminal.world.books.calls["write"] == writes


def test_apply_counts_what_parks_meanwhile(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.books.fault = lambda effect: (
        RejectedError("The number is taken.", code="6140") if effect.kind is Kind.INVOICE else None
    )
    done = terminal.json("apply", SYNC, "--yes")
    assert terminal.exit_code == Code.WOULD_PARK
    assert (done["written"], done["parked"]) == (2, 1)


def test_apply_stops_waiting_in_time(terminal, monkeypatch):
    terminal.world.deal("d1", "1054")
    clock = terminal.world.clock

    def nobody_works(seconds: float) -> None:
        clock.time += timedelta(seconds=seconds * 30)

    monkeypatch.setattr(clock, "sleep", nobody_works)
    done = terminal.json("apply", SYNC, "--yes", "--wait-minutes", "1")
    assert terminal.exit_code == Code.TRY_LATER
    assert done["still_waiting"] == 3


def test_an_unknown_sync_lists_those_there_are(terminal):
    terminal.type("plan", "deals")
    assert terminal.exit_code == Code.SETUP
    assert SYNC in terminal.err
    assert "Next: " in terminal.err
