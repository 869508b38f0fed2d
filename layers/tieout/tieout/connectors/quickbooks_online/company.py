"""What we must know of the company before writing to it; asked once, and again after ten minutes."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.client import Client, quoted
from tieout.domain.errors import RejectedError
from tieout.ports.clock import Clock

# A connection may stay open for hours in a warm worker, while somebody changes the company's preferences.
KEPT_FOR = timedelta(minutes=10)


class List(StrEnum):
    """Lists whose entries are looked up by name: the provider's name of each."""

    TERMS = "Term"
    ACCOUNTS = "Account"
    TAX_CODES = "TaxCode"


_WORDS = {
    List.TERMS: ("terms", "payment terms"),
    List.ACCOUNTS: ("income_account", "account"),
    List.TAX_CODES: ("lines", "tax code"),
}


class Company:
    """Preferences and lists, read when first needed."""

    def __init__(self, client: Client, income_account: str, clock: Clock) -> None:
        self._client = client
        self._income_account = income_account
        self._clock = clock
        self.forget()

    def refresh(self) -> None:
        """Forget what is older than ten minutes. Called between writes, so that one write sees one state."""
        if self._clock.now() - self._since > KEPT_FOR:
            self.forget()

    def forget(self) -> None:
        """Ask again when it is next needed."""
        self._since = self._clock.now()
        self._known_preferences: wire.Preferences | None = None
        self._ids: dict[tuple[List, str], str] = {}
        self._names: dict[tuple[List, str], str] = {}

    @property
    def numbers_itself(self) -> bool:
        """True if the company gives numbers to documents that come without."""
        return not self._preferences.sales_forms.custom_numbers

    @property
    def closed_until(self) -> date | None:
        """The last day of the closed period; None if the books were never closed.

        Source: blogs.intuit.com/2025/04/24/smoother-transactions-leveraging-intuit-api-entities, read 2026-11-22.
        """
        return self._preferences.accounting.closed_until

    @property
    def multi_currency(self) -> bool:
        """True if documents may have another currency than the home currency."""
        return self._preferences.currency.multi_currency

    @property
    def home_currency(self) -> str | None:
        """The home currency; None if the company does not say."""
        home = self._preferences.currency.home
        return home.value if home else None

    def id_of(self, where: List, name: str) -> str:
        """The id of the entry with this name.

        Raises:
            RejectedError: If there is none that is active.
        """
        if (where, name) not in self._ids:
            rows, _ = self._client.query(where.value, f"Name = {quoted(name)}")
            entries = [entry for entry in map(wire.Named.model_validate, rows) if entry.active]
            if not entries:
                field, word = _WORDS[where]
                raise RejectedError(
                    f"QuickBooks has no active {word} named `{name}`.",
                    field=field,
                    next_step=f"Create the {word} in QuickBooks, or correct the mapping of `{field}`.",
                )
            self._ids[where, name] = entries[0].id
            self._names[where, entries[0].id] = entries[0].name
        return self._ids[where, name]

    def name_of(self, where: List, ref: wire.Ref) -> str | None:
        """The name of the entry, which the reference often leaves out; None if it is gone."""
        if ref.name:
            return ref.name
        if (where, ref.value) not in self._names:
            rows, _ = self._client.query(where.value, f"Id = {quoted(ref.value)}")
            if not rows:
                return None
            self._names[where, ref.value] = wire.Named.model_validate(rows[0]).name
        return self._names[where, ref.value]

    def income_account_id(self) -> str:
        """The account that new items earn to: the one of the settings, or the first active income account.

        Raises:
            RejectedError: If there is none.
        """
        if self._income_account:
            return self.id_of(List.ACCOUNTS, self._income_account)
        if (List.ACCOUNTS, "") not in self._ids:
            rows, _ = self._client.query("Account", "AccountType = 'Income'")
            entries = [entry for entry in map(wire.Named.model_validate, rows) if entry.active]
            if not entries:
                raise RejectedError(
                    "QuickBooks has no active income account for a new item.",
                    field="income_account",
                    next_step="Create one in QuickBooks, or name one in the connection's settings (income_account).",
                )
            self._ids[List.ACCOUNTS, ""] = entries[0].id
        return self._ids[List.ACCOUNTS, ""]

    @property
    def _preferences(self) -> wire.Preferences:
        if self._known_preferences is None:
            self._known_preferences = self._client.preferences()
        return self._known_preferences
