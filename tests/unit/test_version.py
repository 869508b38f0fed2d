"""Agents are told the newest version by the package itself, which cannot read its own project file where it runs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import tieout

PROJECT = Path(__file__).parents[2] / "layers" / "tieout" / "pyproject.toml"


def test_the_package_says_the_version_of_its_project():
    assert tieout.__version__ == tomllib.loads(PROJECT.read_text())["project"]["version"]
