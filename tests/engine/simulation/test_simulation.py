"""The seeds of every run, and bugs planted to show that the oracles see them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.engine.simulation import plans
from tests.engine.simulation.campaign import Tally, tally
from tests.engine.simulation.plans import Assumption, Fault, Plan, Step, plan_of
from tests.engine.simulation.policies import PRESET
from tests.engine.simulation.providers import SimulatedProvider
from tests.engine.simulation.rotation import SHARE, Rotation, manifests, pairs, possible
from tests.engine.simulation.runtime import FaultKind
from tests.engine.simulation.simulate import Result, run, run_seed, shrink, story
from tests.engine.simulation.stores import Table
from tests.engine.simulation.watch import like_planned, without_what_stood
from tieout.connectors import PROVIDERS
from tieout.domain.changes import Change
from tieout.domain.documents import Invoice
from tieout.domain.effects import Operation
from tieout.domain.links import Link
from tieout.domain.records import Kind
from tieout.domain.reviews import Side
from tieout.engine import apply, gate, merge, poll, recover, two_way, withdraw, write
from tieout.engine.alerts import SendAlerts
from tieout.engine.archive import ArchiveAudit
from tieout.engine.caps import Caps
from tieout.engine.collect import read_all
from tieout.engine.ends import Ends
from tieout.engine.plan import NoChange
from tieout.engine.sweep import Sweep
from tieout.engine.withdraw import Withdrawals
from tieout.engine.write import Pending, Writer
from tieout.ports.connector import Connector
from tieout.transport import Budget

ROOT = Path(__file__).parents[3]
SEEDS = 1000
PLANTED_SEEDS_MAX = 150
REAL_SEEDS = range(203, 803, 20)  # with the real connectors, and among the first a connection of few calls a minute
POLICY_SEEDS = [seed for seed in range(400) if plan_of(seed).policies != PRESET]
ROTATED = {seed: rotation for seed in range(600) if (rotation := plan_of(seed).rotation) is not None}
DIGEST_SEEDS = (6, 23, 7)  # one with the first model, one with the real connectors, one of the rotation
NAMESAKE_SEEDS = range(6, 16)  # with simulated providers
DAY_SEEDS = range(5, 2505, 25)  # with a day of sweeps as they are deployed


@pytest.fixture(scope="module")
def met() -> Tally:
    return tally(range(SEEDS))


@pytest.mark.slow
def test_every_seed_keeps_what_is_promised(met: Tally):
    assert not met.failed, story(shrink(run_seed(min(met.failed))))


def test_the_seeds_meet_every_fault_and_every_deed(met: Tally):
    points = {point for point, _ in met.faults}

    assert {fault for _, fault in met.faults} >= set(FaultKind)
    assert points >= set(plans.POINTS) | set(plans.REAL_POINTS) | set(plans.ROTATED_POINTS) | set(plans.STEPS_POINTS)
    assert set(met.deeds) == set(plans.ACTIONS) | {deed for theme in plans.THEMES.values() for deed in theme}


def test_every_provider_takes_part_in_the_rotation():
    assert {name for pair in pairs() for name in pair} == {one.manifest.provider for one in PROVIDERS}


def test_the_seeds_meet_every_pair_and_every_capability(met: Tally):
    assert set(met.pairs) == {f"{crm}-{books}" for crm, books in pairs()}
    assert set(met.met) >= possible()
    assert met.pairs.total() == pytest.approx(SEEDS * SHARE, rel=0.1)


def test_one_seed_of_twenty_runs_the_real_connectors(met: Tally):
    assert met.real == SEEDS // 20


def test_deletions_are_looked_at_a_day_later(met: Tally):
    assert met.deletions > SEEDS // 200


def test_documents_double_only_where_no_client_can_help_it(met: Tally):
    assert met.doubled[Assumption.BOUNDED] == 0
    assert met.doubled.total() > 0, "the simulation is too tame to show a double"


@pytest.mark.parametrize("seed", DIGEST_SEEDS)
def test_a_seed_runs_the_same_way_each_time(seed: int):
    assert run_seed(seed).digest == run_seed(seed).digest


def test_a_seed_runs_the_same_way_whatever_the_order_of_hashes():
    program = f"""
