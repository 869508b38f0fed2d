"""`tieout import` and `tieout export`: files into a connection, and records out of one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import batched, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tieout.cli.desk import Desk
from tieout.cli.parked import data_of as parked_data
from tieout.cli.parked import operate
from tieout.cli.talk import Answer, AnswerError, Code, Talk, plain, table
from tieout.domain.connections import Connection
from tieout.domain.files import RowState
from tieout.domain.packing import pack, unpack
from tieout.domain.records import Fields, Kind, Value
from tieout.domain.words import counted
from tieout.engine.backfill import all_ids
from tieout.engine.collect import read_all
from tieout.engine.imports import Imported, Look, Wish
from tieout.engine.patient import PatientConnector
from tieout.files import Choices, Column, Columns, Finding, problems_of, write_csv

if TYPE_CHECKING:
    from rich.console import RenderableType

FIRST_ROWS = 3
_PAGE = 500
_INBOX = "inbox/"


_KINDS: Mapping[str, Kind] = {
    "companies": Kind.COMPANY,
    "contacts": Kind.CONTACT,
    "deals": Kind.DEAL,
    "products": Kind.PRODUCT,
    "customers": Kind.CUSTOMER,
    "items": Kind.ITEM,
    "estimates": Kind.ESTIMATE,
    "invoices": Kind.INVOICE,
    "payments": Kind.PAYMENT,
    "credit-notes": Kind.CREDIT_NOTE,
}
_PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says about a file and its import.

    Attributes:
        kind: What its rows are; None takes what was decided, or what the titles say.
        mapped: `Title=path`, or `Title=` to leave the column out.
        key: Titles that make a row's key.
        look: Say what the file is, and import nothing.
        out: Where the results are written on this computer, too.
    """

    choices: Choices = field(default_factory=Choices)
    kind: Kind | None = None
    mapped: Sequence[str] = ()
    key: Sequence[str] = ()
    complete: bool = False
    hold: bool = False
    instead: bool = False
    look: bool = False
    yes: bool = False
    out: Path | None = None


