"""Replacing values by a list that the document holds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Self, override

from pydantic import Field, model_validator

from tieout.domain.records import Value
from tieout.mapping.transforms.base import Params, RefusedError, Surroundings
from tieout.mapping.transforms.values import quoted, shortened, text_of


class Lookup(Params):
    """Replaces values by a list that you write: `aliases` passes other values on, `table` refuses them.

    Capital and small letters make no difference unless two entries differ by them alone.
    """

    gives = "same"

    aliases: dict[str, str] | None = Field(default=None, description="Other spellings, and what they mean.")
    table: dict[str, str | int | Decimal | bool | None] | None = Field(
        default=None, description="Every value that may come, and what becomes of it."
    )
    otherwise: str | int | Decimal | bool | None = Field(
        default="error",
        description="With `table`: what becomes of other values: `error` (parks the record), `keep`, or this value.",
    )

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if (self.aliases is None) == (self.table is None):
            raise ValueError("give either `aliases` or `table`")
        if self.aliases is not None and "otherwise" in self.model_fields_set:
            raise ValueError("`otherwise` belongs to `table`: `aliases` always passes other values on")
        return self

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """What the list says of `value`."""
        entries: Mapping[str, Value] = self.table if self.table is not None else self.aliases or {}
        text = text_of(value).strip()
        if text in entries:
            return entries[text]
        folded = {key.casefold(): key for key in entries}
        if len(folded) == len(entries) and (key := folded.get(text.casefold())) is not None:
            return entries[key]
        if self.aliases is not None or self.otherwise == "keep":
            return value
        if self.otherwise != "error":
            return self.otherwise
        raise RefusedError(
            f"{quoted(text)} is not in the table of this rule.", f"Add a line for `{shortened(text)}` to its table."
        )
