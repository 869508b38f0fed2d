"""Somebody whose deals stand in a spreadsheet: a few won ones, for tests that need no more of a CRM."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from tieout_sandbox.sides import Deal, Operator

_PRICE = Decimal("120.50")
_PRODUCT = "Consulting"


class Spreadsheets:
    """Implements `tieout_sandbox.sides.WonDeals`: as many deals as are asked for, each of another customer."""

    def __init__(self, connection: str = "files", deals: int | None = None) -> None:
        self.connection = connection
        self._count = deals or 1
        self._folder = Path()

    @contextmanager
    def start(self, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:  # noqa: ARG002 - nothing runs
        """Three files: customers, products and deals."""
        self._folder = folder
        numbers = range(1, self._count + 1)
        customers = [(f"Buyer {one}", f"Bea {one}", f"buyer-{one}@example.com", "Springfield", "US") for one in numbers]
        deals = [
            (one.number, one.name, one.customer, "Won", one.total, "2026-01-05", _PRODUCT) for one in self._deals()
        ]
        self._write("customers", ("Company", "Name", "E-mail Address", "Business City", "Business Country"), customers)
        self._write("products", ("Product", "SKU", "Price"), [(_PRODUCT, "C1", _PRICE)])
        titles = ("Opportunity ID", "Opportunity Name", "Account Name", "Stage", "Amount", "Close Date", "Product")
        self._write("deals", titles, deals)
        yield

    def document(self, operator: Operator) -> str:  # noqa: ARG002 - it has no address
        """The connection document."""
        return f"kind: connection\nid: {self.connection}\nprovider: files\n"

    def connect(self, operator: Operator) -> None:
        """Import them, what is named before what names it."""
        operator.tieout("connect", self.connection, "--secrets-file", "-", given="{}")
        for name, kind in (("customers", "company"), ("products", "product"), ("deals", "deal")):
            file = str(self._folder / f"{name}.csv")
            operator.tieout("import", file, "--connection", self.connection, "--as", kind, "--yes")

    def won(self, count: int) -> list[Deal]:
        """The first won deals."""
        return self._deals()[:count]

    def deal(self, deal_id: str) -> Deal:
        """The deal; nothing is written back to it."""
        (found,) = [one for one in self._deals() if one.id == deal_id]
        return found

    def _deals(self) -> list[Deal]:
        return [
            Deal(f"D-{one}", f"{_PRODUCT} for Buyer {one}", f"D-{one}", f"Buyer {one}", one * _PRICE)
            for one in range(1, self._count + 1)
        ]

    def _write(self, name: str, titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        with (self._folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([titles, *rows])


DEALS = Spreadsheets
