"""Rules of name lists: customers, vendors, employees, items, terms, accounts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tieout_sandbox.simulators.quickbooks_online.books import HOME_CURRENCY, TRANSACTIONS, Books, Record
from tieout_sandbox.simulators.quickbooks_online.errors import (
    business,
    duplicate_name,
    parent_and_job,
    required,
)

_NAME_PARTS = ("Title", "GivenName", "MiddleName", "FamilyName", "Suffix")
_FORBIDDEN = (":", "\t", "\n")
_DELETED = " (deleted)"
_LEVELS_MAX = 5
_SOLD = {"Service", "NonInventory", "Inventory"}
_INVENTORY_NEEDS = ("QtyOnHand", "InvStartDate", "AssetAccountRef", "ExpenseAccountRef")


def completed_name(books: Books, entity: str, fields: Record, former: Record | None) -> Record:
    """A customer, vendor or employee with all that QuickBooks adds.

    Raises:
        FaultError: 2020, 2500, 610, 6000, 6150 or 6240.
    """
    parts = [fields[part] for part in _NAME_PARTS if part in fields]
    display = fields.get("DisplayName") or " ".join(parts)
    if not display:
        raise required("DisplayName")
    display = _spelled(display, active=fields.get("Active", True))
    _refuse_forbidden("DisplayName", display)
    _refuse_taken(books, display, own=(entity, former["Id"]) if former else None)
    _refuse_foreign_currency(fields)
    name = {**fields, "DisplayName": display, "Active": fields.get("Active", True)}
    name.setdefault("PrintOnCheckName", fields.get("CompanyName", display))
    name["CurrencyRef"] = HOME_CURRENCY
    for address in ("BillAddr", "ShipAddr"):
        if address in name:
            name[address] = {"Id": books.new_id("Address"), **name[address]}
    return _completed_customer(books, name, former) if entity == "Customer" else name


def _completed_customer(books: Books, customer: Record, former: Record | None) -> Record:
    if "SalesTermRef" in customer:
        term = books.referred("Term", customer["SalesTermRef"], "Terms")
        customer["SalesTermRef"] = {"value": term["Id"], "name": term["Name"]}
    parent = _parent(books, customer, former)
    path = customer["DisplayName"] if parent is None else f"{parent['FullyQualifiedName']}:{customer['DisplayName']}"
    balance = former["Balance"] if former else Decimal(0)
    customer.pop("Level", None)
    if parent is not None:
        customer["Level"] = parent.get("Level", 0) + 1
    if former is not None:
        _move_below(books, former["Id"], path, customer.get("Level", 0))
    return {
        "Taxable": books.settings.sales_tax_percent > 0,
        "BillWithParent": False,
        "PreferredDeliveryMethod": "Print",
        "IsProject": False,
        **customer,
        "Job": parent is not None,
        "FullyQualifiedName": path,
        "Balance": balance,
        "BalanceWithJobs": balance,
    }


def _parent(books: Books, customer: Record, former: Record | None) -> Record | None:
    """The customer that this one belongs to; None if it is on top.

    Source of 6150: github.com/intuit/QuickBooks-V3-PHP-SDK/issues/71, read 2026-11-22. That of the five levels:
    `IntuitNamesTypes.xsd`, FullyQualifiedName. The codes of the two other refusals are our own choice.

    Raises:
        FaultError: 610, 2500, 6000 or 6150.
    """
    if ("ParentRef" in customer) is not customer.get("Job", False):
        raise parent_and_job()
    if "ParentRef" not in customer:
        return None
    parent = books.referred("Customer", customer["ParentRef"], "Names")
    if former is None:
        height = 0
    else:
        below = _below(books, former["Id"])
        if parent["Id"] in {former["Id"], *(each["Id"] for each in below)}:
            raise business("A customer cannot be a sub-customer of itself")
        height = max((each.get("Level", 0) for each in below), default=former.get("Level", 0)) - former.get("Level", 0)
    if parent.get("Level", 0) + 1 + height >= _LEVELS_MAX:
        raise business("You can only have up to five levels of sub-customers")
    return parent


def _below(books: Books, record_id: str) -> list[Record]:
    """All sub-customers of the customer, those of sub-customers too."""
    found: list[Record] = []
    above = [record_id]
    for _ in range(_LEVELS_MAX):
        level = books.tables["Customer"].with_value("ParentRef", above)
        found += level
        above = [each["Id"] for each in level]
    return found


def _move_below(books: Books, record_id: str, path: str, level: int) -> None:
    """Give the sub-customers the path and the level that their parent has now; their version stays."""
    for each in books.tables["Customer"].with_value("ParentRef", [record_id]):
        own = f"{path}:{each['DisplayName']}"
        if (each["FullyQualifiedName"], each["Level"]) != (own, level + 1):
            books.tables["Customer"].put({**each, "FullyQualifiedName": own, "Level": level + 1})
            _move_below(books, each["Id"], own, level + 1)


def merge_customers(books: Books, loser_id: str, survivor_id: str) -> Record:
    """The survivor, which has the loser's documents from then on; the loser stays behind, inactive.

    Source: merging is a step in QuickBooks' own pages, not in the API; webhooks page of API v3, read 2026-11-22.

    Raises:
        FaultError: 610 if one of them is not there, or inactive; 6000 if they are one.
    """
    if loser_id == survivor_id:
        raise business("A name cannot be merged with itself")
    loser, survivor = (books.referred("Customer", {"value": one}, "Names") for one in (loser_id, survivor_id))
    reference = {"value": survivor["Id"], "name": survivor["DisplayName"]}
    for entity in TRANSACTIONS:
        for form in books.tables[entity].with_value("CustomerRef", [loser_id]):
            books.replace(entity, form, {**form, "CustomerRef": reference})
    left = books.get("Customer", loser_id)
    name = _spelled(loser["DisplayName"], active=False)
    books.replace("Customer", left, {**left, "DisplayName": name, "FullyQualifiedName": name, "Active": False})
    return books.get("Customer", survivor_id)


def completed_item(books: Books, fields: Record, former: Record | None) -> Record:
    """An item with all that QuickBooks adds.

    Raises:
        FaultError: 2020, 2500, 610, 6000 or 6240.
    """
    if "Name" not in fields:
        raise required("Name")
    kind = fields.get("Type", "Service")
    name = _spelled(fields["Name"], active=fields.get("Active", True))
    _refuse_forbidden("Name", name)
    if kind in _SOLD and "IncomeAccountRef" not in fields:
        raise required("IncomeAccountRef")
    if kind == "Inventory":
        for needed in _INVENTORY_NEEDS:
            if needed not in fields:
                raise required(needed)
    parent = books.referred("Item", fields["ParentRef"], "Items") if "ParentRef" in fields else None
    path = name if parent is None else f"{parent['FullyQualifiedName']}:{name}"
    for holder in books.tables["Item"].with_value("FullyQualifiedName", [path]):
        if former is None or holder["Id"] != former["Id"]:
            raise duplicate_name("product or service")
    accounts: Record = {
        field: _account(books, fields[field])
        for field in ("IncomeAccountRef", "ExpenseAccountRef", "AssetAccountRef")
        if field in fields
    }
    return {
        "Active": True,
        "Taxable": False,
        "UnitPrice": Decimal(0),
        "PurchaseCost": Decimal(0),
        "TrackQtyOnHand": kind == "Inventory",
        **fields,
        **accounts,
        "Type": kind,
        "Name": name,
        "FullyQualifiedName": path,
    }


def completed_term(books: Books, fields: Record, former: Record | None) -> Record:
    """A payment term.

    Raises:
        FaultError: 2020 or 6240.
    """
    if "Name" not in fields:
        raise required("Name")
    for holder in books.tables["Term"].with_value("Name", [fields["Name"]]):
        if former is None or holder["Id"] != former["Id"]:
            raise duplicate_name("term")
    kind = "DateDriven" if "DayOfMonthDue" in fields else "Standard"
    days = {"DueDays": Decimal(0), "DiscountDays": Decimal(0)} if kind == "Standard" else {}
    return {"Active": True, "DiscountPercent": Decimal(0), **days, **fields, "Type": kind}


def completed_account(books: Books, fields: Record, former: Record | None) -> Record:
    """A ledger account.

    Raises:
        FaultError: 2020 or 6240.
    """
    if "Name" not in fields:
        raise required("Name")
    if "AccountType" not in fields and "AccountSubType" not in fields:
        raise required("AccountType")
    _refuse_forbidden("Name", fields["Name"])
    for holder in books.tables["Account"].with_value("Name", [fields["Name"]]):
        if former is None or holder["Id"] != former["Id"]:
            raise duplicate_name("account")
    return {
        "Active": True,
        "SubAccount": False,
        "CurrentBalance": Decimal(0),
        "CurrentBalanceWithSubAccounts": Decimal(0),
        **fields,
        "FullyQualifiedName": fields["Name"],
        "CurrencyRef": HOME_CURRENCY,
    }


def _account(books: Books, reference: Mapping[str, Any]) -> Record:
    account = books.referred("Account", reference, "Accounts")
    return {"value": account["Id"], "name": account["FullyQualifiedName"]}


def _spelled(name: str, *, active: bool) -> str:
    """The name with the mark of inactive ones, or without. Source: a recorded answer, `deleted_customer.xml`."""
    bare = name.removesuffix(_DELETED)
    return bare if active else bare + _DELETED


def _refuse_forbidden(element: str, name: str) -> None:
    if any(character in name for character in _FORBIDDEN):
        raise business(f"{element} must not contain a colon, a tab or a new line")  # own choice of code


def _refuse_taken(books: Books, name: str, own: tuple[str, str] | None) -> None:
    if any(holder != own for holder in books.name_holders(name)):
        raise duplicate_name("customer, vendor or employee")


def _refuse_foreign_currency(fields: Mapping[str, Any]) -> None:
    currency = fields.get("CurrencyRef", HOME_CURRENCY)["value"]
    if currency != HOME_CURRENCY["value"]:
        raise business("Multi Currency should be enabled to perform this operation.")
