from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.files.opened import opened, values
from tieout.files import FileError, open_file, write_csv

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


def written(rows, columns, **options) -> bytes:
    return b"".join(write_csv(rows, columns, **options))


@given(st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=5))
def test_what_is_written_is_read_equal(rows):
    columns = ("First", "Second")
    data = written([dict(zip(columns, row, strict=True)) for row in rows], columns)
    source = opened(data)
    assert values(source) == [list(row) for row in rows]
    assert source.columns == columns
    assert source.findings.warnings == ()


@pytest.mark.parametrize("text", ["=1+1", "+49 30 1", "-x", "@sum", "\tx", "\rx", "\nx", "\uff1dx", "'=1", "''-"])
def test_a_formula_is_made_harmless_and_comes_back_as_it_was(text):
    data = written([{"a": text, "b": "1"}], ["a", "b"])
    assert data.splitlines(keepends=True)[1].startswith(b"\"'")
    assert values(opened(data)) == [[text, "1"]]


@pytest.mark.parametrize("text", ["'", "'x", "x=1", "", " =1", "1-2", "'' "])
def test_other_text_stays_as_it_is(text):
    data = written([{"a": text, "b": "1"}], ["a", "b"])
    assert data == f'\ufeff"a","b"\r\n"{text}","1"\r\n'.encode()
    assert values(opened(data)) == [[text, "1"]]


def test_numbers_dates_and_flags_are_no_text():
    row = {
        "amount": Decimal("-12.50"),
        "count": -3,
        "on": date(2026, 1, 31),
        "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "paid": False,
        "tags": ["-a", "b"],
        "none": None,
    }
    assert written([row], list(row)).splitlines()[1] == (
        b'"-12.50","-3","2026-01-31","2026-01-31T12:00:00+00:00","false","\'-a; b",'
    )


def test_titles_are_made_harmless_too():
    assert written([{"=a": "x", "b": "y"}], ["=a", "b"]).startswith(b'\xef\xbb\xbf"\'=a","b"\r\n')
    assert opened(written([{"=a": "x", "b": "y"}], ["=a", "b"])).columns == ("=a", "b")


def test_machines_get_text_as_it_is():
    assert written([{"a": "+49 30 1"}], ["a"], for_machines=True) == b'\xef\xbb\xbf"a"\r\n"+49 30 1"\r\n'


def test_a_row_with_one_empty_cell_is_not_lost():
    assert values(opened(written([{"a": None}, {"a": "x"}], ["a"]))) == [[""], ["x"]]


def test_it_comes_in_pieces():
    pieces = list(write_csv(({"a": "x" * 1000} for _ in range(1000)), ["a"]))
    assert len(pieces) > 10
    assert open_file(io.BytesIO(b"".join(pieces)), name="").count == 1000


def test_refuses_what_has_no_form_in_a_file():
    with pytest.raises(FileError, match="at least one column"):
        written([], [])
    with pytest.raises(FileError, match="dict does not fit"):
        written([{"a": {}}], ["a"])
    with pytest.raises(FileError, match="half a character"):
        written([{"a": "\ud800"}], ["a"])
