"""Which column goes where: suggested by its title, saved as plain data, and checked against a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from slugify import slugify

from tieout.domain.records import FIELDS, Kind, Shape
from tieout.files.meanings import BY_KIND, KEYS, KINDS, Place
from tieout.files.source import SourceFile
from tieout.files.titles import folded, meaning_of
from tieout.mapping.paths import parse_path, path_text

type Reads = Literal["text", "number", "date", "list"]

_TEXT: Reads = "text"
_SAMPLE_ROWS = 200


class Column(BaseModel):
    """One column, and the field that it fills.

    Attributes:
        title: As `SourceFile.columns` has it.
        path: Path of the field in a record of `Columns.kind`; None leaves the column out.
        reads: How its text is read. `list` parts it at `;`, or at `,` where there is none.
        rank: Of several columns for one field, or one address, those with the lowest rank in which anything stands
            count; the others are not looked at.
        by: The rule that suggested it, for people; `you` if a person set it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    path: Annotated[str, AfterValidator(path_text)] | None
    reads: Reads = _TEXT
    rank: int = Field(default=1, ge=1)
    by: str = "you"


class Columns(BaseModel):
    """Where the columns of a file go; one title may fill several fields.

    Attributes:
        kind: What a row is: a contact, a company, a product or a deal.
        key: Titles whose cells together tell one row from another; empty if a person has to say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()


def suggest(source: SourceFile, kind: Kind | None = None) -> Columns:
    """The columns that the titles speak for; what no rule knows is kept as a custom field.

    Args:
        source: The file.
        kind: What its rows are; None lets the layout and the titles say.
    """
    locale = source.findings.locale.value
    layout = source.findings.layout.value or "generic"
    meanings = {title: meaning_of(title, locale, layout) for title in source.columns}
    meanings |= _swapped(source, meanings)
    kind = kind or _kind(layout, meanings)
    columns: list[Column] = []
    taken: set[str] = set()
    for title, meaning in meanings.items():
        places = BY_KIND[kind].get(meaning or "")
        if places is None:
            columns.append(_kept(title, taken))
            continue
        rule = f"{layout} ({locale})" if locale else layout
        columns += [_column(title, place, f"the title, as in {rule}") for place in places]
    return Columns(kind=kind, columns=_without_rivals(columns, taken), key=_key(source, kind, columns))


def problems_of(columns: Columns, source: SourceFile) -> tuple[str, ...]:
    """Everything that is wrong with saved columns for this file, as sentences; empty if they can be used."""
    have = set(source.columns)
    named = dict.fromkeys([each.title for each in columns.columns] + list(columns.key))
    found = [f"The file has no column “{title}”." for title in named if title not in have]
    if columns.kind not in KINDS:
        found.append(f"A file cannot hold records of the kind {columns.kind.value}.")
        return tuple(found)
    if not any(each.path for each in columns.columns):
        found.append("No column fills a field.")
    seen: dict[tuple[str, int], str] = {}
    for each in columns.columns:
        if each.path is None:
            continue
        shape = shape_of(columns.kind, each.path)
        if shape is None:
            found.append(f"“{each.title}”: a {columns.kind.value} has no field `{each.path}`.")
        elif shape not in ("any", each.reads):
            found.append(f"“{each.title}”: `{each.path}` holds a {shape}, so the column has to be read as one.")
        rival = seen.setdefault((each.path, each.rank), each.title)
        if rival != each.title:
            found.append(f"“{rival}” and “{each.title}” both fill `{each.path}`: give one of them a higher rank.")
    unknown = [title for title in source.columns if title not in {each.title for each in columns.columns}]
    found += [f"Nothing is said about the column “{title}”." for title in unknown]
    return tuple(found)


def shape_of(kind: Kind, path: str) -> str | None:
    """Which shape the field has: `text`, `number`, `date` or `any`; None if a column cannot fill it."""
    shape: Shape = FIELDS[kind]
    for part in parse_path(path).parts:
        if shape == "any":
            return "any" if isinstance(part, str) else None
        if not isinstance(shape, Mapping) or not isinstance(part, str) or part not in shape:
            return None
        shape = shape[part]
    return shape if isinstance(shape, str) and path != "custom_fields" else None


def _column(title: str, place: Place, rule: str) -> Column:
    return Column(title=title, path=place.path, reads=place.reads, rank=place.rank, by=rule)


def _kept(title: str, taken: set[str]) -> Column:
    """A column that no rule knows, under a name made of its title that no other has."""
    name = slugify(title, separator="_", max_length=60) or "column"
    name = name if not name[0].isdigit() else f"n_{name}"
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique)
    return Column(title=title, path=f"custom_fields.{unique}", by="no rule knows it: kept as a custom field")


def _without_rivals(columns: Iterable[Column], names: set[str]) -> tuple[Column, ...]:
    """Of two columns for one field, the later one gets a custom field too, and counts where the first is empty."""
    taken: set[tuple[str, int]] = set()
    kept: list[Column] = []
    for column in columns:
        rank = column.rank
        if column.path is not None:
            while (column.path, rank) in taken:
                rank += 1
            taken.add((column.path, rank))
            if rank != column.rank and column.rank == 1:
                kept.append(_kept(column.title, names))
        kept.append(column.model_copy(update={"rank": rank}))
    return tuple(kept)


def _swapped(source: SourceFile, meanings: Mapping[str, str | None]) -> dict[str, str]:
    """State and country the other way round, where the cells say so: "Land" can be either in German files."""
    found: dict[str, str] = {}
    by_meaning = {meaning: title for title, meaning in meanings.items()}
    for place in ("business", "home", "other"):
        state, country = by_meaning.get(f"{place}.state"), by_meaning.get(f"{place}.country")
        if state is None or country is None:
            continue
        names = country_names((source.findings.locale.value or "en_US").split("_")[0])
        counts = {state: 0, country: 0}
        for row in islice(source.rows(), _SAMPLE_ROWS):
            for title in counts:
                counts[title] += (row.values.get(title) or "").strip().casefold() in names
        if counts[state] > counts[country]:
            found |= {state: f"{place}.country", country: f"{place}.state"}
    return found


@lru_cache(maxsize=16)
def country_names(language: str) -> frozenset[str]:
    """Names of countries in the language and in English, in small letters."""
    from babel import Locale  # noqa: PLC0415 - only loaded where it is used

    return frozenset(
        name.casefold()
        for each in {language, "en"}
        for code, name in Locale(each).territories.items()
        if code.isalpha() and len(code) == len("DE")
    )


def _kind(layout: str, meanings: Mapping[str, str | None]) -> Kind:
    if layout in ("tally", "goldmine"):
        return Kind.COMPANY
    known = [meaning for meaning in meanings.values() if meaning]
    if layout != "generic":
        return Kind.CONTACT
    return max(KINDS, key=lambda kind: sum(meaning in KINDS[kind] for meaning in known))


def _key(source: SourceFile, kind: Kind, columns: Iterable[Column]) -> tuple[str, ...]:
    """The column with an id that a program gave, if anything stands in it; else the e-mail address."""
    by_title = {folded(title): title for title in source.columns if title not in source.empty}
    known = next((by_title[key] for key in KEYS[kind] if key in by_title), None)
    if known is not None:
        return (known,)
    mails = [each for each in columns if each.path in ("email", "contact.email") and each.title not in source.empty]
    return tuple(each.title for each in sorted(mails, key=lambda one: one.rank)[:1])
