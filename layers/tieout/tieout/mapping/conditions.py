"""Conditions, compiled: which records take part."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TypeGuard

from tieout.domain.errors import MappingError
from tieout.domain.records import Value
from tieout.mapping.document import Condition, Scalar
from tieout.mapping.evaluate import Scope, shown, words, words_of_path
from tieout.mapping.paths import ABSENT, Found, Path, is_list, parse_path
from tieout.mapping.transforms import is_number, quoted

type Test = Callable[[Scope], bool]


def compile_condition(condition: Condition, where: str) -> Test:
    """The function that tells if the condition holds.

    It raises MappingError if a value that should be compared as a number is none.
    """
    if condition.all_ is not None:
        tests = [compile_condition(each, f"{where}.all[{number}]") for number, each in enumerate(condition.all_)]
        return lambda scope: all(test(scope) for test in tests)
    if condition.any_ is not None:
        tests = [compile_condition(each, f"{where}.any[{number}]") for number, each in enumerate(condition.any_)]
        return lambda scope: any(test(scope) for test in tests)
    if condition.not_ is not None:
        test = compile_condition(condition.not_, f"{where}.not")
        return lambda scope: not test(scope)
    path = parse_path(condition.path or "")
    return _comparison(condition, path, where)


def _comparison(condition: Condition, path: Path, where: str) -> Test:
    if condition.exists is not None:
        return lambda scope: _has_value(scope.read(path)) is condition.exists
    if condition.greater_than is not None:
        above = Decimal(condition.greater_than)
        return lambda scope: any(value > above for value in _numbers(scope, path, where))
    if condition.less_than is not None:
        below = Decimal(condition.less_than)
        return lambda scope: any(value < below for value in _numbers(scope, path, where))
    wanted = condition.in_ if condition.in_ is not None else [condition.equals]
    return lambda scope: any(_same(value, one) for value in _each(scope.read(path)) for one in wanted)


def _each(found: Found) -> list[Found]:
    """The value; or each one, of a list."""
    return list(found) if is_list(found) else [found]


def _has_value(found: Found) -> TypeGuard[Value]:
    return found is not None and found is not ABSENT and found not in ("", [])


def _same(value: Found, wanted: Scalar) -> bool:
    """True if equal: yes and no are no numbers, and a date equals its ISO writing."""
    if is_number(value) and is_number(wanted):
        return Decimal(value).is_finite() and Decimal(value) == wanted
    if isinstance(value, date) and isinstance(wanted, str):
        return value.isoformat() == wanted
    return type(value) is type(wanted) and value == wanted


def _numbers(scope: Scope, path: Path, where: str) -> list[Decimal]:
    return [_number(scope, path, value, where) for value in _each(scope.read(path)) if _has_value(value)]


def _number(scope: Scope, path: Path, value: Value, where: str) -> Decimal:
    if is_number(value) and Decimal(value).is_finite():
        return Decimal(value)
    kind = words(scope.record.kind)
    raise MappingError(
        f"The {words_of_path(path.text)} of the {kind} is {quoted(value)}, which cannot be compared as a number.",
        rule=where,
        path=path.text,
        value=shown(value),
        next_step=f"Enter a number in the {kind}.",
    )
