"""What the numbers of SQL Server and of FreeTDS mean, in one table.

A driver's error holds a number and a text: pymssql `((number, text),)`, a connection's error too. Texts may name tables
and the login, never a password; only that of a refused value reaches a person.

Source: Microsoft, "Database engine events and errors" (numbers below 20000, and -2, 53, 10054, 10060 as other drivers
give them); FreeTDS 1.4 `include/sybdb.h` (20002 to 20047); what pymssql 2.4.6 raises was seen, at a
closed port and from a TDS server of ours.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping

from tieout.domain.errors import (
    ConflictError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from tieout.transport.refusals import Row, Told

LOCKED_SECONDS = 30
"""How long to leave a database alone whose users hold what we want."""

_SENTENCE_LENGTH_MAX = 200
_LOCK_TIME_OUT = 1222
_NO_SERVER, _TIMED_OUT, _SERVER_SAID = 20009, 20003, 20018
_TELLING = (_NO_SERVER, _TIMED_OUT)
_LIBRARY = "DB-Lib error message"
_IN_WORDS = re.compile(r"\((-?\d{1,5}), ")
_OF_THE_LIBRARY = re.compile(rf"{_LIBRARY} (\d{{5}})")
_SQLITE_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

_LOCKED = Row(
    ThrottledError, "People are working with the same records in GoldMine.", retry_after_seconds=LOCKED_SECONDS
)
_UNREACHABLE = Row(
    UnavailableError,
    "The SQL Server of GoldMine cannot be reached.",
    next_step="If this lasts, check that it runs, that the network or VPN is up, and `server` and `port`.",
)
_BROKEN = Row(UnavailableError, "The connection to the SQL Server of GoldMine broke.")
_SLOW = Row(UnavailableError, "The SQL Server of GoldMine gave no answer in time.")
_LOGIN = Row(
    ReconnectError,
    "The SQL Server does not accept the login of this connection.",
    next_step="Check user name and password of the SQL Server login, then give them to the agent again.",
)
_PASSWORD = Row(
    ReconnectError,
    "The password of the SQL Server login has expired.",
    next_step="Give the login a new password in SQL Server, one that does not expire, then give it to the agent.",
)
_DATABASE = Row(
    ReconnectError,
    "The login cannot open the GoldMine database.",
    next_step="Check `database` in the connection document, and that the login is a user of that database.",
)
_RIGHTS = Row(
    ReconnectError,
    "The login may not do this in the GoldMine database.",
    next_step="Grant it SELECT on the tables that docs/providers/goldmine.md names (and UPDATE, if it writes).",
)
_NO_TABLES = Row(
    ReconnectError,
    "The database has not the tables and columns of GoldMine.",
    next_step="Check `database` in the connection document: it has to be the one with CONTACT1.",
)
_REFUSED = Row(
    RejectedError,
    "The GoldMine database refuses the value: {said}",
    next_step="Shorten or correct the value, then retry.",
)
_FULL = Row(UnavailableError, "The SQL Server of GoldMine has no room left.")
_NOT_READY = Row(UnavailableError, "The SQL Server of GoldMine is starting, paused or being restored.")

NUMBERS: Mapping[int, Row] = {
    -2: _SLOW,
    53: _UNREACHABLE,
    207: _NO_TABLES,
    208: _NO_TABLES,
    229: _RIGHTS,
    230: _RIGHTS,
    245: _REFUSED,
    515: _REFUSED,
    547: _REFUSED,
    911: _DATABASE,
    916: _DATABASE,
    927: _NOT_READY,
    1105: _FULL,
    1205: _LOCKED,
    _LOCK_TIME_OUT: _LOCKED,
    2628: _REFUSED,
    3906: _RIGHTS,
    3960: Row(ConflictError, "Somebody changed the record in GoldMine at the same time."),
    4060: _DATABASE,
    8114: _REFUSED,
    8115: _REFUSED,
    8152: _REFUSED,
    9002: _FULL,
    10054: _BROKEN,
    10060: _UNREACHABLE,
    10061: _UNREACHABLE,
    17142: _NOT_READY,
    18401: _NOT_READY,
    18452: _LOGIN,
    18456: _LOGIN,
    18470: _LOGIN,
    18486: _LOGIN,
    18487: _PASSWORD,
    18488: _PASSWORD,
    20002: _UNREACHABLE,
    _TIMED_OUT: _SLOW,
    20004: _BROKEN,
    20006: _BROKEN,
    _NO_SERVER: _UNREACHABLE,
    20017: _BROKEN,
    20047: _BROKEN,
}


def error_of(error: BaseException | None, *, write: bool) -> ProviderError:
    """The error of the port; `write` says that what was asked for may have been done all the same."""
    number, text = told_by(error)
    row = NUMBERS.get(number, Row(UnavailableError, "The GoldMine database could not be asked."))
    told = Told("GoldMine", said=text, detail=f"{type(error).__name__} {number}", code=str(number) if number else "")
    return row.to_error(told, write=write)


def told_by(error: BaseException | None) -> tuple[int, str]:
    """Number and first line of a driver's error; 0 if it has no number."""
    if getattr(error, "sqlite_errorcode", 0) in _SQLITE_LOCKED:
        return _LOCK_TIME_OUT, ""
    held = error.args if error is not None else ()
    while len(held) == 1 and isinstance(held[0], tuple):
        held = held[0]
    number = held[0] if held and isinstance(held[0], int) else 0
    if not number and held and isinstance(held[0], str) and (found := _IN_WORDS.search(held[0])):
        number = int(found[1])  # "Cannot commit transaction: (1205, b'...')"
    text = held[1] if len(held) > 1 else ""
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    ours = [int(each) for each in _OF_THE_LIBRARY.findall(said)]
    if ours and said.startswith(_LIBRARY) and _SERVER_SAID not in ours:
        # The server said nothing. Then pymssql gives the number of what a server said last, to whichever connection;
        # and a time-out is told with the number of what follows from it.
        number = next((each for each in _TELLING if each in ours), ours[0])
    return number, said.partition(_LIBRARY)[0].strip().partition("\n")[0][:_SENTENCE_LENGTH_MAX]
