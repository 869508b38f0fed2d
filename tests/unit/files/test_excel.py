from __future__ import annotations

import io
import re
import zipfile
from datetime import date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from tests.unit.files.opened import imported, opened, values
from tieout.files import FileError, Format, Limits, suggest, to_fields


def workbook(*sheets: tuple[str, list[list[object]]]) -> bytes:
    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def repacked(content: bytes, change) -> bytes:
    """The workbook with each part changed; None takes it out."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part = change(name, old.read(name))
            if part is not None:
                new.writestr(name, part)
    return file.getvalue()


PEOPLE = workbook(
    (
        "People",
        [["First Name", "Last Name", "E-mail Address", "Birthday"], ["Ada", "Lovelace", "a@b.de", date(1815, 12, 10)]],
    )
)


def test_values_are_read_as_excel_shows_them():
    source = opened(
        workbook(
            (
                "Data",
                [
                    ["text", "whole", "number", "date", "moment", "hour", "flag", "nothing", "long"],
                    [
                        "=x",
                        3,
                        0.1 + 0.2,
                        date(2026, 1, 31),
                        datetime.fromisoformat("2026-01-31T08:05"),
                        time(8, 5),
                        True,
                        None,
                        12345678901234,
                    ],
                ],
            )
        ),
        "a.xlsx",
    )
    assert source.format is Format.XLSX
    assert values(source) == [
        [None, "3", "0.3", "2026-01-31", "2026-01-31 08:05:00", "08:05:00", "true", None, "12345678901234"]
    ]
    assert (source.findings.decimal.value, source.findings.date_order.value) == (".", "ymd")
    assert any("formulas" in warning for warning in source.findings.warnings)


def test_a_formula_is_read_as_its_stored_value():
    cell = b"<f>A2*2</f><v />"
    content = repacked(
        workbook(("S", [["a", "b"], [1, "=A2*2"]])),
        lambda _, part: part.replace(cell, b"<f>A2*2</f><v>2</v>"),
    )
    source = opened(content, "a.xlsx")
    assert values(source) == [["1", "2"]]
    assert "the value that was shown" in source.findings.warnings[0]
    assert opened(PEOPLE, "a.xlsx").findings.warnings == ()


def test_contacts_of_a_workbook():
    (fields,) = imported(opened(PEOPLE, "whatever"))
    assert (fields["name"], fields["email"], fields["custom_fields"]) == (
        "Ada Lovelace",
        "a@b.de",
        {"birthday": date(1815, 12, 10)},
    )


def test_rows_are_those_of_the_sheet():
    content = workbook(
        ("S", [["Export of today"], [], ["a", "b", "c"], [1, 2, None], [], [None, "x", "#N/A"], [1, 2, 3, 4]])
    )
    source = opened(content, "a.xlsx")
    assert [(row.number, row.problem) for row in source.rows()] == [
        (4, ""),
        (6, "A cell holds the error #N/A."),
        (7, "The row has 4 cells, the titles are 3."),
    ]
    assert next(source.rows()).values == {"a": "1", "b": "2", "c": None}


def test_a_text_that_is_typed_like_a_number_of_another_language_is_refused_and_not_guessed():
    source = opened(workbook(("S", [["product", "price"], ["x", "1.234,56"], ["y", 7.5]])), "a.xlsx")
    assert source.findings.decimal.value == "."
    columns = suggest(source)
    (_, problems), (fields, _) = (to_fields(row, columns, source.findings) for row in source.rows())
    assert [(problem.path, problem.value) for problem in problems] == [("price", "1.234,56")]
    assert fields["price"] == Decimal("7.5")


def test_the_first_sheet_with_rows_is_read_or_the_one_that_a_person_names():
    content = workbook(("Empty", []), ("One", [["a"], [1]]), ("Two", [["b"], [2]]))
    source = opened(content, "a.xlsx")
    assert (source.columns, source.findings.warnings) == (("a",), ("The workbook has 3 sheets; “One” is read.",))
    assert opened(content, "a.xlsx", sheet="Two").columns == ("b",)
    with pytest.raises(FileError, match="no sheet “Three”") as caught:
        opened(content, "a.xlsx", sheet="Three")
    assert caught.value.next_step == "Choose one of: Empty, One, Two."
    with pytest.raises(FileError, match="blank"):
        opened(workbook(("Empty", [])), "a.xlsx")
    with pytest.raises(FileError, match="titles, but no rows"):
        opened(workbook(("S", [["a", "b"]])), "a.xlsx")


def test_exact_amounts_come_back():
    source = opened(workbook(("S", [["sku", "price"], ["x", 19.99], ["y", -0.07], ["z", 1234567.89]])), "a.xlsx")
    assert [each["price"] for each in imported(source)] == [Decimal("19.99"), Decimal("-0.07"), Decimal("1234567.89")]


@pytest.mark.parametrize("cut", [10, 200, -30])
def test_a_workbook_that_was_cut_off_is_refused(cut):
    with pytest.raises(FileError, match="damaged or was cut off"):
        opened(PEOPLE[:cut], "a.xlsx")


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"])
def test_a_workbook_with_a_broken_part_is_refused(part):
    with pytest.raises(FileError, match="damaged"):
        opened(repacked(PEOPLE, lambda name, old: old[: len(old) // 2] if name == part else old), "a.xlsx")


def test_entities_in_a_workbook_are_refused():
    bomb = b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>'
    for part in ("xl/worksheets/sheet1.xml", "xl/workbook.xml"):
        content = repacked(PEOPLE, lambda name, old, part=part: bomb + old.split(b"?>")[-1] if name == part else old)
        with pytest.raises(FileError, match="damaged"):
            opened(content, "a.xlsx")


def packed(**parts: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name, part in parts.items():
            new.writestr(name.replace("__", "/").replace("_", "."), part)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(readme_txt=b"x"), "a packed file"),
        (packed(content_xml=b"<x/>"), "OpenDocument"),
        (packed(xl__workbook_bin=b"x"), "binary workbook"),
        (packed(word__document_xml=b"x"), "text document"),
    ],
)
def test_other_packed_files_are_told_apart(content, message):
    with pytest.raises(FileError, match=message):
        opened(content, "a.xlsx")


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = packed(xl__workbook_xml=b"<x/>", xl__worksheets__sheet1_xml=b"\0" * 30_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(FileError, match=r"unpacks from .* to 30,000,004 bytes"):
        opened(bomb, "a.xlsx")


@pytest.mark.parametrize(
    "limits", [Limits(packed_members_max=2), Limits(unpacked_bytes_max=1_000), Limits(shared_bytes_max=10)]
)
def test_more_than_the_limits_is_refused(limits):
    with pytest.raises(FileError, match="more than is read"):
        opened(shared(PEOPLE), "a.xlsx", limits)


def shared(content: bytes) -> bytes:
    """The workbook with its texts in a table of their own, as Excel writes them."""
    texts: list[bytes] = []

    def referring(match: re.Match[bytes]) -> bytes:
        texts.append(match[2])
        return match[1] + b't="s"><v>%d</v></c>' % (len(texts) - 1)

    def change(name: str, part: bytes) -> bytes:
        if name.startswith("xl/worksheets/"):
            return re.sub(rb'(<c [^>]*)t="inlineStr"><is><t>(.*?)</t></is></c>', referring, part)
        main = b"application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
        more = b'<Override PartName="/xl/sharedStrings.xml" ContentType="' + main + b'"/></Types>'
        return part.replace(b"</Types>", more) if name == "[Content_Types].xml" else part

    file = io.BytesIO(repacked(content, change))
    assert len(texts) == 7
    table = b"".join(b"<si><t>%s</t></si>" % text for text in texts)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as more:
        main = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        more.writestr("xl/sharedStrings.xml", b'<sst xmlns="' + main + b'">' + table + b"</sst>")
    return file.getvalue()


def test_texts_may_stand_in_a_table_of_their_own():
    assert values(opened(shared(PEOPLE), "a.xlsx")) == values(opened(PEOPLE, "a.xlsx"))


def test_a_part_that_lies_about_its_size_is_not_unpacked_further():
    content = bytearray(packed(xl__workbook_xml=b"<x/>", xl__worksheets__sheet1_xml=b"\0" * 5_000_000))
    size = (5_000_000).to_bytes(4, "little")
    assert content.count(size) == 2
    with pytest.raises(FileError, match="damaged"):
        opened(bytes(content.replace(size, (500).to_bytes(4, "little"))), "a.xlsx")


def test_a_row_far_below_the_others_does_not_keep_us():
    content = repacked(PEOPLE, lambda _, old: old.replace(b'<row r="2"', b'<row r="9000000000"'))
    with pytest.raises(FileError, match="damaged"):
        opened(content, "a.xlsx")


@settings(max_examples=50)
@given(st.integers(0, len(PEOPLE) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_workbook_is_read_or_refused(at, junk):
    content = PEOPLE[:at] + junk + PEOPLE[at + len(junk) :]
    try:
        source = opened(content, "a.xlsx")
    except FileError:
        return
    assert source.count > 0
