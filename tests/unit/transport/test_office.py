"""The door out of an office: through its proxy, and with the certificates that it trusts."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.contract.fakes import ManualClock
from tieout.adapters.clock import SystemClock
from tieout.domain.errors import SettingsError, UnavailableError
from tieout.ports.http import Request
from tieout.transport import RequestsHttp
from tieout.transport.http import office_session

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Path:
    """An authority of the office, and what it signed for 127.0.0.1. It lacks what newer Pythons ask of authorities."""
    place = tmp_path_factory.mktemp("papers")
    now = SystemClock().now()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Office")])
    key = ec.generate_private_key(ec.SECP256R1())
    authority = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .sign(key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]))
        .issuer_name(name)
        .public_key(server_key.public_key())
        .serial_number(2)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (place / "office.pem").write_bytes(authority.public_bytes(pem))
    private = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place / "server.pem").write_bytes(private + server.public_bytes(pem))
    return place


@contextmanager
def server(papers: Path) -> Iterator[int]:
    """Answers one request a connection, by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers / "server.pem")

    def serve(near: socket.socket) -> None:
        with suppress(OSError), near, context.wrap_socket(near, server_side=True) as wrapped:
            got = b""
            while not got.endswith(b"\r\n\r\n{}"):  # what is left unread when it hangs up resets the line
                more = wrapped.recv(65536)
                if not more:
                    return
                got += more
            wrapped.sendall(OK)

    with listening(serve) as port:
        yield port


@contextmanager
def proxy(seen: list[bytes], *, lets: bool = True) -> Iterator[int]:
    """Joins whoever says CONNECT with where they want to go."""

    def serve(near: socket.socket) -> None:
        with near, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                more = near.recv(65536)
                if not more:
                    return
                head += more
            seen.append(head)
            if not lets:
                near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            port = int(head.split()[1].rsplit(b":", 1)[1])
            with socket.create_connection(("127.0.0.1", port)) as far:
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pass_on, args=(far, near))
                back.start()
                pass_on(near, far)
                back.join()

    with listening(serve) as port:
        yield port


def pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


@contextmanager
def listening(serve) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(near,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for thread in threads:
            thread.join(5)


def ask(port: int, **how: str):
    with office_session(**how) as session:
        http = RequestsHttp(lambda _: None, clock=ManualClock(), session=session)
        return http.send(Request("POST", f"https://127.0.0.1:{port}/", write=True, body=b"{}", timeout_seconds=5))


def test_the_offices_own_authority_is_trusted_if_it_is_named(papers):
    with server(papers) as port:
        assert ask(port, ca_file=str(papers / "office.pem")).status == 200


def test_nobody_elses_is(papers):
    with server(papers) as port, pytest.raises(UnavailableError) as told:
        ask(port)
    assert told.value.detail.endswith("SSLError"), "by which the agent knows what to say"


def test_it_goes_through_the_proxy_which_sees_no_more_than_the_host(papers):
    seen: list[bytes] = []
    with server(papers) as port, proxy(seen) as proxy_port:
        answer = ask(port, ca_file=str(papers / "office.pem"), proxy=f"http://jo:pw@127.0.0.1:{proxy_port}")
    assert answer.status == 200
    assert seen[0].startswith(f"CONNECT 127.0.0.1:{port} HTTP/1.".encode())
    assert b"Proxy-Authorization: Basic" in seen[0]
    assert len(seen) == 1


def test_a_proxy_that_does_not_let_out_is_told_without_its_password(papers):
    seen: list[bytes] = []
    with server(papers) as port, proxy(seen, lets=False) as proxy_port, pytest.raises(Exception) as told:  # noqa: PT011 - either kind
        ask(port, ca_file=str(papers / "office.pem"), proxy=f"http://jo:hush@127.0.0.1:{proxy_port}")
    assert told.value.detail.endswith("ProxyError")
    assert "hush" not in f"{told.value} {told.value.detail}"


def test_a_proxy_of_the_environment_is_not_used_unasked(papers, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with server(papers) as port:
        assert ask(port, ca_file=str(papers / "office.pem")).status == 200


def test_certificates_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "not.pem").write_text("no certificate")
    for file in ("not.pem", "missing.pem"):
        with pytest.raises(SettingsError, match="cannot be read"):
            office_session(ca_file=str(tmp_path / file))
