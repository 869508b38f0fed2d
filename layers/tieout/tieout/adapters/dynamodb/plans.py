"""Stored plans: one item for what is decided about them, and their writes packed into a few.

A write's documents are mostly repetition, so that compressed some forty share an item: 10,000 writes cost about 2,500
write units. Which item holds a write follows from its reference, so that a worker reads only those of its own records.
"""

from __future__ import annotations

import base64
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tieout.adapters.dynamodb.table import Condition, Key, Table, joined
from tieout.adapters.dynamodb.values import Scalar
from tieout.domain.effects import Operation
from tieout.domain.errors import ClaimedError, SettingsError
from tieout.domain.links import LinkKey, Withdrawal
from tieout.domain.packing import pack, time_of, time_text, unpack
from tieout.domain.plans import WRITES_MAX, PlannedWrite, PlanState, StoredPlan
from tieout.domain.reviews import Side

CHUNK_CHARACTERS = 40_000
"""Of packed writes, before they are compressed to about a fifth."""
ITEM_CHARACTERS_MAX = 350_000
"""DynamoDB takes 400 KB an item."""
_KEPT_LONGER = timedelta(days=1)


class DynamoPlans:
    """Implements `tieout.ports.state.PlanStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put_plan(self, plan: StoredPlan, writes: Sequence[PlannedWrite]) -> StoredPlan:
        """Store a new plan with its writes; as it is stored. The writes go first: a plan without them is none.

        Raises:
            SettingsError: If it is too large to be kept.
            ClaimedError: If there is one of this id.
        """
        if len(writes) > WRITES_MAX:
            raise _too_large(f"it has {len(writes):,} writes, and {WRITES_MAX:,} is the most")
        packed = {plan.key(write).reference: pack(_row(write)) for write in writes}
        chunks = max(1, -(-sum(map(len, packed.values())) // CHUNK_CHARACTERS))
        rows: dict[int, list[str]] = defaultdict(list)
        for reference, row in sorted(packed.items()):
            rows[_chunk(reference, chunks)].append(row)
        texts = {number: _compressed(f"[{','.join(some)}]") for number, some in rows.items()}
        if any(len(text) > ITEM_CHARACTERS_MAX for text in texts.values()):
            raise _too_large("one of its documents is larger than the table takes")
        stored = replace(plan, chunks=chunks, revision=1)
        # Longer than the plan itself: what is still there of a plan is all of it.
        expires_at = int((plan.expires_at + _KEPT_LONGER).timestamp())
        for number, text in texts.items():
            key = Key(joined(plan.tenant, "plan_writes", plan.id), f"{number:05}")
            self._table.put(key, {"writes": text, "expires_at": expires_at})
        if not self._put(stored, Condition("attribute_not_exists(#pk)")):
            raise ClaimedError(f"There is a plan {plan.id} already.", next_step="Plan again.")
        return stored

    def plan(self, tenant: str, plan_id: str) -> StoredPlan | None:
        """The plan; None if there is none, or no longer. Strongly consistent."""
        item = self._table.get(Key(joined(tenant, "plan"), plan_id))
        return None if item is None else _plan(tenant, item)

    def plans(self, tenant: str) -> Iterator[StoredPlan]:
        """The tenant's plans, the newest first."""
        found = [_plan(tenant, item) for item in self._table.query(joined(tenant, "plan"))]
        yield from sorted(found, key=lambda plan: plan.created_at, reverse=True)

    def planned(self, plan: StoredPlan) -> Iterator[PlannedWrite]:
        """All its writes, by step and source id."""
        items = self._table.query(joined(plan.tenant, "plan_writes", plan.id))
        writes = [write for item in items for write in _writes(item)]
        yield from sorted(writes, key=lambda write: (write.step, write.source_id))

    def allowed(self, plan: StoredPlan, keys: Sequence[LinkKey]) -> dict[LinkKey, PlannedWrite]:
        """What the plan says about these records; what it says nothing about is left out."""
        wanted = set(keys)
        numbers = {_chunk(key.reference, plan.chunks) for key in wanted}
        pk = joined(plan.tenant, "plan_writes", plan.id)
        items = self._table.get_many(Key(pk, f"{number:05}") for number in sorted(numbers))
        found = {plan.key(write): write for item in items for write in _writes(item)}
        return {key: found[key] for key in wanted if key in found}

    def change_plan(self, plan: StoredPlan) -> StoredPlan:
        """Store the plan's state, approval and ends; as it is stored.

        Raises:
            ClaimedError: If it changed since it was read.
        """
        stored = replace(plan, revision=plan.revision + 1)
        same = Condition("#revision = :revision", {"revision": plan.revision})
        if not self._put(stored, same):
            raise ClaimedError(
                f"Somebody else has changed the plan {plan.id} meanwhile.",
                next_step=f"See `tieout plan show {plan.id} --tenant {plan.tenant}`.",
            )
        return stored

    def _put(self, plan: StoredPlan, when: Condition) -> bool:
        """True if it is there now. botocore repeats a call whose answer was lost: what is in the way may be our own."""
        return self._table.put(_key(plan), _values(plan), when=when) or self.plan(plan.tenant, plan.id) == plan

    def leave_out(self, plan: StoredPlan, key: LinkKey, reason: str) -> None:
        """Note why a write of the plan was not done, or not as planned."""
        values: dict[str, Scalar] = {
            "source_id": key.source_id,
            "reason": reason,
            "expires_at": int((plan.expires_at + _KEPT_LONGER).timestamp()),
        }
        self._table.put(Key(joined(plan.tenant, "plan_left_out", plan.id), joined(key.step, key.reference)), values)

    def left_out(self, plan: StoredPlan) -> dict[LinkKey, str]:
        """What was noted."""
        return {
            LinkKey(plan.tenant, plan.sync, item["sk"].partition("#")[0], item["source_id"]): item["reason"]
            for item in self._table.query(joined(plan.tenant, "plan_left_out", plan.id))
        }


