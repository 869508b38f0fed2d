"""What QuickBooks Online can do, and the settings of a connection to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tieout.domain.records import Kind
from tieout.ports.connector import Limit, Manifest, Role, Window
from tieout.transport.settings import Calls, SafeUrl, checked

# Values below 75 are served as 75. Source: blogs.intuit.com/2025/01/21, read 2026-11-22.
MINOR_VERSION = "75"
SCOPE = "com.intuit.quickbooks.accounting"
BATCH_ITEMS_MAX = 30
QUERY_ROWS_MAX = 1000
CDC_DAYS_MAX = 30

BASE_URLS = {
    "production": "https://quickbooks.api.intuit.com",
    "sandbox": "https://sandbox-quickbooks.api.intuit.com",
}
TOKEN_URL = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"  # noqa: S105 - an address
CONSENT_URL = "https://appcenter.intuit.com/connect/oauth2"

# A new customer costs a batch to look for it and one to write it, soon after: with fewer, the search would use up what
# the write needs, at each try again.
_Batches = Annotated[int, Field(ge=8, le=1_000_000)]


class Settings(BaseModel):
    """A connection's settings.

    Attributes:
        realm_id: The company's id; the connection's `account` if empty.
        base_url, token_url, consent_url: Instead of Intuit's own; https, or this machine.
        requests_per_minute, requests_per_second, requests_in_flight, batches_per_minute: Instead of the manifest's
            limits. Fewer than 8 batches would never come to write a customer.
        requests_per_day: If this many are all that the company may cost, by the plan of your Intuit app for example;
            a fifth is kept for live changes. Without it there is no such limit.
        income_account: Name of the account that new items earn to; the first active income account if empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    realm_id: str = Field(default="", pattern=r"^\d*$")
    environment: Literal["production", "sandbox"] = "production"
    base_url: SafeUrl | None = None
    token_url: SafeUrl = TOKEN_URL
    consent_url: SafeUrl = CONSENT_URL
    requests_per_minute: Calls | None = None
    requests_per_second: Calls | None = None
    requests_in_flight: Calls | None = None
    batches_per_minute: _Batches | None = None
    requests_per_day: Calls | None = None
    income_account: str = ""

    @property
    def api_url(self) -> str:
        """Where the API stands, without a slash at the end."""
        return (self.base_url or BASE_URLS[self.environment]).rstrip("/")


# Per company: 500 requests and 40 batches a minute. Of the 10 requests a second we take 9: the provider counts
# arrivals, and two calls sent 100 ms apart may arrive closer. Intuit has also worded that limit as 10 at a time; it
# gives a batch up after 120 seconds. Source: developer.intuit.com .../limits-and-throttles, read 2026-11-22;
# blogs.intuit.com/2016/08/08/idg-concurrent-api-use-changes-coming-soon, read 2026-11-22.
LIMITS = (
    Limit("requests_per_minute", 500, 60),
    Limit("requests_per_second", 9, 1),
    Limit("requests_in_flight", 10, 125, Window.IN_FLIGHT),
    Limit("batches_per_minute", 40, 60),
)
REQUEST_SPENDS = ("requests_per_minute", "requests_per_second", "requests_in_flight", "requests_per_day")
BATCH_SPENDS = (*REQUEST_SPENDS, "batches_per_minute")

_DOCUMENTS = frozenset({Kind.INVOICE, Kind.PAYMENT, Kind.CREDIT_NOTE})
_KINDS = _DOCUMENTS | {Kind.CUSTOMER, Kind.ITEM}

MANIFEST = Manifest(
    provider="quickbooks_online",
    title="QuickBooks Online",
    roles=frozenset({Role.BOOKS}),
    reads=_KINDS,
    writes=_KINDS,
    webhooks=True,
    deletions_visible=_DOCUMENTS,
    keeps_reference=_KINDS - {Kind.ITEM},
    natural_key=frozenset({Kind.CUSTOMER, Kind.ITEM}),
    read_batch_max=100,
    write_batch_max=BATCH_ITEMS_MAX,
    versions=True,
    idempotency_key_life_seconds=0,
    limits=LIMITS,
    settings=Settings,
    secrets={
        "client_id": "Client ID of your Intuit app",
        "client_secret": "Client secret of your Intuit app",
        "webhook_verifier": "Verifier token of the app's webhooks",
        "access_token": "Access token (filled in by consent)",
        "refresh_token": "Refresh token (filled in by consent)",
        "access_token_expires_at": "When the access token ends (filled in by consent)",
        "refresh_token_expires_at": "When the refresh token ends (filled in by consent)",
        "sign_in_ends_at": "When only a new consent helps (filled in by consent)",
    },
    sign_in_ends=("refresh_token_expires_at", "sign_in_ends_at"),
    sign_in_again="Sign in to QuickBooks again, as an administrator of the company.",
    api_version=f"v3, minorversion {MINOR_VERSION}",
    scopes=(SCOPE,),
    documentation=(
        "https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features",
        "https://developer.intuit.com/app/developer/qbo/docs/learn/limits-and-throttles",
        "https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes",
    ),
)


def parse_settings(settings: Mapping[str, Any]) -> Settings:
    """The settings as typed values.

    Raises:
        SettingsError: If they are not of the model's form; names each setting.
    """
    return checked(Settings, settings, "QuickBooks Online")


def limits_of(settings: Settings) -> tuple[Limit, ...]:
    """The manifest's limits, with those of the settings instead."""
    limits = tuple(replace(limit, calls=getattr(settings, limit.name) or limit.calls) for limit in LIMITS)
    if settings.requests_per_day is None:
        return limits
    return *limits, Limit("requests_per_day", settings.requests_per_day, 24 * 3600, Window.QUOTA)
