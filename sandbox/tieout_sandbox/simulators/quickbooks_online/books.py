"""The records of one simulated company: tables with indexes, ids, versions, deletions, and who paid what.

A record is a dict in Intuit's JSON form with numbers as Decimal. It is never changed in place: a change puts a new one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.quickbooks_online.errors import bad_reference, not_found
from tieout_sandbox.simulators.quickbooks_online.query import field_value
from tieout_sandbox.simulators.quickbooks_online.settings import Settings
from tieout_sandbox.simulators.quickbooks_online.times import wire_time

Record = dict[str, Any]

NAMES = ("Customer", "Vendor", "Employee")
TRANSACTIONS = ("Invoice", "CreditMemo", "Payment")
NAME_LISTS = (*NAMES, "Item", "Term", "TaxCode", "Account")
ENTITIES = (*NAME_LISTS, *TRANSACTIONS)

HOME_CURRENCY = {"value": "USD", "name": "United States Dollar"}

_INDEXED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(NAMES, ("DisplayName", "CompanyName", "FullyQualifiedName", "PrimaryEmailAddr")),
    "Customer": ("DisplayName", "CompanyName", "FullyQualifiedName", "PrimaryEmailAddr", "ParentRef"),
    "Item": ("Name", "FullyQualifiedName", "Sku"),
    "Term": ("Name",),
    "Account": ("Name", "FullyQualifiedName"),
    "Invoice": ("DocNumber", "CustomerRef"),
    "CreditMemo": ("DocNumber", "CustomerRef"),
    "Payment": ("PaymentRefNum", "CustomerRef"),
}
# Ids are unique by type; as in real companies, names share a sequence, and so do transactions.
_SEQUENCE = {**dict.fromkeys(NAMES, "Name"), **dict.fromkeys(TRANSACTIONS, "Txn")}


class Table:
    """Records of one entity, by id and by the values of their indexed fields."""

    def __init__(self, entity: str) -> None:
        self.records: dict[str, Record] = {}
        self.indexed = _INDEXED.get(entity, ())
        self._index: dict[str, defaultdict[str, set[str]]] = {field: defaultdict(set) for field in self.indexed}

    def put(self, record: Record) -> None:
        """Store or replace the record."""
        self.remove(record["Id"])
        self.records[record["Id"]] = record
        for field, by_value in self._index.items():
            value = field_value(record, field)
            if value is not None:
                by_value[str(value).casefold()].add(record["Id"])

    def remove(self, record_id: str) -> None:
        """Forget the record, if it is there."""
        former = self.records.pop(record_id, None)
        if former is None:
            return
        for field, by_value in self._index.items():
            value = field_value(former, field)
            if value is not None:
                by_value[str(value).casefold()].discard(record_id)

    def with_value(self, field: str, values: Sequence[str]) -> list[Record]:
        """Records whose indexed field, or id, equals one of the values, without regard to case."""
        if field == "Id":
            return [self.records[value] for value in dict.fromkeys(values) if value in self.records]
        by_value = self._index[field]
        ids = {record_id for value in values for record_id in by_value.get(value.casefold(), ())}
        return [self.records[record_id] for record_id in ids]


class Books:
    """All tables of a company.

    Attributes:
        deleted: By entity and id, when a transaction was deleted.
        applied: By entity and id of an invoice or a credit memo, how much each payment (by id) took of it.
        next_number: By entity, the document number to give next.
        on_change: Called with entity, id, operation (as in webhooks) and time, after each change.
    """

    def __init__(self, settings: Settings, clock: Clock, on_change: Callable[[str, str, str, datetime], None]) -> None:
        self.settings = settings
        self.clock = clock
        self.on_change = on_change
        self.tables = {entity: Table(entity) for entity in ENTITIES}
        self.deleted: dict[str, dict[str, str]] = {entity: {} for entity in TRANSACTIONS}
        self.applied: defaultdict[tuple[str, str], dict[str, Decimal]] = defaultdict(dict)
        self.next_number: dict[str, int] = {}
        self._last_id: defaultdict[str, int] = defaultdict(int)

    def get(self, entity: str, record_id: str) -> Record:
        """The record.

        Raises:
            FaultError: 610 if there is none.
        """
        record = self.tables[entity].records.get(record_id)
        if record is None:
            raise not_found()
        return record

    def referred(self, entity: str, reference: Mapping[str, Any], what: str) -> Record:
        """The active record that a reference means.

        Raises:
            FaultError: 2500 if there is none, 610 if it is inactive.
        """
        record = self.tables[entity].records.get(str(reference.get("value")))
        if record is None:
            raise bad_reference(what, reference.get("value"))
        if record.get("Active") is False:
            raise not_found()
        return record

    def new_id(self, entity: str) -> str:
        """The next id of the entity's sequence."""
        sequence = _SEQUENCE.get(entity, entity)
        self._last_id[sequence] += 1
        return str(self._last_id[sequence])

    def create(self, entity: str, fields: Mapping[str, Any], *, record_id: str | None = None) -> Record:
        """Store a new record, and announce it."""
        now = self.clock.now()
        chosen = record_id or self.new_id(entity)
        if record_id is not None:
            self._note_id(entity, record_id)
        record = {
            **fields,
            "domain": "QBO",
            "sparse": False,
            "Id": chosen,
            "SyncToken": "0",
            "MetaData": {"CreateTime": wire_time(now), "LastUpdatedTime": wire_time(now)},
        }
        self.put(entity, record)
        self.on_change(entity, chosen, "Create", now)
        return record

    def replace(self, entity: str, former: Record, fields: Mapping[str, Any], operation: str = "Update") -> Record:
        """Store a record's next version, and announce it."""
        now = self.clock.now()
        record = {
            **fields,
            "domain": "QBO",
            "sparse": False,
            "Id": former["Id"],
            "SyncToken": str(int(former["SyncToken"]) + 1),
            "MetaData": {"CreateTime": former["MetaData"]["CreateTime"], "LastUpdatedTime": wire_time(now)},
        }
        self.put(entity, record)
        self.on_change(entity, former["Id"], operation, now)
        return record

    def delete(self, entity: str, record: Record) -> None:
        """Drop a transaction, remember when, and announce it."""
        now = self.clock.now()
        self._shift_balance(record, -_owed(entity, record))
        self.tables[entity].remove(record["Id"])
        self.deleted[entity][record["Id"]] = wire_time(now)
        self.on_change(entity, record["Id"], "Delete", now)

    def put(self, entity: str, record: Record) -> None:
        """Store the record as it is, and keep its customer's balance right."""
        former = self.tables[entity].records.get(record["Id"])
        if former is not None:
            self._shift_balance(former, -_owed(entity, former))
        self.tables[entity].put(record)
        self._shift_balance(record, _owed(entity, record))

    def load(self, entity: str, records: Sequence[Record]) -> None:
        """Put records that were saved: their balances are right already."""
        for record in records:
            self.tables[entity].put(record)
            self._note_id(entity, record["Id"])
        if entity == "Payment":
            for record in records:
                self.note_applied(record)

    def note_deleted(self, deleted: Mapping[str, Mapping[str, str]]) -> None:
        """Take over what was deleted before the state was saved."""
        for entity, moments in deleted.items():
            self.deleted[entity].update(moments)
            for record_id in moments:
                self._note_id(entity, record_id)

    def note_applied(self, payment: Record) -> None:
        """Remember what a payment pays."""
        for line in payment.get("Line", ()):
            for linked in line.get("LinkedTxn", ()):
                key = (linked["TxnType"], linked["TxnId"])
                paid = self.applied[key].get(payment["Id"], Decimal(0))
                self.applied[key][payment["Id"]] = paid + Decimal(line["Amount"])

    def name_holders(self, name: str) -> Iterator[tuple[str, str]]:
        """Entity and id of who has this display name, over customers, vendors and employees."""
        for entity in NAMES:
            for record in self.tables[entity].with_value("DisplayName", [name]):
                yield entity, record["Id"]

    def _note_id(self, entity: str, record_id: str) -> None:
        if record_id.isdecimal():
            sequence = _SEQUENCE.get(entity, entity)
            self._last_id[sequence] = max(self._last_id[sequence], int(record_id))

    def _shift_balance(self, record: Record, by: Decimal) -> None:
        if by == 0:
            return
        customer = self.tables["Customer"].records[record["CustomerRef"]["value"]]
        balance = Decimal(customer["Balance"]) + by
        self.tables["Customer"].put({**customer, "Balance": balance, "BalanceWithJobs": balance})


def _owed(entity: str, record: Record) -> Decimal:
    """What the customer owes by this record; less than zero for credit."""
    match entity:
        case "Invoice":
            return Decimal(record["Balance"])
        case "CreditMemo":
            return -Decimal(record["RemainingCredit"])
        case "Payment":
            return -Decimal(record["UnappliedAmt"])
        case _:
            return Decimal(0)
