"""`tieout parked`: what could not be synced, and what a person decides about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tieout.cli.desk import Desk
from tieout.cli.talk import Answer, AnswerError, Code, moment
from tieout.domain.changes import Unsynced
from tieout.domain.records import Kind
from tieout.domain.words import age, counted, said
from tieout.engine.operate import Operate

if TYPE_CHECKING:
    from rich.console import RenderableType

WITHOUT_AMOUNT = frozenset({Kind.PRODUCT, Kind.ITEM})
"""Kinds whose amount is a price: nobody misses it in the books."""


def operate(desk: Desk) -> Operate:
    """What an operator asks and decides."""
    deployment = desk.deployment
    return Operate(config=deployment.config, links=deployment.links, queue=deployment.queue, clock=deployment.clock)


def listed(desk: Desk, *, cause: str, show: int) -> Answer:
    """Everything that is parked, oldest first, with totals."""
    found = operate(desk).parked(desk.tenant, cause=cause)

    def view() -> Iterator[RenderableType]:
        if not found:
            yield "Nothing is parked."
            return
        now = desk.deployment.clock.now()
        left = show
        for name, group in _by_cause(found).items():
            yield f"{name}: {counted(len(group), 'change')}{_together(group)}"
            alike = len({one.reason for one in group}) == 1
            if alike:
                yield f"  {group[0].reason}"
            if group[0].next_step:
                yield f"  Next: {group[0].next_step}"
            for one in group[:left]:
                since = f"{age((now - one.since).total_seconds())} ago"
                yield "  " + "  ".join(part for part in (one.where, one.label, amount_of(one), since) if part)
                if not alike:
                    yield f"    {one.reason}"
            if len(group) > left:
                yield f"  and {len(group) - left:,} more (--show {len(found)})"
            left = max(left - len(group), 0)
            yield ""
        yield f"{counted(len(found), 'change')} parked{_together(found)}"

    return Answer(
        {"parked": [data_of(one) for one in found], "totals": totals_of(found)},
        view,
    )


def _by_cause(parked: Sequence[Unsynced]) -> dict[str, list[Unsynced]]:
    groups: dict[str, list[Unsynced]] = {}
    for one in parked:
        groups.setdefault(one.cause, []).append(one)
    return groups


def _together(parked: Sequence[Unsynced]) -> str:
    totals = totals_of(parked)
    return f": {', '.join(said(amount, currency) for currency, amount in totals.items())}" if totals else ""


def shown(desk: Desk, where: str) -> Answer:
    """One parked change in full.

    Raises:
        AnswerError: If nothing is parked there.
    """
    one = chosen(desk, [where], "", everything=False)[0]

    def view() -> Iterator[RenderableType]:
        now = desk.deployment.clock.now()
        yield f"{one.label}  {amount_of(one)}".rstrip()
        yield f"  where  {one.where}"
        yield f"  since  {moment(one.since)} ({age((now - one.since).total_seconds())} ago)"
        yield f"  why    {one.reason}"
        if one.field:
            yield f"  field  {one.field}" + (f'; it says "{one.value}"' if one.value is not None else "")
        if one.code:
            yield f"  code   {one.code}"
        yield f"  cause  {one.cause}"
        if one.next_step:
            yield f"  next   {one.next_step}"
        yield f"  retry    tieout parked retry {one.where} --tenant {desk.tenant}"
        yield f"  dismiss  tieout parked dismiss {one.where} --tenant {desk.tenant}"

    return Answer(data_of(one), view)


def chosen(desk: Desk, where: Sequence[str], cause: str, *, everything: bool) -> list[Unsynced]:
    """The parked changes that are meant; none if nothing is parked because of the cause any more.

    Raises:
        AnswerError: If it is not said in exactly one way which are meant, or a named one is not parked.
    """
    if [bool(where), bool(cause), everything].count(True) != 1:
        raise AnswerError(
            "Say which parked changes are meant, in one way: their names, --cause CAUSE, or --all.",
            code=Code.USAGE,
            next_step=f"See `tieout parked list --tenant {desk.tenant}`.",
        )
    found = operate(desk).parked(desk.tenant, cause=cause)
    if where:
        by_name = {one.where: one for one in found}
        missing = [name for name in where if name not in by_name]
        if missing:
            raise AnswerError(
                f"Nothing is parked at {', '.join(missing)}.",
                code=Code.NO,
                next_step=f"See `tieout parked list --tenant {desk.tenant}`.",
            )
        return [by_name[name] for name in dict.fromkeys(where)]
    return found


def retried(desk: Desk, parked: Sequence[Unsynced], *, approve: bool = False) -> Answer:
    """They are queued to be tried again, past caps if approved; each stays parked until it ends otherwise."""
    count = operate(desk).retry(parked, approve=approve)

    def view() -> Iterator[RenderableType]:
        if not count:
            yield "Nothing of this is parked any more."
            return
        yield f"{counted(count, 'change')} queued to be tried again."
        yield f"Each stays listed until it is synced: see `tieout status --tenant {desk.tenant}` in a minute."

    return Answer({"retried": count, "where": [one.where for one in parked]}, view)


def dismissed(desk: Desk, parked: Sequence[Unsynced]) -> Answer:
    """They are left as they are; each comes back only if its cause changes."""
    count = operate(desk).dismiss(desk.tenant, parked)

    def view() -> Iterator[RenderableType]:
        if not count:
            yield "Nothing of this is parked any more."
            return
        yield f"{counted(count, 'change')} left as {'it is' if count == 1 else 'they are'}."

    return Answer({"dismissed": count, "where": [one.where for one in parked]}, view)


def totals_of(parked: Sequence[Unsynced]) -> dict[str, Decimal]:
    """The sum of the amounts in each currency; prices of items are none."""
    sums: dict[str, Decimal] = {}
    for one in parked:
        if one.amount is not None and one.change.kind not in WITHOUT_AMOUNT:
            sums[one.currency] = sums.get(one.currency, Decimal(0)) + one.amount
    return sums


def amount_of(one: Unsynced) -> str:
    """`1,054.00 USD`; empty if it has none."""
    return said(one.amount, one.currency) if one.amount is not None else ""


def data_of(one: Unsynced) -> dict[str, Any]:
    """For `--json`."""
    return {
        "where": one.where,
        "sync": one.sync,
        "step": one.step,
        "id": one.change.id,
        "label": one.label,
        "amount": one.amount,
        "currency": one.currency,
        "state": one.state,
        "cause": one.cause,
        "reason": one.reason,
        "next_step": one.next_step,
        "field": one.field,
        "value": one.value,
        "code": one.code,
        "since": one.since,
    }
