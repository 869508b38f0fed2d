"""A row of a file as what is kept of it: its fields, its key, or why it is refused. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tieout.domain.packing import pack
from tieout.domain.records import Fields, Kind, Value
from tieout.files import Columns, Findings, Problem, Row, to_fields

KEY_CHARACTERS_MAX = 200
ROW_BYTES_MAX = 100_000
_DIGEST_BYTES = 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Read:
    """A row as it was read.

    Attributes:
        number: Of the row, as a spreadsheet counts.
        id: Its key; empty if it is refused.
        digest: Of the fields.
        refused: Why it is refused, as a sentence; empty if it is not.
        notes: What of it could not be taken, or why it is refused.
    """

    number: int
    id: str
    fields: Fields
    digest: str
    refused: str = ""
    notes: tuple[Problem, ...] = ()


def read_row(row: Row, columns: Columns, findings: Findings) -> Read:
    """The row's fields and key, or why it is refused.

    A cell that cannot be read is left out and noted; one with an amount or a day of a deal or a product refuses its
    row, as a document without it would be another one.
    """
    fields, problems = to_fields(row, columns, findings)
    refused = row.problem or _missing(columns, problems)
    if refused:
        return Read(row.number, "", {}, "", refused, tuple(problems))
    if columns.kind is Kind.COMPANY and not fields.get("name"):
        fields["name"] = _text(fields, "contact.name") or None
    key = _key(row, columns, fields)
    if not key:
        return Read(row.number, "", {}, "", _KEYLESS[columns.kind], tuple(problems))
    packed = pack(fields).encode()
    if len(packed) > ROW_BYTES_MAX:
        return Read(row.number, "", {}, "", f"The row has {len(packed):,} bytes; {ROW_BYTES_MAX:,} are kept at most.")
    digest = hashlib.blake2b(packed, digest_size=_DIGEST_BYTES).hexdigest()
    return Read(row.number, key, fields, digest, notes=tuple(problems))


_KEYLESS: Mapping[Kind, str] = {
    Kind.COMPANY: "The row has no number, e-mail address or name to know it by.",
    Kind.CONTACT: "The row has no number, e-mail address or name to know it by.",
    Kind.DEAL: "The row has no number or name to know it by.",
    Kind.PRODUCT: "The row has no number or name to know it by.",
}


def _missing(columns: Columns, problems: tuple[Problem, ...]) -> str:
    if columns.kind not in (Kind.DEAL, Kind.PRODUCT):
        return ""
    reads = {(one.title, one.path or ""): one.reads for one in columns.columns}
    for problem in problems:
        exact = reads.get((problem.title, problem.path)) in ("number", "date")
        if exact and not problem.path.startswith("custom_fields."):
            return problem.message
    return ""


def _key(row: Row, columns: Columns, fields: Fields) -> str:
    """The chosen columns' values; without any, the e-mail address or number, then the name with the company's."""
    mails = {one.title: one.path or "" for one in columns.columns if (one.path or "").endswith("email")}
    chosen = [
        _text(fields, mails[title]).casefold() if title in mails else _plain(row.values.get(title))
        for title in columns.key
    ]
    return _short(" / ".join(filter(None, chosen)) or _own_key(columns.kind, fields))


_OWN_KEYS: Mapping[Kind, tuple[str, ...]] = {
    Kind.COMPANY: ("contact.email", "name", "contact.name"),
    Kind.CONTACT: ("email", "company_name", "name"),
    Kind.DEAL: ("source_id", "custom_fields.company", "name"),
    Kind.PRODUCT: ("sku", "name"),
}
"""By kind, the field that is the key by itself, and those that are it together if that one is empty."""


def _own_key(kind: Kind, fields: Fields) -> str:
    first, *then = _OWN_KEYS[kind]
    names = dict.fromkeys(filter(None, (_text(fields, path) for path in then)))
    return (_text(fields, first) or " / ".join(names)).casefold()


def _text(fields: Fields, path: str) -> str:
    value: Value = fields
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return _plain(value) if isinstance(value, str) else ""


def _plain(text: str | None) -> str:
    return " ".join(_CONTROL.sub(" ", text or "").split())


def _short(key: str) -> str:
    """The key, or its beginning and a digest of it: it stands in keys of the table and in commands."""
    if len(key) <= KEY_CHARACTERS_MAX:
        return key
    digest = hashlib.blake2b(key.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{key[: KEY_CHARACTERS_MAX - len(digest) - 1]}~{digest}"
