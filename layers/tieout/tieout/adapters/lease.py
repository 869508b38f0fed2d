"""A lease: one worker at a time in the whole deployment."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from tieout.domain.errors import UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.state import BudgetStore

LIFE_SECONDS = 60
WAIT_SECONDS_MAX = 20
POLL_SECONDS = 0.5


@contextmanager
def held(store: BudgetStore, clock: Clock, tenant: str, name: str) -> Iterator[None]:
    """Hold the lease inside the `with`; it ends by itself after 60 seconds if this worker dies.

    Raises:
        UnavailableError: If another worker held it for 20 seconds.
    """
    holder = uuid.uuid4().hex
    give_up_at = clock.now() + timedelta(seconds=WAIT_SECONDS_MAX)
    for _ in range(round(WAIT_SECONDS_MAX / POLL_SECONDS) + 1):
        now = clock.now()
        if store.take_lease(tenant, name, holder=holder, until=now + timedelta(seconds=LIFE_SECONDS), now=now):
            break
        if now >= give_up_at:
            raise _busy(name)
        clock.sleep(POLL_SECONDS)
    else:
        raise _busy(name)
    try:
        yield
    finally:
        store.drop_lease(tenant, name, holder=holder)


def _busy(name: str) -> UnavailableError:
    return UnavailableError(
        "Another worker is still signing in to the provider.",
        detail=f"lease {name} not free after {WAIT_SECONDS_MAX} seconds",
    )
