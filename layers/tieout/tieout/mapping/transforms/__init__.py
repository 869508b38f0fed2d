"""Transforms: named steps that turn a value into another, each with typed parameters.

The fields of `Transform` are the table of all transforms: the reader, the published schema and the documentation's
test are driven by it. A transform gets a value that is there (never absent or null) and gives a value, or null if the
value says nothing. What it cannot read it refuses with a sentence.

A new one is a class in the module of its theme, a line in `Transform`, a row in `docs/mapping.md`; then
`python -m tieout.mapping.schema docs/schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Self, get_args

from pydantic import GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tieout.mapping.transforms.base import Params, RefusedError, Strict
from tieout.mapping.transforms.countries import Country
from tieout.mapping.transforms.dates import DateOf, TermsToDueDate
from tieout.mapping.transforms.lookup import Lookup
from tieout.mapping.transforms.numbers import MoneyAmount, Multiply, Number
from tieout.mapping.transforms.parties import Email, Phone, TaxId
from tieout.mapping.transforms.postal_codes import PostalCode
from tieout.mapping.transforms.text import (
    CollapseSpaces,
    Hash,
    Join,
    Lower,
    Prefix,
    Replace,
    Slug,
    Split,
    Suffix,
    Title,
    Trim,
    Truncate,
    Upper,
)
from tieout.mapping.transforms.values import is_number, quoted, shortened, text_of

__all__ = [
    "TRANSFORMS",
    "Params",
    "RefusedError",
    "Transform",
    "is_number",
    "quoted",
    "shortened",
    "text_of",
]


class Transform(Strict):
    """One transform: its name alone, or its name with parameters."""

    trim: Trim | None = None
    collapse_spaces: CollapseSpaces | None = None
    upper: Upper | None = None
    lower: Lower | None = None
    title: Title | None = None
    truncate: Truncate | None = None
    prefix: Prefix | None = None
    suffix: Suffix | None = None
    replace: Replace | None = None
    split: Split | None = None
    join: Join | None = None
    slug: Slug | None = None
    hash: Hash | None = None
    lookup: Lookup | None = None
    number: Number | None = None
    multiply: Multiply | None = None
    money: MoneyAmount | None = None
    date: DateOf | None = None
    terms_to_due_date: TermsToDueDate | None = None
    email: Email | None = None
    phone: Phone | None = None
    country: Country | None = None
    postal_code: PostalCode | None = None
    tax_id: TaxId | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, written: object) -> object:
        return {written: {}} if isinstance(written, str) else written

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1 or getattr(self, self.name) is None:
            raise ValueError("write one transform in each line of the list, such as `- truncate: {length: 100}`")
        return self

    @property
    def name(self) -> str:
        """Which transform it is."""
        return next(iter(self.model_fields_set))

    @property
    def chosen(self) -> Params:
        """Its parameters."""
        found: Params = getattr(self, self.name)
        return found

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of both ways to write it."""
        schema = handler.resolve_ref_schema(handler(core))
        whole = {key: schema["properties"][key] for key in schema["properties"]}
        for key, part in whole.items():
            whole[key] = next(choice for choice in part["anyOf"] if choice.get("type") != "null")
        alone = [name for name, params in TRANSFORMS.items() if not _needs_parameters(params)]
        return {
            "title": "Transform",
            "description": cls.__doc__,
            "anyOf": [
                {"enum": alone},
                {
                    "type": "object",
                    "properties": whole,
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
        }


TRANSFORMS: Mapping[str, type[Params]] = {
    name: next(choice for choice in get_args(field.annotation) if choice is not NoneType)
    for name, field in Transform.model_fields.items()
}


def _needs_parameters(params: type[Params]) -> bool:
    try:
        params.model_validate({})
    except ValidationError:
        return True
    return False
