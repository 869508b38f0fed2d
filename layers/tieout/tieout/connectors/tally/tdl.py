"""Requests to Tally: exports defined in its own language (TDL) inside the request, and imports.

Exports come in two forms. A *collection* gives whole objects with what is asked for by name; never `*`, which ends some
releases. A *report* gives a flat table of formulas, and stays small where releases before 7 write every empty list.
Voucher collections get both dates, since without them only the period on the screen is shown, and with their type,
since Tally passes over one without; master collections get none, since that can freeze the program.
Source: help.tallysolutions.com/xml-integration, and measured notes of TallyPrime 3.0 to 7.1; read 2026-11-22.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from xml.etree.ElementTree import Element

from tieout.connectors.tally.wire import add

_NAME = "TieoutList"
ROW = "TIEOUTROW"
"""The first column of each row in a report, as rows are not nested in anything; never empty."""


def text(value: str) -> str:
    """A text as a formula has it. A quotation mark cannot stand in one, so it is put in by its number."""
    return " + $$StrByCharCode:34 + ".join(f'"{part}"' for part in value.split('"'))


def any_of(method: str, values: Iterable[str]) -> str:
    """A formula that is true if the method is one of the values."""
    return " OR ".join(f"{method} = {text(value)}" for value in values)


def all_of(*formulas: str) -> str:
    """A formula that is true if all of them are; empty ones are left out."""
    given = [each for each in formulas if each]
    return given[0] if len(given) == 1 else " AND ".join(f"({each})" for each in given)


def collection(
    of: str, methods: Sequence[str], *, company: str, where: str = "", days: tuple[dt.date, dt.date] | None = None
) -> Element:
    """Whole objects of a type, as far as the formula `where` is true for them."""
    root, messages = _export("Collection", company, days)
    _collection(messages, of, where, methods)
    return root


def report(
    of: str,
    columns: Mapping[str, str],
    *,
    company: str = "",
    where: str = "",
    days: tuple[dt.date, dt.date] | None = None,
) -> Element:
    """A table: formulas by column, for the objects of a type for which `where` is true."""
    root, messages = _export("Data", company, days)
    add(add(messages, "REPORT", NAME=_NAME), "FORMS", _NAME)
    add(add(messages, "FORM", NAME=_NAME), "PARTS", _NAME)
    part = add(messages, "PART", NAME=_NAME)
    add(part, "LINES", _NAME)
    add(part, "REPEAT", f"{_NAME} : {_NAME}")
    add(part, "SCROLLED", "Vertical")
    cells = {ROW: text("1"), **columns}
    add(add(messages, "LINE", NAME=_NAME), "FIELDS", ",".join(f"{_NAME}{number}" for number in range(len(cells))))
    for number, (column, formula) in enumerate(cells.items()):
        field = add(messages, "FIELD", NAME=f"{_NAME}{number}")
        add(field, "SET", formula)
        add(field, "XMLTAG", f'"{column}"')
    _collection(messages, of, where, ())
    return root


def rows_of(root: Element) -> list[dict[str, str]]:
    """The rows of a report's answer, by column; without the first."""
    rows: list[dict[str, str]] = []
    for cell in root.iter():
        if cell.tag == ROW:
            rows.append({ROW: " ".join((cell.text or "").split())})
        elif rows and len(cell) == 0:
            rows[-1][cell.tag] = " ".join((cell.text or "").split())
    return rows


def importing(what: str, company: str, records: Iterable[Element]) -> Element:
    """An import in the older form, which all releases take; `what` is `All Masters` or `Vouchers`."""
    root = Element("ENVELOPE")
    add(add(root, "HEADER"), "TALLYREQUEST", "Import Data")
    data = add(add(root, "BODY"), "IMPORTDATA")
    described = add(data, "REQUESTDESC")
    add(described, "REPORTNAME", what)
    add(add(described, "STATICVARIABLES"), "SVCURRENTCOMPANY", company)
    requested = add(data, "REQUESTDATA")
    for record in records:
        add(requested, "TALLYMESSAGE").append(record)
    return root


def _export(type_: str, company: str, days: tuple[dt.date, dt.date] | None) -> tuple[Element, Element]:
    root = Element("ENVELOPE")
    header = add(root, "HEADER")
    add(header, "VERSION", "1")
    add(header, "TALLYREQUEST", "Export")
    add(header, "TYPE", type_)
    add(header, "ID", _NAME)
    described = add(add(root, "BODY"), "DESC")
    variables = add(described, "STATICVARIABLES")
    if company:
        add(variables, "SVCURRENTCOMPANY", company)
    if days is not None:
        add(variables, "SVFROMDATE", days[0], TYPE="Date")
        add(variables, "SVTODATE", days[1], TYPE="Date")
    add(variables, "SVEXPORTFORMAT", "$$SysName:XML")
    return root, add(add(described, "TDL"), "TDLMESSAGE")


def _collection(messages: Element, of: str, where: str, methods: Sequence[str]) -> None:
    collection_ = add(messages, "COLLECTION", NAME=_NAME, ISMODIFY="No")
    add(collection_, "TYPE", of)
    for method in methods:
        add(collection_, "NATIVEMETHOD", method)
    if where:
        add(collection_, "FILTER", f"{_NAME}Wanted")
        add(messages, "SYSTEM", where, TYPE="Formulae", NAME=f"{_NAME}Wanted")
