"""Plans: what people do, and what goes wrong, all of it computed from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from random import Random

from tests.engine.simulation.policies import PRESET, Policies, policies_of, within
from tests.engine.simulation.rotation import Rotation, rotation_of
from tests.engine.simulation.runtime import START, Fault, FaultKind

TENANTS = ("acme", "globex")
DEALS = ("d1", "d2", "d3", "d4")
COMPANIES = ("c1", "c2")
PRODUCTS = {"p1": "GTX Pro", "p2": "Gizmo"}
NAMES = ("GTX Pro", "Gizmo", "GTXPro", "Gizmo Lite")  # the last one is known only after the sync has its alias


STARTS = (
    START,
    datetime(2026, 3, 8, 9, 40, tzinfo=UTC),  # the United States put their clocks forward at 10:00
    datetime(2026, 11, 1, 8, 40, tzinfo=UTC),  # and back at 9:00
    datetime(2026, 10, 25, 0, 40, tzinfo=UTC),  # Europe puts them back at 1:00
    datetime(2026, 2, 28, 23, 45, tzinfo=UTC),  # the last minutes of a month
    datetime(2028, 2, 29, 23, 45, tzinfo=UTC),  # of a leap day
    datetime(2026, 12, 31, 23, 45, tzinfo=UTC),  # of a year
    datetime(2026, 12, 1, 7, 45, tzinfo=UTC),  # of a month where the books are, by their own time
)
_CENT = Decimal("0.01")


def cents(amount: object) -> Decimal:
    """Rounded half up to whole cents."""
    return Decimal(str(amount)).quantize(_CENT, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Sold:
    """One line of a deal: `GTX Pro:2*10.05-10` is two for 10.05 each, less ten percent."""

    product: str
    quantity: Decimal
    price: Decimal
    discount_percent: Decimal

    @property
    def exact(self) -> Decimal:
        """What the CRM makes of it; may have more than two decimals."""
        return self.quantity * self.price * (100 - self.discount_percent) / 100

    @property
    def amount(self) -> Decimal:
        """In whole cents."""
        return cents(self.exact)


def sold(value: str) -> tuple[str, list[Sold], Decimal]:
    """The company, the lines and the deal's own amount of `c1|GTX Pro:2*10.05-10|Gizmo:1*3-0`; `|!` adds a cent."""
    company, *texts = value.split("|")
    lines = []
    for text in texts:
        if text == "!":
            continue
        product, _, rest = text.partition(":")
        quantity, _, rest = rest.partition("*")
        price, _, discount = rest.partition("-")
        lines.append(Sold(product, Decimal(quantity), Decimal(price), Decimal(discount or 0)))
    extra = _CENT if "!" in texts else Decimal(0)
    return company, lines, sum((line.exact for line in lines), Decimal(0)) + extra


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
    start: datetime = START
    skew_seconds: float = 0.0
    calls_per_minute: int = 500
    token_seconds: int = 3600
    token_rotates_seconds: int = 86_400
    policies: Policies = PRESET
    rotation: Rotation | None = None

    @property
    def real(self) -> bool:
        """True if the real connectors run, over simulators that answer as the providers do: one seed of twenty."""
        return self.seed % REAL_EVERY == REAL_AT

    @property
    def whole_day(self) -> bool:
        """True if a day goes by with nothing but the deployed schedule of sweeps, to see when deletions are found."""
        return self.seed % DAY_EVERY == DAY_AT

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


