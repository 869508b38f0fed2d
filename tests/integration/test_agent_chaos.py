"""A small one of `tests.e2e.bridge_chaos`, which has 500 jobs and 50 kills."""

from __future__ import annotations

from tests.e2e.bridge_chaos import compared


def test_an_agent_that_is_killed_again_and_again_leaves_the_same_books(tmp_path):
    quiet, rough = compared(tmp_path, jobs=60, kills=6, seed=7)
    assert rough.books == quiet.books
    assert len(rough.books) == 60
    assert (rough.lost, rough.doubled) == ([], [])
    assert sum(rough.killed.values()) == 6
    assert rough.starts == 7
    assert len(rough.killed) > 2, "at different moments"
