"""Oracles: what has to hold once nothing moves any more. Each looks at the worlds, not at the engine's word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any

from tests.engine.simulation.plans import TENANTS, Assumption, cents
from tests.engine.simulation.providers import is_draft
from tests.engine.simulation.runtime import FaultKind
from tests.engine.simulation.stores import reference_of
from tests.engine.simulation.universe import SYNC, Universe
from tests.engine.trail import archived_roughly, broken_trail
from tieout.domain.changes import UnsyncedState
from tieout.domain.documents import Invoice
from tieout.domain.errors import MappingError
from tieout.domain.links import Link, LinkKey, Withdrawal
from tieout.domain.plans import CREDITING
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.engine.collect import compiled, fold
from tieout.engine.merge import at
from tieout.engine.plan import plain
from tieout.mapping import ABSENT, CompiledStep, LinkTo

CALLS_AT_MOST = 8
CALLS_PER_CHANGE = 6
ITEMS_MAX = 3  # of one deal
REQUESTS_PER_CALL = 3  # of the real connectors: a sign-in and, of reads, a second and a third try
ATTEMPTS_MAX = 40
TRAIL_EVERY = 5
DOUBLES_POSSIBLE = frozenset(set(Assumption) - {Assumption.BOUNDED})

type Oracle = Callable[[Universe], Iterator[str]]


def no_bug(universe: Universe) -> Iterator[str]:
    """Nothing but the errors of the contracts rises."""
    yield from universe.runtime.bugs


def one_document(universe: Universe) -> Iterator[str]:
    """I1: one living document for each source record and reference; none for what was withdrawn, and not twice so."""
    yield from _one_owner(universe)
    if universe.plan.assumption in DOUBLES_POSSIBLE:
        return
    yield from doubles(universe)
    yield from _withdrawn_once(universe)


def _one_owner(universe: Universe) -> Iterator[str]:
    """No record is the partner of two source records, but where one was merged into another's."""
    owners: dict[tuple[str, str, str], str] = {}
    for key, link in universe.table.links.items():
        if link.target_id is None or link.follows:
            continue
        other = owners.setdefault((key.tenant, key.step, link.target_id), key.source_id)
        if other != key.source_id:
            yield f"{key.tenant} {key.step}: {link.target_id} is the partner of {other} and of {key.source_id}"


def _withdrawn_once(universe: Universe) -> Iterator[str]:
    """What a link calls withdrawn by us is voided or credited in full, and what is credited is called so."""
    for key, link in universe.table.links.items():
        if key.step != "invoices" or link.target_id is None:
            continue
        books, where = universe.books(key.tenant), f"{key.tenant} {key.step}/{key.source_id}"
        invoice = books.records.get((Kind.INVOICE, link.target_id))
        notes = _credit_notes(books, key)
        ours = link.withdrawn not in (None, Withdrawal.TARGET_GONE)
        if notes and not ours:
            yield f"{where}: credited by {notes[0].id}, and nothing says that it is withdrawn"
        if invoice is None or not ours or link.unsynced is not None:
            continue
        voided_by_us = any(
            one.is_withdrawal and one.effect.target_id == invoice.id for one in universe.watches[key.tenant].writes
        )
        if notes and voided_by_us:
            yield f"{where}: {invoice.id} was voided, and credited too"
        if not _is_withdrawn(universe, key, invoice) and not _waits_for_its_credit_note(universe, link):
            yield f"{where}: it is withdrawn, and {invoice.id} lives"


def _waits_for_its_credit_note(universe: Universe, link: Link) -> bool:
    """True if its document is to be credited, and the credit note's own link says why that is not done yet."""
    credit = universe.table.links.get(replace(link.key, step=f"{link.key.step}{CREDITING}"))
    is_ours = link.withdrawn not in (None, Withdrawal.TARGET_GONE)
    return is_ours and credit is not None and credit.target_id is None and credit.unsynced is not None


def _credit_notes(books: Any, key: LinkKey) -> list[Record]:
    notes = books.created.get((Kind.CREDIT_NOTE, reference_of(replace(key, step=f"{key.step}{CREDITING}"))), ())
    return [books.records[Kind.CREDIT_NOTE, one] for one in notes if (Kind.CREDIT_NOTE, one) in books.records]


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
    if universe.plan.rotation is not None:
        yield from _half_way(universe)


def _half_way(universe: Universe) -> Iterator[str]:
    """No document of ours is left unposted, but where a person was told why."""
    links = {reference_of(key): link for key, link in universe.table.links.items()}
    for (tenant, _), provider in universe.providers.items():
        for (kind, reference), ids in provider.created.items():
            drafts = [one for one in ids if is_draft(provider.records.get((kind, one)))]
            link = links.get(reference)
            if drafts and (link is None or link.unsynced is None):
                yield f"{tenant}: the {kind} {drafts[0]} of {reference} was made and never posted, and nobody was told"


