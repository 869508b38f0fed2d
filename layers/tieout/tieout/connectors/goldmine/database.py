"""The connection to the database: opened for each call, closed after it, and its errors told in the port's words."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tieout.connectors.goldmine.errors import error_of
from tieout.connectors.goldmine.manifest import GoldMineSettings
from tieout.connectors.goldmine.statements import MSSQL, NEEDED, TABLES, Statements, Table
from tieout.domain.errors import ProviderError, ReconnectError, SettingsError, UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.connector import Context

CONNECT_SECONDS = 5
ANSWER_SECONDS = 10
LOCK_MILLISECONDS = 4000
"""So that a call ends within the 25 seconds that the bridge gives it, locks included."""

_PREPARE = f"SET LOCK_TIMEOUT {LOCK_MILLISECONDS}; SET DEADLOCK_PRIORITY LOW; SET DATEFORMAT ymd"

CATALOGUE_LASTS = timedelta(hours=1)
"""New user-defined fields are seen after so long."""

type Row = Mapping[str, Any]

_log = logging.getLogger(__name__)


def engine_of(settings: GoldMineSettings, context: Context) -> sa.Engine:
    """What opens connections; opens none yet."""
    if settings.sqlite_file:
        place = f"{Path(settings.sqlite_file).absolute().as_uri()}?mode=rw"  # never makes a file
        return sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(place, uri=True), poolclass=sa.NullPool)
    address = sa.URL.create("mssql+pymssql", host=settings.server, port=settings.port, database=settings.database)
    limits = {"login_timeout": CONNECT_SECONDS, "timeout": ANSWER_SECONDS, "appname": "Tieout"}
    engine = sa.create_engine(address, poolclass=sa.NullPool, connect_args=limits)

    @sa.event.listens_for(engine, "do_connect")
    def sign_in(_dialect: Any, _record: Any, _positional: Any, named: dict[str, Any]) -> None:  # noqa: ANN401 - theirs
        """The password is read when it is needed, and stands in no address."""
        named["user"], named["password"] = login_of(context)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:  # noqa: ANN401 - a driver's connection
        """Wait for people's locks a moment only, let them win, and read days as pymssql writes them."""
        with connection.cursor() as cursor:
            cursor.execute(_PREPARE)

    return engine


def login_of(context: Context) -> tuple[str, str]:
    """User name and password of the connection.

    Raises:
        SettingsError: If it has none.
    """
    secrets = context.secrets.read(context.connection.tenant, context.connection.id)
    if not secrets.get("username") or not secrets.get("password"):
        raise SettingsError(
            "The GoldMine connection has no login yet.",
            next_step="Give the agent the user name and password of the SQL Server login.",
        )
    return secrets["username"], secrets["password"]


class Database:
    """One GoldMine database."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._raw = _raw_errors(engine)
        self._read: tuple[datetime, Statements] | None = None

    @property
    def tracks(self) -> bool:
        """True if the server has change tracking, whether it is switched on or not."""
        return self._engine.dialect.name == MSSQL

    @property
    def statements(self) -> Statements:
        """For the tables and columns that are there; the catalogue is read once an hour.

        Raises:
            ReconnectError: If these are not GoldMine's tables.
            ProviderError: If the database does not answer.
        """
        now = self._clock.now()
        if self._read is None or now - self._read[0] > CATALOGUE_LASTS:
            with self._asked() as connection:
                found = {name: table for name in TABLES if (table := _table(connection, name)) is not None}
            _check(found)
            self._read = now, Statements(self._engine.dialect.name, found)
        return self._read[1]

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        """The rows of a query, by the labels of its columns.

        Raises:
            ProviderError: If there is no answer.
        """
        with self._asked() as connection:
            return _rows(connection, statement)

    @contextmanager
    def change(self) -> Iterator[Change]:
        """One transaction; what was done in it is undone unless it is kept.

        Raises:
            UncertainError: If it may have been kept, whatever went wrong after that.
            ProviderError: If it was not kept.
        """
        change: Change | None = None
        try:
            with self._asked() as connection:
                change = Change(connection)
                yield change
        except ProviderError as error:
            if change is None or not change.kept:
                raise
            _log.warning("The connection to GoldMine broke after what was written was kept: %s", error.detail)

    @contextmanager
    def _asked(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise error_of(error.orig, write=False) from None
        except sa.exc.SQLAlchemyError as error:
            raise _strange(error) from None
        except self._raw as error:
            raise error_of(error, write=False) from None


class Change:
    """A transaction under way.

    Attributes:
        kept: It was made to last.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.kept = False

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        """The rows of a query, as the transaction sees them."""
        return _rows(self._connection, statement)

    def update(self, statement: sa.Update) -> int:
        """How many rows it changed; -1 if the driver cannot say."""
        return self._connection.execute(statement).rowcount

    def keep(self) -> None:
        """Make it last.

        Raises:
            UncertainError: If it may have been kept, or not.
            ProviderError: If it was surely not: a deadlock, a lock.
        """
        try:
            self._connection.commit()
        except sa.exc.DBAPIError as error:
            raise error_of(error.orig, write=True) from None
        self.kept = True


def _rows(connection: sa.Connection, statement: sa.Select[Any]) -> list[Row]:
    try:
        return [dict(row) for row in connection.execute(statement).mappings()]
    except ValueError as error:  # a value that is not of its column's type, such as a day that is none
        raise _strange(error) from None


def _strange(error: Exception) -> UnavailableError:
    sentence = "The GoldMine database sent something that Tieout does not understand."
    return UnavailableError(sentence, detail=type(error).__name__)


def _raw_errors(engine: sa.Engine) -> tuple[type[Exception], ...]:
    """What pymssql raises past DB-API while it connects or rolls back, seen of 2.4.6; SQLAlchemy does not know them."""
    inner = getattr(engine.dialect.loaded_dbapi, "_mssql", None)
    return () if inner is None else (inner.MSSQLException,)


def _check(tables: Mapping[str, Table]) -> None:
    """Raises ReconnectError if these are not GoldMine's tables, or lack a column that nothing works without."""
    for name, columns in NEEDED.items():
        table = tables.get(name)
        missing = name if table is None else next((f"{name}.{one}" for one in columns if not table.has(one)), "")
        if missing:
            raise ReconnectError(
                f"The database has no {missing}, or its login may not see it.",
                next_step="Check `database` in the connection document, and what the login may read.",
            )


def _table(connection: sa.Connection, name: str) -> Table | None:
    """None if there is none of that name."""
    inspector = sa.inspect(connection)
    try:
        columns = {each["name"]: each["type"] for each in inspector.get_columns(name)}
    except sa.exc.NoSuchTableError:
        return None
    return Table.of(name, columns, key=inspector.get_pk_constraint(name)["constrained_columns"])
