"""What QuickBooks Desktop can do, and the settings of a connection to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tieout.connectors.quickbooks_desktop.qbxml import VERSION
from tieout.domain.money import is_currency
from tieout.domain.records import Kind
from tieout.ports.connector import Manifest, Reachability, Role
from tieout.transport.settings import checked


def _currency(value: str) -> str:
    if not is_currency(value):
        raise ValueError("it is three capital letters (ISO 4217), such as USD")
    return value


class Settings(BaseModel):
    r"""A connection's settings.

    Attributes:
        company_file: Path of the company file on its computer, such as `C:\Books\Acme.qbw`: no other one is written to.
            Empty takes the one that is open in QuickBooks.
        currency: What the company keeps its books in. QuickBooks only says it where several currencies are switched on.
        income_account: Full name of the account that new items earn to; the first active income account if empty.
        expense_account: Full name of the account for the cost of new items; only for items that are given a cost.
        discount_item: Full name of the item that discounts are written with; the first active discount item if empty.
        page_records: How many records one page of a list holds: smaller where the computer is slow.
        minutes_between_runs: How often the Web Connector comes by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    company_file: str = ""
    currency: Annotated[str, AfterValidator(_currency)] = "USD"
    income_account: str = ""
    expense_account: str = ""
    discount_item: str = ""
    page_records: int = Field(default=100, ge=1, le=500)
    minutes_between_runs: int = Field(default=1, ge=1, le=1440)


_WRITES = frozenset({Kind.CUSTOMER, Kind.ITEM, Kind.INVOICE, Kind.CREDIT_NOTE, Kind.ESTIMATE})

MANIFEST = Manifest(
    provider="quickbooks_desktop",
    title="QuickBooks Desktop",
    roles=frozenset({Role.BOOKS}),
    reads=_WRITES | {Kind.PAYMENT},
    writes=_WRITES,
    webhooks=False,
    deletions_visible=_WRITES | {Kind.PAYMENT},
    keeps_reference=_WRITES - {Kind.ITEM},
    natural_key=frozenset({Kind.CUSTOMER, Kind.ITEM}),
    read_batch_max=50,
    write_batch_max=10,
    versions=True,
    idempotency_key_life_seconds=0,
    limits=(),
    settings=Settings,
    secrets={
        "username": "User name in the Web Connector (made by `tieout connect`)",
        "password": "Password that is typed into the Web Connector (made by `tieout connect`)",
    },
    api_version=f"qbXML {VERSION}",
    reachability=Reachability.WEB_CONNECTOR,
    sign_in_again="Enter the password of the connection in the QuickBooks Web Connector.",
    documentation=(
        "https://developer.intuit.com/app/developer/qbdesktop/docs/get-started",
        "https://developer.intuit.com/app/developer/qbdesktop/docs/develop/exploring-the-quickbooks-desktop-sdk/status-codes-in-response-messages",
        "https://developer.intuit.com/app/developer/qbdesktop/docs/develop/exploring-the-quickbooks-desktop-sdk/error-recovery",
    ),
)


def parse_settings(settings: Mapping[str, Any]) -> Settings:
    """The settings as typed values.

    Raises:
        SettingsError: If they are not of the model's form; names each setting.
    """
    return checked(Settings, settings, "QuickBooks Desktop")
