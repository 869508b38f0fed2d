"""In-memory stand-ins for everything around the engine, with faults on request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from tieout.domain.changes import Alert, Change, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.documents import CreditNote, Customer, Document, Invoice, InvoiceStatus, Item, RecordUpdate
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    ClaimedError,
    ConflictError,
    NotFoundError,
    ProviderError,
    RejectedError,
    UncertainError,
)
from tieout.domain.links import Intent, Link, LinkKey
from tieout.domain.plans import PlannedWrite, StoredPlan
from tieout.domain.records import Kind, Record
from tieout.engine.apply import ApplyChanges
from tieout.engine.ends import ApplyReport
from tieout.engine.policy import RetryPolicy
from tieout.mapping import preset
from tieout.mapping.reverse import with_values
from tieout.ports.connector import Account, ChangePage, Limit, Manifest, Role
from tieout.ports.state import Run, StoredSync

TENANT, CRM, BOOKS = "acme", "act", "quickbooks"
START = datetime(2026, 11, 22, 9, tzinfo=UTC)
BATCH = 30


class FakeClock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = START
        self.slept = 0.0

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.time += timedelta(seconds=seconds)

    def jitter(self) -> float:
        return 0.5


class Crash(BaseException):
    """The worker's process died here."""


class MemoryState:
    """Every store of `tieout.ports.state` in dictionaries, with the same conditions."""

    def __init__(self) -> None:
        self.links: dict[LinkKey, Link] = {}
        self.pointers: dict[tuple[str, str, str, str], LinkKey] = {}
        self.writes = 0
        self.connections_by_name: dict[tuple[str, str], Connection] = {}
        self.stored_syncs: dict[tuple[str, str], StoredSync] = {}
        self.cursors: dict[tuple[str, str, str], str] = {}
        self.runs: dict[tuple[str, str], Run] = {}
        self.alerts: dict[tuple[str, str, str], Alert] = {}
        self.windows: dict[tuple[str, str], datetime] = {}
        self.budgets: dict[tuple[str, str], tuple[dict[str, int], int]] = {}
        self.crash_before: Callable[[str], bool] = lambda _: False
        self.crash_after: Callable[[str], bool] = lambda _: False

    def _write(self, name: str, act: Callable[[], Any]) -> Any:
        if self.crash_before(name):
            raise Crash(f"before {name}")
        self.writes += 1
        result = act()
        if self.crash_after(name):
            raise Crash(f"after {name}")
        return result

    # LinkStore

    def get(self, keys: Sequence[LinkKey]) -> dict[LinkKey, Link]:
        return {key: self.links[key] for key in keys if key in self.links}

    def claim(self, link: Link, intent: Intent) -> Link:
        def act() -> Link:
            if (stored := self.links.get(link.key)) is not None and stored.revision != link.revision:
                raise ClaimedError("It changed meanwhile.")
            if stored is None and link.revision != 0:
                raise ClaimedError("It is gone.")
            return self._put(replace(link, intent=intent))

        return self._write("claim", act)

    def settle(self, link: Link, *, worker: str, pointer: bool) -> Link:
        def act() -> Link:
            self._held(link.key, worker)
            if pointer and link.target_id is not None:
                self.pointers[link.key.tenant, link.key.sync, link.key.step, link.target_id] = link.key
            self.links[link.key] = replace(self.links[link.key], unsynced=None)
            return self._put(replace(link, intent=None))

        return self._write("settle", act)

    def take_target(self, link: Link) -> bool:
        taken: bool = self._write("take_target", lambda: self._takes(link))
        return taken

    def _takes(self, link: Link) -> bool:
        place = (link.key.tenant, link.key.sync, link.key.step, link.target_id or "")
        former = self.pointers.get(place, link.key)
        owner = self.links.get(former)
        if former != link.key and owner is not None:
            about_to = owner.target_id is None and owner.intent is not None
            if about_to or (owner.target_id == link.target_id and not owner.follows):
                return False
        self.pointers[place] = link.key
        return True

    def keep_intent(self, link: Link, intent: Intent) -> Link:
        def act() -> Link:
            stored = self.links.get(link.key)
            if stored is None or stored.revision != link.revision:
                raise ClaimedError("Another worker took it over.")
            return self._put(replace(link, intent=intent))

        return self._write("keep_intent", act)

    def store(self, link: Link, *, pointer: bool = False) -> Link:
        def act() -> Link:
            if pointer and link.target_id is not None:
                self.pointers[link.key.tenant, link.key.sync, link.key.step, link.target_id] = link.key
            if self.links.get(link.key, Link(link.key)).revision != link.revision:
                raise ClaimedError("It changed meanwhile.")
            return self._put(link)

        return self._write("store", act)

    def release(self, link: Link, *, worker: str) -> Link:
        def act() -> Link:
            self._held(link.key, worker)
            return self._put(replace(link, intent=None))

        return self._write("release", act)

    def set_unsynced(self, key: LinkKey, unsynced: Unsynced | None, *, instead_of: Unsynced | None = None) -> None:
        def act() -> None:
            stored = self.links.get(key) or Link(key)
            if instead_of is None or stored.unsynced == instead_of:
                self.links[key] = replace(stored, unsynced=unsynced)

        self._write("set_unsynced", act)

    def by_reference(self, tenant: str, sync: str, step: str, references: Sequence[str]) -> dict[str, Link]:
        wanted = set(references)
        return {
            link.reference: link
            for key, link in self.links.items()
            if (key.tenant, key.sync, key.step) == (tenant, sync, step) and link.reference in wanted
        }

    def by_target(self, tenant: str, sync: str, step: str, target_ids: Sequence[str]) -> dict[str, Link]:
        keys = {target: self.pointers.get((tenant, sync, step, target)) for target in target_ids}
        found = {target: self.links[key] for target, key in keys.items() if key is not None}
        return {target: link for target, link in found.items() if link.target_id == target}

    def all(self, tenant: str, sync: str, step: str) -> Iterator[Link]:
        return iter(
            [link for key, link in self.links.items() if (key.tenant, key.sync, key.step) == (tenant, sync, step)]
        )

    def unsynced(self, tenant: str, state: UnsyncedState | None = None) -> Iterator[Unsynced]:
        found = [
            link.unsynced
            for key, link in self.links.items()
            if key.tenant == tenant and link.unsynced is not None and state in (None, link.unsynced.state)
        ]
        return iter(sorted(found, key=lambda one: one.since))

    def _put(self, link: Link) -> Link:
        """Store it, but for why it is not in agreement: that is written beside it."""
        unsynced = self.links[link.key].unsynced if link.key in self.links else None
        stored = replace(link, revision=link.revision + 1, unsynced=unsynced)
        self.links[link.key] = stored
        return stored

    def _held(self, key: LinkKey, worker: str) -> None:
        stored = self.links.get(key)
        if stored is None or stored.intent is None or stored.intent.worker != worker:
            raise ClaimedError("Another worker took it over.")

    # BudgetStore, as far as the engine asks

    def read_budget(self, tenant: str, connection: str) -> tuple[Mapping[str, int], int]:
        state, revision = self.budgets.get((tenant, connection), ({}, 0))
        return dict(state), revision

    def write_budget(self, tenant: str, connection: str, state: Mapping[str, int], revision: int) -> bool:
        def act() -> bool:
            if self.budgets.get((tenant, connection), ({}, 0))[1] != revision:
                return False
            self.budgets[tenant, connection] = (dict(state), revision + 1)
            return True

        stored: bool = self._write("budget", act)
        return stored

    # ConfigStore

    def tenants(self) -> Sequence[str]:
        return sorted({tenant for tenant, _ in self.connections_by_name})

    def connections(self, tenant: str) -> Sequence[Connection]:
        return [one for (owner, _), one in self.connections_by_name.items() if owner == tenant]

    def connection(self, tenant: str, connection: str) -> Connection | None:
        return self.connections_by_name.get((tenant, connection))

    def connections_of_account(self, provider: str, account: str) -> Sequence[Connection]:
        return [one for one in self.connections_by_name.values() if (one.provider, one.account) == (provider, account)]

    def put_connection(self, connection: Connection) -> None:
        self.connections_by_name[connection.tenant, connection.id] = connection

    def syncs(self, tenant: str) -> Sequence[StoredSync]:
        return [sync for (owner, _), sync in self.stored_syncs.items() if owner == tenant]

    def put_sync(self, sync: StoredSync) -> None:
        self.stored_syncs[sync.tenant, sync.name] = sync

    def cursor(self, tenant: str, connection: str, name: str) -> str | None:
        return self.cursors.get((tenant, connection, name))

    def put_cursor(self, tenant: str, connection: str, name: str, cursor: str) -> None:
        self._write("put_cursor", lambda: self.cursors.update({(tenant, connection, name): cursor}))

    def run(self, tenant: str, sync: str) -> Run | None:
        return self.runs.get((tenant, sync))

    def put_run(self, run: Run) -> None:
        self.runs[run.tenant, run.sync] = run

    # AlertStore

    def put(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            record = alert.unsynced.change.id if alert.unsynced is not None else ""
            self._write(
                "alert", lambda one=alert, about=record: self.alerts.update({(one.tenant, one.cause, about): one})
            )

    def pending(self, tenant: str) -> Sequence[Alert]:
        return [alert for (owner, _, _), alert in self.alerts.items() if owner == tenant]

    def open_window(self, tenant: str, cause: str, *, until: datetime, now: datetime) -> bool:
        if self.windows.get((tenant, cause), START - timedelta(days=1)) > now:
            return False
        self.windows[tenant, cause] = until
        return True

    def close_window(self, tenant: str, cause: str) -> None:
        self.windows.pop((tenant, cause), None)

    def remove(self, alerts: Sequence[Alert]) -> None:
        gone = set(map(id, alerts))
        self.alerts = {name: alert for name, alert in self.alerts.items() if id(alert) not in gone}


class MemoryPlans:
    """`PlanStore` in dictionaries, with the same conditions; its writes are those of the state, and fail alike."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self.stored: dict[tuple[str, str], StoredPlan] = {}
        self.kept: dict[tuple[str, str], list[PlannedWrite]] = {}
        self.notes: dict[tuple[str, str], dict[LinkKey, str]] = {}

    def put_plan(self, plan: StoredPlan, writes: Sequence[PlannedWrite]) -> StoredPlan:
        if (plan.tenant, plan.id) in self.stored:
            raise ClaimedError("There is one already.")
        self.kept[plan.tenant, plan.id] = [replace(write) for write in writes]
        self.stored[plan.tenant, plan.id] = replace(plan, chunks=1, revision=1)
        return self.stored[plan.tenant, plan.id]

    def plan(self, tenant: str, plan_id: str) -> StoredPlan | None:
        return self.stored.get((tenant, plan_id))

    def plans(self, tenant: str) -> Iterator[StoredPlan]:
        mine = [plan for (owner, _), plan in self.stored.items() if owner == tenant]
        return iter(sorted(mine, key=lambda plan: plan.created_at, reverse=True))

    def planned(self, plan: StoredPlan) -> Iterator[PlannedWrite]:
        return iter(
            sorted(self.kept[plan.tenant, plan.id], key=lambda write: (write.step, write.source_id)),
        )

    def allowed(self, plan: StoredPlan, keys: Sequence[LinkKey]) -> dict[LinkKey, PlannedWrite]:
        found = {plan.key(write): write for write in self.kept[plan.tenant, plan.id]}
        return {key: found[key] for key in keys if key in found}

    def change_plan(self, plan: StoredPlan) -> StoredPlan:
        def act() -> StoredPlan:
            if self.stored[plan.tenant, plan.id].revision != plan.revision:
                raise ClaimedError("Somebody else has changed it.")
            self.stored[plan.tenant, plan.id] = replace(plan, revision=plan.revision + 1)
            return self.stored[plan.tenant, plan.id]

        changed: StoredPlan = self._state._write("change_plan", act)
        return changed

    def leave_out(self, plan: StoredPlan, key: LinkKey, reason: str) -> None:
        notes = self.notes.setdefault((plan.tenant, plan.id), {})
        self._state._write("leave_out", lambda: notes.update({key: reason}))

    def left_out(self, plan: StoredPlan) -> dict[LinkKey, str]:
        return dict(self.notes.get((plan.tenant, plan.id), {}))


class MemoryQueue:
    """Keeps what was sent; later sends become due as the clock goes on."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.now: list[Change] = []
        self.later: list[tuple[datetime, Change]] = []
        self.fails = False

    def send(self, changes: Sequence[Change]) -> None:
        if self.fails:
            raise RuntimeError("the queue does not answer")
        self.now.extend(changes)

    def send_later(self, changes: Sequence[Change], *, delay_seconds: int) -> None:
        if self.fails:
            raise RuntimeError("the queue does not answer")
        due = self._clock.now() + timedelta(seconds=delay_seconds)
        self.later.extend((due, change) for change in changes)

    def waiting(self) -> dict[str, int]:
        return {"changes": len(self.now), "retry": len(self.later)}


class _Settings(BaseModel):
    pass


def _manifest(provider: str, role: Role, **changes: Any) -> Manifest:
    given: dict[str, Any] = {
        "provider": provider,
        "title": {"fake_crm": "the CRM", "fake_books": "the books"}[provider],
        "roles": frozenset({role}),
        "reads": frozenset(Kind),
        "writes": frozenset(Kind),
        "webhooks": True,
        "deletions_visible": frozenset(),
        "keeps_reference": frozenset(),
        "natural_key": frozenset(),
        "read_batch_max": 50,
        "write_batch_max": BATCH,
        "versions": role is Role.BOOKS,
        "idempotency_key_life_seconds": 0,
        "limits": (Limit("request", 500, 60),),
        "settings": _Settings,
        "secrets": {},
        "api_version": "1",
    }
    return Manifest(**(given | changes))


@dataclass
class FakeProvider:
    """A provider with records in a dictionary; `fault` decides what a write does instead of its work.

    `fault(effect)` gives None, "lost" (done, answer lost), "vanished" (not done, answer lost), an error to answer, or
    raises Crash by itself.
    """

    manifest: Manifest
    clock: FakeClock
    records: dict[tuple[Kind, str], Record] = field(default_factory=dict)
    fault: Callable[[Effect], Any] = lambda _: None
    read_fault: Callable[[Kind], Exception | None] = lambda _: None
    find_lags: bool = False
    looks_similar: Callable[[Document, Record], bool] = lambda _document, _record: False
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    next_id: int = 100

    def put(self, kind: Kind, record_id: str, **fields: Any) -> Record:
        former = self.records.get((kind, record_id))
        version = str(int(former.version) + 1) if former else "0"
        record = Record(kind, record_id, version, self.clock.now(), {**(former.fields if former else {}), **fields})
        self.records[kind, record_id] = record
        return record

    def all(self, kind: Kind) -> list[Record]:
        return [record for (of, _), record in self.records.items() if of == kind]

    def probe(self) -> Account:
        return Account("1", "Fake", "USD")

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        self.calls["read"] += 1
        if (error := self.read_fault(kind)) is not None:
            raise error
        return [self.records[kind, one] for one in ids if (kind, one) in self.records]

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        self.calls["search"] += 1
        wanted = {value.casefold() for value in values}
        return [record for record in self.all(kind) if str(record.fields.get(field, "")).casefold() in wanted]

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        self.calls["changes"] += 1
        since = datetime.fromisoformat(cursor) if cursor else datetime.min.replace(tzinfo=UTC)
        found = [record for record in self.all(kind) if record.edited_at and record.edited_at >= since]
        return ChangePage(found, self.clock.now().isoformat(), more=False)

    def cursor_now(self, kind: Kind) -> str:
        return self.clock.now().isoformat()

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        self.calls["ids"] += 1
        return [record.id for record in self.all(kind)], None

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        self.calls["find"] += 1
        found = {}
        for effect in effects if not self.find_lags else ():
            matches = [self._match(effect, record) for record in self.all(effect.kind)]
            if any(matches):
                found[effect.id] = [match for match in matches if match is not None]
        return found

    def _match(self, effect: Effect, record: Record) -> Match | None:
        if record.fields.get("reference") == effect.reference:
            return Match(record, MatchedBy.REFERENCE)
        if effect.kind in self.manifest.natural_key:
            name = getattr(effect.document, "name", None)
            if name is not None and record.fields.get("name") == name:
                return Match(record, MatchedBy.NATURAL_KEY)
        if effect.similar and self.looks_similar(effect.document, record):
            return Match(record, MatchedBy.SIMILAR)
        return None

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        self.calls["write"] += 1
        return [self._write(effect) for effect in effects]

    def _write(self, effect: Effect) -> Outcome:
        self.calls["effect"] += 1
        fault = self.fault(effect)
        if isinstance(fault, ProviderError):
            return NotDone(effect.id, fault)
        if fault == "vanished":
            return Unknown(effect.id, UncertainError("The answer was lost."))
        if (refusal := self._refusal(effect)) is not None:
            return NotDone(effect.id, refusal)
        record = self.put(effect.kind, effect.target_id or self._new_id(), **self._fields(effect))
        if fault == "lost":
            return Unknown(effect.id, UncertainError("The answer was lost."))
        return Done(effect.id, record)

    def _refusal(self, effect: Effect) -> ProviderError | None:
        if effect.operation is Operation.CREATE:
            names = {record.fields.get("name") for record in self.all(effect.kind)}
            if effect.kind in self.manifest.natural_key and getattr(effect.document, "name", None) in names:
                return RejectedError("The name is taken.", code="6240", field="name")
            return None
        there = self.records.get((effect.kind, effect.target_id or ""))
        if there is None:
            return NotFoundError("The record is gone.")
        stale = self.manifest.versions and there.version != effect.target_version
        return ConflictError("Stale version.") if stale else None

    def _new_id(self) -> str:
        self.next_id += 1
        return str(self.next_id)

    def _fields(self, effect: Effect) -> dict[str, Any]:
        document: Document = effect.document
        if isinstance(document, RecordUpdate):
            record = self.records[effect.kind, effect.target_id or ""]
            return dict(with_values(record, document.fields).fields)
        fields = document.as_fields()
        if effect.kind in self.manifest.keeps_reference:
            fields["reference"] = effect.reference
        if isinstance(document, Invoice | CreditNote):
            total = document.expected_total() or Decimal(0)
            fields |= {"total": total, "balance": total}
        if isinstance(document, Invoice):
            former = self.records.get((effect.kind, effect.target_id or ""))
            paid = former.fields["paid"] if former is not None else Decimal(0)
            fields |= {"paid": paid, "balance": total - paid}
            fields["state"] = "paid" if total == paid else "partly_paid" if paid else "open"
            if document.status is InvoiceStatus.VOIDED:
                return _voided(fields)
        return fields


def _voided(fields: dict[str, Any]) -> dict[str, Any]:
    """As books keep a voided invoice: it stands, with amounts of zero."""
    lines = [{**line, "amount": Decimal(0)} for line in fields["lines"]]
    nothing = dict.fromkeys(("total", "balance", "paid"), Decimal(0))
    return fields | nothing | {"lines": lines, "state": "voided"}


class World:
    """One tenant with a CRM, books, the preset sync, and an engine between them."""

    def __init__(self, sync: str | None = None) -> None:
        self.clock = FakeClock()
        self.state = MemoryState()
        self.plans = MemoryPlans(self.state)
        self.queue = MemoryQueue(self.clock)
        self.crm = FakeProvider(_manifest("fake_crm", Role.CRM), self.clock)
        self.books = FakeProvider(
            _manifest(
                "fake_books",
                Role.BOOKS,
                keeps_reference=frozenset({Kind.INVOICE, Kind.CREDIT_NOTE, Kind.CUSTOMER}),
                natural_key=frozenset({Kind.CUSTOMER, Kind.ITEM}),
            ),
            self.clock,
        )
        for name, provider in ((CRM, "fake_crm"), (BOOKS, "fake_books")):
            self.state.put_connection(Connection(TENANT, name, provider, account="1"))
        self.sync_text = sync or preset("act-quickbooks_online")
        self.state.put_sync(StoredSync(TENANT, "deals-to-invoices", 1, self.sync_text, START))
        self.policy = RetryPolicy(base_seconds=10, hold_seconds=180, look_seconds=10)
        self.engine = self.new_worker()
        self.crm.put(Kind.PRODUCT, "p1", name="GTX Pro", sku=None, price=Decimal(4821), cost=None, description=None)
        self.company("c1", "Acme Corporation")

    def new_worker(self) -> ApplyChanges:
        providers = {"fake_crm": self.crm, "fake_books": self.books}
        return ApplyChanges(
            config=self.state,
            links=self.state,
            alerts=self.state,
            queue=self.queue,
            budget=self.state,
            connect=lambda connection: providers[connection.provider],
            clock=self.clock,
            policy=self.policy,
            plans=self.plans,
        )

    def company(self, record_id: str, name: str) -> None:
        self.crm.put(
            Kind.COMPANY,
            record_id,
            name=name,
            phone=None,
            website=None,
            address={"country": "United States"},
            contact={"name": "Ada Miller", "given_name": "Ada", "family_name": "Miller", "email": "ada@acme.example"},
            custom_fields={},
        )

    def deal(
        self,
        record_id: str,
        amount: str = "1054",
        *,
        status: str = "won",
        product: str = "GTX Pro",
        company: str = "c1",
    ) -> None:
        value = Decimal(amount)
        self.crm.put(
            Kind.DEAL,
            record_id,
            name=f"{product} for Acme",
            status=status,
            amount=value,
            closed_on=START.date(),
            source_id=f"S{record_id}",
            companies=[{"id": company, "name": "Acme Corporation"}],
            contacts=[],
            lines=[
                {
                    "product_id": None,
                    "name": product,
                    "sku": None,
                    "quantity": Decimal(1),
                    "unit_price": value,
                    "discount_percent": None,
                    "amount": value,
                }
            ],
            custom_fields={},
        )

    def pay(self, invoice_id: str, amount: str) -> None:
        invoice = self.books.records[Kind.INVOICE, invoice_id]
        paid = invoice.fields["paid"] + Decimal(amount)
        balance = invoice.fields["total"] - paid
        self.books.put(
            Kind.INVOICE,
            invoice_id,
            paid=paid,
            balance=balance,
            state="paid" if balance == 0 else "partly_paid",
            last_payment_on=START.date(),
        )

    def change(self, kind: Kind, *ids: str, connection: str = CRM) -> list[Change]:
        return [Change(TENANT, connection, kind, one, self.clock.now(), Origin.POLL) for one in ids]

    def apply(self, *ids: str, kind: Kind = Kind.DEAL, connection: str = CRM) -> ApplyReport:
        return self.engine.apply(self.change(kind, *ids, connection=connection))

    def settle_down(self, rounds: int = 30) -> None:
        """Let the retry queue run dry; fails if it does not within `rounds`."""
        for _ in range(rounds):
            if not self.queue.later:
                return
            due = max(moment for moment, _ in self.queue.later)
            self.clock.time = max(self.clock.time, due) + timedelta(seconds=1)
            changes = [change for _, change in self.queue.later]
            self.queue.later.clear()
            self.new_worker().apply(changes)
        raise AssertionError(f"still waiting after {rounds} rounds: {self.queue.later[:3]}")

    def invoices(self) -> list[Record]:
        return self.books.all(Kind.INVOICE)

    def unsynced(self) -> list[Unsynced]:
        return list(self.state.unsynced(TENANT))


__all__ = ["BOOKS", "CRM", "TENANT", "Crash", "Customer", "Item", "World"]
