"""The rotation: a seed's model CRM and model books are what two registered providers say of themselves.

A pair is drawn from the manifests, so a provider that is registered takes part; which pair a seed has depends on the
seed and the pair's own name, so that others keep theirs. What no manifest says, any pair may have: documents that are
posted in steps, feeds with gaps, and notifications that end unless they are renewed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from random import Random

from tieout.connectors import PROVIDERS
from tieout.domain.records import Kind
from tieout.mapping.presets import presets
from tieout.ports.connector import Limit, Manifest, Role, Window

SHARE = 0.5
SHRINK = 10
"""Worlds have a few deals: batches are a tenth of what the provider takes, so that they are filled."""

KEPT_CALLS_MIN = 20
"""With fewer calls a minute, what people do here in minutes would take hours."""


class Met(StrEnum):
    """What the worlds of the rotation can show."""

    DELETION_TOLD = "the feed tells of a deletion"
    DELETION_UNTOLD = "a deletion that the feed does not tell of"
    GAP = "the feed had a gap"
    STALE_REFUSED = "a stale update is refused"
    UNGUARDED = "an update in books that have no versions"
    BY_REFERENCE = "found by our reference"
    BY_NAME = "found by name, as it keeps no reference"
    DRAFTED = "a document is made, and not yet posted"
    LEFT_HALF_WAY = "a document is found half-way"
    COMPLETED = "a document that was half-way is completed"
    UNTOLD = "a change without a notification, as there are none"
    LAPSED = "a change without a notification, as they had ended"
    RENEWED = "notifications are renewed"
    FULL_READ = "a read as large as it may be"
    FULL_WRITE = "a batch of writes as large as it may be"
    NAMED_PATHS = "an update of a record of which only some paths can be written"
    ONE_WAY = "a CRM that nothing can be written to"
    PACED = "a call waits for its turn in a minute"
    QUOTA = "a call waits as the day's are used up"
    IN_FLIGHT = "a call begins in the last place"


@dataclass(frozen=True, slots=True)
class Rotation:
    """Whom a seed's CRM and books behave like, and what their manifests do not say.

    Attributes:
        crm, books: Providers' names.
        in_steps: The books make invoices and credit notes by one call and post them by another.
        gaps: Feeds that tell of deletions forget some of them, and say that there was a gap.
        told_seconds: So long a provider with notifications sends them unless it is reminded; 0 for ever.
        limited: The providers' limits count, and the real budget keeps them.
        quota_calls: What is left of a day's calls where there is such a limit; 0 for all of them.
    """

    crm: str
    books: str
    in_steps: bool = False
    gaps: bool = False
    told_seconds: int = 0
    limited: bool = False
    quota_calls: int = 0

    def __str__(self) -> str:
        said = [
            self.pair,
            "posted in steps" if self.in_steps else "",
            "feeds with gaps" if self.gaps else "",
            f"told for {self.told_seconds} s" if self.told_seconds else "",
            "within limits" if self.limited else "",
            f"{self.quota_calls} calls a day" if self.quota_calls else "",
        ]
        return ", ".join(filter(None, said))

    @property
    def pair(self) -> str:
        """The name that its preset has."""
        return f"{self.crm}-{self.books}"


@cache
def manifests() -> Mapping[str, Manifest]:
    """By provider, what it says of itself, in the size of the worlds."""
    return {one.manifest.provider: _in_size(one.manifest) for one in PROVIDERS}


def _in_size(manifest: Manifest) -> Manifest:
    reads, writes = manifest.read_batch_max // SHRINK, manifest.write_batch_max // SHRINK
    return replace(manifest, read_batch_max=max(2, reads), write_batch_max=max(1, writes))


@cache
def pairs() -> tuple[tuple[str, str], ...]:
    """Every CRM with every books of another provider."""
    known = manifests().values()
    return tuple(
        (crm.provider, books.provider)
        for crm in known
        for books in known
        if Role.CRM in crm.roles and Role.BOOKS in books.roles and f"{crm.provider}-{books.provider}" in presets()
    )


def possible() -> frozenset[Met]:
    """What the registered providers and what is drawn beside them can show."""
    crms = [manifests()[crm] for crm, _ in pairs()]
    books = [manifests()[each] for _, each in pairs()]
    either, windows = crms + books, {limit.window for one in crms + books for limit in one.limits}
    shown = {
        Met.DELETION_TOLD: any(one.deletions_visible for one in either),
        Met.GAP: any(one.deletions_visible for one in either),
        Met.STALE_REFUSED: any(one.versions for one in books),
        Met.UNGUARDED: not all(one.versions for one in books),
        Met.UNTOLD: not all(one.webhooks for one in either),
        Met.LAPSED: any(one.webhooks for one in either),
        Met.RENEWED: any(one.webhooks for one in either),
        Met.NAMED_PATHS: any(one.updates and Kind.DEAL in one.writes for one in crms),
        Met.ONE_WAY: any(Kind.DEAL not in one.writes for one in crms),
        Met.PACED: Window.PACED in windows,
        Met.QUOTA: Window.QUOTA in windows,
        Met.IN_FLIGHT: Window.IN_FLIGHT in windows,
    }
    return frozenset(met for met in Met if shown.get(met, True))


def rotation_of(seed: int) -> Rotation | None:
    """What the seed's providers behave like; None for one that has the first model's, which is none of these."""
    random = Random(f"{seed}/rotation")
    if random.random() >= SHARE:
        return None
    crm, books = max(pairs(), key=lambda pair: Random(f"{seed}/{'-'.join(pair)}").random())
    limited = random.random() < 0.25
    return Rotation(
        crm,
        books,
        in_steps=random.random() < 0.4,
        gaps=random.random() < 0.5,
        told_seconds=random.choice((0, 600, 1800, 7200)),
        limited=limited,
        quota_calls=random.choice((0, 40, 120)) if limited else 0,
    )


def limits_of(rotation: Rotation, manifest: Manifest, calls_per_minute: int) -> tuple[Limit, ...]:
    """The limits that the provider counts; none if they do not count in this world."""
    if not rotation.limited:
        return ()
    return tuple(_scarce(limit, rotation, max(calls_per_minute, KEPT_CALLS_MIN)) for limit in manifest.limits)


def _scarce(limit: Limit, rotation: Rotation, calls_per_minute: int) -> Limit:
    if limit.window is Window.QUOTA and rotation.quota_calls:
        return replace(limit, calls=min(limit.calls, rotation.quota_calls))
    if limit.window is Window.PACED and limit.per_seconds >= 60:
        return replace(limit, calls=min(limit.calls, calls_per_minute))
    return limit
