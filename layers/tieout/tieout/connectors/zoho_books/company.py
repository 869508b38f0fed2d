"""What we must know of the organisation before writing to it; asked once, and again after ten minutes."""

from __future__ import annotations

from datetime import timedelta

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.client import Client, parsed
from tieout.domain.errors import RejectedError
from tieout.ports.clock import Clock

# A connection may stay open for hours in a warm worker, while somebody changes the organisation's settings.
KEPT_FOR = timedelta(minutes=10)


class Company:
    """The organisation's currencies and taxes, read when first needed."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._since = clock.now()
        self._known_currencies: dict[str, str] | None = None
        self._known_taxes: dict[str, str] | None = None

    def refresh(self) -> None:
        """Forget what is older than ten minutes. Called between writes, so that one write sees one state."""
        if self._clock.now() - self._since > KEPT_FOR:
            self._since = self._clock.now()
            self._known_currencies = self._known_taxes = None

    def currency_id(self, code: str) -> str:
        """The id of a currency.

        Raises:
            RejectedError: If the organisation does not use it.
        """
        known = self._currencies()
        if code not in known:
            raise RejectedError(
                f"The Zoho Books organisation does not use the currency {code}.",
                field="currency",
                next_step="Add the currency in Zoho Books (Settings > Currencies), or leave such records out of the "
                "sync.",
            )
        return known[code]

    def refuse_other_currency(self, customer: str, code: str) -> None:
        """Return if the customer's documents are in this currency: a payment names none, and takes the customer's.

        Raises:
            RejectedError: If they are in another one.
        """
        if len(self._currencies()) == 1:
            self.currency_id(code)
            return
        theirs = parsed(wire.Contact, self._client.one(f"contacts/{customer}", "contact")).currency_code
        if theirs != code:
            raise RejectedError(
                f"The customer pays in {theirs} in Zoho Books, and this payment is in {code}.",
                field="currency",
                next_step="Correct the currency on one side.",
            )

    def tax_id(self, code: str) -> str:
        """The id of a tax: of its name, as it is if it is an id, empty for `NON`.

        Raises:
            RejectedError: If there is none of that name.
        """
        if code.isdigit():
            return code
        if code == "NON":
            return ""
        if self._known_taxes is None:
            named = [parsed(wire.Named, row) for row in self._client.rows("settings/taxes", "taxes", {})]
            self._known_taxes = {each.tax_name or "": each.tax_id or "" for each in named}
        if code not in self._known_taxes:
            raise RejectedError(
                f"Zoho Books has no tax named `{code}`.",
                field="lines",
                next_step="Create the tax in Zoho Books, or correct the mapping of `lines`.",
            )
        return self._known_taxes[code]

    def _currencies(self) -> dict[str, str]:
        if self._known_currencies is None:
            named = [parsed(wire.Named, row) for row in self._client.rows("settings/currencies", "currencies", {})]
            self._known_currencies = {each.currency_code or "": each.currency_id or "" for each in named}
        return self._known_currencies
