"""How long changes wait."""

from __future__ import annotations

import pytest

from tieout.engine.policy import RetryPolicy


@pytest.mark.parametrize(
    ("attempts", "least", "most"), [(0, 7, 15), (1, 15, 30), (3, 60, 120), (6, 450, 900), (99, 450, 900)]
)
def test_waits_double_up_to_a_quarter_of_an_hour_and_are_spread(attempts: int, least: int, most: int):
    policy = RetryPolicy(base_seconds=15)
    assert policy.delay_seconds(attempts, 0.0) in (least, least + 1)
    assert most - 1 <= policy.delay_seconds(attempts, 0.999) <= most


def test_small_base_keeps_waits_small_and_what_the_provider_asks_for_is_kept():
    policy = RetryPolicy(base_seconds=1)
    assert policy.delay_seconds(99, 0.999) <= 60
    assert policy.delay_seconds(0, 0.0) == 0
    assert policy.delay_seconds(0, 0.0, at_least=60) == 60
    assert policy.delay_seconds(0, 0.0, at_least=5000) == 900
