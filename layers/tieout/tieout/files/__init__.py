"""Files that people export and files that people open: read into rows and fields, and written. No I/O but the file."""

from __future__ import annotations

from tieout.files.columns import Column, Columns, problems_of, suggest
from tieout.files.fields import Problem, to_fields
from tieout.files.opening import open_file
from tieout.files.source import Choices, FileError, Finding, Findings, Format, Limits, Row, SourceFile
from tieout.files.write import write_csv

__all__ = [
    "Choices",
    "Column",
    "Columns",
    "FileError",
    "Finding",
    "Findings",
    "Format",
    "Limits",
    "Problem",
    "Row",
    "SourceFile",
    "open_file",
    "problems_of",
    "suggest",
    "to_fields",
    "write_csv",
]
