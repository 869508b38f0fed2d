"""Applying changes: collect, plan, claim, write, settle. A write happens once, whatever breaks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import batched
from typing import Protocol

from tieout.domain.changes import Change, Lane, Origin, UnsyncedState
from tieout.domain.documents import Document
from tieout.domain.errors import (
    ClaimedError,
    MappingError,
    NotFoundError,
    SettingsError,
    TieoutError,
)
from tieout.domain.links import Link, LinkKey, Withdrawal
from tieout.domain.plans import PlanState, StoredPlan
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.engine.caps import Caps, CapStore
from tieout.engine.collect import (
    Connect,
    Names,
    by_connection,
    coalesce,
    compiled,
    concerned,
    kinds_heard,
    links_of,
    read_all,
    steps_of,
    works_of,
)
from tieout.engine.ends import AlertSink, ApplyReport, Connections, Ends, RetryQueue
from tieout.engine.follow import follow, is_doubted, look_for_partners
from tieout.engine.gate import leave_out, note_passed
from tieout.engine.parents import LEVELS_MAX, by_level, park_too_deep
from tieout.engine.plan import NoChange, Work, build_document, plan
from tieout.engine.policy import RetryPolicy
from tieout.engine.recover import Recovery
from tieout.engine.sentences import (
    left_the_sync,
    lines_differ,
    not_linked,
    not_taken_by_the_sync,
    not_understood,
    source_gone,
)
from tieout.engine.session import Plans, Session
from tieout.engine.take_back import TakeBack
from tieout.engine.two_way import TwoWay, come_back
from tieout.engine.withdraw import Withdrawals
from tieout.engine.write import Pending, Writer
from tieout.mapping import CompiledStep, CompiledSync, LinkTo, missing_link
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector
from tieout.ports.state import LinkStore, StoredSync

GONE_AFTER_ATTEMPTS = 2


class ApplyConfig(Connections, Protocol):
    """What is needed of `ConfigStore`."""

    def syncs(self, tenant: str) -> Sequence[StoredSync]:
        """The running version of each sync."""


class ApplyChanges:
    """Brings the other side into agreement with the records that changed."""

    def __init__(
        self,
        *,
        config: ApplyConfig,
        links: LinkStore,
        alerts: AlertSink,
        queue: RetryQueue,
        budget: CapStore,
        connect: Connect,
        clock: Clock,
        connect_backfill: Connect | None = None,
        policy: RetryPolicy | None = None,
        plans: Plans | None = None,
    ) -> None:
        self._config, self._links, self._alerts, self._queue = config, links, alerts, queue
        self._caps = Caps(budget, clock)
        self._connect, self._clock, self._policy = connect, clock, policy or RetryPolicy()
        self._connect_backfill = connect_backfill or connect
        self._plans = plans

    def apply(self, changes: Sequence[Change], *, out_of_time: Callable[[], bool] = lambda: False) -> ApplyReport:
        """What became of each change. When this returns, every change has a durable end and may be acknowledged.

        Args:
            changes: Any mixture of tenants, connections and kinds; repeats cost nothing.
            out_of_time: Asked before each batch of writes; once true, what is left goes back to the queue.

        Raises:
            Exception: If the state store or the queue fails; then no change may be acknowledged.
        """
        ends = Ends(
            config=self._config,
            links=self._links,
            alerts=self._alerts,
            queue=self._queue,
            clock=self._clock,
            policy=self._policy,
        )
        for (tenant, connection_id), group in by_connection(coalesce(changes)).items():
            syncs = []
            for stored in self._config.syncs(tenant):
                try:
                    syncs.append(compiled(stored))
                except SettingsError as error:  # accepted once, and not understood after an upgrade
                    ends.put_off(group, not_understood(stored.name, error))
            syncs = [sync for sync in syncs if sync.target == connection_id or kinds_heard(sync, connection_id)]
            if not syncs:
                ends.unwanted(group, "no sync uses this connection")
                continue
            for lane, connect in ((Lane.LIVE, self._connect), (Lane.BACKFILL, self._connect_backfill)):
                for asked_by, some in self._by_plan(tenant, [one for one in group if one.lane is lane], ends):
                    ends.begin()
                    session = Session(
                        tenant=tenant,
                        config=self._config,
                        links=self._links,
                        clock=self._clock,
                        policy=self._policy,
                        ends=ends,
                        caps=self._caps,
                        connect=connect,
                        out_of_time=out_of_time,
                        plan=asked_by,
                        plans=self._plans,
                    )
                    chosen = [one for one in syncs if asked_by is None or one.name == asked_by.sync]
                    _apply_group(session, connection_id, chosen, some)
                    note_passed(session)
        ends.flush()
        return ends.report

    def _by_plan(
        self, tenant: str, changes: Sequence[Change], ends: Ends
    ) -> Iterator[tuple[StoredPlan | None, Sequence[Change]]]:
        """The changes that no plan asks for, and those of each plan: it says what they may write."""
        for plan_id in dict.fromkeys(change.plan for change in changes):
            some = [change for change in changes if change.plan == plan_id]
            kept = self._plans.plan(tenant, plan_id) if plan_id and self._plans is not None else None
            if plan_id and kept is None:
                ends.unwanted(some, "its plan is no longer kept")
            elif kept is not None and kept.state is PlanState.UNDONE:
                ends.unwanted(some, "its plan was taken back")
            elif kept is not None and kept.began_at is None and kept.revision:
                ends.unwanted(some, "its plan was not applied")
            else:
                yield kept, some


def _apply_group(
    session: Session, connection_id: str, syncs: Sequence[CompiledSync], changes: Sequence[Change]
) -> None:
    """Changes of one connection: read once for all syncs, then applied sync by sync."""
    changes = follow(session, connection_id, syncs, changes)
    heard = {kind for sync in syncs for kind in kinds_heard(sync, connection_id)}
    session.ends.unwanted([change for change in changes if change.kind not in heard], "no step reads this kind")
    for sync, back in come_back(session, connection_id, syncs, changes):
        _apply_read(session, sync.source, [sync], back)
    _apply_read(session, connection_id, syncs, changes)


def _apply_read(session: Session, connection_id: str, syncs: Sequence[CompiledSync], changes: Sequence[Change]) -> None:
    """The changes of kinds that steps of the syncs read."""
    steps = {sync.name: list(steps_of(sync, connection_id)) for sync in syncs}
    wanted = {kind for some in steps.values() for step in some for kind in (step.from_kind, *step.also_on)}
    changes = [change for change in changes if change.kind in wanted]
    if not changes:
        return
    try:
        source = session.connector(connection_id)
    except TieoutError as error:
        session.failed(connection_id, error)
        for sync in syncs:
            _put_off(session, sync, steps[sync.name], changes, error)
        return
    links = _links(session, syncs, steps, changes)  # before the records, see works_of
    records: dict[Kind, dict[str, Record]] = defaultdict(dict)
    read: list[Change] = []
    for kind, some in _by_kind(changes).items():
        for chunk in batched(some, source.manifest.read_batch_max, strict=False):
            try:
                records[kind] |= read_all(source, kind, [change.id for change in chunk])
            except TieoutError as error:
                session.failed(connection_id, error)
                for sync in syncs:
                    _put_off(session, sync, steps[sync.name], chunk, error)
            else:
                read += chunk
    for sync in syncs:
        run = SyncRun(session, sync, steps[sync.name], source, links)
        try:
            run.apply(read, records)
        except TieoutError as error:  # of the source: what the target answers ends each piece of work by itself
            session.failed(connection_id, error)
            _put_off(session, sync, steps[sync.name], read, error)


def _links(
    session: Session,
    syncs: Sequence[CompiledSync],
    steps: Mapping[str, Sequence[CompiledStep]],
    changes: Sequence[Change],
) -> dict[LinkKey, Link]:
    """The links of the changes' own records, in every step that reads them."""
    found: dict[LinkKey, Link] = {}
    for sync in syncs:
        for step in steps[sync.name]:
            own = [change for change in changes if change.kind == step.from_kind]
            found |= links_of(sync, step, own, session.links)
    return found


