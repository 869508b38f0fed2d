"""Serves a simulator on loopback: one thread a connection, HTTP/1.1 with keep-alive, and real connection resets."""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from tieout_sandbox.simulators.control import ON_CLOSE
from tieout_sandbox.simulators.faults import DroppedConnectionError

HOST = "127.0.0.1"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Handler(WSGIRequestHandler):
    """Keeps connections open, which Werkzeug's own handler does not: it closes each after one answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body of an answer leave in one packet

    def run_wsgi(self) -> None:
        """Read the whole request, run the application, and send the whole answer or none."""
        environ = self.make_environ()
        chunked = environ.get("wsgi.input_terminated", False)
        body = environ["wsgi.input"].read() if chunked else self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        head: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Any:  # noqa: ANN401 - WSGI
            head.append((status, headers))
            return lambda _: None

        try:
            answer = self.server.app(environ, start_response)
            try:
                content = b"".join(answer)
            finally:
                close = getattr(answer, "close", None)
                if close is not None:
                    close()
        except DroppedConnectionError:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close_connection = True
            return
        self._send(*head[-1], content)

    def _send(self, status: str, headers: list[tuple[str, str]], content: bytes) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ANN401 - Werkzeug's signature
        """Say nothing: a simulator's calls are counted, not logged."""


class _Server(ThreadedWSGIServer):
    """Knows its open connections, so that stopping ends them."""

    def __init__(self, app: Flask, port: int) -> None:
        super().__init__(HOST, port, app, handler=_Handler)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Remember the connection, and serve it in a thread."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Close the connection. A plain close keeps a reset a reset: shutting down first would end it in order."""
        with self._lock:
            self._open.discard(request)
        self.close_request(request)

    def drop_connections(self) -> None:
        """End every open connection, so that no client goes on talking to a server that was stopped."""
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            with suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serve(app: Flask, port: int = 0) -> Iterator[str]:
    """Serve the application while the context lasts; the base URL, without a slash at its end.

    Args:
        app: As a simulator's `create_app` made it; it is told when the server has stopped.
        port: 0 takes a free one.
    """
    server = _Server(app, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="simulator")
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.drop_connections()
        server.server_close()
        app.extensions.get(ON_CLOSE, lambda: None)()
