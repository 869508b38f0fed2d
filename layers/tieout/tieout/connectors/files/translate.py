"""A stored row as a record: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tieout.connectors.files.manifest import FilesSettings
from tieout.domain.files import FileRow
from tieout.domain.records import Fields, Kind, Record, Value


def record_of(row: FileRow, settings: FilesSettings, companies: Sequence[str] | None = None) -> Record:
    """The row as a record.

    Args:
        row: What is stored.
        settings: Say which words mean won and lost.
        companies: Ids of the companies whose name a deal's row has; its customer is known only if there is one. None
            if nobody looked.
    """
    fields = _deal(row, settings, companies) if row.kind is Kind.DEAL else row.fields
    return Record(row.kind, row.id, row.digest, row.changed_at, fields)


def company_of(row: FileRow) -> str:
    """The name of the company that a deal's row names; empty if it names none."""
    return _custom_text(row.fields, "company")


def _deal(row: FileRow, settings: FilesSettings, companies: Sequence[str] | None) -> Fields:
    """A row of deals has no lines: its amount is one line, of the product in the column for it if there is one."""
    fields: dict[str, Value] = {**row.fields, "status": _status(row.fields, settings)}
    if name := company_of(row):
        (known,) = companies if companies is not None and len(companies) == 1 else (None,)
        fields["companies"] = [{"id": known, "name": name}]
    if fields.get("amount") is not None:
        product = _custom_text(row.fields, "product") or fields.get("name")
        fields["lines"] = [
            {"product_id": None, "name": product, "quantity": None, "unit_price": None, "amount": fields["amount"]}
        ]
    return fields


def _custom_text(fields: Fields, name: str) -> str:
    custom = fields.get("custom_fields")
    value = custom.get(name) if isinstance(custom, Mapping) else None
    return " ".join(value.split()) if isinstance(value, str) else ""


def _status(fields: Fields, settings: FilesSettings) -> str:
    said = {str(fields[name]).strip().casefold() for name in ("status", "stage") if fields.get(name) is not None}
    for status, words in (("won", settings.won), ("lost", settings.lost), ("inactive", settings.inactive)):
        if said & {word.casefold() for word in words}:
            return status
    return "open"
