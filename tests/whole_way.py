"""The whole way in one process: real connectors, both simulators over loopback, the stores in moto, simulated time."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.aws import deploy, mocked
from tests.engine.world import MemoryQueue
from tieout.adapters.aws import Clients
from tieout.bootstrap import Deployment
from tieout.domain.changes import Change
from tieout.domain.connections import Connection
from tieout.engine.backfill import Backfill
from tieout.engine.ends import ApplyReport
from tieout.engine.tie_out import StepTieOut, TieOut
from tieout.mapping import preset
from tieout.ports.state import StoredSync
from tieout_sandbox.simulators import create_app
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.server import serve

TENANT, SYNC = "demo", "deals-to-invoices"
START = datetime(2026, 11, 22, 9, tzinfo=UTC)
ACT_SECRETS = {"username": "integration@seller.example", "password": "correct horse"}
APP = {
    "client_id": "tieout-sandbox-client",
    "client_secret": "tieout-sandbox-secret",
    "webhook_verifier": "tieout-sandbox-verifier",
}
MESSAGE_CHANGES = 50
DELIVERY_CHANGES = 10 * MESSAGE_CHANGES
ROUNDS_MAX = 400


def quiet(_: str, __: int) -> None:
    """No progress shown."""


@dataclass
class Units:
    """Counts the table's write and read units by what DynamoDB charges for the items' sizes."""

    writes: int = 0
    reads: float = 0
    calls: Counter[str] = field(default_factory=Counter)

    def watch(self, clients: Clients) -> None:
        events = clients.dynamodb.meta.events
        events.register("provide-client-params.dynamodb.UpdateItem", self._ask)
        events.register("after-call.dynamodb.UpdateItem", self._updated)
        events.register("provide-client-params.dynamodb.PutItem", self._put)
        events.register("provide-client-params.dynamodb.DeleteItem", self._deleted)
        events.register("after-call.dynamodb.BatchGetItem", self._got_many)
        events.register("after-call.dynamodb.GetItem", self._got)

    def _ask(self, params: dict[str, Any], **_: Any) -> None:
        params["ReturnValues"] = "ALL_NEW"

    def _updated(self, parsed: dict[str, Any], **_: Any) -> None:
        if "Attributes" in parsed:
            units = _kilobytes(parsed["Attributes"], 1024)
            self.writes += units + (units if "unsynced_pk" in parsed["Attributes"] else 0)
            self.calls["update"] += 1

    def _put(self, params: dict[str, Any], **_: Any) -> None:
        self.writes += _kilobytes(params["Item"], 1024)
        self.calls["put"] += 1

    def _deleted(self, **_: Any) -> None:
        self.writes += 1
        self.calls["delete"] += 1

    def _got_many(self, parsed: dict[str, Any], **_: Any) -> None:
        for items in parsed.get("Responses", {}).values():
            self.reads += sum(_kilobytes(item, 4096) for item in items)

    def _got(self, parsed: dict[str, Any], **_: Any) -> None:
        self.reads += _kilobytes(parsed.get("Item", {}), 4096)


def _kilobytes(item: Mapping[str, Any], unit: int) -> int:
    return max(1, math.ceil(_size(item) / unit))


def _size(item: Mapping[str, Any]) -> int:
    """Bytes of an item. Source: DynamoDB Developer Guide, "Item sizes and formats", read 2026-11-22."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Any) -> int:
    if not isinstance(value, dict):
        return len(str(value).encode())
    ((kind, inner),) = value.items() if len(value) == 1 else (("M", value),)
    if kind == "M":
        return 3 + sum(len(name.encode()) + 1 + _value_size(one) for name, one in inner.items())
    if kind == "L":
        return 3 + sum(1 + _value_size(one) for one in inner)
    if kind == "N":
        return len(str(inner)) // 2 + 2
    return len(str(inner).encode())


