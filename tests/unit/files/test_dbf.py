from __future__ import annotations

import struct
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.files.opened import imported, opened, values
from tieout.domain.records import Kind
from tieout.files import FileError, Format

FIELDS = (
    ("ACCOUNTNO", "C", 20, 0),
    ("COMPANY", "C", 40, 0),
    ("CONTACT", "C", 40, 0),
    ("LASTNAME", "C", 15, 0),
    ("PHONE1", "C", 25, 0),
    ("CREATEON", "D", 8, 0),
    ("UAMOUNT", "N", 12, 2),
    ("UACTIVE", "L", 1, 0),
)
ADA = ("A1#(x", "Müller & Söhne", "Jörg Müller", "Müller", "+49 1", "20260131", "     -12.50", "T")
EVE = ("A2", "Eve Ltd", "", "", "", "", "", "?")


def dbf(*records: tuple, fields=FIELDS, language: int = 0x03, encoding: str = "cp1252", version: int = 0x03) -> bytes:
    """A table as dBase III writes it; a record that begins with `*` is deleted."""
    length = 1 + sum(field[2] for field in fields)
    begin = 32 + 32 * len(fields) + 1
    head = struct.pack("<BBBBIHH", version, 126, 11, 22, len(records), begin, length)
    head = head.ljust(29, b"\0") + bytes([language]) + b"\0\0"
    for name, kind, size, decimals in fields:
        # Texts of more than 255 characters are told as Clipper and FoxPro tell them.
        head += struct.pack("<11sc4xBB14x", name.encode(), kind.encode(), size % 256, decimals + size // 256)
    body = b""
    for record in records:
        deleted = record[0] == "*"
        cells = [
            cell if isinstance(cell, bytes) else cell.encode(encoding).ljust(field[2])
            for cell, field in zip(record[deleted:], fields, strict=True)
        ]
        body += (b"*" if deleted else b" ") + b"".join(cells)
    return head + b"\x0d" + body + b"\x1a"


def test_records_are_read_without_their_padding_and_deleted_ones_are_not():
    source = opened(dbf(ADA, ("*", *EVE), EVE), "contact1.dbf")
    assert (source.format, source.count, source.findings.layout.value) == (Format.DBF, 2, "goldmine")
    assert source.columns == tuple(field[0] for field in FIELDS)
    assert [row.number for row in source.rows()] == [1, 3]
    assert values(source) == [
        ["A1#(x", "Müller & Söhne", "Jörg Müller", "Müller", "+49 1", "2026-01-31", "-12.50", "true"],
        ["A2", "Eve Ltd", None, None, None, None, None, None],
    ]


def test_contacts_of_goldmine():
    one, two = imported(opened(dbf(ADA, EVE), "contact1.dbf"), Kind.COMPANY)
    assert one["name"] == "Müller & Söhne"
    assert one["contact"] == {"name": "Jörg Müller", "family_name": "Müller", "given_name": "Jörg"}
    assert (one["phone"], two["contact"]) == ("+49 1", None)


@pytest.mark.parametrize(
    ("language", "encoding", "found"),
    [(0x03, "cp1252", "cp1252"), (0x02, "cp850", "cp850"), (0xC8, "cp1250", "cp1250"), (0, "cp1252", "cp1252")],
)
def test_the_code_page_is_that_of_the_header_and_only_guessed(language, encoding, found):
    source = opened(dbf(ADA, language=language, encoding=encoding), "a.dbf")
    assert (source.findings.encoding.value, source.findings.encoding.certainty) == (found, "guessed")
    assert values(source)[0][1] == "Müller & Söhne"
    assert opened(dbf(EVE, language=language), "a.dbf").findings.encoding.certainty == "sure"


def test_a_person_says_the_code_page():
    assert values(opened(dbf(ADA, encoding="cp850"), "a.dbf", encoding="cp850"))[0][1] == "Müller & Söhne"
    with pytest.raises(FileError, match="is not an encoding"):
        opened(dbf(ADA), "a.dbf", encoding="no-such")


def test_types_of_other_programs():
    fields = (
        ("ID", "I", 4, 0),
        ("PRICE", "Y", 8, 0),
        ("RATE", "B", 8, 0),
        ("AT", "T", 8, 0),
        ("LONG", "C", 300, 0),
        ("NOTES", "M", 10, 0),
        ("NUM", "F", 6, 2),
    )
    record = (
        struct.pack("<i", -7),
        struct.pack("<q", 123_450),
        struct.pack("<d", 0.1),
        struct.pack("<II", 2_461_072, 30_300_000),
        "x" * 300,
        b"         1",
        "******",
    )
    source = opened(dbf(record, fields=fields, version=0x30), "a.dbf")
    assert values(source) == [["-7", "12.345", "0.1", "2026-01-31 8:25:00", "x" * 300, None, None]]
    assert source.findings.warnings == ("NOTES: these texts are kept in a second file (.dbt, .fpt), and are not read.",)


def test_a_table_that_was_cut_off_is_refused():
    content = dbf(ADA, EVE)
    with pytest.raises(FileError, match="cut off: it holds 1 of 2 records"):
        opened(content[:-10], "a.dbf")
    assert opened(content[:-1], "a.dbf").count == 2  # the last byte says nothing


@pytest.mark.parametrize("content", [b"\x03\x7e\x0b\x16", b"name,mail\na,b\n", dbf(ADA)[:60]])
def test_a_header_that_is_none_is_refused(content):
    with pytest.raises(FileError, match=r"header of the dBase table is damaged|cut off"):
        opened(content, "a.dbf")


def test_letters_that_the_code_page_does_not_have_spoil_their_record_only():
    bad = ("A3", b"\x81\xff".ljust(40), "", "", "", "", "", "")
    source = opened(dbf(ADA, bad, EVE), "a.dbf")
    assert [bool(row.problem) for row in source.rows()] == [False, True, False]


def test_a_table_without_records_is_refused():
    with pytest.raises(FileError, match="no rows"):
        opened(dbf(), "a.dbf")


def test_dates_are_dates():
    fields = (("NAME", "C", 10, 0), ("CREATEON", "D", 8, 0))
    source = opened(dbf(("Ada", "20260131"), ("Eve", "        "), fields=fields), "a.dbf")
    assert values(source) == [["Ada", "2026-01-31"], ["Eve", None]]
    assert source.findings.date_order.value == "ymd"
    assert date.fromisoformat(values(source)[0][1]) == date(2026, 1, 31)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_a_damaged_header_is_read_or_refused(at, junk):
    content = dbf(ADA, EVE)
    content = content[:at] + junk + content[at + len(junk) :]
    try:
        source = opened(content, "a.dbf")
    except FileError:
        return
    assert source.count > 0
