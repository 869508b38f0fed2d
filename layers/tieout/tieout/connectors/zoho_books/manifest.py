"""What Zoho Books can do, and the settings of a connection to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tieout.domain.records import Kind
from tieout.ports.connector import Limit, Manifest, Role, Window
from tieout.transport.settings import Calls, SafeUrl, ZoneName, checked

PAGE_ROWS_MAX = 200
READ_BATCH_MAX = 20
"""Ours: Zoho reads one record a call."""
WRITE_BATCH_MAX = 10
"""Ours: a new invoice takes three calls of up to 30 seconds."""
SCOPES = (
    "ZohoBooks.contacts.ALL",
    "ZohoBooks.settings.ALL",
    "ZohoBooks.estimates.ALL",
    "ZohoBooks.invoices.ALL",
    "ZohoBooks.customerpayments.ALL",
    "ZohoBooks.creditnotes.ALL",
    "ZohoBooks.projects.ALL",
    "ZohoBooks.expenses.ALL",
)


@dataclass(frozen=True, slots=True)
class Centre:
    """One of Zoho's data centres: where it signs in, and where its API stands."""

    accounts: str
    api: str


# Source: www.zoho.com/books/api/v3/introduction and .../oauth, read 2026-11-22.
CENTRES: Mapping[str, Centre] = {
    "us": Centre("https://accounts.zoho.com", "https://www.zohoapis.com"),
    "eu": Centre("https://accounts.zoho.eu", "https://www.zohoapis.eu"),
    "in": Centre("https://accounts.zoho.in", "https://www.zohoapis.in"),
    "au": Centre("https://accounts.zoho.com.au", "https://www.zohoapis.com.au"),
    "jp": Centre("https://accounts.zoho.jp", "https://www.zohoapis.jp"),
    "ca": Centre("https://accounts.zohocloud.ca", "https://www.zohoapis.ca"),
    "cn": Centre("https://accounts.zoho.com.cn", "https://www.zohoapis.com.cn"),
    "sa": Centre("https://accounts.zoho.sa", "https://www.zohoapis.sa"),
}

# Requests a day of one organisation, and at a time, by plan; all integrations share them.
# Source: www.zoho.com/books/kb/automation/per-day-api-limit, read 2026-11-22.
PLANS: Mapping[str, tuple[int, int]] = {
    "free": (1000, 5),
    "standard": (2000, 10),
    "professional": (5000, 10),
    "premium": (10000, 10),
    "elite": (10000, 10),
    "ultimate": (10000, 10),
}
PER_MINUTE, PER_DAY, IN_FLIGHT = "requests_per_minute", "requests_per_day", "requests_in_flight"
SPENDS = (PER_MINUTE, PER_DAY, IN_FLIGHT)
_MINUTE_CALLS = 100
_CALL_SECONDS_MAX = 35
_DAY_SECONDS = 24 * 3600