def sides_agree(universe: Universe) -> Iterator[str]:
    """I3: each document shows what the mapping makes of its record, but where it is parked or a person changed it."""
    for tenant in TENANTS:
        (stored,) = universe.table.syncs(tenant)
        steps = {step.name: step for step in compiled(stored).steps}
        for step in steps.values():
            # Without versions nothing refuses what a worker writes that should have been dead.
            if universe.plan.zombies and not (step.pairs is None and _have_versions(universe, tenant)):
                continue
            yield from (
                _forward(universe, tenant, step, steps) if step.pairs is None else _back(universe, tenant, step)
            )


def _have_versions(universe: Universe, tenant: str) -> bool:
    """True if the books refuse an update of what was changed since it was read."""
    return universe.plan.rotation is None or universe.books(tenant).manifest.versions


def _forward(universe: Universe, tenant: str, step: CompiledStep, steps: dict[str, CompiledStep]) -> Iterator[str]:
    crm, books = universe.crm(tenant), universe.books(tenant)
    ids = {record.id for record in crm.all(step.from_kind)} | {
        key for kind, key in crm.touched if kind == step.from_kind
    }
    for source_id in sorted(ids):
        key = LinkKey(tenant, SYNC, step.name, source_id)
        link = universe.table.links.get(key) or Link(key)
        where = f"{tenant} {step.name}/{source_id}"
        record = crm.records.get((step.from_kind, source_id))
        target = books.records.get((step.to_kind, link.target_id or ""))
        two_way = step.two_way is not None and record is not None and target is not None and not link.follows
        if two_way and link.withdrawn is None and (link.unsynced is None or link.unsynced.review is not None):
            meant = _meant(universe, tenant, step, record, steps)
            yield from (f"{where}: {said}" for said in _both_agree(universe, step, link, meant, (record, target)))
        if link.unsynced is not None or _waits_for_its_credit_note(universe, link):
            continue
        if record is None or not step.selects(record):
            if target is not None and not _is_withdrawn(universe, key, target):
                yield f"{where}: the record is gone or left the sync, and {link.target_id} stands unsaid"
        elif link.withdrawn is Withdrawal.UNDONE or link.plan.startswith("undo-"):
            continue  # a person took it back: until the record or the mapping changes, the former values stand
        elif link.withdrawn is not None:
            yield f"{where}: its document is withdrawn, the record asks for it, and nobody was told"
        elif link.target_id is None:
            if (step.from_kind, source_id) in crm.touched:
                yield f"{where}: it has no document, and nothing says why"
        elif (
            not two_way
            and not link.follows
            and target is not None
            and (ours := books.ours.get((step.to_kind, target.id))) is not None
        ):
            if universe.plan.assumption in DOUBLES_POSSIBLE and _was_adopted(link.base or {}, ours):
                continue  # our own record, found too late: it was linked as it stood, as any that stands there already
            meant = _meant(universe, tenant, step, record, steps)
            made = (step.to_kind, reference_of(key))
            meant = _without_found(meant, step, link, was_created=target.id in books.created.get(made, ()))
            meant = _without_merged(meant, universe, step, link, record)
            yield from _compare(where, meant, ours, plain(target.fields))


def _without_found(meant: dict[str, Any], step: CompiledStep, link: Link, *, was_created: bool) -> dict[str, Any]:
    """What an adopted record showed stays until its source changes it, and where that says nothing."""
    found = {path.partition(".")[0] for path in link.shown or {}} if step.two_way is None else set()
    return {name: value for name, value in meant.items() if name not in found and (was_created or value is not None)}


def _without_merged(
    meant: dict[str, Any], universe: Universe, step: CompiledStep, link: Link, record: Record
) -> dict[str, Any]:
    """A person said, after the invoice was written or a merge in the books moved it, that another is the company's.

    That answer is not about what stands there already: its record's next change, or a backfill, has it looked at.
    """
    tenant = link.key.tenant
    watch = universe.watches[tenant]
    if link.settled_at is None or step.to_kind is not Kind.INVOICE:
        return meant
    written_at = (link.settled_at - universe.runtime.start_at).total_seconds()
    stands_since = max(written_at, watch.moved.get(link.target_id or "", 0.0))
    named: LinkTo = step.evaluate(record).fields["customer"]
    company = LinkKey(tenant, SYNC, named.step, named.value)
    said_at, linked_at = watch.named_at.get(company, 0.0), watch.linked_at.get(company, 0.0)
    asked_at = max(universe.crm(tenant).touched[record.kind, record.id], universe.backfilled_at.get(tenant, 0.0))
    is_ours_to_say = asked_at >= linked_at or not stands_since < said_at <= linked_at
    return meant if is_ours_to_say else {name: value for name, value in meant.items() if name != "customer"}


