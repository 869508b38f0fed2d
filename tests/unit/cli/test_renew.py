"""`tieout renew`: what was withdrawn may be written anew."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.engine.world import TENANT
from tests.unit.cli.conftest import Terminal
from tests.unit.cli.test_stored_plans import SYNC, planned, put_sync
from tieout.cli.identity import caller_here
from tieout.cli.talk import Code
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind

WHERE = f"{SYNC}/invoices/d1"


@dataclass
class Undone:
    """Two deals whose invoices were written by `plan` and voided by `undo`."""

    terminal: Terminal
    plan: str
    undo: str

    def link(self, source_id: str = "d1") -> Link:
        return self.terminal.world.state.links[LinkKey(TENANT, SYNC, "invoices", source_id)]

    def standing(self) -> list[tuple[str, int]]:
        invoices = [one.fields for one in self.terminal.world.invoices() if one.fields["state"] != "voided"]
        return [(str(one["number"]), int(one["total"])) for one in invoices]


@pytest.fixture
def undone(terminal) -> Undone:
    terminal.world.deal("d1", "1054")
    terminal.world.deal("d2", "46")
    plan = planned(terminal)
    terminal.json("apply", plan, "--yes")
    undo = terminal.json("undo", plan)["plan"]["id"]
    terminal.json("apply", undo, "--yes")
    return Undone(terminal, plan, undo)


def test_an_undo_says_how_to_have_its_documents_written_anew(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.json("apply", plan, "--yes")
    undo = terminal.json("undo", plan)["plan"]["id"]
    terminal.type("apply", undo, "--yes")
    assert f"`tieout renew --plan {undo} --tenant {TENANT}`" in terminal.out
    terminal.type("plan", SYNC)
    assert "2 unchanged, 0 not selected." in terminal.out
    assert "1 record left out: what was written for it was taken back; `tieout renew` allows a new one." in terminal.out
    terminal.type("undo", undo)
    assert terminal.exit_code == Code.NO
    assert f"`tieout renew --plan {undo} --tenant {TENANT}`" in terminal.err


def test_a_corrected_run_is_written_anew(undone):
    terminal = undone.terminal
    put_sync(terminal, "      currency:", "      memo: {constant: Mended}\n      currency:")
    terminal.type("renew", "--plan", undone.undo, given="y\n")
    assert terminal.exit_code == Code.OK
    assert f"  {WHERE}  invoice Sd1  1,054.00 USD  withdrawn: undone" in terminal.err
    assert "Let new documents be written for 2 records, in place of 1,100.00 USD?" in terminal.err
    assert "2 records may get a new document, in place of 1,100.00 USD. Nothing is written yet." in terminal.out
    assert f"Run `tieout plan {SYNC} --tenant {TENANT}`, look at it, and apply it." in terminal.out
    assert undone.standing() == []
    assert undone.link().renewed_by == caller_here()

    again = planned(terminal)
    assert terminal.json("apply", again, "--yes")["written"] == 2
    assert undone.standing() == [("Sd1-2", 1054), ("Sd2-2", 46)]
    assert [one.fields.get("memo") for one in terminal.world.invoices()] == [None, None, "Mended", "Mended"]
    terminal.type("tie-out", SYNC)
    assert terminal.exit_code == Code.OK


def test_the_plan_that_was_taken_back_names_its_undo(undone):
    data = undone.terminal.json("renew", "--plan", undone.plan, "--yes")
    assert [one["where"] for one in data["renewed"]] == [WHERE, f"{SYNC}/invoices/d2"]
    assert data["totals"] == {"USD": "1100"}
    assert data["refused"] == []


def test_one_record_is_renewed_and_the_other_stays(undone):
    data = undone.terminal.json("renew", WHERE, "--yes")
    assert undone.terminal.exit_code == Code.OK
    (one,) = data["renewed"]
    former = undone.terminal.world.invoices()[0].id
    assert (one["document"], one["former_id"], one["withdrawn"], one["amount"]) == (
        "invoice Sd1",
        former,
        "undone",
        "1054",
    )
    assert data["next_step"] == f"Run `tieout plan {SYNC} --record d1 --tenant {TENANT}`."
    assert (undone.link("d1").generation, undone.link("d2").generation) == (1, 0)


def test_renewing_a_run_again_does_no_harm(undone):
    undone.terminal.json("renew", "--plan", undone.undo, "--yes")
    undone.terminal.type("renew", "--plan", undone.undo)
    assert undone.terminal.exit_code == Code.OK
    assert f"Nothing that {undone.undo} withdrew is withdrawn still." in undone.terminal.out
    assert undone.link().generation == 1


def test_one_that_is_renewed_already_is_refused(undone):
    undone.terminal.json("renew", WHERE, "--yes")
    error = undone.terminal.json("renew", WHERE, "--yes")["error"]
    assert undone.terminal.exit_code == Code.NO
    assert f"a new document was allowed already, by {caller_here()}" in error["message"]
    assert undone.link().generation == 1


def test_what_stands_again_is_left_and_named(undone):
    world = undone.terminal.world
    invoice = next(one for one in world.invoices() if one.fields["number"] == "Sd1")
    world.books.put(Kind.INVOICE, invoice.id, state="open")
    undone.terminal.type("renew", "--plan", undone.undo, "--yes")
    assert undone.terminal.exit_code == Code.NO
    assert "1 record may get a new document, in place of 46.00 USD." in undone.terminal.out
    assert "1 record left as it is:" in undone.terminal.out
    assert f"  The invoice Sd1 stands in the books, so {WHERE} gets no other one." in undone.terminal.out
    undone.terminal.type("renew", WHERE, "--yes")
    assert undone.terminal.exit_code == Code.NO
    assert "Void it there first" in undone.terminal.err


def test_nothing_is_renewed_unless_somebody_agrees(undone):
    terminal = undone.terminal
    terminal.type("renew", "--plan", undone.undo, "--show", "1", given="n\n")
    assert (terminal.exit_code, "Nothing was renewed." in terminal.err) == (Code.NO, True)
    assert "  and 1 more (--show 2)" in terminal.err
    terminal.type("renew", "--plan", undone.undo)
    assert (terminal.exit_code, "Nobody answered." in terminal.err) == (Code.USAGE, True)
    assert "With --json nobody can be asked." in terminal.json("renew", WHERE)["error"]["message"]
    assert terminal.exit_code == Code.USAGE
    assert undone.link().generation == 0


@pytest.mark.parametrize("arguments", [(), (WHERE, "--plan", "undo-20261122-090000-k3f9"), ("d1",), (f"{SYNC}//d1",)])
def test_what_is_meant_is_said_in_one_way(terminal, arguments):
    terminal.type("renew", *arguments, "--yes")
    assert terminal.exit_code == Code.USAGE


def test_what_cannot_be_found(terminal):
    for arguments, said in (
        (("--plan", "undo-20261122-090000-k3f9"), "has no plan undo-20261122-090000-k3f9"),
        (("other/invoices/d1",), "no sync `other`"),
        ((f"{SYNC}/other/d1",), "no step `other`"),
    ):
        terminal.type("renew", *arguments, "--yes")
        assert terminal.exit_code == Code.SETUP
        assert said in terminal.err
    terminal.type("renew", WHERE, "--yes")
    assert terminal.exit_code == Code.NO
    assert "it has no document" in terminal.err


def test_a_plan_that_took_nothing_back(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.type("renew", "--plan", plan, "--yes")
    assert terminal.exit_code == Code.NO
    assert f"{plan} took nothing back, and was not taken back." in terminal.err