def said(
    *,
    kind: str | None = None,
    dates: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
    header_row: int | None = None,
    **wishes: Any,  # noqa: ANN401 - the other fields of Said, by their names
) -> Said:
    """What the options of the command say.

    Raises:
        AnswerError: If one is none that can be read.
    """
    if decimal not in (None, ",", "."):
        raise AnswerError("--decimal is , or .", code=Code.USAGE)
    choices = Choices(
        encoding=encoding,
        delimiter={"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter),
        date_order=dates,  # type: ignore[arg-type]  # the command offers just these
        decimal=decimal,  # type: ignore[arg-type]  # likewise
        sheet=sheet,
        header_row=header_row,
    )
    return Said(choices=choices, kind=None if kind is None else Kind(kind), **wishes)


def import_file(desk: Desk, talk: Talk, file: str, connection: str, said: Said) -> Answer:
    """Say what a file is and how it would be read; ask; import it.

    Raises:
        AnswerError: If it is not there, somebody has to say more about it, or nobody agrees.
        FileError: If it cannot be read as a whole.
        BusyError: If another file is being imported.
        SettingsError: If there is no such connection, or no files feed it.
    """
    here = desk.connection(connection)
    imports = desk.deployment.imports()
    with _opened(desk, here, file) as (opened, name, place):
        look = _as_said(imports.look(here, opened, name, choices=said.choices, kind=said.kind), said)
        counts = imports.compare(here, look)
        if said.look:
            return Answer(_look_data(look, counts), lambda: _look_view(here, look, counts, said))
        _refuse_doubts(look)
        if not said.yes:
            talk.agree(
                f"Import it into {connection}?",
                refused="Nothing was imported.",
                parts=_look_view(here, look, counts, said),
            )
        imports.save(here, look, desk.who())
        wish = Wish(name, by=desk.who(), place=place, complete=said.complete, hold=said.hold, instead=said.instead)
        talk.resume = "Run the same command again: it goes on after the last rows that are done."
        with talk.progress() as progress:
            done = imports.run(here, look, wish, progress=progress)
    if said.out is not None and done.record.results:
        desk.deployment.exchange.fetch(done.record.results[0], said.out)
    return _answer(desk, here, done, said)


@contextmanager
def _opened(desk: Desk, connection: Connection, file: str) -> Iterator[tuple[Any, str, str]]:
    """The file, its name, and its place in the bucket if it lies there."""
    inbox = f"{_INBOX}{connection.address}/"
    if file.startswith(_INBOX) and not Path(file).exists():
        if not file.startswith(inbox) or desk.deployment.exchange.there(file) is None:
            raise AnswerError(
                f"There is no {file} in the bucket.",
                code=Code.NO,
                next_step=f"Files of this connection are dropped at {inbox}; they are kept for some weeks.",
            )
        with TemporaryDirectory(prefix="tieout-import-") as folder:
            path = Path(folder) / "file"
            desk.deployment.exchange.fetch(file, path)
            with path.open("rb") as opened:
                yield opened, file.removeprefix(inbox), file
        return
    path = Path(file)
    if not path.is_file():
        raise AnswerError(f"There is no file {file}.", code=Code.USAGE, next_step="Name a file that is there.")
    with path.open("rb") as opened:
        yield opened, path.name, ""


def _as_said(look: Look, said: Said) -> Look:
    """The look with the columns and the key that a person set.

    Raises:
        AnswerError: If a title is not there, or a field is none.
    """
    if not said.mapped and not said.key:
        return look
    columns = list(look.columns.columns)
    for pair in said.mapped:
        title, equals, path = pair.rpartition("=")
        if not equals or title not in look.source.columns:
            raise AnswerError(
                f"--map {pair}: it is TITLE=FIELD, with a title of the file.",
                code=Code.USAGE,
                next_step=f"Titles are: {', '.join(look.source.columns)}.",
            )
        columns = [one for one in columns if one.title != title]
        columns.append(_column(look, title, path.strip()))
    changed = Columns(kind=look.columns.kind, columns=tuple(columns), key=tuple(said.key) or look.columns.key)
    problems = problems_of(changed, look.source)
    if problems:
        raise AnswerError(" ".join(problems), code=Code.USAGE, next_step="Say it otherwise with --map and --key.")
    return replace(look, columns=changed, saved=False)


def _column(look: Look, title: str, path: str) -> Column:
    if not path:
        return Column(title=title, path=None)
    from tieout.files.columns import shape_of  # noqa: PLC0415 - for those who map columns by hand

    try:
        shape = shape_of(look.columns.kind, path)
        reads = shape if shape in ("number", "date") else "text"
        return Column(title=title, path=path, reads=reads)
    except ValueError:
        raise AnswerError(f"`{path}` is no path of a field.", code=Code.USAGE) from None


def _refuse_doubts(look: Look) -> None:
    """Return unless dates or numbers could be read in two ways: no agreement replaces the answer to that."""
    findings = look.source.findings
    read = {one.reads for one in look.columns.columns if one.path}
    asked = [
        f"{option} {ways}"
        for kind, finding, option, ways in (
            ("date", findings.date_order, "--dates", "dmy|mdy|ymd"),
            ("number", findings.decimal, "--decimal", "',' or '.'"),
        )
        if kind in read and finding.value is None and finding.certainty == "guessed"
    ]
    if asked:
        raise AnswerError(
            "Some of it could be read in two ways, and nothing in the file decides which.",
            code=Code.USAGE,
            next_step=f"Add {' and '.join(asked)}.",
        )


# What is shown


def _look_data(look: Look, counts: Mapping[str, int] | None) -> dict[str, Any]:
    return {
        "format": look.source.format,
        "rows": look.source.count,
        "findings": look.source.findings.as_plain(),
        "kind": look.columns.kind,
        "key": look.columns.key,
        "columns": [one.model_dump(mode="json") for one in look.columns.columns],
        "decided": look.saved,
        "doubts": look.doubts,
        "first_rows": [asdict(one) for one in islice(look.rows(), FIRST_ROWS)],
        "would_be": counts,
    }


def _look_view(
    connection: Connection, look: Look, counts: Mapping[str, int] | None, said: Said
) -> Iterator[RenderableType]:
    source, findings = look.source, look.source.findings
    told = [
        f", {word} {_said(finding)}"
        for word, finding in (
            ("encoding", findings.encoding),
            ("columns parted by", findings.delimiter),
            ("dates", findings.date_order),
            ("before the fraction", findings.decimal),
            ("titles as in", findings.layout),
            ("language", findings.locale),
        )
        if finding.value is not None
    ]
    yield f"{source.format.upper()}, {counted(source.count, 'row')}{''.join(told)}."
    for warning in (*findings.warnings, *look.doubts):
        yield f"  {warning}"
    key = " and ".join(look.columns.key) or "its e-mail address, number or name"
    yield f"Each row is a {look.columns.kind}, known by {key}:"
    yield _columns_table(look)
    yield f"The first {counted(min(FIRST_ROWS, source.count), 'row')}:"
    yield _rows_table(look)
    if counts is not None:
        yield f"Compared with what {connection.id} has: {_counted(counts)}."
    if said.complete:
        yield f"What {connection.id} has and this file does not is gone then; the sync says what becomes of it."


def _columns_table(look: Look) -> RenderableType:
    rows = table("Column", "Field", "Read as", "Because")
    for one in look.columns.columns:
        rows.add_row(one.title, one.path or "left out", one.reads if one.path else "", one.by)
    return rows


def _rows_table(look: Look) -> RenderableType:
    rows = table("Row", "Key", "Fields", right=("Row",))
    for one in islice(look.rows(), FIRST_ROWS):
        fields = "; ".join(f"{name}: {_cell_text(value)}" for name, value in _flat(one.fields) if value is not None)
        problems = " ".join(f"[{note.title}: {note.message}]" for note in one.notes)
        rows.add_row(str(one.number), one.id, one.refused or " ".join(filter(None, (fields, problems))))
    return rows


def _said(finding: Finding) -> str:
    shown = {"\t": "tabs"}.get(finding.value or "", finding.value)
    return f"{shown} (guessed)" if finding.certainty == "guessed" else str(shown)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in counts.items() if count) or "nothing"


