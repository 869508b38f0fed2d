"""Oracles: what has to hold once nothing moves any more. Each looks at the worlds, not at the engine's word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any

from tests.engine.simulation.plans import TENANTS, Assumption, cents
from tests.engine.simulation.runtime import FaultKind
from tests.engine.simulation.stores import reference_of
from tests.engine.simulation.universe import SYNC, Universe
from tests.engine.trail import archived_roughly, broken_trail
from tieout.domain.changes import UnsyncedState
from tieout.domain.errors import MappingError
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.engine.collect import compiled, fold
from tieout.engine.plan import plain
from tieout.mapping import CompiledStep, LinkTo

CALLS_AT_MOST = 8
CALLS_PER_CHANGE = 6
REQUESTS_PER_CALL = 3  # of the real connectors: a sign-in and, of reads, a second and a third try
ATTEMPTS_MAX = 40
TRAIL_EVERY = 5
DOUBLES_POSSIBLE = frozenset(set(Assumption) - {Assumption.BOUNDED})

type Oracle = Callable[[Universe], Iterator[str]]


def no_bug(universe: Universe) -> Iterator[str]:
    """Nothing but the errors of the contracts rises."""
    yield from universe.runtime.bugs


def one_document(universe: Universe) -> Iterator[str]:
    """I1: one living document for each source record and reference."""
    if universe.plan.assumption in DOUBLES_POSSIBLE:
        return
    yield from doubles(universe)


def doubles(universe: Universe) -> Iterator[str]:
    """Documents that stand there more than once; one that a person deleted before we found it is written again."""
    for (tenant, connection), provider in universe.providers.items():
        for (kind, reference), ids in provider.created.items():
            living = [one for one in ids if _lives(provider.records.get((kind, one)))]
            if len(living) > 1:
                yield f"{tenant}.{connection}: {len(living)} {kind}s with the reference {reference}: {living}"


def _lives(record: Record | None) -> bool:
    """False for what is gone, and for a customer that a person merged into another: it stays, inactive."""
    return record is not None and record.fields.get("active") is not False


def all_ended(universe: Universe) -> Iterator[str]:
    """I2: no message, no intent, nothing that waits; whatever is parked was told to a person."""
    if left := [message for message in universe.queues.messages if not message.deleted]:
        yield f"{len(left)} messages were never done: {left[0].changes[0]}"
    if universe.table.alerts:
        yield f"{len(universe.table.alerts)} alerts were never sent"
    told = {(one["tenant"], one["cause"], one["where"]) for one in universe.sent}
    for key, link in universe.table.links.items():
        where = f"{key.step}/{key.source_id}"
        if link.intent is not None and (link.unsynced is None or link.unsynced.state is UnsyncedState.WAITING):
            yield f"{key.tenant} {where}: its intent is still open"
        if (unsynced := link.unsynced) is None or unsynced.state is UnsyncedState.DISMISSED:
            continue
        if unsynced.state is UnsyncedState.WAITING:
            yield f"{key.tenant} {where}: it waits, but nothing will try it again: {unsynced.reason}"
        elif (key.tenant, unsynced.cause, f"{key.step}/{unsynced.change.id}") not in told:
            yield f"{key.tenant} {where}: it is parked as {unsynced.cause}, and nobody was told"


def sides_agree(universe: Universe) -> Iterator[str]:
    """I3: each document shows what the mapping makes of its record, but where it is parked or a person changed it."""
    for tenant in TENANTS:
        (stored,) = universe.table.syncs(tenant)
        steps = {step.name: step for step in compiled(stored).steps}
        for step in steps.values():
            if step.pairs is None:
                yield from _forward(universe, tenant, step, steps)
            elif not universe.plan.zombies:  # the CRM has no versions that could refuse a write that comes too late
                yield from _back(universe, tenant, step)


def _forward(universe: Universe, tenant: str, step: CompiledStep, steps: dict[str, CompiledStep]) -> Iterator[str]:
    crm, books = universe.crm(tenant), universe.books(tenant)
    ids = {record.id for record in crm.all(step.from_kind)} | {
        key for kind, key in crm.touched if kind == step.from_kind
    }
    for source_id in sorted(ids):
        key = LinkKey(tenant, SYNC, step.name, source_id)
        link = universe.table.links.get(key) or Link(key)
        if link.unsynced is not None:
            continue
        where = f"{tenant} {step.name}/{source_id}"
        record = crm.records.get((step.from_kind, source_id))
        target = books.records.get((step.to_kind, link.target_id or ""))
        if record is None or not step.selects(record):
            if target is not None and not _is_withdrawn(books, key, target):
                yield f"{where}: the record is gone or left the sync, and {link.target_id} stands unsaid"
        elif link.target_id is None:
            if (step.from_kind, source_id) in crm.touched:
                yield f"{where}: it has no document, and nothing says why"
        elif target is not None and (ours := books.ours.get((step.to_kind, target.id))) is not None:
            if universe.plan.assumption in DOUBLES_POSSIBLE and _was_adopted(link.base or {}, ours):
                continue  # our own record, found too late: it was linked as it stood, as any that stands there already
            meant = _meant(universe, tenant, step, record, steps)
            # What a record showed when it was adopted stays until its source changes it.
            found = {path.partition(".")[0] for path in link.shown or {}} if step.two_way is None else set()
            meant = {name: value for name, value in meant.items() if name not in found}
            yield from _compare(where, meant, ours, plain(target.fields))


def _is_withdrawn(books: Any, key: LinkKey, target: Record) -> bool:
    """True if the document is voided, or a credit note of its total stands beside it."""
    if target.fields.get("state") == "voided":
        return True
    notes = books.created.get((Kind.CREDIT_NOTE, reference_of(replace(key, step=f"{key.step}.credit_note"))), ())
    living = [books.records[Kind.CREDIT_NOTE, one] for one in notes if (Kind.CREDIT_NOTE, one) in books.records]
    return any(Decimal(str(one.fields["total"])) == Decimal(str(target.fields["total"])) for one in living)


class _UnresolvedError(Exception):
    """A record names another that is not there any more: it was, when its document was written."""


def _meant(
    universe: Universe, tenant: str, step: CompiledStep, record: Record, steps: dict[str, CompiledStep]
) -> dict[str, Any]:
    """The document that the mapping makes of the record today; empty if a name in it leads nowhere any more."""

    def resolve(value: Any) -> Any:
        if isinstance(value, LinkTo):
            return _partner(universe, tenant, value, steps)
        if isinstance(value, dict):
            return {name: resolve(item) for name, item in value.items()}
        return [resolve(item) for item in value] if isinstance(value, list | tuple) else value

    try:
        return plain(resolve(step.evaluate(record).fields))
    except (MappingError, _UnresolvedError):
        return {}


def _partner(universe: Universe, tenant: str, link: LinkTo, steps: dict[str, CompiledStep]) -> str:
    source_id = link.value
    if link.by != "id":
        records = universe.crm(tenant).all(steps[link.step].from_kind)
        named = [one.id for one in records if fold(str(one.fields.get(link.by, ""))) == fold(link.value)]
        if len(named) != 1:
            raise _UnresolvedError
        (source_id,) = named
    partner = universe.table.links.get(LinkKey(tenant, SYNC, link.step, source_id))
    return (partner.target_id if partner is not None else None) or f"no {link.step} for {link.value}"


def _was_adopted(base: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """True if the link's base is not what we wrote last."""
    return any(not _says(ours.get(name), value) for name, value in base.items())


