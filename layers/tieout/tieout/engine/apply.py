"""Applying changes: collect, plan, claim, write, settle. A write happens once, whatever breaks."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import batched
from typing import Protocol

from tieout.domain.changes import Change
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.documents import Invoice
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    ClaimedError,
    ConflictError,
    MappingError,
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    SettingsError,
    TieoutError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.links import Intent, IntentState, Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.engine.collect import (
    Connect,
    Names,
    by_connection,
    coalesce,
    compiled,
    concerned,
    connection_written,
    read_all,
    steps_of,
    works_of,
)
from tieout.engine.ends import DIFFERENCE, AlertSink, ApplyReport, Connections, Ends, RetryQueue
from tieout.engine.plan import NoChange, Work, Write, build_document, document_of, plan, shows
from tieout.engine.policy import RetryPolicy
from tieout.mapping import CompiledStep, CompiledSync
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
        connect: Connect,
        clock: Clock,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._config, self._links, self._alerts, self._queue = config, links, alerts, queue
        self._connect, self._clock, self._policy = connect, clock, policy or RetryPolicy()

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
            connection = self._config.connection(tenant, connection_id)
            syncs = [compiled(stored) for stored in self._config.syncs(tenant)]
            syncs = [sync for sync in syncs if any(steps_of(sync, connection_id))]
            if connection is None or not syncs:
                ends.unwanted(group, "no sync uses this connection")
                continue
            run = _Run(self, connection, ends, out_of_time)
            run.apply(syncs, group)
        ends.flush()
        return ends.report


@dataclass(frozen=True, slots=True)
class _Pending:
    """A write that is planned but not done."""

    work: Work
    write: Write


class _Run:
    """One connection's changes within one call of `apply`."""

    def __init__(
        self, parent: ApplyChanges, connection: Connection, ends: Ends, out_of_time: Callable[[], bool]
    ) -> None:
        self._config, self._links, self._clock = parent._config, parent._links, parent._clock  # noqa: SLF001 - one module
        self._policy, self._connect = parent._policy, parent._connect  # noqa: SLF001 - one module
        self._connection, self._ends, self._out_of_time = connection, ends, out_of_time
        self._open: dict[str, tuple[Connection, Connector]] = {}
        self._targets: dict[LinkKey, str] = {}
        self._worker = uuid.uuid4().hex[:12]

    # Collect

    def apply(self, syncs: Sequence[CompiledSync], changes: Sequence[Change]) -> None:
        steps = [(sync, step) for sync in syncs for step in steps_of(sync, self._connection.id)]
        wanted = {kind for _, step in steps for kind in (step.from_kind, *step.also_on)}
        self._ends.unwanted([change for change in changes if change.kind not in wanted], "no step reads this kind")
        changes = [change for change in changes if change.kind in wanted]
        try:
            source = self._connector(self._connection.id)
            records = self._read(source, changes)
        except TieoutError as error:
            self._failed(self._connection, error)
            self._put_off(steps, changes, error)
            return
        for sync in syncs:
            try:
                self._apply_sync(sync, source, changes, records)
            except ReconnectError as error:
                self._failed(self._connection, error)
                self._put_off([(s, step) for s, step in steps if s is sync], changes, error)
            except UnavailableError as error:
                self._put_off([(s, step) for s, step in steps if s is sync], changes, error)

    def _read(self, source: Connector, changes: Sequence[Change]) -> dict[Kind, dict[str, Record]]:
        ids: dict[Kind, list[str]] = defaultdict(list)
        for change in changes:
            ids[change.kind].append(change.id)
        return {kind: read_all(source, kind, some) for kind, some in ids.items()}

    def _apply_sync(
        self,
        sync: CompiledSync,
        source: Connector,
        changes: Sequence[Change],
        records: dict[Kind, dict[str, Record]],
    ) -> None:
        works: dict[str, list[Work]] = {step.name: [] for step in sync.steps}
        steps = list(steps_of(sync, self._connection.id))
        for step in steps:
            own = [change for change in changes if change.kind == step.from_kind]
            for kind in step.also_on:
                listened = [change for change in changes if change.kind == kind]
                own += concerned(step, listened, records.get(kind, {}))
            own = coalesce(own)
            known = records.get(step.from_kind, {})
            unread = [change.id for change in own if change.id not in known and change not in changes]
            known = known | read_all(source, step.from_kind, unread)
            works[step.name] = self._admit(works_of(sync, step, own, known, self._links))
        names = Names(source)
        for step in reversed(steps):
            self._need(sync, source, names, works, step)
        for step in steps:
            self._write_step(step, works)

    def _put_off(
        self, steps: Sequence[tuple[CompiledSync, CompiledStep]], changes: Sequence[Change], error: TieoutError
    ) -> None:
        """Let the changes wait, and say so in the table where it is known which step they belong to."""
        told: set[Change] = set()
        for sync, step in steps:
            own = [change for change in changes if change.kind == step.from_kind and change not in told]
            told.update(own)
            for work in works_of(sync, step, own, {}, self._links):
                self._ends.waits(work, error)
        self._ends.put_off([change for change in changes if change not in told], error)

    # Plan

    def _admit(self, works: Sequence[Work]) -> list[Work]:
        """The works that go on: lost writes are looked up first, then the record is selected and mapped."""
        self._recover([work for work in works if work.link.intent is not None])
        works = [work for work in works if not work.ended]
        self._targets_known({work.key: work.link for work in works})
        pairs = self._pairs(works)
        for work in works:
            self._map(work, pairs)
        return [work for work in works if not work.ended]

    def _map(self, work: Work, pairs: dict[LinkKey, Link]) -> None:
        step, record, linked = work.step, work.record, work.link.target_id is not None
        if record is None:
            if not linked:
                self._ends.skipped(work, "the record is gone")
            elif work.change.attempts < GONE_AFTER_ATTEMPTS:
                self._ends.waits(work, NotFoundError("The record is not visible at the moment; it is looked at again."))
            else:
                self._ends.parked(work, _gone(work), cause=f"gone-{step.name}")
            return
        if not step.selects(record):
            if linked and step.on_leave == "park":
                self._ends.parked(work, _left(work), cause=f"left-{step.name}")
            else:
                self._ends.skipped(work, "the sync's condition does not hold")
            return
        if step.pairs is not None:
            pair = pairs.get(work.key)
            if pair is None or (pair.target_id is not None and pair.target_id != record.id):
                self._ends.skipped(work, "not made by this sync")
                return
            if pair.target_id is None:
                self._ends.waits(work, ClaimedError("Its own first write is still under way."))
                return
            work.target_id = pair.key.source_id
        try:
            work.mapped = step.evaluate(record)
        except MappingError as error:
            self._ends.parked(work, error)

    def _pairs(self, works: Sequence[Work]) -> dict[LinkKey, Link]:
        """For steps that write back: the link that made the record, by the work's key."""
        asking = [work for work in works if work.step.pairs is not None and work.record is not None]
        if not asking:
            return {}
        sync, step = asking[0].sync, asking[0].step
        tenant = asking[0].key.tenant
        references = {
            work.key: str(work.record.fields["reference"])
            for work in asking
            if work.record is not None and work.record.fields.get("reference")
        }
        by_reference = self._links.by_reference(tenant, sync.name, step.pairs or "", list(set(references.values())))
        others = [work.key.source_id for work in asking if work.key not in references]
        by_target = self._links.by_target(tenant, sync.name, step.pairs or "", others) if others else {}
        found = {key: by_reference.get(reference) for key, reference in references.items()}
        found |= {work.key: by_target.get(work.key.source_id) for work in asking if work.key not in references}
        return {key: link for key, link in found.items() if link is not None}

    def _need(
        self,
        sync: CompiledSync,
        source: Connector,
        names: Names,
        works: dict[str, list[Work]],
        step: CompiledStep,
    ) -> None:
        """Find which customers and items the step's works need, and add those without a partner to their own step."""
        wanting = [work for work in works[step.name] if work.mapped is not None and work.mapped.links]
        kinds = {other.name: other.from_kind for other in sync.steps}
        by_name: dict[tuple[Kind, str], set[str]] = defaultdict(set)
        for work in wanting:
            for link in work.mapped.links if work.mapped else ():
                if link.by != "id":
                    by_name[kinds[link.step], link.by].add(link.value)
        for (kind, field), values in by_name.items():
            names.look_up(kind, field, sorted(values))
        for work in wanting:
            try:
                for link in work.mapped.links if work.mapped else ():
                    named = link.value if link.by == "id" else names.record(kinds[link.step], link).id
                    work.needs[link] = LinkKey(work.key.tenant, sync.name, link.step, named)
            except MappingError as error:
                self._ends.parked(work, error)
        missing: dict[str, dict[str, Change]] = defaultdict(dict)
        present = {work.key for some in works.values() for work in some}
        needed = {key: work for work in wanting if not work.ended for key in work.needs.values()}
        stored = self._links.get([key for key in needed if key not in present])
        self._targets_known(stored)
        for key, work in needed.items():
            link = stored.get(key)
            if key not in present and (link is None or link.target_id is None) and not self._ends.ended(key):
                kind = kinds[key.step]
                missing[key.step][key.source_id] = replace(work.change, kind=kind, id=key.source_id)
        for name, changes in missing.items():
            other = next(candidate for candidate in sync.steps if candidate.name == name)
            known = read_all(source, other.from_kind, list(changes))
            works[name] += self._admit(works_of(sync, other, list(changes.values()), known, self._links))

    def _targets_known(self, links: dict[LinkKey, Link]) -> None:
        self._targets |= {key: link.target_id for key, link in links.items() if link.target_id is not None}

    # Write

    def _write_step(self, step: CompiledStep, works: dict[str, list[Work]]) -> None:
        pending = [planned for work in works[step.name] if not work.ended for planned in self._plan(work)]
        if not pending:
            return
        sync = pending[0].work.sync
        try:
            target = self._connector(connection_written(sync, step))
            pending = self._adopt(target, pending)
        except TieoutError as error:
            self._failed(self._open.get(connection_written(sync, step), (self._connection,))[0], error)
            for item in pending:
                self._ends.waits(item.work, error)
            return
        for chunk in batched(pending, target.manifest.write_batch_max, strict=False):
            if self._out_of_time():
                for item in chunk:
                    item.work.ended = True
                self._ends.put_off([item.work.change for item in chunk])
            else:
                self._write(target, [item for item in chunk if self._claim(item)])

    def _plan(self, work: Work) -> list[_Pending]:
        """The write that the work needs; none if it ended here."""
        targets = {}
        for link, key in work.needs.items():
            if key in self._targets:
                targets[link] = self._targets[key]
            elif self._ends.ended(key):
                self._ends.follows(work, key)
                return []
            else:
                self._ends.parked(work, _unneeded(work, link.step, link.value), cause=f"needs-{link.step}")
                return []
        try:
            decision = plan(work, build_document(work, targets))
        except MappingError as error:
            self._ends.parked(work, error)
            return []
        if isinstance(decision, NoChange):
            self._ends.unchanged(work)
            return []
        return [_Pending(work, decision)]

    def _adopt(self, target: Connector, pending: list[_Pending]) -> list[_Pending]:
        """Link creates to records that stand there already by their natural key; the rest still has to be written."""
        new = [
            item
            for item in pending
            if item.write.effect.operation is Operation.CREATE and item.write.effect.kind in target.manifest.natural_key
        ]
        for chunk in batched(new, target.manifest.write_batch_max, strict=False):
            found = target.find([item.write.effect for item in chunk])
            for item in chunk:
                matches = found.get(item.write.effect.id, ())
                if len(matches) > 1:
                    self._ends.parked(item.work, _ambiguous(item.work, matches), cause=f"several-{item.work.step.name}")
                elif matches and self._claim(item):
                    self._settle(item, matches[0].record, target)
                    self._ends.adopted(item.work)
        return [item for item in pending if not item.work.ended]

    def _claim(self, item: _Pending) -> bool:
        """True if the document is ours to write now."""
        now, effect = self._clock.now(), item.write.effect
        intent = Intent(
            effect_id=effect.id,
            operation=effect.operation,
            payload_hash=item.write.payload_hash,
            source_version=item.work.record.version if item.work.record is not None else "",
            state=IntentState.CLAIMED,
            worker=self._worker,
            held_until=now + timedelta(seconds=self._policy.hold_seconds),
            opened_at=now,
            document=item.write.document,
            target_id=effect.target_id,
        )
        try:
            item.work.link = self._links.claim(item.work.link, intent)
        except ClaimedError as error:
            self._ends.waits(item.work, error)
            return False
        return True

    def _write(self, target: Connector, items: Sequence[_Pending], *, again: bool = False) -> None:
        """Write claimed effects and bring each to its end."""
        if not items:
            return
        stale = []
        outcomes = self._outcomes(target, [item.write.effect for item in items])
        for item in items:
            match outcomes[item.write.effect.id]:
                case Done(record=record):
                    self._done(item, record, target)
                case Unknown(error=error):
                    self._unknown(item.work, error)
                case NotDone(error=ConflictError()) if not again:
                    stale.append(item)
                case NotDone(error=error):
                    self._not_done(item, error, target)
        if stale:
            self._write(target, self._freshened(target, stale), again=True)

    def _outcomes(self, target: Connector, effects: Sequence[Effect]) -> dict[str, Outcome]:
        """One outcome for each effect; an error of the whole call is each effect's own."""
        try:
            outcomes = {outcome.effect_id: outcome for outcome in target.write(effects)}
        except UncertainError as error:
            return {effect.id: Unknown(effect.id, error) for effect in effects}
        except ProviderError as error:
            return {effect.id: NotDone(effect.id, error) for effect in effects}
        missing = UncertainError("The provider's answer does not mention this record.")
        return {effect.id: outcomes.get(effect.id, Unknown(effect.id, missing)) for effect in effects}

    def _done(self, item: _Pending, record: Record, target: Connector) -> None:
        if not self._settle(item, record, target):
            return
        self._ends.written(item.work, item.write.effect.operation)
        document = item.write.effect.document
        expected = document.expected_total() if isinstance(document, Invoice) else None
        total = record.fields.get("total")
        if expected is not None and total is not None and total != expected:
            error = RejectedError(
                f"{target.manifest.title} shows a total of {total}, but the deal makes {expected}.",
                field="total",
                next_step="Compare the tax, discount and rounding of the invoice with the deal, and correct one side.",
            )
            item.work.ended = False
            self._ends.parked(item.work, error, cause=f"{DIFFERENCE}-{item.work.step.name}")

    def _settle(self, item: _Pending, record: Record, target: Connector) -> bool:
        work, intent = item.work, item.work.link.intent
        if intent is None:
            raise RuntimeError("settling needs a claimed intent")
        settled = replace(
            work.link,
            target_id=record.id,
            target_version=record.version,
            source_version=intent.source_version,
            payload_hash=intent.payload_hash,
            base=intent.document,
            settled_at=self._clock.now(),
            intent=None,
            unsynced=None,
        )
        pointer = record.kind not in target.manifest.keeps_reference
        try:
            work.link = self._links.settle(settled, worker=self._worker, pointer=pointer)
        except ClaimedError as error:
            self._ends.waits(work, error)
            return False
        self._targets_known({work.key: work.link})
        return True

    def _unknown(self, work: Work, error: UncertainError) -> None:
        """The answer was lost: keep the intent, and look the write up after a while."""
        intent = work.link.intent
        if intent is None:
            raise RuntimeError("an unknown write has an intent")
        self._keep(work, intent, looks=0)
        self._ends.waits(work, error, at_least=self._policy.look_seconds)

    def _keep(self, work: Work, intent: Intent, *, looks: int) -> None:
        until = self._clock.now() + timedelta(seconds=self._policy.look_seconds)
        kept = replace(intent, state=IntentState.UNKNOWN, worker=self._worker, held_until=until, looks=looks)
        with suppress(ClaimedError):  # whoever took it over will look it up
            work.link = self._links.keep_intent(work.link, kept)

    def _not_done(self, item: _Pending, error: ProviderError, target: Connector) -> None:
        work = item.work
        try:
            work.link = self._links.release(work.link, worker=self._worker)
        except ClaimedError as claimed:
            self._ends.waits(work, claimed)
            return
        match error:
            case ReconnectError():
                self._failed(self._open[connection_written(work.sync, work.step)][0], error)
                self._ends.waits(work, error)
            case RejectedError():
                self._ends.parked(work, error)
            case NotFoundError() if item.write.effect.operation is Operation.UPDATE:
                self._ends.parked(work, _target_gone(work, target), cause=f"target-gone-{work.step.name}")
            case _:
                self._ends.waits(work, error)

    def _freshened(self, target: Connector, items: Sequence[_Pending]) -> list[_Pending]:
        """The stale writes again with the version of today, if the other side did not change what we wrote."""
        kind = items[0].write.effect.kind
        today = read_all(target, kind, [item.write.effect.target_id or "" for item in items])
        fresh = []
        for item in items:
            record = today.get(item.write.effect.target_id or "")
            if record is None:
                self._not_done(item, NotFoundError("The record is gone."), target)
            elif item.work.link.base is not None and not shows(record, item.work.link.base):
                self._not_done(item, _changed_there(item.work, target), target)
            else:
                effect = replace(item.write.effect, target_version=record.version)
                fresh.append(_Pending(item.work, replace(item.write, effect=effect)))
        return fresh

    # Recover

    def _recover(self, works: Sequence[Work]) -> None:
        """Look up writes whose answer was lost, or whose worker died, before anything else is done."""
        now = self._clock.now()
        lost: dict[str, list[Work]] = defaultdict(list)
        for work in works:
            intent = work.link.intent
            if intent is not None and intent.held_until > now:
                left = round((intent.held_until - now).total_seconds()) + 1
                self._ends.waits(work, ClaimedError("Another worker is writing it."), at_least=left)
            else:
                lost[work.step.name].append(work)
        for some in lost.values():
            self._look_up(some)

    def _look_up(self, works: Sequence[Work]) -> None:
        written = connection_written(works[0].sync, works[0].step)
        try:
            target = self._connector(written)
            for chunk in batched(works, target.manifest.write_batch_max, strict=False):
                found = self._written(target, chunk)
                for work in chunk:
                    self._recovered(work, found.get(work.key), target)
        except (ProviderError, SettingsError) as error:
            self._failed(self._open.get(written, (self._connection,))[0], error)
            for work in works:
                if not work.ended and work.link.intent is not None:
                    self._ends.waits(work, error)

    def _written(self, target: Connector, works: Sequence[Work]) -> dict[LinkKey, list[Match]]:
        """By key, what stands at the provider of the intended writes."""
        effects = {work.key: effect for work in works if (effect := _intended(work)) is not None}
        creates = [effect for effect in effects.values() if effect.operation is Operation.CREATE]
        found = target.find(creates) if creates else {}
        matches = {key: list(found.get(effect.id, ())) for key, effect in effects.items()}
        updates = {key: effect for key, effect in effects.items() if effect.operation is Operation.UPDATE}
        if updates:
            kind = next(iter(updates.values())).kind
            today = read_all(target, kind, [effect.target_id or "" for effect in updates.values()])
            for work in works:
                record = today.get(updates[work.key].target_id or "") if work.key in updates else None
                if record is not None and work.link.intent is not None and shows(record, work.link.intent.document):
                    matches[work.key] = [Match(record, MatchedBy.REFERENCE)]
        return matches

    def _recovered(self, work: Work, matches: list[Match] | None, target: Connector) -> None:
        """Settle what was found; look again later, or let it be written again, what was not."""
        intent = work.link.intent
        if intent is None:
            return
        mine = [match for match in matches or () if match.by is MatchedBy.REFERENCE]
        candidates = mine or list(matches or ())
        try:
            work.link = self._links.keep_intent(work.link, replace(intent, worker=self._worker))
            if len(candidates) == 1:
                effect = _intended(work)
                if effect is not None:
                    write = Write(effect, intent.document, intent.payload_hash)
                    self._settle(_Pending(work, write), candidates[0].record, target)
                    self._ends.report.created += intent.operation is Operation.CREATE
                    self._ends.report.updated += intent.operation is Operation.UPDATE
            elif candidates:
                self._ends.parked(work, _ambiguous(work, candidates), cause=f"several-{work.step.name}")
            elif intent.operation is Operation.CREATE and intent.looks + 1 < self._policy.looks:
                self._keep(work, intent, looks=intent.looks + 1)
                error = UncertainError("The answer to its write was lost; it is looked up again before it is written.")
                self._ends.waits(work, error, at_least=self._policy.look_seconds)
            else:
                work.link = self._links.release(work.link, worker=self._worker)
        except ClaimedError as error:
            self._ends.waits(work, error)

    # Connections

    def _connector(self, connection_id: str) -> Connector:
        if connection_id not in self._open:
            connection = (
                self._connection
                if connection_id == self._connection.id
                else self._config.connection(self._connection.tenant, connection_id)
            )
            if connection is None:
                raise UnavailableError(
                    f"The connection {connection_id} is not set up.",
                    next_step=f"Add a connection document for `{connection_id}` and run `tieout config apply`.",
                )
            if connection.state is ConnectionState.PAUSED:
                raise UnavailableError(
                    f"The connection {connection_id} is paused: {connection.paused_because}",
                    next_step=f"Run `tieout connect {connection_id} --tenant {connection.tenant}`.",
                )
            self._open[connection_id] = (connection, self._connect(connection))
        return self._open[connection_id][1]

    def _failed(self, connection: Connection, error: TieoutError) -> None:
        if isinstance(error, ReconnectError):
            self._ends.paused(connection, error)


