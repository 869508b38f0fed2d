"""The operator's own end-points beside the shared ones: tokens, payments, webhook counts, totals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from tieout_sandbox.simulators.quickbooks_online.company import Company
from tieout_sandbox.simulators.quickbooks_online.errors import not_found
from tieout_sandbox.simulators.quickbooks_online.names import merge_customers
from tieout_sandbox.simulators.quickbooks_online.simulator import current, json_answer, worked
from tieout_sandbox.simulators.quickbooks_online.times import dumps
from tieout_sandbox.simulators.quickbooks_online.webhooks import Event

blueprint = Blueprint("operator", __name__, url_prefix="/_sandbox")


def _company() -> Company:
    realm = (request.get_json(silent=True) or {}).get("realm", current().settings.realms[0])
    return current().companies[realm]


@blueprint.get("/webhooks")
def webhooks() -> dict[str, int]:
    """Deliveries so far, by what became of them."""
    return current().webhooks.report()


@blueprint.post("/grant")
def grant() -> dict[str, Any]:
    """Tokens without the consent page."""
    chosen = _company()
    current().state.changed()
    return {**current().tokens.grant(chosen.realm), "realmId": chosen.realm}


@blueprint.post("/revoke")
def disconnect() -> dict[str, bool]:
    """What happens when the company's admin disconnects the app."""
    current().state.changed()
    return {"revoked": current().tokens.revoke_realm(_company().realm)}


@blueprint.post("/pay")
def pay() -> Response:
    """A real payment of an invoice, by its id or its number; of all that is open unless `amount` is given."""
    wanted = json.loads(request.get_data(), parse_float=Decimal)
    chosen = _company()
    with chosen.lock:
        return json_answer(*worked(lambda books: _pay(books, wanted), chosen))


@blueprint.post("/merge")
def merge() -> Response:
    """Two customers become one, as in QuickBooks' own pages: `loser` into `survivor`, by their ids."""
    wanted = request.get_json(silent=True) or {}
    loser, survivor = str(wanted.get("loser", "")), str(wanted.get("survivor", ""))
    chosen = _company()
    with chosen.lock:
        answer = worked(lambda company: {"Customer": merge_customers(company.books, loser, survivor)}, chosen)
    if answer[1] == HTTPStatus.OK:
        now = current().clock.now()
        current().webhooks.announce(Event(chosen.realm, "Customer", survivor, "Merge", now, merged_away=loser))
        current().state.changed()
    return json_answer(*answer)


@blueprint.get("/summary")
def summary() -> Response:
    """Per realm: how many invoices, their total and what is open; duplicate numbers."""
    return json_answer(dumps({realm: _summary(each) for realm, each in current().companies.items()}))


def _pay(company: Company, wanted: Mapping[str, Any]) -> dict[str, Any]:
    table = company.books.tables["Invoice"]
    if "doc_number" in wanted:
        found = table.with_value("DocNumber", [str(wanted["doc_number"])])
    else:
        found = table.with_value("Id", [str(wanted.get("invoice", ""))])
    if not found:
        raise not_found()
    invoice = found[0]
    amount = Decimal(str(wanted.get("amount", invoice["Balance"])))
    linked = {"TxnId": invoice["Id"], "TxnType": "Invoice"}
    payment = {
        "CustomerRef": invoice["CustomerRef"],
        "TotalAmt": amount,
        "Line": [{"Amount": amount, "LinkedTxn": [linked]}],
    }
    if "date" in wanted:
        payment["TxnDate"] = wanted["date"]
    return {"Payment": company.create("Payment", payment)}


def _summary(company: Company) -> dict[str, Any]:
    with company.lock:
        invoices = list(company.books.tables["Invoice"].records.values())
        payments = list(company.books.tables["Payment"].records.values())
        customers = len(company.books.tables["Customer"].records)
    numbers = [invoice["DocNumber"] for invoice in invoices if "DocNumber" in invoice]
    return {
        "customers": customers,
        "invoices": len(invoices),
        "invoice_total": str(sum((each["TotalAmt"] for each in invoices), Decimal(0))),
        "open_balance": str(sum((each["Balance"] for each in invoices), Decimal(0))),
        "duplicate_doc_numbers": len(numbers) - len(set(numbers)),
        "payments": len(payments),
        "payment_total": str(sum((each["TotalAmt"] for each in payments), Decimal(0))),
    }
