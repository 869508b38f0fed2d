"""Both sides held against each other, as the providers themselves show them: won deals, and invoices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tieout_sandbox.stage import Stage

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Sale:
    """A won deal or an invoice, by what both have.

    Attributes:
        paid: What the customer paid so far.
    """

    number: str
    customer: str
    total: Decimal
    paid: Decimal


def differences(deals: Iterable[Sale], invoices: Iterable[Sale]) -> list[str]:
    """A line for each deal without its one invoice, each invoice without a deal, and each pair that is not equal."""
    wanted = {deal.number: deal for deal in deals}
    found: dict[str, list[Sale]] = defaultdict(list)
    for invoice in invoices:
        found[invoice.number].append(invoice)
    lines = [f"{number}: {len(some)} invoices" for number, some in found.items() if len(some) > 1]
    lines += [f"{number}: an invoice, but no won deal" for number in found.keys() - wanted.keys()]
    lines += [f"{number}: no invoice" for number in wanted.keys() - found.keys()]
    for number in wanted.keys() & found.keys():
        deal, invoice = wanted[number], found[number][0]
        lines += [
            f"{number}: {name} {getattr(deal, name)} in the CRM, {getattr(invoice, name)} in the books"
            for name in ("customer", "total", "paid")
            if getattr(deal, name) != getattr(invoice, name)
        ]
    return sorted(lines)


def deals_in_the_crm(stage: Stage, ids: Iterable[str]) -> list[Sale]:
    """Those of these deals that are won, as Act! shows them now."""
    shown = (stage.act_call("GET", f"/opportunities/{deal_id}") for deal_id in ids)
    return [
        Sale(
            number=deal["sourceId"],
            customer=deal["companies"][0]["name"],
            total=Decimal(str(deal["productTotal"])),
            paid=Decimal(str(deal["customFields"].get("amount_paid") or 0)),
        )
        for deal in shown
        if deal["status"] == "Won"
    ]


def invoices_in_the_books(stage: Stage) -> list[Sale]:
    """All of them, as QuickBooks shows them now."""
    grant = stage.books.call("POST", "/_sandbox/grant", {})
    found: list[dict[str, Any]] = []
    while True:
        query = f"SELECT * FROM Invoice STARTPOSITION {len(found) + 1} MAXRESULTS {PAGE}"
        answer = stage.books.call(
            "GET",
            f"/v3/company/{grant['realmId']}/query?query={query}",
            Authorization=f"Bearer {grant['access_token']}",
        )
        page = answer["QueryResponse"].get("Invoice", [])
        found += page
        if len(page) < PAGE:
            return [_sale(invoice) for invoice in found]


def _sale(invoice: dict[str, Any]) -> Sale:
    total = Decimal(str(invoice["TotalAmt"]))
    return Sale(invoice["DocNumber"], invoice["CustomerRef"]["name"], total, total - Decimal(str(invoice["Balance"])))
