"""The engine's own processor time, with everything around it in memory."""

from __future__ import annotations

import time

from bench.figure import Figure
from tests.engine.world import World
from tieout.domain.records import Kind

DEALS = 1000
ROUNDS = 3


def measure() -> list[Figure]:
    """Apply 1,000 deals in memory: processor time of engine and mapping."""
    created = min(_milliseconds(World(), created=True) for _ in range(ROUNDS))
    unchanged = min(_milliseconds(World(), created=False) for _ in range(ROUNDS))
    return [
        Figure("engine time per change that makes an invoice", created, "ms", 2),
        Figure("engine time per change of an unchanged record", unchanged, "ms", 2),
    ]


def _milliseconds(world: World, *, created: bool) -> float:
    names = [f"d{number}" for number in range(DEALS)]
    for name in names:
        world.deal(name)
    world.apply(names[0])  # compiles the sync
    changes = world.change(Kind.DEAL, *names)
    if not created:
        world.engine.apply(changes)
    began = time.process_time()
    world.engine.apply(changes)
    return (time.process_time() - began) * 1000 / DEALS
