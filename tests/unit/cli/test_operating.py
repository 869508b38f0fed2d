"""`tieout backfill`, `tie-out`, `status` and `parked`."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.engine.world import BOOKS, START, TENANT
from tieout.cli import history
from tieout.cli.quotas import left_of
from tieout.cli.talk import Code
from tieout.domain.changes import UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.errors import ThrottledError, UnavailableError
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind
from tieout.engine.quota import Forecast
from tieout.ports.connector import Limit, Window
from tieout.transport import Budget
from tieout.transport.budget import Allowance

SYNC = "deals-to-invoices"
MISSING = f"{SYNC}/invoices/d1"


@pytest.fixture
def parked(terminal):
    """Two deals that name a product that is not there, and one that is in agreement."""
    terminal.world.deal("d1", "1054", product="GTX Por")
    terminal.world.deal("d2", "550.5", product="GTX Por")
    terminal.world.deal("d3", "10")
    terminal.world.apply("d1", "d2", "d3")
    return terminal


def test_backfill_syncs_the_history_and_compares(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.deal("d2", "550")
    terminal.type("backfill", SYNC)
    assert terminal.exit_code == Code.OK, terminal.out + terminal.err
    assert len(terminal.world.invoices()) == 2
    assert "1,604.00" in terminal.out
    assert "ties out" in terminal.out
    assert "DOES NOT" not in terminal.out


def test_backfill_as_json_has_what_was_queued_and_the_comparison(terminal):
    terminal.world.deal("d1", "1054")
    answer = terminal.json("backfill", SYNC)
    assert answer["queued"] == {"company": 1, "product": 1, "deal": 1}
    assert answer["ties_out"] is True
    invoices = next(step for step in answer["steps"] if step["step"] == "invoices")
    (totals,) = invoices["totals"]
    assert totals["currency"] == "USD"
    assert [Decimal(totals[name]) for name in ("source", "target", "difference")] == [1054, 1054, 0]


def test_backfill_without_waiting_only_queues(terminal):
    terminal.world.deal("d1", "1054")
    terminal.type("backfill", SYNC, "--no-wait")
    assert terminal.exit_code == Code.OK
    assert f"tieout tie-out {SYNC}" in terminal.out
    assert not terminal.world.invoices()
    assert terminal.world.queue.now


def test_backfill_that_takes_too_long_says_how_to_go_on(terminal, monkeypatch):
    terminal.world.deal("d1", "1054")
    monkeypatch.setattr(history.Backfill, "wait", lambda *_, **__: False)
    terminal.type("backfill", SYNC)
    assert terminal.exit_code == Code.TRY_LATER
    assert f"tieout tie-out {SYNC} --tenant acme" in terminal.err


def test_ctrl_c_leaves_a_sentence_that_says_how_to_resume(terminal, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(history.Backfill, "run", interrupted)
    terminal.type("backfill", SYNC)
    assert terminal.exit_code == Code.INTERRUPTED
    assert f"Stopped. Run `tieout backfill {SYNC} --tenant acme` again" in terminal.err
    assert "Traceback" not in terminal.err


def test_a_provider_that_is_down_ends_with_four(terminal, monkeypatch):
    def down(*_, **__):
        raise UnavailableError("The CRM does not answer.")

    monkeypatch.setattr(history.Backfill, "run", down)
    terminal.type("backfill", SYNC)
    assert terminal.exit_code == Code.TRY_LATER
    assert "Error: The CRM does not answer." in terminal.err


def test_tie_out_finds_what_is_missing(parked):
    parked.type("tie-out", SYNC)
    assert parked.exit_code == Code.NO
    assert "DOES NOT TIE OUT" in parked.out
    assert "invoices: without a partner on the other side: d1, d2" in parked.out
    answer = parked.json("tie-out", SYNC)
    invoices = next(step for step in answer["steps"] if step["step"] == "invoices")
    assert (invoices["source_count"], invoices["target_count"]) == (3, 1)
    assert Decimal(invoices["totals"][0]["difference"]) == Decimal("1604.50")


def test_tie_out_of_what_agrees(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.apply("d1")
    terminal.type("tie-out", SYNC)
    assert terminal.exit_code == Code.OK


def allow(terminal, calls):
    """The books allow so many calls a day; an invoice takes three."""
    entry = terminal.desk.deployment.provider("fake_books")
    limits = (*entry.manifest.limits, Limit("day", calls, 24 * 3600, Window.QUOTA))
    entry.manifest = replace(entry.manifest, limits=limits, calls_to_write={Kind.INVOICE: 3})


def test_backfill_says_how_many_days_the_quota_makes_it_take(terminal):
    for number in range(50):
        terminal.world.deal(f"d{number}")
    allow(terminal, 100)
    terminal.type("backfill", SYNC, "--no-wait")
    said = " ".join((terminal.out + terminal.err).split())
    assert (
        "allows the connection quickbooks 100 calls in 24 hours (80 for history), and 80 of them are left now." in said
    )
    assert "What is to be written takes about 152. So the last of it is written in about 1 day" in said
    quota = terminal.json("backfill", SYNC, "--no-wait")["quota"]
    assert (quota["needed"], quota["left"], quota["seconds"]) == (152, 80, 24 * 3600)


def test_backfill_of_a_provider_without_a_quota_says_nothing_of_one(terminal):
    assert terminal.json("backfill", SYNC, "--no-wait")["quota"] is None


def test_a_plan_says_how_long_the_quota_makes_it_take(terminal):
    for number in range(50):
        terminal.world.deal(f"d{number}")
    allow(terminal, 100)
    (quota,) = terminal.json("plan", SYNC)["quotas"]
    assert (quota["connection"], quota["needed"], quota["left"], quota["seconds"]) == (BOOKS, 152, 100, 24 * 3600)
    terminal.type("plan", SYNC)
    assert "the last of it is written in about 1 day; nothing is lost meanwhile." in " ".join(terminal.out.split())


def test_a_plan_of_a_file_with_another_step_says_so_too(terminal, tmp_path):
    terminal.world.deal("d1")
    allow(terminal, 100)
    file = tmp_path / "sync.yaml"
    file.write_text(terminal.world.sync_text.replace("  items:", "  wares:").replace("link: items", "link: wares"))
    (quota,) = terminal.json("plan", SYNC, "--file", str(file))["quotas"]
    assert (quota["needed"], quota["seconds"]) == (5, 0)


def test_status_tells_what_is_left_of_a_quota_and_what_waits_for_it(terminal):
    connections = terminal.json("status")["connections"]
    assert [one["quota"] for one in connections] == [None, None]

    allow(terminal, 2)
    terminal.type("status")
    assert "2 of 2 calls in 24 hours are left." in terminal.out

    terminal.world.deal("d1")
    terminal.world.books.fault = lambda effect: (
        ThrottledError("Too many.", retry_after_seconds=900) if effect.kind is Kind.INVOICE else None
    )
    terminal.world.apply("d1")
    terminal.type("status")
    said = " ".join(terminal.out.split())
    assert (
        "2 of 2 calls in 24 hours are left; what waits takes about 3, and the last of it is written in 1 day." in said
    )
    (quota,) = [one["quota"] for one in terminal.json("status")["connections"] if one["id"] == BOOKS]
    assert (quota["used"], quota["left"], quota["needed"], quota["seconds"]) == (0, 2, 3, 24 * 3600)


@pytest.mark.parametrize(
    ("hours", "period"), [(1, "1 hour"), (24, "24 hours"), (48, "2 days"), (21 * 24, "21 days"), (31 * 24, "31 days")]
)
def test_how_long_the_window_of_a_quota_is_called(hours, period):
    limit = Limit("month", 100, hours * 3600, Window.QUOTA)
    allowance = Allowance(limit, used=0, left=100, free_at=START, a_window=100)
    quota = Forecast(BOOKS, "the books", needed=0, allowance=allowance)
    assert left_of(quota) == f"100 of 100 calls in {period} are left."
    assert quota.said().startswith(f"the books allows the connection quickbooks 100 calls in {period}, and")


def test_status_tells_when_the_next_call_of_a_used_up_quota_is_allowed(terminal):
    allow(terminal, 2)
    limits = terminal.desk.deployment.provider("fake_books").limits_of(None)
    budget = Budget(terminal.world.state, TENANT, BOOKS, limits[-1:], terminal.world.clock)
    for _ in range(2):
        budget.spend(["day"])
    terminal.type("status")
    said = " ".join(terminal.out.split())
    assert "0 of 2 calls in 24 hours are left; the next call is allowed 2026-11-23T" in said


def test_status_when_all_is_well(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.apply("d1")
    answer = terminal.json("status")
    assert terminal.exit_code == Code.OK
    assert answer["needs_person"] is False
    invoices = next(step for step in answer["steps"] if step["step"] == "invoices")
    assert (invoices["in_agreement"], invoices["parked"]) == (1, 0)
    assert answer["queues"] == terminal.world.queue.waiting()


def test_status_ends_with_one_when_something_is_parked(parked):
    parked.work(7200)
    parked.type("status")
    assert parked.exit_code == Code.NO
    assert "2 hours" in parked.out
    assert "2 changes parked: see `tieout parked list --tenant acme`." in parked.out


def test_status_tells_of_a_paused_connection(terminal):
    connection = terminal.world.state.connection(TENANT, BOOKS)
    terminal.world.state.put_connection(
        replace(
            connection,
            state=ConnectionState.PAUSED,
            paused_because="Permission was taken back.",
            paused_at=terminal.world.clock.now(),
        )
    )
    terminal.type("status")
    assert terminal.exit_code == Code.NO
    assert "paused since 2026-11-22T09:00:00Z: Permission was taken back." in terminal.out
    assert "tieout connect quickbooks --tenant acme" in terminal.out


def test_status_tells_of_the_last_contact_and_the_end_of_the_sign_in(terminal):
    never = terminal.json("status")["connections"][0]
    assert (never["last_contact_at"], never["sign_in_ends_at"]) == (None, None)
    state = terminal.world.state
    state.put_cursor(TENANT, BOOKS, "health-contact", "2026-11-22T08:30:00+00:00")
    state.put_cursor(TENANT, BOOKS, "health-sign-in", '{"ends_at": "2031-11-21T08:30:00+00:00", "told_days": null}')

    terminal.type("status")
    assert "active, last contact 2026-11-22T08:30:00Z, sign-in good until 2031-11-21T08:30:00Z" in " ".join(
        terminal.out.split()
    )
    (books,) = (one for one in terminal.json("status")["connections"] if one["id"] == BOOKS)
    assert books["last_contact_at"] == "2026-11-22T08:30:00Z"
    assert books["sign_in_ends_at"] == "2031-11-21T08:30:00Z"


def test_parked_list_has_names_amounts_and_totals(parked):
    parked.type("parked", "list")
    assert parked.exit_code == Code.OK
    assert MISSING in parked.out
    assert "1,054.00 USD" in parked.out
    assert "2 changes parked: 1,604.50 USD" in parked.out
    assert "Next: Add `GTX Por: GTX Pro`" in parked.out
    parked.type("parked", "list", "--show", "1")
    assert "and 1 more (--show 2)" in parked.out
    answer = parked.json("parked", "list")
    assert answer["totals"] == {"USD": "1604.5"}
    assert {one["value"] for one in answer["parked"]} == {"GTX Por"}


def test_parked_list_of_one_cause(parked):
    cause = parked.json("parked", "list")["parked"][0]["cause"]
    assert len(parked.json("parked", "list", "--cause", cause)["parked"]) == 2
    assert parked.json("parked", "list", "--cause", "other")["parked"] == []


def test_nothing_parked_is_a_good_answer(terminal):
    terminal.type("parked", "list")
    assert (terminal.exit_code, terminal.out) == (Code.OK, "Nothing is parked.\n")


def test_parked_show_says_why_and_what_to_do(parked):
    parked.type("parked", "show", MISSING)
    assert 'why    No item is named "GTX Por".' in parked.out
    assert f"tieout parked retry {MISSING} --tenant acme" in parked.out
    parked.type("parked", "show", f"{SYNC}/invoices/d9")
    assert parked.exit_code == Code.NO


def test_retry_of_what_is_mended_syncs_it(parked):
    parked.world.crm.put(Kind.PRODUCT, "p2", name="GTX Por", sku=None, price=None, cost=None, description=None)
    assert parked.json("parked", "retry", MISSING) == {"retried": 1, "where": [MISSING]}
    parked.work()
    assert {one["id"] for one in parked.json("parked", "list")["parked"]} == {"d2"}


def test_retry_by_cause_as_the_e_mail_says(parked):
    command = next(iter(parked.world.state.pending(TENANT))).command
    parked.type(*command.removeprefix("tieout ").split())
    assert parked.exit_code == Code.OK
    assert "2 changes queued to be tried again." in parked.out
    assert {change.id for change in parked.world.queue.now} == {"d1", "d2"}


def test_dismiss_leaves_it_as_it_is(parked):
    parked.type("parked", "dismiss", MISSING)
    assert "1 change left as it is." in parked.out
    states = {one.change.id: one.state for one in parked.world.state.unsynced(TENANT)}
    assert states == {"d1": UnsyncedState.DISMISSED, "d2": UnsyncedState.PARKED}


@pytest.mark.parametrize("words", [[], [MISSING, "--all"], ["--all", "--cause", "x"]])
def test_retry_wants_exactly_one_way_of_saying_what(parked, words):
    parked.type("parked", "retry", *words)
    assert parked.exit_code == Code.USAGE
    assert not parked.world.queue.now


def test_retry_of_all(parked):
    assert parked.json("parked", "retry", "--all")["retried"] == 2


def test_retry_of_what_mended_itself_is_no_error(parked):
    """The command of an e-mail may come too late."""
    assert parked.json("parked", "retry", "--cause", "never-heard-of") == {"retried": 0, "where": []}
    parked.type("parked", "dismiss", "--cause", "never-heard-of")
    assert (parked.exit_code, parked.out) == (Code.OK, "Nothing of this is parked any more.\n")


@pytest.mark.parametrize("tenant", ["Acme", "acme.act", "acme#link", "a" * 41, "-acme", ""])
def test_a_tenant_is_a_plain_name(terminal, tenant):
    terminal.type("status", "--tenant", tenant)
    assert terminal.exit_code == Code.USAGE
    assert "cannot be a tenant" in terminal.err


def test_another_tenant_sees_nothing_of_it(parked):
    parked.type("parked", "list", "--tenant", "other")
    assert parked.out == "Nothing is parked.\n"
    parked.type("parked", "retry", "--all", "--tenant", "other")
    assert not parked.world.queue.now


def test_reasons_that_differ_within_a_cause_all_show(parked):
    first = next(one for one in parked.world.state.unsynced(TENANT) if one.change.id == "d1")
    key = LinkKey(TENANT, SYNC, "invoices", "d1")
    parked.world.state.set_unsynced(key, replace(first, reason="Only d1 has this."))
    parked.type("parked", "list")
    assert "Only d1 has this." in parked.out
    assert 'No item is named "GTX Por".' in parked.out


def test_retry_of_a_name_that_is_not_parked_touches_nothing(parked):
    parked.type("parked", "retry", MISSING, f"{SYNC}/invoices/d9")
    assert parked.exit_code == Code.NO
    assert f"Nothing is parked at {SYNC}/invoices/d9." in parked.err
    assert not parked.world.queue.now


def test_long_names_are_never_cut(parked):
    name = "d" * 300
    parked.world.deal(name, product="GTX Por")
    parked.world.apply(name)
    parked.type("parked", "list")
    assert f"{SYNC}/invoices/{name}" in parked.out
    parked.type("plan", SYNC)
    assert "\u2026" not in parked.out
