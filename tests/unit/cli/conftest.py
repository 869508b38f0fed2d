"""A desk over in-memory stores, two providers to sign in to, and a terminal to type commands at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from typer.testing import CliRunner

from tests.bridge import MemoryInstallations, MemoryOutbox
from tests.engine.world import BOOKS, CRM, TENANT, FakeProvider, World
from tieout.bootstrap import Deployment, Settings
from tieout.cli import desk as desk_module
from tieout.cli.desk import Desk
from tieout.cli.main import app
from tieout.domain.connections import Connection
from tieout.domain.errors import ReconnectError, RejectedError, SettingsError
from tieout.ports.connector import Account, Context, Grant, Hint, Limit, Manifest, Webhook

SECRET = "open-sesame"


class CrmSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    base_url: str = "https://crm.example"
    database: str = "Demo"


class MemorySecrets:
    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], dict[str, str]] = {}
        self.order: list[str] = []

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
        if (tenant, connection) not in self.stored:
            raise SettingsError("There are no secrets yet.")
        return dict(self.stored[tenant, connection])

    def write(self, tenant: str, connection: str, secrets: Mapping[str, str]) -> None:
        self.order.append("stored")
        self.stored[tenant, connection] = dict(secrets)


class MemorySchedules:
    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, bool]] = {}

    def put(self, connection: Connection, rate: str, *, enabled: bool) -> bool:
        former = self.kept.get(connection.address)
        self.kept[connection.address] = (rate, enabled)
        return former != (rate, enabled)


class Probed:
    """The fake connector, with a sign-in."""

    def __init__(self, real: FakeProvider, context: Context, check: Callable[[Context], Account]) -> None:
        self._real, self._context, self._check = real, context, check

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def probe(self) -> Account:
        return self._check(self._context)


@dataclass
class FakeConsent:
    account: str = "1"
    queries: list[Mapping[str, str]] = field(default_factory=list)

    def address(self, *, settings: Any, secrets: Mapping[str, str], redirect: str, state: str) -> str:
        return f"https://consent.example/?client_id={secrets['client_id']}&redirect_uri={redirect}&state={state}"

    def finish(self, *, query: Mapping[str, str], secrets: Mapping[str, str], **_: Any) -> Grant:
        self.queries.append(query)
        if "error" in query:
            raise RejectedError("Consent was refused.", next_step="Try again.")
        return Grant({**secrets, "refresh_token": f"token-of-{query['code']}"}, self.account)


@dataclass
class FakeCatalogueEntry:
    real: FakeProvider
    manifest: Manifest
    check: Callable[[Context], Account]
    consent: FakeConsent | None = None

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        return self.manifest.limits

    def open(self, context: Context) -> Any:
        return Probed(self.real, context, self.check)

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:
        raise NotImplementedError

    def hints(self, webhook: Webhook) -> Sequence[Hint]:
        raise NotImplementedError


@dataclass
class Terminal:
    """Types commands; `out` must be JSON where it is asked for."""

    world: World
    secrets: MemorySecrets
    schedules: MemorySchedules
    consent: FakeConsent
    desk: Desk
    exit_code: int = 0
    out: str = ""
    err: str = ""

    def type(self, *arguments: str, given: str | None = None) -> Terminal:
        result = CliRunner().invoke(app, list(arguments), input=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.exit_code, self.out, self.err = result.exit_code, result.stdout, result.stderr
        return self

    def json(self, *arguments: str, given: str | None = None) -> Any:
        return json.loads(self.type(*arguments, "--json", given=given).out)

    def work(self, seconds: float = 0) -> None:
        """What the deployed workers do with the queue while the clock goes on."""
        self.world.clock.time += timedelta(seconds=max(seconds, 1))
        changes, self.world.queue.now = self.world.queue.now, []
        if changes:
            self.world.new_worker().apply(changes)
        self.world.settle_down()


def crm_probe(context: Context) -> Account:
    secrets = context.secrets.read(context.connection.tenant, context.connection.id)
    if secrets.get("password") != SECRET:
        raise ReconnectError("The CRM does not accept the password.", next_step="Type it again.")
    return Account("1", "Acme's database", None)


def books_probe(context: Context) -> Account:
    secrets = context.secrets.read(context.connection.tenant, context.connection.id)
    if not secrets.get("refresh_token"):
        raise ReconnectError("The books were never connected.")
    return Account(context.connection.account, "Acme Ltd", "USD")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    world = World()
    consent = FakeConsent()
    crm = replace(world.crm.manifest, settings=CrmSettings, secrets={"username": "User name", "password": "Password"})
    books = replace(
        world.books.manifest,
        secrets={
            "client_id": "Client ID",
            "client_secret": "Client secret",
            "refresh_token": "Refresh token (filled in by consent)",
        },
    )
    entries = {
        "fake_crm": FakeCatalogueEntry(world.crm, crm, crm_probe),
        "fake_books": FakeCatalogueEntry(world.books, books, books_probe, consent),
    }

    def provider(name: str) -> Any:
        if name not in entries:
            raise SettingsError(f"There is no provider `{name}`.", next_step="Choose one of: fake_crm, fake_books.")
        return entries[name]

    deployment = Deployment(Settings(stack="tieout"), clock=world.clock, provider=provider)
    secrets, schedules = MemorySecrets(), MemorySchedules()
    secrets.stored[TENANT, CRM] = {"username": "sync", "password": SECRET}
    secrets.stored[TENANT, BOOKS] = {"client_id": "id", "client_secret": SECRET, "refresh_token": "first"}
    for name, port in (
        ("config", world.state),
        ("links", world.state),
        ("alerts", world.state),
        ("budget", world.state),
        ("plans", world.plans),
        ("queue", world.queue),
        ("secrets", secrets),
        ("installations", MemoryInstallations()),
        ("outbox", MemoryOutbox()),
    ):
        setattr(deployment, name, port)

    def open_desk(_stack: str, tenant: str) -> Desk:
        return Desk(deployment, tenant, schedules, "https://api.example/webhooks/", "rate(1 hour)")

    monkeypatch.setattr(desk_module, "open_desk", open_desk)
    monkeypatch.setenv("TIEOUT_TENANT", TENANT)
    terminal = Terminal(world, secrets, schedules, consent, open_desk("tieout", TENANT))
    monkeypatch.setattr(world.clock, "sleep", terminal.work)
    return terminal
