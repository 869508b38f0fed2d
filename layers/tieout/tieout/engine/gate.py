"""The gate: what may be written. A stored plan's changes write just what it says; rewrites keep to a cap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tieout.domain.changes import Origin
from tieout.domain.effects import Operation
from tieout.domain.errors import UnavailableError
from tieout.domain.links import LinkKey
from tieout.domain.plans import CREDITING, PlannedWrite, new_id
from tieout.domain.reviews import Side
from tieout.engine.caps import Cap
from tieout.engine.plan import Work, payload_hash
from tieout.engine.sentences import too_many_rewrites
from tieout.engine.session import Session
from tieout.mapping import LinkTo

if TYPE_CHECKING:
    from tieout.engine.write import Pending

NOT_IN_THE_PLAN = "The plan does not say to write it."


def admit(session: Session, pending: Sequence[Pending]) -> list[Pending]:
    """The writes that may go on; the others ended: left out as the plan does not say so, parked, or waiting."""
    plan = session.plan
    if plan is None:
        return _within_cap(session, pending)
    if plan.revision == 0 or session.plans is None:
        return list(pending)  # it is only being made
    keys = {key for item in pending for key in (item.work.key, *item.work.needs.values())}
    allowed = session.plans.allowed(plan, list(keys))
    admitted = []
    for item in pending:
        planned = allowed.get(item.work.key)
        reason = NOT_IN_THE_PLAN if planned is None else _differs(planned, item, allowed)
        if reason:
            leave_out(session, item.work, reason, known=planned is not None)
        else:
            item.links_to = planned.target_id if planned is not None and planned.links_only else None
            admitted.append(item)
    return admitted


def leave_out(session: Session, work: Work, reason: str, *, known: bool = True) -> None:
    """End the work unwritten: it is not what the plan says. If the plan knows the record, the plan says why."""
    if session.plan is not None and session.plans is not None and known:
        session.plans.leave_out(session.plan, work.key, reason)
    session.left_out.add(work.key)
    session.ends.left_out(work)


def note_passed(session: Session) -> None:
    """Note why writes of the plan were not needed any more: nothing else would tell."""
    plan, plans = session.plan, session.plans
    if plan is None or plans is None:
        return
    passed = {key: why for key, (work, why) in session.ends.passed.items() if work.link.plan != plan.id}
    known = set(passed) if plan.revision == 0 else plans.allowed(plan, list(passed))
    for key in known:
        plans.leave_out(plan, key, passed[key])


def allowed_withdrawals(session: Session, works: Sequence[Work], credited: Collection[LinkKey]) -> list[Work]:
    """The works whose documents may be withdrawn; the others ended, as the plan does not say so.

    Args:
        session: Of this run.
        works: Of documents that are to be voided or credited.
        credited: Which of them would be credited: only if the plan says just that, as links say that a document is
            withdrawn before its credit note is written.
    """
    plan, plans = session.plan, session.plans
    if plan is None or plans is None or plan.revision == 0:
        return list(works)
    found = plans.allowed(plan, [key for work in works for key in (work.key, credit_key(work.key))])
    kept = []
    for work in works:
        credit = found.get(credit_key(work.key))
        planned = credit or found.get(work.key)
        if planned is None or not planned.takes_back:
            leave_out(session, work, "Its document would be withdrawn now.", known=planned is not None)
        elif credit is None and work.key in credited:
            leave_out(session, work, "It was paid since: it would be credited now.")
        else:
            kept.append(work)
    return kept


def credit_key(key: LinkKey) -> LinkKey:
    """The link of the credit note that takes a document back."""
    return LinkKey(key.tenant, key.sync, key.step + CREDITING, key.source_id)


def planned_hash(step: str, document: Mapping[str, Any]) -> str:
    """The hash by which a plan knows a document (plain JSON values). A credit note is dated when it is written."""
    if step.endswith(CREDITING):
        document = {name: value for name, value in document.items() if name != "date"}
    return payload_hash(document)


def _differs(planned: PlannedWrite, item: Pending, allowed: Mapping[LinkKey, PlannedWrite]) -> str:
    """What is not as planned, as a sentence; empty if all is."""
    effect, write = item.write.effect, item.write
    if effect.operation is not planned.operation:
        return f"The plan says to {planned.operation}; it would be an {effect.operation} now."
    if planned.operation is Operation.UPDATE and effect.target_id != planned.target_id:
        return f"The plan says to write {planned.target_id}; it would be {effect.target_id} now."
    if write.side is not planned.side or (write.withdrawal is None) is not (planned.withdrawal is None):
        return "The plan says to write it otherwise."
    names = {
        link: new_id(key.reference)
        for link, key in item.work.needs.items()
        if (need := allowed.get(key)) and _is_new(need)
    }
    mapped = item.work.mapped.fields if item.work.mapped is not None else {}
    document = _as_planned(write.document, mapped, names)
    if planned_hash(planned.step, document) == planned.payload_hash:
        return ""
    changed = next((name for name in document if document[name] != planned.document.get(name)), "")
    return f"It would have other {changed.replace('_', ' ')} now." if changed else "It would be another document now."


def _is_new(planned: PlannedWrite) -> bool:
    return planned.operation is Operation.CREATE and not planned.links_only


def _as_planned(document: Any, mapped: Any, names: Mapping[LinkTo, str]) -> Any:  # noqa: ANN401 - plain JSON values
    """The document with the plan's own names where the mapping names records that the plan creates."""
    if isinstance(mapped, LinkTo):
        return names.get(mapped, document)
    if isinstance(document, Mapping) and isinstance(mapped, Mapping):
        return {name: _as_planned(value, mapped.get(name), names) for name, value in document.items()}
    if isinstance(document, list) and isinstance(mapped, list | tuple) and len(document) == len(mapped):
        return [_as_planned(value, rule, names) for value, rule in zip(document, mapped, strict=True)]
    return document


def _within_cap(session: Session, pending: Sequence[Pending]) -> list[Pending]:
    """Writes that are needed only because the sync was changed go on within the day's cap; the others are parked."""
    rewrites: dict[str, list[Pending]] = defaultdict(list)
    for item in pending:
        if _is_rewrite(item):
            rewrites[item.work.sync.name].append(item)
    for name, items in rewrites.items():
        sync = items[0].work.sync
        most = sync.document.caps.rewrites
        references = [item.work.key.reference for item in items]
        try:
            passed = session.caps.admit(session.tenant, name, Cap.REWRITES, references, most)
        except UnavailableError as error:
            for item in items:
                session.ends.waits(item.work, error)
            continue
        for item in items:
            if item.work.key.reference not in passed:
                session.ends.parked(item.work, too_many_rewrites(item.work, most), cause=f"cap-rewrites-{name}")
    return [item for item in pending if not item.work.ended]


def _is_rewrite(item: Pending) -> bool:
    """True if neither side gave cause to write it, but the sync is another than when it was written last.

    A record that has no version may have changed: it counts too, as nobody can tell.
    """
    work, link = item.work, item.work.link
    if item.write.effect.operation is not Operation.UPDATE or item.write.withdrawal is not None:
        return False
    if item.write.side is Side.SOURCE:
        return False  # the other side gave cause
    if not link.payload_hash or work.record is None or work.change.origin is Origin.APPROVED:
        return False
    return link.sync_version != work.sync.version and link.source_version == work.record.version
