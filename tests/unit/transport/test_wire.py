"""JSON on the way out and in."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tieout.domain.errors import UnavailableError
from tieout.ports.http import Answer
from tieout.transport.wire import Moment, Wire, encode, object_of, parsed


class Colour(StrEnum):
    RED = "red"


class Shape(Wire):
    name: str
    seen: Moment | None = None


@given(st.decimals(allow_nan=False, allow_infinity=False, places=7, min_value=-(10**12), max_value=10**12))
@example(Decimal("1E+3"))
@example(Decimal("-1E-9"))
@example(Decimal("123456789012345678901234567890.12"))
def test_an_amount_stands_digit_by_digit(number):
    written = encode({"a": [number, {"b": (number,)}]})

    assert json.loads(written, parse_float=Decimal, parse_int=Decimal) == {"a": [number, {"b": [number]}]}
    assert b"E" not in written


def test_other_letters_are_escaped_so_that_no_charset_can_garble_them():
    value = {"é": [True, None, 'a"ö\n', "\ud800", 7, dt.date(2026, 1, 5), Colour.RED], "b": {}}

    assert encode(value) == (b'{"\\u00e9":[true,null,"a\\"\\u00f6\\n","\\ud800",7,"2026-01-05","red"],"b":{}}')


@pytest.mark.parametrize("value", [1.5, {1: object()}, b"x", {"a": [0.1]}])
def test_what_has_no_exact_form_is_never_written(value):
    with pytest.raises(TypeError, match="not for the wire"):
        encode({"a": value})


def test_unknown_fields_are_kept_and_a_moment_is_utc():
    shape = parsed(Shape, {"name": "a", "seen": "2026-11-01T10:00:00-08:00", "new": 1}, "Shapes")

    assert shape.seen == dt.datetime(2026, 11, 1, 18, tzinfo=dt.UTC)
    assert shape.model_extra == {"new": 1}
    assert parsed(Shape, {"name": "a", "seen": "2026-11-01T10:00:00"}, "Shapes").seen == dt.datetime(
        2026, 11, 1, 10, tzinfo=dt.UTC
    )


@pytest.mark.parametrize("content", [None, [], {}, {"name": 5}, {"name": "secret", "seen": "secret"}])
def test_an_answer_of_another_form_is_unavailable_and_repeats_nothing_of_it(content):
    with pytest.raises(UnavailableError, match=r"^Shapes gave an answer that cannot be understood") as caught:
        parsed(Shape, content, "Shapes")
    assert caught.value.detail == "no Shape"
    assert "secret" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b"<html>", b"\xff", b"[" * 100_000])
def test_an_answer_without_an_object_is_an_empty_one(body):
    assert object_of(Answer(200, {}, body)) == {}
    assert object_of(Answer(500, {}, b'{"a": 0.10}')) == {"a": Decimal("0.10")}
