from __future__ import annotations

import contextlib
import io
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.files.opened import opened, values
from tieout.files import FileError, Limits, open_file

TABLE = "First Name;Last Name;Company\r\nJörg;Müller;Müller & Söhne\r\nAnne;Weiß;Weiß AG\r\n"


@pytest.mark.parametrize(
    ("encoding", "found", "certainty"),
    [
        ("utf-8", "utf-8", "sure"),
        ("utf-8-sig", "utf-8-sig", "sure"),
        ("utf-16", "utf-16", "sure"),
        ("utf-32", "utf-32", "sure"),
        ("utf-16-le", "utf-16-le", "sure"),
        ("utf-16-be", "utf-16-be", "sure"),
        ("cp1252", "cp1252", "guessed"),
    ],
)
def test_the_encoding_is_found(encoding, found, certainty):
    source = opened(TABLE.encode(encoding))
    assert (source.findings.encoding.value, source.findings.encoding.certainty) == (found, certainty)
    assert values(source) == [["Jörg", "Müller", "Müller & Söhne"], ["Anne", "Weiß", "Weiß AG"]]


@pytest.mark.parametrize(
    ("titles", "encoding", "cell"),
    [
        ("Imię,Nazwisko,Telefon służbowy", "cp1250", "Łódź"),
        ("Имя,Фамилия,Рабочий телефон", "cp1251", "Иванов"),
        ("名字,姓氏,公司", "cp950", "台北"),
        ("Prénom,Nom,Société", "cp1252", "Éric"),
        ("a,b,c", "cp1251", "Закрытое акционерное общество"),
    ],
)
def test_a_code_page_is_guessed_by_what_the_titles_say_in_it(titles, encoding, cell):
    source = opened(f"{titles}\r\n{cell},x,y\r\n".encode(encoding))
    assert source.findings.encoding.value == encoding
    assert values(source) == [[cell, "x", "y"]]
    assert list(source.columns) == titles.split(",")


def test_a_person_says_the_encoding():
    assert values(opened("a,b\nÉ,x\n".encode("cp850"), encoding="cp850")) == [["É", "x"]]
    with pytest.raises(FileError, match="not in the encoding ascii: the byte after 4 "):
        opened("a,b\nÉ,x\n", encoding="ascii")
    for name in ("no-such", "base64", "rot13", "idna\0"):
        with pytest.raises(FileError, match="is not an encoding"):
            opened("a,b\nÉ,x\n", encoding=name)


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_the_delimiter_is_found(delimiter):
    rows = [["Name", "Amount, net", "Note"], ["A; B", "1,5", "x|y"], ["C\tD", "2,5", "line\nbreak"]]
    text = "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    source = opened(text)
    assert (source.findings.delimiter.value, source.findings.delimiter.certainty) == (delimiter, "sure")
    assert [list(source.columns), *values(source)] == rows


def test_a_file_with_one_column_has_no_delimiter():
    source = opened("Primary Email\na@example.com\nb@example.com\n")
    assert values(source) == [["a@example.com"], ["b@example.com"]]


def test_excel_is_told_the_delimiter_in_the_first_line():
    source = opened("sep=|\r\na|b\r\n1,2|3\r\n")
    assert source.findings.delimiter.value == "|"
    assert [row.number for row in source.rows()] == [3]
    assert values(source) == [["1,2", "3"]]


def test_a_person_says_the_delimiter():
    assert values(opened("a:b\n1:2\n", delimiter=":")) == [["1", "2"]]
    with pytest.raises(FileError, match="one character"):
        opened("a:b\n1:2\n", delimiter="::")


def test_rows_are_numbered_as_a_spreadsheet_does():
    source = opened('a,b\n\n1,"x\ny"\n,\n2,z\n\x1a')
    assert [(row.number, row.values["a"]) for row in source.rows()] == [(3, "1"), (5, "2")]
    assert source.count == 2


def test_an_empty_cell_is_none_and_a_quoted_empty_text_is_not():
    assert values(opened('a,b,c\n,"",x\n')) == [[None, "", "x"]]


def test_rows_of_another_width_are_told_and_the_others_go_on():
    source = opened("a,b,c\n1,2\n1,2,3\n1,2,3,4\n1,2,3,,\n")
    assert [(row.number, row.problem) for row in source.rows()] == [
        (2, "The row has 2 cells, the titles are 3."),
        (3, ""),
        (4, "The row has 4 cells, the titles are 3."),
        (5, ""),
    ]
    assert next(source.rows()).values == {"a": "1", "b": "2", "c": None}
    assert source.findings.warnings == ("2 of 4 rows cannot be used as they are.",)


def test_a_stray_quote_spoils_its_row_only():
    source = opened('a,b\n"x"y,1\n2,z"z\n"he said ""hi""",3\n')
    assert [(row.number, row.problem) for row in source.rows()] == [
        (2, "A quote stands inside a cell without being doubled."),
        (3, ""),
        (4, ""),
    ]
    assert values(source)[1:] == [["2", 'z"z'], ['he said "hi"', "3"]]


@pytest.mark.parametrize("rest", ["", ",2\n3,4\n", "x\n" * 200_000])
def test_a_quote_that_is_never_closed_refuses_the_file(rest):
    with pytest.raises(FileError, match=r"begins in row 3 \(line 3\) does not end"):
        opened(f'a,b\n1,2\n"3{rest}')


