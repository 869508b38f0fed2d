"""Files: what one is, how it is read, and its way into a connection, from a person's hand or from the bucket.

One import of a connection runs at a time, and files are taken one after the other, each to its end (`import_rows`).
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from tieout.domain.changes import Alert
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError
from tieout.domain.files import Import, ImportState, Layout, RowState
from tieout.domain.records import Kind
from tieout.domain.words import counted
from tieout.engine.collect import Connect, compiled, kinds_heard
from tieout.engine.ends import AlertSink
from tieout.engine.import_rows import BusyError, ImportRows, Progress
from tieout.engine.rows import Read, read_row
from tieout.files import Choices, Columns, FileError, SourceFile, open_file, problems_of, suggest
from tieout.ports.clock import Clock
from tieout.ports.connector import FedByFiles
from tieout.ports.files import Exchange, FileQueue, FileStore
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import BudgetStore, ConfigStore

LEASE_SECONDS = 120
ABANDONED_SECONDS = 6 * 3600
BUSY_SECONDS = 60
FILE_BYTES_MAX = 500_000_000
COMPARED_ROWS_MAX = 5_000
_PIECE_BYTES = 1 << 20
_ID_CHARACTERS = 24
_INBOX = re.compile(r"inbox/([a-z0-9-]+)\.([A-Za-z0-9_-]+)/(.+)")


@dataclass(frozen=True, slots=True)
class Look:
    """A file that was looked at, and how it would be read.

    Attributes:
        content: Digest of its bytes.
        layout: Digest of its form and titles.
        saved: True if a person decided how files like this are read.
        doubts: What a person has to decide before it can be read, as sentences; empty if nothing.
    """

    source: SourceFile
    content: str
    layout: str
    columns: Columns
    choices: Choices
    saved: bool
    doubts: tuple[str, ...]

    def rows(self) -> Iterator[Read]:
        """Every row as it would be kept."""
        return (read_row(row, self.columns, self.source.findings) for row in self.source.rows())

    def import_id(self, *, complete: bool) -> str:
        """Equal for the same bytes, read in the same way."""
        how = json.dumps([self.content, self.columns.model_dump(mode="json"), asdict(self.choices), complete])
        return hashlib.sha256(how.encode()).hexdigest()[:_ID_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Wish:
    """How a person wants a file imported.

    Attributes:
        complete: What is not in the file is gone.
        hold: Queue nothing; a plan comes first.
        instead: Give up another import that is under way.
    """

    name: str
    by: str = ""
    place: str = ""
    complete: bool = False
    hold: bool = False
    instead: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """How an import stands now.

    Attributes:
        again: True if the very same file was the last one, and nothing was done.
        unheard: True if no sync reads records of this kind from the connection.
    """

    record: Import
    again: bool = False
    unheard: bool = False


class Imports:
    """Looks at files, imports them, and says how each row ended."""

    def __init__(
        self,
        *,
        rows: FileStore,
        config: ConfigStore,
        exchange: Exchange,
        files: FileQueue,
        queue: ChangeQueue,
        leases: BudgetStore,
        alerts: AlertSink,
        connect: Connect,
        clock: Clock,
    ) -> None:
        self._rows, self._config, self._exchange, self._files = rows, config, exchange, files
        self._queue, self._leases, self._alerts = queue, leases, alerts
        self._connect, self._clock = connect, clock

    # Looking

    def look(
        self,
        connection: Connection,
        file: BinaryIO,
        name: str,
        *,
        choices: Choices | None = None,
        kind: Kind | None = None,
    ) -> Look:
        """What the file is, and how it would be read: as a person decided for files like it, or as is suggested.

        Args:
            connection: Whose files they are.
            file: Seekable, and open for as long as its rows are read.
            name: Of the file.
            choices: What a person says now.
            kind: What its rows are, if a person says so; then what was decided before does not count.

        Raises:
            SettingsError: If no files feed the connection.
            FileError: If it cannot be read as a whole.
        """
        if not self._is_fed(connection):
            raise SettingsError(
                f"The connection {connection.id} is not fed by files.",
                next_step="Name one whose document says `provider: files`.",
            )
        source = open_file(file, name=name, choices=choices or Choices())
        layout = _layout_digest(source)
        decided = None if kind is not None else self._rows.layout(connection.tenant, connection.id, layout)
        if decided is not None:
            chosen = Choices(**{**decided.choices, **{k: v for k, v in asdict(choices or Choices()).items() if v}})
            if chosen != (choices or Choices()):
                source = open_file(file, name=name, choices=chosen)
            columns = Columns.model_validate(decided.columns)
            if not problems_of(columns, source):
                return Look(source, _digest_of(file), layout, columns, chosen, saved=True, doubts=())
        columns = suggest(source, kind)
        if kind is None and columns.kind is Kind.CONTACT:  # a person stands for their company: it can be a customer
            columns = suggest(source, Kind.COMPANY)
        doubts = tuple(_doubts(source, columns))
        return Look(source, _digest_of(file), layout, columns, choices or Choices(), saved=False, doubts=doubts)

    def save(self, connection: Connection, look: Look, by: str) -> None:
        """From now on files with these titles are read like this one."""
        columns, choices = look.columns.model_dump(mode="json"), asdict(look.choices)
        layout = Layout(look.layout, columns, choices, by, self._clock.now())
        self._rows.put_layout(connection.tenant, connection.id, layout)

    def compare(self, connection: Connection, look: Look) -> dict[str, int] | None:
        """How many rows would end in which state; None if there are too many to look them all up beforehand."""
        if look.source.count > COMPARED_ROWS_MAX:
            return None
        reads = {one.id: one for one in look.rows() if not one.refused}
        stored = self._rows.rows(connection.tenant, connection.id, look.columns.kind, list(reads))
        states = Counter(
            RowState.NEW
            if one.id not in stored
            else RowState.UNCHANGED
            if stored[one.id].digest == one.digest
            else RowState.CHANGED
            for one in reads.values()
        )
        refused = sum(1 for one in look.rows() if one.refused)
        repeated = look.source.count - len(reads) - refused
        counts = {**states, RowState.REPEATED: repeated, RowState.REFUSED: refused}
        return {str(state): counts.get(state, 0) for state in RowState}

    # Importing

    def run(
        self,
        connection: Connection,
        look: Look,
        wish: Wish,
        *,
        progress: Progress = lambda _name, _count: None,
        out_of_time: Callable[[], bool] = lambda: False,
    ) -> Imported:
        """How the import stands when its file or its time is over; another call with the same file goes on.

        Raises:
            BusyError: If another import of the connection is under way.
            UnavailableError: If what is needed cannot be reached now; another call goes on.
            FileError: If the file changed while it was read.
        """
        with self._alone(connection) as keep_alone:
            kind = look.columns.kind
            one = self._begun(connection, look, wish)
            if one.state is ImportState.DONE:
                return Imported(one, again=True)
            heard = kind in _heard(self._config, connection)
            work = ImportRows(
                rows=self._rows,
                config=self._config,
                exchange=self._exchange,
                queue=self._queue if heard and not wish.hold else None,
                connector=self._connect(connection),
                clock=self._clock,
                keep_alone=keep_alone,
            )
            with TemporaryDirectory(prefix="tieout-import-") as folder:
                one = work.go_on(connection, one, look, Path(folder), progress=progress, out_of_time=out_of_time)
            return Imported(one, unheard=not heard)

    def _begun(self, connection: Connection, look: Look, wish: Wish) -> Import:
        tenant, kind = connection.tenant, look.columns.kind
        import_id = look.import_id(complete=wish.complete)
        now = self._clock.now()
        last = self._rows.last_import(tenant, connection.id, kind)
        former = self._rows.find_import(tenant, connection.id, import_id)
        under_way = self._rows.under_way(tenant, connection.id)
        if under_way is not None and under_way.id == import_id:
            return under_way
        if under_way is not None:
            self._give_up(under_way, wish)
        if last is not None and last.id == import_id and former is not None and former.state is ImportState.DONE:
            return former
        fresh = Import(
            tenant=tenant,
            connection=connection.id,
            id=import_id,
            name=wish.name,
            state=ImportState.RUNNING,
            started_at=now,
            touched_at=now,
            kind=kind,
            time=1 if former is None else former.time + 1,
            fed=self._rows.newest_fed(tenant, connection.id, kind),
            complete=wish.complete,
            held=wish.hold,
            by=wish.by,
            place=wish.place,
        )
        self._rows.put_import(fresh)
        return fresh

    def _give_up(self, under_way: Import, wish: Wish) -> None:
        """Let another import go that nobody goes on with.

        Raises:
            BusyError: If it moved lately, and nobody says that it is over.
        """
        still_for = (self._clock.now() - under_way.touched_at).total_seconds()
        replaced = bool(wish.place) and wish.place == under_way.place
        if not (wish.instead or replaced or still_for > ABANDONED_SECONDS):
            raise BusyError(
                f"{under_way.name} is being imported into {under_way.connection}: {under_way.row:,} rows are done.",
                next_step="Wait until it is done. If it was stopped, import it again: it goes on where it stopped; or "
                "give it up with --instead.",
            )
        self._rows.put_import(replace(under_way, state=ImportState.STOPPED, touched_at=self._clock.now()))

    @contextmanager
    def _alone(self, connection: Connection) -> Iterator[Callable[[], None]]:
        """Hold the connection's lease; what is given keeps it for longer.

        Raises:
            BusyError: If another import holds it.
        """
        name, holder = f"files/{connection.id}", uuid.uuid4().hex

        def keep() -> None:
            now = self._clock.now()
            until = now + timedelta(seconds=LEASE_SECONDS)
            if not self._leases.take_lease(connection.tenant, name, holder=holder, until=until, now=now):
                raise BusyError(
                    f"Another file is being imported into {connection.id}.", next_step="Try again in some minutes."
                )

        keep()
        try:
            yield keep
        finally:
            self._leases.drop_lease(connection.tenant, name, holder=holder)

    # Files that were dropped into the bucket

    def drop(self, place: str, run: str, *, out_of_time: Callable[[], bool]) -> Import | None:
        """Import the file at a place of the bucket, as far as there is time; what is left is queued again.

        What a person has to decide or should know of is told by an alert.

        Args:
            place: Its whole name there.
            run: The import to go on with; empty if the file was dropped just now.
            out_of_time: True when it has to stop.

        Returns:
            How it stands; None if there is nothing to import: no such file or connection, or a newer file came.

        Raises:
            UnavailableError: If what is needed cannot be reached now.
        """
        named = _INBOX.fullmatch(place)
        connection = None if named is None else self._config.connection(named[1], named[2])
        if named is None or connection is None or not self._is_fed(connection):
            return None
        under_way = self._rows.under_way(connection.tenant, connection.id)
        dropped = self._exchange.there(place)
        if dropped is None or (run and (under_way is None or under_way.run != run)):
            if dropped is None and under_way is not None and under_way.place == place:
                self._rows.put_import(replace(under_way, state=ImportState.STOPPED, touched_at=self._clock.now()))
            return None
        name = named[3]
        try:
            if dropped.size_bytes > FILE_BYTES_MAX:
                size = f"The file has {dropped.size_bytes:,} bytes; at most {FILE_BYTES_MAX:,} are read."
                raise FileError(size, next_step="Export it in parts.")  # noqa: TRY301 - ends like one that cannot be read
            return self._drop(connection, name, place, dropped.marks, out_of_time)
        except BusyError:
            self._files.send(place, delay_seconds=BUSY_SECONDS, run=run)
            return None
        except FileError as error:
            return self._refuse(connection, name, place, error)

    def _is_fed(self, connection: Connection) -> bool:
        """True if files feed the connection."""
        try:
            return isinstance(self._connect(connection), FedByFiles)
        except SettingsError:
            return False

    def _drop(
        self,
        connection: Connection,
        name: str,
        place: str,
        marks: Mapping[str, str],
        out_of_time: Callable[[], bool],
    ) -> Import:
        with TemporaryDirectory(prefix="tieout-drop-") as folder:
            path = Path(folder) / "file"
            self._exchange.fetch(place, path)
            with path.open("rb") as file:
                look = self.look(connection, file, name)
                if not look.saved and look.doubts:
                    return self._wait(connection, look, name, place)
                wish = Wish(name, by=marks.get("by", ""), place=place, complete=marks.get("complete") == "yes")
                one = self.run(connection, look, wish, out_of_time=out_of_time).record
        if one.state is ImportState.RUNNING:
            self._files.send(place, delay_seconds=0, run=one.run)
        elif one.counts.get(RowState.REFUSED, 0):
            self._tell_of_refused(connection, one)
        return one

    def _wait(self, connection: Connection, look: Look, name: str, place: str) -> Import:
        now = self._clock.now()
        one = Import(
            tenant=connection.tenant,
            connection=connection.id,
            id=look.import_id(complete=False),
            name=name,
            state=ImportState.WAITING,
            started_at=now,
            touched_at=now,
            kind=look.columns.kind,
            place=place,
            problem=" ".join(look.doubts),
            next_step="Say how it is to be read with the command below; files with these columns are then read by it.",
        )
        self._rows.put_import(one)
        self._alert(one, f"file-waits-{connection.id}", f"The file {_told(name)} waits for you")
        return one

    def _refuse(self, connection: Connection, name: str, place: str, error: FileError) -> Import:
        now = self._clock.now()
        one = Import(
            tenant=connection.tenant,
            connection=connection.id,
            id=hashlib.sha256(place.encode()).hexdigest()[:_ID_CHARACTERS],
            name=name,
            state=ImportState.REFUSED,
            started_at=now,
            touched_at=now,
            place=place,
            problem=error.message,
            next_step=error.next_step,
        )
        self._rows.put_import(one)
        self._alert(one, f"file-refused-{connection.id}", f"The file {_told(name)} cannot be read")
        return one

    def _tell_of_refused(self, connection: Connection, one: Import) -> None:
        refused = one.counts[RowState.REFUSED]
        told = replace(
            one,
            problem=f"{counted(refused, 'row')} of {sum(one.counts.values()):,} could not be taken.",
            next_step=f"The file {', '.join(one.results)} in the bucket says why, row by row. Correct them where the "
            "file comes from, and drop it again: rows that are as they were cost nothing.",
        )
        self._alert(told, f"file-rows-{connection.id}", f"{counted(refused, 'row')} of {_told(one.name)} refused")

    def _alert(self, one: Import, cause: str, subject: str) -> None:
        address = f"{one.tenant}.{one.connection}"
        command = (
            f'tieout import "inbox/{address}/{_told(one.name)}" --connection {one.connection} --tenant {one.tenant}'
        )
        alert = Alert(
            tenant=one.tenant,
            cause=cause,
            subject=subject,
            reason=one.problem,
            next_step=one.next_step,
            command=command,
            raised_at=self._clock.now(),
        )
        self._alerts.put([alert])


def _digest_of(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _layout_digest(source: SourceFile) -> str:
    told = json.dumps([source.format, source.columns], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:_ID_CHARACTERS]


def _doubts(source: SourceFile, columns: Columns) -> Iterator[str]:
    """What a suggestion cannot be sure of."""
    findings = source.findings
    if findings.layout.certainty != "sure":
        yield "Its columns are nobody's that Tieout knows."
    for name, finding in (("encoding", findings.encoding), ("separator of columns", findings.delimiter)):
        if finding.certainty == "guessed":
            yield f"Its {name} could only be guessed."
    read = {one.reads for one in columns.columns if one.path and not one.path.startswith("custom_fields.")}
    if "date" in read and findings.date_order.certainty == "guessed":
        yield "Its dates could be read with the day or the month first."
    if "number" in read and findings.decimal.certainty == "guessed":
        yield "Its numbers could be read with a point or a comma before the fraction."
    yield from problems_of(columns, source)


def _heard(config: ConfigStore, connection: Connection) -> set[Kind]:
    syncs = (compiled(stored) for stored in config.syncs(connection.tenant))
    return {kind for sync in syncs for kind in kinds_heard(sync, connection.id)}


def _told(name: str) -> str:
    """A file's name as it may stand in a command: without what a shell or a terminal would take for more."""
    return re.sub(r"[^\w.() /-]", "?", name)
