"""The bridge's server over stores in memory, and somebody who speaks its wire without any of our code."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tests.aws import StillClock
from tests.bridge import MemoryInstallations, MemoryOutbox
from tests.engine.world import MemoryState, World
from tieout.bridge.serve import Asked, Refusal, ServeBridge, code_hash
from tieout.domain.bridge import Installation, Job
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError

CODE = "ABCD-EFGH-JKLM"
NAME = "acme.books"


class Vault:
    """Secrets of the deployment; each process reads them through a `Kept` of its own."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Mapping[str, str]] = {}


class Kept:
    """Implements `tieout.ports.secrets.Secrets` as a process has it: what was read is remembered."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._kept: dict[tuple[str, str], Mapping[str, str]] = {}
        self.asked = 0

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
        name = tenant, connection
        if fresh or name not in self._kept:
            self.asked += 1
            if name not in self._vault.stored:
                raise SettingsError("There are no secrets yet.")
            self._kept[name] = self._vault.stored[name]
        return dict(self._kept[name])

    def write(self, tenant: str, connection: str, secrets: Mapping[str, str]) -> None:
        self._vault.stored[tenant, connection] = self._kept[tenant, connection] = dict(secrets)


class MemoryParcels:
    """Implements `tieout.ports.bridge.Parcels`."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    def put(self, name: str, body: bytes) -> None:
        self.stored[name] = body

    def get(self, name: str, *, bytes_max: int) -> bytes | None:
        body = self.stored.get(name, b"")
        return body if name in self.stored and len(body) <= bytes_max else None

    def address_to_put(self, name: str, *, size: int, sha256: str, seconds: int) -> tuple[str, dict[str, str]]:
        return f"https://parcels.example/{name}?size={size}&sha256={sha256}&seconds={seconds}", {"x-size": str(size)}

    def address_to_get(self, name: str, *, seconds: int) -> str:
        return f"https://parcels.example/{name}?seconds={seconds}"


@dataclass
class HeardBy:
    """Stands for `Presence`: keeps who was heard, and when it was heard before."""

    heard_before: list[datetime | None] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)

    def heard(self, _connection: Connection, before: Installation, _after: Installation) -> None:
        self.heard_before.append(before.seen_at)

    def wake(self, connection: Connection) -> None:
        self.woken.append(connection.address)


class Served:
    """One process of the bridge; `process()` gives another one of the same deployment."""

    def __init__(self) -> None:
        world = World()
        self.manifest = world.books.manifest
        self.clock, self.vault, self.config = StillClock(), Vault(), MemoryState()
        self.outbox, self.installations, self.parcels = MemoryOutbox(), MemoryInstallations(), MemoryParcels()
        self.presence = HeardBy()
        for tenant in ("acme", "other"):
            self.config.put_connection(Connection(tenant, "books", "fake_books", settings={"company": f"of {tenant}"}))
        self.secrets, self.bridge = self.process()

    def process(self) -> tuple[Kept, ServeBridge]:
        kept = Kept(self.vault)
        bridge = ServeBridge(
            config=self.config,
            secrets=kept,
            outbox=self.outbox,
            installations=self.installations,
            parcels=self.parcels,
            presence=self.presence,  # type: ignore[arg-type]  # as much of one as it needs
            manifest=lambda _: self.manifest,
            clock=self.clock,
            latest="0.2.0",
        )
        return kept, bridge

    def there(self, name: str = NAME) -> Installation:
        tenant, _, connection = name.partition(".")
        found = self.installations.installation(tenant, connection)
        assert found is not None
        return found

    def let_in(self, code: str = CODE, name: str = NAME) -> None:
        """As `tieout connect` does; whoever was let in before no longer is."""
        tenant, _, connection = name.partition(".")
        former = self.installations.installation(tenant, connection)
        until = self.clock.now() + timedelta(hours=1)
        self.installations.put_installation(
            Installation(
                tenant,
                connection,
                code_hash=code_hash(code),
                code_until=until,
                revision=former.revision if former is not None else 0,
            )
        )
        self.vault.stored[tenant, connection] = {"waits_for": "its installation"}

    def revoke(self, name: str = NAME) -> None:
        there = self.there(name)
        self.installations.put_installation(Installation(there.tenant, there.connection, revision=there.revision))

    def queue(self, call: str = "read", body: str = "{}", *, name: str = NAME, write: bool = False) -> Job:
        tenant, _, connection = name.partition(".")
        now = self.clock.now()
        number = len(self.outbox.stored)
        job = Job(tenant, connection, f"2026-{number:03}", call, body, write, now, now + timedelta(seconds=12))
        self.outbox.put(job)
        return job

    def forget(self, name: str = NAME, **changes: Any) -> None:
        """Change what is known of the installation."""
        self.installations.put_installation(replace(self.there(name), **changes))


@dataclass
class Agent:
    """Speaks the wire as it is written down. `said` is what it sends of itself."""

    served: Served
    key: str = "5e" * 32
    name: str = NAME
    sequence: int = 0
    said: dict[str, Any] = field(
        default_factory=lambda: {"instance": "i1", "machine": "OFFICE-PC", "system": "Windows 11", "version": "0.1.0"}
    )
    bridge: ServeBridge | None = None

    def enrol(self, code: Any = CODE, **changes: Any) -> dict[str, Any]:
        body = {"code": code, "key": self.key, "agent": self.said} | changes
        return self.answered(Asked(self.name, "enrol", {}, json.dumps(body).encode()))

    def signed(self, call: str, content: Any, **changes: str) -> Asked:
        """The next request; `changes` are made before it is signed."""
        self.sequence += 1
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        time = changes.get("time", str(int(self.served.clock.now().timestamp())))
        number = changes.get("sequence", str(self.sequence))
        text = f"1\n{self.name}/{call}\n{time}\n{number}\n{hashlib.sha256(body).hexdigest()}"
        headers = {
            "tieout-version": "1",
            "tieout-time": time,
            "tieout-sequence": number,
            "tieout-signature": hmac.new(bytes.fromhex(self.key), text.encode(), hashlib.sha256).hexdigest(),
        }
        return Asked(self.name, call, headers, body)

    def call(self, call: str, content: Mapping[str, Any] | None = None, **changes: str) -> dict[str, Any]:
        return self.answered(self.signed(call, {"agent": self.said, **(content or {})}, **changes))

    def answered(self, asked: Asked) -> dict[str, Any]:
        return (self.bridge or self.served.bridge).answer(asked)

    def lease(self) -> dict[str, Any]:
        answer = self.call("lease", {"running": False})
        job: dict[str, Any] = answer["job"]
        return job

    def report(self, job: Mapping[str, Any], ended: str = "done", body: str | None = "r", **changes: Any) -> Any:
        return self.call("report", {"id": job["id"], "lease": job["lease"], "ended": ended, "body": body} | changes)


def code_of(refused: Any) -> tuple[int, str]:
    """Status and code of what `pytest.raises(Refusal)` caught."""
    refusal: Refusal = refused.value
    assert refusal.body["error"] == refusal.code
    assert refusal.body["message"]
    return refusal.status.value, refusal.code
