"""A server that speaks just enough of TDS 7.4 for a real driver to sign in, ask, and be refused.

It is no SQL Server: a session says what it answers. So it shows what the driver does with the connector's SQL and with
a server's errors, and nothing of what SQL Server thinks of the SQL.
Source: Microsoft, [MS-TDS] "Tabular Data Stream Protocol", sections 2.2.3 (packets), 2.2.6 and 2.2.7 (tokens).
"""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

_BATCH, _REPLY, _ATTENTION, _LOGIN, _PRELOGIN = 0x01, 0x04, 0x06, 0x10, 0x12
_FAILED, _COUNTED, _CANCELLED = 0x02, 0x10, 0x20
_LAST = 0x01
_PACKET_BYTES = 4096
_HEADER = struct.Struct(">BBHHBB")
_COLLATION = bytes.fromhex("0904d00034")  # 1033, ignoring case, code page 1252
_VERSION = b"\x74\x00\x00\x04"
_EPOCH = datetime(1900, 1, 1)  # noqa: DTZ001 - the protocol's times have no zone
_NULL_TEXT = 0xFFFF


@dataclass(frozen=True, slots=True)
class RefusalError(Exception):
    """What the server refuses with."""

    number: int
    text: str


class NonsenseError(Exception):
    """The server answers with something that is no TDS, and ends the connection."""


class HangUpError(Exception):
    """The server ends the connection without an answer."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A result: names of columns, and values (text, whole numbers, floats, times, None)."""

    names: Sequence[str]
    values: Sequence[Sequence[Any]] = ()


class Session(Protocol):
    """Who answers one connection."""

    def answer(self, text: str) -> Rows | int:
        """Of a batch's text, its rows, or how many rows it changed; may raise RefusalError or HangUpError."""
        ...

    def close(self) -> None:
        """The connection has ended."""
        ...


@dataclass
class TdsServer:
    """What was said to it.

    Attributes:
        sessions: Makes one for each connection.
        refuse_login: Raised at the sign-in, if any.
        refusals: By a part of a batch, what it is refused with.
        nonsense_to: What a batch has in it that gets a proxy's page for an answer; nothing if empty.
        said: The batches so far.
    """

    sessions: Callable[[], Session]
    refuse_login: RefusalError | None = None
    refusals: dict[str, RefusalError] = field(default_factory=dict)
    nonsense_to: str = ""
    said: list[str] = field(default_factory=list)
    port: int = 0

    @contextmanager
    def serving(self) -> Iterator[TdsServer]:
        """On a free port of this machine while the context lasts."""
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    outer.serve(self.request)
                except NonsenseError:
                    self.request.sendall(b"<html>please log in</html>")
                except (ConnectionError, HangUpError):
                    return

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads, server.block_on_close = True, False
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="tds")
            thread.start()
            self.port = server.server_address[1]
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def serve(self, connection: Any) -> None:  # noqa: ANN401 - a socket
        """One connection, from the first word to its end."""
        with closing(self.sessions()) as session:
            while (message := _read(connection)) is not None:
                kind, body = message
                if kind == _PRELOGIN:
                    _write(connection, _prelogin())
                elif kind == _LOGIN:
                    if self.refuse_login is not None:
                        _write(connection, _refused(self.refuse_login))
                        raise HangUpError
                    _write(connection, _signed_in())
                elif kind == _BATCH:
                    _write(connection, self._reply(session, _text(body)))
                elif kind == _ATTENTION:
                    _write(connection, _done(0, status=_CANCELLED))
                else:
                    raise HangUpError

    def _reply(self, session: Session, text: str) -> bytes:
        self.said.append(text)
        if self.nonsense_to and self.nonsense_to in text:
            raise NonsenseError
        try:
            for part, refusal in self.refusals.items():
                if part in text:
                    raise refusal
            found = session.answer(text)
        except RefusalError as error:
            return _refused(error)
        return _rows(found) if isinstance(found, Rows) else _done(found, status=_COUNTED)


