"""YAML text to plain values, with the line of each: the safe part of YAML 1.2 and nothing else.

Text stays text (`NO` is Norway, `007` keeps its zeros, a date is written text); numbers with a fraction become Decimal.
Anchors, tags, repeated keys and deep nesting are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tieout.mapping.problems import DocumentError, DocumentProblem, Location, spelled

SIZE_MAX_BYTES = 256 * 1024
DEPTH_MAX = 24
DOCUMENTS_MAX = 100

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(slots=True)
class Parsed:
    """One document of a file: its values, the line where each stands (from 1), its own text."""

    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    text: str = ""


def parse(text: str) -> list[Parsed]:
    """The documents of a YAML file; those without content are left out.

    Raises:
        DocumentError: If it is too large, not YAML, or uses what we refuse.
    """
    if len(text.encode(errors="surrogatepass")) > SIZE_MAX_BYTES:
        raise DocumentError([DocumentProblem("", f"The file has more than {SIZE_MAX_BYTES // 1024} KB.", line=1)])
    from ruamel.yaml import YAML  # noqa: PLC0415 - only needed where a document is read
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415 - as above

    try:
        return list(_Composer(text, YAML(typ="safe", pure=True).parse(text)).documents())
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise DocumentError([DocumentProblem("", f"This is not YAML: {error.problem}.", line=line)]) from None
    except YAMLError as error:
        # A character that YAML does not allow; it names its place, not its line.
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        what, _, _ = str(error).partition("\n")
        raise DocumentError([DocumentProblem("", f"This is not YAML: {what}.", line=line)]) from None


class _Composer:
    """Builds values from parser events, so that nothing is ever built that we do not know."""

    _parsed: Parsed

    def __init__(self, text: str, events: Iterator[Any]) -> None:
        self._text = text
        self._events = events

    def documents(self) -> Iterator[Parsed]:
        count = 0
        for event in self._events:
            if type(event).__name__ != "DocumentStartEvent":
                continue
            count += 1
            if count > DOCUMENTS_MAX:
                raise _refused((), event, f"The file has more than {DOCUMENTS_MAX} documents.")
            self._parsed = Parsed()
            self._parsed.data = self._value((), next(self._events))
            end = next(self._events)
            self._parsed.text = self._text[event.start_mark.index : end.start_mark.index].removeprefix("---").lstrip()
            if self._parsed.data is not None:
                yield self._parsed

    def _value(self, at: Location, event: Any) -> Any:  # noqa: ANN401 - ruamel's events are untyped; YAML is anything
        name = type(event).__name__
        self._parsed.lines.setdefault(at, event.start_mark.line + 1)
        if len(at) > DEPTH_MAX:
            raise _refused(at, event, f"This is nested deeper than {DEPTH_MAX} levels.")
        _refuse_names_for_values(at, event)
        if name == "MappingStartEvent":
            return self._mapping(at)
        if name == "SequenceStartEvent":
            return self._sequence(at)
        return event.value if event.style else _scalar(event.value)

    def _mapping(self, at: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            if type(event).__name__ != "ScalarEvent":
                raise _refused(at, event, "A name is expected here, followed by a colon.")
            key = str(event.value)
            here = (*at, key)
            _refuse_names_for_values(here, event)
            if key in found:
                first = self._parsed.lines[here]
                raise _refused(here, event, f"`{key}` stands here twice (first in line {first}): keep one.")
            self._parsed.lines[here] = event.start_mark.line + 1
            found[key] = self._value(here, next(self._events))
        return found

    def _sequence(self, at: Location) -> list[Any]:
        found: list[Any] = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            found.append(self._value((*at, len(found)), event))
        return found


def _refuse_names_for_values(at: Location, event: Any) -> None:  # noqa: ANN401 - ruamel's events are untyped
    if event.anchor is not None:
        raise _refused(at, event, "Anchors and aliases (`&name`, `*name`) are not used here: write the value out.")
    if event.tag is not None:
        raise _refused(at, event, "Tags (`!name`) are not used here.")


def _scalar(text: str) -> Any:  # noqa: ANN401 - a YAML scalar
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FRACTION.fullmatch(text):
        return Decimal(text)
    return text


def _refused(at: Location, event: Any, message: str) -> DocumentError:  # noqa: ANN401 - ruamel's events are untyped
    return DocumentError([DocumentProblem(spelled(at), message, line=event.start_mark.line + 1)])
