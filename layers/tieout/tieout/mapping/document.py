"""The sync document and the connection document, as typed data.

What a person writes; see `docs/mapping.md`. The shape is checked here, the sense in `check`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, model_validator

from tieout.domain.records import Kind
from tieout.mapping.paths import path_text
from tieout.mapping.transforms import Transform

SOURCES = ("path", "paths", "constant", "object", "each", "list")
OPERATORS = ("equals", "in", "exists", "greater_than", "less_than")
GROUPS = ("all", "any", "not")

# What JSON Schema cannot take from the types: which fields stand together.
_RULE_FORMS: list[JsonValue] = [{"required": [name]} for name in SOURCES]
_COMPARISON_FORMS: list[JsonValue] = [{"required": ["path", name]} for name in OPERATORS]
_GROUP_FORMS: list[JsonValue] = [{"required": [name]} for name in GROUPS]


type PathText = Annotated[str, AfterValidator(path_text)]
type Scalar = bool | int | Decimal | str | None
type Identifier = Annotated[str, Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
type StepName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", max_length=40)]
type KindName = Annotated[Kind, Field(strict=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True, validate_by_name=False)

    def _written(self) -> dict[str, Any]:
        """What stands in the document, by the name that it has there."""
        return {name.removesuffix("_"): getattr(self, name) for name in self.model_fields_set}


class Rule(_Model):
    """How one field gets its value: exactly one of path, paths, constant, object, each, list."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _RULE_FORMS})

    path: PathText | None = Field(default=None, description="Where the value stands in the source record.")
    paths: Annotated[list[PathText], Field(min_length=1)] | None = Field(
        default=None, description="Several such places: the first that has a value counts."
    )
    constant: Scalar = Field(default=None, description="Always this value.")
    object_: dict[str, Rule] | None = Field(
        default=None, alias="object", description="A group of fields, such as an address."
    )
    each: PathText | None = Field(
        default=None, description="A list in the source record: `fields` is evaluated for each of its items."
    )
    fields: dict[str, Rule] | None = Field(default=None, description="With `each`: the fields of one item.")
    list_: Annotated[list[Rule], Field(min_length=1)] | None = Field(
        default=None,
        alias="list",
        description="A list of as many items as rules stand here; items without a value are left out.",
    )
    transforms: Annotated[list[Transform], Field(min_length=1)] | None = Field(
        default=None, description="Named steps, each given the value of the one before."
    )
    default: Scalar = Field(default=None, description="The value where there is none: the field is absent or null.")
    required: bool = Field(default=False, description="Park the record if the value is absent, null or empty text.")
    owner: Literal["source", "target", "newest", "ask"] | None = Field(
        default=None,
        description="In a two-way step, whose value counts if both sides changed it; without it as `two_way` says.",
    )
    link: StepName | None = Field(
        default=None, description="The value names a record of this step; the field gets its id on the other side."
    )
    by: Literal["id", "name", "sku", "email"] = Field(
        default="id", description="With `link`: which field of the records that the linked step reads has this value."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        written = self._written()
        given = [name for name in SOURCES if name in written]
        if len(given) != 1:
            said = " and ".join(f"`{name}`" for name in given) if given else "none of them"
            raise ValueError(f"a rule has exactly one of {_listed(SOURCES)}; this one has {said}")
        if given[0] != "constant" and written[given[0]] is None:
            raise ValueError(f"`{given[0]}` needs a value")
        if (self.each is None) != (self.fields is None):
            raise ValueError("`each` and `fields` belong together: the list, and the fields of one item")
        if "by" in written and self.link is None:
            raise ValueError("`by` belongs to `link`")
        if given[0] in {"object", "each"}:
            for name in ("transforms", "default", "link"):
                if name in written:
                    raise ValueError(f"`{name}` belongs to the fields inside `{given[0]}`")
        return self

    @property
    def has_default(self) -> bool:
        """True if a default is written, be it null."""
        return "default" in self.model_fields_set


class Condition(_Model):
    """What must hold: a path with one comparison, or a group of conditions."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [*_COMPARISON_FORMS, *_GROUP_FORMS]})

    path: PathText | None = Field(default=None, description="Where the value stands in the source record.")
    equals: Scalar = Field(default=None, description="The value is this one, letter for letter.")
    in_: Annotated[list[Scalar], Field(min_length=1)] | None = Field(
        default=None, alias="in", description="The value is one of these."
    )
    exists: bool | None = Field(default=None, description="There is a value: not absent, null or empty text.")
    greater_than: int | Decimal | None = Field(default=None, description="The value is a number above this.")
    less_than: int | Decimal | None = Field(default=None, description="The value is a number below this.")
    all_: Annotated[list[Condition], Field(min_length=1)] | None = Field(
        default=None, alias="all", description="All of these hold."
    )
    any_: Annotated[list[Condition], Field(min_length=1)] | None = Field(
        default=None, alias="any", description="At least one of these holds."
    )
    not_: Condition | None = Field(default=None, alias="not", description="This does not hold.")

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        written = self._written()
        if written.keys() not in [*({"path", name} for name in OPERATORS), *({name} for name in GROUPS)]:
            raise ValueError(
                f"a condition is a `path` with exactly one of {_listed(OPERATORS)}; or one of {_listed(GROUPS)} alone"
            )
        for name, value in written.items():
            if value is None and name != "equals":
                raise ValueError(f"`{name}` needs a value")
        return self


class Matching(_Model):
    """How a record finds a partner that stands on the other side already."""

    adopt_from: Decimal = Field(
        default=Decimal("0.98"), ge=0, le=1, description="From this score on, one clear candidate is linked by itself."
    )
    review_from: Decimal = Field(
        default=Decimal("0.10"), ge=0, le=1, description="From this score on, a person is asked; below, it is new."
    )
    shared_name: Literal["park", "suffix"] = Field(
        default="park",
        description="What happens if another kind of record has the name: a person decides, or the name gets a suffix.",
    )


class Caps(_Model):
    """How much may happen without a person's approval. What is above waits, parked."""

    withdrawals: int = Field(
        default=20,
        ge=0,
        le=5000,
        description="A day: documents voided or credited because their records left or are gone.",
    )
    withdrawals_percent: int = Field(
        default=10, ge=0, le=100, description="Likewise, in percent of the step's documents, if that is less."
    )
    rewrites: int = Field(
        default=200,
        ge=0,
        le=5000,
        description="A day: documents that are only written because the sync itself was changed.",
    )
    run_writes: int | None = Field(default=None, ge=0, description="Writes of one `tieout apply`.")
    run_amount: int | Decimal | None = Field(
        default=None, ge=0, description="Sum of the amounts of one `tieout apply`, in each currency."
    )


class Step(_Model):
    """Records of one kind that become documents of one kind on the other side."""

    from_: KindName = Field(alias="from", description="Kind of record that is read.")
    to: KindName = Field(description="Kind of document or record that is written.")
    writes_back: StepName | None = Field(
        default=None,
        description="Reads the target side and updates records on the source side: those that the links of this step"
        " name.",
    )
    also_on: dict[KindName, PathText] = Field(
        default={}, description="Kinds whose changes concern records of this step, and where those name their ids."
    )
    when: Condition | None = Field(default=None, description="Which records take part; without it all do.")
    on_leave: Literal["park", "keep", "write", "withdraw"] = Field(
        default="park",
        description="What happens if a record that was written no longer fulfils `when`: a person decides, the other"
        " side stays as it is, the record is written all the same, or its document is withdrawn.",
    )
    on_delete: Literal["park", "keep", "withdraw"] = Field(
        default="park",
        description="What happens if a record that was written is deleted: a person decides, the other side stays as it"
        " is, or its document is withdrawn.",
    )
    if_paid: Literal["park", "credit_note"] = Field(
        default="park",
        description="Withdrawing voids an unpaid document. One that is paid, in part too: a person decides, or a credit"
        " note is made of it.",
    )
    two_way: Literal["source", "target", "newest", "ask"] | None = Field(
        default=None,
        description="Changes on the other side come back as well. If both sides changed a field: the source's value"
        " counts, the target's, the newest, or a person is asked.",
    )
    flaps_max: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=10, description="In a two-way step: so often in an hour may the sides overwrite each other in turn."
    )
    match: Matching | None = Field(
        default=None, description="How a partner is found that stands on the other side already."
    )
    label: Rule | None = Field(default=None, description="The record in words, for messages.")
    amount: Rule | None = Field(default=None, description="What is at stake, for messages and caps.")
    currency: Rule | None = Field(default=None, description="Of that amount; without it, the field `currency` counts.")
    fields: Annotated[dict[str, Rule], Field(min_length=1)] = Field(description="The fields of the target.")

    @property
    def reads(self) -> Literal["source", "target"]:
        """The side that records come from."""
        return "source" if self.writes_back is None else "target"


