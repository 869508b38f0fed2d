"""What an operator may set of the Tally simulator, while it runs too: what somebody at the screen does, releases."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field

COMPANY = "Demo Traders"


class Settings(BaseModel):
    """The program on somebody's desk.

    Attributes:
        open_companies: Names of those that are open; the first is on the screen, and is taken where none is named.
        state: Of the companies.
        books_from: Vouchers before this day are refused.
        locked_until: Vouchers up to and with this day are refused.
        educational: No licence: only the 1st, the 2nd and the 31st of a month.
        window: A window is open on the screen: every request waits until it is closed, or for `window_seconds`.
        erp9: Tally.ERP 9: no dated lists at ledgers, and another greeting.
        empty_lists: Releases before 7 write a tag for each list, empty or not.
        minds_remote_id: A voucher with a REMOTEID that is known is altered; some releases make another one.
        alters_create: An alter of a voucher makes a second one, whatever is in it.
        recomputes: The taxes of item invoices are computed again, and come out one rupee higher.
        holds_back: Vouchers end as exceptions.
        edit_log: The edition that lets nobody delete a voucher.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    open_companies: tuple[str, ...] = (COMPANY,)
    state: str = "Karnataka"
    books_from: date = date(2009, 4, 1)
    locked_until: date | None = None
    educational: bool = False
    window: bool = False
    window_seconds: float = Field(default=30, ge=0, le=120)
    erp9: bool = False
    empty_lists: bool = False
    minds_remote_id: bool = True
    alters_create: bool = False
    recomputes: bool = False
    holds_back: bool = False
    edit_log: bool = False
