"""Recovering: writes whose answer was lost, or whose worker died, are looked up before anything else is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import batched
from typing import Any

from tieout.domain.effects import Effect, Match, MatchedBy, Operation
from tieout.domain.errors import ClaimedError, ConflictError, ProviderError, SettingsError, UncertainError
from tieout.domain.links import Intent, LinkKey
from tieout.domain.records import Record
from tieout.domain.reviews import Side
from tieout.engine.adopt import owners_of, standing
from tieout.engine.collect import connection_of, kind_of, read_all
from tieout.engine.ends import HALF_WAY
from tieout.engine.plan import Work, difference, document_of, has_parts_beside, whole_document
from tieout.engine.sentences import left_half_way, several_candidates
from tieout.engine.session import Session
from tieout.engine.write import Writer
from tieout.ports.connector import Connector


class Recovery:
    """Resolves open intents; work that goes on has none afterwards."""

    def __init__(self, session: Session, writer: Writer) -> None:
        self._session, self._writer = session, writer

    def recover(self, works: Sequence[Work]) -> None:
        """Each work with an open intent is settled, free to be written again, or ended: waiting or parked."""
        now = self._session.clock.now()
        lost: dict[tuple[str, Side], list[Work]] = defaultdict(list)
        for work in works:
            intent = work.link.intent
            if intent is None:
                continue
            if intent.held_until > now:
                # Most likely it is done in a moment; if its worker died, we come again until it may be taken over.
                self._session.ends.waits(work, ClaimedError("Another worker is writing it."))
            else:
                lost[work.step.name, intent.side].append(work)
        for (_, side), some in lost.items():
            self._look_up(some, side)

    def _look_up(self, works: Sequence[Work], side: Side) -> None:
        written = connection_of(works[0], side)
        try:
            target = self._session.connector(written)
            for chunk in batched(works, target.manifest.write_batch_max, strict=False):
                found = self._free(_written(target, chunk))
                for work in chunk:
                    self._resolve(work, found.get(work.key, []), target)
        except (ProviderError, SettingsError) as error:
            self._session.failed(written, error)
            for work in works:
                if not work.ended and work.link.intent is not None:
                    self._session.ends.waits(work, error)

    def _free(self, found: dict[LinkKey, list[Match]]) -> dict[LinkKey, list[Match]]:
        """What was found, but for records that only have the name and are another source record's partner."""
        named = {
            match.record.id: match.record
            for matches in found.values()
            for match in matches
            if match.by is MatchedBy.NATURAL_KEY
        }
        if not named:
            return found
        owned = owners_of(self._session, next(iter(found)), list(named.values()))
        return {
            key: [m for m in matches if m.by is MatchedBy.REFERENCE or owned.get(m.record.id, key) == key]
            for key, matches in found.items()
        }

    def _resolve(self, work: Work, matches: list[Match], target: Connector) -> None:
        """Settle what was found; look again later, or let it be written again, what was not."""
        intent = work.link.intent
        if intent is None:
            raise RuntimeError("only open intents are resolved")
        candidates = standing([match for match in matches if match.by is MatchedBy.REFERENCE] or matches)
        try:
            work.link = self._session.links.keep_intent(work.link, replace(intent, worker=self._session.worker))
            if len(candidates) == 1 and candidates[0].unfinished:
                self._looked_in_vain(work, intent)  # its last step may still be done
                if work.link.intent is None and intent.withdrawal is None and not work.takes_part:  # nothing will do it
                    error = left_half_way(work, target, candidates[0].record)
                    self._session.ends.parked(work, error, cause=f"{HALF_WAY}-{work.step.name}")
            elif len(candidates) == 1:
                record = candidates[0].record
                # What was only to be linked was not written, though it bears our reference.
                found = bool(intent.adopts) or candidates[0].by is not MatchedBy.REFERENCE
                changed = not intent.adopts and _is_changed(work, record, intent)
                if self._writer.settle(work, record, target, changed=changed, found=found):
                    self._session.ends.recovered(intent.operation)
                    document = document_of(kind_of(work, intent.side), _whole(intent))
                    self._writer.compare_totals(work, document, record, target)
                    work.ended = False  # the source may have changed since: it is planned again
            elif candidates:
                error = several_candidates(work, candidates)
                self._session.ends.parked(work, error, cause=f"several-{work.step.name}")
            else:
                self._looked_in_vain(work, intent)
        except ConflictError:  # it only has the name, and another worker linked it just now
            self._looked_in_vain(work, intent)
        except ClaimedError as error:
            self._session.ends.waits(work, error)

    def _looked_in_vain(self, work: Work, intent: Intent) -> None:
        """The work waits for another look, or may be written again."""
        if intent.looks + 1 < self._session.policy.looks:  # done later, it would double or replace something
            self._writer.keep(work, intent, looks=intent.looks + 1)
            lost = UncertainError("The answer to its write was lost; it is looked up again before it is written.")
            self._session.ends.waits(work, lost, at_least=self._session.policy.look_seconds)
            return
        try:
            work.link = self._session.links.release(work.link, worker=self._session.worker)
        except ClaimedError as error:
            self._session.ends.waits(work, error)


def _is_changed(work: Work, record: Record, intent: Intent) -> bool:
    """True if somebody wrote the record since; a two-way step knows by itself what they did beside our write."""
    if work.step.two_way is not None:
        return difference(record, intent.document) is not None
    whole = whole_document(intent.document, intent.agreed, intent.shown)
    return difference(record, whole) is not None or has_parts_beside(whole, record.fields)


def _written(target: Connector, works: Sequence[Work]) -> dict[LinkKey, list[Match]]:
    """By key, what stands at the provider of the writes that were meant."""
    effects = {work.key: _intended(work) for work in works}
    creates = [effect for effect in effects.values() if effect.operation is Operation.CREATE]
    found = target.find(creates) if creates else {}
    matches = {key: list(found.get(effect.id, ())) for key, effect in effects.items()}
    updates = {key: effect for key, effect in effects.items() if effect.operation is Operation.UPDATE}
    if updates:
        kind = next(iter(updates.values())).kind
        today = read_all(target, kind, list(dict.fromkeys(effect.target_id or "" for effect in updates.values())))
        for work in works:
            record = today.get(updates[work.key].target_id or "") if work.key in updates else None
            meant = work.link.intent.document if work.link.intent is not None else {}
            if record is not None and difference(record, meant) is None:
                matches[work.key] = [Match(record, MatchedBy.REFERENCE)]
    return matches


def _intended(work: Work) -> Effect:
    """The effect that the open intent stands for."""
    intent = work.link.intent
    if intent is None:
        raise RuntimeError("only open intents are looked up")
    return Effect(
        id=intent.effect_id,
        operation=intent.operation,
        kind=kind_of(work, intent.side),
        document=document_of(kind_of(work, intent.side), _whole(intent)),
        reference=work.link.reference,
        target_id=intent.target_id,
    )


def _whole(intent: Intent) -> Mapping[str, Any]:
    """The fields that were to be written, with those that the document needs and that were left as they stand."""
    left = intent.agreed if intent.agreed is not None and intent.side is Side.TARGET else {}
    return {**left, **intent.document}
