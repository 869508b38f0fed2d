"""The shape of a document: what pydantic finds, said in our words, with the place as it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tieout.mapping.parse import Parsed
from tieout.mapping.problems import DocumentProblem, Location, capitalised, did_you_mean, spelled
from tieout.mapping.transforms import TRANSFORMS

_RULES = ("fields", "object")
_STEP_RULES = (("label",), ("amount",), ("currency",))


class ShapeProblems:
    """Says in our words what pydantic found."""

    def __init__(self, model: type[BaseModel], parsed: Parsed) -> None:
        self._model = model
        self._parsed = parsed

    def problems(self, error: ValidationError) -> list[DocumentProblem]:
        """One problem for each place; several findings at one value become one."""
        found: dict[Location, DocumentProblem] = {}
        meant: set[tuple[Location, str]] = set()
        for details in sorted(error.errors(), key=lambda one: one["type"] == "missing"):
            at = self._written(details)
            if details["type"] == "missing" and (at[:-1], did_you_mean(str(at[-1]), [str(at[-1])])) in meant:
                continue  # It stands there, misspelled.
            message, suggestion = self._say(details, at)
            meant.add((at[:-1], suggestion))
            found.setdefault(at, DocumentProblem(spelled(at), message, suggestion, line_of(self._parsed.lines, at)))
        return list(found.values())

    def set_aside(self, error: ValidationError, data: Any) -> None:  # noqa: ANN401 - parsed YAML
        """Take what is wrong out of `data`, the smallest part each time."""
        for details in error.errors():
            _set_aside(data, self._written(details))

    def _written(self, details: ErrorDetails) -> Location:
        """The place as it is written, without what pydantic adds to name a choice or a key."""
        at: Location = details["loc"]
        if details["type"] == "missing":
            return at
        while at not in self._parsed.lines:
            at = at[:-1]
        return at

    def _say(self, details: ErrorDetails, at: Location) -> tuple[str, str]:
        """The message and the suggestion."""
        found, last = details["input"], str(at[-1])
        match details["type"]:
            case "extra_forbidden":
                last = str(details["loc"][-1])
                known = _names_at(self._model, details["loc"][:-1])
                what = (
                    f"There is no transform `{last}`." if known == list(TRANSFORMS) else f"`{last}` is not known here."
                )
                said = what, did_you_mean(last, known)
            case "missing":
                said = f"`{last}` is missing.", ""
            case "enum" | "literal_error":
                expected = str(details["ctx"]["expected"]).replace(" or ", ", ").split(", ")
                said = (
                    f"{_shown(found)} is not possible here.",
                    did_you_mean(str(found), [e.strip("'") for e in expected]),
                )
            case "value_error":
                said = f"{capitalised(str(details['ctx']['error']))}.", ""
            case "string_pattern_mismatch":
                said = f"{_shown(found)} is not possible here.", _form(str(details["ctx"]["pattern"]))
            case _ if last in {"constant", "default", "equals"}:
                said = f"Text, a number, `true`, `false` or `null` is expected here, not {_shown(found)}.", ""
            case "int_type" if details["loc"][-1] == "int":  # a whole number, or one with a fraction
                said = f"A number is expected here, not {_shown(found)}.", ""
            case kind if kind in _EXPECTED:
                said = f"{_EXPECTED[kind]} is expected here, not {_shown(found)}.", ""
            case _:
                what, _, _ = details["msg"].partition(" after validation")
                said = f"{capitalised(re.sub(r'^\w+ should', f'{_shown(found)} should', what))}.", ""
        return said


_EXPECTED = {
    "string_type": "Text",
    "int_type": "A whole number",
    "bool_type": "`true` or `false`",
    "list_type": "A list",
    "dict_type": "A group of names and values",
    "model_type": "A group of names and values",
    "model_attributes_type": "A group of names and values",
    "is_instance_of": "A number",
    "decimal_type": "A number",
}


def _form(pattern: str) -> str:
    if "rate" in pattern:
        return "Write it as `rate(1 hour)` or `rate(15 minutes)`."
    if "A-Z" in pattern:
        return "Write two capital letters, such as `US`."
    if "_" in pattern:
        return "Use small letters, digits and underscores, and begin with a letter."
    return "Use small letters and digits, with single hyphens between them."


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a group"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if value == "":
        return "empty text"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text if len(text) <= 40 else text[:39] + '…'}`"  # noqa: PLR2004 - as much as a sentence bears


def line_of(lines: Mapping[Location, int], at: Location) -> int:
    """The line of the place, or of what it stands in."""
    while at not in lines:
        at = at[:-1]
    return lines[at]


def _names_at(model: Any, at: Location) -> list[str]:  # noqa: ANN401 - annotations are any objects
    """The names that may stand in the group at the place; none if it is no group of known names."""
    annotation = _plain(model)
    for part in at:
        held = get_args(annotation)
        annotation = _plain(held[-1] if held else _annotations(annotation).get(str(part)))
    return list(_annotations(annotation))


def _annotations(model: Any) -> Mapping[str, Any]:  # noqa: ANN401 - annotations are any objects
    """What stands in a model by name; empty for all else."""
    return {field.alias or name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}


def _plain(annotation: Any) -> Any:  # noqa: ANN401 - annotations are any objects
    """The annotation without notes and `None`."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = get_args(annotation)[0]
        elif NoneType in get_args(annotation):
            annotation = next(choice for choice in get_args(annotation) if choice is not NoneType)
        else:
            return annotation


def _set_aside(data: Any, at: Location) -> None:  # noqa: ANN401 - parsed YAML
    """Take the smallest part that contains the place and can be missed out of `data`."""
    rule, condition = _rule_around(at), _condition_around(at)
    place = rule or condition or at[:3]
    parent = data
    try:
        for part in place[:-1]:
            parent = parent[part]
    except KeyError:
        return  # What it stands in is out already.
    if rule:
        parent[place[-1]] = {"constant": None}
    elif condition:
        parent[place[-1]] = {"path": "id", "exists": True}
    else:
        parent.pop(place[-1], None)
        if len(place) == len(("steps", "name", "key")) and place[-1] in {"from", "to", "fields", "writes_back"}:
            # Without these the step says nothing that could be checked.
            del data["steps"][place[1]]


def _condition_around(at: Location) -> Location:
    """The deepest condition that contains the place; empty if it is in none."""
    if at[:1] != ("steps",) or at[2:3] != ("when",):
        return ()
    position = len(("steps", "name", "when"))
    while position < len(at) and at[position] in {"all", "any", "not"}:
        deeper = position + (1 if at[position] == "not" else 2)
        if deeper > len(at):
            break
        position = deeper
    return at[:position]


def _rule_around(at: Location) -> Location:
    """The deepest rule that contains the place; empty if it is in none."""
    if at[:1] != ("steps",):
        return ()
    if at[2:3] in _STEP_RULES:
        return at[:3]
    found: Location = ()
    position = 2
    while position + 1 < len(at) and (at[position] in _RULES or at[position] == "list"):
        position += 2
        found = at[:position]
    return found
