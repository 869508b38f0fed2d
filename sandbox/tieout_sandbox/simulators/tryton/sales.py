"""Somebody who sells with Tryton: a few won opportunities, for tests that need no more of a CRM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from tieout_sandbox.sides import Deal
from tieout_sandbox.simulators.tryton.rpc import Rpc
from tieout_sandbox.simulators.tryton.seed import PASSWORD, USER
from tieout_sandbox.simulators.tryton.server import DATABASE
from tieout_sandbox.simulators.tryton.side import Tryton

_PRICE = Decimal("120.50")
_WON_ON = date(2026, 1, 5)
_PAID = "Amount paid: "


class Sales(Tryton):
    """Implements `tieout_sandbox.sides.WonDeals`: as many opportunities as are asked for, each of another customer."""

    def __init__(self, connection: str = "tryton", deals: int | None = None) -> None:
        super().__init__(connection)
        self._count = deals or 1

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """A server of its own, on which these were sold."""
        with super().start(folder, environment):
            self._rpc = Rpc(urlsplit(self.simulator.url).port or 0, DATABASE, USER, PASSWORD)
            company = self._rpc.call("model.res.user.get_preferences", True)["company"]
            self._rpc.work_in(company)
            self._sell(company)
            yield

    def won(self, count: int) -> list[Deal]:
        """The first won opportunities, without what was written back."""
        rows = self._rpc.rows(
            "sale.opportunity", [["state", "=", "won"]], "number", "description", "party.name", "amount"
        )
        return [
            Deal(str(row["id"]), row["description"], row["number"], row["party."]["name"], row["amount"])
            for row in rows[:count]
        ]

    def deal(self, deal_id: str) -> Deal:
        """The opportunity now, with what its notes say is paid."""
        (deal,) = [one for one in self.won(self._count) if one.id == deal_id]
        notes = self._rpc.rows("ir.note", [["resource", "=", f"sale.opportunity,{deal_id}"]], "message")
        said = [line for note in notes for line in note["message"].splitlines() if line.startswith(_PAID)]
        paid = Decimal(said[-1].removeprefix(_PAID)) if said else Decimal(0)
        return Deal(deal.id, deal.name, deal.number, deal.customer, deal.total, paid)

    def _sell(self, company: int) -> None:
        make, first = self._rpc.make, self._rpc.first
        unit = first("product.uom", ["symbol", "=", "u"])
        template = make(
            "product.template",
            name="Consulting",
            type="service",
            list_price=_PRICE,
            default_uom=unit,
            salable=True,
            sale_uom=unit,
            account_category=first("product.category"),
            products=[["create", [{}]]],
        )
        product = first("product.product", ["template", "=", template])
        seller = make("company.employee", party=make("party.party", name="A seller"), company=company)
        country = first("country.country", ["code", "=", "US"])
        deals = []
        for number in range(self._count):
            email = {"type": "email", "value": f"buyer-{number}@example.com"}
            party = make(
                "party.party",
                name=f"Buyer {number}",
                addresses=[["create", [{"city": "Springfield", "country": country}]]],
                contact_mechanisms=[["create", [email]]],
            )
            quantity = number + 1
            deal = make(
                "sale.opportunity",
                party=party,
                address=first("party.address", ["party", "=", party]),
                company=company,
                employee=seller,
                description=f"Consulting for Buyer {number}",
                start_date=_WON_ON,
                end_date=_WON_ON,
                amount=quantity * _PRICE,
                lines=[["create", [{"product": product, "quantity": float(quantity), "unit": unit}]]],
            )
            deals.append(deal)
        # An opportunity is won once its sale is confirmed; nobody may say so by hand.
        for button in ("opportunity", "convert"):
            self._rpc.call(f"model.sale.opportunity.{button}", deals)
        sales = [row["id"] for row in self._rpc.rows("sale.sale", [["origin", "like", "sale.opportunity,%"]], "number")]
        for button in ("quote", "confirm"):
            self._rpc.call(f"model.sale.sale.{button}", sales)


DEALS = Sales
