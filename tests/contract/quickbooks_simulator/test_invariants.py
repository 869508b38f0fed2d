"""Whatever is done to a company's records, its sums agree."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.quickbooks_online.company import Company
from tieout_sandbox.simulators.quickbooks_online.errors import FaultError
from tieout_sandbox.simulators.quickbooks_online.settings import Settings
from tieout_sandbox.simulators.quickbooks_online.times import dumps

AMOUNTS = st.sampled_from([Decimal(text) for text in ("0", "0.01", "49.99", "50", "100", "100.01", "250")])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["invoice", "credit", "change", "pay", "pay", "pay", "void", "delete", "void payment", "delete payment"]
        ),
        st.integers(0, 2),
        AMOUNTS,
    ),
    min_size=4,
    max_size=25,
)


def new_company() -> Company:
    return Company("1", Settings(), SimulatedClock(), lambda *_: None)


def line(amount: Decimal) -> dict[str, Any]:
    return {"DetailType": "SalesItemLineDetail", "Amount": amount, "SalesItemLineDetail": {"ItemRef": {"value": "1"}}}


def pick(company: Company, entity: str, number: int) -> dict[str, Any] | None:
    records = list(company.books.tables[entity].records.values())
    return records[number % len(records)] if records else None


def do(company: Company, step: str, number: int, amount: Decimal) -> None:
    customer = {"value": str(number % 2 + 1)}
    if step in {"invoice", "credit"}:
        entity = "Invoice" if step == "invoice" else "CreditMemo"
        company.create(entity, {"CustomerRef": customer, "Line": [line(amount)]})
        return
    record = pick(company, "Payment" if step.endswith("payment") else "Invoice", number)
    if record is None:
        return
    key = {"Id": record["Id"], "SyncToken": record["SyncToken"]}
    match step:
        case "change":
            company.update("Invoice", {**key, "sparse": True, "Line": [line(amount)]})
        case "pay":
            company.create("Payment", payment(company, record, amount))
        case "void" | "delete":
            getattr(company, step)("Invoice", key)
        case _:
            getattr(company, step.removesuffix(" payment"))("Payment", key)


def payment(company: Company, invoice: dict[str, Any], amount: Decimal) -> dict[str, Any]:
    """Pays the invoice, with all of a credit of the same customer beside the money if there is one."""
    lines = [{"Amount": amount, "LinkedTxn": [{"TxnId": invoice["Id"], "TxnType": "Invoice"}]}]
    money = amount
    for credit in company.books.tables["CreditMemo"].records.values():
        left = credit["RemainingCredit"]
        if credit["CustomerRef"]["value"] == invoice["CustomerRef"]["value"] and 0 < left <= amount:
            lines.append({"Amount": left, "LinkedTxn": [{"TxnId": credit["Id"], "TxnType": "CreditMemo"}]})
            money -= left
            break
    return {"CustomerRef": invoice["CustomerRef"], "TotalAmt": money + 1, "Line": lines}


def check(company: Company) -> None:
    tables = {name: list(table.records.values()) for name, table in company.books.tables.items()}
    taken: Counter[tuple[str, str]] = Counter()
    for paid in tables["Payment"]:
        used = Decimal(0)
        for each in paid["Line"]:
            (linked,) = each["LinkedTxn"]
            taken[linked["TxnType"], linked["TxnId"]] += each["Amount"]
            used += each["Amount"] if linked["TxnType"] == "Invoice" else -each["Amount"]
        assert paid["UnappliedAmt"] == paid["TotalAmt"] - used >= 0
    owed: Counter[str] = Counter()
    for entity, sign in (("Invoice", 1), ("CreditMemo", -1)):
        for form in tables[entity]:
            assert form["Balance"] == form["TotalAmt"] - taken.pop((entity, form["Id"]), Decimal(0)) >= 0
            owed[form["CustomerRef"]["value"]] += sign * form["Balance"]
    assert not taken, "a payment of something that is gone"
    for paid in tables["Payment"]:
        owed[paid["CustomerRef"]["value"]] -= paid["UnappliedAmt"]
    for customer in tables["Customer"]:
        assert customer["Balance"] == owed[customer["Id"]]


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_sums_agree_after_every_step_and_after_a_restart(steps: list[tuple[str, int, Decimal]]) -> None:
    company = new_company()
    company.fill()
    for name in ("Acme", "Other"):
        customer = company.create("Customer", {"DisplayName": name})
        company.create("Invoice", {"CustomerRef": {"value": customer["Id"]}, "Line": [line(Decimal(100))]})
    for step, number, amount in steps:
        before = dumps(company.snapshot()["records"])
        try:
            do(company, step, number, amount)
        except FaultError:
            assert dumps(company.snapshot()["records"]) == before, "a refused write changed something"
        check(company)
    again = new_company()
    again.restore(json.loads(dumps(company.snapshot()), parse_float=Decimal))
    assert again.snapshot() == company.snapshot()
    assert {key: held for key, held in again.books.applied.items() if held} == {
        key: held for key, held in company.books.applied.items() if held
    }
