"""A small one of `tests.e2e.bridge_chaos`, which has 500 jobs and 50 kills."""

from __future__ import annotations

import pytest

from tests.e2e.bridge_chaos import compared


@pytest.mark.parametrize(("system", "jobs", "kills"), [("paper", 40, 4), ("tally", 20, 3)])
def test_an_agent_that_is_killed_again_and_again_leaves_the_same_books(tmp_path, system, jobs, kills):
    quiet, rough = compared(tmp_path, system, jobs=jobs, kills=kills, seed=7)
    assert rough.books == quiet.books
    assert len(rough.books) == jobs
    assert rough.doubled == []
    assert sum(rough.killed.values()) == kills
    assert rough.starts == kills + 1
    assert len(rough.killed) > 1, "at different moments"
