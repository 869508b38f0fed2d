"""Sets a company up that can sell: chart of accounts, fiscal years, a tax, a category of goods, a bank, a user."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import batched

from tieout_sandbox.simulators.tryton.rpc import Rpc

USER = "tieout"
PASSWORD = "correct horse battery"
HISTORY = (2016, 2017, 2018)
"""Years whose invoices come from elsewhere, in any order of dates: a period and a sequence of numbers for each day."""
YEARS = (2025, 2026, 2027)
"""Years with months for periods and one sequence of numbers, in which no invoice comes before the last one."""
_MADE_AT_ONCE = 25  # Tryton asks about all periods of a call at once, and SQLite's parser gives up at 100
_CURRENCIES = (("USD", "$", "0.01", 2, "1"), ("EUR", "€", "0.01", 2, "0.9"), ("JPY", "¥", "1", 0, "150"))
_RECEIVABLE, _PAYABLE, _REVENUE, _EXPENSE, _CASH, _TAX = "1.2.1", "2.1.1", "4.1.1", "5.2.1", "1.1.1", "6.3.6"

# Where companies of `crm-sales-opportunities` are, beside the home country.
ABROAD = {
    "BE": "Belgium", "BR": "Brazil", "CN": "China", "DE": "Germany", "IT": "Italy", "JO": "Jordan", "JP": "Japan",
    "KE": "Kenya", "KR": "Korea", "NO": "Norway", "PA": "Panama", "PH": "Philippines", "PL": "Poland", "RO": "Romania",
}  # fmt: skip


def set_up(rpc: Rpc, today: date) -> None:
    """Fill a database that holds the modules and nothing else; this year and the next can be booked, too."""
    groups = rpc.call("model.res.group.search", [], 0, None, None)
    currency = _currencies(rpc)
    country = _countries(rpc)
    party = rpc.make("party.party", name="Seller Inc", addresses=[["create", [{"country": country}]]])
    company = rpc.make("company.company", party=party, currency=currency, timezone="UTC", cancel_invoice_out=True)
    rights = {"companies": [["add", [company]]], "company": company, "groups": [["add", groups]]}
    rpc.call("model.res.user.write", [rpc.user_id], rights)
    rpc.make("res.user", name="Tieout", login=USER, password=PASSWORD, **rights)
    rpc.work_in(company)
    _chart(rpc, company)
    for year in HISTORY:
        _number_by_day(rpc, company, _fiscal_year(rpc, company, year), year)
    for year in sorted({*YEARS, today.year, today.year + 1}):
        year_id = _fiscal_year(rpc, company, year)
        rpc.call("model.account.fiscalyear.create_period", [year_id])
    _goods(rpc, company)


def _currencies(rpc: Rpc) -> int:
    """The home currency's id."""
    made = [
        rpc.make(
            "currency.currency",
            name=code,
            code=code,
            symbol=symbol,
            rounding=Decimal(rounding),
            digits=digits,
            rates=[["create", [{"date": date(2000, 1, 1), "rate": Decimal(rate)}]]],
        )
        for code, symbol, rounding, digits, rate in _CURRENCIES
    ]
    return made[0]


def _countries(rpc: Rpc) -> int:
    """The home country's id."""
    region = {"name": "Île-de-France", "code": "FR-IDF", "type": "metropolitan region"}
    rpc.make("country.country", name="France", code="FR", code3="FRA", subdivisions=[["create", [region]]])
    rpc.call("model.country.country.create", [{"code": code, "name": name} for code, name in ABROAD.items()])
    state = {"name": "Oregon", "code": "US-OR", "type": "state"}
    return rpc.make("country.country", name="United States", code="US", code3="USA", subdivisions=[["create", [state]]])


def _chart(rpc: Rpc, company: int) -> None:
    template = rpc.first("account.account.template", ["parent", "=", None])
    rpc.run(
        "account.create_chart",
        ("", "account", {}),
        ("account", "create_account", {"company": company, "account_template": template}),
    )
    defaults = {
        "default_account_receivable": _account(rpc, _RECEIVABLE),
        "default_account_payable": _account(rpc, _PAYABLE),
    }
    rpc.call("model.account.configuration.write", [1], defaults)