from tests.engine.simulation.simulate import run_seed
print(*(run_seed(seed).digest for seed in {DIGEST_SEEDS}))
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hashes in ("1", "2")
    }

    assert digests == {" ".join(run_seed(seed).digest for seed in DIGEST_SEEDS) + "\n"}


def test_the_command_runs_several_processes_and_leaves_a_summary(tmp_path: Path):
    summary = tmp_path / "summary.json"
    command = [sys.executable, "-m", "tests.engine.simulation", "6", "20", "--jobs", "2", "--summary", str(summary)]

    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(summary.read_text(encoding="utf-8"))
    assert (told["seeds"], told["with_real_connectors"], told["failed"]) == (6, 1, {})
    assert "6 seeds from 20, 1 of them with the real connectors: 0 failed" in ended.stdout


# Planted bugs


def _never_looks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "_written", lambda _target, _works: {})


def _forgets_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ends, "flush", lambda self: self._retries.clear())


def _removes_alerts_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    real = SendAlerts._send

    def send(self: SendAlerts, tenant, cause, alerts, report):
        self._alerts.remove(alerts[1:])
        real(self, tenant, cause, alerts[:1], report)

    monkeypatch.setattr(SendAlerts, "_send", send)


def _never_updates(monkeypatch: pytest.MonkeyPatch, kinds: Container[Kind] = frozenset(Kind)) -> None:
    real = apply.plan

    def plan(work, document):
        stands = work.link.target_id is not None and work.step.to_kind in kinds
        return NoChange() if stands else real(work, document)

    monkeypatch.setattr(apply, "plan", plan)


def _overwrites_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def freshened(_: Writer, target, items):
        today = read_all(target, items[0].write.effect.kind, [item.write.effect.target_id for item in items])
        return [
            Pending(item.work, replace(item.write, effect=replace(effect, target_version=record.version)))
            for item in items
            for effect in (item.write.effect,)
            if (record := today.get(effect.target_id)) is not None
        ]

    monkeypatch.setattr(Writer, "_freshened", freshened)


def _mixes_tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_connection(changes):
        groups: dict[tuple[str, str], list[Change]] = {}
        for change in changes:
            groups.setdefault(("acme", change.connection), []).append(change)
        return groups

    monkeypatch.setattr(apply, "by_connection", by_connection)


def _waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "GONE_AFTER_ATTEMPTS", 10**9)


def _reads_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(connector, kind, ids):
        for one in [*ids] * 20:
            read_all(connector, kind, [one])
        return read_all(connector, kind, ids)

    monkeypatch.setattr(apply, "read_all", read)


def _lets_totals_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "lines_differ", lambda _work, _document: None)


def _moves_a_cent_between_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    real = apply.build_document

    def build(work, targets):
        document = real(work, targets)
        if not isinstance(document, Invoice) or len(document.lines) == 1:
            return document
        first, second, *rest = document.lines
        cent = Decimal("0.01")
        moved = [replaced(first, amount=first.amount + cent), replaced(second, amount=second.amount - cent), *rest]
        return replaced(document, lines=tuple(moved))

    def replaced(document, **fields):
        return document.model_copy(update=fields)

    monkeypatch.setattr(apply, "build_document", build)


def _archives_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ArchiveAudit.archive
    monkeypatch.setattr(ArchiveAudit, "archive", lambda self, tenant, changes: real(self, tenant, changes[1:]))


def _books_take_anything_for_a_closed_period(monkeypatch: pytest.MonkeyPatch) -> None:
    real = SimulatedProvider.__init__

    def init(self, *given, **named):
        real(self, *given, **named)
        self.refuses_closed = False

    monkeypatch.setattr(SimulatedProvider, "__init__", init)


