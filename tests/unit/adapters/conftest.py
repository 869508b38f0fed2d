from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.aws import TABLE, StillClock, create_table, mocked
from tieout.adapters.aws import Clients
from tieout.adapters.dynamodb.table import Table


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    with mocked(monkeypatch) as clients:
        yield clients


@pytest.fixture
def table(clients: Clients, clock: StillClock) -> Table:
    create_table(clients)
    return Table(clients.dynamodb, TABLE, clock)
