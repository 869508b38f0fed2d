"""What the table's stream tells, for the audit trail, and where each tenant's trail ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tieout.adapters.dynamodb.config import connection_of, run_of, sync_of
from tieout.adapters.dynamodb.links import link_of
from tieout.adapters.dynamodb.table import Condition, Key, Table, joined
from tieout.adapters.dynamodb.values import from_attributes
from tieout.domain.audit import Tip
from tieout.ports.audit import Item, Noticed, PlanItem


class DynamoTips:
    """Implements `tieout.ports.audit.TipStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def tip(self, tenant: str) -> Tip | None:
        """The newest entry that is known of; None if there is none. Strongly consistent."""
        item = self._table.get(_tip_key(tenant))
        return None if item is None else Tip(item["seq"], item["hash"])

    def advance(self, tenant: str, tip: Tip) -> None:
        """Remember it, unless a newer one is known."""
        newer = Condition("attribute_not_exists(#seq) OR #seq < :seq", {"seq": tip.seq})
        self._table.put(_tip_key(tenant), {"seq": tip.seq, "hash": tip.hash}, when=newer)


def _tip_key(tenant: str) -> Key:
    return Key(joined(tenant, "audit"), "tip")


def tenant_of(record: Mapping[str, Any]) -> str:
    """Whose item a record of the stream is about."""
    return str(record["dynamodb"]["Keys"]["pk"]["S"]).partition("#")[0]


def noticed_of(record: Mapping[str, Any]) -> Noticed | None:
    """What a record of the stream tells; None if it is nothing for the trail.

    Raises:
        ValueError, KeyError, TypeError: If the item is not of our form.
    """
    told = record["dynamodb"]
    before, after = (
        _item(from_attributes(told[image])) if image in told else None for image in ("OldImage", "NewImage")
    )
    if before is None and after is None:
        return None
    at = datetime.fromtimestamp(told["ApproximateCreationDateTime"], UTC)
    return Noticed(tenant_of(record), record["eventID"], at, before, after)


def _item(item: dict[str, Any]) -> Item | None:
    tenant, kind, *rest = item["pk"].split("#", 2)
    match kind, rest:
        case "link", [sync]:
            return link_of(tenant, sync, item)
        case "connection", []:
            return connection_of(item)
        case "sync", []:
            return sync_of(tenant, item)
        case "run", [sync]:
            return run_of(tenant, sync, item)
        case "plan", []:
            return PlanItem(tenant, item["sk"], {name: item[name] for name in item if name not in {"pk", "sk"}})
    return None
