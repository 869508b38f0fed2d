"""The door, against real sockets of this machine: what each kind of failure says about a write."""

from __future__ import annotations

import gzip
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import pytest
import requests
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError

from tests.contract.fakes import ManualClock, MemoryBudgetStore
from tieout.domain.errors import SettingsError, ThrottledError, UnavailableError, UncertainError
from tieout.ports.connector import Limit
from tieout.ports.http import Request
from tieout.transport import Budget, RequestsHttp
from tieout.transport import http as door

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nIntuit_Tid: 1-abc\r\n\r\n{}"


class Peer:
    """A server that plays one move for each request that reaches it, and keeps what it got."""

    def __init__(self, *moves: Callable[[socket.socket], None]) -> None:
        self._moves = list(moves)
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(5)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while self._moves:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(5)
                while self._moves and (got := self._receive(connection)):
                    self.requests.append(got)
                    move = self._moves.pop(0)
                    move(connection)
                    if move not in (answer_ok, answer_cookie):
                        break

    @staticmethod
    def _receive(connection: socket.socket) -> bytes:
        got = b""
        while b"\r\n\r\n" not in got:
            try:
                part = connection.recv(65536)
            except OSError:
                return b""
            if not part:
                return b""
            got += part
        return got

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._moves.clear()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def answer_ok(connection: socket.socket) -> None:
    connection.sendall(OK)


def answer_cookie(connection: socket.socket) -> None:
    connection.sendall(OK.replace(b"Intuit_Tid: 1-abc", b"Set-Cookie: tenant=a"))


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(connection: socket.socket) -> None:
    connection.close()


