"""A pytest plugin for mutation testing.

Mutants are run in forks of one process, in which the tests have run before: what the right code left in a cache would
hide that a mutant does something else, and which function is called by which test.
"""

from __future__ import annotations

import gc
import sys
from functools import _lru_cache_wrapper

import pytest


def pytest_sessionstart() -> None:
    """Nothing is collected: a fork lives for a second."""
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Properties last: most mutants are killed before the hundred examples of one have been tried."""
    items.sort(key=lambda item: hasattr(getattr(item, "obj", None), "hypothesis"))


def pytest_runtest_setup() -> None:
    """No test finds what another one left in a cache of ours."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("tieout.", "tests.")):
            for found in list(vars(module).values()):
                if isinstance(found, _lru_cache_wrapper):
                    found.cache_clear()
