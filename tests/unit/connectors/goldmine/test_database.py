"""The end of a transaction, where connections break."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.contract.fakes import ManualClock
from tieout.connectors.goldmine.database import Database
from tieout.domain.errors import ThrottledError, UnavailableError, UncertainError

BROKEN, DEADLOCK = 10054, 1205


class Breaking(sqlite3.Connection):
    """Its commit fails with a number, and then it cannot roll back either."""

    number = BROKEN
    broken = False

    def commit(self) -> None:
        if self.in_transaction:
            Breaking.broken = True
            raise sqlite3.OperationalError((self.number, b"the commit"))

    def rollback(self) -> None:
        if Breaking.broken:
            raise sqlite3.OperationalError((BROKEN, b"the rollback"))


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(Breaking, "broken", False)
    file = tmp_path / "a.sqlite"
    made = sqlite3.connect(file)
    made.execute("CREATE TABLE A (B INTEGER)")
    made.execute("INSERT INTO A VALUES (1)")
    made.commit()
    made.close()
    engine = sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(file, factory=Breaking), poolclass=sa.NullPool
    )
    return Database(engine, ManualClock())


UPDATE = sa.update(sa.table("A", sa.column("B"))).values(B=2)


@pytest.mark.parametrize(("number", "error"), [(BROKEN, UncertainError), (DEADLOCK, ThrottledError)])
def test_a_rollback_that_fails_too_does_not_turn_maybe_into_no(database, monkeypatch, number, error):
    monkeypatch.setattr(Breaking, "number", number)
    with pytest.raises(error), database.change() as change:  # noqa: PT012 - what is raised by the end of the block, too
        assert change.update(UPDATE) == 1
        change.keep()


def test_a_connection_that_breaks_after_it_was_kept_is_no_error(database, monkeypatch):
    monkeypatch.setattr(Breaking, "commit", sqlite3.Connection.commit)
    with database.change() as change:
        change.update(UPDATE)
        change.keep()
        monkeypatch.setattr(Breaking, "broken", True)
        change.rows(sa.select(sa.literal(1).label("X")))  # a transaction begins, which cannot be rolled back


def test_a_connection_that_breaks_before_is_not_done(database, monkeypatch):
    with pytest.raises(UnavailableError), database.change() as change:  # noqa: PT012 - as above
        change.update(UPDATE)
        monkeypatch.setattr(Breaking, "broken", True)
