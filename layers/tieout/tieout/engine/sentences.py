"""What a person reads when a record needs a decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from tieout.domain.documents import Document, SalesDocument
from tieout.domain.effects import Match
from tieout.domain.errors import RejectedError, SettingsError
from tieout.domain.links import Link, Withdrawal
from tieout.domain.money import Money
from tieout.domain.records import Kind, Record, Value
from tieout.engine.plan import Difference, Work
from tieout.matching import Scored
from tieout.ports.connector import Connector

_LISTED = frozenset({Kind.CUSTOMER, Kind.ITEM, Kind.PROJECT})
_ERASED = frozenset({Kind.TIME_ENTRY, Kind.EXPENSE})


def document_name(work: Work) -> str:
    """What a person calls the document on the other side: `invoice 4711`, `customer Acme`, or by its id."""
    base = work.link.base or {}
    name = base.get("number") or base.get("name") or work.link.target_id or work.target_id
    return f"{work.step.to_kind.value.replace('_', ' ')} {name}"


def source_gone(work: Work) -> RejectedError:
    """The source record vanished after its document was written."""
    read, written = _kinds(work)
    if work.step.pairs is not None:
        return RejectedError(
            f"The {read} is gone, or our user may not see it any more, but what it wrote still stands in the {written} "
            f"{work.link.target_id}.",
            next_step=f"Correct the {written} by hand if that is right, then dismiss this one.",
        )
    return RejectedError(
        f"The {read} is gone, or our user may not see it any more, but its {document_name(work)} still stands.",
        next_step=f"{_withdraw(work)} in the books if that is right, then dismiss this one.",
    )


def left_the_sync(work: Work) -> RejectedError:
    """The source record no longer fulfils the condition under which its document was written."""
    read, written = _kinds(work)
    if work.step.pairs is not None:
        return RejectedError(
            f"The {read} no longer fulfils the sync's condition, but what it wrote still stands in the {written} "
            f"{work.link.target_id}.",
            next_step=f"Correct the {written} by hand, then dismiss this one; or let the step write all the same "
            "(`on_leave: write`).",
        )
    return RejectedError(
        f"The {read} no longer fulfils the sync's condition, but its {document_name(work)} still stands.",
        next_step=f"{_withdraw(work)} in the books, or set the {read} back.",
    )


def left_half_way(work: Work, target: Connector, record: Record) -> RejectedError:
    """The source record left the sync before its document was finished, so nothing will finish it."""
    read, written = _kinds(work)
    return RejectedError(
        f"The {read} no longer takes part in the sync, but its {written} {record.id} is left unfinished in "
        f"{target.manifest.title}: an answer was lost before its last step.",
        next_step=f"Delete the unfinished {written} there, then retry this one.",
    )


def not_linked(work: Work, pair: Link) -> RejectedError:
    """A document carries our reference, and the record that it was made of has no link to it."""
    read, written = _kinds(work)
    return RejectedError(
        f"The {read} {work.step.label(work.record) if work.record is not None else work.key.source_id} carries our "
        f"reference, but the {written} {pair.key.source_id} is not linked to it.",
        next_step=f"If the {read} should stand, run `tieout backfill {pair.key.sync} --relink --tenant "
        f"{pair.key.tenant}`; if not, void it in the books and dismiss this one.",
    )


def _kinds(work: Work) -> tuple[str, str]:
    """What is read and what is written, in words."""
    return work.step.from_kind.replace("_", " "), work.step.to_kind.replace("_", " ")


def _withdraw(work: Work) -> str:
    """What a person does with a document that should not stand: `Void the invoice`, `Make the customer inactive`."""
    kind, written = work.step.to_kind, work.step.to_kind.replace("_", " ")
    if kind in _LISTED:
        return f"Make the {written} inactive"
    if kind is Kind.ESTIMATE:
        return "Mark the estimate as declined"
    return f"Delete the {written}" if kind in _ERASED else f"Void the {written}"


def target_gone(work: Work, target: Connector) -> RejectedError:
    """The document was deleted on the other side; an invoice may have been voided there just as well."""
    title = target.manifest.title
    voidable = work.step.to_kind is Kind.INVOICE
    what = f"was voided in {title}, or deleted there" if voidable else f"is gone from {title}"
    return RejectedError(
        f"The {document_name(work)} {what}.",
        next_step="If that was on purpose, dismiss this one; it is not written again by itself."
        + (f" For a new one run `{_renewing(work)}`." if work.step.pairs is None else ""),
    )


def target_inactive(work: Work, target: Connector) -> RejectedError:
    """The document's partner stands on the other side, but nothing can name it."""
    title = target.manifest.title
    return RejectedError(
        f"The {document_name(work)} is inactive in {title}, and nothing there is like it.",
        code="target-inactive",
        next_step=f"Make it active in {title}, then retry; what needs it waits.",
    )