def _intended(work: Work) -> Effect | None:
    """The effect that the open intent stands for."""
    intent = work.link.intent
    if intent is None:
        return None
    return Effect(
        id=intent.effect_id,
        operation=intent.operation,
        kind=work.step.to_kind,
        document=document_of(work.step.to_kind, intent.document),
        reference=work.key.reference,
        target_id=intent.target_id,
    )


def _gone(work: Work) -> TieoutError:
    return RejectedError(
        f"The {work.step.from_kind.value} is gone, or our user may not see it any more, "
        f"but its {work.step.to_kind.value} {work.link.target_id} still stands.",
        next_step=f"Void the {work.step.to_kind.value} in the books if that is right, then dismiss this one.",
    )


def _left(work: Work) -> TieoutError:
    return RejectedError(
        f"The {work.step.from_kind.value} no longer fulfils the sync's condition, "
        f"but its {work.step.to_kind.value} {work.link.target_id} still stands.",
        next_step=f"Void the {work.step.to_kind.value} in the books, or set the {work.step.from_kind.value} back.",
    )


def _target_gone(work: Work, target: Connector) -> TieoutError:
    return RejectedError(
        f"The {work.step.to_kind.value} {work.link.target_id} is gone from {target.manifest.title}.",
        next_step="If it was deleted on purpose, dismiss this one; it is not written again by itself.",
    )


def _changed_there(work: Work, target: Connector) -> RejectedError:
    return RejectedError(
        f"The {work.step.to_kind.value} {work.link.target_id} was changed in {target.manifest.title} "
        f"since it was written, and the {work.step.from_kind.value} changed too.",
        code="changed-on-both-sides",
        next_step="Make both sides equal by hand, then retry.",
    )


def _ambiguous(work: Work, matches: Iterable[Match]) -> TieoutError:
    ids = ", ".join(sorted(match.record.id for match in matches))
    return RejectedError(
        f"Several records may be this {work.step.to_kind.value}: {ids}.",
        next_step="Merge them, or give each its own name, then retry.",
    )


def _unneeded(work: Work, step: str, value: str) -> TieoutError:
    return RejectedError(
        f"It needs a record of step `{step}` ({value}) that the sync does not take.",
        field=step,
        next_step=f"See whether the condition of `{step}` in the sync `{work.sync.name}` leaves it out.",
    )
