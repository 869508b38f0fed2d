"""Lists: which columns a row shows, what can be asked for, in which order.

Source: the lists' parameters in tests/data/zoho_books; that rows show no lines, addresses or custom fields:
www.zoho.com/books/api/v3, read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tieout_sandbox.simulators.zoho_books.errors import invalid
from tieout_sandbox.simulators.zoho_books.settings import Settings

type Row = dict[str, Any]

_STAMPS = ("status", "created_time", "last_modified_time")
_SALES = (
    "customer_id",
    "customer_name",
    "date",
    "reference_number",
    "currency_id",
    "currency_code",
    "total",
    "balance",
)
SHOWN: Mapping[str, tuple[str, ...]] = {
    "contacts": (
        "contact_id", "contact_name", "company_name", "contact_type", "website", "first_name", "last_name", "email",
        "phone", "currency_id", "currency_code", "payment_terms", "payment_terms_label", *_STAMPS,
    ),
    "items": (
        "item_id", "name", "sku", "description", "rate", "product_type", "item_type", "account_id", "is_taxable",
        "purchase_rate", *_STAMPS,
    ),
    "invoices": ("invoice_id", "invoice_number", "due_date", *_SALES, *_STAMPS),
    "estimates": ("estimate_id", "estimate_number", "expiry_date", *_SALES, *_STAMPS),
    "creditnotes": ("creditnote_id", "creditnote_number", *_SALES, *_STAMPS),
    "customerpayments": (
        "payment_id", "payment_number", "customer_id", "customer_name", "date", "reference_number", "amount",
        "payment_mode", "currency_code", *_STAMPS,
    ),
    "projects": (
        "project_id", "project_name", "customer_id", "customer_name", "description", "status", "billing_type", "rate",
        "created_time",
    ),
    "timeentries": (
        "time_entry_id", "project_id", "project_name", "customer_id", "task_id", "task_name", "user_id", "user_name",
        "log_date", "log_time", "is_billable", "notes", "created_time",
    ),
    "expenses": (
        "expense_id", "date", "description", "currency_id", "currency_code", "total", "is_billable",
        "reference_number", "customer_id", *_STAMPS,
    ),
}  # fmt: skip
_TEXTS: Mapping[str, frozenset[str]] = {
    "contacts": frozenset({"contact_name", "company_name", "first_name", "last_name", "email", "phone"}),
    "items": frozenset({"name", "description"}),
    "invoices": frozenset({"invoice_number", "reference_number", "customer_name"}),
    "estimates": frozenset({"estimate_number", "reference_number", "customer_name"}),
    "creditnotes": frozenset({"creditnote_number", "reference_number", "customer_name"}),
    "customerpayments": frozenset({"reference_number", "customer_name", "payment_mode"}),
    "projects": frozenset(),
    "timeentries": frozenset(),
    "expenses": frozenset({"description", "reference_number", "customer_name"}),
}
_EXACT = frozenset({"contact_type", "customer_id", "date", "status", "project_id", "user_id"})
_SORTED: Mapping[str, frozenset[str]] = {
    "contacts": frozenset({"contact_name", "first_name", "last_name", "email", "created_time", "last_modified_time"}),
    "items": frozenset({"name", "rate"}),
    "invoices": frozenset({"customer_name", "invoice_number", "date", "due_date", "total", "balance", "created_time"}),
    "estimates": frozenset({"customer_name", "estimate_number", "date", "total", "created_time"}),
    "creditnotes": frozenset({"customer_name", "creditnote_number", "balance", "total", "date", "created_time"}),
    "customerpayments": frozenset({"date", "amount", "created_time"}),
    "projects": frozenset({"project_name", "customer_name", "rate", "created_time"}),
    "timeentries": frozenset({"project_name", "task_name", "user_name", "log_date"}),
    "expenses": frozenset({"date", "account_name", "total", "reference_number", "customer_name", "created_time"}),
}
_DAYS = frozenset({"from_date", "to_date"})
_OTHERS = frozenset({"organization_id", "page", "per_page", "sort_column", "sort_order", "filter_by", "search_text"})


def page_of(module: str, rows: Iterable[Row], asked: Mapping[str, str], settings: Settings) -> Row:
    """One page of the list, with where it stands.

    Raises:
        ZohoError: For a parameter that the list does not know.
    """
    number, size = _number(asked, "page", 1), min(_number(asked, "per_page", 200), settings.page_rows_max)
    found = [row for row in rows if all(_fits(module, row, name, value, settings) for name, value in asked.items())]
    column = asked.get("sort_column", "created_time")
    if "sort_column" in asked and column not in _SORTED[module]:
        raise invalid("sort_column")
    order = asked.get("sort_order", "A")
    found.sort(key=lambda row: _sortable(row.get(column)), reverse=order == "D")
    start = (number - 1) * size
    shown = [{name: row[name] for name in SHOWN[module] if name in row} for row in found[start : start + size]]
    context = {"page": number, "per_page": size, "has_more_page": start + size < len(found)}
    rows_name = "time_entries" if module == "timeentries" else module
    return {rows_name: shown, "page_context": {**context, "sort_column": column, "sort_order": order}}


def _fits(module: str, row: Row, name: str, value: str, settings: Settings) -> bool:  # noqa: PLR0911 - one a parameter
    column, variant = name, ""
    for ending in ("_startswith", "_contains"):
        if name.endswith(ending):
            column, variant = name.removesuffix(ending), ending
    if column in _TEXTS[module]:
        shown, wanted = str(row.get(column) or "").casefold(), value.casefold()
        return shown.startswith(wanted) if variant == "_startswith" else wanted in shown if variant else shown == wanted
    if name in _DAYS and module == "timeentries":
        return row["log_date"] >= value if name == "from_date" else bool(row["log_date"] <= value)
    if name == "filter_by":
        wanted = value.removeprefix("Status.").removeprefix("Date.").lower()
        return wanted == "all" or row.get("status") == wanted
    if name == "last_modified_time":
        if module not in settings.modified_filter_in:
            return True
        return datetime.fromisoformat(row["last_modified_time"]) >= datetime.fromisoformat(value)
    if name in _EXACT and name in SHOWN[module]:
        return str(row.get(name)) == value
    if name in _OTHERS:
        return True
    raise invalid(name)


def _number(asked: Mapping[str, str], name: str, default: int) -> int:
    text = asked.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise invalid(name)
    return int(text)


def _sortable(value: object) -> tuple[bool, Any]:
    return (value is not None, value.casefold() if isinstance(value, str) else value if value is not None else 0)