class Settings(BaseModel):
    """A connection's settings.

    Attributes:
        organization_id: The organisation's id; the connection's `account` if empty.
        data_center: Where the organisation lives: what follows `zoho.` in the address of its books. Tokens and the
            app's secret go to this centre's hosts and to no others.
        plan: The organisation's plan at Zoho, which decides how many requests a day may cost. The smallest by itself.
        requests_per_day, requests_per_minute, requests_in_flight: Instead of what the plan allows, such as less of a
            day's requests because another integration needs some.
        time_zone: The organisation's, such as `Asia/Kolkata`; the day's requests begin anew at its midnight.
        reference_field: API name of the custom field that keeps our reference. It has to exist for items, customers,
            estimates, invoices, credit notes, customer payments, projects and expenses, and must not allow duplicate
            values.
        tax_id_field: Where a customer's tax number stands in this country's edition; without it none is written.
        payment_mode: Of payments that we write.
        deposit_account_id: Id of the account that payments we write are deposited to; Zoho's own choice if empty.
        expense_account_id: Id of the account that expenses we write were paid from, if they do not say.
        task: Name of the task that hours without one are logged for; made in a project that has none of this name.
        api_url, accounts_url: Instead of the data centre's own; https, or this machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    organization_id: str = Field(default="", pattern=r"^\d*$")
    data_center: Literal["us", "eu", "in", "au", "jp", "ca", "cn", "sa"] = "us"
    plan: Literal["free", "standard", "professional", "premium", "elite", "ultimate"] = "free"
    requests_per_day: Calls | None = None
    requests_per_minute: Calls | None = None
    requests_in_flight: Calls | None = None
    time_zone: ZoneName = "UTC"
    reference_field: str = Field(default="cf_tieout_reference", pattern=r"^cf_[a-z0-9_]{1,97}$")
    tax_id_field: Literal["", "gst_no", "vat_reg_no", "tax_reg_no"] = ""
    payment_mode: str = Field(default="banktransfer", min_length=1, max_length=100)
    deposit_account_id: str = Field(default="", pattern=r"^\d*$")
    expense_account_id: str = Field(default="", pattern=r"^\d*$")
    task: str = Field(default="Services", min_length=1, max_length=100)
    api_url: SafeUrl | None = None
    accounts_url: SafeUrl | None = None

    @property
    def api(self) -> str:
        """Where the API stands, without a slash at the end."""
        return (self.api_url or CENTRES[self.data_center].api).rstrip("/")

    @property
    def accounts(self) -> str:
        """Where it signs in, without a slash at the end."""
        return (self.accounts_url or CENTRES[self.data_center].accounts).rstrip("/")


def limits_of(settings: Settings) -> tuple[Limit, ...]:
    """What the plan allows, with the settings' own numbers instead.

    Source: www.zoho.com/books/api/v3/introduction (100 requests a minute and organisation), read 2026-11-22.
    """
    per_day, in_flight = PLANS[settings.plan]
    return (
        Limit(PER_MINUTE, settings.requests_per_minute or _MINUTE_CALLS, 60),
        Limit(PER_DAY, settings.requests_per_day or per_day, _DAY_SECONDS, Window.QUOTA),
        Limit(IN_FLIGHT, settings.requests_in_flight or in_flight, _CALL_SECONDS_MAX, Window.IN_FLIGHT),
    )


_NAMED = frozenset({Kind.CUSTOMER, Kind.ITEM})
_OURS = frozenset(
    {
        Kind.ESTIMATE,
        Kind.INVOICE,
        Kind.PAYMENT,
        Kind.CREDIT_NOTE,
        Kind.PROJECT,
        Kind.TIME_ENTRY,
        Kind.EXPENSE,
    }
)

MANIFEST = Manifest(
    provider="zoho_books",
    title="Zoho Books",
    roles=frozenset({Role.BOOKS}),
    reads=_NAMED | _OURS,
    writes=_NAMED | _OURS,
    webhooks=True,
    deletions_visible=frozenset(),
    keeps_reference=_OURS,
    natural_key=_NAMED,
    read_batch_max=READ_BATCH_MAX,
    write_batch_max=WRITE_BATCH_MAX,
    versions=False,
    idempotency_key_life_seconds=0,
    calls_to_write={
        Kind.CUSTOMER: 3,  # looked for by name and by e-mail address, made
        Kind.ITEM: 2,  # looked for, made
        Kind.ESTIMATE: 3,  # made, sent, read
        Kind.INVOICE: 3,
        Kind.TIME_ENTRY: 2,  # its project read, made
    },
    limits=limits_of(Settings()),
    settings=Settings,
    secrets={
        "client_id": "Client ID of your app in Zoho's API console",
        "client_secret": "Client secret of this app, for the organisation's data centre",
        "webhook_secret": "Secret of the webhooks: 12 to 50 random letters and digits (empty if you use none)",
        "access_token": "Access token (filled in by consent)",
        "refresh_token": "Refresh token (filled in by consent)",
        "access_token_expires_at": "When the access token ends (filled in by consent)",
        "access_token_issued_at": "When the access token was issued (filled in by consent)",
    },
    sign_in_again="Sign in to Zoho again, as an administrator of the organisation.",
    api_version="v3",
    scopes=SCOPES,
    documentation=(
        "https://www.zoho.com/books/api/v3/introduction/",
        "https://www.zoho.com/books/api/v3/oauth/",
        "https://www.zoho.com/books/api/v3/errors/",
        "https://www.zoho.com/books/api/v3/webhooks/",
    ),
)


def parse_settings(settings: Mapping[str, Any]) -> Settings:
    """The settings as typed values.

    Raises:
        SettingsError: If they are not of the model's form; names each setting.
    """
    return checked(Settings, settings, "Zoho Books")
