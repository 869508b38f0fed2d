"""What we must know of the company before writing to it; asked once, and again after ten minutes."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.client import Client, quoted
from tieout.domain.errors import RejectedError
from tieout.ports.clock import Clock
from tieout.transport.kept import KeptFacts


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
        self.kept = KeptFacts(clock)

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

        def ask() -> str:
            entries = self._active(where, f"Name = {quoted(name)}")
            if not entries:
                field, word = _WORDS[where]
                raise RejectedError(
                    f"QuickBooks has no active {word} named `{name}`.",
                    field=field,
                    next_step=f"Create the {word} in QuickBooks, or correct the mapping of `{field}`.",
                )
            self.kept.note((where, "name", entries[0].id), entries[0].name)
            return entries[0].id

        return self.kept.fact((where, "id", name), ask)

    def name_of(self, where: List, ref: wire.Ref) -> str | None:
        """The name of the entry, which the reference often leaves out; None if it is gone."""
        if ref.name:
            return ref.name

        def ask() -> str | None:
            rows, _ = self._client.query(where.value, f"Id = {quoted(ref.value)}")
            return wire.Named.model_validate(rows[0]).name if rows else None

        return self.kept.fact((where, "name", ref.value), ask)

    def income_account_id(self) -> str:
        """The account that new items earn to: the one of the settings, or the first active income account.

        Raises:
            RejectedError: If there is none.
        """
        if self._income_account:
            return self.id_of(List.ACCOUNTS, self._income_account)
        return self.kept.fact("income account", self._first_income_account_id)

    def _first_income_account_id(self) -> str:
        entries = self._active(List.ACCOUNTS, "AccountType = 'Income'")
        if not entries:
            raise RejectedError(
                "QuickBooks has no active income account for a new item.",
                field="income_account",
                next_step="Create one in QuickBooks, or name one in the connection's settings (income_account).",
            )
        return entries[0].id

    def _active(self, where: List, condition: str) -> list[wire.Named]:
        rows, _ = self._client.query(where.value, condition)
        return [entry for entry in map(wire.Named.model_validate, rows) if entry.active]

    @property
    def _preferences(self) -> wire.Preferences:
        return self.kept.fact("preferences", self._client.preferences)
