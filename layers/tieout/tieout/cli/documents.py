"""Files of documents: read, checked whole, each problem with its file and line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tieout.cli.talk import AnswerError, Code, Problem
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError
from tieout.domain.records import Kind
from tieout.mapping import ConnectionDocument, DocumentError, SyncDocument, parse_documents
from tieout.mapping.document import Step
from tieout.mapping.parse import parse
from tieout.mapping.problems import Location, did_you_mean
from tieout.ports.connector import Manifest, Provider


@dataclass(frozen=True, slots=True)
class Written:
    """A document, where it stands, and the line of each of its places."""

    document: SyncDocument | ConnectionDocument
    file: str
    lines: Mapping[Location, int]

    @property
    def name(self) -> str:
        """`connection act`, `sync deals-to-invoices`."""
        document = self.document
        return f"sync {document.name}" if isinstance(document, SyncDocument) else f"connection {document.id}"

    def problem(self, at: Location, message: str, suggestion: str = "") -> Problem:
        """A problem at this place; the line is that of the closest place around it that is written."""
        around = next((at[:length] for length in range(len(at), -1, -1) if at[:length] in self.lines), ())
        line = self.lines.get(around, 1)
        return Problem(self.file, line, ".".join(str(part) for part in at), message, suggestion)


def read_documents(files: Sequence[Path], provider: Callable[[str], Provider]) -> list[Written]:
    """Every document of the files, checked: by itself, against its provider, and against the others.

    Raises:
        AnswerError: With every problem of every file.
    """
    written: list[Written] = []
    problems: list[Problem] = []
    for file in files:
        try:
            written += _read(file)
        except DocumentError as error:
            problems += [Problem(str(file), one.line, one.path, one.message, one.suggestion) for one in error.errors]
    problems += _repeated(written)
    for one in written:
        if isinstance(one.document, ConnectionDocument):
            problems += _against_provider(one, one.document, provider)
    refuse(problems)
    problems = check_sides(written, _manifests(written, provider), complete=False)
    refuse(problems)
    return written


def refuse(problems: Sequence[Problem]) -> None:
    """Return if there are none.

    Raises:
        AnswerError: Otherwise, with all of them.
    """
    if problems:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        raise AnswerError(
            f"{count} found; nothing was changed.",
            code=Code.USAGE,
            next_step="Mend what is listed; what is running stays as it is.",
            problems=problems,
        )


def _read(file: Path) -> list[Written]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise AnswerError(f"The file {file} cannot be read: {reason}.", code=Code.USAGE) from None
    documents = parse_documents(text)
    return [Written(document, str(file), each.lines) for document, each in zip(documents, parse(text), strict=True)]


def _repeated(written: Sequence[Written]) -> list[Problem]:
    first: dict[str, Written] = {}
    problems = []
    for one in written:
        if one.name in first:
            place = first[one.name].file
            at: Location = ("name",) if isinstance(one.document, SyncDocument) else ("id",)
            problems.append(one.problem(at, f"The {one.name} stands in {place} already.", "Keep one of them."))
        first.setdefault(one.name, one)
    return problems


def _against_provider(one: Written, document: ConnectionDocument, provider: Callable[[str], Provider]) -> list[Problem]:
    try:
        manifest = provider(document.provider).manifest
    except SettingsError as error:
        return [one.problem(("provider",), error.message, error.next_step)]
    try:
        manifest.settings.model_validate(dict(document.settings))
    except ValidationError as error:
        known = list(manifest.settings.model_fields)
        return [
            one.problem(
                ("settings", *each["loc"]),
                f"{each['msg'].removeprefix('Value error, ').rstrip('.')}.",
                did_you_mean(str(each["loc"][-1]), known) if each["type"] == "extra_forbidden" else "",
            )
            for each in error.errors(include_url=False, include_input=False)
        ]
    return []


def _manifests(written: Sequence[Written], provider: Callable[[str], Provider]) -> dict[str, Manifest]:
    return {
        one.document.id: provider(one.document.provider).manifest
        for one in written
        if isinstance(one.document, ConnectionDocument)
    }


def known_manifests(
    written: Sequence[Written], connections: Sequence[Connection], provider: Callable[[str], Provider]
) -> dict[str, Manifest]:
    """What each connection can do, by its id: those of the files, and those that are deployed."""
    deployed = {one.id: provider(one.provider).manifest for one in connections}
    return deployed | _manifests(written, provider)


def check_sides(written: Sequence[Written], manifests: Mapping[str, Manifest], *, complete: bool) -> list[Problem]:
    """What a sync asks of a connection that this cannot do; with `complete`, connections that nobody knows as well."""
    problems = []
    for one in written:
        document = one.document
        if not isinstance(document, SyncDocument):
            continue
        for side in ("source", "target"):
            name = document.source if side == "source" else document.target
            if complete and name not in manifests:
                suggestion = did_you_mean(name, list(manifests)) or "Add its connection document."
                problems.append(one.problem((side,), f"There is no connection `{name}`.", suggestion))
        for name, step in document.steps.items():
            back = step.writes_back is not None
            reads = manifests.get(document.target if back else document.source)
            writes = manifests.get(document.source if back else document.target)
            if reads is not None and step.from_ not in reads.reads:
                problems.append(one.problem(("steps", name, "from"), *_cannot(reads, "read", step.from_, reads.reads)))
            if writes is not None and step.to not in writes.writes:
                problems.append(one.problem(("steps", name, "to"), *_cannot(writes, "write", step.to, writes.writes)))
            if step.two_way is not None:
                problems += _both_ways(one, name, step, reads, writes)
    return problems


def _both_ways(
    one: Written, name: str, step: Step, source: Manifest | None, target: Manifest | None
) -> Iterator[Problem]:
    """What the way back of a two-way step asks of its connections that they cannot do."""
    at: Location = ("steps", name, "two_way")
    if source is not None and step.from_ not in source.writes:
        yield one.problem(at, *_cannot(source, "write", step.from_, source.writes))
    if target is not None and step.to not in target.reads:
        yield one.problem(at, *_cannot(target, "read", step.to, target.reads))


def _cannot(manifest: Manifest, verb: str, kind: Kind, kinds: frozenset[Kind]) -> tuple[str, str]:
    listed = ", ".join(f"`{one}`" for one in sorted(kinds))
    return f"Tieout cannot {verb} `{kind}` with {manifest.title}.", f"It can {verb}: {listed}."
