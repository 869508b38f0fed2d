"""The seeds of every run, and bugs planted to show that the oracles see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.engine.simulation import plans
from tests.engine.simulation.plans import Assumption, plan_of
from tests.engine.simulation.runtime import FaultKind
from tests.engine.simulation.simulate import Result, run, run_seed, shrink, story
from tieout.domain.changes import Change
from tieout.engine import apply, recover
from tieout.engine.alerts import SendAlerts
from tieout.engine.collect import read_all
from tieout.engine.ends import Ends
from tieout.engine.plan import NoChange
from tieout.engine.write import Pending, Writer

SEEDS = 320
PLANTED_SEEDS_MAX = 60


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [run_seed(seed) for seed in range(SEEDS)]


def test_every_seed_keeps_what_is_promised(results: list[Result]):
    failed = [result for result in results if result.broken]

    assert not failed, story(shrink(failed[0]))


def test_the_seeds_meet_every_fault_and_every_deed(results: list[Result]):
    met = {event.fault for result in results for event in result.history}
    points = {event.point for result in results for event in result.history if event.fault is not None}
    deeds = {step.action for result in results for step in result.plan.steps}

    assert met >= set(FaultKind)
    assert points >= set(plans._POINTS)
    assert deeds == set(plans._ACTIONS)


def test_documents_double_only_where_no_client_can_help_it(results: list[Result]):
    doubled = Counter(result.plan.assumption for result in results if result.doubles)

    assert doubled[Assumption.BOUNDED] == 0
    assert doubled[Assumption.ZOMBIES] > 0, "the simulation is too tame to show a double"


def test_a_seed_runs_the_same_way_each_time():
    assert run_seed(7).digest == run_seed(7).digest


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


def _never_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    real = apply.plan
    monkeypatch.setattr(
        apply, "plan", lambda work, document: NoChange() if work.link.target_id is not None else real(work, document)
    )


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


def _breaks(oracle: str) -> Iterator[Result]:
    for seed in range(PLANTED_SEEDS_MAX):
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
        ("I5", _overwrites_what_changed),
        ("I6", _mixes_tenants),
        ("I9", _waits_for_ever),
        ("I9", _reads_again_and_again),
    ],
)
def test_planted_bug_is_caught(oracle: str, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch):
    plant(monkeypatch)

    assert next(_breaks(oracle), None) is not None


def test_story_of_a_failure_is_short_and_fails_the_same_way(monkeypatch):
    _never_looks_up(monkeypatch)
    found = next(_breaks("I1"))

    shortest = shrink(found, runs_max=80)

    assert "I1" in shortest.broken
    length, former = (len(one.plan.steps) + len(one.plan.faults) for one in (shortest, found))
    assert length * 3 < former
    assert f"SEEDS=1 FIRST={found.plan.seed}" in story(shortest)
    assert run(shortest.plan).digest == shortest.digest
