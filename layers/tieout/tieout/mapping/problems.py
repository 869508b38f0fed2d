"""What is wrong with a document: all of it at once, each with its place, its line and a suggestion."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tieout.domain.errors import SettingsError

type Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """One thing to mend.

    Attributes:
        path: Where it stands, such as `steps.invoices.fields.date`; empty for the whole file.
        message: What is wrong, as a sentence.
        suggestion: What was probably meant, or what to add; empty if we cannot tell.
        line: In the file, from 1.
    """

    path: str
    message: str
    suggestion: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}, {self.path}" if self.path else f"line {self.line}"
        return f"{place}: {self.message} {self.suggestion}".rstrip()


class DocumentError(SettingsError):
    """The document is refused whole; `errors` holds every problem, in the order of the file."""

    def __init__(self, errors: Sequence[DocumentProblem]) -> None:
        self.errors = sorted(errors, key=lambda problem: (problem.line, problem.path, problem.message))
        count = len(self.errors)
        super().__init__(
            f"The document has {count} error{'' if count == 1 else 's'}.",
            next_step="Mend what is listed; the version that is running stays as it is.",
            detail="\n".join(str(problem) for problem in self.errors),
        )


def spelled(at: Location) -> str:
    """The place in writing: `steps.invoices.also_on.contact`, `when.any[0].path`."""
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def closest(word: str, known: Collection[str]) -> str | None:
    """The most alike of the `known` words; None if none is much alike."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed where something is wrong

    found = get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A suggestion among the `known` words: the closest one, or all of them if they are few."""
    close = closest(word, known) or next((name for name in known if name.casefold() == word.casefold()), None)
    if close is not None:
        return f"Did you mean `{close}`?"
    few = 13  # as many as there are kinds of record
    return f"Known here: {', '.join(f'`{name}`' for name in known)}." if 0 < len(known) <= few else ""


def capitalised(sentence: str) -> str:
    """The sentence with a capital at its start."""
    return sentence[:1].upper() + sentence[1:]