def _compare(where: str, meant: dict[str, Any], ours: Any, shown: Any) -> Iterator[str]:
    for name, value in meant.items():
        if not _says(shown.get(name), value) and not _says(ours.get(name), value):
            yield f"{where}: {name} is {shown.get(name)}, and should be {value}"


def _says(shown: Any, meant: Any) -> bool:
    """True if the books say what was meant, in whatever more words; books keep no price that does not make the amount.

    Of what was meant to be empty, nothing need be there.
    """
    if isinstance(meant, list):
        return (
            isinstance(shown, list)
            and len(shown) == len(meant)
            and all(_says(one, other) for one, other in zip(shown, meant, strict=True))
        )
    if isinstance(meant, dict):
        there = shown if isinstance(shown, dict) else {}
        without_price = "amount" in there and there.get("unit_price") is None
        names = [name for name in meant if not (without_price and name in ("quantity", "unit_price"))]
        return all(_says(there.get(name), meant[name]) for name in names)
    if meant in (None, ""):
        return shown in (None, "")
    if shown == meant:
        return True
    try:
        return Decimal(shown) == Decimal(meant)
    except (InvalidOperation, TypeError, ValueError):
        return False


def _back(universe: Universe, tenant: str, step: CompiledStep) -> Iterator[str]:
    crm, books = universe.crm(tenant), universe.books(tenant)
    made = {reference_of(key): link for key, link in universe.table.links.items() if key.tenant == tenant}
    for invoice in books.all(Kind.INVOICE):
        pair = made.get(str(invoice.fields.get("reference")))
        if pair is None or pair.target_id != invoice.id:
            continue
        key = LinkKey(tenant, SYNC, step.name, invoice.id)
        link = universe.table.links.get(key) or Link(key)
        deal = crm.records.get((Kind.DEAL, pair.key.source_id))
        if link.unsynced is not None or deal is None or not (step.selects(invoice) or link.target_id):
            continue
        custom = deal.fields["custom_fields"]
        for path, value in step.evaluate(invoice).fields.items():
            name = path.removeprefix("custom_fields.")
            if not _says(plain(custom.get(name)), plain(value)):
                yield f"{tenant} {step.name}/{invoice.id}: {name} is {custom.get(name)}, and should be {value}"


