"""Withdrawing: a document that no longer stands for its record is voided, or credited if it is paid; never deleted.

A void is one update of the document. A credit note is a document of its own, under a link of its own (the step
`<step>.credit_note`), so that it has its own reference and is found again if its answer is lost. The main link says
`withdrawn` before the credit note is written: from then on nothing else is written for the record. Until the credit
note stands, its link has no target: a withdrawal in that state is not finished, and goes on with the next change, or
is taken back if the record came back and nothing was written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tieout.domain.changes import Change, Origin, UnsyncedState
from tieout.domain.documents import InvoiceStatus
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import ClaimedError, NotFoundError, TieoutError
from tieout.domain.links import Link, LinkKey, Withdrawal
from tieout.domain.records import Kind, Record
from tieout.engine import gate
from tieout.engine.caps import Cap
from tieout.engine.collect import connection_written, read_all
from tieout.engine.follow import cause_gone
from tieout.engine.plan import (
    Difference,
    Work,
    Write,
    difference,
    document_of,
    effect_id,
    is_voided,
    payload_hash,
    plain,
)
from tieout.engine.recover import Recovery
from tieout.engine.sentences import (
    above_the_cap,
    back_after_withdrawal,
    changed_before_withdrawal,
    document_name,
    paid_already,
    target_gone,
)
from tieout.engine.session import Session
from tieout.engine.write import Pending, Writer
from tieout.ports.connector import Connector

# One absence is no proof: it may be a matter of rights. Who undoes a run is shown what is gone, and decides.
LOOKS = 2
TAKEN_BACK = "what was written for it was taken back; `tieout renew` allows a new one"
# What a credit note takes over from its invoice.
_CREDITED = ("customer", "currency", "lines", "discount", "tax_total")


class Withdrawals:
    """Brings records to their end whose documents are withdrawn, or are to be."""

    def __init__(self, session: Session, writer: Writer, recovery: Recovery) -> None:
        self._session, self._writer, self._recovery = session, writer, recovery

    def withdraw(self, works: Sequence[Work], why: Withdrawal) -> None:
        """Every piece of work ended: its document is voided or credited, was so already, is parked or waits.

        The one way to withdraw, for whoever asks: the sync's policies (LEFT, SOURCE_GONE) and undoing a run (UNDONE,
        which the day's cap does not hold back: its plan was approved).

        Args:
            works: Of one step that writes invoices, not ended. Each is linked (`work.link.target_id`), as stored now
                and without an open intent: run them through `Recovery.recover` first. `work.record` may be None.
            why: What the links say of it afterwards (`Link.withdrawn`).
        """
        if not works:
            return
        written = connection_written(works[0].sync, works[0].step)
        try:
            target = self._session.connector(written)
            begun = self._credits(works)
            documents = read_all(target, works[0].step.to_kind, [work.link.target_id or "" for work in works])
            self._decide(works, why, target, documents, begun)
        except TieoutError as error:
            self._session.failed(written, error)
            for work in works:
                if not work.ended:
                    self._session.ends.waits(work, error)

    def revisit(self, works: Sequence[Work]) -> None:
        """End works whose documents were withdrawn before (`Link.withdrawn`): none is written again by itself.

        Those go on without an end whose record came back before anything was written for its withdrawal.
        """
        withdrawn = [work for work in works if work.link.withdrawn is not None]
        self._look_again([work for work in withdrawn if work.change.origin in (Origin.OPERATOR, Origin.APPROVED)])
        withdrawn = [work for work in withdrawn if not work.ended and work.link.withdrawn is not None]
        begun = self._credits([work for work in withdrawn if work.link.withdrawn is not Withdrawal.TARGET_GONE])
        unfinished: dict[Withdrawal, list[Work]] = defaultdict(list)
        for work in withdrawn:
            credit, why = begun.get(work.key), work.link.withdrawn
            if credit is not None and credit.ended:
                self._session.ends.concluded(work)  # the credit note says itself why it waits
            elif credit is None or credit.link.target_id is not None or why is None:
                self._without(credit)
                self._stays_withdrawn(work)
            elif why is Withdrawal.UNDONE or not work.takes_part:
                unfinished[why].append(work)
            else:
                self._take_back(work, credit)
        for why, some in unfinished.items():
            self.withdraw(some, why)

    def notice(self, work: Work, pair: Link | None) -> None:
        """If the document that the work reads back was voided or deleted by somebody else, remember that for its maker.

        The record that it was made of is looked at again then, and so a person is told if it still asks for it.
        """
        standing = work.record is not None and not is_voided(work.record)
        if standing or pair is None or pair.target_id != work.key.source_id or not _is_news(pair):
            return
        if pair.intent is not None:
            self._session.ends.waits(work, ClaimedError("The document is being written; it is looked at again."))
            return
        try:
            if pair.withdrawn is None:
                self._session.links.store(replace(pair, withdrawn=Withdrawal.TARGET_GONE))
            elif pair.unsynced is not None and pair.unsynced.state is UnsyncedState.WAITING:
                return  # it is tried anyway; looked at with each try of this work, what is queued would grow with them
        except ClaimedError as error:
            self._session.ends.waits(work, error)
            return
        kind = work.sync.step(pair.key.step).from_kind
        self._session.ends.look_at(
            Change(pair.key.tenant, work.sync.source, kind, pair.key.source_id, work.change.seen_at, Origin.POLL)
        )

    # Deciding

    def _decide(
        self,
        works: Sequence[Work],
        why: Withdrawal,
        target: Connector,
        documents: Mapping[str, Record],
        begun: Mapping[LinkKey, Work],
    ) -> None:
        voids: list[Pending] = []
        to_credit: list[Work] = []
        for work in works:
            document = documents.get(work.link.target_id or "")
            credit = begun.get(work.key)
            if credit is not None and credit.ended:
                self._session.ends.concluded(work)
            elif document is None and work.change.attempts < LOOKS and why is not Withdrawal.UNDONE:
                self._session.ends.waits(work, NotFoundError("Its document is not visible; it is looked at again."))
            elif document is None:
                self._without(credit)
                self._note(work, Withdrawal.TARGET_GONE, "its document is gone from the other side")
            elif is_voided(document) or (credit is not None and credit.link.target_id is not None):
                self._without(credit)
                self._note(work, why, "its document is withdrawn already")
            elif (changed := _changed(work, document)) is not None:
                error = changed_before_withdrawal(work, why, target, changed)
                self._session.ends.parked(work, error, cause=f"withdraw-changed-{work.step.name}")
            elif not document.fields.get("paid"):
                voids.append(_void(work, document, why))
            elif work.step.if_paid == "credit_note" and Kind.CREDIT_NOTE in target.manifest.writes:
                to_credit.append(work)
            else:
                error = paid_already(work, why, target, document)
                self._session.ends.parked(work, error, cause=f"paid-{work.step.name}")
        admitted = self._admitted([item.work for item in voids], to_credit, why)
        self._writer.write_all([item for item in voids if item.work.key in admitted])
        self._credit([work for work in to_credit if work.key in admitted], why, begun)

    def _admitted(self, to_void: Sequence[Work], to_credit: Sequence[Work], why: Withdrawal) -> set[LinkKey]:
        """Keys of those that plan and cap let pass; what is above the cap is parked until a person approves it."""
        works = gate.allowed_withdrawals(self._session, [*to_void, *to_credit], {work.key for work in to_credit})
        capped = [work for work in works if why is not Withdrawal.UNDONE and work.change.origin is not Origin.APPROVED]
        admitted = {work.key for work in works} - {work.key for work in capped}
        if not capped:
            return admitted
        sync, tenant = capped[0].sync, capped[0].key.tenant
        most = sync.document.caps.withdrawals
        references = [work.link.reference for work in capped]
        passed = self._session.caps.admit(tenant, sync.name, Cap.WITHDRAWALS, references, most)
        for work in capped:
            if work.link.reference in passed:
                admitted.add(work.key)
            else:
                error = above_the_cap(work, why, most)
                self._session.ends.parked(work, error, cause=f"cap-withdrawals-{sync.name}")
        return admitted

    # Crediting

    def _credits(self, works: Sequence[Work]) -> dict[LinkKey, Work]:
        """By the main work's key, the credit notes that were begun; a lost one is looked up.

        One for a former document, since renewed, is none: it stands.
        """
        keys = {_credit_key(work): work for work in works}
        begun = {
            keys[key].key: _crediting(keys[key], link)
            for key, link in self._session.links.get(list(keys)).items()
            if link.generation == keys[key].link.generation
        }
        self._recovery.recover(list(begun.values()))
        return begun

    def _credit(self, works: Sequence[Work], why: Withdrawal, begun: Mapping[LinkKey, Work]) -> None:
        pending: list[Pending] = []
        for work in works:
            credit = begun.get(work.key) or self._first_credit(work)
            try:
                if work.key not in begun or credit.link.revision == 0:
                    credit.link = self._session.links.store(credit.link)
                if work.link.withdrawn is not why:
                    work.link = self._session.links.store(replace(work.link, withdrawn=why))
            except ClaimedError as error:
                self._session.ends.waits(work, error)
                continue
            pending.append(self._credit_note(work, credit, why))
        self._writer.write_all(pending)
        for item in pending:
            main = next(work for work in works if _credit_key(work) == item.work.key)
            self._session.ends.concluded(main)

    def _first_credit(self, work: Work) -> Work:
        """The first for this document; a credit note for a former one gives its place in the table up."""
        key = _credit_key(work)
        former = self._session.links.get([key]).get(key) if work.link.generation else None
        revision = former.revision if former is not None else 0
        return _crediting(work, Link(key, revision=revision, generation=work.link.generation))

    def _credit_note(self, work: Work, credit: Work, why: Withdrawal) -> Pending:
        base = _base(work)
        fields = {name: base[name] for name in _CREDITED if name in base} | {
            "date": self._session.clock.now().date(),
            "memo": f"Credit for {document_name(work)}",
        }
        return _pending(credit, fields, Operation.CREATE, why)

    # Ends

    def _note(self, work: Work, why: Withdrawal, reason: str) -> None:
        """Nothing is to be written, but the link has to say that the document no longer stands."""
        try:
            if work.link.withdrawn is not why:
                work.link = self._session.links.store(replace(work.link, withdrawn=why))
        except ClaimedError as error:
            self._session.ends.waits(work, error)
        else:
            self._session.ends.skipped(work, reason)

    def _stays_withdrawn(self, work: Work) -> None:
        why, ends = work.link.withdrawn, self._session.ends
        if not work.takes_part:
            ends.skipped(work, "its document is withdrawn")
        elif why is Withdrawal.UNDONE:
            ends.skipped(work, TAKEN_BACK)
        else:
            try:
                target = self._session.connector(connection_written(work.sync, work.step))
            except TieoutError as error:
                ends.waits(work, error)
                return
            if why is Withdrawal.TARGET_GONE:
                ends.parked(work, target_gone(work, target), cause=cause_gone(work.step))
            else:
                ends.parked(work, back_after_withdrawal(work, target), cause=f"withdrawn-{work.step.name}")

    def _look_again(self, works: Sequence[Work]) -> None:
        """A person asks for another try: what stands on the other side again was not deleted after all."""
        works = [work for work in works if work.link.withdrawn is Withdrawal.TARGET_GONE]
        if not works:
            return
        written = connection_written(works[0].sync, works[0].step)
        try:
            target = self._session.connector(written)
            there = read_all(target, works[0].step.to_kind, [work.link.target_id or "" for work in works])
            for work in works:
                document = there.get(work.link.target_id or "")
                if document is not None and not is_voided(document):
                    work.link = self._session.links.store(replace(work.link, withdrawn=None))
        except TieoutError as error:
            self._session.failed(written, error)
            for work in works:
                if work.link.withdrawn is not None:
                    self._session.ends.waits(work, error)

    def _take_back(self, work: Work, credit: Work) -> None:
        """The record is back, and nothing was written: it goes on as if its withdrawal had not begun."""
        try:
            work.link = self._session.links.store(replace(work.link, withdrawn=None))
        except ClaimedError as error:
            self._session.ends.waits(work, error)
            return
        self._without(credit)

    def _without(self, credit: Work | None) -> None:
        """No credit note is needed any more, or it stands: what hindered one, or why it waited, says nothing."""
        unsynced = credit.link.unsynced if credit is not None else None
        if credit is None or unsynced is None:
            return
        if credit.link.target_id is None or unsynced.state is UnsyncedState.WAITING:
            self._session.links.set_unsynced(credit.key, None, instead_of=unsynced)


def _is_news(link: Link) -> bool:
    """True if it was not us who withdrew the document, be it by a mapping that writes it as voided."""
    ours = (link.base or {}).get("status") == InvoiceStatus.VOIDED.value
    return link.withdrawn in (None, Withdrawal.TARGET_GONE) and not ours


def _base(work: Work) -> Mapping[str, Any]:
    if work.link.base is None:
        raise RuntimeError("a document that was written has a base")
    return work.link.base


def _changed(work: Work, document: Record) -> Difference | None:
    """What somebody else changed of what we wrote; None if nothing, or if the version says so."""
    if document.version and document.version == work.link.target_version:
        return None
    return difference(document, {name: value for name, value in _base(work).items() if value is not None})


def _void(work: Work, document: Record, why: Withdrawal) -> Pending:
    fields = {**_base(work), "status": InvoiceStatus.VOIDED.value}
    return _pending(work, fields, Operation.UPDATE, why, document)


def _pending(
    work: Work, fields: Mapping[str, Any], operation: Operation, why: Withdrawal, target: Record | None = None
) -> Pending:
    written = plain(fields)
    payload = payload_hash(written)
    version = work.record.version if work.record is not None else why.value
    effect = Effect(
        id=effect_id(work.key, operation, version, payload),
        operation=operation,
        kind=work.step.to_kind,
        document=document_of(work.step.to_kind, written),
        reference=work.link.reference,
        target_id=target.id if target is not None else None,
        target_version=target.version if target is not None else "",
        label=work.step.label(work.record) if work.record is not None else work.key.source_id,
    )
    return Pending(work, Write(effect, written, payload, withdrawal=why if target is not None else None))


def _credit_key(work: Work) -> LinkKey:
    return replace(work.key, step=work.step.crediting().name)


def _crediting(work: Work, link: Link) -> Work:
    return Work(work.sync, work.step.crediting(), link.key, work.change, work.record, link)
