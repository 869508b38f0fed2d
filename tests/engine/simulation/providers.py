"""The CRM and the books: records, a feed of changes, a search that lags, and calls that go wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from tests.engine.simulation.allowance import Allowance
from tests.engine.simulation.rotation import Met
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
from tieout.ports.connector import Account, ChangePage, Manifest, Role

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

FORGOTTEN = 0.4  # of the deletions, by a feed with gaps
_POSTED = (Kind.INVOICE, Kind.CREDIT_NOTE)
_DRAFT = "draft"


class BeyondManifestError(Exception):
    """We ask for what the provider says that it cannot do."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model provider behaves like.

    Attributes:
        manifest: What it says of itself.
        in_steps: It makes invoices and credit notes by one call and posts them by another.
        gaps: Of the deletions that its feed would tell of it forgets some, and says then that there was a gap.
        told_seconds: So long it sends notifications after it was reminded; 0 for ever.
    """

    manifest: Manifest
    in_steps: bool = False
    gaps: bool = False
    told_seconds: int = 0


class SimulatedProvider:
    """One account at one provider; implements `tieout.ports.connector.Connector`.

    Attributes:
        created: Ids of the records that were ever created for one of our references, the truth for the oracle.
        overwritten: What our writes replaced although somebody else had changed it after us.
        closed_writes: Our writes to documents of a closed period.
        refuses_closed: True unless these books leave it to their users to keep to a closed period.
        met: What of its peculiarities anybody met.
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
        traits: Traits | None = None,
        allowance: Allowance | None = None,
        met: Counter[Met] | None = None,
    ) -> None:
        self._runtime, self.tenant, self._name = runtime, tenant, name
        self._watch, self._wrote = watch, wrote
        self._side = Side.TARGET if name == "books" else Side.SOURCE
        self.traits = traits or Traits(BOOKS_MANIFEST if name == "books" else CRM_MANIFEST)
        self.manifest = self.traits.manifest
        self.allowance = allowance
        self.met: Counter[Met] = Counter() if met is None else met
        self._last_read: dict[tuple[str, Kind, str], float] = {}
        self._edited: dict[tuple[Kind, str], float] = {}
        self._told_until = 0.0
        self._lag_seconds, self._honours_key, self._changed = lag_seconds, honours_key, changed
        self.records: dict[tuple[Kind, str], Record] = {}
        self.touched: dict[tuple[Kind, str], float] = {}
        self.signed_in = True
        self.created: dict[tuple[Kind, str], list[str]] = defaultdict(list)
        self.overwritten: list[str] = []
        self._log: list[tuple[Kind, str, float]] = []
        self._findable: dict[tuple[Kind, str], float] = {}
        self.ours: dict[tuple[Kind, str], Mapping[str, Any]] = {}
        self._answers: dict[tuple[str, str], tuple[str, float]] = {}
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
        if not ours:
            self._edited[kind, record_id] = self._runtime.seconds
        self._note(kind, record_id)
        return record

    def delete(self, kind: Kind, record_id: str) -> None:
        """Remove a record."""
        if self.records.pop((kind, record_id), None) is not None:
            self.touched[kind, record_id] = self._runtime.seconds
            self.deleted[kind, record_id] = self._runtime.seconds
            self._log_deletion(kind, record_id)
            self._changed(kind, record_id)

    def _log_deletion(self, kind: Kind, record_id: str) -> None:
        """The feed may tell of it; what it forgets leaves a gap, which is an entry without an id."""
        if kind not in self.manifest.deletions_visible:
            self.met[Met.DELETION_UNTOLD] += 1
            return
        forgets = self.traits.gaps and self._runtime.random.random() < FORGOTTEN
        self._log.append((kind, "" if forgets else record_id, self._shows_at()))

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
        self._log.append((kind, record_id, self._shows_at()))
        self._changed(kind, record_id)

    def _shows_at(self) -> float:
        """When the feed shows what happens now."""
        return self._runtime.seconds + self._runtime.random.random() * 20

    # Notifications

    def tells(self, kind: Kind) -> bool:
        """True if a notification is sent of what changes now."""
        if not self.manifest.webhooks or kind not in self.manifest.reads:
            self.met[Met.UNTOLD] += not self.manifest.webhooks
            return False
        if self.traits.told_seconds and self._runtime.seconds > self._told_until:
            self.met[Met.LAPSED] += 1
            return False
        return True

    # What the engine asks

    def _call(self, name: str, detail: str = "") -> FaultKind | None:
        worker = self._runtime.current
        if worker is not None:
            worker.calls += 1
        with self.allowance.call() if self.allowance is not None else nullcontext():
            fault = self._runtime.enter(f"{self._name}.{name}", f"{self.tenant} {detail}", slow=True)
            if not self.signed_in:
                raise ReconnectError("The provider no longer accepts our sign-in.")
            if fault is FaultKind.THROTTLE:
                raise ThrottledError("Too many calls.", retry_after_seconds=30)
            if fault is FaultKind.DOWN:
                raise UnavailableError("The provider does not answer.")
        return fault

    def _answered(self, fault: FaultKind | None) -> None:
        """The answer is on its way, and then the call is over."""
        self._runtime.leave(fault)
        if self.allowance is not None:
            self.allowance.ended()

    def _ask(self, name: str, read: Callable[[], Any], detail: str = "") -> Any:
        fault = self._call(name, detail)
        found = read()
        self._answered(fault)
        if fault in (FaultKind.LOST, FaultKind.GARBLE):
            raise UnavailableError("No answer came, or none that can be understood.")
        return found

    def probe(self) -> Account:
        return self._ask("probe", lambda: Account("1", "Fake", "USD"))

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        self._within(len(ids), self.manifest.read_batch_max, Met.FULL_READ)
        self._is_read(kind)

        def found() -> Sequence[Record]:
            if (worker := self._runtime.current) is not None:
                self._watch.read(worker.name, kind, ids)
                self._last_read.update({(worker.name, kind, one): self._runtime.seconds for one in ids})
            return [self.records[kind, one] for one in ids if (kind, one) in self.records]

        return self._ask("read", found, f"{kind} {' '.join(ids)}")

    def _within(self, count: int, most: int, full: Met) -> None:
        if count > most:
            raise BeyondManifestError(f"{self._name}: {count} at once, of {most}")
        self.met[full] += count == most

    def _is_read(self, kind: Kind) -> None:
        if kind not in self.manifest.reads:
            raise BeyondManifestError(f"{self._name}: no {kind} can be read")

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        self._is_read(kind)
        wanted = {value.casefold() for value in values}
        return self._ask(
            "search",
            lambda: [one for one in self.all(kind) if str(one.fields.get(field, "")).casefold() in wanted],
            f"{kind} {field} {' | '.join(values)}",
        )

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        self._is_read(kind)
        return self._ask("changes", lambda: self._page(kind, int(cursor or 0)), f"{kind} after {cursor}")

    def _page(self, kind: Kind, start: int) -> ChangePage:
        """The list is stale: it ends before the first change that does not show yet, and so does its cursor."""
        end, unsure = start, False
        found: dict[str, Record] = {}
        gone: dict[str, None] = {}
        shown = self._shown()
        while end < shown and len(found) < PAGE:
            of, record_id, _ = self._log[end]
            if of == kind and (kind, record_id) in self.records:
                found[record_id] = self.records[kind, record_id]
            elif of == kind and kind in self.manifest.deletions_visible:
                unsure = unsure or not record_id
                gone |= {record_id: None} if record_id else {}
            end += 1
        self.met[Met.GAP] += unsure
        self.met[Met.DELETION_TOLD] += bool(gone)
        return ChangePage(list(found.values()), str(end), end < shown, list(gone), unsure)

    def _shown(self) -> int:
        now = self._runtime.seconds
        return next((index for index, (*_, at) in enumerate(self._log) if at > now), len(self._log))

    def cursor_now(self, kind: Kind) -> str:
        return self._ask("cursor", lambda: str(self._shown()), str(kind))

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        self._is_read(kind)
        return self._ask("ids", lambda: ([record.id for record in self.all(kind)], None), str(kind))

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        self._within(len(effects), self.manifest.write_batch_max, Met.FULL_WRITE)
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
            self.met[Met.BY_REFERENCE] += 1
            self.met[Met.LEFT_HALF_WAY] += is_draft(record)
            return Match(record, MatchedBy.REFERENCE, unfinished=is_draft(record))
        if effect.kind in self.manifest.natural_key:
            name = getattr(effect.document, "name", None)
            if name is not None and record.fields.get("name") == name:
                self.met[Met.BY_NAME] += effect.kind not in self.manifest.keeps_reference
                return Match(record, MatchedBy.NATURAL_KEY)
        if effect.similar and _look_alike(effect, record):
            return Match(record, MatchedBy.SIMILAR)
        return None

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        self._can_write(effects)
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
        self._answered(fault)
        if fault is FaultKind.GARBLE:  # what the answer still says can be believed
            outcomes = outcomes[: len(outcomes) // 2]
        if fault is FaultKind.LOST:
            return [Unknown(effect.id, lost) for effect in effects]
        return [self._finished(effect, outcome) for effect, outcome in zip(effects, outcomes, strict=False)]

    def _can_write(self, effects: Sequence[Effect]) -> None:
        self._within(len(effects), self.manifest.write_batch_max, Met.FULL_WRITE)
        for effect in effects:
            if effect.kind not in self.manifest.writes:
                raise BeyondManifestError(f"{self._name}: no {effect.kind} can be written")
            if isinstance(effect.document, RecordUpdate):
                self.met[Met.NAMED_PATHS] += effect.kind in self.manifest.updates
                for path in effect.document.fields:
                    if not self.manifest.takes(effect.kind, path):
                        raise BeyondManifestError(f"{self._name}: an update of a {effect.kind} cannot name {path}")

    def _finished(self, effect: Effect, made: Outcome) -> Outcome:
        """The outcome; of a document that was only made, how posting it ended."""
        if not isinstance(made, Done) or not is_draft(made.record):
            return made
        unsure = Unknown(effect.id, UncertainError("It was made; whether it is posted is not known."))
        self.met[Met.DRAFTED] += 1
        try:
            fault = self._call("post", _said(effect))
        except ProviderError:
            return unsure
        if fault in (FaultKind.VANISHED, FaultKind.LATE):
            if fault is FaultKind.LATE:
                self._runtime.after(LATE_SECONDS, lambda: self._post(effect, made.record.id))
            return unsure
        if fault is FaultKind.REFUSE:
            return NotDone(effect.id, RejectedError("It stands there as a draft; it cannot be posted.", code="6000"))
        posted = self._post(effect, made.record.id)
        self._answered(fault)
        return unsure if posted is None or fault in (FaultKind.LOST, FaultKind.GARBLE) else Done(effect.id, posted)

    def _post(self, effect: Effect, record_id: str) -> Record | None:
        """The document, posted now or before; None if it is gone."""
        there = self.records.get((effect.kind, record_id))
        if there is None or not is_draft(there):
            return there
        return self._put(effect.kind, record_id, {"state": "open"}, ours=True)

    def _write(self, effect: Effect, worker: str) -> Outcome:
        if (answered := self._known_answer(effect)) is not None:
            return answered
        if (refusal := self._refusal(effect)) is not None:
            self.met[Met.STALE_REFUSED] += isinstance(refusal, ConflictError)
            return NotDone(effect.id, refusal)
        draft = self._draft_of(effect)
        record_id = effect.target_id or draft or self._new_id()
        fields = self._fields(effect, record_id)
        if self._is_closed(effect, record_id, fields) and self.refuses_closed:
            return NotDone(effect.id, RejectedError("The books are closed for this date.", code="6210", field="date"))
        if self._is_closed(effect, record_id, fields):
            self.closed_writes.append(f"{self.tenant} {effect.kind} {record_id} while closed until {self.closed_until}")
        self._note_overwritten(effect, worker, record_id, fields)
        # Only where the provider has no versions can a write replace what came after it was read.
        former = self.records.get((effect.kind, record_id))
        read_at = self._read_at(worker, effect.kind, record_id)
        record = self._put(effect.kind, record_id, fields, ours=True, read_at=read_at)
        self._wrote(self._name, effect, worker, former)
        if effect.kind is Kind.INVOICE:
            self._watch.moved.pop(record_id, None)
        if effect.operation is Operation.CREATE and draft is None:
            self.created[effect.kind, effect.reference].append(record_id)
            self._findable[effect.kind, record_id] = self._runtime.seconds + self._lag_seconds
        found = plain(former.fields) if former is not None else {}
        self.ours[effect.kind, record_id] = {**self.ours.get((effect.kind, record_id), found), **plain(fields)}
        self._answers[effect.id, effect.attempt] = (record_id, self._runtime.seconds)
        return Done(effect.id, record)

    def _known_answer(self, effect: Effect) -> Done | None:
        """The first answer to a repeated key, while the books keep it."""
        record_id, at = self._answers.get((effect.id, effect.attempt), ("", 0.0))
        is_kept = self._honours_key or self._runtime.seconds - at <= self.manifest.idempotency_key_life_seconds
        record = self.records.get((effect.kind, record_id))
        if not is_kept or record is None:
            return None
        return Done(effect.id, record)

    def _draft_of(self, effect: Effect) -> str | None:
        """The document of ours that was made and not posted, which creating it again completes."""
        if not self.traits.in_steps or effect.kind not in _POSTED or effect.operation is not Operation.CREATE:
            return None
        ours = self.created.get((effect.kind, effect.reference), ())
        drafts = [one for one in ours if is_draft(self.records.get((effect.kind, one)))]
        self.met[Met.COMPLETED] += bool(drafts)
        return drafts[0] if drafts else None

    def _read_at(self, worker: str, kind: Kind, record_id: str) -> float | None:
        """When the worker read what it writes now, where nothing but that keeps it from replacing an edit."""
        if self.manifest.versions:
            return None
        if self._name == "books":
            return self._last_read.get((worker, kind, record_id))
        return self._watch.read_at(worker, kind, record_id)

    def _note_overwritten(self, effect: Effect, worker: str, record_id: str, fields: Mapping[str, Any]) -> None:
        """Note what this write replaces that somebody else wrote after us. The CRM's fields are ours alone."""
        ours = self.ours.get((effect.kind, record_id))
        if effect.operation is Operation.CREATE or ours is None or self._name != "books":
            return
        if effect.kind is Kind.CUSTOMER and self._watch.two_way:
            return  # the watch knows both sides
        read_at = self._read_at(worker, effect.kind, record_id)
        if read_at is not None and read_at <= self._edited.get((effect.kind, record_id), 0.0):
            return  # nothing could refuse what was edited between our reading and writing
        there = plain(self.records[effect.kind, record_id].fields)
        given = effect.document.as_fields()
        # What is found so late is, outside the assumptions; and by its name alone a record is not known to be ours.
        linked_as_it_stands = self._lag_seconds > LOOKS_SECONDS or effect.kind not in self.manifest.keeps_reference
        for name, new in plain(fields).items():
            if linked_as_it_stands and self._watch.was_linked_late(record_id, name):
                continue
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
        stale = there.version != effect.target_version
        if not self.manifest.versions:
            self.met[Met.UNGUARDED] += self._name == "books"
            return None
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
            fields |= {"state": _DRAFT} if self.traits.in_steps and not former else {}
        if isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED:
            return _voided(fields)
        if isinstance(document, Invoice):
            fields |= money(sum((line.amount for line in document.lines), Decimal(0)), former.get("paid", Decimal(0)))
            fields |= {"state": _DRAFT} if self.traits.in_steps and effect.operation is Operation.CREATE else {}
        return fields


class Forgetful(SimulatedProvider):
    """A provider that forgets to whom it tells changes. Implements `tieout.ports.connector.Subscriber`, too."""

    def subscribe(self) -> Sequence[str]:
        """Renew what is due: less than half of its life is left."""
        return self._ask("subscribe", self._renewed)

    def _renewed(self) -> Sequence[str]:
        life = self.traits.told_seconds
        if self._told_until - self._runtime.seconds >= life / 2:
            return []
        self.met[Met.RENEWED] += 1
        self._told_until = self._runtime.seconds + life
        return ["renewed"]


def is_draft(record: Record | None) -> bool:
    """True for a document that was made and not yet posted."""
    return record is not None and record.fields.get("state") == _DRAFT


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
