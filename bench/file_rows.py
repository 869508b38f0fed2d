"""A file of a million rows: what it needs of memory beside one of ten thousand, and processor time a row."""

from __future__ import annotations

import resource
import subprocess  # each reading is a process of its own, whose memory can be told
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Figure
from tieout.files import open_file, write_csv

FEW, MANY = 10_000, 1_000_000
TITLES = ("First Name", "Last Name", "Company", "E-mail Address", "Business Phone", "Business City", "Birthday")


def measure() -> list[Figure]:
    """Open and read a CSV file of a million rows."""
    few, _ = _read_elsewhere(FEW)
    many, seconds = _read_elsewhere(MANY)
    return [
        Figure("files: memory for 1,000,000 rows, of that for 10,000", many / few, "", 1.2),
        Figure("files: rows opened and read a second of processor time", MANY / seconds),
    ]


def _read_elsewhere(rows: int) -> tuple[int, float]:
    """The highest memory, and seconds of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        with path.open("wb") as file:
            file.writelines(write_csv(_rows(rows), TITLES))
        said = subprocess.run([sys.executable, "-m", "bench.file_rows", path], capture_output=True, check=True)
    memory, seconds = said.stdout.split()
    return int(memory), float(seconds)


def _rows(count: int) -> Iterator[dict[str, str]]:
    for number in range(count):
        yield {
            "First Name": f"Given {number}",
            "Last Name": f"Müller-{number % 977}",
            "Company": f"Company {number % 5000}, & Sons",
            "E-mail Address": f"p{number}@example.com",
            "Business Phone": f"+49 30 {number}",
            "Business City": "Berlin",
            "Birthday": "13/04/1980",
        }


def _read(path: str) -> None:
    began = time.process_time()
    with Path(path).open("rb") as file:
        source = open_file(file, name=path)
        count = sum(1 for _ in source.rows())
    assert count == source.count
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time() - began)  # noqa: T201 - its answer


if __name__ == "__main__":
    _read(sys.argv[1])