@dataclass
class WholeWay:
    """A tenant with Act! and QuickBooks Online connected; changes wait in memory until `pump` works on them."""

    act_url: str
    books_url: str
    clock: SimulatedClock
    clients: Clients
    deployment: Deployment
    queue: MemoryQueue
    units: Units

    def connect(self, **limits: int) -> None:
        """Store both connections, their secrets and the preset; `limits` are QuickBooks' instead of the true ones."""
        config, secrets = self.deployment.config, self.deployment.secrets
        grant = self.call(self.books_url, "POST", "/_sandbox/grant", {})
        act = {"base_url": f"{self.act_url}/act.web.api", "database": "H1234567890"}
        act_limit = {"requests_per_minute": 10_000} if limits else {}
        config.put_connection(Connection(TENANT, "act", "act", account="H1234567890", settings={**act, **act_limit}))
        books = {"base_url": self.books_url, "token_url": f"{self.books_url}/oauth2/v1/tokens/bearer"}
        realm = grant["realmId"]
        config.put_connection(
            Connection(TENANT, "quickbooks", "quickbooks_online", account=realm, settings={**books, **limits})
        )
        now = self.clock.now()
        secrets.write(TENANT, "act", ACT_SECRETS)
        tokens = {
            "access_token": grant["access_token"],
            "refresh_token": grant["refresh_token"],
            "access_token_expires_at": (now + timedelta(seconds=int(grant["expires_in"]))).isoformat(),
            "refresh_token_expires_at": (now + timedelta(days=100)).isoformat(),
        }
        secrets.write(TENANT, "quickbooks", {**APP, **tokens})
        config.put_sync(StoredSync(TENANT, SYNC, 1, preset("act-quickbooks_online"), now))

    def backfill(self) -> None:
        """Queue the history."""
        Backfill(
            config=self.deployment.config, queue=self.queue, connect=self.deployment.connect, clock=self.clock
        ).run(TENANT, SYNC, progress=quiet)

    def pump(self) -> ApplyReport:
        """Work until nothing waits; what became of it all. Time goes on to whatever is due next."""
        worker, total = self.deployment.apply_changes(), ApplyReport()
        for _ in range(ROUNDS_MAX):
            changes = self._due()
            if not changes:
                return total
            for begin in range(0, len(changes), DELIVERY_CHANGES):
                report = worker.apply(changes[begin : begin + DELIVERY_CHANGES])
                for name in ("created", "updated", "adopted", "unchanged", "skipped", "parked", "waiting"):
                    setattr(total, name, getattr(total, name) + getattr(report, name))
        raise AssertionError(f"still {len(self.queue.later)} changes wait after {ROUNDS_MAX} rounds")

    def _due(self) -> Sequence[Change]:
        changes, self.queue.now = self.queue.now, []
        if not changes and self.queue.later:
            first = min(due for due, _ in self.queue.later)
            self.clock.advance(max(0.0, (first - self.clock.now()).total_seconds()))
        now = self.clock.now()
        changes += [change for due, change in self.queue.later if due <= now]
        self.queue.later = [(due, change) for due, change in self.queue.later if due > now]
        return changes

    def tie_out(self) -> dict[str, StepTieOut]:
        """Both sides compared through the providers' own interfaces."""
        comparison = TieOut(
            config=self.deployment.config,
            links=self.deployment.links,
            connect=self.deployment.connect,
            clock=self.clock,
        ).compare(TENANT, SYNC, progress=quiet)
        return {step.step: step for step in comparison}

    def calls(self) -> dict[str, dict[str, int]]:
        """Calls by provider, as the simulators counted them: reads, writes, and those refused for their number."""
        found = {}
        for name, url in (("act", self.act_url), ("quickbooks", self.books_url)):
            routes = self.call(url, "GET", "/_sandbox/calls")["routes"]
            counts = Counter({"reads": 0, "writes": 0, "throttled": 0})
            for route, entry in routes.items():
                counts[_way(route)] += entry["calls"]
                counts["throttled"] += entry["by_status"].get("429", 0)
            found[name] = dict(counts)
        return found

    def forget_calls(self) -> None:
        for url in (self.act_url, self.books_url):
            self.call(url, "DELETE", "/_sandbox/calls")

    def summary(self) -> dict[str, Any]:
        """What stands in the books, by the simulator itself."""
        (realm,) = self.call(self.books_url, "GET", "/_sandbox/summary").values()
        return dict(realm) | {"invoice_total": Decimal(realm["invoice_total"])}

    def call(self, url: str, method: str, path: str, body: object = None) -> Any:
        answer = requests.request(method, f"{url}{path}", json=body, timeout=30)
        answer.raise_for_status()
        return json.loads(answer.content, parse_float=Decimal) if answer.content else None


def _way(route: str) -> str:
    method, _, path = route.partition(" ")
    reads = method == "GET" or path.endswith(("/query", "/$batch")) or "oauth2" in path
    return "reads" if reads else "writes"


@contextmanager
def whole_way(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[WholeWay]:
    """Everything up; `settings` are the QuickBooks simulator's."""
    clock = SimulatedClock(START)
    with ExitStack() as stack:
        act = stack.enter_context(
            serve(create_app("act", clock=clock, data="crm-sales-opportunities", calls_per_minute=100_000), 0)
        )
        books = stack.enter_context(serve(create_app("quickbooks_online", clock=clock, **settings), 0))
        clients = stack.enter_context(mocked(monkeypatch))
        units = Units()
        units.watch(clients)
        deployment = Deployment(deploy(clients), clients=clients, clock=clock)
        queue = MemoryQueue(clock)
        deployment.__dict__["queue"] = queue
        yield WholeWay(act, books, clock, clients, deployment, queue, units)
