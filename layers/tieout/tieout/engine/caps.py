"""Caps: how much may happen in a day without a person's approval, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from tieout.domain.errors import UnavailableError
from tieout.ports.clock import Clock

ATTEMPTS_MAX = 12
_DAY = "day"


class Cap(StrEnum):
    """WITHDRAWALS: documents voided or credited. REWRITES: documents written only because the sync was changed."""

    WITHDRAWALS = "withdrawals"
    REWRITES = "rewrites"


class CapStore(Protocol):
    """What is needed of `BudgetStore`."""

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
        """The state and its revision."""

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
        """Store it if the revision is still that."""


class Caps:
    """Counts what a sync did today (UTC), each document once, however often it is tried."""

    def __init__(self, store: CapStore, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def admit(self, tenant: str, sync: str, cap: Cap, references: Sequence[str], most: int) -> set[str]:
        """Those of `references` that may go on: they were admitted today already, or there is room for them.

        Raises:
            UnavailableError: If too many workers count at once; nothing was admitted.
        """
        name = f"caps/{sync}/{cap}"
        for _ in range(ATTEMPTS_MAX):
            state, revision = self._store.read_budget(tenant, name)
            today = self._clock.now().toordinal()
            admitted = {one for one in state if one != _DAY} if state.get(_DAY) == today else set()
            new = [one for one in dict.fromkeys(references) if one not in admitted]
            room = new[: max(0, most - len(admitted))]
            if not room:
                return admitted & set(references)
            after = {_DAY: today} | dict.fromkeys(sorted(admitted), 1) | dict.fromkeys(room, 1)
            if self._store.write_budget(tenant, name, after, revision):
                return (admitted & set(references)) | set(room)
            self._clock.sleep(0.02 * self._clock.jitter())
        raise UnavailableError("Too many workers count the same cap at once; it is tried again.")