def cut_off(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{")


def cut_off_chunk(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{")


def redirect(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 303 See Other\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")


def stay_silent(connection: socket.socket) -> None:
    while connection.recv(65536):  # what is left of the request, until the client hangs up
        pass


def unzip_to_much(connection: socket.socket) -> None:
    body = gzip.compress(b"0" * (door.BODY_BYTES_MAX + 1))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


@pytest.fixture
def spent():
    return []


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with door._new_session() as session:
        yield session


@pytest.fixture
def http(spent, clock, session):
    return RequestsHttp(lambda names: spent.append(tuple(names)), clock=clock, session=session)


def a_read(url: str, **more) -> Request:
    return Request("GET", url, write=False, spends=("request",), **more)


def a_write(url: str, **more) -> Request:
    return Request("POST", url, write=True, spends=("request", "batch"), body=b"{}", **more)


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_the_answer_comes_back_whole_and_the_call_is_spent_first(http, spent):
    with Peer(answer_ok) as peer:
        answer = http.send(a_read(peer.url + "/v3/query", params={"query": "a b'&"}))

    assert (answer.status, answer.body, answer.headers["intuit_tid"]) == (200, b"{}", "1-abc")
    assert b"GET /v3/query?query=a+b%27%26 HTTP/1.1" in peer.requests[0]
    assert spent == [("request",)]


def test_connections_are_kept(http):
    with Peer(answer_ok, answer_ok, answer_ok) as peer:
        for _ in range(3):
            http.send(a_write(peer.url))

    assert peer.connections == 1


def test_a_call_over_budget_is_not_sent(clock, session):
    def spend(_):
        raise ThrottledError("too many", retry_after_seconds=30)

    with Peer(answer_ok) as peer, pytest.raises(ThrottledError):
        RequestsHttp(spend, clock=clock, session=session).send(a_write(peer.url))

    assert peer.requests == []


@pytest.mark.parametrize("lose", [reset, hang_up, cut_off, cut_off_chunk, redirect, unzip_to_much])
def test_a_write_without_a_whole_answer_may_be_done_and_is_never_repeated(http, spent, lose):
    with Peer(lose, answer_ok) as peer, pytest.raises(UncertainError):
        http.send(a_write(peer.url))

    assert len(peer.requests) == len(spent) == 1


def test_a_write_on_a_kept_connection_that_went_stale_may_be_done(http):
    with Peer(answer_ok, reset, answer_ok) as peer:
        http.send(a_write(peer.url))
        with pytest.raises(UncertainError):
            http.send(a_write(peer.url))

    assert len(peer.requests) == 2


def test_a_write_that_gets_no_answer_in_time_may_be_done(http):
    with Peer(stay_silent) as peer, pytest.raises(UncertainError):
        http.send(a_write(peer.url, timeout_seconds=0.05))


def test_a_refused_connection_means_not_done(http, spent):
    with closed_port() as url, pytest.raises(UnavailableError):
        http.send(a_write(url))

    assert len(spent) == 1


@pytest.mark.parametrize(
    "reason",
    [ConnectTimeoutError(None, "slow"), NameResolutionError("x.test", HTTPConnection("x.test"), socket.gaierror())],
)
def test_a_connection_that_never_stood_means_not_done(http, session, monkeypatch, reason):
    def fail(*_, **__):
        raise requests.ConnectionError(MaxRetryError(HTTPConnectionPool("x.test"), "/secret?name=Jo", reason))

    monkeypatch.setattr(session, "request", fail)

    with pytest.raises(UnavailableError) as caught:
        http.send(a_write("https://x.test"))
    assert "Jo" not in f"{caught.value} {caught.value.detail}"


@pytest.mark.parametrize("lose", [reset, hang_up, cut_off, cut_off_chunk])
def test_a_read_is_tried_again_and_spent_again(http, spent, clock, lose):
    with Peer(lose, lose, answer_ok) as peer:
        assert http.send(a_read(peer.url)).status == 200

    assert len(peer.requests) == len(spent) == 3
    assert clock.slept == [0.25, 0.5]


def test_a_read_is_tried_three_times_at_most(http):
    with Peer(reset, reset, reset, answer_ok) as peer, pytest.raises(UnavailableError):
        http.send(a_read(peer.url))

    assert len(peer.requests) == 3


def test_a_read_that_says_so_is_tried_once(http, spent):
    with Peer(reset, answer_ok) as peer, pytest.raises(UnavailableError) as caught:
        http.send(Request("GET", peer.url, write=False, spends=("calls",), again=False))

    assert len(spent) == 1
    assert door.is_unanswered(caught.value)
    assert not door.is_unreached(caught.value)


def test_where_nobody_listens_is_told_from_where_nobody_answers(http):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]

    with pytest.raises(UnavailableError) as caught:
        http.send(Request("GET", f"http://127.0.0.1:{free}", write=False))

    assert door.is_unreached(caught.value)
    assert not door.is_unanswered(caught.value)


def test_a_read_that_is_redirected_is_not_followed(http):
    with Peer(redirect, answer_ok) as peer, pytest.raises(UnavailableError):
        http.send(a_read(peer.url))

    assert len(peer.requests) == 1


def test_a_server_error_is_an_answer(http):
    def fail(connection):
        connection.sendall(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")

    with Peer(fail) as peer:
        assert http.send(a_write(peer.url)).status == 503


@pytest.mark.parametrize(
    "url",
    [
        "http://example.test/",
        "http://127.0.0.1.example.test/",
        "http://127.0.0.1@example.test/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://",
    ],
)
def test_unsafe_addresses_get_nothing(http, spent, url):
    with pytest.raises(SettingsError):
        http.send(a_read(url))

    assert spent == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_this_machine_may_speak_plain_http(http, session, monkeypatch, host):
    def refuse(*_, **__):
        raise requests.ConnectionError("no")

    monkeypatch.setattr(session, "request", refuse)

    with pytest.raises(UncertainError):
        http.send(a_write(f"http://{host}:1/"))


def test_a_cookie_does_not_travel_to_the_next_call(http):
    with Peer(answer_cookie, answer_ok) as peer:
        http.send(a_read(peer.url))
        http.send(a_read(peer.url))

    assert b"cookie" not in peer.requests[1].lower()


def test_the_machines_password_file_does_not_replace_our_header(http, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login jo password other\n")
    monkeypatch.setenv("NETRC", str(netrc))

    with Peer(answer_ok) as peer:
        http.send(a_read(peer.url, headers={"Authorization": "Bearer ours"}))

    assert b"Authorization: Bearer ours" in peer.requests[0]


def test_logs_and_errors_hold_no_query_header_or_body(http, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "hush-hush"
    with Peer(answer_ok, reset) as peer:
        calls = [
            Request(
                "POST",
                f"{peer.url}/v3/company/987654/batch",
                write=True,
                params={"query": secret},
                headers={"Authorization": secret},
                body=secret.encode(),
            )
        ] * 2
        http.send(calls[0])
        with pytest.raises(UncertainError) as caught:
            http.send(calls[1])

    everything = caplog.text + str(caught.value) + caught.value.detail
    assert "POST 127.0.0.1/v3/company/{id}/batch answered 200" in caplog.text
    assert secret not in everything
    assert "987654" not in everything


# How a call ended


def answer_throttled(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")


def test_an_answer_ends_the_call_whatever_it_says(clock, session):
    ended = []
    send = RequestsHttp(lambda _: None, lambda *call: ended.append(call), clock=clock, session=session).send
    with Peer(answer_throttled, redirect) as peer:
        send(a_write(peer.url))
        with pytest.raises(UncertainError):
            send(a_write(peer.url))

    assert [names for names, _ in ended] == [a_write("").spends] * 2
    assert [answer.status for _, answer in ended] == [429, 303]
    assert ended[0][1].headers["retry-after"] == "7"


def test_what_the_provider_tells_one_worker_holds_for_all(clock, session):
    store = MemoryBudgetStore()
    workers = [Budget(store, "t", "books", [Limit("request", 500, 60)], clock) for _ in range(2)]
    first, second = (RequestsHttp(one.spend, one.ended, clock=clock, session=session) for one in workers)
    began = clock.now()
    with Peer(answer_throttled, answer_ok) as peer:
        assert first.send(a_read(peer.url)).status == 429
        assert second.send(a_read(peer.url)).status == 200

    assert (clock.now() - began).total_seconds() == pytest.approx(7, abs=0.01)


def test_a_call_that_was_not_sent_is_over(clock, session):
    ended = []
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(UnavailableError):
        RequestsHttp(lambda _: None, lambda *call: ended.append(call), clock=clock, session=session).send(
            a_write(f"http://127.0.0.1:{port}")
        )
    assert ended == [(a_write("").spends, None)]


@pytest.mark.parametrize("end", [reset, hang_up, cut_off, cut_off_chunk])
def test_a_call_is_over_once_the_provider_hangs_up(clock, session, end):
    ended = []
    with Peer(end) as peer, pytest.raises(UncertainError):
        RequestsHttp(lambda _: None, lambda *call: ended.append(call), clock=clock, session=session).send(
            a_write(peer.url)
        )
    assert ended == [(a_write("").spends, None)]


def stall_in_the_middle(connection: socket.socket) -> None:
    cut_off(connection)
    stay_silent(connection)


@pytest.mark.parametrize("stall", [stay_silent, stall_in_the_middle])
def test_a_call_that_we_gave_up_may_go_on(clock, session, stall):
    ended = []
    with Peer(stall) as peer, pytest.raises(UncertainError):
        RequestsHttp(lambda _: None, lambda *call: ended.append(call), clock=clock, session=session).send(
            a_write(peer.url, timeout_seconds=0.05)
        )
    assert ended == []
