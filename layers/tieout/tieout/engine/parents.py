"""Parents: a step may link to itself, as sub-customers do; then who belongs to another is written after that one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tieout.engine.plan import Work
from tieout.engine.sentences import its_own_parent, too_deep
from tieout.engine.session import Session
from tieout.mapping import CompiledStep

# With the topmost. Source: intuit/QuickBooks-V3-Java-SDK `IntuitNamesTypes.xsd`, FullyQualifiedName, read 2026-11-22.
LEVELS_MAX = 5


def by_level(session: Session, step: CompiledStep, works: Sequence[Work]) -> Iterator[list[Work]]:
    """The works of the step that have not ended, parents first; the next level is due once the one before has ended.

    Those that belong to themselves, and those below the last level, are parked.
    """
    left = [work for work in works if not work.ended]
    if step.name in step.links_to:
        for work in _in_circles(left):
            session.ends.parked(work, its_own_parent(work), cause=f"own-parent-{step.name}")
    for _ in range(LEVELS_MAX):
        left = [work for work in left if not work.ended]
        keys = {work.key for work in left}
        ready = [work for work in left if keys.isdisjoint(work.needs.values())]
        yield ready
        left = [work for work in left if not keys.isdisjoint(work.needs.values())]
        if not left:
            return
    park_too_deep(session, left)


def park_too_deep(session: Session, works: Sequence[Work]) -> None:
    """Park the works: more stand above them than the books have levels."""
    for work in works:
        session.ends.parked(work, too_deep(work, LEVELS_MAX), cause=f"too-deep-{work.step.name}")


def _in_circles(works: Sequence[Work]) -> list[Work]:
    """Those that are among their own parents, grandparents and so on."""
    parents = {work.key: key for work in works for key in work.needs.values() if key.step == work.key.step}
    found = []
    for work in works:
        above = parents.get(work.key)
        for _ in range(len(parents)):
            if above is None or above == work.key:
                break
            above = parents.get(above)
        if above == work.key:
            found.append(work)
    return found