def _both_agree(
    universe: Universe, step: CompiledStep, link: Link, meant: dict[str, Any], both: tuple[Record, Record]
) -> Iterator[str]:
    """Both sides of a two-way step agree on each field, or a person is asked about just those on which they do not."""
    record, shown = both[0], plain(both[1].fields)
    review = link.unsynced.review if link.unsynced is not None else None
    asked = {conflict.field for conflict in review.conflicts} if review is not None else set()
    manifest = universe.crm(link.key.tenant).manifest
    for path, way in step.ways.items():
        here, there = at(meant, path), at(shown, path)
        if here is ABSENT or path in asked or _says(there, here) or (here in (None, "") and there is ABSENT):
            continue
        stays = way.place(record, lambda one: manifest.takes(step.from_kind, one)) is None
        is_known = path in (link.shown or {}) and (link.shown or {})[path] == (None if there is ABSENT else there)
        if stays or ((is_known or there is ABSENT) and _has_own_form(universe, link)):
            continue
        yield f"{path} is {here} here and {there} there, and nobody is asked"


def _has_own_form(universe: Universe, link: Link) -> bool:
    """True if the books may show something else though nobody edited: the customer was adopted, or a run taken back."""
    if universe.plan.assumption in DOUBLES_POSSIBLE:
        return True  # it may be our own, found too late
    books = universe.books(link.key.tenant)
    adopted = link.target_id not in books.created.get((Kind.CUSTOMER, reference_of(link.key)), ())
    return adopted or any(plan.undoes for plan in universe.plans.plans(link.key.tenant))


def _is_withdrawn(universe: Universe, key: LinkKey, target: Record) -> bool:
    """True if the document is voided, or a credit note of the total that we wrote last stands beside it."""
    if target.fields.get("state") == "voided":
        return True
    books = universe.books(key.tenant)
    total = _total_before_its_credit_note(universe, key, target)
    if total is None:
        total = Decimal(str(books.ours.get((target.kind, target.id), target.fields)["total"]))
    return any(Decimal(str(one.fields["total"])) == total for one in _credit_notes(books, key))


def _total_before_its_credit_note(universe: Universe, key: LinkKey, target: Record) -> Decimal | None:
    """What we had written last when it was credited, if since then only workers wrote it that should have been dead.

    Crediting leaves the invoice's version as it is, so that the books do not refuse them.
    """
    writes = universe.watches[key.tenant].writes
    reference = reference_of(replace(key, step=f"{key.step}{CREDITING}"))
    credits_ = [one for one in writes if one.effect.reference == reference]
    mine = [one for one in writes if (one.effect.kind, one.effect.reference) == (target.kind, reference_of(key))]
    later = [one for one in mine if credits_ and one.at > credits_[-1].at]
    if len(later) == len(mine) or not later or not all(one.outlived for one in later):
        return None
    document = mine[-len(later) - 1].effect.document
    return document.expected_total() if isinstance(document, Invoice) else None


class _UnresolvedError(Exception):
    """A record names another that is not there any more: it was, when its document was written."""


def _meant(
    universe: Universe, tenant: str, step: CompiledStep, record: Record, steps: dict[str, CompiledStep]
) -> dict[str, Any]:
    """The document that the mapping makes of the record today; empty if a name in it leads nowhere any more."""

    def resolve(value: Any) -> Any:
        if isinstance(value, LinkTo):
            return _partner(universe, tenant, value, steps, asked_at)
        if isinstance(value, dict):
            return {name: resolve(item) for name, item in value.items()}
        return [resolve(item) for item in value] if isinstance(value, list | tuple) else value

    asked_at = max(
        universe.crm(tenant).touched.get((record.kind, record.id), 0.0), universe.backfilled_at.get(tenant, 0.0)
    )
    try:
        return plain(resolve(step.evaluate(record).fields))
    except (MappingError, _UnresolvedError):
        return {}


def _partner(universe: Universe, tenant: str, link: LinkTo, steps: dict[str, CompiledStep], asked_at: float) -> str:
    source_id = link.value
    if link.by != "id":
        records = universe.crm(tenant).all(steps[link.step].from_kind)
        named = [one.id for one in records if fold(str(one.fields.get(link.by, ""))) == fold(link.value)]
        if len(named) != 1:
            raise _UnresolvedError
        (source_id,) = named
        if universe.renamed_at.get((tenant, source_id), 0.0) > asked_at:
            raise _UnresolvedError  # another had the name when the document was written
    partner = universe.table.links.get(LinkKey(tenant, SYNC, link.step, source_id))
    if partner is not None and not _can_be_named(universe, partner, steps[link.step].to_kind):
        raise _UnresolvedError
    return (partner.target_id if partner is not None else None) or f"no {link.step} for {link.value}"