def _too_large(why: str) -> SettingsError:
    return SettingsError(
        f"The plan is too large to be kept: {why}.",
        next_step="Plan some records only (`--record`), or bring the history across with `tieout backfill`.",
    )


def _key(plan: StoredPlan) -> Key:
    return Key(joined(plan.tenant, "plan"), plan.id)


def _chunk(reference: str, chunks: int) -> int:
    return zlib.crc32(reference.encode()) % chunks


def _compressed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode())).decode()


def _row(write: PlannedWrite) -> dict[str, object]:
    row: dict[str, object] = {
        "step": write.step,
        "id": write.source_id,
        "operation": write.operation,
        "document": write.document,
        "former": write.former,
        "amount": write.amount,
        "currency": write.currency,
        "hash": write.payload_hash,
        "target": write.target_id,
        "version": write.target_version,
        "side": write.side,
        "withdrawal": write.withdrawal,
        "links": write.links_only,
        "label": write.label,
        "notices": write.notices,
    }
    return {name: value for name, value in row.items() if value not in (None, "", False, (), Side.TARGET)}


def _writes(item: dict[str, Any]) -> list[PlannedWrite]:
    return [_write(row) for row in unpack(zlib.decompress(base64.b64decode(item["writes"])).decode())]


def _write(row: dict[str, Any]) -> PlannedWrite:
    return PlannedWrite(
        step=row["step"],
        source_id=row["id"],
        operation=Operation(row["operation"]),
        document=row["document"],
        former=row.get("former"),
        amount=row.get("amount"),
        currency=row.get("currency", ""),
        payload_hash=row.get("hash", ""),
        target_id=row.get("target", ""),
        target_version=row.get("version", ""),
        side=Side(row.get("side", Side.TARGET)),
        withdrawal=Withdrawal(row["withdrawal"]) if "withdrawal" in row else None,
        links_only=row.get("links", False),
        label=row.get("label", ""),
        notices=tuple(row.get("notices", ())),
    )


_TIMES = ("approved_at", "began_at", "applied_at")
_TEXTS = ("approved_by", "applied_by", "undoes", "undone_by")


def _values(plan: StoredPlan) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {
        "sync": plan.sync,
        "sync_version": plan.sync_version,
        "digest": plan.digest,
        "created_at": time_text(plan.created_at),
        "created_by": plan.created_by,
        "counts": pack(plan.counts),
        "totals": pack(plan.totals),
        "amounts": pack(plan.amounts),
        "parked": plan.parked,
        "state": plan.state.value,
        "ends": pack(plan.ends),
        "credit_paid": int(plan.credit_paid),
        "chunks": plan.chunks,
        "revision": plan.revision,
        "expires_at": int(plan.expires_at.timestamp()),
    }
    values |= {name: time_text(moment) for name in _TIMES if (moment := getattr(plan, name)) is not None}
    return values | {name: text for name in _TEXTS if (text := getattr(plan, name))}


def _plan(tenant: str, item: dict[str, Any]) -> StoredPlan:
    times = {name: time_of(item[name]) if name in item else None for name in _TIMES}
    texts = {name: str(item.get(name, "")) for name in _TEXTS}
    return StoredPlan(
        tenant=tenant,
        id=item["sk"],
        sync=item["sync"],
        sync_version=item["sync_version"],
        digest=item["digest"],
        created_at=time_of(item["created_at"]),
        created_by=item["created_by"],
        counts=unpack(item["counts"]),
        totals=unpack(item["totals"]),
        amounts=unpack(item["amounts"]),
        parked=item["parked"],
        state=PlanState(item["state"]),
        approved_at=times["approved_at"],
        approved_by=texts["approved_by"],
        began_at=times["began_at"],
        applied_by=texts["applied_by"],
        applied_at=times["applied_at"],
        ends=unpack(item["ends"]),
        undoes=texts["undoes"],
        undone_by=texts["undone_by"],
        credit_paid=bool(item["credit_paid"]),
        chunks=item["chunks"],
        revision=item["revision"],
    )
