"""A provider is a folder of its own, a simulator, a part of the presets, a page, a test file, and two registry lines.

`docs/adding-a-provider.md` promises that to whoever adds one; here it is held to the tree.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tieout.connectors import PROVIDERS
from tieout_sandbox.simulators import NOT_SERVED, SIMULATORS

ROOT = Path(__file__).parents[2]
CODE = ("layers/tieout/tieout", "functions", "sandbox/tieout_sandbox")
FORMATS = "layers/tieout/tieout/files"
"""Formats of files are called after the programs that write them."""
NAMES = [provider.manifest.provider for provider in PROVIDERS]
FOLDERS = {"connectors", "simulators"}
REGISTRIES = {"layers/tieout/tieout/connectors/__init__.py", "sandbox/tieout_sandbox/simulators/__init__.py"}
TOUR_BEGINS_WITH = {"act", "quickbooks_online"}
"""The pair that `make run` plays if nobody says which."""


def named_in(path: Path, name: str) -> bool:
    """True if the code imports the provider's folder or has its name as a text; comments do not count.

    Folders of providers stand in `connectors` and `simulators`; elsewhere the same word means something else.
    """
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value == name:
            return True
        if isinstance(node, ast.Import | ast.ImportFrom):
            before = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            parts = [f"{before}{each.name}".split(".") for each in node.names]
            if any(part == name and above in FOLDERS for one in parts for above, part in pairwise(one)):
                return True
    return False


def naming(name: str) -> Iterator[str]:
    """The files of the product and of the sandbox that name a provider, but for its own two folders."""
    for path in sorted(path for root in CODE for path in (ROOT / root).rglob("*.py")):
        if path.is_relative_to(ROOT / FORMATS):
            continue
        if name not in path.relative_to(ROOT).parts and named_in(path, name):
            yield str(path.relative_to(ROOT))


@pytest.mark.parametrize("name", NAMES)
def test_two_registry_lines_name_a_provider_and_nothing_else_does(name: str):
    default = {"sandbox/tieout_sandbox/cli.py"} if name in TOUR_BEGINS_WITH else set()
    assert set(naming(name)) == REGISTRIES | default
    for written in ("template.yaml", "samconfig.toml"):
        assert name not in (ROOT / written).read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_has_all_that_it_needs(name: str):
    assert name in SIMULATORS
    for path in (
        f"layers/tieout/tieout/connectors/{name}/__init__.py",
        f"layers/tieout/tieout/mapping/presets/{name}.yaml",
        f"sandbox/tieout_sandbox/simulators/{name}/{'sales' if name in NOT_SERVED else 'side'}.py",
        f"docs/providers/{name}.md",
        f"tests/contract/test_{name}.py",
    ):
        assert (ROOT / path).exists(), path
