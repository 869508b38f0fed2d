"""Taking back what a run wrote: invoices are voided or credited, updates get their former values again.

It is a stored plan like any other: made by the engine without its pen, applied through the gate. What the run did not
write last is left as it is, and so is what a person changed since. Customers and items stay: books are never deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tieout.domain.changes import Change
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import TieoutError
from tieout.domain.links import Link, LinkKey, Withdrawal
from tieout.domain.plans import PlannedWrite, StoredPlan
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.engine.collect import connection_written, links_of, read_all, works_of
from tieout.engine.gate import credit_key, leave_out
from tieout.engine.merge import at
from tieout.engine.plan import (
    Work,
    Write,
    as_shown,
    difference,
    document_of,
    effect_id,
    otherwise,
    payload_hash,
    same,
    with_parts_that_stand,
    without_empty,
)
from tieout.engine.recover import Recovery
from tieout.engine.session import Session
from tieout.engine.withdraw import Withdrawals
from tieout.engine.write import Pending, Writer, is_beside
from tieout.mapping import ABSENT, CompiledStep, CompiledSync

WRITTEN_SINCE = "It was written again since, by a later change."
WITHDRAWN_SINCE = "Its document was withdrawn since."
STAYS = "It stays: books are never deleted by us. Make it inactive there if it is not needed."


class TakeBack:
    """One sync's part of the changes of an undo."""

    def __init__(
        self, session: Session, sync: CompiledSync, steps: Sequence[CompiledStep], links: Mapping[LinkKey, Link]
    ) -> None:
        if session.plan is None or session.plans is None:
            raise ValueError("only a plan takes something back")
        self._session, self._sync, self._steps, self._links = session, sync, steps, links
        self._plan, self._plans = session.plan, session.plans
        self._writer = Writer(session)
        self._recovery = Recovery(session, self._writer)
        self._withdrawals = Withdrawals(session, self._writer, self._recovery)

    def apply(self, changes: Sequence[Change], records: Mapping[Kind, dict[str, Record]]) -> None:
        """Every change ended: what the plan's run wrote last is taken back, what it did not is left as it is."""
        undone = self._plans.plan(self._session.tenant, self._plan.undoes)
        if undone is None:
            self._session.ends.unwanted(changes, "the plan to take back is no longer kept")
            return
        for step in reversed(self._steps):
            own = [change for change in changes if change.kind == step.from_kind]
            links = {**self._links, **links_of(self._sync, step, own, self._session.links)}
            works = works_of(self._sync, step, own, records.get(step.from_kind, {}), links)
            self._take_back(step, works, undone)

    def _take_back(self, step: CompiledStep, works: Sequence[Work], undone: StoredPlan) -> None:
        self._recovery.recover(works)
        written = self._plans.allowed(undone, [work.key for work in works])
        withdrawn: list[Work] = []
        updated: list[tuple[Work, PlannedWrite]] = []
        for work in works:
            planned = written.get(work.key)
            if work.ended:
                continue
            if planned is None or work.link.plan == self._plan.id:
                self._session.ends.left_out(work)  # nothing of it is to be taken back, or it was already
            elif work.link.plan != undone.id or work.link.target_id is None:
                leave_out(self._session, work, WRITTEN_SINCE, known=work.link.target_id is not None)
            elif _is_update(planned) and work.link.withdrawn is not None:
                # A credit note is of what the document showed then.
                leave_out(self._session, work, WITHDRAWN_SINCE)
            elif _is_update(planned):
                updated.append((work, planned))
            elif step.to_kind is Kind.INVOICE and planned.withdrawal is None and not planned.links_only:
                withdrawn.append(work)
            else:
                leave_out(self._session, work, _why_it_stays(planned))
        self._withdrawals.withdraw(self._as_planned(withdrawn), Withdrawal.UNDONE)
        self._restore(step, updated)

    def _as_planned(self, works: Sequence[Work]) -> list[Work]:
        """The works, each with the way to withdraw a paid document that the plan says."""
        is_draft = self._plan.revision == 0
        keys = {credit_key(work.key) for work in works}
        credited = keys if is_draft else set(self._plans.allowed(self._plan, list(keys)))
        for work in works:
            is_credited = self._plan.credit_paid and credit_key(work.key) in credited
            work.step = replace(work.step, if_paid="credit_note" if is_credited else "park")
        return list(works)

    def _restore(self, step: CompiledStep, updated: Sequence[tuple[Work, PlannedWrite]]) -> None:
        """Write the former values again, wherever the other side still shows ours."""
        if not updated:
            return
        name = connection_written(self._sync, step)
        try:
            target = self._session.connector(name)
            today = read_all(target, step.to_kind, [work.link.target_id or "" for work, _ in updated])
        except TieoutError as error:
            self._session.failed(name, error)
            for work, _ in updated:
                self._session.ends.waits(work, error)
            return
        pending = [self._restoring(work, one, today.get(work.link.target_id or "")) for work, one in updated]
        self._writer.write_all([item for item in pending if item is not None])

    def _restoring(self, work: Work, planned: PlannedWrite, today: Record | None) -> Pending | None:
        former, ours = planned.former, as_shown(work.link.base or {}, work.link.shown or {})
        if planned.side is Side.SOURCE or former is None:
            leave_out(self._session, work, "What stood there before is not known.")
        elif today is None:
            leave_out(self._session, work, "It is gone from the other side.")
        elif (
            changed := difference(today, {name: value for name, value in ours.items() if value is not None})
        ) is not None:
            leave_out(self._session, work, f"Its {changed.path.replace('_', ' ')} was changed since by somebody else.")
        else:
            return _restoring(work, former, today)
        return None