def _renewing(work: Work) -> str:
    """The command that allows a new document in place of one that was withdrawn."""
    return f"tieout renew {work.where} --tenant {work.key.tenant}"


def changed_on_both_sides(work: Work, target: Connector, changed: Difference) -> RejectedError:
    """Both sides changed what we wrote last."""
    return RejectedError(
        f"The {document_name(work)} was changed in {target.manifest.title} since it was written: its "
        f"{changed.path.replace('_', ' ')} was {_quoted(changed.written)} and is {_quoted(changed.shown)}. "
        f"The {work.step.from_kind.value} changed too.",
        code="changed-on-both-sides",
        field=changed.path,
        next_step="Make both sides equal by hand, then retry.",
    )


def both_changed(
    work: Work, source: Connector, target: Connector, fields: Sequence[str], stuck: Mapping[str, str]
) -> RejectedError:
    """Both sides changed the same fields, or the other side's value cannot go back."""
    who = f"Both {source.manifest.title} and {target.manifest.title}"
    if all(field in stuck for field in fields):
        who = target.manifest.title[:1].upper() + target.manifest.title[1:]
    said = [f"{who} changed the {_listed(fields)} of the {document_name(work)} since they last agreed."]
    said += [
        f"The {_in_words(field)} cannot go back to {source.manifest.title}: {why}."
        for field, why in stuck.items()
        if field in fields
    ]
    return RejectedError(
        " ".join(said),
        code="conflict",
        field=fields[0],
        next_step=f"Say whose value counts: run `tieout review show {work.where} --tenant {work.key.tenant}`.",
    )


def flaps(work: Work, source: Connector, target: Connector, fields: Sequence[str]) -> RejectedError:
    """The two sides overwrite each other in turn."""
    return RejectedError(
        f"The {document_name(work)} goes to and fro: {source.manifest.title} and {target.manifest.title} overwrote "
        f"each other {work.step.flaps_max} times within an hour, last its {_listed(fields)}.",
        code="flaps",
        field=fields[0],
        next_step="Find out who or what changes it on both sides, such as another integration, then retry it. After an "
        "hour its next change is synced again by itself.",
    )


def _in_words(field: str) -> str:
    return field.replace("_", " ").replace(".", " ")


def _listed(fields: Sequence[str]) -> str:
    said = [_in_words(field) for field in fields]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def several_candidates(work: Work, matches: Iterable[Match]) -> RejectedError:
    """More than one record may be the one meant."""
    ids = ", ".join(sorted(match.record.id for match in matches))
    return RejectedError(
        f"Several records may be this {work.step.to_kind.value}: {ids}.",
        next_step="Merge them, or give each its own name, then retry.",
    )


