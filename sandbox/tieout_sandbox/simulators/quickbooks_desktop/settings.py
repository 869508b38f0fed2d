"""What an operator may set of the QuickBooks Desktop simulator, while it runs too."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """The company file, its computer, and the Web Connector there.

    Attributes:
        time_zone: Of the computer's clock on the wall.
        forgets_summer: Moments bear the offset of winter all year.
        terms, messages: Names in the lists of terms, and of messages to customers.
        tax_percent: What lines with the code Tax are taxed with.
        closed_until: The books are closed up to and with this day.
        currencies: Names by code, if several currencies are switched on; the first is the home currency.
        result: A result of Windows with which every message set is refused, such as `0x80040414`; empty for none.
        service_url, username, password: The service that the Web Connector asks, all by itself, if they are set.
        run_every_seconds: How often it comes.
        pause_seconds: How long it waits when it is asked to come again.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    company_name: str = "Zillum"
    company_file: str = r"C:\Users\Public\Documents\Intuit\Zillum.qbw"
    time_zone: str = "America/Los_Angeles"
    forgets_summer: bool = False
    terms: tuple[str, ...] = ("Due on receipt", "Net 15", "Net 30")
    messages: tuple[str, ...] = ("Thank you for your business.",)
    tax_percent: Decimal = Decimal(8)
    closed_until: date | None = None
    currencies: dict[str, str] = Field(default_factory=dict)
    discount_item: str = "Discount"
    result: str = Field(default="", pattern=r"^(0x[0-9A-Fa-f]{8})?$")

    service_url: str = ""
    username: str = ""
    password: str = Field(default="", repr=False)
    run_every_seconds: float = Field(default=1, ge=0.05, le=3600)
    pause_seconds: float = Field(default=0.2, ge=0, le=60)
