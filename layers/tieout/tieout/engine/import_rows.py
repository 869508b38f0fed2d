"""The rows of one import: stored under their keys, queued, and told about, from where the import stands.

It goes through the file in blocks. Of each few rows the entry in the feed stands first, then they are stored, then
their changes are queued. At the end of a block its results are handed out, and only then the import says how far it is.
Whoever dies is followed by somebody who begins at that row: rows that the dead one stored have the import's name in
them, are stored and queued once more, and end as they did before.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.connections import Connection
from tieout.domain.errors import UnavailableError
from tieout.domain.files import FileRow, Import, ImportState, RowState
from tieout.domain.records import Value
from tieout.engine.rows import Read, read_row
from tieout.files import Columns, SourceFile, write_csv
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector
from tieout.ports.files import Exchange, FileStore
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import ConfigStore

BATCH_ROWS = 500
BLOCK_ROWS = 10_000
LIVE_ROWS_MAX = 500
"""So many changed rows of a file are queued as live changes; what is beyond goes with the history and delays nobody."""
RESULTS = ("row", "key", "state", "reason", "column", "value")
GONE = "gone"
_PAGE = 1_000
_PARTS = 256
_STEM_CHARACTERS = 100
_NOT_IN_NAMES = re.compile(r"[^\w.() -]+")

type Progress = Callable[[str, int], None]


class BusyError(UnavailableError):
    """Another file of the connection is being imported."""


class Readable(Protocol):
    """A file, and how it is read."""

    @property
    def source(self) -> SourceFile:
        """The file."""

    @property
    def columns(self) -> Columns:
        """Where its columns go."""


@dataclass(slots=True)
class _Batch:
    """What becomes of some rows that are stored together."""

    puts: list[tuple[FileRow, FileRow | None]] = field(default_factory=list)
    lines: list[dict[str, Value]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class ImportRows:
    """Takes an import on, as far as there is time.

    Args:
        rows, config, exchange, clock: Where everything stands.
        queue: Where changes go; None if a person plans first, or no sync reads them.
        connector: Of the files' connection.
        keep_alone: Keeps the connection's lease for longer; raises BusyError if somebody else has it.
    """

    def __init__(
        self,
        *,
        rows: FileStore,
        config: ConfigStore,
        exchange: Exchange,
        queue: ChangeQueue | None,
        connector: Connector,
        clock: Clock,
        keep_alone: Callable[[], None],
    ) -> None:
        self._rows, self._config, self._exchange = rows, config, exchange
        self._queue, self._connector, self._clock = queue, connector, clock
        self._keep_alone = keep_alone

    def go_on(
        self,
        connection: Connection,
        one: Import,
        file: Readable,
        folder: Path,
        *,
        progress: Progress,
        out_of_time: Callable[[], bool],
    ) -> Import:
        """How the import stands at the end of its file, or when its time is over.

        Args:
            connection: Whose file it is.
            one: How the import stood.
            file: What is imported.
            folder: Empty, for results that are not handed out yet.
            progress: Called with `rows` and how many are done.
            out_of_time: True when it has to stop.

        Raises:
            BusyError: If somebody else imports into the connection by now.
            UnavailableError: If what is needed cannot be reached now; calling it again goes on.
        """
        self._here, self._kind = (connection.tenant, connection.id), file.columns.kind
        self._address, self._folder, self._one = connection.address, folder, one
        self._counts: Counter[str] = Counter(one.counts)
        self._fed = self._rows.newest_fed(*self._here, self._kind)
        self._ids = _Ids() if one.complete else None
        parts: dict[str, Path] = {}
        polled = self._is_polled()
        with closing(self._left(file)) as reads:  # whatever happens, before the file itself is closed
            if self._blocks(reads, parts, polled=polled, progress=progress, out_of_time=out_of_time):
                return self._finish(parts, polled=polled)
        return self._one

    def _blocks(
        self,
        reads: Iterator[Read],
        parts: dict[str, Path],
        *,
        polled: bool,
        progress: Progress,
        out_of_time: Callable[[], bool],
    ) -> bool:
        """True at the end of the file; False if the time is over."""
        batch = list(islice(reads, BATCH_ROWS))
        while batch:
            path, row = self._block(batch, reads, progress, out_of_time)
            parts[f"work/{self._address}/{self._one.id}/{self._one.time}-{path.name}"] = path
            over = out_of_time()
            batch = [] if over else list(islice(reads, BATCH_ROWS))
            if batch or over:
                self._commit(row, parts, polled=polled)
            if over:
                return False
        return True

    def _left(self, file: Readable) -> Generator[Read]:
        """The rows behind the last one that is done; of a complete file, the keys of all rows are noted."""
        done = self._one.row
        for row in file.source.rows():
            if row.number <= done and self._ids is None:
                continue
            read = read_row(row, file.columns, file.source.findings)
            if self._ids is not None and read.id:
                self._ids.add(read.id)
            if row.number > done:
                yield read

    def _block(
        self, batch: list[Read], reads: Iterator[Read], progress: Progress, out_of_time: Callable[[], bool]
    ) -> tuple[Path, int]:
        """Where the block's results are written down, and the number of its last row."""
        path, count = self._folder / f"{batch[0].number:09}.jsonl", 0
        with path.open("w", encoding="utf-8") as results:
            while True:
                self._keep_alone()
                self._store(batch, results)
                count, row = count + len(batch), batch[-1].number
                progress("rows", sum(self._counts.values()))
                batch = [] if count >= BLOCK_ROWS or out_of_time() else list(islice(reads, BATCH_ROWS))
                if not batch:
                    return path, row

    def _store(self, reads: Sequence[Read], results: IO[str]) -> None:
        batch = self._sorted_out(reads)
        if batch.puts:
            ids = [row.id for row, _ in batch.puts]
            self._fed += 1
            if not self._rows.feed(*self._here, self._kind, self._fed, ids):
                raise BusyError("Another file is being imported into the same connection.")
            self._rows.put_rows(*self._here, batch.puts)
            if self._queue is not None:
                self._queue.send(self._changes(ids))
        for line in batch.lines:
            results.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._counts += batch.counts

    def _changes(self, ids: Sequence[str]) -> list[Change]:
        changed = self._counts[RowState.NEW] + self._counts[RowState.CHANGED]
        lane = Lane.LIVE if changed + len(ids) <= LIVE_ROWS_MAX else Lane.BACKFILL
        now = self._clock.now()
        return [Change(*self._here, self._kind, one, now, Origin.POLL, lane) for one in ids]

    def _sorted_out(self, reads: Sequence[Read]) -> _Batch:
        """What becomes of each row, by what is stored under its key; of equal keys the last row counts."""
        batch = _Batch()
        counting = {read.id: read.number for read in reads if not read.refused}
        stored = self._rows.rows(*self._here, self._kind, list(counting)) if counting else {}
        for read in reads:
            if read.refused:
                _end(batch, read, RowState.REFUSED, read.refused)
            elif counting[read.id] != read.number:
                _end(batch, read, RowState.REPEATED, f"Row {counting[read.id]:,} has the same key, and counts.")
            else:
                self._settle(batch, read, stored.get(read.id))
        return batch

    def _settle(self, batch: _Batch, read: Read, former: FileRow | None) -> None:
        if former is None or former.run != self._one.run:
            if former is not None and former.digest == read.digest:
                _end(batch, read, RowState.UNCHANGED)
                return
            state = RowState.NEW if former is None else RowState.CHANGED
            batch.puts.append((self._row(read, state), former))
            _end(batch, read, state)
        elif former.number > read.number:
            _end(batch, read, RowState.REPEATED, f"Row {former.number:,} has the same key, and counts.")
        else:
            batch.puts.append((self._row(read, former.state), former))
            if former.number == read.number:  # stored by whoever died
                _end(batch, read, former.state)
            else:
                _end(batch, read, RowState.REPEATED, f"Row {former.number:,} has the same key; this one counts.")

    def _row(self, read: Read, state: RowState) -> FileRow:
        now, run = self._clock.now(), self._one.run
        return FileRow(self._kind, read.id, read.fields, read.digest, now, run, read.number, state)

    # How far it is

    def _commit(self, row: int, parts: dict[str, Path], *, polled: bool) -> None:
        """Say how far it is, once the results are safe."""
        for place, path in parts.items():
            if place not in self._one.results:
                self._exchange.hand_out(path, place)
        results = tuple(dict.fromkeys([*self._one.results, *parts]))
        self._keep(row=row, results=results)
        self._tell_polls(polled=polled)

    def _keep(self, **values: object) -> None:
        now = self._clock.now()
        self._one = replace(self._one, fed=self._fed, counts=dict(self._counts), touched_at=now, **values)  # type: ignore[arg-type]  # fields of the import
        self._rows.put_import(self._one)

    def _is_polled(self) -> bool:
        """True if polls know of all that imports committed so far, or have not begun."""
        cursor = self._config.cursor(*self._here, self._kind)
        return cursor is None or cursor == self._connector.cursor_now(self._kind)

    def _tell_polls(self, *, polled: bool) -> None:
        """What is queued already need not be queued by the next poll again."""
        if polled:
            self._config.put_cursor(*self._here, self._kind, self._connector.cursor_now(self._kind))

    # The end

    def _finish(self, parts: dict[str, Path], *, polled: bool) -> Import:
        self._keep_alone()
        gone = self._gone()
        path = self._folder / "results.csv"
        with path.open("wb") as file:
            for piece in write_csv(self._results(parts, gone), RESULTS):
                file.write(piece)
        stem = _NOT_IN_NAMES.sub("_", Path(self._one.name).stem)[:_STEM_CHARACTERS] or "file"
        place = f"outbox/{self._address}/{stem}-{self._one.id[:8]}-{self._one.time}.csv"
        self._exchange.hand_out(path, place)
        handed_out = self._one.results
        if gone:
            self._counts[GONE] = len(gone)
        self._keep(state=ImportState.DONE, results=(place,), finished_at=self._clock.now())
        self._tell_polls(polled=polled)
        for part in handed_out:
            self._exchange.drop(part)
        return self._one

    def _results(self, parts: dict[str, Path], gone: Sequence[str]) -> Iterator[dict[str, Value]]:
        for place in dict.fromkeys([*self._one.results, *parts]):
            path = parts.get(place)
            if path is None:
                path = self._folder / "part.jsonl"
                self._exchange.fetch(place, path)
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)
        for one in gone:
            yield {"key": one, "state": GONE, "reason": "The file is said to be complete, and does not have it."}
        if self._ids is not None and self._counts[RowState.REFUSED]:
            yield {"reason": "As rows were refused, nothing was taken for gone although the file is complete."}
        yield {"reason": "What could not be synced of new and changed rows is told by `tieout parked list`."}

    def _gone(self) -> list[str]:
        """Ids of rows that a complete file does not have; they are forgotten, and sweeps find out.

        Nothing is taken for gone while a row of the file is refused: it may be the one that is missed.
        """
        if self._ids is None or self._counts[RowState.REFUSED]:
            return []
        self._ids.sort()
        gone: list[str] = []
        after: str | None = None
        while True:
            rows, after = self._rows.listed(*self._here, self._kind, after, _PAGE)
            missing = [row for row in rows if row.id not in self._ids]
            self._rows.remove_rows(*self._here, missing)
            gone += [row.id for row in missing]
            self._keep_alone()
            if after is None:
                return gone


def _end(batch: _Batch, read: Read, state: RowState, reason: str = "") -> None:
    batch.counts[state] += 1
    for note in read.notes or (None,):
        line: dict[str, Value] = {"row": read.number, "key": read.id or None, "state": state, "reason": reason or None}
        if note is not None:
            line |= {"reason": reason or note.message, "column": note.title or None, "value": note.value or None}
        batch.lines.append(line)


class _Ids:
    """The ids of a whole file in 8 bytes each, in many small parts, so that sorting them needs no more.

    That two of a million ids are taken for one, and one is kept that is gone, is one in forty million.
    """

    def __init__(self) -> None:
        self._parts = [array("Q") for _ in range(_PARTS)]

    def add(self, row_id: str) -> None:
        number = _number_of(row_id)
        self._parts[number % _PARTS].append(number)

    def sort(self) -> None:
        """To be called once, before the first question."""
        self._parts = [array("Q", sorted(part)) for part in self._parts]

    def __contains__(self, row_id: str) -> bool:
        number = _number_of(row_id)
        part = self._parts[number % _PARTS]
        place = bisect_left(part, number)
        return place < len(part) and part[place] == number


def _number_of(row_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest())
