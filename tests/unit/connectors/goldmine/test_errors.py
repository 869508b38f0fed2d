"""Errors of the database, and the place where there is no SQLAlchemy."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pymssql
import pytest

from tieout.connectors.goldmine.errors import NUMBERS, error_of, told_by
from tieout.domain.errors import (
    ConflictError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)


@pytest.mark.parametrize(
    ("number", "reading", "writing"),
    [
        (1205, ThrottledError, ThrottledError),
        (1222, ThrottledError, ThrottledError),
        (-2, UnavailableError, UncertainError),
        (20003, UnavailableError, UncertainError),
        (4060, ReconnectError, ReconnectError),
        (18456, ReconnectError, ReconnectError),
        (229, ReconnectError, ReconnectError),
        (53, UnavailableError, UncertainError),
        (10054, UnavailableError, UncertainError),
        (10060, UnavailableError, UncertainError),
        (8152, RejectedError, RejectedError),
        (3960, ConflictError, ConflictError),
        (424242, UnavailableError, UncertainError),
    ],
)
def test_what_a_number_means(number: int, reading: type[ProviderError], writing: type[ProviderError]):
    error = pymssql.OperationalError((number, b"Something.DB-Lib error message 20018, severity 14:\nGeneral error\n"))
    assert type(error_of(error, write=False)) is reading
    assert type(error_of(error, write=True)) is writing
    assert error_of(error, write=False).code == str(number)


def test_who_can_do_something_is_told_what():
    for number, row in NUMBERS.items():
        error = error_of(pymssql.OperationalError((number, b"")), write=False)
        assert error.message
        assert error.next_step or not issubclass(row.error, ReconnectError | RejectedError), number


def test_only_a_refused_values_text_reaches_a_person():
    text = b"String or binary data would be truncated in table 'GM.dbo.CONTACT2'.DB-Lib error message 20018\nMore"
    assert "truncated" in error_of(pymssql.OperationalError((2628, text)), write=True).message
    login = error_of(pymssql.OperationalError((18456, b"Login failed for user 'reader'.")), write=False)
    assert "reader" not in login.message


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, (0, "")),
        (ValueError(), (0, "")),
        (ValueError("text"), (0, "")),
        (pymssql.OperationalError(1205, "plain"), (1205, "plain")),
        (pymssql.OperationalError(((1205, b"\xff"),)), (1205, "\N{REPLACEMENT CHARACTER}")),
        # As seen: the number is that of an earlier refusal, the text says what happened.
        (pymssql.OperationalError((18456, b"DB-Lib error message 20009, severity 9:\nUnable to connect")), (20009, "")),
        (
            pymssql.OperationalError(
                (
                    20047,
                    b"DB-Lib error message 20003, severity 6:\ntimed out\nDB-Lib error message 20047, severity 9:\n",
                )
            ),
            (20003, ""),
        ),
        (pymssql.OperationalError((18456, b"DB-Lib error message 20017, severity 9:\nUnexpected EOF")), (20017, "")),
        (
            pymssql.OperationalError((18456, b"DB-Lib error message 20018, x\nDB-Lib error message 20002, x")),
            (18456, ""),
        ),
        (pymssql.OperationalError("Cannot commit transaction: (1205, b'deadlock victim')"), (1205, "")),
        (pymssql.OperationalError((18456, b"Login failed.DB-Lib error message 20002, x")), (18456, "Login failed.")),
    ],
)
def test_errors_of_any_form_are_read(error, told):
    assert told_by(error) == told


def test_a_locked_file_is_a_lock(tmp_path):
    file = tmp_path / "a.sqlite"
    holder, other = sqlite3.connect(file), sqlite3.connect(file, timeout=0)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as caught:
        other.execute("CREATE TABLE A (B)")
    assert type(error_of(caught.value, write=True)) is ThrottledError
    holder.close()
    other.close()


PROGRAM = """
import sys
sys.modules["sqlalchemy"] = sys.modules["pymssql"] = None  # importing them fails
from tieout.connectors.goldmine import CONNECTOR
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError
from tieout.domain.records import Kind
from tieout.ports.connector import Context
print(CONNECTOR.manifest.title, len(CONNECTOR.manifest.reads))
connection = Connection("acme", "g", "goldmine", settings={"server": "s", "database": "d"})
connector = CONNECTOR.open(Context(connection, None, None, None, None))
print([record.id for record in connector.read(Kind.PRODUCT, ["Services"])])
try:
    connector.probe()
except SettingsError as error:
    print(error.message)
"""


def test_what_it_can_do_is_known_where_there_is_no_sqlalchemy():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "GoldMine 4",
        "['Services']",
        "GoldMine can only be reached where sqlalchemy is installed: by the agent, beside the SQL Server.",
    ]
