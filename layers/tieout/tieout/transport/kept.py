"""Facts about a provider's company that are asked for once, and again after ten minutes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import Any

from tieout.ports.clock import Clock

# A connection may stay open for hours in a warm worker, while somebody changes the company's settings.
KEPT_FOR = timedelta(minutes=10)


class KeptFacts:
    """Facts by name, each asked for when it is first needed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.forget()

    def fact[Fact](self, name: Hashable, ask: Callable[[], Fact]) -> Fact:
        """The fact as it is known, or as `ask` says; None is not kept, and what `ask` raises is raised."""
        known: Fact | None = self._facts.get(name)
        if known is not None:
            return known
        asked = ask()
        self.note(name, asked)
        return asked

    def note(self, name: Hashable, fact: object) -> None:
        """Keep a fact that another answer told."""
        self._facts[name] = fact

    def refresh(self) -> None:
        """Forget all if ten minutes have passed. Called between writes, so that one write sees one state."""
        if self._clock.now() - self._since > KEPT_FOR:
            self.forget()

    def forget(self) -> None:
        """Ask again when it is next needed."""
        self._since = self._clock.now()
        self._facts: dict[Hashable, Any] = {}