def _fiscal_year(rpc: Rpc, company: int, year: int) -> int:
    """A fiscal year without periods; its id."""
    moves, invoices, credits_ = (
        rpc.make(
            "ir.sequence.strict",
            name=f"{name} {year}",
            company=company,
            prefix=prefix,
            sequence_type=rpc.first("ir.sequence.type", ["name", "=", kind]),
        )
        for name, kind, prefix in (
            ("Moves", "Account Move", f"M{year}/"),
            ("Invoices", "Invoice", f"{year}/"),
            ("Credit notes", "Invoice", f"C{year}/"),
        )
    )
    numbers = {
        "company": company,
        "out_invoice_sequence": invoices,
        "in_invoice_sequence": invoices,
        "out_credit_note_sequence": credits_,
        "in_credit_note_sequence": credits_,
    }
    return rpc.make(
        "account.fiscalyear",
        name=str(year),
        company=company,
        start_date=date(year, 1, 1),
        end_date=date(year, 12, 31),
        move_sequence=moves,
        invoice_sequences=[["create", [numbers]]],
    )


def _number_by_day(rpc: Rpc, company: int, fiscal_year: int, year: int) -> None:
    """A period for each day of a fiscal year that has none, with a sequence of its own for customer invoices.

    Tryton lets no invoice be dated before the last one of its sequence, and chooses the sequence by fiscal year and
    period: a past that is not written in the order of dates fits into days. Source: the account_invoice module, 8.2.0,
    `invoice.py` (`set_number`, `_number_sequence`), read 2026-11-22.
    """
    (numbers,) = rpc.rows(
        "account.fiscalyear.invoice_sequence",
        [["fiscalyear", "=", fiscal_year]],
        "out_credit_note_sequence",
        "in_invoice_sequence",
        "in_credit_note_sequence",
    )
    # The first that fits is taken, and the one of the whole year fits every day.
    rpc.call("model.account.fiscalyear.invoice_sequence.write", [numbers["id"]], {"sequence": 2})
    shared = {name: value for name, value in numbers.items() if name.endswith("_sequence")}
    kind = rpc.first("ir.sequence.type", ["name", "=", "Invoice"])
    for days in batched(_days(year), _MADE_AT_ONCE, strict=False):
        named = [{"company": company, "sequence_type": kind, "name": f"Invoices {day}"} for day in days]
        prefixed = [each | {"prefix": f"{day:%Y%m%d}/"} for each, day in zip(named, days, strict=True)]
        sequences = rpc.call("model.ir.sequence.strict.create", prefixed)
        spans = [
            {"name": f"{day}", "start_date": day, "end_date": day, "fiscalyear": fiscal_year, "type": "standard"}
            for day in days
        ]
        periods = rpc.call("model.account.period.create", spans)
        rows = [
            {**shared, "company": company, "period": period, "out_invoice_sequence": sequence, "sequence": 1}
            for period, sequence in zip(periods, sequences, strict=True)
        ]
        rpc.call("model.account.fiscalyear.write", [fiscal_year], {"invoice_sequences": [["create", rows]]})


def _days(year: int) -> Iterator[date]:
    day = date(year, 1, 1)
    while day.year == year:
        yield day
        day += timedelta(days=1)


def _goods(rpc: Rpc, company: int) -> None:
    """Units with fractions, a category that says the accounts, a tax that no category has, a bank, terms."""
    unit = rpc.first("product.uom", ["symbol", "=", "u"])
    rpc.call("model.product.uom.write", [unit], {"digits": 3, "rounding": 0.001})
    rpc.make(
        "product.category",
        name="Sold",
        accounting=True,
        account_revenue=_account(rpc, _REVENUE),
        account_expense=_account(rpc, _EXPENSE),
    )
    tax, cash = _account(rpc, _TAX), _account(rpc, _CASH)
    rpc.make(
        "account.tax",
        name="VAT 20",
        description="VAT 20",
        type="percentage",
        rate=Decimal("0.2"),
        invoice_account=tax,
        credit_note_account=tax,
        company=company,
    )
    journal = rpc.first("account.journal", ["type", "=", "cash"])
    rpc.make(
        "account.invoice.payment.method",
        name="Bank",
        company=company,
        journal=journal,
        credit_account=cash,
        debit_account=cash,
    )
    days = {"type": "remainder", "relativedeltas": [["create", [{"days": 30}]]]}
    rpc.make("account.invoice.payment_term", name="Net 30", lines=[["create", [days]]])


def _account(rpc: Rpc, code: str) -> int:
    return rpc.first("account.account", ["code", "=", code])