REAL_EVERY, REAL_AT = 20, 3
DAY_EVERY, DAY_AT = 25, 5
DELETED_MORE = 8
OTHERS_LESS = 3  # in worlds with a theme
_LASTING = ("revoke crm", "revoke books", "poison")
_DIES = (FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER, FaultKind.FREEZE_BEFORE, FaultKind.FREEZE_AFTER)
_ANY = (*_DIES, FaultKind.SLOW, FaultKind.JUMP)
_ASKED = (*_ANY, FaultKind.THROTTLE, FaultKind.DOWN, FaultKind.LOST, FaultKind.GARBLE)
_TABLE = (*_ANY, FaultKind.THROTTLE, FaultKind.LOST)
_SETTLED = (*_TABLE, FaultKind.CANCEL)
_UNSENT = (FaultKind.VANISHED, FaultKind.LATE, FaultKind.LATE)
_WRITTEN = (*_ANY, *_ASKED, FaultKind.LOST, *_UNSENT, FaultKind.REFUSE)
_OPENED = (*_DIES, FaultKind.THROTTLE, FaultKind.DOWN, FaultKind.LOST)
POINTS: dict[str, tuple[int, int, tuple[FaultKind, ...]]] = {  # weight, how far the counter reaches, kinds
    "books.write": (10, 20, _WRITTEN),
    "books.find": (3, 15, _ASKED),
    "books.read": (2, 20, _ASKED),
    "books.changes": (1, 20, _ASKED),
    "crm.write": (3, 8, _WRITTEN),
    "crm.read": (4, 50, _ASKED),
    "crm.search": (2, 20, _ASKED),
    "crm.changes": (1, 20, _ASKED),
    "table.claim": (6, 20, _TABLE),
    "table.settle": (6, 20, _SETTLED),
    "table.keep": (2, 8, _TABLE),
    "table.release": (2, 4, _TABLE),
    "table.pointer": (1, 6, _SETTLED),
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
_CALLED = (*_ASKED, FaultKind.UNREACHED)
_SENT = (*_CALLED, *_WRITTEN, FaultKind.FORGET)
REAL_POINTS: dict[str, tuple[int, int, tuple[FaultKind, ...]]] = {
    "act.sign in": (2, 6, _CALLED),
    "act.read": (6, 60, _CALLED),
    "act.write": (12, 3, (*_CALLED, *_UNSENT)),
    "quickbooks.sign in": (3, 4, (*_CALLED, FaultKind.VANISHED)),
    "quickbooks.read": (6, 60, _CALLED),
    "quickbooks.write": (10, 20, _SENT),
    "table.budget": (2, 60, _OPENED),
    "table.lease": (2, 6, _OPENED),
    "secrets.read": (2, 10, _OPENED),
    "secrets.write": (3, 3, _OPENED),
}
ROTATED_POINTS: dict[str, tuple[int, int, tuple[FaultKind, ...]]] = {
    "crm.subscribe": (1, 4, _ASKED),
    "books.subscribe": (1, 4, _ASKED),
}
STEPS_POINTS = {"books.post": (10, 10, _WRITTEN)}
LIMITED_POINTS = {"table.budget": REAL_POINTS["table.budget"]}
ACTIONS = {
    "win": 22,
    "edit": 18,
    "lose": 5,
    "reopen": 4,
    "delete deal": 3,
    "rename company": 7,
    "win again": 4,
    "move deal": 2,
    "rename company as other": 1,
    "rename product": 2,
    "rename product as other": 1,
    "reprice product": 3,
    "move contact": 2,
    "merge customers": 1,
    "pay": 9,
    "refund": 3,
    "take payment back": 3,
    "void invoice": 2,
    "edit invoice": 4,
    "edit invoice's number": 2,
    "edit customer": 2,
    "delete invoice": 1,
    "close books": 1,
    "retry parked": 4,
    "dismiss one": 2,
    "backfill": 2,
    "alias": 2,
    "revoke crm": 1,
    "revoke books": 1,
    "reconnect": 3,
    "poison": 1,
}
THEMES = {  # where the sync has other policies than the preset; what is not named stays as it is
    "customers": {
        "edit company's fields": 60,
        "edit customer's fields": 60,
        "answer review": 30,
        "merge customers": 4,
        "plan": 4,
        "apply plan": 4,
    },
    "withdrawals": {
        "win": 60,
        "lose": 40,
        "delete deal": 12,
        "pay": 20,
        "approve capped": 12,
        "edit company's fields": 6,
        "edit customer's fields": 6,
        "answer review": 6,
    },
    "plans": {
        "win": 50,
        "reword sync": 20,
        "plan": 30,
        "apply plan": 40,
        "undo plan": 20,
        "backfill": 10,
        "approve capped": 8,
        "lose": 8,
        "edit company's fields": 10,
        "edit customer's fields": 10,
        "answer review": 6,
    },
}


def assumption_of(seed: int) -> Assumption:
    """Six of ten seeds are bounded, the others one each."""
    return {
        6: Assumption.LAGGING,
        7: Assumption.LAGGING_KEYS,
        8: Assumption.ZOMBIES,
        9: Assumption.ZOMBIES_KEYS,
    }.get(seed % 10, Assumption.BOUNDED)


def plan_of(seed: int, *, rotated: bool = True) -> Plan:
    """The plan that this seed stands for; if it is not to be `rotated`, that with the first model."""
    random = Random(f"{seed}/plan")
    assumption = assumption_of(seed)
    lagging = assumption in (Assumption.LAGGING, Assumption.LAGGING_KEYS)
    points = POINTS
    preset = seed % REAL_EVERY == REAL_AT or seed % DAY_EVERY == DAY_AT
    rotation = rotation_of(seed) if rotated and seed % REAL_EVERY != REAL_AT else None
    policies = PRESET if preset else within(policies_of(seed), rotation)
    if rotation is not None:
        points = points_of(rotation)
    if seed % REAL_EVERY == REAL_AT:
        points = {name: at for name, at in POINTS.items() if not name.startswith(("crm.", "books."))} | REAL_POINTS
    return Plan(
        seed=seed,
        assumption=assumption,
        steps=tuple(_steps(random, seed, policies)),
        faults=tuple(sorted(_faults(random, points), key=lambda fault: (fault.point, fault.nth))),
        lag_seconds=random.uniform(30, 400) if lagging else random.choice((0, 0, 4, 7)),
        webhooks=random.choice((0.0, 0.6, 1.0, 1.0)),
        duplicates=random.choice((0.0, 0.1, 0.4)),
        disorder_seconds=random.choice((0.1, 3, 60)),
        latency_seconds=random.choice((0.2, 2, 6, 15)),
        adoptable=random.random() < 0.3,
        start=random.choice((START, *STARTS)),
        skew_seconds=random.choice((0.0, 0.0, 0.05, 2.0)),
        calls_per_minute=random.choice((12, 30, 120, 500)),
        token_seconds=random.choice((600, 3600)),
        token_rotates_seconds=random.choice((0, 900, 86_400)),
        policies=policies,
        rotation=rotation,
    )


def points_of(rotation: Rotation) -> dict[str, tuple[int, int, tuple[FaultKind, ...]]]:
    """Where calls of a model provider may go wrong that the first model does not have."""
    in_steps = STEPS_POINTS if rotation.in_steps else {}
    return POINTS | ROTATED_POINTS | in_steps | (LIMITED_POINTS if rotation.limited else {})


def _steps(random: Random, seed: int, policies: Policies) -> list[Step]:
    at, steps = 5.0, []
    actions: dict[str, float] = {**ACTIONS}
    theme = ""
    if policies != PRESET:
        theme = random.choice(list(THEMES))
        actions = {name: weight / OTHERS_LESS for name, weight in ACTIONS.items()} | THEMES[theme]
        if policies.look_alikes:
            actions["answer review"] = 30
    names = list(actions)
    weights = list(actions.values())
    if (
        seed % DAY_EVERY == DAY_AT
    ):  # deletions; and nobody is away for the whole day whose sign-in would have to be renewed
        more = {"delete deal": DELETED_MORE, "delete invoice": DELETED_MORE, **dict.fromkeys(_LASTING, 0)}
        weights = [actions[name] * more.get(name, 1) for name in names]
    # Many requests take long within the limits: people go on with few deals, after the first invoices stand. So they
    # do where policies count: what is in agreement has to be changed.
    real, slow = seed % REAL_EVERY == REAL_AT, bool(theme)
    pace = random.choice((20, 200, 400) if real else (10, 40, 200) if slow else (1, 10, 20, 40, 200))
    busy = 4 if theme == "withdrawals" else random.choice((1, 1, 2) if real or slow else (1, 2, 4))
    for number in range(random.randint(12, 50) if slow else random.randint(5, 40)):
        at += random.random() * (pace if random.random() < 0.9 else 600)
        action = "win" if slow and number < busy else random.choices(names, weights)[0]
        tenant = random.choice(TENANTS) if random.random() < (0.1 if slow else 0.5) else TENANTS[0]
        about = _about(random, action, busy)
        if slow and number < busy:
            about = DEALS[number]
        elif slow and about in COMPANIES and random.random() < 0.5:
            about = COMPANIES[0]
        steps.append(Step(round(at, 2), tenant, action, about, _value(random, action)))
        if slow:
            steps += _what_follows(random, steps[-1])
    return sorted(steps, key=lambda step: step.at)


def _what_follows(random: Random, step: Step) -> list[Step]:
    """What is rare unless it comes at once: both sides are edited together, and a plan comes from a changed sync."""
    follow: list[tuple[float, str]] = []
    if step.action == "edit company's fields" and random.random() < 0.5:
        follow = [(2, "edit customer's fields"), (random.choice((60, 900)), "answer review")]
    elif step.action == "reword sync":
        follow = [(30, "plan"), (random.choice((5, 30, 200)), "apply plan"), (random.choice((20, 400)), "undo plan")]
        follow = follow[: random.choice((2, 3))] if random.random() < 0.6 else [(30, "backfill")]
    elif step.action == "lose" and random.random() < 0.3:
        follow = [(600, "approve capped")]
    at, steps = step.at, []
    for seconds, action in follow:
        at += random.random() * seconds
        steps.append(Step(round(at, 2), step.tenant, action, step.about, _value(random, action)))
    return steps


def _about(random: Random, action: str, busy: int) -> str:
    if "company" in action or action.startswith(("edit customer", "move contact", "merge customers")):
        return random.choice(COMPANIES)
    if "product" in action:
        return random.choice(list(PRODUCTS))
    return random.choice(DEALS[:busy])


def _value(random: Random, action: str) -> str:
    if action in ("win", "reopen"):
        lines = [_sold(random) for _ in range(random.choice((1, 1, 1, 2, 3)))]
        return "|".join([random.choice(COMPANIES), *lines, *(["!"] if random.random() < 0.03 else [])])
    if action == "edit":
        return f"{random.randint(1, 99_999) / 100:.2f}"
    if action in ("edit company's fields", "edit customer's fields"):
        fields = random.choice(("phone", "phone", "email", "city", "phone+city", "phone+email"))
        return f"{fields}:{random.randint(1, 999_999)}"
    if action == "move deal":
        return random.choice(COMPANIES)
    return str(random.randint(1, 9_999))


def _sold(random: Random) -> str:
    """A line: mostly one of something; sometimes quantities, prices and discounts that do not come out even."""
    product = random.choices(NAMES, (6, 4, 1, 1))[0]
    if random.random() < 0.6:
        return f"{product}:1*{random.randint(1, 99_999) / 100:.2f}-0"
    quantity = random.choice(("1", "2", "7", "0.5", "1.25", "0.333"))
    price = random.choice((f"{random.randint(1, 9_999) / 100:.2f}", "0.005", "33.335", "0"))
    return f"{product}:{quantity}*{price}-{random.choice(('0', '10', '33.3', '100'))}"


def _faults(random: Random, kinds_at: dict[str, tuple[int, int, tuple[FaultKind, ...]]]) -> set[Fault]:
    points, weights = list(kinds_at), [weight for weight, *_ in kinds_at.values()]
    found = {}
    for _ in range(random.choice((0, 3, 10, 20, 40))):
        point = random.choices(points, weights)[0]
        _, reach, kinds = kinds_at[point]
        nth = random.randint(1, reach)
        found[point, nth] = Fault(point, nth, random.choice(kinds))
    return set(found.values())
