"""Sync documents: parse, check, compile, evaluate."""

from tieout.domain.errors import SettingsError
from tieout.mapping.check import parse_documents
from tieout.mapping.compile import CREDIT_NOTE, CompiledStep, CompiledSync, compile_document
from tieout.mapping.document import ConnectionDocument, SyncDocument
from tieout.mapping.evaluate import Explained, LinkTo, Mapped, missing_link
from tieout.mapping.paths import ABSENT
from tieout.mapping.presets import preset, presets
from tieout.mapping.problems import DocumentError, DocumentProblem

__all__ = [
    "ABSENT",
    "CREDIT_NOTE",
    "CompiledStep",
    "CompiledSync",
    "ConnectionDocument",
    "DocumentError",
    "DocumentProblem",
    "Explained",
    "LinkTo",
    "Mapped",
    "SyncDocument",
    "compile_document",
    "compile_sync",
    "missing_link",
    "parse_documents",
    "preset",
    "presets",
]


def compile_sync(text: str) -> CompiledSync:
    """The sync of a text that holds one sync document.

    Raises:
        DocumentError: If it has errors; all of them are listed.
        SettingsError: If it holds anything else.
    """
    documents = parse_documents(text)
    if len(documents) == 1 and isinstance(documents[0], SyncDocument):
        return compile_document(documents[0])
    raise SettingsError(
        f"One sync document is expected, and here are {len(documents)} documents.",
        next_step="Give the text of one document whose `kind` is `sync`.",
    )
