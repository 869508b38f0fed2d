"""The worlds of one run put together, driven by a plan until nothing moves any more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from tests.engine.simulation.plans import COMPANIES, DEALS, PRODUCTS, TENANTS, Plan, Step
from tests.engine.simulation.providers import SimulatedProvider, money
from tests.engine.simulation.runtime import START, FaultKind, Killed, Runtime
from tests.engine.simulation.stores import Message, Queues, Table, TableDownError, reference_of
from tieout.domain.changes import Alert, Change, UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import TieoutError, UnavailableError
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind, Record
from tieout.engine.alerts import SendAlerts
from tieout.engine.apply import ApplyChanges
from tieout.engine.backfill import Backfill
from tieout.engine.operate import Operate
from tieout.engine.park import ParkChanges
from tieout.engine.policy import RetryPolicy
from tieout.engine.poll import PollChanges
from tieout.engine.receive import ReceiveWebhook
from tieout.mapping import preset
from tieout.ports.connector import Hint, Webhook
from tieout.ports.state import StoredSync

SYNC = "deals-to-invoices"
TEXT = preset("act-quickbooks_online")
ALIASED = TEXT.replace("GTXPro: GTX Pro", "GTXPro: GTX Pro, Gizmo Lite: Gizmo")
POLL_SECONDS = 900
QUIET_SECONDS = 600  # after the last step, what still breaks may break; then nothing does
SPARE_SECONDS = 40
POISON_SECONDS = 3700
HEARD = {"crm": (Kind.COMPANY, Kind.PRODUCT, Kind.DEAL), "books": (Kind.INVOICE, Kind.PAYMENT)}
CONNECTIONS = {"crm": "act", "books": "quickbooks"}


class _Settings(BaseModel):
    pass


class Universe:
    """Everything around the engine, and the engine's use cases run as functions."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.runtime = Runtime(plan.seed, plan.faults, latency_seconds=plan.latency_seconds, zombies=plan.zombies)
        self.table = Table(self.runtime)
        self.queues = Queues(
            self.runtime, self._handle, disorder_seconds=plan.disorder_seconds, duplicates=plan.duplicates
        )
        self.policy = RetryPolicy()
        self.sent: list[dict[str, str]] = []
        self.busiest: list[tuple[int, int]] = []
        self.attempts_max = 0
        self.version = 1
        self._poisoned: dict[tuple[str, str], float] = {}
        self._payments = 0
        self._open = False
        self.providers = {
            (tenant, CONNECTIONS[name]): SimulatedProvider(
                self.runtime,
                tenant,
                name,
                lag_seconds=plan.lag_seconds,
                honours_key=plan.honours_key,
                changed=lambda kind, record_id, tenant=tenant, name=name: self._webhook(tenant, name, kind, record_id),
            )
            for tenant in TENANTS
            for name in CONNECTIONS
        }
        for tenant in TENANTS:
            for name, connection in CONNECTIONS.items():
                self.table.connections_by_name[tenant, connection] = Connection(
                    tenant, connection, f"fake_{name}", account="1"
                )
            self._put_sync(tenant, TEXT)
            self._furnish(tenant)
        self._open = True

    def crm(self, tenant: str) -> SimulatedProvider:
        """The tenant's CRM."""
        return self.providers[tenant, "act"]

    def books(self, tenant: str) -> SimulatedProvider:
        """The tenant's books."""
        return self.providers[tenant, "quickbooks"]

    def _put_sync(self, tenant: str, text: str) -> None:
        self.table.put_sync(StoredSync(tenant, SYNC, self.version, text, START))

    def _furnish(self, tenant: str) -> None:
        crm = self.crm(tenant)
        for product, name in PRODUCTS.items():
            crm.put(Kind.PRODUCT, product, name=name, sku=None, price=Decimal(100), cost=None, description=tenant)
        for company in COMPANIES:
            contact = {"name": f"Ada {company}", "given_name": "Ada", "family_name": company, "email": None}
            crm.put(
                Kind.COMPANY,
                company,
                name=f"{company} of {tenant}",
                phone="1",
                website=None,
                address={"country": "United States"},
                contact=contact,
                custom_fields={},
            )
        if self.plan.adoptable:
            self.books(tenant).put(Kind.ITEM, "9", name="GTX Pro", description="was here before")
        for (owner, connection), provider in self.providers.items():
            provider.touched.clear()
            for kind in Kind:  # polls begin where the furniture ends
                self.table.cursors[owner, connection, kind] = provider.cursor_at_start()

    # The run

    def run(self) -> None:
        """All steps, then until nothing moves any more and every alert is sent."""
        after, ends_at = self.runtime.after, self.plan.ends_at
        quiet = ends_at + QUIET_SECONDS
        for step in self.plan.steps:
            after(step.at, lambda one=step: self._do(one))
        polls = [*range(0, int(quiet), POLL_SECONDS), quiet + 60, quiet + 2000, quiet + 9000]
        for at in polls:
            after(at, self._poll_all)
        for at in (quiet + 100, quiet + 3000, quiet + 8000):
            after(at, self._sweep_all)
        for at in range(300, int(quiet), 600):
            after(at, self._alert)
        after(quiet, self._calm)
        self.runtime.run()
        for _ in range(4):
            if self.table.alerts:
                after(3601, self._alert)
                self.runtime.run()
        self.runtime.close()

    def _calm(self) -> None:
        self.runtime.faulty = False
        self._poisoned.clear()
        for tenant in TENANTS:
            self._reconnect(tenant)

    def connect(self, connection: Connection) -> SimulatedProvider:
        return self.providers[connection.tenant, connection.id]

    # Functions

    def _handle(self, lane: str, messages: Sequence[Message]) -> None:
        if lane == "dead":
            parking = ParkChanges(
                config=self.table, links=self.table, alerts=self.table, queue=self.queues, clock=self.runtime
            )
            self._settle(messages, parking.park)
            return
        worker = ApplyChanges(
            config=self.table,
            links=self.table,
            alerts=self.table,
            queue=self.queues,
            budget=self.table,
            connect=self.connect,
            clock=self.runtime,
            policy=self.policy,
        )

        def settle(changes: Sequence[Change]) -> None:
            self._die_of_poison(changes)
            before = self.runtime.current.calls
            worker.apply(changes, out_of_time=lambda: self.runtime.left_seconds() < SPARE_SECONDS)
            self.busiest.append((self.runtime.current.calls - before, len(changes)))

        self._settle(messages, settle)

    def _settle(self, messages: Sequence[Message], settle: Callable[[Sequence[Change]], Any]) -> None:
        """As `tieout.edge.settle_messages`: a connection's changes together, and one by one if that fails."""
        groups: dict[tuple[str, str], list[Message]] = {}
        for message in messages:
            first = message.changes[0]
            groups.setdefault((first.tenant, first.connection), []).append(message)
        done: list[Message] = []
        for group in groups.values():
            if self._settled(group, settle):
                done += group
            elif len(group) > 1:
                done += [message for message in group if self._settled([message], settle)]
        self.queues.delete(done)

    def _settled(self, messages: Sequence[Message], settle: Callable[[Sequence[Change]], Any]) -> bool:
        changes = [change for message in messages for change in message.changes]
        self.attempts_max = max(self.attempts_max, *(change.attempts for change in changes))
        try:
            settle(changes)
        except (TableDownError, UnavailableError):
            return False
        return True

    def _die_of_poison(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if self._poisoned.get((change.tenant, change.id), 0) > self.runtime.seconds:
                raise Killed

    def _webhook(self, tenant: str, name: str, kind: Kind, record_id: str, tries: int = 3) -> None:
        random = self.runtime.random
        if not self._open or kind not in HEARD[name] or random.random() >= self.plan.webhooks:
            return
        body = json.dumps([kind, record_id]).encode()
        self.runtime.after(random.random() * 3, lambda: self._receive(f"{tenant}.{CONNECTIONS[name]}", body, tries))

    def _receive(self, address: str, body: bytes, tries: int) -> None:
        answered: list[bool] = []

        def receive() -> None:
            use_case = ReceiveWebhook(
                config=self.table, secrets=self, queue=self.queues, provider=self._provider, clock=self.runtime
            )
            try:
                use_case.receive(address, Webhook({}, body))
            except UnavailableError:
                return
            answered.append(True)

        def again() -> None:
            if not answered and tries > 1:
                self.runtime.after(300, lambda: self._receive(address, body, tries - 1))

        self.runtime.start("webhook", receive, then=again)

    def _provider(self, _: str) -> Any:
        return self

    def verify(self, webhook: Webhook, secrets: Any) -> None:
        """As a provider: every webhook here is genuine."""

    def hints(self, webhook: Webhook) -> Sequence[Hint]:
        """As a provider."""
        kind, record_id = json.loads(webhook.body)
        return [Hint("", Kind(kind), record_id)]

    # As secrets: implements what the receiver needs of `tieout.ports.secrets.Secrets`.
    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> dict[str, str]:
        return {}

    def _use(self, name: str, use: Callable[[], Any], *, then: Callable[[], None] = lambda: None) -> None:
        """Run a use case as a function; what it raises by contract ends in the log."""

        def body() -> None:
            with suppress(TableDownError, TieoutError):
                use()

        self.runtime.start(name, body, then=then)

    def _poll(self) -> PollChanges:
        return PollChanges(
            config=self.table,
            links=self.table,
            alerts=self.table,
            queue=self.queues,
            connect=self.connect,
            clock=self.runtime,
        )

    def _poll_all(self) -> None:
        for tenant, connection in self.providers:
            self._use("poll", lambda one=tenant, other=connection: self._poll().poll(one, other))

    def _sweep_all(self) -> None:
        for tenant, connection in self.providers:
            self._use("sweep", lambda one=tenant, other=connection: self._poll().sweep(one, other))

    def _alert(self) -> None:
        if not self.table.alerts:
            return
        alerting = SendAlerts(config=self.table, alerts=self.table, mail=self, letter=_letter, clock=self.runtime)
        self._use("alerts", alerting.send)

    # As mail: implements `tieout.ports.state.Mail`.
    def send(self, tenant: str, subject: str, text: str) -> None:
        fault = self.runtime.enter("mail.send", f"{tenant} {subject}")
        if fault is FaultKind.DOWN:
            raise UnavailableError("The topic does not answer.")
        self.sent += [{"tenant": tenant, **one} for one in json.loads(text)]
        self.runtime.leave(fault)
        if fault is FaultKind.LOST:
            raise UnavailableError("The topic's answer was lost.")

    def _operate(self) -> Operate:
        return Operate(config=self.table, links=self.table, queue=self.queues, clock=self.runtime)

    # What people do

    def _do(self, step: Step) -> None:
        do = getattr(self, "do_" + step.action.replace(" ", "_").replace("'", ""))
        do(step.tenant, step.about, step.value)

    def do_win(self, tenant: str, deal: str, value: str) -> None:
        self._put_deal(tenant, deal, value, "won")

    def do_reopen(self, tenant: str, deal: str, value: str) -> None:
        self._put_deal(tenant, deal, value, "open")

    def _put_deal(self, tenant: str, deal: str, value: str, status: str) -> None:
        if (Kind.DEAL, deal) in self.crm(tenant).touched and self._deal(tenant, deal) is None:
            return  # it was deleted, and no CRM gives an id twice
        amount, company, product = value.split("/")
        self.crm(tenant).put(
            Kind.DEAL,
            deal,
            name=f"{deal} of {tenant}",
            status=status,
            closed_on=START.date(),
            source_id=f"S{deal}",
            companies=[{"id": company, "name": company}],
            contacts=[],
            **_priced(product, amount),
            **({} if (Kind.DEAL, deal) in self.crm(tenant).records else {"custom_fields": {}}),
        )

    def do_edit(self, tenant: str, deal: str, value: str) -> None:
        there = self._deal(tenant, deal)
        if there is not None:
            self.crm(tenant).put(Kind.DEAL, deal, **_priced(there.fields["lines"][0]["name"], value))

    def do_lose(self, tenant: str, deal: str, _: str) -> None:
        if self._deal(tenant, deal) is not None:
            self.crm(tenant).put(Kind.DEAL, deal, status="lost")

    def do_delete_deal(self, tenant: str, deal: str, _: str) -> None:
        self.crm(tenant).delete(Kind.DEAL, deal)

    def _deal(self, tenant: str, deal: str) -> Record | None:
        return self.crm(tenant).records.get((Kind.DEAL, deal))

    def do_rename_company(self, tenant: str, company: str, value: str) -> None:
        self.crm(tenant).put(Kind.COMPANY, company, name=f"{company} of {tenant} {value}")

    def do_rename_product(self, tenant: str, product: str, value: str) -> None:
        self.crm(tenant).put(Kind.PRODUCT, product, name=f"{PRODUCTS[product]} {value}")

    def do_reprice_product(self, tenant: str, product: str, value: str) -> None:
        self.crm(tenant).put(Kind.PRODUCT, product, price=Decimal(value))

    def _invoice(self, tenant: str, deal: str) -> Record | None:
        key = LinkKey(tenant, SYNC, "invoices", deal)
        books = self.books(tenant)
        for record_id in books.created.get((Kind.INVOICE, reference_of(key)), ()):
            record = books.records.get((Kind.INVOICE, record_id))
            if record is not None and record.fields["state"] != "voided":
                return record
        return None

    def do_pay(self, tenant: str, deal: str, value: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None and invoice.fields["balance"] > 0:
            balance = Decimal(str(invoice.fields["balance"]))
            part = min(balance, Decimal(value) / 100) if int(value) % 3 else balance
            self._set_paid(tenant, invoice, invoice.fields["paid"] + part)

    def do_take_payment_back(self, tenant: str, deal: str, _: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None and invoice.fields["paid"] > 0:
            self._set_paid(tenant, invoice, Decimal(0))

    def _set_paid(self, tenant: str, invoice: Record, paid: Decimal) -> None:
        self._payments += 1
        day = START.date() if paid else None
        self.books(tenant).put(Kind.INVOICE, invoice.id, **money(invoice.fields["total"], paid), last_payment_on=day)
        self.books(tenant).put(Kind.PAYMENT, f"pay{self._payments}", invoice_ids=[invoice.id])

    def do_void_invoice(self, tenant: str, deal: str, _: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None:
            zero = Decimal(0)
            there: Any = invoice.fields["lines"]
            lines = [{**line, "amount": zero, "unit_price": zero} for line in there]
            self.books(tenant).put(
                Kind.INVOICE, invoice.id, lines=lines, total=zero, balance=zero, paid=zero, state="voided"
            )

    def do_edit_invoice(self, tenant: str, deal: str, value: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None:
            there: Any = invoice.fields["lines"]
            lines = [{**line, "amount": Decimal(value)} for line in there]
            self.books(tenant).put(
                Kind.INVOICE, invoice.id, lines=lines, **money(Decimal(value) * len(lines), invoice.fields["paid"])
            )

    def do_edit_invoices_number(self, tenant: str, deal: str, value: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None:
            self.books(tenant).put(Kind.INVOICE, invoice.id, number=f"N{value}")

    def do_delete_invoice(self, tenant: str, deal: str, _: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None:
            self.books(tenant).delete(Kind.INVOICE, invoice.id)

    def do_edit_customer(self, tenant: str, company: str, value: str) -> None:
        reference = reference_of(LinkKey(tenant, SYNC, "customers", company))
        for record_id in self.books(tenant).created.get((Kind.CUSTOMER, reference), ()):
            self.books(tenant).put(Kind.CUSTOMER, record_id, phone=value)

    # What operators do

    def do_retry_parked(self, tenant: str, _about: str, _value: str) -> None:
        operate = self._operate()
        self._use("operator", lambda: operate.retry(operate.parked(tenant)))

    def do_dismiss_one(self, tenant: str, _about: str, _value: str) -> None:
        operate = self._operate()
        self._use("operator", lambda: operate.dismiss(tenant, operate.parked(tenant)[:1]))

    def do_backfill(self, tenant: str, _about: str, _value: str) -> None:
        use_case = Backfill(config=self.table, queue=self.queues, connect=self.connect, clock=self.runtime)
        self._use("backfill", lambda: use_case.run(tenant, SYNC, progress=lambda _kind, _count: None))

    def do_alias(self, tenant: str, _about: str, _value: str) -> None:
        self.version += 1
        self._put_sync(tenant, ALIASED)

    def do_revoke_crm(self, tenant: str, _about: str, _value: str) -> None:
        self.crm(tenant).signed_in = False

    def do_revoke_books(self, tenant: str, _about: str, _value: str) -> None:
        self.books(tenant).signed_in = False

    def do_reconnect(self, tenant: str, _about: str, _value: str) -> None:
        self._reconnect(tenant)

    def _reconnect(self, tenant: str) -> None:
        for connection in CONNECTIONS.values():
            self.providers[tenant, connection].signed_in = True
            stored = self.table.connections_by_name[tenant, connection]
            self.table.connections_by_name[tenant, connection] = replace(
                stored, state=ConnectionState.ACTIVE, paused_because="", paused_at=None
            )

    def do_poison(self, tenant: str, deal: str, _: str) -> None:
        """Whatever touches this deal dies, for longer than a message lives."""
        self._poisoned[tenant, deal] = self.runtime.seconds + POISON_SECONDS


def _priced(product: str, amount: str) -> dict[str, Any]:
    value = Decimal(amount)
    line = {
        "product_id": None,
        "name": product,
        "sku": None,
        "quantity": Decimal(1),
        "unit_price": value,
        "discount_percent": None,
        "amount": value,
    }
    return {"amount": value, "lines": [line]}


def _letter(alerts: Sequence[Alert]) -> tuple[str, str]:
    told = []
    for alert in alerts:
        where = ""
        if alert.unsynced is not None:
            where = f"{alert.unsynced.step}/{alert.unsynced.change.id}"
        told.append({"cause": alert.cause, "where": where})
    return alerts[0].subject[:100], json.dumps(told)


__all__ = ["DEALS", "SYNC", "Universe", "UnsyncedState"]
