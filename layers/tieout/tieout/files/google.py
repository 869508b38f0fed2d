"""Google's CSV export: its pairs of type and value, put under the titles that all others use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tieout.files.cards import NO_PREFERENCE, Property, in_order, titled, types_of
from tieout.files.source import Finding, Limits, Row, Table, too_long

_PAIRED = re.compile(r"(E-mail|Phone|Address|Organization|Website|Relation|Event) (\d+) - (.+)")
_TYPES = ("Type", "Label")
_SEVERAL = " ::: "
_GROUPS = ("Group Membership", "Labels")
_ORGANIZATION = {
    "Organization Name": "Company",
    "Organization Title": "Job Title",
    "Organization Department": "Department",
}
_PROPERTIES = {"E-mail": "email", "Phone": "tel", "Website": "url"}
_ADDRESS = ("PO Box", "Extended Address", "Street", "City", "Region", "Postal Code", "Country")


def is_google(columns: tuple[str, ...]) -> bool:
    """True for titles such as `E-mail 1 - Value`."""
    return any((match := _PAIRED.fullmatch(title)) and match[3] in ("Value", "Street") for title in columns)


def ungoogled(table: Table, limits: Limits) -> Table:
    """The same table with a column for each mailbox, number and address, named by its type."""
    titles: dict[str, None] = {}
    for row in table.read():
        titles |= dict.fromkeys(_values(row.values))
    columns = in_order(titles)

    def rows() -> Iterator[Row]:
        for row in table.read():
            values = _values(row.values)
            full = {title: values.get(title) for title in columns}
            yield Row(row.number, full, row.problem or too_long(full, limits))

    findings = replace(table.findings, layout=Finding("google"))
    return replace(table, columns=columns, read=rows, findings=findings)


def _values(row: Mapping[str, str | None]) -> dict[str, str]:
    plain = {
        _ORGANIZATION.get(title, title): value for title, value in row.items() if value and not _PAIRED.fullmatch(title)
    }
    for title in _GROUPS:
        if title in plain:
            groups = (group.removeprefix("* ").strip() for group in plain.pop(title).split(_SEVERAL))
            plain["Categories"] = "; ".join(filter(None, groups))
    return {**plain, **titled(_properties(row)).values}


def _properties(row: Mapping[str, str | None]) -> Iterator[Property]:
    entries: dict[tuple[str, str], dict[str, str]] = {}
    for title, value in row.items():
        if value and (match := _PAIRED.fullmatch(title)):
            entries.setdefault((match[1], match[2]), {})[match[3]] = value
    for (name, _), entry in entries.items():
        label = next((entry[each] for each in _TYPES if each in entry), "")
        types, preference = types_of(label.removeprefix("* ")), 1 if label.startswith("* ") else NO_PREFERENCE
        if name in _PROPERTIES:
            for value in entry.get("Value", "").split(_SEVERAL):
                yield Property(_PROPERTIES[name], [[value]], types, preference)
        elif name == "Address":
            parts = [entry.get(part, "") for part in _ADDRESS]
            if not any(parts):
                parts[_ADDRESS.index("Street")] = entry.get("Formatted", "")
            yield Property("adr", [[part] for part in parts], types, preference)
        elif name == "Organization":
            yield Property("org", [[entry.get("Name", "")], [entry.get("Department", "")]])
            yield Property("title", [[entry.get("Title", "")]])
        else:
            yield Property(f"related-{'-'.join(sorted(types))}", [[entry.get("Value", "")]], types)
