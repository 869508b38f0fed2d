"""Effects: one write each, and the three ways a write ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tieout.domain.documents import Document
from tieout.domain.errors import ProviderError, UncertainError
from tieout.domain.records import Kind, Record


class Operation(StrEnum):
    """What a write does to its document."""

    CREATE = "create"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Effect:
    """One write that the engine means to do.

    Attributes:
        id: 32 hexadecimal digits, computed from tenant, connection, document, source version and operation.
        reference: Ours, to be kept at the provider where it can be searched: 12 letters and digits, lower case.
        target_id, target_version: Given for an update.
        attempt: Stays while the outcome of the write is unresolved, and is new for a try after it was refused: part of
            idempotency keys, since a provider may repeat the answer to a known key, refusals included.
        label: What a person calls the source record.
        notices: What the mapping did that a person should know, such as a name that was cut.
        similar: Only for `find`: records that may be the same though their name differs are wanted, too.
    """

    id: str
    operation: Operation
    kind: Kind
    document: Document
    reference: str
    target_id: str | None = None
    target_version: str = ""
    attempt: str = ""
    label: str = ""
    notices: tuple[str, ...] = ()
    similar: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """Written; `record` is what the provider has now."""

    effect_id: str
    record: Record


@dataclass(frozen=True, slots=True)
class NotDone:
    """Surely not written, and why."""

    effect_id: str
    error: ProviderError


@dataclass(frozen=True, slots=True)
class Unknown:
    """Maybe written: the answer was lost."""

    effect_id: str
    error: UncertainError


type Outcome = Done | NotDone | Unknown


class MatchedBy(StrEnum):
    """REFERENCE proves that we wrote it; NATURAL_KEY that it has the document's name; SIMILAR proves nothing yet."""

    REFERENCE = "reference"
    NATURAL_KEY = "natural_key"
    SIMILAR = "similar"


@dataclass(frozen=True, slots=True)
class Match:
    """A record at the provider that may be the effect's document.

    Attributes:
        unfinished: Ours, but a later step of its write is missing, such as issuing a draft. Writing the effect again
            completes this record, and makes no second one.
    """

    record: Record
    by: MatchedBy
    unfinished: bool = False
