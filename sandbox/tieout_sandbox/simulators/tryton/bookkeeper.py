"""Somebody who works in Tryton itself: pays invoices, changes them, closes periods, and tells what the books hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import batched
from typing import Any

from tieout_sandbox.simulators.tryton.rpc import Rpc
from tieout_sandbox.simulators.tryton.seed import USER

_PERIODS_AT_ONCE = 25  # Tryton asks about all of them in one query, nested too deeply if they are hundreds
_FIELDS = (
    *("number", "reference", "party.name", "invoice_date", "currency.code", "state"),
    *("total_amount", "amount_to_pay"),
)


class NoSuchInvoiceError(Exception):
    """There is no invoice of this number; the message names it."""


@dataclass(frozen=True, slots=True)
class Booked:
    """A customer invoice as Tryton itself has it; a credit note has a negative total.

    Attributes:
        number: What its writer calls it, which stands in its reference before a mark in brackets; else Tryton's own.
        ledger_number: Tryton's own; empty before it is posted.
        reference: Whole, with what stands in brackets.
        state: `draft`, `validated`, `posted`, `paid` or `cancelled`.
    """

    id: int
    number: str
    ledger_number: str
    reference: str
    party: str
    date: date | None
    currency: str
    total: Decimal
    open: Decimal
    state: str

    @property
    def paid(self) -> Decimal:
        """What came in; 0 before it is posted and after it was cancelled."""
        return self.total - self.open if self.state in {"posted", "paid"} else Decimal(0)


class Bookkeeper:
    """The deeds.

    Args:
        rpc: Signed in as somebody who may do all of them, and working in the company.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def invoices(self) -> list[Booked]:
        """All of them, in the order in which they were written."""
        return [_booked(row) for row in self._rpc.rows("account.invoice", [["type", "=", "out"]], *_FIELDS)]

    def invoice(self, number: str) -> Booked:
        """The invoice that its writer calls so, or that Tryton does.

        Raises:
            NoSuchInvoiceError: If there is none, or several.
        """
        called = ["OR", ["number", "=", number], ["reference", "=", number], ["reference", "like", f"{number} [%"]]
        rows = self._rpc.rows("account.invoice", [["type", "=", "out"], called], *_FIELDS)
        found = [one for one in map(_booked, rows) if number in (one.number, one.ledger_number)]
        if len(found) != 1:
            raise NoSuchInvoiceError(f"{len(found)} invoices have the number {number}")
        return found[0]

    def pay(self, number: str, amount: Decimal | None, on: date) -> Booked:
        """Somebody pays so much of an invoice, or all that is open; the invoice as it is then.

        Raises:
            NoSuchInvoiceError, RpcError: If there is none, or Tryton refuses it.
        """
        invoice = self.invoice(number)
        self._rpc.pay(invoice.id, invoice.open if amount is None else amount, on)
        return self.invoice(number)

    def remark(self, number: str, text: str) -> None:
        """Change the comment of an invoice, which is what a posted one lets be changed.

        Raises:
            NoSuchInvoiceError: If there is none.
        """
        self._rpc.call("model.account.invoice.write", [self.invoice(number).id], {"comment": text})

    def close_until(self, day: date) -> int:
        """Close all periods that end on this day or before; how many it were."""
        return self._turn("close", [["state", "=", "open"], ["end_date", "<=", day]])

    def reopen(self) -> int:
        """Open all closed periods again; how many it were."""
        return self._turn("reopen", [["state", "=", "closed"]])

    def _turn(self, button: str, domain: list[Any]) -> int:
        periods = [row["id"] for row in self._rpc.rows("account.period", domain, "state")]
        for some in batched(periods, _PERIODS_AT_ONCE, strict=False):
            self._rpc.call(f"model.account.period.{button}", list(some))
        return len(periods)

    def let_in(self, *, active: bool) -> None:
        """Switch the user of Tieout on or off, which ends its sessions."""
        (user,) = self._rpc.rows("res.user", [["login", "=", USER], ["active", "in", [True, False]]], "login")
        self._rpc.call("model.res.user.write", [user["id"]], {"active": active})

    def summary(self) -> dict[str, Any]:
        """Counts, totals and what is open of what is posted or paid, drafts, duplicate references."""
        everything = self.invoices()
        standing = [one for one in everything if one.state in {"posted", "paid"}]
        return {
            "customers": self._rpc.call("model.party.party.search_count", []),
            "items": self._rpc.call("model.product.product.search_count", []),
            "invoices": sum(one.total >= 0 for one in standing),
            "credit_notes": sum(one.total < 0 for one in standing),
            "invoice_total": str(sum((one.total for one in standing), Decimal(0))),
            "open_balance": str(sum((one.open for one in standing), Decimal(0))),
            "drafts": sum(one.state in {"draft", "validated"} for one in everything),
            "duplicate_references": _repeated(Counter(one.reference for one in everything if one.reference)),
        }


def _repeated(counts: Mapping[str, int]) -> int:
    return sum(count - 1 for count in counts.values())


def _booked(row: Mapping[str, Any]) -> Booked:
    reference = row["reference"] or ""
    number = row["number"] or ""
    return Booked(
        id=row["id"],
        number=reference.partition(" [")[0] if " [" in reference else number,
        ledger_number=number,
        reference=reference,
        party=row["party."]["name"],
        date=row["invoice_date"],
        currency=row["currency."]["code"],
        total=row["total_amount"],
        open=row["amount_to_pay"],
        state=row["state"],
    )