def may_be_one_of(work: Work, target: Connector, candidates: Sequence[Scored]) -> RejectedError:
    """Records that stand there may be the one that would be created, and nobody but a person can say."""
    read, written = _kinds(work)
    title, name = target.manifest.title, work.step.label(work.record) if work.record is not None else work.key.source_id
    first = candidates[0]
    shown = first.record.fields.get("name") or first.record.id
    others = len(candidates) - 1
    more = "" if not others else ", or another one" if others == 1 else f", or one of {others} more"
    why = ", ".join(reason.says for reason in first.reasons[:3])
    taken = any(each.same_name for each in candidates)
    return RejectedError(
        f"The {read} {name} may be the {written} {shown} in {title} already ({why}){more}.",
        code="match",
        next_step=f"Run `tieout review show {work.where} --tenant {work.key.tenant}`, and accept one, say that it is "
        f"never one of them, or let a new {written} be created"
        + (f"; give it another name first, since {title} has this one." if taken else "."),
    )


def may_have_become(work: Work, target: Connector, candidates: Sequence[Scored]) -> RejectedError:
    """The partner is gone, and one that stands there may be what it was merged into."""
    shown = candidates[0].record.fields.get("name") or candidates[0].record.id
    return RejectedError(
        f"The {document_name(work)} is gone from {target.manifest.title}; it may have been merged into {shown}.",
        code="target-gone",
        next_step=f"Run `tieout review show {work.where} --tenant {work.key.tenant}`: accept the one that it became, "
        "let a new one be created, or say that it is none of them.",
    )


def belongs_to_another(work: Work, target: Connector) -> RejectedError:
    """The record of this name was written for another source record."""
    read, written = _kinds(work)
    name = work.mapped.fields.get("name") if work.mapped is not None else None
    return RejectedError(
        f"The {written} {name or work.key.source_id} in {target.manifest.title} belongs to another {read} already.",
        field="name",
        next_step=f"Give each {read} a name of its own, or merge the two, then retry.",
    )


def its_own_parent(work: Work) -> RejectedError:
    """The record belongs to one that belongs to it in turn."""
    read, _ = _kinds(work)
    name = work.step.label(work.record) if work.record is not None else work.key.source_id
    return RejectedError(
        f"The {read} {name} belongs to a {read} that belongs to it in turn.",
        code="own-parent",
        field="parent",
        next_step=f"Correct the parent of one of them in the source; each {read} may belong to one above it only.",
    )


def too_deep(work: Work, most: int) -> RejectedError:
    """More records stand above this one than the books have levels."""
    read, written = _kinds(work)
    name = work.step.label(work.record) if work.record is not None else work.key.source_id
    return RejectedError(
        f"The {read} {name} belongs to a chain of more than {most} levels, and the books take no more.",
        code="too-deep",
        field="parent",
        next_step=f"Let it belong to a {read} further up, or leave the parent of this {written} out of the sync.",
    )


def not_taken_by_the_sync(work: Work, step: str, value: str) -> RejectedError:
    """A record that is needed first is left out by the sync itself."""
    return RejectedError(
        f"It needs a record of step `{step}` ({value}) that the sync does not take.",
        field=step,
        next_step=f"See whether the condition of `{step}` in the sync `{work.sync.name}` leaves it out.",
    )


def not_understood(sync: str, error: SettingsError) -> SettingsError:
    """The document of a sync that runs cannot be read by this release."""
    return SettingsError(
        f"The sync {sync} is not understood by this release of Tieout, so its changes wait: {error.message}",
        next_step="Run `tieout mapping check` on its document, correct what it says, and run `tieout config apply`.",
        detail=error.detail,
    )


def lines_differ(work: Work, document: Document) -> RejectedError | None:
    """The source's own amount is not what the document's lines make; None if it is, or if the books add the tax."""
    if not isinstance(document, SalesDocument) or work.record is None:
        return None
    amount, made = work.step.amount(work.record), document.expected_total()
    if amount is None or made is None:
        return None
    own, summed = Money(amount, document.currency).rounded(), Money(made, document.currency).rounded()
    if own == summed:
        return None
    return RejectedError(
        f"The {work.step.from_kind.value} says {own}, but its lines make {summed}.",
        field="amount",
        next_step=f"Correct the amount or the lines of the {work.step.from_kind.value}, then retry.",
    )


