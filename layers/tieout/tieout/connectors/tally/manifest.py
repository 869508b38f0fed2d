"""What Tally can do, and the settings of a connection to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tieout.domain.money import is_currency
from tieout.domain.records import Kind
from tieout.ports.connector import Limit, Manifest, Reachability, Role, Window
from tieout.transport.settings import SafeUrl, checked

READ_BATCH_MAX = 20
"""Ours: each id is compared with every voucher of the company."""
WRITE_BATCH_MAX = 5
"""Ours: a voucher takes up to a second and is read again, and a call has 25 seconds."""
CALL_SECONDS = 22
"""All requests of one call end within this; the bridge gives a call 25 seconds."""
IN_FLIGHT = "requests_in_flight"
NO_TAX = "NON"

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Tally's own limit is 99 characters for a name; ours keeps a request small.
Name = Annotated[str, Field(min_length=1, max_length=200)]
MaybeName = Annotated[str, Field(max_length=200)]


def _currency(code: str) -> str:
    if not is_currency(code):
        raise ValueError("a currency is three capital letters (ISO 4217), such as INR")
    return code


class Tax(BaseModel):
    """What a tax code of the mapping is in Tally: a rate, and the ledgers under Duties & Taxes that it is booked to.

    Attributes:
        rate: In per cent, of the whole tax: 18 is 9 CGST and 9 SGST, or 18 IGST.
        cgst, sgst: Ledgers if the place of supply is in the company's own state; half of the rate each.
        igst: Ledger if it is in another state or abroad.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Decimal = Field(ge=0, le=100)
    cgst: MaybeName = ""
    sgst: MaybeName = ""
    igst: MaybeName = ""


class Settings(BaseModel):
    """A connection's settings.

    Attributes:
        url: Where Tally listens, on the machine that it runs on.
        company: GUID of the company; or its name, until the GUID is known. The connection's `account`, once it is
            there, has to be the same company.
        currency: The company's base currency; documents in another one are refused.
        state: The company's state, in full, which decides between CGST with SGST and IGST; as Tally says if empty.
        sales_ledger: What is sold is booked to it.
        discount_ledger: Discounts of a whole document; without it such documents are refused.
        receipt_ledger: Bank or cash that payments we write come in to; without it they are refused.
        taxes: By tax code of the mapping.
        customer_group: Group of new customers: Sundry Debtors, or one below it.
        stock_group: Group of new stock items; none if empty.
        unit: Unit of new stock items, made if there is none.
        sales_voucher_type, receipt_voucher_type, credit_note_voucher_type: Types of new vouchers.
        encoding: What requests are sent in; Tally answers in the same.
        records_per_page: So many changed records are read at a time.
        pause_milliseconds: Between two requests, so that the person at the screen can work.
        answer_within_seconds: So long one request may take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SafeUrl = "http://localhost:9000"
    company: MaybeName = ""
    currency: Annotated[str, AfterValidator(_currency)] = "INR"
    state: MaybeName = ""
    sales_ledger: Name = "Sales"
    discount_ledger: MaybeName = ""
    receipt_ledger: MaybeName = ""
    taxes: Mapping[str, Tax] = Field(default_factory=dict, max_length=100)
    customer_group: Name = "Sundry Debtors"
    stock_group: MaybeName = ""
    unit: Name = "Nos"
    sales_voucher_type: Name = "Sales"
    receipt_voucher_type: Name = "Receipt"
    credit_note_voucher_type: Name = "Credit Note"
    encoding: Literal["utf-8", "utf-16"] = "utf-8"
    records_per_page: int = Field(default=200, ge=1, le=1000)
    pause_milliseconds: int = Field(default=100, ge=0, le=5000)
    answer_within_seconds: int = Field(default=20, ge=1, le=CALL_SECONDS)

    @property
    def company_guid(self) -> str:
        """The company's GUID, lower case; empty if only its name is said."""
        return self.company.lower() if _GUID.fullmatch(self.company) else ""


_NAMED = frozenset({Kind.CUSTOMER, Kind.ITEM})
VOUCHERS = frozenset({Kind.ESTIMATE, Kind.INVOICE, Kind.CREDIT_NOTE, Kind.PAYMENT})

MANIFEST = Manifest(
    provider="tally",
    title="Tally",
    roles=frozenset({Role.BOOKS}),
    reads=_NAMED | VOUCHERS,
    writes=_NAMED | VOUCHERS,
    webhooks=False,
    deletions_visible=frozenset(),
    keeps_reference=VOUCHERS,
    natural_key=_NAMED,
    read_batch_max=READ_BATCH_MAX,
    write_batch_max=WRITE_BATCH_MAX,
    versions=False,
    idempotency_key_life_seconds=0,
    # Tally works on one request at a time, on the thread that also draws its screen.
    limits=(Limit(IN_FLIGHT, 1, CALL_SECONDS, Window.IN_FLIGHT),),
    settings=Settings,
    secrets={},
    sign_in_again="Open the company in Tally.",
    api_version="XML over HTTP, TallyPrime 3.0 and later",
    reachability=Reachability.ON_PREMISES,
    documentation=(
        "https://help.tallysolutions.com/xml-integration/",
        "https://help.tallysolutions.com/integration-with-tallyprime/",
        "https://help.tallysolutions.com/general-attributes-integration/",
    ),
)


def parse_settings(settings: Mapping[str, Any]) -> Settings:
    """The settings as typed values.

    Raises:
        SettingsError: If they are not of the model's form; names each setting.
    """
    return checked(Settings, settings, "Tally")