def lines_tie_out(universe: Universe) -> Iterator[str]:
    """I4: line by line and in total, an invoice shows its deal's amounts to the cent, or the deal is parked.

    Computed from the deal alone, not by the mapping. Documents that a person edited since are I5's business.
    """
    for tenant in TENANTS:
        crm, books = universe.crm(tenant), universe.books(tenant)
        for deal in crm.all(Kind.DEAL):
            link = universe.table.links.get(LinkKey(tenant, SYNC, "invoices", deal.id))
            if link is None or link.unsynced is not None or deal.fields["status"] != "won":
                continue
            invoice = books.records.get((Kind.INVOICE, link.target_id or ""))
            ours = books.ours.get((Kind.INVOICE, link.target_id or ""))
            if invoice is None or ours is None or universe.plan.assumption in DOUBLES_POSSIBLE:
                continue
            shown = plain(invoice.fields)
            if all(_says(shown.get(name), ours.get(name)) for name in ("lines", "total")):
                yield from _amounts_differ(f"{tenant} deal {deal.id}", deal, invoice)


def _amounts_differ(where: str, deal: Record, invoice: Record) -> Iterator[str]:
    sold: Any = deal.fields["lines"]
    billed: Any = invoice.fields["lines"]
    wanted, made = [cents(line["amount"]) for line in sold], [Decimal(line["amount"]) for line in billed]
    if wanted != made:
        yield f"{where}: its lines are {wanted}, and the invoice's {made}"
    total = Decimal(str(invoice.fields["total"]))
    if cents(deal.fields["amount"]) != total:
        yield f"{where}: it says {deal.fields['amount']}, and the invoice {total}"


def trail_tells_all(universe: Universe) -> Iterator[str]:
    """I7: the archive that a stream of several shards fills is a whole chain, and replaying it gives today's links.

    One seed of five pays for it: hashing is dear.
    """
    if universe.plan.seed % TRAIL_EVERY:
        return
    links = universe.table.links
    archive, tips = archived_roughly(links.told, Random(f"{universe.plan.seed}/trail"))
    yield from broken_trail(links, archive, tips)


def closed_stays_closed(universe: Universe) -> Iterator[str]:
    """I8: nothing of a closed period is written."""
    for provider in universe.providers.values():
        yield from provider.closed_writes


def nothing_overwritten(universe: Universe) -> Iterator[str]:
    """I5: what a person changed in the books after our write is never replaced."""
    for provider in universe.providers.values():
        yield from provider.overwritten


def tenants_apart(universe: Universe) -> Iterator[str]:
    """I6: nothing of one tenant stands at another."""
    for tenant in TENANTS:
        own = {reference_of(key) for key in universe.table.links if key.tenant == tenant}
        others = [f"of {other}" for other in TENANTS if other != tenant]
        for (owner, connection), provider in universe.providers.items():
            if owner != tenant:
                continue
            foreign = [name for name in provider.created if name[1] not in own]
            if foreign:
                yield f"{tenant}.{connection} holds the foreign {foreign[0]}"
            for record in provider.records.values():
                if any(other in json.dumps(plain(record.fields)) for other in others):
                    yield f"{tenant}.{connection} {record.kind} {record.id} speaks of another tenant"


def calls_bounded(universe: Universe) -> Iterator[str]:
    """I9: so many calls a change and run at most, and no change is tried without end."""
    each = REQUESTS_PER_CALL if universe.plan.real else 1
    for calls, changes in universe.busiest:
        if calls > each * (CALLS_AT_MOST + CALLS_PER_CHANGE * changes):
            yield f"{calls} calls for {changes} changes"
    if universe.processes is not None and _clocks_agree(universe):
        for address, road in universe.processes.roads.items():
            if road.exceeded:
                yield f"{address}: {len(road.exceeded)} calls beyond the limit, first {road.exceeded[0]}"
    if universe.attempts_max > ATTEMPTS_MAX:
        yield f"a change was tried {universe.attempts_max} times"


def _clocks_agree(universe: Universe) -> bool:
    """A budget is kept by the workers' own clocks, and by those that send when it was their turn."""
    wrong = [event for event in universe.runtime.history if event.fault is FaultKind.JUMP]
    late = [
        event
        for event in universe.runtime.history
        if event.point == "table.budget" and event.fault in (FaultKind.FREEZE_BEFORE, FaultKind.FREEZE_AFTER)
    ]
    return not (universe.plan.skew_seconds or wrong or late)


def deletions_known(universe: Universe) -> Iterator[str]:
    """Deleted deals, and deleted invoices, are parked, withdrawn or held back for a person within a day."""
    for where in universe.unknown:
        yield f"{where}: deleted a day ago, and nobody knows"


ORACLES: dict[str, Oracle] = {
    "I0": no_bug,
    "I1": one_document,
    "I2": all_ended,
    "I3": sides_agree,
    "I4": lines_tie_out,
    "I5": nothing_overwritten,
    "I6": tenants_apart,
    "I7": trail_tells_all,
    "I8": closed_stays_closed,
    "I9": calls_bounded,
    "D1": deletions_known,
}
