"""Planning: what has to be written for one record, decided without any I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import ValidationError

from tieout.domain.changes import Change
from tieout.domain.documents import DOCUMENTS, Address, Document, InvoiceStatus, RecordUpdate
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import MappingError
from tieout.domain.links import Link, LinkKey, Withdrawal
from tieout.domain.money import rounded
from tieout.domain.records import Kind, Record
from tieout.domain.reviews import Side
from tieout.mapping import CompiledStep, CompiledSync, LinkTo, Mapped

EFFECT_ID_LENGTH = 32
NUMBER_MAX = 21
"""Characters that every provider's document numbers may have."""
_NUMBERED = frozenset({Kind.ESTIMATE, Kind.INVOICE, Kind.CREDIT_NOTE})


@dataclass(slots=True)
class Work:
    """One record within one step, from its change to its end.

    Attributes:
        record: None if it is gone or not visible.
        link: As stored, or an empty one.
        target_id: For a step that writes back, the record of the other side that is meant.
        mapped: What the mapping made of the record; None until then, or if it is not selected.
        ended: True once the work reached its end within this run.
        needed: True if no change is about it: other works of this run need its partner.
    """

    sync: CompiledSync
    step: CompiledStep
    key: LinkKey
    change: Change
    record: Record | None
    link: Link
    target_id: str | None = None
    mapped: Mapped | None = None
    ended: bool = False
    needed: bool = False
    needs: dict[LinkTo, LinkKey] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """How a person names the work in a command: `sync/step/source id`."""
        return f"{self.key.sync}/{self.key.step}/{self.key.source_id}"

    @property
    def takes_part(self) -> bool:
        """True if the record is there and fulfils the step's condition."""
        return self.record is not None and self.step.selects(self.record)


@dataclass(frozen=True, slots=True)
class NoChange:
    """Both sides agree already."""


