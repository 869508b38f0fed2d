"""What Outlook can do, and the settings of a connection to one mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tieout.connectors.outlook.translate import UPDATES
from tieout.domain.records import Kind
from tieout.ports.connector import Limit, Manifest, Role, Window
from tieout.transport.settings import Calls, SafeUrl, ZoneName, checked

BATCH_PARTS_MAX = 20
"""Source: https://learn.microsoft.com/graph/json-batching, read 2026-08-13."""

# 10,000 requests in 10 minutes for an application and a mailbox, each part of a batch counted: 40 batches of 20 and 200
# other calls a minute stay within it. Source: https://learn.microsoft.com/graph/throttling-limits, read 2026-08-13.
REQUESTS = Limit("requests", 200, 60)
BATCHES = Limit("batches", 40, 60)

# Four requests of an application are worked on at a time in one mailbox, and four parts of a batch are. So one call of
# ours may take all four places. Source: the same page, and json-batching, both read 2026-08-13.
IN_FLIGHT = Limit("calls_in_flight", 1, 60, Window.IN_FLIGHT)

REQUEST_SPENDS = (REQUESTS.name, IN_FLIGHT.name)
BATCH_SPENDS = (BATCHES.name, IN_FLIGHT.name)

DELEGATED_SCOPES = ("offline_access", "User.Read", "Contacts.ReadWrite", "Tasks.ReadWrite")


@dataclass(frozen=True, slots=True)
class Cloud:
    """One of Microsoft's clouds. Tokens of one are no good in another.

    Attributes:
        graph, login: Addresses of Microsoft Graph and of the sign-in.
        tells_of_tasks: True if one can be told of changes in To Do.
    """

    graph: str
    login: str
    tells_of_tasks: bool = False