def _is_update(planned: PlannedWrite) -> bool:
    """True if it wrote to what stood there already, and not to withdraw it."""
    return planned.operation is Operation.UPDATE and planned.withdrawal is None


def _why_it_stays(planned: PlannedWrite) -> str:
    if planned.links_only:
        return "It was only linked, and stays linked."
    return "What was withdrawn cannot be taken back." if planned.takes_back else STAYS


def _restoring(work: Work, former: Mapping[str, Any], today: Record) -> Pending:
    """The update that writes the former values; a field that was not written before stays, as nobody knows its value.

    The link keeps the hash of what the mapping makes of the record: nothing is to be written for it until the record
    or the mapping changes. In a two-way step, and where the other side showed something of its own before, both sides
    agree that it shows something else than the source.
    """
    base, kind = work.link.base or {}, work.step.to_kind
    version = work.record.version if work.record is not None else ""
    new = [name.replace("_", " ") for name in base if name not in former]
    document = with_parts_that_stand(without_empty(document_of(kind, former), base), base, today.fields)
    if work.link.shown:  # what is not ours stands there already
        ours = as_shown(base, work.link.shown)
        changed = {name for name in document.model_fields_set if not same(former.get(name), ours.get(name))}
        document = type(document).model_construct(_fields_set=changed, **dict(document))
    effect = Effect(
        id=effect_id(work.key, Operation.UPDATE, version, payload_hash(former)),
        operation=Operation.UPDATE,
        kind=kind,
        document=document,
        reference=work.link.reference,
        target_id=today.id,
        target_version=today.version,
        label=work.step.label(work.record) if work.record is not None else work.key.source_id,
        notices=(f"Its {', '.join(new)} stays: what stood there before is not known.",) if new else (),
    )
    said = {name: value for name, value in former.items() if name in document.model_fields_set or not work.link.shown}
    write = Write(effect, said, work.link.payload_hash)
    if work.step.two_way is not None:
        shown = {path: at(former, path) for path in work.step.ways if at(former, path) != at(base, path)}
        known = {path: value for path, value in shown.items() if value is not ABSENT}
        write = replace(write, agreed=base, shown={**(work.link.shown or {}), **known})
    elif work.link.shown:
        write = replace(write, agreed=base, shown=otherwise(Record(kind, today.id, fields={**base, **former}), base))
    item = Pending(work, write)
    return replace(item, beside=is_beside(item, today))
