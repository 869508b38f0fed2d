"""What we must know of the company file before writing to it; asked once, and again after ten minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from tieout.connectors.quickbooks_desktop.client import Client
from tieout.connectors.quickbooks_desktop.manifest import Settings
from tieout.connectors.quickbooks_desktop.qbxml import Ask, date_of, flag_of, text_of
from tieout.domain.errors import RejectedError, UnavailableError
from tieout.ports.clock import Clock

# A connection may stay open for hours in a warm worker, while somebody changes the company's preferences.
KEPT_FOR = timedelta(minutes=10)
_LISTS = ("ItemDiscountQueryRq", "ItemSubtotalQueryRq")


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read at one time.

    Attributes:
        discounts, subtotals: Ids of items that sell nothing; of discount items with their full names, active ones.
        currencies: Codes by name; empty unless several are switched on.
    """

    name: str
    closed_until: date | None
    several_currencies: bool
    discounts: Mapping[str, str]
    inactive_discounts: frozenset[str]
    subtotals: frozenset[str]
    currencies: Mapping[str, str]


class Company:
    """Preferences and short lists, read when first needed.

    Args:
        account: Name of the company that the connection is for; empty if it was not connected yet.
    """

    def __init__(self, client: Client, settings: Settings, account: str, clock: Clock) -> None:
        self._client, self._settings, self._account, self._clock = client, settings, account, clock
        self.forget()

    def refresh(self) -> None:
        """Forget what is older than ten minutes. Called between writes, so that one write sees one state."""
        if self._clock.now() - self._since > KEPT_FOR:
            self.forget()

    def forget(self) -> None:
        """Ask again when it is next needed."""
        self._since = self._clock.now()
        self._cache: _Known | None = None
        self._income: str | None = None

    @property
    def name(self) -> str:
        """The company's name, which no other file ought to have."""
        return self._known.name

    @property
    def closed_until(self) -> date | None:
        """The last day of the closed period; None if the books were never closed."""
        return self._known.closed_until

    @property
    def home_currency(self) -> str:
        """What the connection says that the books are kept in."""
        return self._settings.currency

    @property
    def several_currencies(self) -> bool:
        """True if customers may have another currency than the home currency."""
        return self._known.several_currencies

    def check_is_ours(self) -> None:
        """Return if the file that answers is the one that was connected.

        Raises:
            UnavailableError: If another one is open. Nothing was done.
        """
        name = self.name
        if self._account and self._account.casefold() != name.casefold():
            self.forget()
            raise UnavailableError(
                f'QuickBooks has the company "{name}" open, and this connection is for "{self._account}".',
                next_step="On that computer, open the right company file in QuickBooks; what waits goes on by itself.",
            )

    def currency_of(self, name: str | None) -> str:
        """The code of the currency of this name; the home currency if none is told, or it has no code."""
        return self._known.currencies.get((name or "").casefold(), self.home_currency)

    def name_of_currency(self, code: str) -> str | None:
        """The name of the currency of this code; None if the company does not have it."""
        return next((name for name, each in self._known.currencies.items() if each == code), None)

    def is_discount(self, item: str | None) -> bool:
        """True if a line with this item takes something off."""
        return item is not None and (item in self._known.discounts or item in self._known.inactive_discounts)

    def is_subtotal(self, item: str | None) -> bool:
        """True if a line with this item repeats what is above it."""
        return item in self._known.subtotals

    def discount_item(self) -> str:
        """Id of the item that discounts are written with: the one of the settings, or the first active one.

        Raises:
            RejectedError: If there is none.
        """
        wanted = self._settings.discount_item.casefold()
        for item, name in self._known.discounts.items():
            if not wanted or name.casefold() == wanted:
                return item
        raise RejectedError(
            "QuickBooks has no active discount item to write the discount with."
            if not wanted
            else f"QuickBooks has no active discount item named `{self._settings.discount_item}`.",
            field="discount",
            next_step="Create one in QuickBooks (Lists, Item List, New, type Discount), then retry.",
        )

    def income_account(self) -> str:
        """Full name of the account that new items earn to: the one of the settings, or the first active income account.

        Raises:
            RejectedError: If there is none.
        """
        if self._settings.income_account:
            return self._settings.income_account
        if self._income is None:
            (reply,) = self._client.ask(Ask("AccountQueryRq", {"ActiveStatus": "ActiveOnly", "AccountType": "Income"}))
            names = [name for each in reply.records() if (name := text_of(each, "FullName"))]
            if not names:
                raise RejectedError(
                    "QuickBooks has no active income account for a new item.",
                    field="income_account",
                    next_step="Create one in QuickBooks, or name one in the connection's settings (income_account).",
                )
            self._income = names[0]
        return self._income

    def expense_account(self) -> str:
        """Full name of the account that the cost of new items is booked to.

        Raises:
            RejectedError: If the settings name none.
        """
        if not self._settings.expense_account:
            raise RejectedError(
                "An item with a cost needs an expense account in QuickBooks.",
                field="cost",
                next_step="Name one in the connection's settings (expense_account), or take `cost` out of the mapping.",
            )
        return self._settings.expense_account

    @property
    def _known(self) -> _Known:
        if self._cache is None:
            self._cache = self._read()
        return self._cache

    def _read(self) -> _Known:
        names = ("ListID", "FullName", "IsActive")
        lists = [Ask(name, {"ActiveStatus": "All", "IncludeRetElement": names}) for name in _LISTS]
        company, preferences, discounts, subtotals = self._client.ask(
            Ask("CompanyQueryRq"), Ask("PreferencesQueryRq"), *lists
        )
        name = next((text for each in company.records() if (text := text_of(each, "CompanyName"))), "")
        told = next(iter(preferences.records()), preferences.element)
        several = flag_of(told, "MultiCurrencyPreferences/IsMultiCurrencyOn") or False
        active = {
            item: text_of(each, "FullName") or ""
            for each in discounts.records()
            if (item := text_of(each, "ListID")) and flag_of(each, "IsActive") is not False
        }
        everyone = {item for each in discounts.records() if (item := text_of(each, "ListID"))}
        return _Known(
            name=name,
            closed_until=date_of(told, "AccountingPreferences/ClosingDate"),
            several_currencies=several,
            discounts=active,
            inactive_discounts=frozenset(everyone - active.keys()),
            subtotals=frozenset(item for each in subtotals.records() if (item := text_of(each, "ListID"))),
            currencies=self._currencies() if several else {},
        )

    def _currencies(self) -> dict[str, str]:
        (reply,) = self._client.ask(Ask("CurrencyQueryRq", {"ActiveStatus": "All"}))
        return {
            name.casefold(): code
            for each in reply.records()
            if (name := text_of(each, "Name")) and (code := text_of(each, "CurrencyCode"))
        }
