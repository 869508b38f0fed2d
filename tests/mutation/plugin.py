"""A pytest plugin for mutation testing.

Mutants are run in forks of one process, in which the tests have run before: what the right code left in a cache would
hide that a mutant does something else, and which function is called by which test.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from functools import _lru_cache_wrapper
from pathlib import Path

import pytest
from hypothesis import settings


def pytest_sessionstart() -> None:
    """Nothing is left of what was worked out before; and no garbage is collected, as a fork lives for a second."""
    gc.disable()
    _clear_our_caches()


_WANTED = pytest.StashKey[set[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """No property is held to a time, or to chance.

    Tests are collected by file: pytest looks for each of three hundred names by itself, which takes longer than they.
    """
    settings.load_profile("ci")
    config.stash[_WANTED] = {argument for argument in config.args if "::" in argument}
    config.args[:] = dict.fromkeys(argument.partition("::")[0] for argument in config.args)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What kills most mutants, then the fast ones; last the properties, with their hundred examples."""
    wanted = config.stash[_WANTED]
    items[:] = [item for item in items if not wanted or item.nodeid in wanted]
    stats = Path("mutmut-stats.json")
    seconds = json.loads(stats.read_text("utf-8"))["duration_by_test"] if stats.exists() else {}
    items.sort(
        key=lambda item: (
            not item.name.startswith("test_a_broken_document"),
            hasattr(getattr(item, "obj", None), "hypothesis"),
            seconds.get(item.nodeid, 0),
        )
    )


def pytest_runtest_setup() -> None:
    """While it is found out which function is called by which test, none is spared by what another one left."""
    if os.environ["MUTANT_UNDER_TEST"] == "stats":
        _clear_our_caches()


def _clear_our_caches() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(("tieout.", "tests.")):
            for found in list(vars(module).values()):
                if isinstance(found, _lru_cache_wrapper):
                    found.cache_clear()
