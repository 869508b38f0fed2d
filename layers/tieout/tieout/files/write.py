"""CSV for people to open: what spreadsheets show as it is, and `open_file` reads back equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal

from tieout.domain.records import Value
from tieout.files.neutral import harmless
from tieout.files.source import FileError

_PIECE_CHARACTERS = 65_536
_MARK = "\ufeff"
LIST_SEPARATOR = "; "


def write_csv(
    rows: Iterable[Mapping[str, Value]], columns: Sequence[str], *, for_machines: bool = False
) -> Iterator[bytes]:
    """A CSV file in pieces: UTF-8 with its mark, CRLF, commas, every cell quoted (RFC 4180).

    Text that a spreadsheet would read as a formula gets an apostrophe in front; numbers, dates and flags stay. A
    title that a row does not have, or None, is an empty cell without quotes, which tells it from an empty text.

    Args:
        rows: Values by title.
        columns: The titles, in order.
        for_machines: Leaves text as it is: only for programs, never for a file that a person may open.

    Raises:
        FileError: If there are no columns, or a text or value has no form in a file; what came before was given out.
    """
    if not columns:
        raise FileError("A file needs at least one column.")
    guard = _as_it_is if for_machines else harmless
    piece = [_MARK, ",".join(_quoted(guard(title)) for title in columns), "\r\n"]
    size = 0
    for row in rows:
        cells = [_cell(row.get(title), guard) for title in columns]
        line = ",".join(cells) or _quoted("")  # of a single empty cell nothing would be seen
        piece += (line, "\r\n")
        size += len(line)
        if size >= _PIECE_CHARACTERS:
            yield _encoded(piece)
            piece, size = [], 0
    if piece:
        yield _encoded(piece)


def _as_it_is(text: str) -> str:
    return text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _cell(value: Value, guard: Callable[[str], str]) -> str:  # noqa: PLR0911 - one return a type
    match value:
        case None:
            return ""
        case str():
            return _quoted(guard(value))
        case bool():
            return _quoted("true" if value else "false")
        case int():
            return _quoted(str(value))
        case Decimal():
            return _quoted(format(value, "f"))
        case date():
            return _quoted(value.isoformat())
        case Sequence():
            return _quoted(guard(LIST_SEPARATOR.join(map(str, value))))
    raise FileError(f"A {type(value).__name__} does not fit into a cell.")


def _encoded(piece: list[str]) -> bytes:
    try:
        return "".join(piece).encode()
    except UnicodeEncodeError:
        raise FileError("A text holds half a character, which no file can.") from None
