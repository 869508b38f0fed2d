"""Waiting on this machine for the browser that comes back from a provider's consent page."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

from tieout.cli.talk import AnswerError, Code

HOST = "127.0.0.1"
PATH = "/callback"
WAIT_SECONDS_MAX = 600.0
LOOK_SECONDS = 0.5
_DONE = "Tieout has the answer. You can close this window and go back to the terminal."
_STRANGE = "This is not the answer that Tieout waits for."


class Loopback:
    """One redirect, expected once. Only this machine can reach it.

    Attributes:
        redirect: The address that the provider sends the browser back to.
    """

    def __init__(self, server: HTTPServer, state: str) -> None:
        self._server = server
        self._state = state
        self._query: dict[str, str] | None = None
        # By name: providers let developers register `localhost`, and few an address.
        self.redirect = f"http://localhost:{server.server_port}{PATH}"

    def wait(self) -> Mapping[str, str]:
        """The redirect's query. Anything with another state is refused and waited past.

        Raises:
            AnswerError: If nobody came back in time.
        """
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while self._query is None:
            if time.monotonic() >= deadline:
                raise AnswerError(
                    "Nobody came back from the provider's page in time.",
                    code=Code.TRY_LATER,
                    next_step="Run the command again and open the address that it prints.",
                )
            self._server.timeout = min(LOOK_SECONDS, WAIT_SECONDS_MAX)
            self._server.handle_request()
        return self._query

    def _take(self, target: str) -> bool:
        """True if this request is the expected redirect."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path != PATH or not state_fits(self._state, query):
            return False
        self._query = query
        return True


def state_fits(state: str, query: Mapping[str, str]) -> bool:
    """True if the query carries our own state; compared in constant time."""
    return hmac.compare_digest(state.encode(), query.get("state", "").encode())


@contextmanager
def listening(port: int, state: str) -> Iterator[Loopback]:
    """Listen on 127.0.0.1; port 0 takes a free one.

    Raises:
        AnswerError: If the port is taken.
    """
    waiting: list[Loopback] = []

    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # a browser that opens a line and sends nothing does not hold us

        def do_GET(self) -> None:
            fits = waiting[0]._take(self.path)  # noqa: SLF001 - one module
            body = (_DONE if fits else _STRANGE).encode()
            self.send_response(200 if fits else 400)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Nothing: the request's line holds the code."""

    try:
        server = HTTPServer((HOST, port), Handler)
    except OSError:
        raise AnswerError(
            f"Port {port} of this machine is taken.", code=Code.USAGE, next_step="Choose another one with --port."
        ) from None
    with server:
        waiting.append(Loopback(server, state))
        yield waiting[0]