def _can_be_named(universe: Universe, partner: Link, kind: Kind) -> bool:
    """False for what is gone, as a person knows, and for what was merged: its next write finds that."""
    asked = partner.unsynced is not None and partner.unsynced.cause.startswith("target-gone-")
    record = universe.books(partner.key.tenant).records.get((kind, partner.target_id or ""))
    merged = record is not None and record.fields.get("active") is False
    return not asked and not merged and partner.withdrawn is None


def _was_adopted(base: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """True if the link's base is not what we wrote last."""
    return any(not _says(ours.get(name), value) for name, value in base.items())


def _compare(where: str, meant: dict[str, Any], ours: Any, shown: Any) -> Iterator[str]:
    for name, value in meant.items():
        if not _says(shown.get(name), value) and not _says(ours.get(name), value):
            yield f"{where}: {name} is {shown.get(name)}, and should be {value}"


def _price_says_little(line: Mapping[str, Any]) -> bool:
    """True for a line whose quantity and price do not make its amount: then only the amount counts."""
    quantity, price, amount = (line.get(name) for name in ("quantity", "unit_price", "amount"))
    return None not in (quantity, price, amount) and cents(Decimal(quantity) * Decimal(price)) != cents(Decimal(amount))


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
        without_price = "amount" in there and (there.get("unit_price") is None or _price_says_little(meant))
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
            if link.withdrawn is not None or link.plan.startswith("undo-"):
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


def within_limits(universe: Universe) -> Iterator[str]:
    """I8: nothing of a closed period is written, no more than caps allow, and by a stored plan only what it says."""
    for provider in universe.providers.values():
        yield from provider.closed_writes
    yield from universe.unplanned
    policies = universe.plan.policies
    for tenant, watch in universe.watches.items():
        if policies.withdrawals is not None:
            yield from (f"{tenant}: {said}" for said in watch.beyond_cap(policies.withdrawals))
        if policies.rewrites is not None:
            versions = universe.versions[tenant]
            yield from (f"{tenant}: {said}" for said in watch.beyond_rewrites(policies.rewrites, versions))


def nothing_overwritten(universe: Universe) -> Iterator[str]:
    """I5: what a person changed in the books after our write is never replaced; in a two-way step, on neither side.

    There a policy, or a person's answer, may say that the other side counts.
    """
    for provider in universe.providers.values():
        yield from provider.overwritten
    for watch in universe.watches.values():
        late = universe.plan.zombies  # the CRM has no versions that could refuse a write that comes too late
        yield from (said for side, said in watch.overwritten if not late or side is Side.TARGET)


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
    per_change = _calls_per_change(universe)
    for calls, changes in universe.busiest:
        if calls > each * (CALLS_AT_MOST + per_change * changes):
            yield f"{calls} calls for {changes} changes"
    if universe.processes is not None and _clocks_agree(universe):
        for address, road in universe.processes.roads.items():
            if road.exceeded:
                yield f"{address}: {len(road.exceeded)} calls beyond the limit, first {road.exceeded[0]}"
    if universe.plan.rotation is not None and universe.plan.rotation.limited and _clocks_agree(universe):
        for provider in universe.providers.values():
            allowed = provider.allowance
            beyond = allowed.exceeded if _is_held_up(universe) else [*allowed.exceeded, *allowed.crowded]
            if beyond:
                yield f"{len(beyond)} calls beyond the limit, first {beyond[0]}"
    if universe.attempts_max > ATTEMPTS_MAX:
        yield f"a change was tried {universe.attempts_max} times"


def _calls_per_change(universe: Universe) -> int:
    """A look and a write for each batch of a deal's customer, its items and its invoice, which may be posted, too."""
    if universe.plan.rotation is None:
        return CALLS_PER_CHANGE
    batches = -(-ITEMS_MAX // universe.books(TENANTS[0]).manifest.write_batch_max)
    return 2 * (1 + batches + 1) + universe.plan.rotation.in_steps


def _clocks_agree(universe: Universe) -> bool:
    """A budget is kept by the workers' own clocks, and by those that send when it was their turn."""
    wrong = [event for event in universe.runtime.history if event.fault is FaultKind.JUMP]
    late = [
        event
        for event in universe.runtime.history
        if event.point == "table.budget" and event.fault in (FaultKind.FREEZE_BEFORE, FaultKind.FREEZE_AFTER)
    ]
    return not (universe.plan.skew_seconds or wrong or late)


def _is_held_up(universe: Universe) -> bool:
    """A call that is frozen on its way is under way for longer than a call takes."""
    frozen = (FaultKind.FREEZE_BEFORE, FaultKind.FREEZE_AFTER)
    return any(one.fault in frozen and one.point.startswith(("crm.", "books.")) for one in universe.runtime.history)


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
    "I8": within_limits,
    "I9": calls_bounded,
    "D1": deletions_known,
}