@dataclass(frozen=True, slots=True)
class Write:
    """One effect is needed; `document` holds its fields as plain JSON values, `payload_hash` is theirs.

    In a two-way step `side`, `agreed` and `shown` are those of the intent, and `more` is True if another write follows.
    With `withdrawal` the document does not stand any more once it is done, and that is why.
    """

    effect: Effect
    document: Mapping[str, Any]
    payload_hash: str
    side: Side = Side.TARGET
    agreed: Mapping[str, Any] | None = None
    shown: Mapping[str, Any] | None = None
    more: bool = False
    withdrawal: Withdrawal | None = None


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of a document
    """The value as plain JSON: amounts, dates and times as text; equal amounts give equal text (1.50 and 1.5)."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def payload_hash(document: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that are equal for equal documents, whatever the order of their fields."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:EFFECT_ID_LENGTH]


def effect_id(key: LinkKey, operation: Operation, source_version: str, payload: str) -> str:
    """The same for the same write of the same version, so that a restart computes it again."""
    parts = (key.tenant, key.sync, key.step, key.source_id, operation.value, source_version, payload)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:EFFECT_ID_LENGTH]


def document_of(kind: Kind, document: Mapping[str, Any]) -> Document:
    """The typed document again from plain JSON values, as they stand in an intent."""
    return DOCUMENTS[kind].model_validate_json(json.dumps(_shaped(kind, document)))


def _shaped(kind: Kind, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"fields": fields} if DOCUMENTS[kind] is RecordUpdate else fields


def build_document(work: Work, targets: Mapping[LinkTo, str]) -> Document:
    """The document that the mapping asks for, with every link replaced by the id on the other side.

    Raises:
        MappingError: If the mapped values do not make a valid document.
    """
    if work.mapped is None:
        raise ValueError("the record was not mapped")
    kind = work.step.to_kind
    fields = _resolve(work.mapped.fields, targets)
    if work.link.generation and kind in _NUMBERED and fields.get("number"):
        fields = {**fields, "number": renumbered(str(fields["number"]), work.link.generation)}
    try:
        return DOCUMENTS[kind].model_validate(_shaped(kind, fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MappingError(
            f"The {kind.value.replace('_', ' ')} cannot be made: {where}: {first['msg']}.",
            rule=f"{work.step.name}.fields.{where}",
            next_step=f"Correct the rule for `{where}` in the sync `{work.sync.name}`.",
        ) from error


def renumbered(number: str, generation: int) -> str:
    """`S1001-2` for the document that came in place of `S1001`: no two of them have one number."""
    tail = f"-{generation + 1}"
    return number[: NUMBER_MAX - len(tail)] + tail


def _resolve(value: Any, targets: Mapping[LinkTo, str]) -> Any:  # noqa: ANN401 - any mapped value
    if isinstance(value, LinkTo):
        return targets[value]
    if isinstance(value, Mapping):
        return {key: _resolve(item, targets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_resolve(item, targets) for item in value]
    return value


def plan(work: Work, document: Document) -> NoChange | Write:
    """What has to be written so that the other side shows `document`."""
    link, record = work.link, work.record
    if link.target_id is not None:
        document = with_absent_parts(document, link.base or {})
    fields = plain(document.as_fields())
    payload = payload_hash(fields)
    if record is None:
        raise ValueError("a record that is gone has no document")
    if link.payload_hash == payload or link.follows:
        return NoChange()
    target_id = link.target_id or work.target_id
    operation = Operation.CREATE if target_id is None else Operation.UPDATE
    effect = Effect(
        id=effect_id(work.key, operation, record.version, payload),
        operation=operation,
        kind=work.step.to_kind,
        document=document if target_id is None else without_empty(document, link.base or {}),
        reference=work.link.reference,
        target_id=target_id,
        target_version=link.target_version if target_id is not None else "",
        label=work.step.label(record),
        notices=work.mapped.notices if work.mapped is not None else (),
    )
    if link.shown and target_id is not None and work.step.two_way is None:
        return _beside_what_was_found(effect, document, link, payload)
    return Write(effect, fields, payload)


def _beside_what_was_found(effect: Effect, document: Document, link: Link, payload: str) -> Write:
    """An update of a record that stood there before us: what the source did not change since is left as it is there.

    Of a group, such as an address, the parts that were not changed are written as they stand there.
    """
    fields, base = plain(document.as_fields()), link.base or {}
    left = {path: found for path, found in (link.shown or {}).items() if same(_field(fields, path), _field(base, path))}
    written = as_shown(fields, left)
    found = {path.partition(".")[0] for path in left}
    given = effect.document.model_fields_set
    kept = {name for name in given if name not in found or not same(fields[name], base.get(name))}
    partly = {name: value for name, value in written.items() if name in kept}
    whole = document_of(effect.kind, {**fields, **partly})
    called = {"name": left["name"]} if left.get("name") else {}  # not written, but what a person knows it by there
    narrowed = type(whole).model_construct(_fields_set=kept, **{**dict(whole), **called})
    return Write(replace(effect, document=narrowed), partly, payload, agreed=fields, shown=left or None)


def otherwise(record: Record, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """By dotted path, what the record shows otherwise than the document (plain JSON values) says; None if nothing."""
    shown = plain(record.fields)
    found = {path: _field(shown, path) for path, value in _leaves("", document) if not same(value, _field(shown, path))}
    return found or None


def as_shown(document: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The document with what stands at these dotted paths on the other side."""
    changed = dict(document)
    for path, value in shown.items():
        name, dot, rest = path.partition(".")
        inside = changed.get(name)
        changed[name] = as_shown(inside if isinstance(inside, Mapping) else {}, {rest: value}) if dot else value
    return changed


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - plain JSON
    """The values of a document that are no groups, by dotted path."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}".strip("."), item)
    else:
        yield path, value


def without_empty(document: Document, base: Mapping[str, Any]) -> Document:
    """The document without what was empty when it was last written and still is: if the other side has it, it stays."""
    fields = document.as_fields()
    kept = {name for name, value in fields.items() if value is not None or base.get(name, "") is not None}
    if isinstance(document, RecordUpdate):
        return RecordUpdate(fields={name: fields[name] for name in fields if name in kept})
    return type(document).model_construct(_fields_set=kept, **dict(document))


def with_absent_parts(document: Document, base: Mapping[str, Any]) -> Document:
    """The document with those parts of its addresses that it says nothing of, as they were last written: they stay.

    Providers replace an address as a whole, and what is absent is left alone.
    """
    addresses = {}
    for name in document.model_fields_set:
        address = getattr(document, name)
        if isinstance(address, Address):
            written = {part: value for part, value in _group(base.get(name)).items() if value is not None}
            absent = written.keys() - address.model_fields_set
            addresses[name] = address.model_copy(update={part: written[part] for part in absent})
    return document.model_copy(update=addresses)


def with_parts_that_stand(document: Document, base: Mapping[str, Any], there: Mapping[str, Any]) -> Document:
    """The document with the parts of its groups, such as an address, that we never said and that stand `there`.

    Providers replace a group as a whole: what somebody added to it on the other side would be gone.
    """
    groups = {}
    for name in document.model_fields_set:
        group, stands, written = getattr(document, name), there.get(name), base.get(name)
        if isinstance(group, Document) and isinstance(stands, Mapping):
            said = group.model_fields_set | {part for part, value in _group(written).items() if value is not None}
            parts = {part: value for part, value in stands.items() if part in type(group).model_fields}
            groups[name] = group.model_copy(update={part: parts[part] for part in parts if part not in said})
    return document.model_copy(update=groups)


def has_parts_beside(document: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """True if a group of the document has parts there of which it says nothing."""
    return any(
        value not in (None, "") and part not in group
        for name, group in document.items()
        if isinstance(group, Mapping)
        for part, value in _group(there.get(name)).items()
    )


def has_more(document: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """True if what the document leaves empty, a field or a part of a group, is filled there."""
    empty = (None, "")
    filled = any(value in empty and there.get(name) not in empty for name, value in document.items())
    return filled or has_parts_beside(document, there)


def whole_document(document: Mapping[str, Any], agreed: Mapping[str, Any] | None, shown: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the other side shows once a write is done that says only a part of what both sides agree on then."""
    return {**as_shown(agreed or {}, shown or {}), **document}


