"""The organisation's records and the rules that Zoho keeps over them.

Source: the operations' descriptions in tests/data/zoho_books and www.zoho.com/books/api/v3, read 2026-11-22. Our own
choices, where neither says: item names are unique; a payment of a draft is refused; an edited paid invoice may not fall
below what was paid; rates have up to six decimals, and a line's total is rounded half up to cents.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.zoho_books.errors import ZohoError, exists, invalid, missing, not_now
from tieout_sandbox.simulators.zoho_books.lists import Row
from tieout_sandbox.simulators.zoho_books.settings import MODULES, Settings

KEYS: Mapping[str, str] = {
    "contacts": "contact_id",
    "items": "item_id",
    "invoices": "invoice_id",
    "estimates": "estimate_id",
    "creditnotes": "creditnote_id",
    "customerpayments": "payment_id",
    "projects": "project_id",
    "timeentries": "time_entry_id",
    "expenses": "expense_id",
}
TITLES: Mapping[str, str] = {
    "contacts": "Contact",
    "items": "Item",
    "invoices": "Invoice",
    "estimates": "Estimate",
    "creditnotes": "Credit Note",
    "customerpayments": "Payment",
    "projects": "Project",
    "timeentries": "Time Entry",
    "expenses": "Expense",
}
_CENT, _NIL = Decimal("0.01"), Decimal(0)
_FIRST_ID = 460000000026000
_LAST_MINUTE = 59
_LENGTHS = {"contact_name": 200, "company_name": 200, "name": 100, "sku": 100, "invoice_number": 100}
_LENGTHS |= {"creditnote_number": 100, "reference_number": 100, "description": 2000}
_LENGTHS |= {"estimate_number": 100, "project_name": 100, "notes": 500}
_BILLING = ("fixed_cost_for_project", "based_on_project_hours", "based_on_staff_hours", "based_on_task_hours")
_PERSON = ("first_name", "last_name", "email", "phone")
_COPIED: Mapping[str, tuple[str, ...]] = {
    "contacts": (
        "contact_name", "company_name", "contact_type", "website", "notes", "payment_terms", "payment_terms_label",
        "billing_address", "shipping_address", "gst_no", "vat_reg_no", "tax_reg_no",
    ),
    "items": (
        "name", "sku", "description", "rate", "purchase_rate", "product_type", "item_type", "account_id", "is_taxable",
    ),
    "invoices": (
        "customer_id", "invoice_number", "reference_number", "date", "due_date", "payment_terms", "payment_terms_label",
        "notes", "discount", "discount_type", "is_discount_before_tax",
    ),
    "creditnotes": (
        "customer_id", "creditnote_number", "reference_number", "date", "notes", "discount", "discount_type",
        "is_discount_before_tax",
    ),
    "estimates": (
        "customer_id", "estimate_number", "reference_number", "date", "expiry_date", "notes", "discount",
        "discount_type", "is_discount_before_tax",
    ),
    "projects": ("project_name", "customer_id", "description", "billing_type", "rate"),
    "timeentries": ("project_id", "task_id", "user_id", "log_date", "log_time", "is_billable", "notes"),
    "expenses": (
        "account_id", "date", "amount", "paid_through_account_id", "tax_id", "is_inclusive_tax", "is_billable",
        "reference_number", "description", "customer_id", "project_id",
    ),
    "customerpayments": (
        "customer_id", "payment_mode", "amount", "date", "reference_number", "account_id", "description",
    ),
}  # fmt: skip


class Books:
    """One organisation. Whoever calls holds `lock`."""

    def __init__(self, settings: Settings, clock: Clock, announce: Callable[[str, str, str, datetime], None]) -> None:
        self.settings = settings
        self.clock = clock
        self.lock = threading.RLock()
        self.tables: dict[str, dict[str, Row]] = {module: {} for module in MODULES}
        self._announce = announce
        self._last_id = _FIRST_ID
        self._numbers = {"estimates": 0, "invoices": 0, "customerpayments": 0}

    def snapshot(self) -> dict[str, Any]:
        """What `restore` needs."""
        with self.lock:
            return copy.deepcopy({"tables": self.tables, "last_id": self._last_id, "numbers": self._numbers})

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on with a former run's records."""
        self.tables = {module: saved["tables"].get(module, {}) for module in MODULES}
        self._last_id, self._numbers = saved["last_id"], {**self._numbers, **saved["numbers"]}

    def currencies(self) -> list[Row]:
        """The currencies; the first is the home currency."""
        codes = enumerate(self.settings.currencies)
        return [
            {"currency_id": str(460000000000097 + n), "currency_code": code, "price_precision": 2} for n, code in codes
        ]

    def taxes(self) -> list[Row]:
        """The taxes."""
        named = enumerate(self.settings.taxes.items())
        return [
            {"tax_id": str(460000000001000 + n), "tax_name": name, "tax_percentage": percent, "tax_type": "tax"}
            for n, (name, percent) in named
        ]

    def users(self) -> list[Row]:
        """The users; the first is the one that connected us."""
        named = enumerate(self.settings.users.items())
        return [
            {"user_id": str(460000000002000 + n), "name": name, "email": email, "is_current_user": n == 0}
            for n, (name, email) in named
        ]

    # Reading

    def one(self, module: str, key: str) -> Row:
        """A record.

        Raises:
            ZohoError: If it is not there.
        """
        row = self.tables[module].get(key)
        if row is None:
            raise missing(TITLES[module])
        return row

    def payments_of(self, invoice_id: str) -> list[Row]:
        """The payments of an invoice."""
        self.one("invoices", invoice_id)
        return [
            {"payment_id": row["payment_id"], "invoice_id": invoice_id, "date": row["date"], "amount": applied}
            for row in self.tables["customerpayments"].values()
            if (applied := _applied(row, invoice_id))
        ]

    # Writing

    def upsert(
        self, module: str, body: Row, field: str, value: str, *, creates: bool, own_number: bool
    ) -> tuple[Row, bool]:
        """The record with this value in the unique field, changed; or a new one, and True.

        Raises:
            ZohoError: If the field is not there, or there is no such record and none may be made.
        """
        if field != self.settings.unique_field or module not in self.settings.unique_field_in:
            raise ZohoError(15, f"Invalid custom field {field} passed as unique identifier.")
        rows = self.tables[module].values() if self.settings.upserts else ()
        found = next((row for row in rows if row["custom_field_hash"].get(field) == value), None)
        if found is not None:
            return self.update(module, found[KEYS[module]], body), False
        if not creates:
            raise missing(TITLES[module])
        given = [each for each in body.get("custom_fields") or [] if each.get("api_name") != field]
        fields = [*given, {"api_name": field, "value": value}]
        return self.create(module, {**body, "custom_fields": fields}, own_number=own_number), True

    def create(self, module: str, body: Row, *, own_number: bool = False) -> Row:
        """A new record.

        Raises:
            ZohoError: If a rule forbids it.
        """
        row: Row = {"custom_fields": [], "custom_field_hash": {}}
        self._WRITERS[module](self, row, body, own_number)
        key = self._new_id()
        row |= {KEYS[module]: key, "created_time": self._now()} | self._stamp(module)
        self.tables[module][key] = row
        self._applied_now(module, row)
        self._tell(module, key, "created")
        return row

    def update(self, module: str, key: str, body: Row) -> Row:
        """A changed record: what the body does not name stays, but lines and persons are complete.

        Raises:
            ZohoError: If a rule forbids it.
        """
        standing = self.one(module, key)
        row = copy.deepcopy(standing)
        self._WRITERS[module](self, row, body, True)
        if module == "customerpayments":
            self._unapply(standing)
        standing.clear()
        standing.update(row | self._stamp(module))
        self._applied_now(module, standing)
        self._tell(module, key, "edited")
        return standing

    def act(self, module: str, key: str, action: str) -> None:
        """Move a record to another state.

        Raises:
            ZohoError: If its state does not allow it.
        """
        row = self.one(module, key)
        if module in {"contacts", "items", "projects"} and action in {"active", "inactive"}:
            row["status"] = action
        elif module == "estimates" and action.removeprefix("status/") in {"sent", "accepted", "declined"}:
            self._take(row, action.removeprefix("status/"))
        elif module == "invoices" and action == "status/sent":
            self._send(row)
        elif module == "invoices" and action == "status/void":
            self._void(row)
        elif module == "invoices" and action == "status/draft" and row["status"] == "void":
            row["status"] = "draft"
        elif module == "creditnotes" and action == "status/void":
            row |= {"status": "void", "balance": _NIL}
        else:
            raise not_now(f"{TITLES[module]} cannot be moved to {action}.")
        row |= self._stamp(module)
        self._tell(module, key, "edited")

    def add_task(self, project: str, body: Row) -> Row:
        """A new task of a project."""
        name = str(body.get("task_name") or "")
        if not name:
            raise invalid("task_name")
        task = {"task_id": self._new_id(), "task_name": name, "status": "active"}
        self.one("projects", project)["tasks"].append(task)
        return task

    def add_users(self, project: str, body: Row) -> list[Row]:
        """The users of a project, with those that the body names.

        Raises:
            ZohoError: If there is no such user.
        """
        row = self.one("projects", project)
        for each in body.get("users") or []:
            self._join(row, str(each.get("user_id")))
        return list(row["users"])

    def delete(self, module: str, key: str) -> None:
        """Remove a record.

        Raises:
            ZohoError: If others hang on it.
        """
        row = self.one(module, key)
        if module == "invoices" and self.payments_of(key):
            raise not_now("Invoices with payments or credits cannot be deleted.")
        if module == "customerpayments":
            self._unapply(row)
        if module in {"contacts", "items"} and self._is_used(key):
            raise not_now(f"{TITLES[module]} has transactions and cannot be deleted.")
        del self.tables[module][key]
        self._tell(module, key, "deleted")

    def _is_used(self, key: str) -> bool:
        forms = [row for module in ("estimates", "invoices", "creditnotes") for row in self.tables[module].values()]
        return any(
            row["customer_id"] == key or any(line["item_id"] == key for line in row["line_items"]) for row in forms
        )

    def _send(self, row: Row) -> None:
        if row["status"] == "void":
            raise not_now("A void invoice cannot be marked as sent.")
        if self.settings.refuses_to_send and row["status"] == "draft":
            raise not_now("The invoice has to be approved before it can be sent.")
        if row["status"] == "draft":
            row["status"] = "sent"
            self._settle(row)

    def _take(self, row: Row, status: str) -> None:
        """An estimate is sent once, and accepted or declined after that, be it the one after the other."""
        if (status == "sent") != (row["status"] == "draft"):
            raise not_now(f"An estimate that is {row['status']} cannot be marked as {status}.")
        row["status"] = status

    def _join(self, project: Row, user_id: str) -> None:
        user = next((each for each in self.users() if each["user_id"] == user_id), None)
        if user is None:
            raise invalid("user_id")
        if all(each["user_id"] != user_id for each in project["users"]):
            project["users"].append({"user_id": user_id, "user_name": user["name"], "email": user["email"]})

    def _void(self, row: Row) -> None:
        self._refuse_locked(row["date"])
        for payment in self.tables["customerpayments"].values():
            payment["invoices"] = [each for each in payment["invoices"] if each["invoice_id"] != row["invoice_id"]]
        row |= {"status": "void", "balance": _NIL}

    def _write_contact(self, row: Row, body: Row, own_number: bool) -> None:  # noqa: ARG002 - as all writers
        self._copy("contacts", row, body)
        name = " ".join(str(row.get("contact_name") or "").split())
        if not name:
            raise invalid("contact_name")
        self._refuse_same("contacts", row, "contact_name", f'The customer "{name}" already exists.', code=3062)
        row.setdefault("contact_type", "customer")
        row.setdefault("status", "active")
        self._currency(row, body)
        if "contact_persons" in body:
            standing = {person["contact_person_id"]: person for person in row.get("contact_persons", [])}
            row["contact_persons"] = [self._person(each, standing) for each in body["contact_persons"]]
        persons = row.setdefault("contact_persons", [])
        primary = next((each for each in persons if each["is_primary_contact"]), persons[0] if persons else {})
        row |= {name: primary.get(name, "") for name in _PERSON}

    def _person(self, given: Row, standing: Mapping[str, Row]) -> Row:
        key = given.get("contact_person_id")
        if key is not None and key not in standing:
            raise missing("Contact person")
        person = dict(standing[key]) if key is not None else {"contact_person_id": self._new_id()}
        texts = {name: given.get(name, person.get(name, "")) for name in _PERSON}
        return person | texts | {"is_primary_contact": bool(given.get("is_primary_contact", False))}

    def _write_item(self, row: Row, body: Row, own_number: bool) -> None:  # noqa: ARG002 - as all writers
        if not body.get("name") or "rate" not in body:
            raise invalid("name" if not body.get("name") else "rate")
        self._copy("items", row, body)
        row["rate"] = _decimal(row["rate"], "rate")
        if row.get("purchase_rate") not in {None, ""}:
            row["purchase_rate"] = _decimal(row["purchase_rate"], "purchase_rate")
        self._refuse_same("items", row, "name", "Item with this name already exists.")
        if row.get("sku"):
            self._refuse_same("items", row, "sku", "Item with this SKU already exists.")
        row.setdefault("status", "active")
        row.setdefault("product_type", "goods")
        row.setdefault("item_type", "sales")

    def _write_invoice(self, row: Row, body: Row, own_number: bool) -> None:
        if row.get("status") == "void":
            raise not_now("Void invoices cannot be edited.")
        self._write_form("invoices", row, body)
        if "invoice_number" not in body or not own_number:
            row.setdefault("invoice_number", "")
        if not row["invoice_number"] or ("invoice_id" not in row and not own_number):
            self._numbers["invoices"] += 1
            row["invoice_number"] = f"INV-{self._numbers['invoices']:06d}"
        self._refuse_same("invoices", row, "invoice_number", "Invoice number already exists.")
        row.setdefault("status", "draft")
        if not row.get("due_date"):
            row["due_date"] = (
                date.fromisoformat(row["date"]) + timedelta(days=row.get("payment_terms", 0))
            ).isoformat()
        paid = (
            sum((each["amount"] for each in self.payments_of(row["invoice_id"])), _NIL) if "invoice_id" in row else _NIL
        )
        if row["total"] < paid:
            raise not_now("The invoice's total cannot be less than what was paid.")
        self._settle(row, paid=paid)

    def _write_estimate(self, row: Row, body: Row, own_number: bool) -> None:
        self._write_form("estimates", row, body)
        if not row.get("estimate_number") or ("estimate_id" not in row and not own_number):
            self._numbers["estimates"] += 1
            row["estimate_number"] = f"EST-{self._numbers['estimates']:06d}"
        self._refuse_same("estimates", row, "estimate_number", "Estimate number already exists.")
        row.setdefault("status", "draft")

    def _write_project(self, row: Row, body: Row, own_number: bool) -> None:  # noqa: ARG002 - as all writers
        for field in ("project_name", "customer_id", "billing_type"):
            if not body.get(field):
                raise invalid(field)
        self._copy("projects", row, body)
        if row["billing_type"] not in _BILLING:
            raise invalid("billing_type")
        customer = self.one("contacts", str(row["customer_id"]))
        row |= {"customer_name": customer["contact_name"], "currency_code": customer["currency_code"]}
        if "rate" in body:
            row["rate"] = _decimal(body["rate"], "rate")
        row.setdefault("status", "active")
        row.setdefault("users", [])
        row.setdefault("tasks", [])
        self._join(row, str(body.get("user_id")))
        for each in body.get("tasks") or []:
            row["tasks"].append({"task_id": self._new_id(), "task_name": each["task_name"], "status": "active"})

    def _write_time_entry(self, row: Row, body: Row, own_number: bool) -> None:  # noqa: ARG002 - as all writers
        for field in ("project_id", "task_id", "user_id", "log_date"):
            if not body.get(field):
                raise invalid(field)
        self._copy("timeentries", row, body)
        project = self.one("projects", str(row["project_id"]))
        task = next((each for each in project["tasks"] if each["task_id"] == row["task_id"]), None)
        user = next((each for each in project["users"] if each["user_id"] == row["user_id"]), None)
        if task is None:
            raise missing("Task")
        if user is None:
            raise not_now("The user is not on the project.")
        hours, colon, minutes = str(row.get("log_time", "")).partition(":")
        if not colon or not hours.isdigit() or not minutes.isdigit() or int(minutes) > _LAST_MINUTE:
            raise invalid("log_time")
        row |= {"task_name": task["task_name"], "user_name": user["user_name"], "project_name": project["project_name"]}
        row |= {"customer_id": project["customer_id"], "billed_status": "unbilled"}
        row.setdefault("is_billable", True)
        row.setdefault("notes", "")

    def _write_expense(self, row: Row, body: Row, own_number: bool) -> None:  # noqa: ARG002 - as all writers
        for field in ("date", "account_id", "amount", "paid_through_account_id"):
            if body.get(field) in {None, ""}:
                raise invalid(field)
        former_date = row.get("date")
        self._copy("expenses", row, body)
        for on in (former_date, row["date"]):
            self._refuse_locked(on)
        for field in ("account_id", "paid_through_account_id"):
            if row[field] not in self.settings.accounts:
                raise invalid(field)
        self._currency(row, body)
        if row.get("customer_id"):
            self.one("contacts", str(row["customer_id"]))
        if row.get("project_id"):
            self.one("projects", str(row["project_id"]))
        if row.get("is_billable") and not row.get("customer_id"):
            raise invalid("customer_id")
        percent = next((each["tax_percentage"] for each in self.taxes() if each["tax_id"] == row.get("tax_id")), _NIL)
        if row.get("tax_id") and not percent:
            raise invalid("tax_id")
        amount = _decimal(row["amount"], "amount")
        inclusive = bool(row.setdefault("is_inclusive_tax", False))
        without = _cents(amount / (1 + percent / 100)) if inclusive else amount
        row |= {"sub_total": without, "total": amount if inclusive else amount + _cents(without * percent / 100)}
        row["status"] = "unbilled" if row.get("is_billable") else "non-billable"

    def _write_credit_note(self, row: Row, body: Row, own_number: bool) -> None:
        if row.get("status") == "void":
            raise not_now("Void credit notes cannot be edited.")
        self._write_form("creditnotes", row, body)
        if not row.get("creditnote_number") or not own_number:
            raise invalid("creditnote_number")
        self._refuse_same("creditnotes", row, "creditnote_number", "Credit note number already exists.")
        row.setdefault("status", "draft" if body.get("is_draft") else "open")
        row["balance"] = row["total"]

    def _write_form(self, module: str, row: Row, body: Row) -> None:
        former_date = row.get("date")
        self._copy(module, row, body)
        row.setdefault("date", self._now()[:10])
        for on in (former_date, row["date"]):
            self._refuse_locked(on)
        customer = self.one("contacts", str(row.get("customer_id") or ""))
        row["customer_name"] = customer["contact_name"]
        if "currency_id" in body or "currency_code" not in row:
            self._currency(row, body, customer["currency_code"])
        if row["currency_code"] != customer["currency_code"]:
            raise invalid("currency_id")
        if "line_items" in body:
            standing = {line["line_item_id"]: line for line in row.get("line_items", [])}
            row["line_items"] = [self._line(each, standing) for each in body["line_items"]]
        if not row.get("line_items"):
            raise invalid("line_items")
        self._total(row)

    def _line(self, given: Row, standing: Mapping[str, Row]) -> Row:
        key = given.get("line_item_id")
        if key is not None and key not in standing:
            raise missing("Line item")
        item = self.one("items", str(given.get("item_id") or ""))
        rate, quantity = (
            _decimal(given.get("rate", item["rate"]), "rate"),
            _decimal(given.get("quantity", 1), "quantity"),
        )
        tax = next((each for each in self.taxes() if each["tax_id"] == given.get("tax_id")), None)
        if given.get("tax_id") and tax is None:
            raise invalid("tax_id")
        return {
            "line_item_id": key or self._new_id(),
            "item_id": item["item_id"],
            "name": item["name"],
            "description": given.get("description", ""),
            "rate": rate,
            "quantity": quantity,
            "tax_id": tax["tax_id"] if tax else "",
            "tax_percentage": tax["tax_percentage"] if tax else _NIL,
            "item_total": _cents(rate * quantity),
        }

    def _total(self, row: Row) -> None:
        sub_total = sum((line["item_total"] for line in row["line_items"]), _NIL)
        discount = row.get("discount") or _NIL
        if isinstance(discount, str):
            off = _cents(sub_total * _decimal(discount.removesuffix("%"), "discount") / 100)
        else:
            off = _decimal(discount, "discount")
        share = 1 - off / sub_total if sub_total else Decimal(1)
        taxes = ((line["item_total"], line["tax_percentage"]) for line in row["line_items"])
        tax_total = _cents(sum((amount * share * percent / 100 for amount, percent in taxes), _NIL))
        total = sub_total - off + tax_total
        if off < 0 or total < 0:
            raise invalid("discount" if off < 0 else "total")
        row |= {"sub_total": sub_total, "tax_total": tax_total, "total": total, "discount_total": off}

    def _write_payment(self, row: Row, body: Row, own_number: bool) -> None:  # noqa: ARG002 - as all writers
        for field in ("customer_id", "payment_mode", "amount", "date"):
            if not body.get(field):
                raise invalid(field)
        former_date = row.get("date")
        self._copy("customerpayments", row, body)
        for on in (former_date, row["date"]):
            self._refuse_locked(on)
        customer = self.one("contacts", str(row["customer_id"]))
        row |= {"customer_name": customer["contact_name"], "currency_code": customer["currency_code"], "status": "paid"}
        row["amount"] = _decimal(row["amount"], "amount")
        given = body["invoices"] if "invoices" in body else row.get("invoices", [])
        row["invoices"] = [
            {
                "invoice_id": str(each["invoice_id"]),
                "amount_applied": _decimal(each["amount_applied"], "amount_applied"),
            }
            for each in given
        ]
        if row["amount"] <= 0 or sum((each["amount_applied"] for each in row["invoices"]), _NIL) > row["amount"]:
            raise invalid("amount")
        for each in row["invoices"]:
            self._refuse_payment(row, each)
        if "payment_number" not in row:
            self._numbers["customerpayments"] += 1
            row["payment_number"] = str(self._numbers["customerpayments"])

    def _refuse_payment(self, payment: Row, applied: Row) -> None:
        invoice = self.one("invoices", applied["invoice_id"])
        standing = self.tables["customerpayments"].get(payment.get("payment_id", ""), {"invoices": []})
        if invoice["customer_id"] != payment["customer_id"]:
            raise invalid("invoices")
        if invoice["status"] in {"draft", "void"}:
            raise not_now("A payment cannot be recorded for an invoice that is a draft or void.")
        if applied["amount_applied"] > invoice["balance"] + _applied(standing, applied["invoice_id"]):
            raise invalid("amount_applied")

    def _applied_now(self, module: str, row: Row) -> None:
        if module == "customerpayments":
            for each in row["invoices"]:
                self._touch(each["invoice_id"])

    def _unapply(self, payment: Row) -> None:
        invoices, payment["invoices"] = payment["invoices"], []
        for each in invoices:
            self._touch(each["invoice_id"])

    def _touch(self, invoice_id: str) -> None:
        invoice = self.one("invoices", invoice_id)
        self._settle(invoice, paid=sum((each["amount"] for each in self.payments_of(invoice_id)), _NIL))
        invoice["last_modified_time"] = self._now()
        self._tell("invoices", invoice_id, "edited")

    def _settle(self, invoice: Row, paid: Decimal = _NIL) -> None:
        invoice["balance"] = invoice["total"] - paid
        if invoice["status"] not in {"draft", "void"}:
            invoice["status"] = "paid" if not invoice["balance"] else "partially_paid" if paid else "sent"

    def _copy(self, module: str, row: Row, body: Row) -> None:
        for name in _COPIED[module]:
            if name in body:
                if isinstance(body[name], str) and len(body[name]) > _LENGTHS.get(name, 10_000):
                    raise invalid(name)
                row[name] = body[name]
        for each in body.get("custom_fields") or []:
            self._set_custom(module, row, str(each.get("api_name") or ""), each.get("value"))

    def _set_custom(self, module: str, row: Row, name: str, value: object) -> None:
        if name != self.settings.unique_field or module not in self.settings.unique_field_in:
            raise ZohoError(15, f"Invalid custom field {name}.")
        others = (each for each in self.tables[module].values() if each.get(KEYS[module]) != row.get(KEYS[module]))
        if self.settings.upserts and value and any(each["custom_field_hash"].get(name) == value for each in others):
            raise exists(f"The value of {name}")
        row["custom_field_hash"] = {**row["custom_field_hash"], name: value}
        row["custom_fields"] = [{"api_name": key, "value": held} for key, held in row["custom_field_hash"].items()]

    def _currency(self, row: Row, body: Row, otherwise: str | None = None) -> None:
        known = self.currencies()
        if "currency_id" in body:
            chosen = next((each for each in known if each["currency_id"] == str(body["currency_id"])), None)
        else:
            code = row.get("currency_code") or otherwise or known[0]["currency_code"]
            chosen = next((each for each in known if each["currency_code"] == code), None)
        if chosen is None:
            raise invalid("currency_id")
        row |= {"currency_id": chosen["currency_id"], "currency_code": chosen["currency_code"]}

    def _refuse_same(self, module: str, row: Row, column: str, message: str, *, code: int = 1001) -> None:
        own = row.get(KEYS[module])
        others: Iterable[Row] = (each for key, each in self.tables[module].items() if key != own)
        if any(_folded(each.get(column)) == _folded(row[column]) for each in others):
            raise ZohoError(code, message)

    def _refuse_locked(self, on: str | None) -> None:
        locked = self.settings.locked_until
        if locked is not None and on and date.fromisoformat(on) <= locked:
            raise ZohoError(1038, f"Transactions up to {locked.isoformat()} have been locked.")

    def _tell(self, module: str, key: str, event: str) -> None:
        self._announce(module, key, event, self._moment())

    def _new_id(self) -> str:
        self._last_id += 1
        return str(self._last_id)

    def _moment(self) -> datetime:
        return self.clock.now().astimezone(ZoneInfo(self.settings.time_zone))

    def _stamp(self, module: str) -> Row:
        """When it was changed; projects and hours do not say."""
        return {} if module in {"projects", "timeentries"} else {"last_modified_time": self._now()}

    def _now(self) -> str:
        return self._moment().strftime("%Y-%m-%dT%H:%M:%S%z")

    _WRITERS: Mapping[str, Callable[[Books, Row, Row, bool], None]] = {
        "contacts": _write_contact,
        "items": _write_item,
        "invoices": _write_invoice,
        "estimates": _write_estimate,
        "creditnotes": _write_credit_note,
        "customerpayments": _write_payment,
        "projects": _write_project,
        "timeentries": _write_time_entry,
        "expenses": _write_expense,
    }


def _applied(payment: Mapping[str, Any], invoice_id: str) -> Decimal:
    found = (each["amount_applied"] for each in payment["invoices"] if each["invoice_id"] == invoice_id)
    return sum(found, _NIL)


def _decimal(value: object, field: str) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise invalid(field) from None
    if isinstance(value, bool) or not number.is_finite():
        raise invalid(field)
    return number


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)


def _folded(value: object) -> str:
    return " ".join(str(value or "").split()).casefold()
