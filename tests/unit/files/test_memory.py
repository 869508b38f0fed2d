from __future__ import annotations

import gc
import io
import tracemalloc
from collections.abc import Callable

import pytest
from openpyxl import Workbook

from tests.unit.files.test_dbf import dbf
from tieout.files import Row, open_file, suggest, to_fields, write_csv

LONG = "A note of some length. " * 8
MAIL = f"{'x' * 60}@{'y' * 60}.example"


def as_csv(rows: int) -> bytes:
    made = (
        {"First Name": f"G{n}", "Last Name": f"Müller {n % 977}", "E-mail": f"p{n}@b.de", "Notes": LONG}
        for n in range(rows)
    )
    return b"".join(write_csv(made, ("First Name", "Last Name", "E-mail", "Notes")))


def as_cards(rows: int) -> bytes:
    return b"".join(
        b"BEGIN:VCARD\nFN:G%d\nEMAIL:p%d@b.de\nNOTE:%s\nEND:VCARD\n" % (n, n, LONG.encode()) for n in range(rows)
    )


def as_dbf(rows: int) -> bytes:
    return dbf(*((f"G{n}", f"p{n}@b.de") for n in range(rows)), fields=(("COMPANY", "C", 9, 0), ("EMAIL", "C", 20, 0)))


def as_tally(rows: int) -> bytes:
    ledgers = b"".join(
        b"<LEDGER><GUID>%d</GUID><NAME>G%d</NAME><EMAIL>%s</EMAIL></LEDGER>" % (n, n, MAIL.encode())
        for n in range(rows)
    )
    return b"<ENVELOPE>" + ledgers + b"</ENVELOPE>"


def as_workbook(rows: int) -> bytes:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("S")
    sheet.append(("Name", "E-mail"))
    for n in range(rows):
        sheet.append((f"G{n}", f"p{n}@b.de"))
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def peak_bytes(content: bytes, rows: int) -> int:
    """Of opening and reading all rows, beside the file itself."""
    file = io.BytesIO(content)
    gc.collect()
    tracemalloc.start()
    try:
        source = open_file(file, name="a")
        columns = suggest(source)
        assert sum(not to_fields(row, columns, source.findings)[1] for row in source.rows()) == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("made", "rows"), [(as_csv, 700), (as_cards, 500), (as_dbf, 2_500), (as_tally, 500), (as_workbook, 1_200)]
)
def test_memory_does_not_grow_with_the_rows(made: Callable[[int], bytes], rows: int):
    """A row that is kept costs 500 bytes and more; the smaller file is larger than all buffers already."""
    peak_bytes(made(10), 10)  # what is loaded once
    grown = peak_bytes(made(3 * rows), 3 * rows) - peak_bytes(made(rows), rows)
    assert grown / (2 * rows) < 100


class Watched(io.BytesIO):
    """A file that counts now and then, while it is read, how many rows are alive."""

    alive_max = counted = 0

    def read1(self, size=-1):
        self.counted += 1
        if self.counted % 100 == 0:
            self.alive_max = max(self.alive_max, sum(type(one) is Row for one in gc.get_objects()))
        return super().read1(size)


def test_of_50_000_rows_few_are_alive_at_once():
    file = Watched(as_csv(50_000))
    source = open_file(file, name="a")
    assert sum(1 for _ in source.rows()) == source.count == 50_000
    assert file.counted > 200
    assert 0 < file.alive_max < 5