def with_parts_at_stake(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`base`, with each part of a group that is to be written now and was not before as empty."""
    return {
        name: {**dict.fromkeys(_group(given.get(name))), **value} if isinstance(value, Mapping) else value
        for name, value in base.items()
    }


def _group(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that the other side shows otherwise: its path, what was written, what is there."""

    path: str
    written: Any
    shown: Any


def difference(record: Record, document: Mapping[str, Any]) -> Difference | None:
    """The first field of `document` (plain JSON values) that the record on the other side does not show; None if all.

    Text is compared with white space collapsed; a field that is empty here may be absent there. Of a line whose amount
    is not quantity times price, only the amount counts: books do not keep the other two then. Of a voided document only
    that it is voided counts: books set its amounts to zero.
    """
    if document.get("status") == InvoiceStatus.VOIDED.value:
        document = {"status": document["status"]}
    return _differ("", document, plain(record.fields))


def is_voided(document: Record) -> bool:
    """True if the document stands on the other side, but for nothing any more."""
    return document.fields.get("state") == InvoiceStatus.VOIDED.value


def same(here: Any, there: Any) -> bool:  # noqa: ANN401 - plain JSON on both sides
    """True if two values say the same, compared as `difference` does."""
    return _differ("", here, there) is None


def _differ(path: str, here: Any, there: Any) -> Difference | None:  # noqa: ANN401 - plain JSON on both sides
    if isinstance(here, dict):
        inside = there if isinstance(there, dict) else {}
        kept = {name: item for name, item in here.items() if name not in _PRICE} if _is_discounted(here) else here
        found = (_differ(f"{path}.{name}".strip("."), item, _field(inside, name)) for name, item in kept.items())
        return next((one for one in found if one is not None), None)
    if isinstance(here, list):
        if not isinstance(there, list) or len(there) != len(here):
            return Difference(path, f"{len(here)} entries", f"{len(there) if isinstance(there, list) else 0} entries")
        pairs = enumerate(zip(here, there, strict=True), start=1)
        return next((one for number, (a, b) in pairs if (one := _differ(f"{path} {number}", a, b)) is not None), None)
    if here in (None, ""):
        return None if there in (None, "") else Difference(path, here, there)
    if isinstance(here, str) and isinstance(there, str):
        return None if " ".join(here.split()) == " ".join(there.split()) else Difference(path, here, there)
    return None if here == there else Difference(path, here, there)


_PRICE = ("quantity", "unit_price")


def _is_discounted(line: Mapping[str, Any]) -> bool:
    """True for a line of a document whose quantity and price do not make its amount."""
    quantity, price, amount = (line.get(name) for name in (*_PRICE, "amount"))
    if quantity is None or price is None or amount is None:
        return False
    return rounded(Decimal(quantity) * Decimal(price)) != Decimal(amount)


def _field(record: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - plain JSON
    """The value at a dotted path; None if there is none. Updates of CRM records name their fields by path."""
    if path in record:
        return record[path]
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
