from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.adapters.dynamodb.values import from_attributes, to_attributes
from tieout.domain.packing import pack, time_of, time_text, unpack
from tieout.domain.records import Kind

TIMES = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | TIMES
)
KEYS = st.text() | st.sampled_from(["$n", "$d", "$t", "$p", "$"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=15)


def spelled(value):
    """Types and digits included: Decimal("1.50") is not Decimal("1.5"). UTC has no hour that comes twice."""
    return repr(value).replace(", fold=1", "")


@given(VALUES)
def test_every_value_comes_back_as_it_was(value):
    assert spelled(unpack(pack(value))) == spelled(value)


def test_money_is_kept_digit_by_digit():
    assert pack({"amount": Decimal("100.00")}) == '{"amount":{"$n":"100.00"}}'
    assert str(unpack('{"$n":"100.00"}')) == "100.00"


def test_enums_are_kept_as_their_text():
    assert pack([Kind.DEAL]) == '["deal"]'


@pytest.mark.parametrize("value", [1.5, {"a": [1.5]}, {1, 2}, b"x", object()])
def test_what_is_not_exact_is_refused(value):
    with pytest.raises(TypeError, match="cannot store a"):
        pack(value)


def test_a_date_is_not_a_time():
    assert unpack(pack([date(2017, 3, 1), datetime(2017, 3, 1, tzinfo=UTC)])) == [
        date(2017, 3, 1),
        datetime(2017, 3, 1, tzinfo=UTC),
    ]


@given(TIMES, TIMES)
def test_texts_of_times_stand_in_the_order_of_the_times(one, other):
    assert (time_text(one) < time_text(other)) == (one < other)
    assert time_of(time_text(one)) == one


def test_a_time_of_another_zone_is_stored_in_utc():
    moment = datetime(2026, 11, 22, 1, tzinfo=timezone(timedelta(hours=2)))
    assert time_text(moment) == "2026-11-21T23:00:00.000000Z"


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        time_text(datetime(2026, 11, 22))  # noqa: DTZ001 - what must not come


def test_attributes_come_back_as_they_were():
    values = {"text": "", "count": 0, "nested": {"kind": "a", "looks": 3}}
    assert from_attributes(to_attributes(values)) == values


def test_foreign_attributes_are_refused():
    with pytest.raises(TypeError):
        from_attributes({"a": {"BOOL": True}})
