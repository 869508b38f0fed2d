"""What can be written, and what is known to be readable: the fields of each kind with their types."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tieout.domain.documents import DOCUMENTS, RecordUpdate
from tieout.domain.records import FIELDS, Kind, Shape

type Type = Literal["text", "number", "date", "flag", "choice", "object", "list", "any"]


@dataclass(frozen=True, slots=True)
class Target:
    """One field that can be written.

    Attributes:
        required: True if the document does not exist without it.
        nullable: True if it can be emptied.
        choices: The values of a `choice`.
        fields: Of an object, or of one item of a list.
    """

    type: Type
    required: bool = False
    nullable: bool = True
    choices: tuple[str, ...] = ()
    fields: Mapping[str, Target] = field(default_factory=dict)


ANYTHING = Target("any")


def is_record_update(kind: Kind) -> bool:
    """True for the kinds of a CRM: existing records, updated by path."""
    return DOCUMENTS[kind] is RecordUpdate


@cache
def target_fields(kind: Kind) -> Mapping[str, Target]:
    """The fields of the kind's document by name; empty for records that are updated by path."""
    return {} if is_record_update(kind) else _fields(DOCUMENTS[kind])


@cache
def source_shape(kind: Kind) -> Mapping[str, Shape]:
    """What can stand in a record of this kind: of the books, the fields of their document and those in `FIELDS`."""
    written = {name: _shape(target) for name, target in target_fields(kind).items()}
    return {"id": "text", **written, **FIELDS.get(kind, {})}


def _shape(target: Target) -> Shape:
    if target.type == "object":
        return {name: _shape(inner) for name, inner in target.fields.items()}
    if target.type == "list":
        return [{name: _shape(inner) for name, inner in target.fields.items()}]
    return "text" if target.type == "choice" else target.type


def _fields(model: type[BaseModel]) -> Mapping[str, Target]:
    return {name: _target(info) for name, info in model.model_fields.items()}


def _target(info: FieldInfo) -> Target:
    choices = [choice for choice in get_args(info.annotation) if choice is not NoneType]
    nullable = NoneType in get_args(info.annotation)
    plain: Any = choices[0] if nullable else info.annotation
    required = info.is_required()
    if get_origin(plain) is tuple:
        return Target("list", required, nullable, fields=_fields(get_args(plain)[0]))
    if issubclass(plain, BaseModel):
        return Target("object", required, nullable, fields=_fields(plain))
    if issubclass(plain, StrEnum):
        return Target("choice", required, nullable, choices=tuple(member.value for member in plain))
    names: Mapping[type, Type] = {str: "text", Decimal: "number", dt.date: "date", bool: "flag"}
    return Target(names[plain], required, nullable)
