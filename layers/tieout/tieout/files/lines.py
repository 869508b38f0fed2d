"""The lines of a text file, one at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, Self

from tieout.files.source import FileError

LINE_CHARACTERS_MAX = 4_000_000


class Lines(Iterator[str]):
    """The lines of the file, none of them longer than can be held; the file stays open."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        file.seek(0)
        self._text = io.TextIOWrapper(file, encoding, newline="")
        self._file = file
        self.number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.detach()

    def __next__(self) -> str:
        try:
            line = self._text.readline(LINE_CHARACTERS_MAX)
        except UnicodeError:
            raise FileError(
                f"Line {self.number + 1:,} holds bytes that the encoding does not know.", next_step="Choose another."
            ) from None
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) >= LINE_CHARACTERS_MAX:
            raise FileError(
                f"Line {self.number:,} has more than {LINE_CHARACTERS_MAX:,} characters.",
                next_step="Check what kind of file this is.",
            )
        return line
