"""The CRM and the books: records, a feed of changes, a search that lags, and calls that go wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from tests.engine.simulation.runtime import FaultKind, Runtime
from tests.engine.simulation.watch import Watch
from tests.engine.world import _manifest, _voided
from tieout.domain.documents import CreditNote, Customer, Invoice, InvoiceStatus, RecordUpdate
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.engine.plan import plain
from tieout.mapping.reverse import with_values
from tieout.ports.connector import Account, ChangePage, Role

PAGE = 4
LATE_SECONDS = 12  # a request that we gave up may still be done so much later
LOOKS_SECONDS = 20  # a search that lags no longer than this keeps to the assumptions

BOOKS_MANIFEST = _manifest(
    "fake_books",
    Role.BOOKS,
    keeps_reference=frozenset({Kind.INVOICE, Kind.CREDIT_NOTE, Kind.CUSTOMER}),
    natural_key=frozenset({Kind.CUSTOMER, Kind.ITEM}),
    write_batch_max=3,
    read_batch_max=4,
)
CRM_MANIFEST = _manifest("fake_crm", Role.CRM, write_batch_max=3, read_batch_max=4)


class SimulatedProvider:
    """One account at one provider; implements `tieout.ports.connector.Connector`.

    Attributes:
        created: Ids of the records that were ever created for one of our references, the truth for the oracle.
        overwritten: What our writes replaced although somebody else had changed it after us.
        closed_writes: Our writes to documents of a closed period.
        refuses_closed: True unless these books leave it to their users to keep to a closed period.
    """

    def __init__(
        self,
        runtime: Runtime,
        tenant: str,
        name: str,
        *,
        lag_seconds: float,
        honours_key: bool,
        changed: Callable[[Kind, str], None],
        watch: Watch,
        wrote: Callable[[str, Effect, str, Record | None], None],
    ) -> None:
        self._runtime, self.tenant, self._name = runtime, tenant, name
        self._watch, self._wrote = watch, wrote
        self._side = Side.TARGET if name == "books" else Side.SOURCE
        self.manifest = BOOKS_MANIFEST if name == "books" else CRM_MANIFEST
        self._lag_seconds, self._honours_key, self._changed = lag_seconds, honours_key, changed
        self.records: dict[tuple[Kind, str], Record] = {}
        self.touched: dict[tuple[Kind, str], float] = {}
        self.signed_in = True
        self.created: dict[tuple[Kind, str], list[str]] = defaultdict(list)
        self.overwritten: list[str] = []
        self._log: list[tuple[Kind, str, float]] = []
        self._findable: dict[tuple[Kind, str], float] = {}
        self.ours: dict[tuple[Kind, str], Mapping[str, Any]] = {}
        self._answers: dict[tuple[str, str], str] = {}
        self._next_id = 100
        self._payments = 0
        self.deleted: dict[tuple[Kind, str], float] = {}
        self.closed_until: date | None = None
        self.closed_writes: list[str] = []
        self.refuses_closed = True

    # What people do

    def put(self, kind: Kind, record_id: str, **fields: Any) -> Record:
        """Create or change a record."""
        return self._put(kind, record_id, fields, ours=False)

    def _put(
        self, kind: Kind, record_id: str, fields: Mapping[str, Any], *, ours: bool, read_at: float | None = None
    ) -> Record:
        former = self.records.get((kind, record_id))
        version = str(int(former.version) + 1) if former else "0"
        record = Record(kind, record_id, version, self._runtime.now(), {**(former.fields if former else {}), **fields})
        self.records[kind, record_id] = record
        self._watch.changed(self._side, former, record, ours=ours, read_at=read_at)
        self._note(kind, record_id)
        return record

    def delete(self, kind: Kind, record_id: str) -> None:
        """Remove a record."""
        if self.records.pop((kind, record_id), None) is not None:
            self.touched[kind, record_id] = self._runtime.seconds
            self.deleted[kind, record_id] = self._runtime.seconds
            self._changed(kind, record_id)

    def revoke(self) -> None:
        """Somebody ends our sign-in."""
        self.signed_in = False

    def pay(self, invoice_id: str, amount: Decimal, day: date) -> None:
        """A customer pays so much of an invoice."""
        self._set_paid(invoice_id, self._money(invoice_id, "paid") + amount, day)

    def take_back(self, invoice_id: str, share: Decimal, day: date) -> None:
        """So much (0 to 1) of what was paid goes back: a refund, or all of it if the payment is deleted."""
        left = (self._money(invoice_id, "paid") * (1 - share)).quantize(Decimal("0.01"))
        self._set_paid(invoice_id, left, day if left else None)

    def _set_paid(self, invoice_id: str, paid: Decimal, day: date | None) -> None:
        self._payments += 1
        self.put(Kind.INVOICE, invoice_id, **money(self._money(invoice_id, "total"), paid), last_payment_on=day)
        self.put(Kind.PAYMENT, f"pay{self._payments}", invoice_ids=[invoice_id])

    def _money(self, invoice_id: str, name: str) -> Decimal:
        return Decimal(str(self.records[Kind.INVOICE, invoice_id].fields[name]))

    def void(self, invoice_id: str) -> None:
        """Somebody voids an invoice: it stays, with zero amounts."""
        zero = Decimal(0)
        there: Any = self.records[Kind.INVOICE, invoice_id].fields["lines"]
        lines = [{**line, "amount": zero, "unit_price": zero} for line in there]
        voided = {"status": "voided", "state": "voided"}
        self.put(Kind.INVOICE, invoice_id, lines=lines, total=zero, balance=zero, paid=zero, **voided)

    def set_amounts(self, invoice_id: str, amount: Decimal) -> None:
        """Somebody writes this amount into each line of an invoice."""
        there: Any = self.records[Kind.INVOICE, invoice_id].fields["lines"]
        lines = [{**line, "amount": amount} for line in there]
        made = money(amount * len(lines), self._money(invoice_id, "paid"))
        self.put(Kind.INVOICE, invoice_id, lines=lines, **made)

    def set_number(self, invoice_id: str, number: str) -> None:
        """Somebody gives an invoice another number."""
        self.put(Kind.INVOICE, invoice_id, number=number)

    def set_phone(self, customer_id: str, phone: str) -> None:
        """Somebody edits a customer."""
        if (Kind.CUSTOMER, customer_id) in self.records:
            self.put(Kind.CUSTOMER, customer_id, phone=phone)

    def edit(self, kind: Kind, record_id: str, values: Mapping[str, Any]) -> None:
        """Somebody edits fields of a record, by path."""
        there = self.records.get((kind, record_id))
        if there is not None:
            self.put(kind, record_id, **with_values(there, values).fields)

    def close(self, until: date) -> None:
        """Somebody closes the books up to and with a day."""
        self.closed_until = until

    def merge(self, customer_id: str, into: str) -> None:
        """Somebody merges two customers: the documents of the first are the second's now, and it is gone."""
        if (Kind.CUSTOMER, customer_id) not in self.records or (Kind.CUSTOMER, into) not in self.records:
            return
        for invoice in self.all(Kind.INVOICE):
            if invoice.fields.get("customer") == customer_id:
                self.put(Kind.INVOICE, invoice.id, customer=into)
                self._watch.moved[invoice.id] = self._runtime.seconds
                if (Kind.INVOICE, invoice.id) in self.ours:
                    self.ours[Kind.INVOICE, invoice.id] = moved(self.ours[Kind.INVOICE, invoice.id], into)
        self.delete(Kind.CUSTOMER, customer_id)

    def all(self, kind: Kind) -> list[Record]:
        return [record for (of, _), record in self.records.items() if of == kind]

    def cursor_at_start(self) -> str:
        """The cursor after all that stands there already."""
        return str(len(self._log))

    def _note(self, kind: Kind, record_id: str) -> None:
        self.touched[kind, record_id] = self._runtime.seconds
        self._log.append((kind, record_id, self._runtime.seconds + self._runtime.random.random() * 20))
        self._changed(kind, record_id)

    # What the engine asks

    def _call(self, name: str, detail: str = "") -> FaultKind | None:
        worker = self._runtime.current
        if worker is not None:
            worker.calls += 1
        fault = self._runtime.enter(f"{self._name}.{name}", f"{self.tenant} {detail}", slow=True)
        if not self.signed_in:
            raise ReconnectError("The provider no longer accepts our sign-in.")
        if fault is FaultKind.THROTTLE:
            raise ThrottledError("Too many calls.", retry_after_seconds=30)
        if fault is FaultKind.DOWN:
            raise UnavailableError("The provider does not answer.")
        return fault

    def _ask(self, name: str, read: Callable[[], Any], detail: str = "") -> Any:
        fault = self._call(name, detail)
        found = read()
        self._runtime.leave(fault)
        if fault in (FaultKind.LOST, FaultKind.GARBLE):
            raise UnavailableError("No answer came, or none that can be understood.")
        return found

    def probe(self) -> Account:
        return self._ask("probe", lambda: Account("1", "Fake", "USD"))

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        def found() -> Sequence[Record]:
            if (worker := self._runtime.current) is not None:
                self._watch.read(worker.name, kind, ids)
            return [self.records[kind, one] for one in ids if (kind, one) in self.records]

        return self._ask("read", found, f"{kind} {' '.join(ids)}")

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        wanted = {value.casefold() for value in values}
        return self._ask(
            "search",
            lambda: [one for one in self.all(kind) if str(one.fields.get(field, "")).casefold() in wanted],
            f"{kind} {field} {' | '.join(values)}",
        )

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        return self._ask("changes", lambda: self._page(kind, int(cursor or 0)), f"{kind} after {cursor}")

    def _page(self, kind: Kind, start: int) -> ChangePage:
        """The list is stale: it ends before the first change that does not show yet, and so does its cursor."""
        end = start
        found: dict[str, Record] = {}
        shown = self._shown()
        while end < shown and len(found) < PAGE:
            of, record_id, _ = self._log[end]
            if of == kind and (kind, record_id) in self.records:
                found[record_id] = self.records[kind, record_id]
            end += 1
        return ChangePage(list(found.values()), str(end), more=end < shown)

    def _shown(self) -> int:
        now = self._runtime.seconds
        return next((index for index, (*_, at) in enumerate(self._log) if at > now), len(self._log))

    def cursor_now(self, kind: Kind) -> str:
        return self._ask("cursor", lambda: str(self._shown()), str(kind))

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        return self._ask("ids", lambda: ([record.id for record in self.all(kind)], None), str(kind))

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        return self._ask("find", lambda: self._found(effects), " ".join(_said(effect) for effect in effects))

    def _found(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        found: dict[str, list[Match]] = {}
        for effect in effects:
            matches = [self._match(effect, record) for record in self.all(effect.kind) if self._is_findable(record)]
            if any(matches):
                found[effect.id] = [match for match in matches if match is not None]
        return found

    def _is_findable(self, record: Record) -> bool:
        return self._findable.get((record.kind, record.id), 0) <= self._runtime.seconds

    def _match(self, effect: Effect, record: Record) -> Match | None:
        if record.fields.get("reference") == effect.reference:
            return Match(record, MatchedBy.REFERENCE)
        if effect.kind in self.manifest.natural_key:
            name = getattr(effect.document, "name", None)
            if name is not None and record.fields.get("name") == name:
                return Match(record, MatchedBy.NATURAL_KEY)
        if effect.similar and _look_alike(effect, record):
            return Match(record, MatchedBy.SIMILAR)
        return None

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        try:
            fault = self._call("write", " ".join(_said(effect) for effect in effects))
        except ProviderError as error:
            return [NotDone(effect.id, error) for effect in effects]
        lost = UncertainError("The answer was lost.")
        worker = self._runtime.current.name if self._runtime.current is not None else ""
        if fault in (FaultKind.VANISHED, FaultKind.LATE):
            if fault is FaultKind.LATE:
                self._runtime.after(LATE_SECONDS, lambda: [self._write(effect, worker) for effect in effects])
            return [Unknown(effect.id, lost) for effect in effects]
        if fault is FaultKind.REFUSE:
            return [NotDone(effect.id, RejectedError("The books refuse this.", code="6000")) for effect in effects]
        outcomes = [self._write(effect, worker) for effect in effects]
        self._runtime.leave(fault)
        if fault is FaultKind.GARBLE:  # what the answer still says can be believed
            return outcomes[: len(outcomes) // 2]
        return [Unknown(effect.id, lost) for effect in effects] if fault is FaultKind.LOST else outcomes

    def _write(self, effect: Effect, worker: str) -> Outcome:
        key = (effect.id, effect.attempt)
        if self._honours_key and key in self._answers and (effect.kind, self._answers[key]) in self.records:
            return Done(effect.id, self.records[effect.kind, self._answers[key]])
        if (refusal := self._refusal(effect)) is not None:
            return NotDone(effect.id, refusal)
        record_id = effect.target_id or self._new_id()
        fields = self._fields(effect, record_id)
        if self._is_closed(effect, record_id, fields) and self.refuses_closed:
            return NotDone(effect.id, RejectedError("The books are closed for this date.", code="6210", field="date"))
        if self._is_closed(effect, record_id, fields):
            self.closed_writes.append(f"{self.tenant} {effect.kind} {record_id} while closed until {self.closed_until}")
        self._note_overwritten(effect, record_id, fields)
        # Only where the provider has no versions can a write replace what came after it was read.
        former = self.records.get((effect.kind, record_id))
        read_at = None if self.manifest.versions else self._watch.read_at(worker, effect.kind, record_id)
        record = self._put(effect.kind, record_id, fields, ours=True, read_at=read_at)
        self._wrote(self._name, effect, worker, former)
        if effect.kind is Kind.INVOICE:
            self._watch.moved.pop(record_id, None)
        if effect.operation is Operation.CREATE:
            self.created[effect.kind, effect.reference].append(record_id)
            self._findable[effect.kind, record_id] = self._runtime.seconds + self._lag_seconds
        found = plain(former.fields) if former is not None else {}
        self.ours[effect.kind, record_id] = {**self.ours.get((effect.kind, record_id), found), **plain(fields)}
        self._answers[key] = record_id
        return Done(effect.id, record)

    def _note_overwritten(self, effect: Effect, record_id: str, fields: Mapping[str, Any]) -> None:
        """Note what this write replaces that somebody else wrote after us. The CRM's fields are ours alone."""
        ours = self.ours.get((effect.kind, record_id))
        if effect.operation is Operation.CREATE or ours is None or self._name != "books":
            return
        if effect.kind is Kind.CUSTOMER and self._watch.two_way:
            return  # the watch knows both sides
        there = plain(self.records[effect.kind, record_id].fields)
        given = effect.document.as_fields()
        for name, new in plain(fields).items():
            if self._lag_seconds > LOOKS_SECONDS and self._watch.was_linked_late(record_id, name):
                continue  # outside the assumptions: what is found so late is linked as it stands
            if name in given and there.get(name) != ours.get(name) and there.get(name) != new:
                self.overwritten.append(f"{self.tenant} {effect.kind} {record_id} {name}: {there.get(name)} -> {new}")

    def _is_closed(self, effect: Effect, record_id: str, fields: Mapping[str, Any]) -> bool:
        """True if the books are closed for the document's date, before or after the write."""
        there = self.records.get((effect.kind, record_id))
        dates = [each.get("date") for each in (fields, there.fields if there is not None else {})]
        return self.closed_until is not None and any(one is not None and one <= self.closed_until for one in dates)

    def _refusal(self, effect: Effect) -> ProviderError | None:
        if effect.operation is Operation.CREATE:
            if effect.kind not in self.manifest.natural_key:
                return None
            names = {record.fields.get("name") for record in self.all(effect.kind)}
            taken = getattr(effect.document, "name", None) in names
            return RejectedError("The name is taken.", code="6240", field="name") if taken else None
        there = self.records.get((effect.kind, effect.target_id or ""))
        if there is None:
            return NotFoundError("The record is gone.")
        stale = self.manifest.versions and there.version != effect.target_version
        return ConflictError("Stale version.") if stale else None

    def _new_id(self) -> str:
        self._next_id += 1
        return str(self._next_id)

    def _fields(self, effect: Effect, record_id: str) -> dict[str, Any]:
        document, there = effect.document, self.records.get((effect.kind, record_id))
        former: Mapping[str, Any] = there.fields if there is not None else {}
        if isinstance(document, RecordUpdate):
            return dict(with_values(self.records[effect.kind, record_id], document.fields).fields)
        fields = document.as_fields()
        if effect.kind in self.manifest.keeps_reference:
            fields["reference"] = effect.reference
        if isinstance(document, CreditNote):
            fields["total"] = sum((line.amount for line in document.lines), Decimal(0))
        if isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED:
            return _voided(fields)
        if isinstance(document, Invoice):
            fields |= money(sum((line.amount for line in document.lines), Decimal(0)), former.get("paid", Decimal(0)))
        return fields


def _look_alike(effect: Effect, record: Record) -> bool:
    """As a search by the first word of the name finds it."""
    if not isinstance(effect.document, Customer):
        return False
    return effect.document.name.casefold().split()[:1] == str(record.fields.get("name", "")).casefold().split()[:1]


def moved(ours: Mapping[str, Any], customer_id: str) -> Mapping[str, Any]:
    """What we wrote, with the customer that the books put in place of the merged one: nobody edited the invoice."""
    return {**ours, "customer": customer_id}


def money(total: Decimal, paid: Decimal) -> dict[str, Any]:
    """What the books know of an invoice of this total, of which so much is paid."""
    balance = total - paid
    state = "open" if not paid else "paid" if balance <= 0 else "partly_paid"
    return {"total": total, "paid": paid, "balance": balance, "state": state}


def _said(effect: Effect) -> str:
    document = effect.document
    name = getattr(document, "number", None) or getattr(document, "name", None) or effect.target_id
    total = document.expected_total() if isinstance(document, Invoice) else ""
    return f"{effect.operation} {effect.kind} {name} {total} v{effect.target_version}".strip()
