"""A pytest plugin for mutation testing.

Mutants are run in forks of one process, in which the tests have run before: what the right code left in a cache would
hide that a mutant does something else, and which function is called by which test.
"""

from __future__ import annotations

import gc
from functools import _lru_cache_wrapper
from typing import Any

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Properties last: most mutants are killed before the hundred examples of one have been tried."""
    items.sort(key=lambda item: hasattr(getattr(item, "obj", None), "hypothesis"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """No test finds what another one left in a cache of ours."""
    for cache in _caches(item.session):
        cache.cache_clear()


_FOUND = pytest.StashKey[list[Any]]()


def _caches(session: pytest.Session) -> list[Any]:
    if _FOUND not in session.stash:
        session.stash[_FOUND] = [
            found
            for found in gc.get_objects()
            if isinstance(found, _lru_cache_wrapper) and found.__module__.startswith(("tieout.", "tests."))
        ]
    return session.stash[_FOUND]
