"""The SQL as it is compiled for SQL Server, which no test here can run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql

from tests.contract.fakes import ManualClock, MemorySecrets
from tieout.connectors.goldmine import CONNECTOR
from tieout.connectors.goldmine.database import engine_of
from tieout.connectors.goldmine.manifest import settings_of
from tieout.connectors.goldmine.statements import NEEDED, Statements, Table
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError, UnavailableError
from tieout.ports.connector import Context

TEXT = sa.NVARCHAR(20)
KINDS = {"LASTDATE": sa.DATETIME()}
BIN = "COLLATE Latin1_General_BIN"
ONE_CORE = "OPTION (MAXDOP 1)"


def table(name: str, *columns: str) -> Table:
    return Table.of(name, {each: KINDS.get(each, TEXT) for each in [*NEEDED.get(name, ()), *columns]}, key=["RECID"])


STATEMENTS = Statements(
    "mssql",
    {
        "CONTACT1": table("CONTACT1", "LASTDATE", "LASTTIME", "LASTUSER", "RECID", "NOTES"),
        "CONTACT2": table("CONTACT2", "UCLIENTSTA", "UBALANCE", "RECID", "PREVRESULT"),
        "CONTSUPP": table("CONTSUPP", "LASTDATE", "ADDRESS1", "ZIP"),
        "OPMGR": table("OPMGR"),
        "CONTHIST": table("CONTHIST", "LOPRECID", "SRECTYPE", "REF", "RECID"),
    },
)


def sql(statement: sa.sql.ClauseElement) -> str:
    """With its values, in one line."""
    compiled = statement.compile(dialect=mssql.dialect(), compile_kwargs={"literal_binds": True})
    return re.sub(r"\s+", " ", str(compiled))


def test_a_page_of_ids_is_in_binary_order_and_behind_the_last_one():
    assert sql(STATEMENTS.accounts("A1#(b", 500)) == (
        "SELECT TOP 500 [K].[KEY_] FROM (SELECT DISTINCT [CONTACT1].[ACCOUNTNO] COLLATE Latin1_General_BIN AS [KEY_]"
        " FROM [CONTACT1] WHERE [CONTACT1].[ACCOUNTNO] != N'') AS [K]"
        " WHERE ([K].[KEY_] COLLATE Latin1_General_BIN) > N'A1#(b'"
        " ORDER BY [K].[KEY_] COLLATE Latin1_General_BIN OPTION (MAXDOP 1)"
    )
    first = sql(STATEMENTS.deals("", 10))
    assert "WHERE [OPMGR].[OPID] != N'' AND ([OPMGR].[RECTYPE] = N'O' OR [OPMGR].[RECTYPE] LIKE N'O %')" in first
    assert first.startswith("SELECT TOP 10 ")
    assert " > " not in first


@pytest.mark.parametrize(
    "statement",
    [
        STATEMENTS.accounts("", 5),
        STATEMENTS.additional_contacts("x", 5),
        STATEMENTS.deals("x", 5),
        STATEMENTS.edited_accounts(date(2026, 1, 3), 5),
        STATEMENTS.rows("CONTACT1", "ACCOUNTNO", ["A1"]),
        STATEMENTS.addresses("LINKACCT", ["A1"]),
        STATEMENTS.persons("RECID", ["A1"]),
        STATEMENTS.opportunities(["A1"]),
        STATEMENTS.sales(["A1"]),
        STATEMENTS.with_address(["ada@acme.example"]),
        STATEMENTS.persons_named(["Ada"]),
        STATEMENTS.opportunities_named(["Consulting"]),
        STATEMENTS.tracked({"CONTACT1": "ACCOUNTNO", "CONTACT2": "ACCOUNTNO"}, 5, "x", 5),
    ],
)
def test_a_query_takes_one_processor(statement):
    assert sql(statement).endswith(ONE_CORE)


def test_rows_are_looked_up_by_their_column_as_it_is_and_only_some_columns_are_read():
    text = sql(STATEMENTS.rows("CONTACT1", "ACCOUNTNO", ["A1#(b", "O'Hara"]))
    assert "WHERE [CONTACT1].[ACCOUNTNO] IN (N'A1#(b', N'O''Hara')" in text
    assert BIN not in text, "the column's index would not serve"
    assert "NOTES" not in text
    text = sql(STATEMENTS.rows("CONTACT2", "ACCOUNTNO", ["A1"]))
    assert "UCLIENTSTA" in text
    assert "PREVRESULT" not in text


def test_what_was_edited_lately_is_asked_of_customers_and_details():
    text = sql(STATEMENTS.edited_accounts(date(2026, 1, 3), 401))
    assert text.count("LASTDATE] >= '2026-01-03 00:00:00") == 2
    assert " UNION " in text
    assert text.startswith("SELECT TOP 401 ")


def test_change_tracking_is_asked_in_sql_servers_words():
    assert sql(STATEMENTS.tracking_version()) == "SELECT CHANGE_TRACKING_CURRENT_VERSION() AS [VERSION]"
    assert sql(STATEMENTS.tracking_valid_from("CONTACT1")) == (
        "SELECT CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID('CONTACT1')) AS [VERSION]"
    )
    assert sql(STATEMENTS.tracked_count("CONTSUPP", 41, operation="D")) == (
        "SELECT count(*) AS [ROWS_] FROM CHANGETABLE(CHANGES CONTSUPP, 41) AS CT WHERE CT.SYS_CHANGE_OPERATION = 'D'"
    )
    text = sql(STATEMENTS.tracked({"CONTACT1": "ACCOUNTNO", "CONTSUPP": "ACCOUNTNO"}, 41, "A1", 250))
    assert "FROM CHANGETABLE(CHANGES CONTACT1, 41) AS CT JOIN [CONTACT1] ON CT.RECID = [CONTACT1].[RECID]" in text
    assert "FROM CHANGETABLE(CHANGES CONTSUPP, 41) AS CT JOIN [CONTSUPP] ON CT.RECID = [CONTSUPP].[RECID]" in text
    assert text.startswith("SELECT TOP 250 ")
    assert f"> N'A1' ORDER BY [K].[KEY_] {BIN} {ONE_CORE}" in text


def test_an_update_names_its_row_twice_and_its_former_values():
    statement = STATEMENTS.set_user_fields("A1", {"UCLIENTSTA": "Paid"}, {"UCLIENTSTA": None, "UBALANCE": "1"})
    assert sql(statement) == (
        "UPDATE [CONTACT2] SET [UCLIENTSTA]=N'Paid' WHERE [CONTACT2].[ACCOUNTNO] = N'A1'"
        " AND ([CONTACT2].[ACCOUNTNO] COLLATE Latin1_General_BIN) = N'A1'"
        " AND [CONTACT2].[UCLIENTSTA] IS NULL AND [CONTACT2].[UBALANCE] = N'1'"
    )
    statement = STATEMENTS.stamp("A1", datetime(2026, 1, 5, 9, 7, tzinfo=UTC), "TIEOUT")
    assert "SET [LASTDATE]='2026-01-05 00:00:00" in sql(statement)
    assert "[LASTTIME]=N'09:07', [LASTUSER]=N'TIEOUT'" in sql(statement)


def context_of(**settings: object) -> Context:
    connection = Connection("acme", "goldmine", "goldmine", settings=settings)
    secrets = MemorySecrets({"username": "reader", "password": "correct horse"})
    return Context(connection, secrets, None, ManualClock(), None)


def test_the_password_stands_in_no_address_and_reaches_the_driver(monkeypatch: pytest.MonkeyPatch):
    given: dict[str, Any] = {}

    def connect(**named: Any) -> object:
        given.update(named)
        raise ConnectionError

    monkeypatch.setattr("pymssql.connect", connect)
    context = context_of(server="office-server", database="GoldMine", port=1444)
    engine = engine_of(settings_of(context.connection.settings), context)
    assert "horse" not in repr(engine)
    with pytest.raises(ConnectionError):
        engine.connect()
    assert given == {
        "host": "office-server:1444",
        "database": "GoldMine",
        "user": "reader",
        "password": "correct horse",
        "login_timeout": 5,
        "timeout": 10,
        "appname": "Tieout",
    }


def test_a_server_that_is_not_there_is_unavailable():
    """By pymssql itself, at a port of this machine where nobody listens."""
    connector = CONNECTOR.open(context_of(server="127.0.0.1", port=9, database="GoldMine"))
    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        connector.probe()
    assert caught.value.code == "20009"
    assert "horse" not in str(vars(caught.value))


def test_without_a_login_somebody_is_asked_for_one():
    context = context_of(server="127.0.0.1", port=9, database="GoldMine")
    context.secrets.write("", "", {})
    with pytest.raises(SettingsError, match="no login"):
        CONNECTOR.open(context).probe()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"server": "a", "database": "b", "sqlite_file": "c"}, "sqlite_file"),
        ({"server": "a;b", "database": "b"}, "server"),
        ({"sqlite_file": "c", "currency": "euro"}, "currency"),
        ({"sqlite_file": "c", "time_zone": "Berlin"}, "time_zone"),
        ({"sqlite_file": "c", "won_statuses": ["Done"], "lost_statuses": ["done"]}, "two things"),
        ({"sqlite_file": "c", "products": ["A", "a"]}, "products"),
        ({"sqlite_file": "c", "last_user": "much too long"}, "last_user"),
    ],
)
def test_wrong_settings_are_named(settings: Mapping[str, object], told: str):
    with pytest.raises(SettingsError, match=told):
        settings_of(settings)
