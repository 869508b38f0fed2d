"""Plans that are kept: applied exactly, approved, listed, taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.engine.world import TENANT
from tieout.cli.identity import caller_here
from tieout.cli.talk import Code
from tieout.domain.errors import RejectedError
from tieout.domain.plans import PlanState
from tieout.domain.records import Kind
from tieout.ports.state import StoredSync

SYNC = "deals-to-invoices"


def planned(terminal, *arguments: str) -> str:
    identifier: str = terminal.json("plan", SYNC, *arguments)["plan"]["id"]
    return identifier


def put_sync(terminal, find: str, put: str, version: int = 2) -> None:
    state = terminal.world.state
    former = state.stored_syncs[TENANT, SYNC]
    assert find in former.text
    state.put_sync(StoredSync(TENANT, SYNC, version, former.text.replace(find, put, 1), terminal.world.clock.now()))


def test_a_plan_is_kept_and_its_name_and_digest_are_said(terminal):
    terminal.world.deal("d1", "1054")
    terminal.type("plan", SYNC)
    assert terminal.exit_code == Code.OK
    (plan,) = terminal.world.plans.stored.values()
    assert f"Plan {plan.id}, digest {plan.digest}, kept until 2026-12-22." in terminal.out
    assert f"Apply it with `tieout apply {plan.id} --tenant acme`." in terminal.out
    assert plan.created_by == caller_here()


def test_a_plan_need_not_be_kept(terminal):
    terminal.world.deal("d1", "1054")
    assert terminal.json("plan", SYNC, "--no-save")["plan"] is None
    assert terminal.world.plans.stored == {}


def test_a_sync_whose_name_is_a_command_is_planned_by_make(terminal):
    assert terminal.json("plan", "make", SYNC)["sync"] == SYNC
    assert terminal.json("plan", "--show", "3", SYNC)["sync"] == SYNC


def test_a_kept_plan_is_applied_exactly(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.world.deal("d2", "55")
    terminal.type("apply", plan, given="y\n")
    assert terminal.exit_code == Code.OK
    assert "Write 3 records?" in terminal.err
    assert "3 records written" in terminal.out
    assert f"`tieout undo {plan} --tenant acme`" in terminal.out
    assert [invoice.fields["total"] for invoice in terminal.world.invoices()] == [1054]


def test_a_plan_is_applied_once(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.json("apply", plan, "--yes")
    again = terminal.json("apply", plan, "--yes")
    assert terminal.exit_code == Code.NO
    assert f"was applied already, by {caller_here()}" in again["error"]["message"]


def test_what_changed_since_is_told_and_nothing_is_written(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.deal("d2", "55")
    plan = planned(terminal)
    terminal.world.deal("d1", "2000")
    terminal.type("apply", plan, "--yes")
    assert terminal.exit_code == Code.NO
    assert f"Nothing was written: {plan} is not what would be written today." in terminal.out
    assert "invoices/d1  GTX Pro for Acme  The record changed." in terminal.out
    assert "lines: [{" in terminal.out
    assert f"`tieout apply {plan} --only-unchanged --tenant acme`" in terminal.out
    assert terminal.world.invoices() == []
    assert terminal.world.plans.stored[TENANT, plan].state is PlanState.PLANNED
    changed = terminal.json("apply", plan, "--yes")
    (one,) = changed["changed"]
    assert (one["id"], one["before"]["amount"], one["now"]["amount"]) == ("d1", "1054", "2000")
    assert (changed["as_planned"], changed["written"]) == (3, 0)


def test_what_is_still_as_planned_can_be_written_alone(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.deal("d2", "55")
    plan = planned(terminal)
    terminal.world.deal("d1", "2000")
    done = terminal.json("apply", plan, "--yes", "--only-unchanged")
    assert (terminal.exit_code, done["written"]) == (Code.OK, 3)
    assert [invoice.fields["total"] for invoice in terminal.world.invoices()] == [55]


def test_nothing_left_of_a_plan_is_no_run(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.world.apply("d1")
    terminal.type("apply", plan, "--yes", "--only-unchanged")
    assert terminal.exit_code == Code.NO
    assert "Nothing of the plan is as it was" in terminal.err


def test_a_changed_sync_is_told(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    put_sync(terminal, "steps:", "# mended\nsteps:")
    terminal.type("apply", plan, "--yes")
    assert terminal.exit_code == Code.NO
    assert "planned with version 1, now 2" in terminal.out


def test_what_changes_while_it_is_written_is_left_out_and_named(terminal, monkeypatch):
    terminal.world.deal("d1", "1054")
    terminal.world.deal("d2", "55")
    plan = planned(terminal)
    send = terminal.world.queue.send

    def edited_meanwhile(changes):
        terminal.world.deal("d1", "2000")
        send(changes)

    monkeypatch.setattr(terminal.world.queue, "send", edited_meanwhile)
    terminal.type("apply", plan, "--yes")
    assert terminal.exit_code == Code.NO
    assert "1 record left out, as they changed since the plan:" in terminal.out
    assert "invoices/d1  It would have other lines now." in terminal.out
    assert [invoice.fields["total"] for invoice in terminal.world.invoices()] == [55]


def test_a_run_that_was_not_seen_to_its_end_goes_on(terminal, monkeypatch):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    clock = terminal.world.clock
    with monkeypatch.context() as nobody:
        nobody.setattr(clock, "sleep", lambda seconds: setattr(clock, "time", clock.time + timedelta(minutes=seconds)))
        terminal.json("apply", plan, "--yes", "--wait-minutes", "1")
    assert terminal.exit_code == Code.TRY_LATER
    shown = terminal.json("plan", "show", plan)
    assert (shown["plan"]["state"], shown["plan"]["ends"]["still_waiting"]) == ("applying", 3)
    done = terminal.json("apply", plan, "--yes")
    assert (terminal.exit_code, done["written"]) == (Code.OK, 3)
    assert len(terminal.world.invoices()) == 1


def test_above_the_caps_somebody_approves_first(terminal):
    put_sync(terminal, "steps:", "caps: {run_writes: 2, run_amount: 1000}\nsteps:", version=1)
    terminal.world.deal("d1", "1054")
    refused = terminal.json("apply", SYNC, "--yes")
    assert terminal.exit_code == Code.NO
    assert "needs approval. It has 3 writes; 2 are allowed without approval." in refused["error"]["message"]
    (plan,) = [one.id for one in terminal.world.plans.stored.values()]
    assert f"tieout plan approve {plan} --tenant acme" in refused["error"]["next_step"]
    terminal.type("plan", "show", plan)
    assert "needs approval: It has 3 writes" in terminal.out

    terminal.type("plan", "approve", plan)
    assert f"{plan} is approved by {caller_here()}: 3 writes, digest " in terminal.out
    assert terminal.json("apply", plan, "--yes")["written"] == 3
    shown = terminal.json("plan", "show", plan)["plan"]
    assert (shown["state"], shown["approved_by"], shown["applied_by"]) == ("applied", caller_here(), caller_here())
    terminal.type("plan", "approve", plan)
    assert terminal.exit_code == Code.NO


def test_a_plan_that_needs_approval_says_so_when_it_is_made(terminal):
    put_sync(terminal, "steps:", "caps: {run_writes: 2}\nsteps:", version=1)
    terminal.world.deal("d1", "1054")
    terminal.type("plan", SYNC)
    assert "It needs approval: It has 3 writes; 2 are allowed without approval." in terminal.out


@pytest.mark.parametrize("option", [("--max-writes", "2"), ("--max-amount", "1000")])
def test_a_tighter_cap_of_one_run(terminal, option):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.type("apply", plan, "--yes", *option)
    assert terminal.exit_code == Code.NO
    assert "without approval" in terminal.err
    assert terminal.world.invoices() == []


@pytest.mark.parametrize("amount", ["much", "NaN", "sNaN", "Infinity", "-1", "1,000"])
def test_an_amount_that_is_none(terminal, amount):
    terminal.world.deal("d1", "1054")
    terminal.type("apply", SYNC, "--yes", "--max-amount", amount)
    assert terminal.exit_code == Code.USAGE
    assert f'"{amount}" is no amount.' in terminal.err
    assert "Next: Write --max-amount like 1000" in terminal.err
    assert terminal.world.invoices() == []


def test_records_go_with_a_sync_only(terminal):
    terminal.type("apply", "plan-20261122-090000-k3f9", "--record", "d1")
    assert terminal.exit_code == Code.USAGE


def test_a_plan_that_is_not_there(terminal):
    for command in (("apply", "--yes"), ("undo",), ("plan", "show"), ("plan", "approve")):
        terminal.type(*command, "plan-20261122-090000-k3f9")
        assert terminal.exit_code == Code.SETUP
        assert "has no plan plan-20261122-090000-k3f9" in terminal.err


def test_plans_are_listed_the_newest_first(terminal):
    terminal.type("plan", "list")
    assert "No plan is kept." in terminal.out
    terminal.world.deal("d1", "1054")
    first = planned(terminal)
    terminal.world.clock.time += timedelta(minutes=1)
    second = planned(terminal)
    assert [one["id"] for one in terminal.json("plan", "list")["plans"]] == [second, first]
    terminal.type("plan", "list", "--show", "1")
    assert second in terminal.out
    assert first not in terminal.out
    assert "and 1 more (--show 2)" in terminal.out


def test_a_plan_shows_its_writes_and_how_each_ended(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.world.books.fault = lambda effect: (
        RejectedError("The number is taken.", code="6140") if effect.kind is Kind.INVOICE else None
    )
    terminal.type("apply", plan, "--yes")
    assert terminal.exit_code == Code.WOULD_PARK
    shown = terminal.json("plan", "show", plan)
    ends = {write["step"]: (write["end"], write["target_id"], write["reason"]) for write in shown["writes"]}
    assert ends["customers"] == ("written", "101", "")
    assert ends["invoices"] == ("parked", "", "The number is taken.")
    terminal.type("plan", "show", plan)
    assert "2 written, 0 unchanged, 0 changed since, 1 parked, 0 still waiting" in terminal.out
    assert "1,054.00 USD" in terminal.out


def test_a_plan_of_a_document_that_is_not_applied_yet(terminal, tmp_path):
    terminal.world.deal("d1", "1054")
    terminal.world.apply("d1")
    file = tmp_path / "sync.yaml"
    text = terminal.world.sync_text
    marked = text.replace(
        "      currency: {constant: USD}", "      memo: {constant: Hello}\n      currency: {constant: USD}", 1
    )
    assert marked != text
    file.write_text(marked)
    terminal.type("plan", SYNC, "--file", str(file))
    assert terminal.exit_code == Code.OK
    assert 'memo: empty -> "Hello"' in terminal.out
    (plan,) = terminal.world.plans.stored.values()
    assert f"Apply it with `tieout config apply {file}`, then `tieout apply {plan.id} --tenant acme`." in " ".join(
        terminal.out.split()
    )
    assert terminal.world.state.stored_syncs[TENANT, SYNC].version == 1
    terminal.type("apply", plan.id, "--yes")
    assert terminal.exit_code == Code.NO

    applied = terminal.json("config", "apply", str(file))
    assert applied["applied"][0]["may_rewrite"] == 3
    done = terminal.json("apply", plan.id, "--yes")
    assert done["written"] == 1, done
    assert terminal.world.invoices()[0].fields["memo"] == "Hello"


def test_a_file_without_that_sync(terminal, tmp_path):
    file = tmp_path / "sync.yaml"
    file.write_text(terminal.world.sync_text.replace(SYNC, "other", 1))
    terminal.type("plan", SYNC, "--file", str(file))
    assert terminal.exit_code == Code.USAGE
    assert f"has no sync `{SYNC}`" in terminal.err


def test_a_changed_sync_says_how_much_it_may_rewrite(terminal, tmp_path):
    terminal.world.deal("d1", "1054")
    terminal.world.apply("d1")
    file = tmp_path / "sync.yaml"
    file.write_text(terminal.world.sync_text + "\n# mended\n")
    terminal.type("config", "apply", str(file))
    assert (
        "3 documents may be written again by it, 200 a day at most without approval; "
        f"`tieout plan {SYNC} --tenant acme` shows which"
    ) in terminal.out


def test_a_run_is_taken_back(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.json("apply", plan, "--yes")
    terminal.type("undo", plan)
    assert terminal.exit_code == Code.OK
    assert "1,054.00 USD" in terminal.out
    assert "2 records would stay as they are:" in terminal.out
    assert "books are never deleted by us" in terminal.out
    assert terminal.world.invoices()[0].fields["state"] == "open"
    undo = terminal.json("undo", plan)["plan"]["id"]
    assert undo.startswith("undo-")
    terminal.type("apply", undo, given="y\n")
    assert terminal.exit_code == Code.OK
    assert "1 record written" in terminal.out
    assert terminal.world.invoices()[0].fields["state"] == "voided"
    terminal.type("undo", plan)
    assert f"Nothing of {plan} is left to take back." in terminal.out
    terminal.type("plan", "show", plan)
    assert f"taken back by {undo}" in terminal.out


def test_paid_invoices_are_named_and_credited_on_request(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.json("apply", plan, "--yes")
    terminal.world.pay(terminal.world.invoices()[0].id, "54")
    terminal.type("undo", plan)
    assert terminal.exit_code == Code.WOULD_PARK
    assert "`--paid credit_note`" in terminal.out
    undo = terminal.json("undo", plan, "--paid", "credit_note")["plan"]["id"]
    assert terminal.json("apply", undo, "--yes")["written"] == 1
    assert len(terminal.world.books.all(Kind.CREDIT_NOTE)) == 1


def test_a_plan_that_was_never_applied_is_not_taken_back(terminal):
    terminal.world.deal("d1", "1054")
    terminal.type("undo", planned(terminal))
    assert terminal.exit_code == Code.NO
    assert "was never applied" in terminal.err


def test_a_plan_too_large_to_be_kept_is_shown_all_the_same(terminal, monkeypatch):
    from tieout.domain.errors import SettingsError  # noqa: PLC0415 - used here alone

    def refuse(*_):
        raise SettingsError("The plan is too large to be kept.", next_step="Plan some records only.")

    monkeypatch.setattr(terminal.world.plans, "put_plan", refuse)
    terminal.world.deal("d1", "1054")
    terminal.type("plan", SYNC)
    assert terminal.exit_code == Code.OK
    assert "1,054.00 USD" in terminal.out
    assert "too large to be kept" in terminal.err


def test_a_backfill_asks_if_runs_have_a_cap(terminal):
    put_sync(terminal, "steps:", "caps: {run_writes: 2}\nsteps:", version=1)
    terminal.world.deal("d1", "1054")
    terminal.type("backfill", SYNC, given="n\n")
    assert terminal.exit_code == Code.NO
    assert "a backfill has none" in terminal.err
    assert terminal.json("backfill", SYNC)["exit_code"] == Code.USAGE
    assert terminal.world.queue.now == []
    assert terminal.json("backfill", SYNC, "--yes")["ties_out"]


def test_a_plan_says_nothing_private_to_another_tenant(terminal):
    terminal.world.deal("d1", "1054")
    plan = planned(terminal)
    terminal.world.plans.stored["globex", "x"] = replace(terminal.world.plans.stored[TENANT, plan], tenant="globex")
    assert [one["id"] for one in terminal.json("plan", "list")["plans"]] == [plan]
    terminal.type("plan", "show", plan, "--tenant", "globex")
    assert terminal.exit_code == Code.SETUP