def _read(connection: Any) -> tuple[int, bytes] | None:  # noqa: ANN401 - a socket
    """A whole message; None at the end."""
    body = b""
    while True:
        head = _exactly(connection, _HEADER.size)
        if head is None:
            return None
        kind, status, length, *_ = _HEADER.unpack(head)
        body += _exactly(connection, length - _HEADER.size) or b""
        if status & _LAST:
            return kind, body


def _exactly(connection: Any, count: int) -> bytes | None:  # noqa: ANN401 - a socket
    held = b""
    while len(held) < count:
        part = connection.recv(count - len(held))
        if not part:
            return None
        held += part
    return held


def _write(connection: Any, body: bytes) -> None:  # noqa: ANN401 - a socket
    size = _PACKET_BYTES - _HEADER.size
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    for number, part in enumerate(parts):
        status = _LAST if number == len(parts) - 1 else 0
        connection.sendall(_HEADER.pack(_REPLY, status, len(part) + _HEADER.size, 0, number % 256, 0) + part)


def _text(body: bytes) -> str:
    """Behind the headers of a batch."""
    (headers,) = struct.unpack_from("<I", body)
    return body[headers:].decode("utf-16-le")


def _prelogin() -> bytes:
    """Version 15, and no encryption."""
    return struct.pack(">BHHBHHB", 0, 11, 6, 1, 17, 1, 0xFF) + b"\x0f\x00\x07\xd0\x00\x00" + b"\x02"


def _signed_in() -> bytes:
    name = "Microsoft SQL Server"
    body = b"\x01" + _VERSION + bytes([len(name)]) + name.encode("utf-16-le") + b"\x0f\x00\x07\xd0"
    return b"\xad" + struct.pack("<H", len(body)) + body + _done(0)


def _refused(error: RefusalError) -> bytes:
    text = error.text.encode("utf-16-le")
    body = struct.pack("<iBBH", error.number, 1, 16, len(error.text)) + text + b"\x00\x00" + struct.pack("<I", 1)
    return b"\xaa" + struct.pack("<H", len(body)) + body + _done(0, status=_FAILED)


def _done(count: int, *, status: int = 0) -> bytes:
    return b"\xfd" + struct.pack("<HHQ", status, 0, count)


def _rows(rows: Rows) -> bytes:
    kinds = [_kind([row[place] for row in rows.values]) for place in range(len(rows.names))]
    body = b"\x81" + struct.pack("<H", len(rows.names))
    for name, kind in zip(rows.names, kinds, strict=True):
        body += struct.pack("<IH", 0, 0x0001) + _TYPES[kind] + bytes([len(name)]) + name.encode("utf-16-le")
    for row in rows.values:
        body += b"\xd1" + b"".join(_value(kind, value) for kind, value in zip(kinds, row, strict=True))
    return body + _done(len(rows.values), status=_COUNTED)


_TYPES = {
    str: b"\xe7" + struct.pack("<H", 8000) + _COLLATION,
    int: b"\x26\x08",
    float: b"\x6d\x08",
    datetime: b"\x6f\x08",
}


def _kind(values: Sequence[Any]) -> type:
    return next((type(value) for value in values if value is not None), str)


def _value(kind: type, value: Any) -> bytes:  # noqa: ANN401 - a value of any type
    if kind is str:
        held = b"" if value is None else str(value).encode("utf-16-le")
        return struct.pack("<H", _NULL_TEXT if value is None else len(held)) + held
    if value is None:
        return b"\x00"
    if kind is int:
        return b"\x08" + struct.pack("<q", value)
    if kind is float:
        return b"\x08" + struct.pack("<d", value)
    since = value - _EPOCH
    return b"\x08" + struct.pack("<iI", since.days, round((since.seconds + since.microseconds / 1e6) * 300))
