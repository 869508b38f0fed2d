"""What must be known of the company before something is written; asked once, and again after ten minutes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from tieout.connectors.tryton import wire
from tieout.connectors.tryton.client import Client
from tieout.connectors.tryton.manifest import Settings
from tieout.domain.errors import RejectedError
from tieout.ports.clock import Clock
from tieout.transport.kept import KeptFacts


class Company:
    """The company's own record and its lists, read when first needed."""

    def __init__(self, client: Client, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self.kept = KeptFacts(clock)

    @property
    def id(self) -> int:
        """The company in which the connection works."""
        return int(self._client.context()["company"])

    @property
    def name(self) -> str:
        """Its party's name."""
        return str(self._row["party."]["name"])

    @property
    def currency(self) -> str:
        """The code of its currency."""
        return str(self._row["currency."]["code"])

    @property
    def today(self) -> date:
        """The day in UTC; the company's own may be another one for some hours."""
        return self._clock.now().date()

    def currency_id(self, code: str) -> int:
        """The id of a currency."""
        return self._find("currency.currency", code, [["code", "=", code]], "currency", f"currency {code}")

    def term_id(self, name: str) -> int:
        """The id of a payment term."""
        term = f"payment term named `{name}`"
        return self._find("account.invoice.payment_term", name, [["name", "=", name]], "terms", term)

    def tax_id(self, name: str) -> int:
        """The id of a tax that may be charged to customers."""
        domain = [
            ["name", "=", name],
            ["company", "=", self.id],
            ["parent", "=", None],
            ["group.kind", "!=", "purchase"],
        ]
        plain = [["name", "=", name], ["company", "=", self.id], ["parent", "=", None], ["group", "=", None]]
        return self._find("account.tax", name, ["OR", domain, plain], "lines", f"tax named `{name}`")

    def country_id(self, code: str) -> int:
        """The id of a country by its ISO 3166 alpha-2 code."""
        return self._find("country.country", code, [["code", "=", code]], "billing_address", f"country {code}")

    def subdivision_id(self, country: str, state: str) -> int:
        """The id of a state or region, by code or name."""
        names = [["code", "=", f"{country}-{state}"], ["code", "=", state], ["name", "ilike", state]]
        domain = [["country.code", "=", country], ["OR", *names]]
        where = f"region `{state}` of {country}"
        return self._find("country.subdivision", f"{country}/{state}", domain, "billing_address", where)

    def journal_id(self) -> int:
        """The journal of sales."""
        return self._find("account.journal", "revenue", [["type", "=", "revenue"]], "", "journal of the type Revenue")

    def unit_id(self) -> int:
        """The unit of measure of new items."""
        symbol = self._settings.unit
        return self._find(
            "product.uom", symbol, [["symbol", "=", symbol]], "", f"unit of measure with the symbol `{symbol}`"
        )

    def category_id(self) -> int:
        """The accounting category of new items: the one of the settings, or the only one.

        Raises:
            RejectedError: If there is none, or there are several to choose from.
        """
        name = self._settings.item_category
        if name:
            domain = [["name", "=", name], ["accounting", "=", True]]
            return self._find("product.category", name, domain, "", f"accounting category named `{name}`")
        return self.kept.fact(("product.category", ""), self._only_category_id)

    def _only_category_id(self) -> int:
        found = self._client.rows("product.category", [["accounting", "=", True]], ["name"], limit=2)
        if len(found) != 1:
            raise RejectedError(
                f"Tryton has {'several accounting categories' if found else 'no such category'} for new items.",
                next_step="Name one in the connection's settings (item_category); create it in Tryton if needed.",
            )
        return int(found[0]["id"])

    @property
    def _row(self) -> wire.Row:
        return self.kept.fact("company", self._own_row)

    def _own_row(self) -> wire.Row:
        found = self._client.rows("company.company", [["id", "=", self.id]], ["party.name", "currency.code"])
        if not found:
            raise RejectedError(
                "Tryton has no company of this id, or its user may not see it.",
                next_step="Correct `company` in the connection document.",
            )
        return found[0]

    def _find(self, model: str, key: str, domain: Sequence[Any], field: str, what: str) -> int:
        """The id of the first that fulfils the domain.

        Raises:
            RejectedError: If there is none.
        """

        def ask() -> int:
            found = self._client.rows(model, domain, ["id"], limit=1)
            if not found:
                raise RejectedError(
                    f"Tryton has no {what}.",
                    field=field,
                    next_step="Create it in Tryton, or correct the mapping of the field.",
                )
            return int(found[0]["id"])

        return self.kept.fact((model, key), ask)
