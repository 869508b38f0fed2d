"""What Act! can do, and the settings of a connection to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tieout.connectors.act.translate import updatable
from tieout.domain.records import Kind
from tieout.ports.connector import Limit, Manifest, Role, Window
from tieout.transport.settings import checked, server_url

CALLS = "calls"
CALLS_PER_MINUTE = 120
"""Ours: Act! publishes no number, and self-hosted servers are small. Source: README.md, "Quirks"."""

IN_FLIGHT = "calls_in_flight"
CALLS_IN_FLIGHT = 4
"""Ours, for the same reason."""

PER_DAY = "calls_per_day"
SPENDS = (CALLS, IN_FLIGHT, PER_DAY)

BATCH_PARTS_MAX = 100
"""Ours: the limit of `$batch` is not published."""

IDS_PER_PART = 32
"""So that `$filter=id eq '...' or ...` stays below the 2,048 characters that IIS allows in a query."""

READ_BATCH_MAX = 96
"""3 parts with ids and one part for each record's lines or main contact: 99 parts."""


class ActSettings(BaseModel):
    """Settings of a connection.

    Attributes:
        base_url: Of the Web API, such as `https://apius.act.com/act.web.api`; https, or this machine.
        database: Name of the Act! database.
        requests_per_minute, requests_in_flight: If the server allows less or more than Tieout takes by itself.
        requests_per_day: If this many are all that the server grants; a fifth is kept for live changes. Without it
            there is no such limit.
        overlap_minutes: Changes are read again until they are so old: as long as an edit may take to become visible,
            and longer than the server's clock may be behind. Days, if remote databases are synchronised into this
            one. Repeats cost a read, no write.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: Annotated[str, server_url("https://server/act.web.api")]
    database: str = Field(min_length=1, pattern=r"^[\x20-\x7e]+$")
    requests_per_minute: int = Field(default=CALLS_PER_MINUTE, ge=1, le=10_000)
    requests_in_flight: int = Field(default=CALLS_IN_FLIGHT, ge=1, le=100)
    requests_per_day: int | None = Field(default=None, ge=1, le=10_000_000)
    overlap_minutes: int = Field(default=5, ge=1, le=30 * 24 * 60)


def settings_of(values: Mapping[str, Any]) -> ActSettings:
    """The checked settings.

    Raises:
        SettingsError: Naming each setting that is wrong.
    """
    return checked(ActSettings, values, "Act!")


def limits_of(per_minute: int, in_flight: int, per_day: int | None = None) -> tuple[Limit, ...]:
    """The limits of a connection. No call of ours waits longer than 60 seconds for its answer."""
    limits = (Limit(CALLS, per_minute, 60), Limit(IN_FLIGHT, in_flight, 60, Window.IN_FLIGHT))
    return limits if per_day is None else (*limits, Limit(PER_DAY, per_day, 24 * 3600, Window.QUOTA))


_KINDS = frozenset({Kind.COMPANY, Kind.CONTACT, Kind.DEAL, Kind.PRODUCT})

MANIFEST = Manifest(
    provider="act",
    title="Act!",
    roles=frozenset({Role.CRM}),
    reads=_KINDS,
    writes=_KINDS,
    webhooks=True,
    deletions_visible=frozenset(),
    keeps_reference=frozenset(),
    natural_key=frozenset(),
    read_batch_max=READ_BATCH_MAX,
    write_batch_max=30,
    versions=False,
    idempotency_key_life_seconds=0,
    limits=limits_of(CALLS_PER_MINUTE, CALLS_IN_FLIGHT),
    settings=ActSettings,
    secrets={
        "username": "Act! user name (a user of its own, with the API access permission)",
        "password": "Password of this user",
        "webhook_token": "Token of the webhooks, at least 20 random characters (empty if you use none)",
    },
    api_version="1.1",
    updates={kind: updatable(kind) for kind in _KINDS},
    documentation=(
        "https://apimta.act.com/act.web.api/",
        "https://apimta.act.com/act.web.api/OData/Index",
        "https://apimta.act.com/act.web.api/ActHooks/Index",
        "https://apimta.act.com/act.web.api/swagger/docs/v1",
        "https://www.act.com/uploads/docs/en/webapi_admin_guide.pdf",
    ),
)