def _spends_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "spend", lambda _self, _names, **_: None)


def _says_withdrawn_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(self: Withdrawals, works, why, _target, _documents, _begun):
        for work in works:
            self._note(work, why, "its document is withdrawn")

    monkeypatch.setattr(Withdrawals, "_decide", decide)


def _credits_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    real = withdraw._base

    def base(work):
        whole = real(work)
        first, *rest = whole["lines"]
        return {**whole, "lines": [{**first, "amount": str(Decimal(first["amount"]) - 1)}, *rest]}

    monkeypatch.setattr(withdraw, "_base", base)


def _voids_what_it_credits(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Withdrawals._credit

    def credit(self: Withdrawals, works, why, begun):
        real(self, works, why, begun)
        target = self._session.connector(works[0].sync.target) if works else None
        for work in works:
            (document,) = target.read(work.step.to_kind, [work.link.target_id])
            work.ended = False
            self._writer.write_all([withdraw._void(work, document, why)])

    monkeypatch.setattr(Withdrawals, "_credit", credit)


def _lets_the_source_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_way, "_winner", lambda _meeting, _path: Side.SOURCE)


def _hears_nothing_of_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "is_changed", lambda *_: False)


def _asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_way, "_review", lambda _meeting, _paths: None)


def _admits_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Caps, "admit", lambda _self, _tenant, _sync, _cap, references, _most: set(references))


def _admits_all_rewrites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_within_cap", lambda _session, pending: list(pending))


def _keeps_to_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_differs", lambda _planned, _item, _allowed: "")


def _breaks(oracle: str, seeds: Iterable[int] = range(PLANTED_SEEDS_MAX)) -> Iterator[Result]:
    for seed in seeds:
        result = run(plan_of(seed))
        if oracle in result.broken:
            yield result


@pytest.mark.parametrize(
    ("oracle", "plant"),
    [
        ("I1", _never_looks_up),
        ("I2", _forgets_retries),
        ("I2", _removes_alerts_unsent),
        ("I3", _never_updates),
        ("I4", _lets_totals_differ),
        ("I4", _moves_a_cent_between_lines),
        ("I5", _overwrites_what_changed),
        ("I6", _mixes_tenants),
        ("I7", _archives_not_all),
        ("I8", _books_take_anything_for_a_closed_period),
        ("I9", _waits_for_ever),
        ("I9", _reads_again_and_again),
    ],
)
def test_planted_bug_is_caught(oracle: str, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch):
    plant(monkeypatch)

    assert next(_breaks(oracle), None) is not None


@pytest.mark.parametrize(
    ("oracle", "where", "plant", "said"),
    [
        ("I1", "withdraws", _says_withdrawn_and_writes_nothing, "lives"),
        ("I1", "credit_note", _voids_what_it_credits, "credited too"),
        ("I3", "withdraws", _says_withdrawn_and_writes_nothing, "unsaid"),
        ("I3", "credit_note", _credits_too_little, "unsaid"),
        ("I3", "two_way", _hears_nothing_of_the_books, "nobody is asked"),
        ("I3", "two_way ask", _asks_nobody, "nobody is asked"),
        ("I5", "two_way", _lets_the_source_win, "both were changed"),
        ("I8", "withdrawals", _admits_all, "withdrawals"),
        ("I8", "rewrites", _admits_all_rewrites, "rewrites"),
        ("I8", "", _keeps_to_no_plan, "it says"),
    ],
)
def test_planted_bug_is_caught_where_policies_count(
    oracle: str, where: str, plant: Callable[[pytest.MonkeyPatch], None], said: str, monkeypatch
):
    plant(monkeypatch)

    seeds = [seed for seed in POLICY_SEEDS if where in str(plan_of(seed).policies)]
    found = (result.broken[oracle] for result in _breaks(oracle, seeds))
    assert any(said in one for broken in found for one in broken)


