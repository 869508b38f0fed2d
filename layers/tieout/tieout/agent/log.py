"""The agent's log: names, counts, kinds of errors and places in the code. Never an error's text, a body, a secret."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE_BYTES_MAX, FILES_MAX = 1_000_000, 5


class _Formatter(logging.Formatter):
    """UTC, and no error's text even where somebody hands one on."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - theirs
        """Such as 2026-11-22T09:00:00Z."""
        return f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        record.exc_info = record.exc_text = None
        line = super().format(record)
        return f"{line} ({kind.__name__})" if kind is not None else line


class _Handler(RotatingFileHandler):
    """Goes on with the file that it has if Windows does not let it be renamed, as somebody reads it."""

    def doRollover(self) -> None:  # noqa: N802 - the base class's name
        """See RotatingFileHandler."""
        with suppress(OSError):
            super().doRollover()
        if self.stream is None:
            self.stream = self._open()


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Write what the package logs into the file while the context lasts.

    Raises:
        OSError: If it cannot be written.
    """
    handler = _Handler(file, maxBytes=FILE_BYTES_MAX, backupCount=FILES_MAX - 1, encoding="utf-8", delay=False)
    handler.setFormatter(_Formatter())
    package, transport = logging.getLogger("tieout"), logging.getLogger("tieout.transport")
    former = package.level, transport.level, package.propagate
    package.setLevel(logging.INFO)
    transport.setLevel(logging.WARNING)  # a line for every question whether there is work
    package.propagate = False
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()
        package.setLevel(former[0])
        transport.setLevel(former[1])
        package.propagate = former[2]
