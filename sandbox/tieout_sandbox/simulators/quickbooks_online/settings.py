"""What an operator may set of the QuickBooks Online simulator, while it runs too."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class WebhookForm(StrEnum):
    """The two bodies that Intuit has: `cloudevents` replaces `classic` in 2026. Source: webhooks page, API v3."""

    CLASSIC = "classic"
    CLOUDEVENTS = "cloudevents"


class Settings(BaseModel):
    """Limits, the app's registration, preferences of a company, webhooks. Every limit is per realm.

    Attributes:
        realms: The companies that exist; the consent page offers them.
        auto_approve: The consent page answers at once, for the realm of `?realm=` or the first.
        refresh_token_rotates_after_seconds: A refresh hands out a new refresh token when the present one is this old;
            0 means each time.
        former_refresh_token_seconds: How long the former value still works. Newer texts of Intuit say not at all, older
            ones 24 hours.
        request_id_life_seconds: How long a repeated `requestid` gets the stored answer. Intuit does not say.
        sales_tax_percent: Of lines with the tax code TAX.
        automated_sales_tax: Sent tax is ignored unless it names a tax code and a total.
        custom_txn_numbers: True means that QuickBooks assigns no document numbers.
        closed_until: The books are closed up to and with this day.
        webhook_window_seconds: How long changes are gathered into one delivery.
        webhook_events_max: How many events one delivery holds (own choice: Intuit does not say).
        webhook_retry_seconds: Waits before each repeated delivery.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    requests_per_minute: int = Field(default=500, ge=1)
    requests_per_second: int = Field(default=10, ge=1)
    batches_per_minute: int = Field(default=40, ge=1)
    batch_items_max: int = Field(default=30, ge=1)
    query_page_max: int = Field(default=1000, ge=1)
    cdc_objects_max: int = Field(default=1000, ge=1)
    cdc_days_max: int = Field(default=30, ge=1)

    realms: tuple[str, ...] = Field(default=("9130350000000001",), min_length=1)
    client_id: str = "tieout-sandbox-client"
    client_secret: str = Field(default="tieout-sandbox-secret", repr=False)
    auto_approve: bool = True
    access_token_seconds: int = Field(default=3600, ge=1)
    refresh_token_rotates_after_seconds: int = Field(default=86_400, ge=0)
    former_refresh_token_seconds: int = Field(default=0, ge=0)
    refresh_token_seconds: int = Field(default=8_640_000, ge=1)
    request_id_life_seconds: int = Field(default=14_400, ge=0)

    company_name: str = "Craig's Design and Landscaping Services"
    sales_tax_percent: Decimal = Field(default=Decimal(0), ge=0, le=100)
    automated_sales_tax: bool = False
    custom_txn_numbers: bool = False
    warn_duplicate_doc_number: bool = True
    closed_until: date | None = None

    webhook_url: str = ""
    webhook_verifier_token: str = Field(default="tieout-sandbox-verifier", repr=False)
    webhook_form: WebhookForm = WebhookForm.CLASSIC
    webhook_window_seconds: float = Field(default=1.0, ge=0)
    webhook_events_max: int = Field(default=100, ge=1)
    webhook_retry_seconds: tuple[float, ...] = (10, 20, 30)
