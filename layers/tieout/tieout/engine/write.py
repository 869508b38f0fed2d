"""Writing: claim, write, settle. Every effect ends done, not done or unknown, and is never repeated blindly."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import batched
from typing import Any

from tieout.domain.changes import Change, Origin, UnsyncedState
from tieout.domain.documents import Document, Invoice, InvoiceStatus, RecordUpdate, SalesDocument
from tieout.domain.effects import Done, Effect, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    ClaimedError,
    ConflictError,
    NameTakenError,
    NotFoundError,
    ProviderError,
    RejectedError,
    SettingsError,
    TieoutError,
    UncertainError,
)
from tieout.domain.links import Intent, IntentState, Withdrawal
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.engine import gate
from tieout.engine.adopt import Adoption, may_get_suffix, with_suffix
from tieout.engine.collect import connection_of, connection_read, read_all
from tieout.engine.ends import DIFFERENCE, cause_of, waited
from tieout.engine.follow import end_gone, stands
from tieout.engine.merge import agreed_on
from tieout.engine.plan import (
    Difference,
    Work,
    Write,
    as_shown,
    difference,
    document_of,
    has_more,
    has_parts_beside,
    is_voided,
    otherwise,
    plain,
    same,
    whole_document,
    with_parts_at_stake,
    with_parts_that_stand,
)
from tieout.engine.sentences import (
    changed_on_both_sides,
    total_differs,
)
from tieout.engine.session import Session
from tieout.ports.connector import Connector

LOOKS_FOR_NAMED = 3
"""How often a document waits for a look at what it names before it is parked."""


@dataclass(slots=True)
class Pending:
    """A write that is planned but not done.

    Attributes:
        links_to: The record that stands there already, and to which it is only linked as a stored plan says; None for
            every write.
        beside: Somebody filled on the other side what we leave empty: that is not ours once this is done.
    """

    work: Work
    write: Write
    links_to: str | None = None
    beside: bool = False


class Writer:
    """Brings planned writes to their ends."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._adoption = Adoption(
            session,
            claim=lambda item, why: self._claim(item, adopts=why),
            settle=partial(self.settle, found=True),
            release=self._released,
        )

    def write_all(self, pending: Sequence[Pending]) -> None:
        """Every piece of work ended: the writes of one step and side, in batches as large as the provider takes."""
        pending = gate.admit(self._session, pending)
        if not pending:
            return
        written = connection_of(pending[0].work, pending[0].write.side)
        try:
            target = self._session.connector(written)
            self._adoption.adopt(target, pending)
        except TieoutError as error:
            self._session.failed(written, error)
            for item in pending:
                if not item.work.ended:
                    self._session.ends.waits(item.work, error)
            return
        left = [item for item in pending if not item.work.ended and not self._only_links(item)]
        for group in batched(left, self._group_size(pending[0].work, target), strict=False):
            if self._session.out_of_time():
                for item in group:
                    self._session.ends.out_of_time(item.work)
            else:
                self._write_group(target, self._still_so([item for item in group if self._claim(item)]))

    def _only_links(self, item: Pending) -> bool:
        """True if the plan says that the record only has to be linked: what it was to be linked to is gone."""
        if item.links_to is not None:
            gate.leave_out(self._session, item.work, "The record is gone that it would only have been linked to.")
        return item.links_to is not None

    def _group_size(self, work: Work, target: Connector) -> int:
        """How many writes are claimed together: whole batches, as many as one read of their records takes."""
        source = self._session.connector(connection_read(work.sync, work.step))
        batch = target.manifest.write_batch_max
        return batch * max(1, source.manifest.read_batch_max // batch)

    def _write_group(self, target: Connector, claimed: Sequence[Pending]) -> None:
        """The claimed writes, batch by batch; what there is no time for is given back."""
        for number, chunk in enumerate(batched(claimed, target.manifest.write_batch_max, strict=False)):
            if number and self._session.out_of_time():
                for item in chunk:
                    if self._released(item.work):
                        self._session.ends.out_of_time(item.work)
            else:
                self._write(target, chunk)

    def settle(
        self, work: Work, record: Record, target: Connector, *, changed: bool = False, found: bool = False
    ) -> bool:
        """True if the link now names `record` as the partner, with what the open intent meant to write as its base.

        With `changed`, somebody else wrote the record since: its version is not taken for ours, so that the next
        update reads it first. With `found`, it stood there before us: what it shows otherwise stays until the source
        changes it, and an address of which it has parts beside ours is read before the next update, as addresses are
        written whole. If somebody voided it meanwhile, the link says so, and the work comes again to tell a person.

        Raises:
            ConflictError: If another worker linked it to another source record since its owners were asked for, or
                since it was created, where nothing but its name tells whose it is. The intent is still open.
        """
        intent = work.link.intent
        if intent is None:
            raise RuntimeError("settling needs a claimed intent")
        base = intent.document if intent.agreed is None else intent.agreed
        beside = found and work.step.two_way is None and has_parts_beside(base, record.fields)
        taken_out = is_voided(record) and base.get("status") != InvoiceStatus.VOIDED.value
        settled = replace(
            work.link,
            target_id=record.id,
            target_version="" if changed or beside else record.version,
            source_version=intent.source_version,
            payload_hash=intent.payload_hash,
            base=base,
            shown=otherwise(record, intent.document) if found else intent.shown,
            settled_at=self._session.clock.now(),
            sync_version=intent.sync_version,
            withdrawn=Withdrawal.TARGET_GONE if taken_out else intent.withdrawal or work.link.withdrawn,
            plan=intent.plan,
            decision=None,
            intent=None,
            unsynced=None,
        )
        pointer = found or record.kind not in target.manifest.keeps_reference
        if work.step.two_way is not None:
            agreed = agreed_on(work, intent, record, self._session.clock.now(), changed=changed)
            settled = replace(settled, shown=agreed.shown, turns=agreed.turns)
            pointer = True  # a change of the target side asks for its link
            if intent.side is Side.SOURCE:
                pointer = False
                settled = replace(settled, target_id=work.link.target_id, target_version=work.link.target_version)
        try:
            takes = pointer and (found or intent.operation is Operation.CREATE)
            if takes and not self._session.links.take_target(settled):
                raise ConflictError("The record was linked to another one meanwhile.")
            work.link = self._session.links.settle(settled, worker=self._session.worker, pointer=pointer and not takes)
        except ClaimedError as error:
            self._session.ends.waits(work, error)
            return False
        self._session.know({work.key: work.link})
        if taken_out:
            self._session.ends.look_at(work.change)
        return True

    def keep(self, work: Work, intent: Intent, *, looks: int) -> None:
        """Remember that the outcome is unknown, and how often it was looked up in vain."""
        until = self._session.clock.now() + timedelta(seconds=self._session.policy.look_seconds)
        kept = replace(intent, state=IntentState.UNKNOWN, worker=self._session.worker, held_until=until, looks=looks)
        with suppress(ClaimedError):  # whoever took it over will look it up
            work.link = self._session.links.keep_intent(work.link, kept)

    def _claim(self, item: Pending, *, adopts: str = "") -> bool:
        """True if the document is ours to write now, or only to link if it `adopts` what stands there, and why."""
        work, now = item.work, self._session.clock.now()
        effect = replace(item.write.effect, attempt=str(work.link.revision))
        item.write = replace(item.write, effect=effect)
        intent = Intent(
            effect_id=effect.id,
            operation=effect.operation,
            payload_hash=item.write.payload_hash,
            source_version=work.record.version if work.record is not None else "",
            state=IntentState.CLAIMED,
            worker=self._session.worker,
            held_until=now + timedelta(seconds=self._session.policy.hold_seconds),
            opened_at=now,
            document=item.write.document,
            target_id=effect.target_id,
            plan=work.change.plan,
            sync_version=_made_by(work, item.write),
            withdrawal=item.write.withdrawal,
            side=item.write.side,
            agreed=item.write.agreed,
            shown=item.write.shown,
            adopts=adopts,
        )
        try:
            work.link = self._session.links.claim(work.link, intent)
        except ClaimedError as error:
            self._session.ends.waits(work, error)
            return False
        return True

    def _still_so(self, items: Sequence[Pending]) -> Sequence[Pending]:
        """The claimed writes whose records are still what they were; the others come again soon.

        From the claim on, nobody else can end a change of these records. Before, somebody may have: found, for one,
        that the deal is lost now, while we were held up with what it was.
        """
        age = self._session.clock.now() - self._session.began
        fresh = age <= timedelta(seconds=self._session.policy.fresh_seconds)
        if not items or (fresh and not any(_is_final(item) for item in items)):
            return items
        work = items[0].work
        read = connection_read(work.sync, work.step)
        try:
            source = self._session.connector(read)
            today = read_all(source, work.step.from_kind, [item.work.key.source_id for item in items])
        except TieoutError as error:
            self._session.failed(read, error)
            for item in items:
                self._wait_released(item.work, error)
            return []
        same = []
        for item in items:
            if _is_same(item.work.record, today.get(item.work.key.source_id)):
                same.append(item)
            else:
                self._wait_released(item.work, ClaimedError("The record changed before it was written."))
        return same

    def _wait_released(self, work: Work, error: TieoutError) -> None:
        if self._released(work):
            self._session.ends.waits(work, error)

    def _write(self, target: Connector, items: Sequence[Pending], *, again: bool = False) -> None:
        if not items:
            return
        stale = [] if again else [item for item in items if _is_unread(item, target)]
        items = [item for item in items if again or not _is_unread(item, target)]
        try:
            outcomes = _outcomes(target, [item.write.effect for item in items])
        except SettingsError as unset:  # nothing was sent
            for item in items:
                self._wait(item.work, unset)
            return
        named: list[Pending] = []
        for item in items:
            match outcomes[item.write.effect.id]:
                case Done(record=record):
                    self._done(item, record, target)
                case Unknown(error=error):
                    self._unknown(item.work, error)
                case NotDone(error=ConflictError()) if not again and _can_be_freshened(item):
                    stale.append(item)
                case NotDone(error=NameTakenError()) if may_get_suffix(item.work, item.write):
                    named.append(item)
                case NotDone(error=error):
                    self._not_done(item, error, target)
        self._write(target, [item for item in named if self._gets_suffix(item)])
        if stale:
            self._write(target, self._freshened(target, stale), again=True)

    def _gets_suffix(self, item: Pending) -> bool:
        """True if the write is claimed again with a name that no record of another kind has."""
        if not self._released(item.work):
            return False
        item.write = with_suffix(item.write)
        return self._claim(item)

    def _done(self, item: Pending, record: Record, target: Connector) -> None:
        try:
            settled = self.settle(item.work, record, target, changed=item.beside)
        except ConflictError as error:
            self._unknown(item.work, UncertainError(error.message))
            return
        if settled:
            self._session.ends.written(item.work, item.write.effect.operation)
            if item.write.more:
                self._session.ends.again(item.work)
            self.compare_totals(item.work, item.write.effect.document, record, target)

    def compare_totals(self, work: Work, document: Document, record: Record, target: Connector) -> None:
        """Park the work if the books made another total of the document; a voided one has none."""
        if not isinstance(document, SalesDocument) or is_voided(record):
            return
        if isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED:
            return
        made, shown = document.expected_total(), record.fields.get("total")
        if made is not None and shown is not None and shown != made:
            error = total_differs(work, target, shown, made)
            self._session.ends.parked(work, error, cause=f"{DIFFERENCE}-{work.step.name}")

    def _unknown(self, work: Work, error: UncertainError) -> None:
        """The answer was lost: keep the intent, and look the write up after a while."""
        if work.link.intent is None:
            raise RuntimeError("an unknown write has an intent")
        self.keep(work, work.link.intent, looks=0)
        self._session.ends.waits(work, error, at_least=self._session.policy.look_seconds)

    def _not_done(self, item: Pending, error: TieoutError, target: Connector) -> None:
        if isinstance(error, NotFoundError):
            self._not_found(item, error, target)
        elif isinstance(error, RejectedError):
            self._park(item.work, error)
        else:
            self._wait(item.work, error)

    def _not_found(self, item: Pending, error: NotFoundError, target: Connector) -> None:
        """Either the document is gone or inactive, or a record that it names."""
        effect, record = item.write.effect, None
        try:
            if effect.operation is Operation.UPDATE:
                record = read_all(target, effect.kind, [effect.target_id or ""]).get(effect.target_id or "")
            if effect.operation is Operation.CREATE or stands(record):
                self._doubt(item, error, target)
                return
        except TieoutError as failed:
            self._wait(item.work, failed)
            return
        if item.write.side is Side.SOURCE:
            self._wait(item.work, error)  # the next try finds the record gone, and says so
        else:
            self._gone(item, target, record)

    def _doubt(self, item: Pending, error: NotFoundError, target: Connector) -> None:
        """If what it names does not stand any more, it waits until that was looked at; else a person has to decide.

        Raises:
            TieoutError: If that cannot be read now.
        """
        work, session = item.work, self._session
        noted, tries = work.link.unsynced, work.change.attempts
        known = noted is not None and noted.state is not UnsyncedState.WAITING and noted.cause == cause_of(error)
        if known or tries >= session.policy.alert_after_attempts:
            self._park(work, error)  # it was looked at before: another copy of the hint says nothing new
            return
        named = {key: link for link, key in work.needs.items() if link.to_kind is Kind.CUSTOMER}
        ids = {key: session.targets[key] for key in named if key in session.targets}
        today = read_all(target, Kind.CUSTOMER, list(dict.fromkeys(ids.values())))
        gone = [key for key, one in ids.items() if not stands(today.get(one))]
        for key, link in session.links.get(gone).items():
            if link.unsynced is not None and link.unsynced.state is not UnsyncedState.WAITING:
                said = RejectedError(link.unsynced.reason, next_step=link.unsynced.next_step)
                self._park(work, said, cause=link.unsynced.cause)
                return
            if waited(work, error) < LOOKS_FOR_NAMED:
                kind, change = named[key].from_kind, work.change
                session.ends.look_at(
                    Change(key.tenant, work.sync.source, kind, key.source_id, change.seen_at, Origin.DOUBT, change.lane)
                )
        if gone and waited(work, error) < LOOKS_FOR_NAMED:
            self._wait(work, error)
        else:
            self._park(work, error)

    def _gone(self, item: Pending, target: Connector, record: Record | None = None) -> None:
        work, whole = item.work, {**(item.write.agreed or {}), **item.write.document}
        if self._released(work):
            end_gone(self._session, work, document_of(item.write.effect.kind, whole), target, record)

    def _park(self, work: Work, error: TieoutError, *, cause: str = "") -> None:
        if self._released(work):
            self._session.ends.parked(work, error, cause=cause)

    def _wait(self, work: Work, error: TieoutError) -> None:
        side = work.link.intent.side if work.link.intent is not None else Side.TARGET
        if self._released(work):
            self._session.failed(connection_of(work, side), error)
            self._session.ends.waits(work, error)

    def _released(self, work: Work) -> bool:
        """True if the intent is dropped: nothing was written."""
        try:
            work.link = self._session.links.release(work.link, worker=self._session.worker)
        except ClaimedError as claimed:
            self._session.ends.waits(work, claimed)
            return False
        return True

    def _freshened(self, target: Connector, items: Sequence[Pending]) -> list[Pending]:
        """The stale writes with the version of today, if the other side did not change what we wrote."""
        kind = items[0].write.effect.kind
        try:
            today = read_all(target, kind, [item.write.effect.target_id or "" for item in items])
        except TieoutError as error:
            for item in items:
                self._wait(item.work, error)
            return []
        fresh = []
        for item in items:
            record = today.get(item.write.effect.target_id or "")
            if record is None:
                self._gone(item, target)
            elif difference(record, item.write.document) is None:
                self._done(replace(item, beside=is_beside(item, record)), record, target)
            elif (changed := _changed(item, record)) is not None:
                self._park(item.work, changed_on_both_sides(item.work, target, changed))
            else:
                document = with_parts_that_stand(item.write.effect.document, item.work.link.base or {}, record.fields)
                effect = replace(item.write.effect, target_version=record.version, document=document)
                fresh.append(Pending(item.work, replace(item.write, effect=effect), beside=is_beside(item, record)))
        return fresh


def _changed(item: Pending, record: Record) -> Difference | None:
    """What somebody else changed of what we wrote; None if nothing, or if the version says so."""
    if record.version and record.version == item.work.link.target_version:
        return None
    return difference(record, _at_stake(item, record))


def _at_stake(item: Pending, record: Record) -> dict[str, Any]:
    """What was written last, but for what was empty and is not to be written now, and for what stands there as meant.

    The last may be a write of ours whose answer was lost.
    """
    given = item.write.effect.document.as_fields()
    base = with_parts_at_stake(as_shown(item.work.link.base or {}, item.work.link.shown or {}), given)
    kept = {name: value for name, value in base.items() if value is not None or name in given}
    meant, there = item.write.document, plain(record.fields)
    return {name: value for name, value in kept.items() if name not in meant or not same(meant[name], there.get(name))}


def is_beside(item: Pending, record: Record) -> bool:
    """True if the record has filled what the write leaves empty."""
    write = item.write
    return has_more(whole_document(write.document, write.agreed, write.shown), plain(record.fields))


def _can_be_freshened(item: Pending) -> bool:
    """False for what is planned again from today's record: a withdrawal, and a merge of both sides."""
    return item.write.withdrawal is None and (item.write.agreed is None or item.work.step.two_way is None)


def _made_by(work: Work, write: Write) -> int:
    """The version of the sync whose document the hash is of: taking an update back leaves both as they were."""
    kept = work.link.payload_hash == write.payload_hash and work.link.target_id is not None
    return work.link.sync_version if kept else work.sync.version


def _is_final(item: Pending) -> bool:
    """True for what no later write makes good: a void, or a credit note."""
    return item.write.withdrawal is not None or item.write.effect.kind is Kind.CREDIT_NOTE


def _is_same(former: Record | None, today: Record | None) -> bool:
    if former is None or today is None:
        return former is today  # what was gone may be gone still
    return former.version == today.version if former.version else former.fields == today.fields


def _is_unread(item: Pending, target: Connector) -> bool:
    """True for an update that nothing would refuse if somebody changed the record since we wrote it.

    We do not know its version, or the provider has none. A merge of both sides and a withdrawal read it just before;
    in a record that is written back to we only name fields of our own.
    """
    effect = item.write.effect
    if effect.operation is not Operation.UPDATE:
        return False
    if target.manifest.versions:
        return not effect.target_version
    return not isinstance(effect.document, RecordUpdate) and _can_be_freshened(item)


def _outcomes(target: Connector, effects: Sequence[Effect]) -> dict[str, Outcome]:
    """One outcome for each effect; an error of the whole call is each effect's own."""
    if not effects:
        return {}
    try:
        outcomes = {outcome.effect_id: outcome for outcome in target.write(effects)}
    except UncertainError as error:
        return {effect.id: Unknown(effect.id, error) for effect in effects}
    except ProviderError as error:
        return {effect.id: NotDone(effect.id, error) for effect in effects}
    missing = UncertainError("The provider's answer does not mention this record.")
    return {effect.id: outcomes.get(effect.id, Unknown(effect.id, missing)) for effect in effects}
