"""What Tryton can do, and the settings of a connection to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tieout.connectors.tryton.notes import PATHS
from tieout.domain.records import Kind
from tieout.ports.connector import Limit, Manifest, Reachability, Role, Window
from tieout.transport.settings import checked, server_url


class Settings(BaseModel):
    """A connection's settings.

    Attributes:
        base_url: Of the server, such as `https://erp.example.com`; https, or this machine.
        database: Name of the database.
        company: Id of the company to work in; the user's own company if absent.
        item_category: Name of the accounting category of new items; needed if there are several.
        unit: Symbol of the unit of measure of new items.
        requests_per_minute, requests_in_flight: If the server allows less or more than Tieout takes by itself.
        overlap_minutes: Changes are read again until they are so old: as long as a transaction may take, and longer
            than the server's clock may be behind. Repeats cost a read, no write.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: Annotated[str, server_url("https://erp.example.com")]
    database: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    company: int | None = Field(default=None, ge=1)
    item_category: str = ""
    unit: str = "u"
    requests_per_minute: int = Field(default=600, ge=1, le=100_000)
    requests_in_flight: int = Field(default=2, ge=1, le=100)
    overlap_minutes: int = Field(default=5, ge=1, le=24 * 60)


# Ours: Tryton limits only failed sign-ins. Each call is a transaction in one of a few workers, so more than two at a
# time make others wait. Source: README.md, "Limits".
LIMITS = (
    Limit("requests_per_minute", 600, 60),
    Limit("requests_in_flight", 2, 65, Window.IN_FLIGHT),
)
SPENDS = ("requests_per_minute", "requests_in_flight")
READ_BATCH_MAX = 100
WRITE_BATCH_MAX = 4
"""Ours: an invoice takes seven calls and a slow server ten seconds, and a worker begins no batch in its last 40."""

_CRM = frozenset({Kind.COMPANY, Kind.DEAL, Kind.PRODUCT})
_BOOKS = frozenset({Kind.CUSTOMER, Kind.ITEM, Kind.INVOICE, Kind.CREDIT_NOTE})

MANIFEST = Manifest(
    provider="tryton",
    title="Tryton",
    roles=frozenset({Role.CRM, Role.BOOKS}),
    reads=_CRM | _BOOKS | {Kind.PAYMENT},
    writes=_BOOKS | {Kind.DEAL},
    updates={Kind.DEAL: PATHS},
    webhooks=False,
    deletions_visible=frozenset(),
    keeps_reference=_BOOKS - {Kind.ITEM},
    natural_key=frozenset({Kind.CUSTOMER, Kind.ITEM}),
    read_batch_max=READ_BATCH_MAX,
    write_batch_max=WRITE_BATCH_MAX,
    versions=True,
    idempotency_key_life_seconds=0,
    limits=LIMITS,
    settings=Settings,
    secrets={
        "username": "Tryton user name (a user of its own, in the accounting and party groups)",
        "password": "Password of this user",
    },
    api_version="8.2",
    reachability=Reachability.CLOUD,
    documentation=(
        "https://docs.tryton.org/latest/server/topics/rpc.html",
        "https://docs.tryton.org/latest/modules-account-invoice/",
        "https://docs.tryton.org/latest/modules-party/",
    ),
)


def parse_settings(settings: Mapping[str, Any]) -> Settings:
    """The settings as typed values.

    Raises:
        SettingsError: Naming each setting that is wrong.
    """
    return checked(Settings, settings, "Tryton")


def limits_of(settings: Settings) -> tuple[Limit, ...]:
    """The manifest's limits, with those of the settings instead."""
    return tuple(replace(limit, calls=getattr(settings, limit.name)) for limit in LIMITS)
