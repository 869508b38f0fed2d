"""Tying out: count and add up both sides through the providers' own interfaces, and say where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from tieout.domain.links import Link, LinkKey
from tieout.domain.records import Kind, Record
from tieout.engine.backfill import PAGES_MAX, Progress, source_of, sync_of, target_of
from tieout.engine.collect import Connect
from tieout.mapping import CompiledStep, CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector
from tieout.ports.state import ConfigStore, LinkStore

NAMED_MAX = 20
WITH_TOTAL = (Kind.ESTIMATE, Kind.INVOICE, Kind.CREDIT_NOTE)


@dataclass(slots=True)
class Totals:
    """Sums of one currency."""

    source: Decimal = Decimal(0)
    target: Decimal = Decimal(0)

    @property
    def difference(self) -> Decimal:
        """Source less target."""
        return self.source - self.target


@dataclass(slots=True)
class StepTieOut:
    """One step compared.

    Attributes:
        source_count, target_count: Records that the sync takes, and their partners that stand on the other side.
        totals: By currency; empty for steps without amounts.
        missing: Source ids without a standing partner (20 at most).
        duplicates: How many documents stand on the other side beyond the first for one source record.
        differing: Source ids whose amount or currency is not the document's (20 at most).
    """

    step: str
    source_count: int = 0
    target_count: int = 0
    totals: dict[str, Totals] = field(default_factory=dict)
    duplicates: int = 0
    missing: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @property
    def ties_out(self) -> bool:
        """True if nothing is missing, doubled or different."""
        apart = any(one.difference for one in self.totals.values())
        return self.source_count == self.target_count and not (
            apart or self.duplicates or self.missing or self.differing
        )

    def add(self, currency: str, *, source: Decimal = Decimal(0), target: Decimal = Decimal(0)) -> None:
        """Add to the sums of a currency."""
        totals = self.totals.setdefault(currency, Totals())
        totals.source += source
        totals.target += target


class TieOut:
    """Compares the two sides of a sync."""

    def __init__(self, *, config: ConfigStore, links: LinkStore, connect: Connect, clock: Clock) -> None:
        self._config, self._links, self._connect, self._clock = config, links, connect, clock

    def compare(self, tenant: str, name: str, *, progress: Progress) -> list[StepTieOut]:
        """One comparison for each step that writes to the target, in order.

        Raises:
            SettingsError: If there is no such sync or a connection is missing.
            ProviderError: If a side cannot be read now.
        """
        sync = sync_of(self._config, tenant, name)
        source = source_of(self._config, self._connect, self._clock, tenant, sync)
        target = target_of(self._config, self._connect, self._clock, tenant, sync)
        return [
            self._compare(tenant, sync, step, source, target, progress) for step in sync.steps if step.reads == "source"
        ]

    def _compare(  # noqa: PLR0917 - one call, above
        self,
        tenant: str,
        sync: CompiledSync,
        step: CompiledStep,
        source: Connector,
        target: Connector,
        progress: Progress,
    ) -> StepTieOut:
        result = StepTieOut(step.name)
        there = {record.id: record for record in _standing(target, step.to_kind, progress)}
        references = Counter(
            str(record.fields["reference"]) for record in there.values() if record.fields.get("reference")
        )
        links = {link.key: link for link in self._links.all(tenant, sync.name, step.name)}
        for record in _all(source, step.from_kind, progress):
            if not step.selects(record):
                continue
            key = LinkKey(tenant, sync.name, step.name, record.id)
            link = links.get(key, Link(key))
            result.source_count += 1
            # A credited invoice is still there, but no longer stands for its record.
            partner = there.get(link.target_id or "") if link.withdrawn is None else None
            result.duplicates += max(references[link.reference] - 1, 0)
            if partner is None:
                _note(result.missing, record.id)
            else:
                result.target_count += 1
            amount = step.amount(record) if step.to_kind in WITH_TOTAL else None
            if amount is not None:
                made, shown = (step.currency(record), amount), _total(partner)
                result.add(made[0], source=amount)
                if shown is not None:
                    result.add(shown[0], target=shown[1])
                if partner is not None and shown != made:
                    _note(result.differing, record.id)
        return result


def _total(document: Record | None) -> tuple[str, Decimal] | None:
    """Currency and total of a document that stands on the other side."""
    total = document.fields.get("total") if document is not None else None
    if document is None or not isinstance(total, Decimal | int):
        return None
    return str(document.fields.get("currency") or ""), Decimal(total)


def _note(ids: list[str], one: str) -> None:
    if len(ids) < NAMED_MAX:
        ids.append(one)


def _standing(connector: Connector, kind: Kind, progress: Progress) -> Iterator[Record]:
    for record in _all(connector, kind, progress):
        if record.fields.get("state") != "voided":
            yield record


def _all(connector: Connector, kind: Kind, progress: Progress) -> Iterator[Record]:
    """Every record once, though a feed may show some twice."""
    seen: set[str] = set()
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        page = connector.changes(kind, cursor)
        for record in page.records:
            if record.id not in seen:
                seen.add(record.id)
                yield record
        progress(kind, len(seen))
        cursor = page.cursor
        if not page.more:
            return