def test_calls_beyond_the_providers_limit_are_caught(monkeypatch):
    _spends_no_budget(monkeypatch)

    found = next(_breaks("I9", REAL_SEEDS), None)

    assert found is not None
    assert "beyond the limit" in found.broken["I9"][0]


def _writes_what_it_did_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_unread(item: Pending, target: Connector) -> bool:
        effect = item.write.effect
        return effect.operation is Operation.UPDATE and target.manifest.versions and not effect.target_version

    monkeypatch.setattr(write, "_is_unread", is_unread)


def _takes_half_for_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    real = recover._written

    def written(target, works):
        return {key: [replace(one, unfinished=False) for one in some] for key, some in real(target, works).items()}

    monkeypatch.setattr(recover, "_written", written)


def _compares_nothing_after_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll, "COMPARISONS_AFTER_GAP", "0")


def _writes_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "_write_group", lambda self, target, claimed: self._write(target, claimed))


@pytest.mark.parametrize(
    ("oracle", "where", "plant", "said"),
    [
        ("I5", lambda _: True, _writes_what_it_did_not_read, " -> "),
        ("I2", lambda rotation: rotation.in_steps, _takes_half_for_whole, "never posted"),
        ("I0", lambda _: True, _writes_all_at_once, "at once, of"),
        ("I9", lambda rotation: rotation.limited, _spends_no_budget, "beyond the limit"),
    ],
)
def test_planted_bug_is_caught_where_providers_differ(
    oracle: str,
    where: Callable[[Rotation], bool],
    plant: Callable[[pytest.MonkeyPatch], None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
):
    plant(monkeypatch)

    seeds = [seed for seed, rotation in ROTATED.items() if where(rotation)]
    found = (result.broken[oracle] for result in _breaks(oracle, seeds))
    assert any(said in one for broken in found for one in broken)


def _deleted_unheard(deals: int = 1, *, gaps: bool = False) -> Plan:
    """Deals are deleted where only the feed tells of it: nothing compares ids, and no notification comes."""
    told = (one for one, each in ROTATED.items() if Kind.DEAL in manifests()[each.crm].deletions_visible)
    plan = plan_of(next(told))
    names = [f"d{number}" for number in range(1, deals + 1)]
    steps = (
        *(Step(5, "acme", "win", name, "c1|GTX Pro:1*10-0") for name in names),
        *(Step(2000, "acme", "delete deal", name) for name in names),
    )
    rotation = replace(plan.rotation or ROTATED[plan.seed], gaps=gaps, limited=False)
    return replace(plan, steps=steps, faults=(), webhooks=0.0, rotation=rotation, policies=PRESET)


def test_a_deletion_that_only_the_feed_tells_of_is_heard(monkeypatch):
    assert run(_deleted_unheard()).broken == {}

    real = SimulatedProvider._page
    monkeypatch.setattr(SimulatedProvider, "_page", lambda self, kind, start: replace(real(self, kind, start), gone=()))

    (said,) = run(_deleted_unheard()).broken["I3"]
    assert said.endswith("stands unsaid")


def test_a_deletion_that_the_feed_forgot_is_found_by_comparing(monkeypatch):
    assert run(_deleted_unheard(6, gaps=True)).broken == {}

    _compares_nothing_after_a_gap(monkeypatch)

    broken = run(_deleted_unheard(6, gaps=True)).broken["I3"]
    assert broken
    assert all(said.endswith("stands unsaid") for said in broken)


def test_deletions_that_no_sweep_finds_are_caught(monkeypatch):
    monkeypatch.setattr(Sweep, "_compare", lambda *_: None)

    assert next(_breaks("D1", DAY_SEEDS), None) is not None


_AT_ONCE: dict[str, float] = {"webhooks": 1.0, "duplicates": 0.0, "disorder_seconds": 0.1}


def _two_of_one_name(seed: int) -> Plan:
    """Two companies get one name, of which a customer stands in the books; who links it first is held up."""
    steps = (
        Step(5, "acme", "rename company as other", "c1"),
        Step(5, "acme", "enter customer", "c1"),
        Step(5, "acme", "edit company's fields", "c2", "phone:424045"),
    )
    held_up = Fault("table.pointer", 1, FaultKind.SLOW)
    return replace(plan_of(seed, rotated=False), steps=steps, faults=(held_up,), **_AT_ONCE)


def test_of_two_that_link_one_record_at_once_one_gets_it(monkeypatch):
    results = [run(_two_of_one_name(seed)) for seed in NAMESAKE_SEEDS]
    assert [result.broken for result in results] == [{}] * len(results)
    assert all(result.parked for result in results), "the other one is told"

    def takes_whosever_it_is(self: Table, link: Link) -> bool:
        self.pointers[link.key.tenant, link.key.sync, link.key.step, link.target_id or ""] = link.key
        return True

    monkeypatch.setattr(Table, "_takes", takes_whosever_it_is)

    results = [run(_two_of_one_name(seed)) for seed in NAMESAKE_SEEDS]
    assert any("is the partner of" in said for result in results for said in result.broken.get("I1", ()))


def _answered_otherwise(*more: Step) -> Plan:
    """A customer is merged in the books, and then a person says that its company becomes a new one there."""
    steps = (
        Step(10, "acme", "win", "d1", "c2|GTX Pro:1*601.09-0"),
        Step(15, "acme", "win", "d2", "c1|GTX Pro:1*204.27-0"),
        Step(880, "acme", "answer review", "d1", "19"),
        Step(1280, "acme", "merge customers", "c1"),
        Step(1285, "acme", "edit company's fields", "c1", "phone:424045"),
        Step(2130, "acme", "answer review", "c1", "3787"),
        *more,
    )
    return replace(plan_of(5745, rotated=False), steps=steps, faults=())


def test_an_invoice_that_the_books_gave_another_customer_stays_so_while_nobody_asks_for_it():
    assert run(_answered_otherwise()).broken == {}


@pytest.mark.parametrize("asks", [Step(3000, "acme", "win again", "d2"), Step(3000, "acme", "backfill")])
def test_an_invoice_that_the_books_gave_another_customer_is_parked_once_it_is_asked_for(asks: Step, monkeypatch):
    assert (run(_answered_otherwise(asks)).broken, run(_answered_otherwise(asks)).parked) == ({}, 1)

    _never_updates(monkeypatch, {Kind.INVOICE})

    (said,) = run(_answered_otherwise(asks)).broken["I3"]
    assert said == "acme invoices/d2: customer is L1, and should be 105"


@pytest.mark.parametrize(
    ("planned", "written", "ok"),
    [
        ({"country": "US"}, {"country": "US", "city": "Leeds"}, True),
        ({"country": "US"}, {"country": "US", "city": "York"}, False),
        ({"country": "US"}, {"country": "US", "city": "Leeds", "line1": "1 Mill Street"}, False),
        ({"country": "US", "city": None}, {"country": "US", "city": "Leeds"}, False),
        ({"country": "US", "city": "York"}, {"country": "US", "city": "Leeds"}, False),
        ({"country": "US"}, None, False),
    ],
)
def test_of_an_address_a_plan_is_kept_to_if_what_it_leaves_alone_is_written_as_it_stood(
    planned: dict[str, str | None], written: dict[str, str] | None, *, ok: bool
):
    stood = {"country": "GB", "city": "Leeds"}

    assert like_planned(planned, without_what_stood(planned, written, stood)) is ok


def test_story_of_a_failure_is_short_and_fails_the_same_way(monkeypatch):
    _never_looks_up(monkeypatch)
    found = next(_breaks("I1"))

    shortest = shrink(found, runs_max=80)

    assert "I1" in shortest.broken
    length, former = (len(one.plan.steps) + len(one.plan.faults) for one in (shortest, found))
    assert length * 3 < former
    assert f"SEEDS=1 FIRST={found.plan.seed}" in story(shortest)
    assert run(shortest.plan).digest == shortest.digest
