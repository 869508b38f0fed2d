"""Books on paper: a system of an office, served on this machine, and the connector that speaks to it.

It keeps everything that is posted, so a write that was done twice stands there twice.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from tieout.domain.connections import Connection
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Outcome, Unknown
from tieout.domain.errors import ProviderError, ReconnectError, UncertainError
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Connector, Context, Limit, Manifest, Reachability, Role
from tieout.ports.http import Request

EDITED_AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


class Books:
    """The server. `documents` holds what was posted, in order.

    Args:
        password: That calls must bring; empty for none.
        before, after: Called around each posting, in the server's thread.
    """

    def __init__(
        self,
        password: str = "",
        *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.documents: list[dict[str, Any]] = []
        self.url = ""
        self.password, self._before, self._after = password, before, after
        self._lock = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def doubled(self) -> list[str]:
        """References that stand there more than once."""
        return [name for name, count in Counter(one["reference"] for one in self.documents).items() if count > 1]

    def start(self) -> None:
        books = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if books.password and self.headers.get("Authorization") != books.password:
                    self._answer(401, {})
                    return
                books._before()
                with books._lock:
                    answer = books._take(self.path, given)
                books._after()
                self._answer(200, answer)

            def _answer(self, status: int, answer: Any) -> None:
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that was killed hangs up in the middle."""

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port  # the same again after a stop
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _take(self, path: str, given: dict[str, Any]) -> Any:
        if path == "/company":
            return {"id": "paper-1", "name": "Acme Ltd"}
        if path == "/find":
            return [one for one in self.documents if one["reference"] in given["references"]]
        self.documents.append({**given, "id": str(len(self.documents) + 1)})
        return self.documents[-1]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    base_url: str
    unit: str = ""


class PaperConnector:
    """Writes items and customers, and finds them by our reference."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = Settings.model_validate(context.connection.settings)

    @property
    def manifest(self) -> Manifest:
        return PAPER.manifest

    def probe(self) -> Account:
        company = self._ask("/company", {}, write=False)
        return Account(company["id"], company["name"], "USD")

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        found = self._ask("/find", {"references": [effect.reference for effect in effects]}, write=False)
        by_reference = {effect.reference: effect for effect in effects}
        return {
            by_reference[one["reference"]].id: [Match(_record(one), MatchedBy.REFERENCE)]
            for one in found
            if one["reference"] in by_reference
        }

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        return [self._written(effect) for effect in effects]

    def _written(self, effect: Effect) -> Outcome:
        document = {"kind": effect.kind.value, "name": effect.document.as_fields()["name"]}
        try:
            posted = self._ask("/documents", {**document, "reference": effect.reference}, write=True)
        except UncertainError as error:
            return Unknown(effect.id, error)
        except ProviderError as error:
            return NotDone(effect.id, error)
        return Done(effect.id, _record(posted))

    def _ask(self, path: str, content: Mapping[str, Any], *, write: bool) -> Any:
        connection = self._context.connection
        secrets = self._context.secrets.read(connection.tenant, connection.id)
        headers = {"Content-Type": "application/json", "Authorization": secrets["password"]}
        url = f"{self._settings.base_url}{path}"
        body = json.dumps(content).encode()
        answer = self._context.http.send(
            Request("POST", url, write=write, spends=("call",), headers=headers, body=body)
        )
        if answer.status == 401:
            raise ReconnectError("Paper does not take the password.", next_step="Type it again.")
        return answer.json()

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        return []

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        return []

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        return ChangePage([], "0", more=False)

    def cursor_now(self, kind: Kind) -> str:
        return "0"

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        return [], None


def _record(one: Mapping[str, Any]) -> Record:
    return Record(
        Kind(one["kind"]),
        one["id"],
        version="1",
        edited_at=EDITED_AT,
        edited_by="tieout",
        fields={"name": one["name"], "reference": one["reference"]},
    )


class _Paper:
    """What a connector's folder exports."""

    consent = None
    manifest = Manifest(
        provider="paper",
        title="Paper",
        roles=frozenset({Role.BOOKS}),
        reads=frozenset({Kind.ITEM, Kind.CUSTOMER}),
        writes=frozenset({Kind.ITEM, Kind.CUSTOMER}),
        webhooks=False,
        deletions_visible=frozenset(),
        keeps_reference=frozenset({Kind.ITEM, Kind.CUSTOMER}),
        natural_key=frozenset(),
        read_batch_max=10,
        write_batch_max=10,
        versions=False,
        idempotency_key_life_seconds=0,
        limits=(Limit("call", 1_000_000, 1),),
        settings=Settings,
        secrets={"password": "Password of the books"},
        api_version="1.0",
        reachability=Reachability.ON_PREMISES,
    )

    def limits_of(self, _connection: Connection) -> tuple[Limit, ...]:
        return self.manifest.limits

    def open(self, context: Context) -> Connector:
        return PaperConnector(context)

    def verify(self, *_: object) -> None:
        raise NotImplementedError

    def hints(self, *_: object) -> Sequence[Any]:
        raise NotImplementedError


PAPER = _Paper()


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Return once it is so; fails after the seconds."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)
