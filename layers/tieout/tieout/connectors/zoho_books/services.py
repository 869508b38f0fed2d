"""Between Zoho Books' words and ours, for work: projects, hours and expenses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.company import Company
from tieout.connectors.zoho_books.manifest import Settings
from tieout.connectors.zoho_books.parts import Body, own_number, shown, split_number
from tieout.domain.documents import Expense, Project, ProjectBilling, TimeEntry
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import RejectedError
from tieout.domain.records import Kind, Value

_FIXED, _BY_HOUR, _BY_PERSON = "fixed_cost_for_project", "based_on_project_hours", "based_on_staff_hours"
_CENT, _MINUTES = Decimal("0.01"), 60


def _read_project(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    project = wire.Project.model_validate(row)
    billing = ProjectBilling.FIXED if project.billing_type == _FIXED else ProjectBilling.HOURLY
    optional: dict[str, tuple[str, Value]] = {
        "billing": ("billing_type", billing.value),
        "rate": ("rate", project.rate),
        "currency": ("currency_code", project.currency_code),
        "description": ("description", split_number(project.description)[0]),
    }
    fields: dict[str, Value] = {
        "name": project.name,
        "customer": project.customer_id,
        "active": project.status != "inactive",
    }
    return project, fields | shown(project, optional)


def _read_time_entry(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    entry = wire.TimeEntry.model_validate(row)
    note, _ = split_number(entry.notes)
    hours, _, minutes = entry.log_time.partition(":")
    return entry, {
        "project": entry.project_id,
        "date": entry.log_date,
        "hours": (int(hours or 0) + Decimal(minutes or 0) / _MINUTES).quantize(_CENT, ROUND_HALF_UP),
        "task": entry.task_name,
        "note": note,
        "billable": entry.billable,
    }


def _read_expense(row: wire.Json) -> tuple[wire.Entity, dict[str, Value]]:
    expense = wire.Expense.model_validate(row)
    number, _ = split_number(expense.reference_number)
    without_tax = expense.sub_total is not None and expense.inclusive is False
    fields: dict[str, Value] = {
        "date": expense.date,
        "currency": expense.currency_code,
        "amount": (expense.sub_total if without_tax else expense.total) or Decimal(0),
        "number": number,
        "customer": expense.customer_id,
    }
    optional: dict[str, tuple[str, Value]] = {
        "account": ("account_id", expense.account_id),
        "paid_through": ("paid_through_account_id", expense.paid_through_account_id),
        "project": ("project_id", expense.project_id),
        "description": ("description", expense.description),
        "tax_code": ("tax_id", expense.tax_id),
        "tax_included": ("inclusive", expense.inclusive),
        "billable": ("billable", expense.billable),
    }
    return expense, fields | shown(expense, optional)


SERVICE_READERS: Mapping[Kind, Callable[[wire.Json], tuple[wire.Entity, dict[str, Value]]]] = {
    Kind.PROJECT: _read_project,
    Kind.TIME_ENTRY: _read_time_entry,
    Kind.EXPENSE: _read_expense,
}


def write_service(
    effect: Effect,
    document: Project | TimeEntry | Expense,
    company: Company,
    settings: Settings,
    current: wire.Json | None,
) -> wire.Json:
    """What creates the document, or with `current` (the record as it stands) updates it; see `translate.to_body`."""
    match document:
        case Project():
            return _write_project(effect, document, company, settings, current)
        case TimeEntry():
            return _write_time_entry(effect, document, company, settings)
        case Expense():
            return _write_expense(effect, document, company, settings)


def _write_project(
    effect: Effect, document: Project, company: Company, settings: Settings, current: wire.Json | None
) -> wire.Json:
    """Zoho asks for who works on a new project, and an update says one of them again.

    Our mark stands at the end of the description, as lists show nothing else of ours.
    Source: tests/data/zoho_books, CreateProject, read 2026-11-22.
    """
    body: wire.Json = {"project_name": document.name, "customer_id": document.customer}
    by_hour = _BY_HOUR if document.rate is not None else _BY_PERSON
    body["billing_type"] = _FIXED if document.billing is ProjectBilling.FIXED else by_hour
    if document.rate is not None:
        body["rate"] = format(document.rate, "f")
    if current is None or "description" in document.model_fields_set:
        body["description"] = " ".join(filter(None, (document.description, own_number(effect.reference))))
    if current is not None:
        users = wire.Project.model_validate(current).users
        return body | {"user_id": users[0].id if users else company.own_user_id()}
    if document.currency is not None:
        company.refuse_other_currency(document.customer, document.currency)
    return body | {"user_id": company.own_user_id(), "tasks": [{"task_name": settings.task}]}


def _write_time_entry(effect: Effect, document: TimeEntry, company: Company, settings: Settings) -> wire.Json:
    """Our mark stands at the end of the notes, as hours have no reference number and no field of ours."""
    log_time = _log_time(document.hours)
    project = company.project(document.project)
    body: wire.Json = {
        "project_id": project.id,
        "task_id": company.task_id(project, document.task or settings.task),
        "user_id": company.member_id(project, document.person),
        "log_date": document.date,
        "log_time": log_time,
        "notes": " ".join(filter(None, (document.note, own_number(effect.reference)))),
    }
    return body | ({"is_billable": document.billable} if document.billable is not None else {})


def _log_time(hours: Decimal) -> str:
    """`01:15` for 1.25 hours.

    Raises:
        RejectedError: If the hours are not what a number of minutes is in hundredths of an hour.
    """
    minutes = int((hours * _MINUTES).quantize(Decimal(1), ROUND_HALF_UP))
    if (Decimal(minutes) / _MINUTES).quantize(_CENT, ROUND_HALF_UP) != hours:
        raise RejectedError(
            f"Zoho Books counts minutes, and {hours:f} hours are no number of minutes.",
            field="hours",
            next_step="Give the hours with two decimals: 0.33 for 20 minutes, 1.25 for an hour and a quarter.",
        )
    return f"{minutes // _MINUTES:02}:{minutes % _MINUTES:02}"


def _write_expense(effect: Effect, document: Expense, company: Company, settings: Settings) -> wire.Json:
    paid_through = document.paid_through or settings.expense_account_id
    for field, account in (("account", document.account), ("paid_through", paid_through)):
        if not account.isdigit():
            raise RejectedError(
                "An expense's account, and the one that it was paid from, are named by their ids in Zoho Books.",
                field=field,
                next_step="Put the account's id in the mapping, by a `lookup` of the category: the digits at the end "
                "of its address in Zoho Books. `expense_account_id` of the connection says what they are paid from.",
            )
    creates = effect.operation is Operation.CREATE
    body = Body(document, creates=creates)
    body.text("description", "description")
    body.text("customer", "customer_id")
    body.text("project", "project_id")
    body.value("billable", "is_billable")
    body.value("tax_included", "is_inclusive_tax")
    if document.tax_code is not None:
        body.json["tax_id"] = company.tax_id(document.tax_code, "tax_code")
    if creates:
        body.json["currency_id"] = company.currency_id(document.currency)
    if creates or body.has("number"):
        body.json["reference_number"] = " ".join(filter(None, (document.number, own_number(effect.reference))))
    return {
        "date": document.date,
        "account_id": document.account,
        "paid_through_account_id": paid_through,
        "amount": document.amount,
        **body.json,
    }