def test_a_cell_that_is_too_long_spoils_its_row_only():
    source = opened(f"a,b\n{'x' * 10_000},1\ny,2\n")
    assert [row.problem for row in source.rows()] == ["“a” has 10,000 characters; at most 8,192 are read.", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty"),
        (b"\n\r\n  \n\n".replace(b" ", b""), "only blank lines"),
        (b",,,\n,,,\n", "only blank lines"),
        (b"\xef\xbb\xbf", "only blank lines"),
        (b"a,b,c\r\n", "titles, but no rows"),
        (b"a,b\n\n\n", "titles, but no rows"),
        (bytes(range(256)) * 20, "not a text file"),
        (b"\x01\x02\x03\x04,\x05\n" * 100, "not a text file"),
        (b"a,b\n" + b"x\0y,1\n" * 20, "not a text file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "old Excel file"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\x1f\x8b\x08\0", "packed file"),
        (b"<html><table><tr><td>1</td></tr></table></html>", "a web page"),
        (b'\xef\xbb\xbf <!DOCTYPE html>\n<html xmlns:x="urn:x">', "a web page"),
        ("a,b\nGrüße,Kö".encode()[:-1], "UTF-8, but damaged or cut off after 14 bytes"),
        (b"a,b\n" + "Grüße aus Köln, ".encode() * 9 + b"\xff\n", "UTF-8, but damaged or cut off after"),
    ],
)
def test_what_is_no_table_is_refused_with_a_sentence(content, message):
    with pytest.raises(FileError, match=message) as caught:
        opened(content)
    assert caught.value.message.endswith(".")


def test_a_web_page_under_the_name_of_a_workbook_is_told():
    with pytest.raises(FileError, match="saved under the name of a workbook") as caught:
        opened("<table><tr><td>1</td></tr></table>", name="Export.XLS")
    assert "Save it as .xlsx" in caught.value.next_step


def test_a_file_that_was_cut_off_in_its_bytes_is_refused():
    with pytest.raises(FileError, match="not in the encoding utf-16"):
        opened("a,b\n1,2\n".encode("utf-16")[:-1])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(bytes_max=10), "has 14 bytes; at most 10"),
        (Limits(rows_max=1), "more than 1 rows"),
        (Limits(columns_max=1), "2 columns; at most 1"),
    ],
)
def test_more_than_the_limits_is_refused(limits, message):
    with pytest.raises(FileError, match=message):
        opened("a,b\n1,2\n3,4\n\n\n", limits=limits)
    assert opened("a,b\n1,2\n3,4\n\n\n", limits=Limits(bytes_max=14, rows_max=2, columns_max=2)).count == 2


def test_a_line_without_an_end_is_not_held():
    with pytest.raises(FileError, match=r"more than 4,000,000 characters|is missing"):
        opened("a,b\n" + "x" * 5_000_000)


def test_titles_that_repeat_are_numbered_and_empty_ones_named():
    source = opened("Mail,Mail,,Mail\na,b,c,d\n")
    assert source.columns == ("Mail", "Mail (2)", "Column 3", "Mail (3)")
    assert len(source.findings.warnings) == 2


def test_a_file_without_titles_is_seen():
    source = opened("Anne,anne@example.com,Köln\nBob,bob@example.com,Bonn\n")
    assert (source.findings.header_row.value, source.findings.header_row.certainty) == ("0", "guessed")
    assert source.columns == ("Column 1", "Column 2", "Column 3")
    assert source.count == 2


def test_lines_above_the_table_are_passed():
    source = opened("Contacts of 2026\n\nName,City,Phone\nA,B,1\nC,D,2\n")
    assert (source.findings.header_row.value, source.findings.header_row.certainty) == ("3", "guessed")
    assert values(source) == [["A", "B", "1"], ["C", "D", "2"]]


def test_a_person_says_where_the_titles_are():
    text = "x,y\na,b\n1,2\n"
    assert opened(text, header_row=2).columns == ("a", "b")
    assert opened(text, header_row=0).count == 3
    with pytest.raises(FileError, match="Row 9 holds no titles"):
        opened(text, header_row=9)


def test_it_can_be_read_twice_and_stays_open():
    file = io.BytesIO(TABLE.encode())
    source = open_file(file, name="a.csv")
    assert list(source.rows()) == list(source.rows())
    assert not file.closed


JUNK = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(str.encode),
    st.text("a1,;|\t\"'\n\r=-@ \0", max_size=200).map(str.encode),
    st.tuples(
        st.sampled_from(
            [b"BEGIN:VCARD\n", b"PK\x03\x04", b"\x03\x7e\x01\x01", b"<ENVELOPE>", b"<", b"\xff\xfe", b'["']
        ),
        st.binary(max_size=300) | st.text(string.printable, max_size=300).map(str.encode),
    ).map(b"".join),
)


@given(JUNK, st.sampled_from(["a.csv", "a.xlsx", "a.dbf", "a.vcf", "a.json"]))
def test_whatever_it_is_it_is_read_or_refused(content, name):
    source = None
    with contextlib.suppress(FileError):
        source = opened(content, name=name)
    if source is not None:
        assert len(list(source.rows())) == source.count > 0
