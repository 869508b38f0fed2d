"""Every system that stands in an office, behind an agent in a process of its own: cut off, killed, and nothing doubled.

The simulators run here, the agent there; the engine's rules are those of `tests.office.cloud.write_all`. The Web
Connector has its own runs (`tests/contract/test_quickbooks_desktop_beside.py`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contract.suite import all_ids
from tests.contract.test_act import SECRETS as ACT_SECRETS
from tests.contract.test_act import world as act  # noqa: F401 - a fixture
from tests.contract.test_goldmine import SECRETS as GOLDMINE_SECRETS
from tests.contract.test_goldmine import world as goldmine  # noqa: F401 - a fixture
from tests.contract.test_tally import world as tally  # noqa: F401 - a fixture
from tests.office.cloud import CODE, Cloud, served, write_all
from tests.office.computer import Computer, Gate
from tests.office.paper import until
from tieout.bridge.connector import BridgedConnector
from tieout.bridge.line import Patience
from tieout.domain.effects import Done, NotDone, Operation, Unknown


@dataclass
class Office:
    """A system, its agent, and the cloud.

    Attributes:
        at: Called at each call of the agent, with its name and `name answered`.
    """

    world: Any
    cloud: Cloud
    computer: Computer
    gate: Gate
    connector: BridgedConnector
    at: dict[str, Callable[[], None]] = field(default_factory=dict)

    def once(self, moment: str, do: Callable[[], None]) -> threading.Event:
        """Have something happen at the next such moment, which is lost with it; it is over when the event is set."""
        over = threading.Event()

        def happen() -> None:
            del self.at[moment]
            do()
            over.set()
            raise ConnectionAbortedError("it never came through")

        self.at[moment] = happen
        return over


SYSTEMS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "tally": ({}, {}),
    "goldmine": ({}, GOLDMINE_SECRETS),
    "act": ({"requests_per_minute": 10_000}, ACT_SECRETS),
}
"""Settings and secrets."""

PATIENCE = Patience(lease_seconds=10, report_seconds=4, look_seconds=0.01)


@pytest.fixture(params=SYSTEMS)
def office(request, tmp_path) -> Iterator[Office]:
    world = request.getfixturevalue(request.param)
    at: dict[str, Callable[[], None]] = {}
    settings, secrets = SYSTEMS[request.param]
    context = world.context(**settings)
    cloud = Cloud(
        context.connection.settings,
        lambda moment: at.get(moment, lambda: None)(),
        world.provider,
        context.connection.account,
    )
    with served(cloud), Computer(tmp_path) as computer:
        port = int(cloud.url.rpartition(":")[2])
        with Gate(port) as gate:
            cloud.url = f"http://127.0.0.1:{gate.port}"
            given = json.dumps(secrets)
            done = computer.command("install", "--address", cloud.address, CODE, "--secrets-file", "-", given=given)
            assert done.returncode == 0, done.stderr
            computer.start()
            until(lambda: cloud.there.sequence > 0)
            yield Office(world, cloud, computer, gate, cloud.connector(PATIENCE), at)


def test_what_is_written_is_there(office):
    effects = office.world.sample_effects()
    outcomes = {one.effect_id: one for one in office.connector.write(effects)}
    for effect in effects:
        outcome = outcomes[effect.id]
        assert isinstance(outcome, Done), outcome
        (there,) = office.connector.read(effect.kind, [outcome.record.id])
        assert {**there.fields, **outcome.record.fields} == there.fields


def test_a_network_that_is_cut_while_it_writes_doubles_and_loses_nothing(office):
    effects = office.world.sample_effects()
    cut = office.once("report", office.gate.cut)
    before = standing(office, effects)
    outcomes = office.connector.write(effects)
    assert cut.is_set()
    assert {type(one) for one in outcomes} == {Unknown}, "nobody was told whether it was written"
    office.gate.mend()
    brought_about(office, effects, before)


def test_an_agent_that_is_killed_between_write_and_report_doubles_and_loses_nothing(office):
    effects = office.world.sample_effects()
    before = standing(office, effects)
    killed = office.once("report", office.computer.kill)
    outcomes = office.connector.write(effects)
    assert killed.is_set()
    assert {type(one) for one in outcomes} == {Unknown}
    office.computer.start()
    brought_about(office, effects, before)


def test_an_agent_that_is_killed_before_it_writes_doubles_and_loses_nothing(office):
    effects = office.world.sample_effects()
    before = standing(office, effects)
    killed = office.once("lease answered", office.computer.kill)
    outcomes = office.connector.write(effects)
    assert killed.is_set()
    assert {type(one) for one in outcomes} <= {Unknown, NotDone}
    office.computer.start()
    brought_about(office, effects, before)


def standing(office: Office, effects: Any) -> dict[Any, set[str]]:
    """Ids of what stands in the system, by kind; asked of the system itself."""
    beside = office.world.connector()
    return {kind: set(all_ids(beside, kind)) for kind in {effect.kind for effect in effects}}


def brought_about(office: Office, effects: Any, before: dict[Any, set[str]]) -> None:
    """By the engine's rules each effect is brought about, and stands there once."""
    creates = [effect for effect in effects if effect.operation is Operation.CREATE]
    updates = [effect for effect in effects if effect.operation is Operation.UPDATE]
    written = write_all(office.connector, creates, [effect.id for effect in creates])
    after = standing(office, effects)
    for kind, ids in before.items():
        made = {written[effect.id].id for effect in creates if effect.kind is kind}
        assert after[kind] - ids == made, kind
    for effect in updates:
        until(lambda effect=effect: is_so(office, effect))


def is_so(office: Office, effect: Any) -> bool:
    """True once the update stands there; it is written again as long as it does not."""
    (outcome,) = office.connector.write([effect])
    return isinstance(outcome, Done)