class _Written(_Model):
    _text: str = PrivateAttr(default="")

    @property
    def text(self) -> str:
        """The document as it was written."""
        return self._text

    @classmethod
    def written(cls, data: object, text: str) -> Self:
        """The document of these values, which stood in `text`.

        Raises:
            pydantic.ValidationError: If they have not its shape.
        """
        document = cls.model_validate(data)
        document._text = text  # noqa: SLF001 - its own class; a private attribute is no input
        return document


class SyncDocument(_Written):
    """What goes from one connection to another, and how."""

    kind: Literal["sync"]
    name: Identifier = Field(description="Unique within the tenant: small letters, digits, hyphens.")
    source: Identifier = Field(description="Id of the connection that records come from.")
    target: Identifier = Field(description="Id of the connection that documents go to.")
    caps: Caps = Field(default=Caps(), description="How much may happen without a person's approval.")
    steps: Annotated[dict[StepName, Step], Field(min_length=1, max_length=40)] = Field(
        description="What is written, by name. A step that another one links to goes first by itself."
    )


class ConnectionDocument(_Written):
    """One account at one provider."""

    kind: Literal["connection"]
    id: Identifier = Field(description="Unique within the tenant: small letters, digits, hyphens.")
    provider: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", max_length=40)] = Field(
        description="The connector, such as `quickbooks_online`."
    )
    account: str = Field(default="", description="The provider's own id of the account, where consent does not tell.")
    settings: dict[str, Any] = Field(default={}, description="What the connector asks for. No secrets.")
    poll: str = Field(
        default="",
        pattern=r"^(rate\((1 (minute|hour|day)|([2-9]|[1-9][0-9]{1,3}) (minutes|hours|days))\))?$",
        description="How often to ask for changes, such as `rate(1 hour)`; without it as the deployment says.",
    )
    through_agent: bool = Field(
        default=False, description="The system stands in an office: an agent beside it does the work."
    )


type AnyDocument = SyncDocument | ConnectionDocument
DOCUMENT_KINDS: dict[str, type[SyncDocument | ConnectionDocument]] = {
    "sync": SyncDocument,
    "connection": ConnectionDocument,
}


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
