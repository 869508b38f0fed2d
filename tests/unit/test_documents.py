"""README and `docs/` are held to the tree: links lead somewhere, commands exist, each decision has its own number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tieout.cli.main import app

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLUGINS = {"sandbox"}
named = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))


def anchors(document: Path) -> set[str]:
    """The headings of a document, as links name them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@named
def test_every_link_leads_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_decisions_are_numbered_without_gap_and_listed_by_their_titles():
    files = sorted(DECISIONS.glob("0*.md"))
    assert [int(one.name[:4]) for one in files] == list(range(1, len(files) + 1))
    listed = re.findall(r"^\* \[(\d{4})\]\((.+?)\) (.+)$", (DECISIONS / "README.md").read_text("utf-8"), re.MULTILINE)
    titles = [(one.name[:4], one.name, one.read_text("utf-8").splitlines()[0].removeprefix("# ")) for one in files]
    assert listed == titles


# Commands


def shown(document: Path) -> Iterator[list[str]]:
    """The words after `tieout` of every command that a document shows, in a sentence or on a line of a console."""
    text = document.read_text("utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(
        r"^    (tieout .+)$", text, re.MULTILINE
    )
    for line in lines:
        for found in re.findall(r"(?:^\$ |\| |^|bin/)tieout ([a-z][^#|>]*)", line):
            yield found.split()
    for found in re.findall(r"`tieout\s([a-z][^`]*)`", text):
        yield found.split()


def unknown(words: list[str]) -> list[str]:
    """What of a command does not exist: its name, or options."""
    if words[0] in PLUGINS:
        return []
    command: Any = typer.main.get_command(app)
    while (group := getattr(command, "commands", None)) is not None and words:
        name = words[0].strip("[]")
        if name in group:
            command, words = group[name], words[1:]
        elif command.name == "plan":  # `tieout plan SYNC` is short for `tieout plan make SYNC`
            command = group["make"]
        else:
            return [name]
    options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    given = [word.strip("[]().,;:\\") for word in words]
    return [word for word in given if word.startswith("--") and word not in options]


@named
def test_every_command_that_is_shown_exists_with_its_options(document):
    wrong = {" ".join(words): missing for words in shown(document) if (missing := unknown(words))}
    assert wrong == {}


def test_every_option_of_the_commands_guide_is_one_of_some_command():
    guide = (ROOT / "docs" / "cli.md").read_text("utf-8")
    group: Any = typer.main.get_command(app)
    leaves = [leaf for one in group.commands.values() for leaf in getattr(one, "commands", {"": one}).values()]
    options = {option for leaf in leaves for one in leaf.params for option in (*one.opts, *one.secondary_opts)}
    assert set(re.findall(r"--[a-z][a-z-]*", guide)) - options == set()
