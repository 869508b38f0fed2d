"""One simulated company: what can be done with its records, whatever the wire. Safe between threads by `lock`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from tieout.ports.clock import Clock
from tieout_sandbox.simulators.quickbooks_online import names, payments, sales, seed
from tieout_sandbox.simulators.quickbooks_online.books import ENTITIES, NAME_LISTS, NAMES, TRANSACTIONS, Books, Record
from tieout_sandbox.simulators.quickbooks_online.errors import (
    bad_query,
    bad_query_text,
    not_found,
    required,
    stale,
    unsupported,
)
from tieout_sandbox.simulators.quickbooks_online.properties import has_property, normalised
from tieout_sandbox.simulators.quickbooks_online.query import Query, field_value, matcher, parse, sort_key
from tieout_sandbox.simulators.quickbooks_online.settings import Settings
from tieout_sandbox.simulators.quickbooks_online.times import PACIFIC

# TaxCode is read-only; CDC leaves it out too. Source: change data capture page of API v3, read 2026-01.
_WRITABLE = frozenset(ENTITIES) - {"TaxCode"}
_VOIDABLE = frozenset({"Invoice", "Payment"})
_NOT_IN_CDC = frozenset({"TaxCode"})
_SET_BY_QUICKBOOKS = frozenset({
    *("Id", "SyncToken", "MetaData", "domain", "sparse", "status"),
    *("Balance", "BalanceWithJobs", "RemainingCredit", "UnappliedAmt", "LinkedTxn", "FullyQualifiedName", "Level"),
})  # fmt: skip
# Kept over a full update though the request cannot set them.
_CARRIED_OVER = ("Balance", "BalanceWithJobs", "LinkedTxn")
# Properties that a query may not filter or order by. Source: entity pages of API v3 (`filterable`), in part own choice.
_NOT_FILTERABLE = frozenset({
    *("PrivateNote", "Line", "TxnTaxDetail", "CustomField", "LinkedTxn", "CustomerMemo", "Notes", "BillAddr"),
    *("ShipAddr", "BillEmail", "SyncToken", "domain", "sparse", "status"),
})  # fmt: skip


class Company:
    """A realm.

    Attributes:
        realm: Its id.
        lock: Held by whoever calls a method.
        shows: False for a record that a search does not show yet. One asked for by its id is always shown.
    """

    def __init__(
        self,
        realm: str,
        settings: Settings,
        clock: Clock,
        on_change: Callable[[str, str, str, str, datetime], None],
    ) -> None:
        self.realm = realm
        self.lock = threading.RLock()
        self.shows: Callable[[str, Record], bool] | None = None
        self._settings = settings
        self._clock = clock
        self._announced = False
        self._on_change = on_change
        self.books = Books(settings, clock, self._changed)
        self._complete: Mapping[str, Callable[[Books, Record, Record | None], Record]] = {
            **{entity: _for(names.completed_name, entity) for entity in NAMES},
            **{entity: _for(sales.completed_form, entity) for entity in ("Invoice", "CreditMemo")},
            "Item": names.completed_item,
            "Term": names.completed_term,
            "Account": names.completed_account,
            "Payment": payments.completed_payment,
        }

    def _changed(self, entity: str, record_id: str, operation: str, now: datetime) -> None:
        if self._announced:
            self._on_change(self.realm, entity, record_id, operation, now)

    def fill(self) -> None:
        """Lay down what a new company has, without telling anybody."""
        seed.fill(self.books)
        self._announced = True

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on where a former run stopped."""
        for entity in ENTITIES:
            self.books.load(entity, saved["records"].get(entity, []))
        self.books.note_deleted(saved["deleted"])
        self.books.next_number.update({entity: int(number) for entity, number in saved["next_number"].items()})
        self._announced = True

    def snapshot(self) -> dict[str, Any]:
        """All that `restore` needs; shares only records, which never change."""
        return {
            "records": {entity: list(table.records.values()) for entity, table in self.books.tables.items()},
            "deleted": {entity: dict(moments) for entity, moments in self.books.deleted.items()},
            "next_number": dict(self.books.next_number),
        }

    def read(self, entity: str, record_id: str) -> Record:
        """The record.

        Raises:
            FaultError: 610 if there is none.
        """
        return self.books.get(entity, record_id)

    def create(self, entity: str, sent: Mapping[str, Any]) -> Record:
        """Create a record.

        Raises:
            FaultError: By the rules of the entity.
        """
        _refuse_unwritable(entity)
        fields = _sendable(normalised(entity, sent))
        created = self.books.create(entity, self._complete[entity](self.books, fields, None))
        if entity == "Payment":
            payments.apply_payment(self.books, created["Id"], created)
        return self.read(entity, created["Id"])

    def update(self, entity: str, sent: Mapping[str, Any]) -> Record:
        """Replace a record, or with `sparse` the sent properties of it.

        Raises:
            FaultError: 2020, 5010, 610, or by the rules of the entity.
        """
        _refuse_unwritable(entity)
        fields = normalised(entity, sent)
        former = self._current(entity, fields)
        wanted = _sendable(fields)
        if fields.get("sparse"):
            cleared = {name for name, value in sent.items() if value is None or value == ""}
            wanted = {name: value for name, value in {**former, **wanted}.items() if name not in cleared}
            wanted = _without_derived(entity, wanted, set(fields))
        else:
            wanted |= {name: former[name] for name in _CARRIED_OVER if name in former}
        updated = self.books.replace(entity, former, self._complete[entity](self.books, wanted, former))
        if entity == "Payment":
            payments.apply_payment(self.books, updated["Id"], updated)
        return self.read(entity, updated["Id"])

    def void(self, entity: str, sent: Mapping[str, Any]) -> Record:
        """Void a transaction: it stays, with zero amounts.

        Raises:
            FaultError: 2020, 5010, 610, 6210, or 500 if the entity cannot be voided.
        """
        if entity not in _VOIDABLE:
            raise unsupported("void")
        former = self._current(entity, normalised(entity, sent))
        sales.refuse_closed(self.books, date.fromisoformat(former["TxnDate"]))
        if entity == "Payment":
            voided = self.books.replace(entity, former, payments.voided_payment(former), "Void")
            payments.apply_payment(self.books, voided["Id"], voided)
            return voided
        payments.release_form(self.books, entity, former["Id"])
        return self.books.replace(entity, former, sales.voided_form(former), "Void")

    def delete(self, entity: str, sent: Mapping[str, Any]) -> Record:
        """Delete a transaction for good; the stub that QuickBooks answers.

        Raises:
            FaultError: 2020, 5010, 610, 6210, or 500 if the entity cannot be deleted.
        """
        if entity not in TRANSACTIONS:
            raise unsupported("delete")
        record = self._current(entity, normalised(entity, sent))
        sales.refuse_closed(self.books, date.fromisoformat(record["TxnDate"]))
        if entity == "Payment":
            payments.apply_payment(self.books, record["Id"], None)
        else:
            payments.release_form(self.books, entity, record["Id"])
        self.books.delete(entity, record)
        return {"domain": "QBO", "status": "Deleted", "Id": record["Id"]}

    def query(self, text: str) -> dict[str, Any]:
        """What a query asks, as the value of `QueryResponse`.

        Raises:
            FaultError: 4000 or 4001.
        """
        asked = parse(text, self._settings.query_page_max)
        entity = {known.lower(): known for known in ENTITIES}.get(asked.entity.lower())
        singletons = {"companyinfo": seed.company_info, "preferences": seed.preferences}
        if entity is None and asked.entity.lower() in singletons:
            record = singletons[asked.entity.lower()](self._settings, self.realm)
            name = "CompanyInfo" if asked.entity.lower() == "companyinfo" else "Preferences"
            return {name: [record], "startPosition": 1, "maxResults": 1}
        if entity is None:
            raise bad_query_text(f"Encountered invalid entity {asked.entity}")
        _refuse_unfilterable(entity, asked)
        found = self._matching(entity, asked)
        if asked.count:
            return {"totalCount": len(found)}
        for field, descending in reversed(asked.order):
            found.sort(key=lambda record: sort_key(record, field), reverse=descending)
        page = found[asked.start - 1 : asked.start - 1 + asked.page]
        if not page:
            return {}
        return {
            entity: [_selected(record, asked.fields) for record in page],
            "startPosition": asked.start,
            "maxResults": len(page),
        }

    def changes(self, entities: Sequence[str], since: datetime) -> list[dict[str, Any]]:
        """What changed since then, one `QueryResponse` for each entity; never more objects than the cap in all.

        Raises:
            FaultError: 4001 if that is too long ago (own choice of code), 500 for entities without change data.
        """
        if since < self._clock.now() - timedelta(days=self._settings.cdc_days_max):
            raise bad_query(f"changedSince is more than {self._settings.cdc_days_max} days ago")
        left = self._settings.cdc_objects_max
        answer: list[dict[str, Any]] = []
        for asked in entities:
            entity = {known.lower(): known for known in ENTITIES}.get(asked.strip().lower())
            if entity is None or entity in _NOT_IN_CDC:
                raise unsupported(f"cdc {asked}")
            changed = self._changed_since(entity, since)[:left]
            left -= len(changed)
            answer.append(
                {entity: changed, "startPosition": 1, "maxResults": len(changed), "totalCount": len(changed)}
                if changed
                else {}
            )
        return answer

    def _changed_since(self, entity: str, since: datetime) -> list[Record]:
        def updated(record: Mapping[str, Any]) -> datetime:
            return datetime.fromisoformat(record["MetaData"]["LastUpdatedTime"])

        # MetaData has whole seconds: what changed in the second of `since` counts as changed.
        floor = since.replace(microsecond=0)
        living = [record for record in self.books.tables[entity].records.values() if updated(record) >= floor]
        if self.shows is not None:
            living = [record for record in living if self.shows(entity, record)]
        gone = [
            {"domain": "QBO", "status": "Deleted", "Id": record_id, "MetaData": {"LastUpdatedTime": moment}}
            for record_id, moment in self.books.deleted.get(entity, {}).items()
        ]
        return [*sorted(living, key=updated), *sorted((r for r in gone if updated(r) >= floor), key=updated)]

    def _current(self, entity: str, fields: Mapping[str, Any]) -> Record:
        for needed in ("Id", "SyncToken"):
            if needed not in fields:
                raise required(needed)
        record = self.books.tables[entity].records.get(fields["Id"])
        if record is None:
            raise not_found()
        if record["SyncToken"] != fields["SyncToken"]:
            raise stale()
        return record

    def _matching(self, entity: str, asked: Query) -> list[Record]:
        table = self.books.tables[entity]
        conditions = list(asked.conditions)
        by_index = next(
            (each for each in conditions if each.operator in {"=", "IN"} and each.field in {"Id", *table.indexed}), None
        )
        if by_index is not None:
            candidates = table.with_value(by_index.field, by_index.values)
            candidates.sort(key=lambda record: sort_key(record, "Id"))
            conditions.remove(by_index)
        else:
            candidates = list(table.records.values())
        tests = [matcher(each) for each in conditions]
        shows = self.shows
        if shows is not None and (by_index is None or by_index.field != "Id"):
            tests.append(lambda record: shows(entity, dict(record)))
        if entity in NAME_LISTS and not any(each.field == "Active" for each in conditions):
            tests.append(lambda record: field_value(record, "Active") is not False)
        return [record for record in candidates if all(test(record) for test in tests)]


