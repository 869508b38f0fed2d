"""Links, with their intents and what hinders them: one item each, so that claiming and settling are one write each."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tieout.adapters.dynamodb.changes import unsynced_of, unsynced_text
from tieout.adapters.dynamodb.reviews import decision_of, decision_text
from tieout.adapters.dynamodb.table import Condition, Key, Table, joined
from tieout.adapters.dynamodb.values import Scalar
from tieout.domain.changes import Unsynced, UnsyncedState
from tieout.domain.effects import Operation
from tieout.domain.errors import ClaimedError
from tieout.domain.links import Intent, IntentState, Link, LinkKey, Turns, Withdrawal
from tieout.domain.packing import pack, time_of, time_text, unpack
from tieout.domain.reviews import Side

TAKES_MAX = 5
"""How often a record is tried to be taken while others change whose it is."""

_UNSYNCED = ("unsynced", "unsynced_pk", "unsynced_sk")
_OPTIONAL = (
    "target_id",
    "target_version",
    "source_version",
    "payload_hash",
    "base",
    "settled_at",
    "sync_version",
    "shown",
    "withdrawn",
    "follows",
    "decision",
    "never",
    "turns",
    "plan",
    "generation",
    "renewed_by",
)


class DynamoLinks:
    """Implements `tieout.ports.state.LinkStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, keys: Sequence[LinkKey]) -> dict[LinkKey, Link]:
        """The links that are stored, by key; strongly consistent. Others are left out.

        Raises:
            RuntimeError: If two source records have one reference.
        """
        wanted = {_item_key(key): key for key in keys}
        return {
            key: _link(key, item)
            for item in self._table.get_many(wanted)
            for key in (wanted[Key(item["pk"], item["sk"])],)
        }

    def claim(self, link: Link, intent: Intent) -> Link:
        """Store the intent, and the link as given, if it still has its revision; the link as stored.

        A renewed document's reference is not the item's key: its pointer is written before the document can be.

        Raises:
            ClaimedError: If it changed since it was read.
        """
        if link.generation and intent.operation is Operation.CREATE:
            self._table.put(_pointer_key(link.key, link.reference), _pointer(link))
        return self._write(link, intent, worker=None)

    def settle(self, link: Link, *, worker: str, pointer: bool) -> Link:
        """Store the link's new state and drop the intent, if `worker` still holds it; clears `unsynced` too.

        The pointer is written first: one that leads to a link with another target is ignored, one that is missing
        would lose the way.

        Raises:
            ClaimedError: If another worker took the intent over.
        """
        if pointer:
            self._point_back(link)
        return self._write(replace(link, unsynced=None), None, worker=worker, drop=_UNSYNCED)

    def take_target(self, link: Link) -> bool:
        """Keep the way back from a record that stood there before us, before the claimed link is settled.

        False if it leads to another source record's link: one that names the record, or that has no partner yet and an
        open intent, which may be about to. Of two that take one record, one gets it.

        Raises:
            ClaimedError: If other workers change it again and again.
        """
        target_id = link.target_id or ""
        when = Condition("attribute_not_exists(#pk) OR #source_id = :ours", {"ours": link.key.source_id})
        for _ in range(TAKES_MAX):
            if self._table.put(_pointer_key(link.key, target_id), _pointer(link), when=when):
                return True
            there = self._table.get(_pointer_key(link.key, target_id))
            if there is not None:
                owner = replace(link.key, source_id=there["source_id"])
                if owner != link.key and _owns(self.get([owner]).get(owner), target_id):
                    return False
                when = _ours_or_as(link, there)
        raise ClaimedError(
            "Other workers are linking this record.", detail=f"target {target_id} in step {link.key.step}"
        )

    def _point_back(self, link: Link) -> None:
        if link.target_id is not None:
            self._table.put(_pointer_key(link.key, link.target_id), _pointer(link))

    def keep_intent(self, link: Link, intent: Intent) -> Link:
        """Replace the intent (unknown, another look, taken over after its time), if it is still the one that was read.

        Raises:
            ClaimedError: If another worker changed the link since.
        """
        return self._write(link, intent, worker=None)

    def store(self, link: Link, *, pointer: bool = False) -> Link:
        """Store what we know beside the write: decisions, withdrawals, what is followed. Intent and reason stay.

        Raises:
            ClaimedError: If the link changed since it was read.
        """
        if pointer:
            self._point_back(link)
        return self._write(link, link.intent, worker=None)

    def release(self, link: Link, *, worker: str) -> Link:
        """Drop the intent: surely nothing was written.

        Raises:
            ClaimedError: If another worker took it over.
        """
        return self._write(link, None, worker=worker)

    def set_unsynced(self, key: LinkKey, unsynced: Unsynced | None, *, instead_of: Unsynced | None = None) -> None:
        """Say why the record is not in agreement, or that nothing hinders it any more. Leaves the rest alone.

        With `instead_of` only if that is what is said still, which the sort key of the index shows.
        """
        said = Condition("attribute_exists(#unsynced) AND #source_id = :source_id", {"source_id": key.source_id})
        if instead_of is not None:
            places = {"said": _place(key, instead_of), "short": joined(*_short_place(key, instead_of))}
            said = Condition(f"{said.text} AND #unsynced_sk IN (:said, :short)", {**said.values, **places})
        if unsynced is None:
            self._table.update(_item_key(key), {}, drop=_UNSYNCED, when=said)
            return
        values = {
            "source_id": key.source_id,
            "unsynced": unsynced_text(unsynced),
            "unsynced_pk": joined(key.tenant, "unsynced"),
            "unsynced_sk": _place(key, unsynced),
        }
        if instead_of is not None:
            self._table.update(_item_key(key), values, when=said)
            return
        condition = Condition("attribute_not_exists(#pk) OR #source_id = :new_source_id")
        if not self._table.update(_item_key(key), values, when=condition):
            raise _collision(key)

    def by_reference(self, tenant: str, sync: str, step: str, references: Sequence[str]) -> dict[str, Link]:
        """Links by our reference of today; strongly consistent. That of a document since renewed finds none."""
        keys = [Key(joined(tenant, "link", sync), joined(step, reference)) for reference in references]
        links = [_link(LinkKey(tenant, sync, step, item["source_id"]), item) for item in self._table.get_many(keys)]
        found = {link.reference: link for link in links if not link.generation}
        if renewed := set(references) - found.keys():
            pointed = self._pointed(tenant, sync, step, sorted(renewed))
            found |= {link.reference: link for link in pointed if link.reference in renewed}
        return found

    def by_target(self, tenant: str, sync: str, step: str, target_ids: Sequence[str]) -> dict[str, Link]:
        """Links by target id, for those that were settled with `pointer`; strongly consistent."""
        wanted = set(target_ids)
        pointed = self._pointed(tenant, sync, step, target_ids)
        return {link.target_id: link for link in pointed if link.target_id in wanted}

    def _pointed(self, tenant: str, sync: str, step: str, names: Sequence[str]) -> Iterable[Link]:
        """The links that pointers lead to."""
        pk = joined(tenant, "target", sync)
        pointers = list(self._table.get_many(Key(pk, joined(step, name)) for name in names))
        return self.get([LinkKey(tenant, sync, step, item["source_id"]) for item in pointers]).values()

    def all(self, tenant: str, sync: str, step: str) -> Iterator[Link]:
        """Every link of the step, in no order; pages through the table."""
        for item in self._table.query(joined(tenant, "link", sync), begins=f"{step}#"):
            yield _link(LinkKey(tenant, sync, step, item["source_id"]), item)

    def unsynced(self, tenant: str, state: UnsyncedState | None = None) -> Iterator[Unsynced]:
        """What is not in agreement, oldest first; eventually consistent."""
        states = UnsyncedState if state is None else (state,)
        return heapq.merge(*(self._unsynced_in(tenant, one) for one in states), key=lambda one: one.since)

    def _unsynced_in(self, tenant: str, state: UnsyncedState) -> Iterator[Unsynced]:
        # The oldest is asked for each minute, all of them seldom.
        for item in self._table.query(joined(tenant, "unsynced"), begins=f"{state}#", index="unsynced", first_page=1):
            yield unsynced_of(item["unsynced"])

    def _write(self, link: Link, intent: Intent | None, *, worker: str | None, drop: tuple[str, ...] = ()) -> Link:
        """Store link and intent, if the revision is still the link's and `worker`, if given, holds the intent."""
        written = replace(link, revision=link.revision + 1, intent=intent)
        values = _values(written)
        absent = [name for name in (*_OPTIONAL, "intent") if name not in values]
        if not self._table.update(_item_key(link.key), values, drop=(*absent, *drop), when=_unchanged(link, worker)):
            self._check_ours(written)
        return written

    def _check_ours(self, written: Link) -> None:
        """Return if the refused write is there nevertheless: botocore repeats a call whose answer was lost.

        Each write needs the revision before it, so one that left all of this behind, and not only its revision, is
        ours. Why the record is not in agreement is written beside that.
        """
        item = self._table.get(_item_key(written.key))
        if item is not None and replace(_link(written.key, item), unsynced=None) == replace(written, unsynced=None):
            return
        raise ClaimedError(
            "Another worker is writing this document.",
            detail=f"link {written.key.reference} in step {written.key.step}",
        )


def _unchanged(link: Link, worker: str | None) -> Condition:
    values: dict[str, Scalar] = {}
    if link.revision == 0:
        text = "attribute_not_exists(#revision) AND (attribute_not_exists(#pk) OR #source_id = :new_source_id)"
    else:
        text = "#revision = :revision AND #source_id = :new_source_id"
        values["revision"] = link.revision
    if worker is not None:
        text += " AND #intent.#worker = :worker"
        values["worker"] = worker
    return Condition(text, values)


def _item_key(key: LinkKey) -> Key:
    return Key(joined(key.tenant, "link", key.sync), joined(key.step, key.reference))


def _pointer_key(key: LinkKey, name: str) -> Key:
    """Of the way back from a target id, or from a renewed document's reference; who follows it compares both."""
    return Key(joined(key.tenant, "target", key.sync), joined(key.step, name))


def _pointer(link: Link) -> dict[str, Scalar]:
    """The revision tells one that was put again, by a later claim of the same link, from the one that was read."""
    return {"source_id": link.key.source_id, "revision": link.revision}


def _ours_or_as(link: Link, there: dict[str, Any]) -> Condition:
    """The pointer leads to `link`, or is still what was read."""
    values: dict[str, Scalar] = {"ours": link.key.source_id, "theirs": there["source_id"]}
    if "revision" in there:
        values["revision"] = there["revision"]
        same = "#revision = :revision"
    else:
        same = "attribute_not_exists(#revision)"  # put before pointers had one
    return Condition(f"attribute_not_exists(#pk) OR #source_id = :ours OR (#source_id = :theirs AND {same})", values)


def _owns(link: Link | None, target_id: str) -> bool:
    """True if the link names the record, or may be about to."""
    if link is None:
        return False
    if link.target_id is None:
        return link.intent is not None
    return link.target_id == target_id and not link.follows


def _values(link: Link) -> dict[str, Any]:
    values: dict[str, Any] = {"source_id": link.key.source_id, "revision": link.revision}
    if link.target_id is not None:
        values["target_id"] = link.target_id
    for name in ("target_version", "source_version", "payload_hash", "plan", "renewed_by"):
        if text := getattr(link, name):
            values[name] = text
    if link.base is not None:
        values["base"] = pack(link.base)
    if link.settled_at is not None:
        values["settled_at"] = time_text(link.settled_at)
    if link.intent is not None:
        values["intent"] = _intent_values(link.intent)
    return values | _notes(link)


def _notes(link: Link) -> dict[str, Scalar]:
    """What most links do not have."""
    notes: dict[str, Scalar] = {}
    if link.sync_version:
        notes["sync_version"] = link.sync_version
    if link.shown is not None:
        notes["shown"] = pack(link.shown)
    if link.withdrawn is not None:
        notes["withdrawn"] = link.withdrawn.value
    if link.follows:
        notes["follows"] = 1
    if link.decision is not None:
        notes["decision"] = decision_text(link.decision)
    if link.never:
        notes["never"] = pack(link.never)
    if link.turns is not None:
        notes["turns"] = pack([link.turns.side.value, link.turns.count, link.turns.since])
    if link.generation:
        notes["generation"] = link.generation
    return notes


def _intent_values(intent: Intent) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {
        "effect_id": intent.effect_id,
        "operation": intent.operation,
        "payload_hash": intent.payload_hash,
        "source_version": intent.source_version,
        "state": intent.state,
        "worker": intent.worker,
        "held_until": time_text(intent.held_until),
        "opened_at": time_text(intent.opened_at),
        "document": pack(intent.document),
        "looks": intent.looks,
    }
    if intent.target_id is not None:
        values["target_id"] = intent.target_id
    if intent.side is not Side.TARGET:
        values["side"] = intent.side.value
    if intent.agreed is not None:
        values["agreed"] = pack(intent.agreed)
    if intent.shown is not None:
        values["shown"] = pack(intent.shown)
    if intent.withdrawal is not None:
        values["withdrawal"] = intent.withdrawal.value
    if intent.plan:
        values["plan"] = intent.plan
    if intent.sync_version:
        values["sync_version"] = intent.sync_version
    if intent.adopts:
        values["adopts"] = intent.adopts
    return values


def link_of(tenant: str, sync: str, item: dict[str, Any]) -> Link:
    """The link that an item holds."""
    return _link(LinkKey(tenant, sync, item["sk"].partition("#")[0], item["source_id"]), item)


def _link(key: LinkKey, item: dict[str, Any]) -> Link:
    if item["source_id"] != key.source_id:
        raise _collision(key)
    return Link(
        key=key,
        revision=item.get("revision", 0),
        target_id=item.get("target_id"),
        target_version=item.get("target_version", ""),
        source_version=item.get("source_version", ""),
        payload_hash=item.get("payload_hash", ""),
        base=unpack(item["base"]) if "base" in item else None,
        settled_at=time_of(item["settled_at"]) if "settled_at" in item else None,
        intent=_intent(item["intent"]) if "intent" in item else None,
        unsynced=unsynced_of(item["unsynced"]) if "unsynced" in item else None,
        sync_version=item.get("sync_version", 0),
        shown=unpack(item["shown"]) if "shown" in item else None,
        withdrawn=Withdrawal(item["withdrawn"]) if "withdrawn" in item else None,
        follows="follows" in item,
        decision=decision_of(item["decision"]) if "decision" in item else None,
        never=tuple(unpack(item["never"])) if "never" in item else (),
        turns=_turns(*unpack(item["turns"])) if "turns" in item else None,
        plan=item.get("plan", ""),
        generation=item.get("generation", 0),
        renewed_by=item.get("renewed_by", ""),
    )


def _turns(side: str, count: int, since: datetime) -> Turns:
    return Turns(Side(side), count, since)


def _intent(values: dict[str, Any]) -> Intent:
    return Intent(
        effect_id=values["effect_id"],
        operation=Operation(values["operation"]),
        payload_hash=values["payload_hash"],
        source_version=values["source_version"],
        state=IntentState(values["state"]),
        worker=values["worker"],
        held_until=time_of(values["held_until"]),
        opened_at=time_of(values["opened_at"]),
        document=unpack(values["document"]),
        target_id=values.get("target_id"),
        looks=values["looks"],
        side=Side(values.get("side", Side.TARGET)),
        agreed=unpack(values["agreed"]) if "agreed" in values else None,
        shown=unpack(values["shown"]) if "shown" in values else None,
        withdrawal=Withdrawal(values["withdrawal"]) if "withdrawal" in values else None,
        plan=values.get("plan", ""),
        sync_version=values.get("sync_version", 0),
        adopts=str(values.get("adopts", "")),
    )


def _collision(key: LinkKey) -> RuntimeError:
    return RuntimeError(
        f"two source records of step {key.step} have the reference {key.reference}; one cannot be stored"
    )


def _place(key: LinkKey, unsynced: Unsynced) -> str:
    """The sort key of the index: by state and age; no two of one record are alike but those that say the same of it."""
    return joined(*_short_place(key, unsynced), time_text(unsynced.change.seen_at), unsynced.cause)


def _short_place(key: LinkKey, unsynced: Unsynced) -> tuple[str, ...]:
    """All of the sort key in rows of earlier versions, which are replaced and cleared too."""
    return (unsynced.state, time_text(unsynced.since), key.sync, key.step, key.reference)
