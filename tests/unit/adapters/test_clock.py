from __future__ import annotations

from datetime import UTC

from tieout.adapters.clock import SystemClock


def test_the_time_is_aware_utc_and_goes_on():
    clock = SystemClock()
    before = clock.now()
    clock.sleep(0.001)
    assert before.tzinfo is UTC
    assert clock.now() > before


def test_jitter_stays_in_its_range():
    clock = SystemClock()
    drawn = {clock.jitter() for _ in range(50)}
    assert all(0 <= one < 1 for one in drawn)
    assert len(drawn) > 1
