"""The company file: its lists and transactions, and QuickBooks' rules for them.

Own choices, where nothing is published: a transaction without a number gets the next one; a discount line takes its
amount as it is given; voiding puts `VOID: ` before the memo, sets quantities to 0 and frees the payments; a total below
what was paid is refused (3170); an empty reference empties it; a status check for a set that is not known answers 600.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from xml.etree.ElementTree import Element
from zoneinfo import ZoneInfo

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.quickbooks_desktop.messages import (
    MessageSet,
    ResultError,
    Row,
    StatusError,
    check_lengths,
    document,
    is_set_id,
    parse_set,
    reply,
    to_row,
    to_xml,
)
from tieout_sandbox.simulators.quickbooks_desktop.settings import Settings

PERSONS = ("Customer", "Vendor", "Employee", "OtherName")
ITEMS = ("ItemService", "ItemNonInventory", "ItemInventory", "ItemDiscount", "ItemSubtotal")
FORMS = ("Invoice", "CreditMemo", "Estimate")
TRANSACTIONS = (*FORMS, "ReceivePayment")
TABLES = (*PERSONS, *ITEMS, *TRANSACTIONS, "Account", "StandardTerms", "SalesTaxCode", "CustomerMsg", "Currency")
DELETIONS_KEPT = timedelta(days=90)
_CENT, _RATE = Decimal("0.01"), Decimal("0.00001")
_FAR = "9999-12-31T23:59:59"
_REFERENCES = {
    "CustomerRef": ("Customer",),
    "ParentRef": ("Customer",),
    "TermsRef": ("StandardTerms",),
    "CustomerMsgRef": ("CustomerMsg",),
    "SalesTaxCodeRef": ("SalesTaxCode",),
    "ItemRef": ITEMS,
    "AccountRef": ("Account",),
    "IncomeAccountRef": ("Account",),
    "ExpenseAccountRef": ("Account",),
    "COGSAccountRef": ("Account",),
    "AssetAccountRef": ("Account",),
    "CurrencyRef": ("Currency",),
}
_WORDS = {"StandardTerms": "Terms", "SalesTaxCode": "Sales Tax Code", "CustomerMsg": "Customer Message"}


@dataclass(slots=True)
class Session:
    """One run of a program against the file: iterators live no longer. By id, the name of a query and what is left."""

    iterators: dict[str, tuple[str, list[str]]] = field(default_factory=dict)


class Company:
    """One file. Its lock is held by whoever works with it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self._clock = settings, clock
        self.lock = threading.RLock()
        self.tables: dict[str, dict[str, Row]] = {name: {} for name in TABLES}
        self.deleted: list[Row] = []
        self.sets: dict[str, tuple[str, str]] = {}
        self.locked: set[str] = set()
        self.revoked = False
        self._numbers = itertools.count(1)
        self._sequences = 0
        self._iterators = itertools.count(1)
        self._seed()

    # ---- the whole ----

    def process(self, text: str, session: Session) -> str:
        """The answer to a message set.

        Raises:
            ResultError: If QuickBooks does not take it: nothing was done.
        """
        with self.lock:
            if self.revoked:
                raise ResultError(
                    "0x8004041A",
                    "This application does not have permission to access this QuickBooks company data file.",
                )
            if self.settings.result:
                raise ResultError(self.settings.result, "QuickBooks cannot be reached at the moment.")
            given = parse_set(text)
            if not given.new_id and not given.old_id:
                return document(self._replies(given, session))
            return self._recoverable(given, session)

    def _recoverable(self, given: MessageSet, session: Session) -> str:
        """With error recovery.

        Source: QuickBooks SDK Programmer's Guide, table 31-2, as others quote it, read 2026-11-22.
        """
        new, old = given.new_id, given.old_id
        if not is_set_id(new) or not is_set_id(old):
            return document("", set_id=new, status=9004)
        if not new:
            known = self.sets if old == "ClearAllMessageSets" else {old} & set(self.sets)
            self.sets = {key: kept for key, kept in self.sets.items() if key not in known}
            return document("", status=0 if known else 600)
        if new == old:
            kept = self.sets.get(new)
            return document(kept[1], set_id=new, status=0) if kept else document("", set_id=new, status=600)
        self.sets.pop(old, None)
        if new in self.sets:
            checksum, stored = self.sets[new]
            return document(
                stored if checksum == given.checksum else "",
                set_id=new,
                status=0 if checksum == given.checksum else 9001,
            )
        inner = self._replies(given, session)
        self.sets[new] = (given.checksum, inner)
        return document(inner, set_id=new, status=0)

    def _replies(self, given: MessageSet, session: Session) -> str:
        replies, failed = [], False
        for request in given.requests:
            if failed and given.stops_on_error:
                replies.append(reply(request, code=3231, message="The request has not been processed."))
                continue
            try:
                check_lengths(request)
                replies.append(self._one(request, session))
            except StatusError as error:
                failed = True
                replies.append(reply(request, code=error.code, message=error.message))
        return "\n".join(replies) + "\n"

    def _one(self, request: Element, session: Session) -> str:
        name = request.tag.removesuffix("Rq")
        row = to_row(request)
        special: Mapping[str, Callable[[Element, Row], str]] = {
            "CompanyQuery": self._company_query,
            "HostQuery": self._host_query,
            "PreferencesQuery": self._preferences_query,
            "TxnDeletedQuery": self._deleted_query,
            "ListDeletedQuery": self._deleted_query,
            "TxnVoid": self._void,
            "TxnDel": self._delete,
            "ListDel": self._delete,
        }
        if name in special:
            return special[name](request, row)
        for verb, work in (("Query", None), ("Add", self._add), ("Mod", self._mod)):
            if name.endswith(verb):
                entity = name.removesuffix(verb)
                if work is None:
                    return self._query(request, entity, row, session)
                made = work(entity, row[name])
                return reply(request, to_xml(f"{entity}Ret", self._shown(entity, made, lines=True, links=False)))
        raise StatusError(1030, "This request is not supported.")

    # ---- queries ----

    def _query(self, request: Element, entity: str, asked: Row, session: Session) -> str:
        key = "TxnID" if entity in TRANSACTIONS else "ListID"
        named = {name: asked[name] for name in (key, "FullName", "RefNumber") if name in asked}
        code, message, more = 0, "Status OK", ""
        if named:
            rows, lost = self._by_name(entity, key, named)
            if lost:
                code = 500
                message = (
                    "The query request has not been fully completed. There was a required element "
                    f'("{lost[0]}") that could not be found in QuickBooks.'
                )
                if "RefNumber" in named:
                    code, message = (1, _NO_MATCH) if not rows else (0, message)
        else:
            rows = list(self._filtered(entity, asked))
            if request.get("iterator") is not None:
                rows, more = self._page(request, entity, rows, int(asked.get("MaxReturned", 0)), session)
            elif "MaxReturned" in asked:
                rows = rows[: int(asked["MaxReturned"])]
        if not rows:
            return reply(request, code=code or 1, message=message if code else _NO_MATCH, more=more)
        lines, links = asked.get("IncludeLineItems") == "true", asked.get("IncludeLinkedTxns") == "true"
        wanted = asked.get("IncludeRetElement")
        shown = []
        for table, row in rows:
            whole = self._shown(table, row, lines=lines, links=links)
            part = {name: value for name, value in whole.items() if wanted is None or name in wanted}
            shown.append(to_xml(f"{table}Ret", part))
        return reply(request, "\n".join(shown), code=code, message=message, more=more)

    def _by_name(self, entity: str, key: str, named: Row) -> tuple[list[tuple[str, Row]], list[str]]:
        rows: list[tuple[str, Row]] = []
        lost: list[str] = []
        for name, values in named.items():
            for value in values:
                found = [
                    (table, row)
                    for table, row in self._all(entity)
                    if (row.get(name, "") == value if name == key else row.get(name, "").casefold() == value.casefold())
                ]
                rows += found
                lost += [] if found else [value]
        return rows, lost

    def _all(self, entity: str) -> Iterator[tuple[str, Row]]:
        for table in ITEMS if entity == "Item" else (entity,):
            for row in self.tables[table].values():
                yield table, row

    def _filtered(self, entity: str, asked: Row) -> Iterator[tuple[str, Row]]:
        dates = asked.get("ModifiedDateRangeFilter", asked)
        begin, end = dates.get("FromModifiedDate", ""), dates.get("ToModifiedDate", _FAR)
        active = asked.get("ActiveStatus", "ActiveOnly")
        days = asked.get("TxnDateRangeFilter", {})
        for customer in asked.get("EntityFilter", {}).get("ListID", []):
            if customer not in self.tables["Customer"]:
                raise StatusError(3120, f'Object "{customer}" specified in the request cannot be found.')
        for table, row in self._all(entity):
            if (
                entity not in TRANSACTIONS
                and active != "All"
                and (row.get("IsActive") == "false") is (active == "ActiveOnly")
            ):
                continue
            if not begin <= row.get("TimeModified", "")[:19] <= end:
                continue
            if not days.get("FromTxnDate", "") <= row.get("TxnDate", "") <= days.get("ToTxnDate", _FAR):
                continue
            if "EntityFilter" in asked and row["CustomerRef"]["ListID"] not in asked["EntityFilter"].get("ListID", []):
                continue
            if "NameFilter" in asked and not _fits(asked["NameFilter"], row.get("FullName", "")):
                continue
            if "AccountType" in asked and row.get("AccountType") not in asked["AccountType"]:
                continue
            yield table, row

    def _page(
        self, request: Element, entity: str, rows: list[tuple[str, Row]], count: int, session: Session
    ) -> tuple[list[tuple[str, Row]], str]:
        key = "TxnID" if entity in TRANSACTIONS else "ListID"
        if not count:
            raise StatusError(3150, "There is a missing element: MaxReturned.")
        if request.get("iterator") == "Start":
            iterator = f"{{{next(self._iterators):08x}-0000-4000-8000-000000000000}}"
            left = [row[key] for _, row in rows]
        else:
            iterator = request.get("iteratorID", "")
            name, left = session.iterators.get(iterator, ("", []))
            if name != entity:
                raise StatusError(3391, f'The iteratorID "{iterator}" is not valid.')
        now, later = left[:count], left[count:]
        session.iterators[iterator] = (entity, later)
        if not later:
            del session.iterators[iterator]
        there = {row[key]: (table, row) for table, row in self._all(entity)}
        more = f' iteratorRemainingCount="{len(later)}" iteratorID="{iterator}"'
        return [there[each] for each in now if each in there], more

    def _shown(self, table: str, row: Row, *, lines: bool, links: bool) -> Row:
        shown = {name: value for name, value in row.items() if lines or not name.endswith(("LineRet", "ToTxnRet"))}
        if table == "ReceivePayment" and lines:
            shown["AppliedToTxnRet"] = [
                {"TxnID": each["TxnID"], "TxnType": "Invoice", "Amount": each["Amount"]} for each in row["Applied"]
            ]
        shown.pop("Applied", None)
        if table == "Invoice":
            linked = [
                {
                    "TxnID": payment["TxnID"],
                    "TxnType": "ReceivePayment",
                    "TxnDate": payment["TxnDate"],
                    "LinkType": "AMTTYPE",
                    "Amount": each["Amount"],
                }
                for payment in self.tables["ReceivePayment"].values()
                for each in payment["Applied"]
                if each["TxnID"] == row["TxnID"]
            ]
            if links and linked:
                shown["LinkedTxn"] = linked
        return shown

    def _company_query(self, request: Element, _: Row) -> str:
        return reply(
            request, to_xml("CompanyRet", {"IsSampleCompany": "false", "CompanyName": self.settings.company_name})
        )

    def _host_query(self, request: Element, _: Row) -> str:
        versions = [f"{number}.0" for number in range(1, 17)]
        return reply(
            request,
            to_xml("HostRet", {"ProductName": "QuickBooks Enterprise (simulated)", "SupportedQBXMLVersion": versions}),
        )

    def _preferences_query(self, request: Element, _: Row) -> str:
        accounting: Row = {"IsUsingAccountNumbers": "false"}
        if self.settings.closed_until is not None:
            accounting["ClosingDate"] = self.settings.closed_until.isoformat()
        several = {"IsMultiCurrencyOn": "true" if self.settings.currencies else "false"}
        return reply(
            request,
            to_xml("PreferencesRet", {"AccountingPreferences": accounting, "MultiCurrencyPreferences": several}),
        )

    def _deleted_query(self, request: Element, asked: Row) -> str:
        kind = "Txn" if request.tag.startswith("Txn") else "List"
        dates = asked.get("DeletedDateRangeFilter", {})
        oldest = self._wall(self._clock.now() - DELETIONS_KEPT)
        begin = max(dates.get("FromDeletedDate", ""), oldest)
        wanted = asked.get(f"{kind}DelType", [])
        rows = [
            each
            for each in self.deleted
            if each.get(f"{kind}DelType") in wanted
            and begin <= each["TimeDeleted"][:19] <= dates.get("ToDeletedDate", _FAR)
        ]
        if not rows:
            return reply(request, code=1, message=_NO_MATCH)
        return reply(request, "\n".join(to_xml(f"{kind}DeletedRet", each) for each in rows))

    # ---- adding and changing ----

    def _add(self, entity: str, given: Row) -> Row:
        number = next(self._numbers)
        now = self._clock.now()
        key = "TxnID" if entity in TRANSACTIONS else "ListID"
        digits = f"{number:X}" if entity in TRANSACTIONS else f"{0x80000000 + number:08X}"
        row: Row = {
            key: f"{digits}-{int(now.timestamp())}",
            "TimeCreated": self._moment(now),
            "TimeModified": "",
            "EditSequence": "",
        }
        if entity in TRANSACTIONS:
            row["TxnNumber"] = str(number)
        row = self._filled(entity, row, given, former=None)
        return self._store(entity, row)

    def _mod(self, entity: str, given: Row) -> Row:
        key = "TxnID" if entity in TRANSACTIONS else "ListID"
        former = self._standing(entity, given.get(key, ""))
        if given.get("EditSequence") != former["EditSequence"]:
            raise StatusError(3200, f'The provided edit sequence "{given.get("EditSequence")}" is out-of-date.')
        if former[key] in self.locked:
            raise StatusError(3175, "There was an error adding, modifying or deleting because it is already in use.")
        changes = {name: value for name, value in given.items() if name not in {key, "EditSequence"}}
        return self._store(entity, self._filled(entity, dict(former), changes, former=former))

    def _store(self, entity: str, row: Row) -> Row:
        now = self._clock.now()
        self._sequences = max(self._sequences + 1, int(now.timestamp()))
        row["TimeModified"] = self._moment(now)
        row["EditSequence"] = str(self._sequences)
        self.tables[entity][row.get("TxnID") or row["ListID"]] = row
        return row

    def _filled(self, entity: str, row: Row, given: Row, *, former: Row | None) -> Row:
        if entity in FORMS:
            return self._form(entity, row, given, former=former)
        if entity == "ReceivePayment":
            return self._payment(row, given)
        for name, value in given.items():
            row[name.removesuffix("Mod")] = self._value(name, value, "list", row.get(name.removesuffix("Mod")))
        name = row.get("Name", "")
        if not name:
            raise StatusError(3150, "There is a missing element: Name.")
        if ":" in name:
            raise StatusError(3060, f'The name "{name}" holds a colon.')
        above = row.get("ParentRef")
        row["FullName"] = f"{above['FullName']}:{name}" if above else name
        row.setdefault("IsActive", "true")
        self._check_name(entity, row)
        if entity in {"ItemService", "ItemNonInventory"} and not ({"SalesOrPurchase", "SalesAndPurchase"} & set(row)):
            raise StatusError(3150, "There is a missing element: AccountRef.")
        for prices in (row.get("SalesOrPurchase"), row.get("SalesAndPurchase")):
            if prices is not None and not ({"AccountRef", "IncomeAccountRef"} & set(prices)):
                raise StatusError(3150, "There is a missing element: AccountRef.")
        return row

    def _check_name(self, entity: str, row: Row) -> None:
        """Customers, vendors, employees and other names are in one list of names, items in another."""
        lists: Sequence[str] = next((some for some in (PERSONS, ITEMS) if entity in some), (entity,))
        for table in lists:
            for other in self.tables[table].values():
                same = other["FullName"].casefold() == row["FullName"].casefold()
                if same and other["ListID"] != row["ListID"]:
                    raise StatusError(3100, f'The name "{row["FullName"]}" of the list element is already in use.')

    def _value(self, name: str, value: Any, where: str, former: Any = None) -> Any:  # noqa: ANN401 - text or mapping
        if name in _REFERENCES:
            return self._reference(name, value, where)
        if isinstance(value, dict):
            kept = dict(former) if isinstance(former, dict) and name.endswith("Mod") else {}
            return kept | {key: self._value(key, each, where) for key, each in value.items()}
        return value

    def _reference(self, name: str, asked: Row, where: str) -> Row | None:
        if not any(asked.values()):
            return None
        if name == "CurrencyRef" and not self.settings.currencies:
            raise StatusError(3250, "This feature is not enabled or not available in this version of QuickBooks.")
        for table in _REFERENCES[name]:
            for row in self.tables[table].values():
                by_id = asked.get("ListID") == row["ListID"]
                by_name = "ListID" not in asked and asked.get("FullName", "").casefold() == row["FullName"].casefold()
                if by_id or by_name:
                    return {"ListID": row["ListID"], "FullName": row["FullName"]}
        word = _WORDS.get(_REFERENCES[name][0], name.removesuffix("Ref"))
        told = asked.get("FullName") or asked.get("ListID")
        raise StatusError(
            3140,
            f'There is an invalid reference to QuickBooks {word} "{told}" in the {where}.  QuickBooks error message: '
            "Invalid argument.  The specified record does not exist in the list.",
        )

    # ---- sales forms ----

    def _form(self, entity: str, row: Row, given: Row, *, former: Row | None) -> Row:
        lines = f"{entity}LineRet"
        rows = [each for name in (f"{entity}LineAdd", f"{entity}LineMod") for each in given.get(name, [])]
        for name, value in given.items():
            if not name.endswith(("LineAdd", "LineMod")):
                row[name] = self._value(name, value, entity)
        row = {name: value for name, value in row.items() if value is not None}
        if "CustomerRef" not in row:
            raise StatusError(3150, "There is a missing element: CustomerRef.")
        row.setdefault("TxnDate", self._wall(self._clock.now())[:10])
        if not row.get("RefNumber"):
            row["RefNumber"] = str(self._next_number(entity))
        self._check_open(former, row)
        if rows or former is None:
            row[lines] = [self._line(entity, each, former) for each in rows]
        return self._totals(entity, row)

    def _line(self, entity: str, given: Row, former: Row | None) -> Row:
        known = {each["TxnLineID"]: each for each in (former or {}).get(f"{entity}LineRet", [])}
        asked = given.get("TxnLineID", "-1")
        if asked != "-1" and asked not in known:
            raise StatusError(3120, f'Object "{asked}" specified in the request cannot be found.')
        fresh: Row = {"TxnLineID": f"{next(self._numbers):X}-{int(self._clock.now().timestamp())}"}
        line: Row = dict(known[asked]) if asked != "-1" else fresh
        for name, value in given.items():
            if name != "TxnLineID":
                line[name] = self._value(name, value, f"{entity} line")
        if "ItemRef" not in line:
            return line
        quantity, rate, amount = (_number(given, name) for name in ("Quantity", "Rate", "Amount"))
        if amount is None:
            amount = ((quantity if quantity is not None else Decimal(1)) * (rate or Decimal(0))).quantize(
                _CENT, ROUND_HALF_UP
            )
        elif rate is None and quantity:
            line["Rate"] = format((amount / quantity).quantize(_RATE, ROUND_HALF_UP).normalize(), "f")
        line["Amount"] = f"{amount:.2f}"
        item = self._item(line["ItemRef"]["ListID"])
        line.setdefault(
            "SalesTaxCodeRef",
            item.get("SalesTaxCodeRef") or self._reference("SalesTaxCodeRef", {"FullName": "Non"}, ""),
        )
        return line

    def _totals(self, entity: str, row: Row) -> Row:
        lines = [each for each in row.get(f"{entity}LineRet", []) if "Amount" in each]
        subtotal = sum((Decimal(each["Amount"]) for each in lines), Decimal(0))
        taxed = sum(
            (Decimal(each["Amount"]) for each in lines if each["SalesTaxCodeRef"]["FullName"] == "Tax"), Decimal(0)
        )
        tax = (taxed * self.settings.tax_percent / 100).quantize(_CENT, ROUND_HALF_UP)
        row |= {"Subtotal": f"{subtotal:.2f}", "SalesTaxTotal": f"{tax:.2f}"}
        total = subtotal + tax
        if entity == "Invoice":
            paid = self._paid(row["TxnID"])
            if paid and total < paid:
                raise StatusError(3170, "There was an error when modifying: the total is less than what was paid.")
            row |= {
                "AppliedAmount": f"{-paid:.2f}",
                "BalanceRemaining": f"{total - paid:.2f}",
                "IsPaid": "true" if total == paid else "false",
            }
        else:
            row["TotalAmount"] = f"{total:.2f}"
        if entity == "CreditMemo":
            row["CreditRemaining"] = f"{total:.2f}"
        if entity == "Estimate":
            row.setdefault("IsActive", "true")
        return row

    def _payment(self, row: Row, given: Row) -> Row:
        customer = self._reference("CustomerRef", given.get("CustomerRef", {}), "ReceivePayment")
        row |= {
            "CustomerRef": customer,
            "TxnDate": given.get("TxnDate") or self._wall(self._clock.now())[:10],
            "RefNumber": given.get("RefNumber", ""),
            "TotalAmount": f"{_number(given, 'TotalAmount') or Decimal(0):.2f}",
            "Memo": given.get("Memo", ""),
        }
        self._check_open(None, row)
        row["Applied"] = []
        for each in given.get("AppliedToTxnAdd", []):
            invoice = self._standing("Invoice", each["TxnID"])
            amount = _number(each, "PaymentAmount") or Decimal(0)
            if amount > Decimal(invoice["BalanceRemaining"]):
                raise StatusError(3210, "The payment amount is more than the balance of the invoice.")
            row["Applied"].append({"TxnID": each["TxnID"], "Amount": f"{amount:.2f}"})
        self.tables["ReceivePayment"][row["TxnID"]] = row
        for each in row["Applied"]:
            self._store("Invoice", self._totals("Invoice", self.tables["Invoice"][each["TxnID"]]))
        return row

    def _paid(self, invoice: str) -> Decimal:
        return sum(
            (
                Decimal(each["Amount"])
                for payment in self.tables["ReceivePayment"].values()
                for each in payment["Applied"]
                if each["TxnID"] == invoice
            ),
            Decimal(0),
        )

    def _void(self, request: Element, asked: Row) -> str:
        entity = asked.get("TxnVoidType", "")
        if entity not in {"Invoice", "CreditMemo"}:
            raise StatusError(3040, f'"{entity}" cannot be voided.')
        row = self._standing(entity, asked.get("TxnID", ""))
        self._check_open(row, row)
        if row["TxnID"] in self.locked:
            raise StatusError(3175, "There was an error adding, modifying or deleting because it is already in use.")
        for payment in self.tables["ReceivePayment"].values():
            payment["Applied"] = [each for each in payment["Applied"] if each["TxnID"] != row["TxnID"]]
        row["Memo"] = f"VOID: {row.get('Memo', '')}".strip()
        for line in row[f"{entity}LineRet"]:
            line |= {"Quantity": "0", "Amount": "0.00"}
        self._store(entity, self._totals(entity, row))
        told = {"TxnVoidType": entity, "TxnID": row["TxnID"], "TimeCreated": row["TimeCreated"]}
        return reply(request, "".join(to_xml(name, value) for name, value in told.items()))

    def _delete(self, request: Element, asked: Row) -> str:
        kind = request.tag.removesuffix("DelRq")
        entity, record_id = asked.get(f"{kind}DelType", ""), asked.get(f"{kind}ID", "")
        row = self._standing(entity, record_id)
        self._check_open(row, row) if kind == "Txn" else None
        if kind == "List" and self._is_used(record_id):
            raise StatusError(3160, f'Cannot delete the object specified by the id = "{record_id}": it is in use.')
        del self.tables[entity][record_id]
        if entity == "ReceivePayment":
            for each in row["Applied"]:
                self._store("Invoice", self._totals("Invoice", self.tables["Invoice"][each["TxnID"]]))
        told = {f"{kind}DelType": entity, f"{kind}ID": record_id, "TimeCreated": row["TimeCreated"]}
        self.deleted.append(told | {"TimeDeleted": self._moment(self._clock.now())})
        return reply(request, "".join(to_xml(name, value) for name, value in told.items()))

    def _is_used(self, list_id: str) -> bool:
        return any(
            list_id == row["CustomerRef"]["ListID"]
            or any(list_id == each.get("ItemRef", {}).get("ListID") for each in row.get(f"{table}LineRet", []))
            for table in TRANSACTIONS
            for row in self.tables[table].values()
        )

    # ---- what all need ----

    def _standing(self, entity: str, record_id: str) -> Row:
        row = self.tables.get(entity, {}).get(record_id)
        if row is None:
            raise StatusError(3120, f'Object "{record_id}" specified in the request cannot be found.')
        return row

    def _item(self, list_id: str) -> Row:
        return next(self.tables[table][list_id] for table in ITEMS if list_id in self.tables[table])

    def _check_open(self, former: Row | None, row: Row) -> None:
        closed = self.settings.closed_until
        for each in (former, row):
            if closed is not None and each is not None and each["TxnDate"] <= closed.isoformat():
                raise StatusError(3210, f'The date "{each["TxnDate"]}" is in a closed accounting period.')

    def _next_number(self, entity: str) -> int:
        used = [row["RefNumber"] for row in self.tables[entity].values()]
        return max([int(each) for each in used if each.isdigit()], default=0) + 1

    def _wall(self, moment: datetime) -> str:
        return moment.astimezone(ZoneInfo(self.settings.time_zone)).replace(tzinfo=None, microsecond=0).isoformat()

    def _moment(self, moment: datetime) -> str:
        there = moment.astimezone(ZoneInfo(self.settings.time_zone)).replace(microsecond=0)
        if not self.settings.forgets_summer:
            return there.isoformat()
        winter = ZoneInfo(self.settings.time_zone).utcoffset(datetime(there.year, 1, 1))  # noqa: DTZ001 - on the wall
        text: str = there.replace(tzinfo=None).isoformat()
        minutes = int((winter or timedelta()).total_seconds()) // 60
        return f"{text}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"

    def _seed(self) -> None:
        """What stands in every new file."""
        for name, kind in (
            ("Sales", "Income"),
            ("Cost of Goods Sold", "CostOfGoodsSold"),
            ("Inventory Asset", "OtherCurrentAsset"),
        ):
            self._add("Account", {"Name": name, "AccountType": kind})
        for name in self.settings.terms:
            self._add("StandardTerms", {"Name": name})
        for name in self.settings.messages:
            self._add("CustomerMsg", {"Name": name})
        for name in ("Tax", "Non"):
            self._add("SalesTaxCode", {"Name": name})
        for code, name in self.settings.currencies.items():
            self._add("Currency", {"Name": name, "CurrencyCode": code})
        if self.settings.discount_item:
            self._add("ItemDiscount", {"Name": self.settings.discount_item})

    def snapshot(self) -> Row:
        """All of it, as JSON."""
        with self.lock:
            return {
                "tables": deepcopy(self.tables),
                "deleted": deepcopy(self.deleted),
                "sets": {key: list(kept) for key, kept in self.sets.items()},
                "next": [next(self._numbers), self._sequences],
                "revoked": self.revoked,
            }

    def restore(self, saved: Row) -> None:
        """Go on from a snapshot."""
        self.tables, self.deleted, self.revoked = saved["tables"], saved["deleted"], saved["revoked"]
        self.sets = {key: (kept[0], kept[1]) for key, kept in saved["sets"].items()}
        self._numbers, self._sequences = itertools.count(saved["next"][0]), saved["next"][1]


_NO_MATCH = "A query request did not find a matching object in QuickBooks"


def _fits(asked: Row, name: str) -> bool:
    text = asked["Name"].casefold()
    match asked["MatchCriterion"]:
        case "StartsWith":
            return name.casefold().startswith(text)
        case "EndsWith":
            return name.casefold().endswith(text)
    return text in name.casefold()


def _number(row: Row, name: str) -> Decimal | None:
    if name not in row:
        return None
    try:
        return Decimal(row[name])
    except InvalidOperation:
        raise StatusError(
            3040, f'There was an error when converting the amount "{row[name]}" in the field {name}.'
        ) from None