# The cloud `global` serves GCC, too. Source: https://learn.microsoft.com/graph/deployments, read 2026-11-22.
# Of tasks none but this one tells. Source: https://learn.microsoft.com/graph/change-notifications-overview, read
# 2026-08-13.
CLOUDS: Mapping[str, Cloud] = {
    "global": Cloud("https://graph.microsoft.com", "https://login.microsoftonline.com", tells_of_tasks=True),
    "us_government": Cloud("https://graph.microsoft.us", "https://login.microsoftonline.us"),
    "us_defense": Cloud("https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
    "china": Cloud("https://microsoftgraph.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
}


class OutlookSettings(BaseModel):
    """A connection's settings.

    Attributes:
        access: `delegated` acts as the person who signs in; `application` as the app itself, by an administrator's
            consent.
        directory: Id or domain of the Microsoft 365 directory; `organizations` or `common` only for delegated access.
        mailbox: Address of the mailbox; needed for application access, empty for the own one of whoever signs in.
        deals_list: Name of the list in To Do whose tasks are deals.
        won_category, lost_category: Names of the categories that say so.
        completed_is_won: A task that is ticked off is a won deal, unless it has the category for lost ones.
        products: Names of what is sold, as Outlook has no place for them; no two alike but for capital letters.
        customer_category: Of several contacts that a deal's customer may mean, the one with this category is meant.
        time_zone: IANA name; To Do gives days as midnight of the user's zone in UTC.
        webhook_url: The address that `tieout connect` prints; empty: Outlook is only asked by schedule.
        cloud: Which of Microsoft's: `us_government` is GCC High, `us_defense` is DoD, `china` is 21Vianet's.
        base_url, login_url: Instead of the cloud's own; https, or this machine.
        requests_per_minute, batches_per_minute: Instead of the manifest's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    access: Literal["delegated", "application"] = "delegated"
    directory: str = Field(default="organizations", pattern=r"^[A-Za-z0-9.-]{1,253}$")
    mailbox: str = Field(default="", pattern=r"^[^\s/?#\\%]{0,320}$")
    deals_list: str = Field(default="Deals", min_length=1)
    won_category: str = Field(default="Won", min_length=1)
    lost_category: str = Field(default="Lost", min_length=1)
    completed_is_won: bool = True
    products: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ("Services",)
    customer_category: str = ""
    time_zone: ZoneName = "UTC"
    webhook_url: Annotated[
        str, Field(pattern=r"^(https://[^@?#\\\s]+|http://(127\.0\.0\.1|localhost)[^@?#\\\s]*)?$")
    ] = ""
    cloud: Literal["global", "us_government", "us_defense", "china"] = "global"
    base_url: SafeUrl = f"{CLOUDS['global'].graph}/v1.0"
    login_url: SafeUrl = CLOUDS["global"].login
    requests_per_minute: Calls | None = None
    batches_per_minute: Calls | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_the_cloud(cls, values: Any) -> Any:  # noqa: ANN401 - not checked yet
        if not isinstance(values, dict) or values.get("cloud") not in CLOUDS:
            return values
        cloud = CLOUDS[values["cloud"]]
        return {"base_url": f"{cloud.graph}/v1.0", "login_url": cloud.login, **values}

    @field_validator("products")
    @classmethod
    def _are_different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.casefold() for name in value}) < len(value):
            raise ValueError("two products have one name")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.access == "application" and not self.mailbox:
            raise ValueError("application access needs `mailbox`: the address of the mailbox")
        if self.access == "application" and self.directory in {"organizations", "common", "consumers"}:
            raise ValueError("application access needs `directory`: the id or domain of your Microsoft 365 directory")
        if self.cloud != "global" and self.directory == "consumers":
            raise ValueError("personal accounts are in the cloud `global` alone")
        return self

    @property
    def application_scope(self) -> str:
        """What an application asks a token for."""
        return f"{CLOUDS[self.cloud].graph}/.default"

    @property
    def root(self) -> str:
        """The path of the mailbox."""
        return f"/users/{self.mailbox}" if self.mailbox else "/me"

    @property
    def zone(self) -> ZoneInfo:
        """The user's time zone."""
        return ZoneInfo(self.time_zone)


def settings_of(values: Mapping[str, Any]) -> OutlookSettings:
    """The checked settings.

    Raises:
        SettingsError: Naming each setting that is wrong.
    """
    return checked(OutlookSettings, values, "Outlook")


def limits_of(settings: OutlookSettings) -> tuple[Limit, ...]:
    """The manifest's limits, with those of the settings instead."""
    return (
        Limit(REQUESTS.name, settings.requests_per_minute or REQUESTS.calls, REQUESTS.per_seconds),
        Limit(BATCHES.name, settings.batches_per_minute or BATCHES.calls, BATCHES.per_seconds),
        IN_FLIGHT,
    )


_WRITTEN = frozenset({Kind.COMPANY, Kind.CONTACT, Kind.DEAL})

MANIFEST = Manifest(
    provider="outlook",
    title="Outlook",
    roles=frozenset({Role.CRM}),
    reads=_WRITTEN | {Kind.PRODUCT},
    writes=_WRITTEN,
    webhooks=True,
    deletions_visible=_WRITTEN,
    keeps_reference=frozenset(),
    natural_key=frozenset(),
    read_batch_max=BATCH_PARTS_MAX,
    write_batch_max=BATCH_PARTS_MAX,
    # If-Match guards the moment between our reading and our writing of a contact; extensions and tasks have no such
    # guard that is documented, so a stale version is not surely refused.
    versions=False,
    idempotency_key_life_seconds=0,
    limits=(REQUESTS, BATCHES, IN_FLIGHT),
    settings=OutlookSettings,
    secrets={
        "client_id": "Application (client) ID of your app registration",
        "client_secret": "Value of a client secret of the app",
        "webhook_token": "Token of the notifications, 20 to 128 random characters (empty if you use none)",
        "access_token": "Access token (filled in by consent)",
        "refresh_token": "Refresh token (filled in by consent)",
        "access_token_expires_at": "When the access token ends (filled in by consent)",
    },
    sign_in_again="Sign in to Microsoft 365 again.",
    api_version="v1.0",
    scopes=DELEGATED_SCOPES,
    documentation=(
        "https://learn.microsoft.com/graph/api/resources/contact",
        "https://learn.microsoft.com/graph/api/resources/todotask",
        "https://learn.microsoft.com/graph/delta-query-overview",
        "https://learn.microsoft.com/graph/json-batching",
        "https://learn.microsoft.com/graph/throttling-limits",
    ),
    updates=UPDATES,
)
