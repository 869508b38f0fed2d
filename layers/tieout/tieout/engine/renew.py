"""Renewing: a person allows a new document in place of one that was withdrawn.

Nothing is written to either side. The link forgets its partner and rises by one generation, which has a reference of
its own; the next plan of the sync, or the next change of the record, writes the document like any other. One
conditional write of one item does it, so that two people, or a worker in between, make one new document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from tieout.domain.changes import UnsyncedState
from tieout.domain.errors import ClaimedError, RejectedError, SettingsError, TieoutError
from tieout.domain.links import Link, LinkKey
from tieout.domain.plans import PlannedWrite, StoredPlan
from tieout.domain.records import Kind, Record
from tieout.engine.backfill import sync_of, target_of
from tieout.engine.collect import Connect, read_all
from tieout.engine.gate import credit_key
from tieout.engine.plan import is_voided
from tieout.engine.preview import amount_of
from tieout.mapping import CREDIT_NOTE, CompiledStep, CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector
from tieout.ports.state import ConfigStore, LinkStore


@dataclass(frozen=True, slots=True)
class Former:
    """A record whose document is to be renewed.

    Attributes:
        link: As stored now; an empty one if nothing is.
        name: What a person calls the document that was withdrawn.
        amount, currency: The document's; None and empty for what has no amount.
        refused: Why it may not be renewed; None if it may.
    """

    link: Link
    name: str
    amount: Decimal | None = None
    currency: str = ""
    refused: TieoutError | None = None

    @property
    def where(self) -> str:
        """How a person names the record in a command: `sync/step/source id`."""
        key = self.link.key
        return f"{key.sync}/{key.step}/{key.source_id}"


class Renew:
    """Looks at what was withdrawn, and lets new documents be written in its place."""

    def __init__(self, *, config: ConfigStore, links: LinkStore, connect: Connect, clock: Clock) -> None:
        self._config, self._links, self._connect, self._clock = config, links, connect, clock

    def withdrawn_by(self, plan: StoredPlan, writes: Sequence[PlannedWrite]) -> list[LinkKey]:
        """The records whose documents this undo withdrew, and that nothing happened to since.

        Args:
            plan: One that takes another back.
            writes: All of its writes.
        """
        taken = [plan.key_of(one.step.removesuffix(CREDIT_NOTE), one.source_id) for one in writes if one.takes_back]
        keys = list(dict.fromkeys(taken))
        links = self._links.get(keys)
        # A document that was credited, or gone already, was written last by the run that is taken back.
        theirs = (plan.id, plan.undoes)
        return [key for key in keys if key in links and links[key].withdrawn is not None and links[key].plan in theirs]

    def look(self, keys: Sequence[LinkKey]) -> list[Former]:
        """Each record with its former document, as both sides are now.

        Args:
            keys: Of one tenant and sync.

        Raises:
            SettingsError: If there is no such sync or step, or the connection is not set up.
            ProviderError: If the other side cannot be read now.
        """
        if not keys:
            return []
        sync = sync_of(self._config, keys[0].tenant, keys[0].sync)
        target = target_of(self._config, self._connect, self._clock, keys[0].tenant, sync)
        by_step: dict[str, list[LinkKey]] = defaultdict(list)
        for key in keys:
            by_step[key.step].append(key)
        return [
            former
            for name, some in by_step.items()
            for former in self._look(_step(sync, name, some[0].tenant), some, target)
        ]

    def renew(self, formers: Sequence[Former], *, by: str) -> list[Former]:
        """The same records; those that are not refused may get a new document now. They are looked at once more before.

        Args:
            formers: Of one sync, as a person was shown them.
            by: Who allows it.

        Raises:
            ProviderError: If the other side cannot be read now; nothing was changed.
        """
        shown = {former.link.key: former.link.revision for former in formers if former.refused is None}
        done = []
        for former in self.look(list(shown)):
            if former.refused is None and former.link.revision != shown[former.link.key]:
                done.append(replace(former, refused=_changed(former.link)))
            else:
                done.append(former if former.refused is not None else self._renew(former, by))
        return done + [former for former in formers if former.refused is not None]

    def _renew(self, former: Former, by: str) -> Former:
        link = former.link
        try:
            self._links.store(link.renewed(by=by))
        except ClaimedError:
            return replace(former, refused=_changed(link))
        if link.unsynced is not None and link.unsynced.state is not UnsyncedState.WAITING:
            self._links.set_unsynced(link.key, None, instead_of=link.unsynced)  # what a person was asked is answered
        return former

    def _look(self, step: CompiledStep, keys: Sequence[LinkKey], target: Connector) -> list[Former]:
        links = self._links.get(keys)
        # Read after the links: a credit note's link is stored before its invoice's says `withdrawn`.
        credits_ = self._links.get([credit_key(key) for key in keys]) if step.to_kind is Kind.INVOICE else {}
        there = self._documents(step.to_kind, [link for link in links.values() if link.withdrawn is not None], target)
        notes = self._documents(Kind.CREDIT_NOTE, list(credits_.values()), target)
        formers = []
        for key in keys:
            link, credit = links.get(key, Link(key)), credits_.get(credit_key(key))
            former = _former(step, link)
            refused = _refused(former, target, there.get(link.target_id or ""), credit, notes)
            formers.append(replace(former, refused=refused))
        return formers

    def _documents(self, kind: Kind, links: Sequence[Link], target: Connector) -> dict[str, Record]:
        ids = [link.target_id for link in links if link.target_id is not None]
        return read_all(target, kind, ids) if ids else {}


def _step(sync: CompiledSync, name: str, tenant: str) -> CompiledStep:
    steps = {step.name: step for step in sync.steps if step.reads == "source"}
    if name not in steps:
        raise SettingsError(
            f"The sync {sync.name} has no step `{name}` that writes documents to {sync.target}.",
            next_step=f"It has: {', '.join(steps)}. `tieout mapping show {sync.name} --tenant {tenant}` shows them.",
        )
    return steps[name]


def _former(step: CompiledStep, link: Link) -> Former:
    base = link.base or {}
    called = base.get("number") or base.get("name") or link.target_id or ""
    name = f"{step.to_kind.value.replace('_', ' ')} {called}".rstrip()
    amount = amount_of(base)
    return Former(link, name, amount, str(base.get("currency") or "") if amount is not None else "")


def _refused(
    former: Former, target: Connector, document: Record | None, credit: Link | None, notes: Mapping[str, Record]
) -> TieoutError | None:
    """Why the record may not get a new document: its former one was not withdrawn, or lives."""
    link, title = former.link, target.manifest.title
    if link.intent is not None or (credit is not None and credit.intent is not None):
        return ClaimedError(
            f"The {former.name} of {former.where} is being written.", next_step="Try again in a few minutes."
        )
    if link.withdrawn is None:
        said = f"its {former.name} stands" if link.target_id is not None else "it has no document"
        if link.target_id is None and link.generation:
            said = f"a new document was allowed already, by {link.renewed_by}"
        return RejectedError(
            f"Nothing of {former.where} was withdrawn: {said}.",
            code="not-withdrawn",
            next_step=f"See what would be written: `tieout plan {link.key.sync} --record {link.key.source_id} "
            f"--tenant {link.key.tenant}`.",
        )
    if document is None or is_voided(document):
        return None
    return _lives(former, title, credit, notes)


def _lives(former: Former, title: str, credit: Link | None, notes: Mapping[str, Record]) -> TieoutError | None:
    """Why a document that stands there is not settled by a credit note; None if it is."""
    link = former.link
    if credit is None or credit.generation != link.generation:
        return RejectedError(
            f"The {former.name} stands in {title}, so {former.where} gets no other one.",
            code="former-lives",
            next_step=f"Void it there first; or, if it should stand, retry it where it is parked: `tieout parked retry "
            f"{former.where} --tenant {link.key.tenant}`.",
        )
    if credit.target_id is None:
        return RejectedError(
            f"The {former.name} stands in {title}, and its credit note is not finished.",
            code="credit-note-unfinished",
            next_step=f"See `tieout parked list --tenant {link.key.tenant}` for what hinders it; renew once it stands.",
        )
    note = notes.get(credit.target_id)
    if note is None or is_voided(note):
        return RejectedError(
            f"The {former.name} stands in {title}, and its credit note {credit.target_id} is gone or voided.",
            code="former-lives",
            next_step="Void or credit the invoice there first.",
        )
    return None


def _changed(link: Link) -> ClaimedError:
    return ClaimedError(
        f"The record {link.key.sync}/{link.key.step}/{link.key.source_id} was changed meanwhile by somebody else.",
        next_step="Look again, and renew it if that is still right.",
    )