def _by_kind(changes: Sequence[Change]) -> dict[Kind, list[Change]]:
    kinds: dict[Kind, list[Change]] = defaultdict(list)
    for change in changes:
        kinds[change.kind].append(change)
    return kinds


def _put_off(
    session: Session,
    sync: CompiledSync,
    steps: Sequence[CompiledStep],
    changes: Sequence[Change],
    error: TieoutError,
) -> None:
    """Let the changes wait, and say so in the table where it is known which step they belong to."""
    told: set[Change] = set()
    for step in steps:
        own = [change for change in changes if change.kind == step.from_kind]
        told.update(own)
        for work in works_of(sync, step, own, {}, links_of(sync, step, own, session.links)):
            if not session.ends.ended(work.key):
                session.ends.waits(work, error)
    session.ends.put_off([change for change in changes if change not in told], error)


class SyncRun:
    """One sync's part of the changes of one connection."""

    def __init__(
        self,
        session: Session,
        sync: CompiledSync,
        steps: Sequence[CompiledStep],
        source: Connector,
        links: Mapping[LinkKey, Link],
    ) -> None:
        self._session, self._sync, self._steps, self._source, self._links = session, sync, steps, source, links
        self._writer = Writer(session)
        self._recovery = Recovery(session, self._writer)
        self._withdrawals = Withdrawals(session, self._writer, self._recovery)
        self._two_way = TwoWay(session, sync)
        self._met: list[tuple[Work, Document]] = []
        self._doubted: list[tuple[Work, Document]] = []
        self._names = Names(source)
        self._works: dict[str, list[Work]] = {step.name: [] for step in sync.steps}
        self._kinds = {step.name: step.from_kind for step in sync.steps}
        self._gone: set[LinkKey] = set()

    def apply(self, changes: Sequence[Change], records: Mapping[Kind, dict[str, Record]]) -> None:
        """Every change ended, in every step that it concerns: customers and items first, then their invoices."""
        if self._session.plan is not None and self._session.plan.undoes:
            TakeBack(self._session, self._sync, self._steps, self._links).apply(changes, records)
            return
        for step in self._steps:
            self._works[step.name] = self._collect(step, changes, records)
        for step in reversed(self._steps):
            self._need(step)
        for step in self._steps:
            self._write(step)

    # Collect

    def _collect(
        self, step: CompiledStep, changes: Sequence[Change], records: Mapping[Kind, dict[str, Record]]
    ) -> list[Work]:
        own = [change for change in changes if change.kind == step.from_kind]
        following = [
            change
            for kind in step.also_on
            for change in concerned(step, [one for one in changes if one.kind == kind], records.get(kind, {}))
        ]
        for change in changes:
            if change.kind in step.also_on and change.origin in (Origin.OPERATOR, Origin.APPROVED):
                # It may be parked under its own id, if no worker got as far as the record that it concerns.
                key = LinkKey(change.tenant, self._sync.name, step.name, change.id)
                self._session.links.set_unsynced(key, None)
        asked = {change.id for change in own}
        unread = [change for change in coalesce(following) if change.id not in asked]
        links = {**self._links, **links_of(self._sync, step, unread, self._session.links)}
        known = records.get(step.from_kind, {}) | read_all(
            self._source, step.from_kind, [change.id for change in unread]
        )
        return self._admit(works_of(self._sync, step, coalesce([*own, *following]), known, links))

    def _admit(self, works: Sequence[Work]) -> list[Work]:
        """The works that go on: lost writes are looked up first, then the record is selected and mapped."""
        self._recovery.recover(works)
        works = [work for work in works if not work.ended]
        self._session.know({work.key: work.link for work in works})
        self._withdrawals.revisit(works)
        works = [work for work in works if not work.ended]
        pairs = self._pairs(works)
        leaving: dict[Withdrawal, list[Work]] = defaultdict(list)
        for work in works:
            if (why := self._map(work, pairs.get(work.key))) is not None:
                leaving[why].append(work)
        for why, some in leaving.items():
            self._withdrawals.withdraw(some, why)
        return [work for work in works if not work.ended]

    def _map(self, work: Work, pair: Link | None) -> Withdrawal | None:
        """Map the record, or end the work; why, if its document is to be withdrawn."""
        step, record, ends = work.step, work.record, self._session.ends
        linked = work.link.target_id is not None
        follows = pair is not None and pair.generation > 0  # what a former document wrote back stands there still
        if record is None:
            return self._map_gone(work, pair)
        self._withdrawals.notice(work, pair)
        if work.ended:
            return None
        try:
            selected = step.selects(record)
            if not selected and linked and step.on_leave == "withdraw":
                return Withdrawal.LEFT
            if not selected and linked and step.on_leave == "park":
                ends.parked(work, left_the_sync(work), cause=f"left-{step.name}")
            elif not selected and not ((linked or follows) and step.on_leave == "write"):
                ends.skipped(work, "the sync's condition does not hold")
            elif step.pairs is None or self._paired(work, pair):
                work.mapped = step.evaluate(record)
        except MappingError as error:
            ends.parked(work, error)
        return None

    def _map_gone(self, work: Work, pair: Link | None) -> Withdrawal | None:
        """End the work of a record that is gone; why, if its document is to be withdrawn."""
        step, ends = work.step, self._session.ends
        linked = work.link.target_id is not None
        if not linked and pair is None:
            ends.skipped(work, "the record is gone")
        elif work.change.attempts < GONE_AFTER_ATTEMPTS:
            ends.waits(work, NotFoundError("The record is not visible at the moment; it is looked at again."))
        else:
            self._withdrawals.notice(work, pair)
            if work.ended:
                return None
            if linked and step.on_delete == "withdraw":
                return Withdrawal.SOURCE_GONE
            if linked and step.on_delete == "park":
                ends.parked(work, source_gone(work), cause=f"gone-{step.name}")
            else:
                ends.skipped(work, "the record is gone")
        return None

    def _paired(self, work: Work, pair: Link | None) -> bool:
        """True if the record that is to be written is known: the one from which this one was made."""
        if pair is None or pair.target_id not in (None, work.key.source_id):
            self._session.ends.skipped(work, "not made by this sync")
            return False
        if pair.target_id is None:
            self._unlinked(work, pair)
            return False
        if pair.withdrawn is Withdrawal.SOURCE_GONE:
            self._session.ends.skipped(work, "its record is gone")
            return False
        work.target_id = pair.key.source_id
        return True

    def _unlinked(self, work: Work, pair: Link) -> None:
        """Most likely its first write is settled in a moment; if nobody is writing it, only a person can say more."""
        parked = pair.unsynced is not None and pair.unsynced.state is not UnsyncedState.WAITING
        if work.change.attempts >= GONE_AFTER_ATTEMPTS and (parked or pair.intent is None):
            self._session.ends.parked(work, not_linked(work, pair), cause=f"not-linked-{work.step.name}")
        else:
            self._session.ends.waits(work, ClaimedError("Its own first write is still under way."))

    def _pairs(self, works: Sequence[Work]) -> dict[LinkKey, Link]:
        """For a step that writes back: the link that made each record, by the work's key."""
        if not works or (step := works[0].step).pairs is None:
            return {}
        tenant, sync, links = self._session.tenant, self._sync.name, self._session.links
        referring = {
            work.key: str(reference)
            for work in works
            if work.record is not None and (reference := work.record.fields.get("reference"))
        }
        others = {work.key: work.key.source_id for work in works if work.key not in referring}
        by_reference = links.by_reference(tenant, sync, step.pairs, list(dict.fromkeys(referring.values())))
        by_target = links.by_target(tenant, sync, step.pairs, list(others.values()))
        lost = set(others.values()) - set(by_target)
        if lost:
            # A person may have edited our reference away; a payment must not get lost for that. Rare, so no index.
            every = links.all(tenant, sync, step.pairs)
            by_target |= {link.target_id: link for link in every if link.target_id in lost}
        return {key: by_reference[name] for key, name in referring.items() if name in by_reference} | {
            key: by_target[name] for key, name in others.items() if name in by_target
        }

    # Plan

    def _need(self, step: CompiledStep) -> None:
        """Find which records the works need, and add those without a partner to their own step; then for these."""
        works = self._works[step.name]
        for _ in range(LEVELS_MAX):
            works = self._need_first(step, works)
            if not works:
                return
        park_too_deep(self._session, [work for work in works if work.mapped is not None and work.mapped.links])

    def _need_first(self, step: CompiledStep, works: Sequence[Work]) -> list[Work]:
        """Add what the works need, without what that needs; those that were added to the step itself."""
        works = [work for work in works if work.mapped is not None and work.mapped.links]
        self._look_up_names(works)
        for work in works:
            try:
                work.needs = {
                    link: LinkKey(work.key.tenant, self._sync.name, link.step, self._source_id(link))
                    for link in (work.mapped.links if work.mapped is not None else ())
                }
            except MappingError as error:
                self._session.ends.parked(work, error)
        present = {work.key for some in self._works.values() for work in some}
        wanted = {
            key: work.change
            for work in works
            if not work.ended
            for key in work.needs.values()
            if key not in present and key not in self._session.targets and not self._session.ends.ended(key)
        }
        links = self._session.links.get(list(wanted))
        self._session.know(links)
        missing: dict[str, list[Change]] = defaultdict(list)
        for key, change in wanted.items():
            if key not in self._session.targets:
                missing[key.step].append(replace(change, kind=self._kinds[key.step], id=key.source_id))
        added: dict[str, list[Work]] = {}
        for name, changes in missing.items():
            other = next(candidate for candidate in self._steps if candidate.name == name)
            known = read_all(self._source, other.from_kind, [change.id for change in changes])
            self._gone |= {key for key in wanted if key.step == name and key.source_id not in known}
            works = works_of(self._sync, other, changes, known, links)
            added[name] = self._admit([replace(work, needed=True) for work in works])
            self._works[name] += added[name]
        return added.get(step.name, [])

    def _look_up_names(self, works: Sequence[Work]) -> None:
        named: dict[tuple[Kind, str], set[str]] = defaultdict(set)
        for work in works:
            for link in work.mapped.links if work.mapped is not None else ():
                if link.by != "id":
                    named[self._kinds[link.step], link.by].add(link.value)
        for (kind, field), values in named.items():
            self._names.look_up(kind, field, sorted(values))

    def _source_id(self, link: LinkTo) -> str:
        return link.value if link.by == "id" else self._names.record(self._kinds[link.step], link).id

    def _plan(self, work: Work) -> Pending | None:
        """The write that the work needs; None if it ended here."""
        targets = self._targets_of(work)
        if targets is None:
            return None
        try:
            document = build_document(work, targets)
        except MappingError as unfit:
            self._session.ends.parked(work, unfit)
            return None
        if work.step.two_way is not None and work.link.target_id is not None and not work.link.follows:
            self._met.append((work, document))
            return None
        decision = plan(work, document)
        if isinstance(decision, NoChange) and is_doubted(work):
            self._doubted.append((work, document))
        elif isinstance(decision, NoChange):
            self._session.ends.unchanged(work)
        elif (error := lines_differ(work, document)) is not None:
            self._session.ends.parked(work, error, cause=f"lines-differ-{work.step.name}")
        else:
            return Pending(work, decision)
        return None

    def _targets_of(self, work: Work) -> dict[LinkTo, str] | None:
        """The ids on the other side that the work needs; None if one is missing and the work ended for that."""
        ends, targets = self._session.ends, {}
        for link, key in work.needs.items():
            if key in self._session.targets:
                targets[link] = self._session.targets[key]
                continue
            if ends.ended(key):
                ends.follows(work, key)
            elif key in self._session.left_out:
                leave_out(self._session, work, f"What it needs of step {link.step} is not as planned.")
            elif key in self._gone:
                ends.parked(work, missing_link(link, ()))
            else:
                ends.parked(work, not_taken_by_the_sync(work, link.step, link.value), cause=f"needs-{link.step}")
            return None
        return targets

    # Write

    def _write(self, step: CompiledStep) -> None:
        for works in by_level(self._session, step, self._works[step.name]):
            self._write_level(works)

    def _write_level(self, works: Sequence[Work]) -> None:
        planned = [self._plan(work) for work in works]
        self._writer.write_all([item for item in planned if item is not None])
        doubted, self._doubted = self._doubted, []
        look_for_partners(self._session, doubted)
        met, self._met = self._met, []
        merged = self._two_way.plan(met)
        for side in Side:
            self._writer.write_all([item for item in merged if item.write.side is side])
