"""Plans: what people do, and what goes wrong, all of it computed from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tests.engine.simulation.runtime import Fault, FaultKind

TENANTS = ("acme", "globex")
DEALS = ("d1", "d2", "d3", "d4")
COMPANIES = ("c1", "c2")
PRODUCTS = {"p1": "GTX Pro", "p2": "Gizmo"}
NAMES = ("GTX Pro", "Gizmo", "GTXPro", "Gizmo Lite")  # the last one is known only after the sync has its alias


class Assumption(StrEnum):
    """What a seed's worlds keep to.

    BOUNDED: a write that we gave up is done, and shown by a search, within 19 seconds, less than two looks take; and
    no worker outlives its time.
    LAGGING: a search shows a write only after minutes. ZOMBIES: a frozen worker goes on after another took over.
    With KEYS the books answer a repeated idempotency key with the first answer.
    """

    BOUNDED = "bounded"
    LAGGING = "lagging search"
    LAGGING_KEYS = "lagging search, keys honoured"
    ZOMBIES = "zombies"
    ZOMBIES_KEYS = "zombies, keys honoured"


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody does something at this second."""

    at: float
    tenant: str
    action: str
    about: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.at:10.2f}s  {self.tenant}: {self.action} {self.about} {self.value}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: equal plans give equal runs."""

    seed: int
    assumption: Assumption
    steps: tuple[Step, ...]
    faults: tuple[Fault, ...]
    lag_seconds: float
    webhooks: float
    duplicates: float
    disorder_seconds: float
    latency_seconds: float
    adoptable: bool

    @property
    def zombies(self) -> bool:
        """True if a frozen worker may go on after its time."""
        return self.assumption in (Assumption.ZOMBIES, Assumption.ZOMBIES_KEYS)

    @property
    def honours_key(self) -> bool:
        """True if the books answer a repeated key with the first answer."""
        return self.assumption in (Assumption.LAGGING_KEYS, Assumption.ZOMBIES_KEYS) or self.seed % 2 == 0

    @property
    def ends_at(self) -> float:
        """When the last person has done something."""
        return max((step.at for step in self.steps), default=0.0)


_ANY = (FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER, FaultKind.FREEZE_BEFORE, FaultKind.FREEZE_AFTER)
_ASKED = (*_ANY, FaultKind.THROTTLE, FaultKind.DOWN, FaultKind.LOST)
_TABLE = (*_ANY, FaultKind.THROTTLE, FaultKind.LOST)
_WRITTEN = (*_ANY, *_ASKED, FaultKind.LOST, FaultKind.VANISHED, FaultKind.LATE, FaultKind.LATE, FaultKind.REFUSE)
_POINTS: dict[str, tuple[int, int, tuple[FaultKind, ...]]] = {  # weight, how far the counter reaches, kinds
    "books.write": (10, 20, _WRITTEN),
    "books.find": (3, 15, _ASKED),
    "books.read": (2, 20, _ASKED),
    "books.changes": (1, 20, _ASKED),
    "crm.write": (3, 8, _WRITTEN),
    "crm.read": (4, 50, _ASKED),
    "crm.search": (2, 20, _ASKED),
    "crm.changes": (1, 20, _ASKED),
    "table.claim": (6, 20, _TABLE),
    "table.settle": (6, 20, _TABLE),
    "table.keep": (2, 8, _TABLE),
    "table.release": (2, 4, _TABLE),
    "table.pointer": (1, 6, _TABLE),
    "table.read": (6, 60, _TABLE),
    "table.unsynced": (4, 20, _TABLE),
    "table.alert": (3, 8, _TABLE),
    "table.alert gone": (1, 6, _TABLE),
    "table.window": (1, 6, _TABLE),
    "table.connection": (1, 3, _TABLE),
    "table.put_cursor": (1, 20, _TABLE),
    "table.run": (1, 4, _TABLE),
    "queue.send": (2, 30, (*_ANY, FaultKind.THROTTLE, FaultKind.LOST)),
    "queue.later": (3, 10, (*_ANY, FaultKind.THROTTLE, FaultKind.LOST)),
    "queue.ack": (4, 40, _ANY),
    "mail.send": (1, 4, (*_ANY, FaultKind.DOWN, FaultKind.LOST)),
}
_ACTIONS = {
    "win": 22,
    "edit": 18,
    "lose": 5,
    "reopen": 4,
    "delete deal": 3,
    "rename company": 7,
    "rename product": 2,
    "reprice product": 3,
    "pay": 9,
    "take payment back": 3,
    "void invoice": 2,
    "edit invoice": 4,
    "edit invoice's number": 2,
    "edit customer": 2,
    "delete invoice": 1,
    "retry parked": 4,
    "dismiss one": 2,
    "backfill": 2,
    "alias": 2,
    "revoke crm": 1,
    "revoke books": 1,
    "reconnect": 3,
    "poison": 1,
}


def assumption_of(seed: int) -> Assumption:
    """Six of ten seeds are bounded, the others one each."""
    return {
        6: Assumption.LAGGING,
        7: Assumption.LAGGING_KEYS,
        8: Assumption.ZOMBIES,
        9: Assumption.ZOMBIES_KEYS,
    }.get(seed % 10, Assumption.BOUNDED)


def plan_of(seed: int) -> Plan:
    """The plan that this seed stands for."""
    random = Random(f"{seed}/plan")
    assumption = assumption_of(seed)
    lagging = assumption in (Assumption.LAGGING, Assumption.LAGGING_KEYS)
    return Plan(
        seed=seed,
        assumption=assumption,
        steps=tuple(_steps(random)),
        faults=tuple(sorted(_faults(random), key=lambda fault: (fault.point, fault.nth))),
        lag_seconds=random.uniform(30, 400) if lagging else random.choice((0, 0, 4, 7)),
        webhooks=random.choice((0.0, 0.6, 1.0, 1.0)),
        duplicates=random.choice((0.0, 0.1, 0.4)),
        disorder_seconds=random.choice((0.1, 3, 60)),
        latency_seconds=random.choice((0.2, 2, 6, 15)),
        adoptable=random.random() < 0.3,
    )


def _steps(random: Random) -> list[Step]:
    at, steps = 5.0, []
    names, weights = list(_ACTIONS), list(_ACTIONS.values())
    pace = random.choice((1, 10, 20, 40, 200))
    busy = random.choice((1, 2, 4))
    for _ in range(random.randint(5, 40)):
        at += random.random() * (pace if random.random() < 0.9 else 600)
        action = random.choices(names, weights)[0]
        tenant = random.choice(TENANTS) if random.random() < 0.5 else TENANTS[0]
        steps.append(Step(round(at, 2), tenant, action, _about(random, action, busy), _value(random, action)))
    return steps


def _about(random: Random, action: str, busy: int) -> str:
    if "company" in action or action == "edit customer":
        return random.choice(COMPANIES)
    if "product" in action:
        return random.choice(list(PRODUCTS))
    return random.choice(DEALS[:busy])


def _value(random: Random, action: str) -> str:
    if action in ("win", "reopen"):
        return (
            f"{random.randint(1, 99_999) / 100:.2f}/{random.choice(COMPANIES)}/{random.choices(NAMES, (6, 4, 1, 1))[0]}"
        )
    return str(random.randint(1, 9_999))


def _faults(random: Random) -> set[Fault]:
    points, weights = list(_POINTS), [weight for weight, *_ in _POINTS.values()]
    found = {}
    for _ in range(random.choice((0, 3, 10, 20, 40))):
        point = random.choices(points, weights)[0]
        _, reach, kinds = _POINTS[point]
        nth = random.randint(1, reach)
        found[point, nth] = Fault(point, nth, random.choice(kinds))
    return set(found.values())
