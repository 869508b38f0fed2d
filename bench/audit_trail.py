"""What the audit trail costs beside the engine, in memory: requests to the archive, and processor time an entry."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import batched

from bench.figure import Figure
from tests.engine.trail import MemoryArchive, MemoryTips, noticed
from tests.unit.adapters.samples import intent, key, settled
from tieout.domain.links import Link
from tieout.engine.archive import ArchiveAudit
from tieout.engine.audit import Replay, Trail
from tieout.ports.audit import Noticed

TENANT = "acme"
INVOICES = 5_000
BATCH = 500
"""As the template has it: what is told within ten seconds comes together, at most this much."""


def measure() -> list[Figure]:
    """The audit trail: invoices that are claimed and settled, archived in full batches, then replayed."""
    archive, tips = MemoryArchive(), MemoryTips()
    consumer, changes = ArchiveAudit(archive, tips), _changes()
    began = time.process_time()
    for some in batched(changes, BATCH, strict=False):
        consumer.archive(TENANT, some)
    archived = time.process_time()
    replay = Replay()
    for found in Trail(archive, tips, TENANT).read(lambda _name, _count: None):
        replay.take(found[1])  # type: ignore[index]  # no flaw is in it
    replayed = time.process_time()
    stored = sum(len(body) for body, _ in archive.objects_of[TENANT].values())
    return [
        Figure("audit trail: writes to the archive for 100 changes of links", archive.puts * 100 / len(changes), "", 1),
        Figure("audit trail: bytes kept an entry", stored / len(changes), "bytes"),
        Figure("audit trail: entries archived a second of processor time", len(changes) / (archived - began)),
        Figure("audit trail: entries verified a second of processor time", len(changes) / (replayed - archived)),
    ]


def _changes() -> list[Noticed]:
    made = []
    for number in range(INVOICES):
        claimed = Link(key(f"d{number}", tenant=TENANT), revision=1, intent=intent("w1"))
        done = replace(settled(claimed), revision=2)
        made += [noticed(None, claimed, event=f"{number}-1"), noticed(claimed, done, event=f"{number}-2")]
    return made