def since_parameter(text: str) -> datetime:
    """The moment of `changedSince`; without an offset it is the company's.

    Raises:
        FaultError: 4001 if it is none.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_query(f"Invalid date value: {text}") from error
    return read if read.tzinfo is not None else read.replace(tzinfo=PACIFIC)


def _for(
    rule: Callable[[Books, str, Record, Record | None], Record], entity: str
) -> Callable[[Books, Record, Record | None], Record]:
    return lambda books, fields, former: rule(books, entity, fields, former)


def _refuse_unwritable(entity: str) -> None:
    if entity not in _WRITABLE:
        raise unsupported(f"write {entity}")


def _sendable(fields: Mapping[str, Any]) -> Record:
    """What a request may set; the rest is QuickBooks' own and is ignored when it is sent back."""
    return {name: value for name, value in fields.items() if name not in _SET_BY_QUICKBOOKS}


def _without_derived(entity: str, wanted: Record, sent: set[str]) -> Record:
    """A sparse update derives anew what depends on something sent, unless it was sent too."""
    derived: set[str] = set()
    if entity == "Invoice" and sent & {"TxnDate", "SalesTermRef"} and "DueDate" not in sent:
        derived.add("DueDate")
    if "TxnTaxDetail" not in sent and "TxnTaxCodeRef" not in wanted.get("TxnTaxDetail", {}):
        derived.add("TxnTaxDetail")
    if "CompanyName" in sent or "DisplayName" in sent:
        derived |= {"PrintOnCheckName"} - sent
    return {name: value for name, value in wanted.items() if name not in derived}


def _refuse_unfilterable(entity: str, asked: Query) -> None:
    for path in [*(each.field for each in asked.conditions), *(field for field, _ in asked.order)]:
        first = path.partition(".")[0]
        if not has_property(entity, first) or first in _NOT_FILTERABLE:
            raise bad_query(f"Property {path} not found for Entity {entity}")
    for name in asked.fields:
        if not has_property(entity, name.partition(".")[0]):
            raise bad_query(f"Property {name} not found for Entity {entity}")


def _selected(record: Record, fields: Sequence[str]) -> Record:
    if not fields:
        return record
    kept = {path.partition(".")[0] for path in fields} | {"Id", "domain"}
    return {**{name: value for name, value in record.items() if name in kept}, "sparse": True}