def _answer(desk: Desk, connection: Connection, done: Imported, said: Said) -> Answer:
    record = done.record
    refused = record.counts.get(RowState.REFUSED, 0)

    def view() -> Iterator[RenderableType]:
        if done.again:
            yield f"This very file was imported into {connection.id} last; nothing was done."
            return
        yield f"{record.name}: {_counted(record.counts)}."
        place = str(said.out) if said.out is not None else f"{record.results[0]} in the bucket"
        yield f"How each row ended, and why: {place}"
        if done.unheard:
            yield f"No sync reads a {record.kind} of {connection.id} yet, so nothing was queued."
        elif said.hold:
            yield "Nothing was queued: see `tieout plan SYNC`, and apply it."
        else:
            yield f"What became of them on the other side: `tieout status --tenant {desk.tenant}`."

    data = {
        "connection": connection.id,
        "import": record.id,
        "file": record.name,
        "kind": record.kind,
        "again": done.again,
        "counts": record.counts,
        "queued": not (said.hold or done.unheard or done.again),
        "results": record.results,
    }
    return Answer(data, view, Code.NO if refused and not done.again else Code.OK)


# Export


def export(desk: Desk, talk: Talk, what: str, connection: str, out: Path | None, *, for_machines: bool) -> Answer:
    """Write records to a CSV file: `id` first, which is what they are known by, then their fields.

    Raises:
        SettingsError: If there is no such connection.
        AnswerError: If the connection has no records of this kind, or the file is there already.
        ProviderError: If they cannot be read now.
    """
    if out is not None and out.exists():
        raise AnswerError(f"{out} is there already.", code=Code.USAGE, next_step="Name another file.")
    if talk.as_json and out is None:
        raise AnswerError("With --json the records need a file.", code=Code.USAGE, next_step="Add --out FILE.")
    rows = _parked(desk, connection) if what == _PARKED else _records(desk, talk, what, connection)
    with TemporaryDirectory(prefix="tieout-export-") as folder:
        spool = Path(folder) / "rows.jsonl"
        columns, count = _spooled(rows, spool)
        pieces = write_csv(_unspooled(spool), columns, for_machines=for_machines)
        if out is None:
            sys.stdout.buffer.writelines(pieces)
        else:
            with out.open("xb") as file:
                file.writelines(pieces)
    if for_machines:
        talk.say("Text stands in it as it is: a spreadsheet may take some of it for formulas.")
    told = f"{counted(count, 'row')} written to {out}."
    return Answer(
        {"what": what, "connection": connection, "rows": count, "columns": columns, "out": str(out)},
        lambda: iter([told] if out is not None else []),
    )


def _records(desk: Desk, talk: Talk, what: str, name: str) -> Iterator[dict[str, Value]]:
    connection = desk.connection(name)
    kind = _KINDS[what]
    connector = PatientConnector(desk.deployment.connect(connection), desk.deployment.clock)
    if kind not in connector.manifest.reads:
        known = ", ".join(sorted(one for one, each in _KINDS.items() if each in connector.manifest.reads))
        raise AnswerError(f"{connector.manifest.title} has no {what}.", code=Code.USAGE, next_step=f"It has: {known}.")
    count = 0
    with talk.progress() as progress:
        for ids in batched(all_ids(connector, kind), _PAGE, strict=False):
            for record in read_all(connector, kind, list(dict.fromkeys(ids))).values():
                edited = plain(record.edited_at) if record.edited_at is not None else None
                yield {"id": record.id, "edited_at": edited, **dict(_flat(record.fields))}
                count += 1
            progress(kind, count)


def _parked(desk: Desk, connection: str) -> Iterator[dict[str, Value]]:
    for one in operate(desk).parked(desk.tenant, cause=""):
        if not connection or one.change.connection == connection:
            yield {"id": one.change.id, **{name: plain(value) for name, value in parked_data(one).items()}}


def _flat(fields: Fields, before: str = "") -> Iterator[tuple[str, Value]]:
    """The fields by path; a list of parts, such as the lines of an invoice, is one text."""
    for name, value in fields.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            yield path, json.dumps(plain(value), ensure_ascii=False)
        else:
            yield path, value


def _cell_text(value: Value) -> str:
    shown = plain(value)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def _spooled(rows: Iterable[Mapping[str, Value]], path: Path) -> tuple[list[str], int]:
    """The columns that any of the rows has, in the order in which they first came, and how many rows there are."""
    columns: dict[str, None] = dict.fromkeys(("id",))
    count = 0
    with path.open("w", encoding="utf-8") as spool:
        for row in rows:
            columns |= dict.fromkeys(row)
            spool.write(pack(row) + "\n")
            count += 1
    return list(columns), count


def _unspooled(path: Path) -> Iterator[Mapping[str, Value]]:
    with path.open(encoding="utf-8") as spool:
        for line in spool:
            yield unpack(line)
