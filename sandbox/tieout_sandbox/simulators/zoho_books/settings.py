"""What an operator may set of the Zoho Books simulator, while it runs too."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

MODULES = (
    "contacts",
    "items",
    "estimates",
    "invoices",
    "creditnotes",
    "customerpayments",
    "projects",
    "timeentries",
    "expenses",
)


class Settings(BaseModel):
    """Limits, the app's registration, the organisation, webhooks.

    Attributes:
        requests_per_minute, requests_per_day, requests_at_once: Of the organisation, as its plan says.
        tokens_per_ten_minutes: How many access tokens one refresh token gets.
        data_center: What a redirect of the consent page calls it.
        auto_approve: The consent page answers at once.
        currencies: Codes; the first is the home currency.
        taxes: By name, in per cent.
        users: E-mail address by name; the first one connected us.
        accounts: Ids in the chart of accounts.
        unique_field: API name of the custom field that allows no duplicate values.
        unique_field_in: Modules that have it.
        modified_filter_in: Modules whose lists heed `last_modified_time`. Published for invoices alone; others do it by
            users' reports.
        upserts: False means that Zoho does not know the unique field when it looks for it, and makes a new record.
        locked_until: Transactions up to and with this day are locked.
        refuses_to_send: True means that a draft has to be approved by a person first.
        webhook_signs: False means that a delivery carries the secret in `X-Tieout-Secret` instead of a signature.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    requests_per_minute: int = Field(default=100, ge=1)
    requests_per_day: int = Field(default=1000, ge=1)
    requests_at_once: int = Field(default=10, ge=1)
    tokens_per_ten_minutes: int = Field(default=10, ge=1)
    access_token_seconds: int = Field(default=3600, ge=1)
    page_rows_max: int = Field(default=200, ge=1)

    client_id: str = "1000.TIEOUTSANDBOX"
    client_secret: str = Field(default="tieout-sandbox-secret", repr=False)
    data_center: str = "us"
    auto_approve: bool = True

    organization_id: str = "60001234567"
    organization_name: str = "Zillum"
    time_zone: str = "America/Los_Angeles"
    currencies: tuple[str, ...] = Field(default=("USD",), min_length=1)
    taxes: dict[str, Decimal] = Field(default_factory=lambda: {"Sales Tax": Decimal(8)})
    users: dict[str, str] = Field(
        default_factory=lambda: {"Ada Miller": "ada@zillum.example", "Bo Chen": "bo@zillum.example"}
    )
    accounts: tuple[str, ...] = ("460000000000388", "460000000000361")
    unique_field: str = "cf_tieout_reference"
    unique_field_in: tuple[str, ...] = tuple(module for module in MODULES if module != "timeentries")
    modified_filter_in: tuple[str, ...] = ("estimates", "invoices", "creditnotes", "customerpayments", "expenses")
    upserts: bool = True
    locked_until: date | None = None
    refuses_to_send: bool = False

    webhook_url: str = ""
    webhook_secret: str = Field(default="tieoutsandboxsecret", repr=False)
    webhook_signs: bool = True