def total_differs(work: Work, target: Connector, shown: Value, made: Decimal) -> RejectedError:
    """The books compute another total than the mapping."""
    return RejectedError(
        f"{target.manifest.title} shows a total of {shown}, but the {work.step.from_kind.value} makes {made}.",
        field="total",
        next_step="Compare tax, discount and rounding on both sides, and correct one of them.",
    )


def too_many_rewrites(work: Work, most: int) -> RejectedError:
    """The sync was changed, and so many documents are to be written again that a person should have a look first."""
    name, tenant = work.sync.name, work.key.tenant
    return RejectedError(
        f"The sync {name} was changed, so that its {document_name(work)} is to be written again; it allows {most} of "
        "that a day.",
        code="cap-rewrites",
        next_step=f"See what would be written with `tieout plan {name} --tenant {tenant}`, and apply that plan; or let "
        f"all of them pass with `tieout parked retry --tenant {tenant} --cause cap-rewrites-{name} --approve`.",
    )


def _quoted(value: object) -> str:
    return "empty" if value in (None, "") else f'"{value}"'


def paid_already(work: Work, why: Withdrawal, target: Connector, document: Record) -> RejectedError:
    """The document should be withdrawn, but money was received for it."""
    currency, paid = str(document.fields.get("currency") or ""), document.fields.get("paid")
    amount = Money(Decimal(str(paid)), currency) if currency else paid
    return RejectedError(
        f"{_because(work, why)}, but its {document_name(work)} cannot be voided: {amount} is paid.",
        code="paid",
        next_step=f"Make a credit note or a refund in {target.manifest.title} by hand, then dismiss this one; or let "
        f"the step `{work.step.name}` make credit notes (`if_paid: credit_note`), then retry.",
    )


def changed_before_withdrawal(work: Work, why: Withdrawal, target: Connector, changed: Difference) -> RejectedError:
    """The document should be withdrawn, but somebody changed it on the other side."""
    title = target.manifest.title
    return RejectedError(
        f"{_because(work, why)}, but its {document_name(work)} was changed in {title} since it was written: its "
        f"{changed.path.replace('_', ' ')} was {_quoted(changed.written)} and is {_quoted(changed.shown)}.",
        code="changed-before-withdrawal",
        field=changed.path,
        next_step=f"{_withdraw(work)} in {title} if that is right, then dismiss this one.",
    )


def above_the_cap(work: Work, why: Withdrawal, most: int) -> RejectedError:
    """More documents would be withdrawn today than a person allowed."""
    return RejectedError(
        f"{_because(work, why)}, so its {document_name(work)} is to be withdrawn; but the sync {work.sync.name} allows "
        f"{most} of that a day.",
        code="cap-withdrawals",
        next_step="See whether so many records really left or are gone. If they did, retry with `--approve`; if not, "
        "correct the records or the sync, then retry.",
    )


def back_after_withdrawal(work: Work, target: Connector) -> RejectedError:
    """The record takes part again, and its document was withdrawn."""
    read, written = _kinds(work)
    return RejectedError(
        f"The {read} takes part in the sync again, but its {document_name(work)} was withdrawn in "
        f"{target.manifest.title} when it left, and is not written a second time by itself.",
        code="withdrawn",
        next_step=f"If a new {written} is due, run `{_renewing(work)}`, then `tieout plan {work.sync.name} --record "
        f"{work.key.source_id} --tenant {work.key.tenant}`. If not, dismiss this one.",
    )


def _because(work: Work, why: Withdrawal) -> str:
    """Why a document is to be withdrawn: how a sentence begins."""
    read, _ = _kinds(work)
    if why is Withdrawal.SOURCE_GONE:
        return f"The {read} is gone, or our user may not see it any more"
    if why is Withdrawal.UNDONE:
        return f"What was written for the {read} is taken back"
    return f"The {read} no longer fulfils the sync's condition"
