"""The table and the queues: what the engine keeps, and what comes to it again and again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from tests.engine.simulation.runtime import FaultKind, Runtime
from tests.engine.simulation.watch import Watch
from tests.engine.trail import ToldLinks
from tests.engine.world import MemoryState
from tieout.adapters.sqs import _grouped
from tieout.domain.changes import Alert, Change, Lane, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.errors import ClaimedError, UnavailableError
from tieout.domain.links import Intent, Link, LinkKey

VISIBILITY_SECONDS = 720
RECEIVES_MAX = 5
MESSAGES_MAX = 10
CONCURRENCY = {"changes": 5, "backfill": 2, "retry": 2, "dead": 2}


@lru_cache(maxsize=4096)
def reference_of(key: LinkKey) -> str:
    """The key's reference, computed once."""
    return key.reference


class TableDownError(Exception):
    """The table did not answer, whatever was tried."""


class Table(MemoryState):
    """The stores with the conditions of the one table: a write names the revision, and the worker, that it expects."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self.links = ToldLinks(now=runtime.true_now)
        self.budgets: dict[tuple[str, str], tuple[Mapping[str, int], int]] = {}
        self.watches: Mapping[str, Watch] = {}
        self.leases: dict[tuple[str, str], tuple[str, datetime]] = {}

    def _write(self, name: str, act: Callable[[], Any], detail: str = "") -> Any:
        fault = self._runtime.enter(f"table.{name}", detail)
        if fault in (FaultKind.THROTTLE, FaultKind.CANCEL, FaultKind.DOWN):
            raise TableDownError  # a transaction that met another one is cancelled, and the whole run with it
        result = act()
        self._runtime.leave(fault)
        if fault is FaultKind.LOST:
            raise TableDownError
        return result

    def _read(self, read: Callable[[], Any], detail: str = "") -> Any:
        return self._write("read", read, detail)

    # Links

    def get(self, keys: Sequence[LinkKey]) -> dict[LinkKey, Link]:
        if not keys:
            return {}
        names = " ".join(f"{key.step}/{key.source_id}" for key in keys)
        return self._read(lambda: super(Table, self).get(keys), names)

    def by_reference(self, tenant: str, sync: str, step: str, references: Sequence[str]) -> dict[str, Link]:
        if not references:
            return {}

        def read() -> dict[str, Link]:
            keys = [key for key in self.links if (key.tenant, key.sync, key.step) == (tenant, sync, step)]
            return {reference_of(key): self.links[key] for key in keys if reference_of(key) in references}

        return self._read(read)

    def by_target(self, tenant: str, sync: str, step: str, target_ids: Sequence[str]) -> dict[str, Link]:
        if not target_ids:
            return {}
        found = self._read(lambda: super(Table, self).by_target(tenant, sync, step, target_ids))
        return {target: link for target, link in found.items() if link.target_id == target}

    def all(self, tenant: str, sync: str, step: str) -> Iterator[Link]:
        return self._read(lambda: super(Table, self).all(tenant, sync, step))

    def unsynced(self, tenant: str, state: UnsyncedState | None = None) -> Iterator[Unsynced]:
        return self._read(lambda: super(Table, self).unsynced(tenant, state))

    def claim(self, link: Link, intent: Intent) -> Link:
        return self._store("claim", link, intent)

    def keep_intent(self, link: Link, intent: Intent) -> Link:
        return self._store("keep", link, intent)

    def store(self, link: Link, *, pointer: bool = False) -> Link:
        if pointer:
            self._point_back(link)
        return self._store("note", link, link.intent)

    def release(self, link: Link, *, worker: str) -> Link:
        return self._store("release", link, None, worker=worker)

    def settle(self, link: Link, *, worker: str, pointer: bool) -> Link:
        if pointer:
            self._point_back(link)
        return self._store("settle", link, None, worker=worker, clears=True)

    def take_target(self, link: Link) -> bool:
        taken: bool = self._write("pointer", lambda: self._takes(link))
        return taken

    def _point_back(self, link: Link) -> None:
        if link.target_id is not None:
            name = (link.key.tenant, link.key.sync, link.key.step, link.target_id)
            self._write("pointer", lambda: self.pointers.update({name: link.key}))

    def _store(self, name: str, link: Link, intent: Intent | None, *, worker: str = "", clears: bool = False) -> Link:
        def act() -> Link:
            stored = self.links.get(link.key) or Link(link.key)
            held = stored.intent.worker if stored.intent is not None else None
            if stored.revision != link.revision or (worker and held != worker):
                raise ClaimedError("Another worker is writing this document.")
            kept = None if clears else stored.unsynced
            if link.target_id != stored.target_id and link.key.tenant in self.watches:
                self.watches[link.key.tenant].linked_at[link.key] = self._runtime.seconds
            self.links[link.key] = replace(link, revision=link.revision + 1, intent=intent, unsynced=kept)
            # What the caller gets is what it wrote: what others noted meanwhile beside it, it does not see.
            return replace(link, revision=link.revision + 1, intent=intent)

        return self._write(name, act, f"{link.key.tenant} {link.key.step}/{link.key.source_id} r{link.revision}")

    def set_unsynced(self, key: LinkKey, unsynced: Unsynced | None, *, instead_of: Unsynced | None = None) -> None:
        def act() -> None:
            stands = self.links[key].unsynced if key in self.links else None
            if (unsynced is not None or key in self.links) and instead_of in (None, stands):
                self.links[key] = replace(self.links.get(key) or Link(key), unsynced=unsynced)

        said = f"{unsynced.state} {unsynced.cause}" if unsynced is not None else "none"
        self._write("unsynced", act, f"{key.tenant} {key.step}/{key.source_id}: {said}")

    # Configuration

    def put_connection(self, connection: Connection) -> None:
        super_put = super().put_connection
        self._write("connection", lambda: super_put(connection), f"{connection.address} {connection.state}")

    def put_run(self, run: Any) -> None:
        super_put = super().put_run
        self._write("run", lambda: super_put(run))

    # Budgets and leases

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
        return self._write("budget", lambda: self.budgets.get((tenant, connection), ({}, 0)), f"{tenant}.{connection}")

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
        def act() -> bool:
            if self.budgets.get((tenant, connection), ({}, 0))[1] != revision:
                return False
            self.budgets[tenant, connection] = (dict(state), revision + 1)
            return True

        return self._write("budget", act, f"{tenant}.{connection} r{revision}")

    def take_lease(self, tenant: str, name: str, *, holder: str, until: datetime, now: datetime) -> bool:
        def act() -> bool:
            there = self.leases.get((tenant, name))
            if there is not None and there[0] != holder and there[1] > now:
                return False
            self.leases[tenant, name] = (holder, until)
            return True

        return self._write("lease", act, f"{tenant} {name}")

    def drop_lease(self, tenant: str, name: str, *, holder: str) -> None:
        def act() -> None:
            if self.leases.get((tenant, name), ("",))[0] == holder:
                del self.leases[tenant, name]

        self._write("lease", act, f"{tenant} {name} given back")

    # Alerts

    def put(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self._write("alert", lambda one=alert: self.alerts.__setitem__(_alert_key(one), one), alert.cause)

    def pending(self, tenant: str) -> Sequence[Alert]:
        found = [alert for (owner, *_), alert in self.alerts.items() if owner == tenant]
        return sorted(found, key=lambda alert: alert.raised_at)

    def open_window(self, tenant: str, cause: str, *, until: Any, now: Any) -> bool:
        def act() -> bool:
            open_until = self.windows.get((tenant, cause))
            if open_until is not None and open_until > now:
                return False
            self.windows[tenant, cause] = until
            return True

        return self._write("window", act, cause)

    def remove(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self._write("alert gone", lambda one=alert: self._remove(one), alert.cause)

    def _remove(self, alert: Alert) -> None:
        stored = self.alerts.get(_alert_key(alert))
        if stored is not None and stored.raised_at == alert.raised_at:
            del self.alerts[_alert_key(alert)]


def _alert_key(alert: Alert) -> tuple[str, ...]:
    if alert.unsynced is None:
        return (alert.tenant, alert.cause)
    change = alert.unsynced.change
    return (alert.tenant, alert.cause, alert.unsynced.sync, alert.unsynced.step, change.connection, change.id)


@dataclass(eq=False, slots=True)
class Message:
    """Changes that travel together; `receipt` says which delivery is the newest."""

    lane: str
    changes: Sequence[Change]
    receives: int = 0
    receipt: int = 0
    deleted: bool = False


type Handler = Callable[[str, Sequence[Message]], None]


class Queues:
    """At least once, in no order, again after the visibility time-out, set aside after five deliveries."""

    def __init__(self, runtime: Runtime, handle: Handler, *, disorder_seconds: float, duplicates: float) -> None:
        self._runtime, self._handle = runtime, handle
        self._disorder_seconds, self._duplicates = disorder_seconds, duplicates
        self._ready: dict[str, list[Message]] = defaultdict(list)
        self._running: dict[str, int] = defaultdict(int)
        self.messages: list[Message] = []
        self.accepted = 0

    # Implements `tieout.ports.queue.ChangeQueue`

    def send(self, changes: Sequence[Change]) -> None:
        self._send("send", lambda change: "changes" if change.lane is Lane.LIVE else "backfill", changes, 0)

    def send_later(self, changes: Sequence[Change], *, delay_seconds: int) -> None:
        self._send("later", lambda _: "retry", changes, delay_seconds)

    def waiting(self) -> dict[str, int]:
        return {"all": sum(not message.deleted for message in self.messages)}

    def _send(self, point: str, lane_of: Callable[[Change], str], changes: Sequence[Change], delay: float) -> None:
        what = " ".join(f"{one.tenant}:{one.kind}/{one.id}#{one.attempts}" for one in changes)
        fault = self._runtime.enter(f"queue.{point}", f"{what} in {delay}s" if delay else what)
        if fault in (FaultKind.THROTTLE, FaultKind.DOWN):
            raise UnavailableError("The queue did not store a change.")
        for group in _grouped(changes):
            self._store(Message(lane_of(group[0]), group), delay)
            if self._runtime.random.random() < self._duplicates:
                late = self._runtime.random.choice((1, 40, 4000))
                self._store(Message(lane_of(group[0]), group), delay + late)
        self.accepted += len(changes)
        self._runtime.leave(fault)
        if fault is FaultKind.LOST:
            raise UnavailableError("The queue did not store a change.")

    def _store(self, message: Message, delay: float) -> None:
        self.messages.append(message)
        disorder = self._runtime.random.random() * self._disorder_seconds
        self._runtime.after(delay + disorder, lambda: self._visible(message))

    # Delivery

    def _visible(self, message: Message) -> None:
        if message.receives >= RECEIVES_MAX and message.lane != "dead":
            message.lane, message.receives = "dead", 0
        self._ready[message.lane].append(message)
        self._pump(message.lane)

    def _pump(self, lane: str) -> None:
        ready = self._ready[lane]
        while ready and self._running[lane] < CONCURRENCY[lane]:
            count = self._runtime.random.randint(1, MESSAGES_MAX)
            taken, ready[:] = ready[:count], ready[count:]
            for message in taken:
                message.receives += 1
                message.receipt += 1
                self._runtime.after(VISIBILITY_SECONDS, self._again(message, message.receipt))
            self._running[lane] += 1
            self._runtime.start(lane, lambda some=taken: self._handle(lane, some), then=lambda: self._ended(lane))

    def _again(self, message: Message, receipt: int) -> Callable[[], None]:
        def again() -> None:
            if not message.deleted and message.receipt == receipt:
                self._visible(message)

        return again

    def _ended(self, lane: str) -> None:
        self._running[lane] -= 1
        self._pump(lane)

    def delete(self, messages: Sequence[Message]) -> None:
        """The workers are done with them."""
        fault = self._runtime.enter("queue.ack")
        for message in messages:
            message.deleted = True
        self._runtime.leave(fault)
