"""The filter builder against the simulator's own reader of filters."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieout.connectors.act import odata
from tieout_sandbox.simulators.act import odata as server

FIELDS = frozenset({"id", "name", "edited"})


def matches(text: str, row: dict[str, str]) -> bool:
    query = server.parse({"$filter": text}, FIELDS, top_default=10, top_max=10)
    return bool(query.page([row]))


@settings(deadline=None)
@given(st.text())
def test_no_value_can_end_its_literal(value):
    condition = odata.equals_any("name", [value])
    assert matches(condition, {"name": value})
    assert not matches(condition, {"name": value + "x"})


def test_an_injection_is_just_a_name():
    value = "x' or name ne '"
    assert odata.text(value) == "'x'' or name ne '''"
    assert not matches(odata.equals_any("name", [value]), {"name": "somebody"})


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["$filter", "$top"]), st.text(max_size=50)))
def test_a_query_arrives_as_it_was_meant(options):
    assert dict(parse_qsl(odata.query(options), keep_blank_values=True)) == options
    assert " " not in odata.query(options)


@settings(deadline=None)
@given(st.lists(st.text(max_size=300), max_size=80))
def test_portions_hold_every_value_once_and_fit(values):
    portions = list(odata.portions("name", values, values_max=32))
    assert [value for portion in portions for value in portion] == values
    for portion in portions:
        assert 1 <= len(portion) <= 32
        encoded = quote(odata.equals_any("name", portion), safe="")
        assert len(encoded) <= odata.QUERY_LENGTH_MAX or len(portion) == 1


def test_32_ids_fit_into_what_iis_takes():
    ids = ["195a64f8-0000-4506-8eb2-2dd6fa8dfd1a"] * 32
    (portion,) = odata.portions("id", ids, values_max=32)
    assert len(odata.query({"$filter": odata.equals_any("id", portion), "$top": "32"})) < 2048


def test_a_time_keeps_its_fraction():
    assert odata.moment("2026-03-01T08:00:00.1234567+00:00") == "2026-03-01T08:00:00.1234567Z"
    assert odata.moment("2026-03-01T08:00:00+01:00") == "2026-03-01T08:00:00+01:00"


@pytest.mark.parametrize("value", ["", "2026-03-01", "2026-03-01T08:00:00", "2026-03-01T08:00:00Z or id ne ''"])
def test_what_is_no_time_goes_into_no_filter(value):
    with pytest.raises(ValueError, match="not a time"):
        odata.moment(value)


def test_a_path_segment_cannot_leave_its_place():
    assert odata.segment("../contacts?x=1") == "..%2Fcontacts%3Fx%3D1"
