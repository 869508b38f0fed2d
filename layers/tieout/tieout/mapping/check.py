"""Checks: every problem of a document at once, each with its place, its line and a suggestion."""

from __future__ import annotations

from pydantic import ValidationError

from tieout.mapping.document import DOCUMENT_KINDS, AnyDocument, ConnectionDocument, SyncDocument
from tieout.mapping.parse import Parsed, parse
from tieout.mapping.problems import DocumentError, DocumentProblem, did_you_mean, spelled


def parse_documents(text: str) -> list[SyncDocument | ConnectionDocument]:
    """The documents of a YAML file, checked.

    Raises:
        DocumentError: With every problem of every document.
    """
    problems: list[DocumentProblem] = []
    documents: list[SyncDocument | ConnectionDocument] = []
    for parsed in parse(text):
        try:
            documents.append(_document(parsed))
        except DocumentError as error:
            problems.extend(error.errors)
    if problems:
        raise DocumentError(problems)
    return documents


def _document(parsed: Parsed) -> AnyDocument:
    kind = parsed.data.get("kind") if isinstance(parsed.data, dict) else None
    model = DOCUMENT_KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise DocumentError(
            [
                DocumentProblem(
                    "kind",
                    "A document begins with its `kind`.",
                    did_you_mean(str(kind), DOCUMENT_KINDS),
                    line=parsed.lines.get(("kind",), parsed.lines[()]),
                )
            ]
        )
    try:
        return model.written(parsed.data, parsed.text)
    except ValidationError as error:
        raise DocumentError([DocumentProblem(spelled(e["loc"]), e["msg"], line=1) for e in error.errors()]) from None
