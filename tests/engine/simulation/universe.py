"""The worlds of one run put together, driven by a plan until nothing moves any more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.engine.simulation.allowance import Allowance
from tests.engine.simulation.plans import COMPANIES, DEALS, PRODUCTS, TENANTS, Plan, Sold, Step, sold
from tests.engine.simulation.policies import SOURCE, SYNC, TARGET, document_of, text_of, text_of_pair
from tests.engine.simulation.processes import Processes
from tests.engine.simulation.providers import Forgetful, SimulatedProvider, Traits
from tests.engine.simulation.real import REALM, RealBooks, RealCrm, guid
from tests.engine.simulation.rotation import Met, limits_of, manifests
from tests.engine.simulation.runtime import START, FaultKind, Killed, Runtime
from tests.engine.simulation.stores import Message, Queues, Table, TableDownError, reference_of
from tests.engine.simulation.watch import Answer, Watch, Written, like_planned, without_what_stood
from tests.engine.world import MemoryPlans
from tieout.domain.changes import Alert, Change, UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.effects import Effect
from tieout.domain.errors import TieoutError, UnavailableError
from tieout.domain.links import LinkKey
from tieout.domain.plans import CREDITING, StoredPlan
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Choice, Decision, ReviewKind, Side
from tieout.engine.alerts import SendAlerts
from tieout.engine.apply import ApplyChanges
from tieout.engine.backfill import Backfill
from tieout.engine.operate import Operate
from tieout.engine.park import ParkChanges
from tieout.engine.plan import plain
from tieout.engine.policy import RetryPolicy
from tieout.engine.poll import PollChanges
from tieout.engine.receive import ReceiveWebhook
from tieout.engine.stored_plans import StoredPlans
from tieout.engine.sweep import Sweep
from tieout.ports.connector import Connector, Hint, Webhook
from tieout.ports.state import StoredSync

POLL_SECONDS = 900
QUIET_SECONDS = 600  # after the last step, what still breaks may break; then nothing does
SPARE_SECONDS = 40
DAY_SECONDS = 86_400
SPARE_DAY_SECONDS = 3600
SWEEPS_BEGIN_SECONDS, SWEEPS_SECONDS = 3 * 3600 + 1800, 6 * 3600
HALF_HOUR_SECONDS = 1800
POISON_SECONDS = 3700
HEARD = {"crm": (Kind.COMPANY, Kind.PRODUCT, Kind.DEAL), "books": (Kind.CUSTOMER, Kind.INVOICE, Kind.PAYMENT)}
CONNECTIONS = {"crm": SOURCE, "books": TARGET}


class Universe:
    """Everything around the engine, and the engine's use cases run as functions."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.runtime = Runtime(
            plan.seed,
            plan.faults,
            latency_seconds=plan.latency_seconds,
            zombies=plan.zombies,
            start=plan.start,
            skew_seconds=plan.skew_seconds,
        )
        self.table = Table(self.runtime)
        self.queues = Queues(
            self.runtime, self._handle, disorder_seconds=plan.disorder_seconds, duplicates=plan.duplicates
        )
        self.policy = RetryPolicy()
        self.sent: list[dict[str, str]] = []
        self.busiest: list[tuple[int, int]] = []
        self.attempts_max = 0
        self.version = 1
        self.deletions = 0
        self.unknown: list[str] = []
        self._poisoned: dict[tuple[str, str], float] = {}
        self._open = False
        self._alias: dict[str, bool] = {}
        self._memo: dict[str, str] = {}
        self.versions: dict[str, list[datetime]] = {tenant: [] for tenant in TENANTS}
        self.backfilled_at: dict[str, float] = {}
        self.renamed_at: dict[tuple[str, str], float] = {}
        self.plans = MemoryPlans(self.table)
        self.unplanned: list[str] = []
        self.watches = {
            tenant: Watch(
                plan.policies,
                lambda: self.runtime.seconds,
                lambda side, one, owner=tenant: self._partner(owner, side, one),
                faulty=bool(plan.faults),
            )
            for tenant in TENANTS
        }
        self.table.watches = self.watches
        self.processes: Processes | None = None
        self.met: Counter[Met] = Counter()
        self.providers: dict[tuple[str, str], Any] = {}
        for tenant in TENANTS:
            for name, connection in CONNECTIONS.items():
                self.providers[tenant, connection] = self._provided(tenant, name)
        if plan.real:
            self.processes = Processes(self.runtime, self.table, self.providers)
        for tenant in TENANTS:
            for name, connection in CONNECTIONS.items():
                self.table.connections_by_name[tenant, connection] = self._connection(tenant, name)
                self._sign_in(tenant, connection)
            self._put_sync(tenant)
            self._furnish(tenant)
        self._set_cursors()
        self._open = True

    def _provided(self, tenant: str, name: str) -> SimulatedProvider | RealCrm | RealBooks:
        plan = self.plan

        def changed(kind: Kind, record_id: str) -> None:
            self._webhook(tenant, name, kind, record_id)

        if not plan.real:
            lag, keys, traits = plan.lag_seconds, plan.honours_key, self._traits(name)
            forgets = traits is not None and bool(traits.told_seconds)
            return (Forgetful if forgets else SimulatedProvider)(
                self.runtime,
                tenant,
                name,
                lag_seconds=lag,
                honours_key=keys,
                changed=changed,
                watch=self.watches[tenant],
                wrote=lambda side, effect, worker, former: self._wrote(tenant, side, effect, worker, former),
                traits=traits,
                allowance=self._allowance(tenant, name),
                met=self.met,
            )
        if name == "crm":
            return RealCrm(self.runtime, tenant, calls_per_minute=plan.calls_per_minute, changed=changed)
        return RealBooks(
            self.runtime,
            tenant,
            calls_per_minute=plan.calls_per_minute,
            token_seconds=plan.token_seconds,
            token_rotates_seconds=plan.token_rotates_seconds,
            lag_seconds=plan.lag_seconds,
            honours_key=plan.honours_key,
            changed=changed,
        )

    def _traits(self, name: str) -> Traits | None:
        """What the CRM or the books behave like; None for the first model."""
        rotation = self.plan.rotation
        if rotation is None:
            return None
        manifest = manifests()[rotation.crm if name == "crm" else rotation.books]
        self.met[Met.ONE_WAY] += name == "crm" and Kind.DEAL not in manifest.writes
        told_seconds = rotation.told_seconds if manifest.webhooks else 0
        return Traits(manifest, in_steps=rotation.in_steps, gaps=rotation.gaps, told_seconds=told_seconds)

    def _allowance(self, tenant: str, name: str) -> Allowance | None:
        rotation = self.plan.rotation
        if rotation is None or not rotation.limited:
            return None
        manifest = manifests()[rotation.crm if name == "crm" else rotation.books]
        limits = limits_of(rotation, manifest, self.plan.calls_per_minute)
        return Allowance(self.runtime, self.table, (tenant, CONNECTIONS[name]), limits, self.met)

    def _connection(self, tenant: str, name: str) -> Connection:
        connection = CONNECTIONS[name]
        if not self.plan.real:
            return Connection(tenant, connection, f"fake_{name}", account="1")
        provider = {"crm": "act", "books": "quickbooks_online"}[name]
        account = REALM if name == "books" else ""
        settings = self.providers[tenant, connection].settings
        return Connection(tenant, connection, provider, account=account, settings=settings)

    def _set_cursors(self) -> None:
        """Polls begin where the furniture ends."""
        for (tenant, connection), provider in self.providers.items():
            provider.touched.clear()
            for kind in Kind:
                if not self.plan.real:
                    self.table.cursors[tenant, connection, kind] = provider.cursor_at_start()
        if self.plan.real:
            for tenant, connection in self.providers:
                self._poll().poll(tenant, connection)
            self.runtime.seconds = 0.0

    def id_of(self, name: str) -> str:
        """The CRM's id of what the plan names."""
        return guid(name) if self.plan.real else name

    def crm(self, tenant: str) -> Any:
        """The tenant's CRM."""
        return self.providers[tenant, "act"]

    def books(self, tenant: str) -> Any:
        """The tenant's books."""
        return self.providers[tenant, "quickbooks"]

    def _partner(self, tenant: str, side: Side, record_id: str) -> tuple[LinkKey, str] | None:
        """The link of a company or a customer, and the other one's id."""
        if side is Side.SOURCE:
            key = LinkKey(tenant, SYNC, "customers", record_id)
            link = self.table.links.get(key)
            return (key, link.target_id) if link is not None and link.target_id is not None else None
        mine = [link for key, link in self.table.links.items() if (key.tenant, key.step) == (tenant, "customers")]
        return next(((one.key, one.key.source_id) for one in mine if one.target_id == record_id), None)

    def _wrote(self, tenant: str, name: str, effect: Effect, worker: str, former: Record | None) -> None:
        """A write of ours was done, over the former record: what plan asked for it, and was it planned."""
        if name != "books":
            return
        links = self.table.links
        key = next((one for one in links if reference_of(one) == effect.reference), None)
        intent = links[key].intent if key is not None else None
        is_mine = intent is not None and intent.effect_id == effect.id
        plan = intent.plan if intent is not None and is_mine else ""
        credits_ = key is not None and key.step.endswith(CREDITING)
        withdraws = credits_ or (intent is not None and is_mine and intent.withdrawal is not None)
        main = replace(key, step=key.step.removesuffix(CREDITING)) if key is not None else None
        watch, deal = self.watches[tenant], (Kind.DEAL, main.source_id if main is not None else "")
        written = Written(
            self.runtime.true_now(),
            effect,
            main,
            plan,
            withdraws,
            read_at=watch.read_at(worker, *deal),
            touched_at=self.crm(tenant).touched.get(deal, 0.0),
            outlived=worker in self.runtime.outlived,
        )
        watch.writes.append(written)
        if plan and key is not None:
            stood = plain(former.fields) if former is not None else {}
            self.unplanned += self._unplanned(tenant, plan, key, effect, stood)

    def _unplanned(
        self, tenant: str, plan_id: str, key: LinkKey, effect: Effect, stood: Mapping[str, Any]
    ) -> Iterator[str]:
        plan = self.plans.plan(tenant, plan_id)
        planned = self.plans.allowed(plan, [key]).get(key) if plan is not None else None
        where = f"{plan_id} wrote {key.tenant} {key.step}/{key.source_id}"
        if planned is None:
            yield f"{where}, of which it says nothing"
            return
        ignored = ("date",) if key.step.endswith(CREDITING) else ()
        said, done = (
            {name: value for name, value in each.items() if name not in ignored and value is not None}
            for each in (planned.document, plain(effect.document.as_fields()))
        )
        if planned.operation is not effect.operation or (planned.target_id or effect.target_id) != effect.target_id:
            yield f"{where}: {effect.operation} of {effect.target_id}, and not {planned.operation}"
        elif not all(
            like_planned(said[name], without_what_stood(said[name], done.get(name), stood.get(name))) for name in said
        ):
            yield f"{where}: it says {said}, and {done} was written"

    def _put_sync(self, tenant: str) -> None:
        alias, memo = self._alias.get(tenant, False), self._memo.get(tenant, "")
        rotation, policies = self.plan.rotation, self.plan.policies
        if rotation is None:
            text = text_of(policies, alias=alias, memo=memo)
        else:
            text = text_of_pair(rotation.pair, policies, alias=alias, memo=memo)
        self.versions[tenant].append(self.runtime.true_now())
        # One moment for all seeds: a process compiles equal syncs once.
        self.table.put_sync(StoredSync(tenant, SYNC, self.version, text, START))

    def _furnish(self, tenant: str) -> None:
        crm = self.crm(tenant)
        for product, name in self._products().items():
            fields = {"name": name, "sku": None, "price": Decimal(100), "cost": None, "description": tenant}
            crm.put(Kind.PRODUCT, self.id_of(product), **fields)
        for company in COMPANIES:
            crm.put(
                Kind.COMPANY,
                self.id_of(company),
                name=f"{company} of {tenant}",
                phone="1",
                website=None,
                address={"country": "United States"},
                contact=_contact(company),
                custom_fields={},
            )
            if self.plan.rotation is not None:
                crm.edit(Kind.COMPANY, company, self._selected())
            if self.plan.policies.two_way:
                values = {"address.city": "Springfield", "contact.email": f"{company}@example.com"}
                crm.edit(Kind.COMPANY, company, values)
        if self.plan.policies.look_alikes:
            for number, name in enumerate((f"c1 {tenant}", f"C2 of {tenant} Ltd")):
                self.books(tenant).put(Kind.CUSTOMER, f"L{number}", name=name, phone="old")
        if self.plan.adoptable:
            self.books(tenant).put(Kind.ITEM, "9", name="GTX Pro", type="service", description="was here before")

    def _products(self) -> Mapping[str, str]:
        """By id, the names of what is sold; with the one that each line is, if the sync says so."""
        item = self._step("invoices").get("fields", {}).get("lines", {}).get("fields", {}).get("item", {})
        return PRODUCTS | ({"p0": item["constant"]} if "constant" in item else {})

    def _selected(self) -> Mapping[str, Any]:
        """What a company has to show to take part in the sync."""
        when = self._step("customers").get("when", {})
        return {when["path"]: when["equals"]} if when else {}

    def _step(self, name: str) -> Mapping[str, Any]:
        """Of the pair's sync; empty for the first model's, which asks for nothing in particular."""
        if self.plan.rotation is None:
            return {}
        step: Mapping[str, Any] = document_of(self.plan.rotation.pair)["steps"][name]
        return step

    # The run

    def run(self) -> None:
        """All steps, then until nothing moves any more and every alert is sent."""
        after, ends_at = self.runtime.after, self.plan.ends_at
        quiet = ends_at + (DAY_SECONDS + SPARE_DAY_SECONDS if self.plan.whole_day else QUIET_SECONDS)
        for step in self.plan.steps:
            after(step.at, lambda one=step: self._do(one))
        polls = [*range(0, int(ends_at + QUIET_SECONDS), POLL_SECONDS), quiet + 60, quiet + 2000, quiet + 9000]
        if self.plan.whole_day:
            for at in self._scheduled(int(quiet)):
                after(at, self._sweep_all)
                polls.append(at + HALF_HOUR_SECONDS)
        for at in polls:
            after(at, self._poll_all)
        for at in (quiet + 100, quiet + 8000):  # what two in a row do not see has vanished
            after(at, self._sweep_all)
        after(quiet + 8500, self._approve_all)
        for tenant in TENANTS:
            if self._memo.get(tenant) or any(one.action == "reword sync" for one in self.plan.steps):
                after(quiet + 200, lambda one=tenant: self.do_backfill(one, "", ""))
        for at in range(300, int(quiet), 600):
            after(at, self._alert)
        after(quiet, self._calm)
        self.runtime.run()
        for _ in range(4):
            if self.table.alerts:
                after(3610, self._alert)  # the hour of the last one is over, whatever the clock says
                self.runtime.run()
        self.runtime.close()

    def _scheduled(self, until: int) -> Iterator[float]:
        """When the deployed schedule sweeps: at 3:30, 9:30, 15:30 and 21:30 UTC."""
        midnight = self.plan.start.replace(hour=0, minute=0)
        began = (self.plan.start - midnight).total_seconds()
        for at in range(SWEEPS_BEGIN_SECONDS, until + DAY_SECONDS, SWEEPS_SECONDS):
            if 0 <= at - began < until:
                yield at - began

    def _deleted(self, key: LinkKey) -> None:
        """A record was deleted, or the document that was made of it: a day later that has to be known."""
        link = self.table.links.get(key)
        if self.plan.whole_day and link is not None and link.target_id is not None and not self._knows(key):
            self.runtime.after(DAY_SECONDS, lambda: self._has_to_know(key))

    def _has_to_know(self, key: LinkKey) -> None:
        self.deletions += 1
        if not self._knows(key):
            self.unknown.append(f"{key.tenant} {key.step}/{key.source_id}")

    def _knows(self, key: LinkKey) -> bool:
        link = self.table.links[key]
        paused = any(one.state is ConnectionState.PAUSED for one in self.table.connections(key.tenant))
        held = {one for braked in self._sweep().held(key.tenant) for one in braked.ids}
        own = {key.source_id, link.target_id}  # a brake of the books' side names their records
        return paused or link.unsynced is not None or link.withdrawn is not None or not held.isdisjoint(own)

    def _calm(self) -> None:
        self.runtime.faulty = False
        self._poisoned.clear()
        for provider in self.providers.values():
            if not self.plan.real and provider.allowance is not None:
                provider.allowance.lift_quota()
        for tenant in TENANTS:
            self._reconnect(tenant)

    def connect(self, connection: Connection) -> Connector:
        """As the bootstrap does it."""
        if self.processes is not None:
            return self.processes.current().connect(connection)
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
            plans=self.plans,
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
        if not self.plan.real and not self.providers[tenant, CONNECTIONS[name]].tells(kind):
            return
        webhook = Webhook({}, json.dumps([kind, record_id]).encode())
        if self.plan.real:
            webhook = self.providers[tenant, CONNECTIONS[name]].webhook(kind, record_id)
        self.runtime.after(random.random() * 3, lambda: self._receive(f"{tenant}.{CONNECTIONS[name]}", webhook, tries))

    def _receive(self, address: str, webhook: Webhook, tries: int) -> None:
        answered: list[bool] = []

        def receive() -> None:
            process = self.processes.current() if self.processes is not None else None
            use_case = ReceiveWebhook(
                config=self.table,
                secrets=process.secrets if process is not None else self,
                queue=self.queues,
                provider=process.provider if process is not None else self._provider,
                clock=self.runtime,
            )
            try:
                use_case.receive(address, webhook)
            except (UnavailableError, TableDownError):
                return
            answered.append(True)

        def again() -> None:
            if not answered and tries > 1:
                self.runtime.after(300, lambda: self._receive(address, webhook, tries - 1))

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

    def _approve_all(self) -> None:
        """A person looks at what brakes hold back, and finds that it is gone indeed."""
        for tenant, connection in self.providers:
            self._use("operator", lambda one=tenant, other=connection: self._approve_held(one, other))

    def _approve_held(self, tenant: str, connection: str) -> None:
        held = [one for braked in self._sweep().held(tenant) for one in braked.ids]
        self._approved(tenant, [LinkKey(tenant, SYNC, "invoices", one) for one in held])
        self._sweep().approve(tenant, connection)

    def _approved(self, tenant: str, keys: Sequence[LinkKey]) -> None:
        """A person says that caps do not count for these."""
        for key in keys:
            self.watches[tenant].approved.setdefault(key, self.runtime.true_now())

    def _sweep(self) -> Sweep:
        return Sweep(
            config=self.table,
            links=self.table,
            alerts=self.table,
            queue=self.queues,
            connect=self.connect,
            clock=self.runtime,
        )

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

    def _today(self) -> date:
        return self.runtime.true_now().date()

    def do_win(self, tenant: str, deal: str, value: str) -> None:
        self._put_deal(tenant, deal, value, "won")

    def do_reopen(self, tenant: str, deal: str, value: str) -> None:
        self._put_deal(tenant, deal, value, "open")

    def _put_deal(self, tenant: str, deal: str, value: str, status: str) -> None:
        crm, key = self.crm(tenant), (Kind.DEAL, self.id_of(deal))
        if key in crm.touched and key not in crm.records:
            return  # it was deleted, and no CRM gives an id twice
        company, lines, amount = sold(value)
        crm.put(
            *key,
            name=f"{deal} of {tenant}",
            status=status,
            closed_on=self._today(),
            source_id=f"S{deal}",
            companies=[{"id": self.id_of(company), "name": company}],
            contacts=[],
            amount=amount,
            lines=[self._line(one) for one in lines],
            **({} if key in crm.records else {"custom_fields": {}}),
        )

    def do_edit(self, tenant: str, deal: str, value: str) -> None:
        there = self._deal(tenant, deal)
        if there is not None:
            line = Sold(there.fields["lines"][0]["name"], Decimal(1), Decimal(value), Decimal(0))
            self._change_deal(tenant, deal, amount=line.exact, lines=[self._line(line)])

    def _line(self, one: Sold) -> dict[str, Any]:
        """A line of a deal; in the rotation it also says by id what is sold."""
        named = (product for product, name in PRODUCTS.items() if name == one.product)
        return _line(one, next(named, None) if self.plan.rotation is not None else None)

    def do_lose(self, tenant: str, deal: str, _: str) -> None:
        self._change_deal(tenant, deal, status="lost")

    def do_win_again(self, tenant: str, deal: str, _: str) -> None:
        self._change_deal(tenant, deal, status="won")

    def do_move_deal(self, tenant: str, deal: str, value: str) -> None:
        self._change_deal(tenant, deal, companies=[{"id": self.id_of(value), "name": value}])

    def _change_deal(self, tenant: str, deal: str, **fields: Any) -> None:
        if self._deal(tenant, deal) is not None:
            self.crm(tenant).put(Kind.DEAL, self.id_of(deal), **fields)

    def do_delete_deal(self, tenant: str, deal: str, _: str) -> None:
        self.crm(tenant).delete(Kind.DEAL, self.id_of(deal))
        self._deleted(LinkKey(tenant, SYNC, "invoices", self.id_of(deal)))

    def _deal(self, tenant: str, deal: str) -> Record | None:
        return self.crm(tenant).records.get((Kind.DEAL, self.id_of(deal)))

    def do_rename_company(self, tenant: str, company: str, value: str) -> None:
        self._rename(tenant, Kind.COMPANY, company, f"{company} of {tenant} {value}")

    def do_rename_company_as_other(self, tenant: str, company: str, _: str) -> None:
        other = next(one for one in COMPANIES if one != company)
        self._rename(tenant, Kind.COMPANY, company, f"{other} of {tenant}")

    def do_enter_customer(self, tenant: str, company: str, _: str) -> None:
        """Somebody enters a customer of the company's name in the books, before we do."""
        name = self.crm(tenant).records[Kind.COMPANY, self.id_of(company)].fields["name"]
        self.books(tenant).put(Kind.CUSTOMER, f"E{company}", name=name)

    def do_rename_product(self, tenant: str, product: str, value: str) -> None:
        self._rename(tenant, Kind.PRODUCT, product, f"{PRODUCTS[product]} {value}")

    def do_rename_product_as_other(self, tenant: str, product: str, _: str) -> None:
        other = next(one for one in PRODUCTS if one != product)
        self._rename(tenant, Kind.PRODUCT, product, PRODUCTS[other])

    def _rename(self, tenant: str, kind: Kind, about: str, name: str) -> None:
        self.renamed_at[tenant, self.id_of(about)] = self.runtime.seconds
        self.crm(tenant).put(kind, self.id_of(about), name=name)

    def do_reprice_product(self, tenant: str, product: str, value: str) -> None:
        self.crm(tenant).put(Kind.PRODUCT, self.id_of(product), price=Decimal(value))

    def do_move_contact(self, tenant: str, company: str, _: str) -> None:
        """The company's contact goes to the other one, which has no other then."""
        other = next(one for one in COMPANIES if one != company)
        crm = self.crm(tenant)
        if self.plan.real:
            crm.put(Kind.CONTACT, guid(f"contact Ada {company}"), companyID=self.id_of(other))
            # Act! tells of the contact and of where it is now; of the company that it left, only an edit tells.
            crm.put(Kind.COMPANY, self.id_of(company), website="example.com")
        else:
            crm.put(Kind.COMPANY, company, contact=None)
            crm.put(Kind.COMPANY, other, contact=_contact(company))

    def _invoice(self, tenant: str, deal: str) -> Record | None:
        key = LinkKey(tenant, SYNC, "invoices", self.id_of(deal))
        books = self.books(tenant)
        for record_id in books.created.get((Kind.INVOICE, reference_of(key)), ()):
            record = books.records.get((Kind.INVOICE, record_id))
            if record is not None and record.fields["state"] not in ("voided", "draft"):
                return record
        return None

    def do_pay(self, tenant: str, deal: str, value: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None and invoice.fields["balance"] > 0:
            balance = Decimal(str(invoice.fields["balance"]))
            part = min(balance, Decimal(value) / 100) if int(value) % 3 else balance
            self.books(tenant).pay(invoice.id, part, self._today())

    def do_take_payment_back(self, tenant: str, deal: str, _: str) -> None:
        self._take_back(tenant, deal, Decimal(1))

    def do_refund(self, tenant: str, deal: str, value: str) -> None:
        self._take_back(tenant, deal, Decimal(int(value) % 9 + 1) / 10)

    def _take_back(self, tenant: str, deal: str, share: Decimal) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None and invoice.fields["paid"] > 0:
            self.books(tenant).take_back(invoice.id, share, self._today())

    def do_void_invoice(self, tenant: str, deal: str, _: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None:
            self.books(tenant).void(invoice.id)

    def do_edit_invoice(self, tenant: str, deal: str, value: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None:
            self.books(tenant).set_amounts(invoice.id, Decimal(value))

    def do_edit_invoices_number(self, tenant: str, deal: str, value: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None:
            self.books(tenant).set_number(invoice.id, f"N{value}")

    def do_delete_invoice(self, tenant: str, deal: str, _: str) -> None:
        invoice = self._invoice(tenant, deal)
        if invoice is not None:
            self.books(tenant).delete(Kind.INVOICE, invoice.id)
            self._deleted(LinkKey(tenant, SYNC, "invoices", self.id_of(deal)))

    def do_edit_customer(self, tenant: str, company: str, value: str) -> None:
        for record_id in self._customers(tenant, company):
            self.books(tenant).set_phone(record_id, value)

    def do_edit_companys_fields(self, tenant: str, company: str, value: str) -> None:
        paths = {"phone": "phone", "email": "contact.email", "city": "address.city"}
        there = self.crm(tenant).records[Kind.COMPANY, company]
        if there.fields.get("contact") is None:
            value = value.replace("email", "phone")
        elif there.fields["contact"].get("phone"):
            paths["phone"] = "contact.phone"
        if (there.fields.get("billing_address") or {}).get("city"):
            paths["city"] = "billing_address.city"
        self.crm(tenant).edit(Kind.COMPANY, company, _edited(value, paths))

    def do_edit_customers_fields(self, tenant: str, company: str, value: str) -> None:
        paths = {"phone": "phone", "email": "email", "city": "billing_address.city"}
        for record_id in self._customers(tenant, company):
            self.books(tenant).edit(Kind.CUSTOMER, record_id, _edited(value, paths))

    def do_merge_customers(self, tenant: str, company: str, _: str) -> None:
        other = next(one for one in COMPANIES if one != company)
        for record_id, into in zip(self._customers(tenant, company), self._customers(tenant, other), strict=False):
            self.books(tenant).merge(record_id, into)

    def _customers(self, tenant: str, company: str) -> Sequence[str]:
        key = LinkKey(tenant, SYNC, "customers", self.id_of(company))
        created = self.books(tenant).created.get((Kind.CUSTOMER, reference_of(key)), ())
        link = self.table.links.get(key)
        if link is None or link.target_id is None or link.target_id in created:
            return created
        return [*created, link.target_id]  # one that stood there before

    def do_close_books(self, tenant: str, _about: str, value: str) -> None:
        self.books(tenant).close(self._today() - timedelta(days=int(value) % 2))

    # What operators do

    def do_retry_parked(self, tenant: str, _about: str, _value: str) -> None:
        operate = self._operate()
        self._use("operator", lambda: operate.retry(operate.parked(tenant)))

    def do_dismiss_one(self, tenant: str, _about: str, _value: str) -> None:
        operate = self._operate()
        self._use("operator", lambda: operate.dismiss(tenant, operate.parked(tenant)[:1]))

    def do_backfill(self, tenant: str, _about: str, _value: str) -> None:
        use_case = Backfill(config=self.table, queue=self.queues, connect=self.connect, clock=self.runtime)

        def backfill() -> None:
            use_case.run(tenant, SYNC, progress=lambda _kind, _count: None)
            self.backfilled_at[tenant] = self.runtime.seconds

        self._use("backfill", backfill)

    def do_alias(self, tenant: str, _about: str, _value: str) -> None:
        self.version += 1
        self._alias[tenant] = True
        self._put_sync(tenant)

    def do_reword_sync(self, tenant: str, _about: str, value: str) -> None:
        self.version += 1
        self._memo[tenant] = ("Thanks", "With thanks")[int(value) % 2]
        self._put_sync(tenant)

    def do_answer_review(self, tenant: str, _about: str, value: str) -> None:
        operate, number = self._operate(), int(value)

        def answer() -> None:
            reviews = operate.reviews(tenant)
            if not reviews:
                return
            one = reviews[number % len(reviews)]
            review = one.review
            if review is None:
                return
            now, key = self.runtime.now(), LinkKey(tenant, SYNC, one.step, one.change.id)
            if review.kind is ReviewKind.MATCH:
                choice = (Choice.ACCEPT, Choice.CREATE, Choice.NEVER)[number % 3]
                about = "" if choice is Choice.CREATE else review.candidates[0].target_id
                self.watches[tenant].named_at[key] = self.runtime.seconds
                operate.resolve(tenant, one, Decision(review.digest, choice, "ann", now, target_id=about))
                return
            fields = {
                conflict.field: (Side.SOURCE, Side.TARGET)[(number + place * (number % 2)) // 2 % 2]
                for place, conflict in enumerate(review.conflicts)
            }
            at = self.runtime.seconds
            self.watches[tenant].answers += [
                Answer(at, key, one.field.rpartition(".")[2], fields[one.field], one.source, one.target)
                for one in review.conflicts
            ]
            operate.resolve(tenant, one, Decision(review.digest, Choice.FIELDS, "ann", now, fields=fields))

        self._use("operator", answer)

    def do_approve_capped(self, tenant: str, _about: str, _value: str) -> None:
        operate = self._operate()

        def approve() -> None:
            capped = [one for one in operate.parked(tenant) if one.cause.startswith("cap-")]
            self._approved(tenant, [LinkKey(tenant, SYNC, one.step, one.change.id) for one in capped])
            operate.retry(capped, approve=True)

        self._use("operator", approve)

    def _stored_plans(self) -> StoredPlans:
        return _Plans(
            config=self.table,
            links=self.table,
            plans=self.plans,
            queue=self.queues,
            connect=self.connect,
            clock=self.runtime,
        )

    def do_plan(self, tenant: str, _about: str, _value: str) -> None:
        plans = self._stored_plans()

        def plan() -> None:
            report = plans.preview(tenant, SYNC, progress=_quietly)
            if report.writes or report.links:
                plans.keep(tenant, SYNC, report, by="ann")

        self._use("plan", plan)

    def do_apply_plan(self, tenant: str, _about: str, value: str) -> None:
        """Whoever looks twice would refuse it; the worker has to keep to it all the same."""
        plans = self._stored_plans()

        def apply() -> None:
            if (one := self._one_plan(tenant, value)) is not None:
                plans.begin(plans.approve(one, by="bea"), plans.writes(one), by="bea")

        self._use("plan", apply)

    def do_undo_plan(self, tenant: str, _about: str, value: str) -> None:
        plans = self._stored_plans()

        def undo() -> None:
            one = next((one for one in self.plans.plans(tenant) if one.began_at is not None and not one.undoes), None)
            if one is None:
                return
            kept, _ = plans.take_back(one, by="bea", progress=_quietly, credit_paid=int(value) % 2 == 0)
            if kept is not None:
                plans.begin(plans.approve(kept, by="bea"), plans.writes(kept), by="bea")

        self._use("plan", undo)

    def _one_plan(self, tenant: str, value: str) -> StoredPlan | None:
        """The newest, or one that was forgotten a while."""
        waiting = [one for one in self.plans.plans(tenant) if one.began_at is None]
        return waiting[int(value) % len(waiting)] if waiting else None

    def do_revoke_crm(self, tenant: str, _about: str, _value: str) -> None:
        self.crm(tenant).revoke()

    def do_revoke_books(self, tenant: str, _about: str, _value: str) -> None:
        self.books(tenant).revoke()

    def do_reconnect(self, tenant: str, _about: str, _value: str) -> None:
        self._reconnect(tenant)

    def _reconnect(self, tenant: str) -> None:
        for connection in CONNECTIONS.values():
            self._sign_in(tenant, connection)
            stored = self.table.connections_by_name[tenant, connection]
            self.table.connections_by_name[tenant, connection] = replace(
                stored, state=ConnectionState.ACTIVE, paused_because="", paused_at=None
            )

    def _sign_in(self, tenant: str, connection: str) -> None:
        """Somebody connects it, perhaps again."""
        provider = self.providers[tenant, connection]
        if self.processes is not None:
            self.processes.keep(tenant, connection, provider.secrets())
        else:
            provider.signed_in = True

    def do_poison(self, tenant: str, deal: str, _: str) -> None:
        """Whatever touches this deal dies, for longer than a message lives."""
        self._poisoned[tenant, self.id_of(deal)] = self.runtime.seconds + POISON_SECONDS


class _Plans(StoredPlans):
    """Plans with ids that a seed decides."""

    def _new_id(self, what: str) -> str:
        taken = sum(1 for _, name in self._plans.stored if name.startswith(what))  # type: ignore[attr-defined] # of memory
        return f"{what}-{self._clock.now():%Y%m%d-%H%M%S}-{taken:04}"


def _quietly(_kind: object, _count: object) -> None:
    """Nobody watches."""


def _edited(value: str, paths: Mapping[str, str]) -> dict[str, str]:
    """What `phone+city:17` puts where."""
    names, _, number = value.partition(":")
    made = {"phone": f"ext. {number}", "email": f"m{number}@example.com", "city": f"City {number}"}
    return {paths[name]: made[name] for name in names.split("+")}


def _contact(company: str) -> dict[str, Any]:
    return {"name": f"Ada {company}", "given_name": "Ada", "family_name": company, "email": None}


def _line(one: Sold, product_id: str | None) -> dict[str, Any]:
    return {
        "product_id": product_id,
        "name": one.product,
        "sku": None,
        "quantity": one.quantity,
        "unit_price": one.price,
        "discount_percent": one.discount_percent or None,
        "amount": one.exact,
    }


def _letter(alerts: Sequence[Alert]) -> tuple[str, str]:
    told = []
    for alert in alerts:
        where = ""
        if alert.unsynced is not None:
            where = f"{alert.unsynced.step}/{alert.unsynced.change.id}"
        told.append({"cause": alert.cause, "where": where})
    return alerts[0].subject[:100], json.dumps(told)


__all__ = ["DEALS", "SYNC", "Universe", "UnsyncedState"]
