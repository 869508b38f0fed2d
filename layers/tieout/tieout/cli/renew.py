"""`tieout renew`: a person allows new documents in place of those that were withdrawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tieout.cli.desk import Desk
from tieout.cli.plans import stored_plans
from tieout.cli.talk import Answer, AnswerError, Code, Talk, more
from tieout.domain.links import LinkKey
from tieout.domain.words import counted, said
from tieout.engine.renew import Former, Renew

if TYPE_CHECKING:
    from rich.console import RenderableType

PARTS = 3
"""Of `sync/step/id`; an id may hold a slash."""


def renew(desk: Desk, talk: Talk, where: str, plan_id: str, *, yes: bool, show: int) -> Answer:
    """Which records may get a new document from now on; nothing is written to either side.

    Its status is 1 if some were refused, as their former document lives, else 0.

    Raises:
        AnswerError: If it is not said in exactly one way what is meant, or nobody agreed.
        TieoutError: If the one record that is meant may not be renewed.
    """
    renewing = _renewing(desk)
    sync, keys = _chosen(desk, renewing, where, plan_id)
    formers = renewing.look(keys)
    if where and (refused := formers[0].refused) is not None:
        raise refused
    allowed = [one for one in formers if one.refused is None]
    if allowed and not yes:
        _ask(talk, allowed, show)
    talk.resume = "What was renewed stays so; run it again to go on."
    done = renewing.renew(formers, by=desk.who())
    renewed = [one for one in done if one.refused is None]
    left = [one for one in done if one.refused is not None]
    again = f"tieout plan {sync}{f' --record {keys[0].source_id}' if where else ''} --tenant {desk.tenant}"

    def view() -> Iterator[RenderableType]:
        if not done:
            yield f"Nothing that {plan_id} withdrew is withdrawn still."
            return
        yield f"{counted(len(renewed), 'record')} may get a new document{_together(renewed)}. Nothing is written yet."
        yield from _left(left, show)
        if renewed:
            yield f"Run `{again}`, look at it, and apply it. A record that changes before gets its document at once."

    data = {
        "sync": sync,
        "renewed": [_data(one) for one in renewed],
        "refused": [_data(one) for one in left],
        "totals": _totals(renewed),
        "next_step": f"Run `{again}`.",
    }
    return Answer(data, view, Code.NO if left else Code.OK)


def _chosen(desk: Desk, renewing: Renew, where: str, plan_id: str) -> tuple[str, list[LinkKey]]:
    """The sync, and the records that are meant."""
    if bool(where) is bool(plan_id):
        raise AnswerError(
            "Say what is meant in one way: a record as sync/step/id, or --plan PLAN.",
            code=Code.USAGE,
            next_step=f"`tieout parked list --tenant {desk.tenant}` names records, "
            f"`tieout plan list --tenant {desk.tenant}` plans.",
        )
    if where:
        parts = where.split("/", PARTS - 1)
        if len(parts) != PARTS or not all(parts):
            raise AnswerError(f'"{where}" is no record: write sync/step/id.', code=Code.USAGE)
        sync, step, source_id = parts
        return sync, [LinkKey(desk.tenant, sync, step, source_id)]
    plans = stored_plans(desk)
    plan = plans.plan(desk.tenant, plan_id)
    if plan.undone_by:
        plan = plans.plan(desk.tenant, plan.undone_by)
    if not plan.undoes:
        raise AnswerError(
            f"{plan_id} took nothing back, and was not taken back.",
            code=Code.NO,
            next_step=f"`tieout plan list --tenant {desk.tenant}` names them; those that take back begin with undo-.",
        )
    return plan.sync, renewing.withdrawn_by(plan, plans.writes(plan))


def _renewing(desk: Desk) -> Renew:
    here = desk.deployment
    return Renew(config=here.config, links=here.links, connect=here.connect, clock=here.clock)


def _ask(talk: Talk, formers: Sequence[Former], show: int) -> None:
    question = f"Let new documents be written for {counted(len(formers), 'record')}{_together(formers)}?"
    talk.agree(question, refused="Nothing was renewed.", parts=_listed(formers, show))


def _listed(formers: Sequence[Former], show: int) -> Iterator[str]:
    for one in formers[:show]:
        why = one.link.withdrawn.value.replace("_", " ") if one.link.withdrawn is not None else ""
        amount = said(one.amount, one.currency) if one.amount is not None else ""
        yield "  " + "  ".join(part for part in (one.where, one.name, amount, f"withdrawn: {why}") if part)
    yield from more(len(formers), show)


def _left(left: Sequence[Former], show: int) -> Iterator[str]:
    if left:
        yield f"{counted(len(left), 'record')} left as {'it is' if len(left) == 1 else 'they are'}:"
        for one in left[:show]:
            if one.refused is not None:
                yield f"  {one.refused.message} {one.refused.next_step}".rstrip()
        yield from more(len(left), show)


def _totals(formers: Iterable[Former]) -> dict[str, Decimal]:
    """The sum of the former amounts in each currency."""
    sums: dict[str, Decimal] = {}
    for one in formers:
        if one.amount is not None:
            sums[one.currency] = sums.get(one.currency, Decimal(0)) + one.amount
    return sums


def _together(formers: Iterable[Former]) -> str:
    totals = _totals(formers)
    if not totals:
        return ""
    return f", in place of {', '.join(said(amount, currency) for currency, amount in totals.items())}"


def _data(one: Former) -> dict[str, Any]:
    refused = one.refused
    return {
        "where": one.where,
        "document": one.name,
        "former_id": one.link.target_id,
        "withdrawn": one.link.withdrawn,
        "amount": one.amount,
        "currency": one.currency,
        "reason": refused.message if refused is not None else "",
        "next_step": refused.next_step if refused is not None else "",
    }
