"""Both sides held against each other, as the providers themselves show them: won deals, and invoices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tieout_sandbox.sides import Deal, Invoice


def differences(deals: Iterable[Deal], invoices: Iterable[Invoice]) -> list[str]:
    """A line for each deal without its one invoice, each invoice without a deal, and each pair that is not equal."""
    wanted = {deal.number: deal for deal in deals}
    found: dict[str, list[Invoice]] = defaultdict(list)
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
