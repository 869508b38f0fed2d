"""Adopting: before a document is created, records that stand on the other side already are looked at.

One that bears our reference is ours. Of others, one sure one is linked as it stands; of several, or where it is
doubtful, a person says which one it is, that it is new, or that it never is one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import batched
from typing import TYPE_CHECKING, cast

from tieout.domain.changes import Origin
from tieout.domain.documents import Customer
from tieout.domain.effects import Match, MatchedBy, Operation
from tieout.domain.errors import ClaimedError, ConflictError
from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Record
from tieout.domain.reviews import Candidate, Choice, Review, ReviewKind
from tieout.engine.decisions import answer_to, without_answer
from tieout.engine.gate import leave_out
from tieout.engine.plan import Work, Write, is_voided
from tieout.engine.sentences import belongs_to_another, may_be_one_of, several_candidates
from tieout.engine.session import Session
from tieout.matching import Adopt, Ask, Scored, Thresholds, decide
from tieout.ports.connector import Connector

if TYPE_CHECKING:
    from tieout.engine.write import Pending

SUFFIX = " (Customer)"
NAME_MAX = 100
"""Characters that every provider with unique names takes."""

WHYS_MAX = 4
"""The reasons that the trail keeps of an adoption: those that weigh most."""

_LOOKS_FIRST = frozenset({Origin.RELINK, Origin.OPERATOR, Origin.APPROVED})
"""Who asks in this way looks for what bears our reference: it may stand there though the link does not know of it."""

ANSWERS_MAX = 1 + 10
"""A question about ten candidates can be answered with `never` ten times before it is another one."""


class Adoption:
    """Finds partners for what would be created."""

    def __init__(
        self,
        session: Session,
        *,
        claim: Callable[[Pending, str], bool],
        settle: Callable[[Work, Record, Connector], bool],
        release: Callable[[Work], bool],
    ) -> None:
        self._session, self._claim, self._settle, self._release = session, claim, settle, release

    def adopt(self, target: Connector, pending: Sequence[Pending]) -> None:
        """Creates whose record stands there end here; those that are left are new.

        Raises:
            ProviderError: If the other side cannot be searched now; the pieces of work that did not end have to wait.
        """
        new = [item for item in pending if _may_stand_there(item, target)]
        for chunk in batched(new, target.manifest.write_batch_max, strict=False):
            asked = [replace(item.write.effect, similar=_is_scored(item)) for item in chunk]
            found = target.find(asked)
            there = [match.record for matches in found.values() for match in matches]
            owned = owners_of(self._session, chunk[0].work.key, there)
            for item in chunk:
                self._one(item, found.get(item.write.effect.id, ()), owned, target)

    def _one(self, item: Pending, matches: Sequence[Match], owned: dict[str, LinkKey], target: Connector) -> None:
        never = item.work.link.never
        matches = [match for match in matches if match.record.id not in never]
        ours = standing([match for match in matches if match.by is MatchedBy.REFERENCE])
        named = [match for match in matches if match.by is MatchedBy.NATURAL_KEY]
        exact = ours or named
        if len(ours) == 1 and ours[0].unfinished:
            return  # the write completes it
        if len(exact) == 1 and owned.get(exact[0].record.id, item.work.key) != item.work.key:
            self._is_anothers(item.work, target)
        elif _is_scored(item) and not ours:
            free = [match.record for match in matches if owned.get(match.record.id, item.work.key) == item.work.key]
            self._score(item, free, owned, target)
        elif len(exact) > 1:
            error = several_candidates(item.work, exact)
            self._session.ends.parked(item.work, error, cause=f"several-{item.work.step.name}")
        elif exact:
            self._link(item, exact[0].record, owned, target, "it bears our reference" if ours else "same name")

    def _score(self, item: Pending, candidates: Sequence[Record], owned: dict[str, LinkKey], target: Connector) -> None:
        """Adopt the sure one, do as a person answered, or ask; a new one is left to be created."""
        work, document = item.work, cast("Customer", item.write.effect.document)
        thresholds = thresholds_of(work)
        for _ in range(ANSWERS_MAX):
            verdict = decide(document, candidates, thresholds, work.link.never)
            if not isinstance(verdict, Ask):
                if isinstance(verdict, Adopt):
                    self._link(item, verdict.scored.record, owned, target, why_of(verdict.scored))
                return
            review = Review(ReviewKind.MATCH, candidates=tuple(map(candidate_of, verdict.scored)))
            answer = answer_to(work.link, review)
            if answer is None:
                error = may_be_one_of(work, target, verdict.scored)
                self._session.ends.parked(work, error, cause=f"match-{work.step.name}", review=review)
                return
            if answer.choice is Choice.CREATE:
                return  # settling the new one uses the answer up
            chosen = next((one for one in verdict.scored if one.record.id == answer.target_id), None)
            if answer.choice is Choice.ACCEPT and chosen is not None:
                self._link(item, chosen.record, owned, target, f"{answer.by} said so; {why_of(chosen)}")
                return
            ruled_out = (answer.target_id,) if answer.choice is Choice.NEVER and chosen is not None else ()
            if not store(self._session, work, replace(without_answer(work.link), never=(*work.link.never, *ruled_out))):
                return

    def _link(self, item: Pending, record: Record, owned: dict[str, LinkKey], target: Connector, why: str) -> None:
        """Link the record as it stands; what it shows otherwise stays until the source changes it."""
        if item.links_to not in (None, record.id):
            reason = f"The plan says to link it to {item.links_to}; it would be {record.id} now."
            leave_out(self._session, item.work, reason)
            return
        if not self._claim(item, why):
            return
        owned[record.id] = item.work.key  # for those that come after it in the batch, however it ends
        try:
            if self._settle(item.work, record, target):
                self._session.ends.adopted(item.work)
        except ConflictError:
            if self._release(item.work):
                self._is_anothers(item.work, target)

    def _is_anothers(self, work: Work, target: Connector) -> None:
        error = belongs_to_another(work, target)
        self._session.ends.parked(work, error, cause=f"same-name-{work.step.name}")


def owners_of(session: Session, key: LinkKey, records: Sequence[Record]) -> dict[str, LinkKey]:
    """By id, those of the records that are the partner of a source record of this step: whose they are.

    One that bears another's reference is its own already while that one's write is not settled.
    """
    if not records:
        return {}
    links, place = session.links, (key.tenant, key.sync, key.step)
    ids = dict.fromkeys(record.id for record in records)
    references = {str(record.fields["reference"]): record.id for record in records if record.fields.get("reference")}
    owners = [*links.by_target(*place, list(ids)).values()]
    unsettled: dict[str, LinkKey] = {}
    if references:
        by_reference = links.by_reference(*place, list(references))
        owners += by_reference.values()
        unsettled = {
            references[name]: link.key
            for name, link in by_reference.items()
            if link.target_id is None and link.intent is not None
        }
    settled = {link.target_id: link.key for link in owners if link.target_id in ids and not link.follows}
    return unsettled | settled


def standing(matches: Sequence[Match]) -> list[Match]:
    """The matches that were not voided; if all were, one of them, as it does not matter which."""
    return [match for match in matches if not is_voided(match.record)] or list(matches[:1])


def store(session: Session, work: Work, link: Link) -> bool:
    """True if the link was stored beside its write; if somebody else changed it, the work waits."""
    try:
        moved = link.target_id != work.link.target_id and not link.follows
        work.link = session.links.store(link, pointer=moved)
    except ClaimedError as error:
        session.ends.waits(work, error)
        return False
    return True


def thresholds_of(work: Work) -> Thresholds:
    """What the sync says."""
    return Thresholds(adopt_from=work.step.match.adopt_from, review_from=work.step.match.review_from)


def candidate_of(scored: Scored) -> Candidate:
    """The candidate as a person is shown it."""
    name = str(scored.record.fields.get("name") or scored.record.id)
    return Candidate(scored.record.id, name, scored.score, tuple(reason.says for reason in scored.reasons))


def why_of(scored: Scored) -> str:
    """What speaks most for it, and its score, in a few words."""
    reasons = [reason.says for reason in scored.reasons if reason.weight > 0][:WHYS_MAX]
    return f"{', '.join(reasons)} (score {scored.score})"


def may_get_suffix(work: Work, write: Write) -> bool:
    """True if the sync says so, and the name has none yet."""
    return (
        work.step.match.shared_name == "suffix"
        and isinstance(write.effect.document, Customer)
        and "name" not in (write.shown or {})
    )


def with_suffix(write: Write) -> Write:
    """The write with ` (Customer)` after the name, which the source does not know of and does not write again."""
    document = cast("Customer", write.effect.document)
    name = document.name[: NAME_MAX - len(SUFFIX)].rstrip() + SUFFIX
    return replace(
        write,
        effect=replace(write.effect, document=document.model_copy(update={"name": name})),
        document={**write.document, "name": name},
        agreed=write.document if write.agreed is None else write.agreed,
        shown={**(write.shown or {}), "name": name},
    )


def _may_stand_there(item: Pending, target: Connector) -> bool:
    kind, manifest = item.write.effect.kind, target.manifest
    relinks = item.work.change.origin in _LOOKS_FIRST and kind in manifest.keeps_reference
    creates = item.write.effect.operation is Operation.CREATE
    return creates and (relinks or kind in manifest.natural_key)


def _is_scored(item: Pending) -> bool:
    return isinstance(item.write.effect.document, Customer)
